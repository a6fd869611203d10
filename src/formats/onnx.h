/* SPDX-License-Identifier: Apache-2.0
 * onnx.h - reads and writes .onnx (onnx.proto3, IR versions 3 to newest), zero-copy in and streamed out.
 *
 * This is bytes only: domain, operator name and opset stay as read; fy_opset_raise brings a model to the canonical opset. */
#ifndef FY_ONNX_H
#define FY_ONNX_H

#include "base/file.h"
#include "ir/op.h"

/* Maps the file; initialisers point into it. External data is opened below the model's folder only. m->opset holds the
 * version of ai.onnx that the file imports. */
FY_CHECKED fy_status fy_onnx_read(fy_model **m, const char *path, const fy_registry *r, ferry_error *e);
FY_CHECKED fy_status fy_onnx_read_memory(fy_model **m, const void *data, size_t n, const char *name, const fy_registry *r, ferry_error *e);
/* TensorProto, SequenceProto, OptionalProto, MapProto files (.pb of the test suites). */
FY_CHECKED fy_status fy_onnx_read_value(fy_rval *v, const char *path, ferry_error *e);
/* The same when the kind is known: the bytes of a sequence of one tensor and of an optional tensor are equal, and an empty
 * file may be any, and a map is read only where it is asked for. FY_NOTYPE guesses between tensor and sequence. */
FY_CHECKED fy_status fy_onnx_read_value_as(fy_rval *v, const char *path, fy_kind kind, ferry_error *e);
FY_CHECKED fy_status fy_onnx_write_tensor(const char *path, const fy_tensor *t, const char *name, ferry_error *e);

typedef struct fy_onnx_more { int n; fy_pair pair[8]; } fy_onnx_more;

typedef struct fy_onnx_options {
    bool external_data;                  /* weights of 1 KiB and more into NAME.data beside it; forced above 2 GiB */
    bool traces;                         /* keep source paths (metadata_props of nodes) */
    /* Called once everything is written and flushed under temporary names, before the files take their places (model_tmp NULL: weights are in
     * a second file, which has no name yet under which a reader would find it); may add to `more`, which is appended to the file as metadata_props. Not FY_OK: nothing is put in place. */
    fy_status (*before_commit)(void *ctx, const char *model_tmp, struct fy_onnx_more *more, ferry_error *e);
    void *ctx;
} fy_onnx_options;

/* Writes the model as it is (already at m->opset) beside the target and renames. Peak memory does not depend on weights. */
FY_CHECKED fy_status fy_onnx_write(const fy_model *m, const char *path, const fy_onnx_options *o, ferry_error *e);
/* The same into memory, for models without large weights. */
FY_CHECKED fy_status fy_onnx_write_memory(const fy_model *m, fy_buf *out, ferry_error *e);

#endif
