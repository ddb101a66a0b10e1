/* SPDX-License-Identifier: Apache-2.0 */
#include "query/parameters.h"

#include "base/text.h"
#include "storage/service_name.h"

#include <assert.h>

static bool is_known(struct bytes name, const char *const *known, bool *out_repeats)
{
    for (; *known != NULL; known++) {
        bool repeats = **known == '*';
        if (bytes_equal_text(name, *known + repeats)) {
            *out_repeats = repeats;
            return true;
        }
    }
    return false;
}

/* A peer's name of a parameter, as far as it can be shown. */
static const char *shown(struct call *c, struct bytes name)
{
    name = bytes_slice(name, 0, 64);
    return arena_text(&c->arena, bytes_slice(name, 0, text_utf8_valid_len(name)));
}

static enum err take_timeout(struct call *c)
{
    uint64_t ns = 0;
    bool is_set;
    enum err e = parameter_duration(c, "timeout", &ns, &is_set);
    if (e == ERR_OK && is_set && ns == 0)
        return call_fail(c, ERR_INVALID, "timeout", "expected a duration above zero, as 500ms");
    if (e == ERR_OK && is_set && ns < c->options->timeout_ns)
        c->context.deadline_mono_ns = c->received_mono_ns + ns;
    return e;
}

enum err parameters_check(struct call *c, const char *const *known)
{
    for (size_t i = 0; i < c->parameter_count; i++) {
        struct bytes name = c->parameters[i].name;
        bool repeats = false;
        if (!is_known(name, known, &repeats) && !bytes_equal_text(name, "timeout"))
            return call_fail(c, ERR_INVALID, shown(c, name), "it is unknown");
        for (size_t k = 0; !repeats && k < i; k++)
            if (bytes_equal(name, c->parameters[k].name))
                return call_fail(c, ERR_INVALID, shown(c, name), "it is given twice");
    }
    return take_timeout(c);
}

bool parameter_text(const struct call *c, const char *name, struct bytes *out)
{
    for (size_t i = 0; i < c->parameter_count; i++) {
        if (c->parameters[i].value.len > 0 && bytes_equal_text(c->parameters[i].name, name)) {
            *out = c->parameters[i].value;
            return true;
        }
    }
    return false;
}

enum err parameter_u64(struct call *c, const char *name, uint64_t min, uint64_t max, uint64_t *out)
{
    struct bytes text;
    uint64_t v;
    if (!parameter_text(c, name, &text))
        return ERR_OK;
    if (!text_u64_parse(text, &v) || v < min || v > max)
        return call_fail(c, ERR_INVALID, name, "expected a whole number from %llu to %llu",
                         (unsigned long long)min, (unsigned long long)max);
    *out = v;
    return ERR_OK;
}

enum err parameter_duration(struct call *c, const char *name, uint64_t *out_ns, bool *out_is_set)
{
    struct bytes text;
    int64_t ns;
    bool is_set = parameter_text(c, name, &text);
    if (is_set && (!text_duration_parse(text, &ns) || ns < 0))
        return call_fail(c, ERR_INVALID, name,
                         "expected a duration with its unit, as 250ms or 1.5s");
    if (is_set)
        *out_ns = (uint64_t)ns;
    if (out_is_set != NULL)
        *out_is_set = is_set;
    return ERR_OK;
}

static bool parse_time(struct bytes text, uint64_t *out)
{
    if (text_u64_parse(text, out) || text_time_parse(text, out))
        return true;
    if (!bytes_start_with(text, BYTES_LITERAL("now")))
        return false;
    uint64_t now = clock_unix_ns();
    int64_t ns = 0;
    struct bytes rest = bytes_slice(text, 3, SIZE_MAX);
    bool is_before = rest.len > 0 && rest.data[0] == '-';
    bool is_after = rest.len > 0 && (rest.data[0] == '+' || rest.data[0] == ' ');
    if (rest.len > 0 && ((!is_before && !is_after) ||
                         !text_duration_parse(bytes_slice(rest, 1, SIZE_MAX), &ns) || ns < 0))
        return false;
    if (is_before)
        *out = (uint64_t)ns > now ? 0 : now - (uint64_t)ns;
    else
        *out = now + (uint64_t)ns; /* both below 2^63 */
    return true;
}

enum err parameter_time(struct call *c, const char *name, uint64_t *out_unix_ns)
{
    struct bytes text;
    if (!parameter_text(c, name, &text) || parse_time(text, out_unix_ns))
        return ERR_OK;
    return call_fail(c, ERR_INVALID, name,
                     "expected a time: RFC 3339, Unix nanoseconds, now, or now-15m");
}

enum err parameter_rfc3339(struct call *c, const char *name, bool is_required,
                           uint64_t *out_unix_ns)
{
    struct bytes text;
    uint8_t copy[48]; /* longer than any time with nanoseconds and offset */
    if (!parameter_text(c, name, &text))
        return is_required ? call_fail(c, ERR_INVALID, name, "it is required") : ERR_OK;
    if (text.len <= sizeof copy) {
        memcpy(copy, text.data, text.len);
        for (size_t i = 11; i < text.len; i++) /* behind date and separator */
            if (copy[i] == ' ')
                copy[i] = '+';
        if (text_time_parse(bytes_of(copy, text.len), out_unix_ns))
            return ERR_OK;
    }
    return call_fail(c, ERR_INVALID, name, "expected a time as 2026-01-31T12:00:00.5Z");
}

enum err parameter_range(struct call *c, struct time_range *out)
{
    struct time_range range = { 0, UINT64_MAX };
    enum err e = parameter_time(c, "from", &range.min_unix_ns);
    if (e == ERR_OK)
        e = parameter_time(c, "to", &range.max_unix_ns);
    if (e != ERR_OK)
        return e;
    if (range.max_unix_ns <= range.min_unix_ns)
        return call_fail(c, ERR_INVALID, "to", "it must be later than 'from'");
    *out = range;
    return ERR_OK;
}

enum err parameter_word(struct call *c, const char *name, const char *const *words,
                        size_t *out_index)
{
    struct bytes text;
    if (!parameter_text(c, name, &text))
        return ERR_OK;
    struct buffer known;
    buffer_init(&known, 256);
    for (size_t i = 0; words[i] != NULL; i++) {
        if (bytes_equal_text(text, words[i])) {
            *out_index = i;
            buffer_deinit(&known);
            return ERR_OK;
        }
        buffer_printf(&known, "%s%s", i == 0 ? "" : ", ", words[i]);
    }
    enum err e = call_fail(c, ERR_INVALID, name, "expected one of %.*s", (int)known.len,
                           known.len == 0 ? "" : (const char *)known.data);
    buffer_deinit(&known);
    return e;
}

/* ---- IDs ---- */

static bool id_parse(struct bytes text, uint8_t *out, size_t len)
{
    uint8_t padded[32];
    size_t digits = 2 * len;
    assert(digits <= sizeof padded);
    if (text.len == 0 || text.len > digits)
        return false;
    memset(padded, '0', digits);
    memcpy(padded + digits - text.len, text.data, text.len);
    return text_hex_parse(bytes_of(padded, digits), out, len);
}

bool trace_id_parse(struct bytes text, struct trace_id *out)
{
    return id_parse(text, out->b, sizeof out->b);
}

bool span_id_parse(struct bytes text, struct span_id *out)
{
    return id_parse(text, out->b, sizeof out->b);
}

const char *const kind_words[] = { "unspecified", "internal", "server", "client",
                                   "producer",    "consumer", NULL };
const char *const status_words[] = { "unset", "ok", "error", NULL };

/* ---- Filters ---- */

void filter_init(struct filter *f, struct arena *arena)
{
    *f = (struct filter){ .arena = arena };
}

void filter_add(struct filter *f, struct expr *term)
{
    if (f->failure != ERR_OK)
        return;
    if (term == NULL)
        f->failure = arena_failure(f->arena);
    else if (f->count == FILTER_TERMS_MAX)
        f->failure = ERR_TOO_MANY;
    else
        f->terms[f->count++] = term;
}

enum err filter_tree(struct filter *f, const struct expr **out)
{
    /* Join neighbours until one is left: log2 of the terms deep, in their order. */
    while (f->failure == ERR_OK && f->count > 1) {
        size_t joined = 0;
        for (size_t i = 0; i < f->count; i += 2) {
            struct expr *e = f->terms[i];
            if (i + 1 < f->count)
                e = expr_binary(f->arena, EXPR_AND, e, f->terms[i + 1]);
            if (e == NULL)
                f->failure = arena_failure(f->arena);
            f->terms[joined++] = e;
        }
        f->count = joined;
    }
    if (f->failure == ERR_OK)
        *out = f->count == 0 ? NULL : f->terms[0];
    return f->failure;
}

enum err filter_add_query(struct call *c, struct filter *f, enum signal signal,
                          const char *parameter)
{
    struct bytes text;
    struct traceql_error error;
    assert(c->parsed == NULL); /* one a call */
    if (!parameter_text(c, parameter, &text))
        return ERR_OK;
    enum err e = traceql_parse(&c->arena, signal, text, &c->parsed, &error);
    switch (e) {
    case ERR_OK:
        if (c->parsed != NULL)
            filter_add(f, c->parsed);
        return ERR_OK;
    case ERR_INVALID:
    case ERR_UNSUPPORTED:
    case ERR_TOO_LARGE:
    case ERR_TOO_DEEP:
    case ERR_TOO_MANY:
        return call_fail_filter(c, e, parameter, &error);
    default: /* memory */
        return e;
    }
}

struct expr *term_intrinsic_text(struct arena *a, enum expr_intrinsic field, enum expr_op op,
                                 struct bytes value)
{
    struct expr_value v = { .type = EXPR_STRING, .bytes = value };
    return expr_binary(a, op, expr_intrinsic_field(a, field), expr_const(a, v));
}

struct expr *term_intrinsic(struct arena *a, enum expr_intrinsic field, enum expr_op op,
                            enum expr_type type, int64_t value)
{
    struct expr_value v = { .type = type, .integer = value };
    return expr_binary(a, op, expr_intrinsic_field(a, field), expr_const(a, v));
}

static struct expr *service_compared(struct arena *a, enum expr_op op, struct bytes service)
{
    struct expr_value v = { .type = EXPR_STRING, .bytes = service };
    return expr_binary(a, op, expr_attribute(a, EXPR_SCOPE_RESOURCE, BYTES_LITERAL("service.name")),
                       expr_const(a, v));
}

struct expr *term_service(struct arena *a, struct bytes service)
{
    struct expr *named = service_compared(a, EXPR_EQ, service);
    if (!bytes_equal_text(service, SERVICE_UNKNOWN))
        return named;
    /* What is missing, or no text, compares as false. */
    struct expr *is_named = service_compared(a, EXPR_NE, (struct bytes){ 0 });
    return expr_binary(a, EXPR_OR, expr_unary(a, EXPR_NOT, is_named), named);
}

struct expr *term_text(struct arena *a, enum expr_scope scope, struct bytes key, struct bytes value)
{
    struct expr_value v = { .type = EXPR_STRING, .bytes = value };
    return expr_binary(a, EXPR_TEXT_EQ, expr_attribute(a, scope, key), expr_const(a, v));
}
