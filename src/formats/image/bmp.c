/* SPDX-License-Identifier: Apache-2.0
 * bmp.c - Windows and OS/2 bitmaps: 1, 2, 4, 8 bits with a palette, 16, 24, 32 bits, bit fields, run lengths (RLE4, RLE8), either order
 * of rows. A reader of our own over bounded offsets; bitmaps that wrap a JPEG or PNG are refused. */
#include "formats/image/internal.h"

#include <string.h>

enum { PLAIN = 0, RLE8 = 1, RLE4 = 2, FIELDS = 3, ALPHA_FIELDS = 6 };

typedef struct bmp {
    const fy_image_in *f;
    int64_t  width, height;
    bool     top_down;
    unsigned bits, packing;
    size_t   data;                       /* where the rows begin */
    uint32_t mask[3];
    unsigned char palette[256][3];
} bmp;

static fy_status read_palette(bmp *b, size_t at, size_t entry, uint32_t used, ferry_error *e) {
    size_t n = b->bits <= 8 ? (size_t)1 << b->bits : 0;
    if (used && used < n) n = used;
    for (size_t i = 0; i < n; i++) {
        FY_NEED(e, b->f->n - at >= (i + 1) * entry, TRUNCATED, "%s: the palette is cut", b->f->name);
        const unsigned char *p = b->f->at + at + i * entry;
        for (int c = 0; c < 3; c++) b->palette[i][c] = p[2 - c];
    }
    return FY_OK;
}

static fy_status header(bmp *b, ferry_error *e) {
    const fy_image_in *f = b->f;
    FY_NEED(e, f->n >= 26, TRUNCATED, "%s: the header is cut", f->name);
    const unsigned char *p = f->at + 14;
    uint32_t size = fy_image_u32(p), used = 0;
    bool core = size == 12;
    b->data = fy_image_u32(f->at + 10);
    FY_NEED(e, core || (size >= 40 && size <= 256), CORRUPT, "%s: a header of %u bytes", f->name, (unsigned)size);
    FY_NEED(e, f->n - 14 >= size, TRUNCATED, "%s: the header is cut", f->name);
    b->width = core ? (int64_t)fy_image_u16(p + 4) : (int32_t)fy_image_u32(p + 4);
    b->height = core ? (int64_t)fy_image_u16(p + 6) : (int32_t)fy_image_u32(p + 8);
    b->bits = core ? fy_image_u16(p + 10) : fy_image_u16(p + 14);
    b->top_down = b->height < 0;
    if (b->top_down) b->height = -b->height;
    size_t tables = 14 + (size_t)size;
    if (!core) {
        b->packing = fy_image_u32(p + 16);
        used = fy_image_u32(p + 32);
        bool fields = b->packing == FIELDS || b->packing == ALPHA_FIELDS;
        if (fields) {
            FY_NEED(e, f->n - 14 >= 52, TRUNCATED, "%s: the header is cut", f->name);
            for (int c = 0; c < 3; c++) b->mask[c] = fy_image_u32(p + 40 + 4 * c);
            if (size == 40) tables += b->packing == FIELDS ? 12 : 16;
        }
        FY_NEED(e, b->packing <= FIELDS || b->packing == ALPHA_FIELDS, FORMAT, "%s: a bitmap that wraps another kind of image", f->name);
        FY_NEED(e, (b->packing == PLAIN) || (b->packing == RLE8 && b->bits == 8) || (b->packing == RLE4 && b->bits == 4) || (fields && (b->bits == 16 || b->bits == 32)),
                CORRUPT, "%s: packing %u of %u bits", f->name, b->packing, b->bits);
    }
    FY_NEED(e, b->bits == 1 || b->bits == 2 || b->bits == 4 || b->bits == 8 || b->bits == 16 || b->bits == 24 || b->bits == 32, CORRUPT, "%s: %u bits a pixel", f->name, b->bits);
    if (b->packing == PLAIN && b->bits == 16) memcpy(b->mask, (uint32_t[]){0x7c00, 0x03e0, 0x001f}, sizeof b->mask);
    if (b->packing == PLAIN && b->bits == 32) memcpy(b->mask, (uint32_t[]){0xff0000, 0xff00, 0xff}, sizeof b->mask);
    FY_NEED(e, tables <= f->n && b->data <= f->n, TRUNCATED, "%s: the file ends too early", f->name);
    return read_palette(b, tables, core ? 3 : 4, used, e);
}

/* ---- rows ---------------------------------------------------------------------------------------------------------- */

/* The bits of v under the mask, scaled to 0..255. */
static unsigned char field(uint32_t v, uint32_t mask) {
    uint64_t most = mask, got = v & mask;
    if (!mask) return 0;
    while (!(most & 1)) {
        most >>= 1;
        got >>= 1;
    }
    return (unsigned char)(got * 255 / most);
}

static void store(const bmp *b, unsigned char *to, const unsigned char *row, int64_t x) {
    if (b->bits <= 8) {
        unsigned per = 8 / b->bits, shift = 8 - b->bits * (unsigned)(x % per + 1);
        memcpy(to, b->palette[row[x / per] >> shift & ((1u << b->bits) - 1)], 3);
    } else if (b->bits == 24) {
        for (int c = 0; c < 3; c++) to[c] = row[3 * x + 2 - c];
    } else {
        uint32_t v = b->bits == 16 ? fy_image_u16(row + 2 * x) : fy_image_u32(row + 4 * x);
        for (int c = 0; c < 3; c++) to[c] = field(v, b->mask[c]);
    }
}

static fy_status read_rows(fy_image *im, const bmp *b, ferry_error *e) {
    size_t stride = ((size_t)b->width * b->bits + 31) / 32 * 4;
    FY_NEED(e, stride * (size_t)b->height <= b->f->n - b->data, TRUNCATED, "%s: the file ends too early", b->f->name);
    for (int64_t y = 0; y < b->height; y++) {
        const unsigned char *row = b->f->at + b->data + (size_t)y * stride;
        unsigned char *to = im->pixel + (size_t)(b->top_down ? y : b->height - 1 - y) * (size_t)b->width * 3;
        for (int64_t x = 0; x < b->width; x++) store(b, to + 3 * x, row, x);
    }
    return FY_OK;
}

/* ---- run lengths --------------------------------------------------------------------------------------------------- */

static void put(const bmp *b, fy_image *im, int64_t x, int64_t y, unsigned index) {
    if (x >= b->width || y >= b->height) return;             /* what passes the end of a row is lost */
    memcpy(im->pixel + 3 * ((size_t)(b->top_down ? y : b->height - 1 - y) * (size_t)b->width + (size_t)x), b->palette[index], 3);
}

/* Pairs: a count and what to repeat; or 0 and: 0 end of row, 1 end of the image, 2 a move right and down, n literal pixels. Two pixels
 * share a byte in RLE4. Pixels that no run reaches have index 0. */
static fy_status read_runs(fy_image *im, const bmp *b, ferry_error *e) {
    const unsigned char *p = b->f->at + b->data, *end = b->f->at + b->f->n;
    bool four = b->packing == RLE4;
    int64_t x = 0, y = 0;
    for (int64_t i = 0; i < b->width * b->height; i++) put(b, im, i % b->width, i / b->width, 0);
    while (y < b->height) {
        FY_NEED(e, end - p >= 2, TRUNCATED, "%s: the file ends too early", b->f->name);
        unsigned n = p[0], v = p[1];
        p += 2;
        if (n) {
            for (unsigned i = 0; i < n; i++) put(b, im, x++, y, four ? (i % 2 ? v & 15 : v >> 4) : v);
        } else if (v == 0) {
            x = 0;
            y++;
        } else if (v == 1) break;
        else if (v == 2) {
            FY_NEED(e, end - p >= 2, TRUNCATED, "%s: the file ends too early", b->f->name);
            x += p[0];
            y += p[1];
            p += 2;
        } else {
            unsigned bytes = four ? (v + 1) / 2 : v;
            FY_NEED(e, end - p >= (ptrdiff_t)bytes, TRUNCATED, "%s: the file ends too early", b->f->name);
            for (unsigned i = 0; i < v; i++) put(b, im, x++, y, four ? (i % 2 ? p[i / 2] & 15u : p[i / 2] >> 4) : p[i]);
            p += bytes + (bytes % 2 && p + bytes < end ? 1 : 0);
        }
    }
    return FY_OK;
}

fy_status fy_image_bmp(fy_image *im, const fy_image_in *f, ferry_error *e) {
    bmp b = {.f = f};
    FY_TRY(header(&b, e));
    FY_TRY(fy_image_room(im, b.width, b.height, 3, f->name, e));
    return b.packing == RLE8 || b.packing == RLE4 ? read_runs(im, &b, e) : read_rows(im, &b, e);
}
