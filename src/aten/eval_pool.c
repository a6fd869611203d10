/* SPDX-License-Identifier: Apache-2.0
 * eval_pool.c - pooling, resizing and grid sampling for the evaluator. Spatial axes are seen as three, missing ones of
 * size 1. */
#include "aten/eval.h"

#include <math.h>

/* x [planes, in0, in1, in2] -> y [planes, out0, out1, out2] */
typedef struct pool {
    int64_t       planes, in[3], out[3], k[3], step[3], pad[3], dil[3], divisor;
    bool          average, include_pad, adaptive;
    const double *x;
    double       *y;
    int64_t      *index;
} pool;

static void window(const pool *p, int d, int64_t o, int64_t *a, int64_t *b) {
    *a = o * p->in[d] / p->out[d];
    *b = ((o + 1) * p->in[d] + p->out[d] - 1) / p->out[d];
}

static void max_at(const pool *p, const double *x, const int64_t *o, double *best, int64_t *where) {
    int64_t a[3], n[3], step[3];
    for (int d = 0; d < 3; d++) {
        if (p->adaptive) { int64_t b; window(p, d, o[d], &a[d], &b); n[d] = b - a[d]; step[d] = 1; }
        else { a[d] = o[d] * p->step[d] - p->pad[d]; n[d] = p->k[d]; step[d] = p->dil[d]; }
    }
    *best = -(double)INFINITY;
    *where = -1;
    for (int64_t i = 0; i < n[0]; i++)
        for (int64_t j = 0; j < n[1]; j++)
            for (int64_t k = 0; k < n[2]; k++) {
                int64_t z = a[0] + i * step[0], y = a[1] + j * step[1], w = a[2] + k * step[2];
                if (z < 0 || z >= p->in[0] || y < 0 || y >= p->in[1] || w < 0 || w >= p->in[2]) continue;
                int64_t at = (z * p->in[1] + y) * p->in[2] + w;
                if (*where < 0 || x[at] > *best || isnan(x[at])) { *best = x[at]; *where = at; }
            }
}

static double mean_at(const pool *p, const double *x, const int64_t *o) {
    int64_t a[3], b[3], full = 1, count = 1;
    for (int d = 0; d < 3; d++) {
        if (p->adaptive) window(p, d, o[d], &a[d], &b[d]);
        else {
            a[d] = o[d] * p->step[d] - p->pad[d];
            b[d] = a[d] + p->k[d] < p->in[d] + p->pad[d] ? a[d] + p->k[d] : p->in[d] + p->pad[d];
            full *= b[d] - a[d];
            if (a[d] < 0) a[d] = 0;
            if (b[d] > p->in[d]) b[d] = p->in[d];
        }
        count *= b[d] - a[d];
    }
    double s = 0;
    for (int64_t z = a[0]; z < b[0]; z++)
        for (int64_t y = a[1]; y < b[1]; y++)
            for (int64_t w = a[2]; w < b[2]; w++) s += x[(z * p->in[1] + y) * p->in[2] + w];
    return s / (double)(p->adaptive ? count : p->divisor ? p->divisor : p->include_pad ? full : count);
}

static void pool_run(void *arg, int64_t p0, int64_t p1) {
    const pool *p = arg;
    int64_t     in = p->in[0] * p->in[1] * p->in[2], out = p->out[0] * p->out[1] * p->out[2];
    for (int64_t c = p0; c < p1; c++)
        for (int64_t i = 0; i < out; i++) {
            int64_t o[3] = {i / (p->out[1] * p->out[2]), i / p->out[2] % p->out[1], i % p->out[2]}, where;
            if (p->average) { p->y[c * out + i] = mean_at(p, p->x + c * in, o); continue; }
            max_at(p, p->x + c * in, o, &p->y[c * out + i], &where);
            if (p->index) p->index[c * out + i] = where;
        }
}

enum { MAX = 0, AVG = 1, ADAPTIVE = 2, INDICES = 4 };        /* k of eval.def: nd * 8 + flags */

fy_status fy_at_pool(fy_eval *v) {
    fy_et   x, o, y, idx = {0};
    int     nd = v->k / 8, flags = v->k % 8, n;
    int64_t dim[FY_MAX_RANK], got[8];
    bool    ceil_mode = false;
    pool    p = {.average = flags & AVG, .adaptive = flags & ADAPTIVE, .include_pad = true, .planes = 1, .in = {1, 1, 1}, .out = {1, 1, 1}};
    for (int d = 0; d < 3; d++) p.k[d] = p.step[d] = p.dil[d] = 1;
    FY_TRY(fy_ev_in(v, "self", &x));
    FY_NEED(v->e, x.t.rank == nd + 1 || x.t.rank == nd + 2, SHAPE, "pooling over %d axes of rank %d", nd, x.t.rank);
    FY_TRY(fy_ev_bool(v, "ceil_mode", &ceil_mode));
    FY_TRY(fy_ev_bool(v, "count_include_pad", &p.include_pad));
    FY_TRY(fy_ev_int(v, "divisor_override", &p.divisor));
    if (p.adaptive) {
        FY_TRY(fy_ev_ints(v, "output_size", got, 8, &n));
        FY_NEED(v->e, n == nd || n == 1, SHAPE, "pooling to %d sizes", n);
    } else {
        FY_TRY(fy_ev_intn(v, "kernel_size", nd, p.k + 3 - nd, 1));
        FY_TRY(fy_ev_ints(v, "stride", got, 8, &n));
        if (n <= 0) memcpy(p.step, p.k, sizeof p.k);
        else FY_TRY(fy_ev_intn(v, "stride", nd, p.step + 3 - nd, 1));
        FY_TRY(fy_ev_intn(v, "padding", nd, p.pad + 3 - nd, 0));
        FY_TRY(fy_ev_intn(v, "dilation", nd, p.dil + 3 - nd, 1));
    }
    memcpy(dim, x.t.dim, sizeof dim);
    for (int i = 0; i < x.t.rank - nd; i++) p.planes *= x.t.dim[i];
    for (int i = 0; i < nd; i++) {
        int     d = 3 - nd + i;
        int64_t at = x.t.rank - nd + i;
        p.in[d] = x.t.dim[at];
        if (p.adaptive) p.out[d] = got[n == 1 ? 0 : i] < 0 ? p.in[d] : got[n == 1 ? 0 : i];
        else {
            FY_NEED(v->e, p.k[d] > 0 && p.step[d] > 0 && p.dil[d] > 0 && p.pad[d] >= 0 && p.pad[d] <= p.k[d] && p.k[d] < 1 << 20 && p.dil[d] < 1 << 20 && p.step[d] < 1 << 30, VALUE,
                    "pooling with kernel %lld, stride %lld", (long long)p.k[d], (long long)p.step[d]);
            int64_t room = p.in[d] + 2 * p.pad[d] - p.dil[d] * (p.k[d] - 1) - 1;
            FY_NEED(v->e, room >= 0, SHAPE, "pooling: the window is larger than its input");
            p.out[d] = (room + (ceil_mode ? p.step[d] - 1 : 0)) / p.step[d] + 1;
            if (ceil_mode && (p.out[d] - 1) * p.step[d] >= p.in[d] + p.pad[d]) p.out[d]--;
        }
        dim[at] = p.out[d];
    }
    const fy_dtype dtype = x.dtype;
    const bool whole = fy_ev_wide(dtype) == FERRY_INT64;          /* bytes and the like: their values are numbers of double as well */
    if (whole) {
        FY_TRY(fy_ev_cast(v, &x, FERRY_DOUBLE));
        FY_TRY(fy_ev_temp(v, &y, FERRY_DOUBLE, x.t.rank, dim));
    }
    p.x = fy_ev_dense(v, &x);
    if (!p.x) return FY_E_NOMEM;
    FY_TRY(fy_ev_new(v, &o, dtype, x.t.rank, dim));
    p.y = fy_ev_at(whole ? &y : &o);
    if (flags & INDICES) {
        fy_status s = fy_ev_new(v, &idx, FERRY_INT64, x.t.rank, dim);
        if (s != FY_OK) { fy_tensor_free(&o.t); return s; }
        p.index = fy_ev_at_i(&idx);
    }
    bool empty = p.in[0] * p.in[1] * p.in[2] == 0;
    if (!empty) fy_for(v->pool, p.planes, 1 + 4096 / (p.out[0] * p.out[1] * p.out[2] + 1), pool_run, &p);
    for (int64_t i = 0; whole && i < p.planes * p.out[0] * p.out[1] * p.out[2]; i++) fy_ev_at_i(&o)[i] = (int64_t)p.y[i];
    fy_status s = fy_ev_out(v, 0, &o);
    if (!(flags & INDICES)) return s;
    if (s != FY_OK) { fy_tensor_free(&idx.t); return s; }
    return fy_ev_out(v, 1, &idx);
}

/* ---- resizing --------------------------------------------------------------------------------------------------------------- */

enum { NEAREST, LINEAR, CUBIC, NEAREST_EXACT };

static double cubic1(double x) { return ((-0.75 + 2) * x - (-0.75 + 3)) * x * x + 1; }
static double cubic2(double x) { return ((-0.75 * x - 5 * -0.75) * x + 8 * -0.75) * x - 4 * -0.75; }

/* Source positions and weights (4 each) of output `o` along one axis. */
static void taps(int mode, bool corners, int64_t in, int64_t out, double scale, int64_t o, int64_t *at, double *w) {
    memset(w, 0, sizeof(double) * 4);
    memset(at, 0, sizeof(int64_t) * 4);
    if (mode == NEAREST || mode == NEAREST_EXACT) {
        float f = mode == NEAREST ? (float)o * (float)scale : ((float)o + 0.5f) * (float)scale;
        int64_t i = (int64_t)floorf(f);
        at[0] = i < in - 1 ? i : in - 1;
        w[0] = 1;
        return;
    }
    double src = corners ? (out > 1 ? (double)o * (double)(in - 1) / (double)(out - 1) : 0) : scale * ((double)o + 0.5) - 0.5;
    if (mode == LINEAR) {
        if (src < 0) src = 0;
        int64_t i = (int64_t)floor(src);
        if (i > in - 1) i = in - 1;
        at[0] = i;
        at[1] = i < in - 1 ? i + 1 : i;
        w[1] = src - (double)i;
        w[0] = 1 - w[1];
        return;
    }
    double f = floor(src), t = src - f;
    w[0] = cubic2(t + 1), w[1] = cubic1(t), w[2] = cubic1(1 - t), w[3] = cubic2(2 - t);
    for (int k = 0; k < 4; k++) {
        int64_t i = (int64_t)f - 1 + k;
        at[k] = i < 0 ? 0 : i > in - 1 ? in - 1 : i;
    }
}

/* One axis at a time: x [outer, in, inner] -> [outer, out, inner]. */
fy_status fy_at_upsample(fy_eval *v) {                       /* k: nd * 8 + mode */
    fy_et   x;
    int     nd = v->k / 8, mode = v->k % 8, n, ns;
    int64_t size[8];
    double  factor[8] = {0};
    bool    corners = false;
    static const char *const scale_names[3][3] = {{"scales"}, {"scales_h", "scales_w"}, {"scales_d", "scales_h", "scales_w"}};
    FY_TRY(fy_ev_in(v, fy_pnode_arg(v->node, "input") ? "input" : "self", &x));
    FY_NEED(v->e, x.t.rank == nd + 2 && fy_dtype_class(x.dtype) == FY_CLASS_F, SHAPE, "resizing %d axes of rank %d", nd, x.t.rank);
    FY_TRY(fy_ev_ints(v, "output_size", size, 8, &n));
    FY_TRY(fy_ev_floats(v, "scale_factors", factor, 8, &ns));
    FY_TRY(fy_ev_bool(v, "align_corners", &corners));
    if (ns < 0)
        for (int i = 0; i < nd; i++) FY_TRY(fy_ev_f64(v, scale_names[nd - 1][i], &factor[i]));
    FY_NEED(v->e, n == nd || (n < 0 && ns == nd), SHAPE, "resizing to %d sizes", n);
    fy_et cur = x;
    for (int d = 0; d < nd; d++) {
        int64_t dim[FY_MAX_RANK], in = cur.t.dim[2 + d], out = n == nd ? size[d] : (int64_t)floor((double)in * factor[d]), inner = 1, outer = 1;
        double  scale = !corners && factor[d] > 0 ? 1 / factor[d] : (double)in / (double)(out ? out : 1);
        FY_NEED(v->e, out > 0 && in > 0 && out < 1 << 24, SHAPE, "resizing %lld to %lld", (long long)in, (long long)out);
        memcpy(dim, cur.t.dim, sizeof dim);
        dim[2 + d] = out;
        for (int i = 0; i < 2 + d; i++) outer *= dim[i];
        for (int i = 3 + d; i < nd + 2; i++) inner *= dim[i];
        const double *p = fy_ev_dense(v, &cur);
        fy_et         o;
        if (!p) return FY_E_NOMEM;
        FY_TRY(fy_ev_temp(v, &o, FERRY_DOUBLE, nd + 2, dim));
        double *y = fy_ev_at(&o);
        for (int64_t i = 0; i < out; i++) {
            int64_t at[4];
            double  w[4];
            taps(mode, corners, in, out, scale, i, at, w);
            int m = mode == CUBIC ? 4 : mode == LINEAR ? 2 : 1;
            for (int64_t a = 0; a < outer; a++)
                for (int64_t b = 0; b < inner; b++) {
                    double s = 0;
                    for (int k = 0; k < m; k++) s += w[k] * p[(a * in + at[k]) * inner + b];
                    y[(a * out + i) * inner + b] = s;
                }
        }
        cur = o;
    }
    cur.dtype = x.dtype;
    fy_et o;
    FY_TRY(fy_ev_copy(v, &o, &cur));
    return fy_ev_out(v, 0, &o);
}

/* ---- grid sampling ------------------------------------------------------------------------------------------------------------ */

static double unnormalise(double g, int64_t size, bool corners) { return corners ? (g + 1) / 2 * (double)(size - 1) : ((g + 1) * (double)size - 1) / 2; }

static double reflect(double x, double lo, double hi) {
    if (hi == lo) return lo;
    double span = hi - lo, d = fmod(fabs(x - lo), 2 * span);
    return lo + (d > span ? 2 * span - d : d);
}

static double place(double x, int64_t size, int padding, bool corners) {
    if (padding == 2) x = corners ? reflect(x, 0, (double)(size - 1)) : reflect(x, -0.5, (double)size - 0.5);
    if (padding) x = x < 0 ? 0 : x > (double)(size - 1) ? (double)(size - 1) : x;
    return x;
}

static fy_status grid_arguments(fy_eval *v, fy_et *x, fy_et *g, int64_t *mode, int64_t *padding, bool *corners) {
    FY_TRY(fy_ev_in(v, "input", x));
    FY_TRY(fy_ev_in(v, "grid", g));
    FY_TRY(fy_ev_int(v, "interpolation_mode", mode));
    FY_TRY(fy_ev_int(v, "padding_mode", padding));
    return fy_ev_bool(v, "align_corners", corners);
}

fy_status fy_at_grid_sample(fy_eval *v) {
    fy_et   x, g, o;
    int64_t mode = 0, padding = 0;
    bool    corners = false;
    FY_TRY(grid_arguments(v, &x, &g, &mode, &padding, &corners));
    if (x.t.rank == 5) return fy_at_grid_sample_3d(v);
    FY_NEED(v->e, x.t.rank == 4 && g.t.rank == 4 && g.t.dim[3] == 2 && g.t.dim[0] == x.t.dim[0] && fy_count(&x.t), SHAPE, "grid sampling of rank %d", x.t.rank);
    const double *px = fy_ev_dense(v, &x), *pg = fy_ev_dense(v, &g);
    if (!px || !pg) return FY_E_NOMEM;
    int64_t C = x.t.dim[1], H = x.t.dim[2], W = x.t.dim[3], OH = g.t.dim[1], OW = g.t.dim[2];
    FY_TRY(fy_ev_new(v, &o, x.dtype, 4, (int64_t[]){x.t.dim[0], C, OH, OW}));
    for (int64_t i = 0, n = x.t.dim[0] * OH * OW; i < n; i++) {
        double  gx = unnormalise(pg[2 * i], W, corners), gy = unnormalise(pg[2 * i + 1], H, corners), wx[4] = {0}, wy[4] = {0};
        int     m = mode == 2 ? 4 : mode == 0 ? 2 : 1;
        if (mode != 2) { gx = place(gx, W, (int)padding, corners); gy = place(gy, H, (int)padding, corners); }
        if (!isfinite(gx) || fabs(gx) > 1e15) gx = -100;
        if (!isfinite(gy) || fabs(gy) > 1e15) gy = -100;
        double fx = mode == 1 ? nearbyint(gx) : floor(gx), fy = mode == 1 ? nearbyint(gy) : floor(gy), tx = gx - fx, ty = gy - fy;
        if (m == 1) wx[0] = wy[0] = 1;
        else if (m == 2) { wx[0] = 1 - tx, wx[1] = tx, wy[0] = 1 - ty, wy[1] = ty; }
        else {
            wx[0] = cubic2(tx + 1), wx[1] = cubic1(tx), wx[2] = cubic1(1 - tx), wx[3] = cubic2(2 - tx);
            wy[0] = cubic2(ty + 1), wy[1] = cubic1(ty), wy[2] = cubic1(1 - ty), wy[3] = cubic2(2 - ty);
            fx -= 1, fy -= 1;
        }
        int64_t b = i / (OH * OW);
        for (int64_t c = 0; c < C; c++) {
            double s = 0;
            for (int j = 0; j < m; j++)
                for (int k = 0; k < m; k++) {
                    double yy = fy + j, xx = fx + k;
                    if (m == 4) { yy = place(yy, H, (int)padding, corners); xx = place(xx, W, (int)padding, corners); }
                    int64_t iy = (int64_t)yy, ix = (int64_t)xx;
                    if (iy < 0 || iy >= H || ix < 0 || ix >= W) continue;
                    s += wy[j] * wx[k] * px[((b * C + c) * H + iy) * W + ix];
                }
            fy_ev_at(&o)[(b * C + c) * OH * OW + i % (OH * OW)] = s;
        }
    }
    return fy_ev_out(v, 0, &o);
}

/* Volumes: trilinear (0) or nearest (1), grid [n,d,h,w,3] of (x, y, z). */
fy_status fy_at_grid_sample_3d(fy_eval *v) {
    fy_et   x, g, o;
    int64_t mode = 0, padding = 0;
    bool    corners = false;
    FY_TRY(grid_arguments(v, &x, &g, &mode, &padding, &corners));
    FY_NEED(v->e, x.t.rank == 5 && g.t.rank == 5 && g.t.dim[4] == 3 && g.t.dim[0] == x.t.dim[0] && fy_count(&x.t) && (mode == 0 || mode == 1), SHAPE, "grid sampling of rank %d in mode %lld", x.t.rank, (long long)mode);
    const double *px = fy_ev_dense(v, &x), *pg = fy_ev_dense(v, &g);
    if (!px || !pg) return FY_E_NOMEM;
    int64_t C = x.t.dim[1], plane = g.t.dim[1] * g.t.dim[2] * g.t.dim[3], volume = x.t.dim[2] * x.t.dim[3] * x.t.dim[4];
    FY_TRY(fy_ev_new(v, &o, x.dtype, 5, (int64_t[]){x.t.dim[0], C, g.t.dim[1], g.t.dim[2], g.t.dim[3]}));
    for (int64_t i = 0, n = x.t.dim[0] * plane; i < n; i++) {
        double from[3], part[3];
        for (int d = 0; d < 3; d++) {                        /* d, h, w; the grid counts the other way */
            double at = place(unnormalise(pg[3 * i + 2 - d], x.t.dim[2 + d], corners), x.t.dim[2 + d], (int)padding, corners);
            if (!isfinite(at) || fabs(at) > 1e15) at = -100;
            from[d] = mode ? nearbyint(at) : floor(at);
            part[d] = mode ? 0 : at - from[d];
        }
        for (int64_t c = 0; c < C; c++) {
            double sum = 0;
            for (int corner = 0; corner < (mode ? 1 : 8); corner++) {
                int64_t at = 0;
                double  w = 1;
                bool    inside = true;
                for (int d = 0; d < 3; d++) {
                    int     up = corner >> (2 - d) & 1;
                    int64_t p = (int64_t)from[d] + up;
                    inside = inside && p >= 0 && p < x.t.dim[2 + d];
                    at = at * x.t.dim[2 + d] + p;
                    w *= up ? part[d] : 1 - part[d];
                }
                if (inside) sum += w * px[(i / plane * C + c) * volume + at];
            }
            fy_ev_at(&o)[(i / plane * C + c) * plane + i % plane] = sum;
        }
    }
    return fy_ev_out(v, 0, &o);
}

/* ---- resizing with antialiasing: a filter as wide as an output pixel ---------------------------------------------------------- */

static double filter(int mode, double x) {
    x = fabs(x);
    if (mode == LINEAR) return x < 1 ? 1 - x : 0;
    const double a = -0.5;
    return x < 1 ? ((a + 2) * x - (a + 3)) * x * x + 1 : x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/* y [outer, out, inner] from x [outer, in, inner] */
static void smooth_axis(int mode, double scale, int64_t outer, int64_t in, int64_t out, int64_t inner, const double *x, double *y) {
    double wide = scale > 1 ? scale : 1, support = (mode == LINEAR ? 1 : 2) * wide;
    for (int64_t i = 0; i < out; i++) {
        double  centre = scale * ((double)i + 0.5), total = 0;
        int64_t a = (int64_t)fmax(centre - support + 0.5, 0), b = (int64_t)fmin(centre + support + 0.5, (double)in);
        for (int64_t k = a; k < b; k++) total += filter(mode, ((double)k - centre + 0.5) / wide);
        for (int64_t k = a; k < b; k++) {
            double w = filter(mode, ((double)k - centre + 0.5) / wide) / (total != 0 ? total : 1);
            for (int64_t p = 0; p < outer; p++)
                for (int64_t q = 0; q < inner; q++) y[(p * out + i) * inner + q] += w * x[(p * in + k) * inner + q];
        }
    }
}

fy_status fy_at_upsample_aa(fy_eval *v) {                    /* k: LINEAR or CUBIC */
    fy_et   x, mid, o;
    int64_t size[2];
    double  factor[2] = {0};
    bool    corners = false;
    int     n, ns;
    FY_TRY(fy_ev_in(v, fy_pnode_arg(v->node, "input") ? "input" : "self", &x));
    FY_TRY(fy_ev_ints(v, "output_size", size, 2, &n));
    FY_TRY(fy_ev_floats(v, "scale_factors", factor, 2, &ns));
    FY_TRY(fy_ev_bool(v, "align_corners", &corners));
    if (ns < 0) {
        FY_TRY(fy_ev_f64(v, "scales_h", &factor[0]));
        FY_TRY(fy_ev_f64(v, "scales_w", &factor[1]));
    }
    FY_NEED(v->e, x.t.rank == 4 && fy_dtype_float(x.dtype) && (n == 2 || (n < 0 && ns == 2)), SHAPE, "resizing rank %d to %d sizes", x.t.rank, n);
    double scale[2];
    for (int d = 0; d < 2; d++) {
        int64_t in = x.t.dim[2 + d];
        if (n != 2) size[d] = (int64_t)floor((double)in * factor[d]);
        FY_NEED(v->e, in > 0 && size[d] > 0 && size[d] < 1 << 24, SHAPE, "resizing %lld to %lld", (long long)in, (long long)size[d]);
        scale[d] = corners ? (size[d] > 1 ? (double)(in - 1) / (double)(size[d] - 1) : 0) : factor[d] > 0 ? 1 / factor[d] : (double)in / (double)size[d];
    }
    const double *p = fy_ev_dense(v, &x);
    if (!p) return FY_E_NOMEM;
    int64_t planes = x.t.dim[0] * x.t.dim[1], H = x.t.dim[2], W = x.t.dim[3];
    FY_TRY(fy_ev_temp(v, &mid, FERRY_DOUBLE, 4, (int64_t[]){x.t.dim[0], x.t.dim[1], H, size[1]}));
    memset(mid.t.data, 0, (size_t)fy_count(&mid.t) * sizeof(double));
    smooth_axis(v->k, scale[1], planes * H, W, size[1], 1, p, fy_ev_at(&mid));
    FY_TRY(fy_ev_new(v, &o, x.dtype, 4, (int64_t[]){x.t.dim[0], x.t.dim[1], size[0], size[1]}));
    smooth_axis(v->k, scale[0], planes, H, size[0], size[1], fy_ev_at(&mid), fy_ev_at(&o));
    return fy_ev_out(v, 0, &o);
}
