/* SPDX-License-Identifier: Apache-2.0
 * signal.c - DFT STFT over fft.h; HannWindow HammingWindow BlackmanWindow; MelWeightMatrix.
 *
 *   DFT   x [..., n, ..., 1 or 2] -> y [..., n', ..., 2] (real back transform: 1); the last axis holds real and imaginary part.
 *         The signal is cut or padded with zeros to dft_length. onesided keeps k = 0 .. n/2 of a real signal; with inverse, the
 *         input is such a half, the rest follows from X[n - k] = conj X[k], and y is real.
 *   STFT  x [batch, length, 1 or 2] -> y [batch, frames, bins, 2]: frame j is x[j * step ...] * window, transformed.
 *
 * Sources: ONNX DFT-20, STFT-17, windows and MelWeightMatrix-17. Everything runs in double and is rounded once. */
#include "ops/common.h"
#include "ops/fft.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#define TAU 6.28318530717958647693

/* The only element of a scalar integer input as a size; NULL where it is left out or not known. `least` is checked if it is. */
static fy_status scalar_size(fy_infer *f, int i, const char *what, int64_t least, const fy_dim **d) {
    int64_t n, v;
    const fy_dim *const *e = fy_in_has(f, i) ? fy_in_elems(f, i, &n) : NULL;
    *d = NULL;
    if (!e) return FY_OK;
    FY_NEED(f->e, n == 1, SHAPE, "%s has %lld elements; it must be a scalar", what, (long long)n);
    if (fy_dim_known(e[0], &v)) FY_NEED(f->e, v >= least, VALUE, "%s is %lld; least is %lld", what, (long long)v, (long long)least);
    *d = e[0];
    return FY_OK;
}

/* Is the last axis, of the parts, 1 or 2? 0: not known. */
static fy_status parts_of(fy_infer *f, int rank, int64_t *parts) {
    const fy_dim *d = fy_in_dim(f, 0, rank - 1);
    *parts = 0;
    if (!d || !fy_dim_known(d, parts)) return FY_OK;
    FY_NEED(f->e, *parts == 1 || *parts == 2, SHAPE, "the last axis has size %lld: 1 (real) or 2 (complex) is needed", (long long)*parts);
    return FY_OK;
}

/* ---- transforms of many lines -------------------------------------------------------------------------------------- */

/* Line l of a DFT begins at (l / inner) * len * inner + l % inner with step inner; of an STFT, where frames > 0, at
 * (l / frames) * len + (l % frames) * hop with step 1. Positions count samples of `parts` doubles. */
typedef struct lines {
    const fy_fft *plan;
    const double *x, *window;            /* window [n], or NULL */
    fy_tensor    *y;
    int64_t       n, used, len, inner, frames, hop, n_out, parts, parts_out;
    bool          inverse, half;         /* half: the input is 0 .. n/2 of a symmetric spectrum */
    atomic_bool   nomem;
} lines;

/* Back transforms run between two exchanges of real and imaginary part. */
static void fill_line(const lines *w, fy_cplx *z, const double *x, int64_t step) {
    for (int64_t k = 0; k < w->used; k++) {
        const double *v = x + k * step * w->parts;
        double        re = v[0], im = w->parts == 2 ? v[1] : 0, by = w->window ? w->window[k] : 1;
        z[k] = w->inverse ? (fy_cplx){im * by, re * by} : (fy_cplx){re * by, im * by};
    }
    memset(z + w->used, 0, (size_t)(w->n - w->used) * sizeof *z);
    if (!w->half) return;
    z[0].re = 0;                                             /* the mean and the middle are real, whatever is given (exchanged here) */
    if (w->n % 2 == 0) z[w->n / 2].re = 0;
    for (int64_t k = 1; k < w->n - k; k++) z[w->n - k] = (fy_cplx){-z[k].re, z[k].im};
}

static void run_lines(void *arg, int64_t begin, int64_t end) {
    lines   *w = arg;
    int64_t  width = w->n_out * w->parts_out;
    fy_cplx *z = fy_malloc((size_t)(w->n + w->plan->work), sizeof *z);
    double  *out = fy_malloc((size_t)width, sizeof *out);
    for (int64_t l = begin; z && out && l < end; l++) {
        int64_t outer = l / w->inner, at = l % w->inner;
        int64_t from = w->frames ? (l / w->frames) * w->len + (l % w->frames) * w->hop : outer * w->len * w->inner + at;
        fill_line(w, z, w->x + from * w->parts, w->inner);
        fy_fft_run(w->plan, z, z + w->n);
        double by = w->inverse ? 1 / (double)w->n : 1;
        for (int64_t k = 0; k < w->n_out; k++) {
            out[k * w->parts_out] = w->inverse ? z[k].im * by : z[k].re;
            if (w->parts_out == 2) out[2 * k + 1] = w->inverse ? z[k].re * by : z[k].im;
        }
        if (w->inner == 1) fy_store_f64(w->y, l * width, width, out);
        else
            for (int64_t k = 0; k < w->n_out; k++)
                fy_store_f64(w->y, ((outer * w->n_out + k) * w->inner + at) * w->parts_out, w->parts_out, out + k * w->parts_out);
    }
    if (!z || !out) atomic_store(&w->nomem, true);
    fy_free(z);
    fy_free(out);
}

static fy_status transform(const fy_call *c, lines *w, int64_t nlines) {
    FY_NOMEM(c->e, w->x = fy_arg_f64(c, 0));
    FY_TRY(fy_fft_plan(&w->plan, w->n, c->scratch, c->max_bytes, c->e));
    int64_t grain = 8192 / w->n;
    fy_k_for(c, nlines, grain < 1 ? 1 : grain, run_lines, w);
    FY_NOMEM(c->e, !atomic_load(&w->nomem));
    return FY_OK;
}

/* ---- DFT ----------------------------------------------------------------------------------------------------------- */

typedef struct dft { bool inverse, onesided; } dft;

static fy_status read_dft(dft *d, const fy_node *n, ferry_error *e) {
    int64_t inverse = fy_attr_i(n, "inverse"), onesided = fy_attr_i(n, "onesided");
    FY_NEED(e, (inverse == 0 || inverse == 1) && (onesided == 0 || onesided == 1), ATTR, "inverse is %lld, onesided %lld: 0 and 1 are known",
            (long long)inverse, (long long)onesided);
    *d = (dft){inverse != 0, onesided != 0};
    return FY_OK;
}

/* In [0, rank - 2]: the last axis is none to transform over. */
static fy_status dft_axis(int *axis, int64_t given, int rank, ferry_error *e) {
    FY_TRY(fy_axis(axis, given, rank, e));
    FY_NEED(e, *axis < rank - 1, AXIS, "axis %lld is the last one, of real and imaginary parts", (long long)given);
    return FY_OK;
}

static fy_status infer_dft(fy_infer *f) {
    int rank, axis = -1;
    int64_t parts, given = -2, n = 1, v;
    const fy_dim *dim[FY_MAX_RANK], *len;
    dft d;
    FY_TRY(read_dft(&d, f->node, f->e));
    FY_TRY(scalar_size(f, 1, "dft_length", 1, &len));
    FY_TRY(fy_k_rank(f, 0, 2, FY_MAX_RANK, &rank));
    if (rank < 0) return fy_out_set(f, 0, fy_in_dtype(f, 0), -1, NULL);
    FY_TRY(parts_of(f, rank, &parts));
    FY_NEED(f->e, !d.onesided || d.inverse || parts != 2, SHAPE, "a one-sided transform takes a real signal, not one of %lld parts", (long long)parts);
    FY_NEED(f->e, !d.onesided || !d.inverse || parts != 1, SHAPE, "a one-sided back transform takes a complex spectrum, not a real one");
    for (int i = 0; i < fy_in_rank(f, 2) && n == 1; i++)
        if (!fy_dim_known(fy_in_dim(f, 2, i), &n)) n = 1;
    bool known = !fy_in_has(f, 2) || (n == 1 && fy_in_ints(f, 2, &given, 1, &n));
    FY_NEED(f->e, n == 1, SHAPE, "axis has %lld elements; it must be a scalar", (long long)n);
    if (known) FY_TRY(dft_axis(&axis, given, rank, f->e));
    for (int i = 0; i < rank - 1; i++) dim[i] = known || (!d.onesided && !fy_in_has(f, 1)) ? fy_in_dim(f, 0, i) : fy_dim_opaque(f->dims, "DFT");
    dim[rank - 1] = fy_dim_const(f->dims, d.onesided && d.inverse ? 1 : 2);
    if (known) {
        if (!fy_in_has(f, 1)) len = d.onesided && d.inverse ? fy_dim_muli(f->dims, fy_dim_addi(f->dims, dim[axis], -1), 2) : dim[axis];
        else if (!len) len = fy_dim_opaque(f->dims, "dft_length");
        if (len && fy_dim_known(len, &v)) FY_NEED(f->e, v >= 1, VALUE, "a transform of length %lld", (long long)v);
        dim[axis] = d.onesided && !d.inverse ? fy_dim_addi(f->dims, fy_dim_divi(f->dims, len, 2), 1) : len;
    }
    return fy_out_set(f, 0, fy_in_dtype(f, 0), rank, dim);
}

static fy_status ref_dft(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0);
    fy_tensor *y = fy_res(c, 0);
    dft d;
    int axis;
    if (!y || !fy_count(y)) return FY_OK;
    FY_TRY(read_dft(&d, c->node, c->e));
    FY_TRY(dft_axis(&axis, fy_arg(c, 2) ? fy_get_i64(fy_arg(c, 2), 0) : -2, x->rank, c->e));
    lines w = {.y = y, .len = x->dim[axis], .inner = 1, .n_out = y->dim[axis], .parts = x->dim[x->rank - 1], .parts_out = y->dim[y->rank - 1],
               .inverse = d.inverse, .half = d.inverse && d.onesided};
    w.n = fy_arg(c, 1) ? fy_get_i64(fy_arg(c, 1), 0) : w.half ? w.n_out : w.len;
    w.used = w.half ? w.n / 2 + 1 : w.n;
    if (w.used > w.len) w.used = w.len;
    for (int i = axis + 1; i < x->rank - 1; i++) w.inner *= x->dim[i];
    return transform(c, &w, fy_count(y) / w.n_out / w.parts_out);
}

static const fy_attr_spec dft_attrs[] = {{"inverse", FY_ATTR_INT, "0"}, {"onesided", FY_ATTR_INT, "0"}, {0}};
const fy_op fy_op_dft = {.name = "DFT", .domain = "", .attrs = dft_attrs, .min_in = 1, .max_in = 3, .min_out = 1, .max_out = 1, .first = 17, .since = 20,
    .types = "T=" FY_T_FLOAT ";I=i32,i64|T,I,i64|T", .infer = infer_dft, .ref = ref_dft, .flags = FY_PURE};

/* ---- STFT ---------------------------------------------------------------------------------------------------------- */

/* Frame length: said, else the window's, else the signal's. NULL: not known. */
static fy_status frame_length(fy_infer *f, const fy_dim **d) {
    const fy_dim *window = NULL;
    int rank;
    if (fy_in_has(f, 2)) {
        FY_TRY(fy_k_rank(f, 2, 1, 1, &rank));
        window = rank == 1 ? fy_in_dim(f, 2, 0) : NULL;
    }
    FY_TRY(scalar_size(f, 3, "frame_length", 1, d));
    FY_TRY(fy_k_agree(f, *d, window, "frame_length and the window's length"));
    if (!*d) *d = window;
    if (!*d && !fy_in_has(f, 2) && !fy_in_has(f, 3)) *d = fy_in_dim(f, 0, 1);
    return FY_OK;
}

static fy_status infer_stft(fy_infer *f) {
    int rank;
    int64_t parts, n, len, onesided = fy_attr_i(f->node, "onesided");
    const fy_dim *step, *frame, *dim[4], *signal;
    FY_NEED(f->e, onesided == 0 || onesided == 1, ATTR, "onesided is %lld: 0 and 1 are known", (long long)onesided);
    FY_TRY(fy_k_rank(f, 0, 3, 3, &rank));
    FY_TRY(scalar_size(f, 1, "frame_step", 1, &step));
    FY_TRY(frame_length(f, &frame));
    if (rank == 3) FY_TRY(parts_of(f, rank, &parts));
    signal = rank == 3 ? fy_in_dim(f, 0, 1) : NULL;
    dim[0] = rank == 3 ? fy_in_dim(f, 0, 0) : fy_dim_opaque(f->dims, "batch");
    if (frame && fy_dim_known(frame, &n)) {
        FY_NEED(f->e, n >= 1, VALUE, "a frame of %lld samples", (long long)n);
        if (signal && fy_dim_known(signal, &len)) FY_NEED(f->e, n <= len, SHAPE, "a frame of %lld samples does not fit into %lld", (long long)n, (long long)len);
    }
    if (signal && step && frame) dim[1] = fy_dim_addi(f->dims, fy_dim_floordiv(f->dims, fy_dim_sub(f->dims, signal, frame), step), 1);
    else dim[1] = fy_dim_opaque(f->dims, "frames");
    if (!frame) dim[2] = fy_dim_opaque(f->dims, "bins");
    else dim[2] = onesided ? fy_dim_addi(f->dims, fy_dim_divi(f->dims, frame, 2), 1) : frame;
    dim[3] = fy_dim_const(f->dims, 2);
    return fy_out_set(f, 0, fy_in_dtype(f, 0), 4, dim);
}

static fy_status ref_stft(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0);
    fy_tensor *y = fy_res(c, 0);
    if (!y || !fy_count(y)) return FY_OK;
    lines w = {.y = y, .len = x->dim[1], .inner = 1, .frames = y->dim[1], .hop = fy_get_i64(fy_arg(c, 1), 0), .n_out = y->dim[2], .parts = x->dim[2], .parts_out = 2};
    w.n = w.used = fy_arg(c, 3) ? fy_get_i64(fy_arg(c, 3), 0) : fy_arg(c, 2) ? fy_arg(c, 2)->dim[0] : x->dim[1];
    if (fy_arg(c, 2)) FY_NOMEM(c->e, w.window = fy_arg_f64(c, 2));
    return transform(c, &w, y->dim[0] * y->dim[1]);
}

static const fy_attr_spec stft_attrs[] = {{"onesided", FY_ATTR_INT, "1"}, {0}};
const fy_op fy_op_stft = {.name = "STFT", .domain = "", .attrs = stft_attrs, .min_in = 2, .max_in = 4, .min_out = 1, .max_out = 1, .first = 17, .since = 17,
    .types = "T=" FY_T_FLOAT ";I=i32,i64|T,I,T,I|T", .infer = infer_stft, .ref = ref_stft, .flags = FY_PURE};

/* ---- windows ------------------------------------------------------------------------------------------------------- */

static fy_status output_dtype(fy_dtype *t, const fy_node *n, ferry_error *e) {
    int64_t v = fy_attr_i(n, "output_datatype");
    bool ok = v > 0 && v <= FERRY_INT2 && ((fy_dtype_int((fy_dtype)v) && fy_dtype_bits((fy_dtype)v) >= 8) || v == FERRY_FLOAT || v == FERRY_DOUBLE ||
                                           v == FERRY_FLOAT16 || v == FERRY_BFLOAT16);
    FY_NEED(e, ok, ATTR, "output_datatype is %lld: f16, bf16, f32, f64 and integers of 8 to 64 bits are known", (long long)v);
    *t = (fy_dtype)v;
    return FY_OK;
}

static fy_status infer_window(fy_infer *f) {
    fy_dtype t;
    const fy_dim *d;
    FY_TRY(output_dtype(&t, f->node, f->e));
    FY_TRY(scalar_size(f, 0, "size", 0, &d));
    if (!d) d = fy_dim_opaque(f->dims, "window");
    return fy_out_set(f, 0, t, 1, &d);
}

/* y = a0 - a1 cos(tau i / n) + a2 cos(2 tau i / n), n the size, or with periodic = 0 one less. A symmetric window of one point is
 * 0/0, as in the function body that ONNX gives. */
static fy_status ref_window(const fy_call *c) {
    fy_tensor *y = fy_res(c, 0);
    char kind = c->node->op->name[1];                        /* HAnn, HAmming, BLackman */
    bool blackman = kind == 'l', hann = !blackman && c->node->op->name[2] == 'n';
    double a0 = blackman ? 0.42 : hann ? 0.5 : 25.0 / 46, a1 = blackman || hann ? 0.5 : 1 - 25.0 / 46, a2 = blackman ? 0.08 : 0, block[FY_K_BLOCK];
    if (!y) return FY_OK;
    int64_t size = fy_count(y);
    double n = (double)(fy_attr_i(c->node, "periodic") ? size : size - 1);
    for (int64_t at = 0; at < size; at += FY_K_BLOCK) {
        int64_t m = size - at < FY_K_BLOCK ? size - at : FY_K_BLOCK;
        for (int64_t i = 0; i < m; i++) {
            double angle = TAU * ((double)(at + i) / n), s = sin(angle / 2);
            block[i] = hann ? s * s : a0 - a1 * cos(angle) + a2 * cos(2 * angle);
            if (fy_dtype_int(y->dtype)) block[i] = (double)(float)block[i];     /* the body casts an f32: 1 less a rounding error is 1 */
        }
        fy_store_f64(y, at, m, block);
    }
    return FY_OK;
}

static const fy_attr_spec window_attrs[] = {{"output_datatype", FY_ATTR_INT, "1"}, {"periodic", FY_ATTR_INT, "1"}, {0}};
#define WINDOW(var, Name)                                                                                                \
    const fy_op fy_op_##var = {.name = Name, .domain = "", .attrs = window_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, \
        .first = 17, .since = 17, .types = "I=i32,i64;U=" FY_T_NUM "|I|U", .infer = infer_window, .ref = ref_window, .flags = FY_PURE};
WINDOW(hann_window, "HannWindow")
WINDOW(hamming_window, "HammingWindow")
WINDOW(blackman_window, "BlackmanWindow")

/* ---- MelWeightMatrix ----------------------------------------------------------------------------------------------- */

static fy_status infer_mel(fy_infer *f) {
    fy_dtype t;
    const fy_dim *bands, *length, *rate, *dim[2];
    FY_TRY(output_dtype(&t, f->node, f->e));
    FY_TRY(scalar_size(f, 0, "num_mel_bins", 0, &bands));
    FY_TRY(scalar_size(f, 1, "dft_length", 0, &length));
    FY_TRY(scalar_size(f, 2, "sample_rate", 1, &rate));
    dim[0] = length ? fy_dim_addi(f->dims, fy_dim_divi(f->dims, length, 2), 1) : fy_dim_opaque(f->dims, "bins");
    dim[1] = bands ? bands : fy_dim_opaque(f->dims, "bands");
    return fy_out_set(f, 0, t, 2, dim);
}

/* The spectrum's bin of edge i: edges are equally spaced in mel(f) = 2595 log10(1 + f / 700). */
typedef struct mel { double low, step, length, rate; int64_t nbins; } mel;

static fy_status mel_bin(int64_t *bin, const mel *m, int64_t i, ferry_error *e) {
    double hertz = 700 * expm1((m->low + (double)i * m->step) / 2595 * log(10)), at = floor((m->length + 1) * hertz / m->rate);
    FY_NEED(e, at >= 0 && at < (double)m->nbins, VALUE, "edge %lld, at %g Hz, is outside the spectrum of %lld bins", (long long)i, hertz, (long long)m->nbins);
    *bin = (int64_t)at;
    return FY_OK;
}

static fy_status ref_mel(const fy_call *c) {
    fy_tensor *y = fy_res(c, 0);
    if (!y) return FY_OK;
    for (int i = 3; i < 5; i++) FY_NEED(c->e, fy_count(fy_arg(c, i)) == 1, SHAPE, "an edge has %lld elements; it must be a scalar", (long long)fy_count(fy_arg(c, i)));
    double low = fy_get_f64(fy_arg(c, 3), 0), high = fy_get_f64(fy_arg(c, 4), 0);
    int64_t bands = y->dim[1], b[3];
    mel m = {.length = (double)fy_get_i64(fy_arg(c, 1), 0), .rate = (double)fy_get_i64(fy_arg(c, 2), 0), .nbins = y->dim[0]};
    FY_NEED(c->e, low > -700 && high > -700 && isfinite(low) && isfinite(high), VALUE, "a spectrum from %g to %g Hz", low, high);
    m.low = 2595 * log1p(low / 700) / log(10);
    m.step = (2595 * log1p(high / 700) / log(10) - m.low) / (double)(bands + 2);
    memset(y->data, 0, (size_t)fy_count(y) * (size_t)fy_elem_bytes(y->dtype));
    for (int i = 0; bands && i < 2; i++) FY_TRY(mel_bin(&b[i], &m, i, c->e));
    for (int64_t i = 0; i < bands; i++) {
        FY_TRY(mel_bin(&b[2], &m, i + 2, c->e));
        if (b[1] == b[0]) fy_put_f64(y, b[1] * bands + i, 1);
        for (int64_t j = b[0]; b[1] > b[0] && j <= b[1]; j++) fy_put_f64(y, j * bands + i, (double)(j - b[0]) / (double)(b[1] - b[0]));
        for (int64_t j = b[1]; j < b[2]; j++) fy_put_f64(y, j * bands + i, (double)(b[2] - j) / (double)(b[2] - b[1]));
        b[0] = b[1];
        b[1] = b[2];
    }
    return FY_OK;
}

static const fy_attr_spec mel_attrs[] = {{"output_datatype", FY_ATTR_INT, "1"}, {0}};
const fy_op fy_op_mel_weight_matrix = {.name = "MelWeightMatrix", .domain = "", .attrs = mel_attrs, .min_in = 5, .max_in = 5, .min_out = 1, .max_out = 1,
    .first = 17, .since = 17, .types = "I=i32,i64;F=" FY_T_FLOAT ";U=" FY_T_NUM "|I,I,I,F,F|U", .infer = infer_mel, .ref = ref_mel, .flags = FY_PURE};
