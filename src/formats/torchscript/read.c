/* SPDX-License-Identifier: Apache-2.0
 * read.c - the archive: finds its parts, types the inputs of forward, reads the code from there, and closes the program. */
#include "formats/torchscript/script.h"

#include "base/file.h"
#include "base/os.h"

#include <stdio.h>
#include <string.h>

enum { INPUTS = 256 };

/* ---- the archive ------------------------------------------------------------------------------------------------------------------- */

static fy_status locate(ts *r) {
    for (int64_t i = 0; i < r->zip.count && !r->root; i++) {
        const char *name = r->zip.entry[i].name, *slash = strrchr(name, '/');
        if (!slash || strcmp(slash, "/data.pkl")) continue;
        r->root = fy_arena_strn(&r->tmp, name, (size_t)(slash - name));
        TS_OOM(r, r->root);
    }
    if (!r->root) return fy_help(r->e, fy_fail(r->e, FY_E_FORMAT, "a TorchScript archive of PyTorch 1.2 or older"), "load it with a newer PyTorch and save it again: torch.jit.save(torch.jit.load(\"old.pt\"), \"new.pt\")");
    char *name = fy_arena_fmt(&r->tmp, "%s/version", r->root);
    TS_OOM(r, name);
    const fy_zip_entry *f = fy_zip_find(&r->zip, name);
    const unsigned char *p;
    if (!f) return FY_OK;
    FY_TRY(fy_zip_read(&r->zip, f, &r->tmp, 64, &p, r->e));
    for (size_t i = 0; i < f->size && i < 6 && p[i] >= '0' && p[i] <= '9'; i++) r->version = r->version * 10 + (p[i] - '0');
    FY_NEED(r->e, r->version <= 10, UNSUPPORTED, "the archive has format version %d; known are 1 to 10", r->version);
    return FY_OK;
}

static bool has(ts *r, const char *stem) {
    char name[300];
    int n = snprintf(name, sizeof name, "%.250s/%s.pkl", r->root, stem);
    return n > 0 && fy_zip_find(&r->zip, name);
}

static fy_status open_parts(ts *r) {
    FY_TRY(locate(r));
    FY_TRY(fy_script_open(&r->data, &r->tmp, &r->zip, r->root, "data", r->e));
    if (has(r, "constants")) {
        FY_TRY(fy_script_open(&r->constants, &r->tmp, &r->zip, r->root, "constants", r->e));
        r->has_constants = true;
    }
    if (has(r, "traced_inputs")) {                           /* a sample that cannot be read is no failure */
        ferry_error why = {0};
        fy_status s = fy_script_open(&r->traced, &r->tmp, &r->zip, r->root, "traced_inputs", &why);
        if (s == FY_E_NOMEM) return fy_fail(r->e, s, "out of memory");
        r->has_traced = !s;
    }
    return FY_OK;
}

/* ---- inputs ------------------------------------------------------------------------------------------------------------------------ */

typedef struct made { fy_pvalue *v; const char *name; } made;
typedef struct asked { ts *r; FY_VEC(made) at; fy_buf missing; int nmissing; bool *used; } asked;

static const fy_ts_input *said(asked *a, const char *name) {
    for (int i = 0; i < a->r->o->ninput; i++)
        if (!strcmp(a->r->o->input[i].name, name)) {
            a->used[i] = true;
            return &a->r->o->input[i];
        }
    return NULL;
}

static bool said_below(const asked *a, const char *name) {
    size_t n = strlen(name);
    for (int i = 0; i < a->r->o->ninput; i++)
        if (!strncmp(a->r->o->input[i].name, name, n) && a->r->o->input[i].name[n] == '.') return true;
    return false;
}

static bool type_is(const ts_expr *t, const char *name) {
    if (t && t->kind == TS_INDEX) return type_is(t->arg[0], name);
    return t && t->s && !strcmp(t->s, name);
}

static fy_status tensor_input(asked *a, ts_value **to, const char *name, const fy_ts_input *in, const fy_pickled *traced) {
    ts *r = a->r;
    fy_pvalue *v = fy_pvalue_new(r->p, FY_PV_TENSOR, name);
    TS_OOM(r, v);
    FY_NEED(r->e, a->at.n < INPUTS, LIMIT, "more than %d inputs", INPUTS);
    FY_TRY(ts_home(r, v, r->level->g));
    made m = {.v = v, .name = v->name};
    v->has_meta = true;
    v->rank = traced ? traced->rank : in->rank;
    v->dtype = traced ? traced->dtype : in->dtype ? in->dtype : FERRY_FLOAT;
    const fy_dim **dim = FY_NEWN(&r->p->arena, const fy_dim *, v->rank);
    TS_OOM(r, dim);
    for (int i = 0; i < v->rank; i++) {
        int64_t size = traced ? traced->dim[i] : in->dim[i];
        const char *symbol = in && (in->rank < 0 || i < in->rank) ? in->symbol[i] : NULL;
        if (!symbol && !i) symbol = r->o->batch;
        if (symbol) {
            TS_OOM(r, symbol = fy_arena_str(&r->p->arena, symbol));
            int k = 0;
            while (k < r->p->ngiven && strcmp(r->p->opened[k].symbol, symbol)) k++;
            FY_NEED(r->e, k == r->p->ngiven || r->p->opened[k].sample == size, FROZEN, "\"%s\" would be %lld and, on \"%s\", %lld", symbol, (long long)r->p->opened[k].sample, name, (long long)size);
            if (k == r->p->ngiven) r->p->opened[r->p->ngiven++] = (fy_popened){symbol, i, size};
            if (r->has_traced || !r->flow) r->p->nopened = r->p->ngiven;      /* a script's literals are meant */
            dim[i] = fy_dim_sym(r->p->dims, symbol);
            if (dim[i]) fy_dim_bound(r->p->dims, dim[i], 1, INT64_MAX);
        } else dim[i] = fy_dim_const(r->p->dims, size);
        TS_OOM(r, dim[i]);
    }
    v->dim = dim;
    FY_PUSH(r->e, a->at, m);
    FY_TRY(ts_declare(r, v, NULL, NULL));
    return ts_tensor(r, to, v);
}

static fy_status number_input(ts *r, ts_value **to, const ts_expr *type, const fy_ts_input *in) {
    if (type_is(type, "float")) return ts_float(r, to, in->number);
    if (type_is(type, "bool")) return ts_bool(r, to, in->number < 0 || in->number > 0);
    return ts_int(r, to, in->number > -9e18 && in->number < 9e18 ? (int64_t)in->number : 0);
}

static fy_status lacks(asked *a, ts_value **to, const char *name, const ts_expr *type) {
    bool number = type_is(type, "int") || type_is(type, "float") || type_is(type, "bool");
    if (type_is(type, "Dict")) fy_buf_fmt(&a->missing, " --shape %s.KEY=1x16", name);
    else if (type_is(type, "List")) fy_buf_fmt(&a->missing, " --shape %s.0=1x3x224x224", name);
    else fy_buf_fmt(&a->missing, " --shape %s=%s", name, number ? "1" : a->nmissing ? "1x16:int64" : "1x3x224x224");
    a->nmissing++;
    return ts_new(a->r, to, TV_UNSET);
}

static fy_status input(asked *a, ts_value **to, const char *name, const ts_expr *type, const ts_expr *def, const fy_pickled *traced, int depth);

static fy_status entry(asked *a, ts_value *list, const char *name, const char *key, const ts_expr *type, const fy_pickled *traced, int depth) {
    ts_value *x;
    char *full = fy_arena_fmt(&a->r->p->arena, "%s.%s", name, key);
    TS_OOM(a->r, full);
    FY_TRY(input(a, &x, full, type, NULL, traced, depth + 1));
    return ts_add(a->r, list, x);
}

static fy_status list_input(asked *a, ts_value **to, const char *name, const ts_expr *type, const fy_pickled *traced, int depth) {
    ts *r = a->r;
    const ts_expr *of = type->n > 1 ? type->arg[1] : NULL;
    char key[32];
    FY_TRY(ts_new(r, to, TV_LIST));
    for (int64_t i = 0;; i++) {
        snprintf(key, sizeof key, "%lld", (long long)i);
        char full[600];
        snprintf(full, sizeof full, "%.500s.%s", name, key);
        const fy_pickled *t = traced && traced->kind == FY_PK_LIST && i < traced->item.n ? traced->item.at[i] : NULL;
        bool told = said_below(a, full);
        for (int k = 0; k < r->o->ninput; k++) told = told || !strcmp(r->o->input[k].name, full);
        if (!t && !told) return i ? FY_OK : lacks(a, to, name, type);
        FY_TRY(entry(a, *to, name, key, of, t, depth));
    }
}

static fy_status dict_input(asked *a, ts_value **to, const char *name, const ts_expr *type, const fy_pickled *traced, int depth) {
    ts *r = a->r;
    const ts_expr *of = type->n > 1 && type->arg[1] && type->arg[1]->kind == TS_TUPLE && type->arg[1]->n == 2 ? type->arg[1]->arg[1] : NULL;
    size_t n = strlen(name);
    FY_TRY(ts_new(r, to, TV_DICT));
    bool pickled = traced && traced->kind == FY_PK_DICT;
    for (int64_t i = 0; i < (pickled ? traced->item.n / 2 : r->o->ninput); i++) {
        const char *key = pickled ? traced->item.at[2 * i]->s : NULL;
        if (!pickled && !strncmp(r->o->input[i].name, name, n) && r->o->input[i].name[n] == '.') key = r->o->input[i].name + n + 1;
        if (!key) continue;
        ts_value *k;
        FY_TRY(ts_str(r, &k, key));
        FY_TRY(ts_add(r, *to, k));
        FY_TRY(entry(a, *to, name, key, of, pickled ? traced->item.at[2 * i + 1] : NULL, depth));
    }
    return (*to)->n ? FY_OK : lacks(a, to, name, type);
}

/* One parameter of forward, or an entry of one that is a container. What the user says goes before what the trace recorded. */
static fy_status input(asked *a, ts_value **to, const char *name, const ts_expr *type, const ts_expr *def, const fy_pickled *traced, int depth) {
    ts *r = a->r;
    const fy_ts_input *in = said(a, name);
    FY_NEED(r->e, depth < 8, LIMIT, "inputs are nested deeper than 8");
    if (traced && traced->kind == FY_PK_NONE) traced = NULL;
    if (type_is(type, "Optional") && type->n > 1) {
        if (!in && !said_below(a, name) && !traced) return def ? ts_eval(r, to, def) : ts_new(r, to, TV_NONE);
        type = type->arg[1];
    }
    if (type_is(type, "List") && !in) return list_input(a, to, name, type, traced, depth);
    if (type_is(type, "Dict") && !in) return dict_input(a, to, name, type, traced, depth);
    if (type_is(type, "Tuple") && !in && type->n > 1 && type->arg[1]) {
        const ts_expr *t = type->arg[1];
        int n = t->kind == TS_TUPLE ? t->n : 1;
        FY_TRY(ts_new(r, to, TV_TUPLE));
        for (int i = 0; i < n; i++) {
            char key[16];
            snprintf(key, sizeof key, "%d", i);
            const fy_pickled *p = traced && traced->kind == FY_PK_TUPLE && i < traced->item.n ? traced->item.at[i] : NULL;
            FY_TRY(entry(a, *to, name, key, t->kind == TS_TUPLE ? t->arg[i] : t, p, depth));
        }
        return FY_OK;
    }
    bool number = type_is(type, "int") || type_is(type, "float") || type_is(type, "bool");
    if (number && in) {
        FY_NEED(r->e, !in->is_tensor || (in->rank == 1 && !in->symbol[0]), USAGE, "shape: '%s' is a number, not a tensor: --shape %s=1", name, name);
        fy_ts_input k = *in;
        if (in->is_tensor) k.number = (double)in->dim[0];
        return number_input(r, to, type, &k);
    }
    if (number || type_is(type, "str") || type_is(type, "Device")) {
        if (traced && (traced->kind == FY_PK_INT || traced->kind == FY_PK_FLOAT || traced->kind == FY_PK_BOOL || traced->kind == FY_PK_STR)) return ts_from_pickle(r, to, traced, &r->traced, name, 0);
        return def ? ts_eval(r, to, def) : lacks(a, to, name, type);
    }
    if (traced && traced->kind != FY_PK_TENSOR) traced = NULL;
    if (traced && in && in->is_tensor) {                     /* the trace's values only where sizes are the trace's */
        bool same = (in->rank < 0 || in->rank == traced->rank) && (!in->dtype || in->dtype == traced->dtype);
        for (int i = 0; same && i < in->rank; i++) same = in->dim[i] == traced->dim[i];
        if (!same) {
            fy_ts_input k = *in;
            if (!k.dtype) k.dtype = traced->dtype;
            return tensor_input(a, to, name, &k, NULL);
        }
    }
    if (!traced && (!in || in->rank < 0)) return def ? ts_eval(r, to, def) : lacks(a, to, name, type);
    FY_NEED(r->e, !in || in->is_tensor, USAGE, "shape: '%s' is a tensor: --shape %s=1x3x224x224", name, name);
    return tensor_input(a, to, name, in, traced);
}

static fy_status check_said(const asked *a, const ts_func *f) {
    for (int i = 0; i < a->r->o->ninput; i++) {
        if (a->used[i]) continue;
        const char *names[64];
        int n = 0;
        for (int k = 1; k < f->n && n < 64; k++) names[n++] = f->param[k].name;
        const char *near = fy_nearest(a->r->o->input[i].name, names, n);
        if (!near && n) near = names[0];
        return fy_fail(a->r->e, FY_E_NAME, "shape: there is no input '%s'%s%s%s", a->r->o->input[i].name, near ? "; there is '" : "", near ? near : "", near ? "'" : "");
    }
    return FY_OK;
}

static fy_status type_inputs(asked *a, const ts_func *f, ts_value **arg) {
    ts *r = a->r;
    const fy_pickled *traced = r->has_traced ? fy_pickled_get(r->traced.pickle.root, "forward") : NULL;
    bool list = traced && (traced->kind == FY_PK_LIST || traced->kind == FY_PK_TUPLE);
    TS_OOM(r, r->p->opened = FY_NEWN(&r->p->arena, fy_popened, r->o->ninput * FY_MAX_RANK + 2));
    for (int i = 1; i < f->n; i++)
        FY_TRY(input(a, &arg[i - 1], f->param[i].name, f->param[i].type, f->param[i].def, list && i - 1 < traced->item.n ? traced->item.at[i - 1] : NULL, 0));
    FY_TRY(check_said(a, f));
    if (!a->nmissing) return FY_OK;
    const char *base = strrchr(r->p->path, '/');
    fy_status s = fy_fail(r->e, FY_E_USAGE, "a TorchScript archive holds no shapes unless PyTorch 2.0 or newer traced it: %d input%s must be given", a->nmissing, a->nmissing == 1 ? "" : "s");
    return fy_help(r->e, s, "with the sizes of your model, and :int64 or the like where it is not float32:\n    ferry export %.200s%s", base ? base + 1 : r->p->path, a->missing.oom || !a->missing.at ? "" : a->missing.at);
}

/* ---- outputs ----------------------------------------------------------------------------------------------------------------------- */

typedef struct leaving { ts *r; FY_VEC(fy_poutput) at; } leaving;

static fy_status remark(ts *r, const char *where, const char *text) {
    fy_premark m = {fy_arena_str(&r->p->arena, where), fy_arena_str(&r->p->arena, text)};
    TS_OOM(r, m.where);
    TS_OOM(r, m.text);
    FY_PUSH(r->e, r->p->remark, m);
    return FY_OK;
}

static fy_status output(leaving *l, ts_value *v, const char *name, int depth) {
    ts *r = l->r;
    FY_NEED(r->e, depth < 16, LIMIT, "outputs are nested deeper than 16");
    FY_NEED(r->e, l->at.n < INPUTS, LIMIT, "more than %d outputs", INPUTS);
    if (v->kind == TV_TUPLE || v->kind == TV_LIST || v->kind == TV_DICT) {
        for (int64_t i = 0; i < v->n; i++) {
            const ts_value *key = v->kind == TV_DICT ? v->item[i++] : NULL;
            char text[32];
            snprintf(text, sizeof text, "%lld", (long long)i);
            const char *part = key && key->kind == TV_STR ? key->s : v->name ? v->name[i] : text;
            char *full = *name ? fy_arena_fmt(&r->p->arena, "%.300s%s%.300s", name, depth ? "." : "_", part)
                       : key || v->name ? fy_arena_str(&r->p->arena, part) : fy_arena_fmt(&r->p->arena, "output_%s", part);
            TS_OOM(r, full);
            FY_TRY(output(l, v->item[i], full, depth + 1));
        }
        return FY_OK;
    }
    if (v->kind == TV_NONE || v->kind == TV_STR || v->kind == TV_DEVICE || v->kind == TV_UNSET)
        return depth ? remark(r, *name ? name : "output", "is no tensor and is left out of the outputs") : FY_OK;
    if (v->kind == TV_STACK) v = v->inner;
    fy_poutput o = {.kind = FY_POUT_USER, .user_name = *name ? name : "output"};
    o.arg.name = "";
    if (v->q) FY_TRY(remark(r, o.user_name, "is quantised in PyTorch, and given as the floats that it means"));
    FY_TRY(ts_unquantised(r, &v));
    if (ts_is_tensor(v)) FY_TRY(ts_as_tensor(r, &v));
    else if (!ts_is_number(v)) {
        if (v->kind == TV_LOST) return ts_fail(r, FY_E_UNSUPPORTED, "output %s has no value: %s", o.user_name, v->s);
        return ts_fail(r, FY_E_UNSUPPORTED, "output %s is %s", o.user_name, ts_kind_text(v));
    }
    FY_TRY(ts_arg(r, &o.arg, v));
    FY_PUSH(r->e, l->at, o);
    return FY_OK;
}

/* Attributes that hold other tensors than at the start: state that the next call finds. */
static fy_status states(leaving *l) {
    ts *r = l->r;
    for (int64_t i = 0; i < r->state.n; i++) {
        const ts_state *s = &r->state.at[i];
        ts_value **now = ts_attr_at(s->obj, s->name);
        fy_pvalue *was, *is;
        if (!now || *now == s->was || s->obj->kind != TV_OBJECT) continue;
        bool fits = ts_is_tensor(*now);
        if (fits) {
            ts_value *v = *now;
            FY_TRY(ts_as_tensor(r, &v));
            FY_TRY(ts_pvalue(r, &was, s->was));
            FY_TRY(ts_pvalue(r, &is, v));
            fits = is->has_meta && is->dtype == was->dtype && is->rank == was->rank;
            for (int k = 0; fits && k < is->rank; k++) fits = is->dim[k] == was->dim[k];
            if (fits && is != was) {
                fy_poutput o = {.kind = s->was->parameter ? FY_POUT_PARAMETER_MUTATION : FY_POUT_BUFFER_MUTATION, .target = s->was->s};
                o.arg = (fy_parg){.name = "", .kind = FY_ARG_TENSOR, .value = is};
                FY_PUSH(r->e, l->at, o);
            }
        }
        if (!fits) FY_TRY(remark(r, s->was->s, "is replaced by something of another shape: the model starts from what the file holds in every run"));
    }
    return FY_OK;
}

static fy_status close_program(ts *r, const asked *a, const leaving *l) {
    fy_program *p = r->p;
    int nw = (int)r->weights.n, ni = (int)a->at.n;
    FY_NEED(r->e, r->weights.n < 1 << 22, LIMIT, "more than %d tensors in the file", 1 << 22);
    p->in = FY_NEWN(&p->arena, fy_pinput, nw + ni);
    p->graph->in = FY_NEWN(&p->arena, fy_parg, nw + ni);
    TS_OOM(r, p->in);
    TS_OOM(r, p->graph->in);
    for (int i = 0; i < nw + ni; i++) {
        fy_pvalue *v = i < nw ? r->weights.at[i]->v : a->at.at[i - nw].v;
        p->in[i] = i < nw ? *r->weights.at[i]->in : (fy_pinput){.kind = FY_PIN_USER, .value = v, .user_name = a->at.at[i - nw].name};
        p->graph->in[i] = (fy_parg){.name = "", .kind = FY_ARG_TENSOR, .value = v};
    }
    p->nin = p->graph->nin = nw + ni;
    TS_OOM(r, p->sample_error = fy_arena_str(&p->arena, "TorchScript archives hold no sample inputs, only the shapes of traced ones"));
    p->nout = p->graph->nout = (int)l->at.n;
    p->out = fy_arena_copy(&p->arena, l->at.at, (size_t)l->at.n, sizeof *p->out);
    p->graph->out = FY_NEWN(&p->arena, fy_parg, p->nout);
    TS_OOM(r, p->out);
    TS_OOM(r, p->graph->out);
    for (int i = 0; i < p->nout; i++) p->graph->out[i] = p->out[i].arg;
    return fy_program_index(p, r->e);
}

/* ---- the whole --------------------------------------------------------------------------------------------------------------------- */

static fy_status program(ts *r, asked *a, leaving *l) {
    ts_value *root, *result;
    const fy_pickled *pk = r->data.pickle.root;
    FY_NEED(r->e, pk && pk->kind == FY_PK_OBJECT, FORMAT, "data.pkl holds no module");
    FY_TRY(ts_from_pickle(r, &root, pk, &r->data, "", 0));
    ts_func *f = ts_method(root->cls, "forward");
    FY_NEED(r->e, f && f->n, UNSUPPORTED, "the module %s has no method forward", root->cls->name);
    ts_value **arg = FY_NEWN(&r->tmp, ts_value *, f->n);
    a->used = FY_NEWN(&r->tmp, bool, r->o->ninput + 1);
    TS_OOM(r, arg);
    TS_OOM(r, a->used);
    FY_TRY(type_inputs(a, f, arg));
    FY_TRY(ts_call(r, &result, f, root, f->n - 1, arg, NULL));
    if (r->raised) return fy_fail(r->e, FY_E_VALUE, "for these shapes the model raises an exception: %.300s", r->why);
    FY_TRY(output(l, result, "", 0));
    FY_TRY(states(l));
    if (r->dropped) {
        char text[80];
        snprintf(text, sizeof text, "%lld check%s of the code that raise%s an exception", (long long)r->dropped, r->dropped == 1 ? "" : "s", r->dropped == 1 ? "s" : "");
        FY_TRY(remark(r, "left out", text));
    }
    return close_program(r, a, l);
}

static fy_status archive(ts *r) {
    static const fy_ts_options nothing;
    ts_level root = {0};
    asked a = {.r = r};
    leaving l = {.r = r};
    if (!r->o) r->o = &nothing;
    FY_TRY(open_parts(r));
    r->p->graph = FY_NEW(&r->p->arena, fy_pgraph);
    TS_OOM(r, r->p->graph);
    r->p->graph->program = r->p;
    r->p->graph->name = "forward";
    root.g = r->p->graph;
    r->level = &root;
    fy_status s = r->o->typer ? r->o->typer(r->o->ctx, &r->typer, r->p, r->e) : fy_fail(r->e, FY_E_USAGE, "nothing knows the operators");
    if (!s) s = program(r, &a, &l);
    fy_free(a.at.at);
    fy_buf_free(&a.missing);
    fy_free(l.at.at);
    fy_free(root.outer.at);
    fy_free(root.formal.at);
    fy_map_free(&root.by);
    return s;
}

/* Takes over `file`, whatever comes of it. */
static fy_status read(fy_program **to, fy_map_file *file, const char *name, const fy_ts_options *o, ferry_error *e) {
    ts r = {.e = e, .o = o};
    *to = NULL;
    r.p = fy_program_new();
    if (!r.p) { fy_file_close(file); fy_free(file); return fy_nomem(e); }
    r.p->file = file;
    r.p->path = fy_arena_str(&r.p->arena, name);
    fy_status s = r.p->path ? FY_OK : fy_nomem(e);
    if (!s) s = fy_zip_open(&r.zip, file->at, file->n, e);
    if (!s) {
        s = archive(&r);
        fy_pickle_free(&r.data.pickle);
        fy_pickle_free(&r.constants.pickle);
        fy_pickle_free(&r.traced.pickle);
        fy_zip_close(&r.zip);
    }
    fy_map_free(&r.files);
    fy_map_free(&r.strings);
    fy_map_free(&r.objects);
    fy_free(r.weights.at);
    fy_free(r.state.at);
    fy_free(r.home.at);
    fy_free(r.undo.at);
    fy_arena_free(&r.tmp);
    if (s) {
        fy_program_free(r.p);
        return fy_frame(e, s, "file %s", name);
    }
    *to = r.p;
    return FY_OK;
}

fy_status fy_ts_read(fy_program **p, const char *path, const fy_ts_options *o, ferry_error *e) {
    *p = NULL;
    fy_map_file *file = fy_calloc(1, sizeof *file);
    FY_NOMEM(e, file);
    fy_status s = fy_file_open(file, path, e);
    if (s) { fy_free(file); return s; }
    return read(p, file, path, o, e);
}

fy_status fy_ts_read_memory(fy_program **p, const void *data, size_t n, const char *name, const fy_ts_options *o, ferry_error *e) {
    *p = NULL;
    fy_map_file *file = fy_calloc(1, sizeof *file);
    FY_NOMEM(e, file);
    *file = (fy_map_file){ .at = data, .n = n, .fd = -1 };
    return read(p, file, name, o, e);
}
