/* SPDX-License-Identifier: Apache-2.0
 * reduce.h - sums, maxima and their kin along rows and down columns; log-softmax of rows; y = a x + b (body, compiled once for each
 * instruction set). A row is summed in 4 chains of 16 lanes, a column in pieces of FY_GEMM_KC: orders that depend on the length alone. */

FV_CALLED fv reduce_step(fy_reduction k, fv acc, fv x) {
    switch (k) {
    case FY_REDUCE_MAX: return fv_nan_max(x, acc);
    case FY_REDUCE_MIN: return fv_nan_min(x, acc);
    case FY_REDUCE_L1: return fv_add(acc, fv_abs(x));
    case FY_REDUCE_SQUARE: return fv_fma(x, x, acc);
    case FY_REDUCE_SUM: break;
    }
    return fv_add(acc, x);
}

FY_INLINE float reduce_scalar(fy_reduction k, float acc, float x) {
    switch (k) {
    case FY_REDUCE_MAX: return x > acc || x != x ? x : acc;
    case FY_REDUCE_MIN: return x < acc || x != x ? x : acc;
    case FY_REDUCE_SUM: case FY_REDUCE_L1: case FY_REDUCE_SQUARE: break;
    }
    return acc + x;
}

FV_CALLED void reduce_row(const fy_reduction k, float *y, const float *x, int64_t n) {
    float none = k == FY_REDUCE_MAX ? -__builtin_inff() : k == FY_REDUCE_MIN ? __builtin_inff() : 0.0f, lane[16], top;
    fv a = fv_set1(none), b = a, c = a, d = a;
    int64_t i = 0;
    for (; i + 64 <= n; i += 64) {
        a = reduce_step(k, a, fv_load(x + i));
        b = reduce_step(k, b, fv_load(x + i + 16));
        c = reduce_step(k, c, fv_load(x + i + 32));
        d = reduce_step(k, d, fv_load(x + i + 48));
    }
    for (; i + 16 <= n; i += 16) a = reduce_step(k, a, fv_load(x + i));
    if (i < n) {
        fv_store(lane, fv_set1(none));
        for (int64_t j = i; j < n; j++) lane[j - i] = x[j];
        b = reduce_step(k, b, fv_load(lane));
    }
    if (k == FY_REDUCE_MAX || k == FY_REDUCE_MIN) {
        a = reduce_step(k, reduce_step(k, a, b), reduce_step(k, c, d));
        top = fv_sum(a);
        if (top == top) *y = k == FY_REDUCE_MAX ? fv_hmax(a) : -fv_hmax(fv_neg(a));
        else {                                               /* a NaN among them, or infinities of both signs */
            fv_store(lane, a);
            for (int j = 0; j < 16; j++) none = reduce_scalar(k, none, lane[j]);
            *y = none;
        }
    } else *y = fv_sum(fv_add(fv_add(a, b), fv_add(c, d)));
}

#define REDUCE_ROWS(kind) case kind: for (int64_t r = 0; r < rows; r++) reduce_row(kind, y + r, x + r * n, n); break;
static void reduce_rows(float *y, const float *x, int64_t rows, int64_t n, fy_reduction k) {
    switch (k) { REDUCE_ROWS(FY_REDUCE_SUM) REDUCE_ROWS(FY_REDUCE_MAX) REDUCE_ROWS(FY_REDUCE_MIN) REDUCE_ROWS(FY_REDUCE_L1) REDUCE_ROWS(FY_REDUCE_SQUARE) }
}

/* 16 columns or fewer. */
FV_CALLED void reduce_column(const fy_reduction k, float *y, const float *x, int64_t n, int64_t row, int left) {
    float none = k == FY_REDUCE_MAX ? -__builtin_inff() : k == FY_REDUCE_MIN ? __builtin_inff() : 0.0f;
    fv all = fv_set1(none);
    for (int64_t i = 0; i < n;) {
        fv part = fv_set1(none);
        for (int64_t end = n - i < FY_GEMM_KC ? n : i + FY_GEMM_KC; i < end; i++) part = reduce_step(k, part, left == 16 ? fv_load(x + i * row) : fv_load_n(x + i * row, left));
        all = k == FY_REDUCE_MAX ? fv_nan_max(part, all) : k == FY_REDUCE_MIN ? fv_nan_min(part, all) : fv_add(all, part);
    }
    if (left == 16) fv_store(y, all);
    else fv_store_n(y, all, left);
}

#define REDUCE_COLS(kind) case kind: for (int64_t j = 0; j < cols; j += 16) reduce_column(kind, y + j, x + j, n, row, cols - j < 16 ? (int)(cols - j) : 16); break;
static void reduce_cols(float *y, const float *x, int64_t n, int64_t row, int64_t cols, fy_reduction k) {
    switch (k) { REDUCE_COLS(FY_REDUCE_SUM) REDUCE_COLS(FY_REDUCE_MAX) REDUCE_COLS(FY_REDUCE_MIN) REDUCE_COLS(FY_REDUCE_L1) REDUCE_COLS(FY_REDUCE_SQUARE) }
}

/* y = x - max - log(sum of e^(x - max)) */
static void log_softmax_rows(float *y, const float *x, int64_t rows, int64_t n) {
    for (int64_t r = 0; r < rows; r++, x += n, y += n) {
        float top, sum;
        fv s = fv_zero(), m, l;
        int64_t i = 0;
        reduce_row(FY_REDUCE_MAX, &top, x, n);
        m = fv_set1(top);
        for (; i + 16 <= n; i += 16) s = fv_add(s, fv_exp_below(fv_sub(fv_load(x + i), m)));
        if (i < n) {
            float lane[16] = {0};
            fv_store_n(lane, fv_exp_below(fv_sub(fv_load_n(x + i, (int)(n - i)), m)), (int)(n - i));
            s = fv_add(s, fv_load(lane));
        }
        sum = fv_sum(s);
        l = fv_log(fv_set1(sum));
        for (i = 0; i < n; i += 16) {
            int left = n - i < 16 ? (int)(n - i) : 16;
            fv v = fv_sub(fv_sub(left == 16 ? fv_load(x + i) : fv_load_n(x + i, left), m), l);
            if (left == 16) fv_store(y + i, v);
            else fv_store_n(y + i, v, left);
        }
    }
}

static void affine(float *y, const float *x, int64_t n, float a, float b) {
    fv k = fv_set1(a), c = fv_set1(b);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) fv_store(y + i, fv_fma(fv_load(x + i), k, c));
    if (i < n) fv_store_n(y + i, fv_fma(fv_load_n(x + i, (int)(n - i)), k, c), (int)(n - i));
}
