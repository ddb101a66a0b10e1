/* SPDX-License-Identifier: Apache-2.0 */
#include "base/timed_wait.h"

#include "base/clock.h"

void timed_wait_init(pthread_cond_t *c)
{
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(c, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
}

struct timespec timed_wait_until(uint64_t ns)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t part = (uint64_t)now.tv_nsec + ns % NS_PER_S;
    return (struct timespec){ .tv_sec = now.tv_sec + (time_t)(ns / NS_PER_S + part / NS_PER_S),
                              .tv_nsec = (long)(part % NS_PER_S) };
}
