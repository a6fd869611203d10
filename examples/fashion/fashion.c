/* SPDX-License-Identifier: Apache-2.0
 * fashion.c - what the demo needs around `ferry`, on the public headers: pixels as the model wants them, pictures as PNG, and how
 * many of the answers are right. The same in C that people write in Python around a model.
 *
 *     fashion unpack images.npz in.npz FOLDER    in.npz: image f32[n,1,28,28] in 0..1; FOLDER/<class>.png: one picture of each class
 *     fashion score images.npz scores.npz        accuracy of scores f32[n,10] against `labels` of images.npz */
#include <ferry/ferry.h>

#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLASSES 10
static const char *const class_name[CLASSES] = {"t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"};

static int fail(const ferry_error *e) {
    fprintf(stderr, "fashion: %s\n", e->text);
    return e->kind ? e->kind : 1;
}

static int named(ferry_values *v, const char *name, int32_t dtype, ferry_tensor *t) {
    int at = ferry_values_find(v, name);
    return at >= 0 && !ferry_values_get(v, (size_t)at, t, NULL) && t->dtype == dtype && t->rank >= 1;
}

static int write_png(const char *folder, const char *name, const unsigned char *pixel, int64_t height, int64_t width) {
    char path[1024];
    png_image png = {.version = PNG_IMAGE_VERSION, .width = (png_uint_32)width, .height = (png_uint_32)height, .format = PNG_FORMAT_GRAY};
    snprintf(path, sizeof path, "%s/%s.png", folder, name);
    return png_image_write_to_file(&png, path, 0, pixel, 0, NULL) ? 0 : (fprintf(stderr, "fashion: %s: %s\n", path, png.message), 4);
}

static int unpack(ferry_values *v, const char *out, const char *folder) {
    ferry_error e;
    ferry_tensor image, label;
    if (!named(v, "images", FERRY_UINT8, &image) || !named(v, "labels", FERRY_UINT8, &label) || image.rank != 3 || image.dim[0] != label.dim[0])
        return fprintf(stderr, "fashion: images u8[n,h,w] and labels u8[n] are expected\n"), 3;
    const unsigned char *pixel = image.data, *class = label.data;
    int64_t n = image.dim[0], h = image.dim[1], w = image.dim[2], dim[4] = {n, 1, h, w};
    int written[CLASSES] = {0}, kind = 0;
    for (int64_t i = 0; !kind && i < n; i++)
        if (class[i] < CLASSES && !written[class[i]]++) kind = write_png(folder, class_name[class[i]], pixel + i * h * w, h, w);
    float *x = kind ? NULL : malloc((size_t)(n * h * w) * sizeof *x);
    ferry_values *in = ferry_values_new();
    for (int64_t i = 0; x && i < n * h * w; i++) x[i] = (float)pixel[i] / 255;
    if (x && in) {
        ferry_tensor t = ferry_f32(x, 4, dim);
        kind = ferry_values_set(in, "image", &t, &e);
        if (!kind) kind = ferry_values_write(in, out, &e);
        if (kind) fail(&e);
        else printf("%lld pictures of %lld x %lld -> %s\n", (long long)n, (long long)h, (long long)w, out);
    } else if (!kind)
        kind = 4;
    ferry_values_free(in);
    free(x);
    return kind;
}

static int score(ferry_values *v, const char *scores) {
    ferry_error e;
    ferry_tensor y, label;
    if (ferry_values_read(v, scores, "scores", &e)) return fail(&e);
    if (!named(v, "scores", FERRY_FLOAT, &y) || !named(v, "labels", FERRY_UINT8, &label) || y.rank != 2 || y.dim[0] != label.dim[0])
        return fprintf(stderr, "fashion: scores f32[n,%d] and labels u8[n] are expected\n", CLASSES), 3;
    const float *row = y.data;
    int64_t right = 0, n = y.dim[0];
    for (int64_t i = 0; i < n; i++, row += y.dim[1]) {
        int64_t best = 0;
        for (int64_t k = 1; k < y.dim[1]; k++)
            if (row[k] > row[best]) best = k;
        right += best == ((const unsigned char *)label.data)[i];
    }
    printf("%lld of %lld right: %.1f %%\n", (long long)right, (long long)n, 100.0 * (double)right / (double)n);
    return 0;
}

int main(int argc, char **argv) {
    int unpacking = argc == 5 && !strcmp(argv[1], "unpack");
    if (!unpacking && !(argc == 4 && !strcmp(argv[1], "score")))
        return fprintf(stderr, "usage: fashion unpack IMAGES.npz IN.npz FOLDER | fashion score IMAGES.npz SCORES.npz\n"), 2;
    ferry_error e;
    ferry_values *v = ferry_values_new();
    int kind = !v ? 4 : ferry_values_read(v, argv[2], "", &e) ? fail(&e) : unpacking ? unpack(v, argv[3], argv[4]) : score(v, argv[3]);
    ferry_values_free(v);
    return kind;
}
