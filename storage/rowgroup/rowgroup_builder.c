/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies are only cut into items when they are added; all else happens in
 * rowgroup_builder_arrange(), which walks each item once, in its final order, so that nothing has to
 * be permuted but the items: where each is, and what it is ordered by; and in rowgroup_builder_encode(), which
 * reads columns and no items.
 *
 * Invariants
 *   B1  rows are ordered by trace ID, then start (log records: by time), then arrival
 *   B2  a chunk is self-contained: runs of a trace, parents' rows and time differences end at its edge
 *   B3  no two rows have equal IDs and equal content */
#include "storage/rowgroup/rowgroup_builder_private.h"

#include "base/mem.h"
#include "storage/content_hash.h"

#include <assert.h>

/* Lengths and offsets inside a group are 32 bits; with everything plain it stays far below. */
#define BODY_BYTES_MAX (UINT32_C(512) << 20)
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
    mem_free(b->rows);
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
    contents_release(b);
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

/* A scope group whose items were added; its context is known once its resource group has been read. */
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
    if (signal == SIGNAL_TRACES && item->len >= 28 && at[0] == WIRE_TAG(1, WIRE_LENGTH) &&
        at[1] == 16 && at[18] == WIRE_TAG(2, WIRE_LENGTH) && at[19] == 8) { /* as all write them */
        item->trace_high = load_be64(at + 2);
        item->trace_low = load_be64(at + 10);
        item->span_id = load_le64(at + 20);
        at += 28;
        seen = 3;
        (void)wire_take_bytes(&at, end, WIRE_TAG(4, WIRE_LENGTH), &bytes); /* parent */
        (void)wire_take_bytes(&at, end, WIRE_TAG(5, WIRE_LENGTH), &bytes); /* name */
        if (end - at >= 2 && at[0] == WIRE_TAG(6, WIRE_VARINT) && at[1] < 0x80)
            at += 2;
        if (end - at >= 9 && at[0] == WIRE_TAG(7, WIRE_FIXED64)) {
            item->time = load_le64(at + 1);
            return;
        }
    }
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

/* How far on in a body lines are asked for: the next items' heads are among them, wherever these are. */
#define ITEMS_AHEAD_BYTES 2048

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
    const uint8_t *at = message.data, *end = at + message.len, *ahead = at;
    uint32_t tag;
    uint64_t v;
    struct bytes bytes;
    enum err e = ERR_OK;
    while (e == ERR_OK && wire_next(&at, end, &tag, &v, &bytes)) {
        if (tag == WIRE_TAG(OTLP_SCOPE_ITEMS, WIRE_LENGTH)) {
            for (; ahead < at + ITEMS_AHEAD_BYTES && ahead < end; ahead += 64)
                __builtin_prefetch(ahead);
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
    assert(b->contents == NULL);
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

/* Items whose trace IDs agree in their upper halves, nearly always a trace: by lower half, then start, then
 * arrival, as the sort is stable. Only these few are looked at again, and not all items three times. */
static void ties_sort(const struct rowgroup_builder *b, struct sort_entry *entries,
                      struct sort_entry *scratch, uint32_t count)
{
    uint64_t low = b->items[entries[0].value].trace_low, differing = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct item *item = &b->items[entries[i].value];
        entries[i].key = item->time;
        differing |= item->trace_low ^ low;
    }
    struct sort_entry *order = sort_by_key(entries, scratch, count);
    if (differing != 0) {
        for (uint32_t i = 0; i < count; i++)
            order[i].key = b->items[order[i].value].trace_low;
        order = sort_by_key(order, order == entries ? scratch : entries, count);
    }
    if (order != entries)
        memcpy(entries, order, count * sizeof *entries);
}

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
    bool is_spans = b->options.signal == SIGNAL_TRACES;
    for (uint32_t i = 0; i < b->count; i++)
        order[i] = (struct sort_entry){ .key = is_spans ? b->items[i].trace_high : b->items[i].time,
                                        .value = i };
    order = sort_by_key(order, b->sort[1], b->count);
    struct sort_entry *scratch = order == b->sort[0] ? b->sort[1] : b->sort[0];
    for (uint32_t begin = 0, end; is_spans && begin < b->count; begin = end) {
        for (end = begin + 1; end < b->count && order[end].key == order[begin].key;)
            end++;
        if (end - begin > 1)
            ties_sort(b, order + begin, scratch + begin, end - begin);
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

/* For the items added so far: most groups have no two items with equal IDs, and hash nothing. */
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
        const struct dictionary *texts = &b->texts;
        *group = content_hash_group(b->options.content_key, dictionary_get(texts, c->resource),
                                    dictionary_get(texts, c->resource_schema),
                                    dictionary_get(texts, c->scope),
                                    dictionary_get(texts, c->scope_schema));
    }
    *content =
        content_hash_item(b->options.content_key, b->options.signal, *group, item_bytes(item));
    return *content;
}

void rowgroup_builder_ids(const struct rowgroup_builder *b, uint32_t number,
                          struct trace_id *out_trace_id, struct span_id *out_span_id)
{
    assert(number < b->count);
    *out_trace_id = trace_id_of(&b->items[number]);
    store_le64(out_span_id->b, b->items[number].span_id);
}

enum err rowgroup_builder_content(struct rowgroup_builder *b, uint32_t number, struct hash128 *out)
{
    assert(number < b->count);
    enum err e = contents_reserve(b);
    if (e == ERR_OK)
        *out = content_of(b, number);
    return e;
}

/* The IDs that make two items of a run candidates for being equal, as one number. */
static uint64_t item_id(enum signal signal, const struct item *item)
{
    if (signal == SIGNAL_TRACES)
        return item->span_id;
    return item->span_id ^ (item->trace_low * UINT64_C(0x9E3779B97F4A7C15)) ^ item->trace_high;
}

/* The earlier row of the run with this ID, else `row` itself; large runs are looked up in b->ids. */
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

#define KIND_NUMBERS (1u << 24)

static enum err operations_collect(struct rowgroup_builder *b, uint32_t rows)
{
    struct dictionary services = { 0 };
    struct int_map known = { 0 };
    enum err e = ERR_OK;
    uint32_t *service_of = mem_alloc_array(b->contexts.count + 1u, sizeof *service_of);
    struct bytes *service_names = mem_alloc_array(b->contexts.count + 1u, sizeof *service_names);
    if (service_of == NULL || service_names == NULL)
        e = ERR_NOMEM;
    for (uint32_t i = 0; i < b->contexts.count && e == ERR_OK; i++) {
        struct bytes resource = dictionary_get(&b->texts, context_of(b, i)->resource);
        struct bytes service = otlp_service_name(resource);
        service_of[i] = dictionary_put(&services, service, &e);
        service_names[service_of[i]] = service; /* lies in b->texts, as the resource */
    }
    const struct column *names = &b->columns.list[COLUMN_NAME];
    const struct column *contexts = &b->columns.list[COLUMN_CONTEXT];
    const struct column *kind_column = &b->columns.list[COLUMN_KIND];
    for (uint32_t row = 0; row < rows && e == ERR_OK; row++) {
        uint32_t service = service_of[column_int(contexts, row)];
        uint32_t name = column_code(names, row);
        uint32_t kind = (uint32_t)column_int(kind_column, row);
        /* Service and name are below ROWGROUP_ROWS_MAX, 2^20; OTLP has six kinds, and of what else may be sent those
         * that do not fit the key are one. */
        uint64_t kind_number = kind < KIND_NUMBERS ? kind : KIND_NUMBERS - 1;
        uint32_t next = (uint32_t)b->summary.operations_count;
        uint32_t at = int_map_put(
            &known, (uint64_t)service << 44 | (uint64_t)name << 24 | kind_number, next, &e);
        if (e == ERR_OK && at == next)
            e = operation_add(
                b, (struct rowgroup_operation){ .service = service_names[service],
                                                .name = dictionary_get(&names->dictionary, name),
                                                .kind = kind });
        if (e == ERR_OK)
            b->operations[at].spans++;
    }
    b->summary.operations = b->operations;
    mem_free(service_of);
    mem_free(service_names);
    dictionary_deinit(&services);
    int_map_deinit(&known);
    return e;
}

/* Log records are not in the order of their traces: the distinct IDs are the column's dictionary. */
static void log_traces_collect(struct rowgroup_builder *b)
{
    const struct dictionary *d = &b->columns.list[COLUMN_TRACE_ID].dictionary;
    for (uint32_t i = 0; i < d->texts.count; i++) {
        struct bytes id = dictionary_get(d, i);
        if (id.len == sizeof(struct trace_id))
            memcpy(b->traces[b->summary.traces++].b, id.data, sizeof(struct trace_id));
    }
}

/* ---- Finishing */

static enum err write_contexts(struct rowgroup_builder *b)
{
    struct group_writer *w = &b->writer;
    uint32_t count = b->contexts.count;
    uint64_t *values = mem_alloc_array(count + 1u, sizeof *values);
    if (values == NULL)
        return ERR_NOMEM;
    group_writer_texts(w, COLUMN_TEXT, &b->texts.texts, 0, b->texts.texts.count, false, NULL);
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

/* Items lie in order of arrival, and are asked for in another. */
#define PREFETCH_ITEMS 16u

static enum err deduplicate(struct rowgroup_builder *b, struct sort_entry *order,
                            rowgroup_is_stored_fn *is_stored, void *context, uint32_t *out_rows)
{
    enum err e = ERR_OK;
    uint32_t rows = 0;
    for (uint32_t begin = 0, end; begin < b->count && e == ERR_OK; begin = end) {
        const struct item *first = &b->items[order[begin].value];
        for (end = begin + 1; end < b->count; end++) {
            if (end + PREFETCH_ITEMS < b->count)
                __builtin_prefetch(&b->items[order[end + PREFETCH_ITEMS].value]);
            if (!same_run(b->options.signal, first, &b->items[order[end].value]))
                break;
        }
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

/* What is kept, one after the other: from here on rows are gone through in order, again and again. */
static enum err rows_place(struct rowgroup_builder *b, const struct sort_entry *order,
                           uint32_t rows)
{
    if (b->rows_capacity < rows || b->rows == NULL) {
        mem_free(b->rows);
        b->rows_capacity = 0;
        b->rows = mem_alloc(((size_t)b->capacity + 1) * sizeof *b->rows);
        if (b->rows == NULL)
            return ERR_NOMEM;
        b->rows_capacity = b->capacity;
    }
    for (uint32_t i = 0; i < rows; i++) {
        if (i + PREFETCH_ITEMS < rows)
            __builtin_prefetch(&b->items[order[i + PREFETCH_ITEMS].value]);
        b->rows[i] = b->items[order[i].value];
    }
    return ERR_OK;
}

enum err rowgroup_builder_arrange(struct rowgroup_builder *b, rowgroup_is_stored_fn *is_stored,
                                  void *context)
{
    b->summary = (struct rowgroup_summary){ .start_min_unix_ns = UINT64_MAX };
    b->duration_max = 0;
    b->status_seen = 0;
    columns_reset(&b->columns, b->options.signal);
    if (b->columns.error != ERR_OK)
        return b->columns.error;

    struct sort_entry *order;
    uint32_t rows = 0;
    enum err e = sort_items(b, &order);
    if (e == ERR_OK)
        e = deduplicate(b, order, is_stored, context, &rows);
    if (e == ERR_OK)
        e = rows_place(b, order, rows);
    if (e == ERR_OK)
        e = builder_walk_rows(b, rows);
    if (e != ERR_OK)
        return e;
    b->summary.rows = rows;
    b->summary.duplicates = b->count - rows;
    if (rows == 0)
        b->summary.start_min_unix_ns = 0;
    return ERR_OK;
}

bool rowgroup_builder_has(const struct rowgroup_builder *b, const struct trace_id *trace_id,
                          const struct span_id *span_id)
{
    const struct item wanted = { .trace_high = load_be64(trace_id->b),
                                 .trace_low = load_be64(trace_id->b + 8),
                                 .span_id = load_le64(span_id->b) };
    assert(b->options.signal == SIGNAL_TRACES);
    uint32_t low = 0, high = b->summary.rows;
    while (low < high) { /* the first row of this trace or a later one */
        uint32_t middle = low + (high - low) / 2;
        const struct item *item = &b->rows[middle];
        if (item->trace_high < wanted.trace_high ||
            (item->trace_high == wanted.trace_high && item->trace_low < wanted.trace_low))
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < b->summary.rows && same_run(SIGNAL_TRACES, &b->rows[low], &wanted); low++)
        if (b->rows[low].span_id == wanted.span_id)
            return true;
    return false;
}

enum err rowgroup_builder_encode(struct rowgroup_builder *b, struct buffer *out,
                                 struct rowgroup_summary *out_summary)
{
    enum err e = ERR_OK;
    group_writer_reset(&b->writer);
    if (b->options.signal == SIGNAL_TRACES)
        e = operations_collect(b, b->summary.rows);
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

enum err rowgroup_builder_finish(struct rowgroup_builder *b, rowgroup_is_stored_fn *is_stored,
                                 void *context, struct buffer *out,
                                 struct rowgroup_summary *out_summary)
{
    enum err e = rowgroup_builder_arrange(b, is_stored, context);
    return e == ERR_OK ? rowgroup_builder_encode(b, out, out_summary) : e;
}

struct hash128 rowgroup_content_hash(const struct hash_key *key, enum signal signal,
                                     const struct otlp_items *item)
{
    return content_hash(key, signal, item);
}
