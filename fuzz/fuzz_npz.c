/* SPDX-License-Identifier: Apache-2.0
 * fuzz_npz.c - .npy and .npz. */
#include "fuzz.h"

#include "formats/npz.h"

#include <string.h>

static const char *const files[] = {"npz/stored.npz", "npz/deflated.npz", "npz/big.npy", "npz/bytes.npy", "npz/empty.npy", "npz/f4.npy", "npz/fortran.npy", "npz/object.npy",
    "npz/record.npy", "npz/scalar.npy", "npz/text.npy", "npz/v2.npy", "other/arrays.npz", NULL};
static const char *const words[] = {"'descr'", "'fortran_order'", "'shape'", "True", "False", "'<f4'", "'>i8'", "'|b1'", "'<U3'", "'|S5'", "'|O'", "()", "(0,)", "(2, 3)", "(-1,)",
    "(4294967296, 4294967296)", "(9223372036854775807,)", "\x93NUMPY\1\0", "'<c16'", "'<f2'", "'<m8[s]'", NULL};
const fy_fuzz fy_target = {"npz", FY_G_ZIP, files, NULL, words, (size_t)64 << 20};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ferry_error e;
    fy_tensor t;
    if (fy_npy_read_memory(&t, data, size, "x.npy", &e) == FY_OK) {
        fy_reached[0]++;
        fy_tensor_free(&t);
    }
    if (size < 4 || memcmp(data, "PK", 2)) return 0;
    fy_named_list l = {0};
    if (fy_npz_read(&l, fy_fuzz_file(data, size, ".tmp"), &e) == FY_OK) {
        fy_reached[1]++;
        fy_named_free(&l);
    }
    return 0;
}
