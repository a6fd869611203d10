/* SPDX-License-Identifier: Apache-2.0
 * build.c - the list of steps: an implementation for each node, nodes taken into the step before them, layouts, conversions between
 * layouts where a reader wants another than the maker gives, and what each value is needed for. */
#include "plan/plan.h"

#include "base/checked.h"

#include <string.h>

int64_t fy_layout_count(fy_layout l, int rank, const int64_t *dim) {
    int64_t n = 1;
    for (int i = 0; i < rank; i++) n *= l == FY_C16 && i == 1 ? (dim[i] + FY_LANES - 1) / FY_LANES * FY_LANES : dim[i];
    return n;
}

typedef struct build {
    fy_plan     *p;
    fy_model    *m;
    fy_map       by_op;                  /* operator -> index of its first implementation + 1, as a list through `next` */
    int         *next, nimpl;
    bool        *taken;                  /* by node id: inside another node's step */
    struct covered { const fy_impl *impl; const fy_cover *cover; } *covered;       /* by node id */
    FY_VEC(const fy_dim *) bound;        /* symbols that the sizes of the inputs tell */
    uint32_t     room;
    ferry_error *e;
} build;

/* ---- choosing ------------------------------------------------------------------------------------------------------------ */

static fy_status index_impls(build *b) {
    const fy_impl *const *t = b->p->o.impl;
    while (t && t[b->nimpl]) b->nimpl++;
    b->next = FY_NEWN(&b->p->arena, int, b->nimpl + 1);
    FY_NOMEM(b->e, b->next);
    for (int i = b->nimpl - 1; i >= 0; i--) {
        intptr_t rest = (intptr_t)fy_map_gets(&b->by_op, t[i]->op);
        b->next[i] = (int)rest;
        FY_NOMEM(b->e, fy_map_puts(&b->by_op, t[i]->op, (void *)(intptr_t)(i + 1)));
    }
    return FY_OK;
}

static bool plain_tensor(const fy_value *v) { return !v || (v->type.kind == FY_TENSOR && v->type.rank >= 0 && v->type.dtype && v->type.dtype != FERRY_STRING); }

/* Implementations know the operators of this build; one that a program has put in the place of a built-in is run as it says. */
static bool builtin(const fy_node *n) { return n->op == fy_op_find(fy_registry_builtin(), n->op->domain, n->op->name); }

static bool plain_tensors(const fy_node *n) {
    bool all = true;
    for (int i = 0; i < n->nin; i++) all &= plain_tensor(n->in[i].value);
    for (int i = 0; i < n->nout; i++) all &= plain_tensor(n->out[i]);
    return all;
}

static const fy_impl *choose(build *b, const fy_site *s) {
    const fy_node *n = s->node;
    if (!builtin(n) || !plain_tensors(n)) return &fy_impl_reference;
    for (int i = (int)(intptr_t)fy_map_gets(&b->by_op, n->op->name); i; i = b->next[i - 1]) {
        const fy_impl *t = b->p->o.impl[i - 1];
        if (!strcmp(t->domain ? t->domain : "", n->op->domain) && !(t->can && t->can(s))) return t;
    }
    return &fy_impl_reference;
}

/* The site as it was: layouts of values stay what they were when their readers were added. */
fy_status fy_plan_reasons(const fy_plan *p, const fy_step *s, void (*tell)(void *ctx, const fy_impl *t, const char *why), void *ctx, ferry_error *e) {
    const fy_node *n = s->node;
    fy_arena a = {0};
    fy_layout *as = FY_NEWN(&a, fy_layout, n ? n->nin + 1 : 1);
    FY_NOMEM(e, as);
    for (int i = 0; n && i < n->nin; i++) as[i] = n->in[i].value ? p->layout[n->in[i].value->id] : FY_PLAIN;
    fy_site site = {.node = n, .k = p->o.kernels, .exact = p->o.exact, .lean = p->lean, .bf16 = p->o.bf16, .sized = s->sized, .layout = as};
    for (int i = 0; n && p->o.impl && p->o.impl[i]; i++) {
        const fy_impl *t = p->o.impl[i];
        if (strcmp(t->op, n->op->name) || strcmp(t->domain ? t->domain : "", n->op->domain)) continue;
        tell(ctx, t, !builtin(n) ? "the operator is a plugin's" : !plain_tensors(n) ? "strings, sequences, or a type or rank that is not known" : t->can ? t->can(&site) : NULL);
    }
    if (n) tell(ctx, &fy_impl_reference, NULL);
    fy_arena_free(&a);
    return FY_OK;
}

/* ---- sizes that the inputs tell -------------------------------------------------------------------------------------------- */

typedef struct symbols { const build *b; const fy_dim *only; bool many, unbound; int64_t v; } symbols;

static bool is_bound(const build *b, const fy_dim *sym) {
    for (int64_t i = 0; i < b->bound.n; i++)
        if (b->bound.at[i] == sym) return true;
    return false;
}

static bool look(void *ctx, const fy_dim *sym, int64_t *v) {
    symbols *s = ctx;
    s->many |= s->only && s->only != sym;
    s->only = sym;
    s->unbound |= !is_bound(s->b, sym);
    *v = s->v;
    return true;
}

/* spec.c solves linear expressions of one symbol. */
static fy_status bind_symbols(build *b) {
    for (int64_t i = 0; i < b->m->graph->in.n; i++) {
        const fy_type *t = &b->m->graph->in.at[i]->type;
        for (int k = 0; t->kind == FY_TENSOR && k < t->rank; k++) {
            int64_t at[3];
            symbols s = {.b = b};
            bool ok = true;
            for (s.v = 0; s.v < 3; s.v++) ok = ok && fy_dim_eval(t->dim[k], look, &s, &at[s.v]);
            if (ok && s.only && !s.many && at[1] != at[0] && at[2] - at[1] == at[1] - at[0] && !is_bound(b, s.only)) FY_PUSH(b->e, b->bound, s.only);
        }
    }
    return FY_OK;
}

static bool sized_value(const build *b, const fy_value *v) {
    if (!v || v->constant) return true;
    if (v->type.kind != FY_TENSOR || v->type.rank < 0) return false;
    symbols s = {.b = b, .v = 1};
    int64_t x;
    for (int i = 0; i < v->type.rank; i++) (void)fy_dim_eval(v->type.dim[i], look, &s, &x);
    return !s.unbound;
}

static bool sized(const build *b, const fy_node *n) {
    for (int i = 0; i < n->nin; i++)
        if (!sized_value(b, n->in[i].value)) return false;
    for (int i = 0; i < n->nout; i++)
        if (!sized_value(b, n->out[i])) return false;
    return true;
}

/* ---- nodes before a node that its step computes as well -------------------------------------------------------------------- */

/* In the graph's order, and none of them another step's. */
static bool cover_ready(const build *b, fy_cover *c, const int *place) {
    for (int i = 0; i < c->n; i++)
        if (!builtin(c->node[i]) || b->taken[c->node[i]->id] || b->covered[c->node[i]->id].impl) return false;
    for (int i = 1; i < c->n; i++)
        for (int k = i; k && place[c->node[k - 1]->id] > place[c->node[k]->id]; k--) {
            const fy_node *n = c->node[k];
            c->node[k] = c->node[k - 1];
            c->node[k - 1] = n;
        }
    return true;
}

/* Layouts other than the plain one need sizes that the inputs tell, inside a step as well. */
static bool cover_sized(const build *b, const fy_cover *c) {
    bool all = c->sized;
    for (int i = 0; i < c->n; i++) all = all && sized(b, c->node[i]);
    return all;
}

static fy_status cover_nodes(build *b) {
    fy_arena *a = &b->p->arena;
    int *place = fy_malloc((size_t)b->m->nnodes + 1, sizeof *place), at = 0;
    FY_NOMEM(b->e, place);
    for (const fy_node *n = b->m->graph->first; n; n = n->next) place[n->id] = at++;
    fy_cover *c = NULL;
    bool oom = false;
    for (const fy_node *n = b->m->graph->last; n && !oom; n = n->prev)       /* the last first: it covers more */
        for (int i = b->taken[n->id] ? 0 : (int)(intptr_t)fy_map_gets(&b->by_op, n->op->name); i && !oom; i = b->next[i - 1]) {
            const fy_impl *t = b->p->o.impl[i - 1];
            if (!t->cover || !builtin(n) || strcmp(t->domain ? t->domain : "", n->op->domain)) continue;
            if (!c && !(c = FY_NEW(a, fy_cover))) { oom = true; break; }
            *c = (fy_cover){.sized = sized(b, n), .exact = b->p->o.exact};
            if (!t->cover(n, c, a) || !cover_ready(b, c, place)) continue;
            if (t->layouts && !cover_sized(b, c)) continue;
            for (int k = 0; k < c->n; k++) b->taken[c->node[k]->id] = true;
            b->covered[n->id] = (struct covered){t, c};
            c = NULL;
            break;
        }
    fy_free(place);
    FY_NOMEM(b->e, !oom);
    return FY_OK;
}

/* ---- steps --------------------------------------------------------------------------------------------------------------- */

static bool grow(build *b) {
    if (b->m->nvalues <= b->room) return true;
    uint32_t room = b->m->nvalues + b->m->nvalues / 2 + 64;
    fy_layout *l = FY_NEWN(&b->p->arena, fy_layout, room);
    fy_value **c = FY_NEWN(&b->p->arena, fy_value *, room);
    if (!l || !c) return false;
    if (b->room) {
        memcpy(l, b->p->layout, b->room * sizeof *l);
        memcpy(c, b->p->converted, b->room * sizeof *c);
    }
    b->p->layout = l;
    b->p->converted = c;
    b->room = room;
    return true;
}

static fy_step *new_step(build *b, const fy_impl *impl, const fy_node *n, int nin, int nout) {
    fy_arena *a = &b->p->arena;
    fy_step *s = FY_NEW(a, fy_step);
    if (!s) return NULL;
    *s = (fy_step){.impl = impl, .node = n, .nin = nin, .nout = nout, .bias_in = -1, .add_in = -1};
    s->in = FY_NEWN(a, const fy_value *, nin + FY_STEP_FUSED);
    s->in_layout = FY_NEWN(a, fy_layout, nin + FY_STEP_FUSED);
    s->out = FY_NEWN(a, const fy_value *, nout);
    return s->in && s->in_layout && s->out ? s : NULL;
}

static fy_status push(build *b, fy_step *s) {
    s->index = (int)b->p->steps.n;
    FY_PUSH(b->e, b->p->steps, s);
    return FY_OK;
}

static fy_status push_reorder(build *b, const fy_value *from, const fy_value *to) {
    fy_step *s = new_step(b, &fy_impl_reorder, NULL, 1, 1);
    FY_NOMEM(b->e, s);
    s->in[0] = from;
    s->in_layout[0] = b->p->layout[from->id];
    s->out[0] = to;
    s->out_layout = b->p->layout[to->id];
    return push(b, s);
}

/* The value in the layout that a reader wants: itself, or what a conversion makes of it. */
static fy_status in_layout(build *b, const fy_value **v, fy_layout want) {
    const fy_value *x = *v;
    if (!x || b->p->layout[x->id] == want) return FY_OK;
    if (!b->p->converted[x->id]) {
        fy_value *y = fy_value_new(x->graph, NULL);
        FY_NOMEM(b->e, y && grow(b));
        y->type = x->type;
        b->p->layout[y->id] = want;
        b->p->converted[x->id] = y;
        FY_TRY(push_reorder(b, x, y));
    }
    *v = b->p->converted[x->id];
    return FY_OK;
}

/* The one reader of the step's result, if it may become part of the step. */
static const fy_node *only_reader(const build *b, const fy_step *s) {
    const fy_value *y = s->out[0];
    if (s->nout != 1 || !y || y->nuses != 1 || y->is_output || !y->uses->user || y->uses->capture) return NULL;
    const fy_node *n = y->uses->user;
    return n->graph == b->m->graph && n->nout == 1 && n->out[0] && !b->taken[n->id] && builtin(n) ? n : NULL;
}

/* Is v there when the step runs? Values made later than the step's place are not. */
static bool ready(const build *b, const fy_value *v) { return v->constant || !v->def || b->p->made[v->id]; }

static void fuse(build *b, fy_step *s) {
    const fy_node *n;
    while (s->impl->fuse && s->nfused < FY_STEP_FUSED && (n = only_reader(b, s))) {
        const fy_value *other = NULL;
        bool late = false;
        for (int i = 0; i < n->nin; i++) late |= n->in[i].value && n->in[i].value != s->out[0] && !ready(b, n->in[i].value);
        if (late || !s->impl->fuse(s, n, &other)) return;
        b->taken[n->id] = true;
        s->fused[s->nfused++] = n;
        s->out[0] = n->out[0];
        if (other) s->in[s->nin++] = other;
    }
}

/* Is v read by somebody who knows nothing of layouts: the caller, a body, the next run? */
static bool read_plainly(const build *b, const fy_value *v) {
    if (v->is_output) return true;
    for (const fy_use *u = v->uses; u; u = u->next)
        if (u->capture || !u->user || u->user->graph != v->graph) return true;
    for (int64_t i = 0; i < b->m->graph->state.n; i++)
        if (b->m->graph->state.at[i].out == v) return true;
    return false;
}

/* A step with blocked results. One that others want plain is made under another name, then converted. */
static fy_status push_blocked(build *b, fy_step *s) {
    int n = s->impl->flags & FY_IMPL_ALIKE ? s->nout : 1;
    const fy_value **plain = FY_NEWN(&b->p->arena, const fy_value *, n);
    FY_NOMEM(b->e, plain);
    for (int i = 0; i < n; i++) {
        const fy_value *y = s->out[i];
        if (!y) continue;
        if (read_plainly(b, y)) {
            fy_value *own = fy_value_new(b->m->graph, NULL);
            FY_NOMEM(b->e, own && grow(b));
            own->type = y->type;
            b->p->layout[y->id] = FY_PLAIN;
            b->p->converted[y->id] = own;
            s->out[i] = own;
            plain[i] = y;
        }
        b->p->layout[s->out[i]->id] = FY_C16;
    }
    FY_TRY(push(b, s));
    for (int i = 0; i < n; i++)
        if (plain[i]) FY_TRY(push_reorder(b, s->out[i], plain[i]));
    return FY_OK;
}

/* A node that owns graphs: what they read from around them are further inputs of its step, plain as all that bodies see. */
static fy_status add_owner(build *b, const fy_node *n) {
    fy_step *s = new_step(b, &fy_impl_reference, n, n->nin + n->ncap, n->nout);
    const fy_value **capture = FY_NEWN(&b->p->arena, const fy_value *, n->ncap + 1);
    FY_NOMEM(b->e, s && capture && grow(b));
    s->nin = n->nin;
    for (int i = 0; i < n->nin; i++) s->in[i] = n->in[i].value;
    for (int i = 0; i < n->ncap; i++) {
        const fy_value *v = n->cap[i]->value;
        if (v->constant && !v->is_input) continue;
        capture[s->nin - n->nin] = v;
        s->in[s->nin++] = v;
    }
    for (int i = 0; i < s->nin; i++) FY_TRY(in_layout(b, &s->in[i], FY_PLAIN));
    for (int i = 0; i < n->nout; i++) {
        s->out[i] = n->out[i];
        if (n->out[i]) b->p->made[n->out[i]->id] = true;
    }
    FY_TRY(fy_bodies_new(b->p, s, n->nin, capture, b->e));
    return push(b, s);
}

static fy_status add_node(build *b, const fy_node *n) {
    if (fy_node_body(n, 0)) return add_owner(b, n);
    const fy_impl *covering = b->covered[n->id].impl;
    const fy_cover *c = covering ? b->covered[n->id].cover : NULL;
    int nin = c ? c->nin : n->nin;
    fy_layout *in = FY_NEWN(&b->p->arena, fy_layout, nin + FY_STEP_FUSED), out = FY_PLAIN, given[FY_COVER], *as = nin <= FY_COVER ? given : FY_NEWN(&b->p->arena, fy_layout, nin);
    FY_NOMEM(b->e, in && as && grow(b));
    for (int i = 0; i < nin; i++) {
        const fy_value *v = c ? c->in[i] : n->in[i].value;
        as[i] = v ? b->p->layout[v->id] : FY_PLAIN;
    }
    fy_site site = {.node = n, .k = b->p->o.kernels, .exact = b->p->o.exact, .lean = b->p->lean, .bf16 = b->p->o.bf16, .sized = sized(b, n), .layout = as, .cover = c};
    for (int i = 0; c && i < c->n; i++) site.sized = site.sized && sized(b, c->node[i]);
    fy_step *s = new_step(b, covering ? covering : choose(b, &site), n, nin, n->nout);
    FY_NOMEM(b->e, s);
    s->sized = site.sized;
    s->cover = c;
    s->data = c ? c->data : NULL;
    if (s->impl->layouts) s->impl->layouts(&site, in, &out);
    for (int i = 0; i < nin; i++) s->in[i] = c ? c->in[i] : n->in[i].value;
    for (int i = 0; i < n->nout; i++) s->out[i] = n->out[i];
    fuse(b, s);
    for (int i = nin; i < s->nin; i++) in[i] = out;                    /* what an epilogue adds has the result's layout */
    if (s->bias_in >= nin) in[s->bias_in] = FY_PLAIN;
    for (int i = 0; i < s->nin; i++) FY_TRY(in_layout(b, &s->in[i], in[i]));
    memcpy(s->in_layout, in, (size_t)s->nin * sizeof *in);
    s->out_layout = out;
    for (int i = 0; i < s->nout; i++)
        if (s->out[i]) b->p->made[s->out[i]->id] = true;
    if (out == FY_C16) return push_blocked(b, s);
    if (s->nout && s->out[0]) b->p->layout[s->out[0]->id] = out;
    return push(b, s);
}

/* ---- the whole ----------------------------------------------------------------------------------------------------------- */

static fy_status last_uses(build *b) {
    fy_plan *p = b->p;
    p->nvalues = b->m->nvalues;
    p->last = FY_NEWN(&p->arena, int, p->nvalues);
    FY_NOMEM(b->e, p->last);
    for (uint32_t i = 0; i < p->nvalues; i++) p->last[i] = -1;
    for (int64_t i = 0; i < p->steps.n; i++) {
        const fy_step *s = p->steps.at[i];
        for (int k = 0; k < s->nin; k++)
            if (s->in[k]) p->last[s->in[k]->id] = (int)i;
    }
    for (int64_t i = 0; i < b->m->graph->out.n; i++) p->last[b->m->graph->out.at[i]->id] = INT32_MAX;
    for (int64_t i = 0; i < b->m->graph->state.n; i++)
        if (b->m->graph->state.at[i].out) p->last[b->m->graph->state.at[i].out->id] = INT32_MAX;
    return FY_OK;
}

/* Those that all their readers only copy from stay where the file has them, even where no float could be read. */
static bool *copied_from(build *b) {
    fy_plan *p = b->p;
    bool *only = FY_NEWN(&p->arena, bool, p->nvalues + 1);
    for (uint32_t i = 0; only && i < p->nvalues; i++) only[i] = p->last[i] != INT32_MAX;
    for (int64_t i = 0; only && i < p->steps.n; i++) {
        const fy_step *s = p->steps.at[i];
        for (int k = 0; k < s->nin; k++)
            if (s->in[k] && (k || !(s->impl->flags & FY_IMPL_BYTES))) only[s->in[k]->id] = false;
        for (int k = 0; s->node && k < s->node->ncap; k++) only[s->node->cap[k]->value->id] = false;
    }
    return only;
}

/* Constants that steps still read after they have packed theirs. */
static fy_status constants(build *b) {
    fy_plan *p = b->p;
    p->constant = fy_calloc(p->nvalues + 1, sizeof *p->constant);
    bool *only = copied_from(b);
    FY_NOMEM(b->e, p->constant && only);
    for (int64_t i = 0; i < b->m->graph->constants.n; i++) {
        const fy_value *v = b->m->graph->constants.at[i];
        if (!v->constant || p->last[v->id] < 0) continue;
        p->constant[v->id].kind = FY_TENSOR;
        union { const void *in; void *out; } at = {only[v->id] && fy_dtype_bits(v->constant->dtype) >= 8 ? fy_const_direct(v->constant) : NULL};
        if (at.in) p->constant[v->id].t = fy_tensor_view(v->constant->dtype, v->constant->rank, v->constant->dim, at.out);
        else FY_TRY(fy_const_tensor(&p->constant[v->id].t, v->constant, b->e));
    }
    return FY_OK;
}

static fy_status all(build *b) {
    fy_plan *p = b->p;
    uint32_t nvalues = b->m->nvalues;
    FY_NOMEM(b->e, grow(b));
    b->taken = FY_NEWN(&p->arena, bool, b->m->nnodes + 1);
    p->made = FY_NEWN(&p->arena, bool, (int64_t)nvalues * 2 + 64);
    b->covered = FY_NEWN(&p->arena, struct covered, b->m->nnodes + 1);
    FY_NOMEM(b->e, b->taken && p->made && b->covered);
    FY_TRY(index_impls(b));
    FY_TRY(bind_symbols(b));
    FY_TRY(cover_nodes(b));
    for (const fy_node *n = b->m->graph->first; n; n = n->next)
        if (!b->taken[n->id]) FY_TRY(add_node(b, n));
    fy_packed_open(p);
    for (int64_t i = 0; i < p->steps.n; i++) {
        fy_step *s = p->steps.at[i];
        fy_status st = s->impl->prepare ? s->impl->prepare(s, p, &p->arena, b->e) : FY_OK;
        if (st) {
            char where[180] = "";
            if (s->node) fy_node_describe(where, sizeof where, s->node);
            return fy_frame(b->e, st, "%s", where);
        }
    }
    fy_packed_save(p, b->p->o.lean);
    FY_TRY(last_uses(b));
    FY_TRY(constants(b));
    return fy_spec_cache_new(p, b->e);
}

static fy_status plan_new(fy_plan **out, fy_model *m, const fy_plan_options *o, bool inner, ferry_error *e) {
    fy_plan *p = fy_calloc(1, sizeof *p);
    *out = NULL;
    FY_NOMEM(e, p);
    p->m = m;
    p->inner = inner;
    p->o = *o;
    p->lean = o->lean && !(o->cache && *o->cache);
    build b = {.p = p, .m = m, .e = e};
    fy_status s = all(&b);
    fy_map_free(&b.by_op);
    fy_free(b.bound.at);
    if (s) fy_plan_free(p);
    else *out = p;
    return s;
}

fy_status fy_plan_new(fy_plan **out, fy_model *m, const fy_plan_options *o, ferry_error *e) { return plan_new(out, m, o, false, e); }

fy_status fy_plan_new_inner(fy_plan **out, fy_model *m, const fy_plan_options *o, ferry_error *e) { return plan_new(out, m, o, true, e); }

void fy_plan_free(fy_plan *p) {
    if (!p) return;
    fy_bodies_free(p);
    fy_spec_cache_free(p);
    for (uint32_t i = 0; p->constant && i < p->nvalues; i++) fy_rval_free(&p->constant[i]);
    fy_free(p->constant);
    fy_free(p->steps.at);
    fy_packed_free(&p->packed);
    fy_arena_free(&p->arena);
    fy_free(p);
}
