/* SPDX-License-Identifier: Apache-2.0
 * internal.h - one reader for each image format; decode.c chooses by the first bytes.
 *
 * A reader takes the bytes, asks fy_image_room for its pixels as soon as it knows the size (which bounds it), and fills them with RGB:
 * alpha is dropped, not blended; colour profiles are not applied. Errors: TRUNCATED, CORRUPT; FORMAT for a valid kind of the format that
 * it does not read; LIMIT; NOMEM. What it leaves in `im` on an error is freed by the caller. */
#ifndef FY_IMAGE_INTERNAL_H
#define FY_IMAGE_INTERNAL_H

#include "formats/image.h"

#define FY_IMAGE_SIDE 32768
#define FY_IMAGE_PIXELS (64 << 20)

typedef struct fy_image_in { const unsigned char *at; size_t n; const char *name; } fy_image_in;

FY_CHECKED fy_status fy_image_room(fy_image *im, int64_t width, int64_t height, int channels, const char *name, ferry_error *e);
/* Removes the fourth of every four samples. */
void fy_image_drop_alpha(fy_image *im);

FY_CHECKED fy_status fy_image_bmp(fy_image *im, const fy_image_in *f, ferry_error *e);
FY_CHECKED fy_status fy_image_jpeg(fy_image *im, const fy_image_in *f, ferry_error *e);
FY_CHECKED fy_status fy_image_jpeg2000(fy_image *im, const fy_image_in *f, ferry_error *e);
FY_CHECKED fy_status fy_image_png(fy_image *im, const fy_image_in *f, ferry_error *e);
FY_CHECKED fy_status fy_image_pnm(fy_image *im, const fy_image_in *f, ferry_error *e);
FY_CHECKED fy_status fy_image_tiff(fy_image *im, const fy_image_in *f, ferry_error *e);
FY_CHECKED fy_status fy_image_webp(fy_image *im, const fy_image_in *f, ferry_error *e);

/* Little- and big-endian numbers; the caller has checked that they are there. */
static inline uint32_t fy_image_u16(const unsigned char *p) { return (uint32_t)(p[0] | p[1] << 8); }
static inline uint32_t fy_image_u32(const unsigned char *p) { return fy_image_u16(p) | fy_image_u16(p + 2) << 16; }
static inline uint32_t fy_image_b16(const unsigned char *p) { return (uint32_t)(p[0] << 8 | p[1]); }
static inline uint32_t fy_image_b32(const unsigned char *p) { return fy_image_b16(p) << 16 | fy_image_b16(p + 2); }

#endif
