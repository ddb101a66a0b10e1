/* SPDX-License-Identifier: Apache-2.0 */
/* clock.h - the two clocks, replaceable by tests.
 *
 * Role       wall time for what is stored and shown, monotonic time for every timeout.
 * Threads    any. clock_fake_*() are for tests, before other threads start. */
#ifndef SPINDLE_BASE_CLOCK_H
#define SPINDLE_BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

uint64_t clock_unix_ns(void);
uint64_t clock_mono_ns(void);

void clock_fake_set(uint64_t unix_ns, uint64_t mono_ns);
void clock_fake_advance(uint64_t ns);
void clock_fake_off(void);

#endif
