/* SPDX-License-Identifier: Apache-2.0
 * proto.c - protobuf's wire format (protobuf.dev/programming-guides/encoding), read in place and written in two passes. */
#include "formats/onnx/proto.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MSG(M) static const fy_pb_field fields_##M[] = {
#define FIELD(M, name_, num_, kind_, rep_, sub_) {.num = num_, .kind = FY_PB_##kind_, .repeated = rep_, .name = #name_, .sub = sub_},
#define END(M) }; const fy_pb_msg fy_msg_##M = {#M, FY_COUNT(fields_##M), fields_##M};
#include "formats/onnx/proto.def"
#undef MSG
#undef FIELD
#undef END

/* ---- reading ----------------------------------------------------------------------------------------------------- */

void fy_pb_open(fy_pb *c, const fy_pb_file *file, const fy_pb_msg *msg, const unsigned char *at, size_t n) {
    memset(c, 0, sizeof *c);
    c->file = file;
    c->msg = msg;
    c->at = at;
    c->end = at + n;
}

void fy_pb_open_sub(fy_pb *c, fy_pb *up) {
    fy_pb_open(c, up->file, up->f->sub, up->p, up->n);
    c->up = up;
    c->depth = up->depth + 1;
    if (c->depth >= FY_PB_DEPTH) c->status = fy_pb_fail(c, FY_E_LIMIT, "messages are nested more than %d deep", FY_PB_DEPTH);
}

fy_status fy_pb_fail(fy_pb *c, fy_code code, const char *fmt, ...) {
    char words[320], path[160] = "";
    const fy_pb *chain[7];
    int n = 0;
    bool cut = false;
    for (const fy_pb *p = c; p; p = p->up) {
        if (!p->f) continue;
        if (n == FY_COUNT(chain)) { cut = true; break; }
        chain[n++] = p;
    }
    size_t at = 0;
    if (cut) at += (size_t)snprintf(path, sizeof path, "...");
    for (int i = n - 1; i >= 0 && at < sizeof path; i--) {
        const fy_pb *p = chain[i];
        int k = p->f->repeated && p->f->kind >= FY_PB_BYTES
            ? snprintf(path + at, sizeof path - at, "%s%s[%d]", at ? "." : "", p->f->name, p->index[p->f - p->msg->field] - 1)
            : snprintf(path + at, sizeof path - at, "%s%s", at ? "." : "", p->f->name);
        at += (size_t)(k > 0 ? k : 0);
    }
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(words, sizeof words, fmt, ap);
    va_end(ap);
    c->status = fy_fail(c->file->e, code, "%s: %s%sbyte %zu: %s", c->file->name, path, *path ? ", " : "", (size_t)(c->at - c->file->base), words);
    return c->status;
}

/* A varint of at most 10 bytes; false if it does not end before `end`. */
static bool varint(const unsigned char **at, const unsigned char *end, uint64_t *v) {
    uint64_t r = 0;
    const unsigned char *p = *at;
    for (int shift = 0; shift < 70; shift += 7) {
        if (p == end) return false;
        unsigned char b = *p++;
        if (shift < 64) r |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) { *at = p; *v = r; return true; }
    }
    return false;
}

static uint64_t load(const unsigned char *p, int bytes) {
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static const fy_pb_field *find(const fy_pb_msg *m, uint64_t num) {
    if (!m) return NULL;
    for (int i = 0; i < m->n; i++)
        if (m->field[i].num == num) return &m->field[i];
    return NULL;
}

static bool fault(fy_pb *c, fy_code code, const char *words) {
    c->status = fy_pb_fail(c, code, "%s", words);
    return false;
}

bool fy_pb_next(fy_pb *c) {
    while (!c->status && c->at < c->end) {
        uint64_t tag, len;
        const unsigned char *start = c->at;
        c->f = NULL;
        if (!varint(&c->at, c->end, &tag)) return fault(c, FY_E_TRUNCATED, "a field tag does not end");
        if (tag >> 3 == 0 || tag >> 32) { c->at = start; return fault(c, FY_E_CORRUPT, "a field has an impossible number"); }
        const fy_pb_field *f = c->f = find(c->msg, tag >> 3);
        int wire = (int)(tag & 7);
        size_t left = (size_t)(c->end - c->at);
        switch (wire) {
        case 0:
            if (!varint(&c->at, c->end, &c->u)) return fault(c, FY_E_TRUNCATED, "a number does not end");
            break;
        case 1:
            if (left < 8) return fault(c, FY_E_TRUNCATED, "8 bytes are needed but the message ends");
            c->u = load(c->at, 8), c->at += 8;
            break;
        case 5:
            if (left < 4) return fault(c, FY_E_TRUNCATED, "4 bytes are needed but the message ends");
            c->u = load(c->at, 4), c->at += 4;
            break;
        case 2:
            if (!varint(&c->at, c->end, &len)) return fault(c, FY_E_TRUNCATED, "a length does not end");
            left = (size_t)(c->end - c->at);
            if (len > left) {
                c->status = fy_pb_fail(c, FY_E_TRUNCATED, "a field of %llu bytes in a message with %zu left", (unsigned long long)len, left);
                return false;
            }
            c->p = c->at, c->n = (size_t)len, c->at += len;
            break;
        default:
            return fault(c, FY_E_CORRUPT, "a field has an unknown wire type");
        }
        if (!f) continue;
        static const int wires[] = {[FY_PB_VARINT] = 0, [FY_PB_F32] = 5, [FY_PB_F64] = 1, [FY_PB_BYTES] = 2, [FY_PB_MSG] = 2};
        c->run = f->repeated && wire == 2 && f->kind < FY_PB_BYTES;
        if (wire != wires[f->kind] && !c->run) { c->at = start; return fault(c, FY_E_CORRUPT, "a field has the wrong wire type"); }
        c->index[f - c->msg->field]++;
        if (c->run && f->kind != FY_PB_VARINT && c->n % (f->kind == FY_PB_F32 ? 4 : 8)) return fault(c, FY_E_CORRUPT, "a packed list does not end with a whole number");
        return true;
    }
    c->f = NULL;
    return false;
}

bool fy_pb_number(fy_pb *c, size_t *pos, uint64_t *bits) {
    if (c->status) return false;
    if (!c->run) { *bits = c->u; return (*pos)++ == 0; }
    if (*pos >= c->n) return false;
    const unsigned char *p = c->p + *pos;
    if (c->f->kind == FY_PB_VARINT) {
        if (!varint(&p, c->p + c->n, bits)) return fault(c, FY_E_TRUNCATED, "a number does not end");
        *pos = (size_t)(p - c->p);
    } else {
        int size = c->f->kind == FY_PB_F32 ? 4 : 8;
        *bits = load(p, size);
        *pos += (size_t)size;
    }
    return true;
}

int64_t fy_pb_count(const fy_pb *c) {
    if (!c->run) return 1;
    if (c->f->kind == FY_PB_F32) return (int64_t)(c->n / 4);
    if (c->f->kind == FY_PB_F64) return (int64_t)(c->n / 8);
    int64_t count = 0;
    for (size_t i = 0; i < c->n; i++) count += !(c->p[i] & 0x80);
    return count;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static int varint_size(uint64_t v) {
    int n = 1;
    while (v >>= 7) n++;
    return n;
}

void fy_pbw_raw(fy_pbw *w, const void *p, size_t n) {
    w->total += n;
    if (w->counting || w->status || !n) return;
    if (w->out) w->status = fy_out_write(w->out, p, n, w->e);
    else fy_buf_add(w->buf, p, n);
}

static void put_varint(fy_pbw *w, uint64_t v) {
    unsigned char b[10];
    int n = 0;
    do { b[n++] = (unsigned char)((v & 0x7f) | (v > 0x7f ? 0x80 : 0)); } while (v >>= 7);
    fy_pbw_raw(w, b, (size_t)n);
}

static void put_fixed32(fy_pbw *w, double v) {
    float f = (float)v;
    uint32_t u;
    memcpy(&u, &f, 4);
    unsigned char b[4] = {(unsigned char)u, (unsigned char)(u >> 8), (unsigned char)(u >> 16), (unsigned char)(u >> 24)};
    fy_pbw_raw(w, b, 4);
}

void fy_pbw_int(fy_pbw *w, uint32_t field, uint64_t v) { put_varint(w, field << 3); put_varint(w, v); }
void fy_pbw_f32(fy_pbw *w, uint32_t field, double v) { put_varint(w, field << 3 | 5); put_fixed32(w, v); }
void fy_pbw_head(fy_pbw *w, uint32_t field, uint64_t n) { put_varint(w, field << 3 | 2); put_varint(w, n); }
void fy_pbw_bytes(fy_pbw *w, uint32_t field, const void *p, size_t n) { fy_pbw_head(w, field, n); fy_pbw_raw(w, p, n); }
void fy_pbw_str(fy_pbw *w, uint32_t field, const char *s) { if (s && *s) fy_pbw_bytes(w, field, s, strlen(s)); }

void fy_pbw_ints(fy_pbw *w, uint32_t field, int64_t n, const int64_t *v, bool packed) {
    uint64_t bytes = 0;
    for (int64_t i = 0; i < n; i++) bytes += (uint64_t)varint_size((uint64_t)v[i]);
    if (packed && n) fy_pbw_head(w, field, bytes);
    for (int64_t i = 0; i < n; i++)
        if (packed) put_varint(w, (uint64_t)v[i]);
        else fy_pbw_int(w, field, (uint64_t)v[i]);
}

static void stick(fy_pbw *w, fy_status s) { if (!w->status) w->status = s; }

void fy_pbw_begin(fy_pbw *w, uint32_t field) {
    if (w->depth >= FY_PB_DEPTH) { stick(w, fy_fail(w->e, FY_E_LIMIT, "graphs are nested too deep to be written")); return; }
    int64_t slot = w->next++;
    if (w->counting) {
        if (!FY_RESERVE(w->len, w->len.n + 1)) { stick(w, fy_nomem(w->e)); return; }
        w->len.at[w->len.n++] = 0;
    } else if (w->status || slot >= w->len.n) { stick(w, fy_fail(w->e, FY_E_INTERNAL, "the two passes of the writer differ")); return; }
    else fy_pbw_head(w, field, w->len.at[slot]);
    w->open[w->depth].slot = slot;
    w->open[w->depth].start = w->total;
    w->open[w->depth++].field = field;
}

void fy_pbw_end(fy_pbw *w) {
    if (w->status || !w->depth) return;
    w->depth--;
    uint64_t n = w->total - w->open[w->depth].start;
    if (!w->counting) { FY_ASSERT(n == w->len.at[w->open[w->depth].slot]); return; }
    w->len.at[w->open[w->depth].slot] = n;
    w->total += (uint64_t)varint_size((uint64_t)w->open[w->depth].field << 3) + (uint64_t)varint_size(n);
}
