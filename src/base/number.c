/* SPDX-License-Identifier: Apache-2.0
 * number.c - decimal numbers as text; see number.h. */
#include "base/number.h"

#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST 400                      /* digits beyond cannot change a double that is written sensibly */

/* strtod wants a 0 at the end and the decimal point of the locale. */
bool fy_read_f64(const char *s, size_t n, double *v) {
    char text[LONGEST + 16], *end;
    const char *point = localeconv()->decimal_point;
    size_t np = strlen(point), k = 0;
    if (!n || n > LONGEST || np > 8) return false;
    for (size_t i = 0; i < n; i++) {
        if (!s[i] || (s[i] == *point && *point != '.')) return false;
        if (s[i] != '.') text[k++] = s[i];
        else if (memchr(s + i + 1, '.', n - i - 1)) return false;
        else { memcpy(text + k, point, np); k += np; }
    }
    text[k] = 0;
    *v = strtod(text, &end);
    return end != text && !*end;
}

static bool digits(const char *s, size_t n, bool *negative, uint64_t *v) {
    size_t i = n && (*s == '-' || *s == '+');
    *negative = n && *s == '-';
    *v = 0;
    if (i == n) return false;
    for (; i < n; i++) {
        unsigned d = (unsigned)(s[i] - '0');
        if (d > 9 || *v > (UINT64_MAX - d) / 10) return false;
        *v = *v * 10 + d;
    }
    return true;
}

bool fy_read_i64(const char *s, size_t n, int64_t *v) {
    bool negative;
    uint64_t u;
    if (!digits(s, n, &negative, &u) || u > (uint64_t)INT64_MAX + negative) return false;
    *v = negative ? (int64_t)(0 - u) : (int64_t)u;
    return true;
}

bool fy_read_u64(const char *s, size_t n, uint64_t *v) {
    bool negative;
    return digits(s, n, &negative, v) && !(negative && *v);
}

void fy_plain_point(char *text) {
    const char *point = localeconv()->decimal_point;
    char *at = *point && strcmp(point, ".") ? strstr(text, point) : NULL;
    if (!at) return;
    *at = '.';
    memmove(at + 1, at + strlen(point), strlen(at + strlen(point)) + 1);
}
