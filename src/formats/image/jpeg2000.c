/* SPDX-License-Identifier: Apache-2.0
 * jpeg2000.c - JPEG 2000, as file (JP2) and as bare codestream, through OpenJPEG from memory.
 *
 * OpenJPEG takes memory by what the headers say (tiles, layers, precincts), before it sees data. So they are read here first and
 * bounded: ISO/IEC 15444-1 annex A (markers) and annex I (boxes). */
#include "formats/image/internal.h"

#ifdef FERRY_JPEG2000
#include <stdio.h>
#include <string.h>

#include <openjpeg.h>

#define MAX_COMPONENTS 4
#define MAX_TILES 4096
#define MAX_PACKETS (1 << 26)

/* ---- headers ------------------------------------------------------------------------------------------------------- */

/* The codestream of a JP2: the contents of its box "jp2c". */
static bool find_codestream(const fy_image_in *f, fy_image_in *code) {
    *code = *f;
    if (f->at[0] == 0xff) return true;
    for (size_t at = 0; f->n - at >= 8;) {
        uint64_t len = fy_image_b32(f->at + at), head = 8;
        if (len == 1) {
            if (f->n - at < 16) return false;
            len = (uint64_t)fy_image_b32(f->at + at + 8) << 32 | fy_image_b32(f->at + at + 12);
            head = 16;
        } else if (len == 0) len = f->n - at;
        if (len < head || len > f->n - at) len = f->n - at;  /* the last box may be cut: its start counts */
        if (!memcmp(f->at + at + 4, "jp2c", 4)) {
            code->at = f->at + at + head;
            code->n = (size_t)(len > head ? len - head : 0);
            return len > head;
        }
        at += (size_t)len;
    }
    return false;
}

typedef struct limits { const char *name; uint64_t width, height, parts, layers, most; } limits;    /* most: packets of one layer and component */

/* Sizes of image and tiles: marker SIZ (its contents from Rsiz on). */
static fy_status check_siz(limits *l, const unsigned char *p, size_t n, ferry_error *e) {
    FY_NEED(e, n >= 36 && !l->parts, CORRUPT, "%s: a bad size marker", l->name);
    uint64_t x1 = fy_image_b32(p + 2), y1 = fy_image_b32(p + 6), x0 = fy_image_b32(p + 10), y0 = fy_image_b32(p + 14);
    uint64_t tw = fy_image_b32(p + 18), th = fy_image_b32(p + 22), tx = fy_image_b32(p + 26), ty = fy_image_b32(p + 30);
    l->parts = fy_image_b16(p + 34);
    FY_NEED(e, x1 > x0 && y1 > y0 && tw && th && tx <= x0 && ty <= y0 && l->parts, CORRUPT, "%s: sizes that cannot be", l->name);
    l->width = x1 - x0;
    l->height = y1 - y0;
    FY_NEED(e, l->width <= FY_IMAGE_SIDE && l->height <= FY_IMAGE_SIDE && l->width * l->height <= FY_IMAGE_PIXELS, LIMIT,
            "%s: %llu x %llu pixels are over the limit of %d a side and %d in all", l->name, (unsigned long long)l->width, (unsigned long long)l->height, FY_IMAGE_SIDE, FY_IMAGE_PIXELS);
    FY_NEED(e, l->parts <= MAX_COMPONENTS, FORMAT, "%s: %llu components; at most %d are read here", l->name, (unsigned long long)l->parts, MAX_COMPONENTS);
    FY_NEED(e, ((x1 - tx + tw - 1) / tw) * ((y1 - ty + th - 1) / th) <= MAX_TILES, LIMIT, "%s: more than %d tiles", l->name, MAX_TILES);
    return FY_OK;
}

/* Layers and precincts: markers COD and COC (contents from the style byte on). The decoder keeps a mark for each packet. */
static fy_status check_coding(limits *l, const unsigned char *p, size_t n, bool cod, ferry_error *e) {
    size_t at = cod ? 5 : 1;                                 /* number of decompositions */
    FY_NEED(e, n >= at + 5 && l->parts, CORRUPT, "%s: a bad coding marker", l->name);
    if (cod) l->layers = fy_image_b16(p + 2);
    unsigned levels = p[at];
    bool sized = p[0] & 1;                                   /* else precincts of 2^15 */
    FY_NEED(e, levels <= 32 && (!sized || n >= at + 5 + levels + 1), CORRUPT, "%s: a bad coding marker", l->name);
    for (unsigned r = 0; r <= levels; r++) {
        unsigned size = sized ? p[at + 5 + r] : 0xff, down = levels - r;     /* the resolution is 2^down times smaller than the image */
        uint64_t across = (l->width >> ((size & 15) + down)) + 2, along = (l->height >> ((size >> 4) + down)) + 2;
        if (across * along * (levels + 1) > l->most) l->most = across * along * (levels + 1);
    }
    FY_NEED(e, l->most * l->parts * (l->layers + 1) <= MAX_PACKETS, LIMIT, "%s: more than %d packets", l->name, MAX_PACKETS);
    return FY_OK;
}

/* Markers that OpenJPEG takes by their length. It would search what follows others for a marker, so others are refused. */
static bool has_length(uint32_t marker) {
    static const unsigned char known[] = {0x50, 0x51, 0x52, 0x53, 0x55, 0x57, 0x58, 0x5c, 0x5d, 0x5e, 0x5f, 0x60, 0x61, 0x63, 0x64, 0x74, 0x75, 0x77, 0x78, 0x90};
    return marker >> 8 == 0xff && memchr(known, (int)(marker & 255), sizeof known);
}

/* The markers of the main header and of each tile part. */
static fy_status check_headers(const fy_image_in *c, const char *name, ferry_error *e) {
    limits l = {.name = name};
    size_t at = 2, part = 0;                                 /* where the tile part began, 0: between two */
    uint64_t part_bytes = 0;
    FY_NEED(e, c->n >= 4 && c->at[0] == 0xff && c->at[1] == 0x4f && c->at[2] == 0xff && c->at[3] == 0x51, CORRUPT, "%s: a codestream without its first markers", name);
    while (c->n - at >= 4) {
        const unsigned char *p = c->at + at;
        uint32_t marker = fy_image_b16(p), len = fy_image_b16(p + 2);
        if (marker == 0xff93 && part) {                      /* SOD: data up to the end of the tile part */
            if (!part_bytes || part_bytes > c->n - part) break;
            FY_NEED(e, part_bytes >= at + 2 - part, CORRUPT, "%s: a bad tile part", name);
            at = part + (size_t)part_bytes;
            part = 0;
            continue;
        }
        if (marker == 0xffd9 && !part) break;                /* EOC */
        FY_NEED(e, has_length(marker), CORRUPT, "%s: marker %04x in a header", name, (unsigned)marker);
        FY_NEED(e, len >= 2 && len <= c->n - at - 2, TRUNCATED, "%s: the file ends too early", name);
        if (marker == 0xff51) FY_TRY(check_siz(&l, p + 4, len - 2, e));
        else if (marker == 0xff52) FY_TRY(check_coding(&l, p + 4, len - 2, true, e));
        else if (marker == 0xff53 && len > 3) FY_TRY(check_coding(&l, p + 5, len - 3, false, e));
        else if (marker == 0xff90) {                         /* SOT */
            FY_NEED(e, len == 10 && !part, CORRUPT, "%s: a bad tile part", name);
            part = at;
            part_bytes = fy_image_b32(p + 6);
        }
        at += 2 + len;
    }
    FY_NEED(e, l.parts && l.layers, CORRUPT, "%s: a codestream without sizes", name);
    return FY_OK;
}

/* ---- memory as a stream -------------------------------------------------------------------------------------------- */

typedef struct source { const fy_image_in *f; uint64_t at; char text[160]; } source;

static OPJ_SIZE_T read_some(void *to, OPJ_SIZE_T n, void *user) {
    source *s = user;
    uint64_t rest = s->at < s->f->n ? s->f->n - s->at : 0;
    if (!rest) return (OPJ_SIZE_T)-1;
    if (n > rest) n = (OPJ_SIZE_T)rest;
    memcpy(to, s->f->at + s->at, n);
    s->at += n;
    return n;
}
static OPJ_OFF_T skip(OPJ_OFF_T n, void *user) {
    source *s = user;
    if (n < 0 || (uint64_t)n > s->f->n - s->at) return -1;
    s->at += (uint64_t)n;
    return n;
}
static OPJ_BOOL seek(OPJ_OFF_T to, void *user) {
    source *s = user;
    if (to < 0 || (uint64_t)to > s->f->n) return OPJ_FALSE;
    s->at = (uint64_t)to;
    return OPJ_TRUE;
}
static void on_error(const char *words, void *user) {
    source *s = user;
    if (!s->text[0]) snprintf(s->text, sizeof s->text, "%.*s", (int)strcspn(words, "\n"), words);
}
static void on_message(const char *words, void *user) { (void)words; (void)user; }

/* ---- pixels -------------------------------------------------------------------------------------------------------- */

/* Component c at x, y of the image as a byte. Coarser components are repeated. */
static int sample(const opj_image_t *j, int c, int x, int y, const fy_image *im) {
    const opj_image_comp_t *k = &j->comps[c];
    int64_t cx = (int64_t)x * k->w / im->width, cy = (int64_t)y * k->h / im->height;
    int64_t v = k->data[cy * k->w + cx] + (k->sgnd ? (int64_t)1 << (k->prec - 1) : 0);
    v = k->prec > 8 ? (v + ((int64_t)1 << (k->prec - 9))) >> (k->prec - 8) : v << (8 - k->prec);
    return v < 0 ? 0 : v > 255 ? 255 : (int)v;
}

static unsigned char to_byte(double v) { return (unsigned char)(v < 0 ? 0 : v > 255 ? 255 : v + 0.5); }

static fy_status store(fy_image *im, const opj_image_t *j, const char *name, ferry_error *e) {
    int n = (int)j->numcomps, colours = n >= 3 ? 3 : 1;
    bool ycc = colours == 3 && (j->color_space == OPJ_CLRSPC_SYCC || (j->color_space != OPJ_CLRSPC_SRGB && j->comps[0].dx == 1 && j->comps[1].dx == 2));
    FY_NEED(e, n <= MAX_COMPONENTS && j->color_space != OPJ_CLRSPC_CMYK && j->color_space != OPJ_CLRSPC_EYCC, FORMAT, "%s: a colour space that is not read here", name);
    for (int c = 0; c < colours; c++)
        FY_NEED(e, j->comps[c].data && j->comps[c].w && j->comps[c].h && j->comps[c].prec >= 1 && j->comps[c].prec <= 31, FORMAT, "%s: component %d is not read here", name, c);
    FY_TRY(fy_image_room(im, j->comps[0].w, j->comps[0].h, 3, name, e));
    unsigned char *to = im->pixel;
    for (int y = 0; y < im->height; y++)
        for (int x = 0; x < im->width; x++, to += 3) {
            int v[3];
            for (int c = 0; c < 3; c++) v[c] = c < colours ? sample(j, c, x, y, im) : v[0];
            for (int c = 0; c < 3; c++) to[c] = (unsigned char)v[c];
            if (!ycc) continue;
            double cb = v[1] - 128.0, cr = v[2] - 128.0;
            to[0] = to_byte(v[0] + 1.402 * cr);
            to[1] = to_byte(v[0] - 0.344136 * cb - 0.714136 * cr);
            to[2] = to_byte(v[0] + 1.772 * cb);
        }
    return FY_OK;
}

fy_status fy_image_jpeg2000(fy_image *im, const fy_image_in *f, ferry_error *e) {
    fy_image_in code;
    source src = {.f = f};
    opj_dparameters_t par;
    opj_image_t *j = NULL;
    fy_status s = FY_OK;
    FY_NEED(e, find_codestream(f, &code), CORRUPT, "%s: a JPEG 2000 file without a codestream", f->name);
    FY_TRY(check_headers(&code, f->name, e));
    opj_codec_t *c = opj_create_decompress(f->at[0] == 0xff ? OPJ_CODEC_J2K : OPJ_CODEC_JP2);
    opj_stream_t *in = opj_stream_create(OPJ_J2K_STREAM_CHUNK_SIZE, OPJ_TRUE);
    if (!c || !in) s = fy_nomem(e);
    if (!s) {
        opj_set_default_decoder_parameters(&par);
        opj_set_error_handler(c, on_error, &src);
        opj_set_warning_handler(c, on_message, NULL);
        opj_set_info_handler(c, on_message, NULL);
        opj_stream_set_user_data(in, &src, NULL);
        opj_stream_set_user_data_length(in, f->n);
        opj_stream_set_read_function(in, read_some);
        opj_stream_set_skip_function(in, skip);
        opj_stream_set_seek_function(in, seek);
        bool ok = opj_setup_decoder(c, &par) && opj_read_header(in, c, &j) && opj_decode(c, in, j);
        if (!ok) s = fy_fail(e, FY_E_CORRUPT, "%s: %s", f->name, src.text[0] ? src.text : "damaged JPEG 2000 data");
    }
    if (!s) s = store(im, j, f->name, e);
    if (j) opj_image_destroy(j);
    if (in) opj_stream_destroy(in);
    if (c) opj_destroy_codec(c);
    return s;
}
#endif
