/* SPDX-License-Identifier: Apache-2.0
 * matmul.c - MatMul [..,m,k] x [..,k,n] (NumPy's rules), Gemm, MatMulInteger. Floats go through tensor/'s GEMM with the
 * operands' own strides; integers are multiplied in int64 and wrap. */
#include "ops/quant.h"

#include "tensor/gemm.h"

#include <string.h>

/* ---- MatMul -------------------------------------------------------------------------------------------------------- */

/* The product of inputs ina and inb. */
static fy_status infer_product(fy_infer *f, int ina, int inb, fy_dtype t) {
    int ra, rb, rank;
    const fy_dim *dim[FY_MAX_RANK];
    FY_TRY(fy_k_rank(f, ina, 1, FY_MAX_RANK, &ra));
    FY_TRY(fy_k_rank(f, inb, 1, FY_MAX_RANK, &rb));
    if (ra < 0 || rb < 0) return fy_out_set(f, 0, t, -1, NULL);
    FY_TRY(fy_k_agree(f, fy_in_dim(f, ina, ra - 1), fy_in_dim(f, inb, rb > 1 ? rb - 2 : 0), "inner sizes of the product"));
    int ba = ra > 2 ? ra - 2 : 0, bb = rb > 2 ? rb - 2 : 0, batch = ba > bb ? ba : bb;
    for (int i = 0; i < batch; i++) {
        int ia = i - (batch - ba), ib = i - (batch - bb);
        const fy_dim *a = ia < 0 ? NULL : fy_in_dim(f, ina, ia), *b = ib < 0 ? NULL : fy_in_dim(f, inb, ib);
        int64_t va, vb;
        bool ka = a && fy_dim_known(a, &va), kb = b && fy_dim_known(b, &vb);
        if (!a || !b) dim[i] = a ? a : b;
        else {
            bool bad = false;
            dim[i] = fy_meet(f, a, b, &bad);
            FY_NEED(f->e, !bad, SHAPE, "batch sizes of the product differ: %lld and %lld", (long long)(ka ? va : 0), (long long)(kb ? vb : 0));
        }
    }
    rank = batch;
    if (ra > 1) dim[rank++] = fy_in_dim(f, ina, ra - 2);
    if (rb > 1) dim[rank++] = fy_in_dim(f, inb, rb - 1);
    return fy_out_set(f, 0, t, rank, dim);
}

static fy_status infer_matmul(fy_infer *f) {
    FY_TRY(fy_k_same_dtype(f));
    return infer_product(f, 0, 1, fy_in_dtype(f, 0) ? fy_in_dtype(f, 0) : fy_in_dtype(f, 1));
}

/* Both operands as [batch.., m, k] and [batch.., k, n] views with the batch axes of the result (stride 0: broadcast). */
typedef struct product { int batch; int64_t dim[FY_MAX_RANK], sa[FY_MAX_RANK], sb[FY_MAX_RANK], m, n, k, a_row, a_col, b_row, b_col, count; } product;

static fy_status plan(product *p, const fy_tensor *a, const fy_tensor *b, ferry_error *e) {
    *p = (product){.m = 1, .n = 1, .count = 1};
    int ba = a->rank > 2 ? a->rank - 2 : 0, bb = b->rank > 2 ? b->rank - 2 : 0;
    p->batch = ba > bb ? ba : bb;
    p->k = a->dim[a->rank - 1];
    p->a_col = a->stride[a->rank - 1];
    if (a->rank > 1) { p->m = a->dim[a->rank - 2]; p->a_row = a->stride[a->rank - 2]; }
    FY_NEED(e, b->dim[b->rank > 1 ? b->rank - 2 : 0] == p->k, SHAPE, "inner sizes of the product differ: %lld and %lld", (long long)p->k,
            (long long)b->dim[b->rank > 1 ? b->rank - 2 : 0]);
    p->b_row = b->stride[b->rank > 1 ? b->rank - 2 : 0];
    if (b->rank > 1) { p->n = b->dim[b->rank - 1]; p->b_col = b->stride[b->rank - 1]; }
    for (int i = 0; i < p->batch; i++) {
        int ia = i - (p->batch - ba), ib = i - (p->batch - bb);
        int64_t da = ia < 0 ? 1 : a->dim[ia], db = ib < 0 ? 1 : b->dim[ib];
        FY_NEED(e, da == db || da == 1 || db == 1, SHAPE, "batch sizes of the product differ: %lld and %lld", (long long)da, (long long)db);
        p->dim[i] = da == 1 ? db : da;
        p->sa[i] = da == 1 ? 0 : a->stride[ia];
        p->sb[i] = db == 1 ? 0 : b->stride[ib];
        p->count *= p->dim[i];
    }
    /* a weight matrix under all of a batch: its axes are rows of one product, where a's strides allow */
    while (p->batch && p->sb[p->batch - 1] == 0 && (p->sa[p->batch - 1] == p->a_row * p->m || p->dim[p->batch - 1] == 1)) {
        int64_t d = p->dim[--p->batch];
        if (d == 0) { p->batch++; break; }
        if (p->m == 1 && d > 1) p->a_row = p->sa[p->batch];
        p->m *= d;
        p->count /= d;
    }
    return FY_OK;
}

/* c[m,n] of batch item i begins at i * m * n: the result is dense. */
static fy_status multiply(const fy_call *c, const fy_tensor *a, const fy_tensor *b, fy_dtype t, void *out) {
    product p;
    FY_TRY(plan(&p, a, b, c->e));
    int64_t at[FY_MAX_RANK] = {0}, oa = 0, ob = 0;
    for (int64_t i = 0; i < p.count; i++) {
        fy_mat ma = {fy_k_at(a, oa), a->dtype, p.a_row, p.a_col}, mb = {fy_k_at(b, ob), b->dtype, p.b_row, p.b_col};
        fy_mat mc = {(char *)out + i * p.m * p.n * fy_elem_bytes(t), t, p.n, 1};
        FY_TRY(fy_gemm(mc, ma, mb, p.m, p.n, p.k, 1, 0, c->pool, c->e));
        for (int d = p.batch - 1; d >= 0; d--) {
            oa += p.sa[d];
            ob += p.sb[d];
            if (++at[d] < p.dim[d]) break;
            oa -= p.sa[d] * p.dim[d];
            ob -= p.sb[d] * p.dim[d];
            at[d] = 0;
        }
    }
    return FY_OK;
}

static fy_status multiply_integers(const fy_call *c, const int64_t *a, const fy_tensor *ta, const int64_t *b, const fy_tensor *tb, fy_tensor *y) {
    fy_tensor va = fy_tensor_view(FERRY_INT64, ta->rank, ta->dim, a), vb = fy_tensor_view(FERRY_INT64, tb->rank, tb->dim, b);
    product p;
    FY_TRY(plan(&p, &va, &vb, c->e));
    uint64_t *z = FY_NEWN(c->scratch, uint64_t, p.m * p.n);
    FY_NOMEM(c->e, z);
    int64_t at[FY_MAX_RANK] = {0}, oa = 0, ob = 0;
    for (int64_t i = 0; i < p.count && p.m && p.n; i++) {
        fy_k_multiply_integers(c, z, a + oa, p.a_row, b + ob, p.b_row, p.m, p.n, p.k);
        fy_store_u64(y, i * p.m * p.n, p.m * p.n, z);
        for (int d = p.batch - 1; d >= 0; d--) {
            oa += p.sa[d];
            ob += p.sb[d];
            if (++at[d] < p.dim[d]) break;
            oa -= p.sa[d] * p.dim[d];
            ob -= p.sb[d] * p.dim[d];
            at[d] = 0;
        }
    }
    return FY_OK;
}

static fy_status ref_matmul(const fy_call *c) {
    fy_tensor *y = fy_res(c, 0), a, b;
    if (!y || !fy_count(y)) return FY_OK;
    if (!fy_dtype_float(y->dtype)) {
        FY_NEED(c->e, fy_dtype_int(y->dtype), TYPE, "no product of %s", fy_dtype_name(y->dtype));
        int64_t *ia = fy_k_as_i64(c, fy_arg(c, 0)), *ib = fy_k_as_i64(c, fy_arg(c, 1));
        FY_NOMEM(c->e, ia && ib);
        return multiply_integers(c, ia, fy_arg(c, 0), ib, fy_arg(c, 1), y);
    }
    FY_TRY(fy_k_gemm_ready(c, fy_arg(c, 0), false, &a));
    FY_TRY(fy_k_gemm_ready(c, fy_arg(c, 1), false, &b));
    if (y->dtype == FERRY_FLOAT || y->dtype == FERRY_DOUBLE) return multiply(c, &a, &b, y->dtype, y->data);
    double *sum = FY_NEWN(c->scratch, double, fy_count(y));
    FY_NOMEM(c->e, sum);
    FY_TRY(multiply(c, &a, &b, FERRY_DOUBLE, sum));
    fy_store_f64(y, 0, fy_count(y), sum);
    return FY_OK;
}
const fy_op fy_op_mat_mul = {.name = "MatMul", .domain = "", .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .first = 1, .since = 1,
    .types = "T=" FY_T_WIDE "|T,T|T", .infer = infer_matmul, .ref = ref_matmul, .flags = FY_PURE};

/* ---- Gemm ---------------------------------------------------------------------------------------------------------- */

static fy_status infer_gemm(fy_infer *f) {
    bool ta = fy_attr_i(f->node, "transA"), tb = fy_attr_i(f->node, "transB");
    int ra, rb, rc;
    FY_TRY(fy_k_same_dtype(f));
    FY_TRY(fy_k_rank(f, 0, 2, 2, &ra));
    FY_TRY(fy_k_rank(f, 1, 2, 2, &rb));
    FY_TRY(fy_k_agree(f, fy_in_dim(f, 0, ta ? 0 : 1), fy_in_dim(f, 1, tb ? 1 : 0), "inner sizes of the product"));
    const fy_dim *dim[2] = {ra < 0 ? fy_dim_opaque(f->dims, "m") : fy_in_dim(f, 0, ta ? 1 : 0), rb < 0 ? fy_dim_opaque(f->dims, "n") : fy_in_dim(f, 1, tb ? 0 : 1)};
    if (fy_in_has(f, 2)) {
        FY_TRY(fy_k_rank(f, 2, 0, 2, &rc));
        for (int i = 1; i <= rc; i++)
            if (!fy_dim_is(fy_in_dim(f, 2, rc - i), 1)) FY_TRY(fy_k_agree(f, dim[2 - i], fy_in_dim(f, 2, rc - i), "sizes of C and the result"));
    }
    return fy_out_set(f, 0, fy_in_dtype(f, 0) ? fy_in_dtype(f, 0) : fy_in_dtype(f, 1), 2, dim);
}

static fy_mat side(const fy_tensor *t, bool transposed) {
    return (fy_mat){t->data, t->dtype, t->stride[transposed ? 1 : 0], t->stride[transposed ? 0 : 1]};
}

static fy_status ref_gemm(const fy_call *c) {
    fy_tensor *y = fy_res(c, 0), a, b, to;
    const fy_tensor *add = fy_arg(c, 2);
    if (!y || !fy_count(y)) return FY_OK;
    FY_TRY(fy_k_gemm_ready(c, fy_arg(c, 0), false, &a));
    FY_TRY(fy_k_gemm_ready(c, fy_arg(c, 1), false, &b));
    bool ta = fy_attr_i(c->node, "transA"), tb = fy_attr_i(c->node, "transB");
    double alpha = fy_attr_f(c->node, "alpha"), beta = add ? fy_attr_f(c->node, "beta") : 0;
    int64_t m = y->dim[0], n = y->dim[1], k = a.dim[ta ? 0 : 1];
    to = *y;
    if ((add && y->dtype != FERRY_DOUBLE) || (y->dtype != FERRY_FLOAT && y->dtype != FERRY_DOUBLE)) {     /* sums in double, rounded once */
        double *sum = FY_NEWN(c->scratch, double, m * n);
        FY_NOMEM(c->e, sum);
        to = fy_tensor_view(FERRY_DOUBLE, 2, y->dim, sum);
    }
    if (add) {
        fy_tensor wide = {.dtype = add->dtype, .rank = 2, .data = add->data, .dim = {m, n}};
        for (int i = 1; i <= add->rank; i++) wide.stride[2 - i] = add->dim[add->rank - i] == 1 ? 0 : add->stride[add->rank - i];
        fy_tensor_copy(&to, &wide);
    }
    FY_TRY(fy_gemm((fy_mat){to.data, to.dtype, n, 1}, side(&a, ta), side(&b, tb), m, n, k, alpha, beta, c->pool, c->e));
    if (to.data != y->data) fy_store_f64(y, 0, m * n, to.data);
    return FY_OK;
}
static const fy_attr_spec gemm_attrs[] = {{"alpha", FY_ATTR_FLOAT, "1"}, {"beta", FY_ATTR_FLOAT, "1"}, {"transA", FY_ATTR_INT, "0"},
    {"transB", FY_ATTR_INT, "0"}, {0}};
const fy_op fy_op_gemm = {.name = "Gemm", .domain = "", .attrs = gemm_attrs, .min_in = 2, .max_in = 3, .min_out = 1, .max_out = 1, .first = 1, .since = 11,
    .types = "T=" FY_T_WIDE "|T,T,T|T", .infer = infer_gemm, .ref = ref_gemm, .flags = FY_PURE};

/* ---- MatMulInteger ------------------------------------------------------------------------------------------------- */

static fy_status infer_integer(fy_infer *f) { return infer_product(f, 0, 1, FERRY_INT32); }

/* Subtracts a zero point: one for all, or one for each row of a (column of b), then `inner` elements apart. */
static fy_status subtract(const fy_call *c, int64_t *v, const fy_tensor *t, const fy_tensor *zero, bool rows) {
    if (!zero || !fy_count(t)) return FY_OK;
    int64_t nz = fy_count(zero), *z = fy_k_as_i64(c, zero);
    FY_NOMEM(c->e, z);
    int axis = rows ? t->rank - 2 : t->rank - 1;
    int64_t want = axis < 0 ? 1 : t->dim[axis], inner = rows && t->rank ? t->dim[t->rank - 1] : 1, n = fy_count(t);
    int64_t rest = fy_count(t) / (want * inner);
    FY_NEED(c->e, nz == 1 || nz == want || nz == want * rest, SHAPE, "%lld zero points for %lld %s", (long long)nz, (long long)want, rows ? "rows" : "columns");
    for (int64_t i = 0; i < n; i++) v[i] -= z[nz == 1 ? 0 : nz == want ? i / inner % want : rows ? i / inner : i / (n / rest) * want + i % want];
    return FY_OK;
}

static fy_status ref_integer(const fy_call *c) {
    fy_tensor *y = fy_res(c, 0);
    const fy_tensor *a = fy_arg(c, 0), *b = fy_arg(c, 1);
    if (!y || !fy_count(y)) return FY_OK;
    FY_NEED(c->e, fy_dtype_int(a->dtype) && fy_dtype_int(b->dtype), TYPE, "MatMulInteger of %s and %s", fy_dtype_name(a->dtype), fy_dtype_name(b->dtype));
    int64_t *ia = fy_k_as_i64(c, a), *ib = fy_k_as_i64(c, b);
    FY_NOMEM(c->e, ia && ib);
    FY_TRY(subtract(c, ia, a, fy_arg(c, 2), true));
    FY_TRY(subtract(c, ib, b, fy_arg(c, 3), false));
    return multiply_integers(c, ia, a, ib, b, y);
}
const fy_op fy_op_mat_mul_integer = {.name = "MatMulInteger", .domain = "", .min_in = 2, .max_in = 4, .min_out = 1, .max_out = 1, .first = 10, .since = 10,
    .types = "T=i8,u8;U=i8,u8|T,U,T,U|i32", .infer = infer_integer, .ref = ref_integer, .flags = FY_PURE};

/* ---- QLinearMatMul ------------------------------------------------------------------------------------------------- */

/* a, its scale and zero point; b, its scale and zero point; scale and zero point of y. */
enum { QA, QAS, QAZ, QB, QBS, QBZ, QYS, QYZ };

static fy_status infer_qlinear(fy_infer *f) { return infer_product(f, QA, QB, fy_in_dtype(f, QYZ)); }

/* A scale or zero point t as a view of a tensor with these dims: one element; a vector along the last axis (column) or the one before it; or
 * as many axes as the tensor, each of its size or 1. An axis that the tensor has lost (of a vector operand) must be 1. */
static fy_status spread(fy_tensor *v, const fy_tensor *t, bool column, int rank, const int64_t *dim, const char *what, ferry_error *e) {
    fy_tensor w = *t;
    w.own = NULL;
    if (fy_count(t) == 1) w.rank = 0;
    else if (t->rank == 1 && !column) {
        w.rank = 2;
        w.dim[1] = 1;
        w.stride[1] = 0;
    }
    FY_NEED(e, w.rank <= rank, SHAPE, "%s has rank %d where %d is the most", what, t->rank, rank);
    for (int i = 0; i < w.rank; i++) {
        int64_t want = dim[rank - w.rank + i];
        FY_NEED(e, w.dim[i] == want || w.dim[i] == 1, SHAPE, "%s has size %lld where there are %lld %s", what, (long long)w.dim[i], (long long)want, column ? "columns" : "rows");
    }
    *v = fy_k_spread(&w, rank, dim);
    return FY_OK;
}

/* The scale of an operand beside the result: without the axis that a vector on the other side has taken away. */
static fy_tensor without(const fy_tensor *t, bool last) {
    fy_tensor v = *t;
    v.own = NULL;
    int axis = t->rank - (last ? 1 : 2);
    if (fy_count(t) == 1 || axis < 0 || t->dim[axis] != 1) return v;
    for (int i = axis; i + 1 < t->rank; i++) {
        v.dim[i] = t->dim[i + 1];
        v.stride[i] = t->stride[i + 1];
    }
    v.rank--;
    return v;
}

static fy_status ref_qlinear(const fy_call *c) {
    fy_tensor *y = fy_res(c, 0), a, b, z, as, bs, ys, yz;
    const fy_tensor *ta = fy_arg(c, QA), *tb = fy_arg(c, QB);
    if (!y || !fy_count(y)) return FY_OK;
    FY_TRY(spread(&z, fy_arg(c, QAZ), false, ta->rank, ta->dim, "a_zero_point", c->e));
    FY_TRY(fy_quant_centred(c, ta, &z, &a));
    FY_TRY(spread(&z, fy_arg(c, QBZ), true, tb->rank, tb->dim, "b_zero_point", c->e));
    FY_TRY(fy_quant_centred(c, tb, &z, &b));
    as = *fy_arg(c, QAS);
    bs = *fy_arg(c, QBS);
    if (tb->rank == 1) as = without(&as, true);
    if (ta->rank == 1) bs = without(&bs, false);
    /* a's rows are the last axis of the result where b is a vector */
    FY_TRY(spread(&as, &as, tb->rank == 1, y->rank, y->dim, "a_scale", c->e));
    FY_TRY(spread(&bs, &bs, true, y->rank, y->dim, "b_scale", c->e));
    FY_TRY(spread(&ys, fy_arg(c, QYS), tb->rank == 1, y->rank, y->dim, "y_scale", c->e));
    FY_TRY(spread(&yz, fy_arg(c, QYZ), tb->rank == 1, y->rank, y->dim, "y_zero_point", c->e));
    double *sum = FY_NEWN(c->scratch, double, fy_count(y)), s[4][FY_K_BLOCK];
    FY_NOMEM(c->e, sum);
    FY_TRY(multiply(c, &a, &b, FERRY_DOUBLE, sum));
    for (int64_t at = 0, n = fy_count(y); at < n; at += FY_K_BLOCK) {
        int64_t m = n - at < FY_K_BLOCK ? n - at : FY_K_BLOCK;
        fy_load_f64(s[0], &as, at, m);
        fy_load_f64(s[1], &bs, at, m);
        fy_load_f64(s[2], &ys, at, m);
        fy_load_f64(s[3], &yz, at, m);
        for (int64_t i = 0; i < m; i++) sum[at + i] = fy_round_to(FERRY_FLOAT, sum[at + i] * fy_quant_scale(s[0][i], s[1][i], s[2][i]));
        fy_quant_to(y->dtype, sum + at, s[3], m);
        fy_store_f64(y, at, m, sum + at);
    }
    return FY_OK;
}
#define T_QMM "i8,u8," FY_T_F8
const fy_op fy_op_qlinear_matmul = {.name = "QLinearMatMul", .domain = "", .min_in = 8, .max_in = 8, .min_out = 1, .max_out = 1, .first = 10, .since = 21,
    .types = "S=f32,f16,bf16;T=" T_QMM ";U=" T_QMM ";V=" T_QMM "|T,S,T,U,S,U,S,V|V", .infer = infer_qlinear, .ref = ref_qlinear, .flags = FY_PURE};
