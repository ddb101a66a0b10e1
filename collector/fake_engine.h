/* SPDX-License-Identifier: Apache-2.0 */
/* fake_engine.h - for tests: an engine that keeps a copy of what it was given, and answers as told.
 *
 * Role       completions come from a thread of its own, as the real one's do.
 * Threads    fake_engine_plan() and the getters from the test's thread, between requests. */
#ifndef SPINDLE_COLLECTOR_FAKE_ENGINE_H
#define SPINDLE_COLLECTOR_FAKE_ENGINE_H

#include "storage/engine.h"

struct fake_engine;

/* A copy of what one append brought. */
struct fake_append {
    enum signal signal;
    struct bytes body, journal;
    enum codec journal_codec;
    uint64_t items;
    struct hash128 request_hash;
    uint64_t arrival_unix_ns, start_min_unix_ns, start_max_unix_ns;
};

/* Never NULL; engine_close() of its engine closes it. */
struct fake_engine *fake_engine_open(void);
/* What the collector is given. */
struct engine *fake_engine_engine(struct fake_engine *f);
/* The next `busy` appends are answered ERR_BUSY before the call returns, the `busy_later` after
 * them ERR_BUSY from the thread, all others `then`. Forgets what was kept. */
void fake_engine_plan(struct fake_engine *f, unsigned busy, unsigned busy_later, enum err then);
/* Say of each append that it was resent. */
void fake_engine_resend(struct fake_engine *f, bool is_resent);
void fake_engine_writable(struct fake_engine *f, bool is_writable);
void fake_engine_rollups_damaged(struct fake_engine *f, uint64_t count);
/* What it has counted; borrowed. */
void fake_engine_totals(struct fake_engine *f, const struct derived_totals *totals);
/* Appends tried and appends kept (answered ERR_OK). */
unsigned fake_engine_tried(struct fake_engine *f);
size_t fake_engine_kept(struct fake_engine *f);
const struct fake_append *fake_engine_at(struct fake_engine *f, size_t index);

#endif
