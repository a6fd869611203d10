/* SPDX-License-Identifier: Apache-2.0
 * graph.h - THE GRAPH: ONNX semantics at one canonical opset, symbolic dims, typed values.
 *
 * A fy_model owns an arena in which everything lives. A graph's nodes are a doubly linked list in topological order;
 * values carry their uses; insert, remove and replace-all-uses are O(1) (per use). Ids are dense per model, so side tables
 * are arrays. A subgraph belongs to the attribute of its node; outer values that it reads are listed as the node's captures
 * (explicit uses), so nothing searches bodies. Not thread safe while it is changed; freely shared once it is not. */
#ifndef FY_GRAPH_H
#define FY_GRAPH_H

#include "base/map.h"
#include "ir/constant.h"
#include "ir/dim.h"

#define FY_CANONICAL_OPSET 28
#define FY_ML "ai.onnx.ml"               /* the domain of classical machine learning */
#define FY_CANONICAL_ML 5                /* its version that came with the canonical opset */

typedef struct fy_op       fy_op;        /* ir/op.h */
typedef struct fy_registry fy_registry;
typedef struct fy_value    fy_value;
typedef struct fy_node     fy_node;
typedef struct fy_graph    fy_graph;
typedef struct fy_model    fy_model;

/* ---- types ------------------------------------------------------------------------------------------------------- */

typedef enum fy_kind { FY_NOTYPE, FY_TENSOR, FY_SEQUENCE, FY_OPTIONAL, FY_MAP, FY_SPARSE } fy_kind;

#define FY_NO_ITEM (-2)
typedef struct fy_type fy_type;
struct fy_type {
    fy_kind        kind;
    fy_dtype       dtype;                /* TENSOR, SPARSE; MAP: of the key; 0 unknown */
    int            rank;                 /* below 0: unknown; FY_NO_ITEM: of the items of a sequence that has none yet */
    const fy_dim *const *dim;            /* rank of them, none NULL */
    const fy_type *elem;                 /* SEQUENCE, OPTIONAL, MAP */
};

/* ---- attributes -------------------------------------------------------------------------------------------------- */

typedef enum fy_attr_kind {              /* numbered as in onnx.proto3 AttributeProto.AttributeType */
    FY_ATTR_NONE = 0, FY_ATTR_FLOAT = 1, FY_ATTR_INT = 2, FY_ATTR_STRING = 3, FY_ATTR_TENSOR = 4, FY_ATTR_GRAPH = 5,
    FY_ATTR_FLOATS = 6, FY_ATTR_INTS = 7, FY_ATTR_STRINGS = 8, FY_ATTR_TENSORS = 9, FY_ATTR_GRAPHS = 10,
    FY_ATTR_SPARSE = 11, FY_ATTR_SPARSES = 12, FY_ATTR_TYPE = 13, FY_ATTR_TYPES = 14
} fy_attr_kind;

typedef struct fy_attr {
    const char  *name;
    fy_attr_kind kind;
    int64_t      n;                      /* length of lists; 1 for single values */
    int64_t      i;
    double       f;                      /* floats are held as double but are f32 in files */
    fy_str       s;
    const int64_t *ints;
    const double  *floats;
    const fy_str  *strings;
    const fy_const *tensor;
    const fy_const *const *tensors;
    fy_graph     *graph;
    fy_graph    **graphs;
    const fy_type *type;
    const char  *ref;                    /* in a function body: the function attribute that it stands for, or NULL; kind is NONE, i the kind to be */
} fy_attr;

/* ---- values ------------------------------------------------------------------------------------------------------ */

/* One use: value v is input (or capture) number `slot` of `user`. Output number `slot` of `graph` is a use with user == NULL.
 * Nodes in bodies that read v are uses of it as well, beside the capture of the node that owns the body. */
typedef struct fy_use { fy_value *value; fy_node *user; int slot; bool capture; struct fy_use *next, *prev; fy_graph *graph; } fy_use;

struct fy_value {
    uint32_t     id;
    const char  *name;                   /* unique within the model once written; may be NULL before */
    fy_type      type;
    const fy_type *declared;             /* inputs and outputs of bodies: the type in the file, or NULL */
    fy_node     *def;                    /* producer; NULL for inputs and constants */
    int          def_slot;
    fy_graph    *graph;
    fy_use      *uses;
    int64_t      nuses;
    const fy_const *constant;            /* initialiser (of any size), or NULL */
    const fy_dim *const *elem;           /* contents of a small integer tensor as dims, row-major, if known; else NULL */
    int64_t      nelem;
    bool         is_input, is_output;
    const char  *doc;
};

struct fy_node {
    uint32_t     id;
    const fy_op *op;                     /* never NULL: unknown operators get an opaque fy_op */
    const char  *name;                   /* "" or NULL: none */
    fy_graph    *graph;
    fy_node     *prev, *next;
    int          nin, nout, ncap;
    fy_use      *in;                     /* in[i].value is NULL where an optional input is left out */
    fy_value   **out;                    /* NULL where an optional output is not wanted */
    fy_use     **cap;                    /* captures of the subgraphs */
    int          nattr;
    fy_attr     *attr;
    const char  *scope;                  /* module path "layer1.0.conv1", or NULL */
    const char  *source;                 /* "model.py:57 in forward", or NULL */
    const char  *doc;
    uint64_t     mark;                   /* scratch for passes */
    bool         head;                   /* computes a size from graph inputs: build.c keeps such nodes at the start of the graph */
};

typedef struct fy_state { fy_value *in, *out; const fy_const *init; const char *name; } fy_state;

struct fy_graph {
    fy_model    *model;
    fy_graph    *parent;                 /* of a subgraph */
    fy_node     *owner;
    const char  *name;
    const char  *doc;
    fy_node     *first, *last;
    int64_t      nnodes;
    FY_VEC(fy_value *) in, out;          /* out: the same value may appear twice */
    FY_VEC(fy_value *) constants;        /* initialisers, in order; may hold unused ones until the dead-code pass */
    FY_VEC(fy_state) state;              /* (input, output) pairs that share a buffer across runs; main graph only */
    FY_VEC(fy_use *) out_use;            /* the uses that the outputs are */
};

typedef struct fy_pair { const char *key, *val; } fy_pair;
typedef struct fy_import { const char *domain; int64_t version; } fy_import;      /* "" is ai.onnx */

/* A model-local function: body over its formal inputs. */
typedef struct fy_function {
    const char *domain, *name, *doc;
    fy_graph   *body;
    const fy_op *op;                     /* of a call; set when the model is raised */
    FY_VEC(const char *) attrs;          /* names without a default */
    FY_VEC(fy_attr) defaults;            /* attributes with one */
    FY_VEC(fy_import) imports;
} fy_function;

struct fy_model {
    fy_arena     arena;
    fy_dims     *dims;
    const fy_registry *registry;
    fy_graph    *graph;                  /* main */
    FY_VEC(fy_import) imports;           /* as read, or as to be written; the graph itself is canonical */
    int64_t      opset;                  /* of ai.onnx as read or to be written; 0: canonical */
    int64_t      ir_version;
    FY_VEC(fy_pair) meta;                /* metadata_props */
    FY_VEC(fy_function) functions;
    const char  *producer, *producer_version, *domain, *doc;
    int64_t      model_version;
    uint32_t     nvalues, nnodes;        /* ids given out */
    FY_VEC(struct fy_map_file *) files;  /* mapped files that constants point into (structs in the arena); closed with the model */
    FY_VEC(fy_graph *) graphs;           /* every graph ever made */
    fy_map       opaque;                 /* operators of fy_op_opaque by "domain::name" */
    fy_map       merged;                 /* build.c: small constants, and sizes built from inputs */
};

fy_model *fy_model_new(const fy_registry *r);                /* with an empty main graph; NULL: out of memory */
void      fy_model_free(fy_model *m);
void      fy_model_drop_functions(fy_model *m);              /* nothing calls them any more */
const char *fy_model_meta(const fy_model *m, const char *key);
FY_CHECKED fy_status fy_model_set_meta(fy_model *m, const char *key, const char *val, ferry_error *e);

/* ---- changing the graph (NULL or false: out of memory) ------------------------------------------------------------ */

fy_graph *fy_graph_new(fy_model *m, fy_graph *parent);       /* a subgraph-to-be; set as attribute with fy_node_set_attr */
fy_value *fy_value_new(fy_graph *g, const char *name);       /* no producer yet */
fy_value *fy_graph_add_input(fy_graph *g, const char *name, const fy_type *t);
bool      fy_graph_add_output(fy_graph *g, fy_value *v);
void      fy_graph_set_output(fy_graph *g, int i, fy_value *v);
fy_value *fy_graph_add_const(fy_graph *g, const char *name, const fy_const *c);
/* A node before `before` (NULL: at the end) with nin inputs (NULL entries allowed) and nout fresh output values. */
fy_node  *fy_node_new(fy_graph *g, fy_node *before, const fy_op *op, int nin, fy_value *const *in, int nout);
/* attr->name and contents are copied into the arena, except tensors and graphs, which are taken over. For a graph the
 * node's captures are collected. Replaces one of the same name. */
bool      fy_node_set_attr(fy_node *n, const fy_attr *attr);
void      fy_node_del_attr(fy_node *n, const char *name);
/* Takes the body out of the attribute `name`, which goes, so that another node can be given it; NULL if there is none. */
fy_graph *fy_node_take_body(fy_node *n, const char *name);
void      fy_node_set_input(fy_node *n, int i, fy_value *v);  /* i < nin; v may be NULL */
bool      fy_node_add_input(fy_node *n, fy_value *v);
void      fy_node_remove(fy_node *n);                        /* its outputs must have no uses */
void      fy_node_move(fy_node *n, fy_node *before);         /* within its graph */
void      fy_value_replace(fy_value *v, fy_value *by);       /* every use, also as graph output */
/* Values of `g` read by its subgraphs change when nodes are added there: call for the owner node afterwards. */
bool      fy_node_collect_captures(fy_node *n);
/* Everything in body g moves to the graph of `before`, in front of it; g->out still names what were its outputs, and its inputs must have
 * been replaced. The node that owned g keeps it, empty. */
bool      fy_graph_splice(fy_graph *g, fy_node *before);
/* Subgraph number k of a node over all its attributes, or NULL. The graph after g, bodies before what follows their node,
 * among those below `root` (NULL: of the main graph or function that g is in); NULL after the last. No recursion needed. */
fy_graph *fy_node_body(const fy_node *n, int64_t k);
fy_graph *fy_graph_next(const fy_node *root, const fy_graph *g);
/* Is v made in g itself or in a graph around it? */
bool      fy_value_visible(const fy_value *v, const fy_graph *g);

/* ---- reading ----------------------------------------------------------------------------------------------------- */

const fy_attr *fy_attr_get(const fy_node *n, const char *name);                   /* NULL if not set */
/* With the default of the operator's attribute table when not set; FY_ASSERTs that the table has it. */
int64_t     fy_attr_i(const fy_node *n, const char *name);
double      fy_attr_f(const fy_node *n, const char *name);
fy_str      fy_attr_s(const fy_node *n, const char *name);
bool        fy_attr_is(const fy_node *n, const char *name, const char *text);     /* string attribute equals text */
bool        fy_attr_is_default(const fy_node *n, const fy_attr *a);               /* a number or string that says what would hold without it */
const int64_t *fy_attr_ints(const fy_node *n, const char *name, int64_t *count);  /* NULL, 0 when not set */
fy_graph   *fy_attr_graph(const fy_node *n, const char *name);

static inline fy_value *fy_in(const fy_node *n, int i) { return i < n->nin ? n->in[i].value : NULL; }
static inline fy_value *fy_outv(const fy_node *n, int i) { return i < n->nout ? n->out[i] : NULL; }
bool fy_type_equal(const fy_type *a, const fy_type *b);
fy_type fy_tensor_type(fy_model *m, fy_dtype t, int rank, const fy_dim *const *dim);        /* copies dim into the arena */
fy_type fy_tensor_type_i64(fy_model *m, fy_dtype t, int rank, const int64_t *dim);
void fy_type_print(fy_buf *out, const fy_type *t);           /* "f32[batch,3,224,224]" */
/* "node 212 \"layer.3/attn/softmax\" (Softmax)" with source line if known: for error frames. */
void fy_node_describe(char *out, size_t n, const fy_node *node);

/* SSA, order, use lists, arity, types against the operator table, captures. The first fault found: GRAPH, TYPE, ... */
FY_CHECKED fy_status fy_model_verify(const fy_model *m, ferry_error *e);

/* ONNX text syntax (onnx/docs/Syntax.md): what FERRY_DUMP, golden files and pass tests use. Constants above
 * `max_elements` print as {...}. */
void fy_model_print(fy_buf *out, const fy_model *m, int64_t max_elements);
FY_CHECKED fy_status fy_model_parse(fy_model **m, const char *text, size_t n, const fy_registry *r, ferry_error *e);
/* The value of an attribute in the same syntax; graphs in words. */
void fy_attr_print(fy_buf *out, const fy_attr *a, int64_t max_elements);
void fy_model_dot(fy_buf *out, const fy_model *m);

/* Gives every value and node a unique name ("" is none): keeps given ones, adds "_2" to repeated ones. */
FY_CHECKED fy_status fy_model_name_all(fy_model *m, ferry_error *e);

#endif
