/* SPDX-License-Identifier: Apache-2.0
 * test_packed.c - packed weights that come from a file give the bits that packing gives; a file that is damaged, short, foreign or of another model,
 * option or instruction set is never used; what cannot be written is no failure; writers at the same time do not hurt each other. */
#include "model_text.h"

#include "base/file.h"
#include "engines/engine.h"
#include "formats/onnx.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utime.h>

#define HOME FERRY_BINARY_DIR "/packed"
#define CACHE HOME "/cache"
#define FILE_OF HOME "/m.onnx"

/* ---- a model of everything that is packed ------------------------------------------------------------------------------------ */

static int salt;                         /* another one changes one weight */

static void weight(fy_buf *t, const char *type, const char *name, int n) {
    fy_buf_fmt(t, "%s%s %s = {", t->at[t->n - 1] == '<' ? "" : ", ", type, name);
    for (int i = 0; i < n; i++) fy_buf_fmt(t, "%s%.5f", i ? ", " : "", sin(i * 1.3 + n) / 4 + (salt && i == 77 ? 0.5 : 0));
    fy_buf_char(t, '}');
}

/* First, Winograd, pointwise, depthwise convolutions, products both ways round, a recurrent net. */
static fy_model *model(void) {
    fy_buf t = {0};
    fy_buf_str(&t, "(float[n,3,20,20] x, float[5,n,24] q) => (float[n,17] z, float[5,1,n,16] r) <");
    weight(&t, "float[32,3,3,3]", "w0", 864);
    weight(&t, "float[32,32,3,3]", "w1", 9216);
    weight(&t, "float[40,32,1,1]", "w2", 1280);
    weight(&t, "float[40,1,3,3]", "w3", 360);
    weight(&t, "float[40,70]", "w4", 2800);
    weight(&t, "float[17,70]", "w5", 1190);
    weight(&t, "float[1,64,24]", "lw", 1536);
    weight(&t, "float[1,64,16]", "lr", 1024);
    fy_buf_str(&t, "> { a = Conv <pads = [1,1,1,1]> (x, w0) b = Conv <pads = [1,1,1,1]> (a, w1) c = Relu (b) d = Conv (c, w2) e = Conv <group = 40, pads = [1,1,1,1]> (d, w3)"
                   " f = GlobalAveragePool (e) g = Flatten (f) y = MatMul (g, w4) z = Gemm <transB = 1> (y, w5) r, h, s = LSTM <hidden_size = 16> (q, lw, lr) }");
    fy_model *m = model_of(t.at);
    fy_buf_free(&t);
    return m;
}

/* ---- running it --------------------------------------------------------------------------------------------------------------- */

typedef struct result { fy_packed_state state; char why[300]; float z[2 * 17], r[5 * 2 * 16]; } result;

static void fill(fy_rval *in, int rank, const int64_t *dim) {
    ferry_error e;
    in->kind = FY_TENSOR;
    assert_ok(fy_tensor_new(&in->t, FERRY_FLOAT, rank, dim, &e), e);
    for (int64_t i = 0; i < fy_count(&in->t); i++) ((float *)in->t.data)[i] = (float)sin((double)i * 0.7);
}

static result run_model(const fy_model *m, fy_engine_options o) {
    const fy_engine *engine = fy_engine_find("ferry");
    fy_compiled *c;
    fy_session *s;
    ferry_error e;
    result got = {0};
    fy_rval in[2] = {{0}}, out[2] = {{0}}, *at[2] = {&in[0], &in[1]};
    o.threads = o.threads ? o.threads : 2;
    assert_ok(engine->compile(&c, m, &o, &e), e);
    got.state = engine->plan(c)->packed.state;
    memcpy(got.why, engine->plan(c)->packed.why, sizeof got.why);
    assert_ok(engine->session(&s, c, &e), e);
    fill(&in[0], 4, (int64_t[]){2, 3, 20, 20});
    fill(&in[1], 3, (int64_t[]){5, 2, 24});
    assert_ok(engine->run(s, at, out, &e), e);
    memcpy(got.z, out[0].t.data, sizeof got.z);
    memcpy(got.r, out[1].t.data, sizeof got.r);
    for (int i = 0; i < 2; i++) { fy_rval_free(&in[i]); fy_rval_free(&out[i]); }
    engine->session_free(s);
    engine->compiled_free(c);
    return got;
}

static result run(fy_engine_options o) {
    fy_model *m = model();
    result r = run_model(m, o);
    fy_model_free(m);
    return r;
}

static void same(const result *a, const result *b) {
    assert_memory_equal(a->z, b->z, sizeof a->z);
    assert_memory_equal(a->r, b->r, sizeof a->r);
}

/* ---- the folder ---------------------------------------------------------------------------------------------------------------- */

/* Files whose name ends so; the path of the last one. */
static int files(const char *end, char *path) {
    int n = 0;
    DIR *d = opendir(CACHE);
    for (struct dirent *f; d && (f = readdir(d));) {
        size_t length = strlen(f->d_name), ends = strlen(end);
        if (f->d_name[0] == '.' || length < ends || strcmp(f->d_name + length - ends, end)) continue;
        n++;
        if (path) snprintf(path, 1000, CACHE "/%s", f->d_name);
    }
    if (d) closedir(d);
    return n;
}

static void empty(void) {
    char path[1000];
    (void)mkdir(HOME, 0777);
    (void)chmod(CACHE, 0777);
    while (files("", path)) assert_int_equal(unlink(path), 0);
    (void)rmdir(CACHE);
    salt = 0;
}

static char *slurp(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *text = malloc(8 << 20);
    assert_non_null(text);
    *n = fread(text, 1, 8 << 20, f);
    fclose(f);
    return text;
}

static void spill(const char *path, const char *text, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    fclose(f);
}

/* ---- tests --------------------------------------------------------------------------------------------------------------------- */

static void test_round_trip(void **state) {
    (void)state;
    empty();
    result none = run((fy_engine_options){.cache = ""}), made = run((fy_engine_options){.cache = CACHE}), used = run((fy_engine_options){.cache = CACHE, .threads = 1});
    assert_int_equal(none.state, FY_PACKED_OFF);
    assert_int_equal(made.state, FY_PACKED_MADE);
    assert_int_equal(used.state, FY_PACKED_USED);
    same(&none, &made);
    same(&none, &used);
    assert_int_equal(files("", NULL), 1);
    setenv("FERRY_CACHE", CACHE, 1);
    assert_int_equal(run((fy_engine_options){0}).state, FY_PACKED_USED);
    assert_int_equal(run((fy_engine_options){.cache = ""}).state, FY_PACKED_OFF);
    unsetenv("FERRY_CACHE");
}

/* One weight, the option that chooses algorithms, less memory: each its own file. */
static void test_others(void **state) {
    (void)state;
    empty();
    result first = run((fy_engine_options){.cache = CACHE});
    salt = 1;
    result plain = run((fy_engine_options){.cache = ""}), other = run((fy_engine_options){.cache = CACHE}), again = run((fy_engine_options){.cache = CACHE});
    assert_int_equal(other.state, FY_PACKED_MADE);
    assert_int_equal(again.state, FY_PACKED_USED);
    same(&plain, &other);
    same(&plain, &again);
    assert_memory_not_equal(first.z, other.z, sizeof first.z);
    salt = 0;
    assert_int_equal(run((fy_engine_options){.cache = CACHE, .exact = true}).state, FY_PACKED_MADE);
    assert_int_equal(files(".packed", NULL), 3);
    result back = run((fy_engine_options){.cache = CACHE});
    assert_int_equal(back.state, FY_PACKED_USED);
    same(&first, &back);
}

static void test_isa(void **state) {
    (void)state;
    static const char *const isa[] = {"generic", "avx2", "avx512"};
    empty();
    for (int i = 0; i < FY_COUNT(isa); i++) {                /* which one is used is found out once in a process */
        int status = 1;
        pid_t child = fork();
        if (!child) {
            setenv("FERRY_CPU", isa[i], 1);
            result plain = run((fy_engine_options){.cache = ""}), a = run((fy_engine_options){.cache = CACHE}), b = run((fy_engine_options){.cache = CACHE});
            _exit(memcmp(plain.z, a.z, sizeof plain.z) || memcmp(plain.z, b.z, sizeof plain.z) || b.state != FY_PACKED_USED);
        }
        assert_true(child > 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
    assert_true(files(".packed", NULL) >= 1);
}

/* Each byte of the head and table changed, bytes elsewhere, every kind of cut: the same numbers, and a good file afterwards. */
static void test_damage(void **state) {
    (void)state;
    empty();
    char path[1000];
    size_t n;
    result good = run((fy_engine_options){.cache = CACHE});
    assert_int_equal(files(".packed", path), 1);
    char *text = slurp(path, &n);
    uint64_t parts;
    memcpy(&parts, text + 32, sizeof parts);
    size_t head = 80 + 16 * (size_t)parts, tried = 0;
    for (size_t i = 0; i < n; i += i < head ? 1 : 1 + n / 150) {
        if (i >= head) while (i < n && !text[i]) i++;       /* not the gaps between parts: nobody reads them */
        if (i >= n) break;
        text[i] = (char)(text[i] ^ (1 << i % 8));
        spill(path, text, n);
        result r = run((fy_engine_options){.cache = CACHE});
        text[i] = (char)(text[i] ^ (1 << i % 8));
        same(&good, &r);
        if (r.state != FY_PACKED_MADE) fail_msg("byte %zu was changed, and the file was used", i);
        tried++;
    }
    assert_true(tried > head);
    const size_t cuts[] = {0, 1, 7, 79, 80, head - 1, head, 65536, n / 2, n - 1, n + 1, n + 100000};
    text[n] = 1;
    for (int i = 0; i < FY_COUNT(cuts); i++) {
        spill(path, text, cuts[i]);
        result r = run((fy_engine_options){.cache = CACHE});
        same(&good, &r);
        assert_int_equal(r.state, FY_PACKED_MADE);
    }
    size_t now;
    char *again = slurp(path, &now);
    assert_int_equal(now, n);
    assert_memory_equal(again, text, n);
    free(again);
    free(text);
}

/* A folder, a pipe or nothing where the file should be; a folder that is a file, is read only, or whose parent is missing. */
static void test_no_place(void **state) {
    (void)state;
    empty();
    char path[1000];
    result good = run((fy_engine_options){.cache = CACHE}), r;
    assert_int_equal(files(".packed", path), 1);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0777), 0);
    r = run((fy_engine_options){.cache = CACHE});
    same(&good, &r);
    assert_int_equal(r.state, FY_PACKED_FAILED);
    assert_true(*r.why);
    assert_int_equal(rmdir(path), 0);
    r = run((fy_engine_options){.cache = "/proc/no such place"});
    same(&good, &r);
    assert_int_equal(r.state, FY_PACKED_FAILED);
    spill(FILE_OF, "x", 1);
    r = run((fy_engine_options){.cache = FILE_OF});
    same(&good, &r);
    assert_int_equal(r.state, FY_PACKED_FAILED);
    if (geteuid()) {
        assert_int_equal(chmod(CACHE, 0555), 0);
        r = run((fy_engine_options){.cache = CACHE});
        same(&good, &r);
        assert_int_equal(r.state, FY_PACKED_FAILED);
        assert_int_equal(chmod(CACHE, 0777), 0);
    }
    assert_int_equal(files("", NULL), 0);
}

static void test_writers(void **state) {
    (void)state;
    result good = run((fy_engine_options){.cache = ""});
    for (int round = 0; round < 5; round++) {
        pid_t child[4];
        empty();
        for (int i = 0; i < 4; i++)
            if (!(child[i] = fork())) {
                int bad = 0;
                for (int k = 0; k < 3; k++) {
                    result r = run((fy_engine_options){.cache = CACHE, .threads = 1});
                    bad |= memcmp(&good.z, &r.z, sizeof r.z) || memcmp(&good.r, &r.r, sizeof r.r) || r.state == FY_PACKED_FAILED || (k && r.state != FY_PACKED_USED);
                }
                _exit(bad);
            }
        for (int i = 0; i < 4; i++) {
            int status = 1;
            assert_int_equal(waitpid(child[i], &status, 0), child[i]);
            assert_int_equal(status, 0);
        }
        assert_int_equal(files("", NULL), 1);
    }
}

/* A model at rest is known by where it lies; as soon as it is written to, or another takes its place, its contents count. */
static result run_file(void) {
    ferry_error e;
    fy_model *m;
    assert_ok(fy_onnx_read(&m, FILE_OF, fy_registry_builtin(), &e), e);
    assert_ok(fy_opset_raise(m, &e), e);
    assert_ok(fy_infer_model(m, &e), e);
    result r = run_model(m, (fy_engine_options){.cache = CACHE});
    fy_model_free(m);
    return r;
}

static void write_model(void) {
    ferry_error e;
    fy_model *m = model();
    assert_ok(fy_model_name_all(m, &e), e);
    assert_ok(fy_onnx_write(m, FILE_OF, &(fy_onnx_options){0}, &e), e);
    fy_model_free(m);
}

static void test_known(void **state) {
    (void)state;
    empty();
    write_model();
    result first = run_file(), second = run_file();
    assert_int_equal(first.state, FY_PACKED_MADE);
    assert_int_equal(second.state, FY_PACKED_USED);
    same(&first, &second);
    assert_int_equal(files(".known", NULL), 0);              /* written this minute */
    struct utimbuf old = {1000000000, 1000000000};
    assert_int_equal(utime(FILE_OF, &old), 0);               /* its own times say little: the system's does not move back */
    (void)run_file();
    assert_int_equal(files(".known", NULL), 0);
    salt = 1;
    write_model();
    assert_int_equal(utime(FILE_OF, &old), 0);
    result other = run_file();
    assert_int_equal(other.state, FY_PACKED_MADE);
    salt = 1;
    result plain = run((fy_engine_options){.cache = ""});
    same(&plain, &other);
}

/* The repository's own files have been at rest. */
static fy_packed_state state_of(const char *path) {
    ferry_error e;
    fy_model *m;
    fy_compiled *c;
    const fy_engine *engine = fy_engine_find("ferry");
    assert_ok(fy_onnx_read(&m, path, fy_registry_builtin(), &e), e);
    assert_ok(fy_opset_raise(m, &e), e);
    assert_ok(fy_infer_model(m, &e), e);
    assert_ok(engine->compile(&c, m, &(fy_engine_options){.threads = 1, .cache = CACHE}, &e), e);
    fy_packed_state s = engine->plan(c)->packed.state;
    engine->compiled_free(c);
    fy_model_free(m);
    return s;
}

static void test_at_rest(void **state) {
    (void)state;
    static const char path[] = FERRY_FIXTURES "/onnx/mlp.onnx";
    char file[1000];
    fy_os_info info;
    size_t n;
    empty();
    assert_int_equal(fy_os_stat_path(path, true, &info), 0);
    if (fy_os_time_ns() - info.ctime_ns < (int64_t)61 * 1000000000) skip();
    assert_int_equal(state_of(path), FY_PACKED_MADE);
    sleep(3);
    assert_int_equal(state_of(path), FY_PACKED_USED);
    assert_int_equal(files(".known", file), 1);
    assert_int_equal(state_of(path), FY_PACKED_USED);
    char *text = slurp(file, &n);
    for (size_t i = 0; i < n; i++) {                         /* damaged, it says nothing */
        text[i] ^= 1;
        spill(file, text, n);
        assert_int_equal(state_of(path), FY_PACKED_USED);
        text[i] ^= 1;
    }
    free(text);
    assert_int_equal(state_of(path), FY_PACKED_USED);
    assert_int_equal(files(".packed", file), 1);
    text = slurp(file, &n);
    text[n - 1] ^= 1;
    spill(file, text, n);                                    /* no longer the file that was found good */
    free(text);
    assert_int_equal(state_of(path), FY_PACKED_MADE);
    assert_int_equal(state_of(path), FY_PACKED_USED);
}

/* ---- little memory --------------------------------------------------------------------------------------------------------------- */

/* Matrices so large that they are read where they are, both ways round, with columns left over; a table that is copied from, also by a node whose sizes
 * only contents tell. `name` is as long as it takes to have them at any byte of the file. */
static fy_model *large_model(const char *name) {
    ferry_error e;
    fy_model *m;
    fy_buf t = {0};
    fy_buf_str(&t, "(float[n,520] x, int64[n] i) => (float[n,520] z, float[n,3] g, float[p,3] h) <");
    weight(&t, "float[520,517]", "w0", 520 * 517);
    weight(&t, "float[520,517]", "w1", 520 * 517);
    weight(&t, "float[9,3]", "table", 27);
    weight(&t, "float[9,3]", "other", 27);
    fy_buf_fmt(&t, "> { y = MatMul (x, w0) %s = Tanh (y) z = Gemm <transB = 1> (%s, w1) g = Gather (table, i) c = NonZero (i) s = Squeeze (c) h = Gather (other, s) }", name, name);
    m = model_of(t.at);
    fy_buf_free(&t);
    assert_ok(fy_model_name_all(m, &e), e);
    assert_ok(fy_onnx_write(m, FILE_OF, &(fy_onnx_options){0}, &e), e);
    fy_model_free(m);
    assert_ok(fy_onnx_read(&m, FILE_OF, fy_registry_builtin(), &e), e);
    assert_ok(fy_opset_raise(m, &e), e);
    assert_ok(fy_infer_model(m, &e), e);
    return m;
}

static void run_large(const fy_model *m, bool low, int threads, int64_t rows, fy_rval out[3]) {
    const fy_engine *engine = fy_engine_find("ferry");
    fy_compiled *c;
    fy_session *s;
    ferry_error e;
    fy_rval in[2] = {{0}}, *at[2] = {&in[0], &in[1]};
    assert_ok(engine->compile(&c, m, &(fy_engine_options){.threads = threads, .low_memory = low, .cache = ""}, &e), e);
    assert_int_equal(engine->plan(c)->packed.parts.n, low ? 0 : 2);
    assert_ok(engine->session(&s, c, &e), e);
    fill(&in[0], 2, (int64_t[]){rows, 520});
    in[1].kind = FY_TENSOR;
    assert_ok(fy_tensor_new(&in[1].t, FERRY_INT64, 1, &rows, &e), e);
    for (int64_t i = 0; i < rows; i++) ((int64_t *)in[1].t.data)[i] = i % 3;
    assert_ok(engine->run(s, at, out, &e), e);
    for (int i = 0; i < 2; i++) fy_rval_free(&in[i]);
    engine->session_free(s);
    engine->compiled_free(c);
}

static void test_low(void **state) {
    (void)state;
    static const char *const names[] = {"a", "aa", "aaa", "aaaa"};
    salt = 0;
    for (int n = 0; n < FY_COUNT(names); n++) {
        fy_model *m = large_model(names[n]);
        for (int64_t rows = 1; rows < 9; rows += 3)
            for (int threads = 1; threads <= 3; threads++) {
                fy_rval a[3] = {{0}}, b[3] = {{0}};
                run_large(m, false, threads, rows, a);
                run_large(m, true, threads, rows, b);
                for (int i = 0; i < 3; i++) {
                    assert_true(fy_same_dims(&a[i].t, &b[i].t));
                    assert_memory_equal(a[i].t.data, b[i].t.data, (size_t)fy_count(&a[i].t) * sizeof(float));
                    fy_rval_free(&a[i]);
                    fy_rval_free(&b[i]);
                }
            }
        fy_model_free(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_others), cmocka_unit_test(test_isa), cmocka_unit_test(test_damage),
        cmocka_unit_test(test_no_place), cmocka_unit_test(test_writers), cmocka_unit_test(test_known),
        cmocka_unit_test(test_at_rest), cmocka_unit_test(test_low),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
