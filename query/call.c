/* SPDX-License-Identifier: Apache-2.0 */
#include "query/call.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#define LONG_NS            (600 * NS_PER_S) /* 100 MB at what a poor mobile line carries */
#define SMALL_ANSWER_BYTES (64 * 1024)      /* too small to be worth an attack by unread ones */

/* ---- What each error is called, and its numbers ---- */

const char *call_error_code(enum err e)
{
    switch (e) {
    case ERR_OK:
    case ERR_COUNT:
        break;
    case ERR_NOMEM:
    case ERR_BUDGET:
        return "out_of_memory";
    case ERR_INVALID:
    case ERR_TOO_DEEP:
    case ERR_TOO_MANY:
        return "invalid_parameter";
    case ERR_TOO_LARGE:
        return "too_large";
    case ERR_UNSUPPORTED:
        return "not_supported";
    case ERR_NOT_FOUND:
        return "not_found";
    case ERR_BUSY:
        return "busy";
    case ERR_STOPPING:
        return "stopping";
    case ERR_EXISTS:
    case ERR_IO:
    case ERR_FULL:
    case ERR_NEWER:
    case ERR_LOCKED:
        return "internal";
    case ERR_CORRUPT:
        return "damaged";
    case ERR_UNAUTHENTICATED:
        return "unauthenticated";
    case ERR_DENIED:
        return "denied";
    case ERR_DEADLINE:
        return "deadline";
    case ERR_CANCELLED:
        return "cancelled";
    }
    return "internal";
}

/* HTTP's and gRPC's numbers for an error, the latter for Jaeger's v3 envelope. */
struct error_numbers {
    unsigned http, grpc;
};

static struct error_numbers error_numbers(enum err e, enum call_api api)
{
    switch (e) {
    case ERR_OK:
    case ERR_COUNT:
        break;
    case ERR_INVALID:
    case ERR_TOO_DEEP:
    case ERR_TOO_MANY:
        return (struct error_numbers){ 400, 3 };
    case ERR_UNSUPPORTED: /* of the native API it is the query that has to change */
        return (struct error_numbers){ api == CALL_NATIVE ? 400 : 501, 12 };
    case ERR_TOO_LARGE:
        return (struct error_numbers){ 422, 8 };
    case ERR_NOT_FOUND:
        return (struct error_numbers){ 404, 5 };
    case ERR_NOMEM:
    case ERR_BUDGET:
    case ERR_BUSY:
    case ERR_STOPPING:
        return (struct error_numbers){ 503, 14 };
    case ERR_EXISTS:
    case ERR_IO:
    case ERR_FULL:
    case ERR_NEWER:
    case ERR_LOCKED:
    case ERR_CORRUPT:
        return (struct error_numbers){ 500, 13 };
    case ERR_UNAUTHENTICATED:
        return (struct error_numbers){ 401, 16 };
    case ERR_DENIED:
        return (struct error_numbers){ 403, 7 };
    case ERR_DEADLINE:
        return (struct error_numbers){ 504, 4 };
    case ERR_CANCELLED: /* nobody reads it */
        return (struct error_numbers){ 499, 1 };
    }
    return (struct error_numbers){ 500, 13 };
}

/* What to say when the handler chose no words: more than the error's own text where that helps. */
static const char *default_text(enum err e)
{
    if (e == ERR_TOO_LARGE)
        return "the answer is larger than a query may use; ask for less: a smaller limit or range";
    if (e == ERR_DEADLINE)
        return "the query took longer than it may; narrow the range or the filter";
    if (e == ERR_BUSY)
        return "too many queries are waiting";
    if (e == ERR_BUDGET)
        return "the share of --memory-limit that queries have is in use; ask again, or for less";
    return err_text(e);
}

/* ---- Shapes of errors ---- */

static void write_native_error(struct call *c, enum err e, const char *text)
{
    struct json_writer *j = &c->json;
    char id[24];
    (void)snprintf(id, sizeof id, "%llu", (unsigned long long)c->request->id);
    json_object_begin(j);
    json_key(j, "error");
    json_object_begin(j);
    json_key(j, "code");
    json_text(j, call_error_code(e));
    json_key(j, "message");
    json_text(j, text);
    if (c->error.parameter != NULL) {
        json_key(j, "parameter");
        json_text(j, c->error.parameter);
    }
    if (c->error.has_position) {
        json_key(j, "position");
        json_object_begin(j);
        json_key(j, "offset");
        json_u64(j, c->error.offset);
        json_key(j, "line");
        json_u64(j, c->error.line);
        json_key(j, "column");
        json_u64(j, c->error.column);
        json_object_end(j);
    }
    json_key(j, "request_id");
    json_text(j, id);
    json_object_end(j);
    json_object_end(j);
}

static void write_jaeger_error(struct call *c, unsigned status, const char *text)
{
    struct json_writer *j = &c->json;
    json_object_begin(j);
    json_key(j, "data");
    json_null(j);
    json_key(j, "total");
    json_u64(j, 0);
    json_key(j, "limit");
    json_u64(j, 0);
    json_key(j, "offset");
    json_u64(j, 0);
    json_key(j, "errors");
    json_array_begin(j);
    json_object_begin(j);
    json_key(j, "code");
    json_u64(j, status);
    json_key(j, "msg");
    json_text(j, text);
    json_object_end(j);
    json_array_end(j);
    json_object_end(j);
}

static void write_jaeger_v3_error(struct call *c, struct error_numbers numbers, const char *text)
{
    struct json_writer *j = &c->json;
    json_object_begin(j);
    json_key(j, "error");
    json_object_begin(j);
    json_key(j, "grpcCode");
    json_u64(j, numbers.grpc);
    json_key(j, "httpCode");
    json_u64(j, numbers.http);
    json_key(j, "message");
    json_text(j, text);
    json_key(j, "httpStatus");
    json_text(j, http_status_text(numbers.http));
    json_object_end(j);
    json_object_end(j);
}

static void write_error(struct call *c, enum err e, struct error_numbers numbers)
{
    char text[400];
    const char *what = c->error.text[0] == '\0' ? default_text(e) : c->error.text;
    if (c->error.parameter != NULL)
        (void)snprintf(text, sizeof text, "parameter '%s': %s", c->error.parameter, what);
    else
        (void)snprintf(text, sizeof text, "%s", what);
    buffer_reset(&c->body);
    json_init(&c->json, &c->body);
    c->content_type = "application/json";
    c->disposition[0] = '\0';
    switch (c->api) {
    case CALL_NATIVE:
        write_native_error(c, e, text);
        break;
    case CALL_JAEGER:
        write_jaeger_error(c, numbers.http, text);
        break;
    case CALL_JAEGER_V3:
        write_jaeger_v3_error(c, numbers, text);
        break;
    case CALL_API_COUNT:
        assert(false);
    }
}

enum err call_fail(struct call *c, enum err e, const char *parameter, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(c->error.text, sizeof c->error.text, format, args);
    va_end(args);
    c->error.parameter = parameter;
    return e;
}

enum err call_fail_filter(struct call *c, enum err e, const char *parameter,
                          const struct traceql_error *error)
{
    c->error.has_position = true;
    c->error.offset = error->offset;
    c->error.line = error->line;
    c->error.column = error->column;
    /* Too long a query is the asker's to change, unlike too large an answer. */
    return call_fail(c, e == ERR_TOO_LARGE ? ERR_INVALID : e, parameter, "%s", error->text);
}

/* ---- The life of a call ---- */

void call_begin(struct call *c, const struct request *request, const _Atomic bool *cancelled,
                const struct query_options *options, enum call_api api,
                const struct call_route *route)
{
    *c = (struct call){
        .request = request,
        .options = options,
        .api = api,
        .route = route,
        .received_mono_ns = clock_mono_ns(),
        .content_type = "application/json",
    };
    budget_init(&c->budget, options->memory_bytes, options->budget);
    arena_init(&c->arena, options->memory_bytes, &c->budget);
    buffer_init_charged(&c->body, options->memory_bytes, &c->budget);
    json_init(&c->json, &c->body);
    c->context = (struct query_context){
        .deadline_mono_ns =
            c->received_mono_ns + (route->lane == CALL_LONG ? LONG_NS : options->timeout_ns),
        .cancelled = cancelled,
    };
}

void call_init(struct call *c, struct exchange *x, const struct query_options *options,
               enum call_api api, const struct call_route *route)
{
    call_begin(c, exchange_request(x), exchange_cancelled(x), options, api, route);
    c->x = x;
}

unsigned call_settle(struct call *c, enum err e)
{
    if (e == ERR_OK)
        e = buffer_error(&c->body);
    if (e == ERR_OK)
        return 200;
    if (e == ERR_BUDGET && atomic_load_explicit(&c->budget.has_refused, memory_order_relaxed))
        e = ERR_TOO_LARGE; /* for one query, so that asking again would not help */
    struct error_numbers numbers = error_numbers(e, c->api);
    write_error(c, e, numbers);
    return numbers.http;
}

/* Growth doubles: what the body does not use goes back before it waits for its client. */
static void fit(struct buffer *b)
{
    uint8_t *fitting = b->len == 0 ? NULL : mem_realloc(b->data, b->len);
    if (fitting != NULL) {
        if (b->budget != NULL)
            budget_release(b->budget, b->capacity - b->len);
        b->data = fitting;
        b->capacity = b->len;
    }
}

/* Reserve the body for as long as its client takes to read it. False: too many are waiting, and the
 * body now says so. */
static bool charge(struct call *c, struct budget **out)
{
    bool is_small = c->body.len <= SMALL_ANSWER_BYTES;
    *out = is_small ? c->options->budget : c->options->answers_budget;
    fit(&c->body);
    buffer_uncharge(&c->body); /* from the query's, which ends here, to those of answers */
    if (*out == NULL || budget_reserve(*out, c->body.capacity))
        return true;
    *out = NULL;
    buffer_deinit(&c->body);
    buffer_init(&c->body, SMALL_ANSWER_BYTES);
    return false;
}

size_t call_headers(const struct call *c, struct http_header *out)
{
    size_t count = 0;
    out[count++] =
        (struct http_header){ BYTES_LITERAL("cache-control"), BYTES_LITERAL("no-store") };
    out[count++] =
        (struct http_header){ BYTES_LITERAL("x-content-type-options"), BYTES_LITERAL("nosniff") };
    if (c->varies_by_accept)
        out[count++] = (struct http_header){ BYTES_LITERAL("vary"), BYTES_LITERAL("accept") };
    if (c->disposition[0] != '\0')
        out[count++] = (struct http_header){ BYTES_LITERAL("content-disposition"),
                                             bytes_text(c->disposition) };
    if (c->is_damaged || c->is_cut)
        out[count++] = (struct http_header){ BYTES_LITERAL("spindle-incomplete"),
                                             c->is_damaged ? BYTES_LITERAL("damaged")
                                                           : BYTES_LITERAL("search") };
    return count;
}

static void answer(struct call *c, enum err e)
{
    struct budget *charged;
    unsigned status = call_settle(c, e);
    expr_deinit(c->parsed);
    c->parsed = NULL;
    arena_deinit(&c->arena); /* what the body was made of, before the body is reserved */
    if (!charge(c, &charged))
        status = call_settle(c, ERR_BUSY);
    struct http_header headers[CALL_HEADERS_MAX + 1]; /* and retry-after */
    size_t count = call_headers(c, headers);
    if (status == 503)
        headers[count++] = (struct http_header){ BYTES_LITERAL("retry-after"), BYTES_LITERAL("1") };
    struct response head = {
        .status = status,
        .content_type = c->content_type,
        .headers = headers,
        .header_count = count,
        .may_compress = true,
        .charged = charged,
        .charged_bytes = c->body.capacity,
    };
    if (buffer_error(&c->body) != ERR_OK) { /* not even memory for the error's text */
        buffer_deinit(&c->body);
        head.content_type = NULL;
    }
    struct exchange *x = c->x;
    c->x = NULL;
    c->request = NULL;
    exchange_respond(x, &head, &c->body);
}

/* Failures of ours rather than of the question. */
static void log_failure(const struct call *c, enum err e)
{
    if (e == ERR_IO || e == ERR_CORRUPT || e == ERR_FULL || e == ERR_NEWER || e == ERR_LOCKED ||
        e == ERR_EXISTS || e == ERR_NOMEM)
        log_line(LOG_WARN, "query", "request %llu for %.*s: %s", (unsigned long long)c->request->id,
                 (int)c->request->path.len, (const char *)c->request->path.data, err_text(e));
}

enum err call_run(struct call *c)
{
    c->context.arena = &c->arena;
    enum err e = query_check(&c->context);
    if (e == ERR_OK)
        e = request_parameters(c->x, &c->parameters, &c->parameter_count);
    if (e == ERR_INVALID)
        e = call_fail(c, e, NULL, "the query string has a bad percent escape");
    else if (e == ERR_TOO_MANY)
        e = call_fail(c, e, NULL, "the query string has too many parameters");
    if (e == ERR_OK)
        e = c->route->run(c);
    if (c->x == NULL)
        return e; /* the handler has taken it */
    log_failure(c, e);
    answer(c, e);
    return e;
}

struct exchange *call_take_exchange(struct call *c)
{
    struct exchange *x = c->x;
    c->x = NULL;
    c->request = NULL;
    return x;
}

void call_refuse(struct call *c, enum err e)
{
    answer(c, e);
}

void call_deinit(struct call *c)
{
    expr_deinit(c->parsed);
    c->parsed = NULL;
    buffer_deinit(&c->body);
    arena_deinit(&c->arena);
    assert(budget_used(&c->budget) ==
           0); /* else every query takes a little of the share for good */
}
