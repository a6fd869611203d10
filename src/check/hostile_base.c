/* SPDX-License-Identifier: Apache-2.0
 * hostile_base.c - valid nodes to start from: those of hostile.def, those that random search finds, those of case folders. */
#include "check/hostile.h"

#include "check/hostile_lines.h"
#include "engines/engine.h"
#include "formats/onnx.h"
#include "formats/stored.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#define SEARCHED 120                     /* random nodes tried for an operator that has some already, ... */
#define SEARCHED_BARE 1500               /* ... and for one that has none yet */
#define KEPT 3                           /* of those that run */
#define CASES 4                          /* case folders used for an operator */

uint64_t fy_hostile_random(fy_hostile *h) {
    h->seed ^= h->seed << 13;
    h->seed ^= h->seed >> 7;
    h->seed ^= h->seed << 17;
    return h->seed * 0x2545F4914F6CDD1DULL >> 16;
}

int64_t fy_hostile_range(fy_hostile *h, int64_t lo, int64_t hi) { return lo + (int64_t)(fy_hostile_random(h) % (uint64_t)(hi - lo + 1)); }

/* ---- a base as a model --------------------------------------------------------------------------------------------- */

fy_status fy_hostile_model(const fy_hostile *h, const fy_hostile_base *b, fy_model **m, fy_node **n, ferry_error *e) {
    const fy_registry *reg = h->registry ? h->registry : fy_registry_builtin();
    *m = NULL;
    if (b->text) FY_TRY(fy_model_parse(m, b->text, strlen(b->text), reg, e));
    else {
        FY_TRY(fy_onnx_read_memory(m, b->bytes, b->nbytes, "case", reg, e));
        fy_status s = fy_opset_raise(*m, e);
        if (s) {
            fy_model_free(*m);
            *m = NULL;
            return s;
        }
    }
    fy_graph *g = (*m)->graph;
    *n = g->first;
    if (g->nnodes != 1 || g->in.n > FY_HOSTILE_IN || g->state.n) {
        fy_model_free(*m);
        *m = NULL;
        return fy_fail(e, FY_E_GRAPH, "one node and at most %d inputs are wanted", FY_HOSTILE_IN);
    }
    return FY_OK;
}

static void base_free(fy_hostile_base *b) {
    for (int i = 0; i < b->nin; i++) fy_rval_free(&b->in[i]);
    fy_free(b->text);
    fy_free(b->bytes);
    *b = (fy_hostile_base){0};
}

/* Plain values: small integers, floats within [-1, 1], short words. */
static fy_status random_tensor(fy_hostile *h, fy_tensor *t, const fy_type *type, ferry_error *e) {
    int64_t dim[FY_MAX_RANK];
    int rank = type->rank < 0 ? 1 : type->rank;
    static const fy_str word[] = {{"a", 1}, {"b c", 3}, {"", 0}, {"1", 1}};
    for (int a = 0; a < rank; a++)
        if (type->rank < 0 || !fy_dim_known(type->dim[a], &dim[a])) dim[a] = 3;
    FY_TRY(fy_tensor_new(t, type->dtype ? type->dtype : FERRY_FLOAT, rank, dim, e));
    for (int64_t i = 0; i < fy_count(t); i++) {
        fy_class k = fy_dtype_class(t->dtype);
        double v[2] = {(double)fy_hostile_range(h, -8, 8) / 8, (double)fy_hostile_range(h, -8, 8) / 8};
        if (k == FY_CLASS_F) fy_put_f64(t, i, v[0]);
        else if (k == FY_CLASS_C) fy_store_c128(t, i, 1, v);
        else if (k == FY_CLASS_S) ((fy_str *)t->data)[i] = word[fy_hostile_range(h, 0, FY_COUNT(word) - 1)];
        else fy_put_i64(t, i, fy_hostile_range(h, k == FY_CLASS_B ? 0 : 1, k == FY_CLASS_B ? 1 : 3));
    }
    return FY_OK;
}

static fy_status random_value(fy_hostile *h, fy_rval *v, const fy_type *type, ferry_error *e) {
    static const fy_type f32 = {.kind = FY_TENSOR, .dtype = FERRY_FLOAT, .rank = -1};
    const fy_type *el = type->elem ? type->elem : &f32;
    *v = (fy_rval){.kind = type->kind ? type->kind : FY_TENSOR};
    if (v->kind == FY_TENSOR) return random_tensor(h, &v->t, type, e);
    v->elem_dtype = el->dtype;
    FY_NOMEM(e, v->item = fy_calloc(3, sizeof *v->item));
    if (v->kind == FY_MAP) {
        fy_type keys = {.kind = FY_TENSOR, .dtype = type->dtype ? type->dtype : FERRY_INT64, .rank = -1}, values = *el;
        values.rank = -1;
        v->n = 3;
        v->item[0].kind = v->item[1].kind = FY_TENSOR;
        FY_TRY(random_tensor(h, &v->item[0].t, &keys, e));
        for (int64_t i = 0; keys.dtype == FERRY_INT64 && i < 3; i++) fy_put_i64(&v->item[0].t, i, i);
        return random_tensor(h, &v->item[1].t, &values, e);
    }
    v->n = v->kind == FY_OPTIONAL ? 1 : 3;
    for (int64_t i = 0; i < v->n; i++) {
        fy_type one = el->kind == FY_TENSOR ? *el : f32;
        v->item[i].kind = FY_TENSOR;
        FY_TRY(random_tensor(h, &v->item[i].t, &one, e));
    }
    return FY_OK;
}

/* Gives the inputs that are not given yet their values: the text's own, or random ones. */
static fy_status fill(fy_hostile *h, fy_hostile_base *b, const fy_graph *g, ferry_error *e) {
    for (b->nin = 0; b->nin < g->in.n;) {
        const fy_value *v = g->in.at[b->nin];
        fy_rval *x = &b->in[b->nin++];
        if (x->kind) continue;
        if (!v->constant) {
            FY_TRY(random_value(h, x, &v->type, e));
            continue;
        }
        fy_tensor t;
        x->kind = FY_TENSOR;
        FY_TRY(fy_const_tensor(&t, v->constant, e));
        fy_status s = fy_tensor_clone(&x->t, &t, e);
        if (!s && t.dtype == FERRY_STRING)
            for (int64_t i = 0; i < fy_count(&x->t); i++) {           /* the bytes must outlive the model: from the words that we know */
                fy_str *w = (fy_str *)x->t.data + i;
                const char *at = b->text ? strstr(b->text, w->n ? w->at : "") : NULL;
                *w = at ? (fy_str){at, w->n} : (fy_str){"a", 1};
            }
        fy_tensor_free(&t);
        FY_TRY(s);
    }
    return FY_OK;
}

/* Does it run? */
static fy_status try_base(fy_hostile *h, fy_hostile_base *b, ferry_error *e) {
    fy_model *m;
    fy_node *n;
    fy_rval *in[FY_HOSTILE_IN], out[32] = {{0}};
    FY_TRY(fy_hostile_model(h, b, &m, &n, e));
    fy_status s = m->graph->out.n <= FY_COUNT(out) ? fill(h, b, m->graph, e) : fy_fail(e, FY_E_GRAPH, "too many outputs");
    if (!s) s = fy_infer_model(m, e);
    for (int i = 0; i < b->nin; i++) in[i] = &b->in[i];
    fy_interp it = {.max_bytes = FY_HOSTILE_BYTES, .max_steps = FY_HOSTILE_STEPS, .hooks = fy_hooks_builtin()};
    if (!s) s = fy_interp_run(&it, m->graph, in, out, e);
    for (int i = 0; !s && i < m->graph->out.n; i++) fy_rval_free(&out[i]);
    fy_model_free(m);
    return s;
}

/* ---- texts --------------------------------------------------------------------------------------------------------- */

/* "(inputs) => y, z = node" as a model. */
static fy_status text_of(fy_hostile_base *b, const char *hint, ferry_error *e) {
    const char *arrow = strstr(hint, " => "), *eq = arrow ? strstr(arrow + 4, " = ") : NULL;
    FY_NEED(e, eq, INTERNAL, "a hint without => or =: %.60s", hint);
    fy_buf t = {0};
    fy_buf_fmt(&t, "<ir_version: 10, opset_import: [\"\" : %d, \"ai.onnx.ml\" : 5, \"ai.onnx.preview.training\" : 1]>\ng %.*s => (%.*s) {\n%s\n}\n",
        FY_CANONICAL_OPSET, (int)(arrow - hint), hint, (int)(eq - arrow - 4), arrow + 4, arrow + 4);
    if (t.oom) {
        fy_buf_free(&t);
        return fy_nomem(e);
    }
    b->text = t.at;
    return FY_OK;
}

/* Is this operator the one that a hint's node applies? */
static bool hint_is(const char *hint, const fy_op *op) {
    char name[200];
    const char *arrow = strstr(hint, " => "), *eq = arrow ? strstr(arrow + 4, " = ") : NULL;
    snprintf(name, sizeof name, "%s%s%s", op->domain, *op->domain ? "." : "", op->name);
    size_t n = strlen(name);
    return eq && !strncmp(eq + 3, name, n) && strchr(" <(", eq[3 + n]);
}

static void random_attr(fy_hostile *h, fy_buf *t, const fy_attr_spec *s, bool *first) {
    bool must = s->def && !strcmp(s->def, FY_REQUIRED);
    if (!must && fy_hostile_range(h, 0, 4)) return;
    fy_buf_fmt(t, "%s%s = ", *first ? "<" : ", ", s->name);
    *first = false;
    int64_t k = fy_hostile_range(h, 0, 2);
    if (s->kind == FY_ATTR_INT) fy_buf_fmt(t, "%lld", (long long)(s->def && !must && fy_hostile_range(h, 0, 1) ? 1 : k));
    else if (s->kind == FY_ATTR_FLOAT) fy_buf_fmt(t, "%lld.5", (long long)k);
    else if (s->kind == FY_ATTR_STRING) fy_buf_fmt(t, "\"%s\"", s->def && !must ? s->def : "a");
    else if (s->kind == FY_ATTR_INTS) fy_buf_str(t, k == 0 ? "[0]" : k == 1 ? "[1, 1]" : "[2]");
    else if (s->kind == FY_ATTR_FLOATS) fy_buf_str(t, k == 0 ? "[0.5]" : "[1.0, 2.0]");
    else if (s->kind == FY_ATTR_STRINGS) fy_buf_str(t, k == 0 ? "[\"a\"]" : "[\"a\", \"b c\"]");
    else fy_buf_str(t, "float[1] {1}");
}

/* A random node: mostly one dtype and one shape, lists of small integers among the later inputs. */
static fy_status random_text(fy_hostile *h, fy_hostile_base *b, const fy_op *op, ferry_error *e) {
    static const char *const types[] = {"float", "float", "float", "int64", "int32", "uint8", "double", "bool", "string", "int8", "float16", "complex64"};
    fy_buf t = {0}, args = {0};
    const char *main = types[fy_hostile_range(h, 0, FY_COUNT(types) - 1)];
    char shape[64] = "";
    int64_t rank = fy_hostile_range(h, 0, 4), most = op->max_in < 0 ? op->min_in + 2 : op->max_in, nin = fy_hostile_range(h, op->min_in, most);
    for (int64_t a = 0; a < rank; a++) snprintf(shape + strlen(shape), sizeof shape - strlen(shape), "%s%lld", a ? "," : "", (long long)fy_hostile_range(h, 1, 3));
    fy_buf_str(&t, "(");
    for (int64_t i = 0; i < nin && i < FY_HOSTILE_IN; i++) {
        int64_t k = fy_hostile_range(h, 0, 5);
        fy_buf_str(&t, i ? ", " : "");
        if (i && k == 0) fy_buf_fmt(&t, "int64[1] x%lld", (long long)i);
        else if (i && k == 1) fy_buf_fmt(&t, "int64 x%lld", (long long)i);
        else if (i && k == 2) fy_buf_fmt(&t, "%s x%lld", main, (long long)i);
        else fy_buf_fmt(&t, rank ? "%s[%s] x%lld" : "%s%s x%lld", main, shape, (long long)i);
        fy_buf_fmt(&args, "%sx%lld", i ? ", " : "", (long long)i);
    }
    fy_buf_str(&t, ") => ");
    int64_t nout = op->min_out > 0 ? op->min_out : 1;
    if (op->max_out < 0 || op->max_out > nout) nout = fy_hostile_range(h, nout, op->max_out < 0 ? nout + 1 : op->max_out);
    for (int64_t i = 0; i < nout && i < 8; i++) fy_buf_fmt(&t, "%sy%lld", i ? ", " : "", (long long)i);
    fy_buf_fmt(&t, " = %s%s%s ", op->domain, *op->domain ? "." : "", op->name);
    bool first = true;
    for (const fy_attr_spec *s = op->attrs; s && s->name; s++)
        if (s->kind != FY_ATTR_GRAPH && s->kind != FY_ATTR_TYPE) random_attr(h, &t, s, &first);
    fy_buf_fmt(&t, "%s (%s)", first ? "" : ">", args.at ? args.at : "");
    fy_status s = t.oom || args.oom ? fy_nomem(e) : text_of(b, t.at, e);
    fy_buf_free(&t);
    fy_buf_free(&args);
    return s;
}

/* ---- case folders -------------------------------------------------------------------------------------------------- */

static fy_status read_case(fy_hostile_base *b, const char *folder, ferry_error *e) {
    char path[1200];
    fy_map_file f;
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    FY_TRY(fy_file_open(&f, path, e));
    b->bytes = fy_malloc(f.n ? f.n : 1, 1);
    if (b->bytes && f.n) memcpy(b->bytes, f.at, f.n);
    b->nbytes = f.n;
    fy_file_close(&f);
    FY_NOMEM(e, b->bytes);
    return FY_OK;
}

static fy_status case_inputs(fy_hostile *h, fy_hostile_base *b, const fy_op *op, const char *folder, ferry_error *e) {
    fy_model *m;
    fy_node *n;
    char path[1200];
    FY_TRY(fy_hostile_model(h, b, &m, &n, e));
    fy_status s = n->op == op ? FY_OK : FY_E_OP;
    for (b->nin = 0; !s && b->nin < m->graph->in.n;) {
        int i = b->nin++;
        fy_os_info info;
        snprintf(path, sizeof path, "%s/test_data_set_0/input_%d.pb", folder, i);
        if (fy_os_stat_path(path, true, &info) || !info.size) continue;
        s = fy_onnx_read_value_as(&b->in[i], path, m->graph->in.at[i]->type.kind, e);
    }
    fy_model_free(m);
    return s;
}

/* The words that name an operator's cases: "test_reduce_sum_..." for ReduceSum. */
static bool case_is(const char *folder, const fy_op *op) {
    const char *s = folder + 5, *t = op->name;
    if (strncmp(folder, "test_", 5)) return false;
    for (; *t; s++) {
        if (*s == '_') continue;
        char c = *t >= 'A' && *t <= 'Z' ? (char)(*t + 32) : *t;
        if (*s != c) return !strncmp(folder, "test_ai_onnx_ml", 15);      /* several operators share that: the node decides */
        t++;
    }
    return !*s || *s == '_';
}

static fy_status use_folders(fy_hostile *h, const fy_op *op, int *used, fy_status (*use)(void *ctx, const fy_hostile_base *b, ferry_error *e), void *ctx,
    ferry_error *e) {
    char path[1000];
    DIR *d = h->folder ? opendir(h->folder) : NULL;
    fy_status s = FY_OK;
    for (struct dirent *x; d && !s && *used < CASES && (x = readdir(d));) {
        fy_hostile_base b = {0};
        if (!case_is(x->d_name, op)) continue;
        snprintf(path, sizeof path, "%s/%s", h->folder, x->d_name);
        if (!read_case(&b, path, e) && !case_inputs(h, &b, op, path, e) && !try_base(h, &b, e)) {
            ++*used;
            s = use(ctx, &b, e);
        }
        base_free(&b);
    }
    if (d) closedir(d);
    return s;
}

/* ---- all ----------------------------------------------------------------------------------------------------------- */

static fy_status use_hint(fy_hostile *h, const char *hint, int *used, fy_status (*use)(void *ctx, const fy_hostile_base *b, ferry_error *e), void *ctx, ferry_error *e) {
    fy_hostile_base b = {0};
    fy_status s = text_of(&b, hint, e);
    if (!s) s = try_base(h, &b, e);
    if (!s) {
        ++*used;
        s = use(ctx, &b, e);
    } else {
        h->nfaults++;
        snprintf(h->now, sizeof h->now, "%.100s: %.120s", hint, e->text);
        if (h->found) h->found(h->ctx, h, "a hint does not run");
        s = FY_OK;
    }
    base_free(&b);
    return s;
}

static fy_status use_hints(fy_hostile *h, const fy_op *op, int *used, fy_status (*use)(void *ctx, const fy_hostile_base *b, ferry_error *e), void *ctx, ferry_error *e) {
    char *hints = fy_malloc(HOSTILE_LINES_SIZE, 1);
    fy_status s = FY_OK;
    FY_NOMEM(e, hints);
    fy_stored_read(hints, HOSTILE_LINES_SIZE, hostile_lines, sizeof hostile_lines);
    for (char *hint = hints, *end; !s && hint < hints + HOSTILE_LINES_SIZE; hint = end + 1) {
        end = strchr(hint, '\n');
        *end = 0;
        if (hint_is(hint, op)) s = use_hint(h, hint, used, use, ctx, e);
    }
    fy_free(hints);
    return s;
}

fy_status fy_hostile_bases(fy_hostile *h, const fy_op *op, fy_status (*use)(void *ctx, const fy_hostile_base *b, ferry_error *e), void *ctx, ferry_error *e) {
    int hinted = 0, found = 0, cases = 0;
    FY_TRY(use_hints(h, op, &hinted, use, ctx, e));
    bool body = false;
    for (const fy_attr_spec *s = op->attrs; s && s->name; s++) body |= s->kind == FY_ATTR_GRAPH;
    for (int i = 0; i < (hinted || found ? SEARCHED : SEARCHED_BARE) && found < (hinted ? 1 : KEPT) && !body; i++) {
        fy_hostile_base b = {0};
        fy_status s = random_text(h, &b, op, e);
        if (!s && !try_base(h, &b, e)) {
            found++;
            s = use(ctx, &b, e);
        }
        base_free(&b);
        FY_TRY(s);
    }
    FY_TRY(use_folders(h, op, &cases, use, ctx, e));
    if (!hinted && !found && !cases) {
        size_t at = strlen(h->bare);
        h->nbare++;
        snprintf(h->bare + at, sizeof h->bare - at, "%s%s", at ? ", " : "", op->name);
    }
    return FY_OK;
}
