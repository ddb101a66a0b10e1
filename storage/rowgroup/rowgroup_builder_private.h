/* SPDX-License-Identifier: Apache-2.0 */
/* rowgroup_builder_private.h - what adding, ordering and writing (rowgroup_builder.c) share with walking the
 * rows (rowgroup_walk.c).
 *
 * Private    to storage/rowgroup. */
#ifndef SPINDLE_STORAGE_ROWGROUP_BUILDER_PRIVATE_H
#define SPINDLE_STORAGE_ROWGROUP_BUILDER_PRIVATE_H

#include "base/intern.h"
#include "storage/rowgroup/rowgroup.h"
#include "storage/rowgroup/rowgroup_columns.h"
#include "storage/rowgroup/rowgroup_sort.h"

#define SCAN_RUN_MAX 16 /* in runs up to this, looking through all is faster than a map */
/* Attributes of the spans that are handed over together: most have three at most. */
#define WANTED_MAX (DERIVE_ATTRIBUTES_MAX + 4 * DERIVE_SPANS_MAX)

struct item {
    const uint8_t *data;
    uint32_t len;
    uint32_t context;
    uint64_t time;                  /* start, or a record's time */
    uint64_t trace_high, trace_low; /* big-endian: their order is the bytes' order */
    uint64_t span_id;
};

/* A distinct (resource, scope) with schema URLs: numbers of texts. */
struct context {
    uint32_t resource, resource_schema, scope, scope_schema, present;
};

struct rowgroup_builder {
    struct rowgroup_options options;
    struct item *items; /* as they came */
    uint32_t count, capacity;
    struct item *rows; /* those that are kept, in their final order */
    uint32_t rows_capacity;
    uint64_t body_bytes;
    struct dictionary texts;
    struct intern contexts;     /* of struct context, as bytes */
    struct scope_group *scopes; /* of the resource group that is being added */
    uint32_t scopes_count, scopes_capacity;
    struct columns columns;
    struct group_writer writer;

    struct sort_entry *sort[2];
    uint32_t sort_capacity;
    struct hash128 *contents; /* of items, while duplicates are looked for; zero: not computed */
    struct hash128 *context_contents;
    struct int_map ids, seen;

    struct buffer directory, stored_directory, filter;
    struct trace_id *traces;
    uint32_t traces_capacity;
    struct rowgroup_operation *operations;
    uint32_t operations_capacity;
    struct rowgroup_summary summary;
    struct derive_span spans[DERIVE_SPANS_MAX]; /* that on_spans is shown next */
    uint32_t spans_count;
    struct bytes wanted[WANTED_MAX]; /* their attributes, and those of the span at hand */
    uint64_t wanted_codes[WANTED_MAX];
    uint32_t wanted_used;
    uint64_t duration_max;
    uint32_t status_seen;
};

/* Whether two items, neighbours in order, are of one trace, or of one time. */
static inline bool same_run(enum signal signal, const struct item *a, const struct item *b)
{
    return signal == SIGNAL_TRACES ? a->trace_high == b->trace_high && a->trace_low == b->trace_low
                                   : a->time == b->time;
}

static inline void map_clear(struct int_map *m)
{
    if (m->mask > 4095)
        int_map_deinit(m); /* clearing a large map for each small run would cost more */
    else if (m->count > 0)
        int_map_reset(m);
}

static inline struct trace_id trace_id_of(const struct item *item)
{
    struct trace_id id;
    store_be64(id.b, item->trace_high);
    store_be64(id.b + 8, item->trace_low);
    return id;
}

/* Push the values of the rows to the columns, and fill the summary's times and traces. */
NODISCARD enum err builder_walk_rows(struct rowgroup_builder *b, uint32_t rows);

#endif
