/* SPDX-License-Identifier: Apache-2.0
 * TorchScript archives: what the code may say, what is refused, and that every refusal names its place. Archives are written here. */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "aten/typer.h"
#include "formats/torchscript.h"

/* ---- an archive in memory: stored entries --------------------------------------------------------------------------------- */

typedef struct out { unsigned char at[1 << 16]; size_t n; } out;

static void bytes(out *o, const void *p, size_t n) {
    assert_true(o->n + n < sizeof o->at);
    memcpy(o->at + o->n, p, n);
    o->n += n;
}
static void le(out *o, uint64_t v, int n) {
    for (int i = 0; i < n; i++, v >>= 8) bytes(o, &(unsigned char){(unsigned char)v}, 1);
}
static uint32_t crc32_of(const unsigned char *p, size_t n) {
    uint32_t c = ~0U;
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int k = 0; k < 8; k++) c = c >> 1 ^ (c & 1 ? 0xEDB88320U : 0);
    }
    return ~c;
}
static void entry(out *o, out *dir, const char *name, const void *p, size_t n) {
    uint32_t crc = crc32_of(p, n), at = (uint32_t)o->n;
    le(o, 0x04034b50, 4); le(o, 10, 2); le(o, 0, 2); le(o, 0, 2); le(o, 0, 4); le(o, crc, 4); le(o, n, 4); le(o, n, 4); le(o, strlen(name), 2); le(o, 0, 2);
    bytes(o, name, strlen(name));
    bytes(o, p, n);
    le(dir, 0x02014b50, 4); le(dir, 10, 2); le(dir, 10, 2); le(dir, 0, 2); le(dir, 0, 2); le(dir, 0, 4); le(dir, crc, 4); le(dir, n, 4); le(dir, n, 4);
    le(dir, strlen(name), 2); le(dir, 0, 2); le(dir, 0, 2); le(dir, 0, 2); le(dir, 0, 2); le(dir, 0, 4); le(dir, at, 4);
    bytes(dir, name, strlen(name));
}

static const char module[] = "\x80\x02"
                             "c__torch__\nM\n)\x81}(X\x08\x00\x00\x00trainingK\x01ub.";

static void archive(out *o, const char *code, const void *pkl, size_t n) {
    static out dir;
    o->n = dir.n = 0;
    entry(o, &dir, "m/data.pkl", pkl, n);
    entry(o, &dir, "m/code/__torch__.py", code, strlen(code));
    entry(o, &dir, "m/constants.pkl", "\x80\x02).", 4);
    entry(o, &dir, "m/version", "3\n", 2);
    uint32_t at = (uint32_t)o->n;
    bytes(o, dir.at, dir.n);
    le(o, 0x06054b50, 4); le(o, 0, 2); le(o, 0, 2); le(o, 4, 2); le(o, 4, 2); le(o, dir.n, 4); le(o, at, 4); le(o, 0, 2);
}

static fy_status make_typer(void *ctx, fy_ts_typer *t, fy_program *p, ferry_error *e) {
    fy_typer **made = ctx;
    FY_TRY(fy_typer_new(made, p, NULL, e));
    *t = (fy_ts_typer){*made, fy_typer_node, fy_typer_value, fy_typer_missing};
    return FY_OK;
}

static fy_status read_pickle(fy_program **p, const char *code, const void *pkl, size_t n, ferry_error *e) {
    static out o;
    static const fy_ts_input in = {.name = "x", .is_tensor = true, .rank = 2, .dim = {2, 3}, .symbol = {"batch"}};
    fy_typer *t = NULL;
    archive(&o, code, pkl, n);
    unsigned char *exact = malloc(o.n);                      /* of its own size, so that a sanitizer sees one byte too far */
    memcpy(exact, o.at, o.n);
    fy_status s = fy_ts_read_memory(p, exact, o.n, "m.pt", &(fy_ts_options){.ninput = 1, .input = &in, .typer = make_typer, .ctx = &t}, e);
    fy_typer_free(t);
    if (!s) fy_program_free(*p);
    free(exact);
    return s;
}

static fy_status read(const char *body, ferry_error *e) {
    char code[40000];
    fy_program *p;
    snprintf(code, sizeof code, "class M(Module):\n  training : bool\n%s", body);
    return read_pickle(&p, code, module, sizeof module - 1, e);
}

#define FORWARD "  def forward(self: __torch__.M,\n    x: Tensor) -> Tensor:\n"

static bool mentions(const ferry_error *e, const char *word) {
    if (strstr(e->text, word)) return true;
    for (int i = 0; i < e->nframes; i++)
        if (strstr(e->frame[i], word)) return true;
    return false;
}

/* ---- what is read ------------------------------------------------------------------------------------------------------------ */

static void good(void **state) {
    (void)state;
    static const char *const body[] = {
        FORWARD "    return torch.mul(x, 2)\n",
        FORWARD "    a, b, = (x, [1, 2, 3])\n    n = torch.len(b)\n    return torch.add(x, b[torch.sub(n, 1)])\n",
        FORWARD "    l = annotate(List[Tensor], [])\n    for i in range(3):\n      _0 = torch.append(l, torch.mul(x, i))\n    return torch.stack(l, 0)\n",
        FORWARD "    if torch.gt(torch.size(x, 0), 0):\n      y = x\n    else:\n      ops.prim.RaiseException(\"empty\")\n      y = uninitialized(Tensor)\n    return y\n",
        FORWARD "    if bool(torch.gt(torch.sum(x), 0)):\n      y, k = x, 1\n    else:\n      y, k = torch.neg(x), 2\n    return torch.mul(y, k)\n",
        FORWARD "    i = 0\n    y = x\n    _0 = bool(torch.lt(torch.sum(y), 100.))\n    while _0:\n      y0 = torch.mul(y, 2)\n      i0 = torch.add(i, 1)\n      _0, y, i = bool(torch.lt(torch.sum(y0), 100.)), y0, i0\n    return torch.add(y, i)\n",
        FORWARD "    d = {\"a\": x, \"b\": torch.neg(x)}\n    k = torch.keys(d)\n    s = torch.format(\"{} and {}\", k, torch.size(x))\n    if torch.eq(torch.len(k), 2):\n      pass\n    else:\n      ops.prim.RaiseException(s)\n    return d[\"b\"]\n",
        FORWARD "    h = torch.view(x, [torch.size(x, 0), -1])\n    n = ops.prim.NumToTensor(torch.size(h, 1))\n    m = torch.floor_divide(torch.mul(n, n), n)\n    return torch.reshape(h, [-1, int(m)])\n",
        /* version 3: div of integers drops the fraction, full of an integer gives floats */
        FORWARD "    a = torch.div(torch.to(x, 4), 2)\n    b = torch.full([2], 1)\n    c = torch.linspace(0, 1, None)\n    d = torch.div(x, 2)\n"
                "    if torch.__and__(torch.__and__(torch.eq(ops.prim.dtype(a), 4), torch.eq(ops.prim.dtype(b), 6)), torch.__and__(torch.eq(torch.size(c, 0), 100), torch.eq(ops.prim.dtype(d), 6))):\n"
                "      pass\n    else:\n      ops.prim.RaiseException(\"as in newer versions\")\n    return d\n",
        FORWARD "    return (self).twice(x, )\n  def twice(self: __torch__.M,\n    y: Tensor,\n    by: float=2.) -> Tensor:\n    return torch.mul(y, by)\n",
    };
    for (int i = 0; i < FY_COUNT(body); i++) {
        ferry_error e = {0};
        fy_status s = read(body[i], &e);
        if (s) print_error("case %d: %s: %s\n", i, e.code, e.text);
        assert_int_equal(s, FY_OK);
    }
}

/* ---- what is refused ----------------------------------------------------------------------------------------------------------- */

static void refused(void **state) {
    (void)state;
    static const struct { const char *body, *code, *word; } bad[] = {
        {FORWARD "    return (self).forward(x, )\n", "LIMIT", "calls itself"},
        {FORWARD "    while True:\n      pass\n    return x\n", "LIMIT", "steps"},
        {FORWARD "    for i in range(9000000000):\n      pass\n    return x\n", "LIMIT", "9000000000"},
        {FORWARD "    l = torch.mul([1, 2, 3, 4], 900000000)\n    return x\n", "LIMIT", ""},
        {FORWARD "    s = \"aaaaaaaaaaaaaaaa\"\n    for i in range(60):\n      s = torch.add(s, s)\n    return x\n", "LIMIT", "__torch__.py"},
        {FORWARD "    l = [x]\n    for i in range(60):\n      l = torch.add(l, l)\n    return x\n", "LIMIT", "list"},
        {FORWARD "    for i in range(90000):\n      for j in range(90000):\n        pass\n    return x\n", "LIMIT", "steps"},
        {FORWARD "    y = x\n    for i in range(99999):\n      for j in range(9):\n        y = torch.neg(y)\n    return y\n", "LIMIT", ""},
        {FORWARD "    return y\n", "CORRUPT", "'y' is read before it is set"},
        {FORWARD "    return torch.add(x, torch.dim(torch.no_such_thing(x)))\n", "ATEN", "no_such_thing"},
        {FORWARD "    return self.weight\n", "CORRUPT", "weight"},
        {FORWARD "    return CONSTANTS.c7\n", "CORRUPT", "CONSTANTS.c7"},
        {FORWARD "    return __torch__.os.system(\"ls\")\n", "CORRUPT", "__torch__.os.system"},
        {FORWARD "    import os\n    return x\n", "CORRUPT", "__torch__.py:5"},
        {FORWARD "    return eval(\"1\")\n", "CORRUPT", "eval"},
        {FORWARD "    ops.prim.RaiseException(\"as it pleases\")\n    return x\n", "VALUE", "as it pleases"},
        {FORWARD "    return torch.add(x, 1 / 2)\n", "CORRUPT", "'/'"},
        {FORWARD "    return [1, 2][5]\n", "INDEX", ""},
        {FORWARD "    return torch.div(1, 0)\n", "VALUE", "divides"},
        {FORWARD "    return torch.view(x, [7, 7])\n", NULL, "torch.py"},
        {FORWARD "  return x\n", "CORRUPT", "block"},
        {FORWARD "    return \"unended\n", "CORRUPT", "string"},
        {"  def backward(self: __torch__.M) -> Tensor:\n    return 1\n", "UNSUPPORTED", "forward"},
    };
    for (int i = 0; i < FY_COUNT(bad); i++) {
        ferry_error e = {0};
        fy_status s = read(bad[i].body, &e);
        if (!s || (bad[i].code && strcmp(e.code, bad[i].code)) || (bad[i].code && !mentions(&e, bad[i].word))) {
            print_error("case %d: %s: %s\n", i, e.code, e.text);
            for (int k = 0; k < e.nframes; k++) print_error("  %s\n", e.frame[k]);
        }
        assert_int_not_equal(s, FY_OK);
        if (!bad[i].code) continue;
        assert_string_equal(e.code, bad[i].code);
        assert_true(mentions(&e, bad[i].word));
    }
}

/* What a script cannot say of its values, a trace can: the error tells. */
static void remedy(void **state) {
    (void)state;
    ferry_error e = {0};
    assert_int_not_equal(read(FORWARD "    if bool(torch.gt(torch.sum(x), 0)):\n      y = x\n    else:\n      y = torch.unsqueeze(x, 0)\n    return torch.neg(y)\n", &e), FY_OK);
    assert_string_equal(e.code, "UNSUPPORTED");
    assert_non_null(strstr(e.text, "its rank differs"));
    assert_non_null(strstr(e.help, "torch.jit.trace"));
}

/* Brackets, blocks and calls as deep as a file likes: an error, not the end of the stack. */
static void deep(void **state) {
    (void)state;
    static char body[39000];
    ferry_error e = {0};
    size_t n = (size_t)snprintf(body, sizeof body, FORWARD "    return ");
    memset(body + n, '(', 30000);
    memcpy(body + n + 30000, "x\n", sizeof "x\n");
    assert_int_not_equal(read(body, &e), FY_OK);
    assert_string_equal(e.code, "LIMIT");
    n = (size_t)snprintf(body, sizeof body, FORWARD);
    for (int i = 0; i < 150; i++) n += (size_t)snprintf(body + n, sizeof body - n, "%*sif True:\n", 4 + i, "");
    snprintf(body + n, sizeof body - n, "%*spass\n    return x\n", 160, "");
    assert_int_not_equal(read(body, &e), FY_OK);
    assert_string_equal(e.code, "LIMIT");
    n = (size_t)snprintf(body, sizeof body, FORWARD "    return (self).f0(x, )\n");
    for (int i = 0; i < 200; i++) n += (size_t)snprintf(body + n, sizeof body - n, "  def f%d(self: __torch__.M,\n    x: Tensor) -> Tensor:\n    return (self).f%d(x, )\n", i, i + 1);
    assert_int_not_equal(read(body, &e), FY_OK);
    assert_string_equal(e.code, "LIMIT");
    n = (size_t)snprintf(body, sizeof body, FORWARD);
    for (int i = 0; i < 40; i++) n += (size_t)snprintf(body + n, sizeof body - n, "%*sif bool(torch.gt(torch.sum(x), %d)):\n", 4 + i, "", i);
    snprintf(body + n, sizeof body - n, "%*spass\n    return x\n", 60, "");
    assert_int_not_equal(read(body, &e), FY_OK);
    assert_string_equal(e.code, "LIMIT");
}

/* Names that only Python could call are refused by name; nothing is run. */
static void pickles(void **state) {
    (void)state;
    static const struct { const char *pkl; size_t n; const char *word; } bad[] = {
#define P(s, w) {s, sizeof s - 1, w}
        P("\x80\x02" "cos\nsystem\nX\x02\x00\x00\x00ls\x85R.", "os.system"),
        P("\x80\x02" "cbuiltins\neval\n)\x81.", "builtins.eval"),
        P("\x80\x02" "c__torch__\nM\n)\x81}b}b.", "second time"),
        P("\x80\x02" "c__torch__\nM\n)R.", "calls"),
        P("\x80\x02" "c__torch__evil\nM\n)\x81.", "__torch__evil"),
        P("\x80\x02" "ccollections\nOrderedDict\n)\x81.", "not of a class"),
        P("\x80\x02" "c__torch__\nM\nK\x01\x85\x81.", "not of a class"),
        P("\x80\x02K\x01.", "no module"),
        P("\x80\x02" "c__torch__\nN\n)\x81}b.", "__torch__.N"),
#undef P
    };
    for (int i = 0; i < FY_COUNT(bad); i++) {
        ferry_error e = {0};
        fy_program *p;
        fy_status s = read_pickle(&p, "class M(Module):\n" FORWARD "    return x\n", bad[i].pkl, bad[i].n, &e);
        if (!s || !mentions(&e, bad[i].word)) print_error("case %d: %s: %s\n", i, e.code, e.text);
        assert_int_not_equal(s, FY_OK);
        assert_true(mentions(&e, bad[i].word));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(good), cmocka_unit_test(refused), cmocka_unit_test(remedy), cmocka_unit_test(deep), cmocka_unit_test(pickles)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
