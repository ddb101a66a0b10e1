/* SPDX-License-Identifier: Apache-2.0 */
/* otlp_row.h - filters over one span or log record where it lies, and writing items back in groups.
 *
 * Role       what every holder of checked OTLP bytes needs: an expr_row that reads values on demand, a
 *            filter prepared for a run of items, and a writer of TracesData and LogsData.
 * Ownership  everything is borrowed; otlp_row keeps a scratch buffer of its own until deinit.
 * Threads    one at a time. */
#ifndef SPINDLE_STORAGE_OTLP_ROW_H
#define SPINDLE_STORAGE_OTLP_ROW_H

#include "storage/expr.h"

/* ---- Items and what is around them ---- */

/* What the items of one scope group share. */
struct otlp_group {
    struct bytes resource, resource_schema_url, scope, scope_schema_url;
    bool has_resource, has_scope; /* present, be it empty */
};
struct otlp_group otlp_group_of(const struct otlp_items *at);

/* Appends items as TracesData or LogsData, one ResourceSpans or ResourceLogs for each run that is not
 * interrupted by is_new_group. Errors: the buffer's. */
struct otlp_group_writer {
    struct buffer *out;
    struct otlp_group group; /* of the open run */
    size_t resource_mark, scope_mark;
    bool is_open;
};
void otlp_group_writer_init(struct otlp_group_writer *w, struct buffer *out);
void otlp_group_writer_put(struct otlp_group_writer *w, const struct otlp_group *group,
                           bool is_new_group, struct bytes item);
void otlp_group_writer_end(struct otlp_group_writer *w);

/* ---- One row ---- */

/* What a filter may ask about the whole trace. */
struct otlp_trace_facts {
    uint64_t start_unix_ns,
        end_unix_ns; /* smallest start, largest end; a span ends no earlier than it starts */
    bool has_root;
    struct bytes root_name, root_service;
};

/* The fields of a span that most questions are about. Exporters write fields by number, so these stand in
 * the first hundred bytes, before attributes and events that then need not be walked. */
struct otlp_span_head {
    struct trace_id trace_id;
    struct bytes name;
    uint64_t start_unix_ns, end_unix_ns; /* as sent: the end may be before the start */
    bool has_kind;                       /* false: the kind may still follow */
    uint32_t kind;
};
void otlp_span_head_read(struct bytes message, struct otlp_span_head *out);
static inline uint64_t otlp_span_head_duration_ns(const struct otlp_span_head *h)
{
    return h->end_unix_ns > h->start_unix_ns ? h->end_unix_ns - h->start_unix_ns : 0;
}

struct otlp_row {
    struct expr_row row; /* pass &r.row to expr_evaluate() */
    enum signal signal;
    struct bytes resource, scope, item;
    const struct otlp_trace_facts *trace; /* NULL: unknown, and so is what asks for it */
    uint32_t child_count;                 /* of the span, where trace is given */
    /* Private: the item as far as it was read. */
    struct otlp_row *self;
    bool is_read, is_head_read;
    struct otlp_span_head head;
    struct otlp_span span;
    struct otlp_log log;
    struct buffer text;
};
void otlp_row_init(struct otlp_row *r,
                   enum signal signal); /* allocates nothing; r must not move after */
void otlp_row_deinit(struct otlp_row *r);
void otlp_row_set(struct otlp_row *r, struct bytes resource, struct bytes scope, struct bytes item);
/* The item's fields, read once. Of the row's signal. */
const struct otlp_span *otlp_row_span(struct otlp_row *r);
const struct otlp_span_head *otlp_row_head(struct otlp_row *r);
const struct otlp_log *otlp_row_log(struct otlp_row *r);
/* Its span's start or its record's time. */
uint64_t otlp_row_start(struct otlp_row *r);

/* ---- A filter over many rows ---- */

/* The top conjunction taken apart: what speaks of resource and scope alone is asked once a group. */
#define OTLP_FILTER_PARTS_MAX 32
struct otlp_filter {
    const struct expr *group_parts[OTLP_FILTER_PARTS_MAX];
    const struct expr *item_parts[OTLP_FILTER_PARTS_MAX];
    size_t group_parts_count, item_parts_count;
};
void otlp_filter_init(struct otlp_filter *f, const struct expr *filter); /* borrows the tree */
/* Whether any item of the group that the row stands in can match. */
bool otlp_filter_group(const struct otlp_filter *f, const struct otlp_row *r);
/* The rest, for an item of a group for which the call above said yes. */
enum expr_truth otlp_filter_item(const struct otlp_filter *f, const struct otlp_row *r);

#endif
