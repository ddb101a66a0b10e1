/* SPDX-License-Identifier: Apache-2.0 */
/* exposition.h - metrics in the three forms that Prometheus reads.
 *
 * Role       a writer of families and their samples; the caller says what, the writer how: text 0.0.4,
 *            OpenMetrics 1.0 with exemplars and units, or delimited protobuf with native histograms.
 *            It knows nothing of where the numbers come from.
 * Ownership  everything given is borrowed for the call, but for a family, which stays until the next
 *            one begins or the exposition ends.
 * Memory     text leaves in pieces of about EXPOSITION_PIECE_BYTES, however long the page is; of
 *            protobuf one family is held at a time, since its length stands before it.
 * Threads    one at a time.
 * Errors     the first failure sticks; exposition_end() returns it.
 * Source     facts: RED and service graph, sections 9 to 14 and 17. */
#ifndef SPINDLE_COLLECTOR_EXPOSITION_H
#define SPINDLE_COLLECTOR_EXPOSITION_H

#include "base/buffer.h"

enum exposition_format { EXPOSITION_TEXT, EXPOSITION_OPENMETRICS, EXPOSITION_PROTOBUF };

/* The form that an Accept header asks for: of what is understood, the one of the highest q, then the
 * first. Media ranges with an escaping scheme that would change our names ("dots", "values") are
 * passed over. An empty or strange header gets text 0.0.4.
 *
 *   out_content_type  static text, to be sent as Content-Type */
enum exposition_format exposition_negotiate(struct bytes accept, const char **out_content_type);

#define EXPOSITION_PIECE_BYTES  (64 * 1024)
#define EXPOSITION_FAMILY_MAX   (64 * 1024 * 1024) /* of one family in protobuf */
#define EXPOSITION_LABELS_MAX   24
#define EXPOSITION_BOUNDS_MAX   32
#define EXPOSITION_EXEMPLAR_MAX 128 /* characters of names and values; OpenMetrics 1.0 */

enum exposition_type { EXPOSITION_COUNTER, EXPOSITION_GAUGE, EXPOSITION_HISTOGRAM };

/* units * 10^-decimals, exactly: {1500000, 6} is 1.5. Integers are {n, 0}. */
struct exposition_number {
    uint64_t units;
    unsigned decimals; /* at most 18 */
};

struct exposition_label {
    const char *name;   /* [a-zA-Z_][a-zA-Z0-9_]* */
    struct bytes value; /* any bytes; invalid UTF-8 leaves as U+FFFD. Empty: left out */
};

struct exposition_exemplar {
    const char *trace_label; /* "trace_id" or "traceID" */
    uint8_t trace_id[16];
    uint8_t span_id[8];
    bool has_span_id; /* then also a label span_id */
    struct exposition_number value;
    uint64_t unix_ns;
};

struct exposition_family {
    const char *name; /* as in text 0.0.4: of a counter with _total, of a histogram the base name */
    const char *help;
    const char *unit; /* a word that the name (without _total) ends with, or NULL */
    enum exposition_type type;
    /* Of a histogram: the upper bounds of its classic buckets, ascending, without +Inf, in the
     * family's unit; at most EXPOSITION_BOUNDS_MAX. */
    const struct exposition_number *bounds;
    size_t bounds_count;
};

/* Buckets as Prometheus counts them: index i holds (2^((i-1)/2^schema), 2^(i/2^schema)], in the
 * family's unit. Only in protobuf. */
struct exposition_native {
    int schema; /* -4..8 */
    uint64_t zero_count;
    double zero_threshold;
    const int32_t *indices; /* ascending */
    const uint64_t *counts; /* none of them 0 */
    size_t length;
};

struct exposition_histogram {
    uint64_t count;
    struct exposition_number sum;
    const uint64_t *counts; /* bounds_count + 1, each of its own bucket, not cumulative; NULL: no
                               classic buckets, in protobuf only */
    const struct exposition_native *native;      /* or NULL */
    const struct exposition_exemplar *exemplars; /* by value, ascending; of those in one classic
                                                    bucket the last is shown there */
    size_t exemplars_count;
};

/* Takes a piece, in any case; what it returns ends the exposition unless it is ERR_OK. */
typedef enum err exposition_flush_fn(void *context, struct buffer *take_piece);

struct exposition {
    enum exposition_format format;
    exposition_flush_fn *flush;
    void *context;
    enum err error;
    struct buffer out;    /* the piece under construction */
    struct buffer family; /* protobuf: the MetricFamily under construction */
    struct buffer labels; /* of the sample under construction */
    const struct exposition_family *current;
    size_t base_len;  /* of the family's name without _total */
    struct buffer le; /* text: `le="0.5"} ` of each bucket, one after the other */
    size_t le_at[EXPOSITION_BOUNDS_MAX + 2];
};

/* Begin a page; `flush` gets its pieces in order, the last from exposition_end(). */
void exposition_begin(struct exposition *e, enum exposition_format format,
                      exposition_flush_fn *flush, void *context);
/* Begin a family. All of its samples follow before the next, which may be the same struct filled anew;
 * no name comes twice. */
void exposition_family(struct exposition *e, const struct exposition_family *family);
/* A sample of a counter or a gauge. exemplar: NULL, or of a counter one that is shown where the form
 * can. */
void exposition_value(struct exposition *e, const struct exposition_label *labels, size_t count,
                      struct exposition_number value, const struct exposition_exemplar *exemplar);
/* A sample of a histogram. */
void exposition_histogram(struct exposition *e, const struct exposition_label *labels, size_t count,
                          const struct exposition_histogram *histogram);
/* The end of the page: flushes, releases. Returns the first failure. */
NODISCARD enum err exposition_end(struct exposition *e);

/* A number as text: "12", "0.5", "1.0" with is_float. */
void exposition_number_text(struct buffer *b, struct exposition_number n, bool is_float);
/* The nearest double, but for at most one more rounding. */
double exposition_number_double(struct exposition_number n);

/* ---- Between the sources behind this header ---- */

/* Its labels are within EXPOSITION_EXEMPLAR_MAX. */
bool exposition_exemplar_fits(const struct exposition_exemplar *x);
/* The exemplar to show in bucket i, or NULL. */
const struct exposition_exemplar *exposition_bucket_exemplar(const struct exposition_family *f,
                                                             const struct exposition_histogram *h,
                                                             size_t i);
/* The same in protobuf: begin a family, its samples, its end. */
void exposition_protobuf_family(struct exposition *e);
void exposition_protobuf_value(struct exposition *e, const struct exposition_label *labels,
                               size_t count, struct exposition_number value,
                               const struct exposition_exemplar *exemplar);
void exposition_protobuf_histogram(struct exposition *e, const struct exposition_label *labels,
                                   size_t count, const struct exposition_histogram *h);
void exposition_protobuf_family_end(struct exposition *e);

#endif
