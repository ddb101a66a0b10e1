/* SPDX-License-Identifier: Apache-2.0 */
/* One pass over each item, in final order: every field to its column. */
#include "storage/rowgroup/rowgroup_builder_private.h"

#include "base/mem.h"
#include "storage/derive/derive_span.h"

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
            node = columns_attribute(c, node, TABLE_EVENT, bytes);
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
            node = columns_attribute(c, node, TABLE_LINK, bytes);
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
    uint64_t v = 0;
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

static uint64_t parent_code(struct rowgroup_builder *b, const struct place *at, struct bytes parent)
{
    if (parent.len == 0)
        return 0;
    uint64_t id = parent.len == 8 ? load_le64(parent.data) : 0;
    uint32_t row = UINT32_MAX;
    if (id != 0 && at->is_large) {
        row = int_map_find(&b->ids, id);
    } else if (id != 0) {
        for (uint32_t i = at->run_begin; i < at->run_end; i++) {
            if (b->rows[i].span_id == id) {
                row = i;
                break;
            }
        }
    }
    if (row == UINT32_MAX || row / ROWGROUP_CHUNK_ROWS != at->row / ROWGROUP_CHUNK_ROWS) {
        columns_plain(&b->columns, COLUMN_PARENT_ID, parent);
        return 1;
    }
    return 2 + zigzag((uint64_t)row - at->row);
}

/* Of the attribute whose value its column has last; equal ones only where key, type and value are equal. */
static uint64_t wanted_code(const struct columns *c, const struct shape_node *n)
{
    const struct column *column = &c->list[COLUMN_FIXED_COUNT + n->key];
    uint64_t value = column->last_code;
    if (column->kind == COLUMN_KIND_INT ? column->count == 0 : !column->is_numbered)
        return DERIVE_CODE_NONE; /* no memory for it; or texts that have no numbers */
    if (column->kind == COLUMN_KIND_INT)
        value = int_to_ordered(
            (int64_t)(column->is_constant ? column->first : column->ints[column->count - 1]));
    return value < UINT32_MAX ? (uint64_t)n->key << 32 | value : DERIVE_CODE_NONE;
}

/* An attribute went to its column. */
static inline void attribute_note(struct rowgroup_builder *b, uint32_t node, struct bytes message,
                                  uint32_t *wanted_count)
{
    const struct shape_node *n = &b->columns.nodes[node];
    if (n->is_wanted && (*wanted_count)++ < DERIVE_ATTRIBUTES_MAX) {
        b->wanted[b->wanted_used + *wanted_count - 1] = message;
        b->wanted_codes[b->wanted_used + *wanted_count - 1] = wanted_code(&b->columns, n);
    }
}

static void spans_show(struct rowgroup_builder *b)
{
    if (b->spans_count > 0)
        b->options.on_spans(b->options.on_spans_context, b->spans, b->spans_count);
    b->spans_count = b->wanted_used = 0;
}

static void walk_span(struct rowgroup_builder *b, const struct place *place)
{
    struct columns *c = &b->columns;
    const struct item *item = &b->rows[place->row];
    const uint8_t *at = item->data, *end = at + item->len;
    uint32_t tag, node = TABLE_ITEM, events = 0, links = 0;
    uint64_t v, finish = 0, kind = 0, status = 0, flags = 0, dropped[3] = { 0 };
    struct bytes bytes, state = { 0 }, parent = { 0 }, name = { 0 }, message = { 0 };
    uint32_t wanted_count = 0;
    bool gathers = false;
    /* What nearly every span begins with, as all write it: each step knows what it looks for. */
    if (end - at >= 28 && at[0] == WIRE_TAG(1, WIRE_LENGTH) && at[1] == 16 &&
        at[18] == WIRE_TAG(2, WIRE_LENGTH) && at[19] == 8)
        at += 28;
    (void)wire_take_bytes(&at, end, WIRE_TAG(4, WIRE_LENGTH), &parent);
    (void)wire_take_bytes(&at, end, WIRE_TAG(5, WIRE_LENGTH), &name);
    if (end - at >= 2 && at[0] == WIRE_TAG(6, WIRE_VARINT) && at[1] < 0x80) {
        kind = at[1];
        at += 2;
    }
    if (end - at >= 18 && at[0] == WIRE_TAG(7, WIRE_FIXED64) &&
        at[9] == WIRE_TAG(8, WIRE_FIXED64)) {
        finish = load_le64(at + 10);
        at += 18;
    }
    gathers = b->options.on_spans != NULL && derive_asks((uint32_t)kind, parent.len > 0);
    while (wire_take_bytes(&at, end, WIRE_TAG(OTLP_SPAN_ATTRIBUTES, WIRE_LENGTH), &bytes)) {
        node = columns_attribute(c, node, TABLE_ITEM, bytes);
        if (gathers)
            attribute_note(b, node, bytes, &wanted_count);
    }
    /* And whatever else there is, in any order. */
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
        case WIRE_TAG(6, WIRE_VARINT): /* after attributes: these were not gathered */
            kind = (uint32_t)v;
            gathers = b->options.on_spans != NULL && node == TABLE_ITEM &&
                      derive_asks((uint32_t)kind, parent.len > 0);
            break;
        case WIRE_TAG(8, WIRE_FIXED64):
            finish = v;
            break;
        case WIRE_TAG(OTLP_SPAN_ATTRIBUTES, WIRE_LENGTH):
            node = columns_attribute_slow(c, node, TABLE_ITEM, bytes);
            if (gathers)
                attribute_note(b, node, bytes, &wanted_count);
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
    columns_plain(c, COLUMN_SPAN_ID, bytes_of(&item->span_id, sizeof item->span_id));
    columns_int(c, COLUMN_PARENT, parent_code(b, place, parent));
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
    if (b->options.on_spans == NULL)
        return;
    const struct context *of = (const void *)intern_get(&b->contexts, item->context).data;
    bool has_attributes = gathers && wanted_count <= DERIVE_ATTRIBUTES_MAX;
    b->spans[b->spans_count++] = (struct derive_span){
        .context = item->context,
        .resource = dictionary_get(&b->texts, of->resource),
        .message = bytes_of(item->data, item->len),
        .name = name,
        .trace_state = state,
        .trace_high = item->trace_high,
        .trace_low = item->trace_low,
        .span_id = item->span_id,
        .parent_id = parent.len == 8 ? load_le64(parent.data) : 0,
        .start_unix_ns = item->time,
        .duration_ns = duration,
        .kind = (uint32_t)kind,
        .status = (uint32_t)code,
        .links_count = links,
        .attributes = has_attributes ? b->wanted + b->wanted_used : NULL,
        .attributes_count = wanted_count,
        .attribute_codes = has_attributes ? b->wanted_codes + b->wanted_used : NULL,
        .name_plus_one = c->list[COLUMN_NAME].last_code + 1,
    };
    b->wanted_used += has_attributes ? wanted_count : 0;
    if (b->spans_count == DERIVE_SPANS_MAX || b->wanted_used > WANTED_MAX - DERIVE_ATTRIBUTES_MAX)
        spans_show(b);
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
            node = columns_value(c, node, TABLE_BODY, (struct bytes){ 0 }, true, bytes);
            break;
        case WIRE_TAG(OTLP_LOG_ATTRIBUTES, WIRE_LENGTH):
            node = columns_attribute(c, node, TABLE_ITEM, bytes);
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
    columns_plain(c, COLUMN_TRACE_ID, bytes_of(id->b, sizeof id->b));
}

/* Items lie anywhere in the bodies, so their lines are asked for some rows ahead: into the second level, as the
 * first has too few places for lines on their way, and waits for one. */
enum { PREFETCH_ROWS = 6, PREFETCH_BYTES_MAX = 1024 };

static void item_prefetch(const struct item *item)
{
    size_t len = item->len < PREFETCH_BYTES_MAX ? item->len : PREFETCH_BYTES_MAX;
    for (size_t i = 0; i < len; i += 64)
        __builtin_prefetch(item->data + i, 0, 2);
}

static enum err run_walk(struct rowgroup_builder *b, uint32_t begin, uint32_t end, uint32_t rows)
{
    struct columns *c = &b->columns;
    struct place at = { .run_begin = begin,
                        .run_end = end,
                        .is_large = end - begin > SCAN_RUN_MAX };
    enum err e = ERR_OK;
    if (b->options.signal == SIGNAL_TRACES) {
        b->traces[b->summary.traces++] = trace_id_of(&b->rows[begin]);
        for (uint32_t i = begin; at.is_large && i < end && e == ERR_OK; i++)
            (void)int_map_put(&b->ids, b->rows[i].span_id, i, &e);
    }
    for (uint32_t row = begin; row < end && e == ERR_OK; row++) {
        const struct item *item = &b->rows[row];
        if (row + PREFETCH_ROWS < rows)
            item_prefetch(&b->rows[row + PREFETCH_ROWS]);
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
            walk_span(b, &at);
            at.time_before = item->time;
        } else {
            walk_log(b, item, is_first ? 0 : b->rows[row - 1].time);
        }
        e = c->error;
    }
    map_clear(&b->ids);
    return e;
}

enum err builder_walk_rows(struct rowgroup_builder *b, uint32_t rows)
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
    b->spans_count = b->wanted_used = 0;
    for (uint32_t begin = 0, end; begin < rows && e == ERR_OK; begin = end) {
        for (end = begin + 1; end < rows; end++)
            if (!same_run(b->options.signal, &b->rows[begin], &b->rows[end]))
                break;
        e = run_walk(b, begin, end, rows);
    }
    spans_show(b);
    if (rows > 0)
        columns_chunk_end(&b->columns);
    return e != ERR_OK ? e : b->columns.error;
}
