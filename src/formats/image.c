/* SPDX-License-Identifier: Apache-2.0
 * image.c - PNG through libpng's simplified reader, JPEG through libjpeg with its errors caught, and scaling. */
#include "formats/image.h"

#include "base/checked.h"
#include "base/file.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
#include <png.h>

#define MAX_SIDE 32768
#define MAX_PIXELS (64 << 20)
#define MAX_SCANS 100

typedef struct input { const unsigned char *at; size_t n; const char *name; } input;

void fy_image_free(fy_image *im) {
    fy_free(im->pixel);
    *im = (fy_image){0};
}

static fy_status allocate(fy_image *im, int64_t width, int64_t height, int channels, const char *path, ferry_error *e) {
    FY_NEED(e, width > 0 && height > 0, CORRUPT, "%s: an image of %lld x %lld pixels", path, (long long)width, (long long)height);
    FY_NEED(e, width <= MAX_SIDE && height <= MAX_SIDE && width * height <= MAX_PIXELS, LIMIT, "%s: %lld x %lld pixels are over the limit of %d a side and %d in all",
        path, (long long)width, (long long)height, MAX_SIDE, MAX_PIXELS);
    *im = (fy_image){(int)width, (int)height, channels, fy_malloc((size_t)(width * height), (size_t)channels)};
    FY_NOMEM(e, im->pixel);
    return FY_OK;
}

/* RGBA to RGB, in place. */
static void drop_samples(fy_image *im) {
    size_t n = (size_t)im->width * (size_t)im->height;
    for (size_t i = 0; i < n; i++) memmove(im->pixel + 3 * i, im->pixel + 4 * i, 3);
    im->channels = 3;
}

/* RGB to gray, in place: luma of ITU-R BT.601 in 16 bits of fraction. */
static void to_gray(fy_image *im) {
    size_t n = (size_t)im->width * (size_t)im->height;
    for (size_t i = 0; i < n; i++) {
        const unsigned char *p = im->pixel + 3 * i;
        im->pixel[i] = (unsigned char)((p[0] * 19595u + p[1] * 38470u + p[2] * 7471u + 0x8000u) >> 16);
    }
    im->channels = 1;
}

static fy_status read_png(fy_image *im, const input *f, ferry_error *e) {
    png_image png = {.version = PNG_IMAGE_VERSION};
    FY_NEED(e, png_image_begin_read_from_memory(&png, f->at, f->n), CORRUPT, "%s: %s", f->name, png.message);
    png.format = PNG_FORMAT_RGBA;                            /* with its alpha, so that it is dropped and not blended in */
    png.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
    fy_status s = allocate(im, png.width, png.height, 4, f->name, e);
    if (!s && !png_image_finish_read(&png, NULL, im->pixel, 0, NULL)) s = fy_fail(e, FY_E_CORRUPT, "%s: %s", f->name, png.message);
    png_image_free(&png);
    if (!s) drop_samples(im);
    return s;
}

/* libjpeg reports errors through a callback that must not return. */
typedef struct jpeg_guard { struct jpeg_error_mgr base; jmp_buf back; char text[JMSG_LENGTH_MAX]; } jpeg_guard;

static void on_error(j_common_ptr c) {
    jpeg_guard *g = (jpeg_guard *)c->err;
    c->err->format_message(c, g->text);
    longjmp(g->back, 1);
}
static void on_message(j_common_ptr c, int level) { (void)c; (void)level; }

/* A progressive file may hold a scan for every few bytes, each as dear as the whole image. */
static void on_progress(j_common_ptr c) {
    j_decompress_ptr d = (j_decompress_ptr)(void *)c;
    if (d->input_scan_number > MAX_SCANS) {
        jpeg_guard *g = (jpeg_guard *)c->err;
        snprintf(g->text, sizeof g->text, "more than %d scans", MAX_SCANS);
        longjmp(g->back, 1);
    }
}

static fy_status read_jpeg(fy_image *im, const input *f, ferry_error *e) {
    struct jpeg_decompress_struct d = {0};
    struct jpeg_progress_mgr progress = {.progress_monitor = on_progress};
    jpeg_guard guard;
    volatile fy_status s = FY_OK;                            /* changed between setjmp and longjmp */
    d.err = jpeg_std_error(&guard.base);
    guard.base.error_exit = on_error;
    guard.base.emit_message = on_message;
    if (setjmp(guard.back)) {
        jpeg_destroy_decompress(&d);
        return fy_fail(e, FY_E_CORRUPT, "%s: %s", f->name, guard.text);
    }
    jpeg_create_decompress(&d);
    d.progress = &progress;
    jpeg_mem_src(&d, f->at, (unsigned long)f->n);
    jpeg_read_header(&d, TRUE);
    d.out_color_space = JCS_RGB;
    s = allocate(im, d.image_width, d.image_height, 3, f->name, e);
    if (!s) {
        jpeg_start_decompress(&d);
        while (d.output_scanline < d.output_height) {
            JSAMPROW row = im->pixel + (size_t)d.output_scanline * (size_t)im->width * (size_t)im->channels;
            jpeg_read_scanlines(&d, &row, 1);
        }
        jpeg_finish_decompress(&d);
    }
    jpeg_destroy_decompress(&d);
    return s;
}

fy_status fy_image_decode(fy_image *im, const void *bytes, size_t n, const char *name, bool gray, ferry_error *e) {
    static const unsigned char png_magic[] = {0x89, 'P', 'N', 'G'}, jpeg_magic[] = {0xff, 0xd8, 0xff};
    const input f = {bytes, n, name};
    *im = (fy_image){0};
    fy_status s;
    if (n > 4 && !memcmp(f.at, png_magic, 4)) s = read_png(im, &f, e);
    else if (n > 3 && !memcmp(f.at, jpeg_magic, 3)) s = read_jpeg(im, &f, e);
    else s = fy_fail(e, FY_E_FORMAT, "%s is neither PNG nor JPEG", name);
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

/* ---- scaling ------------------------------------------------------------------------------------------------------ */

/* One axis: dst[o] = sum of src around the centre (o + 0.5) * scale, weighted by a triangle of half width max(scale, 1).
 * `inner` values lie side by side at each step of the axis; `outer` such lines follow one another. */
static void scale_axis(float *dst, const float *src, int64_t outer, int n_src, int n_dst, int64_t inner) {
    double scale = (double)n_src / n_dst, support = fmax(scale, 1);
    for (int o = 0; o < n_dst; o++) {
        double centre = (o + 0.5) * scale, total = 0;
        int lo = (int)fmax(centre - support + 0.5, 0), hi = (int)fmin(centre + support + 0.5, n_src);
        for (int i = lo; i < hi; i++) total += fmax(1 - fabs((i + 0.5 - centre) / support), 0);
        for (int64_t line = 0; line < outer; line++) {
            float *d = dst + (line * n_dst + o) * inner;
            for (int64_t k = 0; k < inner; k++) {
                double sum = 0;
                for (int i = lo; i < hi; i++) sum += fmax(1 - fabs((i + 0.5 - centre) / support), 0) * (double)src[(line * n_src + i) * inner + k];
                d[k] = (float)(sum / total);
            }
        }
    }
}

/* Pillow rounds to bytes after each of the two directions. */
static void round_bytes(float *v, int64_t n) {
    for (int64_t i = 0; i < n; i++) v[i] = floorf(fminf(fmaxf(v[i], 0.0f), 255.0f) + 0.5f);
}

fy_status fy_image_resize(fy_image *dst, const fy_image *src, int width, int height, ferry_error *e) {
    FY_TRY(allocate(dst, width, height, src->channels, "resize", e));
    int64_t c = src->channels, n0 = (int64_t)src->width * src->height * c, n1 = (int64_t)width * src->height * c, n2 = (int64_t)width * height * c;
    float *a = fy_malloc((size_t)n0, sizeof *a), *b = fy_malloc((size_t)n1, sizeof *b), *d = fy_malloc((size_t)n2, sizeof *d);
    fy_status s = a && b && d ? FY_OK : fy_fail(e, FY_E_NOMEM, "out of memory");
    if (!s) {
        for (int64_t i = 0; i < n0; i++) a[i] = src->pixel[i];
        scale_axis(b, a, src->height, src->width, width, c);
        round_bytes(b, n1);
        scale_axis(d, b, 1, src->height, height, (int64_t)width * c);
        round_bytes(d, n2);
        for (int64_t i = 0; i < n2; i++) dst->pixel[i] = (unsigned char)d[i];
    }
    fy_free(a);
    fy_free(b);
    fy_free(d);
    if (s) fy_image_free(dst);
    return s;
}

/* n / 2 with halves going to the even neighbour, as Python's round() in torchvision's CenterCrop. */
static int half_to_even(int n) { return n / 2 + (n % 4 == 3); }

fy_status fy_image_crop(fy_image *dst, const fy_image *src, int width, int height, ferry_error *e) {
    FY_NEED(e, width > 0 && height > 0 && width <= src->width && height <= src->height, VALUE, "a crop of %d x %d does not fit an image of %d x %d", width, height,
        src->width, src->height);
    FY_TRY(allocate(dst, width, height, src->channels, "crop", e));
    int left = half_to_even(src->width - width), top = half_to_even(src->height - height);
    size_t row = (size_t)width * (size_t)src->channels;
    for (int y = 0; y < height; y++)
        memcpy(dst->pixel + (size_t)y * row, src->pixel + ((size_t)(top + y) * (size_t)src->width + (size_t)left) * (size_t)src->channels, row);
    return FY_OK;
}
