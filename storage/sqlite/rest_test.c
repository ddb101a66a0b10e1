/* SPDX-License-Identifier: Apache-2.0 */
/* A quiet engine gives back what only arriving data or a lookup needs, finds everything after, and still knows what was
 * sent before. What a stored row group keeps on the heap does not grow. */
#include "base/log.h"
#include "proto/pb_writer.h"
#include "storage/sqlite/engine_private.h"
#include "storage/sqlite/summary.h"
#include "storage/testing/ledger.h"
#include "storage/testing/scratch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#define PATIENCE 12000 /* looks, 5 ms apart */

struct store {
    char directory[128];
    struct metrics *metrics;
    struct engine *engine;
};

static void store_open(struct store *s, uint64_t maintain_interval_ns)
{
    *s = (struct store){ .metrics = metrics_open() };
    scratch_make(s->directory);
    const struct sqlite_engine_options options = { .directory = s->directory,
                                                   .lookback_ns = 600 * NS_PER_S,
                                                   .memory_bytes = (size_t)16 << 20,
                                                   .builder_rows = 1 << 18,
                                                   .builder_age_ns = 3600 * NS_PER_S,
                                                   .maintain_interval_ns = maintain_interval_ns,
                                                   .metrics = s->metrics };
    assert_int_equal(sqlite_engine_open(&options, &s->engine, NULL), ERR_OK);
}

static void store_close(struct store *s)
{
    engine_close(s->engine);
    metrics_close(s->metrics);
    scratch_remove(s->directory);
}

static bool is_resting(struct store *s)
{
    struct filter_room *r = &sqlite_engine_from(s->engine)->view.filters;
    (void)pthread_mutex_lock(&r->lock);
    bool is = r->is_resting;
    (void)pthread_mutex_unlock(&r->lock);
    return is;
}

static void wait_for_rest(struct store *s)
{
    for (int look = 0; look < PATIENCE && !is_resting(s); look++)
        (void)usleep(5000);
    assert_true(is_resting(s));
}

static void a_quiet_engine_rests_and_forgets_nothing(void **state)
{
    (void)state;
    enum { BATCHES = 60 };
    struct store s;
    struct ledger l;
    ledger_init(&l, 11, BATCHES);
    store_open(&s, 2 * NS_PER_MS);
    for (size_t i = 0; i < BATCHES; i++) {
        assert_int_equal(ledger_batch(&l, s.engine, i), ERR_OK);
        if (i % 10 == 9)
            assert_int_equal(engine_settle(s.engine), ERR_OK);
    }
    wait_for_rest(&s);
    assert_true(ledger_check(&l, s.engine));
    wait_for_rest(&s);

    /* Each again: none is stored twice. */
    struct engine_statistics before, after;
    engine_statistics(s.engine, &before);
    for (size_t i = 0; i < BATCHES; i++)
        assert_int_equal(ledger_batch(&l, s.engine, i), ERR_OK);
    assert_int_equal(engine_settle(s.engine), ERR_OK);
    engine_statistics(s.engine, &after);
    assert_int_equal(after.spans, before.spans);
    assert_int_equal(after.journal_items, 0);
    wait_for_rest(&s);
    assert_true(ledger_check(&l, s.engine));
    store_close(&s);
    ledger_deinit(&l);
}

#define SPANS 2000u /* of a request, each a trace: a filter of 2.7 KiB */

static void answered(struct append *a, enum err result)
{
    _Atomic int *answer = a->context;
    atomic_store(answer, result == ERR_OK ? 1 : 2);
}

/* The same spans in another request where only `request` is another. */
static void group_store_as(struct store *s, uint32_t number, uint32_t request)
{
    struct buffer body;
    buffer_init(&body, SIZE_MAX);
    size_t group = pb_begin(&body, 1), scope = pb_begin(&body, 2);
    for (uint32_t n = 0; n < SPANS; n++) {
        uint8_t trace[16] = { 7 }, id[8] = { 7 };
        store_le32(trace + 8, number * SPANS + n + 1);
        store_le32(id + 4, n + 1);
        size_t span = pb_begin(&body, 2);
        pb_bytes(&body, 1, bytes_of(trace, sizeof trace));
        pb_bytes(&body, 2, bytes_of(id, sizeof id));
        pb_bytes(&body, 5, BYTES_LITERAL("work"));
        pb_uint(&body, 6, 1);
        pb_fixed64(&body, 7, UINT64_C(1700000000000000000));
        pb_fixed64(&body, 8, UINT64_C(1700000000001000000));
        pb_end(&body, span);
    }
    pb_end(&body, scope);
    pb_end(&body, group);
    assert_int_equal(buffer_error(&body), ERR_OK);
    _Atomic int answer = 0;
    struct append a = { .signal = SIGNAL_TRACES,
                        .items = SPANS,
                        .request_hash = { request + 1, 1 },
                        .arrival_unix_ns = clock_unix_ns(),
                        .on_done = answered,
                        .context = &answer };
    arena_init(&a.arena, SIZE_MAX, NULL);
    assert_int_equal(arena_dup(&a.arena, buffer_bytes(&body), &a.body), ERR_OK);
    buffer_deinit(&body);
    engine_append(s->engine, &a);
    while (atomic_load(&answer) == 0)
        (void)usleep(200);
    assert_int_equal(atomic_load(&answer), 1);
    arena_deinit(&a.arena);
    assert_int_equal(engine_settle(s->engine), ERR_OK);
}

static void group_store(struct store *s, uint32_t number)
{
    group_store_as(s, number, number);
}

/* All that rests in it. */
static void damage(const struct rest_file *f)
{
    static const uint8_t zeros[4096];
    for (uint64_t at = 0; at < f->end; at += sizeof zeros)
        assert_int_equal(pwrite(f->descriptor - 1, zeros, sizeof zeros, (off_t)at), sizeof zeros);
}

/* What a process has lost of its resting memory it finds in its row groups; and does not pass on. */
static void what_rested_is_lost(void **state)
{
    (void)state;
    enum { GROUPS = 3 };
    struct store s;
    store_open(&s, 3600 * NS_PER_S);
    struct sqlite_engine *e = sqlite_engine_from(s.engine);
    for (uint32_t i = 0; i < GROUPS; i++)
        group_store(&s, i);
    /* The builder waits: nothing arrives. */
    const struct rest_policy policy = { e->directory, 0, 0 };
    span_filter_rest(&e->builder.recent, &policy);
    filter_room_rest(&e->view.filters, &policy);
    assert_true(e->builder.recent.generations[0].place.is_resting && is_resting(&s));
    damage(&e->builder.recent.file);
    damage(&e->view.filters.file);
    for (uint32_t i = 0; i < GROUPS; i++)
        group_store_as(&s, i, GROUPS + i);
    struct engine_statistics counts;
    engine_statistics(s.engine, &counts);
    assert_int_equal(counts.spans, GROUPS * SPANS);
    assert_int_equal(e->builder.recent.epoch, 2);
    group_store(&s, 2 * GROUPS);
    group_store_as(&s, 2 * GROUPS, 2 * GROUPS + 1);
    engine_statistics(s.engine, &counts);
    assert_int_equal(counts.spans, (GROUPS + 1) * SPANS);
    store_close(&s);
}

struct filter_check {
    unsigned rows, damaged;
};

static void listed_filters(const char *directory, struct filter_check *out)
{
    char path[256];
    struct db db;
    sqlite3_stmt *rows = NULL;
    bool is_row = true;
    *out = (struct filter_check){ 0 };
    (void)snprintf(path, sizeof path, "%s/catalog.db", directory);
    assert_int_equal(db_open(path, NULL, DB_READER, DURABILITY_FSYNC, &db), ERR_OK);
    assert_int_equal(db_prepare(&db, "SELECT trace_filter FROM partition_group", &rows), ERR_OK);
    while (db_step(&db, rows, &is_row) == ERR_OK && is_row) {
        struct bytes filter = db_column_bytes(rows, 0);
        out->rows++;
        out->damaged += filter.len == 0 || !trace_filter_is_intact(filter);
    }
    (void)sqlite3_finalize(rows);
    db_close(&db);
}

static enum err seal(struct sqlite_engine *e, void *context)
{
    (void)context;
    return summary_seal(e, e->writer.open);
}

static void what_is_sealed_is_read_where_it_was_written(void **state)
{
    (void)state;
    enum { GROUPS = 3 };
    struct store s;
    struct filter_check listed;
    store_open(&s, 3600 * NS_PER_S);
    struct sqlite_engine *e = sqlite_engine_from(s.engine);
    for (uint32_t i = 0; i < GROUPS; i++)
        group_store(&s, i);
    const struct rest_policy policy = { e->directory, 0, 0 };
    filter_room_rest(&e->view.filters, &policy);
    assert_true(is_resting(&s));
    damage(&e->view.filters.file);
    assert_int_equal(writer_task_run(e, seal, NULL), ERR_OK);
    listed_filters(s.directory, &listed);
    assert_int_equal(listed.rows, GROUPS);
    assert_int_equal(listed.damaged, 0);
    store_close(&s);
}

static size_t heap_bytes(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

static void a_row_group_keeps_little(void **state)
{
    (void)state;
    enum { WARM = 16, GROUPS = 128, EACH_MAX = 1536 };
    struct store s;
    store_open(&s, 3600 * NS_PER_S); /* no merges, no rest */
    for (uint32_t i = 0; i < WARM; i++)
        group_store(&s, i);
    size_t before = heap_bytes();
    for (uint32_t i = WARM; i < WARM + GROUPS; i++)
        group_store(&s, i);
    size_t after = heap_bytes();
    size_t each = after > before ? (after - before) / GROUPS : 0;
    (void)fprintf(stderr, "a row group keeps %zu bytes on the heap\n", each);
    assert_true(each <= EACH_MAX);
    struct filter_room *r = &sqlite_engine_from(s.engine)->view.filters;
    assert_true(r->bytes >= (size_t)GROUPS * SPANS * 10 / 8); /* beside its filter */
    store_close(&s);
}

int main(void)
{
    log_set_level((enum log_level)(LOG_ERROR + 1));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quiet_engine_rests_and_forgets_nothing),
        cmocka_unit_test(what_rested_is_lost),
        cmocka_unit_test(what_is_sealed_is_read_where_it_was_written),
        cmocka_unit_test(a_row_group_keeps_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
