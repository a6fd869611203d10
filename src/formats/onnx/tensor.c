/* SPDX-License-Identifier: Apache-2.0
 * tensor.c - TensorProto and SparseTensorProto as constants; the .pb value files of the ONNX test suites.
 *
 * raw_data and single packed runs of floats stay where they are in the file; varint lists are decoded into the arena after
 * their number has been checked against the dims, so memory is at most 8 times the bytes read. */
#include "formats/onnx/internal.h"

#include "base/checked.h"

#include <stdlib.h>
#include <string.h>

typedef struct proto {                   /* what a first walk over a TensorProto finds */
    int64_t dim[FY_MAX_RANK], count;
    int rank;
    uint64_t dtype;
    fy_str name, raw, location;
    bool has_raw, external, has_offset, has_length;
    uint64_t offset, length;
    uint32_t typed;                      /* number of the typed data field in use, or 0 */
    int64_t ntyped;
    const unsigned char *run;            /* the one packed run of typed data, if it came as one */
    int nruns;
} proto;

static bool decimal(fy_str s, uint64_t *v) {
    uint64_t r = 0;
    if (!s.n || s.n > 19) return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.at[i] < '0' || s.at[i] > '9') return false;
        r = r * 10 + (uint64_t)(s.at[i] - '0');
    }
    *v = r;
    return true;
}

static bool same(fy_str s, const char *text) { return s.n == strlen(text) && !memcmp(s.at, text, s.n); }

static fy_status external_key(proto *t, fy_pb *c) {
    fy_pb in;
    fy_str key = {"", 0}, val = {"", 0};
    fy_pb_open_sub(&in, c);
    while (fy_pb_next(&in)) {
        fy_str s = {(const char *)in.p, in.n};
        if (in.f->num == PAIR_key) key = s;
        else val = s;
    }
    FY_TRY(in.status);
    if (same(key, "location")) t->location = val;
    else if (same(key, "offset")) { FY_PB_NEED(c, decimal(val, &t->offset), CORRUPT, "the offset of external data is not a number"); t->has_offset = true; }
    else if (same(key, "length")) { FY_PB_NEED(c, decimal(val, &t->length), CORRUPT, "the length of external data is not a number"); t->has_length = true; }
    return FY_OK;
}

static fy_status survey(proto *t, fy_pb *c) {
    while (fy_pb_next(c)) {
        size_t pos = 0;
        uint64_t v;
        switch (c->f->num) {
        case TENSOR_dims:
            while (fy_pb_number(c, &pos, &v)) {
                FY_PB_NEED(c, t->rank < FY_MAX_RANK, LIMIT, "a tensor has more than %d dimensions", FY_MAX_RANK);
                FY_PB_NEED(c, (int64_t)v >= 0, CORRUPT, "a tensor has the negative size %lld", (long long)v);
                t->dim[t->rank++] = (int64_t)v;
            }
            break;
        case TENSOR_data_type: t->dtype = c->u; break;
        case TENSOR_segment: return fy_pb_fail(c, FY_E_UNSUPPORTED, "tensors cut into segments are not supported");
        case TENSOR_name: t->name = (fy_str){(const char *)c->p, c->n}; break;
        case TENSOR_raw_data: t->raw = (fy_str){(const char *)c->p, c->n}; t->has_raw = true; break;
        case TENSOR_data_location:
            FY_PB_NEED(c, c->u <= 1, UNSUPPORTED, "data location %llu is not known", (unsigned long long)c->u);
            t->external = c->u == 1;
            break;
        case TENSOR_external_data: FY_TRY(external_key(t, c)); break;
        case TENSOR_float_data: case TENSOR_int32_data: case TENSOR_string_data: case TENSOR_int64_data: case TENSOR_double_data: case TENSOR_uint64_data:
            if (c->run && !c->n) break;
            FY_PB_NEED(c, !t->typed || t->typed == c->f->num, CORRUPT, "a tensor has data of two kinds");
            t->typed = c->f->num;
            t->ntyped += fy_pb_count(c);
            t->run = c->run ? c->p : NULL;
            t->nruns++;
            break;
        default: break;
        }
    }
    FY_TRY(c->status);
    FY_PB_NEED(c, t->dtype >= FERRY_FLOAT && t->dtype <= FERRY_FLOAT6E3M2, CORRUPT, "a tensor has the unknown element type %llu", (unsigned long long)t->dtype);
    FY_PB_NEED(c, fy_count_dims(&t->count, t->rank, t->dim), LIMIT, "a tensor has more than 2^48 elements");
    return FY_OK;
}

/* Which typed field holds elements of a dtype, and how many numbers `count` of them take. */
static uint32_t typed_field(fy_dtype t, int64_t count, int64_t *numbers) {
    *numbers = count;
    switch (t) {
    case FERRY_FLOAT: return TENSOR_float_data;
    case FERRY_COMPLEX64: *numbers = 2 * count; return TENSOR_float_data;
    case FERRY_DOUBLE: return TENSOR_double_data;
    case FERRY_COMPLEX128: *numbers = 2 * count; return TENSOR_double_data;
    case FERRY_INT64: return TENSOR_int64_data;
    case FERRY_UINT32: case FERRY_UINT64: return TENSOR_uint64_data;
    case FERRY_STRING: return TENSOR_string_data;
    case FERRY_UINT4: case FERRY_INT4: case FERRY_FLOAT4E2M1: *numbers = (count + 1) / 2; return TENSOR_int32_data;   /* packed, first element low */
    case FERRY_UINT2: case FERRY_INT2: *numbers = (count + 3) / 4; return TENSOR_int32_data;
    case FERRY_UNDEFINED: case FERRY_UINT8: case FERRY_INT8: case FERRY_UINT16: case FERRY_INT16: case FERRY_INT32: case FERRY_BOOL: case FERRY_FLOAT16:
    case FERRY_BFLOAT16: case FERRY_FLOAT8E4M3FN: case FERRY_FLOAT8E4M3FNUZ: case FERRY_FLOAT8E5M2: case FERRY_FLOAT8E5M2FNUZ: case FERRY_FLOAT8E8M0:
    case FERRY_FLOAT6E2M3: case FERRY_FLOAT6E3M2:                        /* one number each, not packed */
    default: return TENSOR_int32_data;
    }
}

static fy_status external(const fy_const **out, const proto *t, fy_onnx_src *s, fy_pb *c, size_t need) {
    FY_PB_NEED(c, s->dir && s->model, PATH, "external data cannot be used for a model that is read from memory");
    FY_PB_NEED(c, t->location.n && t->location.n < 4096 && !memchr(t->location.at, 0, t->location.n), PATH, "external data has no proper location");
    fy_map_file *f = fy_map_get(&s->files, t->location.at, t->location.n);
    if (!f) {
        FY_PB_NEED(c, s->files.n < 4096, LIMIT, "external data lies in more than 4096 files");
        char *where = fy_arena_strn(s->arena, t->location.at, t->location.n);
        f = FY_NEW(s->arena, fy_map_file);
        FY_PB_NEED(c, where && f && FY_RESERVE(s->model->files, s->model->files.n + 1), NOMEM, "out of memory");
        fy_status st = fy_file_open_below(f, s->dir, where, c->file->e);
        if (st) return fy_frame(c->file->e, st, "%s: external data \"%s\"", c->file->name, where);
        s->model->files.at[s->model->files.n++] = f;
        FY_PB_NEED(c, fy_map_put(&s->files, where, t->location.n, f), NOMEM, "out of memory");
    }
    FY_PB_NEED(c, !t->has_length || t->length == need, CORRUPT, "external data of %llu bytes for a tensor of %zu", (unsigned long long)t->length, need);
    FY_PB_NEED(c, t->offset <= f->n && need <= f->n - t->offset, TRUNCATED, "external data ends at byte %llu + %zu, but %.*s has %zu bytes",
               (unsigned long long)t->offset, need, (int)(t->location.n < 80 ? t->location.n : 80), t->location.at, f->n);
    *out = fy_const_bytes(s->arena, (fy_dtype)t->dtype, t->rank, t->dim, need ? f->at + t->offset : NULL, need);
    FY_PB_NEED(c, *out, NOMEM, "out of memory");
    return FY_OK;
}

/* Second walk: the typed numbers as little-endian bytes, or the strings. */
static fy_status decode(const fy_const **out, const proto *t, fy_onnx_src *s, fy_pb *c, const unsigned char *at, size_t n, size_t need) {
    fy_pb in;
    fy_pb_open(&in, c->file, c->msg, at, n);
    in.up = c->up;
    in.depth = c->depth;
    int64_t k = 0;
    if (t->dtype == FERRY_STRING) {
        fy_str *str = FY_NEWN(s->arena, fy_str, t->count);
        fy_tensor *box = FY_NEW(s->arena, fy_tensor);
        fy_const *made = fy_const_bytes(s->arena, FERRY_STRING, t->rank, t->dim, NULL, 0);
        FY_PB_NEED(c, str && box && made, NOMEM, "out of memory");
        while (fy_pb_next(&in))
            if (in.f->num == TENSOR_string_data && k < t->count) str[k++] = (fy_str){(const char *)in.p, in.n};
        *box = fy_tensor_view(FERRY_STRING, t->rank, t->dim, str);
        made->strings = box;
        *out = made;
        return in.status;
    }
    bool loose = fy_dtype_bits((fy_dtype)t->dtype) == 6;
    size_t room = loose ? (size_t)t->count : need;
    unsigned char *bytes = FY_NEWN(s->arena, unsigned char, room);
    FY_PB_NEED(c, bytes, NOMEM, "out of memory");
    size_t used = 0;
    int size = t->typed == TENSOR_float_data || t->dtype == FERRY_UINT32 ? 4 : t->typed == TENSOR_int32_data ? (fy_dtype_bits((fy_dtype)t->dtype) + 7) / 8 : 8;
    while (fy_pb_next(&in)) {
        if (in.f->num != t->typed) continue;
        size_t pos = 0;
        uint64_t v;
        while (fy_pb_number(&in, &pos, &v)) {
            if (room - used < (size_t)size) break;
            for (int i = 0; i < size; i++) bytes[used++] = (unsigned char)(v >> (8 * i));
        }
    }
    FY_TRY(in.status);
    if (loose) fy_pack_bits((fy_dtype)t->dtype, bytes, 0, bytes, t->count);
    *out = fy_const_bytes(s->arena, (fy_dtype)t->dtype, t->rank, t->dim, bytes, need);
    FY_PB_NEED(c, *out, NOMEM, "out of memory");
    return FY_OK;
}

fy_status fy_onnx_tensor(const fy_const **out, fy_str *name, fy_onnx_src *s, fy_pb *c) {
    proto t = {0};
    const unsigned char *at = c->at;
    size_t n = (size_t)(c->end - c->at);
    FY_TRY(survey(&t, c));
    if (name) *name = t.name;
    fy_dtype dtype = (fy_dtype)t.dtype;
    size_t need = fy_dtype_bytes(dtype, t.count);
    if (t.external) {
        FY_PB_NEED(c, dtype != FERRY_STRING, CORRUPT, "strings cannot be external data");
        return external(out, &t, s, c, need);
    }
    if (t.raw.n || !t.typed) {
        FY_PB_NEED(c, !t.typed, CORRUPT, "a tensor has both raw and typed data");
        FY_PB_NEED(c, dtype != FERRY_STRING || (!t.raw.n && !t.count), CORRUPT, "a tensor of %lld strings has none", (long long)t.count);
        FY_PB_NEED(c, t.raw.n == need, CORRUPT, "a tensor needs %zu bytes for its dims and type %s, but has %zu", need, fy_dtype_onnx(dtype), t.raw.n);
        if (dtype == FERRY_STRING) return decode(out, &t, s, c, at, n, 0);
        *out = fy_const_bytes(s->arena, dtype, t.rank, t.dim, need ? t.raw.at : NULL, need);
        FY_PB_NEED(c, *out, NOMEM, "out of memory");
        return FY_OK;
    }
    int64_t numbers;
    uint32_t field = typed_field(dtype, t.count, &numbers);
    FY_PB_NEED(c, t.typed == field, CORRUPT, "a tensor of type %s has its data in the field of another type", fy_dtype_onnx(dtype));
    FY_PB_NEED(c, t.ntyped == numbers, CORRUPT, "a tensor of %lld elements needs %lld numbers, but has %lld", (long long)t.count, (long long)numbers, (long long)t.ntyped);
    if (t.nruns == 1 && t.run && (field == TENSOR_float_data || field == TENSOR_double_data)) {
        *out = fy_const_bytes(s->arena, dtype, t.rank, t.dim, t.run, need);
        FY_PB_NEED(c, *out, NOMEM, "out of memory");
        return FY_OK;
    }
    return decode(out, &t, s, c, at, n, need);
}

#define SPARSE_BYTES ((size_t)64 << 20)  /* largest sparse tensor that is made dense */

fy_status fy_onnx_sparse(const fy_const **out, fy_str *name, fy_onnx_src *s, fy_pb *c) {
    const fy_const *val = NULL, *idx = NULL;
    int64_t dim[FY_MAX_RANK], count;
    int rank = 0;
    while (fy_pb_next(c)) {
        fy_pb in;
        size_t pos = 0;
        uint64_t v;
        if (c->f->num == SPARSE_dims) {
            while (fy_pb_number(c, &pos, &v)) {
                FY_PB_NEED(c, rank < FY_MAX_RANK, LIMIT, "a tensor has more than %d dimensions", FY_MAX_RANK);
                dim[rank++] = (int64_t)v;
            }
            continue;
        }
        fy_pb_open_sub(&in, c);
        if (c->f->num == SPARSE_values) FY_TRY(fy_onnx_tensor(&val, name, s, &in));
        else FY_TRY(fy_onnx_tensor(&idx, NULL, s, &in));
    }
    FY_TRY(c->status);
    FY_PB_NEED(c, val && idx && val->rank == 1 && idx->dtype == FERRY_INT64 && rank, CORRUPT, "a sparse tensor lacks values, indices or dims");
    FY_PB_NEED(c, fy_count_dims(&count, rank, dim), LIMIT, "a sparse tensor has impossible dims");
    int bits = fy_dtype_bits(val->dtype), size = bits / 8;
    FY_PB_NEED(c, bits >= 8, UNSUPPORTED, "sparse tensors of type %s are not supported", fy_dtype_onnx(val->dtype));
    FY_PB_NEED(c, fy_dtype_bytes(val->dtype, count) <= SPARSE_BYTES, UNSUPPORTED, "a sparse tensor of more than %zu bytes when dense is not supported", SPARSE_BYTES);
    int64_t n = val->count;
    bool flat = idx->rank == 1 && idx->count == n;
    FY_PB_NEED(c, flat || (idx->rank == 2 && idx->dim[0] == n && idx->dim[1] == rank), CORRUPT, "a sparse tensor has %lld values but other indices", (long long)n);
    const unsigned char *from = fy_const_direct(val);
    unsigned char *to = FY_NEWN(s->arena, unsigned char, fy_dtype_bytes(val->dtype, count));
    FY_PB_NEED(c, to, NOMEM, "out of memory");
    for (int64_t k = 0; k < n; k++) {
        int64_t at = 0, v = 0;
        for (int d = 0; d < (flat ? 1 : rank); d++) {
            FY_PB_NEED(c, fy_const_i64(idx, flat ? k : k * rank + d, &v) && v >= 0 && v < (flat ? count : dim[d]), INDEX, "index %lld of a sparse tensor is out of range", (long long)v);
            at = flat ? v : at * dim[d] + v;
        }
        if (from) memcpy(to + at * size, from + k * size, (size_t)size);
    }
    *out = fy_const_bytes(s->arena, val->dtype, rank, dim, to, fy_dtype_bytes(val->dtype, count));
    FY_PB_NEED(c, *out, NOMEM, "out of memory");
    return FY_OK;
}

/* ---- value files ------------------------------------------------------------------------------------------------- */

/* Clones into storage of its own, so that the file can be closed. Strings get their bytes copied behind the elements. */
static fy_status own(fy_tensor *t, const fy_const *c, ferry_error *e) {
    fy_tensor view = {0};
    if (c->dtype == FERRY_STRING) {
        size_t bytes = (size_t)c->count * sizeof(fy_str), at = bytes;
        const fy_str *from = c->strings ? c->strings->data : NULL;
        for (int64_t i = 0; i < c->count; i++) bytes += from[i].n;
        fy_storage *s = fy_storage_new(bytes ? bytes : 1);
        FY_NOMEM(e, s);
        *t = fy_tensor_view(FERRY_STRING, c->rank, c->dim, s->at);
        t->own = s;
        for (int64_t i = 0; i < c->count; i++) {
            char *dst = (char *)s->at + at;
            if (from[i].n) memcpy(dst, from[i].at, from[i].n);
            ((fy_str *)s->at)[i] = (fy_str){dst, from[i].n};
            at += from[i].n;
        }
        return FY_OK;
    }
    FY_TRY(fy_const_tensor(&view, c, e));
    fy_status st = fy_tensor_clone(t, &view, e);
    fy_tensor_free(&view);
    return st;
}

static fy_status value_of(fy_rval *v, fy_kind kind, fy_onnx_src *s, fy_pb *c, int depth);

static fy_status tensor_value(fy_rval *v, fy_onnx_src *s, fy_pb *c) {
    const fy_const *k;
    FY_TRY(fy_onnx_tensor(&k, NULL, s, c));
    v->kind = FY_TENSOR;
    v->elem_dtype = k->dtype;
    return own(&v->t, k, c->file->e);
}

/* SequenceProto and OptionalProto have the same fields; an optional holds at most one item. */
static fy_status list_value(fy_rval *v, fy_kind kind, fy_onnx_src *s, fy_pb *c, int depth) {
    v->kind = kind;
    int64_t cap = 0;
    while (fy_pb_next(c)) {
        uint32_t num = c->f->num;
        if (num == SEQ_name || num == SEQ_elem_type) continue;
        FY_PB_NEED(c, num != SEQ_sparse_tensor_values, UNSUPPORTED, "sequences of sparse tensors are not supported");
        FY_PB_NEED(c, kind == FY_SEQUENCE || v->n == 0, CORRUPT, "an optional holds two values");
        FY_PB_NEED(c, fy_vec_grow((void **)&v->item, &cap, v->n + 1, sizeof *v->item), NOMEM, "out of memory");
        fy_rval *item = &v->item[v->n++];
        memset(item, 0, sizeof *item);
        fy_pb in;
        fy_pb_open_sub(&in, c);
        fy_kind of = num == SEQ_tensor_values ? FY_TENSOR : num == SEQ_sequence_values ? FY_SEQUENCE : num == SEQ_map_values ? FY_MAP : FY_OPTIONAL;
        FY_TRY(value_of(item, of, s, &in, depth + 1));
        if (v->n == 1) v->elem_dtype = item->elem_dtype;
    }
    return c->status;
}

/* Strings, wherever they lie, as a list of their own. */
static fy_status own_strings(fy_tensor *t, fy_onnx_src *s, int64_t n, fy_str *str, ferry_error *e) {
    fy_tensor *box = FY_NEW(s->arena, fy_tensor);
    fy_const *made = fy_const_bytes(s->arena, FERRY_STRING, 1, &n, NULL, 0);
    FY_NOMEM(e, box && made);
    *box = fy_tensor_view(FERRY_STRING, 1, &n, str);
    made->strings = box;
    return own(t, made, e);
}

/* A sequence of scalars of one type becomes a tensor [n]; others stay as they are. */
static fy_status pack(fy_rval *v, fy_onnx_src *s, ferry_error *e) {
    fy_dtype t = v->n ? v->item[0].t.dtype : FERRY_UNDEFINED;
    for (int64_t i = 0; i < v->n; i++)
        if (v->item[i].kind != FY_TENSOR || v->item[i].t.dtype != t || fy_count(&v->item[i].t) != 1) return FY_OK;
    if (!v->n) return FY_OK;
    fy_rval packed = {.kind = FY_TENSOR};
    size_t size = (size_t)fy_elem_bytes(t);
    if (t == FERRY_STRING) {
        fy_str *str = FY_NEWN(s->arena, fy_str, v->n);
        FY_NOMEM(e, str);
        for (int64_t i = 0; i < v->n; i++) str[i] = *(const fy_str *)v->item[i].t.data;
        FY_TRY(own_strings(&packed.t, s, v->n, str, e));
    } else {
        FY_TRY(fy_tensor_new(&packed.t, t, 1, &v->n, e));
        for (int64_t i = 0; i < v->n; i++) memcpy((char *)packed.t.data + (size_t)i * size, v->item[i].t.data, size);
    }
    fy_rval_free(v);
    *v = packed;
    return FY_OK;
}

typedef struct map_parts { FY_VEC(int64_t) number; FY_VEC(fy_str) text; fy_dtype type; fy_tensor keys; fy_rval values; } map_parts;

static fy_status map_fields(map_parts *m, fy_onnx_src *s, fy_pb *c, int depth) {
    fy_pb in;
    while (fy_pb_next(c)) {
        size_t pos = 0;
        uint64_t u;
        switch (c->f->num) {
        case MAPV_key_type: FY_PB_NEED(c, c->u <= FERRY_INT2, CORRUPT, "key type %llu is not known", (unsigned long long)c->u); m->type = (fy_dtype)c->u; break;
        case MAPV_keys:
            while (fy_pb_number(c, &pos, &u)) {
                FY_PB_NEED(c, FY_RESERVE(m->number, m->number.n + 1), NOMEM, "out of memory");
                m->number.at[m->number.n++] = (int64_t)u;
            }
            break;
        case MAPV_string_keys:
            FY_PB_NEED(c, FY_RESERVE(m->text, m->text.n + 1), NOMEM, "out of memory");
            m->text.at[m->text.n++] = (fy_str){(const char *)c->p, c->n};
            break;
        case MAPV_values:
            FY_PB_NEED(c, m->values.kind == FY_NOTYPE, CORRUPT, "a map has two lists of values");
            fy_pb_open_sub(&in, c);
            FY_TRY(list_value(&m->values, FY_SEQUENCE, s, &in, depth + 1));
            break;
        default: break;
        }
    }
    return c->status;
}

static fy_status map_of(fy_rval *v, map_parts *m, fy_onnx_src *s, fy_pb *c, int depth) {
    ferry_error *e = c->file->e;
    FY_TRY(map_fields(m, s, c, depth));
    bool text = m->type == FERRY_STRING;
    FY_PB_NEED(c, text || fy_dtype_int(m->type), CORRUPT, "keys of type %s", fy_dtype_name(m->type));
    FY_PB_NEED(c, text ? !m->number.n : !m->text.n, CORRUPT, "a map has keys of two kinds");
    if (m->values.kind == FY_NOTYPE) m->values.kind = FY_SEQUENCE;
    FY_PB_NEED(c, m->values.n == (text ? m->text.n : m->number.n), CORRUPT, "a map has %lld values for %lld keys", (long long)m->values.n,
               (long long)(text ? m->text.n : m->number.n));
    if (text) FY_TRY(own_strings(&m->keys, s, m->text.n, m->text.at, e));
    else FY_TRY(fy_tensor_new(&m->keys, m->type, 1, &m->number.n, e));
    for (int64_t i = 0; i < m->number.n; i++) fy_put_i64(&m->keys, i, m->number.at[i]);
    FY_TRY(pack(&m->values, s, e));
    return fy_rval_map(v, &m->keys, &m->values, e);
}

static fy_status map_value(fy_rval *v, fy_onnx_src *s, fy_pb *c, int depth) {
    map_parts m = {0};
    fy_status st = map_of(v, &m, s, c, depth);
    fy_free(m.number.at);
    fy_free(m.text.at);
    fy_tensor_free(&m.keys);
    fy_rval_free(&m.values);
    return st;
}

static fy_status value_of(fy_rval *v, fy_kind kind, fy_onnx_src *s, fy_pb *c, int depth) {
    FY_PB_NEED(c, depth < FY_ONNX_DEPTH, LIMIT, "values are nested more than %d deep", FY_ONNX_DEPTH);
    return kind == FY_TENSOR ? tensor_value(v, s, c) : kind == FY_MAP ? map_value(v, s, c, depth) : list_value(v, kind, s, c, depth);
}

/* The file does not say which message it holds. A TensorProto has numbers in field 1 or data in 8, 9, ...; a sequence has
 * its tensors in field 3, which tensors do not use. */
static fy_kind guess(const fy_map_file *f) {
    fy_pb c;
    fy_pb_file file = {"", f->at, f->n, NULL};
    bool tensor = false, list = f->n == 0;
    static const fy_pb_field any[] = {{1, FY_PB_BYTES, true, "", NULL}, {3, FY_PB_BYTES, true, "", NULL}, {8, FY_PB_BYTES, true, "", NULL}, {9, FY_PB_BYTES, true, "", NULL}};
    static const fy_pb_msg probe = {"", FY_COUNT(any), any};
    fy_pb_open(&c, &file, &probe, f->at, f->n);
    while (fy_pb_next(&c)) {
        if (c.f->num == 3) list = true;
        else tensor |= c.f->num >= 8;
    }
    tensor |= c.status != FY_OK;         /* field 1 as a number */
    return list && !tensor ? FY_SEQUENCE : FY_TENSOR;
}

fy_status fy_onnx_read_value_as(fy_rval *v, const char *path, fy_kind kind, ferry_error *e) {
    fy_map_file f;
    fy_arena arena = {0};
    memset(v, 0, sizeof *v);
    FY_TRY(fy_file_open(&f, path, e));
    fy_onnx_src s = {.arena = &arena};
    fy_pb_file file = {path, f.at, f.n, e};
    fy_pb c;
    if (kind == FY_NOTYPE) kind = guess(&f);
    fy_pb_open(&c, &file, kind == FY_TENSOR ? &fy_msg_TENSOR : kind == FY_MAP ? &fy_msg_MAPV : &fy_msg_SEQ, f.at, f.n);
    fy_status st = value_of(v, kind, &s, &c, 0);
    if (st) fy_rval_free(v);
    fy_arena_free(&arena);
    fy_file_close(&f);
    return st;
}

fy_status fy_onnx_read_value(fy_rval *v, const char *path, ferry_error *e) { return fy_onnx_read_value_as(v, path, FY_NOTYPE, e); }
