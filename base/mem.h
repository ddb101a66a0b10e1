/* SPDX-License-Identifier: Apache-2.0 */
/* mem.h - the one door to the heap, so that tests can make any allocation fail.
 *
 * Role       our own code and the libraries that accept an allocator (SQLite, libuv, nghttp2, OpenSSL,
 *            zlib, zstd, protobuf-c) all allocate through here.
 * Threads    all calls from any thread.
 * Errors     NULL when out of memory; a size of 0 gives a block that may be freed. */
#ifndef SPINDLE_BASE_MEM_H
#define SPINDLE_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>

/* A block, zeroed or not. */
void *mem_alloc(size_t size);
void *mem_zalloc(size_t size);
/* NULL also when count * size does not fit a size_t. Zeroed. */
void *mem_alloc_array(size_t count, size_t size);
/* As realloc: on failure the old block stays valid. */
void *mem_realloc(void *block, size_t size);
void mem_free(void *block);
/* A NUL-terminated copy of text[0..len). */
char *mem_text(const void *text, size_t len);

/* Whole pages, contents undefined, past the heap: for large things that live for a moment, between which the
 * heap would keep holes. When freed they go back to the kernel, but for what base/page_cache.h keeps. `size`
 * is what was asked for. */
void *mem_map(size_t size);
/* The same for what will be written whole, at once. */
void *mem_map_filled(size_t size);
/* As mem_realloc(). */
void *mem_map_resize(void *block, size_t size, size_t new_size);
void mem_unmap(void *block, size_t size);
/* What is in such a block is forgotten, and its pages go back to the kernel until they are written again. */
void mem_map_rest(void *block, size_t size);
/* Give pages in which nothing is left, the heap's and the kept ones, back to the system: after a burst. Takes milliseconds; the
 * heap keeps them otherwise for as long as anything younger lies behind them. */
void mem_trim(void);

/* Fault seam; in builds without SPINDLE_FAULTS these do nothing and return 0 or false.
 * fault_alloc_fail_at(n): the (n+1)th allocation from now on, in any thread, fails once; sticky:
 * and all after it. fault_alloc_off() ends it. fault_fired(): whether one has failed since it was
 * set. */
void fault_alloc_fail_at(unsigned long n, bool sticky);
void fault_alloc_off(void);
bool fault_fired(void);
/* For who gives blocks out of larger ones: whether this one is to fail, and that one was given (1) or freed (-1). */
bool fault_refuses(void);
void fault_count(long change);
/* Blocks alive now. Compare with the count before a scenario: a difference is a leak. */
long fault_live_blocks(void);

#endif
