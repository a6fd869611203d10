/* SPDX-License-Identifier: Apache-2.0
 * integer.c - the operators over integers by their inputs, the chain that dynamic quantisation writes, and rows of sums in all forms of results. */
#include "engines/cpu/integer.h"

#include "ops/quant.h"

#include <string.h>

const fy_integer_form *fy_integer_form_of(const fy_node *n) {
    static const fy_integer_form forms[] = {
        {"MatMulInteger", "", {0, -1, 2, 1, -1, 3, -1, -1, -1}, FY_PUT_I32},
        {"MatMulIntegerToFloat", "com.microsoft", {0, 2, 4, 1, 3, 5, 6, -1, -1}, FY_PUT_F32},
        {"QLinearMatMul", "", {0, 1, 2, 3, 4, 5, -1, 6, 7}, FY_PUT_BYTE},
        {"ConvInteger", "", {0, -1, 2, 1, -1, 3, -1, -1, -1}, FY_PUT_I32},
        {"QLinearConv", "", {0, 1, 2, 3, 4, 5, 8, 6, 7}, FY_PUT_BYTE},
    };
    for (int i = 0; i < FY_COUNT(forms); i++)
        if (!strcmp(n->op->name, forms[i].op) && !strcmp(n->op->domain, forms[i].domain)) return &forms[i];
    return NULL;
}

/* ---- Cast, Mul ------------------------------------------------------------------------------------------------------------ */

const int8_t fy_integer_chain_at[FY_ROLES] = {0, 2, 4, 1, 3, 5, -1, -1, -1};

bool fy_integer_chain(const fy_node *n, const char *op, fy_cover *c) {
    if (!fy_qdq_is(n, "Mul") || n->nin != 2 || !fy_cpu_f32(n->out[0])) return false;
    for (int i = 0; i < 2; i++) {
        const fy_value *v = fy_in(n, i), *scale = fy_in(n, 1 - i);
        const fy_node *cast = v ? v->def : NULL, *core = fy_qdq_is(cast, "Cast") && fy_cpu_inner(v) && fy_cpu_f32(v) ? fy_in(cast, 0)->def : NULL;
        if (!fy_qdq_is(core, op) || !fy_cpu_inner(core->out[0]) || !fy_cpu_f32(scale) || scale == v) continue;
        const fy_node *product = scale->def;
        bool both = fy_qdq_is(product, "Mul") && product->nin == 2 && fy_cpu_inner(scale);
        c->in[0] = fy_in(core, 0);
        c->in[1] = fy_in(core, 1);
        c->in[2] = both ? fy_in(product, 0) : scale;
        c->in[3] = both ? fy_in(product, 1) : NULL;
        c->in[4] = fy_in(core, 2);
        c->in[5] = fy_in(core, 3);
        c->nin = 6;
        if (both && !fy_integer_one(c->in[2])) {             /* the weights' scales are the many ones */
            c->in[2] = fy_in(product, 1);
            c->in[3] = fy_in(product, 0);
        }
        return fy_qdq_cover(c, cast) && fy_qdq_cover(c, core) && (!both || fy_qdq_cover(c, product));
    }
    return false;
}

/* ---- numbers of the run ----------------------------------------------------------------------------------------------------- */

bool fy_integer_one(const fy_value *v) {
    if (!v) return true;
    for (int i = 0; i < v->type.rank; i++)
        if (!fy_dim_is(v->type.dim[i], 1)) return false;
    return v->type.kind == FY_TENSOR && v->type.rank >= 0;
}

int32_t fy_integer_zero(const fy_tensor *zero, int64_t i) { return zero ? (int32_t)fy_get_i64(zero, fy_count(zero) == 1 ? 0 : i) : 0; }

static double element(const fy_tensor *t, int64_t i) { return t ? fy_get_f64(t, fy_count(t) == 1 ? 0 : i) : 1; }

float fy_integer_scale(const fy_step *s, const fy_exec *x, int64_t i) {
    return (float)fy_quant_scale(element(fy_integer_in(s, x, FY_X_SCALE), i), element(fy_integer_in(s, x, FY_W_SCALE), i), element(fy_integer_in(s, x, FY_Y_SCALE), 0));
}

void *fy_cut_take(fy_cut *c, int64_t bytes) {
    void *p = c->at ? c->at + c->used : NULL;
    c->used += (bytes + 63) / 64 * 64;
    return p;
}

/* ---- sums -------------------------------------------------------------------------------------------------------------------- */

enum { BLOCK = 512 };

static void block(const fy_sums8 *q, char *y, const int32_t *sums, int64_t at, int64_t n, int32_t times) {
    union { int32_t i[BLOCK]; float f[BLOCK]; } v;
    const fy_loops *l = &q->k->loops;
    const int32_t *from = sums;
    const int one = q->one ? 2 : 0;
    const int64_t c = q->one ? 0 : at;
    if (q->by) {
        l->pair[FY_LOOP_MUL][FY_NUMBER_I32](v.i, q->by + at, &times, n, 2);
        l->pair[FY_LOOP_SUB][FY_NUMBER_I32](v.i, sums, v.i, n, 0);
        from = v.i;
    }
    if (q->put == FY_PUT_I32) {
        if (from != (const int32_t *)(void *)y) memcpy(y, from, (size_t)n * sizeof *from);
        return;
    }
    l->cast[FY_NUMBER_I32][FY_NUMBER_F32](v.f, from, n);
    l->pair[FY_LOOP_MUL][FY_NUMBER_F32](v.f, v.f, q->scale + c, n, one);
    if (q->bias) l->pair[FY_LOOP_ADD][FY_NUMBER_F32](v.f, v.f, q->bias + c, n, one);
    if (q->put == FY_PUT_F32) {
        if (q->add) l->pair[FY_LOOP_ADD][FY_NUMBER_F32](v.f, v.f, q->add + at, n, 0);
        q->k->unary[FY_ACT_CLAMP]((float *)(void *)y, v.f, n, (const float[]){q->lo, q->hi});
        return;
    }
    q->k->unary[FY_ACT_ROUND](v.f, v.f, n, NULL);
    l->pair[FY_LOOP_ADD][FY_NUMBER_F32](v.f, v.f, &q->zero, n, 2);
    l->cast[FY_NUMBER_F32][q->s8 ? FY_NUMBER_I8 : FY_NUMBER_U8](y, v.f, n);      /* saturates */
}

void fy_sums8_put(const fy_sums8 *q, void *y, const int32_t *sums, int64_t n, int32_t times) {
    const int64_t size = q->put == FY_PUT_BYTE ? 1 : 4;
    for (int64_t at = 0; at < n; at += BLOCK) block(q, (char *)y + at * size, sums + at, at, n - at < BLOCK ? n - at : BLOCK, times);
}
