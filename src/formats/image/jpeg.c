/* SPDX-License-Identifier: Apache-2.0
 * jpeg.c - JPEG through libjpeg, its errors caught; CMYK as Adobe writes it (inverted) and as others do. */
#include "formats/image/internal.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#define MAX_SCANS 100

/* libjpeg reports errors through a callback that must not return. */
typedef struct guard { struct jpeg_error_mgr base; jmp_buf back; char text[JMSG_LENGTH_MAX]; bool nomem; } guard;

static void on_error(j_common_ptr c) {
    guard *g = (guard *)c->err;
    g->nomem = c->err->msg_code == JERR_OUT_OF_MEMORY;
    c->err->format_message(c, g->text);
    longjmp(g->back, 1);
}
static void on_message(j_common_ptr c, int level) { (void)c; (void)level; }

/* A progressive file may hold a scan for every few bytes, each as dear as the whole image. */
static void on_progress(j_common_ptr c) {
    j_decompress_ptr d = (j_decompress_ptr)(void *)c;
    if (d->input_scan_number > MAX_SCANS) {
        guard *g = (guard *)c->err;
        snprintf(g->text, sizeof g->text, "more than %d scans", MAX_SCANS);
        longjmp(g->back, 1);
    }
}

/* Each ink takes light away: r = (1 - c)(1 - k). Adobe stores 1 - ink. */
static void from_cmyk(fy_image *im, bool inverted) {
    size_t n = (size_t)im->width * (size_t)im->height;
    for (size_t i = 0; i < n; i++) {
        unsigned char *p = im->pixel + 4 * i;
        for (int c = 0; c < 3; c++) {
            unsigned light = inverted ? p[c] : 255u - p[c], black = inverted ? p[3] : 255u - p[3];
            p[c] = (unsigned char)((light * black + 127) / 255);
        }
    }
    fy_image_drop_alpha(im);
}

typedef struct reader { struct jpeg_decompress_struct d; struct jpeg_progress_mgr progress; guard guard; fy_image *im; const fy_image_in *f; } reader;

/* Apart from its caller, so that what changes between setjmp and longjmp is not local to it. */
static fy_status attempt(reader *r, ferry_error *e) {
    j_decompress_ptr d = &r->d;
    if (setjmp(r->guard.back)) return r->guard.nomem ? fy_nomem(e) : fy_fail(e, FY_E_CORRUPT, "%s: %s", r->f->name, r->guard.text);
    jpeg_create_decompress(d);
    d->progress = &r->progress;
    jpeg_mem_src(d, r->f->at, (unsigned long)r->f->n);
    jpeg_read_header(d, TRUE);
    bool cmyk = d->jpeg_color_space == JCS_CMYK || d->jpeg_color_space == JCS_YCCK;
    d->out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    FY_TRY(fy_image_room(r->im, d->image_width, d->image_height, cmyk ? 4 : 3, r->f->name, e));
    jpeg_start_decompress(d);
    while (d->output_scanline < d->output_height) {
        JSAMPROW row = r->im->pixel + (size_t)d->output_scanline * (size_t)r->im->width * (size_t)r->im->channels;
        jpeg_read_scanlines(d, &row, 1);
    }
    jpeg_finish_decompress(d);
    if (cmyk) from_cmyk(r->im, d->saw_Adobe_marker);
    return FY_OK;
}

fy_status fy_image_jpeg(fy_image *im, const fy_image_in *f, ferry_error *e) {
    reader r = {.progress = {.progress_monitor = on_progress}, .im = im, .f = f};
    r.d.err = jpeg_std_error(&r.guard.base);
    r.guard.base.error_exit = on_error;
    r.guard.base.emit_message = on_message;
    fy_status s = attempt(&r, e);
    jpeg_destroy_decompress(&r.d);
    return s;
}
