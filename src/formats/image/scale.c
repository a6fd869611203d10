/* SPDX-License-Identifier: Apache-2.0
 * scale.c - scaling and cropping of decoded images, as Pillow and torchvision do them. */
#include "formats/image/internal.h"

#include <math.h>
#include <string.h>

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
    FY_TRY(fy_image_room(dst, width, height, src->channels, "resize", e));
    int64_t c = src->channels, n0 = (int64_t)src->width * src->height * c, n1 = (int64_t)width * src->height * c, n2 = (int64_t)width * height * c;
    float *a = fy_malloc((size_t)n0, sizeof *a), *b = fy_malloc((size_t)n1, sizeof *b), *d = fy_malloc((size_t)n2, sizeof *d);
    fy_status s = a && b && d ? FY_OK : fy_nomem(e);
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
    FY_TRY(fy_image_room(dst, width, height, src->channels, "crop", e));
    int left = half_to_even(src->width - width), top = half_to_even(src->height - height);
    size_t row = (size_t)width * (size_t)src->channels;
    for (int y = 0; y < height; y++)
        memcpy(dst->pixel + (size_t)y * row, src->pixel + ((size_t)(top + y) * (size_t)src->width + (size_t)left) * (size_t)src->channels, row);
    return FY_OK;
}
