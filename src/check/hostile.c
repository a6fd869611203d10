/* SPDX-License-Identifier: Apache-2.0
 * hostile.c - changes made to a node that runs, one, two or three at a time, each case in a fresh model.
 *
 * What must hold of every case: it ends with a status, and INTERNAL is none that a file may cause; a result has the type that inference
 * told; no memory is left. Strides, and constants in place of inputs, must not change a bit of the result. A case that inference refuses
 * is run once more with the ranks of its inputs unknown, so that what is only checked at run time is reached as well. Our engine, which is told
 * that inputs have sizes but not which, must end as the reference kernels do: in a result of the same type or in an error. */
#include "check/hostile.h"

#include "base/checked.h"
#include "engines/engine.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef enum kind { OPERAND, CONSTANT, SHAPE, DTYPE, STRIDES, ABSENT, RAW, ITEMS, ATTR } kind;
static const char *const kind_name[] = {"operand", "constant", "shape", "dtype", "strides", "absent", "raw bits", "items", "attribute"};

/* `i`: input or attribute, -1 all inputs; `k`: element, -1 all; `value`: which of the hostile ones. */
typedef struct change { kind kind; int i; int64_t k; int value; } change;

typedef struct bench {
    fy_hostile *h;
    const fy_op *op;
    const fy_hostile_base *base;
    FY_VEC(change) all;
    fy_rval  right[32];                  /* the base's own results */
    int      nright;
} bench;

/* ---- the values ---------------------------------------------------------------------------------------------------- */

/* A size of the operands, to be filled in. */
#define BY_DIM (-6001)                   /* first size of input 0 */
#define BY_LAST (-6002)                  /* last size of input 0 */
#define BY_RANK (-6003)
static const struct { int64_t v; int dim, sign, plus; } ints[] = {
    {0, 0, 0, 0}, {-1, 0, 0, 0}, {1, 0, 0, 0}, {2, 0, 0, 0}, {-2, 0, 0, 0}, {INT32_MAX, 0, 0, 0}, {(int64_t)INT32_MAX + 1, 0, 0, 0}, {INT32_MIN, 0, 0, 0},
    {((int64_t)1 << 32) + 1, 0, 0, 0}, {(int64_t)1 << 40, 0, 0, 0}, {INT64_MIN, 0, 0, 0}, {INT64_MIN + 1, 0, 0, 0}, {INT64_MAX, 0, 0, 0},
    {INT64_MAX - 1, 0, 0, 0}, {0, BY_DIM, 1, 0}, {0, BY_DIM, -1, -1}, {0, BY_LAST, 1, 0}, {0, BY_LAST, -1, -1}, {0, BY_RANK, 1, 0}, {0, BY_RANK, -1, -1},
    {100, 0, 0, 0}, {1000000, 0, 0, 0},
};
static const double floats[] = {0, -0.0, -1, 1, 0.5, 1e30, -1e30, 2147483648.0, 9223372036854775808.0, 1e-45, 1e300, (double)INFINITY, -(double)INFINITY,
    (double)NAN, 1e6};
static const char *const words[] = {"", "x", "\xff\xfe", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", "linear", "cubic", "nearest", "reflect", "wrap", "edge",
    "constant", "add", "mul", "max", "min", "none", "mean", "sum", "avg", "circular", "reverse", "bidirectional", "DCR", "CRD", "zeros", "border",
    "reflection", "tf_crop_and_resize", "align_corners", "half_pixel_symmetric", "asymmetric", "output_half_pixel", "not_larger", "not_smaller", "LEFT",
    "RIGHT", "tanh", "round_prefer_ceil", "ceil", "floor", "ij->", "ii", "i,j->ij", "...", "->", "...ij,...jk->...ik", "ij,jk,kl->il", "(((", "(a|a)*b",
    "[", "a{1000000}", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT", "TF", "IDF", "TFIDF", "POLY", "SIGMOID", "UPPER", "L1", "MAX", "TO_STRING", "DENSE"};
#define NINTS FY_COUNT(ints)
#define NFLOATS FY_COUNT(floats)
#define NSHAPES 13
#define NSTRIDES 3
#define NLISTS 5                         /* ways to change a list's length */
#define NTENSORS 6

static int64_t int_of(const bench *b, int value) {
    const fy_tensor *x = b->base->nin && b->base->in[0].kind == FY_TENSOR ? &b->base->in[0].t : NULL;
    int64_t size = 3;
    if (!ints[value].dim) return ints[value].v;
    if (x && ints[value].dim == BY_RANK) size = x->rank;
    else if (x && x->rank) size = x->dim[ints[value].dim == BY_DIM ? 0 : x->rank - 1];
    return ints[value].sign * size + ints[value].plus;
}

/* Element i of a tensor of strings, whatever its strides. */
static fy_str *word(const fy_tensor *t, int64_t i) {
    int64_t offset = 0;
    for (int a = t->rank - 1; a >= 0; i /= t->dim[a--]) offset += i % t->dim[a] * t->stride[a];
    return (fy_str *)t->data + offset;
}

static void put(const bench *b, fy_tensor *t, int64_t i, int value) {
    static const fy_str odd[] = {{"", 0}, {"\xff\xfe\x80", 3}, {"nan", 3}, {"-9223372036854775809", 20}, {"1e999", 5}, {"a,,b", 4}, {"\0\0", 2}, {"0x", 2}};
    double z[2] = {floats[value % NFLOATS], floats[(value + 5) % NFLOATS]};
    fy_class k = fy_dtype_class(t->dtype);
    if (k == FY_CLASS_F) fy_put_f64(t, i, z[0]);
    else if (k == FY_CLASS_C) fy_store_c128(t, i, 1, z);
    else if (k == FY_CLASS_S) *word(t, i) = odd[value % FY_COUNT(odd)];
    else fy_put_i64(t, i, k == FY_CLASS_B ? value & 1 : int_of(b, value % NINTS));
}

/* ---- changing tensors ---------------------------------------------------------------------------------------------- */

/* Element i of `from`, repeated, as element of `to`; numbers and text become each other somehow. */
static void carry(fy_tensor *to, int64_t i, const fy_tensor *from) {
    int64_t n = fy_count(from), k = n ? i % n : 0;
    bool text = to->dtype == FERRY_STRING;
    double z[2] = {0, 0};
    if (text) *word(to, i) = n && from->dtype == FERRY_STRING ? *word(from, k) : (fy_str){"1", 1};
    else if (!n || from->dtype == FERRY_STRING) fy_put_i64(to, i, i & 1);
    else if (fy_dtype_class(to->dtype) == FY_CLASS_C || fy_dtype_class(from->dtype) == FY_CLASS_C) {
        fy_load_c128(z, from, k, 1);
        if (fy_dtype_class(to->dtype) == FY_CLASS_C) fy_store_c128(to, i, 1, z);
        else fy_put_f64(to, i, z[0]);
    } else if (fy_dtype_class(from->dtype) == FY_CLASS_F) fy_put_f64(to, i, fy_get_f64(from, k));
    else fy_put_i64(to, i, fy_get_i64(from, k));
}

static fy_status remake(fy_tensor *t, fy_dtype dtype, int rank, const int64_t *dim, ferry_error *e) {
    fy_tensor fresh;
    FY_TRY(fy_tensor_new(&fresh, dtype, rank, dim, e));
    for (int64_t i = 0; i < fy_count(&fresh); i++) carry(&fresh, i, t);
    fy_tensor_free(t);
    *t = fresh;
    return FY_OK;
}

static fy_status reshape(fy_tensor *t, int value, ferry_error *e) {
    int64_t dim[FY_MAX_RANK];
    int rank = t->rank, lead = 0;
    memcpy(dim, t->dim, sizeof dim);
    switch (value) {
    case 0: rank = 0; break;
    case 1: case 2: case 3:
        if (!rank) dim[rank++] = 0;
        for (int a = 0; a < rank; a++)
            if (value == 3 || a == (value == 1 ? 0 : rank - 1)) dim[a] = 0;
        break;
    case 4: lead = FY_MAX_RANK - rank; break;
    case 5: lead = rank < FY_MAX_RANK; break;
    case 6:
        if (rank) memmove(dim, dim + 1, (size_t)--rank * sizeof *dim);
        break;
    case 7: case 8: case 9: case 10: case 11:
        if (!rank) dim[rank++] = 1;
        if (value == 7) dim[0]++;
        if (value == 8) dim[rank - 1]++;
        if (value == 9 && dim[0]) dim[0]--;
        if (value == 10) dim[rank - 1] = 1;
        if (value == 11) dim[0] = 40;
        break;
    default:                                                          /* one more axis at the end */
        if (rank < FY_MAX_RANK) dim[rank++] = 2;
    }
    memmove(dim + lead, dim, (size_t)rank * sizeof *dim);
    for (int a = 0; a < lead; a++) dim[a] = 1;
    return remake(t, t->dtype, rank + lead, dim, e);
}

/* The same elements laid out otherwise: axes stored in reverse order, every other element, backwards. */
static fy_status restride(fy_tensor *t, int value, ferry_error *e) {
    fy_tensor room, view = *t;
    int64_t dim[FY_MAX_RANK], stride[FY_MAX_RANK], step = value == 1 ? 2 : 1, count = fy_count(t);
    for (int a = 0; a < t->rank; a++) dim[a] = t->dim[value == 0 ? t->rank - 1 - a : a];
    if (value == 1 && (!t->rank || !count)) return FY_OK;
    if (value == 1) dim[t->rank - 1] *= 2;
    FY_TRY(fy_tensor_new(&room, t->dtype, t->rank, dim, e));
    fy_strides(t->rank, dim, stride);
    if (!fy_dtype_float(t->dtype) && t->dtype != FERRY_STRING) memset(room.data, 0, room.own->bytes);
    view.data = room.data;
    view.own = room.own;
    for (int a = 0; a < t->rank; a++) view.stride[a] = value == 0 ? stride[t->rank - 1 - a] : a == t->rank - 1 ? step : stride[a];
    if (value == 2 && count) {
        for (int a = 0; a < t->rank; a++) view.stride[a] = -view.stride[a];
        view.data = (char *)room.data + (count - 1) * fy_elem_bytes(t->dtype);
    }
    fy_tensor_copy(&view, t);
    fy_tensor_free(t);
    *t = view;
    return FY_OK;
}

static fy_status recast(fy_tensor *t, fy_dtype dtype, ferry_error *e) { return remake(t, dtype, t->rank, t->dim, e); }

/* ---- changing values and attributes --------------------------------------------------------------------------------- */

static fy_status copy_in(fy_rval *to, const fy_rval *from, ferry_error *e) {
    *to = (fy_rval){.kind = from->kind, .elem_dtype = from->elem_dtype};
    if (from->kind == FY_TENSOR) return fy_tensor_clone(&to->t, &from->t, e);
    if (from->n && from->item && from->item[0].kind != FY_TENSOR) return fy_rval_copy(to, from, e);      /* nested: handed on as it is */
    int64_t n = from->kind == FY_MAP ? 2 : from->n;
    FY_NOMEM(e, to->item = fy_calloc((size_t)n + 1, sizeof *to->item));
    to->n = from->n;
    for (int64_t i = 0; i < n; i++) {
        to->item[i].kind = FY_TENSOR;
        FY_TRY(fy_tensor_clone(&to->item[i].t, &from->item[i].t, e));
    }
    return FY_OK;
}

/* The tensor of an input that a change is about; NULL: none. */
static fy_tensor *target(fy_rval *v, int64_t k) {
    if (v->kind == FY_TENSOR) return &v->t;
    int64_t n = v->kind == FY_MAP ? 2 : v->n;
    fy_rval *item = n ? &v->item[k > 0 ? k % n : 0] : NULL;
    return item && item->kind == FY_TENSOR ? &item->t : NULL;
}

static fy_status change_items(fy_rval *v, int value, ferry_error *e) {
    if (v->kind == FY_TENSOR || !v->item || !v->n || v->item[0].kind != FY_TENSOR) return FY_OK;
    if (value == 0 && v->kind != FY_MAP) {
        for (int64_t i = 0; i < v->n; i++) fy_rval_free(&v->item[i]);
        v->n = 0;
    } else if (value == 0) {
        FY_TRY(reshape(&v->item[0].t, 1, e));
        FY_TRY(reshape(&v->item[1].t, 1, e));
    } else if (value == 1) FY_TRY(reshape(&v->item[0].t, 5, e));
    else if (value == 2) FY_TRY(recast(&v->item[0].t, FERRY_INT32, e));
    else if (value == 3) FY_TRY(reshape(&v->item[0].t, 7, e));
    else FY_TRY(recast(&v->item[0].t, FERRY_STRING, e));
    return FY_OK;
}

static fy_status change_input(const bench *b, const change *c, fy_rval *v, ferry_error *e) {
    fy_tensor *t = target(v, c->k);
    if (c->kind == ITEMS) return change_items(v, c->value, e);
    if (!t || !t->dtype) return FY_OK;
    int64_t n = fy_count(t);
    switch (c->kind) {
    case OPERAND: case CONSTANT:
        for (int64_t i = 0; i < n && c->value >= 0; i++)
            if (c->k < 0 || i == (c->k < n ? c->k : n - 1)) put(b, t, i, c->value);
        return FY_OK;
    case SHAPE: return reshape(t, c->value, e);
    case DTYPE: return recast(t, (fy_dtype)c->value, e);
    case STRIDES: return restride(t, c->value, e);
    case RAW:                                                             /* bits that no element should hold: what a file or a caller may hand in */
        if (t->dtype != FERRY_STRING && n && fy_contiguous(t) && fy_dtype_bits(t->dtype) >= 8) memset(t->data, c->value, (size_t)n * (size_t)fy_elem_bytes(t->dtype));
        return FY_OK;
    case ABSENT: case ITEMS: case ATTR: break;
    }
    return FY_OK;
}

/* A list with one element changed, or of another length. */
static int64_t change_length(int64_t n, int64_t room, int value) {
    int64_t m = value == 0 ? 0 : value == 1 ? n + 1 : value == 2 ? n - 1 : value == 3 ? room : 2 * n;
    return m < 0 ? 0 : m > room ? room : m;
}

static fy_status change_attr(const bench *b, const change *c, fy_model *m, fy_node *node, ferry_error *e) {
    enum { ROOM = 40 };
    const fy_attr_spec *s = &b->op->attrs[c->i];
    const fy_attr *old = fy_attr_get(node, s->name);
    int64_t list[ROOM], n = 1;
    double reals[ROOM];
    fy_str text[ROOM];
    fy_attr a = {.name = s->name, .kind = s->kind, .n = 1};
    if (old && old->n <= ROOM) n = old->n;
    else if (b->base->nin && b->base->in[0].kind == FY_TENSOR && b->base->in[0].t.rank > 3) n = b->base->in[0].t.rank - 2;
    for (int64_t i = 0; i < ROOM; i++) {
        int64_t from = i < n || !n ? i : i % n;
        bool in = old && from < old->n && old->n <= ROOM;
        list[i] = in && s->kind == FY_ATTR_INTS ? old->ints[from] : 1;
        reals[i] = in && s->kind == FY_ATTR_FLOATS ? old->floats[from] : 1;
        text[i] = in && s->kind == FY_ATTR_STRINGS ? old->strings[from] : (fy_str){"a", 1};
        if (i >= n || c->k >= ROOM || (c->k >= 0 && c->k != i)) continue;
        list[i] = int_of(b, c->value % NINTS);
        reals[i] = floats[c->value % NFLOATS];
        text[i] = (fy_str){words[c->value % FY_COUNT(words)], strlen(words[c->value % FY_COUNT(words)])};
    }
    if (c->k >= ROOM) n = change_length(n, ROOM, c->value);
    a.n = n;
    a.ints = list;
    a.floats = reals;
    a.strings = text;
    a.i = list[0];
    a.f = reals[0];
    a.s = text[0];
    if (s->kind == FY_ATTR_INT || s->kind == FY_ATTR_FLOAT || s->kind == FY_ATTR_STRING) a.n = 1;
    if (s->kind == FY_ATTR_TENSOR) {
        static const struct { fy_dtype t; int rank; int64_t n; } odd[NTENSORS] = {{FERRY_FLOAT, 0, 1}, {FERRY_FLOAT, 1, 0}, {FERRY_INT64, 1, 3},
            {FERRY_STRING, 1, 2}, {FERRY_DOUBLE, 2, 2}, {FERRY_UINT8, 16, 1}};
        fy_tensor t;
        int64_t dim[FY_MAX_RANK];
        for (int k = 0; k < FY_MAX_RANK; k++) dim[k] = odd[c->value % NTENSORS].n;
        FY_TRY(fy_tensor_new(&t, odd[c->value % NTENSORS].t, odd[c->value % NTENSORS].rank, dim, e));
        for (int64_t i = 0; i < fy_count(&t); i++) put(b, &t, i, (int)(i + c->value));
        a.tensor = fy_const_from(&m->arena, &t);
        fy_tensor_free(&t);
        FY_NOMEM(e, a.tensor);
    }
    FY_NOMEM(e, fy_node_set_attr(node, &a));
    return FY_OK;
}

/* ---- one case ------------------------------------------------------------------------------------------------------ */

static void fault(const bench *b, const char *what, const char *more) {
    char text[700];
    b->h->nfaults++;
    snprintf(text, sizeof text, "%s%s", what, more);
    if (b->h->found) b->h->found(b->h->ctx, b->h, text);
}

static void describe(const bench *b, const change *c, int n) {
    fy_hostile *h = b->h;
    size_t at = (size_t)snprintf(h->now, sizeof h->now, "%s", b->op->name);
    for (int i = 0; i < n && at < sizeof h->now; i++) {
        const char *name = c[i].kind == ATTR ? b->op->attrs[c[i].i].name : "";
        int w = snprintf(h->now + at, sizeof h->now - at, "%s %s %s%d[%lld] = value %d", i ? "," : ":", kind_name[c[i].kind], name, c[i].i, (long long)c[i].k, c[i].value);
        at += w > 0 ? (size_t)w : 0;
    }
}

/* What the graph says of its inputs. */
typedef enum known { SIZES, RANKS, KINDS } known;

static fy_status set_type(fy_model *m, fy_value *v, const fy_rval *x, known how, ferry_error *e) {
    const fy_dim *dim[FY_MAX_RANK];
    if (x->kind != FY_TENSOR) {
        v->type = (fy_type){.kind = how == KINDS ? FY_NOTYPE : x->kind, .rank = -1};        /* of what, it may not say any more */
        return FY_OK;
    }
    for (int i = 0; i < x->t.rank; i++) {
        char name[40];
        snprintf(name, sizeof name, "size_%u_%d", (unsigned)v->id, i);
        dim[i] = how == SIZES ? fy_dim_const(m->dims, x->t.dim[i]) : fy_dim_sym(m->dims, name);
    }
    v->type = fy_tensor_type(m, x->t.dtype, x->t.rank, dim);
    FY_NOMEM(e, !x->t.rank || v->type.dim);
    if (how == KINDS) v->type = (fy_type){.kind = FY_TENSOR, .dtype = x->t.dtype, .rank = -1};
    return FY_OK;
}

static bool fits(const fy_type *t, const fy_rval *v) {
    int64_t d;
    if (t->kind == FY_NOTYPE) return true;
    if (t->kind != v->kind) return false;
    if (v->kind != FY_TENSOR) return true;
    if ((t->dtype && t->dtype != v->t.dtype) || (t->rank >= 0 && t->rank != v->t.rank)) return false;
    for (int a = 0; a < t->rank; a++)
        if (fy_dim_known(t->dim[a], &d) && d != v->t.dim[a]) return false;
    return true;
}

static bool same(const fy_rval *a, const fy_rval *b) {
    if (a->kind != b->kind) return false;
    if (a->kind != FY_TENSOR) {
        bool ok = a->n == b->n;
        for (int64_t i = 0; ok && i < (a->kind == FY_MAP ? 2 : a->n); i++) ok = same(&a->item[i], &b->item[i]);
        return ok;
    }
    if (a->t.dtype != b->t.dtype || !fy_same_dims(&a->t, &b->t)) return false;
    int64_t n = fy_count(&a->t);
    if (a->t.dtype == FERRY_STRING) {
        const fy_str *s = a->t.data, *t = b->t.data;
        for (int64_t i = 0; i < n; i++)
            if (s[i].n != t[i].n || (s[i].n && memcmp(s[i].at, t[i].at, s[i].n))) return false;
        return true;
    }
    return !n || !memcmp(a->t.data, b->t.data, (size_t)n * (size_t)fy_elem_bytes(a->t.dtype));        /* results are dense */
}

/* The operator's own rewrite must name a value of the same type. */
static void check_simplify(const bench *b, fy_node *n) {
    fy_value *v = n->op->simplify && n->nout ? n->op->simplify(n) : NULL;
    if (v && n->out[0] && v->type.kind == FY_TENSOR && n->out[0]->type.kind == FY_TENSOR && v->type.dtype && n->out[0]->type.dtype
        && (v->type.dtype != n->out[0]->type.dtype || (v->type.rank >= 0 && n->out[0]->type.rank >= 0 && v->type.rank != n->out[0]->type.rank)))
        fault(b, "simplified to a value of another type: ", v->name ? v->name : "");
}

static fy_status apply(const bench *b, const change *c, int nc, fy_model *m, fy_node *n, fy_rval *in, bool *constant, ferry_error *e) {
    for (int k = 0; k < nc; k++) {
        if (c[k].kind == ATTR) { FY_TRY(change_attr(b, &c[k], m, n, e)); continue; }
        if (c[k].kind == ABSENT) {
            if (c[k].i < n->nin) fy_node_set_input(n, c[k].i, NULL);
            continue;
        }
        fy_dtype group = c[k].kind == DTYPE && c[k].k == 1 && c[k].i >= 0 && in[c[k].i].kind == FY_TENSOR ? in[c[k].i].t.dtype : 0;
        for (int i = 0; i < b->base->nin; i++)
            if (c[k].i < 0 || c[k].i == i || (group && in[i].kind == FY_TENSOR && in[i].t.dtype == group)) FY_TRY(change_input(b, &c[k], &in[i], e));
        if (c[k].kind == CONSTANT && c[k].i >= 0) constant[c[k].i] = true;
    }
    return FY_OK;
}

/* Gives the graph its input types; inputs that are to be constants become some. */
static fy_status prepare(const bench *b, fy_model *m, fy_node *n, const fy_rval *in, const bool *constant, known how, ferry_error *e) {
    fy_graph *g = m->graph;
    for (int i = 0; i < b->base->nin; i++) {
        fy_value *v = g->in.at[i];
        v->constant = NULL;
        if (in[i].kind) FY_TRY(set_type(m, v, &in[i], how, e));
        if (!constant[i] || in[i].kind != FY_TENSOR || how == KINDS) continue;
        fy_const *k = fy_const_from(&m->arena, &in[i].t);
        fy_value *kv = k ? fy_graph_add_const(g, NULL, k) : NULL;
        FY_NOMEM(e, kv);
        for (int s = 0; s < n->nin; s++)
            if (n->in[s].value == v) fy_node_set_input(n, s, kv);
    }
    for (int i = 0; i < n->nout; i++)
        if (n->out[i]) {
            n->out[i]->type = (fy_type){.rank = -1};
            n->out[i]->elem = NULL;
            n->out[i]->nelem = 0;
        }
    return FY_OK;
}

static bool is_fault(fy_status s, const ferry_error *e) { return s == FY_E_INTERNAL || (s != FY_OK && !e->text[0]); }

/* Infers and runs; *out is the caller's when FY_OK. */
static fy_status execute(const bench *b, fy_model *m, fy_node *n, fy_rval *in, const bool *constant, fy_rval *out, ferry_error *e) {
    fy_rval *arg[FY_HOSTILE_IN];
    known how = SIZES;
    fy_graph *g = m->graph;
    fy_status s;
    g->constants.n = 0;
    for (;; how = KINDS) {
        FY_TRY(prepare(b, m, n, in, constant, how, e));
        s = fy_infer_model(m, e);
        if (is_fault(s, e)) fault(b, "inference: ", e->text);
        if (s == FY_OK || how == KINDS) break;
    }
    FY_TRY(s);
    check_simplify(b, n);
    for (int i = 0; i < b->base->nin; i++) arg[i] = in[i].kind ? &in[i] : NULL;
    fy_interp it = {.max_bytes = FY_HOSTILE_BYTES, .max_steps = FY_HOSTILE_STEPS, .hooks = fy_hooks_builtin()};
    s = fy_interp_run(&it, g, arg, out, e);
    if (is_fault(s, e)) fault(b, "the run: ", e->text);
    for (int i = 0; s == FY_OK && i < g->out.n; i++)
        if (!fits(&g->out.at[i]->type, &out[i])) {
            fy_buf t = {0};
            fy_type_print(&t, &g->out.at[i]->type);
            fy_buf_str(&t, " is ");
            if (out[i].kind == FY_TENSOR) fy_tensor_print(&t, &out[i].t, 0);
            fault(b, "inferred as ", t.at ? t.at : "another type");
            fy_buf_free(&t);
        }
    return s;
}

static fy_status run_planned(fy_model *m, fy_rval *const *in, fy_rval *out, ferry_error *e) {
    const fy_engine *ferry = fy_engine_find(NULL);
    fy_compiled *c = NULL;
    fy_plan_memory memory = {0};
    fy_plan_run r = {.max_bytes = FY_HOSTILE_BYTES, .max_steps = FY_HOSTILE_STEPS};
    FY_TRY(ferry->compile(&c, m, &(fy_engine_options){.threads = 1}, e));
    fy_status s = fy_plan_execute(ferry->plan(c), &memory, &r, in, out, e);
    fy_plan_memory_free(&memory);
    ferry->compiled_free(c);
    return s;
}

/* Our engine and the reference kernels on a graph that knows of its inputs that they have sizes, not which. */
static fy_status check_planned(const bench *b, fy_model *m, fy_node *n, fy_rval *in, const bool *constant, ferry_error *e) {
    fy_rval *arg[FY_HOSTILE_IN], right[FY_COUNT(b->right)] = {{0}}, out[FY_COUNT(b->right)] = {{0}};
    fy_interp it = {.max_bytes = FY_HOSTILE_BYTES, .max_steps = FY_HOSTILE_STEPS, .hooks = fy_hooks_builtin()};
    FY_TRY(prepare(b, m, n, in, constant, RANKS, e));
    if (fy_infer_model(m, e)) return FY_OK;
    for (int i = 0; i < b->base->nin; i++) arg[i] = in[i].kind ? &in[i] : NULL;
    ferry_error ours = {0};
    fy_status want = fy_interp_run(&it, m->graph, arg, right, e), s = run_planned(m, arg, out, &ours);
    if (is_fault(s, &ours)) fault(b, "our engine: ", ours.text);
    else if (s && !want) fault(b, "refused by our engine alone: ", ours.text);
    else if (!s && want) fault(b, "refused by the reference kernels alone: ", e->text);
    for (int64_t i = 0; !s && !want && i < m->graph->out.n; i++)
        if (out[i].kind != right[i].kind || (out[i].kind == FY_TENSOR && (out[i].t.dtype != right[i].t.dtype || !fy_same_dims(&out[i].t, &right[i].t))))
            fault(b, "another type from our engine", "");
    for (int i = 0; i < FY_COUNT(out); i++) {
        fy_rval_free(&out[i]);
        fy_rval_free(&right[i]);
    }
    return FY_OK;
}

/* Older opsets' adapters meet the node as it is; what they leave must still be a graph. */
static void lower(const bench *b, fy_model *m) {
    ferry_error e = {0};
    int64_t to = 13 + b->h->number / 4 % (FY_CANONICAL_OPSET - 13);
    fy_status s = fy_opset_lower(m, to, &e);
    if (is_fault(s, &e)) fault(b, "lowering to an older opset: ", e.text);
    if (s == FY_OK && fy_model_verify(m, &e)) fault(b, "lowered to an older opset: ", e.text);
}

/* `keep`: the results become the base's own. */
static fy_status run_case(bench *b, const change *c, int nc, bool keep, ferry_error *e) {
    fy_hostile *h = b->h;
    fy_model *m;
    fy_node *n;
    fy_rval in[FY_HOSTILE_IN] = {{0}}, out[FY_COUNT(b->right)] = {{0}};
    bool constant[FY_HOSTILE_IN] = {false};
    size_t before = fy_os_bytes();
    h->number++;
    h->ncases++;
    describe(b, c, nc);
    if (h->each) h->each(h->ctx, h);
    if (h->guard && !keep) fy_os_guard(h->number & 1 ? FY_GUARD_END : FY_GUARD_START);
    fy_status s = fy_hostile_model(h, b->base, &m, &n, e);
    for (int i = 0; !s && i < b->base->nin; i++)
        if (b->base->in[i].kind) s = copy_in(&in[i], &b->base->in[i], e);
    if (!s) s = apply(b, c, nc, m, n, in, constant, e);
    bool sound = s == FY_OK;
    if (!s) {
        ferry_error unused = {0};
        s = execute(b, m, n, in, constant, out, e);
        if (check_planned(b, m, n, in, constant, &unused) == FY_E_NOMEM) s = FY_E_NOMEM;
    }
    if (s == FY_OK && !keep && h->number % 4 == 0) lower(b, m);
    h->nran += s == FY_OK;
    bool neutral = nc == 1 && (c->kind == STRIDES || (c->kind == CONSTANT && c->value < 0)) && !(b->op->flags & FY_RANDOM);
    if (neutral && sound && !keep && s != FY_OK) fault(b, "refused though nothing but the layout differs: ", e->text);
    for (int i = 0; neutral && s == FY_OK && i < b->nright; i++)
        if (!same(&out[i], &b->right[i])) fault(b, "another result though nothing but the layout differs", "");
    b->nright = keep && s == FY_OK ? (int)m->graph->out.n : b->nright;
    for (int i = 0; i < FY_COUNT(out); i++) {
        if (keep) b->right[i] = out[i];
        else fy_rval_free(&out[i]);
    }
    for (int i = 0; i < b->base->nin; i++) fy_rval_free(&in[i]);
    fy_model_free(m);
    fy_os_guard(FY_GUARD_OFF);
    if (!keep && fy_os_bytes() != before) fault(b, "memory is left", "");
    return sound || s != FY_E_NOMEM ? FY_OK : s;
}

/* ---- all changes of a base ------------------------------------------------------------------------------------------ */

static fy_status add(bench *b, kind k, int i, int64_t at, int value, ferry_error *e) {
    FY_PUSH(e, b->all, (change){k, i, at, value});
    return FY_OK;
}

static fy_status input_changes(bench *b, int i, ferry_error *e) {
    const fy_rval *v = &b->base->in[i];
    FY_TRY(add(b, ABSENT, i, 0, 0, e));
    if (v->kind != FY_TENSOR)
        for (int k = 0; k < 5; k++) FY_TRY(add(b, ITEMS, i, 0, k, e));
    int items = v->kind == FY_TENSOR ? 1 : 2;
    fy_class k = v->kind == FY_TENSOR ? fy_dtype_class(v->t.dtype) : FY_CLASS_F;
    int values = k == FY_CLASS_F || k == FY_CLASS_C ? NFLOATS : k == FY_CLASS_B ? 2 : NINTS;
    for (int value = 0; value < values; value++) {
        FY_TRY(add(b, OPERAND, i, 0, value, e));
        FY_TRY(add(b, OPERAND, i, -1, value, e));
        FY_TRY(add(b, CONSTANT, i, -1, value, e));
        FY_TRY(add(b, CONSTANT, i, 0, value, e));
        if (v->kind == FY_TENSOR && fy_count(&v->t) > 1) FY_TRY(add(b, OPERAND, i, fy_count(&v->t) - 1, value, e));
    }
    for (int item = 0; item < items; item++)
        for (int value = 0; value < NSHAPES; value++) FY_TRY(add(b, SHAPE, i, item, value, e));
    for (int t = 1; t <= FERRY_INT2; t++) {
        FY_TRY(add(b, DTYPE, i, 0, t, e));
        FY_TRY(add(b, DTYPE, i, 1, t, e));
    }
    FY_TRY(add(b, RAW, i, 0, 0xFF, e));
    FY_TRY(add(b, RAW, i, 0, 0x80, e));
    return add(b, CONSTANT, i, -1, -1, e);
}

static fy_status attr_changes(bench *b, int i, fy_attr_kind k, ferry_error *e) {
    bool list = k == FY_ATTR_INTS || k == FY_ATTR_FLOATS || k == FY_ATTR_STRINGS;
    int values = k == FY_ATTR_INT || k == FY_ATTR_INTS ? NINTS : k == FY_ATTR_FLOAT || k == FY_ATTR_FLOATS ? NFLOATS : k == FY_ATTR_TENSOR ? NTENSORS : FY_COUNT(words);
    if (k == FY_ATTR_GRAPH || k == FY_ATTR_GRAPHS || k == FY_ATTR_TYPE || k == FY_ATTR_SPARSE) return FY_OK;
    for (int value = 0; value < values; value++)
        for (int64_t at = list ? -1 : 0; at < (list ? 2 : 1); at++) FY_TRY(add(b, ATTR, i, at, value, e));
    for (int value = 0; list && value < NLISTS; value++) FY_TRY(add(b, ATTR, i, 1000, value, e));
    return FY_OK;
}

static fy_status use_base(void *ctx, const fy_hostile_base *base, ferry_error *e) {
    bench *b = ctx;
    fy_hostile *h = b->h;
    h->nbases++;
    b->base = base;
    b->nright = 0;
    b->all.n = 0;
    memset(b->right, 0, sizeof b->right);
    fy_status s = run_case(b, NULL, 0, true, e);
    for (int i = 0; !s && i < base->nin; i++) s = input_changes(b, i, e);
    for (int value = 0; !s && base->nin && value < NSTRIDES; value++) s = add(b, STRIDES, -1, 0, value, e);
    for (int value = 0; !s && base->nin && value < NSHAPES; value++) s = add(b, SHAPE, -1, 0, value, e);
    for (int i = 0; !s && b->op->attrs && b->op->attrs[i].name; i++) s = attr_changes(b, i, b->op->attrs[i].kind, e);
    int64_t n = b->all.n, most = h->most && h->most < n ? h->most : n, from = most < n ? fy_hostile_range(h, 0, n - 1) : 0;
    for (int64_t k = 0; !s && k < most; k++) s = run_case(b, &b->all.at[(from + k * n / most) % n], 1, false, e);
    for (int64_t k = 0; !s && n && k < h->trials; k++) {
        change c[3];
        int nc = (int)fy_hostile_range(h, 2, 3);
        for (int i = 0; i < nc; i++) c[i] = b->all.at[fy_hostile_range(h, 0, n - 1)];
        s = run_case(b, c, nc, false, e);
    }
    for (int i = 0; i < FY_COUNT(b->right); i++) fy_rval_free(&b->right[i]);
    return s;
}

fy_status fy_hostile_run(fy_hostile *h, ferry_error *e) {
    const fy_registry *reg = h->registry ? h->registry : fy_registry_builtin();
    uint64_t seed = h->seed;
    for (int i = 0; i < fy_registry_count(reg); i++) {
        const fy_op *op = fy_registry_at(reg, i);
        if (!op->ref || (h->only && strcmp(h->only, op->name))) continue;
        bench b = {.h = h, .op = op};
        h->seed = 1 + seed + 7919 * (uint64_t)i;
        h->op = op->name;
        h->nops++;
        fy_status s = fy_hostile_bases(h, op, use_base, &b, e);
        fy_free(b.all.at);
        FY_TRY(s);
    }
    h->seed = seed;
    return FY_OK;
}
