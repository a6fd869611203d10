/* SPDX-License-Identifier: Apache-2.0
 * lower_create.c - tensors out of nothing: ranges, filled tensors, triangles. What is small and known becomes a constant. */
#include "aten/lower.h"

#include <math.h>
#include <string.h>

enum { CONST_MAX = 4096 };               /* elements of a constant made here; larger ones stay nodes */

/* Doubles (or exact integers) as a constant of dtype t. */
static fy_value *constant(fy_lower *l, fy_dtype t, int rank, const int64_t *dim, const double *f) {
    fy_const *c = fy_const_copy(&l->m->arena, FERRY_DOUBLE, rank, dim, f);
    fy_tensor wide = {0}, narrow = {0};
    if (!c || fy_const_tensor(&wide, c, l->b.e) != FY_OK || fy_tensor_cast(&narrow, &wide, t, l->b.e) != FY_OK || !(c = fy_const_from(&l->m->arena, &narrow))) {
        fy_tensor_free(&wide);
        fy_tensor_free(&narrow);
        (void)fy_l_fail(l, FY_E_NOMEM, "out of memory");
        return NULL;
    }
    fy_tensor_free(&wide);
    fy_tensor_free(&narrow);
    return fy_k_const(&l->b, c, NULL);
}

static bool plain(const fy_operand *o) { return !o->v && !o->dim; }

fy_status fy_lower_arange(fy_lower *l) {
    fy_operand zero = {.number = true, .dtype = FERRY_INT64}, one = {.number = true, .dtype = FERRY_INT64, .i = 1, .f = 1};
    fy_operand start = fy_l_has(l, "start") ? fy_l_operand(l, "start") : zero, end = fy_l_operand(l, "end"), step = fy_l_has(l, "step") ? fy_l_operand(l, "step") : one;
    bool ints = !fy_dtype_float(start.dtype) && !fy_dtype_float(end.dtype) && !fy_dtype_float(step.dtype);
    fy_dtype t = fy_l_dtype(l, "dtype", ints ? FERRY_INT64 : FERRY_FLOAT);
    FY_L_OK(l);
    if (l->p->nopened && plain(&start) && plain(&end) && plain(&step) && ints && start.i == 0 && step.i == 1) {
        end.dim = fy_l_fit_range(l, end.i);              /* positions of an axis that was opened */
        FY_L_OK(l);
    }
    if (plain(&start) && plain(&end) && plain(&step)) {
        if (step.f == 0) return fy_l_fail(l, FY_E_VALUE, "arange with step 0");
        double n = ceil((end.f - start.f) / step.f);
        if (n < 0) return fy_l_fail(l, FY_E_VALUE, "arange runs away from its end");
        if (n <= CONST_MAX) {
            int64_t count = (int64_t)n;
            double *f = FY_NEWN(&l->tmp, double, count);
            if (!f) return fy_l_fail(l, FY_E_NOMEM, "out of memory");
            for (int64_t i = 0; i < count; i++) f[i] = start.f + (double)i * step.f;
            return fy_l_ret(l, constant(l, t, 1, &count, f));
        }
    }
    fy_dtype work = ints ? FERRY_INT64 : t == FERRY_DOUBLE ? FERRY_DOUBLE : FERRY_FLOAT;
    fy_value *y = fy_emit(&l->b, "Range", FY_V(fy_l_as(l, &start, work), fy_l_as(l, &end, work), fy_l_as(l, &step, work)), FY_NOATTR);
    return fy_l_ret(l, y ? fy_b_cast(&l->b, y, t) : NULL);
}

fy_status fy_lower_linspace(fy_lower *l) {
    double a = fy_l_float(l, "start"), b = fy_l_float(l, "end");
    int64_t n = fy_l_int(l, "steps");
    fy_dtype t = fy_l_dtype(l, "dtype", FERRY_FLOAT);
    FY_L_OK(l);
    if (n < 0 || n > (1 << 20)) return fy_l_fail(l, FY_E_LIMIT, "linspace of %lld steps", (long long)n);
    double *f = FY_NEWN(&l->tmp, double, n), step = n > 1 ? (b - a) / (double)(n - 1) : 0;
    if (!f) return fy_l_fail(l, FY_E_NOMEM, "out of memory");
    for (int64_t i = 0; i < n; i++) f[i] = i < n / 2 || n == 1 ? a + step * (double)i : b - step * (double)(n - 1 - i);    /* from both ends, as torch */
    return fy_l_ret(l, constant(l, t, 1, &n, f));
}

/* full, zeros, ones, empty and their new_* and *_like forms; what is "empty" is zero */
fy_status fy_lower_full(fy_lower *l) {
    const char *op = l->n->op;
    bool like = strstr(op, "_like") != NULL, from = strncmp(op, "aten.new_", 9) == 0, filled = strstr(op, "full") != NULL, ones = strstr(op, "ones") != NULL;
    fy_value *self = like || from ? fy_l_tensor(l, "self") : NULL;
    fy_operand v = filled ? fy_l_operand(l, "fill_value") : (fy_operand){.number = true, .dtype = FERRY_FLOAT, .i = ones, .f = ones};
    fy_dtype t = fy_l_dtype(l, "dtype", self ? self->type.dtype : v.dtype);
    const fy_dim *size[FY_MAX_RANK], *const *d = size;
    int n;
    if (like) {
        n = fy_rank(l, self);
        d = self ? self->type.dim : size;
    } else {
        n = fy_l_dims(l, "size", size, FY_MAX_RANK);
        int64_t k;                                       /* a 1 broadcasts: only larger sizes must follow an opened axis */
        for (int i = 0; i < n; i++)
            if (size[i] && fy_dim_known(size[i], &k) && k > 1) size[i] = fy_l_fit_size(l, i, size[i]);
    }
    FY_L_OK(l);
    return fy_l_ret(l, fy_l_full(l, n, d, fy_l_as(l, &v, t)));
}

fy_status fy_lower_fill(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    fy_operand zero = {.number = true, .dtype = FERRY_INT64}, v = fy_l_named(l, "aten.zero") ? zero : fy_l_operand(l, "value");
    if (!x) return fy_l_ret(l, NULL);
    return fy_l_ret(l, fy_l_full(l, fy_rank(l, x), x->type.dim, fy_l_as(l, &v, x->type.dtype)));
}

fy_status fy_lower_scalar_tensor(fy_lower *l) {
    fy_operand v = fy_l_operand(l, "s");
    return fy_l_ret(l, fy_l_as(l, &v, fy_l_dtype(l, "dtype", FERRY_FLOAT)));
}

fy_status fy_lower_eye(fy_lower *l) {
    int64_t n = fy_l_int(l, "n"), m = fy_l_has(l, "m") ? fy_l_int(l, "m") : n, dim[2] = {n, m};
    FY_L_OK(l);
    if (n < 0 || m < 0 || (m > 0 && n > (1 << 20) / m)) return fy_l_fail(l, FY_E_LIMIT, "eye of %lld x %lld", (long long)n, (long long)m);
    double *f = FY_NEWN(&l->tmp, double, n * m);
    if (!f) return fy_l_fail(l, FY_E_NOMEM, "out of memory");
    for (int64_t i = 0; i < n && i < m; i++) f[i * m + i] = 1;
    return fy_l_ret(l, constant(l, fy_l_dtype(l, "dtype", FERRY_FLOAT), 2, dim, f));
}

fy_status fy_lower_triangle(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    const fy_dim *k = fy_l_dim(l, "diagonal");
    if (!x || !k) return fy_l_ret(l, NULL);
    return fy_l_ret(l, fy_emit(&l->b, "Trilu", FY_V(x, fy_dim_is(k, 0) ? NULL : fy_l_size_scalar(l, k)), FY_A(fy_int("upper", fy_l_named(l, "aten.triu")))));
}

/* tril_indices, triu_indices: [2, n] rows and columns */
fy_status fy_lower_triangle_indices(fy_lower *l) {
    int64_t rows = fy_l_int(l, "row"), cols = fy_l_int(l, "col"), off = fy_l_int(l, "offset");
    bool upper = fy_l_named(l, "aten.triu_indices");
    fy_dtype t = fy_l_dtype(l, "dtype", FERRY_INT64);
    FY_L_OK(l);
    if (rows < 0 || cols < 0 || (cols > 0 && rows > (1 << 20) / cols)) return fy_l_fail(l, FY_E_LIMIT, "%s of %lld x %lld", l->n->op, (long long)rows, (long long)cols);
    int64_t n = 0, dim[2];
    double *f = FY_NEWN(&l->tmp, double, 2 * rows * cols);
    if (!f) return fy_l_fail(l, FY_E_NOMEM, "out of memory");
    for (int pass = 0; pass < 2; pass++) {
        int64_t k = 0;
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < cols; j++)
                if (upper ? j - i >= off : j - i <= off) {
                    if (pass) { f[k] = (double)i; f[n + k] = (double)j; }
                    k++;
                }
        n = k;
    }
    dim[0] = 2;
    dim[1] = n;
    return fy_l_ret(l, constant(l, t, 2, dim, f));
}

/* hann_window, hamming_window */
fy_status fy_lower_window(fy_lower *l) {
    int64_t n = fy_l_int(l, "window_length");
    bool periodic = !fy_l_has(l, "periodic") || fy_l_bool(l, "periodic"), hann = fy_l_named(l, "aten.hann_window");
    FY_L_OK(l);
    if (n < 0 || n > (1 << 20)) return fy_l_fail(l, FY_E_LIMIT, "a window of %lld", (long long)n);
    double *f = FY_NEWN(&l->tmp, double, n), m = (double)(periodic ? n : n - 1), a = hann ? 0.5 : 0.54;
    if (!f) return fy_l_fail(l, FY_E_NOMEM, "out of memory");
    for (int64_t i = 0; i < n; i++) f[i] = n == 1 ? 1 : a - (1 - a) * cos(2 * acos(-1) * (double)i / m);
    return fy_l_ret(l, constant(l, fy_l_dtype(l, "dtype", FERRY_FLOAT), 1, &n, f));
}

/* rand, randn and their *_like forms, randperm is not among them */
fy_status fy_lower_random(fy_lower *l) {
    bool like = strstr(l->n->op, "_like") != NULL, normal = strstr(l->n->op, "randn") != NULL;
    fy_value *self = like ? fy_l_tensor(l, "self") : NULL;
    fy_dtype t = fy_l_dtype(l, "dtype", self ? self->type.dtype : FERRY_FLOAT);
    if (!like) {
        const fy_dim *size[FY_MAX_RANK];
        int n = fy_l_dims(l, "size", size, FY_MAX_RANK);
        FY_L_OK(l);
        self = fy_l_full(l, n, size, fy_k_scalar(&l->b, t, 0));
    }
    return fy_l_ret(l, self ? fy_emit(&l->b, normal ? "RandomNormalLike" : "RandomUniformLike", FY_V(self), FY_A(fy_int("dtype", t))) : NULL);
}

/* randperm: the order of random numbers */
fy_status fy_lower_randperm(fy_lower *l) {
    const fy_dim *n = fy_l_dim(l, "n");
    fy_dtype t = fy_l_dtype(l, "dtype", FERRY_INT64);
    FY_L_OK(l);
    fy_value *x = fy_l_full(l, 1, &n, fy_k_scalar(&l->b, FERRY_FLOAT, 0));
    x = x ? fy_emit(&l->b, "RandomUniformLike", FY_V(x), FY_NOATTR) : NULL;
    fy_node *top = x ? fy_emit_n(&l->b, "TopK", 2, FY_V(x, fy_l_size(l, n)), FY_NOATTR) : NULL;
    return fy_l_ret(l, top ? fy_b_cast(&l->b, top->out[1], t) : NULL);
}
