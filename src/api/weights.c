/* SPDX-License-Identifier: Apache-2.0
 * weights.c - ferry_weights: the weights of any file as .safetensors, under the names of PyTorch; what ferry_info says of files of weights. */
#include "api/weights.h"
#include "api/rewrite.h"
#include "formats/onnx.h"
#include "formats/pt2.h"

#include <stdlib.h>
#include <string.h>

/* ---- weights of any file ----------------------------------------------------------------------------------------------------- */

static fy_status of_program(fy_weight_file *f, const char *path, ferry_error *e) {
    FY_TRY(fy_pt2_read(&f->program, path, e));
    f->kind = "a .pt2";
    for (int i = 0; i < f->program->nin; i++) {
        const fy_pinput *in = &f->program->in[i];
        if (!in->data || !in->fqn || (in->kind != FY_PIN_PARAMETER && (in->kind != FY_PIN_BUFFER || !in->persistent))) continue;
        FY_TRY(fy_weights_add(&f->w, in->fqn, in->data, e));
        f->w.at.at[f->w.at.n - 1].buffer = in->kind == FY_PIN_BUFFER;
    }
    return fy_weights_tie(&f->w, e);
}

/* Initializers under the names that the record gives them. Constants of the graph itself (sizes, axes, single numbers) are no weights, unless
 * they are named like one. */
static fy_status of_model(fy_weight_file *f, const char *path, ferry_error *e) {
    fy_origin *at;
    int64_t n;
    FY_TRY(fy_onnx_read(&f->model, path, fy_registry_builtin(), e));
    f->kind = "a .onnx";
    FY_TRY(fy_record_read(&f->record, f->model, e));
    FY_TRY(fy_record_origins(&at, &n, &f->record, f->model, e));
    for (int64_t i = 0; i < n; i++) FY_TRY(fy_weights_add(&f->w, at[i].name, at[i].data, e));
    const fy_graph *g = f->model->graph;
    for (int64_t i = 0; i < g->constants.n; i++) {           /* integer tables and counters */
        const fy_value *v = g->constants.at[i];
        if (v->name && v->constant && v->nuses && strchr(v->name, '.') && fy_dtype_bits(v->constant->dtype) >= 8 && !fy_dtype_float(v->constant->dtype))
            FY_TRY(fy_weights_add(&f->w, v->name, v->constant, e));
    }
    return fy_weights_tie(&f->w, e);
}

fy_status fy_weight_file_open(fy_weight_file *f, const char *path, const char *section, ferry_error *e) {
    fy_map_file file;
    *f = (fy_weight_file){0};
    FY_TRY(fy_file_open(&file, path, e));
    fy_filetype t = fy_file_sniff(file.at, file.n);
    bool onnx = t == FY_FILE_ONNX, pt2 = t == FY_FILE_PT2;
    fy_file_close(&file);
    FY_NEED(e, !section || (!onnx && !pt2), USAGE, "section: %s is a model, not a checkpoint", fy_base_name(path));
    fy_status s = onnx ? of_model(f, path, e) : pt2 ? of_program(f, path, e) : fy_weights_open(&f->w, path, section, e);
    if (!onnx && !pt2) f->kind = f->w.format;
    if (s) fy_weight_file_close(f);
    return s;
}

void fy_weight_file_close(fy_weight_file *f) {
    fy_weights_free(&f->w);
    fy_record_free(&f->record);
    fy_model_free(f->model);
    fy_program_free(f->program);
    *f = (fy_weight_file){0};
}

/* ---- the report ---------------------------------------------------------------------------------------------------------------- */

typedef struct sums { int64_t n, elements, bytes, tied; } sums;

static sums add_up(const fy_weights *w) {
    sums s = {0};
    for (int64_t i = 0; i < w->at.n; i++) {
        const fy_weight *t = &w->at.at[i];
        s.n++;
        if (t->tied >= 0) { s.tied++; continue; }
        s.elements += t->data->count;
        s.bytes += (int64_t)fy_dtype_bytes(t->data->dtype, t->data->count);
    }
    return s;
}

static void print_shape(fy_buf *b, const fy_const *c) {
    fy_buf_fmt(b, "%s[", fy_dtype_name(c->dtype));
    for (int k = 0; k < c->rank; k++) fy_buf_fmt(b, "%s%lld", k ? "," : "", (long long)c->dim[k]);
    fy_buf_char(b, ']');
}

static void print_weight(fy_buf *b, const fy_weights *w, const fy_weight *t) {
    size_t start = b->n;
    fy_buf_fmt(b, "  %s", t->name);
    fy_buf_pad(b, 48);
    if (b->n - start > 46) fy_buf_char(b, ' ');
    print_shape(b, t->data);
    fy_buf_pad(b, 76);
    fy_buf_fmt(b, " %12lld", (long long)fy_dtype_bytes(t->data->dtype, t->data->count));
    if (t->tied >= 0) fy_buf_fmt(b, "  tied to %s", w->at.at[t->tied].name);
    if (t->buffer) fy_buf_str(b, "  buffer");
    if (t->data->kind == FY_CONST_STRIDED) fy_buf_str(b, "  strided");
    fy_buf_char(b, '\n');
}

/* Bytes by element type, the largest share first would need a sort: there are few, in the order of the dtypes. */
static void print_types(fy_buf *b, const fy_weights *w) {
    int shown = 0;
    for (int t = 1; t < 64; t++) {
        int64_t n = 0, bytes = 0;
        for (int64_t i = 0; i < w->at.n; i++)
            if ((int)w->at.at[i].data->dtype == t) { n++; bytes += w->at.at[i].tied < 0 ? (int64_t)fy_dtype_bytes(w->at.at[i].data->dtype, w->at.at[i].data->count) : 0; }
        if (n) fy_buf_fmt(b, "%s%s %lld (%.2f MB)", shown++ ? ", " : "", fy_dtype_name((fy_dtype)t), (long long)n, (double)bytes / 1e6);
    }
}

#define SHOWN 40

static void print_text(fy_buf *b, const char *path, const fy_weights *w, const sums *s, bool all) {
    fy_buf_fmt(b, FY_BOLD "%s" FY_OFF "  %s\n", path, w->format);
    if (w->section.n && w->section.at[0].type) fy_buf_fmt(b, "  class    %s (read as data: nothing was run)\n", w->section.at[0].type);
    fy_buf_fmt(b, "  weights  %lld tensors, %lld elements, %.2f MB", (long long)s->n, (long long)s->elements, (double)s->bytes / 1e6);
    if (s->tied) fy_buf_fmt(b, "; %lld of them under a second name", (long long)s->tied);
    fy_buf_str(b, "\n  types    ");
    print_types(b, w);
    fy_buf_char(b, '\n');
    for (int64_t i = 1; i < w->file.n; i++) fy_buf_fmt(b, "  file     %s, %.2f MB\n", fy_base_name(w->file.at[i]->path), (double)w->file.at[i]->n / 1e6);
    for (int64_t i = 0; i < w->section.n && (w->section.n > 1 || *w->section.at[0].path); i++)
        fy_buf_fmt(b, "  section  %-24s %lld tensors, %.2f MB%s\n", *w->section.at[i].path ? w->section.at[i].path : "(outermost)", (long long)w->section.at[i].n,
                   (double)w->section.at[i].bytes / 1e6, i ? "" : "  <- shown here; others with --section");
    for (int64_t i = 0; i < w->meta.n; i++) fy_buf_fmt(b, "  %-24s %s\n", w->meta.at[i].key, w->meta.at[i].val);
    int64_t n = all ? w->at.n : w->at.n < SHOWN ? w->at.n : SHOWN;
    for (int64_t i = 0; i < n; i++) print_weight(b, w, &w->at.at[i]);
    if (n < w->at.n) fy_buf_fmt(b, FY_DIM_ "  ... and %lld more: --shapes lists all" FY_OFF "\n", (long long)(w->at.n - n));
}

static void json_weights(fy_jsonw *j, const fy_weights *w) {
    fy_jsonw_array(j, "weights");
    for (int64_t i = 0; i < w->at.n; i++) {
        const fy_weight *t = &w->at.at[i];
        fy_jsonw_object(j, NULL);
        fy_jsonw_str(j, "name", t->name);
        fy_jsonw_str(j, "dtype", fy_dtype_name(t->data->dtype));
        fy_jsonw_array(j, "shape");
        for (int k = 0; k < t->data->rank; k++) fy_jsonw_int(j, NULL, t->data->dim[k]);
        fy_jsonw_end_array(j);
        fy_jsonw_int(j, "bytes", (int64_t)fy_dtype_bytes(t->data->dtype, t->data->count));
        if (t->tied >= 0) fy_jsonw_str(j, "tied_to", w->at.at[t->tied].name);
        fy_jsonw_end_object(j);
    }
    fy_jsonw_end_array(j);
}

static void json_head(fy_jsonw *j, const char *path, const char *kind, const fy_weights *w, const sums *s) {
    fy_jsonw_str(j, "path", path);
    fy_jsonw_str(j, "format", kind);
    if (w->section.n && w->section.at[0].type) fy_jsonw_str(j, "class", w->section.at[0].type);
    fy_jsonw_int(j, "tensors", s->n);
    fy_jsonw_int(j, "elements", s->elements);
    fy_jsonw_int(j, "bytes", s->bytes);
    fy_jsonw_int(j, "tied", s->tied);
}

fy_status fy_weights_report(fy_report *r, const char *path, const fy_weights *w, bool all, ferry_error *e) {
    sums s = add_up(w);
    fy_jsonw j = {.out = &r->json, .first = true};
    (void)e;
    print_text(&r->text, path, w, &s, all);
    fy_jsonw_object(&j, NULL);
    json_head(&j, path, w->format, w, &s);
    fy_jsonw_array(&j, "sections");
    for (int64_t i = 0; i < w->section.n; i++) {
        fy_jsonw_object(&j, NULL);
        fy_jsonw_str(&j, "path", w->section.at[i].path);
        fy_jsonw_int(&j, "tensors", w->section.at[i].n);
        fy_jsonw_int(&j, "bytes", w->section.at[i].bytes);
        fy_jsonw_end_object(&j);
    }
    fy_jsonw_end_array(&j);
    fy_jsonw_object(&j, "metadata");
    for (int64_t i = 0; i < w->meta.n; i++) fy_jsonw_str(&j, w->meta.at[i].key, w->meta.at[i].val);
    fy_jsonw_end_object(&j);
    json_weights(&j, w);
    fy_jsonw_end_object(&j);
    return FY_OK;
}

/* ---- ferry_weights --------------------------------------------------------------------------------------------------------------- */

static void print_written(fy_report *r, const char *path, const char *to, const fy_weight_file *f, int64_t bytes, bool once) {
    sums s = add_up(&f->w);
    fy_buf *t = &r->text;
    fy_buf_fmt(t, FY_BOLD "%s" FY_OFF " (%s) -> " FY_BOLD "%s" FY_OFF "  %lld tensors, %.2f MB\n", fy_base_name(path), f->kind, to, (long long)(once ? s.n - s.tied : s.n), (double)bytes / 1e6);
    if (f->w.section.n && *f->w.section.at[0].path) fy_buf_fmt(t, "  section  %s\n", f->w.section.at[0].path);
    if (s.tied) fy_buf_fmt(t, "  tied     %lld names share a tensor with another; %s\n", (long long)s.tied, once ? "written once, named in the metadata" : "each is written (--once: once)");
    for (int64_t i = 0; i < f->record.folded.n; i++)
        fy_buf_fmt(t, "%s%s%s", i ? ", " : FY_AMBER "  left out" FY_OFF " (not in the .onnx as they were; the source .pt2 has them): ", f->record.folded.at[i].key,
                   i + 1 < f->record.folded.n ? "" : "\n");
    fy_jsonw j = {.out = &r->json, .first = true};
    fy_jsonw_object(&j, NULL);
    json_head(&j, path, f->kind, &f->w, &s);
    fy_jsonw_str(&j, "output", to);
    fy_jsonw_int(&j, "bytes_written", bytes);
    fy_jsonw_array(&j, "left_out");
    for (int64_t i = 0; i < f->record.folded.n; i++) fy_jsonw_str(&j, NULL, f->record.folded.at[i].key);
    fy_jsonw_end_array(&j);
    json_weights(&j, &f->w);
    fy_jsonw_end_object(&j);
}

static fy_status write(fy_report *r, fy_weight_file *f, const char *path, const char *to, const ferry_job *job, ferry_error *e) {
    static const char *const keys[] = {"output", "section", "once", NULL};
    bool once = fy_opt_has(job, "once");
    int64_t bytes = 0;
    FY_TRY(fy_opt_known(job, keys, e));
    if (!to) to = fy_opt(job, "output");
    FY_NEED(e, to && *to, USAGE, "weights: where to write? Give a second path or -o OUT.safetensors");
    FY_NEED(e, !fy_os_same_file(to, path), USAGE, "%s: the output would overwrite its input", to);
    FY_TRY(fy_weight_file_open(f, path, fy_opt(job, "section"), e));
    for (int64_t i = 0; i < f->w.file.n; i++) FY_NEED(e, !fy_os_same_file(to, f->w.file.at[i]->path), USAGE, "%s: the output would overwrite its input", to);
    FY_NEED(e, f->w.at.n, FORMAT, "%s holds no weights", fy_base_name(path));
    FY_TRY(fy_safetensors_write(&f->w, to, once, &bytes, e));
    print_written(r, path, to, f, bytes, once);
    return FY_OK;
}

int ferry_weights(const char *path, const char *to, const ferry_job *job, ferry_report **out, ferry_error *e) {
    static const ferry_job none;
    fy_weight_file f = {0};
    *out = NULL;
    fy_error_clear(e);
    fy_report *r = fy_report_new(e);
    fy_status s = r ? write(r, &f, path, to, job ? job : &none, e) : FY_E_NOMEM;
    if (!s) s = fy_report_finish(r, e);
    fy_weight_file_close(&f);
    if (s) {
        fy_report_free(r);
        return fy_kind_of(s);
    }
    *out = r;
    return FERRY_OK;
}
