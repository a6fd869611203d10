/* SPDX-License-Identifier: Apache-2.0
 * test_plugin.c - operators of programs and of shared objects: what a description may be, inference with symbols, kernels, strings, built-in
 * operators replaced, callbacks that break their word, plugins that cannot be, threads, every allocation failing. */
#include "api_files.h"

#include "base/os.h"
#include "ferry/plugin.h"
#include "formats/onnx.h"
#include "ops/ops.h"

#include <pthread.h>

#undef fail                              /* cmocka's: the table has a function of that name */

#define PLUGIN(name) FERRY_BINARY_DIR "/tests/plugins/" name ".so"
#define DISTANCE FERRY_BINARY_DIR "/examples/distance.so"
#define NEAREST FERRY_FIXTURES "/../../examples/plugin/nearest.onnx"

/* A model in ONNX text as bytes of a file. */
static fy_buf model_bytes(const char *graph) {
    fy_model *m = NULL;
    ferry_error e = {0};
    fy_buf text = {0}, out = {0};
    fy_buf_fmt(&text, "<ir_version: 10, opset_import: [\"\" : 28, \"test\" : 1]>\n%s", graph);
    assert_ok(fy_model_parse(&m, text.at, text.n, fy_registry_builtin(), &e), e);
    assert_ok(fy_onnx_write_memory(m, &out, &e), e);
    fy_model_free(m);
    fy_buf_free(&text);
    return out;
}

static ferry_model *open_text(const char *graph, ferry_registry *r, fy_buf *bytes, ferry_error *e) {
    *bytes = model_bytes(graph);
    return ferry_open_memory_with(bytes->at, bytes->n, NULL, r, e);
}

/* ---- an operator with everything: y = x * scale + shift[i], repeated `times` along the last axis ------------------------------- */

static const char *seen_dim;             /* what dim_text said of axis 0 at opening */

static int repeat_infer(const ferry_plugin_api *f, ferry_node *n) {
    int64_t times;
    char text[64];
    if (!f->attr_int(n, "times", &times)) return f->fail(n, "ATTR", "times is missing");
    if (times < 0) return f->fail(n, "ATTR", "times is negative");
    int32_t rank = f->rank(n, 0);
    if (rank < 0) return f->set_type(n, 0, f->dtype(n, 0), -1);
    if (rank == 0) return f->fail(n, "SHAPE", "a scalar");
    if (f->set_like(n, 0, 0)) return 1;
    const char *first = f->dim_text(n, 0, 0), *last = f->dim_text(n, 0, -1);
    if (!first || !last) return 0;       /* unknown, or no memory: ferry knows which */
    if (f->dim(n, 0, 0) < 0) seen_dim = strcmp(first, "batch") ? "?" : "batch";
    snprintf(text, sizeof text, "%d*(%s)", (int)times, last);
    return f->set_dim_text(n, 0, -1, text);
}

typedef struct job { ferry_tensor x, y; double scale; int64_t times; } job;

static void repeat_rows(void *arg, int64_t begin, int64_t end) {
    const job *w = arg;
    int64_t d = w->x.dim[w->x.rank - 1];
    for (int64_t i = begin; i < end; i++)
        for (int64_t k = 0; k < d * w->times; k++) ((float *)w->y.data)[i * d * w->times + k] = (float)((double)((const float *)w->x.data)[i * d + k % d] * w->scale);
}

static int repeat_run(const ferry_plugin_api *f, ferry_node *n) {
    job w;
    const int64_t *shift;
    size_t nshift;
    if (f->input(n, 0, &w.x) || f->output(n, 0, &w.y)) return 1;
    f->attr_int(n, "times", &w.times);
    f->attr_float(n, "scale", &w.scale);
    int64_t rows = 1;
    for (int32_t k = 0; k + 1 < w.x.rank; k++) rows *= w.x.dim[k];
    f->parallel(n, rows, 1, repeat_rows, &w);
    if (f->attr_ints(n, "shift", &shift, &nshift))
        for (int64_t i = 0; i < rows && (size_t)i < nshift; i++) ((float *)w.y.data)[i * w.y.dim[w.y.rank - 1]] += (float)shift[i];
    int *calls = f->user(n);
    if (calls) ++*calls;
    return 0;
}

static const ferry_attr repeat_attrs[] = {{"times", FERRY_ATTR_INT, FERRY_REQUIRED, "how often"}, {"scale", FERRY_ATTR_FLOAT, "0.5", NULL},
    {"shift", FERRY_ATTR_INTS, NULL, "added to the first of each row"}};
static ferry_op repeat(void) {
    return (ferry_op){sizeof(ferry_op), 0, "test", "Repeat", "y = x * scale, repeated", repeat_attrs, 3, 1, 1, 1, 1, "T=f32|T|T", repeat_infer, repeat_run, NULL};
}

static void test_program(void **state) {
    (void)state;
    ferry_error e;
    fy_buf bytes;
    int calls = 0;
    ferry_registry *r = ferry_registry_new(&e);
    ferry_op op = repeat();
    op.user = &calls;
    assert_int_equal(ferry_registry_add(r, &op, &e), 0);
    assert_int_equal(ferry_registry_count(r), 1);
    assert_int_equal(ferry_registry_add(r, &op, &e), FERRY_USAGE);
    assert_non_null(strstr(e.text, "test.Repeat is there already"));
    seen_dim = NULL;
    ferry_model *m = open_text("g (float[batch, 2] x) => (y) { t = test.Repeat <times = 3, shift = [10, 20]> (x) y = Neg (t) }", r, &bytes, &e);
    if (!m) print_error("%s\n", e.text);
    assert_non_null(m);
    assert_string_equal(seen_dim, "batch");
    assert_string_equal(ferry_output(m, 0)->sym[0], "batch");
    assert_int_equal(ferry_output(m, 0)->dim[1], 6);
    ferry_registry_free(r);              /* the model has its own hold */
    ferry_session *s = ferry_session_new(m, &e);
    float v[] = {1, 2, 3, 4}, want[] = {-10.5f, -1, -0.5f, -1, -0.5f, -1, -21.5f, -2, -1.5f, -2, -1.5f, -2};
    ferry_tensor x = ferry_f32(v, 2, (int64_t[]){2, 2}), y = {0};
    assert_int_equal(ferry_run(s, &x, 1, &y, 1, &e), 0);
    assert_int_equal(y.dim[1], 6);
    assert_memory_equal(y.data, want, sizeof want);
    assert_int_equal(calls, 1);
    ferry_session_free(s);
    ferry_close(m);
    fy_buf_free(&bytes);
    /* what the inference callback refuses is said with its name */
    r = ferry_registry_new(&e);
    assert_int_equal(ferry_registry_add(r, &op, &e), 0);
    assert_null(open_text("g (float[2] x) => (y) { y = test.Repeat <times = -1> (x) }", r, &bytes, &e));
    assert_string_equal(e.code, "ATTR");
    assert_string_equal(e.text, "test.Repeat: times is negative");
    fy_buf_free(&bytes);
    /* the table is checked by ferry: dtype, required attributes */
    assert_null(open_text("g (double[2] x) => (y) { y = test.Repeat <times = 1> (x) }", r, &bytes, &e));
    assert_string_equal(e.code, "TYPE");
    fy_buf_free(&bytes);
    assert_null(open_text("g (float[2] x) => (y) { y = test.Repeat (x) }", r, &bytes, &e));
    assert_string_equal(e.code, "ATTR");
    fy_buf_free(&bytes);
    /* a registry that models use does not change */
    assert_int_equal(ferry_registry_add(r, &op, &e), FERRY_USAGE);
    assert_non_null(strstr(e.text, "does not change any more"));
    ferry_registry_free(r);
    ferry_registry_free(NULL);
}

/* ---- descriptions that cannot be ---------------------------------------------------------------------------------------- */

static void test_descriptions(void **state) {
    (void)state;
    ferry_error e;
    ferry_registry *r = ferry_registry_new(&e);
    static const ferry_attr twice[] = {{"a", FERRY_ATTR_INT, NULL, NULL}, {"a", FERRY_ATTR_INT, NULL, NULL}}, graph[] = {{"a", 5, NULL, NULL}},
        number[] = {{"a", FERRY_ATTR_INT, "seven", NULL}}, list[] = {{"a", FERRY_ATTR_INTS, "1", NULL}}, unnamed[] = {{NULL, FERRY_ATTR_INT, NULL, NULL}};
#define REFUSED(change, words) do { \
        ferry_op op = repeat(); \
        change; \
        assert_int_equal(ferry_registry_add(r, &op, &e), FERRY_USAGE); \
        if (!strstr(e.text, words)) print_error("%s\n", e.text); \
        assert_non_null(strstr(e.text, words)); \
    } while (0)
    REFUSED(op.size = 8, "built for another version");
    REFUSED(op.size = 0, "built for another version");
    REFUSED(op.name = NULL, "usable name");
    REFUSED(op.name = "", "usable name");
    REFUSED(op.name = "a b", "usable name");
    REFUSED(op.domain = NULL, "domain");
    REFUSED(op.domain = "a/b", "domain");
    REFUSED(op.run = NULL, "no run callback");
    REFUSED(op.flags = 8, "flags");
    REFUSED(op.min_in = -1, "inputs cannot be");
    REFUSED(op.max_in = 0, "inputs cannot be");
    REFUSED(op.max_in = 1000, "inputs cannot be");
    REFUSED(op.min_out = 2, "outputs cannot be");
    REFUSED((op.attrs = twice, op.nattrs = 2), "there twice");
    REFUSED((op.attrs = graph, op.nattrs = 1), "kind 5");
    REFUSED((op.attrs = number, op.nattrs = 1), "no number");
    REFUSED((op.attrs = list, op.nattrs = 1), "only numbers and strings");
    REFUSED((op.attrs = unnamed, op.nattrs = 1), "usable name");
    REFUSED((op.attrs = NULL, op.nattrs = 1), "attributes cannot be");
    REFUSED(op.types = "f32", "lacks the |");
    REFUSED(op.types = "T=f32,f99|T|T", "no dtype \"f99\"");
    REFUSED(op.types = "T=f32|U|T", "\"U\" is neither");
    REFUSED(op.types = "f32|T", "NAME=DTYPE");
    /* longer than ours: taken if what we do not know is zero */
    struct { ferry_op op; void *more; } newer = {repeat(), NULL};
    newer.op.size = sizeof newer;
    assert_int_equal(ferry_registry_add(r, &newer.op, &e), 0);
    newer.op.name = "Other";
    newer.more = &newer;
    assert_int_equal(ferry_registry_add(r, &newer.op, &e), FERRY_USAGE);
    assert_non_null(strstr(e.text, "newer ferry"));
    assert_int_equal(ferry_registry_add(NULL, &newer.op, &e), FERRY_USAGE);
    assert_int_equal(ferry_registry_add(r, NULL, &e), FERRY_USAGE);
    assert_int_equal(ferry_registry_count(r), 1);
    ferry_registry_free(r);
}

/* ---- built-in operators replaced ------------------------------------------------------------------------------------------ */

static int abs_run(const ferry_plugin_api *f, ferry_node *n) {
    ferry_tensor x, y;
    if (f->input(n, 0, &x) || f->output(n, 0, &y)) return 1;
    for (int64_t i = 0; i < x.dim[0]; i++) ((float *)y.data)[i] = 100 + ((const float *)x.data)[i];
    return 0;
}
static int like(const ferry_plugin_api *f, ferry_node *n) { return f->set_like(n, 0, 0); }

static void test_replaced(void **state) {
    (void)state;
    ferry_error e;
    fy_buf bytes;
    float v[] = {-1, 2};
    ferry_tensor x = ferry_f32(v, 1, (int64_t[]){2}), y = {0};
    for (int with = 0; with < 2; with++) {
        ferry_registry *r = ferry_registry_new(&e);
        ferry_op op = {sizeof op, FERRY_OP_PURE, with ? "ai.onnx" : "", "Abs", NULL, NULL, 0, 1, 1, 1, 1, NULL, like, abs_run, NULL};
        assert_int_equal(ferry_registry_add(r, &op, &e), 0);
        ferry_model *m = open_text("g (float[2] x) => (y) { y = Abs (x) }", with ? r : NULL, &bytes, &e);
        ferry_session *s = ferry_session_new(m, &e);
        y = (ferry_tensor){0};
        assert_int_equal(ferry_run(s, &x, 1, &y, 1, &e), 0);
        assert_true(((float *)y.data)[0] == (with ? 99.0f : 1.0f));
        ferry_session_free(s);
        ferry_close(m);
        ferry_registry_free(r);
        fy_buf_free(&bytes);
    }
}

/* ---- callbacks that break their word --------------------------------------------------------------------------------------- */

static int mode;                         /* which word */
static int bad_infer(const ferry_plugin_api *f, ferry_node *n) {
    int64_t k;
    double d;
    const char *text;
    size_t length;
    ferry_tensor t;
    switch (mode) {
    case 0: return 5;
    case 1: return f->fail(n, "NOSUCHCODE", NULL);
    case 2: return f->set_type(n, 3, FERRY_FLOAT, 1);
    case 3: return f->set_type(n, 0, 99, 1);
    case 4: return f->set_type(n, 0, FERRY_FLOAT, 17);
    case 5: return f->set_type(n, 0, FERRY_FLOAT, 1) || f->set_dim(n, 0, 1, 3);
    case 6: return f->set_type(n, 0, FERRY_FLOAT, 1) || f->set_dim(n, 0, 0, INT64_MIN);
    case 7: return f->set_type(n, 0, FERRY_FLOAT, 1) || f->set_dim_text(n, 0, 0, "2*(");
    case 8: return f->set_like(n, 0, 9);
    case 9: return f->set_dim(n, 0, 0, 1);
    case 10: (void)f->set_type(n, 0, 99, 1); return 0;                    /* takes no notice */
    case 11: return f->input(n, 0, &t);
    case 12: return f->set_type(n, 0, FERRY_DOUBLE, 1);                   /* its own table says f32 */
    default:
        assert_int_equal(f->attr_int(n, "none", &k) + f->attr_int(n, NULL, &k) + f->attr_float(n, "none", &d) + f->attr_string(n, "none", &text, &length)
            + f->attr_tensor(n, "none", &t), 0);
        assert_int_equal(f->dtype(n, 77), 0);
        assert_int_equal(f->rank(n, SIZE_MAX), -1);
        assert_int_equal(f->dim(n, 0, 5), -1);
        assert_int_equal(f->dim(n, 0, -5), -1);
        assert_null(f->dim_text(n, 0, 5));
        assert_int_equal(f->values(n, 0, &k, 1), -1);
        return mode == 20 || mode == 22 ? 0 : f->set_like(n, 0, 0);
    }
}
static int bad_run(const ferry_plugin_api *f, ferry_node *n) {
    ferry_tensor t;
    const char *text;
    size_t length;
    switch (mode) {
    case 13: return 5;
    case 14: return f->set_type(n, 0, FERRY_FLOAT, 1);
    case 15: return f->shape(n, 0, FERRY_FLOAT, 1, (int64_t[]){5});
    case 16: return f->shape(n, 0, FERRY_INT64, 1, (int64_t[]){2});
    case 17: return f->output(n, 1, &t);
    case 18: return f->get_string(n, 0, 0, &text, &length);
    case 19: return f->put_string(n, 0, 0, "a", 1);
    case 20: return 0;                                                    /* no output, and inference did not say it either */
    case 21: return f->shape(n, 0, 77, 1, (int64_t[]){2});
    case 22: return f->shape(n, 0, FERRY_FLOAT, 1, (int64_t[]){-2});
    case 23: f->parallel(n, 10, 0, NULL, NULL); return f->scratch(n, SIZE_MAX - 4) == NULL;
    default: return 0;
    }
}

static void test_word(void **state) {
    (void)state;
    static const struct { const char *code, *text; } want[] = {
        {"PLUGIN", "infer callback failed with 5"}, {"VALUE", "no reason is given"}, {"PLUGIN", "the type of output 3"}, {"PLUGIN", "dtype 99"}, {"LIMIT", "rank 17"},
        {"PLUGIN", "axis 1 of output 0"}, {"SHAPE", "size -9223372036854775808"}, {"PLUGIN", "\"2*(\" is no size"}, {"PLUGIN", "like input 9"}, {"PLUGIN", "its rank is -1"},
        {"PLUGIN", "dtype 99"}, {"PLUGIN", "run callback only"}, {"TYPE", "output 0 of Bad"},
        {"PLUGIN", "run callback failed with 5"}, {"PLUGIN", "infer callback only"}, {"PLUGIN", "is f32[2] by its inference, f32[5] by its kernel"}, {"PLUGIN", "i64[2] by its kernel"},
        {"PLUGIN", "output 1 is not wanted"}, {"TYPE", "no tensor of strings"}, {"TYPE", "no tensor of strings"}, {"PLUGIN", "output 0 was not made"}, {"PLUGIN", "dtype 77"},
        {"SHAPE", "size -2"}, {"NOMEM", "out of memory"}};
    for (mode = 0; mode < (int)(sizeof want / sizeof *want); mode++) {
        ferry_error e = {0};
        fy_buf bytes;
        float v[] = {-1, 2};
        ferry_tensor x = ferry_f32(v, 1, (int64_t[]){2}), y = {0};
        ferry_registry *r = ferry_registry_new(&e);
        ferry_op op = {sizeof op, 0, "test", "Bad", NULL, NULL, 0, 1, 1, 1, 2, "|f32|f32,f32", bad_infer, bad_run, NULL};
        assert_int_equal(ferry_registry_add(r, &op, &e), 0);
        ferry_model *m = open_text("g (float[2] x) => (y) { y = test.Bad (x) }", r, &bytes, &e);
        assert_true((m == NULL) == (mode < 13));
        ferry_session *s = m ? ferry_session_new(m, &e) : NULL;
        if (s) assert_int_not_equal(ferry_run(s, &x, 1, &y, 1, &e), 0);
        if (!e.code || strcmp(e.code, want[mode].code) || !strstr(e.text, want[mode].text)) print_error("%d: [%s] %s\n", mode, e.code, e.text);
        assert_string_equal(e.code, want[mode].code);
        assert_non_null(strstr(e.text, want[mode].text));
        assert_non_null(strstr(e.text, "Bad"));
        ferry_session_free(s);
        ferry_close(m);
        ferry_registry_free(r);
        fy_buf_free(&bytes);
    }
}

/* ---- shared objects ---------------------------------------------------------------------------------------------------------- */

static void test_objects(void **state) {
    (void)state;
    static const struct { const char *path, *code, *text; } bad[] = {
        {"nowhere.so", "NOFILE", "nowhere.so"}, {NEAREST, "NOFILE", "invalid ELF header"}, {PLUGIN("broken_entry"), "FORMAT", "is no ferry plugin"},
        {PLUGIN("broken_abi"), "FORMAT", "was built for plugin ABI 2; this ferry"}, {PLUGIN("broken_none"), "PLUGIN", "registers no operator"},
        {PLUGIN("broken_fails"), "LIMIT", "no licence found"}, {PLUGIN("broken_op"), "USAGE", "built for another version"}, {PLUGIN("broken_silent"), "PLUGIN", "failed with 7"}};
    ferry_error e;
    ferry_registry *r = ferry_registry_new(&e);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_not_equal(ferry_registry_load(r, bad[i].path, &e), 0);
        if (strcmp(e.code, bad[i].code) || !strstr(e.text, bad[i].text)) print_error("[%s] %s\n", e.code, e.text);
        assert_string_equal(e.code, bad[i].code);
        assert_non_null(strstr(e.text, bad[i].text));
        assert_int_equal(ferry_registry_count(r), 0);
    }
    assert_int_equal(ferry_registry_load(r, NULL, &e), FERRY_USAGE);
    assert_int_equal(ferry_registry_load(r, PLUGIN("words"), &e), 0);
    assert_int_equal(ferry_registry_load(r, PLUGIN("words"), &e), FERRY_USAGE);
    assert_non_null(strstr(e.text, "test.Words is there already"));
    assert_int_equal(ferry_registry_load(r, DISTANCE, &e), 0);
    assert_int_equal(ferry_registry_count(r), 2);
    ferry_registry_free(r);
}

/* Words in C++: strings in and out, an output that nobody wants. */
static void test_strings(void **state) {
    (void)state;
    for (int both = 0; both < 2; both++) {
        ferry_error e;
        fy_buf bytes;
        ferry_registry *r = ferry_registry_new(&e);
        assert_int_equal(ferry_registry_load(r, PLUGIN("words"), &e), 0);
        /* strings cannot be passed as views: they come from a constant, and their comparison goes out */
        ferry_model *m = open_text(both ? "g () => (y, k) <string[2] a = {\"ab\", \"\"}, string[2] b = {\"AB\", \"\"}> { u, k = test.Words (a) y = Equal (u, b) }"
                                        : "g () => (y) <string[2] a = {\"ab\", \"\"}, string[2] b = {\"AB\", \"\"}> { u = test.Words (a) y = Equal (u, b) }", r, &bytes, &e);
        if (!m) print_error("%s\n", e.text);
        assert_non_null(m);
        ferry_session *s = ferry_session_new(m, &e);
        ferry_tensor y[2] = {{0}};
        assert_int_equal(ferry_run(s, NULL, 0, y, both ? 2 : 1, &e), 0);
        assert_memory_equal(y[0].data, "\1\1", 2);
        if (both) assert_true(((int64_t *)y[1].data)[0] == 2 && ((int64_t *)y[1].data)[1] == 0);
        ferry_session_free(s);
        ferry_close(m);
        ferry_registry_free(r);
        fy_buf_free(&bytes);
    }
}

static void run_nearest(const ferry_model *m) {
    ferry_error e;
    float points[] = {0, 0, 5, 5, 1, -1}, centres[] = {0, 1, 4, 4};
    ferry_tensor in[] = {ferry_f32(points, 2, (int64_t[]){3, 2}), ferry_f32(centres, 2, (int64_t[]){2, 2})}, out[2] = {{0}};
    ferry_session *s = ferry_session_new(m, &e);
    assert_int_equal(ferry_run(s, in, 2, out, 2, &e), 0);
    assert_memory_equal(out[0].data, ((int64_t[]){0, 1, 0}), 24);
    assert_memory_equal(out[1].data, ((float[]){1, 8, 9, 2, 3, 8}), 24);
    ferry_session_free(s);
}

static void *one_thread(void *m) {
    for (int i = 0; i < 50; i++) run_nearest(m);
    return NULL;
}

/* The example by the word of ferry_open, from several threads; a plugin in front of a program's registry; commands with the option. */
static void test_example(void **state) {
    (void)state;
    ferry_error e = {0};
    ferry_model *m = ferry_open(NEAREST, "threads=1, plugin=" DISTANCE, &e);
    if (!m) print_error("%s\n", e.text);
    assert_non_null(m);
    pthread_t t[3];
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&t[i], NULL, one_thread, m), 0);
    for (int i = 0; i < 3; i++) pthread_join(t[i], NULL);
    ferry_close(m);
    assert_null(ferry_open(NEAREST, NULL, &e));
    assert_string_equal(e.code, "OP");
    assert_null(ferry_open(NEAREST, "plugin=nowhere.so", &e));
    assert_string_equal(e.code, "NOFILE");
    ferry_registry *r = ferry_registry_new(&e);
    ferry_op op = repeat();
    assert_int_equal(ferry_registry_add(r, &op, &e), 0);
    m = ferry_open_with(NEAREST, "plugin=" DISTANCE, r, &e);
    ferry_registry_free(r);
    run_nearest(m);
    ferry_close(m);
    /* the commands */
    ferry_option with[] = {{"plugin", DISTANCE}}, twice[] = {{"plugin", DISTANCE}, {"plugin", PLUGIN("words")}};
    ferry_job one = {with, 1, NULL, NULL}, two = {twice, 2, NULL, NULL};
    ferry_report *report = NULL;
    assert_int_equal(ferry_info(NEAREST, &two, &report, &e), 0);
    ferry_report_free(report);
    assert_int_equal(ferry_check(NEAREST, &one, &report, &e), 0);
    ferry_report_free(report);
    ferry_option convert[] = {{"plugin", DISTANCE}, {"opset", "21"}};
    assert_int_equal(ferry_convert(NEAREST, "n21.onnx", &(ferry_job){convert, 2, NULL, NULL}, &report, &e), 0);
    ferry_report_free(report);
    assert_int_equal(ferry_optimize(NEAREST, "small.onnx", &one, &report, &e), 0);
    ferry_report_free(report);
    assert_int_equal(ferry_optimize(NEAREST, "small.onnx", NULL, &report, &e), FERRY_BAD_MODEL);      /* nobody can run Distance, to compare */
    assert_string_equal(e.code, "OP");
    ferry_option replaces[] = {{"plugin", DISTANCE}, {"plugin", PLUGIN("replaces")}};
    assert_int_equal(ferry_optimize(NEAREST, "small.onnx", &(ferry_job){replaces, 2, NULL, NULL}, &report, &e), FERRY_BAD_MODEL);
    assert_string_equal(e.code, "UNSUPPORTED");
    assert_non_null(strstr(e.text, "Sqrt"));
    ferry_option verify[] = {{"plugin", DISTANCE}, {"against", NEAREST}};
    assert_int_equal(ferry_verify("small.onnx", &(ferry_job){verify, 2, NULL, NULL}, &report, &e), 0);
    ferry_report_free(report);
    assert_int_equal(ferry_verify("n21.onnx", &(ferry_job){verify, 2, NULL, NULL}, &report, &e), 0);
    ferry_report_free(report);
}

/* Every allocation fails in turn: NOMEM each time, nothing stays behind. */
static void test_memory(void **state) {
    (void)state;
    ferry_error e;
    fy_buf bytes = model_bytes("g (float[n, 2] x) => (y) { y = test.Repeat <times = 3> (x) }");
    float v[] = {1, 2};
    for (int64_t k = 0;; k++) {
        size_t before = fy_os_bytes();
        ferry_tensor x = ferry_f32(v, 2, (int64_t[]){1, 2}), y = {0};
        ferry_op op = repeat();
        fy_os_fail_at(k, false);
        ferry_registry *r = ferry_registry_new(&e);
        int kind = r ? ferry_registry_add(r, &op, &e) : FERRY_IO;
        ferry_model *m = kind ? NULL : ferry_open_memory_with(bytes.at, bytes.n, "threads=1", r, &e);
        ferry_session *s = m ? ferry_session_new(m, &e) : NULL;
        kind = s ? ferry_run(s, &x, 1, &y, 1, &e) : FERRY_IO;
        bool reached = fy_os_calls() > k;
        fy_os_fail_at(-1, false);
        if (kind) assert_string_equal(e.code, "NOMEM");
        else assert_true(((float *)y.data)[5] == 1.0f);
        ferry_session_free(s);
        ferry_close(m);
        ferry_registry_free(r);
        assert_int_equal(fy_os_bytes(), before);
        if (!reached) { assert_int_equal(kind, 0); break; }
    }
    fy_buf_free(&bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_program), cmocka_unit_test(test_descriptions), cmocka_unit_test(test_replaced), cmocka_unit_test(test_word),
        cmocka_unit_test(test_objects), cmocka_unit_test(test_strings), cmocka_unit_test(test_memory),
        cmocka_unit_test_setup_teardown(test_example, enter_folder, leave_folder)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
