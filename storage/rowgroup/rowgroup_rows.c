/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/rowgroup/rowgroup_rows.h"

#include "proto/pb_writer.h"

#include <assert.h>

struct chunk *chunk_of_row(struct group *g, uint32_t row)
{
    uint32_t number = row / g->chunk_rows;
    if (!group_load(g))
        return NULL;
    if (number >= g->chunks_count) {
        group_fail(g, ERR_INVALID);
        return NULL;
    }
    if (g->chunks[number] != NULL)
        return g->chunks[number];
    struct chunk *c = group_alloc(g, &g->rows, 1, sizeof *c);
    if (c == NULL)
        return NULL;
    *c = (struct chunk){ .group = g, .section = number + 1, .first_row = number * g->chunk_rows };
    uint32_t left = g->segment.bounds.rows - c->first_row;
    c->rows = left < g->chunk_rows ? left : g->chunk_rows;
    g->chunks[number] = c;
    return c;
}

/* ---- Values */

struct stream *chunk_stream(struct chunk *c, enum rowgroup_column column)
{
    if (!c->is_known[column]) {
        c->fixed[column] = group_stream(c->group, c->section, column);
        c->is_known[column] = c->group->error == ERR_OK;
    }
    return c->fixed[column];
}

static struct stream *keyed_stream(struct chunk *c, uint32_t key)
{
    if (!c->is_keyed_known[key]) {
        c->keyed[key] = group_stream(c->group, c->section, COLUMN_FIXED_COUNT + key);
        c->is_keyed_known[key] = c->group->error == ERR_OK;
    }
    return c->keyed[key];
}

static uint64_t stream_int(struct group *g, struct stream *s, uint32_t i)
{
    if (s == NULL || i >= s->count) {
        group_fail(g, ERR_CORRUPT);
        return 0;
    }
    return ints_get(&s->ints, i);
}

uint64_t chunk_int(struct chunk *c, enum rowgroup_column column, uint32_t i)
{
    return stream_int(c->group, chunk_stream(c, column), i);
}

struct bytes chunk_bytes(struct chunk *c, enum rowgroup_column column, uint32_t i)
{
    return group_bytes(c->group, chunk_stream(c, column), i);
}

/* ---- Times and IDs */

static void span_times(struct chunk *c, uint64_t *times, uint32_t *runs)
{
    struct group *g = c->group;
    struct stream *lengths = chunk_stream(c, COLUMN_RUN_LENGTH);
    struct stream *firsts = chunk_stream(c, COLUMN_RUN_TIME);
    struct stream *deltas = chunk_stream(c, COLUMN_TIME); /* none when each run has one row */
    uint32_t count = lengths == NULL ? 0 : lengths->count, row = 0, delta = 0;
    uint32_t deltas_count = deltas == NULL ? 0 : deltas->count;
    if (firsts == NULL || firsts->count != count || count > c->rows ||
        deltas_count != c->rows - count) {
        group_fail(g, ERR_CORRUPT);
        return;
    }
    for (uint32_t run = 0; run < count; run++) {
        uint64_t length = ints_get(&lengths->ints, run), time = ints_get(&firsts->ints, run);
        /* Each of the runs to come has a row at least. */
        if (length == 0 || length > c->rows - row - (count - run - 1)) {
            group_fail(g, ERR_CORRUPT);
            return;
        }
        times[row] = time;
        runs[row++] = run;
        for (uint64_t i = 1; i < length; i++) {
            time += ints_get(&deltas->ints, delta++);
            times[row] = time;
            runs[row++] = run;
        }
    }
    if (row != c->rows)
        group_fail(g, ERR_CORRUPT);
}

static void log_times(struct chunk *c, uint64_t *times, uint64_t *sent)
{
    uint64_t before = 0;
    for (uint32_t row = 0; row < c->rows && c->group->error == ERR_OK; row++) {
        sent[row] = before + unzigzag(chunk_int(c, COLUMN_TIME, row));
        times[row] = sent[row];
        if (sent[row] == 0)
            times[row] = unzigzag(chunk_int(c, COLUMN_DURATION, row));
        before = times[row];
    }
}

bool chunk_times(struct chunk *c)
{
    struct group *g = c->group;
    if (c->times != NULL || g->error != ERR_OK)
        return g->error == ERR_OK;
    uint64_t *times = group_alloc(g, &g->rows, c->rows, sizeof *times);
    if (times != NULL && g->segment.bounds.signal == SIGNAL_TRACES) {
        c->runs = group_alloc(g, &g->rows, c->rows, sizeof *c->runs);
        if (c->runs != NULL)
            span_times(c, times, c->runs);
    } else if (times != NULL) {
        c->log_times = group_alloc(g, &g->rows, c->rows, sizeof *c->log_times);
        if (c->log_times != NULL)
            log_times(c, times, c->log_times);
    }
    if (g->error == ERR_OK)
        c->times = times;
    return g->error == ERR_OK;
}

struct bytes chunk_trace_id(struct chunk *c, uint32_t row)
{
    bool is_spans = c->group->segment.bounds.signal == SIGNAL_TRACES;
    if (is_spans && !chunk_times(c))
        return (struct bytes){ 0 };
    struct bytes id = chunk_bytes(c, COLUMN_TRACE_ID, is_spans ? c->runs[row] : row);
    if (c->group->error == ERR_OK && id.len != 16 && (is_spans || id.len != 0))
        group_fail(c->group, ERR_CORRUPT);
    return id;
}

static struct bytes span_id(struct chunk *c, uint32_t row)
{
    struct bytes id = chunk_bytes(c, COLUMN_SPAN_ID, row);
    if (c->group->error == ERR_OK && id.len != 8 && id.len != 0)
        group_fail(c->group, ERR_CORRUPT);
    return id;
}

/* Parents outside of the chunk have their IDs in a column of their own: the nth of them. The row itself has been
 * read, and the rows to count stand before it: with a place of its own neither reading begins anew. */
static uint32_t outside_parents_before(struct chunk *c, uint32_t row)
{
    if (row < c->outside_row || c->outside_row == 0) {
        c->outside_codes = chunk_stream(c, COLUMN_PARENT)->ints;
        c->outside_row = c->outside_count = 0;
    }
    for (; c->outside_row < row; c->outside_row++)
        c->outside_count += ints_get(&c->outside_codes, c->outside_row) == 1;
    return c->outside_count;
}

struct bytes chunk_parent_id(struct chunk *c, uint32_t row)
{
    uint64_t code = chunk_int(c, COLUMN_PARENT, row);
    if (code == 0)
        return (struct bytes){ 0 };
    if (code == 1)
        return chunk_bytes(c, COLUMN_PARENT_ID, outside_parents_before(c, row));
    uint64_t parent = row + unzigzag(code - 2);
    if (parent >= c->rows) {
        group_fail(c->group, ERR_CORRUPT);
        return (struct bytes){ 0 };
    }
    return span_id(c, (uint32_t)parent);
}

/* ---- The place */

static const enum rowgroup_column shape_column[TABLE_COUNT] = { COLUMN_SHAPE, COLUMN_EVENT_SHAPE,
                                                                COLUMN_LINK_SHAPE };
static const enum rowgroup_column count_column[TABLE_COUNT] = { COLUMN_FIXED_COUNT,
                                                                COLUMN_EVENT_COUNT,
                                                                COLUMN_LINK_COUNT };

const struct shape *chunk_shape(struct chunk *c, enum rowgroup_table table)
{
    struct group *g = c->group;
    uint64_t number = chunk_int(c, shape_column[table], c->at[table]);
    if (g->error == ERR_OK && number >= g->shapes_count[table])
        group_fail(g, ERR_CORRUPT);
    return g->error == ERR_OK ? &g->shapes[table][number] : NULL;
}

static void place_reset(struct chunk *c, enum rowgroup_table table)
{
    c->at[table] = 0;
    for (uint32_t k = 0; k < c->group->keys_count; k++) {
        uint32_t of = c->group->keys[k].table;
        if (of == table || (of == TABLE_BODY && table == TABLE_ITEM))
            c->next[k] = 0;
    }
}

/* A stranger's group may have a key for each row, so what has a place for each key is made late. */
static bool keys_ready(struct chunk *c)
{
    struct group *g = c->group;
    if (c->next != NULL)
        return true;
    struct stream **keyed = group_alloc(g, &g->rows, g->keys_count, sizeof *keyed);
    bool *known = group_alloc(g, &g->rows, g->keys_count, sizeof *known);
    uint32_t *next = group_alloc(g, &g->rows, g->keys_count, sizeof *next);
    if (g->error != ERR_OK)
        return false;
    c->keyed = keyed;
    c->is_keyed_known = known;
    c->next = next;
    return true;
}

/* Step over the row at the place. */
static void place_step(struct chunk *c, enum rowgroup_table table)
{
    const struct shape *shape = chunk_shape(c, table);
    for (uint32_t i = 0; shape != NULL && i < shape->count; i++)
        c->next[shape->keys[i]]++;
    c->at[table]++;
}

/* Many rows at once: count them by shape, then take each shape's keys so many times. */
static void place_jump(struct chunk *c, enum rowgroup_table table, uint32_t to)
{
    struct group *g = c->group;
    struct stream *s = chunk_stream(c, shape_column[table]);
    if (s == NULL || to > s->count || s->base + s->range >= g->shapes_count[table]) {
        group_fail(g, ERR_CORRUPT);
        return;
    }
    uint32_t *rows = g->shape_rows[table];
    uint32_t lowest = (uint32_t)s->base, highest = (uint32_t)(s->base + s->range);
    for (uint32_t row = c->at[table]; row < to; row++)
        rows[ints_get(&s->ints, row)]++;
    for (uint32_t shape = lowest; shape <= highest; shape++) {
        const struct shape *one = &g->shapes[table][shape];
        for (uint32_t i = 0; rows[shape] > 0 && i < one->count; i++)
            c->next[one->keys[i]] += rows[shape];
        rows[shape] = 0;
    }
    c->at[table] = to;
}

bool chunk_seek(struct chunk *c, enum rowgroup_table table, uint32_t to)
{
    struct group *g = c->group;
    if (g->error != ERR_OK || !keys_ready(c))
        return false;
    if (to < c->at[table])
        place_reset(c, table);
    /* A jump looks at every shape, so it pays when there are more rows than that. */
    if (to - c->at[table] > 4 && to - c->at[table] > g->shapes_count[table] / 4 &&
        g->error == ERR_OK)
        place_jump(c, table, to);
    while (c->at[table] < to && g->error == ERR_OK)
        place_step(c, table);
    return g->error == ERR_OK;
}

uint32_t chunk_children(struct chunk *c, enum rowgroup_table table, uint32_t row, uint32_t *first)
{
    struct stream *s = chunk_stream(c, count_column[table]);
    *first = 0;
    if (s == NULL || row >= s->count || s->base + s->range > ROWGROUP_ROWS_MAX) {
        group_fail(c->group, ERR_CORRUPT);
        return 0;
    }
    if (row < c->children[table].row) { /* rows are asked for in order, nearly always */
        c->children[table].row = 0;
        c->children[table].count = 0;
    }
    c->children[table].count += ints_sum(&s->ints, c->children[table].row, row);
    c->children[table].row = row;
    uint64_t before = c->children[table].count, count = ints_get(&s->ints, row);
    if (before + count > UINT32_MAX) {
        group_fail(c->group, ERR_CORRUPT);
        return 0;
    }
    *first = (uint32_t)before;
    return (uint32_t)count;
}

void chunk_value(struct chunk *c, const struct shape *shape, uint32_t index, uint32_t *out_type,
                 struct otlp_value *out)
{
    uint32_t key = shape->keys[index], nth = c->next[key];
    for (uint32_t i = 0; i < index; i++)
        nth += shape->keys[i] == key; /* the same key again in one row */
    struct stream *s = keyed_stream(c, key);
    uint32_t type = c->group->keys[key].type;
    *out_type = type;
    *out = (struct otlp_value){ .type = type < ROWGROUP_NO_VALUE ? (enum otlp_value_type)type
                                                                 : OTLP_EMPTY };
    uint64_t v;
    switch (type) {
    case OTLP_STRING:
    case OTLP_ARRAY:
    case OTLP_KVLIST:
    case OTLP_BYTES:
        out->bytes = group_bytes(c->group, s, nth);
        break;
    case OTLP_INT:
        out->integer = int_from_ordered(stream_int(c->group, s, nth));
        break;
    case OTLP_BOOL:
        out->boolean = stream_int(c->group, s, nth) != 0;
        break;
    case OTLP_DOUBLE:
        v = stream_int(c->group, s, nth);
        memcpy(&out->number, &v, sizeof v);
        break;
    default:
        break;
    }
}

/* ---- Rows as messages */

static size_t varint_len(uint64_t v)
{
    return ((size_t)bit_length(v | 1) + 6) / 7;
}

static size_t value_len(uint32_t type, const struct otlp_value *v)
{
    switch (type) {
    case OTLP_STRING:
    case OTLP_ARRAY:
    case OTLP_KVLIST:
    case OTLP_BYTES:
        return 1 + varint_len(v->bytes.len) + v->bytes.len;
    case OTLP_INT:
        return 1 + varint_len((uint64_t)v->integer);
    case OTLP_BOOL:
        return 2;
    case OTLP_DOUBLE:
        return 9;
    default:
        return 0;
    }
}

/* The members of an AnyValue: one, or none. */
static void value_write(struct buffer *out, uint32_t type, const struct otlp_value *v)
{
    switch (type) {
    case OTLP_STRING:
    case OTLP_ARRAY:
    case OTLP_KVLIST:
    case OTLP_BYTES:
        pb_bytes(out, type, v->bytes);
        break;
    case OTLP_INT:
        pb_uint(out, OTLP_INT, (uint64_t)v->integer);
        break;
    case OTLP_BOOL:
        pb_uint(out, OTLP_BOOL, v->boolean ? 1 : 0);
        break;
    case OTLP_DOUBLE:
        pb_double(out, OTLP_DOUBLE, v->number);
        break;
    default:
        break;
    }
}

static void attribute_write(struct buffer *out, uint32_t field, struct bytes key, uint32_t type,
                            const struct otlp_value *v)
{
    size_t value = value_len(type, v), len = 0;
    if (key.len > 0)
        len += 1 + varint_len(key.len) + key.len;
    if (type != ROWGROUP_NO_VALUE)
        len += 1 + varint_len(value) + value;
    pb_tag(out, field, 2);
    pb_varint(out, len);
    if (key.len > 0)
        pb_bytes(out, 1, key);
    if (type != ROWGROUP_NO_VALUE) {
        pb_tag(out, 2, 2);
        pb_varint(out, value);
        value_write(out, type, v);
    }
}

static void attributes_write(struct chunk *c, enum rowgroup_table table, uint32_t field,
                             struct buffer *out)
{
    const struct shape *shape = chunk_shape(c, table);
    for (uint32_t i = 0; shape != NULL && i < shape->count && c->group->error == ERR_OK; i++) {
        const struct group_key *key = &c->group->keys[shape->keys[i]];
        uint32_t type;
        struct otlp_value v;
        if (key->table == TABLE_BODY)
            continue;
        chunk_value(c, shape, i, &type, &v);
        attribute_write(out, field, key->name, type, &v);
    }
}

/* proto3: what is zero or empty is not written. */
static void bytes_write(struct buffer *out, uint32_t field, struct bytes v)
{
    if (v.len > 0)
        pb_bytes(out, field, v);
}

static void uint_write(struct buffer *out, uint32_t field, uint64_t v)
{
    if (v != 0)
        pb_uint(out, field, v);
}

/* Enumerations are int32: negative numbers, which nobody should send, have ten bytes. */
static void enum_write(struct buffer *out, uint32_t field, uint64_t v)
{
    uint_write(out, field, (uint64_t)(int64_t)(int32_t)(uint32_t)v);
}

static void fixed64_write(struct buffer *out, uint32_t field, uint64_t v)
{
    if (v != 0)
        pb_fixed64(out, field, v);
}

static void fixed32_write(struct buffer *out, uint32_t field, uint64_t v)
{
    if (v != 0)
        pb_fixed32(out, field, (uint32_t)v);
}

static void event_write(struct chunk *c, uint32_t event, uint64_t span_start, struct buffer *out)
{
    if (!chunk_seek(c, TABLE_EVENT, event))
        return;
    size_t mark = pb_begin(out, OTLP_SPAN_EVENTS);
    fixed64_write(out, 1, span_start + unzigzag(chunk_int(c, COLUMN_EVENT_TIME, event)));
    bytes_write(out, 2, chunk_bytes(c, COLUMN_EVENT_NAME, event));
    attributes_write(c, TABLE_EVENT, OTLP_EVENT_ATTRIBUTES, out);
    uint_write(out, 4, chunk_int(c, COLUMN_EVENT_DROPPED, event));
    pb_end(out, mark);
}

static void link_write(struct chunk *c, uint32_t link, struct buffer *out)
{
    if (!chunk_seek(c, TABLE_LINK, link))
        return;
    size_t mark = pb_begin(out, OTLP_SPAN_LINKS);
    bytes_write(out, 1, chunk_bytes(c, COLUMN_LINK_TRACE_ID, link));
    bytes_write(out, 2, chunk_bytes(c, COLUMN_LINK_SPAN_ID, link));
    bytes_write(out, 3, chunk_bytes(c, COLUMN_LINK_STATE, link));
    attributes_write(c, TABLE_LINK, OTLP_LINK_ATTRIBUTES, out);
    uint_write(out, 5, chunk_int(c, COLUMN_LINK_DROPPED, link));
    fixed32_write(out, 6, chunk_int(c, COLUMN_LINK_FLAGS, link));
    pb_end(out, mark);
}

static void status_write(struct chunk *c, uint32_t row, struct buffer *out)
{
    uint64_t status = chunk_int(c, COLUMN_STATUS, row);
    if (status == 0)
        return;
    size_t mark = pb_begin(out, 15);
    bytes_write(out, 2, chunk_bytes(c, COLUMN_STATUS_MESSAGE, row));
    enum_write(out, 3, status - 1);
    pb_end(out, mark);
}

static void events_write(struct chunk *c, uint32_t row, struct buffer *out)
{
    uint32_t first, count = chunk_children(c, TABLE_EVENT, row, &first);
    for (uint32_t i = 0; i < count && c->group->error == ERR_OK; i++)
        event_write(c, first + i, c->times[row], out);
}

static void links_write(struct chunk *c, uint32_t row, struct buffer *out)
{
    uint32_t first, count = chunk_children(c, TABLE_LINK, row, &first);
    for (uint32_t i = 0; i < count && c->group->error == ERR_OK; i++)
        link_write(c, first + i, out);
}

static void span_ids_write(struct chunk *c, uint32_t row, unsigned parts, struct buffer *out)
{
    if (parts & ROW_IDS) {
        bytes_write(out, 1, chunk_trace_id(c, row));
        bytes_write(out, 2, span_id(c, row));
    }
    if (parts & ROW_REST)
        bytes_write(out, 3, chunk_bytes(c, COLUMN_TRACE_STATE, row));
    if (parts & ROW_IDS)
        bytes_write(out, 4, chunk_parent_id(c, row));
}

/* In the order of the fields' numbers. */
static void span_write(struct chunk *c, uint32_t row, unsigned parts, struct buffer *out)
{
    bool has_rest = (parts & ROW_REST) != 0;
    span_ids_write(c, row, parts, out);
    if (parts & ROW_NAME)
        bytes_write(out, 5, chunk_bytes(c, COLUMN_NAME, row));
    if (parts & ROW_KIND)
        enum_write(out, 6, chunk_int(c, COLUMN_KIND, row));
    if (parts & ROW_TIMES) {
        uint64_t start = c->times[row];
        fixed64_write(out, 7, start);
        fixed64_write(out, 8, start + chunk_int(c, COLUMN_DURATION, row));
    }
    if (parts & ROW_ATTRIBUTES)
        attributes_write(c, TABLE_ITEM, OTLP_SPAN_ATTRIBUTES, out);
    if (has_rest)
        uint_write(out, 10, chunk_int(c, COLUMN_DROPPED_ATTRIBUTES, row));
    if (parts & ROW_EVENTS)
        events_write(c, row, out);
    if (has_rest)
        uint_write(out, 12, chunk_int(c, COLUMN_DROPPED_EVENTS, row));
    if (parts & ROW_LINKS)
        links_write(c, row, out);
    if (has_rest)
        uint_write(out, 14, chunk_int(c, COLUMN_DROPPED_LINKS, row));
    if (parts & ROW_STATUS)
        status_write(c, row, out);
    if (has_rest)
        fixed32_write(out, 16, chunk_int(c, COLUMN_FLAGS, row));
}

static void body_write(struct chunk *c, struct buffer *out)
{
    const struct shape *shape = chunk_shape(c, TABLE_ITEM);
    for (uint32_t i = 0; shape != NULL && i < shape->count; i++) {
        if (c->group->keys[shape->keys[i]].table != TABLE_BODY)
            continue;
        uint32_t type;
        struct otlp_value v;
        chunk_value(c, shape, i, &type, &v);
        pb_tag(out, 5, 2);
        pb_varint(out, value_len(type, &v));
        value_write(out, type, &v);
        return;
    }
}

static void log_write(struct chunk *c, uint32_t row, unsigned parts, struct buffer *out)
{
    bool has_rest = (parts & ROW_REST) != 0, has_times = (parts & ROW_TIMES) != 0;
    uint64_t time = has_times ? c->log_times[row] : 0;
    if (has_times)
        fixed64_write(out, 1, time);
    if (parts & ROW_KIND)
        enum_write(out, 2, chunk_int(c, COLUMN_KIND, row));
    if (has_rest)
        bytes_write(out, 3, chunk_bytes(c, COLUMN_STATUS_MESSAGE, row));
    if (parts & ROW_BODY)
        body_write(c, out);
    if (parts & ROW_ATTRIBUTES)
        attributes_write(c, TABLE_ITEM, OTLP_LOG_ATTRIBUTES, out);
    if (has_rest) {
        uint_write(out, 7, chunk_int(c, COLUMN_DROPPED_ATTRIBUTES, row));
        fixed32_write(out, 8, chunk_int(c, COLUMN_FLAGS, row));
    }
    if (parts & ROW_IDS) {
        bytes_write(out, 9, chunk_trace_id(c, row));
        bytes_write(out, 10, span_id(c, row));
    }
    if (has_times)
        fixed64_write(out, 11, time + unzigzag(chunk_int(c, COLUMN_DURATION, row)));
    if (parts & ROW_NAME)
        bytes_write(out, 12, chunk_bytes(c, COLUMN_NAME, row));
}

void chunk_write_row(struct chunk *c, uint32_t row, unsigned parts, struct buffer *out)
{
    assert(row < c->rows);
    /* An event's time is a distance from its span's. */
    if ((parts & (ROW_TIMES | ROW_EVENTS)) != 0 && !chunk_times(c))
        return;
    /* The place is that of values by shape. */
    if ((parts & (ROW_ATTRIBUTES | ROW_BODY)) != 0 && !chunk_seek(c, TABLE_ITEM, row))
        return;
    if (c->group->segment.bounds.signal == SIGNAL_TRACES)
        span_write(c, row, parts, out);
    else
        log_write(c, row, parts, out);
}
