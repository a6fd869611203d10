/* SPDX-License-Identifier: Apache-2.0
 * twister.h - the generator of every random operator: MT19937, seeded and read as NumPy's RandomState does, so that anyone
 * can check a result with `numpy.random.RandomState(int(seed))`. */
#ifndef FY_TWISTER_H
#define FY_TWISTER_H

#include "ir/op.h"

typedef struct fy_twister { uint32_t key[624]; int at; bool has_gauss; double gauss; } fy_twister;

void   fy_twister_seed(fy_twister *t, uint32_t seed);
double fy_twister_uniform(fy_twister *t);                    /* random_sample(): 53 bits in [0, 1) */
double fy_twister_normal(fy_twister *t);                     /* standard_normal(): Marsaglia's polar method, in pairs */
bool   fy_twister_bernoulli(fy_twister *t, double p);        /* binomial(1, p), 0 <= p <= 1 */

/* The stream of a node. Attribute `seed` (float or integer, toward zero, modulo 2^32) seeds it. Without one (or where it is NaN)
 * the seed is the 32-bit FNV-1a hash of the name of output 0 (of the node's number, 4 bytes, where it has no name) xor FERRY_SEED: nodes
 * differ, each run is the same. ATTR if the seed is beyond 64 bits. */
FY_CHECKED fy_status fy_twister_of(fy_twister *t, const fy_node *n, ferry_error *e);

#endif
