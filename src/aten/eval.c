/* SPDX-License-Identifier: Apache-2.0
 * eval.c - the ATen evaluator: runs a program as torch wrote it, before inlining and functionalisation, in double.
 *
 * It shares nothing with the lowering or the reference kernels of ops/, so that a wrong functionalisation or lowering shows
 * as a difference. Constants are read when first used and dropped after the last use; so are values. */
#include "aten/eval.h"

#include "base/checked.h"

enum { MAX_DEPTH = 64 };

typedef struct eval_op { const char *name; fy_status (*run)(fy_eval *v); int k; } eval_op;

static const eval_op table[] = {
#define EVAL(name, fn, k) {name, fy_at_##fn, k},
#include "aten/eval.def"
#undef EVAL
};

static const eval_op *find_exact(const char *name, size_t n) {
    for (int i = 0; i < FY_COUNT(table); i++)
        if (!strncmp(table[i].name, name, n) && !table[i].name[n]) return &table[i];
    return NULL;
}

/* "aten.relu_.default" runs as "aten.relu" and writes its result into self; "aten.atan2.out" as "aten.atan2" into out. */
static const eval_op *find_op(const char *op, const char **target) {
    char   name[128];
    size_t n = strlen(op);
    *target = NULL;
    if (n > 8 && !strcmp(op + n - 8, ".default")) n -= 8;
    if (n >= sizeof name) return NULL;
    const eval_op *r = find_exact(op, n);
    if (r) return r;
    memcpy(name, op, n);
    name[n] = 0;
    char *space = strchr(name, '.'), *dot = space ? strchr(space + 1, '.') : NULL, *under = dot ? dot - 1 : name + n - 1;
    if (*under == '_' && under > name && under[-1] != '_') {
        *target = "self";
        memmove(under, under + 1, strlen(under));
        return find_exact(name, strlen(name));
    }
    if (dot && strlen(dot) >= 4 && !strcmp(name + n - 3, "out")) {
        *target = "out";
        if (!strcmp(dot, ".out")) *dot = 0;
        else name[n - 4] = 0;
        return find_exact(name, strlen(name));
    }
    return NULL;
}

/* transpose_, unsqueeze_ ...: no element changes, and later nodes name the result. */
static bool only_reshapes(const eval_op *op) {
    return op->run == fy_at_transpose || op->run == fy_at_t || op->run == fy_at_squeeze || op->run == fy_at_unsqueeze || op->run == fy_at_alias ||
           op->run == fy_at_as_strided || op->run == fy_at_dropout;
}

fy_status (*fy_eval_find(const char *op))(fy_eval *v) {
    const char    *target;
    const eval_op *r = find_op(op, &target);
    return r ? r->run : NULL;
}

/* ---- slots ----------------------------------------------------------------------------------------------------------- */

void fy_ev_drop(fy_eslot *s) {
    fy_tensor_free(&s->t.t);
    s->set = false;
}

static bool is_complex(const fy_pvalue *p) { return p && p->kind == FY_PV_TENSOR && p->has_meta && fy_dtype_class(p->dtype) == FY_CLASS_C; }

static fy_eslot *slot_of(fy_eval *v, const fy_pvalue *p) { return p && p->id < v->nslot ? &v->slot[p->id] : NULL; }

fy_dtype fy_ev_wide(fy_dtype t) {
    switch (fy_dtype_class(t)) {
    case FY_CLASS_F: return FERRY_DOUBLE;
    case FY_CLASS_I: case FY_CLASS_U: return FERRY_INT64;
    case FY_CLASS_B: return FERRY_BOOL;
    case FY_CLASS_C: return FERRY_COMPLEX128;
    case FY_CLASS_NONE: case FY_CLASS_S: break;
    }
    return FERRY_UNDEFINED;
}

int64_t fy_ev_wrap(fy_dtype t, int64_t i) {
    int bits = fy_dtype_bits(t);
    if (bits <= 0 || bits >= 64) return i;
    uint64_t u = (uint64_t)i & (((uint64_t)1 << bits) - 1);
    if (fy_dtype_class(t) == FY_CLASS_I && (u >> (bits - 1))) u |= ~(((uint64_t)1 << bits) - 1);
    return (int64_t)u;
}

/* A parameter's contents at its first use: a view of the mapped file when it is f32 and nobody writes to it. */
static fy_status read_const(fy_eval *v, fy_eslot *s) {
    fy_tensor t = {0};
    fy_dtype  wide = fy_ev_wide(s->data->dtype);
    FY_NEED(v->e, wide, TYPE, "a constant of type %s", fy_dtype_name(s->data->dtype));
    FY_TRY(fy_const_tensor(&t, s->data, v->e));
    s->t = (fy_et){.t = t, .dtype = s->data->dtype};
    if (t.dtype != wide && (t.dtype != FERRY_FLOAT || s->written)) {
        fy_status r = fy_tensor_cast(&s->t.t, &t, wide, v->e);
        fy_tensor_free(&t);
        if (r != FY_OK) { s->t.t = (fy_tensor){0}; return r; }
    } else if (s->written) {
        fy_status r = fy_tensor_clone(&s->t.t, &t, v->e);
        fy_tensor_free(&t);
        if (r != FY_OK) { s->t.t = (fy_tensor){0}; return r; }
    }
    s->set = true;
    return FY_OK;
}

static fy_status use_slot(fy_eval *v, const fy_pvalue *p, fy_eslot **r) {
    fy_eslot *s = slot_of(v, p);
    FY_NEED(v->e, s, GRAPH, "an argument without a value");
    if (!s->set && s->data) FY_TRY(read_const(v, s));
    FY_NEED(v->e, s->set, GRAPH, "value %s is used before it is made", p->name);
    *r = s;
    return FY_OK;
}

/* ---- arguments ------------------------------------------------------------------------------------------------------- */

static const fy_parg *arg_of(const fy_eval *v, const char *name) {
    const fy_parg *a = v->node->schema ? fy_aten_arg(v->node, name) : fy_pnode_arg(v->node, name);
    if (!a || a->kind == FY_ARG_NONE) return NULL;
    return a;
}

static fy_status number_int(fy_eval *v, fy_et *a, int64_t i, fy_dtype dtype) {
    FY_TRY(fy_ev_temp(v, a, dtype, 0, NULL));
    if (dtype == FERRY_BOOL) *fy_ev_at_b(a) = i != 0;
    else *fy_ev_at_i(a) = i;
    a->number = true;
    return FY_OK;
}

static fy_status number_f64(fy_eval *v, fy_et *a, double f) {
    FY_TRY(fy_ev_temp(v, a, FERRY_FLOAT, 0, NULL));
    *fy_ev_at(a) = f;
    a->number = true;
    return FY_OK;
}

static fy_status from_slot(fy_eval *v, const fy_pvalue *p, fy_et *a) {
    fy_eslot *s;
    FY_TRY(use_slot(v, p, &s));
    switch (p->kind) {
    case FY_PV_TENSOR: *a = s->t; return v->planes ? fy_ev_plane(v, p, a) : FY_OK;
    case FY_PV_SYMINT: return number_int(v, a, s->i, FERRY_INT64);
    case FY_PV_SYMBOOL: return number_int(v, a, s->i, FERRY_BOOL);
    case FY_PV_SYMFLOAT: return number_f64(v, a, s->f);
    case FY_PV_OTHER: break;
    }
    return fy_fail(v->e, FY_E_UNSUPPORTED, "value %s is neither tensor nor number", p->name);
}

static fy_status read_arg(fy_eval *v, const fy_parg *p, fy_et *a) {
    switch ((int)p->kind) {
    case FY_ARG_TENSOR: case FY_ARG_SYMBOOL: case FY_ARG_SYMFLOAT: return from_slot(v, p->value, a);
    case FY_ARG_SYM: return p->sym.value ? from_slot(v, p->sym.value, a) : number_int(v, a, p->sym.i, FERRY_INT64);
    case FY_ARG_INT: return number_int(v, a, p->i, FERRY_INT64);
    case FY_ARG_BOOL: return number_int(v, a, p->i, FERRY_BOOL);
    case FY_ARG_FLOAT: return number_f64(v, a, p->f);
    default: return fy_fail(v->e, FY_E_TYPE, "argument %s is neither tensor nor number", p->name);
    }
}

fy_status fy_ev_widen(fy_eval *v, fy_et *a) {
    if (!a->t.dtype || a->t.dtype == fy_ev_wide(a->dtype)) return FY_OK;
    fy_tensor t = {0};
    FY_TRY(fy_tensor_cast(&t, &a->t, fy_ev_wide(a->dtype), v->e));
    a->t = t;
    if (!FY_RESERVE(v->temps, v->temps.n + 1)) { fy_tensor_free(&t); return fy_nomem(v->e); }
    v->temps.at[v->temps.n++] = t;
    return FY_OK;
}

fy_status fy_ev_opt_raw(fy_eval *v, const char *name, fy_et *a, bool *has) {
    const fy_parg *p = arg_of(v, name);
    *a = (fy_et){0};
    *has = p != NULL;
    return p ? read_arg(v, p, a) : FY_OK;
}

fy_status fy_ev_opt(fy_eval *v, const char *name, fy_et *a, bool *has) {
    FY_TRY(fy_ev_opt_raw(v, name, a, has));
    return *has ? fy_ev_widen(v, a) : FY_OK;
}

fy_status fy_ev_raw(fy_eval *v, const char *name, fy_et *a) {
    bool has;
    FY_TRY(fy_ev_opt_raw(v, name, a, &has));
    FY_NEED(v->e, has, GRAPH, "argument %s is missing", name);
    return FY_OK;
}

fy_status fy_ev_in(fy_eval *v, const char *name, fy_et *a) {
    FY_TRY(fy_ev_raw(v, name, a));
    return fy_ev_widen(v, a);
}

fy_status fy_ev_list_raw(fy_eval *v, const char *name, fy_et **a, int *n) {
    const fy_parg *p = arg_of(v, name);
    *n = 0;
    *a = NULL;
    if (!p) return FY_OK;
    FY_NEED(v->e, p->kind == FY_ARG_TENSORS && p->n < 65536, TYPE, "argument %s is not a list of tensors", name);
    FY_NOMEM(v->e, *a = FY_NEWN(&v->scratch, fy_et, p->n + 1));
    for (int64_t i = 0; i < p->n; i++)
        if (p->values[i]) FY_TRY(from_slot(v, p->values[i], &(*a)[i]));
    *n = (int)p->n;
    return FY_OK;
}

fy_status fy_ev_list(fy_eval *v, const char *name, fy_et **a, int *n) {
    FY_TRY(fy_ev_list_raw(v, name, a, n));
    for (int i = 0; i < *n; i++) FY_TRY(fy_ev_widen(v, &(*a)[i]));
    return FY_OK;
}

static fy_status sym_int(fy_eval *v, fy_psym s, int64_t *r) {
    if (!s.value) { *r = s.i; return FY_OK; }
    fy_eslot *slot;
    FY_TRY(use_slot(v, s.value, &slot));
    if (s.value->kind == FY_PV_TENSOR) {
        FY_NEED(v->e, fy_count(&slot->t.t) == 1, VALUE, "value %s is not one number", s.value->name);
        *r = fy_get_i64(&slot->t.t, 0);
    } else *r = s.value->kind == FY_PV_SYMFLOAT ? (int64_t)slot->f : slot->i;
    return FY_OK;
}

fy_status fy_ev_int(fy_eval *v, const char *name, int64_t *r) {
    const fy_parg *p = arg_of(v, name);
    if (!p) return FY_OK;
    switch ((int)p->kind) {
    case FY_ARG_INT: case FY_ARG_BOOL: case FY_ARG_DTYPE: case FY_ARG_MEMORY_FORMAT: case FY_ARG_LAYOUT: *r = p->i; return FY_OK;
    case FY_ARG_FLOAT: *r = (int64_t)p->f; return FY_OK;
    case FY_ARG_SYM: return sym_int(v, p->sym, r);
    case FY_ARG_TENSOR: case FY_ARG_SYMBOOL: case FY_ARG_SYMFLOAT: return sym_int(v, (fy_psym){.value = p->value}, r);
    default: return fy_fail(v->e, FY_E_TYPE, "argument %s is not an integer", name);
    }
}

fy_status fy_ev_ints(fy_eval *v, const char *name, int64_t *r, int max, int *n) {
    const fy_parg *p = arg_of(v, name);
    *n = -1;
    if (!p) return FY_OK;
    if (p->kind == FY_ARG_INTS || p->kind == FY_ARG_BOOLS || p->kind == FY_ARG_SYMS || p->kind == FY_ARG_FLOATS || p->kind == FY_ARG_TENSORS) {
        FY_NEED(v->e, p->n <= max, LIMIT, "argument %s has %lld entries, at most %d are allowed", name, (long long)p->n, max);
        *n = (int)p->n;
        for (int i = 0; i < *n; i++) {
            if (p->kind == FY_ARG_SYMS) FY_TRY(sym_int(v, p->syms[i], &r[i]));
            else if (p->kind == FY_ARG_FLOATS) r[i] = (int64_t)p->floats[i];
            else if (p->kind == FY_ARG_TENSORS) FY_TRY(sym_int(v, (fy_psym){.value = p->values[i]}, &r[i]));
            else r[i] = p->ints[i];
        }
        return FY_OK;
    }
    FY_NEED(v->e, max > 0, LIMIT, "argument %s is not expected", name);
    *n = 1;
    return fy_ev_int(v, name, r);
}

fy_status fy_ev_floats(fy_eval *v, const char *name, double *r, int max, int *n) {
    const fy_parg *p = arg_of(v, name);
    *n = -1;
    if (!p) return FY_OK;
    if (p->kind == FY_ARG_FLOATS) {
        FY_NEED(v->e, p->n <= max, LIMIT, "argument %s has %lld entries, at most %d are allowed", name, (long long)p->n, max);
        *n = (int)p->n;
        for (int i = 0; i < *n; i++) r[i] = p->floats[i];
        return FY_OK;
    }
    int64_t ints[16];
    FY_TRY(fy_ev_ints(v, name, ints, max < 16 ? max : 16, n));
    for (int i = 0; i < *n; i++) r[i] = (double)ints[i];
    return FY_OK;
}

fy_status fy_ev_f64(fy_eval *v, const char *name, double *r) {
    const fy_parg *p = arg_of(v, name);
    fy_et          a;
    if (!p) return FY_OK;
    FY_TRY(read_arg(v, p, &a));
    FY_NEED(v->e, fy_count(&a.t) == 1, VALUE, "argument %s is not one number", name);
    *r = fy_get_f64(&a.t, 0);
    return FY_OK;
}

fy_status fy_ev_bool(fy_eval *v, const char *name, bool *r) {
    int64_t i = *r;
    FY_TRY(fy_ev_int(v, name, &i));
    *r = i != 0;
    return FY_OK;
}

fy_status fy_ev_dtype(fy_eval *v, const char *name, fy_dtype *r) {
    const fy_parg *p = arg_of(v, name);
    if (!p) return FY_OK;
    FY_NEED(v->e, p->kind == FY_ARG_DTYPE, TYPE, "argument %s is not a dtype", name);
    *r = (fy_dtype)p->i;
    FY_NEED(v->e, fy_ev_wide(*r), TYPE, "argument %s: element type %s", name, fy_dtype_name(*r));
    return FY_OK;
}

fy_status fy_ev_number(fy_eval *v, const char *name, fy_et *a, bool *has) {
    FY_TRY(fy_ev_opt(v, name, a, has));
    FY_NEED(v->e, !*has || fy_count(&a->t) == 1, VALUE, "argument %s is not one number", name);
    return FY_OK;
}

const char *fy_ev_str(fy_eval *v, const char *name, const char *def) {
    const fy_parg *p = arg_of(v, name);
    return p && p->s ? p->s : def;
}

fy_status fy_ev_intn(fy_eval *v, const char *name, int nd, int64_t *r, int64_t def) {
    int64_t got[8];
    int     n;
    FY_TRY(fy_ev_ints(v, name, got, 8, &n));
    FY_NEED(v->e, n <= 1 || n == nd, SHAPE, "argument %s has %d entries, %d are needed", name, n, nd);
    for (int i = 0; i < nd; i++) r[i] = n <= 0 ? def : n == 1 ? got[0] : got[i];
    return FY_OK;
}

fy_status fy_ev_axis(fy_eval *v, const char *name, int rank, int64_t def, int *axis) {
    int     lim = rank ? rank : 1;
    int64_t a = def;
    FY_TRY(fy_ev_int(v, name, &a));
    FY_NEED(v->e, a >= -lim && a < lim, AXIS, "axis %lld outside rank %d", (long long)a, rank);
    *axis = (int)(a < 0 ? a + lim : a);
    return FY_OK;
}

/* ---- contents -------------------------------------------------------------------------------------------------------- */

static bool is_dense(const fy_tensor *t) { return fy_contiguous(t); }

fy_status fy_ev_temp(fy_eval *v, fy_et *o, fy_dtype dtype, int rank, const int64_t *dim) {
    FY_TRY(fy_ev_new(v, o, dtype, rank, dim));
    if (!FY_RESERVE(v->temps, v->temps.n + 1)) { fy_tensor_free(&o->t); return fy_nomem(v->e); }
    v->temps.at[v->temps.n++] = o->t;
    return FY_OK;
}

static void *dense_as(fy_eval *v, const fy_et *a, fy_dtype want) {
    if (a->t.dtype == want && is_dense(&a->t) && a->t.data) return a->t.data;
    fy_et o;
    if (fy_ev_temp(v, &o, want, a->t.rank, a->t.dim) != FY_OK) return NULL;
    int64_t n = fy_count(&a->t);
    if (want == FERRY_DOUBLE) fy_load_f64(o.t.data, &a->t, 0, n);
    else fy_load_i64(o.t.data, &a->t, 0, n);
    return o.t.data;
}

const double  *fy_ev_dense(fy_eval *v, const fy_et *a) { return dense_as(v, a, FERRY_DOUBLE); }
const int64_t *fy_ev_dense_i(fy_eval *v, const fy_et *a) { return dense_as(v, a, FERRY_INT64); }
double        *fy_ev_at(const fy_et *a) { return a->t.data; }
int64_t       *fy_ev_at_i(const fy_et *a) { return a->t.data; }
uint8_t       *fy_ev_at_b(const fy_et *a) { return a->t.data; }

fy_status fy_ev_expand(fy_eval *v, fy_et *a, int rank, const int64_t *dim) {
    fy_tensor t = a->t;
    FY_NEED(v->e, rank <= FY_MAX_RANK && rank >= t.rank, SHAPE, "rank %d cannot be broadcast to %d", t.rank, rank);
    for (int i = rank - 1, j = a->t.rank - 1; i >= 0; i--, j--) {
        int64_t d = j >= 0 ? a->t.dim[j] : 1;
        FY_NEED(v->e, d == dim[i] || d == 1, SHAPE, "size %lld cannot be broadcast to %lld", (long long)d, (long long)dim[i]);
        t.dim[i] = dim[i];
        t.stride[i] = d == dim[i] && j >= 0 ? a->t.stride[j] : 0;
    }
    t.rank = rank;
    a->t = t;
    return FY_OK;
}

fy_status fy_ev_broadcast(fy_eval *v, int n, const fy_et *const *a, int *rank, int64_t *dim) {
    int r = 0;
    for (int i = 0; i < n; i++) r = a[i]->t.rank > r ? a[i]->t.rank : r;
    for (int k = 0; k < r; k++) {
        int64_t d = 1;
        for (int i = 0; i < n; i++) {
            int j = k - (r - a[i]->t.rank);
            if (j < 0 || a[i]->t.dim[j] == 1) continue;
            FY_NEED(v->e, d == 1 || d == a[i]->t.dim[j], SHAPE, "sizes %lld and %lld do not broadcast", (long long)d, (long long)a[i]->t.dim[j]);
            d = a[i]->t.dim[j];
        }
        dim[k] = d;
    }
    *rank = r;
    return FY_OK;
}

/* torch casts float to int by truncation, and anything to bool as != 0. */
static fy_status cast_new(fy_eval *v, fy_et *o, const fy_et *a, fy_dtype to) {
    FY_TRY(fy_ev_new(v, o, to, a->t.rank, a->t.dim));
    int64_t  n = fy_count(&a->t);
    fy_class from_c = fy_dtype_class(a->dtype), c = fy_dtype_class(to);
    if (!n) return FY_OK;
    if (c == FY_CLASS_F) {
        double *y = fy_ev_at(o);
        fy_load_f64(y, &a->t, 0, n);
        if (to != FERRY_DOUBLE && to != a->dtype && (to != FERRY_FLOAT || a->dtype == FERRY_DOUBLE))
            for (int64_t i = 0; i < n; i++) y[i] = fy_round_to(to, y[i]);
    } else if (c == FY_CLASS_B) {
        uint8_t *y = fy_ev_at_b(o);
        if (from_c == FY_CLASS_F) {
            const double *x = fy_ev_dense(v, a);
            if (!x) { fy_tensor_free(&o->t); return FY_E_NOMEM; }
            for (int64_t i = 0; i < n; i++) y[i] = x[i] != 0;
        } else {
            const int64_t *x = fy_ev_dense_i(v, a);
            if (!x) { fy_tensor_free(&o->t); return FY_E_NOMEM; }
            for (int64_t i = 0; i < n; i++) y[i] = x[i] != 0;
        }
    } else if (c == FY_CLASS_C) {
        fy_load_c128(o->t.data, &a->t, 0, n);
    } else {
        int64_t *y = fy_ev_at_i(o);
        fy_load_i64(y, &a->t, 0, n);
        if (to != FERRY_INT64 && to != FERRY_UINT64)
            for (int64_t i = 0; i < n; i++) y[i] = fy_ev_wrap(to, y[i]);
    }
    return FY_OK;
}

fy_status fy_ev_copy(fy_eval *v, fy_et *o, const fy_et *a) { return cast_new(v, o, a, a->dtype); }

fy_status fy_ev_cast(fy_eval *v, fy_et *a, fy_dtype to) {
    if (a->dtype == to) return fy_ev_widen(v, a);
    fy_et o;
    FY_TRY(cast_new(v, &o, a, to));
    o.number = a->number;
    if (!FY_RESERVE(v->temps, v->temps.n + 1)) { fy_tensor_free(&o.t); return fy_nomem(v->e); }
    v->temps.at[v->temps.n++] = o.t;
    *a = o;
    return FY_OK;
}

/* ---- promotion --------------------------------------------------------------------------------------------------------- */

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

/* Of two dtypes as torch.promote_types: u8 with a signed type of one byte gives i16; f16 with bf16 gives f32. */
static fy_dtype promote2(fy_dtype a, fy_dtype b) {
    if (!a || a == b) return b;
    if (!b) return a;
    int ca = category(a), cb = category(b);
    if (ca != cb) return ca > cb ? a : b;
    int wa = fy_dtype_bits(a), wb = fy_dtype_bits(b);
    if (ca == 2 && fy_dtype_class(a) != fy_dtype_class(b)) {
        int u = fy_dtype_class(a) == FY_CLASS_U ? wa : wb, s = fy_dtype_class(a) == FY_CLASS_U ? wb : wa;
        if (s > u) return fy_dtype_class(a) == FY_CLASS_U ? b : a;
        return u == 8 ? FERRY_INT16 : u == 16 ? FERRY_INT32 : FERRY_INT64;
    }
    if (ca == 3 && wa == wb) return FERRY_FLOAT;
    return wa > wb ? a : b;
}

fy_dtype fy_ev_promote(int n, const fy_et *const *a) {
    fy_dtype dims = 0, zero = 0, number = 0;
    for (int i = 0; i < n; i++) {
        if (!a[i]->dtype) continue;
        fy_dtype *to = a[i]->number ? &number : a[i]->t.rank == 0 ? &zero : &dims;
        *to = promote2(*to, a[i]->dtype);
    }
    fy_dtype low = category(number) > category(zero) || !zero ? number : zero;
    if (zero && number && category(number) > category(zero)) low = number;
    return !dims || category(low) > category(dims) ? low : dims;
}

/* ---- results ----------------------------------------------------------------------------------------------------------- */

fy_status fy_ev_new(fy_eval *v, fy_et *o, fy_dtype dtype, int rank, const int64_t *dim) {
    *o = (fy_et){.dtype = dtype};
    fy_dtype wide = fy_ev_wide(dtype);
    FY_NEED(v->e, wide, TYPE, "a result of type %s", fy_dtype_name(dtype));
    int64_t count = 0;
    FY_NEED(v->e, rank <= FY_MAX_RANK && fy_count_dims(&count, rank, dim) && count < (int64_t)1 << 33, LIMIT, "a result is too large");
    FY_TRY(fy_tensor_new(&o->t, wide, rank, dim, v->e));
    if (o->t.data) memset(o->t.data, 0, (size_t)count * (size_t)fy_elem_bytes(wide));
    return FY_OK;
}

static bool symbol_value(void *ctx, const fy_dim *sym, int64_t *r) {
    const fy_eval *v = ctx;
    for (int64_t i = 0; i < v->bound.n; i++)
        if (v->bound.at[i].sym == sym || (sym->name && v->bound.at[i].sym->name && !strcmp(v->bound.at[i].sym->name, sym->name))) {
            *r = v->bound.at[i].v;
            return true;
        }
    return false;
}

static fy_status bind(fy_eval *v, const fy_dim *sym, int64_t value) {
    int64_t old;
    if (sym->kind != FY_DIM_SYM && sym->kind != FY_DIM_OPAQUE) return FY_OK;
    if (symbol_value(v, sym, &old)) return FY_OK;
    FY_NOMEM(v->e, FY_RESERVE(v->bound, v->bound.n + 1));
    v->bound.at[v->bound.n].sym = sym;
    v->bound.at[v->bound.n++].v = value;
    return FY_OK;
}

/* What torch recorded about a value must agree with what was computed. A size that no input fixed is learnt here. */
/* torch records wrong shapes for what recurrent layers give: 2.7 the states of stacked ones with a rank that it never computes, 2.15 the sample's
 * length where the sequence is dynamic. Nothing behind such a layer is compared with its record. */
static bool recurrent(const fy_eval *v) {
    const char *op = v->node ? v->node->op : "";
    return strcmp(op, "aten.lstm.input") == 0 || strcmp(op, "aten.gru.input") == 0 || strncmp(op, "aten.rnn_", 9) == 0;
}

static fy_status check_meta(fy_eval *v, const fy_pvalue *p, const fy_et *t) {
    if (!p->has_meta || v->meta_off) return FY_OK;
    if (p->rank != t->t.rank && recurrent(v)) {
        v->meta_off = true;
        return FY_OK;
    }
    FY_NEED(v->e, !p->dtype || p->dtype == t->dtype, TYPE, "%s: recorded as %s, computed as %s", p->name, fy_dtype_name(p->dtype), fy_dtype_name(t->dtype));
    FY_NEED(v->e, p->rank == t->t.rank, SHAPE, "%s: recorded with rank %d, computed with %d", p->name, p->rank, t->t.rank);
    for (int i = 0; p->dim && i < p->rank; i++) {
        int64_t want;
        if (!p->dim[i]) continue;
        if (!fy_dim_eval(p->dim[i], symbol_value, v, &want)) {
            FY_TRY(bind(v, p->dim[i], t->t.dim[i]));
            continue;
        }
        if (want != t->t.dim[i] && recurrent(v)) v->meta_off = true;
        FY_NEED(v->e, want == t->t.dim[i] || v->meta_off, SHAPE, "%s: axis %d is recorded as %lld, computed as %lld", p->name, i, (long long)want, (long long)t->t.dim[i]);
    }
    return FY_OK;
}

fy_status fy_ev_set(fy_eval *v, fy_pvalue *to, fy_eslot *from) {
    fy_eslot *s = slot_of(v, to);
    if (!s) { fy_tensor_free(&from->t.t); return FY_OK; }
    fy_status r = FY_OK;
    from->t.number = false;
    if (to->kind == FY_PV_TENSOR) {
        if (v->o && v->o->follow) r = fy_ev_follow(v, to, &from->t);
        if (r == FY_OK) r = check_meta(v, to, &from->t);
        if (r == FY_OK && v->o && v->o->seen) v->o->seen(v->o->ctx, to, &from->t.t);
    } else if (to->kind == FY_PV_SYMINT && to->sym) r = bind(v, to->sym, from->i);
    if (r != FY_OK) { fy_tensor_free(&from->t.t); return r; }
    if (s->set) fy_ev_drop(s);
    s->t = from->t;
    s->i = from->i;
    s->f = from->f;
    s->set = true;
    s->left = s->uses;
    if (!s->uses) fy_ev_drop(s);
    return FY_OK;
}

/* The value that output `slot` goes to, or NULL if nobody wants it. */
static fy_pvalue *out_value(const fy_eval *v, int slot) {
    const fy_pnode *n = v->node;
    if (slot == 0 && n->nout == 1 && n->out[0].kind == FY_ARG_TENSORS) return n->out[0].n ? n->out[0].values[0] : NULL;
    if (slot >= n->nout) return NULL;
    const fy_parg *a = &n->out[slot];
    if (a->kind == FY_ARG_SYM) return a->sym.value;
    return a->kind == FY_ARG_TENSOR || a->kind == FY_ARG_SYMBOOL || a->kind == FY_ARG_SYMFLOAT ? a->value : NULL;
}

/* Writes src (broadcast, converted) into dst's storage. */
static fy_status write_through(fy_eval *v, fy_et *dst, const fy_et *src) {
    fy_et s = *src;
    FY_NEED(v->e, dst->t.dtype == fy_ev_wide(dst->dtype) && (!dst->t.own || !dst->t.own->borrowed), ALIAS, "a write into a constant");
    FY_TRY(fy_ev_expand(v, &s, dst->t.rank, dst->t.dim));
    if (s.dtype != dst->dtype) FY_TRY(fy_ev_cast(v, &s, dst->dtype));
    if (s.t.data == dst->t.data && fy_same_dims(&s.t, &dst->t) && !memcmp(s.t.stride, dst->t.stride, sizeof(int64_t) * (size_t)s.t.rank)) return FY_OK;
    if (s.t.own && s.t.own == dst->t.own) {                  /* overlapping views of one storage */
        fy_et c;
        FY_TRY(fy_ev_copy(v, &c, &s));
        fy_tensor_copy(&dst->t, &c.t);
        fy_tensor_free(&c.t);
    } else fy_tensor_copy(&dst->t, &s.t);
    return FY_OK;
}

static void round_all(fy_et *o) {
    int64_t n = fy_count(&o->t);
    if (fy_dtype_class(o->dtype) == FY_CLASS_F) {
        if (o->dtype == FERRY_DOUBLE || (o->dtype == FERRY_FLOAT && o->t.rank)) return;      /* sizes are made of single numbers: as torch has them */
        double *y = fy_ev_at(o);
        for (int64_t i = 0; i < n; i++) y[i] = fy_round_to(o->dtype, y[i]);
    } else if (fy_dtype_int(o->dtype) && fy_dtype_bits(o->dtype) < 64) {
        int64_t *y = fy_ev_at_i(o);
        for (int64_t i = 0; i < n; i++) y[i] = fy_ev_wrap(o->dtype, y[i]);
    }
}

static fy_status out_written(fy_eval *v, int slot, const fy_et *o) {
    fy_et self;
    FY_TRY(fy_ev_raw(v, v->target, &self));
    FY_TRY(write_through(v, &self, o));
    fy_pvalue *to = out_value(v, slot);
    if (!to) return FY_OK;
    return fy_ev_set(v, to, &(fy_eslot){.t = {.t = fy_tensor_ref(&self.t), .dtype = self.dtype}});
}

/* Takes *o over: one part of what becomes complex. */
static fy_status plane_out(fy_eval *v, int slot, fy_et *o) {
    if (slot == 0 && !v->got.t.dtype) v->got = *o;
    else fy_tensor_free(&o->t);
    return FY_OK;
}

fy_status fy_ev_out(fy_eval *v, int slot, fy_et *o) {
    if (v->planes) return plane_out(v, slot, o);
    round_all(o);
    if (v->inplace && slot == 0) {
        fy_status r = out_written(v, slot, o);
        fy_tensor_free(&o->t);
        return r;
    }
    fy_pvalue *to = out_value(v, slot);
    if (!to) { fy_tensor_free(&o->t); return FY_OK; }
    return fy_ev_set(v, to, &(fy_eslot){.t = *o});
}

fy_status fy_ev_view(fy_eval *v, int slot, const fy_et *o) {
    fy_pvalue *to = out_value(v, slot);
    if (v->planes) {
        fy_et copy;
        FY_TRY(fy_ev_copy(v, &copy, o));
        return plane_out(v, slot, &copy);
    }
    if (v->inplace) {
        fy_et self;
        FY_TRY(fy_ev_raw(v, v->target, &self));
        if (fy_same_dims(&self.t, &o->t)) return out_written(v, slot, o);
    }
    if (!to) return FY_OK;
    return fy_ev_set(v, to, &(fy_eslot){.t = {.t = fy_tensor_ref(&o->t), .dtype = o->dtype}});
}

fy_status fy_ev_out_list(fy_eval *v, int n, fy_et *o) {
    const fy_pnode *node = v->node;
    int             k = 0;
    for (int i = 0; i < node->nout; i++) {
        const fy_parg *a = &node->out[i];
        int64_t        m = a->kind == FY_ARG_TENSORS ? a->n : 1;
        for (int64_t j = 0; j < m; j++, k++) {
            fy_pvalue *to = a->kind == FY_ARG_TENSORS ? a->values[j] : a->kind == FY_ARG_TENSOR ? a->value : NULL;
            FY_NEED(v->e, k < n, SHAPE, "%d tensors were made, the program takes more", n);
            if (to) FY_TRY(fy_ev_set(v, to, &(fy_eslot){.t = {.t = fy_tensor_ref(&o[k].t), .dtype = o[k].dtype}}));
        }
    }
    FY_NEED(v->e, k == n || k == 0, SHAPE, "%d tensors were made, the program takes %d", n, k);
    return FY_OK;
}

fy_status fy_ev_out_int(fy_eval *v, int slot, int64_t i) {
    fy_pvalue *to = out_value(v, slot);
    return to ? fy_ev_set(v, to, &(fy_eslot){.i = i, .f = (double)i}) : FY_OK;
}

fy_status fy_ev_out_f64(fy_eval *v, int slot, double f) {
    fy_pvalue *to = out_value(v, slot);
    return to ? fy_ev_set(v, to, &(fy_eslot){.f = f, .i = f >= -9.2e18 && f <= 9.2e18 ? (int64_t)f : 0}) : FY_OK;
}

fy_status fy_ev_arg_slot(fy_eval *v, const fy_parg *a, int64_t i, fy_eslot *r) {
    const fy_pvalue *p = NULL;
    *r = (fy_eslot){0};
    switch ((int)a->kind) {
    case FY_ARG_TENSORS: p = a->values[i]; break;
    case FY_ARG_TENSOR: case FY_ARG_SYMBOOL: case FY_ARG_SYMFLOAT: p = a->value; break;
    case FY_ARG_SYM: p = a->sym.value; r->i = a->sym.i; r->f = (double)a->sym.i; break;
    case FY_ARG_SYMS: p = a->syms[i].value; r->i = a->syms[i].i; r->f = (double)r->i; break;
    case FY_ARG_INT: case FY_ARG_BOOL: r->i = a->i; r->f = (double)a->i; break;
    case FY_ARG_INTS: r->i = a->ints[i]; r->f = (double)r->i; break;
    case FY_ARG_FLOAT: r->f = a->f; r->i = (int64_t)a->f; break;
    default: return fy_fail(v->e, FY_E_UNSUPPORTED, "operand %s of a block is neither tensor nor number", a->name ? a->name : "");
    }
    if (!p) return FY_OK;
    fy_eslot *s;
    FY_TRY(use_slot(v, p, &s));
    *r = (fy_eslot){.t = {.t = fy_tensor_ref(&s->t.t), .dtype = s->t.dtype}, .i = s->i, .f = s->f};
    return FY_OK;
}

/* ---- driver ------------------------------------------------------------------------------------------------------------ */

typedef struct arg_iter { const fy_parg *a; int64_t i; } arg_iter;

/* Each value that an argument names, once. */
static const fy_pvalue *next_value(arg_iter *it) {
    const fy_parg *a = it->a;
    for (;;) {
        int64_t i = it->i++;
        switch ((int)a->kind) {
        case FY_ARG_TENSOR: case FY_ARG_SYMBOOL: case FY_ARG_SYMFLOAT: return i == 0 ? a->value : NULL;
        case FY_ARG_SYM: return i == 0 ? a->sym.value : NULL;
        case FY_ARG_TENSORS:
            if (i >= a->n) return NULL;
            if (a->values[i]) return a->values[i];
            break;
        case FY_ARG_SYMS:
            if (i >= a->n) return NULL;
            if (a->syms[i].value) return a->syms[i].value;
            break;
        default: return NULL;
        }
    }
}

/* The graph input or node result whose storage a written value shares, through first arguments of views. */
static void mark_written(fy_eval *v, const fy_pvalue *p) {
    for (int steps = 0; p && steps < 10000; steps++) {
        fy_eslot *s = slot_of(v, p);
        if (s && s->written) return;
        if (s) s->written = true;
        const fy_pnode *d = p->def;
        if (!d || !d->narg || d->arg[0].kind != FY_ARG_TENSOR) return;
        p = d->arg[0].value;
    }
}

static fy_status count_uses(fy_eval *v, const fy_pgraph *g, int depth) {
    FY_NEED(v->e, depth < MAX_DEPTH, LIMIT, "blocks are nested deeper than %d", MAX_DEPTH);
    const fy_pvalue *p;
    for (int i = 0; i < g->nin; i++)
        for (arg_iter it = {&g->in[i], 0}; (p = next_value(&it));)
            if (slot_of(v, p) && !slot_of(v, p)->home) slot_of(v, p)->home = g;
    for (const fy_pnode *n = g->first; n; n = n->next) {
        bool writes = false;
        for (const char *c = n->op; *c; c++) writes = writes || (*c == '_' && (c[1] == '.' || c[1] == 0)) || (!strncmp(c, ".out", 4) && !c[4]) || !strcmp(c, "_out");
        for (int i = 0; i < n->narg; i++) {
            for (arg_iter it = {&n->arg[i], 0}; (p = next_value(&it));)
                if (slot_of(v, p)) slot_of(v, p)->uses++;
            if (n->arg[i].kind == FY_ARG_GRAPH && n->arg[i].graph) FY_TRY(count_uses(v, n->arg[i].graph, depth + 1));
            if (n->arg[i].kind == FY_ARG_TENSOR && (writes || !strncmp(n->op, "hop.", 4)) && (i == 0 || !n->arg[i].name || !*n->arg[i].name || !strcmp(n->arg[i].name, "out")))
                mark_written(v, n->arg[i].value);
        }
        for (int i = 0; i < n->nout; i++)
            for (arg_iter it = {&n->out[i], 0}; (p = next_value(&it));)
                if (slot_of(v, p)) slot_of(v, p)->home = g;
    }
    for (int i = 0; i < g->nout; i++)
        for (arg_iter it = {&g->out[i], 0}; (p = next_value(&it));)
            if (slot_of(v, p)) slot_of(v, p)->uses++;
    return FY_OK;
}

/* BatchNorm in training mode writes running_mean and running_var without an underscore in its name. */
static void mark_norms(fy_eval *v, const fy_pgraph *g) {
    for (const fy_pnode *n = g->first; n; n = n->next)
        if (strstr(n->op, "_norm"))
            for (int i = 0; i < n->narg; i++)
                if (n->arg[i].kind == FY_ARG_TENSOR && n->arg[i].name && !strncmp(n->arg[i].name, "running_", 8)) mark_written(v, n->arg[i].value);
}

static void clear_temps(fy_eval *v) {
    for (int64_t i = 0; i < v->temps.n; i++) fy_tensor_free(&v->temps.at[i]);
    v->temps.n = 0;
    fy_arena_free(&v->scratch);
}

static bool reads_complex(const fy_pnode *n) {
    bool yes = false;
    for (int i = 0; i < n->narg && !yes; i++) {
        yes = n->arg[i].kind == FY_ARG_COMPLEX || is_complex(n->arg[i].value);
        for (int64_t k = 0; n->arg[i].kind == FY_ARG_TENSORS && k < n->arg[i].n; k++) yes = yes || is_complex(n->arg[i].values[k]);
    }
    return yes;
}

static fy_status run_node(fy_eval *v, const fy_pnode *n) {
    const char    *target;
    const eval_op *op = find_op(n->op, &target);
    FY_NEED(v->e, op, ATEN, "%s cannot be evaluated", n->op);
    v->node = n;
    v->k = op->k;
    v->inplace = target != NULL && !only_reshapes(op);
    v->target = target;
    return reads_complex(n) ? fy_ev_complex(v, op->run) : op->run(v);
}

static fy_status node_frame(fy_eval *v, const fy_pnode *n, fy_status s) {
    if (n->source) return fy_frame(v->e, s, "node %u %s, %s (%s)", (unsigned)n->id, n->op, n->scope ? n->scope : "", n->source);
    return fy_frame(v->e, s, "node %u %s, %s", (unsigned)n->id, n->op, n->scope ? n->scope : "");
}

fy_status fy_ev_graph(fy_eval *v, const fy_pgraph *g) {
    FY_NEED(v->e, v->depth < MAX_DEPTH, LIMIT, "blocks are nested deeper than %d", MAX_DEPTH);
    v->depth++;
    for (const fy_pnode *n = g->first; n; n = n->next) {
        fy_status s = run_node(v, n);
        clear_temps(v);
        if (s != FY_OK) return node_frame(v, n, s);
        const fy_pvalue *p;
        for (int i = 0; i < n->narg; i++)
            for (arg_iter it = {&n->arg[i], 0}; (p = next_value(&it));) {
                fy_eslot *slot = slot_of(v, p);
                if (slot && slot->home == g && slot->set && --slot->left == 0) {
                    if (slot->written && slot->data) slot->left = 1;      /* a buffer keeps what was written */
                    else fy_ev_drop(slot);
                }
            }
    }
    v->depth--;
    return FY_OK;
}

/* Symbols of one input dim that is a plain symbol, or a symbol times a number. */
static fy_status bind_dim(fy_eval *v, const fy_dim *d, int64_t size) {
    if (d->kind == FY_DIM_SYM || d->kind == FY_DIM_OPAQUE) return bind(v, d, size);
    if (d->kind == FY_DIM_PROD && d->nargs == 1 && d->value > 0 && size % d->value == 0) return bind(v, d->arg[0], size / d->value);
    if (d->kind == FY_DIM_SUM && d->nargs == 1) {
        int64_t rest = size - d->value;
        const fy_dim *t = d->arg[0];
        if (t->kind == FY_DIM_SYM) return bind(v, t, rest);
        if (t->kind == FY_DIM_PROD && t->nargs == 1 && t->value > 0 && rest % t->value == 0) return bind(v, t->arg[0], rest / t->value);
    }
    return FY_OK;
}

static fy_status set_inputs(fy_eval *v, const fy_program *p, const fy_tensor *in, int nin) {
    int users = 0, literals = 0, next = 0;
    for (int i = 0; i < p->nin; i++) {
        users += p->in[i].kind == FY_PIN_USER;
        literals += p->in[i].kind == FY_PIN_LITERAL;
    }
    bool with_literals = nin == users + literals;
    FY_NEED(v->e, nin == users || with_literals, USAGE, "%d inputs are given, the program takes %d", nin, users);
    for (int pass = 0; pass < 2; pass++) {                   /* plain symbols first, then multiples */
        next = 0;
        for (int i = 0; i < p->nin; i++) {
            const fy_pinput *d = &p->in[i];
            if (d->kind == FY_PIN_LITERAL && with_literals) next++;
            if (d->kind != FY_PIN_USER) continue;
            const fy_tensor *t = &in[next++];
            if (!d->value || d->value->kind != FY_PV_TENSOR || !d->value->has_meta || !d->value->dim) continue;
            if (t->rank != d->value->rank) continue;
            for (int k = 0; k < t->rank; k++)
                if (d->value->dim[k] && (pass == 1) == (d->value->dim[k]->kind != FY_DIM_SYM)) FY_TRY(bind_dim(v, d->value->dim[k], t->dim[k]));
        }
    }
    next = 0;
    for (int i = 0; i < p->nin; i++) {
        const fy_pinput *d = &p->in[i];
        fy_eslot        *s = slot_of(v, d->value);
        if (d->kind == FY_PIN_LITERAL && with_literals) next++;
        if (d->kind == FY_PIN_PARAMETER || d->kind == FY_PIN_BUFFER || d->kind == FY_PIN_CONSTANT) {
            if (s) { s->data = d->data; s->left = s->uses; }
            if (s && d->data && v->o && v->o->state && v->o->state[i].dtype) {
                s->t = (fy_et){.dtype = d->data->dtype};
                FY_TRY(fy_tensor_cast(&s->t.t, &v->o->state[i], fy_ev_wide(d->data->dtype), v->e));
                s->set = true;
            }
            continue;
        }
        if (d->kind == FY_PIN_LITERAL && s) {
            fy_eslot lit;
            FY_TRY(fy_ev_arg_slot(v, &d->literal, 0, &lit));
            FY_TRY(fy_ev_set(v, d->value, &lit));
            continue;
        }
        if (d->kind != FY_PIN_USER) continue;
        const fy_tensor *t = &in[next++];
        if (!s) continue;
        if (d->value->kind != FY_PV_TENSOR) {
            FY_NEED(v->e, fy_count(t) == 1, VALUE, "input %s is one number", d->user_name ? d->user_name : d->value->name);
            FY_TRY(fy_ev_set(v, d->value, &(fy_eslot){.i = fy_get_i64(t, 0), .f = fy_get_f64(t, 0)}));
            continue;
        }
        fy_dtype dtype = d->value->has_meta && d->value->dtype ? d->value->dtype : t->dtype;
        FY_NEED(v->e, fy_dtype_class(dtype) == fy_dtype_class(t->dtype), TYPE, "input %s is %s, %s is needed", d->user_name ? d->user_name : d->value->name,
                fy_dtype_name(t->dtype), fy_dtype_name(dtype));
        fy_eslot made = {.t = {.dtype = dtype}};
        FY_TRY(fy_tensor_cast(&made.t.t, t, fy_ev_wide(dtype), v->e));
        fy_status r = fy_ev_set(v, d->value, &made);
        if (r != FY_OK) return fy_frame(v->e, r, "input %s", d->user_name ? d->user_name : d->value->name);
    }
    return FY_OK;
}

static fy_status get_output(fy_eval *v, const fy_parg *a, fy_tensor *out) {
    fy_et t = {0};
    if (a->kind == FY_ARG_NONE) return fy_tensor_new(out, FERRY_FLOAT, 1, (int64_t[]){0}, v->e);
    FY_TRY(read_arg(v, a, &t));
    FY_TRY(fy_ev_widen(v, &t));
    if (fy_dtype_class(t.dtype) == FY_CLASS_C) {             /* as the model gives it: both parts on a last axis */
        FY_NEED(v->e, t.t.rank < FY_MAX_RANK, LIMIT, "rank %d", t.t.rank);
        fy_tensor pairs = fy_tensor_pairs(&t.t);
        return fy_tensor_clone(out, &pairs, v->e);
    }
    if (fy_dtype_int(t.dtype) && t.dtype != FERRY_INT64) return fy_tensor_cast(out, &t.t, t.dtype, v->e);
    return fy_tensor_clone(out, &t.t, v->e);
}

/* What written buffers and parameters hold now: as the program returns it, or as it was written in place. */
static fy_status get_state(fy_eval *v, const fy_program *p, fy_tensor *state) {
    for (int i = 0; i < p->nin; i++) {
        const fy_pinput *d = &p->in[i];
        fy_eslot        *s = slot_of(v, d->value);
        fy_parg          held = {.kind = FY_ARG_TENSOR, .value = d->value};
        fy_tensor        now;
        if (!s || !d->data) continue;
        bool changes = s->set && s->written;
        for (int k = 0; k < p->nout; k++) {
            const fy_poutput *o = &p->out[k];
            if ((o->kind != FY_POUT_BUFFER_MUTATION && o->kind != FY_POUT_PARAMETER_MUTATION) || !o->target || !d->fqn || strcmp(o->target, d->fqn)) continue;
            held = o->arg;
            changes = true;
        }
        if (!changes) continue;
        FY_TRY(get_output(v, &held, &now));
        fy_tensor_free(&state[i]);
        state[i] = now;
        clear_temps(v);
    }
    return FY_OK;
}

static fy_status run_all(fy_eval *v, const fy_program *p, const fy_tensor *in, int nin, fy_tensor *out, int nout) {
    FY_TRY(count_uses(v, p->graph, 0));
    mark_norms(v, p->graph);
    FY_TRY(set_inputs(v, p, in, nin));
    FY_TRY(fy_ev_graph(v, p->graph));
    int k = 0;
    for (int i = 0; i < p->nout; i++) {
        if (p->out[i].kind != FY_POUT_USER) continue;
        FY_NEED(v->e, k < nout, USAGE, "the program has more than %d outputs", nout);
        FY_TRY(get_output(v, &p->out[i].arg, &out[k++]));
        clear_temps(v);
    }
    FY_NEED(v->e, k == nout, USAGE, "%d outputs are asked for, the program has %d", nout, k);
    return v->o && v->o->state ? get_state(v, p, v->o->state) : FY_OK;
}

fy_status fy_aten_eval(const fy_program *p, const fy_tensor *in, int nin, fy_tensor *out, int nout, const fy_eval_options *o, ferry_error *e) {
    fy_eval v = {.p = p, .e = e, .o = o, .pool = o ? o->pool : NULL, .nslot = p->nvalues};
    for (int i = 0; i < nout; i++) out[i] = (fy_tensor){0};
    v.slot = fy_calloc(v.nslot ? v.nslot : 1, sizeof *v.slot);
    FY_NOMEM(e, v.slot);
    fy_status s = run_all(&v, p, in, nin, out, nout);
    clear_temps(&v);
    for (uint32_t i = 0; i < v.nslot; i++) fy_tensor_free(&v.slot[i].t.t);
    fy_free(v.slot);
    fy_free(v.temps.at);
    fy_free(v.bound.at);
    if (s != FY_OK)
        for (int i = 0; i < nout; i++) fy_tensor_free(&out[i]);
    return s;
}
