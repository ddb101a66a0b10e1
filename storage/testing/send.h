/* SPDX-License-Identifier: Apache-2.0 */
/* send.h - for tests: hand requests to an engine and wait for what becomes of them.
 *
 * Threads    callers wait; an engine completes on its own thread. */
#ifndef SPINDLE_STORAGE_TESTING_SEND_H
#define SPINDLE_STORAGE_TESTING_SEND_H

#include "storage/engine.h"

/* A checked, canonical body as a request of its own; `request` tells it from others. */
enum err send_body(struct engine *e, enum signal signal, struct bytes body, uint64_t items,
                   struct hash128 request);
/* A request of so many spans: callers of whom no callee comes, and no two alike of requests with other numbers. */
enum err send_lone_callers(struct engine *e, uint64_t number, uint64_t count);

#endif
