/* SPDX-License-Identifier: Apache-2.0 */
/* memory_plan.h - how much memory there is to plan with, and who gets which share.
 *
 * Role       memory is bounded by configuration, not by what is sent: bytes are reserved out of
 *            these shares before they are used.
 * Blocking   memory_available() reads a few small files of /proc and /sys. */
#ifndef SPINDLE_COLLECTOR_MEMORY_PLAN_H
#define SPINDLE_COLLECTOR_MEMORY_PLAN_H

#include <stddef.h>
#include <stdint.h>

/* Without being told, no more than this is planned with: it holds what a team on one machine sends. */
#define MEMORY_LIMIT_DEFAULT_MAX ((uint64_t)512 << 20)
#define MEMORY_LIMIT_MIN         ((uint64_t)32 << 20) /* below it the shares no longer do their work */

struct memory_plan {
    uint64_t limit_bytes;
    size_t requests_bytes;    /* 25 %: of requests in flight, all together */
    size_t request_bytes_max; /* of one request, decoded: an eighth, at most 64 MiB */
    size_t queries_bytes;     /* 20 %: of queries under way */
    size_t
        storage_bytes; /* 25 %: pending bodies, builders, caches; half as much besides for merges */
    size_t
        kept_bytes; /* a sixteenth: freed mappings that wait to be used again (base/page_cache.h) */
                    /* the rest: connections, threads, the allocator's slack */
};

/* The smallest of physical memory and the limits of this process' control groups, version 2 or 1.
 * root: "" ; tests give a directory in which proc/ and sys/ are looked for. */
uint64_t memory_available(const char *root);

/* Half of what is available, at most MEMORY_LIMIT_DEFAULT_MAX: a guest on the machine, not its owner. */
uint64_t memory_limit_default(uint64_t available_bytes);

/* The shares of a limit of at least MEMORY_LIMIT_MIN. */
void memory_plan_make(uint64_t limit_bytes, struct memory_plan *out);

#endif
