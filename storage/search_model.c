/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/search_model.h"

#include "proto/pb_writer.h"
#include "storage/service_name.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t seed_now;

int model_print_seed(void **state)
{
    (void)state;
    print_message("the last seed was %lu\n", (unsigned long)seed_now);
    return 0;
}

int model_below(struct model *m, uint64_t n)
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

struct trace_id model_trace_id(uint32_t trace)
{
    struct trace_id id;
    id_bytes(id.b, sizeof id.b, trace);
    return id;
}

struct span_id model_span_id(uint32_t span)
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

void model_put_span(struct buffer *b, const struct ref_span *s)
{
    struct trace_id trace = model_trace_id(s->trace);
    struct span_id id = model_span_id(s->id), parent = model_span_id(s->parent);
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
        if (model_below(m, 8) == 0)
            sent[count++] = (size_t)model_below(m, i + 1);
    }
    if (model_below(m, 2) == 0) {
        for (size_t i = count; i-- > 1;) {
            size_t j = (size_t)model_below(m, i + 1), t = sent[i];
            sent[i] = sent[j];
            sent[j] = t;
        }
    }
    for (size_t at = 0; at < count;) {
        struct buffer *body = test_source_add(&m->source, SIGNAL_TRACES);
        size_t body_end = at + 1 + (size_t)model_below(m, 1 + count / 4);
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

void model_make(struct model *m, uint64_t seed)
{
    memset(m, 0, sizeof *m);
    seed_now = seed;
    random_init(&m->random, seed);
    m->has_groups = seed % 2 == 0;
    test_source_init(&m->source);
    /* Sometimes every body may contain every trace, as those of a journal do. */
    m->source.false_hits = model_below(m, 3) == 0 ? 16 : (uint64_t)model_below(m, 4);
    buffer_init(&m->messages, 1u << 20);
    for (int i = 0; i < SERVICES; i++) {
        buffer_init(&m->resources[i], 1u << 16);
        put_resource(&m->resources[i], i);
    }
    m->count = 1 + (size_t)model_below(m, SPANS_MAX);
    uint32_t traces =
        1 + (uint32_t)model_below(m, model_below(m, 5) == 0 ? TRACES_MAX : FEW_TRACES);
    uint64_t times = model_below(m, 2) == 0 ? 20 : 5000; /* many equal, or few */
    size_t offsets[SPANS_MAX + 1];
    for (size_t i = 0; i < m->count; i++) {
        struct ref_span *s = &m->spans[i];
        s->trace = (uint32_t)model_below(m, traces);
        s->id = (uint32_t)i + 1;
        if (model_below(m, 20) == 0 && i > 0)
            s->id = (uint32_t)model_below(m, i) + 1; /* another span's ID: not equal, so kept */
        s->parent = model_below(m, 3) == 0 ? 0 : (uint32_t)model_below(m, m->count + 20) + 1;
        s->start = 1000 + (times * i) / m->count + (uint64_t)model_below(m, 30);
        s->duration = (uint64_t)model_below(m, model_below(m, 2) == 0 ? 4 : 200);
        s->name = model_below(m, 4);
        s->kind = model_below(m, 6);
        s->status = model_below(m, 4) == 0 ? 2 : model_below(m, 2);
        s->service = model_below(m, SERVICES);
        s->scope = model_below(m, SCOPES);
        s->k = model_below(m, 5) - 1;
        s->event = model_below(m, 5) - 2;
        offsets[i] = m->messages.len;
        model_put_span(&m->messages, s);
    }
    offsets[m->count] = m->messages.len;
    for (size_t i = 0; i < m->count; i++)
        m->spans[i].message = bytes_of(m->messages.data + offsets[i], offsets[i + 1] - offsets[i]);
    cut(m);
}

void model_free(struct model *m)
{
    test_source_deinit(&m->source);
    buffer_deinit(&m->messages);
    for (int i = 0; i < SERVICES; i++)
        buffer_deinit(&m->resources[i]);
}

/* ---- The reference ---- */

static struct ref_facts facts_of(const struct model *m, uint32_t trace)
{
    struct ref_facts f = { .start = UINT64_MAX };
    for (size_t i = 0; i < m->count; i++) {
        const struct ref_span *s = &m->spans[i];
        if (s->trace != trace)
            continue;
        f.start = s->start < f.start ? s->start : f.start;
        f.end = s->start + s->duration > f.end ? s->start + s->duration : f.end;
        struct span_id a = model_span_id(s->id), b = model_span_id(f.root == NULL ? 0 : f.root->id);
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

struct expr *model_make_children(struct arena *a)
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

const struct model_filter model_filters[FILTERS] = {
    { "all", make_all, ref_all },
    { "name", make_name, ref_name },
    { "duration", make_duration, ref_duration },
    { "service and error", make_service_error, ref_service_error },
    { "any scope", make_any, ref_any },
    { "tag", make_tag, ref_tag },
    { "trace duration", make_trace_duration, ref_trace_duration },
    { "root", make_root, ref_root },
    { "children", model_make_children, ref_children },
    { "event", make_event, ref_event },
    { "not", make_not, ref_not },
    { "none", make_none, ref_none },
};
static int ref_order(const void *a, const void *b)
{
    const struct ref_trace *x = a, *y = b;
    if (x->key != y->key)
        return x->key > y->key ? -1 : 1;
    return memcmp(x->id.b, y->id.b, sizeof x->id.b);
}

size_t model_reference(const struct model *m, size_t filter, struct time_range range,
                       enum find_order order, struct ref_trace *out)
{
    size_t count = 0;
    for (uint32_t trace = 0; trace < TRACES_MAX; trace++) {
        struct ref_trace *t = &out[count];
        *t = (struct ref_trace){ .trace = trace, .id = model_trace_id(trace) };
        t->facts = facts_of(m, trace);
        t->key = order == FIND_SLOWEST ? t->facts.end - t->facts.start : t->facts.start;
        for (size_t i = 0; i < m->count; i++) {
            const struct ref_span *s = &m->spans[i];
            if (s->trace == trace && s->start >= range.min_unix_ns &&
                s->start < range.max_unix_ns && model_filters[filter].holds(m, s, &t->facts))
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
const struct ref_span *model_span_at(const struct model *m, const struct otlp_items *it)
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
        assert_true(bytes_equal_text(got->root_service,
                                     want->facts.root->service == 0 ? SERVICE_UNKNOWN : name));
    }
    size_t at = 0;
    for (int i = 1; i <= SERVICES; i++) {
        int service = i % SERVICES; /* the unknown one's name comes last */
        if (by_service[service][0] == 0)
            continue;
        char name[16];
        (void)snprintf(name, sizeof name, "svc-%d", service);
        assert_true(at < got->services_count);
        assert_true(
            bytes_equal_text(got->services[at].name, service == 0 ? SERVICE_UNKNOWN : name));
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
        const struct ref_span *s = model_span_at(m, &it);
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

void model_check_trace(const struct model *m, const struct ref_trace *want,
                       const struct trace_summary *got, size_t shown_max)
{
    assert_memory_equal(got->trace_id.b, want->id.b, sizeof want->id.b);
    check_summary(m, want, got);
    check_matched(m, want, got, shown_max);
}

void model_ask(struct asked *k, size_t limit_bytes)
{
    arena_init(&k->arena, limit_bytes, NULL);
    k->q = (struct query_context){ .deadline_mono_ns = UINT64_MAX, .arena = &k->arena };
}
