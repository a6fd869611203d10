/* SPDX-License-Identifier: Apache-2.0
 * internal.h - shared by the files of verify/. */
#ifndef FY_VERIFY_INTERNAL_H
#define FY_VERIFY_INTERNAL_H

#include "verify/verify.h"

/* What is known about the reference of one output besides its values. */
typedef struct fy_expect {
    const char      *name;
    fy_tensor        t;                  /* floats in double or narrower */
    fy_dtype         dtype;              /* of the source; 0: any of the class */
    const fy_tensor *ranked;             /* where `t` holds positions: the values that were ranked; else NULL */
    int              axis;               /* along which; -1: flattened */
} fy_expect;

/* Judges one output; fills `r` (name and why are allocated). NOMEM only. */
FY_CHECKED fy_status fy_verify_judge(fy_verify_output *r, const fy_tensor *got, const fy_expect *want, const fy_verify_options *o, ferry_error *e);

/* The model under test: compiled once, run often, each time in a session of its own, since sessions keep declared state; between
 * fy_runner_start and fy_runner_stop in one. */
typedef struct fy_runner { const fy_engine *engine; fy_compiled *compiled; fy_session *session; } fy_runner;
FY_CHECKED fy_status fy_runner_open(fy_runner *r, const fy_engine *engine, const fy_model *m, const char *path, const fy_verify_options *o, bool bf16, ferry_error *e);
FY_CHECKED fy_status fy_runner_run(const fy_runner *r, fy_rval *const *in, fy_rval *out, ferry_error *e);
FY_CHECKED fy_status fy_runner_start(fy_runner *r, ferry_error *e);
void fy_runner_stop(fy_runner *r);
void fy_runner_close(fy_runner *r);

/* A set of sizes for named symbols. */
typedef struct fy_size { const char *name; int64_t v, lo, hi, sample; } fy_size;
typedef struct fy_sizes { fy_size *at; int64_t n, cap; } fy_sizes;
int64_t fy_sizes_find(const fy_sizes *s, const char *name);          /* index or -1 */
bool    fy_sizes_value(void *sizes, const fy_dim *sym, int64_t *v);  /* for fy_dim_eval */
/* Attempt number k at sizes other than the sample's, within bounds; false when there is none left. */
bool    fy_sizes_next(fy_sizes *s, int k);

/* What the model made of the results of the program's nodes that decide; {0} is freed without harm. */
typedef struct fy_decided fy_decided;
typedef struct fy_decisions { fy_map by_name; fy_decided *first; bool oom; } fy_decisions;
FY_CHECKED fy_status fy_decisions_read(fy_decisions *d, const fy_model *m, const fy_program *p, fy_rval *const *in, fy_pool *pool, ferry_error *e);
const fy_tensor *fy_decisions_find(void *decisions, const fy_pvalue *v);             /* fy_eval_options.follow */
void fy_decisions_free(fy_decisions *d);

/* Report building. */
FY_CHECKED fy_status fy_verify_add_case(fy_verify_report *r, const char *label, int nout, fy_verify_case **c, ferry_error *e);
void fy_verify_drop_case(fy_verify_report *r);                       /* the last one */
FY_CHECKED fy_status fy_verify_note_sizes(fy_verify_report *r, fy_buf *b, const fy_sizes *all, int64_t n, ferry_error *e);
void fy_verify_finish(fy_verify_report *r);                          /* worst_abs and verdict from the cases */

/* Where the values of program and model part first, in words; "" if nowhere. in: as for fy_aten_eval and for the model. */
FY_CHECKED fy_status fy_verify_first_node(char **where, const fy_model *m, const fy_program *p, const fy_tensor *in, int nin, fy_rval *const *model_in,
                                          double tolerance, fy_pool *pool, ferry_error *e);

#endif
