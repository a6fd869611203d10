/* SPDX-License-Identifier: Apache-2.0
 * decode.c - which format the bytes are, and its reader. BMP and PNM are read by readers of our own, PNG and JPEG by libpng and libjpeg;
 * TIFF, WebP and JPEG 2000 by libtiff, libwebp and OpenJPEG, where the build found them. */
#include "formats/image/internal.h"

#include "base/file.h"

#include <stdio.h>
#include <string.h>

typedef struct format {
    const char *name, *magic;            /* '?' in magic: any byte */
    int         nmagic;
    fy_status (*read)(fy_image *im, const fy_image_in *f, ferry_error *e);   /* NULL: the build lacks it */
    const char *needs;                   /* Debian's name of what it takes */
} format;

#ifdef FERRY_TIFF
#define TIFF_READER fy_image_tiff
#else
#define TIFF_READER NULL
#endif
#ifdef FERRY_WEBP
#define WEBP_READER fy_image_webp
#else
#define WEBP_READER NULL
#endif
#ifdef FERRY_JPEG2000
#define JPEG2000_READER fy_image_jpeg2000
#else
#define JPEG2000_READER NULL
#endif

static const format formats[] = {
    {"PNG", "\x89PNG", 4, fy_image_png, ""},
    {"JPEG", "\xff\xd8\xff", 3, fy_image_jpeg, ""},
    {"BMP", "BM", 2, fy_image_bmp, ""},
    {"TIFF", "II*\0", 4, TIFF_READER, "libtiff-dev"},
    {"TIFF", "MM\0*", 4, TIFF_READER, "libtiff-dev"},
    {"TIFF", "II+\0", 4, TIFF_READER, "libtiff-dev"},
    {"TIFF", "MM\0+", 4, TIFF_READER, "libtiff-dev"},
    {"WebP", "RIFF????WEBP", 12, WEBP_READER, "libwebp-dev"},
    {"JPEG 2000", "\0\0\0\x0cjP  \r\n\x87\n", 12, JPEG2000_READER, "libopenjp2-7-dev"},
    {"JPEG 2000", "\xff\x4f\xff\x51", 4, JPEG2000_READER, "libopenjp2-7-dev"},
    {"PNM", "P", 1, fy_image_pnm, ""},
};

static bool is(const format *k, const fy_image_in *f) {
    if (f->n <= (size_t)k->nmagic) return false;
    for (int i = 0; i < k->nmagic; i++)
        if (k->magic[i] != '?' && (unsigned char)k->magic[i] != f->at[i]) return false;
    if (k->read != fy_image_pnm) return true;
    return f->n > 2 && f->at[1] >= '1' && f->at[1] <= '7' && strchr(" \t\r\n\v\f#", f->at[2]) && f->at[2];
}

void fy_image_formats(char *text, size_t n, bool lacking) {
    size_t at = 0;
    text[0] = 0;
    for (int i = 0; i < FY_COUNT(formats); i++) {
        if ((i && !strcmp(formats[i].name, formats[i - 1].name)) || !formats[i].read != lacking) continue;
        int more = snprintf(text + at, n - at, "%s%s", at ? lacking ? " " : ", " : "", lacking ? formats[i].needs : formats[i].name);
        if (more < 0 || (size_t)more >= n - at) return;
        at += (size_t)more;
    }
}

/* ---- pixels -------------------------------------------------------------------------------------------------------- */

void fy_image_free(fy_image *im) {
    fy_free(im->pixel);
    *im = (fy_image){0};
}

fy_status fy_image_room(fy_image *im, int64_t width, int64_t height, int channels, const char *name, ferry_error *e) {
    FY_NEED(e, width > 0 && height > 0, CORRUPT, "%s: an image of %lld x %lld pixels", name, (long long)width, (long long)height);
    FY_NEED(e, width <= FY_IMAGE_SIDE && height <= FY_IMAGE_SIDE && width * height <= FY_IMAGE_PIXELS, LIMIT, "%s: %lld x %lld pixels are over the limit of %d a side and %d in all",
        name, (long long)width, (long long)height, FY_IMAGE_SIDE, FY_IMAGE_PIXELS);
    *im = (fy_image){(int)width, (int)height, channels, fy_calloc((size_t)(width * height), (size_t)channels)};
    FY_NOMEM(e, im->pixel);
    return FY_OK;
}

void fy_image_drop_alpha(fy_image *im) {
    size_t n = (size_t)im->width * (size_t)im->height;
    for (size_t i = 0; i < n; i++) memmove(im->pixel + 3 * i, im->pixel + 4 * i, 3);
    im->channels = 3;
}

/* RGB to gray, in place: luma of ITU-R BT.601 in 16 bits of fraction, as Pillow's mode L. */
static void to_gray(fy_image *im) {
    size_t n = (size_t)im->width * (size_t)im->height;
    for (size_t i = 0; i < n; i++) {
        const unsigned char *p = im->pixel + 3 * i;
        im->pixel[i] = (unsigned char)((p[0] * 19595u + p[1] * 38470u + p[2] * 7471u + 0x8000u) >> 16);
    }
    im->channels = 1;
}

/* ---- the door ------------------------------------------------------------------------------------------------------ */

fy_status fy_image_decode(fy_image *im, const void *bytes, size_t n, const char *name, bool gray, ferry_error *e) {
    const fy_image_in f = {bytes, n, name};
    const format *k = NULL;
    *im = (fy_image){0};
    for (int i = 0; i < FY_COUNT(formats) && !k; i++)
        if (is(&formats[i], &f)) k = &formats[i];
    FY_NEED(e, k, FORMAT, "%s is no image that ferry reads: BMP, JPEG, JPEG 2000, PNG, PNM, TIFF, WebP", name);
    FY_NEED(e, k->read, UNSUPPORTED, "%s is a %s image: this build of ferry was made without %s", name, k->name, k->needs);
    fy_status s = k->read(im, &f, e);
    if (s) fy_image_free(im);
    else if (gray) to_gray(im);
    return s;
}

fy_status fy_image_read(fy_image *im, const char *path, bool gray, ferry_error *e) {
    fy_map_file f;
    *im = (fy_image){0};
    FY_TRY(fy_file_open(&f, path, e));
    fy_status s = fy_image_decode(im, f.at, f.n, path, gray, e);
    fy_file_close(&f);
    return s;
}

fy_status fy_image_decode_tensor(fy_tensor *out, const void *bytes, size_t n, bool gray, int64_t max_bytes, ferry_error *e) {
    fy_image im;
    FY_TRY(fy_image_decode(&im, bytes, n, "the image", gray, e));
    int64_t dim[] = {im.height, im.width, im.channels}, count = dim[0] * dim[1] * dim[2];
    fy_status s = count <= max_bytes ? fy_tensor_new(out, FERRY_UINT8, 3, dim, e) : fy_fail(e, FY_E_LIMIT, "the image would take more than %lld bytes", (long long)max_bytes);
    if (!s) memcpy(out->data, im.pixel, (size_t)count);
    fy_image_free(&im);
    return s;
}
