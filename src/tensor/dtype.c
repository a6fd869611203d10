/* SPDX-License-Identifier: Apache-2.0
 * dtype.c - what dtypes.def says, and the public functions that need no more than that. */
#include "base/checked.h"
#include "tensor/tensor.h"

#include <string.h>

typedef struct dtype_info { const char *onnx, *name; int bits; fy_class cls; } dtype_info;

static const dtype_info dtypes[] = {
#define DTYPE(onnx, name, bits, cls) [FERRY_##onnx] = { #onnx, name, bits, FY_CLASS_##cls },
#include "tensor/dtypes.def"
#undef DTYPE
};

static const dtype_info *info(fy_dtype t) {
    return (int)t > 0 && (int)t < FY_COUNT(dtypes) && dtypes[t].name ? &dtypes[t] : NULL;
}

const char *fy_dtype_name(fy_dtype t) { return info(t) ? info(t)->name : "?"; }
const char *fy_dtype_onnx(fy_dtype t) { return info(t) ? info(t)->onnx : "?"; }
fy_class    fy_dtype_class(fy_dtype t) { return info(t) ? info(t)->cls : FY_CLASS_NONE; }
int         fy_dtype_bits(fy_dtype t) { return info(t) ? info(t)->bits : 0; }
bool        fy_dtype_float(fy_dtype t) { return fy_dtype_class(t) == FY_CLASS_F; }
bool        fy_dtype_int(fy_dtype t) { return fy_dtype_class(t) == FY_CLASS_I || fy_dtype_class(t) == FY_CLASS_U; }

size_t fy_dtype_bytes(fy_dtype t, int64_t count) {
    size_t bits = (size_t)fy_dtype_bits(t), n;
    if (count < 0 || !fy_mul_size(&n, (size_t)count, bits >= 8 ? bits / 8 : 1)) return 0;
    return bits >= 8 ? n : n / 8 * bits + (n % 8 * bits + 7) / 8;
}

int fy_elem_bytes(fy_dtype t) {
    if (fy_dtype_class(t) == FY_CLASS_S) return (int)sizeof(fy_str);
    int bits = fy_dtype_bits(t);
    return bits == 0 ? 0 : bits < 8 ? 1 : bits / 8;
}

static bool same_word(const char *a, const char *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char x = a[i], y = b[i];
        if (x >= 'A' && x <= 'Z') x = (char)(x + 32);
        if (y >= 'A' && y <= 'Z') y = (char)(y + 32);
        if (!y || x != y) return false;
    }
    return b[n] == 0;
}

fy_dtype fy_dtype_find(const char *name, size_t n) {
    static const struct { const char *name; fy_dtype t; } others[] = {         /* numpy, ml_dtypes, torch */
        { "float32", FERRY_FLOAT }, { "float64", FERRY_DOUBLE }, { "half", FERRY_FLOAT16 }, { "bool_", FERRY_BOOL },
        { "boolean", FERRY_BOOL }, { "str_", FERRY_STRING }, { "object", FERRY_STRING }, { "float8_e4m3fn", FERRY_FLOAT8E4M3FN },
        { "float8_e4m3fnuz", FERRY_FLOAT8E4M3FNUZ },
        { "float8_e5m2", FERRY_FLOAT8E5M2 }, { "float8_e5m2fnuz", FERRY_FLOAT8E5M2FNUZ }, { "float4_e2m1fn", FERRY_FLOAT4E2M1 },
        { "float8_e8m0fnu", FERRY_FLOAT8E8M0 }, { "float6_e2m3fn", FERRY_FLOAT6E2M3 }, { "float6_e3m2fn", FERRY_FLOAT6E3M2 }, { "int", FERRY_INT32 }, { "long", FERRY_INT64 },
    };
    if (n > 32) return FERRY_UNDEFINED;
    for (int i = 1; i < FY_COUNT(dtypes); i++)
        if (dtypes[i].name && (same_word(name, dtypes[i].name, n) || same_word(name, dtypes[i].onnx, n))) return (fy_dtype)i;
    for (int i = 0; i < FY_COUNT(others); i++)
        if (same_word(name, others[i].name, n)) return others[i].t;
    return FERRY_UNDEFINED;
}

size_t      ferry_dtype_bytes(int32_t dtype, int64_t count) { return fy_dtype_bytes((fy_dtype)dtype, count); }
const char *ferry_dtype_name(int32_t dtype) { return fy_dtype_name((fy_dtype)dtype); }

ferry_tensor ferry_view(int32_t dtype, void *data, int32_t rank, const int64_t *dim) {
    ferry_tensor t = { .data = data };
    int64_t count;
    if (rank < 0 || rank > FERRY_MAX_RANK || !fy_count_dims(&count, rank, dim)) return t;
    t.dtype = fy_dtype_class((fy_dtype)dtype) == FY_CLASS_NONE ? FERRY_UNDEFINED : dtype;
    t.rank = rank;
    if (rank) memcpy(t.dim, dim, (size_t)rank * sizeof *dim);
    t.bytes = fy_dtype_bytes((fy_dtype)dtype, count);
    return t;
}

/* Inputs are only read: the struct is one for both directions. */
ferry_tensor ferry_f32(const float *data, int32_t rank, const int64_t *dim) {
    return ferry_view(FERRY_FLOAT, (void *)(uintptr_t)data, rank, dim);
}
ferry_tensor ferry_i64(const int64_t *data, int32_t rank, const int64_t *dim) {
    return ferry_view(FERRY_INT64, (void *)(uintptr_t)data, rank, dim);
}
