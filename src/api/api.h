/* SPDX-License-Identifier: Apache-2.0
 * api.h - what the files of api/ share: options by name, loading a model whatever its format. */
#ifndef FY_API_H
#define FY_API_H

#include "aten/aten.h"
#include "base/report.h"
#include "engines/engine.h"
#include "ferry/ferry.h"
#include "ferry/plugin.h"
#include "base/checked.h"
#ifndef FERRY_RUN_ONLY
#include "formats/pt2.h"
#endif
#include "passes/passes.h"

/* A model brought to the canonical opset and inferred, with what it came from. */
typedef struct fy_loaded {
    fy_model   *model;
    fy_program *program;                 /* of a .pt2: its mapped weights back the model's constants; else NULL */
    int64_t     file_opset;              /* ai.onnx version in the file; 0 for a .pt2 */
    ferry_registry *registry;            /* held: operators beside the built-in ones, or NULL */
} fy_loaded;
/* With the operators of `r`, which is held (may be NULL), or of the job's option plugin, which may be repeated. Of the job, `shape`
 * (see fy_read_source) counts for both. */
FY_CHECKED fy_status fy_load_with(fy_loaded *l, const char *path, ferry_registry *r, const ferry_job *job, ferry_error *e);
FY_CHECKED fy_status fy_load(fy_loaded *l, const char *path, const ferry_job *job, ferry_error *e);
void fy_unload(fy_loaded *l);

bool fy_is_onnx(const char *path);       /* by its first bytes; false also if it cannot be read */
#ifndef FERRY_RUN_ONLY
/* The program of a .pt2 or of a TorchScript archive. The latter takes shapes from the job's `shape` options (NAME=1x3x224x224[:DTYPE]), and
 * symbols for the axes named (batch: for axis 0 of every input) while it is read; a .pt2 has its own. `registry`: custom operators, or NULL. */
typedef struct fy_source_options { const ferry_job *job; const ferry_registry *registry; int naxes; const fy_axis_name *axes; bool batch; } fy_source_options;
FY_CHECKED fy_status fy_read_source(fy_program **p, const char *path, const fy_source_options *o, ferry_error *e);
FY_CHECKED fy_status fy_file_kind(fy_filetype *t, const char *path, ferry_error *e);         /* what the first bytes say the file is */
#endif

/* ---- operators of callers and plugins ----------------------------------------------------------------------------------- */

const fy_mappings *fy_mappings_of(const ferry_registry *r);                  /* NULL: none */
const fy_registry *fy_registry_of(const ferry_registry *r);                  /* NULL: the built-in operators */
ferry_registry *fy_registry_hold(ferry_registry *r);                         /* for a model; let go with ferry_registry_free. NULL is fine */
/* Adds the operators of a shared object to *r, which is made, with `base` (may be NULL) behind it, if it is not there. */
FY_CHECKED fy_status fy_registry_plugin(ferry_registry **r, const char *path, ferry_registry *base, ferry_error *e);
/* The job's plugins; *r is NULL if it names none. */
FY_CHECKED fy_status fy_opt_plugins(const ferry_job *job, ferry_registry **r, ferry_error *e);

/* ---- options of a job ------------------------------------------------------------------------------------------------ */

/* USAGE, with the nearest known one, if a key of the job is not among `keys` (ends with NULL). */
FY_CHECKED fy_status fy_opt_known(const ferry_job *job, const char *const *keys, ferry_error *e);
const char *fy_opt(const ferry_job *job, const char *key);                   /* the last one's value, or NULL */
bool        fy_opt_has(const ferry_job *job, const char *key);
FY_CHECKED fy_status fy_opt_int(const ferry_job *job, const char *key, int64_t lo, int64_t hi, int64_t *v, ferry_error *e);      /* *v kept if absent */
FY_CHECKED fy_status fy_opt_num(const ferry_job *job, const char *key, double *v, ferry_error *e);
/* Words of a comma-separated value, in the arena. */
FY_CHECKED fy_status fy_opt_words(const ferry_job *job, const char *key, fy_arena *a, const char *const **words, int *n, ferry_error *e);
/* The engine named; *engine stays what it was where none is, unless it is NULL: then the default. */
/* precision=f32 or bf16; the latter is for our engine alone. */
FY_CHECKED fy_status fy_opt_precision(const ferry_job *job, const fy_engine *engine, bool *bf16, ferry_error *e);
FY_CHECKED fy_status fy_opt_engine(const ferry_job *job, const char *key, const fy_engine **engine, ferry_error *e);

/* Is the caller's view sound: dtype of whole bytes, rank, dims, bytes, data there and aligned? `what` and `name` say which it is. */
FY_CHECKED fy_status fy_view_check(const char *what, const char *name, const ferry_tensor *t, ferry_error *e);

/* The public handle of a value is the value. */
struct ferry_value { fy_rval v; };
/* A copy that shares storage; NULL: NOMEM. Takes over *v when `take`, also when it fails. */
ferry_value *fy_value_handle(fy_rval *v, bool take, ferry_error *e);

/* Operators of the graph and of its bodies with their numbers, most frequent first; the caller frees *ops. Out of memory: a shorter list. */
typedef struct fy_op_count { const char *name; int64_t n; } fy_op_count;
int64_t fy_count_operators(fy_op_count **ops, const fy_model *m);

/* The model behind a public handle. */
const fy_model    *fy_model_of(const ferry_model *m);
const fy_engine   *fy_engine_of(const ferry_model *m);
const fy_compiled *fy_compiled_of(const ferry_model *m);
fy_session        *fy_session_of(ferry_session *s);
void fy_open_seconds(const ferry_model *m, double *load, double *compile);   /* what ferry_open took: reading and inferring, then the engine */

/* A text file, whole or not at all. */
FY_CHECKED fy_status fy_write_text(const char *path, const fy_buf *text, ferry_error *e);

/* kind of a status: what a public function returns. */
int fy_kind_of(fy_status s);

#endif
