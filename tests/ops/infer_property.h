/* SPDX-License-Identifier: Apache-2.0
 * infer_property.h - small graphs for operator tests, and the property that symbolic inference and execution agree.
 *
 *     rig r; rig_new(&r);
 *     fy_value *x = rig_in(&r, FERRY_FLOAT, "batch 3 seq");
 *     rig_out(&r, fy_emit(&r.b, "Transpose", FY_V(x), FY_NOATTR));
 *     rig_property(&r, 1, 5);                 // random sizes 1..5 for every symbol: each inferred fact must hold
 *     rig_free(&r);
 */
#ifndef FY_TEST_INFER_PROPERTY_H
#define FY_TEST_INFER_PROPERTY_H

#include "test.h"

#include "ops/ops.h"

#include <stdlib.h>

#define RIG_SYMS 64

typedef struct rig {
    fy_model   *m;
    fy_build    b;
    ferry_error e;
    uint64_t    seed;
    int         nsym;                    /* symbols and opaque sizes with the value they have in this run */
    const fy_dim *sym[RIG_SYMS];
    int64_t     val[RIG_SYMS];
    const fy_value *by[RIG_SYMS];        /* the value that showed an opaque size: made anew in a loop, it shows another one */
    int64_t     ints;                    /* integer inputs are filled with 0 .. ints-1 */
    int64_t     facts;                   /* checked so far */
} rig;

static inline uint64_t rig_random(rig *r) {
    r->seed ^= r->seed << 13;
    r->seed ^= r->seed >> 7;
    r->seed ^= r->seed << 17;
    return r->seed * 0x2545F4914F6CDD1DULL >> 16;
}
static inline int64_t rig_range(rig *r, int64_t lo, int64_t hi) { return lo + (int64_t)(rig_random(r) % (uint64_t)(hi - lo + 1)); }

static inline void rig_new(rig *r) {
    memset(r, 0, sizeof *r);
    r->m = fy_model_new(fy_registry_builtin());
    assert_non_null(r->m);
    r->seed = 88172645463325252ULL;
    r->ints = 3;
    r->b = (fy_build){.g = r->m->graph, .e = &r->e};
}

static inline void rig_free(rig *r) { fy_model_free(r->m); }

/* An input whose sizes are the blank-separated expressions of `dims`. */
static inline fy_value *rig_in(rig *r, fy_dtype t, const char *dims) {
    const fy_dim *d[FY_MAX_RANK];
    int rank = 0;
    while (*dims) {
        size_t n = strcspn(dims, " ");
        if (n) assert_non_null(d[rank++] = fy_dim_parse(r->m->dims, dims, n));
        dims += n + (dims[n] == ' ');
    }
    fy_type type = fy_tensor_type(r->m, t, rank, d);
    char name[16];
    snprintf(name, sizeof name, "in%d", (int)r->m->graph->in.n);
    fy_value *v = fy_graph_add_input(r->m->graph, fy_arena_str(&r->m->arena, name), &type);
    assert_non_null(v);
    return v;
}

static inline fy_value *rig_ints(rig *r, int64_t n, const int64_t *v) { return fy_k_ints(&r->b, n, v); }
#define RIG_K(r, ...) fy_k_ints(&(r)->b, (int64_t)(sizeof((int64_t[]){__VA_ARGS__}) / 8), (int64_t[]){__VA_ARGS__})

static inline void rig_out(rig *r, fy_value *v) {
    if (!v) print_error("error[%s]: %s\n", r->e.code ? r->e.code : "", r->e.text);
    assert_non_null(v);
    assert_true(fy_graph_add_output(r->m->graph, v));
}

static inline bool rig_value(void *ctx, const fy_dim *sym, int64_t *v) {
    rig *r = ctx;
    for (int i = 0; i < r->nsym; i++) if (r->sym[i] == sym) { *v = r->val[i]; return true; }
    return false;
}

static inline void rig_bind(rig *r, const fy_dim *sym, int64_t v) {
    assert_true(r->nsym < RIG_SYMS);
    r->sym[r->nsym] = sym;
    r->by[r->nsym] = NULL;
    r->val[r->nsym++] = v;
}

/* What inference says of a size must be what it is; an unknown one is bound to the first value seen. */
static inline void rig_fact(rig *r, const fy_value *v, const char *what, const fy_dim *d, int64_t got) {
    int64_t want;
    if (d->varies) return;
    for (int i = 0; i < r->nsym; i++)
        if (r->sym[i] == d && r->by[i] == v) r->val[i] = got;
    if (!fy_dim_eval(d, rig_value, r, &want)) {
        if (d->kind != FY_DIM_OPAQUE) return;
        rig_bind(r, d, got);
        r->by[r->nsym - 1] = v;
        assert_true(got >= d->lo && got <= d->hi);
        if (d->most && fy_dim_eval(d->most, rig_value, r, &want)) assert_true(got <= want);
        return;
    }
    r->facts++;
    if (want == got) return;
    fy_buf b = {0};
    fy_dim_print(&b, d);
    print_error("%s of %s: inferred %s = %lld, is %lld\n", what, v->def ? v->def->op->name : v->name, b.at ? b.at : "", (long long)want,
            (long long)got);
    for (int i = 0; i < r->nsym; i++) {
        fy_buf s = {0};
        fy_dim_print(&s, r->sym[i]);
        print_error("  %s = %lld\n", s.at ? s.at : "", (long long)r->val[i]);
        fy_buf_free(&s);
    }
    fy_buf_free(&b);
    fail();
}

static inline void rig_seen(void *ctx, const fy_value *v, const fy_rval *val) {
    rig *r = ctx;
    if (v->type.kind == FY_NOTYPE) return;
    assert_int_equal(v->type.kind, val->kind);
    if (val->kind != FY_TENSOR) return;
    if (v->type.dtype) assert_int_equal(v->type.dtype, val->t.dtype);
    if (v->type.rank < 0) return;
    assert_int_equal(v->type.rank, val->t.rank);
    for (int a = 0; a < val->t.rank; a++) rig_fact(r, v, "a size", v->type.dim[a], val->t.dim[a]);
    if (!v->elem) return;
    assert_int_equal(v->nelem, fy_count(&val->t));
    for (int64_t i = 0; i < v->nelem; i++) rig_fact(r, v, "an element", v->elem[i], fy_get_i64(&val->t, i));
}

/* Runs once with the bound symbols and checks every value on the way. Inputs are random. Status of the run. */
static inline fy_status rig_run(rig *r, fy_rval *out) {
    fy_graph *g = r->m->graph;
    fy_rval in[20] = {{0}}, *inp[20];
    assert_true(g->in.n <= 20);
    for (int i = 0; i < g->in.n; i++) {
        const fy_value *v = g->in.at[i];
        int64_t dim[FY_MAX_RANK];
        for (int a = 0; a < v->type.rank; a++) assert_true(fy_dim_eval(v->type.dim[a], rig_value, r, &dim[a]));
        in[i].kind = FY_TENSOR;
        inp[i] = &in[i];
        assert_ok(fy_tensor_new(&in[i].t, v->type.dtype, v->type.rank, dim, &r->e), r->e);
        for (int64_t k = 0; k < fy_count(&in[i].t); k++)
            if (fy_dtype_class(v->type.dtype) == FY_CLASS_F) fy_put_f64(&in[i].t, k, (double)rig_range(r, -8, 8) / 4);
            else fy_put_i64(&in[i].t, k, rig_range(r, 0, v->type.dtype == FERRY_BOOL ? 1 : r->ints - 1));
    }
    fy_interp it = {.seen = rig_seen, .ctx = r};
    fy_status s = fy_interp_run(&it, g, inp, out, &r->e);
    for (int i = 0; i < g->in.n; i++) fy_rval_free(&in[i]);
    return s;
}

static inline void rig_symbols(rig *r, const fy_dim *d, int64_t lo, int64_t hi) {
    int64_t v;
    if (d->kind == FY_DIM_SYM && !rig_value(r, d, &v)) rig_bind(r, d, rig_range(r, lo, hi));
    for (int i = 0; i < d->nargs; i++) rig_symbols(r, d->arg[i], lo, hi);
}

/* Random sizes lo..hi for the symbols of the inputs, many times over. */
static inline void rig_property(rig *r, int64_t lo, int64_t hi) {
    fy_graph *g = r->m->graph;
    r->facts = 0;
    for (int trial = 0; trial < 25; trial++) {
        fy_rval out[16] = {{0}};
        r->nsym = 0;
        for (int i = 0; i < g->in.n; i++)
            for (int a = 0; a < g->in.at[i]->type.rank; a++) rig_symbols(r, g->in.at[i]->type.dim[a], lo, hi);
        assert_true(g->out.n <= 16);
        assert_ok(rig_run(r, out), r->e);
        for (int i = 0; i < g->out.n; i++) fy_rval_free(&out[i]);
    }
    assert_true(r->facts > 0);
}

/* The inferred type of a value as text: "f32[batch,3]". */
static inline void rig_type_is(const fy_value *v, const char *text) {
    fy_buf b = {0};
    assert_non_null(v);
    fy_type_print(&b, &v->type);
    assert_string_equal(b.at, text);
    fy_buf_free(&b);
}

/* ---- one operator on given tensors --------------------------------------------------------------------------------- */

static inline fy_tensor rig_f32(int rank, const int64_t *dim, const float *v) { return fy_tensor_view(FERRY_FLOAT, rank, dim, v); }
static inline fy_tensor rig_i64(int rank, const int64_t *dim, const int64_t *v) { return fy_tensor_view(FERRY_INT64, rank, dim, v); }
#define RIG_DIMS(...) (int)(sizeof((int64_t[]){__VA_ARGS__}) / 8), (int64_t[]){__VA_ARGS__}
#define RIG_F(...) (float[]){__VA_ARGS__}
#define RIG_I(...) (int64_t[]){__VA_ARGS__}

/* A model of one node; the tensors (dtype 0: left out) are its inputs. Gives the node, NULL (and *s) where it cannot be. */
static inline fy_node *rig_node(fy_model *m, const char *op, int nin, const fy_tensor *in, int nattr, const fy_attr *attr, int nout,
        fy_rval *val, fy_rval **inp, fy_status *s, ferry_error *e) {
    fy_value *v[20];
    fy_build b = {.g = m->graph, .e = e};
    int n = 0;
    for (int i = 0; i < nin; i++) {
        v[i] = NULL;
        if (!in[i].dtype) continue;
        fy_type t = fy_tensor_type_i64(m, in[i].dtype, in[i].rank, in[i].dim);
        v[i] = fy_graph_add_input(m->graph, NULL, &t);
        val[n] = (fy_rval){.kind = FY_TENSOR, .t = in[i]};
        val[n].t.own = NULL;
        inp[n] = &val[n];
        n++;
    }
    fy_node *node = fy_emit_n(&b, op, nout, nin, v, nattr, attr);
    *s = b.status;
    for (int i = 0; node && i < nout; i++) fy_graph_add_output(m->graph, node->out[i]);
    return node;
}

/* Runs `op` on tensors (dtype 0: left out); out gets nout tensors. */
static inline fy_status rig_op(const char *op, int nin, const fy_tensor *in, int nattr, const fy_attr *attr, int nout, fy_tensor *out,
        ferry_error *e) {
    fy_rval val[20] = {{0}}, *inp[20], res[16] = {{0}};
    fy_model *m = fy_model_new(fy_registry_builtin());
    fy_status s;
    fy_interp it = {0};
    if (rig_node(m, op, nin, in, nattr, attr, nout, val, inp, &s, e)) s = fy_interp_run(&it, m->graph, inp, res, e);
    for (int i = 0; s == FY_OK && i < nout; i++) out[i] = res[i].t;
    fy_model_free(m);
    return s;
}

/* The same with every allocation of the run failing in turn: NOMEM, nothing else, and nothing leaks. */
static inline void rig_no_memory(const char *op, int nin, const fy_tensor *in, int nattr, const fy_attr *attr) {
    fy_rval val[16] = {{0}}, *inp[16], res = {0};
    fy_model *m = fy_model_new(fy_registry_builtin());
    ferry_error e = {0};
    fy_status s;
    fy_interp it = {0};
    assert_non_null(rig_node(m, op, nin, in, nattr, attr, 1, val, inp, &s, &e));
    size_t before = fy_os_bytes();
    for (int64_t k = 0; k == 0 || s != FY_OK; k++) {
        fy_os_fail_at(k, k % 2);
        s = fy_interp_run(&it, m->graph, inp, &res, &e);
        fy_os_fail_at(-1, false);
        if (s == FY_OK) fy_rval_free(&res);
        else if (s != FY_E_NOMEM) fail_msg("%s: error[%s] %s at allocation %lld", op, e.code, e.text, (long long)k);
        if (fy_os_bytes() != before) fail_msg("%s: a leak at allocation %lld", op, (long long)k);
    }
    fy_model_free(m);
}

/* The first output has the same bits without threads and with three. */
static inline void rig_same_bits(const char *op, int nin, const fy_tensor *in, int nattr, const fy_attr *attr) {
    fy_rval val[16] = {{0}}, *inp[16], res[2] = {{0}};
    fy_model *m = fy_model_new(fy_registry_builtin());
    fy_pool *pool = fy_pool_new(3);
    ferry_error e = {0};
    fy_status s;
    assert_non_null(rig_node(m, op, nin, in, nattr, attr, 1, val, inp, &s, &e));
    for (int i = 0; i < 2; i++) {
        fy_interp it = {.pool = i ? pool : NULL};
        assert_ok(fy_interp_run(&it, m->graph, inp, &res[i], &e), e);
    }
    assert_int_equal(fy_count(&res[0].t), fy_count(&res[1].t));
    assert_memory_equal(res[0].t.data, res[1].t.data, (size_t)fy_count(&res[0].t) * (size_t)fy_elem_bytes(res[0].t.dtype));
    fy_rval_free(&res[0]);
    fy_rval_free(&res[1]);
    fy_pool_free(pool);
    fy_model_free(m);
}

static inline void rig_expect(const fy_tensor *t, int rank, const int64_t *dim, const double *want) {
    assert_int_equal(t->rank, rank);
    for (int a = 0; a < rank; a++) assert_int_equal(t->dim[a], dim[a]);
    for (int64_t i = 0; i < fy_count(t); i++) {
        double got = fy_get_f64(t, i);
        if (!(got - want[i] < 1e-5 && want[i] - got < 1e-5)) { print_error("element %lld: %g, not %g\n", (long long)i, got, want[i]);
        fail(); }
    }
}
#define RIG_D(...) (double[]){__VA_ARGS__}

#endif
