/* SPDX-License-Identifier: Apache-2.0
 * explain_node.c - how a node is run: the implementation that the planner took, what every other said, layouts, sizes, what was taken into
 * the same step. */
#include "check/check.h"

#include <stdlib.h>
#include <string.h>

/* ---- finding --------------------------------------------------------------------------------------------------------------- */

static bool named(const fy_node *n, const char *name) { return n && n->name && !strcmp(n->name, name); }

/* The step that computes the node, as its first or as one taken in; NULL: none. */
static const fy_step *step_of(const fy_plan *p, const char *name) {
    for (int64_t i = 0; i < p->steps.n; i++) {
        const fy_step *s = p->steps.at[i];
        if (named(s->node, name)) return s;
        for (int f = 0; f < s->nfused; f++)
            if (named(s->fused[f], name)) return s;
    }
    return NULL;
}

static const fy_step *step_by_number(const fy_plan *p, const char *text) {
    char *end;
    if (*text < '0' || *text > '9') return NULL;
    long long i = strtoll(text, &end, 10);
    return !*end && i < p->steps.n ? p->steps.at[i] : NULL;
}

static const fy_node *node_before(const fy_model *m, const char *name) {
    for (const fy_node *n = m->graph->first; n; n = n->next)
        if (named(n, name)) return n;
    return NULL;
}

static fy_status not_found(const fy_plan *p, const char *node, ferry_error *e) {
    FY_VEC(const char *) names = {0};
    for (int64_t i = 0; i < p->steps.n; i++) {
        const fy_step *s = p->steps.at[i];
        for (int f = -1; f < s->nfused; f++) {
            const fy_node *n = f < 0 ? s->node : s->fused[f];
            if (n && n->name && *n->name && FY_RESERVE(names, names.n + 1)) names.at[names.n++] = n->name;
        }
    }
    const char *near = names.n < INT32_MAX ? fy_nearest(node, names.at, (int)names.n) : NULL;
    fy_status s = fy_fail(e, FY_E_NAME, "there is no node '%.80s'%s%.80s%s; steps have the numbers 0 to %lld", node, near ? "; did you mean '" : "", near ? near : "", near ? "'" : "",
                          (long long)p->steps.n - 1);
    fy_free(names.at);
    return s;
}

/* ---- telling --------------------------------------------------------------------------------------------------------------- */

typedef struct telling { fy_report *r; fy_jsonw *w; const fy_step *s; bool taken; } telling;

static void tell(void *ctx, const fy_impl *t, const char *why) {
    telling *k = ctx;
    bool chosen = t == k->s->impl;
    const char *word = chosen ? "taken" : why ? "declined" : k->taken ? "could, but comes after" : "could";
    fy_buf_fmt(&k->r->text, "  %s%-16s" FY_OFF " %s%s%s\n", chosen ? FY_GREEN : "", t->name, word, why ? ": " : "", why ? why : "");
    fy_jsonw_object(k->w, NULL);
    fy_jsonw_str(k->w, "name", t->name);
    fy_jsonw_bool(k->w, "taken", chosen);
    fy_jsonw_bool(k->w, "can", !why);
    fy_jsonw_str(k->w, "reason", why);
    fy_jsonw_end_object(k->w);
    k->taken |= chosen;
}

static const char *layout_name(fy_layout l) { return l == FY_C16 ? "blocks of 16 channels" : "plain"; }

static void value(telling *k, const char *what, const fy_value *v, fy_layout layout, bool packed) {
    fy_buf type = {0};
    fy_type_print(&type, &v->type);
    const char *kind = v->constant ? packed ? "constant, packed" : "constant" : layout_name(layout), *text = type.oom ? "" : type.at;
    fy_buf_fmt(&k->r->text, "  %-8s %s %s (%s)\n", what, v->name ? v->name : "(no name)", text, kind);
    fy_jsonw_object(k->w, NULL);
    fy_jsonw_str(k->w, "name", v->name);
    fy_jsonw_str(k->w, "type", text);
    fy_jsonw_str(k->w, "layout", kind);
    fy_jsonw_end_object(k->w);
    fy_buf_free(&type);
}

static void values(telling *k) {
    const fy_step *s = k->s;
    fy_jsonw_array(k->w, "inputs");
    for (int i = 0; i < s->nin; i++) {
        const fy_value *v = s->in[i] ? s->in[i] : s->node && i < s->node->nin ? s->node->in[i].value : NULL;
        if (v) value(k, "input", v, s->in_layout[i], !s->in[i]);
    }
    fy_jsonw_end_array(k->w);
    fy_jsonw_array(k->w, "outputs");
    for (int i = 0; i < s->nout; i++)
        if (s->out[i]) value(k, "output", s->out[i], i ? FY_PLAIN : s->out_layout, false);
    fy_jsonw_end_array(k->w);
}

static void one_node(telling *k, const fy_node *n, bool first) {
    const char *source = n->scope && *n->scope ? n->scope : n->source ? n->source : "";
    fy_buf_fmt(&k->r->text, "  %-8s %s%s%s%s%s\n", first ? "node" : "with", n->op->name, n->name && *n->name ? " " : "", n->name ? n->name : "", *source ? " from " : "", source);
    fy_jsonw_object(k->w, NULL);
    fy_jsonw_str(k->w, "op", n->op->name);
    fy_jsonw_str(k->w, "name", n->name);
    fy_jsonw_str(k->w, "source", source);
    fy_jsonw_end_object(k->w);
}

static fy_status explain_step(fy_report *r, fy_jsonw *w, const fy_plan *p, const fy_step *s, ferry_error *e) {
    telling k = {r, w, s, false};
    int64_t macs = s->node ? fy_node_macs(s->node) : 0;
    fy_buf_fmt(&r->text, FY_BOLD "step %d" FY_OFF " of %lld\n", s->index, (long long)p->steps.n);
    fy_jsonw_int(w, "step", s->index);
    fy_jsonw_int(w, "steps", p->steps.n);
    fy_jsonw_array(w, "nodes");
    if (s->node) one_node(&k, s->node, true);
    for (int i = 0; i < s->nfused; i++) one_node(&k, s->fused[i], false);
    fy_jsonw_end_array(w);
    values(&k);
    if (macs > 0) fy_buf_fmt(&r->text, "  %-8s %.4g million multiply-accumulates\n", "work", 1e-6 * (double)macs);
    fy_jsonw_int(w, "macs", macs);
    fy_jsonw_bool(w, "sizes_known_from_inputs", s->sized);
    if (s->node && !s->sized) fy_buf_str(&r->text, "  sizes    depend on contents: they are found when the run gets there\n");
    fy_buf_str(&r->text, FY_BOLD "implementations" FY_OFF ", in the order in which they are asked\n");
    fy_jsonw_array(w, "implementations");
    if (!s->node) tell(&k, s->impl, NULL);                   /* a conversion between layouts: there is no choice */
    else FY_TRY(fy_plan_reasons(p, s, tell, &k, e));
    fy_jsonw_end_array(w);
    return FY_OK;
}

fy_status fy_explain_node(fy_report *r, const fy_plan *p, const fy_model *before, const char *node, ferry_error *e) {
    const fy_step *s = step_of(p, node);
    fy_jsonw w = {.out = &r->json, .first = true};
    if (!s) s = step_by_number(p, node);
    const fy_node *gone = s ? NULL : node_before(before, node);
    if (!s && !gone) return not_found(p, node, e);
    fy_jsonw_object(&w, NULL);
    fy_jsonw_str(&w, "node", node);
    fy_status st = FY_OK;
    if (s) st = explain_step(r, &w, p, s, e);
    else {
        fy_buf_fmt(&r->text, FY_BOLD "%s" FY_OFF " (%s) is not run: the clean-up before the plan computed its result, or merged it with another node\n", node, gone->op->name);
        fy_jsonw_null(&w, "step");
        fy_jsonw_str(&w, "op", gone->op->name);
    }
    fy_jsonw_end_object(&w);
    fy_buf_char(&r->json, '\n');
    return st;
}
