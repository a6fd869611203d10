/* SPDX-License-Identifier: Apache-2.0
 * webp.c - WebP through libwebp; of an animation the first frame. */
#include "formats/image/internal.h"

#ifdef FERRY_WEBP
#include <string.h>

#include <webp/decode.h>
#include <webp/demux.h>

static fy_status first_frame(fy_image *im, const fy_image_in *f, const WebPBitstreamFeatures *is, ferry_error *e) {
    WebPAnimDecoderOptions o;
    WebPData data = {f->at, f->n};
    uint8_t *frame;
    int      when;
    FY_TRY(fy_image_room(im, is->width, is->height, 4, f->name, e));
    if (!WebPAnimDecoderOptionsInit(&o)) return fy_fail(e, FY_E_INTERNAL, "libwebp of another version than its header");
    o.color_mode = MODE_RGBA;
    WebPAnimDecoder *d = WebPAnimDecoderNew(&data, &o);
    WebPAnimInfo     info;
    bool ok = d && WebPAnimDecoderGetInfo(d, &info) && (int)info.canvas_width == im->width && (int)info.canvas_height == im->height &&
              WebPAnimDecoderGetNext(d, &frame, &when);
    if (ok) memcpy(im->pixel, frame, (size_t)im->width * (size_t)im->height * 4);
    WebPAnimDecoderDelete(d);
    if (!ok) return fy_fail(e, FY_E_CORRUPT, "%s: damaged WebP animation", f->name);
    fy_image_drop_alpha(im);
    return FY_OK;
}

fy_status fy_image_webp(fy_image *im, const fy_image_in *f, ferry_error *e) {
    WebPDecoderConfig c;
    if (!WebPInitDecoderConfig(&c)) return fy_fail(e, FY_E_INTERNAL, "libwebp of another version than its header");
    VP8StatusCode s = WebPGetFeatures(f->at, f->n, &c.input);
    if (s == VP8_STATUS_OK && c.input.has_animation) return first_frame(im, f, &c.input, e);
    if (s == VP8_STATUS_OK) {
        FY_TRY(fy_image_room(im, c.input.width, c.input.height, 3, f->name, e));
        c.output.colorspace = MODE_RGB;
        c.output.is_external_memory = 1;
        c.output.u.RGBA.rgba = im->pixel;
        c.output.u.RGBA.stride = 3 * im->width;
        c.output.u.RGBA.size = (size_t)im->width * (size_t)im->height * 3;
        s = WebPDecode(f->at, f->n, &c);
        WebPFreeDecBuffer(&c.output);
    }
    FY_NOMEM(e, s != VP8_STATUS_OUT_OF_MEMORY);
    FY_NEED(e, s != VP8_STATUS_NOT_ENOUGH_DATA, TRUNCATED, "%s: the file ends too early", f->name);
    FY_NEED(e, s == VP8_STATUS_OK, CORRUPT, "%s: damaged WebP data", f->name);
    return FY_OK;
}
#endif
