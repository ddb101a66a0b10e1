/* SPDX-License-Identifier: Apache-2.0 */
/* otlp_json.h - OTLP/JSON into protobuf and back.
 *
 * Role       in: a bounded stream, never a tree, written straight as protobuf (strange bytes still:
 *            they go through otlp_check() like any other). Lenient: snake_case names, enum names,
 *            numbers as strings and strings as numbers, IDs in either case, base64 of either
 *            alphabet, a BOM, unknown names at any depth, null as absent, lone surrogates (kept as
 *            their three bytes, so that they count as invalid UTF-8 of that value alone). An ID
 *            that is no hex of its length becomes a malformed ID, which costs its item only. Out:
 *            canonical, as the specification writes it; default values are left out.
 * Threads    pure.
 * Source     the OTLP specification's JSON mapping; RFC 8259. */
#ifndef SPINDLE_PROTO_OTLP_JSON_H
#define SPINDLE_PROTO_OTLP_JSON_H

#include "base/json_writer.h"
#include "proto/otlp.h"

/* Append the protobuf form of one JSON request. JSON may nest 4 levels for each of limits->depth_max
 * values, and 32 more for the envelopes and unknown names. out_note may be NULL.
 *
 * Errors  ERR_INVALID  note: the byte offset and what was expected
 *         ERR_TOO_DEEP, ERR_TOO_MANY; the buffer's own (ERR_TOO_LARGE, ERR_NOMEM) */
NODISCARD enum err otlp_json_read(enum signal signal, struct bytes json,
                                  const struct otlp_limits *limits, struct buffer *out,
                                  struct err_note *out_note);

/* TracesData or LogsData of checked bytes as OTLP/JSON: {"resourceSpans":[...]}. */
void otlp_json_write(enum signal signal, struct bytes body, struct json_writer *out);
/* Parts of it, for answers that are assembled otherwise. */
void otlp_json_write_span(struct bytes span, struct json_writer *out);
void otlp_json_write_log(struct bytes log, struct json_writer *out);
void otlp_json_write_resource(struct bytes resource, struct json_writer *out);
void otlp_json_write_scope(struct bytes scope, struct json_writer *out);
/* An array of {"key":..., "value":...} from a message's repeated KeyValue field. */
void otlp_json_write_attributes(struct bytes message, uint32_t field, struct json_writer *out);
/* One AnyValue: {"stringValue":"x"}. */
void otlp_json_write_value(struct bytes any_value, struct json_writer *out);

#endif
