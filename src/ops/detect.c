/* SPDX-License-Identifier: Apache-2.0
 * detect.c - what detection models need: NonMaxSuppression (keep the best of overlapping boxes), RoiAlign (pool a feature map
 * over boxes; He et al., "Mask R-CNN", 2017) and MaxRoiPool (the same over whole elements; Girshick, "Fast R-CNN", 2015). */
#include "ops/common.h"
#include "ops/move.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- NonMaxSuppression --------------------------------------------------------------------------------------------- */

static fy_status infer_nms(fy_infer *f) {
    const fy_dim *same, *d[2] = {NULL, fy_mv_const(f, 3)}, *most = NULL;
    int64_t k, n;
    int rb = fy_in_rank(f, 0), rs = fy_in_rank(f, 1);
    FY_NEED(f->e, (rb < 0 || rb == 3) && (rs < 0 || rs == 3), SHAPE, "boxes have rank %d, scores rank %d; both must have rank 3", rb, rs);
    if (rb == 3 && rs == 3) {
        FY_TRY(fy_mv_same(f, &same, fy_in_dim(f, 0, 0), fy_in_dim(f, 1, 0), "batch sizes of boxes and scores"));
        FY_TRY(fy_mv_same(f, &same, fy_in_dim(f, 0, 1), fy_in_dim(f, 1, 2), "numbers of boxes and scores"));
    }
    if (rb == 3) FY_TRY(fy_mv_same(f, &same, fy_in_dim(f, 0, 2), fy_mv_const(f, 4), "box size and 4"));
    /* at most max_output_boxes_per_class (0 if not given) of the boxes, for each batch and class */
    if (!fy_in_has(f, 2)) most = fy_mv_const(f, 0);
    else if (rs == 3) {
        const fy_dim *each = fy_in_dim(f, 1, 2);
        if (fy_in_ints(f, 2, &k, 1, &n) && n == 1) each = fy_mv_min(f, each, fy_mv_const(f, k < 0 ? 0 : k));
        most = fy_dim_mul(f->dims, fy_dim_mul(f->dims, fy_in_dim(f, 1, 0), fy_in_dim(f, 1, 1)), each);
    }
    d[0] = fy_mv_upto(f, most);
    return fy_out_set(f, 0, FERRY_INT64, 2, d);
}

/* Corner form y1, x1, y2, x2 with y1 <= y2, x1 <= x2. */
static void corners(double *r, const double *b, bool centre) {
    if (centre) {
        r[0] = b[1] - b[3] / 2;
        r[1] = b[0] - b[2] / 2;
        r[2] = b[1] + b[3] / 2;
        r[3] = b[0] + b[2] / 2;
        return;
    }
    r[0] = fmin(b[0], b[2]);
    r[1] = fmin(b[1], b[3]);
    r[2] = fmax(b[0], b[2]);
    r[3] = fmax(b[1], b[3]);
}

static double overlap(const double *a, const double *b) {
    double h = (a[2] < b[2] ? a[2] : b[2]) - (a[0] > b[0] ? a[0] : b[0]), w = (a[3] < b[3] ? a[3] : b[3]) - (a[1] > b[1] ? a[1] : b[1]);
    double both = h > 0 && w > 0 ? h * w : 0, all = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both;
    return all > 0 ? both / all : 0;
}

typedef struct scored { double score; int64_t at; } scored;

static int best_first(const void *a, const void *b) {
    const scored *p = a, *q = b;
    if (p->score != q->score) return p->score > q->score ? -1 : 1;
    return p->at < q->at ? -1 : 1;
}

static fy_status ref_nms(const fy_call *c) {
    const fy_tensor *bt = fy_arg(c, 0), *st = fy_arg(c, 1);
    const double *box = fy_arg_f64(c, 0), *score = fy_arg_f64(c, 1);
    bool centre = fy_attr_i(c->node, "center_point_box") != 0, cut = fy_arg(c, 4) && fy_count(fy_arg(c, 4));
    int64_t batch = st->dim[0], classes = st->dim[1], n = st->dim[2], found = 0, cap = 0, *list = NULL;
    int64_t most = fy_arg(c, 2) && fy_count(fy_arg(c, 2)) ? fy_get_i64(fy_arg(c, 2), 0) : 0;
    double iou = fy_arg(c, 3) && fy_count(fy_arg(c, 3)) ? fy_get_f64(fy_arg(c, 3), 0) : 0, least = cut ? fy_get_f64(fy_arg(c, 4), 0) : 0;
    FY_NOMEM(c->e, box && score);
    FY_NEED(c->e, bt->rank == 3 && st->rank == 3 && bt->dim[0] == batch && bt->dim[1] == n && bt->dim[2] == 4, SHAPE,
            "boxes and scores do not fit");
    FY_NEED(c->e, iou >= 0 && iou <= 1, VALUE, "iou_threshold is %g; it must be between 0 and 1", iou);
    most = most < 0 ? 0 : most > n ? n : most;
    double *r = FY_NEWN(c->scratch, double, 4 * n);
    scored *order = FY_NEWN(c->scratch, scored, n);
    FY_NOMEM(c->e, r && order);
    for (int64_t b = 0; b < batch && most; b++) {
        for (int64_t i = 0; i < n; i++) corners(r + 4 * i, box + (b * n + i) * 4, centre);
        for (int64_t k = 0; k < classes; k++) {
            const double *s = score + (b * classes + k) * n;
            const int64_t first = found;
            int64_t left = 0;
            for (int64_t i = 0; i < n; i++)
                if (!isnan(s[i]) && !(cut && s[i] <= least)) order[left++] = (scored){s[i], i};
            qsort(order, (size_t)left, sizeof *order, best_first);
            for (int64_t i = 0; i < left && found - first < most; i++) {     /* what no better one that was kept overlaps */
                bool free = true;
                for (int64_t q = first; q < found && free; q++) free = !(overlap(r + 4 * order[i].at, r + 4 * list[3 * q + 2]) > iou);
                if (!free) continue;
                if (found == cap) {
                    int64_t *more = FY_NEWN(c->scratch, int64_t, 6 * (cap + 64));
                    FY_NOMEM(c->e, more);
                    if (found) memcpy(more, list, (size_t)found * 3 * sizeof *list);
                    list = more;
                    cap = 2 * (cap + 64);
                }
                list[3 * found] = b;
                list[3 * found + 1] = k;
                list[3 * found++ + 2] = order[i].at;
            }
        }
    }
    FY_TRY(fy_alloc_out(c, 0, FERRY_INT64, 2, (const int64_t[]){found, 3}));
    if (fy_res(c, 0)) fy_store_i64(fy_res(c, 0), 0, 3 * found, list);
    return FY_OK;
}

static const fy_attr_spec nms_attrs[] = {{"center_point_box", FY_ATTR_INT, "0"}, {0}};
const fy_op fy_op_non_max_suppression = {.name = "NonMaxSuppression", .domain = "", .attrs = nms_attrs, .min_in = 2, .max_in = 5, .min_out = 1, .max_out = 1,
    .since = 11, .first = 10, .types = "|f32,f32,i64,f32,f32|i64", .infer = infer_nms, .ref = ref_nms, .flags = FY_PURE};

/* ---- RoiAlign ------------------------------------------------------------------------------------------------------ */

static fy_status infer_roi_align(fy_infer *f) {
    int64_t h = fy_attr_i(f->node, "output_height"), w = fy_attr_i(f->node, "output_width");
    const fy_dim *d[4] = {NULL, NULL, fy_mv_const(f, h), fy_mv_const(f, w)}, *n = fy_in_dim(f, 2, 0), *same;
    int rx = fy_in_rank(f, 0), rr = fy_in_rank(f, 1);
    FY_NEED(f->e, h >= 1 && w >= 1 && h < 1 << 20 && w < 1 << 20, ATTR, "the output is %lld x %lld", (long long)h, (long long)w);
    FY_NEED(f->e, (rx < 0 || rx == 4) && (rr < 0 || rr == 2), SHAPE, "the input has rank %d, rois rank %d; 4 and 2 are needed", rx, rr);
    FY_NEED(f->e, fy_in_rank(f, 2) < 0 || fy_in_rank(f, 2) == 1, SHAPE, "the batch indices have rank %d; they must be a list", fy_in_rank(f, 2));
    FY_NEED(f->e, fy_attr_is(f->node, "mode", "avg") || fy_attr_is(f->node, "mode", "max"), ATTR, "mode must be avg or max");
    if (rr == 2) FY_TRY(fy_mv_same(f, &same, fy_in_dim(f, 1, 1), fy_mv_const(f, 4), "roi size and 4"));
    d[0] = rr == 2 ? fy_in_dim(f, 1, 0) : n ? n : fy_mv_opaque(f);
    if (n && rr == 2) FY_TRY(fy_mv_same(f, &d[0], d[0], n, "numbers of rois and batch indices"));
    d[1] = rx == 4 ? fy_in_dim(f, 0, 1) : fy_mv_opaque(f);
    return fy_out_set(f, 0, fy_in_dtype(f, 0), 4, d);
}

typedef struct tap { int64_t at[4]; double w[4]; } tap;

/* Bilinear taps at (y, x); weights 0 where the position is more than one element outside. */
static void roi_taps(tap *t, double y, double x, int64_t h, int64_t w) {
    *t = (tap){{0}, {0}};
    if (!(y >= -1 && y <= (double)h && x >= -1 && x <= (double)w)) return;
    y = fmax(y, 0);
    x = fmax(x, 0);
    int64_t y0 = (int64_t)y, x0 = (int64_t)x, y1, x1;
    if (y0 >= h - 1) { y1 = y0 = h - 1; y = (double)y0; } else y1 = y0 + 1;
    if (x0 >= w - 1) { x1 = x0 = w - 1; x = (double)x0; } else x1 = x0 + 1;
    double fy = y - (double)y0, fx = x - (double)x0;
    *t = (tap){{y0 * w + x0, y0 * w + x1, y1 * w + x0, y1 * w + x1}, {(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx}};
}

typedef struct roi_work { const double *x; fy_tensor *y; double y0, x0, bh, bw; int64_t n, gh, gw, h, w; bool max; } roi_work;

/* Bins of one box: what is read is found once for some channels and samples. */
static void roi_bins(void *arg, int64_t begin, int64_t end) {
    enum { SOME = 64 };
    const roi_work *a = arg;
    const int64_t ch = a->y->dim[1], pw = a->y->dim[3], bins = a->y->dim[2] * pw, steps = a->gh * a->gw;
    tap t[SOME];
    for (int64_t p = begin; p < end; p++)
        for (int64_t k = 0; k < ch; k += SOME) {
            double r[SOME] = {0};
            for (int64_t i = 0; i < steps; i += SOME) {
                const int64_t m = steps - i < SOME ? steps - i : SOME;
                for (int64_t j = 0; j < m; j++)
                    roi_taps(&t[j], a->y0 + (double)(p / pw) * a->bh + ((double)((i + j) / a->gw) + 0.5) * a->bh / (double)a->gh,
                             a->x0 + (double)(p % pw) * a->bw + ((double)((i + j) % a->gw) + 0.5) * a->bw / (double)a->gw, a->h, a->w);
                for (int64_t q = k; q < ch && q < k + SOME; q++) {
                    const double *src = a->x + q * a->h * a->w;
                    double sum = r[q - k];
                    for (int64_t j = 0; j < m; j++) {
                        const tap *s = &t[j];
                        const double v0 = s->w[0] * src[s->at[0]], v1 = s->w[1] * src[s->at[1]], v2 = s->w[2] * src[s->at[2]], v3 = s->w[3] * src[s->at[3]];
                        if (!a->max) sum += v0 + v1 + v2 + v3;
                        else {
                            double most = fmax(fmax(v0, v1), fmax(v2, v3));
                            sum = i + j == 0 ? most : fmax(sum, most);
                        }
                    }
                    r[q - k] = sum;
                }
            }
            for (int64_t q = k; q < ch && q < k + SOME; q++) fy_put_f64(a->y, (a->n * ch + q) * bins + p, a->max || steps == 0 ? r[q - k] : r[q - k] / (double)steps);
        }
}

static fy_status ref_roi_align(const fy_call *c) {
    const fy_tensor *xt = fy_arg(c, 0);
    fy_tensor *y;
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    const double *x = fy_arg_f64(c, 0), *roi = fy_arg_f64(c, 1), scale = fy_attr_f(c->node, "spatial_scale");
    const int64_t *batch = fy_arg_i64(c, 2), ratio = fy_attr_i(c->node, "sampling_ratio");
    FY_NOMEM(c->e, x && roi && batch);
    bool half = fy_attr_is(c->node, "coordinate_transformation_mode", "half_pixel");
    int64_t ch = y->dim[1], ph = y->dim[2], pw = y->dim[3];
    roi_work a = {.y = y, .h = xt->dim[2], .w = xt->dim[3], .max = fy_attr_is(c->node, "mode", "max")};
    FY_NEED(c->e, half || fy_attr_is(c->node, "coordinate_transformation_mode", "output_half_pixel"), ATTR,
            "coordinate_transformation_mode must be half_pixel or output_half_pixel");
    FY_NEED(c->e, ratio >= 0 && ratio <= 4096, ATTR, "sampling_ratio is %lld", (long long)ratio);
    FY_NEED(c->e, fy_count(y) == 0 || (a.h && a.w), SHAPE, "the feature map is empty");
    for (int64_t n = 0; n < y->dim[0]; n++) {
        FY_NEED(c->e, batch[n] >= 0 && batch[n] < xt->dim[0], INDEX, "roi %lld is in batch %lld of %lld", (long long)n,
                (long long)batch[n], (long long)xt->dim[0]);
        const double *b = roi + 4 * n, shift = half ? 0.5 : 0;
        a.x0 = b[0] * scale - shift;
        a.y0 = b[1] * scale - shift;
        double rw = b[2] * scale - shift - a.x0, rh = b[3] * scale - shift - a.y0;
        if (!half) { rw = fmax(rw, 1); rh = fmax(rh, 1); }
        a.bh = rh / (double)ph;
        a.bw = rw / (double)pw;
        FY_NEED(c->e, fabs(a.x0) < 1e9 && fabs(a.y0) < 1e9 && fabs(a.bh) <= 1e5 && fabs(a.bw) <= 1e5, VALUE, "roi %lld has bins of %g x %g",
                (long long)n, a.bh, a.bw);
        int64_t steps;
        a.gh = ratio ? ratio : (int64_t)ceil(a.bh);
        a.gw = ratio ? ratio : (int64_t)ceil(a.bw);
        a.gh = a.gh < 0 ? 0 : a.gh;
        a.gw = a.gw < 0 ? 0 : a.gw;
        FY_NEED(c->e, fy_mul_i64(&steps, a.gh * a.gw, ph * pw) && steps <= (int64_t)1 << 28, LIMIT, "roi %lld needs too many samples",
                (long long)n);
        a.n = n;
        a.x = x + batch[n] * ch * a.h * a.w;
        fy_k_for(c, ph * pw, 1 + FY_K_GRAIN / (1 + 4 * ch * (1 + a.gh * a.gw)), roi_bins, &a);
    }
    return FY_OK;
}

static const fy_attr_spec roi_attrs[] = {{"mode", FY_ATTR_STRING, "avg"}, {"output_height", FY_ATTR_INT, "1"}, {"output_width", FY_ATTR_INT, "1"},
    {"sampling_ratio", FY_ATTR_INT, "0"}, {"spatial_scale", FY_ATTR_FLOAT, "1.0"}, {"coordinate_transformation_mode", FY_ATTR_STRING, "half_pixel"}, {0}};
const fy_op fy_op_roi_align = {.name = "RoiAlign", .domain = "", .attrs = roi_attrs, .min_in = 3, .max_in = 3, .min_out = 1, .max_out = 1, .since = 22,
    .first = 10, .types = "T=" FY_T_FLOAT "|T,T,i64|T", .infer = infer_roi_align, .ref = ref_roi_align, .flags = FY_PURE};

/* ---- MaxRoiPool ---------------------------------------------------------------------------------------------------- */

static fy_status pooled_shape(int64_t *size, const fy_node *n, ferry_error *e) {
    int64_t count;
    const int64_t *v = fy_attr_ints(n, "pooled_shape", &count);
    FY_NEED(e, v && count == 2, ATTR, "pooled_shape has %lld sizes; 2 are needed", (long long)count);
    FY_NEED(e, v[0] >= 1 && v[1] >= 1 && v[0] < 1 << 20 && v[1] < 1 << 20, ATTR, "the output is %lld x %lld", (long long)v[0], (long long)v[1]);
    size[0] = v[0];
    size[1] = v[1];
    return FY_OK;
}

static fy_status infer_roi_pool(fy_infer *f) {
    int64_t size[2];
    int rx, rr;
    FY_TRY(pooled_shape(size, f->node, f->e));
    FY_TRY(fy_k_same_dtype(f));
    FY_TRY(fy_k_rank(f, 0, 4, 4, &rx));
    FY_TRY(fy_k_rank(f, 1, 2, 2, &rr));
    if (rr == 2) FY_TRY(fy_k_agree(f, fy_in_dim(f, 1, 1), fy_mv_const(f, 5), "roi size and 5"));
    const fy_dim *d[4] = {rr == 2 ? fy_in_dim(f, 1, 0) : fy_mv_opaque(f), rx == 4 ? fy_in_dim(f, 0, 1) : fy_mv_opaque(f), fy_mv_const(f, size[0]), fy_mv_const(f, size[1])};
    return fy_out_set(f, 0, fy_in_dtype(f, 0), 4, d);
}

/* Bin p of `bins` over `n` elements from `start`: the elements that it touches, inside [0, most). Exact, in integers. */
static void roi_bin(int64_t *lo, int64_t *hi, int64_t p, int64_t bins, int64_t start, int64_t n, int64_t most) {
    *lo = start + p * n / bins;
    *hi = start + ((p + 1) * n + bins - 1) / bins;
    *lo = *lo < 0 ? 0 : *lo > most ? most : *lo;
    *hi = *hi < 0 ? 0 : *hi > most ? most : *hi;
}

/* A corner in elements. The product is rounded to f32 first, as engines compute it: 5 * 0.7f is meant as 3.5, and rounds up. */
static double roi_corner(double v, double scale, bool narrow) { return round(narrow ? (double)(float)(v * scale) : v * scale); }

static fy_status ref_roi_pool(const fy_call *c) {
    const fy_tensor *xt = fy_arg(c, 0);
    fy_tensor *y;
    int64_t size[2], box[4];
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    FY_TRY(pooled_shape(size, c->node, c->e));
    const double *x = fy_arg_f64(c, 0), *roi = fy_arg_f64(c, 1), scale = fy_attr_f(c->node, "spatial_scale");
    FY_NOMEM(c->e, x && roi);
    int64_t channels = xt->dim[1], h = xt->dim[2], w = xt->dim[3], lo[2], hi[2];
    for (int64_t n = 0; n < y->dim[0]; n++, roi += 5) {
        FY_NEED(c->e, roi[0] >= 0 && roi[0] < (double)xt->dim[0], INDEX, "roi %lld is in batch %g of %lld", (long long)n, roi[0], (long long)xt->dim[0]);
        for (int i = 0; i < 4; i++) {
            double at = roi_corner(roi[1 + i], scale, xt->dtype != FERRY_DOUBLE);
            FY_NEED(c->e, fabs(at) < 0x1p31, VALUE, "a corner of roi %lld is at %g", (long long)n, at);
            box[i] = (int64_t)at;
        }
        int64_t rw = box[2] - box[0] + 1, rh = box[3] - box[1] + 1;
        rw = rw < 1 ? 1 : rw;                                /* a box turned over counts as one element */
        rh = rh < 1 ? 1 : rh;
        for (int64_t p = 0; p < size[0] * size[1]; p++) {
            roi_bin(&lo[0], &hi[0], p / size[1], size[0], box[1], rh, h);
            roi_bin(&lo[1], &hi[1], p % size[1], size[1], box[0], rw, w);
            for (int64_t k = 0; k < channels; k++) {
                const double *plane = x + ((int64_t)roi[0] * channels + k) * h * w;
                double most = lo[0] < hi[0] && lo[1] < hi[1] ? -HUGE_VAL : 0;
                for (int64_t i = lo[0]; i < hi[0]; i++)
                    for (int64_t j = lo[1]; j < hi[1]; j++)
                        if (plane[i * w + j] > most || isnan(plane[i * w + j])) most = plane[i * w + j];
                fy_put_f64(y, (n * channels + k) * size[0] * size[1] + p, most);
            }
        }
    }
    return FY_OK;
}

static const fy_attr_spec roi_pool_attrs[] = {{"pooled_shape", FY_ATTR_INTS, FY_REQUIRED}, {"spatial_scale", FY_ATTR_FLOAT, "1.0"}, {0}};
const fy_op fy_op_max_roi_pool = {.name = "MaxRoiPool", .domain = "", .attrs = roi_pool_attrs, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1,
    .since = 1, .first = 1, .types = "T=" FY_T_FLOAT "|T,T|T", .infer = infer_roi_pool, .ref = ref_roi_pool, .flags = FY_PURE};
