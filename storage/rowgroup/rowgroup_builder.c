/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies are only cut into items when they are added; all else happens in
 * rowgroup_builder_finish(), which walks each item once, in its final order, so that nothing has to
 * be permuted but an array of numbers.
 *
 * Invariants
 *   B1  rows are ordered by trace ID, then start (log records: by time), then arrival
 *   B2  a chunk is self-contained: runs of a trace, parents' rows and time differences end at its
 * edge B3  no two rows have equal IDs and equal content */
#include "storage/rowgroup/rowgroup.h"

#include "base/intern.h"
#include "base/mem.h"
#include "storage/content_hash.h"
#include "storage/rowgroup/rowgroup_columns.h"
#include "storage/rowgroup/rowgroup_sort.h"
#include "storage/rowgroup/rowgroup_wire.h"

#include <assert.h>

/* Lengths and offsets inside a group are 32 bits; with everything plain it stays far below. */
#define BODY_BYTES_MAX (UINT32_C(512) << 20)
#define SCAN_RUN_MAX   16 /* in runs up to this, looking through all is faster than a map */

struct item {
    const uint8_t *data;
    uint32_t len;
    uint32_t context;
    uint64_t time;                  /* start, or a record's time */
    uint64_t trace_high, trace_low; /* big-endian: their order is the bytes' order */
    uint64_t span_id;
};

/* A distinct (resource, scope) with schema URLs: numbers of texts. */
struct context {
    uint32_t resource, resource_schema, scope, scope_schema, present;
};

struct rowgroup_builder {
    struct rowgroup_options options;
    struct item *items;
    uint32_t count, capacity;
    uint64_t body_bytes;
    struct dictionary texts;
    struct intern contexts;     /* of struct context, as bytes */
    struct scope_group *scopes; /* of the resource group that is being added */
    uint32_t scopes_count, scopes_capacity;
    struct columns columns;
    struct group_writer writer;

    struct sort_entry *sort[2];
    uint32_t sort_capacity;
    struct hash128 *contents; /* of items, while duplicates are looked for; zero: not computed */
    struct hash128 *context_contents;
    struct int_map ids, seen;

    struct buffer directory, stored_directory, filter;
    struct trace_id *traces;
    uint32_t traces_capacity;
    struct rowgroup_operation *operations;
    uint32_t operations_capacity;
    struct rowgroup_summary summary;
    uint64_t duration_max;
    uint32_t status_seen;
};

enum err rowgroup_builder_open(const struct rowgroup_options *options,
                               struct rowgroup_builder **out)
{
    assert(options->content_key != NULL);
    struct rowgroup_builder *b = mem_zalloc(sizeof *b);
    if (b == NULL)
        return ERR_NOMEM;
    b->options = *options;
    intern_init(&b->contexts, ROWGROUP_ROWS_MAX);
    buffer_init(&b->directory, UINT32_MAX / 2);
    buffer_init(&b->stored_directory, UINT32_MAX / 2);
    buffer_init(&b->filter, UINT32_MAX / 2);
    enum err e = columns_init(&b->columns, options->signal);
    if (e == ERR_OK)
        e = group_writer_init(&b->writer, options->zstd_level == 0 ? 1 : options->zstd_level);
    if (e != ERR_OK) {
        rowgroup_builder_close(b);
        return e;
    }
    *out = b;
    return ERR_OK;
}

static void contents_release(struct rowgroup_builder *b);

void rowgroup_builder_close(struct rowgroup_builder *b)
{
    if (b == NULL)
        return;
    mem_free(b->items);
    mem_free(b->scopes);
    dictionary_deinit(&b->texts);
    intern_deinit(&b->contexts);
    columns_deinit(&b->columns);
    group_writer_deinit(&b->writer);
    mem_free(b->sort[0]);
    mem_free(b->sort[1]);
    contents_release(b);
    int_map_deinit(&b->ids);
    int_map_deinit(&b->seen);
    buffer_deinit(&b->directory);
    buffer_deinit(&b->stored_directory);
    buffer_deinit(&b->filter);
    mem_free(b->traces);
    mem_free(b->operations);
    mem_free(b);
}

void rowgroup_builder_reset(struct rowgroup_builder *b)
{
    b->count = 0;
    b->body_bytes = 0;
    dictionary_reset(&b->texts);
    intern_reset(&b->contexts);
    columns_reset(&b->columns, b->options.signal);
    group_writer_reset(&b->writer);
}

uint32_t rowgroup_builder_rows(const struct rowgroup_builder *b)
{
    return b->count;
}

/* ---- Adding */

/* A scope group whose items were added; its context is known once its resource group has been read.
 */
struct scope_group {
    struct bytes scope, schema_url;
    bool has_scope;
    uint32_t items_end;
};

struct resource_group {
    struct bytes resource, schema_url;
    bool has_resource;
};

static enum err context_put(struct rowgroup_builder *b, const struct resource_group *r,
                            const struct scope_group *s, uint32_t *out)
{
    enum err e = ERR_OK;
    struct context c = {
        .resource = dictionary_put(&b->texts, r->resource, &e),
        .resource_schema = dictionary_put(&b->texts, r->schema_url, &e),
        .scope = dictionary_put(&b->texts, s->scope, &e),
        .scope_schema = dictionary_put(&b->texts, s->schema_url, &e),
        .present = (r->has_resource ? 1u : 0u) | (s->has_scope ? 2u : 0u),
    };
    return e != ERR_OK ? e : intern_put(&b->contexts, bytes_of(&c, sizeof c), out);
}

/* What rows are ordered by. */
static void item_read(enum signal signal, struct item *item)
{
    const uint8_t *at = item->data, *end = at + item->len;
    uint32_t tag;
    uint64_t v, observed = 0;
    struct bytes bytes;
    unsigned wanted = signal == SIGNAL_TRACES ? 7 : 15, seen = 0; /* bits of what was found */
    while (seen != wanted && wire_next(&at, end, &tag, &v, &bytes)) {
        if (signal == SIGNAL_TRACES) {
            if (tag == WIRE_TAG(1, WIRE_LENGTH) && bytes.len == 16) {
                item->trace_high = load_be64(bytes.data);
                item->trace_low = load_be64(bytes.data + 8);
                seen |= 1;
            } else if (tag == WIRE_TAG(2, WIRE_LENGTH) && bytes.len == 8) {
                item->span_id = load_le64(bytes.data);
                seen |= 2;
            } else if (tag == WIRE_TAG(7, WIRE_FIXED64)) {
                item->time = v;
                seen |= 4;
            }
        } else if (tag == WIRE_TAG(1, WIRE_FIXED64)) {
            item->time = v;
            seen |= 1;
        } else if (tag == WIRE_TAG(9, WIRE_LENGTH) && bytes.len == 16) {
            item->trace_high = load_be64(bytes.data);
            item->trace_low = load_be64(bytes.data + 8);
            seen |= 2;
        } else if (tag == WIRE_TAG(10, WIRE_LENGTH) && bytes.len == 8) {
            item->span_id = load_le64(bytes.data);
            seen |= 4;
        } else if (tag == WIRE_TAG(11, WIRE_FIXED64)) {
            observed = v;
            seen |= 8;
        }
    }
    if (signal == SIGNAL_LOGS && item->time == 0)
        item->time = observed;
}

static enum err item_add(struct rowgroup_builder *b, struct bytes message)
{
    if (b->count >= ROWGROUP_ROWS_MAX)
        return ERR_TOO_MANY;
    if (b->count == b->capacity) {
        uint32_t capacity = b->capacity == 0 ? 1024 : b->capacity * 2;
        struct item *items = mem_realloc(b->items, capacity * sizeof *items);
        if (items == NULL)
            return ERR_NOMEM;
        b->items = items;
        b->capacity = capacity;
    }
    struct item *item = &b->items[b->count];
    *item = (struct item){ .data = message.data, .len = (uint32_t)message.len };
    item_read(b->options.signal, item);
    b->count++;
    return ERR_OK;
}

static enum err scope_group_add(struct rowgroup_builder *b, struct bytes message)
{
    if (b->scopes_count == b->scopes_capacity) {
        uint32_t capacity = b->scopes_capacity == 0 ? 64 : b->scopes_capacity * 2;
        struct scope_group *scopes = mem_realloc(b->scopes, capacity * sizeof *scopes);
        if (scopes == NULL)
            return ERR_NOMEM;
        b->scopes = scopes;
        b->scopes_capacity = capacity;
    }
    struct scope_group group = { 0 };
    const uint8_t *at = message.data, *end = at + message.len;
    uint32_t tag;
    uint64_t v;
    struct bytes bytes;
    enum err e = ERR_OK;
    while (e == ERR_OK && wire_next(&at, end, &tag, &v, &bytes)) {
        if (tag == WIRE_TAG(OTLP_SCOPE_ITEMS, WIRE_LENGTH)) {
            e = item_add(b, bytes);
        } else if (tag == WIRE_TAG(1, WIRE_LENGTH)) {
            group.scope = bytes;
            group.has_scope = true;
        } else if (tag == WIRE_TAG(3, WIRE_LENGTH)) {
            group.schema_url = bytes;
        }
    }
    group.items_end = b->count;
    b->scopes[b->scopes_count++] = group;
    return e;
}

/* The schema URL stands behind the items, so their contexts are given to them at the end: walking
 * the group twice would touch each item's memory twice. */
static enum err resource_group_add(struct rowgroup_builder *b, struct bytes message)
{
    struct resource_group group = { 0 };
    const uint8_t *at = message.data, *end = at + message.len;
    uint32_t tag, item = b->count;
    uint64_t v;
    struct bytes bytes;
    enum err e = ERR_OK;
    b->scopes_count = 0;
    while (e == ERR_OK && wire_next(&at, end, &tag, &v, &bytes)) {
        if (tag == WIRE_TAG(OTLP_GROUP_SCOPE_GROUPS, WIRE_LENGTH)) {
            e = scope_group_add(b, bytes);
        } else if (tag == WIRE_TAG(1, WIRE_LENGTH)) {
            group.resource = bytes;
            group.has_resource = true;
        } else if (tag == WIRE_TAG(3, WIRE_LENGTH)) {
            group.schema_url = bytes;
        }
    }
    for (uint32_t i = 0; i < b->scopes_count && e == ERR_OK; i++) {
        const struct scope_group *scope = &b->scopes[i];
        uint32_t context = 0;
        if (item < scope->items_end)
            e = context_put(b, &group, scope, &context);
        for (; item < scope->items_end; item++)
            b->items[item].context = context;
    }
    return e;
}

enum err rowgroup_builder_add(struct rowgroup_builder *b, struct bytes body)
{
    if (body.len > BODY_BYTES_MAX - b->body_bytes)
        return ERR_TOO_MANY;
    uint32_t before = b->count;
    struct otlp_repeated groups = otlp_repeated(body, OTLP_DATA_RESOURCE_GROUPS);
    struct bytes group;
    enum err e = ERR_OK;
    while (e == ERR_OK && otlp_repeated_next(&groups, &group))
        e = resource_group_add(b, group);
    if (e != ERR_OK)
        b->count = before; /* contexts stay; unused ones do no harm */
    else
        b->body_bytes += body.len;
    return e;
}

/* ---- Order and duplicates */

static enum err sort_items(struct rowgroup_builder *b, struct sort_entry **out_order)
{
    if (b->sort_capacity < b->count || b->sort[0] == NULL) {
        mem_free(b->sort[0]);
        mem_free(b->sort[1]);
        b->sort_capacity = b->capacity;
        b->sort[0] = mem_alloc_array(b->sort_capacity + 1u, sizeof *b->sort[0]);
        b->sort[1] = mem_alloc_array(b->sort_capacity + 1u, sizeof *b->sort[1]);
        if (b->sort[0] == NULL || b->sort[1] == NULL) {
            b->sort_capacity = 0;
            return ERR_NOMEM;
        }
    }
    struct sort_entry *order = b->sort[0];
    for (uint32_t i = 0; i < b->count; i++)
        order[i] = (struct sort_entry){ .key = b->items[i].time, .value = i };
    order = sort_by_key(order, b->sort[1], b->count);
    for (unsigned half = 0; half < 2 && b->options.signal == SIGNAL_TRACES; half++) {
        for (uint32_t i = 0; i < b->count; i++) {
            const struct item *item = &b->items[order[i].value];
            order[i].key = half == 0 ? item->trace_low : item->trace_high;
        }
        order = sort_by_key(order, order == b->sort[0] ? b->sort[1] : b->sort[0], b->count);
    }
    *out_order = order;
    return ERR_OK;
}

static struct bytes item_bytes(const struct item *item)
{
    return bytes_of(item->data, item->len);
}

static const struct context *context_of(const struct rowgroup_builder *b, uint32_t number)
{
    return (const struct context *)(const void *)intern_get(&b->contexts, number).data;
}

/* Most groups have no two items with equal IDs, and hash nothing. */
static enum err contents_reserve(struct rowgroup_builder *b)
{
    if (b->contents != NULL)
        return ERR_OK;
    b->contents = mem_alloc_array(b->count + 1u, sizeof *b->contents);
    b->context_contents = mem_alloc_array(b->contexts.count + 1u, sizeof *b->context_contents);
    return b->contents == NULL || b->context_contents == NULL ? ERR_NOMEM : ERR_OK;
}

static void contents_release(struct rowgroup_builder *b)
{
    mem_free(b->contents);
    mem_free(b->context_contents);
    b->contents = NULL;
    b->context_contents = NULL;
}

static bool is_zero(struct hash128 h)
{
    return h.low == 0 && h.high == 0;
}

static struct hash128 content_of(struct rowgroup_builder *b, uint32_t number)
{
    struct hash128 *content = &b->contents[number];
    if (!is_zero(*content))
        return *content;
    const struct item *item = &b->items[number];
    struct hash128 *group = &b->context_contents[item->context];
    if (is_zero(*group)) {
        const struct context *c = context_of(b, item->context);
        const struct bytes *texts = b->texts.entries;
        *group =
            content_hash_group(b->options.content_key, texts[c->resource],
                               texts[c->resource_schema], texts[c->scope], texts[c->scope_schema]);
    }
    *content =
        content_hash_item(b->options.content_key, b->options.signal, *group, item_bytes(item));
    return *content;
}

static bool same_run(enum signal signal, const struct item *a, const struct item *b)
{
    return signal == SIGNAL_TRACES ? a->trace_high == b->trace_high && a->trace_low == b->trace_low
                                   : a->time == b->time;
}

/* The IDs that make two items of a run candidates for being equal, as one number. */
static uint64_t item_id(enum signal signal, const struct item *item)
{
    if (signal == SIGNAL_TRACES)
        return item->span_id;
    return item->span_id ^ (item->trace_low * UINT64_C(0x9E3779B97F4A7C15)) ^ item->trace_high;
}

static void map_clear(struct int_map *m)
{
    if (m->mask > 4095)
        int_map_deinit(m); /* clearing a large map for each small run would cost more */
    else if (m->count > 0)
        int_map_reset(m);
}

/* The earlier row of the run with this ID, else `row` itself; large runs are looked up in b->ids.
 */
static uint32_t first_with_id(struct rowgroup_builder *b, const struct sort_entry *order,
                              uint32_t run, uint32_t row, bool is_large, uint64_t id, enum err *e)
{
    if (is_large)
        return int_map_put(&b->ids, id, row, e);
    for (uint32_t i = run; i < row; i++)
        if (item_id(b->options.signal, &b->items[order[i].value]) == id)
            return i;
    return row;
}

/* Keep of order[begin, end), one run, what is not equal to an earlier one, at order[kept...). */
static enum err run_deduplicate(struct rowgroup_builder *b, struct sort_entry *order,
                                uint32_t begin, uint32_t end, uint32_t *kept)
{
    uint32_t run = *kept;
    bool is_large = end - begin > SCAN_RUN_MAX;
    enum err e = ERR_OK;
    for (uint32_t i = begin; i < end && e == ERR_OK; i++) {
        uint32_t number = order[i].value;
        uint64_t id = item_id(b->options.signal, &b->items[number]);
        uint32_t first = first_with_id(b, order, run, *kept, is_large, id, &e);
        if (e == ERR_OK && first != *kept)
            e = contents_reserve(b);
        if (e == ERR_OK && first != *kept) {
            struct hash128 of_first = content_of(b, order[first].value);
            struct hash128 content = content_of(b, number);
            (void)int_map_put(&b->seen, of_first.low, order[first].value, &e);
            uint32_t equal = int_map_put(&b->seen, content.low, number, &e);
            if (e == ERR_OK && equal != number && hash128_equal(b->contents[equal], content))
                continue;
        }
        order[(*kept)++].value = number;
    }
    map_clear(&b->ids);
    map_clear(&b->seen);
    return e;
}

static struct trace_id trace_id_of(const struct item *item)
{
    struct trace_id id;
    store_be64(id.b, item->trace_high);
    store_be64(id.b + 8, item->trace_low);
    return id;
}

static void drop_stored(struct rowgroup_builder *b, struct sort_entry *order, uint32_t *rows,
                        rowgroup_is_stored_fn *is_stored, void *context)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < *rows; i++) {
        const struct item *item = &b->items[order[i].value];
        struct trace_id trace_id = trace_id_of(item);
        struct span_id span_id;
        store_le64(span_id.b, item->span_id);
        if (!is_stored(context, &trace_id, &span_id, content_of(b, order[i].value)))
            order[kept++].value = order[i].value;
    }
    *rows = kept;
}

/* ---- Rows */

static uint32_t walk_attribute(struct columns *c, uint32_t node, uint32_t table,
                               struct bytes message)
{
    const uint8_t *at = message.data, *end = at + message.len;
    uint32_t tag;
    uint64_t v;
    struct bytes bytes, key = { 0 }, value = { 0 };
    bool has_value = false;
    while (wire_next(&at, end, &tag, &v, &bytes)) {
        if (tag == WIRE_TAG(1, WIRE_LENGTH)) {
            key = bytes;
        } else if (tag == WIRE_TAG(2, WIRE_LENGTH)) {
            value = bytes;
            has_value = true;
        }
    }
    return columns_attribute(c, node, table, key, has_value, value);
}

static void walk_event(struct columns *c, uint64_t span_start, struct bytes message)
{
    const uint8_t *at = message.data, *end = at + message.len;
    uint32_t tag, node = TABLE_EVENT, dropped = 0;
    uint64_t v, time = 0;
    struct bytes bytes, name = { 0 };
    while (wire_next(&at, end, &tag, &v, &bytes)) {
        switch (tag) {
        case WIRE_TAG(1, WIRE_FIXED64):
            time = v;
            break;
        case WIRE_TAG(2, WIRE_LENGTH):
            name = bytes;
            break;
        case WIRE_TAG(OTLP_EVENT_ATTRIBUTES, WIRE_LENGTH):
            node = walk_attribute(c, node, TABLE_EVENT, bytes);
            break;
        case WIRE_TAG(4, WIRE_VARINT):
            dropped = (uint32_t)v;
            break;
        default:
            break;
        }
    }
    columns_int(c, COLUMN_EVENT_SHAPE, columns_shape(c, TABLE_EVENT, node));
    columns_int(c, COLUMN_EVENT_TIME, zigzag(time - span_start));
    columns_bytes(c, COLUMN_EVENT_NAME, name);
    columns_int(c, COLUMN_EVENT_DROPPED, dropped);
}

static void walk_link(struct columns *c, struct bytes message)
{
    const uint8_t *at = message.data, *end = at + message.len;
    uint32_t tag, node = TABLE_LINK, dropped = 0, flags = 0;
    uint64_t v;
    struct bytes bytes, trace_id = { 0 }, span_id = { 0 }, state = { 0 };
    while (wire_next(&at, end, &tag, &v, &bytes)) {
        switch (tag) {
        case WIRE_TAG(1, WIRE_LENGTH):
            trace_id = bytes;
            break;
        case WIRE_TAG(2, WIRE_LENGTH):
            span_id = bytes;
            break;
        case WIRE_TAG(3, WIRE_LENGTH):
            state = bytes;
            break;
        case WIRE_TAG(OTLP_LINK_ATTRIBUTES, WIRE_LENGTH):
            node = walk_attribute(c, node, TABLE_LINK, bytes);
            break;
        case WIRE_TAG(5, WIRE_VARINT):
            dropped = (uint32_t)v;
            break;
        case WIRE_TAG(6, WIRE_FIXED32):
            flags = (uint32_t)v;
            break;
        default:
            break;
        }
    }
    columns_int(c, COLUMN_LINK_SHAPE, columns_shape(c, TABLE_LINK, node));
    columns_bytes(c, COLUMN_LINK_TRACE_ID, trace_id);
    columns_bytes(c, COLUMN_LINK_SPAN_ID, span_id);
    columns_bytes(c, COLUMN_LINK_STATE, state);
    columns_int(c, COLUMN_LINK_FLAGS, flags);
    columns_int(c, COLUMN_LINK_DROPPED, dropped);
}

/* 0 when absent, else 1 + code. */
static uint64_t walk_status(struct bytes message, struct bytes *out_message)
{
    const uint8_t *at = message.data, *end = at + message.len;
    uint32_t tag, code = 0;
    uint64_t v;
    struct bytes bytes;
    while (wire_next(&at, end, &tag, &v, &bytes)) {
        if (tag == WIRE_TAG(2, WIRE_LENGTH))
            *out_message = bytes;
        else if (tag == WIRE_TAG(3, WIRE_VARINT))
            code = (uint32_t)v;
    }
    return UINT64_C(1) + code;
}

/* What a row is written against. */
struct place {
    uint32_t row;
    uint32_t run_begin, run_end; /* rows of the same trace */
    bool is_large;               /* the run's IDs are in b->ids */
    uint64_t time_before;        /* of the row before in the chunk */
};

static uint64_t parent_code(struct rowgroup_builder *b, const struct sort_entry *order,
                            const struct place *at, struct bytes parent)
{
    if (parent.len == 0)
        return 0;
    uint64_t id = parent.len == 8 ? load_le64(parent.data) : 0;
    uint32_t row = UINT32_MAX;
    if (id != 0 && at->is_large) {
        row = int_map_find(&b->ids, id);
    } else if (id != 0) {
        for (uint32_t i = at->run_begin; i < at->run_end; i++) {
            if (b->items[order[i].value].span_id == id) {
                row = i;
                break;
            }
        }
    }
    if (row == UINT32_MAX || row / ROWGROUP_CHUNK_ROWS != at->row / ROWGROUP_CHUNK_ROWS) {
        columns_bytes(&b->columns, COLUMN_PARENT_ID, parent);
        return 1;
    }
    return 2 + zigzag((uint64_t)row - at->row);
}

static void walk_span(struct rowgroup_builder *b, const struct sort_entry *order,
                      const struct place *place)
{
    struct columns *c = &b->columns;
    const struct item *item = &b->items[order[place->row].value];
    const uint8_t *at = item->data, *end = at + item->len;
    uint32_t tag, node = TABLE_ITEM, events = 0, links = 0;
    uint64_t v, finish = 0, kind = 0, status = 0, flags = 0, dropped[3] = { 0 };
    struct bytes bytes, state = { 0 }, parent = { 0 }, name = { 0 }, message = { 0 };
    while (wire_next(&at, end, &tag, &v, &bytes)) {
        switch (tag) {
        case WIRE_TAG(3, WIRE_LENGTH):
            state = bytes;
            break;
        case WIRE_TAG(4, WIRE_LENGTH):
            parent = bytes;
            break;
        case WIRE_TAG(5, WIRE_LENGTH):
            name = bytes;
            break;
        case WIRE_TAG(6, WIRE_VARINT):
            kind = (uint32_t)v;
            break;
        case WIRE_TAG(8, WIRE_FIXED64):
            finish = v;
            break;
        case WIRE_TAG(OTLP_SPAN_ATTRIBUTES, WIRE_LENGTH):
            node = walk_attribute(c, node, TABLE_ITEM, bytes);
            break;
        case WIRE_TAG(10, WIRE_VARINT):
            dropped[0] = (uint32_t)v;
            break;
        case WIRE_TAG(OTLP_SPAN_EVENTS, WIRE_LENGTH):
            walk_event(c, item->time, bytes);
            events++;
            break;
        case WIRE_TAG(12, WIRE_VARINT):
            dropped[1] = (uint32_t)v;
            break;
        case WIRE_TAG(OTLP_SPAN_LINKS, WIRE_LENGTH):
            walk_link(c, bytes);
            links++;
            break;
        case WIRE_TAG(14, WIRE_VARINT):
            dropped[2] = (uint32_t)v;
            break;
        case WIRE_TAG(15, WIRE_LENGTH):
            status = walk_status(bytes, &message);
            break;
        case WIRE_TAG(16, WIRE_FIXED32):
            flags = v;
            break;
        default:
            break;
        }
    }
    columns_int(c, COLUMN_CONTEXT, item->context);
    columns_int(c, COLUMN_SHAPE, columns_shape(c, TABLE_ITEM, node));
    columns_int(c, COLUMN_DURATION, finish - item->time);
    columns_bytes(c, COLUMN_SPAN_ID, bytes_of(&item->span_id, sizeof item->span_id));
    columns_int(c, COLUMN_PARENT, parent_code(b, order, place, parent));
    columns_bytes(c, COLUMN_TRACE_STATE, state);
    columns_bytes(c, COLUMN_NAME, name);
    columns_int(c, COLUMN_KIND, kind);
    columns_int(c, COLUMN_STATUS, status);
    columns_bytes(c, COLUMN_STATUS_MESSAGE, message);
    columns_int(c, COLUMN_FLAGS, flags);
    columns_int(c, COLUMN_DROPPED_ATTRIBUTES, dropped[0]);
    columns_int(c, COLUMN_DROPPED_EVENTS, dropped[1]);
    columns_int(c, COLUMN_DROPPED_LINKS, dropped[2]);
    columns_int(c, COLUMN_EVENT_COUNT, events);
    columns_int(c, COLUMN_LINK_COUNT, links);

    uint64_t code = status == 0 ? 0 : status - 1;
    b->status_seen |= UINT32_C(1) << (code < 31 ? code : 31);
    uint64_t duration = finish > item->time ? finish - item->time : 0;
    b->duration_max = duration > b->duration_max ? duration : b->duration_max;
    if (finish > b->summary.end_max_unix_ns)
        b->summary.end_max_unix_ns = finish;
}

static void walk_log(struct rowgroup_builder *b, const struct item *item, uint64_t time_before)
{
    struct columns *c = &b->columns;
    const uint8_t *at = item->data, *end = at + item->len;
    uint32_t tag, node = TABLE_ITEM;
    uint64_t v, time = 0, observed = 0, severity = 0, flags = 0, dropped = 0;
    struct bytes bytes, text = { 0 }, name = { 0 }, trace_id = { 0 }, span_id = { 0 };
    while (wire_next(&at, end, &tag, &v, &bytes)) {
        switch (tag) {
        case WIRE_TAG(1, WIRE_FIXED64):
            time = v;
            break;
        case WIRE_TAG(2, WIRE_VARINT):
            severity = (uint32_t)v;
            break;
        case WIRE_TAG(3, WIRE_LENGTH):
            text = bytes;
            break;
        case WIRE_TAG(5, WIRE_LENGTH):
            node = columns_attribute(c, node, TABLE_BODY, (struct bytes){ 0 }, true, bytes);
            break;
        case WIRE_TAG(OTLP_LOG_ATTRIBUTES, WIRE_LENGTH):
            node = walk_attribute(c, node, TABLE_ITEM, bytes);
            break;
        case WIRE_TAG(7, WIRE_VARINT):
            dropped = (uint32_t)v;
            break;
        case WIRE_TAG(8, WIRE_FIXED32):
            flags = v;
            break;
        case WIRE_TAG(9, WIRE_LENGTH):
            trace_id = bytes;
            break;
        case WIRE_TAG(10, WIRE_LENGTH):
            span_id = bytes;
            break;
        case WIRE_TAG(11, WIRE_FIXED64):
            observed = v;
            break;
        case WIRE_TAG(12, WIRE_LENGTH):
            name = bytes;
            break;
        default:
            break;
        }
    }
    columns_int(c, COLUMN_CONTEXT, item->context);
    columns_int(c, COLUMN_SHAPE, columns_shape(c, TABLE_ITEM, node));
    columns_bytes(c, COLUMN_TRACE_ID, trace_id);
    columns_int(c, COLUMN_TIME, zigzag(time - time_before));
    columns_int(c, COLUMN_DURATION, zigzag(observed - time));
    columns_bytes(c, COLUMN_SPAN_ID, span_id);
    columns_bytes(c, COLUMN_NAME, name);
    columns_int(c, COLUMN_KIND, severity);
    columns_bytes(c, COLUMN_STATUS_MESSAGE, text);
    columns_int(c, COLUMN_FLAGS, flags);
    columns_int(c, COLUMN_DROPPED_ATTRIBUTES, dropped);
    if (item->time > b->summary.end_max_unix_ns)
        b->summary.end_max_unix_ns = item->time;
}

static void summary_time(struct rowgroup_summary *s, uint64_t time)
{
    s->start_min_unix_ns = time < s->start_min_unix_ns ? time : s->start_min_unix_ns;
    s->start_max_unix_ns = time > s->start_max_unix_ns ? time : s->start_max_unix_ns;
}

/* The chunk's columns of runs: one entry where a trace begins, and one where a chunk begins inside
 * it. */
static void span_times(struct rowgroup_builder *b, const struct item *item, const struct place *at,
                       bool is_first)
{
    struct columns *c = &b->columns;
    if (!is_first) {
        columns_int(c, COLUMN_TIME, item->time - at->time_before);
        return;
    }
    uint32_t chunk_end = (at->row / ROWGROUP_CHUNK_ROWS + 1) * ROWGROUP_CHUNK_ROWS;
    uint32_t end = at->run_end < chunk_end ? at->run_end : chunk_end;
    columns_int(c, COLUMN_RUN_LENGTH, end - at->row);
    columns_int(c, COLUMN_RUN_TIME, item->time);
    struct trace_id *id = &b->traces[b->summary.traces - 1];
    columns_bytes(c, COLUMN_TRACE_ID, bytes_of(id->b, sizeof id->b));
}

/* Items lie anywhere in the bodies, so their lines are asked for some rows ahead. */
enum { PREFETCH_ROWS = 6, PREFETCH_BYTES_MAX = 1024 };

static void item_prefetch(const struct item *item)
{
    size_t len = item->len < PREFETCH_BYTES_MAX ? item->len : PREFETCH_BYTES_MAX;
    for (size_t i = 0; i < len; i += 64)
        __builtin_prefetch(item->data + i);
}

static enum err run_walk(struct rowgroup_builder *b, const struct sort_entry *order, uint32_t begin,
                         uint32_t end, uint32_t rows)
{
    struct columns *c = &b->columns;
    struct place at = { .run_begin = begin,
                        .run_end = end,
                        .is_large = end - begin > SCAN_RUN_MAX };
    enum err e = ERR_OK;
    if (b->options.signal == SIGNAL_TRACES) {
        b->traces[b->summary.traces++] = trace_id_of(&b->items[order[begin].value]);
        for (uint32_t i = begin; at.is_large && i < end && e == ERR_OK; i++)
            (void)int_map_put(&b->ids, b->items[order[i].value].span_id, i, &e);
    }
    for (uint32_t row = begin; row < end && e == ERR_OK; row++) {
        const struct item *item = &b->items[order[row].value];
        if (row + PREFETCH_ROWS < rows)
            item_prefetch(&b->items[order[row + PREFETCH_ROWS].value]);
        bool is_first = row % ROWGROUP_CHUNK_ROWS == 0;
        if (is_first) {
            if (row > 0)
                columns_chunk_end(c);
            columns_chunk_begin(c);
        }
        at.row = row;
        summary_time(&b->summary, item->time);
        if (b->options.signal == SIGNAL_TRACES) {
            span_times(b, item, &at, is_first || row == begin);
            walk_span(b, order, &at);
            at.time_before = item->time;
        } else {
            walk_log(b, item, is_first ? 0 : b->items[order[row - 1].value].time);
        }
        e = c->error;
    }
    map_clear(&b->ids);
    return e;
}

static enum err walk_rows(struct rowgroup_builder *b, const struct sort_entry *order, uint32_t rows)
{
    if (b->traces_capacity < rows || b->traces == NULL) {
        mem_free(b->traces);
        b->traces_capacity = 0;
        b->traces = mem_alloc_array(rows + 1u, sizeof *b->traces);
        if (b->traces == NULL)
            return ERR_NOMEM;
        b->traces_capacity = rows;
    }
    enum err e = ERR_OK;
    for (uint32_t begin = 0, end; begin < rows && e == ERR_OK; begin = end) {
        for (end = begin + 1; end < rows; end++)
            if (!same_run(b->options.signal, &b->items[order[begin].value],
                          &b->items[order[end].value]))
                break;
        e = run_walk(b, order, begin, end, rows);
    }
    if (rows > 0)
        columns_chunk_end(&b->columns);
    return e != ERR_OK ? e : b->columns.error;
}

/* ---- Summary */

static uint32_t column_code(const struct column *column, uint32_t row)
{
    return column->is_constant ? 0 : column->codes[row];
}

static uint64_t column_int(const struct column *column, uint32_t row)
{
    return column->is_constant ? column->first : column->ints[row];
}

static enum err operation_add(struct rowgroup_builder *b, struct rowgroup_operation operation)
{
    if (b->summary.operations_count == b->operations_capacity) {
        uint32_t capacity = b->operations_capacity == 0 ? 256 : b->operations_capacity * 2;
        struct rowgroup_operation *all = mem_realloc(b->operations, capacity * sizeof *all);
        if (all == NULL)
            return ERR_NOMEM;
        b->operations = all;
        b->operations_capacity = capacity;
    }
    b->operations[b->summary.operations_count++] = operation;
    return ERR_OK;
}

static enum err operations_collect(struct rowgroup_builder *b, uint32_t rows)
{
    struct dictionary services = { 0 };
    struct int_map kinds = { 0 }, known = { 0 };
    enum err e = ERR_OK;
    uint32_t *service_of = mem_alloc_array(b->contexts.count + 1u, sizeof *service_of);
    if (service_of == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < b->contexts.count && e == ERR_OK; i++) {
        struct bytes resource = b->texts.entries[context_of(b, i)->resource];
        service_of[i] = dictionary_put(&services, otlp_service_name(resource), &e);
    }
    const struct column *names = &b->columns.list[COLUMN_NAME];
    const struct column *contexts = &b->columns.list[COLUMN_CONTEXT];
    const struct column *kind_column = &b->columns.list[COLUMN_KIND];
    for (uint32_t row = 0; row < rows && e == ERR_OK; row++) {
        uint32_t service = service_of[column_int(contexts, row)];
        uint32_t name = column_code(names, row);
        uint32_t kind = (uint32_t)column_int(kind_column, row);
        /* Each is below ROWGROUP_ROWS_MAX, 2^20: together they fit a key of the map. */
        uint64_t kind_number = int_map_put(&kinds, kind, kinds.count, &e);
        uint32_t next = (uint32_t)b->summary.operations_count;
        uint32_t at = int_map_put(
            &known, (uint64_t)service << 40 | (uint64_t)name << 20 | kind_number, next, &e);
        if (e == ERR_OK && at == next)
            e = operation_add(b,
                              (struct rowgroup_operation){ .service = services.entries[service],
                                                           .name = names->dictionary.entries[name],
                                                           .kind = kind });
        if (e == ERR_OK)
            b->operations[at].spans++;
    }
    b->summary.operations = b->operations;
    mem_free(service_of);
    dictionary_deinit(&services);
    int_map_deinit(&kinds);
    int_map_deinit(&known);
    return e;
}

/* Log records are not in the order of their traces: the distinct IDs are the column's dictionary.
 */
static void log_traces_collect(struct rowgroup_builder *b)
{
    const struct dictionary *d = &b->columns.list[COLUMN_TRACE_ID].dictionary;
    for (uint32_t i = 0; i < d->count; i++)
        if (d->entries[i].len == sizeof(struct trace_id))
            memcpy(b->traces[b->summary.traces++].b, d->entries[i].data, sizeof(struct trace_id));
}

/* ---- Finishing */

static enum err write_contexts(struct rowgroup_builder *b)
{
    struct group_writer *w = &b->writer;
    uint32_t count = b->contexts.count;
    uint64_t *values = mem_alloc_array(count + 1u, sizeof *values);
    if (values == NULL)
        return ERR_NOMEM;
    group_writer_bytes(w, COLUMN_TEXT, b->texts.entries, NULL, b->texts.count, false, NULL);
    for (uint32_t part = 0; part < 5; part++) {
        for (uint32_t i = 0; i < count; i++) {
            const struct context *c = context_of(b, i);
            values[i] = part == 0   ? c->resource
                        : part == 1 ? c->resource_schema
                        : part == 2 ? c->scope
                        : part == 3 ? c->scope_schema
                                    : c->present;
        }
        group_writer_ints(w, COLUMN_CONTEXT_RESOURCE + part, values, count, NULL);
    }
    mem_free(values);
    return ERR_OK;
}

static void write_header(struct rowgroup_builder *b, uint8_t *h, uint64_t size)
{
    const struct rowgroup_summary *s = &b->summary;
    memset(h, 0, ROWGROUP_HEADER_BYTES);
    store_le32(h + HEADER_MAGIC, ROWGROUP_MAGIC);
    store_le16(h + HEADER_VERSION, ROWGROUP_FORMAT_VERSION);
    h[HEADER_SIGNAL] = (uint8_t)b->options.signal;
    store_le32(h + HEADER_ROWS, s->rows);
    store_le32(h + HEADER_CHUNK_ROWS, ROWGROUP_CHUNK_ROWS);
    store_le32(h + HEADER_TRACES, s->traces);
    store_le32(h + HEADER_DIRECTORY_STORED, (uint32_t)b->stored_directory.len);
    store_le32(h + HEADER_DIRECTORY_RAW, (uint32_t)b->directory.len);
    store_le32(h + HEADER_STATUS_SEEN, b->status_seen);
    store_le64(h + HEADER_START_MIN, s->start_min_unix_ns);
    store_le64(h + HEADER_START_MAX, s->start_max_unix_ns);
    store_le64(h + HEADER_END_MAX, s->end_max_unix_ns);
    store_le64(h + HEADER_DURATION_MAX, b->duration_max);
    store_le64(h + HEADER_SIZE, size);
    store_le64(h + HEADER_DIRECTORY_HASH, hash_bytes(buffer_bytes(&b->stored_directory)));
    store_le64(h + HEADER_HASH, hash_bytes(bytes_of(h, HEADER_HASH)));
}

static enum err write_group(struct rowgroup_builder *b, struct buffer *out)
{
    group_writer_section_begin(&b->writer);
    enum err e = write_contexts(b);
    if (e != ERR_OK)
        return e;
    columns_write(&b->columns, &b->writer);
    e = b->columns.error;
    buffer_reset(&b->directory);
    buffer_reset(&b->stored_directory);
    if (e == ERR_OK)
        e = group_writer_end(&b->writer, &b->directory, &b->stored_directory);
    if (e != ERR_OK)
        return e;
    uint8_t header[ROWGROUP_HEADER_BYTES];
    write_header(b, header, ROWGROUP_HEADER_BYTES + b->stored_directory.len + b->writer.blocks.len);
    buffer_append(out, header, sizeof header);
    buffer_append_bytes(out, buffer_bytes(&b->stored_directory));
    buffer_append_bytes(out, buffer_bytes(&b->writer.blocks));
    return buffer_error(out);
}

static enum err deduplicate(struct rowgroup_builder *b, struct sort_entry *order,
                            rowgroup_is_stored_fn *is_stored, void *context, uint32_t *out_rows)
{
    enum err e = ERR_OK;
    uint32_t rows = 0;
    for (uint32_t begin = 0, end; begin < b->count && e == ERR_OK; begin = end) {
        const struct item *first = &b->items[order[begin].value];
        for (end = begin + 1; end < b->count; end++)
            if (!same_run(b->options.signal, first, &b->items[order[end].value]))
                break;
        e = run_deduplicate(b, order, begin, end, &rows);
    }
    if (e == ERR_OK && is_stored != NULL)
        e = contents_reserve(b);
    if (e == ERR_OK && is_stored != NULL)
        drop_stored(b, order, &rows, is_stored, context);
    contents_release(b);
    *out_rows = rows;
    return e;
}

enum err rowgroup_builder_finish(struct rowgroup_builder *b, rowgroup_is_stored_fn *is_stored,
                                 void *context, struct buffer *out,
                                 struct rowgroup_summary *out_summary)
{
    b->summary = (struct rowgroup_summary){ .start_min_unix_ns = UINT64_MAX };
    b->duration_max = 0;
    b->status_seen = 0;
    columns_reset(&b->columns, b->options.signal);
    group_writer_reset(&b->writer);
    if (b->columns.error != ERR_OK)
        return b->columns.error;

    struct sort_entry *order;
    uint32_t rows = 0;
    enum err e = sort_items(b, &order);
    if (e == ERR_OK)
        e = deduplicate(b, order, is_stored, context, &rows);
    if (e == ERR_OK)
        e = walk_rows(b, order, rows);
    if (e != ERR_OK)
        return e;
    b->summary.rows = rows;
    b->summary.duplicates = b->count - rows;
    if (rows == 0)
        b->summary.start_min_unix_ns = 0;
    if (b->options.signal == SIGNAL_TRACES)
        e = operations_collect(b, rows);
    else
        log_traces_collect(b);
    buffer_reset(&b->filter);
    if (e == ERR_OK && b->summary.traces > 0)
        e = trace_filter_build(b->traces, b->summary.traces, &b->filter);
    if (e == ERR_OK)
        e = write_group(b, out);
    if (e != ERR_OK)
        return e;
    b->summary.trace_filter = buffer_bytes(&b->filter);
    *out_summary = b->summary;
    return ERR_OK;
}

struct hash128 rowgroup_content_hash(const struct hash_key *key, enum signal signal,
                                     const struct otlp_items *item)
{
    return content_hash(key, signal, item);
}
