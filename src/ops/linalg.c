/* SPDX-License-Identifier: Apache-2.0
 * linalg.c - Det: x [..., m, m] -> y [...], the determinant of each matrix by LU with partial pivoting, in double. */
#include "ops/common.h"

#include <math.h>
#include <string.h>

static fy_status infer_det(fy_infer *f) {
    int rank;
    FY_TRY(fy_k_rank(f, 0, 2, FY_MAX_RANK, &rank));
    if (rank >= 0) FY_TRY(fy_k_agree(f, fy_in_dim(f, 0, rank - 2), fy_in_dim(f, 0, rank - 1), "sizes of a square matrix"));
    return fy_out_set(f, 0, fy_in_dtype(f, 0), rank < 0 ? -1 : rank - 2, rank < 0 ? NULL : fy_in_dims(f, 0));
}

/* a [m, m] is overwritten by its upper factor. A column without a pivot leaves a 0 on the diagonal. The product keeps its exponent
 * apart, so that no partial product overflows where the determinant does not. */
static double determinant(double *a, int64_t m) {
    double det = 1;
    int64_t exponent = 0;
    for (int64_t k = 0; k < m; k++) {
        int64_t best = k;
        int e = 0;
        for (int64_t i = k + 1; i < m; i++)
            if (fabs(a[i * m + k]) > fabs(a[best * m + k])) best = i;
        if (best != k) {
            for (int64_t j = k; j < m; j++) {
                double t = a[k * m + j];
                a[k * m + j] = a[best * m + j];
                a[best * m + j] = t;
            }
            det = -det;
        }
        double pivot = a[k * m + k];
        det = frexp(det * pivot, &e);
        exponent += e;
        if (pivot == 0) continue;
        for (int64_t i = k + 1; i < m; i++) {
            double by = a[i * m + k] / pivot;
            for (int64_t j = k + 1; by != 0 && j < m; j++) a[i * m + j] -= by * a[k * m + j];
        }
    }
    return ldexp(det, exponent > 4096 ? 4096 : exponent < -4096 ? -4096 : (int)exponent);
}

typedef struct dets { double *a; fy_tensor *y; int64_t m; } dets;

static void run_dets(void *arg, int64_t begin, int64_t end) {
    const dets *w = arg;
    for (int64_t i = begin; i < end; i++) fy_put_f64(w->y, i, determinant(w->a + i * w->m * w->m, w->m));
}

static fy_status ref_det(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0);
    fy_tensor *y = fy_res(c, 0);
    if (!y || !fy_count(y)) return FY_OK;
    dets w = {.y = y, .m = x->dim[x->rank - 1]};
    FY_NOMEM(c->e, w.a = fy_k_as_f64(c, x));
    int64_t grain = w.m < 32 ? 32 - w.m : 1;
    fy_k_for(c, fy_count(y), grain, run_dets, &w);
    return FY_OK;
}

const fy_op fy_op_det = {.name = "Det", .domain = "", .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .first = 11, .since = 11,
    .types = "T=" FY_T_FLOAT "|T|T", .infer = infer_det, .ref = ref_det, .flags = FY_PURE};
