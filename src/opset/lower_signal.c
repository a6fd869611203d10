/* SPDX-License-Identifier: Apache-2.0
 * lower_signal.c - transforms, windows and the mel matrix (17), and the recurrences of 27, written out.
 *
 *   DFT   y[k] = sum over n of x[n] (cos a - i sin a), a = 2 pi n k / N: products with matrices of cosines and sines, which are computed from
 *         n k mod N, so that angles stay small. Lengths may be dynamic; where they are not, the matrices are constants. */
#include "opset/internal.h"

#include <math.h>
#include <string.h>

#define TAU 6.28318530717958647693
#define MOST ((int64_t)1 << 22)          /* elements of a matrix that is made a constant */

static fy_value *k(fy_step_ctx *x, fy_dtype t, double v) { return fy_k_scalar(&x->b, t, v); }
static fy_value *one_int(fy_step_ctx *x, int64_t v) { return fy_k_ints(&x->b, 1, &v); }
static fy_value *vec(fy_step_ctx *x, fy_value *scalar) { return fy_x2(x, "Reshape", fy_b_cast(&x->b, scalar, FERRY_INT64), one_int(x, 1)); }
static fy_value *scalar(fy_step_ctx *x, int in) { return fy_x2(x, "Reshape", fy_b_cast(&x->b, fy_in(x->n, in), FERRY_INT64), fy_k_ints(&x->b, 0, NULL)); }

/* ---- DFT ----------------------------------------------------------------------------------------------------------- */

typedef struct dft { int rank, axis; bool inverse, half, onesided, complex; fy_dtype s; } dft;

/* cos or sin of 2 pi n k / N as [used, bins]; weighted for a half spectrum: what its mirror image adds. */
static fy_value *matrix(fy_step_ctx *x, const dft *d, bool sine, fy_value *n, fy_value *used, fy_value *bins, const int64_t known[3]) {
    fy_build *b = &x->b;
    if (known[0] > 0 && known[1] >= 0 && known[2] >= 0 && known[1] <= MOST / (known[2] + 1)) {
        double *m = FY_NEWN(&x->m->arena, double, known[1] * known[2] + 1);
        if (!m) return fy_fail_value(b, FY_E_NOMEM, "out of memory");
        for (int64_t i = 0; i < known[1]; i++)
            for (int64_t j = 0; j < known[2]; j++) {
                double a = TAU * (double)(i * j % known[0]) / (double)known[0];
                m[i * known[2] + j] = (sine ? sin(a) : cos(a)) * (d->half && i && 2 * i != known[0] ? 2 : 1) / (d->inverse ? (double)known[0] : 1);
            }
        const fy_const *c = fy_const_bytes(&x->m->arena, FERRY_DOUBLE, 2, (int64_t[]){known[1], known[2]}, m, (size_t)(known[1] * known[2]) * sizeof *m);
        c = c ? fy_const_cast(&x->m->arena, c, d->s) : NULL;
        return c ? fy_k_const(b, c, NULL) : fy_fail_value(b, FY_E_NOMEM, "out of memory");
    }
    fy_value *row = fy_b_unsqueeze(b, fy_step_iota(b, used), 1), *len = fy_b_cast(b, n, FERRY_DOUBLE);
    fy_value *a = fy_b_cast(b, fy_x2(x, "Mod", fy_x2(x, "Mul", row, fy_step_iota(b, bins)), n), FERRY_DOUBLE);
    a = fy_x1(x, sine ? "Sin" : "Cos", fy_x2(x, "Div", fy_x2(x, "Mul", a, k(x, FERRY_DOUBLE, TAU)), len));
    if (d->half) {
        fy_value *alone = fy_x2(x, "Equal", fy_x2(x, "Mod", fy_x2(x, "Add", row, row), n), fy_k_i64(b, 0));
        a = fy_x2(x, "Mul", a, fy_x3(x, "Where", alone, k(x, FERRY_DOUBLE, 1), k(x, FERRY_DOUBLE, 2)));
    }
    return fy_b_cast(b, d->inverse ? fy_x2(x, "Div", a, len) : a, d->s);
}

/* v [..., used, parts] with the axis before the last -> [..., bins, 2 or 1] */
static fy_value *transform(fy_step_ctx *x, const dft *d, fy_value *v, fy_value *n, fy_value *used, fy_value *bins, const int64_t known[3]) {
    fy_build *b = &x->b;
    fy_attr last = fy_int("axis", -1);
    fy_value *re = fy_emit(b, "Gather", FY_V(v, fy_k_i64(b, 0)), 1, &last), *im = d->complex ? fy_emit(b, "Gather", FY_V(v, fy_k_i64(b, 1)), 1, &last) : NULL;
    fy_value *c = matrix(x, d, false, n, used, bins, known), *s = matrix(x, d, true, n, used, bins, known), *y[2];
    y[0] = fy_x2(x, "MatMul", re, c);
    y[1] = fy_x2(x, "MatMul", re, s);
    if (!d->inverse) y[1] = fy_x1(x, "Neg", y[1]);
    if (im) {                                                /* i (c -+ i s) = +-s + i c */
        y[0] = fy_x2(x, d->inverse ? "Sub" : "Add", y[0], fy_x2(x, "MatMul", im, s));
        y[1] = fy_x2(x, "Add", y[1], fy_x2(x, "MatMul", im, c));
    }
    for (int i = 0; i < 2; i++) y[i] = fy_b_unsqueeze(b, y[i], -1);
    return d->half ? y[0] : fy_b_concat(b, 2, y, -1);
}

/* In the form of 17: the axis is an attribute. */
fy_status fy_lower_dft17(fy_step_ctx *x) {
    fy_build *b = &x->b;
    fy_dtype t = fy_step_dtype(x, 0);
    int64_t axis = fy_step_int(x, "axis", 1), given = -1, n = 0, parts = fy_step_known(fy_in(x->n, 0), -1);
    dft d = {.rank = fy_step_rank(x, 0), .inverse = fy_step_int(x, "inverse", 0), .onesided = fy_step_int(x, "onesided", 0)};
    FY_STEP_NEED(x, d.rank >= 2 && fy_dtype_float(t) && (parts == 1 || parts == 2), "DFT must be written out for this opset, and type, rank or the last size are not known");
    if (axis < 0) axis += d.rank;
    FY_NEED(x->e, axis >= 0 && axis < d.rank - 1, AXIS, "DFT: axis %lld of rank %d", (long long)axis, d.rank);
    FY_OPSET_REPLACES(x);
    d.axis = (int)axis;
    d.complex = parts == 2;
    d.half = d.inverse && d.onesided;
    d.s = t == FERRY_DOUBLE ? t : FERRY_FLOAT;
    int perm[FY_MAX_RANK], back[FY_MAX_RANK], at = 0;
    for (int a = 0; a < d.rank - 1; a++)
        if (a != d.axis) perm[at++] = a;
    perm[at++] = d.axis;
    perm[at] = d.rank - 1;
    for (int a = 0; a < d.rank; a++) back[perm[a]] = a;
    fy_value *in = fy_in(x->n, 0), *v = fy_b_transpose(b, fy_b_cast(b, in, d.s), perm), *size = fy_step_size(b, in, d.axis), *len, *used, *two = fy_k_i64(b, 2), *one = fy_k_i64(b, 1);
    int64_t have = fy_step_known(in, d.axis), known[3] = {-1, -1, -1};
    if (fy_step_has(x, 1)) {
        len = fy_step_ints(x, 1, &given, 1, &n) && n == 1 ? fy_k_i64(b, given) : scalar(x, 1);
        known[0] = n == 1 ? given : -1;
    } else {
        len = d.half ? fy_x2(x, "Mul", fy_x2(x, "Sub", size, one), two) : size;
        known[0] = have < 0 ? -1 : d.half ? 2 * (have - 1) : have;
    }
    used = d.half ? fy_x2(x, "Add", fy_x2(x, "Div", len, two), one) : len;
    known[1] = known[0] < 0 ? -1 : d.half ? known[0] / 2 + 1 : known[0];
    known[2] = known[0] < 0 ? -1 : d.onesided && !d.inverse ? known[0] / 2 + 1 : known[0];
    fy_value *bins = d.onesided && !d.inverse ? fy_x2(x, "Add", fy_x2(x, "Div", len, two), one) : len;
    if (have < 0 || have != known[1]) {                      /* cut, or filled up with zeros */
        v = fy_b_slice(b, v, d.rank - 2, one_int(x, 0), vec(x, used), NULL);
        fy_value *more = fy_x2(x, "Max", fy_x2(x, "Sub", used, size), fy_k_i64(b, 0));
        v = fy_emit(b, "Pad", FY_V(v, fy_b_concat(b, 2, (fy_value *[]){one_int(x, 0), vec(x, more)}, 0), NULL, one_int(x, d.rank - 2)), FY_NOATTR);
    }
    v = transform(x, &d, v, len, used, bins, known);
    return fy_step_replace(x, fy_b_cast(b, fy_b_transpose(b, v, back), t));
}

/* The axis is computed: as the second of [before, n, after, parts]. */
static fy_status dft_anywhere(fy_step_ctx *x) {
    fy_build *b = &x->b;
    fy_value *in = fy_in(x->n, 0), *part[4], *back[4];
    int64_t parts = fy_step_known(in, -1);
    FY_STEP_NEED(x, fy_step_dtype(x, 0) && parts > 0, "an axis that is computed came with opset 20, and type or last size are not known");
    FY_OPSET_REPLACES(x);
    fy_value *shape = fy_x1(x, "Shape", in), *at = vec(x, fy_in(x->n, 2)), *zero = one_int(x, 0), *one = one_int(x, 1), *last = one_int(x, -1);
    at = fy_x3(x, "Where", fy_x2(x, "Less", at, fy_k_i64(b, 0)), fy_x2(x, "Add", at, fy_x1(x, "Shape", shape)), at);
    back[0] = fy_b_slice(b, shape, 0, zero, at, NULL);
    back[2] = fy_b_slice(b, shape, 0, fy_x2(x, "Add", at, one), last, NULL);
    for (int i = 0; i < 3; i += 2) part[i] = fy_emit(b, "ReduceProd", FY_V(back[i]), FY_A(fy_int("keepdims", 1)));
    part[1] = fy_x2(x, "Gather", shape, at);
    part[3] = one_int(x, parts);
    fy_value *v = fy_x2(x, "Reshape", in, fy_b_concat(b, 4, part, 0));
    FY_TRY(b->status);
    const fy_dim *dim[4];
    for (int i = 0; i < 4; i++) dim[i] = i < 3 ? fy_dim_opaque(x->m->dims, "DFT") : fy_dim_const(x->m->dims, parts);
    FY_NOMEM(x->e, dim[0] && dim[1] && dim[2] && dim[3]);
    v->type = fy_tensor_type(x->m, v->type.dtype, 4, dim);  /* of the sizes, the last alone is known */
    v = fy_emit(b, "DFT", FY_V(v, fy_in(x->n, 1), fy_k_i64(b, 1)), FY_A(fy_int("inverse", fy_step_int(x, "inverse", 0)), fy_int("onesided", fy_step_int(x, "onesided", 0))));
    fy_value *made = fy_x1(x, "Shape", v);
    back[1] = fy_step_slice(b, made, 0, 1, 2);
    back[3] = fy_step_slice(b, made, 0, 3, 4);
    return fy_step_replace(x, fy_x2(x, "Reshape", v, fy_b_concat(b, 4, back, 0)));
}

fy_status fy_lower_dft20(fy_step_ctx *x) {
    int64_t axis = -2, n = 1;
    int rank = fy_step_rank(x, 0);
    bool known = !fy_step_has(x, 2) || (fy_step_ints(x, 2, &axis, 1, &n) && n == 1);
    if (!known || (axis < 0 && rank < 1)) return dft_anywhere(x);
    FY_OPSET_CHECKED(x);
    FY_TRY(fy_step_set_in(x, 2, NULL));
    return fy_step_set_attr(x, fy_int("axis", axis < 0 ? axis + rank : axis));
}

/* Frames of the signal times the window, then a DFT of each. */
fy_status fy_lower_stft17(fy_step_ctx *x) {
    fy_build *b = &x->b;
    fy_value *signal = fy_in(x->n, 0), *window = fy_in(x->n, 2);
    FY_STEP_NEED(x, fy_step_dtype(x, 0) && fy_step_rank(x, 0) == 3, "STFT must be written out for this opset, and type or rank are not known");
    FY_OPSET_REPLACES(x);
    int64_t given[2], n;
    fy_value *step = fy_step_ints(x, 1, &given[0], 1, &n) && n == 1 ? fy_k_i64(b, given[0]) : scalar(x, 1), *len;
    if (fy_step_has(x, 3)) len = fy_step_ints(x, 3, &given[1], 1, &n) && n == 1 ? fy_k_i64(b, given[1]) : scalar(x, 3);
    else len = window ? fy_step_size(b, window, 0) : fy_step_size(b, signal, 1);
    fy_value *frames = fy_x2(x, "Add", fy_x2(x, "Div", fy_x2(x, "Sub", fy_step_size(b, signal, 1), len), step), fy_k_i64(b, 1));
    fy_value *at = fy_x2(x, "Add", fy_b_unsqueeze(b, fy_x2(x, "Mul", fy_step_iota(b, frames), step), 1), fy_step_iota(b, len));
    fy_value *v = fy_emit(b, "Gather", FY_V(signal, at), FY_A(fy_int("axis", 1)));
    if (window) v = fy_x2(x, "Mul", v, fy_b_unsqueeze(b, window, 1));
    return fy_step_replace(x, fy_emit(b, "DFT", FY_V(v, len, fy_k_i64(b, 2)), FY_A(fy_int("onesided", fy_step_int(x, "onesided", 1)))));
}

/* ---- windows and the mel matrix ------------------------------------------------------------------------------------ */

/* a0 - a1 cos(2 pi k / N) + a2 cos(4 pi k / N), N the size, or one less if it is not periodic */
fy_status fy_lower_window17(fy_step_ctx *x) {
    const char *op = x->n->op->name;
    double a1 = !strcmp(op, "HammingWindow") ? 21.0 / 46 : 0.5, a0 = !strcmp(op, "HammingWindow") ? 25.0 / 46 : !strcmp(op, "BlackmanWindow") ? 0.42 : 0.5;
    FY_OPSET_REPLACES(x);
    fy_build *b = &x->b;
    fy_dtype d = FERRY_DOUBLE;
    fy_value *n = scalar(x, 0), *len = fy_step_int(x, "periodic", 1) ? n : fy_x2(x, "Sub", n, fy_k_i64(b, 1));
    fy_value *angle = fy_x2(x, "Mul", fy_b_cast(b, fy_step_iota(b, n), d), fy_x2(x, "Div", k(x, d, TAU), fy_b_cast(b, fy_x2(x, "Max", len, fy_k_i64(b, 1)), d)));
    fy_value *y = fy_x2(x, "Sub", k(x, d, a0), fy_x2(x, "Mul", fy_x1(x, "Cos", angle), k(x, d, a1)));
    if (!strcmp(op, "BlackmanWindow")) y = fy_x2(x, "Add", y, fy_x2(x, "Mul", fy_x1(x, "Cos", fy_x2(x, "Add", angle, angle)), k(x, d, 0.08)));
    return fy_step_replace(x, fy_b_cast(b, y, (fy_dtype)fy_step_int(x, "output_datatype", FERRY_FLOAT)));
}

/* Triangles between neighbouring centres: bands are equal steps of 2595 log10(1 + f / 700), cut to whole bins. */
fy_status fy_lower_mel17(fy_step_ctx *x) {
    FY_OPSET_REPLACES(x);
    fy_build *b = &x->b;
    fy_dtype d = FERRY_DOUBLE;
    fy_value *bands = scalar(x, 0), *len = scalar(x, 1), *rate = fy_b_cast(b, scalar(x, 2), d), *edge[2], *zero = k(x, d, 0), *one = k(x, d, 1);
    for (int i = 0; i < 2; i++) {
        edge[i] = fy_x2(x, "Reshape", fy_b_cast(b, fy_in(x->n, 3 + i), d), fy_k_ints(b, 0, NULL));
        edge[i] = fy_x2(x, "Mul", fy_x1(x, "Log", fy_x2(x, "Add", fy_x2(x, "Div", edge[i], k(x, d, 700)), one)), k(x, d, 2595 / log(10)));
    }
    fy_value *count = fy_x2(x, "Add", bands, fy_k_i64(b, 2)), *step = fy_x2(x, "Div", fy_x2(x, "Sub", edge[1], edge[0]), fy_b_cast(b, count, d));
    fy_value *hz = fy_x2(x, "Add", fy_x2(x, "Mul", fy_b_cast(b, fy_step_iota(b, count), d), step), edge[0]);
    hz = fy_x2(x, "Mul", fy_x2(x, "Sub", fy_x1(x, "Exp", fy_x2(x, "Mul", hz, k(x, d, log(10) / 2595))), one), k(x, d, 700));
    fy_value *bin = fy_x1(x, "Floor", fy_x2(x, "Div", fy_x2(x, "Mul", hz, fy_b_cast(b, fy_x2(x, "Add", len, fy_k_i64(b, 1)), d)), rate)), *at[3];
    for (int i = 0; i < 3; i++) at[i] = fy_step_slice(b, bin, 0, i, i == 2 ? INT64_MAX : i - 2);
    fy_value *row = fy_b_unsqueeze(b, fy_b_cast(b, fy_step_iota(b, fy_x2(x, "Add", fy_x2(x, "Div", len, fy_k_i64(b, 2)), fy_k_i64(b, 1))), d), 1);
    fy_value *up = fy_x2(x, "Sub", at[1], at[0]), *down = fy_x2(x, "Sub", at[2], at[1]);
    fy_value *rise = fy_x3(x, "Where", fy_x2(x, "Equal", up, zero), one, fy_x2(x, "Div", fy_x2(x, "Sub", row, at[0]), fy_x2(x, "Max", up, one)));
    fy_value *fall = fy_x2(x, "Div", fy_x2(x, "Sub", at[2], row), fy_x2(x, "Max", down, one));
    fy_value *left = fy_x2(x, "And", fy_x2(x, "GreaterOrEqual", row, at[0]), fy_x2(x, "LessOrEqual", row, at[1]));
    fy_value *right = fy_x2(x, "And", fy_x2(x, "GreaterOrEqual", row, at[1]), fy_x2(x, "Less", row, at[2]));
    fy_value *y = fy_x3(x, "Where", right, fall, fy_x3(x, "Where", left, rise, zero));
    return fy_step_replace(x, fy_b_cast(b, y, (fy_dtype)fy_step_int(x, "output_datatype", FERRY_FLOAT)));
}

/* 1 where a uniform number is less than x. */
fy_status fy_lower_bernoulli15(fy_step_ctx *x) {
    fy_dtype t = fy_step_dtype(x, 0), to = (fy_dtype)fy_step_int(x, "dtype", t);
    FY_STEP_NEED(x, t, "Bernoulli came with opset 15, and the type is not known");
    FY_OPSET_REPLACES(x);
    const fy_attr *seed = fy_attr_get(x->n, "seed");
    fy_attr a[2] = {fy_int("dtype", t == FERRY_DOUBLE ? t : FERRY_FLOAT)};
    if (seed) a[1] = *seed;
    fy_value *r = fy_emit(&x->b, "RandomUniformLike", FY_V(fy_in(x->n, 0)), seed ? 2 : 1, a);
    return fy_step_replace(x, fy_b_cast(&x->b, fy_x2(x, "Less", r, fy_b_cast(&x->b, fy_in(x->n, 0), t == FERRY_DOUBLE ? t : FERRY_FLOAT)), to));
}

/* ---- recurrences --------------------------------------------------------------------------------------------------- */

/* The last k - 1 positions go before the input of a convolution of each channel by itself; the new last ones are the state. */
fy_status fy_lower_causal_conv27(fy_step_ctx *x) {
    fy_build *b = &x->b;
    fy_value *v = fy_in(x->n, 0), *weight = fy_in(x->n, 1), *past = fy_in(x->n, 3);
    int64_t channels = fy_step_known(weight, 0), width = fy_step_known(weight, 2), pads[6] = {0};
    if (channels < 0) channels = fy_step_known(v, 1);
    FY_STEP_NEED(x, channels > 0 && width > 0, "CausalConvWithState must be written out for this opset, and the sizes of its weight are not known");
    FY_OPSET_REPLACES(x);
    pads[2] = width - 1;
    v = past ? fy_b_concat(b, 2, (fy_value *[]){past, v}, 2) : fy_x2(x, "Pad", v, fy_k_ints(b, 6, pads));
    fy_value *y = fy_emit(b, "Conv", FY_V(v, weight, fy_in(x->n, 2)), FY_A(fy_int("group", channels)));
    if (!fy_step_text(x, "activation", "none", "none")) y = fy_x1(x, "Swish", y);
    if (fy_outv(x->n, 1)) {                                  /* counted from the front: -0 would be the front itself */
        fy_value *end = fy_x1(x, "Shape", v), *from = fy_x2(x, "Sub", fy_step_slice(b, end, 0, 2, 3), one_int(x, width - 1));
        FY_TRY(fy_step_put(x, 1, fy_b_slice(b, v, 2, from, one_int(x, INT64_MAX), NULL)));
    }
    return fy_step_replace(x, y);
}

/* [B, T, H D] -> [T, B, H, D]; last: the size of D, or -1 */
static fy_value *in_time(fy_step_ctx *x, fy_value *v, int64_t heads, int64_t last) {
    return fy_b_transpose(&x->b, fy_x2(x, "Reshape", v, fy_k_ints(&x->b, 4, (int64_t[]){0, 0, heads, last})), (int[]){1, 0, 2, 3});
}

static fy_value *f32(fy_build *b, fy_value *v) { return fy_b_cast(b, v, FERRY_FLOAT); }

/* S = exp(g) S + k (beta (v - S k))^T; y = scale q S: a Scan over time, in f32 as the standard's own function has it. */
fy_status fy_lower_linear_attention27(fy_step_ctx *x) {
    fy_build *b = &x->b, body;
    int64_t hq = fy_step_int(x, "q_num_heads", 0), hk = fy_step_int(x, "kv_num_heads", 0), width = fy_step_known(fy_in(x->n, 0), 2);
    fy_dtype t = fy_step_dtype(x, 0), st = fy_step_has(x, 3) ? fy_step_dtype(x, 3) : t;
    bool decays = fy_step_text(x, "update_rule", "gated", "gated_delta") || fy_step_text(x, "update_rule", "gated_delta", "gated_delta");
    bool delta = fy_step_text(x, "update_rule", "delta", "gated_delta") || fy_step_text(x, "update_rule", "gated_delta", "gated_delta");
    FY_NEED(x->e, hq > 0 && hk > 0 && hq % hk == 0, ATTR, "LinearAttention: %lld query heads for %lld key heads", (long long)hq, (long long)hk);
    FY_NEED(x->e, (!decays || fy_step_has(x, 4)) && (!delta || fy_step_has(x, 5)), GRAPH, "LinearAttention: decay or beta is missing");
    FY_STEP_NEED(x, t && width > 0, "LinearAttention must be written out for this opset, and type or head size are not known");
    FY_OPSET_REPLACES(x);
    double scale = fy_step_float(x, "scale", 0);
    if (scale == 0) scale = 1 / sqrt((double)width / (double)hq);
    fy_value *shape = fy_x1(x, "Shape", fy_in(x->n, 0)), *batch = fy_step_slice(b, shape, 0, 0, 1), *wide = fy_step_slice(b, fy_x1(x, "Shape", fy_in(x->n, 2)), 0, 2, 3);
    fy_value *in[6] = {NULL}, *row[6], *s, *q, *kk, *v;
    int n = 0;
    in[n++] = in_time(x, fy_in(x->n, 0), hq, -1);
    in[n++] = in_time(x, fy_in(x->n, 1), hk, -1);
    in[n++] = in_time(x, fy_in(x->n, 2), hk, -1);
    if (decays) in[n++] = in_time(x, fy_in(x->n, 4), hk, -1);
    if (delta) in[n++] = fy_b_transpose(b, fy_x2(x, "Reshape", fy_in(x->n, 5), fy_k_ints(b, 4, (int64_t[]){0, 0, -1, 1})), (int[]){1, 0, 2, 3});
    fy_value *state = fy_step_has(x, 3) ? f32(b, fy_in(x->n, 3)) : NULL;
    if (!state) {
        fy_value *dim[4] = {batch, one_int(x, hk), one_int(x, width / hq), fy_x2(x, "Div", wide, one_int(x, hk))};
        state = fy_x2(x, "Expand", k(x, FERRY_FLOAT, 0), fy_b_concat(b, 4, dim, 0));
    }
    FY_TRY(b->status);
    FY_TRY(fy_step_body(x, &body));
    FY_NOMEM(x->e, s = fy_graph_add_input(body.g, NULL, &state->type));
    for (int i = 0; i < n; i++) {
        fy_type type = fy_tensor_type(x->m, in[i]->type.dtype, 3, in[i]->type.dim + 1);
        FY_NOMEM(x->e, row[i] = fy_graph_add_input(body.g, NULL, &type));
    }
    fy_build *c = &body;
    q = f32(c, row[0]);
    kk = fy_b_unsqueeze(c, f32(c, row[1]), 3);               /* [B, H, D, 1] */
    v = f32(c, row[2]);
    if (decays) s = fy_emit(c, "Mul", FY_V(s, fy_b_unsqueeze(c, fy_emit(c, "Exp", FY_V(f32(c, row[3])), FY_NOATTR), 3)), FY_NOATTR);
    if (delta) {
        fy_value *seen = fy_b_squeeze(c, fy_emit(c, "MatMul", FY_V(fy_b_transpose(c, s, (int[]){0, 1, 3, 2}), kk), FY_NOATTR), 3);
        v = fy_emit(c, "Mul", FY_V(f32(c, row[n - 1]), fy_emit(c, "Sub", FY_V(v, seen), FY_NOATTR)), FY_NOATTR);
    }
    s = fy_emit(c, "Add", FY_V(s, fy_emit(c, "MatMul", FY_V(kk, fy_b_unsqueeze(c, v, 2)), FY_NOATTR)), FY_NOATTR);
    int64_t group = hq / hk;                                 /* query heads of one key head: rows of one product */
    fy_value *rows = fy_emit(c, "Reshape", FY_V(q, fy_k_ints(c, 4, (int64_t[]){0, hk, group, -1})), FY_NOATTR);
    fy_value *y = fy_emit(c, "Mul", FY_V(fy_emit(c, "MatMul", FY_V(rows, s), FY_NOATTR), fy_k_scalar(c, FERRY_FLOAT, scale)), FY_NOATTR);
    y = fy_b_cast(c, fy_emit(c, "Identity", FY_V(y), FY_NOATTR), t);
    FY_TRY(body.status);
    FY_NOMEM(x->e, fy_graph_add_output(body.g, s) && fy_graph_add_output(body.g, y));
    fy_value *all[7] = {state};
    for (int i = 0; i < n; i++) all[1 + i] = in[i];
    fy_node *scan = fy_emit_n(b, "Scan", 2, n + 1, all, FY_A(fy_body_attr("body", body.g), fy_int("num_scan_inputs", n)));
    if (!scan) return b->status;
    if (fy_outv(x->n, 1)) FY_TRY(fy_step_put(x, 1, fy_b_cast(b, fy_x1(x, "Identity", scan->out[0]), st)));
    y = fy_emit(b, "Transpose", FY_V(scan->out[1]), FY_A(fy_ints("perm", 5, (int64_t[]){1, 0, 2, 3, 4})));
    fy_value *flat[2] = {fy_step_slice(b, shape, 0, 0, 2), one_int(x, -1)};
    return fy_step_replace(x, fy_x2(x, "Reshape", y, fy_b_concat(b, 2, flat, 0)));
}
