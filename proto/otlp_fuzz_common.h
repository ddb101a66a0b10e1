/* SPDX-License-Identifier: Apache-2.0 */
/* otlp_fuzz_common.h - what must hold for any bytes, shared by the fuzz targets of this room. */
#ifndef SPINDLE_PROTO_OTLP_FUZZ_COMMON_H
#define SPINDLE_PROTO_OTLP_FUZZ_COMMON_H

#include "proto/otlp_json.h"

#include <stdlib.h>

#define MUST(fact)                                                                                 \
    do {                                                                                           \
        if (!(fact))                                                                               \
            abort();                                                                               \
    } while (0)

/* Small limits, so that short inputs reach them. */
static const struct otlp_limits fuzz_limits = {
    .depth_max = 64,
    .elements_max = 4096,
    .attributes_max = 4,
    .events_max = 2,
    .links_max = 2,
    .key_bytes_max = 16,
    .value_bytes_max = 24,
    .time_past_ns = 0,
};

/* All readers over checked bytes; the sum keeps the compiler from leaving them out. */
static uint64_t fuzz_read_all(enum signal signal, struct bytes body)
{
    uint64_t sum = 0;
    struct otlp_items it = otlp_items(body);
    while (otlp_items_next(&it)) {
        struct bytes element;
        struct otlp_key_value kv;
        struct otlp_value value;
        sum += otlp_service_name(it.resource.resource).len + it.scope.scope.len;
        uint32_t attributes = signal == SIGNAL_TRACES ? OTLP_SPAN_ATTRIBUTES : OTLP_LOG_ATTRIBUTES;
        struct otlp_repeated r = otlp_repeated(it.item, attributes);
        struct buffer text;
        buffer_init(&text, 1u << 20);
        while (otlp_repeated_next(&r, &element)) {
            otlp_key_value_read(element, &kv);
            otlp_value_read(kv.value, &value);
            otlp_value_text(&text, &value);
        }
        sum += text.len;
        buffer_deinit(&text);
        if (signal == SIGNAL_TRACES) {
            struct otlp_span span;
            otlp_span_read(it.item, &span);
            sum += otlp_span_duration_ns(&span) + span.attributes_count;
            r = otlp_repeated(it.item, OTLP_SPAN_EVENTS);
            while (otlp_repeated_next(&r, &element)) {
                struct otlp_event event;
                otlp_event_read(element, &event);
                sum += event.name.len;
            }
            r = otlp_repeated(it.item, OTLP_SPAN_LINKS);
            while (otlp_repeated_next(&r, &element)) {
                struct otlp_link link;
                otlp_link_read(element, &link);
                sum += link.flags;
            }
        } else {
            struct otlp_log log;
            otlp_log_read(it.item, &log);
            otlp_value_read(log.body, &value);
            sum += otlp_log_time(&log);
        }
    }
    return sum;
}

/* Checked, canonical bytes: rewriting changes nothing, and JSON brings back the same JSON. */
static void fuzz_canonical(enum signal signal, struct bytes body, const struct otlp_limits *limits)
{
    struct buffer same, json, back, again;
    struct json_writer w;
    buffer_init(&same, 64u << 20);
    buffer_init(&json, 64u << 20);
    buffer_init(&back, 64u << 20);
    buffer_init(&again, 64u << 20);

    MUST(otlp_rewrite(signal, body, limits, 0, &same) == ERR_OK);
    MUST(bytes_equal(body, buffer_bytes(&same)));
    MUST(fuzz_read_all(signal, body) != UINT64_MAX);

    json_init(&w, &json);
    otlp_json_write(signal, body, &w);
    MUST(json.error == ERR_OK);
    MUST(otlp_json_read(signal, buffer_bytes(&json), &otlp_limits_default, &back, NULL) == ERR_OK);
    struct otlp_report report;
    MUST(otlp_check(signal, buffer_bytes(&back), &otlp_limits_default, 0, &report, NULL) == ERR_OK);
    MUST(!report.needs_rewrite);
    json_init(&w, &again);
    otlp_json_write(signal, buffer_bytes(&back), &w);
    MUST(bytes_equal(buffer_bytes(&json), buffer_bytes(&again)));

    buffer_deinit(&same);
    buffer_deinit(&json);
    buffer_deinit(&back);
    buffer_deinit(&again);
}

/* Strange bytes: refused, or rewritten to bytes that are accepted as they stand. */
static void fuzz_strange(enum signal signal, struct bytes body, const struct otlp_limits *limits)
{
    struct otlp_report before, after;
    struct err_note note;
    if (otlp_check(signal, body, limits, 0, &before, &note) != ERR_OK) {
        MUST(note.offset <= body.len && note.what != NULL);
        return;
    }
    struct buffer out;
    buffer_init(&out, 64u << 20);
    MUST(otlp_rewrite(signal, body, limits, 0, &out) == ERR_OK);
    if (!before.needs_rewrite)
        MUST(bytes_equal(body, buffer_bytes(&out)));
    MUST(otlp_check(signal, buffer_bytes(&out), limits, 0, &after, NULL) == ERR_OK);
    MUST(!after.needs_rewrite);
    MUST(after.items == before.items - before.items_rejected && after.items_rejected == 0);
    fuzz_canonical(signal, buffer_bytes(&out), limits);
    buffer_deinit(&out);
}

#endif
