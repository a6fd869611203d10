// SPDX-License-Identifier: Apache-2.0
// header_hpp.cpp - ferry/ferry.hpp on a real archive: exported, opened, run by two sessions, mistakes thrown.
//   header_hpp cnn.pt2
#include <ferry/ferry.hpp>
#include <cmath>
#include <iostream>
#include <thread>

static int failed = 0;
static void check(bool good, const char *what) {
    if (good) return;
    std::cerr << "FAIL: " << what << "\n";
    failed = 1;
}
template <class F> static void throws(const char *code, F f) {
    try {
        f();
        check(false, code);
    } catch (const ferry::Error &e) {
        check(e.code() == code, e.what());
        check(e.kind() != FERRY_OK && *e.what(), "a kind and a sentence");
    }
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    ferry::Report exported = ferry::export_model(argv[1], "hpp.onnx", {{"dynamic-batch", ""}, {"opset", "18"}});
    check(exported.ok() && exported.text().find("verified") != std::string::npos && exported.json()[0] == '{', "export");
    ferry::Report gate = ferry::verify("hpp.onnx", {{"against", argv[1]}, {"tolerance", "1e-12"}});
    check(!gate.ok() && !gate.full().empty(), "a gate that says no is no exception");
    throws("USAGE", [] { ferry::check("hpp.onnx", {{"strickt", ""}}); });
    throws("NOFILE", [] { ferry::Model("no/such.onnx"); });

    ferry::Model model("hpp.onnx", "threads=1");
    auto in = model.inputs(), out = model.outputs();
    check(in.size() == 1 && in[0].dtype == FERRY_FLOAT && in[0].shape.size() == 4 && in[0].shape[0] == -1 && in[0].symbols[0] == "batch", "ports");
    check(model.metadata("ferry.opset") == "18" && model.metadata("nothing").empty(), "metadata");
    size_t each = 1;
    for (size_t i = 1; i < in[0].shape.size(); i++) each *= static_cast<size_t>(in[0].shape[i]);
    auto shape = in[0].shape;
    shape[0] = 3;
    std::vector<float> x(3 * each);
    for (size_t i = 0; i < x.size(); i++) x[i] = std::sin(static_cast<float>(i));
    ferry::Session session(model);
    auto y = session.run({ferry::tensor(x, shape)});
    check(y.size() == out.size() && y[0].shape()[0] == 3, "a run");
    std::vector<float> first = y[0].copy<float>(), other(first.size()), mine(first.size());
    std::thread worker([&] {
        ferry::Session own(model);
        own.run({ferry::tensor(x, shape)}, {ferry::tensor(other, y[0].shape())});
    });
    worker.join();
    check(other == first, "another session, into memory of the caller's");
    ferry::Session moved = std::move(session);
    moved.run({ferry::tensor(x, shape)}, {ferry::tensor(mine, y[0].shape())});
    check(mine == first, "a session that moved");
    throws("USAGE", [&] { moved.run({}); });
    throws("SHAPE", [&] { moved.run({ferry::tensor(x.data(), each, {1, static_cast<int64_t>(each)})}); });
    throws("TYPE", [&] { moved.run({ferry::tensor(std::vector<int64_t>(x.size()), shape)}); });
    throws("USAGE", [&] { ferry::tensor(x, {1, 2}); });
    throws("USAGE", [&] { moved.run({ferry::tensor(x, shape)})[0].span<int64_t>(); });

    ferry::Values values, back;
    values.set("x", ferry::tensor(x, shape));
    values.write("hpp.npz");
    back.read("hpp.npz");
    check(back.size() == 1 && back["x"].copy<float>() == x && back[0].shape() == shape, "values");
    throws("USAGE", [&] { (void)back["y"]; });
    return failed;
}
