/* SPDX-License-Identifier: Apache-2.0
 * view.c - operators whose result is their first input seen with other sizes, or a part of it: no data moves. */
#include "engines/cpu/move.h"

#define VIEW(var, Op) static const fy_impl var = {.op = Op, .name = "view", .flags = FY_IMPL_ALIAS};
VIEW(identity, "Identity")
VIEW(reshape, "Reshape")
VIEW(flatten, "Flatten")
VIEW(squeeze, "Squeeze")
VIEW(unsqueeze, "Unsqueeze")

/* One index along the first axis, or along one behind axes of size 1: the result lies there in one piece. */
static const char *can_part(const fy_site *s) {
    const fy_value *x = fy_in(s->node, 0), *at = fy_in(s->node, 1);
    int64_t axis = fy_attr_i(s->node, "axis");
    double index;
    if (!fy_movable(x)) return "elements of no whole bytes";
    if (!at->constant || at->constant->count != 1 || !fy_const_f64(at->constant, 0, &index)) return "not one constant index";
    if (axis < 0) axis += x->type.rank;
    for (int i = 0; i < axis; i++)
        if (!fy_dim_is(x->type.dim[i], 1)) return "the parts lie apart";
    return NULL;
}

static fy_status prepare_part(fy_step *s, fy_plan *p, fy_arena *a, ferry_error *e) {
    double index;
    (void)p;
    (void)a;
    FY_NEED(e, fy_const_f64(s->in[1]->constant, 0, &index), INTERNAL, "the index");
    FY_NEED(e, index > -0x1p53 && index < 0x1p53, INDEX, "index %g", index);
    s->part = (int64_t)index;
    s->in[1] = NULL;
    return FY_OK;
}

static const fy_impl part = {.op = "Gather", .name = "view", .can = can_part, .prepare = prepare_part, .flags = FY_IMPL_ALIAS};

const fy_impl *const fy_cpu_view[] = {&identity, &reshape, &flatten, &squeeze, &unsqueeze, &part, NULL};
