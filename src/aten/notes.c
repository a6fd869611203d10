/* SPDX-License-Identifier: Apache-2.0
 * notes.c - what the report of an export says about the program: sizes that the sample fixed, literals that equal them,
 * asserts left out, surprising dtypes, what the file gives away. */
#include "aten/lower.h"

#include <stdio.h>
#include <string.h>

static char *dup_text(const char *s) {
    size_t n = s ? strlen(s) : 0;
    char *d = fy_malloc(n + 1, 1);
    if (d) {
        if (n) memcpy(d, s, n);
        d[n] = 0;
    }
    return d;
}

void fy_notes_add(fy_notes *n, fy_note_kind kind, const char *where, const char *fmt, ...) {
    if (!n) return;
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n->n == n->cap && !fy_vec_grow((void **)&n->at, &n->cap, n->n + 1, sizeof *n->at)) return;
    fy_note note = {kind, dup_text(text), dup_text(where)};
    if (!note.text || !note.where) {
        fy_free(note.text);
        fy_free(note.where);
        return;
    }
    n->at[n->n++] = note;
}

void fy_notes_free(fy_notes *n) {
    for (int64_t i = 0; i < n->n; i++) {
        fy_free(n->at[i].text);
        fy_free(n->at[i].where);
    }
    fy_free(n->at);
    *n = (fy_notes){0};
}

/* The constant size of axis 0 shared by user inputs, if over 1; else 0: 1 is everywhere. */
static int64_t sample_batch(const fy_program *p) {
    for (int i = 0; i < p->nin; i++) {
        const fy_pinput *in = &p->in[i];
        int64_t k;
        if (in->kind == FY_PIN_USER && in->value && in->value->has_meta && in->value->kind == FY_PV_TENSOR && in->value->rank > 1
            && fy_dim_known(in->value->dim[0], &k) && k > 1) return k;
    }
    return 0;
}

/* Sizes written into reshapes that equal the sample's batch: they would stay if the axis were opened by hand. */
static void literals(fy_lower *l, int64_t batch) {
    static const char *const ops[] = {"aten.view.default", "aten.reshape.default", "aten.expand.default", "aten._unsafe_view.default"};
    for (const fy_pnode *n = l->p->graph->first; n && batch > 1; n = n->next)
        for (int k = 0; k < FY_COUNT(ops); k++) {
            if (strcmp(n->op, ops[k]) != 0) continue;
            const fy_parg *a = fy_aten_arg(n, strcmp(ops[k], "aten.reshape.default") == 0 ? "shape" : "size");
            if (a->kind == FY_ARG_INTS && a->n > 0 && a->ints[0] == batch)
                fy_notes_add(l->notes, FY_NOTE_LITERAL, n->source ? n->source : n->scope, "%s has the size %lld, equal to the sample's batch, written in", n->op, (long long)batch);
        }
}

void fy_l_report(fy_lower *l) {
    const fy_program *p = l->p;
    if (!l->notes) return;
    for (int64_t i = 0; i < l->m->graph->in.n; i++) {
        const fy_value *v = l->m->graph->in.at[i];
        bool state = false;
        for (int64_t k = 0; k < l->m->graph->state.n && !state; k++) state = l->m->graph->state.at[k].in == v;
        int64_t k;
        for (int a = 0; !state && a < v->type.rank; a++)
            if (fy_dim_known(v->type.dim[a], &k)) fy_notes_add(l->notes, FY_NOTE_FIXED_AXIS, v->name, "%s axis %d = %lld (from the sample)", v->name, a, (long long)k);
        if (v->type.dtype == FERRY_DOUBLE) fy_notes_add(l->notes, FY_NOTE_DTYPE, v->name, "input \"%s\" is float64: most engines are far slower on it", v->name);
    }
    literals(l, sample_batch(p));
    for (size_t i = 0; i < l->dropped.cap; i++)
        if (l->dropped.slot[i].key && l->dropped.slot[i].val)
            fy_notes_add(l->notes, FY_NOTE_ASSERT, NULL, "%llu check%s %.*s left out: ONNX has no assert", (unsigned long long)(uintptr_t)l->dropped.slot[i].val,
                         (uintptr_t)l->dropped.slot[i].val == 1 ? "" : "s", (int)l->dropped.slot[i].n, l->dropped.slot[i].key);
    int64_t doubles = 0;
    const char *first = NULL;
    for (const fy_node *n = l->m->graph->first; n; n = n->next)
        for (int i = 0; i < n->nout; i++)
            if (n->out[i] && n->out[i]->type.dtype == FERRY_DOUBLE && n->out[i]->type.rank > 0) {
                if (doubles++ == 0) first = n->source ? n->source : n->out[i]->name;
            }
    if (doubles) fy_notes_add(l->notes, FY_NOTE_DTYPE, first, "%lld tensor%s computed in float64", (long long)doubles, doubles == 1 ? " is" : "s are");
    for (int64_t i = 0; i < l->m->graph->out.n; i++) {
        const fy_value *v = l->m->graph->out.at[i];
        if (v->type.dtype == FERRY_INT64) fy_notes_add(l->notes, FY_NOTE_DTYPE, v->name, "output \"%s\" is int64", v->name);
    }
    if (p->traces > 0) fy_notes_add(l->notes, FY_NOTE_LEAK, p->path, "the .pt2 holds %lld stack traces with folder names; the model does not", (long long)p->traces);
    if (p->sample.n > 0) fy_notes_add(l->notes, FY_NOTE_LEAK, p->path, "the .pt2 holds the %lld sample input%s of the export; the model does not", (long long)p->sample.n, p->sample.n == 1 ? "" : "s");
}
