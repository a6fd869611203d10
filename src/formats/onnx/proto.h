/* SPDX-License-Identifier: Apache-2.0
 * proto.h - the protobuf wire format: a cursor that reads messages in place by the tables of proto.def, and a writer whose
 * first pass only counts, so that the second can stream. */
#ifndef FY_ONNX_PROTO_H
#define FY_ONNX_PROTO_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/file.h"

typedef enum fy_pb_kind { FY_PB_VARINT, FY_PB_F32, FY_PB_F64, FY_PB_BYTES, FY_PB_MSG } fy_pb_kind;
typedef struct fy_pb_msg fy_pb_msg;
typedef struct fy_pb_field { uint32_t num; fy_pb_kind kind; bool repeated; const char *name; const fy_pb_msg *sub; } fy_pb_field;
struct fy_pb_msg { const char *name; int n; const fy_pb_field *field; };
#define FY_PB_FIELDS 20                  /* no message has more */
#define FY_PB_DEPTH  260                 /* messages inside messages: 64 graphs of graph, node, attribute, and a tensor or type */

#define MSG(M) extern const fy_pb_msg fy_msg_##M;
#define FIELD(M, name, num, kind, rep, sub)
#define END(M)
#include "formats/onnx/proto.def"
#undef MSG
#undef FIELD
#undef END

enum {                                   /* NODE_input = 1, ... */
#define MSG(M)
#define FIELD(M, name, num, kind, rep, sub) M##_##name = num,
#define END(M)
#include "formats/onnx/proto.def"
#undef MSG
#undef FIELD
#undef END
    FY_PB_LAST_FIELD
};

/* ---- reading ----------------------------------------------------------------------------------------------------- */

typedef struct fy_pb_file { const char *name; const unsigned char *base; size_t n; ferry_error *e; } fy_pb_file;

/* A cursor over one message. A fault is sticky: fy_pb_next gives false, `status` says why. `up` makes the path of errors. */
typedef struct fy_pb fy_pb;
struct fy_pb {
    const fy_pb_file    *file;
    fy_pb               *up;
    const fy_pb_msg     *msg;
    const unsigned char *at, *end;
    fy_status            status;
    int                  depth;
    const fy_pb_field   *f;              /* the field just read */
    bool                 run;            /* a packed run of numbers: p, n hold it */
    uint64_t             u;              /* VARINT value; bits of F32, F64 */
    const unsigned char *p;              /* BYTES, MSG, packed run */
    size_t               n;
    int32_t              index[FY_PB_FIELDS];     /* how often each field came, for paths such as graph.node[3] */
};

void fy_pb_open(fy_pb *c, const fy_pb_file *file, const fy_pb_msg *msg, const unsigned char *at, size_t n);
/* A cursor over the message that `up` has just read. */
void fy_pb_open_sub(fy_pb *c, fy_pb *up);
/* The next known field; false at the end or on a fault. Unknown fields are skipped; groups are refused. */
bool fy_pb_next(fy_pb *c);
/* The numbers of the field just read, packed or not: start with *pos = 0. False at the end or on a fault. */
bool fy_pb_number(fy_pb *c, size_t *pos, uint64_t *bits);
/* How many numbers the field just read holds, without decoding them. */
int64_t fy_pb_count(const fy_pb *c);
/* Error with file, field path and byte offset before the words; sets c->status. */
FY_CHECKED fy_status fy_pb_fail(fy_pb *c, fy_code code, const char *fmt, ...) FY_PRINTF(3, 4);
#define FY_PB_NEED(c, cond, code, ...) do { if (!(cond)) return fy_pb_fail(c, FY_E_##code, __VA_ARGS__); } while (0)

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* The same calls run twice: first with `counting`, which records the body length of every message in the order in which they
 * are opened; then for real. Failure is sticky in `status`. */
typedef struct fy_pbw {
    bool       counting;
    uint64_t   total;                    /* bytes so far */
    FY_VEC(uint64_t) len;
    int64_t    next;
    int        depth;
    struct { int64_t slot; uint64_t start; uint32_t field; } open[FY_PB_DEPTH];
    fy_status  status;
    ferry_error *e;
    fy_out    *out;                      /* one of these two when not counting */
    fy_buf    *buf;
} fy_pbw;

void fy_pbw_int(fy_pbw *w, uint32_t field, uint64_t v);      /* always written, also when 0 */
void fy_pbw_f32(fy_pbw *w, uint32_t field, double v);
void fy_pbw_bytes(fy_pbw *w, uint32_t field, const void *p, size_t n);
void fy_pbw_str(fy_pbw *w, uint32_t field, const char *s);   /* NULL or "": nothing */
void fy_pbw_ints(fy_pbw *w, uint32_t field, int64_t n, const int64_t *v, bool packed);
void fy_pbw_begin(fy_pbw *w, uint32_t field);                /* a message */
void fy_pbw_end(fy_pbw *w);
void fy_pbw_head(fy_pbw *w, uint32_t field, uint64_t n);     /* of a byte field whose n bytes follow by fy_pbw_raw */
void fy_pbw_raw(fy_pbw *w, const void *p, size_t n);

#endif
