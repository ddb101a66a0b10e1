/* SPDX-License-Identifier: Apache-2.0 */
/* Searching traces agrees with a plain reference: an array of spans, walked from end to end for
 * each question. Random spans of few traces, with equal starts and durations, parents that are
 * missing and spans sent twice, are cut at random into bodies, some of them made
 * row groups. Each query's pages are compared with
 * the reference's list; so are summaries, matched spans and whole traces. The same under too little
 * memory, too little time, damaged segments and failing allocations: then a prefix, and said to be
 * incomplete. */
#include "base/mem.h"
#include "proto/pb_writer.h"
#include "storage/search_testing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SPANS_MAX = 400, TRACES_MAX = 380, FEW_TRACES = 48, SERVICES = 3, SCOPES = 2 };

struct ref_span {
    uint32_t trace, id, parent; /* parent 0: root */
    uint64_t start, duration;
    int name, kind, status, service, scope;
    int k;     /* attribute k of the span; -1: none */
    int event; /* attribute e of an event; -1: no event, -2: two events, e = 1 and e = 2 */
    struct bytes message;
};

struct model {
    struct random random;
    struct ref_span spans[SPANS_MAX];
    size_t count;
    bool has_groups;
    struct buffer messages;
    struct buffer resources[SERVICES];
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

static void id_bytes(uint8_t *out, size_t len, uint32_t v)
{
    memset(out, 0, len);
    /* Mixed, so that the order of IDs is not that of creation. */
    store_be64(out, random_mix64(v));
    out[len - 1] = 1;
}

static struct trace_id trace_id_of(uint32_t trace)
{
    struct trace_id id;
    id_bytes(id.b, sizeof id.b, trace);
    return id;
}

static struct span_id span_id_of(uint32_t span)
{
    struct span_id id;
    id_bytes(id.b, sizeof id.b, span + 1000000);
    return id;
}

static void put_event(struct buffer *b, uint64_t time, int e)
{
    size_t event = pb_begin(b, OTLP_SPAN_EVENTS);
    pb_fixed64(b, 1, time);
    pb_bytes(b, 2, bytes_text("happened"));
    test_attribute_int(b, OTLP_EVENT_ATTRIBUTES, "e", e);
    pb_end(b, event);
}

static void put_span(struct buffer *b, const struct ref_span *s)
{
    struct trace_id trace = trace_id_of(s->trace);
    struct span_id id = span_id_of(s->id), parent = span_id_of(s->parent);
    char name[16];
    (void)snprintf(name, sizeof name, "op-%d", s->name);
    pb_bytes(b, 1, bytes_of(trace.b, sizeof trace.b));
    pb_bytes(b, 2, bytes_of(id.b, sizeof id.b));
    if (s->parent != 0)
        pb_bytes(b, 4, bytes_of(parent.b, sizeof parent.b));
    pb_bytes(b, 5, bytes_text(name));
    if (s->kind != 0)
        pb_uint(b, 6, (uint64_t)s->kind);
    pb_fixed64(b, 7, s->start);
    pb_fixed64(b, 8, s->start + s->duration);
    if (s->k >= 0)
        test_attribute_int(b, OTLP_SPAN_ATTRIBUTES, "k", s->k);
    test_attribute_text(b, OTLP_SPAN_ATTRIBUTES, "other", "thing");
    if (s->event >= 0)
        put_event(b, s->start, s->event);
    if (s->event == -2) {
        put_event(b, s->start, 1);
        put_event(b, s->start, 2);
    }
    if (s->status != 0) {
        size_t status = pb_begin(b, 15);
        pb_uint(b, 3, (uint64_t)s->status);
        pb_end(b, status);
    }
}

/* service 0 has no name; resources carry k = 2 for service 2 */
static void put_resource(struct buffer *b, int service)
{
    char name[16];
    (void)snprintf(name, sizeof name, "svc-%d", service);
    if (service > 0)
        test_attribute_text(b, OTLP_RESOURCE_ATTRIBUTES, "service.name", name);
    if (service == 2)
        test_attribute_int(b, OTLP_RESOURCE_ATTRIBUTES, "k", 2);
}

static void put_group(struct model *m, struct buffer *b, const size_t *which, size_t count)
{
    const struct ref_span *first = &m->spans[which[0]];
    size_t resource_spans = pb_begin(b, 1);
    pb_bytes(b, 1, buffer_bytes(&m->resources[first->service]));
    size_t scope_spans = pb_begin(b, 2);
    if (first->scope > 0) {
        size_t scope = pb_begin(b, 1);
        pb_bytes(b, 1, bytes_text("lib"));
        pb_end(b, scope);
    }
    for (size_t i = 0; i < count; i++)
        pb_bytes(b, 2, m->spans[which[i]].message);
    pb_end(b, scope_spans);
    if (first->service == 1)
        pb_bytes(b, 3, bytes_text("https://schema"));
    pb_end(b, resource_spans);
}

/* Some spans in the order of their start, as time passes, or in any; some twice. */
static void cut(struct model *m)
{
    size_t sent[2 * SPANS_MAX], count = 0;
    for (size_t i = 0; i < m->count; i++) {
        sent[count++] = i;
        if (below(m, 8) == 0)
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
        struct buffer *body = test_source_add(&m->source, SIGNAL_TRACES);
        size_t body_end = at + 1 + (size_t)below(m, 1 + count / 4);
        while (at < count && at < body_end) {
            const struct ref_span *first = &m->spans[sent[at]];
            size_t end = at + 1;
            while (end < count && end < body_end && m->spans[sent[end]].service == first->service &&
                   m->spans[sent[end]].scope == first->scope)
                end++;
            put_group(m, body, sent + at, end - at);
            at = end;
        }
    }
    (void)test_source_add(&m->source, SIGNAL_LOGS); /* not looked at */
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
    /* Sometimes every body may contain every trace, as those of a journal do. */
    m->source.false_hits = below(m, 3) == 0 ? 16 : (uint64_t)below(m, 4);
    buffer_init(&m->messages, 1u << 20);
    for (int i = 0; i < SERVICES; i++) {
        buffer_init(&m->resources[i], 1u << 16);
        put_resource(&m->resources[i], i);
    }
    m->count = 1 + (size_t)below(m, SPANS_MAX);
    uint32_t traces = 1 + (uint32_t)below(m, below(m, 5) == 0 ? TRACES_MAX : FEW_TRACES);
    uint64_t times = below(m, 2) == 0 ? 20 : 5000; /* many equal, or few */
    size_t offsets[SPANS_MAX + 1];
    for (size_t i = 0; i < m->count; i++) {
        struct ref_span *s = &m->spans[i];
        s->trace = (uint32_t)below(m, traces);
        s->id = (uint32_t)i + 1;
        if (below(m, 20) == 0 && i > 0)
            s->id = (uint32_t)below(m, i) + 1; /* another span's ID: not equal, so kept */
        s->parent = below(m, 3) == 0 ? 0 : (uint32_t)below(m, m->count + 20) + 1;
        s->start = 1000 + (times * i) / m->count + (uint64_t)below(m, 30);
        s->duration = (uint64_t)below(m, below(m, 2) == 0 ? 4 : 200);
        s->name = below(m, 4);
        s->kind = below(m, 6);
        s->status = below(m, 4) == 0 ? 2 : below(m, 2);
        s->service = below(m, SERVICES);
        s->scope = below(m, SCOPES);
        s->k = below(m, 5) - 1;
        s->event = below(m, 5) - 2;
        offsets[i] = m->messages.len;
        put_span(&m->messages, s);
    }
    offsets[m->count] = m->messages.len;
    for (size_t i = 0; i < m->count; i++)
        m->spans[i].message = bytes_of(m->messages.data + offsets[i], offsets[i + 1] - offsets[i]);
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

struct ref_facts {
    uint64_t start, end;
    const struct ref_span *root;
};

static struct ref_facts facts_of(const struct model *m, uint32_t trace)
{
    struct ref_facts f = { .start = UINT64_MAX };
    for (size_t i = 0; i < m->count; i++) {
        const struct ref_span *s = &m->spans[i];
        if (s->trace != trace)
            continue;
        f.start = s->start < f.start ? s->start : f.start;
        f.end = s->start + s->duration > f.end ? s->start + s->duration : f.end;
        struct span_id a = span_id_of(s->id), b = span_id_of(f.root == NULL ? 0 : f.root->id);
        if (s->parent == 0 && (f.root == NULL || s->start < f.root->start ||
                               (s->start == f.root->start && memcmp(a.b, b.b, 8) < 0)))
            f.root = s;
    }
    return f;
}

static int children_of(const struct model *m, const struct ref_span *s)
{
    int n = 0;
    for (size_t i = 0; i < m->count; i++)
        n += m->spans[i].trace == s->trace && m->spans[i].parent == s->id;
    return n;
}

typedef bool ref_filter(const struct model *m, const struct ref_span *s, const struct ref_facts *f);
typedef struct expr *make_filter(struct arena *a);

static struct expr *text(struct arena *a, const char *t)
{
    return expr_const(a, (struct expr_value){ .type = EXPR_STRING, .bytes = bytes_text(t) });
}
static struct expr *number(struct arena *a, enum expr_type type, int64_t n)
{
    return expr_const(a, (struct expr_value){ .type = type, .integer = n });
}
static struct expr *intrinsic(struct arena *a, enum expr_op op, enum expr_intrinsic i,
                              struct expr *right)
{
    return expr_binary(a, op, expr_intrinsic_field(a, i), right);
}
static struct expr *attribute(struct arena *a, enum expr_op op, enum expr_scope scope,
                              const char *key, struct expr *right)
{
    return expr_binary(a, op, expr_attribute(a, scope, bytes_text(key)), right);
}

static struct expr *make_all(struct arena *a)
{
    (void)a;
    return NULL;
}
static bool ref_all(const struct model *m, const struct ref_span *s, const struct ref_facts *f)
{
    (void)m, (void)s, (void)f;
    return true;
}

static struct expr *make_name(struct arena *a)
{
    return intrinsic(a, EXPR_EQ, EXPR_INTRINSIC_SPAN_NAME, text(a, "op-3"));
}
static bool ref_name(const struct model *m, const struct ref_span *s, const struct ref_facts *f)
{
    (void)m, (void)f;
    return s->name == 3;
}

static struct expr *make_duration(struct arena *a)
{
    return intrinsic(a, EXPR_GT, EXPR_INTRINSIC_SPAN_DURATION, number(a, EXPR_DURATION, 150));
}
static bool ref_duration(const struct model *m, const struct ref_span *s, const struct ref_facts *f)
{
    (void)m, (void)f;
    return s->duration > 150;
}

static struct expr *make_service_error(struct arena *a)
{
    return expr_binary(
        a, EXPR_AND, attribute(a, EXPR_EQ, EXPR_SCOPE_RESOURCE, "service.name", text(a, "svc-1")),
        intrinsic(a, EXPR_EQ, EXPR_INTRINSIC_SPAN_STATUS, number(a, EXPR_STATUS, 2)));
}
static bool ref_service_error(const struct model *m, const struct ref_span *s,
                              const struct ref_facts *f)
{
    (void)m, (void)f;
    return s->service == 1 && s->status == 2;
}

static struct expr *make_any(struct arena *a)
{
    return attribute(a, EXPR_EQ, EXPR_SCOPE_ANY, "k", number(a, EXPR_INT, 2));
}
static bool ref_any(const struct model *m, const struct ref_span *s, const struct ref_facts *f)
{
    (void)m, (void)f;
    return s->k == 2 || (s->k < 0 && s->service == 2);
}

static struct expr *make_tag(struct arena *a)
{
    return attribute(a, EXPR_TEXT_EQ, EXPR_SCOPE_EVERYWHERE, "k", text(a, "2"));
}
static bool ref_tag(const struct model *m, const struct ref_span *s, const struct ref_facts *f)
{
    (void)m, (void)f;
    return s->k == 2 || s->service == 2;
}

static struct expr *make_trace_duration(struct arena *a)
{
    return expr_binary(
        a, EXPR_AND,
        intrinsic(a, EXPR_GT, EXPR_INTRINSIC_TRACE_DURATION, number(a, EXPR_DURATION, 180)),
        intrinsic(a, EXPR_EQ, EXPR_INTRINSIC_SPAN_KIND, number(a, EXPR_KIND, 2)));
}
static bool ref_trace_duration(const struct model *m, const struct ref_span *s,
                               const struct ref_facts *f)
{
    (void)m;
    return f->end - f->start > 180 && s->kind == 2;
}

static struct expr *make_root(struct arena *a)
{
    return expr_binary(
        a, EXPR_OR, intrinsic(a, EXPR_EQ, EXPR_INTRINSIC_TRACE_ROOT_NAME, text(a, "op-1")),
        expr_binary(a, EXPR_AND,
                    attribute(a, EXPR_EQ, EXPR_SCOPE_SPAN, "k", number(a, EXPR_INT, 1)),
                    intrinsic(a, EXPR_NE, EXPR_INTRINSIC_TRACE_ROOT_SERVICE, text(a, "svc-1"))));
}
static bool ref_root(const struct model *m, const struct ref_span *s, const struct ref_facts *f)
{
    (void)m;
    return f->root != NULL && (f->root->name == 1 || (s->k == 1 && f->root->service != 1));
}

static struct expr *make_children(struct arena *a)
{
    return intrinsic(a, EXPR_GE, EXPR_INTRINSIC_SPAN_CHILD_COUNT, number(a, EXPR_INT, 1));
}
static bool ref_children(const struct model *m, const struct ref_span *s, const struct ref_facts *f)
{
    (void)f;
    return children_of(m, s) >= 1;
}

static struct expr *make_event(struct arena *a)
{
    return expr_binary(a, EXPR_AND,
                       attribute(a, EXPR_NE, EXPR_SCOPE_EVENT, "e", number(a, EXPR_INT, 1)),
                       intrinsic(a, EXPR_EQ, EXPR_INTRINSIC_SCOPE_NAME, text(a, "lib")));
}
static bool ref_event(const struct model *m, const struct ref_span *s, const struct ref_facts *f)
{
    (void)m, (void)f;
    return s->scope == 1 && s->event >= 0 && s->event != 1;
}

static struct expr *make_not(struct arena *a)
{
    struct expr *e;
    struct err_note note;
    if (expr_match(a, EXPR_MATCH, expr_intrinsic_field(a, EXPR_INTRINSIC_SPAN_NAME),
                   BYTES_LITERAL("op-[12]"), &e, &note) != ERR_OK)
        return NULL;
    return expr_unary(a, EXPR_NOT, e);
}
static bool ref_not(const struct model *m, const struct ref_span *s, const struct ref_facts *f)
{
    (void)m, (void)f;
    return s->name != 1 && s->name != 2;
}

static struct expr *make_none(struct arena *a)
{
    return attribute(a, EXPR_NE, EXPR_SCOPE_SPAN, "absent", number(a, EXPR_INT, 1));
}
static bool ref_none(const struct model *m, const struct ref_span *s, const struct ref_facts *f)
{
    (void)m, (void)s, (void)f;
    return false;
}

static const struct {
    const char *name;
    make_filter *make;
    ref_filter *holds;
} filters[] = {
    { "all", make_all, ref_all },
    { "name", make_name, ref_name },
    { "duration", make_duration, ref_duration },
    { "service and error", make_service_error, ref_service_error },
    { "any scope", make_any, ref_any },
    { "tag", make_tag, ref_tag },
    { "trace duration", make_trace_duration, ref_trace_duration },
    { "root", make_root, ref_root },
    { "children", make_children, ref_children },
    { "event", make_event, ref_event },
    { "not", make_not, ref_not },
    { "none", make_none, ref_none },
};
enum { FILTERS = sizeof filters / sizeof filters[0] };

struct ref_trace {
    uint32_t trace;
    uint64_t key;
    struct trace_id id;
    struct ref_facts facts;
    size_t matched[SPANS_MAX], matched_count;
};

static int ref_order(const void *a, const void *b)
{
    const struct ref_trace *x = a, *y = b;
    if (x->key != y->key)
        return x->key > y->key ? -1 : 1;
    return memcmp(x->id.b, y->id.b, sizeof x->id.b);
}

static size_t reference(const struct model *m, size_t filter, struct time_range range,
                        enum find_order order, struct ref_trace *out)
{
    size_t count = 0;
    for (uint32_t trace = 0; trace < TRACES_MAX; trace++) {
        struct ref_trace *t = &out[count];
        *t = (struct ref_trace){ .trace = trace, .id = trace_id_of(trace) };
        t->facts = facts_of(m, trace);
        t->key = order == FIND_SLOWEST ? t->facts.end - t->facts.start : t->facts.start;
        for (size_t i = 0; i < m->count; i++) {
            const struct ref_span *s = &m->spans[i];
            if (s->trace == trace && s->start >= range.min_unix_ns &&
                s->start < range.max_unix_ns && filters[filter].holds(m, s, &t->facts))
                t->matched[t->matched_count++] = i;
        }
        count += t->matched_count > 0;
    }
    qsort(out, count, sizeof *out, ref_order);
    return count;
}

/* ---- Comparing ---- */

static size_t count_items(struct bytes data)
{
    size_t n = 0;
    struct otlp_items it = otlp_items(data);
    while (otlp_items_next(&it))
        n++;
    return n;
}

/* The span under the iterator, with its surroundings, as it was made. */
static const struct ref_span *span_at(const struct model *m, const struct otlp_items *it)
{
    for (size_t i = 0; i < m->count; i++) {
        const struct ref_span *s = &m->spans[i];
        if (!bytes_equal(s->message, it->item) ||
            !bytes_equal(it->resource.resource, buffer_bytes(&m->resources[s->service])))
            continue;
        assert_true(
            bytes_equal_text(it->resource.schema_url, s->service == 1 ? "https://schema" : ""));
        if (it->scope.has_scope == (s->scope > 0))
            return s;
    }
    fail_msg("a span that was not sent");
    return NULL;
}

static void check_summary(const struct model *m, const struct ref_trace *want,
                          const struct trace_summary *got)
{
    uint32_t spans = 0, errors = 0, orphans = 0, by_service[SERVICES][2] = { { 0 } };
    for (size_t i = 0; i < m->count; i++) {
        const struct ref_span *s = &m->spans[i];
        if (s->trace != want->trace)
            continue;
        bool has_parent = false;
        for (size_t j = 0; j < m->count; j++)
            has_parent |= m->spans[j].trace == want->trace && m->spans[j].id == s->parent;
        spans++;
        errors += s->status == 2;
        orphans += s->parent != 0 && !has_parent;
        by_service[s->service][0]++;
        by_service[s->service][1] += s->status == 2;
    }
    assert_int_equal(got->start_unix_ns, want->facts.start);
    assert_int_equal(got->end_unix_ns, want->facts.end);
    assert_int_equal(got->spans, spans);
    assert_int_equal(got->errors, errors);
    assert_int_equal(got->orphans, orphans);
    assert_int_equal(got->has_root, want->facts.root != NULL);
    if (want->facts.root != NULL) {
        char name[16];
        (void)snprintf(name, sizeof name, "op-%d", want->facts.root->name);
        assert_true(bytes_equal_text(got->root_name, name));
        (void)snprintf(name, sizeof name, "svc-%d", want->facts.root->service);
        assert_true(
            bytes_equal_text(got->root_service, want->facts.root->service == 0 ? "" : name));
    }
    size_t at = 0;
    for (int service = 0; service < SERVICES; service++) {
        if (by_service[service][0] == 0)
            continue;
        char name[16];
        (void)snprintf(name, sizeof name, "svc-%d", service);
        assert_true(at < got->services_count);
        assert_true(bytes_equal_text(got->services[at].name, service == 0 ? "" : name));
        assert_int_equal(got->services[at].spans, by_service[service][0]);
        assert_int_equal(got->services[at].errors, by_service[service][1]);
        at++;
    }
    assert_int_equal(at, got->services_count);
}

static void check_matched(const struct model *m, const struct ref_trace *want,
                          const struct trace_summary *got, size_t shown_max)
{
    size_t shown = want->matched_count < shown_max ? want->matched_count : shown_max;
    assert_int_equal(got->matched_spans, want->matched_count);
    assert_int_equal(count_items(got->matched), shown);
    uint64_t last = 0;
    struct otlp_items it = otlp_items(got->matched);
    while (otlp_items_next(&it)) {
        const struct ref_span *s = span_at(m, &it);
        assert_true(s->start >= last);
        last = s->start;
        size_t earlier = 0, hits = 0; /* no matching span that starts earlier was left out */
        for (size_t i = 0; i < want->matched_count; i++) {
            hits += &m->spans[want->matched[i]] == s;
            earlier += m->spans[want->matched[i]].start < s->start;
        }
        assert_int_equal(hits, 1);
        assert_true(earlier < shown);
    }
}

static void check_trace(const struct model *m, const struct ref_trace *want,
                        const struct trace_summary *got, size_t shown_max)
{
    assert_memory_equal(got->trace_id.b, want->id.b, sizeof want->id.b);
    check_summary(m, want, got);
    check_matched(m, want, got, shown_max);
}

struct asked {
    struct arena arena;
    struct query_context q;
};

static void ask_init(struct asked *k, size_t limit_bytes)
{
    arena_init(&k->arena, limit_bytes, NULL);
    k->q = (struct query_context){ .deadline_mono_ns = UINT64_MAX, .arena = &k->arena };
}

static struct time_range random_range(struct model *m)
{
    if (below(m, 2) == 0)
        return (struct time_range){ 0, UINT64_MAX };
    uint64_t a = 900 + (uint64_t)below(m, 4000), b = 900 + (uint64_t)below(m, 4000);
    return (struct time_range){ a < b ? a : b, a < b ? b : a };
}

/* Page after page, each page of `limit`; compares with the reference. */
static void check_pages(struct model *m, size_t filter, struct time_range range,
                        enum find_order order, size_t limit)
{
    static struct ref_trace want[TRACES_MAX + 1];
    size_t count = reference(m, filter, range, order, want), at = 0;
    size_t shown = (size_t)below(m, 4);
    struct find_cursor cursor = { 0 };
    for (;;) {
        struct asked k;
        ask_init(&k, 64u << 20);
        struct expr *e = filters[filter].make(&k.arena);
        struct trace_query query = { .filter = e,
                                     .range = range,
                                     .order = order,
                                     .limit = limit,
                                     .after = cursor,
                                     .spans_per_trace = shown };
        struct trace_result result;
        assert_int_equal(search_traces(&m->source.source, &k.q, &query, &result), ERR_OK);
        assert_true(result.progress.is_complete);
        assert_true(result.count <= limit);
        for (size_t i = 0; i < result.count; i++) {
            if (at == count)
                fail_msg("'%s': more than %zu traces", filters[filter].name, count);
            if (memcmp(result.traces[i].trace_id.b, want[at].id.b, 16) != 0)
                fail_msg("'%s', order %d, limit %zu: another trace at %zu of %zu",
                         filters[filter].name, order, limit, at, count);
            check_trace(m, &want[at++], &result.traces[i], shown);
        }
        assert_true(result.next.is_set || at == count);
        assert_true(result.count == limit || !result.next.is_set);
        cursor = result.next;
        expr_deinit(e);
        arena_deinit(&k.arena);
        if (!cursor.is_set)
            break;
    }
    if (at != count)
        fail_msg("'%s', order %d, limit %zu: %zu of %zu traces", filters[filter].name, order, limit,
                 at, count);
}

static uint64_t rounds(void)
{
    const char *text = getenv("SPINDLE_TEST_ROUNDS");
    return text == NULL ? 60 : strtoull(text, NULL, 10);
}

static void pages_equal_the_reference(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= rounds(); seed++) {
        struct model m;
        model_make(&m, seed);
        for (size_t filter = 0; filter < FILTERS; filter++) {
            size_t limit = 1 + (size_t)below(&m, 10);
            enum find_order order = below(&m, 2) == 0 ? FIND_NEWEST : FIND_SLOWEST;
            check_pages(&m, filter, random_range(&m), order, limit);
            check_pages(&m, filter, random_range(&m), order, 1000);
        }
        model_free(&m);
    }
}

/* What earlier pages gave is not assembled again. Every segment ends with a span of one last trace, so all are
 * scanned, and opened for that trace, before another trace is looked at; each of these opens one more. */
static void a_late_page_costs_no_more_than_the_first(void **state)
{
    (void)state;
    enum { SEGMENTS = 200, LIMIT = 10, LAST = 1000 };
    struct test_source source;
    test_source_init(&source);
    for (uint32_t i = 0; i < SEGMENTS; i++) {
        const struct ref_span spans[] = {
            { .trace = i, .id = i + 1, .start = 1000 + 10 * i, .k = -1, .event = -1 },
            { .trace = LAST, .id = LAST + i, .start = 100000, .k = -1, .event = -1 },
        };
        struct buffer *body = test_source_add(&source, SIGNAL_TRACES);
        size_t resource_spans = pb_begin(body, 1), scope_spans = pb_begin(body, 2);
        for (size_t n = 0; n < 2; n++) {
            size_t item = pb_begin(body, 2);
            put_span(body, &spans[n]);
            pb_end(body, item);
        }
        pb_end(body, scope_spans);
        pb_end(body, resource_spans);
    }
    test_source_ready(&source);
    struct find_cursor cursor = { 0 };
    for (uint32_t given = 0; given < SEGMENTS; given += LIMIT) {
        struct asked k;
        ask_init(&k, 1u << 20);
        struct trace_query query = {
            .range = { 0, UINT64_MAX }, .order = FIND_NEWEST, .limit = LIMIT, .after = cursor
        };
        struct trace_result result;
        source.opens = 0;
        assert_int_equal(search_traces(&source.source, &k.q, &query, &result), ERR_OK);
        assert_int_equal(result.count, LIMIT);
        struct trace_id first = trace_id_of(given == 0 ? LAST : SEGMENTS - given);
        assert_memory_equal(result.traces[0].trace_id.b, first.b, sizeof first.b);
        assert_in_range(source.opens, 1, 2 * SEGMENTS + 2 * LIMIT);
        cursor = result.next;
        arena_deinit(&k.arena);
    }
    test_source_deinit(&source);
}

static int group_order(const struct otlp_items *a, const struct otlp_items *b)
{
    int order = bytes_compare(a->resource.resource, b->resource.resource);
    return order != 0 ? order : bytes_compare(a->scope.scope, b->scope.scope);
}

/* ---- Walks ---- */

struct walked {
    const struct model *m;
    uint32_t trace;
    bool seen[SPANS_MAX];
    size_t count, stop_after;
};

static enum err on_walked(void *context, const struct otlp_items *at)
{
    struct walked *w = context;
    const struct ref_span *s = span_at(w->m, at);
    assert_int_equal(s->trace, w->trace);
    assert_false(w->seen[s - w->m->spans]);
    w->seen[s - w->m->spans] = true;
    return ++w->count == w->stop_after ? ERR_TOO_MANY : ERR_OK;
}

/* Each span once; with a filter at least those that match, at times of their own. */
static void check_walk(const struct model *m, uint32_t trace, const struct expr *filter,
                       size_t count)
{
    struct asked k;
    struct walked w = { .m = m, .trace = trace };
    struct trace_walk walk = { .trace_id = trace_id_of(trace),
                               .filter = filter,
                               .range = { 0, UINT64_MAX } };
    ask_init(&k, 64u << 20);
    enum err e = search_trace_walk(&m->source.source, &k.q, &walk, on_walked, &w);
    assert_int_equal(e, w.count == 0 ? ERR_NOT_FOUND : ERR_OK);
    if (filter == NULL)
        assert_int_equal(w.count, count);
    if (w.count > 1) {
        struct walked cut = { .m = m, .trace = trace, .stop_after = w.count - 1 };
        assert_int_equal(search_trace_walk(&m->source.source, &k.q, &walk, on_walked, &cut),
                         ERR_TOO_MANY);
        assert_int_equal(cut.count, w.count - 1);
    }
    walk.filter = NULL;
    walk.signal = SIGNAL_LOGS;
    w.count = 0;
    assert_int_equal(search_trace_walk(&m->source.source, &k.q, &walk, on_walked, &w), ERR_OK);
    assert_int_equal(w.count, 0);
    arena_deinit(&k.arena);
}

static void a_trace_by_its_id_is_whole(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= rounds(); seed++) {
        struct model m;
        model_make(&m, 1000 + seed);
        for (uint32_t trace = 0; trace < FEW_TRACES; trace++) {
            size_t count = 0, got = 0;
            for (size_t i = 0; i < m.count; i++)
                count += m.spans[i].trace == trace;
            struct asked k;
            ask_init(&k, 64u << 20);
            struct trace_id id = trace_id_of(trace);
            struct bytes data = { 0 };
            enum err e = search_trace_get(&m.source.source, &k.q, &id, SIGNAL_TRACES, &data);
            assert_int_equal(e, count == 0 ? ERR_NOT_FOUND : ERR_OK);
            bool seen[SPANS_MAX] = { false };
            struct otlp_items it = otlp_items(data), before = it;
            uint64_t last_start = 0;
            while (otlp_items_next(&it)) {
                const struct ref_span *s = span_at(&m, &it);
                assert_int_equal(s->trace, trace);
                assert_false(seen[s - m.spans]);
                seen[s - m.spans] = true;
                if (got > 0) {
                    int order = group_order(&before, &it);
                    assert_true(order <= 0);
                    assert_true(it.is_new_scope == (order < 0));
                    assert_true(order < 0 || s->start >= last_start);
                }
                last_start = s->start;
                before = it;
                got++;
            }
            assert_int_equal(got, count);
            check_walk(&m, trace, NULL, count);
            check_walk(&m, trace, make_children(&k.arena), SIZE_MAX);
            struct bytes logs = BYTES_LITERAL("x");
            assert_int_equal(search_trace_get(&m.source.source, &k.q, &id, SIGNAL_LOGS, &logs),
                             ERR_OK);
            assert_int_equal(logs.len, 0);
            arena_deinit(&k.arena);
        }
        model_free(&m);
    }
}

static void a_span_leads_to_its_latest_trace(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= rounds() / 4; seed++) {
        struct model m;
        model_make(&m, 2000 + seed);
        for (uint32_t span = 1; span < 60; span++) {
            const struct ref_span *want = NULL;
            for (size_t i = 0; i < m.count; i++) {
                const struct ref_span *s = &m.spans[i];
                if (s->id == span && (want == NULL || s->start > want->start))
                    want = s;
            }
            struct asked k;
            ask_init(&k, 64u << 20);
            struct span_id id = span_id_of(span);
            struct trace_id found;
            enum err e = search_span_trace(&m.source.source, &k.q, &id, &found);
            assert_int_equal(e, want == NULL ? ERR_NOT_FOUND : ERR_OK);
            bool is_one = want == NULL;
            for (size_t i = 0; want != NULL && i < m.count; i++) {
                struct trace_id t = trace_id_of(m.spans[i].trace);
                is_one |= m.spans[i].id == span && m.spans[i].start == want->start &&
                          memcmp(t.b, found.b, sizeof t.b) == 0;
            }
            assert_true(is_one);
            arena_deinit(&k.arena);
        }
        model_free(&m);
    }
}

/* What came out is a prefix of the reference, and whole where it says so. */
static void check_prefix(const struct model *m, size_t filter, const struct trace_query *query,
                         const struct trace_result *got)
{
    static struct ref_trace want[TRACES_MAX + 1];
    size_t count = reference(m, filter, query->range, query->order, want);
    size_t page = count < query->limit ? count : query->limit;
    assert_true(got->count <= page);
    for (size_t i = 0; i < got->count; i++)
        check_trace(m, &want[i], &got->traces[i], query->spans_per_trace);
    if (got->progress.is_complete)
        assert_int_equal(got->count, page);
    if (got->count > 0 && got->count < count) {
        assert_true(got->next.is_set);
        assert_int_equal(got->next.key, want[got->count - 1].key);
    }
}

static void too_little_memory_gives_a_prefix(void **state)
{
    (void)state;
    size_t cut_short = 0, not_empty = 0;
    for (uint64_t seed = 1; seed <= rounds() / 2; seed++) {
        struct model m;
        model_make(&m, 3000 + seed);
        for (size_t limit_bytes = 16384; limit_bytes < 1u << 20; limit_bytes += limit_bytes / 6) {
            size_t filter = below(&m, 2) == 0 ? 0 : (size_t)below(&m, FILTERS);
            struct arena made;
            arena_init(&made, 1u << 20, NULL);
            struct asked k;
            ask_init(&k, limit_bytes);
            struct expr *e = filters[filter].make(&made);
            struct trace_query query = {
                .filter = e,
                .range = { 0, UINT64_MAX },
                .order = below(&m, 3) == 0 ? FIND_SLOWEST : FIND_NEWEST,
                .limit = 100,
                .spans_per_trace = 100, /* much to return, little to remember */
            };
            struct trace_result result;
            assert_int_equal(search_traces(&m.source.source, &k.q, &query, &result), ERR_OK);
            check_prefix(&m, filter, &query, &result);
            cut_short += !result.progress.is_complete;
            not_empty += !result.progress.is_complete && result.count > 0;
            expr_deinit(e);
            arena_deinit(&k.arena);
            arena_deinit(&made);
        }
        model_free(&m);
    }
    print_message("%zu cut short, %zu of them with traces\n", cut_short, not_empty);
    assert_true(cut_short > 0);
    assert_true(not_empty > 0); /* otherwise the prefix was never looked at */
}

/* Traces that do not fit all at once are taken in shares; the answer is the same. Each has a span in one body
 * and another in the next, so that nothing but both tells its duration, and all must be kept. */
static void the_slowest_are_found_in_shares(void **state)
{
    (void)state;
    enum { TRACES = 3000, BODIES = 4, LIMIT = 7, PAGES = 3 };
    static uint64_t durations[TRACES];
    struct random random;
    random_init(&random, 6001);
    struct test_source source;
    test_source_init(&source);
    for (uint32_t n = 0; n < TRACES; n++)
        durations[n] = 1000 + random_below(&random, TRACES / 2); /* many are equal */
    for (uint32_t part = 0; part < BODIES; part++) {
        struct buffer *body = test_source_add(&source, SIGNAL_TRACES);
        size_t resource_spans = pb_begin(body, 1), scope_spans = pb_begin(body, 2);
        for (uint32_t n = part / 2; n < TRACES; n += 2) {
            struct ref_span span = { .trace = n, .id = 2 * n + part, .k = -1, .event = -1 };
            span.start = 1000 * n + (part % 2 == 0 ? 0 : durations[n] - 10);
            span.duration = 10;
            size_t item = pb_begin(body, 2);
            put_span(body, &span);
            pb_end(body, item);
        }
        pb_end(body, scope_spans);
        pb_end(body, resource_spans);
    }
    test_source_ready(&source);
    struct find_cursor cursor = { 0 };
    static bool given[TRACES];
    for (uint32_t page = 0; page < PAGES; page++) {
        struct asked k;
        ask_init(&k, 192u << 10);
        struct trace_query query = {
            .range = { 0, UINT64_MAX }, .order = FIND_SLOWEST, .limit = LIMIT, .after = cursor
        };
        struct trace_result result;
        assert_int_equal(search_traces(&source.source, &k.q, &query, &result), ERR_OK);
        assert_true(result.progress.is_complete);
        assert_int_equal(result.count, LIMIT);
        assert_true(result.progress.scanned_groups > 2 * BODIES); /* in shares, that is */
        for (size_t i = 0; i < result.count; i++) {
            uint32_t want = UINT32_MAX;
            struct trace_id want_id = { { 0 } };
            for (uint32_t n = 0; n < TRACES; n++) {
                struct trace_id id = trace_id_of(n);
                bool is_first =
                    want == UINT32_MAX || durations[n] > durations[want] ||
                    (durations[n] == durations[want] && memcmp(id.b, want_id.b, sizeof id.b) < 0);
                if (!given[n] && is_first) {
                    want = n;
                    want_id = id;
                }
            }
            given[want] = true;
            assert_memory_equal(result.traces[i].trace_id.b, want_id.b, sizeof want_id.b);
            assert_int_equal(result.traces[i].end_unix_ns - result.traces[i].start_unix_ns,
                             durations[want]);
        }
        cursor = result.next;
        arena_deinit(&k.arena);
    }
    test_source_deinit(&source);
}

static void time_and_clients_end_a_search(void **state)
{
    (void)state;
    struct model m;
    model_make(&m, 7);
    struct asked k;
    ask_init(&k, 64u << 20);
    struct trace_query query = { .range = { 0, UINT64_MAX }, .order = FIND_NEWEST, .limit = 10 };
    struct trace_result result;
    k.q.deadline_mono_ns = 1; /* long ago */
    assert_int_equal(search_traces(&m.source.source, &k.q, &query, &result), ERR_OK);
    assert_false(result.progress.is_complete);
    check_prefix(&m, 0, &query, &result);
    struct trace_id id = trace_id_of(m.spans[0].trace);
    struct bytes data;
    assert_int_equal(search_trace_get(&m.source.source, &k.q, &id, SIGNAL_TRACES, &data),
                     ERR_DEADLINE);
    _Atomic bool is_cancelled = true;
    k.q.cancelled = &is_cancelled;
    assert_int_equal(search_traces(&m.source.source, &k.q, &query, &result), ERR_CANCELLED);
    assert_int_equal(search_trace_get(&m.source.source, &k.q, &id, SIGNAL_TRACES, &data),
                     ERR_CANCELLED);
    arena_deinit(&k.arena);
    model_free(&m);
}

static void damage_is_reported_and_the_rest_served(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= rounds() / 2; seed++) {
        struct model m;
        model_make(&m, 4000 + seed);
        /* A second source without the damaged bodies is the reference. */
        struct test_source rest;
        test_source_init(&rest);
        for (size_t i = 0; i < m.source.count; i++) {
            struct test_body *b = &m.source.bodies[i];
            b->is_damaged = b->signal == SIGNAL_TRACES && below(&m, 3) == 0;
            if (!b->is_damaged)
                buffer_append_bytes(test_source_add(&rest, b->signal), buffer_bytes(&b->data));
        }
        bool has_damage = rest.count < m.source.count;
        test_source_ready(&rest);
        struct asked k;
        ask_init(&k, 64u << 20);
        struct trace_query query = { .range = { 0, UINT64_MAX }, .limit = 1000 };
        struct trace_result a, b;
        assert_int_equal(search_traces(&m.source.source, &k.q, &query, &a), ERR_OK);
        assert_int_equal(search_traces(&rest.source, &k.q, &query, &b), ERR_OK);
        assert_int_equal(a.progress.is_complete, !has_damage);
        assert_int_equal(m.source.damages > 0, has_damage);
        assert_int_equal(a.count, b.count);
        for (size_t i = 0; i < a.count; i++)
            assert_memory_equal(a.traces[i].trace_id.b, b.traces[i].trace_id.b, 16);
        struct trace_id id = trace_id_of(m.spans[0].trace);
        struct bytes x = { 0 }, y = { 0 };
        enum err e = search_trace_get(&m.source.source, &k.q, &id, SIGNAL_TRACES, &x);
        enum err f = search_trace_get(&rest.source, &k.q, &id, SIGNAL_TRACES, &y);
        assert_int_equal(e, has_damage ? ERR_CORRUPT : ERR_OK);
        assert_true(f == ERR_OK || (f == ERR_NOT_FOUND && has_damage));
        assert_true(bytes_equal(x, y));
        arena_deinit(&k.arena);
        test_source_deinit(&rest);
        model_free(&m);
    }
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    struct model m;
    model_make(&m, 11);
    for (int order = 0; order < 2; order++) {
        for (unsigned long n = 0;; n++) {
            assert_true(n < 10000);
            long before = fault_live_blocks();
            struct asked k;
            ask_init(&k, 64u << 20);
            struct expr *e = make_children(&k.arena);
            struct trace_query query = { .filter = e,
                                         .range = { 0, UINT64_MAX },
                                         .order = order == 0 ? FIND_NEWEST : FIND_SLOWEST,
                                         .limit = 5,
                                         .spans_per_trace = 2 };
            struct trace_result result;
            struct trace_id id = trace_id_of(m.spans[0].trace);
            struct bytes data;
            fault_alloc_fail_at(n, n % 2 == 1);
            enum err got = search_traces(&m.source.source, &k.q, &query, &result);
            if (got == ERR_OK && !fault_fired())
                got = search_trace_get(&m.source.source, &k.q, &id, SIGNAL_TRACES, &data);
            struct walked w = { .m = &m, .trace = m.spans[0].trace };
            struct trace_walk walk = { .trace_id = id };
            if (got == ERR_OK && !fault_fired())
                got = search_trace_walk(&m.source.source, &k.q, &walk, on_walked, &w);
            bool has_fired = fault_fired();
            fault_alloc_off();
            assert_int_equal(got, has_fired ? ERR_NOMEM : ERR_OK);
            arena_deinit(&k.arena);
            assert_int_equal(fault_live_blocks(), before);
            if (!has_fired)
                break;
        }
    }
    model_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(pages_equal_the_reference, print_seed),
        cmocka_unit_test(a_late_page_costs_no_more_than_the_first),
        cmocka_unit_test_teardown(a_trace_by_its_id_is_whole, print_seed),
        cmocka_unit_test_teardown(a_span_leads_to_its_latest_trace, print_seed),
        cmocka_unit_test_teardown(too_little_memory_gives_a_prefix, print_seed),
        cmocka_unit_test(the_slowest_are_found_in_shares),
        cmocka_unit_test(time_and_clients_end_a_search),
        cmocka_unit_test_teardown(damage_is_reported_and_the_rest_served, print_seed),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
