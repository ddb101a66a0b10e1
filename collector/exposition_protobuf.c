/* SPDX-License-Identifier: Apache-2.0 */
/* io.prometheus.client.MetricFamily, each after its length. Presence matters to proto2 readers, so
 * zeros are written. Source: facts: RED and service graph, sections 12 and 14. */
#include "base/clock.h"
#include "base/text.h"
#include "collector/exposition.h"
#include "proto/pb_writer.h"

#include <assert.h>

enum { FAMILY_NAME = 1, FAMILY_HELP = 2, FAMILY_TYPE = 3, FAMILY_METRIC = 4, FAMILY_UNIT = 5 };
enum { TYPE_COUNTER = 0, TYPE_GAUGE = 1, TYPE_HISTOGRAM = 4 };
enum { METRIC_LABEL = 1, METRIC_GAUGE = 2, METRIC_COUNTER = 3, METRIC_HISTOGRAM = 7 };
enum { LABEL_NAME = 1, LABEL_VALUE = 2 };
enum { COUNTER_VALUE = 1, COUNTER_EXEMPLAR = 2, GAUGE_VALUE = 1 };
enum { EXEMPLAR_LABEL = 1, EXEMPLAR_VALUE = 2, EXEMPLAR_TIMESTAMP = 3 };
enum { TIMESTAMP_SECONDS = 1, TIMESTAMP_NANOS = 2 };
enum { BUCKET_COUNT = 1, BUCKET_BOUND = 2, BUCKET_EXEMPLAR = 3 };
enum { SPAN_OFFSET = 1, SPAN_LENGTH = 2 };
enum {
    HISTOGRAM_COUNT = 1,
    HISTOGRAM_SUM = 2,
    HISTOGRAM_BUCKET = 3,
    HISTOGRAM_SCHEMA = 5,
    HISTOGRAM_ZERO_THRESHOLD = 6,
    HISTOGRAM_ZERO_COUNT = 7,
    HISTOGRAM_POSITIVE_SPAN = 12,
    HISTOGRAM_POSITIVE_DELTA = 13,
    HISTOGRAM_EXEMPLARS = 16
};

static uint64_t zigzag(int64_t v)
{
    return ((uint64_t)v << 1) ^ (v < 0 ? UINT64_MAX : 0);
}

static void put_text(struct buffer *b, uint32_t field, const char *text)
{
    pb_bytes(b, field, bytes_text(text));
}

void exposition_protobuf_family(struct exposition *e)
{
    static const uint64_t types[] = { [EXPOSITION_COUNTER] = TYPE_COUNTER,
                                      [EXPOSITION_GAUGE] = TYPE_GAUGE,
                                      [EXPOSITION_HISTOGRAM] = TYPE_HISTOGRAM };
    const struct exposition_family *f = e->current;
    buffer_reset(&e->family);
    put_text(&e->family, FAMILY_NAME, f->name);
    put_text(&e->family, FAMILY_HELP, f->help);
    pb_uint(&e->family, FAMILY_TYPE, types[f->type]);
    if (f->unit != NULL)
        put_text(&e->family, FAMILY_UNIT, f->unit);
}

/* Out goes the family in one piece: it may be larger than others, but it lies in memory anyway. */
void exposition_protobuf_family_end(struct exposition *e)
{
    if (e->error == ERR_OK)
        e->error = buffer_error(&e->family);
    if (e->error != ERR_OK)
        return;
    pb_varint(&e->out, e->family.len);
    if (e->out.len + e->family.len < EXPOSITION_PIECE_BYTES) {
        buffer_append_bytes(&e->out, buffer_bytes(&e->family));
        return;
    }
    struct buffer head = e->out, body = e->family;
    buffer_init(&e->out, SIZE_MAX);
    buffer_init(&e->family, EXPOSITION_FAMILY_MAX);
    e->error = e->flush(e->context, &head);
    if (e->error == ERR_OK)
        e->error = e->flush(e->context, &body);
    else
        buffer_deinit(&body);
}

static void put_label(struct buffer *b, uint32_t field, const char *name, struct bytes value)
{
    size_t mark = pb_begin(b, field);
    put_text(b, LABEL_NAME, name);
    if (text_utf8_valid_len(value) == value.len) {
        pb_bytes(b, LABEL_VALUE, value);
    } else {
        size_t inner = pb_begin(b, LABEL_VALUE);
        text_utf8_repair(b, value);
        pb_end(b, inner);
    }
    pb_end(b, mark);
}

/* By name, as is the habit of this format; there are few. */
static void put_labels(struct buffer *b, const struct exposition_label *labels, size_t count)
{
    uint8_t order[EXPOSITION_LABELS_MAX];
    assert(count <= EXPOSITION_LABELS_MAX);
    for (size_t i = 0; i < count; i++) {
        size_t k = i;
        while (k > 0 && strcmp(labels[order[k - 1]].name, labels[i].name) > 0) {
            order[k] = order[k - 1];
            k--;
        }
        order[k] = (uint8_t)i;
    }
    for (size_t i = 0; i < count; i++)
        if (labels[order[i]].value.len > 0)
            put_label(b, METRIC_LABEL, labels[order[i]].name, labels[order[i]].value);
}

static void put_exemplar(struct buffer *b, uint32_t field, const struct exposition_exemplar *x)
{
    char hex[32];
    size_t mark = pb_begin(b, field);
    text_hex(hex, bytes_of(x->trace_id, sizeof x->trace_id));
    put_label(b, EXEMPLAR_LABEL, x->trace_label, bytes_of(hex, 32));
    if (x->has_span_id) {
        text_hex(hex, bytes_of(x->span_id, sizeof x->span_id));
        put_label(b, EXEMPLAR_LABEL, "span_id", bytes_of(hex, 16));
    }
    pb_double(b, EXEMPLAR_VALUE, exposition_number_double(x->value));
    if (x->unix_ns != 0) {
        size_t inner = pb_begin(b, EXEMPLAR_TIMESTAMP);
        pb_uint(b, TIMESTAMP_SECONDS, x->unix_ns / NS_PER_S);
        pb_uint(b, TIMESTAMP_NANOS, x->unix_ns % NS_PER_S);
        pb_end(b, inner);
    }
    pb_end(b, mark);
}

void exposition_protobuf_value(struct exposition *e, const struct exposition_label *labels,
                               size_t count, struct exposition_number value,
                               const struct exposition_exemplar *exemplar)
{
    struct buffer *b = &e->family;
    bool is_counter = e->current->type == EXPOSITION_COUNTER;
    size_t metric = pb_begin(b, FAMILY_METRIC);
    put_labels(b, labels, count);
    size_t mark = pb_begin(b, is_counter ? METRIC_COUNTER : METRIC_GAUGE);
    pb_double(b, is_counter ? COUNTER_VALUE : GAUGE_VALUE, exposition_number_double(value));
    if (exemplar != NULL && is_counter && exposition_exemplar_fits(exemplar))
        put_exemplar(b, COUNTER_EXEMPLAR, exemplar);
    pb_end(b, mark);
    pb_end(b, metric);
}

static void put_classic(struct exposition *e, const struct exposition_histogram *h)
{
    const struct exposition_family *f = e->current;
    struct buffer *b = &e->family;
    uint64_t cumulative = 0;
    for (size_t i = 0; i < f->bounds_count; i++) { /* +Inf is implied by the count */
        size_t mark = pb_begin(b, HISTOGRAM_BUCKET);
        cumulative += h->counts[i];
        pb_uint(b, BUCKET_COUNT, cumulative);
        pb_double(b, BUCKET_BOUND, exposition_number_double(f->bounds[i]));
        const struct exposition_exemplar *x =
            h->exemplars_count == 0 ? NULL : exposition_bucket_exemplar(f, h, i);
        if (x != NULL)
            put_exemplar(b, BUCKET_EXEMPLAR, x);
        pb_end(b, mark);
    }
}

static void put_span(struct buffer *b, int32_t offset, size_t length)
{
    size_t mark = pb_begin(b, HISTOGRAM_POSITIVE_SPAN);
    pb_uint(b, SPAN_OFFSET, zigzag(offset));
    pb_uint(b, SPAN_LENGTH, length);
    pb_end(b, mark);
}

/* Runs of neighbouring buckets, then the counts as differences. Without any bucket, one empty span
 * says that this is a native histogram all the same. */
static void put_native(struct buffer *b, const struct exposition_native *n)
{
    pb_uint(b, HISTOGRAM_SCHEMA, zigzag(n->schema));
    pb_double(b, HISTOGRAM_ZERO_THRESHOLD, n->zero_threshold);
    pb_uint(b, HISTOGRAM_ZERO_COUNT, n->zero_count);
    int32_t end = 0; /* index after the last run */
    for (size_t i = 0; i < n->length;) {
        size_t k = i + 1;
        while (k < n->length && n->indices[k] == n->indices[k - 1] + 1)
            k++;
        assert(n->indices[i] >= end || i == 0);
        put_span(b, n->indices[i] - end, k - i);
        end = n->indices[k - 1] + 1;
        i = k;
    }
    if (n->length == 0)
        put_span(b, 0, 0);
    uint64_t before = 0;
    for (size_t i = 0; i < n->length; i++) {
        pb_uint(b, HISTOGRAM_POSITIVE_DELTA, zigzag((int64_t)(n->counts[i] - before)));
        before = n->counts[i];
    }
}

void exposition_protobuf_histogram(struct exposition *e, const struct exposition_label *labels,
                                   size_t count, const struct exposition_histogram *h)
{
    struct buffer *b = &e->family;
    assert(h->counts != NULL || h->native != NULL);
    size_t metric = pb_begin(b, FAMILY_METRIC);
    put_labels(b, labels, count);
    size_t mark = pb_begin(b, METRIC_HISTOGRAM);
    pb_uint(b, HISTOGRAM_COUNT, h->count);
    pb_double(b, HISTOGRAM_SUM, exposition_number_double(h->sum));
    if (h->counts != NULL)
        put_classic(e, h);
    if (h->native != NULL) {
        put_native(b, h->native);
        for (size_t i = 0; i < h->exemplars_count; i++)
            if (h->exemplars[i].unix_ns != 0 && exposition_exemplar_fits(&h->exemplars[i]))
                put_exemplar(b, HISTOGRAM_EXEMPLARS, &h->exemplars[i]);
    }
    pb_end(b, mark);
    pb_end(b, metric);
}
