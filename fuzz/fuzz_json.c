/* SPDX-License-Identifier: Apache-2.0
 * fuzz_json.c - any text as JSON; what was understood is written and read again. */
#include "fuzz.h"

#include "formats/json.h"

static const char *const files[] = {NULL};
static const char *const texts[] = {
    "{\"a\": [1, -2, 3.5e-7, true, false, null, \"x\\n\\u00e9\\ud83d\\ude00\"], \"b\": {\"c\": [], \"d\": {}}, \"big\": 9223372036854775807, \"low\": -9223372036854775808}",
    "[[[[1, 2], [3]], \"deep\"], 18446744073709551615, 1e309, Infinity, -Infinity, NaN, 0.1, -0.0, \"\"]",
    "{\"graph_module\": {\"graph\": {\"inputs\": [{\"as_tensor\": {\"name\": \"x\"}}], \"nodes\": [{\"target\": \"torch.ops.aten.add.Tensor\", \"inputs\": []}]}}, \"k\": \"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}",
    " \n{\"dup\": 1, \"dup\": 2}\n",
    NULL};
static const char *const words[] = {"\\u0000", "\\ud800", "\\udc00", "\\u", "\\x", "\xEF\xBB\xBF", "\xED\xA0\x80", "\xC0\x80", "\xF5", "NaN", "-Infinity", "nul", "tru", "//", "/* */", ",,", "1e", NULL};
const fy_fuzz fy_target = {"json", FY_G_JSON, files, texts, words, (size_t)64 << 20};

/* The tree is walked without recursion through a bounded stack: the parser promises a depth of at most 256. */
static void write_again(fy_buf *out, const fy_json *j) {
    const fy_json *stack[300];
    int depth = 0;
    fy_jsonw w = {.out = out, .first = true};
    stack[0] = j;
    while (depth >= 0) {
        const fy_json *n = stack[depth];
        if (!n) {
            if (depth-- == 0) break;
            const fy_json *up = stack[depth];
            if (up->kind == FY_JSON_OBJECT) fy_jsonw_end_object(&w); else fy_jsonw_end_array(&w);
            stack[depth] = depth ? up->next : NULL;
            if (!depth) break;
            continue;
        }
        if (depth == 299) fy_fuzz_fault("deeper than the limit");
        const char *key = depth && stack[depth - 1]->kind == FY_JSON_OBJECT ? n->key : NULL;
        char name[64];
        if (key) { size_t k = n->nkey < 63 ? n->nkey : 63; for (size_t i = 0; i < k; i++) name[i] = key[i]; name[k] = 0; key = name; }
        if (n->kind == FY_JSON_OBJECT || n->kind == FY_JSON_ARRAY) {
            if (n->kind == FY_JSON_OBJECT) fy_jsonw_object(&w, key); else fy_jsonw_array(&w, key);
            stack[++depth] = n->child;
            continue;
        }
        if (n->kind == FY_JSON_INT) fy_jsonw_int(&w, key, n->i);
        else if (n->kind == FY_JSON_NUMBER) fy_jsonw_num(&w, key, n->f);
        else if (n->kind == FY_JSON_BOOL) fy_jsonw_bool(&w, key, n->b);
        else if (n->kind == FY_JSON_NULL) fy_jsonw_null(&w, key);
        else {
            char text[64];
            size_t k = n->n < 63 ? n->n : 63;
            for (size_t i = 0; i < k; i++) text[i] = n->s[i];
            text[k] = 0;
            fy_jsonw_str(&w, key, text);
        }
        if (!depth) break;
        stack[depth] = n->next;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ferry_error e;
    fy_arena a = {0};
    const fy_json *j, *again;
    if (fy_json_parse(&j, &a, (const char *)data, size, &e) == FY_OK) {
        fy_reached[0]++;
        fy_buf out = {0};
        write_again(&out, j);
        if (!out.oom && fy_json_parse(&again, &a, out.at ? out.at : "", out.n, &e) != FY_OK) fy_fuzz_fault("what the writer wrote is no JSON for the parser");
        fy_buf_free(&out);
    }
    fy_arena_free(&a);
    return 0;
}
