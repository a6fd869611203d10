/* SPDX-License-Identifier: Apache-2.0
 * pass_text.h - what tests of passes share: one pass over a model in text, compared with a text; models run before and after. */
#ifndef PASS_TEXT_H
#define PASS_TEXT_H

#include "model_text.h"

#include "passes/passes.h"

#include <math.h>
#include <stdlib.h>

static inline int64_t run_pass(fy_model *m, const char *name, const fy_pass_options *o) {
    static const fy_pass_options all = {.fold = true, .fold_bn = true, .reweigh = true, .rare = true};
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

/* Can run_model make inputs, and are the outputs numbers? */
static inline bool runnable(const fy_model *m) {
    for (int k = 0; k < 2; k++)
        for (int64_t i = 0; i < (k ? m->graph->out.n : m->graph->in.n); i++) {
            const fy_type *t = &(k ? m->graph->out.at[i] : m->graph->in.at[i])->type;
            if (t->kind != FY_TENSOR || t->rank < 0 || t->dtype == FERRY_STRING || fy_dtype_class(t->dtype) == FY_CLASS_C) return false;
        }
    return true;
}

static inline void forget_names(fy_model *m) {
    for (fy_graph *g = m->graph; g; g = fy_graph_next(NULL, g)) {
        for (fy_node *n = g->first; n; n = n->next)
            for (int i = 0; i < n->nout; i++)
                if (n->out[i] && !n->out[i]->is_output) n->out[i]->name = NULL;
        for (int64_t i = 0; i < g->constants.n; i++) g->constants.at[i]->name = NULL;
    }
}

static inline void assert_reads(const char *name, fy_model *m, fy_model *w) {
    char *got = text_of(m), *want = text_of(w);
    if (strcmp(got, want)) print_error("pass %s gave\n%s\n", name, got);
    assert_string_equal(got, want);
    fy_free(got);
    fy_free(want);
}

/* `body` through the pass and the dead-code pass prints as `wanted` does, and computes what it did; a second run changes nothing. */
static inline void passes_to(const char *name, const char *body, const char *wanted, bool names) {
    fy_model *m = model_of(body), *w = model_of(wanted);
    fy_tensor before[8], after;
    int       n = !runnable(m) ? 0 : m->graph->out.n < 8 ? (int)m->graph->out.n : 8;
    for (int i = 0; i < n; i++) run_model(m, i, &before[i]);
    run_pass(m, name, NULL);
    run_pass(m, "dead", NULL);
    if (!names) {
        forget_names(m);
        forget_names(w);
    }
    assert_reads(name, m, w);
    assert_int_equal(run_pass(m, name, NULL), 0);
    for (int i = 0; i < n; i++) {
        run_model(m, i, &after);
        assert_near(&after, &before[i], 1e-5);
        fy_tensor_free(&after);
        fy_tensor_free(&before[i]);
    }
    fy_model_free(m);
    fy_model_free(w);
}

static inline void assert_pass(const char *name, const char *body, const char *wanted) { passes_to(name, body, wanted, true); }
/* The same, whatever the names of what is neither input nor output. */
static inline void assert_becomes(const char *name, const char *body, const char *wanted) { passes_to(name, body, wanted, false); }

/* The pass leaves the model alone; at `opset`, 0: the canonical one. */
static inline void assert_left(const char *name, const char *body, int64_t opset) {
    fy_pass_options o = {.fold = true, .fold_bn = true, .reweigh = true, .rare = true, .opset = opset};
    fy_model *m = model_of(body);
    int64_t changes = run_pass(m, name, &o);
    if (changes) fail_msg("pass %s changes %lld things in %s", name, (long long)changes, body);
    fy_model_free(m);
}

static inline int64_t count_op(const fy_model *m, const char *op) {
    int64_t n = 0;
    for (const fy_graph *g = m->graph; g; g = fy_graph_next(NULL, g))
        for (const fy_node *k = g->first; k; k = k->next) n += !strcmp(k->op->name, op);
    return n;
}

#endif
