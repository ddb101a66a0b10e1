/* SPDX-License-Identifier: Apache-2.0 */
/* rowgroup_rows.h - rows of a chunk: where each one's values lie, and the row put together
 * again.
 *
 * Role       attributes, events and links of a row are found by counting those of the rows
 *            before it, so a chunk keeps a place that moves forward; going back starts again
 *            from the chunk's first row.
 * Private    to storage/rowgroup. */
#ifndef SPINDLE_STORAGE_ROWGROUP_ROWS_H
#define SPINDLE_STORAGE_ROWGROUP_ROWS_H

#include "storage/rowgroup/rowgroup_group.h"

struct chunk {
    struct group *group;
    uint32_t section, first_row, rows;
    struct stream *fixed[COLUMN_FIXED_COUNT]; /* once asked for */
    bool is_known[COLUMN_FIXED_COUNT];
    struct stream **keyed; /* [keys_count], likewise; NULL before the first seek, as `next` */
    bool *is_keyed_known;

    uint32_t at[TABLE_COUNT]; /* the place: a row, an event, a link */
    uint32_t *next;           /* [keys_count]: values of each key before the place of its table */
    uint32_t outside_row, outside_count; /* parents outside of the chunk before that row */
    struct ints outside_codes;           /* COLUMN_PARENT, read up to that row */
    struct {
        uint32_t row;
        uint64_t count;
    } children[TABLE_COUNT]; /* events and links of the rows before that row */

    uint64_t *times;     /* [rows]: start, or a record's sort time; NULL until asked for */
    uint64_t *log_times; /* [rows]: a record's time as sent */
    uint32_t *runs;      /* [rows], spans: the run of each row */
};

/* The chunk that holds a row. NULL after an error. */
struct chunk *chunk_of_row(struct group *g, uint32_t row);

/* The stream of a fixed column, NULL when there is none, and after an error. */
struct stream *chunk_stream(struct chunk *c, enum rowgroup_column column);
/* Values of a fixed column; 0 or empty, and group.error set, when it is not there. */
uint64_t chunk_int(struct chunk *c, enum rowgroup_column column, uint32_t i);
struct bytes chunk_bytes(struct chunk *c, enum rowgroup_column column, uint32_t i);

/* Below, rows are numbered within the chunk. */

/* Decode all times of the chunk. */
bool chunk_times(struct chunk *c);
struct bytes chunk_trace_id(struct chunk *c, uint32_t row);
/* The parent's span ID; empty when there is none. */
struct bytes chunk_parent_id(struct chunk *c, uint32_t row);

/* Move the place of a table. False after an error. */
bool chunk_seek(struct chunk *c, enum rowgroup_table table, uint32_t to);
/* The events or links of a row: [*first, *first + the returned count). */
uint32_t chunk_children(struct chunk *c, enum rowgroup_table table, uint32_t row, uint32_t *first);
/* The shape of the row at a table's place. NULL after an error. */
const struct shape *chunk_shape(struct chunk *c, enum rowgroup_table table);
/* A value of the row at the place: of its shape's key number `index`. Type ROWGROUP_NO_VALUE: none. */
void chunk_value(struct chunk *c, const struct shape *shape, uint32_t index, uint32_t *out_type,
                 struct otlp_value *out);

/* Append the row as a Span or LogRecord message's fields: those of the given parts, see row_parts.h. */
void chunk_write_row(struct chunk *c, uint32_t row, unsigned parts, struct buffer *out);

#endif
