/* SPDX-License-Identifier: Apache-2.0
 * attention_flex.c - FlexAttention: y = prob_mod(softmax(score_mod(scale Q K'))) V for each head, with graphs of the model's own for
 * the two mods.
 * Shapes   Q [B,Hq,L,E], K [B,Hk,S,E], V [B,Hk,S,Ev] -> [B,Hq,L,Ev]; query head h reads key head h / (Hq / Hk). Each mod takes [B,Hq,L,S] and
 *          gives the same, in the dtype softmax_precision (f64 for f64 inputs, else f32).
 * Scores, softmax and sums are in double, one head at a time; only what a mod is given is rounded to its dtype, and all heads' scores are
 * kept at once only for a mod. A row of -inf alone is NaN, as in Softmax.
 * Sources  ONNX ai.onnx.preview FlexAttention-1. */
#include "ops/control.h"

#include "tensor/gemm.h"

#include <math.h>
#include <string.h>

static fy_status precision(fy_dtype *t, const fy_node *n, fy_dtype q, ferry_error *e) {
    const fy_attr *a = fy_attr_get(n, "softmax_precision");
    int64_t v = a ? a->i : q == FERRY_DOUBLE ? FERRY_DOUBLE : q ? FERRY_FLOAT : 0;
    FY_NEED(e, (!a && !v) || v == FERRY_FLOAT || v == FERRY_DOUBLE || v == FERRY_FLOAT16 || v == FERRY_BFLOAT16, ATTR,
            "softmax_precision is %lld; f32, f64, f16 or bf16 is needed",
            (long long)v);
    *t = (fy_dtype)v;
    return FY_OK;
}

static const char *const mods[] = {"score_mod", "prob_mod"};

/* A mod's body takes and gives one tensor of the scores' type. */
static fy_status infer_mod(fy_infer *f, const char *name, const fy_type *t) {
    fy_graph *g = fy_attr_graph(f->node, name);
    if (!g) return FY_OK;
    FY_NEED(f->e, g->in.n == 1 && g->out.n == 1 && g->out.at[0], GRAPH, "%s takes %lld inputs and gives %lld outputs; it must be one each", name, (long long)g->in.n,
            (long long)g->out.n);
    fy_body_type(g->in.at[0], t);
    fy_body_forget(g);
    FY_TRY(fy_infer_graph(g, f->e));
    const fy_type *y = &g->out.at[0]->type;
    FY_NEED(f->e, y->kind == FY_NOTYPE || y->kind == FY_TENSOR, TYPE, "%s does not give a tensor", name);
    FY_NEED(f->e, !y->dtype || !t->dtype || y->dtype == t->dtype, TYPE, "%s gives %s where it takes %s", name, fy_dtype_name(y->dtype), fy_dtype_name(t->dtype));
    FY_NEED(f->e, y->rank < 0 || y->rank == 4, SHAPE, "%s gives a tensor of rank %d; it must keep the shape of its input", name, y->rank);
    for (int i = 0; i < y->rank; i++) FY_TRY(fy_k_agree(f, y->dim[i], t->dim[i], "sizes of what a mod takes and gives"));
    return FY_OK;
}

static const fy_dim *or_opaque(fy_infer *f, const fy_dim *d) { return d ? d : fy_dim_opaque(f->dims, "attention"); }

static fy_status infer_flex(fy_infer *f) {
    int r[3];
    int64_t hq, hk;
    fy_dtype t, q = fy_in_dtype(f, 0);
    FY_TRY(fy_k_same_dtype(f));
    FY_TRY(precision(&t, f->node, q, f->e));
    for (int i = 0; i < 3; i++) FY_TRY(fy_k_rank(f, i, 4, 4, &r[i]));
    FY_TRY(fy_k_agree(f, fy_in_dim(f, 0, 0), fy_in_dim(f, 1, 0), "batch sizes of Q and K"));
    FY_TRY(fy_k_agree(f, fy_in_dim(f, 0, 0), fy_in_dim(f, 2, 0), "batch sizes of Q and V"));
    FY_TRY(fy_k_agree(f, fy_in_dim(f, 0, 3), fy_in_dim(f, 1, 3), "head sizes of Q and K"));
    FY_TRY(fy_k_agree(f, fy_in_dim(f, 1, 1), fy_in_dim(f, 2, 1), "heads of K and V"));
    FY_TRY(fy_k_agree(f, fy_in_dim(f, 1, 2), fy_in_dim(f, 2, 2), "sequence lengths of K and V"));
    if (r[0] == 4 && r[1] == 4 && fy_dim_known(fy_in_dim(f, 0, 1), &hq) && fy_dim_known(fy_in_dim(f, 1, 1), &hk))
        FY_NEED(f->e, hq == hk || (hk >= 1 && hq % hk == 0), SHAPE, "%lld heads of Q do not share %lld heads of K", (long long)hq, (long long)hk);
    const fy_dim *y[4] = {or_opaque(f, fy_in_dim(f, 0, 0)), or_opaque(f, fy_in_dim(f, 0, 1)), or_opaque(f, fy_in_dim(f, 0, 2)), or_opaque(f, fy_in_dim(f, 2, 3))};
    const fy_dim *s[4] = {y[0], y[1], y[2], or_opaque(f, fy_in_dim(f, 1, 2))};
    for (int i = 0; i < 4; i++) FY_NOMEM(f->e, y[i] && s[i]);
    fy_type scores = fy_tensor_type(f->node->graph->model, t, 4, s);
    FY_NOMEM(f->e, scores.dim);
    for (int i = 0; i < 2; i++) FY_TRY(infer_mod(f, mods[i], &scores));
    return fy_out_set(f, 0, q, 4, y);
}

/* ---- running ------------------------------------------------------------------------------------------------------- */

typedef struct flex {
    const fy_call *c;
    fy_tensor      q, k, v, y;           /* f32 or f64 */
    double         scale, *s;            /* one head's scores, [L, S] */
    int64_t        rows, cols;
    fy_tensor      all;                  /* every head's scores, for a mod */
    fy_graph      *mod[2];
} flex;

/* Element [b, head, 0, 0] of a tensor as a matrix. */
static fy_mat head(const fy_tensor *t, int64_t b, int64_t h, bool transposed) {
    return (fy_mat){fy_k_at(t, b * t->stride[0] + h * t->stride[1]), t->dtype, t->stride[transposed ? 3 : 2], t->stride[transposed ? 2 : 3]};
}

static void softmax_rows(void *arg, int64_t begin, int64_t end) {
    const flex *w = arg;
    for (int64_t i = begin; i < end; i++) {
        double *s = w->s + i * w->cols, most = -HUGE_VAL, sum = 0;
        for (int64_t j = 0; j < w->cols; j++) most = s[j] > most || s[j] != s[j] ? s[j] : most;
        for (int64_t j = 0; j < w->cols; j++) sum += s[j] = exp(s[j] - most);
        for (int64_t j = 0; j < w->cols; j++) s[j] /= sum;
    }
}

/* Takes every head from stage `from` (0: nothing yet, 1: scores changed, 2: probabilities changed) to the next mod, or the end. */
static fy_status stage(flex *w, int from) {
    int64_t n = w->rows * w->cols, group = w->k.dim[1] ? w->q.dim[1] / w->k.dim[1] : 1;
    for (int64_t b = 0; b < w->q.dim[0]; b++)
        for (int64_t h = 0; h < w->q.dim[1]; h++) {
            int64_t at = (b * w->q.dim[1] + h) * n;
            fy_mat s = {w->s, FERRY_DOUBLE, w->cols, 1};
            if (from == 0) FY_TRY(fy_gemm(s, head(&w->q, b, h, false), head(&w->k, b, h / group, true), w->rows, w->cols, w->q.dim[3], w->scale, 0,
                    w->c->pool, w->c->e));
            else if (n) fy_load_f64(w->s, &w->all, at, n);
            if (from < 1 && w->mod[0]) {
                if (n) fy_store_f64(&w->all, at, n, w->s);
                continue;
            }
            if (from < 2 && w->cols) fy_k_for(w->c, w->rows, 1 + FY_K_GRAIN / w->cols, softmax_rows, w);
            if (from < 2 && w->mod[1]) {
                if (n) fy_store_f64(&w->all, at, n, w->s);
                continue;
            }
            FY_TRY(fy_gemm(head(&w->y, b, h, false), s, head(&w->v, b, h / group, false), w->rows, w->v.dim[3], w->cols, 1, 0, w->c->pool, w->c->e));
        }
    return FY_OK;
}

/* all = mod(all) */
static fy_status modify(flex *w, int k) {
    fy_rval in = {.kind = FY_TENSOR, .t = fy_tensor_ref(&w->all)}, *inp = &in, out = {0};
    fy_call call = *w->c;
    fy_status s = call.run_graph(&call, w->mod[k], 1, &inp, 1, &out);
    fy_rval_free(&in);
    FY_TRY(s);
    if (out.kind != FY_TENSOR || out.t.dtype != w->all.dtype || !fy_same_dims(&out.t, &w->all)) {
        s = fy_fail(w->c->e, FY_E_SHAPE, "%s does not keep the shape and dtype of its input", mods[k]);
        fy_rval_free(&out);
        return s;
    }
    fy_tensor_free(&w->all);
    w->all = out.t;
    return FY_OK;
}

static fy_status run_stages(flex *w) {
    const int64_t dim[4] = {w->q.dim[0], w->q.dim[1], w->rows, w->cols};
    int64_t all, n = w->rows * w->cols;
    fy_dtype t;
    FY_NOMEM(w->c->e, w->s = FY_NEWN(w->c->scratch, double, n));
    if (w->mod[0] || w->mod[1]) {
        FY_TRY(precision(&t, w->c->node, fy_arg(w->c, 0)->dtype, w->c->e));
        FY_NEED(w->c->e, fy_count_dims(&all, 4, dim) && all <= w->c->max_bytes / fy_elem_bytes(t), LIMIT, "the scores of all heads are too large");
        FY_TRY(fy_tensor_new(&w->all, t, 4, dim, w->c->e));
    }
    FY_TRY(stage(w, 0));
    for (int k = 0; k < 2; k++)
        if (w->mod[k]) {
            FY_TRY(modify(w, k));
            FY_TRY(stage(w, k + 1));
        }
    return FY_OK;
}

/* Inference is not run before a kernel with bodies: the shapes are checked here. */
static fy_status ref_flex(const fy_call *c) {
    const fy_tensor *q = fy_arg(c, 0), *k = fy_arg(c, 1), *v = fy_arg(c, 2);
    const fy_attr *scale = fy_attr_get(c->node, "scale");
    flex w = {.c = c, .mod = {fy_attr_graph(c->node, "score_mod"), fy_attr_graph(c->node, "prob_mod")}};
    FY_NEED(c->e, q->rank == 4 && k->rank == 4 && v->rank == 4, SHAPE, "Q, K and V have ranks %d, %d and %d; all must be 4", q->rank, k->rank, v->rank);
    FY_NEED(c->e, fy_dtype_float(q->dtype) && k->dtype == q->dtype && v->dtype == q->dtype, TYPE, "Q, K and V are %s, %s and %s", fy_dtype_name(q->dtype),
            fy_dtype_name(k->dtype), fy_dtype_name(v->dtype));
    FY_NEED(c->e, q->dim[0] == k->dim[0] && q->dim[0] == v->dim[0] && q->dim[3] == k->dim[3] && k->dim[1] == v->dim[1] && k->dim[2] == v->dim[2], SHAPE,
            "the sizes of Q, K and V do not fit");
    FY_NEED(c->e, q->dim[1] == k->dim[1] || (k->dim[1] && q->dim[1] % k->dim[1] == 0), SHAPE, "%lld heads of Q do not share %lld heads of K", (long long)q->dim[1],
            (long long)k->dim[1]);
    for (int i = 0; i < 2; i++) FY_NEED(c->e, !w.mod[i] || (w.mod[i]->in.n == 1 && w.mod[i]->out.n == 1), GRAPH, "%s must take and give one tensor", mods[i]);
    const int64_t dim[4] = {q->dim[0], q->dim[1], q->dim[2], v->dim[3]};
    int64_t n;
    FY_TRY(fy_alloc_out(c, 0, q->dtype, 4, dim));
    fy_tensor *y = fy_res(c, 0);
    if (!y || !fy_count(y)) return FY_OK;
    FY_NEED(c->e, fy_mul_i64(&n, q->dim[2], k->dim[2]) && n <= c->max_bytes / 8, LIMIT, "%lld x %lld scores are too many", (long long)q->dim[2],
            (long long)k->dim[2]);
    FY_TRY(fy_k_gemm_ready(c, q, false, &w.q));
    FY_TRY(fy_k_gemm_ready(c, k, false, &w.k));
    FY_TRY(fy_k_gemm_ready(c, v, false, &w.v));
    w.y = *y;
    w.y.own = NULL;
    if (y->dtype != FERRY_FLOAT && y->dtype != FERRY_DOUBLE) {
        double *sum = FY_NEWN(c->scratch, double, fy_count(y));
        FY_NOMEM(c->e, sum);
        w.y = fy_tensor_view(FERRY_DOUBLE, 4, y->dim, sum);
    }
    w.rows = q->dim[2];
    w.cols = k->dim[2];
    w.scale = scale ? scale->f : 1 / sqrt((double)q->dim[3]);
    fy_status s = run_stages(&w);
    fy_tensor_free(&w.all);
    FY_TRY(s);
    if (w.y.data != y->data) fy_tensor_copy(y, &w.y);
    return FY_OK;
}

static const fy_attr_spec attrs[] = {{"scale", FY_ATTR_FLOAT, NULL}, {"softmax_precision", FY_ATTR_INT, NULL}, {"score_mod", FY_ATTR_GRAPH, NULL},
    {"prob_mod", FY_ATTR_GRAPH, NULL}, {0}};
const fy_op fy_op_flex_attention = {.name = "FlexAttention", .domain = "ai.onnx.preview", .attrs = attrs, .min_in = 3, .max_in = 3, .min_out = 1,
    .max_out = 1, .first = 1, .since = 1, .types = "T=" FY_T_FLOAT "|T,T,T|T", .infer = infer_flex, .ref = ref_flex, .flags = FY_PURE | FY_CONTROL};
