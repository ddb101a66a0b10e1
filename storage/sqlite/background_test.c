/* SPDX-License-Identifier: Apache-2.0 */
/* What works in the background has a share of the memory. Counting spans under very many names does not fit it:
 * then row groups are made of fewer requests, until they do; one request that does not fit alone is stored, and it
 * is said that it was not counted. Nothing waits for ever. */
#include "base/log.h"
#include "proto/pb_writer.h"
#include "storage/sqlite/engine_private.h"
#include "storage/testing/scratch.h"
#include "storage/testing/send.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#define NAMES 400u /* of a service */

/* A word of its own for each number: digits would be cleaned out of a name. */
static void put_word(struct buffer *b, uint32_t field, char first, uint32_t n)
{
    char word[8] = { first };
    for (size_t i = 1; i < sizeof word; i++, n /= 26)
        word[i] = (char)('a' + n % 26);
    pb_bytes(b, field, bytes_of(word, sizeof word));
}

/* One request: services [first, first + count), `NAMES` spans of each, with a name each. */
static void send_services(struct engine *e, uint32_t first, uint32_t count)
{
    struct buffer body;
    buffer_init(&body, SIZE_MAX);
    for (uint32_t s = first; s < first + count; s++) {
        size_t group = pb_begin(&body, 1), resource = pb_begin(&body, 1), pair = pb_begin(&body, 1);
        pb_bytes(&body, 1, BYTES_LITERAL("service.name"));
        size_t value = pb_begin(&body, 2);
        put_word(&body, 1, 's', s);
        pb_end(&body, value);
        pb_end(&body, pair);
        pb_end(&body, resource);
        size_t scope = pb_begin(&body, 2);
        for (uint32_t n = 0; n < NAMES; n++) {
            uint8_t trace[16] = { 7 }, id[8] = { 7 };
            store_le32(trace + 8, s * NAMES + n + 1);
            store_le32(id + 4, n + 1);
            size_t span = pb_begin(&body, 2);
            pb_bytes(&body, 1, bytes_of(trace, sizeof trace));
            pb_bytes(&body, 2, bytes_of(id, sizeof id));
            put_word(&body, 5, 'o', n);
            pb_uint(&body, 6, 2);
            pb_fixed64(&body, 7, UINT64_C(1700000000000000000));
            pb_fixed64(&body, 8, UINT64_C(1700000000000000000) + (n + 1) * NS_PER_MS);
            pb_end(&body, span);
        }
        pb_end(&body, scope);
        pb_end(&body, group);
    }
    assert_int_equal(buffer_error(&body), ERR_OK);
    assert_int_equal(send_body(e, SIGNAL_TRACES, buffer_bytes(&body), (uint64_t)count * NAMES,
                               (struct hash128){ first + 1, count }),
                     ERR_OK);
    buffer_deinit(&body);
}

struct store {
    char directory[128];
    struct metrics *metrics;
    struct sqlite_engine_options options;
    struct engine *engine;
};

static void store_init(struct store *s)
{
    *s = (struct store){ .metrics = metrics_open() };
    scratch_make(s->directory);
    s->options = (struct sqlite_engine_options){ .directory = s->directory,
                                                 .memory_bytes = (size_t)8 << 20,
                                                 .builder_rows = 1 << 18,
                                                 .builder_age_ns = 3600 * NS_PER_S,
                                                 .metrics = s->metrics };
    assert_int_equal(sqlite_engine_open(&s->options, &s->engine, NULL), ERR_OK);
    /* As if the other half of it were taken. */
    sqlite_engine_from(s->engine)->background.limit_bytes = (size_t)2 << 20;
}

static uint64_t counter(struct store *s, const char *name)
{
    return metric_value(metrics_counter(s->metrics, name, NULL, ""));
}

static void report(void *context, const char *file, const char *what)
{
    (void)fprintf(stderr, "verify: %s: %s\n", file, what);
    ++*(unsigned *)context;
}

static unsigned store_deinit(struct store *s)
{
    unsigned complaints = 0;
    engine_close(s->engine);
    (void)!sqlite_engine_verify(s->directory, report, &complaints);
    metrics_close(s->metrics);
    scratch_remove(s->directory);
    return complaints;
}

static void groups_are_made_of_fewer(void **state)
{
    (void)state;
    enum { REQUESTS = 32 };
    struct store s;
    struct engine_statistics now;
    store_init(&s);
    for (uint32_t n = 0; n < REQUESTS; n++)
        send_services(s.engine, n, 1);
    assert_int_equal(engine_settle(s.engine), ERR_OK);
    engine_statistics(s.engine, &now);
    assert_int_equal(now.journal_items, 0);
    assert_int_equal(now.spans, REQUESTS * NAMES);
    assert_in_range(now.row_groups, 2, REQUESTS);
    assert_int_equal(counter(&s, "spindle_storage_uncounted_items_total"), 0);
    assert_int_equal(store_deinit(&s), 0); /* rollups count what row groups hold */
}

static void one_that_does_not_fit_is_stored(void **state)
{
    (void)state;
    enum { SERVICES = 32 };
    struct store s;
    struct engine_statistics now;
    store_init(&s);
    send_services(s.engine, 0, SERVICES);
    send_services(s.engine, 100, 1);
    assert_int_equal(engine_settle(s.engine), ERR_OK);
    engine_statistics(s.engine, &now);
    assert_int_equal(now.journal_items, 0);
    assert_int_equal(now.spans, (SERVICES + 1) * NAMES);
    assert_int_equal(counter(&s, "spindle_storage_uncounted_items_total"), SERVICES * NAMES);
    assert_int_equal(store_deinit(&s), 1); /* verifying says it too */
}

int main(void)
{
    log_set_level((enum log_level)(LOG_ERROR + 1));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_are_made_of_fewer),
        cmocka_unit_test(one_that_does_not_fit_is_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
