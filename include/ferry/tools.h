/* SPDX-License-Identifier: Apache-2.0
 * ferry/tools.h - for tools and tests. Not stable: may change in any release. */
#ifndef FERRY_TOOLS_H
#define FERRY_TOOLS_H

#include "ferry/ferry.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The nearest of n names by edit distance, or NULL if none is near: for "did you mean". The result is one of `names`. */
FERRY_API const char *ferry_nearest(const char *word, const char *const *names, size_t n);
/* Settings from the environment: name, value, default and text, in static storage; 1, or 0 when i is past the end. */
typedef struct ferry_knob { const char *name, *value, *fallback, *text; } ferry_knob;
FERRY_API int         ferry_knob_at(size_t i, ferry_knob *k);
/* Commit, parts and instruction sets of this build: the lines of `ferry --version` after the first. */
FERRY_API const char *ferry_build_info(void);
FERRY_API const char *ferry_cpu(void);                     /* the instruction set in use, as FERRY_CPU names it */
/* Mean, standard deviation, minimum and maximum of a numeric tensor (NaN and infinities left out, counted). FERRY_USAGE for strings
 * and complex numbers. */
typedef struct ferry_stats { double mean, std, min, max; int64_t nan, inf, count; } ferry_stats;
FERRY_API int         ferry_tensor_stats(const ferry_tensor *t, ferry_stats *s);
/* Element i (row-major) of a numeric tensor as double; i must be in range. */
FERRY_API double      ferry_tensor_at(const ferry_tensor *t, int64_t i);

/* Tests that ship with ferry, so that anybody can run them where ferry is to work. `suite` "onnx": paths are case folders of
 * onnx.backend.test or folders of them; options: strict, exceptions=FILE (may be repeated), engine=NAME [ferry], threads=N. FERRY_NO: a case failed.
 * "hostile": every operator on hostile operands, attributes, shapes, dtypes and strides, between guard pages (a fault may end the process); at most one
 * path, a folder of cases to start from; options: op=NAME, seed=N [1], trials=N [100], plugin=PATH. FERRY_NO: there are faults.
 * "kernels": no paths; options: isa=NAME, kernel=NAME, stride=N, bench. FERRY_NO: a kernel is wrong on this CPU. */
FERRY_API int         ferry_selftest(const char *suite, const char *const *paths, size_t n, const ferry_job *job, ferry_report **r, ferry_error *e);

#ifdef __cplusplus
}
#endif
#endif
