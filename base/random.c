/* SPDX-License-Identifier: Apache-2.0 */
#include "base/random.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <sys/random.h>

uint64_t random_mix64(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

void random_init(struct random *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        r->state[i] = random_mix64(seed);
        seed += UINT64_C(0x9e3779b97f4a7c15);
    }
}

static uint64_t rotl(uint64_t x, int by)
{
    return (x << by) | (x >> (64 - by));
}

uint64_t random_next(struct random *r)
{
    uint64_t *s = r->state;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t random_below(struct random *r, uint64_t bound)
{
    assert(bound > 0);
    return (uint64_t)(((unsigned __int128)random_next(r) * bound) >> 64);
}

double random_unit(struct random *r)
{
    return (double)(random_next(r) >> 11) * 0x1.0p-53;
}

double random_exponential(struct random *r, double mean)
{
    return -mean * log(1.0 - random_unit(r));
}

double random_normal(struct random *r)
{
    double radius = sqrt(-2.0 * log(1.0 - random_unit(r)));
    return radius * cos(6.283185307179586476925 * random_unit(r));
}

enum err random_system(void *out, size_t len)
{
    unsigned char *at = out;
    while (len > 0) {
        ssize_t got = getrandom(at, len, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return ERR_IO;
        at += got;
        len -= (size_t)got;
    }
    return ERR_OK;
}
