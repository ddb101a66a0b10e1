/* SPDX-License-Identifier: Apache-2.0 */
/* ledger.h - for tests: batches that can be made again from their number, and what became of each.
 *
 * Role       a batch's bytes follow from a seed and its number, so a process that was killed needs to tell
 *            only which numbers were acknowledged, and another can check the store against them: every
 *            acknowledged item there, once and unchanged; nothing that was never sent.
 * Threads    one at a time; completions are waited for. */
#ifndef SPINDLE_STORAGE_TESTING_LEDGER_H
#define SPINDLE_STORAGE_TESTING_LEDGER_H

#include "storage/engine.h"

enum ledger_outcome {
    LEDGER_UNSENT,
    LEDGER_UNKNOWN, /* sent, no answer seen, or refused: may be there, at most once */
    LEDGER_ACKED
};

struct ledger {
    uint64_t seed;
    size_t capacity;
    enum ledger_outcome *outcomes; /* [capacity], by batch number */
    int ack_fd;    /* where each acknowledged batch's number goes, 8 bytes, at once; -1: nowhere */
    bool is_quiet; /* false: print what is wrong */
    const char *wrong; /* the first thing found wrong; NULL: nothing */
    uint64_t items_checked;
};

void ledger_init(struct ledger *l, uint64_t seed, size_t capacity);
void ledger_deinit(struct ledger *l);

enum signal ledger_signal(const struct ledger *l, size_t number);
/* The batch's body, appended to out; *out_items: how many. */
void ledger_body(const struct ledger *l, size_t number, struct buffer *out, uint64_t *out_items);
/* A request of batches [first, first + count), which must be of one signal. Free with ledger_free(). */
struct append *ledger_append_make(const struct ledger *l, size_t first, size_t count);
void ledger_append_free(struct append *a);

/* Hand over, wait for the completion. */
enum err ledger_send(struct engine *e, struct append *a);
/* Several at a time, so that they share groups: results[i] for each. */
void ledger_send_many(struct engine *e, struct append **appends, size_t count, enum err *results);
/* Spans in all that the engine's lists of operations say it has. */
uint64_t ledger_operations_spans(struct engine *e);
/* Send batch `number` and note the outcome. */
enum err ledger_batch(struct ledger *l, struct engine *e, size_t number);

/* Ask the engine for everything. True when all is as it must be; else l->wrong says what is not. */
bool ledger_check(struct ledger *l, struct engine *e);

#endif
