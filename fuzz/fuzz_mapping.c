/* SPDX-License-Identifier: Apache-2.0
 * fuzz_mapping.c - any text as mappings of custom operators (aten/mapping.h). */
#include "fuzz.h"

#include "aten/mapping.h"

static const char *const files[] = {"pt2/custom/custom.map", NULL};
static const char *const texts[] = {"a::b(Tensor x, int[2] k=[1, 2], float f=1e-5, str s=\"x\", bool t=True) -> c.d.E(x, _, k) {k = k, f = -1.5e3, s = s, n = 7} # end",
                                    "a::b.out(Tensor x, *, Tensor? y=None) -> (p, q) { p = If (x) <then_branch = g () => (u) { u = Neg (x) }> q = Relu (y) }",
                                    "a::c(Tensor x) -> (p) { # a } in a comment\n p = StringNormalizer <stopwords = [\"#\", \"}\"]> (x) }", "a::d(Tensor x) -> (p) { p = Neg (x) # }", NULL};
static const char *const words[] = {"->", "::", "{", "}", "(", ")", "#", "\"", "=", ",", "Tensor", "int[]", "Relu", "com.mylib.X", NULL};
const fy_fuzz fy_target = {"mapping", FY_G_TEXT, files, texts, words, (size_t)64 << 20};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ferry_error e;
    fy_mappings m = {0};
    if (fy_mappings_add(&m, "text", (const char *)data, size, fy_registry_builtin(), &e) == FY_OK) fy_reached[0] += m.at.n > 0;
    for (int64_t i = 0; i < m.at.n; i++) {
        if (fy_mapping_of(&m, m.at.at[i].schema->name) != &m.at.at[i]) fy_fuzz_fault("a mapping is not found by its own name");
        fy_reached[1] += m.at.at[i].body != NULL;
    }
    fy_mappings_free(&m);
    return 0;
}
