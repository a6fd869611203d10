/* SPDX-License-Identifier: Apache-2.0
 * ms_norm.c - com.microsoft: SkipLayerNormalization SkipSimplifiedLayerNormalization EmbedLayerNormalization QEmbedLayerNormalization
 * GroupNorm SkipGroupNorm. A sum (residuals, embeddings) in double, then ai.onnx's LayerNormalization, RMSNormalization or
 * GroupNormalization of it.
 * Shapes  x [B, S, D] or [S, D], skip like x or without its batch, gamma, beta, bias [D] -> y like x, mean, inv [B, S, 1] f32, sum like x
 *         ids [B, S] i32, embeddings [.., D] -> y [B, S, D], mask_index [B] i32 (words that the mask keeps), sum [B, S, D]
 * Source  onnxruntime docs/ContribOperators.md. */
#include "ops/sub.h"

#include <string.h>

#define MS "com.microsoft"

/* ---- Skip ---------------------------------------------------------------------------------------------------------- */

static bool simplified(const fy_node *n) { return !strcmp(n->op->name, "SkipSimplifiedLayerNormalization"); }

static fy_status infer_skip(fy_infer *f) {
    int r, rs, rv, bias = simplified(f->node) ? 3 : 4;
    FY_TRY(fy_k_same_dtype(f));
    FY_TRY(fy_k_rank(f, 0, 2, 3, &r));
    FY_TRY(fy_k_rank(f, 1, 2, 3, &rs));
    FY_NEED(f->e, r < 0 || rs <= r, SHAPE, "skip has rank %d, x only %d", rs, r);
    for (int i = 1; i <= rs && r > 0; i++)
        if (i < 3 || !fy_dim_is(fy_in_dim(f, 1, rs - i), 1)) FY_TRY(fy_k_agree(f, fy_in_dim(f, 0, r - i), fy_in_dim(f, 1, rs - i), "sizes of x and skip"));
    for (int k = 2; k <= bias; k++) {
        if (!fy_in_has(f, k)) continue;
        FY_TRY(fy_k_rank(f, k, 1, 1, &rv));
        if (r > 0 && rv == 1) FY_TRY(fy_k_agree(f, fy_in_dim(f, 0, r - 1), fy_in_dim(f, k, 0), "hidden sizes of x and a parameter"));
    }
    FY_TRY(fy_k_like(f));
    const fy_dim *dim[3];
    for (int i = 0; i < r; i++) dim[i] = i < r - 1 ? fy_in_dim(f, 0, i) : fy_dim_const(f->dims, 1);
    for (int k = 1; k < f->nout && k < 3; k++) FY_TRY(fy_out_set(f, k, FERRY_FLOAT, r, r < 0 ? NULL : dim));
    return f->nout > 3 ? fy_out_like(f, 3, 0) : FY_OK;
}

static fy_status ref_skip(const fy_call *c) {
    bool rms = simplified(c->node);
    const fy_tensor *x = fy_arg(c, 0), *bias = fy_arg(c, rms ? 3 : 4), *beta = rms ? NULL : fy_arg(c, 3);
    fy_tensor sum, *out[3] = {fy_res(c, 0), rms ? fy_res(c, 2) : fy_res(c, 1), fy_res(c, 2)}, *keep = fy_res(c, 3);
    FY_NEED(c->e, fy_dtype_float(x->dtype), TYPE, "not defined on %s", fy_dtype_name(x->dtype));
    FY_TRY(fy_sub_room(c, &sum, FERRY_DOUBLE, x->rank, x->dim));
    const fy_tensor *first[2] = {x, fy_arg(c, 1)}, *second[2] = {&sum, bias}, *norm[3] = {&sum, fy_arg(c, 2), beta};
    FY_TRY(fy_sub_apply(c, &fy_op_add, 2, first, &sum));
    if (bias) FY_TRY(fy_sub_apply(c, &fy_op_add, 2, second, &sum));
    if (keep && fy_count(keep)) fy_store_f64(keep, 0, fy_count(keep), sum.data);
    fy_sub s;
    fy_sub_begin(&s, rms ? &fy_op_simplified_layer_normalization : &fy_op_layer_normalization, c->node);
    FY_TRY(fy_sub_run(c, &s, rms ? 2 : 3, norm, rms ? 2 : 3, out));
    fy_tensor *mean = fy_res(c, 1);
    for (int64_t i = 0; rms && mean && i < fy_count(mean); i++) fy_put_f64(mean, i, 0);      /* root mean square takes none away */
    return FY_OK;
}

#define EPSILON(text) {"epsilon", FY_ATTR_FLOAT, text}
static const fy_attr_spec skip_attrs[] = {EPSILON("1e-12"), {0}};
const fy_op fy_op_ms_skip_layer_normalization = {.name = "SkipLayerNormalization", .domain = MS, .attrs = skip_attrs, .min_in = 3, .max_in = 5, .min_out = 1,
    .max_out = 4, .first = 1, .since = 1, .types = "T=" FY_T_FLOAT "|T,T,T,T,T|T,f32,f32,T", .infer = infer_skip, .ref = ref_skip, .flags = FY_PURE};
const fy_op fy_op_ms_skip_simplified_layer_normalization = {.name = "SkipSimplifiedLayerNormalization", .domain = MS, .attrs = skip_attrs, .min_in = 3,
    .max_in = 4, .min_out = 1, .max_out = 4, .first = 1, .since = 1, .types = "T=" FY_T_FLOAT "|T,T,T,T|T,f32,f32,T", .infer = infer_skip, .ref = ref_skip,
    .flags = FY_PURE};

/* ---- Embed --------------------------------------------------------------------------------------------------------- */

/* Inputs 0 to 7 mean the same with and without quantisation. Segments may be left out in the middle, so the table counts only
 * input 0 as needed. */
static fy_status infer_embed_as(fy_infer *f, fy_dtype t) {
    int r, rank[8];
    for (int k = 2; k < 7; k++) FY_NEED(f->e, fy_in_has(f, k) || k == 4, GRAPH, "input %d is left out", k);
    for (int k = 0; k < 8; k++) FY_TRY(fy_k_rank(f, k, k == 5 || k == 6 ? 1 : 2, k == 5 || k == 6 ? 1 : 2, &rank[k]));
    FY_NEED(f->e, fy_in_has(f, 1) == fy_in_has(f, 4), GRAPH, "segment_ids and segment_embedding go together");
    for (int k = 1; k < 8; k++) {
        bool like_ids = k == 1 || k == 7;
        if (!fy_in_has(f, k) || rank[k] < 0) continue;
        for (int i = 0; like_ids && i < 2 && rank[0] == 2; i++) FY_TRY(fy_k_agree(f, fy_in_dim(f, 0, i), fy_in_dim(f, k, i), "sizes of input_ids and segment_ids or mask"));
        if (!like_ids && rank[2] == 2) FY_TRY(fy_k_agree(f, fy_in_dim(f, 2, 1), fy_in_dim(f, k, -1), "hidden sizes of the embeddings"));
    }
    if (fy_in_has(f, 8) && t == fy_in_dtype(f, 2)) {
        FY_TRY(fy_k_rank(f, 8, 2, 2, &r));
        if (r == 2 && rank[0] == 2) FY_TRY(fy_k_agree(f, fy_in_dim(f, 0, 1), fy_in_dim(f, 8, 1), "sequence lengths of input_ids and position_ids"));
        if (r == 2 && rank[0] == 2 && !fy_dim_is(fy_in_dim(f, 8, 0), 1))
            FY_TRY(fy_k_agree(f, fy_in_dim(f, 0, 0), fy_in_dim(f, 8, 0), "batch sizes of input_ids and position_ids"));
    }
    const fy_dim *dim[3] = {rank[0] == 2 ? fy_in_dim(f, 0, 0) : fy_dim_opaque(f->dims, "batch"), rank[0] == 2 ? fy_in_dim(f, 0, 1) : fy_dim_opaque(f->dims, "words"),
                            rank[2] == 2 ? fy_in_dim(f, 2, 1) : fy_dim_opaque(f->dims, "hidden")};
    FY_TRY(fy_out_set(f, 0, t, 3, dim));
    if (f->nout > 1) FY_TRY(fy_out_set(f, 1, FERRY_INT32, 1, dim));
    return f->nout > 2 ? fy_out_set(f, 2, t, 3, dim) : FY_OK;
}

static fy_status infer_embed(fy_infer *f) { return infer_embed_as(f, fy_in_dtype(f, 2)); }
static fy_status infer_q_embed(fy_infer *f) { return infer_embed_as(f, FERRY_FLOAT); }

/* sum += rows of `table` (dequantised: scale and zero inputs, -1 for none) by the ids of [B, S]. */
static fy_status embed(const fy_call *c, fy_tensor *sum, const fy_tensor *ids, int table, int scale, int zero) {
    const fy_tensor *t = fy_arg(c, table);
    int64_t d = sum->dim[2], words = sum->dim[0] * sum->dim[1], seq = sum->dim[1];
    double *row = FY_NEWN(c->scratch, double, d), *to = sum->data, factor = 1, z = 0;
    FY_NOMEM(c->e, row);
    if (scale >= 0) {
        FY_NEED(c->e, fy_arg(c, scale) && fy_count(fy_arg(c, scale)) == 1, SHAPE, "input %d is not one scale", scale);
        FY_NEED(c->e, fy_arg(c, zero) && fy_count(fy_arg(c, zero)) == 1, SHAPE, "input %d is not one zero point", zero);
        factor = fy_get_f64(fy_arg(c, scale), 0);
        z = fy_get_f64(fy_arg(c, zero), 0);
    }
    for (int64_t w = 0; w < words; w++) {
        int64_t id = !ids ? w % seq : fy_get_i64(ids, ids->dim[0] == 1 ? w % seq : w);
        FY_NEED(c->e, id >= 0 && id < t->dim[0], INDEX, "id %lld is outside the %lld rows of input %d", (long long)id, (long long)t->dim[0], table);
        if (d) fy_load_f64(row, t, id * d, d);
        for (int64_t i = 0; i < d; i++) to[w * d + i] += (row[i] - z) * factor;
    }
    return FY_OK;
}

static void count_words(const fy_call *c) {
    const fy_tensor *mask = fy_arg(c, 7);
    fy_tensor *index = fy_res(c, 1);
    for (int64_t b = 0; index && b < fy_count(index); b++) {
        int64_t n = 0;
        for (int64_t s = 0; mask && s < mask->dim[1]; s++) n += fy_get_i64(mask, b * mask->dim[1] + s) == 1;
        fy_put_i64(index, b, n);
    }
}

static fy_status ref_embed_as(const fy_call *c, bool quantised) {
    const fy_tensor *ids = fy_arg(c, 0);
    fy_tensor *y = fy_res(c, 0), *keep = fy_res(c, 2), sum, par[2];
    int64_t dim[3] = {ids->dim[0], ids->dim[1], fy_arg(c, 2)->dim[1]};
    fy_sub s;
    FY_TRY(fy_sub_room(c, &sum, FERRY_DOUBLE, 3, dim));                  /* zeroed, as all of scratch is */
    FY_TRY(embed(c, &sum, ids, 2, quantised ? 8 : -1, 13));
    FY_TRY(embed(c, &sum, quantised ? NULL : fy_arg(c, 8), 3, quantised ? 9 : -1, 14));
    if (fy_arg(c, 1)) FY_TRY(embed(c, &sum, fy_arg(c, 1), 4, quantised ? 10 : -1, 15));
    count_words(c);
    if (keep && fy_count(keep)) fy_store_f64(keep, 0, fy_count(keep), sum.data);
    if (!y || !fy_count(y)) return FY_OK;
    const fy_tensor *norm[3] = {&sum, fy_arg(c, 5), fy_arg(c, 6)};
    for (int i = 0; quantised && i < 2; i++) {
        const fy_tensor *q[3] = {fy_arg(c, 5 + i), fy_arg(c, 11 + i), fy_arg(c, 16 + i)};
        FY_TRY(fy_sub_room(c, &par[i], FERRY_DOUBLE, 1, q[0]->dim));
        FY_TRY(fy_sub_apply(c, &fy_op_dequantize_linear, 3, q, &par[i]));
        norm[1 + i] = &par[i];
    }
    fy_sub_begin(&s, &fy_op_layer_normalization, c->node);
    fy_sub_float(&s, "epsilon", fy_attr_f(c->node, "epsilon"));
    return fy_sub_run(c, &s, 3, norm, 1, &y);
}

static fy_status ref_embed(const fy_call *c) { return ref_embed_as(c, false); }
static fy_status ref_q_embed(const fy_call *c) { return ref_embed_as(c, true); }

static const fy_attr_spec embed_attrs[] = {EPSILON("1e-12"), {"mask_index_type", FY_ATTR_INT, "0"}, {0}};
const fy_op fy_op_ms_embed_layer_normalization = {.name = "EmbedLayerNormalization", .domain = MS, .attrs = embed_attrs, .min_in = 1, .max_in = 9,
    .min_out = 1, .max_out = 3, .first = 1, .since = 1, .types = "T=" FY_T_FLOAT "|i32,i32,T,T,T,T,T,i32,i32|T,i32,T", .infer = infer_embed, .ref = ref_embed,
    .flags = FY_PURE};
static const fy_attr_spec q_embed_attrs[] = {EPSILON("1e-12"), {0}};
const fy_op fy_op_ms_q_embed_layer_normalization = {.name = "QEmbedLayerNormalization", .domain = MS, .attrs = q_embed_attrs, .min_in = 1, .max_in = 18,
    .min_out = 2, .max_out = 2, .first = 1, .since = 1, .types = "Q=i8,u8|i32,i32,Q,Q,Q,Q,Q,i32,f32,f32,f32,f32,f32,Q,Q,Q,Q,Q|f32,i32",
    .infer = infer_q_embed, .ref = ref_q_embed, .flags = FY_PURE};

/* ---- GroupNorm: diffusion models, channels last by default ----------------------------------------------------------- */

static fy_status infer_group(fy_infer *f) {
    int r, rv;
    int64_t last = fy_attr_i(f->node, "channels_last"), groups = fy_attr_i(f->node, "groups"), act = fy_attr_i(f->node, "activation"), ch;
    FY_TRY(fy_k_rank(f, 0, 4, 4, &r));
    FY_NEED(f->e, groups >= 1, ATTR, "groups is %lld", (long long)groups);
    FY_NEED(f->e, act == 0 || act == 1, ATTR, "activation is %lld; it can be 0 (none) or 1 (SiLU)", (long long)act);
    const fy_dim *c = r == 4 ? fy_in_dim(f, 0, last ? 3 : 1) : NULL;
    if (c && fy_dim_known(c, &ch)) FY_NEED(f->e, ch % groups == 0, SHAPE, "%lld channels in %lld groups", (long long)ch, (long long)groups);
    for (int k = 1; k < 5; k++) {
        if (!fy_in_has(f, k) || k == 3) continue;
        FY_TRY(fy_k_rank(f, k, 1, 1, &rv));
        if (rv == 1) FY_TRY(fy_k_agree(f, c, fy_in_dim(f, k, 0), "channels and a parameter"));
    }
    FY_TRY(fy_k_like(f));
    return f->nout > 1 ? fy_out_like(f, 1, 0) : FY_OK;
}

/* skip [N,C] or [N,1,1,C] or like x; bias [C]: as they broadcast to x seen with channels first. */
static fy_status group_sum(const fy_call *c, const fy_tensor *x, fy_tensor *sum, bool last) {
    const fy_tensor *skip = fy_arg(c, 3), *bias = fy_arg(c, 4);
    fy_tensor to = *skip;
    int perm[4];
    if (skip->rank == 2) {
        to.rank = 4;
        for (int i = 2; i < 4; i++) { to.dim[i] = 1; to.stride[i] = 0; }
    } else if (last && skip->rank == 4) {
        fy_sub_channels_first(perm, 4);
        to = fy_sub_permute(skip, perm);
    }
    FY_NEED(c->e, to.rank == 4, SHAPE, "skip has rank %d", skip->rank);
    for (int i = 0; i < 4; i++) FY_NEED(c->e, to.dim[i] == x->dim[i] || (i > 1 && to.dim[i] == 1), SHAPE, "skip does not broadcast to x");
    const fy_tensor *both[2] = {x, &to};
    FY_TRY(fy_sub_apply(c, &fy_op_add, 2, both, sum));
    if (!bias) return FY_OK;
    fy_tensor b = {.dtype = bias->dtype, .rank = 3, .dim = {bias->dim[0], 1, 1}, .stride = {bias->stride[0], 0, 0}, .data = bias->data};
    const fy_tensor *more[2] = {sum, &b};
    return fy_sub_apply(c, &fy_op_add, 2, more, sum);
}

static fy_status ref_group(const fy_call *c) {
    fy_tensor x = *fy_arg(c, 0), *y = fy_res(c, 0), *keep = fy_res(c, 1), sum, norm, *to = &norm;
    bool last = fy_attr_i(c->node, "channels_last") != 0, skip = fy_arg(c, 3) != NULL;
    int first[4], back[4];
    fy_sub_channels_first(first, 4);
    fy_sub_channels_last(back, 4);
    if (last) x = fy_sub_permute(&x, first);
    if (skip) {
        FY_TRY(fy_sub_room(c, &sum, FERRY_DOUBLE, 4, x.dim));
        FY_TRY(group_sum(c, &x, &sum, last));
        x = sum;
        if (keep) {
            fy_tensor from = last ? fy_sub_permute(&sum, back) : sum;
            fy_tensor_copy(keep, &from);
        }
    }
    if (!y || !fy_count(y)) return FY_OK;
    FY_TRY(fy_sub_room(c, &norm, FERRY_DOUBLE, 4, x.dim));
    fy_sub s;
    fy_sub_begin(&s, &fy_op_group_normalization, c->node);
    fy_sub_int(&s, "num_groups", fy_attr_i(c->node, "groups"));
    const fy_tensor *in[3] = {&x, fy_arg(c, 1), fy_arg(c, 2)}, *on = &norm;
    FY_TRY(fy_sub_run(c, &s, 3, in, 1, &to));
    if (fy_attr_i(c->node, "activation")) FY_TRY(fy_sub_apply(c, &fy_op_swish, 1, &on, &norm));
    fy_tensor from = last ? fy_sub_permute(&norm, back) : norm;
    fy_tensor_copy(y, &from);
    return FY_OK;
}

static const fy_attr_spec group_attrs[] = {EPSILON("1e-5"), {"groups", FY_ATTR_INT, FY_REQUIRED}, {"activation", FY_ATTR_INT, FY_REQUIRED},
    {"channels_last", FY_ATTR_INT, "1"}, {0}};
const fy_op fy_op_ms_group_norm = {.name = "GroupNorm", .domain = MS, .attrs = group_attrs, .min_in = 3, .max_in = 3, .min_out = 1, .max_out = 1, .first = 1,
    .since = 1, .types = "T=" FY_T_FLOAT ";M=" FY_T_FLOAT "|T,M,M|T", .infer = infer_group, .ref = ref_group, .flags = FY_PURE};
const fy_op fy_op_ms_skip_group_norm = {.name = "SkipGroupNorm", .domain = MS, .attrs = group_attrs, .min_in = 4, .max_in = 5, .min_out = 1, .max_out = 2,
    .first = 1, .since = 1, .types = "T=" FY_T_FLOAT ";M=" FY_T_FLOAT "|T,M,M,T,T|T,T", .infer = infer_group, .ref = ref_group, .flags = FY_PURE};
