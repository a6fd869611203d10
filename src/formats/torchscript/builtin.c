/* SPDX-License-Identifier: Apache-2.0
 * builtin.c - calls that are answered while the code is read: on lists, strings, dicts, sizes, types, devices. */
#include "formats/torchscript/script.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct call { ts *r; const char *name; int n; ts_value **arg; const char *const *kw; ts_value **v; } call;

/* Positional argument i, or the one named. */
static ts_value *arg(const call *c, int i, const char *name) {
    for (int k = 0; k < c->n; k++)
        if (c->kw && c->kw[k] ? name && !strcmp(c->kw[k], name) : k == i) return c->arg[k];
    return NULL;
}
static bool is(const call *c, const char *name) { return !strcmp(c->name, name); }
static bool int_arg(const call *c, int i, const char *name, int64_t *k) {
    const ts_value *v = arg(c, i, name);
    if (!v || (v->kind != TV_INT && v->kind != TV_BOOL)) return false;
    *k = v->i;
    return true;
}
static fy_status nothing(const call *c) { return ts_new(c->r, c->v, TV_NONE); }

/* ---- lists ---------------------------------------------------------------------------------------------------------------------- */

static bool wrap(int64_t *i, int64_t n) {
    if (*i < 0) *i += n;
    return *i >= 0 && *i < n;
}

fy_status ts_index(ts *r, ts_value **v, ts_value *x, ts_value *at) {
    int64_t i = at->i;
    if (x->kind == TV_DICT) {
        ts_value **found = ts_dict_at(x, at);
        if (!found) return ts_fail(r, FY_E_VALUE, "a dict has no entry %.100s", at->kind == TV_STR ? at->s : "of this key");
        *v = *found;
        return FY_OK;
    }
    if (at->kind == TV_NUM && at->inner) { at = at->inner; i = at->i; }
    if (x->kind == TV_STACK) return ts_emit(r, v, "aten.select", 3, (ts_value *[]){x->inner, &(ts_value){.kind = TV_INT}, at}, NULL);
    if (x->kind == TV_TENSOR) return ts_emit(r, v, "aten.select", 3, (ts_value *[]){x, &(ts_value){.kind = TV_INT}, at}, NULL);
    if (at->kind == TV_SYM) return ts_fail(r, FY_E_UNSUPPORTED, "an entry of a list whose number is known at run time");
    if (at->kind != TV_INT) return ts_fail(r, FY_E_TYPE, "an index that is %s", ts_kind_text(at));
    if (x->kind == TV_STR) {
        int64_t n = (int64_t)strlen(x->s);
        if (!wrap(&i, n)) return ts_fail(r, FY_E_INDEX, "character %lld of a string of %lld", (long long)at->i, (long long)n);
        char *s = fy_arena_strn(&r->tmp, x->s + i, 1);
        TS_OOM(r, s);
        return ts_str(r, v, s);
    }
    if (x->kind != TV_LIST && x->kind != TV_TUPLE && x->kind != TV_OBJECT) return ts_fail(r, FY_E_TYPE, "an entry of %s", ts_kind_text(x));
    if (!wrap(&i, x->n)) return ts_fail(r, FY_E_INDEX, "entry %lld of a list of %lld", (long long)at->i, (long long)x->n);
    *v = x->item[i];
    return FY_OK;
}

static bool bound(const ts_value *v, int64_t def, int64_t n, int64_t *to) {
    int64_t k = v && v->kind == TV_INT ? v->i : def;
    if (v && v->kind != TV_INT && v->kind != TV_NONE) return false;
    if (k < 0) k = k < -n ? 0 : k + n;
    *to = k > n ? n : k;
    return true;
}

fy_status ts_slice(ts *r, ts_value **v, ts_value *x, ts_value *from, ts_value *to, ts_value *step) {
    int64_t a, b, n = x->kind == TV_STR ? (int64_t)strlen(x->s) : x->n, by = step && step->kind == TV_INT ? step->i : 1;
    if (!bound(from, 0, n, &a) || !bound(to, n, n, &b) || by < 1) return ts_fail(r, FY_E_UNSUPPORTED, "a part of a list whose bounds are known at run time, or run backwards");
    if (x->kind == TV_STR) {
        if (by != 1) return ts_fail(r, FY_E_UNSUPPORTED, "every so many characters of a string");
        char *s = fy_arena_strn(&r->tmp, x->s + a, b > a ? (size_t)(b - a) : 0);
        TS_OOM(r, s);
        return ts_str(r, v, s);
    }
    if (x->kind != TV_LIST && x->kind != TV_TUPLE) return ts_fail(r, FY_E_TYPE, "a part of %s", ts_kind_text(x));
    FY_TRY(ts_new(r, v, x->kind));
    for (int64_t i = a; i < b; i += by) FY_TRY(ts_add(r, *v, x->item[i]));
    return ts_step(r, (b > a ? b - a : 0) / 8);
}

static fy_status append(call *c) {
    ts *r = c->r;
    ts_value *l = c->arg[0], *x = c->arg[1];
    if (l->kind == TV_STACK) {                               /* grows while the model runs */
        ts_value *row, *pair, *grown, zero = {.kind = TV_INT};
        FY_TRY(ts_touch(r, l));
        FY_TRY(ts_as_tensor(r, &x));
        FY_TRY(ts_emit(r, &row, "aten.unsqueeze", 2, (ts_value *[]){x, &zero}, NULL));
        FY_TRY(ts_new(r, &pair, TV_LIST));
        FY_TRY(ts_add(r, pair, l->inner));
        FY_TRY(ts_add(r, pair, row));
        FY_TRY(ts_emit(r, &grown, "aten.cat", 2, (ts_value *[]){pair, &zero}, NULL));
        l->inner = grown;
        return nothing(c);
    }
    FY_TRY(ts_touch(r, l));
    FY_TRY(ts_add(r, l, x));
    *c->v = l;
    return FY_OK;
}

static fy_status concat(call *c, ts_value *a, ts_value *b) {
    FY_TRY(ts_new(c->r, c->v, TV_LIST));
    for (int64_t i = 0; i < a->n; i++) FY_TRY(ts_add(c->r, *c->v, a->item[i]));
    for (int64_t i = 0; i < b->n; i++) FY_TRY(ts_add(c->r, *c->v, b->item[i]));
    return ts_step(c->r, (a->n + b->n) / 8);
}

static fy_status repeat(call *c, ts_value *a, ts_value *b) {
    if (b->kind != TV_INT) return ts_fail(c->r, FY_E_UNSUPPORTED, "a list repeated a number of times known at run time");
    FY_TRY(ts_new(c->r, c->v, TV_LIST));
    for (int64_t k = 0; k < b->i && a->n; k++) {
        FY_TRY(ts_step(c->r, 1 + a->n / 8));
        for (int64_t i = 0; i < a->n; i++) FY_TRY(ts_add(c->r, *c->v, a->item[i]));
    }
    return FY_OK;
}

static fy_status list_call(call *c, bool *done) {
    ts *r = c->r;
    ts_value *a = c->arg[0], *b = c->n > 1 ? c->arg[1] : NULL;
    int64_t k = 0;
    *done = true;
    if (is(c, "append") && b) return append(c);
    if (a->kind == TV_STACK) { *done = false; return FY_OK; }
    if (is(c, "extend") && b && (b->kind == TV_LIST || b->kind == TV_TUPLE)) {
        FY_TRY(ts_touch(r, a));
        for (int64_t i = 0, n = b->n; i < n; i++) FY_TRY(ts_add(r, a, b->item[i]));
        return nothing(c);
    }
    if (is(c, "insert") && c->n == 3 && b->kind == TV_INT) {
        FY_TRY(ts_touch(r, a));
        FY_TRY(bound(b, 0, a->n, &k) ? ts_add(r, a, c->arg[2]) : ts_fail(r, FY_E_TYPE, "an index that is %s", ts_kind_text(b)));
        memmove(a->item + k + 1, a->item + k, (size_t)(a->n - 1 - k) * sizeof *a->item);
        a->item[k] = c->arg[2];
        return nothing(c);
    }
    if (is(c, "pop") || is(c, "Delete")) {
        k = b && b->kind == TV_INT ? b->i : -1;
        if (!wrap(&k, a->n)) return ts_fail(r, FY_E_INDEX, "entry %lld taken from a list of %lld", (long long)k, (long long)a->n);
        FY_TRY(ts_touch(r, a));
        *c->v = a->item[k];
        memmove(a->item + k, a->item + k + 1, (size_t)(a->n - 1 - k) * sizeof *a->item);
        a->n--;
        return FY_OK;
    }
    if (is(c, "clear")) { FY_TRY(ts_touch(r, a)); a->n = 0; return nothing(c); }
    if (is(c, "reverse")) {
        FY_TRY(ts_touch(r, a));
        for (int64_t i = 0, j = a->n - 1; i < j; i++, j--) { ts_value *t = a->item[i]; a->item[i] = a->item[j]; a->item[j] = t; }
        return nothing(c);
    }
    if (is(c, "list") || is(c, "copy")) return ts_slice(r, c->v, a, NULL, NULL, NULL);
    if (is(c, "slice")) return ts_slice(r, c->v, a, b, arg(c, 2, "end"), arg(c, 3, "step"));
    if ((is(c, "select") || is(c, "__getitem__")) && b) return ts_index(r, c->v, a, b);
    if (is(c, "_set_item") && c->n == 3) {
        k = b->i;
        if (b->kind != TV_INT || !wrap(&k, a->n)) return ts_fail(r, FY_E_INDEX, "an entry that a list does not have is set");
        FY_TRY(ts_touch(r, a));
        a->item[k] = c->arg[2];
        *c->v = a;
        return FY_OK;
    }
    if (is(c, "add") && b && (b->kind == TV_LIST || b->kind == TV_TUPLE)) return concat(c, a, b);
    if (is(c, "mul") && b && ts_is_number(b)) return repeat(c, a, b);
    if ((is(c, "min") || is(c, "max") || is(c, "sum")) && c->n == 1 && a->n && ts_is_number(a->item[0])) {
        ts_value *y = a->item[0];
        for (int64_t i = 1; i < a->n; i++) FY_TRY(ts_arith(r, &y, is(c, "sum") ? "add" : c->name, y, a->item[i]));
        *c->v = y;
        return FY_OK;
    }
    if ((is(c, "any") || is(c, "all")) && c->n == 1 && (!a->n || ts_is_number(a->item[0]))) {
        ts_value *y;
        FY_TRY(ts_bool(r, &y, is(c, "all")));
        for (int64_t i = 0; i < a->n; i++) FY_TRY(ts_arith(r, &y, is(c, "all") ? "__and__" : "__or__", y, a->item[i]));
        *c->v = y;
        return FY_OK;
    }
    if (is(c, "dict")) {                                     /* of pairs */
        ts_value *d, *none, **pairs = a->item;
        bool set;
        FY_TRY(ts_new(r, &d, TV_DICT));
        for (int64_t i = 0, n = a->n; i < n; i++) {
            if ((pairs[i]->kind != TV_TUPLE && pairs[i]->kind != TV_LIST) || pairs[i]->n != 2) return ts_fail(r, FY_E_TYPE, "a dict of something that is no pair");
            FY_TRY(ts_builtin(r, &none, &set, "_set_item", 3, (ts_value *[]){d, pairs[i]->item[0], pairs[i]->item[1]}, (const char *[]){NULL, NULL, NULL}));
        }
        *c->v = d;
        return FY_OK;
    }
    if (is(c, "index") && b && !ts_is_tensor(b) && a->kind == TV_LIST && b->kind != TV_LIST) {
        bool known;
        for (int64_t i = 0; i < a->n; i++)
            if (ts_equal(a->item[i], b, &known, 0)) return ts_int(r, c->v, i);
        return ts_fail(r, FY_E_VALUE, "a list does not have the entry that is looked for");
    }
    *done = false;
    return FY_OK;
}

static fy_status dict_call(call *c, bool *done) {
    ts *r = c->r;
    ts_value *d = c->arg[0], *key = c->n > 1 ? c->arg[1] : NULL;
    *done = true;
    if (is(c, "copy") || is(c, "dict")) {
        FY_TRY(ts_new(r, c->v, TV_DICT));
        for (int64_t i = 0; i < d->n; i++) FY_TRY(ts_add(r, *c->v, d->item[i]));
        return FY_OK;
    }
    if (is(c, "keys") || is(c, "values") || is(c, "items") || is(c, "list")) {
        FY_TRY(ts_new(r, c->v, TV_LIST));
        for (int64_t i = 0; i + 1 < d->n; i += 2) {
            ts_value *x = is(c, "values") ? d->item[i + 1] : d->item[i];
            if (is(c, "items")) {
                FY_TRY(ts_new(r, &x, TV_TUPLE));
                FY_TRY(ts_add(r, x, d->item[i]));
                FY_TRY(ts_add(r, x, d->item[i + 1]));
            }
            FY_TRY(ts_add(r, *c->v, x));
        }
        return FY_OK;
    }
    if (is(c, "get") && key) {
        ts_value **found = ts_dict_at(d, key);
        *c->v = found ? *found : c->n > 2 ? c->arg[2] : NULL;
        return *c->v ? FY_OK : nothing(c);
    }
    if (is(c, "__getitem__") && key) return ts_index(r, c->v, d, key);
    if (is(c, "__contains__") && key) return ts_bool(r, c->v, ts_dict_at(d, key) != NULL);
    if (is(c, "_set_item") && c->n == 3) {
        ts_value **found = ts_dict_at(d, key);
        FY_TRY(ts_touch(r, d));
        if (found) *found = c->arg[2];
        else { FY_TRY(ts_add(r, d, key)); FY_TRY(ts_add(r, d, c->arg[2])); }
        FY_TRY(ts_step(r, d->n / 8));
        return nothing(c);
    }
    if (is(c, "update") && c->n == 2 && key->kind == TV_DICT) {
        for (int64_t i = 0; i + 1 < key->n; i += 2) FY_TRY(dict_call(&(call){.r = r, .v = c->v, .name = "_set_item", .n = 3, .arg = (ts_value *[]){d, key->item[i], key->item[i + 1]}}, done));
        return nothing(c);
    }
    *done = false;
    return FY_OK;
}

/* ---- strings ---------------------------------------------------------------------------------------------------------------------- */

static void put_text(fy_buf *b, const ts_value *v, int depth) {
    if (b->n > 4000) return;
    switch ((int)v->kind) {
    case TV_NONE: fy_buf_str(b, "None"); return;
    case TV_BOOL: fy_buf_str(b, v->i ? "True" : "False"); return;
    case TV_INT: fy_buf_fmt(b, "%lld", (long long)v->i); return;
    case TV_FLOAT: fy_buf_fmt(b, "%g", v->f); return;
    case TV_STR: case TV_DEVICE: fy_buf_fmt(b, "%.2000s", v->s); return;
    case TV_LIST: case TV_TUPLE:
        fy_buf_char(b, v->kind == TV_LIST ? '[' : '(');
        for (int64_t i = 0; i < v->n && depth < 8 && b->n < 4000; i++) {
            if (i) fy_buf_str(b, ", ");
            put_text(b, v->item[i], depth + 1);
        }
        fy_buf_char(b, v->kind == TV_LIST ? ']' : ')');
        return;
    default: fy_buf_fmt(b, "<%s>", ts_kind_text(v));
    }
}

static fy_status text_of(call *c, fy_buf *b) {
    char *s = b->oom ? NULL : fy_arena_str(&c->r->tmp, b->at ? b->at : "");
    fy_buf_free(b);
    TS_OOM(c->r, s);
    return ts_str(c->r, c->v, s);
}

static fy_status format(call *c) {
    fy_buf b = {0};
    int k = 1;
    for (const char *p = c->arg[0]->s; *p && b.n < 8000; p++) {
        if (*p != '{') { fy_buf_char(&b, *p); continue; }
        const char *q = strchr(p, '}');
        if (!q) break;
        if (k < c->n) put_text(&b, c->arg[k++], 0);
        p = q;
    }
    return text_of(c, &b);
}

static fy_status string_call(call *c, bool *done) {
    ts *r = c->r;
    const ts_value *a = c->arg[0], *b = c->n > 1 ? c->arg[1] : NULL;
    *done = true;
    if (is(c, "format")) return format(c);
    if (b && b->kind == TV_STR) {
        size_t na = strlen(a->s), nb = strlen(b->s);
        if (is(c, "add")) {
            if (na + nb >= 1 << 20) return ts_fail(r, FY_E_LIMIT, "the code makes a string of %zu characters", na + nb);
            FY_TRY(ts_step(r, (int64_t)((na + nb) / 64)));
            char *s = fy_arena_fmt(&r->tmp, "%s%s", a->s, b->s);
            TS_OOM(r, s);
            return ts_str(r, c->v, s);
        }
        if (is(c, "startswith")) return ts_bool(r, c->v, na >= nb && !memcmp(a->s, b->s, nb));
        if (is(c, "endswith")) return ts_bool(r, c->v, na >= nb && !memcmp(a->s + na - nb, b->s, nb));
        if (is(c, "__contains__") || is(c, "find")) {
            const char *at = strstr(a->s, b->s);
            return is(c, "find") ? ts_int(r, c->v, at ? at - a->s : -1) : ts_bool(r, c->v, at != NULL);
        }
        if (is(c, "lt") || is(c, "gt")) return ts_bool(r, c->v, is(c, "lt") ? strcmp(a->s, b->s) < 0 : strcmp(a->s, b->s) > 0);
    }
    if (is(c, "join") && b && b->kind == TV_LIST) {
        fy_buf t = {0};
        for (int64_t i = 0; i < b->n && t.n < 100000; i++) {
            if (i) fy_buf_str(&t, a->s);
            fy_buf_str(&t, b->item[i]->kind == TV_STR ? b->item[i]->s : "?");
        }
        FY_TRY(ts_step(r, (int64_t)t.n / 64));
        return text_of(c, &t);
    }
    if (is(c, "lower") || is(c, "upper")) {
        char *s = fy_arena_str(&r->tmp, a->s);
        TS_OOM(r, s);
        for (char *p = s; *p; p++) *p = is(c, "lower") ? (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p) : (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p);
        return ts_str(r, c->v, s);
    }
    if (is(c, "slice")) return ts_slice(r, c->v, c->arg[0], arg(c, 1, "start"), arg(c, 2, "end"), arg(c, 3, "step"));
    *done = false;
    return FY_OK;
}

/* ---- what a tensor is ---------------------------------------------------------------------------------------------------------------- */

static int64_t c10_of(fy_dtype t) {
    for (int64_t i = 0; i < 48; i++)
        if (fy_c10_dtype(i) == t && t) return i;
    return -1;
}

static fy_status dtype_of(call *c, ts_value *x, fy_dtype *t) {
    *t = FERRY_INT64;
    if (x->kind == TV_NUM) {
        const ts_value *k = x->inner ? x->inner : x->item[0];
        bool f = k->kind == TV_FLOAT || (k->kind == TV_SYM && k->v->kind == FY_PV_SYMFLOAT);
        *t = f ? FERRY_FLOAT : k->kind == TV_BOOL ? FERRY_BOOL : FERRY_INT64;
        return FY_OK;
    }
    fy_pvalue *p;
    int rank;
    FY_TRY(ts_rank(c->r, &rank, x));
    FY_TRY(ts_pvalue(c->r, &p, x));
    *t = p->dtype;
    return FY_OK;
}

static fy_status sizes(call *c, ts_value *x, ts_value **list) {
    int rank;
    FY_TRY(ts_rank(c->r, &rank, x));
    FY_TRY(ts_new(c->r, list, TV_LIST));
    for (int i = 0; i < rank; i++) {
        ts_value *d;
        FY_TRY(ts_dims(c->r, &d, x, i));
        FY_TRY(ts_add(c->r, *list, d));
    }
    return FY_OK;
}

/* Several numbers, some known at run time, as a tensor of one axis. */
static fy_status vector(call *c, const ts_value *list, ts_value **v) {
    ts *r = c->r;
    ts_value *made, zero = {.kind = TV_INT};
    FY_TRY(ts_new(r, &made, TV_LIST));
    for (int64_t i = 0; i < list->n; i++) {
        ts_value *x = list->item[i];
        if (ts_is_number(x)) FY_TRY(ts_as_tensor(r, &x));
        if (x->kind == TV_LIST) FY_TRY(vector(c, x, &x));
        if (x->kind != TV_TENSOR) FY_TRY(ts_as_tensor(r, &x));
        FY_TRY(ts_add(r, made, x));
    }
    return ts_emit(r, v, "aten.stack", 2, (ts_value *[]){made, &zero}, NULL);
}

/* Lists of plain numbers as a constant; NULL dims: ragged, or not plain. */
static bool plain(const ts_value *v, int depth, int64_t *dim, int *rank, bool *f, bool *b, int64_t *count) {
    if (v->kind == TV_LIST || v->kind == TV_TUPLE) {
        if (depth >= FY_MAX_RANK) return false;
        if (depth >= *rank) { if (*count) return false; *rank = depth + 1; dim[depth] = v->n; }
        if (dim[depth] != v->n) return false;
        for (int64_t i = 0; i < v->n; i++)
            if (!plain(v->item[i], depth + 1, dim, rank, f, b, count)) return false;
        return true;
    }
    if ((v->kind != TV_INT && v->kind != TV_BOOL && v->kind != TV_FLOAT) || depth != *rank) return false;
    *f = *f || v->kind == TV_FLOAT;
    *b = *b && v->kind == TV_BOOL;
    ++*count;
    return true;
}

static void fill(const ts_value *v, bool f, bool b, void *at, int64_t *k) {
    if (v->kind == TV_LIST || v->kind == TV_TUPLE) {
        for (int64_t i = 0; i < v->n; i++) fill(v->item[i], f, b, at, k);
        return;
    }
    if (f) ((float *)at)[*k] = (float)(v->kind == TV_FLOAT ? v->f : (double)v->i);
    else if (b) ((uint8_t *)at)[*k] = v->i != 0;
    else ((int64_t *)at)[*k] = v->i;
    ++*k;
}

static fy_status make_tensor(call *c) {                      /* torch.tensor(data, dtype=, device=, requires_grad=) */
    ts *r = c->r;
    ts_value *x = c->arg[0], *dtype = arg(c, -1, "dtype");
    int64_t dim[FY_MAX_RANK], count = 0, k = 0;
    int rank = 0;
    bool f = false, b = true;
    if (x->kind == TV_TENSOR || x->kind == TV_NUM) *c->v = x;
    else if (plain(x, 0, dim, &rank, &f, &b, &count)) {
        if (!count) { b = false; f = true; }
        void *at = FY_NEWN(&r->tmp, int64_t, count + 1);
        TS_OOM(r, at);
        fill(x, f, b, at, &k);
        FY_TRY(ts_const_tensor(r, &x, f ? FERRY_FLOAT : b ? FERRY_BOOL : FERRY_INT64, rank, dim, at));
        FY_TRY(ts_emit(r, c->v, "aten.clone", 1, &x, NULL));         /* made anew by every call, should it be written into */
        (*c->v)->in = x->in;
    } else if (x->kind == TV_LIST || x->kind == TV_TUPLE) FY_TRY(vector(c, x, c->v));
    else {
        FY_TRY(ts_as_tensor(r, &x));
        *c->v = x;
    }
    if (!dtype || dtype->kind != TV_INT) return FY_OK;
    fy_dtype have;
    FY_TRY(dtype_of(c, *c->v, &have));
    if (have == fy_c10_dtype(dtype->i)) return FY_OK;
    return ts_emit(r, c->v, "aten.to", 2, (ts_value *[]){*c->v, dtype}, NULL);
}

static fy_status tensor_call(call *c, bool *done) {
    ts *r = c->r;
    ts_value *a = c->arg[0], *list;
    int64_t k;
    int rank;
    fy_dtype t;
    *done = true;
    if (is(c, "dim") || is(c, "ndim")) { FY_TRY(ts_rank(r, &rank, a)); return ts_int(r, c->v, rank); }
    if (is(c, "size") || is(c, "shape")) {
        if (c->n == 1) return sizes(c, a, c->v);
        if (!int_arg(c, 1, "dim", &k)) return ts_fail(r, FY_E_UNSUPPORTED, "the size of an axis whose number is not known");
        return ts_dims(r, c->v, a, (int)(k > 64 ? 64 : k < -64 ? -64 : k));
    }
    if (is(c, "len")) return ts_dims(r, c->v, a, 0);
    if (is(c, "numel")) {
        FY_TRY(sizes(c, a, &list));
        ts_value *y;
        FY_TRY(ts_int(r, &y, 1));
        for (int64_t i = 0; i < list->n; i++) FY_TRY(ts_arith(r, &y, "mul", y, list->item[i]));
        *c->v = y;
        return FY_OK;
    }
    if (is(c, "dtype")) { FY_TRY(dtype_of(c, a, &t)); return ts_int(r, c->v, c10_of(t)); }
    if (is(c, "is_floating_point")) { FY_TRY(dtype_of(c, a, &t)); return ts_bool(r, c->v, fy_dtype_float(t)); }
    if (is(c, "is_complex")) { FY_TRY(dtype_of(c, a, &t)); return ts_bool(r, c->v, fy_dtype_class(t) == FY_CLASS_C); }
    if (is(c, "layout")) return ts_int(r, c->v, 0);
    if (is(c, "device")) { FY_TRY(ts_new(r, c->v, TV_DEVICE)); (*c->v)->s = "cpu"; return FY_OK; }
    if (is(c, "is_contiguous")) return ts_bool(r, c->v, true);
    if (is(c, "is_cuda") || is(c, "is_quantized") || is(c, "is_sparse") || is(c, "is_mkldnn") || is(c, "is_mps") || is(c, "is_nested") || is(c, "is_meta") || is(c, "is_xpu"))
        return ts_bool(r, c->v, false);
    if (is(c, "_nested_tensor_from_mask_left_aligned")) return ts_bool(r, c->v, false);      /* asked before a road of nested tensors is taken */
    if ((is(c, "where") || is(c, "nonzero_numpy")) && c->n == 1) {       /* where a condition holds: an index for each axis */
        ts_value *at, *x, one = {.kind = TV_INT, .i = 1};
        FY_TRY(ts_rank(r, &rank, a));
        FY_TRY(ts_emit(r, &at, "aten.nonzero", 1, &a, NULL));
        FY_TRY(ts_new(r, c->v, TV_LIST));
        for (int i = 0; i < rank; i++) {
            ts_value axis = {.kind = TV_INT, .i = i};
            FY_TRY(ts_emit(r, &x, "aten.select", 3, (ts_value *[]){at, &one, &axis}, NULL));
            FY_TRY(ts_add(r, *c->v, x));
        }
        return FY_OK;
    }
    if (is(c, "requires_grad")) return ts_bool(r, c->v, a->kind == TV_TENSOR && a->parameter);
    if (is(c, "item")) {
        FY_TRY(dtype_of(c, a, &t));
        return ts_convert(r, c->v, fy_dtype_float(t) ? "float" : t == FERRY_BOOL ? "bool" : "int", a);
    }
    if (is(c, "Int") || is(c, "IntImplicit")) return ts_convert(r, c->v, "int", a);
    if (is(c, "Float") || is(c, "FloatImplicit")) return ts_convert(r, c->v, "float", a);
    if (is(c, "Bool") || is(c, "is_nonzero")) return ts_convert(r, c->v, "bool", a);
    if (is(c, "ScalarImplicit")) {
        FY_TRY(dtype_of(c, a, &t));
        return ts_convert(r, c->v, fy_dtype_float(t) ? "float" : "int", a);
    }
    if (is(c, "_shape_as_tensor")) {
        FY_TRY(sizes(c, a, &list));
        if (!list->n) return make_tensor(&(call){r, "tensor", 1, &list, NULL, c->v});
        FY_TRY(ts_new(r, c->v, TV_NUM));
        for (int64_t i = 0; i < list->n; i++) FY_TRY(ts_add(r, *c->v, list->item[i]));
        return FY_OK;
    }
    if (is(c, "__contains__")) return ts_fail(r, FY_E_UNSUPPORTED, "a number looked for in a tensor");
    if (is(c, "tolist")) return ts_fail(r, FY_E_UNSUPPORTED, "the numbers of a tensor as a list");
    *done = false;
    return FY_OK;
}

/* A tensor of no dimension that is a number of the code, or a constant of the file of one element. */
static fy_status as_number(ts *r, ts_value *x, ts_value **to) {
    *to = NULL;
    if (x->kind == TV_NUM) { *to = x->inner; return FY_OK; }
    if (x->kind != TV_TENSOR) return FY_OK;
    bool known;
    double f = 0;
    int64_t i = 0;
    FY_TRY(ts_constant(r, x, &known, &f, &i));
    if (!known) return FY_OK;
    int rank = 0;
    FY_TRY(ts_rank(r, &rank, x));
    fy_dtype t = x->in ? x->in->data->dtype : x->pk ? x->pk->dtype : FERRY_UNDEFINED;
    if (rank) return FY_OK;
    return fy_dtype_float(t) ? ts_float(r, to, f) : t == FERRY_BOOL ? ts_bool(r, to, i) : ts_int(r, to, i);
}

static fy_status wrap_number(call *c, ts_value *x) {
    FY_TRY(ts_new(c->r, c->v, TV_NUM));
    (*c->v)->inner = x;
    return FY_OK;
}

/* A number of a trace converted to an element type. */
static fy_status cast_number(ts *r, ts_value **v, ts_value *x, fy_dtype t) {
    *v = x;
    if (fy_dtype_float(t)) return ts_convert(r, v, "float", x);
    return fy_dtype_int(t) ? ts_convert(r, v, "int", x) : FY_OK;
}

/* One number, or (stack of several) a vector of them, through a function of one argument. */
static fy_status traced_unary(call *c, bool *done) {
    static const struct { const char *name; double (*f)(double); } table[] = {{"ceil", ceil}, {"floor", floor}, {"trunc", trunc}, {"round", rint}, {"sqrt", sqrt}};
    ts *r = c->r;
    ts_value *x = c->arg[0], *y;
    *done = true;
    if (is(c, "to")) {
        fy_dtype t = FERRY_UNDEFINED;
        for (int i = 1; i < c->n && !t; i++)
            if (c->arg[i]->kind == TV_INT && (!c->kw[i] || !strcmp(c->kw[i], "dtype"))) t = fy_c10_dtype(c->arg[i]->i);
        if (!x->inner) {
            FY_TRY(ts_new(r, c->v, TV_NUM));
            for (int64_t i = 0; i < x->n; i++) {
                FY_TRY(cast_number(r, &y, x->item[i], t));
                FY_TRY(ts_add(r, *c->v, y));
            }
            return FY_OK;
        }
        FY_TRY(cast_number(r, &y, x->inner, t));
        return wrap_number(c, y);
    }
    if (!x->inner && c->n == 1 && x->n && (is(c, "max") || is(c, "min"))) {
        y = x->item[0];
        for (int64_t i = 1; i < x->n; i++) FY_TRY(ts_arith(r, &y, c->name, y, x->item[i]));
        return wrap_number(c, y);
    }
    int64_t axis = 0;
    if (!x->inner && is(c, "slice") && int_arg(c, 1, "dim", &axis) && !axis) {
        ts_value list = {.kind = TV_LIST, .item = x->item, .n = x->n};
        FY_TRY(ts_slice(r, &y, &list, arg(c, 2, "start"), arg(c, 3, "end"), arg(c, 4, "step")));
        y->kind = TV_NUM;
        if (y->n) { *c->v = y; return FY_OK; }
    }
    if (!x->inner && is(c, "select") && c->n == 3 && int_arg(c, 1, "dim", &axis) && !axis && int_arg(c, 2, "index", &axis) && wrap(&axis, x->n)) return wrap_number(c, x->item[axis]);
    if (x->inner && c->n == 1 && is(c, "reciprocal") && x->inner->kind == TV_FLOAT) {
        FY_TRY(ts_float(r, &y, 1.0F / (float)x->inner->f));
        return wrap_number(c, y);
    }
    for (int i = 0; x->inner && c->n == 1 && i < FY_COUNT(table); i++) {
        if (!is(c, table[i].name) || x->inner->kind == TV_SYM) continue;
        if (x->inner->kind != TV_FLOAT) return wrap_number(c, x->inner);
        FY_TRY(ts_float(r, &y, (float)table[i].f(x->inner->f)));
        return wrap_number(c, y);
    }
    *done = false;
    return FY_OK;
}

/* Arithmetic of a trace on sizes. */
static fy_status traced_number(call *c, bool *done) {
    static const char *const two[] = {"add", "sub", "mul", "floor_divide", "div", "remainder", "floordiv", "rsub", "min", "max", "minimum", "maximum"};
    ts *r = c->r;
    bool any = false;
    *done = false;
    if (is(c, "stack") && c->arg[0]->kind == TV_LIST && c->arg[0]->n && (c->n == 1 || (c->arg[1]->kind == TV_INT && !c->arg[1]->i))) {
        const ts_value *l = c->arg[0];
        bool all = true;
        for (int64_t i = 0; i < l->n; i++) all = all && l->item[i]->kind == TV_NUM && l->item[i]->inner;
        if (!all) return FY_OK;
        *done = true;
        FY_TRY(ts_new(r, c->v, TV_NUM));
        for (int64_t i = 0; i < l->n; i++) FY_TRY(ts_add(r, *c->v, l->item[i]->inner));
        return FY_OK;
    }
    if (c->arg[0]->kind == TV_NUM) {
        FY_TRY(traced_unary(c, done));
        if (*done) return FY_OK;
    }
    for (int i = 0; i < c->n; i++) any = any || c->arg[i]->kind == TV_NUM;
    if (!any) return FY_OK;
    if (c->arg[0]->kind == TV_NUM && c->arg[0]->inner && is(c, "clone")) { *done = true; return wrap_number(c, c->arg[0]->inner); }
    if (c->arg[0]->kind == TV_NUM && (is(c, "detach") || is(c, "clone") || is(c, "contiguous") || is(c, "alias"))) { *done = true; *c->v = c->arg[0]; return FY_OK; }
    bool floors = false;
    const ts_value *mode = arg(c, -1, "rounding_mode"), *alpha = arg(c, 2, "alpha");
    if (mode && mode->kind == TV_STR) {
        floors = !strcmp(mode->s, "floor") || !strcmp(mode->s, "trunc");
        if (!floors) return FY_OK;
    }
    bool found = false;
    for (int i = 0; i < FY_COUNT(two); i++) found = found || is(c, two[i]);
    if (!found || c->n < 2 || (alpha && alpha->kind != TV_STR && !(alpha->kind == TV_INT && alpha->i == 1))) return FY_OK;
    ts_value *x[2];
    for (int i = 0; i < 2; i++) {
        x[i] = c->arg[i];
        if (x[i]->kind == TV_NUM && !x[i]->inner) return FY_OK;
        if (!ts_is_number(x[i])) FY_TRY(as_number(r, c->arg[i], &x[i]));
        if (!x[i] || x[i]->kind == TV_BOOL) return FY_OK;
    }
    bool div = is(c, "div") && !floors;
    *done = true;
    ts_value *y;
    if (is(c, "rsub")) FY_TRY(ts_arith(r, &y, "sub", x[1], x[0]));
    else FY_TRY(ts_arith(r, &y, is(c, "div") ? div ? "div" : "floordiv" : is(c, "minimum") ? "min" : is(c, "maximum") ? "max" : c->name, x[0], x[1]));
    if (y->kind == TV_FLOAT) y->f = (float)y->f;             /* tensors of float32 */
    return wrap_number(c, y);
}

/* add_ and the like on a number of a trace: whoever holds it sees the new one. */
static fy_status traced_in_place(call *c, bool *done) {
    ts *r = c->r;
    ts_value *x = c->arg[0], *y;
    char name[32];
    size_t n = strlen(c->name);
    if (x->kind != TV_NUM || !x->inner || n < 3 || n >= sizeof name || c->name[n - 1] != '_' || c->name[n - 2] == '_') return FY_OK;
    memcpy(name, c->name, n - 1);
    name[n - 1] = 0;
    call plain = {r, name, c->n, c->arg, c->kw, &y};
    FY_TRY(traced_number(&plain, done));
    if (*done) {
        FY_TRY(ts_touch(r, x));
        x->inner = y->inner;
        *c->v = x;
        return FY_OK;
    }
    if (r->recording) return ts_fail(r, FY_E_UNSUPPORTED, "torch.%s writes into a number of the trace, in a branch or loop that only the data decide", c->name);
    y = x;
    FY_TRY(ts_as_tensor(r, &y));
    FY_TRY(ts_emit(r, &y, "aten.clone", 1, &y, NULL));
    y->born = x->born;
    *x = *y;                                                 /* a tensor from now on */
    return FY_OK;
}

/* ---- the rest ------------------------------------------------------------------------------------------------------------------------ */

static fy_status one_number(call *c, bool *done) {
    static const struct { const char *name; double (*f)(double); bool whole; const char *sym; } table[] = {{"ceil", ceil, true, "sym.ceil"}, {"floor", floor, true, "sym.floor"},
        {"sqrt", sqrt, false, "sym.sym_sqrt"}, {"exp", exp, false, NULL}, {"log", log, false, NULL}, {"log2", log2, false, NULL}, {"round", rint, false, NULL}, {"sin", sin, false, NULL}, {"cos", cos, false, NULL}};
    ts_value *x = c->arg[0];
    *done = true;
    if (is(c, "neg")) {
        if (x->kind == TV_FLOAT) return ts_float(c->r, c->v, -x->f);
        ts_value *zero;
        FY_TRY(ts_int(c->r, &zero, 0));
        return ts_arith(c->r, c->v, "sub", zero, x);
    }
    if (is(c, "abs") && x->kind != TV_SYM) return x->kind == TV_FLOAT ? ts_float(c->r, c->v, fabs(x->f)) : ts_int(c->r, c->v, x->i < 0 && x->i > INT64_MIN ? -x->i : x->i);
    if (is(c, "__not__")) {
        if (x->kind == TV_SYM) return ts_sym(c->r, c->v, "sym.sym_not", FY_PV_SYMBOOL, NULL, 1, &x);
        return ts_bool(c->r, c->v, x->kind == TV_FLOAT ? !(x->f < 0 || x->f > 0) : !x->i);
    }
    if (is(c, "NumToTensor")) return wrap_number(c, x);
    if (is(c, "Int") || is(c, "Float") || is(c, "Bool")) return ts_convert(c->r, c->v, is(c, "Int") ? "int" : is(c, "Float") ? "float" : "bool", x);
    if (is(c, "ScalarImplicit")) { *c->v = x; return FY_OK; }
    for (int i = 0; i < FY_COUNT(table); i++) {
        if (!is(c, table[i].name)) continue;
        if (x->kind == TV_SYM) {
            if (table[i].whole && x->v->kind == FY_PV_SYMINT) { *c->v = x; return FY_OK; }
            if (!table[i].sym) return ts_fail(c->r, FY_E_UNSUPPORTED, "torch.%s of a number known at run time", c->name);
            return ts_sym(c->r, c->v, table[i].sym, table[i].whole ? FY_PV_SYMINT : FY_PV_SYMFLOAT, NULL, 1, &x);
        }
        double y = table[i].f(x->kind == TV_FLOAT ? x->f : (double)x->i);
        if (table[i].whole && !(fabs(y) < 9e18)) return ts_fail(c->r, FY_E_VALUE, "torch.%s of %g", c->name, x->f);
        return table[i].whole ? ts_int(c->r, c->v, (int64_t)y) : ts_float(c->r, c->v, y);
    }
    *done = false;
    return FY_OK;
}

static fy_status contains(call *c) {                         /* x in list */
    const ts_value *l = c->arg[0], *x = c->arg[1];
    bool all = true, known;
    for (int64_t i = 0; i < l->n; i++) {
        if (ts_equal(l->item[i], x, &known, 0)) return ts_bool(c->r, c->v, true);
        all = all && known;
    }
    return all ? ts_bool(c->r, c->v, false) : ts_fail(c->r, FY_E_UNSUPPORTED, "a number known at run time is looked for in a list");
}

/* Lists of sizes compared entry by entry. */
static fy_status same(call *c, ts_value *a, ts_value *b) {
    bool known, eq = ts_equal(a, b, &known, 0);
    if (known) return ts_bool(c->r, c->v, eq == is(c, "eq"));
    if ((a->kind != TV_LIST && a->kind != TV_TUPLE) || a->kind != b->kind || a->n != b->n) return ts_fail(c->r, FY_E_UNSUPPORTED, "%s compared with %s", ts_kind_text(a), ts_kind_text(b));
    ts_value *all, *one;
    FY_TRY(ts_bool(c->r, &all, true));
    for (int64_t i = 0; i < a->n; i++) {
        if (!ts_is_number(a->item[i]) || !ts_is_number(b->item[i])) return ts_fail(c->r, FY_E_UNSUPPORTED, "lists with %s compared", ts_kind_text(a->item[i]));
        FY_TRY(ts_arith(c->r, &one, "eq", a->item[i], b->item[i]));
        FY_TRY(ts_arith(c->r, &all, "__and__", all, one));
    }
    if (is(c, "eq")) { *c->v = all; return FY_OK; }
    bool done;
    return one_number(&(call){c->r, "__not__", 1, &all, NULL, c->v}, &done);
}

static fy_status stack_call(call *c, bool *done) {           /* on a list that grows while the model runs */
    ts *r = c->r;
    ts_value *x = c->arg[0]->inner, zero = {.kind = TV_INT}, *axis = arg(c, 1, "dim");
    int rank;
    *done = true;
    if (is(c, "append")) return append(c);
    if (is(c, "len")) return ts_dims(r, c->v, x, 0);
    if (is(c, "stack") || is(c, "cat")) {
        FY_TRY(ts_rank(r, &rank, x));
        int64_t d = axis && axis->kind == TV_INT ? axis->i : 0, most = is(c, "stack") ? rank : rank - 1;
        if (!wrap(&d, most)) return ts_fail(r, FY_E_AXIS, "axis %lld outside rank %lld", (long long)d, (long long)most);
        ts_value at = {.kind = TV_INT, .i = d}, next = {.kind = TV_INT, .i = d + 1}, *y = x;
        if (d) FY_TRY(ts_emit(r, &y, "aten.movedim", 3, (ts_value *[]){x, &zero, &at}, NULL));
        *c->v = y;
        return is(c, "stack") ? FY_OK : ts_emit(r, c->v, "aten.flatten", 3, (ts_value *[]){y, &at, &next}, NULL);
    }
    return ts_fail(r, FY_E_UNSUPPORTED, "torch.%s of a list whose length is known when the model runs", c->name);
}

static fy_status any_call(call *c, bool *done) {
    ts *r = c->r;
    ts_value *a = c->n ? c->arg[0] : NULL, *b = c->n > 1 ? c->arg[1] : NULL;
    *done = true;
    if (is(c, "RaiseException")) {
        r->raised = true;
        r->why = a && a->kind == TV_STR ? a->s : "an exception";
        return nothing(c);
    }
    if (is(c, "warn") || is(c, "set_grad_enabled") || is(c, "manual_seed") || is(c, "Print")) return nothing(c);
    if (is(c, "is_grad_enabled")) return ts_bool(r, c->v, true);         /* as is requires_grad: the plain road, not the fused one */
    if (is(c, "is_autocast_enabled") || is(c, "is_autocast_cpu_enabled") || is(c, "is_tracing") || is(c, "cudnn_is_acceptable")) return ts_bool(r, c->v, false);
    if (is(c, "is_scripting")) return ts_bool(r, c->v, true);
    if (!a && is(c, "dict")) return ts_new(r, c->v, TV_DICT);
    if (!a) { *done = false; return FY_OK; }
    if (is(c, "device") && a->kind == TV_STR) { FY_TRY(ts_new(r, c->v, TV_DEVICE)); (*c->v)->s = a->s; return FY_OK; }
    if (a->kind == TV_DEVICE) {
        if (is(c, "type")) { const char *colon = strchr(a->s, ':'); char *s = colon ? fy_arena_strn(&r->tmp, a->s, (size_t)(colon - a->s)) : fy_arena_str(&r->tmp, a->s); TS_OOM(r, s); return ts_str(r, c->v, s); }
        if (is(c, "index")) return nothing(c);
    }
    if ((is(c, "__is__") || is(c, "__isnot__")) && b) {
        bool known, eq = a->kind == TV_NONE || b->kind == TV_NONE ? a->kind == b->kind : ts_equal(a, b, &known, 0);
        if (a->kind == TV_LOST || b->kind == TV_LOST) return ts_fail(r, FY_E_UNSUPPORTED, "whether a value is None is only known at run time: %s", a->kind == TV_LOST ? a->s : b->s);
        return ts_bool(r, c->v, eq == is(c, "__is__"));
    }
    if (is(c, "unchecked_unwrap_optional") || is(c, "_unwrap_optional")) { *c->v = a; return FY_OK; }
    if (is(c, "str")) { fy_buf t = {0}; put_text(&t, a, 0); return text_of(c, &t); }
    if (is(c, "rangelist") && a->kind == TV_INT) {
        FY_TRY(ts_new(r, c->v, TV_LIST));
        for (int64_t i = 0; i < a->i; i++) {
            ts_value *x;
            FY_TRY(ts_step(r, 1));
            FY_TRY(ts_int(r, &x, i));
            FY_TRY(ts_add(r, *c->v, x));
        }
        return FY_OK;
    }
    if (is(c, "__range_length") && c->n == 3 && ts_is_number(a) && ts_is_number(b) && c->arg[2]->kind == TV_INT && c->arg[2]->i) {
        int64_t step = c->arg[2]->i;
        ts_value *span, *by, *zero, *q;
        FY_TRY(ts_int(r, &zero, 0));
        FY_TRY(step > 0 ? ts_arith(r, &span, "sub", b, a) : ts_arith(r, &span, "sub", a, b));
        FY_TRY(ts_int(r, &by, (step > 0 ? step : -step) - 1));
        FY_TRY(ts_arith(r, &span, "add", span, by));
        FY_TRY(ts_int(r, &by, step > 0 ? step : -step));
        FY_TRY(ts_arith(r, &q, "floordiv", span, by));
        return ts_arith(r, c->v, "max", q, zero);
    }
    if (is(c, "__derive_index") && c->n == 3) {
        ts_value *x;
        FY_TRY(ts_arith(r, &x, "mul", a, c->arg[2]));
        return ts_arith(r, c->v, "add", b, x);
    }
    if (is(c, "tensor") || is(c, "as_tensor")) return make_tensor(c);
    if (is(c, "len") && (a->kind == TV_LIST || a->kind == TV_TUPLE || a->kind == TV_OBJECT)) return ts_int(r, c->v, a->n);
    if (is(c, "len") && a->kind == TV_DICT) return ts_int(r, c->v, a->n / 2);
    if (is(c, "len") && a->kind == TV_STR) return ts_int(r, c->v, (int64_t)strlen(a->s));
    if (is(c, "__contains__") && b && (a->kind == TV_LIST || a->kind == TV_TUPLE)) return contains(c);
    if ((is(c, "eq") || is(c, "ne")) && b && !ts_is_tensor(a) && !ts_is_tensor(b) && !(ts_is_number(a) && ts_is_number(b))) return same(c, a, b);
    *done = false;
    return FY_OK;
}

/* What operators meant when the archive was written: torch/csrc/jit/operator_upgraders. A file names the least version that its operators need. */
static fy_status as_then(call *c, bool *done) {
    ts *r = c->r;
    if (r->version < 4 && is(c, "div") && c->n == 2 && ts_is_tensor(c->arg[0])) {
        fy_dtype a, b = FERRY_INT64;
        FY_TRY(dtype_of(c, c->arg[0], &a));
        if (ts_is_tensor(c->arg[1])) FY_TRY(dtype_of(c, c->arg[1], &b));
        else if (c->arg[1]->kind == TV_FLOAT || (c->arg[1]->kind == TV_SYM && c->arg[1]->v->kind == FY_PV_SYMFLOAT)) b = FERRY_FLOAT;
        if (fy_dtype_float(a) || fy_dtype_float(b)) return FY_OK;
        ts_value *trunc;
        *done = true;
        FY_TRY(ts_str(r, &trunc, "trunc"));
        return ts_emit(r, c->v, "aten.div", 3, (ts_value *[]){c->arg[0], c->arg[1], trunc}, (const char *[]){NULL, NULL, "rounding_mode"});
    }
    if (r->version < 5 && is(c, "full") && c->n >= 2 && (c->arg[1]->kind == TV_INT || c->arg[1]->kind == TV_BOOL)) {
        const ts_value *dtype = arg(c, 2, "dtype");
        return dtype && dtype->kind != TV_NONE ? FY_OK : ts_float(r, &c->arg[1], (double)c->arg[1]->i);
    }
    if (r->version < 9 && (is(c, "linspace") || is(c, "logspace")) && c->n >= 3 && c->arg[2]->kind == TV_NONE) return ts_int(r, &c->arg[2], 100);
    return FY_OK;
}

fy_status ts_builtin(ts *r, ts_value **v, bool *done, const char *name, int n, ts_value **args, const char *const *kw) {
    call c = {r, name, n, args, kw, v};
    *done = false;
    if (r->version && n) FY_TRY(as_then(&c, done));
    if (*done) return FY_OK;
    FY_TRY(any_call(&c, done));
    if (*done || !n) return FY_OK;
    ts_value *a = args[0], *b = n > 1 ? args[1] : NULL;
    switch ((int)a->kind) {
    case TV_LIST: case TV_TUPLE: FY_TRY(list_call(&c, done)); break;
    case TV_DICT: FY_TRY(dict_call(&c, done)); break;
    case TV_STR: FY_TRY(string_call(&c, done)); break;
    case TV_STACK: FY_TRY(stack_call(&c, done)); break;
    case TV_TENSOR: case TV_NUM: FY_TRY(tensor_call(&c, done)); break;
    default: break;
    }
    if (*done) return FY_OK;
    if (ts_is_number(a) && (n == 1 || kw[1])) {
        FY_TRY(one_number(&c, done));
        if (*done) return FY_OK;
    }
    if (ts_is_number(a) && b && ts_is_number(b) && n == 2 && !kw[1] && strcmp(name, "arange") && strcmp(name, "full")) {
        static const char *const two[] = {"add", "sub", "mul", "div", "floordiv", "remainder", "pow", "min", "max", "eq", "ne", "lt", "le", "gt", "ge", "__and__", "__or__", "__xor__", "floor_divide"};
        for (int i = 0; i < FY_COUNT(two); i++)
            if (!strcmp(name, two[i])) { *done = true; return ts_arith(r, v, name, a, b); }
    }
    FY_TRY(traced_number(&c, done));
    return *done ? FY_OK : traced_in_place(&c, done);
}
