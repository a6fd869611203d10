/* SPDX-License-Identifier: Apache-2.0
 * record.c - what became of the weights on the way into a .onnx: made by comparing what there was with what there is, kept as metadata.
 *
 * An initializer of the same name and contents needs no word. One that is a weight with its axes permuted, or the one tensor of several tied
 * names, is a link. What is found neither way went into something else: its digest is kept, so that new weights that leave it as it is
 * are no obstacle. */
#include "api/weights.h"
#include "base/digest.h"

#include <stdio.h>
#include <string.h>

#define KEY "ferry.weights"

const char *fy_const_digest(char hex[17], const fy_const *c, ferry_error *e) {
    fy_tensor t = {0};
    const void *direct = fy_const_direct(c);
    size_t bytes = fy_dtype_bytes(c->dtype, c->count);
    if (!direct) {
        if (c->dtype == FERRY_STRING || fy_dtype_bits(c->dtype) < 8) bytes = 0;      /* neither occurs among computed weights */
        if (fy_const_tensor(&t, c, e)) return NULL;
        direct = t.data;
    }
    snprintf(hex, 17, "%016llx", (unsigned long long)fy_digest_of(direct, bytes).at[0]);
    fy_tensor_free(&t);
    return hex;
}

/* ---- reading ----------------------------------------------------------------------------------------------------------------- */

static fy_status text(fy_record *r, const char **to, const char *s, size_t n, ferry_error *e) {
    FY_NEED(e, !memchr(s, 0, n), CORRUPT, "%s names a weight with a zero byte", KEY);
    *to = fy_arena_strn(&r->arena, s, n);
    FY_NOMEM(e, *to);
    return FY_OK;
}

static fy_status read_link(fy_record *r, const fy_json *j, ferry_error *e) {
    fy_link l = {0};
    const fy_json *target = j->kind == FY_JSON_ARRAY ? j->child : NULL, *name = target ? target->next : NULL;
    FY_NEED(e, name && target->kind == FY_JSON_STRING && name->kind == FY_JSON_STRING, CORRUPT, "%s holds a link that is none", KEY);
    FY_TRY(text(r, &l.target, target->s, target->n, e));
    FY_TRY(text(r, &l.name, name->s, name->n, e));
    for (const fy_json *p = name->next; p; p = p->next) {
        FY_NEED(e, l.rank < FY_MAX_RANK && p->kind == FY_JSON_INT && p->i >= 0 && p->i < FY_MAX_RANK, CORRUPT, "%s holds an axis that is none", KEY);
        l.perm[l.rank++] = (int)p->i;
    }
    unsigned seen = 0;
    for (int k = 0; k < l.rank; k++) seen |= 1u << l.perm[k];
    FY_NEED(e, seen == (l.rank ? (1u << l.rank) - 1 : 0), CORRUPT, "%s holds axes that are no permutation", KEY);
    FY_PUSH(e, r->link, l);
    return FY_OK;
}

static fy_status read_fold(fy_record *r, const fy_json *j, ferry_error *e) {
    fy_fold f = {0};
    const fy_json *p = j->kind == FY_JSON_ARRAY ? j->child : NULL;
    for (int i = 0; i < FY_FOLD_PARTS && p; i++, p = p->next) {
        FY_NEED(e, p->kind == FY_JSON_STRING || (p->kind == FY_JSON_NULL && i != FY_FOLD_WEIGHT && i < FY_FOLD_MEAN), CORRUPT, "%s holds a fold without a name", KEY);
        if (p->kind == FY_JSON_STRING) FY_TRY(text(r, &f.part[i], p->s, p->n, e));
    }
    const fy_json *eps = p ? p->next : NULL;
    FY_NEED(e, eps && p->kind == FY_JSON_INT && p->i >= 0 && p->i < FY_MAX_RANK && (eps->kind == FY_JSON_INT || eps->kind == FY_JSON_NUMBER), CORRUPT, "%s holds a fold that is none", KEY);
    f.axis = (int)p->i;
    f.eps = eps->kind == FY_JSON_INT ? (double)eps->i : eps->f;
    FY_PUSH(e, r->fold, f);
    return FY_OK;
}

static fy_status read_all(fy_record *r, const fy_json *doc, ferry_error *e) {
    const fy_json *folded = fy_json_get(doc, "folded"), *links = fy_json_get(doc, "links"), *unused = fy_json_get(doc, "unused"), *made = fy_json_get(doc, "made"), *folds = fy_json_get(doc, "folds");
    FY_NEED(e, doc->kind == FY_JSON_OBJECT && (!made || made->kind == FY_JSON_ARRAY) && (!folds || folds->kind == FY_JSON_ARRAY) && (!folded || folded->kind == FY_JSON_OBJECT) && (!links || links->kind == FY_JSON_ARRAY) && (!unused || unused->kind == FY_JSON_ARRAY),
            CORRUPT, "%s is not what ferry writes", KEY);
    for (const fy_json *j = folded ? folded->child : NULL; j; j = j->next) {
        fy_pair p;
        FY_NEED(e, j->kind == FY_JSON_STRING, CORRUPT, "%s holds a digest that is none", KEY);
        FY_TRY(text(r, &p.key, j->key, j->nkey, e));
        FY_TRY(text(r, &p.val, j->s, j->n, e));
        FY_PUSH(e, r->folded, p);
        FY_NOMEM(e, fy_map_puts(&r->folded_by_name, p.key, (void *)(uintptr_t)r->folded.n));
    }
    for (const fy_json *j = links ? links->child : NULL; j; j = j->next) FY_TRY(read_link(r, j, e));
    for (const fy_json *j = folds ? folds->child : NULL; j; j = j->next) FY_TRY(read_fold(r, j, e));
    for (const fy_json *j = unused ? unused->child : NULL; j; j = j->next) {
        const char *name;
        FY_NEED(e, j->kind == FY_JSON_STRING, CORRUPT, "%s holds a name that is none", KEY);
        FY_TRY(text(r, &name, j->s, j->n, e));
        FY_PUSH(e, r->unused, name);
        FY_NOMEM(e, fy_map_puts(&r->unused_by_name, name, r));
    }
    for (const fy_json *j = made ? made->child : NULL; j; j = j->next) {
        const char *name;
        FY_NEED(e, j->kind == FY_JSON_STRING, CORRUPT, "%s holds a name that is none", KEY);
        FY_TRY(text(r, &name, j->s, j->n, e));
        FY_NOMEM(e, fy_map_puts(&r->made, name, r));
    }
    return FY_OK;
}

fy_status fy_record_read(fy_record *r, const fy_model *m, ferry_error *e) {
    const char *meta = fy_model_meta(m, KEY);
    const fy_json *doc;
    *r = (fy_record){0};
    if (!meta || !*meta) return FY_OK;
    fy_status s = fy_json_parse(&doc, &r->arena, meta, strlen(meta), e);
    if (!s) s = read_all(r, doc, e);
    if (!s) s = fy_folds_place(r, m, e);
    for (int64_t i = 0; i < r->fold.n && !s; i++) {
        fy_fold *f = &r->fold.at[i];
        fy_value *b = f->node ? fy_in(f->node, 2) : NULL;
        f->weight = f->node ? fy_in(f->node, 1)->constant : NULL;
        f->bias = b ? b->constant : NULL;
        if (b && b->name && !fy_map_puts(&r->made, b->name, r)) s = fy_nomem(e);
    }
    if (!s) return FY_OK;
    fy_record_free(r);
    return s == FY_E_NOMEM ? s : fy_help(e, s, "the metadata %s of the model is damaged: take it out, or export the model again", KEY);
}

void fy_record_free(fy_record *r) {
    fy_free(r->folded.at);
    fy_free(r->link.at);
    fy_free(r->unused.at);
    fy_free(r->fold.at);
    fy_map_free(&r->folded_by_name);
    fy_map_free(&r->unused_by_name);
    fy_map_free(&r->made);
    fy_arena_free(&r->arena);
    *r = (fy_record){0};
}

/* The weight behind a link: the initializer with its axes put back. */
static const fy_const *unlinked(fy_arena *a, const fy_const *c, const fy_link *l) {
    int back[FY_MAX_RANK] = {0};
    if (!l->rank) return c;
    if (c->rank != l->rank) return NULL;
    for (int k = 0; k < l->rank; k++) back[l->perm[k]] = k;
    return fy_const_transpose(a, c, back);
}

fy_status fy_record_origins(fy_origin **at, int64_t *n, fy_record *r, fy_model *m, ferry_error *e) {
    fy_map values = {0};
    const fy_graph *g = m->graph;
    fy_status s = FY_OK;
    *n = 0;
    *at = FY_NEWN(&r->arena, fy_origin, g->constants.n + r->link.n + 1);
    FY_NOMEM(e, *at);
    for (int64_t i = 0; i < r->link.n && !s; i++)
        if (!fy_map_puts(&values, r->link.at[i].target, r)) s = fy_nomem(e);
    fy_map linked = values;
    values = (fy_map){0};
    for (int64_t i = 0; i < g->constants.n && !s; i++) {
        const fy_value *v = g->constants.at[i];
        if (!v->name || !*v->name || !v->constant || !v->nuses) continue;
        if (!fy_map_puts(&values, v->name, (void *)(uintptr_t)v->constant)) s = fy_nomem(e);
        bool own = !fy_map_has(&linked, v->name, strlen(v->name)), folded = fy_map_has(&r->folded_by_name, v->name, strlen(v->name));
        for (int64_t k = 0; k < r->link.n && !own; k++) own = !r->link.at[k].rank && !strcmp(r->link.at[k].target, v->name);     /* the one of several tied names */
        if (!fy_dtype_float(v->constant->dtype) || !v->constant->rank || fy_map_has(&r->made, v->name, strlen(v->name))) continue;     /* sizes, axes and factors are no weights */
        if (own && !folded) (*at)[(*n)++] = (fy_origin){v->name, v->constant, true};
    }
    for (int64_t i = 0; i < r->link.n && !s; i++) {
        const fy_const *c = fy_map_gets(&values, r->link.at[i].target);
        const char *name = r->link.at[i].name;
        if (!c || fy_map_has(&values, name, strlen(name))) continue;
        c = unlinked(&m->arena, c, &r->link.at[i]);
        if (c) (*at)[(*n)++] = (fy_origin){name, c, true};
    }
    fy_map_free(&values);
    fy_map_free(&linked);
    return s;
}

/* ---- making ------------------------------------------------------------------------------------------------------------------ */

typedef struct making {
    fy_arena arena;
    ferry_error *e;
    fy_map by_bytes;                     /* where the bytes of an origin are -> its number + 1 */
    bool *found;
    struct home { const char *target; int rank, perm[FY_MAX_RANK]; } *home;      /* of each origin that was found: the initializer that it is */
    fy_buf folded, links, unused, made, folds;
} making;

static const fy_const *leaf(const fy_const *c) {
    while (c->nsrc == 1 && c->kind == FY_CONST_STRIDED) c = c->src[0];
    return c->kind == FY_CONST_BYTES && c->dtype != FERRY_STRING ? c : NULL;
}

static bool key_of(char key[40], const fy_const *c) {
    const fy_const *l = leaf(c);
    if (!l || !l->bytes) return false;
    snprintf(key, 40, "%p %d", (const void *)l->bytes, (int)l->dtype);
    return true;
}

/* Are a's elements those of b? Pieces are compared: neither is held whole. */
static bool same_contents(const fy_const *a, const fy_const *b) {
    enum { N = 4096 };
    if (a->dtype != b->dtype || a->count != b->count || a->dtype == FERRY_STRING) return false;
    size_t size = (size_t)fy_elem_bytes(a->dtype);
    unsigned char *x = fy_malloc(2 * N, size);
    bool same = x != NULL;
    for (int64_t i = 0; i < a->count && same; i += N) {
        int64_t n = a->count - i < N ? a->count - i : N;
        same = !fy_const_read(a, i, n, x, NULL) && !fy_const_read(b, i, n, x + N * size, NULL) && !memcmp(x, x + N * size, (size_t)n * size);
    }
    fy_free(x);
    return same;
}

/* Is c the weight w with its axes permuted? Tries the permutation that the strides tell, and for matrices the transpose. */
static bool permutation(fy_arena *a, int *perm, const fy_const *c, const fy_const *w) {
    if (c->rank != w->rank || c->count != w->count || c->dtype != w->dtype || !c->rank) return false;
    int64_t row[FY_MAX_RANK];
    unsigned used = 0;
    fy_strides(w->rank, w->dim, row);
    bool told = c->kind == FY_CONST_STRIDED && !c->offset && fy_const_same(c->src[0], w);
    if (!told && c->kind == FY_CONST_STRIDED && !c->offset && w->kind == FY_CONST_BYTES && c->src[0]->kind == FY_CONST_BYTES) told = c->src[0]->bytes == w->bytes;
    for (int k = 0; k < c->rank && told; k++) {
        int j = 0;
        while (j < w->rank && (used >> j & 1 || w->dim[j] != c->dim[k] || (c->dim[k] != 1 && row[j] != c->stride[k]))) j++;
        if (j == w->rank) told = false;
        else { perm[k] = j; used |= 1u << j; }
    }
    if (told) return true;
    if (c->rank != 2 || c->dim[0] != w->dim[1] || c->dim[1] != w->dim[0]) return false;
    perm[0] = 1;
    perm[1] = 0;
    const fy_const *t = fy_const_transpose(a, w, perm);
    return t && same_contents(c, t);
}

static void link_to(making *k, const char *target, const char *name, int rank, const int *perm) {
    fy_buf *b = &k->links;
    fy_buf_str(b, b->n ? ",[" : "[");
    fy_json_quote(b, target);
    fy_buf_char(b, ',');
    fy_json_quote(b, name);
    for (int i = 0; i < rank; i++) fy_buf_fmt(b, ",%d", perm[i]);
    fy_buf_char(b, ']');
}

static void folded(making *k, const char *name, const char *hex) {
    fy_buf_str(&k->folded, k->folded.n ? "," : "");
    fy_json_quote(&k->folded, name);
    fy_buf_fmt(&k->folded, ":\"%s\"", hex);
}

static void listed(fy_buf *b, const char *name) {
    fy_buf_str(b, b->n ? "," : "");
    fy_json_quote(b, name);
}

/* Is it in the model as it should be: computed once more from the origins, or not changed since an earlier record? */
static bool holds(making *k, const fy_fold *f, const fy_origin *at, const fy_map *by_name) {
    const fy_const *part[FY_FOLD_PARTS] = {NULL}, *weight = f->weight, *bias = f->bias;
    if (!f->node) return false;
    const fy_const *has = fy_in(f->node, 1)->constant, *has_bias = fy_in(f->node, 2) ? fy_in(f->node, 2)->constant : NULL;
    for (int i = 0; i < FY_FOLD_PARTS && !f->weight; i++) {
        size_t o = f->part[i] ? (size_t)(uintptr_t)fy_map_gets(by_name, f->part[i]) : 0;
        part[i] = o ? at[o - 1].data : NULL;
        if (!o && (i == FY_FOLD_WEIGHT || i >= FY_FOLD_MEAN)) return false;
    }
    if (!f->weight && !fy_fold_compute(&k->arena, f, part, &weight, &bias)) return false;
    if (!fy_const_same(has, weight) && !same_contents(has, weight)) return false;
    for (int64_t i = 0; bias && !has_bias && i < bias->count; i++) {     /* none, where it would be zeros */
        double b;
        if (!fy_const_f64(bias, i, &b) || b != 0) return false;
    }
    return !has_bias || (bias && same_contents(has_bias, bias));
}

static void fold(making *k, const fy_fold *f, const fy_map *by_name) {
    fy_buf *b = &k->folds;
    fy_buf_str(b, b->n ? ",[" : "[");
    for (int i = 0; i < FY_FOLD_PARTS; i++) {
        if (f->part[i] && (f->weight || fy_map_has(by_name, f->part[i], strlen(f->part[i])))) fy_json_quote(b, f->part[i]);
        else fy_buf_str(b, "null");
        fy_buf_char(b, ',');
    }
    fy_buf_fmt(b, "%d,%.17g]", f->axis, f->eps);
}

/* An initializer under a name that no weight had: which weights is it a view of? All that are one tensor (tied) get a link. */
static void look_for(making *k, const fy_value *v, const fy_origin *at, int64_t n, const fy_map *by_name, const fy_record *before) {
    char key[40];
    int perm[FY_MAX_RANK];
    size_t len = strlen(v->name);
    const char *bare = len > 2 && !strcmp(v->name + len - 2, ".T") ? fy_arena_strn(&k->arena, v->name, len - 2) : NULL;
    size_t i = bare ? (size_t)(uintptr_t)fy_map_gets(by_name, bare) : 0;
    if (!i && key_of(key, v->constant)) i = (size_t)(uintptr_t)fy_map_gets(&k->by_bytes, key);
    if (!i || (int64_t)i > n || !permutation(&k->arena, perm, v->constant, at[i - 1].data)) {
        if (fy_dtype_float(v->constant->dtype) && v->constant->rank && strchr(v->name, '.') && !fy_map_has(&before->folded_by_name, v->name, len)) listed(&k->made, v->name);
        return;
    }
    link_to(k, v->name, at[i - 1].name, v->constant->rank, perm);
    k->found[i - 1] = true;
    k->home[i - 1].target = v->name;
    k->home[i - 1].rank = v->constant->rank;
    memcpy(k->home[i - 1].perm, perm, sizeof perm);
}

/* Weights of equal contents, tied or by chance (norms of ones), come once: the others are linked to it, so that new weights that part there are found
 * out. */
static fy_status merged(making *k, const fy_origin *at, int64_t n) {
    fy_map counts = {0}, contents = {0};
    fy_status s = FY_OK;
    char hex[17];
    for (int64_t i = 0; i < n && !s; i++)
        if (!k->found[i] && !fy_map_put(&counts, (const char *)&at[i].data->count, sizeof at[i].data->count, k)) s = FY_E_NOMEM;
    for (int pass = 0; pass < 2 && counts.n && !s; pass++)
        for (int64_t i = 0; i < n && !s; i++) {
            const fy_const *c = at[i].data;
            fy_buf key = {0};
            if (k->found[i] != !pass || !fy_map_has(&counts, (const char *)&c->count, sizeof c->count)) continue;
            if (!fy_const_digest(hex, c, k->e)) { s = FY_E_NOMEM; continue; }
            fy_buf_fmt(&key, "%s %d", hex, (int)c->dtype);
            for (int d = 0; d < c->rank; d++) fy_buf_fmt(&key, " %lld", (long long)c->dim[d]);
            char *text = key.oom ? NULL : fy_arena_strn(&k->arena, key.at, key.n);
            fy_buf_free(&key);
            if (!text) { s = FY_E_NOMEM; continue; }
            size_t j = (size_t)(uintptr_t)fy_map_gets(&contents, text);
            if (!pass) {
                if (!j && !fy_map_puts(&contents, text, (void *)(uintptr_t)(i + 1))) s = FY_E_NOMEM;
            } else if (j && (at[i].used || fy_const_same(at[j - 1].data, c))) {      /* an unused one only if it is tied */
                link_to(k, k->home[j - 1].target, at[i].name, k->home[j - 1].rank, k->home[j - 1].perm);
                k->found[i] = true;
            }
        }
    fy_map_free(&counts);
    fy_map_free(&contents);
    return s;
}

static fy_status compare(making *k, const fy_model *m, const fy_origin *at, int64_t n, fy_record *before) {
    fy_map by_name = {0};
    fy_status s = FY_OK;
    const fy_graph *g = m->graph;
    char key[40], hex[17];
    for (int64_t i = 0; i < n && !s; i++) {
        if (!fy_map_puts(&by_name, at[i].name, (void *)(uintptr_t)(i + 1))) s = FY_E_NOMEM;
        if (!s && key_of(key, at[i].data)) {
            char *kept = fy_arena_str(&k->arena, key);
            if (!kept || (!fy_map_gets(&k->by_bytes, kept) && !fy_map_puts(&k->by_bytes, kept, (void *)(uintptr_t)(i + 1)))) s = FY_E_NOMEM;
        }
    }
    for (int64_t i = 0; i < g->constants.n && !s; i++) {
        const fy_value *v = g->constants.at[i];
        if (!v->name || !v->nuses || !v->constant) continue;
        size_t b = (size_t)(uintptr_t)fy_map_gets(&by_name, v->name);
        if (!b) look_for(k, v, at, n, &by_name, before);
        else if (fy_const_same(v->constant, at[b - 1].data) || same_contents(v->constant, at[b - 1].data)) {
            k->found[b - 1] = true;
            k->home[b - 1].target = v->name;
        }
    }
    if (!s) s = merged(k, at, n);
    for (int64_t i = 0; i < n && !s; i++) {
        if (k->found[i]) continue;
        size_t len = strlen(at[i].name);
        bool counter = len > 19 && !strcmp(at[i].name + len - 19, "num_batches_tracked");
        if (at[i].used) {
            if (!fy_const_digest(hex, at[i].data, k->e)) s = FY_E_NOMEM;
            else folded(k, at[i].name, hex);
        } else if (!counter) listed(&k->unused, at[i].name);
    }
    for (int64_t i = 0; i < before->folded.n; i++) folded(k, before->folded.at[i].key, before->folded.at[i].val);
    for (int64_t i = 0; i < before->unused.n; i++) listed(&k->unused, before->unused.at[i]);
    if (!s) s = fy_folds_place(before, m, k->e);
    for (int64_t i = 0; i < before->fold.n && !s; i++)
        if (holds(k, &before->fold.at[i], at, &by_name)) fold(k, &before->fold.at[i], &by_name);
    fy_map_free(&by_name);
    return s ? fy_nomem(k->e) : FY_OK;
}

fy_status fy_record_make(fy_model *m, const fy_origin *at, int64_t n, fy_record *before, ferry_error *e) {
    making k = {.e = e};
    fy_buf all = {0};
    k.found = FY_NEWN(&k.arena, bool, n + 1);
    k.home = FY_NEWN(&k.arena, struct home, n + 1);
    fy_status s = k.found && k.home ? compare(&k, m, at, n, before) : fy_nomem(e);
    if (!s && (k.folded.n || k.links.n || k.unused.n || k.made.n || fy_model_meta(m, KEY))) {
        fy_buf_fmt(&all, "{\"folded\":{%s},\"links\":[%s],\"unused\":[%s],\"made\":[%s],\"folds\":[%s]}", k.folded.n ? k.folded.at : "", k.links.n ? k.links.at : "",
                   k.unused.n ? k.unused.at : "", k.made.n ? k.made.at : "", k.folds.n ? k.folds.at : "");
        bool oom = all.oom || k.folded.oom || k.links.oom || k.unused.oom || k.made.oom || k.folds.oom;
        const char *kept = oom ? NULL : fy_arena_strn(&m->arena, all.at, all.n);
        s = kept ? fy_model_set_meta(m, KEY, kept, e) : fy_nomem(e);
    }
    fy_buf_free(&all);
    fy_buf_free(&k.folded);
    fy_buf_free(&k.links);
    fy_buf_free(&k.unused);
    fy_buf_free(&k.made);
    fy_buf_free(&k.folds);
    fy_map_free(&k.by_bytes);
    fy_arena_free(&k.arena);
    return s;
}
