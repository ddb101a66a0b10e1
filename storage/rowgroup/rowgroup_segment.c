/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/rowgroup/rowgroup_filter.h"

#include "proto/pb_writer.h"

#include <assert.h>

#define ROWS_PER_CHECK 256
/* Twice what the bodies of a group may have: what decodes to more is damage. */
#define VERIFY_BYTES_MAX ((size_t)1 << 30)

static struct group *group_from(struct segment *s)
{
    return (struct group *)(void *)s;
}

/* Begin an operation: an error of an earlier one says nothing about what this one needs. */
static struct group *begin(struct segment *s)
{
    struct group *g = group_from(s);
    g->error = ERR_OK;
    return g;
}

static bool may_match(struct segment *s, const struct expr *filter, uint64_t min_unix_ns,
                      uint64_t max_unix_ns)
{
    if (s->bounds.rows == 0 || s->bounds.start_max_unix_ns < min_unix_ns ||
        s->bounds.start_min_unix_ns >= max_unix_ns)
        return false;
    return filter == NULL || filter_may_match(begin(s), filter);
}

/* ---- Scanning */

static struct segment_row row_of(struct chunk *c, uint32_t row, enum expr_truth truth)
{
    struct segment_row out = { .row = c->first_row + row,
                               .start_unix_ns = c->times[row],
                               .truth = truth };
    struct bytes id = chunk_trace_id(c, row);
    if (id.len == sizeof out.trace_id.b)
        memcpy(out.trace_id.b, id.data, sizeof out.trace_id.b);
    if (c->group->segment.bounds.signal == SIGNAL_TRACES) {
        uint64_t duration = chunk_int(c, COLUMN_DURATION, row);
        out.duration_ns = duration > UINT64_MAX - c->times[row] ? 0 : duration;
    }
    return out;
}

struct scan {
    const struct query_context *q;
    const struct filter_verdicts *verdicts; /* NULL: every row */
    struct filter_row row;
    bool all_in_range;
    uint64_t min_unix_ns, max_unix_ns;
    segment_row_fn *on_row;
    void *context;
};

/* Whether a row that passes the sieve matches; then it is in *out. Times are decoded where the range asks for them, or a row
 * matches. */
static bool row_scan(struct scan *s, struct chunk *c, uint32_t row, struct segment_row *out)
{
    struct group *g = c->group;
    if (!s->all_in_range &&
        (!chunk_times(c) || c->times[row] < s->min_unix_ns || c->times[row] >= s->max_unix_ns))
        return false;
    enum expr_truth truth = EXPR_TRUE;
    if (s->verdicts != NULL) {
        filter_row_set(&s->row, c, row);
        truth = filter_rest(s->verdicts, &s->row);
    }
    if (g->error != ERR_OK || truth == EXPR_FALSE || !chunk_times(c))
        return false;
    *out = row_of(c, row, truth);
    return g->error == ERR_OK;
}

/* Returns whether more is wanted. */
static bool chunk_scan(struct scan *s, struct chunk *c)
{
    struct group *g = c->group;
    bool goes_on = true;
    struct segment_row found;
    const uint8_t *rows = NULL, *passed = NULL;
    uint32_t asked = 0;
    if (s->verdicts != NULL && filter_chunk_may(s->verdicts, c))
        rows = passed = sieve_chunk(&s->verdicts->sieve, c);
    if (g->error != ERR_OK || (s->verdicts != NULL && rows == NULL))
        return g->error == ERR_OK;
    for (uint32_t row = 0; row < c->rows && goes_on && g->error == ERR_OK; row++) {
        if (rows != NULL) {
            passed = memchr(rows + row, 1, c->rows - row);
            if (passed == NULL)
                break;
            row = (uint32_t)(passed - rows);
        }
        if (asked++ % ROWS_PER_CHECK == 0)
            group_fail(g, query_check(s->q));
        if (row_scan(s, c, row, &found))
            goes_on = s->on_row(s->context, &found);
    }
    return goes_on && g->error == ERR_OK;
}

/* After it filter_row_deinit(&out->row) must follow. False, and the group has failed. */
static bool scan_begin(struct scan *out, struct group *g, const struct expr *filter,
                       struct filter_verdicts *verdicts)
{
    if (filter != NULL && !filter_judge(g, filter, verdicts))
        return false;
    *out = (struct scan){ .verdicts = filter == NULL ? NULL : verdicts };
    filter_row_init(&out->row);
    return true;
}

static void scan_set(struct scan *s, struct group *g, const struct query_context *q,
                     uint64_t min_unix_ns, uint64_t max_unix_ns, segment_row_fn *on_row,
                     void *context)
{
    const struct segment_bounds *b = &g->segment.bounds;
    s->q = q;
    s->all_in_range = b->start_min_unix_ns >= min_unix_ns && b->start_max_unix_ns < max_unix_ns;
    s->min_unix_ns = min_unix_ns;
    s->max_unix_ns = max_unix_ns;
    s->on_row = on_row;
    s->context = context;
}

static enum err scan(struct segment *s, const struct query_context *q, const struct expr *filter,
                     uint64_t min_unix_ns, uint64_t max_unix_ns, segment_row_fn *on_row,
                     void *context)
{
    if (!may_match(s, filter, min_unix_ns, max_unix_ns))
        return ERR_OK;
    struct group *g = begin(s);
    struct filter_verdicts verdicts;
    struct scan scan;
    if (!scan_begin(&scan, g, filter, &verdicts))
        return g->error;
    scan_set(&scan, g, q, min_unix_ns, max_unix_ns, on_row, context);
    bool goes_on = true;
    for (uint32_t row = 0; row < s->bounds.rows && goes_on; row += g->chunk_rows) {
        struct chunk *c = chunk_of_row(g, row);
        goes_on = c != NULL && chunk_scan(&scan, c);
    }
    filter_row_deinit(&scan.row);
    return g->error;
}

/* ---- Finding a trace */

static void row_found(uint32_t row, uint32_t *out, size_t max, size_t *count)
{
    if (*count < max)
        out[*count] = row;
    (*count)++;
}

/* Spans lie in runs, one ID each, in the order of their IDs. That of a chunk's run, compared with `id`. */
static int run_compare(struct group *g, uint32_t chunk, bool is_last, const struct trace_id *id)
{
    struct stream *ids = group_stream(g, 1 + chunk, COLUMN_TRACE_ID);
    struct bytes run = bytes_of(id->b, 0);
    if (ids == NULL || ids->count == 0)
        group_fail(g, ERR_CORRUPT);
    else
        run = group_bytes(g, ids, is_last ? ids->count - 1 : 0);
    return bytes_compare(run, bytes_of(id->b, sizeof id->b));
}

/* The first chunk whose last run is not before the trace. Most IDs are random, so the first guess is nearly
 * always right, and one chunk's IDs are read instead of all. */
static uint32_t chunk_of_trace(struct group *g, const struct trace_id *id)
{
    uint32_t low = 0, high = g->chunks_count;
    uint32_t at = (uint32_t)((load_be64(id->b) >> 32) * high >> 32);
    while (low < high && g->error == ERR_OK) {
        if (run_compare(g, at, true, id) < 0) {
            low = at + 1;
        } else if (run_compare(g, at, false, id) < 0) {
            return at; /* and earlier ones end before it */
        } else {
            high = at;
        }
        at = low + (high - low) / 2;
    }
    return low;
}

/* The first run of the chunk that is not before the trace. */
static uint32_t run_of_trace(struct group *g, struct stream *ids, const struct trace_id *id)
{
    uint32_t low = 0, high = ids->count;
    while (low < high && g->error == ERR_OK) {
        uint32_t middle = low + (high - low) / 2;
        if (bytes_compare(group_bytes(g, ids, middle), bytes_of(id->b, sizeof id->b)) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Rows of the trace in a chunk. Returns whether it may go on in the next. Reads the chunk's IDs and nothing of
 * what rows share: nearly all that is asked here is a filter's false hit. */
static bool chunk_find(struct group *g, uint32_t chunk, const struct trace_id *id, uint32_t *out,
                       size_t max, size_t *count)
{
    uint32_t first_row = chunk * g->chunk_rows, left = g->segment.bounds.rows - first_row;
    uint32_t rows = left < g->chunk_rows ? left : g->chunk_rows;
    struct stream *ids = group_stream(g, 1 + chunk, COLUMN_TRACE_ID);
    uint32_t run = ids == NULL ? 0 : run_of_trace(g, ids, id);
    if (ids == NULL || g->error != ERR_OK || run == ids->count)
        return g->error == ERR_OK;
    if (!bytes_equal(group_bytes(g, ids, run), bytes_of(id->b, sizeof id->b)))
        return false;
    struct stream *lengths = group_stream(g, 1 + chunk, COLUMN_RUN_LENGTH);
    if (lengths == NULL || lengths->count != ids->count) {
        group_fail(g, ERR_CORRUPT);
        return false;
    }
    uint64_t row = ints_sum(&lengths->ints, 0, run);
    while (run < ids->count && g->error == ERR_OK &&
           bytes_equal(group_bytes(g, ids, run), bytes_of(id->b, sizeof id->b))) {
        uint64_t length = ints_get(&lengths->ints, run++);
        if (row > rows || length > rows - row) {
            group_fail(g, ERR_CORRUPT);
            return false;
        }
        for (uint64_t i = 0; i < length; i++)
            row_found(first_row + (uint32_t)row++, out, max, count);
    }
    return run == ids->count;
}

static void spans_find(struct group *g, const struct trace_id *id, uint32_t *out, size_t max,
                       size_t *count)
{
    bool goes_on = true;
    for (uint32_t chunk = chunk_of_trace(g, id);
         chunk < g->chunks_count && goes_on && g->error == ERR_OK; chunk++)
        goes_on = chunk_find(g, chunk, id, out, max, count);
}

static void logs_find(struct chunk *c, const struct trace_id *id, uint32_t *out, size_t max,
                      size_t *count)
{
    for (uint32_t row = 0; row < c->rows && c->group->error == ERR_OK; row++)
        if (bytes_equal(chunk_bytes(c, COLUMN_TRACE_ID, row), bytes_of(id->b, sizeof id->b)))
            row_found(c->first_row + row, out, max, count);
}

static enum err find_trace(struct segment *s, const struct trace_id *id, uint32_t *out, size_t max,
                           size_t *out_count)
{
    struct group *g = begin(s);
    size_t count = 0;
    if (s->bounds.signal == SIGNAL_TRACES)
        spans_find(g, id, out, max, &count);
    for (uint32_t row = 0;
         s->bounds.signal == SIGNAL_LOGS && row < s->bounds.rows && g->error == ERR_OK;
         row += g->chunk_rows) {
        struct chunk *c = chunk_of_row(g, row);
        if (c != NULL)
            logs_find(c, id, out, max, &count);
    }
    if (g->error == ERR_OK)
        *out_count = count;
    return g->error;
}

/* ---- Runs and their extents */

/* How many rows a run of a chunk has, which begin at `row`. 0 after an error. */
static uint32_t run_rows(struct chunk *c, struct stream *lengths, uint32_t run, uint32_t row)
{
    uint64_t length = ints_get(&lengths->ints, run);
    if (length == 0 || length > c->rows - row) {
        group_fail(c->group, ERR_CORRUPT);
        return 0;
    }
    return (uint32_t)length;
}

/* Returns whether more is wanted. */
static bool run_visit(struct chunk *c, struct stream *ids, uint32_t run, uint32_t row, uint32_t to,
                      segment_run_fn *on_run, void *context)
{
    struct group *g = c->group;
    struct bytes bytes = group_bytes(g, ids, run);
    struct trace_id id;
    uint64_t start_min = UINT64_MAX, end_max = 0;
    if (bytes.len != sizeof id.b) {
        group_fail(g, ERR_CORRUPT);
        return false;
    }
    memcpy(id.b, bytes.data, sizeof id.b);
    for (; row < to && g->error == ERR_OK; row++) {
        uint64_t start = c->times[row], duration = chunk_int(c, COLUMN_DURATION, row);
        uint64_t end = duration > UINT64_MAX - start ? start : start + duration;
        start_min = start < start_min ? start : start_min;
        end_max = end > end_max ? end : end_max;
    }
    return g->error == ERR_OK && on_run(context, &id, start_min, end_max);
}

static bool chunk_runs(struct chunk *c, segment_run_fn *on_run, void *context)
{
    struct group *g = c->group;
    struct stream *ids = group_stream(g, c->section, COLUMN_TRACE_ID);
    struct stream *lengths = group_stream(g, c->section, COLUMN_RUN_LENGTH);
    if (ids == NULL || lengths == NULL || lengths->count != ids->count || !chunk_times(c))
        group_fail(g, ERR_CORRUPT);
    bool goes_on = g->error == ERR_OK;
    for (uint32_t run = 0, row = 0; goes_on && run < ids->count; run++) {
        uint32_t length = run_rows(c, lengths, run, row);
        goes_on = length > 0 && run_visit(c, ids, run, row, row + length, on_run, context);
        row += length;
    }
    return goes_on && g->error == ERR_OK;
}

static enum err visit_runs(struct segment *s, const struct query_context *q, segment_run_fn *on_run,
                           void *context)
{
    struct group *g = begin(s);
    bool goes_on = true;
    assert(s->bounds.signal == SIGNAL_TRACES);
    for (uint32_t row = 0; row < s->bounds.rows && goes_on && g->error == ERR_OK;
         row += g->chunk_rows) {
        struct chunk *c = chunk_of_row(g, row);
        group_fail(g, query_check(q));
        goes_on = g->error == ERR_OK && chunk_runs(c, on_run, context);
    }
    return g->error;
}

/* The wanted runs of a chunk, numbers less `before`. Returns whether more is wanted. */
static bool chunk_scan_runs(struct scan *s, struct chunk *c, const uint32_t *runs, size_t first,
                            size_t end, uint32_t before)
{
    struct group *g = c->group;
    struct stream *lengths = group_stream(g, c->section, COLUMN_RUN_LENGTH);
    if (lengths == NULL)
        group_fail(g, ERR_CORRUPT);
    if (g->error != ERR_OK || (s->verdicts != NULL && !filter_chunk_may(s->verdicts, c)))
        return g->error == ERR_OK;
    bool goes_on = true;
    uint64_t row = 0;
    uint32_t at = 0;
    for (size_t i = first; i < end && goes_on && g->error == ERR_OK; i++) {
        row += ints_sum(&lengths->ints, at, runs[i] - before);
        at = runs[i] - before;
        uint32_t length = row < c->rows ? run_rows(c, lengths, at, (uint32_t)row) : 0;
        if (length == 0)
            group_fail(g, ERR_CORRUPT);
        bool is_found = false;
        struct segment_row found;
        for (uint32_t n = (uint32_t)row; n < row + length && !is_found && g->error == ERR_OK; n++)
            is_found = (s->verdicts == NULL || sieve_passes(&s->verdicts->sieve, c, n)) &&
                       row_scan(s, c, n, &found);
        if (!is_found)
            continue;
        found.run = i;
        goes_on = s->on_row(s->context, &found);
    }
    return goes_on && g->error == ERR_OK;
}

static enum err scan_runs(struct segment *s, const struct query_context *q,
                          const struct expr *filter, uint64_t min_unix_ns, uint64_t max_unix_ns,
                          const uint32_t *runs, size_t count, segment_row_fn *on_row, void *context)
{
    if (!may_match(s, filter, min_unix_ns, max_unix_ns))
        return ERR_OK;
    struct group *g = begin(s);
    struct filter_verdicts verdicts;
    struct scan scan;
    if (!scan_begin(&scan, g, filter, &verdicts))
        return g->error;
    scan_set(&scan, g, q, min_unix_ns, max_unix_ns, on_row, context);
    uint32_t before = 0; /* runs in the chunks before */
    size_t at = 0;
    bool goes_on = true;
    for (uint32_t row = 0; row < s->bounds.rows && goes_on && at < count; row += g->chunk_rows) {
        struct chunk *c = chunk_of_row(g, row);
        uint32_t runs_here = c == NULL ? 0 : group_stream_count(g, c->section, COLUMN_RUN_LENGTH);
        size_t end = at;
        while (end < count && runs[end] - before < runs_here)
            end++;
        group_fail(g, query_check(q));
        goes_on =
            g->error == ERR_OK && (end == at || chunk_scan_runs(&scan, c, runs, at, end, before));
        at = end;
        before += runs_here;
    }
    filter_row_deinit(&scan.row);
    return g->error;
}

/* ---- Reading rows */

struct open_groups {
    struct buffer *out;
    const struct group_context *context; /* NULL: none is open */
    size_t resource_mark, scope_mark;
};

static void groups_end(struct open_groups *o)
{
    if (o->context == NULL)
        return;
    if (o->context->scope_schema.len > 0)
        pb_bytes(o->out, 3, o->context->scope_schema);
    pb_end(o->out, o->scope_mark);
    if (o->context->resource_schema.len > 0)
        pb_bytes(o->out, 3, o->context->resource_schema);
    pb_end(o->out, o->resource_mark);
    o->context = NULL;
}

static void groups_begin(struct open_groups *o, const struct group_context *context)
{
    o->context = context;
    o->resource_mark = pb_begin(o->out, OTLP_DATA_RESOURCE_GROUPS);
    if (context->has_resource)
        pb_bytes(o->out, 1, context->resource);
    o->scope_mark = pb_begin(o->out, OTLP_GROUP_SCOPE_GROUPS);
    if (context->has_scope)
        pb_bytes(o->out, 1, context->scope);
}

static void row_read(struct group *g, uint32_t row, unsigned parts, struct open_groups *o)
{
    static const struct group_context none = { 0 };
    struct chunk *c = chunk_of_row(g, row);
    if (c == NULL)
        return;
    bool has_group = (parts & ROW_GROUP) != 0;
    uint64_t number = has_group ? chunk_int(c, COLUMN_CONTEXT, row - c->first_row) : 0;
    if (g->error == ERR_OK && has_group && number >= g->contexts_count)
        group_fail(g, ERR_CORRUPT);
    if (g->error != ERR_OK)
        return;
    const struct group_context *context = has_group ? &g->contexts[number] : &none;
    if (context != o->context) {
        groups_end(o);
        groups_begin(o, context);
    }
    size_t mark = pb_begin(o->out, OTLP_SCOPE_ITEMS);
    chunk_write_row(c, row - c->first_row, parts, o->out);
    pb_end(o->out, mark);
    if (buffer_error(o->out) != ERR_OK)
        group_fail(g, buffer_error(o->out));
}

static enum err read_rows(struct segment *s, const struct query_context *q, const uint32_t *rows,
                          size_t count, unsigned parts, struct buffer *out)
{
    struct group *g = begin(s);
    struct open_groups o = { .out = out };
    size_t before = out->len;
    for (size_t i = 0; i < count && g->error == ERR_OK; i++) {
        assert(rows[i] < s->bounds.rows && (i == 0 || rows[i] > rows[i - 1]));
        if (i % ROWS_PER_CHECK == 0)
            group_fail(g, query_check(q));
        if (g->error == ERR_OK)
            row_read(g, rows[i], parts, &o);
    }
    groups_end(&o);
    if (g->error == ERR_OK)
        group_fail(g, buffer_error(out));
    if (g->error != ERR_OK && buffer_error(out) == ERR_OK)
        out->len = before; /* outputs are written on success only */
    return g->error;
}

/* ---- Keys */

static uint64_t key_rows(struct group *g, uint32_t key)
{
    uint64_t rows = 0;
    for (uint32_t chunk = 0; chunk < g->chunks_count && g->error == ERR_OK; chunk++) {
        /* The counts stand in the directory: nothing is read. */
        rows += group_stream_count(g, 1 + chunk, COLUMN_FIXED_COUNT + key);
    }
    return rows;
}

/* The attributes of a message that is kept whole. */
static bool visit_message(struct bytes message, uint32_t number, enum expr_scope scope,
                          segment_key_fn *on_key, void *context)
{
    struct otlp_repeated all = otlp_repeated(message, number);
    struct bytes one;
    while (message.len > 0 && otlp_repeated_next(&all, &one)) {
        struct otlp_key_value kv;
        struct otlp_value v = { .type = OTLP_EMPTY };
        otlp_key_value_read(one, &kv);
        if (kv.has_value)
            otlp_value_read(kv.value, &v);
        if (!on_key(context, scope, kv.key, v.type, 1))
            return false;
    }
    return true;
}

static enum err keys(struct segment *s, segment_key_fn *on_key, void *context)
{
    struct group *g = begin(s);
    if (!group_load(g))
        return g->error;
    for (uint32_t k = 0; k < g->keys_count; k++) {
        const struct group_key *key = &g->keys[k];
        enum expr_scope scope = key->table == TABLE_EVENT         ? EXPR_SCOPE_EVENT
                                : key->table == TABLE_LINK        ? EXPR_SCOPE_LINK
                                : s->bounds.signal == SIGNAL_LOGS ? EXPR_SCOPE_LOG
                                                                  : EXPR_SCOPE_SPAN;
        enum otlp_value_type type =
            key->type == ROWGROUP_NO_VALUE ? OTLP_EMPTY : (enum otlp_value_type)key->type;
        uint64_t rows = key->table == TABLE_BODY ? 0 : key_rows(g, k);
        if (g->error != ERR_OK)
            return g->error;
        if (key->table != TABLE_BODY && !on_key(context, scope, key->name, type, rows))
            return ERR_OK;
    }
    for (uint32_t i = 0; i < g->contexts_count; i++)
        if (!visit_message(g->contexts[i].resource, OTLP_RESOURCE_ATTRIBUTES, EXPR_SCOPE_RESOURCE,
                           on_key, context) ||
            !visit_message(g->contexts[i].scope, OTLP_SCOPE_ATTRIBUTES, EXPR_SCOPE_INSTRUMENTATION,
                           on_key, context))
            return ERR_OK;
    return ERR_OK;
}

enum err rowgroup_keys(struct segment *s, rowgroup_key_fn *on_key, void *context)
{
    return keys(s, on_key, context);
}

static enum err resources(struct segment *s, segment_resource_fn *on_resource, void *context)
{
    struct group *g = begin(s);
    if (!group_load(g))
        return g->error;
    for (uint32_t i = 0; i < g->contexts_count; i++) {
        if (!on_resource(context, g->contexts[i].resource, g->contexts[i].resource_schema))
            break;
    }
    return ERR_OK;
}

/* ---- Opening and checking */

static void segment_close(struct segment *s)
{
    group_close(group_from(s));
}

static const struct segment_ops rowgroup_ops = {
    .may_match = may_match,
    .scan = scan,
    .find_trace = find_trace,
    .runs = visit_runs,
    .scan_runs = scan_runs,
    .read = read_rows,
    .keys = keys,
    .resources = resources,
    .close = segment_close,
};

bool rowgroup_segment_rest(struct segment *s)
{
    struct group *g = group_from(s);
    group_rest(g);
    return g->error == ERR_OK;
}

void rowgroup_segment_wake(struct segment *s, struct rowgroup_scratch *scratch)
{
    struct group *g = group_from(s);
    assert(g->rows.held_bytes == 0);
    arena_init(&g->rows, g->arena->limit_bytes, g->arena->budget);
    if (scratch != NULL)
        g->scratch = scratch;
}

enum err rowgroup_segment_open(const struct rowgroup_source *take_source, struct arena *arena,
                               struct segment **out)
{
    struct group *g;
    enum err e = group_open(take_source, arena, &g);
    if (e != ERR_OK)
        return e;
    g->segment.ops = &rowgroup_ops;
    *out = &g->segment;
    return ERR_OK;
}

static enum err memory_read(void *context, uint64_t offset, size_t len, uint8_t *out)
{
    const struct bytes *all = context;
    if (offset > all->len || len > all->len - offset)
        return ERR_CORRUPT;
    if (len > 0)
        memcpy(out, all->data + offset, len);
    return ERR_OK;
}

/* Everything that a reader may ever look at. */
static void verify_all(struct group *g, struct buffer *out, const char **what)
{
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = g->arena };
    *what = "a block differs from its hash, or a column from its description";
    for (uint32_t section = 0; section <= g->chunks_count && g->error == ERR_OK; section++)
        group_section_check(g, section);
    if (g->error != ERR_OK)
        return;
    *what = "a row refers to what is not there";
    for (uint32_t row = 0; row < g->segment.bounds.rows && g->error == ERR_OK; row++) {
        buffer_reset(out);
        enum err e = read_rows(&g->segment, &q, &row, 1, ROW_ALL, out);
        group_fail(g, e);
    }
}

enum err rowgroup_verify(struct bytes encoded, struct err_note *note)
{
    struct arena arena;
    arena_init(&arena, VERIFY_BYTES_MAX, NULL);
    struct buffer out;
    buffer_init(&out, UINT32_MAX / 2);
    struct rowgroup_source source = { .context = &encoded,
                                      .size = encoded.len,
                                      .read = memory_read };
    struct group *g = NULL;
    const char *what = "the header or the directory is damaged";
    enum err e = group_open(&source, &arena, &g);
    if (e == ERR_OK) {
        g->segment.ops = &rowgroup_ops;
        verify_all(g, &out, &what);
        e = g->error;
        group_close(g);
    }
    if (e != ERR_OK && note != NULL)
        *note = (struct err_note){ .what = what };
    buffer_deinit(&out);
    arena_deinit(&arena);
    return e;
}
