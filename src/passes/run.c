/* SPDX-License-Identifier: Apache-2.0
 * run.c - the pass driver: rounds, dumps, off switches, and the verifier after every pass that changed something. */
#include "passes/pass.h"

#include "base/file.h"

#include <string.h>

#define MAX_ROUNDS 64                    /* each changes something, and every change makes the graph smaller or simpler */

static const fy_pass table[] = {
#define PASS(name, fn, level, doc) {name, doc, FY_PASS_##level, fn},
#include "passes/passes.def"
#undef PASS
};

const fy_pass *fy_passes(int *n) {
    *n = FY_COUNT(table);
    return table;
}

const fy_pass *fy_pass_find(const char *name) {
    for (int i = 0; i < FY_COUNT(table); i++)
        if (!strcmp(table[i].name, name)) return &table[i];
    return NULL;
}

/* Is `name` among the comma-separated words of `list`? */
static bool listed(const char *list, const char *name) {
    size_t n = strlen(name);
    for (const char *p = list; p && *p; p += *p == ',') {
        size_t len = strcspn(p, ",");
        if (len == n && !memcmp(p, name, n)) return true;
        p += len;
    }
    return false;
}

static fy_status known(const char *list, const char *flag, ferry_error *e) {
    for (const char *p = list; p && *p; p += *p == ',') {
        size_t len = strcspn(p, ",");
        bool found = false;
        for (int i = 0; i < FY_COUNT(table); i++) found |= strlen(table[i].name) == len && !memcmp(table[i].name, p, len);
        FY_NEED(e, found, USAGE, "%s: there is no pass '%.*s'", flag, (int)len, p);
        p += len;
    }
    return FY_OK;
}

static fy_status dump(const fy_model *m, const char *dir, int number, const char *name, ferry_error *e) {
    fy_buf path = {0}, text = {0};
    fy_out out = {.fd = -1};
    fy_buf_fmt(&path, "%s/%02d-%s.onnxtxt", dir, number, name);
    fy_model_print(&text, m, 16);
    fy_status s = path.oom || text.oom ? fy_nomem(e) : fy_out_open(&out, path.at, e);
    if (!s) s = fy_out_write(&out, text.at, text.n, e);
    if (!s) s = fy_out_commit(&out, e);
    fy_out_abort(&out);
    fy_buf_free(&path);
    fy_buf_free(&text);
    return s;
}

static bool enabled(const fy_pass *p, const fy_pass_options *o) {
    if (p->run == fy_pass_fold && !o->fold) return false;
    if ((p->run == fy_pass_batch_norm || p->run == fy_pass_affine) && !o->fold_bn) return false;
    if (o->level && p->level > o->level) return false;
    if (o->lowered && p->level > (o->opset && o->opset < 13 ? FY_PASS_ANY : FY_PASS_BASIC)) return false;
    return !listed(o->skip, p->name);
}

/* More is known of sizes after folding. A fault that shows only now lies where no run need come by, such as a branch that is never taken:
 * it is no reason to refuse the model. */
static fy_status infer_again(fy_model *m, ferry_error *e) {
    ferry_error quiet;
    fy_status s = fy_infer_model(m, &quiet);
    return s == FY_E_NOMEM ? fy_fail(e, s, "out of memory") : FY_OK;
}

fy_status fy_passes_run(fy_model *m, const fy_pass_options *given, ferry_error *e) {
    fy_pass_options own = *given, *o = &own;
    int64_t grown = 0;
    int dumps = 0;
    own.grown = &grown;
    FY_TRY(known(o->skip, "--skip-pass", e));
    FY_TRY(known(o->stop_after, "--stop-after", e));
    if (o->dump) FY_TRY(dump(m, o->dump, dumps++, "start", e));
    for (int round = 0; round < MAX_ROUNDS; round++) {
        int64_t total = 0;
        for (int i = 0; i < FY_COUNT(table); i++) {
            const fy_pass *p = &table[i];
            int64_t changes = 0;
            bool last = p->run == fy_pass_siblings || p->run == fy_pass_widen;     /* they wait until the others have nothing left to do */
            if (enabled(p, o) && !(total && last)) {
                fy_status s = p->run(m, o, &changes, e);
                if (!s && changes && !o->lowered && (p->run == fy_pass_fold || p->run == fy_pass_control)) s = infer_again(m, e);
                if (!s && changes) s = fy_model_verify(m, e);
                if (s) return fy_frame(e, s, "pass %s", p->name);
                if (o->dump && changes) FY_TRY(dump(m, o->dump, dumps++, p->name, e));
            }
            total += changes;
            if (o->done) o->done[i] += changes;
            if (o->stop_after && !strcmp(o->stop_after, p->name)) return FY_OK;
        }
        if (!total) break;
    }
    int64_t tried = 0;                   /* what a pass built, and found that it cannot be used */
    return listed(o->skip, "dead") ? FY_OK : fy_pass_dead(m, o, &tried, e);
}

fy_status fy_all_graphs(fy_graph_list *list, const fy_model *m, ferry_error *e) {
    FY_PUSH(e, *list, m->graph);
    if (m->graphs.n == 1) return FY_OK;                      /* no body was ever made: no need to look for one */
    for (int64_t at = 0; at < list->n; at++)
        for (fy_node *n = list->at[at]->first; n; n = n->next)
            for (int a = 0; a < n->nattr; a++) {
                if (n->attr[a].kind == FY_ATTR_GRAPH) FY_PUSH(e, *list, n->attr[a].graph);
                if (n->attr[a].kind == FY_ATTR_GRAPHS)
                    for (int64_t k = 0; k < n->attr[a].n; k++) FY_PUSH(e, *list, n->attr[a].graphs[k]);
            }
    return FY_OK;
}

bool fy_replace_output(fy_value *v, fy_value *by) {
    if (v->is_output) {
        if (by->is_output || by->is_input || by->constant || !by->def || by->graph != v->graph) return false;
        by->name = v->name;
        v->name = NULL;
    }
    fy_value_replace(v, by);
    return true;
}
