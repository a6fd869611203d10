/* SPDX-License-Identifier: Apache-2.0
 * run.c - expressions, calls and statements, in the order in which torch would run them. */
#include "formats/torchscript/script.h"

#include <string.h>

fy_status ts_step(ts *r, int64_t n) {
    r->steps += n;
    if (r->steps > TS_STEPS) return ts_fail(r, FY_E_LIMIT, "reading the code takes more than %d steps", TS_STEPS);
    return FY_OK;
}

static fy_status enter(ts *r) {
    if (++r->depth > TS_NEST * 8) return ts_fail(r, FY_E_LIMIT, "calls and blocks are nested deeper than %d", TS_NEST * 8);
    return ts_step(r, 1);
}

/* ---- names -------------------------------------------------------------------------------------------------------------------------- */

static fy_status attribute(ts *r, ts_value **v, ts_value *x, const char *name) {
    if (x->kind == TV_OBJECT || (x->kind == TV_TUPLE && x->name)) {
        ts_value **at = ts_attr_at(x, name);
        if (at) { *v = *at; return FY_OK; }
    }
    if (x->kind == TV_OBJECT || x->kind == TV_CLASS) {
        for (const ts_attr *a = x->cls->attr; a; a = a->next)
            if (!strcmp(a->name, name) && a->def) return ts_eval(r, v, a->def);
        if (x->kind == TV_OBJECT && x->pk) return ts_fail(r, FY_E_UNSUPPORTED, "%s.%s: the object is packed (quantised, or with a __getstate__ of its own)", x->s && *x->s ? x->s : x->cls->name, name);
        return ts_fail(r, FY_E_CORRUPT, "%s has no attribute %s", x->cls->name, name);
    }
    if (x->kind == TV_LOST) return ts_lost(r, x->s);
    return ts_fail(r, FY_E_UNSUPPORTED, "the attribute %s of %s", name, ts_kind_text(x));
}

static fy_status qualified(ts *r, ts_value **v, const char *name) {
    ts_class *c;
    ts_func *f;
    if (strncmp(name, "__torch__", 9)) {
        FY_TRY(ts_new(r, v, TV_FUNC));
        (*v)->s = name;
        return FY_OK;
    }
    FY_TRY(ts_lookup(r, name, &c, &f));
    if (c || f) {
        FY_TRY(ts_new(r, v, c ? TV_CLASS : TV_FUNC));
        (*v)->cls = c;
        (*v)->fn = f;
        return FY_OK;
    }
    const char *dot = strrchr(name, '.');
    char head[1024];
    if (dot && (size_t)(dot - name) < sizeof head) {         /* a constant of a class, or its maker */
        memcpy(head, name, (size_t)(dot - name));
        head[dot - name] = 0;
        FY_TRY(ts_lookup(r, head, &c, &f));
        if (c) {
            ts_value k = {.kind = TV_CLASS, .cls = c};
            if (strcmp(dot + 1, "__new__")) return attribute(r, v, &k, dot + 1);
            FY_TRY(ts_new(r, v, TV_CLASS));
            (*v)->cls = c;
            (*v)->s = "new";
            return FY_OK;
        }
    }
    return ts_fail(r, FY_E_CORRUPT, "the code of %.200s is missing", name);
}

static fy_status constant(ts *r, ts_value **v, const char *name) {
    int64_t k = 0;
    const fy_pickled *all = r->has_constants ? r->constants.pickle.root : NULL;
    bool ok = name[0] == 'c' && name[1];
    for (const char *p = name + 1; ok && *p; p++) {
        ok = *p >= '0' && *p <= '9' && k < 100000000;
        k = k * 10 + (*p - '0');
    }
    ok = ok && all && (all->kind == FY_PK_TUPLE || all->kind == FY_PK_LIST) && k < all->item.n;
    if (!ok) return ts_fail(r, FY_E_CORRUPT, "CONSTANTS.%.40s is missing", name);
    char *path = fy_arena_fmt(&r->p->arena, "constant_%lld", (long long)k);
    TS_OOM(r, path);
    return ts_from_pickle(r, v, all->item.at[k], &r->constants, path, 0);
}

static fy_status items(ts *r, ts_value *to, const ts_expr *x) {
    for (int i = 0; i < x->n; i++) {
        ts_value *y;
        FY_TRY(ts_eval(r, &y, x->arg[i]));
        FY_TRY(ts_add(r, to, y));
    }
    return FY_OK;
}

/* ---- calls -------------------------------------------------------------------------------------------------------------------------- */

fy_status ts_call(ts *r, ts_value **v, ts_func *f, ts_value *self, int n, ts_value **arg, const char *const *kw) {
    if (f->active) return ts_fail(r, FY_E_LIMIT, "%s calls itself", f->name);
    if (++r->calls > TS_CALLS) return ts_fail(r, FY_E_LIMIT, "functions call each other deeper than %d", TS_CALLS);
    ts_frame frame = {.fn = f, .self = self ? self : r->frame ? r->frame->self : NULL, .line = f->line, .up = r->frame};
    int first = self ? 1 : 0, at = 0;
    int64_t mark = r->undo.n;
    fy_status s = FY_OK;
    if (self && !f->n) s = ts_fail(r, FY_E_CORRUPT, "%s takes no object", f->name);
    if (!s && self) s = fy_map_puts(&frame.vars, f->param[0].name, self) ? FY_OK : fy_nomem(r->e);
    for (int i = first; i < f->n && !s; i++) {
        ts_value *x = NULL;
        if (at < n && (!kw || !kw[at])) x = arg[at++];
        else
            for (int k = at; k < n && !x; k++)
                if (kw && kw[k] && !strcmp(kw[k], f->param[i].name)) x = arg[k];
        if (!x && f->param[i].def) s = ts_eval(r, &x, f->param[i].def);
        else if (!x) s = ts_fail(r, FY_E_CORRUPT, "%s is called without its argument %s", f->name, f->param[i].name);
        if (!s && !fy_map_puts(&frame.vars, f->param[i].name, x)) s = fy_nomem(r->e);
    }
    if (!s && at < n && !(kw && kw[at])) s = ts_fail(r, FY_E_CORRUPT, "%s takes fewer arguments", f->name);
    if (!s) {
        f->active = true;
        r->frame = &frame;
        s = ts_block(r, f->body);
        r->frame = frame.up;
        f->active = false;
    }
    for (int64_t i = mark; i < r->undo.n; i++)               /* its variables are gone */
        if (r->undo.at[i].frame == &frame) r->undo.at[i].frame = NULL;
    fy_map_free(&frame.vars);
    r->calls--;
    FY_TRY(s);
    if (r->returned) { *v = r->returned; r->returned = NULL; }
    else FY_TRY(ts_new(r, v, TV_NONE));
    return FY_OK;
}

static fy_status record(ts *r, ts_value **v, ts_class *c, int n, ts_value **arg, const char *const *kw) {       /* a NamedTuple */
    FY_TRY(ts_new(r, v, TV_TUPLE));
    (*v)->cls = c;
    int at = 0;
    int64_t count = 0;
    for (const ts_attr *a = c->attr; a; a = a->next) count++;
    const char **names = FY_NEWN(&r->tmp, const char *, count);
    TS_OOM(r, names);
    for (const ts_attr *a = c->attr; a; a = a->next) {
        ts_value *x = NULL;
        if (at < n && !kw[at]) x = arg[at++];
        for (int k = at; k < n && !x; k++)
            if (kw[k] && !strcmp(kw[k], a->name)) x = arg[k];
        if (!x && a->def) FY_TRY(ts_eval(r, &x, a->def));
        if (!x) return ts_fail(r, FY_E_CORRUPT, "%s is made without its %s", c->name, a->name);
        names[(*v)->n] = a->name;
        FY_TRY(ts_add(r, *v, x));
    }
    (*v)->name = names;
    return FY_OK;
}

static fy_status construct(ts *r, ts_value **v, const ts_value *k, int n, ts_value **arg, const char *const *kw) {
    ts_class *c = k->cls;
    if (c->base && !strcmp(c->base, "NamedTuple")) return record(r, v, c, n, arg, kw);
    FY_TRY(ts_new(r, v, TV_OBJECT));
    (*v)->cls = c;
    (*v)->s = "";
    ts_func *init = ts_method(c, "__init__");
    ts_value *none;
    return k->s || !init ? FY_OK : ts_call(r, &none, init, *v, n, arg, kw);
}

/* A call of PyTorch's own: answered now, or a node. */
static fy_status operator_call(ts *r, ts_value **v, const char *qual, int n, ts_value **arg, const char *const *kw) {
    char op[256];
    bool done = false, prim = !strncmp(qual, "ops.prim.", 9), aten = !strncmp(qual, "ops.aten.", 9) || (!strncmp(qual, "torch.", 6) && !strchr(qual + 6, '.'));
    const char *name = prim || !strncmp(qual, "ops.aten.", 9) ? qual + 9 : !strncmp(qual, "torch.", 6) ? qual + 6 : !strncmp(qual, "ops.", 4) ? qual + 4 : qual;
    if (!strncmp(qual, "ops.quantized.", 14)) return ts_quantised_call(r, v, qual + 14, n, arg);
    if (prim || aten) FY_TRY(ts_quantised_aten(r, v, &done, name, n, arg));
    if (done) return FY_OK;
    if (prim || aten) {
        FY_TRY(ts_builtin(r, v, &done, name, n, arg, kw));
        if (done) return FY_OK;
    }
    static const struct { const char *prim, *aten; } same[] = {{"T", "numpy_T"}, {"mT", "mT"}, {"H", "numpy_T"}, {"data", "detach"}, {"abs", "abs"}, {"min", "min"}, {"max", "max"}};
    for (int i = 0; prim && i < FY_COUNT(same); i++)
        if (!strcmp(name, same[i].prim)) { name = same[i].aten; aten = true; break; }
    if (strlen(name) + 8 > sizeof op) return ts_fail(r, FY_E_LIMIT, "the name of an operator is too long");
    fy_buf b = {0};
    fy_buf_fmt(&b, "%s%s", aten ? "aten." : prim ? "prim." : "", name);
    char *kept = b.oom ? NULL : fy_arena_str(&r->p->arena, b.at);
    fy_buf_free(&b);
    TS_OOM(r, kept);
    size_t len = strlen(kept);
    if (n && arg[0]->kind == TV_TENSOR && arg[0]->v && kept[len - 1] == '_') arg[0]->in = NULL;      /* written into: its contents are no longer known */
    return ts_emit(r, v, kept, n, arg, kw);
}

static bool type_is(const ts_expr *t, const char *name) {
    if (t->kind == TS_INDEX && t->n) return type_is(t->arg[0], name);
    return t->s && !strcmp(t->s, name);
}

/* Is x of the type? For what isinstance asks. */
static bool matches(const ts_value *x, const ts_expr *t) {
    if (t->kind == TS_TUPLE || t->kind == TS_LIST) {
        for (int i = 0; i < t->n; i++)
            if (matches(x, t->arg[i])) return true;
        return false;
    }
    if (type_is(t, "Optional")) return x->kind == TV_NONE || (t->n > 1 && t->arg[1] && matches(x, t->arg[1]));
    bool f = x->kind == TV_FLOAT || (x->kind == TV_SYM && x->v->kind == FY_PV_SYMFLOAT), b = x->kind == TV_BOOL || (x->kind == TV_SYM && x->v->kind == FY_PV_SYMBOOL);
    if (type_is(t, "Tensor")) return ts_is_tensor(x);
    if (type_is(t, "int")) return ts_is_number(x) && !f && !b;
    if (type_is(t, "float")) return f;
    if (type_is(t, "bool")) return b;
    if (type_is(t, "str")) return x->kind == TV_STR;
    if (type_is(t, "NoneType") || t->kind == TS_NONE) return x->kind == TV_NONE;
    if (type_is(t, "List")) {
        if (x->kind != TV_LIST) return x->kind == TV_STACK;
        return !x->n || t->n < 2 || !t->arg[1] || matches(x->item[0], t->arg[1]);
    }
    if (type_is(t, "Dict")) return x->kind == TV_DICT;
    if (type_is(t, "Tuple")) return x->kind == TV_TUPLE;
    if (t->s && x->cls) {
        const char *dot = strrchr(t->s, '.');
        return !strcmp(x->cls->name, dot ? dot + 1 : t->s);
    }
    return false;
}

/* Words that are no functions: annotate(List[int], []), unchecked_cast(Tensor, x), int(x) ... */
static fy_status special(ts *r, ts_value **v, const ts_expr *x, bool *done) {
    const char *s = x->arg[0]->s;
    *done = true;
    if ((!strcmp(s, "annotate") || !strcmp(s, "unchecked_cast")) && x->n == 3) {
        FY_TRY(ts_eval(r, v, x->arg[2]));
        const ts_expr *t = x->arg[1];
        if (!strcmp(s, "annotate") && ts_is_tensor(*v) && (type_is(t, "int") || type_is(t, "float") || type_is(t, "bool"))) return ts_convert(r, v, t->s, *v);
        if (!strcmp(s, "annotate") && ts_is_tensor(*v) && (type_is(t, "number") || type_is(t, "Scalar"))) {
            bool d;
            return ts_builtin(r, v, &d, "ScalarImplicit", 1, (ts_value *[]){*v}, (const char *[]){NULL});
        }
        return FY_OK;
    }
    if (!strcmp(s, "uninitialized")) return ts_new(r, v, TV_UNSET);
    if (x->n == 2 && (!strcmp(s, "int") || !strcmp(s, "float") || !strcmp(s, "bool"))) {
        FY_TRY(ts_eval(r, v, x->arg[1]));
        return ts_convert(r, v, s, *v);
    }
    if (x->n == 2 && (!strcmp(s, "unchecked_unwrap_optional") || !strcmp(s, "str"))) {
        FY_TRY(ts_eval(r, v, x->arg[1]));
        bool d;
        return ts_builtin(r, v, &d, s, 1, (ts_value *[]){*v}, (const char *[]){NULL});
    }
    if (!strcmp(s, "isinstance") && x->n == 3) {
        FY_TRY(ts_eval(r, v, x->arg[1]));
        return ts_bool(r, v, matches(*v, x->arg[2]));
    }
    if (!strcmp(s, "getattr") && x->n == 3 && x->arg[2]->kind == TS_STR) {
        ts_value *o;
        FY_TRY(ts_eval(r, &o, x->arg[1]));
        return attribute(r, v, o, x->arg[2]->s);
    }
    if (!strcmp(s, "hasattr") && x->n == 3 && x->arg[2]->kind == TS_STR) {
        ts_value *o;
        FY_TRY(ts_eval(r, &o, x->arg[1]));
        return ts_bool(r, v, o->kind == TV_OBJECT && ts_attr_at(o, x->arg[2]->s));
    }
    *done = false;
    return FY_OK;
}

static fy_status call(ts *r, ts_value **v, const ts_expr *x) {
    const ts_expr *f = x->arg[0];
    bool done;
    if (f->kind == TS_NAME && !fy_map_gets(&r->frame->vars, f->s)) {
        FY_TRY(special(r, v, x, &done));
        if (done) return FY_OK;
    }
    ts_value *self = NULL, *fn = NULL;
    const char *const *kw = x->kw ? (const char *const *)x->kw + 1 : NULL;
    ts_func *method = NULL;
    if (f->kind == TS_ATTR) {
        FY_TRY(ts_eval(r, &self, f->arg[0]));
        if (self->kind == TV_LOST) return ts_lost(r, self->s);
        method = self->kind == TV_OBJECT ? ts_method(self->cls, f->s) : NULL;
        if (!method) return ts_fail(r, FY_E_CORRUPT, "%s has no method %s", self->kind == TV_OBJECT ? self->cls->name : ts_kind_text(self), f->s);
    } else FY_TRY(ts_eval(r, &fn, f));
    int n = x->n - 1;
    ts_value **arg = FY_NEWN(&r->tmp, ts_value *, n + 1);
    TS_OOM(r, arg);
    for (int i = 0; i < n; i++) {
        FY_TRY(ts_eval(r, &arg[i], x->arg[i + 1]));
        if (r->raised) return ts_new(r, v, TV_UNSET);
    }
    if (method) return ts_call(r, v, method, self, n, arg, kw);
    if (fn->kind == TV_CLASS) return construct(r, v, fn, n, arg, kw);
    if (fn->kind != TV_FUNC) return ts_fail(r, FY_E_CORRUPT, "%s is called", ts_kind_text(fn));
    if (fn->fn) return ts_call(r, v, fn->fn, NULL, n, arg, kw);
    return operator_call(r, v, fn->s, n, arg, kw);
}

/* ---- expressions ----------------------------------------------------------------------------------------------------------------- */

static fy_status eval(ts *r, ts_value **v, const ts_expr *x) {
    ts_value *a, *b = NULL, *c = NULL;
    switch (x->kind) {
    case TS_NONE: return ts_new(r, v, TV_NONE);
    case TS_TRUE: case TS_FALSE: return ts_bool(r, v, x->kind == TS_TRUE);
    case TS_INT: return ts_int(r, v, x->i);
    case TS_FLOAT: return ts_float(r, v, x->f);
    case TS_STR: return ts_str(r, v, x->s);
    case TS_QUAL: return qualified(r, v, x->s);
    case TS_CONST: return constant(r, v, x->s);
    case TS_NAME:
        *v = r->frame ? fy_map_gets(&r->frame->vars, x->s) : NULL;
        return *v ? FY_OK : ts_fail(r, FY_E_CORRUPT, "'%.100s' is read before it is set", x->s);
    case TS_LIST: case TS_TUPLE: FY_TRY(ts_new(r, v, x->kind == TS_LIST ? TV_LIST : TV_TUPLE)); return items(r, *v, x);
    case TS_DICT: FY_TRY(ts_new(r, v, TV_DICT)); return items(r, *v, x);
    case TS_ATTR: FY_TRY(ts_eval(r, &a, x->arg[0])); return attribute(r, v, a, x->s);
    case TS_INDEX: FY_TRY(ts_eval(r, &a, x->arg[0])); FY_TRY(ts_eval(r, &b, x->arg[1])); return ts_index(r, v, a, b);
    case TS_SLICE:
        FY_TRY(ts_eval(r, &a, x->arg[0]));
        if (x->arg[1]) FY_TRY(ts_eval(r, &b, x->arg[1]));
        if (x->arg[2]) FY_TRY(ts_eval(r, &c, x->arg[2]));
        return ts_slice(r, v, a, b, c, NULL);
    case TS_CALL: return call(r, v, x);
    }
    return ts_fail(r, FY_E_INTERNAL, "an expression of kind %d", (int)x->kind);
}

fy_status ts_eval(ts *r, ts_value **v, const ts_expr *x) {
    FY_TRY(enter(r));
    if (r->frame && x->line) r->frame->line = x->line;
    fy_status s = eval(r, v, x);
    r->depth--;
    return s;
}

/* ---- statements --------------------------------------------------------------------------------------------------------------------- */

static fy_status set_attribute(ts *r, ts_value *o, const char *name, ts_value *v) {
    if (o->kind != TV_OBJECT) return ts_fail(r, FY_E_UNSUPPORTED, "the attribute %s of %s is set", name, ts_kind_text(o));
    FY_TRY(ts_touch(r, o));
    ts_value **at = ts_attr_at(o, name);
    if (at) {
        bool have = false;
        for (int64_t i = 0; i < r->state.n; i++) have = have || (r->state.at[i].obj == o && !strcmp(r->state.at[i].name, name));
        if (!have && (*at)->kind == TV_TENSOR && (*at)->pk) FY_PUSH(r->e, r->state, ((ts_state){o, *at, name}));
        *at = v;
        return FY_OK;
    }
    FY_TRY(ts_add(r, o, v));
    return ts_intern(r, &o->name[o->n - 1], name, strlen(name));
}

static fy_status assign(ts *r, const ts_expr *to, ts_value *v) {
    ts_value *a, *b, *none;
    bool done;
    switch ((int)to->kind) {
    case TS_NAME: return ts_set_var(r, r->frame, to->s, v);
    case TS_ATTR: FY_TRY(ts_eval(r, &a, to->arg[0])); return set_attribute(r, a, to->s, v);
    case TS_INDEX:
        FY_TRY(ts_eval(r, &a, to->arg[0]));
        FY_TRY(ts_eval(r, &b, to->arg[1]));
        FY_TRY(ts_builtin(r, &none, &done, "_set_item", 3, (ts_value *[]){a, b, v}, (const char *[]){NULL, NULL, NULL}));
        return done ? FY_OK : ts_fail(r, FY_E_UNSUPPORTED, "an entry of %s is set", ts_kind_text(a));
    default: return ts_fail(r, FY_E_CORRUPT, "something that is no name is set");
    }
}

static fy_status unpack(ts *r, const ts_stmt *s, ts_value *v) {
    if (v->kind == TV_OBJECT || v->kind == TV_TENSOR) {
        if (v->kind == TV_TENSOR && s->ntarget == 1) return assign(r, s->target[0], v);      /* an operator that is not known */
        if (v->kind == TV_TENSOR && v->v && v->v->def && !v->v->def->schema && !v->v->has_meta) {
            FY_TRY(r->typer.missing(r->typer.ctx, r->e));
        }
        if (v->kind == TV_TENSOR && v->v && v->v->def) return ts_fail(r, FY_E_UNSUPPORTED, "%s gives one tensor as far as is known, the code takes %d; a plugin that describes its node says how many", v->v->def->op, s->ntarget);
    }
    if (v->kind != TV_TUPLE && v->kind != TV_LIST) return ts_fail(r, FY_E_UNSUPPORTED, "%s is taken apart", ts_kind_text(v));
    if (v->n != s->ntarget) return ts_fail(r, FY_E_VALUE, "%lld values are taken for %d", (long long)v->n, s->ntarget);
    ts_value **item = fy_arena_copy(&r->tmp, v->item, (size_t)v->n, sizeof *v->item);
    TS_OOM(r, item);
    for (int i = 0; i < s->ntarget; i++) FY_TRY(assign(r, s->target[i], item[i]));
    return FY_OK;
}

static fy_status truth(ts *r, ts_value **v, const ts_expr *x) {
    FY_TRY(ts_eval(r, v, x));
    if (r->raised || (*v)->kind == TV_BOOL) return FY_OK;
    if ((*v)->kind == TV_LOST) return ts_lost(r, (*v)->s);
    return ts_convert(r, v, "bool", *v);
}

static fy_status statement(ts *r, const ts_stmt *s) {
    ts_value *v;
    r->frame->line = s->line;
    switch (s->kind) {
    case TS_PASS: return FY_OK;
    case TS_EXPR: return ts_eval(r, &v, s->value);
    case TS_RETURN:
        if (s->value) FY_TRY(ts_eval(r, &v, s->value));
        else FY_TRY(ts_new(r, &v, TV_NONE));
        if (!r->raised) r->returned = v;
        return FY_OK;
    case TS_ASSIGN:
        FY_TRY(ts_eval(r, &v, s->value));
        if (r->raised) return FY_OK;
        return s->unpack ? unpack(r, s, v) : assign(r, s->target[0], v);
    case TS_IF:
        FY_TRY(truth(r, &v, s->value));
        if (r->raised) return FY_OK;
        if (v->kind != TV_BOOL) return ts_branch(r, s, v);
        return ts_block(r, v->i ? s->body : s->other);
    case TS_WHILE:
        for (;;) {
            FY_TRY(ts_step(r, 1));
            FY_TRY(truth(r, &v, s->value));
            if (r->raised || r->returned) return FY_OK;
            if (v->kind != TV_BOOL) return ts_loop(r, s, NULL);
            if (!v->i) return FY_OK;
            FY_TRY(ts_block(r, s->body));
            if (r->raised || r->returned) return FY_OK;
        }
    case TS_FOR: {
        ts_value *n, *i;
        FY_TRY(ts_eval(r, &n, s->value));
        if (r->raised) return FY_OK;
        if (n->kind == TV_NUM && n->inner) n = n->inner;
        if (n->kind != TV_INT) return ts_loop(r, s, n);
        if (n->i > TS_ITEMS) return ts_fail(r, FY_E_LIMIT, "a loop of %lld rounds; at most %d are written out", (long long)n->i, TS_ITEMS);
        for (int64_t k = 0; k < n->i && !r->raised && !r->returned; k++) {
            FY_TRY(ts_step(r, 1));
            FY_TRY(ts_int(r, &i, k));
            FY_TRY(assign(r, s->target[0], i));
            FY_TRY(ts_block(r, s->body));
        }
        return FY_OK;
    }
    }
    return ts_fail(r, FY_E_INTERNAL, "a statement of kind %d", (int)s->kind);
}

fy_status ts_block(ts *r, const ts_stmt *s) {
    FY_TRY(enter(r));
    for (; s && !r->raised && !r->returned; s = s->next) FY_TRY(statement(r, s));
    r->depth--;
    return FY_OK;
}
