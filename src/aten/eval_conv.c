/* SPDX-License-Identifier: Apache-2.0
 * eval_conv.c - convolutions for the evaluator, over tensor/gemm.h; depthwise ones by a direct loop. */
#include "aten/eval.h"

#include "tensor/gemm.h"

typedef struct conv { int nd; int64_t groups, step[3], pad[3], dilation[3], extra[3]; bool transposed, same; } conv;

typedef struct depth { const fy_conv_args *c; const double *x; double *y; const double *w, *bias; } depth;

/* Channels [c0, c1) of batch x channels: y[oy, ox] += w[ky, kx] * x row, tap by tap, so that the inner loop is a row. */
static void depth_run(void *arg, int64_t c0, int64_t c1) {
    const depth        *d = arg;
    const fy_conv_args *c = d->c;
    int64_t             H = c->in[0], W = c->in[1], OH = c->out[0], OW = c->out[1], KH = c->kernel[0], KW = c->kernel[1];
    for (int64_t i = c0; i < c1; i++) {
        int64_t       oc = i % c->cout, ic = i / c->cout * c->cin + oc / (c->cout / c->cin);
        const double *x = d->x + ic * H * W, *w = d->w + oc * KH * KW;
        double       *y = d->y + i * OH * OW;
        for (int64_t j = 0; j < OH * OW; j++) y[j] = d->bias ? d->bias[oc] : 0;
        for (int64_t ky = 0; ky < KH; ky++)
            for (int64_t kx = 0; kx < KW; kx++) {
                double  f = w[ky * KW + kx];
                int64_t left = kx * c->dilation[1] - c->pad[1], s = c->step[1], a = left < 0 ? (-left + s - 1) / s : 0, b = W > left ? (W - left + s - 1) / s : 0;
                if (b > OW) b = OW;
                for (int64_t oy = 0; oy < OH; oy++) {
                    int64_t iy = oy * c->step[0] + ky * c->dilation[0] - c->pad[0];
                    if (iy < 0 || iy >= H) continue;
                    double *row = y + oy * OW;
                    if (a >= b) continue;
                    const double *in = x + iy * W;
                    if (s == 1) for (int64_t ox = a; ox < b; ox++) row[ox] += f * in[ox + left];
                    else for (int64_t ox = a; ox < b; ox++) row[ox] += f * in[ox * s + left];
                }
            }
    }
}

static fy_status bias_and_out(fy_eval *v, fy_et *o, const double *bias, int64_t channels, int64_t spatial, bool unbatched) {
    if (bias)
        for (int64_t i = 0, n = fy_count(&o->t); i < n; i++) fy_ev_at(o)[i] += bias[i / spatial % channels];
    if (unbatched) {
        for (int i = 0; i + 1 < o->t.rank; i++) o->t.dim[i] = o->t.dim[i + 1];
        o->t.rank--;
        fy_strides(o->t.rank, o->t.dim, o->t.stride);
    }
    return fy_ev_out(v, 0, o);
}

static fy_status forward(fy_eval *v, fy_et x, fy_et w, const fy_et *bias, conv *c, bool unbatched) {
    fy_et        o;
    int          nd = c->nd;
    fy_conv_args a = {.nd = nd, .batch = x.t.dim[0], .w_dtype = w.t.dtype, .x_dtype = x.t.dtype, .y_dtype = FERRY_DOUBLE};
    int64_t      cin = x.t.dim[1], cout = w.t.dim[0], dim[5] = {x.t.dim[0], cout}, taps = 1, spatial = 1;
    FY_NEED(v->e, c->groups > 0 && cin == w.t.dim[1] * c->groups && cout % c->groups == 0, SHAPE, "convolution of %lld channels with %lld groups of %lld",
            (long long)cin, (long long)c->groups, (long long)w.t.dim[1]);
    for (int i = 0; i < nd; i++) {
        int64_t k = w.t.dim[2 + i], span, pads;
        FY_NEED(v->e, k > 0 && c->step[i] > 0 && c->dilation[i] > 0 && c->pad[i] >= 0 && c->step[i] < 1 << 24 && c->dilation[i] < 1 << 24 && c->pad[i] < 1 << 24, VALUE, "convolution with kernel %lld, stride %lld", (long long)k, (long long)c->step[i]);
        span = c->dilation[i] * (k - 1);
        pads = c->same ? span : 2 * c->pad[i];
        a.in[i] = x.t.dim[2 + i];
        a.kernel[i] = k;
        a.step[i] = c->step[i];
        a.dilation[i] = c->dilation[i];
        a.pad[i] = c->same ? span / 2 : c->pad[i];
        FY_NEED(v->e, a.in[i] + pads - span - 1 >= 0, SHAPE, "convolution: the kernel is larger than its input");
        a.out[i] = dim[2 + i] = (a.in[i] + pads - span - 1) / c->step[i] + 1;
        taps *= k;
        spatial *= a.out[i];
    }
    FY_TRY(fy_ev_new(v, &o, x.dtype, 2 + nd, dim));
    const double *b = bias ? fy_ev_dense(v, bias) : NULL;
    if (bias && !b) { fy_tensor_free(&o.t); return FY_E_NOMEM; }
    if (bias && fy_count(&bias->t) != cout) { fy_tensor_free(&o.t); return fy_fail(v->e, FY_E_SHAPE, "convolution: bias of %lld for %lld", (long long)fy_count(&bias->t), (long long)cout); }
    if (!fy_count(&o.t)) return bias_and_out(v, &o, NULL, 1, 1, unbatched);
    if (w.t.dim[1] == 1 && c->groups == cin && nd <= 2) {
        if (nd == 1) {                                       /* one row */
            a.in[1] = a.in[0], a.out[1] = a.out[0], a.kernel[1] = a.kernel[0], a.step[1] = a.step[0], a.dilation[1] = a.dilation[0], a.pad[1] = a.pad[0];
            a.in[0] = a.out[0] = a.kernel[0] = a.step[0] = a.dilation[0] = 1;
            a.pad[0] = 0;
        }
        a.cin = cin;
        a.cout = cout;
        depth d = {.c = &a, .x = fy_ev_dense(v, &x), .w = fy_ev_dense(v, &w), .y = fy_ev_at(&o), .bias = b};
        if (!d.x || !d.w) { fy_tensor_free(&o.t); return FY_E_NOMEM; }
        fy_for(v->pool, a.batch * cout, 1 + 20000 / (spatial * taps + 1), depth_run, &d);
        return bias_and_out(v, &o, NULL, 1, 1, unbatched);
    }
    a.cin = cin / c->groups;
    a.cout = cout / c->groups;
    a.x_batch = x.t.stride[0];
    a.x_channel = x.t.stride[1];
    a.y_batch = o.t.stride[0];
    a.y_channel = o.t.stride[1];
    a.w_out = w.t.stride[0];
    a.w_in = w.t.stride[1];
    for (int i = 0; i < nd; i++) { a.x_dim[i] = x.t.stride[2 + i]; a.w_dim[i] = w.t.stride[2 + i]; a.y_dim[i] = o.t.stride[2 + i]; }
    for (int64_t g = 0; g < c->groups; g++) {
        a.x = (const char *)x.t.data + g * a.cin * a.x_channel * fy_elem_bytes(x.t.dtype);
        a.w = (const char *)w.t.data + g * a.cout * a.w_out * fy_elem_bytes(w.t.dtype);
        a.y = fy_ev_at(&o) + g * a.cout * a.y_channel;
        fy_status s = fy_conv(&a, v->pool, v->e);
        if (s != FY_OK) { fy_tensor_free(&o.t); return s; }
    }
    return bias_and_out(v, &o, b, cout, spatial, unbatched);
}

/* y = col2im(w^T x): each input pixel adds its weighted kernel to the output. w [cin, cout/groups, k..]. */
static fy_status transposed(fy_eval *v, fy_et x, fy_et w, const fy_et *bias, conv *c, bool unbatched) {
    fy_et   o, cols;
    int     nd = c->nd;
    int64_t cin = x.t.dim[1], per_out = w.t.dim[1], cout = per_out * c->groups, taps = 1, in = 1, out = 1;
    int64_t dim[5] = {x.t.dim[0], cout}, I[3] = {1, 1, 1}, O[3] = {1, 1, 1}, K[3] = {1, 1, 1}, S[3] = {1, 1, 1}, P[3] = {0}, D[3] = {1, 1, 1};
    FY_NEED(v->e, c->groups > 0 && cin == w.t.dim[0] && cin % c->groups == 0, SHAPE, "transposed convolution of %lld channels", (long long)cin);
    for (int i = 0; i < nd; i++) {
        int j = 3 - nd + i;
        I[j] = x.t.dim[2 + i];
        K[j] = w.t.dim[2 + i];
        S[j] = c->step[i];
        P[j] = c->pad[i];
        D[j] = c->dilation[i];
        FY_NEED(v->e, S[j] > 0 && D[j] > 0 && K[j] > 0 && I[j] > 0 && P[j] >= 0 && S[j] < 1 << 24 && D[j] < 1 << 24 && P[j] < 1 << 24 && c->extra[i] >= 0 && c->extra[i] < 1 << 24, VALUE, "transposed convolution with stride %lld", (long long)S[j]);
        O[j] = dim[2 + i] = (I[j] - 1) * S[j] - 2 * P[j] + D[j] * (K[j] - 1) + c->extra[i] + 1;
        FY_NEED(v->e, O[j] > 0, SHAPE, "transposed convolution of size %lld", (long long)O[j]);
        taps *= K[j];
        in *= I[j];
        out *= O[j];
    }
    const double *xs = fy_ev_dense(v, &x), *ws = fy_ev_dense(v, &w), *b = bias ? fy_ev_dense(v, bias) : NULL;
    if (!xs || !ws || (bias && !b)) return FY_E_NOMEM;
    FY_NEED(v->e, !bias || fy_count(&bias->t) == cout, SHAPE, "transposed convolution: the bias does not fit");
    int64_t per_in = cin / c->groups;
    FY_TRY(fy_ev_temp(v, &cols, FERRY_DOUBLE, 2, (int64_t[]){per_out * taps, in}));
    FY_TRY(fy_ev_new(v, &o, x.dtype, 2 + nd, dim));
    for (int64_t n = 0; n < x.t.dim[0] * c->groups; n++) {
        int64_t   g = n % c->groups;
        fy_mat    wm = {(void *)(uintptr_t)(ws + g * per_in * per_out * taps), FERRY_DOUBLE, 1, per_out * taps};
        fy_mat    xm = {(void *)(uintptr_t)(xs + n * per_in * in), FERRY_DOUBLE, in, 1};
        fy_status s = fy_gemm((fy_mat){cols.t.data, FERRY_DOUBLE, in, 1}, wm, xm, per_out * taps, in, per_in, 1, 0, v->pool, v->e);
        if (s != FY_OK) { fy_tensor_free(&o.t); return s; }
        double *y = fy_ev_at(&o) + n * per_out * out;
        for (int64_t r = 0; r < per_out * taps; r++) {
            int64_t       q = r % taps, kx = q % K[2], ky = q / K[2] % K[1], kz = q / K[2] / K[1];
            const double *col = fy_ev_at(&cols) + r * in;
            double       *to = y + r / taps * out;
            for (int64_t p = 0; p < in; p++) {
                int64_t ox = p % I[2] * S[2] + kx * D[2] - P[2], oy = p / I[2] % I[1] * S[1] + ky * D[1] - P[1], oz = p / I[2] / I[1] * S[0] + kz * D[0] - P[0];
                if (ox >= 0 && ox < O[2] && oy >= 0 && oy < O[1] && oz >= 0 && oz < O[0]) to[(oz * O[1] + oy) * O[2] + ox] += col[p];
            }
        }
    }
    return bias_and_out(v, &o, b, cout, out, unbatched);
}

enum { CONV, CONV_TRANSPOSE, CONV_GENERAL };

fy_status fy_at_conv(fy_eval *v) {
    fy_et x, w, b;
    bool  has;
    conv  c = {.groups = 1, .transposed = v->k == CONV_TRANSPOSE};
    FY_TRY(fy_ev_raw(v, "input", &x));
    FY_TRY(fy_ev_raw(v, "weight", &w));
    FY_TRY(fy_ev_opt(v, "bias", &b, &has));
    c.nd = w.t.rank - 2;
    FY_NEED(v->e, c.nd >= 1 && c.nd <= 3 && (x.t.rank == c.nd + 2 || x.t.rank == c.nd + 1), SHAPE, "convolution of ranks %d and %d", x.t.rank, w.t.rank);
    FY_NEED(v->e, fy_dtype_class(x.dtype) == FY_CLASS_F && x.dtype == w.dtype, TYPE, "convolution of %s with %s", fy_dtype_name(x.dtype), fy_dtype_name(w.dtype));
    bool unbatched = x.t.rank == c.nd + 1;
    if (unbatched) {
        for (int i = x.t.rank; i > 0; i--) { x.t.dim[i] = x.t.dim[i - 1]; x.t.stride[i] = x.t.stride[i - 1]; }
        x.t.dim[0] = 1;
        x.t.rank++;
    }
    FY_TRY(fy_ev_intn(v, "stride", c.nd, c.step, 1));
    const char *mode = fy_ev_str(v, "padding", NULL);
    if (mode) c.same = !strcmp(mode, "same");
    else FY_TRY(fy_ev_intn(v, "padding", c.nd, c.pad, 0));
    FY_TRY(fy_ev_intn(v, "dilation", c.nd, c.dilation, 1));
    FY_TRY(fy_ev_intn(v, "output_padding", c.nd, c.extra, 0));
    FY_TRY(fy_ev_int(v, "groups", &c.groups));
    FY_TRY(fy_ev_bool(v, "transposed", &c.transposed));
    return c.transposed ? transposed(v, x, w, has ? &b : NULL, &c, unbatched) : forward(v, x, w, has ? &b : NULL, &c, unbatched);
}
