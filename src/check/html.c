/* SPDX-License-Identifier: Apache-2.0
 * html.c - names from files as text of a page. */
#include "check/html.h"

#include "formats/json.h"

#include <string.h>

void fy_html_text(fy_buf *b, const char *s, int most) {
    const unsigned char *p = (const unsigned char *)s, *end = p + strlen(s);
    for (int n = 0; p < end; n++) {
        int k = fy_utf8(p, end);
        if (most && n == most - 1 && p + (k > 0 ? k : 1) < end) { fy_buf_str(b, "\xE2\x80\xA6"); return; }
        if (*p == '&') fy_buf_str(b, "&amp;");
        else if (*p == '<') fy_buf_str(b, "&lt;");
        else if (*p == '>') fy_buf_str(b, "&gt;");
        else if (*p == '"') fy_buf_str(b, "&quot;");
        else if (k <= 0 || *p < 32 || *p == 127) fy_buf_char(b, '?');
        else fy_buf_add(b, p, (size_t)k);
        p += k > 0 ? k : 1;
    }
}

void fy_html_head(fy_buf *b, const char *model, const char *what, const char *css, size_t ncss) {
    fy_buf_str(b, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/><meta name=\"viewport\" content=\"width=device-width\"/><title>");
    fy_html_text(b, model, 0);
    fy_buf_fmt(b, " - ferry %s</title><style>", what);
    fy_buf_add(b, css, ncss);
    fy_buf_str(b, "</style></head>");
}
