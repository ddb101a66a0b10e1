/* SPDX-License-Identifier: Apache-2.0 */
/* arena.h - memory of one request or one query, freed all at once.
 *
 * Role       allocations are bumped off blocks; nothing is freed singly. The arena has a limit in bytes
 *            and may charge a budget shared with others, block by block.
 * Ownership  the struct is the owner and may be moved by assignment (zero the source afterwards): handing
 *            a request over is handing over its arena.
 * Threads    one at a time.
 * Errors     NULL or ERR_NOMEM when the heap, the limit or the budget says no; arena_failure() tells which. */
#ifndef SPINDLE_BASE_ARENA_H
#define SPINDLE_BASE_ARENA_H

#include "base/bytes.h"
#include "base/err.h"

struct budget;
struct arena_block;

struct arena {
    struct arena_block *blocks; /* newest first */
    size_t held_bytes;          /* sum of the blocks' sizes: what is charged to the budget */
    size_t limit_bytes;
    struct budget *budget; /* may be NULL; must outlive the arena */
    size_t keep_bytes;     /* 0, or of large blocks so much stays for reuse after arena_reset() */
    struct arena_block *spare; /* these */
    size_t spare_bytes;
    enum err failure; /* why the last failed allocation failed, or ERR_OK */
};

/* An empty arena; budget may be NULL. */
void arena_init(struct arena *a, size_t limit_bytes, struct budget *budget);
/* Frees everything; safe on a zeroed arena, and twice. */
void arena_deinit(struct arena *a);
/* Forget what was allocated but keep one block for reuse, and what keep_bytes says: for who fills an arena again and
 * again, as memory from the kernel costs more than what is done with it. What is kept stays held. */
void arena_reset(struct arena *a);

/* Aligned to 16 bytes, not zeroed. */
void *arena_alloc(struct arena *a, size_t size);
/* Zeroed; NULL also when count * size does not fit. */
void *arena_alloc_array(struct arena *a, size_t count, size_t size);
/* Without alignment, for bytes. */
uint8_t *arena_alloc_bytes(struct arena *a, size_t size);
/* The same bytes with room for new_size >= old_size, moved where needed; as realloc() for what is
 * large. data may be NULL with old_size 0. On failure NULL, and the old bytes stay valid. */
uint8_t *arena_grow(struct arena *a, uint8_t *data, size_t old_size, size_t new_size);
/* A copy; *out untouched on failure. Returns arena_failure(). */
NODISCARD enum err arena_dup(struct arena *a, struct bytes from, struct bytes *out);
/* A NUL-terminated copy, or NULL. */
char *arena_text(struct arena *a, struct bytes from);
/* ERR_NOMEM (heap), ERR_TOO_LARGE (this arena's limit) or ERR_BUDGET (shared budget). */
enum err arena_failure(const struct arena *a);

#endif
