/* SPDX-License-Identifier: Apache-2.0 */
/* cursor.h - where a page ended, as the opaque text that asks for the next.
 *
 * Role       carries the engine's place, the range that was searched (so that "now-15m" means the
 * same on every page) and a hash of the question (so that a cursor serves only its own). Threads
 * pure. */
#ifndef SPINDLE_QUERY_CURSOR_H
#define SPINDLE_QUERY_CURSOR_H

#include "storage/engine.h"

struct page {
    struct find_cursor after;
    struct time_range range;
    uint64_t question; /* hash of what was asked */
};

/* Append base64url text without padding. */
void cursor_write(const struct page *page, struct buffer *out);
/* False when it is not such text. */
NODISCARD bool cursor_read(struct bytes text, struct page *out);

#endif
