/* SPDX-License-Identifier: Apache-2.0
 * qdq.c - what quantised graphs look like: reading QuantizeLinear and DequantizeLinear, and bringing them into the form in which
 * implementations over bytes find them. */
#include "engines/cpu/qdq.h"

#include <math.h>
#include <string.h>

bool fy_qdq_is(const fy_node *n, const char *op) { return n && !*n->op->domain && !strcmp(n->op->name, op); }

bool fy_qdq_bytes(const fy_value *v) {
    return v && v->type.kind == FY_TENSOR && v->type.rank >= 0 && (v->type.dtype == FERRY_UINT8 || v->type.dtype == FERRY_INT8);
}

bool fy_qdq_params(const fy_node *n, fy_bytes *q) {
    bool down = fy_qdq_is(n, "QuantizeLinear");
    if (!down && !fy_qdq_is(n, "DequantizeLinear")) return false;
    const fy_value *b = down ? fy_outv(n, 0) : fy_in(n, 0), *f = down ? fy_in(n, 0) : fy_outv(n, 0), *s = fy_in(n, 1), *z = fy_in(n, 2);
    double scale, zero = 0;
    if (!fy_qdq_bytes(b) || !fy_cpu_f32(f) || !s || !s->constant || s->constant->count != 1 || s->type.dtype != FERRY_FLOAT || fy_attr_i(n, "block_size")) return false;
    if (z && (!z->constant || z->constant->count != 1 || !fy_const_f64(z->constant, 0, &zero))) return false;
    if (down && fy_attr_i(n, "precision") && fy_attr_i(n, "precision") != FERRY_FLOAT) return false;
    if (!fy_const_f64(s->constant, 0, &scale) || !(scale > 1e-30 && scale < 1e30)) return false;
    bool s8 = b->type.dtype == FERRY_INT8;
    *q = (fy_bytes){.scale = (float)scale, .zero = (int32_t)zero + (s8 ? 128 : 0), .flip = s8 ? 0x80 : 0};
    return true;
}

const fy_node *fy_qdq_from(const fy_value *v, fy_bytes *q) {
    return fy_cpu_inner(v) && fy_qdq_is(v->def, "DequantizeLinear") && v->def->graph == v->graph && fy_qdq_params(v->def, q) ? v->def : NULL;
}

static bool limits_of(const fy_node *n, fy_epilogue *e) {
    if (n->nout != 1 || !fy_cpu_activation(e, n) || e->act != FY_ACT_CLAMP) return false;
    return e->p[0] <= e->p[1];
}

const fy_node *fy_qdq_into(const fy_value *v, const fy_node **limits) {
    fy_epilogue e = {0};
    fy_bytes q;
    *limits = NULL;
    if (!fy_cpu_inner(v)) return NULL;
    const fy_node *n = v->uses->user;
    if (limits_of(n, &e)) {
        *limits = n;
        v = n->out[0];
        if (!fy_cpu_inner(v)) return NULL;
        n = v->uses->user;
    }
    return fy_qdq_is(n, "QuantizeLinear") && fy_in(n, 0) == v && fy_qdq_params(n, &q) ? n : NULL;
}

void fy_qdq_range(const fy_bytes *q, const fy_epilogue *e, float *lo, float *hi) {
    *lo = (float)-q->zero;
    *hi = (float)(255 - q->zero);
    if (e->act != FY_ACT_CLAMP) return;
    float low = rintf(e->p[0] / q->scale), high = rintf(e->p[1] / q->scale);       /* rounding keeps the order: limits may be rounded first */
    *lo = low > *hi ? *hi : low > *lo ? low : *lo;
    *hi = high < *lo ? *lo : high < *hi ? high : *hi;
}

bool fy_qdq_cover(fy_cover *c, const fy_node *n) {
    if (c->n == FY_COVER) return false;
    c->node[c->n++] = n;
    return true;
}

const char *fy_qdq_weights(const fy_value *v, int axis, fy_weights8 *w) {
    const fy_node *n = v ? v->def : NULL;
    double z;
    if (!fy_qdq_is(n, "DequantizeLinear") || !fy_cpu_inner(v)) return "the weights are not dequantised";
    const fy_value *x = fy_in(n, 0), *s = fy_in(n, 1), *zero = fy_in(n, 2);
    if (!fy_qdq_bytes(x) || !x->constant || !s || !s->constant || s->type.dtype != FERRY_FLOAT || !fy_cpu_f32(v) || x->type.rank < 2) return "the weights are no constant of bytes";
    int64_t at = fy_attr_i(n, "axis"), dim[FY_MAX_RANK];
    if (at < 0) at += x->type.rank;
    if (fy_attr_i(n, "block_size") || !fy_cpu_dims(x, dim)) return "weights with a scale for each block";
    if (s->constant->count != 1 && (s->type.rank != 1 || at != axis || s->constant->count != dim[axis])) return "the scales of the weights are not those of columns";
    for (int64_t i = 0; i < s->constant->count; i++)
        if (!fy_const_f64(s->constant, i, &z) || !(fabs(z) < 1e30) || (z != 0 && fabs(z) < 1e-30)) return "a scale of the weights is out of range";
    *w = (fy_weights8){.dq = n, .w = x, .scale = s, .flip = x->type.dtype == FERRY_UINT8 ? 0x80 : 0};
    if (zero && (!zero->constant || zero->constant->count > (1 << 20))) return "the zero points of the weights are no constants";
    for (int64_t i = 0; i < (zero ? zero->constant->count : 1); i++) {
        z = 0;
        if (zero && !fy_const_f64(zero->constant, i, &z)) return "the zero points of the weights are no constants";
        if (z != (w->flip ? 128 : 0)) return "weights that are not symmetric";
    }
    return NULL;
}

/* ---- before planning ------------------------------------------------------------------------------------------------------- */

typedef struct qdq { fy_model *m; fy_pool *pool; bool changed, oom; ferry_error *e; } qdq;

static bool byte_dequantize(const fy_node *n, fy_bytes *q) { return fy_qdq_is(n, "DequantizeLinear") && fy_qdq_params(n, q); }

static bool copy_attrs(fy_node *to, const fy_node *from) {
    for (int i = 0; i < from->nattr; i++)
        if (!fy_node_set_attr(to, &from->attr[i])) return false;
    return true;
}

/* A node like n in front of `before`, of another first input. */
static fy_node *another(const fy_node *n, fy_node *before, fy_value *x, int nout) {
    fy_value *in[16];
    if (n->nin > 16) return NULL;
    for (int i = 0; i < n->nin; i++) in[i] = i ? fy_in(n, i) : x;
    fy_node *y = fy_node_new(n->graph, before, n->op, n->nin, in, nout);
    if (!y || !copy_attrs(y, n)) return NULL;
    y->name = n->name;
    y->scope = n->scope;
    y->source = n->source;
    return y;
}

/* One reader each: every use beyond the first gets a DequantizeLinear of its own. */
static bool unshare(qdq *k, fy_node *n) {
    fy_value *v = n->out[0];
    for (fy_use *u = v->uses, *next; u; u = next) {
        next = u->next;
        if (v->nuses == 1 || !u->user || u->capture || u->user->graph != v->graph) continue;
        fy_node *own = another(n, n->next, fy_in(n, 0), 1);
        if (!own) { k->oom = true; return false; }
        own->out[0]->type = v->type;
        fy_node_set_input(u->user, u->slot, own->out[0]);
        k->changed = true;
    }
    return true;
}

/* Moves or picks elements of input 0 and computes nothing. */
static bool moves(const fy_node *n) {
    static const char *const names[] = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Slice", "Gather", "Expand", "MaxPool", "DepthToSpace", "SpaceToDepth", "Split", "Tile"};
    if (*n->op->domain || n->nin > 16) return false;
    for (int i = 0; i < FY_COUNT(names); i++)
        if (!strcmp(n->op->name, names[i])) return n->nout == 1 || (n->nout > 1 && !strcmp(names[i], "Split"));
    return false;
}

/* Every use of `was` is one of `by`; the name of an output stays. */
static void replace(fy_value *was, fy_value *by) {
    if (was->is_output) {
        by->name = was->name;
        was->name = NULL;
    }
    fy_value_replace(was, by);
}

/* A DequantizeLinear like dq of v, whose uses it takes over. */
static bool behind(qdq *k, const fy_node *dq, fy_node *after, fy_value *bytes, fy_value *was) {
    bytes->type = was->type;
    bytes->type.dtype = fy_in(dq, 0)->type.dtype;
    fy_node *own = another(dq, after->next, bytes, 1);
    if (!own) { k->oom = true; return false; }
    own->out[0]->type = was->type;
    replace(was, own->out[0]);
    return true;
}

/* move(dequantize(x)) is dequantize(move(x)). */
static bool sink(qdq *k, fy_node *dq) {
    if (!fy_cpu_inner(dq->out[0])) return false;
    fy_node *n = dq->out[0]->uses->user;
    if (fy_in(n, 0) != dq->out[0] || !moves(n)) return false;
    for (int i = 0; i < n->nout; i++)
        if (!n->out[i] || !fy_cpu_f32(n->out[i])) return false;
    fy_node *y = another(n, n, fy_in(dq, 0), n->nout);
    if (!y) { k->oom = true; return false; }
    for (int i = 0; i < n->nout && !k->oom; i++)
        if (!behind(k, dq, y, y->out[i], n->out[i])) return false;
    fy_node_remove(n);
    fy_node_remove(dq);
    return k->changed = true;
}

static bool same_params(const fy_bytes *a, const fy_bytes *b) { return !memcmp(&a->scale, &b->scale, sizeof a->scale) && a->zero == b->zero && a->flip == b->flip; }

/* concat(dequantize(x), ..) of one scale and zero point is dequantize(concat(x, ..)). */
static void sink_concat(qdq *k, fy_node *n) {
    fy_bytes first, q;
    fy_value *in[16];
    if (n->nin < 1 || n->nin > 16 || !fy_cpu_f32(n->out[0])) return;
    for (int i = 0; i < n->nin; i++) {
        const fy_node *dq = fy_qdq_from(fy_in(n, i), i ? &q : &first);
        if (!dq || (i && !same_params(&first, &q))) return;
        in[i] = fy_in(dq, 0);
    }
    const fy_node *dq = fy_in(n, 0)->def;
    fy_node *y = fy_node_new(n->graph, n, n->op, n->nin, in, 1);
    if (!y || !copy_attrs(y, n)) { k->oom = true; return; }
    y->name = n->name;
    if (!behind(k, dq, y, y->out[0], n->out[0])) return;
    fy_node_remove(n);
    k->changed = true;
}

/* quantize(dequantize(x)) of the same numbers is x. */
static bool undo(qdq *k, fy_node *n) {
    fy_bytes down, up;
    if (!fy_qdq_is(n, "QuantizeLinear") || !fy_qdq_params(n, &down) || !fy_in(n, 0)->def || !byte_dequantize(fy_in(n, 0)->def, &up)) return false;
    fy_value *x = fy_in(fy_in(n, 0)->def, 0);
    if (!same_params(&down, &up) || !fy_value_visible(x, n->graph)) return false;
    if (n->out[0]->is_output && (!x->def || x->is_output)) return false;
    replace(n->out[0], x);
    fy_node_remove(n);
    k->changed = true;
    return true;
}

static bool bytes_before(const fy_node *n, int i) {
    const fy_value *v = fy_in(n, i);
    fy_bytes q;
    return v && v->def && byte_dequantize(v->def, &q);
}

/* Is this DequantizeLinear of a constant what an implementation over bytes reads? */
static bool read_as_bytes(const fy_node *dq) {
    const fy_value *v = dq->out[0];
    fy_bytes q;
    fy_weights8 w;
    if (v->is_output || !v->uses || !v->uses->user || v->uses->capture) return true;
    const fy_node *n = v->uses->user;
    bool conv = fy_qdq_is(n, "Conv");
    if (!conv && !fy_qdq_is(n, "Gemm") && !fy_qdq_is(n, "MatMul")) return false;
    return v->uses->slot > 0 && bytes_before(n, 0) && !(conv ? fy_conv8_can(n, &q, &w) : fy_gemm8_can(n, &q, &w));
}

static fy_status constant_of(qdq *k, fy_node *n) {
    fy_interp it = {.pool = k->pool};
    fy_rval arg[3] = {{0}}, *in[3] = {0}, out = {0};
    fy_status s = FY_OK;
    for (int i = 0; !s && i < n->nin; i++) {
        if (!fy_in(n, i)) continue;
        arg[i].kind = FY_TENSOR;
        s = fy_const_tensor(&arg[i].t, fy_in(n, i)->constant, k->e);
        in[i] = &arg[i];
    }
    if (!s) s = fy_interp_node(&it, n, in, &out, k->e);
    if (!s) {
        const fy_const *c = fy_const_from(&k->m->arena, &out.t);
        fy_value *v = c ? fy_graph_add_const(n->graph, NULL, c) : NULL;
        if (!v) s = fy_nomem(k->e);
        else {
            fy_value_replace(n->out[0], v);
            fy_node_remove(n);
        }
    }
    for (int i = 0; i < 3; i++) fy_rval_free(&arg[i]);
    fy_rval_free(&out);
    return s;
}

static bool of_constants(const fy_node *n) {
    if (!fy_qdq_is(n, "DequantizeLinear") || n->nin > 3) return false;
    for (int i = 0; i < n->nin; i++)
        if (fy_in(n, i) && !fy_in(n, i)->constant) return false;
    return n->out[0] && fy_cpu_f32(n->out[0]);
}

static void round_of(qdq *k) {
    for (fy_node *n = k->m->graph->first, *next; n && !k->oom; n = next) {
        fy_bytes q;
        next = n->next;
        if (undo(k, n)) continue;
        if (fy_qdq_is(n, "Concat")) sink_concat(k, n);
        else if (byte_dequantize(n, &q) && unshare(k, n)) {
            const fy_node *reader = fy_cpu_inner(n->out[0]) ? n->out[0]->uses->user : NULL;
            fy_node *after = next ? next->next : NULL;
            if (sink(k, n) && next == reader) next = after;      /* it is gone */
        } else if (of_constants(n) && n->out[0]->nuses > 1) (void)unshare(k, n);
    }
}

/* Nodes that nobody reads any more. */
static void sweep(fy_graph *g) {
    for (fy_node *n = g->last, *prev; n; n = prev) {
        prev = n->prev;
        bool read = !(fy_qdq_is(n, "DequantizeLinear") || fy_qdq_is(n, "QuantizeLinear"));
        for (int i = 0; i < n->nout; i++) read |= n->out[i] && (n->out[i]->nuses || n->out[i]->is_output);
        if (!read) fy_node_remove(n);
    }
}

fy_status fy_qdq_prepare(fy_model *m, fy_pool *pool, ferry_error *e) {
    qdq k = {.m = m, .pool = pool, .changed = true, .e = e};
    bool any = false;
    for (const fy_node *n = m->graph->first; n && !any; n = n->next) any = fy_qdq_is(n, "DequantizeLinear");
    if (!any) return FY_OK;
    for (int i = 0; k.changed && i < 64; i++) {
        k.changed = false;
        round_of(&k);
        FY_NOMEM(e, !k.oom);
        sweep(m->graph);
    }
    for (fy_node *n = m->graph->first, *next; n; n = next) {
        next = n->next;
        if (of_constants(n) && !read_as_bytes(n)) FY_TRY(constant_of(&k, n));
    }
    return FY_OK;
}
