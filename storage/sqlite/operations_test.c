/* SPDX-License-Identifier: Apache-2.0 */
/* The list of operations is bounded, in memory and in the files, whatever names spans have: what is over a bound
 * of a service is counted for it, other services are as before, sums are exact at any time, also after a restart
 * and when partitions expire. */
#include "storage/sqlite/operations.h"

#include "base/mem.h"
#include "base/random.h"
#include "proto/pb_writer.h"
#include "storage/sqlite/engine_private.h"
#include "storage/testing/scratch.h"
#include "storage/testing/send.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

/* ---- The set --------------------------------------------------------------------------------- */

static struct bytes text_number(char *out, size_t size, const char *prefix, unsigned n)
{
    int len = snprintf(out, size, "%s%u", prefix, n);
    return bytes_of(out, (size_t)len);
}

static uint64_t sum(const struct operations *o, uint64_t *out_rest)
{
    uint64_t all = 0;
    *out_rest = 0;
    for (uint32_t i = 0; i < operations_count(o); i++) {
        struct operation_entry entry;
        operations_get(o, i, &entry);
        all += entry.spans;
        *out_rest += operation_is_rest(&entry) ? entry.spans : 0;
    }
    return all;
}

static void one_service_is_bounded(void **state)
{
    (void)state;
    struct operations o;
    char name[32];
    uint64_t rest = 0;
    operations_init(&o);
    for (unsigned n = 0; n < 3 * OPERATIONS_OF_SERVICE_MAX; n++)
        assert_int_equal(operations_add(&o, BYTES_LITERAL("loud"),
                                        text_number(name, sizeof name, "GET /", n), 2, 1),
                         ERR_OK);
    assert_int_equal(operations_count(&o), OPERATIONS_OF_SERVICE_MAX + 1);
    assert_int_equal(operations_add(&o, BYTES_LITERAL("quiet"), BYTES_LITERAL("GET /"), 2, 5),
                     ERR_OK);
    assert_int_equal(sum(&o, &rest), 3 * OPERATIONS_OF_SERVICE_MAX + 5);
    assert_int_equal(rest, 2 * OPERATIONS_OF_SERVICE_MAX);
    assert_int_equal(o.overflowed, rest);
    operations_deinit(&o);
}

static void all_of_them_are_bounded(void **state)
{
    (void)state;
    struct operations o;
    char service[32];
    uint64_t rest = 0;
    operations_init(&o);
    for (unsigned n = 0; n < OPERATIONS_MAX + 1000; n++)
        assert_int_equal(operations_add(&o, text_number(service, sizeof service, "s", n),
                                        BYTES_LITERAL("x"), 1, 1),
                         ERR_OK);
    assert_true(operations_count(&o) <= 2 * OPERATIONS_MAX + 1);
    assert_true(o.bytes <= OPERATIONS_BYTES_MAX);
    assert_int_equal(sum(&o, &rest), OPERATIONS_MAX + 1000);
    assert_true(rest >= 1000);
    operations_deinit(&o);
}

static void long_names_are_bounded(void **state)
{
    (void)state;
    static uint8_t name[65536];
    struct operations o;
    uint64_t rest = 0;
    operations_init(&o);
    for (uint32_t n = 0; n < 2000; n++) {
        store_le32(name, n);
        assert_int_equal(
            operations_add(&o, BYTES_LITERAL("long"), bytes_of(name, sizeof name), 1, 1), ERR_OK);
    }
    assert_true(o.bytes <= OPERATIONS_BYTES_MAX + 1000);
    assert_int_equal(sum(&o, &rest), 2000);
    assert_true(rest > 1000);
    operations_deinit(&o);
}

/* Adding and taking back, at random, far over the bounds: the sum is right at any time. */
static void what_was_added_can_be_taken_back(void **state)
{
    (void)state;
    enum { PARTS = 8 };
    struct operations all, parts[PARTS];
    struct random r;
    uint64_t spans[PARTS] = { 0 }, rest = 0;
    random_init(&r, 7);
    operations_init(&all);
    for (size_t p = 0; p < PARTS; p++)
        operations_init(&parts[p]);
    for (unsigned n = 0; n < 60000; n++) {
        char service[32], name[32];
        size_t p = n / (60000 / PARTS) % PARTS;
        struct bytes s = text_number(service, sizeof service, "s", (unsigned)random_below(&r, 3));
        struct bytes o = text_number(name, sizeof name, "n", (unsigned)random_below(&r, 20000));
        uint32_t at = 0;
        struct operation_entry entry;
        assert_int_equal(operations_place(&all, s, o, 1, &at), ERR_OK);
        operations_get(&all, at, &entry);
        assert_int_equal(operations_add(&parts[p], entry.service, entry.name, entry.kind, 1),
                         ERR_OK);
        operations_add_at(&all, at, 1);
        spans[p]++;
    }
    uint64_t left = 60000;
    for (size_t p = 0; p < PARTS; p++) {
        assert_int_equal(sum(&all, &rest), left);
        assert_int_equal(sum(&parts[p], &rest), spans[p]);
        operations_subtract(&all, &parts[p]);
        operations_compact(&all);
        left -= spans[p];
        operations_deinit(&parts[p]);
    }
    assert_int_equal(sum(&all, &rest), 0);
    operations_deinit(&all);
}

/* ---- In a store ------------------------------------------------------------------------------ */

#define NAMES   (OPERATIONS_OF_SERVICE_MAX * 2)
#define REQUEST 512u /* spans */

struct store {
    char directory[128];
    struct sqlite_engine_options options;
    struct engine *engine;
};

/* `REQUEST` spans of a service, each with a name of its own. */
static void send_names(struct engine *e, const char *service, uint32_t first)
{
    struct buffer body;
    buffer_init(&body, SIZE_MAX);
    size_t group = pb_begin(&body, 1), resource = pb_begin(&body, 1), pair = pb_begin(&body, 1);
    pb_bytes(&body, 1, BYTES_LITERAL("service.name"));
    size_t value = pb_begin(&body, 2);
    pb_bytes(&body, 1, bytes_of(service, strlen(service)));
    pb_end(&body, value);
    pb_end(&body, pair);
    pb_end(&body, resource);
    size_t scope = pb_begin(&body, 2);
    for (uint32_t n = first; n < first + REQUEST; n++) {
        char name[32];
        uint8_t trace[16] = { 0xee, (uint8_t)service[0] }, span[8] = { (uint8_t)service[0] };
        store_le32(trace + 8, n / 8);
        store_le32(span + 4, n + 1);
        size_t mark = pb_begin(&body, 2);
        pb_bytes(&body, 1, bytes_of(trace, sizeof trace));
        pb_bytes(&body, 2, bytes_of(span, sizeof span));
        pb_bytes(&body, 5, text_number(name, sizeof name, "GET /item/", n));
        pb_uint(&body, 6, 2);
        pb_end(&body, mark);
    }
    pb_end(&body, scope);
    pb_end(&body, group);
    assert_int_equal(send_body(e, SIGNAL_TRACES, buffer_bytes(&body), REQUEST,
                               (struct hash128){ first + 1, (uint64_t)service[0] }),
                     ERR_OK);
    buffer_deinit(&body);
}

static size_t listed(struct engine *e, const char *service, uint64_t *out_spans, uint64_t *out_rest)
{
    struct arena arena;
    arena_init(&arena, (size_t)64 << 20, NULL);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    struct operation *operations = NULL;
    size_t count = 0;
    assert_int_equal(
        engine_operations(e, &q, bytes_of(service, strlen(service)), &operations, &count, out_rest),
        ERR_OK);
    *out_spans = *out_rest;
    for (size_t i = 0; i < count; i++)
        *out_spans += operations[i].spans;
    arena_deinit(&arena);
    return count;
}

static void lists_are_right(struct engine *e)
{
    uint64_t spans = 0, rest = 0;
    assert_int_equal(listed(e, "loud", &spans, &rest), OPERATIONS_OF_SERVICE_MAX);
    assert_int_equal(spans, NAMES);
    assert_int_equal(rest, NAMES - OPERATIONS_OF_SERVICE_MAX);
    assert_int_equal(listed(e, "quiet", &spans, &rest), REQUEST);
    assert_int_equal(spans, REQUEST);
    assert_int_equal(rest, 0);
}

static int64_t count_in(const struct store *s, const char *file, const char *sql)
{
    char path[256];
    struct db db;
    int64_t count = -1;
    (void)snprintf(path, sizeof path, "%s/%s", s->directory, file);
    assert_int_equal(db_open(path, NULL, DB_READER, DURABILITY_FSYNC, &db), ERR_OK);
    assert_int_equal(db_integer(&db, sql, -1, &count), ERR_OK);
    db_close(&db);
    return count;
}

static void report(void *context, const char *file, const char *what)
{
    (void)fprintf(stderr, "verify: %s: %s\n", file, what);
    ++*(unsigned *)context;
}

static void files_are_bounded(void **state)
{
    (void)state;
    struct store s = { 0 };
    struct metrics *metrics = metrics_open();
    scratch_make(s.directory);
    s.options = (struct sqlite_engine_options){ .directory = s.directory,
                                                .builder_rows = 4 * REQUEST,
                                                .partition_bytes_max = 100000,
                                                .metrics = metrics };
    assert_int_equal(sqlite_engine_open(&s.options, &s.engine, NULL), ERR_OK);
    for (uint32_t n = 0; n < NAMES; n += REQUEST) {
        send_names(s.engine, "loud", n);
        if (n % (4 * REQUEST) == 0)
            assert_int_equal(engine_settle(s.engine), ERR_OK);
    }
    send_names(s.engine, "quiet", 0);
    assert_int_equal(engine_settle(s.engine), ERR_OK);
    lists_are_right(s.engine);
    assert_int_equal(metric_value(metrics_counter(
                         metrics, "spindle_storage_operations_overflow_total", NULL, "")),
                     NAMES - OPERATIONS_OF_SERVICE_MAX);
    struct engine_statistics now;
    for (int looks = 0; looks < 8000; looks++) { /* partitions roll and are sealed meanwhile */
        engine_statistics(s.engine, &now);
        if (count_in(&s, "catalog.db", "SELECT count(*) FROM partition WHERE state = 2") > 0)
            break;
        (void)usleep(5000);
    }
    engine_close(s.engine);
    assert_true(count_in(&s, "catalog.db", "SELECT count(*) FROM operation") > 0);
    assert_true(count_in(&s, "catalog.db", "SELECT count(*) FROM operation") <=
                OPERATIONS_OF_SERVICE_MAX + 1 + REQUEST);
    unsigned complaints = 0;
    assert_int_equal(sqlite_engine_verify(s.directory, report, &complaints), ERR_OK);
    assert_int_equal(complaints, 0);
    assert_int_equal(sqlite_engine_open(&s.options, &s.engine, NULL), ERR_OK);
    lists_are_right(s.engine);
    engine_close(s.engine);
    metrics_close(metrics);
    scratch_remove(s.directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_service_is_bounded),
        cmocka_unit_test(all_of_them_are_bounded),
        cmocka_unit_test(long_names_are_bounded),
        cmocka_unit_test(what_was_added_can_be_taken_back),
        cmocka_unit_test(files_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
