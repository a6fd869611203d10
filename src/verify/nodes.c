/* SPDX-License-Identifier: Apache-2.0
 * nodes.c - where values part first: the program is evaluated once and the graph interpreted once; values that bear the same name
 * on both sides are compared at up to 4,096 evenly spaced elements each, so that memory stays small. */
#include "verify/internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { KEPT = 4096 };

typedef struct kept { const fy_pvalue *v; int rank; int64_t dim[FY_MAX_RANK], n; double *x; struct kept *next; } kept;

typedef struct search {
    const fy_program *p;
    fy_map   by_name;
    kept    *all;
    double   gate, worst;
    bool     oom, hard;                  /* hard: an error above ten gates, or NaN, was found: nothing later counts */
    const kept *at;
    double   err;
    char     what[160];
} search;

static int64_t sampled(int64_t count, int64_t k, int64_t n) { return n == count ? k : (int64_t)((double)k * (double)(count - 1) / (double)(n - 1)); }

static void keep(void *ctx, const fy_pvalue *v, const fy_tensor *t) {
    search *s = ctx;
    fy_class c = fy_dtype_class(t->dtype);
    if (s->oom || !v->name || (c != FY_CLASS_F && c != FY_CLASS_I && c != FY_CLASS_B)) return;
    int64_t count = fy_count(t), n = count < KEPT ? count : KEPT;
    kept   *k = fy_calloc(1, sizeof *k);
    if (k) k->x = fy_malloc((size_t)n + 1, sizeof *k->x);
    if (!k || !k->x || !fy_map_puts(&s->by_name, v->name, k)) {
        if (k) fy_free(k->x);
        fy_free(k);
        s->oom = true;
        return;
    }
    k->v = v;
    k->rank = t->rank;
    memcpy(k->dim, t->dim, sizeof k->dim);
    k->n = n;
    for (int64_t i = 0; i < n; i++) k->x[i] = fy_get_f64(t, sampled(count, i, n));
    k->next = s->all;
    s->all = k;
    for (int i = 0; i < s->p->nout; i++) {                   /* a result bears the name of the output in the graph */
        const fy_poutput *o = &s->p->out[i];
        if (o->kind != FY_POUT_USER || o->arg.kind != FY_ARG_TENSOR || o->arg.value != v || !o->user_name || fy_map_gets(&s->by_name, o->user_name)) continue;
        s->oom = !fy_map_puts(&s->by_name, o->user_name, k) || s->oom;
    }
}

static void match(void *ctx, const fy_value *v, const fy_rval *val) {
    search *s = ctx;
    if (s->hard || !v->name || val->kind != FY_TENSOR || !v->def) return;
    const kept *k = fy_map_gets(&s->by_name, v->name);
    fy_class    c = fy_dtype_class(val->t.dtype);
    if (!k || k->rank != val->t.rank || memcmp(k->dim, val->t.dim, sizeof(int64_t) * (size_t)k->rank) || (c != FY_CLASS_F && c != FY_CLASS_I && c != FY_CLASS_B)) return;
    int64_t count = fy_count(&val->t);
    double  err = 0, big = 0;
    bool    nan = false;
    for (int64_t i = 0; i < k->n; i++) {
        double a = fy_get_f64(&val->t, sampled(count, i, k->n)), b = k->x[i];
        if (isnan(a) != isnan(b)) nan = true;
        else if (isfinite(a) && isfinite(b)) { err = fmax(err, fabs(a - b)); big = fmax(big, fabs(b)); }
    }
    double gate = s->gate * fmax(1, big);                    /* inner values may be large: f32 alone moves them by more than the gate */
    if (!nan && !(err > gate) ) return;
    if (!s->at || nan || err > 10 * gate) {
        s->at = k;
        s->err = err;
        snprintf(s->what, sizeof s->what, nan ? "NaN on one side only" : "max abs error %.3g", err);
    }
    s->hard = nan || err > 10 * gate;
}

static fy_status words(char **where, const search *s, ferry_error *e) {
    fy_buf b = {0};
    if (s->at) {
        const fy_pvalue *v = s->at->v;
        const fy_pnode  *d = v->def;
        fy_buf_fmt(&b, "%s", v->name);
        if (d) fy_buf_fmt(&b, " = %s", d->op);
        if (d && d->scope && *d->scope) fy_buf_fmt(&b, " in %s", d->scope);
        if (d && d->source) fy_buf_fmt(&b, " (%s)", d->source);
        fy_buf_fmt(&b, ": %s", s->what);
    } else fy_buf_str(&b, "");
    if (b.oom) { fy_buf_free(&b); return fy_nomem(e); }
    *where = fy_malloc(b.n + 1, 1);
    if (*where && b.n) memcpy(*where, b.at, b.n);
    if (*where) (*where)[b.n] = 0;
    fy_buf_free(&b);
    FY_NOMEM(e, *where);
    return FY_OK;
}

fy_status fy_verify_first_node(char **where, const fy_model *m, const fy_program *p, const fy_tensor *in, int nin, fy_rval *const *model_in, double tolerance, fy_pool *pool, ferry_error *e) {
    search          s = {.p = p, .gate = tolerance};
    fy_eval_options eo = {.pool = pool, .seen = keep, .ctx = &s};
    fy_interp       it = {.pool = pool, .seen = match, .ctx = &s, .hooks = fy_hooks_builtin()};
    int             nout = 0;
    for (int i = 0; i < p->nout; i++) nout += p->out[i].kind == FY_POUT_USER;
    fy_tensor *out = fy_calloc((size_t)nout + 1, sizeof *out);
    fy_rval   *got = fy_calloc((size_t)m->graph->out.n + 1, sizeof *got);
    fy_status  r = out && got ? fy_aten_eval(p, in, nin, out, nout, &eo, e) : fy_nomem(e);
    if (r == FY_OK && s.oom) r = fy_nomem(e);
    if (r == FY_OK) r = fy_interp_run(&it, m->graph, model_in, got, e);
    if (r == FY_OK || s.at) r = words(where, &s, e);         /* a run that fails half-way has shown where, too */
    for (int i = 0; out && i < nout; i++) fy_tensor_free(&out[i]);
    for (int64_t i = 0; got && i < m->graph->out.n; i++) fy_rval_free(&got[i]);
    fy_free(out);
    fy_free(got);
    for (kept *k = s.all, *next; k; k = next) {
        next = k->next;
        fy_free(k->x);
        fy_free(k);
    }
    fy_map_free(&s.by_name);
    return r;
}
