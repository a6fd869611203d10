/* SPDX-License-Identifier: Apache-2.0
 * softmax.c - Softmax LogSoftmax Hardmax along one axis: y = e^(x - max) / sum e^(x - max); its logarithm; 1 at the first
 * maximum. A row is read in blocks; rows that fit are exponentiated once. */
#include "ops/common.h"

#include <math.h>
#include <string.h>

typedef enum kind { SOFT, LOGSOFT, HARD } kind;
typedef struct rows { fy_tensor x, y; int64_t n; kind k; } rows;
#define ROW 2048

/* Where every element is -inf the row has no answer and is NaN, as in NumPy. */
static void soft_row(const rows *w, fy_tensor *y, int64_t at, double *buf) {
    double most = -HUGE_VAL, sum = 0;
    int64_t first = 0, n = w->n;
    bool fits = n <= ROW, found = false;
    for (int64_t b = 0; b < n; b += ROW) {
        int64_t m = n - b < ROW ? n - b : ROW;
        fy_load_f64(buf, &w->x, at + b, m);
        for (int64_t i = 0; i < m; i++)
            if (buf[i] > most || !found || buf[i] != buf[i]) {
                if (found && most != most) break;                       /* NaN stays */
                most = buf[i];
                first = b + i;
                found = true;
            }
    }
    if (w->k == HARD) {
        for (int64_t b = 0; b < n; b += ROW) {
            int64_t m = n - b < ROW ? n - b : ROW;
            for (int64_t i = 0; i < m; i++) buf[i] = b + i == first;
            fy_store_f64(y, at + b, m, buf);
        }
        return;
    }
    for (int64_t b = 0; b < n; b += ROW) {
        int64_t m = n - b < ROW ? n - b : ROW;
        if (!fits) fy_load_f64(buf, &w->x, at + b, m);
        for (int64_t i = 0; i < m; i++) {
            double v = exp(buf[i] - most);
            sum += v;
            buf[i] = w->k == SOFT ? v : buf[i];
        }
    }
    double log_sum = w->k == LOGSOFT ? log(sum) + most : 0;
    for (int64_t b = 0; b < n; b += ROW) {
        int64_t m = n - b < ROW ? n - b : ROW;
        if (!fits) fy_load_f64(buf, &w->x, at + b, m);
        if (w->k == SOFT) for (int64_t i = 0; i < m; i++) buf[i] = (fits ? buf[i] : exp(buf[i] - most)) / sum;
        else for (int64_t i = 0; i < m; i++) buf[i] -= log_sum;
        fy_store_f64(y, at + b, m, buf);
    }
}

static void soft_rows(void *arg, int64_t begin, int64_t end) {
    rows *w = arg;
    double buf[ROW];
    for (int64_t r = begin; r < end; r++) soft_row(w, &w->y, r * w->n, buf);
}

static fy_status infer_softmax(fy_infer *f) {
    int rank = fy_in_rank(f, 0), axis;
    if (rank >= 0) FY_TRY(fy_axis(&axis, fy_attr_i(f->node, "axis"), rank, f->e));
    return fy_k_like(f);
}

static fy_status ref_softmax(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0);
    fy_tensor *y = fy_res(c, 0);
    int axis;
    if (!y || !fy_count(y)) return FY_OK;
    FY_NEED(c->e, fy_dtype_float(x->dtype), TYPE, "not defined on %s", fy_dtype_name(x->dtype));
    FY_TRY(fy_axis(&axis, fy_attr_i(c->node, "axis"), x->rank, c->e));
    rows w = {fy_k_axis_last(x, axis), fy_k_axis_last(y, axis), x->dim[axis], c->node->op->name[0] == 'L' ? LOGSOFT : c->node->op->name[0] == 'H' ? HARD : SOFT};
    int64_t grain = 8192 / w.n;
    fy_k_for(c, fy_count(y) / w.n, grain < 1 ? 1 : grain, soft_rows, &w);
    return FY_OK;
}

static const fy_attr_spec attrs[] = {{"axis", FY_ATTR_INT, "-1"}, {0}};
#define SOFTMAX(var, Name)                                                                                               \
    const fy_op fy_op_##var = {.name = Name, .domain = "", .attrs = attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .first = 1, \
        .since = 13, .types = "T=" FY_T_FLOAT "|T|T", .infer = infer_softmax, .ref = ref_softmax, .flags = FY_PURE | FY_INPLACE};
SOFTMAX(softmax, "Softmax")
SOFTMAX(log_softmax, "LogSoftmax")
SOFTMAX(hardmax, "Hardmax")
