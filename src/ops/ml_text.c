/* SPDX-License-Identifier: Apache-2.0
 * ml_text.c - TfIdfVectorizer: counts of n-grams of strings or integers.
 *
 * y[..., ngram_indexes[i]] counts n-gram i of the pool, its items 1 + skip apart, for every skip up to max_skip_count; single items are
 * counted once. weights[i] belongs to n-gram i. The pool becomes a trie over numbered items, so each start costs at most max_gram_length
 * steps. Source: ONNX TfIdfVectorizer-9. */
#include "ops/ml.h"
#include "ops/move.h"

#include <string.h>

typedef struct edge { int64_t from, item; } edge;
typedef struct trie {
    fy_ml_dict items;                    /* item of the pool -> its number */
    fy_map     edges;                    /* edge -> node */
    edge      *edge;                     /* keys of the map; edge k leads to node k + 1 */
    int64_t   *ngram;                    /* of each node: number of the n-gram that ends there, or -1 */
    int64_t    nodes;
} trie;

typedef struct grams { fy_ml_ints starts, out; fy_ml_floats weight; int64_t least, most, skips, width; char mode; } grams;

/* ---- attributes ----------------------------------------------------------------------------------------------------------- */

static fy_status read_grams(grams *g, const fy_node *n, ferry_error *e) {
    fy_str mode = fy_attr_s(n, "mode");
    *g = (grams){fy_ml_ints_of(n, "ngram_counts"), fy_ml_ints_of(n, "ngram_indexes"), fy_ml_floats_of(n, "weights"), fy_attr_i(n, "min_gram_length"),
                 fy_attr_i(n, "max_gram_length"), fy_attr_i(n, "max_skip_count"), 0, 0};
    g->mode = fy_attr_is(n, "mode", "TF") ? 'T' : fy_attr_is(n, "mode", "IDF") ? 'I' : fy_attr_is(n, "mode", "TFIDF") ? 'B' : 0;
    FY_NEED(e, g->mode, ATTR, "mode \"%.*s\" is none of TF, IDF, TFIDF", (int)(mode.n < 40 ? mode.n : 40), mode.n ? mode.at : "");
    FY_NEED(e, g->least > 0 && g->most >= g->least && g->most <= g->starts.n, ATTR, "grams of %lld to %lld items; ngram_counts has %lld elements",
            (long long)g->least, (long long)g->most, (long long)g->starts.n);
    FY_NEED(e, g->skips >= 0, ATTR, "max_skip_count is %lld", (long long)g->skips);
    FY_NEED(e, g->out.n, ATTR, "ngram_indexes is empty");
    for (int64_t i = 0; i < g->out.n; i++) {
        FY_NEED(e, g->out.at[i] >= 0 && g->out.at[i] < (int64_t)1 << 40, ATTR, "ngram_indexes holds %lld", (long long)g->out.at[i]);
        if (g->out.at[i] >= g->width) g->width = g->out.at[i] + 1;
    }
    FY_NEED(e, !g->weight.n || g->weight.n == g->out.n, ATTR, "weights has %lld elements, ngram_indexes %lld", (long long)g->weight.n, (long long)g->out.n);
    return FY_OK;
}

static fy_status read_pool(fy_tensor *pool, const fy_node *n, ferry_error *e) {
    fy_ml_labels l;
    FY_TRY(fy_ml_labels_of(&l, n, "pool_strings", "pool_int64s", e));
    *pool = l.text.n ? fy_ml_view_texts(l.text) : fy_ml_view_ints(l.number);
    return FY_OK;
}

static fy_status infer_tfidf(fy_infer *f) {
    grams g;
    fy_tensor pool;
    fy_dtype t = fy_in_dtype(f, 0);
    int rank;
    FY_TRY(read_grams(&g, f->node, f->e));
    FY_TRY(read_pool(&pool, f->node, f->e));
    FY_NEED(f->e, !t || (t == FERRY_STRING) == (pool.dtype == FERRY_STRING), TYPE, "the input is %s, the pool %s", fy_dtype_name(t), fy_dtype_name(pool.dtype));
    FY_TRY(fy_k_rank(f, 0, 0, 2, &rank));
    if (rank < 0) return fy_mv_unknown(f, 0, FERRY_FLOAT, -1);
    const fy_dim *d[2] = {rank == 2 ? fy_in_dim(f, 0, 0) : NULL, fy_mv_const(f, g.width)};
    return rank == 2 ? fy_out_set(f, 0, FERRY_FLOAT, 2, d) : fy_out_set(f, 0, FERRY_FLOAT, 1, d + 1);
}

/* ---- the trie --------------------------------------------------------------------------------------------------------------- */

static int64_t step(const trie *t, int64_t node, int64_t item) {
    edge key = {node, item};
    return (int64_t)(intptr_t)fy_map_get(&t->edges, (const char *)&key, sizeof key);      /* 0, the root, is nobody's child */
}

static fy_status enter(trie *t, const int64_t *item, int64_t n, int64_t ngram, ferry_error *e) {
    int64_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t to = step(t, at, item[i]);
        if (!to) {
            t->edge[t->nodes - 1] = (edge){at, item[i]};
            to = t->nodes++;
            FY_NOMEM(e, fy_map_put(&t->edges, (const char *)&t->edge[to - 1], sizeof(edge), (void *)(intptr_t)to));
            t->ngram[to] = -1;
        }
        at = to;
    }
    FY_NEED(e, t->ngram[at] < 0, ATTR, "the pool holds an n-gram twice");
    t->ngram[at] = ngram;
    return FY_OK;
}

/* Grams of n + 1 items are the pool from starts[n] on; those that are too short or too long are counted, not entered. */
static fy_status grow(trie *t, const fy_call *c, const grams *g, const fy_tensor *pool) {
    int64_t total = fy_count(pool), ngram = 0, *item = FY_NEWN(c->scratch, int64_t, total);
    t->edge = FY_NEWN(c->scratch, edge, total);
    t->ngram = FY_NEWN(c->scratch, int64_t, total + 1);
    FY_NOMEM(c->e, item && t->edge && t->ngram);
    for (int64_t i = 0; i < total; i++) item[i] = fy_ml_dict_find(&t->items, pool, i);
    t->ngram[0] = -1;
    t->nodes = 1;
    for (int64_t k = 0; k < g->starts.n; k++) {
        int64_t from = g->starts.at[k], to = k + 1 < g->starts.n ? g->starts.at[k + 1] : total, n = k + 1;
        FY_NEED(c->e, from >= 0 && from <= to && to <= total && (to - from) % n == 0, ATTR, "ngram_counts: %lld to %lld of %lld are no whole %lld-grams",
                (long long)from, (long long)to, (long long)total, (long long)n);
        for (; from < to; from += n, ngram++) {
            FY_NEED(c->e, ngram < g->out.n, ATTR, "the pool has more n-grams than the %lld of ngram_indexes", (long long)g->out.n);
            if (n >= g->least && n <= g->most) FY_TRY(enter(t, item + from, n, ngram, c->e));
        }
    }
    return FY_OK;
}

/* ---- counting ---------------------------------------------------------------------------------------------------------------- */

/* An n-gram that is found: its weight again (TFIDF, TF: 1), or its weight once (IDF). */
static void found(const grams *g, int64_t ngram, double *y) {
    double w = g->mode != 'T' && g->weight.n ? g->weight.at[ngram] : 1, *to = &y[g->out.at[ngram]];
    *to = g->mode == 'I' ? w : *to + w;
}

static void count_row(const trie *t, const grams *g, const int64_t *item, int64_t n, double *y) {
    for (int64_t apart = 1; apart - 1 <= g->skips && apart <= (n > 1 ? n : 1); apart++)
        for (int64_t i = 0; i < n; i++) {
            int64_t node = 0;
            for (int64_t k = 1, at = i; k <= g->most && at < n; k++, at += apart) {
                if (item[at] < 0 || !(node = step(t, node, item[at]))) break;
                if (t->ngram[node] >= 0 && (k > 1 || apart == 1)) found(g, t->ngram[node], y);
            }
        }
}

static fy_status count_all(const fy_call *c, trie *t, const grams *g, const fy_tensor *pool, fy_tensor *y) {
    fy_tensor x;
    FY_TRY(fy_mv_dense(c, 0, &x));
    FY_TRY(grow(t, c, g, pool));
    int64_t n = fy_count(&x), rows = x.rank == 2 ? x.dim[0] : 1, width = x.rank == 2 ? x.dim[1] : n;
    int64_t *item = FY_NEWN(c->scratch, int64_t, n);
    double *row = FY_NEWN(c->scratch, double, g->width);
    FY_NOMEM(c->e, item && row);
    for (int64_t i = 0; i < n; i++) item[i] = fy_ml_dict_find(&t->items, &x, i);
    for (int64_t r = 0; y && r < rows; r++) {
        memset(row, 0, (size_t)g->width * sizeof *row);
        count_row(t, g, item + r * width, width, row);
        fy_store_f64(y, r * g->width, g->width, row);
    }
    return FY_OK;
}

static fy_status ref_tfidf(const fy_call *c) {
    grams g;
    fy_tensor pool, *y;
    trie t = {0};
    FY_TRY(fy_mv_out(c, 0, &y));
    FY_TRY(read_grams(&g, c->node, c->e));
    FY_TRY(read_pool(&pool, c->node, c->e));
    FY_TRY(fy_ml_dict_make(&t.items, c, &pool));
    fy_status s = count_all(c, &t, &g, &pool, y);
    fy_ml_dict_free(&t.items);
    fy_map_free(&t.edges);
    return s;
}

static const fy_attr_spec tfidf_attrs[] = {{"mode", FY_ATTR_STRING, FY_REQUIRED}, {"min_gram_length", FY_ATTR_INT, FY_REQUIRED},
    {"max_gram_length", FY_ATTR_INT, FY_REQUIRED}, {"max_skip_count", FY_ATTR_INT, FY_REQUIRED}, {"ngram_counts", FY_ATTR_INTS, FY_REQUIRED},
    {"ngram_indexes", FY_ATTR_INTS, FY_REQUIRED}, {"pool_int64s", FY_ATTR_INTS, NULL}, {"pool_strings", FY_ATTR_STRINGS, NULL},
    {"weights", FY_ATTR_FLOATS, NULL}, {0}};
const fy_op fy_op_tf_idf_vectorizer = {.name = "TfIdfVectorizer", .domain = "", .attrs = tfidf_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1,
    .since = 9, .first = 9, .types = "T=str,i32,i64|T|f32", .infer = infer_tfidf, .ref = ref_tfidf, .flags = FY_PURE};
