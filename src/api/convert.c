/* SPDX-License-Identifier: Apache-2.0
 * convert.c - ferry_convert: a .onnx at another opset. All of it is the frame of rewrite.h: raising and lowering are what it does anyway. */
#include "api/rewrite.h"

static fy_status options(fy_rewrite *w, ferry_error *e) {
    FY_NEED(e, fy_opt_has(w->job, "opset"), USAGE, "convert: to which opset? Give --opset N, 13 to %d", FY_CANONICAL_OPSET);
    FY_TRY(fy_opt_int(w->job, "opset", 1, 1000, &w->opset, e));
    FY_NEED(e, w->opset >= 13 && w->opset <= FY_CANONICAL_OPSET, USAGE, "opset: %lld is outside 13..%d", (long long)w->opset, FY_CANONICAL_OPSET);
    return FY_OK;
}

int ferry_convert(const char *onnx, const char *to, const ferry_job *job, ferry_report **r, ferry_error *e) {
    static const char *const keys[] = {"opset", NULL};
    fy_rewrite w = {.command = "convert", .source = onnx, .target = to, .job = job, .keys = keys, .options = options};
    return fy_rewrite_run(&w, r, e);
}
