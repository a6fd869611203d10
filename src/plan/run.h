/* SPDX-License-Identifier: Apache-2.0
 * run.h - inside plan/: a run under way, of the plan of a model or of a body in it. */
#ifndef FY_PLAN_RUN_H
#define FY_PLAN_RUN_H

#include "plan/plan.h"

/* What a run has once, however deep it is in bodies. */
typedef struct fy_run_whole {
    int64_t    steps;                    /* so far */
    fy_spares *spares;
    FY_VEC(fy_storage *) strings;        /* of what bodies made: elements point into it, so it stays to the end */
} fy_run_whole;

typedef struct running {
    fy_exec            x;                /* first: fy_running_of */
    const fy_plan_run *r;
    fy_plan_memory    *mem;
    fy_run_whole      *whole;
    const fy_step     *now;
    bool               bounded;          /* mem->bounds are those of this run */
    ferry_error       *e;
} running;

static inline running *fy_running_of(fy_exec *x) { return (running *)x; }

/* One plan on one memory; the caller has filled x but for what depends on sizes and memory. */
FY_CHECKED fy_status fy_run_plan(running *k, fy_rval *const *in, fy_rval *out);
/* A step whose sizes are found when it is reached. */
FY_CHECKED fy_status fy_run_dynamic(running *k, const fy_step *s);
/* fy_call.run_graph: a body of the step at hand, by its plan. */
FY_CHECKED fy_status fy_run_body(fy_call *c, const fy_graph *g, int nin, fy_rval *const *in, int nout, fy_rval *out);
/* How a reference kernel is called, but for its node and values. */
fy_call fy_run_call(running *k);
FY_CHECKED fy_status fy_run_check_made(const fy_exec *x, const fy_value *v, ferry_error *e);
FY_CHECKED fy_status fy_run_part(char **data, const fy_step *s, const fy_tensor *from, fy_dtype t, int rank, const int64_t *dim, ferry_error *e);
/* `from`, of these sizes, in the other layout. */
void fy_run_reorder(const fy_tensor *from, const fy_tensor *to, fy_layout layout, fy_pool *pool);
FY_CHECKED fy_status fy_run_may_go_on(running *k);

#endif
