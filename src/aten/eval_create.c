/* SPDX-License-Identifier: Apache-2.0
 * eval_create.c - tensors made from numbers: full, arange, eye, masks of triangles. Random ones are refused. */
#include "aten/eval.h"

#include <math.h>

static void fill(fy_et *o, double f, int64_t i) {
    int64_t n = fy_count(&o->t);
    for (int64_t j = 0; j < n; j++) {
        if (o->t.dtype == FERRY_DOUBLE) fy_ev_at(o)[j] = f;
        else if (o->t.dtype == FERRY_BOOL) fy_ev_at_b(o)[j] = f != 0;
        else fy_ev_at_i(o)[j] = i;
    }
}

static fy_status filled(fy_eval *v, fy_dtype dtype, int rank, const int64_t *dim, const fy_et *x) {
    fy_et o;
    FY_TRY(fy_ev_new(v, &o, dtype, rank, dim));
    if (x) {
        double f = fy_get_f64(&x->t, 0);
        fill(&o, fy_dtype_class(dtype) == FY_CLASS_F ? fy_round_to(dtype, f) : f, fy_get_i64(&x->t, 0));
    }
    return fy_ev_out(v, 0, &o);
}

enum { FULL, ZEROS, ONES, SCALAR };

static fy_status number(fy_eval *v, int k, fy_et *x) {
    bool has;
    if (k == FULL) {
        FY_TRY(fy_ev_number(v, fy_pnode_arg(v->node, "fill_value") ? "fill_value" : fy_pnode_arg(v->node, "value") ? "value" : "s", x, &has));
        FY_NEED(v->e, has, GRAPH, "the value is missing");
        return FY_OK;
    }
    FY_TRY(fy_ev_temp(v, x, FERRY_INT64, 0, NULL));
    *fy_ev_at_i(x) = k == ONES;
    return FY_OK;
}

fy_status fy_at_full(fy_eval *v) {                           /* full, zeros, ones, empty.*, scalar_tensor */
    fy_et    x;
    fy_dtype to = 0;
    int64_t  dim[FY_MAX_RANK];
    int      n;
    FY_TRY(number(v, v->k == SCALAR ? FULL : v->k, &x));
    FY_TRY(fy_ev_ints(v, "size", dim, FY_MAX_RANK, &n));
    FY_TRY(fy_ev_dtype(v, "dtype", &to));
    if (!to) to = v->k == FULL ? x.dtype : FERRY_FLOAT;
    return filled(v, to, n < 0 ? 0 : n, dim, &x);
}

fy_status fy_at_full_like(fy_eval *v) {                      /* *_like, new_*, fill, zero */
    fy_et    a, x;
    int64_t  dim[FY_MAX_RANK];
    int      n;
    FY_TRY(fy_ev_raw(v, "self", &a));
    FY_TRY(number(v, v->k, &x));
    fy_dtype to = a.dtype;
    FY_TRY(fy_ev_dtype(v, "dtype", &to));
    FY_TRY(fy_ev_ints(v, "size", dim, FY_MAX_RANK, &n));
    if (n < 0) { n = a.t.rank; memcpy(dim, a.t.dim, sizeof dim); }
    return filled(v, to, n, dim, &x);
}

fy_status fy_at_arange(fy_eval *v) {
    fy_et    end, start, step, o;
    bool     has_end, has_start, has_step;
    fy_dtype to = 0;
    FY_TRY(fy_ev_number(v, "end", &end, &has_end));
    FY_TRY(fy_ev_number(v, "start", &start, &has_start));
    FY_TRY(fy_ev_number(v, "step", &step, &has_step));
    FY_TRY(fy_ev_dtype(v, "dtype", &to));
    FY_NEED(v->e, has_end, GRAPH, "arange without an end");
    bool ints = fy_dtype_class(end.dtype) != FY_CLASS_F && (!has_start || fy_dtype_class(start.dtype) != FY_CLASS_F) && (!has_step || fy_dtype_class(step.dtype) != FY_CLASS_F);
    if (!to) to = ints ? FERRY_INT64 : FERRY_FLOAT;
    double  a = has_start ? fy_get_f64(&start.t, 0) : 0, b = fy_get_f64(&end.t, 0), s = has_step ? fy_get_f64(&step.t, 0) : 1;
    FY_NEED(v->e, s != 0 && isfinite(a) && isfinite(b), VALUE, "arange from %g to %g by %g", a, b, s);
    double  count = ceil((b - a) / s);
    FY_NEED(v->e, count < 1e9, LIMIT, "arange of %g elements", count);
    int64_t n = count > 0 ? (int64_t)count : 0;
    FY_TRY(fy_ev_new(v, &o, to, 1, &n));
    int64_t ai = has_start ? fy_get_i64(&start.t, 0) : 0, si = has_step ? fy_get_i64(&step.t, 0) : 1;
    for (int64_t i = 0; i < n; i++) {
        if (o.t.dtype == FERRY_DOUBLE) fy_ev_at(&o)[i] = a + (double)i * s;
        else if (o.t.dtype == FERRY_INT64) fy_ev_at_i(&o)[i] = ints ? (int64_t)((uint64_t)ai + (uint64_t)i * (uint64_t)si) : (int64_t)(a + (double)i * s);
    }
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_linspace(fy_eval *v) {
    fy_et    o;
    double   a = 0, b = 0;
    int64_t  n = 100;
    fy_dtype to = FERRY_FLOAT;
    FY_TRY(fy_ev_f64(v, "start", &a));
    FY_TRY(fy_ev_f64(v, "end", &b));
    FY_TRY(fy_ev_int(v, "steps", &n));
    FY_TRY(fy_ev_dtype(v, "dtype", &to));
    FY_NEED(v->e, n >= 0, VALUE, "linspace of %lld steps", (long long)n);
    FY_TRY(fy_ev_new(v, &o, to, 1, &n));
    double s = n > 1 ? (b - a) / (double)(n - 1) : 0;
    for (int64_t i = 0; i < n; i++) {
        double x = i < n / 2 || n == 1 ? a + s * (double)i : b - s * (double)(n - 1 - i);
        if (o.t.dtype == FERRY_DOUBLE) fy_ev_at(&o)[i] = x;
        else fy_ev_at_i(&o)[i] = (int64_t)x;
    }
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_eye(fy_eval *v) {
    fy_et    o, one;
    int64_t  n = 0, m;
    fy_dtype to = FERRY_FLOAT;
    FY_TRY(fy_ev_int(v, "n", &n));
    m = n;
    FY_TRY(fy_ev_int(v, "m", &m));
    FY_TRY(fy_ev_dtype(v, "dtype", &to));
    FY_TRY(fy_ev_new(v, &o, to, 2, (int64_t[]){n, m}));
    one = o;
    one.t.rank = 1;
    one.t.dim[0] = n < m ? n : m;
    one.t.stride[0] = m + 1;
    for (int64_t i = 0; i < one.t.dim[0]; i++) fy_put_i64(&one.t, i, 1);
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_triangle(fy_eval *v) {                       /* tril; 1: triu */
    fy_et   a, o;
    int64_t d = 0;
    FY_TRY(fy_ev_in(v, "self", &a));
    FY_TRY(fy_ev_int(v, "diagonal", &d));
    FY_NEED(v->e, a.t.rank >= 2, SHAPE, "a triangle of rank %d", a.t.rank);
    FY_TRY(fy_ev_copy(v, &o, &a));
    int64_t rows = a.t.dim[a.t.rank - 2], cols = a.t.dim[a.t.rank - 1];
    size_t  w = (size_t)fy_elem_bytes(o.t.dtype);
    for (int64_t i = 0, n = fy_count(&o.t); i < n; i++) {
        int64_t r = i / cols % rows, c = i % cols;
        if (v->k ? c - r < d : c - r > d) memset((char *)o.t.data + (size_t)i * w, 0, w);
    }
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_triangle_indices(fy_eval *v) {               /* tril_indices; 1: triu_indices */
    fy_et   o;
    int64_t rows = 0, cols = 0, d = 0, n = 0;
    FY_TRY(fy_ev_int(v, "row", &rows));
    FY_TRY(fy_ev_int(v, "col", &cols));
    FY_TRY(fy_ev_int(v, "offset", &d));
    FY_NEED(v->e, rows >= 0 && cols >= 0 && rows < 1 << 15 && cols < 1 << 15, LIMIT, "a triangle of %lld x %lld", (long long)rows, (long long)cols);
    for (int pass = 0; pass < 2; pass++) {
        int64_t k = 0;
        if (pass) FY_TRY(fy_ev_new(v, &o, FERRY_INT64, 2, (int64_t[]){2, n}));
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < cols; c++) {
                if (v->k ? c - r < d : c - r > d) continue;
                if (pass) { fy_ev_at_i(&o)[k] = r; fy_ev_at_i(&o)[n + k] = c; }
                k++;
            }
        n = k;
    }
    return fy_ev_out(v, 0, &o);
}

fy_status fy_at_meshgrid(fy_eval *v) {
    fy_et  *in;
    int     n;
    int64_t dim[FY_MAX_RANK];
    FY_TRY(fy_ev_list(v, "tensors", &in, &n));
    FY_NEED(v->e, n >= 1 && n <= FY_MAX_RANK, LIMIT, "meshgrid of %d", n);
    bool xy = !strcmp(fy_ev_str(v, "indexing", "ij"), "xy") && n >= 2;
    for (int i = 0; i < n; i++) {
        int at = xy && i < 2 ? 1 - i : i;
        FY_NEED(v->e, in[i].t.rank <= 1, SHAPE, "meshgrid of rank %d", in[i].t.rank);
        dim[at] = in[i].t.rank ? in[i].t.dim[0] : 1;
    }
    for (int i = 0; i < n; i++) {
        int       at = xy && i < 2 ? 1 - i : i;
        fy_tensor t = in[i].t;
        t.rank = n;
        for (int k = 0; k < n; k++) { t.dim[k] = dim[k]; t.stride[k] = k == at && in[i].t.rank ? in[i].t.stride[0] : 0; }
        in[i].t = t;
    }
    return fy_ev_out_list(v, n, in);
}

fy_status fy_at_random(fy_eval *v) {
    return fy_fail(v->e, FY_E_UNSUPPORTED, "%s is random: its values cannot be checked", v->node->op);
}

/* Hann, Hamming, Blackman windows. */
fy_status fy_at_window(fy_eval *v) {
    fy_et    o;
    int64_t  n = 0;
    bool     periodic = true;
    fy_dtype to = FERRY_FLOAT;
    double   alpha = 0.54, beta = 0.46;
    FY_TRY(fy_ev_int(v, "window_length", &n));
    FY_TRY(fy_ev_bool(v, "periodic", &periodic));
    FY_TRY(fy_ev_dtype(v, "dtype", &to));
    FY_TRY(fy_ev_f64(v, "alpha", &alpha));
    FY_TRY(fy_ev_f64(v, "beta", &beta));
    FY_TRY(fy_ev_new(v, &o, to, 1, &n));
    double d = (double)(periodic ? n : n - 1), pi = 3.14159265358979323846;
    for (int64_t i = 0; i < n; i++) {
        double c = n == 1 ? 1 : cos(2 * pi * (double)i / d);
        fy_ev_at(&o)[i] = n == 1 ? 1 : v->k == 0 ? 0.5 - 0.5 * c : v->k == 1 ? alpha - beta * c : 0.42 - 0.5 * c + 0.08 * cos(4 * pi * (double)i / d);
    }
    return fy_ev_out(v, 0, &o);
}
