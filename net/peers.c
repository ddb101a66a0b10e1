/* SPDX-License-Identifier: Apache-2.0 */
/* peers.c - see peers.h. Open addressing at a load of one half; deletion shifts back, so there are
 * no tombstones for a stranger to pile up. The seed keeps him from choosing colliding addresses. */
#include "net/peers.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/random.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

struct slot {
    uint8_t b[16];
    unsigned count; /* 0: empty */
};

struct peers {
    pthread_mutex_t lock; /* guards slots, used */
    struct slot *slots;
    size_t mask, used;
    uint64_t seed;
};

enum err peers_open(unsigned connections_max, struct peers **out)
{
    struct peers *p = mem_zalloc(sizeof *p);
    if (p == NULL)
        return ERR_NOMEM;
    size_t slots = 64;
    while (slots < 2 * (size_t)connections_max)
        slots *= 2;
    p->mask = slots - 1;
    p->slots = mem_alloc_array(slots, sizeof *p->slots);
    if (p->slots == NULL || random_system(&p->seed, sizeof p->seed) != ERR_OK) {
        mem_free(p->slots);
        mem_free(p);
        return ERR_NOMEM;
    }
    pthread_mutex_init(&p->lock, NULL);
    *out = p;
    return ERR_OK;
}

void peers_close(struct peers *p)
{
    if (p == NULL)
        return;
    pthread_mutex_destroy(&p->lock);
    mem_free(p->slots);
    mem_free(p);
}

static size_t home(const struct peers *p, const uint8_t b[16])
{
    return (size_t)hash_bytes_seeded(bytes_of(b, 16), p->seed) & p->mask;
}

/* The slot of this address, or the empty one where it would be. */
static size_t find(const struct peers *p, const uint8_t b[16])
{
    size_t i = home(p, b);
    while (p->slots[i].count > 0 && memcmp(p->slots[i].b, b, 16) != 0)
        i = (i + 1) & p->mask;
    return i;
}

bool peers_enter(struct peers *p, const struct peer_address *address, unsigned max)
{
    pthread_mutex_lock(&p->lock);
    struct slot *slot = &p->slots[find(p, address->b)];
    bool good = slot->count < max && (slot->count > 0 || p->used < (p->mask + 1) / 2);
    if (good) {
        if (slot->count == 0) {
            memcpy(slot->b, address->b, 16);
            p->used++;
        }
        slot->count++;
    }
    pthread_mutex_unlock(&p->lock);
    return good;
}

static void remove_slot(struct peers *p, size_t hole)
{
    p->used--;
    for (size_t i = (hole + 1) & p->mask; p->slots[i].count > 0; i = (i + 1) & p->mask) {
        /* An entry may move into the hole unless its home lies behind the hole. */
        if (((i - home(p, p->slots[i].b)) & p->mask) >= ((i - hole) & p->mask)) {
            p->slots[hole] = p->slots[i];
            hole = i;
        }
    }
    p->slots[hole] = (struct slot){ 0 };
}

void peers_leave(struct peers *p, const struct peer_address *address)
{
    pthread_mutex_lock(&p->lock);
    size_t at = find(p, address->b);
    assert(p->slots[at].count > 0);
    if (--p->slots[at].count == 0)
        remove_slot(p, at);
    pthread_mutex_unlock(&p->lock);
}
