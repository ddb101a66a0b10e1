/* SPDX-License-Identifier: Apache-2.0 */
/* timed_wait.h - conditions that are waited for until a moment of the monotonic clock, which nobody sets.
 *
 * Threads    any. */
#ifndef SPINDLE_BASE_TIMED_WAIT_H
#define SPINDLE_BASE_TIMED_WAIT_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

/* A condition for pthread_cond_timedwait() with timed_wait_until(). */
void timed_wait_init(pthread_cond_t *c);
/* The moment in so many nanoseconds, of the real clock also where tests have put another in clock.h. */
struct timespec timed_wait_until(uint64_t ns);

#endif
