/* SPDX-License-Identifier: Apache-2.0
 * spec.c - sizes and buffer offsets for one combination of input sizes, and the bounded cache of them.
 *
 * Sizes are expressions over the symbols of the inputs: those are bound and the expressions evaluated. Inference is then run again on the real
 * sizes, so that what does not fit is refused here and kernels need not look. What depends on contents (an opaque size) stays unknown, and the
 * step that makes it runs as the interpreter would. Offsets: place.c. */
#include "plan/plan.h"

#include "base/checked.h"

#include <pthread.h>
#include <string.h>

#define KEPT 1024                        /* specialisations at most */
#define KEPT_BYTES ((size_t)32 << 20)    /* that they take together, about */
#define BUCKETS 256

typedef struct entry { fy_spec spec; int readers; uint64_t hash; struct entry *next; } entry;
struct fy_spec_cache { pthread_mutex_t lock; entry *first[BUCKETS]; int n; size_t bytes; int64_t nkey; uint64_t clock; };

fy_status fy_spec_cache_new(fy_plan *p, ferry_error *e) {
    struct fy_spec_cache *c = fy_calloc(1, sizeof *c);
    FY_NOMEM(e, c);
    pthread_mutex_init(&c->lock, NULL);
    for (int64_t i = 0; i < p->m->graph->in.n; i++) {
        const fy_type *t = &p->m->graph->in.at[i]->type;
        c->nkey += 1 + (t->kind == FY_TENSOR && t->rank > 0 ? t->rank : FY_MAX_RANK);
    }
    p->cache = c;
    return FY_OK;
}

static void entry_free(entry *x) {
    fy_bounds_free(&x->spec.bounds);
    fy_arena_free(&x->spec.arena);
    fy_free(x);
}

void fy_spec_cache_free(fy_plan *p) {
    if (!p->cache) return;
    for (int i = 0; i < BUCKETS; i++)
        for (entry *x = p->cache->first[i], *next; x; x = next) {
            next = x->next;
            entry_free(x);
        }
    pthread_mutex_destroy(&p->cache->lock);
    fy_free(p->cache);
}

/* ---- sizes --------------------------------------------------------------------------------------------------------------- */

typedef struct making {
    const fy_plan *p;
    fy_spec       *s;
    fy_rval *const *in;
    fy_run_dims    sizes;
    ferry_error   *e;
} making;

static fy_status bind_input(making *k, const fy_value *v, const fy_tensor *t) {
    const fy_type *ty = &v->type;
    if (ty->kind != FY_TENSOR || ty->rank < 0) return FY_OK;
    FY_NEED(k->e, ty->rank == t->rank, SHAPE, "input \"%.80s\" has rank %d, not %d", v->name, ty->rank, t->rank);
    for (int i = 0; i < ty->rank; i++) {
        int64_t want;
        if (ty->dim[i]->kind != FY_DIM_SYM || fy_bounds_get(&k->s->bounds, ty->dim[i], &want)) continue;
        FY_NOMEM(k->e, fy_bounds_put(&k->s->bounds, ty->dim[i], t->dim[i]));
    }
    return FY_OK;
}

static fy_status check_input(making *k, const fy_value *v, const fy_tensor *t) {
    const fy_type *ty = &v->type;
    for (int i = 0; ty->kind == FY_TENSOR && i < ty->rank; i++) {
        int64_t want;
        if (!fy_dim_eval(ty->dim[i], fy_bounds_get, &k->s->bounds, &want) || want == t->dim[i]) continue;
        fy_buf text = {0};
        fy_dim_print(&text, ty->dim[i]);
        fy_status s = fy_fail(k->e, FY_E_SHAPE, "input \"%.80s\": size %lld on axis %d instead of %lld (%.80s)", v->name, (long long)t->dim[i], i, (long long)want, text.oom ? "" : text.at);
        fy_buf_free(&text);
        return s;
    }
    return FY_OK;
}

/* Sizes of one value, or nothing where one of them is not known. */
static fy_status size_of(making *k, const fy_value *v) {
    int64_t dim[FY_MAX_RANK];
    const fy_type *t = &v->type;
    if (t->kind != FY_TENSOR || t->rank < 0 || t->rank > FY_MAX_RANK || !t->dtype || t->dtype == FERRY_STRING || k->s->dim[v->id]) return FY_OK;
    for (int i = 0; i < t->rank; i++) {
        if (!fy_dim_eval(t->dim[i], fy_bounds_get, &k->s->bounds, &dim[i])) return FY_OK;
        FY_NEED(k->e, dim[i] >= 0, SHAPE, "a size would be %lld", (long long)dim[i]);
    }
    k->s->dim[v->id] = fy_arena_copy(&k->s->arena, dim, (size_t)t->rank, sizeof *dim);
    FY_NOMEM(k->e, k->s->dim[v->id]);
    return FY_OK;
}

/* Contents that follow from the sizes: shape arithmetic needs no running. */
static fy_status fix(making *k, const fy_value *v) {
    if (!v->elem || v->constant || (v->type.dtype != FERRY_INT64 && v->type.dtype != FERRY_INT32) || !k->s->dim[v->id]) return FY_OK;
    int64_t count = 1, x[FY_MAX_ELEM];
    for (int i = 0; i < v->type.rank; i++) count *= k->s->dim[v->id][i];
    if (count != v->nelem) return FY_OK;
    for (int64_t i = 0; i < count; i++)
        if (!fy_dim_eval(v->elem[i], fy_bounds_get, &k->s->bounds, &x[i])) return FY_OK;
    char *data = fy_arena_alloc(&k->s->arena, (size_t)count + 1, sizeof(int64_t));
    FY_NOMEM(k->e, data);
    fy_rval *f = FY_NEW(&k->s->arena, fy_rval);
    FY_NOMEM(k->e, f);
    k->s->fixed[v->id] = f;
    f->t = fy_tensor_view(v->type.dtype, v->type.rank, k->s->dim[v->id], data);
    fy_store_i64(&f->t, 0, count, x);
    f->kind = FY_TENSOR;
    return FY_OK;
}

/* A value as far as it is known before the run: sizes, and contents that are constant or follow from the sizes. */
static fy_status real(making *k, const fy_value *v, fy_rval *r) {
    *r = (fy_rval){.kind = FY_TENSOR};
    if (k->s->fixed[v->id]) *r = *k->s->fixed[v->id];
    else if (v->constant && v->constant->count <= FY_MAX_ELEM) return fy_const_tensor(&r->t, v->constant, k->e);
    else r->t = fy_tensor_view(v->type.dtype, v->type.rank, k->s->dim[v->id], NULL);
    return FY_OK;
}

/* Does inference on the real sizes give what the expressions say? *known: it gives all of it. */
static fy_status check_output(making *k, const fy_node *n, int i, const fy_fact *f, bool *known) {
    const fy_value *v = n->out[i];
    int64_t now;
    *known &= f->type.kind == FY_TENSOR && f->type.dtype == v->type.dtype && f->type.rank == v->type.rank;
    for (int d = 0; *known && d < v->type.rank; d++) {
        *known = fy_dim_known(f->type.dim[d], &now);
        FY_NEED(k->e, !*known || now == k->s->dim[v->id][d], INTERNAL, "output %d has size %lld on axis %d, the plan says %lld", i, (long long)now, d, (long long)k->s->dim[v->id][d]);
    }
    return FY_OK;
}

static fy_status infer_real(making *k, const fy_node *n, fy_arena *a, bool *known) {
    fy_rval *at = FY_NEWN(a, fy_rval, n->nin), **in = FY_NEWN(a, fy_rval *, n->nin);
    fy_fact *out = NULL;
    FY_NOMEM(k->e, at && in);
    fy_status s = FY_OK;
    for (int i = 0; !s && i < n->nin; i++) {
        const fy_value *v = n->in[i].value;
        if (v) s = real(k, v, in[i] = &at[i]);
    }
    if (!s) s = fy_infer_real(&out, &k->sizes, n, n->nin, in, n->nout, a, k->e);
    for (int i = 0; !s && i < n->nout; i++)
        if (n->out[i]) s = check_output(k, n, i, &out[i], known);
    if (s) fy_frame_inputs(k->e, s, n, n->nin, in);
    for (int i = 0; i < n->nin; i++)
        if (in[i] && in[i]->t.own) fy_rval_free(in[i]);
    return s;
}

static bool empty(const making *k, const fy_value *v) {
    for (int i = 0; k->s->dim[v->id] && i < v->type.rank; i++)
        if (!k->s->dim[v->id][i]) return true;
    return false;
}

/* Sizes of what a node makes; *known: all that it reads and makes has its sizes, and inference says the same. */
static fy_status node_sizes(making *k, const fy_node *n, bool *known) {
    bool all = n->op->infer && !(n->op->flags & FY_CONTROL);
    for (int i = 0; i < n->nin; i++)
        if (n->in[i].value) all &= k->s->dim[n->in[i].value->id] != NULL;
    for (int i = 0; i < n->nout; i++) {
        if (!n->out[i]) continue;
        FY_TRY(size_of(k, n->out[i]));
        if (n->op->flags & FY_CONTROL && empty(k, n->out[i])) k->s->dim[n->out[i]->id] = NULL;        /* a body that never ran made it: its sizes are not what they would be */
        FY_TRY(fix(k, n->out[i]));
        all &= k->s->dim[n->out[i]->id] != NULL;
    }
    if (all) {
        fy_arena a = {0};
        fy_status s = infer_real(k, n, &a, &all);
        fy_arena_free(&a);
        FY_TRY(s);
    }
    *known &= all;
    return FY_OK;
}

static fy_status largest(making *k, const fy_value *v) {
    int64_t n, most = INT64_MAX;
    if (!k->s->dim[v->id]) return FY_OK;
    if (fy_count_dims(&n, v->type.rank, k->s->dim[v->id])) (void)fy_mul_i64(&most, n, fy_elem_bytes(v->type.dtype));
    if (most > k->s->most) {
        k->s->most = most;
        k->s->largest = v;
    }
    return FY_OK;
}

static fy_status sizes(making *k) {
    const fy_plan *p = k->p;
    const fy_graph *g = p->m->graph;
    fy_spec *s = k->s;
    bool fits;
    for (int64_t i = 0; i < g->in.n; i++)
        if (k->in[i] && k->in[i]->kind == FY_TENSOR) FY_TRY(bind_input(k, g->in.at[i], &k->in[i]->t));
    for (int64_t i = 0; i < g->in.n; i++) {
        if (!k->in[i] || k->in[i]->kind != FY_TENSOR) continue;
        for (int d = 0; g->in.at[i]->type.kind == FY_TENSOR && d < g->in.at[i]->type.rank; d++) FY_NOMEM(k->e, fy_bounds_solve(&s->bounds, g->in.at[i]->type.dim[d], k->in[i]->t.dim[d], &fits));
        FY_TRY(check_input(k, g->in.at[i], &k->in[i]->t));
        s->dim[g->in.at[i]->id] = fy_arena_copy(&s->arena, k->in[i]->t.dim, (size_t)k->in[i]->t.rank, sizeof(int64_t));
        FY_NOMEM(k->e, s->dim[g->in.at[i]->id]);
    }
    for (int64_t i = 0; i < g->constants.n; i++) FY_TRY(size_of(k, g->constants.at[i]));
    for (int64_t i = 0; i < p->steps.n; i++) {
        const fy_step *st = p->steps.at[i];
        bool known = true, all_fixed = st->nout > 0, read = false;
        for (int j = 0; st->cover && j < st->cover->n; j++) FY_TRY(node_sizes(k, st->cover->node[j], &known));
        if (st->node) FY_TRY(node_sizes(k, st->node, &known));
        for (int j = 0; j < st->nfused; j++) FY_TRY(node_sizes(k, st->fused[j], &known));
        for (int o = 0; o < st->nout; o++) {
            const fy_value *v = st->out[o];
            if (!v) continue;
            if (!v->def) FY_TRY(size_of(k, v));                       /* in a layout of its own it is no node's output */
            known &= s->dim[v->id] != NULL;
            all_fixed &= s->fixed[v->id] != NULL;
            read |= p->last[v->id] >= 0;
        }
        s->dynamic[i] = !known;
        s->skip[i] = all_fixed || (!read && st->node && st->node->op->flags & FY_PURE);
        for (int o = 0; o < st->nout && !s->skip[i] && known; o++)
            if (st->out[o]) FY_TRY(largest(k, st->out[o]));
    }
    return FY_OK;
}

/* ---- the whole ----------------------------------------------------------------------------------------------------------- */

static fy_status tables(making *k) {
    const fy_plan *p = k->p;
    fy_spec *s = k->s;
    s->dim = FY_NEWN(&s->arena, int64_t *, p->nvalues + 1);
    s->offset = FY_NEWN(&s->arena, size_t, p->nvalues + 1);
    s->fixed = FY_NEWN(&s->arena, fy_rval *, p->nvalues + 1);
    s->within = FY_NEWN(&s->arena, const fy_value *, p->nvalues + 1);
    s->skip = FY_NEWN(&s->arena, bool, p->steps.n + 1);
    s->dynamic = FY_NEWN(&s->arena, bool, p->steps.n + 1);
    FY_NOMEM(k->e, s->dim && s->offset && s->within && s->fixed && s->skip && s->dynamic);
    for (uint32_t i = 0; i < p->nvalues; i++) s->offset[i] = FY_NOWHERE;
    return FY_OK;
}

/* Nothing is known before the run. */
static fy_status know_nothing(making *k) {
    fy_spec *s = k->s;
    int64_t *key = fy_arena_copy(&s->arena, s->key, (size_t)k->p->cache->nkey, sizeof *key);
    fy_bounds_free(&s->bounds);
    FY_NOMEM(k->e, key);
    *s = (fy_spec){.arena = s->arena, .key = key};
    FY_TRY(tables(k));
    for (int64_t i = 0; i < k->p->steps.n; i++) s->dynamic[i] = true;
    return FY_OK;
}

/* Are the inputs of a body of the types that the plan expects? */
static bool typed(const making *k) {
    const fy_graph *g = k->p->m->graph;
    for (int64_t i = 0; i < g->in.n; i++) {
        const fy_type *t = &g->in.at[i]->type;
        if (k->in[i] && t->kind == FY_TENSOR && (k->in[i]->kind != FY_TENSOR || (t->dtype && t->dtype != k->in[i]->t.dtype))) return false;
    }
    return true;
}

static fy_status make(making *k) {
    if (k->p->inner && !typed(k)) return know_nothing(k);
    FY_TRY(tables(k));
    fy_status s = sizes(k);
    if (!s) s = fy_spec_place(k->s, k->p, k->e);
    if (!s || s == FY_E_NOMEM || !k->p->inner) return s;
    fy_error_clear(k->e);                                             /* the step that it was will say so, if it is reached */
    return know_nothing(k);
}

/* ---- the cache ----------------------------------------------------------------------------------------------------------- */

static void key_of(int64_t *key, const fy_plan *p, fy_rval *const *in) {
    memset(key, 0, (size_t)p->cache->nkey * sizeof *key);
    for (int64_t i = 0; i < p->m->graph->in.n; i++) {
        const fy_type *t = &p->m->graph->in.at[i]->type;
        int room = t->kind == FY_TENSOR && t->rank > 0 ? t->rank : FY_MAX_RANK;
        *key = in[i] && in[i]->kind == FY_TENSOR ? (in[i]->t.rank + 1) | (int64_t)in[i]->t.dtype << 8 : 0;
        for (int d = 0; *key && d < in[i]->t.rank && d < room; d++) key[1 + d] = in[i]->t.dim[d];
        key += 1 + room;
    }
}

static entry *find(struct fy_spec_cache *c, const int64_t *key, uint64_t hash) {
    for (entry *x = c->first[hash % BUCKETS]; x; x = x->next)
        if (x->hash == hash && !memcmp(x->spec.key, key, (size_t)c->nkey * sizeof *key)) return x;
    return NULL;
}

/* The one used longest ago, if nobody is running it. */
static bool drop_oldest(struct fy_spec_cache *c) {
    entry **oldest = NULL;
    for (int i = 0; i < BUCKETS; i++)
        for (entry **x = &c->first[i]; *x; x = &(*x)->next)
            if (!(*x)->readers && (!oldest || (*x)->spec.used < (*oldest)->spec.used)) oldest = x;
    if (!oldest) return false;
    entry *gone = *oldest;
    *oldest = gone->next;
    c->n--;
    c->bytes -= gone->spec.arena.bytes;
    entry_free(gone);
    return true;
}

static void keep(struct fy_spec_cache *c, entry *x) {
    while (c->n && (c->n >= KEPT || c->bytes + x->spec.arena.bytes > KEPT_BYTES) && drop_oldest(c)) ;
    x->next = c->first[x->hash % BUCKETS];
    c->first[x->hash % BUCKETS] = x;
    c->bytes += x->spec.arena.bytes;
    c->n++;
}

fy_status fy_spec_get(const fy_spec **out, const fy_plan *p, fy_rval *const *in, ferry_error *e) {
    struct fy_spec_cache *c = p->cache;
    int64_t few[64], *key = c->nkey <= 64 ? few : fy_malloc((size_t)c->nkey, sizeof *key);
    FY_NOMEM(e, key);
    key_of(key, p, in);
    pthread_mutex_lock(&c->lock);
    uint64_t hash = fy_hash(key, (size_t)c->nkey * sizeof *key);
    entry *x = find(c, key, hash);
    fy_status s = FY_OK;
    if (!x) {
        x = fy_calloc(1, sizeof *x);
        making k = {.p = p, .s = x ? &x->spec : NULL, .in = in, .e = e};
        if (!x || !(x->spec.key = fy_arena_copy(&x->spec.arena, key, (size_t)c->nkey, sizeof *key))) s = fy_nomem(e);
        if (!s) s = make(&k);
        fy_run_dims_free(&k.sizes);
        if (s && x) entry_free(x);
        if (!s && x) {
            x->hash = hash;
            keep(c, x);
        }
    }
    if (!s) {
        x->readers++;
        x->spec.used = ++c->clock;
        *out = &x->spec;
    }
    pthread_mutex_unlock(&c->lock);
    if (key != few) fy_free(key);
    return s;
}

void fy_spec_release(const fy_plan *p, const fy_spec *s) {
    pthread_mutex_lock(&p->cache->lock);
    ((entry *)(uintptr_t)s)->readers--;                               /* spec is the entry's first member */
    pthread_mutex_unlock(&p->cache->lock);
}
