/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

static _Atomic bool is_fake;
static _Atomic uint64_t fake_unix_ns, fake_mono_ns;

static uint64_t read_clock(clockid_t id)
{
    struct timespec t;
    (void)clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t clock_unix_ns(void)
{
    return atomic_load(&is_fake) ? atomic_load(&fake_unix_ns) : read_clock(CLOCK_REALTIME);
}

uint64_t clock_mono_ns(void)
{
    return atomic_load(&is_fake) ? atomic_load(&fake_mono_ns) : read_clock(CLOCK_MONOTONIC);
}

uint64_t clock_boot_ns(void)
{
    return atomic_load(&is_fake) ? atomic_load(&fake_mono_ns) : read_clock(CLOCK_BOOTTIME);
}

void clock_fake_set(uint64_t unix_ns, uint64_t mono_ns)
{
    atomic_store(&fake_unix_ns, unix_ns);
    atomic_store(&fake_mono_ns, mono_ns);
    atomic_store(&is_fake, true);
}

void clock_fake_advance(uint64_t ns)
{
    atomic_fetch_add(&fake_unix_ns, ns);
    atomic_fetch_add(&fake_mono_ns, ns);
}

void clock_fake_off(void)
{
    atomic_store(&is_fake, false);
}
