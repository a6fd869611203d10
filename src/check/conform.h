/* SPDX-License-Identifier: Apache-2.0
 * conform.h - runs case folders as onnx.backend.test lays them out: what `ferry selftest onnx` and `make conformance` do. */
#ifndef FY_CONFORM_H
#define FY_CONFORM_H

#include "base/report.h"
#include "engines/engine.h"

/* A case is a folder with model.onnx, test_data_set_N/input_I.pb and output_I.pb, and perhaps a file `tolerance` ("rtol atol"; else
 * 1e-3 and 1e-7). A value is right if |got - want| <= atol + rtol * |want|, as numpy.testing.assert_allclose has it; dtype, shape and
 * count of outputs must be equal; rtol is at least 2^-6 for bfloat16, as in onnx.backend.test.runner. */
typedef struct fy_conform_options {
    const fy_engine *engine;             /* NULL: ours */
    int         threads;
    bool        strict;                  /* f32 and f64 outputs at rtol 1e-5, atol 1e-7, where the case does not ask for less error itself */
    bool        stepwise;                /* f16 outputs at rtol 2^-9 at least: operators were written out, and every step rounds */
    const char *const *exceptions;       /* files of "CASE reason" lines: cases that may fail; one that passes is a failure */
    int         nexceptions;
    void      (*progress)(void *ctx, const char *what, double share);
    void       *ctx;
} fy_conform_options;

/* paths: cases, or folders of cases. The report's closing line is "N passed, N failed", with ", N skipped" when exceptions were used;
 * its verdict is FERRY_NO if any failed. NOFILE if a path holds no case. */
FY_CHECKED fy_status fy_conform_report(fy_report *r, const char *const *path, size_t n, const fy_conform_options *o, ferry_error *e);

/* One case: runs `m`, which is canonical and inferred, on all data sets of the folder. Words in `why` if an output is not as recorded.
 * What ferry-convert-cases asks of a model that was taken to another opset and back. path: the file behind the model, for other engines. */
FY_CHECKED fy_status fy_conform_model(fy_model *m, const char *folder, const char *path, const fy_conform_options *o, fy_buf *why, ferry_error *e);

#endif
