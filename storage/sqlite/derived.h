/* SPDX-License-Identifier: Apache-2.0 */
/* derived.h - rollups and edges in the files of the SQLite engine.
 *
 * Role       the builder counts what a row group adds (storage/derive/intake.h); the writer commits it in the
 *            transaction that retires the group's requests; queries sum it up. Rows that are many are merged
 *            into one, with hours and days beside the minutes, in such a transaction too.
 * Truth      rows are in the index exactly as long as they are in the file, and change together with the view,
 *            under the lock of the operations: a query sees a span in a row or as pending, never in both.
 * Threads    as each function says. */
#ifndef SPINDLE_STORAGE_SQLITE_DERIVED_H
#define SPINDLE_STORAGE_SQLITE_DERIVED_H

#include "storage/derive/pairing.h"
#include "storage/derive/totals.h"
#include "storage/rowgroup/rowgroup.h"
#include "storage/sqlite/derived_sums.h"
#include "storage/sqlite/reader_pool.h"

struct partition;
struct sqlite_engine;
struct retirement;

/* Where the days of a partition are, of which the catalogue has a row. */
enum derived_days {
    DERIVED_DAYS_OWN,    /* in that row */
    DERIVED_DAYS_MERGED, /* in one of `rollup_merged`, with those of others */
    DERIVED_DAYS_ABSENT  /* there is no such row, or it is damaged */
};

/* A row of the table `derived`; or all of a sealed partition, which the catalogue has too; or only the catalogue. */
struct derived_row {
    struct partition *partition; /* NULL: only in the catalogue */
    int64_t id;     /* of the row; of the partition where it is sealed, or gone and level is 0 */
    uint32_t level; /* 0: of one row group; else merged, in the catalogue of others' days; or: */
    enum derived_days days; /* of a partition that is sealed, or gone */
    bool does_not_fit;      /* into memory, to merge its days with others */
    uint64_t bytes;
    struct tally_span span;
    /* Rows are numbered as they are added, from 1 on since the start; of several that became one, the first and the
     * last. */
    uint64_t first_generation, last_generation;
    bool is_damaged; /* found so: counted, and logged */
};

/* Rows of this level that are merged into one of the next. */
#define DERIVED_MERGE_ROWS 24u
#define DERIVED_LEVELS_MAX 6u
/* All rows of a sealed partition, whose hours and days the catalogue has in one. */
#define DERIVED_LEVEL_SEALED UINT32_MAX
/* Partitions' rows in the catalogue, and rows of their days, that are merged into one. */
#define DERIVED_ROLLUPS_MERGED 8u
/* But no more bytes than these, as merging must fit beside building; then so many rows will do. */
#define DERIVED_MERGE_BYTES ((uint64_t)8 << 20)
#define DERIVED_MERGE_LEAST 4u

/* The rows of paired callers in the open partition, oldest first. One is void once half_paired_max() newer callers
 * are stored; those that this list has no place for, or does not know since a start, go by age. */
#define DERIVED_PAIRS_ROWS 256u
struct derived_pairs {
    struct partition *partition; /* whose rows they are; only compared */
    int64_t ids[DERIVED_PAIRS_ROWS];
    uint32_t counts[DERIVED_PAIRS_ROWS];
    size_t rows;
    uint64_t count; /* of callers, in all rows */
};

/* The table of halves has a place for so many bytes of the engine's memory, of which it takes a seventeenth then. */
#define HALVES_SHARE 2048u
/* Rows of halves may come to so many bytes until it is looked which have none in the table any more. */
#define DERIVED_HALVES_BYTES ((uint64_t)4 << 20)

/* What a retirement adds. */
struct derived_delta {
    bool is_used; /* false: nothing to store */
    struct buffer minutes, halves, pairs;
    struct tally_span span;
    struct pairing pairing; /* lies in the intake */
    /* In the same transaction: of this partition's rows of paired callers the oldest so many are void. */
    const struct derived_pairs *pairs_before;
    size_t pairs_void;
    uint64_t halves_void; /* and of its rows of halves those before this place; 0: none */
    /* And these rows become one. */
    struct partition *merged_in; /* NULL: no merge */
    int64_t merged_ids[DERIVED_MERGE_ROWS];
    size_t merged_count;
    uint32_t merged_level; /* of the one */
    struct buffer merged_minutes, merged_hours, merged_days;
    struct tally_span merged_span;
    /* Filled when they are stored. */
    int64_t id, merged_id;
};

/* Row groups that are under way at a time: one is walked over while another is encoded and stored. */
#define DERIVED_BUILDS 2

/* What is counted of one of them. */
struct derived_build {
    struct intake intake;
    struct derived_delta delta;
};

struct derived {
    /* Guarded by the engine's operations_lock, for every reader: the writer alone changes them, and the builder
     * moves them all when it makes room. */
    struct derived_row *rows;
    size_t rows_count, rows_capacity;
    uint64_t generation; /* of the row that was added last */
    struct half_table halves;
    _Atomic uint64_t damaged;
    bool
        has_unlisted; /* rows or halves were left out at the start, so that every answer may lack some */
    struct totals totals; /* has a lock of its own */
    char *catalog_path;
    struct reader_pool catalog_readers;
    struct derived_sums sums; /* has a lock of its own */
    uint64_t sums_worth_bytes;
    /* Maintenance's: how many rows were merged last at once, and since when that is all that fit. */
    size_t rollups_fit;
    uint64_t rollups_fit_mono_ns;
    unsigned rollups_refusals;
    /* The builder's. */
    struct derived_build builds[DERIVED_BUILDS];
    struct derived_pairs pairs;
    uint64_t halves_bytes;          /* stored since rows without a half in the table were removed */
    uint64_t merge_from_generation; /* what was to be merged did not fit: not before this row */
};

/* Empty; deinit is safe twice. memory_bytes: the engine's. What counting a row group takes is charged to the
 * budget. */
NODISCARD enum err derived_init(struct derived *d, size_t memory_bytes, struct budget *background);
void derived_deinit(struct derived *d);

/* Of several rows that become one. */
static inline void derived_generations_join(struct derived_row *into, const struct derived_row *row)
{
    bool is_first = into->last_generation == UINT64_MAX; /* see derived_generations_none() */
    if (is_first || row->first_generation < into->first_generation)
        into->first_generation = row->first_generation;
    if (is_first || row->last_generation > into->last_generation)
        into->last_generation = row->last_generation;
}
static inline void derived_generations_none(struct derived_row *row)
{
    row->first_generation = row->last_generation = UINT64_MAX;
}

/* ---- Builder --------------------------------------------------------------------------------- */

/* Forget what was seen of another row group. */
void derived_build_begin(struct derived_build *b);
/* A rowgroup_spans_fn; context is the struct derived_build. */
void derived_on_spans(void *context, const struct derive_span *spans, size_t count);
/* Make r->derived of what was seen since the beginning. The row group before must be stored, or given up. */
NODISCARD enum err derived_build_end(struct sqlite_engine *e, struct derived_build *b,
                                     struct retirement *r);
/* It is stored. */
void derived_build_stored(struct sqlite_engine *e, const struct derived_build *b,
                          const struct retirement *r);
/* Nothing is built now: give its memory back. */
void derived_build_rest(struct derived *d);
/* What counting holds of the budget while nothing else is under way. */
size_t derived_build_bytes(const struct derived *d);

/* Part of derived_build_end(): when a partition has many rows of a level, make one of them that takes their
 * place when the retirement is stored. */
NODISCARD enum err derived_merge_plan(struct sqlite_engine *e, struct partition *p,
                                      struct derived_delta *delta);

/* ---- Writer ---------------------------------------------------------------------------------- */

/* Inside the transaction of partition_retire(). */
NODISCARD enum err derived_store(struct partition *p, struct derived_delta *d,
                                 uint64_t built_unix_ns);
/* After it, under the operations_lock. Cannot fail. */
void derived_publish(struct sqlite_engine *e, struct partition *p, const struct derived_delta *d);
/* Under the operations_lock: a partition is no longer shown. What the catalogue has of it takes its place. */
void derived_forget(struct sqlite_engine *e, const struct partition *p);
/* A partition was sealed: its rows are one from here on, of which the catalogue has `bytes`, about. Takes that
 * lock. */
void derived_sealed(struct sqlite_engine *e, struct partition *p, enum derived_days days,
                    uint64_t bytes);
/* Copy a partition's hours and days to the catalogue, inside the transaction in which it is sealed: so they
 * outlive the file. Doing it twice changes nothing. */
NODISCARD enum err derived_seal(struct db *catalog, struct db *partition, uint64_t partition_id,
                                uint64_t sealed_clock_ns);
/* A row of the index could not be read whole. Counted once and logged; takes the operations_lock to write. */
void derived_row_damaged(struct sqlite_engine *e, const struct derived_row *row);
/* Room in the index for one row more, beside those that a retirement has reserved. */
NODISCARD enum err derived_reserve(struct sqlite_engine *e);

/* ---- Maintenance ----------------------------------------------------------------------------- */

/* Merge rows of the catalogue where there are many, and let go of what is too old or too much. */
void derived_rollups_run(struct sqlite_engine *e);

/* ---- The opener ------------------------------------------------------------------------------ */

/* List one row of a partition, as the catalogue has it. */
NODISCARD enum err derived_row_list(struct sqlite_engine *e, const struct derived_row *row);
/* List what is stored in a partition; when all are listed, find again what waits for its other half. */
NODISCARD enum err derived_load(struct sqlite_engine *e, struct partition *p);
NODISCARD enum err derived_halves_load(struct sqlite_engine *e);
/* List what the catalogue has of partitions that are gone. */
NODISCARD enum err derived_catalog_load(struct sqlite_engine *e);
/* After both: templates of names that were learned, from what was counted last. What cannot be read is left out. */
NODISCARD enum err derived_names_load(struct sqlite_engine *e);

/* ---- Verifying ------------------------------------------------------------------------------- */

/* Read every row of a partition. *out_spans: how many spans are counted. A complaint is static text about row
 * `id`; what is damaged is not counted. Of the file itself: the errors of reading it. */
typedef void derived_complain_fn(void *context, int64_t id, const char *what);
NODISCARD enum err derived_verify(struct db *db, derived_complain_fn *complain, void *context,
                                  uint64_t *out_spans);
/* The same of the catalogue's rows; of those of a partition, `id` is its number. */
NODISCARD enum err derived_catalog_verify(struct db *catalog, derived_complain_fn *complain,
                                          void *context);

#endif
