/* SPDX-License-Identifier: Apache-2.0
 * npz.c - NumPy's .npy (numpy.lib.format, versions 1 to 3) and .npz (a zip of them). Read through minizip, written as stored
 * members by our own few lines, so that the bytes are reproducible. Element types that NumPy lacks are written as their
 * nearest wider one: bf16, float8, float6 and float4 as f4, 4- and 2-bit integers as bytes. */
#include "formats/npz.h"

#include "base/checked.h"
#include "base/file.h"

#include <minizip/unzip.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#define MAX_HEADER 65536
#define MAX_MEMBERS 100000
#define MAX_BYTES ((int64_t)1 << 40)

/* ---- lists ------------------------------------------------------------------------------------------------------- */

void fy_named_free(fy_named_list *l) {
    for (int64_t i = 0; i < l->n; i++) {
        fy_free(l->at[i].name);
        fy_tensor_free(&l->at[i].t);
    }
    fy_free(l->at);
    *l = (fy_named_list){0};
}

/* Takes over `t`, also when it fails. */
static fy_status add(fy_named_list *l, const char *name, size_t n, fy_tensor t, ferry_error *e) {
    char *copy = fy_malloc(n + 1, 1);
    if (!copy || !fy_vec_grow((void **)&l->at, &l->cap, l->n + 1, sizeof *l->at)) {
        fy_free(copy);
        fy_tensor_free(&t);
        return fy_nomem(e);
    }
    memcpy(copy, name, n);
    copy[n] = 0;
    l->at[l->n++] = (fy_named){copy, t};
    return FY_OK;
}

fy_status fy_named_add(fy_named_list *l, const char *name, const fy_tensor *t, ferry_error *e) { return add(l, name, strlen(name), fy_tensor_ref(t), e); }

fy_tensor *fy_named_find(const fy_named_list *l, const char *name) {
    for (int64_t i = 0; i < l->n; i++)
        if (!strcmp(l->at[i].name, name)) return &l->at[i].t;
    return NULL;
}

/* ---- the header of .npy ------------------------------------------------------------------------------------------ */

typedef struct header { char order, code; int64_t size; bool fortran; int rank; int64_t dim[FY_MAX_RANK]; } header;
typedef struct text { const char *at, *end, *name; ferry_error *e; } text;

static void blanks(text *t) { while (t->at < t->end && (*t->at == ' ' || *t->at == '\n' || *t->at == '\t' || *t->at == '\r')) t->at++; }
static bool take(text *t, char c) { blanks(t); if (t->at < t->end && *t->at == c) { t->at++; return true; } return false; }

static bool word(text *t, fy_str *w) {
    blanks(t);
    if (t->at == t->end || (*t->at != '\'' && *t->at != '"')) return false;
    char quote = *t->at++;
    w->at = t->at;
    while (t->at < t->end && *t->at != quote) t->at++;
    w->n = (size_t)(t->at - w->at);
    return t->at++ < t->end;
}

static bool number(text *t, int64_t *v) {
    blanks(t);
    const char *start = t->at;
    int64_t r = 0;
    while (t->at < t->end && *t->at >= '0' && *t->at <= '9')
        if (!fy_mul_i64(&r, r, 10) || !fy_add_i64(&r, r, *t->at++ - '0')) return false;
    if (t->at > start && t->at < t->end && *t->at == 'L') t->at++;        /* written by Python 2 */
    *v = r;
    return t->at > start;
}

static fy_status descr(header *h, text *t) {
    fy_str d;
    FY_NEED(t->e, word(t, &d), UNSUPPORTED, "%s: arrays of records are not supported", t->name);
    text in = {d.at, d.at + d.n, t->name, t->e};
    if (d.n && strchr("<>=|", *d.at)) h->order = *in.at++;
    FY_NEED(t->e, in.at < in.end, CORRUPT, "%s: the type of the array is empty", t->name);
    h->code = *in.at++;
    FY_NEED(t->e, h->code != 'O', PICKLE, "%s: an array of Python objects", t->name);
    FY_NEED(t->e, number(&in, &h->size) && in.at == in.end, UNSUPPORTED, "%s: array type \"%.*s\" is not supported", t->name, (int)(d.n < 40 ? d.n : 40), d.at);
    return FY_OK;
}

static bool is(fy_str s, const char *w) { return s.n == strlen(w) && !memcmp(s.at, w, s.n); }

static fy_status parse(header *h, text *t) {
    unsigned seen = 0;
    *h = (header){.order = '<'};
    FY_NEED(t->e, take(t, '{'), CORRUPT, "%s: the header is not a dictionary", t->name);
    while (!take(t, '}')) {
        fy_str key;
        FY_NEED(t->e, word(t, &key) && take(t, ':'), CORRUPT, "%s: the header is malformed", t->name);
        if (is(key, "descr")) { FY_TRY(descr(h, t)); seen |= 1; }
        else if (is(key, "fortran_order")) {
            blanks(t);
            size_t left = (size_t)(t->end - t->at);
            bool yes = left >= 4 && !memcmp(t->at, "True", 4), no = left >= 5 && !memcmp(t->at, "False", 5);
            FY_NEED(t->e, yes || no, CORRUPT, "%s: fortran_order is neither True nor False", t->name);
            h->fortran = yes;
            t->at += yes ? 4 : 5;
            seen |= 2;
        } else if (is(key, "shape")) {
            FY_NEED(t->e, take(t, '('), CORRUPT, "%s: the shape is not a tuple", t->name);
            h->rank = 0;
            while (!take(t, ')')) {
                FY_NEED(t->e, h->rank < FY_MAX_RANK, LIMIT, "%s: more than %d dimensions", t->name, FY_MAX_RANK);
                FY_NEED(t->e, number(t, &h->dim[h->rank++]), CORRUPT, "%s: the shape is malformed", t->name);
                if (!take(t, ',')) { FY_NEED(t->e, take(t, ')'), CORRUPT, "%s: the shape is malformed", t->name); break; }
            }
            seen |= 4;
        } else return fy_fail(t->e, FY_E_CORRUPT, "%s: the header has an unknown entry", t->name);
        if (!take(t, ',')) { FY_NEED(t->e, take(t, '}'), CORRUPT, "%s: the header is malformed", t->name); break; }
    }
    FY_NEED(t->e, seen == 7, CORRUPT, "%s: the header lacks type, order or shape", t->name);
    return FY_OK;
}

static fy_dtype dtype_of(const header *h) {
    static const struct { char code; int8_t size; fy_dtype t; } known[] = {
        {'f', 2, FERRY_FLOAT16}, {'f', 4, FERRY_FLOAT}, {'f', 8, FERRY_DOUBLE}, {'i', 1, FERRY_INT8}, {'i', 2, FERRY_INT16}, {'i', 4, FERRY_INT32}, {'i', 8, FERRY_INT64},
        {'u', 1, FERRY_UINT8}, {'u', 2, FERRY_UINT16}, {'u', 4, FERRY_UINT32}, {'u', 8, FERRY_UINT64}, {'b', 1, FERRY_BOOL}, {'c', 8, FERRY_COMPLEX64}, {'c', 16, FERRY_COMPLEX128}};
    if (h->code == 'S' || h->code == 'a' || h->code == 'U') return FERRY_STRING;
    for (int i = 0; i < FY_COUNT(known); i++)
        if (known[i].code == h->code && known[i].size == h->size) return known[i].t;
    return FERRY_UNDEFINED;
}

/* ---- contents ---------------------------------------------------------------------------------------------------- */

static void swap(unsigned char *p, size_t bytes, size_t size) {
    for (size_t i = 0; i + size <= bytes; i += size)
        for (size_t a = 0; a < size / 2; a++) {
            unsigned char t = p[i + a];
            p[i + a] = p[i + size - 1 - a];
            p[i + size - 1 - a] = t;
        }
}

static size_t utf8(char *dst, uint32_t c) {
    if (c > 0x10ffff) c = 0xfffd;
    if (c < 0x80) { dst[0] = (char)c; return 1; }
    if (c < 0x800) { dst[0] = (char)(0xc0 | c >> 6); dst[1] = (char)(0x80 | (c & 63)); return 2; }
    if (c < 0x10000) { dst[0] = (char)(0xe0 | c >> 12); dst[1] = (char)(0x80 | (c >> 6 & 63)); dst[2] = (char)(0x80 | (c & 63)); return 3; }
    dst[0] = (char)(0xf0 | c >> 18); dst[1] = (char)(0x80 | (c >> 12 & 63)); dst[2] = (char)(0x80 | (c >> 6 & 63)); dst[3] = (char)(0x80 | (c & 63));
    return 4;
}

/* Fixed-width strings: bytes (S) or UCS-4 (U), padded with zeros. One storage holds the elements and, behind them, their bytes. */
static fy_status strings(fy_tensor *t, const header *h, int64_t count, const unsigned char *p, ferry_error *e) {
    size_t width = (size_t)h->size * (h->code == 'U' ? 4 : 1), head, body;
    FY_NEED(e, fy_mul_size(&head, (size_t)count, sizeof(fy_str)) && fy_mul_size(&body, (size_t)count, width) && fy_add_size(&body, body, head), LIMIT, "too many strings");
    fy_storage *s = fy_storage_new(body ? body : 1);
    FY_NOMEM(e, s);
    fy_str *item = s->at;
    char *to = (char *)s->at + head;
    for (int64_t i = 0; i < count; i++, p += width) {
        item[i].at = to;
        if (h->code == 'U') {
            for (size_t k = 0; k < width; k += 4) {
                uint32_t c = h->order == '>' ? (uint32_t)p[k] << 24 | (uint32_t)p[k + 1] << 16 | (uint32_t)p[k + 2] << 8 | p[k + 3]
                                             : (uint32_t)p[k + 3] << 24 | (uint32_t)p[k + 2] << 16 | (uint32_t)p[k + 1] << 8 | p[k];
                if (!c) break;
                to += utf8(to, c);
            }
        } else {
            size_t n = width;
            while (n && !p[n - 1]) n--;
            memcpy(to, p, n);
            to += n;
        }
        item[i].n = (size_t)(to - item[i].at);
    }
    *t = fy_tensor_view(FERRY_STRING, h->rank, h->dim, item);
    t->own = s;
    return FY_OK;
}

fy_status fy_npy_read_memory(fy_tensor *t, const void *data, size_t n, const char *name, ferry_error *e) {
    const unsigned char *p = data;
    header h;
    *t = (fy_tensor){0};
    FY_NEED(e, n >= 10 && !memcmp(p, "\x93NUMPY", 6), FORMAT, "%s is not a NumPy array", name);
    FY_NEED(e, p[6] >= 1 && p[6] <= 3, FORMAT, "%s: NumPy format version %d is not known", name, p[6]);
    size_t start = p[6] == 1 ? 10 : 12, len = (size_t)p[8] | (size_t)p[9] << 8;
    FY_NEED(e, n >= start, TRUNCATED, "%s ends in its header", name);
    if (p[6] > 1) len |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
    FY_NEED(e, len <= MAX_HEADER, LIMIT, "%s: a header of %zu bytes", name, len);
    FY_NEED(e, len <= n - start, TRUNCATED, "%s ends in its header", name);
    text in = {(const char *)p + start, (const char *)p + start + len, name, e};
    FY_TRY(parse(&h, &in));
    p += start + len;
    n -= start + len;
    int64_t count;
    FY_NEED(e, fy_count_dims(&count, h.rank, h.dim), LIMIT, "%s: the shape has too many elements", name);
    fy_dtype dtype = dtype_of(&h);
    FY_NEED(e, dtype, UNSUPPORTED, "%s: array type %c%lld is not supported", name, h.code, (long long)h.size);
    FY_NEED(e, h.size <= MAX_HEADER, LIMIT, "%s: strings of %lld characters", name, (long long)h.size);
    size_t size = (size_t)h.size * (h.code == 'U' ? 4 : 1), need;
    FY_NEED(e, fy_mul_size(&need, (size_t)count, size), LIMIT, "%s: the array is too large", name);
    FY_NEED(e, n >= need, TRUNCATED, "%s: %zu bytes of data are needed, %zu are there", name, need, n);
    if (dtype == FERRY_STRING) {
        FY_NEED(e, !h.fortran || h.rank < 2, UNSUPPORTED, "%s: strings in Fortran order are not supported", name);
        return strings(t, &h, count, p, e);
    }
    header f = h;
    for (int i = 0; h.fortran && i < h.rank; i++) f.dim[i] = h.dim[h.rank - 1 - i];
    fy_tensor raw;
    FY_TRY(fy_tensor_new(&raw, dtype, f.rank, f.dim, e));
    if (need) memcpy(raw.data, p, need);
    if (h.order == '>') swap(raw.data, need, h.code == 'c' ? size / 2 : size);
    if (dtype == FERRY_BOOL)
        for (size_t i = 0; i < need; i++) ((unsigned char *)raw.data)[i] = ((unsigned char *)raw.data)[i] != 0;
    if (!h.fortran || h.rank < 2) { *t = raw; return FY_OK; }
    fy_tensor turned = raw;              /* the same memory seen with the axes reversed */
    for (int i = 0; i < h.rank; i++) {
        turned.dim[i] = h.dim[i];
        turned.stride[i] = raw.stride[h.rank - 1 - i];
    }
    fy_status s = fy_tensor_clone(t, &turned, e);
    fy_tensor_free(&raw);
    return s;
}

fy_status fy_npy_read(fy_tensor *t, const char *path, ferry_error *e) {
    fy_map_file f;
    *t = (fy_tensor){0};
    FY_TRY(fy_file_open(&f, path, e));
    fy_status s = fy_npy_read_memory(t, f.at, f.n, path, e);
    fy_file_close(&f);
    return s;
}

/* ---- .npz: minizip over the mapped file ------------------------------------------------------------------------------ */

typedef struct range { const unsigned char *at; ZPOS64_T n, pos; bool cut; } range;      /* cut: something was read beyond the end */

static voidpf range_open(voidpf opaque, const void *name, int mode) { (void)name; (void)mode; return opaque; }
static uLong range_read(voidpf opaque, voidpf stream, void *buf, uLong n) {
    range *r = stream;
    (void)opaque;
    if (n > r->n - r->pos) n = (uLong)(r->n - r->pos), r->cut = true;
    if (n) memcpy(buf, r->at + r->pos, n);
    r->pos += n;
    return n;
}
static uLong range_write(voidpf opaque, voidpf stream, const void *buf, uLong n) { (void)opaque; (void)stream; (void)buf; (void)n; return 0; }
static ZPOS64_T range_tell(voidpf opaque, voidpf stream) { (void)opaque; return ((range *)stream)->pos; }
static long range_seek(voidpf opaque, voidpf stream, ZPOS64_T offset, int origin) {
    range *r = stream;
    ZPOS64_T from = origin == ZLIB_FILEFUNC_SEEK_SET ? 0 : origin == ZLIB_FILEFUNC_SEEK_CUR ? r->pos : r->n;
    (void)opaque;
    if (offset > r->n - from) return -1;
    r->pos = from + offset;
    return 0;
}
static int range_close(voidpf opaque, voidpf stream) { (void)opaque; (void)stream; return 0; }
static int range_error(voidpf opaque, voidpf stream) { (void)opaque; return ((range *)stream)->cut; }

static fy_status member(fy_named_list *l, unzFile z, const char *path, size_t limit, ferry_error *e) {
    char name[1024], where[256];
    unz_file_info64 info;
    FY_NEED(e, unzGetCurrentFileInfo64(z, &info, name, sizeof name, NULL, 0, NULL, 0) == UNZ_OK, CORRUPT, "%s: an entry of the archive cannot be read", path);
    FY_NEED(e, info.size_filename < sizeof name, LIMIT, "%s: a name of %lu bytes", path, (unsigned long)info.size_filename);
    size_t n = strlen(name);
    snprintf(where, sizeof where, "%.120s, entry %.100s", path, name);
    FY_NEED(e, n > 4 && !strcmp(name + n - 4, ".npy"), FORMAT, "%s is not a NumPy array", where);
    FY_NEED(e, !(info.flag & 1), UNSUPPORTED, "%s is encrypted", where);
    FY_NEED(e, info.compression_method == 0 || info.compression_method == Z_DEFLATED, UNSUPPORTED, "%s uses compression method %lu", where, (unsigned long)info.compression_method);
    FY_NEED(e, info.compressed_size <= limit && info.uncompressed_size <= (ZPOS64_T)MAX_BYTES && info.uncompressed_size <= info.compressed_size * 1032 + 64, CORRUPT,
            "%s claims %llu bytes from %llu", where, (unsigned long long)info.uncompressed_size, (unsigned long long)info.compressed_size);
    FY_NEED(e, unzOpenCurrentFile(z) == UNZ_OK, CORRUPT, "%s cannot be opened", where);
    size_t want = (size_t)info.uncompressed_size, got = 0;
    unsigned char *buf = fy_malloc(want ? want : 1, 1);
    fy_status s = buf ? FY_OK : fy_nomem(e);
    while (!s && got < want) {
        int k = unzReadCurrentFile(z, buf + got, (unsigned)(want - got < (1u << 30) ? want - got : (1u << 30)));
        if (k <= 0) s = fy_fail(e, FY_E_CORRUPT, "%s: its data is damaged", where);
        else got += (size_t)k;
    }
    char one;
    if (!s && unzReadCurrentFile(z, &one, 1) != 0) s = fy_fail(e, FY_E_CORRUPT, "%s is longer than it says", where);
    int closed = unzCloseCurrentFile(z);
    if (!s && closed == UNZ_CRCERROR) s = fy_fail(e, FY_E_CORRUPT, "%s: its checksum does not fit", where);
    fy_tensor t;
    if (!s) s = fy_npy_read_memory(&t, buf, want, where, e);
    fy_free(buf);
    FY_TRY(s);
    return add(l, name, n - 4, t, e);
}

fy_status fy_npz_read(fy_named_list *l, const char *path, ferry_error *e) {
    fy_map_file f;
    *l = (fy_named_list){0};
    FY_TRY(fy_file_open(&f, path, e));
    range r = {.at = f.at, .n = f.n};
    zlib_filefunc64_def io = {range_open, range_read, range_write, range_tell, range_seek, range_close, range_error, &r};
    unzFile z = f.n >= 22 && !memcmp(f.at, "PK", 2) ? unzOpen2_64(path, &io) : NULL;
    fy_status s = FY_OK;
    if (!z) s = fy_fail(e, FY_E_FORMAT, "%s is not a .npz archive", path);
    for (int at = z && !s ? unzGoToFirstFile(z) : UNZ_END_OF_LIST_OF_FILE; !s && at != UNZ_END_OF_LIST_OF_FILE; at = unzGoToNextFile(z)) {
        if (at != UNZ_OK || l->n >= MAX_MEMBERS) { s = fy_fail(e, FY_E_CORRUPT, "%s: the list of its entries is damaged", path); break; }
        s = member(l, z, path, f.n, e);
        if (!s)
            for (int64_t i = 0; l->n <= 1000 && i + 1 < l->n; i++)
                if (!strcmp(l->at[i].name, l->at[l->n - 1].name)) { s = fy_fail(e, FY_E_CORRUPT, "%s: entry %.100s is there twice", path, l->at[i].name); break; }
    }
    if (z) unzClose(z);
    if (!s && r.cut) s = fy_fail(e, FY_E_TRUNCATED, "%s ends too early", path);
    fy_file_close(&f);
    if (s) fy_named_free(l);
    return s;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* The tensor as NumPy can hold it: dense, own or borrowed. */
static fy_status nearest(fy_tensor *d, const char **descr_, const fy_tensor *t, ferry_error *e) {
    fy_dtype to = t->dtype;
    *d = (fy_tensor){0};
    switch (t->dtype) {
    case FERRY_FLOAT: *descr_ = "<f4"; break;
    case FERRY_DOUBLE: *descr_ = "<f8"; break;
    case FERRY_FLOAT16: *descr_ = "<f2"; break;
    case FERRY_BFLOAT16: case FERRY_FLOAT8E4M3FN: case FERRY_FLOAT8E4M3FNUZ: case FERRY_FLOAT8E5M2: case FERRY_FLOAT8E5M2FNUZ: case FERRY_FLOAT4E2M1:
    case FERRY_FLOAT8E8M0: case FERRY_FLOAT6E2M3: case FERRY_FLOAT6E3M2: *descr_ = "<f4"; to = FERRY_FLOAT; break;
    case FERRY_INT8: *descr_ = "|i1"; break;
    case FERRY_INT4: case FERRY_INT2: *descr_ = "|i1"; to = FERRY_INT8; break;
    case FERRY_UINT8: *descr_ = "|u1"; break;
    case FERRY_UINT4: case FERRY_UINT2: *descr_ = "|u1"; to = FERRY_UINT8; break;
    case FERRY_INT16: *descr_ = "<i2"; break;
    case FERRY_UINT16: *descr_ = "<u2"; break;
    case FERRY_INT32: *descr_ = "<i4"; break;
    case FERRY_UINT32: *descr_ = "<u4"; break;
    case FERRY_INT64: *descr_ = "<i8"; break;
    case FERRY_UINT64: *descr_ = "<u8"; break;
    case FERRY_BOOL: *descr_ = "|b1"; break;
    case FERRY_COMPLEX64: *descr_ = "<c8"; break;
    case FERRY_COMPLEX128: *descr_ = "<c16"; break;
    case FERRY_STRING: *descr_ = "S"; break;
    case FERRY_UNDEFINED: default: return fy_fail(e, FY_E_TYPE, "a tensor without element type cannot be written");
    }
    if (to != t->dtype) return fy_tensor_cast(d, t, to, e);
    if (fy_contiguous(t)) { *d = fy_tensor_ref(t); return FY_OK; }
    return fy_tensor_clone(d, t, e);
}

/* One array as the bytes before and the bytes of its data. Strings become fixed-width bytes in `head`. */
typedef struct array { fy_buf head; fy_tensor data; size_t bytes; } array;

static void array_free(array *a) { fy_buf_free(&a->head); fy_tensor_free(&a->data); }

static fy_status array_make(array *a, const fy_tensor *t, ferry_error *e) {
    const char *d = "";
    char width[32];
    size_t most = 1;
    *a = (array){0};
    FY_TRY(nearest(&a->data, &d, t, e));
    const fy_str *str = t->dtype == FERRY_STRING ? a->data.data : NULL;
    int64_t count = fy_count(t);
    for (int64_t i = 0; str && i < count; i++) most = str[i].n > most ? str[i].n : most;
    if (t->dtype == FERRY_STRING) { snprintf(width, sizeof width, "|S%zu", most); d = width; }
    fy_buf_add(&a->head, "\x93NUMPY\1\0\0\0", 10);
    fy_buf_fmt(&a->head, "{'descr': '%s', 'fortran_order': False, 'shape': (", d);
    for (int i = 0; i < t->rank; i++) fy_buf_fmt(&a->head, i || t->rank == 1 ? (t->rank == 1 ? "%lld," : ", %lld") : "%lld", (long long)t->dim[i]);
    fy_buf_str(&a->head, "), }");
    while ((a->head.n + 1) % 64 && !a->head.oom) fy_buf_char(&a->head, ' ');
    fy_buf_char(&a->head, '\n');
    if (a->head.at && !a->head.oom) {
        a->head.at[8] = (char)((a->head.n - 10) & 255);
        a->head.at[9] = (char)((a->head.n - 10) >> 8);
    }
    for (int64_t i = 0; str && i < count; i++) {
        fy_buf_add(&a->head, str[i].at, str[i].n);
        for (size_t k = str[i].n; k < most; k++) fy_buf_char(&a->head, 0);
    }
    a->bytes = str || t->dtype == FERRY_STRING ? 0 : (size_t)count * (size_t)fy_elem_bytes(a->data.dtype);
    if (a->head.oom) { array_free(a); return fy_nomem(e); }
    return FY_OK;
}

fy_status fy_npy_write(const fy_tensor *t, const char *path, ferry_error *e) {
    fy_out o;
    array a;
    FY_TRY(array_make(&a, t, e));
    fy_status s = fy_out_open(&o, path, e);
    if (!s) {
        s = fy_out_write(&o, a.head.at, a.head.n, e);
        if (!s && a.bytes) s = fy_out_write(&o, a.data.data, a.bytes, e);
        if (!s) s = fy_out_commit(&o, e);
        fy_out_abort(&o);
    }
    array_free(&a);
    return s;
}

static void le(fy_buf *b, uint64_t v, int bytes) { for (int i = 0; i < bytes; i++) fy_buf_char(b, (char)(v >> (8 * i))); }

/* Local (central == false) or central header of a stored entry; sizes above 4 GiB go into a zip64 extra field. */
static void zip_head(fy_buf *b, bool central, const char *name, uint32_t crc, uint64_t size, uint64_t offset) {
    const uint64_t top = 0xffffffffu;
    bool big = size >= top, far = central && offset >= top;
    size_t nname = strlen(name) + 4;
    le(b, central ? 0x02014b50 : 0x04034b50, 4);
    if (central) le(b, 45, 2);
    le(b, 45, 2); le(b, 0x800, 2);       /* zip64; names are UTF-8 */
    le(b, 0, 2); le(b, 0, 2); le(b, 0x21, 2);        /* stored; midnight, 1 January 1980 */
    le(b, crc, 4);
    le(b, big ? top : size, 4); le(b, big ? top : size, 4);
    le(b, nname, 2);
    le(b, big || far ? (big ? 20u : 4u) + (far ? 8u : 0u) : 0, 2);
    if (central) { le(b, 0, 2); le(b, 0, 2); le(b, 0, 2); le(b, 0, 4); le(b, far ? top : offset, 4); }
    fy_buf_str(b, name);
    fy_buf_str(b, ".npy");
    if (big || far) { le(b, 1, 2); le(b, (big ? 16u : 0u) + (far ? 8u : 0u), 2); }
    if (big) { le(b, size, 8); le(b, size, 8); }
    if (far) le(b, offset, 8);
}

static uint32_t crc_of(uint32_t crc, const void *p, size_t n) {
    const unsigned char *at = p;
    while (n) {
        uInt k = n > (1u << 30) ? 1u << 30 : (uInt)n;
        crc = (uint32_t)crc32(crc, at, k);
        at += k, n -= k;
    }
    return crc;
}

static fy_status write_all(const fy_named_list *l, fy_out *o, fy_buf *dir, ferry_error *e) {
    uint64_t at = 0;
    for (int64_t i = 0; i < l->n; i++) {
        array a;
        fy_buf head = {0};
        FY_TRY(array_make(&a, &l->at[i].t, e));
        uint32_t crc = crc_of(crc_of(0, a.head.at, a.head.n), a.data.data, a.bytes);
        uint64_t size = a.head.n + a.bytes;
        zip_head(&head, false, l->at[i].name, crc, size, 0);
        zip_head(dir, true, l->at[i].name, crc, size, at);
        fy_status s = head.oom || dir->oom ? fy_nomem(e) : FY_OK;
        if (!s) s = fy_out_write(o, head.at, head.n, e);
        if (!s) s = fy_out_write(o, a.head.at, a.head.n, e);
        if (!s && a.bytes) s = fy_out_write(o, a.data.data, a.bytes, e);
        at += head.n + size;
        fy_buf_free(&head);
        array_free(&a);
        FY_TRY(s);
    }
    uint64_t n = (uint64_t)l->n, bytes = dir->n;
    bool big = n >= 0xffff || at >= 0xffffffffu || bytes >= 0xffffffffu;
    if (big) {                           /* zip64 end record and its locator */
        le(dir, 0x06064b50, 4); le(dir, 44, 8); le(dir, 45, 2); le(dir, 45, 2); le(dir, 0, 4); le(dir, 0, 4);
        le(dir, n, 8); le(dir, n, 8); le(dir, bytes, 8); le(dir, at, 8);
        le(dir, 0x07064b50, 4); le(dir, 0, 4); le(dir, at + bytes, 8); le(dir, 1, 4);
    }
    le(dir, 0x06054b50, 4); le(dir, 0, 2); le(dir, 0, 2);
    le(dir, big ? 0xffff : n, 2); le(dir, big ? 0xffff : n, 2);
    le(dir, big ? 0xffffffffu : bytes, 4); le(dir, big ? 0xffffffffu : at, 4);
    le(dir, 0, 2);
    FY_NOMEM(e, !dir->oom);
    return fy_out_write(o, dir->at, dir->n, e);
}

fy_status fy_npz_write(const fy_named_list *l, const char *path, ferry_error *e) {
    fy_out o;
    fy_buf dir = {0};
    for (int64_t i = 0; i < l->n; i++) FY_NEED(e, strlen(l->at[i].name) < 1000, LIMIT, "a name is too long for an archive");
    FY_TRY(fy_out_open(&o, path, e));
    fy_status s = write_all(l, &o, &dir, e);
    if (!s) s = fy_out_commit(&o, e);
    fy_out_abort(&o);
    fy_buf_free(&dir);
    return s;
}
