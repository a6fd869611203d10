/* SPDX-License-Identifier: Apache-2.0
 * lower_control.c - torch.cond -> If, while_loop -> Loop, scan, associative_scan and map -> Scan.
 *
 * A subgraph of the program becomes the body of a node. Its formal inputs are bound to outer values, which the body then reads by
 * capture (operands of cond, what loops only read), or to inputs of the body (what loops carry and scan). The test of a
 * while_loop is written twice: in front of the Loop for the first round, at the end of its body for the next. */
#include "aten/lower.h"

#include <string.h>

enum { NEST_MAX = 32 };

static const fy_parg *operands(const fy_lower *l, int at) {
    static const fy_parg none = {.kind = FY_ARG_TENSORS};
    return l->n->narg > at && l->n->arg[at].kind == FY_ARG_TENSORS ? &l->n->arg[at] : &none;
}

/* Binds formal input i of g to v. */
static void bind(fy_lower *l, const fy_pgraph *g, int64_t i, fy_value *v) {
    const fy_parg *in = &g->in[i];
    const fy_pvalue *p = in->kind == FY_ARG_SYM ? in->sym.value : in->value;
    if (p && p->id < l->nval) l->val[p->id] = (fy_lval){.v = v};
}

/* Formal inputs from `at` on are the outer values of `list`. */
static fy_status capture(fy_lower *l, const fy_pgraph *g, int64_t at, const fy_parg *list) {
    for (int64_t i = 0; i < list->n; i++) {
        fy_value *v = list->values[i] ? fy_l_value(l, list->values[i]) : NULL;
        FY_L_OK(l);
        if (v) bind(l, g, at + i, v);
    }
    return FY_OK;
}

static fy_status arity(fy_lower *l, const fy_pgraph *g, int64_t n) {
    FY_NEED(l->b.e, l->depth < NEST_MAX, LIMIT, "bodies nested deeper than %d", NEST_MAX);
    FY_NEED(l->b.e, g->nin == n, GRAPH, "%s: \"%s\" takes %d operands, %lld are given", l->n->op, g->name ? g->name : "?", g->nin,
            (long long)n);
    return FY_OK;
}

/* Emission goes into a new body until leave(). */
static fy_status enter(fy_lower *l, fy_graph **body, fy_build *outer) {
    *outer = l->b;
    *body = fy_graph_new(l->m, l->b.g);
    FY_NOMEM(l->b.e, *body);
    l->b.g = *body;
    l->b.before = NULL;
    l->depth++;
    return FY_OK;
}

static fy_status leave(fy_lower *l, const fy_build *outer, fy_status s) {
    if (s == FY_OK) s = l->b.status;
    l->depth--;
    l->b = *outer;
    l->b.status = s;
    return s;
}

static fy_status give(fy_lower *l, fy_graph *body, fy_value *v) {
    if (v && (v->graph != body || v->is_input || v->is_output))
        v = fy_emit(&l->b, "Identity", FY_V(v), FY_NOATTR); /* an output is made where it leaves */
    FY_L_OK(l);
    FY_NEED(l->b.e, v, UNSUPPORTED, "%s: a body gives something other than tensors", l->n->op);
    FY_NOMEM(l->b.e, fy_graph_add_output(body, v));
    return FY_OK;
}

static fy_value *result(fy_lower *l, const fy_pgraph *g, int i) {
    const fy_parg *o = &g->out[i];
    if (o->kind == FY_ARG_INT) return fy_k_i64(&l->b, o->i);
    if (o->kind == FY_ARG_SYM) return o->sym.value ? fy_l_value(l, o->sym.value) : fy_k_i64(&l->b, o->sym.i);
    return o->kind == FY_ARG_TENSOR || o->kind == FY_ARG_SYMBOOL ? fy_l_value(l, o->value) : NULL;
}

/* Outputs [from, to) of g as outputs of the body that is being built. */
static fy_status give_results(fy_lower *l, fy_graph *body, const fy_pgraph *g, int from, int to) {
    for (int i = from; i < to; i++) FY_TRY(give(l, body, result(l, g, i)));
    return FY_OK;
}

static fy_attr graph_attr(const char *name, fy_graph *g) { return (fy_attr){.name = name, .kind = FY_ATTR_GRAPH, .n = 1, .graph = g}; }

/* ---- cond ---------------------------------------------------------------------------------------------------------------- */

static fy_status branch_body(fy_lower *l, fy_graph *body, const fy_pgraph *g) {
    FY_TRY(fy_lower_graph(l, g));
    return give_results(l, body, g, 0, g->nout);
}

static fy_status branch(fy_lower *l, const fy_pgraph *g, fy_graph **body) {
    fy_build outer;
    FY_TRY(arity(l, g, operands(l, 3)->n));
    FY_TRY(capture(l, g, 0, operands(l, 3)));
    FY_TRY(enter(l, body, &outer));
    return leave(l, &outer, branch_body(l, *body, g));
}

fy_value *fy_l_truth(fy_lower *l, fy_value *v) {
    fy_operand p = fy_op_value(v);
    v = v ? fy_l_as(l, &p, FERRY_BOOL) : NULL;
    return v && fy_rank(l, v) > 0 ? fy_l_reshape(l, v, 0, NULL) : v;
}

fy_status fy_lower_cond(fy_lower *l) {
    const fy_pnode *n = l->n;
    ferry_error *e = l->b.e;
    FY_NEED(e, n->narg >= 3 && n->arg[1].kind == FY_ARG_GRAPH && n->arg[2].kind == FY_ARG_GRAPH, GRAPH, "cond without two branches");
    if (!n->nout) return FY_OK;                              /* which wrote nothing either */
    fy_operand p = fy_l_operand_of(l, &n->arg[0]);
    fy_value *pred = fy_l_truth(l, fy_l_as(l, &p, FERRY_BOOL));
    FY_L_OK(l);
    fy_graph *yes = NULL, *no = NULL;
    FY_TRY(branch(l, n->arg[1].graph, &yes));
    FY_TRY(branch(l, n->arg[2].graph, &no));
    int nout = n->arg[1].graph->nout;
    FY_NEED(e, nout == n->arg[2].graph->nout, GRAPH, "cond: the branches give %d and %d values", nout, n->arg[2].graph->nout);
    fy_node *node = fy_emit_n(&l->b, "If", nout, FY_V(pred), FY_A(graph_attr("then_branch", yes), graph_attr("else_branch", no)));
    for (int i = 0; node && i < nout; i++) fy_l_out(l, i, node->out[i]);
    return l->b.status;
}

/* ---- while_loop ------------------------------------------------------------------------------------------------------------ */

/* An operand of a loop; numbers become tensors. NULL after a failure. */
static fy_value *carried(fy_lower *l, const fy_parg *list, int64_t i) {
    if (list->kind == FY_ARG_TENSORS) return list->values[i] ? fy_l_value(l, list->values[i]) : NULL;
    return NULL;
}

static fy_status add_formal(fy_lower *l, fy_graph *body, const fy_type *t, fy_value **v) {
    *v = fy_graph_add_input(body, NULL, t);
    FY_NOMEM(l->b.e, *v);
    return FY_OK;
}

static fy_status test_of(fy_lower *l, const fy_pgraph *test, int64_t n, fy_value *const *state, fy_value **go) {
    for (int64_t i = 0; i < n; i++) bind(l, test, i, state[i]);
    FY_TRY(fy_lower_graph(l, test));
    FY_NEED(l->b.e, test->nout == 1, GRAPH, "while_loop: the test gives %d values", test->nout);
    *go = fy_l_truth(l, result(l, test, 0));
    return l->b.status;
}

static fy_status loop_body(fy_lower *l, fy_graph *body, const fy_pgraph *test, const fy_pgraph *g, int64_t n, fy_value **state) {
    fy_type count = fy_tensor_type(l->m, FERRY_INT64, 0, NULL), flag = fy_tensor_type(l->m, FERRY_BOOL, 0, NULL);
    fy_value *v, *go = NULL;
    FY_TRY(add_formal(l, body, &count, &v));
    FY_TRY(add_formal(l, body, &flag, &v));
    for (int64_t i = 0; i < n; i++) {
        fy_type t = state[i]->type;
        FY_TRY(add_formal(l, body, &t, &v));
        bind(l, g, i, v);
    }
    FY_TRY(fy_lower_graph(l, g));
    FY_NEED(l->b.e, g->nout == n, GRAPH, "while_loop: the body gives %d values for %lld", g->nout, (long long)n);
    for (int i = 0; i < n; i++) {
        fy_operand next = fy_op_value(result(l, g, i));
        fy_dtype t = state[i]->type.dtype;
        state[i] = next.v ? fy_l_as(l, &next, t) : NULL;
        FY_L_OK(l);
    }
    FY_TRY(test_of(l, test, n, state, &go));
    FY_TRY(give(l, body, go));
    for (int64_t i = 0; i < n; i++) FY_TRY(give(l, body, state[i]));
    return FY_OK;
}

fy_status fy_lower_while(fy_lower *l) {
    const fy_pnode *node = l->n;
    ferry_error *e = l->b.e;
    FY_NEED(
        e, node->narg >= 3 && node->arg[0].kind == FY_ARG_GRAPH && node->arg[1].kind == FY_ARG_GRAPH && node->arg[2].kind == FY_ARG_TENSORS,
        UNSUPPORTED, "while_loop that carries something other than tensors");
    const fy_pgraph *test = node->arg[0].graph, *g = node->arg[1].graph;
    const fy_parg *state = &node->arg[2], *others = operands(l, 3);
    int64_t n = state->n;
    FY_TRY(arity(l, test, n + others->n));
    FY_TRY(arity(l, g, n + others->n));
    FY_TRY(capture(l, test, n, others));
    FY_TRY(capture(l, g, n, others));
    fy_value **in = FY_NEWN(&l->tmp, fy_value *, n + 2), **now = FY_NEWN(&l->tmp, fy_value *, n + 1);
    FY_NOMEM(e, in && now);
    for (int64_t i = 0; i < n; i++) {
        now[i] = in[i + 2] = carried(l, state, i);
        FY_L_OK(l);
        FY_NEED(e, now[i], GRAPH, "while_loop: operand %lld is None", (long long)i);
    }
    fy_value *go = NULL;
    FY_TRY(test_of(l, test, n, now, &go));
    in[1] = go;
    fy_graph *body = NULL;
    fy_build outer;
    FY_TRY(enter(l, &body, &outer));
    FY_TRY(leave(l, &outer, loop_body(l, body, test, g, n, now)));
    fy_node *made = fy_emit_n(&l->b, "Loop", (int)n, (int)n + 2, in, FY_A(graph_attr("body", body)));
    for (int i = 0; made && i < n; i++) fy_l_out(l, i, made->out[i]);
    return l->b.status;
}

/* ---- scan, map ---------------------------------------------------------------------------------------------------------------- */

/* in: `ninit` carried values, then what is scanned. associative: what is carried is the row, too. */
static fy_status scan_body(fy_lower *l, fy_graph *body, const fy_pgraph *g, int64_t ninit, int64_t n, fy_value *const *in, bool associative) {
    for (int64_t i = 0; i < n; i++) {
        fy_type t = in[i]->type;
        fy_value *v;
        if (i >= ninit) {
            FY_NEED(l->b.e, t.rank > 0, SHAPE, "%s over a tensor without axes", l->n->op);
            t.rank--;
            t.dim++;
        }
        FY_TRY(add_formal(l, body, &t, &v));
        bind(l, g, i, v);
    }
    FY_TRY(fy_lower_graph(l, g));
    FY_NEED(l->b.e, g->nout >= ninit, GRAPH, "%s: the body gives %d values for %lld", l->n->op, g->nout, (long long)ninit);
    for (int i = 0; i < ninit; i++) {
        fy_operand next = fy_op_value(result(l, g, i));
        FY_TRY(give(l, body, next.v ? fy_l_as(l, &next, in[i]->type.dtype) : NULL));
    }
    if (associative) return give_results(l, body, g, 0, g->nout);
    return give_results(l, body, g, (int)ninit, g->nout);
}

/* scan(body, init, xs, others): what is carried, then a row for each step. map(body, xs, others) carries nothing. */
fy_status fy_lower_scan(fy_lower *l) {
    const fy_pnode *node = l->n;
    ferry_error *e = l->b.e;
    bool map = strcmp(node->op, "hop.map_impl") == 0;
    FY_NEED(e, node->narg >= (map ? 2 : 3) && node->narg <= (map ? 3 : 4) && node->arg[0].kind == FY_ARG_GRAPH, UNSUPPORTED,
            "%s with other arguments than a body and tensors", node->op);
    const fy_pgraph *g = node->arg[0].graph;
    const fy_parg *init = map ? operands(l, node->narg) : operands(l, 1), *xs = operands(l, map ? 1 : 2),
                  *others = operands(l, map ? 2 : 3);
    int64_t n = init->n + xs->n;
    FY_NEED(e, xs->n > 0, GRAPH, "%s over nothing", node->op);
    FY_TRY(arity(l, g, n + others->n));
    FY_TRY(capture(l, g, n, others));
    fy_value **in = FY_NEWN(&l->tmp, fy_value *, n);
    FY_NOMEM(e, in);
    for (int64_t i = 0; i < n; i++) {
        in[i] = i < init->n ? carried(l, init, i) : carried(l, xs, i - init->n);
        FY_L_OK(l);
        FY_NEED(e, in[i], GRAPH, "%s: operand %lld is None", node->op, (long long)i);
    }
    fy_graph *body = NULL;
    fy_build outer;
    FY_TRY(enter(l, &body, &outer));
    FY_TRY(leave(l, &outer, scan_body(l, body, g, init->n, n, in, false)));
    fy_node *made = fy_emit_n(&l->b, "Scan", g->nout, (int)n, in, FY_A(graph_attr("body", body), fy_int("num_scan_inputs", xs->n)));
    for (int i = 0; made && i < g->nout; i++) fy_l_out(l, i, made->out[i]);
    return l->b.status;
}

/* associative_scan(body, xs, others): the first row as it is, then body(what the row before gave, row) in order. */
fy_status fy_lower_associative_scan(fy_lower *l) {
    const fy_pnode *node = l->n;
    ferry_error *e = l->b.e;
    FY_NEED(e, node->narg >= 2 && node->narg <= 3 && node->arg[0].kind == FY_ARG_GRAPH, UNSUPPORTED, "%s with other arguments than a body and tensors", node->op);
    const fy_pgraph *g = node->arg[0].graph;
    const fy_parg *xs = operands(l, 1), *others = operands(l, 2);
    int64_t n = xs->n, rows;
    FY_TRY(arity(l, g, 2 * n + others->n));
    FY_TRY(capture(l, g, 2 * n, others));
    fy_value **in = FY_NEWN(&l->tmp, fy_value *, 3 * n + 1), **first = in + 2 * n;
    FY_NOMEM(e, in);
    bool single = n > 0;
    for (int64_t i = 0; i < n; i++) {
        fy_value *x = carried(l, xs, i);
        FY_L_OK(l);
        FY_NEED(e, x && fy_rank(l, x) > 0, SHAPE, "%s over a tensor without axes", node->op);
        single = single && fy_dim_known(x->type.dim[0], &rows) && rows == 1;
        first[i] = fy_l_slice(l, x, 0, fy_l_k(l, 0), fy_l_k(l, 1), 1);
        in[i] = first[i] ? fy_b_squeeze(&l->b, first[i], 0) : NULL;
        in[n + i] = fy_l_slice(l, x, 0, fy_l_k(l, 1), fy_l_k(l, INT64_MAX), 1);
        FY_L_OK(l);
        if (single) fy_l_out(l, (int)i, x);
    }
    if (single) return FY_OK;
    fy_graph *body = NULL;
    fy_build outer;
    FY_TRY(enter(l, &body, &outer));
    FY_TRY(leave(l, &outer, scan_body(l, body, g, n, 2 * n, in, true)));
    FY_NEED(e, g->nout == n, GRAPH, "%s: the body gives %d values for %lld", node->op, g->nout, (long long)n);
    fy_node *made = fy_emit_n(&l->b, "Scan", (int)(2 * n), (int)(2 * n), in, FY_A(graph_attr("body", body), fy_int("num_scan_inputs", n)));
    for (int64_t i = 0; made && i < n; i++) fy_l_out(l, (int)i, fy_b_concat(&l->b, 2, (fy_value *[]){first[i], made->out[n + i]}, 0));
    return l->b.status;
}
