/* SPDX-License-Identifier: Apache-2.0
 * packed_key.c - by what a file of packed weights is found: a digest of all that packing goes by, contents of constants included.
 *
 * Contents are read once and then known by where they lie: device, inode, size and times of the mapped files that hold them. DIR/QUICK.known says
 * which key belongs to those, and which packed file (by the same marks) has been checked as a whole. A write moves a file's change time, which no
 * program can set; as its clock is coarse, and as pages written through a mapping move it only once until they are on the disk, contents are
 * remembered only where the files have been at rest: the model's for RESTED seconds, our own, which nobody maps to write, for 2. */
#include "plan/plan.h"

#include <stdio.h>
#include <string.h>

#define RESTED ((int64_t)60 * 1000000000)
#define RESTED_OWN ((int64_t)2 * 1000000000)

/* A file's place and times; all zero: not known. */
static void mark_of(fy_file_mark *m, const fy_os_info *i) { *m = (fy_file_mark){i->device, i->inode, (uint64_t)i->size, i->mtime_ns, i->ctime_ns}; }

static bool rested(const fy_file_mark *m, int64_t now, int64_t least) { return now - m->ctime_ns >= least && now - m->mtime_ns >= least; }

/* ---- what it is made of ------------------------------------------------------------------------------------------------------ */

typedef struct keying { fy_buf text; FY_VEC(fy_range) ranges; bool oom; } keying;

static void add(keying *k, const void *p, size_t n) {
    if (n) fy_buf_add(&k->text, p, n);
}

static void add_i64(keying *k, int64_t v) { add(k, &v, sizeof v); }

static void add_str(keying *k, const char *s) {
    add_i64(k, s ? (int64_t)strlen(s) : -1);
    if (s) fy_buf_str(&k->text, s);
}

/* A constant: what it is in the text, bytes as ranges. A recipe nests 16 deep at most. */
static void add_constant(keying *k, const fy_const *c) {
    const int64_t what[] = {c->kind, c->dtype, c->rank, c->nsrc, c->axis, c->offset, (int64_t)c->nbytes};
    add(k, what, sizeof what);
    add(k, c->dim, (size_t)c->rank * sizeof *c->dim);
    if (c->kind == FY_CONST_SCALE) add(k, c->factor, (size_t)c->dim[c->axis] * sizeof *c->factor);
    if (c->kind == FY_CONST_STRIDED) add(k, c->stride, (size_t)c->rank * sizeof *c->stride);
    for (int i = 0; i < c->nsrc; i++) add_constant(k, c->src[i]);
    if (!c->bytes || !c->nbytes) return;
    if (!FY_RESERVE(k->ranges, k->ranges.n + 1)) { k->oom = true; return; }
    k->ranges.at[k->ranges.n++] = (fy_range){c->bytes, c->nbytes};
}

static void add_node(keying *k, const fy_node *n) {
    add_i64(k, n ? (int64_t)n->id : -1);
    for (int i = 0; n && i < n->nin; i++)
        if (n->in[i].value && n->in[i].value->constant) add_constant(k, n->in[i].value->constant);
    for (int i = 0; n && i < n->nattr; i++) {
        const fy_attr *a = &n->attr[i];
        if (a->kind == FY_ATTR_TENSOR && a->tensor) add_constant(k, a->tensor);
        for (int64_t t = 0; a->kind == FY_ATTR_TENSORS && t < a->n; t++) add_constant(k, a->tensors[t]);
    }
}

/* Steps as they were chosen, with the constants that those which prepare something may read. */
static void add_step(keying *k, const fy_step *s) {
    add_str(k, s->impl->name);
    add_i64(k, s->out_layout);
    for (int i = 0; i < s->nin; i++) add_i64(k, s->in_layout[i]);
    if (!s->impl->prepare) return;
    add_node(k, s->node);
    for (int i = 0; i < s->nfused; i++) add_node(k, s->fused[i]);
    for (int i = 0; s->cover && i < s->cover->n; i++) add_node(k, s->cover->node[i]);
}

/* Where the ranges lie, if all of them lie in the model's mapped files. */
static bool add_places(keying *k, const fy_model *m, bool *old) {
    int64_t now = fy_os_time_ns();
    *old = true;
    for (int64_t f = 0; m && f < m->files.n; f++) {
        fy_os_info info;
        fy_file_mark mark;
        if (m->files.at[f]->fd < 0 || fy_os_stat(m->files.at[f]->fd, &info)) return false;
        mark_of(&mark, &info);
        *old &= rested(&mark, now, RESTED);
        add(k, &mark, sizeof mark);
    }
    for (int64_t i = 0; i < k->ranges.n; i++) {
        int64_t f = 0;
        uintptr_t at = (uintptr_t)k->ranges.at[i].at, from = 0;
        for (; m && f < m->files.n; f++) {
            from = at - (uintptr_t)m->files.at[f]->at;
            if (from < m->files.at[f]->n && k->ranges.at[i].n <= m->files.at[f]->n - from) break;
        }
        if (!m || f == m->files.n) {     /* computed by a pass: little, or it would be a recipe */
            if (k->ranges.at[i].n > FY_PACKED_SMALL) return false;
            fy_digest d = fy_digest_of(k->ranges.at[i].at, k->ranges.at[i].n);
            add(k, &d, sizeof d);
        }
        add_i64(k, f);
        add_i64(k, (int64_t)from);
        add_i64(k, (int64_t)k->ranges.at[i].n);
    }
    return true;
}

/* ---- what is known already ------------------------------------------------------------------------------------------------- */

typedef struct known { char magic[8]; fy_digest quick, key; fy_file_mark checked; fy_digest check; } known;

static bool path_of(char *path, size_t n, const fy_plan *p) {
    int at = snprintf(path, n, "%s/%016llx%016llx.known", p->o.cache, (unsigned long long)p->packed.quick.at[0], (unsigned long long)p->packed.quick.at[1]);
    return at > 0 && (size_t)at < n;
}

/* Fills key and checked from the file of `quick`. */
static bool recall(fy_plan *p) {
    fy_packed *k = &p->packed;
    char path[FY_PACKED_PATH];
    fy_map_file f;
    known r;
    if (!path_of(path, sizeof path, p) || fy_file_open(&f, path, NULL)) return false;
    bool ok = f.n == sizeof r;
    if (ok) memcpy(&r, f.at, sizeof r);
    fy_file_close(&f);
    ok = ok && !memcmp(r.magic, "FERRYKN", 8) && fy_digest_same(r.quick, k->quick) && fy_digest_same(r.check, fy_digest_of(&r, offsetof(known, check)));
    if (!ok) return false;
    k->key = r.key;
    k->checked = r.checked;
    return true;
}

/* ---- the key itself -------------------------------------------------------------------------------------------------------- */

bool fy_packed_key(fy_plan *p) {
    const fy_kernels *kern = p->o.kernels;
    unsigned char id[64];
    size_t nid = fy_os_build_id(id, sizeof id);
    keying k = {.oom = false};
    add_str(&k, FERRY_VERSION);
    add_i64(&k, FY_PACKED_FORMAT);
    add_i64(&k, (int64_t)nid);
    add(&k, id, nid);
    add_str(&k, fy_isa_name(kern->isa));
    add_i64(&k, kern->gemm_nr);
    add_i64(&k, kern->int8_nr);
    add_i64(&k, kern->int8_lanes);
    add_i64(&k, kern->bf16_bytes);
    add_i64(&k, p->o.exact);
    add_i64(&k, p->o.bf16);
    fy_model_print(&k.text, p->m, 0);    /* nodes, attributes, types; constants by their contents below */
    for (int64_t i = 0; i < p->steps.n; i++) add_step(&k, p->steps.at[i]);
    fy_packed *out = &p->packed;
    size_t text = k.text.n;
    bool old, placed = add_places(&k, p->o.source, &old);
    if (placed && !k.text.oom) out->quick = fy_digest_of(k.text.at, k.text.n);
    if (!k.text.oom) k.text.n = text;
    bool ok = !k.oom && !k.text.oom;
    out->placed = placed && old;
    if (ok && !(out->placed && recall(p))) {
        fy_digest contents = {{0}};
        ok = fy_digest_ranges(&contents, p->o.pool, k.ranges.at, k.ranges.n);
        add(&k, &contents, sizeof contents);
        ok &= !k.text.oom;
        if (ok) out->key = fy_digest_of(k.text.at, k.text.n);
    }
    fy_buf_free(&k.text);
    fy_free(k.ranges.at);
    return ok;
}

bool fy_packed_checked(const fy_plan *p, int fd) {
    fy_os_info info;
    fy_file_mark mark;
    if (!p->packed.checked.inode || fy_os_stat(fd, &info)) return false;
    mark_of(&mark, &info);
    return !memcmp(&mark, &p->packed.checked, sizeof mark);
}

void fy_packed_remember(const fy_plan *p) {
    const fy_packed *k = &p->packed;
    char path[FY_PACKED_PATH];
    fy_os_info info;
    fy_out o;
    known r = {.magic = "FERRYKN", .quick = k->quick, .key = k->key};
    if (!k->placed || fy_os_stat(k->file.fd, &info) || !path_of(path, sizeof path, p)) return;
    mark_of(&r.checked, &info);
    if (!rested(&r.checked, fy_os_time_ns(), RESTED_OWN)) return;        /* the next start checks it once more */
    r.check = fy_digest_of(&r, offsetof(known, check));
    if (fy_out_open(&o, path, NULL)) return;
    fy_status s = fy_out_write(&o, &r, sizeof r, NULL);
    if (!s) s = fy_out_commit(&o, NULL);
    (void)s;                             /* or else it is not remembered */
    fy_out_abort(&o);
}
