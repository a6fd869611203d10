/* SPDX-License-Identifier: Apache-2.0
 * tensor.c - storage, views, copies, casts, printing. Access to single elements is in element.c. */
#include "tensor/tensor.h"

#include "base/checked.h"

#include <math.h>
#include <string.h>

/* ---- storage ------------------------------------------------------------------------------------------------------ */

/* `align`: of what is kept there, in guarded memory; the bytes used end at most align - 1 before the guard. */
static fy_storage *storage(size_t bytes, size_t align) {
    fy_storage *s = fy_malloc(1, sizeof *s);
    bool guarded = false;
    if (fy_os_guarded() && bytes < SIZE_MAX - align) bytes = (bytes + align - 1) / align * align;
    void *at = s ? fy_malloc_data(bytes, &guarded) : NULL;
    if (!at) {
        fy_free(s);
        return NULL;
    }
    *s = (fy_storage){ .at = at, .bytes = bytes, .refs = 1, .guarded = guarded };
    return s;
}

fy_storage *fy_storage_new(size_t bytes) { return storage(bytes, 16); }

fy_storage *fy_storage_borrow(const void *at, size_t bytes) {
    fy_storage *s = fy_malloc(1, sizeof *s);
    if (s) *s = (fy_storage){ .at = (void *)(uintptr_t)at, .bytes = bytes, .refs = 1, .borrowed = true };
    return s;
}

fy_storage *fy_storage_ref(fy_storage *s) {
    if (s) s->refs++;
    return s;
}

static void storage_free(fy_storage *s) {
    if (!s->borrowed) fy_free_data(s->at, s->bytes, s->guarded);
    fy_free(s);
}

/* ---- storage that is used again ----------------------------------------------------------------------------------- */

/* Sizes in steps of a quarter of a power of two, from 64 bytes on. -1: larger than what is kept. */
static int spare_size(size_t bytes, size_t *rounded) {
    int power = 6;
    while (power < 44 && bytes > (size_t)2 << power) power++;
    size_t base = (size_t)1 << power, quarter = base / 4, more = bytes > base ? (bytes - base + quarter - 1) / quarter : 0;
    *rounded = base + more * quarter;
    return power < 44 ? (power - 6) * 4 + (int)more : -1;
}

void fy_spares_free(fy_spares *p) {
    for (int i = 0; i < FY_SPARE_SIZES; i++)
        while (p->first[i]) {
            fy_storage *s = p->first[i];
            p->first[i] = s->next;
            storage_free(s);
        }
    p->kept = 0;
}

static void spare(fy_storage *s) {
    fy_spares *p = s->home;
    size_t rounded;
    int i = spare_size(s->bytes, &rounded);
    p->used -= s->bytes;
    if (p->kept + s->bytes > p->most) fy_spares_free(p);                /* sizes of long ago */
    s->next = p->first[i];
    p->first[i] = s;
    p->kept += s->bytes;
}

static fy_storage *spare_take(fy_spares *p, size_t bytes) {
    size_t rounded;
    int i = fy_os_guarded() ? -1 : spare_size(bytes, &rounded);
    if (i < 0) return storage(bytes, 1);
    fy_storage *s = p->first[i];
    if (s) {
        p->first[i] = s->next;
        p->kept -= s->bytes;
        s->refs = 1;
    } else if (!(s = storage(rounded, 1))) return NULL;
    s->home = p;
    p->used += s->bytes;
    if (p->used > p->most) p->most = p->used;
    return s;
}

void fy_storage_leave(fy_storage *s) {
    if (!s || !s->home) return;
    s->home->used -= s->bytes;
    s->home = NULL;
}

void fy_storage_return(fy_storage *s, fy_spares *p) {
    size_t rounded;
    if (!s || s->refs != 1 || s->borrowed || s->guarded || s->home || spare_size(s->bytes, &rounded) < 0 || rounded != s->bytes) return;
    s->home = p;
    p->used += s->bytes;
    if (p->used > p->most) p->most = p->used;
}

void fy_storage_unref(fy_storage *s) {
    if (!s || --s->refs > 0) return;
    if (s->home) spare(s);
    else storage_free(s);
}

/* ---- shapes ------------------------------------------------------------------------------------------------------- */

bool fy_str_equal(const fy_str *a, const fy_str *b) { return a->n == b->n && (!a->n || !memcmp(a->at, b->at, a->n)); }

int fy_str_order(const fy_str *a, const fy_str *b) {
    size_t n = a->n < b->n ? a->n : b->n;
    int r = n ? memcmp(a->at, b->at, n) : 0;
    return r ? r : (a->n > b->n) - (a->n < b->n);
}

int64_t fy_count(const fy_tensor *t) {
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= t->dim[i];
    return n;
}

bool fy_contiguous(const fy_tensor *t) {
    int64_t want = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        if (t->dim[i] == 0) return true;
        if (t->dim[i] != 1 && t->stride[i] != want) {
            for (int j = 0; j < i; j++)
                if (t->dim[j] == 0) return true;
            return false;
        }
        want = (int64_t)((uint64_t)want * (uint64_t)t->dim[i]);
    }
    return true;
}

void fy_strides(int rank, const int64_t *dim, int64_t *stride) {
    int64_t n = 1;
    for (int i = rank - 1; i >= 0; i--) {
        stride[i] = n;
        n = (int64_t)((uint64_t)n * (uint64_t)(dim[i] ? dim[i] : 1));       /* may wrap where another axis is empty */
    }
}

bool fy_same_dims(const fy_tensor *a, const fy_tensor *b) {
    if (a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}

/* ---- making and freeing ------------------------------------------------------------------------------------------- */

fy_status fy_tensor_new(fy_tensor *t, fy_dtype dtype, int rank, const int64_t *dim, ferry_error *e) { return fy_tensor_take(t, NULL, dtype, rank, dim, e); }

fy_status fy_tensor_take(fy_tensor *t, fy_spares *p, fy_dtype dtype, int rank, const int64_t *dim, ferry_error *e) {
    *t = (fy_tensor){ 0 };
    int elem = fy_elem_bytes(dtype);
    int64_t count = 0;
    size_t bytes = 0;
    FY_NEED(e, elem > 0, TYPE, "there are no tensors of element type %d", (int)dtype);
    FY_NEED(e, rank >= 0 && rank <= FY_MAX_RANK, LIMIT, "rank %d is outside 0..%d", rank, FY_MAX_RANK);
    FY_NEED(e, fy_count_dims(&count, rank, dim) && fy_mul_size(&bytes, (size_t)count, (size_t)elem), LIMIT,
        "a %s tensor of rank %d is too large to address",
        fy_dtype_name(dtype), rank);
    fy_storage *s = p ? spare_take(p, bytes) : storage(bytes, 1);
    FY_NEED(e, s, NOMEM, "out of memory: a tensor needs %zu bytes", bytes);
    if (dtype == FERRY_STRING) memset(s->at, 0, bytes);
    *t = fy_tensor_view(dtype, rank, dim, s->at);
    t->own = s;
    return FY_OK;
}

fy_tensor fy_tensor_pairs(const fy_tensor *t) {
    fy_tensor r = *t;
    r.dtype = t->dtype == FERRY_COMPLEX128 ? FERRY_DOUBLE : FERRY_FLOAT;
    r.own = NULL;
    for (int i = 0; i < t->rank; i++) r.stride[i] *= 2;
    r.dim[r.rank] = 2;
    r.stride[r.rank++] = 1;
    return r;
}

fy_tensor fy_tensor_complex(const fy_tensor *t) { return fy_tensor_view(t->dtype == FERRY_DOUBLE ? FERRY_COMPLEX128 : FERRY_COMPLEX64, t->rank - 1, t->dim, t->data); }

fy_tensor fy_tensor_view(fy_dtype dtype, int rank, const int64_t *dim, const void *data) {
    fy_tensor t = { .dtype = dtype, .rank = rank, .data = (void *)(uintptr_t)data };
    if (rank) memcpy(t.dim, dim, (size_t)rank * sizeof *dim);
    fy_strides(rank, t.dim, t.stride);
    return t;
}

fy_tensor fy_tensor_ref(const fy_tensor *t) {
    (void)fy_storage_ref(t->own);
    return *t;
}

void fy_tensor_free(fy_tensor *t) {
    fy_storage_unref(t->own);
    *t = (fy_tensor){ 0 };
}

fy_status fy_tensor_clone(fy_tensor *dst, const fy_tensor *src, ferry_error *e) {
    FY_TRY(fy_tensor_new(dst, src->dtype, src->rank, src->dim, e));
    fy_tensor_copy(dst, src);
    return FY_OK;
}

fy_status fy_tensor_cast(fy_tensor *dst, const fy_tensor *src, fy_dtype dtype, ferry_error *e) {
    *dst = (fy_tensor){ 0 };
    FY_NEED(e, (src->dtype == FERRY_STRING) == (dtype == FERRY_STRING), TYPE, "%s cannot be converted to %s here",
        fy_dtype_name(src->dtype), fy_dtype_name(dtype));
    FY_TRY(fy_tensor_new(dst, dtype, src->rank, src->dim, e));
    fy_tensor_copy(dst, src);
    return FY_OK;
}

fy_status fy_tensor_own_strings(fy_tensor *t, ferry_error *e) {
    fy_tensor dense;
    size_t bytes = 0;
    FY_TRY(fy_tensor_clone(&dense, t, e));
    fy_str *s = dense.data;
    int64_t n = fy_count(t);
    for (int64_t i = 0; i < n; i++) bytes += s[i].n;
    fy_storage *st = fy_storage_new((size_t)n * sizeof *s + bytes);
    if (!st) {
        fy_tensor_free(&dense);
        return fy_nomem(e);
    }
    fy_str *to = st->at;
    char *p = (char *)(to + n);
    for (int64_t i = 0; i < n; i++) {
        to[i] = (fy_str){p, s[i].n};
        if (s[i].n) memcpy(p, s[i].at, s[i].n);
        p += s[i].n;
    }
    fy_storage_unref(dense.own);
    dense.own = st;
    dense.data = to;
    fy_tensor_free(t);
    *t = dense;
    return FY_OK;
}

/* ---- copies ------------------------------------------------------------------------------------------------------- */

#define COPY_LOOP(T) do { const T *s_ = (const T *)src + from; T *d_ = (T *)dst + to; \
    for (int64_t i_ = 0; i_ < n; i_++) d_[i_ * dstep] = s_[i_ * sstep]; } while (0)
typedef struct pair { uint64_t a, b; } pair;

static void copy_run(void *dst, int64_t to, int64_t dstep, const void *src, int64_t from, int64_t sstep, int64_t n, int elem) {
    if (dstep == 1 && sstep == 1) memmove((char *)dst + to * elem, (const char *)src + from * elem, (size_t)(n * elem));
    else if (elem == 4) COPY_LOOP(uint32_t);
    else if (elem == 8) COPY_LOOP(uint64_t);
    else if (elem == 2) COPY_LOOP(uint16_t);
    else if (elem == 1) COPY_LOOP(uint8_t);
    else COPY_LOOP(pair);
}

/* Same dtype: dimensions that both sides see as one run together are merged; an odometer goes over the others. */
static void copy_same(fy_tensor *dst, const fy_tensor *src) {
    int rank = 0, elem = fy_elem_bytes(dst->dtype);
    int64_t dim[FY_MAX_RANK], ds[FY_MAX_RANK], ss[FY_MAX_RANK], at[FY_MAX_RANK] = { 0 };
    for (int i = 0; i < dst->rank; i++) {
        int64_t n = dst->dim[i], a = dst->stride[i], b = src->stride[i];
        if (n == 1) continue;
        if (rank && ds[rank - 1] == a * n && ss[rank - 1] == b * n) {
            dim[rank - 1] *= n;
            ds[rank - 1] = a;
            ss[rank - 1] = b;
        } else {
            dim[rank] = n;
            ds[rank] = a;
            ss[rank++] = b;
        }
    }
    if (rank == 0) { copy_run(dst->data, 0, 1, src->data, 0, 1, 1, elem); return; }
    int last = rank - 1;
    int64_t to = 0, from = 0;
    for (;;) {
        copy_run(dst->data, to, ds[last], src->data, from, ss[last], dim[last], elem);
        int i = last - 1;
        for (; i >= 0; i--) {
            to += ds[i];
            from += ss[i];
            if (++at[i] < dim[i]) break;
            to -= ds[i] * dim[i];
            from -= ss[i] * dim[i];
            at[i] = 0;
        }
        if (i < 0) return;
    }
}

#define CHUNK 512
void fy_tensor_copy(fy_tensor *dst, const fy_tensor *src) {
    int64_t n = fy_count(src);
    FY_ASSERT(fy_same_dims(dst, src) && (dst->dtype == FERRY_STRING) == (src->dtype == FERRY_STRING));
    if (n == 0) return;
    if (dst->dtype == src->dtype) { copy_same(dst, src); return; }
    union { double f[2 * CHUNK]; int64_t i[CHUNK]; uint64_t u[CHUNK]; } wide;
    fy_class from = fy_dtype_class(src->dtype);
    bool to_complex = fy_dtype_class(dst->dtype) == FY_CLASS_C;
    for (int64_t first = 0; first < n; first += CHUNK) {
        int64_t k = n - first < CHUNK ? n - first : CHUNK;
        if (from == FY_CLASS_I || from == FY_CLASS_B) {
            fy_load_i64(wide.i, src, first, k);
            fy_store_i64(dst, first, k, wide.i);
        } else if (from == FY_CLASS_U) {
            fy_load_u64(wide.u, src, first, k);
            fy_store_u64(dst, first, k, wide.u);
        } else if (from == FY_CLASS_C && to_complex) {
            fy_load_c128(wide.f, src, first, k);
            fy_store_c128(dst, first, k, wide.f);
        } else {
            fy_load_f64(wide.f, src, first, k);
            fy_store_f64(dst, first, k, wide.f);
        }
    }
}

/* ---- printing ----------------------------------------------------------------------------------------------------- */

static void print_f64(fy_buf *out, double v, int digits) {
    if (isnan(v)) fy_buf_str(out, "nan");
    else if (isinf(v)) fy_buf_str(out, v < 0 ? "-inf" : "inf");
    else fy_buf_fmt(out, "%.*g", digits, v);
}

static void print_value(fy_buf *out, const fy_tensor *t, int64_t i) {
    int digits = t->dtype == FERRY_DOUBLE || t->dtype == FERRY_COMPLEX128 ? 12 : 6;
    switch (fy_dtype_class(t->dtype)) {
    case FY_CLASS_F: print_f64(out, fy_get_f64(t, i), digits); break;
    case FY_CLASS_I: fy_buf_fmt(out, "%lld", (long long)fy_get_i64(t, i)); break;
    case FY_CLASS_U: fy_buf_fmt(out, "%llu", (unsigned long long)fy_get_u64(t, i)); break;
    case FY_CLASS_B: fy_buf_str(out, fy_get_i64(t, i) ? "true" : "false"); break;
    case FY_CLASS_C: {
        double v[2];
        fy_load_c128(v, t, i, 1);
        print_f64(out, v[0], digits);
        if (!signbit(v[1]) || isnan(v[1])) fy_buf_char(out, '+');
        print_f64(out, v[1], digits);
        fy_buf_char(out, 'j');
        break;
    }
    case FY_CLASS_S: {
        fy_tensor one = *t;                /* the element's own address: strings have no wide form */
        int64_t offset = 0;
        for (int d = t->rank - 1; d >= 0; d--) { offset += i % t->dim[d] * t->stride[d]; i /= t->dim[d]; }
        const fy_str *s = (const fy_str *)one.data + offset;
        fy_buf_char(out, '"');
        for (size_t k = 0; k < s->n; k++) {
            unsigned char c = (unsigned char)s->at[k];
            if (c < 32 || c == 127 || c == '"' || c == '\\') fy_buf_fmt(out, "\\x%02x", c);
            else fy_buf_char(out, (char)c);
        }
        fy_buf_char(out, '"');
        break;
    }
    case FY_CLASS_NONE: break;
    }
}

void fy_tensor_print(fy_buf *out, const fy_tensor *t, int64_t max_values) {
    fy_buf_fmt(out, "%s[", fy_dtype_name(t->dtype));
    for (int i = 0; i < t->rank; i++) fy_buf_fmt(out, "%s%lld", i ? "," : "", (long long)t->dim[i]);
    fy_buf_char(out, ']');
    if (max_values <= 0 || !t->data) return;
    int64_t n = fy_count(t), shown = n < max_values ? n : max_values;
    fy_buf_str(out, " {");
    for (int64_t i = 0; i < shown; i++) {
        if (i) fy_buf_str(out, ", ");
        print_value(out, t, i);
    }
    fy_buf_str(out, shown < n ? ", ...}" : "}");
}
