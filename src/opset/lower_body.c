/* SPDX-License-Identifier: Apache-2.0
 * lower_body.c - adapters down that need a body: what newer operators decide or repeat inside, older opsets say with If and Loop. */
#include "opset/internal.h"

#include <string.h>

#define TOP INT64_MAX                    /* as an end of a slice: to the end */

/* ---- reductions over axes that are computed ------------------------------------------------------------------------ */

static fy_value *reduce(fy_build *b, const char *op, fy_value *v, fy_value *axes, int64_t keep) { return fy_emit(b, op, FY_V(v, axes), FY_A(fy_int("keepdims", keep))); }

/* ReduceSum takes axes as an input since 13, and these are sums. NULL if `op` is not one of them. */
static fy_value *as_sum(fy_step_ctx *x, const char *op, fy_value *v, fy_value *axes, int64_t keep) {
    fy_build *b = &x->b;
    if (!strcmp(op, "ReduceL1")) return reduce(b, "ReduceSum", fy_x1(x, "Abs", v), axes, keep);
    if (!strcmp(op, "ReduceSumSquare")) return reduce(b, "ReduceSum", fy_x2(x, "Mul", v, v), axes, keep);
    if (!strcmp(op, "ReduceL2")) return fy_x1(x, "Sqrt", reduce(b, "ReduceSum", fy_x2(x, "Mul", v, v), axes, keep));
    if (!strcmp(op, "ReduceLogSum")) return fy_x1(x, "Log", reduce(b, "ReduceSum", v, axes, keep));
    if (strcmp(op, "ReduceMean")) return NULL;
    fy_value *count = fy_emit(b, "ReduceProd", FY_V(fy_x2(x, "Gather", fy_x1(x, "Shape", v), axes)), FY_A(fy_int("keepdims", 0)));
    return fy_x2(x, "Div", reduce(b, "ReduceSum", v, axes, keep), fy_b_cast(b, count, fy_step_dtype(x, 0)));
}

/* The others can be taken one axis after the other: each axis is reduced if it is among the axes. */
fy_status fy_step_reduce_computed(fy_step_ctx *x) {
    const char *op = x->n->op->name;
    int rank = fy_step_rank(x, 0);
    int64_t n = fy_step_known(fy_in(x->n, 1), 0), keep = fy_step_int(x, "keepdims", 1);
    FY_STEP_NEED(x, n > 0, "axes that are computed came with opset 18, and how many there are is not known");
    FY_STEP_NEED(x, rank >= 0 && fy_step_dtype(x, 0), "axes that are computed came with opset 18, and type or rank are not known");
    FY_OPSET_REPLACES(x);
    fy_build *b = &x->b;
    fy_value *v = fy_in(x->n, 0), *axes = fy_in(x->n, 1), *y = fy_dtype_float(fy_step_dtype(x, 0)) ? as_sum(x, op, v, axes, keep) : NULL;
    if (y || b->status) return fy_step_replace(x, y);
    fy_value *at = fy_x3(x, "Where", fy_x2(x, "Less", axes, fy_k_i64(b, 0)), fy_x2(x, "Add", axes, fy_k_i64(b, rank)), axes);
    for (int i = 0; i < rank; i++) {
        fy_build yes, no;
        fy_value *hit = fy_b_cast(b, fy_x2(x, "Equal", at, fy_k_i64(b, i)), FERRY_INT32), *here = v;
        hit = fy_b_cast(b, fy_emit(b, "ReduceMax", FY_V(hit), FY_A(fy_int("keepdims", 0))), FERRY_BOOL);
        FY_TRY(fy_step_body(x, &yes));
        FY_TRY(fy_step_body(x, &no));
        FY_TRY(b->status);
        here = reduce(&yes, op, v, fy_k_ints(&yes, 1, (int64_t[]){i}), 1);
        v = fy_step_if(x, hit, &yes, here, &no, v);
    }
    return fy_step_replace(x, keep ? fy_x1(x, "Identity", v) : fy_x2(x, "Squeeze", v, axes));
}

/* ---- scatter with a reduction -------------------------------------------------------------------------------------- */

/* A Loop with one carried value: `times` iterations; the builder of its body, the number of the iteration and the carried value in it. */
typedef struct looped { fy_build b; fy_value *i, *cond, *carried; } looped;

static fy_status loop_open(looped *l, fy_step_ctx *x, const fy_type *type) {
    fy_type number = {.kind = FY_TENSOR, .dtype = FERRY_INT64}, flag = {.kind = FY_TENSOR, .dtype = FERRY_BOOL};
    FY_TRY(fy_step_body(x, &l->b));
    l->i = fy_graph_add_input(l->b.g, NULL, &number);
    l->cond = fy_graph_add_input(l->b.g, NULL, &flag);
    l->carried = fy_graph_add_input(l->b.g, NULL, type);
    FY_NOMEM(x->e, l->i && l->cond && l->carried);
    return FY_OK;
}

static fy_value *loop_close(looped *l, fy_step_ctx *x, fy_value *times, fy_value *start, fy_value *next) {
    fy_build *b = &l->b;
    fy_value *on = fy_emit(b, "Identity", FY_V(l->cond), FY_NOATTR);
    if (b->status == FY_OK && !(fy_graph_add_output(b->g, on) && fy_graph_add_output(b->g, next))) fy_fail_value(b, FY_E_NOMEM, "out of memory");
    if (b->status && !x->b.status) x->b.status = b->status;
    if (x->b.status) return NULL;
    return fy_emit(&x->b, "Loop", FY_V(times, fy_k_scalar_i(&x->b, FERRY_BOOL, 1), start), FY_A(fy_body_attr("body", b->g)));
}

static const char *merge_of(const fy_step_ctx *x) {
    return fy_step_text(x, "reduction", "add", "none") ? "Add" : fy_step_text(x, "reduction", "mul", "none") ? "Mul" : fy_step_text(x, "reduction", "max", "none") ? "Max" : "Min";
}

/* Row `i` of v along an axis, which stays. */
static fy_value *row_at(fy_build *b, fy_value *v, fy_value *i, int axis) {
    fy_value *begin = fy_emit(b, "Reshape", FY_V(i, fy_k_ints(b, 1, (int64_t[]){1})), FY_NOATTR);
    return fy_b_slice(b, v, axis, begin, fy_emit(b, "Add", FY_V(begin, fy_k_ints(b, 1, (int64_t[]){1})), FY_NOATTR), NULL);
}

/* Within one row of the indices no target comes twice, so rows can be read, merged and written back one after the other. */
static fy_status scatter_elements(fy_step_ctx *x) {
    int64_t axis = fy_step_int(x, "axis", 0);
    looped l;
    fy_value *data = fy_in(x->n, 0);
    FY_TRY(loop_open(&l, x, &data->type));
    fy_value *at = row_at(&l.b, fy_in(x->n, 1), l.i, (int)axis), *v = row_at(&l.b, fy_in(x->n, 2), l.i, (int)axis);
    fy_attr a = fy_int("axis", axis);
    v = fy_emit(&l.b, merge_of(x), FY_V(fy_emit(&l.b, "GatherElements", FY_V(l.carried, at), 1, &a), v), FY_NOATTR);
    v = fy_emit(&l.b, "ScatterElements", FY_V(l.carried, at, v), 1, &a);
    return fy_step_replace(x, loop_close(&l, x, fy_step_size(&x->b, fy_in(x->n, 1), axis), data, v));
}

static fy_status scatter_nd(fy_step_ctx *x) {
    fy_build *b = &x->b;
    looped l;
    fy_value *data = fy_in(x->n, 0), *index = fy_in(x->n, 1), *shape = fy_x1(x, "Shape", index), *last = fy_k_ints(b, 1, (int64_t[]){-1}), *top = fy_k_ints(b, 1, (int64_t[]){TOP});
    fy_value *k = fy_b_slice(b, shape, 0, last, top, NULL);
    fy_value *n = fy_emit(b, "ReduceProd", FY_V(fy_b_slice(b, shape, 0, fy_k_ints(b, 1, (int64_t[]){0}), last, NULL)), FY_A(fy_int("keepdims", 1)));
    fy_value *rest = fy_b_slice(b, fy_x1(x, "Shape", data), 0, k, top, NULL);
    index = fy_x2(x, "Reshape", index, fy_b_concat(b, 2, (fy_value *[]){n, k}, 0));
    fy_value *v = fy_emit(b, "Reshape", FY_V(fy_in(x->n, 2), fy_b_concat(b, 2, (fy_value *[]){n, rest}, 0)), FY_NOATTR);
    FY_TRY(loop_open(&l, x, &data->type));
    FY_TRY(b->status);
    fy_value *at = row_at(&l.b, index, l.i, 0);
    v = fy_emit(&l.b, merge_of(x), FY_V(fy_emit(&l.b, "GatherND", FY_V(l.carried, at), FY_NOATTR), row_at(&l.b, v, l.i, 0)), FY_NOATTR);
    v = fy_emit(&l.b, "ScatterND", FY_V(l.carried, at, v), FY_NOATTR);
    return fy_step_replace(x, loop_close(&l, x, fy_x2(x, "Squeeze", n, fy_k_ints(b, 1, (int64_t[]){0})), data, v));
}

static fy_status scatter(fy_step_ctx *x) {
    FY_TRY(fy_step_axis(x, fy_step_int(x, "axis", 0), fy_step_rank(x, 0)));
    FY_STEP_NEED(x, fy_step_dtype(x, 0) && fy_dtype_class(fy_step_dtype(x, 0)) != FY_CLASS_B, "its reduction must be written out for this opset, and the type is not known");
    FY_OPSET_REPLACES(x);
    return strcmp(x->n->op->name, "ScatterND") ? scatter_elements(x) : scatter_nd(x);
}

fy_status fy_lower_scatter18(fy_step_ctx *x) {
    return fy_step_text(x, "reduction", "max", "none") || fy_step_text(x, "reduction", "min", "none") ? scatter(x) : FY_OK;
}

fy_status fy_lower_scatter16(fy_step_ctx *x) {
    if (!fy_step_text(x, "reduction", "none", "none")) return scatter(x);
    if (!x->dry) fy_node_del_attr(x->n, "reduction");
    return FY_OK;
}

/* ---- Reshape with allowzero ---------------------------------------------------------------------------------------- */

static fy_value *nothing(fy_build *b, fy_value *shape, fy_dtype t) {
    bool plain = t != FERRY_BFLOAT16 && fy_dtype_bits(t) >= 8 && fy_dtype_class(t) != FY_CLASS_C && !(t >= FERRY_FLOAT8E4M3FN && t <= FERRY_FLOAT8E5M2FNUZ);
    const fy_const *zero = fy_const_splat(&b->g->model->arena, plain ? t : FERRY_FLOAT, 1, (int64_t[]){1}, 0);
    if (!zero) return fy_fail_value(b, FY_E_NOMEM, "out of memory");
    fy_value *v = fy_emit(b, "ConstantOfShape", FY_V(shape), FY_A({.name = "value", .kind = FY_ATTR_TENSOR, .n = 1, .tensor = zero}));
    return fy_b_cast(b, v, t);
}

/* A 0 in the shape means 0, not "copy". Where it is 0 there, both agree; else the result is an empty tensor of that shape. */
fy_status fy_lower_reshape14(fy_step_ctx *x) {
    int64_t v[FY_MAX_RANK], n = 0;
    fy_value *shape = fy_in(x->n, 1);
    fy_dtype t = fy_step_dtype(x, 0);
    bool known = fy_step_ints(x, 1, v, FY_MAX_RANK, &n), zero = false, unsure = !known && !(shape && shape->elem);
    if (!fy_step_int(x, "allowzero", 0)) {
        if (!x->dry) fy_node_del_attr(x->n, "allowzero");
        return FY_OK;
    }
    for (int64_t i = 0; !unsure && i < (known ? n : shape->nelem); i++) {
        bool is = known ? v[i] == 0 : shape->elem[i] && fy_dim_is(shape->elem[i], 0);
        const fy_dim *same = fy_step_dim(x, 0, (int)i);
        zero |= is && !(same && fy_dim_is(same, 0));
    }
    FY_STEP_NEED(x, (!zero && !unsure) || (t && t != FERRY_STRING), "allowzero came with opset 14, and the type is not known, or str");
    if (!zero && !unsure) {
        if (!x->dry) fy_node_del_attr(x->n, "allowzero");
        return FY_OK;
    }
    FY_OPSET_REPLACES(x);
    if (zero) return fy_step_replace(x, nothing(&x->b, shape, t));
    fy_build *b = &x->b, yes, no;
    fy_value *least = fy_emit(b, "ReduceMin", FY_V(fy_x1(x, "Abs", shape)), FY_A(fy_int("keepdims", 0))), *any = fy_x2(x, "Equal", least, fy_k_i64(b, 0));
    FY_TRY(fy_step_body(x, &yes));
    FY_TRY(fy_step_body(x, &no));
    FY_TRY(b->status);
    return fy_step_replace(x, fy_step_if(x, any, &yes, nothing(&yes, shape, t), &no, fy_emit(&no, "Reshape", FY_V(fy_in(x->n, 0), shape), FY_NOATTR)));
}

/* ---- SequenceMap --------------------------------------------------------------------------------------------------- */

/* The body becomes that of a Loop: its inputs are read from the sequences, what it makes is put at the end of the sequences carried. */
fy_status fy_lower_sequence_map17(fy_step_ctx *x) {
    fy_node *n = x->n;
    fy_graph *g = fy_attr_graph(n, "body");
    int nin = n->nin, nout = n->nout;
    FY_NEED(x->e, g && g->in.n == nin && g->out.n == nout && nin >= 1 && nin <= 64 && nout <= 64, GRAPH, "SequenceMap: the body takes %lld of %d inputs",
            g ? (long long)g->in.n : 0, nin);
    for (int i = 0; i < nout; i++)
        FY_STEP_NEED(x, g->out.at[i]->type.kind == FY_TENSOR && g->out.at[i]->type.dtype, "SequenceMap must be written out for this opset, and the types of its body are not known");
    FY_STEP_NEED(x, fy_in(n, 0) && fy_in(n, 0)->type.kind == FY_SEQUENCE, "SequenceMap must be written out for this opset, and its input is not known to be a sequence");
    FY_OPSET_REPLACES(x);
    fy_value *start[66] = {NULL}, *carried[64], *i, *cond;
    fy_type number = {.kind = FY_TENSOR, .dtype = FERRY_INT64}, flag = {.kind = FY_TENSOR, .dtype = FERRY_BOOL};
    fy_build *b = &x->b, in = {.g = g, .e = x->e, .before = g->first, .scope = n->scope, .source = n->source};
    start[0] = fy_x1(x, "SequenceLength", fy_in(n, 0));
    start[1] = fy_k_scalar_i(b, FERRY_BOOL, 1);
    for (int k = 0; k < nout; k++) start[2 + k] = fy_emit(b, "SequenceEmpty", 0, NULL, FY_A(fy_int("dtype", g->out.at[k]->type.dtype)));
    FY_TRY(b->status);
    FY_NOMEM(x->e, fy_node_take_body(n, "body"));
    fy_value *old[64];
    for (int k = 0; k < nin; k++) {
        old[k] = g->in.at[k];
        old[k]->is_input = false;
    }
    g->in.n = 0;
    i = fy_graph_add_input(g, NULL, &number);
    cond = fy_graph_add_input(g, NULL, &flag);
    FY_NOMEM(x->e, i && cond);
    for (int k = 0; k < nout; k++) FY_NOMEM(x->e, carried[k] = fy_graph_add_input(g, NULL, &start[2 + k]->type));
    for (int k = 0; k < nin; k++) {
        fy_value *from = fy_in(n, k);
        fy_value *v = from->type.kind == FY_SEQUENCE ? fy_emit(&in, "SequenceAt", FY_V(from, i), FY_NOATTR) : fy_emit(&in, "Identity", FY_V(from), FY_NOATTR);
        FY_TRY(in.status);
        fy_value_replace(old[k], v);
    }
    in.before = NULL;
    for (int k = 0; k < nout; k++) {
        carried[k] = fy_emit(&in, "SequenceInsert", FY_V(carried[k], g->out.at[k]), FY_NOATTR);
        FY_TRY(in.status);
    }
    fy_value *on = fy_emit(&in, "Identity", FY_V(cond), FY_NOATTR);
    FY_TRY(in.status);
    for (int k = 0; k <= nout; k++) {
        fy_value *v = k ? carried[k - 1] : on;
        if (k < nout) fy_graph_set_output(g, k, v);
        else FY_NOMEM(x->e, fy_graph_add_output(g, v));
    }
    fy_node *loop = fy_emit_n(b, "Loop", nout, 2 + nout, start, FY_A(fy_body_attr("body", g)));
    if (!loop) return b->status;
    for (int k = 0; k < nout; k++) FY_TRY(fy_step_put(x, k, loop->out[k]));
    return fy_step_done(x);
}
