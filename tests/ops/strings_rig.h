/* SPDX-License-Identifier: Apache-2.0
 * strings_rig.h - string tensors for operator tests: made from literals, compared with literals. */
#ifndef FY_TEST_STRINGS_RIG_H
#define FY_TEST_STRINGS_RIG_H

#include "infer_property.h"

/* RIG_S(2, "a", "b"): a vector; the elements live in the caller's block. */
static inline fy_str rig_str(const char *s) { return (fy_str){s, strlen(s)}; }
static inline fy_tensor rig_strings(int rank, const int64_t *dim, const fy_str *s) { return fy_tensor_view(FERRY_STRING, rank, dim, s); }

static inline void rig_texts(const fy_tensor *t, int rank, const int64_t *dim, const char *const *want) {
    assert_int_equal(t->dtype, FERRY_STRING);
    assert_int_equal(t->rank, rank);
    for (int a = 0; a < rank; a++) assert_int_equal(t->dim[a], dim[a]);
    for (int64_t i = 0; i < fy_count(t); i++) {
        const fy_str *s = (const fy_str *)t->data + i;
        if (s->n != strlen(want[i]) || (s->n && memcmp(s->at, want[i], s->n))) fail_msg("element %lld is \"%.*s\", not \"%s\"", (long long)i, (int)s->n, s->n ? s->at : "", want[i]);
    }
}
#define RIG_T(...) (const char *[]){__VA_ARGS__}

static inline fy_attr rig_attr_texts(const char *name, int64_t n, const fy_str *s) { return (fy_attr){.name = name, .kind = FY_ATTR_STRINGS, .n = n, .strings = s}; }

#endif
