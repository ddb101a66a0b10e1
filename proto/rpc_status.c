/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/rpc_status.h"

#include "proto/pb_message.h"

#include "base/clock.h"
#include "base/json_writer.h"
#include "base/mem.h"

#include "google_rpc.pb-c.h"

#define TYPE_PREFIX      "type.googleapis.com/"
#define TYPE_RETRY_INFO  TYPE_PREFIX "google.rpc.RetryInfo"
#define TYPE_BAD_REQUEST TYPE_PREFIX "google.rpc.BadRequest"

static void retry_info_put(uint64_t delay_ns, struct buffer *out)
{
    Google__Protobuf__Duration delay;
    google__protobuf__duration__init(&delay);
    Google__Rpc__RetryInfo info;
    google__rpc__retry_info__init(&info);
    delay.seconds = (int64_t)(delay_ns / NS_PER_S);
    delay.nanos = (int32_t)(delay_ns % NS_PER_S);
    info.retry_delay = &delay;
    pb_message_put(&info.base, out);
}

/* protobuf-c wants an array of pointers to messages with C strings in them. */
static void bad_request_put(const struct rpc_status *status, struct buffer *out)
{
    size_t count = status->violation_count;
    Google__Rpc__BadRequest__FieldViolation *violations =
        mem_alloc_array(count, sizeof *violations);
    Google__Rpc__BadRequest__FieldViolation **pointers = mem_alloc_array(count, sizeof *pointers);
    bool is_whole = violations != NULL && pointers != NULL;
    if (!is_whole && out->error == ERR_OK)
        out->error = ERR_NOMEM;
    for (size_t i = 0; is_whole && i < count; i++) {
        Google__Rpc__BadRequest__FieldViolation *v = pointers[i] = &violations[i];
        google__rpc__bad_request__field_violation__init(v);
        v->field = pb_message_text(status->violations[i].field, out);
        v->description = pb_message_text(status->violations[i].description, out);
        is_whole = v->field != NULL && v->description != NULL;
        count = is_whole ? count : i + 1; /* as many as there is something to free of */
    }
    if (is_whole) {
        Google__Rpc__BadRequest bad;
        google__rpc__bad_request__init(&bad);
        bad.n_field_violations = count;
        bad.field_violations = pointers;
        pb_message_put(&bad.base, out);
    }
    for (size_t i = 0; pointers != NULL && violations != NULL && i < count; i++) {
        mem_free(violations[i].field);
        mem_free(violations[i].description);
    }
    mem_free(pointers);
    mem_free(violations);
}

static Google__Protobuf__Any any_of(char *type_url, const struct buffer *value)
{
    Google__Protobuf__Any any;
    google__protobuf__any__init(&any);
    any.type_url = type_url;
    any.value.data = value->data;
    any.value.len = value->len;
    return any;
}

void rpc_status_encode(const struct rpc_status *status, struct buffer *out)
{
    static char type_retry_info[] = TYPE_RETRY_INFO, type_bad_request[] = TYPE_BAD_REQUEST;
    struct buffer retry, bad;
    buffer_init(&retry, SIZE_MAX);
    buffer_init(&bad, SIZE_MAX);
    Google__Rpc__Status message;
    google__rpc__status__init(&message);
    Google__Protobuf__Any anys[2], *details[2] = { &anys[0], &anys[1] };
    message.code = (int32_t)status->code;
    message.details = details;
    message.message = pb_message_text(status->message, out);
    if (status->retry_delay_ns > 0) {
        retry_info_put(status->retry_delay_ns, &retry);
        anys[message.n_details++] = any_of(type_retry_info, &retry);
    }
    if (status->violation_count > 0) {
        bad_request_put(status, &bad);
        anys[message.n_details++] = any_of(type_bad_request, &bad);
    }
    if (out->error == ERR_OK)
        out->error = retry.error != ERR_OK ? retry.error : bad.error;
    if (out->error == ERR_OK)
        pb_message_put(&message.base, out);
    mem_free(message.message);
    buffer_deinit(&retry);
    buffer_deinit(&bad);
}

/* "1s", "0.250s": 0, 3, 6 or 9 digits after the point. */
static void duration_write(struct json_writer *w, uint64_t ns)
{
    struct buffer text;
    unsigned long long seconds = ns / NS_PER_S, rest = ns % NS_PER_S;
    buffer_init(&text, 64);
    if (rest == 0)
        buffer_printf(&text, "%llus", seconds);
    else if (rest % NS_PER_MS == 0)
        buffer_printf(&text, "%llu.%03llus", seconds, rest / NS_PER_MS);
    else if (rest % NS_PER_US == 0)
        buffer_printf(&text, "%llu.%06llus", seconds, rest / NS_PER_US);
    else
        buffer_printf(&text, "%llu.%09llus", seconds, rest);
    if (text.error != ERR_OK && w->out->error == ERR_OK)
        w->out->error = text.error;
    json_string(w, buffer_bytes(&text));
    buffer_deinit(&text);
}

void rpc_status_encode_json(const struct rpc_status *status, struct buffer *out)
{
    struct json_writer w;
    json_init(&w, out);
    json_object_begin(&w);
    json_key(&w, "code");
    json_u64(&w, status->code);
    json_key(&w, "message");
    json_string(&w, status->message);
    json_key(&w, "details");
    json_array_begin(&w);
    if (status->retry_delay_ns > 0) {
        json_object_begin(&w);
        json_key(&w, "@type");
        json_text(&w, TYPE_RETRY_INFO);
        json_key(&w, "retryDelay");
        duration_write(&w, status->retry_delay_ns);
        json_object_end(&w);
    }
    if (status->violation_count > 0) {
        json_object_begin(&w);
        json_key(&w, "@type");
        json_text(&w, TYPE_BAD_REQUEST);
        json_key(&w, "fieldViolations");
        json_array_begin(&w);
        for (size_t i = 0; i < status->violation_count; i++) {
            json_object_begin(&w);
            json_key(&w, "field");
            json_string(&w, status->violations[i].field);
            json_key(&w, "description");
            json_string(&w, status->violations[i].description);
            json_object_end(&w);
        }
        json_array_end(&w);
        json_object_end(&w);
    }
    json_array_end(&w);
    json_object_end(&w);
}
