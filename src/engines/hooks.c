/* SPDX-License-Identifier: Apache-2.0
 * hooks.c - the table of what operators need beyond libc, filled by the parts that this build has. */
#include "engines/engine.h"
#include "formats/image.h"
#include "formats/regex.h"

const fy_hooks *fy_hooks_builtin(void) {
    static const fy_hooks table = {
        .image_decode = fy_image_decode_tensor,
#ifdef FERRY_HAVE_RE2
        .regex_full_match = fy_regex_full_match,
#endif
    };
    return &table;
}
