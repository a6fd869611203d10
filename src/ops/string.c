/* SPDX-License-Identifier: Apache-2.0
 * string.c - StringConcat StringSplit StringNormalizer RegexFullMatch.
 *
 * Strings are bytes, UTF-8 where characters matter (white space, case). Sources: ONNX StringConcat-20, StringSplit-20,
 * StringNormalizer-10, RegexFullMatch-20. Regular expressions are a hook (fy_hooks.regex_full_match). */
#include "ops/move.h"
#include "ops/strings.h"

#include "base/map.h"

/* ---- StringConcat: z = x y ----------------------------------------------------------------------------------------- */

static fy_status infer_concat(fy_infer *f) { return fy_k_broadcast(f, 0); }

static fy_status ref_concat(const fy_call *c) {
    fy_tensor *z;
    FY_TRY(fy_mv_out(c, 0, &z));
    if (!z) return FY_OK;
    fy_tensor x = fy_k_spread(fy_arg(c, 0), z->rank, z->dim), y = fy_k_spread(fy_arg(c, 1), z->rank, z->dim);
    int64_t n = fy_count(z);
    size_t *end = FY_NEWN(c->scratch, size_t, n);
    fy_buf all = {0};
    FY_NOMEM(c->e, end);
    for (int64_t i = 0; i < n; i++) {
        const fy_str *a = fy_k_str(&x, i), *b = fy_k_str(&y, i);
        fy_buf_add(&all, a->at, a->n);
        fy_buf_add(&all, b->at, b->n);
        end[i] = all.n;
        if (c->max_bytes > 0 && all.n > (size_t)c->max_bytes) {         /* short inputs broadcast make long outputs */
            fy_buf_free(&all);
            return fy_fail(c->e, FY_E_LIMIT, "the strings would take more than %lld bytes", (long long)c->max_bytes);
        }
    }
    return fy_strings_give(z, &all, end, c->e);
}

const fy_op fy_op_string_concat = {.name = "StringConcat", .domain = "", .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1, .since = 20, .first = 20,
    .types = "|str,str|str", .infer = infer_concat, .ref = ref_concat, .flags = FY_PURE};

/* ---- StringSplit --------------------------------------------------------------------------------------------------- */

static fy_status infer_split(fy_infer *f) {
    const fy_dim *d[FY_MAX_RANK + 1];
    int rank = fy_in_rank(f, 0);
    FY_NEED(f->e, rank < FY_MAX_RANK, LIMIT, "a rank of %d; at most %d is supported here", rank, FY_MAX_RANK - 1);
    FY_TRY(fy_out_set(f, 1, FERRY_INT64, rank, fy_in_dims(f, 0)));
    if (rank < 0) return fy_mv_unknown(f, 0, FERRY_STRING, -1);
    for (int i = 0; i < rank; i++) d[i] = fy_in_dims(f, 0)[i];
    d[rank] = fy_mv_opaque(f);
    return fy_out_set(f, 0, FERRY_STRING, rank + 1, d);
}

typedef struct pieces { FY_VEC(fy_str) at; fy_str by; int64_t most; } pieces;      /* by: the delimiter, "" is white space; most: splits */

static bool piece(pieces *p, const char *from, const char *to) {
    if (!FY_RESERVE(p->at, p->at.n + 1)) return false;
    p->at.at[p->at.n++] = (fy_str){from, (size_t)(to - from)};
    return true;
}

static const char *find(const char *p, const char *end, fy_str what) {
    for (; (size_t)(end - p) >= what.n; p++) {
        p = memchr(p, what.at[0], (size_t)(end - p) - what.n + 1);
        if (!p) return NULL;
        if (!memcmp(p, what.at, what.n)) return p;
    }
    return NULL;
}

static bool split_at(pieces *p, const fy_str *s) {
    const char *from = s->n ? s->at : "", *end = from + s->n, *hit;
    for (int64_t k = 0; k < p->most && (hit = find(from, end, p->by)); k++) {
        if (!piece(p, from, hit)) return false;
        from = hit + p->by.n;
    }
    return piece(p, from, end);
}

/* The end of the run of spaces (or of others) at p. Bytes that are no UTF-8 are no space. */
static const char *run(const char *p, const char *end, bool space) {
    while (p < end) {
        const char *next = p;
        int32_t c = fy_utf8_next(&next, end);
        if ((c >= 0 && fy_is_space(c)) != space) break;
        p = c < 0 ? p + 1 : next;
    }
    return p;
}

/* Behind the last character that is no space. */
static const char *trimmed(const char *p, const char *end) {
    const char *last = p;
    while (p < end) {
        p = run(p, end, true);
        const char *to = run(p, end, false);
        if (to > p) last = to;
        p = to;
    }
    return last;
}

/* DIFF: what is left after the last split loses its trailing white space, as the text of the standard and ONNX Runtime have it; the
 * onnx package keeps it. ONNX Runtime knows the blank only as white space. */
static bool split_words(pieces *p, const fy_str *s) {
    const char *from = s->n ? s->at : "", *end = from + s->n;
    from = run(from, end, true);
    for (int64_t k = 0; from < end; k++) {
        const char *to = k < p->most ? run(from, end, false) : trimmed(from, end);
        if (!piece(p, from, to)) return false;
        from = k < p->most ? run(to, end, true) : end;
    }
    return true;
}

static fy_status split_all(const fy_call *c, pieces *p, fy_tensor *x) {
    int64_t n = fy_count(x), most = 0, dim[FY_MAX_RANK], *count = FY_NEWN(c->scratch, int64_t, n);
    FY_NOMEM(c->e, count);
    for (int64_t i = 0; i < n; i++) {
        int64_t before = p->at.n;
        FY_NOMEM(c->e, p->by.n ? split_at(p, fy_k_str(x, i)) : split_words(p, fy_k_str(x, i)));
        count[i] = p->at.n - before;
        if (count[i] > most) most = count[i];
    }
    memcpy(dim, x->dim, sizeof dim);
    dim[x->rank] = most;
    FY_TRY(fy_alloc_out(c, 0, FERRY_STRING, x->rank + 1, dim));
    fy_tensor *y = fy_res(c, 0), *z = fy_res(c, 1);
    const fy_str *from = p->at.at;
    for (int64_t i = 0; y && i < n; from += count[i++])
        if (count[i]) memcpy((fy_str *)y->data + i * most, from, (size_t)count[i] * sizeof *from);       /* the others stay empty */
    if (z && n) fy_store_i64(z, 0, n, count);
    return FY_OK;
}

static fy_status ref_split(const fy_call *c) {
    const fy_attr *most = fy_attr_get(c->node, "maxsplit");
    pieces p = {.by = fy_attr_s(c->node, "delimiter"), .most = most && most->i >= 0 ? most->i : INT64_MAX};
    fy_tensor x;
    FY_NEED(c->e, fy_arg(c, 0)->rank < FY_MAX_RANK, LIMIT, "a rank of %d; at most %d is supported here", fy_arg(c, 0)->rank, FY_MAX_RANK - 1);
    FY_TRY(fy_mv_dense(c, 0, &x));
    fy_status s = split_all(c, &p, &x);
    fy_free(p.at.at);
    return s;
}

static const fy_attr_spec split_attrs[] = {{"delimiter", FY_ATTR_STRING, NULL}, {"maxsplit", FY_ATTR_INT, NULL}, {0}};
const fy_op fy_op_string_split = {.name = "StringSplit", .domain = "", .attrs = split_attrs, .min_in = 1, .max_in = 1, .min_out = 2, .max_out = 2,
    .since = 20, .first = 20, .types = "|str|str,i64", .infer = infer_split, .ref = ref_split, .flags = FY_PURE};

/* ---- StringNormalizer ---------------------------------------------------------------------------------------------- */

static fy_status infer_normalizer(fy_infer *f) {
    const fy_attr *stop = fy_attr_get(f->node, "stopwords");
    int rank;
    int64_t rows, n;
    fy_str action = fy_attr_s(f->node, "case_change_action");
    FY_NEED(f->e, fy_attr_is(f->node, "case_change_action", "NONE") || fy_attr_is(f->node, "case_change_action", "LOWER") ||
            fy_attr_is(f->node, "case_change_action", "UPPER"), ATTR, "case_change_action \"%.*s\" is none of NONE, LOWER, UPPER",
            (int)(action.n < 40 ? action.n : 40), action.at);
    FY_TRY(fy_k_rank(f, 0, 1, 2, &rank));
    if (rank < 0) return fy_mv_unknown(f, 0, FERRY_STRING, -1);
    const fy_dim *first = fy_in_dim(f, 0, 0), *d[2] = {fy_mv_const(f, 1), fy_in_dim(f, 0, -1)};
    FY_NEED(f->e, rank == 1 || !fy_dim_known(first, &rows) || rows == 1, SHAPE, "the input has %lld rows; it must be [C] or [1,C]", (long long)rows);
    if (stop && stop->n) d[1] = fy_mv_opaque(f);
    else if (fy_dim_known(d[1], &n) && n == 0) d[1] = fy_mv_const(f, 1);
    return fy_out_set(f, 0, FERRY_STRING, rank, rank == 1 ? d + 1 : d);
}

/* s with its case changed; false: it is no UTF-8. */
static bool change(fy_buf *out, const fy_str *s, bool up) {
    const char *p = s->at, *end = p + s->n;
    while (s->n && p < end) {
        int32_t c = fy_utf8_next(&p, end);
        if (c < 0) return false;
        fy_utf8_add(out, up ? fy_upper(c) : fy_lower(c));
    }
    return true;
}

typedef struct normal {
    bool    up, sensitive, act;          /* act: the output is in the changed case */
    fy_map  stop;                        /* the stop words, as they are compared */
    fy_buf  word, all;
    size_t *end;
    int64_t kept;
} normal;

static fy_status in_case(normal *w, const fy_str *s, fy_str *out, const char *what, ferry_error *e) {
    w->word.n = 0;
    FY_NEED(e, change(&w->word, s, w->up), VALUE, "%s is not UTF-8", what);
    FY_NOMEM(e, !w->word.oom);
    *out = (fy_str){w->word.n ? w->word.at : "", w->word.n};
    return FY_OK;
}

/* Words compare in their own case, or all in the case of the output (lower where that is left alone). */
static fy_status read_stopwords(const fy_call *c, normal *w) {
    const fy_attr *a = fy_attr_get(c->node, "stopwords");
    for (int64_t i = 0; a && i < a->n; i++) {
        fy_str s = a->strings[i];
        if (!w->sensitive) {
            FY_TRY(in_case(w, &a->strings[i], &s, "a stop word", c->e));
            s.at = fy_arena_strn(c->scratch, s.at, s.n);
            FY_NOMEM(c->e, s.at);
        }
        FY_NOMEM(c->e, fy_map_put(&w->stop, s.n ? s.at : "", s.n, w));
    }
    return FY_OK;
}

static fy_status normalize(const fy_call *c, normal *w) {
    fy_tensor x;
    FY_TRY(fy_mv_dense(c, 0, &x));
    FY_TRY(read_stopwords(c, w));
    int64_t n = fy_count(&x), dim[2] = {1, 1};
    FY_NEED(c->e, x.rank == 1 || (x.rank == 2 && x.dim[0] == 1), SHAPE, "the input must be [C] or [1,C]");
    FY_NOMEM(c->e, w->end = FY_NEWN(c->scratch, size_t, n + 1));
    for (int64_t i = 0; i < n; i++) {
        const fy_str *s = fy_k_str(&x, i);
        fy_str cased = *s;
        if (w->act || (w->stop.n && !w->sensitive)) FY_TRY(in_case(w, s, &cased, "the input", c->e));
        const fy_str *key = w->sensitive ? s : &cased, *kept = w->act ? &cased : s;
        if (w->stop.n && fy_map_has(&w->stop, key->n ? key->at : "", key->n)) continue;
        fy_buf_add(&w->all, kept->at, kept->n);
        w->end[w->kept++] = w->all.n;
    }
    if (!w->kept) w->end[w->kept++] = 0;                                /* all dropped: one empty string */
    dim[x.rank - 1] = w->kept;
    FY_TRY(fy_alloc_out(c, 0, FERRY_STRING, x.rank, dim));
    return fy_res(c, 0) ? fy_strings_give(fy_res(c, 0), &w->all, w->end, c->e) : FY_OK;
}

static fy_status ref_normalizer(const fy_call *c) {
    normal w = {.up = fy_attr_is(c->node, "case_change_action", "UPPER"), .sensitive = fy_attr_i(c->node, "is_case_sensitive") != 0};
    w.act = w.up || fy_attr_is(c->node, "case_change_action", "LOWER");
    fy_status s = normalize(c, &w);
    fy_map_free(&w.stop);
    fy_buf_free(&w.word);
    fy_buf_free(&w.all);
    return s;
}

/* DIFF: stop words are whole elements, as the text of the standard and ONNX Runtime have it; the onnx package looks for them between the
 * blanks of an element and strips accents. The locale says nothing: case is Unicode's simple mapping everywhere. */
static const fy_attr_spec normalizer_attrs[] = {{"case_change_action", FY_ATTR_STRING, "NONE"}, {"is_case_sensitive", FY_ATTR_INT, "0"},
    {"locale", FY_ATTR_STRING, NULL}, {"stopwords", FY_ATTR_STRINGS, NULL}, {0}};
const fy_op fy_op_string_normalizer = {.name = "StringNormalizer", .domain = "", .attrs = normalizer_attrs, .min_in = 1, .max_in = 1, .min_out = 1,
    .max_out = 1, .since = 10, .first = 10, .types = "|str|str", .infer = infer_normalizer, .ref = ref_normalizer, .flags = FY_PURE};

/* ---- RegexFullMatch ------------------------------------------------------------------------------------------------ */

static fy_status infer_regex(fy_infer *f) { return fy_out_set(f, 0, FERRY_BOOL, fy_in_rank(f, 0), fy_in_dims(f, 0)); }

static fy_status ref_regex(const fy_call *c) {
    fy_tensor x, *y;
    FY_TRY(fy_mv_out(c, 0, &y));
    FY_TRY(fy_mv_dense(c, 0, &x));
    FY_NEED(c->e, c->hooks && c->hooks->regex_full_match, UNSUPPORTED, "regular expressions are not part of this build: it was made without RE2");
    int64_t n = fy_count(&x);
    bool *match = FY_NEWN(c->scratch, bool, n);
    FY_NOMEM(c->e, match);
    FY_TRY(c->hooks->regex_full_match(match, x.data, n, fy_attr_s(c->node, "pattern"), c->e));
    for (int64_t i = 0; y && i < n; i++) ((uint8_t *)y->data)[i] = match[i];
    return FY_OK;
}

static const fy_attr_spec regex_attrs[] = {{"pattern", FY_ATTR_STRING, NULL}, {0}};
const fy_op fy_op_regex_full_match = {.name = "RegexFullMatch", .domain = "", .attrs = regex_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1,
    .since = 20, .first = 20, .types = "|str|bool", .infer = infer_regex, .ref = ref_regex, .flags = FY_PURE};
