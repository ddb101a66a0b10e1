/* SPDX-License-Identifier: Apache-2.0 */
/* Searching log records agrees with a plain reference: an array of records, sorted by time and
 * content. Few distinct times and many equal records make ties and duplicates common; records are
 * cut at random into bodies. Pages are compared with the reference's list, also when the bodies are
 * cut anew between two pages: the cursor must not know where a record lies. */
#include "base/mem.h"
#include "proto/pb_writer.h"
#include "storage/content_hash.h"
#include "storage/search_testing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { LOGS_MAX = 300, SERVICES = 3 };

struct ref_log {
    uint64_t time;
    int severity, word, service, trace; /* trace 0: none */
    struct bytes message;
    struct hash128 content;
};

struct model {
    struct random random;
    struct ref_log logs[LOGS_MAX];
    size_t count;
    bool has_groups;
    struct buffer messages, resources[SERVICES];
    struct test_source source;
};

static uint64_t seed_now;

static int print_seed(void **state)
{
    (void)state;
    print_message("the last seed was %lu\n", (unsigned long)seed_now);
    return 0;
}

static int below(struct model *m, uint64_t n)
{
    return (int)random_below(&m->random, n);
}

static struct trace_id trace_id_of(int trace)
{
    struct trace_id id = { { 0 } };
    store_be64(id.b, (uint64_t)trace);
    return id;
}

static void put_log(struct buffer *b, const struct ref_log *l)
{
    char text[32];
    (void)snprintf(text, sizeof text, "Payment %d Failed", l->word);
    if (l->word % 2 == 0) /* else only the observed time is known */
        pb_fixed64(b, 1, l->time);
    pb_uint(b, 2, (uint64_t)l->severity);
    size_t body = pb_begin(b, 5);
    pb_bytes(b, 1, bytes_text(text));
    pb_end(b, body);
    test_attribute_int(b, OTLP_LOG_ATTRIBUTES, "order", 4200 + l->word);
    struct trace_id id = trace_id_of(l->trace);
    if (l->trace != 0)
        pb_bytes(b, 9, bytes_of(id.b, sizeof id.b));
    pb_fixed64(b, 11, l->word % 2 == 0 ? 77 : l->time);
}

static void cut(struct model *m)
{
    test_source_deinit(&m->source);
    test_source_init(&m->source);
    size_t sent[2 * LOGS_MAX], count = 0;
    for (size_t i = 0; i < m->count; i++) {
        sent[count++] = i;
        if (below(m, 6) == 0)
            sent[count++] = (size_t)below(m, i + 1);
    }
    if (below(m, 2) == 0) {
        for (size_t i = count; i-- > 1;) {
            size_t j = (size_t)below(m, i + 1), t = sent[i];
            sent[i] = sent[j];
            sent[j] = t;
        }
    }
    for (size_t at = 0; at < count;) {
        struct buffer *b = test_source_add(&m->source, SIGNAL_LOGS);
        size_t end = at + 1 + (size_t)below(m, 1 + count / 3);
        for (; at < count && at < end; at++) {
            const struct ref_log *l = &m->logs[sent[at]];
            size_t resource_logs = pb_begin(b, 1);
            pb_bytes(b, 1, buffer_bytes(&m->resources[l->service]));
            size_t scope_logs = pb_begin(b, 2);
            pb_bytes(b, 2, l->message);
            pb_end(b, scope_logs);
            pb_end(b, resource_logs);
        }
    }
    if (m->has_groups)
        test_source_group(&m->source, &m->random);
    test_source_ready(&m->source);
}

static void model_make(struct model *m, uint64_t seed)
{
    memset(m, 0, sizeof *m);
    seed_now = seed;
    random_init(&m->random, seed);
    m->has_groups = seed % 2 == 0;
    test_source_init(&m->source);
    buffer_init(&m->messages, 1u << 20);
    for (int i = 0; i < SERVICES; i++) {
        char name[16];
        buffer_init(&m->resources[i], 1u << 16);
        (void)snprintf(name, sizeof name, "svc-%d", i);
        test_attribute_text(&m->resources[i], OTLP_RESOURCE_ATTRIBUTES, "service.name", name);
    }
    m->count = 1 + (size_t)below(m, LOGS_MAX);
    uint64_t times = below(m, 3) == 0 ? 2 : below(m, 2) == 0 ? 40 : 3000;
    size_t offsets[LOGS_MAX + 1];
    for (size_t i = 0; i < m->count; i++) {
        struct ref_log *l = &m->logs[i];
        *l = (struct ref_log){ .time = 1000 + (uint64_t)below(m, times),
                               .severity = 1 + below(m, 24),
                               .word = below(m, 20),
                               .service = below(m, SERVICES),
                               .trace = below(m, 12) };
        offsets[i] = m->messages.len;
        put_log(&m->messages, l);
    }
    offsets[m->count] = m->messages.len;
    for (size_t i = 0; i < m->count; i++) {
        struct ref_log *l = &m->logs[i];
        struct bytes none = { 0 };
        l->message = bytes_of(m->messages.data + offsets[i], offsets[i + 1] - offsets[i]);
        struct hash128 group = content_hash_group(
            &m->source.key, buffer_bytes(&m->resources[l->service]), none, none, none);
        l->content = content_hash_item(&m->source.key, SIGNAL_LOGS, group, l->message);
    }
    cut(m);
}

static void model_free(struct model *m)
{
    test_source_deinit(&m->source);
    buffer_deinit(&m->messages);
    for (int i = 0; i < SERVICES; i++)
        buffer_deinit(&m->resources[i]);
}

/* ---- The reference ---- */

static struct expr *make_filter(struct arena *a, int filter)
{
    struct expr_value seventeen = { .type = EXPR_INT, .integer = 17 };
    struct expr_value failed = { .type = EXPR_STRING, .bytes = BYTES_LITERAL("3 fAILED") };
    struct expr_value service = { .type = EXPR_STRING, .bytes = BYTES_LITERAL("svc-1") };
    struct expr_value order = { .type = EXPR_STRING, .bytes = BYTES_LITERAL("4207") };
    switch (filter) {
    case 1:
        return expr_binary(a, EXPR_GE, expr_intrinsic_field(a, EXPR_INTRINSIC_LOG_SEVERITY),
                           expr_const(a, seventeen));
    case 2:
        return expr_binary(a, EXPR_CONTAINS, expr_intrinsic_field(a, EXPR_INTRINSIC_LOG_BODY),
                           expr_const(a, failed));
    case 3:
        return expr_binary(
            a, EXPR_AND,
            expr_binary(a, EXPR_EQ,
                        expr_attribute(a, EXPR_SCOPE_RESOURCE, BYTES_LITERAL("service.name")),
                        expr_const(a, service)),
            expr_binary(a, EXPR_CONTAINS, expr_intrinsic_field(a, EXPR_INTRINSIC_LOG_TEXT),
                        expr_const(a, order)));
    default:
        return NULL;
    }
}

static bool ref_holds(const struct ref_log *l, int filter)
{
    switch (filter) {
    case 1:
        return l->severity >= 17;
    case 2:
        return l->word == 3 || l->word == 13;
    case 3:
        return l->service == 1 && l->word == 7;
    default:
        return true;
    }
}

static bool is_oldest_first;

static int ref_order(const void *a, const void *b)
{
    const struct ref_log *x = *(const struct ref_log *const *)a;
    const struct ref_log *y = *(const struct ref_log *const *)b;
    if (x->time != y->time)
        return (x->time < y->time) == is_oldest_first ? -1 : 1;
    if (x->content.high != y->content.high)
        return x->content.high < y->content.high ? -1 : 1;
    return (x->content.low > y->content.low) - (x->content.low < y->content.low);
}

static size_t reference(const struct model *m, int filter, struct time_range range,
                        enum find_order order, const struct ref_log **out)
{
    size_t count = 0, kept = 0;
    for (size_t i = 0; i < m->count; i++) {
        const struct ref_log *l = &m->logs[i];
        if (l->time >= range.min_unix_ns && l->time < range.max_unix_ns && ref_holds(l, filter))
            out[count++] = l;
    }
    is_oldest_first = order == FIND_OLDEST;
    qsort(out, count, sizeof(struct ref_log *), ref_order);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || ref_order(&out[kept - 1], &out[i]) != 0)
            out[kept++] = out[i];
    }
    return kept;
}

static void check_row(const struct model *m, const struct ref_log *want, const struct log_row *got)
{
    assert_true(bytes_equal(got->log, want->message));
    assert_true(bytes_equal(got->resource, buffer_bytes(&m->resources[want->service])));
    assert_int_equal(got->scope.len + got->resource_schema_url.len + got->scope_schema_url.len, 0);
}

static struct time_range random_range(struct model *m)
{
    if (below(m, 2) == 0)
        return (struct time_range){ 0, UINT64_MAX };
    uint64_t a = 990 + (uint64_t)below(m, 3000), b = 990 + (uint64_t)below(m, 3000);
    return (struct time_range){ a < b ? a : b, a < b ? b : a };
}

static void check_pages(struct model *m, int filter, struct time_range range, enum find_order order,
                        size_t limit)
{
    static const struct ref_log *want[LOGS_MAX];
    size_t count = reference(m, filter, range, order, want), at = 0;
    struct find_cursor cursor = { 0 };
    do {
        struct arena arena;
        arena_init(&arena, 64u << 20, NULL);
        struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
        struct log_query query = { .filter = make_filter(&arena, filter),
                                   .range = range,
                                   .order = order,
                                   .limit = limit,
                                   .after = cursor };
        struct log_result result;
        assert_int_equal(search_logs(&m->source.source, &q, &query, &result), ERR_OK);
        assert_true(result.progress.is_complete);
        assert_true(result.count <= limit && at + result.count <= count);
        for (size_t i = 0; i < result.count; i++)
            check_row(m, want[at++], &result.logs[i]);
        assert_int_equal(result.next.is_set, at < count);
        cursor = result.next;
        arena_deinit(&arena);
        if (below(m, 3) == 0)
            cut(m);
    } while (cursor.is_set);
    assert_int_equal(at, count);
}

static void pages_equal_the_reference(void **state)
{
    (void)state;
    const char *text = getenv("SPINDLE_TEST_ROUNDS");
    uint64_t rounds = text == NULL ? 200 : strtoull(text, NULL, 10);
    for (uint64_t seed = 1; seed <= rounds; seed++) {
        struct model m;
        model_make(&m, seed);
        for (int filter = 0; filter < 4; filter++) {
            enum find_order order = below(&m, 2) == 0 ? FIND_NEWEST : FIND_OLDEST;
            check_pages(&m, filter, random_range(&m), order, 1 + (size_t)below(&m, 30));
            check_pages(&m, filter, random_range(&m), order, 1000);
        }
        model_free(&m);
    }
}

static void a_traces_records_come_by_time(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct model m;
        model_make(&m, 500 + seed);
        for (int trace = 1; trace < 13; trace++) {
            const struct ref_log *want[LOGS_MAX];
            size_t count = 0, at = 0;
            for (size_t i = 0; i < m.count; i++) {
                if (m.logs[i].trace == trace)
                    want[count++] = &m.logs[i];
            }
            is_oldest_first = true;
            qsort(want, count, sizeof want[0], ref_order);
            struct arena arena;
            arena_init(&arena, 64u << 20, NULL);
            struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
            struct trace_id id = trace_id_of(trace);
            struct bytes data = { 0 };
            assert_int_equal(search_trace_get(&m.source.source, &q, &id, SIGNAL_LOGS, &data),
                             ERR_OK);
            struct otlp_items it = otlp_items(data);
            while (otlp_items_next(&it)) {
                assert_true(at < count);
                assert_true(bytes_equal(it.item, want[at]->message));
                at++;
                while (at < count && ref_order(&want[at - 1], &want[at]) == 0)
                    at++;
            }
            assert_int_equal(at, count);
            arena_deinit(&arena);
        }
        model_free(&m);
    }
}

/* Whatever ends it early: what came out is the reference's beginning. */
static void check_prefix(const struct model *m, int filter, const struct log_query *query,
                         const struct log_result *got)
{
    static const struct ref_log *want[LOGS_MAX];
    size_t count = reference(m, filter, query->range, query->order, want);
    size_t page = count < query->limit ? count : query->limit;
    assert_true(got->count <= page);
    for (size_t i = 0; i < got->count; i++)
        check_row(m, want[i], &got->logs[i]);
    if (got->progress.is_complete)
        assert_int_equal(got->count, page);
    if (got->count > 0 && got->count < count)
        assert_true(got->next.is_set && got->next.key == want[got->count - 1]->time);
}

static void too_little_memory_gives_a_prefix(void **state)
{
    (void)state;
    size_t cut_short = 0, not_empty = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct model m;
        model_make(&m, 900 + seed);
        for (size_t bytes = 8192; bytes < 256 * 1024; bytes += bytes / 6) {
            struct arena made, arena;
            arena_init(&made, 1u << 20, NULL);
            arena_init(&arena, bytes, NULL);
            struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
            int filter = below(&m, 3);
            struct log_query query = { .filter = make_filter(&made, filter),
                                       .range = { 0, UINT64_MAX },
                                       .order = below(&m, 2) == 0 ? FIND_NEWEST : FIND_OLDEST,
                                       .limit = 200 };
            struct log_result result;
            assert_int_equal(search_logs(&m.source.source, &q, &query, &result), ERR_OK);
            check_prefix(&m, filter, &query, &result);
            cut_short += !result.progress.is_complete;
            not_empty += !result.progress.is_complete && result.count > 0;
            arena_deinit(&arena);
            arena_deinit(&made);
        }
        model_free(&m);
    }
    print_message("%zu cut short, %zu of them with records\n", cut_short, not_empty);
    assert_true(cut_short > 20 && not_empty > 5);
}

static void time_clients_and_damage(void **state)
{
    (void)state;
    struct model m;
    model_make(&m, 5);
    struct arena arena;
    arena_init(&arena, 64u << 20, NULL);
    struct query_context q = { .deadline_mono_ns = 1, .arena = &arena };
    struct log_query query = { .range = { 0, UINT64_MAX }, .order = FIND_NEWEST, .limit = 20 };
    struct log_result result;
    assert_int_equal(search_logs(&m.source.source, &q, &query, &result), ERR_OK);
    assert_false(result.progress.is_complete);
    check_prefix(&m, 0, &query, &result);
    _Atomic bool is_cancelled = true;
    q.cancelled = &is_cancelled;
    assert_int_equal(search_logs(&m.source.source, &q, &query, &result), ERR_CANCELLED);
    is_cancelled = false;
    q.deadline_mono_ns = UINT64_MAX;
    m.source.bodies[0].is_damaged = true;
    query.limit = 1000;
    assert_int_equal(search_logs(&m.source.source, &q, &query, &result), ERR_OK);
    assert_false(result.progress.is_complete);
    assert_true(m.source.damages > 0);
    arena_deinit(&arena);
    model_free(&m);
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    struct model m;
    model_make(&m, 12);
    for (unsigned long n = 0;; n++) {
        assert_true(n < 10000);
        long before = fault_live_blocks();
        struct arena arena;
        arena_init(&arena, 64u << 20, NULL);
        struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
        struct log_query query = { .range = { 0, UINT64_MAX }, .order = FIND_NEWEST, .limit = 20 };
        struct log_result result;
        struct attribute_key *keys;
        struct attribute_value *values;
        size_t count;
        fault_alloc_fail_at(n, n % 2 == 1);
        enum err e = search_logs(&m.source.source, &q, &query, &result);
        if (e == ERR_OK && !fault_fired())
            e = search_attribute_keys(&m.source.source, &q, SIGNAL_LOGS, query.range,
                                      (struct bytes){ 0 }, 10, &keys, &count);
        if (e == ERR_OK && !fault_fired())
            e = search_attribute_values(&m.source.source, &q, SIGNAL_LOGS, EXPR_SCOPE_LOG,
                                        BYTES_LITERAL("order"), query.range, NULL,
                                        (struct bytes){ 0 }, 10, &values, &count, &result.progress);
        bool has_fired = fault_fired();
        fault_alloc_off();
        assert_int_equal(e, has_fired ? ERR_NOMEM : ERR_OK);
        arena_deinit(&arena);
        assert_int_equal(fault_live_blocks(), before);
        if (!has_fired)
            break;
    }
    model_free(&m);
}

/* Counts equal those of a walk over what the bodies hold. */
static void keys_and_values_are_counted(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct model m;
        model_make(&m, 701 + 2 * seed); /* bodies alone: row groups drop what was sent twice */
        struct arena arena;
        arena_init(&arena, 64u << 20, NULL);
        struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
        struct time_range always = { 0, UINT64_MAX };
        uint64_t seen[20] = { 0 }, rows = 0;
        for (size_t i = 0; i < m.source.count; i++) {
            struct otlp_items it = otlp_items(buffer_bytes(&m.source.bodies[i].data));
            while (otlp_items_next(&it)) {
                struct otlp_value v;
                assert_true(
                    otlp_attribute_find(it.item, OTLP_LOG_ATTRIBUTES, BYTES_LITERAL("order"), &v));
                seen[v.integer - 4200]++;
                rows++;
            }
        }
        struct attribute_key *keys;
        size_t count;
        assert_int_equal(search_attribute_keys(&m.source.source, &q, SIGNAL_LOGS, always,
                                               (struct bytes){ 0 }, 10, &keys, &count),
                         ERR_OK);
        assert_int_equal(count, 2);
        for (size_t i = 0; i < count; i++) {
            bool is_log = keys[i].scope == EXPR_SCOPE_LOG;
            assert_true(is_log || keys[i].scope == EXPR_SCOPE_RESOURCE);
            assert_true(bytes_equal_text(keys[i].key, is_log ? "order" : "service.name"));
            assert_int_equal(keys[i].type, is_log ? OTLP_INT : OTLP_STRING);
            assert_int_equal(keys[i].count, rows); /* every record has a group of its own */
        }
        assert_int_equal(search_attribute_keys(&m.source.source, &q, SIGNAL_LOGS, always,
                                               BYTES_LITERAL("serv"), 10, &keys, &count),
                         ERR_OK);
        assert_int_equal(count, 1);
        assert_int_equal(search_attribute_keys(&m.source.source, &q, SIGNAL_TRACES, always,
                                               (struct bytes){ 0 }, 10, &keys, &count),
                         ERR_OK);
        assert_int_equal(count, 0);

        struct attribute_value *values;
        struct find_progress progress;
        assert_int_equal(search_attribute_values(&m.source.source, &q, SIGNAL_LOGS, EXPR_SCOPE_ANY,
                                                 BYTES_LITERAL("order"), always, NULL,
                                                 (struct bytes){ 0 }, 100, &values, &count,
                                                 &progress),
                         ERR_OK);
        assert_true(progress.is_complete);
        uint64_t sum = 0;
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(values[i].value.type, EXPR_INT);
            assert_int_equal(values[i].count, seen[values[i].value.integer - 4200]);
            assert_true(i == 0 || values[i - 1].count >= values[i].count);
            sum += values[i].count;
        }
        assert_int_equal(sum, rows);
        assert_int_equal(
            search_attribute_values(&m.source.source, &q, SIGNAL_LOGS, EXPR_SCOPE_RESOURCE,
                                    BYTES_LITERAL("service.name"), always, make_filter(&arena, 3),
                                    BYTES_LITERAL("svc-"), 100, &values, &count, &progress),
            ERR_OK);
        assert_int_equal(count, seen[7] > 0 && count > 0 ? 1 : 0);
        if (count > 0)
            assert_true(bytes_equal_text(values[0].value.bytes, "svc-1"));
        assert_int_equal(
            search_attribute_values(&m.source.source, &q, SIGNAL_LOGS, EXPR_SCOPE_INTRINSIC,
                                    BYTES_LITERAL("log:severity"), always, make_filter(&arena, 1),
                                    (struct bytes){ 0 }, 100, &values, &count, &progress),
            ERR_OK);
        for (size_t i = 0; i < count; i++)
            assert_true(values[i].value.integer >= 17);
        assert_int_equal(search_attribute_values(&m.source.source, &q, SIGNAL_LOGS,
                                                 EXPR_SCOPE_INTRINSIC, BYTES_LITERAL("log:nothing"),
                                                 always, NULL, (struct bytes){ 0 }, 100, &values,
                                                 &count, &progress),
                         ERR_INVALID);
        arena_deinit(&arena);
        model_free(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(pages_equal_the_reference, print_seed),
        cmocka_unit_test_teardown(a_traces_records_come_by_time, print_seed),
        cmocka_unit_test_teardown(too_little_memory_gives_a_prefix, print_seed),
        cmocka_unit_test(time_clients_and_damage),
        cmocka_unit_test(keys_and_values_are_counted),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
