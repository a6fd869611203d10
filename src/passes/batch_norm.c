/* SPDX-License-Identifier: Apache-2.0
 * batch_norm.c - folds y = (conv(x) - mean) * s + b, s = scale / sqrt(var + eps), into the convolution (affine.c says how), or where the
 * norm stands alone, leaves it. Source: Jacob et al., "Quantization and Training of Neural Networks", 2018, section 3.2. */
#include "passes/match.h"

#include <math.h>

static fy_node *producer(const fy_node *bn) {
    if (!fy_is(bn, "BatchNormalization") || fy_attr_i(bn, "training_mode")) return NULL;
    for (int i = 1; i < bn->nout; i++)
        if (bn->out[i] && bn->out[i]->nuses) return NULL;
    fy_value *x = fy_in(bn, 0);
    return fy_sole(x) && x->graph == bn->graph ? x->def : NULL;
}

void fy_norm_affine(double *const v[4], int64_t n, double eps) {
    for (int64_t i = 0; i < n; i++) {
        v[0][i] /= sqrt(v[3][i] + eps);
        v[1][i] -= v[2][i] * v[0][i];
    }
}

static bool rewrite(fy_rewriting *r, fy_node *bn) {
    fy_node *n = producer(bn);
    int64_t c = n ? fy_channels(n) : -1;
    if (c < 1 || (fy_is(n, "MatMul") && fy_v_rank(fy_in(n, 0)) != 2)) return false;
    fy_arena *a = &r->m->arena;
    double *v[4];
    for (int i = 0; i < 4; i++)
        if (!(v[i] = fy_const_vector(a, fy_fixed(fy_in(bn, i + 1)), c))) return false;
    fy_norm_affine(v, c, fy_attr_f(bn, "epsilon"));
    return fy_fold_channels(r, n, bn, v[0], v[1]);
}

fy_status fy_pass_batch_norm(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) { return fy_each_node(m, o, changes, e, rewrite); }
