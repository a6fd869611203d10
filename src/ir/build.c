/* SPDX-License-Identifier: Apache-2.0
 * build.c - emitting nodes and constants, and the everyday nodes. Sizes as values: build_dim.c. */
#include "ir/build.h"

#include "base/checked.h"

#include <stdio.h>
#include <string.h>

fy_attr fy_text(const char *name, const char *v) {
    return (fy_attr){ .name = name, .kind = FY_ATTR_STRING, .n = 1, .s = { v, strlen(v) } };
}

static fy_value *no_memory(fy_build *b) {
    b->status = fy_nomem(b->e);
    return NULL;
}

fy_value *fy_fail_value(fy_build *b, fy_code code, const char *fmt, ...) {
    if (b->status != FY_OK) return NULL;
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    b->status = fy_fail(b->e, code, "%s", text);
    return NULL;
}

/* ---- nodes --------------------------------------------------------------------------------------------------------- */

static const fy_op *find_op(fy_build *b, const char *op) {
    const char *sep = strstr(op, "::");
    char domain[80] = "";
    if (sep) {
        if ((size_t)(sep - op) >= sizeof domain) return NULL;
        memcpy(domain, op, (size_t)(sep - op));
        domain[sep - op] = 0;
        op = sep + 2;
    }
    return fy_op_find(b->g->model->registry, domain, op);
}

fy_node *fy_emit_n(fy_build *b, const char *op, int nout, int nin, fy_value *const *in, int nattr, const fy_attr *attr) {
    if (b->status != FY_OK) return NULL;
    const fy_op *def = find_op(b, op);
    if (!def) {
        fy_fail_value(b, FY_E_OP, "operator %s is not known", op);
        return NULL;
    }
    while (nin > 0 && !in[nin - 1]) nin--;
    fy_node *n = fy_node_new(b->g, b->before, def, nin, in, nout);
    bool ok = n != NULL;
    for (int i = 0; ok && i < nattr; i++) ok = fy_node_set_attr(n, &attr[i]);
    if (!ok) {
        if (n) fy_node_remove(n);
        no_memory(b);
        return NULL;
    }
    n->scope = b->scope;
    n->source = b->source;
    b->status = fy_infer_node(n, b->e);
    if (b->status == FY_OK) return n;
    char where[180];
    fy_buf types = { 0 };
    for (int i = 0; i < nin && types.n < 150; i++) {
        fy_buf_str(&types, i ? ", " : "");
        if (in[i]) fy_type_print(&types, &in[i]->type);
    }
    fy_node_describe(where, sizeof where, n);
    fy_frame(b->e, b->status, "%s", where);
    if (types.at && !types.oom) fy_frame(b->e, b->status, "inputs %.170s", types.at);
    fy_buf_free(&types);
    fy_node_remove(n);
    return NULL;
}

fy_value *fy_emit(fy_build *b, const char *op, int nin, fy_value *const *in, int nattr, const fy_attr *attr) {
    fy_node *n = fy_emit_n(b, op, 1, nin, in, nattr, attr);
    return n ? n->out[0] : NULL;
}

/* ---- constants ----------------------------------------------------------------------------------------------------- */

#define MERGE_BYTES 512

static fy_graph *root_of(fy_graph *g) {
    while (g->parent) g = g->parent;
    return g;
}

/* Small constants live in the outermost graph, where every body sees them, one for each content. One that nothing uses any
 * more may have been removed by a pass, so it is not handed out again. */
fy_value *fy_k_const(fy_build *b, const fy_const *c, const char *name) {
    if (b->status != FY_OK) return NULL;
    if (!c) return no_memory(b);
    fy_model *m = b->g->model;
    fy_graph *root = root_of(b->g);
    size_t bytes = c->dtype == FERRY_STRING ? SIZE_MAX : (size_t)c->count * (size_t)fy_elem_bytes(c->dtype), nkey = 0;
    unsigned char key[sizeof(void *) + 8 + FY_MAX_RANK * 8 + MERGE_BYTES];
    if (bytes <= MERGE_BYTES && c->rank <= FY_MAX_RANK && !name) {
        _Alignas(16) unsigned char data[MERGE_BYTES];
        if ((b->status = fy_const_read(c, 0, c->count, data, b->e)) != FY_OK) return NULL;
        int32_t head[2] = { (int32_t)c->dtype, c->rank };
        memcpy(key, &root, sizeof root);
        memcpy(key + sizeof root, head, sizeof head);
        nkey = sizeof root + sizeof head;
        if (c->rank) memcpy(key + nkey, c->dim, (size_t)c->rank * 8);
        nkey += (size_t)c->rank * 8;
        if (bytes) memcpy(key + nkey, data, bytes);
        nkey += bytes;
        fy_value *v = fy_map_get(&m->merged, (const char *)key, nkey);
        if (v && v->nuses) return v;
    }
    fy_value *v = fy_graph_add_const(root, name, c);
    if (!v) return no_memory(b);
    if (nkey) {
        char *kept = fy_arena_strn(&m->arena, (const char *)key, nkey);
        if (!kept || !fy_map_put(&m->merged, kept, nkey, v)) return no_memory(b);
    }
    return v;
}

static fy_value *small_ints(fy_build *b, int rank, int64_t n, const int64_t *v) {
    if (b->status != FY_OK) return NULL;
    fy_model *m = b->g->model;
    fy_value *k = fy_k_const(b, fy_const_copy(&m->arena, FERRY_INT64, rank, &n, v), NULL);
    if (!k || k->elem || n > FY_MAX_ELEM) return k;
    const fy_dim **d = FY_NEWN(&m->arena, const fy_dim *, n);
    for (int64_t i = 0; d && i < n; i++)
        if (!(d[i] = fy_dim_const(m->dims, v[i]))) d = NULL;
    if (!d) return no_memory(b);
    k->elem = d;
    k->nelem = n;
    return k;
}

fy_value *fy_k_i64(fy_build *b, int64_t v) { return small_ints(b, 0, 1, &v); }
fy_value *fy_k_ints(fy_build *b, int64_t n, const int64_t *v) { return small_ints(b, 1, n, v); }

fy_value *fy_k_scalar(fy_build *b, fy_dtype t, double v) {
    if (b->status != FY_OK) return NULL;
    return fy_k_const(b, fy_const_splat(&b->g->model->arena, t, 0, NULL, v), NULL);
}

fy_value *fy_k_scalar_i(fy_build *b, fy_dtype t, int64_t v) {
    if (b->status != FY_OK) return NULL;
    union { double d[2]; unsigned char b[16]; } one = { { 0, 0 } };
    fy_tensor x = fy_tensor_view(t, 0, NULL, &one);
    fy_put_i64(&x, 0, v);
    return fy_k_const(b, fy_const_copy(&b->g->model->arena, t, 0, NULL, &one), NULL);
}

/* ---- everyday nodes ------------------------------------------------------------------------------------------------ */

static int rank_of(const fy_value *x) { return x->type.kind == FY_TENSOR ? x->type.rank : -1; }

fy_value *fy_b_cast(fy_build *b, fy_value *x, fy_dtype t) {
    if (b->status != FY_OK || !x) return NULL;
    return x->type.kind == FY_TENSOR && x->type.dtype == t ? x : fy_emit(b, "Cast", FY_V(x), FY_A(fy_int("to", (int64_t)t)));
}

fy_value *fy_b_transpose(fy_build *b, fy_value *x, const int *perm) {
    if (b->status != FY_OK || !x) return NULL;
    int rank = rank_of(x);
    if (rank < 0 || rank > FY_MAX_RANK) return fy_fail_value(b, FY_E_SHAPE, "the rank of what is transposed is not known");
    int64_t p[FY_MAX_RANK];
    bool same = true;
    for (int i = 0; i < rank; i++) {
        p[i] = perm[i];
        same = same && perm[i] == i;
    }
    return same ? x : fy_emit(b, "Transpose", FY_V(x), FY_A(fy_ints("perm", rank, p)));
}

fy_value *fy_b_unsqueeze(fy_build *b, fy_value *x, int axis) {
    if (b->status != FY_OK || !x) return NULL;
    return fy_emit(b, "Unsqueeze", FY_V(x, fy_k_ints(b, 1, (int64_t[]){ axis })), FY_NOATTR);
}

fy_value *fy_b_squeeze(fy_build *b, fy_value *x, int axis) {
    if (b->status != FY_OK || !x) return NULL;
    return fy_emit(b, "Squeeze", FY_V(x, fy_k_ints(b, 1, (int64_t[]){ axis })), FY_NOATTR);
}

fy_value *fy_b_slice(fy_build *b, fy_value *x, int axis, fy_value *begin, fy_value *end, fy_value *step) {
    if (b->status != FY_OK || !x) return NULL;
    return fy_emit(b, "Slice", FY_V(x, begin, end, fy_k_ints(b, 1, (int64_t[]){ axis }), step), FY_NOATTR);
}

fy_value *fy_b_concat(fy_build *b, int n, fy_value *const *v, int axis) {
    if (b->status != FY_OK) return NULL;
    return n == 1 ? v[0] : fy_emit(b, "Concat", n, v, FY_A(fy_int("axis", axis)));
}

static bool same_dims(const fy_value *x, int rank, const fy_dim *const *dim) {
    if (rank_of(x) != rank) return false;
    for (int i = 0; i < rank; i++)
        if (x->type.dim[i] != dim[i]) return false;
    return true;
}

/* The caller knows the shape of what it asked for. */
static fy_value *typed(fy_build *b, fy_value *y, int rank, const fy_dim *const *dim) {
    if (!y) return NULL;
    fy_type t = fy_tensor_type(b->g->model, y->type.dtype, rank, dim);
    if (t.kind == FY_NOTYPE) return no_memory(b);
    y->type = t;
    return y;
}

static bool no_null(fy_build *b, int rank, const fy_dim *const *dim) {
    for (int i = 0; i < rank; i++)
        if (!dim[i]) { no_memory(b); return false; }
    return true;
}

/* Target sizes: constants as they are, 0 where the input has that very size on that axis, -1 for one other; only what is
 * left then needs nodes. With a constant size 0 neither trick is legal. */
fy_value *fy_b_reshape(fy_build *b, fy_value *x, int rank, const fy_dim *const *dim) {
    if (b->status != FY_OK || !x || !no_null(b, rank, dim)) return NULL;
    if (same_dims(x, rank, dim)) return x;
    if (rank > FY_MAX_RANK) return fy_fail_value(b, FY_E_LIMIT, "rank %d; most is %d", rank, FY_MAX_RANK);
    int64_t want[FY_MAX_RANK], v;
    int have = rank_of(x), open = 0, heaviest = -1;
    bool empty = false, open_at[FY_MAX_RANK] = { 0 };
    for (int i = 0; i < rank; i++) empty = empty || fy_dim_is(dim[i], 0);
    for (int i = 0; i < rank; i++) {
        want[i] = 0;
        if (fy_dim_known(dim[i], &v)) want[i] = v;
        else if (!empty && i < have && x->type.dim[i] == dim[i]) want[i] = 0;
        else {
            open_at[i] = true;
            open++;
            if (heaviest < 0 || dim[i]->weight > dim[heaviest]->weight || dim[i]->kind == FY_DIM_OPAQUE) heaviest = i;
        }
    }
    if (open && !empty) {
        want[heaviest] = -1;
        open_at[heaviest] = false;
        open--;
    }
    fy_value *shape = NULL, *part[FY_MAX_RANK];
    if (open == 0) shape = fy_k_ints(b, rank, want);
    else {
        int n = 0;
        for (int i = 0; i < rank && b->status == FY_OK; n++) {
            int from = i;
            if (open_at[i]) { part[n] = fy_b_dim(b, dim[i++]); continue; }
            while (i < rank && !open_at[i]) i++;
            part[n] = fy_k_ints(b, i - from, &want[from]);
        }
        shape = fy_b_concat(b, n, part, 0);
    }
    if (b->status != FY_OK) return NULL;
    fy_attr allow = fy_int("allowzero", 1);
    return typed(b, fy_emit(b, "Reshape", FY_V(x, shape), empty ? 1 : 0, &allow), rank, dim);
}

/* Sizes of 1 keep what the input has. */
fy_value *fy_b_expand(fy_build *b, fy_value *x, int rank, const fy_dim *const *dim) {
    if (b->status != FY_OK || !x || !no_null(b, rank, dim)) return NULL;
    if (same_dims(x, rank, dim)) return x;
    if (rank > FY_MAX_RANK) return fy_fail_value(b, FY_E_LIMIT, "rank %d; most is %d", rank, FY_MAX_RANK);
    const fy_dim *want[FY_MAX_RANK], *one = fy_dim_const(b->g->model->dims, 1);
    int have = rank_of(x);
    for (int i = 0; i < rank; i++) {
        int at = i - (rank - have);
        want[i] = have >= 0 && at >= 0 && x->type.dim[at] == dim[i] ? one : dim[i];
    }
    return typed(b, fy_emit(b, "Expand", FY_V(x, fy_b_dims(b, rank, want)), FY_NOATTR), rank, dim);
}
