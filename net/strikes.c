/* SPDX-License-Identifier: Apache-2.0 */
/* strikes.c - see strikes.h. */
#include "net/strikes.h"
#include "base/clock.h"

#define FULL ((uint64_t)STRIKES_MAX * 1000)

void strikes_init(struct strikes *s, uint64_t now_ns)
{
    *s = (struct strikes){ .milli = FULL, .at_ns = now_ns };
}

static void add(struct strikes *s, uint64_t milli)
{
    s->milli = milli >= FULL - s->milli ? FULL : s->milli + milli;
}

bool strikes_take(struct strikes *s, unsigned tokens, uint64_t now_ns)
{
    uint64_t elapsed_ms = now_ns > s->at_ns ? (now_ns - s->at_ns) / NS_PER_MS : 0;
    if (elapsed_ms > 0) {
        s->at_ns += elapsed_ms * NS_PER_MS;
        add(s, elapsed_ms > FULL ? FULL : elapsed_ms * STRIKES_PER_S);
    }
    uint64_t cost = (uint64_t)tokens * 1000;
    bool good = s->milli >= cost;
    s->milli = good ? s->milli - cost : 0;
    return good;
}

void strikes_give(struct strikes *s, unsigned tokens)
{
    add(s, (uint64_t)tokens * 1000);
}
