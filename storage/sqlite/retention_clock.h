/* SPDX-License-Identifier: Apache-2.0 */
/* retention_clock.h - the time by which partitions grow old.
 *
 * Role       advances by time that has passed, and by nothing else: setting the wall clock, by a year or
 *            by mistake, makes nothing old. It began at the wall clock's time, once. What passes while no
 *            server runs counts if the system was not started anew meanwhile; else it cannot be known,
 *            and things are kept for longer.
 * Threads    loaded by the opener; now() from any; stored by the writer.
 * Source     docs/FORMAT.md, setting `retention_clock`. */
#ifndef SPINDLE_STORAGE_SQLITE_RETENTION_CLOCK_H
#define SPINDLE_STORAGE_SQLITE_RETENTION_CLOCK_H

#include "storage/sqlite/catalog.h"

struct retention_clock {
    uint64_t start_ns,
        start_boot_ns; /* what it said, and what the system's did, when it was loaded */
    uint64_t boot_id;  /* hash of the system's; 0: unknown */
};

/* Go on from what the catalogue has, or begin. Nothing is written. */
NODISCARD enum err retention_clock_load(struct retention_clock *c, struct catalog *catalog);
/* Nanoseconds; never goes back. */
uint64_t retention_clock_now(const struct retention_clock *c);
/* Remember what it says. Errors: db.h's. */
NODISCARD enum err retention_clock_store(const struct retention_clock *c, struct catalog *catalog);

#endif
