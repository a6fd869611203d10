/* SPDX-License-Identifier: Apache-2.0
 * lower_sym.c - arithmetic on sizes: dims where it can be, without nodes; item() and what follows from data, as values.
 * Asserts about sizes and types are left out and counted. */
#include "aten/lower.h"

#include <math.h>
#include <string.h>

static void give(fy_lower *l, const fy_dim *d, fy_value *v) {
    const fy_parg *o = l->n->nout > 0 ? &l->n->out[0] : NULL;
    const fy_pvalue *out = !o ? NULL : o->kind == FY_ARG_SYM ? o->sym.value : o->value;
    if (!out || out->id >= l->nval) return;
    l->val[out->id].dim = d;
    l->val[out->id].v = v;
}

/* Argument i of a sym operator. */
static fy_operand operand(fy_lower *l, int i) { return i < l->n->narg ? fy_l_operand_of(l, &l->n->arg[i]) : (fy_operand){.number = true, .dtype = FERRY_INT64}; }

static const fy_dim *as_dim(fy_lower *l, const fy_operand *o) {
    if (o->dim) return o->dim;
    return o->number && !o->v && o->dtype != FERRY_FLOAT ? fy_l_k(l, o->i) : NULL;
}

static const fy_dim *dim_result(fy_lower *l, const char *op, const fy_dim *a, const fy_dim *b, int narg) {
    fy_dims *p = l->m->dims;
    if (!a || (narg > 1 && !b)) return NULL;
    if (strcmp(op, "add") == 0) return fy_dim_add(p, a, b);
    if (strcmp(op, "sub") == 0) return fy_dim_sub(p, a, b);
    if (strcmp(op, "mul") == 0) return fy_dim_mul(p, a, b);
    if (strcmp(op, "floordiv") == 0) return fy_dim_is(b, 0) ? NULL : fy_dim_floordiv(p, a, b);
    if (strcmp(op, "mod") == 0) return fy_dim_is(b, 0) ? NULL : fy_dim_mod(p, a, b);
    if (strcmp(op, "pow") == 0) return fy_dim_pow(p, a, b);
    if (strcmp(op, "neg") == 0) return fy_dim_muli(p, a, -1);
    if (strcmp(op, "sym_max") == 0 || strcmp(op, "max") == 0) return fy_dim_max(p, a, b);
    if (strcmp(op, "sym_min") == 0 || strcmp(op, "min") == 0) return fy_dim_min(p, a, b);
    if (strcmp(op, "sym_int") == 0 || strcmp(op, "trunc") == 0 || strcmp(op, "pos") == 0) return a;
    return NULL;
}

/* floor, ceil and trunc of int / number and int * number stay dims: recorded expressions know them. */
static const fy_dim *recorded(fy_lower *l) {
    const fy_parg *o = l->n->nout > 0 ? &l->n->out[0] : NULL;
    return o && o->kind == FY_ARG_SYM && o->sym.value && o->sym.value->sym ? fy_l_import(l, o->sym.value->sym) : NULL;
}

static fy_value *value_result(fy_lower *l, const char *op, fy_operand *o) {
    static const struct { const char *name, *onnx; } two[] = {
        {"add", "Add"}, {"sub", "Sub"}, {"mul", "Mul"}, {"eq", "Equal"}, {"ne", "Equal"}, {"lt", "Less"}, {"le", "LessOrEqual"}, {"gt", "Greater"},
        {"ge", "GreaterOrEqual"}, {"and_", "And"}, {"or_", "Or"}, {"sym_max", "Max"}, {"sym_min", "Min"}, {"max", "Max"}, {"min", "Min"}, {"mod", "Mod"}, {"pow", "Pow"}};
    fy_dtype t = fy_promote(l->n->narg < 2 ? 1 : 2, o);
    if (t == FERRY_FLOAT) t = FERRY_DOUBLE;              /* Python's numbers are doubles */
    if (strcmp(op, "truediv") == 0) t = FERRY_DOUBLE;
    for (int i = 0; i < FY_COUNT(two); i++) {
        if (strcmp(op, two[i].name) != 0) continue;
        if (t == FERRY_BOOL && strchr("ALGM", two[i].onnx[0]) && strcmp(two[i].onnx, "And") != 0) t = FERRY_INT64;
        fy_value *y = fy_l_binary(l, two[i].onnx, fy_l_as(l, &o[0], t), fy_l_as(l, &o[1], t));
        return strcmp(op, "ne") == 0 ? fy_l_named_op(l, "Not", y) : y;
    }
    fy_value *a = fy_l_as(l, &o[0], t);
    if (strcmp(op, "truediv") == 0) return fy_l_binary(l, "Div", a, fy_l_as(l, &o[1], t));
    if (strcmp(op, "floordiv") == 0) {
        fy_value *q = fy_l_binary(l, "Div", a, fy_l_as(l, &o[1], t));    /* sizes: no negative operands */
        return fy_dtype_float(t) ? fy_l_named_op(l, "Floor", q) : q;
    }
    if (strcmp(op, "neg") == 0) return fy_l_named_op(l, "Neg", a);
    if (strcmp(op, "sym_not") == 0) return fy_l_named_op(l, "Not", a);
    if (strcmp(op, "sym_sqrt") == 0) return fy_l_named_op(l, "Sqrt", fy_l_as(l, &o[0], FERRY_DOUBLE));
    if (strcmp(op, "sym_float") == 0) return fy_l_as(l, &o[0], FERRY_DOUBLE);
    if (strcmp(op, "sym_int") == 0 || strcmp(op, "trunc") == 0) return fy_b_cast(&l->b, a, FERRY_INT64);
    if (strcmp(op, "floor") == 0 || strcmp(op, "ceil") == 0)
        return fy_b_cast(&l->b, fy_dtype_float(t) ? fy_l_named_op(l, op[0] == 'f' ? "Floor" : "Ceil", a) : a, FERRY_INT64);
    if (strcmp(op, "sym_ite") == 0) {
        fy_dtype u = fy_promote(2, o + 1);
        return fy_l_where(l, fy_l_as(l, &o[0], FERRY_BOOL), fy_l_as(l, &o[1], u), fy_l_as(l, &o[2], u));
    }
    (void)fy_l_fail(l, FY_E_ATEN, "%s has no lowering", l->n->op);
    return NULL;
}

fy_status fy_lower_symbolic(fy_lower *l) {
    const char *op = l->n->op + 4;                       /* "sym.mul" */
    fy_operand o[3] = {operand(l, 0), operand(l, 1), operand(l, 2)};
    FY_L_OK(l);
    bool boolean = l->n->nout > 0 && l->n->out[0].kind == FY_ARG_SYMBOOL;
    const fy_dim *d = boolean ? NULL : dim_result(l, op, as_dim(l, &o[0]), as_dim(l, &o[1]), l->n->narg);
    if (!d && !boolean) d = recorded(l);
    if (d) {
        give(l, d, NULL);
        return FY_OK;
    }
    fy_value *v = value_result(l, op, o);
    FY_L_OK(l);
    give(l, v && v->elem && v->nelem == 1 && fy_l_carried(l, v->elem[0], 0) ? v->elem[0] : NULL, v);
    return FY_OK;
}

/* item, _local_scalar_dense: a number that the data decides */
fy_status fy_lower_item(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    int rank = fy_rank(l, x);
    FY_L_OK(l);
    if (rank > 0) x = fy_l_reshape(l, x, 0, NULL);
    const fy_parg *o = l->n->nout > 0 ? &l->n->out[0] : NULL;
    if (!x || !o) return fy_l_ret(l, x);
    if (o->kind != FY_ARG_SYM) {
        give(l, NULL, x);
        return FY_OK;
    }
    x = fy_b_cast(&l->b, x, FERRY_INT64);
    FY_L_OK(l);
    const fy_dim *d = x->elem && x->nelem == 1 && fy_l_carried(l, x->elem[0], 0) ? x->elem[0] : fy_dim_opaque(l->m->dims, "item");
    if (!d || !FY_RESERVE(l->source, l->source.n + 1)) return fy_l_fail(l, FY_E_NOMEM, "out of memory");
    if (d->kind == FY_DIM_OPAQUE) l->source.at[l->source.n++] = (fy_lsource){d, x, -1};
    const fy_pvalue *pv = o->sym.value;
    if (pv && pv->sym && (pv->sym->kind == FY_DIM_SYM || pv->sym->kind == FY_DIM_OPAQUE) && !fy_map_gets(&l->symbol, pv->sym->name)
        && !fy_map_puts(&l->symbol, pv->sym->name, (void *)(uintptr_t)d)) return fy_l_fail(l, FY_E_NOMEM, "out of memory");
    give(l, d, x);
    return FY_OK;
}

/* A bound of a range as a test of a size, where it is given. */
static fy_value *within(fy_lower *l, fy_value *size, const char *bound, const char *op) {
    fy_operand to = fy_l_has(l, bound) ? fy_l_operand(l, bound) : (fy_operand){0};
    return to.number ? fy_l_binary(l, op, size, fy_l_as(l, &to, FERRY_INT64)) : NULL;
}

/* What an assert asks for, as a bool of rank 0; NULL: facts of types, which lowering compares itself. */
static fy_value *asked(fy_lower *l) {
    if (fy_l_named(l, "aten._assert_scalar") || fy_l_named(l, "aten._assert_async") || fy_l_named(l, "aten._functional_assert_async")) {
        fy_operand o = fy_l_operand(l, "self");
        return fy_l_truth(l, fy_l_as(l, &o, FERRY_BOOL));
    }
    if (!strstr(l->n->op, "sym_constrain_range")) return NULL;
    fy_operand o = fy_l_operand(l, "size");
    fy_value *size = fy_l_as(l, &o, FERRY_INT64), *least = within(l, size, "min", "GreaterOrEqual"), *most = within(l, size, "max", "LessOrEqual");
    return fy_l_truth(l, least && most ? fy_l_binary(l, "And", least, most) : least ? least : most);
}

/* Settled now, or an output of the model. Inside of bodies there are no outputs: *kept false. */
static fy_status keep_assert(fy_lower *l, bool *kept) {
    int64_t known;
    ferry_error *e = l->b.e;
    *kept = false;
    if (!l->o || !l->o->asserts || l->depth > 0) return FY_OK;
    fy_value *v = asked(l);
    FY_L_OK(l);
    if (!v) return FY_OK;
    *kept = true;
    const char *said = fy_l_str(l, "assert_msg");
    if (!said) said = "a size is out of its range";
    bool settled = v->constant ? fy_const_i64(v->constant, 0, &known) : v->elem && v->nelem == 1 && fy_dim_known(v->elem[0], &known);
    if (settled && !known) return fy_help(e, fy_l_fail(l, FY_E_VALUE, "the program's own check is false whatever the inputs are: %.300s", said), "--asserts drop leaves checks out");
    if (settled) return FY_OK;
    said = fy_arena_str(&l->m->arena, said);
    FY_NOMEM(e, said);
    FY_PUSH(e, l->checks, ((fy_lcheck){v, said}));
    return FY_OK;
}

/* _assert_scalar, _assert_tensor_metadata, sym_constrain_range ...: kept if asked for and possible, else left out and counted */
fy_status fy_lower_assert(fy_lower *l) {
    const char *op = l->n->op;
    uintptr_t n = (uintptr_t)fy_map_gets(&l->dropped, op);
    bool kept;
    FY_TRY(keep_assert(l, &kept));
    if (!kept && !fy_map_puts(&l->dropped, op, (void *)(n + 1))) return fy_l_fail(l, FY_E_NOMEM, "out of memory");
    const fy_schema *s = l->n->schema;                   /* the functional forms hand their token or tensor on */
    if (l->n->nout > 0 && l->n->out[0].kind == FY_ARG_TENSOR && s)
        for (int i = s->narg - 1; i >= 0; i--)
            if (s->arg[i].type == FY_ST_TENSOR) return fy_l_ret(l, fy_l_tensor(l, s->arg[i].name));
    return FY_OK;
}

fy_status fy_lower_sym_is_contiguous(fy_lower *l) {
    give(l, NULL, fy_k_scalar_i(&l->b, FERRY_BOOL, 1));
    return l->b.status;
}
