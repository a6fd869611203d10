/* SPDX-License-Identifier: Apache-2.0
 * pass_text.h - what tests of passes share: one pass over a model in text, compared with a text; models run before and after. */
#ifndef PASS_TEXT_H
#define PASS_TEXT_H

#include "test.h"

#include "passes/passes.h"

#include <math.h>
#include <stdlib.h>

static inline fy_model *parsed(const char *body) {
    fy_model   *m = NULL;
    ferry_error e;
    fy_buf      text = {0};
    fy_buf_fmt(&text, "<ir_version: 10, opset_import: [\"\" : %d]>\nmain %s", FY_CANONICAL_OPSET, body);
    assert_ok(fy_model_parse(&m, text.at, text.n, fy_registry_builtin(), &e), e);
    fy_buf_free(&text);
    return m;
}

static inline fy_model *model_of(const char *body) {
    ferry_error e;
    fy_model   *m = parsed(body);
    assert_ok(fy_infer_model(m, &e), e);
    assert_ok(fy_model_verify(m, &e), e);
    return m;
}

static inline int64_t run_pass(fy_model *m, const char *name, const fy_pass_options *o) {
    static const fy_pass_options all = {.fold = true, .fold_bn = true};
    ferry_error e;
    int64_t     changes = 0;
    const fy_pass *p = fy_pass_find(name);
    assert_non_null(p);
    assert_ok(p->run(m, o ? o : &all, &changes, &e), e);
    assert_ok(fy_model_verify(m, &e), e);
    return changes;
}

static inline char *text_of(fy_model *m) {
    ferry_error e;
    fy_buf      out = {0};
    assert_ok(fy_model_name_all(m, &e), e);
    fy_model_print(&out, m, 64);
    assert_false(out.oom);
    return out.at;
}

/* `body` through the pass and the dead-code pass prints as `wanted` does; a second run of the pass changes nothing. */
static inline void assert_pass(const char *name, const char *body, const char *wanted) {
    fy_model *m = model_of(body), *w = model_of(wanted);
    run_pass(m, name, NULL);
    run_pass(m, "dead", NULL);
    char *got = text_of(m), *want = text_of(w);
    if (strcmp(got, want)) print_error("pass %s gave\n%s\n", name, got);
    assert_string_equal(got, want);
    assert_int_equal(run_pass(m, name, NULL), 0);
    fy_free(got);
    fy_free(want);
    fy_model_free(m);
    fy_model_free(w);
}

/* Output `k` of a graph of float inputs that are filled with a fixed pattern. */
static inline void run_model(const fy_model *m, int64_t k, fy_tensor *t) {
    ferry_error     e;
    const fy_graph *g = m->graph;
    fy_rval *in = calloc((size_t)g->in.n + 1, sizeof *in), **at = calloc((size_t)g->in.n + 1, sizeof *at), *out = calloc((size_t)g->out.n + 1, sizeof *out);
    for (int64_t i = 0; i < g->in.n; i++) {
        const fy_type *type = &g->in.at[i]->type;
        int64_t        dim[FY_MAX_RANK];
        for (int r = 0; r < type->rank; r++)
            if (!fy_dim_known(type->dim[r], &dim[r])) dim[r] = 3;
        in[i].kind = FY_TENSOR;
        assert_ok(fy_tensor_new(&in[i].t, type->dtype, type->rank, dim, &e), e);
        for (int64_t j = 0; j < fy_count(&in[i].t); j++) fy_put_f64(&in[i].t, j, sin((double)(j * 7 + i)) * 2);
        at[i] = &in[i];
    }
    assert_ok(fy_interp_run(&(fy_interp){0}, g, at, out, &e), e);
    *t = fy_tensor_ref(&out[k].t);
    for (int64_t i = 0; i < g->in.n; i++) fy_rval_free(&in[i]);
    for (int64_t i = 0; i < g->out.n; i++) fy_rval_free(&out[i]);
    free(in);
    free(at);
    free(out);
}

static inline void assert_near(const fy_tensor *a, const fy_tensor *b, double tolerance) {
    assert_int_equal(a->dtype, b->dtype);
    assert_true(fy_same_dims(a, b));
    for (int64_t i = 0; i < fy_count(a); i++) {
        double x = fy_get_f64(a, i), y = fy_get_f64(b, i);
        if (!(fabs(x - y) <= tolerance * (1 + fabs(y)))) fail_msg("element %lld: %g and %g", (long long)i, x, y);
    }
}

static inline int64_t count_op(const fy_model *m, const char *op) {
    int64_t n = 0;
    for (const fy_graph *g = m->graph; g; g = fy_graph_next(NULL, g))
        for (const fy_node *k = g->first; k; k = k->next) n += !strcmp(k->op->name, op);
    return n;
}

#endif
