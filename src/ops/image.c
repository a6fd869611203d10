/* SPDX-License-Identifier: Apache-2.0
 * image.c - ImageDecoder: u8[n], the bytes of an image file, -> u8[height, width, 1 or 3]. Decoders are libraries, so the work is done
 * by a hook (fy_hooks.image_decode, filled by formats/image.c). Source: ONNX ImageDecoder-20. */
#include "ops/common.h"

#include <string.h>

typedef enum pixels { RGB, BGR, GRAY } pixels;

static fy_status pixel_format(pixels *p, const fy_node *n, ferry_error *e) {
    fy_str s = fy_attr_s(n, "pixel_format");
    *p = fy_attr_is(n, "pixel_format", "BGR") ? BGR : fy_attr_is(n, "pixel_format", "Grayscale") ? GRAY : RGB;
    FY_NEED(e, *p != RGB || fy_attr_is(n, "pixel_format", "RGB"), ATTR, "pixel_format is \"%.*s\": RGB, BGR and Grayscale are known", (int)(s.n < 40 ? s.n : 40), s.at);
    return FY_OK;
}

static fy_status infer_image(fy_infer *f) {
    pixels p;
    int rank;
    FY_TRY(pixel_format(&p, f->node, f->e));
    FY_TRY(fy_k_rank(f, 0, 1, 1, &rank));
    const fy_dim *dim[3] = {fy_dim_opaque(f->dims, "height"), fy_dim_opaque(f->dims, "width"), fy_dim_const(f->dims, p == GRAY ? 1 : 3)};
    return fy_out_set(f, 0, FERRY_UINT8, 3, dim);
}

/* ONNX: what cannot be decoded, a damaged stream or no image at all, gives an empty matrix. What this build lacks and what passes a
 * limit is an error: the stream may be fine. */
static fy_status ref_image(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0);
    fy_tensor *y = fy_res(c, 0), got = {0};
    pixels p;
    if (!y) return FY_OK;
    FY_TRY(pixel_format(&p, c->node, c->e));
    FY_NEED(c->e, c->hooks && c->hooks->image_decode, UNSUPPORTED, "ImageDecoder needs image decoders, which are not here");
    int64_t n = fy_count(x);
    unsigned char *room = FY_NEWN(c->scratch, unsigned char, n);
    ferry_error why = {0};
    FY_NOMEM(c->e, room);
    const void *bytes = fy_k_bytes(x, 0, n, room);
    fy_status s = c->hooks->image_decode(&got, bytes, (size_t)n, p == GRAY, c->max_bytes, &why);
    if (s == FY_E_CORRUPT || s == FY_E_TRUNCATED || s == FY_E_FORMAT) return fy_alloc_out(c, 0, FERRY_UINT8, 3, (const int64_t[]){0, 0, p == GRAY ? 1 : 3});
    if (s != FY_OK) return fy_fail(c->e, s, "%s", why.text);
    unsigned char *px = got.data;
    for (int64_t i = 0; p == BGR && i + 2 < fy_count(&got); i += 3) {
        unsigned char r = px[i];
        px[i] = px[i + 2];
        px[i + 2] = r;
    }
    fy_tensor_free(y);
    *y = got;
    return FY_OK;
}

static const fy_attr_spec image_attrs[] = {{"pixel_format", FY_ATTR_STRING, "RGB"}, {0}};
const fy_op fy_op_image_decoder = {.name = "ImageDecoder", .domain = "", .attrs = image_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1,
    .first = 20, .since = 20, .types = "|u8|u8", .infer = infer_image, .ref = ref_image, .flags = FY_PURE};
