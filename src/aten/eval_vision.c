/* SPDX-License-Identifier: Apache-2.0
 * eval_vision.c - torchvision's operators for the evaluator, from their documentation: non-maximum suppression, RoIAlign, RoIPool
 * and their position-sensitive forms,
 * deformable convolution. */
#include "aten/eval.h"

#include "base/sort.h"

#include <math.h>

static int by_score(const void *ctx, int64_t a, int64_t b) {
    const double *score = ctx;
    return (score[a] < score[b]) - (score[a] > score[b]);
}

double fy_ev_overlap(const double *a, const double *b) {
    double w = fmin(a[2], b[2]) - fmax(a[0], b[0]), h = fmin(a[3], b[3]) - fmax(a[1], b[1]);
    double both = w > 0 && h > 0 ? w * h : 0;
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both);
}

fy_status fy_at_nms(fy_eval *v) {
    fy_et box, score, o;
    double limit = 0;
    FY_TRY(fy_ev_in(v, "dets", &box));
    FY_TRY(fy_ev_in(v, "scores", &score));
    FY_TRY(fy_ev_f64(v, "iou_threshold", &limit));
    FY_NEED(v->e, box.t.rank == 2 && box.t.dim[1] == 4 && score.t.rank == 1 && score.t.dim[0] == box.t.dim[0], SHAPE,
            "nms of boxes that are not [n,4]");
    const double *b = fy_ev_dense(v, &box), *s = fy_ev_dense(v, &score);
    int64_t n = box.t.dim[0], kept = 0;
    int64_t *r = FY_NEWN(&v->scratch, int64_t, n + 1), *keep = FY_NEWN(&v->scratch, int64_t, n + 1);
    if (!b || !s) return FY_E_NOMEM;
    FY_NOMEM(v->e, r && keep);
    for (int64_t i = 0; i < n; i++) r[i] = i;
    fy_sort(r, keep, n, by_score, s);
    for (int64_t i = 0; i < n; i++) {
        bool free = true;
        for (int64_t k = 0; k < kept && free; k++) free = !(fy_ev_overlap(b + 4 * keep[k], b + 4 * r[i]) > limit);
        if (free) keep[kept++] = r[i];
    }
    FY_TRY(fy_ev_new(v, &o, FERRY_INT64, 1, &kept));
    for (int64_t i = 0; i < kept; i++) fy_ev_at_i(&o)[i] = keep[i];
    return fy_ev_out(v, 0, &o);
}

/* Between pixels; nothing beyond one pixel outside. */
static double between(const double *x, int64_t h, int64_t w, double py, double px) {
    if (py < -1 || py > (double)h || px < -1 || px > (double)w) return 0;
    py = fmax(py, 0);
    px = fmax(px, 0);
    int64_t y0 = (int64_t)py, x0 = (int64_t)px, y1 = y0 + 1, x1 = x0 + 1;
    if (y0 >= h - 1) {
        y0 = y1 = h - 1;
        py = (double)y0;
    }
    if (x0 >= w - 1) {
        x0 = x1 = w - 1;
        px = (double)x0;
    }
    double fy = py - (double)y0, fx = px - (double)x0;
    return (x[y0 * w + x0] * (1 - fx) + x[y0 * w + x1] * fx) * (1 - fy) + (x[y1 * w + x0] * (1 - fx) + x[y1 * w + x1] * fx) * fy;
}

typedef struct regions {
    fy_et x;
    const double *in, *roi;
    int64_t n, channels, h, w, oh, ow, ratio;
    double scale;
    bool aligned;
} regions;

static fy_status read_regions(fy_eval *v, regions *r) {
    fy_et rois;
    FY_TRY(fy_ev_in(v, "input", &r->x));
    FY_TRY(fy_ev_in(v, "rois", &rois));
    FY_TRY(fy_ev_f64(v, "spatial_scale", &r->scale));
    FY_TRY(fy_ev_int(v, "pooled_height", &r->oh));
    FY_TRY(fy_ev_int(v, "pooled_width", &r->ow));
    FY_TRY(fy_ev_int(v, "sampling_ratio", &r->ratio));
    FY_TRY(fy_ev_bool(v, "aligned", &r->aligned));
    FY_NEED(v->e, r->x.t.rank == 4 && rois.t.rank == 2 && rois.t.dim[1] == 5 && r->oh > 0 && r->ow > 0, SHAPE,
            "regions that are not [n,5] of pictures");
    r->in = fy_ev_dense(v, &r->x);
    r->roi = fy_ev_dense(v, &rois);
    if (!r->in || !r->roi) return FY_E_NOMEM;
    r->n = rois.t.dim[0];
    r->channels = r->x.t.dim[1];
    r->h = r->x.t.dim[2];
    r->w = r->x.t.dim[3];
    for (int64_t i = 0; i < r->n; i++) {
        const double *q = r->roi + 5 * i;
        bool fits = q[0] >= 0 && q[0] < (double)r->x.t.dim[0];
        for (int k = 1; k < 5; k++) fits = fits && fabs(q[k] * r->scale) < 1e6;
        FY_NEED(v->e, fits, INDEX, "region %lld is not of a picture of the batch", (long long)i);
    }
    return FY_OK;
}

static double align_cell(const regions *r, const double *x, const double *roi, int64_t ph, int64_t pw) {
    double shift = r->aligned ? 0.5 : 0, y0 = roi[2] * r->scale - shift, x0 = roi[1] * r->scale - shift, h = roi[4] * r->scale - shift - y0,
           w = roi[3] * r->scale - shift - x0, sum = 0;
    if (!r->aligned) {
        h = fmax(h, 1);
        w = fmax(w, 1);
    }
    double bh = h / (double)r->oh, bw = w / (double)r->ow;
    int64_t ny = r->ratio > 0 ? r->ratio : (int64_t)ceil(bh), nx = r->ratio > 0 ? r->ratio : (int64_t)ceil(bw);
    for (int64_t i = 0; i < ny; i++)
        for (int64_t j = 0; j < nx; j++)
            sum += between(x, r->h, r->w, y0 + (double)ph * bh + ((double)i + 0.5) * bh / (double)ny,
                           x0 + (double)pw * bw + ((double)j + 0.5) * bw / (double)nx);
    return sum / (double)(ny * nx > 1 ? ny * nx : 1);
}

fy_status fy_at_roi_align(fy_eval *v) {
    regions r = {0};
    fy_et o;
    FY_TRY(read_regions(v, &r));
    FY_TRY(fy_ev_new(v, &o, r.x.dtype, 4, (int64_t[]){r.n, r.channels, r.oh, r.ow}));
    double *y = fy_ev_at(&o);
    for (int64_t i = 0; i < r.n; i++)
        for (int64_t c = 0; c < r.channels; c++)
            for (int64_t p = 0; p < r.oh * r.ow; p++)
                *y++ = align_cell(&r, r.in + ((int64_t)r.roi[5 * i] * r.channels + c) * r.h * r.w, r.roi + 5 * i, p / r.ow, p % r.ow);
    return fy_ev_out(v, 0, &o);
}

static int64_t clipped(double x, int64_t last) { return x < 0 ? 0 : x > (double)last ? last : (int64_t)x; }

/* The mean over whole pixels; the last row and column are never read, as in torchvision. */
static double mean_cell(const regions *r, const double *x, const double *roi, int64_t ph, int64_t pw) {
    double x0 = round(roi[1] * r->scale), y0 = round(roi[2] * r->scale), w = fmax(round(roi[3] * r->scale) - x0, 1), h = fmax(round(roi[4] * r->scale) - y0, 1);
    double bh = h / (double)r->oh, bw = w / (double)r->ow, sum = 0;
    int64_t ya = clipped(floor((double)ph * bh) + y0, r->h - 1), yb = clipped(ceil((double)(ph + 1) * bh) + y0, r->h - 1),
            xa = clipped(floor((double)pw * bw) + x0, r->w - 1), xb = clipped(ceil((double)(pw + 1) * bw) + x0, r->w - 1);
    for (int64_t i = ya; i < yb; i++)
        for (int64_t j = xa; j < xb; j++) sum += x[i * r->w + j];
    return ya < yb && xa < xb ? sum / (double)((yb - ya) * (xb - xa)) : 0;
}

/* ps_roi_align; 1: ps_roi_pool. Cell p of channel c comes from channel c * cells + p, which the second result names. */
fy_status fy_at_ps_roi(fy_eval *v) {
    regions r = {.aligned = true};
    fy_et o, from;
    FY_TRY(read_regions(v, &r));
    int64_t cells = r.oh * r.ow, channels = r.channels / cells, dim[4] = {r.n, channels, r.oh, r.ow};
    FY_NEED(v->e, r.channels == channels * cells, SHAPE, "%lld channels for %lld cells", (long long)r.channels, (long long)cells);
    FY_TRY(fy_ev_new(v, &o, r.x.dtype, 4, dim));
    fy_status s = fy_ev_new(v, &from, FERRY_INT32, 4, dim);
    if (s != FY_OK) {
        fy_tensor_free(&o.t);
        return s;
    }
    for (int64_t i = 0; i < r.n; i++)
        for (int64_t c = 0; c < r.channels; c++) {
            const double *x = r.in + ((int64_t)r.roi[5 * i] * r.channels + c) * r.h * r.w, *roi = r.roi + 5 * i;
            int64_t ph = c % cells / r.ow, pw = c % r.ow;
            fy_ev_at(&o)[i * r.channels + c] = v->k ? mean_cell(&r, x, roi, ph, pw) : align_cell(&r, x, roi, ph, pw);
            fy_ev_at_i(&from)[i * r.channels + c] = c;
        }
    s = fy_ev_out(v, 0, &o);
    fy_status t = fy_ev_out(v, 1, &from);
    return s != FY_OK ? s : t;
}

static int64_t within(double x, int64_t n) { return x < 0 ? 0 : x > (double)n ? n : (int64_t)x; }

/* The largest of whole pixels in each cell, and where it is (-1: an empty cell, which gives 0). */
fy_status fy_at_roi_pool(fy_eval *v) {
    regions r = {0};
    fy_et o, at;
    FY_TRY(read_regions(v, &r));
    int64_t dim[4] = {r.n, r.channels, r.oh, r.ow};
    FY_TRY(fy_ev_new(v, &o, r.x.dtype, 4, dim));
    fy_status s = fy_ev_new(v, &at, FERRY_INT32, 4, dim);
    if (s != FY_OK) {
        fy_tensor_free(&o.t);
        return s;
    }
    int64_t k = 0;
    for (int64_t i = 0; i < r.n; i++) {
        const double *q = r.roi + 5 * i;
        double x0 = round(q[1] * r.scale), y0 = round(q[2] * r.scale), w = fmax(round(q[3] * r.scale) - x0 + 1, 1),
               h = fmax(round(q[4] * r.scale) - y0 + 1, 1);
        for (int64_t c = 0; c < r.channels; c++)
            for (int64_t p = 0; p < r.oh * r.ow; p++, k++) {
                const double *x = r.in + ((int64_t)q[0] * r.channels + c) * r.h * r.w;
                double ph = (double)(p / r.ow), pw = (double)(p % r.ow), bh = h / (double)r.oh, bw = w / (double)r.ow;
                int64_t ya = within(floor(ph * bh) + y0, r.h), yb = within(ceil((ph + 1) * bh) + y0, r.h),
                        xa = within(floor(pw * bw) + x0, r.w), xb = within(ceil((pw + 1) * bw) + x0, r.w), best = -1;
                for (int64_t y = ya; y < yb; y++)
                    for (int64_t z = xa; z < xb; z++)
                        if (best < 0 || x[y * r.w + z] > x[best]) best = y * r.w + z;
                fy_ev_at(&o)[k] = best < 0 ? 0 : x[best];
                fy_ev_at_i(&at)[k] = best;
            }
    }
    s = fy_ev_out(v, 0, &o);
    fy_status t = fy_ev_out(v, 1, &at);
    return s != FY_OK ? s : t;
}

/* Bilinear, with zeros around the picture. */
static double surrounded(const double *x, int64_t h, int64_t w, double py, double px) {
    if (!(py > -1 && px > -1 && py < (double)h && px < (double)w)) return 0;
    double sum = 0, fy = py - floor(py), fx = px - floor(px);
    int64_t y0 = (int64_t)floor(py), x0 = (int64_t)floor(px);
    for (int i = 0; i < 4; i++) {
        int64_t y = y0 + i / 2, z = x0 + i % 2;
        if (y >= 0 && y < h && z >= 0 && z < w) sum += x[y * w + z] * (i / 2 ? fy : 1 - fy) * (i % 2 ? fx : 1 - fx);
    }
    return sum;
}

typedef struct deform {
    fy_et x, w, offset, mask, bias;
    int64_t stride[2], pad[2], dilation[2], groups, parts;
    bool masked;
    int64_t out[2];
    const double *px, *pw, *po, *pm, *pb;
} deform;

static fy_status read_deform(fy_eval *v, deform *d) {
    static const char *const name[] = {"stride_h", "stride_w", "pad_h", "pad_w", "dilation_h", "dilation_w", "groups", "offset_groups"};
    int64_t *const to[] = {d->stride, d->stride + 1, d->pad, d->pad + 1, d->dilation, d->dilation + 1, &d->groups, &d->parts};
    FY_TRY(fy_ev_in(v, "input", &d->x));
    FY_TRY(fy_ev_in(v, "weight", &d->w));
    FY_TRY(fy_ev_in(v, "offset", &d->offset));
    FY_TRY(fy_ev_in(v, "mask", &d->mask));
    FY_TRY(fy_ev_in(v, "bias", &d->bias));
    for (int i = 0; i < 8; i++) {
        FY_TRY(fy_ev_int(v, name[i], to[i]));
        FY_NEED(v->e, *to[i] < 1 << 20 && *to[i] >= (i == 2 || i == 3 ? 0 : 1), VALUE, "deform_conv2d: %s is %lld", name[i],
                (long long)*to[i]);
    }
    FY_TRY(fy_ev_bool(v, "use_mask", &d->masked));
    const fy_tensor *x = &d->x.t, *w = &d->w.t, *o = &d->offset.t, *m = &d->mask.t;
    FY_NEED(v->e,
            x->rank == 4 && w->rank == 4 && o->rank == 4 && w->dim[1] * d->groups == x->dim[1] && w->dim[0] % d->groups == 0 &&
                x->dim[1] % d->parts == 0,
            SHAPE, "deform_conv2d of shapes that do not fit");
    for (int i = 0; i < 2; i++) d->out[i] = (x->dim[2 + i] + 2 * d->pad[i] - d->dilation[i] * (w->dim[2 + i] - 1) - 1) / d->stride[i] + 1;
    int64_t taps = w->dim[2] * w->dim[3];
    FY_NEED(v->e,
            d->out[0] > 0 && d->out[1] > 0 && o->dim[0] == x->dim[0] && o->dim[1] == 2 * taps * d->parts && o->dim[2] == d->out[0] &&
                o->dim[3] == d->out[1],
            SHAPE, "deform_conv2d: the offsets do not fit the output");
    FY_NEED(v->e,
            !d->masked || (m->rank == 4 && m->dim[0] == x->dim[0] && m->dim[1] == taps * d->parts && m->dim[2] == d->out[0] &&
                           m->dim[3] == d->out[1]),
            SHAPE, "deform_conv2d: the mask does not fit the output");
    FY_NEED(v->e, fy_count(&d->bias.t) == 0 || fy_count(&d->bias.t) == w->dim[0], SHAPE, "deform_conv2d: the bias does not fit");
    return FY_OK;
}

static double deform_sum(const deform *d, int64_t n, int64_t oc, int64_t oy, int64_t ox) {
    const fy_tensor *x = &d->x.t, *w = &d->w.t;
    int64_t cin = w->dim[1], kh = w->dim[2], kw = w->dim[3], first = oc / (w->dim[0] / d->groups) * cin, plane = d->out[0] * d->out[1],
            per = x->dim[1] / d->parts, at = oy * d->out[1] + ox;
    double sum = fy_count(&d->bias.t) ? d->pb[oc] : 0;
    for (int64_t c = 0; c < cin; c++)
        for (int64_t k = 0; k < kh * kw; k++) {
            int64_t part = (first + c) / per, tap = (n * d->parts + part) * kh * kw + k;
            double dy = d->po[(2 * tap) * plane + at], dx = d->po[(2 * tap + 1) * plane + at], m = d->masked ? d->pm[tap * plane + at] : 1;
            double y = (double)(oy * d->stride[0] - d->pad[0] + k / kw * d->dilation[0]) + dy,
                   z = (double)(ox * d->stride[1] - d->pad[1] + k % kw * d->dilation[1]) + dx;
            sum += d->pw[(oc * cin + c) * kh * kw + k] * m *
                   surrounded(d->px + (n * x->dim[1] + first + c) * x->dim[2] * x->dim[3], x->dim[2], x->dim[3], y, z);
        }
    return sum;
}

fy_status fy_at_deform(fy_eval *v) {
    deform d = {.stride = {1, 1}, .dilation = {1, 1}, .groups = 1, .parts = 1};
    fy_et o;
    FY_TRY(read_deform(v, &d));
    d.px = fy_ev_dense(v, &d.x);
    d.pw = fy_ev_dense(v, &d.w);
    d.po = fy_ev_dense(v, &d.offset);
    d.pm = fy_ev_dense(v, &d.mask);
    d.pb = fy_ev_dense(v, &d.bias);
    if (!d.px || !d.pw || !d.po || !d.pm || !d.pb) return FY_E_NOMEM;
    int64_t dim[4] = {d.x.t.dim[0], d.w.t.dim[0], d.out[0], d.out[1]};
    FY_TRY(fy_ev_new(v, &o, d.x.dtype, 4, dim));
    double *y = fy_ev_at(&o);
    for (int64_t n = 0; n < dim[0]; n++)
        for (int64_t c = 0; c < dim[1]; c++)
            for (int64_t p = 0; p < dim[2] * dim[3]; p++) *y++ = deform_sum(&d, n, c, p / dim[3], p % dim[3]);
    return fy_ev_out(v, 0, &o);
}
