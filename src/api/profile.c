/* SPDX-License-Identifier: Apache-2.0
 * profile.c - ferry_profile: runs a model with the engine's plan watched, and says where the time went. */
#include "api/timing.h"
#include "check/check.h"
#include "check/profile.h"

#include <stdio.h>
#include <string.h>

#define MOST 2000                        /* runs */
#define FEWEST 3

typedef struct watching {
    fy_timing  *r;
    const fy_plan *plan;
    fy_profile  p;
    fy_arena    arena;
    int        *maker;                   /* by value id: number of the step that made it, + 1 */
    double     *took, *start;            /* by step, of the run in progress */
    double      run_began, step_began;
    FY_VEC(double) all;                  /* took of every run, one after the other */
    bool        describe, oom;
} watching;

/* ---- what a step is -------------------------------------------------------------------------------------------------------- */

static void add_node(fy_buf *nodes, fy_buf *source, const fy_node *n) {
    fy_buf_fmt(nodes, "%s%s%s%s", nodes->n ? " + " : "", n->op->name, n->name && *n->name ? " " : "", n->name ? n->name : "");
    const char *from = n->scope && *n->scope ? n->scope : n->source;
    if (!from || !*from || (source->n && strstr(source->at, from))) return;
    fy_buf_fmt(source, "%s%s", source->n ? ", " : "", from);
}

static void add_tensor(fy_buf *b, const fy_tensor *t, fy_layout layout) {
    fy_buf_fmt(b, "%s[", fy_dtype_name(t->dtype));
    for (int k = 0; k < t->rank; k++) fy_buf_fmt(b, "%s%lld", k ? "," : "", (long long)t->dim[k]);
    fy_buf_fmt(b, "]%s", layout == FY_C16 ? "/c16" : "");
}

static double bytes_of(const fy_tensor *t) { return t->dtype == FERRY_STRING ? 0 : (double)fy_dtype_bytes(t->dtype, fy_count(t)); }

static double const_bytes(const fy_const *c) { return c->dtype == FERRY_STRING ? 0 : (double)fy_dtype_bytes(c->dtype, c->count); }

/* Operators that read only as much of their first input as they give out. */
static bool picks(const fy_step *s) { return s->node && (!strncmp(s->node->op->name, "Gather", 6) || !strcmp(s->node->op->name, "Slice")); }

static void describe_values(fy_buf *types, double *bytes, const fy_step *s, const fy_exec *x) {
    bool first = true;
    double read = 0, made = 0;
    for (int i = 0; i < s->nin; i++) {
        const fy_value *v = s->in[i] ? s->in[i] : s->node && i < s->node->nin ? s->node->in[i].value : NULL;   /* packed constants are no inputs any more */
        if (!v) continue;
        fy_buf_str(types, first ? "" : ", ");
        first = false;
        double size = 0;
        if (s->in[i] && x->value[v->id].kind == FY_TENSOR) {
            add_tensor(types, &x->value[v->id].t, s->in_layout[i]);
            size = bytes_of(&x->value[v->id].t);
        } else {
            fy_type_print(types, &v->type);
            if (v->constant) size = const_bytes(v->constant);
        }
        if (i || !picks(s)) read += size;
    }
    fy_buf_str(types, " -> ");
    for (int i = 0, n = 0; i < s->nout; i++) {
        if (!s->out[i]) continue;
        const fy_rval *v = &x->value[s->out[i]->id];
        fy_buf_str(types, n++ ? ", " : "");
        if (v->kind != FY_TENSOR) { fy_type_print(types, &s->out[i]->type); continue; }
        add_tensor(types, &v->t, i ? FY_PLAIN : s->out_layout);
        made += bytes_of(&v->t);
    }
    if (picks(s)) read += made;
    *bytes = s->impl->flags & FY_IMPL_ALIAS ? 0 : read + made;
}

typedef struct run_sizes { const fy_step *s; const fy_exec *x; } run_sizes;

/* Sizes as they are in this run. What is inside a step has the sizes of what the step makes: nodes are taken in element by element. */
static int sizes_of(void *ctx, const fy_value *v, int64_t *dim) {
    const run_sizes *r = ctx;
    const fy_value *as = v;
    for (int f = 0; f < r->s->nfused; f++)
        if (v == (f ? r->s->fused[f - 1] : r->s->node)->out[0]) as = r->s->out[0];
    const fy_rval *have = as->id < r->x->plan->nvalues ? &r->x->value[as->id] : NULL;
    if (have && have->kind == FY_TENSOR) {
        memcpy(dim, have->t.dim, (size_t)have->t.rank * sizeof *dim);
        return have->t.rank;
    }
    if (v->type.kind != FY_TENSOR || v->type.rank > FY_MAX_RANK) return -1;
    if (as->id < r->x->plan->nvalues && r->x->spec->dim[as->id] && v->type.rank >= 0) {
        memcpy(dim, r->x->spec->dim[as->id], (size_t)v->type.rank * sizeof *dim);
        return v->type.rank;
    }
    for (int i = 0; i < v->type.rank; i++)
        if (!fy_dim_known(v->type.dim[i], &dim[i])) dim[i] = -1;
    return v->type.rank;
}

static int64_t step_macs(const fy_step *s, const fy_exec *x) {
    run_sizes r = {s, x};
    int64_t sum = s->node ? fy_node_macs_of(s->node, sizes_of, &r) : 0;
    for (int i = 0; s->cover && i < s->cover->n && sum >= 0; i++) {
        int64_t macs = fy_node_macs_of(s->cover->node[i], sizes_of, &r);
        sum = macs < 0 || sum > INT64_MAX - macs ? -1 : sum + macs;
    }
    for (int i = 0; i < s->nfused && sum >= 0; i++) {
        int64_t macs = fy_node_macs_of(s->fused[i], sizes_of, &r);
        sum = macs < 0 || sum > INT64_MAX - macs ? -1 : sum + macs;
    }
    return sum;
}

static bool describe_from(watching *w, fy_profile_step *out, const fy_step *s) {
    int most = s->nin + (s->node ? s->node->ncap : 0), *from = FY_NEWN(&w->arena, int, most + 1);
    if (!from) return false;
    for (int i = 0; i < most; i++) {
        const fy_value *v = i < s->nin ? s->in[i] : s->node->cap[i - s->nin]->value;
        int step = v && v->id < w->plan->nvalues ? w->maker[v->id] - 1 : -1;
        bool again = step < 0;
        for (int k = 0; k < out->nfrom; k++) again |= from[k] == step;
        if (!again) from[out->nfrom++] = step;
    }
    out->from = from;
    for (int i = 0; i < s->nout; i++)
        if (s->out[i]) w->maker[s->out[i]->id] = s->index + 1;
    return true;
}

static void describe(watching *w, const fy_step *s, const fy_exec *x) {
    fy_profile_step *out = &w->p.step[s->index];
    fy_buf nodes = {0}, source = {0}, types = {0};
    for (int i = 0; s->cover && i < s->cover->n; i++) add_node(&nodes, &source, s->cover->node[i]);
    if (s->node) add_node(&nodes, &source, s->node);
    else fy_buf_fmt(&nodes, "to %s", s->out_layout == FY_C16 ? "blocks of 16 channels" : "the plain layout");
    for (int i = 0; i < s->nfused; i++) add_node(&nodes, &source, s->fused[i]);
    describe_values(&types, &out->bytes, s, x);
    out->op = s->node ? s->node->op->name : "(layout)";
    out->impl = x->spec->skip[s->index] ? "(from sizes)" : s->impl->name;   /* what ran */
    out->name = s->node && s->node->name ? s->node->name : "";
    out->macs = step_macs(s, x);
    out->nodes = fy_arena_str(&w->arena, nodes.at);
    out->source = source.n ? fy_arena_str(&w->arena, source.at) : "";
    out->types = fy_arena_str(&w->arena, types.at);
    w->oom |= nodes.oom || source.oom || types.oom || !out->nodes || !out->source || !out->types || !describe_from(w, out, s);
    fy_buf_free(&nodes);
    fy_buf_free(&source);
    fy_buf_free(&types);
}

static void seen(void *ctx, const fy_step *s, const fy_exec *x, bool after) {
    watching *w = ctx;
    if (!after) { w->step_began = fy_os_seconds(); return; }
    w->took[s->index] = fy_os_seconds() - w->step_began;
    w->start[s->index] = w->step_began - w->run_began;
    if (w->describe) describe(w, s, x);
}

/* ---- running --------------------------------------------------------------------------------------------------------------- */

static fy_status one_run(watching *w, double *seconds, ferry_error *e) {
    w->run_began = fy_os_seconds();
    return fy_timing_run(w->r, seconds, e);
}

static fy_status keep(watching *w, ferry_error *e) {
    int64_t n = w->p.nsteps;
    FY_NOMEM(e, FY_RESERVE(w->all, w->all.n + n + 1));
    memcpy(w->all.at + w->all.n, w->took, (size_t)n * sizeof *w->took);
    w->all.n += n;
    return FY_OK;
}

static fy_status medians(watching *w, int64_t runs, ferry_error *e) {
    double *column = FY_NEWN(&w->arena, double, runs + 1);
    FY_NOMEM(e, column);
    for (int i = 0; i < w->p.nsteps; i++) {
        fy_summary s;
        for (int64_t k = 0; k < runs; k++) column[k] = w->all.at[k * w->p.nsteps + i];
        fy_summarise(&s, column, runs);
        w->p.step[i].seconds = s.median;
        w->p.step[i].begin = w->start[i];
        w->p.step[i].took = w->took[i];
    }
    return FY_OK;
}

static fy_status measure(watching *w, ferry_error *e) {
    FY_VEC(double) runs = {0};
    double one, spent = 0;
    fy_session *session = fy_session_of(w->r->session);
    fy_timing_progress(w->r, "warming up", -1);
    FY_TRY(one_run(w, &one, e));
    w->describe = true;
    fy_engine_of(w->r->model)->watch(session, seen, w);
    fy_status s = one_run(w, &one, e);
    w->describe = false;
    if (!s && w->oom) s = fy_nomem(e);
    while (!s && runs.n < MOST && (runs.n < FEWEST || spent < w->r->seconds)) {
        s = one_run(w, &one, e);
        if (!s) s = keep(w, e);
        if (!s && !FY_RESERVE(runs, runs.n + 1)) s = fy_nomem(e);
        if (s) break;
        runs.at[runs.n++] = one;
        spent += one;
        fy_timing_progress(w->r, "measuring", spent < w->r->seconds ? spent / w->r->seconds : 0.99);
    }
    fy_engine_of(w->r->model)->watch(session, NULL, NULL);
    if (!s) s = medians(w, runs.n, e);
    if (!s) fy_summarise(&w->p.s, runs.at, runs.n);
    fy_free(runs.at);
    fy_timing_progress(w->r, "measuring", 1);
    return s;
}

static fy_status write_files(const fy_profile *p, const ferry_job *job, ferry_error *e) {
    const char *html = fy_opt(job, "html"), *trace = fy_opt(job, "trace");
    fy_buf text = {0};
    fy_status s = FY_OK;
    if (html) {
        s = fy_profile_html(&text, p, e);
        if (!s) s = fy_write_text(html, &text, e);
        fy_buf_free(&text);
        text = (fy_buf){0};
    }
    if (!s && trace) {
        fy_profile_trace(&text, p);
        s = fy_write_text(trace, &text, e);
    }
    fy_buf_free(&text);
    return s;
}

static fy_status profile(fy_report *out, watching *w, const char *path, const ferry_job *job, ferry_error *e) {
    const char *slash = strrchr(path, '/');
    FY_TRY(fy_timing_open(w->r, path, job, e));
    const fy_engine *engine = fy_engine_of(w->r->model);
    FY_NEED(e, engine->plan && engine->watch, USAGE, "the engine %s cannot be watched at work: profile knows the engine ferry only", engine->name);
    w->plan = engine->plan(fy_compiled_of(w->r->model));
    int64_t n = w->plan->steps.n;
    FY_NEED(e, n < INT32_MAX, UNSUPPORTED, "the plan has too many steps");
    w->p = (fy_profile){.model = slash ? slash + 1 : path, .about = w->r->about, .cpu = w->r->cpu, .isa = fy_isa_name(fy_cpu_isa()), .input = w->r->input, .ninputs = (int)w->r->nin,
                        .threads = w->r->threads, .nsteps = (int)n};
    w->p.step = FY_NEWN(&w->arena, fy_profile_step, n + 1);
    w->took = FY_NEWN(&w->arena, double, n + 1);
    w->start = FY_NEWN(&w->arena, double, n + 1);
    w->maker = FY_NEWN(&w->arena, int, (int64_t)w->plan->nvalues + 1);
    FY_NOMEM(e, w->p.step && w->took && w->start && w->maker);
    FY_TRY(measure(w, e));
    fy_pool *pool = fy_pool_new(w->r->threads);
    w->p.flops = fy_machine_flops(pool);
    w->p.bytes = fy_machine_bytes(pool);
    fy_pool_free(pool);
    FY_TRY(write_files(&w->p, job, e));
    return fy_profile_report(out, &w->p, e);
}

int ferry_profile(const char *path, const ferry_job *job, ferry_report **out, ferry_error *e) {
    static const char *const keys[] = {FY_TIMING_KEYS, "html", "trace", NULL};
    ferry_error own;
    if (!e) e = &own;
    fy_timing r = {.job = job};
    watching w = {.r = &r};
    *out = NULL;
    fy_error_clear(e);
    fy_report *report = fy_report_new(e);
    fy_status s = report ? fy_opt_known(job, keys, e) : FY_E_NOMEM;
    if (!s) s = profile(report, &w, path, job, e);
    if (!s) s = fy_report_finish(report, e);
    fy_free(w.all.at);
    fy_arena_free(&w.arena);
    fy_timing_close(&r);
    if (s) {
        fy_report_free(report);
        return fy_kind_of(s);
    }
    *out = report;
    return FERRY_OK;
}
