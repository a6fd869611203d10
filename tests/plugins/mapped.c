/* SPDX-License-Identifier: Apache-2.0
 * mapped.c - a plugin with what it takes to export and to run tests/fixtures/pt2/custom/custom.pt2: mappings, and the kernel of the node that one
 * of them makes. com.mylib.Shifts(x, weight): x rolled by `by` along both axes, times weight; and the sums of the rows of x. */
#include <ferry/plugin.h>

FERRY_PLUGIN_MAPPINGS("mylib::soft(Tensor x, float k=2.0) -> (y) { a = Mul (x, k) b = Softplus (a) y = Div (b, k) }\n"
                      "mylib::shifts(Tensor x, int[] by, Tensor? weight=None) -> com.mylib.Shifts(x, weight) {by = by, mode = \"wrap\", version = 1}\n")

static int infer(const ferry_plugin_api *f, ferry_node *n) {
    if (f->set_like(n, 0, 0) || f->set_type(n, 1, f->dtype(n, 0), 1)) return 1;
    return f->set_dim_like(n, 1, 0, 0, 0);
}

static int run(const ferry_plugin_api *f, ferry_node *n) {
    ferry_tensor x, w, y, s;
    const int64_t *by;
    size_t count = 0;
    if (f->input(n, 0, &x) || f->input(n, 1, &w) || f->output(n, 0, &y) || f->output(n, 1, &s)) return 1;
    f->attr_ints(n, "by", &by, &count);
    if (count != 2) return f->fail(n, "ATTR", "by has two entries");
    int64_t rows = x.dim[0], cols = x.dim[1];
    const float *from = x.data, *weight = w.data;
    float *to = y.data, *sum = s.data;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) {
            int64_t c = (j + by[1]) % cols;
            to[(i + by[0]) % rows * cols + c] = from[i * cols + j] * (weight ? weight[c] : 1.0f);
            sum[i] += from[i * cols + j];
        }
    return 0;
}

FERRY_PLUGIN(api, registry, error) {
    static const ferry_attr attrs[] = {{"by", FERRY_ATTR_INTS, FERRY_REQUIRED, "turns of each axis"}, {"mode", FERRY_ATTR_STRING, "wrap", ""}, {"version", FERRY_ATTR_INT, "1", ""}};
    static const ferry_op op = {sizeof op, FERRY_OP_PURE, "com.mylib", "Shifts", "x rolled, and the sums of its rows", attrs, 3, 1, 2, 2, 2, "T=f32|T,T|T,T", infer, run, 0};
    return api->add(registry, &op, error);
}
