/* SPDX-License-Identifier: Apache-2.0
 * lower_args.c - what lowering functions ask: arguments by schema name, numbers, torch's type promotion. */
#include "aten/lower.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

fy_status fy_l_fail(fy_lower *l, fy_code code, const char *fmt, ...) {
    if (l->b.status != FY_OK) return l->b.status;
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return l->b.status = fy_fail(l->b.e, code, "%s", text);
}

bool fy_l_is(const fy_lower *l, const char *op) { return strcmp(l->n->op, op) == 0; }

bool fy_l_named(const fy_lower *l, const char *base) {
    size_t n = strlen(base);
    return strncmp(l->n->op, base, n) == 0 && l->n->op[n] == '.';
}

bool fy_l_has(const fy_lower *l, const char *name) { return fy_aten_arg(l->n, name)->kind != FY_ARG_NONE; }

/* A symbolic int of the program as a dim of the model; NULL if it is only known at run time. */
static const fy_dim *sym_dim(fy_lower *l, const fy_psym *s) {
    if (!s->value) return fy_l_k(l, s->i);
    if (s->value->id < l->nval) {
        const fy_lval *got = &l->val[s->value->id];
        if (got->dim) return got->dim;
        if (got->v && got->v->elem && got->v->nelem == 1) return got->v->elem[0];
    }
    return NULL;
}

static const fy_dim *sym_dim_needed(fy_lower *l, const char *name, const fy_psym *s) {
    if (l->b.status != FY_OK) return NULL;
    const fy_dim *d = sym_dim(l, s);
    fy_lval *got = s->value && s->value->id < l->nval ? &l->val[s->value->id] : NULL;
    if (!d && got && got->v && fy_dtype_int(got->v->type.dtype) && fy_rank(l, got->v) == 0) {        /* the data decide: read from there */
        d = got->dim = fy_dim_opaque(l->m->dims, "item");
        if (!d || !FY_RESERVE(l->source, l->source.n + 1)) { (void)fy_l_fail(l, FY_E_NOMEM, "out of memory"); return NULL; }
        l->source.at[l->source.n++] = (fy_lsource){d, got->v, -1};
    }
    if (!d) (void)fy_l_fail(l, FY_E_UNSUPPORTED, "%s: %s = \"%s\" is known only at run time", l->n->op, name, s->value ? s->value->name : "?");
    return d;
}

fy_operand fy_op_value(fy_value *v) { return (fy_operand){.v = v, .dtype = v ? v->type.dtype : FERRY_UNDEFINED}; }

/* One plane of a value: a real one counts as without an imaginary part, integers (indices) and bools as they are. */
static fy_value *plane_of(fy_lower *l, const fy_pvalue *p, int which) {
    fy_value *v = fy_l_value(l, p);
    if (!v || !(l->plane >> (which < 31 ? which : 31) & 1)) return v;
    if (fy_l_is_complex(p)) return fy_l_plane(l, p, 1);
    if (!fy_dtype_float(v->type.dtype) || l->plane != FY_ALL_PLANES) return v;
    return fy_l_full(l, fy_rank(l, v), v->type.dim, fy_k_scalar(&l->b, v->type.dtype, 0));
}

static bool first_tensor(const fy_lower *l, const fy_parg *a) { return l->n->narg > 0 && a == &l->n->arg[0]; }

fy_operand fy_l_operand_of(fy_lower *l, const fy_parg *a) {
    fy_operand o = {0};
    if (l->planes && l->plane == FY_ALL_PLANES && a->name && a->kind != FY_ARG_TENSOR && a->kind != FY_ARG_COMPLEX && (strcmp(a->name, "self") == 0 || strcmp(a->name, "other") == 0))
        return (fy_operand){.number = true, .dtype = FERRY_FLOAT};       /* a number has no imaginary part */
    switch (a->kind) {
    case FY_ARG_COMPLEX:
        if (!l->planes) break;
        return (fy_operand){.number = true, .dtype = FERRY_FLOAT, .f = l->plane & 2 ? a->im : a->f};
    case FY_ARG_TENSOR: return fy_op_value(l->planes ? plane_of(l, a->value, first_tensor(l, a) ? 0 : 1) : fy_l_value(l, a->value));
    case FY_ARG_INT: return (fy_operand){.number = true, .dtype = FERRY_INT64, .i = a->i, .f = (double)a->i};
    case FY_ARG_BOOL: return (fy_operand){.number = true, .dtype = FERRY_BOOL, .i = a->i != 0, .f = a->i != 0};
    case FY_ARG_FLOAT: return (fy_operand){.number = true, .dtype = FERRY_FLOAT, .i = (int64_t)(fabs(a->f) < 9e18 ? a->f : 0), .f = a->f};
    case FY_ARG_SYM:
        o = (fy_operand){.number = true, .dtype = FERRY_INT64, .dim = sym_dim(l, &a->sym)};
        if (!o.dim) o.v = fy_l_value(l, a->sym.value);
        else if (fy_dim_known(o.dim, &o.i)) { o.f = (double)o.i; o.dim = NULL; }
        return o;
    case FY_ARG_SYMFLOAT: return (fy_operand){.number = true, .dtype = FERRY_FLOAT, .v = fy_l_value(l, a->value)};
    case FY_ARG_SYMBOOL: return (fy_operand){.number = true, .dtype = FERRY_BOOL, .v = fy_l_value(l, a->value)};
    case FY_ARG_NONE: case FY_ARG_TENSORS: case FY_ARG_INTS: case FY_ARG_FLOATS: case FY_ARG_BOOLS: case FY_ARG_STRING: case FY_ARG_STRINGS:
    case FY_ARG_SYMS: case FY_ARG_DTYPE: case FY_ARG_MEMORY_FORMAT: case FY_ARG_LAYOUT: case FY_ARG_DEVICE: case FY_ARG_GRAPH:
    case FY_ARG_OPERATOR: case FY_ARG_CUSTOM: break;
    }
    (void)fy_l_fail(l, FY_E_UNSUPPORTED, "%s: argument %s is neither a tensor nor a real number", l->n->op, a->name ? a->name : "?");
    return o;
}

fy_operand fy_l_operand(fy_lower *l, const char *name) {
    const fy_parg *a = fy_aten_arg(l->n, name);
    return fy_l_operand_of(l, a);
}

fy_value *fy_l_tensor(fy_lower *l, const char *name) {
    const fy_parg *a = fy_aten_arg(l->n, name);
    if (a->kind == FY_ARG_NONE) {
        const fy_schema *s = l->n->schema;
        for (int i = 0; s && i < s->narg; i++)
            if (strcmp(s->arg[i].name, name) == 0 && !s->arg[i].optional) (void)fy_l_fail(l, FY_E_ATTR, "%s without its argument %s", l->n->op, name);
        return NULL;
    }
    fy_operand o = fy_l_operand_of(l, a);
    return o.number ? fy_l_as(l, &o, o.dtype) : o.v;
}

int fy_l_tensors(fy_lower *l, const char *name, fy_value ***list) {
    const fy_parg *a = fy_aten_arg(l->n, name);
    *list = NULL;
    if (a->kind == FY_ARG_NONE) return 0;
    if (a->kind != FY_ARG_TENSORS || a->n > (1 << 20)) {
        (void)fy_l_fail(l, FY_E_TYPE, "%s: argument %s is not a list of tensors", l->n->op, name);
        return 0;
    }
    *list = FY_NEWN(&l->tmp, fy_value *, a->n);
    if (!*list) { (void)fy_l_fail(l, FY_E_NOMEM, "out of memory"); return 0; }
    for (int64_t i = 0; i < a->n; i++) (*list)[i] = !a->values[i] ? NULL : l->planes ? plane_of(l, a->values[i], (int)(i < 31 ? i : 31)) : fy_l_value(l, a->values[i]);
    return l->b.status == FY_OK ? (int)a->n : 0;
}

/* A number that must be known now. */
static bool number(fy_lower *l, const char *name, fy_operand *o) {
    const fy_parg *a = fy_aten_arg(l->n, name);
    *o = (fy_operand){.number = true};
    if (l->b.status != FY_OK) return false;
    if (a->kind == FY_ARG_MEMORY_FORMAT || a->kind == FY_ARG_LAYOUT || a->kind == FY_ARG_DTYPE) { o->i = a->i; return true; }
    *o = fy_l_operand_of(l, a);
    if (l->b.status == FY_OK && o->number && !o->v && !o->dim) return true;
    /* a 0-d constant where a number is expected */
    if (l->b.status == FY_OK && o->v && o->v->constant && o->v->constant->count == 1 && fy_const_f64(o->v->constant, 0, &o->f)) {
        if (!fy_const_i64(o->v->constant, 0, &o->i)) o->i = 0;
        return true;
    }
    (void)fy_l_fail(l, FY_E_UNSUPPORTED, "%s: %s must be known before the model runs", l->n->op, name);
    return false;
}

int64_t fy_l_int(fy_lower *l, const char *name) { fy_operand o; return number(l, name, &o) ? o.i : 0; }
bool fy_l_bool(fy_lower *l, const char *name) {
    fy_operand o;
    if (fy_aten_arg(l->n, name)->kind == FY_ARG_NONE) return false;
    return number(l, name, &o) && o.i != 0;
}
double fy_l_float(fy_lower *l, const char *name) { fy_operand o; return number(l, name, &o) ? o.f : 0; }

const char *fy_l_str(fy_lower *l, const char *name) {
    const fy_parg *a = fy_aten_arg(l->n, name);
    return a->kind == FY_ARG_STRING ? a->s : NULL;
}

fy_dtype fy_l_dtype(fy_lower *l, const char *name, fy_dtype otherwise) {
    const fy_parg *a = fy_aten_arg(l->n, name);
    if (a->kind == FY_ARG_NONE) return otherwise;
    if (a->kind == FY_ARG_DTYPE && a->i != FERRY_UNDEFINED) return (fy_dtype)a->i;
    (void)fy_l_fail(l, FY_E_TYPE, "%s: %s is not an element type that ONNX has", l->n->op, name);
    return otherwise;
}

int fy_l_dims(fy_lower *l, const char *name, const fy_dim **dst, int max) {
    const fy_parg *a = fy_aten_arg(l->n, name);
    int64_t n = a->n;
    switch ((int)a->kind) {
    case FY_ARG_NONE: return -1;
    case FY_ARG_INTS: case FY_ARG_BOOLS: case FY_ARG_SYMS: break;
    case FY_ARG_INT: case FY_ARG_SYM: n = 1; break;
    default: (void)fy_l_fail(l, FY_E_TYPE, "%s: %s is not a list of ints", l->n->op, name); return 0;
    }
    if (n > max) { (void)fy_l_fail(l, FY_E_LIMIT, "%s: %s has %lld entries, at most %d are possible", l->n->op, name, (long long)n, max); return 0; }
    for (int i = 0; i < (int)n; i++) {
        dst[i] = a->kind == FY_ARG_INTS || a->kind == FY_ARG_BOOLS ? fy_l_k(l, a->ints[i]) : a->kind == FY_ARG_INT ? fy_l_k(l, a->i)
               : sym_dim_needed(l, name, a->kind == FY_ARG_SYM ? &a->sym : &a->syms[i]);
        if (!dst[i]) { (void)fy_l_fail(l, FY_E_NOMEM, "out of memory"); return 0; }
    }
    return (int)n;
}

const fy_dim *fy_l_dim(fy_lower *l, const char *name) {
    const fy_dim *d = NULL;
    const fy_parg *a = fy_aten_arg(l->n, name);
    if (a->kind == FY_ARG_TENSOR) {
        fy_value *v = fy_l_value(l, a->value);
        if (v && v->elem && v->nelem == 1) return v->elem[0];
    }
    return fy_l_dims(l, name, &d, 1) == 1 ? d : NULL;
}

int fy_l_ints(fy_lower *l, const char *name, int64_t *dst, int max) {
    const fy_dim *d[64];
    int n = fy_l_dims(l, name, d, max < 64 ? max : 64);
    for (int i = 0; i < n; i++)
        if (!fy_dim_known(d[i], &dst[i])) { (void)fy_l_fail(l, FY_E_UNSUPPORTED, "%s: %s depends on a dynamic size", l->n->op, name); return 0; }
    return n;
}

void fy_l_ints_n(fy_lower *l, const char *name, int n, int64_t otherwise, int64_t *dst) {
    int64_t got[16];
    int have = fy_l_ints(l, name, got, 16);
    if (have > 1 && have != n) (void)fy_l_fail(l, FY_E_ATTR, "%s: %s has %d entries, %d are needed", l->n->op, name, have, n);
    for (int i = 0; i < have && i < 16; i++)             /* windows, steps, paddings: no sum or product of these overflows */
        if (got[i] < -(1 << 28) || got[i] > (1 << 28)) { (void)fy_l_fail(l, FY_E_VALUE, "%s: %s holds %lld", l->n->op, name, (long long)got[i]); have = 0; }
    for (int i = 0; i < n; i++) dst[i] = have <= 0 ? otherwise : have == 1 ? got[0] : i < have ? got[i] : otherwise;
}

int fy_l_axis_of(fy_lower *l, int64_t given, int rank) {
    int64_t r = rank > 0 ? rank : 1;
    if (given < -r || given >= r) { (void)fy_l_fail(l, FY_E_AXIS, "%s: axis %lld outside rank %d", l->n->op, (long long)given, rank); return 0; }
    return (int)(given < 0 ? given + r : given);
}

int fy_l_axis_in(fy_lower *l, const char *name, int rank) {
    if (rank == 0) (void)fy_l_fail(l, FY_E_AXIS, "%s: a tensor of rank 0 has no axis", l->n->op);
    return fy_l_axis_of(l, fy_l_int(l, name), rank);
}

int fy_l_axis(fy_lower *l, const char *name, int rank) { return fy_l_axis_of(l, fy_l_int(l, name), rank); }

int fy_l_axes(fy_lower *l, const char *name, int rank, int64_t *axes) {
    int64_t given[FY_MAX_RANK];
    int n = fy_l_ints(l, name, given, FY_MAX_RANK);
    bool in[FY_MAX_RANK] = {false};
    for (int i = 0; i < n; i++) in[fy_l_axis_of(l, given[i], rank)] = true;
    int count = 0;
    for (int i = 0; i < rank && i < FY_MAX_RANK; i++)
        if (n <= 0 || in[i]) axes[count++] = i;
    return count;
}

/* ---- promotion -------------------------------------------------------------------------------------------------------- */

static int category(fy_dtype t) {
    switch (fy_dtype_class(t)) {
    case FY_CLASS_B: return 1;
    case FY_CLASS_I: case FY_CLASS_U: return 2;
    case FY_CLASS_F: return 3;
    case FY_CLASS_C: return 4;
    case FY_CLASS_NONE: case FY_CLASS_S: break;
    }
    return 0;
}

fy_dtype fy_promote2(fy_dtype a, fy_dtype b) {
    if (a == b || b == FERRY_UNDEFINED) return a;
    if (a == FERRY_UNDEFINED) return b;
    int ca = category(a), cb = category(b);
    if (ca == 4 || cb == 4) return a == FERRY_COMPLEX128 || b == FERRY_COMPLEX128 || a == FERRY_DOUBLE || b == FERRY_DOUBLE ? FERRY_COMPLEX128 : FERRY_COMPLEX64;
    if (ca != cb && (ca != 2 || cb != 2)) return ca > cb ? a : b;
    int wa = fy_dtype_bits(a), wb = fy_dtype_bits(b);
    if (ca == 3) return wa == wb ? FERRY_FLOAT : wa > wb ? a : b;            /* f16 with bf16 */
    bool ua = fy_dtype_class(a) == FY_CLASS_U, ub = fy_dtype_class(b) == FY_CLASS_U;
    if (ua == ub) return wa > wb ? a : b;
    int wu = ua ? wa : wb, ws = ua ? wb : wa;                                /* the signed type that holds both */
    if (ws > wu) return ua ? b : a;
    return wu == 8 ? FERRY_INT16 : wu == 16 ? FERRY_INT32 : FERRY_INT64;
}

/* torch's combine_categories: the lighter class counts only if it is of a higher category. */
static fy_dtype combine(fy_dtype higher, fy_dtype lower) {
    if (higher == FERRY_UNDEFINED) return lower;
    if (lower == FERRY_UNDEFINED) return higher;
    int h = category(higher), w = category(lower);
    if (h == 4) return higher;
    if (h == 3) return w == 4 ? fy_promote2(higher, lower) : higher;
    if (h == 1 || w >= 3) return fy_promote2(higher, lower);
    return higher;
}

fy_dtype fy_promote(int n, const fy_operand *o) {
    fy_dtype dims = FERRY_UNDEFINED, zero = FERRY_UNDEFINED, number = FERRY_UNDEFINED;
    for (int i = 0; i < n; i++) {
        if (o[i].number) number = fy_promote2(number, o[i].dtype);
        else if (o[i].v && o[i].v->type.rank == 0) zero = fy_promote2(zero, o[i].dtype);
        else dims = fy_promote2(dims, o[i].dtype);
    }
    return combine(dims, combine(zero, number));
}

fy_dtype fy_to_float(fy_dtype t) { return category(t) >= 3 ? t : FERRY_FLOAT; }

fy_value *fy_l_as(fy_lower *l, const fy_operand *o, fy_dtype t) {
    if (l->b.status != FY_OK) return NULL;
    if (o->v) return fy_b_cast(&l->b, o->v, t);
    if (o->dim) return fy_b_cast(&l->b, fy_l_size_scalar(l, o->dim), t);
    int c = category(t);
    if (c == 1) return fy_k_scalar_i(&l->b, t, o->dtype == FERRY_FLOAT ? o->f != 0 : o->i != 0);
    if (c == 2) return fy_k_scalar_i(&l->b, t, o->i);
    return fy_k_scalar(&l->b, t, o->f);
}

/* ---- results ------------------------------------------------------------------------------------------------------------ */

/* Outputs count singly: those of a list one after another. */
static fy_pvalue *out_value(const fy_pnode *n, int i) {
    int at = 0;
    for (int k = 0; k < n->nout; k++) {
        const fy_parg *o = &n->out[k];
        if (o->kind == FY_ARG_TENSORS) {
            if (i < at + (int)o->n) return o->values[i - at];
            at += (int)o->n;
        } else {
            if (i == at) return o->kind == FY_ARG_SYM ? o->sym.value : o->value;
            at++;
        }
    }
    return NULL;
}

fy_pvalue *fy_l_out_value(const fy_lower *l, int i) { return out_value(l->n, i); }

int fy_l_nout(const fy_lower *l) {
    int at = 0;
    for (int k = 0; k < l->n->nout; k++) at += l->n->out[k].kind == FY_ARG_TENSORS ? (int)l->n->out[k].n : 1;
    return at;
}

bool fy_l_wanted(const fy_lower *l, int i) {
    const fy_pvalue *v = out_value(l->n, i);
    return v && v->nuses > 0;
}

void fy_l_out(fy_lower *l, int i, fy_value *v) {
    fy_pvalue *out = out_value(l->n, i);
    if (v && out && out->id < l->nval) l->val[out->id].v = v;
}

fy_status fy_l_ret(fy_lower *l, fy_value *v) {
    if (l->b.status == FY_OK && !v) return fy_l_fail(l, FY_E_INTERNAL, "%s gave no value", l->n->op);
    fy_l_out(l, 0, v);
    return l->b.status;
}

fy_value *fy_l_named_op(fy_lower *l, const char *op, fy_value *x) { return x ? fy_emit(&l->b, op, FY_V(x), FY_NOATTR) : NULL; }

/* Where an axis was opened, an operand that still has the sample's size must follow the other one. */
static void fit_pair(fy_lower *l, fy_value **a, fy_value **b) {
    if (l->p->nopened == 0 || !*a || !*b || (*a)->type.rank < 1 || (*b)->type.rank < 1) return;
    int ra = (*a)->type.rank, rb = (*b)->type.rank;
    for (int i = 1; i <= ra && i <= rb && *a && *b; i++) {
        const fy_dim *da = (*a)->type.dim[ra - i], *db = (*b)->type.dim[rb - i];
        if (!fy_dim_is(da, 1) && !fy_dim_is(db, 1)) {
            *a = fy_l_fit_like(l, *a, ra - i, db);
            if (*a) *b = fy_l_fit_like(l, *b, rb - i, da);
        }
    }
}

fy_value *fy_l_binary(fy_lower *l, const char *op, fy_value *a, fy_value *b) {
    if (strcmp(op, "MatMul") != 0 && strcmp(op, "CumSum") != 0 && strcmp(op, "Compress") != 0) fit_pair(l, &a, &b);
    return a && b ? fy_emit(&l->b, op, FY_V(a, b), FY_NOATTR) : NULL;
}

fy_value *fy_l_where(fy_lower *l, fy_value *mask, fy_value *yes, fy_value *no) {
    fit_pair(l, &mask, &yes);
    fit_pair(l, &mask, &no);
    fit_pair(l, &yes, &no);
    return mask && yes && no ? fy_emit(&l->b, "Where", FY_V(mask, yes, no), FY_NOATTR) : NULL;
}

/* axes as an input; n == 0 reduces nothing here (callers give the whole set). */
fy_value *fy_l_reduce(fy_lower *l, const char *op, fy_value *x, int n, const int64_t *axes, bool keep) {
    if (!x) return NULL;
    if (n == 0) return x;                                                    /* rank 0 */
    return fy_emit(&l->b, op, FY_V(x, fy_k_ints(&l->b, n, axes)), FY_A(fy_int("keepdims", keep)));
}
