/* SPDX-License-Identifier: Apache-2.0
 * functionalise.c - in-place operators and writes through views, as values.
 *
 * Every tensor value belongs to a memory. A view knows its parent and the step from it; a memory counts its generations.
 * A write replaces the value written, then, step by step up to the root, the values it is a view of (slice_scatter,
 * select_scatter, the inverse reshape or permutation), and starts a new generation. Other views of that memory are stale
 * from then on and are made again from their parent when they are next read, so that every alias sees the write.
 *
 *     y = linear(x); v = y[:, 1:3]; v.mul_(2); z = relu(y)
 *     ->  y0 = linear(x); v0 = slice(y0); v1 = mul(v0, 2); y1 = slice_scatter(y0, v1); z = relu(y1)
 *
 * What a branch or a round of a loop writes from outside becomes a further result of the node, which is then the write. */
#include "aten/aten.h"

#include <stdio.h>
#include <string.h>

enum { CHAIN_MAX = 256 };                /* views of views */

typedef struct memory { fy_pvalue *root; int64_t gen; int input; /* of the graph: its number from 1, or 0 */ bool written; } memory;

typedef enum step_kind { STEP_NONE, STEP_ALIAS, STEP_NODE, STEP_SLICE, STEP_SELECT } step_kind;

/* How a view comes from its parent: the node to repeat, or a slice or element (pieces of split, chunk, unbind). */
typedef struct step { step_kind kind; fy_pnode *node; int arg; int64_t dim, begin, end; } step;

typedef struct track { memory *mem; fy_pvalue *cur, *parent; int64_t gen; step step; } track;

/* What a body leaves behind: the last contents of its inputs, NULL of those that it does not write; which input each output is, or -1. */
typedef struct body { fy_pvalue **last; int *same; bool writes; } body;

typedef struct functional {
    fy_program  *p;
    fy_pgraph   *g;
    fy_map       bodies;                 /* address of a graph -> body */
    ferry_error *e;
    fy_arena     tmp;
    FY_VEC(track) at;                    /* by value id */
} functional;

static fy_status room(functional *f, uint32_t id) {
    int64_t need = (int64_t)id + 1;
    if (need <= f->at.n) return FY_OK;
    FY_NOMEM(f->e, FY_RESERVE(f->at, need + 64));
    memset(f->at.at + f->at.n, 0, (size_t)(need - f->at.n) * sizeof(track));
    f->at.n = need;
    return FY_OK;
}

static fy_status fresh(functional *f, fy_pvalue *v) {
    if (!v || v->kind != FY_PV_TENSOR) return FY_OK;
    FY_TRY(room(f, v->id));
    memory *m = FY_NEW(&f->tmp, memory);
    FY_NOMEM(f->e, m);
    m->root = v;
    f->at.at[v->id] = (track){.mem = m, .cur = v};
    return FY_OK;
}

static fy_status new_value(functional *f, const fy_pvalue *like, fy_pvalue **out) {
    char name[200];
    snprintf(name, sizeof name, "%.160s_f%u", like->name ? like->name : "value", f->p->nvalues);
    const char *kept = fy_arena_str(&f->p->arena, name);
    fy_pvalue *v = kept ? fy_pvalue_new(f->p, FY_PV_TENSOR, kept) : NULL;
    FY_NOMEM(f->e, v);
    v->has_meta = like->has_meta;
    v->dtype = like->dtype;
    v->rank = like->rank;
    v->dim = like->dim;
    v->stride = like->stride;
    FY_TRY(room(f, v->id));
    *out = v;
    return FY_OK;
}

/* A node with one tensor output before `before`, resolved. */
static fy_status new_node(functional *f, fy_pnode *before, const fy_pnode *where, const char *op, int narg, fy_pvalue *out, fy_pnode **made) {
    const char *kept = fy_arena_str(&f->p->arena, op);
    fy_pnode *n = kept ? fy_pnode_new(f->g, before, kept, narg, 1) : NULL;
    FY_NOMEM(f->e, n);
    n->out[0] = (fy_parg){.name = "", .kind = FY_ARG_TENSOR, .value = out};
    n->scope = where->scope;
    n->source = where->source;
    n->source_full = where->source_full;
    if (!n->target) n->target = kept;
    out->def = n;
    *made = n;
    return FY_OK;
}

static fy_parg tensor_arg(const char *name, fy_pvalue *v) { return (fy_parg){.name = name, .kind = FY_ARG_TENSOR, .value = v}; }
static fy_parg int_arg(const char *name, int64_t i) { return (fy_parg){.name = name, .kind = FY_ARG_INT, .i = i}; }

static const char *where_text(const fy_pnode *n) { return n->source ? n->source : n->scope ? n->scope : "an unknown line"; }

/* ---- bringing a value up to date -------------------------------------------------------------------------------------------- */

static bool stale(const functional *f, const fy_pvalue *v) {
    const track *t = &f->at.at[v->id];
    return t->mem && t->gen != t->mem->gen && t->parent;
}

/* Makes a view again from its (current) parent. */
static fy_status remake(functional *f, fy_pvalue *v, fy_pnode *before) {
    track t = f->at.at[v->id];
    fy_pvalue *parent = f->at.at[t.parent->id].cur, *cur = parent;
    if (t.step.kind != STEP_ALIAS) {
        fy_pnode *n;
        FY_TRY(new_value(f, v, &cur));
        if (t.step.kind == STEP_NODE) {
            const fy_pnode *from = t.step.node;
            FY_TRY(new_node(f, before, from, from->op, from->narg, cur, &n));
            for (int i = 0; i < from->narg; i++) n->arg[i] = from->arg[i];
            n->arg[t.step.arg].value = parent;
        } else {
            bool slice = t.step.kind == STEP_SLICE;
            FY_TRY(new_node(f, before, t.step.node, slice ? "aten.slice.Tensor" : "aten.select.int", slice ? 4 : 3, cur, &n));
            n->arg[0] = tensor_arg("self", parent);
            n->arg[1] = int_arg("dim", t.step.dim);
            n->arg[2] = int_arg(slice ? "start" : "index", t.step.begin);
            if (slice) n->arg[3] = int_arg("end", t.step.end);
        }
        FY_TRY(fy_aten_resolve_node(n, NULL, f->e));
    }
    f->at.at[v->id].cur = cur;
    f->at.at[v->id].gen = t.mem->gen;
    return FY_OK;
}

static fy_status sync(functional *f, fy_pvalue *v, fy_pnode *before, fy_pvalue **now) {
    *now = v;
    if (!v || v->kind != FY_PV_TENSOR || v->id >= f->at.n || !f->at.at[v->id].mem) return FY_OK;
    for (int steps = 0; stale(f, v); steps++) {
        FY_NEED(f->e, steps < CHAIN_MAX, LIMIT, "\"%s\" is a view of more than %d views", v->name, CHAIN_MAX);
        fy_pvalue *u = v;
        for (int k = 0; k < CHAIN_MAX && stale(f, f->at.at[u->id].parent); k++) u = f->at.at[u->id].parent;
        FY_TRY(remake(f, u, before));
    }
    *now = f->at.at[v->id].cur;
    return FY_OK;
}

static fy_status sync_arg(functional *f, fy_parg *a, fy_pnode *before) {
    if (a->kind == FY_ARG_TENSOR) return sync(f, a->value, before, &a->value);
    if (a->kind != FY_ARG_TENSORS || a->n == 0) return FY_OK;
    fy_pvalue **v = fy_arena_copy(&f->p->arena, a->values, (size_t)a->n, sizeof *v);
    FY_NOMEM(f->e, v);
    for (int64_t i = 0; i < a->n; i++) FY_TRY(sync(f, v[i], before, &v[i]));
    a->values = v;
    return FY_OK;
}

/* ---- views ------------------------------------------------------------------------------------------------------------------- */

static bool named(const fy_pnode *n, const char *base) {
    size_t k = strlen(base);
    return strncmp(n->op, base, k) == 0 && n->op[k] == '.';
}

static const fy_schema_arg *schema_arg(const fy_pnode *n, const char *name) {
    const fy_schema *s = n->schema;
    for (int i = 0; s && i < s->narg; i++)
        if (strcmp(s->arg[i].name, name) == 0) return &s->arg[i];
    return NULL;
}

/* The argument that the results alias without writing it; -1 if none. */
static int viewed_arg(const fy_pnode *n) {
    const fy_schema *s = n->schema;
    if (!s || s->nret < 1 || !s->ret[0].alias) return -1;
    for (int i = 0; i < n->narg; i++) {
        const fy_schema_arg *a = schema_arg(n, n->arg[i].name);
        if (a && a->alias == s->ret[0].alias && !a->written && n->arg[i].kind == FY_ARG_TENSOR) return i;
    }
    return -1;
}

/* As recorded. Sizes that are symbols compare as dims. */
static bool contiguous(const functional *f, const fy_pvalue *v) {
    if (!v->has_meta || !v->stride) return true;         /* unknown: the common case */
    const fy_dim *want = fy_dim_const(f->p->dims, 1);
    for (int i = v->rank - 1; i >= 0 && want; i--) {
        if (!fy_dim_is(v->dim[i], 1) && v->stride[i] != want) return false;
        want = fy_dim_mul(f->p->dims, want, v->dim[i]);
    }
    return true;
}

/* Some operators copy only when they must. */
static bool is_view(const functional *f, const fy_pnode *n, const fy_pvalue *self) {
    const fy_pvalue *out = n->nout == 1 && n->out[0].kind == FY_ARG_TENSOR ? n->out[0].value : NULL;
    if (named(n, "aten.to")) {
        const fy_parg *copy = fy_aten_arg(n, "copy");
        return !(copy->kind == FY_ARG_BOOL && copy->i) && out && (!out->has_meta || !self->has_meta || out->dtype == self->dtype);
    }
    if (named(n, "aten.contiguous") || named(n, "aten.reshape") || named(n, "aten.reshape_as") || named(n, "aten.flatten") || named(n, "aten.ravel")) return contiguous(f, self);
    return true;
}

static bool is_alias(const fy_pnode *n) {
    return named(n, "aten.alias") || named(n, "aten.detach") || named(n, "aten.contiguous") || named(n, "aten.to") || named(n, "aten.lift_fresh") || named(n, "aten.data")
        || named(n, "aten.lift") || named(n, "aten.positive") || named(n, "aten.detach_");
}

static int64_t int_of(const fy_pnode *n, const char *name, bool *known) {
    const fy_parg *a = fy_aten_arg(n, name);
    if (a->kind != FY_ARG_INT) *known = false;
    return a->i;
}

/* The step for piece k of a view that gives a list. False: sizes are not constant. */
static bool piece_step(const fy_pnode *n, const fy_pvalue *self, int64_t k, step *s) {
    bool known = true;
    int64_t dim = int_of(n, "dim", &known), size = -1;
    if (self->has_meta && dim >= -self->rank && dim < self->rank) (void)fy_dim_known(self->dim[dim < 0 ? dim + self->rank : dim], &size);
    *s = (step){.kind = STEP_SLICE, .dim = dim};
    if (named(n, "aten.unbind")) {
        s->kind = STEP_SELECT;
        s->begin = k;
        return known;
    }
    const int64_t most = (int64_t)1 << 48;               /* no tensor is larger: no overflow below */
    if (named(n, "aten.split") && fy_aten_arg(n, "split_size")->kind == FY_ARG_INT) {
        int64_t each = fy_aten_arg(n, "split_size")->i;
        if (each < 0 || each > most || k > (1 << 14)) return false;
        s->begin = k * each;
        s->end = s->begin + each;
        return known;
    }
    if (named(n, "aten.chunk")) {
        int64_t chunks = int_of(n, "chunks", &known), each = chunks > 0 && chunks < most && size >= 0 && size < most && k < (1 << 14) ? (size + chunks - 1) / chunks : -1;
        s->begin = k * each;
        s->end = s->begin + each;
        return known && each >= 0;
    }
    const fy_parg *sizes = fy_aten_arg(n, strcmp(n->op, "aten.split.sizes") == 0 ? "split_size" : "split_sizes");
    if (sizes->kind != FY_ARG_INTS || k >= sizes->n) return false;
    for (int64_t i = 0; i <= k; i++) {
        if (sizes->ints[i] < 0 || sizes->ints[i] > most || s->end > most) return false;
        s->begin = s->end;
        s->end += sizes->ints[i];
    }
    return known;
}

static fy_status add_view(functional *f, fy_pvalue *v, fy_pvalue *parent, step s) {
    if (!v) return FY_OK;
    FY_TRY(room(f, v->id));
    const track *p = &f->at.at[parent->id];
    memory *m = p->mem;
    if (s.kind == STEP_ALIAS && p->step.kind == STEP_ALIAS && p->parent) parent = p->parent;   /* aliases of aliases stay flat */
    f->at.at[v->id] = (track){.mem = m, .cur = v, .parent = parent, .gen = m->gen, .step = s};
    return FY_OK;
}

static fy_status track_view(functional *f, fy_pnode *n, int arg, fy_pvalue *self) {
    if (n->out[0].kind == FY_ARG_TENSORS) {
        for (int64_t k = 0; k < n->out[0].n; k++) {
            fy_pvalue *v = n->out[0].values[k];
            step s;
            if (!v) continue;
            bool known = piece_step(n, self, k, &s);
            s.node = n;
            if (!known) s.kind = STEP_NONE;              /* fine unless something is written */
            FY_TRY(add_view(f, v, self, s));
        }
        return FY_OK;
    }
    if (n->nout < 1 || n->out[0].kind != FY_ARG_TENSOR) return FY_OK;
    return add_view(f, n->out[0].value, self, (step){.kind = is_alias(n) ? STEP_ALIAS : STEP_NODE, .node = n, .arg = arg});
}

/* ---- writing ------------------------------------------------------------------------------------------------------------------- */

static fy_status refuse(functional *f, const fy_pnode *write, const fy_pnode *view) {
    return fy_fail(f->e, FY_E_ALIAS, "%s at %s writes through %s, which has no inverse here", write->op, where_text(write), view ? view->op : "a view of unknown size");
}

/* base with the part that the step shows replaced by w */
static fy_status put_back(functional *f, const fy_pnode *write, const step *s, fy_pvalue *base, fy_pvalue *w, fy_pnode *before, fy_pvalue **out) {
    fy_pnode *n;
    if (s->kind == STEP_NONE) return refuse(f, write, s->node);
    FY_TRY(new_value(f, base, out));
    if (s->kind == STEP_SLICE || s->kind == STEP_SELECT) {
        bool slice = s->kind == STEP_SLICE;
        FY_TRY(new_node(f, before, write, slice ? "aten.slice_scatter.default" : "aten.select_scatter.default", slice ? 5 : 4, *out, &n));
        n->arg[0] = tensor_arg("self", base);
        n->arg[1] = tensor_arg("src", w);
        n->arg[2] = int_arg("dim", s->dim);
        n->arg[3] = int_arg(slice ? "start" : "index", s->begin);
        if (slice) n->arg[4] = int_arg("end", s->end);
        return fy_aten_resolve_node(n, NULL, f->e);
    }
    const fy_pnode *view = s->node;
    static const char *const reshaping[] = {"aten.view", "aten._unsafe_view", "aten.reshape", "aten._reshape_alias", "aten.flatten", "aten.ravel", "aten.unflatten", "aten.squeeze",
                                            "aten.unsqueeze", "aten.view_as", "aten.reshape_as"};
    static const char *const swapping[] = {"aten.transpose", "aten.swapaxes", "aten.swapdims", "aten.t", "aten.numpy_T", "aten.mT"};
    bool reshape = false, swap = false;
    for (int i = 0; i < FY_COUNT(reshaping); i++) reshape = reshape || named(view, reshaping[i]);
    for (int i = 0; i < FY_COUNT(swapping); i++) swap = swap || named(view, swapping[i]);
    if (strcmp(view->op, "aten.view.dtype") == 0) reshape = false;
    if (reshape) {
        FY_TRY(new_node(f, before, write, "aten.reshape_as.default", 2, *out, &n));
        n->arg[0] = tensor_arg("self", w);
        n->arg[1] = tensor_arg("other", base);
    } else if (swap || named(view, "aten.permute")) {
        FY_TRY(new_node(f, before, write, view->op, view->narg, *out, &n));
        for (int i = 0; i < view->narg; i++) n->arg[i] = view->arg[i];
        n->arg[s->arg].value = w;
        if (!swap)
            for (int i = 0; i < n->narg; i++) {
                const fy_parg *a = &view->arg[i];
                if (strcmp(a->name, "dims") != 0) continue;
                FY_NEED(f->e, a->kind == FY_ARG_INTS && a->n <= FY_MAX_RANK, ALIAS, "%s at %s writes through a permutation of %lld axes", write->op, where_text(write), (long long)a->n);
                int64_t *inv = FY_NEWN(&f->p->arena, int64_t, a->n);
                FY_NOMEM(f->e, inv);
                for (int64_t k = 0; k < a->n; k++) {
                    int64_t d = a->ints[k] < 0 ? a->ints[k] + a->n : a->ints[k];
                    FY_NEED(f->e, d >= 0 && d < a->n, AXIS, "permute: axis %lld outside rank %lld", (long long)a->ints[k], (long long)a->n);
                    inv[d] = k;
                }
                n->arg[i].ints = inv;
            }
    } else if (strcmp(view->op, "aten.slice.Tensor") == 0 || strcmp(view->op, "aten.select.int") == 0 || named(view, "aten.diagonal")) {
        const char *op = named(view, "aten.slice") ? "aten.slice_scatter.default" : named(view, "aten.select") ? "aten.select_scatter.default" : "aten.diagonal_scatter.default";
        FY_TRY(new_node(f, before, write, op, view->narg + 1, *out, &n));
        n->arg[0] = tensor_arg("self", base);
        n->arg[1] = tensor_arg("src", w);
        for (int i = 0, k = 2; i < view->narg; i++)
            if (i != s->arg) n->arg[k++] = view->arg[i];
    } else return refuse(f, write, view);
    return fy_aten_resolve_node(n, NULL, f->e);
}

/* t now holds w: so do, in part, the values that it is a view of. New nodes go before `before`. */
static fy_status commit(functional *f, const fy_pnode *write, fy_pvalue *t, fy_pvalue *w, fy_pnode *before) {
    memory *m = f->at.at[t->id].mem;
    fy_pvalue *chain[CHAIN_MAX], *val[CHAIN_MAX];
    int n = 0;
    for (fy_pvalue *v = t; v; v = f->at.at[v->id].parent) {
        FY_NEED(f->e, n < CHAIN_MAX, LIMIT, "\"%s\" is a view of more than %d views", t->name, CHAIN_MAX);
        chain[n++] = v;
    }
    val[0] = w;
    for (int i = 0; i + 1 < n; i++) {
        step s = f->at.at[chain[i]->id].step;
        fy_pvalue *base;
        if (s.kind == STEP_ALIAS) { val[i + 1] = val[i]; continue; }
        FY_TRY(sync(f, chain[i + 1], before, &base));
        FY_TRY(put_back(f, write, &s, base, val[i], before, &val[i + 1]));
    }
    m->gen++;
    m->written = true;
    for (int i = 0; i < n; i++) {
        f->at.at[chain[i]->id].cur = val[i];
        f->at.at[chain[i]->id].gen = m->gen;
    }
    return FY_OK;
}

/* The argument that an in-place operator writes; -1 if it writes none (or is not of the in-place kind). */
static int written_arg(const fy_pnode *n) {
    const char *dot = strrchr(n->op, '.');
    bool out_form = dot && strcmp(dot, ".out") == 0;
    if (!n->schema || !dot || dot == n->op || (dot[-1] != '_' && !out_form)) return -1;
    for (int i = 0; i < n->narg; i++) {
        const fy_schema_arg *a = schema_arg(n, n->arg[i].name);
        if (a && a->written && n->arg[i].kind == FY_ARG_TENSOR) return i;
    }
    return -1;
}

/* "aten.add_.Tensor" -> "aten.add.Tensor", arguments by the new schema's names. */
static fy_status to_functional(functional *f, fy_pnode *n, int written) {
    const fy_schema *old = n->schema;
    const char *dot = strrchr(n->op, '.');
    bool out_form = strcmp(dot, ".out") == 0;
    const char *op = out_form ? fy_arena_fmt(&f->p->arena, "%.*s.default", (int)(dot - n->op), n->op)
                              : fy_arena_fmt(&f->p->arena, "%.*s%s", (int)(dot - n->op - 1), n->op, dot);
    FY_NOMEM(f->e, op);
    static const char *const reshaping[] = {"aten.squeeze_", "aten.unsqueeze_", "aten.transpose_", "aten.t_"};
    for (int i = 0; i < FY_COUNT(reshaping); i++)
        FY_NEED(f->e, !named(n, reshaping[i]), ALIAS, "%s at %s changes the shape of a tensor in place", n->op, where_text(n));
    FY_NEED(f->e, fy_aten_find(op), ALIAS, "%s at %s has no form that leaves its input alone", n->op, where_text(n));
    n->op = op;
    if (out_form) {
        for (int i = written; i + 1 < n->narg; i++) n->arg[i] = n->arg[i + 1];
        n->narg--;
    }
    n->schema = NULL;
    FY_TRY(fy_aten_resolve_node(n, NULL, f->e));
    const fy_schema *now = n->schema;
    for (int i = 0; i < n->narg; i++) {
        if (schema_arg(n, n->arg[i].name)) continue;
        for (int k = 0; k < old->narg && k < now->narg; k++)
            if (strcmp(old->arg[k].name, n->arg[i].name) == 0) n->arg[i].name = now->arg[k].name;
    }
    return FY_OK;
}

static fy_status write_node(functional *f, fy_pnode *n, int written, fy_pvalue *target) {
    if (named(n, "aten.detach_")) {                      /* nothing is written: another name */
        n->op = "aten.detach.default";
        n->schema = NULL;
        FY_TRY(fy_aten_resolve_node(n, NULL, f->e));
        return n->nout == 1 && n->out[0].kind == FY_ARG_TENSOR ? add_view(f, n->out[0].value, target, (step){.kind = STEP_ALIAS, .node = n}) : FY_OK;
    }
    FY_TRY(to_functional(f, n, written));
    fy_pvalue *out = n->nout > 0 && n->out[0].kind == FY_ARG_TENSOR ? n->out[0].value : NULL, *held = out;
    if (!out) {
        FY_TRY(new_value(f, target, &out));
        if (n->nout == 0) {
            n->out = FY_NEWN(&f->p->arena, fy_parg, 1);
            FY_NOMEM(f->e, n->out);
            n->nout = 1;
        }
        n->out[0] = (fy_parg){.name = "", .kind = FY_ARG_TENSOR, .value = out};
        out->def = n;
    }
    FY_TRY(room(f, out->id));
    /* the memory keeps its dtype whatever the operands promote to */
    bool mixed = false;
    for (int i = 0; i < n->narg; i++) mixed = mixed || (n->arg[i].kind == FY_ARG_TENSOR && n->arg[i].value->has_meta && target->has_meta && n->arg[i].value->dtype != target->dtype);
    static const char *const tests[] = {"aten.eq", "aten.ne", "aten.lt", "aten.le", "aten.gt", "aten.ge", "aten.logical_not", "aten.logical_and", "aten.logical_or"};
    for (int i = 0; i < FY_COUNT(tests); i++) mixed = mixed || named(n, tests[i]);
    if (mixed && target->has_meta) {
        fy_pvalue *raw;
        fy_pnode *cast;
        FY_TRY(new_value(f, out, &raw));
        raw->has_meta = false;
        n->out[0].value = raw;
        raw->def = n;
        FY_TRY(new_node(f, n->next, n, "aten.to.dtype", 2, out, &cast));
        cast->arg[0] = tensor_arg("self", raw);
        cast->arg[1] = (fy_parg){.name = "dtype", .kind = FY_ARG_DTYPE, .i = target->dtype};
        FY_TRY(fy_aten_resolve_node(cast, NULL, f->e));
        FY_TRY(commit(f, n, target, out, cast->next));
    } else FY_TRY(commit(f, n, target, out, n->next));
    if (held) FY_TRY(add_view(f, held, target, (step){.kind = STEP_ALIAS, .node = n}));
    return FY_OK;
}

/* ---- bodies that write what they read from outside --------------------------------------------------------------------------------- */

static const body *body_of(const functional *f, const fy_parg *a) { return a->kind == FY_ARG_GRAPH ? fy_map_get(&f->bodies, (const char *)&a->graph, sizeof a->graph) : NULL; }

static fy_status append(functional *f, fy_parg **list, int *n, fy_pvalue *v) {
    fy_parg *more = FY_NEWN(&f->p->arena, fy_parg, *n + 1);
    FY_NOMEM(f->e, more);
    if (*n) memcpy(more, *list, (size_t)*n * sizeof *more);
    more[(*n)++] = tensor_arg("", v);
    *list = more;
    return FY_OK;
}

/* Entry i of the operands is written in a body: what the body knows by other names must not be the same memory. */
static fy_status alone(functional *f, const fy_pnode *n, int nlist, const fy_parg *list, const fy_pvalue *target) {
    const memory *m = target && target->id < f->at.n ? f->at.at[target->id].mem : NULL;
    int seen = 0;
    for (int k = 0; k < nlist; k++)
        for (int64_t i = 0; i < list[k].n; i++) {
            const fy_pvalue *v = list[k].values[i];
            seen += v && v->id < f->at.n && f->at.at[v->id].mem == m;
        }
    FY_NEED(f->e, m && seen == 1, ALIAS, "%s at %s writes \"%s\" in a body that reads it by another name too", n->op, where_text(n), target && target->name ? target->name : "?");
    return FY_OK;
}

/* A further result of the node: what `target` holds from there on. */
static fy_status write_behind(functional *f, fy_pnode *n, fy_pvalue *target) {
    fy_pvalue *v;
    FY_TRY(new_value(f, target, &v));
    v->def = n;
    v->def_slot = n->nout;
    FY_TRY(append(f, &n->out, &n->nout, v));
    return commit(f, n, target, v, n->next);
}

/* Both sides of a cond give what either writes. */
static fy_status write_cond(functional *f, fy_pnode *n, const fy_parg *was) {
    const fy_parg *list = &was[3];
    const body *side[2] = {body_of(f, &n->arg[1]), body_of(f, &n->arg[2])};
    int nout = n->nout;
    FY_NEED(f->e, side[0] && side[1] && n->narg > 3 && list->kind == FY_ARG_TENSORS && n->arg[1].graph->nin == list->n && n->arg[2].graph->nin == list->n && n->arg[1].graph->nout == nout && n->arg[2].graph->nout == nout,
            GRAPH, "cond: the branches do not fit");
    for (int64_t i = 0; i < list->n; i++) {
        if (!side[0]->last[i] && !side[1]->last[i]) continue;
        FY_TRY(alone(f, n, 1, list, list->values[i]));
        for (int k = 0; k < 2; k++) {
            fy_pgraph *g = n->arg[k + 1].graph;
            FY_TRY(append(f, &g->out, &g->nout, side[k]->last[i] ? side[k]->last[i] : g->in[i].value));
        }
        FY_TRY(write_behind(f, n, list->values[i]));
    }
    for (int k = 0; k < nout; k++) {
        int i = side[0]->same[k];
        if (i >= 0 && i == side[1]->same[k] && (side[0]->last[i] || side[1]->last[i])) FY_TRY(add_view(f, n->out[k].value, list->values[i], (step){.kind = STEP_ALIAS, .node = n}));
    }
    return FY_OK;
}

/* What rounds write is carried from one to the next. */
static fy_status write_loop(functional *f, fy_pnode *n, const fy_parg *was) {
    const fy_parg *state = &was[2], *others = &was[3];
    const body *test = body_of(f, &n->arg[0]), *b = body_of(f, &n->arg[1]);
    fy_pgraph *g[2] = {n->arg[0].graph, n->arg[1].graph};
    FY_NEED(f->e, test && b && n->narg > 3 && state->kind == FY_ARG_TENSORS && others->kind == FY_ARG_TENSORS && g[0]->nin == state->n + others->n && g[1]->nin == g[0]->nin && g[1]->nout == state->n && n->nout == state->n,
            GRAPH, "while_loop: its bodies do not fit");
    FY_NEED(f->e, !test->writes, ALIAS, "the test of a loop at %s writes a tensor", where_text(n));
    for (int64_t i = 0; i < state->n; i++) {
        if (!b->last[i]) continue;
        FY_NEED(f->e, b->same[i] == i, ALIAS, "a loop at %s writes \"%s\", which its rounds replace", where_text(n), g[1]->in[i].value->name);
        FY_TRY(alone(f, n, 2, state, state->values[i]));
        FY_TRY(commit(f, n, state->values[i], n->out[i].value, n->next));
        FY_TRY(add_view(f, n->out[i].value, state->values[i], (step){.kind = STEP_ALIAS, .node = n}));
    }
    fy_pvalue **all = FY_NEWN(&f->p->arena, fy_pvalue *, state->n + 2 * others->n);      /* state, what becomes state, the rest */
    FY_NOMEM(f->e, all);
    int64_t carried = state->n, rest = 0;
    for (int64_t i = 0; i < carried; i++) all[i] = n->arg[2].values[i];
    for (int64_t i = 0; i < others->n; i++)
        if (b->last[state->n + i]) all[carried++] = n->arg[3].values[i];
    for (int64_t i = 0; i < others->n; i++)
        if (!b->last[state->n + i]) all[carried + rest++] = n->arg[3].values[i];
    for (int k = 0; k < 2; k++) {
        fy_parg *in = FY_NEWN(&f->p->arena, fy_parg, g[k]->nin);
        FY_NOMEM(f->e, in);
        int64_t at = 0;
        for (int pass = 0; pass < 3; pass++)
            for (int64_t i = 0; i < g[k]->nin; i++)
                if ((i < state->n ? 0 : b->last[i] ? 1 : 2) == pass) in[at++] = g[k]->in[i];
        g[k]->in = in;
    }
    for (int64_t i = 0; i < others->n; i++) {
        if (!b->last[state->n + i]) continue;
        FY_TRY(alone(f, n, 2, state, others->values[i]));
        FY_TRY(append(f, &g[1]->out, &g[1]->nout, b->last[state->n + i]));
        FY_TRY(write_behind(f, n, others->values[i]));
    }
    n->arg[2].values = all;
    n->arg[2].n = carried;
    n->arg[3].values = all + carried;
    n->arg[3].n = rest;
    return FY_OK;
}

/* `was`: its arguments before they were brought up to date. */
static fy_status write_bodies(functional *f, fy_pnode *n, const fy_parg *was) {
    bool any = false;
    for (int i = 0; i < n->narg; i++) {
        const body *b = body_of(f, &n->arg[i]);
        any = any || (b && b->writes);
    }
    if (!any) return FY_OK;
    if (n->narg > 2 && !strcmp(n->op, "hop.cond")) return write_cond(f, n, was);
    if (n->narg > 3 && !strcmp(n->op, "hop.while_loop")) return write_loop(f, n, was);
    return fy_fail(f->e, FY_E_ALIAS, "a body of %s at %s writes its input", n->op, where_text(n));
}

/* ---- graphs ---------------------------------------------------------------------------------------------------------------------- */

static fy_status run_graph(functional *f, fy_pgraph *g) {
    f->g = g;
    for (int i = 0; i < g->nin; i++) {
        if (g->in[i].kind != FY_ARG_TENSOR || !g->in[i].value || g->in[i].value->kind != FY_PV_TENSOR) continue;
        FY_TRY(fresh(f, g->in[i].value));
        f->at.at[g->in[i].value->id].mem->input = i + 1;
    }
    for (fy_pnode *n = g->first, *next; n; n = next) {
        int written = written_arg(n), viewed = written < 0 ? viewed_arg(n) : -1;
        fy_pvalue *target = written >= 0 ? n->arg[written].value : viewed >= 0 ? n->arg[viewed].value : NULL;
        const fy_parg *was = strncmp(n->op, "hop.", 4) ? NULL : fy_arena_copy(&f->tmp, n->arg, (size_t)n->narg, sizeof *was);
        for (int i = 0; i < n->narg; i++) FY_TRY(sync_arg(f, &n->arg[i], n));
        next = n->next;
        bool tracked = target && target->id < f->at.n && f->at.at[target->id].mem;
        if (written >= 0 && tracked) {
            fy_status s = write_node(f, n, written, target);
            if (s != FY_OK) return s;
            continue;
        }
        if (viewed >= 0 && tracked && is_view(f, n, target)) {
            FY_TRY(track_view(f, n, viewed, target));
            continue;
        }
        for (int k = 0; k < n->nout; k++) {
            if (n->out[k].kind == FY_ARG_TENSOR) FY_TRY(fresh(f, n->out[k].value));
            if (n->out[k].kind == FY_ARG_TENSORS)
                for (int64_t i = 0; i < n->out[k].n; i++) FY_TRY(fresh(f, n->out[k].values[i]));
        }
        if (was) FY_TRY(write_bodies(f, n, was));
    }
    return FY_OK;
}

static bool input_written(const functional *f, const fy_pvalue *v) {
    return v && v->kind == FY_PV_TENSOR && v->id < f->at.n && f->at.at[v->id].mem && f->at.at[v->id].mem->written;
}

/* The last contents of inputs that were written leave as outputs. */
static fy_status add_mutations(functional *f) {
    fy_program *p = f->p;
    for (int i = 0; i < p->nin; i++) {
        const fy_pinput *in = &p->in[i];
        if (!input_written(f, in->value)) continue;
        bool user = in->kind == FY_PIN_USER, param = in->kind == FY_PIN_PARAMETER;
        const char *target = user ? (in->user_name ? in->user_name : in->value->name) : in->fqn ? in->fqn : in->value->name;
        fy_poutput *out = FY_NEWN(&p->arena, fy_poutput, p->nout + 1);
        fy_parg *gout = FY_NEWN(&p->arena, fy_parg, p->graph->nout + 1);
        FY_NOMEM(f->e, out);
        FY_NOMEM(f->e, gout);
        if (p->nout) memcpy(out, p->out, (size_t)p->nout * sizeof *out);
        if (p->graph->nout) memcpy(gout, p->graph->out, (size_t)p->graph->nout * sizeof *gout);
        fy_parg arg = tensor_arg("", f->at.at[in->value->id].cur);
        out[p->nout] = (fy_poutput){.kind = user ? FY_POUT_INPUT_MUTATION : param ? FY_POUT_PARAMETER_MUTATION : FY_POUT_BUFFER_MUTATION, .arg = arg, .target = target};
        gout[p->graph->nout] = arg;
        p->out = out;
        p->nout++;
        p->graph->out = gout;
        p->graph->nout++;
    }
    return FY_OK;
}

/* Its outputs up to date, and what of its inputs it wrote. */
static fy_status leave_body(functional *f, fy_pgraph *const *at) {
    fy_pgraph *g = *at;
    body *b = FY_NEW(&f->tmp, body);
    FY_NOMEM(f->e, b);
    b->last = FY_NEWN(&f->tmp, fy_pvalue *, g->nin + 1);
    b->same = FY_NEWN(&f->tmp, int, g->nout + 1);
    FY_NOMEM(f->e, b->last && b->same && fy_map_put(&f->bodies, (const char *)at, sizeof *at, b));
    for (int i = 0; i < g->nin; i++) {
        fy_pvalue *v = g->in[i].kind == FY_ARG_TENSOR ? g->in[i].value : NULL;
        if (!input_written(f, v)) continue;
        b->last[i] = f->at.at[v->id].cur;
        b->writes = true;
    }
    for (int k = 0; k < g->nout; k++) {
        const fy_pvalue *v = g->out[k].kind == FY_ARG_TENSOR ? g->out[k].value : NULL;
        const track *t = v && v->id < f->at.n ? &f->at.at[v->id] : NULL;
        b->same[k] = t && t->mem && (v == t->mem->root || (t->step.kind == STEP_ALIAS && t->parent == t->mem->root)) ? t->mem->input - 1 : -1;
        FY_TRY(sync_arg(f, &g->out[k], NULL));
    }
    return FY_OK;
}

typedef FY_VEC(fy_pgraph *) graph_list;

/* Inner graphs first: what they write is written by the nodes that they belong to. */
static fy_status run_all(functional *f, graph_list *todo) {
    fy_program *p = f->p;
    FY_PUSH(f->e, *todo, p->graph);
    for (int64_t k = 0; k < todo->n; k++)
        for (const fy_pnode *n = todo->at[k]->first; n; n = n->next)
            for (int i = 0; i < n->narg; i++)
                if (n->arg[i].kind == FY_ARG_GRAPH && n->arg[i].graph) FY_PUSH(f->e, *todo, n->arg[i].graph);
    for (int64_t k = todo->n - 1; k >= 0; k--) {
        fy_pgraph *const *g = &todo->at[k];
        if (fy_map_has(&f->bodies, (const char *)g, sizeof *g)) continue;
        f->at.n = 0;                                     /* values of other graphs are none of this one's business */
        FY_TRY(room(f, p->nvalues));
        FY_TRY(run_graph(f, *g));
        if (k > 0) FY_TRY(leave_body(f, g));
    }
    for (int i = 0; i < p->graph->nout; i++) FY_TRY(sync_arg(f, &p->graph->out[i], NULL));
    for (int i = 0; i < p->nout; i++) FY_TRY(sync_arg(f, &p->out[i].arg, NULL));
    return add_mutations(f);
}

fy_status fy_aten_functionalise(fy_program *p, ferry_error *e) {
    FY_TRY(fy_aten_resolve(p, e));
    functional f = {.p = p, .e = e};
    graph_list todo = {0};
    fy_status s = run_all(&f, &todo);
    fy_free(todo.at);
    fy_free(f.at.at);
    fy_map_free(&f.bodies);
    fy_arena_free(&f.tmp);
    return s == FY_OK ? fy_program_index(p, e) : s;
}
