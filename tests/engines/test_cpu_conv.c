/* SPDX-License-Identifier: Apache-2.0
 * test_cpu_conv.c - convolutions and pools of every form by our engine against the reference kernels: one to three spatial axes, transposed, in groups, dilated,
 * with weights that come with the run, with what follows them in the same step; windows that reach far beyond the input; batches of n. */
#include "engines/both.h"

typedef struct form { const char *op, *attrs; int rank, x[3], w[5], cin; } form;

static int64_t product(const int *v, int n) {
    int64_t p = 1;
    for (int i = 0; i < n; i++) p *= v[i];
    return p;
}

static void sizes(fy_buf *t, const int *v, int n) {
    for (int i = 0; i < n; i++) fy_buf_fmt(t, "%s%d", i ? "," : "", v[i]);
}

/* Weights are sines over a tenth of their number: folded to a constant when the model is compiled. */
static void wave(fy_buf *t, const char *name, const int *dim, int rank) {
    fy_buf_fmt(t, "%s_s = Constant <value_ints = [", name);
    sizes(t, dim, rank);
    fy_buf_fmt(t, "]> () %s_0 = Constant <value = float {0}> () %s_n = Constant <value = float {%lld}> () %s_1 = Constant <value = float {1}> () "
                  "%s_k = Constant <value = float {%g}> () %s_r = Range (%s_0, %s_n, %s_1) %s_f = Sin (%s_r) %s_g = Mul (%s_f, %s_k) %s = Reshape (%s_g, %s_s) ",
               name, name, (long long)product(dim, rank), name, name, 1.0 / (double)product(dim + 1, rank - 1), name, name, name, name, name, name, name, name, name, name, name, name);
}

/* y = after (op (x, w, b)); the weights constant, or inputs. */
static void convolve(const form *f, const char *after, bool given, const int64_t *n, int count) {
    fy_buf t = {0};
    int64_t bias = f->op[4] ? f->w[1] : f->w[0], group = 1;
    const char *g = strstr(f->attrs, "group = ");
    if (g) group = strtol(g + 8, NULL, 10);
    if (f->op[4]) bias *= group;
    fy_buf_fmt(&t, "(float[n,%d", f->cin);
    for (int i = 0; i < f->rank; i++) fy_buf_fmt(&t, ",%d", f->x[i]);
    fy_buf_str(&t, "] x");
    if (given) {
        fy_buf_str(&t, ", float[");
        sizes(&t, f->w, f->rank + 2);
        fy_buf_fmt(&t, "] v, float[%lld] b", (long long)bias);
    }
    fy_buf_str(&t, ") => (y) { ");
    if (given) fy_buf_fmt(&t, "k = Constant <value = float {%g}> () w = Mul (v, k) ", 1.0 / (double)product(f->w + 1, f->rank + 1));
    else {
        wave(&t, "w", f->w, f->rank + 2);
        wave(&t, "b", (int[]){(int)bias}, 1);
    }
    fy_buf_fmt(&t, "c = %s <%s> (x, w, b) %s }", f->op, f->attrs, after);
    both_at(t.at, n, count);
    fy_buf_free(&t);
}

static void every(const form *f, int count) {
    static const char *const after[] = {"y = Identity (c)", "y = Relu (c)", "r = Neg (c) y = Add (c, r)", "e = Sigmoid (c) y = Mul (c, e)"};
    for (int i = 0; i < count; i++) {
        convolve(&f[i], after[i % 4], false, (const int64_t[]){2, 1, 0}, 3);
        convolve(&f[i], after[(i + 1) % 4], true, (const int64_t[]){1, 3}, 2);
    }
    /* a residual that is there before, then an activation */
    for (int i = 0; i < count; i += 2) convolve(&f[i], "a = Abs (x) q = ReduceMean <keepdims = 0> (a) z = Shape (c) r = Expand (q, z) d = Add (c, r) y = Tanh (d)", false, (const int64_t[]){2}, 1);
}

static void test_transposed(void **state) {
    (void)state;
    static const form forms[] = {
        {"ConvTranspose", "strides = [2, 2]", 2, {9, 11}, {32, 48, 2, 2}, 32},
        {"ConvTranspose", "strides = [2, 2], pads = [1, 1, 1, 1], output_padding = [1, 1]", 2, {7, 8}, {20, 33, 3, 3}, 20},
        {"ConvTranspose", "strides = [3, 2], pads = [0, 2, 1, 0]", 2, {5, 130}, {16, 24, 4, 5}, 16},
        {"ConvTranspose", "dilations = [2, 3], pads = [1, 1, 1, 1]", 2, {9, 8}, {16, 16, 3, 2}, 16},
        {"ConvTranspose", "strides = [4, 6], dilations = [2, 4], output_padding = [3, 5]", 2, {4, 5}, {16, 32, 3, 4}, 16},
        {"ConvTranspose", "strides = [5, 5]", 2, {4, 3}, {16, 16, 2, 3}, 16},
        {"ConvTranspose", "strides = [2, 2], group = 2", 2, {6, 7}, {64, 16, 3, 3}, 64},
        {"ConvTranspose", "strides = [2, 2], group = 5, pads = [1, 0, 1, 0]", 2, {6, 7}, {30, 4, 3, 3}, 30},
        {"ConvTranspose", "strides = [2, 2], group = 20, pads = [1, 1, 1, 1]", 2, {6, 7}, {20, 1, 4, 4}, 20},
        {"ConvTranspose", "strides = [2, 2], auto_pad = \"SAME_UPPER\"", 2, {6, 7}, {16, 16, 3, 3}, 16},
        {"ConvTranspose", "strides = [2, 2], auto_pad = \"SAME_LOWER\"", 2, {6, 7}, {16, 16, 3, 4}, 16},
        {"ConvTranspose", "strides = [3, 3], output_shape = [20, 19]", 2, {6, 7}, {16, 16, 3, 3}, 16},
        {"ConvTranspose", "strides = [1, 2], pads = [1, -1, 1, -2]", 2, {6, 7}, {16, 16, 3, 3}, 16},
        {"ConvTranspose", "strides = [4], pads = [2, 2]", 1, {70}, {16, 40, 8}, 16},
        {"ConvTranspose", "strides = [2, 2, 2]", 3, {3, 4, 5}, {16, 20, 2, 2, 2}, 16},
        {"ConvTranspose", "strides = [2, 1, 3], dilations = [1, 2, 2], pads = [1, 1, 1, 0, 1, 2], group = 3", 3, {4, 4, 5}, {24, 5, 3, 3, 3}, 24}};
    every(forms, FY_COUNT(forms));
}

static void test_groups(void **state) {
    (void)state;
    static const form forms[] = {
        {"Conv", "group = 8, pads = [1, 1, 1, 1]", 2, {9, 17}, {32, 4, 3, 3}, 32},      {"Conv", "group = 6, pads = [1, 1, 1, 1], strides = [2, 2]", 2, {14, 15}, {48, 8, 3, 3}, 48},
        {"Conv", "group = 3, pads = [1, 1, 1, 1]", 2, {7, 7}, {36, 12, 3, 3}, 36},       {"Conv", "group = 4, pads = [1, 1, 1, 1]", 2, {7, 9}, {96, 24, 3, 3}, 96},
        {"Conv", "group = 2, pads = [1, 1, 1, 1]", 2, {7, 9}, {32, 16, 3, 3}, 32},       {"Conv", "group = 2", 2, {7, 9}, {96, 32, 1, 1}, 64},
        {"Conv", "group = 2, dilations = [2, 2]", 2, {9, 20}, {128, 16, 3, 3}, 32},      {"Conv", "group = 3", 2, {6, 5}, {60, 8, 1, 1}, 24},
        {"Conv", "group = 10, pads = [2, 2, 2, 2]", 2, {6, 30}, {20, 1, 5, 5}, 10},      {"Conv", "group = 4, pads = [1, 1, 1, 1]", 2, {6, 5}, {128, 1, 3, 3}, 4},
        {"Conv", "group = 20, pads = [2, 2, 2, 2], dilations = [2, 2]", 2, {9, 9}, {20, 1, 3, 3}, 20}, {"Conv", "group = 2", 2, {5, 4}, {2, 40, 1, 2}, 80},
        {"Conv", "group = 33, strides = [2, 1], auto_pad = \"SAME_UPPER\"", 2, {8, 9}, {33, 1, 3, 3}, 33}, {"Conv", "group = 7, auto_pad = \"SAME_LOWER\"", 2, {8, 9}, {21, 5, 2, 3}, 35}};
    every(forms, FY_COUNT(forms));
}

static void test_other_ranks(void **state) {
    (void)state;
    static const form forms[] = {
        {"Conv", "pads = [1, 1]", 1, {500}, {40, 20, 3}, 20},                            {"Conv", "strides = [4], pads = [3, 4]", 1, {333}, {32, 1, 8}, 1},
        {"Conv", "strides = [2], dilations = [3]", 1, {101}, {24, 3, 5}, 3},             {"Conv", "", 1, {77}, {48, 32, 1}, 32},
        {"Conv", "group = 24, pads = [4, 0]", 1, {450}, {24, 1, 5}, 24},                 {"Conv", "group = 4, pads = [2, 2], dilations = [2]", 1, {60}, {32, 8, 3}, 32},
        {"Conv", "pads = [1, 1, 1, 1, 1, 1]", 3, {5, 6, 7}, {40, 16, 3, 3, 3}, 16},      {"Conv", "strides = [1, 2, 2], pads = [1, 3, 3, 1, 3, 3]", 3, {4, 12, 13}, {20, 3, 3, 7, 7}, 3},
        {"Conv", "strides = [2, 1, 2], dilations = [2, 1, 1], pads = [2, 1, 0, 1, 1, 2]", 3, {7, 6, 8}, {16, 33, 3, 3, 2}, 33}, {"Conv", "", 3, {3, 4, 5}, {36, 20, 1, 1, 1}, 20},
        {"Conv", "group = 18, pads = [1, 1, 1, 1, 1, 1]", 3, {4, 5, 6}, {18, 1, 3, 3, 3}, 18}, {"Conv", "group = 3, dilations = [3, 1, 2]", 3, {8, 5, 6}, {30, 6, 2, 3, 2}, 18},
        {"Conv", "pads = [0, 1, 1, 0, 1, 1]", 3, {4, 9, 8}, {32, 32, 1, 3, 3}, 32},      {"Conv", "pads = [1, 0, 0, 1, 0, 0]", 3, {6, 5, 4}, {32, 32, 3, 1, 1}, 32},
        {"Conv", "pads = [-1, 1, 2, 1, -2, 1]", 3, {6, 7, 4}, {16, 20, 3, 3, 3}, 20},    {"Conv", "pads = [1, 1, 1, 1], dilations = [1, 2]", 2, {9, 12}, {33, 20, 3, 3}, 20},
        {"Conv", "strides = [2, 2], pads = [1, 1, 1, 1]", 2, {15, 61}, {40, 3, 3, 3}, 3}, {"Conv", "dilations = [1, 2], strides = [2, 1]", 2, {13, 15}, {20, 4, 3, 3}, 4},
        {"Conv", "", 2, {15, 17}, {20, 5, 1, 1}, 5},                                     {"Conv", "strides = [1, 2]", 2, {11, 30}, {36, 8, 1, 1}, 8},
        {"Conv", "strides = [2, 2]", 2, {13, 15}, {16, 3, 5, 5}, 3},                     {"Conv", "group = 70, pads = [3, 1, 1, 3, 1, 1]", 3, {9, 11, 4}, {70, 1, 7, 3, 3}, 70}};
    every(forms, FY_COUNT(forms));
}

/* Winograd: tiles of 4 x 4 from nine of them on, tiles of 2 x 2 from nine of those on, what is smaller directly. */
static void test_winograd(void **state) {
    (void)state;
    static const form forms[] = {
        {"Conv", "pads = [1, 1, 1, 1]", 2, {9, 10}, {40, 33, 3, 3}, 33},                {"Conv", "pads = [1, 1, 1, 1]", 2, {8, 8}, {64, 48, 3, 3}, 48},
        {"Conv", "pads = [1, 1, 1, 1]", 2, {7, 7}, {40, 70, 3, 3}, 70},                  {"Conv", "", 2, {7, 8}, {32, 16, 3, 3}, 16},
        {"Conv", "pads = [2, 1, 0, 1]", 2, {5, 5}, {16, 320, 3, 3}, 320},                {"Conv", "pads = [1, 1, 1, 1]", 2, {4, 5}, {33, 20, 3, 3}, 20},
        {"Conv", "pads = [-1, 3, 2, -2]", 2, {12, 14}, {24, 16, 3, 3}, 16},              {"Conv", "auto_pad = \"SAME_UPPER\"", 2, {2, 40}, {64, 32, 3, 3}, 32},
        {"Conv", "pads = [1, 1, 1, 1]", 2, {31, 29}, {96, 64, 3, 3}, 64},                {"Conv", "pads = [1, 1, 1, 1]", 2, {1, 17}, {16, 16, 3, 3}, 16}};
    every(forms, FY_COUNT(forms));
}

/* Winograd over the last two axes, its taps along the first summed. */
static void test_deep_winograd(void **state) {
    (void)state;
    static const form forms[] = {
        {"Conv", "pads = [1, 1, 1, 1, 1, 1]", 3, {5, 13, 14}, {40, 33, 3, 3, 3}, 33},   {"Conv", "strides = [2, 1, 1], pads = [1, 1, 1, 1, 1, 1]", 3, {9, 12, 17}, {32, 16, 3, 3, 3}, 16},
        {"Conv", "pads = [0, 1, 2, 0, 0, 1]", 3, {3, 21, 30}, {16, 20, 1, 3, 3}, 20},   {"Conv", "auto_pad = \"SAME_UPPER\"", 3, {6, 10, 11}, {64, 32, 2, 3, 3}, 32},
        {"Conv", "pads = [4, -1, 1, 3, 1, -2]", 3, {2, 16, 19}, {24, 16, 5, 3, 3}, 16}, {"Conv", "pads = [1, 1, 1, 1, 1, 1]", 3, {60, 2, 3}, {16, 16, 3, 3, 3}, 16}};
    every(forms, FY_COUNT(forms));
}

static void test_pools(void **state) {
    (void)state;
    static const struct { const char *op, *attrs, *sizes; } pools[] = {
        {"Max", "kernel_shape = [3], strides = [2], pads = [1, 1]", "100"},            {"Max", "kernel_shape = [2, 3, 2], strides = [2, 1, 2], pads = [1, 1, 0, 0, 1, 1]", "5,6,7"},
        {"Max", "kernel_shape = [3, 2], dilations = [2, 3], ceil_mode = 1, strides = [2, 2]", "9,12"}, {"Max", "kernel_shape = [2, 2, 2], dilations = [1, 2, 3]", "4,6,9"},
        {"Max", "kernel_shape = [1, 1], strides = [2, 2], pads = [3, 3, 3, 3]", "4,5"},   /* windows of padding alone */
        {"Average", "kernel_shape = [4], strides = [3], pads = [2, 3], count_include_pad = 1", "50"}, {"Average", "kernel_shape = [3, 3], dilations = [2, 2], pads = [2, 2, 2, 2]", "8,9"},
        {"Average", "kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1], ceil_mode = 1, count_include_pad = 1", "8,10"}, {"Average", "kernel_shape = [3, 2, 2], pads = [1, 0, 1, 1, 1, 0]", "4,5,6"},
        {"Average", "kernel_shape = [3, 3], dilations = [2, 1], pads = [2, 1, 2, 1], count_include_pad = 1, auto_pad = \"SAME_UPPER\"", "8,9"},
        {"Lp", "kernel_shape = [3, 3], pads = [1, 1, 1, 1]", "8,9"}, {"Lp", "kernel_shape = [4], strides = [2], p = 1", "33"}, {"Lp", "kernel_shape = [2, 2], p = 3", "6,7"}};
    static const char *const global[] = {"GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool <p = 1>", "GlobalLpPool"}, *const of[] = {"30", "5,6", "3,4,5"};
    for (int c = 1; c < 40; c += 19) {
        for (int i = 0; i < FY_COUNT(pools); i++) {
            fy_buf t = {0};
            fy_buf_fmt(&t, "(float[n,%d,%s] x) => (y) { p = %sPool <%s> (x) y = Relu (p) }", c, pools[i].sizes, pools[i].op, pools[i].attrs);
            both_at(t.at, (const int64_t[]){2, 1, 0}, 3);
            fy_buf_free(&t);
            if (pools[i].op[0] != 'M') continue;
            for (int order = 0; order < 2; order++) {
                fy_buf_fmt(&t, "(float[n,%d,%s] x) => (y, k) { y, k = MaxPool <storage_order = %d, %s> (x) }", c, pools[i].sizes, order, pools[i].attrs);
                both_at(t.at, (const int64_t[]){2, 1}, 2);
                fy_buf_free(&t);
            }
        }
        for (int i = 0; i < FY_COUNT(global); i++)
            for (int k = 0; k < FY_COUNT(of); k++) {
                fy_buf t = {0};
                fy_buf_fmt(&t, "(float[n,%d,%s] x) => (y) { m = MaxPool <kernel_shape = [1%s]> (x) y = %s (m) }", c, of[k], k == 0 ? "" : k == 1 ? ", 1" : ", 1, 1", global[i]);
                both_at(t.at, (const int64_t[]){2, 1}, 2);
                fy_buf_free(&t);
            }
    }
}

static void test_deformed(void **state) {
    (void)state;
    static const struct { const char *attrs; int cin, cout, w1, h, v, oh, ow, shared, mask; } forms[] = {
        {"pads = [1, 1, 1, 1]", 20, 40, 20, 9, 8, 9, 8, 1, 1}, {"strides = [2, 1], group = 2, offset_group = 2", 32, 64, 16, 9, 12, 4, 10, 2, 1},
        {"dilations = [2, 2], pads = [2, 1, 0, 1], offset_group = 3", 48, 16, 48, 8, 7, 6, 5, 3, 0}, {"offset_group = 2", 20, 16, 20, 6, 7, 4, 5, 2, 1}};
    for (int i = 0; i < FY_COUNT(forms); i++)
        for (int given = 0; given < 2; given++) {
            fy_buf t = {0};
            fy_buf_fmt(&t, "(float[n,%d,%d,%d] x, float[n,%d,%d,%d] o", forms[i].cin, forms[i].h, forms[i].v, forms[i].shared * 18, forms[i].oh, forms[i].ow);
            if (forms[i].mask) fy_buf_fmt(&t, ", float[n,%d,%d,%d] m", forms[i].shared * 9, forms[i].oh, forms[i].ow);
            if (given) fy_buf_fmt(&t, ", float[%d,%d,3,3] v, float[%d] b", forms[i].cout, forms[i].w1, forms[i].cout);
            fy_buf_str(&t, ") => (y) { ");
            if (given) fy_buf_str(&t, "k = Constant <value = float {0.01}> () w = Mul (v, k) ");
            else {
                wave(&t, "w", (int[]){forms[i].cout, forms[i].w1, 3, 3}, 4);
                wave(&t, "b", (int[]){forms[i].cout}, 1);
            }
            fy_buf_fmt(&t, "c = DeformConv <%s> (x, w, o, b%s) %s }", forms[i].attrs, forms[i].mask ? ", m" : "", given ? "r = Neg (c) q = Add (c, r) y = Relu (q)" : "y = Sigmoid (c)");
            both_at(t.at, (const int64_t[]){2, 1, 0}, 3);
            fy_buf_free(&t);
        }
}

/* What stands between convolutions over one axis and over three. */
static void test_between(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "y = Add (c, d)", "a = Concat <axis = 1> (c, d) y = Relu (a)", "z = Constant <value_ints = [16, 16]> () a, b = Split <axis = 1> (c, z) y = Sub (a, b)", "g = GlobalAveragePool (c) s = Sigmoid (g) y = Mul (c, s)",
        "g = GlobalMaxPool (c) s = Add (g, d) y = Mul (s, c)", "q = MaxPool <kernel_shape = [1%s]> (c) y = Mul (q, d)", "t = Relu (c) u = Exp (t) y = Sub (u, d)"};
    static const char *const of[] = {"30", "3,4,5"};
    for (int i = 0; i < FY_COUNT(bodies); i++)
        for (int k = 0; k < 2; k++) {
            fy_buf t = {0};
            fy_buf_fmt(&t, "(float[n,16,%s] x) => (y) { ", of[k]);
            wave(&t, "w", (int[]){32, 16, 1, 1, 1}, k ? 5 : 3);
            wave(&t, "v", (int[]){32, 16, 1, 1, 1}, k ? 5 : 3);
            fy_buf_fmt(&t, "c = Conv (x, w) d = Conv (x, v) ");
            fy_buf_fmt(&t, "%.*s%s%s", (int)strcspn(bodies[i], "%"), bodies[i], strchr(bodies[i], '%') ? k ? ",1,1" : "" : "", strchr(bodies[i], '%') ? strchr(bodies[i], '%') + 2 : "");
            fy_buf_str(&t, " }");
            both_at(t.at, (const int64_t[]){2, 1, 0, 3}, 4);
            fy_buf_free(&t);
        }
}

/* How many samples there are follows from what they hold. */
static void test_unknown_sizes(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "c = ConvTranspose <strides = [2]> (z, w) y = Relu (c)", "p, k = MaxPool <kernel_shape = [2], dilations = [2]> (z) q = Cast <to = 1> (k) y = Add (p, q)", "c = Conv <group = 8> (z, v) a = Relu (c) y = Neg (a)",
        "p = LpPool <kernel_shape = [3]> (z) c = Conv (p, w) e = Sigmoid (c) f = Mul (c, e) y = GlobalLpPool (f)"};
    for (int i = 0; i < FY_COUNT(bodies); i++) {
        fy_buf t = {0};
        fy_buf_str(&t, "(float[n,32,19] x) => (y) { o = Constant <value_ints = [1]> () l = Constant <value = float {0}> () h = Flatten (x) m = ReduceMean <keepdims = 0> (h, o) g = Greater (m, l) "
                       "z = Compress <axis = 0> (x, g) ");
        wave(&t, "w", (int[]){32, 32, 3}, 3);
        wave(&t, "v", (int[]){32, 4, 3}, 3);
        fy_buf_fmt(&t, "%s }", bodies[i]);
        both_at(t.at, (const int64_t[]){4, 1, 7}, 3);
        fy_buf_free(&t);
    }
}

/* Windows that reach far beyond the input: a clear end, or a result, and no more memory than may be had. */
static void test_far(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "y = ConvTranspose <strides = [2147483647], dilations = [2147483647], output_shape = [5]> (x, w)", "y = Conv <strides = [2147483647], pads = [2147483640, 2147483640], group = 2> (x, v)",
        "y = ConvTranspose <pads = [1000000007, -1000000000]> (x, w)", "y = Conv <dilations = [2000000000], pads = [2147483647, 2147483647], strides = [2000000000], group = 2> (x, v)"};
    for (int i = 0; i < FY_COUNT(bodies); i++) {
        fy_buf t = {0};
        fy_buf_str(&t, "(float[1,32,9] x) => (y) { ");
        wave(&t, "w", (int[]){32, 16, 2}, 3);
        wave(&t, "v", (int[]){32, 16, 2}, 3);
        fy_buf_fmt(&t, "%s }", bodies[i]);
        both_rig r, ref;
        ferry_error e = {0};
        fy_rval in[BOTH_MOST] = {{0}}, out[BOTH_MOST] = {{0}}, want[BOTH_MOST] = {{0}}, *at[BOTH_MOST];
        both_open(&r, t.at, "ferry");
        both_open(&ref, t.at, "reference");
        both_fill(in, r.m, 1, 1);
        for (int k = 0; k < BOTH_MOST; k++) at[k] = &in[k];
        fy_status st = r.engine->run(r.s, at, out, &e);
        if (st) assert_fails(st, LIMIT);
        else {
            assert_ok(ref.engine->run(ref.s, at, want, &e), e);
            both_same(&out[0], &want[0], t.at, 1);
        }
        for (int k = 0; k < BOTH_MOST; k++) { fy_rval_free(&in[k]); fy_rval_free(&out[k]); fy_rval_free(&want[k]); }
        both_close(&r);
        both_close(&ref);
        fy_buf_free(&t);
    }
}

/* Values that are no numbers stay in their group. */
static void test_infinities(void **state) {
    (void)state;
    both("(float[n,24,5,6] x) => (y) { w_s = Constant <value_ints = [24, 12, 1, 1]> () w_v = ConstantOfShape <value = float[1] {1}> (w_s) o = Constant <value = float {1.9}> () "
         "i = Constant <value = float {3e38}> () g = Greater (x, o) b = Mul (x, i) q = Mul (b, i) z = Where (g, q, x) y = Conv <group = 2> (z, w_v) }");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_transposed), cmocka_unit_test(test_groups), cmocka_unit_test(test_other_ranks), cmocka_unit_test(test_winograd), cmocka_unit_test(test_deep_winograd), cmocka_unit_test(test_pools), cmocka_unit_test(test_deformed), cmocka_unit_test(test_between), cmocka_unit_test(test_unknown_sizes), cmocka_unit_test(test_far), cmocka_unit_test(test_infinities)};
    return both_main(tests, FY_COUNT(tests), "convolutions");
}
