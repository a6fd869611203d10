/* SPDX-License-Identifier: Apache-2.0
 * run_shapes.c - ferry-shapes [-v]: what inference says of the values of a model must hold of every value of a run. Standard input
 * holds lines "MODEL.onnx<tab>FOLDER" with input_I.pb in the folder (tools/dump_onnx_cases.py). The symbols of the inputs take the real
 * sizes; a data-dependent size takes its value from the first value that shows it, and again each time that this value is made anew
 * (in a loop); from then on every expression, element and upper bound with it is checked. Ends with a count; exit 1 if anything failed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "formats/onnx.h"
#include "opset/opset.h"

#define MOST 512

typedef struct binding { const fy_dim *sym; int64_t value; const fy_value *by; } binding;
typedef struct check {
    fy_map    at;                        /* symbol id -> index + 1 */
    FY_VEC(binding) bound;
    int64_t   facts, unknown;
    bool      failed;
    char      text[600], first[400];     /* the fault, and the first size that could not be computed */
} check;

static bool value_of(void *ctx, const fy_dim *sym, int64_t *v) {
    const check *c = ctx;
    uintptr_t k = (uintptr_t)fy_map_get(&c->at, (const char *)&sym->id, sizeof sym->id);
    if (k) *v = c->bound.at[k - 1].value;
    return k != 0;
}

static void bind(check *c, const fy_dim *sym, int64_t v, const fy_value *by) {
    uintptr_t k = (uintptr_t)fy_map_get(&c->at, (const char *)&sym->id, sizeof sym->id);
    if (!k) {
        if (!FY_RESERVE(c->bound, c->bound.n + 1)) exit(2);
        k = (uintptr_t)++c->bound.n;
        if (!fy_map_put(&c->at, (const char *)&sym->id, sizeof sym->id, (void *)k)) exit(2);
    }
    c->bound.at[k - 1] = (binding){sym, v, by};
}

static bool ours(const check *c, const fy_dim *sym, const fy_value *by) {      /* not bound, or by this very value in the last round */
    uintptr_t k = (uintptr_t)fy_map_get(&c->at, (const char *)&sym->id, sizeof sym->id);
    return !k || c->bound.at[k - 1].by == by;
}

static void complain(check *c, const fy_value *v, const char *what, int64_t i, const fy_dim *d, int64_t want, int64_t got) {
    fy_buf b = {0};
    if (c->failed) return;
    c->failed = true;
    fy_dim_print(&b, d);
    snprintf(c->text, sizeof c->text, "%s %lld of %s (%s) is %lld; inferred: %.200s = %lld", what, (long long)i, v->name ? v->name : "",
             v->def ? v->def->op->name : "input", (long long)got, b.at ? b.at : "", (long long)want);
    fy_buf_free(&b);
}

static void fact(check *c, const fy_value *v, const char *what, int64_t i, const fy_dim *d, int64_t got) {
    int64_t want;
    if (d->varies) return;
    if ((d->kind == FY_DIM_OPAQUE || d->kind == FY_DIM_SYM) && ours(c, d, v)) {      /* a symbol that no input has: one of an output in the file */
        bind(c, d, got, v);
        if (got < d->lo || got > d->hi) complain(c, v, what, i, d, got < d->lo ? d->lo : d->hi, got);
        if (d->most && fy_dim_eval(d->most, value_of, c, &want) && got > want) complain(c, v, what, i, d->most, want, got);
        c->facts++;
        return;
    }
    if (!fy_dim_eval(d, value_of, c, &want)) {
        if (!c->unknown++) {
            fy_buf b = {0};
            fy_dim_print(&b, d);
            snprintf(c->first, sizeof c->first, "%s %lld of %s: %.200s", what, (long long)i, v->name ? v->name : "", b.at ? b.at : "");
            fy_buf_free(&b);
        }
        return;
    }
    c->facts++;
    if (got < d->lo || got > d->hi) complain(c, v, what, i, d, want, got);
    if (want != got) complain(c, v, what, i, d, want, got);
}

static void tensor(check *c, const fy_value *v, const fy_type *t, const fy_tensor *x) {
    if (t->dtype && t->dtype != x->dtype && !c->failed) {
        c->failed = true;
        snprintf(c->text, sizeof c->text, "%s is %s; inferred: %s", v->name, fy_dtype_name(x->dtype), fy_dtype_name(t->dtype));
    }
    if (t->rank < 0 || c->failed) return;
    if (t->rank != x->rank) {
        c->failed = true;
        snprintf(c->text, sizeof c->text, "%s (%s) has rank %d; inferred: %d", v->name, v->def ? v->def->op->name : "input", x->rank, t->rank);
        return;
    }
    for (int a = 0; a < x->rank; a++) fact(c, v, "axis", a, t->dim[a], x->dim[a]);
}

static void seen(void *ctx, const fy_value *v, const fy_rval *val) {
    check *c = ctx;
    const fy_type *t = &v->type;
    if (t->kind == FY_NOTYPE || c->failed) return;
    if (t->kind != val->kind) {
        c->failed = true;
        snprintf(c->text, sizeof c->text, "%s has kind %d; inferred: %d", v->name, (int)val->kind, (int)t->kind);
        return;
    }
    if (val->kind == FY_SEQUENCE || val->kind == FY_OPTIONAL) {
        for (int64_t i = 0; i < val->n && t->elem && t->elem->kind == FY_TENSOR && val->item[i].kind == FY_TENSOR; i++)
            tensor(c, v, t->elem, &val->item[i].t);
        return;
    }
    if (val->kind != FY_TENSOR) return;
    tensor(c, v, t, &val->t);
    if (!v->elem || c->failed) return;
    if (v->nelem != fy_count(&val->t)) {
        c->failed = true;
        snprintf(c->text, sizeof c->text, "%s has %lld elements; inferred: %lld", v->name, (long long)fy_count(&val->t), (long long)v->nelem);
        return;
    }
    for (int64_t i = 0; i < v->nelem; i++) fact(c, v, "element", i, v->elem[i], fy_get_i64(&val->t, i));
}

/* The symbols of an input take its sizes; an expression is checked once its symbols have theirs. */
static void bind_input(check *c, const fy_value *v, const fy_rval *x) {
    const fy_type *t = &v->type;
    const fy_rval *one = x;
    while (t->kind != FY_TENSOR && t->elem && one->n > 0) {
        t = t->elem;
        one = &one->item[0];
    }
    if (t->kind != FY_TENSOR || one->kind != FY_TENSOR || t->rank != one->t.rank) return;
    for (int a = 0; a < t->rank; a++) {
        const fy_dim *d = t->dim[a];
        int64_t had;
        if ((d->kind == FY_DIM_SYM || d->kind == FY_DIM_OPAQUE) && !value_of(c, d, &had)) bind(c, d, one->t.dim[a], v);
    }
}

static bool run(fy_model *m, const char *folder, check *c, fy_pool *pool, ferry_error *e) {
    fy_rval in[MOST] = {{0}}, out[MOST] = {{0}}, *inp[MOST] = {NULL};
    char path[1200];
    bool ok = m->graph->in.n <= MOST && m->graph->out.n <= MOST;
    struct stat st;
    for (int i = 0; ok && i < m->graph->in.n; i++) {
        snprintf(path, sizeof path, "%s/input_%d.pb", folder, i);
        if (stat(path, &st)) continue;
        ok = fy_onnx_read_value_as(&in[i], path, m->graph->in.at[i]->type.kind, e) == FY_OK;
        inp[i] = &in[i];
        if (ok) bind_input(c, m->graph->in.at[i], inp[i]);
    }
    fy_interp it = {.pool = pool, .seen = seen, .ctx = c};
    if (ok) ok = fy_interp_run(&it, m->graph, inp, out, e) == FY_OK;
    for (int i = 0; i < MOST; i++) { fy_rval_free(&in[i]); fy_rval_free(&out[i]); }
    return ok;
}

int main(int argc, char **argv) {
    char line[2400];
    int passed = 0, failed = 0, skipped = 0;
    int64_t facts = 0, unknown = 0;
    bool verbose = argc > 1 && !strcmp(argv[1], "-v");
    fy_pool *pool = fy_pool_new(2);
    while (fgets(line, sizeof line, stdin)) {
        char *tab = strchr(line, '\t');
        if (!tab) continue;
        *tab = 0;
        tab[1 + strcspn(tab + 1, "\r\n")] = 0;
        ferry_error e = {0};
        fy_model *m = NULL;
        check c = {0};
        bool ok = fy_onnx_read(&m, line, fy_registry_builtin(), &e) == FY_OK && fy_opset_raise(m, &e) == FY_OK && fy_infer_model(m, &e) == FY_OK;
        if (ok) ok = run(m, tab + 1, &c, pool, &e);
        if (!ok && !c.failed) {                                  /* an operator without a kernel: ferry selftest onnx tells */
            skipped++;
            if (verbose) printf("SKIP %s: %s %s\n", line, e.code ? e.code : "", e.text);
        } else if (c.failed) {
            failed++;
            printf("FAIL %s: %s\n", line, c.text);
        } else passed++;
        if (verbose && c.unknown) printf("UNKNOWN %s: %lld, the first: %s\n", line, (long long)c.unknown, c.first);
        facts += c.facts;
        unknown += c.unknown;
        fy_map_free(&c.at);
        fy_free(c.bound.at);
        fy_model_free(m);
    }
    fy_pool_free(pool);
    printf("%d runs agree with what was inferred (%lld sizes and elements, %lld could not be computed), %d do not, %d could not run\n", passed,
           (long long)facts, (long long)unknown, failed, skipped);
    return failed != 0;
}
