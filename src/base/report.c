/* SPDX-License-Identifier: Apache-2.0
 * report.c - reports: buffers, and text without its styles. */
#include "base/report.h"

#include "base/os.h"

fy_report *fy_report_new(ferry_error *e) {
    fy_report *r = fy_calloc(1, sizeof *r);
    if (!r) fy_nomem(e);
    return r;
}

void fy_strip_styles(fy_buf *dst, const char *s) {
    for (; s && *s; s++) {
        if (*s != '\033') { fy_buf_char(dst, *s); continue; }
        while (s[1] && *s != 'm') s++;
    }
}

fy_status fy_report_finish(fy_report *r, ferry_error *e) {
    r->plain.n = 0;
    fy_strip_styles(&r->plain, r->text.at);
    FY_NOMEM(e, !r->json.oom && !r->text.oom && !r->plain.oom && !r->junit.oom && !r->full.oom);
    return FY_OK;
}

void fy_report_free(fy_report *r) {
    if (!r) return;
    fy_buf_free(&r->json);
    fy_buf_free(&r->text);
    fy_buf_free(&r->plain);
    fy_buf_free(&r->junit);
    fy_buf_free(&r->full);
    fy_free(r);
}
