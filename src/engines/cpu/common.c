/* SPDX-License-Identifier: Apache-2.0
 * common.c - what the families of implementations share. */
#include "engines/cpu/cpu.h"

#include "base/checked.h"

#include <string.h>

bool fy_cpu_dims(const fy_value *v, int64_t *dim) {
    if (!v || v->type.kind != FY_TENSOR || v->type.rank < 0) return false;
    for (int i = 0; i < v->type.rank; i++)
        if (!fy_dim_known(v->type.dim[i], &dim[i])) dim[i] = -1;
    return true;
}

bool fy_cpu_f32(const fy_value *v) { return v && v->type.kind == FY_TENSOR && v->type.dtype == FERRY_FLOAT && v->type.rank >= 0; }
bool fy_cpu_inner(const fy_value *v) { return v && v->nuses == 1 && !v->is_output && v->uses->user && !v->uses->capture && v->uses->user->graph == v->graph; }

/* A scalar constant operand: Clip's limits, Min, Max. */
static bool scalar(const fy_value *v, float none, float *x) {
    double d;
    *x = none;
    if (!v) return true;
    if (!v->constant || v->constant->count != 1 || !fy_const_f64(v->constant, 0, &d)) return false;
    *x = (float)d;
    return true;
}

bool fy_cpu_activation(fy_epilogue *e, const fy_node *n) {
    static const struct { const char *op; fy_act act; const char *p0, *p1; } table[] = {
        {"Relu", FY_ACT_CLAMP, NULL, NULL}, {"LeakyRelu", FY_ACT_LEAKY, "alpha", NULL}, {"Sigmoid", FY_ACT_SIGMOID, NULL, NULL}, {"Tanh", FY_ACT_TANH, NULL, NULL},
        {"Swish", FY_ACT_SWISH, "alpha", NULL}, {"HardSwish", FY_ACT_HARD_SWISH, NULL, NULL}, {"HardSigmoid", FY_ACT_HARD_SIGMOID, "alpha", "beta"},
        {"Elu", FY_ACT_ELU, "alpha", NULL}, {"Erf", FY_ACT_ERF, NULL, NULL}, {"Exp", FY_ACT_EXP, NULL, NULL}, {"Log", FY_ACT_LOG, NULL, NULL},
        {"Sqrt", FY_ACT_SQRT, NULL, NULL}, {"Reciprocal", FY_ACT_RECIP, NULL, NULL}, {"Abs", FY_ACT_ABS, NULL, NULL}, {"Neg", FY_ACT_NEG, NULL, NULL},
        {"Ceil", FY_ACT_CEIL, NULL, NULL}, {"Floor", FY_ACT_FLOOR, NULL, NULL}, {"Round", FY_ACT_ROUND, NULL, NULL},
        {"Sin", FY_ACT_SIN, NULL, NULL}, {"Cos", FY_ACT_COS, NULL, NULL}, {"Softplus", FY_ACT_SOFTPLUS, NULL, NULL}, {"Mish", FY_ACT_MISH, NULL, NULL},
    };
    if (*n->op->domain || !fy_cpu_f32(fy_in(n, 0)) || !fy_cpu_f32(fy_outv(n, 0))) return false;
    if (!strcmp(n->op->name, "Clip")) {
        e->act = FY_ACT_CLAMP;
        return scalar(fy_in(n, 1), -__builtin_inff(), &e->p[0]) && scalar(fy_in(n, 2), __builtin_inff(), &e->p[1]);
    }
    if (!strcmp(n->op->name, "Gelu")) {
        e->act = fy_attr_is(n, "approximate", "tanh") ? FY_ACT_GELU_TANH : FY_ACT_GELU;
        return true;
    }
    for (int i = 0; i < FY_COUNT(table); i++) {
        if (strcmp(table[i].op, n->op->name)) continue;
        e->act = table[i].act;
        if (e->act == FY_ACT_CLAMP) { e->p[0] = 0; e->p[1] = __builtin_inff(); }
        if (table[i].p0) e->p[0] = (float)fy_attr_f(n, table[i].p0);
        if (table[i].p1) e->p[1] = (float)fy_attr_f(n, table[i].p1);
        return true;
    }
    return false;
}

bool fy_cpu_keeps_padding(fy_act a) { return a != FY_ACT_LOG && a != FY_ACT_RECIP && a != FY_ACT_RSQRT; }

void fy_cpu_finish(const fy_step *s, const fy_exec *x, float *y, int64_t n) {
    if (s->epilogue.act > FY_ACT_CLAMP) x->k->unary[s->epilogue.act](y, y, n, s->epilogue.p);
}

fy_status fy_cpu_room(void **room, fy_exec *x, const int64_t *factor, int n, ferry_error *e) {
    int64_t bytes = 1;
    bool fits = true;
    for (int i = 0; i < n; i++) fits = fits && fy_mul_i64(&bytes, bytes, factor[i]);
    FY_NEED(e, fits && bytes <= x->max_bytes, LIMIT, "a step would need more than %lld bytes for itself", (long long)x->max_bytes);
    *room = fy_exec_scratch(x, (size_t)bytes + 128);
    FY_NOMEM(e, *room);
    return FY_OK;
}
