/* SPDX-License-Identifier: Apache-2.0 */
/* random.h - xoshiro256** for workloads and tests, the kernel's randomness for keys and IDs.
 *
 * Source     D. Blackman, S. Vigna, "Scrambled linear pseudorandom number generators"; seeded by four
 *            steps of splitmix64, as PERFORMANCE's workloads are defined.
 * Threads    a struct random belongs to one thread. */
#ifndef SPINDLE_BASE_RANDOM_H
#define SPINDLE_BASE_RANDOM_H

#include "base/err.h"

#include <stdint.h>

struct random {
    uint64_t state[4];
};

/* Equal seeds give equal sequences. */
void random_init(struct random *r, uint64_t seed);
/* 64 random bits; then bounded, real and distributed ones. */
uint64_t random_next(struct random *r);
uint64_t random_below(struct random *r,
                      uint64_t bound); /* 0..bound-1 by multiply-shift; bound > 0 */
double random_unit(struct random *r);  /* top 53 bits: [0, 1) */
double random_exponential(struct random *r, double mean); /* -mean * ln(1 - u) */
double random_normal(struct random *r);                   /* Box-Muller, one value a call */

/* One step of splitmix64's output function: a hash of a 64-bit number. */
uint64_t random_mix64(uint64_t x);

/* Bytes from getrandom(2). ERR_IO only if the kernel has none. */
NODISCARD enum err random_system(void *out, size_t len);

#endif
