// SPDX-License-Identifier: Apache-2.0
// header_cxx.cpp - the public headers are C++17.
#include <ferry/ferry.h>
#include <ferry/plugin.h>
#include <ferry/tools.h>

int main() {
    ferry_error e{};
    const ferry_tensor t = ferry_view(FERRY_INT64, nullptr, 0, nullptr);
    return ferry_open("", nullptr, &e) != nullptr || t.bytes != sizeof(int64_t);
}
