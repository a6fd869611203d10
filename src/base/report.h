/* SPDX-License-Identifier: Apache-2.0
 * report.h - what a command found: one JSON document and its printed form. Text may hold the styles below; they are taken out
 * where colours are not wanted. */
#ifndef FY_REPORT_H
#define FY_REPORT_H

#include "base/buf.h"

#define FY_BOLD  "\033[1m"
#define FY_DIM_  "\033[2m"
#define FY_RED   "\033[31m"
#define FY_GREEN "\033[32m"
#define FY_AMBER "\033[33m"
#define FY_OFF   "\033[0m"

struct ferry_report {
    fy_buf     json, text, plain, junit;
    fy_buf     full;                     /* more than text says, without styles; empty: text is all there is */
    ferry_kind verdict;                  /* FERRY_OK or FERRY_NO */
};
typedef struct ferry_report fy_report;

fy_report *fy_report_new(ferry_error *e);                    /* NULL: out of memory, said in e */
/* After the last write: makes `plain`. NOMEM if any buffer ran out. */
FY_CHECKED fy_status fy_report_finish(fy_report *r, ferry_error *e);
void fy_strip_styles(fy_buf *dst, const char *text);
void fy_report_free(fy_report *r);

#endif
