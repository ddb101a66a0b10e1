/* SPDX-License-Identifier: Apache-2.0 */
/* pairing.h - halves find each other: among the spans of one row group, and with those that wait.
 *
 * Role       completes the edges that an intake has halves of, whatever the order in which they came. A caller has
 *            as many calls as server spans name it; a call has both durations. Halves that wait
 *            HALF_LIFETIME_NS are counted as what they are alone.
 * Ownership  what is put out lies in the intake's arena, until it is reset.
 * Threads    the intake's; the table is only read.
 * Errors     the intake's. */
#ifndef SPINDLE_STORAGE_DERIVE_PAIRING_H
#define SPINDLE_STORAGE_DERIVE_PAIRING_H

#include "storage/derive/intake.h"

struct pairing {
    struct half_changes changes;
    uint64_t steps; /* halves looked at: what tests bound */
    uint8_t *marks; /* [table->used]: entries that no longer wait */
    uint32_t
        *node_numbers; /* [table->nodes.count]: those of the intake; HALF_NONE: not asked yet */
};

/* Count all calls that are complete. now_unix_ns: when the row group is built; 0, for an intake without spans, leaves the
 * old ones waiting. */
NODISCARD enum err pairing_run(struct intake *in, const struct half_table *table,
                               uint64_t now_unix_ns, struct pairing *out);
/* After that: count as alone what still waits in the table and arrived at or before a moment. */
NODISCARD enum err pairing_count_waiting(struct intake *in, const struct half_table *table,
                                         struct pairing *p, uint64_t arrived_unix_ns);

#endif
