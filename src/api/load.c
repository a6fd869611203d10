/* SPDX-License-Identifier: Apache-2.0
 * load.c - a model from a .onnx or a .pt2, at the canonical opset, inferred. With FERRY_RUN_ONLY (libferry-run) from a .onnx alone. */
#include "api/api.h"
#include "formats/onnx.h"
#ifndef FERRY_RUN_ONLY
#include "formats/pt2.h"
#endif
#include "opset/opset.h"

#ifndef FERRY_RUN_ONLY
/* What the first bytes say the file is. */
static fy_status kind_of(fy_filetype *t, const char *path, ferry_error *e) {
    fy_map_file f;
    FY_TRY(fy_file_open(&f, path, e));
    *t = fy_file_sniff(f.at, f.n);
    fy_file_close(&f);
    return FY_OK;
}
#endif

#ifndef FERRY_RUN_ONLY
bool fy_is_onnx(const char *path) {
    fy_filetype t;
    return kind_of(&t, path, NULL) == FY_OK && t == FY_FILE_ONNX;
}
#endif

static fy_status load_onnx(fy_loaded *l, const char *path, ferry_error *e) {
    FY_TRY(fy_onnx_read(&l->model, path, fy_registry_of(l->registry), e));
    l->file_opset = l->model->opset;
    FY_TRY(fy_opset_raise(l->model, e));
    return fy_infer_model(l->model, e);
}

#ifndef FERRY_RUN_ONLY
static fy_status load_pt2(fy_loaded *l, const char *path, ferry_error *e) {
    fy_lower_options o = {0};
    fy_pass_options passes = {.fold = true, .fold_bn = true, .hooks = fy_hooks_builtin()};
    FY_TRY(fy_pt2_read(&l->program, path, e));
    FY_TRY(fy_aten_inline(l->program, e));
    FY_TRY(fy_aten_functionalise(l->program, e));
    FY_TRY(fy_aten_lower(&l->model, l->program, &o, e));
    FY_TRY(fy_passes_run(l->model, &passes, e));
    return fy_model_name_all(l->model, e);
}

static fy_status load_any(fy_loaded *l, const char *path, ferry_error *e) {
    fy_filetype type;
    FY_TRY(kind_of(&type, path, e));
    return type == FY_FILE_ONNX || type == FY_FILE_UNKNOWN ? load_onnx(l, path, e) : load_pt2(l, path, e);       /* other kinds: the reader says what they are */
}
#else
static fy_status load_any(fy_loaded *l, const char *path, ferry_error *e) { return load_onnx(l, path, e); }
#endif

fy_status fy_load_with(fy_loaded *l, const char *path, ferry_registry *r, ferry_error *e) {
    *l = (fy_loaded){.registry = fy_registry_hold(r)};
    fy_status s = load_any(l, path, e);
    if (s) {
        fy_unload(l);
        return fy_frame(e, s, "file %s", path);
    }
    return FY_OK;
}

fy_status fy_load(fy_loaded *l, const char *path, const ferry_job *job, ferry_error *e) {
    ferry_registry *r;
    *l = (fy_loaded){0};
    FY_TRY(fy_opt_plugins(job, &r, e));
    fy_status s = fy_load_with(l, path, r, e);
    ferry_registry_free(r);
    return s;
}

void fy_unload(fy_loaded *l) {
    fy_model_free(l->model);
#ifndef FERRY_RUN_ONLY
    fy_program_free(l->program);
#endif
    ferry_registry_free(l->registry);    /* after the model, whose nodes point into it */
    *l = (fy_loaded){0};
}
