/* SPDX-License-Identifier: Apache-2.0 */
/* clock.h - the clocks, replaceable by tests.
 *
 * Role       wall time for what is stored and shown, monotonic time for every timeout.
 * Threads    any. clock_fake_*() are for tests, before other threads start. */
#ifndef SPINDLE_BASE_CLOCK_H
#define SPINDLE_BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

/* Nanoseconds since 1970 (may jump), and since an arbitrary moment (never goes back). */
uint64_t clock_unix_ns(void);
uint64_t clock_mono_ns(void);
/* Nanoseconds since the system started, time asleep included; never goes back. */
uint64_t clock_boot_ns(void);

/* All clocks stand still at what is set, until advanced or until the real ones are back. */
void clock_fake_set(uint64_t unix_ns, uint64_t mono_ns);
void clock_fake_advance(uint64_t ns);
void clock_fake_off(void);

#endif
