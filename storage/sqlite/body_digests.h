/* SPDX-License-Identifier: Apache-2.0 */
/* body_digests.h - digests of the bodies that wait for their row group, made as they come while somebody asks.
 *
 * Role       a search for what is rare looks through every body that has no digest, and making one costs three times as
 *            much: of the 32,768 spans that may wait that is 10 ms, which no question should pay. A thread of its own makes
 *            them, and only until KEPT after the last question that a digest answers; before the first it sleeps.
 * Threads    body_digests_asked() any; the others whoever opens and closes the engine.
 * Blocking   body_digests_asked() never; body_digests_stop() waits for the body at hand. */
#ifndef SPINDLE_STORAGE_SQLITE_BODY_DIGESTS_H
#define SPINDLE_STORAGE_SQLITE_BODY_DIGESTS_H

#include "storage/sqlite/view.h"

struct body_digests {
    struct view *view;
    uint64_t
        items_behind; /* with more than so many pending the builder is behind: little is done here */
    pthread_t thread;
    bool is_started;
    pthread_mutex_t lock; /* of the waiting alone */
    pthread_cond_t changed;
    _Atomic bool is_stopping, is_asleep;
    _Atomic uint64_t asked_mono_ns; /* 0: never */
};

/* The view is borrowed. */
void body_digests_init(struct body_digests *b, struct view *view, uint64_t items_behind);
NODISCARD enum err body_digests_start(struct body_digests *b); /* ERR_NOMEM */
void body_digests_stop(struct body_digests *b);
void body_digests_deinit(struct body_digests *b);
/* A question asks bodies for values. */
void body_digests_asked(struct body_digests *b);

#endif
