// SPDX-License-Identifier: Apache-2.0
// classify.cpp - C++17: handles in unique_ptr, an image through the library's preprocessing, the best class.
//   ./classify model.onnx image.png
#include <ferry/ferry.h>
#include <algorithm>
#include <iostream>
#include <memory>
#include <stdexcept>

struct close_model { void operator()(ferry_model *m) const { ferry_close(m); } };
struct free_session { void operator()(ferry_session *s) const { ferry_session_free(s); } };
struct free_values { void operator()(ferry_values *v) const { ferry_values_free(v); } };

static void must(int kind, const ferry_error &e) {
    if (kind) throw std::runtime_error(e.text);
}

int main(int argc, char **argv) try {
    if (argc != 3) { std::cerr << "usage: classify MODEL.onnx IMAGE\n"; return 2; }
    ferry_error e{};
    std::unique_ptr<ferry_model, close_model> model(ferry_open(argv[1], nullptr, &e));
    must(model ? 0 : e.kind, e);
    std::unique_ptr<ferry_session, free_session> session(ferry_session_new(model.get(), &e));
    must(session ? 0 : e.kind, e);
    std::unique_ptr<ferry_values, free_values> values(ferry_values_new());
    const ferry_port *port = ferry_input(model.get(), 0);
    const char *path = argv[2];
    must(ferry_values_image(values.get(), port, &path, 1, nullptr, &e), e);
    ferry_tensor x{}, y{};
    must(ferry_values_get(values.get(), 0, &x, &e), e);
    must(ferry_run(session.get(), &x, 1, &y, 1, &e), e);
    const float *p = static_cast<const float *>(y.data);
    size_t n = y.bytes / sizeof(float);
    std::cout << "class " << std::max_element(p, p + n) - p << " of " << n << "\n";
} catch (const std::exception &problem) {
    std::cerr << problem.what() << "\n";
    return 1;
}
