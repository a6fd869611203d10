/* SPDX-License-Identifier: Apache-2.0
 * opset.c - the driver: walks the nodes and applies the steps of opset.def between the opset that a model has and the one
 * that it shall have. A model is checked as a whole before lowering changes anything. */
#include "opset/internal.h"

#include <stdio.h>
#include <string.h>

#define MAX_DEPTH 64                     /* graphs inside graphs, functions inside functions */
#define MAX_INLINED (1 << 20)            /* nodes made from functions that call each other again and again */

/* ml: of ai.onnx.ml; versions are those of the domain. attr without keep: raising removes it. */
typedef struct step {
    const char *op;
    fy_step_fn  raise;
    const char *attr;
    int         version;
    bool        ml;
#ifndef FERRY_RUN_ONLY                   /* libferry-run raises models and lowers none: the functions stay out, and the steps that are nothing else */
    fy_step_fn  lower;
    const char *keep;
#define LOWERING(...) __VA_ARGS__
#else
#define LOWERING(...)
#endif
} step;

static const step steps[] = {
#define STEP(op_, version_, raise_, lower_) {#op_, fy_##raise_, NULL, version_, false, LOWERING(fy_##lower_, NULL)},
#define ADDED(op_, version_, attr_, keep_) LOWERING({#op_, NULL, attr_, version_, false, NULL, keep_},)
#define STEP_ML(op_, version_, raise_) {#op_, fy_##raise_, NULL, version_, true, LOWERING(NULL, NULL)},
#define GONE(op_, version_, attr_) {#op_, NULL, attr_, version_, false, LOWERING(NULL, NULL)},
#define fy_NULL NULL
#include "opset/opset.def"
#undef fy_NULL
#undef STEP
#undef ADDED
#undef STEP_ML
#undef GONE
};

/* onnx/docs/Versioning.md: the IR version that was released with each opset, from 7 on. */
int64_t fy_ir_version(int64_t opset) {
    static const int8_t ir[] = {3, 3, 4, 5, 6, 7, 7, 7, 8, 8, 8, 8, 9, 9, 10, 10, 11, 12, 13, 13, 13, 14};
    if (opset < 7) return 3;
    return ir[opset - 7 < FY_COUNT(ir) ? opset - 7 : FY_COUNT(ir) - 1];
}

/* ---- one node ---------------------------------------------------------------------------------------------------- */

typedef struct walk {
    fy_model    *m;
    ferry_error *e;
    fy_map       first;                  /* operator -> its first step + 1 in steps[] */
    int64_t      from, to;
    int64_t      ml;                     /* version of ai.onnx.ml to raise from */
    bool         dry;
    fy_opset_log *log;                   /* NULL: nobody counts */
    int64_t     *done;                   /* nodes that were lowered so far */
    uint32_t     nnodes;                 /* nodes with smaller ids were there before */
    fy_map       functions;              /* operator of a call -> its fy_function */
} walk;

static bool walk_init(walk *w) {
    for (int64_t i = 0; i < w->m->functions.n; i++) {
        fy_function *f = &w->m->functions.at[i];
        f->op = fy_op_opaque(w->m, f->domain, f->name);
        if (!f->op || !fy_map_put(&w->functions, (const char *)&f->op, sizeof f->op, f)) return false;
    }
    for (int i = FY_COUNT(steps) - 1; i >= 0; i--)
        if (!fy_map_puts(&w->first, steps[i].op, (void *)(intptr_t)(i + 1))) return false;
    return true;
}

static fy_step_ctx context(const walk *w, fy_node *n) {
    return (fy_step_ctx){.m = w->m, .n = n, .e = w->e, .target = w->to, .dry = w->dry,
                         .b = {.g = n->graph, .before = n, .e = w->e, .scope = n->scope, .source = n->source}};
}

#ifdef FERRY_RUN_ONLY
static fy_status lower_node(const walk *w, fy_step_ctx *x) { (void)w; (void)x; return FY_E_INTERNAL; }
#else
static bool keeps(const fy_attr *a, const char *value) {
    if (!strcmp(value, "*")) return true;
    if (a->kind == FY_ATTR_INTS && !strcmp(value, "ones")) {
        for (int64_t i = 0; i < a->n; i++)
            if (a->ints[i] != 1) return false;
        return true;
    }
    if (a->kind == FY_ATTR_INT) return a->i == (*value == '0' ? 0 : 1);
    return a->kind == FY_ATTR_STRING && a->s.n == strlen(value) && !memcmp(a->s.at, value, a->s.n);
}

static fy_status drop(fy_step_ctx *x, const step *s) {
    const fy_attr *a = fy_attr_get(x->n, s->attr);
    if (!a) return FY_OK;
    FY_STEP_NEED(x, keeps(a, s->keep), "attribute %s other than %s came with opset %d", s->attr, s->keep, s->version);
    if (!x->dry) fy_node_del_attr(x->n, s->attr);
    return FY_OK;
}

/* The steps of an operator lie in a few runs of the table: its version is looked for in all of them. */
static fy_status lower_node(const walk *w, fy_step_ctx *x) {
    intptr_t at = (intptr_t)fy_map_gets(&w->first, x->n->op->name);
    for (int64_t v = w->from; at && v > w->to && !x->replaced; v--)
        for (int i = (int)at - 1; i < FY_COUNT(steps) && !x->replaced; i++) {
            const step *s = &steps[i];
            if (s->version != v || strcmp(s->op, x->n->op->name)) continue;
            if (s->attr && s->keep) FY_TRY(drop(x, s));
            else if (s->lower) FY_TRY(s->lower(x));
        }
    if (x->replaced) return FY_OK;
    if (!x->dry) return fy_types_fit(x);
    char why[120];
    if (!fy_types_ok(x->n, w->to, why, sizeof why)) return fy_step_refuse(x, "%s", why);
    return FY_OK;
}
#endif

static fy_status raise_node(const walk *w, fy_step_ctx *x) {
    bool ml = !strcmp(x->n->op->domain, FY_ML);
    for (int64_t v = (ml ? w->ml : w->from) + 1; v <= (ml ? FY_CANONICAL_ML : w->to) && !x->replaced; v++) {
        intptr_t at = (intptr_t)fy_map_gets(&w->first, x->n->op->name);      /* a step may rename the node */
        for (int i = (int)at - 1; at && i < FY_COUNT(steps) && !x->replaced; i++)
            if (steps[i].version == v LOWERING(&& (steps[i].raise || !steps[i].keep)) && !strcmp(steps[i].op, x->n->op->name) && steps[i].ml == ml) {
                if (steps[i].raise) FY_TRY(steps[i].raise(x));
                else if (steps[i].attr) fy_node_del_attr(x->n, steps[i].attr);
            }
    }
    if (x->replaced) return FY_OK;
    ferry_error quiet;                   /* faults are reported by the inference of the whole model */
    (void)!fy_infer_node(x->n, &quiet);
    return FY_OK;
}

/* What would show that an adapter was at work on a node that stays: its operator, inputs and attributes. */
static uint64_t form_of(const fy_node *n) {
    uint64_t h = (uint64_t)(uintptr_t)n->op + (uint64_t)n->nin * 31 + (uint64_t)n->nattr * 1009;
    for (int i = 0; i < n->nin; i++) h = h * 0x100000001b3u + (uint64_t)(uintptr_t)n->in[i].value;
    for (int i = 0; i < n->nattr; i++) h = h * 0x100000001b3u + (uint64_t)(uintptr_t)n->attr[i].name + (uint64_t)n->attr[i].i + (uint64_t)(uintptr_t)n->attr[i].s.at;
    return h;
}

typedef struct witness { const char *op; uint64_t form; bool ours; const fy_node *next; } witness;

static witness look_at(const walk *w, const fy_node *n) {
    if (!w->log || w->dry || n->id >= w->nnodes) return (witness){0};
    return (witness){.op = n->op->name, .form = form_of(n), .ours = true, .next = n->next};
}

static fy_status count(const walk *w, const witness *before, const fy_step_ctx *x) {
    if (!before->ours) return FY_OK;
    bool adapted = !x->replaced && form_of(x->n) != before->form, cast = !x->replaced && x->n->next != before->next;
    if (!x->replaced && !adapted && !cast) return FY_OK;
    fy_opset_count *c = NULL;
    for (int64_t i = 0; i < w->log->n && !c; i++)
        if (!strcmp(w->log->at[i].op, before->op)) c = &w->log->at[i];
    if (!c) {
        FY_PUSH(w->e, *w->log, (fy_opset_count){.op = before->op});
        c = &w->log->at[w->log->n - 1];
    }
    if (x->replaced) c->replaced++;
    else if (cast) c->cast++;
    else c->adapted++;
    return FY_OK;
}

static fy_status graph(const walk *w, fy_graph *g, int depth);

static fy_status bodies(const walk *w, fy_node *n, int depth) {
    for (int i = 0; i < n->nattr; i++) {
        const fy_attr *a = &n->attr[i];
        if (a->kind == FY_ATTR_GRAPH && a->graph) FY_TRY(graph(w, a->graph, depth + 1));
        for (int64_t k = 0; a->kind == FY_ATTR_GRAPHS && k < a->n; k++) FY_TRY(graph(w, a->graphs[k], depth + 1));
    }
    if (n->ncap || n->nattr) {
        bool body = false;
        for (int i = 0; i < n->nattr; i++) body |= n->attr[i].kind == FY_ATTR_GRAPH || n->attr[i].kind == FY_ATTR_GRAPHS;
        if (body && !w->dry) FY_NOMEM(w->e, fy_node_collect_captures(n));
    }
    return FY_OK;
}

static fy_status nodes(const walk *w, fy_graph *g, fy_node *first, const fy_node *end, int depth);

static int64_t version_of(int64_t n, const fy_import *at, const char *domain, int64_t none) {
    for (int64_t i = 0; i < n; i++)
        if (!strcmp(at[i].domain, domain)) return at[i].version;
    return none;
}

static fy_status versions_known(int64_t onnx, int64_t ml, ferry_error *e) {
    FY_NEED(e, onnx <= FY_CANONICAL_OPSET, OPSET, "the model is of opset %lld; the newest known is %d", (long long)onnx, FY_CANONICAL_OPSET);
    FY_NEED(e, onnx >= FY_OPSET_MIN_READ, OPSET, "the model is of opset %lld; the oldest supported is %d", (long long)onnx, FY_OPSET_MIN_READ);
    FY_NEED(e, ml <= FY_CANONICAL_ML, OPSET, "the model imports " FY_ML " %lld; the newest known is %d", (long long)ml, FY_CANONICAL_ML);
    return FY_OK;
}

/* The call is replaced by the function's body, which is raised from the function's own opsets; calls in it follow. */
static fy_status inline_call(const walk *w, fy_node *n, const fy_function *f, int depth) {
    fy_graph *g = n->graph;
    fy_node *before = n->prev, *end = n->next;
    walk in = *w;
    in.from = version_of(f->imports.n, f->imports.at, "", w->from);
    in.ml = version_of(f->imports.n, f->imports.at, FY_ML, w->ml);
    in.log = NULL;
    FY_NEED(w->e, depth < MAX_DEPTH, LIMIT, "functions call each other more than %d deep, at \"%.80s\"", MAX_DEPTH, f->name);
    FY_NEED(w->e, w->m->nnodes - w->nnodes < MAX_INLINED, LIMIT, "the functions' calls of each other come to more than %d nodes", MAX_INLINED);
    fy_step_ctx x = context(w, n);
    fy_status s = versions_known(in.from, in.ml, w->e);
    if (!s) s = fy_function_inline(&x, f);
    if (!s) s = nodes(&in, g, before ? before->next : g->first, end, depth + 1);
    return s ? fy_frame(w->e, s, "function \"%.80s\"", f->name) : FY_OK;
}

static fy_status graph(const walk *w, fy_graph *g, int depth) {
    FY_NEED(w->e, depth < MAX_DEPTH, LIMIT, "graphs are nested more than %d deep", MAX_DEPTH);
    return nodes(w, g, g->first, NULL, depth);
}

/* From `first` up to `end`, which is not reached. */
static fy_status nodes(const walk *w, fy_graph *g, fy_node *first, const fy_node *end, int depth) {
    bool up = w->to >= w->from;          /* equal: ai.onnx.ml and functions alone are raised */
    for (fy_node *n = first, *next; n != end; n = next) {
        fy_node *before = n->prev;
        next = n->next;
        const fy_function *f = up && (n->op->flags & FY_OPAQUE_OP) ? fy_map_get(&w->functions, (const char *)&n->op, sizeof n->op) : NULL;
        if (f) {
            FY_TRY(inline_call(w, n, f, depth));
            continue;
        }
        if (!w->dry && n->mark) continue;
        FY_TRY(bodies(w, n, depth));
        if (*n->op->domain && !(up && !strcmp(n->op->domain, FY_ML))) continue;
        fy_step_ctx x = context(w, n);
        witness seen = look_at(w, n);
        FY_TRY(up ? raise_node(w, &x) : lower_node(w, &x));
        FY_TRY(x.b.status);
        FY_TRY(count(w, &seen, &x));
        if (up || w->dry) continue;
        if (!x.replaced) n->mark = 1;    /* done */
        ++*w->done;
        if (x.replaced || n->prev != before) next = before ? before->next : g->first;      /* what was put before it is canonical: lowered next */
    }
    return FY_OK;
}

/* Adapters may put nodes in front of all others (sizes of inputs): what was lowered is marked, and walked past until nothing is left. */
static fy_status whole(walk *w) {
    int64_t done = 0, before;
    FY_NOMEM(w->e, walk_init(w));
    for (int64_t i = 0; i < w->m->graphs.n && !w->dry; i++)
        for (fy_node *n = w->m->graphs.at[i]->first; n; n = n->next) n->mark = 0;
    w->done = &done;
    do {
        before = done;
        FY_TRY(graph(w, w->m->graph, 0));
    } while (done != before);
    return FY_OK;
}

/* The version of ai.onnx.ml that the model imports; the canonical one if it does not. */
static int64_t ml_version(const fy_model *m) { return version_of(m->imports.n, m->imports.at, FY_ML, FY_CANONICAL_ML); }

static fy_status run(fy_model *m, int64_t from, int64_t to, bool dry, fy_opset_log *log, ferry_error *e) {
    walk w = {.m = m, .e = e, .from = from, .to = to, .ml = ml_version(m), .dry = dry, .log = log, .nnodes = m->nnodes};
    fy_status s = whole(&w);
    fy_map_free(&w.first);
    fy_map_free(&w.functions);
    return s;
}

/* ---- the models --------------------------------------------------------------------------------------------------- */

static fy_status import(fy_model *m, int64_t opset, ferry_error *e) {
    bool found = false;
    for (int64_t i = 0; i < m->imports.n; i++)
        if (!*m->imports.at[i].domain) { m->imports.at[i].version = opset; found = true; }
    if (!found) FY_PUSH(e, m->imports, (fy_import){"", opset});
    m->opset = opset;
    return FY_OK;
}

static void set_ml(fy_model *m, int64_t version) {
    for (int64_t i = 0; i < m->imports.n; i++)
        if (!strcmp(m->imports.at[i].domain, FY_ML)) m->imports.at[i].version = version;
}

fy_status fy_opset_raise(fy_model *m, ferry_error *e) { return fy_opset_raise_logged(m, NULL, e); }

fy_status fy_opset_raise_logged(fy_model *m, fy_opset_log *log, ferry_error *e) {
    int64_t from = m->opset ? m->opset : FY_CANONICAL_OPSET;
    int64_t ml = ml_version(m);
    FY_TRY(versions_known(from, ml, e));
    if (from < FY_CANONICAL_OPSET || ml < FY_CANONICAL_ML || m->functions.n) FY_TRY(run(m, from, FY_CANONICAL_OPSET, false, log, e));
    fy_model_drop_functions(m);
    FY_TRY(fy_gradients(m, e));
    set_ml(m, fy_ml_needed(m));          /* not the newest: that has deprecated what the graph may hold */
    return import(m, FY_CANONICAL_OPSET, e);
}

#ifndef FERRY_RUN_ONLY
int64_t fy_opset_lowest(const fy_model *m) {
    union { const fy_model *c; fy_model *v; } u = {.c = m};      /* a dry run changes nothing */
    ferry_error quiet;
    int64_t best = -1;
    for (int64_t to = FY_CANONICAL_OPSET; to >= FY_OPSET_MIN_WRITE; to--) {
        if (to < FY_CANONICAL_OPSET && run(u.v, FY_CANONICAL_OPSET, to, true, NULL, &quiet)) break;
        best = to;
    }
    return best;
}

fy_status fy_opset_lower(fy_model *m, int64_t opset, ferry_error *e) { return fy_opset_lower_logged(m, opset, NULL, e); }

fy_status fy_opset_lower_logged(fy_model *m, int64_t opset, fy_opset_log *log, ferry_error *e) {
    FY_NEED(e, opset >= FY_OPSET_MIN_WRITE && opset <= FY_CANONICAL_OPSET, USAGE, "opset %lld is not between %d and %d", (long long)opset, FY_OPSET_MIN_WRITE, FY_CANONICAL_OPSET);
    if (opset < FY_CANONICAL_OPSET) {
        fy_status s = run(m, FY_CANONICAL_OPSET, opset, true, NULL, e);
        if (s == FY_E_OPSET) return fy_help(e, s, "The lowest opset that can express this model is %lld.", (long long)fy_opset_lowest(m));
        FY_TRY(s);
        FY_TRY(run(m, FY_CANONICAL_OPSET, opset, false, log, e));
    }
    m->ir_version = fy_ir_version(opset);
    if (version_of(m->imports.n, m->imports.at, FY_ML, 0)) {
        set_ml(m, fy_ml_needed(m));
        if (m->ir_version < fy_ml_ir_version(fy_ml_needed(m))) m->ir_version = fy_ml_ir_version(fy_ml_needed(m));
    }
    return import(m, opset, e);
}
#endif
