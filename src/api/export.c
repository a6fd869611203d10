/* SPDX-License-Identifier: Apache-2.0
 * export.c - ferry_export: read, inline, functionalise, lower, clean up, lower the opset, write, verify what was written, and only
 * then put it in place. The report is made from what each step noted. */
#include "api/rewrite.h"
#include "api/weights.h"
#include "base/file.h"
#include "base/knobs.h"
#include "base/threads.h"
#include "formats/hash.h"
#include "formats/onnx.h"
#include "formats/pt2.h"
#include "opset/opset.h"
#include "verify/verify.h"

#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_OPSET 17

typedef struct export {
    fy_arena         arena;
    const ferry_job *job;
    const char      *source;
    char            *target;
    int64_t          opset, threads;
    bool             verify, provenance, all_fixed, asserts;
    double           tolerance;
    const fy_engine *engine;
    fy_axis_name    *axes;               /* every axis named by --dynamic and --dynamic-batch */
    fy_filetype      type;
    bool             batch;              /* of TorchScript: axis 0 of every input is dynamic */
    int              nsymbol;            /* of TorchScript: axes that are symbolic while it is read */
    fy_axis_name    *symbol;
    int              naxes, nopened;     /* the first nopened were frozen and had to be re-symbolised */
    fy_axis_name    *renames;            /* --dim-names, and axes that were symbolic already */
    int              nrenames;
    const char *const *input_names, *const *output_names;
    int              ninput_names, noutput_names;
    fy_notes         notes;
    ferry_registry  *registry;           /* --plugin: operators and mappings; NULL: none */
    fy_program      *program;            /* rewritten on the way to the graph */
    fy_model        *model;
    fy_verify_report verdict;
    bool             verified;           /* there is a verdict */
    int64_t          nnodes;             /* as written */
    fy_task          hashing;            /* of the source, beside the export */
    bool             hashed;             /* the task was started */
    const char      *unknown;            /* an operator without a kernel: the model cannot be run here */
    fy_swap          swap;               /* other weights */
    fy_record        record;             /* of norms that passes may fold */
    fy_origin       *origin;             /* weights as they were before the program was rewritten */
    int64_t          norigin;
    char             sha256[65];         /* "" before it is joined */
} export;

/* ---- options ------------------------------------------------------------------------------------------------------ */

static fy_status choose_target(export *x, const char *given, ferry_error *e) {
    size_t n = strlen(x->source);
    static const char *const ends[] = {".pt2", ".pt", ".pth", ".ts", ".torchscript"};
    size_t end = 0;
    for (int i = 0; i < FY_COUNT(ends) && !end; i++)
        if (n > strlen(ends[i]) && !strcmp(x->source + n - strlen(ends[i]), ends[i])) end = strlen(ends[i]);
    x->target = given ? fy_arena_str(&x->arena, given) : fy_arena_fmt(&x->arena, "%.*s.onnx", (int)(n - end), x->source);
    FY_NOMEM(e, x->target);
    FY_NEED(e, !fy_os_same_file(x->target, x->source), USAGE, "%s: the output would overwrite its input", x->target);
    return FY_OK;
}

/* "NAME:AXIS=SYMBOL" */
static fy_status parse_dynamic(export *x, const char *text, ferry_error *e) {
    const char *eq = strrchr(text, '='), *colon = eq;
    while (colon && colon > text && *colon != ':') colon--;
    char *end = NULL;
    long axis = colon && colon > text && colon[1] >= '0' && colon[1] <= '9' ? strtol(colon + 1, &end, 10) : -1;
    FY_NEED(e, eq && eq[1] && end == eq && axis >= 0 && axis < FY_MAX_RANK, USAGE, "dynamic: '%s' is not NAME:AXIS=SYMBOL (x:0=batch)", text);
    x->axes[x->naxes++] = (fy_axis_name){fy_arena_strn(&x->arena, text, (size_t)(colon - text)), (int)axis, fy_arena_str(&x->arena, eq + 1)};
    FY_NOMEM(e, x->axes[x->naxes - 1].input && x->axes[x->naxes - 1].symbol);
    return FY_OK;
}

/* "s77=batch,s3=height": renames by torch's symbol. */
static fy_status parse_renames(export *x, ferry_error *e) {
    const char *const *word;
    int n;
    FY_TRY(fy_opt_words(x->job, "dim-names", &x->arena, &word, &n, e));
    for (int i = 0; i < n; i++) {
        const char *eq = strchr(word[i], '=');
        FY_NEED(e, eq && eq > word[i] && eq[1], USAGE, "dim-names: '%s' is not OLD=NEW", word[i]);
        x->renames[x->nrenames++] = (fy_axis_name){fy_arena_strn(&x->arena, word[i], (size_t)(eq - word[i])), -1, eq + 1};
    }
    return FY_OK;
}

/* USAGE if one of the n names comes twice, or also among the `other`. */
static fy_status distinct(const char *key, const char *const *name, int n, const char *const *other, int nother, ferry_error *e) {
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < i; k++) FY_NEED(e, strcmp(name[i], name[k]), USAGE, "%s: '%s' is given twice", key, name[i]);
        for (int k = 0; k < nother; k++) FY_NEED(e, strcmp(name[i], other[k]), USAGE, "%s: '%s' is the name of an input too", key, name[i]);
    }
    return FY_OK;
}

static fy_status parse_options(export *x, const char *given_target, ferry_error *e) {
    static const char *const keys[] = {"output", "opset", "input-names", "output-names", "dynamic", "dynamic-batch", "dim-names", "shape", "no-fold", "no-fold-bn",
        "external-data", "no-verify", "tolerance", "relative-to-range", "engine", "threads", "training", "report", "keep-traces", "no-provenance",
        "stop-after", "skip-pass", "dump", "plugin", "asserts", FY_SWAP_KEYS, NULL};
    FY_TRY(fy_opt_known(x->job, keys, e));
    FY_TRY(choose_target(x, given_target, e));
    x->opset = DEFAULT_OPSET;
    x->tolerance = 1e-4;
    FY_TRY(fy_opt_int(x->job, "opset", 1, 1000, &x->opset, e));
    FY_NEED(e, x->opset >= 13 && x->opset <= FY_CANONICAL_OPSET, USAGE, "opset: %lld is outside 13..%d", (long long)x->opset, FY_CANONICAL_OPSET);
    FY_TRY(fy_opt_int(x->job, "threads", 1, 1024, &x->threads, e));
    FY_TRY(fy_opt_num(x->job, "tolerance", &x->tolerance, e));
    if (!(x->tolerance > 0)) x->tolerance = DBL_MIN;         /* 0 would mean the default */
    x->engine = fy_engine_judge();
    FY_TRY(fy_opt_engine(x->job, "engine", &x->engine, e));
    FY_TRY(fy_opt_words(x->job, "input-names", &x->arena, &x->input_names, &x->ninput_names, e));
    FY_TRY(fy_opt_words(x->job, "output-names", &x->arena, &x->output_names, &x->noutput_names, e));
    FY_TRY(distinct("input-names", x->input_names, x->ninput_names, NULL, 0, e));
    FY_TRY(distinct("output-names", x->output_names, x->noutput_names, x->input_names, x->ninput_names, e));
    const char *asserts = fy_opt(x->job, "asserts");
    x->asserts = asserts && !strcmp(asserts, "keep");
    FY_NEED(e, !asserts || x->asserts || !strcmp(asserts, "drop"), USAGE, "asserts: '%s' is neither keep nor drop", asserts);
    x->verify = !fy_opt_has(x->job, "no-verify");
    x->provenance = !fy_opt_has(x->job, "no-provenance");
    size_t words = 64;
    const char *names = fy_opt(x->job, "dim-names");
    for (size_t i = 0; i < x->job->noption; i++) words++;
    for (const char *p = names; p && *p; p++) words += *p == ',';
    x->axes = FY_NEWN(&x->arena, fy_axis_name, words + FY_MAX_RANK * 64);
    x->renames = FY_NEWN(&x->arena, fy_axis_name, words + FY_MAX_RANK * 64);
    FY_NOMEM(e, x->axes && x->renames);
    for (size_t i = 0; i < x->job->noption; i++)
        if (!strcmp(x->job->option[i].key, "dynamic")) FY_TRY(parse_dynamic(x, x->job->option[i].value ? x->job->option[i].value : "", e));
    return parse_renames(x, e);
}

/* ---- dynamic axes ------------------------------------------------------------------------------------------------- */

static const fy_pinput *user_input(const export *x, int nth) {
    for (int i = 0; i < x->program->nin; i++)
        if (x->program->in[i].kind == FY_PIN_USER && x->program->in[i].value && nth-- == 0) return &x->program->in[i];
    return NULL;
}

/* The program's input called `name`: by the name given with --input-names, or the program's own. */
static const fy_pinput *find_input(const export *x, const char *name) {
    const fy_pinput *in;
    for (int i = 0; (in = user_input(x, i)); i++)
        if ((i < x->ninput_names && !strcmp(x->input_names[i], name)) || (in->user_name && !strcmp(in->user_name, name))) return in;
    return NULL;
}

/* Did --dynamic name axis 0 of this input? */
static bool asked_for(const export *x, const fy_pinput *in) {
    for (int i = 0; i < x->naxes; i++)
        if (x->axes[i].axis == 0 && find_input(x, x->axes[i].input) == in) return true;
    return false;
}

/* Sorts the axes asked for into those that are symbolic already (renamed) and those that the sample froze (to be opened). */
static fy_status resolve_axes(export *x, ferry_error *e) {
    const fy_pinput *in;
    if (fy_opt_has(x->job, "dynamic-batch"))
        for (int i = 0; (in = user_input(x, i)) && i < 64; i++)
            if (in->value->rank > 0 && in->user_name && !asked_for(x, in)) x->axes[x->naxes++] = (fy_axis_name){in->user_name, 0, "batch"};
    int opened = 0;
    for (int i = 0; i < x->naxes; i++) {
        fy_axis_name a = x->axes[i];
        in = find_input(x, a.input);
        if (!in) {
            const char *names[64];
            int n = 0;
            const fy_pinput *u;
            for (; n < 64 && (u = user_input(x, n)); n++) names[n] = n < x->ninput_names ? x->input_names[n] : u->user_name ? u->user_name : "";
            const char *near = fy_nearest(a.input, names, n);
            return fy_fail(e, FY_E_NAME, "dynamic: there is no input '%s'%s%s%s", a.input, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
        }
        FY_NEED(e, a.axis < in->value->rank, AXIS, "dynamic: input '%s' has rank %d, axis %d is outside", a.input, in->value->rank, a.axis);
        a.input = in->user_name;
        const fy_dim *d = in->value->dim[a.axis];
        int64_t fixed;
        if (fy_dim_known(d, &fixed)) x->axes[opened++] = a;
        else {
            fy_buf symbol = {0};
            fy_dim_print(&symbol, d);
            x->renames[x->nrenames++] = (fy_axis_name){symbol.oom ? NULL : fy_arena_str(&x->arena, symbol.at), -1, a.symbol};
            fy_buf_free(&symbol);
            FY_NOMEM(e, x->renames[x->nrenames - 1].input);
        }
    }
    x->nopened = x->naxes = opened;
    return FY_OK;
}

/* ---- the road from program to model ------------------------------------------------------------------------------- */

/* Did every name given find its place? Names may be fewer than the ports, as for torch.onnx.export: the rest keep theirs. */
static fy_status check_names(const char *key, int n, const char *const *name, fy_value *const *v, int64_t nv, ferry_error *e) {
    FY_NEED(e, n <= nv, USAGE, "%s: %d names are given; the model has %lld", key, n, (long long)nv);
    for (int i = 0; i < n; i++)
        FY_NEED(e, !strcmp(name[i], v[i]->name), USAGE, "%s: '%s' is the name of something else in the model, which keeps it", key, name[i]);
    return FY_OK;
}

static fy_status to_model(export *x, ferry_error *e) {
    fy_lower_options lower = {.training = fy_opt_has(x->job, "training"), .asserts = x->asserts, .ninput_names = x->ninput_names, .noutput_names = x->noutput_names,
        .input_names = x->input_names, .output_names = x->output_names, .ndim_names = x->nrenames, .dim_names = x->renames, .notes = &x->notes,
        .registry = fy_registry_of(x->registry), .mappings = fy_mappings_of(x->registry)};
    const char *dump = fy_opt(x->job, "dump");
    if (!dump && *fy_knob_str("FERRY_DUMP")) dump = fy_knob_str("FERRY_DUMP");
    fy_pass_options passes = {.fold = !fy_opt_has(x->job, "no-fold"), .fold_bn = !fy_opt_has(x->job, "no-fold-bn"), .stop_after = fy_opt(x->job, "stop-after"),
        .skip = fy_opt(x->job, "skip-pass"), .dump = dump, .hooks = fy_hooks_builtin()};
    passes.opset = x->opset;
    FY_TRY(resolve_axes(x, e));
    lower.ndim_names = x->nrenames;      /* with those of axes that are symbolic already */
    FY_TRY(fy_aten_inline(x->program, e));
    if (x->nopened) FY_TRY(fy_aten_symbolise(x->program, x->nopened, x->axes, e));
    FY_TRY(fy_aten_functionalise(x->program, e));
    FY_TRY(fy_aten_lower(&x->model, x->program, &lower, e));
    FY_TRY(fy_folds_find(&x->record, x->model, e));
    FY_TRY(fy_passes_run(x->model, &passes, e));
    FY_TRY(fy_opset_lower(x->model, x->opset, e));
    passes.dump = NULL;
    passes.lowered = true;
    if (!passes.stop_after) FY_TRY(fy_passes_run(x->model, &passes, e));
    const fy_graph *g = x->model->graph;
    x->nnodes = g->nnodes;
    FY_TRY(fy_model_name_all(x->model, e));
    FY_TRY(fy_record_make(x->model, x->origin, x->norigin, &x->record, e));
    FY_TRY(check_names("input-names", x->ninput_names, x->input_names, g->in.at, g->in.n - g->state.n, e));
    return check_names("output-names", x->noutput_names, x->output_names, g->out.at, g->out.n - g->state.n, e);
}

/* The dynamic axes of the inputs as text: "x:0=batch, mask:1=sequence"; "" if all are fixed. */
static void print_dynamic(fy_buf *out, const fy_model *m) {
    for (int64_t i = 0; i < m->graph->in.n; i++) {
        const fy_value *v = m->graph->in.at[i];
        int64_t fixed;
        for (int k = 0; k < v->type.rank; k++) {
            if (fy_dim_known(v->type.dim[k], &fixed)) continue;
            fy_buf_fmt(out, "%s%s:%d=", out->n ? ", " : "", v->name, k);
            fy_dim_print(out, v->type.dim[k]);
        }
    }
}

/* Before the program is rewritten. */
static fy_status note_origins(export *x, ferry_error *e) {
    const fy_program *p = x->program;
    x->origin = FY_NEWN(&x->arena, fy_origin, p->nin + 1);
    FY_NOMEM(e, x->origin);
    for (int i = 0; i < p->nin; i++)
        if (p->in[i].data && p->in[i].fqn && p->in[i].kind != FY_PIN_CONSTANT && (p->in[i].kind != FY_PIN_BUFFER || p->in[i].persistent))
            x->origin[x->norigin++] = (fy_origin){p->in[i].fqn, p->in[i].data, p->in[i].value && p->in[i].value->nuses > 0};
    return FY_OK;
}

static void hash_source(void *arg) {
    export *x = arg;
    fy_sha256(x->sha256, x->program->file->at, x->program->file->n);
}

static void join_hash(export *x) {
    if (x->hashed) fy_task_join(&x->hashing);
    x->hashed = false;
}

static fy_status provenance(export *x, ferry_error *e) {
    fy_model *m = x->model;
    fy_buf axes = {0};
    char opset[24];
    if (!x->provenance) return FY_OK;
    snprintf(opset, sizeof opset, "%lld", (long long)x->opset);
    print_dynamic(&axes, m);
    fy_status s = axes.oom ? fy_nomem(e) : fy_model_set_meta(m, "ferry.version", FERRY_VERSION, e);
    if (!s) s = fy_model_set_meta(m, "ferry.source", fy_base_name(x->source), e);
    if (!s && x->swap.open) s = fy_model_set_meta(m, "ferry.weights_from", fy_base_name(x->swap.path), e);
    if (!s) s = fy_model_set_meta(m, "ferry.opset", opset, e);
    if (!s) s = fy_model_set_meta(m, "ferry.dynamic_axes", axes.n ? fy_arena_str(&m->arena, axes.at) : "", e);
    fy_buf_free(&axes);
    return s;
}

/* ---- verification of what was written ----------------------------------------------------------------------------- */

/* The source as it was before this export rewrote its program, with the weights asked for. */
static fy_status read_again(export *x, fy_program **source, const fy_source_options *how, ferry_error *e) {
    FY_TRY(fy_read_source(source, x->source, how, e));
    if (!x->swap.open) return FY_OK;
    x->swap.again = true;
    fy_status s = fy_swap_program(&x->swap, *source, e);
    if (s) fy_program_free(*source);
    return s;
}

static fy_status check_written(export *x, const fy_model *m, const char *path, ferry_error *e) {
    fy_program *source = NULL;
    fy_verify_options o = {.engine = x->engine, .model_path = path, .threads = (int)x->threads, .tolerance = x->tolerance,
        .relative_to_range = fy_opt_has(x->job, "relative-to-range"), .seed = 1, .sizes = 1, .nodes = true, .progress = x->job->progress, .ctx = x->job->ctx};
    fy_source_options how = {x->job, x->registry, x->nsymbol, x->symbol, x->batch};
    FY_TRY(read_again(x, &source, &how, e));
    fy_status s = fy_verify_program(&x->verdict, m, source, x->nopened, x->axes, &o, e);
    if (s && x->nsymbol) {                                   /* a trace that holds the sample's sizes runs at these alone: row by row, then */
        fy_program_free(source);
        fy_verify_report_free(&x->verdict);
        how = (fy_source_options){.job = x->job, .registry = x->registry};
        FY_TRY(read_again(x, &source, &how, e));
        s = fy_verify_program(&x->verdict, m, source, x->nsymbol, x->symbol, &o, e);
    }
    x->verified = !s;
    fy_program_free(source);
    return s;
}

static const char *verdict_text(const export *x, char *buf, size_t n) {
    const fy_verify_report *r = &x->verdict;
    snprintf(buf, n, "verified %.1e < %.0e against %s at %s, by %s%s%s", r->worst_abs, r->worst_tolerance, fy_base_name(x->source), r->sizes ? r->sizes : "the sample",
        r->engine ? r->engine : "ferry", r->unverified && *r->unverified ? "; unverified beyond the sample: " : "", r->unverified ? r->unverified : "");
    return buf;
}

/* Reads the temporary file back, so that the writer is judged as well. With weights in a second file, which still waits for its
 * name, the graph in memory is judged: it is not needed any more. */
static fy_status judge(export *x, const char *tmp, fy_onnx_more *more, ferry_error *e) {
    fy_model *back = tmp ? NULL : x->model;
    char text[400];
    fy_status s = tmp ? fy_onnx_read(&back, tmp, fy_registry_of(x->registry), e) : FY_OK;
    if (!s) s = fy_opset_raise(back, e);
    if (!s) s = fy_infer_model(back, e);
    if (!s) s = check_written(x, back, tmp, e);
    if (tmp) fy_model_free(back);
    FY_TRY(s);
    if (x->verdict.verdict == FY_VERDICT_FAIL)
        return fy_fail(e, FY_E_GATE, "%s is not what %s computes: max abs error %.3g, tolerance %.0e", fy_base_name(x->target), fy_base_name(x->source),
            x->verdict.worst_abs, x->verdict.worst_tolerance);
    const char *kept = x->provenance ? fy_arena_str(&x->arena, verdict_text(x, text, sizeof text)) : NULL;
    if (kept) more->pair[more->n++] = (fy_pair){"ferry.verified", kept};
    return FY_OK;
}

/* Between writing and renaming: what is known only now goes to the end of the file. */
/* A mapped operator of another domain that no plugin describes. */
static const char *without_kernel(const fy_model *m) {
    for (const fy_graph *g = m->graph; g; g = fy_graph_next(NULL, g))
        for (const fy_node *n = g->first; n; n = n->next)
            if (n->op->flags & FY_OPAQUE_OP) return n->op->name;
    return NULL;
}

static fy_status before_commit(void *ctx, const char *tmp, fy_onnx_more *more, ferry_error *e) {
    export *x = ctx;
    join_hash(x);
    if (x->provenance) more->pair[more->n++] = (fy_pair){"ferry.source_sha256", x->sha256};
    x->unknown = without_kernel(x->model);
    return x->verify && !x->unknown ? judge(x, tmp, more, e) : FY_OK;
}

static fy_status write_model(export *x, ferry_error *e) {
    fy_onnx_options o = {.external_data = fy_opt_has(x->job, "external-data"), .traces = fy_opt_has(x->job, "keep-traces"),
        .before_commit = before_commit, .ctx = x};
    return fy_onnx_write(x->model, x->target, &o, e);
}

/* ---- the report ---------------------------------------------------------------------------------------------------- */

static const char *const note_title[] = {"fixed axis", "literal", "dropped assert", "state", "training mode", "dtype", "leak", "note"};

static void print_port(fy_buf *out, const char *what, const fy_value *v) {
    fy_buf_fmt(out, "  %-7s %-20s ", what, v->name);
    fy_type_print(out, &v->type);
    fy_buf_char(out, '\n');
}

/* The line to paste when everything is fixed. */
static void print_hint(fy_buf *t, const export *x) {
    const fy_value *v = x->model->graph->in.n ? x->model->graph->in.at[0] : NULL;
    fy_buf_fmt(t, FY_AMBER "  all axes are fixed" FY_OFF ": this model takes these sizes only. To open the batch axis:\n    ferry export %s --dynamic-batch\n", x->source);
    if (v) fy_buf_fmt(t, "  or in PyTorch: torch.export.export(model.eval(), (x,), dynamic_shapes={\"%s\": {0: torch.export.Dim(\"batch\")}})\n", v->name);
}

static void print_head(fy_buf *t, const export *x, int64_t bytes) {
    fy_buf_fmt(t, FY_BOLD "%s" FY_OFF " -> " FY_BOLD "%s" FY_OFF "  opset %lld, %lld nodes, %.1f MB\n", fy_base_name(x->source), x->target, (long long)x->opset,
        (long long)x->nnodes, (double)bytes / 1e6);
    for (int64_t i = 0; i < x->model->graph->in.n; i++) print_port(t, "input", x->model->graph->in.at[i]);
    for (int64_t i = 0; i < x->model->graph->out.n; i++) print_port(t, "output", x->model->graph->out.at[i]);
}

static void print_verdict(fy_buf *t, const export *x, bool colour) {
    if (x->verified) fy_verify_print(t, &x->verdict, colour);
    else if (x->unknown) fy_buf_fmt(t, "  %snot verified%s: %s has no kernel here; a plugin that describes it makes the model run\n", colour ? FY_AMBER : "", colour ? FY_OFF : "", x->unknown);
    else fy_buf_fmt(t, "  %snot verified%s (--no-verify)\n", colour ? FY_AMBER : "", colour ? FY_OFF : "");
}

/* What a user must know at once; the rest is in the full report. */
static void print_text(fy_report *r, const export *x, int64_t bytes) {
    fy_buf *t = &r->text, axes = {0};
    print_head(t, x, bytes);
    if (x->swap.open) fy_swap_print(t, &x->swap);
    for (int64_t i = 0; i < x->notes.n; i++) {
        const fy_note *n = &x->notes.at[i];
        if (n->kind == FY_NOTE_FIXED_AXIS || n->kind == FY_NOTE_ASSERT || n->kind == FY_NOTE_LITERAL || n->kind == FY_NOTE_LEAK) continue;
        fy_buf_fmt(t, FY_AMBER "  %s" FY_OFF "%s%s: %s\n", note_title[n->kind], n->where && *n->where ? " " : "", n->where ? n->where : "", n->text);
    }
    print_dynamic(&axes, x->model);
    if (!axes.n) print_hint(t, x);
    fy_buf_free(&axes);
    print_verdict(t, x, true);
}

static void print_full(fy_report *r, const export *x, int64_t bytes) {
    static const char *const heading[] = {"fixed axes", "literals that equal sizes of the sample", "dropped asserts", "state", "layers in training mode", "dtypes", "what the files say about their maker", "other"};
    fy_buf *t = &r->full, head = {0};
    fy_op_count *ops;
    int64_t n = fy_count_operators(&ops, x->model);
    print_head(&head, x, bytes);
    fy_strip_styles(t, head.oom ? "" : head.at);
    fy_buf_free(&head);
    fy_buf_fmt(t, "\nsource     torch %s, sha256 %s\noperators ", x->program->torch_version ? x->program->torch_version : "unknown", x->sha256[0] ? x->sha256 : "(not taken)");
    for (int64_t i = 0; i < n; i++) fy_buf_fmt(t, "%s %s %lld", i ? "," : "", ops[i].name, (long long)ops[i].n);
    fy_buf_char(t, '\n');
    for (int k = 0; k < FY_COUNT(heading); k++) {
        int64_t shown = 0;
        for (int64_t i = 0; i < x->notes.n; i++) {
            const fy_note *note = &x->notes.at[i];
            if ((int)note->kind != k) continue;
            if (!shown++) fy_buf_fmt(t, "\n%s\n", heading[k]);
            fy_buf_fmt(t, "  %s%s%s\n", note->where ? note->where : "", note->where && *note->where ? ": " : "", note->text);
        }
    }
    fy_buf_str(t, "\nverification\n");
    print_verdict(t, x, false);
    fy_free(ops);
}

static void json_port(fy_jsonw *w, const fy_value *v) {
    fy_jsonw_object(w, NULL);
    fy_jsonw_str(w, "name", v->name);
    fy_jsonw_str(w, "dtype", fy_dtype_name(v->type.dtype));
    fy_jsonw_array(w, "shape");
    for (int k = 0; k < v->type.rank; k++) {
        int64_t fixed;
        fy_buf text = {0};
        if (fy_dim_known(v->type.dim[k], &fixed)) fy_jsonw_int(w, NULL, fixed);
        else {
            fy_dim_print(&text, v->type.dim[k]);
            fy_jsonw_str(w, NULL, text.oom ? "" : text.at);
        }
        fy_buf_free(&text);
    }
    fy_jsonw_end_array(w);
    fy_jsonw_end_object(w);
}

static void json_operators(fy_jsonw *w, const fy_model *m) {
    fy_op_count *ops;
    int64_t n = fy_count_operators(&ops, m);
    fy_jsonw_object(w, "operators");
    for (int64_t i = 0; i < n; i++) fy_jsonw_int(w, ops[i].name, ops[i].n);
    fy_jsonw_end_object(w);
    fy_free(ops);
}

static void print_json(fy_report *r, const export *x, int64_t bytes) {
    fy_jsonw w = {.out = &r->json, .first = true};
    fy_buf axes = {0};
    print_dynamic(&axes, x->model);
    fy_jsonw_object(&w, NULL);
    fy_jsonw_str(&w, "ferry", FERRY_VERSION);
    fy_jsonw_str(&w, "source", fy_base_name(x->source));
    fy_jsonw_str(&w, "source_sha256", x->sha256[0] ? x->sha256 : NULL);
    fy_jsonw_str(&w, "torch", x->program->torch_version);
    fy_jsonw_str(&w, "output", x->target);
    fy_jsonw_int(&w, "bytes", bytes);
    fy_jsonw_int(&w, "opset", x->opset);
    fy_jsonw_int(&w, "nodes", x->nnodes);
    fy_jsonw_str(&w, "dynamic_axes", axes.n ? axes.at : "");
    fy_jsonw_array(&w, "inputs");
    for (int64_t i = 0; i < x->model->graph->in.n; i++) json_port(&w, x->model->graph->in.at[i]);
    fy_jsonw_end_array(&w);
    fy_jsonw_array(&w, "outputs");
    for (int64_t i = 0; i < x->model->graph->out.n; i++) json_port(&w, x->model->graph->out.at[i]);
    fy_jsonw_end_array(&w);
    json_operators(&w, x->model);
    if (x->swap.open) fy_swap_json(&w, &x->swap);
    fy_jsonw_array(&w, "notes");
    for (int64_t i = 0; i < x->notes.n; i++) {
        fy_jsonw_object(&w, NULL);
        fy_jsonw_str(&w, "kind", note_title[x->notes.at[i].kind]);
        fy_jsonw_str(&w, "where", x->notes.at[i].where);
        fy_jsonw_str(&w, "text", x->notes.at[i].text);
        fy_jsonw_end_object(&w);
    }
    fy_jsonw_end_array(&w);
    if (x->verified) fy_verify_json(&w, &x->verdict);
    fy_jsonw_end_object(&w);
    fy_buf_char(&r->json, '\n');
    fy_buf_free(&axes);
}

/* ---- ferry_export --------------------------------------------------------------------------------------------------- */

/* The file is in place by then. */
static fy_status unreported(const export *x, fy_status s, ferry_error *e) {
    return fy_fail(e, s, "'%s' is written, but there was no memory for the report", x->target);
}

/* A gate that said no still has a report: the figures are what the user needs. */
static fy_status finish(export *x, fy_status s, ferry_report **out, ferry_error *e) {
    bool no = s == FY_E_GATE && x->verified;
    if (s && !no) return s;
    fy_report *r = fy_report_new(e);
    if (!r) return no ? FY_E_NOMEM : unreported(x, FY_E_NOMEM, e);
    int64_t bytes = no ? 0 : fy_file_bytes(x->target);
    print_text(r, x, bytes);
    if (no) fy_buf_fmt(&r->text, FY_RED "nothing was written" FY_OFF ": %s would not compute what %s computes. --no-verify writes it all the same.\n", x->target, x->source);
    print_full(r, x, bytes);
    print_json(r, x, bytes);
    r->verdict = no ? FERRY_NO : FERRY_OK;
    fy_status f = fy_report_finish(r, e);
    if (f) {
        fy_report_free(r);
        return no ? f : unreported(x, f, e);
    }
    *out = r;
    return s;
}

/* Axes that the reader made symbolic: verification reads the file again, with and without them. */
static fy_status keep_symbols(export *x, ferry_error *e) {
    const fy_pinput *in;
    x->symbol = FY_NEWN(&x->arena, fy_axis_name, (size_t)x->program->nin * FY_MAX_RANK + 1);
    FY_NOMEM(e, x->symbol);
    for (int i = 0; (in = user_input(x, i)); i++)
        for (int k = 0; k < in->value->rank; k++)
            if (in->value->dim[k]->kind == FY_DIM_SYM) x->symbol[x->nsymbol++] = (fy_axis_name){in->user_name, k, in->value->dim[k]->name};
    return FY_OK;
}

static fy_status run(export *x, const char *target, ferry_error *e) {
    FY_TRY(parse_options(x, target, e));
    FY_TRY(fy_opt_plugins(x->job, &x->registry, e));
    FY_TRY(fy_file_kind(&x->type, x->source, e));
    FY_TRY(fy_swap_open(&x->swap, x->source, x->job, e));
    x->batch = x->type == FY_FILE_TORCHSCRIPT && fy_opt_has(x->job, "dynamic-batch");
    FY_TRY(fy_read_source(&x->program, x->source, &(fy_source_options){x->job, x->registry, x->naxes, x->axes, x->batch}, e));
    if (x->swap.open) FY_TRY(fy_swap_program(&x->swap, x->program, e));
    FY_TRY(note_origins(x, e));
    if (x->type == FY_FILE_TORCHSCRIPT) FY_TRY(keep_symbols(x, e));
    for (int64_t i = 0; i < x->program->remark.n; i++) fy_notes_add(&x->notes, FY_NOTE_OTHER, x->program->remark.at[i].where, "%s", x->program->remark.at[i].text);
    if (x->provenance) {
        fy_task_start(&x->hashing, hash_source, x);
        x->hashed = true;
    }
    fy_status s = to_model(x, e);
    if (!s) s = provenance(x, e);
    if (!s) s = write_model(x, e);
    return s;
}

/* --report: .json, else text. */
static int kept(int kind, const char *to, ferry_report **r, ferry_error *e) {
    if (!*r || !to) return kind;
    size_t n = strlen(to);
    const fy_report *x = *r;
    fy_status s = fy_write_text(to, n > 5 && !strcmp(to + n - 5, ".json") ? &x->json : x->full.n ? &x->full : &x->plain, e);
    if (!s) return kind;
    ferry_report_free(*r);
    *r = NULL;
    return fy_kind_of(s);
}

int ferry_export(const char *pt2, const char *onnx, const ferry_job *job, ferry_report **out, ferry_error *e) {
    static const ferry_job none;
    export x = {.job = job ? job : &none, .source = pt2};
    *out = NULL;
    fy_error_clear(e);
    if (fy_opt(x.job, "weights") && fy_is_onnx(pt2)) return kept(fy_swap_onnx(pt2, onnx, x.job, out, e), fy_opt(x.job, "report"), out, e);
    fy_status s = run(&x, onnx, e);
    join_hash(&x);
    if (s == FY_E_GATE && x.swap.open && !fy_swap_fits(&x.swap)) {
        fy_status refused = fy_swap_refusal(out, &x.swap, x.target, e);
        if (refused) s = refused;
    } else s = finish(&x, s, out, e);
    fy_verify_report_free(&x.verdict);
    fy_notes_free(&x.notes);
    fy_record_free(&x.record);
    fy_model_free(x.model);
    fy_program_free(x.program);
    ferry_registry_free(x.registry);     /* after the model, whose nodes point into it */
    fy_swap_close(&x.swap);              /* after what points into its file */
    fy_arena_free(&x.arena);
    return kept(fy_kind_of(s), fy_opt(x.job, "report"), out, e);
}
