/* SPDX-License-Identifier: Apache-2.0 */
/* first_seen.h - services, numbered in the order in which somebody first looked at them.
 *
 * Role       pages choose a service's colour by its number: the first services all differ, and each keeps
 *            its own across restarts, for everybody.
 * Bound      FIRST_SEEN_MAX names of at most FIRST_SEEN_NAME_BYTES; later ones have no number.
 * Threads    number() from any; load() is the opener's, store() the writer's.
 * Source     docs/FORMAT.md, setting `services_seen`. */
#ifndef SPINDLE_STORAGE_SQLITE_FIRST_SEEN_H
#define SPINDLE_STORAGE_SQLITE_FIRST_SEEN_H

#include "base/intern.h"
#include "storage/sqlite/catalog.h"

#include <pthread.h>

#define FIRST_SEEN_MAX        1024u /* far more than anyone tells apart */
#define FIRST_SEEN_NAME_BYTES 128u

struct first_seen {
    pthread_mutex_t lock; /* guards all below */
    struct intern names;
    uint32_t stored; /* of them in the catalogue */
};

/* An empty one. */
void first_seen_init(struct first_seen *f);
/* Free it; once. */
void first_seen_deinit(struct first_seen *f);
/* Go on from what the catalogue has. A setting that makes no sense is as none: it is written anew. */
NODISCARD enum err first_seen_load(struct first_seen *f, struct catalog *catalog);
/* The number of a service, given to it now when it has none; false when it cannot have one. */
bool first_seen_number(struct first_seen *f, struct bytes service, uint32_t *out);
/* Whether there are numbers that the catalogue lacks. */
bool first_seen_is_changed(struct first_seen *f);
/* Write them. Errors: ERR_NOMEM, db.h's. */
NODISCARD enum err first_seen_store(struct first_seen *f, struct catalog *catalog);

#endif
