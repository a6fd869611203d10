/* SPDX-License-Identifier: Apache-2.0
 * safetensors.c - 8 bytes of length, a JSON header, the bytes of all tensors without gap. Source: the format's description in the README of
 * github.com/safetensors/safetensors: little-endian, row-major, header of at most 100 MB that starts with '{' and may end in blanks, no
 * duplicate keys, every byte after it belongs to exactly one tensor. */
#include "formats/weights.h"

#include "base/checked.h"
#include "base/os.h"
#include "base/sort.h"

#include <string.h>

#define MAX_HEADER ((uint64_t)100 << 20)
#define PIECE ((int64_t)1 << 16)         /* elements in memory at a time */

static const struct { const char *name; fy_dtype dtype; } kinds[] = {
    {"F32", FERRY_FLOAT}, {"F16", FERRY_FLOAT16}, {"BF16", FERRY_BFLOAT16}, {"F64", FERRY_DOUBLE}, {"I64", FERRY_INT64}, {"I32", FERRY_INT32}, {"I16", FERRY_INT16},
    {"I8", FERRY_INT8}, {"U8", FERRY_UINT8}, {"U16", FERRY_UINT16}, {"U32", FERRY_UINT32}, {"U64", FERRY_UINT64}, {"BOOL", FERRY_BOOL}, {"F8_E4M3", FERRY_FLOAT8E4M3FN},
    {"F8_E5M2", FERRY_FLOAT8E5M2}, {"F8_E8M0", FERRY_FLOAT8E8M0}, {"C64", FERRY_COMPLEX64}, {"F4", FERRY_FLOAT4E2M1},
};

static uint64_t header_bytes(const unsigned char *p) {
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--) n = n << 8 | p[i];
    return n;
}

bool fy_safetensors_is(const void *data, size_t n) {
    const unsigned char *p = data;
    return n >= 10 && p[8] == '{' && header_bytes(p) >= 2 && header_bytes(p) <= MAX_HEADER;
}

typedef struct reading { fy_weights *w; const unsigned char *body; uint64_t nbody; ferry_error *e; int64_t first; FY_VEC(uint64_t) begin, end; } reading;

static fy_status text_of(reading *r, const char **to, const char *s, size_t n) {
    FY_NEED(r->e, !memchr(s, 0, n), CORRUPT, "a name in the header holds a zero byte");
    *to = fy_arena_strn(&r->w->arena, s, n);
    FY_NOMEM(r->e, *to);
    return FY_OK;
}

static fy_status shape_of(reading *r, int64_t *dim, int *rank, const fy_json *j, const char *name) {
    *rank = 0;
    FY_NEED(r->e, j && j->kind == FY_JSON_ARRAY, CORRUPT, "%.200s has no \"shape\"", name);
    for (const fy_json *d = j->child; d; d = d->next) {
        FY_NEED(r->e, *rank < FY_MAX_RANK, LIMIT, "%.200s has more than %d dimensions", name, FY_MAX_RANK);
        FY_NEED(r->e, d->kind == FY_JSON_INT && d->i >= 0, CORRUPT, "%.200s has a size that is no whole number", name);
        dim[(*rank)++] = d->i;
    }
    return FY_OK;
}

static fy_status one(reading *r, const fy_json *j) {
    const char *name;
    int64_t dim[FY_MAX_RANK], count;
    int rank;
    FY_TRY(text_of(r, &name, j->key, j->nkey));
    FY_NEED(r->e, !fy_map_has(&r->w->by_name, name, j->nkey), CORRUPT, "%.200s is in the header twice", name);
    const fy_json *type = fy_json_get(j, "dtype"), *at = fy_json_get(j, "data_offsets"), *b = at ? at->child : NULL, *c = b ? b->next : NULL;
    fy_dtype t = FERRY_UNDEFINED;
    FY_NEED(r->e, type && type->kind == FY_JSON_STRING, CORRUPT, "%.200s has no \"dtype\"", name);
    for (int i = 0; i < FY_COUNT(kinds); i++)
        if (fy_json_is(type, kinds[i].name)) t = kinds[i].dtype;
    FY_NEED(r->e, t, UNSUPPORTED, "%.200s has the element type %.*s", name, type->n > 40 ? 40 : (int)type->n, type->s);
    FY_TRY(shape_of(r, dim, &rank, fy_json_get(j, "shape"), name));
    FY_NEED(r->e, fy_count_dims(&count, rank, dim), LIMIT, "%.200s has sizes that are too large", name);
    FY_NEED(r->e, at && at->kind == FY_JSON_ARRAY && b && c && !c->next && b->kind == FY_JSON_INT && c->kind == FY_JSON_INT, CORRUPT, "%.200s has no \"data_offsets\"", name);
    FY_NEED(r->e, b->i >= 0 && c->i >= b->i && (uint64_t)c->i <= r->nbody, CORRUPT, "%.200s reaches from byte %lld to %lld of %llu", name, (long long)b->i, (long long)c->i,
            (unsigned long long)r->nbody);
    FY_NEED(r->e, (uint64_t)(c->i - b->i) == fy_dtype_bytes(t, count), CORRUPT, "%.200s has %lld bytes, its shape needs %zu", name, (long long)(c->i - b->i), fy_dtype_bytes(t, count));
    FY_PUSH(r->e, r->begin, (uint64_t)b->i);
    FY_PUSH(r->e, r->end, (uint64_t)c->i);
    const fy_const *k = fy_const_bytes(&r->w->arena, t, rank, dim, r->body + b->i, (size_t)(c->i - b->i));
    FY_NOMEM(r->e, k);
    return fy_weights_add(r->w, name, k, r->e);
}

static fy_status metadata(reading *r, const fy_json *j) {
    FY_NEED(r->e, j->kind == FY_JSON_OBJECT, CORRUPT, "__metadata__ is no object");
    for (const fy_json *p = j->child; p; p = p->next) {
        fy_pair pair;
        FY_NEED(r->e, p->kind == FY_JSON_STRING, CORRUPT, "__metadata__ holds something that is no text");
        FY_TRY(text_of(r, &pair.key, p->key, p->nkey));
        FY_TRY(text_of(r, &pair.val, p->s, p->n));
        FY_PUSH(r->e, r->w->meta, pair);
    }
    return FY_OK;
}

static int by_begin(const void *ctx, int64_t a, int64_t b) {
    const reading *r = ctx;
    uint64_t x = r->begin.at[a], y = r->begin.at[b];
    if (x == y) { x = r->end.at[a]; y = r->end.at[b]; }
    return (x > y) - (x < y);
}

/* Every byte belongs to exactly one tensor. */
static fy_status covered(reading *r, fy_arena *a) {
    int64_t n = r->begin.n, *order = FY_NEWN(a, int64_t, n + 1), *tmp = FY_NEWN(a, int64_t, n + 1);
    FY_NOMEM(r->e, order && tmp);
    for (int64_t i = 0; i < n; i++) order[i] = i;
    fy_sort(order, tmp, n, by_begin, r);
    uint64_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        const char *name = r->w->at.at[r->first + order[i]].name;
        FY_NEED(r->e, r->begin.at[order[i]] >= at, CORRUPT, "%.200s begins inside %.200s", name, i ? r->w->at.at[r->first + order[i - 1]].name : "");
        FY_NEED(r->e, r->begin.at[order[i]] == at, CORRUPT, "the bytes from %llu to %.200s belong to no tensor", (unsigned long long)at, name);
        at = r->end.at[order[i]];
    }
    FY_NEED(r->e, at == r->nbody, CORRUPT, "the file has %llu bytes behind its tensors", (unsigned long long)(r->nbody - at));
    return FY_OK;
}

/* Metadata of `once`: a name that is no tensor, said to be another that is one. */
static fy_status aliases(reading *r) {
    for (int64_t i = 0; i < r->w->meta.n; i++) {
        const fy_weight *same = fy_weights_find(r->w, r->w->meta.at[i].val);
        if (same && !fy_weights_find(r->w, r->w->meta.at[i].key)) FY_TRY(fy_weights_add(r->w, r->w->meta.at[i].key, same->data, r->e));
    }
    return FY_OK;
}

fy_status fy_safetensors_read(fy_weights *w, const unsigned char *data, size_t n, ferry_error *e) {
    FY_NEED(e, n >= 8, TRUNCATED, "a safetensors file of %zu bytes", n);
    uint64_t h = header_bytes(data);
    FY_NEED(e, h <= MAX_HEADER, LIMIT, "the header of a safetensors file has %llu bytes; at most %llu", (unsigned long long)h, (unsigned long long)MAX_HEADER);
    FY_NEED(e, h <= n - 8, TRUNCATED, "the header has %llu bytes, the file only %zu more", (unsigned long long)h, n - 8);
    reading r = {.w = w, .body = data + 8 + h, .nbody = n - 8 - h, .e = e, .first = w->at.n};
    fy_arena tmp = {0};
    const fy_json *doc;
    fy_status s = fy_json_parse(&doc, &tmp, (const char *)data + 8, (size_t)h, e);
    if (!s && doc->kind != FY_JSON_OBJECT) s = fy_fail(e, FY_E_CORRUPT, "the header is no JSON object");
    bool meta = false;
    for (const fy_json *j = s ? NULL : doc->child; j && !s; j = j->next) {
        bool is_meta = j->nkey == 12 && !memcmp(j->key, "__metadata__", 12);
        if (is_meta && meta) s = fy_fail(e, FY_E_CORRUPT, "__metadata__ is in the header twice");
        else s = is_meta ? metadata(&r, j) : one(&r, j);
        meta |= is_meta;
    }
    if (!s) s = covered(&r, &tmp);
    if (!s) s = aliases(&r);
    fy_free(r.begin.at);
    fy_free(r.end.at);
    fy_arena_free(&tmp);
    w->format = "safetensors";
    return s;
}

/* ---- writing --------------------------------------------------------------------------------------------------------------- */

static const char *kind_name(fy_dtype t) {
    for (int i = 0; i < FY_COUNT(kinds); i++)
        if (kinds[i].dtype == t) return kinds[i].name;
    return NULL;
}

static int by_size_and_name(const void *ctx, int64_t a, int64_t b) {
    const fy_weights *w = ctx;
    int x = fy_dtype_bits(w->at.at[a].data->dtype), y = fy_dtype_bits(w->at.at[b].data->dtype);
    return x != y ? (x < y) - (x > y) : strcmp(w->at.at[a].name, w->at.at[b].name);
}

static bool left_out(const fy_weight *t, bool once) { return once && t->tied >= 0; }

static fy_status make_header(fy_buf *b, const fy_weights *w, const int64_t *order, bool once, ferry_error *e) {
    uint64_t at = 0;
    fy_buf_str(b, "{\"__metadata__\":{\"format\":\"pt\"");
    for (int64_t i = 0; i < w->at.n; i++) {
        const fy_weight *t = &w->at.at[order[i]];
        if (!left_out(t, once)) continue;
        fy_buf_char(b, ',');
        fy_json_quote(b, t->name);
        fy_buf_char(b, ':');
        fy_json_quote(b, w->at.at[t->tied].name);
    }
    fy_buf_char(b, '}');
    for (int64_t i = 0; i < w->at.n; i++) {
        const fy_weight *t = &w->at.at[order[i]];
        if (left_out(t, once)) continue;
        FY_NEED(e, kind_name(t->data->dtype), TYPE, "%.200s is %s, which the safetensors format has no name for", t->name, fy_dtype_name(t->data->dtype));
        fy_buf_char(b, ',');
        fy_json_quote(b, t->name);
        fy_buf_fmt(b, ":{\"dtype\":\"%s\",\"shape\":[", kind_name(t->data->dtype));
        for (int k = 0; k < t->data->rank; k++) fy_buf_fmt(b, "%s%lld", k ? "," : "", (long long)t->data->dim[k]);
        fy_buf_fmt(b, "],\"data_offsets\":[%llu,", (unsigned long long)at);
        at += fy_dtype_bytes(t->data->dtype, t->data->count);
        fy_buf_fmt(b, "%llu]}", (unsigned long long)at);
    }
    fy_buf_char(b, '}');
    while (b->n % 8 && !b->oom) fy_buf_char(b, ' ');
    FY_NOMEM(e, !b->oom);
    FY_NEED(e, b->n <= MAX_HEADER, LIMIT, "the names of the weights do not fit into the header of a safetensors file");
    return FY_OK;
}

static fy_status write_one(fy_out *o, const fy_const *c, void *buf, ferry_error *e) {
    const void *direct = fy_const_direct(c);
    if (direct) return fy_out_write(o, direct, fy_dtype_bytes(c->dtype, c->count), e);
    FY_NEED(e, fy_dtype_bits(c->dtype) >= 8, TYPE, "a computed tensor of %s cannot be written", fy_dtype_name(c->dtype));
    for (int64_t i = 0; i < c->count; i += PIECE) {
        int64_t n = c->count - i < PIECE ? c->count - i : PIECE;
        FY_TRY(fy_const_read(c, i, n, buf, e));
        FY_TRY(fy_out_write(o, buf, (size_t)n * (size_t)fy_elem_bytes(c->dtype), e));
    }
    return FY_OK;
}

static fy_status write_all(fy_out *o, const fy_weights *w, const int64_t *order, const fy_buf *header, bool once, ferry_error *e) {
    unsigned char length[8];
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)((uint64_t)header->n >> 8 * i);
    FY_TRY(fy_out_write(o, length, 8, e));
    FY_TRY(fy_out_write(o, header->at, header->n, e));
    void *buf = fy_malloc((size_t)PIECE, 16);
    FY_NOMEM(e, buf);
    fy_status s = FY_OK;
    for (int64_t i = 0; i < w->at.n && !s; i++)
        if (!left_out(&w->at.at[order[i]], once)) s = write_one(o, w->at.at[order[i]].data, buf, e);
    fy_free(buf);
    return s;
}

fy_status fy_safetensors_write(const fy_weights *w, const char *path, bool once, int64_t *bytes, ferry_error *e) {
    fy_arena a = {0};
    fy_buf header = {0};
    fy_out o = {0};
    int64_t *order = FY_NEWN(&a, int64_t, w->at.n + 1), *tmp = FY_NEWN(&a, int64_t, w->at.n + 1);
    fy_status s = order && tmp ? FY_OK : fy_nomem(e);
    for (int64_t i = 0; i < w->at.n && !s; i++) order[i] = i;
    if (!s) {
        fy_sort(order, tmp, w->at.n, by_size_and_name, w);
        s = make_header(&header, w, order, once, e);
    }
    if (!s) {
        s = fy_out_open(&o, path, e);
        if (!s) s = write_all(&o, w, order, &header, once, e);
        for (int64_t i = 0; i < w->file.n && !s; i++) s = fy_file_unchanged(w->file.at[i], e);
        if (!s) s = fy_out_flush(&o, e);
        if (!s && bytes) *bytes = (int64_t)o.written;
        if (!s) s = fy_out_commit(&o, e);
        fy_out_abort(&o);
    }
    fy_buf_free(&header);
    fy_arena_free(&a);
    return s;
}
