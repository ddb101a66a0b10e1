/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/answers.h"

#include "base/clock.h"
#include "base/random.h"
#include "proto/export_response.h"
#include "proto/rpc_status.h"

#include <assert.h>
#include <strings.h>

#define RETRY_MS     1000
#define RESPONSE_MAX (64 * 1024) /* far above what our sentences need */

/* The switches have no default: a new error stops the build until it has its answers. */
enum grpc_status answer_grpc_status(enum err e)
{
    switch (e) {
    case ERR_OK:
        return GRPC_OK;
    case ERR_INVALID:
    case ERR_TOO_DEEP:
    case ERR_TOO_MANY:
        return GRPC_INVALID_ARGUMENT;
    case ERR_TOO_LARGE:
        return GRPC_RESOURCE_EXHAUSTED;
    case ERR_UNSUPPORTED:
        return GRPC_UNIMPLEMENTED;
    case ERR_NOT_FOUND:
        return GRPC_NOT_FOUND;
    case ERR_EXISTS:
        return GRPC_ALREADY_EXISTS;
    case ERR_UNAUTHENTICATED:
        return GRPC_UNAUTHENTICATED;
    case ERR_DENIED:
        return GRPC_PERMISSION_DENIED;
    case ERR_DEADLINE:
        return GRPC_DEADLINE_EXCEEDED;
    case ERR_CANCELLED:
        return GRPC_CANCELLED;
    case ERR_NOMEM:
    case ERR_BUDGET:
    case ERR_BUSY:
    case ERR_STOPPING:
    case ERR_IO:
    case ERR_FULL:
    case ERR_CORRUPT:
    case ERR_NEWER:
    case ERR_LOCKED:
        return GRPC_UNAVAILABLE; /* never INTERNAL: clients drop on it */
    case ERR_COUNT:
        break;
    }
    assert(e < ERR_COUNT);
    return GRPC_UNAVAILABLE;
}

unsigned answer_http_status(enum err e)
{
    switch (e) {
    case ERR_OK:
        return 200;
    case ERR_INVALID:
    case ERR_TOO_DEEP:
    case ERR_TOO_MANY:
        return 400;
    case ERR_TOO_LARGE:
        return 413;
    case ERR_UNSUPPORTED:
        return 415;
    case ERR_NOT_FOUND:
        return 404;
    case ERR_EXISTS:
        return 409;
    case ERR_UNAUTHENTICATED:
        return 401;
    case ERR_DENIED:
        return 403;
    case ERR_DEADLINE:
        return 504;
    case ERR_NOMEM:
    case ERR_BUDGET:
    case ERR_BUSY:
    case ERR_STOPPING:
    case ERR_IO:
    case ERR_FULL:
    case ERR_CORRUPT:
    case ERR_NEWER:
    case ERR_LOCKED:
    case ERR_CANCELLED: /* nobody is left to read it */
        return 503;
    case ERR_COUNT:
        break;
    }
    assert(e < ERR_COUNT);
    return 503;
}

bool answer_is_transient(enum err e)
{
    return answer_grpc_status(e) == GRPC_UNAVAILABLE;
}

const char *answer_reason(enum err e)
{
    static const char *const reasons[ERR_COUNT] = {
        [ERR_OK] = "ok",
        [ERR_NOMEM] = "out_of_memory",
        [ERR_BUDGET] = "memory_budget",
        [ERR_INVALID] = "malformed",
        [ERR_TOO_LARGE] = "too_large",
        [ERR_TOO_DEEP] = "too_deep",
        [ERR_TOO_MANY] = "too_many_elements",
        [ERR_UNSUPPORTED] = "unsupported",
        [ERR_NOT_FOUND] = "not_found",
        [ERR_EXISTS] = "exists",
        [ERR_BUSY] = "busy",
        [ERR_STOPPING] = "stopping",
        [ERR_IO] = "io_error",
        [ERR_FULL] = "disk_full",
        [ERR_CORRUPT] = "damaged",
        [ERR_NEWER] = "newer_format",
        [ERR_LOCKED] = "locked",
        [ERR_UNAUTHENTICATED] = "unauthenticated",
        [ERR_DENIED] = "denied",
        [ERR_DEADLINE] = "deadline",
        [ERR_CANCELLED] = "cancelled",
    };
    assert(e < ERR_COUNT && reasons[e] != NULL);
    return reasons[e];
}

enum encoding answer_encoding(const struct request *r)
{
    static const char protobuf[] = "application/x-protobuf";
    struct bytes type = request_header(r, "content-type");
    size_t len = sizeof protobuf - 1;
    bool is_protobuf = type.len >= len &&
                       strncasecmp((const char *)type.data, protobuf, len) == 0 &&
                       (type.len == len || memchr("; \t", type.data[len], 3) != NULL);
    return is_protobuf ? ENCODING_PROTOBUF : ENCODING_JSON;
}

/* The bare type: exporters compare it as a whole, parameters would make them ignore the body. */
static const char *content_type(enum encoding encoding)
{
    return encoding == ENCODING_JSON ? "application/json" : "application/x-protobuf";
}

uint64_t answer_retry_ms(uint64_t request_id)
{
    return RETRY_MS / 2 + random_mix64(request_id) % (RETRY_MS + 1);
}

static void refuse_grpc(struct exchange *x, enum err e, struct bytes message)
{
    struct buffer details;
    buffer_init(&details, RESPONSE_MAX);
    struct rpc_status status = { .code = answer_grpc_status(e), .message = message };
    if (answer_is_transient(e))
        status.retry_delay_ns = answer_retry_ms(exchange_request(x)->id) * NS_PER_MS;
    rpc_status_encode(&status, &details);
    /* Out of memory leaves the details away: the status alone still says what to do. */
    struct bytes sent =
        buffer_error(&details) == ERR_OK ? buffer_bytes(&details) : (struct bytes){ 0 };
    exchange_respond_grpc(x, status.code, message, sent, NULL);
    buffer_deinit(&details);
}

static void refuse_http(struct exchange *x, enum err e, struct bytes message)
{
    enum encoding encoding = answer_encoding(exchange_request(x));
    const struct rpc_status status = { .code = answer_grpc_status(e), .message = message };
    struct buffer body;
    buffer_init(&body, RESPONSE_MAX);
    if (encoding == ENCODING_JSON)
        rpc_status_encode_json(&status, &body);
    else
        rpc_status_encode(&status, &body);
    if (buffer_error(&body) != ERR_OK)
        buffer_deinit(&body);

    const struct http_header retry_after = { .name = BYTES_LITERAL("retry-after"),
                                             .value = BYTES_LITERAL("1") };
    const struct response head = { .status = answer_http_status(e),
                                   .content_type = content_type(encoding),
                                   .headers = &retry_after,
                                   .header_count = answer_is_transient(e) ? 1 : 0 };
    exchange_respond(x, &head, &body);
}

void answer_refusal(struct exchange *x, enum err e, struct bytes message)
{
    assert(e != ERR_OK);
    if (exchange_request(x)->protocol == PROTOCOL_GRPC)
        refuse_grpc(x, e, message);
    else
        refuse_http(x, e, message);
}

void answer_export(struct exchange *x, enum signal signal, uint64_t rejected, struct bytes message)
{
    const struct request *r = exchange_request(x);
    enum encoding encoding = r->protocol == PROTOCOL_GRPC ? ENCODING_PROTOBUF : answer_encoding(r);
    struct buffer body;
    buffer_init(&body, RESPONSE_MAX);
    const struct export_response response = { .items_rejected = rejected, .message = message };
    if (encoding == ENCODING_JSON)
        export_response_encode_json(signal, &response, &body);
    else
        export_response_encode(signal, &response, &body);
    /* The items are stored, so the answer is success in any case; without memory it is the short
     * one. */
    if (buffer_error(&body) != ERR_OK) {
        buffer_deinit(&body);
        buffer_init(&body, RESPONSE_MAX);
    }
    if (r->protocol == PROTOCOL_GRPC) {
        exchange_respond_grpc(x, GRPC_OK, (struct bytes){ 0 }, (struct bytes){ 0 }, &body);
        return;
    }
    const struct response head = { .status = 200, .content_type = content_type(encoding) };
    exchange_respond(x, &head, &body);
}
