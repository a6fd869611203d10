/* SPDX-License-Identifier: Apache-2.0
 * png.c - PNG through libpng: palettes and all depths become 8-bit RGB; gamma and profiles are left alone, as in Pillow. */
#include "formats/image/internal.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <png.h>

#define MAX_CHUNK (8 << 20)

/* libpng reports errors through a callback that must not return. */
typedef struct guard {
    jmp_buf            back;
    char               text[120];
    const fy_image_in *f;
    fy_image          *im;
    size_t             at;
    fy_status          s;
    png_structp        png;
    png_infop          info;
    ferry_error       *e;
} guard;

static void on_error(png_structp p, png_const_charp words) {
    guard *g = png_get_error_ptr(p);
    if (g->s == FY_OK) {
        g->s = FY_E_CORRUPT;
        snprintf(g->text, sizeof g->text, "%s", words);
    }
    longjmp(g->back, 1);
}
static void on_warning(png_structp p, png_const_charp words) { (void)p; (void)words; }

static png_voidp take(png_structp p, png_alloc_size_t n) {
    guard *g = png_get_mem_ptr(p);
    void *at = fy_malloc(n, 1);
    if (!at) g->s = FY_E_NOMEM;
    return at;
}
static void give(png_structp p, png_voidp at) { (void)p; fy_free(at); }

static void feed(png_structp p, png_bytep to, size_t n) {
    guard *g = png_get_io_ptr(p);
    if (n > g->f->n - g->at) {
        g->s = FY_E_TRUNCATED;
        snprintf(g->text, sizeof g->text, "the file ends too early");
        longjmp(g->back, 1);
    }
    memcpy(to, g->f->at + g->at, n);
    g->at += n;
}

static void read_rows(guard *g) {
    png_structp p = g->png;
    png_set_user_limits(p, FY_IMAGE_SIDE, FY_IMAGE_SIDE);
    png_set_chunk_malloc_max(p, MAX_CHUNK);
    png_set_read_fn(p, g, feed);
    png_read_info(p, g->info);
    g->s = fy_image_room(g->im, png_get_image_width(p, g->info), png_get_image_height(p, g->info), 3, g->f->name, g->e);
    if (g->s) return;
    png_set_palette_to_rgb(p);
    png_set_expand_gray_1_2_4_to_8(p);
    png_set_strip_16(p);
    png_set_strip_alpha(p);
    png_set_gray_to_rgb(p);
    int passes = png_set_interlace_handling(p);
    png_read_update_info(p, g->info);
    size_t row = 3 * (size_t)g->im->width;
    if (png_get_rowbytes(p, g->info) != row) png_error(p, "rows of an unexpected length");
    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < g->im->height; y++) png_read_row(p, g->im->pixel + (size_t)y * row, NULL);
}

/* Apart from its caller, so that what changes between setjmp and longjmp is not local to it. */
static void attempt(guard *g) {
    if (setjmp(g->back)) return;
    g->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, g, on_error, on_warning, g, take, give);
    if (g->png) g->info = png_create_info_struct(g->png);
    if (g->info) read_rows(g);
    else g->s = FY_E_NOMEM;
}

fy_status fy_image_png(fy_image *im, const fy_image_in *f, ferry_error *e) {
    guard g = {.f = f, .im = im, .e = e};
    attempt(&g);
    if (g.png) png_destroy_read_struct(&g.png, &g.info, NULL);
    if (g.s == FY_E_NOMEM) return fy_nomem(e);
    return g.text[0] ? fy_fail(e, g.s, "%s: %s", f->name, g.text) : g.s;
}
