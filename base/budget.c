/* SPDX-License-Identifier: Apache-2.0 */
#include "base/budget.h"

#include <assert.h>

void budget_init(struct budget *b, size_t limit_bytes, struct budget *parent)
{
    atomic_init(&b->used_bytes, 0);
    b->limit_bytes = limit_bytes;
    atomic_init(&b->has_refused, false);
    b->parent = parent;
}

bool budget_reserve(struct budget *b, size_t bytes)
{
    size_t used = atomic_load_explicit(&b->used_bytes, memory_order_relaxed);
    do {
        if (bytes > b->limit_bytes || used > b->limit_bytes - bytes) {
            atomic_store_explicit(&b->has_refused, true, memory_order_relaxed);
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&b->used_bytes, &used, used + bytes,
                                                    memory_order_relaxed, memory_order_relaxed));
    if (b->parent != NULL && !budget_reserve(b->parent, bytes)) {
        atomic_fetch_sub_explicit(&b->used_bytes, bytes, memory_order_relaxed);
        return false;
    }
    return true;
}

void budget_release(struct budget *b, size_t bytes)
{
    for (; b != NULL; b = b->parent) {
        size_t before = atomic_fetch_sub_explicit(&b->used_bytes, bytes, memory_order_relaxed);
        assert(before >= bytes);
        (void)before;
    }
}

size_t budget_used(const struct budget *b)
{
    return atomic_load_explicit(&b->used_bytes, memory_order_relaxed);
}
