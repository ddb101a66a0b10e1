/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/engine_suite.h"

#include "base/random.h"
#include "storage/content_hash.h"
#include "storage/derive/clean_name.h"
#include "storage/service_name.h"
#include "storage/testing/ledger.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define PAGE 7 /* small, so that answers have many pages */

/* ---- The model: every distinct item that was acknowledged ---- */

struct model_item {
    struct hash128 content;
    struct trace_id trace_id;
    struct span_id span_id;
    uint64_t start_unix_ns, end_unix_ns;
    struct bytes service, name;
    uint32_t kind;
    bool is_error;
};

struct model {
    struct arena bodies;
    struct model_item *items[SIGNAL_COUNT];
    size_t counts[SIGNAL_COUNT], capacities[SIGNAL_COUNT];
};

struct run {
    const struct engine_suite *suite;
    struct engine *engine;
    struct ledger ledger;
    struct model model;
    struct random random;
    size_t sent;     /* batches [0, sent) are acknowledged */
    bool has_copies; /* spans that were sent twice may still be pending */
    unsigned step;
    bool is_right;
};

static void wrong(struct run *r, const char *what)
{
    (void)fprintf(stderr, "engine suite: seed %llu, step %u: %s\n",
                  (unsigned long long)r->suite->seed, r->step, what);
    r->is_right = false;
}

#define EXPECT(r, condition)                                                                       \
    do {                                                                                           \
        if (!(condition))                                                                          \
            wrong(r, #condition);                                                                  \
    } while (0)

static void model_add(struct model *m, const struct ledger *l, size_t number)
{
    enum signal signal = ledger_signal(l, number);
    struct buffer buffer;
    buffer_init(&buffer, SIZE_MAX);
    uint64_t items = 0;
    ledger_body(l, number, &buffer, &items);
    struct bytes body;
    enum err e = arena_dup(&m->bodies, buffer_bytes(&buffer), &body);
    assert(e == ERR_OK);
    (void)e;
    buffer_deinit(&buffer);
    static const struct hash_key key; /* only tells items of one run apart */
    struct otlp_items it = otlp_items(body);
    while (otlp_items_next(&it)) {
        struct model_item item = { .content = content_hash(&key, signal, &it),
                                   .service = service_name(it.resource.resource) };
        if (signal == SIGNAL_TRACES) {
            struct otlp_span span;
            otlp_span_read(it.item, &span);
            item.trace_id = span.trace_id;
            item.span_id = span.span_id;
            item.start_unix_ns = span.start_unix_ns;
            item.end_unix_ns = span.end_unix_ns;
            item.name = span.name;
            item.kind = span.kind;
            item.is_error = span.status.code == 2;
        } else {
            struct otlp_log log;
            otlp_log_read(it.item, &log);
            item.trace_id = log.trace_id;
            item.start_unix_ns = otlp_log_time(&log);
        }
        if (m->counts[signal] == m->capacities[signal]) {
            m->capacities[signal] = m->capacities[signal] == 0 ? 256 : 2 * m->capacities[signal];
            m->items[signal] =
                realloc(m->items[signal], m->capacities[signal] * sizeof(struct model_item));
            assert(m->items[signal] != NULL);
        }
        m->items[signal][m->counts[signal]++] = item;
    }
}

/* ---- Appending ---- */

/* Several at a time, so that groups form. */
static void step_send(struct run *r)
{
    enum { MANY_MAX = 8 };
    struct append *appends[MANY_MAX];
    enum err results[MANY_MAX];
    size_t count = 1 + (size_t)random_below(&r->random, MANY_MAX);
    if (r->sent + count > r->ledger.capacity)
        return;
    for (size_t i = 0; i < count; i++)
        appends[i] = ledger_append_make(&r->ledger, r->sent + i, 1);
    ledger_send_many(r->engine, appends, count, results);
    for (size_t i = 0; i < count; i++) {
        EXPECT(r, results[i] == ERR_OK);
        EXPECT(r, !appends[i]->was_resent);
        r->ledger.outcomes[r->sent + i] = LEDGER_ACKED;
        model_add(&r->model, &r->ledger, r->sent + i);
        ledger_append_free(appends[i]);
    }
    r->sent += count;
}

/* The same request once more: alone, or twice in one group. */
static void step_resend(struct run *r)
{
    if (r->sent == 0)
        return;
    size_t number = (size_t)random_below(&r->random, r->sent);
    struct append *appends[2] = { ledger_append_make(&r->ledger, number, 1),
                                  ledger_append_make(&r->ledger, number, 1) };
    enum err results[2];
    ledger_send_many(r->engine, appends, 2, results);
    for (int i = 0; i < 2; i++) {
        EXPECT(r, results[i] == ERR_OK);
        EXPECT(r, appends[i]->was_resent);
        EXPECT(r, appends[i]->body.len > 0); /* its arena is still the sender's */
        ledger_append_free(appends[i]);
    }
}

/* Spans that were stored before, in another request: 4k, 4k+1 and 4k+2 are of spans. */
static void step_rebatch(struct run *r)
{
    if (r->sent < 4)
        return;
    size_t first = (size_t)random_below(&r->random, r->sent / 4) * 4;
    struct append *a = ledger_append_make(&r->ledger, first, 2 + random_below(&r->random, 2));
    enum err e = ledger_send(r->engine, a);
    EXPECT(r, e == ERR_OK);
    ledger_append_free(a);
    r->has_copies = true;
}

/* ---- Queries ---- */

struct model_trace {
    struct trace_id id;
    uint64_t start_unix_ns, end_unix_ns;
    uint32_t spans, errors;
    size_t position; /* for a stable order of equal keys */
};

static size_t model_traces(const struct model *m, struct model_trace **out)
{
    size_t count = 0;
    const size_t items = m->counts[SIGNAL_TRACES];
    struct model_trace *traces = calloc(items + 1, sizeof *traces);
    assert(traces != NULL);
    for (size_t i = 0; i < items; i++) {
        const struct model_item *item = &m->items[SIGNAL_TRACES][i];
        size_t t = 0;
        while (t < count && memcmp(&traces[t].id, &item->trace_id, sizeof item->trace_id) != 0)
            t++;
        struct model_trace *trace = &traces[t];
        if (t == count) {
            count++;
            *trace = (struct model_trace){ .id = item->trace_id, .start_unix_ns = UINT64_MAX };
        }
        if (item->start_unix_ns < trace->start_unix_ns)
            trace->start_unix_ns = item->start_unix_ns;
        if (item->end_unix_ns > trace->end_unix_ns)
            trace->end_unix_ns = item->end_unix_ns;
        trace->spans++;
        trace->errors += item->is_error;
    }
    *out = traces;
    return count;
}

static const struct model_trace *model_trace_find(const struct model_trace *traces, size_t count,
                                                  const struct trace_id *id)
{
    for (size_t i = 0; i < count; i++)
        if (memcmp(&traces[i].id, id, sizeof *id) == 0)
            return &traces[i];
    return NULL;
}

/* All pages of a search for everything: every trace once, in order, with the right sums. */
static void step_find_traces(struct run *r, enum find_order order)
{
    struct model_trace *traces;
    size_t expected = model_traces(&r->model, &traces), found = 0;
    struct trace_query query = { .range = { 0, UINT64_MAX },
                                 .order = order,
                                 .limit = PAGE,
                                 .spans_per_trace = random_below(&r->random, 3) };
    uint64_t last_key = UINT64_MAX;
    for (size_t pages = 0; pages <= expected + 1; pages++) {
        struct arena arena;
        arena_init(&arena, (size_t)64 << 20, NULL);
        struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
        struct trace_result result = { 0 };
        enum err e = engine_traces_find(r->engine, &q, &query, &result);
        EXPECT(r, e == ERR_OK);
        for (size_t i = 0; e == ERR_OK && i < result.count; i++) {
            const struct trace_summary *t = &result.traces[i];
            const struct model_trace *m = model_trace_find(traces, expected, &t->trace_id);
            EXPECT(r, m != NULL);
            if (m == NULL)
                continue;
            EXPECT(r, t->start_unix_ns == m->start_unix_ns);
            EXPECT(r, t->end_unix_ns == m->end_unix_ns);
            EXPECT(r, t->spans == m->spans);
            EXPECT(r, t->errors == m->errors);
            EXPECT(r, t->matched_spans == m->spans);
            uint64_t key =
                order == FIND_SLOWEST ? t->end_unix_ns - t->start_unix_ns : t->start_unix_ns;
            EXPECT(r, key <= last_key);
            last_key = key;
            found++;
        }
        query.after = result.next;
        arena_deinit(&arena);
        if (e != ERR_OK || !query.after.is_set)
            break;
    }
    EXPECT(r, found == expected);
    free(traces);
}

/* A filter and a narrow range: as many matching spans as the list has. */
static void step_find_filtered(struct run *r)
{
    struct arena arena;
    arena_init(&arena, (size_t)64 << 20, NULL);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    const size_t items = r->model.counts[SIGNAL_TRACES];
    if (items == 0)
        return;
    const struct model_item *like = &r->model.items[SIGNAL_TRACES][random_below(&r->random, items)];
    struct expr *filter = expr_binary(
        &arena, EXPR_AND,
        expr_binary(
            &arena, EXPR_EQ, expr_intrinsic_field(&arena, EXPR_INTRINSIC_SPAN_NAME),
            expr_const(&arena, (struct expr_value){ .type = EXPR_STRING, .bytes = like->name })),
        expr_binary(&arena, EXPR_EQ,
                    expr_attribute(&arena, EXPR_SCOPE_RESOURCE, BYTES_LITERAL("service.name")),
                    expr_const(&arena, (struct expr_value){ .type = EXPR_STRING,
                                                            .bytes = like->service })));
    struct trace_query query = { .filter = filter,
                                 .range = { like->start_unix_ns,
                                            like->start_unix_ns + 20 * NS_PER_MS },
                                 .order = FIND_NEWEST,
                                 .limit = 10000 };
    uint64_t expected = 0, found = 0;
    for (size_t i = 0; i < items; i++) {
        const struct model_item *item = &r->model.items[SIGNAL_TRACES][i];
        expected += item->start_unix_ns >= query.range.min_unix_ns &&
                    item->start_unix_ns < query.range.max_unix_ns &&
                    bytes_equal(item->name, like->name) &&
                    bytes_equal(item->service, like->service);
    }
    struct trace_result result = { 0 };
    enum err e = engine_traces_find(r->engine, &q, &query, &result);
    EXPECT(r, e == ERR_OK);
    for (size_t i = 0; e == ERR_OK && i < result.count; i++)
        found += result.traces[i].matched_spans;
    EXPECT(r, found == expected);
    expr_deinit(filter);
    arena_deinit(&arena);
}

static void step_find_logs(struct run *r)
{
    struct log_query query = { .range = { 0, UINT64_MAX },
                               .order =
                                   random_below(&r->random, 2) == 0 ? FIND_NEWEST : FIND_OLDEST,
                               .limit = PAGE };
    size_t found = 0;
    uint64_t last = query.order == FIND_NEWEST ? UINT64_MAX : 0;
    for (size_t pages = 0; pages <= r->model.counts[SIGNAL_LOGS] + 1; pages++) {
        struct arena arena;
        arena_init(&arena, (size_t)64 << 20, NULL);
        struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
        struct log_result result = { 0 };
        enum err e = engine_logs_find(r->engine, &q, &query, &result);
        EXPECT(r, e == ERR_OK);
        for (size_t i = 0; e == ERR_OK && i < result.count; i++) {
            struct otlp_log log;
            otlp_log_read(result.logs[i].log, &log);
            uint64_t time = otlp_log_time(&log);
            EXPECT(r, query.order == FIND_NEWEST ? time <= last : time >= last);
            last = time;
            found++;
        }
        query.after = result.next;
        arena_deinit(&arena);
        if (e != ERR_OK || !query.after.is_set)
            break;
    }
    EXPECT(r, found == r->model.counts[SIGNAL_LOGS]);
}

/* Services are exact always; operations count pending copies too, so their sums are exact once settled. */
static void step_catalogue(struct run *r, bool is_settled)
{
    struct arena arena;
    arena_init(&arena, (size_t)16 << 20, NULL);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    struct bytes *services = NULL;
    size_t count = 0, spans = 0;
    EXPECT(r, engine_services(r->engine, &q, &services, &count) == ERR_OK);
    for (size_t i = 0; i < r->model.counts[SIGNAL_TRACES]; i++) {
        bool is_listed = false;
        for (size_t s = 0; s < count; s++)
            is_listed =
                is_listed || bytes_equal(services[s], r->model.items[SIGNAL_TRACES][i].service);
        EXPECT(r, is_listed);
    }
    for (size_t s = 0; s < count; s++) {
        EXPECT(r, s == 0 || bytes_compare(services[s - 1], services[s]) < 0);
        struct operation *operations = NULL;
        size_t operations_count = 0;
        uint64_t rest = 0;
        EXPECT(r, engine_operations(r->engine, &q, services[s], &operations, &operations_count,
                                    &rest) == ERR_OK);
        EXPECT(r, rest == 0);
        for (size_t o = 0; o < operations_count; o++)
            spans += operations[o].spans;
    }
    EXPECT(r, spans >= r->model.counts[SIGNAL_TRACES]);
    if (is_settled)
        EXPECT(r, spans == r->model.counts[SIGNAL_TRACES]);
    arena_deinit(&arena);
}

static void step_span(struct run *r)
{
    const size_t items = r->model.counts[SIGNAL_TRACES];
    if (items == 0)
        return;
    const struct model_item *item = &r->model.items[SIGNAL_TRACES][random_below(&r->random, items)];
    struct arena arena;
    arena_init(&arena, (size_t)64 << 20, NULL);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    struct trace_id found = { 0 };
    EXPECT(r, engine_span_trace(r->engine, &q, &item->span_id, &found) == ERR_OK);
    EXPECT(r, memcmp(&found, &item->trace_id, sizeof found) == 0);
    struct trace_id absent = { .b = { 1, 2, 3, 4, 5 } };
    struct bytes data = { 0 };
    EXPECT(r, engine_trace_get(r->engine, &q, &absent, &data) == ERR_NOT_FOUND);
    EXPECT(r, engine_trace_logs(r->engine, &q, &absent, &data) == ERR_OK);
    EXPECT(r, data.len == 0);
    arena_deinit(&arena);
}

/* ---- Rows in batches ---- */

struct rows_seen {
    size_t rows;
    uint64_t starts; /* their sum */
    bool has_span;
};

static void rows_read(struct run *r, struct row_view *view, const struct row_request *asked,
                      const struct span_id *span, struct rows_seen *out)
{
    struct row_cursor *c = NULL;
    struct row_batch batch;
    *out = (struct rows_seen){ 0 };
    EXPECT(r, view->ops->read(view, asked, &c) == ERR_OK);
    while (r->is_right && c->ops->next(c, &batch) == ERR_OK && batch.data.len > 0) {
        struct otlp_items it = otlp_items(batch.data);
        struct otlp_span s;
        struct otlp_log l;
        for (; otlp_items_next(&it); out->rows++) {
            if (asked->signal == SIGNAL_LOGS) {
                otlp_log_read(it.item, &l);
                out->starts += otlp_log_time(&l);
                continue;
            }
            otlp_span_read(it.item, &s);
            out->starts += s.start_unix_ns;
            out->has_span |= span != NULL && memcmp(s.span_id.b, span->b, sizeof span->b) == 0;
        }
    }
    if (c != NULL)
        c->ops->close(c);
}

/* Everything is there, once where nothing was sent twice, and a trace is found. */
static void step_rows(struct run *r)
{
    struct arena arena;
    struct row_view *view = NULL;
    struct rows_seen seen;
    arena_init(&arena, (size_t)64 << 20, NULL);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    EXPECT(r, engine_rows_view(r->engine, &q, &view) == ERR_OK);
    for (int signal = 0; view != NULL && signal < SIGNAL_COUNT; signal++) {
        const size_t items = r->model.counts[signal];
        struct row_request asked = { .signal = (enum signal)signal,
                                     .range = { 0, UINT64_MAX },
                                     .parts = ROW_IDS | ROW_TIMES };
        uint64_t starts = 0;
        for (size_t i = 0; i < items; i++)
            starts += r->model.items[signal][i].start_unix_ns;
        rows_read(r, view, &asked, NULL, &seen);
        EXPECT(r, seen.rows >= items);
        if (signal == SIGNAL_TRACES && !r->has_copies)
            EXPECT(r, seen.rows == items && seen.starts == starts);
        if (signal != SIGNAL_TRACES || items == 0)
            continue;
        const struct model_item *item = &r->model.items[signal][random_below(&r->random, items)];
        asked.trace_id = &item->trace_id;
        rows_read(r, view, &asked, &item->span_id, &seen);
        EXPECT(r, seen.has_span);
    }
    if (view != NULL)
        view->ops->close(view);
    arena_deinit(&arena);
}

static void step_attributes(struct run *r)
{
    if (r->model.counts[SIGNAL_TRACES] == 0)
        return;
    struct arena arena;
    arena_init(&arena, (size_t)64 << 20, NULL);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    struct attribute_key *keys = NULL;
    size_t count = 0;
    struct time_range all = { 0, UINT64_MAX };
    EXPECT(r, engine_attribute_keys(r->engine, &q, SIGNAL_TRACES, all, (struct bytes){ 0 }, 100,
                                    &keys, &count) == ERR_OK);
    bool has_batch = false, has_service = false;
    for (size_t i = 0; i < count; i++) {
        has_batch = has_batch || bytes_equal_text(keys[i].key, "batch");
        has_service = has_service || bytes_equal_text(keys[i].key, "service.name");
    }
    EXPECT(r, has_batch && has_service);
    struct attribute_value *values = NULL;
    struct find_progress progress;
    EXPECT(r, engine_attribute_values(r->engine, &q, SIGNAL_TRACES, EXPR_SCOPE_RESOURCE,
                                      BYTES_LITERAL("service.name"), all, NULL, (struct bytes){ 0 },
                                      100, &values, &count, &progress) == ERR_OK);
    EXPECT(r, count >= 1 && count <= 3);
    arena_deinit(&arena);
}

/* ---- Rollups ---- */

static bool item_is_in(const struct model_item *item, const struct red_query *q,
                       const struct red_series *s, const struct red_point *p)
{
    uint64_t step = q->range.step_ns;
    struct buffer cleaned;
    buffer_init(&cleaned, 4096);
    bool is_clean = clean_name(item->name, &cleaned) == 0;
    struct bytes name = is_clean ? item->name : buffer_bytes(&cleaned);
    bool is_in =
        (step == 0 || (item->start_unix_ns >= p->start_unix_ns &&
                       item->start_unix_ns - p->start_unix_ns < step)) &&
        ((q->group & RED_BY_SERVICE) == 0 || bytes_equal(item->service, s->service)) &&
        ((q->group & RED_BY_NAME) == 0 || bytes_equal(name, s->name)) &&
        ((q->group & RED_BY_KIND) == 0 || item->kind == s->kind) &&
        ((q->group & RED_BY_STATUS) == 0 || (item->is_error ? s->status == 2 : s->status != 2));
    buffer_deinit(&cleaned);
    return is_in;
}

/* Every span is in one point of one series, and each point says what its spans say. Pending copies count
 * twice until they are in a row group, so this is asked when all is settled. */
static void step_red(struct run *r)
{
    static const uint64_t steps[] = { 0, NS_PER_S * 60, NS_PER_S * 300, NS_PER_S * 3600,
                                      NS_PER_S * 86400 };
    EXPECT(r, engine_settle(r->engine) == ERR_OK);
    struct arena arena;
    arena_init(&arena, (size_t)64 << 20, NULL);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    const struct red_query query = {
        .range = { .max_unix_ns = UINT64_MAX / 2,
                   .step_ns = steps[random_below(&r->random, sizeof steps / sizeof *steps)] },
        .group = (unsigned)random_below(&r->random, 32),
        .wants_duration = random_below(&r->random, 2) == 0,
    };
    struct red_result result = { 0 };
    EXPECT(r, engine_red(r->engine, &q, &query, &result) == ERR_OK);
    uint64_t calls = 0;
    for (size_t i = 0; i < result.count; i++) {
        const struct red_series *s = &result.series[i];
        for (size_t k = 0; k < s->points_count; k++) {
            const struct red_point *p = &s->points[k];
            uint64_t expected = 0, errors = 0, duration = 0;
            for (size_t m = 0; m < r->model.counts[SIGNAL_TRACES]; m++) {
                const struct model_item *item = &r->model.items[SIGNAL_TRACES][m];
                if (!item_is_in(item, &query, s, p))
                    continue;
                expected++;
                errors += item->is_error;
                if (item->end_unix_ns > item->start_unix_ns)
                    duration += item->end_unix_ns - item->start_unix_ns;
            }
            EXPECT(r, p->calls == expected && p->errors == errors);
            EXPECT(r, p->estimated_calls == (double)expected);
            EXPECT(r, k == 0 || p->start_unix_ns > s->points[k - 1].start_unix_ns);
            EXPECT(r, p->duration.count == (query.wants_duration ? expected : 0));
            EXPECT(r, p->duration_ns == (query.wants_duration ? duration : 0));
            EXPECT(r, p->slowest.is_set && p->failed.is_set == (errors > 0));
            calls += p->calls;
        }
    }
    EXPECT(r, calls == r->model.counts[SIGNAL_TRACES]);
    arena_deinit(&arena);
}

static uint64_t node_digest(const struct derived_node *n, uint64_t seed)
{
    return hash_bytes_seeded(n->system, hash_bytes_seeded(n->name, seed + n->kind));
}

/* A sum over all edges and gaps, whatever their order: of who, how often, how long, in which minute. */
static uint64_t edges_digest(struct run *r)
{
    struct arena arena;
    arena_init(&arena, (size_t)64 << 20, NULL);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    const struct edge_query query = {
        .range = { .max_unix_ns = UINT64_MAX / 2, .step_ns = NS_PER_S * 60 },
        .wants_durations = true,
    };
    struct edge_result result = { 0 };
    EXPECT(r, engine_edges(r->engine, &q, &query, &result) == ERR_OK);
    uint64_t digest = 0;
    for (size_t i = 0; i < result.count; i++) {
        const struct edge *e = &result.edges[i];
        uint64_t who =
            node_digest(&e->server, node_digest(&e->client, e->type)) ^ hash_bytes(e->via);
        for (size_t k = 0; k < e->points_count; k++) {
            const struct edge_point *p = &e->points[k];
            const uint64_t facts[] = { who,           p->start_unix_ns, p->calls,
                                       p->failed,     p->client.count,  p->client.sum,
                                       p->server.sum, p->server.count,  p->slowest.duration_ns };
            digest += hash_bytes(bytes_of(facts, sizeof facts));
        }
    }
    for (size_t i = 0; i < result.unpaired_count; i++) {
        const struct unpaired *u = &result.unpaired[i];
        const uint64_t facts[] = { node_digest(&u->node, u->reason), u->count };
        EXPECT(r, u->samples_count > 0);
        digest += hash_bytes(bytes_of(facts, sizeof facts));
    }
    arena_deinit(&arena);
    return digest;
}

static void step_reopen(struct run *r);

/* Pending, in row groups, or found again after a start: the map is the same. */
static void step_edges(struct run *r)
{
    uint64_t before = edges_digest(r);
    EXPECT(r, engine_settle(r->engine) == ERR_OK);
    uint64_t settled = edges_digest(r);
    EXPECT(r, r->has_copies || settled == before);
    EXPECT(r, r->model.counts[SIGNAL_TRACES] < 50 || settled != 0);
    r->has_copies = false;
    step_reopen(r);
    if (r->engine != NULL)
        EXPECT(r, edges_digest(r) == settled);
}

/* ---- Settling and opening again ---- */

static void step_settle(struct run *r)
{
    EXPECT(r, engine_settle(r->engine) == ERR_OK);
    r->has_copies = false;
    struct engine_statistics s;
    engine_statistics(r->engine, &s);
    EXPECT(r, s.journal_items == 0);
    EXPECT(r, s.spans == r->model.counts[SIGNAL_TRACES]);
    EXPECT(r, s.logs == r->model.counts[SIGNAL_LOGS]);
    EXPECT(r, s.is_writable);
    step_catalogue(r, true);
}

static void step_reopen(struct run *r)
{
    engine_close(r->engine);
    r->engine = NULL;
    enum err e = r->suite->open(r->suite->context, &r->engine);
    EXPECT(r, e == ERR_OK);
}

static void step_run(struct run *r)
{
    switch (random_below(&r->random, 20)) {
    case 0:
        step_settle(r);
        break;
    case 1:
        step_reopen(r);
        break;
    case 2:
        EXPECT(r, ledger_check(&r->ledger, r->engine));
        break;
    case 3:
        step_find_traces(r, FIND_NEWEST);
        break;
    case 4:
        step_find_traces(r, FIND_SLOWEST);
        break;
    case 5:
        step_find_logs(r);
        break;
    case 6:
        step_catalogue(r, false);
        break;
    case 7:
        step_span(r);
        break;
    case 8:
    case 9:
        step_resend(r);
        break;
    case 10:
        step_rebatch(r);
        break;
    case 11:
        step_find_filtered(r);
        break;
    case 12:
        step_attributes(r);
        break;
    case 13:
        step_red(r);
        break;
    case 14:
        step_edges(r);
        break;
    case 15:
        step_rows(r);
        break;
    default:
        step_send(r);
        break;
    }
}

bool engine_suite_run(const struct engine_suite *suite)
{
    struct run r = { .suite = suite, .is_right = true };
    ledger_init(&r.ledger, suite->seed, (size_t)suite->steps * 8 + 8);
    arena_init(&r.model.bodies, SIZE_MAX, NULL);
    random_init(&r.random, suite->seed);
    EXPECT(&r, suite->open(suite->context, &r.engine) == ERR_OK);
    for (r.step = 1; r.engine != NULL && r.is_right && r.step <= suite->steps; r.step++)
        step_run(&r);
    if (r.engine != NULL && r.is_right) {
        step_settle(&r);
        step_reopen(&r);
        step_red(&r);
        step_edges(&r);
        step_rows(&r);
    }
    if (r.engine != NULL) {
        EXPECT(&r, ledger_check(&r.ledger, r.engine));
        engine_close(r.engine);
    }
    for (int s = 0; s < SIGNAL_COUNT; s++)
        free(r.model.items[s]);
    arena_deinit(&r.model.bodies);
    ledger_deinit(&r.ledger);
    return r.is_right;
}
