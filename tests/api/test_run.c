/* SPDX-License-Identifier: Apache-2.0
 * test_run.c - ferry/run.h as a program uses it: opening, ports, views in and out, state, threads. */
#include "api_files.h"

#include "formats/onnx.h"
#include "ops/ops.h"

#include <math.h>
#include <pthread.h>
#include <time.h>

static ferry_model *open_pt2(const char *name, const char *options) {
    char        path[600];
    ferry_error e;
    snprintf(path, sizeof path, "%s%s.pt2", PT2, name);
    ferry_model *m = ferry_open(path, options, &e);
    if (!m) fail_msg("%s: %s", name, e.text);
    return m;
}

static void test_open_errors(void **state) {
    static const struct { const char *path, *options; int kind; const char *part; } table[] = {
        {"no/such/file.onnx", NULL, FERRY_IO, "file.onnx"}, {FERRY_FIXTURES, NULL, FERRY_BAD_MODEL, ""}, {FERRY_FIXTURES "/npz/f4.npy", NULL, FERRY_BAD_MODEL, ""},
        {FERRY_FIXTURES "/other/checkpoint.pth", NULL, FERRY_BAD_MODEL, ""}, {FERRY_FIXTURES "/onnx/mlp.onnx", "thread=2", FERRY_USAGE, "threads"},
        {FERRY_FIXTURES "/onnx/mlp.onnx", "threads=0", FERRY_USAGE, "threads"}, {FERRY_FIXTURES "/onnx/mlp.onnx", "threads=2x", FERRY_USAGE, "2x"},
        {FERRY_FIXTURES "/onnx/mlp.onnx", "threads", FERRY_USAGE, "name=value"}, {FERRY_FIXTURES "/onnx/mlp.onnx", "engine=fast", FERRY_USAGE, "onnxruntime"},
        {FERRY_FIXTURES "/onnx/mlp.onnx", "=", FERRY_USAGE, ""}, {NULL, NULL, FERRY_USAGE, ""}};
    ferry_error e;
    (void)state;
    for (int i = 0; i < (int)(sizeof table / sizeof *table); i++) {
        memset(&e, 0, sizeof e);
        assert_null(ferry_open(table[i].path, table[i].options, &e));
        if (e.kind != table[i].kind || !e.code || !e.text[0] || !strstr(e.text, table[i].part)) fail_msg("row %d: kind %d, %s", i, e.kind, e.text);
        assert_null(ferry_open(table[i].path, table[i].options, NULL));
    }
    ferry_close(NULL);
    ferry_session_free(NULL);
}

static void test_ports(void **state) {
    ferry_error  e;
    ferry_model *m = ferry_open(FERRY_FIXTURES "/onnx/mlp.onnx", "threads=1, engine=ferry", &e);
    (void)state;
    assert_non_null(m);
    assert_int_equal(ferry_inputs(m), 1);
    const ferry_port *p = ferry_input(m, 0);
    assert_string_equal(p->name, "x");
    assert_true(p->dtype == FERRY_FLOAT && p->rank == 3 && p->dim[0] == -1 && p->dim[1] == -1 && p->dim[2] == 3);
    assert_string_equal(p->sym[0], "batch");
    assert_string_equal(p->sym[1], "2*seq + 1");
    assert_null(p->sym[2]);
    assert_null(ferry_input(m, 1));
    assert_null(ferry_output(m, 7));
    assert_int_equal(ferry_find_output(m, "y"), 0);
    assert_int_equal(ferry_find_output(m, "x"), -1);
    assert_null(ferry_metadata(m, "nothing"));
    ferry_close(m);
}

/* A dynamic model at sizes of the caller's choice; sizes that contradict its expressions are refused. */
static void test_dynamic(void **state) {
    ferry_error    e;
    ferry_model   *m = ferry_open(FERRY_FIXTURES "/onnx/mlp.onnx", "threads=1", &e);
    ferry_session *s = ferry_session_new(m, &e);
    float data[4 * 7 * 3];
    (void)state;
    for (int i = 0; i < 4 * 7 * 3; i++) data[i] = (float)i / 10;
    for (int64_t b = 1; b <= 4; b += 3) {
        ferry_tensor x = ferry_f32(data, 3, (int64_t[]){b, 7, 3}), y = {0};
        if (ferry_run(s, &x, 1, &y, 1, &e)) fail_msg("%s", e.text);
        assert_true(y.rank == 3 && y.dim[0] == b && y.dim[1] == 7 && y.dim[2] == 4 && y.bytes == (size_t)(b * 28 * 4));
    }
    ferry_session_free(s);
    ferry_close(m);
}

static void test_wrong_inputs(void **state) {
    ferry_error    e;
    ferry_model   *m = open_pt2("cnn", "threads=1");
    ferry_session *s = ferry_session_new(m, &e);
    static float   data[28 * 28 + 1];
    const ferry_tensor good = ferry_f32(data, 4, (int64_t[]){1, 1, 28, 28});
    ferry_tensor x, y = {0};
    (void)state;
    struct { ferry_tensor t; const char *code; } bad[9];
    for (int i = 0; i < 9; i++) bad[i].t = good;
    bad[0].t.dtype = FERRY_DOUBLE, bad[0].code = "TYPE";
    bad[1].t.rank = 3, bad[1].code = "SHAPE";
    bad[2].t.dim[2] = 27, bad[2].code = "SHAPE";
    bad[3].t.bytes--, bad[3].code = "VALUE";
    bad[4].t.data = NULL, bad[4].code = "VALUE";
    bad[5].t.dim[0] = -1, bad[5].code = "SHAPE";
    bad[6].t.rank = -1, bad[6].code = "SHAPE";
    bad[7].t.rank = 99, bad[7].code = "SHAPE";
    bad[8].t.data = (char *)data + 1, bad[8].code = "VALUE";
    for (int i = 0; i < 9; i++) {
        int kind = ferry_run(s, &bad[i].t, 1, &y, 1, &e);
        if (!kind || strcmp(e.code, bad[i].code)) fail_msg("row %d: kind %d, %s", i, kind, e.text);
        assert_non_null(strstr(e.text, ferry_input(m, 0)->name));
        assert_null(y.data);
    }
    x = good;
    assert_int_equal(ferry_run(s, &x, 0, &y, 1, &e), FERRY_USAGE);
    assert_int_equal(ferry_run(s, &x, 1, &y, 0, &e), FERRY_USAGE);
    assert_int_equal(ferry_run(s, &x, 1, &y, 1, &e), FERRY_OK);          /* the session survived all of it */
    assert_true(y.dim[1] == 10);
    ferry_session_free(s);
    ferry_close(m);
}

static void test_output_buffers(void **state) {
    ferry_error    e;
    ferry_model   *m = open_pt2("cnn", "threads=1");
    ferry_session *s = ferry_session_new(m, &e);
    static float   data[28 * 28], mine[11];
    ferry_tensor x = ferry_f32(data, 4, (int64_t[]){1, 1, 28, 28}), y = {0};
    (void)state;
    for (int i = 0; i < 28 * 28; i++) data[i] = (float)(i % 13) / 13;
    mine[10] = 42;
    ferry_tensor own = ferry_view(FERRY_FLOAT, mine, 2, (int64_t[]){1, 10});
    assert_int_equal(ferry_run(s, &x, 1, &y, 1, &e), FERRY_OK);
    assert_int_equal(ferry_run(s, &x, 1, &own, 1, &e), FERRY_OK);
    assert_ptr_equal(own.data, mine);
    assert_true(mine[10] == 42);
    /* the view of a run given back to the next one is a view again */
    y = (ferry_tensor){0};
    assert_int_equal(ferry_run(s, &x, 1, &y, 1, &e), FERRY_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ferry_run(s, &x, 1, &y, 1, &e), FERRY_OK);
        assert_memory_equal(y.data, mine, 40);
    }
    ferry_tensor wrong[3] = {own, own, own};
    wrong[0].dim[1] = 11;
    wrong[1].bytes = 39;
    wrong[2].dtype = FERRY_INT32;
    for (int i = 0; i < 3; i++) {
        memset(mine, 0, 40);
        assert_int_not_equal(ferry_run(s, &x, 1, &wrong[i], 1, &e), FERRY_OK);
        assert_string_equal(e.code, "SHAPE");
        assert_true(mine[0] == 0 && mine[9] == 0);
    }
    ferry_session_free(s);
    ferry_close(m);
}

/* The outputs of one run may be the inputs of the next. */
static void test_outputs_as_inputs(void **state) {
    ferry_error    e;
    ferry_model   *m = ferry_open(FERRY_FIXTURES "/onnx/control.onnx", "threads=1", &e);
    (void)state;
    assert_non_null(m);
    ferry_session *s = ferry_session_new(m, &e), *fresh = ferry_session_new(m, &e);
    float   start[2] = {0.5f, -0.25f}, copy[2];
    bool    flag = true;
    int64_t n = 2;
    ferry_tensor in[3] = {ferry_f32(start, 1, (int64_t[]){2}), ferry_view(FERRY_BOOL, &flag, 0, NULL), ferry_i64(&n, 0, NULL)}, y = {0}, z = {0};
    assert_int_equal(ferry_run(s, in, 3, &y, 1, &e), FERRY_OK);
    memcpy(copy, y.data, sizeof copy);
    in[0] = y;                                               /* the session's own memory */
    assert_int_equal(ferry_run(s, in, 3, &y, 1, &e), FERRY_OK);
    in[0] = ferry_f32(copy, 1, (int64_t[]){2});
    assert_int_equal(ferry_run(fresh, in, 3, &z, 1, &e), FERRY_OK);
    assert_memory_equal(y.data, z.data, 8);
    ferry_session_free(s);
    ferry_session_free(fresh);
    ferry_close(m);
}

/* Two sets of results take turns: no run asks for new memory once both are there. One that was taken away does not come back. */
static void test_memory_of_outputs(void **state) {
    ferry_error    e;
    ferry_model   *m = ferry_open(FERRY_FIXTURES "/onnx/mlp.onnx", "threads=1", &e);
    ferry_session *s = ferry_session_new(m, &e);
    static float   x[4 * 9 * 3];
    const void    *seen[6];
    ferry_value   *mine = NULL;
    (void)state;
    for (int i = 0; i < 6; i++) {
        ferry_tensor in = ferry_f32(x, 3, (int64_t[]){4, 9, 3}), out = {0};
        assert_ok(ferry_run(s, &in, 1, &out, 1, &e), e);
        seen[i] = out.data;
        if (i == 3) assert_non_null(mine = ferry_session_take(s, 0, &e));
        if (i > 0) assert_ptr_not_equal(seen[i], seen[i - 1]);
    }
    assert_ptr_equal(seen[2], seen[0]);
    assert_ptr_equal(seen[3], seen[1]);
    assert_ptr_not_equal(seen[5], seen[3]);
    ferry_value_free(mine);
    ferry_session_free(s);
    ferry_close(m);
}

static void test_state(void **state) {
    ferry_error    e;
    ferry_model   *m = open_pt2("mutation", "threads=1");
    ferry_session *s = ferry_session_new(m, &e);
    float  x[8] = {1, 2, 3, 4, -1, 0.5f, 2, 1}, first = 0;
    size_t nout = ferry_outputs(m);
    (void)state;
    assert_int_equal(ferry_inputs(m), 2);                    /* the counter is no port */
    ferry_tensor in[2] = {ferry_f32(x, 2, (int64_t[]){2, 4}), ferry_f32(x, 2, (int64_t[]){2, 4})};
    for (int run = 0; run < 5; run++) {
        ferry_tensor *out = calloc(nout, sizeof *out);
        if (run == 3) assert_int_equal(ferry_session_reset(s, &e), FERRY_OK);
        if (ferry_run(s, in, 2, out, nout, &e)) fail_msg("%s", e.text);
        float z = ((float *)out[0].data)[0];
        if (!run) first = z;
        assert_true(fabsf(z - first - (float)(run % 3)) < 1e-5f);
        free(out);
    }
    ferry_session_free(s);
    ferry_close(m);
}

static void test_memory(void **state) {
    ferry_error e;
    FILE *f = fopen(FERRY_FIXTURES "/onnx/mlp.onnx", "rb");
    static char bytes[1 << 16];
    (void)state;
    size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    ferry_model *m = ferry_open_memory(bytes, n, NULL, &e);
    assert_non_null(m);
    ferry_close(m);
    assert_null(ferry_open_memory(bytes, n / 2, NULL, &e));
    assert_int_equal(e.kind, FERRY_BAD_MODEL);
    assert_null(ferry_open_memory(NULL, 0, NULL, &e));
    f = fopen(FERRY_FIXTURES "/onnx/external.onnx", "rb");
    n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    assert_null(ferry_open_memory(bytes, n, NULL, &e));      /* external data has no folder here */
}

/* ---- threads ------------------------------------------------------------------------------------------------------ */

typedef struct worker { const ferry_model *m; float fill; float out[10]; int failed; } worker;

static void *work(void *arg) {
    worker        *w = arg;
    ferry_error    e;
    ferry_session *s = ferry_session_new(w->m, &e);
    float         *data = malloc(28 * 28 * sizeof *data);
    for (int i = 0; i < 28 * 28; i++) data[i] = w->fill * (float)(i % 17);
    ferry_tensor x = ferry_f32(data, 4, (int64_t[]){1, 1, 28, 28});
    w->failed = !s;
    for (int i = 0; i < 20 && !w->failed; i++) {
        ferry_tensor y = {0};
        w->failed = ferry_run(s, &x, 1, &y, 1, &e) != 0;
        if (!w->failed && i && memcmp(w->out, y.data, sizeof w->out)) w->failed = 1;
        if (!w->failed) memcpy(w->out, y.data, sizeof w->out);
    }
    free(data);
    ferry_session_free(s);
    return NULL;
}

/* An endless loop in the model ends by the word max-steps, and by another thread. */
static void *stopper(void *session) {
    for (int i = 0; i < 200; i++) {                                       /* also while no run has begun yet */
        assert_int_equal(ferry_session_stop(session), 0);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return NULL;
}

static void test_stop(void **state) {
    (void)state;
    static const char text[] = "<ir_version: 10, opset_import: [\"\" : 28]> g (float[4] x) => (y) <int64 n = {9223372036854775807}> {"
        " y = Loop <body = b (int64 i, bool k, float[4] v) => (k, w) { w = Add (v, v) }> (n, , x) }";
    ferry_error e;
    fy_model   *m = NULL;
    fy_buf      bytes = {0};
    float       v[4] = {0};
    assert_ok(fy_model_parse(&m, text, sizeof text - 1, fy_registry_builtin(), &e), e);
    assert_ok(fy_onnx_write_memory(m, &bytes, &e), e);
    fy_model_free(m);
    for (int way = 0; way < 2; way++) {
        ferry_model   *model = ferry_open_memory(bytes.at, bytes.n, way ? NULL : "max-steps=1000", &e);
        ferry_session *s = ferry_session_new(model, &e);
        ferry_tensor   x = ferry_f32(v, 1, (int64_t[]){4}), y = {0};
        pthread_t      t;
        if (way) assert_int_equal(pthread_create(&t, NULL, stopper, s), 0);
        assert_int_equal(ferry_run(s, &x, 1, &y, 1, &e), way ? FERRY_NO : FERRY_BAD_MODEL);
        assert_string_equal(e.code, way ? "STOPPED" : "LIMIT");
        if (way) pthread_join(t, NULL);
        ferry_session_free(s);
        ferry_close(model);
    }
    fy_buf_free(&bytes);
    assert_null(ferry_open_memory("", 0, "max-steps=0", &e));
    assert_int_equal(e.kind, FERRY_USAGE);
}

static void test_threads(void **state) {
    ferry_model *m = open_pt2("cnn", "threads=2");
    worker       w[3] = {{.m = m, .fill = 0.1f}, {.m = m, .fill = 0.1f}, {.m = m, .fill = 0.05f}};
    pthread_t    t[3];
    (void)state;
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&t[i], NULL, work, &w[i]), 0);
    for (int i = 0; i < 3; i++) pthread_join(t[i], NULL);
    for (int i = 0; i < 3; i++) assert_int_equal(w[i].failed, 0);
    assert_memory_equal(w[0].out, w[1].out, sizeof w[0].out);
    assert_memory_not_equal(w[0].out, w[2].out, sizeof w[0].out);
    ferry_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_open_errors), cmocka_unit_test(test_ports), cmocka_unit_test(test_dynamic), cmocka_unit_test(test_wrong_inputs),
        cmocka_unit_test(test_output_buffers), cmocka_unit_test(test_outputs_as_inputs), cmocka_unit_test(test_memory_of_outputs), cmocka_unit_test(test_state), cmocka_unit_test(test_memory), cmocka_unit_test(test_stop), cmocka_unit_test(test_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
