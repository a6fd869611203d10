/* SPDX-License-Identifier: Apache-2.0
 * pnm.c - portable anymaps: P1 P4 (PBM, 1 is black), P2 P5 (PGM), P3 P6 (PPM), P7 (PAM, depth 1 to 4). Samples of up to 16 bits are
 * scaled to 0..255. A reader of our own: header words and samples are bounded numbers, nothing else is looked at. */
#include "formats/image/internal.h"

#include <string.h>

typedef struct pnm {
    const fy_image_in *f;
    size_t  at;
    int     kind;                        /* the digit after P */
    int64_t width, height, depth, most;
} pnm;

static bool blank(int c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* Blanks and comments, which run to the end of their line. */
static void skip(pnm *p) {
    const fy_image_in *f = p->f;
    while (p->at < f->n && (blank(f->at[p->at]) || f->at[p->at] == '#')) {
        if (f->at[p->at] == '#')
            while (p->at < f->n && f->at[p->at] != '\n' && f->at[p->at] != '\r') p->at++;
        else p->at++;
    }
}

static fy_status number(pnm *p, int64_t *v, ferry_error *e) {
    const fy_image_in *f = p->f;
    skip(p);
    FY_NEED(e, p->at < f->n, TRUNCATED, "%s: the file ends too early", f->name);
    FY_NEED(e, f->at[p->at] >= '0' && f->at[p->at] <= '9', CORRUPT, "%s: byte %zu is no digit", f->name, p->at);
    for (*v = 0; p->at < f->n && f->at[p->at] >= '0' && f->at[p->at] <= '9'; p->at++) {
        *v = 10 * *v + (f->at[p->at] - '0');
        FY_NEED(e, *v <= INT32_MAX, CORRUPT, "%s: a number of too many digits", f->name);
    }
    return FY_OK;
}

/* P7: lines of a word and a value, up to ENDHDR. */
static fy_status pam_header(pnm *p, ferry_error *e) {
    static const char *const words[] = {"WIDTH", "HEIGHT", "DEPTH", "MAXVAL"};
    const fy_image_in *f = p->f;
    int64_t *to[] = {&p->width, &p->height, &p->depth, &p->most};
    for (;;) {
        skip(p);
        const unsigned char *w = f->at + p->at;
        size_t n = 0, rest = f->n - p->at;
        while (n < rest && !blank(w[n])) n++;
        FY_NEED(e, n && n < rest, TRUNCATED, "%s: the file ends too early", f->name);
        p->at += n;
        if (n == 6 && !memcmp(w, "ENDHDR", 6)) break;
        int k = 0;
        while (k < FY_COUNT(words) && (n != strlen(words[k]) || memcmp(w, words[k], n) != 0)) k++;
        if (k < FY_COUNT(words)) FY_TRY(number(p, to[k], e));
        else                                                 /* TUPLTYPE: the depth says enough */
            while (p->at < f->n && f->at[p->at] != '\n') p->at++;
    }
    return FY_OK;
}

static fy_status header(pnm *p, ferry_error *e) {
    p->at = 2;
    p->most = 1;
    p->depth = p->kind == 3 || p->kind == 6 ? 3 : 1;
    if (p->kind == 7) FY_TRY(pam_header(p, e));
    else {
        FY_TRY(number(p, &p->width, e));
        FY_TRY(number(p, &p->height, e));
        if (p->kind != 1 && p->kind != 4) FY_TRY(number(p, &p->most, e));
    }
    FY_NEED(e, p->most >= 1 && p->most <= 65535 && p->depth >= 1 && p->depth <= 4, CORRUPT, "%s: a greatest value of %lld and %lld samples a pixel", p->f->name,
            (long long)p->most, (long long)p->depth);
    if (p->kind < 4) return FY_OK;
    FY_NEED(e, p->at < p->f->n && blank(p->f->at[p->at]), CORRUPT, "%s: no blank after the header", p->f->name);
    p->at++;                                                 /* exactly one: data begin here */
    return FY_OK;
}

static unsigned char scaled(int64_t v, int64_t most) { return (unsigned char)(v >= most ? 255 : (v * 255 + most / 2) / most); }

/* The pixel at column x of a row of bits, or the next samples, as bytes. */
static fy_status pixel(pnm *p, unsigned char *v, size_t row, int64_t x, ferry_error *e) {
    const fy_image_in *f = p->f;
    for (int64_t c = 0; c < p->depth; c++) {
        int64_t s = 0;
        if (p->kind == 4) s = !(f->at[row + (size_t)(x / 8)] >> (7 - x % 8) & 1);
        else if (p->kind == 1) {                             /* digits need no blanks between them */
            skip(p);
            FY_NEED(e, p->at < f->n, TRUNCATED, "%s: the file ends too early", f->name);
            FY_NEED(e, f->at[p->at] == '0' || f->at[p->at] == '1', CORRUPT, "%s: byte %zu is neither 0 nor 1", f->name, p->at);
            s = f->at[p->at++] == '0';
        } else if (p->kind < 4) FY_TRY(number(p, &s, e));
        else if (p->most > 255) {
            s = fy_image_b16(f->at + p->at);
            p->at += 2;
        } else s = f->at[p->at++];
        v[c] = scaled(s, p->most);
    }
    return FY_OK;
}

fy_status fy_image_pnm(fy_image *im, const fy_image_in *f, ferry_error *e) {
    pnm p = {.f = f, .kind = f->at[1] - '0'};
    FY_TRY(header(&p, e));
    FY_NEED(e, p.width > 0 && p.height > 0 && p.width <= FY_IMAGE_SIDE && p.height <= FY_IMAGE_SIDE, LIMIT, "%s: %lld x %lld pixels are over the limit of %d a side", f->name,
            (long long)p.width, (long long)p.height, FY_IMAGE_SIDE);
    int64_t row = p.kind == 4 ? (p.width + 7) / 8 : p.width * p.depth * (p.kind > 4 && p.most > 255 ? 2 : 1);    /* least bytes; in text, a digit a sample */
    FY_NEED(e, row * p.height <= (int64_t)(f->n - p.at), TRUNCATED, "%s: the file ends too early", f->name);
    FY_TRY(fy_image_room(im, p.width, p.height, 3, f->name, e));
    size_t first = p.at;
    for (int64_t i = 0; i < p.width * p.height; i++) {
        unsigned char v[4] = {0}, *to = im->pixel + 3 * i;
        FY_TRY(pixel(&p, v, first + (size_t)(i / p.width * row), i % p.width, e));
        for (int c = 0; c < 3; c++) to[c] = p.depth >= 3 ? v[c] : v[0];
    }
    return FY_OK;
}
