/* SPDX-License-Identifier: Apache-2.0
 * test_weights.c - files of weights: every kind gives the same; headers that lie, pickles that would run code. */
#include "test.h"

#include "base/buf.h"
#include "base/os.h"
#include "formats/pickle.h"
#include "formats/weights.h"

#include <stdlib.h>
#include <unistd.h>

#define FILES FERRY_FIXTURES "/weights/"

static void open_ok(fy_weights *w, const char *path, const char *section) {
    ferry_error e = {0};
    if (fy_weights_open(w, path, section, &e)) fail_msg("%s: %s", path, e.text);
}

/* Is each weight of a in b, the same? */
static void within(const fy_weights *a, const fy_weights *b) {
    for (int64_t i = 0; i < a->at.n; i++) {
        const fy_weight *y = fy_weights_find(b, a->at.at[i].name);
        ferry_error e;
        fy_tensor p = {0}, q = {0};
        if (!y) fail_msg("%s is missing", a->at.at[i].name);
        assert_ok(fy_const_tensor(&p, a->at.at[i].data, &e), e);
        assert_ok(fy_const_tensor(&q, y->data, &e), e);
        assert_int_equal(p.dtype, q.dtype);
        assert_int_equal(p.rank, q.rank);
        if (p.rank) assert_memory_equal(p.dim, q.dim, (size_t)p.rank * sizeof *p.dim);
        if (fy_count(&p)) assert_memory_equal(p.data, q.data, fy_dtype_bytes(p.dtype, fy_count(&p)));
        fy_tensor_free(&p);
        fy_tensor_free(&q);
    }
}

static void equal(const fy_weights *a, const fy_weights *b) {
    assert_int_equal(a->at.n, b->at.n);
    within(a, b);
}

/* A state_dict, a legacy one, modules pickled whole, and what is written from them: one set of weights. */
static void same_in_every_kind(void **state) {
    (void)state;
    static const char *const files[] = {"net_legacy.pth", "net_module.pt", "net_module_legacy.pt"};
    fy_weights a, b;
    ferry_error e;
    open_ok(&a, FILES "net.pth", NULL);
    assert_int_equal(a.at.n, 13);
    assert_string_equal(a.at.at[fy_weights_find(&a, "head.weight")->tied].name, "emb.weight");
    for (int i = 0; i < FY_COUNT(files); i++) {
        char path[300];
        snprintf(path, sizeof path, "%s%s", FILES, files[i]);
        open_ok(&b, path, NULL);
        equal(&a, &b);
        assert_int_equal(fy_weights_find(&b, "head.weight")->tied, fy_weights_find(&b, "emb.weight") - b.at.at);
        if (i) assert_non_null(strstr(b.section.at[0].type, "Net"));
        fy_weights_free(&b);
    }
    for (int once = 0; once < 2; once++) {
        int64_t bytes[2];
        assert_ok(fy_safetensors_write(&a, "w1.safetensors", once, &bytes[0], &e), e);
        open_ok(&b, "w1.safetensors", NULL);
        equal(&a, &b);
        assert_ok(fy_safetensors_write(&b, "w2.safetensors", once, &bytes[1], &e), e);
        if (once) assert_int_equal(b.file.at[0]->n, bytes[0]);
        fy_weights_free(&b);
    }
    fy_weights_free(&a);
    unlink("w1.safetensors");
    unlink("w2.safetensors");
}

static void dtypes_and_layouts(void **state) {
    (void)state;
    fy_weights w, back;
    ferry_error e;
    double v[6];
    open_ok(&w, FILES "every.pth", NULL);
    const fy_weight *t = fy_weights_find(&w, "part");
    assert_int_equal(t->data->rank, 2);
    for (int i = 0; i < 6; i++) {
        assert_true(fy_const_f64(t->data, i, &v[i]));
        assert_true(v[i] == (double)(6 + i / 3 * 6 + 2 + i % 3));
    }
    t = fy_weights_find(&w, "t");
    assert_true(t->data->dim[0] == 6 && fy_const_f64(t->data, 1, &v[0]) && v[0] == 6);
    assert_int_equal(fy_weights_find(&w, "none")->data->count, 0);
    assert_int_equal(fy_weights_find(&w, "float8_e4m3fn")->data->dtype, FERRY_FLOAT8E4M3FN);
    assert_int_equal(fy_weights_find(&w, "scalar")->data->rank, 0);
    assert_ok(fy_safetensors_write(&w, "every.safetensors", false, NULL, &e), e);
    open_ok(&back, "every.safetensors", NULL);
    equal(&w, &back);
    fy_weights_free(&back);
    open_ok(&back, FILES "every_legacy.pth", NULL);
    assert_int_equal(back.at.n, 17);
    within(&back, &w);
    fy_weights_free(&back);
    fy_weights_free(&w);
    unlink("every.safetensors");
}

static void sections(void **state) {
    (void)state;
    fy_weights w;
    ferry_error e = {0};
    open_ok(&w, FILES "tuned.pth", NULL);
    assert_string_equal(w.section.at[0].path, "model");
    assert_non_null(fy_weights_find(&w, "module.fc.bias"));
    assert_int_equal(w.section.n, 2);
    bool epoch = false;
    for (int64_t i = 0; i < w.meta.n; i++) epoch |= !strcmp(w.meta.at[i].key, "epoch") && !strcmp(w.meta.at[i].val, "3");
    assert_true(epoch);
    fy_weights_free(&w);
    open_ok(&w, FILES "tuned.pth", "ema.state_dict");
    assert_non_null(fy_weights_find(&w, "fc.bias"));
    fy_weights_free(&w);
    assert_int_equal(fy_weights_open(&w, FILES "tuned.pth", "ema.state_dicts", &e), FY_E_NAME);
    assert_non_null(strstr(e.text, "ema.state_dict'?"));
}

/* ---- headers that lie -------------------------------------------------------------------------------------------------------- */

static fy_status header(const char *json, size_t body, uint64_t length, ferry_error *e) {
    size_t n = strlen(json);
    unsigned char *p = calloc(1, 8 + n + body);
    assert_non_null(p);
    for (int i = 0; i < 8; i++) p[i] = (unsigned char)((length ? length : n) >> 8 * i);
    memcpy(p + 8, json, n);
    fy_weights w = {0};
    memset(e, 0, sizeof *e);
    fy_status s = fy_safetensors_read(&w, p, 8 + n + body, e);
    fy_weights_free(&w);
    free(p);
    return s;
}

static void hostile_headers(void **state) {
    (void)state;
    static const struct { const char *json; size_t body; uint64_t length; fy_status want; const char *word; } bad[] = {
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12, 0, FY_E_CORRUPT, "b begins inside a"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, 0, FY_E_CORRUPT, "begins inside"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}", 16, 0, FY_E_CORRUPT, "twice"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12, 0, FY_E_CORRUPT, "belong to no tensor"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 12, 0, FY_E_CORRUPT, "behind its tensors"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4, 0, FY_E_CORRUPT, "reaches from"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, 0, FY_E_CORRUPT, "reaches from"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", 8, 0, FY_E_CORRUPT, "reaches from"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, 0, FY_E_CORRUPT, "its shape needs 12"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,8]}}", 8, 0, FY_E_LIMIT, "too large"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,8]}}", 8, 0, FY_E_CORRUPT, "whole number"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, 0, FY_E_LIMIT, "dimensions"},
        {"{\"a\":{\"dtype\":\"Q7\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, 0, FY_E_UNSUPPORTED, "Q7"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", 8, 0, FY_E_CORRUPT, "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, 0, FY_E_CORRUPT, "shape"},
        {"{\"a\\u0000b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, 0, FY_E_CORRUPT, "zero byte"},
        {"{\"__metadata__\":{\"a\":1}}", 0, 0, FY_E_CORRUPT, "no text"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, 0, FY_E_CORRUPT, "twice"},
        {"[1,2]", 0, 0, FY_E_CORRUPT, "no JSON object"},
        {"{}", 0, 1000, FY_E_TRUNCATED, "only 2 more"},
        {"{}", 0, UINT64_MAX, FY_E_LIMIT, "at most"},
        {"{}", 0, (uint64_t)1 << 62, FY_E_LIMIT, "at most"},
    };
    ferry_error e;
    for (int i = 0; i < FY_COUNT(bad); i++) {
        fy_status s = header(bad[i].json, bad[i].body, bad[i].length, &e);
        if (s != bad[i].want || !strstr(e.text, bad[i].word)) fail_msg("%s: %s, %s", bad[i].json, fy_code_get(s)->name, e.text);
    }
    assert_int_equal(header("{}", 0, 0, &e), FY_OK);
    fy_buf deep = {0};
    for (int i = 0; i < 100000; i++) fy_buf_str(&deep, "{\"a\":");
    assert_int_equal(header(deep.at, 0, 0, &e), FY_E_LIMIT);
    fy_buf_free(&deep);
}

/* ---- pickles ------------------------------------------------------------------------------------------------------------------- */

static fy_status objects(const char *data, size_t n, ferry_error *e) {
    fy_arena a = {0};
    fy_pickle p;
    memset(e, 0, sizeof *e);
    fy_status s = fy_pickle_parse_objects(&p, &a, data, n, NULL, e);
    if (!s) fy_pickle_free(&p);
    fy_arena_free(&a);
    return s;
}

static void code_is_refused_by_name(void **state) {
    (void)state;
    static const struct { const char *at; size_t n; const char *word; } bad[] = {
#define BAD(text, word) {text, sizeof(text) - 1, word}
        BAD("\x80\x02" "cos\nsystem\nX\x02\x00\x00\x00ls\x85R.", "os.system"),
        BAD("\x80\x02" "cposix\nsystem\n.", "posix.system"),
        BAD("\x80\x02" "cbuiltins\neval\n.", "builtins.eval"),
        BAD("\x80\x02" "c__builtin__\ngetattr\n.", "__builtin__.getattr"),
        BAD("\x80\x02" "csubprocess\nPopen\n)\x81.", "subprocess.Popen"),
        BAD("\x80\x02" "cos.path\njoin\n.", "os.path.join"),
        BAD("\x80\x02" "ctorch.storage\n_load_from_bytes\n.", "torch.storage._load_from_bytes"),
        BAD("\x80\x02" "cmypackage.models\nmake\n)R.", "mypackage.models.make"),
        BAD("\x80\x02" "cnumpy\nload\n)R.", "numpy.load"),
        BAD("\x80\x02ios\nsystem\n.", "0x69"),
        BAD("\x80\x02(os\n.", "0x6f"),
        BAD("\x80\x02K\x01)\x81.", "not a class"),
        BAD("\x80\x02" "cx\ny\nK\x01\x81.", "not a class"),
    };
    ferry_error e;
    for (int i = 0; i < FY_COUNT(bad); i++)
        if (objects(bad[i].at, bad[i].n, &e) != FY_E_PICKLE || !strstr(e.text, bad[i].word)) fail_msg("%d: %s", i, e.text);
    static const char good[] = "\x80\x02" "cargparse\nNamespace\nq\x00)\x81}X\x01\x00\x00\x00" "aK\x01sb.";
    assert_int_equal(objects(good, sizeof good - 1, &e), FY_OK);
    assert_string_equal(e.text, "");
}

/* Dicts within dicts, each twice in the next: a few hundred bytes that stand for 2^60 places. */
static void shared_containers(void **state) {
    (void)state;
    fy_buf b = {0};
    fy_arena a = {0};
    fy_weights w = {0};
    ferry_error e = {0};
    static const unsigned char magic[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.\x80\x02";
    fy_buf_add(&b, magic, sizeof magic - 1);
    fy_buf_str(&b, "}X");
    fy_buf_add(&b, "\x01\x00\x00\x00z(}q\x00", 9);
    for (int i = 0; i < 60; i++) {
        fy_buf_add(&b, "}(X\x01\x00\x00\x00", 7);
        fy_buf_fmt(&b, "ah%cX%c%c%c%cbh%cu", i, 1, 0, 0, 0, i);
        fy_buf_fmt(&b, "q%c", i + 1);
    }
    fy_buf_str(&b, "tsX");
    fy_buf_add(&b, "\x01\x00\x00\x00rh\x3cs.", 9);
    fy_buf_add(&b, "\x80\x02].", 4);
    /* the memo holds every level: the walk has to stop by itself */
    fy_status s = fy_checkpoint_read(&w, (const unsigned char *)b.at, b.n, NULL, &e);
    if (s != FY_E_LIMIT) fail_msg("%s", e.text);
    fy_weights_free(&w);
    fy_buf_free(&b);
    fy_arena_free(&a);
}

static void cut_and_bent(void **state) {
    (void)state;
    static const char *const files[] = {"net.pth", "net_legacy.pth", "net_module.pt"};
    for (int i = 0; i < FY_COUNT(files); i++) {
        char path[300];
        fy_map_file f;
        ferry_error e;
        snprintf(path, sizeof path, "%s%s", FILES, files[i]);
        assert_ok(fy_file_open(&f, path, &e), e);
        for (size_t n = 0; n < f.n; n += n < 900 ? 1 : 97) {
            fy_weights w = {0};
            if (fy_checkpoint_read(&w, f.at, n, NULL, &e) == FY_OK) fail_msg("%s: read although cut at %zu", files[i], n);
            fy_weights_free(&w);
        }
        fy_file_close(&f);
    }
}

static void out_of_memory(void **state) {
    (void)state;
    static const char *const files[] = {"tuned.pth", "net_legacy.pth", "net_module.pt"};
    ferry_error e;
    for (int i = 0; i < FY_COUNT(files); i++) {
        char path[300];
        snprintf(path, sizeof path, "%s%s", FILES, files[i]);
        for (int64_t k = 0;; k++) {
            fy_weights w;
            fy_os_fail_at(k, false);
            fy_status s = fy_weights_open(&w, path, NULL, &e);
            bool ended = fy_os_calls() <= k;
            fy_os_fail_at(-1, false);
            if (!s) fy_weights_free(&w);
            if (ended) break;
        }
    }
    fy_weights w;
    open_ok(&w, FILES "net.pth", NULL);
    for (int64_t k = 0;; k++) {
        fy_os_fail_at(k, false);
        fy_status s = fy_safetensors_write(&w, "oom.safetensors", false, NULL, &e);
        bool ended = fy_os_calls() <= k;
        fy_os_fail_at(-1, false);
        if (s) assert_true(access("oom.safetensors", F_OK) != 0 || strstr(e.text, "flushed"));
        else unlink("oom.safetensors");
        unlink("oom.safetensors");
        if (ended) break;
    }
    fy_weights_free(&w);
}

static void an_index(void **state) {
    (void)state;
    fy_weights w, half, back;
    ferry_error e = {0};
    open_ok(&w, FILES "net.pth", NULL);
    fy_buf json = {0};
    fy_buf_str(&json, "{\"metadata\":{},\"weight_map\":{");
    for (int part = 0; part < 2; part++) {
        half = (fy_weights){0};
        for (int64_t i = part; i < w.at.n; i += 2) {
            assert_ok(fy_weights_add(&half, w.at.at[i].name, w.at.at[i].data, &e), e);
            fy_buf_fmt(&json, "%s\"%s\":\"p%d.safetensors\"", i ? "," : "", w.at.at[i].name, part);
        }
        assert_ok(fy_safetensors_write(&half, part ? "p1.safetensors" : "p0.safetensors", false, NULL, &e), e);
        fy_weights_free(&half);
    }
    fy_buf_str(&json, "}}");
    FILE *f = fopen("m.safetensors.index.json", "w");
    assert_non_null(f);
    fputs(json.at, f);
    fclose(f);
    open_ok(&back, "m.safetensors.index.json", NULL);
    equal(&w, &back);
    fy_weights_free(&back);
    static const struct { const char *json, *word; } bad[] = {
        {"{\"weight_map\":{\"a\":\"../p0.safetensors\"}}", "lie beside it"},
        {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "lie beside it"},
        {"{\"weight_map\":{\"a\":\"..\"}}", "lie beside it"},
        {"{\"weight_map\":{\"a\":\"p9.safetensors\"}}", "p9"},
        {"{\"weight_map\":{\"nothing\":\"p0.safetensors\"}}", "does not have it"},
        {"{\"weight_map\":{\"a\":5}}", "no file name"},
        {"{\"weights\":{}}", "weight_map"},
    };
    for (int i = 0; i < FY_COUNT(bad); i++) {
        f = fopen("m.safetensors.index.json", "w");
        assert_non_null(f);
        fputs(bad[i].json, f);
        fclose(f);
        assert_int_not_equal(fy_weights_open(&back, "m.safetensors.index.json", NULL, &e), FY_OK);
        if (!strstr(e.text, bad[i].word)) fail_msg("%s: %s", bad[i].json, e.text);
    }
    unlink("m.safetensors.index.json");
    unlink("p0.safetensors");
    unlink("p1.safetensors");
    fy_buf_free(&json);
    fy_weights_free(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_in_every_kind), cmocka_unit_test(dtypes_and_layouts), cmocka_unit_test(sections), cmocka_unit_test(hostile_headers),
        cmocka_unit_test(code_is_refused_by_name), cmocka_unit_test(shared_containers), cmocka_unit_test(cut_and_bent), cmocka_unit_test(out_of_memory), cmocka_unit_test(an_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
