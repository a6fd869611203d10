/* SPDX-License-Identifier: Apache-2.0
 * resize.c - Resize: the nearest element of any dtype, weighted sums of f32 or, of everything else, in f64. What each result is made of comes from the
 * reference kernel as a matrix for each axis (fy_resize_matrices), whose zeros are left out. Axes before the last two are done one after the other, what follows
 * each seen as one row; then a row of the result's height is made of whole rows, and its columns. Crops and very wide rows are left to the reference kernel. */
#include "engines/cpu/move.h"

#include "base/checked.h"

#include <string.h>

enum { WIDEST = 4096 };

/* Result i of an axis is the sum of w[i * n + t] x[at[i * n + t]], t < n. wide: the same weights, unrounded. same: the columns stay as they are. */
typedef struct taps { int64_t n, *at; float *w; double *wide; bool same; } taps;
typedef struct work { const fy_kernels *k; const char *x; char *y; int64_t in[2], out[2]; taps t[2]; int bytes, number; bool nearest; } work;

/* m NULL: nothing changes along this axis. */
static bool taps_of(taps *t, const double *m, int64_t out, int64_t in, fy_arena *a) {
    *t = (taps){.n = 1};
    for (int64_t i = 0; m && i < out; i++) {
        int64_t n = 0;
        for (int64_t j = 0; j < in; j++) n += m[i * in + j] != 0;
        if (n > t->n) t->n = n;
    }
    t->at = FY_NEWN(a, int64_t, out * t->n);
    t->w = FY_NEWN(a, float, out * t->n);
    t->wide = FY_NEWN(a, double, out * t->n);
    if (!t->at || !t->w || !t->wide) return false;
    for (int64_t i = 0; i < out; i++) {
        int64_t n = 0, *at = t->at + i * t->n;
        double *w = t->wide + i * t->n;
        for (int64_t j = 0; m && j < in; j++) {
            if (m[i * in + j] == 0) continue;
            at[n] = j;
            w[n++] = m[i * in + j];
        }
        if (!m) { at[0] = i; w[0] = 1; n = 1; }
        for (; n < t->n; n++) { at[n] = n ? at[n - 1] : 0; w[n] = 0; }
        for (int64_t j = 0; j < t->n; j++) t->w[i * t->n + j] = (float)w[j];
    }
    return true;
}

#define PICK(T) for (int64_t j = 0; j < w->out[1]; j++) ((T *)y)[j] = ((const T *)x)[at[j]]; break;
static void nearest_rows(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    const int64_t *at = w->t[1].at;
    for (int64_t r = begin; r < end; r++) {
        int64_t plane = r / w->out[0], i = r % w->out[0], from = w->t[0].at[i];
        char *y = w->y + r * w->out[1] * w->bytes;
        if (r > begin && i && w->t[0].at[i - 1] == from) {
            memcpy(y, y - w->out[1] * w->bytes, (size_t)(w->out[1] * w->bytes));
            continue;
        }
        const char *x = w->x + (plane * w->in[0] + from) * w->in[1] * w->bytes;
        if (w->t[1].same) memcpy(y, x, (size_t)(w->out[1] * w->bytes));
        else switch (w->bytes) {
        case 1: PICK(uint8_t)
        case 2: PICK(uint16_t)
        case 4: PICK(uint32_t)
        default: PICK(uint64_t)
        }
    }
}

#define COLUMNS(name, T, weights) \
    static void name(T *y, const T *x, int64_t n, const taps *t) { \
        const int64_t *at = t->at; \
        const T *w = t->weights; \
        if (t->n == 2) { \
            for (int64_t j = 0; j < n; j++, at += 2, w += 2) y[j] = x[at[0]] * w[0] + x[at[1]] * w[1]; \
            return; \
        } \
        for (int64_t j = 0; j < n; j++, at += t->n, w += t->n) { \
            T s = x[at[0]] * w[0]; \
            for (int64_t k = 1; k < t->n; k++) s += x[at[k]] * w[k]; \
            y[j] = s; \
        } \
    }
COLUMNS(columns_f32, float, w)
COLUMNS(columns_f64, double, wide)

static void weighted_rows(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    const bool f32 = w->number == FY_NUMBER_F32;
    const int64_t bytes = w->bytes, n = w->in[1];
    const taps *t = &w->t[0];
    fy_loop_pair *mul = w->k->loops.pair[FY_LOOP_MUL][w->number], *add = w->k->loops.pair[FY_LOOP_ADD][w->number];
    union { float f[WIDEST]; double d[WIDEST]; } row, other;
    for (int64_t r = begin; r < end; r++) {
        const int64_t plane = r / w->out[0], i = r % w->out[0];
        char *y = w->y + r * w->out[1] * bytes;
        for (int64_t c = 0; c < n; c += WIDEST) {            /* more than one only where columns stay as they are */
            const int64_t m = n - c < WIDEST ? n - c : WIDEST;
            const char *x = w->x + (plane * w->in[0] * n + c) * bytes;
            void *to = w->t[1].same ? (void *)(y + c * bytes) : &row;
            for (int64_t k = i * t->n; k < (i + 1) * t->n; k++) {
                const void *by = f32 ? (const void *)&t->w[k] : &t->wide[k];
                mul(k > i * t->n ? &other : to, x + t->at[k] * n * bytes, by, m, 2);
                if (k > i * t->n) add(to, to, &other, m, 0);
            }
        }
        if (w->t[1].same) continue;
        if (f32) columns_f32((float *)(void *)y, row.f, w->out[1], &w->t[1]);
        else columns_f64((double *)(void *)y, row.d, w->out[1], &w->t[1]);
    }
}

static const char *can(const fy_site *s) {
    const fy_value *x = fy_in(s->node, 0);
    if (x->type.rank < 2) return "fewer than two axes";
    if (fy_attr_is(s->node, "coordinate_transformation_mode", "tf_crop_and_resize")) return "of a crop";
    if (fy_attr_is(s->node, "mode", "nearest")) return fy_movable(x) ? NULL : "elements of another size";
    return fy_cpu_number(x->type.dtype) >= 0 && x->type.dtype != FERRY_BOOL ? NULL : "another dtype";
}

typedef struct conversion { const fy_loops *l; const fy_tensor *t; char *wide; bool back; } conversion;

/* Elements of t as f64, or back: whole numbers are rounded. */
static void convert(void *arg, int64_t begin, int64_t end) {
    const conversion *w = arg;
    const int number = fy_cpu_number(w->t->dtype);
    char *narrow = (char *)w->t->data + begin * fy_elem_bytes(w->t->dtype), *wide = w->wide + begin * 8;
    static const double none[2];
    if (!w->back) w->l->cast[number][FY_NUMBER_F64](wide, narrow, end - begin);
    else {
        if (!fy_dtype_float(w->t->dtype)) w->l->single[FY_LOOP_ROUND][FY_NUMBER_F64](wide, wide, end - begin, none);
        w->l->cast[FY_NUMBER_F64][number](narrow, wide, end - begin);
    }
}

static fy_status matrices(double **m, const fy_step *s, const fy_exec *x, const int64_t *out, fy_arena *a, ferry_error *e) {
    fy_rval *at[4] = {NULL};
    for (int i = 0; i < s->nin && i < 4; i++) at[i] = s->in[i] ? &x->value[s->in[i]->id] : NULL;
    fy_call c = {.node = s->node, .e = e, .pool = x->pool, .scratch = a, .nin = s->nin < 4 ? s->nin : 4, .in = at, .max_bytes = x->max_bytes, .hooks = x->hooks};
    return fy_resize_matrices(&c, out, m);
}

/* Axes [first, first + n) of x with these sizes; dim is then as they became. From w->x to w->y. */
static fy_status axes(work *w, fy_exec *x, int64_t *dim, const int64_t *out, int rank, double **m, int first, int n, fy_arena *a, ferry_error *e) {
    int64_t outer = 1;
    w->in[0] = dim[first];
    w->out[0] = out[first];
    w->in[1] = 1;
    for (int i = 0; i < first; i++) outer *= dim[i];
    for (int i = first + 1; i < rank; i++) w->in[1] *= dim[i];
    w->out[1] = n == 2 ? out[first + 1] : w->in[1];
    FY_NOMEM(e, taps_of(&w->t[0], m[first], w->out[0], w->in[0], a));
    w->t[1] = (taps){.n = 1, .same = n < 2 || !m[first + 1]};
    FY_NOMEM(e, w->t[1].same || taps_of(&w->t[1], m[first + 1], w->out[1], w->in[1], a));
    FY_NEED(e, !w->nearest || (w->t[0].n == 1 && w->t[1].n == 1), INTERNAL, "the nearest element is no single one");
    fy_for(x->pool, outer * w->out[0], 1 + 8192 / w->out[1], w->nearest ? nearest_rows : weighted_rows, w);
    memcpy(dim + first, out + first, (size_t)n * sizeof *dim);
    return FY_OK;
}

static fy_status resized(const fy_step *s, fy_exec *x, const fy_tensor *in, fy_tensor *y, fy_arena *a, ferry_error *e) {
    const int rank = in->rank, number = fy_cpu_number(in->dtype);
    const bool nearest = fy_attr_is(s->node, "mode", "nearest"), wide = !nearest && number != FY_NUMBER_F32 && number != FY_NUMBER_F64;
    double *m[FY_MAX_RANK];
    int64_t dim[FY_MAX_RANK], room = wide ? fy_count(in) + fy_count(y) : 0, given, part;
    FY_TRY(matrices(m, s, x, y->dim, a, e));
    bool fits = true;
    memcpy(dim, in->dim, sizeof dim);
    for (int i = 0; i < rank - 2; i++) {                     /* what lies between two passes */
        dim[i] = y->dim[i];
        if (m[i] && (!fy_count_dims(&part, rank, dim) || !fy_add_i64(&room, room, part))) fits = false;
    }
    FY_NEED(e, fits, LIMIT, "an intermediate size is too large");
    work w = {.k = x->k, .bytes = wide ? 8 : fy_elem_bytes(in->dtype), .number = number == FY_NUMBER_F32 ? number : FY_NUMBER_F64, .nearest = nearest, .x = in->data};
    void *mem;
    FY_TRY(fy_cpu_room(&mem, x, (const int64_t[]){room, 8}, 2, e));
    char *next = mem, *last = wide ? next + fy_count(in) * 8 : y->data;
    conversion c = {&x->k->loops, in, next, false};
    if (wide) {
        fy_for(x->pool, fy_count(in), 16384, convert, &c);
        w.x = next;
        next = last + fy_count(y) * 8;
    }
    memcpy(dim, in->dim, sizeof dim);
    bool rest = m[rank - 2] || m[rank - 1];
    int left = 0;
    for (int i = 0; i < rank - 2; i++) left += m[i] != NULL;
    for (int i = 0; i < rank - 2; i++) {
        if (!m[i]) continue;
        w.y = --left || rest ? next : last;
        FY_TRY(axes(&w, x, dim, y->dim, rank, m, i, 1, a, e));
        w.x = w.y;
        given = 1;
        for (int k = 0; k < rank; k++) given *= dim[k];
        next += given * w.bytes;
    }
    if (rest || w.x == in->data || w.x == mem) {
        w.y = last;
        FY_TRY(axes(&w, x, dim, y->dim, rank, m, rank - 2, 2, a, e));
    }
    if (!wide) return FY_OK;
    c = (conversion){&x->k->loops, y, last, true};
    fy_for(x->pool, fy_count(y), 16384, convert, &c);
    return FY_OK;
}

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0);
    fy_tensor *y = fy_step_out(s, x, 0);
    const int rank = in->rank;
    bool fits = y->rank == rank && fy_count(in) > 0 && fy_count(y) > 0 && in->dim[rank - 1] <= WIDEST;
    for (int i = 0; fits && i < rank; i++) fits = in->dim[i] < 1 << 20 && y->dim[i] < 1 << 20 && in->dim[i] * y->dim[i] <= (int64_t)1 << 22;
    if (!fits) return fy_impl_reference.run(s, x, e);
    fy_arena a = {0};
    const fy_status st = resized(s, x, in, y, &a, e);
    fy_arena_free(&a);
    return st;
}

static const fy_impl resize = {.op = "Resize", .name = "rows", .can = can, .run = run};

const fy_impl *const fy_cpu_resize[] = {&resize, NULL};
