/* SPDX-License-Identifier: Apache-2.0
 * bytes.c - what works byte by byte: QuantizeLinear, DequantizeLinear; anything that computes one byte from one byte, however many nodes it is, as a
 * table of 256 made by the reference kernels; Add and Mul of two tensors of bytes. Any layout. */
#include "engines/cpu/move.h"
#include "engines/cpu/qdq.h"

#include <string.h>

static void same_layout(const fy_site *s, fy_layout *in, fy_layout *out) { in[0] = *out = s->sized ? s->layout[0] : FY_PLAIN; }

static int64_t elements(const fy_step *s, const fy_tensor *t) { return fy_layout_count(s->out_layout, t->rank, t->dim); }

/* ---- to and from bytes ------------------------------------------------------------------------------------------------------ */

FY_COLD static const char *can_linear(const fy_site *s) {
    fy_bytes q;
    return fy_qdq_params(s->node, &q) ? NULL : "not between f32 and bytes with one constant scale";
}

typedef struct linear { const fy_kernels *k; const void *x; void *y; fy_bytes q; bool down; } linear;

static void linear_piece(void *arg, int64_t begin, int64_t end) {
    const linear *w = arg;
    if (w->down) w->k->quantize_bytes((uint8_t *)w->y + begin, (const float *)w->x + begin, end - begin, &w->q);
    else w->k->dequantize_bytes((float *)w->y + begin, (const uint8_t *)w->x + begin, end - begin, &w->q);
}

static fy_status run_linear(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0);
    linear w = {.k = x->k, .x = in->data, .y = fy_step_out(s, x, 0)->data, .down = fy_qdq_is(s->node, "QuantizeLinear")};
    (void)e;
    if (fy_qdq_params(s->node, &w.q)) fy_for(x->pool, elements(s, in), 16384, linear_piece, &w);
    return FY_OK;
}

/* ---- one byte from one byte -------------------------------------------------------------------------------------------------- */

static bool elementwise(const fy_node *n) {
    static const char *const names[] = {"Relu", "LeakyRelu", "Sigmoid", "Tanh", "Swish", "HardSwish", "HardSigmoid", "Elu", "Selu", "Celu", "Erf", "Exp", "Log", "Sqrt", "Reciprocal", "Abs", "Neg", "Ceil",
                                        "Floor", "Round", "Sin", "Cos", "Softplus", "Softsign", "Mish", "Gelu", "Clip", "Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Identity"};
    fy_bytes q;
    if (*n->op->domain || n->nin > 8 || n->nout != 1 || !n->out[0]) return false;
    if (fy_qdq_params(n, &q)) return true;
    for (int i = 0; i < FY_COUNT(names); i++)
        if (!strcmp(n->op->name, names[i])) return fy_cpu_f32(n->out[0]);
    return false;
}

typedef struct region { const fy_node *node[FY_COVER + 1]; const fy_value *open[FY_COVER + 1]; int n, nopen; } region;

static bool in_region(const region *r, const fy_node *n) {
    for (int i = 0; i < r->n; i++)
        if (r->node[i] == n) return true;
    return false;
}

/* Read by nodes of the region alone. */
static bool closed(const region *r, const fy_value *v) {
    if (v->is_output) return false;
    for (const fy_use *u = v->uses; u; u = u->next)
        if (!u->user || u->capture || !in_region(r, u->user)) return false;
    return true;
}

/* A node more; its computed operands are open then. Constants must be numbers. */
static bool take(region *r, const fy_node *n) {
    if (r->n == FY_COVER + 1) return false;
    r->node[r->n++] = n;
    for (int i = 0; i < n->nin; i++) {
        const fy_value *v = fy_in(n, i);
        bool known = false;
        if (!v) continue;
        if (v->constant) {
            if (v->constant->count != 1 || v->type.rank > n->out[0]->type.rank) return false;
            continue;
        }
        for (int k = 0; k < r->nopen; k++) known |= r->open[k] == v;
        if (known) continue;
        if (r->nopen == FY_COVER || v->type.kind != FY_TENSOR || v->type.rank != n->out[0]->type.rank) return false;
        for (int d = 0; d < v->type.rank; d++)
            if (v->type.dim[d] != n->out[0]->type.dim[d]) return false;
        r->open[r->nopen++] = v;
    }
    return true;
}

typedef struct table { uint8_t at[256]; } table;

/* The largest region before the QuantizeLinear that one tensor of bytes alone goes into. */
FY_COLD static bool cover_table(const fy_node *n, fy_cover *c, fy_arena *a) {
    region r = {0};
    fy_bytes q;
    int best = 0;
    const fy_value *source = NULL;
    if (!fy_qdq_params(n, &q) || !take(&r, n)) return false;
    for (bool going = true; going;) {
        going = false;
        for (int i = 0; i < r.nopen; i++) {
            const fy_value *v = r.open[i];
            if (!v->def || v->def->graph != n->graph || !closed(&r, v) || !elementwise(v->def)) continue;
            r.open[i] = r.open[--r.nopen];
            if (!take(&r, v->def)) { r.nopen = 0; break; }
            going = true;
            if (r.nopen == 1 && fy_qdq_bytes(r.open[0])) {
                best = r.n;
                source = r.open[0];
            }
            break;
        }
    }
    if (!source || !(c->data = FY_NEW(a, table))) return false;
    for (int i = 1; i < best; i++)
        if (!fy_qdq_cover(c, r.node[i])) return false;
    c->in[c->nin++] = source;
    return true;
}

typedef struct known { const fy_value *v; fy_rval r; } known;

static fy_status evaluate(const fy_interp *it, known *k, int *n, const fy_node *node, ferry_error *e) {
    fy_rval *in[8] = {0}, own[8] = {{0}}, out = {0};
    fy_status st = node->nin <= 8 ? FY_OK : fy_fail(e, FY_E_INTERNAL, "a node of many operands in a table");
    for (int i = 0; !st && i < node->nin; i++) {
        const fy_value *v = fy_in(node, i);
        for (int j = 0; v && j < *n; j++)
            if (k[j].v == v) in[i] = &k[j].r;
        if (!v || in[i]) continue;
        own[i].kind = FY_TENSOR;
        in[i] = &own[i];
        st = fy_const_tensor(&own[i].t, v->constant, e);
    }
    if (!st) st = fy_interp_node(it, node, in, &out, e);
    for (int i = 0; i < 8; i++) fy_rval_free(&own[i]);
    if (!st) k[(*n)++] = (known){node->out[0], out};
    return st;
}

FY_COLD static fy_status prepare_table(fy_step *s, fy_plan *p, fy_arena *a, ferry_error *e) {
    table *t = s->data;
    const fy_interp it = {.hooks = p->o.hooks};
    known k[FY_COVER + 2] = {{0}};
    const fy_value *x = s->cover->in[0];
    int n = 0;
    int64_t dim[FY_MAX_RANK];
    (void)a;
    for (int i = 0; i < x->type.rank; i++) dim[i] = i == x->type.rank - 1 ? 256 : 1;
    k[0] = (known){x, {.kind = FY_TENSOR}};
    FY_TRY(fy_tensor_new(&k[0].r.t, x->type.dtype, x->type.rank, dim, e));
    n = 1;
    for (int i = 0; i < 256; i++) ((uint8_t *)k[0].r.t.data)[i] = (uint8_t)i;
    fy_status st = FY_OK;
    for (int i = 0; !st && i < s->cover->n; i++) st = evaluate(&it, k, &n, s->cover->node[i], e);
    if (!st) st = evaluate(&it, k, &n, s->node, e);
    if (!st && (fy_count(&k[n - 1].r.t) != 256 || !fy_contiguous(&k[n - 1].r.t))) st = fy_fail(e, FY_E_INTERNAL, "a table of other than 256 bytes");
    if (!st) memcpy(t->at, k[n - 1].r.t.data, 256);
    for (int i = 0; i < n; i++) fy_rval_free(&k[i].r);
    return st;
}

typedef struct looking { const uint8_t *x, *at; uint8_t *y; } looking;

static void look_up(void *arg, int64_t begin, int64_t end) {
    const looking *w = arg;
    const uint8_t *restrict at = w->at;
    const uint8_t *x = w->x;
    uint8_t *y = w->y;                   /* it may be x: in place */
    for (; begin + 4 <= end; begin += 4) {
        const uint8_t a = at[x[begin]], b = at[x[begin + 1]], c = at[x[begin + 2]], d = at[x[begin + 3]];
        y[begin] = a;
        y[begin + 1] = b;
        y[begin + 2] = c;
        y[begin + 3] = d;
    }
    for (; begin < end; begin++) y[begin] = at[x[begin]];
}

static fy_status run_table(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0);
    looking w = {.x = in->data, .at = ((const table *)s->data)->at, .y = fy_step_out(s, x, 0)->data};
    (void)e;
    fy_for(x->pool, elements(s, in), 32768, look_up, &w);
    return FY_OK;
}

/* ---- one byte from two ------------------------------------------------------------------------------------------------------- */

FY_COLD static bool cover_binary(const fy_node *n, fy_cover *c, fy_arena *a) {
    fy_bytes y, q[2];
    fy_epilogue e = {0};
    const fy_node *limits = NULL;
    if (!fy_qdq_params(n, &y) || !fy_in(n, 0)->def) return false;
    const fy_node *op = fy_in(n, 0)->def;
    if (!fy_qdq_is(op, "Add") && !fy_qdq_is(op, "Mul") && !fy_qdq_is(op, "Sub") && fy_in(op, 0) && fy_in(op, 0)->def) op = fy_in(op, 0)->def;
    bool product = fy_qdq_is(op, "Mul"), minus = fy_qdq_is(op, "Sub");
    if ((!product && !minus && !fy_qdq_is(op, "Add")) || op->nin != 2 || fy_qdq_into(op->out[0], &limits) != n) return false;
    if (limits && (!fy_cpu_activation(&e, limits) || !fy_qdq_cover(c, limits))) return false;
    for (int i = 0; i < 2; i++) {
        const fy_node *dq = fy_qdq_from(fy_in(op, i), &q[i]);
        if (!dq || !fy_qdq_cover(c, dq)) return false;
        c->in[c->nin++] = fy_in(dq, 0);
    }
    fy_byte_binary *d = FY_NEW(a, fy_byte_binary);
    if (!d || !fy_qdq_cover(c, op)) return false;
    double ka = (double)q[0].scale / (double)y.scale, kb = (double)q[1].scale / (double)y.scale;
    *d = (fy_byte_binary){.a = q[0], .b = q[1], .zero = y.zero - (y.flip ? 128 : 0), .product = product};
    d->a.scale = (float)(product ? ka * (double)q[1].scale : ka);
    d->b.scale = (float)(minus ? -kb : kb);
    fy_qdq_range(&y, &e, &d->lo, &d->hi);
    c->data = d;
    return true;
}

/* Both of the result's sizes. */
static bool alike(const fy_site *s) {
    const fy_cover *c = s->cover;
    const fy_value *y = s->node->out[0];
    return s->sized && y->type.rank >= 2 && fy_type_equal(&c->in[0]->type, &c->in[1]->type) && c->in[0]->type.rank == y->type.rank &&
           !memcmp(c->in[0]->type.dim, y->type.dim, (size_t)y->type.rank * sizeof *y->type.dim);
}

FY_COLD static void layouts_binary(const fy_site *s, fy_layout *in, fy_layout *out) {
    if (!alike(s) || (s->layout[0] != FY_C16 && s->layout[1] != FY_C16)) return;
    in[0] = in[1] = *out = FY_C16;
}

typedef struct binary { const fy_kernels *k; const fy_byte_binary *q; const uint8_t *a, *b; uint8_t *y; } binary;

static void binary_run(void *ctx, const fy_span *s, int64_t y, const int64_t *at, int64_t n) {
    const binary *w = ctx;
    fy_byte_binary q = *w->q;
    q.one = s->moves[0] == s->moves[1] ? 0 : s->moves[0] ? 2 : 1;
    if (s->moves[0] || s->moves[1] || n == 1) w->k->byte_binary(w->y + y, w->a + at[0], w->b + at[1], n, &q);
    else {                               /* neither moves */
        w->k->byte_binary(w->y + y, w->a + at[0], w->b + at[1], 1, &q);
        memset(w->y + y, w->y[y], (size_t)n);
    }
}

static void binary_flat(void *arg, int64_t begin, int64_t end) {
    const binary *w = arg;
    w->k->byte_binary(w->y + begin, w->a + begin, w->b + begin, end - begin, w->q);
}

static fy_status run_binary(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in[2] = {fy_step_in(s, x, 0), fy_step_in(s, x, 1)};
    fy_tensor *y = fy_step_out(s, x, 0);
    binary w = {.k = x->k, .q = s->data, .a = in[0]->data, .b = in[1]->data, .y = y->data};
    if (s->out_layout == FY_C16) {
        fy_for(x->pool, elements(s, y), 32768, binary_flat, &w);
        return FY_OK;
    }
    fy_span span = {.fn = binary_run, .ctx = &w};
    FY_NEED(e, fy_span_make(&span, y, 2, in), SHAPE, "the operands do not fit each other");
    fy_span_run(&span, x->pool);
    return FY_OK;
}

static const char *no_table(const fy_site *s) { (void)s; return "not computed from one tensor of bytes alone"; }
static const char *no_binary(const fy_site *s) { (void)s; return "no Add or Mul of two tensors of bytes before it"; }

static const fy_impl lookup = {.op = "QuantizeLinear", .name = "qdq.table", .can = no_table, .cover = cover_table, .layouts = same_layout, .prepare = prepare_table, .run = run_table, .flags = FY_IMPL_INPLACE};
static const fy_impl two = {.op = "QuantizeLinear", .name = "qdq.binary", .can = no_binary, .cover = cover_binary, .layouts = layouts_binary, .run = run_binary};
static const fy_impl quantize = {.op = "QuantizeLinear", .name = "quantize.bytes", .can = can_linear, .layouts = same_layout, .run = run_linear};
static const fy_impl dequantize = {.op = "DequantizeLinear", .name = "dequantize.bytes", .can = can_linear, .layouts = same_layout, .run = run_linear};

const fy_impl *const fy_cpu_bytes[] = {&lookup, &two, &quantize, &dequantize, NULL};
