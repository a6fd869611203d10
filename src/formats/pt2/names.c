/* SPDX-License-Identifier: Apache-2.0
 * names.c - what the user calls inputs and outputs, and the sample inputs.
 *
 * in_spec and out_spec are trees "[1, {type, context, children_spec}]" of containers whose leaves are the user inputs and
 * outputs in order: arguments "x", below them "x.key" and "x.0"; outputs "output", "output_0", "logits", "logits.0". */
#include "formats/pt2/reader.h"

#include "base/os.h"

#include <string.h>

typedef struct leaf { const char *name; const fy_pickled *value; } leaf;
typedef struct walk {
    fy_pt2 *r;
    FY_VEC(leaf) leaves;
    const fy_json *fields;               /* treespec_namedtuple_fields */
    const fy_json *arg_names;            /* forward_arg_names: the next positional argument */
    int64_t limit;
} walk;

static int64_t length(const fy_json *list) {
    int64_t n = 0;
    for (const fy_json *j = list && list->kind == FY_JSON_ARRAY ? list->child : NULL; j; j = j->next) n++;
    return n;
}

/* A treespec, or a context, is JSON inside a JSON string. NULL: not JSON. */
static const fy_json *inner(fy_pt2 *r, const fy_json *j) {
    const fy_json *doc = NULL;
    if (j && j->kind == FY_JSON_STRING && fy_json_parse(&doc, &r->tmp, j->s, j->n, NULL) != FY_OK) doc = NULL;
    return j && j->kind == FY_JSON_STRING ? doc : j;
}

/* Is the key of member `j` the string `s`? */
static bool same(const fy_json *j, const fy_json *s) {
    return s && s->kind == FY_JSON_STRING && j->nkey == s->n && !memcmp(j->key, s->s, s->n);
}

/* The names of a container's children: a list of n keys inside its context, whatever the container's type. */
static const fy_json *keys(walk *w, const fy_json *spec, int64_t n) {
    const fy_json *c = inner(w->r, fy_json_get(spec, "context")), *type = fy_json_get(spec, "type");
    for (int depth = 0; c && depth < 4; depth++) {
        if (c->kind == FY_JSON_OBJECT) {
            const fy_json *f = fy_json_get(c, "fields");
            if (!f) f = fy_json_get(c, "field_names");
            if (!f) f = fy_json_get(c, "dict_context");
            if (!f) f = fy_json_get(c, "class_name");
            c = f ? inner(w->r, f) : NULL;
            continue;
        }
        if (c->kind != FY_JSON_ARRAY || !c->child) break;
        if (length(c) == n && c->child->kind != FY_JSON_ARRAY) return c->child;
        c = c->child;                    /* a dataclass: [[names with values], [names of None]] */
    }
    const fy_json *def = NULL, *text = fy_json_get(spec, "context");          /* a namedtuple: its registered name */
    if (w->fields && w->fields->kind == FY_JSON_OBJECT)
        for (const fy_json *j = w->fields->child; j; j = j->next)
            if (same(j, type) || same(j, text) || same(j, inner(w->r, text))) def = fy_json_get(j, "field_names");
    return def && length(def) == n ? def->child : NULL;
}

static fy_status join(walk *w, const char **to, const char *prefix, const fy_json *key, int64_t index) {
    char *t;
    const char *dot = *prefix ? "." : "";
    if (key && key->kind == FY_JSON_STRING && !memchr(key->s, 0, key->n) && key->n < 200)
        t = fy_arena_fmt(&w->r->p->arena, "%s%s%.*s", prefix, dot, (int)key->n, key->s);
    else t = fy_arena_fmt(&w->r->p->arena, "%s%s%lld", prefix, dot, key && key->kind == FY_JSON_INT ? (long long)key->i : (long long)index);
    FY_NOMEM(w->r->e, t);
    *to = t;
    return FY_OK;
}

static const fy_pickled *child(const fy_pickled *v, const fy_json *key, int64_t i) {
    if (!v) return NULL;
    if (v->kind == FY_PK_TUPLE || v->kind == FY_PK_LIST) return i < v->item.n ? v->item.at[i] : NULL;
    if (v->kind != FY_PK_DICT) return NULL;
    for (int64_t k = 0; key && key->kind == FY_JSON_STRING && k + 1 < v->item.n; k += 2)
        if (v->item.at[k]->kind == FY_PK_STR && v->item.at[k]->n_s == key->n && !memcmp(v->item.at[k]->s, key->s, key->n))
            return v->item.at[k + 1];
    return 2 * i + 1 < v->item.n ? v->item.at[2 * i + 1] : NULL;
}

static bool is_leaf(const fy_json *spec) {
    const fy_json *type = fy_json_get(spec, "type");
    return !type || type->kind == FY_JSON_NULL;
}

static fy_status tree(walk *w, const fy_json *spec, const char *name, const fy_pickled *v, int depth) {
    FY_NEED(w->r->e, depth <= FY_PT2_NESTING, LIMIT, "inputs or outputs are nested deeper than %d", FY_PT2_NESTING);
    if (is_leaf(spec)) {
        FY_NEED(w->r->e, w->leaves.n < w->limit, CORRUPT, "the tree of inputs or outputs has more leaves than the graph");
        leaf l = { name, v };
        FY_PUSH(w->r->e, w->leaves, l);
        return FY_OK;
    }
    const fy_json *children = fy_json_get(spec, "children_spec");
    const fy_json *key = keys(w, spec, length(children));
    int64_t i = 0;
    for (const fy_json *c = children && children->kind == FY_JSON_ARRAY ? children->child : NULL; c; c = c->next, i++) {
        const char *below;
        FY_TRY(join(w, &below, name, key, i));
        FY_TRY(tree(w, c, below, child(v, key, i), depth + 1));
        if (key) key = key->next;
    }
    return FY_OK;
}

/* [1, spec] as a string; NULL if it is not there. */
static const fy_json *treespec(fy_pt2 *r, const fy_json *j) {
    const fy_json *doc = inner(r, j);
    return doc && doc->kind == FY_JSON_ARRAY && doc->child && doc->child->next ? doc->child->next : NULL;
}

/* ((args...), {kwargs}): arguments take forward's names, deeper levels are joined with dots. */
static fy_status inputs(walk *w, const fy_json *spec, const fy_pickled *sample) {
    const fy_json *both = fy_json_get(spec, "children_spec");
    const fy_json *args = both && both->kind == FY_JSON_ARRAY ? both->child : NULL, *kwargs = args ? args->next : NULL, *c;
    if (!args || !kwargs) return FY_OK;
    int64_t i = 0;
    c = fy_json_get(args, "children_spec");
    for (c = c && c->kind == FY_JSON_ARRAY ? c->child : NULL; c; c = c->next, i++) {
        const char *name = NULL;
        if (w->arg_names && w->arg_names->kind == FY_JSON_STRING) FY_TRY(join(w, &name, "", w->arg_names, 0));
        if (w->arg_names) w->arg_names = w->arg_names->next;
        int64_t first = w->leaves.n;
        FY_TRY(tree(w, c, name ? name : "", child(child(sample, NULL, 0), NULL, i), 0));
        if (!name)                       /* no name is known: the graph's own will do */
            for (int64_t k = first; k < w->leaves.n; k++) w->leaves.at[k].name = NULL;
    }
    return tree(w, kwargs, "", sample && sample->kind == FY_PK_TUPLE && sample->item.n > 1 ? sample->item.at[1] : NULL, 0);
}

static fy_status outputs(walk *w, const fy_json *spec) {
    if (is_leaf(spec)) return tree(w, spec, "output", NULL, 0);
    const fy_json *c = fy_json_get(spec, "children_spec"), *key = keys(w, spec, length(c));
    int64_t i = 0;
    for (c = c && c->kind == FY_JSON_ARRAY ? c->child : NULL; c; c = c->next, i++) {
        const char *name;
        if (key && key->kind == FY_JSON_STRING) FY_TRY(join(w, &name, "", key, i));
        else {
            char *t = fy_arena_fmt(&w->r->p->arena, "output_%lld", (long long)i);
            FY_NOMEM(w->r->e, t);
            name = t;
        }
        FY_TRY(tree(w, c, name, NULL, 0));
        if (key) key = key->next;
    }
    return FY_OK;
}

/* ---- names to the program ---------------------------------------------------------------------------------------------- */

/* `name`, or name_2, name_3 ... if it is taken. */
static fy_status fresh(fy_pt2 *r, fy_map *taken, const char **to, const char *name) {
    const char *t = name;
    for (int k = 2; fy_map_has(taken, t, strlen(t)); k++) {
        t = fy_arena_fmt(&r->p->arena, "%s_%d", name, k);
        FY_NOMEM(r->e, t);
    }
    FY_NOMEM(r->e, fy_map_puts(taken, t, r));
    *to = t;
    return FY_OK;
}

static fy_status name_inputs(fy_pt2 *r, const walk *w, bool matches) {
    fy_map taken = {0};
    int64_t k = 0;
    fy_status s = FY_OK;
    for (int i = 0; i < r->p->nin && !s; i++) {
        fy_pinput *in = &r->p->in[i];
        if (in->kind != FY_PIN_USER && in->kind != FY_PIN_LITERAL) continue;
        const char *name = matches ? w->leaves.at[k].name : NULL;
        k++;
        if (!name || !*name) name = in->value ? in->value->name : in->user_name;
        s = fresh(r, &taken, &in->user_name, name ? name : "input");
    }
    fy_map_free(&taken);
    return s;
}

static fy_status name_outputs(fy_pt2 *r, const walk *w, bool matches, int64_t n) {
    fy_map taken = {0};
    int64_t k = 0;
    fy_status s = FY_OK;
    for (int i = 0; i < r->p->nout && !s; i++) {
        fy_poutput *o = &r->p->out[i];
        if (o->kind != FY_POUT_USER && o->kind != FY_POUT_LOSS) continue;
        const char *name = matches ? w->leaves.at[k].name : NULL;
        if (!name || !*name) name = n == 1 ? "output" : fy_arena_fmt(&r->p->arena, "output_%lld", (long long)k);
        k++;
        s = name ? fresh(r, &taken, &o->user_name, name) : fy_nomem(r->e);
    }
    fy_map_free(&taken);
    return s;
}

/* ---- the sample --------------------------------------------------------------------------------------------------------- */

static fy_status sample_leaf(fy_pt2 *r, fy_psample *to, const fy_pickled *v, const char *name, ferry_error *e) {
    fy_parg *l = &to->literal;
    *to = (fy_psample){0};
    l->name = "";
    FY_NEED(e, v, CORRUPT, "the recorded sample has no value for %s", name);
    switch (v->kind) {
    case FY_PK_TENSOR: {
        const fy_const *c;
        to->is_tensor = true;
        FY_TRY(fy_torch_const(&c, &r->sample_file, &r->p->arena, v, name, e));
        return fy_const_tensor(&to->t, c, e);
    }
    case FY_PK_NONE: l->kind = FY_ARG_NONE; return FY_OK;
    case FY_PK_BOOL: l->kind = FY_ARG_BOOL; l->i = v->i; return FY_OK;
    case FY_PK_INT: l->kind = FY_ARG_INT; l->i = v->i; return FY_OK;
    case FY_PK_FLOAT: l->kind = FY_ARG_FLOAT; l->f = v->f; return FY_OK;
    case FY_PK_STR: l->kind = FY_ARG_STRING; l->s = fy_arena_str(&r->p->arena, v->s); FY_NOMEM(e, l->s); return FY_OK;
    case FY_PK_TUPLE: case FY_PK_LIST: case FY_PK_DICT: case FY_PK_GLOBAL: case FY_PK_OBJECT: case FY_PK_STORAGE: case FY_PK_MARK: break;
    }
    return fy_fail(e, FY_E_UNSUPPORTED, "the recorded sample of %s is neither a tensor nor a number", name);
}

static fy_status samples(fy_pt2 *r, const walk *w, ferry_error *e) {
    int64_t k = 0;
    for (int i = 0; i < r->p->nin; i++) {
        const fy_pinput *in = &r->p->in[i];
        if (in->kind != FY_PIN_USER && in->kind != FY_PIN_LITERAL) continue;
        const fy_pickled *v = w->leaves.at[k++].value;
        if (in->kind == FY_PIN_LITERAL) continue;
        fy_psample one;
        FY_TRY(sample_leaf(r, &one, v, in->user_name, e));
        if (!FY_RESERVE(r->p->sample, r->p->sample.n + 1)) { fy_tensor_free(&one.t); return fy_nomem(e); }
        r->p->sample.at[r->p->sample.n++] = one;
    }
    return FY_OK;
}

static fy_status open_sample(fy_pt2 *r, ferry_error *e) {
    const char *path = "serialized_example_inputs.pt";
    if (r->layout != FY_PT2_FLAT) {
        path = fy_arena_fmt(&r->tmp, "%s/data/sample_inputs/%s.pt", r->root, r->model);
        FY_NOMEM(e, path);
    }
    const fy_zip_entry *f = fy_zip_find(&r->zip, path);
    const unsigned char *p;
    FY_NEED(e, f && f->size, FORMAT, "the archive holds no sample inputs");
    FY_TRY(fy_zip_stored(&r->zip, f, &p, e));
    FY_TRY(fy_torch_open(&r->sample_file, &r->tmp, p, (size_t)f->size, e));
    r->has_sample_file = true;
    return FY_OK;
}

/* A sample that cannot be read is a remark, not a failure: the program is still good. */
static fy_status no_sample(fy_pt2 *r, fy_status s, const ferry_error *why) {
    if (s == FY_E_NOMEM) { if (r->e) *r->e = *why; return s; }
    for (int64_t i = 0; i < r->p->sample.n; i++) fy_tensor_free(&r->p->sample.at[i].t);
    r->p->sample.n = 0;
    r->p->sample_error = fy_arena_str(&r->p->arena, why->text);
    FY_NOMEM(r->e, r->p->sample_error);
    return FY_OK;
}

static fy_status all(fy_pt2 *r, walk *in, walk *out, const fy_json *signature) {
    fy_program *p = r->p;
    int64_t nin = 0, nout = 0;
    for (int i = 0; i < p->nin; i++) nin += p->in[i].kind == FY_PIN_USER || p->in[i].kind == FY_PIN_LITERAL;
    for (int i = 0; i < p->nout; i++) nout += p->out[i].kind == FY_POUT_USER || p->out[i].kind == FY_POUT_LOSS;
    in->limit = nin;
    out->limit = nout;
    const fy_json *in_spec = treespec(r, fy_json_get(signature, "in_spec")), *out_spec = treespec(r, fy_json_get(signature, "out_spec"));
    const fy_json *names = fy_json_get(signature, "forward_arg_names");
    in->arg_names = names && names->kind == FY_JSON_ARRAY ? names->child : NULL;
    ferry_error why = {0};
    fy_status s = open_sample(r, &why);
    if (in_spec) FY_TRY(inputs(in, in_spec, s ? NULL : r->sample_file.pickle.root));
    if (out_spec) FY_TRY(outputs(out, out_spec));
    FY_TRY(name_inputs(r, in, in->leaves.n == nin && nin));
    FY_TRY(name_outputs(r, out, out->leaves.n == nout && nout, nout));
    if (!s && in->leaves.n != nin)
        s = fy_fail(&why, FY_E_CORRUPT, "the tree of inputs has %lld leaves, the graph %lld inputs", (long long)in->leaves.n,
                    (long long)nin);
    if (!s) s = samples(r, in, &why);
    return s ? no_sample(r, s, &why) : FY_OK;
}

fy_status fy_pt2_names(fy_pt2 *r, const fy_json *graph_module) {
    const fy_json *calls = fy_json_get(graph_module, "module_call_graph");
    const fy_json *signature = calls && calls->kind == FY_JSON_ARRAY && calls->child ? fy_json_get(calls->child, "signature") : NULL;
    const fy_json *fields = fy_json_get(graph_module, "treespec_namedtuple_fields");
    walk in = { .r = r, .fields = fields }, out = { .r = r, .fields = fields };
    fy_status s = all(r, &in, &out, signature);
    fy_free(in.leaves.at);
    fy_free(out.leaves.at);
    return s;
}
