/* SPDX-License-Identifier: Apache-2.0
 * grad_move.c - gradients of operators that move data. Those that only rename sizes are undone by Reshape; for the others one rule: the
 * same operator moves the elements' numbers 1..n in the place of x, and dy is added up at the numbers that come out. Number 0, where an
 * operator fills in something else (Pad, Trilu), falls off. */
#include "ops/grad.h"

#include <string.h>

static void g_rename(fy_grad *g) { g->dx[0] = fy_g2(g, "Reshape", fy_gdy(g), fy_gshape(g, fy_gx(g, 0))); }

static void g_transpose(fy_grad *g) {
    int64_t n, inverse[FY_MAX_RANK];
    const int64_t *perm = fy_attr_ints(g->n, "perm", &n);
    for (int64_t i = 0; i < n && i < FY_MAX_RANK; i++)
        if (perm[i] >= 0 && perm[i] < n) inverse[perm[i]] = i;
    g->dx[0] = n ? fy_emit(g->b, "Transpose", FY_V(fy_gdy(g)), FY_A(fy_ints("perm", n, inverse))) : fy_g1(g, "Transpose", fy_gdy(g));
}

static void g_expand(fy_grad *g) { g->dx[0] = fy_gsum_to(g, fy_gdy(g), fy_gx(g, 0)); }

/* Each input gets the piece of dy that it put there. */
static void g_concat(fy_grad *g) {
    int nin = g->n->nin;
    int64_t axis = fy_attr_i(g->n, "axis");
    fy_value **size = FY_NEWN(&g->b->g->model->arena, fy_value *, nin);
    if (!size) {
        fy_fail_value(g->b, FY_E_NOMEM, "out of memory");
        return;
    }
    for (int i = 0; i < nin; i++) size[i] = fy_g2(g, "Gather", fy_gshape(g, fy_gx(g, i)), fy_k_ints(g->b, 1, &axis));
    fy_value *sizes = fy_emit(g->b, "Concat", nin, size, FY_A(fy_int("axis", 0)));
    fy_node *split = fy_emit_n(g->b, "Split", nin, FY_V(fy_gdy(g), sizes), FY_A(fy_int("axis", axis)));
    for (int i = 0; split && i < nin; i++)
        if (g->want[i]) g->dx[i] = split->out[i];
}

/* The operator applied to numbers, all its other inputs and attributes as they are. */
static void g_moved(fy_grad *g) {
    const fy_node *n = g->n;
    bool pad = !strcmp(n->op->name, "Pad"), pool = !strcmp(n->op->name, "MaxPool");
    fy_value *in[8], *x = fy_gx(g, 0), *one = fy_k_ints(g->b, 1, (int64_t[]){1}), *flat = fy_k_ints(g->b, 1, (int64_t[]){-1}), *sum = NULL;
    if (n->nin > 8) {
        fy_fail_value(g->b, FY_E_UNSUPPORTED, "%s has %d inputs", n->op->name, n->nin);
        return;
    }
    fy_value *count = fy_g2(g, "Add", fy_g1(g, "Size", x), fy_k_i64(g->b, 1));
    for (int i = 0; i < n->nin; i++) in[i] = fy_gx(g, i);
    if (!pool) in[0] = fy_g2(g, "Reshape", fy_emit(g->b, "Range", FY_V(fy_k_i64(g->b, 1), count, fy_k_i64(g->b, 1)), FY_NOATTR), fy_gshape(g, x));
    if (pad && n->nin > 2) in[2] = NULL;                                         /* the constant that fills: number 0 */
    fy_node *moved = fy_emit_n(g->b, n->op->name, pool ? 2 : n->nout, n->nin, in, n->nattr, n->attr);
    if (!moved) return;
    fy_value *room = fy_emit(g->b, "Expand", FY_V(fy_gk(g, x, 0), fy_g2(g, "Reshape", count, one)), FY_NOATTR);
    for (int i = 0; i < n->nout; i++) {
        if (!g->dy[i]) continue;
        fy_value *at = fy_g2(g, "Reshape", moved->out[pool ? 1 : i], flat), *d = fy_g2(g, "Reshape", g->dy[i], flat);
        if (pool) at = fy_g2(g, "Add", at, fy_k_i64(g->b, 1));
        fy_value *v = fy_emit(g->b, "ScatterElements", FY_V(room, at, d), FY_A(fy_int("axis", 0), fy_text("reduction", "add")));
        sum = sum ? fy_g2(g, "Add", sum, v) : v;
        if (pool) break;
    }
    fy_value *end = fy_k_ints(g->b, 1, (int64_t[]){INT64_MAX});
    g->dx[0] = fy_g2(g, "Reshape", fy_emit(g->b, "Slice", FY_V(sum, one, end), FY_NOATTR), fy_gshape(g, x));
}

const fy_grad_rule fy_grad_move[] = {
    {"Reshape", g_rename}, {"Flatten", g_rename}, {"Squeeze", g_rename}, {"Unsqueeze", g_rename}, {"Transpose", g_transpose}, {"Expand", g_expand},
    {"Concat", g_concat}, {"Slice", g_moved}, {"Split", g_moved}, {"Gather", g_moved}, {"GatherElements", g_moved}, {"GatherND", g_moved},
    {"Tile", g_moved}, {"Pad", g_moved}, {"Trilu", g_moved}, {"DepthToSpace", g_moved}, {"SpaceToDepth", g_moved}, {"Compress", g_moved},
    {"ReverseSequence", g_moved}, {"CenterCropPad", g_moved}, {"MaxPool", g_moved}, {NULL, NULL}};
