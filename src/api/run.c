/* SPDX-License-Identifier: Apache-2.0
 * run.c - ferry_open, ferry_session, ferry_run: the public face of engines/. */
#include "api/api.h"
#include "formats/onnx.h"
#include "opset/opset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)FERRY_CACHE_USED == (int)FY_PACKED_USED && (int)FERRY_CACHE_MADE == (int)FY_PACKED_MADE && (int)FERRY_CACHE_FAILED == (int)FY_PACKED_FAILED, "the same states");

typedef struct port_memory { int64_t dim[FY_MAX_RANK]; const char *sym[FY_MAX_RANK]; } port_memory;

struct ferry_model {
    fy_loaded        loaded;
    const fy_engine *engine;
    fy_compiled     *compiled;
    fy_arena         arena;
    ferry_port      *in, *out;           /* declared state is no port: sessions keep it */
    int64_t         *in_at, *out_at;     /* number of each port among the graph's inputs and outputs */
    size_t           nin, nout;
    double           load_seconds, compile_seconds;
};

struct ferry_session {
    const ferry_model *model;
    fy_session        *session;
    fy_rval           *in, **arg, *out;  /* one for each graph input and output; out: results of the last run */
    fy_rval           *next;             /* results of the run in progress: its inputs may be the last run's outputs */
};

const char *ferry_version(void) { return FERRY_VERSION; }

/* ---- opening ------------------------------------------------------------------------------------------------------ */

#define WORD 4300                        /* bytes of one option: a path and its name */

/* The next word of the options, without the quotes around its value; *n: how much of the text it was. false: it does not end, or is too long. */
static bool next_option(char word[WORD], const char *p, size_t *n) {
    size_t at = strcspn(p, " ,\t\n'"), value = 0;
    const char *end = p[at] == '\'' && at && p[at - 1] == '=' ? strchr(p + at + 1, '\'') : NULL;
    if (p[at] == '\'' && !end) return false;
    if (end) value = (size_t)(end - p) - at - 1;
    *n = end ? (size_t)(end - p) + 1 : at;
    if (at + value >= WORD || (end && end[1] && !strchr(" ,\t\n", end[1]))) return false;
    memcpy(word, p, at);
    if (end) memcpy(word + at, p + at + 1, value);
    word[at + value] = 0;
    return true;
}

/* What the options say of the inputs of a TorchScript archive. */
typedef FY_VEC(ferry_option) shapes;

/* "threads=2 engine=onnxruntime exact"; the folder of the cache is copied into the arena. */
static fy_status parse_options(const char *text, const fy_engine **engine, fy_engine_options *o, ferry_registry **plugins, ferry_registry *base, fy_arena *a, shapes *given, ferry_error *e) {
    char precision[8] = "f32";
    for (const char *p = text; p && *p;) {
        size_t n;
        char word[WORD];
        FY_NEED(e, next_option(word, p, &n), USAGE, "option '%.40s...' is too long, or a ' has no other", p);
        if (n) {
            if (!strcmp(word, "exact")) {
                o->exact = true;
                p += n + (p[n] != 0);
                continue;
            }
            char *eq = strchr(word, '='), *end;
            FY_NEED(e, eq && eq[1], USAGE, "option '%.200s': name=value is meant (threads=2, engine=onnxruntime)", word);
            *eq++ = 0;
            ferry_option one = {word, eq};
            ferry_job job = {&one, 1, NULL, NULL};
            if (!strcmp(word, "engine")) FY_TRY(fy_opt_engine(&job, "engine", engine, e));
            else if (!strcmp(word, "threads")) {
                long t = strtol(eq, &end, 10);
                FY_NEED(e, !*end && t >= 1 && t <= 1024, USAGE, "threads: '%s' is not a whole number from 1 to 1024", eq);
                o->threads = (int)t;
            } else if (!strcmp(word, "precision")) (void)snprintf(precision, sizeof precision, "%s", eq);
            else if (!strcmp(word, "max-steps")) FY_TRY(fy_opt_int(&job, "max-steps", 1, INT64_MAX, &o->max_steps, e));
            else if (!strcmp(word, "shape")) {
                ferry_option kept = {"shape", fy_arena_str(a, eq)};
                FY_NOMEM(e, kept.value);
                FY_PUSH(e, *given, kept);
            } else if (!strcmp(word, "cache")) {
                o->cache = fy_arena_str(a, eq);
                FY_NOMEM(e, o->cache);
            } else if (!strcmp(word, "memory")) {
                FY_NEED(e, !strcmp(eq, "low") || !strcmp(eq, "normal"), USAGE, "memory: '%.40s' is neither low nor normal", eq);
                o->low_memory = !strcmp(eq, "low");
            } else if (!strcmp(word, "plugin")) FY_TRY(fy_registry_plugin(plugins, eq, base, e));
            else {
                static const char *const known[] = {"threads", "engine", "max-steps", "plugin", "exact", "precision", "cache", "memory", "shape"};
                const char *near = fy_nearest(word, known, FY_COUNT(known));
                return fy_fail(e, FY_E_USAGE, "there is no option '%.200s'; %s%s%s", word, near ? "did you mean '" : "there are: threads, engine, max-steps, plugin, exact, precision, cache, memory, shape", near ? near : "", near ? "'?" : "");
            }
        }
        p += n + (p[n] != 0);
    }
    ferry_option one = {"precision", precision};
    ferry_job job = {&one, 1, NULL, NULL};
    return fy_opt_precision(&job, *engine, &o->bf16, e);
}

static bool is_state(const fy_graph *g, const fy_value *v) {
    for (int64_t i = 0; i < g->state.n; i++)
        if (g->state.at[i].in == v || g->state.at[i].out == v) return true;
    return false;
}

static fy_status text_of(const char **text, fy_arena *a, fy_buf *b, ferry_error *e) {
    *text = b->oom ? NULL : fy_arena_str(a, b->at ? b->at : "");
    fy_buf_free(b);
    FY_NOMEM(e, *text);
    return FY_OK;
}

static fy_status describe(ferry_port *p, port_memory *mem, fy_arena *a, const fy_value *v, ferry_error *e) {
    const fy_type *t = &v->type;
    bool tensor = t->kind == FY_TENSOR || t->kind == FY_NOTYPE;
    fy_buf type = {0};
    FY_NEED(e, t->kind != FY_SPARSE, UNSUPPORTED, "'%s' is a sparse tensor", v->name);
    *p = (ferry_port){.name = v->name, .dtype = tensor ? (int32_t)t->dtype : 0, .rank = tensor ? t->rank : -1, .dim = mem->dim, .sym = mem->sym,
                      .kind = (int32_t)t->kind};
    fy_type_print(&type, t);
    FY_TRY(text_of(&p->type, a, &type, e));
    for (int k = 0; k < p->rank; k++) {
        fy_buf text = {0};
        mem->dim[k] = -1;
        if (fy_dim_known(t->dim[k], &mem->dim[k])) continue;
        fy_dim_print(&text, t->dim[k]);
        FY_TRY(text_of(&mem->sym[k], a, &text, e));
    }
    return FY_OK;
}

static fy_status make_ports(ferry_port **ports, int64_t **at, size_t *nports, fy_arena *a, const fy_graph *g, fy_value *const *v, int64_t n, ferry_error *e) {
    ferry_port *p = FY_NEWN(a, ferry_port, n);
    port_memory *mem = FY_NEWN(a, port_memory, n);
    size_t count = 0;
    *at = FY_NEWN(a, int64_t, n);
    FY_NOMEM(e, p && mem && *at);
    for (int64_t i = 0; i < n; i++) {
        if (is_state(g, v[i])) continue;
        FY_TRY(describe(&p[count], &mem[count], a, v[i], e));
        (*at)[count++] = i;
    }
    *ports = p;
    *nports = count;
    return FY_OK;
}

static fy_status compile(ferry_model *m, const char *path, const fy_engine_options *given, ferry_error *e) {
    fy_engine_options o = *given;
    const fy_graph *g = m->loaded.model->graph;
    if (!m->loaded.program) o.path = path;
    FY_TRY(make_ports(&m->in, &m->in_at, &m->nin, &m->arena, g, g->in.at, g->in.n, e));
    FY_TRY(make_ports(&m->out, &m->out_at, &m->nout, &m->arena, g, g->out.at, g->out.n, e));
    return m->engine->compile(&m->compiled, m->loaded.model, &o, e);
}

static ferry_model *open_model(const char *path, const void *data, size_t bytes, const char *options, ferry_registry *r, ferry_error *e) {
    fy_engine_options o = {0};
    shapes given = {0};
    ferry_registry *plugins = NULL;
    ferry_model *m = fy_calloc(1, sizeof *m);
    fy_error_clear(e);
    if (!m) {
        fy_nomem(e);
        return NULL;
    }
    m->engine = fy_engine_find(NULL);
    double begin = fy_os_seconds();
    fy_status s = path || data ? parse_options(options, &m->engine, &o, &plugins, r, &m->arena, &given, e) : fy_fail(e, FY_E_USAGE, "no model is given");
    if (plugins) r = plugins;
    ferry_job job = {given.at, (size_t)given.n, NULL, NULL};
    if (!s && path) s = fy_load_with(&m->loaded, path, r, &job, e);
    fy_free(given.at);
    if (!s && !path) {
        m->loaded.registry = fy_registry_hold(r);
        s = fy_onnx_read_memory(&m->loaded.model, data, bytes, "memory", fy_registry_of(r), e);
        if (!s) s = fy_opset_raise(m->loaded.model, e);
        if (!s) s = fy_infer_model(m->loaded.model, e);
    }
    m->load_seconds = fy_os_seconds() - begin;
    if (!s) s = compile(m, path, &o, e);
    ferry_registry_free(plugins);        /* the model has its own hold */
    m->compile_seconds = fy_os_seconds() - begin - m->load_seconds;
    if (!s) return m;
    ferry_close(m);
    return NULL;
}

ferry_model *ferry_open(const char *path, const char *options, ferry_error *e) { return open_model(path, NULL, 0, options, NULL, e); }

ferry_model *ferry_open_memory(const void *data, size_t bytes, const char *options, ferry_error *e) {
    return open_model(NULL, data, bytes, options, NULL, e);
}

ferry_model *ferry_open_with(const char *path, const char *options, ferry_registry *r, ferry_error *e) { return open_model(path, NULL, 0, options, r, e); }

ferry_model *ferry_open_memory_with(const void *data, size_t bytes, const char *options, ferry_registry *r, ferry_error *e) {
    return open_model(NULL, data, bytes, options, r, e);
}

void ferry_close(ferry_model *m) {
    if (!m) return;
    if (m->compiled) m->engine->compiled_free(m->compiled);
    fy_unload(&m->loaded);
    fy_arena_free(&m->arena);
    fy_free(m);
}

int ferry_cache_state(const ferry_model *m, const char **why) {
    const fy_plan *p = m->engine->plan ? m->engine->plan(m->compiled) : NULL;
    if (why) *why = p ? p->packed.why : "";
    return p ? (int)p->packed.state : FERRY_CACHE_OFF;
}

size_t            ferry_inputs(const ferry_model *m) { return m->nin; }
size_t            ferry_outputs(const ferry_model *m) { return m->nout; }
const ferry_port *ferry_input(const ferry_model *m, size_t i) { return i < m->nin ? &m->in[i] : NULL; }
const ferry_port *ferry_output(const ferry_model *m, size_t i) { return i < m->nout ? &m->out[i] : NULL; }
const char       *ferry_metadata(const ferry_model *m, const char *key) { return fy_model_meta(m->loaded.model, key); }

int ferry_metadata_at(const ferry_model *m, size_t i, const char **key, const char **value) {
    const fy_model *g = m->loaded.model;
    if (i >= (size_t)g->meta.n) return 0;
    *key = g->meta.at[i].key;
    *value = g->meta.at[i].val ? g->meta.at[i].val : "";
    return 1;
}

const char *ferry_about(const ferry_model *m, const char *what) {
    const fy_model *g = m->loaded.model;
    const struct { const char *what, *text; } about[] = {{"producer", g->producer}, {"producer-version", g->producer_version}, {"domain", g->domain},
        {"description", g->doc}, {"graph", g->graph->name}};
    for (int i = 0; what && i < FY_COUNT(about); i++)
        if (!strcmp(what, about[i].what)) return about[i].text ? about[i].text : "";
    return NULL;
}

int64_t ferry_model_version(const ferry_model *m) { return m->loaded.model->model_version; }

static int find(const ferry_port *p, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (!strcmp(p[i].name, name)) return (int)i;
    return -1;
}
int ferry_find_input(const ferry_model *m, const char *name) { return find(m->in, m->nin, name); }
int ferry_find_output(const ferry_model *m, const char *name) { return find(m->out, m->nout, name); }

const fy_model    *fy_model_of(const ferry_model *m) { return m->loaded.model; }
const fy_engine   *fy_engine_of(const ferry_model *m) { return m->engine; }
const fy_compiled *fy_compiled_of(const ferry_model *m) { return m->compiled; }
fy_session        *fy_session_of(ferry_session *s) { return s->session; }
void fy_open_seconds(const ferry_model *m, double *load, double *compile) {
    *load = m->load_seconds;
    *compile = m->compile_seconds;
}

/* ---- running ------------------------------------------------------------------------------------------------------ */

ferry_session *ferry_session_new(const ferry_model *m, ferry_error *e) {
    ferry_session *s = fy_calloc(1, sizeof *s);
    fy_error_clear(e);
    fy_status st = s ? FY_OK : fy_nomem(e);
    if (!st) {
        s->model = m;
        const fy_graph *g = m->loaded.model->graph;
        s->in = fy_calloc((size_t)g->in.n + 1, sizeof *s->in);
        s->arg = fy_calloc((size_t)g->in.n + 1, sizeof *s->arg);
        s->out = fy_calloc((size_t)g->out.n + 1, sizeof *s->out);
        s->next = fy_calloc((size_t)g->out.n + 1, sizeof *s->next);
        st = s->in && s->arg && s->out && s->next ? m->engine->session(&s->session, m->compiled, e) : fy_nomem(e);
    }
    if (!st) return s;
    ferry_session_free(s);
    return NULL;
}

static void drop_outputs(const ferry_session *s, fy_rval *out) {
    for (int64_t i = 0; out && i < s->model->loaded.model->graph->out.n; i++) fy_rval_free(&out[i]);
}

void ferry_session_free(ferry_session *s) {
    if (!s) return;
    if (s->model) {
        drop_outputs(s, s->out);
        drop_outputs(s, s->next);
    }
    if (s->session) s->model->engine->session_free(s->session);
    fy_free(s->in);
    fy_free(s->arg);
    fy_free(s->out);
    fy_free(s->next);
    fy_free(s);
}

int ferry_session_stop(ferry_session *s) {
    if (!s->model->engine->stop) return FERRY_USAGE;
    s->model->engine->stop(s->session);
    return FERRY_OK;
}

int ferry_session_reset(ferry_session *s, ferry_error *e) {
    fy_session *fresh = NULL;
    fy_error_clear(e);
    fy_status st = s->model->engine->session(&fresh, s->model->compiled, e);
    if (st) return fy_kind_of(st);
    s->model->engine->session_free(s->session);
    s->session = fresh;
    return FERRY_OK;
}

fy_status fy_view_check(const char *what, const char *name, const ferry_tensor *t, ferry_error *e) {
    int64_t count;
    size_t  align = (size_t)fy_elem_bytes((fy_dtype)t->dtype) / (fy_dtype_class((fy_dtype)t->dtype) == FY_CLASS_C ? 2 : 1);
    FY_NEED(e, fy_dtype_bits((fy_dtype)t->dtype) >= 8, TYPE, "%s '%s': tensors of %s cannot be passed as views", what, name, ferry_dtype_name(t->dtype));
    FY_NEED(e, t->rank >= 0 && t->rank <= FERRY_MAX_RANK, SHAPE, "%s '%s': rank %d is outside 0..%d", what, name, t->rank, FERRY_MAX_RANK);
    FY_NEED(e, fy_count_dims(&count, t->rank, t->dim), SHAPE, "%s '%s': the shape is negative or too large", what, name);
    FY_NEED(e, t->data || !count, VALUE, "%s '%s' has no data", what, name);
    FY_NEED(e, t->bytes >= ferry_dtype_bytes(t->dtype, count), VALUE, "%s '%s': %zu bytes given, the shape needs %zu", what, name, t->bytes,
        ferry_dtype_bytes(t->dtype, count));
    FY_NEED(e, (uintptr_t)t->data % align == 0, VALUE, "%s '%s': the data is not aligned for %s", what, name, ferry_dtype_name(t->dtype));
    return FY_OK;
}

/* Are dtype and sizes what the port takes? Also that equal symbols have equal sizes is the engine's to check. */
static fy_status check_shape(const ferry_port *p, int32_t dtype, int32_t rank, const int64_t *dim, ferry_error *e) {
    FY_NEED(e, dtype == p->dtype || !p->dtype, TYPE, "input '%s' is %s; the model takes %s", p->name, ferry_dtype_name(dtype), p->type);
    FY_NEED(e, p->rank < 0 || rank == p->rank, SHAPE, "input '%s' has rank %d; the model takes %s", p->name, rank, p->type);
    for (int k = 0; k < p->rank; k++)
        FY_NEED(e, dim[k] >= 0 && (p->dim[k] < 0 || p->dim[k] == dim[k]), SHAPE, "input '%s': axis %d is %lld; the model takes %s", p->name, k,
            (long long)dim[k], p->type);
    return FY_OK;
}

static fy_status check_input(const ferry_port *p, const ferry_tensor *t, ferry_error *e) {
    FY_NEED(e, p->kind <= FERRY_TENSOR && p->dtype != FERRY_STRING, UNSUPPORTED, "input '%s' is %s: ferry_run_values carries such values", p->name, p->type);
    FY_TRY(check_shape(p, t->dtype, t->rank, t->dim, e));
    return fy_view_check("input", p->name, t, e);
}

static fy_status give_output(const ferry_port *p, fy_rval *v, ferry_tensor *out, ferry_error *e) {
    FY_NEED(e, v->kind == FY_TENSOR && v->t.dtype != FERRY_STRING, UNSUPPORTED, "output '%s' is no tensor of numbers: ferry_run_values carries it", p->name);
    if (!fy_contiguous(&v->t)) {
        fy_tensor dense;
        FY_TRY(fy_tensor_clone(&dense, &v->t, e));
        fy_tensor_free(&v->t);
        v->t = dense;
    }
    ferry_tensor view = ferry_view((int32_t)v->t.dtype, v->t.data, v->t.rank, v->t.dim);
    if (!out->data) { *out = view; return FY_OK; }
    bool same = out->dtype == view.dtype && out->rank == view.rank;
    for (int k = 0; same && k < view.rank; k++) same = out->dim[k] == view.dim[k];
    FY_NEED(e, same && out->bytes >= view.bytes, SHAPE, "output '%s': the buffer given has another dtype or shape, or too few bytes (%zu needed)", p->name, view.bytes);
    if (view.bytes) memcpy(out->data, view.data, view.bytes);
    return FY_OK;
}

static fy_status check_counts(const ferry_model *m, size_t nin, size_t nout, ferry_error *e) {
    FY_NEED(e, nin == m->nin && nout == m->nout, USAGE, "the model has %zu inputs and %zu outputs; %zu and %zu were passed", m->nin, m->nout, nin, nout);
    return FY_OK;
}

/* The results of the run in progress become those of the last run. */
static void swap_results(ferry_session *s) {
    if (s->model->engine->recycle) s->model->engine->recycle(s->session, s->out);
    else drop_outputs(s, s->out);
    fy_rval *old = s->out;
    s->out = s->next;
    s->next = old;
}

static fy_status run(ferry_session *s, const ferry_tensor *in, size_t nin, ferry_tensor *out, size_t nout, ferry_error *e) {
    const ferry_model *m = s->model;
    FY_TRY(check_counts(m, nin, nout, e));
    for (size_t i = 0; i < nout; i++)
        FY_NEED(e, m->out[i].kind <= FERRY_TENSOR && m->out[i].dtype != FERRY_STRING, UNSUPPORTED, "output '%s' is %s: ferry_run_values carries such values",
            m->out[i].name, m->out[i].type);
    for (size_t i = 0; i < nin; i++) {
        FY_TRY(check_input(&m->in[i], &in[i], e));
        int64_t at = m->in_at[i];
        s->in[at] = (fy_rval){.kind = FY_TENSOR, .t = fy_tensor_view((fy_dtype)in[i].dtype, in[i].rank, in[i].dim, in[i].data)};
        s->arg[at] = &s->in[at];
    }
    for (size_t i = 0; i < nout; i++) {  /* a view that the last run gave out is no buffer of the caller's, and is gone if this run fails */
        const fy_rval *last = &s->out[m->out_at[i]];
        if (last->kind == FY_TENSOR && out[i].data == last->t.data) out[i].data = NULL;
    }
    fy_status st = m->engine->run(s->session, s->arg, s->next, e);
    for (size_t i = 0; !st && i < nout; i++) st = give_output(&m->out[i], &s->next[m->out_at[i]], &out[i], e);
    swap_results(s);
    return st;
}

/* Is v of the type, as far as its first items tell? */
static bool of_type(const fy_type *t, const fy_rval *v, int depth) {
    if (!t || t->kind == FY_NOTYPE || depth > FY_MAX_NESTING) return true;
    if (t->kind != v->kind) return false;
    if (v->kind == FY_TENSOR) return !t->dtype || t->dtype == v->t.dtype;
    if (v->kind != FY_MAP) return !v->n || of_type(t->elem, &v->item[0], depth + 1);
    const fy_rval *values = &v->item[1];
    if (t->dtype && t->dtype != v->item[0].t.dtype) return false;
    if (values->kind == FY_TENSOR) return !t->elem || (t->elem->kind == FY_TENSOR && (!t->elem->dtype || t->elem->dtype == values->t.dtype));
    return !values->n || of_type(t->elem, &values->item[0], depth + 1);
}

/* The value without a count on its storage, which other threads may be reading as well. Item lists are copies. */
static fy_status borrow(fy_rval *dst, const fy_rval *src, int depth, ferry_error *e) {
    int64_t n = fy_rval_items(src);
    *dst = *src;
    dst->t.own = NULL;
    dst->item = NULL;
    if (!n) return FY_OK;
    FY_NEED(e, depth < FY_MAX_NESTING, LIMIT, "a value nests deeper than %d", FY_MAX_NESTING);
    FY_NOMEM(e, dst->item = fy_calloc((size_t)n, sizeof *dst->item));
    for (int64_t i = 0; i < n; i++) FY_TRY(borrow(&dst->item[i], &src->item[i], depth + 1, e));
    return FY_OK;
}

static fy_status take_values(ferry_session *s, const ferry_value *const *in, size_t nin, ferry_error *e) {
    const ferry_model *m = s->model;
    for (size_t i = 0; i < nin; i++) {
        const ferry_port *p = &m->in[i];
        FY_NEED(e, in[i], VALUE, "input '%s' is NULL", p->name);
        const fy_rval *v = &in[i]->v;
        FY_NEED(e, of_type(&m->loaded.model->graph->in.at[m->in_at[i]]->type, v, 0), TYPE, "input '%s' is of another type; the model takes %s", p->name, p->type);
        if (v->kind == FY_TENSOR) FY_TRY(check_shape(p, (int32_t)v->t.dtype, v->t.rank, v->t.dim, e));
        s->arg[m->in_at[i]] = &s->in[m->in_at[i]];
        FY_TRY(borrow(&s->in[m->in_at[i]], v, 0, e));
    }
    return FY_OK;
}

static fy_status run_values(ferry_session *s, const ferry_value *const *in, size_t nin, const ferry_value **out, size_t nout, ferry_error *e) {
    const ferry_model *m = s->model;
    FY_TRY(check_counts(m, nin, nout, e));
    fy_status st = take_values(s, in, nin, e);
    if (!st) {
        st = m->engine->run(s->session, s->arg, s->next, e);
        swap_results(s);
    }
    for (size_t i = 0; i < nin; i++) fy_rval_free(&s->in[m->in_at[i]]);
    for (size_t i = 0; i < nout; i++) out[i] = st ? NULL : (const ferry_value *)&s->out[m->out_at[i]];
    return st;
}

int ferry_run_values(ferry_session *s, const ferry_value *const *in, size_t nin, const ferry_value **out, size_t nout, ferry_error *e) {
    fy_error_clear(e);
    return fy_kind_of(run_values(s, in, nin, out, nout, e));
}

static fy_status take(fy_rval *to, ferry_session *s, size_t i, ferry_error *e) {
    FY_NEED(e, i < s->model->nout, USAGE, "there is no output %zu", i);
    fy_rval *v = &s->out[s->model->out_at[i]];
    FY_NEED(e, v->kind, USAGE, "there is no result of output '%s': no run, a failed one, or it was taken", s->model->out[i].name);
    FY_NEED(e, v->kind == FY_TENSOR && v->t.dtype != FERRY_STRING, TYPE, "output '%s' is no tensor of numbers", s->model->out[i].name);
    bool alone = v->t.own && v->t.own->refs == 1 && !v->t.own->borrowed && fy_contiguous(&v->t);       /* else it is an output twice, or state */
    *to = (fy_rval){.kind = FY_TENSOR};
    if (!alone) return fy_tensor_clone(&to->t, &v->t, e);
    *to = *v;
    *v = (fy_rval){0};
    return FY_OK;
}

ferry_value *ferry_session_take(ferry_session *s, size_t i, ferry_error *e) {
    fy_rval v;
    fy_error_clear(e);
    return take(&v, s, i, e) ? NULL : fy_value_handle(&v, true, e);
}

int ferry_run(ferry_session *s, const ferry_tensor *in, size_t nin, ferry_tensor *out, size_t nout, ferry_error *e) {
    fy_error_clear(e);
    return fy_kind_of(run(s, in, nin, out, nout, e));
}
