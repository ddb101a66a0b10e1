/* SPDX-License-Identifier: Apache-2.0 */
/* disk_guard.h - stop taking telemetry well before the disk is full, and start again when it is not.
 *
 *          free < 2 x min               free < min
 *     OK ─────────────────► LOW ────────────────────► CRITICAL ◄───────────┐
 *      ▲ ◄───────────────────┘        (also from OK)     │                 │ free < min
 *      │    free >= 2.25 x min              free >= 1.25 x min             │
 *      └───────────────────────── RECOVER ◄──────────────┘ ────────────────┘
 *           the ballast is back (LOW, when free < 2 x min)
 *
 * Role       LOW warns, and the oldest partitions go where retention by space is asked for; CRITICAL refuses
 *            requests as well, while queries and the builder go on; RECOVER takes requests, and first puts
 *            the ballast back: a file of no meaning, given up when nearly nothing is free, since a full disk
 *            lets SQLite neither checkpoint nor delete. It grows with what is stored. What a write that fails means is another matter: see
 *            writer_write_failed().
 * Threads    disk_state_next() is pure. The rest: maintenance. */
#ifndef SPINDLE_STORAGE_SQLITE_DISK_GUARD_H
#define SPINDLE_STORAGE_SQLITE_DISK_GUARD_H

#include "storage/engine.h"

/* What a look at the disk makes of a state.
 *   free_bytes, min_bytes  that processes like ours may still write; the least that should be left
 *   has_ballast            it is there, or none is wanted */
enum disk_state disk_state_next(enum disk_state now, uint64_t free_bytes, uint64_t min_bytes,
                                bool has_ballast);

struct sqlite_engine;

struct disk_guard {
    uint64_t min_bytes;     /* as asked for; 0: see disk_min_bytes() */
    uint64_t ballast_bytes; /* at most; 0: no ballast is wanted */
    uint64_t ballast_made;  /* how large it is */
    bool evicts;            /* partitions, when little is free */
    _Atomic(enum disk_state) state;
    _Atomic uint64_t free_bytes;
    _Atomic bool evict_is_due;
    uint64_t evicted_mono_ns; /* the last such; 0: none yet */
    bool has_ballast;
};

/* The least that should be free of a disk of this size: 256 MiB, or a sixteenth of a small one. */
uint64_t disk_min_bytes(uint64_t total_bytes);

/* Look at the disk, and act. */
void disk_guard_run(struct sqlite_engine *e);

#endif
