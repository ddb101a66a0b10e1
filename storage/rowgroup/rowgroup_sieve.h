/* SPDX-License-Identifier: Apache-2.0 */
/* rowgroup_sieve.h - tests of one column each, which most rows that do not match fail.
 *
 * Role       a filter's parts that must hold are decided once for each value that a column can have: a number of a context, a
 *            shape or a dictionary's entry, a kind, a status, or a bound of durations. A row is then a byte or a few bits to
 *            look up, and the parts are evaluated for those rows alone that pass all tests. What passes may still not match;
 *            what does not cannot.
 * Private    to storage/rowgroup. */
#ifndef SPINDLE_STORAGE_ROWGROUP_SIEVE_H
#define SPINDLE_STORAGE_ROWGROUP_SIEVE_H

#include "storage/expr.h"
#include "storage/rowgroup/rowgroup_rows.h"

struct sieve_test {
    enum rowgroup_column column;
    bool of_entries; /* values are numbers of the column's dictionary, where a chunk has them */
    bool is_strict;  /* values from `count` on are damage */
    bool above;      /* else: whether they pass */
    const bool *verdicts; /* [count], of the values below */
    uint32_t count;
    uint64_t least; /* count 0: values below it fail */
};

#define SIEVE_TESTS_MAX 8
struct sieve {
    struct sieve_test tests[SIEVE_TESTS_MAX];
    size_t count;
    uint8_t *rows; /* [chunk_rows], scratch */
};

/* In the group's memory for rows, as all below. False after an error. */
bool sieve_init(struct sieve *s, struct group *g);
/* Numbers of the column for which verdicts (borrowed) says no; from `count` on they are damage. */
void sieve_add(struct sieve *s, enum rowgroup_column column, const bool *verdicts, uint32_t count);
/* A part that must hold, as far as a column decides it. */
void sieve_add_part(struct sieve *s, struct group *g, const struct expr *part);

/* False when the row fails, and after an error. */
bool sieve_passes(const struct sieve *s, struct chunk *c, uint32_t row);
/* Which rows of the chunk pass: 1 for each that does. NULL when none does, and after an error. */
const uint8_t *sieve_chunk(const struct sieve *s, struct chunk *c);

#endif
