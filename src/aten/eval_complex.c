/* SPDX-License-Identifier: Apache-2.0
 * eval_complex.c - complex numbers for the evaluator: arithmetic, conversions, Fourier transforms by their sums. Contents are pairs of doubles. */
#include "aten/eval.h"

#include <math.h>
#include <string.h>

static const double TAU = 6.283185307179586477;

typedef struct cplx { fy_et t; const double *z; int64_t n; } cplx;      /* dense pairs */

static bool is_complex(const fy_et *a) { return fy_dtype_class(a->dtype) == FY_CLASS_C; }
static fy_dtype real_of(fy_dtype t) { return t == FERRY_COMPLEX128 || t == FERRY_DOUBLE ? FERRY_DOUBLE : FERRY_FLOAT; }
static fy_dtype complex_of(fy_dtype t) { return t == FERRY_COMPLEX128 || t == FERRY_DOUBLE ? FERRY_COMPLEX128 : FERRY_COMPLEX64; }

static fy_status load(fy_eval *v, fy_et a, cplx *c) {
    c->t = a;
    c->n = fy_count(&a.t);
    double *z = FY_NEWN(&v->scratch, double, 2 * c->n + 2);
    FY_NOMEM(v->e, z);
    if (is_complex(&a)) fy_load_c128(z, &a.t, 0, c->n);
    else {
        const double *x = fy_ev_dense(v, &a);
        FY_NOMEM(v->e, x);
        for (int64_t i = 0; i < c->n; i++) z[2 * i] = x[i];
    }
    c->z = z;
    return FY_OK;
}

/* An argument as complex; a complex literal as rank 0. */
static fy_status read(fy_eval *v, const char *name, cplx *c) {
    const fy_parg *a = fy_aten_arg(v->node, name);
    fy_et x;
    if (a->kind == FY_ARG_COMPLEX) {
        FY_TRY(fy_ev_temp(v, &x, FERRY_COMPLEX64, 0, NULL));
        ((double *)x.t.data)[0] = a->f;
        ((double *)x.t.data)[1] = a->im;
        x.number = true;
    } else FY_TRY(fy_ev_in(v, name, &x));
    return load(v, x, c);
}

static fy_status make(fy_eval *v, fy_et *o, fy_dtype like, int rank, const int64_t *dim, double **z) {
    FY_TRY(fy_ev_new(v, o, complex_of(like), rank, dim));
    *z = o->t.data;
    return FY_OK;
}

/* A real view of a complex tensor: both parts on a last axis (part < 0), or one of them. */
static fy_et part_of(const fy_et *a, int part) {
    fy_et o = {.t = fy_tensor_pairs(&a->t), .dtype = real_of(a->dtype)};
    o.t.own = a->t.own;
    if (part < 0) return o;
    o.t.rank--;
    o.t.data = (double *)o.t.data + part;
    return o;
}

static fy_status parts(fy_eval *v, const fy_et *a, int part) {
    FY_NEED(v->e, a->t.rank < FY_MAX_RANK, LIMIT, "rank %d", a->t.rank);
    fy_et o = part_of(a, part);
    return fy_ev_view(v, 0, &o);
}

static void times(double *r, const double *a, const double *b) {
    double re = a[0] * b[0] - a[1] * b[1], im = a[0] * b[1] + a[1] * b[0];
    r[0] = re;
    r[1] = im;
}

enum { C_ADD, C_SUB, C_MUL, C_DIV };

static fy_status arithmetic(fy_eval *v, int kind) {
    fy_et   a, b, o;
    cplx    x, y;
    int     rank;
    int64_t dim[FY_MAX_RANK];
    double  alpha = 1, *z;
    FY_TRY(read(v, "self", &x));
    FY_TRY(read(v, "other", &y));
    FY_TRY(fy_ev_f64(v, "alpha", &alpha));
    a = x.t;
    b = y.t;
    FY_TRY(fy_ev_broadcast(v, 2, (const fy_et *[]){&a, &b}, &rank, dim));
    FY_TRY(fy_ev_expand(v, &a, rank, dim));
    FY_TRY(fy_ev_expand(v, &b, rank, dim));
    FY_TRY(load(v, a, &x));
    FY_TRY(load(v, b, &y));
    FY_TRY(make(v, &o, a.dtype == FERRY_COMPLEX128 || b.dtype == FERRY_COMPLEX128 ? FERRY_COMPLEX128 : FERRY_COMPLEX64, rank, dim, &z));
    for (int64_t i = 0; i < x.n; i++) {
        const double *p = x.z + 2 * i, *q = y.z + 2 * i;
        double       *r = z + 2 * i;
        if (kind == C_ADD || kind == C_SUB) {
            double f = kind == C_SUB ? -alpha : alpha;
            r[0] = p[0] + f * q[0];
            r[1] = p[1] + f * q[1];
        } else if (kind == C_MUL) times(r, p, q);
        else {
            double norm = q[0] * q[0] + q[1] * q[1], back[2] = {q[0] / norm, -q[1] / norm};
            times(r, p, back);
        }
    }
    return fy_ev_out(v, 0, &o);
}

static fy_status each(fy_eval *v, int which) {               /* 0: conj, 1: neg, 2: exp, 3: reciprocal */
    cplx    x;
    fy_et   o;
    double *z;
    FY_TRY(read(v, "self", &x));
    FY_TRY(make(v, &o, x.t.dtype, x.t.t.rank, x.t.t.dim, &z));
    for (int64_t i = 0; i < x.n; i++) {
        double re = x.z[2 * i], im = x.z[2 * i + 1], r = exp(re);
        if (which == 3) {
            z[2 * i] = re / (re * re + im * im);
            z[2 * i + 1] = -im / (re * re + im * im);
            continue;
        }
        z[2 * i] = which == 2 ? r * cos(im) : which == 1 ? -re : re;
        z[2 * i + 1] = which == 2 ? r * sin(im) : -im;
    }
    return fy_ev_out(v, 0, &o);
}

static fy_status size_or_angle(fy_eval *v, bool angle) {
    cplx  x;
    fy_et o;
    FY_TRY(read(v, "self", &x));
    FY_TRY(fy_ev_new(v, &o, real_of(x.t.dtype), x.t.t.rank, x.t.t.dim));
    for (int64_t i = 0; i < x.n; i++) fy_ev_at(&o)[i] = angle ? atan2(x.z[2 * i + 1], x.z[2 * i]) : hypot(x.z[2 * i], x.z[2 * i + 1]);
    return fy_ev_out(v, 0, &o);
}

/* complex(real, imag), polar(abs, angle) */
static fy_status joined(fy_eval *v, bool polar) {
    fy_et   a, b, o;
    int     rank;
    int64_t dim[FY_MAX_RANK];
    double *z;
    FY_TRY(fy_ev_in(v, polar ? "abs" : "real", &a));
    FY_TRY(fy_ev_in(v, polar ? "angle" : "imag", &b));
    FY_TRY(fy_ev_broadcast(v, 2, (const fy_et *[]){&a, &b}, &rank, dim));
    FY_TRY(fy_ev_expand(v, &a, rank, dim));
    FY_TRY(fy_ev_expand(v, &b, rank, dim));
    const double *x = fy_ev_dense(v, &a), *y = fy_ev_dense(v, &b);
    if (!x || !y) return FY_E_NOMEM;
    FY_TRY(make(v, &o, a.dtype, rank, dim, &z));
    for (int64_t i = 0, n = fy_count(&o.t); i < n; i++) {
        z[2 * i] = polar ? x[i] * cos(y[i]) : x[i];
        z[2 * i + 1] = polar ? x[i] * sin(y[i]) : y[i];
    }
    return fy_ev_out(v, 0, &o);
}

static fy_status as_complex(fy_eval *v) {
    fy_et   x, o;
    double *z;
    FY_TRY(fy_ev_in(v, "self", &x));
    FY_NEED(v->e, x.t.rank >= 1 && x.t.dim[x.t.rank - 1] == 2, SHAPE, "view_as_complex of a last axis that is not 2");
    const double *p = fy_ev_dense(v, &x);
    if (!p) return FY_E_NOMEM;
    FY_TRY(make(v, &o, x.dtype, x.t.rank - 1, x.t.dim, &z));
    memcpy(z, p, (size_t)fy_count(&x.t) * sizeof *p);
    return fy_ev_out(v, 0, &o);
}

/* Products of complex operands: real ones for each choice of parts, times i to the power of how many are imaginary. */
static fy_status products(fy_eval *v, const char *eq, int n, const fy_et *in) {
    enum { MOST = 8 };
    fy_et    part[MOST], o;
    double  *z = NULL;
    unsigned complex = 0;
    fy_dtype real = FERRY_FLOAT;
    FY_NEED(v->e, n <= MOST, LIMIT, "products of %d operands, some complex", n);
    for (int i = 0; i < n; i++) {
        FY_NEED(v->e, in[i].t.rank < FY_MAX_RANK, LIMIT, "rank %d", in[i].t.rank);
        complex |= (unsigned)is_complex(&in[i]) << i;
        if (real_of(in[i].dtype) == FERRY_DOUBLE) real = FERRY_DOUBLE;
    }
    for (unsigned choice = 0; choice < 1u << n; choice++) {
        fy_et y;
        int   turns = 0;
        if (choice & ~complex) continue;
        for (int i = 0; i < n; i++) {
            part[i] = complex >> i & 1 ? part_of(&in[i], choice >> i & 1) : in[i];
            part[i].dtype = real;
            turns += choice >> i & 1;
        }
        fy_status s = fy_ev_einsum(v, &y, eq, n, part);
        if (s == FY_OK && !z) s = make(v, &o, real, y.t.rank, y.t.dim, &z);
        if (s != FY_OK) {
            if (z) fy_tensor_free(&o.t);
            return s;
        }
        for (int64_t i = 0, m = fy_count(&y.t); i < m; i++) z[2 * i + turns % 2] += (turns % 4 >= 2 ? -1 : 1) * fy_ev_at(&y)[i];
        fy_tensor_free(&y.t);
    }
    return fy_ev_out(v, 0, &o);
}

static fy_status einsum(fy_eval *v) {
    fy_et *in;
    int    n;
    FY_TRY(fy_ev_list(v, "tensors", &in, &n));
    return products(v, fy_ev_str(v, "equation", ""), n, in);
}

static fy_status product(fy_eval *v, const char *second, const char *eq) {
    fy_et in[2];
    FY_TRY(fy_ev_in(v, "self", &in[0]));
    FY_TRY(fy_ev_in(v, second, &in[1]));
    bool row = in[0].t.rank == 1, column = in[1].t.rank == 1;
    return products(v, eq ? eq : row && column ? "i,i->" : row ? "i,...ij->...j" : column ? "...ij,j->...i" : "...ij,...jk->...ik", 2, in);
}

/* ---- transforms ------------------------------------------------------------------------------------------------------------------ */

/* y[k] = sum over j < n of x[j] exp(sign tau i j k / n), k < m; x ends at `have`; strides in pairs. */
static void sums(double *y, int64_t m, const double *x, int64_t have, int64_t n, int64_t step, double sign) {
    for (int64_t k = 0; k < m; k++) {
        double s[2] = {0, 0}, t[2];
        for (int64_t j = 0; j < n && j < have; j++) {
            double phase = sign * TAU * (double)(j * k % n) / (double)n, w[2] = {cos(phase), sin(phase)};
            times(t, x + 2 * j * step, w);
            s[0] += t[0];
            s[1] += t[1];
        }
        y[2 * k * step] = s[0];
        y[2 * k * step + 1] = s[1];
    }
}

/* One axis of dense pairs; the result lies in scratch. */
static fy_status along(fy_eval *v, cplx *c, int axis, int64_t n, int64_t m, bool inverse, double scale) {
    fy_tensor *t = &c->t.t;
    int64_t    have = t->dim[axis], inner = 1, outer = 1;
    FY_NEED(v->e, n > 0 && n < 1 << 16 && m > 0, VALUE, "a transform of length %lld", (long long)n);
    for (int i = 0; i < axis; i++) outer *= t->dim[i];
    for (int i = axis + 1; i < t->rank; i++) inner *= t->dim[i];
    FY_NEED(v->e, outer * inner < ((int64_t)1 << 32) / m, LIMIT, "a transform of %lld rows", (long long)(outer * inner));
    double *y = FY_NEWN(&v->scratch, double, 2 * outer * m * inner + 2);
    FY_NOMEM(v->e, y);
    for (int64_t i = 0; i < outer; i++)
        for (int64_t j = 0; j < inner; j++) sums(y + 2 * (i * m * inner + j), m, c->z + 2 * (i * have * inner + j), have, n, inner, inverse ? 1 : -1);
    t->dim[axis] = m;
    c->z = y;
    c->n = outer * m * inner;
    for (int64_t i = 0; i < 2 * c->n; i++) y[i] *= scale;
    return FY_OK;
}

/* The other half of a real signal's spectrum: conjugates. */
static fy_status completed(fy_eval *v, cplx *c, int axis, int64_t n) {
    fy_tensor *t = &c->t.t;
    int64_t    have = t->dim[axis], inner = 1, outer = 1;
    for (int i = 0; i < axis; i++) outer *= t->dim[i];
    for (int i = axis + 1; i < t->rank; i++) inner *= t->dim[i];
    double *y = FY_NEWN(&v->scratch, double, 2 * outer * n * inner + 2);
    FY_NOMEM(v->e, y);
    for (int64_t i = 0; i < outer; i++)
        for (int64_t k = 0; k < n; k++)
            for (int64_t j = 0; j < inner; j++) {
                bool    back = k > n / 2;
                int64_t from = back ? n - k : k;
                if (from >= have) continue;
                double *r = y + 2 * ((i * n + k) * inner + j);
                r[0] = c->z[2 * ((i * have + from) * inner + j)];
                r[1] = (back ? -1 : 1) * c->z[2 * ((i * have + from) * inner + j) + 1];
                if (from == 0 || 2 * from == n) r[1] = 0;
            }
    t->dim[axis] = n;
    c->z = y;
    c->n = outer * n * inner;
    return FY_OK;
}

static fy_status finish(fy_eval *v, const cplx *c, bool real) {
    fy_et   o;
    double *z;
    if (!real) {
        FY_TRY(make(v, &o, c->t.dtype, c->t.t.rank, c->t.t.dim, &z));
        memcpy(z, c->z, (size_t)c->n * 2 * sizeof *z);
    } else {
        FY_TRY(fy_ev_new(v, &o, real_of(c->t.dtype), c->t.t.rank, c->t.t.dim));
        for (int64_t i = 0; i < c->n; i++) fy_ev_at(&o)[i] = c->z[2 * i];
    }
    return fy_ev_out(v, 0, &o);
}

static double factor(int64_t n, int how) { return how == 2 ? 1 / (double)n : how == 1 ? 1 / sqrt((double)n) : 1; }

/* kind: 'r' real to complex, 'i' complex to real, 'c' complex; n[i] 0: as long as it is */
static fy_status transform(fy_eval *v, char kind, int naxes, const int *axis, const int64_t *n, bool inverse, int how, bool onesided) {
    cplx c;
    FY_TRY(read(v, "self", &c));
    for (int k = 0; k < naxes; k++) {
        int     i = kind == 'i' ? k : naxes - 1 - k;
        int64_t have = c.t.t.dim[axis[i]], size = n[i] > 0 ? n[i] : kind == 'i' && i == naxes - 1 ? 2 * (have - 1) : have;
        FY_NEED(v->e, size > 0, VALUE, "a transform of length %lld", (long long)size);
        if (kind == 'i' && i == naxes - 1) FY_TRY(completed(v, &c, axis[i], size));
        FY_TRY(along(v, &c, axis[i], size, kind == 'r' && i == naxes - 1 && onesided ? size / 2 + 1 : size, inverse, factor(size, how)));
    }
    return finish(v, &c, kind == 'i');
}

static fy_status named(fy_eval *v) {
    const char *op = v->node->op + strlen("aten.fft_"), *norm = fy_ev_str(v, "norm", "backward");
    bool        real = op[0] == 'r' || op[1] == 'r', inverse = op[0] == 'i', one = !strstr(op, "2.") && !strstr(op, "fftn.");
    int         axis[FY_MAX_RANK], naxes = 1, ns = -1, how = !strcmp(norm, "ortho") ? 1 : !strcmp(norm, "forward") == !inverse ? 2 : 0;
    int64_t     n[FY_MAX_RANK] = {0}, given[FY_MAX_RANK];
    fy_et       x;
    FY_TRY(fy_ev_in(v, "self", &x));
    if (one) {
        FY_TRY(fy_ev_int(v, "n", &n[0]));
        FY_TRY(fy_ev_axis(v, "dim", x.t.rank, -1, &axis[0]));
    } else {
        FY_TRY(fy_ev_ints(v, "s", n, FY_MAX_RANK, &ns));
        FY_TRY(fy_ev_ints(v, "dim", given, FY_MAX_RANK, &naxes));
        if (naxes < 0) {
            naxes = ns > 0 ? ns : strstr(op, "2.") ? 2 : x.t.rank;
            for (int i = 0; i < naxes; i++) given[i] = i - naxes;
        }
        for (int i = 0; i < naxes; i++) {
            axis[i] = (int)(given[i] < 0 ? given[i] + x.t.rank : given[i]);
            FY_NEED(v->e, axis[i] >= 0 && axis[i] < x.t.rank, AXIS, "axis %lld of rank %d", (long long)given[i], x.t.rank);
            if (ns < 0) n[i] = 0;
        }
        FY_NEED(v->e, ns < 0 || ns == naxes, SHAPE, "%d sizes for %d axes", ns, naxes);
    }
    return transform(v, !real ? 'c' : inverse ? 'i' : 'r', naxes, axis, n, inverse, how, true);
}

static fy_status plain(fy_eval *v) {
    const char *op = v->node->op;
    char        kind = strstr(op, "r2c") ? 'r' : strstr(op, "c2r") ? 'i' : 'c';
    int         naxes, axis[FY_MAX_RANK];
    int64_t     given[FY_MAX_RANK], n[FY_MAX_RANK] = {0}, how = 0;
    bool        onesided = false, forward = true;
    fy_et       x;
    FY_TRY(fy_ev_in(v, "self", &x));
    FY_TRY(fy_ev_ints(v, "dim", given, FY_MAX_RANK, &naxes));
    FY_TRY(fy_ev_int(v, "normalization", &how));
    FY_TRY(fy_ev_bool(v, "onesided", &onesided));
    FY_TRY(fy_ev_bool(v, "forward", &forward));
    for (int i = 0; i < naxes; i++) {
        axis[i] = (int)(given[i] < 0 ? given[i] + x.t.rank : given[i]);
        FY_NEED(v->e, axis[i] >= 0 && axis[i] < x.t.rank, AXIS, "axis %lld of rank %d", (long long)given[i], x.t.rank);
    }
    if (kind == 'i' && naxes > 0) FY_TRY(fy_ev_int(v, "last_dim_size", &n[naxes - 1]));
    return transform(v, kind, naxes, axis, n, kind == 'i' || !forward, (int)how, onesided);
}

typedef struct frames { int64_t n, hop; bool onesided, normalized, centre; double *w; } frames;

static fy_status read_frames(fy_eval *v, frames *f) {
    fy_et   w;
    bool    has;
    int64_t win;
    *f = (frames){.onesided = true};
    FY_TRY(fy_ev_int(v, "n_fft", &f->n));
    FY_NEED(v->e, f->n > 0 && f->n < 1 << 16, VALUE, "n_fft %lld", (long long)f->n);
    f->hop = f->n / 4;
    win = f->n;
    FY_TRY(fy_ev_int(v, "hop_length", &f->hop));
    FY_TRY(fy_ev_int(v, "win_length", &win));
    FY_TRY(fy_ev_bool(v, "onesided", &f->onesided));
    FY_TRY(fy_ev_bool(v, "normalized", &f->normalized));
    f->centre = !strcmp(v->node->op, "aten.istft.default");
    FY_TRY(fy_ev_bool(v, "center", &f->centre));
    FY_TRY(fy_ev_opt(v, "window", &w, &has));
    FY_NEED(v->e, f->hop > 0 && win > 0 && win <= f->n && (!has || (w.t.rank == 1 && w.t.dim[0] == win)), SHAPE, "a window of %lld for frames of %lld", (long long)win, (long long)f->n);
    const double *p = has ? fy_ev_dense(v, &w) : NULL;
    f->w = FY_NEWN(&v->scratch, double, f->n);
    if ((has && !p) || !f->w) return fy_nomem(v->e);
    for (int64_t i = 0; i < win; i++) f->w[(f->n - win) / 2 + i] = p ? p[i] : 1;
    return FY_OK;
}

/* x[i], mirrored (r), repeated (e) or zero beyond the ends */
static double beyond(const double *x, int64_t n, int64_t i, char mode) {
    if (i >= 0 && i < n) return x[i];
    if (mode == 'c') return 0;
    if (mode == 'e') return x[i < 0 ? 0 : n - 1];
    i = i < 0 ? -i : 2 * (n - 1) - i;
    return i >= 0 && i < n ? x[i] : 0;
}

static fy_status stft(fy_eval *v) {
    fy_et   x, o;
    frames  f;
    bool    complex = false;
    double *z;
    FY_TRY(fy_ev_in(v, "self", &x));
    FY_TRY(read_frames(v, &f));
    FY_TRY(fy_ev_bool(v, "return_complex", &complex));
    const char *pad = fy_ev_str(v, "pad_mode", "reflect");
    FY_NEED(v->e, x.t.rank == 1 || x.t.rank == 2, SHAPE, "stft of rank %d", x.t.rank);
    if (!strcmp(v->node->op, "aten.stft.center") && !fy_pnode_arg(v->node, "center")) f.centre = true;
    const double *p = fy_ev_dense(v, &x);
    if (!p) return FY_E_NOMEM;
    bool    batch = x.t.rank == 2;
    int64_t rows = batch ? x.t.dim[0] : 1, len = x.t.dim[x.t.rank - 1], lead = f.centre ? f.n / 2 : 0, count = (len + 2 * lead - f.n) / f.hop + 1, bins = f.onesided ? f.n / 2 + 1 : f.n;
    FY_NEED(v->e, len + 2 * lead >= f.n, SHAPE, "a signal shorter than a frame");
    FY_TRY(make(v, &o, x.dtype, batch ? 3 : 2, batch ? (int64_t[]){rows, bins, count} : (int64_t[]){bins, count}, &z));
    double *frame = FY_NEWN(&v->scratch, double, 2 * f.n), *y = FY_NEWN(&v->scratch, double, 2 * bins), scale = f.normalized ? 1 / sqrt((double)f.n) : 1;
    char    mode = pad[0] == 'r' && pad[2] == 'f' ? 'r' : pad[0] == 'r' ? 'e' : 'c';
    if (!frame || !y) { fy_tensor_free(&o.t); return fy_nomem(v->e); }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < count; k++) {
            for (int64_t i = 0; i < f.n; i++) frame[2 * i] = f.w[i] * beyond(p + r * len, len, k * f.hop + i - lead, mode);
            sums(y, bins, frame, f.n, f.n, 1, -1);
            for (int64_t i = 0; i < bins; i++)
                for (int q = 0; q < 2; q++) z[2 * ((r * bins + i) * count + k) + q] = y[2 * i + q] * scale;
        }
    if (complex) return fy_ev_out(v, 0, &o);
    fy_et pairs = o;                                         /* the same numbers, with an axis of their own */
    pairs.dtype = real_of(o.dtype);
    pairs.t.dtype = FERRY_DOUBLE;
    pairs.t.dim[pairs.t.rank++] = 2;
    fy_strides(pairs.t.rank, pairs.t.dim, pairs.t.stride);
    return fy_ev_out(v, 0, &pairs);
}

static fy_status istft(fy_eval *v) {
    cplx    c;
    fy_et   o;
    frames  f;
    int64_t length = -1;
    FY_TRY(read(v, "self", &c));
    FY_TRY(read_frames(v, &f));
    FY_TRY(fy_ev_int(v, "length", &length));
    fy_tensor *t = &c.t.t;
    FY_NEED(v->e, t->rank == 2 || t->rank == 3, SHAPE, "istft of rank %d", t->rank);
    int     axis = t->rank - 2;
    bool    batch = t->rank == 3;
    int64_t rows = batch ? t->dim[0] : 1, count = t->dim[t->rank - 1], total = f.n + (count - 1) * f.hop, lead = f.centre ? f.n / 2 : 0, keep = length >= 0 ? length : total - 2 * lead;
    FY_NEED(v->e, keep >= 0 && count > 0 && keep < (int64_t)1 << 32, SHAPE, "istft of %lld frames", (long long)count);
    if (f.onesided) FY_TRY(completed(v, &c, axis, f.n));
    FY_TRY(along(v, &c, axis, f.n, f.n, true, f.normalized ? 1 / sqrt((double)f.n) : 1 / (double)f.n));
    double *y = FY_NEWN(&v->scratch, double, total), *w = FY_NEWN(&v->scratch, double, total);
    FY_NOMEM(v->e, y && w);
    for (int64_t k = 0; k < count; k++)
        for (int64_t i = 0; i < f.n; i++) w[k * f.hop + i] += f.w[i] * f.w[i];
    FY_TRY(fy_ev_new(v, &o, real_of(c.t.dtype), batch ? 2 : 1, batch ? (int64_t[]){rows, keep} : &keep));
    for (int64_t r = 0; r < rows; r++) {
        memset(y, 0, (size_t)total * sizeof *y);
        for (int64_t k = 0; k < count; k++)
            for (int64_t i = 0; i < f.n; i++) y[k * f.hop + i] += f.w[i] * c.z[2 * ((r * f.n + i) * count + k)];
        for (int64_t i = 0; i < keep; i++) fy_ev_at(&o)[r * keep + i] = i + lead < total ? y[i + lead] / w[i + lead] : 0;
    }
    return fy_ev_out(v, 0, &o);
}

/* ---- by parts ------------------------------------------------------------------------------------------------------------------------ */

static bool all_planes(const fy_eval *v) { return v->plane == ~0u; }

fy_status fy_ev_plane(fy_eval *v, const fy_pvalue *p, fy_et *a) {
    bool imaginary = all_planes(v);
    for (int i = 0; i < v->node->narg && i < 31 && !imaginary; i++) imaginary = v->node->arg[i].kind == FY_ARG_TENSOR && v->node->arg[i].value == p && v->plane >> i & 1;
    if (is_complex(a)) {
        FY_NEED(v->e, a->t.rank < FY_MAX_RANK, LIMIT, "rank %d", a->t.rank);
        *a = part_of(a, imaginary);
        a->t.own = NULL;
    } else if (all_planes(v) && fy_dtype_class(a->dtype) == FY_CLASS_F) {    /* which has no imaginary part */
        fy_et real = *a;
        return fy_ev_temp(v, a, real.dtype, real.t.rank, real.t.dim);
    }
    return FY_OK;
}

/* The operator's own function on one part; its result, which is the caller's. */
static fy_status one_part(fy_eval *v, fy_ev_fn run, unsigned plane, fy_et *y) {
    v->planes = true;
    v->plane = plane;
    v->got = (fy_et){0};
    bool in = v->inplace;
    v->inplace = false;
    fy_status s = run(v);
    v->inplace = in;
    v->planes = false;
    *y = v->got;
    v->got = (fy_et){0};
    if (s != FY_OK) fy_tensor_free(&y->t);
    else FY_NEED(v->e, y->t.dtype == FERRY_DOUBLE, UNSUPPORTED, "%s of complex numbers cannot be evaluated", v->node->op);
    return s;
}

/* Adds a part to *o (made here first), times i to the power of `turns`. */
static fy_status add_part(fy_eval *v, fy_et *o, fy_ev_fn run, unsigned plane, int turns) {
    fy_et y;
    FY_TRY(one_part(v, run, plane, &y));
    double *z;
    fy_status s = o->t.dtype ? FY_OK : make(v, o, y.dtype, y.t.rank, y.t.dim, &z);
    for (int64_t i = 0, n = s == FY_OK ? fy_count(&y.t) : 0; i < n; i++) ((double *)o->t.data)[2 * i + turns % 2] += (turns % 4 >= 2 ? -1 : 1) * fy_get_f64(&y.t, i);
    fy_tensor_free(&y.t);
    return s;
}

static fy_status ended(fy_eval *v, fy_et *o, fy_status s) {
    if (s == FY_OK) return fy_ev_out(v, 0, o);
    fy_tensor_free(&o->t);
    return s;
}

/* Sums, and what picks and moves elements: either part for itself. */
static fy_status linear(fy_eval *v, fy_ev_fn run) {
    fy_et  o = {0};
    double value = 0;
    FY_TRY(fy_ev_f64(v, "value", &value));
    FY_NEED(v->e, value == 0, UNSUPPORTED, "%s of complex numbers with %g cannot be evaluated", v->node->op, value);
    fy_status s = add_part(v, &o, run, 0, 0);
    if (s == FY_OK) s = add_part(v, &o, run, ~0u, 1);
    return ended(v, &o, s);
}

/* Convolutions: parts of one operand by parts of the other. */
static fy_status bilinear(fy_eval *v, fy_ev_fn run) {
    fy_et     o = {0};
    fy_status s = FY_OK;
    FY_NEED(v->e, v->node->narg >= 2 && fy_aten_arg(v->node, "bias")->kind == FY_ARG_NONE, UNSUPPORTED, "%s of complex numbers with a bias cannot be evaluated", v->node->op);
    for (unsigned plane = 0; plane < 4 && s == FY_OK; plane++) {
        bool can = true;
        for (int i = 0; i < 2; i++) can = can && (!(plane >> i & 1) || (v->node->arg[i].kind == FY_ARG_TENSOR && v->node->arg[i].value->has_meta && fy_dtype_class(v->node->arg[i].value->dtype) == FY_CLASS_C));
        if (can) s = add_part(v, &o, run, plane, (int)(plane >> 1) + (int)(plane & 1));
    }
    return ended(v, &o, s);
}

/* ---- which -------------------------------------------------------------------------------------------------------------------------- */

static bool starts(const char *op, const char *with) { return strncmp(op, with, strlen(with)) == 0; }

/* Operators that read or make complex numbers. Those that only move elements are done by their own function. */
fy_status fy_ev_complex(fy_eval *v, fy_ev_fn run) {
    static const char *const moves[] = {"aten.view.", "aten.reshape.", "aten._unsafe_view.", "aten.transpose.", "aten.permute.", "aten.t.", "aten.slice.", "aten.select.", "aten.unsqueeze.", "aten.squeeze.",
        "aten.expand.", "aten.expand_as.", "aten.alias.", "aten.detach.", "aten.flatten.", "aten.unflatten.", "aten.narrow.", "aten.movedim.", "aten.unbind.", "aten.split.", "aten.split_with_sizes.",
        "aten.chunk.", "aten.resolve_conj.", "aten.resolve_neg.", "aten.diagonal.", "aten.cat.", "aten.stack.", "aten.clone.", "aten.contiguous.", "aten.view_as.", "aten.reshape_as.", "aten.mT.", "aten.numpy_T.", "aten.sym_size.", "aten.sym_numel."};
    static const char *const parts_alone[] = {"aten.sum.", "aten.mean.", "aten.cumsum.", "aten.gather.", "aten.index.", "aten.index_select.", "aten.embedding.", "aten.roll.", "aten.flip.", "aten.repeat.", "aten.where.",
        "aten.pad.", "aten.constant_pad_nd.", "aten.lift_fresh_copy.", "aten.fft_fftshift.", "aten.fft_ifftshift."};
    static const char *const convolutions[] = {"aten.conv1d.", "aten.conv2d.", "aten.conv3d.", "aten.convolution."};
    const char *op = v->node->op;
    for (int i = 0; i < FY_COUNT(parts_alone) && run; i++)
        if (starts(op, parts_alone[i])) return linear(v, run);
    for (int i = 0; i < FY_COUNT(convolutions) && run; i++)
        if (starts(op, convolutions[i])) return bilinear(v, run);
    if (starts(op, "aten.fft_")) return named(v);
    if (starts(op, "aten._fft_")) return plain(v);
    if (starts(op, "aten.stft.")) return stft(v);
    if (starts(op, "aten.istft.")) return istft(v);
    if (starts(op, "aten.view_as_complex.")) return as_complex(v);
    if (starts(op, "aten.complex.") || starts(op, "aten.polar.")) return joined(v, starts(op, "aten.polar."));
    if (starts(op, "aten.add.") || starts(op, "aten.sub.")) return arithmetic(v, starts(op, "aten.sub.") ? C_SUB : C_ADD);
    if (starts(op, "aten.mul.") || starts(op, "aten.div.")) return arithmetic(v, starts(op, "aten.div.") ? C_DIV : C_MUL);
    if (starts(op, "aten.conj.") || starts(op, "aten._conj.") || starts(op, "aten.conj_physical.") || starts(op, "aten._conj_physical.")) return each(v, 0);
    if (starts(op, "aten.neg.")) return each(v, 1);
    if (starts(op, "aten.exp.")) return each(v, 2);
    if (starts(op, "aten.reciprocal.")) return each(v, 3);
    if (starts(op, "aten.abs.") || starts(op, "aten.angle.")) return size_or_angle(v, starts(op, "aten.angle."));
    if (starts(op, "aten.einsum.")) return einsum(v);
    if (starts(op, "aten.matmul.")) return product(v, "other", NULL);
    if (starts(op, "aten.mm.") || starts(op, "aten.bmm.")) return product(v, "mat2", NULL);
    if (starts(op, "aten.mv.")) return product(v, "vec", NULL);
    if (starts(op, "aten.dot.")) return product(v, "tensor", NULL);
    if (starts(op, "aten.outer.")) return product(v, "vec2", "i,j->ij");
    bool pair = starts(op, "aten.view_as_real."), im = starts(op, "aten.imag.");
    if (pair || im || starts(op, "aten.real.")) {
        fy_et x;
        FY_TRY(fy_ev_in(v, "self", &x));
        return is_complex(&x) ? parts(v, &x, pair ? -1 : im) : fy_ev_view(v, 0, &x);
    }
    for (int i = 0; i < FY_COUNT(moves); i++)
        if (starts(op, moves[i]) && run) return run(v);
    return fy_fail(v->e, FY_E_UNSUPPORTED, "%s of complex numbers cannot be evaluated", op);
}

/* What only complex programs have: transforms, conversions. */
fy_status fy_at_complex(fy_eval *v) { return fy_ev_complex(v, NULL); }
