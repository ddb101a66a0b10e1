/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crash_point.h"

#if SPINDLE_FAULTS

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void crash_point_pass(const char *name)
{
    static _Atomic long passed;
    const char *wanted = getenv("SPINDLE_CRASH_AT");
    if (wanted == NULL)
        return;
    const char *colon = strchr(wanted, ':');
    size_t len = colon == NULL ? strlen(wanted) : (size_t)(colon - wanted);
    if (strlen(name) != len || memcmp(name, wanted, len) != 0)
        return;
    long at = colon == NULL ? 1 : strtol(colon + 1, NULL, 10);
    if (atomic_fetch_add(&passed, 1) + 1 == at)
        (void)kill(getpid(), SIGKILL);
}

#else

/* A translation unit must not be empty. */
extern int crash_point_is_off;
int crash_point_is_off = 1;

#endif
