/* SPDX-License-Identifier: Apache-2.0
 * lower.c - ATen program -> graph: names, inputs, weights, every node in order, outputs, and the notes of the report.
 *
 * After each node the types inferred while its ONNX nodes were emitted are compared with the recorded ones: a
 * contradiction stops here, with the node's name, instead of showing as wrong numbers. */
#include "aten/lower.h"

#include <stdio.h>
#include <string.h>

static void *held(const void *p) { return (void *)(uintptr_t)p; }     /* maps keep void *; what they point to stays const */

/* ---- names ---------------------------------------------------------------------------------------------------------------- */

/* `want`, or want_2 ... if taken; NULL: out of memory. */
static const char *unique_name(fy_lower *l, const char *want) {
    if (!want || !*want) want = "value";
    const char *name = fy_arena_str(&l->m->arena, want);
    for (int k = 2; name && fy_map_has(&l->names, name, strlen(name)); k++) name = fy_arena_fmt(&l->m->arena, "%s_%d", want, k);
    return name && fy_map_puts(&l->names, name, held(name)) ? name : NULL;
}

static const char *dim_name_option(const fy_lower *l, const char *input, const char *pname, int axis, const char *symbol) {
    for (int i = 0; l->o && i < l->o->ndim_names; i++) {
        const fy_axis_name *d = &l->o->dim_names[i];
        if (!d->input || !d->symbol) continue;
        if (symbol && strcmp(d->input, symbol) == 0) return d->symbol;
        if (d->axis == axis && ((input && strcmp(d->input, input) == 0) || (pname && strcmp(d->input, pname) == 0))) return d->symbol;
    }
    return NULL;
}

static bool dim_name_taken(const fy_lower *l, const char *name) {
    for (size_t i = 0; i < l->symbol.cap; i++) {
        const fy_dim *d = l->symbol.slot[i].key ? l->symbol.slot[i].val : NULL;
        if (d && d->name && strcmp(d->name, name) == 0) return true;
    }
    return false;
}

/* A name people know for an axis, by its place. */
static const char *dim_name_usual(const fy_pvalue *v, int axis) {
    if (axis == 0) return "batch";
    if (v->rank == 2 && axis == 1 && (fy_dtype_int(v->dtype) || v->dtype == FERRY_BOOL)) return "sequence";
    if (v->rank == 4 && fy_dtype_float(v->dtype)) return axis == 2 ? "height" : axis == 3 ? "width" : NULL;
    return NULL;
}

static const char *input_name(const fy_lower *l, int user, const fy_pinput *in) {
    if (l->o && l->o->input_names && user < l->o->ninput_names && l->o->input_names[user]) return l->o->input_names[user];
    return in->user_name ? in->user_name : in->value ? in->value->name : "input";
}

static fy_status add_symbol(fy_lower *l, const fy_dim *sym, const char *name) {
    ferry_error *e = l->b.e;
    const fy_dim *d = fy_dim_sym(l->m->dims, fy_arena_str(&l->m->arena, name));
    FY_NOMEM(e, d);
    int64_t lo = 1, hi = INT64_MAX;
    for (int i = 0; i < l->p->nrange; i++)
        if (strcmp(l->p->range[i].symbol, sym->name) == 0) {
            hi = l->p->range[i].hi;
            lo = l->p->range[i].lo > 2 ? l->p->range[i].lo : 1;      /* torch's own 2 only says "not specialised on 0 and 1" */
        }
    fy_dim_bound(l->m->dims, d, lo, hi < lo ? INT64_MAX : hi);
    FY_NOMEM(e, fy_map_puts(&l->symbol, sym->name, held(d)));
    return FY_OK;
}

/* Every symbol on an axis of an input gets the user's name, else a usual one, else torch's. Chosen names first. */
static fy_status name_symbols(fy_lower *l) {
    for (int pass = 0; pass < 3; pass++)                 /* 0: what the user asks for */
        for (int i = 0, user = 0; i < l->p->nin; i++) {
            const fy_pinput *in = &l->p->in[i];
            if (in->kind != FY_PIN_USER) continue;
            const char *who = input_name(l, user++, in);
            const fy_pvalue *v = in->value;
            if (!v || v->kind != FY_PV_TENSOR || !v->has_meta) continue;
            for (int a = 0; a < v->rank; a++) {
                const fy_dim *d = v->dim[a];
                if (d->kind != FY_DIM_SYM || fy_map_has(&l->symbol, d->name, strlen(d->name))) continue;
                bool opened = false;
                for (int k = 0; k < l->p->nopened; k++) opened = opened || strcmp(l->p->opened[k].symbol, d->name) == 0;
                const char *name = opened ? d->name : pass == 0 ? dim_name_option(l, who, v->name, a, d->name) : pass == 1 ? dim_name_usual(v, a) : d->name;
                if (!name || (pass == 1 && dim_name_taken(l, name))) continue;
                FY_TRY(add_symbol(l, d, name));
            }
        }
    return FY_OK;
}

/* ---- inputs and weights ------------------------------------------------------------------------------------------------------ */

/* A parameter, buffer or constant, made when it is first read: unused ones never reach the model, tied ones come once. */
static fy_value *weight(fy_lower *l, const fy_pinput *in) {
    for (int64_t i = 0; i < l->weights.n; i++)
        if (fy_const_same(l->weights.at[i]->constant, in->data)) return l->weights.at[i];
    const char *name = unique_name(l, in->fqn ? in->fqn : in->value->name);
    fy_value *v = name ? fy_graph_add_const(l->m->graph, name, in->data) : NULL;
    if (!v || !FY_RESERVE(l->weights, l->weights.n + 1)) { (void)fy_l_fail(l, FY_E_NOMEM, "out of memory"); return NULL; }
    l->weights.at[l->weights.n++] = v;
    return v;
}

static fy_value *lazy(fy_lower *l, const fy_pvalue *v) {
    fy_lval *got = &l->val[v->id];
    if (!got->v && l->input[v->id] && fy_l_is_complex(v)) (void)(fy_l_complex_const(l, l->input[v->id]->data, v->name, got) == FY_OK);
    if (!got->v && l->input[v->id]) got->v = weight(l, l->input[v->id]);
    if (!got->v && got->dim) {
        fy_value *made = fy_l_size_scalar(l, got->dim);
        if (l->depth > 0) return made;                   /* made inside a branch: of no use outside it */
        got->v = made;
    }
    /* comparisons of sizes are only emitted for who reads them: most serve asserts that are left out */
    if (!got->v && v->def && strncmp(v->def->op, "sym.", 4) == 0 && l->b.status == FY_OK) {
        const fy_pnode *now = l->n;
        l->n = v->def;
        (void)fy_lower_symbolic(l);
        l->n = now;
        fy_value *made = got->v;
        if (l->depth > 0) got->v = NULL;
        return made;
    }
    return got->v;
}

fy_value *fy_l_value(fy_lower *l, const fy_pvalue *v) {
    if (!v || l->b.status != FY_OK) return NULL;
    fy_value *got = v->id < l->nval ? lazy(l, v) : NULL;
    if (!got) (void)fy_l_fail(l, FY_E_GRAPH, "%s reads \"%s\" before it is made", l->n ? l->n->op : "an output", v->name ? v->name : "?");
    return got;
}

static fy_status add_inputs(fy_lower *l) {
    ferry_error *e = l->b.e;
    for (int i = 0, user = 0; i < l->p->nin; i++) {
        const fy_pinput *in = &l->p->in[i];
        const fy_pvalue *v = in->value;
        if (in->kind == FY_PIN_PARAMETER || in->kind == FY_PIN_BUFFER || in->kind == FY_PIN_CONSTANT) {
            if (v && in->data) l->input[v->id] = in;
            continue;
        }
        if (in->kind != FY_PIN_USER) continue;
        const char *who = input_name(l, user, in);
        user++;
        if (!v) continue;                                /* a number or None: bound where it is read */
        const char *name = unique_name(l, who);
        FY_NOMEM(e, name);
        if (v->kind != FY_PV_TENSOR) {                   /* a symbolic int: a scalar whose contents are its symbol */
            FY_NEED(e, v->kind == FY_PV_SYMINT, UNSUPPORTED, "input \"%s\" is neither a tensor nor an int", who);
            fy_type t = fy_tensor_type(l->m, FERRY_INT64, 0, NULL);
            fy_value *got = fy_graph_add_input(l->m->graph, name, &t);
            FY_NOMEM(e, got);
            l->val[v->id].v = got;
            const fy_dim *d = v->sym && v->sym->kind == FY_DIM_SYM ? fy_map_gets(&l->symbol, v->sym->name) : NULL;
            if (!d) {
                d = fy_dim_opaque(l->m->dims, name);
                FY_NOMEM(e, d);
                if (v->sym && v->sym->kind == FY_DIM_SYM) FY_NOMEM(e, fy_map_puts(&l->symbol, v->sym->name, held(d)));
            }
            l->val[v->id].dim = d;
            FY_PUSH(e, l->source, ((fy_lsource){d, got, -1}));
            continue;
        }
        FY_NEED(e, v->has_meta, FORMAT, "input \"%s\" has no recorded type", who);
        const fy_dim *dim[FY_MAX_RANK];
        FY_NEED(e, v->rank <= FY_MAX_RANK, LIMIT, "input \"%s\" has rank %d; ferry goes to %d", who, v->rank, FY_MAX_RANK);
        for (int a = 0; a < v->rank; a++) {
            dim[a] = fy_l_import(l, v->dim[a]);
            if (!dim[a]) dim[a] = fy_dim_opaque(l->m->dims, name);
            FY_NOMEM(e, dim[a]);
        }
        bool complex = fy_l_is_complex(v);                /* ONNX has them as pairs on a last axis */
        FY_NEED(e, !complex || v->rank < FY_MAX_RANK, LIMIT, "input \"%s\" has rank %d", who, v->rank);
        if (complex) FY_NOMEM(e, dim[v->rank] = fy_l_k(l, 2));
        fy_type t = fy_tensor_type(l->m, complex ? (v->dtype == FERRY_COMPLEX128 ? FERRY_DOUBLE : FERRY_FLOAT) : v->dtype, v->rank + complex, dim);
        FY_NOMEM(e, t.kind == FY_TENSOR);
        fy_value *got = fy_graph_add_input(l->m->graph, name, &t);
        FY_NOMEM(e, got);
        l->val[v->id].v = got;
        for (int k = 1; complex && k >= 0; k--) {
            fy_value *plane = fy_emit(&l->b, "Gather", FY_V(got, fy_k_i64(&l->b, k)), FY_A(fy_int("axis", -1)));
            if (k) l->val[v->id].im = plane;
            else l->val[v->id].v = plane;
        }
    }
    return FY_OK;
}

/* ---- outputs and state -------------------------------------------------------------------------------------------------------- */

static fy_status add_output(fy_lower *l, fy_value *v, const char *name) {
    ferry_error *e = l->b.e;
    if (l->b.status != FY_OK) return l->b.status;
    FY_NEED(e, v != NULL, INTERNAL, "output \"%s\" has no value", name);
    /* an output needs a name and a producer of its own */
    if (v->is_output || v->is_input || v->constant || v->graph != l->m->graph) {
        v = fy_emit(&l->b, "Identity", FY_V(v), FY_NOATTR);
        if (!v) return l->b.status;
    }
    v->name = unique_name(l, name);
    FY_NOMEM(e, v->name && fy_graph_add_output(l->m->graph, v));
    return FY_OK;
}

static fy_value *output_value(fy_lower *l, const fy_parg *a) {
    switch ((int)a->kind) {
    case FY_ARG_TENSOR:
        if (fy_l_is_complex(a->value) && fy_l_value(l, a->value)) return fy_l_complex_pair(l, a->value);
        return fy_l_value(l, a->value);
    case FY_ARG_SYMBOOL: case FY_ARG_SYMFLOAT: return fy_l_value(l, a->value);
    case FY_ARG_SYM: return a->sym.value ? fy_l_value(l, a->sym.value) : fy_k_i64(&l->b, a->sym.i);
    case FY_ARG_INT: return fy_k_i64(&l->b, a->i);
    case FY_ARG_BOOL: return fy_k_scalar_i(&l->b, FERRY_BOOL, a->i);
    case FY_ARG_FLOAT: return fy_k_scalar(&l->b, FERRY_FLOAT, a->f);
    default: return NULL;
    }
}

static const fy_pinput *input_named(const fy_program *p, const char *target) {
    for (int i = 0; target && i < p->nin; i++) {
        const fy_pinput *in = &p->in[i];
        if ((in->fqn && strcmp(in->fqn, target) == 0) || (in->value && in->value->name && strcmp(in->value->name, target) == 0)) return in;
    }
    return NULL;
}

/* A buffer that the program writes is declared state: an input and an output that share one memory across runs. */
static fy_status add_state_inputs(fy_lower *l) {
    ferry_error *e = l->b.e;
    for (int i = 0; i < l->p->nout; i++) {
        const fy_poutput *o = &l->p->out[i];
        if (o->kind != FY_POUT_BUFFER_MUTATION && o->kind != FY_POUT_PARAMETER_MUTATION) continue;
        const fy_pinput *in = input_named(l->p, o->target);
        FY_NEED(e, in && in->value && in->data, FORMAT, "the program writes \"%s\", which it does not have", o->target ? o->target : "?");
        const char *name = unique_name(l, in->fqn);
        FY_NOMEM(e, name);
        fy_type t = fy_tensor_type_i64(l->m, in->data->dtype, in->data->rank, in->data->dim);
        FY_NOMEM(e, t.kind == FY_TENSOR);
        fy_value *v = fy_graph_add_input(l->m->graph, name, &t);
        FY_NOMEM(e, v);
        l->val[in->value->id].v = v;
        FY_PUSH(e, l->m->graph->state, ((fy_state){v, NULL, in->data, name}));
    }
    return FY_OK;
}

static fy_status add_outputs(fy_lower *l) {
    ferry_error *e = l->b.e;
    int user = 0;
    int64_t state = 0;
    l->n = NULL;
    l->b.scope = l->b.source = NULL;
    for (int i = 0; i < l->p->nout; i++) {
        const fy_poutput *o = &l->p->out[i];
        if (o->kind != FY_POUT_USER && o->kind != FY_POUT_LOSS) continue;
        int k = user++;
        const char *name = l->o && l->o->output_names && k < l->o->noutput_names && l->o->output_names[k] ? l->o->output_names[k]
                         : o->user_name ? o->user_name : o->arg.value ? o->arg.value->name : "output";
        fy_value *v = output_value(l, &o->arg);
        if (l->b.status != FY_OK) return l->b.status;
        if (v) FY_TRY(add_output(l, v, name));           /* None has no place among the outputs of a model */
    }
    for (int i = 0; i < l->p->nout; i++) {
        const fy_poutput *o = &l->p->out[i];
        if (o->kind == FY_POUT_INPUT_MUTATION) {
            fy_notes_add(l->notes, FY_NOTE_MUTATION, o->target, "the program overwrites its input \"%s\"; the model returns the new contents as an output", o->target);
            FY_TRY(add_output(l, output_value(l, &o->arg), o->target));
        }
        if (o->kind != FY_POUT_BUFFER_MUTATION && o->kind != FY_POUT_PARAMETER_MUTATION) continue;
        FY_NEED(e, state < l->m->graph->state.n, INTERNAL, "more written buffers than state");
        fy_state *s = &l->m->graph->state.at[state++];
        const char *name = fy_arena_fmt(&l->m->arena, "%s.next", s->name);
        FY_NOMEM(e, name);
        FY_TRY(add_output(l, output_value(l, &o->arg), name));
        s->out = l->m->graph->out.at[l->m->graph->out.n - 1];
        fy_notes_add(l->notes, FY_NOTE_MUTATION, o->target, "buffer \"%s\" is written by the program: it became state (input \"%s\", output \"%s\")", o->target, s->in->name, s->out->name);
    }
    for (int64_t i = 0; i < l->checks.n; i++) {
        FY_TRY(add_output(l, l->checks.at[i].v, "assert"));
        const char *name = l->m->graph->out.at[l->m->graph->out.n - 1]->name, *key = fy_arena_fmt(&l->m->arena, FY_ASSERT_KEY "%s", name);
        FY_NOMEM(e, key);
        FY_TRY(fy_model_set_meta(l->m, key, l->checks.at[i].said, e));
        fy_notes_add(l->notes, FY_NOTE_ASSERT, name, "the check \"%.200s\" is the output \"%s\"", l->checks.at[i].said, name);
    }
    return FY_OK;
}

/* ---- nodes ------------------------------------------------------------------------------------------------------------------- */

static bool contains_unknown(const fy_dim *d, int depth) {
    if (d->kind == FY_DIM_OPAQUE || d->kind == FY_DIM_MIN || d->kind == FY_DIM_MAX) return true;
    for (int i = 0; i < d->nargs && depth < 16; i++)
        if (contains_unknown(d->arg[i], depth + 1)) return true;
    return false;
}

/* Recorded against inferred; recorded sizes refine what inference could not tell, data-dependent ones get their source. */
static fy_status check_tensor(fy_lower *l, const fy_pvalue *pv, fy_value *v) {
    ferry_error *e = l->b.e;
    if (!v->name && !v->is_input && !v->constant && !fy_l_is_complex(pv)) {
        v->name = unique_name(l, pv->name);
        FY_NOMEM(e, v->name);
    }
    fy_type *t = &v->type;
    if (t->kind != FY_TENSOR) return FY_OK;
    /* torch 2.7 records the states of its recurrent layers as [layers, 1, batch, hidden]; they are [layers, batch, hidden]. 2.15 records the
     * sample's length where the sequence is dynamic. */
    bool recurrent = pv->def && (strcmp(pv->def->op, "aten.lstm.input") == 0 || strcmp(pv->def->op, "aten.gru.input") == 0) && t->rank >= 0;
    if (pv->has_meta && fy_dtype_class(pv->dtype) != FY_CLASS_C && !recurrent) {
        FY_NEED(e, !t->dtype || t->dtype == pv->dtype, INTERNAL, "\"%s\" is %s, the program says %s", pv->name, fy_dtype_name(t->dtype), fy_dtype_name(pv->dtype));
        FY_NEED(e, t->rank < 0 || t->rank == pv->rank, INTERNAL, "\"%s\" has rank %d, the program says %d", pv->name, t->rank, pv->rank);
        const fy_dim **dim = pv->rank <= FY_MAX_RANK ? FY_NEWN(&l->m->arena, const fy_dim *, pv->rank) : NULL;
        FY_NOMEM(e, dim);
        for (int a = 0; a < pv->rank; a++) {
            int64_t want, got;
            /* sizes recorded before axes were opened say nothing */
            const fy_dim *mine = t->rank >= 0 ? t->dim[a] : NULL, *theirs = l->p->nopened ? mine : fy_l_import(l, pv->dim[a]);
            FY_NEED(e, !mine || !theirs || !fy_dim_known(mine, &got) || !fy_dim_known(theirs, &want) || got == want, INTERNAL,
                    "axis %d of \"%s\" is %lld, the program says %lld", a, pv->name, (long long)got, (long long)want);
            if (!theirs && mine && (pv->dim[a]->kind == FY_DIM_SYM || pv->dim[a]->kind == FY_DIM_OPAQUE)) {
                FY_NOMEM(e, fy_map_puts(&l->symbol, pv->dim[a]->name, held(mine)));
                theirs = mine;
            }
            if (!mine && !theirs) {
                theirs = fy_dim_opaque(l->m->dims, pv->name);
                FY_NOMEM(e, theirs);
            }
            dim[a] = !mine || (theirs && theirs != mine && contains_unknown(mine, 0)) ? theirs : mine;
        }
        t->dtype = pv->dtype;
        t->rank = pv->rank;
        t->dim = dim;
    }
    for (int a = 0; a < t->rank; a++) {
        if (!fy_l_carried(l, t->dim[a], 0)) FY_PUSH(e, l->source, ((fy_lsource){t->dim[a], v, a}));
    }
    for (int i = 0; v->elem && i < v->nelem; i++)
        if (v->elem[i] && v->elem[i]->kind == FY_DIM_OPAQUE && !fy_l_carried(l, v->elem[i], 0)) FY_PUSH(e, l->source, ((fy_lsource){v->elem[i], v, FY_L_ELEMENT - i}));
    return FY_OK;
}

static fy_status check_outputs(fy_lower *l) {
    const fy_pnode *n = l->n;
    for (int k = 0; k < n->nout; k++) {
        const fy_parg *o = &n->out[k];
        if (o->kind == FY_ARG_TENSOR && o->value && l->val[o->value->id].v) FY_TRY(check_tensor(l, o->value, l->val[o->value->id].v));
        if (o->kind == FY_ARG_TENSORS)
            for (int64_t i = 0; i < o->n; i++)
                if (o->values[i] && l->val[o->values[i]->id].v) FY_TRY(check_tensor(l, o->values[i], l->val[o->values[i]->id].v));
    }
    return FY_OK;
}

static const char *first_output(const fy_pnode *n) {
    for (int k = 0; k < n->nout; k++) {
        if (n->out[k].kind == FY_ARG_TENSORS && n->out[k].n > 0 && n->out[k].values[0]) return n->out[k].values[0]->name;
        if (n->out[k].kind == FY_ARG_TENSOR && n->out[k].value) return n->out[k].value->name;
        if (n->out[k].kind == FY_ARG_SYM && n->out[k].sym.value) return n->out[k].sym.value->name;
    }
    return "";
}

/* A tensor that the schema asks for may not be None; lowerings rely on that. */
static fy_status check_required(const fy_lower *l) {
    const fy_schema *s = l->n->schema;
    for (int i = 0; s && i < s->narg; i++) {
        const fy_schema_arg *a = &s->arg[i];
        if (a->optional || a->type != FY_ST_TENSOR) continue;
        const fy_parg *given = fy_aten_arg(l->n, a->name);
        FY_NEED(l->b.e, given->kind != FY_ARG_NONE && (given->kind != FY_ARG_TENSOR || given->value), GRAPH, "%s lacks its argument %s", l->n->op, a->name);
    }
    return FY_OK;
}

/* The lowering of an operator that runs graphs of its own. */
static fy_status (*holds_graphs(const char *op))(fy_lower *) {
    static const struct { const char *op; fy_status (*fn)(fy_lower *); } hop[] = {
        {"hop.cond", fy_lower_cond}, {"hop.while_loop", fy_lower_while}, {"hop.scan", fy_lower_scan}, {"hop.map_impl", fy_lower_scan}, {"hop.associative_scan", fy_lower_associative_scan}};
    for (int i = 0; i < FY_COUNT(hop); i++)
        if (strcmp(op, hop[i].op) == 0) return hop[i].fn;
    return NULL;
}

static const fy_mapping *mapping(const fy_lower_options *o, const char *op) { return fy_mapping_of(o ? o->mappings : NULL, op); }

fy_status fy_lower_node(fy_lower *l) {
    const fy_pnode *n = l->n;
    if (strncmp(n->op, "sym.", 4) == 0) {
        bool boolean = n->nout == 1 && n->out[0].kind == FY_ARG_SYMBOOL;
        if (!boolean) return fy_lower_symbolic(l);
        if (n->out[0].value->id < l->nval) l->val[n->out[0].value->id] = (fy_lval){0};   /* emitted when read: see lazy(). A test of a loop is lowered twice */
        return FY_OK;
    }
    fy_status (*control)(fy_lower *) = holds_graphs(n->op);
    if (control) {
        FY_TRY(control(l));
        return check_outputs(l);
    }
    const fy_mapping *mapped = mapping(l->o, n->op);
    const fy_aten_op *op = fy_aten_find(n->op);
    FY_NEED(l->b.e, mapped || (op && op->lower), ATEN, "%s has no lowering", n->op);
    FY_TRY(check_required(l));
    FY_TRY(mapped ? fy_lower_mapped(l, mapped) : fy_l_complex(l) ? fy_lower_complex(l) : op->lower(l));
    FY_L_OK(l);
    return check_outputs(l);
}

/* With opened axes a clash of shapes means that the sample's size is baked in here. */
static fy_status frozen(fy_lower *l, fy_status was) {
    char why[400];
    ferry_error *e = l->b.e;
    if (!e) return FY_E_FROZEN;
    snprintf(why, sizeof why, "%.390s", e->text);
    fy_status s = fy_fail(e, FY_E_FROZEN, "the sample's size (%s = %lld) is baked into the program: %s", l->p->opened[0].symbol, (long long)l->p->opened[0].sample, why);
    (void)was;
    return fy_help(e, s, "export again with dynamic_shapes, for example dynamic_shapes={\"x\": {%d: torch.export.Dim(\"%s\")}} and a sample of size 2 or more there",
                   l->p->opened[0].axis, l->p->opened[0].symbol);
}

fy_status fy_lower_graph(fy_lower *l, const fy_pgraph *g) {
    const fy_pnode *outer = l->n;
    for (const fy_pnode *n = g->first; n; n = n->next) {
        l->n = n;
        l->b.scope = n->scope ? fy_arena_str(&l->m->arena, n->scope) : NULL;
        l->b.source = n->source ? fy_arena_str(&l->m->arena, n->source) : NULL;
        fy_status s = fy_lower_node(l);
        if (s == FY_OK) s = l->b.status;
        if (s != FY_OK) {
            l->b.status = s;
            if (l->p->nopened && (s == FY_E_SHAPE || s == FY_E_INTERNAL || s == FY_E_UNSUPPORTED)) s = l->b.status = frozen(l, s);
            return fy_frame(l->b.e, s, "node \"%s\" (%s)%s%s%s%s", first_output(n), n->op, n->scope ? " in " : "", n->scope ? n->scope : "",
                            n->source ? " at " : "", n->source ? n->source : "");
        }
    }
    l->n = outer;
    return FY_OK;
}

/* ---- before anything is built: what cannot be lowered --------------------------------------------------------------------------- */

typedef struct missing { const char *op; int64_t count; const fy_pnode *first; } missing;
typedef FY_VEC(missing) missing_list;

static bool flag(const fy_pnode *n, const char *name) {
    const fy_parg *a = fy_aten_arg(n, name);
    return (a->kind == FY_ARG_BOOL || a->kind == FY_ARG_INT) && a->i != 0;
}

static double amount(const fy_pnode *n, const char *name) {
    const fy_parg *a = fy_aten_arg(n, name);
    return a->kind == FY_ARG_FLOAT ? a->f : a->kind == FY_ARG_INT ? (double)a->i : 0;
}

/* Does the node behave as in training (random, or updating statistics)? */
static bool trains(const fy_pnode *n) {
    const char *op = n->op;
    if (strstr(op, "dropout") && strncmp(op, "aten.", 5) == 0) {
        const fy_parg *t = fy_aten_arg(n, "train");
        return amount(n, "p") > 0 && (t->kind == FY_ARG_NONE || flag(n, "train"));
    }
    if (strcmp(op, "aten.batch_norm.default") == 0 || strcmp(op, "aten.native_batch_norm.default") == 0 || strcmp(op, "aten._native_batch_norm_legit.default") == 0
        || strcmp(op, "aten.cudnn_batch_norm.default") == 0)
        return flag(n, "training") && fy_aten_arg(n, "running_mean")->kind == FY_ARG_TENSOR;
    if (strcmp(op, "aten._native_batch_norm_legit_functional.default") == 0 || strcmp(op, "aten._batch_norm_with_update_functional.default") == 0) return true;
    if (strcmp(op, "aten.scaled_dot_product_attention.default") == 0) return amount(n, "dropout_p") > 0;
    if (strcmp(op, "aten.lstm.input") == 0 || strcmp(op, "aten.gru.input") == 0 || strncmp(op, "aten.rnn_", 9) == 0) return flag(n, "train") && amount(n, "dropout") > 0;
    return false;
}

static bool supported(const fy_pnode *n, const fy_lower_options *o) {
    if (strncmp(n->op, "sym.", 4) == 0 || holds_graphs(n->op) || mapping(o, n->op)) return true;
    const fy_aten_op *op = fy_aten_find(n->op);
    return op && op->lower;
}

/* An in-place operator of a program as read, whose other form has a lowering. */
static bool becomes_functional(const fy_pnode *n) {
    char name[128];
    const char *dot = strrchr(n->op, '.');
    if (!n->schema || !dot || dot == n->op || dot[-1] != '_' || strlen(n->op) >= sizeof name) return false;
    snprintf(name, sizeof name, "%.*s%s", (int)(dot - n->op - 1), n->op, dot);
    const fy_aten_op *op = fy_aten_find(name);
    return op && op->lower;
}

/* raw: the program as read, before it is made functional. */
static fy_status survey(const fy_program *p, const fy_lower_options *o, bool raw, missing_list *lost, missing_list *training, ferry_error *e) {
    FY_VEC(const fy_pgraph *) todo = {0};
    fy_status s = FY_RESERVE(todo, 1) ? FY_OK : fy_nomem(e);
    if (s == FY_OK) todo.at[todo.n++] = p->graph;
    for (int64_t g = 0; g < todo.n && s == FY_OK; g++)
        for (const fy_pnode *n = todo.at[g]->first; n && s == FY_OK; n = n->next) {
            for (int i = 0; i < n->narg; i++)
                if (n->arg[i].kind == FY_ARG_GRAPH && n->arg[i].graph) {
                    if (!FY_RESERVE(todo, todo.n + 1)) s = fy_nomem(e);
                    else todo.at[todo.n++] = n->arg[i].graph;
                }
            bool bad = !supported(n, o) && !(raw && becomes_functional(n)), train = !bad && trains(n);
            if (!bad && !train) continue;
            missing_list *to = bad ? lost : training;
            int64_t k = 0;
            while (k < to->n && (!bad || strcmp(to->at[k].op, n->op) != 0)) k++;
            if (k < to->n) { to->at[k].count++; continue; }
            if (!FY_RESERVE(*to, to->n + 1)) s = fy_nomem(e);
            else to->at[to->n++] = (missing){n->op, 1, n};
        }
    fy_free(todo.at);
    return s;
}

static fy_status report_missing(const missing_list *lost, ferry_error *e) {
    fy_buf text = {0};
    fy_buf_fmt(&text, "%lld ATen operator%s without a lowering: ", (long long)lost->n, lost->n == 1 ? "" : "s");
    for (int64_t i = 0; i < lost->n; i++) fy_buf_fmt(&text, "%s%s (%lld)", i ? ", " : "", lost->at[i].op, (long long)lost->at[i].count);
    fy_status s = fy_fail(e, FY_E_ATEN, "%s", text.oom || !text.at ? "several operators" : text.at);
    fy_buf_free(&text);
    for (int64_t i = 0; i < lost->n && i < FERRY_FRAMES; i++) {
        const fy_pnode *n = lost->at[i].first;
        (void)fy_frame(e, s, "%s, %lld time%s, first in %s at %s", n->op, (long long)lost->at[i].count, lost->at[i].count == 1 ? "" : "s",
                       n->scope && *n->scope ? n->scope : "the model", n->source ? n->source : "an unknown line");
    }
    return fy_help(e, s, "ferry ops --aten lists what is supported; run_decompositions() before torch.export.save may replace these operators by simpler ones; --plugin maps operators of your own (docs/plugins.md)");
}

static fy_status report_training(const missing_list *t, ferry_error *e) {
    fy_buf text = {0};
    for (int64_t i = 0; i < t->n; i++) {
        const fy_pnode *n = t->at[i].first;
        fy_buf_fmt(&text, "%s%s (%s)", i ? ", " : "", n->scope && *n->scope ? n->scope : first_output(n), n->op);
    }
    fy_status s = fy_fail(e, FY_E_TRAINING, "%lld layer%s in training mode: %s", (long long)t->n, t->n == 1 ? " is" : "s are", text.oom || !text.at ? "?" : text.at);
    fy_buf_free(&text);
    return fy_help(e, s, "call model.eval() before torch.export.export, or pass --training if it is meant");
}

static fy_status check_support(const fy_program *p, const fy_lower_options *o, fy_notes *notes, ferry_error *e) {
    missing_list lost = {0}, training = {0};
    fy_status s = survey(p, o, false, &lost, &training, e);
    if (s == FY_OK && lost.n > 0) s = report_missing(&lost, e);
    else if (s == FY_OK && training.n > 0 && !(o && o->training)) s = report_training(&training, e);
    for (int64_t i = 0; s == FY_OK && i < training.n; i++)
        fy_notes_add(notes, FY_NOTE_TRAINING, training.at[i].first->scope, "%s is in training mode", training.at[i].op);
    fy_free(lost.at);
    fy_free(training.at);
    return s;
}

/* ---- the whole ------------------------------------------------------------------------------------------------------------------ */

static fy_status lower_all(fy_lower *l) {
    FY_TRY(name_symbols(l));
    FY_TRY(add_inputs(l));
    FY_TRY(add_state_inputs(l));
    FY_TRY(fy_lower_graph(l, l->p->graph));
    FY_TRY(add_outputs(l));
    FY_L_OK(l);
    fy_l_report(l);
    return FY_OK;
}

void fy_lower_done(fy_lower *l) {
    fy_map_free(&l->symbol);
    fy_map_free(&l->names);
    fy_map_free(&l->dropped);
    fy_map_free(&l->transposed);
    fy_free(l->source.at);
    fy_free(l->weights.at);
    fy_free(l->checks.at);
    fy_arena_free(&l->tmp);
}

fy_status fy_aten_missing(const fy_program *p, const fy_lower_options *o, ferry_error *e) {
    missing_list lost = {0}, training = {0};
    fy_status s = survey(p, o, true, &lost, &training, e);
    if (s == FY_OK && lost.n > 0) s = report_missing(&lost, e);
    fy_free(lost.at);
    fy_free(training.at);
    return s;
}

/* Schemas of custom operators: archives leave out arguments that equal their defaults. */
static fy_status resolve_mapped(fy_program *p, const fy_lower_options *o, ferry_error *e) {
    if (!o || !o->mappings) return FY_OK;
    FY_VEC(const fy_pgraph *) todo = {0};
    FY_PUSH(e, todo, p->graph);
    fy_status s = FY_OK;
    for (int64_t g = 0; g < todo.n && s == FY_OK; g++)
        for (fy_pnode *n = todo.at[g]->first; n && s == FY_OK; n = n->next) {
            const fy_mapping *m = mapping(o, n->op);
            if (m) n->schema = m->schema;
            for (int i = 0; i < n->narg && s == FY_OK; i++)
                if (n->arg[i].kind == FY_ARG_GRAPH && n->arg[i].graph) {
                    if (!FY_RESERVE(todo, todo.n + 1)) s = fy_nomem(e);
                    else todo.at[todo.n++] = n->arg[i].graph;
                }
        }
    fy_free(todo.at);
    return s;
}

fy_status fy_aten_lower(fy_model **out, fy_program *p, const fy_lower_options *o, ferry_error *e) {
    *out = NULL;
    FY_TRY(resolve_mapped(p, o, e));
    FY_TRY(fy_aten_resolve(p, e));
    FY_TRY(fy_program_index(p, e));
    FY_TRY(check_support(p, o, o ? o->notes : NULL, e));
    fy_lower l = {.p = p, .o = o, .notes = o ? o->notes : NULL, .nval = p->nvalues};
    l.m = fy_model_new(o && o->registry ? o->registry : fy_registry_builtin());
    l.val = FY_NEWN(&l.tmp, fy_lval, p->nvalues);
    l.input = FY_NEWN(&l.tmp, const fy_pinput *, p->nvalues);
    fy_status s = l.m && l.val && l.input ? FY_OK : fy_nomem(e);
    if (s == FY_OK) {
        l.b = (fy_build){.g = l.m->graph, .e = e};
        s = lower_all(&l);
    }
    fy_lower_done(&l);
    if (s != FY_OK) {
        fy_model_free(l.m);
        return p->path ? fy_frame(e, s, "file %s", p->path) : s;
    }
    *out = l.m;
    return FY_OK;
}
