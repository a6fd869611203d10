/* SPDX-License-Identifier: Apache-2.0
 * hooks.c - the table of what operators need beyond libc, filled by the parts that this build has. */
#include "engines/engine.h"
#ifndef FERRY_RUN_ONLY                   /* libferry-run stands on libc alone: operators that need more say so */
#include "formats/image.h"
#include "formats/regex.h"
#endif

const fy_hooks *fy_hooks_builtin(void) {
    static const fy_hooks table = {
#ifdef FERRY_RUN_ONLY
        .image_decode = NULL,
#else
        .image_decode = fy_image_decode_tensor,
#endif
#if defined FERRY_HAVE_RE2 && !defined FERRY_RUN_ONLY
        .regex_full_match = fy_regex_full_match,
#endif
    };
    return &table;
}
