/* SPDX-License-Identifier: Apache-2.0
 * fft.c - the discrete Fourier transform of any length; see fft.h. */
#include "ops/fft.h"

#include "base/checked.h"

#include <math.h>
#include <string.h>

#define HALF_PI 1.57079632679489661923
#define MOST ((int64_t)1 << 40)          /* keeps 8n and the like inside 64 bits */

static fy_cplx mul(fy_cplx a, fy_cplx b) { return (fy_cplx){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
static fy_cplx add(fy_cplx a, fy_cplx b) { return (fy_cplx){a.re + b.re, a.im + b.im}; }
static fy_cplx sub(fy_cplx a, fy_cplx b) { return (fy_cplx){a.re - b.re, a.im - b.im}; }

/* e^(-2 pi i k / n), 0 <= k < n: cosine and sine are taken of at most an eighth of a turn, quarter turns are exact. */
static fy_cplx root_of_unity(int64_t k, int64_t n) {
    int64_t quarter = 4 * k / n, rest = 4 * k - quarter * n;
    bool    far = 2 * rest > n;
    double  a = HALF_PI * (double)(far ? n - rest : rest) / (double)n, c = far ? sin(a) : cos(a), s = far ? cos(a) : sin(a);
    switch (quarter) {
    case 0: return (fy_cplx){c, -s};
    case 1: return (fy_cplx){-s, -c};
    case 2: return (fy_cplx){-c, s};
    default: return (fy_cplx){s, c};
    }
}

/* ---- mixed radix --------------------------------------------------------------------------------------------------- */

/* One stage over x as [radix, m, s]: y[j, u, q] = w^(s j u) * sum_t x[t, j, q] * e^(-2 pi i t u / radix), w the root of order n. */
static void stage(fy_cplx *y, const fy_cplx *x, const fy_fft *p, int64_t s, int radix) {
    int64_t m = p->n / s / radix, step = p->n / radix;
    fy_cplx t[FY_FFT_RADIX], w[FY_FFT_RADIX];
    for (int64_t j = 0; j < m; j++) {
        for (int u = 0; u < radix; u++) w[u] = p->root[s * j * u];
        for (int64_t q = 0; q < s; q++) {
            const fy_cplx *from = x + q + s * j;
            fy_cplx       *to = y + q + s * radix * j;
            if (radix == 4) {
                fy_cplx a = add(from[0], from[2 * s * m]), b = sub(from[0], from[2 * s * m]);
                fy_cplx c = add(from[s * m], from[3 * s * m]), d = sub(from[s * m], from[3 * s * m]), turned = {d.im, -d.re};
                to[0] = add(a, c);
                to[s] = mul(add(b, turned), w[1]);
                to[2 * s] = mul(sub(a, c), w[2]);
                to[3 * s] = mul(sub(b, turned), w[3]);
                continue;
            }
            for (int k = 0; k < radix; k++) t[k] = from[s * m * k];
            for (int u = 0; u < radix; u++) {
                fy_cplx sum = t[0];
                for (int k = 1; k < radix; k++) sum = add(sum, mul(t[k], p->root[step * (k * u % radix)]));
                to[s * u] = mul(sum, w[u]);
            }
        }
    }
}

static void run_mixed(const fy_fft *p, fy_cplx *x, fy_cplx *work) {
    fy_cplx *a = x, *b = work, *other;
    int64_t  s = 1;
    for (int i = 0; i < p->nradix; i++) {
        stage(b, a, p, s, p->radix[i]);
        s *= p->radix[i];
        other = a;
        a = b;
        b = other;
    }
    if (a != x) memcpy(x, a, (size_t)p->n * sizeof *x);
}

/* ---- Bluestein ----------------------------------------------------------------------------------------------------- */

/* -jk = ((j - k)^2 - j^2 - k^2) / 2: a convolution with the conjugate chirp, between two products with the chirp. */
static void run_chirp(const fy_fft *p, fy_cplx *x, fy_cplx *work) {
    int64_t  m = p->inner->n;
    fy_cplx *z = work, *more = work + m;
    for (int64_t k = 0; k < p->n; k++) z[k] = mul(x[k], p->root[k]);
    memset(z + p->n, 0, (size_t)(m - p->n) * sizeof *z);
    fy_fft_run(p->inner, z, more);
    for (int64_t k = 0; k < m; k++) {
        fy_cplx v = mul(z[k], p->filter[k]);
        z[k] = (fy_cplx){v.im, v.re};                        /* exchanged parts: the way back is the same transform */
    }
    fy_fft_run(p->inner, z, more);
    for (int64_t k = 0; k < p->n; k++) x[k] = mul((fy_cplx){z[k].im / (double)m, z[k].re / (double)m}, p->root[k]);
}

void fy_fft_run(const fy_fft *p, fy_cplx *x, fy_cplx *work) {
    if (p->inner) run_chirp(p, x, work);
    else run_mixed(p, x, work);
}

/* ---- plans --------------------------------------------------------------------------------------------------------- */

/* False where a prime factor is too large. Fours first: they are the cheapest. */
static bool factorise(fy_fft *p) {
    int64_t n = p->n;
    for (; n % 4 == 0; n /= 4) p->radix[p->nradix++] = 4;
    for (int r = 2; r <= FY_FFT_RADIX; r++)
        for (; n % r == 0; n /= r) p->radix[p->nradix++] = r;
    return n == 1;
}

static fy_status plan_chirp(fy_fft *p, fy_arena *a, int64_t max_bytes, ferry_error *e) {
    int64_t  m = 1, n = p->n, square = 0;
    while (m < 2 * n - 1) m *= 2;
    FY_NEED(e, m <= max_bytes / (int64_t)sizeof(fy_cplx) / 4, LIMIT, "a transform of length %lld needs too much memory", (long long)n);
    p->filter = FY_NEWN(a, fy_cplx, m);
    FY_NOMEM(e, p->filter);
    FY_TRY(fy_fft_plan(&p->inner, m, a, max_bytes, e));      /* a power of two: nests no deeper */
    p->work = m + p->inner->work;
    memset(p->filter, 0, (size_t)m * sizeof *p->filter);
    for (int64_t k = 0; k < n; k++) {
        p->root[k] = root_of_unity(square, 2 * n);
        p->filter[k] = (fy_cplx){p->root[k].re, -p->root[k].im};
        if (k) p->filter[m - k] = p->filter[k];
        square = (square + 2 * k + 1) % (2 * n);             /* (k + 1)^2 without leaving 64 bits */
    }
    fy_cplx *work = FY_NEWN(a, fy_cplx, p->inner->work);
    FY_NOMEM(e, work);
    fy_fft_run(p->inner, p->filter, work);
    return FY_OK;
}

fy_status fy_fft_plan(const fy_fft **plan, int64_t n, fy_arena *a, int64_t max_bytes, ferry_error *e) {
    FY_NEED(e, n >= 1, VALUE, "a transform of length %lld", (long long)n);
    FY_NEED(e, n <= MOST && n <= max_bytes / (int64_t)sizeof(fy_cplx) / 3, LIMIT, "a transform of length %lld needs too much memory", (long long)n);
    fy_fft *p = FY_NEW(a, fy_fft);
    FY_NOMEM(e, p);
    *p = (fy_fft){.n = n, .work = n};
    p->root = FY_NEWN(a, fy_cplx, n);
    FY_NOMEM(e, p->root);
    if (factorise(p))
        for (int64_t k = 0; k < n; k++) p->root[k] = root_of_unity(k, n);
    else FY_TRY(plan_chirp(p, a, max_bytes, e));
    *plan = p;
    return FY_OK;
}
