/* SPDX-License-Identifier: Apache-2.0
 * image.h - images in: BMP, JPEG, JPEG 2000, PNG, PNM, TIFF, WebP; scaling as torchvision does it. */
#ifndef FY_IMAGE_H
#define FY_IMAGE_H

#include "tensor/tensor.h"

/* pixel: height x width x channels bytes, row-major; channels is 1 (gray) or 3 (RGB). */
typedef struct fy_image { int width, height, channels; unsigned char *pixel; } fy_image;

/* Decodes an image of any of these formats (UNSUPPORTED where the build lacks its library, FORMAT where it is none); alpha is dropped,
 * palettes and 16-bit samples become 8-bit. LIMIT above 32768 pixels a side or 64 megapixels, checked before memory is taken. */
FY_CHECKED fy_status fy_image_read(fy_image *im, const char *path, bool gray, ferry_error *e);
/* The same from memory; `name` is what errors call it. */
FY_CHECKED fy_status fy_image_decode(fy_image *im, const void *bytes, size_t n, const char *name, bool gray, ferry_error *e);
/* fy_hooks.image_decode: u8 [height, width, channels]. */
FY_CHECKED fy_status fy_image_decode_tensor(fy_tensor *out, const void *bytes, size_t n, bool gray, int64_t max_bytes, ferry_error *e);
/* Bilinear with antialiasing (the triangle filter widened by the scale), as Pillow's and torchvision's Resize. */
FY_CHECKED fy_status fy_image_resize(fy_image *dst, const fy_image *src, int width, int height, ferry_error *e);
/* Centre crop; sides larger than the image are an error. */
FY_CHECKED fy_status fy_image_crop(fy_image *dst, const fy_image *src, int width, int height, ferry_error *e);
void fy_image_free(fy_image *im);
/* The formats that this build reads ("PNG, JPEG, ..."); with `lacking` the Debian packages that it was made without ("" if none). */
void fy_image_formats(char *text, size_t n, bool lacking);


#endif
