/* SPDX-License-Identifier: Apache-2.0
 * lower_shape.c - adapters down for what moves data: pads, splits, crops, caches, layouts of recurrent layers, optionals. */
#include "opset/internal.h"

#include <string.h>

static fy_value *vec(fy_build *b, fy_value *scalar) { return fy_emit(b, "Reshape", FY_V(scalar, fy_k_ints(b, 1, (int64_t[]){1})), FY_NOATTR); }

/* Axes as they are, from the front. */
static fy_value *from_front(fy_step_ctx *x, fy_value *axes, int rank) {
    axes = fy_b_cast(&x->b, axes, FERRY_INT64);
    return fy_x3(x, "Where", fy_x2(x, "Less", axes, fy_k_i64(&x->b, 0)), fy_x2(x, "Add", axes, fy_k_i64(&x->b, rank)), axes);
}

/* ---- Pad ----------------------------------------------------------------------------------------------------------- */

typedef struct padding { int rank; bool axes_known, pads_known; int64_t axes[FY_MAX_RANK], pads[2 * FY_MAX_RANK], n; } padding;

static fy_status read_pads(padding *p, fy_step_ctx *x) {
    int64_t np = 0;
    *p = (padding){.rank = fy_step_rank(x, 0)};
    FY_STEP_NEED(x, p->rank >= 0, "its form of opset %d must be written out, and the rank is not known", fy_step_has(x, 3) ? 18 : 19);
    p->axes_known = !fy_step_has(x, 3) || fy_step_ints(x, 3, p->axes, FY_MAX_RANK, &p->n);
    if (!fy_step_has(x, 3)) for (p->n = 0; p->n < p->rank; p->n++) p->axes[p->n] = p->n;
    for (int64_t i = 0; p->axes_known && i < p->n; i++) {
        if (p->axes[i] < 0) p->axes[i] += p->rank;
        FY_NEED(x->e, p->axes[i] >= 0 && p->axes[i] < p->rank, AXIS, "Pad: axis %lld of rank %d", (long long)p->axes[i], p->rank);
    }
    p->pads_known = p->axes_known && fy_step_ints(x, 1, p->pads, 2 * FY_MAX_RANK, &np);
    FY_NEED(x->e, !p->pads_known || np == 2 * p->n, SHAPE, "Pad: %lld pads for %lld axes", (long long)np, (long long)p->n);
    return FY_OK;
}

/* Pads of every axis: zeros, and what is given at the axes that are given. */
static fy_value *every_axis(fy_step_ctx *x, const padding *p) {
    fy_build *b = &x->b;
    int64_t full[2 * FY_MAX_RANK] = {0};
    if (p->pads_known) {
        for (int64_t i = 0; i < p->n; i++) full[p->axes[i]] = p->pads[i], full[p->axes[i] + p->rank] = p->pads[p->n + i];
        return fy_k_ints(b, 2 * p->rank, full);
    }
    if (!fy_step_has(x, 3)) return fy_in(x->n, 1);
    fy_value *axes = from_front(x, fy_in(x->n, 3), p->rank), *at[2] = {axes, fy_x2(x, "Add", axes, fy_k_i64(b, p->rank))};
    return fy_x3(x, "ScatterElements", fy_k_ints(b, 2 * p->rank, full), fy_b_concat(b, 2, at, 0), fy_in(x->n, 1));
}

fy_status fy_lower_pad18(fy_step_ctx *x) {
    padding p;
    if (!fy_step_has(x, 3)) return FY_OK;
    FY_TRY(read_pads(&p, x));
    FY_OPSET_CHECKED(x);
    fy_value *pads = every_axis(x, &p);
    FY_TRY(fy_step_set_in(x, 3, NULL));
    return fy_step_set_in(x, 1, pads);
}

/* mode wrap: element i of the result is element i mod n, axis by axis. */
fy_status fy_lower_pad19(fy_step_ctx *x) {
    padding p;
    if (!fy_step_text(x, "mode", "wrap", "constant")) return FY_OK;
    FY_TRY(read_pads(&p, x));
    FY_OPSET_REPLACES(x);
    fy_build *b = &x->b;
    fy_value *v = fy_in(x->n, 0), *pads = every_axis(x, &p);
    bool touched[FY_MAX_RANK] = {false};
    for (int64_t i = 0; p.pads_known && i < p.n; i++) touched[p.axes[i]] = p.pads[i] || p.pads[p.n + i];
    for (int a = 0; a < p.rank; a++) {
        if (p.pads_known && !touched[a]) continue;
        fy_value *n = fy_step_size(b, v, a), *before = fy_x2(x, "Gather", pads, fy_k_i64(b, a)), *after = fy_x2(x, "Gather", pads, fy_k_i64(b, a + p.rank));
        fy_value *at = fy_x3(x, "Range", fy_x1(x, "Neg", before), fy_x2(x, "Add", n, after), fy_k_i64(b, 1));
        v = fy_emit(b, "Gather", FY_V(v, fy_x2(x, "Mod", at, n)), FY_A(fy_int("axis", a)));
    }
    return fy_step_replace(x, v == fy_in(x->n, 0) ? fy_x1(x, "Identity", v) : v);
}

/* ---- Split, SpaceToDepth, CenterCropPad ---------------------------------------------------------------------------- */

/* num_outputs -> sizes, unless the axis divides evenly: all but the last are as large as it takes. */
fy_status fy_lower_split18(fy_step_ctx *x) {
    int64_t axis = fy_step_int(x, "axis", 0), n = x->n->nout;
    if (!fy_attr_get(x->n, "num_outputs")) return FY_OK;
    FY_TRY(fy_step_axis(x, axis, fy_step_rank(x, 0)));
    const fy_dim *d = fy_step_dim(x, 0, axis);
    FY_OPSET_CHECKED(x);
    fy_node_del_attr(x->n, "num_outputs");
    if (fy_step_has(x, 1) || n <= 1 || (d && fy_dim_divisible(d, n))) return FY_OK;
    fy_build *b = &x->b;
    int64_t size = fy_step_known(fy_in(x->n, 0), axis);
    if (size >= 0) {
        int64_t part = (size + n - 1) / n, *list = FY_NEWN(&x->m->arena, int64_t, n);
        FY_NOMEM(x->e, list);
        for (int64_t i = 0; i < n; i++, size -= part) list[i] = size < 0 ? 0 : size < part ? size : part;
        return fy_step_set_in(x, 1, fy_k_ints(b, n, list));
    }
    fy_value *all = fy_step_size(b, fy_in(x->n, 0), axis), *part = fy_x2(x, "Div", fy_x2(x, "Add", all, fy_k_i64(b, n - 1)), fy_k_i64(b, n));
    fy_value *last = fy_x2(x, "Sub", all, fy_x2(x, "Mul", part, fy_k_i64(b, n - 1)));
    fy_value *list[2] = {fy_x2(x, "Expand", part, fy_k_ints(b, 1, (int64_t[]){n - 1})), vec(b, last)};
    return fy_step_set_in(x, 1, fy_b_concat(b, 2, list, 0));
}

/* mode CRD: the channels of mode DCR in another order, [block, block, C] -> [C, block, block]. */
fy_status fy_lower_space_to_depth28(fy_step_ctx *x) {
    if (fy_step_text(x, "mode", "DCR", "DCR")) {
        if (!x->dry) fy_node_del_attr(x->n, "mode");
        return FY_OK;
    }
    int64_t c = fy_step_known(fy_in(x->n, 0), 1), size = fy_step_int(x, "blocksize", 0);
    FY_NEED(x->e, size > 0 && size < 1 << 15, ATTR, "SpaceToDepth with blocks of %lld", (long long)size);
    FY_STEP_NEED(x, c >= 0 && c < 1 << 20 && c * size * size < 1 << 22, "mode CRD came with opset 28, and the number of channels is not known");
    FY_OPSET_REPLACES(x);
    int64_t cells = size * size, *from = FY_NEWN(&x->m->arena, int64_t, c * cells + 1);
    FY_NOMEM(x->e, from);
    for (int64_t i = 0; i < c * cells; i++) from[i] = i % cells * c + i / cells;
    fy_value *v = fy_emit(&x->b, "SpaceToDepth", FY_V(fy_in(x->n, 0)), FY_A(fy_int("blocksize", size)));
    return fy_step_replace(x, fy_emit(&x->b, "Gather", FY_V(v, fy_k_ints(&x->b, c * cells, from)), FY_A(fy_int("axis", 1))));
}

/* Cuts what is too long and fills up what is too short, both in the middle. */
fy_status fy_lower_center_crop_pad18(fy_step_ctx *x) {
    int64_t all[FY_MAX_RANK], n = 0;
    int rank = fy_step_rank(x, 0);
    const int64_t *axes = fy_attr_ints(x->n, "axes", &n);
    FY_STEP_NEED(x, rank >= 0 || axes, "CenterCropPad must be written out for this opset, and the rank is not known");
    if (!axes) for (n = 0; n < rank; n++) all[n] = n;
    FY_OPSET_REPLACES(x);
    fy_build *b = &x->b;
    fy_value *v = fy_in(x->n, 0), *want = fy_b_cast(b, fy_in(x->n, 1), FERRY_INT64), *at = fy_k_ints(b, n, axes ? axes : all);
    fy_value *have = fy_x2(x, "Gather", fy_x1(x, "Shape", v), at), *zero = fy_k_i64(b, 0), *two = fy_k_i64(b, 2);
    fy_value *begin = fy_x2(x, "Div", fy_x2(x, "Max", fy_x2(x, "Sub", have, want), zero), two), *end = fy_x2(x, "Add", begin, fy_x2(x, "Min", have, want));
    fy_value *more = fy_x2(x, "Max", fy_x2(x, "Sub", want, have), zero), *before = fy_x2(x, "Div", more, two);
    v = fy_emit(b, "Slice", FY_V(v, begin, end, at), FY_NOATTR);
    fy_value *pads = fy_b_concat(b, 2, (fy_value *[]){before, fy_x2(x, "Sub", more, before)}, 0);
    return fy_step_replace(x, fy_emit(b, "Pad", FY_V(v, pads, NULL, at), FY_NOATTR));
}

/* ---- TensorScatter ------------------------------------------------------------------------------------------------- */

/* Positions write_indices[batch] + 0, 1, ... along the axis, as indices of a ScatterElements. */
fy_status fy_lower_tensor_scatter24(fy_step_ctx *x) {
    int rank = fy_step_rank(x, 0), n = 0;
    int64_t axis = fy_step_int(x, "axis", -2), more[FY_MAX_RANK];
    FY_STEP_NEED(x, rank >= 2, "TensorScatter must be written out for this opset, and the rank is not known");
    if (axis < 0) axis += rank;
    FY_NEED(x->e, axis >= 1 && axis < rank, AXIS, "TensorScatter: axis %lld of rank %d", (long long)axis, rank);
    FY_OPSET_REPLACES(x);
    fy_build *b = &x->b;
    fy_value *cache = fy_in(x->n, 0), *update = fy_in(x->n, 1), *at = fy_step_iota(b, fy_step_size(b, update, axis));
    if (fy_step_has(x, 2)) at = fy_x2(x, "Add", fy_b_unsqueeze(b, fy_in(x->n, 2), 1), at);
    if (fy_step_text(x, "mode", "circular", "linear")) at = fy_x2(x, "Mod", at, fy_step_size(b, cache, axis));
    for (int a = 0; a < rank; a++)
        if (a != axis && !(a == 0 && fy_step_has(x, 2))) more[n++] = a;
    if (n) at = fy_x2(x, "Unsqueeze", at, fy_k_ints(b, n, more));
    at = fy_x2(x, "Expand", at, fy_x1(x, "Shape", update));
    return fy_step_replace(x, fy_emit(b, "ScatterElements", FY_V(cache, at, update), FY_A(fy_int("axis", axis))));
}

/* ---- recurrent layers ---------------------------------------------------------------------------------------------- */

/* layout 1: the batch comes first in X, the initial states and all outputs. */
fy_status fy_lower_rnn14(fy_step_ctx *x) {
    fy_node *n = x->n;
    if (!fy_step_int(x, "layout", 0)) {
        if (!x->dry) fy_node_del_attr(n, "layout");
        return FY_OK;
    }
    FY_OPSET_REPLACES(x);
    fy_build *b = &x->b;
    fy_value *in[8] = {NULL};
    fy_attr attr[16];
    int nattr = 0, nin = n->nin < 8 ? n->nin : 8;
    for (int i = 0; i < nin; i++) {
        in[i] = fy_in(n, i);
        if (in[i] && (i == 0 || i == 5 || i == 6)) in[i] = fy_b_transpose(b, in[i], (int[]){1, 0, 2});
    }
    for (int i = 0; i < n->nattr && nattr < FY_COUNT(attr); i++)
        if (strcmp(n->attr[i].name, "layout")) attr[nattr++] = n->attr[i];
    fy_node *m = fy_emit_n(b, n->op->name, n->nout, nin, in, nattr, attr);
    if (!m) return b->status;
    for (int i = 0; i < n->nout; i++)
        if (n->out[i]) FY_TRY(fy_step_put(x, i, i ? fy_b_transpose(b, m->out[i], (int[]){1, 0, 2}) : fy_b_transpose(b, m->out[i], (int[]){2, 0, 1, 3})));
    return fy_step_done(x);
}

/* ---- optionals ----------------------------------------------------------------------------------------------------- */

/* Since 18 the two take plain values as well, which are there, and HasElement nothing at all. */
fy_status fy_lower_optional18(fy_step_ctx *x) {
    bool has = !strcmp(x->n->op->name, "OptionalHasElement");
    const fy_value *v = fy_in(x->n, 0);
    FY_STEP_NEED(x, !v || v->type.kind != FY_NOTYPE, "its form of opset 18 must be written out, and the type of its input is not known");
    if (v && v->type.kind == FY_OPTIONAL) return FY_OK;
    FY_OPSET_REPLACES(x);
    return fy_step_replace(x, fy_x1(x, "Identity", has ? fy_k_scalar_i(&x->b, FERRY_BOOL, v != NULL) : fy_in(x->n, 0)));
}

/* ---- BatchNormalization in training mode ---------------------------------------------------------------------------- */

fy_status fy_lower_batch_norm14(fy_step_ctx *x) {
    fy_dtype t = fy_step_dtype(x, 0), s;
    int rank = fy_step_rank(x, 0), n = 0;
    int64_t axes[FY_MAX_RANK], spatial[FY_MAX_RANK];
    if (!fy_step_int(x, "training_mode", 0)) {
        if (!x->dry) fy_node_del_attr(x->n, "training_mode");
        return FY_OK;
    }
    FY_STEP_NEED(x, t && rank >= 2, "training mode must be written out for this opset, and type or rank are not known");
    FY_OPSET_REPLACES(x);
    fy_build *b = &x->b;
    s = t == FERRY_FLOAT16 || t == FERRY_BFLOAT16 ? FERRY_FLOAT : t;
    double momentum = fy_step_float(x, "momentum", 0.9);
    for (int a = 0; a < rank; a++)
        if (a != 1) axes[n++] = a;
    for (int a = 1; a < rank - 1; a++) spatial[a - 1] = a;
    fy_value *in[5], *over = fy_k_ints(b, n, axes), *wide = rank > 2 ? fy_k_ints(b, rank - 2, spatial) : NULL;
    for (int i = 0; i < 5; i++) in[i] = fy_b_cast(b, fy_in(x->n, i), s);
    fy_value *stat[2], *d;
    stat[0] = fy_emit(b, "ReduceMean", FY_V(in[0], over), FY_A(fy_int("keepdims", 1)));
    d = fy_x2(x, "Sub", in[0], stat[0]);
    stat[1] = fy_emit(b, "ReduceMean", FY_V(fy_x2(x, "Mul", d, d), over), FY_A(fy_int("keepdims", 1)));
    fy_value *dev = fy_x1(x, "Sqrt", fy_x2(x, "Add", stat[1], fy_k_scalar(b, s, fy_step_float(x, "epsilon", 1e-5)))), *y = fy_x2(x, "Div", d, dev);
    for (int i = 1; i < 3; i++) {
        fy_value *w = wide ? fy_x2(x, "Unsqueeze", in[i], wide) : in[i];
        y = fy_x2(x, i == 1 ? "Mul" : "Add", y, w);
        if (!fy_outv(x->n, i)) continue;
        fy_value *now = fy_x2(x, "Squeeze", stat[i - 1], over), *old = fy_x2(x, "Mul", in[i + 2], fy_k_scalar(b, s, momentum));
        now = fy_x2(x, "Add", old, fy_x2(x, "Mul", now, fy_k_scalar(b, s, 1 - momentum)));
        fy_dtype as = fy_step_dtype(x, i + 2);
        FY_TRY(fy_step_put(x, i, fy_b_cast(b, now, as ? as : s)));
    }
    return fy_step_replace(x, fy_b_cast(b, y, t));
}

/* ---- BitShift ------------------------------------------------------------------------------------------------------ */

/* Signed numbers, since 28: shifted as unsigned ones of their width; to the right, a negative x as -1 - ((-1 - x) >> n). */
fy_status fy_lower_bit_shift28(fy_step_ctx *x) {
    fy_dtype t = fy_step_dtype(x, 0), u;
    if (fy_dtype_class(t) != FY_CLASS_I) return FY_OK;
    u = fy_dtype_bits(t) == 8 ? FERRY_UINT8 : fy_dtype_bits(t) == 16 ? FERRY_UINT16 : fy_dtype_bits(t) == 32 ? FERRY_UINT32 : FERRY_UINT64;
    FY_OPSET_REPLACES(x);
    fy_build *b = &x->b;
    bool right = fy_step_text(x, "direction", "RIGHT", "");
    fy_value *v = fy_in(x->n, 0), *n = fy_b_cast(b, fy_in(x->n, 1), u), *below = NULL, *less = fy_k_scalar_i(b, t, -1);
    if (right) {
        below = fy_x2(x, "Less", v, fy_k_scalar_i(b, t, 0));
        v = fy_x3(x, "Where", below, fy_x2(x, "Sub", less, v), v);
    }
    v = fy_b_cast(b, fy_emit(b, "BitShift", FY_V(fy_b_cast(b, v, u), n), FY_A(fy_text("direction", right ? "RIGHT" : "LEFT"))), t);
    return fy_step_replace(x, right ? fy_x3(x, "Where", below, fy_x2(x, "Sub", less, v), v) : v);
}

/* Between integers of one width the bits of a Cast are those of a BitCast. */
fy_status fy_lower_bit_cast26(fy_step_ctx *x) {
    fy_dtype from = fy_step_dtype(x, 0), to = (fy_dtype)fy_step_int(x, "to", 0);
    FY_STEP_NEED(x, from == to || (fy_dtype_int(from) && fy_dtype_int(to) && fy_dtype_bits(from) == fy_dtype_bits(to)),
                 "BitCast came with opset 26; before, only integers of one width can be taken for each other");
    FY_OPSET_REPLACES(x);
    return fy_step_replace(x, from == to ? fy_x1(x, "Identity", fy_in(x->n, 0)) : fy_b_cast(&x->b, fy_in(x->n, 0), to));
}
