/* SPDX-License-Identifier: Apache-2.0 */
/* derived_families.h - RED series and edges as the metrics that dashboards know.
 *
 * Role       writes the engine's totals under the names, labels, units and buckets of OpenTelemetry's
 *            Collector (span metrics and service graph connectors), of Tempo, or of both.
 * Durations  text has the classic buckets of either; protobuf has native histograms besides, of at most
 *            NATIVE_BUCKETS_MAX buckets. Engines count by nanoseconds, and a power of ten is none of two: a
 *            native bucket's bounds are those of the nearest one, so that a quantile is within 1 %
 *            where the histogram has not been made coarser.
 * Threads    one at a time; not an event loop's: a page may be tens of megabytes.
 * Source     facts: RED and service graph, sections 1 to 5, 14 and 16. */
#ifndef SPINDLE_COLLECTOR_DERIVED_FAMILIES_H
#define SPINDLE_COLLECTOR_DERIVED_FAMILIES_H

#include "collector/exposition.h"
#include "storage/derived.h"

#define NATIVE_BUCKETS_MAX 160 /* OpenTelemetry's default for exponential histograms */

/* Whose names; the service graph's are the same, and in BOTH they are the Collector's. */
enum span_metrics {
    SPAN_METRICS_COLLECTOR,
    SPAN_METRICS_TEMPO,
    SPAN_METRICS_BOTH,
    SPAN_METRICS_NONE
};

/* Families of calls and durations of spans and edges. Failures stick to the exposition.
 *
 *   totals  its histograms are an arena's */
void derived_families_write(struct exposition *e, enum span_metrics which,
                            const struct derived_totals *totals);

#endif
