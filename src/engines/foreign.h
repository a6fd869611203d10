/* SPDX-License-Identifier: Apache-2.0
 * foreign.h - what engines that are opened at run time have in common: finding their library, state declared by the model, dense inputs. */
#ifndef FY_FOREIGN_H
#define FY_FOREIGN_H

#include "engines/engine.h"

typedef struct fy_foreign {
    const char *knob;                    /* names the library itself, and then nothing else is tried */
    const char *soname;                  /* what the loader's path is asked for */
    const char *python;                  /* pattern below site-packages or dist-packages */
    const char *const *elsewhere;        /* further patterns, NULL-terminated; NULL: none */
    int         flags;                   /* of dlopen, beside RTLD_NOW | RTLD_LOCAL */
} fy_foreign;

/* $knob; the loader's path; the active Python environment, ~/.local, /usr/local, /usr; elsewhere. NULL if it is nowhere; path: where it was. */
void *fy_foreign_open(const fy_foreign *f, char *path, size_t npath);
/* dlsym into the function pointer at `fn`; false if there is none. */
bool  fy_foreign_symbol(void *lib, const char *name, void *fn);

/* One value for each declared state of the graph, unset before the first run; freed with the graph it was made for. */
FY_CHECKED fy_status fy_states_new(fy_rval **state, const fy_graph *g, ferry_error *e);
void fy_states_free(fy_rval *state, const fy_graph *g);
/* What to pass for graph input i: what the caller gave, else the state as the last run left it; NULL: its default in the file. */
const fy_rval *fy_states_given(const fy_rval *state, const fy_graph *g, fy_rval *const *in, int64_t i);
/* Keeps the outputs that are the next run's state. */
FY_CHECKED fy_status fy_states_keep(fy_rval *state, const fy_graph *g, const fy_rval *out, ferry_error *e);

typedef FY_VEC(fy_tensor) fy_dense_list; /* copies that inputs point into */
/* *t itself where it is dense, else its copy in `keep`. */
FY_CHECKED fy_status fy_dense(const fy_tensor **t, fy_dense_list *keep, ferry_error *e);
void fy_dense_free(fy_dense_list *keep);

#endif
