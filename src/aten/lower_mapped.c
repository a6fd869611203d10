/* SPDX-License-Identifier: Apache-2.0
 * lower_mapped.c - custom operators, as their mapping (mapping.h) says: one node, or a copy of the mapping's body. */
#include "aten/lower.h"

#include "ir/copy.h"

#include <string.h>

/* What an argument is as an attribute. */
static bool attribute(fy_lower *l, const char *name, const char *arg, fy_attr *a) {
    const fy_parg *g = fy_aten_arg(l->n, arg);
    int64_t *ints;
    switch ((int)g->kind) {
    case FY_ARG_INT: case FY_ARG_BOOL: *a = fy_int(name, g->i); return true;
    case FY_ARG_DTYPE: *a = fy_int(name, g->i); return true;
    case FY_ARG_FLOAT: *a = fy_float(name, g->f); return true;
    case FY_ARG_STRING: *a = fy_text(name, g->s); return true;
    case FY_ARG_INTS: case FY_ARG_BOOLS: *a = fy_ints(name, g->n, g->ints); return true;
    case FY_ARG_FLOATS: *a = fy_floats(name, g->n, g->floats); return true;
    case FY_ARG_SYM: case FY_ARG_SYMS:
        ints = FY_NEWN(&l->tmp, int64_t, g->n + 1);
        if (!ints) { (void)fy_l_fail(l, FY_E_NOMEM, "out of memory"); return false; }
        if (g->kind == FY_ARG_SYM) *a = fy_int(name, fy_l_int(l, arg));
        else *a = fy_ints(name, fy_l_ints(l, arg, ints, (int)g->n + 1), ints);
        return l->b.status == FY_OK;
    case FY_ARG_NONE: return false;                      /* left out, as in the call */
    default: (void)fy_l_fail(l, FY_E_UNSUPPORTED, "%s: argument %s cannot be an attribute", l->n->op, arg); return false;
    }
}

static fy_value *input(fy_lower *l, const char *arg) {
    const fy_parg *g = fy_aten_arg(l->n, arg);
    if (g->kind == FY_ARG_NONE) return NULL;
    if (g->kind == FY_ARG_INTS) return fy_k_ints(&l->b, g->n, g->ints);
    if (g->kind == FY_ARG_SYMS) {
        const fy_dim *d[FY_MAX_RANK * 4];
        int n = fy_l_dims(l, arg, d, FY_MAX_RANK * 4);
        return l->b.status == FY_OK ? fy_l_sizes(l, n, d) : NULL;
    }
    return fy_l_tensor(l, arg);
}

static fy_status import(fy_lower *l, const char *op) {
    const char *sep = strstr(op, "::");
    const char *domain = sep ? fy_arena_strn(&l->m->arena, op, (size_t)(sep - op)) : "";
    FY_NOMEM(l->b.e, domain);
    for (int64_t i = 0; i < l->m->imports.n; i++)
        if (strcmp(l->m->imports.at[i].domain, domain) == 0) return FY_OK;
    FY_PUSH(l->b.e, l->m->imports, ((fy_import){domain, 1}));
    return FY_OK;
}

/* A node of an operator that nobody describes: its types are those that torch recorded. */
static fy_node *undescribed(fy_lower *l, const char *op, int nout, int nin, fy_value **in, int nattr, const fy_attr *attr) {
    const char *sep = strstr(op, "::"), *domain = fy_arena_strn(&l->tmp, op, (size_t)(sep - op));
    const fy_op *def = domain ? fy_op_opaque(l->m, domain, sep + 2) : NULL;
    while (nin > 0 && !in[nin - 1]) nin--;
    fy_node *n = def ? fy_node_new(l->b.g, l->b.before, def, nin, in, nout) : NULL;
    bool ok = n != NULL;
    for (int i = 0; ok && i < nattr; i++) ok = fy_node_set_attr(n, &attr[i]);
    if (!ok) { (void)fy_l_fail(l, FY_E_NOMEM, "out of memory"); return NULL; }
    n->scope = l->b.scope;
    n->source = l->b.source;
    for (int i = 0; i < nout; i++)
        if (n->out[i]) n->out[i]->type = (fy_type){.kind = FY_TENSOR, .rank = -1};
    return n;
}

static fy_status lower_node(fy_lower *l, const fy_mapping *m) {
    fy_value **in = FY_NEWN(&l->tmp, fy_value *, m->nin + 1);
    fy_attr *attr = FY_NEWN(&l->tmp, fy_attr, m->nattr + 1);
    int nattr = 0, nout = fy_l_nout(l);
    FY_NOMEM(l->b.e, in && attr);
    for (int i = 0; i < m->nin; i++) in[i] = m->in[i] ? input(l, m->in[i]) : NULL;
    for (int i = 0; i < m->nattr; i++) {
        if (!m->attr[i].arg) attr[nattr++] = m->attr[i].literal;
        else if (attribute(l, m->attr[i].name, m->attr[i].arg, &attr[nattr])) nattr++;
    }
    FY_L_OK(l);
    const char *sep = strstr(m->op, "::");
    const char *domain = sep ? fy_arena_strn(&l->tmp, m->op, (size_t)(sep - m->op)) : "";
    FY_NOMEM(l->b.e, domain);
    bool known = fy_op_find(l->m->registry, domain, sep ? sep + 2 : m->op) != NULL;
    if (sep) FY_TRY(import(l, m->op));
    fy_node *n = known ? fy_emit_n(&l->b, m->op, nout, m->nin, in, nattr, attr) : undescribed(l, m->op, nout, m->nin, in, nattr, attr);
    for (int i = 0; n && i < nout; i++) fy_l_out(l, i, n->out[i]);
    return l->b.status;
}

typedef struct placing { fy_lower *l; fy_node *last; } placing;

static void placed(void *ctx, fy_node *n) {
    placing *p = ctx;
    n->scope = p->l->b.scope;
    n->source = p->l->b.source;
    for (int i = 0; i < n->nout; i++)
        if (n->out[i]) n->out[i]->name = NULL;           /* the same body may be copied often */
    if (p->l->b.status == FY_OK) p->l->b.status = fy_infer_node(n, p->l->b.e);
}

static fy_status lower_body(fy_lower *l, const fy_mapping *m) {
    const fy_graph *g = m->body->graph;
    placing p = {l, NULL};
    fy_copy c = {.m = l->m, .e = l->b.e, .ctx = &p, .node = placed};
    FY_NEED(l->b.e, g->out.n >= fy_l_nout(l), GRAPH, "%s gives %d values, its mapping %lld", l->n->op, fy_l_nout(l), (long long)g->out.n);
    fy_status s = fy_copy_begin(&c, g);
    for (int64_t i = 0; s == FY_OK && i < g->in.n; i++) {
        fy_value *v = input(l, m->schema->arg[i].name);
        s = l->b.status;
        fy_copy_set(&c, g->in.at[i], v);
    }
    if (s == FY_OK) s = fy_copy_nodes(&c, l->b.g, l->b.before, g);
    if (s == FY_OK) s = l->b.status;
    for (int i = 0; s == FY_OK && i < fy_l_nout(l); i++) fy_l_out(l, i, fy_copy_of(&c, g->out.at[i]));
    fy_copy_end(&c);
    return l->b.status = s;
}

fy_status fy_lower_mapped(fy_lower *l, const fy_mapping *m) { return m->body ? lower_body(l, m) : lower_node(l, m); }
