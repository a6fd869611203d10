/* SPDX-License-Identifier: Apache-2.0
 * info.c - what a model is: inputs, outputs, operators, parameters, multiply-accumulates, memory, provenance. */
#include "base/checked.h"
#include "check/check.h"

#include <stdlib.h>
#include <string.h>

/* Product of sizes; -1 if one is not known. */
static int64_t product(int n, const int64_t *dim) {
    int64_t p = 1;
    for (int i = 0; i < n; i++)
        if (dim[i] < 0 || !fy_mul_i64(&p, p, dim[i])) return -1;
    return p;
}

static int64_t times(int64_t a, int64_t b) {
    int64_t r;
    return a < 0 || b < 0 || !fy_mul_i64(&r, a, b) ? -1 : r;
}

static int64_t plus(int64_t a, int64_t b) {
    int64_t r;
    return a < 0 || b < 0 || !fy_add_i64(&r, a, b) ? -1 : r;
}

static int known_sizes(void *ctx, const fy_value *v, int64_t *dim) {
    (void)ctx;
    if (v->type.kind != FY_TENSOR || v->type.rank > FY_MAX_RANK) return -1;
    for (int i = 0; i < v->type.rank; i++)
        if (!fy_dim_known(v->type.dim[i], &dim[i])) dim[i] = -1;
    return v->type.rank;
}

typedef struct sizes { int rank; int64_t dim[FY_MAX_RANK]; } sizes;

int64_t fy_node_macs_of(const fy_node *n, fy_sizes_of *sizes_of, void *ctx) {
    const char *op = n->op->name;
    bool linear = !strncmp(op, "QLinear", 7);                /* x, scale, zero point, w ... */
    const fy_value *value[4] = {fy_in(n, 0), fy_in(n, linear ? 3 : 1), fy_outv(n, 0), fy_in(n, 2)};
    sizes at[4] = {{.rank = -1}, {.rank = -1}, {.rank = -1}, {.rank = -1}};
    const sizes *x = &at[0], *w = &at[1], *y = &at[2], *third = &at[3];
    if (*n->op->domain || !value[0] || !value[1]) return 0;
    for (int i = 0; i < 4; i++)
        if (value[i]) at[i].rank = (sizes_of ? sizes_of : known_sizes)(ctx, value[i], at[i].dim);
    if (!strcmp(op, "LSTM") || !strcmp(op, "GRU") || !strcmp(op, "RNN")) {       /* x[seq, batch, input], w[directions, gates * hidden, input], r[.., hidden] */
        if (x->rank != 3 || w->rank != 3 || third->rank != 3) return 0;
        return times(product(2, x->dim), plus(product(3, w->dim), product(3, third->dim)));
    }
    if (x->rank < 1 || w->rank < 1 || y->rank < 0) return 0;
    int64_t out = product(y->rank, y->dim);
    if (!strcmp(op, "Conv") || !strcmp(op, "ConvInteger") || !strcmp(op, "QLinearConv")) return times(out, product(w->rank - 1, w->dim + 1));   /* w [cout, cin/group, kernel] */
    if (!strcmp(op, "ConvTranspose")) return times(product(x->rank, x->dim), product(w->rank - 1, w->dim + 1));
    if (!strcmp(op, "MatMul") || !strcmp(op, "MatMulInteger") || !strcmp(op, "QLinearMatMul")) return times(out, product(1, x->dim + x->rank - 1));
    if (!strcmp(op, "Gemm") && x->rank == 2) return times(out, product(1, x->dim + (fy_attr_i(n, "transA") ? 0 : 1)));
    if (!strcmp(op, "Attention") && x->rank >= 3 && w->rank == x->rank) {                              /* q k^T and p v, over the keys of the cache as well */
        int64_t past[FY_MAX_RANK], keys = product(1, w->dim + w->rank - 2);
        if (fy_in(n, 4) && (sizes_of ? sizes_of : known_sizes)(ctx, fy_in(n, 4), past) == 4) keys = plus(keys, past[2]);
        return times(keys, plus(product(x->rank, x->dim), out));
    }
    return 0;
}

int64_t fy_node_macs(const fy_node *n) { return fy_node_macs_of(n, NULL, NULL); }

typedef struct count { const char *name; int64_t n; } count;

static int by_count(const void *a, const void *b) {
    const count *x = a, *y = b;
    return x->n != y->n ? (x->n < y->n) - (x->n > y->n) : strcmp(x->name, y->name);
}

typedef struct totals { int64_t parameters, bytes, macs, unknown, activations; count *op; int64_t nops; } totals;

static fy_status add_up(totals *t, const fy_model *m, fy_arena *a, ferry_error *e) {
    fy_map seen = {0};
    fy_status s = FY_OK;
    FY_VEC(count *) ops = {0};
    for (int64_t i = 0; i < m->graph->constants.n; i++) {
        const fy_const *c = m->graph->constants.at[i]->constant;
        if (!c || !m->graph->constants.at[i]->nuses) continue;
        if (fy_dtype_float(c->dtype)) t->parameters += c->count;
        t->bytes += (int64_t)fy_dtype_bytes(c->dtype, c->count);
    }
    for (const fy_node *n = m->graph->first; n && !s; n = n->next) {
        count *c = fy_map_gets(&seen, n->op->name);
        if (!c) {
            c = FY_NEW(a, count);
            if (!c || !fy_map_puts(&seen, n->op->name, c) || !FY_RESERVE(ops, ops.n + 1)) { s = fy_nomem(e); break; }
            c->name = n->op->name;
            ops.at[ops.n++] = c;
        }
        c->n++;
        int64_t macs = fy_node_macs(n);
        if (macs < 0) t->unknown++;
        else t->macs += macs;
        for (int i = 0; i < n->nout; i++) {
            const fy_value *v = n->out[i];
            int64_t dim[FY_MAX_RANK], size = v && v->type.kind == FY_TENSOR && v->type.rank >= 0 && v->type.rank <= FY_MAX_RANK ? product(known_sizes(NULL, v, dim), dim) : -1;
            if (size > 0 && size * fy_elem_bytes(v->type.dtype) > t->activations) t->activations = size * fy_elem_bytes(v->type.dtype);
        }
    }
    t->op = s ? NULL : FY_NEWN(a, count, ops.n);
    if (!s && !t->op) s = fy_nomem(e);
    for (int64_t i = 0; !s && i < ops.n; i++) t->op[i] = *ops.at[i];
    t->nops = ops.n;
    if (!s) qsort(t->op, (size_t)t->nops, sizeof *t->op, by_count);
    fy_free(ops.at);
    fy_map_free(&seen);
    return s;
}

static void print_value(fy_buf *t, const char *what, const fy_value *v) {
    fy_buf_fmt(t, "  %-8s %-24s ", what, v->name ? v->name : "");
    fy_type_print(t, &v->type);
    fy_buf_char(t, '\n');
}

static void json_value(fy_jsonw *w, const fy_value *v) {
    fy_jsonw_object(w, NULL);
    fy_value_json(w, v, false);
    fy_jsonw_end_object(w);
}

static void print_text(fy_report *r, const char *path, const fy_model *m, int64_t file_opset, const fy_program *p, const totals *s) {
    fy_buf *t = &r->text;
    const fy_graph *g = m->graph;
    fy_buf_fmt(t, FY_BOLD "%s" FY_OFF "\n", path);
    if (p) fy_buf_fmt(t, "  program  torch %s, schema %d.%d, %s\n", p->torch_version ? p->torch_version : "?", p->schema_major, p->schema_minor, p->decomposed ? "decomposed" : "plain export");
    else fy_buf_fmt(t, "  opset    %lld, IR %lld, producer %s %s\n", (long long)file_opset, (long long)m->ir_version, m->producer ? m->producer : "unknown", m->producer_version ? m->producer_version : "");
    for (int64_t i = 0; i < g->in.n; i++) print_value(t, "input", g->in.at[i]);
    for (int64_t i = 0; i < g->out.n; i++) print_value(t, "output", g->out.at[i]);
    for (int64_t i = 0; i < g->state.n; i++) fy_buf_fmt(t, "  state    %s\n", g->state.at[i].name);
    fy_buf_fmt(t, "  weights  %lld parameters, %.2f MB\n", (long long)s->parameters, (double)s->bytes / 1e6);
    fy_buf_fmt(t, "  compute  %.3f GMACs%s, largest activation %.2f MB\n", (double)s->macs / 1e9, s->unknown ? " plus nodes of dynamic size" : "", (double)s->activations / 1e6);
    fy_buf_fmt(t, "  nodes    %lld:", (long long)g->nnodes);
    for (int64_t i = 0; i < s->nops; i++) fy_buf_fmt(t, "%s %s %lld", i ? "," : "", s->op[i].name, (long long)s->op[i].n);
    fy_buf_char(t, '\n');
    for (int64_t i = 0; i < m->meta.n; i++) fy_buf_fmt(t, "  %-24s %s\n", m->meta.at[i].key, m->meta.at[i].val);
}

fy_status fy_info_report(fy_report *r, const char *path, const fy_model *m, int64_t file_opset, const fy_program *p, bool shapes, ferry_error *e) {
    fy_arena a = {0};
    totals s = {0};
    const fy_graph *g = m->graph;
    fy_status st = add_up(&s, m, &a, e);
    if (!st) {
        print_text(r, path, m, file_opset, p, &s);
        if (shapes) st = fy_shapes_text(&r->text, m, e);
        fy_jsonw w = {.out = &r->json, .first = true};
        fy_jsonw_object(&w, NULL);
        fy_jsonw_str(&w, "path", path);
        fy_jsonw_str(&w, "format", p ? "pt2" : "onnx");
        if (p) fy_jsonw_str(&w, "torch", p->torch_version);
        else fy_jsonw_int(&w, "opset", file_opset);
        fy_jsonw_array(&w, "inputs");
        for (int64_t i = 0; i < g->in.n; i++) json_value(&w, g->in.at[i]);
        fy_jsonw_end_array(&w);
        fy_jsonw_array(&w, "outputs");
        for (int64_t i = 0; i < g->out.n; i++) json_value(&w, g->out.at[i]);
        fy_jsonw_end_array(&w);
        fy_jsonw_int(&w, "parameters", s.parameters);
        fy_jsonw_int(&w, "weight_bytes", s.bytes);
        fy_jsonw_int(&w, "macs", s.macs);
        fy_jsonw_int(&w, "nodes_of_dynamic_size", s.unknown);
        fy_jsonw_int(&w, "largest_activation_bytes", s.activations);
        fy_jsonw_int(&w, "nodes", g->nnodes);
        fy_jsonw_object(&w, "operators");
        for (int64_t i = 0; i < s.nops; i++) fy_jsonw_int(&w, s.op[i].name, s.op[i].n);
        fy_jsonw_end_object(&w);
        fy_jsonw_object(&w, "metadata");
        for (int64_t i = 0; i < m->meta.n; i++) fy_jsonw_str(&w, m->meta.at[i].key, m->meta.at[i].val);
        fy_jsonw_end_object(&w);
        if (shapes && !st) st = fy_shapes_json(&w, m, e);
        fy_jsonw_end_object(&w);
        fy_buf_char(&r->json, '\n');
    }
    fy_arena_free(&a);
    return st;
}
