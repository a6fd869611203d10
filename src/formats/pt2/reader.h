/* SPDX-License-Identifier: Apache-2.0
 * reader.h - what the parts of the .pt2 reader share. Start at read.c. */
#ifndef FY_PT2_READER_H
#define FY_PT2_READER_H

#include "formats/pickle.h"
#include "formats/pt2.h"

#define FY_PT2_NESTING 64                /* graphs within graphs, expressions within expressions, containers of inputs */

typedef enum fy_pt2_layout { FY_PT2_FLAT, FY_PT2_PICKLED, FY_PT2_RAW } fy_pt2_layout;

typedef struct fy_pt2 {
    fy_program     *p;
    ferry_error    *e;
    fy_zip          zip;
    fy_arena        tmp;                 /* JSON trees; freed when the program is built */
    fy_pt2_layout   layout;
    const char     *root, *model;        /* "<root>/models/<model>.json" */
    bool            big_endian;
    fy_map          strings;             /* interned */
    fy_map          exprs;               /* expression text -> fy_dim */
    fy_map          views;               /* address, type and view -> fy_const: tied weights share one */
    fy_map          weights, constants;  /* fqn -> JSON entry (raw) or fy_pickled */
    fy_torch_file   weight_file, constant_file, sample_file;
    bool            has_weight_file, has_constant_file, has_sample_file;
} fy_pt2;

/* read.c. A 0-terminated copy in the program's arena, one for each text. CORRUPT if it is no string or holds a 0. */
FY_CHECKED fy_status fy_pt2_str(fy_pt2 *r, const char **to, const fy_json *j, const char *what);
FY_CHECKED fy_status fy_pt2_intern(fy_pt2 *r, const char **to, const char *s, size_t n);
FY_CHECKED fy_status fy_pt2_int(fy_pt2 *r, int64_t *to, const fy_json *j, const char *what);

/* expr.c: sympy's srepr or infix text as a dim. Functions that have no integer form become opaque dims of their name. */
FY_CHECKED fy_status fy_pt2_expr(fy_pt2 *r, const fy_dim **to, const char *s, size_t n);

/* graph.c: the graph with those inside it. */
FY_CHECKED fy_status fy_pt2_graph(fy_pt2 *r, fy_pgraph **g, const fy_json *graph);
/* One argument union that names no values: literals of signatures. */
FY_CHECKED fy_status fy_pt2_literal(fy_pt2 *r, fy_parg *a, const fy_json *arg);
fy_dtype fy_pt2_dtype(int64_t scalar_type);                              /* 0 if there is none */
/* source.c: scope and source line of a node from its metadata. */
FY_CHECKED fy_status fy_pt2_metadata(fy_pt2 *r, fy_pnode *n, const fy_json *metadata);

/* sniff.c: FORMAT, with what the file is and what to do, unless it is a .pt2. */
FY_CHECKED fy_status fy_pt2_other_file(const void *data, size_t n, const char *path, ferry_error *e);

/* weights.c */
FY_CHECKED fy_status fy_pt2_open_weights(fy_pt2 *r);
FY_CHECKED fy_status fy_pt2_weight(fy_pt2 *r, const fy_const **c, const char *fqn, bool constant_first);

/* names.c: names of user inputs and outputs, and the sample, from the tree specs of the module call graph. */
FY_CHECKED fy_status fy_pt2_names(fy_pt2 *r, const fy_json *graph_module);

#endif
