/* SPDX-License-Identifier: Apache-2.0
 * stored.h - texts that the build has deflated (ferry_store in src/CMakeLists.txt): they are large, and few runs need them. */
#ifndef FY_STORED_H
#define FY_STORED_H

#include <stddef.h>

/* Inflates `packed` into the `size` bytes that it had. Takes no memory, so that it cannot fail. */
void fy_stored_read(char *to, size_t size, const unsigned char *packed, size_t npacked);

#endif
