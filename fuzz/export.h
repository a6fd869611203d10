/* SPDX-License-Identifier: Apache-2.0
 * export.h - a program that a reader gave, through the rest of export: fy_reached counts how far it came. */
#ifndef FY_FUZZ_EXPORT_H
#define FY_FUZZ_EXPORT_H

#include "fuzz.h"

#include "aten/aten.h"
#include "formats/onnx.h"
#include "opset/opset.h"
#include "passes/passes.h"

/* Frees the program. */
static void fy_fuzz_export(fy_program *p) {
    ferry_error e;
    fy_model *m = NULL;
    fy_buf out = {0};
    fy_lower_options lower = {0};
    fy_pass_options passes = {.fold = true, .fold_bn = true, .fold_bytes = 1 << 16};
    fy_reached[0]++;
    fy_program_print(&out, p);
    fy_buf_free(&out);
    if (fy_aten_inline(p, &e) == FY_OK && fy_aten_functionalise(p, &e) == FY_OK && fy_aten_lower(&m, p, &lower, &e) == FY_OK) {
        fy_reached[1]++;
        if (fy_passes_run(m, &passes, &e) == FY_OK && ++fy_reached[2] && fy_opset_lower(m, 17, &e) == FY_OK && fy_model_name_all(m, &e) == FY_OK)
            fy_reached[3] += fy_onnx_write_memory(m, &out, &e) == FY_OK;
        fy_buf_free(&out);
        fy_model_free(m);
    }
    fy_program_free(p);
}

#endif
