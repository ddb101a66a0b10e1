/* SPDX-License-Identifier: Apache-2.0 */
/* edges_test.c - random topologies, in random order and batches, with restarts between: the edges and gaps that
 * come out are those that looking at all spans at once finds. */
#include "storage/derive/pairing.h"

#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

enum { SPANS_MAX = 400, LINKS = 3, SERVICES = 5, LINES_MAX = 4000 };

struct model_span {
    uint64_t trace, id, parent;
    uint32_t kind, service;
    uint64_t start, duration;
    bool is_error, is_sampled;
    const char *peer, *database, *queue;
    uint64_t link_trace[LINKS], link_span[LINKS];
    unsigned links;
};

struct model {
    struct model_span spans[SPANS_MAX];
    size_t count;
    struct random random;
    uint64_t next_id;
};

static bool one_of(struct model *m, uint64_t n)
{
    return random_below(&m->random, n) == 0;
}

static struct model_span *span_add(struct model *m, uint64_t trace, uint64_t parent, uint32_t kind,
                                   uint32_t service)
{
    if (m->count == SPANS_MAX)
        return NULL;
    struct model_span *s = &m->spans[m->count++];
    *s = (struct model_span){ .trace = trace,
                              .id = ++m->next_id * UINT64_C(0x9E3779B97F4A7C15) | 1,
                              .parent = parent,
                              .kind = kind,
                              .service = service,
                              .start = TALLY_HOUR_NS + random_below(&m->random, 3 * TALLY_HOUR_NS),
                              .duration = random_below(&m->random, 1u << 30),
                              .is_error = one_of(m, 5),
                              .is_sampled = one_of(m, 10) };
    return s;
}

static void trace_make(struct model *m, uint64_t trace)
{
    static const char *const queues[] = { "orders", "mails" };
    static const char *const peers[] = { "s1", "legacy", "api.example" };
    struct model_span *root =
        span_add(m, trace, one_of(m, 4) ? 77 : 0, 2, (uint32_t)random_below(&m->random, SERVICES));
    uint64_t calls = random_below(&m->random, 6);
    for (uint64_t i = 0; root != NULL && i < calls; i++) {
        uint32_t kind = one_of(m, 3) ? 4 : 3;
        struct model_span *s = span_add(m, trace, root->id, kind, root->service);
        if (s == NULL)
            return;
        if (kind == 3 && one_of(m, 4)) {
            s->database = one_of(m, 2) ? "users" : "stock";
            continue;
        }
        if (one_of(m, 3))
            s->peer = peers[random_below(&m->random, 3)];
        if (kind == 4 && !one_of(m, 3))
            s->queue = queues[random_below(&m->random, 2)];
        for (uint64_t k = random_below(&m->random, 3); k > 0; k--) {
            bool by_link = kind == 4 && one_of(m, 2);
            struct model_span *t =
                span_add(m, by_link && one_of(m, 2) ? trace + 100000 : trace, by_link ? 0 : s->id,
                         kind == 4 ? 5 : 2, (uint32_t)random_below(&m->random, SERVICES));
            if (t == NULL)
                return;
            if (kind == 4 && one_of(m, 2))
                t->queue = s->queue;
            for (unsigned n = by_link ? 1 + (unsigned)random_below(&m->random, 2) : 0; n > 0; n--) {
                t->link_trace[t->links] = s->trace;
                t->link_span[t->links++] = one_of(m, 8) ? 4711 : s->id;
            }
        }
    }
}

/* ---- What it should come to ---- */

struct line {
    char key[200];
    uint64_t calls, failed, clients, client_ns, servers, server_ns;
};

struct lines {
    struct line lines[LINES_MAX];
    size_t count;
};

static void line_add(struct lines *l, const char *key, bool failed, const uint64_t *client,
                     const uint64_t *server)
{
    size_t i = 0;
    while (i < l->count && strcmp(l->lines[i].key, key) != 0)
        i++;
    assert_true(i < LINES_MAX);
    if (i == l->count) {
        l->count++;
        l->lines[i] = (struct line){ 0 };
        (void)snprintf(l->lines[i].key, sizeof l->lines[i].key, "%s", key);
    }
    struct line *line = &l->lines[i];
    line->calls++;
    line->failed += failed;
    line->clients += client != NULL;
    line->client_ns += client != NULL ? *client : 0;
    line->servers += server != NULL;
    line->server_ns += server != NULL ? *server : 0;
}

static void edge_expect(struct lines *l, int from_kind, const char *from, int to_kind,
                        const char *to, int type, const char *via, const struct model_span *client,
                        const struct model_span *server)
{
    char key[200];
    uint64_t start = client != NULL ? client->start : server->start;
    (void)snprintf(key, sizeof key, "E %d %s > %d %s t%d via %s at %llu", from_kind, from, to_kind,
                   to, type, via == NULL ? "" : via, (unsigned long long)(start / TALLY_MINUTE_NS));
    line_add(l, key, (client != NULL && client->is_error) || (server != NULL && server->is_error),
             client != NULL ? &client->duration : NULL, server != NULL ? &server->duration : NULL);
}

static void gap_expect(struct lines *l, const struct model_span *s, const char *service, int reason)
{
    char key[200];
    (void)snprintf(key, sizeof key, "U %s r%d at %llu", service,
                   s->is_sampled ? UNPAIRED_SAMPLED : reason,
                   (unsigned long long)(s->start / TALLY_MINUTE_NS));
    line_add(l, key, false, NULL, NULL);
}

static const char *service_name(uint32_t number)
{
    static const char *const names[SERVICES] = { "s0", "s1", "s2", "s3", "s4" };
    return names[number];
}

static void expect(const struct model *m, struct lines *l)
{
    static bool has_partner[SPANS_MAX];
    memset(has_partner, 0, sizeof has_partner);
    for (size_t i = 0; i < m->count; i++) {
        const struct model_span *s = &m->spans[i];
        if (s->kind != 2 && s->kind != 5)
            continue;
        for (unsigned k = 0; k <= s->links; k++) {
            uint64_t trace = k == 0 ? s->trace : s->link_trace[k - 1];
            uint64_t span = k == 0 ? s->parent : s->link_span[k - 1];
            bool is_again = false;
            for (unsigned b = 0; k > 0 && b < k - 1; b++)
                is_again = is_again || (s->link_trace[b] == trace && s->link_span[b] == span);
            for (size_t c = 0; c < m->count && !is_again && span != 0; c++) {
                const struct model_span *client = &m->spans[c];
                if (client->trace != trace || client->id != span || client->database != NULL ||
                    (client->kind != 3 && client->kind != 4))
                    continue;
                has_partner[c] = true;
                has_partner[i] = has_partner[i] || k == 0;
                bool is_message = client->kind == 4 || s->kind == 5;
                edge_expect(l, NODE_SERVICE, service_name(client->service), NODE_SERVICE,
                            service_name(s->service),
                            is_message ? CONNECTION_MESSAGING : CONNECTION_DIRECT,
                            client->queue != NULL ? client->queue : s->queue, client, s);
            }
        }
    }
    for (size_t i = 0; i < m->count; i++) {
        const struct model_span *s = &m->spans[i];
        const char *service = service_name(s->service);
        if (s->database != NULL)
            edge_expect(l, NODE_SERVICE, service, NODE_DATABASE, s->database, CONNECTION_DATABASE,
                        NULL, s, NULL);
        else if (s->kind == 4 && s->queue != NULL)
            edge_expect(l, NODE_SERVICE, service, NODE_QUEUE, s->queue, CONNECTION_MESSAGING, NULL,
                        s, NULL);
        else if (s->kind == 5 && s->queue != NULL)
            edge_expect(l, NODE_QUEUE, s->queue, NODE_SERVICE, service, CONNECTION_MESSAGING, NULL,
                        NULL, s);
        else if (s->kind == 2 && s->parent == 0)
            edge_expect(l, NODE_USER, "user", NODE_SERVICE, service, CONNECTION_VIRTUAL, NULL, NULL,
                        s);
        else if (s->parent != 0 && (s->kind == 2 || s->kind == 5) && !has_partner[i])
            gap_expect(l, s, service, UNPAIRED_BROKEN_PARENT);
        else if ((s->kind == 3 || s->kind == 4) && !has_partner[i] && s->peer != NULL)
            edge_expect(l, NODE_SERVICE, service, NODE_EXTERNAL, s->peer, CONNECTION_VIRTUAL, NULL,
                        s, NULL);
        else if ((s->kind == 3 || s->kind == 4) && !has_partner[i]) {
            gap_expect(l, s, service, UNPAIRED_NO_SERVER);
            if (s->kind == 3)
                edge_expect(l, NODE_SERVICE, service, NODE_UNKNOWN, "unknown", CONNECTION_VIRTUAL,
                            NULL, s, NULL);
        }
    }
}

/* ---- What it comes to ---- */

static void field_put(struct buffer *b, uint32_t number, struct bytes v)
{
    buffer_append_byte(b, (uint8_t)(number << 3 | 2));
    assert_true(v.len < 128);
    buffer_append_byte(b, (uint8_t)v.len);
    buffer_append_bytes(b, v);
}

static void attribute_put(struct buffer *b, uint32_t number, const char *key, const char *text)
{
    struct buffer value, kv;
    if (text == NULL)
        return;
    buffer_init(&value, 256);
    buffer_init(&kv, 256);
    field_put(&value, 1, bytes_text(text));
    field_put(&kv, 1, bytes_text(key));
    field_put(&kv, 2, buffer_bytes(&value));
    field_put(b, number, buffer_bytes(&kv));
    buffer_deinit(&value);
    buffer_deinit(&kv);
}

/* Bytes of spans live as long as the intake looks at them. */
struct machine {
    struct half_table table;
    struct intake intake;
    struct arena messages;
    struct buffer stored[SPANS_MAX + 2], halves[SPANS_MAX + 2];
    uint64_t built[SPANS_MAX + 2], kept_from;
    size_t groups;
    uint64_t steps;       /* of pairing, and of tables that are no more */
    struct intern values; /* of attributes, for their codes */
};

/* A client names its peer in one of three ways; an URL beside an address is another with each span, and says nothing. */
static void peer_put(struct buffer *b, const struct model_span *s)
{
    char url[96];
    unsigned way = s->kind == 3 && s->peer != NULL ? (unsigned)(s->id >> 32) % 3 : 0;
    attribute_put(b, OTLP_SPAN_ATTRIBUTES, way == 1 ? "server.address" : "peer.service",
                  way == 2 ? NULL : s->peer);
    (void)snprintf(url, sizeof url, "http://%s/%u", way == 2 ? s->peer : "nobody",
                   (unsigned)(s->id >> 40) % 8);
    attribute_put(b, OTLP_SPAN_ATTRIBUTES, "url.full", way > 0 ? url : NULL);
}

static void span_feed(struct machine *x, struct buffer *scratch, const struct model_span *s)
{
    struct bytes resource, message;
    buffer_reset(scratch);
    attribute_put(scratch, OTLP_RESOURCE_ATTRIBUTES, "service.name", service_name(s->service));
    assert_int_equal(arena_dup(&x->messages, buffer_bytes(scratch), &resource), ERR_OK);
    buffer_reset(scratch);
    peer_put(scratch, s);
    attribute_put(scratch, OTLP_SPAN_ATTRIBUTES, "db.namespace", s->database);
    attribute_put(scratch, OTLP_SPAN_ATTRIBUTES, "messaging.destination.name", s->queue);
    for (unsigned i = 0; i < s->links; i++) {
        uint8_t link[28] = { 1 << 3 | 2, 16 };
        store_be64(link + 10, s->link_trace[i]);
        link[18] = 2 << 3 | 2;
        link[19] = 8;
        store_le64(link + 20, s->link_span[i]);
        field_put(scratch, OTLP_SPAN_LINKS, bytes_of(link, sizeof link));
    }
    assert_int_equal(arena_dup(&x->messages, buffer_bytes(scratch), &message), ERR_OK);
    struct derive_span span = { .context = s->service,
                                .resource = resource,
                                .message = message,
                                .name = BYTES_LITERAL("work"),
                                .trace_state =
                                    s->is_sampled ? BYTES_LITERAL("ot=th:8") : (struct bytes){ 0 },
                                .trace_low = s->trace,
                                .span_id = s->id,
                                .parent_id = s->parent,
                                .start_unix_ns = s->start,
                                .duration_ns = s->duration,
                                .kind = s->kind,
                                .status = s->is_error ? 2 : 0,
                                .links_count = s->links };
    struct bytes attributes[DERIVE_ATTRIBUTES_MAX];
    uint64_t codes[DERIVE_ATTRIBUTES_MAX];
    if (x->intake.is_by_trace) { /* as the builder does */
        span.name_plus_one = 1;
        derive_gather(&span, attributes);
        for (uint32_t i = 0; i < span.attributes_count; i++) {
            uint32_t number = 0;
            assert_int_equal(intern_put(&x->values, attributes[i], &number), ERR_OK);
            codes[i] = number % 3 == 0 ? DERIVE_CODE_NONE : number;
        }
        span.attribute_codes = codes;
    }
    intake_add(&x->intake, &span, 1);
}

static int trace_compare(const void *a, const void *b)
{
    const struct model_span *x = a, *y = b;
    return (x->trace > y->trace) - (x->trace < y->trace);
}

/* Some spans, in any order, or trace by trace. */
static void spans_feed(struct machine *x, struct buffer *scratch, struct model_span *spans,
                       size_t count)
{
    if (x->intake.is_by_trace && count > 0)
        qsort(spans, count, sizeof *spans, trace_compare);
    for (size_t i = 0; i < count; i++)
        span_feed(x, scratch, &spans[i]);
}

/* A row group is built of what was fed. */
static void group_build(struct machine *x, uint64_t now)
{
    struct pairing pairing;
    struct tally_span span;
    size_t g = x->groups++;
    x->built[g] = now;
    buffer_init(&x->stored[g], 1 << 24);
    buffer_init(&x->halves[g], 1 << 24);
    assert_int_equal(pairing_run(&x->intake, &x->table, now, &pairing), ERR_OK);
    assert_int_equal(tally_encode(&x->intake.tally, &x->stored[g], &span), ERR_OK);
    half_changes_encode(&pairing.changes, &x->halves[g]);
    assert_int_equal(buffer_error(&x->halves[g]), ERR_OK);
    pairing.changes.stored = g + 1;
    if (g % 2 == 0 &&
        half_table_oldest(&x->table) <= g) /* what is stored of groups before is lost */
        x->kept_from = half_table_oldest(&x->table);
    half_table_apply(&x->table, &pairing.changes);
    x->steps += pairing.steps;
    intake_reset(&x->intake);
}

static void restart(struct machine *x)
{
    x->steps += x->table.steps;
    half_table_deinit(&x->table);
    assert_int_equal(half_table_init(&x->table, HALVES_MAX), ERR_OK);
    uint64_t newest = x->groups == 0 ? 0 : x->built[x->groups - 1];
    for (size_t g = 0; g < x->groups; g++)
        if (newest - x->built[g] <= HALF_LIFETIME_NS && g + 1 >= x->kept_from)
            assert_int_equal(
                half_table_replay(&x->table, buffer_bytes(&x->halves[g]), x->built[g], g + 1),
                ERR_OK);
}

static void text_add(char *out, size_t size, struct bytes t)
{
    size_t at = strlen(out);
    (void)snprintf(out + at, size - at, "%.*s", (int)t.len, (const char *)t.data);
}

static void line_read(const struct tally *t, const struct tally_point *p, struct lines *out)
{
    struct edge_key e;
    struct unpaired_key u;
    struct line line = { .calls = p->calls };
    size_t size = sizeof line.key;
    if (edge_key_read(tally_key(t, p->series), &e)) {
        line.failed = p->errors;
        line.clients = p->first.count;
        line.client_ns = p->first.sum;
        line.servers = p->second.count;
        line.server_ns = p->second.sum;
        (void)snprintf(line.key, size, "E %d ", (int)e.client.kind);
        text_add(line.key, size, e.client.name);
        (void)snprintf(line.key + strlen(line.key), size - strlen(line.key), " > %d ",
                       (int)e.server.kind);
        text_add(line.key, size, e.server.name);
        (void)snprintf(line.key + strlen(line.key), size - strlen(line.key), " t%d via ",
                       (int)e.type);
        text_add(line.key, size, e.via);
    } else if (unpaired_key_read(tally_key(t, p->series), &u)) {
        (void)snprintf(line.key, size, "U ");
        text_add(line.key, size, u.node.name);
        (void)snprintf(line.key + strlen(line.key), size - strlen(line.key), " r%d", (int)u.reason);
    } else {
        return;
    }
    (void)snprintf(line.key + strlen(line.key), size - strlen(line.key), " at %llu",
                   (unsigned long long)(p->start_unix_ns / TALLY_MINUTE_NS));
    assert_true(out->count < LINES_MAX);
    out->lines[out->count++] = line;
}

static int line_compare(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    return strcmp(x->key, y->key);
}

static bool lines_equal(struct lines *a, struct lines *b, bool is_loud)
{
    qsort(a->lines, a->count, sizeof *a->lines, line_compare);
    qsort(b->lines, b->count, sizeof *b->lines, line_compare);
    for (size_t i = 0; i < a->count || i < b->count; i++) {
        const struct line *x = i < a->count ? &a->lines[i] : NULL;
        const struct line *y = i < b->count ? &b->lines[i] : NULL;
        if (x != NULL && y != NULL && strcmp(x->key, y->key) == 0 && x->calls == y->calls &&
            x->failed == y->failed && x->clients == y->clients && x->client_ns == y->client_ns &&
            x->servers == y->servers && x->server_ns == y->server_ns)
            continue;
        if (is_loud)
            print_message("expected %s %llu, found %s %llu\n", x == NULL ? "nothing" : x->key,
                          x == NULL ? 0ULL : (unsigned long long)x->calls,
                          y == NULL ? "nothing" : y->key,
                          y == NULL ? 0ULL : (unsigned long long)y->calls);
        return false;
    }
    return true;
}

static struct model model;
static struct machine machine;
static struct lines expected, found;

static void shuffle(struct model *m)
{
    for (size_t i = m->count; i > 1; i--) {
        size_t k = (size_t)random_below(&m->random, i);
        struct model_span t = m->spans[i - 1];
        m->spans[i - 1] = m->spans[k];
        m->spans[k] = t;
    }
}

static void machine_init(struct machine *x)
{
    *x = (struct machine){ 0 };
    assert_int_equal(half_table_init(&x->table, HALVES_MAX), ERR_OK);
    intake_init(&x->intake, (size_t)64 << 20);
    arena_init(&x->messages, (size_t)64 << 20, NULL);
    intern_init(&x->values, 1000);
}

static void machine_deinit(struct machine *x)
{
    for (size_t g = 0; g < x->groups; g++) {
        buffer_deinit(&x->stored[g]);
        buffer_deinit(&x->halves[g]);
    }
    arena_deinit(&x->messages);
    intern_deinit(&x->values);
    intake_deinit(&x->intake);
    half_table_deinit(&x->table);
}

static void lines_of(const struct machine *x, struct lines *out)
{
    struct tally sum;
    struct arena arena;
    out->count = 0;
    arena_init(&arena, (size_t)64 << 20, NULL);
    tally_init(&sum, &arena, TALLY_MINUTE_NS);
    for (size_t g = 0; g < x->groups; g++)
        assert_int_equal(tally_add_stored(&sum, buffer_bytes(&x->stored[g]), NULL), ERR_OK);
    for (uint32_t i = 0; i < sum.points_count; i++)
        line_read(&sum, tally_point(&sum, i), out);
    tally_deinit(&sum);
    arena_deinit(&arena);
}

/* A case by its seed. drops: leave one span out of what is fed, for the negative control. */
static bool case_run(uint64_t seed, bool drops, bool is_loud)
{
    model = (struct model){ 0 };
    expected.count = found.count = 0;
    random_init(&model.random, seed);
    uint64_t traces = 1 + random_below(&model.random, 30);
    for (uint64_t t = 0; t < traces; t++)
        trace_make(&model, t + 1);
    if (!one_of(&model, 4))
        shuffle(&model);
    expect(&model, &expected);

    struct machine *x = &machine;
    machine_init(x);
    struct buffer scratch;
    buffer_init(&scratch, 1 << 20);
    uint64_t now = 5 * TALLY_HOUR_NS, end = now + 14 * TALLY_MINUTE_NS;
    uint64_t batch = 1 + random_below(&model.random, 40);
    x->intake.is_by_trace = seed % 4 != 0;
    size_t begin = drops ? 1 : 0;
    for (size_t i = begin; i < model.count; i++) {
        if (!one_of(&model, batch))
            continue;
        spans_feed(x, &scratch, model.spans + begin, i + 1 - begin);
        begin = i + 1;
        now += random_below(&model.random, (end - now) / 4);
        group_build(x, now);
        if (one_of(&model, 5))
            restart(x);
    }
    spans_feed(x, &scratch, model.spans + begin, model.count - begin);
    group_build(x, now);
    restart(x);
    group_build(x, now + HALF_LIFETIME_NS); /* nothing new: all that waits is alone */
    assert_int_equal(x->table.waiting.count, 0);

    lines_of(x, &found);
    bool is_equal = lines_equal(&expected, &found, is_loud);
    buffer_deinit(&scratch);
    machine_deinit(x);
    return is_equal;
}

static void edges_are_those_of_all_spans_at_once(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 500; seed++)
        if (!case_run(seed, false, true))
            fail_msg("seed %llu", (unsigned long long)seed);
}

/* The comparison notices one missing span: nearly always, as an INTERNAL one says nothing of edges. */
static void a_missing_span_is_noticed(void **state)
{
    (void)state;
    unsigned noticed = 0;
    for (uint64_t seed = 1; seed <= 50; seed++)
        noticed += !case_run(seed, true, false);
    assert_true(noticed >= 48);
}

/* ---- Work ------------------------------------------------------------------------------------ */

enum { MANY = 30000 };

/* Callers of one ID, or callees of one caller. */
static void many_feed(struct machine *x, struct buffer *scratch, uint64_t trace, uint64_t caller,
                      bool is_server)
{
    static uint64_t next = 1000;
    for (unsigned i = 0; i < MANY; i++)
        span_feed(x, scratch,
                  &(struct model_span){ .trace = trace,
                                        .id = is_server ? next++ : caller,
                                        .parent = is_server ? caller : 0,
                                        .kind = is_server ? 2 : 3,
                                        .service = is_server ? 1 : 0,
                                        .start = TALLY_HOUR_NS,
                                        .duration = 1 });
}

static uint64_t calls_of(const struct lines *l, const char *begin)
{
    uint64_t calls = 0;
    for (size_t i = 0; i < l->count; i++)
        if (strncmp(l->lines[i].key, begin, strlen(begin)) == 0)
            calls += l->lines[i].calls;
    return calls;
}

/* Steps, not time: a few for each span, whatever others have the same key. */
static void equal_keys_take_few_steps(void **state)
{
    struct machine *x = &machine;
    struct buffer scratch;
    machine_init(x);
    x->intake.is_by_trace = *state != NULL;
    buffer_init(&scratch, 1 << 20);
    uint64_t now = 5 * TALLY_HOUR_NS;
    many_feed(x, &scratch, 3, 7, false);
    group_build(x, ++now);
    assert_int_equal(x->table.waiting.count, MANY);
    many_feed(x, &scratch, 3, 7, true); /* all callers that wait have met a server */
    group_build(x, ++now);
    assert_int_equal(x->table.waiting.count, 0);
    for (unsigned i = 0; i < 3; i++) { /* the third time there is no room for all */
        many_feed(x, &scratch, 1, 7, true);
        group_build(x, ++now);
    }
    assert_int_equal(x->table.waiting.count, MANY);
    many_feed(x, &scratch, 1, 7, false); /* the first takes all servers, and the others wait */
    group_build(x, ++now);
    assert_int_equal(x->table.waiting.count, MANY - 1);
    many_feed(x, &scratch, 1, 7, true); /* by the first one again */
    group_build(x, ++now);
    assert_int_equal(x->table.waiting.count, MANY - 1);
    many_feed(x, &scratch, 2, 7, false);
    many_feed(x, &scratch, 2, 7, true);
    group_build(x, ++now);
    assert_int_equal(x->table.waiting.count, 2 * (MANY - 1));
    restart(x);
    group_build(x, now + HALF_LIFETIME_NS);
    assert_int_equal(x->table.waiting.count, 0);
    lines_of(x, &found);
    assert_int_equal(calls_of(&found, "E 0 s0 > 0 s1"), 4 * MANY);
    assert_int_equal(calls_of(&found, "U s1"), 2 * MANY);
    assert_int_equal(calls_of(&found, "U s0"), 2 * (MANY - 1));
    uint64_t spans = 9 * MANY, steps = x->steps + x->table.steps;
    print_message("%.1f steps a span\n", (double)steps / (double)spans);
    assert_true(steps < 10 * spans);
    buffer_deinit(&scratch);
    machine_deinit(x);
}

/* Keys that somebody chose so that they are equal in what a hash without a secret may make of them. */
static void chosen_keys_take_few_steps(void **state)
{
    (void)state;
    struct machine *x = &machine;
    struct buffer scratch;
    machine_init(x);
    buffer_init(&scratch, 1 << 20);
    for (unsigned servers = 0; servers < 2; servers++) {
        for (uint64_t i = 1; i <= MANY; i++)
            span_feed(x, &scratch,
                      &(struct model_span){ .trace = i << 20,
                                            .id = servers ? i : i << 20 ^ 4711,
                                            .parent = servers ? i << 20 ^ 4711 : 0,
                                            .kind = servers ? 2 : 3,
                                            .service = servers,
                                            .start = TALLY_HOUR_NS });
        group_build(x, 5 * TALLY_HOUR_NS + servers);
    }
    lines_of(x, &found);
    assert_int_equal(calls_of(&found, "E 0 s0 > 0 s1"), MANY);
    uint64_t steps = x->steps + x->table.steps;
    print_message("%.1f steps a span\n", (double)steps / (2.0 * MANY));
    assert_true(steps < UINT64_C(20) * MANY);
    buffer_deinit(&scratch);
    machine_deinit(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edges_are_those_of_all_spans_at_once),
        cmocka_unit_test(a_missing_span_is_noticed),
        cmocka_unit_test(equal_keys_take_few_steps),
        { "equal_keys_take_few_steps, by trace", equal_keys_take_few_steps, NULL, NULL, &machine },
        cmocka_unit_test(chosen_keys_take_few_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
