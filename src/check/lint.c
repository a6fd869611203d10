/* SPDX-License-Identifier: Apache-2.0
 * lint.c - the pitfalls that people meet when a model leaves home: each rule is one function over the graph or over a node. */
#include "check/check.h"

#include <stdio.h>
#include <string.h>

#define HUGE_CONSTANT ((int64_t)256 << 20)
#define OLD_DEVICES_OPSET 17

static void add(fy_findings *f, fy_severity sev, const char *code, const char *where, const char *what, const char *remedy) {
    if (!fy_vec_grow((void **)&f->at, &f->cap, f->n + 1, sizeof *f->at)) { f->oom = true; return; }
    fy_finding *x = &f->at[f->n++];
    x->severity = sev;
    x->code = code;
    snprintf(x->where, sizeof x->where, "%s", where);
    snprintf(x->what, sizeof x->what, "%s", what);
    snprintf(x->remedy, sizeof x->remedy, "%s", remedy);
}

static bool is(const fy_node *n, const char *op) { return !*n->op->domain && !strcmp(n->op->name, op); }

static void lint_opset(fy_findings *f, int64_t opset) {
    char what[120];
    if (opset <= OLD_DEVICES_OPSET) return;
    snprintf(what, sizeof what, "the model needs opset %lld", (long long)opset);
    add(f, FY_SEV_NOTE, "opset", "model", what, "vendor toolchains of older devices stop at opset 17: ferry export --opset 17");
}

static void lint_inputs(fy_findings *f, const fy_model *m) {
    for (int64_t i = 0; i < m->graph->in.n; i++) {
        const fy_value *v = m->graph->in.at[i];
        char where[200], what[200], remedy[200];
        int64_t d;
        snprintf(where, sizeof where, "input %s", v->name);
        if (v->type.rank > 1 && fy_dim_known(v->type.dim[0], &d)) {
            snprintf(what, sizeof what, "axis 0 is fixed at %lld: no other batch size runs", (long long)d);
            snprintf(remedy, sizeof remedy, "ferry export MODEL.pt2 --dynamic %s:0=batch", v->name);
            add(f, FY_SEV_WARNING, "fixed-batch", where, what, remedy);
        }
        if (v->type.dtype == FERRY_DOUBLE)
            add(f, FY_SEV_WARNING, "float64", where, "float64 is slow or missing on most devices", "call .float() on model and inputs before torch.export.export");
        if (v->type.kind == FY_TENSOR && v->type.rank < 0)
            add(f, FY_SEV_WARNING, "no-shape", where, "the shape is not declared", "declare it: engines plan memory from it");
    }
}

static void lint_node(fy_findings *f, const fy_node *n) {
    char where[200], what[200];
    fy_node_describe(where, sizeof where, n);
    if (n->op->flags & FY_OPAQUE_OP) {
        snprintf(what, sizeof what, "operator %s%s%s is not known", n->op->domain, *n->op->domain ? "." : "", n->op->name);
        add(f, FY_SEV_ERROR, "unsupported", where, what, "ferry ops --onnx lists what is supported");
    }
    if (is(n, "Dropout") && fy_in(n, 2)) {
        int64_t on = 0;
        const fy_value *mode = fy_in(n, 2);
        if (!mode->constant || (fy_const_i64(mode->constant, 0, &on) && on))
            add(f, FY_SEV_ERROR, "training-mode", where, "dropout is active: outputs are random", "call model.eval() before torch.export.export");
    }
    if (is(n, "BatchNormalization") && fy_attr_i(n, "training_mode"))
        add(f, FY_SEV_ERROR, "training-mode", where, "batch norm uses the statistics of the batch", "call model.eval() before torch.export.export");
    for (int i = 0; i < n->nout; i++)
        if (n->out[i] && n->out[i]->type.dtype == FERRY_DOUBLE && fy_in(n, 0) && fy_in(n, 0)->type.dtype != FERRY_DOUBLE) {
            add(f, FY_SEV_WARNING, "float64", where, "computes in float64 from here", "usually a Python float or numpy array met a tensor: cast it to float32");
            break;
        }
}

static void lint_constants(fy_findings *f, const fy_graph *g) {
    for (int64_t i = 0; i < g->constants.n; i++) {
        const fy_value *v = g->constants.at[i];
        char where[200], what[200];
        if (!v->constant) continue;
        int64_t bytes = (int64_t)fy_dtype_bytes(v->constant->dtype, v->constant->count);
        snprintf(where, sizeof where, "constant %s", v->name ? v->name : "");
        snprintf(what, sizeof what, "%.0f MB in one constant", (double)bytes / 1e6);
        if (bytes >= HUGE_CONSTANT) add(f, FY_SEV_NOTE, "huge-constant", where, what, "if it was computed (a mask, a position table), compute it in the model or make it smaller");
        if (!v->nuses && !v->is_output) add(f, FY_SEV_NOTE, "unused", where, "nothing uses it", "ferry export leaves such constants out");
    }
}

fy_status fy_lint(fy_findings *f, const fy_model *m, int64_t file_opset, ferry_error *e) {
    ferry_error why = {0};
    fy_status s = fy_model_verify(m, &why);
    if (s && fy_code_get(s)->kind != FERRY_BAD_MODEL) { if (e) *e = why; return s; }
    if (s) add(f, FY_SEV_ERROR, why.code, why.nframes ? why.frame[0] : "model", why.text, why.help);
    lint_opset(f, file_opset);
    lint_inputs(f, m);
    for (int64_t i = 0; i < m->graph->in.n; i++)
        if (!m->graph->in.at[i]->nuses) {
            char where[200];
            snprintf(where, sizeof where, "input %s", m->graph->in.at[i]->name);
            add(f, FY_SEV_WARNING, "unused", where, "nothing uses this input", "engines may refuse or ignore it: drop it from forward()");
        }
    for (const fy_graph *g = m->graph; g; g = fy_graph_next(NULL, g)) {
        for (const fy_node *n = g->first; n; n = n->next) lint_node(f, n);
        lint_constants(f, g);
    }
    FY_NOMEM(e, !f->oom);
    return FY_OK;
}

fy_status fy_check_report(fy_report *r, const char *path, const fy_findings *f, bool strict, ferry_error *e) {
    static const char *const name[] = {"note", "warning", "error"}, *const colour[] = {FY_DIM_, FY_AMBER, FY_RED};
    int64_t count[3] = {0};
    fy_jsonw w = {.out = &r->json, .first = true};
    (void)e;
    fy_jsonw_object(&w, NULL);
    fy_jsonw_str(&w, "path", path);
    fy_jsonw_array(&w, "findings");
    fy_buf_fmt(&r->text, FY_BOLD "%s" FY_OFF "\n", path);
    for (int64_t i = 0; i < f->n; i++) {
        const fy_finding *x = &f->at[i];
        count[x->severity]++;
        fy_buf_fmt(&r->text, "  %s%-8s" FY_OFF "%-14s %s: %s\n", colour[x->severity], name[x->severity], x->code, x->where, x->what);
        if (x->remedy[0]) fy_buf_fmt(&r->text, "          " FY_DIM_ "%s" FY_OFF "\n", x->remedy);
        fy_jsonw_object(&w, NULL);
        fy_jsonw_str(&w, "severity", name[x->severity]);
        fy_jsonw_str(&w, "code", x->code);
        fy_jsonw_str(&w, "where", x->where);
        fy_jsonw_str(&w, "what", x->what);
        fy_jsonw_str(&w, "remedy", x->remedy);
        fy_jsonw_end_object(&w);
    }
    fy_jsonw_end_array(&w);
    bool ok = !count[FY_SEV_ERROR] && !(strict && count[FY_SEV_WARNING]);
    fy_jsonw_bool(&w, "ok", ok);
    fy_jsonw_end_object(&w);
    fy_buf_char(&r->json, '\n');
    fy_buf_fmt(&r->text, "  %s: %lld errors, %lld warnings, %lld notes\n", ok ? FY_GREEN "valid" FY_OFF : FY_RED "not fit to ship" FY_OFF, (long long)count[2],
        (long long)count[1], (long long)count[0]);
    r->verdict = ok ? FERRY_OK : FERRY_NO;
    return FY_OK;
}
