/* SPDX-License-Identifier: Apache-2.0
 * values.c - named values that own their memory: read, written, made from images, made from a seed, converted. */
#include "api/api.h"
#include "formats/image.h"
#include "formats/npz.h"
#include "formats/onnx.h"
#include "verify/verify.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct named { char *name; ferry_value v; } named;
struct ferry_values { FY_VEC(named) list; };

ferry_values *ferry_values_new(void) { return fy_calloc(1, sizeof(ferry_values)); }

void ferry_values_free(ferry_values *v) {
    if (!v) return;
    for (int64_t i = 0; i < v->list.n; i++) {
        fy_free(v->list.at[i].name);
        fy_rval_free(&v->list.at[i].v.v);
    }
    fy_free(v->list.at);
    fy_free(v);
}

size_t      ferry_values_count(const ferry_values *v) { return (size_t)v->list.n; }
const char *ferry_values_name(const ferry_values *v, size_t i) { return i < (size_t)v->list.n ? v->list.at[i].name : NULL; }

int ferry_values_find(const ferry_values *v, const char *name) {
    for (int64_t i = 0; i < v->list.n; i++)
        if (!strcmp(v->list.at[i].name, name)) return (int)i;
    return -1;
}

const ferry_value *ferry_values_value(const ferry_values *v, size_t i) { return i < (size_t)v->list.n ? &v->list.at[i].v : NULL; }

int ferry_values_get(const ferry_values *v, size_t i, ferry_tensor *t, ferry_error *e) {
    fy_error_clear(e);
    if (i >= (size_t)v->list.n) return fy_kind_of(fy_fail(e, FY_E_NAME, "there is no value number %zu", i));
    const fy_rval *own = &v->list.at[i].v.v;
    if (own->kind != FY_TENSOR || own->t.dtype == FERRY_STRING)
        return fy_kind_of(fy_fail(e, FY_E_TYPE, "value '%s' is no tensor of numbers: ferry_values_value gives it", v->list.at[i].name));
    *t = ferry_view((int32_t)own->t.dtype, own->t.data, own->t.rank, own->t.dim);
    return FERRY_OK;
}

/* Takes over val, also when it fails; replaces a value of the same name. */
static fy_status put_value(ferry_values *v, const char *name, fy_rval *val, ferry_error *e) {
    int at = ferry_values_find(v, name);
    if (at >= 0) {
        fy_rval_free(&v->list.at[at].v.v);
        v->list.at[at].v.v = *val;
        return FY_OK;
    }
    size_t n = strlen(name) + 1;
    char *copy = fy_malloc(n, 1);
    if (!copy || !FY_RESERVE(v->list, v->list.n + 1)) {
        fy_free(copy);
        fy_rval_free(val);
        return fy_nomem(e);
    }
    memcpy(copy, name, n);
    v->list.at[v->list.n++] = (named){copy, {*val}};
    return FY_OK;
}

static fy_status put(ferry_values *v, const char *name, fy_tensor *t, ferry_error *e) {
    fy_rval val = {.kind = FY_TENSOR, .t = *t};
    return put_value(v, name, &val, e);
}

int ferry_values_set(ferry_values *v, const char *name, const ferry_tensor *t, ferry_error *e) {
    fy_tensor copy, view;
    fy_error_clear(e);
    fy_status s = fy_view_check("value", name, t, e);
    if (s) return fy_kind_of(s);
    view = fy_tensor_view((fy_dtype)t->dtype, t->rank, t->dim, t->data);
    s = fy_tensor_clone(&copy, &view, e);
    return fy_kind_of(s ? s : put(v, name, &copy, e));
}

int ferry_values_put(ferry_values *v, const char *name, const ferry_value *value, ferry_error *e) {
    fy_rval copy;
    fy_error_clear(e);
    fy_status s = fy_rval_copy(&copy, &value->v, e);
    return fy_kind_of(s ? s : put_value(v, name, &copy, e));
}

/* ---- files -------------------------------------------------------------------------------------------------------- */

static bool ends(const char *s, const char *tail) {
    size_t n = strlen(s), k = strlen(tail);
    return n >= k && !strcmp(s + n - k, tail);
}

/* `kind`: what a .pb holds; FY_NOTYPE: a tensor or a sequence, as it looks. */
static fy_status read_file(ferry_values *v, const char *path, const char *name, fy_kind kind, ferry_error *e) {
    if (!ends(path, ".npz")) {
        fy_rval val = {.kind = FY_TENSOR};
        FY_TRY(ends(path, ".pb") ? fy_onnx_read_value_as(&val, path, kind, e) : fy_npy_read(&val.t, path, e));
        return put_value(v, name, &val, e);
    }
    fy_named_list more = {0};
    fy_status s = fy_npz_read(&more, path, e);
    for (int64_t i = 0; !s && i < more.n; i++) {
        fy_tensor t = fy_tensor_ref(&more.at[i].t);
        s = put(v, more.at[i].name, &t, e);
    }
    fy_named_free(&more);
    return s;
}

int ferry_values_read(ferry_values *v, const char *path, const char *name, ferry_error *e) {
    fy_error_clear(e);
    return fy_kind_of(read_file(v, path, name, FY_NOTYPE, e));
}

int ferry_values_read_for(ferry_values *v, const char *path, const ferry_port *port, ferry_error *e) {
    fy_error_clear(e);
    return fy_kind_of(read_file(v, path, port->name, (fy_kind)port->kind, e));
}

static fy_status flatten(fy_named_list *l, const char *name, const fy_rval *v, int depth, ferry_error *e);

static fy_status flatten_as(fy_named_list *l, const char *name, const char *part, const fy_rval *v, int depth, ferry_error *e) {
    fy_buf b = {0};
    fy_buf_fmt(&b, "%s.%s", name, part);
    fy_status s = b.oom ? fy_nomem(e) : flatten(l, b.at, v, depth + 1, e);
    fy_buf_free(&b);
    return s;
}

/* Rows that ZipMap makes: maps with the same keys, scalars of one dtype. */
static bool is_table(const fy_rval *v) {
    for (int64_t i = 0; i < v->n; i++) {
        const fy_rval *m = &v->item[i], *first = &v->item[0];
        if (m->kind != FY_MAP || m->item[1].kind != FY_TENSOR || m->item[1].t.dtype == FERRY_STRING || m->n != first->n ||
            m->item[1].t.dtype != first->item[1].t.dtype || m->item[0].t.dtype != first->item[0].t.dtype) return false;
        for (int64_t k = 0; k < m->n; k++)
            if (m->item[0].t.dtype == FERRY_STRING ? !fy_str_equal((const fy_str *)m->item[0].t.data + k, (const fy_str *)first->item[0].t.data + k)
                                                   : fy_get_i64(&m->item[0].t, k) != fy_get_i64(&first->item[0].t, k)) return false;
    }
    return v->n > 0;
}

static fy_status flatten_table(fy_named_list *l, const char *name, const fy_rval *v, int depth, ferry_error *e) {
    fy_rval all = {.kind = FY_TENSOR};
    const fy_rval *first = &v->item[0];
    FY_TRY(flatten_as(l, name, "keys", &first->item[0], depth, e));
    FY_TRY(fy_tensor_new(&all.t, first->item[1].t.dtype, 2, (int64_t[]){v->n, first->n}, e));
    size_t bytes = (size_t)first->n * (size_t)fy_elem_bytes(all.t.dtype);
    for (int64_t i = 0; bytes && i < v->n; i++) memcpy((char *)all.t.data + (size_t)i * bytes, v->item[i].item[1].t.data, bytes);
    fy_status s = flatten_as(l, name, "values", &all, depth, e);
    fy_tensor_free(&all.t);
    return s;
}

/* Arrays are all that a .npz holds: NAME; NAME.0, NAME.1 ... of a sequence; NAME.keys and NAME.values of a map, and of a sequence of
 * maps with equal keys (one row of values for each). */
static fy_status flatten(fy_named_list *l, const char *name, const fy_rval *v, int depth, ferry_error *e) {
    char part[24];
    FY_NEED(e, depth < 16, LIMIT, "value '%s' nests too deep", name);
    if (v->kind == FY_TENSOR) return fy_named_add(l, name, &v->t, e);
    if (v->kind == FY_SEQUENCE && is_table(v)) return flatten_table(l, name, v, depth, e);
    for (int64_t i = 0; i < fy_rval_items(v); i++) {
        snprintf(part, sizeof part, "%lld", (long long)i);
        FY_TRY(flatten_as(l, name, v->kind == FY_MAP ? i ? "values" : "keys" : part, &v->item[i], depth, e));
    }
    return FY_OK;
}

int ferry_values_write(const ferry_values *v, const char *path, ferry_error *e) {
    fy_named_list flat = {0};
    fy_status s = FY_OK;
    fy_error_clear(e);
    for (int64_t i = 0; !s && i < v->list.n; i++) s = flatten(&flat, v->list.at[i].name, &v->list.at[i].v.v, 0, e);
    if (!s) s = fy_npz_write(&flat, path, e);
    fy_named_free(&flat);
    return fy_kind_of(s);
}

/* ---- images ------------------------------------------------------------------------------------------------------- */

typedef struct image_plan {
    int    resize_h, resize_w, short_side, crop_h, crop_w;   /* 0: not asked for */
    double mean[3], std[3], scale;
    bool   nhwc, gray, bytes;
    int    height, width, channels;                          /* what the port takes */
} image_plan;

static fy_status parse_size(const char *s, const char *key, int *h, int *w, ferry_error *e) {
    char tail;
    if (!s) return FY_OK;
    if (sscanf(s, "%dx%d%c", h, w, &tail) == 2 && *h > 0 && *w > 0) return FY_OK;
    FY_NEED(e, sscanf(s, "%d%c", h, &tail) == 1 && *h > 0, USAGE, "%s: '%s' is no size; write HEIGHTxWIDTH", key, s);
    *w = *h;
    return FY_OK;
}

static fy_status parse_three(const char *s, const char *key, double *v, ferry_error *e) {
    char tail;
    if (!s) return FY_OK;
    int n = sscanf(s, "%lf,%lf,%lf%c", &v[0], &v[1], &v[2], &tail);
    if (n == 1 && sscanf(s, "%lf%c", &v[0], &tail) != 1) n = 0;
    FY_NEED(e, n == 1 || n == 3, USAGE, "%s: '%s' is not one number or three separated by commas", key, s);
    if (n == 1) v[1] = v[2] = v[0];
    return FY_OK;
}

static fy_status plan_image(image_plan *p, const ferry_port *port, const ferry_job *job, ferry_error *e) {
    const char *preset = fy_opt(job, "preset"), *layout = fy_opt(job, "layout");
    *p = (image_plan){.std = {1, 1, 1}, .scale = 1.0 / 255};
    FY_NEED(e, port->rank == 4, SHAPE, "input '%s' has rank %d: images are for inputs of rank 4", port->name, port->rank);
    p->bytes = port->dtype == FERRY_UINT8;
    FY_NEED(e, p->bytes || fy_dtype_float((fy_dtype)port->dtype), TYPE, "input '%s' is %s: images are for floats and u8", port->name, ferry_dtype_name(port->dtype));
    p->nhwc = layout ? !strcmp(layout, "nhwc") : port->dim[1] != 3 && port->dim[1] != 1 && (port->dim[3] == 3 || port->dim[3] == 1);
    FY_NEED(e, !layout || p->nhwc || !strcmp(layout, "nchw"), USAGE, "layout: '%s' is neither nchw nor nhwc", layout);
    if (preset) {
        static const double mean[3] = {0.485, 0.456, 0.406}, std[3] = {0.229, 0.224, 0.225};
        FY_NEED(e, !strcmp(preset, "imagenet"), USAGE, "preset: there is 'imagenet', not '%s'", preset);
        memcpy(p->mean, mean, sizeof mean);
        memcpy(p->std, std, sizeof std);
        p->short_side = 256;
        p->crop_h = p->crop_w = 224;
    }
    int64_t h = port->dim[p->nhwc ? 1 : 2], w = port->dim[p->nhwc ? 2 : 3], c = port->dim[p->nhwc ? 3 : 1];
    p->channels = c == 1 ? 1 : 3;
    p->gray = c == 1;
    FY_NEED(e, c < 0 || c == 1 || c == 3, SHAPE, "input '%s' takes %lld channels: images have 1 or 3", port->name, (long long)c);
    if (fy_opt(job, "resize")) p->short_side = 0;
    FY_TRY(parse_size(fy_opt(job, "resize"), "resize", &p->resize_h, &p->resize_w, e));
    FY_TRY(parse_size(fy_opt(job, "crop"), "crop", &p->crop_h, &p->crop_w, e));
    FY_TRY(parse_three(fy_opt(job, "mean"), "mean", p->mean, e));
    FY_TRY(parse_three(fy_opt(job, "std"), "std", p->std, e));
    for (int i = 0; i < 3; i++) FY_NEED(e, p->std[i] > 0, USAGE, "std: %g is not positive", p->std[i]);
    if (!p->resize_h && !p->short_side && h > 0 && w > 0) { p->resize_h = (int)h; p->resize_w = (int)w; }
    p->height = (int)h;
    p->width = (int)w;
    return FY_OK;
}

static fy_status load_image(fy_image *im, const image_plan *p, const char *path, ferry_error *e) {
    fy_image next;
    FY_TRY(fy_image_read(im, path, p->gray, e));
    int h = p->resize_h, w = p->resize_w;
    if (p->short_side) {                                     /* the shorter side becomes this, the other follows */
        bool tall = im->height > im->width;
        w = tall ? p->short_side : (int)((int64_t)p->short_side * im->width / im->height);
        h = tall ? (int)((int64_t)p->short_side * im->height / im->width) : p->short_side;
    }
    fy_status s = FY_OK;
    if (h && (h != im->height || w != im->width)) {
        s = fy_image_resize(&next, im, w, h, e);
        if (!s) { fy_image_free(im); *im = next; }
    }
    if (!s && p->crop_h) {
        s = fy_image_crop(&next, im, p->crop_w, p->crop_h, e);
        if (!s) { fy_image_free(im); *im = next; }
    }
    if (!s && ((p->height > 0 && p->height != im->height) || (p->width > 0 && p->width != im->width)))
        s = fy_fail(e, FY_E_SHAPE, "%s is %d x %d after resizing; the model takes %d x %d", path, im->height, im->width, p->height, p->width);
    if (s) fy_image_free(im);
    return s;
}

static void store(fy_tensor *t, int64_t row, const fy_image *im, const image_plan *p) {
    int64_t c = im->channels, hw = (int64_t)im->height * im->width, base = row * hw * c;
    for (int64_t i = 0; i < hw; i++)
        for (int64_t k = 0; k < c; k++) {
            int64_t at = base + (p->nhwc ? i * c + k : k * hw + i);
            double byte = im->pixel[i * c + k];
            fy_put_f64(t, at, p->bytes ? byte : (byte * p->scale - p->mean[k]) / p->std[k]);
        }
}

static fy_status images(ferry_values *v, const ferry_port *port, const char *const *paths, size_t n, const ferry_job *job, ferry_error *e) {
    image_plan p;
    fy_tensor t = {0};
    fy_status s = plan_image(&p, port, job, e);
    int first_h = 0, first_w = 0;
    FY_NEED(e, s || n, USAGE, "input '%s': no image is given", port->name);
    FY_NEED(e, s || port->dim[0] < 0 || port->dim[0] == (int64_t)n, SHAPE, "input '%s' takes a batch of %lld; %zu images were given", port->name, (long long)port->dim[0], n);
    for (size_t i = 0; !s && i < n; i++) {
        fy_image im;
        s = load_image(&im, &p, paths[i], e);
        if (!s && i == 0) {
            int64_t nchw[4] = {(int64_t)n, im.channels, im.height, im.width}, nhwc[4] = {(int64_t)n, im.height, im.width, im.channels};
            s = fy_tensor_new(&t, (fy_dtype)port->dtype, 4, p.nhwc ? nhwc : nchw, e);
            first_h = im.height;
            first_w = im.width;
        }
        if (!s && (im.height != first_h || im.width != first_w)) s = fy_fail(e, FY_E_SHAPE, "%s differs in size from the first image: give --resize", paths[i]);
        if (!s) store(&t, (int64_t)i, &im, &p);
        fy_image_free(&im);
    }
    if (!s) return put(v, port->name, &t, e);
    fy_tensor_free(&t);
    return s;
}

int ferry_values_image(ferry_values *v, const ferry_port *port, const char *const *paths, size_t n, const ferry_job *job, ferry_error *e) {
    fy_error_clear(e);
    return fy_kind_of(images(v, port, paths, n, job, e));
}

/* ---- random inputs ------------------------------------------------------------------------------------------------ */

typedef struct sizes { const char *text; uint64_t used; } sizes;      /* used: bit i, entry i is a size of some input */

/* "NAME=N,..." with N a size? */
static fy_status check_sizes(const char *text, ferry_error *e) {
    for (const char *p = text; p && *p;) {
        size_t len = strcspn(p, ",");
        const char *eq = memchr(p, '=', len);
        size_t digits = eq ? strspn(eq + 1, "0123456789") : 0;
        FY_NEED(e, eq && eq > p && digits && digits < 10 && eq + 1 + digits == p + len, USAGE, "sizes: '%.*s' is not SYMBOL=N", (int)(len < 80 ? len : 80), p);
        p += len + (p[len] != 0);
    }
    return FY_OK;
}

/* Size of a symbol from "batch=2,seq=7"; 1 for one that is not listed. */
static bool size_of(void *ctx, const fy_dim *sym, int64_t *v) {
    sizes *given = ctx;
    const char *p = given->text;
    size_t n = strlen(sym->name);
    *v = sym->lo > 1 ? sym->lo : 1;
    for (int i = 0; p && *p; i++) {
        size_t len = strcspn(p, ",");
        if (len > n + 1 && !memcmp(p, sym->name, n) && p[n] == '=') { *v = strtoll(p + n + 1, NULL, 10); given->used |= (uint64_t)1 << (i & 63); }
        p += len + (p[len] != 0);
    }
    return *v >= 0;
}

static fy_status all_used(const sizes *given, ferry_error *e) {
    const char *p = given->text;
    for (int i = 0; p && *p; i++) {
        size_t len = strcspn(p, ","), name = strcspn(p, "=");
        FY_NEED(e, given->used >> (i & 63) & 1, NAME, "sizes: no input has a size '%.*s'", (int)(name < 80 ? name : 80), p);
        p += len + (p[len] != 0);
    }
    return FY_OK;
}

int ferry_values_random(ferry_values *v, const ferry_model *m, const ferry_job *job, ferry_error *e) {
    const fy_model *g = fy_model_of(m);
    sizes given = {fy_opt(job, "sizes"), 0};
    int64_t seed = 1, n = g->graph->in.n;
    fy_error_clear(e);
    fy_rval *val = fy_calloc((size_t)n + 1, sizeof *val);
    fy_status s = val ? fy_opt_int(job, "seed", 0, INT64_MAX, &seed, e) : fy_nomem(e);
    if (!s) s = check_sizes(given.text, e);
    if (!s) s = fy_random_inputs(val, g, (uint64_t)seed, size_of, &given, e);
    if (!s) s = all_used(&given, e);
    for (int64_t i = 0; !s && i < n; i++) {
        if (ferry_values_find(v, g->graph->in.at[i]->name) >= 0) continue;
        fy_tensor t = fy_tensor_ref(&val[i].t);
        s = put(v, g->graph->in.at[i]->name, &t, e);
    }
    for (int64_t i = 0; val && i < n; i++) fy_rval_free(&val[i]);
    fy_free(val);
    return fy_kind_of(s);
}

/* ---- conversion --------------------------------------------------------------------------------------------------- */

/* float <-> float of another width, integer -> integer when every value fits, integer -> float. */
static fy_status fit(ferry_values *v, const ferry_port *port, ferry_error *e) {
    int at = ferry_values_find(v, port->name);
    FY_NEED(e, at >= 0, NAME, "there is no value '%s'", port->name);
    fy_tensor *t = &v->list.at[at].v.v.t, cast;
    fy_dtype want = (fy_dtype)port->dtype;
    fy_kind kind = v->list.at[at].v.v.kind;
    if (port->kind > FERRY_TENSOR || kind != FY_TENSOR) {
        FY_NEED(e, port->kind == (int32_t)kind, TYPE, "'%s' is %s; the model takes %s", port->name, kind == FY_TENSOR ? "a tensor" : "no tensor",
            port->type ? port->type : "a tensor");
        return FY_OK;
    }
    if (t->dtype == want) {
        if (fy_contiguous(t)) return FY_OK;
        FY_TRY(fy_tensor_clone(&cast, t, e));
    } else {
        bool ok = fy_dtype_float(want) ? fy_dtype_class(t->dtype) != FY_CLASS_S && fy_dtype_class(t->dtype) != FY_CLASS_C
                                       : fy_dtype_int(want) && (fy_dtype_int(t->dtype) || fy_dtype_class(t->dtype) == FY_CLASS_B);
        FY_NEED(e, ok, TYPE, "'%s' is %s; the model takes %s", port->name, fy_dtype_name(t->dtype), fy_dtype_name(want));
        FY_TRY(fy_tensor_cast(&cast, t, want, e));
        for (int64_t i = 0; i < fy_count(t); i++) {
            double was = fy_get_f64(t, i), is = fy_get_f64(&cast, i);
            bool kept = fy_dtype_int(want) ? fy_get_i64(&cast, i) == fy_get_i64(t, i) && (was < 0) == (is < 0) : isfinite(is) || !isfinite(was);
            if (kept) continue;
            fy_tensor_free(&cast);
            return fy_fail(e, FY_E_VALUE, "'%s' holds %.17g, which does not fit %s", port->name, was, fy_dtype_name(want));
        }
    }
    fy_tensor_free(t);
    *t = cast;
    return FY_OK;
}

int ferry_values_fit(ferry_values *v, const ferry_port *port, ferry_error *e) {
    fy_error_clear(e);
    return fy_kind_of(fit(v, port, e));
}
