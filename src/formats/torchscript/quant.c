/* SPDX-License-Identifier: Apache-2.0
 * quant.c - quantised modules of eager mode. A quantised tensor is a tensor of bytes with its scale and zero point beside it (ts_value.q); packed
 * parameters are the tuple that they were packed from. An operator of the quantised namespace becomes dequantize, the operator on floats, quantize:
 * the form in which ONNX says it. Operators of aten on such tensors do as well, at the tensor's own scale. */
#include "formats/torchscript/script.h"

#include <string.h>

enum { SCALE, ZERO, DTYPE, AXIS };       /* of q; AXIS is there if there is a scale for each channel */

static fy_status range(ts *r, ts_value *to[3], int64_t dtype) {
    static const int64_t lo[] = {0, -128, 0, INT32_MIN}, hi[] = {255, 127, 0, INT32_MAX};
    FY_TRY(ts_int(r, &to[0], lo[dtype]));
    FY_TRY(ts_int(r, &to[1], hi[dtype]));
    return ts_int(r, &to[2], dtype);
}

static fy_status parameters(ts *r, ts_value **q, ts_value *scale, ts_value *zero, fy_dtype dtype, ts_value *axis) {
    ts_value *t;
    FY_NEED(r->e, dtype == FERRY_UINT8 || dtype == FERRY_INT8 || dtype == FERRY_INT32, UNSUPPORTED, "tensors quantised to another type than 8 bit or 32 bit integers");
    FY_TRY(ts_new(r, q, TV_TUPLE));
    FY_TRY(ts_int(r, &t, dtype == FERRY_UINT8 ? 0 : dtype == FERRY_INT8 ? 1 : 3));
    FY_TRY(ts_add(r, *q, scale));
    FY_TRY(ts_add(r, *q, zero));
    FY_TRY(ts_add(r, *q, t));
    return axis ? ts_add(r, *q, axis) : FY_OK;
}

fy_status ts_quantised_weight(ts *r, ts_value *x, const fy_pickled *pk, fy_torch_file *of, const char *path, int depth) {
    ts_value *all;
    FY_TRY(ts_from_pickle(r, &all, pk->quant, of, path, depth + 1));
    FY_NEED(r->e, all->kind == TV_TUPLE && (all->n == 3 || all->n == 4), CORRUPT, "a quantised tensor without scale and zero point");
    return parameters(r, &x->q, all->item[1], all->item[2], pk->dtype, all->n == 4 ? all->item[3] : NULL);
}

static fy_status dequantised(ts *r, ts_value **v, ts_value *x) {
    *v = x;
    ts_value *q = x->q;
    if (!q) return FY_OK;
    ts_value *arg[7] = {x, q->item[SCALE], q->item[ZERO]};
    int n = 3;
    if (q->n > AXIS) arg[n++] = q->item[AXIS];
    FY_TRY(range(r, &arg[n], q->item[DTYPE]->i));
    x->q = NULL;                                             /* the bytes themselves */
    fy_status s = ts_emit(r, v, q->n > AXIS ? "quantized_decomposed.dequantize_per_channel" : "quantized_decomposed.dequantize_per_tensor", n + 3, arg, NULL);
    x->q = q;
    return s;
}

static fy_status requantised(ts *r, ts_value **v, ts_value *x, ts_value *q) {
    ts_value *arg[6] = {x, q->item[SCALE], q->item[ZERO]};
    if (q->n > AXIS) return ts_fail(r, FY_E_UNSUPPORTED, "an operator on a tensor that is quantised by channels");
    FY_TRY(range(r, &arg[3], q->item[DTYPE]->i));
    FY_TRY(ts_emit(r, v, "quantized_decomposed.quantize_per_tensor", 6, arg, NULL));
    (*v)->q = q;
    return FY_OK;
}

static fy_status quantise_to(ts *r, ts_value **v, ts_value *x, ts_value *scale, ts_value *zero) {
    ts_value *q;
    FY_TRY(parameters(r, &q, scale, zero, FERRY_UINT8, NULL));
    return requantised(r, v, x, q);
}

/* ---- operators of aten on quantised tensors ---------------------------------------------------------------------------------- */

static bool among(const char *op, int n, const char *const *list) {
    for (int i = 0; i < n; i++)
        if (!strcmp(op + 5, list[i])) return true;           /* behind "aten." */
    return false;
}

/* What moves elements: done with the bytes. */
static bool moves(const char *op) {
    static const char *const list[] = {"view", "reshape", "flatten", "permute", "transpose", "select", "slice", "squeeze", "unsqueeze", "contiguous", "clone", "detach", "alias", "narrow", "chunk",
                                       "split", "split_with_sizes", "unbind", "expand", "dropout", "t", "unflatten", "movedim"};
    return among(op, FY_COUNT(list), list);
}

/* What any scale passes through: done at scale 1, where a mean that lies between two steps does so exactly. */
static bool means(const char *op) {
    static const char *const list[] = {"relu", "max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "mean", "upsample_nearest2d", "upsample_bilinear2d"};
    return among(op, FY_COUNT(list), list);
}

static void mark(ts_value *v, ts_value *q) {
    if (v->kind == TV_TENSOR) v->q = q;
    for (int64_t i = 0; (v->kind == TV_TUPLE || v->kind == TV_LIST) && i < v->n; i++) mark(v->item[i], q);
}

static ts_value *first_of(int n, ts_value *const *arg, int depth) {
    for (int i = 0; i < n; i++) {
        if (arg[i]->kind == TV_TENSOR && arg[i]->q) return arg[i]->q;
        if (arg[i]->kind == TV_LIST && !depth && arg[i]->n <= TS_ITEMS) {
            ts_value *q = first_of((int)arg[i]->n, arg[i]->item, 1);
            if (q) return q;
        }
    }
    return NULL;
}

static fy_status as_floats(ts *r, ts_value **v, ts_value *x) {
    *v = x;
    if (x->kind == TV_TENSOR) return dequantised(r, v, x);
    if (x->kind != TV_LIST || !first_of(1, &x, 0)) return FY_OK;
    FY_TRY(ts_new(r, v, TV_LIST));
    for (int64_t i = 0; i < x->n; i++) {
        ts_value *y;
        FY_TRY(as_floats(r, &y, x->item[i]));
        FY_TRY(ts_add(r, *v, y));
    }
    return FY_OK;
}

static fy_status back(ts *r, ts_value **v, ts_value *q) {
    ts_value *x = *v;
    if (x->kind == TV_TENSOR && x->v && x->v->has_meta && fy_dtype_float(x->v->dtype)) return requantised(r, v, x, q);
    for (int64_t i = 0; (x->kind == TV_TUPLE || x->kind == TV_LIST) && i < x->n; i++) FY_TRY(back(r, &x->item[i], q));
    return FY_OK;
}

/* Sigmoid and tanh have a scale of their own. */
static fy_status own_scale(ts *r, ts_value **q, const char *op) {
    bool tanh = !strcmp(op, "aten.tanh");
    ts_value *scale, *zero;
    if (!tanh && strcmp(op, "aten.sigmoid")) return FY_OK;
    FY_TRY(ts_float(r, &scale, tanh ? 1.0 / 128 : 1.0 / 256));
    FY_TRY(ts_int(r, &zero, tanh ? 128 : 0));
    return parameters(r, q, scale, zero, FERRY_UINT8, NULL);
}

fy_status ts_quantised_emit(ts *r, ts_value **v, bool *done, const char *op, int n, ts_value *const *arg, const char *const *kw) {
    ts_value *q = first_of(n, arg, 0);
    char name[100];
    size_t len = strlen(op);
    *done = q != NULL;
    if (!q) return FY_OK;
    bool writes = op[len - 1] == '_';
    if (len >= sizeof name || (writes && (r->recording || arg[0]->kind != TV_TENSOR))) return ts_fail(r, FY_E_UNSUPPORTED, "%s on a quantised tensor", op);
    memcpy(name, op, len + 1);
    if (writes) name[len - 1] = 0;
    ts_value **to = FY_NEWN(&r->tmp, ts_value *, n), *was = q, unit = {.kind = TV_FLOAT, .f = 1};
    TS_OOM(r, to);
    bool alone = arg[0]->kind == TV_TENSOR && arg[0]->q == q && !strncmp(name, "aten.", 5);
    if (alone && (moves(name) || (means(name) && q->n == AXIS))) {
        bool raw = moves(name);
        ts_value *one = q;
        if (!raw) FY_TRY(parameters(r, &one, &unit, q->item[ZERO], q->item[DTYPE]->i == 1 ? FERRY_INT8 : FERRY_UINT8, NULL));
        arg[0]->q = raw ? NULL : one;
        fy_status s = raw ? FY_OK : dequantised(r, &to[0], arg[0]);
        if (raw) to[0] = arg[0];
        for (int i = 1; i < n; i++) to[i] = arg[i];
        if (!s) s = ts_emit(r, v, name, n, to, kw);
        if (!s && !raw) s = back(r, v, one);
        arg[0]->q = was;
        FY_TRY(s);
        mark(*v, q);
    } else {
        for (int i = 0; i < n; i++) FY_TRY(as_floats(r, &to[i], arg[i]));
        if (!strcmp(name, "aten.dequantize")) { *v = to[0]; return FY_OK; }
        FY_TRY(ts_emit(r, v, name, n, to, kw));
        FY_TRY(own_scale(r, &q, name));
        FY_TRY(back(r, v, q));
    }
    if (!writes || (*v)->kind != TV_TENSOR) return FY_OK;
    arg[0]->v = (*v)->v;                                     /* the name now means what was written */
    arg[0]->q = (*v)->q;
    *v = arg[0];
    return FY_OK;
}

/* ---- the quantised namespace --------------------------------------------------------------------------------------------------- */

/* Where the weights are in state_dict(), not where the pickle has them. */
static fy_status name_weight(ts *r, ts_value *x, const char *what) {
    const char *path = r->frame && r->frame->self ? r->frame->self->s : NULL;
    if (!path || !*path || x->kind != TV_TENSOR || x->v || !x->pk) return FY_OK;
    TS_OOM(r, x->s = fy_arena_fmt(&r->p->arena, "%s.%s", path, what));
    return FY_OK;
}

static fy_status packed(ts *r, ts_value **v, int n, ts_value **arg) {
    FY_TRY(ts_new(r, v, TV_TUPLE));
    for (int i = 0; i < n; i++) {
        if (i < 2) FY_TRY(name_weight(r, arg[i], i ? "bias" : "weight"));
        FY_TRY(ts_add(r, *v, arg[i]));
    }
    return FY_OK;
}

static fy_status unpacked(ts *r, const ts_value *p, int least) {
    if (p->kind == TV_TUPLE && p->n >= least && ts_is_tensor(p->item[0])) return FY_OK;
    return ts_fail(r, FY_E_UNSUPPORTED, "packed parameters in a form that is not read (torch.jit.freeze packs those of convolutions: save the module without it)");
}

static fy_status convolution(ts *r, ts_value **v, const char *op, ts_value *x, const ts_value *p) {
    FY_TRY(unpacked(r, p, 6));
    ts_value *arg[7] = {NULL, NULL, p->item[1], p->item[2], p->item[3], p->item[4], p->item[5]};
    FY_TRY(dequantised(r, &arg[0], x));
    FY_TRY(dequantised(r, &arg[1], p->item[0]));
    return ts_emit(r, v, op, 7, arg, NULL);
}

static fy_status linear(ts *r, ts_value **v, ts_value *x, const ts_value *p) {
    FY_TRY(unpacked(r, p, 2));
    ts_value *arg[3] = {x, NULL, p->item[1]};
    FY_TRY(dequantised(r, &arg[1], p->item[0]));
    return ts_emit(r, v, "aten.linear", 3, arg, NULL);
}

/* The input quantised at the scale of the range that it has. */
static fy_status dynamic(ts *r, ts_value **v, ts_value *x, bool reduce) {
    ts_value *arg[6] = {x}, *both, *eps;
    FY_TRY(range(r, &arg[1], 0));
    if (reduce) arg[2]->i = 127;
    FY_TRY(ts_float(r, &eps, 6.103515625e-05));
    FY_TRY(ts_emit(r, &both, "quantized_decomposed.choose_qparams", 5, (ts_value *[]){x, arg[1], arg[2], eps, arg[3]}, NULL));
    if (both->kind != TV_TUPLE || both->n != 2) return ts_fail(r, FY_E_INTERNAL, "choose_qparams gives no scale and zero point");
    ts_value *how[6] = {x, both->item[0], both->item[1], arg[1], arg[2], arg[3]};
    FY_TRY(ts_emit(r, &how[0], "quantized_decomposed.quantize_per_tensor", 6, how, NULL));
    return ts_emit(r, v, "quantized_decomposed.dequantize_per_tensor", 6, how, NULL);
}

static bool begins(const char *s, const char *with) { return !strncmp(s, with, strlen(with)); }

fy_status ts_quantised_call(ts *r, ts_value **v, const char *op, int n, ts_value **arg) {
    static const struct { const char *name, *aten; int n; } plain[] = {{"add", "aten.add", 2}, {"mul", "aten.mul", 2}, {"cat", "aten.cat", 2}, {"hardswish", "aten.hardswish", 1}, {"sigmoid", "aten.sigmoid", 1}};
    const char *relu = strstr(op, "_relu");
    ts_value *y = NULL, *z;
    if (strstr(op, "_prepack") && n >= 2) return packed(r, v, n, arg);
    if ((!strcmp(op, "linear_dynamic") || !strcmp(op, "linear_relu_dynamic")) && n >= 2) {
        FY_TRY(dynamic(r, &y, arg[0], n > 2 && arg[2]->kind == TV_BOOL && arg[2]->i));
        FY_TRY(linear(r, &z, y, arg[1]));
        *v = z;
        return relu ? ts_emit(r, v, "aten.relu", 1, &z, NULL) : FY_OK;
    }
    size_t len = relu ? (size_t)(relu - op) : strlen(op);
    if (relu && relu[5]) return ts_fail(r, FY_E_UNSUPPORTED, "the operator quantized::%s", op);
    if (n >= 4 && len == 6 && begins(op, "conv") && op[4] >= '1' && op[4] <= '3' && op[5] == 'd')
        FY_TRY(convolution(r, &y, op[4] == '1' ? "aten.conv1d" : op[4] == '2' ? "aten.conv2d" : "aten.conv3d", arg[0], arg[1]));
    else if (n >= 4 && len == 6 && begins(op, "linear")) {
        FY_TRY(dequantised(r, &z, arg[0]));
        FY_TRY(linear(r, &y, z, arg[1]));
    }
    for (int i = 0; !y && i < FY_COUNT(plain); i++) {
        if (len != strlen(plain[i].name) || !begins(op, plain[i].name) || n != plain[i].n + 2) continue;
        ts_value *to[2];
        for (int k = 0; k < plain[i].n; k++) FY_TRY(as_floats(r, &to[k], arg[k]));
        FY_TRY(ts_emit(r, &y, plain[i].aten, plain[i].n, to, NULL));
    }
    if (!y) return ts_fail(r, FY_E_UNSUPPORTED, "the operator quantized::%s", op);
    if (relu) {
        z = y;
        FY_TRY(ts_emit(r, &y, "aten.relu", 1, &z, NULL));
    }
    return quantise_to(r, v, y, arg[n - 2], arg[n - 1]);
}

fy_status ts_quantised_aten(ts *r, ts_value **v, bool *done, const char *op, int n, ts_value **arg) {
    *done = true;
    if (n == 4 && !strcmp(op, "quantize_per_tensor") && arg[3]->kind == TV_INT) {
        ts_value *q;
        int64_t t = arg[3]->i;                               /* qint8, quint8, qint32 */
        FY_TRY(parameters(r, &q, arg[1], arg[2], t == 12 ? FERRY_INT8 : t == 13 ? FERRY_UINT8 : t == 14 ? FERRY_INT32 : FERRY_UNDEFINED, NULL));
        return requantised(r, v, arg[0], q);
    }
    ts_value *q = n && arg[0]->kind == TV_TENSOR ? arg[0]->q : NULL;
    if (n == 1 && !strcmp(op, "is_quantized")) return ts_bool(r, v, q != NULL);
    if (q && n == 1 && !strcmp(op, "q_scale") && q->n == AXIS) { *v = q->item[SCALE]; return FY_OK; }
    if (q && n == 1 && !strcmp(op, "q_zero_point") && q->n == AXIS) { *v = q->item[ZERO]; return FY_OK; }
    *done = false;
    return FY_OK;
}

fy_status ts_unquantised(ts *r, ts_value **v) { return (*v)->kind == TV_TENSOR ? dequantised(r, v, *v) : FY_OK; }
