/* SPDX-License-Identifier: Apache-2.0
 * twister.c - MT19937 (Matsumoto and Nishimura, "Mersenne Twister", 1998) with the seeding, doubles, normal and binomial draws
 * that NumPy keeps for numpy.random.RandomState (NEP 19: this stream does not change any more). */
#include "ops/twister.h"

#include "base/knobs.h"

#include <math.h>
#include <string.h>

#define N 624
#define M 397

void fy_twister_seed(fy_twister *t, uint32_t seed) {
    for (int i = 0; i < N; i++) {
        t->key[i] = seed;
        seed = 1812433253u * (seed ^ (seed >> 30)) + (uint32_t)i + 1;
    }
    t->at = N;
    t->has_gauss = false;
    t->gauss = 0;
}

static uint32_t mix(uint32_t high, uint32_t low, uint32_t far) {
    uint32_t y = (high & 0x80000000u) | (low & 0x7fffffffu);
    return far ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfu : 0);
}

static uint32_t word(fy_twister *t) {
    if (t->at == N) {
        for (int i = 0; i < N; i++) t->key[i] = mix(t->key[i], t->key[(i + 1) % N], t->key[(i + M) % N]);
        t->at = 0;
    }
    uint32_t y = t->key[t->at++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

double fy_twister_uniform(fy_twister *t) {
    uint32_t high = word(t) >> 5, low = word(t) >> 6;
    return ((double)high * 67108864 + (double)low) / 9007199254740992;
}

double fy_twister_normal(fy_twister *t) {
    double a, b, r;
    if (t->has_gauss) {
        t->has_gauss = false;
        return t->gauss;
    }
    do {
        a = 2 * fy_twister_uniform(t) - 1;
        b = 2 * fy_twister_uniform(t) - 1;
        r = a * a + b * b;
    } while (r >= 1 || r == 0);
    double f = sqrt(-2 * log(r) / r);
    t->gauss = f * a;
    t->has_gauss = true;
    return f * b;
}

/* Inversion, with one trial: how many terms of the cumulative sum lie below a uniform number, at most one. */
static bool invert(fy_twister *t, double p) {
    double q = 1 - p, none = exp(log(q));
    for (;;) {
        double u = fy_twister_uniform(t);
        if (!(u > none)) return false;
        if (!(u - none > p * none / q)) return true;
    }
}

bool fy_twister_bernoulli(fy_twister *t, double p) { return p <= 0.5 ? invert(t, p) : !invert(t, 1 - p); }

fy_status fy_twister_of(fy_twister *t, const fy_node *n, ferry_error *e) {
    const fy_attr *a = fy_attr_get(n, "seed");
    if (a && a->kind == FY_ATTR_INT) fy_twister_seed(t, (uint32_t)(uint64_t)a->i);
    else if (a && a->f == a->f) {
        FY_NEED(e, fabs(a->f) < 0x1p63, ATTR, "seed is %g", a->f);
        fy_twister_seed(t, (uint32_t)(uint64_t)(int64_t)a->f);
    } else {
        const fy_value *v = fy_outv(n, 0);
        char number[4] = {(char)n->id, (char)(n->id >> 8), (char)(n->id >> 16), (char)(n->id >> 24)};
        const char *s = v && v->name ? v->name : number;
        size_t count = s == number ? sizeof number : strlen(s);
        uint32_t h = 2166136261u;
        for (size_t i = 0; i < count; i++) h = (h ^ (uint8_t)s[i]) * 16777619u;
        fy_twister_seed(t, h ^ (uint32_t)fy_knob_int("FERRY_SEED"));
    }
    return FY_OK;
}
