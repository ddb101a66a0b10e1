/* SPDX-License-Identifier: Apache-2.0 */
/* A checked body as a segment. There is no index: a row's number is its place among the body's
 * items, and every call walks the body, which costs a few nanoseconds an item where items are only
 * counted. */
#include "storage/otlp_row.h"
#include "storage/search.h"

#include <assert.h>

/* A clock is read each time; a pattern that runs away on every row costs 2 ms a row. */
#define ROWS_PER_CHECK 64

struct body_segment {
    struct segment segment; /* first: ops take the base */
    struct bytes body;
};

static struct body_segment *body_segment_from(struct segment *s)
{
    return (struct body_segment *)s;
}

static bool may_match(struct segment *s, const struct expr *filter, uint64_t min_unix_ns,
                      uint64_t max_unix_ns)
{
    (void)filter; /* no statistics: a scan is the way to know */
    return s->bounds.rows > 0 && s->bounds.start_max_unix_ns >= min_unix_ns &&
           s->bounds.start_min_unix_ns < max_unix_ns;
}

static struct segment_row row_of(struct otlp_row *r, uint32_t number, enum expr_truth truth)
{
    struct segment_row row = { .row = number, .truth = truth };
    if (r->signal == SIGNAL_TRACES) {
        const struct otlp_span_head *h = otlp_row_head(r);
        row.trace_id = h->trace_id;
        row.start_unix_ns = h->start_unix_ns;
        row.duration_ns = otlp_span_head_duration_ns(h);
    } else {
        const struct otlp_log *l = otlp_row_log(r);
        row.trace_id = l->trace_id;
        row.start_unix_ns = otlp_log_time(l);
    }
    return row;
}

/* Rows that a scan looks at: NULL, all of them. */
struct chosen {
    const uint32_t *rows;
    size_t count, at;
};

/* Returns whether the row is one of them. */
static bool chosen_has(struct chosen *c, uint32_t number)
{
    if (c->rows == NULL)
        return true;
    if (c->at == c->count || c->rows[c->at] != number)
        return false;
    c->at++;
    return true;
}

static enum err scan_chosen(struct segment *s, const struct query_context *q,
                            const struct expr *filter, uint64_t min_unix_ns, uint64_t max_unix_ns,
                            struct chosen *chosen, segment_row_fn *on_row, void *context)
{
    if (!may_match(s, filter, min_unix_ns, max_unix_ns))
        return ERR_OK;
    bool all_in_range =
        s->bounds.start_min_unix_ns >= min_unix_ns && s->bounds.start_max_unix_ns < max_unix_ns;
    struct otlp_filter prepared;
    otlp_filter_init(&prepared, filter);
    struct otlp_row r;
    otlp_row_init(&r, s->bounds.signal);

    enum err e = ERR_OK;
    bool group_may_match = false;
    struct otlp_items it = otlp_items(body_segment_from(s)->body);
    for (uint32_t number = 0; otlp_items_next(&it); number++) {
        if (number % ROWS_PER_CHECK == 0) {
            e = query_check(q);
            if (e != ERR_OK)
                break;
        }
        if (it.is_new_scope) {
            otlp_row_set(&r, it.resource.resource, it.scope.scope, it.item);
            group_may_match = otlp_filter_group(&prepared, &r);
        }
        if (!chosen_has(chosen, number) || !group_may_match)
            continue;
        otlp_row_set(&r, it.resource.resource, it.scope.scope, it.item);
        if (!all_in_range) {
            uint64_t start = otlp_row_start(&r);
            if (start < min_unix_ns || start >= max_unix_ns)
                continue;
        }
        enum expr_truth truth = otlp_filter_item(&prepared, &r);
        if (truth == EXPR_FALSE)
            continue;
        struct segment_row row = row_of(&r, number, truth);
        row.run = chosen->at - (chosen->rows != NULL);
        if (!on_row(context, &row))
            break;
    }
    otlp_row_deinit(&r);
    return e;
}

static enum err scan(struct segment *s, const struct query_context *q, const struct expr *filter,
                     uint64_t min_unix_ns, uint64_t max_unix_ns, segment_row_fn *on_row,
                     void *context)
{
    struct chosen all = { 0 };
    return scan_chosen(s, q, filter, min_unix_ns, max_unix_ns, &all, on_row, context);
}

/* Neighbours in a body seldom are of one trace: each item is a run. */
static enum err scan_runs(struct segment *s, const struct query_context *q,
                          const struct expr *filter, uint64_t min_unix_ns, uint64_t max_unix_ns,
                          const uint32_t *runs, size_t count, segment_row_fn *on_row, void *context)
{
    struct chosen some = { .rows = runs, .count = count };
    return scan_chosen(s, q, filter, min_unix_ns, max_unix_ns, &some, on_row, context);
}

static enum err visit_runs(struct segment *s, const struct query_context *q, segment_run_fn *on_run,
                           void *context)
{
    assert(s->bounds.signal == SIGNAL_TRACES);
    struct otlp_items it = otlp_items(body_segment_from(s)->body);
    for (uint32_t number = 0; otlp_items_next(&it); number++) {
        enum err e = number % ROWS_PER_CHECK == 0 ? query_check(q) : ERR_OK;
        if (e != ERR_OK)
            return e;
        struct otlp_span_head h;
        otlp_span_head_read(it.item, &h);
        if (!on_run(context, &h.trace_id, h.start_unix_ns,
                    h.start_unix_ns + otlp_span_head_duration_ns(&h)))
            break;
    }
    return ERR_OK;
}

/* Exporters write the trace ID of a span first: then 18 bytes tell. */
static bool has_trace_id(enum signal signal, struct bytes item, const struct trace_id *id)
{
    if (signal == SIGNAL_TRACES && item.len >= 18 && item.data[0] == 0x0a && item.data[1] == 16)
        return memcmp(item.data + 2, id->b, sizeof id->b) == 0;
    uint32_t number = signal == SIGNAL_TRACES ? 1 : 9;
    struct otlp_repeated ids = otlp_repeated(item, number);
    struct bytes found;
    return otlp_repeated_next(&ids, &found) && bytes_equal(found, bytes_of(id->b, sizeof id->b));
}

static enum err find_trace(struct segment *s, const struct trace_id *id, uint32_t *out, size_t max,
                           size_t *out_count)
{
    size_t count = 0;
    struct otlp_items it = otlp_items(body_segment_from(s)->body);
    for (uint32_t number = 0; otlp_items_next(&it); number++) {
        if (!has_trace_id(s->bounds.signal, it.item, id))
            continue;
        if (count < max)
            out[count] = number;
        count++;
    }
    *out_count = count;
    return ERR_OK;
}

static enum err read_rows(struct segment *s, const struct query_context *q, const uint32_t *rows,
                          size_t count, unsigned parts, struct buffer *out)
{
    (void)parts; /* the items lie here whole, and are copied as they are */
    enum err e = query_check(q);
    if (e != ERR_OK || count == 0)
        return e;
    struct otlp_group_writer w;
    otlp_group_writer_init(&w, out);
    size_t done = 0;
    bool is_new_group = true;
    struct otlp_items it = otlp_items(body_segment_from(s)->body);
    for (uint32_t number = 0; done < count && otlp_items_next(&it); number++) {
        assert(rows[done] >= number); /* ascending */
        if (it.is_new_scope)
            is_new_group = true;
        if (rows[done] != number)
            continue;
        struct otlp_group group = otlp_group_of(&it);
        otlp_group_writer_put(&w, &group, is_new_group, it.item);
        is_new_group = false;
        done++;
    }
    assert(done == count);
    otlp_group_writer_end(&w);
    return buffer_error(out);
}

static bool visit_attributes(struct bytes message, uint32_t number, enum expr_scope scope,
                             segment_key_fn *on_key, void *context)
{
    struct otlp_repeated all = otlp_repeated(message, number);
    struct bytes element;
    while (otlp_repeated_next(&all, &element)) {
        struct otlp_key_value kv;
        struct otlp_value v = { .type = OTLP_EMPTY };
        otlp_key_value_read(element, &kv);
        if (kv.has_value)
            otlp_value_read(kv.value, &v);
        if (!on_key(context, scope, kv.key, v.type, 1))
            return false;
    }
    return true;
}

static bool visit_each(struct bytes item, uint32_t number, uint32_t attributes,
                       enum expr_scope scope, segment_key_fn *on_key, void *context)
{
    struct otlp_repeated all = otlp_repeated(item, number);
    struct bytes element;
    while (otlp_repeated_next(&all, &element)) {
        if (!visit_attributes(element, attributes, scope, on_key, context))
            return false;
    }
    return true;
}

static bool visit_item(const struct segment *s, const struct otlp_items *it, segment_key_fn *on_key,
                       void *context)
{
    if (it->is_new_resource && !visit_attributes(it->resource.resource, OTLP_RESOURCE_ATTRIBUTES,
                                                 EXPR_SCOPE_RESOURCE, on_key, context))
        return false;
    if (it->is_new_scope && !visit_attributes(it->scope.scope, OTLP_SCOPE_ATTRIBUTES,
                                              EXPR_SCOPE_INSTRUMENTATION, on_key, context))
        return false;
    if (s->bounds.signal == SIGNAL_LOGS)
        return visit_attributes(it->item, OTLP_LOG_ATTRIBUTES, EXPR_SCOPE_LOG, on_key, context);
    return visit_attributes(it->item, OTLP_SPAN_ATTRIBUTES, EXPR_SCOPE_SPAN, on_key, context) &&
           visit_each(it->item, OTLP_SPAN_EVENTS, OTLP_EVENT_ATTRIBUTES, EXPR_SCOPE_EVENT, on_key,
                      context) &&
           visit_each(it->item, OTLP_SPAN_LINKS, OTLP_LINK_ATTRIBUTES, EXPR_SCOPE_LINK, on_key,
                      context);
}

static enum err keys(struct segment *s, segment_key_fn *on_key, void *context)
{
    struct otlp_items it = otlp_items(body_segment_from(s)->body);
    while (otlp_items_next(&it) && visit_item(s, &it, on_key, context))
        ;
    return ERR_OK;
}

static enum err resources(struct segment *s, segment_resource_fn *on_resource, void *context)
{
    struct otlp_items it = otlp_items(body_segment_from(s)->body);
    while (otlp_items_next(&it)) {
        if (it.is_new_resource &&
            !on_resource(context, it.resource.resource, it.resource.schema_url))
            break;
    }
    return ERR_OK;
}

static void close_segment(struct segment *s)
{
    (void)s; /* the arena's */
}

static const struct segment_ops body_segment_ops = {
    .may_match = may_match,
    .scan = scan,
    .find_trace = find_trace,
    .find_walks = true,
    .runs = visit_runs,
    .scan_runs = scan_runs,
    .read = read_rows,
    .keys = keys,
    .resources = resources,
    .close = close_segment,
};

enum err body_segment_open_bounded(const struct segment_bounds *bounds, struct bytes body,
                                   struct arena *arena, struct segment **out)
{
    struct body_segment *s = arena_alloc(arena, sizeof *s);
    if (s == NULL)
        return arena_failure(arena);
    s->segment = (struct segment){ .ops = &body_segment_ops, .bounds = *bounds };
    s->body = body;
    *out = &s->segment;
    return ERR_OK;
}

enum err body_segment_open(enum signal signal, struct bytes body, struct arena *arena,
                           struct segment **out)
{
    struct segment_bounds b = {
        .signal = signal, .start_min_unix_ns = UINT64_MAX, .start_max_unix_ns = 0, .bytes = body.len
    };
    struct otlp_row r;
    otlp_row_init(&r, signal);
    struct otlp_items it = otlp_items(body);
    while (otlp_items_next(&it)) {
        otlp_row_set(&r, it.resource.resource, it.scope.scope, it.item);
        uint64_t start = otlp_row_start(&r);
        b.start_min_unix_ns = start < b.start_min_unix_ns ? start : b.start_min_unix_ns;
        b.start_max_unix_ns = start > b.start_max_unix_ns ? start : b.start_max_unix_ns;
        b.rows++;
    }
    otlp_row_deinit(&r);
    return body_segment_open_bounded(&b, body, arena, out);
}
