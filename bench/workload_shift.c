/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/workload.h"
#include "proto/otlp.h"

/* Fields of Span and Span.Event that move. */
enum { SPAN_TRACE_ID = 1, SPAN_SPAN_ID = 2, SPAN_PARENT_ID = 4, SPAN_START = 7, SPAN_END = 8 };
enum { EVENT_TIME = 1 };

/* The readers hand out read-only views of the request; a place in it is written through the request
 * itself. */
static void add64(uint8_t *request, const uint8_t *field_end, uint64_t add)
{
    uint8_t *p = request + (field_end - 8 - request);
    store_le64(p, load_le64(p) + add);
}

static void xor_bytes(uint8_t *request, struct bytes id, uint64_t id_xor)
{
    uint8_t *p = request + (id.data - request);
    for (size_t i = 0; i + 8 <= id.len; i += 8)
        store_le64(p + i, load_le64(p + i) ^ id_xor);
}

static void shift_event(uint8_t *request, struct bytes event, uint64_t shift_ns)
{
    struct otlp_fields fields = otlp_fields(event);
    struct otlp_field f;
    while (otlp_fields_next(&fields, &f)) {
        if (f.number == EVENT_TIME && f.wire_type == 1)
            add64(request, fields.at, shift_ns);
    }
}

static void shift_span(uint8_t *request, struct bytes span, uint64_t shift_ns, uint64_t id_xor)
{
    struct otlp_fields fields = otlp_fields(span);
    struct otlp_field f;
    while (otlp_fields_next(&fields, &f)) {
        if (f.wire_type == 1 && (f.number == SPAN_START || f.number == SPAN_END))
            add64(request, fields.at, shift_ns);
        else if (f.wire_type == 2 && (f.number == SPAN_TRACE_ID || f.number == SPAN_SPAN_ID ||
                                      f.number == SPAN_PARENT_ID))
            xor_bytes(request, f.bytes, id_xor);
        else if (f.wire_type == 2 && f.number == OTLP_SPAN_EVENTS)
            shift_event(request, f.bytes, shift_ns);
    }
}

bool workload_shift(uint8_t *request, size_t len, uint64_t shift_ns, uint64_t id_xor)
{
    struct otlp_report report;
    struct err_note note;
    struct bytes body = bytes_of(request, len);
    if (otlp_check(SIGNAL_TRACES, body, &otlp_limits_default, 0, &report, &note) != ERR_OK)
        return false;
    struct otlp_items items = otlp_items(body);
    while (otlp_items_next(&items))
        shift_span(request, items.item, shift_ns, id_xor);
    return true;
}
