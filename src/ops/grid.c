/* SPDX-License-Identifier: Apache-2.0
 * grid.c - AffineGrid (where to look) and GridSample (what is there), for any number of spatial axes.
 * Grid coordinates run from -1 to 1 over each axis, last axis first; align_corners puts the ends on the outer elements' centres,
 * otherwise on their outer edges. */
#include "ops/common.h"
#include "ops/move.h"
#include "ops/ops.h"

#include <math.h>
#include <string.h>

#define GRID_DIMS 4                      /* spatial axes; 4 taps each for cubic */

/* ---- AffineGrid ---------------------------------------------------------------------------------------------------- */

static fy_status infer_affine_grid(fy_infer *f) {
    const fy_dim *d[GRID_DIMS + 1], *len = fy_in_dim(f, 1, 0);
    int64_t n, v;
    const fy_dim *const *e = fy_in_elems(f, 1, &n);
    if (!e && (!len || !fy_dim_known(len, &n))) return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), -1);
    FY_NEED(f->e, n == 4 || n == 5, SHAPE, "size has %lld values; it must be [n, c, h, w] or [n, c, d, h, w]", (long long)n);
    if (!e) return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), (int)n);
    for (int i = 0; i < n; i++) FY_NEED(f->e, !fy_dim_known(e[i], &v) || v >= 0, VALUE, "size %d is %lld", i, (long long)v);
    d[0] = e[0];
    for (int i = 2; i < n; i++) d[i - 1] = e[i];
    d[n - 1] = fy_mv_const(f, n - 2);
    return fy_out_set(f, 0, fy_in_dtype(f, 0), (int)n, d);
}

typedef struct affine { fy_tensor *y; const double *theta, *across; int nd; bool align; } affine;      /* across: positions along the last axis */

static double affine_at(const affine *w, int64_t i, int64_t d) { return w->align ? d > 1 ? 2 * (double)i / ((double)d - 1) - 1 : -1 : (2 * (double)i + 1) / (double)d - 1; }

/* Rows along the last axis: what all of a row share is summed once. */
static void affine_rows(void *arg, int64_t begin, int64_t end) {
    const affine *w = arg;
    const int nd = w->nd;
    const int64_t *dim = w->y->dim, wide = dim[nd];
    double at[GRID_DIMS + 1], base[GRID_DIMS], sum[FY_K_BLOCK];
    at[nd] = 1;
    for (int64_t r = begin; r < end; r++) {
        int64_t rest = r, some;
        for (int a = nd - 1; a >= 1; a--) {                      /* axis a of y; coordinates are last axis first */
            at[nd - a] = affine_at(w, rest % dim[a], dim[a]);
            rest /= dim[a];
        }
        const double *theta = w->theta + rest * nd * (nd + 1);
        for (int j = 0; j < nd; j++) {
            base[j] = 0;
            for (int q = 1; q <= nd; q++) base[j] += theta[j * (nd + 1) + q] * at[q];
        }
        for (int64_t i = 0; i < wide; i += some) {
            double *to = sum;
            some = wide - i < FY_K_BLOCK / nd ? wide - i : FY_K_BLOCK / nd;
            for (int64_t k = 0; k < some; k++) {
                const double x = w->across[i + k];
                for (int j = 0; j < nd; j++) *to++ = theta[j * (nd + 1)] * x + base[j];
            }
            fy_store_f64(w->y, (r * wide + i) * nd, some * nd, sum);
        }
    }
}

static fy_status ref_affine_grid(const fy_call *c) {
    const fy_tensor *t = fy_arg(c, 0);
    fy_tensor *y;
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    int nd = y->rank - 2;
    bool align = fy_attr_i(c->node, "align_corners") != 0;
    const double *theta = fy_arg_f64(c, 0);
    FY_NOMEM(c->e, theta);
    FY_NEED(c->e, t->rank == 3 && t->dim[0] == y->dim[0] && t->dim[1] == nd && t->dim[2] == nd + 1, SHAPE, "theta must be [%lld, %d, %d]",
            (long long)y->dim[0], nd, nd + 1);
    affine a = {.y = y, .theta = theta, .nd = nd, .align = align};
    if (!nd || !fy_count(y)) return FY_OK;
    double *across = FY_NEWN(c->scratch, double, y->dim[nd]);
    FY_NOMEM(c->e, a.across = across);
    for (int64_t i = 0; i < y->dim[nd]; i++) across[i] = affine_at(&a, i, y->dim[nd]);
    fy_k_for(c, fy_count(y) / y->dim[nd] / nd, 1 + FY_K_GRAIN / y->dim[nd], affine_rows, &a);
    return FY_OK;
}

static const fy_attr_spec affine_attrs[] = {{"align_corners", FY_ATTR_INT, "0"}, {0}};
const fy_op fy_op_affine_grid = {.name = "AffineGrid", .domain = "", .attrs = affine_attrs, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .since = 20,
    .first = 20, .types = "T=" FY_T_FLOAT "|T,i64|T", .infer = infer_affine_grid, .ref = ref_affine_grid, .flags = FY_PURE};

/* ---- GridSample ---------------------------------------------------------------------------------------------------- */

typedef enum grid_pad { PAD_ZEROS, PAD_BORDER, PAD_REFLECTION } grid_pad;

static fy_status infer_grid_sample(fy_infer *f) {
    const fy_dim *d[FY_MAX_RANK], *n;
    int rank = fy_in_rank(f, 0), rg = fy_in_rank(f, 1);
    FY_NEED(f->e, rank < 0 || (rank >= 3 && rank <= GRID_DIMS + 2), SHAPE, "the input has rank %d; 3 to %d are supported", rank,
            GRID_DIMS + 2);
    FY_NEED(f->e, rank < 0 || rg < 0 || rank == rg, SHAPE, "the input has rank %d, the grid %d", rank, rg);
    if (rank < 0 || rg < 0) return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), rank < 0 ? rg : rank);
    FY_TRY(fy_mv_same(f, &n, fy_in_dim(f, 0, 0), fy_in_dim(f, 1, 0), "batch sizes of input and grid"));
    FY_TRY(fy_mv_same(f, &d[2], fy_in_dim(f, 1, rg - 1), fy_mv_const(f, rank - 2), "the grid's coordinates and the spatial axes"));
    d[0] = n;
    d[1] = fy_in_dim(f, 0, 1);
    for (int a = 2; a < rank; a++) d[a] = fy_in_dim(f, 1, a - 1);
    return fy_out_set(f, 0, fy_in_dtype(f, 0), rank, d);
}

static double reflect(double x, double lo, double hi) {
    double span = hi - lo;
    if (!(span > 0)) return lo;
    double r = fmod(fabs(x - lo), 2 * span);
    return r > span ? hi - (r - span) : lo + r;
}

/* Index of element i of an axis under the padding, or -1 for zero. */
static int64_t padded(double i, int64_t d, grid_pad pad, double lo, double hi) {
    if (i >= 0 && i < (double)d) return (int64_t)i;
    if (!d || pad == PAD_ZEROS || !isfinite(i)) return -1;
    if (pad == PAD_REFLECTION) i = trunc(reflect(i, lo, hi));
    return i < 0 ? 0 : i >= (double)d ? d - 1 : (int64_t)i;
}

static void cubic_weights(double *w, double x) {
    const double a = -0.75;
    w[0] = ((a * (x + 1) - 5 * a) * (x + 1) + 8 * a) * (x + 1) - 4 * a;
    w[1] = ((a + 2) * x - (a + 3)) * x * x + 1;
    w[2] = ((a + 2) * (1 - x) - (a + 3)) * (1 - x) * (1 - x) + 1;
    w[3] = ((a * (2 - x) - 5 * a) * (2 - x) + 8 * a) * (2 - x) - 4 * a;
}

bool fy_grid_of(fy_grid *g, const fy_node *n) {
    static const char *const modes[] = {"nearest", "linear", "cubic"}, *const pads[] = {"zeros", "border", "reflection"};
    *g = (fy_grid){.align = fy_attr_i(n, "align_corners") != 0};
    while (g->mode < 3 && !fy_attr_is(n, "mode", modes[g->mode])) g->mode++;
    while (g->pad < 3 && !fy_attr_is(n, "padding_mode", pads[g->pad])) g->pad++;
    return g->mode < 3 && g->pad < 3;
}

int fy_grid_taps(const fy_grid *g, int64_t *at, double *w, double v, int64_t d) {
    const int mode = g->mode;
    const grid_pad pad = (grid_pad)g->pad;
    const bool align = g->align;
    double lo = align ? 0 : -0.5, hi = align ? (double)d - 1 : (double)d - 0.5, size = (double)d;
    double x = align ? (v + 1) / 2 * (size - 1) : ((v + 1) * size - 1) / 2;
    if (mode == 0) x = rint(x);
    if (isnan(x)) x = pad == PAD_ZEROS ? -100 : 0;
    if ((mode != 2 || !isfinite(x)) && (x < lo || x > hi)) {     /* cubic pads each tap, not the position between them */
        if (pad == PAD_BORDER) x = x < 0 ? 0 : x > size - 1 ? size - 1 : x;
        else if (pad == PAD_REFLECTION) x = isfinite(x) ? reflect(x, lo, hi) : 0;
    }
    if (mode == 0) { at[0] = padded(x, d, pad, lo, hi); w[0] = 1; return 1; }
    double base = floor(x), part = x - base;
    if (!isfinite(part)) part = 0;
    if (mode == 1) {
        w[0] = 1 - part;
        w[1] = part;
        for (int k = 0; k < 2; k++) at[k] = padded(base + k, d, pad, lo, hi);
        return 2;
    }
    cubic_weights(w, part);
    for (int k = 0; k < 4; k++) at[k] = padded(base + k - 1, d, pad, lo, hi);
    return 4;
}

typedef struct sampling { const fy_tensor *x; fy_tensor *y; const double *src, *grid; const fy_grid *g; int nd, parts; int64_t space, plane; } sampling;

/* Points of all images: what is read, and with which weights, is the same in every channel. */
static void sample_points(void *arg, int64_t begin, int64_t end) {
    enum { MOST = 256 };                                         /* 4 taps along each axis */
    const sampling *s = arg;
    const fy_tensor *x = s->x;
    const int64_t bytes = fy_elem_bytes(x->dtype);
    for (int64_t k = begin; k < end; k++) {
        const int64_t n = k / s->space;
        int64_t off[MOST];
        double weight[MOST];
        int m = 1, inside = 0;
        off[0] = 0;
        weight[0] = 1;
        for (int a = 0; a < s->nd; a++) {
            int64_t at[4];
            double w[4];
            const int count = fy_grid_taps(s->g, at, w, s->grid[k * s->nd + s->nd - 1 - a], x->dim[2 + a]);
            for (int i = m - 1; i >= 0; i--)
                for (int t = count - 1; t >= 0; t--) {           /* what is read of i lies at its new place or before it */
                    weight[i * count + t] = weight[i] * w[t];
                    off[i * count + t] = off[i] < 0 || at[t] < 0 ? -1 : off[i] * x->dim[2 + a] + at[t];
                }
            m *= count;
        }
        for (int i = 0; i < m; i++) {
            if (off[i] < 0) continue;
            weight[inside] = weight[i];
            off[inside++] = off[i];
        }
        for (int64_t ch = n * x->dim[1]; ch < (n + 1) * x->dim[1]; ch++) {
            const int64_t to = ch * s->space + k - n * s->space;
            double sum[2] = {0, 0};
            if (!s->src) {
                char *y = (char *)s->y->data + to * bytes;
                if (inside) memcpy(y, (const char *)x->data + (ch * s->plane + off[0]) * bytes, (size_t)bytes);
                else memset(y, 0, (size_t)bytes);
                continue;
            }
            const double *src = s->src + ch * s->plane * s->parts;
            for (int i = 0; i < inside; i++) {
                sum[0] += weight[i] * src[off[i] * s->parts];
                if (s->parts == 2) sum[1] += weight[i] * src[off[i] * 2 + 1];
            }
            if (s->parts == 2) fy_store_c128(s->y, to, 1, sum);
            else fy_put_f64(s->y, to, sum[0]);
        }
    }
}

static fy_status ref_grid_sample(const fy_call *c) {
    fy_tensor *y, x;
    fy_grid g;
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    FY_TRY(fy_mv_dense(c, 0, &x));
    FY_NEED(c->e, fy_grid_of(&g, c->node), ATTR, "mode must be nearest, linear or cubic, padding_mode zeros, border or reflection");
    const int mode = g.mode;
    FY_NEED(c->e, mode == 0 || fy_dtype_class(x.dtype) != FY_CLASS_S, TYPE, "strings can only be sampled with mode nearest");
    int parts = fy_dtype_class(x.dtype) == FY_CLASS_C ? 2 : 1;
    const double *grid = fy_arg_f64(c, 1);
    double *src = mode == 0 ? NULL : FY_NEWN(c->scratch, double, parts * fy_count(&x));
    FY_NOMEM(c->e, grid && (src || mode == 0));
    if (src && parts == 2) fy_load_c128(src, &x, 0, fy_count(&x));
    else if (src && fy_count(&x)) fy_load_f64(src, &x, 0, fy_count(&x));
    int nd = x.rank - 2;
    int64_t space = 1, plane = 1;
    for (int a = 0; a < nd; a++) space *= y->dim[2 + a];
    for (int a = 0; a < nd; a++) plane *= x.dim[2 + a];
    if (fy_count(y) == 0) return FY_OK;
    sampling s = {.x = &x, .y = y, .src = src, .grid = grid, .g = &g, .nd = nd, .parts = parts, .space = space, .plane = plane};
    fy_k_for(c, x.dim[0] * space, 1 + FY_K_GRAIN / (1 + 8 * x.dim[1]), sample_points, &s);
    return FY_OK;
}

static const fy_attr_spec grid_attrs[] = {{"mode", FY_ATTR_STRING, "linear"}, {"padding_mode", FY_ATTR_STRING, "zeros"}, {"align_corners", FY_ATTR_INT, "0"},
    {0}};
const fy_op fy_op_grid_sample = {.name = "GridSample", .domain = "", .attrs = grid_attrs, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .since = 22,
    .first = 16, .types = "T=*;G=" FY_T_FLOAT "|T,G|T", .infer = infer_grid_sample, .ref = ref_grid_sample, .flags = FY_PURE};
