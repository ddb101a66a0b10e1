/* SPDX-License-Identifier: Apache-2.0 */
/* Digests are made once somebody looks, and change no answer: what is there is found in each row group, and in each body
 * that waits to be in one, before, while and after they are made, and what is nowhere opens nothing then. The control is a
 * digest of another row group, or body: with it what is there is not found. */
#include "proto/pb_writer.h"
#include "storage/sqlite/engine_private.h"
#include "storage/testing/scratch.h"
#include "storage/testing/send.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

enum { GROUPS = 6, SPANS = 20 };
#define PATIENCE 3000 /* looks of 10 ms */

struct store {
    char directory[128];
    struct sqlite_engine_options options;
    struct engine *engine;
};

static void put_id(uint8_t *out, size_t len, uint32_t n)
{
    memset(out, 7, len);
    store_le32(out + len - 4, n + 1);
}

/* Body n: SPANS spans, each a trace of its own, with n = "v<n>". */
static void send_one(struct engine *e, uint32_t n)
{
    struct buffer body;
    char word[16];
    buffer_init(&body, SIZE_MAX);
    (void)snprintf(word, sizeof word, "v%u", n);
    size_t group = pb_begin(&body, 1), scope = pb_begin(&body, 2);
    for (uint32_t i = 0; i < SPANS; i++) {
        uint8_t trace[16], id[8];
        put_id(trace, sizeof trace, n * SPANS + i);
        put_id(id, sizeof id, n * SPANS + i);
        size_t span = pb_begin(&body, 2);
        pb_bytes(&body, 1, bytes_of(trace, sizeof trace));
        pb_bytes(&body, 2, bytes_of(id, sizeof id));
        pb_bytes(&body, 5, BYTES_LITERAL("work"));
        pb_fixed64(&body, 7, UINT64_C(1700000000000000000) + i);
        pb_fixed64(&body, 8, UINT64_C(1700000000000000000) + i + 1);
        size_t pair = pb_begin(&body, 9);
        pb_bytes(&body, 1, BYTES_LITERAL("n"));
        size_t value = pb_begin(&body, 2);
        pb_bytes(&body, 1, bytes_text(word));
        pb_end(&body, value);
        pb_end(&body, pair);
        pb_end(&body, span);
    }
    pb_end(&body, scope);
    pb_end(&body, group);
    assert_int_equal(
        send_body(e, SIGNAL_TRACES, buffer_bytes(&body), SPANS, (struct hash128){ n + 1, 5 }),
        ERR_OK);
    buffer_deinit(&body);
}

static void send_group(struct engine *e, uint32_t n)
{
    send_one(e, n);
    assert_int_equal(engine_settle(e), ERR_OK);
}

static struct sqlite_engine *engine_of(struct store *s)
{
    return sqlite_engine_from(s->engine);
}

static void store_init(struct store *s)
{
    struct engine_statistics now;
    *s = (struct store){ .options = { .builder_age_ns = NS_PER_MS,
                                      .maintain_interval_ns = 5 * NS_PER_MS } };
    scratch_make(s->directory);
    s->options.directory = s->directory;
    assert_int_equal(sqlite_engine_open(&s->options, &s->engine, NULL), ERR_OK);
    for (uint32_t n = 0; n < GROUPS; n++)
        send_group(s->engine, n);
    engine_statistics(s->engine, &now);
    assert_int_equal(now.row_groups, GROUPS);
}

static void store_deinit(struct store *s)
{
    engine_close(s->engine);
    scratch_remove(s->directory);
}

/* Traces with n = word. */
static size_t found(struct store *s, const char *word)
{
    struct arena arena;
    arena_init(&arena, (size_t)16 << 20, NULL);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    struct expr *filter = expr_binary(
        &arena, EXPR_EQ, expr_attribute(&arena, EXPR_SCOPE_SPAN, BYTES_LITERAL("n")),
        expr_const(&arena, (struct expr_value){ .type = EXPR_STRING, .bytes = bytes_text(word) }));
    struct trace_query query = {
        .filter = filter, .range = { 0, UINT64_MAX }, .order = FIND_NEWEST, .limit = 1000
    };
    struct trace_result result;
    assert_int_equal(engine_traces_find(s->engine, &q, &query, &result), ERR_OK);
    assert_true(result.progress.is_complete);
    size_t count = result.count;
    expr_deinit(filter);
    arena_deinit(&arena);
    return count;
}

static void all_is_found(struct store *s)
{
    char word[16];
    for (uint32_t n = 0; n < GROUPS; n++) {
        (void)snprintf(word, sizeof word, "v%u", n);
        assert_int_equal(found(s, word), SPANS);
    }
    assert_int_equal(found(s, "nowhere"), 0);
    struct arena arena;
    arena_init(&arena, (size_t)16 << 20, NULL);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    for (uint32_t n = 0; n < GROUPS * SPANS + 5; n++) {
        struct trace_id id;
        struct bytes data;
        put_id(id.b, sizeof id.b, n < GROUPS * SPANS ? n : 10000 + n);
        assert_int_equal(engine_trace_get(s->engine, &q, &id, &data),
                         n < GROUPS * SPANS ? ERR_OK : ERR_NOT_FOUND);
    }
    arena_deinit(&arena);
}

static size_t known(struct store *s, enum rowgroup_digest kind)
{
    size_t count = 0;
    struct snapshot snapshot;
    view_snapshot(&engine_of(s)->view, SIGNAL_TRACES, &snapshot);
    for (size_t i = 0; i < snapshot.groups->count; i++)
        count += atomic_load(&snapshot.groups->groups[i]->digests[kind]) > DIGEST_NEVER;
    snapshot_release(&snapshot);
    return count;
}

static void wait_for(struct store *s, enum rowgroup_digest kind, size_t wanted)
{
    for (int look = 0; look < PATIENCE && known(s, kind) < wanted; look++)
        (void)usleep(10000);
    assert_int_equal(known(s, kind), wanted);
}

static void who_asks_for_nothing_pays_nothing(void **state)
{
    (void)state;
    struct store s;
    store_init(&s);
    (void)usleep(50000);
    assert_int_equal(known(&s, ROWGROUP_DIGEST_VALUES), 0);
    assert_int_equal(known(&s, ROWGROUP_DIGEST_TRACES), 0);
    assert_int_equal(atomic_load(&engine_of(&s)->view.digests.descriptor), 0);
    store_deinit(&s);
}

static void answers_stay_the_same(void **state)
{
    (void)state;
    struct store s;
    store_init(&s);
    all_is_found(&s);
    wait_for(&s, ROWGROUP_DIGEST_VALUES, GROUPS);
    atomic_store(&engine_of(&s)->wants_digests[ROWGROUP_DIGEST_TRACES], true);
    wait_for(&s, ROWGROUP_DIGEST_TRACES, GROUPS);
    all_is_found(&s);
    send_group(s.engine, GROUPS); /* what is new gets one too */
    wait_for(&s, ROWGROUP_DIGEST_VALUES, GROUPS + 1);
    assert_int_equal(found(&s, "v6"), SPANS);
    /* A file that lost all: as if nothing had been known. */
    int fd = atomic_load(&engine_of(&s)->view.digests.descriptor) - 1;
    assert_int_equal(ftruncate(fd, 0), 0);
    all_is_found(&s);
    store_deinit(&s);
}

static void another_ones_digest_hides_what_is_there(void **state)
{
    (void)state;
    struct store s;
    struct snapshot snapshot;
    store_init(&s);
    assert_int_equal(found(&s, "nowhere"), 0);
    wait_for(&s, ROWGROUP_DIGEST_VALUES, GROUPS);
    view_snapshot(&engine_of(&s)->view, SIGNAL_TRACES, &snapshot);
    struct group *first = snapshot.groups->groups[0], *second = snapshot.groups->groups[1];
    uint64_t place = atomic_load(&first->digests[ROWGROUP_DIGEST_VALUES]);
    atomic_store(&first->digests[ROWGROUP_DIGEST_VALUES],
                 atomic_load(&second->digests[ROWGROUP_DIGEST_VALUES]));
    assert_int_equal(found(&s, "v0"), 0);
    atomic_store(&first->digests[ROWGROUP_DIGEST_VALUES], place);
    assert_int_equal(found(&s, "v0"), SPANS);
    snapshot_release(&snapshot);
    store_deinit(&s);
}

/* ---- Bodies */

static void bodies_init(struct store *s)
{
    *s = (struct store){ .options = { .builder_age_ns = 3600 * NS_PER_S } };
    scratch_make(s->directory);
    s->options.directory = s->directory;
    assert_int_equal(sqlite_engine_open(&s->options, &s->engine, NULL), ERR_OK);
    for (uint32_t n = 0; n < GROUPS; n++)
        send_one(s->engine, n);
}

/* How many bodies wait and have a digest; exchange: the first two change theirs. */
static size_t bodies_known(struct store *s, bool exchange)
{
    struct snapshot snapshot;
    size_t count = 0;
    view_snapshot(&engine_of(s)->view, SIGNAL_TRACES, &snapshot);
    struct pending *first = snapshot.pending.first, *p = first;
    for (size_t i = 0; i < snapshot.pending.count; i++, p = p->next)
        count += pending_is_known(p);
    if (exchange) {
        struct pending_filter *one = atomic_load(&first->values);
        atomic_store(&first->values, atomic_exchange(&first->next->values, one));
    }
    snapshot_release(&snapshot);
    return count;
}

static void bodies_wait(struct store *s, size_t wanted)
{
    for (int look = 0; look < PATIENCE && bodies_known(s, false) < wanted; look++)
        (void)usleep(10000);
    assert_int_equal(bodies_known(s, false), wanted);
}

static void bodies_are_learned_while_somebody_asks(void **state)
{
    (void)state;
    struct store s;
    bodies_init(&s);
    (void)usleep(50000);
    assert_int_equal(bodies_known(&s, false), 0);
    assert_true(atomic_load(&engine_of(&s)->body_digests.asked_mono_ns) == 0);
    all_is_found(&s);
    bodies_wait(&s, GROUPS);
    all_is_found(&s);
    send_one(s.engine, GROUPS); /* what comes then gets one too */
    bodies_wait(&s, GROUPS + 1);
    assert_int_equal(found(&s, "v6"), SPANS);
    assert_int_equal(engine_settle(s.engine), ERR_OK);
    assert_int_equal(found(&s, "v6"), SPANS);
    store_deinit(&s);
}

static void another_bodys_digest_hides_what_is_there(void **state)
{
    (void)state;
    struct store s;
    bodies_init(&s);
    assert_int_equal(found(&s, "v0"), SPANS);
    bodies_wait(&s, GROUPS);
    (void)bodies_known(&s, true);
    assert_int_equal(found(&s, "v0"), 0);
    assert_int_equal(found(&s, "v1"), 0);
    assert_int_equal(found(&s, "v2"), SPANS);
    (void)bodies_known(&s, true);
    assert_int_equal(found(&s, "v0"), SPANS);
    store_deinit(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_asks_for_nothing_pays_nothing),
        cmocka_unit_test(answers_stay_the_same),
        cmocka_unit_test(another_ones_digest_hides_what_is_there),
        cmocka_unit_test(bodies_are_learned_while_somebody_asks),
        cmocka_unit_test(another_bodys_digest_hides_what_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
