/* SPDX-License-Identifier: Apache-2.0 */
/* turns.h - calls that wait, taken in fair turns: each address in its turn, of an address each
 * connection in its turn, of a connection the oldest first. So who asks much waits for himself.
 *
 * Ownership  a pushed call belongs to whoever pops it. Nothing is allocated.
 * Threads    one at a time: the lock is the user's. */
#ifndef SPINDLE_QUERY_TURNS_H
#define SPINDLE_QUERY_TURNS_H

#include "query/call.h"

struct turns {
    struct call *first, *last; /* in the order of arrival; few, so looking at each is cheap */
    unsigned count;
    uint64_t now; /* how many calls were taken */
};

void turns_init(struct turns *t); /* empty; allocates nothing */
/* While its connection lasts. An address or connection that has nothing waiting joins behind those that have. */
void turns_push(struct turns *t, struct call *c);
/* NULL when none waits. */
struct call *turns_pop(struct turns *t);

#endif
