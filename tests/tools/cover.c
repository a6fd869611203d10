/* SPDX-License-Identifier: Apache-2.0
 * cover.c - ferry-cover [-e ENGINE] [-m MS] [-o OPSET] [TEXT ...]: a table of the operators in cover.def (those whose name holds a TEXT) and their dtypes: which
 * implementation runs them, nanoseconds for each element of the larger of input and output, one thread, the best of as many runs as fit in MS
 * milliseconds (10), and the same of another engine (onnxruntime) with the ratio of the two; "-" where that engine has no kernel. Sorted by nothing:
 * `sort -k6` does that. */
#include "engines/cover.h"
#include "ir/copy.h"

#include <math.h>
#include <stdlib.h>

#define MOST 12

typedef struct timed { const char *taken; double ns; char why[200]; } timed;

static fy_status fill(fy_rval *in, const fy_model *m, ferry_error *e) {
    for (int64_t i = 0; i < m->graph->in.n && i < MOST; i++) {
        const fy_type *t = &m->graph->in.at[i]->type;
        int64_t dim[FY_MAX_RANK];
        for (int d = 0; d < t->rank; d++)
            if (!fy_dim_known(t->dim[d], &dim[d])) dim[d] = 1;
        in[i] = (fy_rval){.kind = FY_TENSOR};
        FY_TRY(fy_tensor_new(&in[i].t, t->dtype, t->rank, dim, e));
        for (int64_t k = 0; k < fy_count(&in[i].t); k++)
            if (fy_dtype_float(t->dtype)) fy_put_f64(&in[i].t, k, i && t->rank == 1 ? 0.5 + 0.01 * (double)(k % 50) : sin((double)(k * 7 + i * 3) + 0.5) * 0.9);
            else fy_put_i64(&in[i].t, k, t->dtype == FERRY_BOOL ? (k * 5 / 3) % 2 : 1 + (k * 7919 + i) % 12);
    }
    return FY_OK;
}

static fy_status measure(timed *r, const fy_engine *g, const fy_model *m, const char *op, double seconds, ferry_error *e) {
    fy_compiled *c = NULL;
    fy_session *s = NULL;
    fy_rval in[MOST] = {{0}}, out[MOST] = {{0}}, *at[MOST];
    double best = HUGE_VAL, from = 0;
    int64_t n = 1;
    for (int i = 0; i < MOST; i++) at[i] = &in[i];
    fy_status st = g->compile(&c, m, &(fy_engine_options){.threads = 1}, e);
    if (!st) st = g->session(&s, c, e);
    if (!st) st = fill(in, m, e);
    if (!st) r->taken = g->plan ? cover_taken(g->plan(c), op) : g->name;
    for (int runs = 0; !st && (runs < 3 || fy_os_seconds() - from < seconds) && runs < 2000; runs++) {
        double t = fy_os_seconds();
        if (!runs) from = t;
        st = g->run(s, at, out, e);
        t = fy_os_seconds() - t;
        if (t < best) best = t;
        for (int i = 0; i < MOST; i++) {
            if (out[i].kind == FY_TENSOR && fy_count(&out[i].t) > n) n = fy_count(&out[i].t);
            fy_rval_free(&out[i]);
            out[i] = (fy_rval){0};
        }
    }
    for (int i = 0; i < MOST; i++) {
        if (in[i].kind == FY_TENSOR && fy_count(&in[i].t) > n) n = fy_count(&in[i].t);
        fy_rval_free(&in[i]);
    }
    r->ns = best * 1e9 / (double)n;
    if (s) g->session_free(s);
    if (c) g->compiled_free(c);
    return st;
}

static void one(const cover_case *c, fy_dtype t, const fy_engine *other, int64_t opset, double seconds) {
    ferry_error e = {0};
    fy_model *m = NULL, *low = NULL;
    timed own = {.taken = "?"}, its = {.taken = "-"};
    fy_status s = cover_model(&m, c, t, &e);
    if (!s) s = measure(&own, fy_engine_find("ferry"), m, c->op, seconds, &e);
    if (s) {
        printf("%-24s %-5s %s\n", c->op, fy_dtype_name(t), e.text);
        fy_model_free(m);
        return;
    }
    bool runs = other && !fy_model_copy(&low, m, &e);
    if (runs && fy_opset_lower(low, opset, &e)) {
        int64_t lowest = fy_opset_lowest(m);
        fy_model_free(low);
        low = NULL;
        runs = lowest > 0 && !fy_model_copy(&low, m, &e) && !fy_opset_lower(low, lowest, &e);
    }
    runs = runs && !measure(&its, other, low, c->op, seconds, &e);
    printf("%-24s %-5s %-16s %9.3f ", c->op, fy_dtype_name(t), own.taken, own.ns);
    if (runs) printf("%9.3f %7.2f", its.ns, own.ns / its.ns);
    else printf("%9s %7s", "-", "-");
    printf("  %s\n", c->body);
    fflush(stdout);
    fy_model_free(low);
    fy_model_free(m);
}

int main(int argc, char **argv) {
    const char *engine = "onnxruntime";
    double seconds = 0.01;
    int64_t opset = 21;
    int first = 1;
    for (; first + 1 < argc && argv[first][0] == '-'; first += 2) {
        if (argv[first][1] == 'e') engine = argv[first + 1];
        else if (argv[first][1] == 'm') seconds = 1e-3 * strtod(argv[first + 1], NULL);
        else if (argv[first][1] == 'o') opset = strtoll(argv[first + 1], NULL, 10);
        else return 2;
    }
    char why[1400];
    const fy_engine *other = fy_engine_find(engine);
    if (!other || other->missing(why, sizeof why)) other = NULL;
    for (int i = 0; i < FY_COUNT(cover_cases); i++) {
        const cover_case *c = &cover_cases[i];
        bool wanted = first >= argc;
        for (int k = first; k < argc; k++) wanted |= strstr(c->op, argv[k]) != NULL;
        fy_dtype t;
        for (const char *list = c->fast; wanted && (t = cover_dtype(&list));) one(c, t, other, opset, seconds);
        for (const char *list = c->reference; wanted && (t = cover_dtype(&list));) one(c, t, other, opset, seconds);
    }
    return 0;
}
