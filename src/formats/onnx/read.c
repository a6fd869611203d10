/* SPDX-License-Identifier: Apache-2.0
 * read.c - .onnx -> fy_model. Names become values, subgraphs are read where their node stands, tensors stay in the file.
 *
 * Fields of a message may come in any order, so a graph is walked three times: inputs and initialisers, nodes, outputs and
 * value_info. Skipping a field costs nothing, whatever its size. */
#include "formats/onnx/internal.h"

#include <string.h>

#define MAX_NODES 10000000
#define MAX_ATTRS 4096                   /* of one node: they are searched one by one */
#define MAX_SLOTS (1 << 20)              /* inputs, outputs of one node */
#define MAX_PAIRS 10000                  /* metadata_props, imports */

typedef struct scope { struct scope *up; fy_graph *g; fy_map names; int depth; } scope;

typedef struct reader {
    fy_onnx_src  src;
    fy_model    *m;
    const fy_registry *r;
    ferry_error *e;
    int64_t      nodes;
    FY_VEC(fy_value *) in;               /* scratch of one node */
} reader;

/* A name or text as a 0-terminated copy. */
static fy_status text(const char **out, reader *rd, fy_pb *c) {
    FY_PB_NEED(c, !memchr(c->p, 0, c->n), CORRUPT, "a name holds a zero byte");
    *out = fy_arena_strn(&rd->m->arena, (const char *)c->p, c->n);
    FY_PB_NEED(c, *out, NOMEM, "out of memory");
    return FY_OK;
}

static fy_status name_of(const char **out, reader *rd, fy_pb *c) {
    FY_PB_NEED(c, c->n <= FY_ONNX_NAME, LIMIT, "a name of %zu bytes", c->n);
    return text(out, rd, c);
}

/* "" is ai.onnx. */
static fy_status domain_of(const char **out, reader *rd, fy_pb *c) {
    FY_TRY(name_of(out, rd, c));
    if (!strcmp(*out, "ai.onnx")) *out = "";
    return FY_OK;
}

#define SHOW(n) ((int)((n) < 100 ? (n) : 100))

static fy_value *lookup(const scope *s, const unsigned char *p, size_t n) {
    for (; s; s = s->up) {
        fy_value *v = fy_map_get(&s->names, (const char *)p, n);
        if (v) return v;
    }
    return NULL;
}

static fy_status declare(scope *s, fy_pb *c, const char *name, fy_value *v) {
    FY_PB_NEED(c, !fy_map_has(&s->names, name, strlen(name)), GRAPH, "\"%.100s\" is made twice", name);
    FY_PB_NEED(c, fy_map_put(&s->names, name, strlen(name), v), NOMEM, "out of memory");
    return FY_OK;
}

/* ---- types ------------------------------------------------------------------------------------------------------- */

/* Some tools name every unknown size alike: that is no claim that the sizes are equal. */
static bool placeholder(const char *name) { return !strcmp(name, "?") || !strcmp(name, "*") || !strcmp(name, "-1") || !strcmp(name, "None"); }

/* `item`: in the type of a sequence's items, where a name stands for a size that may differ from item to item. */
static fy_status dim_of(const fy_dim **out, reader *rd, fy_pb *c, bool item) {
    fy_dims *p = rd->m->dims;
    const fy_dim *d = NULL;
    while (fy_pb_next(c)) {
        if (c->f->num == DIM_dim_value) {
            if ((int64_t)c->u >= 0) d = fy_dim_const(p, (int64_t)c->u);
            else continue;               /* -1 means unknown in files of some tools */
        } else {
            const char *name;
            if (!c->n) continue;
            FY_TRY(name_of(&name, rd, c));
            if (placeholder(name)) continue;
            d = item ? fy_dim_varying(p, name, NULL) : fy_dim_parse(p, name, c->n);
            if (!d) d = fy_dim_sym(p, name);
        }
        FY_PB_NEED(c, d, NOMEM, "out of memory");
    }
    FY_TRY(c->status);
    if (!d) d = item ? fy_dim_varying(p, NULL, NULL) : fy_dim_opaque(p, "dim");
    FY_PB_NEED(c, d, NOMEM, "out of memory");
    *out = d;
    return FY_OK;
}

static fy_status tensor_type(fy_type *t, reader *rd, fy_pb *c, bool item) {
    t->rank = -1;
    while (fy_pb_next(c)) {
        if (c->f->num == TTENSOR_elem_type) {
            FY_PB_NEED(c, c->u <= FERRY_FLOAT6E3M2, UNSUPPORTED, "element type %llu is not known", (unsigned long long)c->u);
            t->dtype = (fy_dtype)c->u;
            continue;
        }
        const fy_dim *dim[FY_MAX_RANK];
        fy_pb shape, d;
        t->rank = 0;
        fy_pb_open_sub(&shape, c);
        while (fy_pb_next(&shape)) {
            FY_PB_NEED(&shape, t->rank < FY_MAX_RANK, LIMIT, "a type has more than %d dimensions", FY_MAX_RANK);
            fy_pb_open_sub(&d, &shape);
            FY_TRY(dim_of(&dim[t->rank++], rd, &d, item));
        }
        FY_TRY(shape.status);
        if (item && t->rank == 0) {              /* writers leave the shape of items empty where they know nothing */
            t->rank = -1;
            continue;
        }
        t->dim = fy_arena_copy(&rd->m->arena, dim, (size_t)t->rank, sizeof *dim);
        FY_PB_NEED(c, t->dim, NOMEM, "out of memory");
    }
    return c->status;
}

static fy_status type_of(fy_type *t, reader *rd, fy_pb *c, int depth, bool item) {
    FY_PB_NEED(c, depth < FY_ONNX_DEPTH, LIMIT, "types are nested more than %d deep", FY_ONNX_DEPTH);
    *t = (fy_type){.rank = -1};
    while (fy_pb_next(c)) {
        fy_pb in, sub;
        uint32_t num = c->f->num;
        *t = (fy_type){.rank = -1};
        fy_pb_open_sub(&in, c);
        if (num == TYPE_tensor_type || num == TYPE_sparse_tensor_type) {
            t->kind = num == TYPE_tensor_type ? FY_TENSOR : FY_SPARSE;
            FY_TRY(tensor_type(t, rd, &in, item));
            continue;
        }
        t->kind = num == TYPE_sequence_type ? FY_SEQUENCE : num == TYPE_optional_type ? FY_OPTIONAL : FY_MAP;
        while (fy_pb_next(&in)) {
            if (in.f->kind == FY_PB_VARINT) {
                FY_PB_NEED(&in, in.u <= FERRY_FLOAT6E3M2, UNSUPPORTED, "key type %llu is not known", (unsigned long long)in.u);
                t->dtype = (fy_dtype)in.u;
                continue;
            }
            fy_type *elem = FY_NEW(&rd->m->arena, fy_type);
            FY_PB_NEED(c, elem, NOMEM, "out of memory");
            fy_pb_open_sub(&sub, &in);
            FY_TRY(type_of(elem, rd, &sub, depth + 1, item || t->kind == FY_SEQUENCE));
            t->elem = elem;
        }
        FY_TRY(in.status);
        if (!t->elem) t->kind = FY_NOTYPE;
    }
    return c->status;
}

/* ValueInfoProto: fields that are absent stay as they are. */
static fy_status value_info(const char **name, fy_type *t, const char **doc, reader *rd, fy_pb *c) {
    *name = NULL;
    *doc = NULL;
    *t = (fy_type){.rank = -1};
    while (fy_pb_next(c)) {
        fy_pb in;
        switch (c->f->num) {
        case VALUE_name: FY_TRY(name_of(name, rd, c)); break;
        case VALUE_doc_string: FY_TRY(text(doc, rd, c)); break;
        case VALUE_type: fy_pb_open_sub(&in, c); FY_TRY(type_of(t, rd, &in, 0, false)); break;
        default: break;
        }
    }
    FY_TRY(c->status);
    FY_PB_NEED(c, *name && **name, GRAPH, "a value has no name");
    return FY_OK;
}

/* What value_info or an output says, where nothing better is known. */
static void merge(fy_value *v, const fy_type *t) {
    if (v->constant || t->kind == FY_NOTYPE) return;
    if (v->type.kind == FY_NOTYPE) { v->type = *t; return; }
    if (v->type.kind != t->kind) return;
    if (!v->type.dtype) v->type.dtype = t->dtype;
    if ((t->kind == FY_TENSOR || t->kind == FY_SPARSE) && v->type.rank < 0) v->type.rank = t->rank, v->type.dim = t->dim;
}

/* ---- nodes ------------------------------------------------------------------------------------------------------- */

static fy_status graph_body(reader *rd, scope *s, fy_pb *c);

static fy_status subgraph(fy_graph **out, reader *rd, scope *up, fy_pb *c) {
    FY_PB_NEED(c, up->depth + 1 < FY_ONNX_DEPTH, LIMIT, "graphs are nested more than %d deep", FY_ONNX_DEPTH);
    scope s = {.up = up, .depth = up->depth + 1, .g = fy_graph_new(rd->m, up->g)};
    FY_PB_NEED(c, s.g, NOMEM, "out of memory");
    fy_status st = graph_body(rd, &s, c);
    fy_map_free(&s.names);
    *out = s.g;
    return st;
}

static float f32_of(uint64_t bits) {
    uint32_t u = (uint32_t)bits;
    float f;
    memcpy(&f, &u, 4);
    return f;
}

/* One AttributeProto. Lists are sized by a first walk. */
static fy_status attribute(fy_attr *a, reader *rd, scope *s, fy_pb *c) {
    fy_arena *mem = &rd->m->arena;
    const unsigned char *at = c->at;
    size_t len = (size_t)(c->end - c->at);
    uint64_t declared = 0;
    int64_t n[32] = {0};                 /* how many of each field, by number */
    *a = (fy_attr){.n = 1};
    while (fy_pb_next(c)) {
        if (c->f->num < 32) n[c->f->num] += fy_pb_count(c);
        if (c->f->num == ATTR_name) FY_TRY(name_of(&a->name, rd, c));
        else if (c->f->num == ATTR_type) declared = c->u;
        else if (c->f->num == ATTR_ref_attr_name) FY_TRY(name_of(&a->ref, rd, c));
    }
    FY_TRY(c->status);
    FY_PB_NEED(c, a->name && *a->name, GRAPH, "an attribute has no name");
    FY_PB_NEED(c, declared <= FY_ATTR_TYPES, ATTR, "attribute %.60s has the unknown type %llu", a->name, (unsigned long long)declared);
    static const struct { fy_attr_kind kind; uint32_t field; } kinds[] = {
        {FY_ATTR_FLOAT, ATTR_f}, {FY_ATTR_INT, ATTR_i}, {FY_ATTR_STRING, ATTR_s}, {FY_ATTR_TENSOR, ATTR_t}, {FY_ATTR_GRAPH, ATTR_g}, {FY_ATTR_FLOATS, ATTR_floats},
        {FY_ATTR_INTS, ATTR_ints}, {FY_ATTR_STRINGS, ATTR_strings}, {FY_ATTR_TENSORS, ATTR_tensors}, {FY_ATTR_GRAPHS, ATTR_graphs}, {FY_ATTR_SPARSE, ATTR_sparse_tensor},
        {FY_ATTR_SPARSES, ATTR_sparse_tensors}, {FY_ATTR_TYPE, ATTR_tp}, {FY_ATTR_TYPES, ATTR_type_protos}};
    a->kind = (fy_attr_kind)declared;
    for (int i = 0; !a->kind && !a->ref && i < FY_COUNT(kinds); i++)      /* files before IR version 2 leave the type out */
        if (n[kinds[i].field]) a->kind = kinds[i].kind;
    FY_PB_NEED(c, a->kind || a->ref, ATTR, "attribute %.60s has no value", a->name);
    if (a->ref) {                        /* has no contents: the kind that it will have is kept in i */
        a->i = a->kind;
        a->kind = FY_ATTR_NONE;
        return FY_OK;
    }
    uint32_t field = 0;
    for (int i = 0; i < FY_COUNT(kinds); i++)
        if (kinds[i].kind == a->kind) field = kinds[i].field;
    int64_t want = n[field], k = 0;
    bool list = a->kind >= FY_ATTR_FLOATS && a->kind != FY_ATTR_SPARSE && a->kind != FY_ATTR_TYPE;
    if (list) a->n = want;
    int64_t *ints = NULL;
    double *floats = NULL;
    fy_str *strings = NULL;
    const fy_const **tensors = NULL;
    switch (a->kind) {
    case FY_ATTR_INTS: a->ints = ints = FY_NEWN(mem, int64_t, want); FY_PB_NEED(c, ints, NOMEM, "out of memory"); break;
    case FY_ATTR_FLOATS: a->floats = floats = FY_NEWN(mem, double, want); FY_PB_NEED(c, floats, NOMEM, "out of memory"); break;
    case FY_ATTR_STRINGS: a->strings = strings = FY_NEWN(mem, fy_str, want); FY_PB_NEED(c, strings, NOMEM, "out of memory"); break;
    case FY_ATTR_TENSORS: a->tensors = tensors = FY_NEWN(mem, const fy_const *, want); FY_PB_NEED(c, tensors, NOMEM, "out of memory"); break;
    case FY_ATTR_GRAPHS: a->graphs = FY_NEWN(mem, fy_graph *, want); FY_PB_NEED(c, a->graphs, NOMEM, "out of memory"); break;
    case FY_ATTR_SPARSES: case FY_ATTR_TYPES: return fy_pb_fail(c, FY_E_UNSUPPORTED, "attribute %.60s: lists of sparse tensors and of types are not supported", a->name);
    case FY_ATTR_TENSOR: case FY_ATTR_GRAPH: case FY_ATTR_SPARSE: case FY_ATTR_TYPE: FY_PB_NEED(c, want, ATTR, "attribute %.60s has no value", a->name); break;
    case FY_ATTR_NONE: case FY_ATTR_FLOAT: case FY_ATTR_INT: case FY_ATTR_STRING: default: break;       /* absent is 0, as protobuf says */
    }
    if (a->kind == FY_ATTR_STRING) a->s.at = "";
    fy_pb in, sub;
    fy_pb_open(&in, c->file, c->msg, at, len);
    in.up = c->up;
    in.depth = c->depth;
    while (fy_pb_next(&in)) {
        size_t pos = 0;
        uint64_t v;
        if (in.f->num != field) continue;
        if (in.f->kind == FY_PB_MSG) fy_pb_open_sub(&sub, &in);
        switch (a->kind) {
        case FY_ATTR_FLOAT: a->f = (double)f32_of(in.u); break;
        case FY_ATTR_INT: a->i = (int64_t)in.u; break;
        case FY_ATTR_STRING: a->s = (fy_str){(const char *)in.p, in.n}; break;
        case FY_ATTR_FLOATS: while (floats && k < want && fy_pb_number(&in, &pos, &v)) floats[k++] = (double)f32_of(v); break;
        case FY_ATTR_INTS: while (ints && k < want && fy_pb_number(&in, &pos, &v)) ints[k++] = (int64_t)v; break;
        case FY_ATTR_STRINGS: if (strings && k < want) strings[k++] = (fy_str){(const char *)in.p, in.n}; break;
        case FY_ATTR_TENSOR: FY_TRY(fy_onnx_tensor(&a->tensor, NULL, &rd->src, &sub)); break;
        case FY_ATTR_TENSORS: if (tensors && k < want) FY_TRY(fy_onnx_tensor(&tensors[k++], NULL, &rd->src, &sub)); break;
        case FY_ATTR_SPARSE: FY_TRY(fy_onnx_sparse(&a->tensor, NULL, &rd->src, &sub)); break;
        case FY_ATTR_GRAPH: FY_TRY(subgraph(&a->graph, rd, s, &sub)); break;
        case FY_ATTR_GRAPHS: if (k < want) FY_TRY(subgraph(&a->graphs[k++], rd, s, &sub)); break;
        case FY_ATTR_TYPE: {
            fy_type *t = FY_NEW(mem, fy_type);
            FY_PB_NEED(c, t, NOMEM, "out of memory");
            FY_TRY(type_of(t, rd, &sub, 0, false));
            a->type = t;
            break;
        }
        case FY_ATTR_NONE: case FY_ATTR_SPARSES: case FY_ATTR_TYPES: default: break;
        }
    }
    FY_TRY(in.status);
    FY_PB_NEED(c, !list || k == want, CORRUPT, "a list does not end");
    if (a->kind == FY_ATTR_SPARSE) {     /* dense from here on: Constant's sparse_value is its value */
        a->kind = FY_ATTR_TENSOR;
        if (!strcmp(a->name, "sparse_value")) a->name = "value";
    }
    return FY_OK;
}

static fy_status node_meta(reader *rd, fy_node *n, fy_pb *c) {
    fy_pb in;
    fy_str key = {"", 0};
    const char *val = NULL;
    fy_pb_open_sub(&in, c);
    while (fy_pb_next(&in))
        if (in.f->num == PAIR_key) key = (fy_str){(const char *)in.p, in.n};
        else FY_TRY(text(&val, rd, &in));
    FY_TRY(in.status);
    if (key.n == 9 && !memcmp(key.at, "namespace", 9)) n->scope = val;
    else if (key.n == 6 && !memcmp(key.at, "source", 6)) n->source = val;
    return FY_OK;
}

/* Overloads tell functions of one name apart: each is a function of its own, "name:overload", on both sides. */
static fy_status overloaded(const char **name, const char *overload, reader *rd) {
    if (!overload || !*overload || !*name) return FY_OK;
    *name = fy_arena_fmt(&rd->m->arena, "%s:%s", *name, overload);
    FY_NOMEM(rd->e, *name);
    return FY_OK;
}

static fy_status node(reader *rd, scope *s, fy_pb *c) {
    const unsigned char *at = c->at;
    size_t len = (size_t)(c->end - c->at);
    const char *op = NULL, *domain = "", *name = NULL, *doc = NULL, *overload = NULL;
    int64_t nout = 0, nattr = 0;
    FY_PB_NEED(c, ++rd->nodes <= MAX_NODES, LIMIT, "a model has more than %d nodes", MAX_NODES);
    rd->in.n = 0;
    while (fy_pb_next(c)) {
        fy_value *v;
        switch (c->f->num) {
        case NODE_input:
            v = c->n ? lookup(s, c->p, c->n) : NULL;
            FY_PB_NEED(c, v || !c->n, GRAPH, "\"%.*s\" is used before it is made, or never made", SHOW(c->n), (const char *)c->p);
            FY_PB_NEED(c, rd->in.n < MAX_SLOTS, LIMIT, "a node has too many inputs");
            FY_PB_NEED(c, FY_RESERVE(rd->in, rd->in.n + 1), NOMEM, "out of memory");
            rd->in.at[rd->in.n++] = v;
            break;
        case NODE_output: FY_PB_NEED(c, ++nout <= MAX_SLOTS, LIMIT, "a node has too many outputs"); break;
        case NODE_name: FY_TRY(name_of(&name, rd, c)); break;
        case NODE_op_type: FY_TRY(name_of(&op, rd, c)); break;
        case NODE_domain: FY_TRY(domain_of(&domain, rd, c)); break;
        case NODE_doc_string: FY_TRY(text(&doc, rd, c)); break;
        case NODE_overload: FY_TRY(name_of(&overload, rd, c)); break;
        default: break;
        }
    }
    FY_TRY(c->status);
    FY_PB_NEED(c, op && *op, GRAPH, "a node has no operator");
    FY_TRY(overloaded(&op, overload, rd));
    const fy_op *def = fy_op_find(rd->r, domain, op);
    if (!def) def = fy_op_opaque(rd->m, domain, op);
    fy_node *n = def ? fy_node_new(s->g, NULL, def, (int)rd->in.n, rd->in.at, (int)nout) : NULL;
    FY_PB_NEED(c, n, NOMEM, "out of memory");
    n->name = name;
    n->doc = doc;
    fy_pb in, sub;
    fy_pb_open(&in, c->file, c->msg, at, len);       /* attributes first: bodies must not see this node's outputs */
    in.up = c->up;
    in.depth = c->depth;
    while (fy_pb_next(&in)) {
        fy_attr a;
        if (in.f->num == NODE_metadata_props) { FY_TRY(node_meta(rd, n, &in)); continue; }
        if (in.f->num != NODE_attribute) continue;
        FY_PB_NEED(&in, nattr++ < MAX_ATTRS, LIMIT, "a node has more than %d attributes", MAX_ATTRS);
        fy_pb_open_sub(&sub, &in);
        FY_TRY(attribute(&a, rd, s, &sub));
        FY_PB_NEED(&in, !fy_attr_get(n, a.name), GRAPH, "attribute %.60s is given twice", a.name);
        FY_PB_NEED(&in, fy_node_set_attr(n, &a), NOMEM, "out of memory");
    }
    FY_TRY(in.status);
    int k = 0;
    fy_pb_open(&in, c->file, c->msg, at, len);
    in.up = c->up;
    in.depth = c->depth;
    while (fy_pb_next(&in)) {
        if (in.f->num != NODE_output || k >= n->nout) continue;
        if (!in.n) { n->out[k++] = NULL; continue; }
        fy_value *v = n->out[k++];
        FY_TRY(name_of(&v->name, rd, &in));
        FY_TRY(declare(s, &in, v->name, v));
    }
    return in.status;
}

/* ---- graphs ------------------------------------------------------------------------------------------------------ */

static fy_status initializer(reader *rd, scope *s, fy_pb *c, bool sparse) {
    const fy_const *k;
    fy_str given = {"", 0};
    fy_pb in;
    fy_pb_open_sub(&in, c);
    if (sparse) FY_TRY(fy_onnx_sparse(&k, &given, &rd->src, &in));
    else FY_TRY(fy_onnx_tensor(&k, &given, &rd->src, &in));
    FY_PB_NEED(c, given.n && given.n <= FY_ONNX_NAME && !memchr(given.at, 0, given.n), GRAPH, "an initialiser has no proper name");
    const char *name = fy_arena_strn(&rd->m->arena, given.at, given.n);
    FY_PB_NEED(c, name, NOMEM, "out of memory");
    fy_value *v = fy_graph_add_const(s->g, name, k);
    FY_PB_NEED(c, v, NOMEM, "out of memory");
    return declare(s, c, name, v);
}

/* The output that carries the input `name` to the next run, by the model's metadata ("ferry.state:NAME"), or NULL. */
static const char *next_state(const fy_model *m, const char *name) {
    static const char prefix[] = FY_ONNX_STATE;
    for (int64_t i = 0; i < m->meta.n; i++)
        if (!strncmp(m->meta.at[i].key, prefix, sizeof prefix - 1) && !strcmp(m->meta.at[i].key + sizeof prefix - 1, name)) return m->meta.at[i].val;
    return NULL;
}

/* An input whose default is where a state starts: the constant becomes an input again, and half a pair. */
static fy_status state_input(reader *rd, fy_value *v) {
    fy_graph *g = v->graph;
    for (int64_t i = g->constants.n; i-- > 0;)
        if (g->constants.at[i] == v) {
            memmove(g->constants.at + i, g->constants.at + i + 1, (size_t)(g->constants.n - i - 1) * sizeof *g->constants.at);
            g->constants.n--;
            break;
        }
    FY_PUSH(rd->e, g->in, v);
    FY_PUSH(rd->e, g->state, ((fy_state){v, NULL, v->constant, v->name}));
    v->is_input = true;
    v->constant = NULL;
    return FY_OK;
}

static fy_status state_outputs(reader *rd) {
    fy_graph *g = rd->m->graph;
    for (int64_t i = 0; i < g->state.n; i++) {
        const char *name = next_state(rd->m, g->state.at[i].name);
        for (int64_t k = 0; k < g->out.n && !g->state.at[i].out; k++)
            if (g->out.at[k]->name && !strcmp(g->out.at[k]->name, name)) g->state.at[i].out = g->out.at[k];
        FY_NEED(rd->e, g->state.at[i].out, GRAPH, "state \"%.80s\" names output \"%.80s\", which the graph does not have", g->state.at[i].name, name);
    }
    return FY_OK;
}

/* Initialisers, then inputs: one that is also an initialiser is a constant and no input (IR version 3 requires that form,
 * newer ones call it a default), unless the metadata declares it as state. */
static fy_status sources(reader *rd, scope *s, const fy_pb *whole) {
    fy_pb c = *whole;
    while (fy_pb_next(&c)) {
        if (c.f->num == GRAPH_initializer) FY_TRY(initializer(rd, s, &c, false));
        else if (c.f->num == GRAPH_sparse_initializer) FY_TRY(initializer(rd, s, &c, true));
        else if (c.f->num == GRAPH_name) FY_TRY(name_of(&s->g->name, rd, &c));
        else if (c.f->num == GRAPH_doc_string) FY_TRY(text(&s->g->doc, rd, &c));
    }
    FY_TRY(c.status);
    c = *whole;
    while (fy_pb_next(&c)) {
        const char *name, *doc;
        fy_type t;
        fy_pb in;
        if (c.f->num != GRAPH_input) continue;
        fy_pb_open_sub(&in, &c);
        FY_TRY(value_info(&name, &t, &doc, rd, &in));
        fy_value *v = fy_map_gets(&s->names, name);
        if (v && v->constant) {
            v->doc = doc;
            if (s->g == rd->m->graph && next_state(rd->m, name)) FY_TRY(state_input(rd, v));
            continue;
        }
        v = fy_graph_add_input(s->g, name, &t);
        FY_PB_NEED(&c, v, NOMEM, "out of memory");
        v->doc = doc;
        FY_TRY(declare(s, &c, name, v));
    }
    return c.status;
}

static fy_status add_output(reader *rd, scope *s, fy_pb *c, fy_value *v) {
    if (v->graph != s->g) {              /* an outer value as output of a body: through an Identity of its own */
        const fy_op *id = fy_op_find(rd->r, "", "Identity");
        if (!id) id = fy_op_opaque(rd->m, "", "Identity");
        fy_node *n = id ? fy_node_new(s->g, NULL, id, 1, &v, 1) : NULL;
        FY_PB_NEED(c, n, NOMEM, "out of memory");
        v = n->out[0];
    }
    FY_PB_NEED(c, fy_graph_add_output(s->g, v), NOMEM, "out of memory");
    return FY_OK;
}

static fy_status results(reader *rd, scope *s, const fy_pb *whole) {
    fy_pb c = *whole;
    while (fy_pb_next(&c)) {
        const char *name, *doc;
        fy_type t;
        fy_pb in;
        if (c.f->num != GRAPH_output && c.f->num != GRAPH_value_info) continue;
        fy_pb_open_sub(&in, &c);
        FY_TRY(value_info(&name, &t, &doc, rd, &in));
        fy_value *v = c.f->num == GRAPH_output ? lookup(s, (const unsigned char *)name, strlen(name)) : fy_map_gets(&s->names, name);
        if (c.f->num == GRAPH_output) {
            FY_PB_NEED(&c, v, GRAPH, "output \"%.100s\" is never made", name);
            FY_TRY(add_output(rd, s, &c, v));
        }
        if (v) merge(v, &t);
        if (v && doc) v->doc = doc;
    }
    return c.status;
}

/* What a body says of its inputs and outputs is kept: inference types them anew, but may learn less than that. */
static fy_status keep_declared(reader *rd, fy_pb *c, fy_value *const *v, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (v[i]->type.kind == FY_NOTYPE) continue;
        v[i]->declared = fy_arena_copy(&rd->m->arena, &v[i]->type, 1, sizeof v[i]->type);
        FY_PB_NEED(c, v[i]->declared, NOMEM, "out of memory");
    }
    return FY_OK;
}

static fy_status graph_body(reader *rd, scope *s, fy_pb *c) {
    FY_TRY(c->status);
    const fy_pb start = *c;
    FY_TRY(sources(rd, s, &start));
    while (fy_pb_next(c)) {
        fy_pb in;
        if (c->f->num != GRAPH_node) continue;
        fy_pb_open_sub(&in, c);
        FY_TRY(node(rd, s, &in));
    }
    FY_TRY(c->status);
    FY_TRY(results(rd, s, &start));
    if (!s->up) return FY_OK;
    FY_TRY(keep_declared(rd, c, s->g->in.at, s->g->in.n));
    return keep_declared(rd, c, s->g->out.at, s->g->out.n);
}

/* ---- functions and the model ------------------------------------------------------------------------------------- */

static fy_status import(fy_import **at, int64_t *n, int64_t *cap, reader *rd, fy_pb *c) {
    fy_pb in;
    fy_import im = {.domain = ""};
    fy_pb_open_sub(&in, c);
    while (fy_pb_next(&in))
        if (in.f->num == OPSET_version) im.version = (int64_t)in.u;
        else FY_TRY(domain_of(&im.domain, rd, &in));
    FY_TRY(in.status);
    FY_PB_NEED(c, *n < MAX_PAIRS, LIMIT, "more than %d operator sets", MAX_PAIRS);
    FY_PB_NEED(c, im.version > 0 && im.version <= INT32_MAX, OPSET, "operator set \"%.60s\" has version %lld", im.domain, (long long)im.version);
    for (int64_t i = 0; i < *n; i++)
        if (!strcmp((*at)[i].domain, im.domain)) {
            FY_PB_NEED(c, (*at)[i].version == im.version, OPSET, "operator set \"%.60s\" is imported in two versions", im.domain);
            return FY_OK;
        }
    FY_PB_NEED(c, fy_vec_grow((void **)at, cap, *n + 1, sizeof **at), NOMEM, "out of memory");
    (*at)[(*n)++] = im;
    return FY_OK;
}

static fy_status function_parts(fy_function *f, reader *rd, scope *s, fy_pb *c) {
    const fy_pb whole = *c;
    const char *overload = NULL;
    fy_status st = FY_OK;
    while (!st && fy_pb_next(c)) {       /* names first: the body may come before them */
        const char *name;
        switch (c->f->num) {
        case FUNCTION_name: st = name_of(&f->name, rd, c); break;
        case FUNCTION_domain: st = domain_of(&f->domain, rd, c); break;
        case FUNCTION_doc_string: st = text(&f->doc, rd, c); break;
        case FUNCTION_overload: st = name_of(&overload, rd, c); break;
        case FUNCTION_opset_import: st = import(&f->imports.at, &f->imports.n, &f->imports.cap, rd, c); break;
        case FUNCTION_attribute:
            FY_TRY(name_of(&name, rd, c));
            FY_PB_NEED(c, f->attrs.n < MAX_ATTRS, LIMIT, "a function has too many attributes");
            FY_PB_NEED(c, FY_RESERVE(f->attrs, f->attrs.n + 1), NOMEM, "out of memory");
            f->attrs.at[f->attrs.n++] = name;
            break;
        case FUNCTION_input: {
            FY_TRY(name_of(&name, rd, c));
            fy_type none = {.rank = -1};
            fy_value *v = fy_graph_add_input(s->g, name, &none);
            FY_PB_NEED(c, v, NOMEM, "out of memory");
            FY_TRY(declare(s, c, name, v));
            break;
        }
        case FUNCTION_attribute_proto: {
            fy_attr a;
            fy_pb in;
            fy_pb_open_sub(&in, c);
            FY_TRY(attribute(&a, rd, s, &in));
            FY_PB_NEED(c, f->defaults.n < MAX_ATTRS, LIMIT, "a function has too many attributes");
            FY_PB_NEED(c, FY_RESERVE(f->defaults, f->defaults.n + 1), NOMEM, "out of memory");
            f->defaults.at[f->defaults.n++] = a;
            break;
        }
        default: break;
        }
    }
    FY_TRY(st);
    FY_TRY(c->status);
    FY_PB_NEED(c, f->name && *f->name, GRAPH, "a function has no name");
    FY_TRY(overloaded(&f->name, overload, rd));
    for (int round = 0; round < 2; round++) {        /* nodes, then what needs them */
        fy_pb in;
        *c = whole;
        while (fy_pb_next(c)) {
            if (!round && c->f->num == FUNCTION_node) {
                fy_pb_open_sub(&in, c);
                FY_TRY(node(rd, s, &in));
            } else if (round && c->f->num == FUNCTION_output) {
                fy_value *v = lookup(s, c->p, c->n);
                FY_PB_NEED(c, v, GRAPH, "output \"%.*s\" of a function is never made", SHOW(c->n), (const char *)c->p);
                FY_TRY(add_output(rd, s, c, v));
            }
        }
        FY_TRY(c->status);
    }
    return FY_OK;
}

/* The function is in the model from the start, so that its lists are freed with it whatever happens. */
static fy_status function(reader *rd, fy_pb *c) {
    fy_pb in;
    scope s = {.g = fy_graph_new(rd->m, NULL)};
    FY_PB_NEED(c, s.g && rd->m->functions.n < 100000 && FY_RESERVE(rd->m->functions, rd->m->functions.n + 1), NOMEM, "out of memory");
    fy_function *f = &rd->m->functions.at[rd->m->functions.n++];
    *f = (fy_function){.domain = "", .body = s.g};
    fy_pb_open_sub(&in, c);
    fy_status st = function_parts(f, rd, &s, &in);
    fy_map_free(&s.names);
    return st;
}

static fy_status model_meta(reader *rd, fy_pb *c) {
    fy_pb in;
    const char *key = NULL, *val = "";
    fy_pb_open_sub(&in, c);
    while (fy_pb_next(&in)) FY_TRY(text(in.f->num == PAIR_key ? &key : &val, rd, &in));
    FY_TRY(in.status);
    FY_PB_NEED(c, rd->m->meta.n < MAX_PAIRS, LIMIT, "more than %d metadata entries", MAX_PAIRS);
    return key ? fy_model_set_meta(rd->m, key, val, rd->e) : FY_OK;
}

static fy_status model(reader *rd, fy_pb *c) {
    fy_model *m = rd->m;
    const fy_pb whole = *c;
    m->imports.n = 0;
    bool graph = false;
    fy_status st = FY_OK;
    while (!st && fy_pb_next(c)) {
        switch (c->f->num) {
        case MODEL_ir_version: m->ir_version = (int64_t)c->u; break;
        case MODEL_producer_name: st = text(&m->producer, rd, c); break;
        case MODEL_producer_version: st = text(&m->producer_version, rd, c); break;
        case MODEL_domain: st = text(&m->domain, rd, c); break;
        case MODEL_model_version: m->model_version = (int64_t)c->u; break;
        case MODEL_doc_string: st = text(&m->doc, rd, c); break;
        case MODEL_opset_import: st = import(&m->imports.at, &m->imports.n, &m->imports.cap, rd, c); break;
        case MODEL_metadata_props: st = model_meta(rd, c); break;
        case MODEL_graph: graph = true; break;
        default: break;
        }
    }
    FY_TRY(st);
    FY_TRY(c->status);
    FY_NEED(rd->e, graph && m->ir_version > 0, FORMAT, "%s is not an ONNX model: it has no %s", c->file->name, graph ? "IR version" : "graph");
    m->opset = m->ir_version < 3 ? 1 : 0;
    for (int64_t i = 0; i < m->imports.n; i++)
        if (!*m->imports.at[i].domain) m->opset = m->imports.at[i].version;
    scope s = {.g = m->graph};
    graph = false;
    *c = whole;
    while (!st && fy_pb_next(c)) {
        fy_pb in;
        if (c->f->num == MODEL_functions) st = function(rd, c);
        if (c->f->num != MODEL_graph) continue;
        if (graph) { st = fy_pb_fail(c, FY_E_CORRUPT, "a model holds two graphs"); break; }
        graph = true;
        fy_pb_open_sub(&in, c);
        st = graph_body(rd, &s, &in);
        if (!st) st = state_outputs(rd);
    }
    fy_map_free(&s.names);
    return st ? st : c->status;
}

static fy_status read_range(fy_model **out, const void *data, size_t n, const char *name, char *dir, fy_map_file *keep, const fy_registry *r, ferry_error *e) {
    reader rd = {.m = fy_model_new(r), .r = r, .e = e};
    fy_pb_file file = {name, data, n, e};
    fy_pb c;
    *out = NULL;
    if (!rd.m || (keep && !FY_RESERVE(rd.m->files, 1))) {
        if (keep) { fy_file_close(keep); fy_free(keep); }
        if (rd.m) fy_model_free(rd.m);
        return fy_nomem(e);
    }
    if (keep) {                          /* into the arena: from here on the model closes it */
        fy_map_file *own = fy_arena_copy(&rd.m->arena, keep, 1, sizeof *keep);
        if (own) rd.m->files.at[rd.m->files.n++] = own;
        else fy_file_close(keep);
        fy_free(keep);
        if (!own) { fy_model_free(rd.m); return fy_nomem(e); }
    }
    rd.src = (fy_onnx_src){.arena = &rd.m->arena, .model = rd.m, .dir = dir};
    fy_pb_open(&c, &file, &fy_msg_MODEL, data, n);
    fy_status st = n ? model(&rd, &c) : fy_fail(e, FY_E_FORMAT, "%s is empty", name);
    fy_map_free(&rd.src.files);
    fy_free(rd.in.at);
    if (st) fy_model_free(rd.m);
    else *out = rd.m;
    return st;
}

fy_status fy_onnx_read_memory(fy_model **m, const void *data, size_t n, const char *name, const fy_registry *r, ferry_error *e) {
    return read_range(m, data, n, name, NULL, NULL, r, e);
}

fy_status fy_onnx_read(fy_model **m, const char *path, const fy_registry *r, ferry_error *e) {
    fy_map_file *f = fy_calloc(1, sizeof *f);
    *m = NULL;
    FY_NOMEM(e, f);
    fy_status st = fy_file_open(f, path, e);
    if (st) { fy_free(f); return st; }
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 1;
    if (slash == path) n = 1;
    char *dir = fy_calloc(n + 1, 1);
    if (!dir) { fy_file_close(f); fy_free(f); return fy_nomem(e); }
    memcpy(dir, slash ? path : ".", n);
    st = read_range(m, f->at, f->n, path, dir, f, r, e);
    fy_free(dir);
    return st;
}
