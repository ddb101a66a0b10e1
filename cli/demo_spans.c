/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/demo.h"
#include "proto/pb_writer.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#define SPAN_BYTES_MAX (64u << 10)
#define TEXT_MAX       4096

/* Field numbers of AnyValue's members. */
enum { ANY_STRING = 1, ANY_BOOL = 2, ANY_INT = 3, ANY_DOUBLE = 4, ANY_ARRAY = 5, ANY_MAP = 6 };

unsigned demo_pod_of(struct demo *d, enum demo_service service)
{
    return d->first_pod[service] + (unsigned)random_below(&d->random, demo_services[service].pods);
}

bool demo_chance(struct demo *d, double probability)
{
    return random_unit(&d->random) < probability;
}

uint64_t demo_time(struct demo *d, enum demo_service service, uint64_t now_unix_ns,
                   double median_us)
{
    double us = median_us * exp(0.4 * random_normal(&d->random));
    if (demo_chance(d, 0.01))
        us *= 4;
    if (d->slow.service == service && now_unix_ns >= d->slow.from_unix_ns &&
        now_unix_ns < d->slow.until_unix_ns)
        us *= d->slow.factor;
    return (uint64_t)(us * 1000) + 1;
}

/* ---- Attributes
 * ------------------------------------------------------------------------------------------ */

static size_t pair_begin(struct buffer *b, uint32_t field, const char *key, size_t *out_any)
{
    size_t pair = pb_begin(b, field);
    pb_bytes(b, 1, bytes_text(key));
    *out_any = pb_begin(b, 2);
    return pair;
}

static void pair_text(struct buffer *b, uint32_t field, const char *key, const char *value)
{
    size_t any, pair = pair_begin(b, field, key, &any);
    pb_bytes(b, ANY_STRING, bytes_text(value));
    pb_end(b, any);
    pb_end(b, pair);
}

static void pair_int(struct buffer *b, uint32_t field, const char *key, int64_t value)
{
    size_t any, pair = pair_begin(b, field, key, &any);
    pb_uint(b, ANY_INT, (uint64_t)value);
    pb_end(b, any);
    pb_end(b, pair);
}

void span_text(struct demo_span *s, const char *key, const char *format, ...)
{
    char text[TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    pair_text(&s->attributes, OTLP_SPAN_ATTRIBUTES, key, text);
}

void span_int(struct demo_span *s, const char *key, int64_t value)
{
    pair_int(&s->attributes, OTLP_SPAN_ATTRIBUTES, key, value);
}

void span_double(struct demo_span *s, const char *key, double value)
{
    size_t any, pair = pair_begin(&s->attributes, OTLP_SPAN_ATTRIBUTES, key, &any);
    pb_double(&s->attributes, ANY_DOUBLE, value);
    pb_end(&s->attributes, any);
    pb_end(&s->attributes, pair);
}

void span_bool(struct demo_span *s, const char *key, bool value)
{
    size_t any, pair = pair_begin(&s->attributes, OTLP_SPAN_ATTRIBUTES, key, &any);
    pb_uint(&s->attributes, ANY_BOOL, value);
    pb_end(&s->attributes, any);
    pb_end(&s->attributes, pair);
}

void span_texts(struct demo_span *s, const char *key, const char *const *values, size_t count)
{
    struct buffer *b = &s->attributes;
    size_t any, pair = pair_begin(b, OTLP_SPAN_ATTRIBUTES, key, &any);
    size_t array = pb_begin(b, ANY_ARRAY);
    for (size_t i = 0; i < count; i++) {
        size_t value = pb_begin(b, OTLP_VALUES);
        pb_bytes(b, ANY_STRING, bytes_text(values[i]));
        pb_end(b, value);
    }
    pb_end(b, array);
    pb_end(b, any);
    pb_end(b, pair);
}

/* ---- Spans
 * -------------------------------------------------------------------------------------------------
 */

static uint64_t random_id(struct demo *d)
{
    uint64_t id;
    do
        id = random_next(&d->random);
    while (id == 0);
    return id;
}

void span_open(struct demo_span *s, struct demo *d, const struct demo_span *parent,
               enum demo_service service, uint32_t kind, enum demo_scope scope,
               uint64_t start_unix_ns, const char *format, ...)
{
    *s = (struct demo_span){ .demo = d,
                             .service = service,
                             .kind = kind,
                             .scope = scope,
                             .start_unix_ns = start_unix_ns,
                             .id = random_id(d) };
    if (parent == NULL) {
        store_le64(s->trace_id.b, random_id(d));
        store_le64(s->trace_id.b + 8, random_id(d));
        d->truth.traces++;
    } else {
        s->trace_id = parent->trace_id;
        s->parent_id = parent->id;
        s->has_remote_parent = parent->service != service;
    }
    s->pod = parent != NULL && parent->service == service ? parent->pod : demo_pod_of(d, service);
    va_list args;
    va_start(args, format);
    vsnprintf(s->name, sizeof s->name, format, args);
    va_end(args);
    buffer_init(&s->attributes, SPAN_BYTES_MAX);
    buffer_init(&s->events, SPAN_BYTES_MAX);
    buffer_init(&s->links, SPAN_BYTES_MAX);
}

void span_link(struct demo_span *s, const struct demo_message *message)
{
    uint8_t id[8];
    store_le64(id, message->span_id);
    size_t link = pb_begin(&s->links, OTLP_SPAN_LINKS);
    pb_bytes(&s->links, 1, bytes_of(message->trace_id.b, sizeof message->trace_id.b));
    pb_bytes(&s->links, 2, bytes_of(id, sizeof id));
    pair_int(&s->links, OTLP_LINK_ATTRIBUTES, "messaging.kafka.offset", (int64_t)message->offset);
    pb_fixed32(&s->links, 6, 0x301); /* sampled; known to be remote */
    pb_end(&s->links, link);
}

void span_event(struct demo_span *s, uint64_t unix_ns, const char *name)
{
    size_t event = pb_begin(&s->events, OTLP_SPAN_EVENTS);
    pb_fixed64(&s->events, 1, unix_ns);
    pb_bytes(&s->events, 2, bytes_text(name));
    pb_end(&s->events, event);
}

void span_fail(struct demo_span *s, const char *error_type, const char *description)
{
    if (!s->is_error)
        span_text(s, "error.type", "%s", error_type);
    s->is_error = true;
    snprintf(s->description, sizeof s->description, "%s", description);
}

void span_exception(struct demo_span *s, uint64_t unix_ns, unsigned which)
{
    const struct demo_fault *fault = demo_fault_of(demo_services[s->service].language, which);
    size_t event = pb_begin(&s->events, OTLP_SPAN_EVENTS);
    pb_fixed64(&s->events, 1, unix_ns);
    pb_bytes(&s->events, 2, BYTES_LITERAL("exception"));
    pair_text(&s->events, OTLP_EVENT_ATTRIBUTES, "exception.type", fault->type);
    pair_text(&s->events, OTLP_EVENT_ATTRIBUTES, "exception.message", fault->message);
    pair_text(&s->events, OTLP_EVENT_ATTRIBUTES, "exception.stacktrace", fault->stacktrace);
    pb_end(&s->events, event);
    span_fail(s, fault->type, fault->message);
    span_log(s, unix_ns, SEVERITY_ERROR, "%s: %s", fault->type, fault->message);
}

uint64_t span_close(struct demo_span *s, uint64_t end_unix_ns)
{
    static const char *const kinds[] = {
        "", "internal", "server", "client", "producer", "consumer"
    };
    struct buffer b;
    uint8_t id[8];
    buffer_init(&b, 4 * SPAN_BYTES_MAX);
    pb_bytes(&b, 1, bytes_of(s->trace_id.b, sizeof s->trace_id.b));
    store_le64(id, s->id);
    pb_bytes(&b, 2, bytes_of(id, sizeof id));
    if (s->parent_id != 0) {
        store_le64(id, s->parent_id);
        pb_bytes(&b, 4, bytes_of(id, sizeof id));
    }
    pb_bytes(&b, 5, bytes_text(s->name));
    pb_uint(&b, 6, s->kind);
    pb_fixed64(&b, 7, s->start_unix_ns);
    pb_fixed64(&b, 8, end_unix_ns);
    buffer_append_bytes(&b, buffer_bytes(&s->attributes));
    buffer_append_bytes(&b, buffer_bytes(&s->events));
    buffer_append_bytes(&b, buffer_bytes(&s->links));
    if (s->is_error) {
        size_t status = pb_begin(&b, 15);
        pb_bytes(&b, 2, bytes_text(s->description));
        pb_uint(&b, 3, 2);
        pb_end(&b, status);
    }
    pb_fixed32(&b, 16, s->has_remote_parent ? 0x301 : 0x101);

    struct demo *d = s->demo;
    if (buffer_error(&b) == ERR_OK) {
        demo_export_add(d, end_unix_ns, s->pod, s->scope, false, buffer_bytes(&b));
        const char *parts[] = { demo_services[s->service].name, s->name, kinds[s->kind],
                                s->is_error ? "error" : "unset" };
        demo_truth_count(&d->truth, &d->truth.spans, parts, 4);
    }
    buffer_deinit(&b);
    buffer_deinit(&s->attributes);
    buffer_deinit(&s->events);
    buffer_deinit(&s->links);
    return end_unix_ns;
}

/* ---- Log records
 * ------------------------------------------------------------------------------------------- */

static const char *severity_text(unsigned severity)
{
    return severity >= SEVERITY_ERROR  ? "ERROR"
           : severity >= SEVERITY_WARN ? "WARN"
           : severity >= SEVERITY_INFO ? "INFO"
                                       : "DEBUG";
}

/* body: an AnyValue message's content; s may be NULL. */
static void add_log(struct demo *d, unsigned pod, const struct demo_span *s, uint64_t unix_ns,
                    unsigned severity, const struct buffer *body)
{
    struct buffer b;
    buffer_init(&b, SPAN_BYTES_MAX);
    pb_fixed64(&b, 1, unix_ns);
    pb_uint(&b, 2, severity);
    pb_bytes(&b, 3, bytes_text(severity_text(severity)));
    pb_bytes(&b, 5, buffer_bytes(body));
    pair_text(&b, OTLP_LOG_ATTRIBUTES, "log.iostream",
              severity >= SEVERITY_WARN ? "stderr" : "stdout");
    if (s != NULL) {
        uint8_t id[8];
        store_le64(id, s->id);
        pb_fixed32(&b, 8, 1);
        pb_bytes(&b, 9, bytes_of(s->trace_id.b, sizeof s->trace_id.b));
        pb_bytes(&b, 10, bytes_of(id, sizeof id));
    }
    pb_fixed64(&b, 11, unix_ns);
    if (buffer_error(&b) == ERR_OK && buffer_error(body) == ERR_OK) {
        demo_export_add(d, unix_ns, pod, SCOPE_APP, true, buffer_bytes(&b));
        const char *parts[] = { demo_services[d->pods[pod].service].name, severity_text(severity) };
        demo_truth_count(&d->truth, &d->truth.logs, parts, 2);
    }
    buffer_deinit(&b);
}

static void add_text_log(struct demo *d, unsigned pod, const struct demo_span *s, uint64_t unix_ns,
                         unsigned severity, const char *text)
{
    struct buffer body;
    buffer_init(&body, SPAN_BYTES_MAX);
    pb_bytes(&body, ANY_STRING, bytes_text(text));
    add_log(d, pod, s, unix_ns, severity, &body);
    buffer_deinit(&body);
}

void span_log(const struct demo_span *s, uint64_t unix_ns, unsigned severity, const char *format,
              ...)
{
    char text[TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    add_text_log(s->demo, s->pod, s, unix_ns, severity, text);
}

void span_log_map(const struct demo_span *s, uint64_t unix_ns, unsigned severity,
                  const char *message, const char *const *keys, const int64_t *values, size_t count)
{
    struct buffer body;
    buffer_init(&body, SPAN_BYTES_MAX);
    size_t map = pb_begin(&body, ANY_MAP);
    pair_text(&body, OTLP_VALUES, "message", message);
    for (size_t i = 0; i < count; i++)
        pair_int(&body, OTLP_VALUES, keys[i], values[i]);
    pb_end(&body, map);
    add_log(s->demo, s->pod, s, unix_ns, severity, &body);
    buffer_deinit(&body);
}

void demo_log(struct demo *d, unsigned pod, uint64_t unix_ns, unsigned severity, const char *format,
              ...)
{
    char text[TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    add_text_log(d, pod, NULL, unix_ns, severity, text);
}
