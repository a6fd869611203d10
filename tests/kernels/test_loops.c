/* SPDX-License-Identifier: Apache-2.0
 * test_loops.c - every loop of loops.def and every conversion on each instruction set of this CPU against the generic one: the same bits (any NaN for a
 * NaN), any length and alignment, in place, nothing written beyond the end. */
#include "test.h"

#include "kernels/kernels.h"

#include <math.h>

enum { MOST = 150, PAD = 64 };
static const int bytes_of[] = {
#define NUMBER(name, T, dtype) sizeof(T),
    FY_NUMBERS(NUMBER)
#undef NUMBER
};
static uint64_t seed = 1;
static uint64_t draw(void) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return seed >> 11 ^ seed << 40;
}

/* Any bits; small numbers and special ones often. `number`: what they are; nonzero: divisors. */
static void fill(unsigned char *p, int number, int n, bool nonzero) {
    static const double special[] = {0.0, -0.0, 1, -1, 2, 0.5, 1e30, -1e30, 255.5, -129, 65519.99, 65520, 4294967296.0, 9.3e18, 6e-8, 2.9e-8, 1e-40, 1e39, (double)INFINITY, -(double)INFINITY, (double)NAN};
    for (int i = 0; i < n; i++) {
        uint64_t v = draw();
        if (draw() % 2) v %= 300;
        double d = draw() % 2 ? special[draw() % (uint64_t)FY_COUNT(special)] : (double)(int64_t)draw() * 1e-15;
        float f = (float)d;
        if (number == FY_NUMBER_F32) memcpy(p + 4 * i, &f, 4);
        else if (number == FY_NUMBER_F64) memcpy(p + 8 * i, &d, 8);
        else if (number == FY_NUMBER_BOOL) p[i] = (unsigned char)(v & 1);
        else {
            uint64_t mask = bytes_of[number] == 8 ? UINT64_MAX : ((uint64_t)1 << 8 * bytes_of[number]) - 1;
            if (nonzero && !(v & mask)) v = 3;
            memcpy(p + bytes_of[number] * i, &v, (size_t)bytes_of[number]);
        }
    }
}

static void same(const unsigned char *a, const unsigned char *b, int number, int64_t n, const char *what, int slot, int from) {
    for (int64_t i = 0; i < n; i++) {
        float f[2];
        double d[2];
        if (!memcmp(a + i * bytes_of[number], b + i * bytes_of[number], (size_t)bytes_of[number])) continue;
        memcpy(&f[0], a + 4 * i * (number == FY_NUMBER_F32), 4);
        memcpy(&f[1], b + 4 * i * (number == FY_NUMBER_F32), 4);
        if (number == FY_NUMBER_F32 && f[0] != f[0] && f[1] != f[1]) continue;
        memcpy(&d[0], a + 8 * i * (number == FY_NUMBER_F64), 8);
        memcpy(&d[1], b + 8 * i * (number == FY_NUMBER_F64), 8);
        if (number == FY_NUMBER_F64 && d[0] != d[0] && d[1] != d[1]) continue;
        fail_msg("%s %d of number %d to %d: element %lld of %lld", what, slot, from, number, (long long)i, (long long)n);
    }
    for (int i = 0; i < PAD; i++)
        if (a[n * bytes_of[number] + i] != 0xa5) fail_msg("%s %d of number %d: byte %d behind the end", what, slot, from, i);
}

typedef struct rooms { unsigned char a[MOST * 8 + PAD], b[MOST * 8 + PAD], y[MOST * 8 + 2 * PAD], z[MOST * 8 + 2 * PAD]; } rooms;

static void pairs(const fy_loops *l, const fy_loops *g, rooms *r, int slot, int number, int64_t n, int one, int shift) {
    bool quotient = slot == FY_LOOP_DIV || slot == FY_LOOP_MOD || slot == FY_LOOP_FMOD, test = slot >= FY_LOOP_EQUAL && slot <= FY_LOOP_GREATER_EQUAL;
    int to = test ? FY_NUMBER_BOOL : number, bytes = bytes_of[number];
    if (!g->pair[slot][number]) return;
    fill(r->a, number, MOST, false);
    fill(r->b, number, MOST, quotient);
    memset(r->y, 0xa5, sizeof r->y);
    memset(r->z, 0xa5, sizeof r->z);
    l->pair[slot][number](r->y + shift * bytes_of[to], r->a + shift * bytes, r->b, n, one);
    g->pair[slot][number](r->z + shift * bytes_of[to], r->a + shift * bytes, r->b, n, one);
    same(r->y + shift * bytes_of[to], r->z + shift * bytes_of[to], to, n, "pair", slot, number);
    if (test || one == 1) return;
    memset(r->y, 0xa5, sizeof r->y);
    memcpy(r->y, r->a + shift * bytes, (size_t)(n * bytes));
    l->pair[slot][number](r->y, r->y, r->b, n, one);
    same(r->y, r->z + shift * bytes, to, n, "pair in place", slot, number);
}

static void singles(const fy_loops *l, const fy_loops *g, rooms *r, int slot, int number, int64_t n) {
    static const double p[2] = {0.75, 1.5};
    int to = slot == FY_LOOP_IS_NAN || slot == FY_LOOP_IS_INF ? FY_NUMBER_BOOL : number;
    if (!g->single[slot][number]) return;
    fill(r->a, number, MOST, false);
    memset(r->y, 0xa5, sizeof r->y);
    memset(r->z, 0xa5, sizeof r->z);
    l->single[slot][number](r->y, r->a, n, p);
    g->single[slot][number](r->z, r->a, n, p);
    same(r->y, r->z, to, n, "single", slot, number);
}

static void casts(const fy_loops *l, const fy_loops *g, rooms *r, int from, int to, int64_t n) {
    fill(r->a, from, MOST, false);
    memset(r->y, 0xa5, sizeof r->y);
    memset(r->z, 0xa5, sizeof r->z);
    assert_non_null(l->cast[from][to]);
    l->cast[from][to](r->y, r->a, n);
    g->cast[from][to](r->z, r->a, n);
    same(r->y, r->z, to, n, "cast", to, from);
}

static void test_loops(void **state) {
    static const fy_isa isa[] = {FY_ISA_NEON, FY_ISA_AVX2, FY_ISA_AVX512};
    static fy_loops g, l;
    static rooms r;
    (void)state;
    fy_loops_init(&g, FY_ISA_GENERIC);
    for (int i = 0; i < FY_COUNT(isa); i++) {
        if (fy_cpu_isa() < isa[i]) continue;
        fy_loops_init(&l, isa[i]);
        for (int64_t n = 0; n < 140; n += n < 36 ? 1 : 13)
            for (int number = 0; number < FY_NUMBER_COUNT; number++) {
                for (int slot = 0; slot < FY_LOOP2_COUNT; slot++)
                    for (int one = 0; one < 3; one++) pairs(&l, &g, &r, slot, number, n, one, (int)(n % 4));
                for (int slot = 0; slot < FY_LOOP1_COUNT; slot++) singles(&l, &g, &r, slot, number, n);
                for (int to = 0; to < FY_NUMBER_COUNT; to++) casts(&l, &g, &r, number, to, n);
            }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_loops)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
