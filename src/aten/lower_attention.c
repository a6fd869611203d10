/* SPDX-License-Identifier: Apache-2.0
 * lower_attention.c - scaled_dot_product_attention and the kernels that decompositions name: ONNX Attention.
 *
 * query [.., H, L, E], key [.., Hkv, S, E], value [.., Hkv, S, Ev]; the mask broadcasts to [.., H, L, S], bool keeps where
 * true, float is added. is_causal is aligned top left in both. Grouped heads are native to Attention. */
#include "aten/lower.h"

#include <string.h>

/* [.., h, l, e] -> [N, h, l, e] */
static fy_value *to_rank4(fy_lower *l, fy_value *x, int rank) {
    const fy_dim *d[4];
    if (rank == 4 || !x) return x;
    if (rank < 4) return fy_l_unsqueeze_to(l, x, 4);
    d[0] = fy_l_k(l, 1);
    for (int i = 0; i < rank - 3; i++) d[0] = fy_dim_mul(l->m->dims, d[0], x->type.dim[i]);
    for (int i = 1; i < 4; i++) d[i] = x->type.dim[rank - 4 + i];
    return fy_l_reshape(l, x, 4, d);
}

fy_status fy_lower_attention(fy_lower *l) {
    fy_value *q = fy_l_tensor(l, "query"), *k = fy_l_tensor(l, "key"), *v = fy_l_tensor(l, "value");
    fy_value *mask = fy_l_has(l, "attn_mask") ? fy_l_tensor(l, "attn_mask") : fy_l_has(l, "attn_bias") ? fy_l_tensor(l, "attn_bias") : NULL;
    int rank = fy_rank(l, q), mr = mask ? fy_rank(l, mask) : 0;
    FY_L_OK(l);
    if (rank < 2 || rank != fy_rank(l, k) || rank != fy_rank(l, v)) return fy_l_fail(l, FY_E_SHAPE, "attention of ranks %d, %d, %d", rank, fy_rank(l, k), fy_rank(l, v));
    const fy_type out = q->type;
    const fy_dim *last = v->type.dim[rank - 1];
    if (rank == 3) {                                     /* [N, L, E]: one head each, so that a mask [N, L, S] still fits */
        q = fy_b_unsqueeze(&l->b, q, 1);
        k = fy_b_unsqueeze(&l->b, k, 1);
        v = fy_b_unsqueeze(&l->b, v, 1);
        if (mask && mr == 3) mask = fy_b_unsqueeze(&l->b, mask, 1);
    } else {
        q = to_rank4(l, q, rank);
        k = to_rank4(l, k, rank);
        v = to_rank4(l, v, rank);
        if (mask && mr > 4) mask = to_rank4(l, mask, mr);
    }
    FY_L_OK(l);
    if (mask && mask->type.dtype != FERRY_BOOL) mask = fy_b_cast(&l->b, mask, q->type.dtype);
    fy_attr attr[2];
    int na = 0;
    if (fy_l_has(l, "is_causal") && fy_l_bool(l, "is_causal")) attr[na++] = fy_int("is_causal", 1);
    if (fy_l_has(l, "scale")) attr[na++] = fy_float("scale", fy_l_float(l, "scale"));
    fy_value *y = fy_emit(&l->b, "Attention", FY_V(q, k, v, mask), na, attr);
    if (y && rank != 4) {
        const fy_dim *d[FY_MAX_RANK];
        for (int i = 0; i < rank; i++) d[i] = i == rank - 1 ? last : out.dim[i];
        y = fy_l_reshape(l, y, rank, d);
    }
    for (int i = 1; i < fy_l_nout(l); i++)
        if (fy_l_wanted(l, i)) return fy_l_fail(l, FY_E_UNSUPPORTED, "%s: an output other than the first is used", l->n->op);
    return fy_l_ret(l, y);
}
