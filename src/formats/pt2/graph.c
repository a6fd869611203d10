/* SPDX-License-Identifier: Apache-2.0
 * graph.c - the graph of model.json. Source: the dataclasses of torch/_export/serde/schema.py, versions 5 to 8.20.
 *
 * Unions are objects of one key; a tag that is not known becomes an object argument of that name, so that only the
 * operator that needs it fails. Everything is linear in the size of the file: names are looked up in maps. */
#include "formats/pt2/reader.h"

#include "base/os.h"

#include <math.h>
#include <string.h>

/* Names of one graph: values made so far, and the recorded metadata by name. */
typedef struct scope { fy_pgraph *g; fy_map values, tensors, ints; } scope;

/* The schema's own numbers (not c10's). */
fy_dtype fy_pt2_dtype(int64_t t) {
    static const fy_dtype low[] = {0,           FERRY_UINT8,  FERRY_INT8, FERRY_INT16,     FERRY_INT32,      FERRY_INT64, FERRY_FLOAT16,
                                   FERRY_FLOAT, FERRY_DOUBLE, 0,          FERRY_COMPLEX64, FERRY_COMPLEX128, FERRY_BOOL,  FERRY_BFLOAT16};
    static const fy_dtype high[] = {FERRY_UINT16,         FERRY_FLOAT8E4M3FN, FERRY_FLOAT8E5M2, FERRY_FLOAT8E4M3FNUZ,
                                    FERRY_FLOAT8E5M2FNUZ, FERRY_FLOAT8E8M0,   FERRY_UINT32,     FERRY_UINT64};
    return t >= 0 && t < FY_COUNT(low) ? low[t] : t >= 28 && t < 28 + FY_COUNT(high) ? high[t - 28] : FERRY_UNDEFINED;
}

static bool tag(const fy_json *u, const char *name) { return u->nkey == strlen(name) && !memcmp(u->key, name, u->nkey); }

static int64_t length(const fy_json *list) {
    int64_t n = 0;
    for (const fy_json *j = list->child; j; j = j->next) n++;
    return n;
}

/* The one member of a union. */
static fy_status member(fy_pt2 *r, const fy_json **m, const fy_json *u) {
    *m = NULL;
    FY_NEED(r->e, u && u->kind == FY_JSON_OBJECT && u->child && !u->child->next, CORRUPT, "an argument is not a union of one member");
    *m = u->child;
    return FY_OK;
}

/* ---- values --------------------------------------------------------------------------------------------------------- */

/* SymInt: {"as_int": n} | {"as_expr": {"expr_str": ..., "hint": ...}} */
static fy_status sym_int(fy_pt2 *r, const fy_dim **d, const fy_json *j) {
    const fy_json *m = NULL;
    FY_TRY(member(r, &m, j));
    if (tag(m, "as_int") && m->kind == FY_JSON_INT) {
        *d = fy_dim_const(r->p->dims, m->i);
        FY_NOMEM(r->e, *d);
        return FY_OK;
    }
    const fy_json *text = fy_json_get(m, "expr_str");
    FY_NEED(r->e, tag(m, "as_expr") && text && text->kind == FY_JSON_STRING, CORRUPT, "a size is neither an int nor an expression");
    return fy_pt2_expr(r, d, text->s, text->n);
}

static fy_status sym_list(fy_pt2 *r, const fy_dim *const **to, const fy_json *list, int rank) {
    const fy_dim **d = FY_NEWN(&r->p->arena, const fy_dim *, rank);
    FY_NOMEM(r->e, d);
    int i = 0;
    for (const fy_json *j = list->child; j; j = j->next) FY_TRY(sym_int(r, &d[i++], j));
    *to = d;
    return FY_OK;
}

static fy_status tensor_meta(fy_pt2 *r, fy_pvalue *v, const fy_json *meta) {
    const fy_json *dtype = fy_json_get(meta, "dtype"), *sizes = fy_json_get(meta, "sizes"), *strides = fy_json_get(meta, "strides");
    if (!dtype || dtype->kind != FY_JSON_INT || !sizes || sizes->kind != FY_JSON_ARRAY) return FY_OK;
    int64_t rank = length(sizes);
    FY_NEED(r->e, rank <= FY_MAX_RANK, LIMIT, "the tensor %s has %lld dimensions; at most %d", v->name, (long long)rank, FY_MAX_RANK);
    v->dtype = fy_pt2_dtype(dtype->i);
    v->rank = (int)rank;
    FY_TRY(sym_list(r, &v->dim, sizes, v->rank));
    if (strides && strides->kind == FY_JSON_ARRAY && length(strides) == rank) FY_TRY(sym_list(r, &v->stride, strides, v->rank));
    v->has_meta = true;
    return FY_OK;
}

static fy_status define(fy_pt2 *r, scope *s, fy_pvalue **to, const fy_json *name, fy_pvalue_kind kind) {
    const char *text;
    FY_TRY(fy_pt2_str(r, &text, name, "the name of a value"));
    FY_NEED(r->e, !fy_map_gets(&s->values, text), CORRUPT, "two values are named %s", text);
    fy_pvalue *v = fy_pvalue_new(r->p, kind, NULL);
    FY_NOMEM(r->e, v);
    v->name = text;
    const fy_json *meta = fy_map_gets(kind == FY_PV_TENSOR ? &s->tensors : &s->ints, text);
    if (kind == FY_PV_TENSOR && meta) FY_TRY(tensor_meta(r, v, meta));
    if (kind == FY_PV_SYMINT && meta) FY_TRY(sym_int(r, &v->sym, meta));
    FY_NOMEM(r->e, fy_map_puts(&s->values, text, v));
    *to = v;
    return FY_OK;
}

static fy_status find(fy_pt2 *r, scope *s, fy_pvalue **to, const fy_json *name) {
    FY_NEED(r->e, name && name->kind == FY_JSON_STRING, CORRUPT, "an argument has no name");
    fy_pvalue *v = s ? fy_map_get(&s->values, name->s, name->n) : NULL;
    FY_NEED(r->e, v, GRAPH, "the value %.*s is used before it is made", name->n > 80 ? 80 : (int)name->n, name->s);
    v->nuses++;
    *to = v;
    return FY_OK;
}

/* ---- arguments ------------------------------------------------------------------------------------------------------ */

static fy_status number(fy_pt2 *r, double *to, const fy_json *j) {
    if (fy_json_is(j, "Infinity")) *to = (double)INFINITY;
    else if (fy_json_is(j, "-Infinity")) *to = -(double)INFINITY;
    else if (fy_json_is(j, "NaN")) *to = (double)NAN;
    else {
        FY_NEED(r->e, j && (j->kind == FY_JSON_INT || j->kind == FY_JSON_NUMBER), CORRUPT, "a float argument is not a number");
        *to = j->f;
    }
    return FY_OK;
}

static fy_status int_arg(fy_pt2 *r, fy_parg *a, const fy_json *m, fy_arg_kind kind) {
    a->kind = kind;
    if (m->kind == FY_JSON_BOOL) { a->i = m->b; return FY_OK; }
    return fy_pt2_int(r, &a->i, m, "an argument");
}

/* SymIntArgument: {"as_name": v} | {"as_int": n}; the bool and float kinds alike. */
static fy_status sym_arg(fy_pt2 *r, scope *s, fy_parg *a, const fy_json *u, fy_arg_kind named, fy_arg_kind literal) {
    const fy_json *m = NULL;
    FY_TRY(member(r, &m, u));
    if (tag(m, "as_name")) {
        a->kind = named;
        fy_pvalue *v;
        FY_TRY(find(r, s, &v, m));
        if (named == FY_ARG_SYM) a->sym.value = v;
        else a->value = v;
        return FY_OK;
    }
    if (literal == FY_ARG_FLOAT) { a->kind = literal; return number(r, &a->f, m); }
    return int_arg(r, a, m, literal);
}

static fy_status sym_ints(fy_pt2 *r, scope *s, fy_parg *a, const fy_json *list) {
    a->n = length(list);
    fy_psym *v = FY_NEWN(&r->p->arena, fy_psym, a->n);
    FY_NOMEM(r->e, v);
    bool named = false;
    int64_t i = 0;
    for (const fy_json *j = list->child; j; j = j->next, i++) {
        fy_parg one = {0};
        FY_TRY(sym_arg(r, s, &one, j, FY_ARG_SYM, FY_ARG_INT));
        v[i] = one.kind == FY_ARG_SYM ? one.sym : (fy_psym){ NULL, one.i };
        named |= one.kind == FY_ARG_SYM;
    }
    if (named) { a->kind = FY_ARG_SYMS; a->syms = v; return FY_OK; }
    int64_t *ints = FY_NEWN(&r->p->arena, int64_t, a->n);
    FY_NOMEM(r->e, ints);
    for (i = 0; i < a->n; i++) ints[i] = v[i].i;
    a->kind = FY_ARG_INTS;
    a->ints = ints;
    return FY_OK;
}

static fy_status int_list(fy_pt2 *r, fy_parg *a, const fy_json *list, fy_arg_kind kind) {
    a->kind = kind;
    a->n = length(list);
    int64_t *v = FY_NEWN(&r->p->arena, int64_t, a->n);
    FY_NOMEM(r->e, v);
    int64_t i = 0;
    for (const fy_json *j = list->child; j; j = j->next, i++) {
        if (j->kind == FY_JSON_BOOL) v[i] = j->b;
        else FY_TRY(fy_pt2_int(r, &v[i], j, "an argument"));
    }
    a->ints = v;
    return FY_OK;
}

static fy_status float_list(fy_pt2 *r, fy_parg *a, const fy_json *list) {
    a->kind = FY_ARG_FLOATS;
    a->n = length(list);
    double *v = FY_NEWN(&r->p->arena, double, a->n);
    FY_NOMEM(r->e, v);
    int64_t i = 0;
    for (const fy_json *j = list->child; j; j = j->next) FY_TRY(number(r, &v[i++], j));
    a->floats = v;
    return FY_OK;
}

static fy_status string_list(fy_pt2 *r, fy_parg *a, const fy_json *list) {
    a->kind = FY_ARG_STRINGS;
    a->n = length(list);
    const char **v = FY_NEWN(&r->p->arena, const char *, a->n);
    FY_NOMEM(r->e, v);
    int64_t i = 0;
    for (const fy_json *j = list->child; j; j = j->next) FY_TRY(fy_pt2_str(r, &v[i++], j, "an argument"));
    a->strings = v;
    return FY_OK;
}

/* [{"name": ...}] or, with `optional`, [{"as_tensor": {"name": ...}} | {"as_none": ...}]; with `make` they are outputs. */
static fy_status tensor_list(fy_pt2 *r, scope *s, fy_parg *a, const fy_json *list, bool optional, bool make) {
    a->kind = FY_ARG_TENSORS;
    a->n = length(list);
    a->values = FY_NEWN(&r->p->arena, fy_pvalue *, a->n);
    FY_NOMEM(r->e, a->values);
    int64_t i = 0;
    for (const fy_json *j = list->child; j; j = j->next, i++) {
        const fy_json *t = j;
        if (optional) {
            FY_TRY(member(r, &t, j));
            if (tag(t, "as_none")) continue;
        }
        if (make) FY_TRY(define(r, s, &a->values[i], fy_json_get(t, "name"), FY_PV_TENSOR));
        else FY_TRY(find(r, s, &a->values[i], fy_json_get(t, "name")));
    }
    return FY_OK;
}

static fy_status device(fy_pt2 *r, fy_parg *a, const fy_json *m) {
    const fy_json *index = fy_json_get(m, "index");
    a->kind = FY_ARG_DEVICE;
    FY_TRY(fy_pt2_str(r, &a->s, fy_json_get(m, "type"), "a device"));
    if (index && index->kind == FY_JSON_INT) {
        a->s = fy_arena_fmt(&r->p->arena, "%s:%lld", a->s, (long long)index->i);
        FY_NOMEM(r->e, a->s);
    }
    return FY_OK;
}

static fy_status graph(fy_pt2 *r, fy_pgraph **to, const fy_json *j, int depth);

static fy_status argument(fy_pt2 *r, scope *s, fy_parg *a, const fy_json *u, int depth) {
    const fy_json *m = NULL;
    FY_TRY(member(r, &m, u));
    if (tag(m, "as_none")) { a->kind = FY_ARG_NONE; return FY_OK; }
    if (tag(m, "as_tensor")) { a->kind = FY_ARG_TENSOR; return find(r, s, &a->value, fy_json_get(m, "name")); }
    if (tag(m, "as_int")) return int_arg(r, a, m, FY_ARG_INT);
    if (tag(m, "as_bool")) return int_arg(r, a, m, FY_ARG_BOOL);
    if (tag(m, "as_float")) { a->kind = FY_ARG_FLOAT; return number(r, &a->f, m); }
    if (tag(m, "as_string")) { a->kind = FY_ARG_STRING; return fy_pt2_str(r, &a->s, m, "an argument"); }
    if (tag(m, "as_ints")) return int_list(r, a, m, FY_ARG_INTS);
    if (tag(m, "as_bools")) return int_list(r, a, m, FY_ARG_BOOLS);
    if (tag(m, "as_floats")) return float_list(r, a, m);
    if (tag(m, "as_strings")) return string_list(r, a, m);
    if (tag(m, "as_tensors")) return tensor_list(r, s, a, m, false, false);
    if (tag(m, "as_optional_tensors")) return tensor_list(r, s, a, m, true, false);
    if (tag(m, "as_optional_tensor")) return argument(r, s, a, m, depth);    /* as_tensor or as_none again */
    if (tag(m, "as_sym_int")) return sym_arg(r, s, a, m, FY_ARG_SYM, FY_ARG_INT);
    if (tag(m, "as_sym_bool")) return sym_arg(r, s, a, m, FY_ARG_SYMBOOL, FY_ARG_BOOL);
    if (tag(m, "as_sym_float")) return sym_arg(r, s, a, m, FY_ARG_SYMFLOAT, FY_ARG_FLOAT);
    if (tag(m, "as_sym_ints")) return sym_ints(r, s, a, m);
    if (tag(m, "as_memory_format")) return int_arg(r, a, m, FY_ARG_MEMORY_FORMAT);
    if (tag(m, "as_layout")) return int_arg(r, a, m, FY_ARG_LAYOUT);
    if (tag(m, "as_device")) return device(r, a, m);
    if (tag(m, "as_scalar_type")) {
        FY_TRY(int_arg(r, a, m, FY_ARG_DTYPE));
        a->i = fy_pt2_dtype(a->i);
        return FY_OK;
    }
    if (tag(m, "as_graph")) {
        a->kind = FY_ARG_GRAPH;
        FY_TRY(graph(r, &a->graph, fy_json_get(m, "graph"), depth + 1));
        return fy_pt2_str(r, &a->graph->name, fy_json_get(m, "name"), "the name of a graph");
    }
    if (tag(m, "as_complex")) {
        a->kind = FY_ARG_COMPLEX;
        FY_TRY(number(r, &a->f, fy_json_get(m, "real")));
        return number(r, &a->im, fy_json_get(m, "imag"));
    }
    if (tag(m, "as_operator")) { a->kind = FY_ARG_OPERATOR; return fy_pt2_str(r, &a->s, m, "an operator"); }
    a->kind = FY_ARG_CUSTOM;
    if (tag(m, "as_custom_obj") && fy_json_get(m, "class_fqn")) return fy_pt2_str(r, &a->s, fy_json_get(m, "class_fqn"), "a class");
    return fy_pt2_intern(r, &a->s, m->key, m->nkey);
}

fy_status fy_pt2_literal(fy_pt2 *r, fy_parg *a, const fy_json *arg) { return argument(r, NULL, a, arg, 0); }

/* An input of a graph or an output of a node: its names are new. */
static fy_status made(fy_pt2 *r, scope *s, fy_parg *a, const fy_json *u, int depth) {
    const fy_json *m = NULL, *k;
    FY_TRY(member(r, &m, u));
    if (tag(m, "as_tensor")) { a->kind = FY_ARG_TENSOR; return define(r, s, &a->value, fy_json_get(m, "name"), FY_PV_TENSOR); }
    if (tag(m, "as_tensors")) return tensor_list(r, s, a, m, false, true);
    if (tag(m, "as_optional_tensors")) return tensor_list(r, s, a, m, true, true);
    if (tag(m, "as_optional_tensor")) return made(r, s, a, m, depth);
    if (tag(m, "as_sym_int") && (k = fy_json_get(m, "as_name"))) {
        a->kind = FY_ARG_SYM;
        return define(r, s, &a->sym.value, k, FY_PV_SYMINT);
    }
    if (tag(m, "as_sym_bool") && (k = fy_json_get(m, "as_name"))) {
        a->kind = FY_ARG_SYMBOOL;
        return define(r, s, &a->value, k, FY_PV_SYMBOOL);
    }
    if (tag(m, "as_sym_float") && (k = fy_json_get(m, "as_name"))) {
        a->kind = FY_ARG_SYMFLOAT;
        return define(r, s, &a->value, k, FY_PV_SYMFLOAT);
    }
    if (tag(m, "as_custom_obj") && (k = fy_json_get(m, "name"))) {
        FY_TRY(define(r, s, &a->value, k, FY_PV_OTHER));
        a->kind = FY_ARG_CUSTOM;
        return fy_json_get(m, "class_fqn") ? fy_pt2_str(r, &a->s, fy_json_get(m, "class_fqn"), "a class") : FY_OK;
    }
    return argument(r, s, a, u, depth);
}

/* ---- nodes ---------------------------------------------------------------------------------------------------------- */

/* "torch.ops.aten.add.Tensor" -> "aten.add.Tensor", "torch.ops.higher_order.cond" -> "hop.cond", "_operator.mul",
 * "math.trunc", "torch.sym_max" -> "sym.mul", "sym.trunc", "sym.max". */
static fy_status normalise(fy_pt2 *r, const char **op, const char *target) {
    static const struct {
        const char *from, *to;
    } heads[] = {{"torch.ops.higher_order.", "hop."},
                 {"torch.ops.", ""},
                 {"_operator.", "sym."},
                 {"math.", "sym."},
                 {"torch._sym_", "sym."},
                 {"torch.sym_", "sym."}};
    *op = target;
    for (int i = 0; i < FY_COUNT(heads); i++) {
        size_t n = strlen(heads[i].from);
        if (strncmp(target, heads[i].from, n)) continue;
        char *text = fy_arena_fmt(&r->tmp, "%s%s", heads[i].to, target + n);
        FY_NOMEM(r->e, text);
        return fy_pt2_intern(r, op, text, strlen(text));
    }
    return FY_OK;
}

static fy_status node_args(fy_pt2 *r, scope *s, fy_pnode *n, const fy_json *inputs, const fy_json *outputs, int depth) {
    int i = 0;
    for (const fy_json *k = inputs->child; k; k = k->next, i++) {
        const fy_json *name = fy_json_get(k, "name");
        n->arg[i].name = "";
        if (name) FY_TRY(fy_pt2_str(r, &n->arg[i].name, name, "an argument"));
        FY_TRY(argument(r, s, &n->arg[i], fy_json_get(k, "arg"), depth));
    }
    i = 0;
    for (const fy_json *k = outputs->child; k; k = k->next) FY_TRY(made(r, s, &n->out[i++], k, depth));
    for (i = 0; i < n->nout; i++) {
        fy_parg *o = &n->out[i];
        o->name = "";
        for (int64_t k = 0; o->values && k < o->n; k++)
            if (o->values[k]) { o->values[k]->def = n; o->values[k]->def_slot = i; }
        fy_pvalue *v = o->value ? o->value : o->sym.value;
        if (v) { v->def = n; v->def_slot = i; }
    }
    return FY_OK;
}

/* Integers divided are floats. PyTorch 2.7 records them as integers where a scripted function divides them. */
static void correct(fy_pnode *n) {
    if (strcmp(n->op, "aten.div.Tensor") != 0 || n->nout != 1 || !n->out[0].value) return;
    fy_pvalue *v = n->out[0].value;
    const fy_class kind = fy_dtype_class(v->dtype);
    if (v->has_meta && (kind == FY_CLASS_I || kind == FY_CLASS_U)) v->dtype = FERRY_FLOAT;
}

static fy_status node(fy_pt2 *r, scope *s, const fy_json *j, int depth) {
    const fy_json *inputs = fy_json_get(j, "inputs"), *outputs = fy_json_get(j, "outputs");
    const char *target, *op;
    FY_TRY(fy_pt2_str(r, &target, fy_json_get(j, "target"), "the target of a node"));
    FY_NEED(r->e, inputs && inputs->kind == FY_JSON_ARRAY && outputs && outputs->kind == FY_JSON_ARRAY, CORRUPT,
            "node %s has no lists of inputs and outputs", target);
    FY_TRY(normalise(r, &op, target));
    int64_t nin = length(inputs), nout = length(outputs);
    FY_NEED(r->e, nin <= 1000000 && nout <= 1000000, LIMIT, "node %s has %lld arguments", target, (long long)nin);
    fy_pnode *n = fy_pnode_new(s->g, NULL, NULL, (int)nin, (int)nout);
    FY_NOMEM(r->e, n);
    n->target = target;
    n->op = op;
    fy_status st = fy_pt2_metadata(r, n, fy_json_get(j, "metadata"));
    if (!st) st = node_args(r, s, n, inputs, outputs, depth);
    if (!st) correct(n);
    return st ? fy_frame(r->e, st, "node %u (%s)%s%s", n->id, op, n->source ? " at " : "", n->source ? n->source : "") : FY_OK;
}

static fy_status by_name(fy_pt2 *r, fy_map *m, const fy_json *object) {
    if (!object || object->kind != FY_JSON_OBJECT) return FY_OK;
    for (const fy_json *j = object->child; j; j = j->next)
        FY_NOMEM(r->e, fy_map_put(m, j->key, j->nkey, (void *)(uintptr_t)j));
    return FY_OK;
}

static fy_status fill(fy_pt2 *r, scope *s, const fy_json *j, int depth) {
    fy_pgraph *g = s->g;
    const fy_json *inputs = fy_json_get(j, "inputs"), *outputs = fy_json_get(j, "outputs"), *nodes = fy_json_get(j, "nodes");
    FY_NEED(r->e,
            inputs && inputs->kind == FY_JSON_ARRAY && outputs && outputs->kind == FY_JSON_ARRAY && nodes && nodes->kind == FY_JSON_ARRAY,
            CORRUPT, "a graph has no lists of inputs, nodes and outputs");
    FY_TRY(by_name(r, &s->tensors, fy_json_get(j, "tensor_values")));
    FY_TRY(by_name(r, &s->ints, fy_json_get(j, "sym_int_values")));
    int64_t nin = length(inputs), nout = length(outputs);
    FY_NEED(r->e, nin <= 10000000 && nout <= 10000000, LIMIT, "a graph has %lld inputs", (long long)nin);
    g->in = FY_NEWN(&r->p->arena, fy_parg, nin);
    g->out = FY_NEWN(&r->p->arena, fy_parg, nout);
    FY_NOMEM(r->e, g->in && g->out);
    for (const fy_json *k = inputs->child; k; k = k->next) {
        g->in[g->nin].name = "";
        FY_TRY(made(r, s, &g->in[g->nin], k, depth));
        fy_pvalue *v = g->in[g->nin].value ? g->in[g->nin].value : g->in[g->nin].sym.value;
        if (v) v->def_slot = g->nin;
        g->nin++;
    }
    for (const fy_json *k = nodes->child; k; k = k->next) FY_TRY(node(r, s, k, depth));
    for (const fy_json *k = outputs->child; k; k = k->next) {
        g->out[g->nout].name = "";
        FY_TRY(argument(r, s, &g->out[g->nout++], k, depth));
    }
    return FY_OK;
}

static fy_status graph(fy_pt2 *r, fy_pgraph **to, const fy_json *j, int depth) {
    FY_NEED(r->e, depth <= FY_PT2_NESTING, LIMIT, "graphs are nested deeper than %d", FY_PT2_NESTING);
    FY_NEED(r->e, j && j->kind == FY_JSON_OBJECT, CORRUPT, "a graph is missing");
    scope *s = fy_calloc(1, sizeof *s);  /* not on the stack: this function is on it once for each level */
    FY_NOMEM(r->e, s);
    fy_status st = FY_OK;
    s->g = FY_NEW(&r->p->arena, fy_pgraph);
    if (!s->g) st = fy_nomem(r->e);
    else {
        *to = s->g;
        s->g->program = r->p;
        st = fill(r, s, j, depth);
    }
    fy_map_free(&s->values);
    fy_map_free(&s->tensors);
    fy_map_free(&s->ints);
    fy_free(s);
    return st;
}

fy_status fy_pt2_graph(fy_pt2 *r, fy_pgraph **g, const fy_json *j) { return graph(r, g, j, 0); }
