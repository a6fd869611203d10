/* SPDX-License-Identifier: Apache-2.0
 * regroup.c - DepthToSpace and SpaceToDepth as strided copies, Pad and CenterCropPad in rows, Trilu. */
#include "engines/cpu/move.h"

#include <string.h>

static const char *can_move(const fy_site *s) { return fy_movable(fy_in(s->node, 0)) && fy_movable(fy_outv(s->node, 0)) ? NULL : "elements of another size"; }

/* ---- depth and space ------------------------------------------------------------------------------------------------------- */

/* The wide side seen as [n, ch, h, row, w, column]; steps of the deep one in that order. */
static fy_status run_blocks(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0);
    fy_tensor *y = fy_step_out(s, x, 0);
    bool to_depth = s->node->op->name[0] == 'S', crd = fy_attr_is(s->node, "mode", "CRD");
    const fy_tensor *deep = to_depth ? y : in, *wide = to_depth ? in : y;
    int64_t b = fy_attr_i(s->node, "blocksize");
    FY_NEED(e, in->rank == 4 && y->rank == 4 && b >= 1 && b <= 1 << 20, SHAPE, "the input has rank %d; it must have rank 4", in->rank);
    int64_t n = deep->dim[0], ch = wide->dim[1], h = deep->dim[2], w = deep->dim[3], plane = h * w, per = crd ? plane * b * b : plane, block = crd ? plane : plane * ch;
    FY_NEED(e, deep->dim[1] == ch * b * b && wide->dim[0] == n && wide->dim[2] == h * b && wide->dim[3] == w * b, SHAPE, "sizes are no multiples of %lld", (long long)b);
    if (!fy_count(y)) return FY_OK;
    const int64_t dim[6] = {n, ch, h, b, w, b}, d[6] = {ch * b * b * plane, per, w, block * b, 1, block}, v[6] = {ch * h * b * w * b, h * b * w * b, b * w * b, w * b, b, 1};
    /* the order in which what is written follows itself */
    static const int dcr_order[6] = {0, 3, 5, 1, 2, 4}, crd_order[6] = {0, 1, 3, 5, 2, 4}, same[6] = {0, 1, 2, 3, 4, 5};
    const int *order = !to_depth ? same : crd ? crd_order : dcr_order;
    fy_moving m = {.x = in->data, .y = y->data, .rank = 6, .bytes = fy_elem_bytes(in->dtype)};
    for (int i = 0; i < 6; i++) {
        m.dim[i] = dim[order[i]];
        m.from[i] = to_depth ? v[order[i]] : d[order[i]];
        m.to[i] = to_depth ? d[order[i]] : v[order[i]];
    }
    fy_move(&m, x->pool);
    return FY_OK;
}

/* ---- Pad ------------------------------------------------------------------------------------------------------------------- */

/* mode: r, e, w or c for a constant, the element at `value`. */
typedef struct padding { const fy_tensor *x, *y; int64_t before[FY_MAX_RANK], cut[FY_MAX_RANK], left[FY_MAX_RANK]; char mode; int bytes; const void *value; } padding;

/* Position i of an axis of n, possibly outside, as one inside; -1: the constant. */
static int64_t source(int64_t i, int64_t n, char mode) {
    if (i >= 0 && i < n) return i;
    if (mode == 'c') return -1;
    if (mode == 'e') return i < 0 ? 0 : n - 1;
    int64_t period = mode == 'w' ? n : 2 * (n - 1);          /* a reflected edge is not repeated */
    if (!period) return 0;
    i %= period;
    if (i < 0) i += period;
    return i < n ? i : period - i;
}

/* Elements [from, to) of a row beside the `left` ones at x that are in it from `first` on. */
static void beside(const padding *w, char *y, const char *x, int64_t from, int64_t to, int64_t first, int64_t left) {
    const int bytes = w->bytes;
    if (w->mode == 'c') fy_fill(y + from * bytes, w->value, to - from, bytes);
    else if (w->mode == 'e') fy_fill(y + from * bytes, from < first ? x : x + (left - 1) * bytes, to - from, bytes);
    else
        for (int64_t i = from; i < to; i++) memcpy(y + i * bytes, x + source(i - first, left, w->mode) * bytes, (size_t)bytes);
}

static void pad_rows(void *arg, int64_t begin, int64_t end) {
    const padding *w = arg;
    int last = w->y->rank - 1, bytes = w->bytes;
    int64_t n = w->y->dim[last], left = w->left[last], first = w->before[last] > 0 ? w->before[last] : 0, middle = left < n - first ? left : n - first, at[FY_MAX_RANK], rest = begin;
    if (middle < 0) middle = 0;
    if (first > n) first = n;
    for (int d = last - 1; d >= 0; d--) {
        at[d] = rest % w->y->dim[d] - (w->before[d] > 0 ? w->before[d] : 0);
        rest /= w->y->dim[d];
    }
    for (int64_t r = begin; r < end; r++) {
        int64_t from = w->cut[last];
        bool inside = true;
        for (int d = 0; d < last; d++) {
            const int64_t i = source(at[d], w->left[d], w->mode);
            inside &= i >= 0;
            from += (w->cut[d] + i) * w->x->stride[d];
        }
        char *y = (char *)w->y->data + r * n * bytes;
        const char *x = inside ? (const char *)w->x->data + from * bytes : y;
        if (inside) memcpy(y + first * bytes, x, (size_t)(middle * bytes));
        beside(w, y, x, 0, inside ? first : n, first, left);
        if (inside) beside(w, y, x, first + middle, n, first, left);
        for (int d = last - 1; d >= 0; d--) {
            const int64_t begins = w->before[d] > 0 ? w->before[d] : 0;
            if (++at[d] < w->y->dim[d] - begins) break;
            at[d] = -begins;
        }
    }
}

static fy_status pad_by(padding *w, const int64_t *after, fy_exec *x, ferry_error *e) {
    const int rank = w->y->rank;
    for (int i = 0; i < rank; i++) {
        w->cut[i] = w->before[i] < 0 ? -w->before[i] : 0;
        w->left[i] = w->x->dim[i] - w->cut[i] - (after[i] < 0 ? -after[i] : 0);
        FY_NEED(e, w->left[i] > 0 || w->mode == 'c', SHAPE, "nothing is left of axis %d to pad it with", i);
        FY_NEED(e, w->y->dim[i] == w->x->dim[i] + w->before[i] + after[i], SHAPE, "axis %d of the result", i);
    }
    w->bytes = fy_elem_bytes(w->y->dtype);
    fy_for(x->pool, fy_count(w->y) / w->y->dim[rank - 1], 1 + 16384 / w->y->dim[rank - 1], pad_rows, w);
    return FY_OK;
}

static fy_status run_pad(const fy_step *s, fy_exec *x, ferry_error *e) {
    const uint64_t zero = 0;
    const fy_tensor *in = fy_step_in(s, x, 0), *pads = fy_step_in(s, x, 1), *value = fy_step_in(s, x, 2), *axes = fy_step_in(s, x, 3);
    padding w = {.x = in, .y = fy_step_out(s, x, 0), .mode = fy_attr_s(s->node, "mode").at[0], .value = value ? value->data : &zero};
    int64_t n = fy_count(pads) / 2, after[FY_MAX_RANK] = {0}, seen = 0;
    FY_NEED(e, fy_count(pads) == 2 * n && n <= in->rank && (axes ? fy_count(axes) == n : n == in->rank), SHAPE, "pads has %lld values", (long long)fy_count(pads));
    FY_NEED(e, !value || fy_count(value) == 1, SHAPE, "the pad value has %lld elements", (long long)fy_count(value));
    if (!fy_count(w.y)) return FY_OK;
    for (int64_t i = 0; i < n; i++) {
        int axis = (int)i;
        if (axes) FY_TRY(fy_axis(&axis, fy_get_i64(axes, i), in->rank, e));
        FY_NEED(e, !(seen >> axis & 1), AXIS, "axis %d is given twice", axis);
        seen |= (int64_t)1 << axis;
        w.before[axis] = fy_get_i64(pads, i);
        after[axis] = fy_get_i64(pads, n + i);
        const int64_t most = (int64_t)1 << 48;
        FY_NEED(e, w.before[axis] > -most && w.before[axis] < most && after[axis] > -most && after[axis] < most, LIMIT, "padding of axis %d", axis);
    }
    return pad_by(&w, after, x, e);
}

static fy_status run_centre(const fy_step *s, fy_exec *x, ferry_error *e) {
    const uint64_t zero = 0;
    padding w = {.x = fy_step_in(s, x, 0), .y = fy_step_out(s, x, 0), .mode = 'c', .value = &zero};
    int64_t after[FY_MAX_RANK], n;
    if (!fy_attr_ints(s->node, "axes", &n)) n = w.x->rank;
    FY_NEED(e, w.x->rank == w.y->rank && fy_count(fy_step_in(s, x, 1)) == n, SHAPE, "%lld sizes for %lld axes", (long long)fy_count(fy_step_in(s, x, 1)), (long long)n);
    for (int i = 0; i < w.x->rank; i++) {
        w.before[i] = (w.y->dim[i] - w.x->dim[i]) / 2;
        after[i] = w.y->dim[i] - w.x->dim[i] - w.before[i];
    }
    return fy_count(w.y) ? pad_by(&w, after, x, e) : FY_OK;
}

static const char *can_pad(const fy_site *s) { return fy_in(s->node, 0)->type.rank < 1 ? "a scalar" : can_move(s); }

/* ---- Trilu ----------------------------------------------------------------------------------------------------------------- */

typedef struct triangle { const char *x; char *y; int64_t rows, cols, k; int bytes; bool upper; } triangle;

static void triangle_rows(void *arg, int64_t begin, int64_t end) {
    const triangle *w = arg;
    for (int64_t r = begin; r < end; r++) {
        int64_t edge = r % w->rows + w->k, from = w->upper ? edge : 0, to = w->upper ? w->cols : edge + 1;     /* what stays */
        from = from < 0 ? 0 : from > w->cols ? w->cols : from;
        to = to < from ? from : to > w->cols ? w->cols : to;
        char *y = w->y + r * w->cols * w->bytes;
        memset(y, 0, (size_t)(from * w->bytes));
        memcpy(y + from * w->bytes, w->x + (r * w->cols + from) * w->bytes, (size_t)((to - from) * w->bytes));
        memset(y + to * w->bytes, 0, (size_t)((w->cols - to) * w->bytes));
    }
}

static fy_status run_trilu(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0), *k = fy_step_in(s, x, 1);
    fy_tensor *y = fy_step_out(s, x, 0);
    FY_NEED(e, in->rank >= 2 && fy_same_dims(in, y), SHAPE, "the input has rank %d; at least 2 is needed", in->rank);
    if (!fy_count(y)) return FY_OK;
    triangle w = {.x = in->data, .y = y->data, .rows = in->dim[in->rank - 2], .cols = in->dim[in->rank - 1], .k = k && fy_count(k) ? fy_get_i64(k, 0) : 0, .bytes = fy_elem_bytes(in->dtype),
                  .upper = fy_attr_i(s->node, "upper") != 0};
    w.k = w.k < -w.rows ? -w.rows : w.k > w.cols ? w.cols : w.k;
    fy_for(x->pool, fy_count(y) / w.cols, 1 + 16384 / w.cols, triangle_rows, &w);
    return FY_OK;
}

static const fy_impl depth_to_space = {.op = "DepthToSpace", .name = "regroup", .can = can_move, .run = run_blocks};
static const fy_impl space_to_depth = {.op = "SpaceToDepth", .name = "regroup", .can = can_move, .run = run_blocks};
static const fy_impl pad = {.op = "Pad", .name = "rows", .can = can_pad, .run = run_pad};
static const fy_impl centre = {.op = "CenterCropPad", .name = "rows", .can = can_pad, .run = run_centre};
static const fy_impl trilu = {.op = "Trilu", .name = "rows", .can = can_move, .run = run_trilu};

const fy_impl *const fy_cpu_regroup[] = {&depth_to_space, &space_to_depth, &pad, &centre, &trilu, NULL};
