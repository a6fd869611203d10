/* SPDX-License-Identifier: Apache-2.0
 * hash.c - SHA-256 by libcrypto, which uses the CPU's own instructions for it: naming a 100 MB model must not take longer than
 * copying it. */
#include "formats/hash.h"

#include "base/file.h"

#include <openssl/sha.h>

void fy_sha256(char hex[65], const void *p, size_t n) {
    static const char digits[] = "0123456789abcdef";
    unsigned char sum[SHA256_DIGEST_LENGTH];
    SHA256(p, n, sum);
    for (int i = 0; i < SHA256_DIGEST_LENGTH; i++) {
        hex[2 * i] = digits[sum[i] >> 4];
        hex[2 * i + 1] = digits[sum[i] & 15];
    }
    hex[64] = 0;
}

fy_status fy_sha256_file(char hex[65], const char *path, ferry_error *e) {
    fy_map_file f;
    FY_TRY(fy_file_open(&f, path, e));
    fy_sha256(hex, f.at, f.n);
    fy_status s = fy_file_unchanged(&f, e);
    fy_file_close(&f);
    return s;
}
