/* SPDX-License-Identifier: Apache-2.0 */
/* jaeger_numbers.h - Jaeger's answers made of rollups: dependencies, and the Monitor tab's metrics.
 *
 * Threads    the call's.
 * Source     facts, Jaeger sections 6 to 8. */
#ifndef SPINDLE_QUERY_JAEGER_NUMBERS_H
#define SPINDLE_QUERY_JAEGER_NUMBERS_H

#include "query/call.h"

enum err jaeger_dependencies(struct call *c);
enum err jaeger_v3_dependencies(struct call *c);
enum err jaeger_latencies(struct call *c);
enum err jaeger_call_rates(struct call *c);
enum err jaeger_error_rates(struct call *c);
enum err jaeger_min_step(struct call *c);

/* The envelope of /api/: up to "data":, whose value follows; and what stands behind that. */
void jaeger_envelope_begin(struct call *c);
void jaeger_envelope_end(struct call *c, uint64_t total);

#endif
