/* SPDX-License-Identifier: Apache-2.0
 * widen.c - models of halves, for an engine whose kernels compute in f32: products, convolutions, norms, pools and the like of f16 or bf16 become those of
 * f32 between casts, and so do the elementwise operators and movements of data behind them. Constants are cast once.
 * FY_HALVES_REGIONS: what is computed goes on as f32 to the next such operator; rounding to halves happens where a region ends: at outputs, at
 * operators that decide by values (comparisons, ArgMax, TopK), at casts of the model's own. FY_HALVES_NODES: each result is rounded, as the operator has it. */
#include "passes/match.h"

#include <stdio.h>
#include <string.h>

static bool among(const fy_node *n, const char *domain, const char *const *names) {
    for (; !strcmp(n->op->domain, domain) && *names; names++)
        if (!strcmp(n->op->name, *names)) return true;
    return false;
}

static bool half(const fy_value *v) { return fy_dtype_of(v) == FERRY_FLOAT16 || fy_dtype_of(v) == FERRY_BFLOAT16; }

/* Computed in f32 wherever they stand. */
static bool heavy(const fy_node *n) {
    static const char *const names[] = {"Conv", "ConvTranspose", "DeformConv", "MatMul", "Gemm", "Einsum", "Softmax", "LogSoftmax", "LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization", "GroupNormalization",
        "InstanceNormalization", "BatchNormalization", "LRN", "LpNormalization", "MeanVarianceNormalization", "Attention", "RotaryEmbedding", "LSTM", "GRU", "RNN", "MaxPool", "AveragePool", "LpPool", "GlobalMaxPool",
        "GlobalAveragePool", "GlobalLpPool", "GridSample", "RoiAlign", "ReduceLogSumExp", NULL};
    static const char *const theirs[] = {"SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "EmbedLayerNormalization", "FusedMatMul", "TransposeMatMul", "FusedMatMulActivation", "FusedGemm", "FusedConv", "NhwcFusedConv",
        "BiasAdd", "BiasSoftmax", "BiasSplitGelu", "GroupNorm", "SkipGroupNorm", "Attention", "QAttention", "MultiHeadAttention", "GroupQueryAttention", "RotaryEmbedding", "MatMulNBits", NULL};
    return among(n, "", names) || among(n, "com.microsoft", theirs) || (fy_is(n, "Resize") && !fy_attr_is(n, "mode", "nearest"));
}

/* In f32 where what they read is. */
static bool light(const fy_node *n) {
    static const char *const names[] = {"Add", "Sub", "Mul", "Div", "Pow", "Sum", "Mean", "Neg", "Abs", "Sqrt", "Reciprocal", "Exp", "Log", "Erf", "Sin", "Cos", "Asin", "Acos", "Atan", "Tanh", "Sigmoid", "Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu",
        "Gelu", "HardSigmoid", "HardSwish", "Mish", "Softplus", "Softsign", "Swish", "SwiGLU", "Clip", "Min", "Max", "Where", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split", "Concat", "Expand",
        "Pad", "Tile", "DepthToSpace", "SpaceToDepth", "Resize", "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceSumSquare", NULL};
    return among(n, "", names);
}

typedef struct widening { fy_rewriting r; fy_map twin; bool regions; } widening;        /* twin: a value of halves -> what it is in f32 */

static fy_value *twin_of(const widening *w, const fy_value *v) { return fy_map_get(&w->twin, (const char *)&v->id, sizeof v->id); }

static bool pair(widening *w, const fy_value *v, fy_value *wide) { return fy_map_put(&w->twin, (const char *)&v->id, sizeof v->id, wide) || fy_no_memory(&w->r); }

/* The same made in a body for a value from around it: of use there alone. */
typedef struct in_body { uint64_t value, graph; } in_body;
static in_body key_in(const fy_graph *g, const fy_value *v) { return (in_body){v->id, (uint64_t)(uintptr_t)g}; }

/* v in f32, made before the node at hand. */
static fy_value *wide(widening *w, fy_build *b, fy_value *v) {
    fy_value *x = twin_of(w, v);
    const in_body here = key_in(b->g, v);
    if (!x) x = fy_map_get(&w->twin, (const char *)&here, sizeof here);
    if (x || b->status) return x;
    if (fy_fixed(v)) x = fy_k_const(b, fy_const_cast(&w->r.m->arena, v->constant, FERRY_FLOAT), NULL);
    else x = fy_b_cast(b, v, FERRY_FLOAT);
    if (x && v->graph != b->g) return fy_map_put(&w->twin, (const char *)&here, sizeof here, x) || fy_no_memory(&w->r) ? x : NULL;
    return x && pair(w, v, x) ? x : NULL;
}

/* Nodes of which nothing became anything stay as dead ones until `dead` comes by. */
static bool rewrite(widening *w, fy_node *n) {
    fy_value *in[32];
    bool any = heavy(n), halves = false;
    if (n->nin > 32 || fy_node_body(n, 0) || (!any && !(w->regions && light(n)))) return false;
    for (int i = 0; i < n->nin; i++) {
        halves |= half(fy_in(n, i));
        any |= half(fy_in(n, i)) && twin_of(w, fy_in(n, i)) && !fy_in(n, i)->constant;
    }
    if (!any || !halves) return false;
    fy_build b = fy_before(&w->r, n);
    for (int i = 0; i < n->nin; i++) in[i] = half(fy_in(n, i)) ? wide(w, &b, fy_in(n, i)) : fy_in(n, i);
    char name[80];
    snprintf(name, sizeof name, "%s%s%s", n->op->domain, *n->op->domain ? "::" : "", n->op->name);
    fy_node *y = fy_emit_n(&b, name, n->nout, n->nin, in, n->nattr, n->attr);
    if (!y) {
        if (!w->r.status && b.status == FY_E_NOMEM) (void)fy_no_memory(&w->r);
        return false;
    }
    y->name = n->name;
    for (int i = 0; i < n->nout; i++) {
        fy_value *was = n->out[i], *by = y->out[i];
        if (!was || !by) continue;
        if (half(was)) {
            by = fy_b_cast(&b, by, was->type.dtype);
            if (!by || (w->regions && !pair(w, by, y->out[i]))) return fy_no_memory(&w->r);
        }
        if (!fy_replace_output(was, by)) return false;
    }
    fy_drop(n);
    return true;
}

/* Read as f32 again: what it was. */
static bool back(widening *w, fy_node *n) {
    fy_value *x = w->regions && fy_is(n, "Cast") && fy_in(n, 0) && fy_dtype_of(n->out[0]) == FERRY_FLOAT && !fy_in(n, 0)->constant ? twin_of(w, fy_in(n, 0)) : NULL;
    if (!x || x == n->out[0] || !x->def || fy_is(x->def, "Cast")) return false;
    return fy_is_value(&w->r, n, x);
}

/* Bodies where their node stands: what is in f32 by then is made before it. What they read may be something else afterwards. */
static void walk(widening *w, fy_graph *g) {
    for (fy_node *n = g->first, *next; n && !w->r.status; n = next) {
        next = n->next;
        fy_graph *body;
        for (int i = 0; (body = fy_node_body(n, i)); i++) walk(w, body);
        if (fy_node_body(n, 0) && w->r.changes && !w->r.status && !fy_node_collect_captures(n)) (void)fy_no_memory(&w->r);
        else if (!w->r.status) w->r.changes += rewrite(w, n) || back(w, n);
    }
}

fy_status fy_pass_widen(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) {
    widening w = {.r = {.m = m, .o = o, .opset = o->opset ? o->opset : FY_CANONICAL_OPSET, .e = e}, .regions = o->halves == FY_HALVES_REGIONS};
    if (o->halves) walk(&w, m->graph);
    fy_map_free(&w.twin);
    *changes += w.r.changes;
    return w.r.status;
}
