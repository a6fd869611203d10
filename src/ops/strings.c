/* SPDX-License-Identifier: Apache-2.0
 * strings.c - shared by the operators on strings; see strings.h. Case and white space are Unicode's, from case.def. */
#include "ops/strings.h"

fy_status fy_strings_give(fy_tensor *y, fy_buf *all, const size_t *end, ferry_error *e) {
    int64_t n = fy_count(y);
    fy_storage *st = all->oom ? NULL : fy_storage_new((size_t)n * sizeof(fy_str) + all->n);
    if (!st) {
        fy_buf_free(all);
        return fy_nomem(e);
    }
    fy_str *s = st->at;
    char *bytes = (char *)(s + n);
    if (all->n) memcpy(bytes, all->at, all->n);
    for (int64_t i = 0; i < n; i++) s[i] = (fy_str){bytes + (i ? end[i - 1] : 0), end[i] - (i ? end[i - 1] : 0)};
    fy_buf_free(all);
    fy_storage_unref(y->own);
    y->own = st;
    y->data = st->at;
    fy_strides(y->rank, y->dim, y->stride);
    return FY_OK;
}

/* ---- UTF-8 --------------------------------------------------------------------------------------------------------- */

int32_t fy_utf8_next(const char **p, const char *end) {
    const unsigned char *s = (const unsigned char *)*p;
    static const int32_t least[] = {0, 0x80, 0x800, 0x10000};
    int more = *s < 0x80 ? 0 : *s >= 0xc2 && *s < 0xe0 ? 1 : *s >= 0xe0 && *s < 0xf0 ? 2 : *s >= 0xf0 && *s < 0xf5 ? 3 : -1;
    if (more < 0 || end - *p <= more) return -1;
    int32_t c = more == 0 ? *s : *s & (0x3f >> more);
    for (int i = 1; i <= more; i++) {
        if ((s[i] & 0xc0) != 0x80) return -1;
        c = c << 6 | (s[i] & 0x3f);
    }
    if (c < least[more] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return -1;
    *p += more + 1;
    return c;
}

void fy_utf8_add(fy_buf *b, int32_t c) {
    char s[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; c >>= 6) s[i] = (char)(0x80 | (c & 0x3f));
    s[0] = (char)(n == 1 ? c : (0xf00 >> n & 0xff) | c);
    fy_buf_add(b, s, n);
}

/* ---- case ---------------------------------------------------------------------------------------------------------- */

typedef struct run { int32_t first, last, step, delta; } run;

static const run upper[] = {
#define UPPER(first, last, step, delta) {first, last, step, delta},
#define LOWER(first, last, step, delta)
#include "ops/case.def"
#undef UPPER
#undef LOWER
};
static const run lower[] = {
#define UPPER(first, last, step, delta)
#define LOWER(first, last, step, delta) {first, last, step, delta},
#include "ops/case.def"
#undef UPPER
#undef LOWER
};

static int32_t map(const run *r, int n, int32_t c) {
    int lo = 0, hi = n;
    while (lo < hi) {                    /* the last run that begins at or before c; runs do not overlap */
        int mid = (lo + hi) / 2;
        if (r[mid].first <= c) lo = mid + 1;
        else hi = mid;
    }
    r += lo - 1;
    return lo && c <= r->last && (c - r->first) % r->step == 0 ? c + r->delta : c;
}

int32_t fy_upper(int32_t c) { return map(upper, FY_COUNT(upper), c); }
int32_t fy_lower(int32_t c) { return map(lower, FY_COUNT(lower), c); }

bool fy_is_space(int32_t c) {
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}
