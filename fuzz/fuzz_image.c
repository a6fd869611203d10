/* SPDX-License-Identifier: Apache-2.0
 * fuzz_image.c - images of every format: whatever the bytes are, a status, bounded memory, nothing printed. */
#include "fuzz.h"

#include "formats/image.h"

static const char *const files[] = {"image/alpha.jp2", "image/alpha.png", "image/alpha.tiff", "image/alpha.webp", "image/anim.webp", "image/b1.bmp", "image/b24.bmp",
    "image/b32.bmp", "image/b555.bmp", "image/b565.bmp", "image/b8.bmp", "image/bits.pbm", "image/bits.tiff", "image/bpal.bmp",
    "image/cmyk.jpg", "image/cmyk.tiff", "image/deep.pgm", "image/deep.png", "image/gray.jp2", "image/gray.jpg", "image/gray.pgm",
    "image/gray.png", "image/gray.tiff", "image/jpeg.tiff", "image/lossless.webp", "image/lossy.j2k", "image/lossy.webp",
    "image/packbits.tiff", "image/pal.tiff", "image/palette.png", "image/progressive.jpg", "image/raw.tiff", "image/rgb.jp2", "image/rgb.jpg",
    "image/rgb.ppm", "image/rgba.pam", "image/rle4.bmp", "image/rle8.bmp", "image/text.pbm", "image/text.pgm", "image/text.ppm",
    "image/tiff_adobe_deflate.tiff", "image/tiff_lzw.tiff", "image/tiles.jp2", NULL};
static const char *const words[] = {"P1", "P2", "P3", "P4", "P5", "P6", "P7", "WIDTH", "HEIGHT", "DEPTH", "MAXVAL", "TUPLTYPE", "ENDHDR", "255", "65535", "BM", "IHDR", "PLTE", "tRNS",
    "IDAT", "IEND", "\xff\xd8\xff", "\xff\xc2", "\xff\xda", "\xff\xee", "II*", "MM", "RIFF", "WEBP", "VP8 ", "VP8L", "VP8X", "ANIM", "ANMF", "ALPH", "jp2h", "jp2c", "colr", "pclr", "cdef",
    "\xff\x4f\xff\x51", "\xff\x52", "\xff\x53", "\xff\x90", "\xff\x93", NULL};
/* pixels of the largest image, and libtiff's raster of it */
const fy_fuzz fy_target = {"image", FY_G_BYTES, files, NULL, words, (size_t)460 << 20};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ferry_error e;
    fy_image im;
    if (fy_image_decode(&im, data, size, "it", size % 2, &e) == FY_OK) {
        fy_reached[0]++;
        fy_image_free(&im);
    }
    return 0;
}
