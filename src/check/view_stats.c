/* SPDX-License-Identifier: Apache-2.0
 * view_stats.c - what a weight's elements are like, and which module a node belongs to. */
#include "check/view.h"

#include <math.h>
#include <string.h>

#define PIECE 4096

typedef struct walker { fy_weight_stats *s; double sum, squares, scale; bool count; } walker;

static void take(walker *w, const double *v, int64_t n) {
    fy_weight_stats *s = w->s;
    for (int64_t i = 0; i < n; i++) {
        double x = v[i];
        if (!isfinite(x)) {
            if (!w->count) { s->nan += isnan(x) != 0; s->inf += isinf(x) != 0; }
            continue;
        }
        if (w->count) {
            int k = (int)((x - s->min) * w->scale);
            s->bins[k < 0 ? 0 : k < FY_BINS ? k : FY_BINS - 1]++;
            double d = x - s->mean;
            w->squares += d * d;
            continue;
        }
        if (x < s->min) s->min = x;
        if (x > s->max) s->max = x;
        w->sum += x;
        s->zeros += x == 0;
    }
}

static fy_status walk(walker *w, const fy_const *c, ferry_error *e) {
    double v[PIECE];
    union { double d; unsigned char b[8 * PIECE]; } raw;
    for (int64_t i = 0; i < c->count; i += PIECE) {
        int64_t n = c->count - i < PIECE ? c->count - i : PIECE;
        FY_TRY(fy_const_read(c, i, n, raw.b, e));
        fy_tensor t = fy_tensor_view(c->dtype, 1, &n, raw.b);
        fy_load_f64(v, &t, 0, n);
        take(w, v, n);
    }
    return FY_OK;
}

fy_status fy_weight_statistics(fy_weight_stats *s, const fy_const *c, ferry_error *e) {
    *s = (fy_weight_stats){.min = INFINITY, .max = -INFINITY};
    s->n = c->count;
    if (c->dtype == FERRY_STRING || fy_dtype_class(c->dtype) == FY_CLASS_C || fy_elem_bytes(c->dtype) > 8) return FY_OK;
    walker w = {.s = s};
    FY_TRY(walk(&w, c, e));
    int64_t finite = c->count - s->nan - s->inf;
    if (!finite) return FY_OK;
    s->mean = w.sum / (double)finite;
    w.count = true;
    w.scale = s->max > s->min ? FY_BINS / (s->max - s->min) : 0;
    FY_TRY(walk(&w, c, e));
    s->std = sqrt(w.squares / (double)finite);
    return FY_OK;
}

/* ---- modules ------------------------------------------------------------------------------------------------------------------- */

static void part(fy_buf *b, const char *s, size_t n) {
    if (!n) return;
    if (b->n) fy_buf_char(b, '\001');
    fy_buf_add(b, s, n);
}

/* "encoder.layer.0.attention": a number stays with the name before it, so that layers are "layer.0". */
static void dotted(fy_buf *b, const char *s, size_t n) {
    const char *end = s + n;
    while (s < end) {
        const char *dot = memchr(s, '.', (size_t)(end - s)), *stop = dot ? dot : end;
        while (stop < end && stop + 1 < end && stop[1] >= '0' && stop[1] <= '9') {
            const char *next = memchr(stop + 1, '.', (size_t)(end - stop - 1));
            stop = next ? next : end;
        }
        part(b, s, (size_t)(stop - s));
        s = stop + 1;
    }
}

/* "/encoder/layer.0/attention/MatMul" without its last part; "pkg: Class/layer1: Class/conv: Class/node": names before the colons. */
static void slashed(fy_buf *b, const char *s, bool last_too) {
    bool classes = strstr(s, ": ") != NULL;
    if (*s == '/') s++;
    for (int i = 0;; i++) {
        const char *slash = strchr(s, '/');
        size_t n = slash ? (size_t)(slash - s) : strlen(s);
        if (!slash && !last_too) return;
        if (classes) {
            const char *colon = memchr(s, ':', n);
            if (colon && i) part(b, s, (size_t)(colon - s));
        } else part(b, s, n);
        if (!slash) return;
        s = slash + 1;
    }
}

void fy_module_path(fy_buf *b, const fy_node *n) {
    b->n = 0;
    if (n->scope && *n->scope) {
        if (strchr(n->scope, '/')) slashed(b, n->scope, strstr(n->scope, ": ") != NULL);
        else dotted(b, n->scope, strlen(n->scope));
        return;
    }
    const char *slash = n->name ? strrchr(n->name, '/') : NULL;
    if (slash && n->name[0] == '/') { slashed(b, n->name, false); return; }
    if (slash) { dotted(b, n->name, (size_t)(slash - n->name)); return; }
    for (int i = 0; i < n->nin; i++) {                       /* "layer1.0.conv1.weight" tells where its reader is */
        const fy_value *v = fy_in(n, i);
        const char *dot = v && v->constant && v->name && fy_dtype_float(v->constant->dtype) ? strrchr(v->name, '.') : NULL;
        if (dot && !strcmp(dot, ".T")) {
            const char *at = dot;
            while (at > v->name && at[-1] != '.') at--;
            dot = at > v->name ? at - 1 : NULL;
        }
        if (dot) { dotted(b, v->name, (size_t)(dot - v->name)); return; }
    }
}
