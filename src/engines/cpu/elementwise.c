/* SPDX-License-Identifier: Apache-2.0
 * elementwise.c - f32 functions of one value, in any layout. */
#include "engines/cpu/cpu.h"

#include <string.h>

typedef struct work { const fy_step *s; const fy_exec *x; const float *from; float *to; } work;

static const char *can_unary(const fy_site *s) {
    fy_epilogue e = {0};
    return fy_cpu_activation(&e, s->node) ? NULL : "not f32, or operands are no constants";
}

/* The lanes that pad channels hold zeros: functions without a finite value there stay out of blocks. */
static void layouts(const fy_site *s, fy_layout *in, fy_layout *out) {
    fy_epilogue e = {0};
    if (fy_cpu_activation(&e, s->node) && fy_cpu_keeps_padding(e.act)) in[0] = *out = s->layout[0];
}

/* 1 / sqrt(x) in one. */
static bool fuse_root(fy_step *s, const fy_node *next, const fy_value **other) {
    (void)other;
    return !s->nfused && !*next->op->domain && !strcmp(next->op->name, "Reciprocal") && fy_cpu_f32(fy_outv(next, 0));
}

static fy_status prepare(fy_step *s, fy_plan *p, fy_arena *a, ferry_error *e) {
    (void)p;
    (void)a;
    FY_NEED(e, fy_cpu_activation(&s->epilogue, s->node), INTERNAL, "%s is no activation", s->node->op->name);
    if (s->nfused) s->epilogue.act = FY_ACT_RSQRT;
    for (int i = 1; i < s->nin; i++) s->in[i] = NULL;        /* constants: in the parameters */
    return FY_OK;
}

static void piece(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    w->x->k->unary[w->s->epilogue.act](w->to + begin, w->from + begin, end - begin, w->s->epilogue.p);
}

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *a = fy_step_in(s, x, 0);
    fy_tensor *y = fy_step_out(s, x, 0);
    (void)e;
    work w = {s, x, a->data, y->data};
    fy_for(x->pool, fy_layout_count(s->out_layout, y->rank, y->dim), 16384, piece, &w);
    return FY_OK;
}

#define UNARY(var, Op) static const fy_impl var = {.op = Op, .name = "unary", .can = can_unary, .layouts = layouts, .prepare = prepare, .run = run, .flags = FY_IMPL_INPLACE};
UNARY(relu, "Relu")
UNARY(clip, "Clip")
UNARY(leaky, "LeakyRelu")
UNARY(sigmoid, "Sigmoid")
UNARY(hyperbolic, "Tanh")
UNARY(swish, "Swish")
UNARY(hard_swish, "HardSwish")
UNARY(hard_sigmoid, "HardSigmoid")
UNARY(gelu, "Gelu")
UNARY(elu, "Elu")
UNARY(error_function, "Erf")
UNARY(exponential, "Exp")
UNARY(logarithm, "Log")
UNARY(reciprocal, "Reciprocal")
UNARY(absolute, "Abs")
UNARY(negative, "Neg")
UNARY(ceiling, "Ceil")
UNARY(floored, "Floor")
UNARY(rounded, "Round")
UNARY(sine, "Sin")
UNARY(cosine, "Cos")
UNARY(softplus, "Softplus")
UNARY(mish, "Mish")
/* Plain: where a channel is padding, 1 / sqrt(0) would be no finite value. */
static const fy_impl root = {.op = "Sqrt", .name = "unary", .can = can_unary, .fuse = fuse_root, .prepare = prepare, .run = run, .flags = FY_IMPL_INPLACE};

const fy_impl *const fy_cpu_elementwise[] = {&relu, &clip, &leaky, &sigmoid, &hyperbolic, &swish, &hard_swish, &hard_sigmoid, &gelu, &elu, &error_function, &exponential, &logarithm, &root, &reciprocal, &absolute, &negative, &ceiling, &floored, &rounded, &sine, &cosine, &softplus, &mish, NULL};
