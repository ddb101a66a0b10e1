/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "cli/demo.h"

#define KEYS_MAX 100000u /* the demo's names are some hundred */

static void counts_init(struct demo_counts *c)
{
    *c = (struct demo_counts){ 0 };
    intern_init(&c->keys, KEYS_MAX);
}

static void counts_deinit(struct demo_counts *c)
{
    intern_deinit(&c->keys);
    mem_free(c->counts);
    *c = (struct demo_counts){ 0 };
}

void demo_truth_init(struct demo_truth *t)
{
    *t = (struct demo_truth){ 0 };
    counts_init(&t->spans);
    counts_init(&t->logs);
    counts_init(&t->edges);
}

void demo_truth_deinit(struct demo_truth *t)
{
    counts_deinit(&t->spans);
    counts_deinit(&t->logs);
    counts_deinit(&t->edges);
}

static enum err add_one(struct demo_counts *c, struct bytes key)
{
    uint32_t index;
    enum err e = intern_put(&c->keys, key, &index);
    if (e != ERR_OK)
        return e;
    if (index >= c->capacity) {
        uint32_t capacity = c->capacity == 0 ? 256 : c->capacity * 2;
        uint64_t *counts = mem_realloc(c->counts, capacity * sizeof *counts);
        if (counts == NULL)
            return ERR_NOMEM;
        memset(counts + c->capacity, 0, (capacity - c->capacity) * sizeof *counts);
        c->counts = counts;
        c->capacity = capacity;
    }
    c->counts[index]++;
    return ERR_OK;
}

void demo_truth_count(struct demo_truth *t, struct demo_counts *counts, const char *const *parts,
                      size_t part_count)
{
    uint8_t key[512];
    size_t at = 0;
    for (size_t i = 0; i < part_count; i++) {
        size_t len = strlen(parts[i]);
        if (at + len + 1 > sizeof key) {
            t->is_incomplete = true;
            return;
        }
        memcpy(key + at, parts[i], len);
        at += len;
        key[at++] = 0;
    }
    if (add_one(counts, bytes_of(key, at)) != ERR_OK)
        t->is_incomplete = true;
}
