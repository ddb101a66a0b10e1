/* SPDX-License-Identifier: Apache-2.0 */
/* budget.h - a shared bound in bytes, reserved before memory is used.
 *
 * Threads    any; a reservation is one atomic addition. */
#ifndef SPINDLE_BASE_BUDGET_H
#define SPINDLE_BASE_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct budget {
    _Atomic size_t used_bytes;
    size_t limit_bytes;
    _Atomic bool has_refused; /* this limit, not a parent's, has said no */
    struct budget *parent;    /* NULL, or a wider budget that is charged as well */
};

/* parent may be NULL. */
void budget_init(struct budget *b, size_t limit_bytes, struct budget *parent);
/* False, and nothing reserved, when it would go over this limit or a parent's. */
bool budget_reserve(struct budget *b, size_t bytes);
void budget_release(struct budget *b, size_t bytes);
size_t budget_used(const struct budget *b);

#endif
