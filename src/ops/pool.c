/* SPDX-License-Identifier: Apache-2.0
 * pool.c - MaxPool AveragePool LpPool over windows; GlobalMaxPool GlobalAveragePool GlobalLpPool over whole planes.
 * x [N,C,d1..dn] -> y [N,C,o1..on], n 1 to 3. A plane (one n, c) is read as double once, then windows are plain loops.
 * MaxUnpool: values go back to where MaxPool found them, the rest is 0. */
#include "ops/move.h"
#include "ops/window.h"

#include <math.h>
#include <string.h>

typedef enum kind { MAX, AVERAGE, LP } kind;

static kind kind_of(const fy_node *n) { return strstr(n->op->name, "Max") ? MAX : strstr(n->op->name, "Lp") ? LP : AVERAGE; }

static fy_status infer_pool(fy_infer *f) {
    int rank;
    const fy_dim *dim[FY_MAX_RANK];
    fy_window w;
    FY_TRY(fy_k_rank(f, 0, 3, 2 + FY_MAX_SPATIAL, &rank));
    fy_dtype t = fy_in_dtype(f, 0);
    if (rank < 0) {
        FY_TRY(fy_out_set(f, 0, t, -1, NULL));
        return f->nout > 1 ? fy_out_set(f, 1, FERRY_INT64, -1, NULL) : FY_OK;
    }
    FY_TRY(fy_window_read(&w, f->node, rank - 2, NULL, f->e));
    for (int i = 0; i < 2; i++) dim[i] = fy_in_dim(f, 0, i);
    for (int i = 0; i < rank - 2; i++) FY_TRY(fy_window_out(f, &w, i, fy_in_dim(f, 0, i + 2), &dim[i + 2]));
    FY_TRY(fy_out_set(f, 0, t, rank, dim));
    return f->nout > 1 ? fy_out_set(f, 1, FERRY_INT64, rank, dim) : FY_OK;
}

/* Three spatial axes always: missing ones come first, with size 1. */
typedef struct pool {
    kind          k;
    const double *x;
    fy_tensor    *y, *index;
    int64_t       in[3], out[3], kernel[3], stride[3], dilation[3], pad[3], pad_end[3], plane_in, plane_out;
    bool          include_pad, column_major;
    double        p;
} pool;

/* The taps of the window that begins at `start` which lie inside [lo, hi): [*first, *last). By division, since a file may ask for windows
 * of 2^31 taps over a handful of elements. */
static void taps(int64_t start, int64_t kernel, int64_t dilation, int64_t lo, int64_t hi, int64_t *first, int64_t *last) {
    *first = start >= lo ? 0 : (lo - start + dilation - 1) / dilation;
    *last = start >= hi ? 0 : (hi - start + dilation - 1) / dilation;
    if (*last > kernel) *last = kernel;
    if (*first > *last) *first = *last;
}

static void pool_planes(void *arg, int64_t begin, int64_t end) {
    const pool *w = arg;
    double out[256];
    int64_t where[256];
    for (int64_t c = begin; c < end; c++) {
        const double *x = w->x + c * w->plane_in;
        int64_t done = 0, at = 0;
        for (int64_t o0 = 0; o0 < w->out[0]; o0++)
            for (int64_t o1 = 0; o1 < w->out[1]; o1++)
                for (int64_t o2 = 0; o2 < w->out[2]; o2++) {
                    int64_t o[3] = {o0, o1, o2}, s[3], a[3], b[3], best = -1;
                    double acc = w->k == MAX ? -HUGE_VAL : 0;
                    for (int i = 0; i < 3; i++) {
                        s[i] = o[i] * w->stride[i] - w->pad[i];
                        taps(s[i], w->kernel[i], w->dilation[i], 0, w->in[i], &a[i], &b[i]);
                    }
                    for (int64_t k0 = a[0]; k0 < b[0]; k0++) {
                        int64_t i0 = s[0] + k0 * w->dilation[0];
                        for (int64_t k1 = a[1]; k1 < b[1]; k1++) {
                            int64_t i1 = s[1] + k1 * w->dilation[1];
                            const double *row = x + (i0 * w->in[1] + i1) * w->in[2];
                            for (int64_t k2 = a[2]; k2 < b[2]; k2++) {
                                int64_t i2 = s[2] + k2 * w->dilation[2];
                                double v = row[i2];
                                if (w->k == MAX) {
                                    if (best >= 0 && !(v > acc) && !(v != v && acc == acc)) continue;
                                    acc = v;
                                    best = w->column_major ? (i2 * w->in[1] + i1) * w->in[0] + i0 : (i0 * w->in[1] + i1) * w->in[2] + i2;
                                } else if (w->k == AVERAGE) acc += v;
                                else acc += w->p == 2 ? v * v : w->p == 1 ? fabs(v) : pow(fabs(v), w->p);
                            }
                        }
                    }
                    if (w->k == AVERAGE) {
                        int64_t n = 1;
                        for (int i = 0; i < 3; i++) {
                            if (w->include_pad) taps(s[i], w->kernel[i], w->dilation[i], -w->pad[i], w->in[i] + w->pad_end[i], &a[i], &b[i]);
                            n *= b[i] - a[i];
                        }
                        acc /= (double)n;
                    } else if (w->k == LP) acc = w->p == 2 ? sqrt(acc) : w->p == 1 ? acc : pow(acc, 1 / w->p);
                    out[at] = acc;
                    where[at++] = c * w->plane_in + (best < 0 ? 0 : best);
                    if (at == 256 || done + at == w->plane_out) {
                        if (w->y) fy_store_f64(w->y, c * w->plane_out + done, at, out);
                        if (w->index) fy_store_i64(w->index, c * w->plane_out + done, at, where);
                        done += at;
                        at = 0;
                    }
                }
    }
}

static fy_status run_pool(const fy_call *c, const fy_window *w) {
    const fy_tensor *x = fy_arg(c, 0);
    pool p = {.k = kind_of(c->node), .y = fy_res(c, 0), .index = fy_res(c, 1), .plane_in = 1, .plane_out = 1};
    const fy_tensor *y = p.y ? p.y : p.index;
    if (!y || !fy_count(y)) return FY_OK;
    FY_NEED(c->e, fy_k_numeric(x), TYPE, "no pooling of %s", fy_dtype_name(x->dtype));
    for (int i = 0; i < 3; i++) {
        int k = i - (3 - w->nd);
        p.in[i] = k < 0 ? 1 : x->dim[2 + k];
        p.out[i] = k < 0 ? 1 : y->dim[2 + k];
        p.kernel[i] = k < 0 ? 1 : w->kernel[k];
        p.stride[i] = k < 0 ? 1 : w->stride[k];
        p.dilation[i] = k < 0 ? 1 : w->dilation[k];
        p.pad[i] = k < 0 ? 0 : w->pad[k];
        p.pad_end[i] = k < 0 ? 0 : w->pad_end[k];
        p.plane_in *= p.in[i];
        p.plane_out *= p.out[i];
    }
    for (const fy_attr_spec *a = c->node->op->attrs; a && a->name; a++) {
        if (!strcmp(a->name, "p")) p.p = (double)fy_attr_i(c->node, "p");
        if (!strcmp(a->name, "count_include_pad")) p.include_pad = fy_attr_i(c->node, "count_include_pad") != 0;
        if (!strcmp(a->name, "storage_order")) p.column_major = fy_attr_i(c->node, "storage_order") != 0;
    }
    FY_NEED(c->e, p.k != LP || p.p >= 1, ATTR, "p is %g", p.p);
    FY_NOMEM(c->e, p.x = fy_k_as_f64(c, x));
    int64_t planes = x->dim[0] * x->dim[1], grain = 16384 / p.plane_out;
    fy_k_for(c, planes, grain < 1 ? 1 : grain, pool_planes, &p);
    return FY_OK;
}

static fy_status ref_pool(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0), *y = fy_res(c, 0) ? fy_res(c, 0) : fy_res(c, 1);
    fy_window w;
    FY_TRY(fy_window_read(&w, c->node, x->rank - 2, NULL, c->e));
    if (!y) return FY_OK;
    fy_window_place(&w, x->dim + 2, y->dim + 2);
    return run_pool(c, &w);
}

#define WINDOW_ATTRS                                                                                                     \
    {"kernel_shape", FY_ATTR_INTS, FY_REQUIRED}, {"strides", FY_ATTR_INTS, NULL},                                        \
    {"dilations", FY_ATTR_INTS, NULL}, {"pads", FY_ATTR_INTS, NULL},                                                     \
    {"auto_pad", FY_ATTR_STRING, "NOTSET"}, {"ceil_mode", FY_ATTR_INT, "0"}
static const fy_attr_spec max_attrs[] = {WINDOW_ATTRS, {"storage_order", FY_ATTR_INT, "0"}, {0}};
static const fy_attr_spec average_attrs[] = {WINDOW_ATTRS, {"count_include_pad", FY_ATTR_INT, "0"}, {0}};
static const fy_attr_spec lp_attrs[] = {WINDOW_ATTRS, {"p", FY_ATTR_INT, "2"}, {0}};

#define POOL(var, Name, outs, since_, T, attrs_)                                                                         \
    const fy_op fy_op_##var = {.name = Name, .domain = "", .attrs = attrs_, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = outs, \
        .first = 1, .since = since_, .types = T, .infer = infer_pool, .ref = ref_pool, .flags = FY_PURE};
POOL(max_pool, "MaxPool", 2, 10, "T=" FY_T_FLOAT ",i8,u8|T|T,i64", max_attrs)
POOL(average_pool, "AveragePool", 1, 19, "T=" FY_T_FLOAT "|T|T", average_attrs)
POOL(lp_pool, "LpPool", 1, 18, "T=" FY_T_FLOAT "|T|T", lp_attrs)

/* ---- whole planes -------------------------------------------------------------------------------------------------- */

static fy_status infer_global(fy_infer *f) {
    int rank;
    const fy_dim *dim[FY_MAX_RANK];
    FY_TRY(fy_k_rank(f, 0, 2, FY_MAX_RANK, &rank));
    for (int i = 0; i < rank; i++) dim[i] = i < 2 ? fy_in_dim(f, 0, i) : fy_dim_const(f->dims, 1);
    return fy_out_set(f, 0, fy_in_dtype(f, 0), rank, rank < 0 ? NULL : dim);
}

typedef struct global { const fy_tensor *x; fy_tensor *y; kind k; double p; int64_t plane; } global;

static void global_planes(void *arg, int64_t begin, int64_t end) {
    const global *w = arg;
    double block[FY_K_BLOCK];
    for (int64_t c = begin; c < end; c++) {
        double acc = w->k == MAX ? -HUGE_VAL : 0;
        for (int64_t at = 0; at < w->plane; at += FY_K_BLOCK) {
            int64_t n = w->plane - at < FY_K_BLOCK ? w->plane - at : FY_K_BLOCK;
            fy_load_f64(block, w->x, c * w->plane + at, n);
            if (w->k == MAX) for (int64_t i = 0; i < n; i++) acc = block[i] > acc || block[i] != block[i] ? block[i] : acc;
            else if (w->k == AVERAGE) for (int64_t i = 0; i < n; i++) acc += block[i];
            else for (int64_t i = 0; i < n; i++) acc += pow(fabs(block[i]), w->p);
        }
        acc = w->k == MAX ? acc : w->k == AVERAGE ? acc / (double)w->plane : pow(acc, 1 / w->p);
        fy_put_f64(w->y, c, acc);
    }
}

static fy_status ref_global(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0);
    global w = {x, fy_res(c, 0), kind_of(c->node), 0, 1};
    if (!w.y || !fy_count(w.y)) return FY_OK;
    for (int i = 2; i < x->rank; i++) w.plane *= x->dim[i];
    if (w.k == LP) w.p = (double)fy_attr_i(c->node, "p");
    FY_NEED(c->e, w.k != LP || w.p >= 1, ATTR, "p is %g", w.p);
    int64_t grain = w.plane ? 32768 / w.plane : 1;
    fy_k_for(c, fy_count(w.y), grain < 1 ? 1 : grain, global_planes, &w);
    return FY_OK;
}

static const fy_attr_spec global_lp_attrs[] = {{"p", FY_ATTR_INT, "2"}, {0}};
#define GLOBAL(var, Name, attrs_)                                                                                        \
    const fy_op fy_op_##var = {.name = Name, .domain = "", .attrs = attrs_, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, \
        .first = 1, .since = 2, .types = "T=" FY_T_FLOAT "|T|T", .infer = infer_global, .ref = ref_global, .flags = FY_PURE};
GLOBAL(global_max_pool, "GlobalMaxPool", NULL)
GLOBAL(global_average_pool, "GlobalAveragePool", NULL)
GLOBAL(global_lp_pool, "GlobalLpPool", global_lp_attrs)

/* ---- MaxUnpool ----------------------------------------------------------------------------------------------------- */

/* The sizes that MaxPool had, as far as the attributes tell: the indices count elements of a tensor of these sizes. */
static fy_status unpooled(fy_infer *f, const fy_window *w, int i, const fy_dim *in, const fy_dim **out) {
    int64_t v;
    *out = fy_dim_addi(f->dims, fy_dim_muli(f->dims, fy_dim_addi(f->dims, in, -1), w->stride[i]), w->kernel[i] - w->pad[i] - w->pad_end[i]);
    if (*out && fy_dim_known(*out, &v)) FY_NEED(f->e, v >= 0, SHAPE, "the output would have size %lld on spatial axis %d", (long long)v, i);
    return FY_OK;
}

static fy_status infer_unpool(fy_infer *f) {
    int rank, ri;
    const fy_dim *dim[FY_MAX_RANK];
    fy_window w;
    int64_t n, given, least;
    FY_TRY(fy_k_rank(f, 0, 3, 2 + FY_MAX_SPATIAL, &rank));
    if (rank < 0) return fy_out_set(f, 0, fy_in_dtype(f, 0), -1, NULL);
    FY_TRY(fy_k_rank(f, 1, rank, rank, &ri));
    for (int a = 0; a < rank && ri == rank; a++) FY_TRY(fy_k_agree(f, fy_in_dim(f, 0, a), fy_in_dim(f, 1, a), "sizes of values and indices"));
    FY_TRY(fy_window_read(&w, f->node, rank - 2, NULL, f->e));
    const fy_dim *const *e = fy_in_has(f, 2) ? fy_in_elems(f, 2, &n) : NULL;
    FY_NEED(f->e, !e || n == rank, SHAPE, "output_shape has %lld sizes; the values have rank %d", (long long)n, rank);
    for (int a = 0; a < rank; a++) {
        if (a < 2) dim[a] = fy_in_dim(f, 0, a);
        else FY_TRY(unpooled(f, &w, a - 2, fy_in_dim(f, 0, a), &dim[a]));
        if (!fy_in_has(f, 2)) continue;
        if (e && dim[a] && fy_dim_known(e[a], &given) && fy_dim_known(dim[a], &least))
            FY_NEED(f->e, given >= least && (a > 1 || given == least), SHAPE, "output_shape says %lld on axis %d, where the windows need %lld", (long long)given, a, (long long)least);
        dim[a] = e ? e[a] : a < 2 ? dim[a] : fy_dim_opaque(f->dims, "unpool");
    }
    return fy_out_set(f, 0, fy_in_dtype(f, 0), rank, dim);
}

/* Where two values share an index the last one stays. With output_shape, what the windows cover lies at the beginning of each axis. */
static fy_status ref_unpool(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0);
    const int64_t *index = fy_arg_i64(c, 1);
    fy_tensor *y, values;
    fy_window w;
    int64_t size[FY_MAX_RANK], total;
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y || !fy_count(y)) return FY_OK;
    FY_NOMEM(c->e, index);
    FY_TRY(fy_mv_dense(c, 0, &values));
    FY_TRY(fy_window_read(&w, c->node, x->rank - 2, NULL, c->e));
    for (int a = 0; a < x->rank; a++) size[a] = a < 2 ? x->dim[a] : (x->dim[a] - 1) * w.stride[a - 2] + w.kernel[a - 2] - w.pad[a - 2] - w.pad_end[a - 2];
    FY_NEED(c->e, fy_count_dims(&total, x->rank, size), LIMIT, "the unpooled tensor is too large");
    fy_mv_zero(y);
    const bool whole = !memcmp(size, y->dim, (size_t)x->rank * sizeof *size);
    for (int64_t i = 0, n = fy_count(x); i < n; i++) {
        int64_t rest = index[i], to = whole ? rest : 0;
        FY_NEED(c->e, rest >= 0 && rest < total, INDEX, "index %lld of element %lld is outside %lld elements", (long long)rest, (long long)i, (long long)total);
        for (int a = x->rank - 1; a >= 0 && !whole; a--) {
            to += rest % size[a] * y->stride[a];
            rest /= size[a];
        }
        switch (fy_elem_bytes(x->dtype)) {
        case 2: ((uint16_t *)y->data)[to] = ((const uint16_t *)values.data)[i]; break;
        case 4: ((uint32_t *)y->data)[to] = ((const uint32_t *)values.data)[i]; break;
        default: ((uint64_t *)y->data)[to] = ((const uint64_t *)values.data)[i];
        }
    }
    return FY_OK;
}

static const fy_attr_spec unpool_attrs[] = {{"kernel_shape", FY_ATTR_INTS, FY_REQUIRED}, {"strides", FY_ATTR_INTS, NULL}, {"pads", FY_ATTR_INTS, NULL}, {0}};
const fy_op fy_op_max_unpool = {.name = "MaxUnpool", .domain = "", .attrs = unpool_attrs, .min_in = 2, .max_in = 3, .min_out = 1, .max_out = 1, .first = 9,
    .since = 9, .types = "T=" FY_T_FLOAT "|T,i64,i64|T", .infer = infer_unpool, .ref = ref_unpool, .flags = FY_PURE};
