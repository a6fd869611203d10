/* SPDX-License-Identifier: Apache-2.0
 * lower_control.c - torch.cond -> If. Each branch is a subgraph that reads outer values by capture, so the operands of
 * cond are bound to the branch's formal inputs and no node carries them. */
#include "aten/lower.h"

#include <string.h>

enum { NEST_MAX = 32 };

static fy_status branch(fy_lower *l, const fy_pgraph *g, const fy_parg *operands, fy_graph **made) {
    ferry_error *e = l->b.e;
    FY_NEED(e, l->depth < NEST_MAX, LIMIT, "branches nested deeper than %d", NEST_MAX);
    FY_NEED(e, g->nin == (int)operands->n, GRAPH, "cond: branch \"%s\" takes %d operands, %lld are given", g->name ? g->name : "?", g->nin, (long long)operands->n);
    for (int i = 0; i < g->nin; i++)
        if (g->in[i].kind == FY_ARG_TENSOR && g->in[i].value && operands->values[i]) {
            fy_value *v = fy_l_value(l, operands->values[i]);
            FY_L_OK(l);
            l->val[g->in[i].value->id].v = v;
        }
    fy_graph *sub = fy_graph_new(l->m, l->b.g);
    FY_NOMEM(e, sub);
    fy_build outer = l->b;
    l->b.g = sub;
    l->b.before = NULL;
    l->depth++;
    fy_status s = fy_lower_graph(l, g);
    for (int i = 0; s == FY_OK && i < g->nout; i++) {
        fy_value *v = g->out[i].kind == FY_ARG_TENSOR ? fy_l_value(l, g->out[i].value) : NULL;
        if (v && v->graph != sub) v = fy_emit(&l->b, "Identity", FY_V(v), FY_NOATTR);    /* an output is made where it leaves */
        if (!v) s = l->b.status != FY_OK ? l->b.status : fy_fail(e, FY_E_UNSUPPORTED, "cond: a branch gives something other than tensors");
        else if (!fy_graph_add_output(sub, v)) s = fy_fail(e, FY_E_NOMEM, "out of memory");
    }
    l->depth--;
    l->b = outer;
    l->b.status = s;
    *made = sub;
    return s;
}

static int flat_outputs(const fy_pgraph *g) { return g->nout; }

fy_status fy_lower_cond(fy_lower *l) {
    const fy_pnode *n = l->n;
    ferry_error *e = l->b.e;
    FY_NEED(e, n->narg >= 3 && n->arg[1].kind == FY_ARG_GRAPH && n->arg[2].kind == FY_ARG_GRAPH, GRAPH, "cond without two branches");
    static const fy_parg none = {.kind = FY_ARG_TENSORS};
    const fy_parg *operands = n->narg > 3 && n->arg[3].kind == FY_ARG_TENSORS ? &n->arg[3] : &none;
    fy_operand p = fy_l_operand_of(l, &n->arg[0]);
    fy_value *pred = fy_l_as(l, &p, FERRY_BOOL);
    FY_L_OK(l);
    if (fy_rank(l, pred) > 0) pred = fy_l_reshape(l, pred, 0, NULL);
    fy_graph *yes = NULL, *no = NULL;
    FY_TRY(branch(l, n->arg[1].graph, operands, &yes));
    FY_TRY(branch(l, n->arg[2].graph, operands, &no));
    int nout = flat_outputs(n->arg[1].graph);
    FY_NEED(e, nout == flat_outputs(n->arg[2].graph), GRAPH, "cond: the branches give %d and %d values", nout, flat_outputs(n->arg[2].graph));
    fy_node *node = fy_emit_n(&l->b, "If", nout, FY_V(pred), FY_A((fy_attr){.name = "then_branch", .kind = FY_ATTR_GRAPH, .n = 1, .graph = yes},
                              (fy_attr){.name = "else_branch", .kind = FY_ATTR_GRAPH, .n = 1, .graph = no}));
    for (int i = 0; node && i < nout; i++) fy_l_out(l, i, node->out[i]);
    return l->b.status;
}
