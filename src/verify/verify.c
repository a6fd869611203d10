/* SPDX-License-Identifier: Apache-2.0
 * verify.c - runs model and reference on the same inputs: the ATen program at its sample and at other sizes, a frozen program row by
 * row, recorded values, or another model. */
#include "verify/internal.h"

#include <stdio.h>
#include <string.h>

enum { MAX_PORTS = 256 };

typedef struct ranked { uint32_t id; int out, axis; fy_tensor t; } ranked;

/* One verification in progress. Program inputs are its USER inputs, in order; user[k] is the graph input they are fed to. */
typedef struct work {
    fy_verify_report        *r;
    const fy_model          *m;
    const fy_program        *p;
    const fy_verify_options *o;
    ferry_error             *e;
    fy_runner                run;
    fy_pool                 *pool;
    int                      nin, nout;
    const fy_pinput         *pin[MAX_PORTS];
    const fy_poutput        *pout[MAX_PORTS];
    int64_t                  user[MAX_PORTS];
    int                      source[MAX_PORTS];              /* of graph outputs: the program's output, or -1 */
    int                      held[MAX_PORTS];                /* of graph outputs that are state: the program's input, or -1 */
    ranked                   rank[16];
    int                      nrank;
    fy_sizes                 sym;                            /* the program's symbols */
    FY_VEC(fy_sizes) tried;                                  /* the graph's symbols in the cases that ran */
    double                   share;
} work;

static void say(work *w, const char *what) {
    if (w->o->progress) w->o->progress(w->o->ctx, what, w->share);
}

static fy_status set_text(char **to, const char *text, ferry_error *e) {
    size_t n = strlen(text) + 1;
    fy_free(*to);
    *to = fy_malloc(n, 1);
    FY_NOMEM(e, *to);
    memcpy(*to, text, n);
    return FY_OK;
}

static void free_values(fy_rval *v, int64_t n) {
    for (int64_t i = 0; v && i < n; i++) fy_rval_free(&v[i]);
    fy_free(v);
}

/* ---- ports ------------------------------------------------------------------------------------------------------------- */

static bool is_state(const fy_model *m, const fy_value *v) {
    for (int64_t i = 0; i < m->graph->state.n; i++)
        if (m->graph->state.at[i].in == v || m->graph->state.at[i].out == v) return true;
    return false;
}

/* The program's buffer or parameter that a declared state stands for: the state bears its name; -1 if none. */
static int held_by(const work *w, const fy_state *st) {
    for (int i = 0; i < w->p->nin; i++)
        if (w->p->in[i].data && w->p->in[i].fqn && st->name && !strcmp(w->p->in[i].fqn, st->name)) return i;
    for (int i = 0; i < w->p->nin; i++)                      /* a name that was taken got a number: name_2 */
        if (w->p->in[i].data && w->p->in[i].fqn && st->name && !strncmp(w->p->in[i].fqn, st->name, strlen(w->p->in[i].fqn)) && st->name[strlen(w->p->in[i].fqn)] == '_') return i;
    return -1;
}

/* By name; a graph whose names were chosen by the user, by order. */
static fy_status match_ports(work *w) {
    const fy_graph *g = w->m->graph;
    int64_t         order[MAX_PORTS], n = 0;
    FY_NEED(w->e, g->in.n <= MAX_PORTS && g->out.n <= MAX_PORTS, LIMIT, "more than %d inputs or outputs", MAX_PORTS);
    for (int64_t i = 0; i < g->in.n; i++)
        if (!is_state(w->m, g->in.at[i])) order[n++] = i;
    int64_t next = 0;
    for (int i = 0; i < w->p->nin; i++) {
        const fy_pinput *in = &w->p->in[i];
        if (in->kind != FY_PIN_USER) continue;
        FY_NEED(w->e, w->nin < MAX_PORTS, LIMIT, "more than %d inputs", MAX_PORTS);
        int64_t at = -1;
        for (int64_t k = 0; k < n && in->user_name; k++)
            if (!strcmp(g->in.at[order[k]]->name, in->user_name)) at = order[k];
        if (at < 0 && in->value && next < n) at = order[next];
        if (in->value) next++;
        w->user[w->nin] = at;
        w->pin[w->nin++] = in;
    }
    for (int i = 0; i < w->p->nout; i++) {
        if (w->p->out[i].kind != FY_POUT_USER) continue;
        FY_NEED(w->e, w->nout < MAX_PORTS, LIMIT, "more than %d outputs", MAX_PORTS);
        w->pout[w->nout++] = &w->p->out[i];
    }
    int k = 0;
    for (int64_t j = 0; j < g->out.n; j++) {
        w->source[j] = w->held[j] = -1;
        for (int64_t i = 0; i < g->state.n; i++)
            if (g->state.at[i].out == g->out.at[j]) w->held[j] = held_by(w, &g->state.at[i]);
        if (is_state(w->m, g->out.at[j])) continue;
        for (int i = 0; i < w->nout; i++)
            if (w->pout[i]->user_name && !strcmp(w->pout[i]->user_name, g->out.at[j]->name)) w->source[j] = i;
        while (k < w->nout && w->pout[k]->arg.kind == FY_ARG_NONE) k++;
        if (w->source[j] < 0 && k < w->nout) w->source[j] = k;
        k++;
    }
    return FY_OK;
}

/* Outputs that hold positions: argmax and its kin. */
static void find_ranked(work *w) {
    static const char *const ops[] = {"aten.argmax", "aten.argmin", "aten.max.dim", "aten.min.dim", "aten.topk", "aten.sort", "aten.argsort", NULL};
    for (int i = 0; i < w->nout && w->nrank < FY_COUNT(w->rank); i++) {
        const fy_parg   *a = &w->pout[i]->arg;
        const fy_pnode  *d = a->kind == FY_ARG_TENSOR && a->value ? a->value->def : NULL;
        const fy_parg   *self = d ? fy_pnode_arg(d, "self") : NULL, *dim = d ? fy_pnode_arg(d, "dim") : NULL;
        if (!d || !self || self->kind != FY_ARG_TENSOR) continue;
        for (int k = 0; ops[k]; k++) {
            if (strncmp(d->op, ops[k], strlen(ops[k]))) continue;
            int rank = self->value->rank, axis = dim && dim->kind == FY_ARG_INT ? (int)dim->i : k < 2 ? -1000 : -1;
            if (axis < 0 && axis != -1000) axis += rank;
            w->rank[w->nrank++] = (ranked){.id = self->value->id, .out = i, .axis = axis == -1000 ? -1 : axis};
            break;
        }
    }
}

static void seen(void *ctx, const fy_pvalue *v, const fy_tensor *t) {
    work *w = ctx;
    for (int i = 0; i < w->nrank; i++) {
        if (w->rank[i].id != v->id) continue;
        fy_tensor_free(&w->rank[i].t);
        if (fy_tensor_clone(&w->rank[i].t, t, NULL) != FY_OK) w->rank[i].t = (fy_tensor){0};
    }
}

static double tolerance(const work *w) { return w->o->tolerance > 0 ? w->o->tolerance : 1e-4; }

static fy_status evaluate(work *w, const fy_tensor *in, fy_tensor *out, fy_tensor *state) {
    fy_eval_options o = {.pool = w->pool, .seen = w->nrank ? seen : NULL, .ctx = w, .state = state};
    return fy_aten_eval(w->p, in, w->nin, out, w->nout, &o, w->e);
}

static fy_dtype source_dtype(const fy_poutput *o) {
    fy_dtype t = o->arg.kind == FY_ARG_TENSOR && o->arg.value && o->arg.value->has_meta ? o->arg.value->dtype : 0;
    return t == FERRY_COMPLEX64 ? FERRY_FLOAT : t == FERRY_COMPLEX128 ? FERRY_DOUBLE : t;      /* complex outputs are pairs */
}

/* ---- sizes --------------------------------------------------------------------------------------------------------------- */

static fy_status add_symbols(work *w, const fy_dim *d, int64_t size, int depth) {
    if (depth > 32) return FY_OK;
    if (d->kind == FY_DIM_SYM) {
        int64_t at = fy_sizes_find(&w->sym, d->name);
        if (at < 0) {
            fy_size s = {.name = d->name, .lo = d->lo > 1 ? d->lo : 1, .hi = d->hi};
            for (int i = 0; i < w->p->nrange; i++)
                if (!strcmp(w->p->range[i].symbol, d->name)) { s.lo = w->p->range[i].lo > 1 ? w->p->range[i].lo : 1; s.hi = w->p->range[i].hi; }
            FY_PUSH(w->e, w->sym, s);
            at = w->sym.n - 1;
        }
        if (size > 0 && !w->sym.at[at].sample) w->sym.at[at].sample = size;
        return FY_OK;
    }
    bool exact = d->kind == FY_DIM_PROD && d->nargs == 1 && d->value > 0 && size > 0 && size % d->value == 0;
    for (int i = 0; i < d->nargs; i++) FY_TRY(add_symbols(w, d->arg[i], exact ? size / d->value : 0, depth + 1));
    return FY_OK;
}

static fy_status find_symbols(work *w) {
    bool sample = w->p->sample.n == w->nin;
    for (int k = 0; k < w->nin; k++) {
        const fy_pvalue *v = w->pin[k]->value;
        if (!v || v->kind != FY_PV_TENSOR || !v->has_meta || !v->dim) continue;
        const fy_psample *s = sample ? &w->p->sample.at[k] : NULL;
        for (int i = 0; i < v->rank; i++) FY_TRY(add_symbols(w, v->dim[i], s && s->is_tensor && s->t.rank == v->rank ? s->t.dim[i] : 0, 0));
    }
    for (int64_t i = 0; i < w->sym.n; i++) {
        fy_size *s = &w->sym.at[i];
        for (int k = 0; k < w->p->ngiven && !s->sample; k++)         /* the size that was given, or traced */
            if (!strcmp(w->p->opened[k].symbol, s->name)) s->sample = w->p->opened[k].sample;
        if (!s->sample) s->sample = s->lo > 2 ? s->lo : s->hi < 2 ? s->hi : 2;
        s->v = s->sample;
    }
    return FY_OK;
}

/* The graph's symbols as the given graph inputs fix them, in the order of the inputs. */
static fy_status graph_sizes(work *w, fy_sizes *g, const fy_rval *in) {
    for (int64_t i = 0; i < w->m->graph->in.n; i++) {
        const fy_type *t = &w->m->graph->in.at[i]->type;
        for (int k = 0; k < t->rank && k < in[i].t.rank; k++)
            if (t->dim[k]->kind == FY_DIM_SYM && fy_sizes_find(g, t->dim[k]->name) < 0) FY_PUSH(w->e, *g, (fy_size){.name = t->dim[k]->name, .v = in[i].t.dim[k]});
    }
    return FY_OK;
}

static bool label_of(char *to, size_t n, const fy_sizes *g) {
    size_t at = 0;
    *to = 0;
    for (int64_t i = 0; i < g->n && at + 1 < n; i++) at += (size_t)snprintf(to + at, n - at, "%s%.60s=%lld", i ? " " : "", g->at[i].name, (long long)g->at[i].v);
    return g->n > 0;
}

/* ---- one case -------------------------------------------------------------------------------------------------------------- */

static fy_status failed_run(work *w, fy_verify_case *c, const char *text) {
    c->nout = 1;
    FY_TRY(set_text(&c->out[0].name, "(the model)", w->e));
    char why[400];
    snprintf(why, sizeof why, "does not run: %.380s", text);
    return set_text(&c->out[0].why, why, w->e);
}

static bool keeps(const work *w, int input) {
    for (int64_t j = 0; j < w->m->graph->out.n; j++)
        if (w->held[j] == input) return true;
    return false;
}

/* Declared state against what the program's buffers hold; buffers that the program changes and the model does not keep. */
static fy_status judge_state(work *w, fy_verify_case *c, const fy_rval *got, const fy_tensor *state) {
    char name[300];
    for (int64_t j = 0; j < w->m->graph->out.n; j++) {
        int i = w->held[j];
        if (i < 0 || !state[i].dtype) continue;
        snprintf(name, sizeof name, "%.280s (state)", w->p->in[i].fqn);
        fy_expect x = {.name = name, .t = state[i], .dtype = w->p->in[i].data->dtype};
        FY_TRY(fy_verify_judge(&c->out[c->nout++], &got[j].t, &x, w->o, w->e));
    }
    for (int i = 0; i < w->p->nin; i++) {
        fy_tensor first;
        if (!state[i].dtype || keeps(w, i)) continue;
        FY_TRY(fy_const_tensor(&first, w->p->in[i].data, w->e));
        snprintf(name, sizeof name, "%.280s (state)", w->p->in[i].fqn ? w->p->in[i].fqn : "?");
        fy_expect x = {.name = name, .t = state[i], .dtype = w->p->in[i].data->dtype};
        fy_verify_output *o = &c->out[c->nout++];
        fy_status s = fy_verify_judge(o, &first, &x, w->o, w->e);
        fy_tensor_free(&first);
        if (s == FY_OK && !o->ok) s = set_text(&o->why, "the program changes this buffer; the model does not keep it", w->e);
        if (s != FY_OK) return s;
        if (!o->ok) continue;
        c->nout--;                                           /* a write that changes nothing needs no state */
        fy_free(o->name);
        fy_free(o->why);
        *o = (fy_verify_output){0};
    }
    return FY_OK;
}

/* An output that stands for a check of the program's own: it holds. */
static fy_status judge_assert(work *w, fy_verify_case *c, const fy_value *v, const fy_tensor *got) {
    char key[300], why[400];
    bool yes = true;
    snprintf(key, sizeof key, FY_ASSERT_KEY "%.270s", v->name);
    const char *said = fy_model_meta(w->m, key);
    if (!said) return FY_OK;
    fy_expect x = {.name = v->name, .t = fy_tensor_view(FERRY_BOOL, 0, NULL, &yes), .dtype = FERRY_BOOL};
    fy_verify_output *o = &c->out[c->nout++];
    FY_TRY(fy_verify_judge(o, got, &x, w->o, w->e));
    snprintf(why, sizeof why, "the program's own check does not hold: %.300s", said);
    return o->ok ? FY_OK : set_text(&o->why, why, w->e);
}

/* Runs the model on `in` and judges it against want[] (one for each program output) and, unless NULL, state[] (one for each
 * program input). Declared state is never given: the engine starts and carries it. */
static fy_status judge_case(work *w, const char *label, bool by_sample, fy_rval *in, const fy_tensor *want, const fy_tensor *state, fy_verify_case **made) {
    const fy_graph *g = w->m->graph;
    fy_rval        *got = fy_calloc((size_t)g->out.n + 1, sizeof *got), **ptr = fy_calloc((size_t)g->in.n + 1, sizeof *ptr);
    fy_verify_case *c = NULL;
    fy_status       s = got && ptr ? FY_OK : fy_nomem(w->e);
    for (int64_t i = 0; s == FY_OK && i < g->in.n; i++) ptr[i] = is_state(w->m, g->in.at[i]) ? NULL : &in[i];
    if (s == FY_OK) s = fy_verify_add_case(w->r, label, (int)g->out.n + 1 + (state ? w->p->nin : 0), &c, w->e);
    if (s == FY_OK) {
        c->by_sample = by_sample;
        s = fy_runner_run(&w->run, ptr, got, w->e);
        if (s != FY_OK && s != FY_E_NOMEM && s != FY_E_INTERNAL) {
            char text[512];
            snprintf(text, sizeof text, "%s", w->e ? w->e->text : "");
            s = failed_run(w, c, text);
        } else {
            for (int64_t j = 0; s == FY_OK && j < g->out.n; j++) {
                int i = w->source[j];
                if (i < 0 && w->held[j] < 0) s = judge_assert(w, c, g->out.at[j], &got[j].t);
                if (i < 0) continue;
                fy_expect x = {.name = g->out.at[j]->name, .t = want[i], .dtype = source_dtype(w->pout[i])};
                for (int k = 0; k < w->nrank && !by_sample; k++)
                    if (w->rank[k].out == i && w->rank[k].t.dtype) { x.ranked = &w->rank[k].t; x.axis = w->rank[k].axis; }
                s = fy_verify_judge(&c->out[c->nout++], &got[j].t, &x, w->o, w->e);
            }
            if (s == FY_OK && state) s = judge_state(w, c, got, state);
        }
    }
    if (s == FY_OK) {
        fy_sizes sizes = {0};
        s = graph_sizes(w, &sizes, in);
        if (s == FY_OK && !FY_RESERVE(w->tried, w->tried.n + 1)) s = fy_nomem(w->e);
        if (s == FY_OK) w->tried.at[w->tried.n++] = sizes;
        else fy_free(sizes.at);
    }
    free_values(got, g->out.n);
    fy_free(ptr);
    if (made) *made = c;
    return s;
}

static bool case_ok(const fy_verify_case *c) {
    for (int i = 0; i < c->nout; i++)
        if (!c->out[i].ok) return false;
    return true;
}

/* A tensor for program input k that the graph does not have. */
static fy_status filler(work *w, int k, fy_rval *to) {
    const fy_pvalue *v = w->pin[k]->value;
    int64_t          dim[FY_MAX_RANK];
    to->kind = FY_TENSOR;
    if (!v || v->kind != FY_PV_TENSOR || !v->has_meta) {
        FY_TRY(fy_tensor_new(&to->t, FERRY_INT64, 0, NULL, w->e));
        fy_put_i64(&to->t, 0, 1);
        return FY_OK;
    }
    for (int i = 0; i < v->rank; i++) FY_NEED(w->e, fy_dim_eval(v->dim[i], fy_sizes_value, &w->sym, &dim[i]), SHAPE, "input %s: axis %d has no size", v->name, i);
    FY_TRY(fy_tensor_new(&to->t, v->dtype, v->rank, dim, w->e));
    for (int64_t i = 0, n = fy_count(&to->t); i < n; i++) fy_put_i64(&to->t, i, 0);
    return FY_OK;
}

static bool is_complex(const fy_pvalue *v) { return v && v->kind == FY_PV_TENSOR && v->has_meta && fy_dtype_class(v->dtype) == FY_CLASS_C; }

typedef struct inputs { fy_rval *graph, *extra; fy_tensor program[MAX_PORTS]; } inputs;

static void inputs_free(work *w, inputs *in) {
    free_values(in->graph, w->m->graph->in.n);
    free_values(in->extra, w->nin);
    *in = (inputs){0};
}

static fy_status inputs_alloc(work *w, inputs *in) {
    *in = (inputs){.graph = fy_calloc((size_t)w->m->graph->in.n + 1, sizeof(fy_rval)), .extra = fy_calloc((size_t)w->nin + 1, sizeof(fy_rval))};
    if (in->graph && in->extra) return FY_OK;
    inputs_free(w, in);
    return fy_nomem(w->e);
}

/* Complex numbers are pairs on a last axis in the graph. */
static fy_status share_inputs(work *w, inputs *in) {
    for (int k = 0; k < w->nin; k++) {
        const fy_tensor *t = w->user[k] >= 0 ? &in->graph[w->user[k]].t : NULL;
        if (t && is_complex(w->pin[k]->value)) {
            FY_NEED(w->e, t->rank > 0 && t->dim[t->rank - 1] == 2 && fy_dtype_float(t->dtype), SHAPE, "input %s: complex numbers are pairs on a last axis", w->m->graph->in.at[w->user[k]]->name);
            in->program[k] = fy_tensor_complex(t);
        } else if (t) in->program[k] = *t;
        else if (in->extra[k].kind) in->program[k] = in->extra[k].t;
        else {
            FY_TRY(filler(w, k, &in->extra[k]));
            in->program[k] = in->extra[k].t;
        }
    }
    return FY_OK;
}

static fy_status literal_tensor(work *w, fy_rval *to, const fy_parg *a) {
    fy_dtype t = a->kind == FY_ARG_FLOAT ? FERRY_FLOAT : a->kind == FY_ARG_BOOL ? FERRY_BOOL : FERRY_INT64;
    to->kind = FY_TENSOR;
    FY_TRY(fy_tensor_new(&to->t, t, 0, NULL, w->e));
    if (a->kind == FY_ARG_FLOAT) fy_put_f64(&to->t, 0, a->f);
    else fy_put_i64(&to->t, 0, a->kind == FY_ARG_SYM ? a->sym.i : a->i);
    return FY_OK;
}

/* The recorded sample as inputs of both sides. */
static fy_status sample_inputs(work *w, inputs *in) {
    FY_TRY(inputs_alloc(w, in));
    for (int k = 0; k < w->nin; k++) {
        const fy_psample *s = &w->p->sample.at[k];
        fy_rval          *to = w->user[k] >= 0 ? &in->graph[w->user[k]] : &in->extra[k];
        if (s->is_tensor && w->user[k] >= 0 && fy_dtype_class(s->t.dtype) == FY_CLASS_C) {
            FY_NEED(w->e, s->t.rank < FY_MAX_RANK, LIMIT, "input %s has rank %d", w->m->graph->in.at[w->user[k]]->name, s->t.rank);
            fy_tensor pairs = fy_tensor_pairs(&s->t);
            to->kind = FY_TENSOR;
            FY_TRY(fy_tensor_clone(&to->t, &pairs, w->e));
        } else if (s->is_tensor) { to->kind = FY_TENSOR; to->t = fy_tensor_ref(&s->t); }
        else FY_TRY(literal_tensor(w, to, &s->literal));
    }
    FY_TRY(fy_random_inputs(in->graph, w->m, w->o->seed, NULL, NULL, w->e));       /* only what is left: states */
    return share_inputs(w, in);
}

/* Made-up inputs at the sizes in w->sym; `opened` gives further symbols of the graph. */
static fy_status seeded_inputs(work *w, inputs *in, uint64_t seed, const fy_sizes *opened) {
    fy_sizes  g = {0};
    fy_status s = inputs_alloc(w, in);
    for (int64_t i = 0; s == FY_OK && opened && i < opened->n; i++)
        if (!FY_RESERVE(g, g.n + 1)) s = fy_nomem(w->e);
        else g.at[g.n++] = opened->at[i];
    for (int k = 0; s == FY_OK && k < w->nin; k++) {
        const fy_pvalue *v = w->pin[k]->value;
        if (w->user[k] < 0 || !v || v->kind != FY_PV_TENSOR || !v->has_meta) continue;
        const fy_type *t = &w->m->graph->in.at[w->user[k]]->type;
        for (int i = 0; i < t->rank && i < v->rank && s == FY_OK; i++) {
            int64_t size;
            if (t->dim[i]->kind != FY_DIM_SYM || fy_sizes_find(&g, t->dim[i]->name) >= 0 || !fy_dim_eval(v->dim[i], fy_sizes_value, &w->sym, &size)) continue;
            if (!FY_RESERVE(g, g.n + 1)) s = fy_nomem(w->e);
            else g.at[g.n++] = (fy_size){.name = t->dim[i]->name, .v = size};
        }
    }
    for (int k = 0; s == FY_OK && k < w->nin && w->p->sample.n == w->nin; k++) {   /* numbers that the program takes stay as recorded */
        const fy_psample *p = &w->p->sample.at[k];
        if (!p->is_tensor && p->literal.kind != FY_ARG_NONE) s = literal_tensor(w, w->user[k] >= 0 ? &in->graph[w->user[k]] : &in->extra[k], &p->literal);
    }
    if (s == FY_OK) s = fy_random_inputs(in->graph, w->m, seed, fy_sizes_value, &g, w->e);
    if (s == FY_OK) s = share_inputs(w, in);
    fy_free(g.at);
    if (s != FY_OK) inputs_free(w, in);
    return s;
}

static void free_tensors(fy_tensor *t, int n) {
    for (int i = 0; i < n; i++) fy_tensor_free(&t[i]);
}

/* The graph's inputs as the interpreter takes them. */
static fy_rval **pointers(const work *w, const inputs *in) {
    fy_rval **ptr = fy_calloc((size_t)w->m->graph->in.n + 1, sizeof *ptr);
    for (int64_t i = 0; ptr && i < w->m->graph->in.n; i++) ptr[i] = &in->graph[i];
    return ptr;
}

/* Looks for the first node that differs, once. */
static fy_status locate(work *w, const inputs *in) {
    if (!w->o->nodes || w->r->first_node) return FY_OK;
    fy_rval **ptr = pointers(w, in);
    FY_NOMEM(w->e, ptr);
    say(w, "looking for the first node that differs");
    fy_status s = fy_verify_first_node(&w->r->first_node, w->m, w->p, in->program, w->nin, ptr, tolerance(w), w->pool, w->e);
    fy_free(ptr);
    if (s != FY_OK && s != FY_E_NOMEM) s = set_text(&w->r->first_node, "", w->e);      /* a help, not a gate */
    return s;
}

/* A case that failed, judged by a reference that takes the model's decisions where rounding decides. For a model without state. */
static fy_status follow(work *w, const char *label, inputs *in, bool *ok) {
    fy_tensor       out[MAX_PORTS];
    fy_decisions    d = {0};
    fy_verify_case *c = NULL;
    char            text[200];
    int64_t         followed = 0;
    fy_rval       **ptr = pointers(w, in);
    fy_tensor      *state = fy_calloc((size_t)w->p->nin + 1, sizeof *state);
    fy_eval_options o = {.pool = w->pool, .ctx = &d, .state = state, .follow = fy_decisions_find, .tolerance = tolerance(w), .followed = &followed};
    fy_status       s = ptr && state ? fy_decisions_read(&d, w->m, w->p, ptr, w->pool, w->e) : fy_nomem(w->e);
    bool            made = s == FY_OK && d.first;
    if (made) s = fy_aten_eval(w->p, in->program, w->nin, out, w->nout, &o, w->e);
    made = made && s == FY_OK;
    if (made && followed) {
        fy_verify_drop_case(w->r);
        fy_free(w->tried.at[--w->tried.n].at);
        snprintf(text, sizeof text, "%.120s; in %lld nodes ties are broken as the model does", label, (long long)followed);
        s = judge_case(w, text, false, in->graph, out, state, &c);
        *ok = s == FY_OK && case_ok(c);
    } else if (s != FY_E_NOMEM) s = FY_OK;                   /* a second opinion: the case stays as it is */
    if (made) free_tensors(out, w->nout);
    if (state) free_tensors(state, w->p->nin);
    fy_decisions_free(&d);
    fy_free(state);
    fy_free(ptr);
    return s;
}

/* Reference and model on the same inputs, once; state: what the program's buffers start from and end with. */
static fy_status compare_run(work *w, const char *label, inputs *in, fy_tensor *state, bool *ok, fy_status *reference) {
    fy_tensor       out[MAX_PORTS];
    fy_verify_case *c;
    char            what[200];
    snprintf(what, sizeof what, "%.150s: reference", label);
    say(w, what);
    *reference = evaluate(w, in->program, out, state);
    if (*reference != FY_OK) return FY_OK;
    snprintf(what, sizeof what, "%.150s: model", label);
    say(w, what);
    fy_status s = judge_case(w, label, false, in->graph, out, state, &c);
    free_tensors(out, w->nout);
    *ok = s == FY_OK && case_ok(c);
    return s != FY_OK || *ok || w->m->graph->state.n ? s : follow(w, label, in, ok);
}

/* A model that keeps state is run a second time, from the state of the first, when `twice` asks for it. */
static fy_status compare_case(work *w, const char *label, inputs *in, bool twice, fy_status *reference) {
    fy_tensor *state = fy_calloc((size_t)w->p->nin + 1, sizeof *state);
    bool       ok = false, second = true;
    FY_NOMEM(w->e, state);
    fy_status s = fy_runner_start(&w->run, w->e);
    if (s == FY_OK) s = compare_run(w, label, in, state, &ok, reference);
    if (s == FY_OK && *reference == FY_OK && ok && twice && w->m->graph->state.n) {
        char      again[200];
        fy_status ref;
        snprintf(again, sizeof again, "%.150s, second run", label);
        s = compare_run(w, again, in, state, &second, &ref);
        if (s == FY_OK) s = ref;
    }
    fy_runner_stop(&w->run);
    free_tensors(state, w->p->nin);
    fy_free(state);
    if (s == FY_OK && *reference == FY_OK && !ok) s = locate(w, in);
    return s;
}

/* ---- against the program --------------------------------------------------------------------------------------------------- */

/* Did the sample say anything? Zeros or ones hide a wrong operator. */
static bool sample_is_dull(const work *w) {
    bool floats = false;
    for (int k = 0; k < w->nin; k++) {
        const fy_tensor *t = &w->p->sample.at[k].t;
        if (!w->p->sample.at[k].is_tensor || !fy_dtype_float(t->dtype)) continue;
        floats = true;
        for (int64_t i = 1, n = fy_count(t); i < n; i++)
            if (fy_get_f64(t, i) != fy_get_f64(t, 0)) return false;
    }
    return floats;
}

static bool cannot_run(fy_status s) { return s == FY_E_ATEN || s == FY_E_UNSUPPORTED || s == FY_E_TRAINING; }

/* Errors that say: the program itself does not take these inputs. */
static bool rejected(fy_status s) { return s == FY_E_VALUE || s == FY_E_SHAPE || s == FY_E_INDEX || s == FY_E_AXIS || s == FY_E_LIMIT || s == FY_E_GRAPH; }

static fy_status first_case(work *w, bool *go_on) {
    inputs    in;
    fy_status ref, s;
    bool      sample = w->p->sample.n == w->nin && w->nin;
    *go_on = true;
    if (sample) s = sample_inputs(w, &in);
    else s = seeded_inputs(w, &in, w->o->seed, NULL);
    if (s != FY_OK) { inputs_free(w, &in); return s; }
    s = compare_case(w, sample ? "sample" : "made-up inputs", &in, true, &ref);
    inputs_free(w, &in);
    if (s != FY_OK) return s;
    if (ref != FY_OK && cannot_run(ref)) {
        char text[600];
        snprintf(text, sizeof text, "everything: %.500s", w->e ? w->e->text : "the program cannot be evaluated");
        *go_on = false;
        return set_text(&w->r->unverified, text, w->e);
    }
    if (ref != FY_OK) return ref;
    if (!sample || !sample_is_dull(w)) return FY_OK;
    FY_TRY(seeded_inputs(w, &in, w->o->seed, NULL));
    s = compare_case(w, "made-up inputs", &in, false, &ref);
    inputs_free(w, &in);
    return s != FY_OK ? s : ref == FY_OK || rejected(ref) ? FY_OK : ref;
}

static fy_status other_sizes(work *w) {
    int done = 0;
    for (int k = 0; done < w->o->sizes && fy_sizes_next(&w->sym, k); k++) {
        inputs    in;
        fy_sizes  g = {0};
        char      label[200];
        fy_status ref, s = seeded_inputs(w, &in, w->o->seed + 1 + (uint64_t)k, NULL);
        if (s != FY_OK && rejected(s)) continue;
        if (s != FY_OK) return s;
        s = graph_sizes(w, &g, in.graph);
        bool any = label_of(label, sizeof label, &g);
        fy_free(g.at);
        if (s == FY_OK && any) {
            s = compare_case(w, label, &in, false, &ref);
            done += s == FY_OK && ref == FY_OK;
            if (s == FY_OK && ref != FY_OK && !rejected(ref)) s = ref;
        }
        inputs_free(w, &in);
        if (s != FY_OK || !any) return s;
        w->share = 0.4 + 0.5 * done / (w->o->sizes + 1);
    }
    for (int64_t i = 0; i < w->sym.n; i++) w->sym.at[i].v = w->sym.at[i].sample;
    return FY_OK;
}

/* ---- a frozen program, row by row -------------------------------------------------------------------------------------------- */

typedef struct batch { const char *symbol; int64_t frozen, rows; int n; const fy_axis_name *axes; } batch;

static bool opens(const batch *b, const fy_pinput *in) {
    for (int i = 0; i < b->n; i++)
        if (b->axes[i].axis == 0 && !strcmp(b->axes[i].symbol, b->symbol) && in->user_name && !strcmp(b->axes[i].input, in->user_name)) return true;
    return false;
}

/* The axis of graph output j that grows with the symbol, and how many entries a row has there; -1 if none. */
static int growing_axis(const work *w, int64_t j, const batch *b, int64_t *per_row) {
    const fy_type *t = &w->m->graph->out.at[j]->type;
    fy_size        one = {.name = b->symbol, .v = 1}, two = {.name = b->symbol, .v = 2};
    fy_sizes       s1 = {.at = &one, .n = 1}, s2 = {.at = &two, .n = 1};
    for (int i = 0; i < t->rank; i++) {
        int64_t a, c;
        if (!fy_dim_eval(t->dim[i], fy_sizes_value, &s1, &a) || !fy_dim_eval(t->dim[i], fy_sizes_value, &s2, &c) || a == c) continue;
        *per_row = c - a;
        return i;
    }
    return -1;
}

static void rows_view(fy_tensor *t, int axis, int64_t first, int64_t n) {
    if (t->data) t->data = (char *)t->data + first * t->stride[axis] * fy_elem_bytes(t->dtype);
    t->dim[axis] = n;
}

/* Copies rows [first, first + n) of src (axis 0) into dst; the rest of dst repeats the last one. */
static void take_rows(fy_tensor *dst, const fy_tensor *src, int64_t first, int64_t n) {
    for (int64_t i = 0; i < dst->dim[0]; i++) {
        fy_tensor d = *dst, s = *src;
        rows_view(&d, 0, i, 1);
        rows_view(&s, 0, first + (i < n ? i : n - 1), 1);
        fy_tensor_copy(&d, &s);
    }
}

/* The frozen program on `frozen` rows at a time; out[i] for each program output that a graph output shows. */
static fy_status eval_rows(work *w, const batch *b, const inputs *in, fy_tensor *out, fy_buf *mixed) {
    for (int64_t first = 0; first < b->rows; first += b->frozen) {
        int64_t   n = b->rows - first < b->frozen ? b->rows - first : b->frozen;
        fy_tensor part[MAX_PORTS], own[MAX_PORTS] = {{0}}, got[MAX_PORTS];
        fy_status s = FY_OK;
        for (int k = 0; k < w->nin; k++) {
            part[k] = in->program[k];
            if (s != FY_OK || !opens(b, w->pin[k]) || !part[k].rank) continue;
            int64_t dim[FY_MAX_RANK];
            memcpy(dim, part[k].dim, sizeof dim);
            dim[0] = b->frozen;
            s = fy_tensor_new(&own[k], part[k].dtype, part[k].rank, dim, w->e);
            if (s != FY_OK) continue;
            take_rows(&own[k], &in->program[k], first, n);
            part[k] = own[k];
        }
        if (s == FY_OK) s = evaluate(w, part, got, NULL);
        free_tensors(own, w->nin);
        if (s != FY_OK) return s;
        for (int64_t j = 0; j < w->m->graph->out.n && s == FY_OK; j++) {
            int     i = w->source[j];
            int64_t per = 0;
            if (i < 0) continue;
            int axis = growing_axis(w, j, b, &per);
            if (axis < 0 || axis >= got[i].rank) {           /* the same whatever the rows, or there is no oracle */
                fy_diff d = {0};
                if (out[i].dtype) fy_compare(&d, &got[i], &out[i], true);
                if (d.max_abs > 1e-6 && mixed) fy_buf_fmt(mixed, "%s%s (mixes the rows of %s)", mixed->n ? ", " : "", w->m->graph->out.at[j]->name, b->symbol);
                if (!out[i].dtype) s = fy_tensor_clone(&out[i], &got[i], w->e);
                continue;
            }
            if (!out[i].dtype) {
                int64_t dim[FY_MAX_RANK];
                memcpy(dim, got[i].dim, sizeof dim);
                dim[axis] = per * b->rows;
                s = fy_tensor_new(&out[i], got[i].dtype, got[i].rank, dim, w->e);
            }
            if (s == FY_OK && got[i].dim[axis] != per * b->frozen)
                s = fy_fail(w->e, FY_E_SHAPE, "output %s: axis %d has %lld entries for %lld rows", w->m->graph->out.at[j]->name, axis, (long long)got[i].dim[axis], (long long)b->frozen);
            if (s == FY_OK) {
                fy_tensor to = out[i], from = got[i];
                rows_view(&to, axis, first * per, n * per);
                rows_view(&from, axis, 0, n * per);
                fy_tensor_copy(&to, &from);
            }
        }
        free_tensors(got, w->nout);
        if (s != FY_OK) return s;
    }
    return FY_OK;
}

static fy_status by_sample(work *w, const batch *b, const fy_sizes *opened, fy_buf *unverified) {
    inputs    in;
    fy_tensor want[MAX_PORTS] = {{0}};
    fy_buf    mixed = {0};
    char      label[200];
    FY_TRY(seeded_inputs(w, &in, w->o->seed + 100 + (uint64_t)b->rows, opened));
    snprintf(label, sizeof label, "%.100s=%lld, row by row", b->symbol, (long long)b->rows);
    say(w, label);
    fy_status s = eval_rows(w, b, &in, want, &mixed);
    if (s == FY_OK && mixed.n) {
        if (unverified && !strstr(unverified->at ? unverified->at : "", mixed.at)) fy_buf_fmt(unverified, "%s%s", unverified->n ? ", " : "", mixed.at);
    } else if (s == FY_OK) s = judge_case(w, label, true, in.graph, want, NULL, NULL);
    free_tensors(want, w->nout);
    fy_buf_free(&mixed);
    inputs_free(w, &in);
    return s;
}

/* Axes that were frozen in the program and are open in the model: axis 0 is checked row by row; others have no oracle. */
static fy_status opened_axes(work *w, int n, const fy_axis_name *axes) {
    fy_buf    text = {0};
    fy_sizes  frozen = {0};
    fy_status s = FY_OK;
    for (int i = 0; i < n && s == FY_OK; i++) {
        for (int k = 0; k < w->nin; k++) {
            const fy_pvalue *v = w->pin[k]->value;
            int64_t          size;
            if (!v || !w->pin[k]->user_name || strcmp(w->pin[k]->user_name, axes[i].input) || axes[i].axis < 0 || axes[i].axis >= v->rank || !v->dim) continue;
            if (!fy_dim_eval(v->dim[axes[i].axis], fy_sizes_value, &w->sym, &size)) continue;
            int64_t at = fy_sizes_find(&frozen, axes[i].symbol);
            if (at < 0) {
                if (!FY_RESERVE(frozen, frozen.n + 1)) { s = fy_nomem(w->e); break; }
                frozen.at[at = frozen.n++] = (fy_size){.name = axes[i].symbol, .v = size, .sample = size};
            }
            if (axes[i].axis != 0) {
                if (!frozen.at[at].lo) fy_buf_fmt(&text, "%s%s:%d (%s)", text.n ? ", " : "", axes[i].input, axes[i].axis, axes[i].symbol);
                frozen.at[at].lo = 1;                        /* no oracle */
            }
        }
    }
    for (int64_t i = 0; i < frozen.n && s == FY_OK; i++) {
        static const int64_t sizes[] = {3, 1, 5, 2};
        fy_size             *f = &frozen.at[i];
        int                  done = 0;
        if (f->lo || f->sample < 1) continue;
        for (int k = 0; k < FY_COUNT(sizes) && done < (w->o->sizes > 0 ? w->o->sizes : 1) && s == FY_OK; k++) {
            if (sizes[k] == f->sample) continue;
            f->v = sizes[k];
            batch b = {.symbol = f->name, .frozen = f->sample, .rows = f->v, .n = n, .axes = axes};
            s = by_sample(w, &b, &frozen, &text);
            done++;
        }
        f->v = f->sample;
    }
    fy_free(frozen.at);
    if (s == FY_OK && text.n) s = text.oom ? fy_nomem(w->e) : set_text(&w->r->unverified, text.at, w->e);
    fy_buf_free(&text);
    return s;
}

/* ---- the three references -------------------------------------------------------------------------------------------------------- */

static fy_status begin(work *w, const char *reference) {
    char name[200] = "";
    w->r->tolerance = w->o->tolerance > 0 ? w->o->tolerance : 1e-4;
    FY_TRY(fy_runner_open(&w->run, w->o->engine, w->m, w->o->model_path, w->o, w->o->bf16, w->e));
    if (!w->run.engine->describe || w->run.engine->describe(name, sizeof name, NULL) != FY_OK || !*name) snprintf(name, sizeof name, "%s", w->run.engine->name);
    if (w->o->bf16) snprintf(name + strlen(name), sizeof name - strlen(name), ", precision bf16");
    FY_TRY(set_text(&w->r->engine, name, w->e));
    return set_text(&w->r->reference, reference, w->e);
}

static fy_status finish(work *w, fy_status s) {
    fy_buf b = {0};
    if (s == FY_OK) s = fy_verify_note_sizes(w->r, &b, w->tried.at, w->tried.n, w->e);
    if (s == FY_OK && !w->r->unverified) s = set_text(&w->r->unverified, "", w->e);
    if (s == FY_OK && !w->r->first_node) s = set_text(&w->r->first_node, "", w->e);
    if (s == FY_OK) fy_verify_finish(w->r);
    fy_buf_free(&b);
    fy_runner_close(&w->run);
    fy_pool_free(w->pool);
    for (int64_t i = 0; i < w->tried.n; i++) fy_free(w->tried.at[i].at);
    fy_free(w->tried.at);
    fy_free(w->sym.at);
    for (int i = 0; i < w->nrank; i++) fy_tensor_free(&w->rank[i].t);
    if (s != FY_OK) fy_verify_report_free(w->r);
    return s;
}

static const char *base_name(const char *path) {
    const char *slash = path ? strrchr(path, '/') : NULL;
    return slash ? slash + 1 : path ? path : "the program";
}

static fy_status program_cases(work *w, int nopened, const fy_axis_name *opened) {
    char reference[300];
    bool go_on;
    snprintf(reference, sizeof reference, "%.200s in double", base_name(w->p->path));
    FY_TRY(begin(w, reference));
    FY_TRY(match_ports(w));
    find_ranked(w);
    FY_TRY(find_symbols(w));
    FY_TRY(first_case(w, &go_on));
    w->share = 0.4;
    if (!go_on) return FY_OK;
    if (w->sym.n && w->o->sizes > 0) FY_TRY(other_sizes(w));
    w->share = 0.9;
    return nopened ? opened_axes(w, nopened, opened) : FY_OK;
}

fy_status fy_verify_program(fy_verify_report *r, const fy_model *m, const fy_program *p, int nopened, const fy_axis_name *opened, const fy_verify_options *o, ferry_error *e) {
    *r = (fy_verify_report){0};
    work w = {.r = r, .m = m, .p = p, .o = o, .e = e, .pool = fy_pool_new(o->threads)};
    return finish(&w, program_cases(&w, nopened, opened));
}

static fy_status recorded_case(work *w, const fy_named_list *rec, fy_rval *in, fy_rval *got, fy_rval **ptr) {
    const fy_graph *g = w->m->graph;
    fy_verify_case *c;
    char            other[24];
    int             compared = 0;
    for (int64_t i = 0; i < g->in.n; i++) {
        snprintf(other, sizeof other, "in%lld", (long long)i);
        const fy_tensor *t = fy_named_find(rec, g->in.at[i]->name);
        if (!t) t = fy_named_find(rec, other);
        FY_NEED(w->e, t || is_state(w->m, g->in.at[i]), NAME, "the recorded values lack input %s", g->in.at[i]->name);
        if (t) { in[i].kind = FY_TENSOR; in[i].t = fy_tensor_ref(t); }
        ptr[i] = &in[i];
    }
    FY_TRY(fy_random_inputs(in, w->m, w->o->seed, NULL, NULL, w->e));
    FY_TRY(fy_verify_add_case(w->r, "recorded", (int)g->out.n + 1, &c, w->e));
    say(w, "recorded: model");
    FY_TRY(fy_runner_run(&w->run, ptr, got, w->e));
    for (int64_t j = 0; j < g->out.n; j++) {
        snprintf(other, sizeof other, "out%lld", (long long)j);
        const fy_tensor *t = fy_named_find(rec, g->out.at[j]->name);
        if (!t) t = fy_named_find(rec, other);
        if (!t) FY_TRY(judge_assert(w, c, g->out.at[j], &got[j].t));
        if (!t) continue;
        fy_expect x = {.name = g->out.at[j]->name, .t = *t, .dtype = t->dtype};
        FY_TRY(fy_verify_judge(&c->out[c->nout++], &got[j].t, &x, w->o, w->e));
        compared++;
    }
    FY_NEED(w->e, compared, NAME, "the recorded values hold none of the outputs; the first is %s", g->out.n ? g->out.at[0]->name : "none");
    return FY_OK;
}

fy_status fy_verify_recorded(fy_verify_report *r, const fy_model *m, const fy_named_list *recorded, const fy_verify_options *o, ferry_error *e) {
    *r = (fy_verify_report){0};
    work      w = {.r = r, .m = m, .o = o, .e = e};
    fy_rval  *in = fy_calloc((size_t)m->graph->in.n + 1, sizeof *in), *got = fy_calloc((size_t)m->graph->out.n + 1, sizeof *got);
    fy_rval **ptr = fy_calloc((size_t)m->graph->in.n + 1, sizeof *ptr);
    fy_status s = in && got && ptr ? begin(&w, "recorded values") : fy_nomem(e);
    if (s == FY_OK) s = recorded_case(&w, recorded, in, got, ptr);
    free_values(in, m->graph->in.n);
    free_values(got, m->graph->out.n);
    fy_free(ptr);
    return finish(&w, s);
}

/* ---- against another model -------------------------------------------------------------------------------------------------------- */

/* Symbols of a size, also those that only expressions hold. */
static fy_status model_symbols_of(work *w, const fy_dim *d, int depth) {
    for (int i = 0; i < d->nargs && depth < 32; i++) FY_TRY(model_symbols_of(w, d->arg[i], depth + 1));
    if ((d->kind != FY_DIM_SYM && d->kind != FY_DIM_OPAQUE) || fy_sizes_find(&w->sym, d->name) >= 0) return FY_OK;
    int64_t lo = d->lo > 1 ? d->lo : 1, v = lo > 2 ? lo : d->hi < 2 ? d->hi : 2;
    FY_PUSH(w->e, w->sym, (fy_size){.name = d->name, .lo = lo, .hi = d->hi, .sample = v, .v = v});
    return FY_OK;
}

static fy_status model_symbols(work *w) {
    for (int64_t i = 0; i < w->m->graph->in.n; i++) {
        const fy_type *t = &w->m->graph->in.at[i]->type;
        for (int k = 0; k < t->rank; k++) FY_TRY(model_symbols_of(w, t->dim[k], 0));
    }
    return FY_OK;
}

static fy_status model_case(work *w, fy_runner *ref, const fy_model *rm, const char *label, uint64_t seed, fy_status *reference) {
    const fy_graph *g = w->m->graph, *rg = rm->graph;
    inputs          in;
    fy_rval        *out = fy_calloc((size_t)rg->out.n + 1, sizeof *out), **ptr = fy_calloc((size_t)rg->in.n + 1, sizeof *ptr);
    fy_tensor       want[MAX_PORTS] = {{0}};
    fy_poutput      none = {0};
    fy_status       s = out && ptr ? inputs_alloc(w, &in) : fy_nomem(w->e);
    *reference = FY_OK;
    if (s != FY_OK) { fy_free(out); fy_free(ptr); return s; }
    s = fy_random_inputs(in.graph, w->m, seed, fy_sizes_value, &w->sym, w->e);
    for (int64_t i = 0; i < rg->in.n && s == FY_OK; i++) {
        int64_t at = i < g->in.n ? i : -1;
        for (int64_t k = 0; k < g->in.n; k++)
            if (!strcmp(g->in.at[k]->name, rg->in.at[i]->name)) at = k;
        if (at < 0) s = fy_fail(w->e, FY_E_NAME, "the reference has an input %s that the model lacks", rg->in.at[i]->name);
        else ptr[i] = &in.graph[at];
    }
    if (s == FY_OK) *reference = fy_runner_run(ref, ptr, out, w->e);
    for (int64_t j = 0; j < g->out.n && s == FY_OK && *reference == FY_OK; j++) {
        int64_t at = j < rg->out.n ? j : -1;
        for (int64_t k = 0; k < rg->out.n; k++)
            if (!strcmp(g->out.at[j]->name, rg->out.at[k]->name)) at = k;
        w->source[j] = at < 0 ? -1 : (int)j;
        w->pout[j] = &none;
        if (at >= 0) want[j] = out[at].t;
        else s = fy_fail(w->e, FY_E_NAME, "the reference has no output %s", g->out.at[j]->name);
    }
    if (s == FY_OK && *reference == FY_OK) s = judge_case(w, label, false, in.graph, want, NULL, NULL);
    free_values(out, rg->out.n);
    fy_free(ptr);
    inputs_free(w, &in);
    return s;
}

/* Is this symbol the first axis of an input: a batch? */
static bool is_batch(const work *w, const char *name) {
    for (int64_t i = 0; i < w->m->graph->in.n; i++) {
        const fy_type *t = &w->m->graph->in.at[i]->type;
        if (t->rank > 1 && t->dim[0]->name && !strcmp(t->dim[0]->name, name)) return true;
    }
    return false;
}

/* Nothing ran at small sizes: pictures want more. Batches stay small; the others are not equal, and where that does not run, they are. */
static bool larger_sizes(work *w, int k) {
    static const int64_t size[] = {32, 48, 64, 16, 128, 224, 512};
    if (k >= 2 * FY_COUNT(size)) return false;
    for (int64_t i = 0, nth = 0; i < w->sym.n; i++) {
        fy_size *s = &w->sym.at[i];
        bool first = is_batch(w, s->name);
        int64_t v = k % 2 || first ? size[k / 2] : size[k / 2] * (1 + nth++ % 3);
        s->v = first || v < s->lo || v > s->hi ? s->sample : v;
    }
    return true;
}

static fy_status model_cases(work *w, fy_runner *ref, const fy_model *rm) {
    fy_status reference;
    char      label[200];
    FY_NEED(w->e, w->m->graph->in.n <= MAX_PORTS && w->m->graph->out.n <= MAX_PORTS, LIMIT, "more than %d inputs or outputs", MAX_PORTS);
    FY_TRY(model_symbols(w));
    if (!label_of(label, sizeof label, &w->sym)) snprintf(label, sizeof label, "made-up inputs");
    FY_TRY(model_case(w, ref, rm, label, w->o->seed, &reference));
    int done = reference == FY_OK;
    if (reference != FY_OK && (!rejected(reference) || !w->sym.n)) return reference;
    for (int k = 0; done < w->o->sizes + 1 && fy_sizes_next(&w->sym, k); k++) {
        label_of(label, sizeof label, &w->sym);
        say(w, label);
        FY_TRY(model_case(w, ref, rm, label, w->o->seed + 1 + (uint64_t)k, &reference));
        if (reference == FY_OK) done++;
        else if (!rejected(reference)) return reference;
    }
    for (int k = 0; !done && larger_sizes(w, k); k++) {
        label_of(label, sizeof label, &w->sym);
        say(w, label);
        FY_TRY(model_case(w, ref, rm, label, w->o->seed + 1 + (uint64_t)k, &reference));
        if (reference == FY_OK) done++;
        else if (!rejected(reference)) return reference;
    }
    FY_NEED(w->e, done, SHAPE, "the reference runs at none of the sizes tried");
    return FY_OK;
}

fy_status fy_verify_model(fy_verify_report *r, const fy_model *m, const fy_model *ref, const fy_engine *ref_engine, const fy_verify_options *o, ferry_error *e) {
    *r = (fy_verify_report){0};
    work      w = {.r = r, .m = m, .o = o, .e = e};
    fy_runner rr = {0};
    const char *slash = o->ref_path ? strrchr(o->ref_path, '/') : NULL;
    fy_status s = begin(&w, slash ? slash + 1 : o->ref_path ? o->ref_path : "another model");
    if (s == FY_OK) s = fy_runner_open(&rr, ref_engine, ref, o->ref_path, o, false, e);
    if (s == FY_OK) s = model_cases(&w, &rr, ref);
    fy_runner_close(&rr);
    return finish(&w, s);
}
