/* SPDX-License-Identifier: Apache-2.0
 * lower_resize.c - forms of Resize that came with 18 and 19. Axes and a crop on some of them are filled up to all of them. What older opsets
 * cannot say (antialias, one scale for all axes, half_pixel_symmetric) is a product with a constant matrix along each axis, where sizes are
 * known: the kernel of Resize says which. */
#include "opset/internal.h"

#include <string.h>

/* Contents as a tensor: a constant, or integers that are known. */
static fy_status contents(fy_rval *v, fy_step_ctx *x, int i, bool *known) {
    const fy_value *u = fy_in(x->n, i);
    const fy_attr *a = u && u->def && !strcmp(u->def->op->name, "Constant") ? fy_attr_get(u->def, "value") : NULL;
    const fy_const *c = u && u->constant ? u->constant : a && a->kind == FY_ATTR_TENSOR ? a->tensor : NULL;
    int64_t list[FY_MAX_RANK], n;
    v->kind = FY_TENSOR;
    *known = true;
    if (c && c->count <= 2 * FY_MAX_RANK) return fy_const_tensor(&v->t, c, x->e);
    *known = !c && fy_step_ints(x, i, list, FY_MAX_RANK, &n);
    if (!*known) return FY_OK;
    FY_TRY(fy_tensor_new(&v->t, FERRY_INT64, 1, &n, x->e));
    for (int64_t k = 0; k < n; k++) fy_put_i64(&v->t, k, list[k]);
    return FY_OK;
}

typedef struct matrices { int rank; int64_t in[FY_MAX_RANK], out[FY_MAX_RANK]; double *m[FY_MAX_RANK]; bool known; } matrices;

static fy_status read_matrices(matrices *r, fy_step_ctx *x) {
    fy_rval in[4] = {{0}}, *ptr[4] = {&in[0], NULL, NULL, NULL};
    fy_dtype t = fy_step_dtype(x, 0);
    *r = (matrices){.rank = fy_step_rank(x, 0)};
    int which = fy_step_has(x, 2) && fy_step_known(fy_in(x->n, 2), 0) != 0 ? 2 : 3;
    if (r->rank < 1 || !fy_dtype_float(t) || !fy_step_has(x, which)) return FY_OK;
    for (int a = 0; a < r->rank; a++) {
        r->in[a] = fy_step_known(fy_in(x->n, 0), a);
        r->out[a] = fy_step_known(fy_outv(x->n, 0), a);
        bool same = r->in[a] < 0 && r->out[a] < 0 && fy_step_dim(x, 0, a) == fy_outv(x->n, 0)->type.dim[a];
        if (same) r->in[a] = r->out[a] = 1;                  /* an axis of any size, which stays as it is */
        if (r->in[a] < 0 || r->out[a] < 0) return FY_OK;
    }
    FY_TRY(contents(&in[which], x, which, &r->known));
    ptr[which] = &in[which];
    in[0] = (fy_rval){.kind = FY_TENSOR, .t = fy_tensor_view(t, r->rank, r->in, NULL)};
    const fy_call c = {.node = x->n, .e = x->e, .scratch = &x->m->arena, .nin = 4, .in = ptr};
    fy_status s = r->known ? fy_resize_matrices(&c, r->out, r->m) : FY_OK;
    fy_rval_free(&in[which]);
    return s;
}

/* y[..., o, ...] = sum over i of m[o, i] v[..., i, ...] */
static fy_value *along(fy_step_ctx *x, const matrices *r, int axis, fy_value *v, fy_dtype s) {
    int64_t out = r->out[axis], in = r->in[axis];
    bool last = axis == r->rank - 1;
    double *m = r->m[axis];
    if (last) {
        m = FY_NEWN(&x->m->arena, double, out * in + 1);
        for (int64_t i = 0; m && i < out * in; i++) m[i % in * out + i / in] = r->m[axis][i];
    }
    const fy_const *c = m ? fy_const_bytes(&x->m->arena, FERRY_DOUBLE, 2, last ? (int64_t[]){in, out} : (int64_t[]){out, in}, m, (size_t)(out * in) * sizeof *m) : NULL;
    c = c ? fy_const_cast(&x->m->arena, c, s) : NULL;
    fy_value *w = c ? fy_k_const(&x->b, c, NULL) : fy_fail_value(&x->b, FY_E_NOMEM, "out of memory");
    if (last) return fy_x2(x, "MatMul", v, w);
    if (axis == r->rank - 2) return fy_x2(x, "MatMul", w, v);
    char from[FY_MAX_RANK + 1] = "", to[FY_MAX_RANK + 1] = "";
    for (int a = 0; a < r->rank; a++) {
        from[a] = (char)('a' + a);
        to[a] = a == axis ? 'z' : from[a];
    }
    const char *equation = fy_arena_fmt(&x->m->arena, "%s,z%c->%s", from, from[axis], to);
    if (!equation) return fy_fail_value(&x->b, FY_E_NOMEM, "out of memory");
    return fy_emit(&x->b, "Einsum", FY_V(v, w), FY_A(fy_text("equation", equation)));
}

static fy_status as_matrices(fy_step_ctx *x, const char *what) {
    matrices r;
    fy_dtype t = fy_step_dtype(x, 0), s = t == FERRY_DOUBLE ? t : FERRY_FLOAT;
    FY_TRY(read_matrices(&r, x));
    FY_STEP_NEED(x, r.known, "%s, and sizes and scales are not all known, or the type is none of floats", what);
    FY_OPSET_REPLACES(x);
    fy_value *v = fy_b_cast(&x->b, fy_in(x->n, 0), s);
    for (int a = 0; a < r.rank; a++)
        if (r.m[a]) v = along(x, &r, a, v, s);
    v = fy_b_cast(&x->b, v, t);
    return fy_step_replace(x, v == fy_in(x->n, 0) ? fy_x1(x, "Identity", v) : v);
}

/* axes -> scales or sizes, and roi, of every axis */
static fy_status every_axis(fy_step_ctx *x) {
    int rank = fy_step_rank(x, 0), at[FY_MAX_RANK];
    int64_t n;
    const int64_t *axes = fy_attr_ints(x->n, "axes", &n);
    if (!axes) return FY_OK;
    FY_STEP_NEED(x, rank > 0, "axes of Resize came with opset 18, and the rank is not known");
    for (int i = 0; i < rank; i++) at[i] = -1;
    for (int64_t i = 0; i < n; i++) {
        int64_t a = axes[i] < 0 ? axes[i] + rank : axes[i];
        FY_NEED(x->e, a >= 0 && a < rank, AXIS, "Resize: axis %lld of rank %d", (long long)axes[i], rank);
        at[a] = (int)i;
    }
    FY_OPSET_CHECKED(x);
    fy_build *b = &x->b;
    bool sizes = fy_step_has(x, 3);
    fy_value *from = fy_in(x->n, sizes ? 3 : 2), *part[2 * FY_MAX_RANK], *shape = sizes ? fy_x1(x, "Shape", fy_in(x->n, 0)) : NULL;
    fy_value *one = sizes ? NULL : fy_b_unsqueeze(b, fy_k_scalar(b, FERRY_FLOAT, 1), 0), *roi = NULL;
    for (int i = 0; i < rank; i++) part[i] = at[i] >= 0 ? fy_step_slice(b, from, 0, at[i], at[i] + 1) : sizes ? fy_step_slice(b, shape, 0, i, i + 1) : one;
    fy_value *full = fy_b_concat(b, rank, part, 0);
    if (fy_step_has(x, 1)) {
        fy_dtype t = fy_step_dtype(x, 1) ? fy_step_dtype(x, 1) : FERRY_FLOAT;
        fy_value *edge[2] = {fy_b_unsqueeze(b, fy_k_scalar(b, t, 0), 0), fy_b_unsqueeze(b, fy_k_scalar(b, t, 1), 0)};
        for (int i = 0; i < 2 * rank; i++) {
            int64_t k = at[i % rank] < 0 ? -1 : at[i % rank] + (i < rank ? 0 : n);
            part[i] = k < 0 ? edge[i >= rank] : fy_step_slice(b, fy_in(x->n, 1), 0, k, k + 1);
        }
        roi = fy_b_concat(b, 2 * rank, part, 0);
    }
    fy_node_del_attr(x->n, "axes");
    if (roi) FY_TRY(fy_step_set_in(x, 1, roi));
    return fy_step_set_in(x, sizes ? 3 : 2, full);
}

fy_status fy_lower_resize18(fy_step_ctx *x) {
    if (fy_step_int(x, "antialias", 0)) return as_matrices(x, "antialias came with opset 18");
    if (fy_step_has(x, 3) && !fy_step_text(x, "keep_aspect_ratio_policy", "stretch", "stretch")) return as_matrices(x, "keep_aspect_ratio_policy came with opset 18");
    FY_TRY(every_axis(x));
    FY_OPSET_CHECKED(x);
    fy_node_del_attr(x->n, "antialias");
    fy_node_del_attr(x->n, "keep_aspect_ratio_policy");
    return FY_OK;
}

fy_status fy_lower_resize19(fy_step_ctx *x) {
    return fy_step_text(x, "coordinate_transformation_mode", "half_pixel_symmetric", "half_pixel") ? as_matrices(x, "mode half_pixel_symmetric came with opset 19") : FY_OK;
}
