/* SPDX-License-Identifier: Apache-2.0
 * load.c - a model from a .onnx, a .pt2 or a TorchScript archive, at the canonical opset, inferred. With FERRY_RUN_ONLY (libferry-run) from a .onnx alone. */
#include "api/registry.h"
#include "formats/onnx.h"
#ifndef FERRY_RUN_ONLY
#include "aten/mapping.h"
#endif
#include "opset/opset.h"

#include <string.h>

#ifndef FERRY_RUN_ONLY
bool fy_is_onnx(const char *path) {
    fy_filetype t;
    return fy_file_kind(&t, path, NULL) == FY_OK && t == FY_FILE_ONNX;
}
#endif

static fy_status load_onnx(fy_loaded *l, const char *path, ferry_error *e) {
    FY_TRY(fy_onnx_read(&l->model, path, fy_registry_of(l->registry), e));
    l->file_opset = l->model->opset;
    FY_TRY(fy_opset_raise(l->model, e));
    return fy_infer_model(l->model, e);
}

#ifndef FERRY_RUN_ONLY
static fy_status load_program(fy_loaded *l, const char *path, const ferry_job *job, ferry_error *e) {
    fy_lower_options o = {.registry = fy_registry_of(l->registry), .mappings = fy_mappings_of(l->registry)};
    fy_pass_options passes = {.fold = true, .fold_bn = true, .hooks = fy_hooks_builtin()};
    FY_TRY(fy_read_source(&l->program, path, &(fy_source_options){.job = job, .registry = l->registry}, e));
    FY_TRY(fy_aten_inline(l->program, e));
    FY_TRY(fy_aten_functionalise(l->program, e));
    FY_TRY(fy_aten_lower(&l->model, l->program, &o, e));
    FY_TRY(fy_passes_run(l->model, &passes, e));
    return fy_model_name_all(l->model, e);
}

static fy_status load_any(fy_loaded *l, const char *path, const ferry_job *job, ferry_error *e) {
    fy_filetype type;
    FY_TRY(fy_file_kind(&type, path, e));
    return type == FY_FILE_ONNX || type == FY_FILE_UNKNOWN ? load_onnx(l, path, e) : load_program(l, path, job, e);       /* other kinds: the reader says what they are */
}
#else
static fy_status load_any(fy_loaded *l, const char *path, const ferry_job *job, ferry_error *e) { (void)job; return load_onnx(l, path, e); }
#endif

fy_status fy_load_with(fy_loaded *l, const char *path, ferry_registry *r, const ferry_job *job, ferry_error *e) {
    *l = (fy_loaded){.registry = fy_registry_hold(r)};
    fy_status s = load_any(l, path, job, e);
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
    fy_status s = fy_load_with(l, path, r, job, e);
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

/* ---- mappings of custom operators --------------------------------------------------------------------------------- */

#ifndef FERRY_RUN_ONLY
fy_status fy_maps_add(fy_mappings **m, const char *where, const char *text, size_t n, const fy_registry *r, ferry_error *e) {
    if (!*m) *m = fy_calloc(1, sizeof **m);
    FY_NOMEM(e, *m);
    return fy_mappings_add(*m, where, text, n, r, e);
}

/* Told from a shared object by what it holds. */
fy_status fy_maps_file(fy_mappings **m, const char *path, bool *text, const fy_registry *r, ferry_error *e) {
    static const unsigned char object[][4] = {{0x7f, 'E', 'L', 'F'}, {0xcf, 0xfa, 0xed, 0xfe}, {'M', 'Z', 0x90, 0}};
    fy_map_file f;
    *text = false;
    fy_status s = fy_file_open(&f, path, e);
    if (s) return s == FY_E_NOMEM ? s : FY_OK;           /* else the loader says what is wrong with it */
    *text = f.n > 0 && !memchr(f.at, 0, f.n < 4096 ? f.n : 4096);
    for (int i = 0; i < 3 && f.n >= 4; i++) *text = *text && memcmp(f.at, object[i], 4) != 0;
    s = *text ? fy_maps_add(m, path, (const char *)f.at, f.n, r, e) : FY_OK;
    fy_file_close(&f);
    return s;
}

void fy_maps_free(fy_mappings *m) {
    if (m) fy_mappings_free(m);
    fy_free(m);
}
#else
fy_status fy_maps_add(fy_mappings **m, const char *where, const char *text, size_t n, const fy_registry *r, ferry_error *e) {
    (void)m, (void)where, (void)text, (void)n, (void)r, (void)e;
    return FY_OK;
}

fy_status fy_maps_file(fy_mappings **m, const char *path, bool *text, const fy_registry *r, ferry_error *e) {
    (void)m, (void)path, (void)r, (void)e;
    *text = false;
    return FY_OK;
}

void fy_maps_free(fy_mappings *m) { (void)m; }
#endif
