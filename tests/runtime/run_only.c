/* SPDX-License-Identifier: Apache-2.0
 * run_only.c - a program on libferry-run alone: it runs a model, and refuses one with Gradient, which it names the way out of. */
#include "ferry/run.h"

#include <stdio.h>
#include <string.h>

static int fails(const char *what, const ferry_error *e) {
    (void)fprintf(stderr, "%s: kind %d, %s, help: %s\n", what, (int)e->kind, e->text, e->help);
    return 1;
}

int main(void) {
    ferry_error e = {0};
    float x[2 * 3 * 3] = {0}, sum = 0;
    ferry_model *m = ferry_open(FERRY_FIXTURES "/onnx/mlp.onnx", "threads=1", &e);
    ferry_session *s = m ? ferry_session_new(m, &e) : NULL;
    ferry_tensor in = ferry_f32(x, 3, (int64_t[]){2, 3, 3}), out = {0};
    if (!s || ferry_run(s, &in, 1, &out, 1, &e)) return fails("mlp.onnx", &e);
    for (int i = 0; i < 4; i++) sum += ((const float *)out.data)[i];         /* a row of Softmax */
    if (out.dim[0] != 2 || out.dim[1] != 3 || out.dim[2] != 4 || sum < 0.999f || sum > 1.001f) return fails("mlp.onnx: wrong result", &e);
    ferry_session_free(s);
    ferry_close(m);
    memset(&e, 0, sizeof e);
    m = ferry_open(FERRY_FIXTURES "/onnx/gradient.onnx", NULL, &e);
    if (m || !strstr(e.text, "Gradient") || !strstr(e.help, "ferry optimize")) return fails("gradient.onnx", &e);
    return 0;
}
