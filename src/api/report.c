/* SPDX-License-Identifier: Apache-2.0
 * report.c - public access to reports. */
#include "base/report.h"
#include "ferry/ferry.h"

static const char *text_of(const fy_buf *b) { return b->at ? b->at : ""; }

const char *ferry_report_json(const ferry_report *r) { return text_of(&r->json); }
const char *ferry_report_text(const ferry_report *r, int colour) { return text_of(colour ? &r->text : &r->plain); }
const char *ferry_report_full(const ferry_report *r) { return text_of(r->full.n ? &r->full : &r->plain); }
const char *ferry_report_junit(const ferry_report *r) { return text_of(&r->junit); }
void        ferry_report_free(ferry_report *r) { fy_report_free(r); }
