/* SPDX-License-Identifier: Apache-2.0
 * constant.c - constants: bytes and recipes, read in pieces.
 *
 * Recipes nest at most MAX_DEPTH deep: what would pass it is computed at once. Views of views collapse into one; views of
 * casts, scalings and concatenations move inside where that is possible, so that reading stays in long runs. */
#include "ir/constant.h"

#include "base/checked.h"

#include <string.h>

#define MAX_DEPTH 16
#define PIECE 4096

static fy_const *make(fy_arena *a, fy_const_kind kind, fy_dtype t, int rank, const int64_t *dim) {
    fy_const *c = FY_NEW(a, fy_const);
    int64_t *d = FY_NEWN(a, int64_t, rank);
    if (!c || !d) return NULL;
    if (rank) memcpy(d, dim, (size_t)rank * sizeof *d);
    c->kind = kind;
    c->dtype = t;
    c->rank = rank;
    c->dim = d;
    c->depth = 1;
    if (!fy_count_dims(&c->count, rank, dim)) return NULL;
    return c;
}

static bool set_src(fy_arena *a, fy_const *c, int n, const fy_const *const *src) {
    c->src = fy_arena_copy(a, src, (size_t)n, sizeof *src);
    c->nsrc = n;
    for (int i = 0; i < n; i++)
        if (src[i]->depth >= c->depth) c->depth = src[i]->depth + 1;
    return c->src != NULL;
}

/* ---- bytes --------------------------------------------------------------------------------------------------------- */

fy_const *fy_const_bytes(fy_arena *a, fy_dtype t, int rank, const int64_t *dim, const void *bytes, size_t n) {
    fy_const *c = make(a, FY_CONST_BYTES, t, rank, dim);
    if (!c) return NULL;
    c->bytes = bytes;
    c->nbytes = n;
    return c;
}

fy_const *fy_const_copy(fy_arena *a, fy_dtype t, int rank, const int64_t *dim, const void *elements) {
    fy_const *c = make(a, FY_CONST_BYTES, t, rank, dim);
    if (!c) return NULL;
    int bits = fy_dtype_bits(t);
    if (t == FERRY_STRING) {
        const fy_str *from = elements;
        fy_str *s = FY_NEWN(a, fy_str, c->count);
        c->strings = FY_NEW(a, fy_tensor);
        if (!s || !c->strings) return NULL;
        for (int64_t i = 0; i < c->count; i++) {
            s[i].n = from[i].n;
            if (!(s[i].at = fy_arena_strn(a, from[i].n ? from[i].at : "", from[i].n))) return NULL;
        }
        *c->strings = fy_tensor_view(t, rank, dim, s);
        return c;
    }
    c->nbytes = fy_dtype_bytes(t, c->count);
    unsigned char *at = fy_arena_alloc(a, c->nbytes, 1);
    if (!at) return NULL;
    if (bits && bits < 8) fy_pack_bits(t, at, 0, elements, c->count);
    else if (c->nbytes) memcpy(at, elements, c->nbytes);
    c->bytes = at;
    return c;
}

fy_const *fy_const_from(fy_arena *a, const fy_tensor *t) {
    if (fy_contiguous(t) || fy_count(t) == 0) return fy_const_copy(a, t->dtype, t->rank, t->dim, t->data);
    fy_tensor dense = { 0 };
    if (fy_tensor_clone(&dense, t, NULL) != FY_OK) return NULL;
    fy_const *c = fy_const_copy(a, t->dtype, t->rank, t->dim, dense.data);
    fy_tensor_free(&dense);
    return c;
}

fy_const *fy_const_splat(fy_arena *a, fy_dtype t, int rank, const int64_t *dim, double v) {
    union { double d[2]; unsigned char b[16]; } one = { { 0, 0 } };
    fy_tensor x = fy_tensor_view(t, 0, NULL, &one);
    fy_put_f64(&x, 0, v);
    fy_const *c = fy_const_copy(a, t, 0, NULL, &one);
    int64_t zero[FY_MAX_RANK] = { 0 };
    return c && rank ? fy_const_strided(a, c, rank, dim, zero, 0) : c;
}

/* A recipe as it is, or computed where it nests too deep. */
static fy_const *settled(fy_arena *a, fy_const *c) {
    if (!c || c->depth <= MAX_DEPTH) return c;
    fy_tensor t = { 0 };
    if (fy_const_tensor(&t, c, NULL) != FY_OK) return NULL;
    fy_const *flat = fy_const_copy(a, c->dtype, c->rank, c->dim, t.data);
    fy_tensor_free(&t);
    return flat;
}

/* ---- recipes ------------------------------------------------------------------------------------------------------- */

static fy_const *same(fy_arena *a, const fy_const *c) { return fy_arena_copy(a, c, 1, sizeof *c); }

fy_const *fy_const_cast(fy_arena *a, const fy_const *c, fy_dtype t) {
    if (c->dtype == t) return same(a, c);
    if (c->dtype == FERRY_STRING || t == FERRY_STRING) return NULL;
    fy_const *r = make(a, FY_CONST_CAST, t, c->rank, c->dim);
    return r && set_src(a, r, 1, &c) ? settled(a, r) : NULL;
}

fy_const *fy_const_scale(fy_arena *a, const fy_const *c, int axis, const double *factor) {
    FY_ASSERT(axis >= 0 && axis < c->rank);
    fy_const *r = make(a, FY_CONST_SCALE, c->dtype, c->rank, c->dim);
    if (!r || !set_src(a, r, 1, &c)) return NULL;
    r->axis = axis;
    r->factor = fy_arena_copy(a, factor, (size_t)c->dim[axis], sizeof *factor);
    return r->factor ? settled(a, r) : NULL;
}

static bool dense_strides(int rank, const int64_t *dim, const int64_t *stride) {
    int64_t want = 1;
    for (int i = rank - 1; i >= 0; i--) {
        if (dim[i] != 1 && stride[i] != want) return false;
        want *= dim[i];
    }
    return true;
}

/* Outer view over the row-major order of `in`, itself a view: each outer stride must walk whole steps of one inner axis
 * (or of several that follow each other in memory) without leaving it. Gives strides in the innermost constant. */
static bool collapse(const fy_const *in, int rank, const int64_t *dim, const int64_t *stride, int64_t offset, int64_t *out_stride, int64_t *out_offset) {
    int64_t row[FY_MAX_RANK], at[FY_MAX_RANK] = { 0 }, rest = offset;
    if (in->rank == 0) {
        for (int i = 0; i < rank; i++) out_stride[i] = 0;
        *out_offset = in->offset;
        return offset == 0;
    }
    fy_strides(in->rank, in->dim, row);
    *out_offset = in->offset;
    for (int k = 0; k < in->rank; k++) {                 /* index of the first element */
        if (in->dim[k] == 0) return false;
        at[k] = rest / row[k];
        rest %= row[k];
        if (at[k] >= in->dim[k] || at[k] < 0) return false;
        *out_offset += at[k] * in->stride[k];
    }
    int64_t lo[FY_MAX_RANK], hi[FY_MAX_RANK];
    memcpy(lo, at, sizeof lo);
    memcpy(hi, at, sizeof hi);
    for (int i = 0; i < rank; i++) {
        out_stride[i] = 0;
        if (dim[i] <= 1 || stride[i] == 0) continue;
        int k = 0;                                       /* the axis whose row stride divides the step, outermost first */
        while (k < in->rank && (in->dim[k] == 1 || stride[i] % row[k] != 0)) k++;
        if (k == in->rank) return false;
        int64_t step = stride[i] / row[k], far = step * (dim[i] - 1);
        if (step > 0) hi[k] += far;
        else lo[k] += far;
        out_stride[i] = step * in->stride[k];
    }
    for (int k = 0; k < in->rank; k++)
        if (lo[k] < 0 || hi[k] >= in->dim[k]) return false;
    return true;
}

fy_const *fy_const_strided(fy_arena *a, const fy_const *c, int rank, const int64_t *dim, const int64_t *stride, int64_t offset) {
    int64_t st[FY_MAX_RANK], off, n;
    if (!fy_count_dims(&n, rank, dim)) return NULL;
    if (n == c->count && offset == 0 && dense_strides(rank, dim, stride) && c->kind == FY_CONST_BYTES) {   /* only other dims */
        fy_const *r = same(a, c);
        int64_t *d = fy_arena_copy(a, dim, (size_t)rank, sizeof *d);
        if (!r || !d) return NULL;
        r->rank = rank;
        r->dim = d;
        if (r->strings) {
            r->strings = FY_NEW(a, fy_tensor);
            if (!r->strings) return NULL;
            *r->strings = fy_tensor_view(c->dtype, rank, dim, c->strings->data);
        }
        return r;
    }
    if (n && c->kind == FY_CONST_STRIDED && collapse(c, rank, dim, stride, offset, st, &off)) return fy_const_strided(a, c->src[0], rank, dim, st, off);
    if (c->kind == FY_CONST_CAST) {                      /* view first, convert what is seen */
        fy_const *in = fy_const_strided(a, c->src[0], rank, dim, stride, offset);
        return in ? fy_const_cast(a, in, c->dtype) : NULL;
    }
    fy_const *r = make(a, FY_CONST_STRIDED, c->dtype, rank, dim);
    if (!r || !set_src(a, r, 1, &c)) return NULL;
    r->stride = fy_arena_copy(a, stride, (size_t)rank, sizeof *stride);
    r->offset = offset;
    return r->stride ? settled(a, r) : NULL;
}

fy_const *fy_const_reshape(fy_arena *a, const fy_const *c, int rank, const int64_t *dim) {
    int64_t row[FY_MAX_RANK];
    fy_strides(rank, dim, row);
    return fy_const_strided(a, c, rank, dim, row, 0);
}

fy_const *fy_const_transpose(fy_arena *a, const fy_const *c, const int *perm) {
    int64_t dim[FY_MAX_RANK], row[FY_MAX_RANK], stride[FY_MAX_RANK];
    fy_strides(c->rank, c->dim, row);
    int axis = 0;
    for (int i = 0; i < c->rank; i++) {
        dim[i] = c->dim[perm[i]];
        stride[i] = row[perm[i]];
        if (perm[i] == c->axis) axis = i;
    }
    if (c->kind == FY_CONST_SCALE) {
        fy_const *in = fy_const_transpose(a, c->src[0], perm);     /* nesting is bounded by MAX_DEPTH */
        return in ? fy_const_scale(a, in, axis, c->factor) : NULL;
    }
    if (c->kind == FY_CONST_CONCAT) {
        const fy_const **part = FY_NEWN(a, const fy_const *, c->nsrc);
        for (int i = 0; part && i < c->nsrc; i++)
            if (!(part[i] = fy_const_transpose(a, c->src[i], perm))) return NULL;
        return part ? fy_const_concat(a, c->nsrc, part, axis) : NULL;
    }
    return fy_const_strided(a, c, c->rank, dim, stride, 0);
}

fy_const *fy_const_concat(fy_arena *a, int n, const fy_const *const *c, int axis) {
    FY_ASSERT(n > 0 && axis >= 0 && axis < c[0]->rank);
    if (n == 1) return same(a, c[0]);
    int64_t dim[FY_MAX_RANK];
    memcpy(dim, c[0]->dim, (size_t)c[0]->rank * sizeof *dim);
    for (int i = 1; i < n; i++)
        if (!fy_add_i64(&dim[axis], dim[axis], c[i]->dim[axis])) return NULL;
    fy_const *r = make(a, FY_CONST_CONCAT, c[0]->dtype, c[0]->rank, dim);
    if (!r || !set_src(a, r, n, c)) return NULL;
    r->axis = axis;
    return settled(a, r);
}

/* ---- reading ------------------------------------------------------------------------------------------------------- */

static void read_bytes(const fy_const *c, int64_t first, int64_t n, unsigned char *dst, int step) {
    int bits = fy_dtype_bits(c->dtype);
    if (c->dtype == FERRY_STRING) {
        memcpy(dst, (const fy_str *)c->strings->data + first, (size_t)n * sizeof(fy_str));
    } else if (bits >= 8) {
        memcpy(dst, c->bytes + (size_t)first * (size_t)step, (size_t)n * (size_t)step);
    } else fy_unpack_bits(c->dtype, dst, c->bytes, first, n);
}

static fy_status read_cast(const fy_const *c, int64_t first, int64_t n, unsigned char *dst, ferry_error *e) {
    const fy_const *s = c->src[0];
    size_t in = (size_t)fy_elem_bytes(s->dtype), out = (size_t)fy_elem_bytes(c->dtype);
    int64_t most = n < PIECE ? n : PIECE;
    void *buf = fy_malloc((size_t)most, in);
    FY_NOMEM(e, buf);
    fy_status st = FY_OK;
    for (int64_t done = 0; done < n && !st;) {
        int64_t k = n - done < most ? n - done : most;
        st = fy_const_read(s, first + done, k, buf, e);
        if (st) break;
        fy_tensor from = fy_tensor_view(s->dtype, 1, &k, buf), to = fy_tensor_view(c->dtype, 1, &k, dst + (size_t)done * out);
        fy_tensor_copy(&to, &from);
        done += k;
    }
    fy_free(buf);
    return st;
}

static fy_status read_scale(const fy_const *c, int64_t first, int64_t n, unsigned char *dst, ferry_error *e) {
    int64_t inner = 1;
    for (int i = c->axis + 1; i < c->rank; i++) inner *= c->dim[i];
    FY_TRY(fy_const_read(c->src[0], first, n, dst, e));
    size_t step = (size_t)fy_elem_bytes(c->dtype);
    double buf[256];
    for (int64_t i = first; i < first + n;) {
        int64_t left = inner - i % inner, k = first + n - i;
        if (k > left) k = left;
        if (c->dtype == FERRY_FLOAT) {                       /* what folded weights are: no detour over views */
            float *v = (float *)(void *)dst + (i - first);
            double f = c->factor[i / inner % c->dim[c->axis]];
            for (int64_t j = 0; j < k; j++) v[j] = (float)((double)v[j] * f);
            i += k;
            continue;
        }
        if (k > FY_COUNT(buf)) k = FY_COUNT(buf);
        fy_tensor t = fy_tensor_view(c->dtype, 1, &k, dst + (size_t)(i - first) * step);
        double f = c->factor[i / inner % c->dim[c->axis]];
        fy_load_f64(buf, &t, 0, k);
        for (int64_t j = 0; j < k; j++) buf[j] *= f;
        fy_store_f64(&t, 0, k, buf);
        i += k;
    }
    return FY_OK;
}

static fy_status read_strided(const fy_const *c, int64_t first, int64_t n, unsigned char *dst, ferry_error *e) {
    const fy_const *s = c->src[0];
    size_t size = (size_t)fy_elem_bytes(c->dtype);
    bool direct = s->kind == FY_CONST_BYTES && c->dtype != FERRY_STRING && fy_dtype_bits(c->dtype) >= 8;
    int last = c->rank - 1;
    int64_t at[FY_MAX_RANK], rest = first, off = c->offset;
    for (int i = last; i >= 0; i--) {
        at[i] = rest % c->dim[i];
        rest /= c->dim[i];
        off += at[i] * c->stride[i];
    }
    for (int64_t done = 0; done < n;) {
        int64_t run = c->rank ? c->dim[last] - at[last] : 1, step = c->rank ? c->stride[last] : 0;
        if (run > n - done) run = n - done;
        unsigned char *to = dst + (size_t)done * size;
        if (step == 1) {
            FY_TRY(fy_const_read(s, off, run, to, e));
        } else if (direct) {
            const unsigned char *from = s->bytes + off * (int64_t)size;
            for (int64_t i = 0; i < run; i++) memcpy(to + (size_t)i * size, from + i * step * (int64_t)size, size);
        } else {
            FY_TRY(fy_const_read(s, off, 1, to, e));
            for (int64_t i = 1; i < run; i++) {
                if (step == 0) memcpy(to + (size_t)i * size, to, size);
                else FY_TRY(fy_const_read(s, off + i * step, 1, to + (size_t)i * size, e));
            }
        }
        done += run;
        if (!c->rank) break;
        at[last] += run;
        off += run * step;
        for (int i = last; i > 0 && at[i] == c->dim[i]; i--) {
            off += c->stride[i - 1] - at[i] * c->stride[i];
            at[i] = 0;
            at[i - 1]++;
        }
    }
    return FY_OK;
}

static fy_status read_concat(const fy_const *c, int64_t first, int64_t n, unsigned char *dst, ferry_error *e) {
    size_t size = (size_t)fy_elem_bytes(c->dtype);
    int64_t inner = 1;
    for (int i = c->axis + 1; i < c->rank; i++) inner *= c->dim[i];
    int64_t row = inner * c->dim[c->axis];
    int64_t base = 0;                                    /* where part k starts within a row */
    for (int64_t outer = first / row, at = first % row, done = 0; done < n; outer++, at = 0) {
        base = 0;
        for (int k = 0; k < c->nsrc && done < n; k++) {
            int64_t len = c->src[k]->dim[c->axis] * inner, from = at - base, take = base + len - at;
            base += len;
            if (take <= 0) continue;
            if (take > n - done) take = n - done;
            FY_TRY(fy_const_read(c->src[k], outer * len + from, take, dst + (size_t)done * size, e));
            done += take;
            at += take;
        }
    }
    return FY_OK;
}

fy_status fy_const_read(const fy_const *c, int64_t first, int64_t n, void *dst, ferry_error *e) {
    FY_ASSERT(first >= 0 && n >= 0 && first <= c->count - n);
    if (n == 0) return FY_OK;
    switch (c->kind) {
    case FY_CONST_BYTES: read_bytes(c, first, n, dst, fy_elem_bytes(c->dtype)); return FY_OK;
    case FY_CONST_CAST: return read_cast(c, first, n, dst, e);
    case FY_CONST_SCALE: return read_scale(c, first, n, dst, e);
    case FY_CONST_STRIDED: return read_strided(c, first, n, dst, e);
    case FY_CONST_CONCAT: return read_concat(c, first, n, dst, e);
    }
    return FY_OK;
}

const void *fy_const_direct(const fy_const *c) { return c->kind == FY_CONST_BYTES && c->dtype != FERRY_STRING ? c->bytes : NULL; }

fy_status fy_const_tensor(fy_tensor *t, const fy_const *c, ferry_error *e) {
    int bits = fy_dtype_bits(c->dtype);
    if (c->kind == FY_CONST_BYTES && c->dtype == FERRY_STRING) {
        *t = fy_tensor_view(c->dtype, c->rank, c->dim, c->strings->data);
        return FY_OK;
    }
    size_t align = bits >= 128 ? 8 : bits == 64 && fy_dtype_class(c->dtype) == FY_CLASS_C ? 4 : (size_t)bits / 8;
    if (c->kind == FY_CONST_BYTES && bits >= 8 && c->bytes && (uintptr_t)c->bytes % align == 0) {
        *t = fy_tensor_view(c->dtype, c->rank, c->dim, c->bytes);
        return FY_OK;
    }
    FY_TRY(fy_tensor_new(t, c->dtype, c->rank, c->dim, e));
    fy_status s = FY_OK;
    if (c->kind == FY_CONST_STRIDED && c->src[0]->kind != FY_CONST_BYTES && c->count) {   /* a scattered view of something computed: compute it once */
        fy_tensor in = { 0 };
        s = fy_const_tensor(&in, c->src[0], e);
        if (!s) {
            fy_tensor view = fy_tensor_view(c->dtype, c->rank, c->dim, (const char *)in.data + c->offset * fy_elem_bytes(c->dtype));
            for (int i = 0; i < c->rank; i++) view.stride[i] = c->stride[i];
            fy_tensor_copy(t, &view);
        }
        fy_tensor_free(&in);
    } else s = fy_const_read(c, 0, c->count, t->data, e);
    if (s) fy_tensor_free(t);
    return s;
}

bool fy_const_same(const fy_const *a, const fy_const *b) {
    if (a == b) return true;
    if (a->kind != b->kind || a->dtype != b->dtype || a->rank != b->rank || memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim)) return false;
    if (a->kind == FY_CONST_BYTES) return a->bytes && a->bytes == b->bytes && a->nbytes == b->nbytes;
    if (a->kind == FY_CONST_SCALE) return a->axis == b->axis && fy_const_same(a->src[0], b->src[0]) && !memcmp(a->factor, b->factor, (size_t)a->dim[a->axis] * sizeof *a->factor);
    if (a->kind != FY_CONST_STRIDED || a->offset != b->offset || memcmp(a->stride, b->stride, (size_t)a->rank * sizeof *a->stride)) return false;
    return a->src[0] == b->src[0] || (a->src[0]->kind == FY_CONST_BYTES && b->src[0]->kind == FY_CONST_BYTES && a->src[0]->bytes && a->src[0]->bytes == b->src[0]->bytes);
}

static bool one(const fy_const *c, int64_t i, fy_tensor *t, void *buf) {
    if (i < 0 || i >= c->count || c->dtype == FERRY_STRING || fy_const_read(c, i, 1, buf, NULL) != FY_OK) return false;
    *t = fy_tensor_view(c->dtype, 0, NULL, buf);
    return true;
}

bool fy_const_f64(const fy_const *c, int64_t i, double *v) {
    union { double d[2]; unsigned char b[16]; } buf;
    fy_tensor t;
    if (!one(c, i, &t, &buf)) return false;
    *v = fy_get_f64(&t, 0);
    return true;
}

bool fy_const_i64(const fy_const *c, int64_t i, int64_t *v) {
    union { double d[2]; unsigned char b[16]; } buf;
    fy_tensor t;
    if (!one(c, i, &t, &buf)) return false;
    *v = fy_get_i64(&t, 0);
    return true;
}
