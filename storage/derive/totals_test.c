/* SPDX-License-Identifier: Apache-2.0 */
/* totals_test.c - bounds hold whatever is sent, nothing is lost by them, and what is idle leaves. */
#include "storage/derive/totals.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <malloc.h>
#include <stdio.h>

struct feed {
    struct totals totals;
    struct intake intake;
    struct arena texts;
    uint64_t spans;
};

static void feed_init(struct feed *f)
{
    *f = (struct feed){ 0 };
    assert_int_equal(totals_init(&f->totals), ERR_OK);
    intake_init(&f->intake, (size_t)256 << 20);
    f->intake.admit = totals_admit_series;
    f->intake.admit_service = totals_admit_service;
    f->intake.admit_again = totals_admit_again;
    f->intake.admit_changes = totals_changes;
    f->intake.admit_edge = totals_admit_edge;
    f->intake.admit_context = &f->totals;
    arena_init(&f->texts, (size_t)256 << 20, NULL);
}

static void feed_deinit(struct feed *f)
{
    intake_deinit(&f->intake);
    totals_deinit(&f->totals);
    arena_deinit(&f->texts);
}

/* A span of a service (service.name only). number: of the name in its group, + 1; 0: it has none. */
static void feed_numbered(struct feed *f, uint32_t context, const char *service, const char *name,
                          uint32_t number, uint32_t kind, uint64_t trace)
{
    uint8_t resource[128] = { 0x0A, 0, 0x0A, 12 };
    size_t len = strlen(service);
    memcpy(resource + 4, "service.name", 12);
    resource[1] = (uint8_t)(18 + len);
    resource[16] = 0x12;
    resource[17] = (uint8_t)(2 + len);
    resource[18] = 0x0A;
    resource[19] = (uint8_t)len;
    memcpy(resource + 20, service, len);
    struct bytes r, n;
    assert_int_equal(arena_dup(&f->texts, bytes_of(resource, 20 + len), &r), ERR_OK);
    assert_int_equal(arena_dup(&f->texts, bytes_text(name), &n), ERR_OK);
    struct derive_span s = { .context = context,
                             .resource = r,
                             .name = n,
                             .trace_low = trace,
                             .span_id = 1 + f->spans++,
                             .start_unix_ns = TALLY_HOUR_NS,
                             .duration_ns = 1000 + trace * trace * 2500,
                             .kind = kind,
                             .name_plus_one = number };
    intake_add(&f->intake, &s, 1);
}

static void feed_span(struct feed *f, uint32_t context, const char *service, const char *name,
                      uint32_t kind, uint64_t trace)
{
    feed_numbered(f, context, service, name, 0, kind, trace);
}

static void feed_build(struct feed *f, uint64_t mono_ns)
{
    assert_int_equal(intake_error(&f->intake), ERR_OK);
    totals_add(&f->totals, &f->intake.tally, 1000, mono_ns);
    intake_reset(&f->intake);
}

static struct derived_totals copy(struct feed *f, struct arena *arena)
{
    struct derived_totals t;
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = arena };
    assert_int_equal(totals_copy(&f->totals, &q, 0, &t), ERR_OK);
    return t;
}

static uint64_t calls_of(const struct derived_totals *t)
{
    uint64_t calls = 0;
    for (size_t i = 0; i < t->series_count; i++) {
        calls += t->series[i].calls;
        assert_int_equal(t->series[i].duration.count, t->series[i].calls);
    }
    return calls;
}

static void names_over_the_bound_are_counted_together(void **state)
{
    (void)state;
    struct feed f;
    feed_init(&f);
    for (unsigned i = 0; i < 10000; i++) {
        char name[32];
        /* no digits: these would be cleaned; one word: these are no templates */
        (void)snprintf(name, sizeof name, "op%c%c%c%c", 'a' + i / 17576 % 26, 'a' + i / 676 % 26,
                       'a' + i / 26 % 26, 'a' + i % 26);
        feed_span(&f, 0, "loud", name, 1, i);
    }
    feed_span(&f, 1, "quiet", "work", 1, 1);
    feed_build(&f, 1);
    struct arena arena;
    arena_init(&arena, (size_t)256 << 20, NULL);
    struct derived_totals t = copy(&f, &arena);
    assert_int_equal(calls_of(&t), 10001);
    assert_int_equal(t.series_count, TOTALS_OF_SERVICE_MAX + 2);
    assert_int_equal(t.bounds.overflowed_series_spans, 10000 - TOTALS_OF_SERVICE_MAX);
    bool has_quiet = false;
    for (size_t i = 0; i < t.series_count; i++)
        has_quiet = has_quiet || (bytes_equal_text(t.series[i].service, "quiet") &&
                                  bytes_equal_text(t.series[i].name, "work"));
    assert_true(has_quiet);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    struct derived_cleaned *cleaned = NULL;
    size_t count = 0;
    assert_int_equal(totals_cleaned(&f.totals, &q, &cleaned, &count), ERR_OK);
    assert_int_equal(count, 1);
    assert_int_equal(cleaned[0].reasons, CLEANED_OVERFLOW);
    assert_int_equal(cleaned[0].spans, 10000 - TOTALS_OF_SERVICE_MAX);
    assert_true(bytes_equal_text(cleaned[0].name, DERIVED_OVERFLOW_NAME));
    arena_deinit(&arena);
    feed_deinit(&f);
}

/* What others send leaves a service some series of its own, and those that it had. */
static void services_have_some_series_for_sure(void **state)
{
    (void)state;
    struct feed f;
    feed_init(&f);
    feed_span(&f, 0, "good", "first", 1, 1);
    for (unsigned s = 1; s <= 6; s++) {
        char service[32], name[32];
        (void)snprintf(service, sizeof service, "loud-%u", s);
        for (unsigned i = 0; i < 2500; i++) {
            (void)snprintf(name, sizeof name, "op%c%c%c", 'a' + i / 676, 'a' + i / 26 % 26,
                           'a' + i % 26);
            feed_span(&f, s, service, name, 1, 1);
        }
    }
    feed_span(&f, 0, "good", "first", 1, 1);
    for (unsigned i = 0; i < TOTALS_OF_SERVICE_SURE + 5; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "later%c", 'a' + i);
        feed_span(&f, 0, "good", name, 1, 1);
    }
    feed_build(&f, 1);
    struct arena arena;
    arena_init(&arena, (size_t)256 << 20, NULL);
    struct derived_totals t = copy(&f, &arena);
    assert_int_equal(calls_of(&t), f.spans);
    uint64_t first = 0, later = 0, rest = 0;
    for (size_t i = 0; i < t.series_count; i++) {
        if (!bytes_equal_text(t.series[i].service, "good"))
            continue;
        if (bytes_equal_text(t.series[i].name, "first"))
            first = t.series[i].calls;
        else if (bytes_equal_text(t.series[i].name, DERIVED_OVERFLOW_NAME))
            rest = t.series[i].calls;
        else
            later++;
    }
    assert_int_equal(first, 2);
    assert_int_equal(later, TOTALS_OF_SERVICE_SURE - 1);
    assert_int_equal(rest, 6);
    arena_deinit(&arena);
    feed_deinit(&f);
}

/* Names of two words: the second becomes {*} before the service has too many, and who asks is told the same. */
static void names_are_learned_before_the_bound(void **state)
{
    (void)state;
    struct feed f;
    feed_init(&f);
    struct name_rules *rules = NULL;
    struct err_note note;
    size_t line;
    assert_int_equal(name_rules_make(BYTES_LITERAL("op ab* => op a-b"), &rules, &line, &note),
                     ERR_OK);
    f.totals.rules = rules;
    uint64_t of_rule = 0;
    for (unsigned i = 0; i < 10000; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "op %c%c%c%c", 'a' + i / 17576 % 26, 'a' + i / 676 % 26,
                       'a' + i / 26 % 26, 'a' + i % 26);
        of_rule += name[4] == 'b';
        feed_span(&f, 0, "loud", name, 1, i);
    }
    feed_span(&f, 0, "loud", "op /users/7", 1, 1);
    feed_build(&f, 1);
    struct arena arena;
    arena_init(&arena, (size_t)256 << 20, NULL);
    struct derived_totals t = copy(&f, &arena);
    assert_int_equal(calls_of(&t), 10001);
    assert_in_range(t.series_count, 400, NAME_TREE_NAMES_MAX + 4);
    assert_int_equal(t.bounds.overflowed_series_spans, 0);

    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    struct derived_cleaned *cleaned = NULL;
    size_t count = 0, seen = 0;
    uint64_t spans = 0;
    assert_int_equal(totals_cleaned(&f.totals, &q, &cleaned, &count), ERR_OK);
    for (size_t i = 0; i < count; i++) {
        const struct derived_cleaned *c = &cleaned[i];
        if (bytes_equal_text(c->name, "op a-b")) {
            assert_int_equal(c->reasons, CLEANED_RULE);
            assert_int_equal(c->rule, 1);
            assert_int_equal(c->spans, of_rule);
            assert_true(bytes_equal_text(c->example, "op abaa"));
            seen++;
        } else if (bytes_equal_text(c->name, "op {*}")) {
            assert_int_equal(c->reasons, CLEANED_LEARNED);
            assert_in_range(c->spans, 8000, 9999);
            seen++;
        } else {
            assert_int_equal(c->reasons & CLEANED_NUMBER, CLEANED_NUMBER);
        }
        spans += c->spans;
    }
    assert_int_equal(seen, 2);
    assert_true(spans <= 10001);

    struct totals_reader reader = { .totals = &f.totals };
    buffer_init(&reader.name, 4096);
    struct red_key key = { .service = BYTES_LITERAL("loud"), .name = BYTES_LITERAL("op zzzz") };
    totals_show_series(&reader, key.name, 0, &key);
    assert_true(bytes_equal_text(key.name, "op {*}"));
    key.name = BYTES_LITERAL("op abzz");
    totals_show_series(&reader, key.name, 0, &key);
    assert_true(bytes_equal_text(key.name, "op a-b"));
    buffer_deinit(&reader.name);
    arena_deinit(&arena);
    feed_deinit(&f);
    name_rules_free(rules);
}

static void services_over_the_bound_are_counted_together(void **state)
{
    (void)state;
    struct feed f;
    feed_init(&f);
    for (unsigned group = 0; group < 5; group++) {
        for (unsigned i = 0; i < 4000; i++) {
            char service[32];
            (void)snprintf(service, sizeof service, "service-%u", group * 4000 + i);
            feed_span(&f, i, service, "work", 2, i);
        }
        feed_build(&f, 1);
    }
    struct arena arena;
    arena_init(&arena, (size_t)256 << 20, NULL);
    struct derived_totals t = copy(&f, &arena);
    assert_int_equal(calls_of(&t), 20000);
    assert_int_equal(t.bounds.services, TOTALS_SERVICES_MAX);
    assert_int_equal(t.bounds.overflowed_service_spans, 20000 - TOTALS_SERVICES_MAX);
    assert_true(t.bounds.edges <= TOTALS_EDGES_MAX);
    /* Each had a user, and all users' calls are there. */
    uint64_t calls = 0;
    for (size_t i = 0; i < t.edges_count; i++)
        calls += t.edges[i].calls;
    assert_int_equal(calls, 20000);
    arena_deinit(&arena);
    feed_deinit(&f);
}

static void idle_series_leave_and_begin_again(void **state)
{
    (void)state;
    struct feed f;
    feed_init(&f);
    struct arena arena;
    arena_init(&arena, (size_t)64 << 20, NULL);
    feed_span(&f, 0, "a", "first", 1, 1);
    feed_build(&f, 1);
    feed_span(&f, 0, "b", "second", 1, 1);
    feed_build(&f, TOTALS_IDLE_NS);
    assert_int_equal(copy(&f, &arena).series_count, 2); /* not yet */
    feed_span(&f, 0, "b", "second", 1, 1);
    feed_build(&f, TOTALS_IDLE_NS + UINT64_C(60000000000));
    struct derived_totals t = copy(&f, &arena);
    assert_int_equal(t.series_count, 1);
    assert_int_equal(t.series[0].calls, 2);
    assert_int_equal(t.bounds.services, 1);
    feed_span(&f, 0, "a", "first", 1, 1);
    feed_build(&f, TOTALS_IDLE_NS + UINT64_C(61000000000));
    t = copy(&f, &arena);
    assert_int_equal(t.series_count, 2);
    assert_int_equal(calls_of(&t), 3);
    /* Nothing comes any more: asking is enough. */
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    assert_int_equal(totals_copy(&f.totals, &q, 3 * TOTALS_IDLE_NS, &t), ERR_OK);
    assert_int_equal(t.series_count, 0);
    assert_int_equal(t.bounds.services, 0);
    arena_deinit(&arena);
    feed_deinit(&f);
}

/* 10,000 series and 2,000 edges, each with a wide histogram. */
static void memory_stays_within_the_budget(void **state)
{
    (void)state;
    struct feed f;
    feed_init(&f);
    for (unsigned s = 0; s < 500; s++) {
        char service[32];
        (void)snprintf(service, sizeof service, "service-%u", s);
        for (unsigned i = 0; i < 100 * 20; i++) {
            char name[32];
            (void)snprintf(name, sizeof name, "GET /path/%c", 'a' + i % 20);
            feed_span(&f, s, service, name, i % 20 == 0 ? 2 : 1, i);
        }
    }
    feed_build(&f, UINT64_C(60000000000));
    struct arena arena;
    arena_init(&arena, (size_t)256 << 20, NULL);
    struct derived_totals t = copy(&f, &arena);
    assert_int_equal(t.series_count, 10000);
    assert_true(t.bounds.memory_bytes > 0);
    print_message("%zu bytes\n", (size_t)t.bounds.memory_bytes);
    assert_true(t.bounds.memory_bytes < (size_t)24 << 20);
    arena_deinit(&arena);
    feed_deinit(&f);
}

/* ---- All of it, as the heap counts ------------------------------------------------------------ */

static size_t heap_bytes(void)
{
    struct mallinfo2 now = mallinfo2();
    return now.uordblks + now.hblkhd; /* 0 where a sanitizer has the heap */
}

/* One row group's: `count` keys, with durations over four octaves, which is what a histogram keeps finely. */
static void many_add(struct totals *t, unsigned count, bool is_edge)
{
    struct arena arena;
    struct tally tally;
    struct buffer key;
    arena_init(&arena, (size_t)512 << 20, NULL);
    tally_init(&tally, &arena, TALLY_MINUTE_NS);
    buffer_init(&key, 4096);
    for (unsigned i = 0; i < count; i++) {
        char service[32], name[32];
        int service_len = snprintf(service, sizeof service, "service-%u", i % 500);
        int name_len = snprintf(name, sizeof name, is_edge ? "called-%u" : "GET /of/%u", i / 500);
        struct bytes s = bytes_of(service, (size_t)service_len);
        struct bytes n = bytes_of(name, (size_t)name_len);
        buffer_reset(&key);
        if (is_edge)
            edge_key_put(&key, &(struct edge_key){ .client = { .kind = NODE_SERVICE, .name = s },
                                                   .server = { .kind = NODE_SERVICE, .name = n } });
        else
            red_key_put(&key, &(struct red_key){ .service = s, .name = n, .kind = 2 });
        uint32_t series = 0;
        struct tally_point *p = NULL;
        assert_int_equal(tally_series(&tally, buffer_bytes(&key), &series), ERR_OK);
        assert_int_equal(tally_at(&tally, series, TALLY_HOUR_NS, &p), ERR_OK);
        for (unsigned k = 0; k < 64; k++) {
            uint64_t first = 1000000 + k * 230000, second = 900000 + k * 210000;
            p->calls++;
            assert_int_equal(tally_duration(&tally, &p->first_values, first, tally_bucket(first)),
                             ERR_OK);
            if (is_edge)
                assert_int_equal(
                    tally_duration(&tally, &p->second_values, second, tally_bucket(second)),
                    ERR_OK);
        }
    }
    totals_add(t, &tally, 1000, 1);
    buffer_deinit(&key);
    tally_deinit(&tally);
    arena_deinit(&arena);
}

struct copier {
    struct feed *feed;
    _Atomic bool is_ending;
    unsigned copies;
    bool is_wrong;
};

/* Each entry is of one moment, and what was there stays: while others add, who copies lets them in between. */
static void *copy_always(void *context)
{
    struct copier *c = context;
    size_t series_before = 0;
    uint64_t calls_before = 0;
    do {
        struct arena arena;
        struct derived_totals t;
        uint64_t calls = 0;
        arena_init(&arena, (size_t)64 << 20, NULL);
        const struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
        c->is_wrong |= totals_copy(&c->feed->totals, &q, 1, &t) != ERR_OK;
        for (size_t i = 0; !c->is_wrong && i < t.series_count; i++) {
            calls += t.series[i].calls;
            c->is_wrong = t.series[i].duration.count != t.series[i].calls;
        }
        c->is_wrong |= calls < calls_before || t.series_count < series_before;
        calls_before = calls;
        series_before = t.series_count;
        c->copies++;
        arena_deinit(&arena);
    } while (!c->is_ending && !c->is_wrong);
    return NULL;
}

static void copies_are_sound_while_others_count(void **state)
{
    (void)state;
    struct feed f;
    pthread_t thread;
    feed_init(&f);
    struct copier c = { .feed = &f };
    assert_int_equal(pthread_create(&thread, NULL, copy_always, &c), 0);
    for (uint64_t round = 0; round < 300; round++) {
        for (unsigned i = 0; i < 10; i++) {
            char name[] = "operation ......";
            for (uint64_t n = round * 5 + i, k = 10; k < 16; k++, n /= 26)
                name[k] = (char)('a' + n % 26);
            feed_span(&f, 0, "cart", name, 2, 1 + round % 30);
        }
        feed_build(&f, 1);
    }
    c.is_ending = true;
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(c.copies > 0 && !c.is_wrong);
    struct arena arena;
    arena_init(&arena, (size_t)64 << 20, NULL);
    struct derived_totals t = copy(&f, &arena);
    uint64_t calls = 0;
    for (size_t i = 0; i < t.series_count; i++)
        calls += t.series[i].calls;
    assert_int_equal(calls, f.spans);
    assert_int_equal(t.series_count, t.bounds.series);
    arena_deinit(&arena);
    feed_deinit(&f);
}

static void series_and_edges_and_halves_fit_32_mib(void **state)
{
    (void)state;
    struct totals t;
    struct half_table halves;
    size_t before = heap_bytes();
    assert_int_equal(totals_init(&t), ERR_OK);
    assert_int_equal(half_table_init(&halves, HALVES_MAX), ERR_OK);
    many_add(&t, 10000, false);
    many_add(&t, 2000, true);
    size_t heap = heap_bytes() - before;
    size_t mapped = HALVES_MAX * sizeof(struct half_entry); /* all of it, if all wait */
    assert_int_equal(t.series_count, 10000);
    assert_int_equal(t.edges_count, 2000);
    print_message("heap %zu, halves %zu\n", heap, mapped);
    assert_true(heap + mapped <= (size_t)32 << 20);
    half_table_deinit(&halves);
    totals_deinit(&t);
}

/* ---- What is known from group to group ------------------------------------------------------- */

static unsigned known;

static bool again_counted(void *context, uint64_t changes, void *const *places, size_t count)
{
    bool is_known = totals_admit_again(context, changes, places, count);
    known += is_known ? (unsigned)count : 0;
    return is_known;
}

enum { GROUPS = 80, OF_GROUP = 60 };

/* Names that stay, names that make templates, and names that come once. */
static void name_make(struct random *r, char *out, size_t size)
{
    uint64_t kind = random_below(r, 4);
    if (kind < 2)
        (void)snprintf(out, size, "work %c", (char)('a' + random_below(r, 20)));
    else
        (void)snprintf(out, size, "%s /users/%c%c", kind == 2 ? "GET" : "PUT",
                       (char)('a' + random_below(r, 24)), (char)('a' + random_below(r, 24)));
}

static void group_feed(struct feed *feeds[2], struct random *r, bool is_numbered)
{
    static const char *const services[] = { "one", "two", "three", "seldom" };
    static char names[OF_GROUP][40];
    for (uint32_t i = 0; i < OF_GROUP; i++)
        name_make(r, names[i], sizeof names[i]);
    for (uint32_t i = 1; i < OF_GROUP; i++) /* equal names have equal numbers */
        for (uint32_t k = 0; k < i; k++)
            if (strcmp(names[i], names[k]) == 0)
                (void)snprintf(names[i], sizeof names[i], "other %u of it", i);
    uint32_t shift = (uint32_t)random_below(r, 4);
    for (unsigned i = 0; i < 3 * OF_GROUP; i++) {
        uint32_t name = (uint32_t)random_below(r, OF_GROUP),
                 kind = 1 + (uint32_t)random_below(r, 3);
        unsigned service = random_below(r, 400) == 0 ? 3 : (unsigned)random_below(r, 3);
        for (unsigned k = 0; k < 2; k++)
            feed_numbered(feeds[k], (service + shift) % 4, services[service], names[name],
                          is_numbered ? name + 1 : 0, kind, i);
    }
}

/* Group by group the same bytes as when everything is asked for anew, while names become templates and series leave. */
static void what_is_known_changes_nothing(void **state)
{
    (void)state;
    static struct feed warm, cold;
    struct feed *feeds[2] = { &warm, &cold };
    struct random r;
    random_init(&r, 17);
    feed_init(&warm);
    feed_init(&cold);
    warm.intake.admit_again = again_counted;
    cold.intake.admit_again = NULL;
    cold.intake.admit_changes = NULL;
    known = 0;
    for (uint64_t group = 1; group <= GROUPS; group++) {
        struct buffer stored[2];
        struct tally_span span;
        group_feed(feeds, &r, group % 31 != 0);
        for (unsigned k = 0; k < 2; k++) {
            feeds[k]->totals.idle_ns = 8 * NS_PER_S;
            buffer_init(&stored[k], (size_t)64 << 20);
            assert_int_equal(tally_encode(&feeds[k]->intake.tally, &stored[k], &span), ERR_OK);
            feed_build(feeds[k], group * NS_PER_S);
        }
        assert_true(bytes_equal(buffer_bytes(&stored[0]), buffer_bytes(&stored[1])));
        buffer_deinit(&stored[0]);
        buffer_deinit(&stored[1]);
    }
    print_message("%u series were known\n", known);
    assert_true(known > 100);
    feed_deinit(&warm);
    feed_deinit(&cold);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_over_the_bound_are_counted_together),
        cmocka_unit_test(services_have_some_series_for_sure),
        cmocka_unit_test(names_are_learned_before_the_bound),
        cmocka_unit_test(services_over_the_bound_are_counted_together),
        cmocka_unit_test(idle_series_leave_and_begin_again),
        cmocka_unit_test(what_is_known_changes_nothing),
        cmocka_unit_test(memory_stays_within_the_budget),
        cmocka_unit_test(copies_are_sound_while_others_count),
        cmocka_unit_test(series_and_edges_and_halves_fit_32_mib),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
