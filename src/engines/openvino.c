/* SPDX-License-Identifier: Apache-2.0
 * openvino.c - OpenVINO as an engine, its CPU plugin, opened at run time through its C API (2023.1 and later).
 *
 * Two things of the library change between releases: its name ends in the release, and ov_element_type_e is numbered anew when
 * types come or go. So the file is looked for by pattern, and the numbers are found by asking how wide each type is.
 * The library is never unloaded: it has threads of its own. Source of the declarations: openvino/c/ov_*.h. */
#include "base/buf.h"
#include "base/knobs.h"
#include "engines/foreign.h"
#include "formats/onnx.h"
#include "ir/constant.h"
#include "ir/copy.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

extern const fy_engine fy_engine_openvino;

typedef struct ov_version { const char *build, *description; } ov_version;
typedef struct ov_shape { int64_t rank; int64_t *dim; } ov_shape;      /* passed by value */

/* Every call returns 0 or an error's number unless it is void. */
#define CALLS(CALL) \
    CALL(int, get_openvino_version, (ov_version *v)) \
    CALL(void, version_free, (ov_version *v)) \
    CALL(const char *, get_error_info, (int status)) \
    CALL(const char *, get_last_err_msg, (void)) \
    CALL(void, free, (const char *text)) \
    CALL(int, core_create, (void **core)) \
    CALL(void, core_free, (void *core)) \
    CALL(int, core_read_model, (const void *core, const char *path, const char *weights, void **model)) \
    CALL(int, core_read_model_from_memory_buffer, (const void *core, const char *bytes, size_t n, const void *weights, void **model)) \
    CALL(int, core_compile_model, (const void *core, const void *model, const char *device, size_t n, void **compiled, ...)) \
    CALL(void, model_free, (void *model)) \
    CALL(void, compiled_model_free, (void *compiled)) \
    CALL(int, compiled_model_input_by_name, (const void *compiled, const char *name, void **port)) \
    CALL(int, compiled_model_outputs_size, (const void *compiled, size_t *n)) \
    CALL(int, compiled_model_create_infer_request, (const void *compiled, void **request)) \
    CALL(void, output_const_port_free, (void *port)) \
    CALL(void, infer_request_free, (void *request)) \
    CALL(int, infer_request_set_tensor_by_const_port, (void *request, const void *port, const void *tensor)) \
    CALL(int, infer_request_get_output_tensor_by_index, (const void *request, size_t i, void **tensor)) \
    CALL(int, infer_request_infer, (void *request)) \
    CALL(int, tensor_create, (int type, ov_shape shape, void **tensor)) \
    CALL(int, tensor_create_from_host_ptr, (int type, ov_shape shape, void *data, void **tensor)) \
    CALL(int, tensor_get_shape, (const void *tensor, ov_shape *shape)) \
    CALL(int, tensor_get_element_type, (const void *tensor, int *type)) \
    CALL(int, tensor_get_byte_size, (const void *tensor, size_t *n)) \
    CALL(int, tensor_data, (const void *tensor, void **data)) \
    CALL(void, tensor_free, (void *tensor)) \
    CALL(int, shape_free, (ov_shape *shape))

typedef struct ov_api {
#define MEMBER(result, name, types) result (*name) types;
    CALLS(MEMBER)
#undef MEMBER
} ov_api;

#define INVALID_PARAMETER (-14)          /* and below: refused by the C layer */
#define NTYPES (FERRY_BFLOAT16 + 1)

struct fy_compiled {
    const fy_model *model;
    ov_api    api;
    int       type[NTYPES];              /* OpenVINO's number of each dtype; below 0: none */
    void     *core, *compiled;
    void    **port;                      /* of each graph input; NULL: what the engine found no use for */
    fy_rval  *initial;                   /* of each graph input: the default that the file gives it, if any */
};
struct fy_session { fy_compiled *compiled; void *request; fy_rval *state; };

/* ---- the library -------------------------------------------------------------------------------------------------- */

/* NULL, or what is wrong. */
static const char *load(ov_api *api, char *path, size_t npath) {
    static const char *const elsewhere[] = {"/usr/lib/*/libopenvino_c.so.*", "/usr/lib/libopenvino_c.so.*", "/opt/intel/openvino*/runtime/lib/intel64/libopenvino_c.so.*", NULL};
    static const fy_foreign library = {.knob = "FERRY_OPENVINO_LIB", .soname = "libopenvino_c.so", .python = "openvino/libs/libopenvino_c.so.*",
        .elsewhere = elsewhere, .flags = RTLD_NODELETE};
    void *lib = fy_foreign_open(&library, path, npath);
    if (!lib) return "libopenvino_c.so not found";
    bool all = true;
#define FIND(result, name, types) all = all && fy_foreign_symbol(lib, "ov_" #name, &api->name);
    CALLS(FIND)
#undef FIND
    (void)dlclose(lib);                  /* it stays */
    return all ? NULL : "found, but older than 2023.1";
}

static const char *missing(char *buf, size_t n) {
    char path[1024];
    ov_api api;
    const char *wrong = load(&api, path, sizeof path);
    if (!wrong) return NULL;
    snprintf(buf, n, "%s (looked at FERRY_OPENVINO_LIB, the loader's path, the active Python environment, ~/.local, /usr/local, /usr, /opt/intel; "
        "`pip install openvino` brings it)", wrong);
    return buf;
}

static fy_status describe(char *buf, size_t n, ferry_error *e) {
    char path[1024];
    ov_api api;
    ov_version v = {0};
    const char *wrong = load(&api, path, sizeof path);
    FY_NEED(e, !wrong && !api.get_openvino_version(&v), ENGINE, "openvino: %s", wrong ? wrong : "the library tells no version");
    snprintf(buf, n, "OpenVINO %.*s (%s)", (int)strcspn(v.build, "-"), v.build, path);
    api.version_free(&v);
    return FY_OK;
}

/* The library's words for a failed call, in one line, without where in its files that was. What the C layer refuses by itself has none:
 * the last message is then another call's. */
static fy_status check(const ov_api *api, int status, const char *what, ferry_error *e) {
    if (!status) return FY_OK;
    const char *text = status > INVALID_PARAMETER ? api->get_last_err_msg() : NULL, *info = api->get_error_info(status);
    fy_buf line = {0};
    for (const char *p = text ? text : ""; *p;) {
        size_t n = strcspn(p, "\n");
        bool frame = !strncmp(p, "Exception from ", 15) || (!strncmp(p, "Check '", 7) && memchr(p, '\'', n) && strstr(p, "failed at"));
        if (n && !frame) {
            if (line.n) fy_buf_char(&line, ' ');
            fy_buf_add(&line, p, n);
        }
        p += n + (p[n] == '\n');
    }
    fy_fail(e, FY_E_ENGINE, "openvino: %s: %s", what, line.n && !line.oom ? line.at : text && *text ? text : info ? info : "it failed");
    fy_buf_free(&line);
    api->free(text);
    return FY_E_ENGINE;
}

/* ---- element types -------------------------------------------------------------------------------------------------- */

/* Bytes of eight elements of a type; 0 if there is no such type. */
static size_t width(const ov_api *api, int type) {
    int64_t eight = 8;
    void *t = NULL;
    size_t n = 0;
    if (api->tensor_create(type, (ov_shape){1, &eight}, &t)) return 0;
    if (api->tensor_get_byte_size(t, &n)) n = 0;
    api->tensor_free(t);
    return n;
}

/* The order has been the same in all releases, while UNDEFINED went and U2, U3, U6 came:
 * BOOLEAN BF16 F16 F32 F64 I4 I8 I16 I32 I64 U1 ... U8 U16 U32 U64. F32 is the first of four bytes. */
static fy_status number_types(int *type, const ov_api *api, ferry_error *e) {
    static const fy_dtype low[] = {FERRY_BOOL, FERRY_BFLOAT16, FERRY_FLOAT16, FERRY_FLOAT, FERRY_DOUBLE, FERRY_UNDEFINED, FERRY_INT8, FERRY_INT16, FERRY_INT32, FERRY_INT64},
        high[] = {FERRY_UINT8, FERRY_UINT16, FERRY_UINT32, FERRY_UINT64};
    enum { MOST = 32 };                  /* numbers tried */
    size_t w[MOST];
    int first = 3, u8;
    for (int i = 0; i < MOST; i++) w[i] = width(api, i);
    while (first < MOST && w[first] != 32) first++;
    for (u8 = first + 8; u8 + 3 < MOST && !(w[u8] == 8 && w[u8 + 1] == 16 && w[u8 + 2] == 32 && w[u8 + 3] == 64); u8++) {}
    FY_NEED(e, u8 + 3 < MOST, ENGINE, "openvino: this release numbers its element types in a way that is not known");
    for (int i = 0; i < NTYPES; i++) type[i] = -1;
    for (int i = 0; i < FY_COUNT(low); i++) {
        if (low[i] == FERRY_UNDEFINED) continue;
        type[low[i]] = first - 3 + i;
        FY_NEED(e, w[first - 3 + i] == (size_t)fy_dtype_bits(low[i]), ENGINE, "openvino: %s is not where it is looked for among the element types", fy_dtype_name(low[i]));
    }
    for (int i = 0; i < FY_COUNT(high); i++) type[high[i]] = u8 + i;
    return FY_OK;
}

/* ---- a model -------------------------------------------------------------------------------------------------------- */

static void compiled_free(fy_compiled *c) {
    if (!c) return;
    for (int64_t i = 0; c->port && i < c->model->graph->in.n; i++)
        if (c->port[i]) c->api.output_const_port_free(c->port[i]);
    for (int64_t i = 0; c->initial && i < c->model->graph->in.n; i++) fy_rval_free(&c->initial[i]);
    if (c->compiled) c->api.compiled_model_free(c->compiled);
    if (c->core) c->api.core_free(c->core);
    fy_free(c->port);
    fy_free(c->initial);
    fy_free(c);
}

static fy_status passable(const char *what, const fy_value *v, ferry_error *e) {
    const fy_type *t = &v->type;
    FY_NEED(e, t->kind == FY_TENSOR || t->kind == FY_NOTYPE, UNSUPPORTED, "openvino: %s \"%s\" is no tensor", what, v->name);
    FY_NEED(e, t->dtype != FERRY_STRING, UNSUPPORTED, "openvino: %s \"%s\" holds strings, which are not passed to this engine", what, v->name);
    return FY_OK;
}

/* OpenVINO takes an input that has a default for a constant. So it is given a graph without defaults, and they are kept here.
 * *any: there are some. */
static fy_status keep_defaults(fy_compiled *c, bool *any, ferry_error *e) {
    const fy_graph *g = c->model->graph;
    *any = g->state.n > 0;
    for (int64_t i = 0; i < g->in.n; i++) {
        const fy_const *k = g->in.at[i]->constant;
        for (int64_t s = 0; s < g->state.n; s++)
            if (g->state.at[s].in == g->in.at[i] && g->state.at[s].init) k = g->state.at[s].init;
        if (!k) continue;
        *any = true;
        c->initial[i].kind = FY_TENSOR;
        FY_TRY(fy_const_tensor(&c->initial[i].t, k, e));
    }
    return FY_OK;
}

/* The graph at the lowest opset that can say it, 17 or above: its reader knows old operators best. */
static fy_status write_graph(fy_buf *bytes, const fy_model *m, ferry_error *e) {
    fy_model *copy;
    FY_TRY(fy_model_copy(&copy, m, e));
    for (int64_t i = 0; i < copy->graph->in.n; i++) copy->graph->in.at[i]->constant = NULL;
    copy->graph->state.n = 0;
    fy_status s = fy_infer_model(copy, e);
    if (!s) {
        int64_t lowest = fy_opset_lowest(copy);
        if (lowest > 0) s = fy_opset_lower(copy, lowest < 17 ? 17 : lowest, e);
    }
    if (!s) s = fy_onnx_write_memory(copy, bytes, e);
    fy_model_free(copy);
    return s;
}

static fy_status read_model(void **model, const fy_compiled *c, const char *path, ferry_error *e) {
    if (path) return check(&c->api, c->api.core_read_model(c->core, path, NULL, model), "loading the model", e);
    fy_buf bytes = {0};
    fy_status s = write_graph(&bytes, c->model, e);
    if (!s) s = check(&c->api, c->api.core_read_model_from_memory_buffer(c->core, bytes.at, bytes.n, NULL, model), "loading the model", e);
    fy_buf_free(&bytes);
    return s;
}

static fy_status make(fy_compiled *c, const fy_engine_options *o, ferry_error *e) {
    const fy_graph *g = c->model->graph;
    char path[1024], threads[16];
    const char *wrong = load(&c->api, path, sizeof path), *precision = o && o->exact ? "f32" : fy_knob_str("FERRY_OPENVINO_PRECISION");
    FY_NEED(e, !wrong, ENGINE, "openvino: %s", wrong);
    FY_TRY(number_types(c->type, &c->api, e));
    for (int64_t i = 0; i < g->in.n; i++) FY_TRY(passable("input", g->in.at[i], e));
    for (int64_t i = 0; i < g->out.n; i++) FY_TRY(passable("output", g->out.at[i], e));
    bool defaults;
    FY_TRY(keep_defaults(c, &defaults, e));
    FY_TRY(check(&c->api, c->api.core_create(&c->core), "starting", e));
    void *model = NULL;
    FY_TRY(read_model(&model, c, o && !defaults ? o->path : NULL, e));
    snprintf(threads, sizeof threads, "%d", o && o->threads > 0 ? o->threads : fy_cores());
    fy_status s = check(&c->api, c->api.core_compile_model(c->core, model, "CPU", (size_t)10, &c->compiled, "PERFORMANCE_HINT", "LATENCY",
        "NUM_STREAMS", "1", "INFERENCE_NUM_THREADS", threads, "ENABLE_CPU_PINNING", "NO", "INFERENCE_PRECISION_HINT", precision), "loading the model", e);
    c->api.model_free(model);
    FY_TRY(s);
    size_t outputs = 0;
    FY_TRY(check(&c->api, c->api.compiled_model_outputs_size(c->compiled, &outputs), "outputs", e));
    FY_NEED(e, outputs == (size_t)g->out.n, ENGINE, "openvino: the model has %zu outputs there, not %lld", outputs, (long long)g->out.n);
    for (int64_t i = 0; i < g->in.n; i++)
        if (c->api.compiled_model_input_by_name(c->compiled, g->in.at[i]->name, &c->port[i])) c->port[i] = NULL;
    return FY_OK;
}

static fy_status compile(fy_compiled **out, const fy_model *m, const fy_engine_options *o, ferry_error *e) {
    char why[1400];
    *out = NULL;
    if (missing(why, sizeof why)) return fy_fail(e, FY_E_ENGINE, "openvino: %s", why);
    fy_compiled *c = fy_calloc(1, sizeof *c);
    FY_NOMEM(e, c);
    c->model = m;
    c->port = fy_calloc((size_t)m->graph->in.n + 1, sizeof *c->port);
    c->initial = fy_calloc((size_t)m->graph->in.n + 1, sizeof *c->initial);
    fy_status s = c->port && c->initial ? make(c, o, e) : fy_nomem(e);
    if (s) compiled_free(c);
    else *out = c;
    return s;
}

static void session_free(fy_session *s) {
    if (!s) return;
    if (s->request) s->compiled->api.infer_request_free(s->request);
    fy_states_free(s->state, s->compiled->model->graph);
    fy_free(s);
}

static fy_status session(fy_session **out, fy_compiled *c, ferry_error *e) {
    *out = NULL;
    fy_session *s = fy_calloc(1, sizeof *s);
    FY_NOMEM(e, s);
    s->compiled = c;
    fy_status st = fy_states_new(&s->state, c->model->graph, e);
    if (!st) st = check(&c->api, c->api.compiled_model_create_infer_request(c->compiled, &s->request), "session", e);
    if (st) session_free(s);
    else *out = s;
    return st;
}

/* ---- a run ---------------------------------------------------------------------------------------------------------- */

static fy_status pass(const fy_session *s, int64_t i, const fy_rval *v, fy_dense_list *keep, ferry_error *e) {
    static char nothing[64];             /* a tensor without elements needs an address too */
    const fy_compiled *c = s->compiled;
    const char *name = c->model->graph->in.at[i]->name;
    FY_NEED(e, v, GRAPH, "openvino: input \"%s\" is not given", name);
    const fy_tensor *t = &v->t;
    FY_NEED(e, v->kind == FY_TENSOR && (int)t->dtype < NTYPES && c->type[t->dtype] >= 0, UNSUPPORTED, "openvino: input \"%s\": %s cannot be passed", name,
        v->kind == FY_TENSOR ? fy_dtype_name(t->dtype) : "what is no tensor");
    FY_TRY(fy_dense(&t, keep, e));
    int64_t dim[FY_MAX_RANK + 1] = {0};
    for (int k = 0; k < t->rank; k++) dim[k] = t->dim[k];
    void *tensor = NULL;
    FY_TRY(check(&c->api, c->api.tensor_create_from_host_ptr(c->type[t->dtype], (ov_shape){t->rank, dim}, t->data ? t->data : nothing, &tensor), name, e));
    fy_status st = check(&c->api, c->api.infer_request_set_tensor_by_const_port(s->request, c->port[i], tensor), name, e);
    c->api.tensor_free(tensor);          /* the request has a reference of its own */
    return st;
}

static fy_status take(fy_tensor *out, const fy_compiled *c, const void *tensor, ferry_error *e) {
    const ov_api *api = &c->api;
    ov_shape shape = {0};
    int number = -1, dtype = 1;
    size_t bytes = 0;
    int64_t dim[FY_MAX_RANK];
    void *data = NULL;
    FY_TRY(check(api, api->tensor_get_element_type(tensor, &number), "output type", e));
    while (dtype < NTYPES && c->type[dtype] != number) dtype++;
    FY_NEED(e, dtype < NTYPES, UNSUPPORTED, "openvino: outputs of element type %d cannot be read", number);
    FY_TRY(check(api, api->tensor_get_byte_size(tensor, &bytes), "output size", e));
    int status = api->tensor_get_shape(tensor, &shape);
    bool scalar = status == INVALID_PARAMETER && bytes == fy_dtype_bytes((fy_dtype)dtype, 1);       /* the C layer has no shape of rank 0 */
    FY_TRY(check(api, scalar ? 0 : status, "output shape", e));
    int rank = shape.rank <= FY_MAX_RANK ? (int)shape.rank : -1;
    for (int i = 0; i < rank; i++) dim[i] = shape.dim[i];
    if (!scalar) (void)api->shape_free(&shape);
    FY_NEED(e, rank >= 0, LIMIT, "openvino: an output has too many dimensions");
    FY_TRY(fy_tensor_new(out, (fy_dtype)dtype, rank, dim, e));
    FY_NEED(e, bytes == fy_dtype_bytes((fy_dtype)dtype, fy_count(out)), ENGINE, "openvino: an output has %zu bytes", bytes);
    if (!bytes) return FY_OK;
    FY_TRY(check(api, api->tensor_data(tensor, &data), "output data", e));
    memcpy(out->data, data, bytes);
    return FY_OK;
}

static fy_status run(fy_session *s, fy_rval *const *in, fy_rval *out, ferry_error *e) {
    const fy_compiled *c = s->compiled;
    const fy_graph *g = c->model->graph;
    fy_dense_list keep = {0};
    fy_status st = FY_OK;
    for (int64_t i = 0; !st && i < g->in.n; i++) {
        const fy_rval *v = fy_states_given(s->state, g, in, i);
        if (!v && c->initial[i].kind) v = &c->initial[i];
        if (c->port[i]) st = pass(s, i, v, &keep, e);
    }
    if (!st) st = check(&c->api, c->api.infer_request_infer(s->request), "run", e);
    for (int64_t i = 0; !st && i < g->out.n; i++) {
        void *tensor = NULL;
        st = check(&c->api, c->api.infer_request_get_output_tensor_by_index(s->request, (size_t)i, &tensor), "output", e);
        out[i].kind = FY_TENSOR;
        if (!st) st = take(&out[i].t, c, tensor, e);
        c->api.tensor_free(tensor);
    }
    if (!st) st = fy_states_keep(s->state, g, out, e);
    for (int64_t i = 0; st && i < g->out.n; i++) fy_rval_free(&out[i]);
    fy_dense_free(&keep);
    return st;
}

const fy_engine fy_engine_openvino = {
    .name = "openvino", .foreign = true, .doc = "OpenVINO's CPU plugin, opened at run time where it is installed", .missing = missing, .describe = describe,
    .compile = compile, .compiled_free = compiled_free, .session = session, .session_free = session_free, .run = run,
};
