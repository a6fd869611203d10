// SPDX-License-Identifier: Apache-2.0
// regex_re2.cc - RE2 behind three C functions. RE2 runs in time linear in the text; its memory is bounded by max_mem (compiled program
// and automaton together: beyond it a pattern is refused, and matching falls back to the slower automaton), and it logs nothing.
#include "formats/regex_re2.h"

#include <re2/re2.h>
#include <stdio.h>

static const int64_t most_bytes = 16 << 20;

struct fy_re2 {
    fy_re2(const re2::StringPiece &pattern, const RE2::Options &options) : re(pattern, options) {}
    RE2 re;
};

fy_re2 *fy_re2_new(const char *pattern, size_t n, char *why, size_t nwhy) {
    why[0] = 0;
    try {
        RE2::Options options;
        options.set_log_errors(false);
        options.set_max_mem(most_bytes);
        fy_re2 *made = new fy_re2(re2::StringPiece(n ? pattern : "", n), options);
        if (made->re.ok()) return made;
        snprintf(why, nwhy, "%s", made->re.error().empty() ? "not valid" : made->re.error().c_str());
        delete made;
    } catch (...) {                      // std::bad_alloc: C has no exceptions
        why[0] = 0;
    }
    return nullptr;
}

int fy_re2_match(const fy_re2 *re, const char *text, size_t n) {
    try {
        return RE2::FullMatchN(re2::StringPiece(text, n), re->re, nullptr, 0) ? 1 : 0;
    } catch (...) {
        return -1;
    }
}

void fy_re2_free(fy_re2 *re) { delete re; }
