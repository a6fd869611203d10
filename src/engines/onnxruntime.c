/* SPDX-License-Identifier: Apache-2.0
 * onnxruntime.c - ONNX Runtime as an engine, opened at run time through its C API.
 *
 * The library exports one symbol, OrtGetApiBase; everything else is a table of function pointers that only ever grows at its
 * end, so the slots used here (below) hold for every release since 1.17. Source of the slots: onnxruntime_c_api.h. */
#include "base/buf.h"
#include "base/checked.h"
#include "engines/foreign.h"
#include "formats/onnx.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

extern const fy_engine fy_engine_onnxruntime;

#define API_VERSION 17

enum { GET_ERROR_MESSAGE = 2, CREATE_ENV = 3, CREATE_SESSION = 7, CREATE_SESSION_FROM_ARRAY = 8, RUN = 9, CREATE_SESSION_OPTIONS = 10,
    SET_LOG_SEVERITY = 22, SET_INTRA_OP_THREADS = 24, CREATE_STRINGS = 48, CREATE_TENSOR = 49, GET_TENSOR_DATA = 51, FILL_STRINGS = 52,
    GET_STRINGS_LENGTH = 53, GET_STRINGS = 54, GET_ELEMENT_TYPE = 60, GET_DIMENSIONS_COUNT = 61, GET_DIMENSIONS = 62, GET_TYPE_AND_SHAPE = 65,
    GET_VALUE_TYPE = 67, CREATE_CPU_MEMORY_INFO = 69, GET_ALLOCATOR = 78, GET_VALUE = 80, GET_VALUE_COUNT = 81, CREATE_VALUE = 82, RELEASE_ENV = 92,
    RELEASE_STATUS = 93, RELEASE_MEMORY_INFO = 94, RELEASE_SESSION = 95, RELEASE_VALUE = 96, RELEASE_SHAPE_INFO = 99,
    RELEASE_SESSION_OPTIONS = 100 };

enum { ORT_TENSOR = 1, ORT_SEQUENCE = 2, ORT_MAP = 3 };                 /* ONNXType */
#define MAX_NESTING 8

typedef void *ort_status;                /* NULL is success */
typedef void (*ort_fn)(void);
typedef struct ort_base { const ort_fn *(*get_api)(uint32_t version); const char *(*version)(void); } ort_base;

/* Calls slot SLOT as a function of the given type. */
#define ORT(api, SLOT, result, types) ((result(*) types)(api)[SLOT])

struct fy_compiled {
    const fy_model *model;
    void           *library;
    const ort_fn   *api;
    void           *env, *session, *memory, *allocator;      /* allocator: the library's own, not released */
    const char    **in_name, **out_name;
};
struct fy_session { fy_compiled *compiled; fy_rval *state; };          /* state: one for each declared state, unset before the first run */

/* ---- the library -------------------------------------------------------------------------------------------------- */

static void *open_library(char *path, size_t npath) {
    static const fy_foreign library = {.knob = "FERRY_ORT_LIB", .soname = "libonnxruntime.so.1", .python = "onnxruntime/capi/libonnxruntime.so.*"};
    return fy_foreign_open(&library, path, npath);
}

static const ort_base *base_of(void *lib) {
    const ort_base *(*get)(void);
    return fy_foreign_symbol(lib, "OrtGetApiBase", &get) ? get() : NULL;
}

static const char *missing(char *buf, size_t n) {
    char path[1024];
    void *lib = open_library(path, sizeof path);
    const ort_base *b = lib ? base_of(lib) : NULL;
    bool ok = b && b->get_api(API_VERSION);
    if (lib) dlclose(lib);
    if (ok) return NULL;
    snprintf(buf, n, "%s (looked at FERRY_ORT_LIB, the loader's path, the active Python environment, ~/.local, /usr/local, /usr; "
        "`pip install onnxruntime` 1.19 or newer brings it)", lib ? "found, but older than 1.17" : "libonnxruntime.so not found");
    return buf;
}

static fy_status describe(char *buf, size_t n, ferry_error *e) {
    char path[1024];
    void *lib = open_library(path, sizeof path);
    const ort_base *b = lib ? base_of(lib) : NULL;
    if (b) snprintf(buf, n, "ONNX Runtime %s (%s)", b->version(), path);
    if (lib) dlclose(lib);
    FY_NEED(e, b, ENGINE, "onnxruntime: the library cannot be opened");
    return FY_OK;
}

/* ---- calls ---------------------------------------------------------------------------------------------------------- */

static fy_status check(const ort_fn *api, ort_status s, const char *what, ferry_error *e) {
    if (!s) return FY_OK;
    fy_fail(e, FY_E_ENGINE, "onnxruntime: %s: %s", what, ORT(api, GET_ERROR_MESSAGE, const char *, (ort_status))(s));
    ORT(api, RELEASE_STATUS, void, (ort_status))(s);
    return FY_E_ENGINE;
}

static void compiled_free(fy_compiled *c) {
    if (!c) return;
    if (c->session) ORT(c->api, RELEASE_SESSION, void, (void *))(c->session);
    if (c->memory) ORT(c->api, RELEASE_MEMORY_INFO, void, (void *))(c->memory);
    if (c->env) ORT(c->api, RELEASE_ENV, void, (void *))(c->env);
    if (c->library) dlclose(c->library);
    fy_free(c->in_name);
    fy_free(c->out_name);
    fy_free(c);
}

static fy_status open_session(fy_compiled *c, const fy_engine_options *o, ferry_error *e) {
    const ort_fn *api = c->api;
    void *options = NULL;
    FY_TRY(check(api, ORT(api, CREATE_ENV, ort_status, (int, const char *, void **))(4, "ferry", &c->env), "environment", e));
    FY_TRY(check(api, ORT(api, CREATE_CPU_MEMORY_INFO, ort_status, (int, int, void **))(0, 0, &c->memory), "memory", e));
    FY_TRY(check(api, ORT(api, GET_ALLOCATOR, ort_status, (void **))(&c->allocator), "allocator", e));
    FY_TRY(check(api, ORT(api, CREATE_SESSION_OPTIONS, ort_status, (void **))(&options), "options", e));
    int threads = o && o->threads > 0 ? o->threads : fy_cores();
    fy_status s = check(api, ORT(api, SET_INTRA_OP_THREADS, ort_status, (void *, int))(options, threads), "threads", e);
    if (!s) s = check(api, ORT(api, SET_LOG_SEVERITY, ort_status, (void *, int))(options, 4), "log level", e);     /* fatal: a failure is a status, never a print */
    if (!s && o && o->path) {
        s = check(api, ORT(api, CREATE_SESSION, ort_status, (const void *, const char *, const void *, void **))(c->env, o->path, options,
            &c->session), "loading the model", e);
    } else if (!s) {
        fy_buf bytes = {0};
        s = fy_onnx_write_memory(c->model, &bytes, e);
        if (!s) s = check(api, ORT(api, CREATE_SESSION_FROM_ARRAY, ort_status, (const void *, const void *, size_t, const void *, void **))
            (c->env, bytes.at, bytes.n, options, &c->session), "loading the model", e);
        fy_buf_free(&bytes);
    }
    ORT(api, RELEASE_SESSION_OPTIONS, void, (void *))(options);
    return s;
}

static fy_status names(fy_compiled *c, ferry_error *e) {
    const fy_graph *g = c->model->graph;
    c->in_name = fy_calloc((size_t)g->in.n + 1, sizeof *c->in_name);
    c->out_name = fy_calloc((size_t)g->out.n + 1, sizeof *c->out_name);
    FY_NOMEM(e, c->in_name && c->out_name);
    for (int64_t i = 0; i < g->in.n; i++) c->in_name[i] = g->in.at[i]->name;
    for (int64_t i = 0; i < g->out.n; i++) c->out_name[i] = g->out.at[i]->name;
    return FY_OK;
}

static fy_status compile(fy_compiled **out, const fy_model *m, const fy_engine_options *o, ferry_error *e) {
    char why[1400], path[1024];
    *out = NULL;
    if (missing(why, sizeof why)) return fy_fail(e, FY_E_ENGINE, "onnxruntime: %s", why);
    fy_compiled *c = fy_calloc(1, sizeof *c);
    FY_NOMEM(e, c);
    c->model = m;
    c->library = open_library(path, sizeof path);
    fy_status s = c->library ? FY_OK : fy_fail(e, FY_E_ENGINE, "onnxruntime: %s cannot be opened", path);
    if (!s) {
        c->api = base_of(c->library)->get_api(API_VERSION);
        s = names(c, e);
    }
    if (!s) s = open_session(c, o, e);
    if (s) {
        if (c->api) compiled_free(c);
        else fy_free(c);
        return s;
    }
    *out = c;
    return FY_OK;
}

static fy_status session(fy_session **out, fy_compiled *c, ferry_error *e) {
    *out = NULL;
    fy_session *s = fy_calloc(1, sizeof *s);
    FY_NOMEM(e, s);
    s->compiled = c;
    fy_status st = fy_states_new(&s->state, c->model->graph, e);
    if (st) fy_free(s);
    else *out = s;
    return st;
}

static void session_free(fy_session *s) {
    if (!s) return;
    fy_states_free(s->state, s->compiled->model->graph);
    fy_free(s);
}

/* ---- values in ------------------------------------------------------------------------------------------------------ */

static void release(const fy_compiled *c, void *v) {
    if (v) ORT(c->api, RELEASE_VALUE, void, (void *))(v);
}

static fy_status fill_strings(void *v, const fy_compiled *c, const fy_tensor *t, ferry_error *e) {
    int64_t n = fy_count(t);
    fy_arena a = {0};
    const char **text = FY_NEWN(&a, const char *, n);
    const fy_str *from = t->data;
    fy_status s = text ? FY_OK : fy_nomem(e);
    for (int64_t i = 0; !s && i < n; i++) {
        if (from[i].n && memchr(from[i].at, 0, from[i].n)) s = fy_fail(e, FY_E_UNSUPPORTED, "onnxruntime: a string with a zero byte cannot be passed");
        else if (!(text[i] = fy_arena_strn(&a, from[i].n ? from[i].at : "", from[i].n))) s = fy_nomem(e);
    }
    if (!s) s = check(c->api, ORT(c->api, FILL_STRINGS, ort_status, (void *, const char *const *, size_t))(v, text, (size_t)n), "input strings", e);
    fy_arena_free(&a);
    return s;
}

static fy_status tensor_to_ort(void **v, const fy_compiled *c, const fy_tensor *t, fy_dense_list *keep, ferry_error *e) {
    const ort_fn *api = c->api;
    FY_NEED(e, t->dtype == FERRY_STRING || fy_dtype_bits(t->dtype) >= 8, UNSUPPORTED, "onnxruntime: tensors of %s cannot be passed", fy_dtype_name(t->dtype));
    FY_TRY(fy_dense(&t, keep, e));
    if (t->dtype != FERRY_STRING)
        return check(api, ORT(api, CREATE_TENSOR, ort_status, (const void *, void *, size_t, const int64_t *, size_t, int, void **))
            (c->memory, t->data, fy_dtype_bytes(t->dtype, fy_count(t)), t->dim, (size_t)t->rank, (int)t->dtype, v), "input", e);
    FY_TRY(check(api, ORT(api, CREATE_STRINGS, ort_status, (void *, const int64_t *, size_t, int, void **))(c->allocator, t->dim, (size_t)t->rank,
        (int)FERRY_STRING, v), "input", e));
    return fill_strings(*v, c, t, e);
}

/* *v is set, and to be released, also after a failure that came late. */
static fy_status to_ort(void **v, const fy_compiled *c, const fy_rval *in, fy_dense_list *keep, int depth, ferry_error *e) {
    if (in->kind == FY_TENSOR) return tensor_to_ort(v, c, &in->t, keep, e);
    size_t n = (size_t)fy_rval_items(in);
    FY_NEED(e, (in->kind == FY_SEQUENCE || in->kind == FY_MAP) && n && depth < MAX_NESTING, UNSUPPORTED,
            "onnxruntime: %s cannot be passed", in->kind == FY_OPTIONAL ? "an optional" : n ? "values nested so deep" : "an empty sequence");
    void **item = fy_calloc(n, sizeof *item);
    FY_NOMEM(e, item);
    fy_status s = FY_OK;
    for (size_t i = 0; !s && i < n; i++) s = to_ort(&item[i], c, &in->item[i], keep, depth + 1, e);
    if (!s) s = check(c->api, ORT(c->api, CREATE_VALUE, ort_status, (void *const *, size_t, int, void **))(item, n,
        in->kind == FY_MAP ? ORT_MAP : ORT_SEQUENCE, v), "input", e);
    for (size_t i = 0; i < n; i++) release(c, item[i]);
    fy_free(item);
    return s;
}

/* ---- values out ----------------------------------------------------------------------------------------------------- */

static fy_status strings_from_ort(fy_tensor *t, const fy_compiled *c, void *v, int rank, const int64_t *dim, ferry_error *e) {
    const ort_fn *api = c->api;
    size_t bytes = 0, head;
    int64_t n;
    FY_NEED(e, fy_count_dims(&n, rank, dim) && fy_mul_size(&head, (size_t)n, sizeof(fy_str)), LIMIT, "onnxruntime: an output is too large");
    FY_TRY(check(api, ORT(api, GET_STRINGS_LENGTH, ort_status, (const void *, size_t *))(v, &bytes), "output strings", e));
    fy_storage *st = fy_storage_new(head + bytes);
    size_t *offset = fy_calloc((size_t)n + 1, sizeof *offset);
    fy_status s = st && offset ? FY_OK : fy_nomem(e);
    char *text = st ? (char *)st->at + head : NULL;
    if (!s && n) s = check(api, ORT(api, GET_STRINGS, ort_status, (const void *, void *, size_t, size_t *, size_t))(v, text, bytes, offset, (size_t)n), "output strings", e);
    if (s) fy_storage_unref(st);
    else {
        *t = fy_tensor_view(FERRY_STRING, rank, dim, st->at);
        t->own = st;
        for (int64_t i = 0; i < n; i++) ((fy_str *)st->at)[i] = (fy_str){text + offset[i], (i + 1 < n ? offset[i + 1] : bytes) - offset[i]};
    }
    fy_free(offset);
    return s;
}

static fy_status tensor_from_ort(fy_tensor *out, const fy_compiled *c, void *v, ferry_error *e) {
    const ort_fn *api = c->api;
    void *info = NULL, *data = NULL;
    int type = 0;
    size_t rank = 0;
    int64_t dim[FY_MAX_RANK];
    FY_TRY(check(api, ORT(api, GET_TYPE_AND_SHAPE, ort_status, (const void *, void **))(v, &info), "output", e));
    fy_status s = check(api, ORT(api, GET_ELEMENT_TYPE, ort_status, (const void *, int *))(info, &type), "output type", e);
    if (!s) s = check(api, ORT(api, GET_DIMENSIONS_COUNT, ort_status, (const void *, size_t *))(info, &rank), "output rank", e);
    if (!s && rank > FY_MAX_RANK) s = fy_fail(e, FY_E_LIMIT, "onnxruntime: output of rank %zu", rank);
    if (!s) s = check(api, ORT(api, GET_DIMENSIONS, ort_status, (const void *, int64_t *, size_t))(info, dim, rank), "output shape", e);
    ORT(api, RELEASE_SHAPE_INFO, void, (void *))(info);
    FY_TRY(s);
    if (type == FERRY_STRING) return strings_from_ort(out, c, v, (int)rank, dim, e);
    FY_NEED(e, fy_dtype_bits((fy_dtype)type) >= 8, UNSUPPORTED, "onnxruntime: outputs of element type %d cannot be read", type);
    FY_TRY(check(api, ORT(api, GET_TENSOR_DATA, ort_status, (void *, void **))(v, &data), "output data", e));
    FY_TRY(fy_tensor_new(out, (fy_dtype)type, (int)rank, dim, e));
    size_t bytes = fy_dtype_bytes((fy_dtype)type, fy_count(out));
    if (bytes) memcpy(out->data, data, bytes);
    return FY_OK;
}

static fy_status from_ort(fy_rval *out, const fy_compiled *c, void *v, int depth, ferry_error *e);

static fy_status item_from_ort(fy_rval *out, const fy_compiled *c, void *v, int i, int depth, ferry_error *e) {
    void *item = NULL;
    fy_status s = check(c->api, ORT(c->api, GET_VALUE, ort_status, (const void *, int, void *, void **))(v, i, c->allocator, &item), "output item", e);
    if (!s) s = from_ort(out, c, item, depth + 1, e);
    release(c, item);
    return s;
}

static fy_status map_from_ort(fy_rval *out, const fy_compiled *c, void *v, int depth, ferry_error *e) {
    fy_rval keys = {0}, values = {0};
    fy_status s = item_from_ort(&keys, c, v, 0, depth, e);
    if (!s) s = item_from_ort(&values, c, v, 1, depth, e);
    if (!s) s = fy_rval_map(out, &keys.t, &values, e);
    fy_rval_free(&keys);
    fy_rval_free(&values);
    return s;
}

/* What is there of *out after a failure is the caller's to free. */
static fy_status from_ort(fy_rval *out, const fy_compiled *c, void *v, int depth, ferry_error *e) {
    const ort_fn *api = c->api;
    int type = 0;
    size_t n = 0;
    FY_TRY(check(api, ORT(api, GET_VALUE_TYPE, ort_status, (const void *, int *))(v, &type), "output type", e));
    if (type == ORT_TENSOR) {
        out->kind = FY_TENSOR;
        return tensor_from_ort(&out->t, c, v, e);
    }
    FY_NEED(e, (type == ORT_MAP || type == ORT_SEQUENCE) && depth < MAX_NESTING, UNSUPPORTED, "onnxruntime: outputs of kind %d cannot be read", type);
    if (type == ORT_MAP) return map_from_ort(out, c, v, depth, e);
    FY_TRY(check(api, ORT(api, GET_VALUE_COUNT, ort_status, (const void *, size_t *))(v, &n), "output count", e));
    *out = (fy_rval){.kind = FY_SEQUENCE, .item = fy_calloc(n + 1, sizeof *out->item)};
    FY_NOMEM(e, out->item);
    for (size_t i = 0; i < n; i++) {
        out->n++;
        FY_TRY(item_from_ort(&out->item[i], c, v, (int)i, depth, e));
    }
    out->elem_dtype = n ? out->item[0].t.dtype : FERRY_UNDEFINED;
    return FY_OK;
}

static fy_status run(fy_session *session_, fy_rval *const *in, fy_rval *out, ferry_error *e) {
    fy_compiled *c = session_->compiled;
    const fy_graph *g = c->model->graph;
    size_t nin = (size_t)g->in.n, nout = (size_t)g->out.n;
    void **arg = fy_calloc(nin + 1, sizeof *arg), **res = fy_calloc(nout + 1, sizeof *res);
    const char **name = fy_calloc(nin + 1, sizeof *name);
    fy_dense_list keep = {0};
    fy_status s = arg && res && name ? FY_OK : fy_nomem(e);
    size_t n = 0;
    for (size_t i = 0; !s && i < nin; i++) {
        const fy_rval *v = fy_states_given(session_->state, g, in, (int64_t)i);
        if (!v) continue;
        name[n] = c->in_name[i];
        s = to_ort(&arg[n], c, v, &keep, 0, e);
        n++;
    }
    if (!s) s = check(c->api, ORT(c->api, RUN, ort_status, (void *, const void *, const char *const *, void *const *, size_t, const char *const *,
        size_t, void **))(c->session, NULL, name, arg, n, c->out_name, nout, res), "run", e);
    for (size_t i = 0; !s && i < nout; i++) s = from_ort(&out[i], c, res[i], 0, e);
    if (!s) s = fy_states_keep(session_->state, g, out, e);
    for (size_t i = 0; arg && i < nin; i++) release(c, arg[i]);
    for (size_t i = 0; res && i < nout; i++) release(c, res[i]);
    fy_dense_free(&keep);
    for (size_t i = 0; s && i < nout; i++) fy_rval_free(&out[i]);
    fy_free(arg);
    fy_free(res);
    fy_free(name);
    return s;
}

const fy_engine fy_engine_onnxruntime = {
    .name = "onnxruntime", .foreign = true, .doc = "ONNX Runtime, opened at run time where it is installed", .missing = missing, .describe = describe,
    .compile = compile, .compiled_free = compiled_free, .session = session, .session_free = session_free, .run = run,
};
