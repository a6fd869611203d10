/* SPDX-License-Identifier: Apache-2.0
 * foreign.c - finding the library of an engine, and state of models whose engine knows none. */
#include "engines/foreign.h"

#include "base/knobs.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>

/* ---- finding the library ------------------------------------------------------------------------------------------ */

/* The last match that opens: of several versions the newest, as names sort. */
static void *open_glob(const fy_foreign *f, const char *pattern, char *path, size_t npath) {
    void *lib = NULL;
    glob_t found;
    if (glob(pattern, 0, NULL, &found)) return NULL;
    for (size_t k = found.gl_pathc; !lib && k-- > 0;) {
        lib = dlopen(found.gl_pathv[k], RTLD_NOW | RTLD_LOCAL | f->flags);
        if (lib) snprintf(path, npath, "%s", found.gl_pathv[k]);
    }
    globfree(&found);
    return lib;
}

static void *open_below(const fy_foreign *f, const char *root, char *path, size_t npath) {
    static const char *const packages[] = {"site-packages", "dist-packages"};
    void *lib = NULL;
    for (int i = 0; !lib && *root && i < FY_COUNT(packages); i++) {
        char pattern[1024];
        if (snprintf(pattern, sizeof pattern, "%s/lib/python3*/%s/%s", root, packages[i], f->python) < (int)sizeof pattern) lib = open_glob(f, pattern, path, npath);
    }
    return lib;
}

void *fy_foreign_open(const fy_foreign *f, char *path, size_t npath) {
    const char *given = fy_knob_str(f->knob), *home = fy_knob_str("HOME");
    char local[512] = "";
    snprintf(path, npath, "%s", *given ? given : f->soname);
    void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL | f->flags);
    if (*given) return lib;
    if (*home && snprintf(local, sizeof local, "%s/.local", home) >= (int)sizeof local) local[0] = 0;
    const char *const root[] = {fy_knob_str("VIRTUAL_ENV"), fy_knob_str("CONDA_PREFIX"), local, "/usr/local", "/usr"};
    for (int i = 0; !lib && i < FY_COUNT(root); i++) lib = open_below(f, root[i], path, npath);
    for (int i = 0; !lib && f->elsewhere && f->elsewhere[i]; i++) lib = open_glob(f, f->elsewhere[i], path, npath);
    return lib;
}

bool fy_foreign_symbol(void *lib, const char *name, void *fn) {
    void *at = dlsym(lib, name);
    if (at) memcpy(fn, &at, sizeof at);  /* ISO C has no cast from an object pointer to a function's */
    return at != NULL;
}

/* ---- state ---------------------------------------------------------------------------------------------------------- */

fy_status fy_states_new(fy_rval **state, const fy_graph *g, ferry_error *e) {
    *state = fy_calloc((size_t)g->state.n + 1, sizeof **state);
    FY_NOMEM(e, *state);
    return FY_OK;
}

void fy_states_free(fy_rval *state, const fy_graph *g) {
    for (int64_t i = 0; state && i < g->state.n; i++) fy_rval_free(&state[i]);
    fy_free(state);
}

const fy_rval *fy_states_given(const fy_rval *state, const fy_graph *g, fy_rval *const *in, int64_t i) {
    if (in[i]) return in[i];
    for (int64_t k = 0; k < g->state.n; k++)
        if (g->state.at[k].in == g->in.at[i] && state[k].kind) return &state[k];
    return NULL;
}

fy_status fy_states_keep(fy_rval *state, const fy_graph *g, const fy_rval *out, ferry_error *e) {
    for (int64_t k = 0; k < g->state.n; k++)
        for (int64_t i = 0; i < g->out.n; i++) {
            if (g->out.at[i] != g->state.at[k].out) continue;
            fy_rval_free(&state[k]);
            FY_TRY(fy_rval_copy(&state[k], &out[i], e));
        }
    return FY_OK;
}

/* ---- inputs --------------------------------------------------------------------------------------------------------- */

fy_status fy_dense(const fy_tensor **t, fy_dense_list *keep, ferry_error *e) {
    if (fy_contiguous(*t)) return FY_OK;
    FY_NOMEM(e, FY_RESERVE(*keep, keep->n + 1));
    FY_TRY(fy_tensor_clone(&keep->at[keep->n], *t, e));
    *t = &keep->at[keep->n++];
    return FY_OK;
}

void fy_dense_free(fy_dense_list *keep) {
    for (int64_t i = 0; i < keep->n; i++) fy_tensor_free(&keep->at[i]);
    fy_free(keep->at);
}
