/* SPDX-License-Identifier: Apache-2.0
 * ml_label.c - dictionaries of ai.onnx.ml: LabelEncoder (keys to values of any of its types), CategoryMapper (strings to
 * integers and back). One hash table is made for a call. */
#include "ops/ml.h"
#include "ops/move.h"

#include <string.h>

/* ---- LabelEncoder ---------------------------------------------------------------------------------------------------- */

/* One of the four forms of a list: "keys" or "values". Tensors may be views of the model's bytes or own what they computed. */
static fy_status read_list(fy_tensor *t, fy_dtype *type, const fy_node *n, const char *what, bool contents, ferry_error *e) {
    char name[4][24];
    static const char *const end[] = {"strings", "int64s", "floats", "tensor"};
    int given = 0;
    *t = (fy_tensor){0};
    *type = FERRY_UNDEFINED;
    for (int i = 0; i < 4; i++) {
        size_t k = strlen(what), m = strlen(end[i]);
        memcpy(name[i], what, k);
        memcpy(name[i] + k, end[i], m + 1);
    }
    fy_ml_texts text = fy_ml_texts_of(n, name[0]);
    fy_ml_ints ints = fy_ml_ints_of(n, name[1]);
    fy_ml_floats floats = fy_ml_floats_of(n, name[2]);
    const fy_attr *a = fy_attr_get(n, name[3]);
    bool tensor = a && a->kind == FY_ATTR_TENSOR && a->tensor;
    given = (text.n > 0) + (ints.n > 0) + (floats.n > 0) + tensor;
    FY_NEED(e, given == 1, ATTR, "exactly one of %s, %s, %s and %s must be given; %d are", name[0], name[1], name[2], name[3], given);
    if (tensor) {
        static const fy_dtype allowed[] = {FERRY_FLOAT, FERRY_DOUBLE, FERRY_INT16, FERRY_INT32, FERRY_INT64, FERRY_STRING};
        bool ok = false;
        for (int i = 0; i < FY_COUNT(allowed); i++) ok = ok || a->tensor->dtype == allowed[i];
        FY_NEED(e, ok && a->tensor->rank <= 1, ATTR, "%s is %s of rank %d; it must be a list of f32, f64, i16, i32, i64 or str", name[3],
                fy_dtype_name(a->tensor->dtype), a->tensor->rank);
        *type = a->tensor->dtype;
        return contents ? fy_const_tensor(t, a->tensor, e) : FY_OK;
    }
    *type = text.n ? FERRY_STRING : ints.n ? FERRY_INT64 : FERRY_FLOAT;
    *t = text.n ? fy_ml_view_texts(text) : ints.n ? fy_ml_view_ints(ints) : fy_ml_view_floats(floats);
    return FY_OK;
}

static fy_status infer_encoder(fy_infer *f) {
    fy_tensor none;
    fy_dtype key, value, t = fy_in_dtype(f, 0);
    FY_TRY(read_list(&none, &key, f->node, "keys_", false, f->e));
    FY_TRY(read_list(&none, &value, f->node, "values_", false, f->e));
    FY_NEED(f->e, !t || t == key, TYPE, "the input is %s, the keys are %s", fy_dtype_name(t), fy_dtype_name(key));
    return fy_out_set(f, 0, value, fy_in_rank(f, 0), fy_in_dims(f, 0));
}

/* What stands for a key that is not there, as a tensor of one element. `room` holds it unless it is the model's. */
typedef union one { double f; int64_t i; fy_str s; } one;
static fy_status read_default(fy_tensor *t, one *room, const fy_node *n, fy_dtype type, ferry_error *e) {
    const fy_attr *a = fy_attr_get(n, "default_tensor");
    *t = (fy_tensor){0};
    if (a && a->kind == FY_ATTR_TENSOR && a->tensor) {
        FY_NEED(e, a->tensor->count == 1 && a->tensor->dtype == type, ATTR, "default_tensor must hold one element of %s", fy_dtype_name(type));
        return fy_const_tensor(t, a->tensor, e);
    }
    fy_class k = fy_dtype_class(type);
    if (k == FY_CLASS_S) room->s = fy_attr_s(n, "default_string");
    else if (k == FY_CLASS_F) room->f = fy_attr_f(n, "default_float");
    else room->i = fy_attr_i(n, "default_int64");
    *t = fy_tensor_view(k == FY_CLASS_S ? FERRY_STRING : k == FY_CLASS_F ? FERRY_DOUBLE : FERRY_INT64, 0, NULL, room);
    return FY_OK;
}

static void put(fy_tensor *y, int64_t i, const fy_tensor *from, int64_t k) {
    switch (fy_dtype_class(y->dtype)) {
    case FY_CLASS_S: ((fy_str *)y->data)[i] = *fy_k_str(from, k); break;
    case FY_CLASS_F: fy_put_f64(y, i, fy_get_f64(from, k)); break;
    case FY_CLASS_I: case FY_CLASS_U: case FY_CLASS_B: case FY_CLASS_C: case FY_CLASS_NONE: fy_put_i64(y, i, fy_get_i64(from, k)); break;
    }
}

static fy_status look_up(const fy_call *c, const fy_tensor *x, const fy_tensor *keys, const fy_tensor *values, const fy_tensor *otherwise, fy_tensor *y) {
    fy_ml_dict d;
    FY_NEED(c->e, fy_count(keys) == fy_count(values), ATTR, "there are %lld keys and %lld values", (long long)fy_count(keys), (long long)fy_count(values));
    FY_TRY(fy_ml_dict_make(&d, c, keys));
    for (int64_t i = 0, n = fy_count(x); y && i < n; i++) {
        int64_t k = fy_ml_dict_find(&d, x, i);
        put(y, i, k < 0 ? otherwise : values, k < 0 ? 0 : k);
    }
    fy_ml_dict_free(&d);
    return FY_OK;
}

/* DIFF: of equal keys the last counts, as the standard says; ONNX Runtime takes the first. */
static fy_status ref_encoder(const fy_call *c) {
    fy_tensor x, keys, values = {0}, otherwise = {0}, *y;
    fy_dtype type;
    one room;
    FY_TRY(fy_mv_out(c, 0, &y));
    FY_TRY(fy_mv_dense(c, 0, &x));
    fy_status s = read_list(&keys, &type, c->node, "keys_", true, c->e);
    if (!s) s = read_list(&values, &type, c->node, "values_", true, c->e);
    if (!s) s = read_default(&otherwise, &room, c->node, type, c->e);
    if (!s) s = look_up(c, &x, &keys, &values, &otherwise, y);
    fy_tensor_free(&keys);
    fy_tensor_free(&values);
    fy_tensor_free(&otherwise);
    return s;
}

static const fy_attr_spec encoder_attrs[] = {{"keys_strings", FY_ATTR_STRINGS, NULL}, {"keys_int64s", FY_ATTR_INTS, NULL},
    {"keys_floats", FY_ATTR_FLOATS, NULL}, {"keys_tensor", FY_ATTR_TENSOR, NULL}, {"values_strings", FY_ATTR_STRINGS, NULL},
    {"values_int64s", FY_ATTR_INTS, NULL}, {"values_floats", FY_ATTR_FLOATS, NULL}, {"values_tensor", FY_ATTR_TENSOR, NULL},
    {"default_string", FY_ATTR_STRING, "_Unused"}, {"default_int64", FY_ATTR_INT, "-1"}, {"default_float", FY_ATTR_FLOAT, "-0"},
    {"default_tensor", FY_ATTR_TENSOR, NULL}, {0}};
#define T_LABEL "f32,f64,i16,i32,i64,str"
const fy_op fy_op_label_encoder = {.name = "LabelEncoder", .domain = FY_ML, .attrs = encoder_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1,
    .since = 4, .first = 1, .types = "K=" T_LABEL ";V=" T_LABEL "|K|V", .infer = infer_encoder, .ref = ref_encoder, .flags = FY_PURE};

/* ---- CategoryMapper --------------------------------------------------------------------------------------------------- */

static fy_status infer_mapper(fy_infer *f) {
    fy_ml_texts text = fy_ml_texts_of(f->node, "cats_strings");
    fy_ml_ints ints = fy_ml_ints_of(f->node, "cats_int64s");
    fy_dtype t = fy_in_dtype(f, 0);
    FY_NEED(f->e, text.n == ints.n, ATTR, "cats_strings has %lld elements, cats_int64s %lld", (long long)text.n, (long long)ints.n);
    return fy_out_set(f, 0, !t ? FERRY_UNDEFINED : t == FERRY_STRING ? FERRY_INT64 : FERRY_STRING, fy_in_rank(f, 0), fy_in_dims(f, 0));
}

static fy_status ref_mapper(const fy_call *c) {
    fy_tensor x, *y, text = fy_ml_view_texts(fy_ml_texts_of(c->node, "cats_strings")), ints = fy_ml_view_ints(fy_ml_ints_of(c->node, "cats_int64s"));
    one room;
    FY_TRY(fy_mv_out(c, 0, &y));
    FY_TRY(fy_mv_dense(c, 0, &x));
    bool to_int = x.dtype == FERRY_STRING;
    if (to_int) room.i = fy_attr_i(c->node, "default_int64");
    else room.s = fy_attr_s(c->node, "default_string");
    fy_tensor otherwise = fy_tensor_view(to_int ? FERRY_INT64 : FERRY_STRING, 0, NULL, &room);
    return look_up(c, &x, to_int ? &text : &ints, to_int ? &ints : &text, &otherwise, y);
}

static const fy_attr_spec mapper_attrs[] = {{"cats_int64s", FY_ATTR_INTS, NULL}, {"cats_strings", FY_ATTR_STRINGS, NULL},
    {"default_int64", FY_ATTR_INT, "-1"}, {"default_string", FY_ATTR_STRING, "_Unused"}, {0}};
const fy_op fy_op_category_mapper = {.name = "CategoryMapper", .domain = FY_ML, .attrs = mapper_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1,
    .since = 1, .first = 1, .types = "T=str,i64;U=str,i64|T|U", .infer = infer_mapper, .ref = ref_mapper, .flags = FY_PURE};
