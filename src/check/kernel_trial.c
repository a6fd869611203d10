/* SPDX-License-Identifier: Apache-2.0
 * kernel_trial.c - what the checkers of kernels share: rooms between guard pages, random numbers, comparison; and the checkers of what works
 * value by value: functions of one and of two values. */
#include "check/kernels.h"

#include "base/os.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- shared ---------------------------------------------------------------------------------------------------------------- */

static const uint32_t pattern = 0xffa5a5a5;                      /* a NaN: what reads it shows */

bool fy_trial_fail(fy_trial *t, const char *fmt, ...) {
    va_list a;
    if (t->why[0]) return false;
    va_start(a, fmt);
    vsnprintf(t->why, sizeof t->why, fmt, a);
    va_end(a);
    return false;
}

enum { ROOM = 1 << 19, AROUND = 1024 };  /* floats of a room; of the pattern beside an operand: more than any tile is wide */

bool fy_rooms_new(fy_trial *t) {
    bool all = true;
    fy_os_guard(FY_GUARD_END);           /* whole pages: a guard on either side */
    for (int i = 0; i < FY_ROOMS; i++) all &= (t->room[i].page = fy_malloc_data(ROOM * sizeof *t->room[i].page, &t->room[i].guarded)) != NULL;
    fy_os_guard(FY_GUARD_OFF);
    return all;
}

void fy_rooms_free(fy_trial *t) {
    for (int i = 0; i < FY_ROOMS; i++) fy_free_data(t->room[i].page, ROOM * sizeof *t->room[i].page, t->room[i].guarded);
}

bool fy_is_pattern(float x) { return !memcmp(&x, &pattern, sizeof x); }

/* Where the pattern begins and ends. */
static float *around(const fy_room *r, float **end) {
    float *last = r->page + ROOM;
    *end = last - (r->at + r->n) < AROUND ? last : r->at + r->n + AROUND;
    return r->at - r->page < AROUND ? r->page : r->at - AROUND;
}

float *fy_room_place(fy_trial *t, int i, int64_t n, bool low) {
    fy_room *r = &t->room[i];
    float *end;
    FY_ASSERT(n <= ROOM);
    r->n = n;
    r->at = r->page + (low ? 0 : ROOM - n);
    for (float *p = around(r, &end); p < end; p++) memcpy(p, &pattern, sizeof pattern);
    return r->at;
}

bool fy_room_intact(const fy_trial *t, int i) {
    const fy_room *r = &t->room[i];
    float *end;
    for (float *p = around(r, &end); p < r->at; p++)
        if (!fy_is_pattern(*p)) return false;
    for (float *p = r->at + r->n; p < end; p++)
        if (!fy_is_pattern(*p)) return false;
    return true;
}

uint64_t fy_trial_next(fy_trial *t) {                            /* splitmix64 */
    uint64_t z = t->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

int64_t fy_trial_pick(fy_trial *t, int64_t lo, int64_t hi) { return lo + (int64_t)(fy_trial_next(t) % (uint64_t)(hi - lo + 1)); }

float fy_trial_value(fy_trial *t) { return (float)((double)(fy_trial_next(t) >> 11) * 0x1p-52 - 1); }

void fy_trial_values(fy_trial *t, float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) x[i] = fy_trial_value(t);
}

bool fy_same_bits(const float *a, const float *b, int64_t n) { return !n || !memcmp(a, b, (size_t)n * sizeof *a); }

bool fy_trial_near(fy_trial *t, float got, double want, double allowed) {
    if (isnan(want) || isnan(got)) return isnan(want) && isnan(got);
    if (isinf(want) || isinf(got)) return (double)got == want || (double)got == (double)(float)want;
    double e = fabs((double)got - want);
    if (e > 0 && e / allowed > t->worst) t->worst = e / allowed;
    return e <= allowed;
}

/* ---- functions of one value ------------------------------------------------------------------------------------------------ */

static const int64_t sizes[] = {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 61, 127, 128, 257};

/* Numbers of every size, and the special ones. */
static float any_value(fy_trial *t) {
    if (fy_trial_pick(t, 0, 3) == 0) return fy_special_floats[fy_trial_pick(t, 0, fy_special_count - 1)];
    return fy_trial_value(t) * (float)ldexp(1, (int)fy_trial_pick(t, -12, 7));
}

/* NaN has many bits, and which of them comes out is nobody's promise. */
static bool same_value(float a, float b) { return (isnan(a) && isnan(b)) || !memcmp(&a, &b, sizeof a); }

static bool right_value(fy_trial *t, float got, float x, const float *p) {
    double want = t->exact((double)x, p);
    if (t->ulps == 0) return same_value(got, (float)want);
    if (isnan(want) || isnan(got) || isinf((float)want)) return isnan(want) ? isnan(got) : got == (float)want;
    double unit = fy_ulp(want), e = fy_ulps_apart(got, want) * unit, allowed = t->ulps * unit + (t->floor > 0 ? t->floor * fabs((double)x) : 0);
    if (t->ulps <= 1 && want == 0 && got == 0 && !signbit(want) != !signbit(got)) return false;
    if (want == 0 && got == 0) return true;
    if (e > 0 && e / allowed > t->worst) t->worst = e / allowed;
    return e <= allowed;
}

static bool unary_once(fy_trial *t, int64_t n, bool low, bool in_place, const float *p) {
    fy_kernel_unary *f = t->k->unary[t->op];
    float *x = fy_room_place(t, 0, n, low), *kept = fy_room_place(t, 2, n, low), *y = in_place ? x : fy_room_place(t, 1, n, !low), one;
    for (int64_t i = 0; i < n; i++) kept[i] = x[i] = any_value(t);
    f(y, x, n, p);
    t->cases++;
    if (!fy_room_intact(t, 0) || (!in_place && !fy_room_intact(t, 1))) return fy_trial_fail(t, "n=%lld: wrote outside of its result", (long long)n);
    if (!in_place && !fy_same_bits(x, kept, n)) return fy_trial_fail(t, "n=%lld: changed its operand", (long long)n);
    for (int64_t i = 0; i < n; i++) {
        if (!right_value(t, y[i], kept[i], p))
            return fy_trial_fail(t, "n=%lld p=(%g, %g): f(%.9g) = %.9g, not %.17g", (long long)n, (double)p[0], (double)p[1], (double)kept[i], (double)y[i], t->exact((double)kept[i], p));
        f(&one, &kept[i], 1, p);
        if (!same_value(one, y[i])) return fy_trial_fail(t, "n=%lld: f(%.9g) = %.9g at %lld, but %.9g by itself", (long long)n, (double)kept[i], (double)y[i], (long long)i, (double)one);
    }
    return true;
}

bool fy_check_unary(fy_trial *t) {
    static const float params[][2] = {{1, 0}, {0.2f, 0.5f}, {1.702f, 6}, {0, 6}, {-1, 1}};
    bool plain = t->op != FY_ACT_CLAMP && t->op != FY_ACT_LEAKY && t->op != FY_ACT_SWISH && t->op != FY_ACT_HARD_SIGMOID && t->op != FY_ACT_ELU;
    t->exact = fy_exact_of((fy_act)t->op);
    for (int k = 0; k < (plain ? 1 : FY_COUNT(params)); k++) {
        float p[2] = {params[k][0], params[k][1]};
        if (t->op == FY_ACT_CLAMP && p[0] > p[1]) { p[0] = -INFINITY; p[1] = 3; }
        for (int i = 0; i < FY_COUNT(sizes); i++)
            for (int how = 0; how < 4; how++)
                if (!unary_once(t, sizes[i], how & 1, how & 2, p)) return false;
    }
    return true;
}

/* ---- functions of two values ----------------------------------------------------------------------------------------------- */

static float exact_binary(int op, float a, float b) {
    switch ((fy_binary)op) {
    case FY_ADD: return a + b;
    case FY_SUB: return a - b;
    case FY_MUL: return a * b;
    case FY_DIV: return a / b;
    case FY_MAX: return isnan(a) ? a : isnan(b) ? b : a > b ? a : b;
    case FY_MIN: return isnan(a) ? a : isnan(b) ? b : a < b ? a : b;
    case FY_BINARY_COUNT: break;
    }
    return NAN;
}

static bool binary_once(fy_trial *t, int64_t n, int one, int place, bool low) {
    int64_t na = one == 1 ? 1 : n, nb = one == 2 ? 1 : n;
    float *a = fy_room_place(t, 0, na, low), *b = fy_room_place(t, 1, nb, !low), *ka = fy_room_place(t, 3, na, low), *kb = fy_room_place(t, 4, nb, low);
    float *y = place == 1 && na == n ? a : place == 2 && nb == n ? b : fy_room_place(t, 2, n, low);
    for (int64_t i = 0; i < na; i++) ka[i] = a[i] = any_value(t);
    for (int64_t i = 0; i < nb; i++) kb[i] = b[i] = any_value(t);
    t->k->binary[t->op](y, a, b, n, one);
    t->cases++;
    if (!fy_room_intact(t, 0) || !fy_room_intact(t, 1) || (y != a && y != b && !fy_room_intact(t, 2))) return fy_trial_fail(t, "n=%lld one=%d: wrote outside of its result", (long long)n, one);
    if ((y != a && !fy_same_bits(a, ka, na)) || (y != b && !fy_same_bits(b, kb, nb))) return fy_trial_fail(t, "n=%lld one=%d: changed an operand", (long long)n, one);
    for (int64_t i = 0; i < n; i++) {
        float p = ka[one == 1 ? 0 : i], q = kb[one == 2 ? 0 : i], want = exact_binary(t->op, p, q);
        bool zeros = y[i] == 0 && want == 0 && (t->op == FY_MAX || t->op == FY_MIN);             /* of 0 and -0 either is the larger */
        if (!zeros && !same_value(y[i], want))
            return fy_trial_fail(t, "n=%lld one=%d: f(%.9g, %.9g) = %.9g, not %.9g", (long long)n, one, (double)p, (double)q, (double)y[i], (double)want);
    }
    return true;
}

bool fy_check_binary(fy_trial *t) {
    for (int i = 0; i < FY_COUNT(sizes); i++)
        for (int one = 0; one < 3; one++)
            for (int place = 0; place < 3; place++)
                for (int low = 0; low < 2; low++)
                    if (sizes[i] && !binary_once(t, sizes[i], one, place, low)) return false;
    return true;
}

bool fy_check_peak(fy_trial *t) {
    t->cases++;
    double done = t->k->fma_peak(100);
    return done > 0 || fy_trial_fail(t, "no operations are counted");
}
