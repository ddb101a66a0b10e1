/* SPDX-License-Identifier: Apache-2.0 */
/* jaeger_json.h - a trace as Jaeger's legacy JSON.
 *
 * Threads    pure.
 * Source     facts: Jaeger, sections 3 to 5. */
#ifndef SPINDLE_QUERY_JAEGER_JSON_H
#define SPINDLE_QUERY_JAEGER_JSON_H

#include "base/json_writer.h"
#include "proto/otlp.h"

/* Write the spans of one trace (TracesData, checked) as one trace object. Errors: ERR_NOMEM. */
NODISCARD enum err jaeger_write_trace(struct json_writer *j, const struct trace_id *id,
                                      struct bytes traces_data);

#endif
