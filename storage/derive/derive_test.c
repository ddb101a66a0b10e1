/* SPDX-License-Identifier: Apache-2.0 */
/* derive_test.c - the small parts of rollups: names that are cleaned, weights of samples, peers by their
 * attributes, and tallies there and back, merged in any order, cut and damaged at every byte. */
#include "storage/derive/clean_name.h"
#include "storage/derive/half.h"
#include "storage/derive/peer.h"
#include "storage/derive/tally.h"
#include "storage/derive/weight.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- Names ----------------------------------------------------------------------------------- */

static void names_are_cleaned(void **state)
{
    (void)state;
    static const struct {
        const char *name, *clean; /* NULL: the same */
    } cases[] = {
        { "", NULL },
        { "GET /", NULL },
        { "GET /api/v1/users/{id}", NULL },
        { "HTTP/1.1 GET", NULL },
        { "oauth2 login", NULL },
        { "utf-8", NULL },
        { "SELECT shop.orders", NULL },
        { "calculate_sha256_digest", NULL },
        { "GET /users/123", "GET /users/{id}" },
        { "GET /users/123/orders/9", "GET /users/{id}/orders/{id}" },
        { "GET /u/3f2504e0-4f89-11d3-9a0c-0305e82c3301", "GET /u/{uuid}" },
        { "commit 9fceb02d", "commit {hex}" },
        { "deadbeef cafe", NULL }, /* hex, and a word as well: no digit */
        { "job-20261121-a", "job-{id}-a" },
        { "order_1042", "order_{id}" },
        { "worker-12", NULL },
        { "mail to ann@example.org", "mail to {email}" },
        { "report 2026-11-21", "report {date}" },
        { "report 2026-11-21T10:00:00Z", "report {date}:{id}:00Z" },
        { "ping 10.1.2.3", "ping {id}" },
        { "GET /search?q=1&p=2", "GET /search" },
        { "what? no", NULL },
        { "token a1B2c3D4e5F6g7H8", "token {id}" },
        { "SELECT * FROM t WHERE id=42", "SELECT * FROM t WHERE id={id}" },
        { "caf\xC3\xA9 7", "caf\xC3\xA9 {id}" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buffer out;
        buffer_init(&out, 4096);
        unsigned r = clean_name(bytes_text(cases[i].name), &out);
        if (cases[i].clean == NULL ? r != 0 || out.len != 0
                                   : r == 0 || (r & CLEANED_LONG) != 0 ||
                                         !bytes_equal_text(buffer_bytes(&out), cases[i].clean))
            fail_msg("%s became %.*s", cases[i].name, (int)out.len, (const char *)out.data);
        buffer_deinit(&out);
    }
}

/* Whatever the bytes, cleaning ends, stays within the bound, and a clean name is its own clean form. */
static void cleaning_is_done_once(void **state)
{
    (void)state;
    static const char letters[] = "0123456789abcdefGHI/-_.@?= {}\xC3\xA9";
    struct random r;
    random_init(&r, 5);
    for (unsigned n = 0; n < 20000; n++) {
        char name[600];
        size_t len = random_below(&r, n % 50 == 0 ? sizeof name : 40);
        for (size_t i = 0; i < len; i++)
            name[i] = letters[random_below(&r, sizeof letters - 1)];
        struct buffer once, twice;
        buffer_init(&once, 1 << 16);
        buffer_init(&twice, 1 << 16);
        unsigned first = clean_name(bytes_of(name, len), &once);
        if (first != 0) {
            assert_true(once.len <= CLEAN_NAME_MAX);
            unsigned again = clean_name(buffer_bytes(&once), &twice);
            if (((first | again) & CLEANED_LONG) == 0 &&
                again != 0) /* parts may join to new words: but then it shrinks */
                assert_true(twice.len <= once.len + 8);
        } else {
            assert_true(len <= CLEAN_NAME_MAX);
        }
        buffer_deinit(&once);
        buffer_deinit(&twice);
    }
}

/* ---- Weights --------------------------------------------------------------------------------- */

static void states_tell_weights(void **state)
{
    (void)state;
    static const struct {
        const char *state;
        uint64_t weight;
    } cases[] = {
        { "", WEIGHT_ONE },
        { "vendor=1", WEIGHT_ONE },
        { "ot=rv:1", WEIGHT_ONE },
        { "ot=th:0", WEIGHT_ONE },
        { "ot=th:8", 2 * WEIGHT_ONE },
        { "ot=th:c", 4 * WEIGHT_ONE },
        { "ot=rv:abc;th:c", 4 * WEIGHT_ONE },
        { "a=b, ot=th:c", 4 * WEIGHT_ONE },
        { "ot=th:x", WEIGHT_ONE },
        { "ot=th:8x", WEIGHT_ONE },
        { "ot=th:ffffffffffffff", WEIGHT_MAX },
        { "ot=th:fd70a3d70a3d71", 6553600 }, /* one of a hundred */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t weight = weight_of_trace_state(bytes_text(cases[i].state));
        if (weight > cases[i].weight + 1 || weight + 1 < cases[i].weight)
            fail_msg("%s: %llu", cases[i].state, (unsigned long long)weight);
    }
}

/* ---- Peers ----------------------------------------------------------------------------------- */

static void attribute_put(struct buffer *b, const char *key, const char *text)
{
    size_t key_len = strlen(key), text_len = strlen(text);
    uint8_t raw[128] = { OTLP_SPAN_ATTRIBUTES << 3 | 2, (uint8_t)(key_len + text_len + 6),
                         1 << 3 | 2, (uint8_t)key_len };
    size_t at = 4;
    memcpy(raw + at, key, key_len);
    at += key_len;
    raw[at++] = 2 << 3 | 2;
    raw[at++] = (uint8_t)(text_len + 2);
    raw[at++] = 1 << 3 | 2;
    raw[at++] = (uint8_t)text_len;
    memcpy(raw + at, text, text_len);
    buffer_append(b, raw, at + text_len);
}

static void attributes_name_peers(void **state)
{
    (void)state;
    static const struct {
        uint32_t kind;
        const char *attributes[8]; /* key, value, ... */
        enum peer_role role;
        const char *name; /* NULL: nobody */
        enum derived_node_kind node;
        const char *system;
    } cases[] = {
        { 1, { "peer.service", "x" }, PEER_NONE, "x", NODE_EXTERNAL, "" },
        { 3, { "a", "b" }, PEER_CALL, NULL, NODE_EXTERNAL, "" },
        { 3,
          { "server.address", "api", "server.port", "443" },
          PEER_CALL,
          "api:443",
          NODE_EXTERNAL,
          "" },
        { 3,
          { "net.peer.name", "old", "server.address", "new" },
          PEER_CALL,
          "new",
          NODE_EXTERNAL,
          "" },
        { 3,
          { "server.address", "h", "peer.service", "billing" },
          PEER_CALL,
          "billing",
          NODE_EXTERNAL,
          "" },
        { 3,
          { "url.full", "https://u@pay.example:8443/x?y" },
          PEER_CALL,
          "pay.example:8443",
          NODE_EXTERNAL,
          "" },
        { 3, { "gen_ai.provider.name", "openai" }, PEER_CALL, "openai", NODE_EXTERNAL, "" },
        { 3, { "db.system", "redis" }, PEER_DATABASE, "redis", NODE_DATABASE, "redis" },
        { 3,
          { "db.system.name", "postgresql", "db.namespace", "shop", "server.address", "pg" },
          PEER_DATABASE,
          "shop",
          NODE_DATABASE,
          "postgresql" },
        { 3,
          { "db.system", "mysql", "server.address", "m1" },
          PEER_DATABASE,
          "m1",
          NODE_DATABASE,
          "mysql" },
        { 4,
          { "messaging.system", "kafka", "messaging.destination.name", "orders" },
          PEER_SEND,
          "orders",
          NODE_QUEUE,
          "kafka" },
        { 3,
          { "messaging.system", "kafka", "messaging.operation.type", "receive",
            "messaging.destination.name", "orders" },
          PEER_RECEIVE,
          "orders",
          NODE_QUEUE,
          "kafka" },
        { 5, { "messaging.destination", "mails" }, PEER_RECEIVE, "mails", NODE_QUEUE, "" },
        { 2, { "server.address", "me" }, PEER_SERVE, NULL, NODE_EXTERNAL, "" },
        { 2, { "peer.service", "mobile" }, PEER_SERVE, "mobile", NODE_EXTERNAL, "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buffer message, scratch;
        struct peer_parts parts;
        struct derived_node node = { 0 };
        buffer_init(&message, 4096);
        buffer_init(&scratch, 4096);
        for (size_t a = 0; a < 8 && cases[i].attributes[a] != NULL; a += 2)
            attribute_put(&message, cases[i].attributes[a], cases[i].attributes[a + 1]);
        struct derive_span span = { .message = buffer_bytes(&message) };
        peer_read(&span, &parts);
        struct bytes gathered[DERIVE_ATTRIBUTES_MAX]; /* the same, when they come gathered */
        struct peer_parts same;
        derive_gather(&span, gathered);
        assert_non_null(span.attributes);
        span.message = (struct bytes){ 0 };
        peer_read(&span, &same);
        assert_int_equal(parts.present, same.present);
        for (unsigned p = 0; p < PART_COUNT; p++)
            assert_true((parts.present >> p & 1) == 0 ||
                        bytes_equal(parts.values[p], same.values[p]));
        enum peer_role role = peer_role(cases[i].kind, &parts);
        bool is_named = peer_node(role, &parts, BYTES_LITERAL("prod"), &scratch, &node);
        print_message("%s", role == cases[i].role ? "" : "role ");
        assert_int_equal(role, cases[i].role);
        if (role != PEER_NONE) {
            assert_int_equal(is_named, cases[i].name != NULL);
            if (is_named) {
                assert_true(bytes_equal_text(node.name, cases[i].name));
                assert_int_equal(node.kind, cases[i].node);
                assert_true(bytes_equal_text(node.system, cases[i].system));
                assert_true(bytes_equal_text(node.environment, "prod"));
            }
        }
        buffer_deinit(&message);
        buffer_deinit(&scratch);
    }
}

/* ---- Tallies --------------------------------------------------------------------------------- */

static void tally_fill(struct tally *t, struct random *r, unsigned points)
{
    for (unsigned i = 0; i < points; i++) {
        char key[32];
        uint32_t series;
        struct tally_point *p;
        (void)snprintf(key, sizeof key, "key %llu", (unsigned long long)random_below(r, 20));
        assert_int_equal(tally_series(t, bytes_text(key), &series), ERR_OK);
        assert_int_equal(tally_at(t, series, random_below(r, 100) * TALLY_MINUTE_NS, &p), ERR_OK);
        uint64_t duration = random_next(r) >> random_below(r, 60);
        assert_int_equal(histogram_record(&p->first, duration, 1), ERR_OK);
        if (random_below(r, 3) == 0)
            assert_int_equal(histogram_record(&p->second, duration / 2, 1), ERR_OK);
        p->calls++;
        p->errors += random_below(r, 2);
        p->bytes += random_below(r, 1000);
        p->estimated_calls += TALLY_ONE * (1 + random_below(r, 2));
        p->estimated_errors += TALLY_ONE;
        struct derived_exemplar x = { .is_set = true,
                                      .start_unix_ns = random_below(r, 1000),
                                      .duration_ns = duration };
        x.trace_id.b[3] = (uint8_t)i;
        if (tally_is_slower(&x, &p->slowest))
            p->slowest = x;
        if (tally_is_later(&x, &p->failed))
            p->failed = x;
    }
}

static void tally_bytes(struct tally *t, struct buffer *out)
{
    struct tally_span span;
    assert_int_equal(tally_encode(t, out, &span), ERR_OK);
    assert_true(span.min_unix_ns <= span.max_unix_ns);
}

/* Merging what is stored, point after point, comes to the bytes that adding it up in memory comes to. */
static void merging_stored_ones_equals_adding_them(void **state)
{
    (void)state;
    static const uint64_t steps[] = { TALLY_MINUTE_NS, TALLY_HOUR_NS, TALLY_DAY_NS };
    struct random r;
    random_init(&r, 12);
    for (unsigned n = 0; n < 60; n++) {
        struct arena arena;
        struct tally part, sum;
        struct buffer stored[TALLY_MERGE_MAX], expected, merged;
        struct bytes all[TALLY_MERGE_MAX];
        struct tally_merged facts;
        size_t count = 1 + random_below(&r, n % 4 == 0 ? TALLY_MERGE_MAX : 4);
        uint64_t step = steps[n % 3];
        arena_init(&arena, (size_t)256 << 20, NULL);
        tally_init(&sum, &arena, step);
        buffer_init(&expected, (size_t)64 << 20);
        buffer_init(&merged, (size_t)64 << 20);
        for (size_t i = 0; i < count; i++) {
            /* Finer ones, and such as have the step already. */
            tally_init(&part, &arena, i % 3 == 2 ? step : TALLY_MINUTE_NS);
            buffer_init(&stored[i], (size_t)64 << 20);
            tally_fill(&part, &r, (unsigned)random_below(&r, 200));
            tally_bytes(&part, &stored[i]);
            all[i] = buffer_bytes(&stored[i]);
            assert_int_equal(tally_add_stored(&sum, all[i], NULL), ERR_OK);
            tally_deinit(&part);
        }
        uint32_t points = sum.points_count;
        tally_bytes(&sum, &expected);
        assert_int_equal(tally_merge(all, count, step, NULL, &merged, &facts), ERR_OK);
        assert_true(bytes_equal(buffer_bytes(&expected), buffer_bytes(&merged)));
        assert_int_equal(facts.points, points);
        assert_true(facts.hours <= points && facts.days <= facts.hours);

        /* What is damaged is named, and nothing is appended. */
        size_t bad = random_below(&r, count), len = merged.len;
        stored[bad].data[random_below(&r, stored[bad].len)] ^= 1;
        assert_int_equal(tally_merge(all, count, step, NULL, &merged, &facts), ERR_CORRUPT);
        assert_int_equal(facts.bad, bad);
        assert_int_equal(merged.len, len);
        for (size_t i = 0; i < count; i++)
            buffer_deinit(&stored[i]);
        buffer_deinit(&expected);
        buffer_deinit(&merged);
        tally_deinit(&sum);
        arena_deinit(&arena);
    }
}

/* Merging stored tallies in either order, or in coarser steps one after the other, comes to the same bytes. */
static void merging_does_not_depend_on_order(void **state)
{
    (void)state;
    struct random r;
    random_init(&r, 11);
    for (unsigned n = 0; n < 40; n++) {
        struct arena arena;
        struct tally one, two, forth, back, hours, days, straight;
        struct buffer a, b, c, d, h;
        arena_init(&arena, (size_t)256 << 20, NULL);
        struct tally *all[] = { &one, &two, &forth, &back, &hours, &days, &straight };
        struct buffer *buffers[] = { &a, &b, &c, &d, &h };
        for (size_t i = 0; i < 7; i++)
            tally_init(all[i], &arena,
                       i == 4   ? TALLY_HOUR_NS
                       : i >= 5 ? TALLY_DAY_NS
                                : TALLY_MINUTE_NS);
        for (size_t i = 0; i < 5; i++)
            buffer_init(buffers[i], (size_t)64 << 20);
        tally_fill(&one, &r, (unsigned)random_below(&r, 300));
        tally_fill(&two, &r, (unsigned)random_below(&r, 300));
        tally_bytes(&one, &a);
        tally_bytes(&two, &b);
        assert_int_equal(tally_add_stored(&forth, buffer_bytes(&a), NULL), ERR_OK);
        assert_int_equal(tally_add_stored(&forth, buffer_bytes(&b), NULL), ERR_OK);
        assert_int_equal(tally_add_stored(&back, buffer_bytes(&b), NULL), ERR_OK);
        assert_int_equal(tally_add_stored(&back, buffer_bytes(&a), NULL), ERR_OK);
        tally_bytes(&forth, &c);
        tally_bytes(&back, &d);
        assert_true(bytes_equal(buffer_bytes(&c), buffer_bytes(&d)));
        assert_int_equal(tally_add_stored(&hours, buffer_bytes(&c), NULL), ERR_OK);
        tally_bytes(&hours, &h);
        assert_int_equal(tally_add_stored(&days, buffer_bytes(&h), NULL), ERR_OK);
        assert_int_equal(tally_add_stored(&straight, buffer_bytes(&c), NULL), ERR_OK);
        buffer_reset(&a);
        buffer_reset(&b);
        tally_bytes(&days, &a);
        tally_bytes(&straight, &b);
        assert_true(bytes_equal(buffer_bytes(&a), buffer_bytes(&b)));
        for (size_t i = 0; i < 7; i++)
            tally_deinit(all[i]);
        for (size_t i = 0; i < 5; i++)
            buffer_deinit(buffers[i]);
        arena_deinit(&arena);
    }
}

static enum err add(struct bytes stored)
{
    struct arena arena;
    struct tally t;
    arena_init(&arena, (size_t)64 << 20, NULL);
    tally_init(&t, &arena, TALLY_MINUTE_NS);
    enum err e = tally_add_stored(&t, stored, NULL);
    tally_deinit(&t);
    arena_deinit(&arena);
    return e;
}

/* Cut anywhere, or with any byte changed, it is refused; with its hash made right again it is read to its end
 * or refused, and nothing outside is touched (with the sanitizers). */
static void damage_is_refused(void **state)
{
    (void)state;
    struct random r;
    struct arena arena;
    struct tally t;
    struct buffer stored;
    random_init(&r, 12);
    arena_init(&arena, (size_t)64 << 20, NULL);
    tally_init(&t, &arena, TALLY_MINUTE_NS);
    buffer_init(&stored, (size_t)16 << 20);
    tally_fill(&t, &r, 30);
    tally_bytes(&t, &stored);
    assert_int_equal(add(buffer_bytes(&stored)), ERR_OK);
    for (size_t i = 0; i < stored.len; i++) {
        assert_int_equal(add(bytes_of(stored.data, i)), ERR_CORRUPT);
        uint8_t *copy = mem_alloc(stored.len);
        memcpy(copy, stored.data, stored.len);
        copy[i] ^= (uint8_t)(1 + random_below(&r, 255));
        assert_int_equal(add(bytes_of(copy, stored.len)), ERR_CORRUPT);
        store_le64(copy + stored.len - 8, hash_bytes(bytes_of(copy, stored.len - 8)));
        enum err e = add(bytes_of(copy, stored.len));
        assert_true(e == ERR_OK || e == ERR_CORRUPT || e == ERR_TOO_MANY || e == ERR_TOO_LARGE);
        mem_free(copy);
    }
    buffer_deinit(&stored);
    tally_deinit(&t);
    arena_deinit(&arena);
}

/* ---- The table of halves when it is full ----------------------------------------------------- */

static void a_full_table_keeps_its_bound(void **state)
{
    (void)state;
    struct half_table t;
    struct intern nodes;
    uint32_t node = 0;
    assert_int_equal(half_table_init(&t, HALVES_MAX), ERR_OK);
    intern_init(&nodes, 16);
    assert_int_equal(intern_put(&nodes, BYTES_LITERAL("node"), &node), ERR_OK);
    enum { EACH = 1000 };
    static struct half halves[EACH];
    uint64_t next = 1;
    for (unsigned n = 0; n < HALVES_MAX / EACH + 20; n++) {
        for (size_t i = 0; i < EACH; i++)
            halves[i] =
                (struct half){ .trace_low = next++, .span = 7, .node = node, .peer = HALF_NONE };
        struct half_changes c = { .nodes = &nodes, .built_unix_ns = 1000 + n };
        if (n % 2 == 0) {
            c.waits = halves;
            c.waits_count = EACH;
        } else {
            c.pairs = halves;
            c.pairs_count = EACH;
        }
        half_table_apply(&t, &c);
        assert_true(t.waiting.count + t.paired.count <= HALVES_MAX);
        assert_true(t.paired.count <= half_paired_max(&t));
        assert_true(half_newest(&t, &halves[EACH - 1], 0, &t.steps) != HALF_NONE);
    }
    assert_int_equal(t.lost, 0); /* those that are paired make room */
    struct half_changes late = { .nodes = &nodes, .built_unix_ns = 2000 + HALF_LIFETIME_NS };
    half_table_apply(&t, &late);
    assert_int_equal(t.waiting.count + t.paired.count, 0);
    intern_deinit(&nodes);
    half_table_deinit(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_cleaned),
        cmocka_unit_test(cleaning_is_done_once),
        cmocka_unit_test(states_tell_weights),
        cmocka_unit_test(attributes_name_peers),
        cmocka_unit_test(merging_does_not_depend_on_order),
        cmocka_unit_test(merging_stored_ones_equals_adding_them),
        cmocka_unit_test(damage_is_refused),
        cmocka_unit_test(a_full_table_keeps_its_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
