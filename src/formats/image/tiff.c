/* SPDX-License-Identifier: Apache-2.0
 * tiff.c - the first image of a TIFF, through libtiff from memory: its messages come to us, no single request passes MAX_ALLOC. */
#include "formats/image/internal.h"

#ifdef FERRY_TIFF
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <tiffio.h>

#define MAX_ALLOC ((tmsize_t)256 << 20)

typedef struct source { const fy_image_in *f; uint64_t at; char text[160]; } source;

static tmsize_t read_some(thandle_t h, void *to, tmsize_t n) {
    source *s = h;
    uint64_t rest = s->at < s->f->n ? s->f->n - s->at : 0;
    if (n < 0) return 0;
    if ((uint64_t)n > rest) n = (tmsize_t)rest;
    if (n) memcpy(to, s->f->at + s->at, (size_t)n);
    s->at += (uint64_t)n;
    return n;
}
static tmsize_t write_none(thandle_t h, void *from, tmsize_t n) { (void)h; (void)from; (void)n; return -1; }
static toff_t seek(thandle_t h, toff_t to, int whence) {
    source *s = h;
    s->at = whence == SEEK_CUR ? s->at + to : whence == SEEK_END ? s->f->n + to : to;
    return s->at;
}
static int close_none(thandle_t h) { (void)h; return 0; }
static toff_t size_of(thandle_t h) { return ((source *)h)->f->n; }

/* 1: dealt with, nothing is printed. The first error is the cause. */
FY_PRINTF(4, 0) static int on_error(TIFF *t, void *user, const char *module, const char *words, va_list ap) {
    source *s = user;
    (void)t; (void)module;
    if (!s->text[0]) vsnprintf(s->text, sizeof s->text, words, ap);
    return 1;
}
FY_PRINTF(4, 0) static int on_warning(TIFF *t, void *user, const char *module, const char *words, va_list ap) {
    (void)t; (void)user; (void)module; (void)words; (void)ap;
    return 1;
}

static fy_status decode(fy_image *im, TIFF *t, const source *src, ferry_error *e) {
    uint32_t w = 0, h = 0, *raster;
    uint16_t extras = 0, *kind = NULL;
    char     why[1024] = "";
    if (!TIFFGetField(t, TIFFTAG_IMAGEWIDTH, &w) || !TIFFGetField(t, TIFFTAG_IMAGELENGTH, &h)) return fy_fail(e, FY_E_CORRUPT, "%s: a TIFF without a size", src->f->name);
    FY_TRY(fy_image_room(im, w, h, 3, src->f->name, e));
    if (!TIFFRGBAImageOK(t, why)) return fy_fail(e, FY_E_FORMAT, "%s: a kind of TIFF that is not read here: %.120s", src->f->name, why);
    /* alpha is to be dropped: as "associated", colours come as they are stored, else they would be multiplied by it */
    uint16_t as_stored = EXTRASAMPLE_ASSOCALPHA;
    if (TIFFGetField(t, TIFFTAG_EXTRASAMPLES, &extras, &kind) && extras == 1 && kind[0] == EXTRASAMPLE_UNASSALPHA) TIFFSetField(t, TIFFTAG_EXTRASAMPLES, 1, &as_stored);
    FY_NOMEM(e, raster = fy_malloc((size_t)w * h, sizeof *raster));
    bool ok = TIFFReadRGBAImageOriented(t, w, h, raster, ORIENTATION_TOPLEFT, 1);
    for (size_t i = 0; ok && i < (size_t)w * h; i++) {
        im->pixel[3 * i] = (unsigned char)TIFFGetR(raster[i]);
        im->pixel[3 * i + 1] = (unsigned char)TIFFGetG(raster[i]);
        im->pixel[3 * i + 2] = (unsigned char)TIFFGetB(raster[i]);
    }
    fy_free(raster);
    return ok ? FY_OK : fy_fail(e, FY_E_CORRUPT, "%s: %s", src->f->name, src->text[0] ? src->text : "damaged TIFF data");
}

fy_status fy_image_tiff(fy_image *im, const fy_image_in *f, ferry_error *e) {
    source src = {.f = f};
    TIFFOpenOptions *o = TIFFOpenOptionsAlloc();
    FY_NOMEM(e, o);
    TIFFOpenOptionsSetMaxSingleMemAlloc(o, MAX_ALLOC);
    TIFFOpenOptionsSetErrorHandlerExtR(o, on_error, &src);
    TIFFOpenOptionsSetWarningHandlerExtR(o, on_warning, &src);
    TIFF *t = TIFFClientOpenExt("image", "rm", &src, read_some, write_none, seek, close_none, size_of, NULL, NULL, o);
    TIFFOpenOptionsFree(o);
    if (!t) return fy_fail(e, FY_E_CORRUPT, "%s: %s", f->name, src.text[0] ? src.text : "damaged TIFF header");
    fy_status s = decode(im, t, &src, e);
    TIFFClose(t);
    return s;
}
#endif
