/* SPDX-License-Identifier: Apache-2.0
 * duplicate.c - constants of equal dtype, shape and content are one. A sample of the bytes finds candidates, all bytes decide. A weight (told by
 * the dot in its name) and a constant of the graph stay apart: other weights may be put in the place of the one, never of the other. */
#include "passes/match.h"

#include <string.h>

#define SAMPLES 24
#define PIECE 4096                       /* elements compared at a time */

/* dtype, shape and a few elements spread over the whole. */
static bool key_of(fy_buf *key, const fy_const *c, bool weight, ferry_error *e, fy_status *s) {
    int width = fy_elem_bytes(c->dtype);
    _Alignas(16) unsigned char at[16];
    key->n = 0;
    if (c->dtype == FERRY_STRING || width < 1 || width > 16) return false;
    fy_buf_char(key, weight ? 'w' : 'c');
    fy_buf_add(key, &c->dtype, sizeof c->dtype);
    fy_buf_add(key, &c->rank, sizeof c->rank);
    if (c->rank) fy_buf_add(key, c->dim, (size_t)c->rank * sizeof *c->dim);
    for (int64_t i = 0, n = c->count < SAMPLES ? c->count : SAMPLES; i < n && !*s; i++) {
        *s = fy_const_read(c, n == c->count ? i : c->count / n * i + i * 7 % (c->count / n), 1, at, e);
        fy_buf_add(key, at, (size_t)width);
    }
    return !*s && !key->oom;
}

static bool equal(const fy_const *a, const fy_const *b, ferry_error *e, fy_status *s) {
    _Alignas(16) unsigned char x[PIECE * 16 / 4], y[PIECE * 16 / 4];
    const void *p = fy_const_direct(a), *q = fy_const_direct(b);
    if (p && q && a->nbytes == b->nbytes) return p == q || !memcmp(p, q, a->nbytes);
    int64_t width = fy_elem_bytes(a->dtype), piece = (int64_t)sizeof x / width;
    for (int64_t i = 0; i < a->count; i += piece) {
        int64_t n = a->count - i < piece ? a->count - i : piece;
        if (!*s) *s = fy_const_read(a, i, n, x, e);
        if (!*s) *s = fy_const_read(b, i, n, y, e);
        if (*s || memcmp(x, y, (size_t)(n * width))) return false;
    }
    return true;
}

/* Constants of an outer graph come first, so that a body's may become one of them. */
fy_status fy_pass_duplicate(fy_model *m, const fy_pass_options *o, int64_t *changes, ferry_error *e) {
    (void)o;
    fy_graph_list all = {0};
    fy_map seen = {0};
    fy_arena keys = {0};
    fy_buf key = {0};
    int64_t before = *changes;
    fy_status s = fy_all_graphs(&all, m, e);
    for (int64_t i = 0; !s && i < all.n; i++)
        for (int64_t k = 0; !s && k < all.at[i]->constants.n; k++) {
            fy_value *v = all.at[i]->constants.at[k];
            const fy_const *c = fy_fixed(v);
            if (!c || v->is_output || !v->nuses || !key_of(&key, c, v->name && strchr(v->name, '.'), e, &s)) continue;
            fy_value *first = fy_map_get(&seen, key.at, key.n);
            if (first && first != v && fy_value_visible(first, v->graph) && equal(first->constant, c, e, &s)) {
                fy_value_replace(v, first);
                ++*changes;
            } else if (!first) {
                const char *kept = fy_arena_copy(&keys, key.at, key.n, 1);
                if (!kept || !fy_map_put(&seen, kept, key.n, v)) s = fy_nomem(e);
            }
        }
    for (int64_t i = all.n - 1; !s && *changes > before && i > 0; i--)
        if (all.at[i]->owner && !fy_node_collect_captures(all.at[i]->owner)) s = fy_nomem(e);
    if (key.oom && !s) s = fy_nomem(e);
    fy_map_free(&seen);
    fy_arena_free(&keys);
    fy_buf_free(&key);
    fy_free(all.at);
    return s;
}
