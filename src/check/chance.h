/* SPDX-License-Identifier: Apache-2.0
 * chance.h - judges outputs that are drawn at random: not the numbers, which each implementation has its own, but their law. */
#ifndef FY_CHANCE_H
#define FY_CHANCE_H

#include "ops/ops.h"

/* Does the graph draw numbers that no rule fixes for all implementations? Bernoulli, Multinomial, RandomNormal, RandomUniform and their
 * Like forms always; Dropout in training without a seed (with one, it is NumPy's stream). Bodies included. */
bool fy_chance_has(const fy_graph *g);

/* Gives every random node of the model another seed for trial > 0, of its own; trial 0 leaves the model as it is. */
FY_CHECKED fy_status fy_chance_reseed(fy_model *m, int64_t trial, ferry_error *e);

/* Runs the model; out: one for each graph output, owned by the caller. Trial 0 is the model as it stands; those after it draw other
 * numbers than all before: by fy_chance_reseed, or because the engine draws anew at each run. */
typedef fy_status fy_chance_run(void *ctx, int64_t trial, fy_rval *out, ferry_error *e);
typedef struct fy_chance_ref { fy_model *m; fy_rval *const *in; fy_pool *pool; } fy_chance_ref;
FY_CHECKED fy_status fy_chance_run_ref(void *ctx, int64_t trial, fy_rval *out, ferry_error *e);    /* with the interpreter; ctx: fy_chance_ref */

/* Runs `run` FY_CHANCE_TRIALS times and says whether the outputs follow the laws that the model and `in` give them. *good is false and
 * `why` says what is wrong if an output has another dtype or shape than `want` (one for each output, as an example; may be NULL), holds
 * what its law excludes, or departs from it so far that a right implementation would with a probability below FY_CHANCE_ALARM (for all
 * outputs together). UNSUPPORTED if an output's law is not known: see chance.c. */
#define FY_CHANCE_TRIALS 2000
#define FY_CHANCE_ALARM 1e-9
FY_CHECKED fy_status fy_chance_judge(bool *good, char *why, size_t n, const fy_model *m, fy_rval *const *in, const fy_rval *want,
                                     fy_chance_run *run, void *ctx, ferry_error *e);

#endif
