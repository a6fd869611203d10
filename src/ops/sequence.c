/* SPDX-License-Identifier: Apache-2.0
 * sequence.c - lists of values and values that may be missing: SequenceConstruct SequenceAt SequenceEmpty SequenceInsert
 * SequenceErase SequenceLength SplitToSequence ConcatFromSequence Optional OptionalHasElement OptionalGetElement.
 * Items are shared, not copied: a sequence is never changed in place. */
#include "ops/move.h"

#include <string.h>

static fy_arena *arena_of(const fy_infer *f) { return f->arena; }

static fy_status set_sequence(fy_infer *f, fy_kind kind, const fy_type *elem) {
    fy_type *e = FY_NEW(arena_of(f), fy_type);
    FY_NOMEM(f->e, e);
    *e = *elem;
    if (e->kind == FY_TENSOR && e->rank > 0 && e->dim) {
        e->dim = fy_arena_copy(arena_of(f), e->dim, (size_t)e->rank, sizeof *e->dim);
        FY_NOMEM(f->e, e->dim);
    }
    f->out[0].type = (fy_type){.kind = kind, .rank = -1, .elem = e};
    return FY_OK;
}

static fy_type item_type(const fy_infer *f, int i) {
    const fy_type *t = &f->in[i].type;
    return t->kind == FY_SEQUENCE && t->elem ? *t->elem : (fy_type){.rank = -1};
}

static fy_status need_sequence(const fy_infer *f, int i) {
    fy_kind k = f->in[i].type.kind;
    FY_NEED(f->e, k == FY_SEQUENCE || k == FY_NOTYPE, TYPE, "input %d is not a sequence", i);
    return FY_OK;
}

static fy_status need_dtype(const fy_infer *f, const fy_type *a, const fy_type *b) {
    FY_NEED(f->e, a->kind != FY_TENSOR || b->kind != FY_TENSOR || !a->dtype || !b->dtype || a->dtype == b->dtype, TYPE,
            "a sequence of %s and %s", fy_dtype_name(a->dtype), fy_dtype_name(b->dtype));
    return FY_OK;
}

/* ---- running ------------------------------------------------------------------------------------------------------- */

static fy_status new_sequence(fy_rval *v, int64_t n, fy_dtype dtype, ferry_error *e) {
    *v = (fy_rval){.kind = FY_SEQUENCE, .elem_dtype = dtype, .item = n ? fy_calloc((size_t)n, sizeof *v->item) : NULL};
    FY_NOMEM(e, v->item || !n);
    v->n = n;
    return FY_OK;
}

static fy_status the_sequence(const fy_rval **s, const fy_call *c) {
    *s = c->nin ? c->in[0] : NULL;
    FY_NEED(c->e, *s && (*s)->kind == FY_SEQUENCE, TYPE, "input 0 is not a sequence");
    return FY_OK;
}

/* Position input `i` in [0, n), or the default. */
static fy_status position(int64_t *at, const fy_call *c, int i, int64_t n, int64_t def) {
    const fy_tensor *t = fy_arg(c, i);
    FY_NEED(c->e, !t || fy_count(t) == 1, SHAPE, "the position has %lld elements", (long long)(t ? fy_count(t) : 0));
    int64_t k = t ? fy_get_i64(t, 0) : def;
    FY_NEED(c->e, k >= -n && k < n, INDEX, "position %lld in a sequence of %lld", (long long)k, (long long)n);
    *at = k < 0 ? k + n : k;
    return FY_OK;
}

/* ---- SequenceConstruct, SequenceEmpty ------------------------------------------------------------------------------ */

static fy_status infer_construct(fy_infer *f) {
    fy_type t = f->in[0].type;
    for (int i = 1; i < f->nin; i++) {
        FY_TRY(need_dtype(f, &t, &f->in[i].type));
        FY_TRY(fy_mv_items(f, arena_of(f), &t, &t, &f->in[i].type));
    }
    return set_sequence(f, FY_SEQUENCE, &t);
}

static fy_status ref_construct(const fy_call *c) {
    fy_rval v;
    FY_NEED(c->e, c->in[0], GRAPH, "input 0 is missing");
    FY_TRY(new_sequence(&v, c->nin, c->in[0]->t.dtype, c->e));
    fy_status s = FY_OK;
    for (int i = 0; s == FY_OK && i < c->nin; i++) {
        if (!c->in[i] || c->in[i]->kind != c->in[0]->kind || c->in[i]->t.dtype != c->in[0]->t.dtype)
            s = fy_fail(c->e, FY_E_TYPE, "item %d is missing or of another type than item 0", i);
        else s = fy_rval_copy(&v.item[i], c->in[i], c->e);
    }
    if (s != FY_OK) fy_rval_free(&v);
    else fy_mv_give(c, 0, &v);
    return s;
}

const fy_op fy_op_sequence_construct = {.name = "SequenceConstruct", .domain = "", .min_in = 1, .max_in = -1, .min_out = 1, .max_out = 1, .since = 11,
    .first = 11, .infer = infer_construct, .ref = ref_construct, .flags = FY_PURE};

static fy_status infer_empty(fy_infer *f) {
    const fy_attr *a = fy_attr_get(f->node, "dtype");
    FY_NEED(f->e, !a || (a->i > 0 && a->i <= FERRY_FLOAT6E3M2), ATTR, "dtype is %lld", (long long)(a ? a->i : 0));
    return set_sequence(f, FY_SEQUENCE, &(fy_type){.kind = FY_TENSOR, .dtype = a ? (fy_dtype)a->i : FERRY_FLOAT, .rank = FY_NO_ITEM});
}

static fy_status ref_empty(const fy_call *c) {
    const fy_attr *a = fy_attr_get(c->node, "dtype");
    fy_rval v;
    FY_TRY(new_sequence(&v, 0, a ? (fy_dtype)a->i : FERRY_FLOAT, c->e));
    fy_mv_give(c, 0, &v);
    return FY_OK;
}

static const fy_attr_spec empty_attrs[] = {{"dtype", FY_ATTR_INT, NULL}, {0}};
const fy_op fy_op_sequence_empty = {.name = "SequenceEmpty", .domain = "", .attrs = empty_attrs, .min_in = 0, .max_in = 0, .min_out = 1, .max_out = 1,
    .since = 11, .first = 11, .infer = infer_empty, .ref = ref_empty, .flags = FY_PURE};

/* ---- SequenceAt, SequenceInsert, SequenceErase, SequenceLength ----------------------------------------------------- */

static fy_status infer_at(fy_infer *f) {
    FY_TRY(need_sequence(f, 0));
    f->out[0].type = item_type(f, 0);
    return fy_mv_item(f, arena_of(f), &f->out[0].type);
}

static fy_status ref_at(const fy_call *c) {
    const fy_rval *s;
    fy_rval v = {0};
    int64_t at;
    FY_TRY(the_sequence(&s, c));
    FY_TRY(position(&at, c, 1, s->n, 0));
    FY_TRY(fy_rval_copy(&v, &s->item[at], c->e));
    fy_mv_give(c, 0, &v);
    return FY_OK;
}

static fy_status infer_insert(fy_infer *f) {
    FY_TRY(need_sequence(f, 0));
    fy_type t = item_type(f, 0);
    FY_TRY(need_dtype(f, &t, &f->in[1].type));
    FY_TRY(fy_mv_items(f, arena_of(f), &t, &t, &f->in[1].type));
    return set_sequence(f, FY_SEQUENCE, &t);
}

/* The sequence without item `drop` (-1: none) and with `add` before item `at` of what is left. */
static fy_status rebuild(const fy_call *c, const fy_rval *s, int64_t drop, int64_t at, const fy_rval *add) {
    fy_rval v;
    fy_status st = FY_OK;
    int64_t to = 0;
    FY_TRY(new_sequence(&v, s->n - (drop >= 0) + (add != NULL), s->n ? s->elem_dtype : add ? add->t.dtype : s->elem_dtype, c->e));
    for (int64_t i = 0; st == FY_OK && i <= s->n; i++) {
        if (add && i == at) st = fy_rval_copy(&v.item[to++], add, c->e);
        if (st == FY_OK && i < s->n && i != drop) st = fy_rval_copy(&v.item[to++], &s->item[i], c->e);
    }
    if (st != FY_OK) fy_rval_free(&v);
    else fy_mv_give(c, 0, &v);
    return st;
}

static fy_status ref_insert(const fy_call *c) {
    const fy_rval *s;
    FY_TRY(the_sequence(&s, c));
    const fy_tensor *p = fy_arg(c, 2);
    FY_NEED(c->e, c->in[1], GRAPH, "the tensor is missing");
    FY_NEED(c->e, !s->n || s->elem_dtype == c->in[1]->t.dtype, TYPE, "a sequence of %s takes no %s", fy_dtype_name(s->elem_dtype),
            fy_dtype_name(c->in[1]->t.dtype));
    FY_NEED(c->e, !p || fy_count(p) == 1, SHAPE, "the position has %lld elements", (long long)(p ? fy_count(p) : 0));
    int64_t at = p ? fy_get_i64(p, 0) : s->n;
    FY_NEED(c->e, at >= -s->n && at <= s->n, INDEX, "position %lld in a sequence of %lld", (long long)at, (long long)s->n);
    return rebuild(c, s, -1, at < 0 ? at + s->n : at, c->in[1]);
}

static fy_status infer_erase(fy_infer *f) {
    FY_TRY(need_sequence(f, 0));
    fy_type t = item_type(f, 0);
    return set_sequence(f, FY_SEQUENCE, &t);
}

static fy_status ref_erase(const fy_call *c) {
    const fy_rval *s;
    int64_t at;
    FY_TRY(the_sequence(&s, c));
    FY_TRY(position(&at, c, 1, s->n, -1));
    return rebuild(c, s, at, -1, NULL);
}

static fy_status infer_length(fy_infer *f) {
    FY_TRY(need_sequence(f, 0));
    return fy_out_set(f, 0, FERRY_INT64, 0, NULL);
}

static fy_status ref_length(const fy_call *c) {
    const fy_rval *s;
    FY_TRY(the_sequence(&s, c));
    FY_TRY(fy_alloc_out(c, 0, FERRY_INT64, 0, NULL));
    if (fy_res(c, 0)) fy_put_i64(fy_res(c, 0), 0, s->n);
    return FY_OK;
}

const fy_op fy_op_sequence_at = {.name = "SequenceAt", .domain = "", .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .since = 11, .first = 11,
    .types = "I=i32,i64|*,I", .infer = infer_at, .ref = ref_at, .flags = FY_PURE};
const fy_op fy_op_sequence_insert = {.name = "SequenceInsert", .domain = "", .min_in = 2, .max_in = 3, .min_out = 1, .max_out = 1, .since = 11, .first = 11,
    .types = "I=i32,i64|*,*,I", .infer = infer_insert, .ref = ref_insert, .flags = FY_PURE};
const fy_op fy_op_sequence_erase = {.name = "SequenceErase", .domain = "", .min_in = 1, .max_in = 2, .min_out = 1, .max_out = 1, .since = 11, .first = 11,
    .types = "I=i32,i64|*,I", .infer = infer_erase, .ref = ref_erase, .flags = FY_PURE};
const fy_op fy_op_sequence_length = {.name = "SequenceLength", .domain = "", .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .since = 11, .first = 11,
    .infer = infer_length, .ref = ref_length, .flags = FY_PURE};

/* ---- SplitToSequence, ConcatFromSequence --------------------------------------------------------------------------- */

/* The size of the parts: the given one where it divides the axis, equal list entries, else one that varies from part to part. */
static const fy_dim *split_part(fy_infer *f, int axis) {
    const fy_dim *dim = fy_in_dim(f, 0, axis);
    int64_t n, size;
    const fy_dim *const *e = fy_in_elems(f, 1, &n);
    if (!e || n < 1 || fy_dim_wild(e[0])) return fy_dim_varying(f->dims, NULL, dim);
    if (fy_in_rank(f, 1) == 0) return !fy_dim_known(e[0], &size) || size <= 0 || !fy_dim_divisible(dim, size) ? fy_dim_varying(f->dims, NULL, fy_mv_min(f, dim, e[0])) : e[0];
    for (int64_t i = 1; i < n; i++)
        if (e[i] != e[0]) return fy_dim_varying(f->dims, NULL, dim);
    return e[0];
}

static fy_status infer_split_to(fy_infer *f) {
    fy_type t = {.kind = FY_TENSOR, .dtype = fy_in_dtype(f, 0), .rank = -1};
    const fy_dim *d[FY_MAX_RANK];
    int rank = fy_in_rank(f, 0), axis, to = 0;
    if (rank < 0) return set_sequence(f, FY_SEQUENCE, &t);
    FY_TRY(fy_axis(&axis, fy_attr_i(f->node, "axis"), rank, f->e));
    bool ones = !fy_in_has(f, 1), drop = ones && !fy_attr_i(f->node, "keepdims");
    const fy_dim *part = ones ? fy_mv_const(f, 1) : split_part(f, axis);
    for (int a = 0; a < rank; a++) if (a != axis || !drop) d[to++] = a != axis ? fy_in_dim(f, 0, a) : part;
    for (int a = 0; a < to; a++) FY_NOMEM(f->e, d[a]);
    t.rank = to;
    t.dim = d;
    return set_sequence(f, FY_SEQUENCE, &t);
}

static fy_status split_item(const fy_call *c, fy_rval *v, const fy_tensor *x, int axis, int64_t begin, int64_t n, bool drop) {
    fy_view part = fy_mv_view_of(x);
    part.dim[axis] = n;
    part.offset = begin * x->stride[axis];
    if (drop) {
        for (int a = axis; a + 1 < part.rank; a++) { part.dim[a] = part.dim[a + 1]; part.stride[a] = part.stride[a + 1]; }
        part.rank--;
    }
    fy_tensor seen = fy_mv_see(x, &part);
    v->kind = FY_TENSOR;
    return fy_tensor_clone(&v->t, &seen, c->e);
}

static fy_status ref_split_to(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0), *st = fy_arg(c, 1);
    const int64_t *size = st ? fy_arg_i64(c, 1) : NULL;
    int axis;
    FY_NOMEM(c->e, size || !st);
    FY_NEED(c->e, !st || st->rank <= 1, SHAPE, "split has rank %d; it must be a number or a list", st ? st->rank : 0);
    FY_TRY(fy_axis(&axis, fy_attr_i(c->node, "axis"), x->rank, c->e));
    bool list = st && st->rank == 1, drop = !st && !fy_attr_i(c->node, "keepdims");
    int64_t dim = x->dim[axis], each = st && !list ? size[0] : 1, n = list ? fy_count(st) : 0, begin = 0;
    FY_NEED(c->e, each > 0, VALUE, "parts of %lld", (long long)each);
    if (!list) n = dim / each + (dim % each != 0);
    FY_NEED(c->e, n <= (int64_t)1 << 24, LIMIT, "a sequence of %lld items", (long long)n);
    fy_rval v;
    FY_TRY(new_sequence(&v, n, x->dtype, c->e));
    fy_status s = FY_OK;
    for (int64_t i = 0; s == FY_OK && i < n; i++) {
        int64_t k = list ? size[i] : each < dim - begin ? each : dim - begin;
        if (k < 0 || k > dim - begin) s = fy_fail(c->e, FY_E_SHAPE, "part %lld has size %lld; %lld are left", (long long)i, (long long)k,
                (long long)(dim - begin));
        else s = split_item(c, &v.item[i], x, axis, begin, k, drop);
        if (s == FY_OK) begin += k;
    }
    if (s == FY_OK && begin != dim) s = fy_fail(c->e, FY_E_SHAPE, "the parts sum to %lld, axis %d has %lld", (long long)begin, axis,
            (long long)dim);
    if (s != FY_OK) fy_rval_free(&v);
    else fy_mv_give(c, 0, &v);
    return s;
}

static const fy_attr_spec split_to_attrs[] = {{"axis", FY_ATTR_INT, "0"}, {"keepdims", FY_ATTR_INT, "1"}, {0}};
const fy_op fy_op_split_to_sequence = {.name = "SplitToSequence", .domain = "", .attrs = split_to_attrs, .min_in = 1, .max_in = 2, .min_out = 1, .max_out = 1,
    .since = 24, .first = 11, .types = "I=i32,i64|*,I", .infer = infer_split_to, .ref = ref_split_to, .flags = FY_PURE};

static fy_status infer_concat_from(fy_infer *f) {
    FY_TRY(need_sequence(f, 0));
    fy_type t = item_type(f, 0);
    const fy_dim *d[FY_MAX_RANK];
    int axis, to = 0;
    bool stack = fy_attr_i(f->node, "new_axis") != 0;
    if (t.kind != FY_TENSOR || t.rank < 0) return fy_mv_unknown(f, 0, t.dtype, -1);
    FY_TRY(fy_mv_item(f, arena_of(f), &t));
    int rank = t.rank + stack;
    FY_NEED(f->e, rank <= FY_MAX_RANK, LIMIT, "a rank of %d; at most %d is supported", rank, FY_MAX_RANK);
    FY_TRY(fy_axis(&axis, fy_attr_i(f->node, "axis"), rank, f->e));
    for (int a = 0; a < rank; a++) {
        if (a == axis) d[a] = fy_mv_opaque(f);
        else d[a] = t.dim[to];
        to += a != axis || !stack;
    }
    return fy_out_set(f, 0, t.dtype, rank, d);
}

static fy_status ref_concat_from(const fy_call *c) {
    const fy_rval *s;
    FY_TRY(the_sequence(&s, c));
    FY_NEED(c->e, s->n > 0, SHAPE, "an empty sequence cannot be joined");
    bool stack = fy_attr_i(c->node, "new_axis") != 0;
    const fy_tensor *first = &s->item[0].t;
    int axis, rank = first->rank + stack;
    int64_t dim[FY_MAX_RANK], total = 0;
    FY_NEED(c->e, rank <= FY_MAX_RANK, LIMIT, "a rank of %d; at most %d is supported", rank, FY_MAX_RANK);
    FY_TRY(fy_axis(&axis, fy_attr_i(c->node, "axis"), rank, c->e));
    for (int64_t i = 0; i < s->n; i++) {
        const fy_tensor *x = &s->item[i].t;
        FY_NEED(c->e, s->item[i].kind == FY_TENSOR && x->rank == first->rank && x->dtype == first->dtype, SHAPE,
                "items differ in rank or dtype");
        for (int a = 0; a < x->rank; a++)
            FY_NEED(c->e, x->dim[a] == first->dim[a] || (!stack && a == axis), SHAPE, "items differ in size on axis %d", a);
        FY_NEED(c->e, fy_add_i64(&total, total, stack ? 1 : x->dim[axis]), LIMIT, "the result is too large");
    }
    for (int a = 0, from = 0; a < rank; a++) {
        dim[a] = a == axis ? total : first->dim[from];
        from += a != axis || !stack;
    }
    FY_TRY(fy_alloc_out(c, 0, first->dtype, rank, dim));
    fy_tensor *y = fy_res(c, 0);
    if (!y) return FY_OK;
    fy_view v = fy_mv_view_of(y);
    int64_t begin = 0;
    for (int64_t i = 0; i < s->n; i++) {
        fy_tensor x = s->item[i].t;
        if (stack) {
            memmove(x.dim + axis + 1, x.dim + axis, (size_t)(x.rank - axis) * sizeof *x.dim);
            memmove(x.stride + axis + 1, x.stride + axis, (size_t)(x.rank - axis) * sizeof *x.stride);
            x.dim[axis] = 1;
            x.stride[axis] = 0;
            x.rank++;
        }
        v.dim[axis] = x.dim[axis];
        v.offset = begin * y->stride[axis];
        fy_tensor part = fy_mv_see(y, &v);
        fy_tensor_copy(&part, &x);
        begin += x.dim[axis];
    }
    return FY_OK;
}

static const fy_attr_spec concat_from_attrs[] = {{"axis", FY_ATTR_INT, FY_REQUIRED}, {"new_axis", FY_ATTR_INT, "0"}, {0}};
const fy_op fy_op_concat_from_sequence = {.name = "ConcatFromSequence", .domain = "", .attrs = concat_from_attrs, .min_in = 1, .max_in = 1, .min_out = 1,
    .max_out = 1, .since = 11, .first = 11, .infer = infer_concat_from, .ref = ref_concat_from, .flags = FY_PURE};

/* ---- Optional ------------------------------------------------------------------------------------------------------ */

static fy_status infer_optional(fy_infer *f) {
    const fy_attr *a = fy_attr_get(f->node, "type");
    if (fy_in_has(f, 0)) return set_sequence(f, FY_OPTIONAL, &f->in[0].type);
    FY_NEED(f->e, a && a->type, ATTR, "an empty optional needs the attribute type");
    return set_sequence(f, FY_OPTIONAL, a->type);
}

static fy_status ref_optional(const fy_call *c) {
    fy_rval v = {.kind = FY_OPTIONAL};
    if (c->nin && c->in[0]) {
        v.item = fy_calloc(1, sizeof *v.item);
        FY_NOMEM(c->e, v.item);
        v.n = 1;
        v.elem_dtype = c->in[0]->kind == FY_TENSOR ? c->in[0]->t.dtype : c->in[0]->elem_dtype;
        fy_status s = fy_rval_copy(&v.item[0], c->in[0], c->e);
        if (s != FY_OK) { fy_rval_free(&v); return s; }
    } else {
        const fy_attr *a = fy_attr_get(c->node, "type");
        const fy_type *t = a ? a->type : NULL;
        while (t && t->kind != FY_TENSOR && t->elem) t = t->elem;
        v.elem_dtype = t ? t->dtype : 0;
    }
    fy_mv_give(c, 0, &v);
    return FY_OK;
}

static fy_status infer_has(fy_infer *f) { return fy_out_set(f, 0, FERRY_BOOL, 0, NULL); }

static fy_status ref_has(const fy_call *c) {
    const fy_rval *v = c->nin ? c->in[0] : NULL;
    FY_TRY(fy_alloc_out(c, 0, FERRY_BOOL, 0, NULL));
    if (fy_res(c, 0)) fy_put_i64(fy_res(c, 0), 0, v && (v->kind != FY_OPTIONAL || v->n));
    return FY_OK;
}

static fy_status infer_get(fy_infer *f) {
    const fy_type *t = &f->in[0].type;
    if (t->kind == FY_OPTIONAL && !t->elem) return FY_OK;
    f->out[0].type = t->kind == FY_OPTIONAL ? *t->elem : *t;
    return FY_OK;
}

static fy_status ref_get(const fy_call *c) {
    const fy_rval *v = c->in[0];
    fy_rval r = {0};
    FY_NEED(c->e, v, GRAPH, "the optional is missing");
    FY_NEED(c->e, v->kind != FY_OPTIONAL || v->n, VALUE, "the optional is empty");
    FY_TRY(fy_rval_copy(&r, v->kind == FY_OPTIONAL ? &v->item[0] : v, c->e));
    fy_mv_give(c, 0, &r);
    return FY_OK;
}

static const fy_attr_spec optional_attrs[] = {{"type", FY_ATTR_TYPE, NULL}, {0}};
const fy_op fy_op_optional = {.name = "Optional", .domain = "", .attrs = optional_attrs, .min_in = 0, .max_in = 1, .min_out = 1, .max_out = 1, .since = 28,
    .first = 15, .infer = infer_optional, .ref = ref_optional, .flags = FY_PURE};
const fy_op fy_op_optional_has_element = {.name = "OptionalHasElement", .domain = "", .min_in = 0, .max_in = 1, .min_out = 1, .max_out = 1, .since = 28,
    .first = 15, .infer = infer_has, .ref = ref_has, .flags = FY_PURE};
const fy_op fy_op_optional_get_element = {.name = "OptionalGetElement", .domain = "", .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .since = 28,
    .first = 15, .infer = infer_get, .ref = ref_get, .flags = FY_PURE};
