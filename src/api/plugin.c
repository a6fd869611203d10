/* SPDX-License-Identifier: Apache-2.0
 * plugin.c - the table of functions that callbacks of ferry/plugin.h call, and the calls of those callbacks. Whatever a callback does
 * with the table ends in a status; what it leaves undone is an error that names plugin and operator. */
#include "api/registry.h"
#include "ops/common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ferry_node {
    const fy_plugged *op;
    const fy_node    *n;
    fy_infer         *f;                 /* while inferring, or NULL */
    const fy_call    *c;                 /* while running, or NULL */
    fy_arena         *arena;
    ferry_error      *e;
    fy_status         status;            /* the first failure */
};

/* ---- failing ------------------------------------------------------------------------------------------------------- */

static void name_of(const ferry_node *n, char *to, size_t room) {
    const fy_op *op = &n->op->op;
    snprintf(to, room, "%s%s%s%s%s%s", op->domain, *op->domain ? "." : "", op->name, n->op->from ? " (plugin " : "", n->op->from ? n->op->from : "", n->op->from ? ")" : "");
}

static int fails(ferry_node *n, fy_code code, const char *words) {
    char who[300];
    name_of(n, who, sizeof who);
    if (!n->status) n->status = fy_fail(n->e, code, "%s: %s", who, words);
    return 1;
}
#define FAIL(n, code, ...) do { char words_[200]; snprintf(words_, sizeof words_, __VA_ARGS__); return fails(n, FY_E_##code, words_); } while (0)

/* The status of something of ours, as a callback sees it. */
static int done(ferry_node *n, fy_status s) {
    if (s && !n->status) {
        char who[300];
        name_of(n, who, sizeof who);
        n->status = fy_frame(n->e, s, "operator %.180s", who);
    }
    return s != FY_OK;
}

static int api_fail(ferry_node *n, const char *code, const char *message) {
    fy_code c = code ? fy_code_find(code) : FY_OK;
    return fails(n, c && c != FY_E_INTERNAL ? c : FY_E_VALUE, message ? message : "no reason is given");
}

static void *api_user(const ferry_node *n) { return n->op->own.user; }

/* ---- attributes ---------------------------------------------------------------------------------------------------- */

static const fy_attr_spec *spec(const ferry_node *n, const char *name, fy_attr_kind kind) {
    for (const fy_attr_spec *s = n->op->op.attrs; name && s && s->name; s++)
        if (!strcmp(s->name, name)) return s->kind == kind ? s : NULL;
    return NULL;
}

static const fy_attr *given(const ferry_node *n, const char *name, fy_attr_kind kind) {
    const fy_attr *a = fy_attr_get(n->n, name);
    return a && a->kind == kind ? a : NULL;
}

static bool has_default(const fy_attr_spec *s) { return s->def && strcmp(s->def, FY_REQUIRED); }

static int api_attr_int(const ferry_node *n, const char *name, int64_t *v) {
    const fy_attr_spec *s = spec(n, name, FY_ATTR_INT);
    if (!s || !(given(n, name, FY_ATTR_INT) || has_default(s))) return 0;
    *v = fy_attr_i(n->n, name);
    return 1;
}

static int api_attr_float(const ferry_node *n, const char *name, double *v) {
    const fy_attr_spec *s = spec(n, name, FY_ATTR_FLOAT);
    if (!s || !(given(n, name, FY_ATTR_FLOAT) || has_default(s))) return 0;
    *v = fy_attr_f(n->n, name);
    return 1;
}

static int api_attr_string(const ferry_node *n, const char *name, const char **at, size_t *length) {
    const fy_attr_spec *s = spec(n, name, FY_ATTR_STRING);
    if (!s || !(given(n, name, FY_ATTR_STRING) || has_default(s))) return 0;
    fy_str v = fy_attr_s(n->n, name);
    *at = v.at ? v.at : "";
    *length = v.n;
    return 1;
}

static int api_attr_ints(const ferry_node *n, const char *name, const int64_t **at, size_t *count) {
    const fy_attr_spec *s = spec(n, name, FY_ATTR_INTS);
    const fy_attr *a = s ? given(n, name, FY_ATTR_INTS) : NULL;
    if (!a) return 0;
    *at = a->ints;
    *count = (size_t)a->n;
    return 1;
}

static int api_attr_floats(const ferry_node *n, const char *name, const double **at, size_t *count) {
    const fy_attr_spec *s = spec(n, name, FY_ATTR_FLOATS);
    const fy_attr *a = s ? given(n, name, FY_ATTR_FLOATS) : NULL;
    if (!a) return 0;
    *at = a->floats;
    *count = (size_t)a->n;
    return 1;
}

static int api_attr_strings(const ferry_node *n, const char *name, size_t i, const char **at, size_t *length) {
    const fy_attr_spec *s = spec(n, name, FY_ATTR_STRINGS);
    const fy_attr *a = s ? given(n, name, FY_ATTR_STRINGS) : NULL;
    if (!a || i >= (size_t)a->n) return 0;
    *at = a->strings[i].at ? a->strings[i].at : "";
    *length = a->strings[i].n;
    return 1;
}

/* A dense tensor as callers see it; sub-byte elements take a byte each. Strings have no bytes to show. */
static ferry_tensor seen(const fy_tensor *t) {
    ferry_tensor v = {.dtype = (int32_t)t->dtype, .rank = t->rank};
    memcpy(v.dim, t->dim, sizeof v.dim);
    if (t->dtype == FERRY_STRING) return v;
    v.data = t->data;
    v.bytes = (size_t)fy_count(t) * (size_t)fy_elem_bytes(t->dtype);
    return v;
}

static int dense_view(ferry_node *n, const fy_tensor *t, ferry_tensor *view) {
    fy_tensor dense = *t;
    if (!fy_contiguous(t)) {
        void *at = fy_arena_alloc(n->arena, (size_t)fy_count(t), (size_t)fy_elem_bytes(t->dtype));
        if (!at) return fails(n, FY_E_NOMEM, "out of memory");
        dense = fy_tensor_view(t->dtype, t->rank, t->dim, at);
        fy_tensor_copy(&dense, t);
    }
    *view = seen(&dense);
    return 0;
}

static int api_attr_tensor(ferry_node *n, const char *name, ferry_tensor *t) {
    const fy_attr_spec *s = spec(n, name, FY_ATTR_TENSOR);
    const fy_attr *a = s ? given(n, name, FY_ATTR_TENSOR) : NULL;
    fy_tensor v;
    *t = (ferry_tensor){0};
    if (!a || !a->tensor || a->tensor->dtype == FERRY_STRING || a->tensor->rank > FY_MAX_RANK) return 0;
    void *at = fy_arena_alloc(n->arena, (size_t)a->tensor->count, (size_t)fy_elem_bytes(a->tensor->dtype));
    if (!at) {
        (void)fails(n, FY_E_NOMEM, "out of memory");
        return 0;
    }
    if (done(n, fy_const_read(a->tensor, 0, a->tensor->count, at, n->e))) return 0;
    v = fy_tensor_view(a->tensor->dtype, a->tensor->rank, a->tensor->dim, at);
    *t = seen(&v);
    return 1;
}

/* ---- inputs and outputs --------------------------------------------------------------------------------------------- */

static size_t api_inputs(const ferry_node *n) { return (size_t)(n->f ? n->f->nin : n->c->nin); }
static size_t api_outputs(const ferry_node *n) { return (size_t)(n->f ? n->f->nout : n->c->nout); }

static int at(size_t i) { return i < INT32_MAX ? (int)i : INT32_MAX; }

static const fy_rval *value(const ferry_node *n, size_t i) { return n->c && i < (size_t)n->c->nin ? n->c->in[i] : NULL; }

static int api_has_input(const ferry_node *n, size_t i) { return n->f ? fy_in_has(n->f, at(i)) : value(n, i) != NULL; }
static int api_wants_output(const ferry_node *n, size_t i) { return i < (size_t)n->n->nout && n->n->out[i] != NULL; }

static int32_t api_dtype(const ferry_node *n, size_t i) {
    const fy_rval *v = value(n, i);
    if (n->f) return (int32_t)fy_in_dtype(n->f, at(i));
    return v && v->kind == FY_TENSOR ? (int32_t)v->t.dtype : 0;
}

static int32_t api_rank(const ferry_node *n, size_t i) {
    const fy_rval *v = value(n, i);
    if (n->f) return fy_in_rank(n->f, at(i));
    return v && v->kind == FY_TENSOR ? v->t.rank : -1;
}

static int64_t api_dim(const ferry_node *n, size_t i, int32_t axis) {
    int64_t size;
    int32_t rank = api_rank(n, i);
    if (axis < 0 && rank > 0) axis += rank;
    if (axis < 0 || axis >= rank) return -1;
    if (n->f) return fy_dim_known(fy_in_dim(n->f, at(i), axis), &size) ? size : -1;
    return value(n, i)->t.dim[axis];
}

static const char *api_dim_text(ferry_node *n, size_t i, int32_t axis) {
    int64_t size = api_dim(n, i, axis);
    const fy_dim *d = n->f ? fy_in_dim(n->f, at(i), axis) : NULL;
    const char *text;
    if (size >= 0) text = fy_arena_fmt(n->arena, "%lld", (long long)size);
    else if (!d) return NULL;
    else {
        fy_buf b = {0};
        fy_dim_print(&b, d);
        text = b.oom ? NULL : fy_arena_str(n->arena, b.at);
        fy_buf_free(&b);
    }
    if (!text) (void)fails(n, FY_E_NOMEM, "out of memory");
    return text;
}

static int64_t api_values(ferry_node *n, size_t i, int64_t *to, size_t room) {
    int64_t all[FY_MAX_ELEM], count = -1;
    const fy_rval *v = value(n, i);
    if (n->f && !fy_in_ints(n->f, at(i), all, FY_MAX_ELEM, &count)) return -1;
    if (n->c) {
        if (!v || v->kind != FY_TENSOR || !(fy_dtype_int(v->t.dtype) || v->t.dtype == FERRY_BOOL) || fy_count(&v->t) > FY_MAX_ELEM) return -1;
        count = fy_count(&v->t);
        fy_load_i64(all, &v->t, 0, count);
    }
    for (int64_t k = 0; k < count && (size_t)k < room; k++) to[k] = all[k];
    return count;
}

/* ---- inference ------------------------------------------------------------------------------------------------------ */

static int inferring(ferry_node *n, size_t out) {
    int most = n->op->op.max_out;
    if (!n->f) return fails(n, FY_E_PLUGIN, "types of outputs are set by the infer callback only");
    if (most >= 0 && out >= (size_t)most) FAIL(n, PLUGIN, "the type of output %zu is set; the operator has %d outputs", out, most);
    return 0;
}

/* An optional output that this node leaves out: nothing is to be done. */
static bool left_out(const ferry_node *n, size_t out) { return out >= (size_t)n->f->nout; }

static int api_set_like(ferry_node *n, size_t out, size_t in) {
    if (inferring(n, out)) return 1;
    if (left_out(n, out)) return 0;
    if (in >= (size_t)n->f->nin) FAIL(n, PLUGIN, "output %zu is set like input %zu; the node has %d inputs", out, in, n->f->nin);
    return done(n, fy_out_like(n->f, at(out), at(in)));
}

static int api_set_type(ferry_node *n, size_t out, int32_t dtype, int32_t rank) {
    const fy_dim *d[FY_MAX_RANK];
    if (inferring(n, out)) return 1;
    if (left_out(n, out)) return 0;
    if (dtype && !fy_elem_bytes((fy_dtype)dtype)) FAIL(n, PLUGIN, "output %zu is given dtype %d, which there is not", out, (int)dtype);
    if (rank < -1 || rank > FY_MAX_RANK) FAIL(n, LIMIT, "output %zu is given rank %d; 0 to %d are possible", out, (int)rank, FY_MAX_RANK);
    for (int k = 0; k < rank; k++) d[k] = fy_dim_opaque(n->f->dims, n->op->op.name);
    return done(n, fy_out_set(n->f, at(out), (fy_dtype)dtype, rank, d));
}

/* One size of an output whose type is set already. */
static int set_size(ferry_node *n, size_t out, int32_t axis, const fy_dim *size) {
    const fy_dim *d[FY_MAX_RANK];
    const fy_type *t = &n->f->out[out].type;
    if (!size) return fails(n, FY_E_NOMEM, "out of memory");
    if (t->kind != FY_TENSOR || axis >= t->rank || axis < -t->rank) FAIL(n, PLUGIN, "axis %d of output %zu is set; its rank is %d", (int)axis, out, t->kind == FY_TENSOR ? t->rank : -1);
    for (int k = 0; k < t->rank; k++) d[k] = t->dim[k];
    d[axis < 0 ? axis + t->rank : axis] = size;
    return done(n, fy_out_set(n->f, at(out), t->dtype, t->rank, d));
}

static int api_set_dim(ferry_node *n, size_t out, int32_t axis, int64_t size) {
    if (inferring(n, out)) return 1;
    if (left_out(n, out)) return 0;
    if (size < 0) FAIL(n, SHAPE, "axis %d of output %zu would have size %lld", (int)axis, out, (long long)size);
    return set_size(n, out, axis, fy_dim_const(n->f->dims, size));
}

static int api_set_dim_like(ferry_node *n, size_t out, int32_t axis, size_t in, int32_t in_axis) {
    if (inferring(n, out)) return 1;
    if (left_out(n, out)) return 0;
    const fy_dim *d = fy_in_dim(n->f, at(in), in_axis);
    return set_size(n, out, axis, d ? d : fy_dim_opaque(n->f->dims, n->op->op.name));
}

static int api_set_dim_text(ferry_node *n, size_t out, int32_t axis, const char *text) {
    if (inferring(n, out)) return 1;
    if (left_out(n, out)) return 0;
    const fy_dim *d = text ? fy_dim_parse(n->f->dims, text, strlen(text)) : NULL;
    if (!d && fy_dims_oom(n->f->dims)) return fails(n, FY_E_NOMEM, "out of memory");
    if (!d) FAIL(n, PLUGIN, "axis %d of output %zu: \"%.80s\" is no size", (int)axis, out, text ? text : "");
    return set_size(n, out, axis, d);
}

/* ---- running -------------------------------------------------------------------------------------------------------- */

static int running(ferry_node *n) { return n->c ? 0 : fails(n, FY_E_PLUGIN, "elements are there for the run callback only"); }

static int api_input(ferry_node *n, size_t i, ferry_tensor *t) {
    *t = (ferry_tensor){0};
    if (running(n)) return 1;
    const fy_rval *v = value(n, i);
    if (!v) return 0;
    if (v->kind != FY_TENSOR) FAIL(n, TYPE, "input %zu is no tensor", i);
    return dense_view(n, &v->t, t);
}

static fy_tensor *result(ferry_node *n, size_t i) {
    if (running(n)) return NULL;
    fy_tensor *y = fy_res(n->c, at(i));
    if (y) return y;
    char words[80];
    snprintf(words, sizeof words, "output %zu is not wanted here: wants_output tells", i);
    (void)fails(n, FY_E_PLUGIN, words);
    return NULL;
}

static int api_output(ferry_node *n, size_t i, ferry_tensor *t) {
    *t = (ferry_tensor){0};
    fy_tensor *y = result(n, i);
    if (!y) return 1;
    if (!y->dtype) FAIL(n, PLUGIN, "the sizes of output %zu do not follow from the inputs: shape must give them first", i);
    *t = seen(y);
    return 0;
}

static void describe(char *to, size_t room, int32_t dtype, int32_t rank, const int64_t *dim) {
    size_t w = (size_t)snprintf(to, room, "%s[", ferry_dtype_name(dtype));
    for (int k = 0; k < rank && w < room; k++) w += (size_t)snprintf(to + w, room - w, "%s%lld", k ? "," : "", (long long)dim[k]);
    if (w < room) snprintf(to + w, room - w, "]");
}

/* Does what the kernel says of output i agree with what inference told when the model was opened? */
static bool told(const ferry_node *n, size_t i, int32_t dtype, int32_t rank, const int64_t *dim) {
    const fy_type *t = &n->n->out[i]->type;
    int64_t d;
    if (t->kind != FY_TENSOR) return t->kind == FY_NOTYPE;
    if ((t->dtype && (int32_t)t->dtype != dtype) || (t->rank >= 0 && t->rank != rank)) return false;
    for (int k = 0; k < t->rank; k++)
        if (fy_dim_known(t->dim[k], &d) && d != dim[k]) return false;
    return true;
}

static int api_shape(ferry_node *n, size_t i, int32_t dtype, int32_t rank, const int64_t *dim) {
    char asked[160], was[160];
    fy_tensor *y = result(n, i);
    if (!y) return 1;
    if (!fy_elem_bytes((fy_dtype)dtype)) FAIL(n, PLUGIN, "output %zu is given dtype %d, which there is not", i, (int)dtype);
    if (rank < 0 || rank > FY_MAX_RANK) FAIL(n, LIMIT, "output %zu is given rank %d; 0 to %d are possible", i, (int)rank, FY_MAX_RANK);
    for (int k = 0; k < rank; k++)
        if (dim[k] < 0) FAIL(n, SHAPE, "axis %d of output %zu would have size %lld", k, i, (long long)dim[k]);
    describe(asked, sizeof asked, dtype, rank, dim);
    if (y->dtype) {
        bool same = (int32_t)y->dtype == dtype && y->rank == rank;
        for (int k = 0; same && k < rank; k++) same = y->dim[k] == dim[k];
        describe(was, sizeof was, (int32_t)y->dtype, y->rank, y->dim);
        if (!same) FAIL(n, PLUGIN, "output %zu is %.70s by its inference, %.70s by its kernel", i, was, asked);
        return 0;
    }
    if (!told(n, i, dtype, rank, dim)) FAIL(n, PLUGIN, "output %zu is %.70s by its kernel, something else by its inference", i, asked);
    if (done(n, fy_alloc_out(n->c, at(i), (fy_dtype)dtype, rank, dim))) return 1;
    if (y->own) memset(y->data, 0, y->own->bytes);
    return 0;
}

static int api_get_string(ferry_node *n, size_t in, int64_t k, const char **to, size_t *length) {
    if (running(n)) return 1;
    const fy_rval *v = value(n, in);
    if (!v || v->kind != FY_TENSOR || v->t.dtype != FERRY_STRING) FAIL(n, TYPE, "input %zu is no tensor of strings", in);
    if (k < 0 || k >= fy_count(&v->t)) FAIL(n, INDEX, "string %lld of input %zu, which has %lld", (long long)k, in, (long long)fy_count(&v->t));
    const fy_str *s = fy_k_str(&v->t, k);
    *to = s->at ? s->at : "";
    *length = s->n;
    return 0;
}

static int api_put_string(ferry_node *n, size_t out, int64_t k, const char *from, size_t length) {
    fy_tensor *y = result(n, out);
    if (!y) return 1;
    if (y->dtype != FERRY_STRING) FAIL(n, TYPE, "output %zu is no tensor of strings", out);
    if (k < 0 || k >= fy_count(y)) FAIL(n, INDEX, "string %lld of output %zu, which has %lld", (long long)k, out, (long long)fy_count(y));
    char *copy = fy_arena_strn(n->arena, from ? from : "", from ? length : 0);
    if (!copy) return fails(n, FY_E_NOMEM, "out of memory");
    ((fy_str *)y->data)[k] = (fy_str){copy, from ? length : 0};
    return 0;
}

static void *api_scratch(ferry_node *n, size_t bytes) {
    void *p = fy_arena_alloc(n->arena, bytes, 1);
    if (!p) (void)fails(n, FY_E_NOMEM, "out of memory");
    return p;
}

static void api_parallel(ferry_node *n, int64_t count, int64_t grain, void (*fn)(void *arg, int64_t begin, int64_t end), void *arg) {
    if (!running(n) && fn) fy_k_for(n->c, count, grain > 0 ? grain : 1, fn, arg);
}

static int api_stopped(const ferry_node *n) { return n->c && fy_stopped(n->c); }

static int api_add(ferry_registry *r, const ferry_op *op, ferry_error *e) { return ferry_registry_add(r, op, e); }

const ferry_plugin_api *fy_plugin_api(void) {
    static const ferry_plugin_api table = {
        sizeof table, FERRY_PLUGIN_ABI, FERRY_VERSION, api_add, api_user, api_fail, api_attr_int, api_attr_float, api_attr_string, api_attr_ints, api_attr_floats,
        api_attr_strings, api_attr_tensor, api_inputs, api_outputs, api_has_input, api_wants_output, api_dtype, api_rank, api_dim, api_dim_text, api_values,
        api_set_like, api_set_type, api_set_dim, api_set_dim_like, api_set_dim_text, api_input, api_output, api_shape, api_get_string, api_put_string,
        api_scratch, api_parallel, api_stopped,
    };
    return &table;
}

/* ---- calling the callbacks ------------------------------------------------------------------------------------------- */

static fy_status ended(ferry_node *n, int said, const char *callback) {
    char words[100];
    if (n->status) return n->status;     /* also where the callback took no notice of a failure */
    if (!said) return FY_OK;
    snprintf(words, sizeof words, "its %s callback failed with %d and no message", callback, said);
    (void)fails(n, FY_E_PLUGIN, words);
    return n->status;
}

static const fy_plugged *plugged(const fy_node *n) { return (const fy_plugged *)(const void *)n->op; }

fy_status fy_plugin_infer(fy_infer *f) {
    ferry_error quiet;                   /* the words are needed even where the caller has no use for them: ended() looks at the status only */
    ferry_node n = {.op = plugged(f->node), .n = f->node, .f = f, .arena = f->arena, .e = f->e ? f->e : &quiet};
    if (!n.op->own.infer) return FY_OK;
    return ended(&n, n.op->own.infer(fy_plugin_api(), &n), "infer");
}

fy_status fy_plugin_run(const fy_call *c) {
    ferry_error quiet;
    ferry_node n = {.op = plugged(c->node), .n = c->node, .c = c, .arena = c->scratch, .e = c->e ? c->e : &quiet};
    char words[80];
    for (int i = 0; i < c->nout; i++)
        if (fy_res(c, i) && fy_res(c, i)->own) memset(fy_res(c, i)->data, 0, fy_res(c, i)->own->bytes);
    FY_TRY(ended(&n, n.op->own.run(fy_plugin_api(), &n), "run"));
    for (int i = 0; i < c->nout; i++) {
        fy_tensor *y = fy_res(c, i);
        if (!y) continue;
        if (!y->dtype) {
            snprintf(words, sizeof words, "output %d was not made", i);
            (void)fails(&n, FY_E_PLUGIN, words);
            return n.status;
        }
        if (y->dtype == FERRY_STRING) FY_TRY(fy_tensor_own_strings(y, c->e));
    }
    return FY_OK;
}
