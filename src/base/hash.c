/* SPDX-License-Identifier: Apache-2.0
 * hash.c - SHA-256 by libmd. */
#define _DEFAULT_SOURCE 1                  /* sha2.h uses its integer types */
#include "base/hash.h"

#include "base/file.h"

#include <sha2.h>

void fy_sha256(char hex[65], const void *p, size_t n) {
    static const char digits[] = "0123456789abcdef";
    SHA2_CTX c;
    uint8_t  sum[SHA256_DIGEST_LENGTH];
    SHA256Init(&c);
    SHA256Update(&c, p, n);
    SHA256Final(sum, &c);
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
