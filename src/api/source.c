/* SPDX-License-Identifier: Apache-2.0
 * source.c - a program from a file of PyTorch: .pt2, or TorchScript with the shapes that its archive lacks. */
#include "api/api.h"
#include "aten/typer.h"
#include "formats/pt2.h"
#include "formats/torchscript.h"

#include <stdlib.h>
#include <string.h>

fy_status fy_file_kind(fy_filetype *t, const char *path, ferry_error *e) {
    fy_map_file f;
    FY_TRY(fy_file_open(&f, path, e));
    *t = fy_file_sniff(f.at, f.n);
    fy_file_close(&f);
    return FY_OK;
}

static fy_status bad_shape(const char *text, ferry_error *e) {
    return fy_fail(e, FY_E_USAGE, "shape: '%.200s' is not NAME=SIZExSIZE[:DTYPE] (x=1x3x224x224, ids=1x128:int64), nor NAME=NUMBER", text);
}

/* "x=1x3x224x224", "ids=1x128:int64", "scalar=:float32", "rate=16000" */
static fy_status parse_shape(fy_ts_input *in, const char *text, fy_arena *a, ferry_error *e) {
    const char *eq = strchr(text, '='), *colon = eq ? strchr(eq, ':') : NULL, *p = eq ? eq + 1 : NULL;
    if (!eq || eq == text) return bad_shape(text, e);
    in->name = fy_arena_strn(a, text, (size_t)(eq - text));
    FY_NOMEM(e, in->name);
    in->is_tensor = true;
    if (colon) {
        in->dtype = fy_dtype_find(colon + 1, strlen(colon + 1));
        FY_NEED(e, in->dtype, USAGE, "shape: '%.60s' is not an element type (float32, int64 ...)", colon + 1);
    }
    const char *end = colon ? colon : p + strlen(p);
    if (!strcmp(p, "True") || !strcmp(p, "False")) {
        in->is_tensor = false;
        in->number = *p == 'T';
        return FY_OK;
    }
    if (strpbrk(p, ".-") && !colon) {
        char *stop;
        in->number = strtod(p, &stop);
        in->is_tensor = false;
        return *stop || stop == p ? bad_shape(text, e) : FY_OK;
    }
    while (p < end) {
        char *stop;
        if (*p < '0' || *p > '9' || in->rank == FY_MAX_RANK) return bad_shape(text, e);
        long long k = strtoll(p, &stop, 10);
        if (k < 0 || k > (1LL << 40)) return bad_shape(text, e);
        in->dim[in->rank++] = k;
        p = stop;
        if (p < end && *p != 'x' && *p != ',') return bad_shape(text, e);
        if (p < end && ++p == end) return bad_shape(text, e);
    }
    return FY_OK;
}

static fy_status all_shapes(fy_ts_options *o, fy_arena *a, const ferry_job *job, int naxes, const fy_axis_name *axes, ferry_error *e) {
    size_t most = (job ? job->noption : 0) + (size_t)naxes;
    fy_ts_input *in = FY_NEWN(a, fy_ts_input, most + 1);
    FY_NOMEM(e, in);
    int n = 0;
    for (size_t i = 0; job && i < job->noption; i++)
        if (!strcmp(job->option[i].key, "shape")) FY_TRY(parse_shape(&in[n++], job->option[i].value ? job->option[i].value : "", a, e));
    for (int i = 0; i < naxes; i++) {
        int k = 0;
        while (k < n && strcmp(in[k].name, axes[i].input)) k++;
        if (k == n) in[n++] = (fy_ts_input){.name = axes[i].input, .is_tensor = true, .rank = -1};      /* sizes as traced */
        FY_NEED(e, in[k].rank < 0 || axes[i].axis < in[k].rank, AXIS, "dynamic: input '%s' has rank %d, axis %d is outside", in[k].name, in[k].rank, axes[i].axis);
        if (axes[i].axis < FY_MAX_RANK) in[k].symbol[axes[i].axis] = axes[i].symbol;
    }
    o->ninput = n;
    o->input = in;
    return FY_OK;
}

typedef struct holder { fy_typer *t; fy_lower_options lower; } holder;

static fy_status make_typer(void *ctx, fy_ts_typer *t, fy_program *p, ferry_error *e) {
    holder *h = ctx;
    FY_TRY(fy_typer_new(&h->t, p, &h->lower, e));
    *t = (fy_ts_typer){h->t, fy_typer_node, fy_typer_value, fy_typer_missing};
    return FY_OK;
}

fy_status fy_read_source(fy_program **p, const char *path, const fy_source_options *given, ferry_error *e) {
    static const fy_source_options nothing;
    const fy_source_options *s = given ? given : &nothing;
    fy_filetype type;
    *p = NULL;
    FY_TRY(fy_file_kind(&type, path, e));
    if (type != FY_FILE_TORCHSCRIPT) {
        FY_NEED(e, !fy_opt_has(s->job, "shape"), USAGE, "shape: %s has recorded shapes; --shape is for TorchScript archives", path);
        return fy_pt2_read(p, path, e);
    }
    fy_arena a = {0};
    holder h = {.lower = {.registry = fy_registry_of(s->registry), .mappings = fy_mappings_of(s->registry)}};
    fy_ts_options o = {.typer = make_typer, .ctx = &h, .batch = s->batch ? "batch" : NULL};
    fy_status r = all_shapes(&o, &a, s->job, s->naxes, s->axes, e);
    if (!r) r = fy_ts_read(p, path, &o, e);
    fy_typer_free(h.t);
    fy_arena_free(&a);
    return r;
}
