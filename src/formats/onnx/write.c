/* SPDX-License-Identifier: Apache-2.0
 * write.c - fy_model -> .onnx in two passes: the first only counts, the second streams. Constants pass through in pieces, so
 * memory does not depend on weights. The same model gives the same bytes: no time stamps, no addresses, order as in the graph. */
#include "formats/onnx/internal.h"

#include <stdio.h>
#include <string.h>

#define PIECE ((int64_t)1 << 16)         /* elements of a constant in memory at a time; a multiple of 8 */
#define OUTSIDE 1024                     /* constants from here on go into the data file */
#define PAGE 4096                        /* alignment in the data file */
#define CANONICAL_IR 14                  /* of models that say none: released with the canonical opset */

typedef struct writer {
    fy_pbw       w;
    fy_onnx_options o;
    const fy_model *m;
    const char  *location;               /* of the data file, relative to the model */
    fy_out      *data;                   /* the data file, when not counting */
    uint64_t     used;                   /* bytes of the data file so far */
    const char **name;                   /* of each value, by id */
    fy_arena     arena;
    unsigned char *piece;
    fy_buf       text;                   /* scratch */
} writer;

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* Interfaces keep their names; a name that is missing or taken gives way to "NAME_2" or "v12". */
static fy_status give_name(writer *w, fy_map *used, const fy_value *v) {
    if (!v || w->name[v->id]) return FY_OK;
    const char *name = v->name && *v->name ? v->name : fy_arena_fmt(&w->arena, "v%u", v->id);
    for (int k = 2; name && fy_map_has(used, name, strlen(name)); k++)
        name = v->name && *v->name ? fy_arena_fmt(&w->arena, "%s_%d", v->name, k) : fy_arena_fmt(&w->arena, "v%u_%d", v->id, k);
    FY_NOMEM(w->w.e, name && fy_map_put(used, name, strlen(name), &w->name[v->id]));
    w->name[v->id] = name;
    return FY_OK;
}

static fy_status name_graph(writer *w, fy_map *used, const fy_graph *g, int depth) {
    FY_NEED(w->w.e, depth < FY_ONNX_DEPTH, LIMIT, "graphs are nested more than %d deep", FY_ONNX_DEPTH);
    for (int64_t i = 0; i < g->in.n; i++) FY_TRY(give_name(w, used, g->in.at[i]));
    for (int64_t i = 0; i < g->out.n; i++) FY_TRY(give_name(w, used, g->out.at[i]));
    for (int64_t i = 0; i < g->constants.n; i++) FY_TRY(give_name(w, used, g->constants.at[i]));
    for (const fy_node *n = g->first; n; n = n->next) {
        for (int i = 0; i < n->nout; i++) FY_TRY(give_name(w, used, n->out[i]));
        for (int i = 0; i < n->nattr; i++) {
            const fy_attr *a = &n->attr[i];
            if (a->kind == FY_ATTR_GRAPH && a->graph) FY_TRY(name_graph(w, used, a->graph, depth + 1));
            for (int64_t k = 0; a->kind == FY_ATTR_GRAPHS && k < a->n; k++) FY_TRY(name_graph(w, used, a->graphs[k], depth + 1));
        }
    }
    return FY_OK;
}

static const char *name_of(const writer *w, const fy_value *v) { return v ? w->name[v->id] : NULL; }
static void fail(writer *w, fy_status s) { if (!w->w.status) w->w.status = s; }

/* ---- types ------------------------------------------------------------------------------------------------------- */

static void shape(writer *w, uint32_t field, const fy_type *t) {
    fy_pbw_begin(&w->w, field);
    for (int i = 0; i < t->rank; i++) {
        int64_t v;
        fy_pbw_begin(&w->w, SHAPE_dim);
        if (fy_dim_known(t->dim[i], &v)) fy_pbw_int(&w->w, DIM_dim_value, (uint64_t)v);
        else {
            w->text.n = 0;
            fy_dim_print(&w->text, t->dim[i]);
            fy_pbw_bytes(&w->w, DIM_dim_param, w->text.at, w->text.n);
        }
        fy_pbw_end(&w->w);
    }
    fy_pbw_end(&w->w);
}

static void type(writer *w, uint32_t field, const fy_type *t, int depth) {
    if (depth >= FY_ONNX_DEPTH) { fail(w, fy_fail(w->w.e, FY_E_LIMIT, "types are nested more than %d deep", FY_ONNX_DEPTH)); return; }
    fy_pbw_begin(&w->w, field);
    switch (t->kind) {
    case FY_TENSOR: case FY_SPARSE:
        fy_pbw_begin(&w->w, t->kind == FY_TENSOR ? TYPE_tensor_type : TYPE_sparse_tensor_type);
        fy_pbw_int(&w->w, TTENSOR_elem_type, (uint64_t)t->dtype);
        if (t->rank >= 0) shape(w, TTENSOR_shape, t);
        fy_pbw_end(&w->w);
        break;
    case FY_SEQUENCE: case FY_OPTIONAL:
        fy_pbw_begin(&w->w, t->kind == FY_SEQUENCE ? TYPE_sequence_type : TYPE_optional_type);
        if (t->elem) type(w, TLIST_elem_type, t->elem, depth + 1);
        fy_pbw_end(&w->w);
        break;
    case FY_MAP:
        fy_pbw_begin(&w->w, TYPE_map_type);
        fy_pbw_int(&w->w, TMAP_key_type, (uint64_t)t->dtype);
        if (t->elem) type(w, TMAP_value_type, t->elem, depth + 1);
        fy_pbw_end(&w->w);
        break;
    case FY_NOTYPE: default: break;
    }
    fy_pbw_end(&w->w);
}

static void value_info(writer *w, uint32_t field, const fy_value *v) {
    fy_pbw_begin(&w->w, field);
    fy_pbw_str(&w->w, VALUE_name, name_of(w, v));
    if (v->type.kind != FY_NOTYPE) type(w, VALUE_type, &v->type, 0);
    fy_pbw_str(&w->w, VALUE_doc_string, v->doc);
    fy_pbw_end(&w->w);
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

/* Packs n elements of one byte each, in place. What is left of the last byte is 0. */
static void pack(fy_dtype t, unsigned char *p, int64_t n) {
    int64_t end = n * fy_dtype_bits(t);
    fy_pack_bits(t, p, 0, p, n);
    if (end % 8) p[end / 8] &= (unsigned char)((1 << end % 8) - 1);
}

/* The packed bytes of a constant, in pieces, to the model (out NULL) or to the data file. */
static void const_bytes(writer *w, const fy_const *c, fy_out *out) {
    size_t bytes = fy_dtype_bytes(c->dtype, c->count);
    const void *direct = fy_const_direct(c);
    if (w->w.counting) { if (!out) w->w.total += bytes; return; }
    if (direct || !bytes) {
        if (!out) fy_pbw_raw(&w->w, direct, bytes);
        else if (!w->w.status && bytes) w->w.status = fy_out_write(out, direct, bytes, w->w.e);
        return;
    }
    if (!w->piece) w->piece = fy_malloc((size_t)PIECE, 16);
    if (!w->piece) { fail(w, fy_nomem(w->w.e)); return; }
    int bits = fy_dtype_bits(c->dtype);
    for (int64_t i = 0; i < c->count && !w->w.status; i += PIECE) {
        int64_t n = c->count - i < PIECE ? c->count - i : PIECE;
        fail(w, fy_const_read(c, i, n, w->piece, w->w.e));
        if (w->w.status) return;
        if (bits < 8) pack(c->dtype, w->piece, n);
        size_t k = fy_dtype_bytes(c->dtype, n);
        if (!out) fy_pbw_raw(&w->w, w->piece, k);
        else w->w.status = fy_out_write(out, w->piece, k, w->w.e);
    }
}

static void pair(writer *w, uint32_t field, const char *key, const char *val) {
    if (!val) return;
    fy_pbw_begin(&w->w, field);
    fy_pbw_str(&w->w, PAIR_key, key);
    fy_pbw_str(&w->w, PAIR_value, val);
    fy_pbw_end(&w->w);
}

static void outside(writer *w, const fy_const *c, size_t bytes) {
    static const unsigned char zeros[PAGE];
    char num[24];
    uint64_t gap = (PAGE - w->used % PAGE) % PAGE;
    if (!w->w.counting && gap) fail(w, fy_out_write(w->data, zeros, (size_t)gap, w->w.e));
    w->used += gap;
    pair(w, TENSOR_external_data, "location", w->location);
    snprintf(num, sizeof num, "%llu", (unsigned long long)w->used);
    pair(w, TENSOR_external_data, "offset", num);
    snprintf(num, sizeof num, "%zu", bytes);
    pair(w, TENSOR_external_data, "length", num);
    fy_pbw_int(&w->w, TENSOR_data_location, 1);
    if (!w->w.counting) const_bytes(w, c, w->data);
    w->used += bytes;
}

static void tensor(writer *w, uint32_t field, const fy_const *c, const char *name, bool may_go_outside) {
    fy_pbw_begin(&w->w, field);
    fy_pbw_ints(&w->w, TENSOR_dims, c->rank, c->dim, false);
    fy_pbw_int(&w->w, TENSOR_data_type, (uint64_t)c->dtype);
    size_t bytes = fy_dtype_bytes(c->dtype, c->count);
    if (c->dtype == FERRY_STRING) {
        const fy_str *s = c->strings && c->strings->data ? c->strings->data : NULL;
        for (int64_t i = 0; s && i < c->count; i++) fy_pbw_bytes(&w->w, TENSOR_string_data, s[i].at, s[i].n);
        fy_pbw_str(&w->w, TENSOR_name, name);
    } else {
        fy_pbw_str(&w->w, TENSOR_name, name);
        if (may_go_outside && w->o.external_data && bytes >= OUTSIDE) outside(w, c, bytes);
        else {
            fy_pbw_head(&w->w, TENSOR_raw_data, bytes);
            const_bytes(w, c, NULL);
        }
    }
    fy_pbw_end(&w->w);
}

/* ---- nodes and graphs -------------------------------------------------------------------------------------------- */

static void graph(writer *w, uint32_t field, const fy_graph *g);

static void attribute(writer *w, uint32_t field, const fy_attr *a) {
    fy_pbw *p = &w->w;
    fy_pbw_begin(p, field);
    fy_pbw_str(p, ATTR_name, a->name);
    if (!a->ref) switch (a->kind) {
    case FY_ATTR_FLOAT: fy_pbw_f32(p, ATTR_f, a->f); break;
    case FY_ATTR_INT: fy_pbw_int(p, ATTR_i, (uint64_t)a->i); break;
    case FY_ATTR_STRING: fy_pbw_bytes(p, ATTR_s, a->s.at, a->s.n); break;
    case FY_ATTR_TENSOR: tensor(w, ATTR_t, a->tensor, NULL, false); break;
    case FY_ATTR_GRAPH: graph(w, ATTR_g, a->graph); break;
    case FY_ATTR_FLOATS: for (int64_t i = 0; i < a->n; i++) fy_pbw_f32(p, ATTR_floats, a->floats[i]); break;
    case FY_ATTR_INTS: fy_pbw_ints(p, ATTR_ints, a->n, a->ints, false); break;
    case FY_ATTR_STRINGS: for (int64_t i = 0; i < a->n; i++) fy_pbw_bytes(p, ATTR_strings, a->strings[i].at, a->strings[i].n); break;
    case FY_ATTR_TENSORS: for (int64_t i = 0; i < a->n; i++) tensor(w, ATTR_tensors, a->tensors[i], NULL, false); break;
    case FY_ATTR_GRAPHS: for (int64_t i = 0; i < a->n; i++) graph(w, ATTR_graphs, a->graphs[i]); break;
    case FY_ATTR_TYPE: type(w, ATTR_tp, a->type, 0); break;
    case FY_ATTR_NONE: case FY_ATTR_SPARSE: case FY_ATTR_SPARSES: case FY_ATTR_TYPES: default:
        fail(w, fy_fail(p->e, FY_E_UNSUPPORTED, "attribute %s has a type that cannot be written", a->name));
        break;
    }
    if (a->kind || a->ref) fy_pbw_int(p, ATTR_type, (uint64_t)(a->ref ? a->i : (int64_t)a->kind));
    fy_pbw_str(p, ATTR_ref_attr_name, a->ref);
    fy_pbw_end(p);
}

static void node(writer *w, uint32_t field, const fy_node *n) {
    fy_pbw *p = &w->w;
    fy_pbw_begin(p, field);
    for (int i = 0; i < n->nin; i++) {
        const char *name = name_of(w, n->in[i].value);
        if (n->in[i].value && !name) { fail(w, fy_fail(p->e, FY_E_INTERNAL, "an input of a %s node belongs to no graph", n->op->name)); return; }
        fy_pbw_bytes(p, NODE_input, name, name ? strlen(name) : 0);
    }
    int nout = n->nout;
    while (nout && !n->out[nout - 1]) nout--;
    for (int i = 0; i < nout; i++) {
        const char *name = name_of(w, n->out[i]);
        fy_pbw_bytes(p, NODE_output, name, name ? strlen(name) : 0);
    }
    fy_pbw_str(p, NODE_name, n->name);
    fy_pbw_str(p, NODE_op_type, n->op->name);
    for (int i = 0; i < n->nattr; i++) attribute(w, NODE_attribute, &n->attr[i]);
    fy_pbw_str(p, NODE_doc_string, n->doc);
    fy_pbw_str(p, NODE_domain, n->op->domain);
    if (w->o.traces) {
        if (n->scope && *n->scope) pair(w, NODE_metadata_props, "namespace", n->scope);
        if (n->source && *n->source) pair(w, NODE_metadata_props, "source", n->source);
    }
    fy_pbw_end(p);
}

static void graph(writer *w, uint32_t field, const fy_graph *g) {
    fy_pbw *p = &w->w;
    fy_pbw_begin(p, field);
    for (const fy_node *n = g->first; n && !p->status; n = n->next) node(w, GRAPH_node, n);
    fy_pbw_str(p, GRAPH_name, g->name && *g->name ? g->name : g->owner ? "body" : "main");
    for (int64_t i = 0; i < g->constants.n && !p->status; i++)
        if (g->constants.at[i]->constant) tensor(w, GRAPH_initializer, g->constants.at[i]->constant, name_of(w, g->constants.at[i]), true);
    for (int64_t i = 0; i < g->state.n && !p->status; i++)
        if (g->state.at[i].init) tensor(w, GRAPH_initializer, g->state.at[i].init, name_of(w, g->state.at[i].in), true);
    fy_pbw_str(p, GRAPH_doc_string, g->doc);
    for (int64_t i = 0; i < g->in.n; i++) value_info(w, GRAPH_input, g->in.at[i]);
    bool listed = g == w->m->graph && w->m->ir_version && w->m->ir_version < 4;       /* initialisers had to be inputs too */
    for (int64_t i = 0; listed && i < g->constants.n; i++) value_info(w, GRAPH_input, g->constants.at[i]);
    for (int64_t i = 0; i < g->out.n; i++) value_info(w, GRAPH_output, g->out.at[i]);
    fy_pbw_end(p);
}

static void import(writer *w, uint32_t field, const char *domain, int64_t version) {
    fy_pbw_begin(&w->w, field);
    fy_pbw_str(&w->w, OPSET_domain, domain);
    fy_pbw_int(&w->w, OPSET_version, (uint64_t)version);
    fy_pbw_end(&w->w);
}

static void function(writer *w, const fy_function *f) {
    fy_pbw *p = &w->w;
    fy_pbw_begin(p, MODEL_functions);
    fy_pbw_str(p, FUNCTION_name, f->name);
    for (int64_t i = 0; i < f->body->in.n; i++) fy_pbw_str(p, FUNCTION_input, name_of(w, f->body->in.at[i]));
    for (int64_t i = 0; i < f->body->out.n; i++) fy_pbw_str(p, FUNCTION_output, name_of(w, f->body->out.at[i]));
    for (int64_t i = 0; i < f->attrs.n; i++) fy_pbw_str(p, FUNCTION_attribute, f->attrs.at[i]);
    for (const fy_node *n = f->body->first; n && !p->status; n = n->next) node(w, FUNCTION_node, n);
    fy_pbw_str(p, FUNCTION_doc_string, f->doc);
    for (int64_t i = 0; i < f->imports.n; i++) import(w, FUNCTION_opset_import, f->imports.at[i].domain, f->imports.at[i].version);
    fy_pbw_str(p, FUNCTION_domain, f->domain);
    for (int64_t i = 0; i < f->defaults.n; i++) attribute(w, FUNCTION_attribute_proto, &f->defaults.at[i]);
    fy_pbw_end(p);
}

/* Once for each pair; a model that was read has it among its metadata already. */
static void state(writer *w, const fy_state *st) {
    fy_buf key = {0};
    fy_buf_fmt(&key, FY_ONNX_STATE "%s", name_of(w, st->in));
    if (key.oom) fail(w, fy_nomem(w->w.e));
    else if (!fy_model_meta(w->m, key.at)) pair(w, MODEL_metadata_props, key.at, name_of(w, st->out));
    fy_buf_free(&key);
}

static void model(writer *w) {
    const fy_model *m = w->m;
    fy_pbw *p = &w->w;
    int64_t opset = m->opset ? m->opset : FY_CANONICAL_OPSET;
    bool has_default = false;
    w->used = 0;
    p->next = 0;
    p->total = 0;
    fy_pbw_int(p, MODEL_ir_version, (uint64_t)(m->ir_version ? m->ir_version : CANONICAL_IR));
    fy_pbw_str(p, MODEL_producer_name, m->producer && *m->producer ? m->producer : "ferry");
    fy_pbw_str(p, MODEL_producer_version, m->producer && *m->producer ? m->producer_version : FERRY_VERSION);
    fy_pbw_str(p, MODEL_domain, m->domain);
    if (m->model_version) fy_pbw_int(p, MODEL_model_version, (uint64_t)m->model_version);
    fy_pbw_str(p, MODEL_doc_string, m->doc);
    graph(w, MODEL_graph, m->graph);
    for (int64_t i = 0; i < m->imports.n; i++) {
        bool def = !*m->imports.at[i].domain;
        has_default |= def;
        import(w, MODEL_opset_import, m->imports.at[i].domain, def ? opset : m->imports.at[i].version);
    }
    if (!has_default) import(w, MODEL_opset_import, "", opset);
    for (int64_t i = 0; i < m->meta.n; i++) pair(w, MODEL_metadata_props, m->meta.at[i].key, m->meta.at[i].val);
    for (int64_t i = 0; i < m->graph->state.n && !p->status; i++) state(w, &m->graph->state.at[i]);
    for (int64_t i = 0; i < m->functions.n && !p->status; i++) function(w, &m->functions.at[i]);
}

/* ---- the two passes ---------------------------------------------------------------------------------------------- */

static fy_status begin(writer *w, const fy_model *m, const fy_onnx_options *o, ferry_error *e) {
    fy_map used = {0};
    memset(w, 0, sizeof *w);
    if (o) w->o = *o;
    w->m = m;
    w->w.e = e;
    w->w.counting = true;
    w->name = FY_NEWN(&w->arena, const char *, m->nvalues + 1u);
    FY_NOMEM(e, w->name);
    fy_status s = name_graph(w, &used, m->graph, 0);
    for (int64_t i = 0; !s && i < m->functions.n; i++) s = name_graph(w, &used, m->functions.at[i].body, 0);
    fy_map_free(&used);
    if (s) return s;
    fy_buf_str(&w->text, "");
    return FY_OK;
}

static void end(writer *w) {
    fy_arena_free(&w->arena);
    fy_free(w->w.len.at);
    fy_free(w->piece);
    fy_buf_free(&w->text);
}

static fy_status pass(writer *w, bool counting) {
    w->w.counting = counting;
    if (counting) w->w.len.n = 0;
    model(w);
    FY_NOMEM(w->w.e, w->w.status || !w->text.oom);
    return w->w.status;
}

/* Asks the caller's check, then appends what it has to say: protobuf reads a repeated field wherever its entries stand. */
static fy_status ask(writer *w, fy_out *out, bool both, ferry_error *e) {
    fy_onnx_more more = {0};
    if (!w->o.before_commit) return FY_OK;
    FY_TRY(fy_out_flush(out, e));
    FY_TRY(w->o.before_commit(w->o.ctx, both ? NULL : out->tmp, &more, e));
    for (int i = 0; i < more.n; i++) {
        w->w.counting = true;                                /* lengths first, as everywhere */
        w->w.next = w->w.len.n = 0;
        pair(w, MODEL_metadata_props, more.pair[i].key, more.pair[i].val);
        w->w.counting = false;
        w->w.next = 0;
        pair(w, MODEL_metadata_props, more.pair[i].key, more.pair[i].val);
    }
    return w->w.status;
}

static fy_status write_files(writer *w, const char *path, ferry_error *e) {
    fy_out out = {.fd = -1}, data = {.fd = -1};
    FY_TRY(pass(w, true));
    if (w->w.total > INT32_MAX && !w->o.external_data) {     /* protobuf's limit */
        w->o.external_data = true;
        FY_TRY(pass(w, true));
    }
    FY_NEED(e, w->w.total <= INT32_MAX, LIMIT, "%s would have %llu bytes beside its weights, more than protobuf allows", path, (unsigned long long)w->w.total);
    FY_TRY(fy_out_open(&out, path, e));
    fy_status s = FY_OK;
    if (w->used) {
        char *to = fy_arena_fmt(&w->arena, "%s.data", path);
        s = to ? fy_out_open(&data, to, e) : fy_nomem(e);
        w->data = &data;
    }
    bool both = w->used > 0;
    w->w.out = &out;
    if (!s) s = pass(w, false);
    if (!s) s = ask(w, &out, both, e);
    if (!s && both) s = fy_out_commit(&data, e);
    if (!s) s = fy_out_commit(&out, e);
    if (both) fy_out_abort(&data);
    fy_out_abort(&out);
    return s;
}

fy_status fy_onnx_write(const fy_model *m, const char *path, const fy_onnx_options *o, ferry_error *e) {
    writer *w = fy_calloc(1, sizeof *w);
    FY_NOMEM(e, w);
    fy_status s = begin(w, m, o, e);
    const char *slash = strrchr(path, '/');
    if (!s) {
        w->location = fy_arena_fmt(&w->arena, "%s.data", slash ? slash + 1 : path);
        s = w->location ? write_files(w, path, e) : fy_nomem(e);
    }
    end(w);
    fy_free(w);
    return s;
}

fy_status fy_onnx_write_memory(const fy_model *m, fy_buf *out, ferry_error *e) {
    writer *w = fy_calloc(1, sizeof *w);
    FY_NOMEM(e, w);
    fy_status s = begin(w, m, NULL, e);
    w->w.buf = out;
    if (!s) s = pass(w, true);
    if (!s && w->w.total > INT32_MAX) s = fy_fail(e, FY_E_LIMIT, "the model has %llu bytes, more than protobuf allows in one piece", (unsigned long long)w->w.total);
    if (!s) s = pass(w, false);
    if (!s && out->oom) s = fy_nomem(e);
    end(w);
    fy_free(w);
    return s;
}

fy_status fy_onnx_write_tensor(const char *path, const fy_tensor *t, const char *name, ferry_error *e) {
    fy_out out = {.fd = -1};
    writer *w = fy_calloc(1, sizeof *w);
    FY_NOMEM(e, w);
    w->w.e = e;
    const fy_const *c = fy_const_from(&w->arena, t);
    fy_status s = c ? fy_out_open(&out, path, e) : fy_nomem(e);
    if (!s) {
        fy_pbw *p = &w->w;
        p->out = &out;
        fy_pbw_ints(p, TENSOR_dims, c->rank, c->dim, false);     /* the body of the message is the file */
        fy_pbw_int(p, TENSOR_data_type, (uint64_t)c->dtype);
        const fy_str *str = c->dtype == FERRY_STRING && c->strings ? c->strings->data : NULL;
        for (int64_t i = 0; str && i < c->count; i++) fy_pbw_bytes(p, TENSOR_string_data, str[i].at, str[i].n);
        fy_pbw_str(p, TENSOR_name, name);
        if (c->dtype != FERRY_STRING) {
            fy_pbw_head(p, TENSOR_raw_data, fy_dtype_bytes(c->dtype, c->count));
            const_bytes(w, c, NULL);
        }
        s = p->status;
        if (!s) s = fy_out_commit(&out, e);
        fy_out_abort(&out);
    }
    end(w);
    fy_free(w);
    return s;
}
