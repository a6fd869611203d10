/* SPDX-License-Identifier: Apache-2.0
 * compare.c - differences of two tensors, in double over the wide types.
 *
 * 64-bit integers are compared as integers (double would hide a difference of one); their size is reported in double.
 * NaN equals NaN; an infinity equals the same infinity. */
#include "tensor/compare.h"

#include <math.h>
#include <string.h>

#define CHUNK 512

typedef struct sums { double square_diff, square_ref, square_got, dot; int64_t pairs; double lo, hi; } sums;

static void worst(fy_diff *d, int64_t i, double got, double ref) {
    d->worst = i;
    d->worst_got = got;
    d->worst_ref = ref;
}

/* `diff` is |got - ref| where both are finite. */
static void pair(fy_diff *d, sums *s, int64_t i, double got, double ref, double diff, bool same) {
    if (!same) d->differing++;
    if (isnan(got) || isnan(ref)) {
        if (isnan(got) && isnan(ref)) return;
        if (d->nan_differs + d->inf_differs == 0) worst(d, i, got, ref);
        d->nan_differs++;
        return;
    }
    if (isfinite(ref)) {
        if (ref < s->lo) s->lo = ref;
        if (ref > s->hi) s->hi = ref;
    }
    if (isinf(got) || isinf(ref)) {
        if (got == ref) return;
        if (d->nan_differs + d->inf_differs == 0) worst(d, i, got, ref);
        d->inf_differs++;
        return;
    }
    s->pairs++;
    s->square_diff += diff * diff;
    s->square_ref += ref * ref;
    s->square_got += got * got;
    s->dot += got * ref;
    if (diff > d->max_abs) {
        d->max_abs = diff;
        if (d->nan_differs + d->inf_differs == 0) worst(d, i, got, ref);
    }
    double rel = diff == 0 ? 0 : ref == 0 ? (double)INFINITY : diff / fabs(ref);
    if (rel > d->max_rel) d->max_rel = rel;
}

static const fy_str *string_at(const fy_tensor *t, int64_t i) {
    int64_t offset = 0;
    for (int k = t->rank - 1; k >= 0; k--) {
        offset += i % t->dim[k] * t->stride[k];
        i /= t->dim[k];
    }
    return (const fy_str *)t->data + offset;
}

static void compare_strings(fy_diff *d, const fy_tensor *got, const fy_tensor *ref) {
    for (int64_t i = 0; i < d->count; i++) {
        const fy_str *a = string_at(got, i), *b = string_at(ref, i);
        if (a->n == b->n && (a->n == 0 || memcmp(a->at, b->at, a->n) == 0)) continue;
        d->differing++;
        if (d->worst < 0) d->worst = i;
    }
}

void fy_compare(fy_diff *d, const fy_tensor *got, const fy_tensor *ref, bool any_dtype) {
    *d = (fy_diff){ .worst = -1, .cosine = 1.0, .snr_db = (double)INFINITY };
    fy_class c = fy_dtype_class(ref->dtype), other = fy_dtype_class(got->dtype);
    bool both_int = fy_dtype_int(got->dtype) && fy_dtype_int(ref->dtype);
    d->dtype_differs = got->dtype != ref->dtype && !(any_dtype && (c == other || both_int));
    d->shape_differs = !fy_same_dims(got, ref);
    if (d->shape_differs || (d->dtype_differs && (c != other || c == FY_CLASS_NONE))) return;
    d->count = fy_count(ref);
    if (c == FY_CLASS_S) { compare_strings(d, got, ref); return; }
    sums s = { .lo = (double)INFINITY, .hi = (double)-INFINITY };
    for (int64_t first = 0; first < d->count; first += CHUNK) {
        int64_t n = d->count - first < CHUNK ? d->count - first : CHUNK;
        if (c == FY_CLASS_F || c == FY_CLASS_NONE) {
            double a[CHUNK], b[CHUNK];
            fy_load_f64(a, got, first, n);
            fy_load_f64(b, ref, first, n);
            for (int64_t i = 0; i < n; i++) {
                bool same = a[i] == b[i] || (isnan(a[i]) && isnan(b[i]));
                pair(d, &s, first + i, a[i], b[i], fabs(a[i] - b[i]), same);
            }
        } else if (c == FY_CLASS_C) {
            double a[2 * CHUNK], b[2 * CHUNK];
            fy_load_c128(a, got, first, n);
            fy_load_c128(b, ref, first, n);
            for (int64_t i = 0; i < n; i++) {          /* two numbers, but one element */
                bool re = a[2 * i] == b[2 * i] || (isnan(a[2 * i]) && isnan(b[2 * i]));
                bool im = a[2 * i + 1] == b[2 * i + 1] || (isnan(a[2 * i + 1]) && isnan(b[2 * i + 1]));
                pair(d, &s, first + i, a[2 * i], b[2 * i], fabs(a[2 * i] - b[2 * i]), re && im);
                pair(d, &s, first + i, a[2 * i + 1], b[2 * i + 1], fabs(a[2 * i + 1] - b[2 * i + 1]), true);
            }
        } else {
            union { int64_t i[CHUNK]; uint64_t u[CHUNK]; } a, b;
            bool ua = other == FY_CLASS_U, ub = c == FY_CLASS_U;
            if (ua) fy_load_u64(a.u, got, first, n); else fy_load_i64(a.i, got, first, n);
            if (ub) fy_load_u64(b.u, ref, first, n); else fy_load_i64(b.i, ref, first, n);
            for (int64_t i = 0; i < n; i++) {
                bool below_a = !ua && a.i[i] < 0, below_b = !ub && b.i[i] < 0;          /* negative */
                bool same = a.u[i] == b.u[i] && below_a == below_b;
                double x = ua ? (double)a.u[i] : (double)a.i[i], y = ub ? (double)b.u[i] : (double)b.i[i];
                bool less = below_a != below_b ? below_a : a.u[i] < b.u[i];             /* two's complement keeps the order */
                double diff = below_a != below_b ? fabs(x - y) : less ? (double)(b.u[i] - a.u[i]) : (double)(a.u[i] - b.u[i]);
                pair(d, &s, first + i, x, y, diff, same);
            }
        }
    }
    d->rms = s.pairs ? sqrt(s.square_diff / (double)s.pairs) : 0;
    d->ref_range = s.hi >= s.lo ? s.hi - s.lo : 0;
    double norms = sqrt(s.square_ref) * sqrt(s.square_got);
    d->cosine = d->differing == 0 ? 1.0 : norms > 0 ? s.dot / norms : s.square_ref == s.square_got ? 1.0 : 0.0;
    if (d->cosine > 1.0) d->cosine = 1.0;
    d->snr_db = s.square_diff > 0 ? 10 * log10(s.square_ref / s.square_diff) : (double)INFINITY;
}
