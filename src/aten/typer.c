/* SPDX-License-Identifier: Apache-2.0
 * typer.c - overloads by the arguments of a call, and types by lowering each node into a model that is thrown away. */
#include "aten/typer.h"

#include "aten/lower.h"
#include "aten/mapping.h"

#include <stdio.h>
#include <string.h>

struct fy_typer {
    fy_program *p;
    fy_lower_options o;                  /* of lowering: what custom operators become */
    fy_lower    l;                       /* into the scratch model */
    fy_map      schemas;                 /* schema text -> parsed */
    fy_map      back;                    /* address of a dim of the model -> dim of the program */
};

static void *held(const void *p) { return (void *)(uintptr_t)p; }

/* ---- overloads ------------------------------------------------------------------------------------------------------------------- */

/* How well an argument fits: 0 exactly, more with a conversion, -1 not at all. */
static int list_fit(const fy_schema_arg *s, const fy_parg *a) {
    switch ((int)a->kind) {
    case FY_ARG_TENSORS: return s->type == FY_ST_TENSORS ? 0 : -1;
    case FY_ARG_INTS: case FY_ARG_SYMS:
        if (!a->n) return s->type == FY_ST_INTS ? 0 : s->type == FY_ST_TENSORS || s->type == FY_ST_FLOATS || s->type == FY_ST_BOOLS || s->type == FY_ST_SCALARS ? 1 : -1;
        return s->type == FY_ST_INTS ? 0 : s->type == FY_ST_FLOATS ? 2 : s->type == FY_ST_SCALARS ? 3 : -1;
    case FY_ARG_FLOATS: return s->type == FY_ST_FLOATS ? 0 : s->type == FY_ST_SCALARS ? 1 : -1;
    case FY_ARG_BOOLS: return s->type == FY_ST_BOOLS ? 0 : s->type == FY_ST_INTS ? 3 : -1;
    default: return -1;
    }
}

static int fit(const fy_schema_arg *s, const fy_parg *a) {
    fy_schema_type t = s->type;
    switch ((int)a->kind) {
    case FY_ARG_NONE: return s->optional || (s->has_default && s->def.kind == FY_ARG_NONE) || t == FY_ST_OTHER || t == FY_ST_LAYOUT ? 0 : -1;
    case FY_ARG_TENSOR: return t == FY_ST_TENSOR ? 0 : -1;
    case FY_ARG_INT: case FY_ARG_SYM:
        return t == FY_ST_INT ? 0 : t == FY_ST_SCALAR || t == FY_ST_DTYPE || t == FY_ST_LAYOUT || t == FY_ST_MEMORY_FORMAT ? 1 : t == FY_ST_FLOAT ? 2
             : t == FY_ST_INTS && s->fixed_n > 0 ? 3 : t == FY_ST_TENSOR ? 20 : -1;
    case FY_ARG_BOOL: case FY_ARG_SYMBOOL: return t == FY_ST_BOOL ? 0 : t == FY_ST_SCALAR ? 2 : t == FY_ST_INT ? 3 : t == FY_ST_TENSOR ? 20 : -1;
    case FY_ARG_FLOAT: case FY_ARG_SYMFLOAT: return t == FY_ST_FLOAT ? 0 : t == FY_ST_SCALAR ? 1 : t == FY_ST_TENSOR ? 20 : -1;
    case FY_ARG_STRING: return t == FY_ST_STRING ? 0 : t == FY_ST_DEVICE ? 1 : -1;
    case FY_ARG_DEVICE: return t == FY_ST_DEVICE ? 0 : -1;
    default: return list_fit(s, a);
    }
}

/* at[i]: the argument of the node that goes to argument i of the schema, or -1. */
static int match(const fy_schema *s, const fy_pnode *n, int *at) {
    int cost = 0, used = 0;
    for (int i = 0; i < s->narg; i++) {
        at[i] = -1;
        for (int k = 0; k < n->narg && at[i] < 0; k++)
            if (*n->arg[k].name ? !strcmp(n->arg[k].name, s->arg[i].name) : k == i && !s->arg[i].keyword_only) at[i] = k;
        if (at[i] < 0) {
            if (!s->arg[i].has_default && !(s->arg[i].optional && n->narg > i)) return -1;
            cost += 1;
            continue;
        }
        int c = fit(&s->arg[i], &n->arg[at[i]]);
        if (c < 0) return -1;
        cost += 16 * c;
        used++;
    }
    return used == n->narg ? cost : -1;
}

static fy_status parsed(fy_typer *t, const fy_schema **s, const char *text, ferry_error *e) {
    *s = fy_map_gets(&t->schemas, text);
    if (*s) return FY_OK;
    FY_TRY(fy_schema_parse(s, &t->p->arena, text, e));
    FY_NOMEM(e, fy_map_puts(&t->schemas, text, held(*s)));
    return FY_OK;
}

enum { ARGS = 32 };

static fy_status find_overload(fy_typer *t, const fy_pnode *n, const fy_schema **best, int *at, ferry_error *e) {
    const char *dot = strchr(n->op, '.');
    int least = -1;
    *best = NULL;
    if (!dot || strchr(dot + 1, '.')) return FY_OK;
    size_t ns = (size_t)(dot - n->op), k = strlen(dot + 1);
    for (int64_t i = 0; t->o.mappings && i < t->o.mappings->at.n; i++) {
        const fy_schema *s = t->o.mappings->at.at[i].schema;
        int to[ARGS], cost = strncmp(s->name, n->op, ns + 1 + k) || s->name[ns + 1 + k] != '.' || s->narg > ARGS ? -1 : match(s, n, to);
        if (cost < 0 || (least >= 0 && cost >= least)) continue;
        least = cost;
        *best = s;
        memcpy(at, to, sizeof to);
    }
    if (*best) return FY_OK;
    for (int i = 0; i < fy_aten_count(); i++) {
        const char *text = fy_aten_at(i)->schema;
        if (strncmp(text, n->op, ns) || text[ns] != ':' || strncmp(text + ns + 2, dot + 1, k) || (text[ns + 2 + k] != '.' && text[ns + 2 + k] != '(')) continue;
        const fy_schema *s;
        int to[ARGS];
        FY_TRY(parsed(t, &s, text, e));
        if (s->narg > ARGS) continue;
        int cost = match(s, n, to);
        if (cost < 0 || (least >= 0 && cost >= least)) continue;
        least = cost;
        *best = s;
        memcpy(at, to, sizeof to);
    }
    return FY_OK;
}

/* Ints that stand for element types and formats, empty lists, lists of ints where floats are meant. */
static fy_status convert(fy_typer *t, fy_parg *a, const fy_schema_arg *s, ferry_error *e) {
    if (a->kind == FY_ARG_INT && (s->type == FY_ST_DTYPE || (s->type == FY_ST_INT && !strcmp(s->name, "dtype")))) { a->kind = FY_ARG_DTYPE; a->i = fy_c10_dtype(a->i); }
    else if (a->kind == FY_ARG_INT && s->type == FY_ST_MEMORY_FORMAT) { a->kind = FY_ARG_MEMORY_FORMAT; a->i++; }
    else if (a->kind == FY_ARG_INT && s->type == FY_ST_LAYOUT) a->kind = FY_ARG_LAYOUT;
    else if (a->kind == FY_ARG_STRING && s->type == FY_ST_DEVICE) a->kind = FY_ARG_DEVICE;
    else if (a->kind == FY_ARG_INTS && !a->n && s->type == FY_ST_TENSORS) {
        a->kind = FY_ARG_TENSORS;
        FY_NOMEM(e, a->values = FY_NEWN(&t->p->arena, fy_pvalue *, 1));
    } else if (a->kind == FY_ARG_INTS && (s->type == FY_ST_FLOATS || s->type == FY_ST_SCALARS)) {
        double *f = FY_NEWN(&t->p->arena, double, a->n);
        FY_NOMEM(e, f);
        for (int64_t i = 0; i < a->n; i++) f[i] = (double)a->ints[i];
        a->kind = FY_ARG_FLOATS;
        a->floats = f;
    } else if (a->kind == FY_ARG_BOOLS && s->type == FY_ST_INTS) a->kind = FY_ARG_INTS;
    return FY_OK;
}

static fy_status settle(fy_typer *t, fy_pnode *n, const fy_schema *s, const int *at, ferry_error *e) {
    fy_parg *arg = FY_NEWN(&t->p->arena, fy_parg, n->narg);
    FY_NOMEM(e, arg);
    int k = 0;
    for (int i = 0; i < s->narg; i++) {                      /* in the schema's order */
        if (at[i] < 0) continue;
        arg[k] = n->arg[at[i]];
        arg[k].name = s->arg[i].name;
        FY_TRY(convert(t, &arg[k++], &s->arg[i], e));
    }
    n->arg = arg;
    n->op = n->target = s->name;
    n->schema = s;
    return fy_mapping_of(t->o.mappings, n->op) ? FY_OK : fy_aten_resolve_node(n, NULL, e);
}

/* Names of the file for what aten.def has under another. */
static void rename_node(fy_pnode *n) {
    if (!strcmp(n->op, "aten._convolution") && n->narg >= 9) { n->op = "aten.convolution"; n->narg = 9; }
}

/* ---- outputs --------------------------------------------------------------------------------------------------------------------- */

static const fy_pvalue *tensor_arg(const fy_pnode *n, const char *name) {
    const fy_parg *a = fy_aten_arg(n, name);
    return a->kind == FY_ARG_TENSOR ? a->value : NULL;
}

static bool named(const fy_pnode *n, const char *base) {
    size_t k = strlen(base);
    return !strncmp(n->op, base, k) && n->op[k] == '.';
}

/* How many tensors a list of results has; -1: not known. */
static int64_t list_count(const fy_pnode *n) {
    const fy_parg *list;
    const fy_pvalue *x = tensor_arg(n, "self");
    int64_t dim = fy_aten_arg(n, "dim")->i, size = -1, k;
    if (x && x->has_meta && dim >= -x->rank && dim < x->rank) (void)fy_dim_known(x->dim[dim < 0 ? dim + x->rank : dim], &size);
    if (named(n, "aten.unbind")) return size;
    if (named(n, "aten.chunk") || named(n, "aten.unsafe_chunk")) {
        k = fy_aten_arg(n, "chunks")->i;
        if (size < 0 || k < 1) return k > 0 ? k : -1;
        int64_t each = (size + k - 1) / k;
        return each ? (size + each - 1) / each : k;
    }
    if (!strcmp(n->op, "aten.tensor_split.sections")) return fy_aten_arg(n, "sections")->i;
    if (!strcmp(n->op, "aten.tensor_split.indices")) return fy_aten_arg(n, "indices")->n + 1;
    if ((named(n, "aten.split") || named(n, "aten.unsafe_split")) && fy_aten_arg(n, "split_size")->kind == FY_ARG_INT) {
        k = fy_aten_arg(n, "split_size")->i;
        return size < 0 || k < 1 ? -1 : size ? (size + k - 1) / k : 1;
    }
    if (strstr(n->op, "split") && (list = fy_aten_arg(n, strstr(n->op, "split_with_sizes") ? "split_sizes" : "split_size"))->n) return list->n;
    if ((list = fy_aten_arg(n, "tensors"))->kind == FY_ARG_TENSORS) return list->n;
    return -1;
}

static fy_status new_value(fy_typer *t, fy_pvalue **v, fy_pvalue_kind kind, fy_pnode *n, ferry_error *e) {
    char name[100];
    const char *dot = strchr(n->op, '.'), *end = dot ? strchr(dot + 1, '.') : NULL;
    snprintf(name, sizeof name, "%.*s_%u", dot ? (int)(end ? end - dot - 1 : 60) : 5, dot ? dot + 1 : "value", t->p->nvalues);
    *v = fy_pvalue_new(t->p, kind, name);
    FY_NOMEM(e, *v);
    (*v)->def = n;
    return FY_OK;
}

/* How many tensors a mapped operator gives: as many as its body, or as the operator of a plugin. */
static int mapped_outputs(const fy_typer *t, const fy_mapping *m) {
    if (m->body) return (int)m->body->graph->out.n;
    const char *sep = strstr(m->op, "::");
    char domain[200];
    snprintf(domain, sizeof domain, "%.*s", sep ? (int)(sep - m->op) : 0, m->op);
    const fy_op *op = fy_op_find(t->l.m->registry, domain, sep ? sep + 2 : m->op);
    return op && op->max_out > 0 ? op->max_out : 1;
}

static fy_status make_outputs(fy_typer *t, fy_pnode *n, const fy_schema *s, ferry_error *e) {
    if (n->nout) return FY_OK;                               /* made already */
    const fy_mapping *mapped = fy_mapping_of(t->o.mappings, n->op);
    int nret = mapped ? mapped_outputs(t, mapped) : s ? s->nret : 1;
    if (mapped) s = NULL;
    FY_NOMEM(e, n->out = FY_NEWN(&t->p->arena, fy_parg, nret));
    n->nout = nret;
    for (int i = 0; i < nret; i++) {
        fy_parg *o = &n->out[i];
        fy_schema_type type = s ? s->ret[i].type : FY_ST_TENSOR;
        o->name = "";
        if (type == FY_ST_TENSORS) {
            int64_t k = list_count(n);
            FY_NEED(e, k >= 0 && k < 100000, UNSUPPORTED, "%s gives a list whose length is not known before the model runs", n->op);
            o->kind = FY_ARG_TENSORS;
            o->n = k;
            FY_NOMEM(e, o->values = FY_NEWN(&t->p->arena, fy_pvalue *, k));
            for (int64_t j = 0; j < k; j++) FY_TRY(new_value(t, &o->values[j], FY_PV_TENSOR, n, e));
            continue;
        }
        fy_pvalue *v;
        o->kind = type == FY_ST_INT ? FY_ARG_SYM : type == FY_ST_BOOL ? FY_ARG_SYMBOOL : type == FY_ST_FLOAT ? FY_ARG_SYMFLOAT : FY_ARG_TENSOR;
        FY_TRY(new_value(t, &v, type == FY_ST_INT ? FY_PV_SYMINT : type == FY_ST_BOOL ? FY_PV_SYMBOOL : type == FY_ST_FLOAT ? FY_PV_SYMFLOAT : FY_PV_TENSOR, n, e));
        v->def_slot = i;
        if (o->kind == FY_ARG_SYM) {
            o->sym.value = v;
            FY_NOMEM(e, v->sym = fy_dim_element(t->p->dims, "u", INT64_MIN, INT64_MAX));
        } else o->value = v;
    }
    return FY_OK;
}

/* ---- sizes, from one pool to the other --------------------------------------------------------------------------------------------- */

typedef const fy_dim *(*atom_fn)(fy_typer *t, const fy_dim *d);

static const fy_dim *translate(fy_typer *t, fy_dims *to, const fy_dim *d, atom_fn atom, int depth) {
    const fy_dim *a = NULL, *b = NULL;
    if (!d || depth > 70) return NULL;
    switch (d->kind) {
    case FY_DIM_CONST: return fy_dim_const(to, d->value);
    case FY_DIM_SYM: case FY_DIM_OPAQUE: return atom(t, d);
    case FY_DIM_SUM: case FY_DIM_PROD:
        a = fy_dim_const(to, d->value);
        for (int i = 0; i < d->nargs && a; i++) {
            b = translate(t, to, d->arg[i], atom, depth + 1);
            a = !b ? NULL : d->kind == FY_DIM_SUM ? fy_dim_add(to, a, b) : fy_dim_mul(to, a, b);
        }
        return a;
    case FY_DIM_SCALE: a = translate(t, to, d->arg[0], atom, depth + 1); return a ? fy_dim_scale(to, a, d->value, d->den) : NULL;
    case FY_DIM_FLOORDIV: case FY_DIM_CEILDIV: case FY_DIM_MOD: case FY_DIM_POW: case FY_DIM_MIN: case FY_DIM_MAX: break;
    }
    a = translate(t, to, d->arg[0], atom, depth + 1);
    b = translate(t, to, d->arg[1], atom, depth + 1);
    if (!a || !b) return NULL;
    return d->kind == FY_DIM_FLOORDIV ? fy_dim_floordiv(to, a, b) : d->kind == FY_DIM_CEILDIV ? fy_dim_ceildiv(to, a, b) : d->kind == FY_DIM_MOD ? fy_dim_mod(to, a, b)
         : d->kind == FY_DIM_POW ? fy_dim_pow(to, a, b) : d->kind == FY_DIM_MIN ? fy_dim_min(to, a, b) : fy_dim_max(to, a, b);
}

/* Remembers that a symbol of the program and one of the model are the same. */
static bool pair(fy_typer *t, const fy_dim *ours, const fy_dim *theirs) {
    const fy_dim **key = FY_NEW(&t->l.tmp, const fy_dim *);
    if (!key || !ours || !theirs) return false;
    *key = theirs;
    return fy_map_puts(&t->l.symbol, ours->name, held(theirs)) && fy_map_put(&t->back, (const char *)key, sizeof *key, held(ours));
}

static const fy_dim *to_model(fy_typer *t, const fy_dim *d) {
    const fy_dim *got = fy_map_gets(&t->l.symbol, d->name);
    if (got) return got;
    got = d->kind == FY_DIM_SYM ? fy_dim_sym(t->l.m->dims, fy_arena_str(&t->l.m->arena, d->name)) : fy_dim_opaque(t->l.m->dims, "u");
    if (got && d->kind == FY_DIM_SYM) fy_dim_bound(t->l.m->dims, got, d->lo, d->hi);
    return pair(t, d, got) ? got : NULL;
}

static const fy_dim *to_program(fy_typer *t, const fy_dim *d) {
    const fy_dim *got = fy_map_get(&t->back, (const char *)&d, sizeof d);
    if (got) return got;
    got = fy_dim_opaque(t->p->dims, "u");
    return pair(t, got, d) ? got : NULL;
}

/* ---- types ------------------------------------------------------------------------------------------------------------------------- */

static fy_status room(fy_typer *t, uint32_t id, ferry_error *e) {
    if (id < t->l.nval) return FY_OK;
    uint32_t n = id + 1 + id / 2 + 256;
    fy_lval *val = FY_NEWN(&t->l.tmp, fy_lval, n);
    const fy_pinput **input = FY_NEWN(&t->l.tmp, const fy_pinput *, n);
    FY_NOMEM(e, val);
    FY_NOMEM(e, input);
    if (t->l.nval) {
        memcpy(val, t->l.val, t->l.nval * sizeof *val);
        memcpy(input, t->l.input, t->l.nval * sizeof *input);
    }
    t->l.val = val;
    t->l.input = input;
    t->l.nval = n;
    return FY_OK;
}

static fy_status scratch_input(fy_typer *t, fy_value **v, fy_dtype dtype, int rank, const fy_dim *const *dim, ferry_error *e) {
    fy_type type = fy_tensor_type(t->l.m, dtype, rank, dim);
    char *name = fy_arena_fmt(&t->l.m->arena, "in_%lld", (long long)t->l.m->graph->in.n);
    FY_NOMEM(e, type.kind == FY_TENSOR && name);
    *v = fy_graph_add_input(t->l.m->graph, name, &type);
    FY_NOMEM(e, *v);
    return FY_OK;
}

fy_status fy_typer_value(void *typer, fy_pvalue *v, const fy_pinput *weight, const fy_pvalue *same, ferry_error *e) {
    fy_typer *t = typer;
    fy_lower *l = &t->l;
    fy_value *made;
    l->b.e = e;
    l->b.status = FY_OK;
    FY_TRY(room(t, v->id, e));
    l->n = NULL;
    if (same) {
        if (v->kind == FY_PV_TENSOR && same->has_meta) (void)fy_l_value(l, same);    /* weights are made when they are read */
        FY_L_OK(l);
        l->val[v->id] = l->val[same->id];
        l->input[v->id] = l->input[same->id];
        return FY_OK;
    }
    if (weight) { l->input[v->id] = weight; return FY_OK; }
    if (v->kind == FY_PV_SYMINT) {
        const fy_dim *d = translate(t, l->m->dims, v->sym, to_model, 0);
        FY_NOMEM(e, d);
        l->val[v->id].dim = d;
        if (d->kind != FY_DIM_OPAQUE) return FY_OK;
        FY_TRY(scratch_input(t, &made, FERRY_INT64, 0, NULL, e));
        FY_PUSH(e, l->source, ((fy_lsource){d, made, -1}));
        return FY_OK;
    }
    if (v->kind == FY_PV_SYMBOOL || v->kind == FY_PV_SYMFLOAT) return scratch_input(t, &l->val[v->id].v, v->kind == FY_PV_SYMBOOL ? FERRY_BOOL : FERRY_DOUBLE, 0, NULL, e);
    if (v->kind != FY_PV_TENSOR || !v->has_meta) return FY_OK;
    const fy_dim *dim[FY_MAX_RANK];
    for (int i = 0; i < v->rank; i++) {
        dim[i] = translate(t, l->m->dims, v->dim[i], to_model, 0);
        FY_NOMEM(e, dim[i]);
    }
    FY_TRY(scratch_input(t, &made, v->dtype, v->rank, dim, e));
    l->val[v->id].v = made;
    for (int i = 0; i < v->rank; i++)
        if (made->type.dim[i]->kind == FY_DIM_OPAQUE) FY_PUSH(e, l->source, ((fy_lsource){made->type.dim[i], made, i}));
    return FY_OK;
}

static fy_status record(fy_typer *t, fy_pvalue *v, ferry_error *e) {
    const fy_value *x = v->id < t->l.nval ? t->l.val[v->id].v : NULL;
    if (!x || x->type.kind != FY_TENSOR || x->type.rank < 0) return FY_OK;
    const fy_dim **dim = FY_NEWN(&t->p->arena, const fy_dim *, x->type.rank);
    FY_NOMEM(e, dim);
    for (int i = 0; i < x->type.rank; i++) FY_NOMEM(e, dim[i] = translate(t, t->p->dims, x->type.dim[i], to_program, 0));
    v->has_meta = true;
    v->dtype = !t->l.val[v->id].im ? x->type.dtype : x->type.dtype == FERRY_DOUBLE ? FERRY_COMPLEX128 : FERRY_COMPLEX64;
    v->rank = x->type.rank;
    v->dim = dim;
    return FY_OK;
}

static bool typed_args(const fy_pnode *n) {
    for (int i = 0; i < n->narg; i++) {
        const fy_parg *a = &n->arg[i];
        if (a->kind == FY_ARG_TENSOR && !a->value->has_meta) return false;
        for (int64_t k = 0; a->kind == FY_ARG_TENSORS && k < a->n; k++)
            if (a->values[k] && !a->values[k]->has_meta) return false;
    }
    return true;
}

/* The value that the node writes into, if it is of that kind: its results are that value again. */
static const fy_pvalue *written(const fy_pnode *n, const fy_schema *s) {
    for (int i = 0; i < s->narg; i++)
        if (s->arg[i].written && s->arg[i].type == FY_ST_TENSOR && s->nret && s->ret[0].alias == s->arg[i].alias) return tensor_arg(n, s->arg[i].name);
    return NULL;
}

static fy_status infer(fy_typer *t, fy_pnode *n, ferry_error *e) {
    fy_lower *l = &t->l;
    const fy_schema *s = n->schema;
    const fy_aten_op *op = fy_aten_find(n->op);
    const fy_pvalue *self = s ? written(n, s) : NULL;
    FY_TRY(room(t, t->p->nvalues, e));
    if (!typed_args(n)) return FY_OK;
    if (self) {
        fy_pvalue *o = n->nout && n->out[0].kind == FY_ARG_TENSOR ? n->out[0].value : NULL;
        bool reshapes = named(n, "aten.squeeze_") || named(n, "aten.unsqueeze_") || named(n, "aten.transpose_") || named(n, "aten.t_") || named(n, "aten.resize_");
        if (!o || reshapes) return FY_OK;
        o->has_meta = self->has_meta;
        o->dtype = self->dtype;
        o->rank = self->rank;
        o->dim = self->dim;
        l->b.e = e;
        l->b.status = FY_OK;
        (void)fy_l_value(l, self);
        l->val[o->id] = l->val[self->id];
        return l->b.status;
    }
    if (!fy_mapping_of(t->o.mappings, n->op) && (!op || !op->lower)) return FY_OK;
    l->b.e = e;
    l->b.status = FY_OK;
    l->n = n;
    for (int i = 0; i < n->nout; i++) {                      /* lowerings skip what nobody reads */
        if (n->out[i].kind == FY_ARG_TENSOR) n->out[i].value->nuses++;
        for (int64_t k = 0; n->out[i].kind == FY_ARG_TENSORS && k < n->out[i].n; k++) n->out[i].values[k]->nuses++;
    }
    FY_TRY(fy_lower_node(l));
    for (int i = 0; i < n->nout; i++) {
        const fy_parg *o = &n->out[i];
        if (o->kind == FY_ARG_TENSOR) FY_TRY(record(t, o->value, e));
        for (int64_t k = 0; o->kind == FY_ARG_TENSORS && k < o->n; k++) FY_TRY(record(t, o->values[k], e));
        if (o->kind != FY_ARG_SYM || !o->sym.value) continue;
        fy_pvalue *v = o->sym.value;
        const fy_dim *d = l->val[v->id].dim;
        if (d && d->kind != FY_DIM_OPAQUE) FY_NOMEM(e, v->sym = translate(t, t->p->dims, d, to_program, 0));
        else if (d && v->sym && v->sym->name) FY_NOMEM(e, pair(t, v->sym, d));
    }
    return FY_OK;
}

fy_status fy_typer_node(void *typer, fy_pnode *n, ferry_error *e) {
    fy_typer *t = typer;
    const fy_schema *s = NULL;
    int at[ARGS];
    rename_node(n);
    if (fy_aten_find(n->op)) FY_TRY(fy_aten_resolve_node(n, NULL, e));
    else {
        FY_TRY(find_overload(t, n, &s, at, e));
        if (s) FY_TRY(settle(t, n, s, at, e));
    }
    FY_TRY(make_outputs(t, n, n->schema, e));
    return n->schema ? infer(t, n, e) : FY_OK;
}

fy_status fy_typer_missing(void *typer, ferry_error *e) {
    const fy_typer *t = typer;
    return fy_aten_missing(t->p, &t->o, e);
}

fy_status fy_typer_new(fy_typer **to, fy_program *p, const fy_lower_options *o, ferry_error *e) {
    fy_typer *t = fy_calloc(1, sizeof *t);
    *to = NULL;
    FY_NOMEM(e, t);
    t->p = p;
    t->l.p = p;
    if (o) t->o = *o;
    t->l.o = &t->o;
    t->l.m = fy_model_new(t->o.registry ? t->o.registry : fy_registry_builtin());
    if (!t->l.m) { fy_typer_free(t); return fy_nomem(e); }
    t->l.b = (fy_build){.g = t->l.m->graph, .e = e};
    *to = t;
    return FY_OK;
}

void fy_typer_free(fy_typer *t) {
    if (!t) return;
    fy_map_free(&t->schemas);
    fy_map_free(&t->back);
    fy_lower_done(&t->l);
    fy_model_free(t->l.m);
    fy_free(t);
}
