/* SPDX-License-Identifier: Apache-2.0
 * status.c - the table of error codes and the words of a ferry_error. */
#include "base/status.h"

#include <stdio.h>
#include <stdarg.h>
#include <string.h>

static const fy_code_info codes[FY_CODE_COUNT] = {
    [FY_OK] = { "OK", "no error", "Nothing went wrong.", FERRY_OK },
#define ERROR(code, kind, text, help) [FY_E_##code] = { #code, text, help, kind },
#include "base/errors.def"
#undef ERROR
};

const fy_code_info *fy_code_get(fy_code code) {
    return (unsigned)code < FY_CODE_COUNT ? &codes[code] : &codes[FY_E_INTERNAL];
}

fy_code fy_code_find(const char *name) {
    for (int i = 1; name && i < FY_CODE_COUNT; i++)
        if (strcmp(codes[i].name, name) == 0) return (fy_code)i;
    return FY_OK;
}

/* Cuts at a character's border, so that a long name in UTF-8 never leaves half a character behind. */
FY_PRINTF(3, 0) static void format(char *dst, size_t size, const char *fmt, va_list ap) {
    int n = vsnprintf(dst, size, fmt, ap);
    if (n < 0) { dst[0] = 0; return; }
    if ((size_t)n < size) return;
    size_t end = size - 1, back = 0;
    while (back < 3 && back < end && ((unsigned char)dst[end - 1 - back] & 0xC0) == 0x80) back++;
    if (back < end) {
        unsigned char lead = (unsigned char)dst[end - 1 - back];
        size_t wants = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
        if (wants > back + 1) dst[end - 1 - back] = 0;
    }
}

fy_status fy_fail(ferry_error *e, fy_code code, const char *fmt, ...) {
    if (!e) return code;
    const fy_code_info *info = fy_code_get(code);
    char text[sizeof e->text];             /* arguments may point into *e */
    va_list ap;
    va_start(ap, fmt);
    format(text, sizeof text, fmt, ap);
    va_end(ap);
    fy_error_clear(e);
    e->kind = (int32_t)info->kind;
    e->code = info->name;
    memcpy(e->text, text, sizeof text);
    return code;
}

fy_status fy_nomem(ferry_error *e) { return fy_fail(e, FY_E_NOMEM, "out of memory"); }

fy_status fy_help(ferry_error *e, fy_status s, const char *fmt, ...) {
    if (!e || s == FY_OK) return s;
    char help[sizeof e->help];
    va_list ap;
    va_start(ap, fmt);
    format(help, sizeof help, fmt, ap);
    va_end(ap);
    memcpy(e->help, help, sizeof help);
    return s;
}

fy_status fy_frame(ferry_error *e, fy_status s, const char *fmt, ...) {
    if (!e || s == FY_OK || e->nframes < 0 || e->nframes >= FERRY_FRAMES) return s;
    va_list ap;
    va_start(ap, fmt);
    format(e->frame[e->nframes], sizeof e->frame[0], fmt, ap);
    va_end(ap);
    e->nframes++;
    return s;
}

void fy_error_clear(ferry_error *e) {
    if (!e) return;
    e->kind = FERRY_OK;
    e->nframes = 0;
    e->code = codes[FY_OK].name;
    e->text[0] = e->help[0] = 0;
}
