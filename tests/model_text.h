/* SPDX-License-Identifier: Apache-2.0
 * model_text.h - a model written as text, at the canonical opset: "(float[n,4] x) => (y) { y = Neg (x) }". */
#ifndef TESTS_MODEL_TEXT_H
#define TESTS_MODEL_TEXT_H

#include "test.h"

#include "opset/opset.h"
#include "ops/ops.h"

/* Weights made of sines: folded to constants when the model is compiled. */
#define WEIGHTS(name, count, dims) \
    name "_s = Constant <value_ints = [" dims "]> () " name "_0 = Constant <value = float {0}> () " name "_n = Constant <value = float {" count "}> () " name "_1 = Constant <value = float {1}> () " \
    name "_r = Range (" name "_0, " name "_n, " name "_1) " name "_f = Sin (" name "_r) " name " = Reshape (" name "_f, " name "_s) "

static inline fy_model *parsed(const char *body) {
    fy_model   *m = NULL;
    ferry_error e;
    fy_buf      text = {0};
    fy_buf_fmt(&text, "<ir_version: 10, opset_import: [\"\" : %d, \"com.microsoft\" : 1]>\nmain %s", FY_CANONICAL_OPSET, body);
    if (fy_model_parse(&m, text.at, text.n, fy_registry_builtin(), &e)) fail_msg("%s in %s", e.text, body);
    fy_buf_free(&text);
    return m;
}

/* With the types of all its values. */
static inline fy_model *model_of(const char *body) {
    ferry_error e;
    fy_model   *m = parsed(body);
    if (fy_infer_model(m, &e) || fy_model_verify(m, &e)) fail_msg("%s in %s", e.text, body);
    return m;
}

#endif
