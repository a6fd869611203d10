/* SPDX-License-Identifier: Apache-2.0
 * eval_sym.c - symbolic ints, floats and bools; assertions; blocks (no_grad, autocast off, cond, while_loop, scans, map). */
#include "aten/eval.h"

#include <math.h>

/* ---- sizes ------------------------------------------------------------------------------------------------------------------------ */

enum { SIZE, STRIDE, NUMEL, OFFSET, CONTIGUOUS };

fy_status fy_at_shape(fy_eval *v) {                          /* sym_size.int, sym_stride.int, sym_numel ... */
    fy_et   a;
    int     axis;
    int64_t r;
    FY_TRY(fy_ev_raw(v, "self", &a));
    if (v->k == NUMEL) return fy_ev_out_int(v, 0, fy_count(&a.t));
    if (v->k == OFFSET) return fy_ev_out_int(v, 0, 0);
    if (v->k == CONTIGUOUS) return fy_ev_out_int(v, 0, fy_contiguous(&a.t));
    FY_TRY(fy_ev_axis(v, "dim", a.t.rank, 0, &axis));
    FY_NEED(v->e, a.t.rank, AXIS, "the size of a scalar");
    r = v->k == SIZE ? a.t.dim[axis] : 1;
    if (v->k == STRIDE) for (int i = axis + 1; i < a.t.rank; i++) r *= a.t.dim[i];
    return fy_ev_out_int(v, 0, r);
}

fy_status fy_at_item(fy_eval *v) {
    fy_et a;
    FY_TRY(fy_ev_in(v, "self", &a));
    FY_NEED(v->e, fy_count(&a.t) == 1, VALUE, "item of %lld elements", (long long)fy_count(&a.t));
    if (fy_dtype_class(a.dtype) != FY_CLASS_F) return fy_ev_out_int(v, 0, fy_get_i64(&a.t, 0));
    double x = fy_get_f64(&a.t, 0);
    return fy_ev_out_f64(v, 0, a.dtype == FERRY_FLOAT ? (double)(float)x : x);      /* what Python gets: sizes are made of it, and 224 / 115 * 115 is 224 or 223 */
}

/* ---- assertions -------------------------------------------------------------------------------------------------------------------- */

fy_status fy_at_nothing(fy_eval *v) { (void)v; return FY_OK; }

fy_status fy_at_assert(fy_eval *v) {                         /* _assert_scalar, _assert_async.msg */
    double      x = 0;
    const char *said = fy_ev_str(v, "assert_msg", "");
    FY_TRY(fy_ev_f64(v, "self", &x));
    FY_NEED(v->e, x != 0, VALUE, "the program's own check failed: %.300s", said);
    return FY_OK;
}

fy_status fy_at_constrain(fy_eval *v) {                      /* sym_constrain_range(_for_size) */
    double x = 0, lo = -(double)INFINITY, hi = (double)INFINITY;
    FY_TRY(fy_ev_f64(v, "size", &x));
    FY_TRY(fy_ev_f64(v, "min", &lo));
    FY_TRY(fy_ev_f64(v, "max", &hi));
    FY_NEED(v->e, x >= lo && x <= hi, VALUE, "%g is outside the range that the program allows, %g to %g", x, lo, hi);
    return FY_OK;
}

fy_status fy_at_check_meta(fy_eval *v) {                     /* _assert_tensor_metadata: size and dtype; strides are ours */
    fy_et    a;
    int64_t  dim[FY_MAX_RANK];
    int      n;
    fy_dtype t = 0;
    FY_TRY(fy_ev_raw(v, "a", &a));
    FY_TRY(fy_ev_ints(v, "size", dim, FY_MAX_RANK, &n));
    FY_TRY(fy_ev_dtype(v, "dtype", &t));
    FY_NEED(v->e, !t || t == a.dtype, VALUE, "the program's own check failed: %s, not %s", fy_dtype_name(a.dtype), fy_dtype_name(t));
    FY_NEED(v->e, n < 0 || n == a.t.rank, VALUE, "the program's own check failed: rank %d, not %d", a.t.rank, n);
    for (int i = 0; i < n; i++) FY_NEED(v->e, dim[i] == a.t.dim[i], VALUE, "the program's own check failed: size %lld, not %lld", (long long)a.t.dim[i], (long long)dim[i]);
    return FY_OK;
}

/* ---- arithmetic ---------------------------------------------------------------------------------------------------------------------- */

enum { S_ADD, S_SUB, S_MUL, S_FLOORDIV, S_TRUEDIV, S_MOD, S_POW, S_EQ, S_NE, S_LT, S_LE, S_GT, S_GE, S_AND, S_OR, S_XOR, S_SHL, S_SHR, S_MAX, S_MIN,
    S_NEG, S_NOT, S_TRUNC, S_FLOOR, S_CEIL, S_INT, S_FLOAT, S_SQRT, S_ABS, S_ROUND, S_ITE, S_SUM };

typedef struct num { bool is_float; int64_t i; double f; } num;

static fy_status operand(fy_eval *v, int i, num *r) {
    const fy_pnode *n = v->node;
    fy_eslot        s;
    FY_NEED(v->e, i < n->narg, GRAPH, "%s with %d operands", n->op, n->narg);
    const fy_parg *a = &n->arg[i];
    FY_TRY(fy_ev_arg_slot(v, a, 0, &s));
    if (s.t.t.dtype) {
        *r = (num){fy_dtype_class(s.t.dtype) == FY_CLASS_F, fy_get_i64(&s.t.t, 0), fy_get_f64(&s.t.t, 0)};
        fy_tensor_free(&s.t.t);
        return FY_OK;
    }
    bool is_float = a->kind == FY_ARG_FLOAT || a->kind == FY_ARG_SYMFLOAT;
    *r = (num){is_float, s.i, is_float ? s.f : (double)s.i};
    return FY_OK;
}

static double mod_f(double a, double b) {
    double r = fmod(a, b);
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

static fy_status int_op(fy_eval *v, int k, int64_t a, int64_t b, int64_t *r) {
    bool ok = true;
    switch (k) {
    case S_ADD: ok = !__builtin_add_overflow(a, b, r); break;
    case S_SUB: ok = !__builtin_sub_overflow(a, b, r); break;
    case S_MUL: ok = !__builtin_mul_overflow(a, b, r); break;
    case S_FLOORDIV: case S_MOD: {
        FY_NEED(v->e, b != 0 && !(a == INT64_MIN && b == -1), VALUE, "division by zero of a size");
        int64_t q = a / b, m = a % b;
        if (m != 0 && (m < 0) != (b < 0)) { q--; m += b; }
        *r = k == S_MOD ? m : q;
        break;
    }
    case S_POW:
        FY_NEED(v->e, b >= 0, VALUE, "a size to the power %lld", (long long)b);
        *r = 1;
        for (int64_t i = 0; i < b && ok && (a > 1 || a < -1 || i < 2); i++) ok = !__builtin_mul_overflow(*r, a, r);
        if (a == -1) *r = b & 1 ? -1 : 1;
        break;
    case S_AND: *r = a & b; break;
    case S_OR: *r = a | b; break;
    case S_XOR: *r = a ^ b; break;
    case S_SHL: case S_SHR:
        FY_NEED(v->e, b >= 0 && b < 63, VALUE, "a shift by %lld", (long long)b);
        *r = k == S_SHR ? a >> b : (int64_t)((uint64_t)a << b);
        break;
    case S_MAX: *r = a > b ? a : b; break;
    case S_MIN: *r = a < b ? a : b; break;
    default: return fy_fail(v->e, FY_E_INTERNAL, "symbolic operator %d", k);
    }
    FY_NEED(v->e, ok, VALUE, "a size overflows");
    return FY_OK;
}

static double float_op(int k, double a, double b) {
    switch (k) {
    case S_ADD: return a + b;
    case S_SUB: return a - b;
    case S_MUL: return a * b;
    case S_TRUEDIV: return a / b;
    case S_FLOORDIV: return floor(a / b);
    case S_MOD: return mod_f(a, b);
    case S_POW: return pow(a, b);
    case S_MAX: return a > b ? a : b;
    case S_MIN: return a < b ? a : b;
    default: return (double)NAN;
    }
}

static fy_status unary_sym(fy_eval *v, num a) {
    double f = a.f;
    switch (v->k) {
    case S_NEG: return a.is_float ? fy_ev_out_f64(v, 0, -f) : fy_ev_out_int(v, 0, (int64_t)(0 - (uint64_t)a.i));
    case S_ABS: return a.is_float ? fy_ev_out_f64(v, 0, fabs(f)) : fy_ev_out_int(v, 0, a.i < 0 ? (int64_t)(0 - (uint64_t)a.i) : a.i);
    case S_NOT: return fy_ev_out_int(v, 0, a.is_float ? f == 0 : a.i == 0);
    case S_SQRT: return fy_ev_out_f64(v, 0, sqrt(f));
    case S_FLOAT: return fy_ev_out_f64(v, 0, f);
    default: break;
    }
    if (!a.is_float) return fy_ev_out_int(v, 0, a.i);
    f = v->k == S_FLOOR ? floor(f) : v->k == S_CEIL ? ceil(f) : v->k == S_ROUND ? nearbyint(f) : trunc(f);
    FY_NEED(v->e, fabs(f) < 9e18, VALUE, "%g is not an integer size", f);
    return fy_ev_out_int(v, 0, (int64_t)f);
}

fy_status fy_at_sym(fy_eval *v) {
    num a, b, c;
    if (v->k == S_SUM) {                                     /* torch.sym_sum of a list */
        int64_t list[256], r = 0;
        int     n;
        FY_NEED(v->e, v->node->narg == 1, GRAPH, "sym_sum");
        FY_TRY(fy_ev_ints(v, v->node->arg[0].name ? v->node->arg[0].name : "", list, 256, &n));
        for (int i = 0; i < n; i++) FY_TRY(int_op(v, S_ADD, r, list[i], &r));
        return fy_ev_out_int(v, 0, r);
    }
    FY_TRY(operand(v, 0, &a));
    if (v->k >= S_NEG && v->k <= S_ROUND) return unary_sym(v, a);
    FY_TRY(operand(v, 1, &b));
    if (v->k == S_ITE) {
        FY_TRY(operand(v, 2, &c));
        num r = a.i ? b : c;
        return r.is_float ? fy_ev_out_f64(v, 0, r.f) : fy_ev_out_int(v, 0, r.i);
    }
    bool floats = a.is_float || b.is_float;
    if (v->k >= S_EQ && v->k <= S_GE) {
        int cmp = floats ? (a.f > b.f) - (a.f < b.f) : (a.i > b.i) - (a.i < b.i);
        bool r = v->k == S_EQ ? cmp == 0 : v->k == S_NE ? cmp != 0 : v->k == S_LT ? cmp < 0 : v->k == S_LE ? cmp <= 0 : v->k == S_GT ? cmp > 0 : cmp >= 0;
        return fy_ev_out_int(v, 0, r);
    }
    if (floats || v->k == S_TRUEDIV) return fy_ev_out_f64(v, 0, float_op(v->k, a.f, b.f));
    int64_t r = 0;
    FY_TRY(int_op(v, v->k, a.i, b.i, &r));
    return fy_ev_out_int(v, 0, r);
}

/* ---- blocks ------------------------------------------------------------------------------------------------------------------------------- */

typedef struct values { fy_eslot *at; int n; } values;

static void drop_all(values *s) {
    for (int i = 0; i < s->n; i++) fy_tensor_free(&s->at[i].t.t);
    s->n = 0;
}

static fy_status append(fy_eval *v, values *s, const fy_parg *a) {
    int64_t m = a->kind == FY_ARG_TENSORS || a->kind == FY_ARG_SYMS || a->kind == FY_ARG_INTS ? a->n : 1;
    for (int64_t k = 0; k < m; k++) {
        fy_eslot *more = fy_realloc(s->at, (size_t)s->n + 1, sizeof *more);
        FY_NOMEM(v->e, more);
        s->at = more;
        FY_TRY(fy_ev_arg_slot(v, a, k, &s->at[s->n]));
        s->n++;
    }
    return FY_OK;
}

/* Inputs and outputs of a block. `in` is not taken over; `out` is the caller's. The values of the block live in the same
 * slots as all others; a result may be an input. */
static fy_status run_block(fy_eval *v, const fy_pgraph *g, const values *in, values *out) {
    const fy_pnode *node = v->node;
    int             k = v->k;
    int64_t         bound = v->bound.n;                      /* sizes that are learnt inside are others in the next round */
    *out = (values){0};
    FY_NEED(v->e, g, GRAPH, "a block is missing");
    FY_NEED(v->e, g->nin == in->n, GRAPH, "a block with %d inputs is given %d", g->nin, in->n);
    for (int i = 0; i < g->nin; i++) {
        const fy_parg *a = &g->in[i];
        fy_pvalue     *to = a->kind == FY_ARG_SYM ? a->sym.value : a->kind == FY_ARG_TENSOR || a->kind == FY_ARG_SYMBOOL || a->kind == FY_ARG_SYMFLOAT ? a->value : NULL;
        fy_eslot       s = in->at[i];
        s.t.t = s.t.t.dtype ? fy_tensor_ref(&s.t.t) : s.t.t;
        if (to) FY_TRY(fy_ev_set(v, to, &s));
        else fy_tensor_free(&s.t.t);
    }
    FY_TRY(fy_ev_graph(v, g));
    fy_status r = FY_OK;
    for (int i = 0; i < g->nout && r == FY_OK; i++) r = append(v, out, &g->out[i]);
    v->bound.n = bound;
    if (r != FY_OK) { drop_all(out); fy_free(out->at); out->at = NULL; }
    v->node = node;
    v->k = k;
    v->inplace = false;
    return r;
}

static fy_status give(fy_eval *v, values *r) {
    const fy_pnode *n = v->node;
    int             k = 0;
    for (int i = 0; i < n->nout; i++) {
        const fy_parg *a = &n->out[i];
        int64_t        m = a->kind == FY_ARG_TENSORS || a->kind == FY_ARG_SYMS ? a->n : 1;
        for (int64_t j = 0; j < m; j++, k++) {
            fy_pvalue *to = a->kind == FY_ARG_TENSORS ? a->values[j] : a->kind == FY_ARG_SYMS ? a->syms[j].value : a->kind == FY_ARG_SYM ? a->sym.value :
                            a->kind == FY_ARG_TENSOR || a->kind == FY_ARG_SYMBOOL || a->kind == FY_ARG_SYMFLOAT ? a->value : NULL;
            FY_NEED(v->e, k < r->n, GRAPH, "a block gives %d values, more are taken", r->n);
            if (!to) continue;
            fy_eslot s = r->at[k];
            r->at[k] = (fy_eslot){0};
            FY_TRY(fy_ev_set(v, to, &s));
        }
    }
    return FY_OK;
}

static fy_status finish(fy_eval *v, fy_status s, values *in, values *out) {
    if (s == FY_OK) s = give(v, out);
    drop_all(in);
    drop_all(out);
    fy_free(in->at);
    fy_free(out->at);
    return s;
}

/* wrap_with_set_grad_enabled(flag, graph, operands..), wrap_with_autocast(device, dtype, enabled, cache, graph, operands..) */
fy_status fy_at_wrap(fy_eval *v) {
    const fy_pnode  *n = v->node;
    const fy_pgraph *g = NULL;
    values           in = {0}, out = {0};
    fy_status        s = FY_OK;
    for (int i = 0; i < n->narg && s == FY_OK; i++) {
        if (v->k == 1 && i == 2 && !g) FY_NEED(v->e, n->arg[i].kind == FY_ARG_BOOL && !n->arg[i].i, UNSUPPORTED, "autocast is on: export outside of it");
        if (g) s = append(v, &in, &n->arg[i]);
        else if (n->arg[i].kind == FY_ARG_GRAPH) g = n->arg[i].graph;
    }
    if (s == FY_OK) s = run_block(v, g, &in, &out);
    return finish(v, s, &in, &out);
}

/* cond(pred, true graph, false graph, operands) */
fy_status fy_at_cond(fy_eval *v) {
    const fy_pnode *n = v->node;
    values          in = {0}, out = {0};
    num             pred;
    FY_NEED(v->e, n->narg >= 3 && n->arg[1].kind == FY_ARG_GRAPH && n->arg[2].kind == FY_ARG_GRAPH, GRAPH, "cond without two branches");
    FY_TRY(operand(v, 0, &pred));
    fy_status s = FY_OK;
    for (int i = 3; i < n->narg && s == FY_OK; i++) s = append(v, &in, &n->arg[i]);
    if (s == FY_OK) s = run_block(v, n->arg[pred.i || pred.f != 0 ? 1 : 2].graph, &in, &out);
    return finish(v, s, &in, &out);
}

/* while_loop(cond graph, body graph, carried, others) */
fy_status fy_at_while(fy_eval *v) {
    const fy_pnode *n = v->node;
    values          in = {0}, out = {0}, test = {0};
    FY_NEED(v->e, n->narg >= 3 && n->arg[0].kind == FY_ARG_GRAPH && n->arg[1].kind == FY_ARG_GRAPH, GRAPH, "while_loop without two graphs");
    fy_status s = append(v, &in, &n->arg[2]);
    int       carried = in.n;
    for (int i = 3; i < n->narg && s == FY_OK; i++) s = append(v, &in, &n->arg[i]);
    for (int64_t steps = 0; s == FY_OK; steps++) {
        if (steps > 1000000) { s = fy_fail(v->e, FY_E_LIMIT, "a loop of more than a million steps"); break; }
        s = run_block(v, n->arg[0].graph, &in, &test);
        if (s != FY_OK) break;
        bool more = test.n == 1 && (test.at[0].t.t.dtype ? fy_get_f64(&test.at[0].t.t, 0) != 0 : test.at[0].i != 0);
        drop_all(&test);
        fy_free(test.at);
        test.at = NULL;
        if (!more) break;
        s = run_block(v, n->arg[1].graph, &in, &out);
        if (s != FY_OK) break;
        if (out.n != carried) s = fy_fail(v->e, FY_E_GRAPH, "a loop body gives %d values for %d", out.n, carried);
        for (int i = 0; i < carried && s == FY_OK; i++) {
            fy_tensor_free(&in.at[i].t.t);
            in.at[i] = out.at[i];
            out.at[i] = (fy_eslot){0};
        }
        drop_all(&out);
        fy_free(out.at);
        out.at = NULL;
    }
    for (int i = carried; i < in.n; i++) fy_tensor_free(&in.at[i].t.t);
    if (in.n > carried) in.n = carried;
    return finish(v, s, &test, &in);
}

/* Row i of every scanned operand, as views; what is carried and what is only read comes first and last. */
static fy_status scan_step(fy_eval *v, const values *init, const values *xs, const values *others, int64_t i, values *in) {
    *in = (values){0};
    in->at = fy_calloc((size_t)(init->n + xs->n + others->n) + 1, sizeof *in->at);
    FY_NOMEM(v->e, in->at);
    const values *part[] = {init, xs, others};
    for (int p = 0; p < 3; p++)
        for (int k = 0; k < part[p]->n; k++) {
            fy_eslot s = part[p]->at[k];
            if (s.t.t.dtype) s.t.t = fy_tensor_ref(&s.t.t);
            if (p == 1) {
                fy_tensor *t = &s.t.t;
                t->data = (char *)t->data + (ptrdiff_t)(i * t->stride[0]) * (ptrdiff_t)fy_elem_bytes(t->dtype);
                t->rank--;
                memmove(t->dim, t->dim + 1, (size_t)t->rank * sizeof *t->dim);
                memmove(t->stride, t->stride + 1, (size_t)t->rank * sizeof *t->stride);
            }
            in->at[in->n++] = s;
        }
    return FY_OK;
}

/* Row i of the stacked result, made with the first. */
static fy_status stack_row(fy_eval *v, fy_eslot *to, const fy_eslot *row, int64_t i, int64_t n) {
    const fy_et *a = &row->t;
    FY_NEED(v->e, a->t.dtype && a->t.rank < FY_MAX_RANK, UNSUPPORTED, "a scan gives something other than tensors");
    if (!to->t.t.dtype) {
        int64_t dim[FY_MAX_RANK] = {n};
        memcpy(dim + 1, a->t.dim, (size_t)a->t.rank * sizeof *dim);
        FY_TRY(fy_ev_new(v, &to->t, a->dtype, a->t.rank + 1, dim));
    }
    int64_t count = fy_count(&a->t);
    FY_NEED(v->e, to->t.t.rank == a->t.rank + 1 && count * n == fy_count(&to->t.t), SHAPE, "the rows of a scan differ in shape");
    fy_et wide = *a;
    FY_TRY(fy_ev_widen(v, &wide));
    if (to->t.t.dtype == FERRY_DOUBLE) {
        const double *p = fy_ev_dense(v, &wide);
        FY_NOMEM(v->e, p);
        memcpy(fy_ev_at(&to->t) + i * count, p, (size_t)count * sizeof *p);
        return FY_OK;
    }
    const int64_t *p = fy_ev_dense_i(v, &wide);
    FY_NOMEM(v->e, p);
    for (int64_t k = 0; k < count; k++) {
        if (to->t.t.dtype == FERRY_BOOL) fy_ev_at_b(&to->t)[i * count + k] = p[k] != 0;
        else fy_ev_at_i(&to->t)[i * count + k] = p[k];
    }
    return FY_OK;
}

static void release(values *s) {
    drop_all(s);
    fy_free(s->at);
    s->at = NULL;
}

static fy_status scan_all(fy_eval *v, const fy_pgraph *g, values *init, const values *xs, const values *others, int64_t n, values *result) {
    for (int64_t i = 0; i < n; i++) {
        values in, out = {0};
        fy_status s = scan_step(v, init, xs, others, i, &in);
        if (s == FY_OK) s = run_block(v, g, &in, &out);
        if (s == FY_OK && out.n != result->n) s = fy_fail(v->e, FY_E_GRAPH, "the body of a scan gives %d values for %d", out.n, result->n);
        for (int k = 0; k < out.n && s == FY_OK; k++) {
            if (k < init->n) {
                fy_tensor_free(&init->at[k].t.t);
                init->at[k] = out.at[k];
                out.at[k] = (fy_eslot){0};
            } else s = stack_row(v, &result->at[k], &out.at[k], i, n);
        }
        release(&in);
        release(&out);
        FY_TRY(s);
    }
    for (int k = 0; k < init->n; k++) {
        result->at[k] = init->at[k];
        init->at[k] = (fy_eslot){0};
    }
    return FY_OK;
}

/* Row 0 as it is, then what the body makes of the row before's result and row i. */
static fy_status combine_all(fy_eval *v, const fy_pgraph *g, const values *xs, const values *others, int64_t n, values *result) {
    values    none = {0}, last;
    fy_status s = scan_step(v, &none, xs, &none, 0, &last);
    for (int64_t i = 0; i < n && s == FY_OK; i++) {
        values in = {0}, out = {0};
        if (i > 0) {
            s = scan_step(v, &last, xs, others, i, &in);
            if (s == FY_OK) s = run_block(v, g, &in, &out);
            if (s == FY_OK && out.n != xs->n) s = fy_fail(v->e, FY_E_GRAPH, "the body of a scan gives %d values for %d", out.n, xs->n);
            release(&in);
            release(&last);
            last = out;
        }
        for (int k = 0; k < last.n && s == FY_OK; k++) s = stack_row(v, &result->at[k], &last.at[k], i, n);
    }
    release(&last);
    return s;
}

/* scan(body, init, xs, others): carried values, and a row of the other results for each row of xs; map_impl(body, xs, others),
 * associative_scan(body, xs, others): a row for each row */
fy_status fy_at_rows(fy_eval *v) {
    const fy_pnode *n = v->node;
    int             first = v->k ? 1 : 2;                    /* the argument that is scanned */
    values          init = {0}, xs = {0}, others = {0}, out = {0}, none = {0};
    FY_NEED(v->e, n->narg > first && n->arg[0].kind == FY_ARG_GRAPH && n->arg[0].graph, GRAPH, "a scan without a body");
    const fy_pgraph *g = n->arg[0].graph;
    fy_status        s = v->k ? FY_OK : append(v, &init, &n->arg[1]);
    if (s == FY_OK) s = append(v, &xs, &n->arg[first]);
    for (int i = first + 1; i < n->narg && s == FY_OK; i++) s = append(v, &others, &n->arg[i]);
    int64_t rows = xs.n && xs.at[0].t.t.rank ? xs.at[0].t.t.dim[0] : 0;
    for (int i = 0; i < xs.n && s == FY_OK; i++)
        if (!xs.at[i].t.t.dtype || !xs.at[i].t.t.rank || xs.at[i].t.t.dim[0] != rows) s = fy_fail(v->e, FY_E_SHAPE, "a scan over operands of different lengths");
    if (s == FY_OK && (g->nout < init.n || rows < 1)) s = fy_fail(v->e, FY_E_GRAPH, "a scan over nothing");
    if (s == FY_OK && !(out.at = fy_calloc((size_t)g->nout + 1, sizeof *out.at))) s = fy_nomem(v->e);
    if (s == FY_OK) {
        out.n = g->nout;
        s = v->k == 2 ? combine_all(v, g, &xs, &others, rows, &out) : scan_all(v, g, &init, &xs, &others, rows, &out);
    }
    release(&init);
    release(&xs);
    release(&others);
    return finish(v, s, &none, &out);
}
