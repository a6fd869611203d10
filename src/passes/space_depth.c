/* SPDX-License-Identifier: Apache-2.0
 * space_depth.c - Reshape, Transpose, Reshape that move blocks of b x b between channels and space -> DepthToSpace (DCR: [N,b,b,C,H,W] by
 * 0,3,4,1,5,2; CRD: [N,C,b,b,H,W] by 0,1,4,2,5,3) or SpaceToDepth ([N,C,H,b,W,b] by 0,3,5,1,2,4; CRD, from opset 28: by 0,1,3,5,2,4). */
#include "passes/match.h"

#include <string.h>

static bool is_perm(const fy_node *t, const char *want) {
    int64_t n;
    const int64_t *p = fy_attr_ints(t, "perm", &n);
    if (!p || n != 6) return false;
    for (int i = 0; i < 6; i++)
        if (p[i] != want[i] - '0') return false;
    return true;
}

static bool rewrite(fy_rewriting *r, fy_node *n) {
    fy_node *t = fy_is(n, "Reshape") ? fy_from(n, 0, "Transpose") : NULL, *in = t ? fy_from(t, 0, "Reshape") : NULL;
    if (!in || !n->out[0] || !fy_sole(fy_in(n, 0)) || !fy_sole(fy_in(t, 0))) return false;
    fy_value *x = fy_in(in, 0), *mid = fy_in(t, 0), *y = n->out[0];
    if (fy_v_rank(x) != 4 || fy_v_rank(mid) != 6 || fy_v_rank(y) != 4) return false;
    const fy_dim *const *m = mid->type.dim;
    int64_t b, other;
    bool dcr = is_perm(t, "034152"), crd = is_perm(t, "014253"), out = is_perm(t, "035124"), out_crd = is_perm(t, "013524");
    int at = dcr ? 1 : crd ? 2 : 3, second = at == 3 ? 5 : at + 1;
    if (!dcr && !crd && !out && (!out_crd || r->opset < 28)) return false;
    if (!fy_dim_at(mid, at, &b) || !fy_dim_at(mid, second, &other) || b != other || b < 2 || m[0] != x->type.dim[0]) return false;
    fy_build k = fy_before(r, n);
    fy_attr attr[2] = {fy_int("blocksize", b), fy_text("mode", dcr || out ? "DCR" : "CRD")};
    fy_dims *p = r->m->dims;
    const fy_dim *c = fy_dim_known(x->type.dim[1], &other) ? x->type.dim[1] : NULL;
    if (!c) return false;
    if (dcr || crd) {                    /* the input is [N, C*b*b, H, W] */
        if (m[4] != x->type.dim[2] || m[5] != x->type.dim[3] || fy_dim_muli(p, m[dcr ? 3 : 1], b * b) != c) return false;
        if (y->type.dim[1] != m[dcr ? 3 : 1] || y->type.dim[2] != fy_dim_muli(p, m[4], b)) return false;
        return fy_became(r, &k, n, fy_emit(&k, "DepthToSpace", FY_V(x), FY_A(attr[0], attr[1])));
    }
    if (m[1] != c || fy_dim_muli(p, m[2], b) != x->type.dim[2] || y->type.dim[1] != fy_dim_muli(p, c, b * b) || y->type.dim[2] != m[2]) return false;
    return fy_became(r, &k, n, fy_emit(&k, "SpaceToDepth", FY_V(x), out_crd ? 2 : 1, attr));
}

fy_status fy_pass_space_depth(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) { return fy_each_node(m, o, changes, e, rewrite); }
