/* SPDX-License-Identifier: Apache-2.0
 * header_c99.c - the public headers are C99, and each stands alone. */
#include <ferry/run.h>
#include <ferry/ferry.h>
#include <ferry/tools.h>
#include <ferry/plugin.h>

int main(void) {
    ferry_error e;
    const ferry_tensor t = ferry_view(FERRY_FLOAT, 0, 0, 0);
    return ferry_open("", 0, &e) != 0 || t.bytes != sizeof(float);
}
