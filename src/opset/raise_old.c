/* SPDX-License-Identifier: Apache-2.0
 * raise_old.c - adapters from the forms of opsets 1 to 6: one-sided broadcasts along `axis`, sizes as attributes, types as text, is_test.
 * Source: onnx/docs/Changelog.md, versions 1 to 7 of each operator. */
#include "opset/internal.h"

#include <math.h>
#include <string.h>

/* 1 -> 7: with broadcast, the second operand lies at `axis` of the first; without axis at its end, as ever since. */
fy_status fy_raise_broadcast7(fy_step_ctx *x) {
    const fy_attr *a = fy_attr_get(x->n, "axis");
    int64_t at = fy_step_int(x, "axis", 0), more[FY_MAX_RANK];
    int ra = fy_step_rank(x, 0), rb = fy_step_rank(x, 1);
    if (a && fy_step_int(x, "broadcast", 0)) {
        FY_STEP_NEED(x, ra >= 0 && rb >= 0, "its second operand is broadcast along an axis of the first, and a rank is not known");
        if (at < 0) at += ra;
        FY_NEED(x->e, at >= 0 && at <= ra && rb <= ra - at, AXIS, "%s: %d dimensions at axis %lld of %d", x->n->op->name, rb, (long long)at, ra);
        int64_t n = ra - at - rb;
        for (int64_t i = 0; i < n; i++) more[i] = rb + i;
        if (n) FY_TRY(fy_step_set_in(x, 1, fy_emit(&x->b, "Unsqueeze", FY_V(fy_in(x->n, 1), fy_k_ints(&x->b, n, more)), FY_NOATTR)));
    }
    fy_node_del_attr(x->n, "axis");
    fy_node_del_attr(x->n, "broadcast");
    return FY_OK;
}

/* 6 -> 7: one slope for each channel was a vector, whatever the rank. */
fy_status fy_raise_prelu7(fy_step_ctx *x) {
    int rank = fy_step_rank(x, 0);
    int64_t more[FY_MAX_RANK], n = 0;
    const fy_dim *size = fy_step_rank(x, 1) == 1 ? fy_step_dim(x, 1, 0) : NULL;
    if (!size || fy_dim_is(size, 1)) return FY_OK;
    FY_STEP_NEED(x, rank >= 1, "its slopes are those of channels, and the rank is not known");
    for (; n < rank - 2; n++) more[n] = n + 1;
    return n ? fy_step_set_in(x, 1, fy_emit(&x->b, "Unsqueeze", FY_V(fy_in(x->n, 1), fy_k_ints(&x->b, n, more)), FY_NOATTR)) : FY_OK;
}

/* 1 -> 6: the type was its name. */
fy_status fy_raise_cast6(fy_step_ctx *x) {
    static const char *const names[] = {"UNDEFINED", "FLOAT", "UINT8", "INT8", "UINT16", "INT16", "INT32", "INT64", "STRING", "BOOL", "FLOAT16", "DOUBLE", "UINT32", "UINT64",
        "COMPLEX64", "COMPLEX128"};
    const fy_attr *a = fy_attr_get(x->n, "to");
    if (!a || a->kind != FY_ATTR_STRING) return FY_OK;
    for (int i = 1; i < FY_COUNT(names); i++)
        if (fy_step_text(x, "to", names[i], "")) return fy_step_set_attr(x, fy_int("to", i));
    return fy_fail(x->e, FY_E_ATTR, "Cast to \"%.*s\", which is no type", (int)(a->s.n < 40 ? a->s.n : 40), a->s.at);
}

fy_status fy_raise_concat4(fy_step_ctx *x) { return fy_attr_get(x->n, "axis") ? FY_OK : fy_step_set_attr(x, fy_int("axis", 1)); }

fy_status fy_raise_reshape5(fy_step_ctx *x) {
    int64_t n;
    const int64_t *v = fy_attr_ints(x->n, "shape", &n);
    if (!v) return FY_OK;
    FY_TRY(fy_step_set_in(x, 1, fy_k_ints(&x->b, n, v)));
    fy_node_del_attr(x->n, "shape");
    return FY_OK;
}

fy_status fy_raise_pad2(fy_step_ctx *x) {
    int64_t n;
    const int64_t *v = fy_attr_ints(x->n, "paddings", &n);
    if (!v) return FY_OK;
    FY_TRY(fy_step_set_attr(x, fy_ints("pads", n, v)));
    fy_node_del_attr(x->n, "paddings");
    return FY_OK;
}

/* 1 -> 2: sizes could come as a second input, of floats. */
fy_status fy_raise_split2(fy_step_ctx *x) {
    return fy_step_has(x, 1) ? fy_step_set_in(x, 1, fy_b_cast(&x->b, fy_in(x->n, 1), FERRY_INT64)) : FY_OK;
}

/* 1 -> 6: (input, tiles, axis), both of the input's type -> repeats of every axis: ones, and `tiles` at `axis`. */
fy_status fy_raise_tile6(fy_step_ctx *x) {
    fy_build *b = &x->b;
    FY_NEED(x->e, fy_step_has(x, 1) && fy_step_has(x, 2), GRAPH, "Tile of opset 1 takes tiles and axis");
    fy_value *rank = fy_emit(b, "Shape", FY_V(fy_emit(b, "Shape", FY_V(fy_in(x->n, 0)), FY_NOATTR)), FY_NOATTR);
    fy_value *ones = fy_emit(b, "Expand", FY_V(fy_k_i64(b, 1), rank), FY_NOATTR), *one = fy_k_ints(b, 1, (int64_t[]){-1}), *in[2];
    for (int i = 0; i < 2; i++) in[i] = fy_emit(b, "Reshape", FY_V(fy_b_cast(b, fy_in(x->n, i + 1), FERRY_INT64), one), FY_NOATTR);
    FY_TRY(fy_step_set_in(x, 1, fy_emit(b, "ScatterElements", FY_V(ones, in[1], in[0]), FY_NOATTR)));
    return fy_step_set_in(x, 2, NULL);
}

/* 1 -> 7: two scales -> scales of all four axes. */
fy_status fy_raise_upsample7(fy_step_ctx *x) {
    const fy_attr *h = fy_attr_get(x->n, "height_scale"), *w = fy_attr_get(x->n, "width_scale");
    FY_NEED(x->e, h && w && h->kind == FY_ATTR_FLOAT && w->kind == FY_ATTR_FLOAT, ATTR, "Upsample of opset 1 needs height_scale and width_scale");
    double scales[4] = {1, 1, h->f, w->f};
    FY_TRY(fy_step_set_attr(x, fy_floats("scales", 4, scales)));
    fy_node_del_attr(x->n, "height_scale");
    fy_node_del_attr(x->n, "width_scale");
    return fy_step_text(x, "mode", "bilinear", "nearest") ? fy_step_set_attr(x, fy_text("mode", "linear")) : FY_OK;
}

/* 1 -> 2: p was a float. */
fy_status fy_raise_lp2(fy_step_ctx *x) {
    const fy_attr *a = fy_attr_get(x->n, "p");
    if (!a || a->kind != FY_ATTR_FLOAT) return FY_OK;
    FY_STEP_NEED(x, a->f >= 1 && a->f < 1000 && a->f == (double)(int64_t)a->f, "a norm of order %g has no newer form", a->f);
    return fy_step_set_attr(x, fy_int("p", (int64_t)a->f));
}

/* 1 -> 6: the constants had fewer digits. */
fy_status fy_raise_selu6(fy_step_ctx *x) {
    if (!fy_attr_get(x->n, "alpha")) FY_TRY(fy_step_set_attr(x, fy_float("alpha", (double)1.6732f)));
    return fy_attr_get(x->n, "gamma") ? FY_OK : fy_step_set_attr(x, fy_float("gamma", (double)1.0507f));
}

/* 1 -> 6: there was no bound where none was given. */
fy_status fy_raise_clip6(fy_step_ctx *x) {
    if (!fy_attr_get(x->n, "min")) FY_TRY(fy_step_set_attr(x, fy_float("min", -(double)INFINITY)));
    return fy_attr_get(x->n, "max") ? FY_OK : fy_step_set_attr(x, fy_float("max", (double)INFINITY));
}

/* 1 -> 3: the default was misspelt. */
fy_status fy_raise_gru3(fy_step_ctx *x) { return fy_step_text(x, "direction", "foward", "") ? fy_step_set_attr(x, fy_text("direction", "forward")) : FY_OK; }

/* The mask had the type of the data before opset 10. */
static fy_status cast_mask(fy_step_ctx *x, fy_value *mask) {
    fy_dtype t = fy_step_dtype(x, 0);
    return fy_step_put(x, 1, fy_b_cast(&x->b, mask, t ? t : FERRY_FLOAT));
}

/* 6 -> 7: is_test = 0, the default, drops; ever since a Dropout without a third input lets everything pass. */
fy_status fy_raise_dropout7(fy_step_ctx *x) {
    fy_build *b = &x->b;
    double ratio = fy_step_float(x, "ratio", 0.5);
    bool test = fy_step_int(x, "is_test", 0);
    fy_node_del_attr(x->n, "is_test");
    if (test) return FY_OK;
    fy_value *on = fy_k_scalar_i(b, FERRY_BOOL, 1);
    fy_node *d = fy_emit_n(b, "Dropout", fy_outv(x->n, 1) ? 2 : 1, FY_V(fy_in(x->n, 0), fy_k_scalar(b, FERRY_FLOAT, ratio), on), FY_NOATTR);
    if (!d) return b->status;
    if (fy_outv(x->n, 1)) FY_TRY(cast_mask(x, d->out[1]));
    return fy_step_replace(x, d->out[0]);
}

fy_status fy_raise_dropout10(fy_step_ctx *x) {
    fy_build *b = &x->b;
    if (!fy_outv(x->n, 1)) return FY_OK;
    fy_node *d = fy_emit_n(b, "Dropout", 2, FY_V(fy_in(x->n, 0)), FY_NOATTR);
    if (!d) return b->status;
    FY_TRY(cast_mask(x, d->out[1]));
    return fy_step_replace(x, d->out[0]);
}

/* ---- Scan of opset 8 ------------------------------------------------------------------------------------------------ */

/* A row of a batch: the type without its first axis. */
static fy_value *row_input(fy_step_ctx *x, fy_graph *g, const fy_value *v) {
    fy_type t = {.kind = FY_TENSOR, .dtype = v->type.kind == FY_TENSOR ? v->type.dtype : FERRY_UNDEFINED, .rank = -1};
    if (v->type.kind == FY_TENSOR && v->type.rank >= 1) t = fy_tensor_type(x->m, v->type.dtype, v->type.rank - 1, v->type.dim + 1);
    return fy_graph_add_input(g, NULL, &t);
}

/* 8 -> 9: everything had a batch axis in front, and rows could be of their own length. A Scan over the batch whose body scans one row; what
 * a shorter row does not reach is 0. */
fy_status fy_raise_scan9(fy_step_ctx *x) {
    fy_node *n = x->n;
    int64_t cut = fy_step_int(x, "num_scan_inputs", 0), ndir = 0;
    const int64_t *dir = fy_attr_ints(n, "directions", &ndir);
    fy_value *lens = fy_in(n, 0), *len = NULL, *full = NULL, *in[64], *outer[65];
    int nin = n->nin - 1, nout = n->nout, states = nin - (int)cut;
    fy_graph *row = fy_attr_graph(n, "body");        /* taken out of the node once all is known to be well */
    FY_NEED(x->e, row && cut >= 1 && states >= 0 && nout >= states && (!dir || ndir == cut), ATTR, "Scan of opset 8: %lld of %d inputs, %d outputs", (long long)cut, nin, nout);
    FY_NEED(x->e, nin <= 64 && nout <= 64, LIMIT, "a Scan of opset 8 has more than 64 inputs or outputs");
    for (int i = 0; i < nin; i++) FY_NEED(x->e, fy_in(n, i + 1), GRAPH, "input %d of Scan is missing", i + 1);
    fy_graph *g = fy_graph_new(x->m, n->graph);
    FY_NOMEM(x->e, g);
    fy_build b = {.g = g, .e = x->e, .scope = n->scope, .source = n->source};
    for (int i = 0; i < nin; i++) {
        FY_NOMEM(x->e, in[i] = row_input(x, g, fy_in(n, i + 1)));
        outer[i] = fy_in(n, i + 1);
    }
    if (lens) {
        FY_NOMEM(x->e, len = row_input(x, g, lens));
        outer[nin] = lens;
        len = fy_emit(&b, "Reshape", FY_V(fy_b_cast(&b, len, FERRY_INT64), fy_k_ints(&b, 1, (int64_t[]){1})), FY_NOATTR);
        full = fy_emit(&b, "Shape", FY_V(in[states]), FY_A(fy_int("start", 0), fy_int("end", 1)));
        for (int i = states; i < nin; i++) in[i] = fy_b_slice(&b, in[i], 0, fy_k_ints(&b, 1, (int64_t[]){0}), len, NULL);
    }
    fy_attr a[3] = {{.name = "body", .kind = FY_ATTR_GRAPH, .graph = row, .n = 1}, fy_int("num_scan_inputs", cut)};
    if (dir) a[2] = fy_ints("scan_input_directions", ndir, dir);
    FY_NOMEM(x->e, fy_node_take_body(n, "body"));
    fy_node *each = fy_emit_n(&b, "Scan", nout, nin, in, dir ? 3 : 2, a);
    FY_TRY(b.status);
    for (int i = 0; i < nout; i++) {
        fy_value *v = each->out[i];
        if (lens && i >= states) {
            fy_value *more = fy_emit(&b, "Sub", FY_V(full, len), FY_NOATTR);
            v = fy_emit(&b, "Pad", FY_V(v, fy_b_concat(&b, 2, (fy_value *[]){fy_k_ints(&b, 1, (int64_t[]){0}), more}, 0), NULL, fy_k_ints(&b, 1, (int64_t[]){0})), FY_NOATTR);
        }
        FY_TRY(b.status);
        FY_NOMEM(x->e, fy_graph_add_output(g, v));
    }
    int total = nin + (lens != NULL);
    fy_node *batch = fy_emit_n(&x->b, "Scan", nout, total, outer, FY_A({.name = "body", .kind = FY_ATTR_GRAPH, .graph = g, .n = 1}, fy_int("num_scan_inputs", total)));
    if (!batch) return x->b.status;
    for (int i = 0; i < nout; i++) FY_TRY(fy_step_put(x, i, batch->out[i]));
    return fy_step_done(x);
}
