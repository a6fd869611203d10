/* SPDX-License-Identifier: Apache-2.0
 * grad_nn.c - gradients of products, convolutions, pools, normalisations, softmax, losses, dropout. */
#include "ops/grad.h"
#include "ops/window.h"

#include <string.h>

static fy_value *unsupported(fy_grad *g, const char *why) { return fy_fail_value(g->b, FY_E_UNSUPPORTED, "the gradient of %s %s", g->n->op->name, why); }
static int rank_of(const fy_value *v) { return v && v->type.kind == FY_TENSOR ? v->type.rank : -1; }
static fy_value *ints(fy_grad *g, int64_t v) { return fy_k_ints(g->b, 1, &v); }
static fy_value *add(fy_grad *g, fy_value *x, fy_value *y) { return fy_g2(g, "Add", x, y); }
static fy_value *sub(fy_grad *g, fy_value *x, fy_value *y) { return fy_g2(g, "Sub", x, y); }
static fy_value *mul(fy_grad *g, fy_value *x, fy_value *y) { return fy_g2(g, "Mul", x, y); }
static fy_value *divide(fy_grad *g, fy_value *x, fy_value *y) { return fy_g2(g, "Div", x, y); }

/* ---- products ------------------------------------------------------------------------------------------------------ */

/* The last two axes change places. */
static fy_value *turned(fy_grad *g, fy_value *v) {
    int64_t perm[FY_MAX_RANK], rank = rank_of(v);
    if (rank < 2) return v ? unsupported(g, "needs the ranks of its inputs") : NULL;
    for (int64_t i = 0; i < rank; i++) perm[i] = i < rank - 2 ? i : i == rank - 2 ? rank - 1 : rank - 2;
    return fy_emit(g->b, "Transpose", FY_V(v), FY_A(fy_ints("perm", rank, perm)));
}

static void g_matmul(fy_grad *g) {
    fy_value *a = fy_gx(g, 0), *b = fy_gx(g, 1), *d = fy_gdy(g);
    int ra = rank_of(a), rb = rank_of(b);
    if (ra < 1 || rb < 1) {
        unsupported(g, "needs the ranks of its inputs");
        return;
    }
    fy_value *a2 = ra == 1 ? fy_g2(g, "Unsqueeze", a, ints(g, 0)) : a, *b2 = rb == 1 ? fy_g2(g, "Unsqueeze", b, ints(g, 1)) : b;
    if (rb == 1) d = fy_g2(g, "Unsqueeze", d, ints(g, -1));
    if (ra == 1) d = fy_g2(g, "Unsqueeze", d, ints(g, -2));
    if (g->want[0]) g->dx[0] = fy_g2(g, "Reshape", fy_gsum_to(g, fy_g2(g, "MatMul", d, turned(g, b2)), a2), fy_gshape(g, a));
    if (g->want[1]) g->dx[1] = fy_g2(g, "Reshape", fy_gsum_to(g, fy_g2(g, "MatMul", turned(g, a2), d), b2), fy_gshape(g, b));
}

static fy_value *gemm(fy_grad *g, fy_value *a, fy_value *b, bool ta, bool tb) {
    return fy_emit(g->b, "Gemm", FY_V(a, b), FY_A(fy_float("alpha", fy_attr_f(g->n, "alpha")), fy_int("transA", ta), fy_int("transB", tb)));
}

static void g_gemm(fy_grad *g) {
    bool ta = fy_attr_i(g->n, "transA"), tb = fy_attr_i(g->n, "transB");
    fy_value *a = fy_gx(g, 0), *b = fy_gx(g, 1), *d = fy_gdy(g);
    if (g->want[0]) g->dx[0] = ta ? gemm(g, b, d, tb, true) : gemm(g, d, b, false, !tb);
    if (g->want[1]) g->dx[1] = tb ? gemm(g, d, a, true, ta) : gemm(g, a, d, !ta, false);
    if (g->n->nin > 2 && g->want[2]) g->dx[2] = fy_gsum_to(g, fy_gmulk(g, d, fy_attr_f(g->n, "beta")), fy_gx(g, 2));
}

/* ---- convolutions and pools ---------------------------------------------------------------------------------------- */

/* The windows of the node with their pads worked out; false (and a failure) where sizes would have to be known. */
static bool windows(fy_grad *g, fy_window *w, int nd, const fy_value *weight) {
    int64_t kernel[FY_MAX_SPATIAL], in[FY_MAX_SPATIAL], out[FY_MAX_SPATIAL];
    const fy_value *x = fy_gx(g, 0), *y = fy_gy(g);
    bool sizes = rank_of(x) == nd + 2 && rank_of(y) == nd + 2;
    if (nd < 1 || nd > FY_MAX_SPATIAL) return unsupported(g, "needs the ranks of its inputs"), false;
    for (int i = 0; weight && i < nd; i++)
        if (rank_of(weight) != nd + 2 || !fy_dim_known(weight->type.dim[i + 2], &kernel[i])) return unsupported(g, "needs the size of its kernel"), false;
    fy_status s = fy_window_read(w, g->n, nd, weight ? kernel : NULL, g->b->e);
    if (s != FY_OK) return g->b->status = s, false;
    for (int i = 0; sizes && i < nd; i++) sizes = fy_dim_known(x->type.dim[i + 2], &in[i]) && fy_dim_known(y->type.dim[i + 2], &out[i]);
    bool same = w->auto_pad == FY_PAD_SAME_UPPER || w->auto_pad == FY_PAD_SAME_LOWER;
    if (same && !sizes) return unsupported(g, "with auto_pad needs the sizes of its input"), false;
    if (same) fy_window_place(w, in, out);
    for (int i = 0; i < nd; i++)
        if (w->pad[i] < 0 || w->pad_end[i] < 0) return unsupported(g, "is not known with negative pads"), false;
    return true;
}

/* What flows back through windows: every output point spread over its window by the kernel, then the input's place cut out of it. */
static fy_value *spread(fy_grad *g, fy_value *d, fy_value *weight, const fy_window *w, int64_t group) {
    int nd = w->nd;
    int64_t more[FY_MAX_SPATIAL], axes[FY_MAX_SPATIAL];
    for (int i = 0; i < nd; i++) {
        more[i] = w->stride[i] - 1;                                      /* input beyond the last window */
        axes[i] = i + 2;
    }
    fy_value *full = fy_emit(g->b, "ConvTranspose", FY_V(d, weight), FY_A(fy_ints("strides", nd, w->stride), fy_ints("dilations", nd, w->dilation),
                             fy_ints("output_padding", nd, more), fy_int("group", group)));
    fy_value *begin = fy_k_ints(g->b, nd, w->pad), *size = fy_emit(g->b, "Shape", FY_V(fy_gx(g, 0)), FY_A(fy_int("start", 2)));
    return fy_emit(g->b, "Slice", FY_V(full, begin, add(g, begin, size), fy_k_ints(g->b, nd, axes)), FY_NOATTR);
}

static fy_value *padded(fy_grad *g, const fy_window *w) {
    int64_t pads[2 * (FY_MAX_SPATIAL + 2)] = {0}, any = 0;
    for (int i = 0; i < w->nd; i++) {
        any |= pads[i + 2] = w->pad[i];
        any |= pads[w->nd + 4 + i] = w->pad_end[i];
    }
    return any ? fy_g2(g, "Pad", fy_gx(g, 0), fy_k_ints(g->b, 2 * (w->nd + 2), pads)) : fy_gx(g, 0);
}

/* The weight's gradient is the convolution of x by dy with strides and dilations in each other's place, cut to the kernel's size. */
static fy_value *weight_grad(fy_grad *g, const fy_window *w, int64_t group) {
    fy_value *x = padded(g, w), *d = fy_gdy(g), *wt = fy_gx(g, 1), *r;
    int nd = w->nd;
    int64_t n, c, m, perm[FY_MAX_RANK] = {1, 0, 2, 3, 4}, axes[FY_MAX_SPATIAL];
    fy_attr sd[] = {fy_ints("strides", nd, w->dilation), fy_ints("dilations", nd, w->stride), fy_int("group", 1)};
    fy_attr swap = fy_ints("perm", nd + 2, perm);
    if (group == 1) {
        r = fy_emit(g->b, "Conv", FY_V(fy_emit(g->b, "Transpose", FY_V(x), 1, &swap), fy_emit(g->b, "Transpose", FY_V(d), 1, &swap)), 3, sd);
        r = fy_emit(g->b, "Transpose", FY_V(r), 1, &swap);
    } else {                             /* one group for each channel of each item of the batch */
        const fy_value *x0 = fy_gx(g, 0);
        if (!fy_dim_known(x0->type.dim[0], &n) || !fy_dim_known(x0->type.dim[1], &c) || !fy_dim_known(wt->type.dim[0], &m))
            return unsupported(g, "in groups needs the sizes of batch and channels");
        fy_value *plane = fy_emit(g->b, "Shape", FY_V(d), FY_A(fy_int("start", 2))), *in = fy_emit(g->b, "Shape", FY_V(x), FY_A(fy_int("start", 2)));
#define SHAPE(tail, ...) fy_emit(g->b, "Concat", FY_V(fy_k_ints(g->b, (int64_t)(sizeof((int64_t[]){__VA_ARGS__}) / 8), (int64_t[]){__VA_ARGS__}), tail), FY_A(fy_int("axis", 0)))
        x = fy_g2(g, "Reshape", x, SHAPE(in, 1, n * c));
        d = fy_g2(g, "Reshape", d, SHAPE(plane, n, group, 1, m / group));
        d = fy_g2(g, "Expand", d, SHAPE(plane, n, group, c / group, m / group));
        d = fy_g2(g, "Reshape", d, SHAPE(plane, n * c * (m / group), 1));
        sd[2].i = n * c;
        r = fy_emit(g->b, "Conv", FY_V(x, d), 3, sd);
        r = fy_g2(g, "Reshape", r, SHAPE(fy_emit(g->b, "Shape", FY_V(r), FY_A(fy_int("start", 2))), n, group, c / group, m / group));
        r = fy_gsum(g, r, 1, (int64_t[]){0}, false);
        int64_t order[FY_MAX_RANK] = {0, 2, 1, 3, 4, 5};
        r = fy_emit(g->b, "Transpose", FY_V(r), FY_A(fy_ints("perm", nd + 3, order)));
        r = fy_g2(g, "Reshape", r, SHAPE(fy_emit(g->b, "Shape", FY_V(r), FY_A(fy_int("start", 3))), m, c / group));
    }
    for (int i = 0; i < nd; i++) axes[i] = i + 2;
    return fy_emit(g->b, "Slice", FY_V(r, fy_k_ints(g->b, nd, (int64_t[FY_MAX_SPATIAL]){0}), fy_k_ints(g->b, nd, w->kernel), fy_k_ints(g->b, nd, axes)), FY_NOATTR);
}

static void channel_sum(fy_grad *g, int i, fy_value *v, int rank) {
    int64_t axes[FY_MAX_RANK], n = 0;
    for (int a = 0; a < rank; a++)
        if (a != 1) axes[n++] = a;
    g->dx[i] = fy_gsum(g, v, (int)n, axes, false);
}

static void g_conv(fy_grad *g) {
    fy_window w;
    fy_value *wt = fy_gx(g, 1);
    int nd = rank_of(wt) - 2;
    int64_t group = fy_attr_i(g->n, "group");
    if (!windows(g, &w, nd, wt)) return;
    if (g->want[0]) g->dx[0] = spread(g, fy_gdy(g), wt, &w, group);
    if (g->want[1]) g->dx[1] = weight_grad(g, &w, group);
    if (g->n->nin > 2 && g->want[2]) channel_sum(g, 2, fy_gdy(g), nd + 2);
}

/* dy shared out among the elements of each window, padding not counted unless it was. */
static void g_average_pool(fy_grad *g) {
    fy_window w;
    fy_value *x = fy_gx(g, 0), *d = fy_gdy(g), *one = fy_gk(g, x, 1);
    int64_t c, taps = 1, kernel[FY_MAX_SPATIAL + 2];
    int nd = rank_of(x) - 2;
    if (!windows(g, &w, nd, NULL)) return;
    if (w.ceil || !fy_dim_known(x->type.dim[1], &c)) {
        unsupported(g, w.ceil ? "is not known with ceil_mode" : "needs the number of channels");
        return;
    }
    for (int i = 0; i < nd; i++) taps *= kernel[i + 2] = w.kernel[i];
    kernel[0] = c;
    kernel[1] = 1;
    fy_value *ones = fy_g2(g, "Expand", one, fy_k_ints(g->b, nd + 2, kernel));
    if (fy_attr_i(g->n, "count_include_pad")) d = fy_gmulk(g, d, 1.0 / (double)taps);
    else {
        int64_t pads[2 * FY_MAX_SPATIAL];
        for (int i = 0; i < nd; i++) {
            pads[i] = w.pad[i];
            pads[nd + i] = w.pad_end[i];
        }
        fy_value *count = fy_emit(g->b, "Conv", FY_V(fy_g2(g, "Expand", one, fy_gshape(g, x)), ones), FY_A(fy_ints("strides", nd, w.stride),
                fy_ints("dilations", nd, w.dilation),
                                  fy_ints("pads", 2 * nd, pads), fy_int("group", c)));
        d = divide(g, d, count);
    }
    g->dx[0] = spread(g, d, ones, &w, c);
}

static void g_global_average_pool(fy_grad *g) {
    fy_value *x = fy_gx(g, 0), *t = fy_gy(g);
    fy_value *share = divide(g, fy_b_cast(g->b, fy_g1(g, "Size", t), x->type.dtype), fy_b_cast(g->b, fy_g1(g, "Size", x), x->type.dtype));
    g->dx[0] = fy_g2(g, "Expand", mul(g, fy_gdy(g), share), fy_gshape(g, x));
}

/* ---- normalisations, softmax --------------------------------------------------------------------------------------- */

static fy_value *mean(fy_grad *g, fy_value *v, int64_t n, const int64_t *axes) {
    return fy_emit(g->b, "ReduceMean", FY_V(v, fy_k_ints(g->b, n, axes)), FY_A(fy_int("keepdims", 1)));
}

/* LayerNormalization and RMSNormalization, from what they normalise over. */
static void g_layer_norm(fy_grad *g) {
    bool rms = g->n->op->name[0] == 'R';
    fy_value *x = fy_gx(g, 0), *scale = fy_gx(g, 1), *d = fy_gdy(g);
    int rank = rank_of(x), axis;
    int64_t axes[FY_MAX_RANK], n = 0;
    if (rank < 1 || fy_axis(&axis, fy_attr_i(g->n, "axis"), rank, g->b->e) != FY_OK) {
        unsupported(g, "needs the rank of its input");
        return;
    }
    for (int i = axis; i < rank; i++) axes[n++] = i;
    fy_value *centred = rms ? x : sub(g, x, mean(g, x, n, axes)), *var = mean(g, mul(g, centred, centred), n, axes);
    fy_value *inv = fy_g1(g, "Reciprocal", fy_g1(g, "Sqrt", add(g, var, fy_gk(g, x, fy_attr_f(g->n, "epsilon"))))), *hat = mul(g, centred, inv);
    if (g->want[0]) {
        fy_value *dh = mul(g, d, scale), *rest = sub(g, dh, mul(g, hat, mean(g, mul(g, dh, hat), n, axes)));
        if (!rms) rest = sub(g, rest, mean(g, dh, n, axes));
        g->dx[0] = mul(g, rest, inv);
    }
    if (g->want[1]) g->dx[1] = fy_gsum_to(g, mul(g, d, hat), scale);
    if (g->n->nin > 2 && g->want[2]) g->dx[2] = fy_gsum_to(g, d, fy_gx(g, 2));
}

/* With the given mean and variance. */
static void g_batch_norm(fy_grad *g) {
    fy_value *x = fy_gx(g, 0), *d = fy_gdy(g), *v[5];
    int rank = rank_of(x);
    int64_t axes[FY_MAX_RANK];
    if (rank < 2 || fy_attr_i(g->n, "training_mode")) {
        unsupported(g, rank < 2 ? "needs the rank of its input" : "is not known in training_mode");
        return;
    }
    for (int i = 0; i < rank - 2; i++) axes[i] = i + 1;
    for (int i = 1; i < 5; i++) v[i] = rank > 2 ? fy_g2(g, "Unsqueeze", fy_gx(g, i), fy_k_ints(g->b, rank - 2, axes)) : fy_gx(g, i);
    fy_value *inv = fy_g1(g, "Reciprocal", fy_g1(g, "Sqrt", add(g, v[4], fy_gk(g, x, fy_attr_f(g->n, "epsilon"))))), *centred = sub(g, x, v[3]),
            *dx = mul(g, d, mul(g, v[1], inv));
    if (g->want[0]) g->dx[0] = dx;
    if (g->want[1]) channel_sum(g, 1, mul(g, d, mul(g, centred, inv)), rank);
    if (g->want[2]) channel_sum(g, 2, d, rank);
    if (g->want[3]) channel_sum(g, 3, fy_g1(g, "Neg", dx), rank);
    if (g->want[4]) channel_sum(g, 4, fy_gmulk(g, mul(g, mul(g, dx, centred), mul(g, inv, inv)), -0.5), rank);
}

/* Of Softmax (y) or LogSoftmax (e^y) along an axis. */
static fy_value *softmax_grad(fy_grad *g, fy_value *d, fy_value *y, bool log, int64_t axis) {
    if (log) return sub(g, d, mul(g, fy_g1(g, "Exp", y), fy_gsum(g, d, 1, &axis, true)));
    return mul(g, y, sub(g, d, fy_gsum(g, mul(g, d, y), 1, &axis, true)));
}
static void g_softmax(fy_grad *g) { g->dx[0] = softmax_grad(g, fy_gdy(g), fy_gy(g), g->n->op->name[0] == 'L', fy_attr_i(g->n, "axis")); }

/* ---- losses, dropout ----------------------------------------------------------------------------------------------- */

static void g_loss(fy_grad *g) {
    bool soft = g->n->op->name[0] == 'S', averaged = fy_attr_is(g->n, "reduction", "mean");
    fy_value *x = fy_gx(g, 0), *t = fy_gx(g, 1), *weight = fy_gx(g, 2), *zero = fy_gk(g, x, 0), *keep = NULL, *each, *d = NULL;
    const fy_attr *ignore = fy_attr_get(g->n, "ignore_index");
    if (!g->want[0] || !x || !t) return;
    fy_value *logs = soft ? fy_emit(g->b, "LogSoftmax", FY_V(x), FY_A(fy_int("axis", 1))) : NULL;
    if (g->dy[0]) {
        if (ignore) {
            keep = fy_g1(g, "Not", fy_g2(g, "Equal", t, fy_k_scalar_i(g->b, t->type.dtype, ignore->i)));
            t = fy_emit(g->b, "Where", FY_V(keep, t, fy_k_scalar_i(g->b, t->type.dtype, 0)), FY_NOATTR);
        }
        each = weight ? fy_g2(g, "Gather", weight, t) : fy_g2(g, "Expand", fy_gk(g, x, 1), fy_gshape(g, t));
        if (keep) each = fy_emit(g->b, "Where", FY_V(keep, each, zero), FY_NOATTR);
        fy_value *share = averaged ? divide(g, each, fy_emit(g->b, "ReduceSum", FY_V(each), FY_A(fy_int("keepdims", 0)))) : each;
        fy_value *pair = fy_emit(g->b, "Concat", FY_V(fy_k_ints(g->b, 1, (int64_t[]){0}), fy_k_ints(g->b, 1, (int64_t[]){1})), FY_A(fy_int("axis", 0)));
        fy_value *classes = fy_emit(g->b, "Shape", FY_V(x), FY_A(fy_int("start", 1), fy_int("end", 2)));
        fy_value *hot = fy_emit(g->b, "OneHot", FY_V(t, classes, fy_b_cast(g->b, pair, x->type.dtype)), FY_A(fy_int("axis", 1)));
        d = mul(g, hot, fy_g2(g, "Unsqueeze", fy_g1(g, "Neg", mul(g, g->dy[0], share)), ints(g, 1)));
    }
    if (soft && g->n->nout > 1 && g->dy[1]) d = d ? add(g, d, g->dy[1]) : g->dy[1];
    g->dx[0] = soft ? softmax_grad(g, d, logs, true, 1) : d;
    if (weight && g->want[2]) unsupported(g, "by its weights is not known");
}

static void g_dropout(fy_grad *g) {
    fy_value *mask = fy_outv(g->n, 1), *ratio = fy_gx(g, 1), *x = fy_gx(g, 0), *on = fy_gx(g, 2);
    if (!on) g->dx[0] = fy_gdy(g);
    else if (!mask) unsupported(g, "in training needs its mask as an output");
    else {
        fy_value *stay = sub(g, fy_gk(g, x, 1), ratio ? fy_b_cast(g->b, ratio, x->type.dtype) : fy_gk(g, x, 0.5));
        fy_value *kept = divide(g, mul(g, fy_gdy(g), fy_b_cast(g->b, mask, x->type.dtype)), stay);
        g->dx[0] = fy_emit(g->b, "Where", FY_V(on, kept, fy_gdy(g)), FY_NOATTR);
    }
}

const fy_grad_rule fy_grad_nn[] = {
    {"MatMul", g_matmul}, {"Gemm", g_gemm}, {"Conv", g_conv}, {"AveragePool", g_average_pool}, {"GlobalAveragePool", g_global_average_pool},
    {"LayerNormalization", g_layer_norm}, {"RMSNormalization", g_layer_norm}, {"BatchNormalization", g_batch_norm}, {"Softmax", g_softmax},
    {"LogSoftmax", g_softmax}, {"SoftmaxCrossEntropyLoss", g_loss}, {"NegativeLogLikelihoodLoss", g_loss}, {"Dropout", g_dropout}, {NULL, NULL}};
