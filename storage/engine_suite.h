/* SPDX-License-Identifier: Apache-2.0 */
/* engine_suite.h - what any engine must pass: random operations against a plain list in memory.
 *
 * Role       appends, resends, the same items in other requests, every kind of query, settling, closing
 *            and opening again, in an order drawn from a seed; every answer is compared with what the
 *            list says.
 * Threads    one; completions are waited for. */
#ifndef SPINDLE_STORAGE_ENGINE_SUITE_H
#define SPINDLE_STORAGE_ENGINE_SUITE_H

#include "storage/engine.h"

struct engine_suite {
    void *context;
    /* Open the store as the last close left it; the first time it must be empty. */
    enum err (*open)(void *context, struct engine **out);
    uint64_t seed;
    unsigned steps;
};

/* True when every answer was right; what was not is printed with the seed and the step. */
bool engine_suite_run(const struct engine_suite *suite);

#endif
