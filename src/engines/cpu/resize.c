/* SPDX-License-Identifier: Apache-2.0
 * resize.c - Resize of the last two axes: the nearest element of any dtype, weighted sums of f32. What each result is made of comes from the reference
 * kernel as a matrix for each axis (fy_resize_matrices), whose zeros are left out. First a row of the result's height is made of whole rows, then its columns.
 * Crops, other axes and very wide rows are left to the reference kernel. */
#include "engines/cpu/move.h"

#include <string.h>

enum { WIDEST = 4096 };

/* Result i of an axis is the sum of w[i * n + t] x[at[i * n + t]], t < n. */
typedef struct taps { int64_t n, *at; float *w; } taps;
typedef struct work { const fy_kernels *k; const char *x; char *y; int64_t in[2], out[2]; taps t[2]; int bytes; bool nearest; } work;

/* m NULL: nothing changes along this axis. */
static bool taps_of(taps *t, const double *m, int64_t out, int64_t in, fy_arena *a) {
    t->n = 1;
    for (int64_t i = 0; m && i < out; i++) {
        int64_t n = 0;
        for (int64_t j = 0; j < in; j++) n += m[i * in + j] != 0;
        if (n > t->n) t->n = n;
    }
    t->at = FY_NEWN(a, int64_t, out * t->n);
    t->w = FY_NEWN(a, float, out * t->n);
    if (!t->at || !t->w) return false;
    for (int64_t i = 0; i < out; i++) {
        int64_t n = 0, *at = t->at + i * t->n;
        float *w = t->w + i * t->n;
        for (int64_t j = 0; m && j < in; j++) {
            if (m[i * in + j] == 0) continue;
            at[n] = j;
            w[n++] = (float)m[i * in + j];
        }
        if (!m) { at[0] = i; w[0] = 1; n = 1; }
        for (; n < t->n; n++) { at[n] = n ? at[n - 1] : 0; w[n] = 0; }
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
        switch (w->bytes) {
        case 1: PICK(uint8_t)
        case 2: PICK(uint16_t)
        case 4: PICK(uint32_t)
        default: PICK(uint64_t)
        }
    }
}

static void columns(float *y, const float *x, int64_t n, const taps *t) {
    const int64_t *at = t->at;
    const float *w = t->w;
    if (t->n == 2) {
        for (int64_t j = 0; j < n; j++, at += 2, w += 2) y[j] = x[at[0]] * w[0] + x[at[1]] * w[1];
        return;
    }
    for (int64_t j = 0; j < n; j++, at += t->n, w += t->n) {
        float s = x[at[0]] * w[0];
        for (int64_t k = 1; k < t->n; k++) s += x[at[k]] * w[k];
        y[j] = s;
    }
}

static void weighted_rows(void *arg, int64_t begin, int64_t end) {
    const work *w = arg;
    float row[WIDEST], other[WIDEST];
    for (int64_t r = begin; r < end; r++) {
        int64_t plane = r / w->out[0], i = r % w->out[0], n = w->in[1];
        const float *x = (const float *)(const void *)w->x + plane * w->in[0] * n;
        const taps *t = &w->t[0];
        w->k->binary[FY_MUL](row, x + t->at[i * t->n] * n, &t->w[i * t->n], n, 2);
        for (int64_t k = 1; k < t->n; k++) {
            w->k->binary[FY_MUL](other, x + t->at[i * t->n + k] * n, &t->w[i * t->n + k], n, 2);
            w->k->binary[FY_ADD](row, row, other, n, 0);
        }
        columns((float *)(void *)w->y + r * w->out[1], row, w->out[1], &w->t[1]);
    }
}

static const char *can(const fy_site *s) {
    const fy_value *x = fy_in(s->node, 0);
    const fy_value *y = fy_outv(s->node, 0);
    if (x->type.rank < 2) return "fewer than two axes";
    for (int i = 0; i < x->type.rank - 2; i++) {
        int64_t a, b;
        if (y->type.rank == x->type.rank && fy_dim_known(x->type.dim[i], &a) && fy_dim_known(y->type.dim[i], &b) && a != b) return "of other axes than the last two";
    }
    if (fy_attr_is(s->node, "coordinate_transformation_mode", "tf_crop_and_resize")) return "of a crop";
    if (fy_attr_is(s->node, "mode", "nearest")) return fy_movable(x) ? NULL : "elements of another size";
    return fy_cpu_f32(x) ? NULL : "weighted sums are of f32";
}

static fy_status matrices(work *w, const fy_step *s, const fy_exec *x, const int64_t *in, const int64_t *out, int rank, fy_arena *a, bool *fits, ferry_error *e) {
    fy_rval *at[4] = {NULL};
    double *m[FY_MAX_RANK];
    for (int i = 0; i < s->nin && i < 4; i++) at[i] = s->in[i] ? &x->value[s->in[i]->id] : NULL;
    fy_call c = {.node = s->node, .e = e, .pool = x->pool, .scratch = a, .nin = s->nin < 4 ? s->nin : 4, .in = at, .max_bytes = x->max_bytes, .hooks = x->hooks};
    FY_TRY(fy_resize_matrices(&c, out, m));
    for (int i = 0; i < rank - 2; i++) *fits &= !m[i];
    for (int i = 0; *fits && i < 2; i++) FY_NEED(e, taps_of(&w->t[i], m[rank - 2 + i], out[rank - 2 + i], in[rank - 2 + i], a), NOMEM, "out of memory");
    return FY_OK;
}

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0);
    fy_tensor *y = fy_step_out(s, x, 0);
    int rank = in->rank;
    bool fits = y->rank == rank && fy_count(in) > 0 && fy_count(y) > 0 && in->dim[rank - 1] <= WIDEST;
    for (int i = 0; fits && i < rank; i++) fits = i < rank - 2 ? in->dim[i] == y->dim[i] : in->dim[i] < 1 << 20 && y->dim[i] < 1 << 20 && in->dim[i] * y->dim[i] <= (int64_t)1 << 22;
    fy_arena a = {0};
    work w = {.k = x->k, .x = in->data, .y = y->data, .bytes = fy_elem_bytes(in->dtype), .nearest = fy_attr_is(s->node, "mode", "nearest")};
    fy_status st = FY_OK;
    if (fits) {
        memcpy(w.in, in->dim + rank - 2, sizeof w.in);
        memcpy(w.out, y->dim + rank - 2, sizeof w.out);
        st = matrices(&w, s, x, in->dim, y->dim, rank, &a, &fits, e);
    }
    if (!st && fits) {
        if (w.nearest && (w.t[0].n > 1 || w.t[1].n > 1)) st = fy_fail(e, FY_E_INTERNAL, "the nearest element is no single one");
        else fy_for(x->pool, fy_count(y) / w.out[1], 1 + 8192 / w.out[1], w.nearest ? nearest_rows : weighted_rows, &w);
    }
    fy_arena_free(&a);
    return st || fits ? st : fy_impl_reference.run(s, x, e);
}

static const fy_impl resize = {.op = "Resize", .name = "rows", .can = can, .run = run};

const fy_impl *const fy_cpu_resize[] = {&resize, NULL};
