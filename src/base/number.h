/* SPDX-License-Identifier: Apache-2.0
 * number.h - decimal numbers as text, the same in every locale of the process. */
#ifndef FY_NUMBER_H
#define FY_NUMBER_H

#include "base/compiler.h"

/* The whole of s[0..n) as strtod reads it in the C locale ("-1.5e3", "inf", "nan", "0x1p4"); false if it is no number. */
bool fy_read_f64(const char *s, size_t n, double *v);
bool fy_read_i64(const char *s, size_t n, int64_t *v);      /* decimal; false also if it does not fit */
bool fy_read_u64(const char *s, size_t n, uint64_t *v);
/* What printf made of a number: the decimal point of the locale becomes '.'. */
void fy_plain_point(char *text);

#endif
