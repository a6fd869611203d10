/* SPDX-License-Identifier: Apache-2.0
 * parts.c - Concat, Split, Slice, Expand, Tile, Gather, ConstantOfShape: elements moved as they are, by the strided
 * copy of move.c. What positions say is checked before anything moves. */
#include "engines/cpu/move.h"

#include <string.h>

static const char *can_move(const fy_site *s) {
    for (int i = 0; i < s->node->nin; i++)
        if (s->node->in[i].value && !fy_movable(s->node->in[i].value)) return "elements of another size";
    for (int i = 0; i < s->node->nout; i++)
        if (s->node->out[i] && !fy_movable(s->node->out[i])) return "elements of another size";
    return NULL;
}

static char *at(const fy_tensor *t, int64_t i) { return (char *)t->data + i * fy_elem_bytes(t->dtype); }

/* dims of `part`, placed from element `to` on in y and from `from` on in x. */
static void copy_part(const fy_tensor *y, int64_t to, const fy_tensor *x, int64_t from, const int64_t *dim, const int64_t *x_step, fy_pool *pool) {
    fy_moving m = {.x = at(x, from), .y = at(y, to), .rank = y->rank, .bytes = fy_elem_bytes(y->dtype)};
    if (m.x == m.y) return;                                  /* made where it belongs */
    for (int i = 0; i < y->rank; i++) {
        if (!dim[i]) return;
        m.dim[i] = dim[i];
        m.from[i] = x_step[i];
        m.to[i] = y->stride[i];
    }
    fy_move(&m, pool);
}

static fy_status run_concat(const fy_step *s, fy_exec *x, ferry_error *e) {
    fy_tensor *y = fy_step_out(s, x, 0);
    int axis;
    int64_t place = 0;
    FY_TRY(fy_axis(&axis, fy_attr_i(s->node, "axis"), y->rank, e));
    for (int i = 0; i < s->nin; i++) {
        const fy_tensor *in = fy_step_in(s, x, i);
        for (int d = 0; d < y->rank; d++) FY_NEED(e, in->rank == y->rank && (d == axis || in->dim[d] == y->dim[d]), SHAPE, "input %d does not fit the others", i);
        FY_NEED(e, in->dim[axis] <= y->dim[axis] - place, SHAPE, "the inputs are longer than the output");
        copy_part(y, place * y->stride[axis], in, 0, in->dim, in->stride, x->pool);
        place += in->dim[axis];
    }
    return FY_OK;
}

static fy_status run_split(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0);
    int axis;
    int64_t place = 0;
    FY_TRY(fy_axis(&axis, fy_attr_i(s->node, "axis"), in->rank, e));
    for (int i = 0; i < s->nout; i++) {
        const int64_t *dim = s->node->out[i] ? fy_exec_dims(x, s->node->out[i]) : NULL;
        if (!dim) continue;                                  /* can_split: all are there */
        FY_NEED(e, dim[axis] <= in->dim[axis] - place, SHAPE, "the parts are longer than the input");
        if (s->out[i]) copy_part(fy_step_out(s, x, i), 0, in, place * in->stride[axis], dim, in->stride, x->pool);
        place += dim[axis];
    }
    return FY_OK;
}

static const char *can_split(const fy_site *s) {
    for (int i = 0; i < s->node->nout; i++)
        if (!s->node->out[i]) return "a part is left out";
    return can_move(s);
}

static int64_t clamp(int64_t v, int64_t lo, int64_t hi) { return v < lo ? lo : v > hi ? hi : v; }

static fy_status run_slice(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0), *starts = fy_step_in(s, x, 1), *axes = fy_step_in(s, x, 3), *steps = fy_step_in(s, x, 4);
    fy_tensor *y = fy_step_out(s, x, 0);
    int64_t from = 0, step[FY_MAX_RANK], n = fy_count(starts);
    if (!fy_count(y)) return FY_OK;
    memcpy(step, in->stride, sizeof step);
    FY_NEED(e, (!axes || fy_count(axes) == n) && (!steps || fy_count(steps) == n) && n <= in->rank, SHAPE, "starts, axes and steps are of different length");
    for (int64_t i = 0; i < n; i++) {
        int axis;
        int64_t by = steps ? fy_get_i64(steps, i) : 1, start = fy_get_i64(starts, i), last;
        FY_TRY(fy_axis(&axis, axes ? fy_get_i64(axes, i) : i, in->rank, e));
        int64_t size = in->dim[axis];
        start = clamp(start < 0 ? start + size : start, 0, by > 0 ? size : size - 1);
        FY_NEED(e, !__builtin_mul_overflow(by, y->dim[axis] - 1, &last) && !__builtin_add_overflow(last, start, &last) && last >= 0 && last < size && start < size, INDEX,
                "a slice leaves axis %d", axis);
        from += start * in->stride[axis];
        step[axis] = y->dim[axis] > 1 ? in->stride[axis] * by : in->stride[axis];
    }
    copy_part(y, 0, in, from, y->dim, step, x->pool);
    return FY_OK;
}

static fy_status run_expand(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0);
    fy_tensor *y = fy_step_out(s, x, 0);
    int64_t step[FY_MAX_RANK] = {0};
    for (int i = 0; i < in->rank; i++) {
        int to = y->rank - in->rank + i;
        FY_NEED(e, to >= 0 && (in->dim[i] == 1 || in->dim[i] == y->dim[to]), SHAPE, "axis %d of %lld does not expand", i, (long long)in->dim[i]);
        step[to] = in->dim[i] == 1 ? 0 : in->stride[i];
    }
    copy_part(y, 0, in, 0, y->dim, step, x->pool);
    return FY_OK;
}

/* Every axis is twice there: repeats that stand still, and the axis itself. */
static fy_status run_tile(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0);
    fy_tensor *y = fy_step_out(s, x, 0);
    fy_moving m = {.x = in->data, .y = y->data, .bytes = fy_elem_bytes(y->dtype)};
    FY_NEED(e, fy_count(fy_step_in(s, x, 1)) == in->rank, SHAPE, "%lld repeats for rank %d", (long long)fy_count(fy_step_in(s, x, 1)), in->rank);
    if (!fy_count(y)) return FY_OK;
    for (int i = 0; i < in->rank; i++) {
        FY_NEED(e, in->dim[i] > 0 && y->dim[i] % in->dim[i] == 0, SHAPE, "axis %d of %lld is not a multiple of %lld", i, (long long)y->dim[i], (long long)in->dim[i]);
        m.dim[m.rank] = y->dim[i] / in->dim[i];
        m.from[m.rank] = 0;
        m.to[m.rank++] = in->dim[i] * y->stride[i];
        m.dim[m.rank] = in->dim[i];
        m.from[m.rank] = in->stride[i];
        m.to[m.rank++] = y->stride[i];
    }
    fy_move(&m, x->pool);
    return FY_OK;
}

static const char *can_tile(const fy_site *s) { return fy_in(s->node, 0)->type.rank * 2 > FY_MAX_RANK ? "too many axes" : can_move(s); }

typedef struct filling { char *y; const void *v; int bytes; } filling;

static void fill_piece(void *arg, int64_t begin, int64_t end) {
    const filling *f = arg;
    fy_fill(f->y + begin * f->bytes, f->v, end - begin, f->bytes);
}

static void fill(const fy_tensor *y, const void *v, fy_pool *pool) {
    uint64_t zero = 0;
    filling f = {y->data, v ? v : &zero, fy_elem_bytes(y->dtype)};
    if (fy_count(y)) fy_for(pool, fy_count(y), 65536, fill_piece, &f);
}

static fy_status run_constant(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_attr *a = fy_attr_get(s->node, "value");
    fy_tensor t = {0};
    if (a && a->tensor) FY_TRY(fy_const_tensor(&t, a->tensor, e));
    fill(fy_step_out(s, x, 0), t.data, x->pool);
    fy_tensor_free(&t);
    return FY_OK;
}

static const char *can_constant(const fy_site *s) {
    const fy_attr *a = fy_attr_get(s->node, "value");
    return a && a->tensor && (a->tensor->count != 1 || a->tensor->dtype != fy_outv(s->node, 0)->type.dtype) ? "value is no single element" : can_move(s);
}

/* ---- Gather ---------------------------------------------------------------------------------------------------------------- */

typedef struct gathering { const char *x; char *y; const fy_tensor *index; int64_t n, size, row; } gathering;

static int64_t position(const fy_tensor *t, int64_t i, int64_t size) {
    int64_t p = t->dtype == FERRY_INT64 ? ((const int64_t *)t->data)[i] : ((const int32_t *)t->data)[i];
    return p < 0 ? p + size : p;
}

static void gather_rows(void *arg, int64_t begin, int64_t end) {
    const gathering *g = arg;
    int64_t outer = begin / g->n, j = begin % g->n;
    for (int64_t i = begin; i < end; i++) {
        const char *from = g->x + (outer * g->size + position(g->index, j, g->size)) * g->row;
        char *to = g->y + i * g->row;
        switch (g->row) {
        case 1: *to = *from; break;
        case 4: memcpy(to, from, 4); break;
        case 8: memcpy(to, from, 8); break;
        default: memcpy(to, from, (size_t)g->row);
        }
        if (++j == g->n) {
            j = 0;
            outer++;
        }
    }
}

static fy_status run_gather(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0), *index = fy_step_in(s, x, 1);
    fy_tensor *y = fy_step_out(s, x, 0);
    int axis;
    int64_t outer = 1;
    FY_TRY(fy_axis(&axis, fy_attr_i(s->node, "axis"), in->rank, e));
    gathering g = {.x = in->data, .y = y->data, .index = index, .n = fy_count(index), .size = in->dim[axis], .row = fy_elem_bytes(in->dtype)};
    for (int i = 0; i < axis; i++) outer *= in->dim[i];
    for (int i = axis + 1; i < in->rank; i++) g.row *= in->dim[i];
    for (int64_t i = 0; i < g.n; i++) {
        int64_t p = position(index, i, g.size);
        FY_NEED(e, p >= 0 && p < g.size, INDEX, "index %lld outside an axis of %lld", (long long)fy_get_i64(index, i), (long long)g.size);
    }
    if (outer && g.n && g.row) fy_for(x->pool, outer * g.n, 1 + 65536 / g.row, gather_rows, &g);
    return FY_OK;
}

static const char *can_gather(const fy_site *s) {
    const fy_value *i = fy_in(s->node, 1);
    return i->type.dtype != FERRY_INT64 && i->type.dtype != FERRY_INT32 ? "indices of another dtype" : can_move(s);
}

#define MOVE(var, Op, can_, run_, flags_) static const fy_impl var = {.op = Op, .name = "move", .can = can_, .run = run_, .flags = flags_};
MOVE(concat, "Concat", can_move, run_concat, FY_IMPL_JOINS)
MOVE(split, "Split", can_split, run_split, FY_IMPL_CUTS)
MOVE(slice, "Slice", can_move, run_slice, 0)
MOVE(expand, "Expand", can_move, run_expand, 0)
MOVE(tile, "Tile", can_tile, run_tile, 0)
MOVE(constant, "ConstantOfShape", can_constant, run_constant, 0)
MOVE(gather, "Gather", can_gather, run_gather, FY_IMPL_BYTES)

const fy_impl *const fy_cpu_parts[] = {&concat, &split, &slice, &expand, &tile, &constant, &gather, NULL};
