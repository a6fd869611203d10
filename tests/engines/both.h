/* SPDX-License-Identifier: Apache-2.0
 * both.h - a model given as text, run by our engine and by the reference kernels at several sizes of its symbol `n`, one after the other in one
 * session; integers equal, floats up to the rounding of f32 sums, halves up to one unit, and the inputs as they were. The kernels' instruction set comes from FERRY_CPU; test programs
 * set it and run everything once for each. */
#ifndef TESTS_ENGINES_BOTH_H
#define TESTS_ENGINES_BOTH_H

#include "model_text.h"

#include "engines/engine.h"

#include <math.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define BOTH_MOST 10
typedef struct both_rig { fy_model *m; const fy_engine *engine; fy_compiled *c; fy_session *s; } both_rig;

static void both_open(both_rig *r, const char *body, const char *engine) {
    ferry_error e;
    r->m = model_of(body);
    r->engine = fy_engine_find(engine);
    assert_non_null(r->engine);
    if (r->engine->compile(&r->c, r->m, &(fy_engine_options){.threads = 2}, &e)) fail_msg("%s in %s", e.text, body);
    assert_ok(r->engine->session(&r->s, r->c, &e), e);
}

static void both_close(both_rig *r) {
    r->engine->session_free(r->s);
    r->engine->compiled_free(r->c);
    fy_model_free(r->m);
}

/* Symbols get n; integers are in [0, n) or, where n is 0, nowhere. */
static void both_fill(fy_rval *in, const fy_model *m, int64_t n, int salt) {
    ferry_error e;
    for (int64_t i = 0; i < m->graph->in.n; i++) {
        const fy_type *t = &m->graph->in.at[i]->type;
        int64_t dim[FY_MAX_RANK];
        for (int d = 0; d < t->rank; d++)
            if (!fy_dim_known(t->dim[d], &dim[d])) dim[d] = n;
        in[i] = (fy_rval){.kind = FY_TENSOR};
        assert_ok(fy_tensor_new(&in[i].t, t->dtype, t->rank, dim, &e), e);
        for (int64_t k = 0; k < fy_count(&in[i].t); k++)
            if (t->dtype == FERRY_BOOL) fy_put_i64(&in[i].t, k, (k * 5 / 3 + salt) % 2);
            else if (t->dtype == FERRY_STRING) ((fy_str *)in[i].t.data)[k] = (fy_str){"ferry" + k % 4, 2};
            else if (!fy_dtype_float(t->dtype)) fy_put_i64(&in[i].t, k, (k * 3 + salt) % (n > 0 ? n : 1));
            else fy_put_f64(&in[i].t, k, sin((double)(k * 7 + i * 3 + salt) + 0.5) * 2);
    }
}

static bool both_equal(const fy_tensor *a, const fy_tensor *b, int64_t i) {
    if (a->dtype == FERRY_STRING) {
        const fy_str *s = (const fy_str *)a->data + i, *t = (const fy_str *)b->data + i;
        return s->n == t->n && !memcmp(s->at, t->at, s->n);
    }
    double x = fy_get_f64(a, i), y = fy_get_f64(b, i), unit = a->dtype == FERRY_FLOAT16 ? 0x1p-10 : a->dtype == FERRY_BFLOAT16 ? 0x1p-7 : 2e-5;
    if (x == y || (isnan(x) && isnan(y))) return true;
    return fy_dtype_float(a->dtype) && fabs(x - y) <= unit * ((unit > 2e-5 ? 1e-2 : 1) + fabs(y));
}

static void both_same(const fy_rval *a, const fy_rval *b, const char *body, int64_t n) {
    if (a->kind != b->kind || a->n != b->n) fail_msg("kinds %d and %d in %s", a->kind, b->kind, body);
    for (int64_t i = 0; i < fy_rval_items(a); i++) both_same(&a->item[i], &b->item[i], body, n);
    if (a->kind != FY_TENSOR) return;
    assert_int_equal(a->t.dtype, b->t.dtype);
    if (!fy_same_dims(&a->t, &b->t)) fail_msg("sizes differ at %lld in %s", (long long)n, body);
    for (int64_t i = 0; i < fy_count(&a->t); i++)
        if (!both_equal(&a->t, &b->t, i)) {
            bool text = a->t.dtype == FERRY_STRING;
            fail_msg("element %lld: %.9g, the reference has %.9g; size %lld of %s", (long long)i, text ? 0 : fy_get_f64(&a->t, i), text ? 0 : fy_get_f64(&b->t, i), (long long)n, body);
        }
}

static void both_at(const char *body, const int64_t *sizes, int nsizes) {
    both_rig fast, ref;
    both_open(&fast, body, "ferry");
    both_open(&ref, body, "reference");
    for (int round = 0; round < nsizes; round++) {
        ferry_error e;
        fy_rval in[BOTH_MOST] = {{0}}, kept[BOTH_MOST] = {{0}}, out[BOTH_MOST] = {{0}}, want[BOTH_MOST] = {{0}}, *at[BOTH_MOST];
        both_fill(in, fast.m, sizes[round], round);
        both_fill(kept, fast.m, sizes[round], round);
        for (int i = 0; i < BOTH_MOST; i++) at[i] = &in[i];
        if (fast.engine->run(fast.s, at, out, &e)) fail_msg("%s at %lld in %s", e.text, (long long)sizes[round], body);
        if (ref.engine->run(ref.s, at, want, &e)) fail_msg("%s at %lld in %s", e.text, (long long)sizes[round], body);
        for (int64_t i = 0; i < fast.m->graph->out.n; i++) both_same(&out[i], &want[i], body, sizes[round]);
        for (int64_t i = 0; i < fast.m->graph->in.n; i++) both_same(&in[i], &kept[i], body, sizes[round]);
        for (int i = 0; i < BOTH_MOST; i++) { fy_rval_free(&in[i]); fy_rval_free(&kept[i]); fy_rval_free(&out[i]); fy_rval_free(&want[i]); }
    }
    both_close(&fast);
    both_close(&ref);
}

static inline void both(const char *body) { both_at(body, (const int64_t[]){3, 1, 5, 19, 64, 3}, 6); }

/* Every test for each instruction set, in a process of its own: which one is used is found out once. */
static int both_main(const struct CMUnitTest *tests, size_t n, const char *name) {
    static const char *const isa[] = {"generic", "avx2", "avx512"};
    int failed = 0;
    for (int i = 0; i < FY_COUNT(isa); i++) {
        char group[80];
        int status = 1;
        snprintf(group, sizeof group, "%s %s", name, isa[i]);
        pid_t child = fork();
        if (!child) {
            setenv("FERRY_CPU", isa[i], 1);
            exit(_cmocka_run_group_tests(group, tests, n, NULL, NULL) != 0);
        }
        failed += child < 0 || waitpid(child, &status, 0) != child || status != 0;
    }
    return failed;
}

#endif
