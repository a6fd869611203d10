/* SPDX-License-Identifier: Apache-2.0
 * test_bits.c - the same bits whatever happens around a sample: 1 to 8 threads, alone or in a batch, at any place of it. Run once for each
 * instruction set (FERRY_CPU). Models: fixtures with every kind of layer, and single layers large enough for each way of computing them. */
#include "api/api_files.h"
#include "model_text.h"

#include "engines/engine.h"

#include <math.h>

/* ---- models of fixtures ---------------------------------------------------------------------------------------------------- */

static const char *const fixtures[] = {"cnn_dyn", "resnet18_dyn", "mobilenet_v2_dyn", "mobilenet_v3_small_dyn", "efficientnet_b0_dyn", "squeezenet1_1_dyn", "shufflenet_v2_dyn", "vit_b_16_dyn",
                                       "bert_dyn", "distilbert_dyn"};
enum { BATCH = 5, MOST = 8 };

typedef struct opened { ferry_model *m; ferry_session *s; ferry_tensor out[MOST]; } opened;

static void open_model(opened *o, const char *path, const char *options) {
    ferry_error e = {0};
    memset(o, 0, sizeof *o);
    if (!(o->m = ferry_open(path, options, &e))) fail_msg("%s: %s", path, e.text);
    if (!(o->s = ferry_session_new(o->m, &e))) fail_msg("%s: %s", path, e.text);
    assert_true(ferry_inputs(o->m) <= MOST && ferry_outputs(o->m) <= MOST);
}

static void close_model(opened *o) {
    ferry_session_free(o->s);
    ferry_close(o->m);
}

static void run_model(opened *o, const ferry_tensor *in, const char *what) {
    ferry_error e = {0};
    memset(o->out, 0, sizeof o->out);
    if (ferry_run(o->s, in, ferry_inputs(o->m), o->out, ferry_outputs(o->m), &e)) fail_msg("%s: %s", what, e.text);
}

static void same_outputs(const opened *a, const opened *b, const char *what, int threads) {
    for (size_t i = 0; i < ferry_outputs(a->m); i++) {
        assert_int_equal(a->out[i].bytes, b->out[i].bytes);
        if (memcmp(a->out[i].data, b->out[i].data, a->out[i].bytes)) fail_msg("%s: output %d differs with %d threads", what, (int)i, threads);
    }
}

/* Inputs with the samples of `from` at these places. */
static void pick_samples(ferry_tensor *in, void **room, const ferry_tensor *from, size_t n, const int *place, int count) {
    for (size_t i = 0; i < n; i++) {
        size_t each = from[i].bytes / BATCH;
        int64_t dim[FERRY_MAX_RANK];
        assert_true(from[i].rank > 0 && from[i].dim[0] == BATCH);
        memcpy(dim, from[i].dim, sizeof *dim * (size_t)from[i].rank);
        dim[0] = count;
        room[i] = malloc(each * (size_t)count + 1);
        assert_non_null(room[i]);
        for (int k = 0; k < count; k++) memcpy((char *)room[i] + (size_t)k * each, (const char *)from[i].data + (size_t)place[k] * each, each);
        in[i] = ferry_view(from[i].dtype, room[i], from[i].rank, dim);
    }
}

static void same_samples(const opened *whole, const opened *part, const char *what, const int *place, int count) {
    for (size_t i = 0; i < ferry_outputs(whole->m); i++) {
        size_t each = whole->out[i].bytes / BATCH;
        assert_int_equal(part->out[i].bytes, each * (size_t)count);
        for (int k = 0; k < count; k++)
            if (memcmp((const char *)part->out[i].data + (size_t)k * each, (const char *)whole->out[i].data + (size_t)place[k] * each, each))
                fail_msg("%s: output %d of sample %d differs at place %d among %d", what, (int)i, place[k], k, count);
    }
}

static void check_fixture(const char *name) {
    static const int places[][BATCH] = {{0}, {3}, {4, 1}, {2, 0, 4}, {4, 3, 2, 1, 0}, {1, 1, 1, 3, 3}};
    static const int counts[] = {1, 1, 2, 3, 5, 5};
    char path[300], file[80];
    ferry_error e = {0};
    opened one, other;
    ferry_tensor in[MOST];
    snprintf(path, sizeof path, PT2 "%s.pt2", name);
    snprintf(file, sizeof file, "%s.onnx", name);
    exported(path, file, OPTIONS("no-verify", ""));
    open_model(&one, file, "threads=1");
    ferry_values *v = ferry_values_new();
    ferry_option sizes = {"sizes", strstr(name, "bert") ? "batch=5,sequence=9" : "batch=5"};
    ferry_job job = {&sizes, 1, NULL, NULL};
    assert_non_null(v);
    if (ferry_values_random(v, one.m, &job, &e)) fail_msg("%s: %s", name, e.text);
    for (size_t i = 0; i < ferry_inputs(one.m); i++) {
        int at = ferry_values_find(v, ferry_input(one.m, i)->name);
        assert_true(at >= 0);
        assert_int_equal(ferry_values_get(v, (size_t)at, &in[i], &e), 0);
    }
    run_model(&one, in, name);
    for (int threads = 2; threads <= 8; threads++) {
        char options[20];
        snprintf(options, sizeof options, "threads=%d", threads);
        open_model(&other, file, options);
        run_model(&other, in, name);
        same_outputs(&one, &other, name, threads);
        close_model(&other);
    }
    open_model(&other, file, "threads=3");
    for (int k = 0; k < FY_COUNT(places); k++) {
        ferry_tensor part[MOST];
        void *room[MOST];
        pick_samples(part, room, in, ferry_inputs(one.m), places[k], counts[k]);
        run_model(&other, part, name);
        same_samples(&one, &other, name, places[k], counts[k]);
        for (size_t i = 0; i < ferry_inputs(one.m); i++) free(room[i]);
    }
    close_model(&other);
    close_model(&one);
    ferry_values_free(v);
    unlink(file);
}

static void test_fixtures(void **state) {
    (void)state;
    for (int i = 0; i < FY_COUNT(fixtures); i++) check_fixture(fixtures[i]);
}

/* ---- single layers --------------------------------------------------------------------------------------------------------- */

static const char *const layers[] = {
    "(float[N, 24, 23, 19] x) => (y) { " WEIGHTS("w", "8640", "40, 24, 3, 3") "y = Conv <pads = [1, 1, 1, 1]> (x, w) }",                       /* Winograd */
    "(float[N, 24, 9, 9] x) => (y) { " WEIGHTS("w", "8640", "40, 24, 3, 3") "c = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w) y = Relu (c) }",
    "(float[N, 40, 7, 7] x) => (y) { " WEIGHTS("w", "2680", "67, 40, 1, 1") "c = Conv (x, w) y = Mish (c) }",
    "(float[N, 3, 31, 29] x) => (y) { " WEIGHTS("w", "4704", "32, 3, 7, 7") "c = Conv <pads = [3, 3, 3, 3], strides = [2, 2]> (x, w) y = MaxPool <kernel_shape = [3, 3], strides = [2, 2]> (c) }",
    "(float[N, 37, 13, 13] x) => (y) { " WEIGHTS("w", "333", "37, 1, 3, 3") "c = Conv <group = 37, pads = [1, 1, 1, 1]> (x, w) y = HardSwish (c) }",
    "(float[N, 24, 37, 36] x) => (y) { " WEIGHTS("w", "1200", "50, 24, 1, 1") WEIGHTS("d", "450", "50, 1, 3, 3") "a = Conv (x, w) b = HardSwish (a) c = Conv <group = 50, pads = [1, 1, 1, 1]> (b, d) "
    "g = GlobalAveragePool (c) s = Sigmoid (g) y = Mul (c, s) }",                                                                              /* pointwise and depthwise in one */
    "(float[N, 24, 21, 19] x) => (y) { " WEIGHTS("w", "1200", "50, 24, 1, 1") WEIGHTS("v", "1200", "24, 50, 1, 1") "c = Conv (x, w) g = GlobalAveragePool (c) s = Sigmoid (g) m = Mul (c, s) "
    "q = Conv (m, v) y = Add (q, x) }",                                                                                                        /* a factor for each channel in the weights */
    "(float[N, 64, 7, 7] x) => (y) { " WEIGHTS("w", "44352", "77, 64, 3, 3") "y = Conv <pads = [1, 1, 1, 1]> (x, w) }",                        /* Winograd of a small image */
    "(float[N, 48, 7, 7] x) => (y) { " WEIGHTS("w", "76800", "64, 48, 5, 5") "y = Conv <pads = [2, 2, 2, 2]> (x, w) }",                        /* in parts of the reduction */
    "(float[N, 24, 9, 9] x) => (y) { " WEIGHTS("w", "2592", "24, 12, 3, 3") "y = Conv <group = 2> (x, w) }",
    "(float[N, 24, 13, 17] x) => (y) { " WEIGHTS("w", "8640", "24, 40, 3, 3") "c = ConvTranspose <strides = [2, 3], pads = [1, 1, 0, 1]> (x, w) y = Sigmoid (c) }",  /* phases */
    "(float[N, 36, 19, 23] x) => (y) { " WEIGHTS("w", "3888", "36, 12, 3, 3") "c = Conv <group = 3, pads = [1, 1, 1, 1]> (x, w) y = Relu (c) }", /* lanes by a table */
    "(float[N, 20, 7, 13, 14] x) => (y) { " WEIGHTS("w", "17280", "32, 20, 3, 3, 3") "y = Conv <pads = [1, 1, 1, 1, 1, 1]> (x, w) }",          /* Winograd over two of three axes */
    "(float[N, 20, 6, 9, 9] x) => (y) { " WEIGHTS("w", "17280", "32, 20, 3, 3, 3") "c = Conv <strides = [2, 2, 2]> (x, w) y = MaxPool <kernel_shape = [1, 2, 2]> (c) }",
    "(float[N, 3, 700] x) => (y) { " WEIGHTS("w", "720", "30, 3, 8") WEIGHTS("d", "150", "30, 1, 5") "a = Conv <strides = [2]> (x, w) c = Conv <group = 30> (a, d) y = LpPool <kernel_shape = [4]> (c) }",
    "(float[N, 32, 14, 15] x) => (y) { " WEIGHTS("w", "9216", "32, 32, 3, 3") WEIGHTS("v", "576", "18, 32, 1, 1") "o = Conv (x, v) y = DeformConv <pads = [1, 1, 1, 1]> (x, w, o) }",
    "(float[N, 1100] x) => (y) { " WEIGHTS("w", "108900", "1100, 99") "p = MatMul (x, w) y = Gelu (p) }",                                     /* three pieces of k */
    "(float[N, 29, 65] x) => (y) { " WEIGHTS("w", "17160", "65, 264") "p = MatMul (x, w) y = Softmax (p) }",
    "(float[N, 29, 33] x) => (y) { t = Transpose <perm = [0, 2, 1]> (x) p = MatMul (x, t) y = Softplus (p) }",
    "(float[N, 7, 333] x) => (y) { " WEIGHTS("s", "333", "333") WEIGHTS("b", "333", "333") "n = LayerNormalization (x, s, b) y = Sin (n) }",
    "(float[N, 90, 333] x) => (y) { a = Asin (x) b = Acos (x) c = Atan (x) d = Add (a, b) e = Sub (d, c) y = Transpose <perm = [0, 2, 1]> (e) }",
    "(float[N, 9, 20] x) => (y) { " WEIGHTS("w", "5600", "1, 280, 20") WEIGHTS("r", "19600", "1, 280, 70") "q = Sub (x, x) z = ReduceMax <keepdims = 0> (q) u = Add (w, z) v = Add (r, z) "
    "t = Transpose <perm = [1, 0, 2]> (x) l = LSTM <hidden_size = 70> (t, u, v) y = Transpose <perm = [2, 0, 1, 3]> (l) }",                   /* weights of the run */
    "(float[N, 20, 9, 11] x) => (y) { a = GlobalAveragePool (x) d = Sub (x, a) q = Sqrt (d) r = Reciprocal (q) c = Cos (x) y = Add (r, c) }",
};

typedef struct rig { fy_model *m; fy_compiled *c; fy_session *s; } rig;

static void rig_open(rig *r, const char *body, int threads, bool bf16) {
    ferry_error e;
    const fy_engine *engine = fy_engine_find("ferry");
    r->m = model_of(body);
    assert_ok(engine->compile(&r->c, r->m, &(fy_engine_options){.threads = threads, .bf16 = bf16}, &e), e);
    assert_ok(engine->session(&r->s, r->c, &e), e);
}

static void rig_close(rig *r) {
    fy_engine_find("ferry")->session_free(r->s);
    fy_engine_find("ferry")->compiled_free(r->c);
    fy_model_free(r->m);
}

/* Samples with these numbers. */
static void rig_run(rig *r, fy_rval *out, const int *sample, int n) {
    ferry_error e;
    const fy_type *t = &r->m->graph->in.at[0]->type;
    int64_t dim[FY_MAX_RANK], each = 1;
    fy_rval in = {.kind = FY_TENSOR}, *at = &in;
    for (int d = 0; d < t->rank; d++) {
        if (!fy_dim_known(t->dim[d], &dim[d])) dim[d] = n;
        if (d) each *= dim[d];
    }
    assert_ok(fy_tensor_new(&in.t, t->dtype, t->rank, dim, &e), e);
    for (int k = 0; k < n; k++)
        for (int64_t i = 0; i < each; i++) ((float *)in.t.data)[k * each + i] = (float)sin((double)(sample[k] * 1009 + i) * 1.7);
    assert_ok(fy_engine_find("ferry")->run(r->s, &at, out, &e), e);
    fy_rval_free(&in);
}

static void check_layer(const char *body, bool bf16) {
    static const int all[BATCH] = {0, 1, 2, 3, 4};
    rig one;
    fy_rval whole = {0}, part = {0};
    rig_open(&one, body, 1, bf16);
    rig_run(&one, &whole, all, BATCH);
    size_t bytes = (size_t)fy_count(&whole.t) * sizeof(float), each = bytes / BATCH;
    for (int threads = 1; threads <= 8; threads++) {
        rig r;
        rig_open(&r, body, threads, bf16);
        rig_run(&r, &part, all, BATCH);
        if (memcmp(part.t.data, whole.t.data, bytes)) fail_msg("%d threads change bits of %s", threads, body);
        fy_rval_free(&part);
        for (int k = 0; k < BATCH; k++) {
            int some[3] = {(k + threads) % BATCH, k, k};
            rig_run(&r, &part, some + threads % 3, 3 - threads % 3);
            if (memcmp((const char *)part.t.data + (size_t)(2 - threads % 3) * each, (const char *)whole.t.data + (size_t)k * each, each)) fail_msg("%d samples change bits of %s", 3 - threads % 3, body);
            fy_rval_free(&part);
        }
        rig_close(&r);
    }
    fy_rval_free(&whole);
    rig_close(&one);
}

static void test_layers(void **state) {
    (void)state;
    for (int i = 0; i < FY_COUNT(layers); i++) {
        check_layer(layers[i], false);
        if (strstr(layers[i], "MatMul")) check_layer(layers[i], true);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fixtures, enter_folder, leave_folder),
        cmocka_unit_test(test_layers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
