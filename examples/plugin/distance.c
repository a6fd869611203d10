/* SPDX-License-Identifier: Apache-2.0
 * distance.c - a ferry plugin: the operator example.PairDistance, z[i,j] = (sum over k of |x[i,k] - y[j,k]|^p)^(1/p).
 * Build: cc -std=c11 -shared -fPIC distance.c $(pkg-config --cflags ferry) -o distance.so -lm        (no libferry is linked) */
#include <ferry/plugin.h>

#include <math.h>

/* x[n,d], y[m,d] -> z[n,m]; the sizes may be symbols. */
static int infer(const ferry_plugin_api *f, ferry_node *n) {
    double p;
    if (f->attr_float(n, "p", &p) && !(p >= 1)) return f->fail(n, "ATTR", "p must be at least 1");
    for (size_t i = 0; i < 2; i++)
        if (f->rank(n, i) != 2 && f->rank(n, i) >= 0) return f->fail(n, "SHAPE", "both inputs must be lists of points: rank 2");
    int64_t dx = f->dim(n, 0, 1), dy = f->dim(n, 1, 1);                 /* -1 where a size is not known yet */
    if (dx >= 0 && dy >= 0 && dx != dy) return f->fail(n, "SHAPE", "the points have different numbers of coordinates");
    if (f->set_type(n, 0, f->dtype(n, 0), 2)) return 1;
    return f->set_dim_like(n, 0, 0, 0, 0) || f->set_dim_like(n, 0, 1, 1, 0);
}

typedef struct work { ferry_tensor x, y, z; double p; } work;

static double element(const ferry_tensor *t, int64_t i) {
    return t->dtype == FERRY_DOUBLE ? ((const double *)t->data)[i] : (double)((const float *)t->data)[i];
}

/* Rows [begin, end) of z. The sum's order depends on d alone, so the bits do not depend on the number of threads. */
static void rows(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    int64_t m = w->y.dim[0], d = w->x.dim[1];
    for (int64_t i = begin; i < end; i++)
        for (int64_t j = 0; j < m; j++) {
            double sum = 0;
            for (int64_t k = 0; k < d; k++) sum += pow(fabs(element(&w->x, i * d + k) - element(&w->y, j * d + k)), w->p);
            sum = pow(sum, 1 / w->p);
            if (w->z.dtype == FERRY_DOUBLE) ((double *)w->z.data)[i * m + j] = sum;
            else ((float *)w->z.data)[i * m + j] = (float)sum;
        }
}

static int run(const ferry_plugin_api *f, ferry_node *n) {
    work w;
    if (f->input(n, 0, &w.x) || f->input(n, 1, &w.y) || f->output(n, 0, &w.z)) return 1;
    f->attr_float(n, "p", &w.p);
    f->parallel(n, w.x.dim[0], 64, rows, &w);
    return 0;
}

FERRY_PLUGIN(api, registry, error) {
    static const ferry_attr attrs[] = {{"p", FERRY_ATTR_FLOAT, "2", "the norm's exponent, at least 1"}};
    static const ferry_op op = {sizeof op, FERRY_OP_PURE, "example", "PairDistance", "z[i,j] = |x[i] - y[j]| in the p-norm", attrs, 1,
                                2, 2, 1, 1, "T=f32,f64|T,T|T", infer, run, NULL};
    return api->add(registry, &op, error);
}
