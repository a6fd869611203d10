/* SPDX-License-Identifier: Apache-2.0
 * conv.c - convolution as an implicit matrix product, and directly where a group has one input channel.
 *
 * y[b, o, p] = bias[o] + sum over c, z, y, x (in this order) of w[o, c, z, y, x] * x[b, c, p*step - pad + tap*dilation];
 * positions outside x count as 0. All sizes are brought to three spatial dims. */
#include "tensor/product.h"

#include <string.h>

#define COLS 256                           /* most columns of one tile (NC_MOST in product.c), and of one direct piece */
#define FEW_OUT 4                          /* cin == 1 with at most so many outputs: direct */

typedef struct conv {
    fy_conv_args c;                        /* nd == 3, groups >= 1 */
    int64_t taps, pixels;                  /* kernel and output sizes, multiplied out */
    bool    dense_w;                       /* w of one output is one run of cin*taps elements */
} conv;

static double element(const void *at, fy_dtype t, int64_t i) {
    return t == FERRY_FLOAT ? (double)((const float *)at)[i] : ((const double *)at)[i];
}

static int64_t w_offset(const conv *v, int64_t k) {
    const fy_conv_args *c = &v->c;
    int64_t x = k % c->kernel[2], y = k / c->kernel[2] % c->kernel[1], z = k / (c->kernel[2] * c->kernel[1]) % c->kernel[0],
        in = k / v->taps;
    return in * c->w_in + z * c->w_dim[0] + y * c->w_dim[1] + x * c->w_dim[2];
}

static void pack_a(const fy_product *p, double *dst, int64_t batch, int64_t row, int rows, int64_t k0, int64_t kc) {
    const conv *v = p->args;
    const fy_conv_args *c = &v->c;
    int64_t base = (batch % c->groups * c->cout + row) * c->w_out;
    if (v->dense_w && c->w_dtype == FERRY_FLOAT) p->kernels->pack_f32(dst, rows, (const float *)c->w + base + k0, c->w_out, 1, rows, kc);
    else if (v->dense_w) p->kernels->pack_f64(dst, rows, (const double *)c->w + base + k0, c->w_out, 1, rows, kc);
    else
        for (int64_t k = 0; k < kc; k++) {
            int64_t at = base + w_offset(v, k0 + k);
            for (int i = 0; i < rows; i++) dst[k * rows + i] = element(c->w, c->w_dtype, at + i * c->w_out);
        }
}

/* Where the first tap of each column of a panel lies in x: coordinates and offset. */
typedef struct panel {
    int64_t z[FY_NR], y[FY_NR], x[FY_NR], at[FY_NR];
    int     n;
    bool    inside, run;                   /* all taps of all columns lie in x; the columns lie side by side */
} panel;

static void panel_init(panel *q, const conv *v, int64_t col, int n) {
    const fy_conv_args *c = &v->c;
    q->n = n;
    q->inside = q->run = n == FY_NR;
    for (int j = 0; j < n; j++, col++) {
        q->x[j] = col % c->out[2] * c->step[2] - c->pad[2];
        q->y[j] = col / c->out[2] % c->out[1] * c->step[1] - c->pad[1];
        q->z[j] = col / (c->out[2] * c->out[1]) * c->step[0] - c->pad[0];
        q->at[j] = q->z[j] * c->x_dim[0] + q->y[j] * c->x_dim[1] + q->x[j] * c->x_dim[2];
        q->inside = q->inside && q->x[j] >= 0 && q->x[j] + (c->kernel[2] - 1) * c->dilation[2] < c->in[2] && q->y[j] >= 0 &&
                    q->y[j] + (c->kernel[1] - 1) * c->dilation[1] < c->in[1] && q->z[j] >= 0 &&
                        q->z[j] + (c->kernel[0] - 1) * c->dilation[0] < c->in[0];
        q->run = q->run && q->at[j] == q->at[0] + j;
    }
}

static bool within(int64_t a, int64_t n) { return (uint64_t)a < (uint64_t)n; }

/* One panel of patches: dst[k*FY_NR + j]. `x` is this batch's and group's first channel. */
#define PATCHES(T, name) \
    static void patches_##name(const conv *v, double *dst, const T *x, const panel *q, int64_t k0, int64_t kc) { \
        const fy_conv_args *c = &v->c; \
        int64_t kx = k0 % c->kernel[2], ky = k0 / c->kernel[2] % c->kernel[1], kz = k0 / (c->kernel[2] * c->kernel[1]) % c->kernel[0], \
            in = k0 / v->taps; \
        for (int64_t k = 0; k < kc; k++, dst += FY_NR) { \
            int64_t dz = kz * c->dilation[0], dy = ky * c->dilation[1], dx = kx * c->dilation[2]; \
            int64_t tap = in * c->x_channel + dz * c->x_dim[0] + dy * c->x_dim[1] + dx * c->x_dim[2]; \
            if (q->inside && q->run) { \
                const T *s = x + (tap + q->at[0]); \
                dst[0] = (double)s[0]; dst[1] = (double)s[1]; dst[2] = (double)s[2]; dst[3] = (double)s[3]; \
                dst[4] = (double)s[4]; dst[5] = (double)s[5]; dst[6] = (double)s[6]; dst[7] = (double)s[7]; \
            } else if (q->inside) { \
                for (int j = 0; j < FY_NR; j++) dst[j] = (double)x[tap + q->at[j]]; \
            } else { \
                for (int j = 0; j < q->n; j++) \
                    dst[j] = within(q->x[j] + dx, c->in[2]) && within(q->y[j] + dy, c->in[1]) && within(q->z[j] + dz, c->in[0]) \
                        ? (double)x[tap + q->at[j]] : 0.0; \
                for (int j = q->n; j < FY_NR; j++) dst[j] = 0.0; \
            } \
            if (++kx == c->kernel[2]) { \
                kx = 0; \
                if (++ky == c->kernel[1]) { \
                    ky = 0; \
                    if (++kz == c->kernel[0]) { kz = 0; in++; } \
                } \
            } \
        } \
    }
PATCHES(float, f32)
PATCHES(double, f64)

static void pack_b(const fy_product *p, double *dst, int64_t batch, int64_t col, int64_t cols, int64_t k0, int64_t kc) {
    const conv *v = p->args;
    const fy_conv_args *c = &v->c;
    int64_t base = batch / c->groups * c->x_batch + batch % c->groups * c->cin * c->x_channel;
    for (int64_t j = 0; j < cols; j += FY_NR) {
        panel q;
        panel_init(&q, v, col + j, (int)(cols - j < FY_NR ? cols - j : FY_NR));
        if (c->x_dtype == FERRY_FLOAT) patches_f32(v, dst + j * kc, (const float *)c->x + base, &q, k0, kc);
        else patches_f64(v, dst + j * kc, (const double *)c->x + base, &q, k0, kc);
    }
}

static int64_t y_offset(const fy_conv_args *c, int64_t col) {
    return col / (c->out[2] * c->out[1]) * c->y_dim[0] + col / c->out[2] % c->out[1] * c->y_dim[1] + col % c->out[2] * c->y_dim[2];
}

static void store(const fy_product *p, const double *sums, int64_t ld, int64_t batch, int64_t row, int64_t rows, int64_t col,
    int64_t cols) {
    const conv *v = p->args;
    const fy_conv_args *c = &v->c;
    int64_t at[COLS], group = batch % c->groups, base = batch / c->groups * c->y_batch + group * c->cout * c->y_channel;
    FY_ASSERT(cols <= COLS);
    for (int64_t j = 0; j < cols; j++) at[j] = y_offset(c, col + j);
    for (int64_t i = 0; i < rows; i++, sums += ld) {
        double bias = c->bias ? element(c->bias, c->bias_dtype, group * c->cout + row + i) : 0.0;
        int64_t first = base + (row + i) * c->y_channel;
        if (c->y_dtype == FERRY_FLOAT) for (int64_t j = 0; j < cols; j++) ((float *)c->y)[first + at[j]] = (float)(sums[j] + bias);
        else for (int64_t j = 0; j < cols; j++) ((double *)c->y)[first + at[j]] = sums[j] + bias;
    }
}

/* ---- one input channel a group: each row of outputs is a sum of shifted rows of x ------------------------------------ */

typedef struct direct { const conv *v; const fy_gemm_kernels *kernels; } direct;

static int64_t ceil_div(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }

static void direct_rows(void *arg, int64_t begin, int64_t end) {
    const direct *d = arg;
    const conv *v = d->v;
    const fy_conv_args *c = &v->c;
    int64_t rows = c->out[0] * c->out[1];
    double acc[COLS];
    for (int64_t i = begin; i < end; i++) {
        int64_t oy = i % rows % c->out[1], oz = i % rows / c->out[1], channel = i / rows % (c->groups * c->cout),
            batch = i / rows / (c->groups * c->cout);
        int64_t x_base = batch * c->x_batch + channel / c->cout * c->x_channel;
        double bias = c->bias ? element(c->bias, c->bias_dtype, channel) : 0.0;
        for (int64_t first = 0; first < c->out[2]; first += COLS) {
            int64_t n = c->out[2] - first < COLS ? c->out[2] - first : COLS;
            memset(acc, 0, (size_t)n * sizeof *acc);
            for (int64_t k = 0; k < v->taps; k++) {
                int64_t kx = k % c->kernel[2], ky = k / c->kernel[2] % c->kernel[1], kz = k / (c->kernel[2] * c->kernel[1]);
                int64_t z = oz * c->step[0] - c->pad[0] + kz * c->dilation[0], y = oy * c->step[1] - c->pad[1] + ky * c->dilation[1];
                if (!within(z, c->in[0]) || !within(y, c->in[1])) continue;
                int64_t x0 = kx * c->dilation[2] - c->pad[2];                   /* x = o*step + x0 */
                int64_t lo = ceil_div(-x0, c->step[2]), hi = ceil_div(c->in[2] - x0, c->step[2]);
                if (lo < first) lo = first;
                if (hi > first + n) hi = first + n;
                if (lo >= hi) continue;
                double w = element(c->w, c->w_dtype, channel * c->w_out + w_offset(v, k));
                int64_t at = x_base + z * c->x_dim[0] + y * c->x_dim[1] + (lo * c->step[2] + x0) * c->x_dim[2],
                    step = c->step[2] * c->x_dim[2];
                if (c->x_dtype == FERRY_FLOAT) d->kernels->axpy_f32(acc + (lo - first), w, (const float *)c->x + at, step, hi - lo);
                else d->kernels->axpy_f64(acc + (lo - first), w, (const double *)c->x + at, step, hi - lo);
            }
            int64_t to = batch * c->y_batch + channel * c->y_channel + oz * c->y_dim[0] + oy * c->y_dim[1] + first * c->y_dim[2],
                s = c->y_dim[2];
            if (c->y_dtype == FERRY_FLOAT) for (int64_t j = 0; j < n; j++) ((float *)c->y)[to + j * s] = (float)(acc[j] + bias);
            else for (int64_t j = 0; j < n; j++) ((double *)c->y)[to + j * s] = acc[j] + bias;
        }
    }
}

/* ---- */

/* The last nd entries of a; the ones before are `fill`. */
static void spread(int64_t *a, int nd, int64_t fill) {
    int64_t t[3];
    for (int i = 0; i < 3; i++) t[i] = i < 3 - nd ? fill : a[i - (3 - nd)];
    memcpy(a, t, sizeof t);
}

fy_status fy_conv_with(const fy_gemm_kernels *kernels, const fy_conv_args *args, fy_pool *pool, ferry_error *e) {
    conv v = { .c = *args };
    fy_conv_args *c = &v.c;
    FY_ASSERT(c->nd >= 1 && c->nd <= 3);
    spread(c->in, c->nd, 1);
    spread(c->out, c->nd, 1);
    spread(c->kernel, c->nd, 1);
    spread(c->step, c->nd, 1);
    spread(c->dilation, c->nd, 1);
    spread(c->pad, c->nd, 0);
    spread(c->x_dim, c->nd, 0);
    spread(c->w_dim, c->nd, 0);
    spread(c->y_dim, c->nd, 0);
    if (c->groups < 1) c->groups = 1;
    v.taps = c->kernel[0] * c->kernel[1] * c->kernel[2];
    v.pixels = c->out[0] * c->out[1] * c->out[2];
    if (v.pixels <= 0 || c->batch <= 0 || c->cout <= 0) return FY_OK;
    if (c->cin == 1 && c->cout <= FEW_OUT) {
        direct d = { &v, kernels };
        int64_t rows = c->batch * c->groups * c->cout * c->out[0] * c->out[1], work = c->out[2] * v.taps + 1;
        fy_for((double)rows * (double)work < 65536.0 ? NULL : pool, rows, 16384 / work + 1, direct_rows, &d);
        return FY_OK;
    }
    int64_t k2 = c->kernel[2], k1 = c->kernel[1];
    v.dense_w = (k2 == 1 || c->w_dim[2] == 1) && (k1 == 1 || c->w_dim[1] == k2) && (c->kernel[0] == 1 || c->w_dim[0] == k2 * k1) &&
                (c->cin == 1 || c->w_in == v.taps);
    fy_product p = { .kernels = kernels, .batch = c->batch * c->groups, .m = c->cout, .n = v.pixels, .k = c->cin * v.taps, .args = &v,
        .pack_a = pack_a, .pack_b = pack_b, .store = store };
    return fy_product_run(&p, pool, e);
}

fy_status fy_conv(const fy_conv_args *c, fy_pool *pool, ferry_error *e) {
    return fy_conv_with(fy_gemm_kernels_for(fy_cpu_isa()), c, pool, e);
}
