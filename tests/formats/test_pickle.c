/* SPDX-License-Identifier: Apache-2.0
 * test_pickle.c - the pickle reader: what is on its list, that nothing else is, and the type of each operand. */
#include "test.h"

#include "base/buf.h"
#include "base/os.h"
#include "formats/pickle.h"

typedef struct reading { fy_arena a; fy_pickle p; ferry_error e; fy_status s; } reading;

static reading parse(const void *data, size_t n) {
    reading r = {0};
    r.s = fy_pickle_parse(&r.p, &r.a, data, n, &r.e);
    return r;
}
static void done(reading *r) {
    if (!r->s) fy_pickle_free(&r->p);
    fy_arena_free(&r->a);
}
/* Text with embedded zeros: sizeof keeps them. */
#define PARSE(text) parse(text, sizeof(text) - 1)

static void plain_data(void **state) {
    (void)state;
    reading r = PARSE("\x80\x02}q\x00(X\x01\x00\x00\x00"
                      "aq\x01K\x05X\x01\x00\x00\x00"
                      "bq\x02]q\x03(J\xff\xff\xff\xffM\x00\x01\x8a\x05\x00\x00\x00\x00\x01G?\xf8\x00\x00\x00\x00\x00\x00\x88\x89Neu.");
    assert_ok(r.s, r.e);
    const fy_pickled *b = fy_pickled_get(r.p.root, "b");
    assert_int_equal(fy_pickled_get(r.p.root, "a")->i, 5);
    assert_int_equal(b->item.n, 7);
    assert_int_equal(b->item.at[0]->i, -1);
    assert_int_equal(b->item.at[1]->i, 256);
    assert_true(b->item.at[2]->i == (int64_t)1 << 32);
    assert_true(b->item.at[3]->f == 1.5);
    assert_true(b->item.at[4]->kind == FY_PK_BOOL && b->item.at[4]->i == 1);
    assert_int_equal(b->item.at[6]->kind, FY_PK_NONE);
    done(&r);
    r = PARSE("\x80\x02(K\x01K\x02K\x03K\x04tq\x00h\x00\x86\x86.");          /* TUPLE2 needs two operands */
    assert_int_equal(r.s, FY_E_PICKLE);
    done(&r);
    r = PARSE("\x80\x02(K\x01K\x02K\x03K\x04tq\x00h\x00\x86.");
    assert_ok(r.s, r.e);
    assert_ptr_equal(r.p.root->item.at[0], r.p.root->item.at[1]);
    done(&r);
}

static void tensors(void **state) {
    (void)state;
    reading r = PARSE("\x80\x02"
                      "ctorch._utils\n_rebuild_tensor_v2\nq\x00((X\x07\x00\x00\x00storageq\x01"
                      "ctorch\nFloatStorage\nq\x02X\x01\x00\x00\x00"
                      "0q\x03X\x03\x00\x00\x00"
                      "cpuq\x04K\x06tq\x05QK\x02K\x02K\x01\x86q\x06K\x01K\x02\x86q\x07\x89"
                      "ccollections\nOrderedDict\nq\x08)Rq\x09tq\x0aRq\x0b.");
    assert_ok(r.s, r.e);
    const fy_pickled *t = r.p.root;
    assert_int_equal(t->kind, FY_PK_TENSOR);
    assert_int_equal(t->dtype, FERRY_FLOAT);
    assert_int_equal(t->i, 2);
    assert_int_equal(t->rank, 2);
    assert_true(t->dim[0] == 2 && t->dim[1] == 1 && t->stride[0] == 1 && t->stride[1] == 2);
    assert_string_equal(t->storage->s, "0");
    assert_int_equal(t->storage->i, 6);
    done(&r);
}

static void refused_by_name(void **state) {
    (void)state;
    static const struct { const char *at; size_t n; const char *word; } bad[] = {
#define BAD(text, word) { text, sizeof(text) - 1, word }
        BAD("\x80\x02" "cos\nsystem\nX\x02\x00\x00\x00ls\x85R.", "os.system"),
        BAD("\x80\x02" "cbuiltins\neval\n.", "builtins.eval"),
        BAD("\x80\x02" "c__main__\nNet\n)\x81.", "__main__.Net"),
        BAD("\x80\x02" "ctorch.nn.modules.conv\nConv2d\n.", "Conv2d"),
        BAD("\x80\x02ios\nsystem\n.", "0x69"),                              /* INST */
        BAD("\x80\x02(os\n.", "0x6f"),                                      /* OBJ */
        BAD("\x80\x02)\x81.", "0x81"),                                      /* NEWOBJ */
        BAD("\x80\x04N.", "protocol 4"),
        BAD("\x80\x02\x93.", "0x93"),                                       /* STACK_GLOBAL */
        BAD("\x80\x02S'x'\n.", "0x53"),
        BAD("\x80\x02\x82\x01.", "0x82"),                                   /* EXT1 */
#undef BAD
    };
    for (int i = 0; i < FY_COUNT(bad); i++) {
        reading r = parse(bad[i].at, bad[i].n);
        assert_int_equal(r.s, FY_E_PICKLE);
        if (!strstr(r.e.text, bad[i].word)) fail_msg("%d: %s", i, r.e.text);
        done(&r);
    }
}

static void wrong_types_and_shapes(void **state) {
    (void)state;
    static const struct { const char *at; size_t n; fy_code code;
    } bad[] = {
#define BAD(text, code) { text, sizeof(text) - 1, FY_E_##code }
        BAD("", TRUNCATED),
        BAD("\x80", TRUNCATED),
        BAD("\x80\x02", TRUNCATED),
        BAD("\x80\x02.", PICKLE),
        BAD("\x80\x02NN.", PICKLE),
        BAD("\x80\x02(.", PICKLE),
        BAD("\x80\x02N.N", PICKLE),
        BAD("\x80\x02]K\x01K\x02s.", PICKLE),
        BAD("\x80\x02]N(K\x01K\x02u.", PICKLE),
        BAD("\x80\x02}K\x01"
            "a.",
            PICKLE),
        BAD("\x80\x02}(K\x01"
            "e.",
            PICKLE),
        BAD("\x80\x02}(K\x01u.", PICKLE),
        BAD("\x80\x02NNb.", PICKLE),
        BAD("\x80\x02h\x00.", PICKLE),
        BAD("\x80\x02Nq\x01.", PICKLE),
        BAD("\x80\x02Nr\xff\xff\xff\xff.", PICKLE),
        BAD("\x80\x02q\x00.", PICKLE),
        BAD("\x80\x02NQ.", PICKLE),
        BAD("\x80\x02N)R.", PICKLE),
        BAD("\x80\x02t.", PICKLE),
        BAD("\x80\x02X\xff\xff\xff\xff.", TRUNCATED),
        BAD("\x80\x02\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01.", PICKLE),
        BAD("\x80\x02"
            "ctorch\nSize\nNR.",
            PICKLE),
        BAD("\x80\x02"
            "ctorch._utils\n_rebuild_tensor_v2\n)R.",
            PICKLE),
        BAD("\x80\x02"
            "ccollections\nOrderedDict\nN\x85R.",
            PICKLE),
        BAD("\x80\x02"
            "ctorch\nFloatStorage\n)R.",
            PICKLE),
        BAD("\x80\x02"
            "ctorch",
            TRUNCATED),
        BAD("\x80\x02\x87.", PICKLE),
        BAD("\x80\x02(\x85.", PICKLE),
        BAD("\x80\x02a.", PICKLE),
        BAD("\x80\x02"
            "e.",
            PICKLE),
        BAD("\x80\x02(e.", PICKLE),
        BAD("\x80\x02(u.", PICKLE),
        BAD("\x80\x02R.", PICKLE),
#undef BAD
    };
    for (int i = 0; i < FY_COUNT(bad); i++) {
        reading r = parse(bad[i].at, bad[i].n);
        if (r.s != (fy_status)bad[i].code) fail_msg("case %d: %s (%s)", i, fy_code_get(r.s)->name, r.e.text);
        done(&r);
    }
}

static void stack_is_bounded(void **state) {
    (void)state;
    size_t n = 1000000;
    char *p = fy_malloc(n, 1);
    memset(p, '(', n);
    p[0] = (char)0x80; p[1] = 2;
    reading r = parse(p, n);
    assert_int_equal(r.s, FY_E_LIMIT);
    done(&r);
    fy_free(p);
}

/* Random programs of known opcodes: refused or parsed, never a crash or a leak. */
static void random_programs(void **state) {
    (void)state;
    static const char *const pieces[] = {"N",
                                         "K\x07",
                                         "(",
                                         "t",
                                         ")",
                                         "]",
                                         "}",
                                         "q\x01",
                                         "h\x01",
                                         "s",
                                         "u",
                                         "a",
                                         "e",
                                         "R",
                                         "b",
                                         "Q",
                                         "\x85",
                                         "\x86",
                                         "\x87",
                                         "X\x01\x01\x01\x01",
                                         "\x88",
                                         "ctorch\nFloatStorage\n",
                                         "ctorch._utils\n_rebuild_tensor_v2\n",
                                         "ccollections\nOrderedDict\n",
                                         "ctorch\nSize\n",
                                         "U\001a",
                                         "."};
    uint64_t seed = 3;
    size_t before = fy_os_bytes();
    for (int round = 0; round < 20000; round++) {
        char text[400] = "\x80\x02Nq";
        size_t n = 5;                    /* the memo's slot 0 */
        int steps = (int)(seed >> 40) % 40;
        for (int k = 0; k < steps; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            const char *s = pieces[(seed >> 33) % (uint64_t)FY_COUNT(pieces)];
            if (n + strlen(s) + 1 > sizeof text) break;
            memcpy(text + n, s, strlen(s));
            n += strlen(s);
        }
        text[n++] = '.';
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        reading r = parse(text, n);
        done(&r);
    }
    assert_int_equal(fy_os_bytes(), before);
}

static void views_stay_inside(void **state) {
    (void)state;
    fy_arena a = {0};
    const fy_const *c;
    static const float data[12] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 };
    static const struct { int rank; int64_t dim[3], stride[3], offset; fy_status s;
    } cases[] = {
        {2, {3, 4}, {4, 1}, 0, FY_OK},
        {2, {4, 3}, {1, 4}, 0, FY_OK},
        {2, {2, 4}, {4, 1}, 4, FY_OK},
        {0, {0}, {0}, 11, FY_OK},
        {1, {100}, {0}, 0, FY_OK},
        {2, {0, 9}, {9, 1}, 5000, FY_OK},
        {2, {3, 4}, {4, 1}, 1, FY_E_CORRUPT},
        {1, {13}, {1}, 0, FY_E_CORRUPT},
        {1, {2}, {12}, 0, FY_E_CORRUPT},
        {1, {2}, {-1}, 1, FY_E_CORRUPT},
        {0, {0}, {0}, 12, FY_E_CORRUPT},
        {0, {0}, {0}, -1, FY_E_CORRUPT},
        {1, {-1}, {1}, 0, FY_E_LIMIT},
        {2, {2, 2}, {INT64_MAX, INT64_MAX}, 0, FY_E_CORRUPT},
        {2, {(int64_t)1 << 40, (int64_t)1 << 40}, {0, 0}, 0, FY_E_LIMIT},
        {1, {2}, {1}, INT64_MAX, FY_E_CORRUPT},
    };
    for (int i = 0; i < FY_COUNT(cases); i++) {
        ferry_error e = {0};
        fy_status s =
            fy_view_const(&c, &a, FERRY_FLOAT, cases[i].rank, cases[i].dim, cases[i].stride, cases[i].offset, data, sizeof data, "w", &e);
        if (s != cases[i].s) fail_msg("case %d: %s %s", i, fy_code_get(s)->name, e.text);
        double v;
        if (!s && c->count) { assert_true(fy_const_f64(c, c->count - 1, &v)); assert_true(v >= 0 && v <= 11); }
    }
    fy_arena_free(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(plain_data),       cmocka_unit_test(tensors),
                                       cmocka_unit_test(refused_by_name),  cmocka_unit_test(wrong_types_and_shapes),
                                       cmocka_unit_test(stack_is_bounded), cmocka_unit_test(random_programs),
                                       cmocka_unit_test(views_stay_inside)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
