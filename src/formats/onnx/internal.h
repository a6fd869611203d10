/* SPDX-License-Identifier: Apache-2.0
 * internal.h - what the files of this folder share: turning tensor messages into constants. */
#ifndef FY_ONNX_INTERNAL_H
#define FY_ONNX_INTERNAL_H

#include "formats/onnx.h"
#include "formats/onnx/proto.h"

#define FY_ONNX_NAME 65535               /* longest name */
#define FY_ONNX_DEPTH 64                 /* graphs inside graphs, types inside types */

/* Where tensors come from: memory for decoded ones, and files of external data. */
typedef struct fy_onnx_src {
    fy_arena *arena;
    fy_model *model;                     /* keeps the files open; NULL: no external data */
    char     *dir;                       /* of the model; NULL: read from memory, no external data */
    fy_map    files;                     /* location -> fy_map_file */
} fy_onnx_src;

/* The TensorProto under `c` as a constant that points into the file where it can. `name` may be NULL. */
FY_CHECKED fy_status fy_onnx_tensor(const fy_const **out, fy_str *name, fy_onnx_src *s, fy_pb *c);
/* A SparseTensorProto, made dense. */
FY_CHECKED fy_status fy_onnx_sparse(const fy_const **out, fy_str *name, fy_onnx_src *s, fy_pb *c);

/* Declared state in a file: the input has its initial value as initialiser, and metadata_props say which output carries it on. */
#define FY_ONNX_STATE "ferry.state:"

#endif
