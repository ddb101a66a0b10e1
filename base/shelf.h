/* SPDX-License-Identifier: Apache-2.0 */
/* shelf.h - small blocks that stay for long, or come and go by the thousand, apart from the heap.
 *
 * Role       what stays lies scattered on the heap between what came and went at its time, and each block keeps a page
 *            or two of holes resident: 2 MiB of running totals kept 9. And what goes leaves such holes. Here blocks
 *            of nearly one size lie together, and a shelf on which none is left goes back, all but one of a size at once.
 * Bound      a block takes 16 bytes more than it asked for, rounded up by a sixteenth at most; a size in use has at most
 *            one shelf of which a part was never used.
 * Threads    any; a lock of a few lines.
 * Errors     NULL when out of memory. */
#ifndef SPINDLE_BASE_SHELF_H
#define SPINDLE_BASE_SHELF_H

#include <stddef.h>

#define SHELF_BLOCK_MAX (((size_t)16 << 10) - 16) /* what is larger is the heap's */

/* Aligned for any type; zeroed or not. */
void *shelf_alloc(size_t size);
void *shelf_zalloc(size_t size);
void shelf_free(void *block); /* NULL does nothing */
/* Empty shelves go back: part of mem_trim(). */
void shelf_trim(void);

#endif
