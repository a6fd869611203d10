/* SPDX-License-Identifier: Apache-2.0
 * test_value.c - ferry_value: strings, sequences, optionals and maps made and read by a caller, through models and through files. */
#include "api_files.h"

#include "base/os.h"
#include "formats/onnx.h"
#include "ops/ops.h"

/* A model of one node in memory, as a file holds it; the caller frees the bytes after the model. */
static ferry_model *model_of(fy_buf *bytes, const char *op, int nin, const fy_type *in, int nattr, const fy_attr *attr, ferry_error *e) {
    static const char *const names[] = {"a", "b", "c"};
    fy_model *m = fy_model_new(fy_registry_builtin());
    fy_build b = {.g = m->graph, .e = e};
    fy_value *v[3];
    for (int i = 0; i < nin; i++) v[i] = fy_graph_add_input(m->graph, names[i], &in[i]);
    fy_node *n = fy_emit_n(&b, op, !strcmp(op, "StringSplit") ? 2 : 1, nin, v, nattr, attr);
    if (!n) fail_msg("%s: %s", op, e->text);
    for (int i = 0; i < n->nout; i++) fy_graph_add_output(m->graph, n->out[i]);
    FY_RESERVE(m->imports, 1);
    m->imports.at[m->imports.n++] = (fy_import){"ai.onnx.ml", 5};
    assert_ok(fy_model_name_all(m, e), *e);
    assert_ok(fy_onnx_write_memory(m, bytes, e), *e);
    fy_model_free(m);
    ferry_model *opened = ferry_open_memory(bytes->at, bytes->n, "threads=1", e);
    if (!opened) fail_msg("%s: %s", op, e->text);
    return opened;
}

static fy_type strings_type(void) { return (fy_type){.kind = FY_TENSOR, .dtype = FERRY_STRING, .rank = -1}; }

static ferry_value *words(ferry_error *e, const char *a, const char *b) {
    ferry_value *v = ferry_value_strings((const char *[]){a, b}, NULL, 1, (int64_t[]){2}, e);
    assert_non_null(v);
    return v;
}

static bool is(const ferry_value *v, size_t i, const char *text) {
    size_t n;
    const char *s = ferry_value_string(v, i, &n);
    return s && n == strlen(text) && !memcmp(s, text, n);
}

static void test_make(void **state) {
    ferry_error e;
    ferry_tensor t;
    size_t n;
    (void)state;
    const char *text[] = {"one", "two", "with\0zero"};
    ferry_value *v = ferry_value_strings(text, (size_t[]){3, 0, 9}, 2, (int64_t[]){3, 1}, &e);
    assert_int_equal(ferry_value_kind(v), FERRY_TENSOR);
    assert_int_equal(ferry_value_count(v), 3);
    assert_int_equal(ferry_value_view(v, &t, &e), FERRY_OK);
    assert_true(t.dtype == FERRY_STRING && !t.data && t.rank == 2 && t.dim[0] == 3);
    assert_true(is(v, 0, "one") && is(v, 1, ""));
    assert_memory_equal(ferry_value_string(v, 2, &n), "with\0zero", 9);
    assert_null(ferry_value_string(v, 3, &n));
    assert_null(ferry_value_item(v, 0));
    ferry_value_free(v);
    assert_null(ferry_value_strings(NULL, NULL, 1, (int64_t[]){2}, &e));
    assert_null(ferry_value_strings(text, NULL, 1, (int64_t[]){-2}, &e));
    assert_null(ferry_value_strings(text, NULL, 17, NULL, &e));
    assert_null(ferry_value_strings((const char *[]){NULL}, NULL, 0, NULL, &e));
    v = ferry_value_strings(NULL, NULL, 1, (int64_t[]){0}, &e);
    assert_int_equal(ferry_value_count(v), 0);
    ferry_value_free(v);

    int64_t keys[3] = {7, -1, 3};
    float x[3] = {0.7f, 0.1f, 0.3f};
    ferry_tensor kt = ferry_i64(keys, 1, (int64_t[]){3}), xt = ferry_f32(x, 1, (int64_t[]){3});
    ferry_value *k = ferry_value_tensor(&kt, &e), *xs = ferry_value_tensor(&xt, &e), *m = ferry_value_map(k, xs, &e);
    assert_int_equal(ferry_value_kind(m), FERRY_MAP);
    assert_int_equal(ferry_value_count(m), 3);
    assert_int_equal(ferry_value_view(ferry_value_item(m, 0), &kt, &e), FERRY_OK);
    assert_int_equal(ferry_value_view(ferry_value_item(m, 1), &xt, &e), FERRY_OK);
    assert_true(((int64_t *)kt.data)[0] == -1 && ((int64_t *)kt.data)[2] == 7 && ((float *)xt.data)[0] == 0.1f && ((float *)xt.data)[2] == 0.7f);
    assert_null(ferry_value_item(m, 2));
    assert_int_equal(ferry_value_view(m, &t, &e), FERRY_BAD_MODEL);
    keys[0] = 3;                                             /* equal keys; then values that are too few; then keys that are none */
    kt = ferry_i64(keys, 1, (int64_t[]){3});
    ferry_value *twice = ferry_value_tensor(&kt, &e);
    assert_null(ferry_value_map(twice, xs, &e));
    assert_string_equal(e.code, "VALUE");
    xt = ferry_f32(x, 1, (int64_t[]){2});
    ferry_value *two = ferry_value_tensor(&xt, &e);
    assert_null(ferry_value_map(k, two, &e));
    assert_null(ferry_value_map(xs, xs, &e));
    assert_null(ferry_value_map(m, xs, &e));
    assert_null(ferry_value_map(k, NULL, &e));

    const ferry_value *items[2] = {m, m}, *mixed[2] = {m, xs};
    ferry_value *seq = ferry_value_sequence(items, 2, &e), *none = ferry_value_optional(NULL, &e), *some = ferry_value_optional(xs, &e);
    assert_true(ferry_value_count(seq) == 2 && ferry_value_kind(ferry_value_item(seq, 1)) == FERRY_MAP);
    assert_null(ferry_value_item(seq, 2));
    assert_null(ferry_value_sequence(mixed, 2, &e));
    assert_true(ferry_value_count(none) == 0 && ferry_value_count(some) == 1 && ferry_value_kind(some) == FERRY_OPTIONAL);
    ferry_value *all[] = {k, xs, m, twice, two, seq, none, some, NULL};
    for (int i = 0; i < 9; i++) ferry_value_free(all[i]);
}

static void test_strings(void **state) {
    ferry_error e;
    fy_buf bytes = {0};
    size_t outs = 2;
    (void)state;
    fy_type in[2] = {strings_type(), strings_type()};
    ferry_model *m = model_of(&bytes, "StringSplit", 1, in, FY_A(fy_text("delimiter", ",")), &e);
    ferry_session *s = ferry_session_new(m, &e);
    assert_int_equal(ferry_input(m, 0)->dtype, FERRY_STRING);
    assert_string_equal(ferry_output(m, 0)->type, "str[*]");
    ferry_value *v = words(&e, "a,b", "c");
    const ferry_value *out[2] = {NULL, NULL}, *arg[1] = {v};
    for (int run = 0; run < 2; run++) {
        assert_int_equal(ferry_run_values(s, arg, 1, out, outs, &e), FERRY_OK);
        assert_int_equal(ferry_value_count(out[0]), 4);
        assert_true(is(out[0], 0, "a") && is(out[0], 1, "b") && is(out[0], 2, "c") && is(out[0], 3, ""));
    }
    /* an output is an input of the next run */
    arg[0] = out[0];
    assert_int_equal(ferry_run_values(s, arg, 1, out, outs, &e), FERRY_OK);
    assert_int_equal(ferry_value_count(out[0]), 4);
    assert_true(is(out[0], 2, "c"));
    /* ferry_run cannot carry them, and says so */
    ferry_tensor t = {.dtype = FERRY_STRING}, o[2] = {{0}, {0}};
    assert_int_equal(ferry_run(s, &t, 1, o, 2, &e), FERRY_BAD_MODEL);
    assert_string_equal(e.code, "UNSUPPORTED");
    assert_non_null(strstr(e.text, "ferry_run_values"));
    float x = 1;
    t = ferry_f32(&x, 0, NULL);
    ferry_value *number = ferry_value_tensor(&t, &e);
    arg[0] = number;
    assert_int_equal(ferry_run_values(s, arg, 1, out, outs, &e), FERRY_BAD_MODEL);
    assert_string_equal(e.code, "TYPE");
    assert_null(out[0]);
    arg[0] = NULL;
    assert_int_equal(ferry_run_values(s, arg, 1, out, outs, &e), FERRY_BAD_MODEL);
    assert_int_equal(ferry_run_values(s, arg, 2, out, outs, &e), FERRY_USAGE);
    ferry_value_free(number);
    ferry_value_free(v);
    ferry_session_free(s);
    ferry_close(m);
    fy_buf_free(&bytes);
}

/* Rows become maps; what comes out goes back into a model that takes a sequence, and into files. */
static void test_maps(void **state) {
    ferry_error e;
    fy_buf bytes = {0}, other = {0};
    (void)state;
    fy_type in = {.kind = FY_TENSOR, .dtype = FERRY_FLOAT, .rank = -1};
    const fy_str label[2] = {{"yes", 3}, {"no", 2}};
    fy_attr names = {.name = "classlabels_strings", .kind = FY_ATTR_STRINGS, .n = 2, .strings = label};
    ferry_model *m = model_of(&bytes, "ai.onnx.ml::ZipMap", 1, &in, 1, &names, &e);
    ferry_session *s = ferry_session_new(m, &e);
    assert_int_equal(ferry_output(m, 0)->kind, FERRY_SEQUENCE);
    assert_string_equal(ferry_output(m, 0)->type, "seq(map(str, f32[]))");
    float x[4] = {1, 2, 3, 4};
    ferry_tensor t = ferry_f32(x, 2, (int64_t[]){2, 2}), o = {0};
    assert_int_equal(ferry_run(s, &t, 1, &o, 1, &e), FERRY_BAD_MODEL);
    assert_string_equal(e.code, "UNSUPPORTED");
    ferry_value *v = ferry_value_tensor(&t, &e);
    const ferry_value *arg[2] = {v, NULL}, *out[1];
    assert_int_equal(ferry_run_values(s, arg, 1, out, 1, &e), FERRY_OK);
    assert_int_equal(ferry_value_count(out[0]), 2);
    const ferry_value *row = ferry_value_item(out[0], 1);
    assert_true(ferry_value_count(row) == 2 && is(ferry_value_item(row, 0), 0, "no") && is(ferry_value_item(row, 0), 1, "yes"));
    assert_int_equal(ferry_value_view(ferry_value_item(row, 1), &o, &e), FERRY_OK);
    assert_true(((float *)o.data)[0] == 4 && ((float *)o.data)[1] == 3);
    ferry_value_free(v);                                     /* outputs hold nothing of the inputs */
    assert_true(is(ferry_value_item(row, 0), 1, "yes"));

    fy_type seq[2] = {{.kind = FY_SEQUENCE, .rank = -1}, {.kind = FY_TENSOR, .dtype = FERRY_INT64}}, map = {.kind = FY_MAP, .dtype = FERRY_STRING, .rank = -1},
            f32 = {.kind = FY_TENSOR, .dtype = FERRY_FLOAT};
    map.elem = &f32;
    seq[0].elem = &map;
    ferry_model *at = model_of(&other, "SequenceAt", 2, seq, FY_NOATTR, &e);
    ferry_session *second = ferry_session_new(at, &e);
    int64_t one = 1;
    t = ferry_i64(&one, 0, NULL);
    v = ferry_value_tensor(&t, &e);
    arg[0] = out[0];
    arg[1] = v;
    const ferry_value *picked[1];
    assert_int_equal(ferry_run_values(second, arg, 2, picked, 1, &e), FERRY_OK);
    assert_true(ferry_value_kind(picked[0]) == FERRY_MAP && is(ferry_value_item(picked[0], 0), 1, "yes"));
    arg[0] = v;                                              /* a tensor is no sequence */
    assert_int_equal(ferry_run_values(second, arg, 2, picked, 1, &e), FERRY_BAD_MODEL);

    ferry_values *list = ferry_values_new(), *back = ferry_values_new();
    assert_int_equal(ferry_values_put(list, "p", out[0], &e), FERRY_OK);
    assert_int_equal(ferry_values_put(list, "one", row, &e), FERRY_OK);
    assert_int_equal(ferry_values_write(list, "maps.npz", &e), FERRY_OK);
    assert_int_equal(ferry_values_read(back, "maps.npz", "", &e), FERRY_OK);
    assert_int_equal(ferry_values_count(back), 4);
    assert_true(is(ferry_values_value(back, (size_t)ferry_values_find(back, "p.keys")), 0, "no"));
    assert_int_equal(ferry_values_get(back, (size_t)ferry_values_find(back, "p.values"), &t, &e), FERRY_OK);
    assert_true(t.rank == 2 && ((float *)t.data)[0] == 2 && ((float *)t.data)[3] == 3);
    assert_int_equal(ferry_values_get(back, (size_t)ferry_values_find(back, "one.values"), &t, &e), FERRY_OK);
    assert_true(t.rank == 1 && ((float *)t.data)[1] == 3);
    ferry_values_free(list);
    ferry_values_free(back);
    ferry_value_free(v);
    ferry_session_free(second);
    ferry_session_free(s);
    ferry_close(at);
    ferry_close(m);
    fy_buf_free(&bytes);
    fy_buf_free(&other);
}

/* A result is taken without a copy, outlives everything, and cannot be taken twice; what is an output twice is copied. */
static void test_take(void **state) {
    ferry_error e;
    (void)state;
    ferry_model *m = ferry_open(FERRY_FIXTURES "/onnx/mlp.onnx", "threads=1", &e);
    ferry_session *s = ferry_session_new(m, &e);
    float x[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    ferry_tensor t = ferry_f32(x, 3, (int64_t[]){1, 3, 3}), y = {0}, v;
    assert_null(ferry_session_take(s, 0, &e));
    assert_string_equal(e.code, "USAGE");
    assert_int_equal(ferry_run(s, &t, 1, &y, 1, &e), FERRY_OK);
    float first = *(float *)y.data;
    ferry_value *out = ferry_session_take(s, 0, &e);
    assert_non_null(out);
    assert_int_equal(ferry_value_view(out, &v, &e), FERRY_OK);
    assert_ptr_equal(v.data, y.data);
    assert_null(ferry_session_take(s, 0, &e));
    assert_null(ferry_session_take(s, 1, &e));
    y = (ferry_tensor){0};
    for (int i = 0; i < 9; i++) x[i] = -x[i];
    assert_int_equal(ferry_run(s, &t, 1, &y, 1, &e), FERRY_OK);
    assert_ptr_not_equal(v.data, y.data);
    ferry_session_free(s);
    ferry_close(m);
    assert_true(*(float *)v.data == first);
    ferry_value_free(out);
}

/* Elements of sub-byte dtypes take a byte each in values; bits above theirs are not looked at. */
static void test_narrow(void **state) {
    ferry_error e;
    (void)state;
    uint8_t raw[3] = {0xf1, 0x0f, 0x37};
    ferry_tensor t = {raw, sizeof raw, FERRY_INT4, 1, {3}}, o;
    ferry_value *v = ferry_value_tensor(&t, &e);
    assert_non_null(v);
    assert_int_equal(ferry_value_view(v, &o, &e), FERRY_OK);
    assert_int_equal(o.bytes, 3);
    assert_true(((int8_t *)o.data)[0] == 1 && ((int8_t *)o.data)[1] == -1 && ((int8_t *)o.data)[2] == 7);
    ferry_value_free(v);
    t.dtype = FERRY_UINT2;
    v = ferry_value_tensor(&t, &e);
    assert_int_equal(ferry_value_view(v, &o, &e), FERRY_OK);
    assert_true(((uint8_t *)o.data)[0] == 1 && ((uint8_t *)o.data)[1] == 3 && ((uint8_t *)o.data)[2] == 3);
    ferry_value_free(v);
    t.bytes = 2;
    assert_null(ferry_value_tensor(&t, &e));
    assert_string_equal(e.code, "VALUE");
    t.data = NULL;
    assert_null(ferry_value_tensor(&t, &e));
    t.rank = 17;
    assert_null(ferry_value_tensor(&t, &e));
}

/* What a file says of itself. */
static void test_about(void **state) {
    ferry_error e;
    const char *key, *value;
    (void)state;
    fy_model *m = fy_model_new(fy_registry_builtin());
    fy_build b = {.g = m->graph, .e = &e};
    fy_type f32 = {.kind = FY_TENSOR, .dtype = FERRY_FLOAT};
    fy_buf bytes = {0};
    fy_value *x = fy_graph_add_input(m->graph, "x", &f32);
    fy_graph_add_output(m->graph, fy_emit_n(&b, "Relu", 1, 1, &x, FY_NOATTR)->out[0]);
    assert_ok(fy_model_set_meta(m, "k", "v", &e), e);
    assert_ok(fy_model_set_meta(m, "empty", "", &e), e);
    m->producer = "somebody";
    m->model_version = 7;
    assert_ok(fy_model_name_all(m, &e), e);
    assert_ok(fy_onnx_write_memory(m, &bytes, &e), e);
    fy_model_free(m);
    ferry_model *o = ferry_open_memory(bytes.at, bytes.n, NULL, &e);
    assert_non_null(o);
    assert_string_equal(ferry_about(o, "producer"), "somebody");
    assert_string_equal(ferry_about(o, "domain"), "");
    assert_non_null(ferry_about(o, "graph"));
    assert_null(ferry_about(o, "colour"));
    assert_int_equal(ferry_model_version(o), 7);
    assert_int_equal(ferry_metadata_at(o, 0, &key, &value), 1);
    assert_true(!strcmp(key, "k") && !strcmp(value, "v"));
    assert_int_equal(ferry_metadata_at(o, 1, &key, &value), 1);
    assert_string_equal(value, "");
    assert_int_equal(ferry_metadata_at(o, 2, &key, &value), 0);
    ferry_close(o);
    fy_buf_free(&bytes);
}

static int map_into(ferry_model *m, ferry_error *e) {
    ferry_values *list = ferry_values_new();
    ferry_session *s = ferry_session_new(m, e);
    const ferry_value *arg[1], *out[1];
    ferry_tensor t;
    int kind = ferry_values_read_for(list, "map.pb", ferry_input(m, 0), e);
    if (!kind) {
        arg[0] = ferry_values_value(list, 0);
        kind = ferry_run_values(s, arg, 1, out, 1, e);
        if (!kind) {
            assert_int_equal(ferry_value_view(out[0], &t, e), FERRY_OK);
            assert_true(t.rank == 2 && t.dim[1] == 3 && ((float *)t.data)[0] == 2.5f && ((float *)t.data)[1] == 0 && ((float *)t.data)[2] == 1.5f);
        }
    }
    ferry_session_free(s);
    ferry_values_free(list);
    return kind;
}

/* {"a": 1.5, "b": 2.5} as a MapProto, and broken ones. */
static void test_map_files(void **state) {
    static const unsigned char file[] = {0x10, 8, 0x22, 1, 'b', 0x22, 1, 'a', 0x2a, 20, 0x1a, 8, 0x10, 1, 0x4a, 4, 0, 0, 0x20, 0x40, 0x1a, 8, 0x10, 1, 0x4a, 4, 0, 0,
        0xc0, 0x3f};
    ferry_error e;
    fy_buf bytes = {0};
    fy_type f32 = {.kind = FY_TENSOR, .dtype = FERRY_FLOAT}, map = {.kind = FY_MAP, .dtype = FERRY_STRING, .rank = -1, .elem = &f32};
    const fy_str word[3] = {{"b", 1}, {"z", 1}, {"a", 1}};
    fy_attr names = {.name = "string_vocabulary", .kind = FY_ATTR_STRINGS, .n = 3, .strings = word};
    ferry_model *m = model_of(&bytes, "ai.onnx.ml::DictVectorizer", 1, &map, 1, &names, &e);
    (void)state;
    for (size_t cut = 0; cut <= sizeof file; cut++) {
        FILE *f = fopen("map.pb", "wb");
        assert_int_equal(fwrite(file, 1, sizeof file - cut, f), sizeof file - cut);
        fclose(f);
        int kind = map_into(m, &e);
        if (cut == 0) assert_int_equal(kind, FERRY_OK);
        else assert_int_equal(kind, FERRY_BAD_MODEL);
    }
    ferry_close(m);
    fy_buf_free(&bytes);
}

/* Every allocation fails once: an error, nothing leaks. */
static void test_memory(void **state) {
    ferry_error e;
    (void)state;
    for (int64_t k = 0; k < 60; k++) {
        size_t before = fy_os_bytes();
        fy_os_fail_at(k, false);
        ferry_value *a = ferry_value_strings((const char *[]){"x", "yz"}, NULL, 1, (int64_t[]){2}, &e);
        ferry_value *b = a ? ferry_value_map(a, a, &e) : NULL;
        const ferry_value *items[1] = {b};
        ferry_value *c = b ? ferry_value_sequence(items, 1, &e) : NULL;
        bool failed = !a || !b || !c;
        fy_os_fail_at(-1, false);
        if (failed) assert_int_equal(e.kind, FERRY_IO);
        ferry_value_free(a);
        ferry_value_free(b);
        ferry_value_free(c);
        assert_int_equal(fy_os_bytes(), before);
        if (!failed) { assert_true(k > 5); return; }
    }
    fail();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_make), cmocka_unit_test(test_strings),
        cmocka_unit_test_setup_teardown(test_maps, enter_folder, leave_folder), cmocka_unit_test_setup_teardown(test_map_files, enter_folder, leave_folder),
        cmocka_unit_test(test_take), cmocka_unit_test(test_narrow), cmocka_unit_test(test_about), cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
