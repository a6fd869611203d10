// SPDX-License-Identifier: Apache-2.0
// classify.cpp - C++17: ferry/ferry.hpp, an image through the library's preprocessing, the best class.
//   ./classify model.onnx image.png
#include <ferry/ferry.hpp>
#include <algorithm>
#include <iostream>

int main(int argc, char **argv) try {
    if (argc != 3) { std::cerr << "usage: classify MODEL.onnx IMAGE\n"; return 2; }
    ferry::Model   model(argv[1]);
    ferry::Session session(model);
    ferry::Values  picture;
    picture.images(model, 0, {argv[2]});
    auto scores = session.run({picture[0]})[0].span<float>();
    std::cout << "class " << std::max_element(scores.begin(), scores.end()) - scores.begin() << " of " << scores.size() << "\n";
} catch (const std::exception &problem) {
    std::cerr << problem.what() << "\n";
    return 1;
}
