/* SPDX-License-Identifier: Apache-2.0
 * value.c - what a name of the code stands for while it is read, and the objects of the file as such values. */
#include "formats/torchscript/script.h"

#include <stdio.h>
#include <string.h>

fy_status ts_trace_it(ts *r, fy_status s) {
    return fy_help(r->e, s, "trace the module instead, not its script: torch.jit.trace(model.eval(), sample).save(\"traced.pt\"); a trace holds the sides that the sample took");
}

fy_status ts_lost(ts *r, const char *why) {
    return ts_trace_it(r, ts_fail(r, FY_E_UNSUPPORTED, "a value that is needed has none: %s", why ? why : "it was never set"));
}

fy_status ts_fail(ts *r, fy_code code, const char *fmt, ...) {
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fy_status s = fy_fail(r->e, code, "%s", text);
    int n = 0;
    for (const ts_frame *f = r->frame; f && n < 6; f = f->up, n++)
        (void)fy_frame(r->e, s, "%s:%u in %s%s%s", f->fn->file->path, f->line, f->fn->name, f->self && f->self->s && *f->self->s ? " of " : "", f->self && f->self->s ? f->self->s : "");
    return s;
}

fy_status ts_new(ts *r, ts_value **v, ts_kind kind) {
    *v = FY_NEW(&r->tmp, ts_value);
    TS_OOM(r, *v);
    (*v)->kind = kind;
    (*v)->born = r->born++;
    return FY_OK;
}

fy_status ts_int(ts *r, ts_value **v, int64_t i) { FY_TRY(ts_new(r, v, TV_INT)); (*v)->i = i; return FY_OK; }
fy_status ts_bool(ts *r, ts_value **v, bool b) { FY_TRY(ts_new(r, v, TV_BOOL)); (*v)->i = b; return FY_OK; }
fy_status ts_float(ts *r, ts_value **v, double f) { FY_TRY(ts_new(r, v, TV_FLOAT)); (*v)->f = f; return FY_OK; }
fy_status ts_str(ts *r, ts_value **v, const char *s) { FY_TRY(ts_new(r, v, TV_STR)); (*v)->s = s; return FY_OK; }

fy_status ts_tensor(ts *r, ts_value **v, fy_pvalue *p) {
    FY_TRY(ts_new(r, v, p->kind == FY_PV_TENSOR ? TV_TENSOR : TV_SYM));
    (*v)->v = p;
    return FY_OK;
}

fy_status ts_add(ts *r, ts_value *list, ts_value *x) {
    if (list->n >= list->cap) {
        FY_NEED(r->e, list->n < TS_ITEMS * 4, LIMIT, "a list of the code grows beyond %d entries", TS_ITEMS * 4);
        int64_t cap = list->cap ? list->cap * 2 : 4;
        ts_value **more = FY_NEWN(&r->tmp, ts_value *, cap);
        TS_OOM(r, more);
        if (list->n) memcpy(more, list->item, (size_t)list->n * sizeof *more);
        if (list->kind == TV_OBJECT) {
            const char **name = FY_NEWN(&r->tmp, const char *, cap);
            TS_OOM(r, name);
            if (list->n) memcpy(name, list->name, (size_t)list->n * sizeof *name);
            list->name = name;
        }
        list->item = more;
        list->cap = cap;
    }
    list->item[list->n++] = x;
    return FY_OK;
}

fy_status ts_touch(ts *r, ts_value *c) {
    if (!r->recording) return FY_OK;
    ts_undo u = {.obj = c, .was = *c};
    if (c->n) {                                              /* entries are changed in place: keep a copy */
        u.was.item = fy_arena_copy(&r->tmp, c->item, (size_t)c->n, sizeof *c->item);
        TS_OOM(r, u.was.item);
        u.was.cap = c->n;
        if (c->kind == TV_OBJECT) {
            u.was.name = fy_arena_copy(&r->tmp, c->name, (size_t)c->n, sizeof *c->name);
            TS_OOM(r, u.was.name);
        }
        FY_TRY(ts_step(r, c->n / 8));
    }
    FY_PUSH(r->e, r->undo, u);
    return FY_OK;
}

fy_status ts_set_var(ts *r, ts_frame *f, const char *name, ts_value *v) {
    if (r->recording) FY_PUSH(r->e, r->undo, ((ts_undo){.frame = f, .name = name, .old = fy_map_gets(&f->vars, name)}));
    FY_NOMEM(r->e, fy_map_puts(&f->vars, name, v));
    return FY_OK;
}

bool ts_is_tensor(const ts_value *v) { return v->kind == TV_TENSOR || v->kind == TV_NUM; }
bool ts_is_number(const ts_value *v) { return v->kind == TV_BOOL || v->kind == TV_INT || v->kind == TV_FLOAT || v->kind == TV_SYM; }

const char *ts_kind_text(const ts_value *v) {
    static const char *const text[] = {"None", "a bool", "an int", "a float", "a string", "a device", "a list", "a tuple", "a dict", "an object", "a tensor",
                                       "a number known at run time", "a tensor", "a list whose length is known at run time", "a function", "a class", "nothing", "nothing"};
    return text[v->kind];
}

bool ts_equal(const ts_value *a, const ts_value *b, bool *known, int depth) {
    *known = true;
    if (a == b) return true;
    if (depth > TS_NEST) { *known = false; return false; }
    if (a->kind == TV_SYM || b->kind == TV_SYM || ts_is_tensor(a) || ts_is_tensor(b)) {
        if (a->kind == b->kind && a->v == b->v && a->v) return true;
        if ((a->kind == TV_SYM || ts_is_tensor(a)) != (b->kind == TV_SYM || ts_is_tensor(b)) && !(ts_is_number(a) && ts_is_number(b))) return false;
        *known = false;
        return false;
    }
    bool na = ts_is_number(a), nb = ts_is_number(b);
    if (na && nb) {
        if (a->kind != TV_FLOAT && b->kind != TV_FLOAT) return a->i == b->i;
        double x = a->kind == TV_FLOAT ? a->f : (double)a->i, y = b->kind == TV_FLOAT ? b->f : (double)b->i;
        return !(x < y) && !(x > y);
    }
    if (a->kind != b->kind) return false;
    switch (a->kind) {
    case TV_NONE: return true;
    case TV_STR: case TV_DEVICE: return !strcmp(a->s, b->s);
    case TV_LIST: case TV_TUPLE: case TV_DICT: {
        if (a->n != b->n) return false;
        bool all = true;
        for (int64_t i = 0; i < a->n; i++) {
            bool k;
            bool same = ts_equal(a->item[i], b->item[i], &k, depth + 1);
            if (k && !same) return false;
            all = all && k;
        }
        *known = all;
        return all;
    }
    case TV_BOOL: case TV_INT: case TV_FLOAT: case TV_OBJECT: case TV_TENSOR: case TV_SYM: case TV_NUM: case TV_STACK: case TV_FUNC: case TV_CLASS: case TV_UNSET: case TV_LOST: break;
    }
    return false;
}

ts_value **ts_dict_at(const ts_value *d, const ts_value *key) {
    bool known;
    for (int64_t i = 0; i + 1 < d->n; i += 2)
        if (ts_equal(d->item[i], key, &known, 0) && known) return &d->item[i + 1];
    return NULL;
}

ts_value **ts_attr_at(const ts_value *o, const char *name) {
    for (int64_t i = 0; i < o->n; i++)
        if (!strcmp(o->name[i], name)) return &o->item[i];
    return NULL;
}

/* ---- objects of the file ------------------------------------------------------------------------------------------------------- */

static bool is_parameter(const ts_class *c, const char *name) {
    const ts_expr *p = c->parameters;
    for (int i = 0; p && p->kind == TS_LIST && i < p->n; i++)
        if (p->arg[i]->kind == TS_STR && !strcmp(p->arg[i]->s, name)) return true;
    return false;
}

static fy_status join(ts *r, const char **to, const char *path, const char *name) {
    *to = *path ? fy_arena_fmt(&r->p->arena, "%s.%s", path, name) : fy_arena_str(&r->p->arena, name);
    TS_OOM(r, *to);
    FY_NEED(r->e, strlen(*to) < 4000, LIMIT, "the path of an object is too long");
    return FY_OK;
}

static fy_status object(ts *r, ts_value *v, const fy_pickled *pk, fy_torch_file *of, const char *path, int depth) {
    FY_TRY(ts_parse_class(r, &v->cls, pk->s));
    v->s = path;
    const fy_pickled *state = pk->item.at[1];
    if (state->kind == FY_PK_NONE) return FY_OK;
    if (state->kind != FY_PK_DICT) {                         /* what __getstate__ gave: only __setstate__ knows */
        ts_func *set = ts_method(v->cls, "__setstate__");
        ts_value *given, *none;
        v->pk = set ? NULL : pk;
        if (!set) return FY_OK;
        FY_TRY(ts_from_pickle(r, &given, state, of, path, depth + 1));
        return ts_call(r, &none, set, v, 1, &given, NULL);
    }
    for (int64_t i = 0; i + 1 < state->item.n; i += 2) {
        const fy_pickled *key = state->item.at[i];
        FY_NEED(r->e, key->kind == FY_PK_STR, CORRUPT, "an attribute of %s has no name", pk->s);
        const char *name, *at;
        ts_value *x;
        FY_TRY(ts_intern(r, &name, key->s, strlen(key->s)));
        FY_TRY(join(r, &at, path, name));
        FY_TRY(ts_from_pickle(r, &x, state->item.at[i + 1], of, at, depth + 1));
        if (x->kind == TV_TENSOR && is_parameter(v->cls, name)) x->parameter = true;
        FY_TRY(ts_add(r, v, x));
        v->name[v->n - 1] = name;
    }
    return FY_OK;
}

fy_status ts_from_pickle(ts *r, ts_value **v, const fy_pickled *pk, fy_torch_file *of, const char *path, int depth) {
    const fy_pickled **key = NULL;
    FY_NEED(r->e, depth < TS_NEST, LIMIT, "objects are nested deeper than %d", TS_NEST);
    FY_TRY(ts_step(r, 1));
    if (pk->kind == FY_PK_OBJECT && !strncmp(pk->s, "__torch__.torch.classes.quantized.", 34)) return ts_from_pickle(r, v, pk->item.at[1], of, path, depth + 1);        /* packed parameters */
    bool shared = pk->kind == FY_PK_OBJECT || pk->kind == FY_PK_TENSOR || pk->kind == FY_PK_LIST || pk->kind == FY_PK_DICT || pk->kind == FY_PK_TUPLE;
    if (shared) {
        *v = fy_map_get(&r->objects, (const char *)&pk, sizeof pk);
        if (*v) return FY_OK;
        key = FY_NEW(&r->tmp, const fy_pickled *);
        TS_OOM(r, key);
        *key = pk;
    }
    static const ts_kind kinds[] = {[FY_PK_NONE] = TV_NONE, [FY_PK_BOOL] = TV_BOOL, [FY_PK_INT] = TV_INT, [FY_PK_FLOAT] = TV_FLOAT, [FY_PK_STR] = TV_STR, [FY_PK_TUPLE] = TV_TUPLE,
        [FY_PK_LIST] = TV_LIST, [FY_PK_DICT] = TV_DICT, [FY_PK_TENSOR] = TV_TENSOR, [FY_PK_GLOBAL] = TV_LOST, [FY_PK_STORAGE] = TV_LOST, [FY_PK_OBJECT] = TV_OBJECT, [FY_PK_MARK] = TV_LOST};
    FY_TRY(ts_new(r, v, kinds[pk->kind]));
    ts_value *x = *v;
    if (shared) FY_NOMEM(r->e, fy_map_put(&r->objects, (const char *)key, sizeof *key, x));
    x->i = pk->i;
    x->f = pk->f;
    if (pk->kind == FY_PK_STR) x->s = pk->s;
    if (pk->kind == FY_PK_TENSOR) { x->i = 0; x->pk = pk; x->of = of; x->s = path; }
    if (pk->kind == FY_PK_TENSOR && pk->quant) return ts_quantised_weight(r, x, pk, of, path, depth);
    if (pk->kind == FY_PK_OBJECT) return object(r, x, pk, of, path, depth);
    if (x->kind == TV_LOST) x->s = "it is neither data nor an object";
    if (pk->kind != FY_PK_LIST && pk->kind != FY_PK_TUPLE && pk->kind != FY_PK_DICT) return FY_OK;
    for (int64_t i = 0; i < pk->item.n; i++) {
        char index[32];
        const char *at;
        ts_value *y;
        snprintf(index, sizeof index, "%lld", (long long)i);
        FY_TRY(join(r, &at, path, index));
        FY_TRY(ts_from_pickle(r, &y, pk->item.at[i], of, at, depth + 1));
        FY_TRY(ts_add(r, x, y));
    }
    return FY_OK;
}
