/* SPDX-License-Identifier: Apache-2.0 */
/* stages_store.c - the SQLite engine: "commit", requests made durable one by one; "build", the same ones turned
 * into row groups, with everything that goes along, and checkpointed; then traces by ID and searches over them.
 *
 * Nothing is built while requests are committed, and maintenance does not come: what is counted is what was asked. */
#include "bench/stages.h"

#include "base/mem.h"
#include "storage/sqlite/sqlite_engine.h"

#include <pthread.h>
#include <stdio.h>

#define ROUNDS         4u /* row groups */
#define LOOKUPS        24u
#define MISSES         400u
#define SEARCHES       6u
#define SEARCH_LIMIT   20u
#define ARENA_MAX      ((size_t)256 << 20)
#define NEVER_NS       (24 * 3600 * NS_PER_S)
#define WHOLE_TIME     ((struct time_range){ 0, UINT64_MAX })
#define SERVICE_NAME   "cart"
#define SERVICE_ABSENT "nowhere"

/* ---- Asking for a trace ---- */

static bool trace_is_there(struct engine *e, const struct trace_id *id)
{
    struct arena arena;
    arena_init(&arena, ARENA_MAX, NULL);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    struct bytes data;
    enum err error = engine_trace_get(e, &q, id, &data);
    arena_deinit(&arena);
    return error == ERR_OK;
}

static bool misses(struct engine *e, const char *stage)
{
    size_t false_hits = 0;
    (void)trace_is_there(e, &(struct trace_id){ { 1 } }); /* opens files, makes filters */
    stage_begin(stage);
    for (size_t i = 0; i < MISSES; i++) {
        struct trace_id id;
        store_le64(id.b, (i + 1) * UINT64_C(0x9e3779b97f4a7c15));
        store_le64(id.b + 8, (i + 1) * UINT64_C(0xbf58476d1ce4e5b9));
        false_hits += trace_is_there(e, &id);
    }
    stage_end(MISSES);
    return false_hits == 0;
}

/* ---- Storing ---- */

struct sent {
    struct append append; /* first */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_done; /* with the lock */
    enum err result;
};

static void on_done(struct append *a, enum err result)
{
    struct sent *s = (struct sent *)(void *)a;
    (void)pthread_mutex_lock(&s->lock);
    s->is_done = true;
    s->result = result;
    (void)pthread_cond_signal(&s->changed);
    (void)pthread_mutex_unlock(&s->lock);
}

static bool request_make(struct sent *s, const struct stages_request *request, uint64_t number)
{
    *s = (struct sent){ .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
    struct append *a = &s->append;
    arena_init(&a->arena, SIZE_MAX, NULL);
    a->journal_codec = CODEC_GZIP;
    a->items = request->spans;
    a->request_hash = (struct hash128){ number + 1, number };
    a->arrival_unix_ns = clock_unix_ns();
    a->on_done = on_done;
    struct otlp_report report; /* the door has it */
    if (otlp_check(a->signal, request->plain, &otlp_limits_default, 0, &report, NULL) != ERR_OK)
        return false;
    a->start_min_unix_ns = report.start_min_unix_ns;
    a->start_max_unix_ns = report.start_max_unix_ns;
    return arena_dup(&a->arena, request->gzip, &a->journal) == ERR_OK &&
           arena_dup(&a->arena, request->plain, &a->body) == ERR_OK;
}

static bool request_commit(struct engine *e, struct sent *s)
{
    engine_append(e, &s->append);
    (void)pthread_mutex_lock(&s->lock);
    while (!s->is_done)
        (void)pthread_cond_wait(&s->changed, &s->lock);
    (void)pthread_mutex_unlock(&s->lock);
    return s->result == ERR_OK;
}

static bool write_again(struct bytes request)
{
    FILE *f = tmpfile();
    bool is_ok = f != NULL && fwrite(request.data, 1, request.len, f) == request.len;
    return f != NULL && fclose(f) == 0 && is_ok;
}

static bool round_store(struct engine *e, const struct stages_work *work, size_t first, size_t end,
                        struct sent *sent, enum stages_defect defect)
{
    bool is_ok = true;
    uint64_t spans = 0;
    for (size_t i = first; i < end; i++) {
        is_ok = request_make(&sent[i - first], &work->requests[i], i) && is_ok;
        spans += work->requests[i].spans;
    }
    stage_begin("commit");
    for (size_t i = first; i < end && is_ok; i++) {
        is_ok = request_commit(e, &sent[i - first]);
        if (defect == STAGES_DEFECT_WRITE)
            is_ok = is_ok && write_again(work->requests[i].gzip);
    }
    stage_end(spans);
    if (end == work->count) /* the last round: some are in row groups, the others not */
        is_ok = is_ok && misses(e, "lookup miss, pending");
    stage_begin("build");
    is_ok = is_ok && engine_settle(e) == ERR_OK;
    stage_end(spans);
    for (size_t i = first; i < end; i++)
        arena_deinit(&sent[i - first].append.arena);
    return is_ok;
}

static bool store(struct engine *e, const struct stages_work *work, enum stages_defect defect)
{
    size_t most = work->count / ROUNDS + 1;
    struct sent *sent = mem_alloc_array(most, sizeof *sent);
    bool is_ok = sent != NULL;
    for (size_t r = 0; r < ROUNDS && is_ok; r++)
        is_ok = round_store(e, work, work->count * r / ROUNDS, work->count * (r + 1) / ROUNDS, sent,
                            defect);
    struct engine_statistics s;
    engine_statistics(e, &s);
    stage_result(s.disk_bytes);
    mem_free(sent);
    return is_ok && s.spans == work->spans && s.journal_items == 0;
}

/* ---- Asking ---- */

/* The first trace of evenly spaced requests. */
static struct trace_id present_id(const struct stages_work *work, size_t number)
{
    struct otlp_items it = otlp_items(work->requests[number * work->count / LOOKUPS].plain);
    struct otlp_span span = { 0 };
    if (otlp_items_next(&it))
        otlp_span_read(it.item, &span);
    return span.trace_id;
}

static bool lookups(struct engine *e, const struct stages_work *work)
{
    size_t hits = 0;
    (void)trace_is_there(e, &(struct trace_id){ { 1 } }); /* opens the files */
    stage_begin("lookup hit");
    for (size_t i = 0; i < LOOKUPS; i++) {
        struct trace_id id = present_id(work, i);
        hits += trace_is_there(e, &id);
    }
    stage_end(LOOKUPS);
    return hits == LOOKUPS && misses(e, "lookup miss");
}

static struct expr *equals(struct arena *a, enum expr_scope scope, const char *key,
                           struct expr_value value)
{
    return expr_binary(a, EXPR_EQ, expr_attribute(a, scope, bytes_text(key)), expr_const(a, value));
}

/* A service and one of its attributes: found in every row group, or nowhere. */
static struct expr *filter(struct arena *a, const char *service)
{
    struct expr_value name = { .type = EXPR_STRING, .bytes = bytes_text(service) };
    struct expr_value code = { .type = EXPR_INT, .integer = 201 };
    return expr_binary(a, EXPR_AND, equals(a, EXPR_SCOPE_RESOURCE, "service.name", name),
                       equals(a, EXPR_SCOPE_ANY, "http.response.status_code", code));
}

static bool search(struct engine *e, const char *service, bool is_there)
{
    struct arena arena;
    arena_init(&arena, ARENA_MAX, NULL);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    struct trace_query query = { .filter = filter(&arena, service),
                                 .range = WHOLE_TIME,
                                 .order = FIND_NEWEST,
                                 .limit = SEARCH_LIMIT };
    struct trace_result result = { 0 };
    enum err error = engine_traces_find(e, &q, &query, &result);
    bool is_ok =
        query.filter != NULL && error == ERR_OK && result.count == (is_there ? SEARCH_LIMIT : 0);
    arena_deinit(&arena);
    return is_ok;
}

static bool searches(struct engine *e)
{
    bool is_ok = search(e, SERVICE_NAME, true) && search(e, SERVICE_ABSENT, false);
    stage_begin("search hit");
    for (size_t i = 0; i < SEARCHES; i++)
        is_ok = is_ok && search(e, SERVICE_NAME, true);
    stage_end(SEARCHES);
    stage_begin("search miss");
    for (size_t i = 0; i < SEARCHES; i++)
        is_ok = is_ok && search(e, SERVICE_ABSENT, false);
    stage_end(SEARCHES);
    return is_ok;
}

bool stages_store(const struct stages_work *work, const char *directory, enum stages_defect defect)
{
    struct sqlite_engine_options options = { .directory = directory,
                                             .memory_bytes = (size_t)256 << 20,
                                             .builder_rows = 1u << 19,
                                             .builder_age_ns = NEVER_NS,
                                             .maintain_interval_ns = NEVER_NS };
    struct engine *e = NULL;
    char *message = NULL;
    if (sqlite_engine_open(&options, &e, &message) != ERR_OK) {
        (void)fprintf(stderr, "store: %s\n", message);
        mem_free(message);
        return false;
    }
    bool is_stored = store(e, work, defect);
    bool is_found = is_stored && lookups(e, work);
    bool is_ok = is_found && searches(e);
    if (!is_ok)
        (void)fprintf(stderr, "store: %s\n",
                      !is_stored  ? "not every request was stored"
                      : !is_found ? "a lookup was wrong"
                                  : "a search was wrong");
    engine_close(e);
    return is_ok;
}
