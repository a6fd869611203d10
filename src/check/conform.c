/* SPDX-License-Identifier: Apache-2.0
 * conform.c - case folders of onnx.backend.test: every model is read, raised, inferred and run; outputs are compared with the recorded
 * ones, and with what inference said of them. A case that cannot be read or run is a failed case, not an error. */
#include "check/conform.h"

#include "base/checked.h"
#include "check/chance.h"
#include "formats/json.h"
#include "formats/onnx.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_SETS 100

typedef struct tolerance { double rtol, atol; bool strict, stepwise; } tolerance;
typedef struct exception { const char *name, *reason; } exception;

typedef struct tally {
    fy_report *r;
    const fy_conform_options *o;
    fy_jsonw  w;
    fy_arena  arena;
    FY_VEC(const char *) cases;          /* folders */
    FY_VEC(exception) exceptions;
    fy_map    by_name;                   /* case name -> index in exceptions + 1 */
    int64_t   passed, failed, skipped;
} tally;

/* ---- comparing ------------------------------------------------------------------------------------------------------- */

static bool near(double got, double want, double rtol, double atol) {
    if (isnan(got) || isnan(want)) return isnan(got) && isnan(want);
    return got == want || fabs(got - want) <= atol + rtol * fabs(want);
}

static bool same_string(const fy_tensor *a, const fy_tensor *b, int64_t i) {
    fy_str s, t;
    memcpy(&s, (const fy_str *)a->data + i, sizeof s);
    memcpy(&t, (const fy_str *)b->data + i, sizeof t);
    return s.n == t.n && (!s.n || !memcmp(s.at, t.at, s.n));
}

static bool same_element(const fy_tensor *got, const fy_tensor *want, int64_t i, double rtol, double atol) {
    double g[2], w[2];
    switch (fy_dtype_class(got->dtype)) {
    case FY_CLASS_S: return same_string(got, want, i);
    case FY_CLASS_C:
        fy_load_c128(g, got, i, 1);
        fy_load_c128(w, want, i, 1);
        return near(g[0], w[0], rtol, atol) && near(g[1], w[1], rtol, atol);
    case FY_CLASS_I: if (fy_get_i64(got, i) == fy_get_i64(want, i)) return true; break;
    case FY_CLASS_U: if (fy_get_u64(got, i) == fy_get_u64(want, i)) return true; break;
    case FY_CLASS_B: return fy_get_i64(got, i) == fy_get_i64(want, i);
    case FY_CLASS_F: case FY_CLASS_NONE: break;
    }
    return near(fy_get_f64(got, i), fy_get_f64(want, i), rtol, atol);
}

static void describe(fy_buf *why, const fy_tensor *t, int64_t i) {
    if (fy_dtype_class(t->dtype) == FY_CLASS_S) {
        const fy_str *s = (const fy_str *)t->data + i;
        fy_buf_fmt(why, "\"%.*s\"", s->n > 60 ? 60 : (int)s->n, s->n ? s->at : "");
    } else fy_buf_fmt(why, "%.9g", fy_get_f64(t, i));
}

static bool same_tensor(const fy_tensor *got, const fy_tensor *want, tolerance t, fy_buf *why) {
    if (got->dtype != want->dtype || !fy_same_dims(got, want)) {
        fy_tensor_print(why, got, 0);
        fy_buf_str(why, " instead of ");
        fy_tensor_print(why, want, 0);
        return false;
    }
    double rtol = got->dtype == FERRY_BFLOAT16 ? fmax(t.rtol, 0x1p-6) : t.rtol, atol = t.atol;
    if (t.stepwise && got->dtype == FERRY_FLOAT16) rtol = fmax(rtol, 0x1p-9);
    if (t.strict && (got->dtype == FERRY_FLOAT || got->dtype == FERRY_DOUBLE)) {
        rtol = fmin(rtol, 1e-5);
        atol = fmin(atol, 1e-7);
    }
    for (int64_t i = 0; i < fy_count(got); i++) {
        if (same_element(got, want, i, rtol, atol)) continue;
        fy_buf_fmt(why, "element %lld is ", (long long)i);
        describe(why, got, i);
        fy_buf_str(why, " instead of ");
        describe(why, want, i);
        return false;
    }
    return true;
}

static bool same_value(const fy_rval *got, const fy_rval *want, tolerance t, fy_buf *why) {
    if (got->kind != want->kind) {
        fy_buf_fmt(why, "kind %d instead of %d", (int)got->kind, (int)want->kind);
        return false;
    }
    if (got->kind == FY_TENSOR) return same_tensor(&got->t, &want->t, t, why);
    if (got->n != want->n) {
        fy_buf_fmt(why, "%lld items instead of %lld", (long long)got->n, (long long)want->n);
        return false;
    }
    for (int64_t i = 0; i < fy_rval_items(got); i++)
        if (!same_value(&got->item[i], &want->item[i], t, why)) return false;
    return true;
}

/* Does what inference said of an output hold for its value? */
static bool agrees(const fy_type *t, const fy_rval *v, fy_buf *why) {
    int64_t d;
    if (t->kind == FY_NOTYPE) return true;
    if (t->kind != v->kind) {
        fy_buf_fmt(why, "inference says kind %d, the value is of kind %d", (int)t->kind, (int)v->kind);
        return false;
    }
    if (v->kind != FY_TENSOR) return true;
    if ((t->dtype && t->dtype != v->t.dtype) || (t->rank >= 0 && t->rank != v->t.rank)) {
        fy_buf_str(why, "inference says ");
        fy_type_print(why, t);
        fy_buf_str(why, ", the value is ");
        fy_tensor_print(why, &v->t, 0);
        return false;
    }
    for (int i = 0; i < t->rank; i++)
        if (fy_dim_known(t->dim[i], &d) && d != v->t.dim[i]) {
            fy_buf_fmt(why, "inference says %lld on axis %d, the value has %lld", (long long)d, i, (long long)v->t.dim[i]);
            return false;
        }
    return true;
}

/* ---- one case -------------------------------------------------------------------------------------------------------- */

typedef struct model_case {
    const fy_conform_options *o;
    fy_arena    arena;
    fy_model   *model;
    fy_compiled *compiled;
    tolerance   tol;
    fy_buf      path;
} model_case;

/* NULL: out of memory. Valid until the next call. */
static const char *path_in(model_case *c, const char *folder, const char *name) {
    c->path.n = 0;
    fy_buf_fmt(&c->path, "%s/%s", folder, name);
    return c->path.oom ? NULL : c->path.at;
}

static const char *path_in_set(model_case *c, const char *folder, int set, const char *what, int64_t i) {
    c->path.n = 0;
    fy_buf_fmt(&c->path, "%s/test_data_set_%d", folder, set);
    if (what) fy_buf_fmt(&c->path, "/%s_%lld.pb", what, (long long)i);
    return c->path.oom ? NULL : c->path.at;
}

static bool there(const char *path) {
    fy_os_info info;
    return path && !fy_os_stat_path(path, true, &info);
}

static fy_status read_inputs(model_case *c, const char *folder, int set, fy_rval *in, fy_rval **at, ferry_error *e) {
    const fy_graph *g = c->model->graph;
    for (int64_t i = 0; i < g->in.n; i++) {
        const char *path = path_in_set(c, folder, set, "input", i);
        FY_NOMEM(e, path);
        if (!there(path)) continue;      /* its initialiser counts */
        FY_TRY(fy_onnx_read_value_as(&in[i], path, g->in.at[i]->type.kind, e));
        at[i] = &in[i];
    }
    return FY_OK;
}

/* FY_OK with words in `why`: an output is wrong. */
static fy_status compare_outputs(model_case *c, const char *folder, int set, const fy_rval *out, fy_buf *why, ferry_error *e) {
    const fy_graph *g = c->model->graph;
    for (int64_t i = 0; i < g->out.n; i++) {
        fy_rval want = {0};
        const char *path = path_in_set(c, folder, set, "output", i);
        FY_NOMEM(e, path);
        FY_TRY(fy_onnx_read_value_as(&want, path, out[i].kind, e));
        bool ok = same_value(&out[i], &want, c->tol, why) && agrees(&g->out.at[i]->type, &out[i], why);
        fy_rval_free(&want);
        if (ok) continue;
        fy_buf_fmt(why, " (output %s, data set %d)", g->out.at[i]->name ? g->out.at[i]->name : "", set);
        return FY_OK;
    }
    return FY_OK;
}

/* The outputs of a model that draws are judged by their law: other draws by other seeds, or, from engines that read the file, because
 * their generators go on in one session. */
typedef struct draws { model_case *c; fy_session *session; fy_rval *const *in; } draws;

static fy_status draw(void *ctx, int64_t trial, fy_rval *out, ferry_error *e) {
    draws *d = ctx;
    const fy_engine *engine = d->c->o->engine;
    fy_compiled *compiled = NULL;
    fy_session *session = NULL;
    if (engine->foreign) return engine->run(d->session, d->in, out, e);
    FY_TRY(fy_chance_reseed(d->c->model, trial, e));
    fy_status s = engine->compile(&compiled, d->c->model, &(fy_engine_options){.threads = 1}, e);
    if (!s) s = engine->session(&session, compiled, e);
    if (!s) s = engine->run(session, d->in, out, e);
    if (session) engine->session_free(session);
    if (compiled) engine->compiled_free(compiled);
    return s;
}

static fy_status judge_draws(model_case *c, const char *folder, int set, fy_session *session, fy_rval *const *in, fy_rval *want, fy_buf *why, ferry_error *e) {
    const fy_graph *g = c->model->graph;
    char text[300];
    bool good;
    draws d = {c, session, in};
    for (int64_t i = 0; i < g->out.n; i++) {
        const char *path = path_in_set(c, folder, set, "output", i);
        FY_NOMEM(e, path);
        FY_TRY(fy_onnx_read_value_as(&want[i], path, FY_TENSOR, e));
    }
    FY_TRY(fy_chance_judge(&good, text, sizeof text, c->model, in, want, draw, &d, e));
    if (!good) fy_buf_fmt(why, "by chance: %s (data set %d)", text, set);
    return FY_OK;
}

static fy_status run_set(model_case *c, const char *folder, int set, fy_buf *why, ferry_error *e) {
    const fy_graph *g = c->model->graph;
    fy_session *session = NULL;
    fy_rval *in = fy_calloc((size_t)g->in.n + 1, sizeof *in), **at = fy_calloc((size_t)g->in.n + 1, sizeof *at);
    fy_rval *out = fy_calloc((size_t)g->out.n + 1, sizeof *out);
    fy_status s = in && at && out ? FY_OK : fy_nomem(e);
    if (!s) s = read_inputs(c, folder, set, in, at, e);
    if (!s) s = c->o->engine->session(&session, c->compiled, e);
    if (!s && fy_chance_has(g)) s = judge_draws(c, folder, set, session, at, out, why, e);
    else {
        if (!s) s = c->o->engine->run(session, at, out, e);
        if (!s) s = compare_outputs(c, folder, set, out, why, e);
    }
    for (int64_t i = 0; in && i < g->in.n; i++) fy_rval_free(&in[i]);
    for (int64_t i = 0; out && i < g->out.n; i++) fy_rval_free(&out[i]);
    if (session) c->o->engine->session_free(session);
    fy_free(in);
    fy_free(at);
    fy_free(out);
    return s;
}

static fy_status read_tolerance(model_case *c, const char *folder, ferry_error *e) {
    fy_map_file f;
    char text[80] = "";
    c->tol = (tolerance){1e-3, 1e-7, c->o->strict, c->o->stepwise};
    const char *path = path_in(c, folder, "tolerance");
    FY_NOMEM(e, path);
    if (!there(path)) return FY_OK;
    FY_TRY(fy_file_open(&f, path, e));
    memcpy(text, f.at, f.n < sizeof text - 1 ? f.n : sizeof text - 1);
    fy_file_close(&f);
    char *end, *last;
    c->tol.rtol = strtod(text, &end);
    c->tol.atol = strtod(end, &last);
    FY_NEED(e, end != text && last != end && c->tol.rtol >= 0 && c->tol.atol >= 0, FORMAT, "%s does not hold \"rtol atol\"", path);
    return FY_OK;
}

static fy_status run_sets(model_case *c, const char *folder, const char *path, fy_buf *why, ferry_error *e) {
    fy_engine_options options = {.threads = c->o->threads, .path = path};
    FY_TRY(c->o->engine->compile(&c->compiled, c->model, &options, e));
    int set = 0;
    for (; set < MOST_SETS && !why->n; set++) {
        const char *data = path_in_set(c, folder, set, NULL, 0);
        FY_NOMEM(e, data);
        if (!there(data)) break;
        FY_TRY(run_set(c, folder, set, why, e));
    }
    FY_NEED(e, set, NOFILE, "%s holds no test_data_set_0", folder);
    return FY_OK;
}

static fy_status run_case(model_case *c, const char *folder, fy_buf *why, ferry_error *e) {
    FY_TRY(read_tolerance(c, folder, e));
    const char *path = path_in(c, folder, "model.onnx");
    FY_NOMEM(e, path);
    path = fy_arena_str(&c->arena, path);
    FY_NOMEM(e, path);
    FY_TRY(fy_onnx_read(&c->model, path, fy_registry_builtin(), e));
    FY_TRY(fy_opset_raise(c->model, e));
    FY_TRY(fy_infer_model(c->model, e));
    return run_sets(c, folder, path, why, e);
}

static void case_free(model_case *c) {
    if (c->compiled) c->o->engine->compiled_free(c->compiled);
    fy_arena_free(&c->arena);
    fy_buf_free(&c->path);
}

fy_status fy_conform_model(fy_model *m, const char *folder, const char *path, const fy_conform_options *o, fy_buf *why, ferry_error *e) {
    fy_conform_options own = *o;
    if (!own.engine) own.engine = fy_engine_find(NULL);
    model_case c = {.o = &own, .model = m};
    fy_status s = read_tolerance(&c, folder, e);
    if (!s) s = run_sets(&c, folder, path, why, e);
    case_free(&c);
    return s;
}

static const char *name_of(const char *folder) {
    const char *slash = strrchr(folder, '/');
    return slash ? slash + 1 : folder;
}

/* One line about the case in the report; NOMEM alone ends the whole. */
static fy_status judge(tally *t, const char *folder, ferry_error *e) {
    static const char *const verdicts[] = {"passed", "failed", "skipped"};
    model_case c = {.o = t->o};
    ferry_error fault = {0};
    fy_buf why = {0};
    fy_status s = run_case(&c, folder, &why, &fault);
    if (s && s != FY_E_NOMEM) {
        fy_buf_fmt(&why, "%s: %s", fault.code, fault.text);
        for (int i = 0; i < fault.nframes; i++) fy_buf_fmt(&why, " | %s", fault.frame[i]);
    }
    case_free(&c);
    fy_model_free(c.model);
    if (s == FY_E_NOMEM || why.oom) {
        fy_buf_free(&why);
        return fy_nomem(e);
    }
    const char *name = name_of(folder);
    intptr_t at = (intptr_t)fy_map_gets(&t->by_name, name);
    exception *known = at ? &t->exceptions.at[at - 1] : NULL;
    int verdict = why.n ? 1 : 0;
    if (known) {
        verdict = why.n ? 2 : 1;
        if (!why.n) fy_buf_str(&why, "it is listed as an exception, but passes: remove its line");
        else {
            why.n = 0;
            fy_buf_str(&why, known->reason);
        }
    }
    fy_jsonw_object(&t->w, NULL);
    fy_jsonw_str(&t->w, "name", name);
    fy_jsonw_str(&t->w, "verdict", verdicts[verdict]);
    if (why.n) fy_jsonw_str(&t->w, "why", why.at);
    fy_jsonw_end_object(&t->w);
    if (verdict == 1) fy_buf_fmt(&t->r->text, FY_RED "FAIL" FY_OFF " %s: %s\n", name, why.at);
    if (verdict == 2) fy_buf_fmt(&t->r->text, FY_AMBER "skip" FY_OFF " %s: %s\n", name, why.at);
    t->passed += verdict == 0;
    t->failed += verdict == 1;
    t->skipped += verdict == 2;
    fy_buf_free(&why);
    return FY_OK;
}

/* ---- many ------------------------------------------------------------------------------------------------------------ */

static fy_status add_case(tally *t, const char *folder, ferry_error *e) {
    const char *own = fy_arena_str(&t->arena, folder);
    FY_NOMEM(e, own);
    FY_PUSH(e, t->cases, own);
    return FY_OK;
}

static int by_name(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static fy_status find_cases(tally *t, const char *folder, ferry_error *e) {
    fy_buf path = {0};
    fy_status s = FY_OK;
    int64_t before = t->cases.n;
    fy_buf_fmt(&path, "%s/model.onnx", folder);
    if (!path.oom && there(path.at)) {
        fy_buf_free(&path);
        return add_case(t, folder, e);
    }
    DIR *d = opendir(folder);
    if (!d) s = fy_fail(e, FY_E_NOFILE, "%s: %s", folder, strerror(errno));
    for (struct dirent *x; d && !s && (x = readdir(d));) {
        path.n = 0;
        fy_buf_fmt(&path, "%s/%s/model.onnx", folder, x->d_name);
        if (x->d_name[0] == '.' || path.oom || !there(path.at)) continue;
        path.at[path.n - strlen("/model.onnx")] = 0;
        s = add_case(t, path.at, e);
    }
    if (d) closedir(d);
    if (!s && path.oom) s = fy_nomem(e);
    fy_buf_free(&path);
    if (!s && t->cases.n == before) s = fy_fail(e, FY_E_NOFILE, "%s holds no case: a case is a folder with model.onnx and test_data_set_0", folder);
    if (!s) qsort(t->cases.at + before, (size_t)(t->cases.n - before), sizeof *t->cases.at, by_name);
    return s;
}

static fy_status read_exceptions(tally *t, const char *path, ferry_error *e) {
    fy_map_file f;
    FY_TRY(fy_file_open(&f, path, e));
    char *text = fy_arena_strn(&t->arena, (const char *)f.at, f.n);
    fy_file_close(&f);
    FY_NOMEM(e, text);
    int number = 1;
    for (char *line = text, *next; *line; line = next, number++) {
        size_t n = strcspn(line, "\n"), word = strcspn(line, " \n");
        next = line + n + (line[n] == '\n');
        if (!n || *line == '#') continue;
        line[n] = 0;
        FY_NEED(e, word < n && line[word + strspn(line + word, " ")], FORMAT, "%s:%d: no reason is given for %s", path, number, line);
        line[word] = 0;
        FY_PUSH(e, t->exceptions, ((exception){line, line + word + 1 + strspn(line + word + 1, " ")}));
        FY_NOMEM(e, fy_map_puts(&t->by_name, line, (void *)(intptr_t)t->exceptions.n));
    }
    return FY_OK;
}

static fy_status whole(tally *t, const char *const *path, size_t n, ferry_error *e) {
    for (int i = 0; i < t->o->nexceptions; i++) FY_TRY(read_exceptions(t, t->o->exceptions[i], e));
    for (size_t i = 0; i < n; i++) FY_TRY(find_cases(t, path[i], e));
    fy_jsonw_object(&t->w, NULL);
    fy_jsonw_array(&t->w, "cases");
    for (int64_t i = 0; i < t->cases.n; i++) {
        FY_TRY(judge(t, t->cases.at[i], e));
        if (t->o->progress && i % 64 == 63) t->o->progress(t->o->ctx, "cases", (double)(i + 1) / (double)t->cases.n);
    }
    fy_jsonw_end_array(&t->w);
    fy_jsonw_int(&t->w, "passed", t->passed);
    fy_jsonw_int(&t->w, "failed", t->failed);
    fy_jsonw_int(&t->w, "skipped", t->skipped);
    fy_jsonw_end_object(&t->w);
    fy_buf_fmt(&t->r->text, "%lld passed, %lld failed", (long long)t->passed, (long long)t->failed);
    if (t->skipped) fy_buf_fmt(&t->r->text, ", %lld skipped", (long long)t->skipped);
    fy_buf_char(&t->r->text, '\n');
    t->r->verdict = t->failed ? FERRY_NO : FERRY_OK;
    return FY_OK;
}

fy_status fy_conform_report(fy_report *r, const char *const *path, size_t n, const fy_conform_options *o, ferry_error *e) {
    fy_conform_options own = *o;
    if (!own.engine) own.engine = fy_engine_find(NULL);
    tally t = {.r = r, .o = &own, .w = {.out = &r->json, .first = true}};
    char where[300];
    const char *missing = own.engine->missing(where, sizeof where);
    fy_status s = missing ? fy_fail(e, FY_E_ENGINE, "%s is not installed: %s", own.engine->name, missing) : whole(&t, path, n, e);
    fy_map_free(&t.by_name);
    fy_free(t.cases.at);
    fy_free(t.exceptions.at);
    fy_arena_free(&t.arena);
    return s;
}
