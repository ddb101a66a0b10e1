/* SPDX-License-Identifier: Apache-2.0 */
#include "query/turns.h"

#include "base/hash.h"

void turns_init(struct turns *t)
{
    *t = (struct turns){ 0 };
}

/* Hashes, as the peer's text ends with its connection while its calls may still wait; two of one
 * hash share a turn. "127.0.0.1:51234" without its port is the address. */
static void note_peer(struct call *c)
{
    struct bytes peer = c->request->peer;
    size_t len = peer.len;
    while (len > 0 && peer.data[len - 1] != ':')
        len--;
    c->address_hash = hash_bytes(bytes_slice(peer, 0, len));
    c->peer_hash = hash_bytes(peer);
}

void turns_push(struct turns *t, struct call *c)
{
    c->address_turn = t->now;
    c->peer_turn = t->now;
    note_peer(c);
    for (const struct call *w = t->first; w != NULL; w = w->next) {
        if (w->address_hash == c->address_hash)
            c->address_turn = w->address_turn;
        if (w->peer_hash == c->peer_hash)
            c->peer_turn = w->peer_turn;
    }
    c->next = NULL;
    if (t->last == NULL)
        t->first = c;
    else
        t->last->next = c;
    t->last = c;
    t->count++;
}

static bool comes_before(const struct call *a, const struct call *b)
{
    if (a->address_turn != b->address_turn)
        return a->address_turn < b->address_turn;
    return a->peer_turn < b->peer_turn;
}

struct call *turns_pop(struct turns *t)
{
    struct call *taken = t->first, *before = NULL;
    if (taken == NULL)
        return NULL;
    for (struct call *w = t->first; w->next != NULL; w = w->next) {
        if (comes_before(w->next, taken)) {
            taken = w->next;
            before = w;
        }
    }
    if (before == NULL)
        t->first = taken->next;
    else
        before->next = taken->next;
    if (t->last == taken)
        t->last = before;
    t->count--;
    t->now++;
    for (struct call *w = t->first; w != NULL; w = w->next) {
        if (w->address_hash == taken->address_hash)
            w->address_turn = t->now;
        if (w->peer_hash == taken->peer_hash)
            w->peer_turn = t->now;
    }
    taken->next = NULL;
    return taken;
}
