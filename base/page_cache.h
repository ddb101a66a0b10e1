/* SPDX-License-Identifier: Apache-2.0 */
/* page_cache.h - mappings that were freed a moment ago, kept to be used again.
 *
 * Role       beneath mem_map(): bodies of requests take and free some hundred KiB by the thousand a second; a page
 *            fresh from the kernel costs more to touch first than to fill (docs/BENCHMARKS.md).
 * Bound      PAGE_CACHE_BYTES for the process, or less as page_cache_limit() says; what is freed beyond goes back to
 *            the kernel at once.
 * Threads    any; a lock of a few lines. */
#ifndef SPINDLE_BASE_PAGE_CACHE_H
#define SPINDLE_BASE_PAGE_CACHE_H

#include <stddef.h>

/* About what a row group's bodies hold: they are freed together, and filled again by the next ones. */
#define PAGE_CACHE_BYTES ((size_t)32 << 20)

/* Keep so much at most, and never more than PAGE_CACHE_BYTES: a small memory limit has no room for that. What is kept
 * already stays. */
void page_cache_limit(size_t bytes);

/* What a mapping of `size` bytes occupies: rounded up by an eighth at most, so that bodies of nearly equal
 * size can follow each other. 0: too large a number. */
size_t page_cache_rounded(size_t size);
/* A mapping of page_cache_rounded(size) bytes, contents undefined, or NULL. */
void *page_cache_take(size_t size);
/* The same for what will be written whole, at once: all its pages are there, for half of what it costs to have them
 * come one by one (docs/BENCHMARKS.md). */
void *page_cache_take_filled(size_t size);
/* Give such a mapping back; to the kernel where the cache is full. */
void page_cache_give(void *block, size_t size);
/* Give all that is kept to the kernel. */
void page_cache_drop(void);

#endif
