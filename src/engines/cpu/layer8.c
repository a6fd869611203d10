/* SPDX-License-Identifier: Apache-2.0
 * layer8.c - what convolutions and products over bytes share: finding them between DequantizeLinear and QuantizeLinear, and what becomes of
 * their sums. A residual that is quantised before it is added is rounded here as well, in registers.
 *
 *   sum   = Sum x w, exact; x u8, w s8 with zero point 0
 *   value = (sum - zero_x Sum w + bias / (s_x s_w)) s_x s_w / s_y      one f32 product where the graph has several roundings: results differ
 *                                                                      from it by one step where it stands next to the middle of two */
#include "engines/cpu/qdq.h"

#include "base/checked.h"

#include <math.h>
#include <string.h>

static bool one_of(const fy_node *n, const char *const *ops) {
    for (; n && *ops; ops++)
        if (fy_qdq_is(n, *ops)) return true;
    return false;
}

static bool set_limits(fy_epilogue *e, const fy_node *n) { return !n || fy_cpu_activation(e, n); }

static bool cover_bias(fy_layer8 *d, fy_cover *c) {
    const fy_value *b = fy_in(d->core, 2);
    if (!b) return true;
    if (b->constant) {
        d->bias = b;
        return fy_cpu_f32(b);
    }
    const fy_node *dq = b->def;
    if (!fy_qdq_is(dq, "DequantizeLinear") || !fy_cpu_inner(b) || fy_attr_i(dq, "block_size")) return false;
    const fy_value *x = fy_in(dq, 0), *s = fy_in(dq, 1), *z = fy_in(dq, 2);
    double zero;
    if (!x->constant || x->type.dtype != FERRY_INT32 || x->type.rank != 1 || !s->constant || s->type.dtype != FERRY_FLOAT || (s->constant->count != 1 && s->constant->count != x->constant->count)) return false;
    for (int64_t i = 0; z && i < (z->constant ? z->constant->count : 0); i++)
        if (!fy_const_f64(z->constant, i, &zero) || zero != 0) return false;
    if (z && !z->constant) return false;
    d->bias_dq = dq;
    d->bias = x;
    return fy_qdq_cover(c, dq);
}

static bool cover_core(fy_layer8 *d, fy_layer8_can *can, fy_cover *c) {
    if (can(d->core, &d->x, &d->w)) return false;
    const fy_node *dq = fy_in(d->core, 0)->def;
    c->in[c->nin++] = fy_in(dq, 0);
    return fy_qdq_cover(c, dq) && fy_qdq_cover(c, d->w.dq) && cover_bias(d, c);
}

/* The product whose quantised result is v, read by one DequantizeLinear (of which v is the result). */
static const fy_node *product_before(const fy_value *v, const char *const *ops, fy_layer8_can *can, fy_bytes *y, const fy_node **limits) {
    fy_bytes x;
    fy_weights8 w;
    const fy_node *dq = fy_qdq_from(v, y), *q = dq ? fy_in(dq, 0)->def : NULL, *n;
    if (!q || !fy_qdq_is(q, "QuantizeLinear") || !fy_cpu_inner(q->out[0]) || !fy_qdq_params(q, &x)) return NULL;
    fy_value *f = fy_in(q, 0);
    n = f->def;
    if (n && !one_of(n, ops)) n = fy_in(n, 0) ? fy_in(n, 0)->def : NULL;
    return one_of(n, ops) && fy_qdq_into(n->out[0], limits) == q && !can(n, &x, &w) ? n : NULL;
}

/* Which operand of an addition whose result is quantised is the product that takes it in; -1: none. The other one is bytes of its sizes, or a
 * constant row. */
static int joins(const fy_node *add, const char *const *ops, fy_layer8_can *can) {
    const fy_node *limits;
    fy_bytes q;
    if (!fy_qdq_is(add, "Add") || add->nin != 2 || !fy_qdq_into(add->out[0], &limits)) return -1;
    for (int i = 0; i < 2; i++) {
        const fy_value *v = fy_in(add, i), *r = fy_in(add, 1 - i);
        if (v == r || !product_before(v, ops, can, &q, &limits) || !fy_type_equal(&v->type, &add->out[0]->type)) continue;
        if (fy_qdq_from(r, &q) && fy_type_equal(&r->type, &v->type)) return i;
        if (r->constant && fy_cpu_f32(r) && v->type.rank > 0 && !fy_qdq_is(product_before(v, ops, can, &q, &limits), "Conv") && r->type.rank == 1 &&
            fy_dim_is(v->type.dim[v->type.rank - 1], r->constant->count)) return i;
    }
    return -1;
}

static bool cover_sum(fy_layer8 *d, const fy_node *add, int which, const char *const *ops, fy_layer8_can *can, fy_cover *c) {
    const fy_value *v = fy_in(add, which), *r = fy_in(add, 1 - which);
    const fy_node *limits = NULL;
    d->core = product_before(v, ops, can, &d->y, &limits);
    d->again = true;
    if (!set_limits(&d->limits, limits) || (limits && !fy_qdq_cover(c, limits)) || !cover_core(d, can, c)) return false;
    if (!fy_qdq_cover(c, d->core) || !fy_qdq_cover(c, fy_in(v->def, 0)->def) || !fy_qdq_cover(c, v->def) || !fy_qdq_cover(c, add)) return false;
    if (r->constant) {
        d->add_row = r;
        return true;
    }
    const fy_node *dq = fy_qdq_from(r, &d->add);
    d->add_in = c->nin;
    c->in[c->nin++] = fy_in(dq, 0);
    return fy_qdq_cover(c, dq);
}

static bool match(fy_layer8 *d, const fy_node *n, const char *const *ops, fy_layer8_can *can, fy_cover *c) {
    const fy_node *limits = NULL;
    if (one_of(n, ops)) {                                    /* the result is f32 */
        if (fy_qdq_into(n->out[0], &limits)) return false;
        d->core = n;
        return cover_core(d, can, c);
    }
    fy_bytes y;
    if (!fy_qdq_is(n, "QuantizeLinear") || !fy_qdq_params(n, &y) || !fy_cpu_inner(fy_in(n, 0))) return false;
    const fy_node *core = fy_in(n, 0)->def;
    if (core && !one_of(core, ops) && !fy_qdq_is(core, "Add") && fy_in(core, 0) && fy_in(core, 0)->def) core = fy_in(core, 0)->def;
    if (!core || fy_qdq_into(core->out[0], &limits) != n) return false;
    if (limits && !fy_qdq_cover(c, limits)) return false;
    d->root = n;
    if (fy_qdq_is(core, "Add")) {
        int which = joins(core, ops, can);
        d->y2 = y;
        return which >= 0 && set_limits(&d->limits2, limits) && cover_sum(d, core, which, ops, can, c);
    }
    if (!one_of(core, ops)) return false;
    if (fy_cpu_inner(n->out[0]) && fy_qdq_is(n->out[0]->uses->user, "DequantizeLinear")) {       /* left to the addition behind it? */
        const fy_value *v = n->out[0]->uses->user->out[0];
        const fy_node *add = fy_cpu_inner(v) ? v->uses->user : NULL;
        int which = add ? joins(add, ops, can) : -1;
        if (which >= 0 && fy_in(add, which) == v) return false;
    }
    d->core = core;
    d->y = y;
    return set_limits(&d->limits, limits) && fy_qdq_cover(c, core) && cover_core(d, can, c);
}

bool fy_layer8_cover(const fy_node *n, const char *const *ops, fy_layer8_can *can, fy_cover *c, fy_arena *a) {
    fy_layer8 d = {.add_in = -1}, *kept;
    if (!match(&d, n, ops, can, c) || !(kept = FY_NEW(a, fy_layer8))) return false;
    *kept = d;
    c->data = kept;
    return true;
}

/* ---- packing --------------------------------------------------------------------------------------------------------------- */

static fy_status constant(fy_tensor *t, const fy_value *v, ferry_error *e) {
    *t = (fy_tensor){0};
    return v ? fy_const_tensor(t, v->constant, e) : FY_OK;
}

static double at(const fy_tensor *t, int64_t i) { return fy_get_f64(t, fy_count(t) == 1 ? 0 : i); }

static void fill(fy_layer8 *d, const int32_t *sums, int64_t columns, const fy_tensor *ws, const fy_tensor *b, const fy_tensor *bs) {
    for (int64_t i = 0; i < columns; i++) {
        double s = (double)d->x.scale * at(ws, i), y = d->root ? (double)d->y.scale : 1;
        d->scale[i] = (float)(s / y);
        int64_t start = -(int64_t)d->x.zero * sums[i];
        if (d->bias) {
            double v = fy_get_f64(b, i), vs = bs->data ? at(bs, i) : 1;
            int64_t whole;
            bool exact = bs->data && fabs(vs - s) <= 1e-6 * fabs(s) && (whole = start + (int64_t)v) <= INT32_MAX && whole >= INT32_MIN;
            if (exact) start += (int64_t)v;
            else d->bias_f[i] = (float)(v * vs / y);
        }
        d->start[i] = (int32_t)start;
    }
}

int32_t *fy_layer8_room(fy_layer8 *d, fy_plan *p, int64_t bytes, int64_t sums, bool *filled) {
    size_t up, all;
    *filled = false;
    if (bytes < 0 || sums < 0 || !fy_mul_size(&all, (size_t)sums, sizeof(int32_t)) || !fy_add_size(&up, (size_t)bytes, 63) || !fy_add_size(&all, all, up / 64 * 64)) return NULL;
    d->packed = fy_plan_packed(p, all, filled);
    return d->packed ? (int32_t *)(void *)(d->packed + up / 64 * 64) : NULL;
}

fy_status fy_layer8_pack(fy_layer8 *d, const int32_t *sums, int64_t columns, int64_t padded, fy_arena *a, ferry_error *e) {
    fy_tensor ws, b = {0}, bs = {0}, row = {0};
    d->start = FY_NEWN(a, int32_t, padded);
    d->scale = FY_NEWN(a, float, padded);
    d->bias_f = d->bias ? FY_NEWN(a, float, padded) : NULL;
    d->row = d->add_row ? FY_NEWN(a, float, padded) : NULL;
    FY_NOMEM(e, d->start && d->scale && (d->bias_f || !d->bias) && (d->row || !d->add_row));
    FY_TRY(constant(&ws, d->w.scale, e));
    fy_status st = constant(&b, d->bias, e);
    if (!st) st = constant(&bs, d->bias_dq ? fy_in(d->bias_dq, 1) : NULL, e);
    if (!st) st = constant(&row, d->add_row, e);
    if (!st && d->bias && fy_count(&b) != columns) st = fy_fail(e, FY_E_SHAPE, "the bias has %lld values for %lld columns", (long long)fy_count(&b), (long long)columns);
    if (!st) fill(d, sums, columns, &ws, &b, &bs);
    for (int64_t i = 0; !st && d->row && i < columns; i++) d->row[i] = (float)(fy_get_f64(&row, i) / (double)d->y2.scale);
    bool any = false;
    for (int64_t i = 0; !st && d->bias_f && i < columns; i++) any |= d->bias_f[i] != 0;
    if (!any) d->bias_f = NULL;
    d->small = !any;
    for (int64_t i = 0; i < padded; i++) d->small &= d->scale[i] > -1 && d->scale[i] < 1;
    fy_tensor_free(&ws);
    fy_tensor_free(&b);
    fy_tensor_free(&bs);
    fy_tensor_free(&row);
    return st;
}

/* What is stored as bytes has the zero point of its own type. */
static int32_t stored(const fy_bytes *q) { return q->zero - (q->flip ? 128 : 0); }

fy_requant fy_layer8_requant(const fy_layer8 *d, const fy_epilogue *after) {
    fy_requant r = {.put = d->root ? FY_PUT_BYTE : FY_PUT_F32, .start = d->start, .scale = d->scale, .bias = d->bias_f, .again = d->again, .add_row = d->row, .small = d->small};
    if (!d->root) {
        r.lo = after->act == FY_ACT_CLAMP ? after->p[0] : -__builtin_inff();
        r.hi = after->act == FY_ACT_CLAMP ? after->p[1] : __builtin_inff();
        return r;
    }
    fy_qdq_range(&d->y, &d->limits, &r.lo, &r.hi);
    r.zero = stored(&d->y);
    if (!d->again) return r;
    fy_qdq_range(&d->y2, &d->limits2, &r.lo2, &r.hi2);
    r.zero2 = stored(&d->y2);
    r.k = (float)((double)d->y.scale / (double)d->y2.scale);
    r.k_add = (float)((double)d->add.scale / (double)d->y2.scale);
    r.add_flip = d->add.flip;
    r.add_zero = d->add.zero;
    return r;
}
