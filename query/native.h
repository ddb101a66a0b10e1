/* SPDX-License-Identifier: Apache-2.0 */
/* native.h - what the files behind the native routes share: pages, common fields, and the handlers.
 *
 * Threads    the call's. */
#ifndef SPINDLE_QUERY_NATIVE_H
#define SPINDLE_QUERY_NATIVE_H

#include "query/cursor.h"
#include "query/parameters.h"

#define NATIVE_LIMIT_DEFAULT 100
#define NATIVE_LIMIT_MAX     1000
#define NATIVE_COLORS        16

/* The range, and where to go on: from `cursor` if given, else from `from` and `to`. The cursor must
 * have come from the same question: all parameters but cursor, limit, spans and timeout. */
NODISCARD enum err native_page(struct call *c, struct page *out);

/* An answer of rows, as far as the first of them. */
void native_rows_begin(struct json_writer *j);
/* The fields that end every answer of rows: complete, scanned, took_ms, cursor, and, without rows,
 * the reason. `next` may be NULL: never paged. */
void native_write_end(struct call *c, const struct find_progress *progress, size_t rows,
                      const struct page *page, const struct find_cursor *next);

/* A hex ID as a member. */
void native_write_id(struct json_writer *j, const char *key, const uint8_t *id, size_t len);
void native_write_text(struct json_writer *j, const char *key, struct bytes text);
void native_write_ns(struct json_writer *j, const char *key, uint64_t ns);
void native_write_count(struct json_writer *j, const char *key, uint64_t n);

/* What is stored, as a member. */
void native_write_stored(struct json_writer *j, const char *key, const struct engine_statistics *s);
/* "string", "int"... */
const char *native_type_word(enum otlp_value_type type);
/* The same service has the same colour everywhere: 0 to 15, what a page can tell apart. By first sight, so that
 * the first 16 services all differ; by the name where the engine keeps no order. */
unsigned native_color(struct call *c, struct bytes service);

/* A value as a string, as Jaeger's tags and TraceQL's answers write it. */
void native_write_value_text(struct call *c, const struct expr_value *v);

/* The path's {id}. */
NODISCARD enum err native_trace_id(struct call *c, struct trace_id *out);

enum err native_traces(struct call *c);
enum err native_trace(struct call *c);
enum err native_trace_logs(struct call *c);
enum err native_trace_span(struct call *c);
enum err native_trace_skeleton(struct call *c);
enum err native_trace_find(struct call *c);
enum err native_logs_tail(struct call *c);
enum err native_status(struct call *c);
enum err native_trace_raw(struct call *c);
enum err native_heatmap(struct call *c);
enum err native_compare(struct call *c);
enum err native_logs_histogram(struct call *c);
enum err native_logs(struct call *c);
enum err native_meta(struct call *c);
enum err native_services(struct call *c);
enum err native_service_names(struct call *c); /* as native_services() without a window */
enum err native_operations(struct call *c);
enum err native_operation_names(struct call *c); /* likewise */
enum err native_series(struct call *c);
enum err native_dependencies(struct call *c);
enum err native_instances(struct call *c);
enum err native_map(struct call *c);
enum err native_cleaned(struct call *c);
enum err native_attributes(struct call *c);
enum err native_attribute_values(struct call *c);
enum err native_resolve(struct call *c);
enum err native_sql(struct call *c);

#endif
