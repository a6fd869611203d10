/* SPDX-License-Identifier: Apache-2.0
 * number.c - arithmetic on numbers while the code is read: plain ones at once, sizes as expressions, others as nodes "sym.*".
 *
 * A trace does its arithmetic on sizes with tensors of no dimension (NumToTensor ... Int): those stay numbers here. */
#include "formats/torchscript/script.h"

#include <math.h>
#include <string.h>

typedef struct op { const char *name, *sym; int kind; } op;      /* 0 arithmetic, 1 comparison, 2 logic */
static const op ops[] = {
    {"add", "sym.add", 0}, {"sub", "sym.sub", 0}, {"mul", "sym.mul", 0}, {"div", "sym.truediv", 0}, {"floordiv", "sym.floordiv", 0}, {"floor_divide", "sym.floordiv", 0},
    {"remainder", "sym.mod", 0}, {"pow", "sym.pow", 0}, {"min", "sym.sym_min", 0}, {"max", "sym.sym_max", 0},
    {"eq", "sym.eq", 1}, {"ne", "sym.ne", 1}, {"lt", "sym.lt", 1}, {"le", "sym.le", 1}, {"gt", "sym.gt", 1}, {"ge", "sym.ge", 1},
    {"__and__", "sym.and_", 2}, {"__or__", "sym.or_", 2}, {"__xor__", "sym.ne", 2},
};

static const op *find(const char *name) {
    for (int i = 0; i < FY_COUNT(ops); i++)
        if (!strcmp(ops[i].name, name)) return &ops[i];
    return NULL;
}

static double f64(const ts_value *v) { return v->kind == TV_FLOAT ? v->f : (double)v->i; }
static bool is_float(const ts_value *v) { return v->kind == TV_FLOAT || (v->kind == TV_SYM && v->v->kind == FY_PV_SYMFLOAT); }
static bool is_bool(const ts_value *v) { return v->kind == TV_BOOL || (v->kind == TV_SYM && v->v->kind == FY_PV_SYMBOOL); }

static fy_status floats(ts *r, ts_value **v, const char *o, double a, double b, int kind) {
    if (kind == 1) {
        bool y = !strcmp(o, "eq") ? !(a < b) && !(a > b) && !isnan(a) && !isnan(b) : !strcmp(o, "ne") ? a < b || a > b || isnan(a) || isnan(b) : !strcmp(o, "lt") ? a < b : !strcmp(o, "le") ? a <= b
               : !strcmp(o, "gt") ? a > b : a >= b;
        return ts_bool(r, v, y);
    }
    double y = !strcmp(o, "add") ? a + b : !strcmp(o, "sub") ? a - b : !strcmp(o, "mul") ? a * b : !strcmp(o, "div") ? a / b : !strcmp(o, "pow") ? pow(a, b)
             : !strcmp(o, "min") ? (a < b ? a : b) : !strcmp(o, "max") ? (a > b ? a : b) : floor(a / b);
    if (!strcmp(o, "remainder")) {
        y = fmod(a, b);
        if ((y < 0 || y > 0) && (y < 0) != (b < 0)) y += b;
    }
    return ts_float(r, v, y);
}

static fy_status ints(ts *r, ts_value **v, const char *o, int64_t a, int64_t b, int kind) {
    int64_t y = 0;
    bool over = false;
    if (kind == 1) return ts_bool(r, v, !strcmp(o, "eq") ? a == b : !strcmp(o, "ne") ? a != b : !strcmp(o, "lt") ? a < b : !strcmp(o, "le") ? a <= b : !strcmp(o, "gt") ? a > b : a >= b);
    if (kind == 2) return ts_int(r, v, !strcmp(o, "__and__") ? a & b : !strcmp(o, "__or__") ? a | b : a ^ b);
    if (!strcmp(o, "add")) over = __builtin_add_overflow(a, b, &y);
    else if (!strcmp(o, "sub")) over = __builtin_sub_overflow(a, b, &y);
    else if (!strcmp(o, "mul")) over = __builtin_mul_overflow(a, b, &y);
    else if (!strcmp(o, "div")) {
        if (!b) return ts_fail(r, FY_E_VALUE, "the code divides by zero");
        return ts_float(r, v, (double)a / (double)b);
    } else if (!strcmp(o, "min")) y = a < b ? a : b;
    else if (!strcmp(o, "max")) y = a > b ? a : b;
    else if (!strcmp(o, "pow")) {
        if (b < 0) return ts_float(r, v, pow((double)a, (double)b));
        y = 1;
        if (a == 1 || a == 0 || a == -1) y = !b ? 1 : a == -1 ? (b & 1 ? -1 : 1) : a;
        else for (int64_t i = 0; i < b && !over; i++) over = __builtin_mul_overflow(y, a, &y);
    } else {
        if (!b || (a == INT64_MIN && b == -1)) return ts_fail(r, FY_E_VALUE, "the code divides by zero");
        int64_t q = a / b, m = a % b;
        if (m && (m < 0) != (b < 0)) { q--; m += b; }
        y = !strcmp(o, "remainder") ? m : q;
    }
    if (over) return ts_fail(r, FY_E_VALUE, "a number of the code overflows");
    return ts_int(r, v, y);
}

static const fy_dim *dim_of(ts *r, const ts_value *x) { return x->kind == TV_SYM ? x->v->sym : fy_dim_const(r->p->dims, x->i); }

/* Sizes compared: what bounds decide for all sizes is decided here. */
static int decided(ts *r, const char *o, const fy_dim *a, const fy_dim *b) {
    fy_dims *p = r->p->dims;
    int64_t x;
    const fy_dim *d = a && b ? fy_dim_sub(p, a, b) : NULL;
    if (!d) return -1;
    bool same = fy_dim_known(d, &x);
    bool ge = same ? x >= 0 : fy_dim_ge(d, 0), gt = same ? x > 0 : fy_dim_ge(d, 1);
    const fy_dim *back = same ? NULL : fy_dim_sub(p, b, a);
    bool le = same ? x <= 0 : back && fy_dim_ge(back, 0), lt = same ? x < 0 : back && fy_dim_ge(back, 1);
    if (!strcmp(o, "eq")) return same ? x == 0 : gt || lt ? 0 : -1;
    if (!strcmp(o, "ne")) return same ? x != 0 : gt || lt ? 1 : -1;
    if (!strcmp(o, "lt")) return lt ? 1 : ge ? 0 : -1;
    if (!strcmp(o, "le")) return le ? 1 : gt ? 0 : -1;
    if (!strcmp(o, "gt")) return gt ? 1 : le ? 0 : -1;
    return ge ? 1 : lt ? 0 : -1;
}

static const fy_dim *expression(ts *r, const char *o, const fy_dim *a, const fy_dim *b) {
    fy_dims *p = r->p->dims;
    if (!a || !b) return NULL;
    if (!strcmp(o, "add")) return fy_dim_add(p, a, b);
    if (!strcmp(o, "sub")) return fy_dim_sub(p, a, b);
    if (!strcmp(o, "mul")) return fy_dim_mul(p, a, b);
    if (!strcmp(o, "min")) return fy_dim_min(p, a, b);
    if (!strcmp(o, "max")) return fy_dim_max(p, a, b);
    if (!strcmp(o, "pow")) return fy_dim_pow(p, a, b);
    if (!strcmp(o, "floordiv") || !strcmp(o, "floor_divide")) return fy_dim_is(b, 0) ? NULL : fy_dim_floordiv(p, a, b);
    if (!strcmp(o, "remainder")) return fy_dim_is(b, 0) ? NULL : fy_dim_mod(p, a, b);
    return NULL;
}

fy_status ts_arith(ts *r, ts_value **v, const char *name, ts_value *a, ts_value *b) {
    const op *o = find(name);
    if (!o) return ts_fail(r, FY_E_UNSUPPORTED, "torch.%s of numbers", name);
    bool f = is_float(a) || is_float(b), both = is_bool(a) && is_bool(b);
    if (a->kind != TV_SYM && b->kind != TV_SYM) {
        if (o->kind == 2 && both) return ts_bool(r, v, !strcmp(name, "__and__") ? a->i && b->i : !strcmp(name, "__or__") ? a->i || b->i : (a->i != 0) != (b->i != 0));
        return f ? floats(r, v, name, f64(a), f64(b), o->kind) : ints(r, v, name, a->i, b->i, o->kind);
    }
    if (o->kind == 2 && both) {                              /* False and x, True or x */
        const ts_value *k = a->kind == TV_SYM ? b : a;
        ts_value *x = a->kind == TV_SYM ? a : b;
        if (k->kind == TV_BOOL && strcmp(name, "__xor__")) {
            bool and = !strcmp(name, "__and__");
            if ((k->i != 0) == and) { *v = x; return FY_OK; }
            return ts_bool(r, v, !and);
        }
    }
    if (o->kind && !f && !is_bool(a) && !is_bool(b)) {
        int yes = o->kind == 1 ? decided(r, name, dim_of(r, a), dim_of(r, b)) : -1;
        if (yes >= 0) return ts_bool(r, v, yes);
    }
    if (o->kind == 2 && !both) return ts_fail(r, FY_E_UNSUPPORTED, "torch.%s of numbers known at run time", name);
    if (o->kind) return ts_sym(r, v, o->sym, FY_PV_SYMBOOL, NULL, 2, (ts_value *[]){a, b});
    bool real = f || !strcmp(name, "div");
    return ts_sym(r, v, o->sym, real ? FY_PV_SYMFLOAT : FY_PV_SYMINT, real ? NULL : expression(r, name, dim_of(r, a), dim_of(r, b)), 2, (ts_value *[]){a, b});
}

fy_status ts_convert(ts *r, ts_value **v, const char *to, ts_value *x) {
    bool want_int = !strcmp(to, "int"), want_float = !strcmp(to, "float");
    if (x->kind == TV_NUM && !x->inner) FY_TRY(ts_as_tensor(r, &x));
    if (x->kind == TV_NUM) x = x->inner;
    if (x->kind == TV_TENSOR) {
        bool known;
        double f = 0;
        int64_t i = 0;
        FY_TRY(ts_constant(r, x, &known, &f, &i));
        if (known) return want_int ? ts_int(r, v, i) : want_float ? ts_float(r, v, f) : ts_bool(r, v, f < 0 || f > 0 || isnan(f));
        fy_pvalue *p;
        FY_TRY(ts_pvalue(r, &p, x));
        if (!want_int && !want_float && (!p->has_meta || p->dtype != FERRY_BOOL)) {
            ts_value *zero;
            FY_TRY(ts_int(r, &zero, 0));
            FY_TRY(ts_emit(r, &x, "aten.ne", 2, (ts_value *[]){x, zero}, NULL));
        }
        return ts_item(r, v, x, want_int ? FY_PV_SYMINT : want_float ? FY_PV_SYMFLOAT : FY_PV_SYMBOOL, INT64_MIN);
    }
    if (x->kind == TV_STR && want_float) {
        if (!strcmp(x->s, "inf") || !strcmp(x->s, "-inf")) return ts_float(r, v, x->s[0] == '-' ? -(double)INFINITY : (double)INFINITY);
        if (!strcmp(x->s, "nan")) return ts_float(r, v, (double)NAN);
    }
    if (!ts_is_number(x)) return ts_fail(r, FY_E_TYPE, "%s of %s", to, ts_kind_text(x));
    if (x->kind == TV_SYM) {
        if (want_int) {
            if (x->v->kind == FY_PV_SYMINT) { *v = x; return FY_OK; }
            if (x->v->kind == FY_PV_SYMBOOL) return ts_fail(r, FY_E_UNSUPPORTED, "int of a bool known at run time");
            return ts_sym(r, v, "sym.trunc", FY_PV_SYMINT, NULL, 1, &x);
        }
        if (want_float) {
            if (x->v->kind == FY_PV_SYMFLOAT) { *v = x; return FY_OK; }
            return ts_sym(r, v, "sym.sym_float", FY_PV_SYMFLOAT, NULL, 1, &x);
        }
        if (x->v->kind == FY_PV_SYMBOOL) { *v = x; return FY_OK; }
        ts_value *zero;
        FY_TRY(ts_int(r, &zero, 0));
        return ts_arith(r, v, "ne", x, zero);
    }
    if (want_float) return ts_float(r, v, f64(x));
    if (want_int) {
        if (x->kind == TV_FLOAT && !(fabs(x->f) < 9.2e18)) return ts_fail(r, FY_E_VALUE, "the code makes an int of %g", x->f);
        return ts_int(r, v, x->kind == TV_FLOAT ? (int64_t)x->f : x->i);
    }
    return ts_bool(r, v, x->kind == TV_FLOAT ? x->f < 0 || x->f > 0 || isnan(x->f) : x->i != 0);
}
