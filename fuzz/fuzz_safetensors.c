/* SPDX-License-Identifier: Apache-2.0
 * fuzz_safetensors.c - headers of .safetensors: read, and every tensor's ends looked at. */
#include "fuzz.h"

#include "formats/weights.h"

#include <string.h>

static const char *const texts[] = {
    "{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},\"b.c\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[24,32]}}",
    "{\"w\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[0,8]},\"e\":{\"dtype\":\"F8_E4M3\",\"shape\":[0,7],\"data_offsets\":[8,8]},\"x\":{\"dtype\":\"BOOL\",\"shape\":[24],\"data_offsets\":[8,32]}}", NULL};
static const char *const words[] = {"F32", "F64", "F4", "C64", "BOOL", "dtype", "shape", "data_offsets", "__metadata__", "18446744073709551615", "-1", "[0,32]", "[]", NULL};
const fy_fuzz fy_target = {"safetensors", FY_G_JSON, NULL, texts, words, (size_t)16 << 20};

/* The input is the header; the length before it is right, and 32 bytes follow: mutants of a length would get no further. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static unsigned char file[8 + (1 << 20) + 32];
    if (size > 1 << 20) return 0;
    for (int i = 0; i < 8; i++) file[i] = (unsigned char)((uint64_t)size >> 8 * i);
    memcpy(file + 8, data, size);
    memset(file + 8 + size, 1, 32);
    ferry_error e;
    fy_weights w;
    if (fy_safetensors_is(file, 8 + size + 32) && fy_weights_memory(&w, file, 8 + size + 32, NULL, &e) == FY_OK) {
        fy_reached[0]++;
        for (int64_t i = 0; i < w.at.n; i++) {
            double v;
            fy_reached[1] += w.at.at[i].data->count && fy_const_f64(w.at.at[i].data, w.at.at[i].data->count - 1, &v);
        }
        fy_weights_free(&w);
    }
    if (fy_weights_memory(&w, data, size, NULL, &e) == FY_OK) fy_weights_free(&w);       /* and as a file of any kind */
    return 0;
}
