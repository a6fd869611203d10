/* SPDX-License-Identifier: Apache-2.0
 * ties.c - what a model decided: the graph is interpreted once, and the results of those of its values are kept that bear the name of a
 * result of a node that decides (aten/eval_ties.c). What a loop makes more than once is nobody's. */
#include "verify/internal.h"

#include <string.h>

enum { MAX_DEPTH = 32 };

struct fy_decided { fy_tensor t; int times; fy_decided *next; };

static bool expect(fy_decisions *d, const fy_pgraph *g, int depth) {
    for (const fy_pnode *n = g->first; n && depth < MAX_DEPTH; n = n->next) {
        for (int i = 0; i < n->narg; i++)
            if (n->arg[i].kind == FY_ARG_GRAPH && n->arg[i].graph && !expect(d, n->arg[i].graph, depth + 1)) return false;
        for (int i = 0; i < n->nout && fy_aten_decides(n); i++) {
            if (n->out[i].kind != FY_ARG_TENSOR || !n->out[i].value || !n->out[i].value->name) continue;
            fy_decided *one = fy_calloc(1, sizeof *one);
            if (!one) return false;
            one->next = d->first;
            d->first = one;
            if (!fy_map_puts(&d->by_name, n->out[i].value->name, one)) return false;
        }
    }
    return true;
}

static void keep(void *ctx, const fy_value *v, const fy_rval *val) {
    fy_decisions *d = ctx;
    fy_decided   *one = v->name && v->def && val->kind == FY_TENSOR ? fy_map_gets(&d->by_name, v->name) : NULL;
    if (one && !one->times++) d->oom = fy_tensor_clone(&one->t, &val->t, NULL) != FY_OK || d->oom;
}

const fy_tensor *fy_decisions_find(void *decisions, const fy_pvalue *v) {
    const fy_decided *one = v->name ? fy_map_gets(&((fy_decisions *)decisions)->by_name, v->name) : NULL;
    return one && one->times == 1 ? &one->t : NULL;
}

fy_status fy_decisions_read(fy_decisions *d, const fy_model *m, const fy_program *p, fy_rval *const *in, fy_pool *pool, ferry_error *e) {
    fy_interp it = {.pool = pool, .seen = keep, .ctx = d, .hooks = fy_hooks_builtin()};
    *d = (fy_decisions){0};
    FY_NOMEM(e, expect(d, p->graph, 0));
    if (!d->first) return FY_OK;
    fy_rval *got = fy_calloc((size_t)m->graph->out.n + 1, sizeof *got);
    FY_NOMEM(e, got);
    fy_status s = fy_interp_run(&it, m->graph, in, got, e);
    for (int64_t i = 0; i < m->graph->out.n; i++) fy_rval_free(&got[i]);
    fy_free(got);
    return s == FY_OK && d->oom ? fy_nomem(e) : s;
}

void fy_decisions_free(fy_decisions *d) {
    for (fy_decided *one = d->first, *next; one; one = next) {
        next = one->next;
        fy_tensor_free(&one->t);
        fy_free(one);
    }
    fy_map_free(&d->by_name);
}
