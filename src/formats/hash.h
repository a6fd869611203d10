/* SPDX-License-Identifier: Apache-2.0
 * hash.h - SHA-256, for checking and naming files. */
#ifndef FY_HASH_H
#define FY_HASH_H

#include "base/status.h"

/* 64 lower-case hex digits and a final 0. */
FY_CHECKED fy_status fy_sha256_file(char hex[65], const char *path, ferry_error *e);
void                 fy_sha256(char hex[65], const void *p, size_t n);

#endif
