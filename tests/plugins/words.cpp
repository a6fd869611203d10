// SPDX-License-Identifier: Apache-2.0
// words.cpp - a plugin in C++: test.Words(text) -> (upper, length), the strings in capitals and how long they are.
#include <ferry/plugin.h>

#include <cctype>
#include <string>

namespace {

int infer(const ferry_plugin_api *f, ferry_node *n) {
    if (f->set_like(n, 0, 0)) return 1;
    if (f->set_type(n, 1, FERRY_INT64, f->rank(n, 0))) return 1;
    for (int32_t k = 0; k < f->rank(n, 0); k++)
        if (f->set_dim_like(n, 1, k, 0, k)) return 1;
    return 0;
}

int run(const ferry_plugin_api *f, ferry_node *n) {
    ferry_tensor x, length{};
    if (f->input(n, 0, &x) || (f->wants_output(n, 1) && f->output(n, 1, &length))) return 1;
    int64_t count = 1;
    for (int32_t k = 0; k < x.rank; k++) count *= x.dim[k];
    for (int64_t i = 0; i < count; i++) {
        const char *at = nullptr;
        size_t size = 0;
        if (f->get_string(n, 0, i, &at, &size)) return 1;
        std::string word(at, size);
        for (char &c : word) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
        if (f->put_string(n, 0, i, word.data(), word.size())) return 1;
        if (length.data) static_cast<int64_t *>(length.data)[i] = static_cast<int64_t>(size);
    }
    return 0;
}

}  // namespace

FERRY_PLUGIN(api, registry, error) {
    ferry_op op{};
    op.size = sizeof op;
    op.flags = FERRY_OP_PURE;
    op.domain = "test";
    op.name = "Words";
    op.min_in = op.max_in = op.min_out = 1;
    op.max_out = 2;
    op.types = "|str|str,i64";
    op.infer = infer;
    op.run = run;
    return api->add(registry, &op, error);
}
