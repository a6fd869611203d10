/* SPDX-License-Identifier: Apache-2.0
 * einsum.c - Einsum: any sum of products of named axes, NumPy's grammar with ellipsis. Operands are joined from left to right:
 * each pair is one batched matrix product [batch, m, k] x [batch, k, n], where k are the shared labels that nothing later
 * needs; labels of one operand that nothing needs are summed first. Sums are in double, or in wrapping 64-bit integers. */
#include "ops/common.h"

#include "tensor/gemm.h"

#include <string.h>

/* Labels: 0-51 letters, 52.. the axes that an ellipsis stands for, counted from its end. */
#define LETTERS 52
#define LABELS (LETTERS + FY_MAX_RANK)

typedef struct term { int rank; uint8_t label[FY_MAX_RANK]; } term;
typedef struct equation { int n; term *in; term out; } equation;

static int letter(char c) { return c >= 'a' && c <= 'z' ? c - 'a' : c >= 'A' && c <= 'Z' ? c - 'A' + 26 : -1; }

/* One term; the ellipsis takes what `rank` leaves (rank -1: output, `dots` axes). */
static fy_status parse_term(term *t, const char *s, size_t n, int rank, int dots, int *dots_seen, ferry_error *e) {
    int letters = 0;
    bool ellipsis = false;
    t->rank = 0;
    for (size_t i = 0; i < n; i++) letters += letter(s[i]) >= 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == ' ') continue;
        if (n - i >= 3 && !memcmp(s + i, "...", 3)) {
            FY_NEED(e, !ellipsis, ATTR, "equation: two ellipses in one term");
            ellipsis = true;
            i += 2;
            int axes = rank < 0 ? dots : rank - letters;
            FY_NEED(e, axes >= 0 && t->rank + axes <= FY_MAX_RANK, SHAPE, "equation: %d letters for rank %d", letters, rank);
            for (int k = axes; k > 0; k--) t->label[t->rank++] = (uint8_t)(LETTERS + k - 1);
            if (axes > *dots_seen) *dots_seen = axes;
            continue;
        }
        int l = letter(s[i]);
        FY_NEED(e, l >= 0, ATTR, "equation: '%c' is no label", s[i]);
        FY_NEED(e, t->rank < FY_MAX_RANK, LIMIT, "equation: a term of rank over %d", FY_MAX_RANK);
        t->label[t->rank++] = (uint8_t)l;
    }
    FY_NEED(e, rank < 0 || t->rank == rank, SHAPE, "equation: a term has %d labels, its operand rank %d", t->rank, rank);
    return FY_OK;
}

static fy_status parse(equation *q, const fy_node *node, int n, const int *rank, fy_arena *a, ferry_error *e) {
    fy_str s = fy_attr_s(node, "equation");
    const char *p = s.at, *end = s.at + s.n, *arrow = NULL;
    int dots = 0, count[LABELS] = {0};
    for (const char *c = p; c + 1 < end; c++)
        if (c[0] == '-' && c[1] == '>') { arrow = c; break; }
    const char *stop = arrow ? arrow : end;
    FY_NOMEM(e, q->in = FY_NEWN(a, term, n));
    q->n = n;
    for (int i = 0; i < n; i++) {
        const char *c = p;
        while (c < stop && *c != ',') c++;
        FY_NEED(e, i == n - 1 ? c == stop : c < stop, ATTR, "equation has not %d operands", n);
        FY_TRY(parse_term(&q->in[i], p, (size_t)(c - p), rank[i], 0, &dots, e));
        for (int k = 0; k < q->in[i].rank; k++) count[q->in[i].label[k]]++;
        p = c + 1;
    }
    q->out.rank = 0;
    if (arrow) FY_TRY(parse_term(&q->out, arrow + 2, (size_t)(end - arrow - 2), -1, dots, &dots, e));
    else {
        /* implicit: the ellipsis, then labels that occur once, upper case first as in ASCII */
        FY_NEED(e, dots <= FY_MAX_RANK, LIMIT, "equation: too many axes");
        for (int k = dots; k > 0; k--) q->out.label[q->out.rank++] = (uint8_t)(LETTERS + k - 1);
        for (int half = 1; half >= 0; half--)
            for (int l = half * 26; l < half * 26 + 26; l++)
                if (count[l] == 1) {
                    FY_NEED(e, q->out.rank < FY_MAX_RANK, LIMIT, "equation: a result of rank over %d", FY_MAX_RANK);
                    q->out.label[q->out.rank++] = (uint8_t)l;
                }
    }
    bool seen[LABELS] = {false};
    for (int k = 0; k < q->out.rank; k++) {
        FY_NEED(e, count[q->out.label[k]], ATTR, "equation: a label of the result is in no operand");
        FY_NEED(e, !seen[q->out.label[k]], ATTR, "equation: a label occurs twice in the result");
        seen[q->out.label[k]] = true;
    }
    return FY_OK;
}

static fy_status infer_einsum(fy_infer *f) {
    equation q;
    int *rank = FY_NEWN(f->arena, int, f->nin);
    const fy_dim *size[LABELS] = {0}, *dim[FY_MAX_RANK];
    FY_NOMEM(f->e, rank);
    FY_TRY(fy_k_same_dtype(f));
    for (int i = 0; i < f->nin; i++)
        if ((rank[i] = fy_in_rank(f, i)) < 0) return fy_out_set(f, 0, fy_in_dtype(f, 0), -1, NULL);
    FY_TRY(parse(&q, f->node, f->nin, rank, f->arena, f->e));
    for (int i = 0; i < q.n; i++)
        for (int k = 0; k < q.in[i].rank; k++) {
            const fy_dim *d = fy_in_dim(f, i, k), **s = &size[q.in[i].label[k]];
            int64_t v;
            if (!*s || fy_dim_is(*s, 1)) *s = d;
            else if (!fy_dim_is(d, 1)) {
                FY_TRY(fy_k_agree(f, *s, d, "sizes of one label"));
                if (fy_dim_known(d, &v)) *s = d;
            }
        }
    for (int k = 0; k < q.out.rank; k++) dim[k] = size[q.out.label[k]];
    return fy_out_set(f, 0, fy_in_dtype(f, 0), q.out.rank, dim);
}

/* ---- running ------------------------------------------------------------------------------------------------------- */

/* An operand seen by labels: element = data[sum index[label] * stride[label]]; has: whether the label occurs. */
typedef struct operand { bool has[LABELS]; int64_t stride[LABELS]; const void *data; } operand;
typedef struct work { const fy_call *c; int64_t size[LABELS]; bool integer; } work;

static int64_t product_of(const work *w, const int *list, int n) {
    int64_t p = 1;
    for (int i = 0; i < n; i++) p *= w->size[list[i]];
    return p;
}

/* dst[row-major over list] = sum over `gone` of the operand. Elements are 8 bytes: double or int64. */
static void gather(const work *w, void *dst, const operand *o, const int *list, int n, const int *gone, int ngone) {
    int64_t outer = product_of(w, list, n), inner = product_of(w, gone, ngone), at[LABELS] = {0}, in[LABELS] = {0}, off = 0;
    const int64_t run = n && !ngone ? w->size[list[n - 1]] : 1, step = n ? o->stride[list[n - 1]] : 0;
    for (int64_t i = 0; run > 1 && i < outer; i += run) {       /* nothing is summed: rows are copied */
        const uint64_t *from = (const uint64_t *)o->data + off;
        uint64_t *to = (uint64_t *)dst + i;
        for (int64_t j = 0; j < run; j++, from += step) to[j] = *from;
        for (int d = n - 2; d >= 0; d--) {
            off += o->stride[list[d]];
            if (++at[d] < w->size[list[d]]) break;
            off -= o->stride[list[d]] * w->size[list[d]];
            at[d] = 0;
        }
    }
    for (int64_t i = 0; run == 1 && i < outer; i++) {
        double s = 0;
        uint64_t u = 0;
        int64_t k = off;
        for (int64_t j = 0; j < inner; j++) {
            if (w->integer) u += (uint64_t)((const int64_t *)o->data)[k];
            else s += ((const double *)o->data)[k];
            for (int d = ngone - 1; d >= 0; d--) {
                k += o->stride[gone[d]];
                if (++in[d] < w->size[gone[d]]) break;
                k -= o->stride[gone[d]] * w->size[gone[d]];
                in[d] = 0;
            }
        }
        if (w->integer) ((uint64_t *)dst)[i] = u;
        else ((double *)dst)[i] = s;
        for (int d = n - 1; d >= 0; d--) {
            off += o->stride[list[d]];
            if (++at[d] < w->size[list[d]]) break;
            off -= o->stride[list[d]] * w->size[list[d]];
            at[d] = 0;
        }
    }
}

static fy_status room(const work *w, void **p, int64_t a, int64_t b, int64_t c) {
    int64_t n;
    FY_NEED(w->c->e, fy_mul_i64(&n, a, b) && fy_mul_i64(&n, n, c) && n <= w->c->max_bytes / 8, LIMIT, "an intermediate product is too large");
    *p = FY_NEWN(w->c->scratch, double, n);
    FY_NOMEM(w->c->e, *p);
    return FY_OK;
}

static void dense(const work *w, operand *r, const void *data, const int *list, int n) {
    int64_t s = 1;
    memset(r, 0, sizeof *r);
    for (int i = n - 1; i >= 0; i--) {
        r->has[list[i]] = true;
        r->stride[list[i]] = w->size[list[i]] == 1 ? 0 : s;
        s *= w->size[list[i]];
    }
    r->data = data;
}

/* r = a * b with labels outside `need` summed. */
static fy_status join(const work *w, operand *r, const operand *a, const operand *b, const bool *need) {
    int batch[LABELS], m[LABELS], n[LABELS], k[LABELS], ga[LABELS], gb[LABELS], list[LABELS], nbatch = 0, nm = 0, nn = 0, nk = 0, nga = 0, ngb = 0, c = 0;
    for (int l = 0; l < LABELS; l++) {
        bool both = a->has[l] && b->has[l];
        if (both && need[l]) batch[nbatch++] = l;
        else if (both) k[nk++] = l;
        else if (a->has[l]) { if (need[l]) m[nm++] = l; else ga[nga++] = l; }
        else if (b->has[l]) { if (need[l]) n[nn++] = l; else gb[ngb++] = l; }
    }
    int64_t cb = product_of(w, batch, nbatch), cm = product_of(w, m, nm), cn = product_of(w, n, nn), ck = product_of(w, k, nk);
    void *da, *db, *dr;
    FY_TRY(room(w, &da, cb, cm, ck));
    FY_TRY(room(w, &db, cb, ck, cn));
    FY_TRY(room(w, &dr, cb, cm, cn));
    for (int i = 0; i < nbatch; i++) list[c++] = batch[i];
    for (int i = 0; i < nm; i++) list[c++] = m[i];
    for (int i = 0; i < nk; i++) list[c++] = k[i];
    gather(w, da, a, list, c, ga, nga);
    c = nbatch;
    for (int i = 0; i < nk; i++) list[c++] = k[i];
    for (int i = 0; i < nn; i++) list[c++] = n[i];
    gather(w, db, b, list, c, gb, ngb);
    for (int64_t g = 0; g < cb; g++) {
        if (!w->integer) {
            fy_mat x = {(double *)da + g * cm * ck, FERRY_DOUBLE, ck, 1}, y = {(double *)db + g * ck * cn, FERRY_DOUBLE, cn, 1};
            FY_TRY(fy_gemm((fy_mat){(double *)dr + g * cm * cn, FERRY_DOUBLE, cn, 1}, x, y, cm, cn, ck, 1, 0, w->c->pool, w->c->e));
            continue;
        }
        fy_k_multiply_integers(w->c, (int64_t *)dr + g * cm * cn, (int64_t *)da + g * cm * ck, ck, (int64_t *)db + g * ck * cn, cn, cm, cn, ck);
    }
    c = nbatch;
    for (int i = 0; i < nm; i++) list[c++] = m[i];
    for (int i = 0; i < nn; i++) list[c++] = n[i];
    dense(w, r, dr, list, c);
    return FY_OK;
}

static fy_status ref_einsum(const fy_call *c) {
    fy_tensor *y = fy_res(c, 0);
    work w = {.c = c};
    equation q;
    int *rank = FY_NEWN(c->scratch, int, c->nin), list[FY_MAX_RANK], gone[LABELS], ngone = 0;
    operand *op = FY_NEWN(c->scratch, operand, c->nin), acc;
    FY_NOMEM(c->e, rank && op);
    if (!y || !fy_count(y)) return FY_OK;
    for (int i = 0; i < c->nin; i++) {
        FY_NEED(c->e, fy_arg(c, i) && fy_k_numeric(fy_arg(c, i)), TYPE, "operand %d is no tensor of numbers", i);
        rank[i] = fy_arg(c, i)->rank;
    }
    FY_TRY(parse(&q, c->node, c->nin, rank, c->scratch, c->e));
    w.integer = !fy_dtype_float(y->dtype);
    for (int i = 0; i < LABELS; i++) w.size[i] = 1;
    for (int i = 0; i < q.n; i++)
        for (int k = 0; k < q.in[i].rank; k++) {
            int64_t d = fy_arg(c, i)->dim[k], *s = &w.size[q.in[i].label[k]];
            FY_NEED(c->e, d == *s || d == 1 || *s == 1, SHAPE, "sizes of one label differ: %lld and %lld", (long long)*s, (long long)d);
            if (*s == 1) *s = d;
        }
    for (int i = 0; i < q.n; i++) {
        const fy_tensor *x = fy_arg(c, i);
        op[i].data = w.integer ? (const void *)fy_k_as_i64(c, x) : (const void *)fy_k_as_f64(c, x);
        FY_NOMEM(c->e, op[i].data);
        int64_t stride = 1;
        for (int k = x->rank - 1; k >= 0; k--) {                        /* a label twice in one operand: its diagonal */
            op[i].has[q.in[i].label[k]] = true;
            if (x->dim[k] != 1) op[i].stride[q.in[i].label[k]] += stride;
            stride *= x->dim[k];
        }
    }
    acc = op[0];
    for (int i = 1; i < q.n; i++) {
        bool need[LABELS] = {false};
        operand next;
        for (int k = 0; k < q.out.rank; k++) need[q.out.label[k]] = true;
        for (int j = i + 1; j < q.n; j++)
            for (int k = 0; k < q.in[j].rank; k++) need[q.in[j].label[k]] = true;
        FY_TRY(join(&w, &next, &acc, &op[i], need));
        acc = next;
    }
    for (int k = 0; k < q.out.rank; k++) list[k] = q.out.label[k];
    for (int l = 0; l < LABELS; l++) {
        bool kept = false;
        for (int k = 0; k < q.out.rank; k++) kept = kept || list[k] == l;
        if (acc.has[l] && !kept) gone[ngone++] = l;
    }
    void *last;
    FY_TRY(room(&w, &last, fy_count(y), 1, 1));
    gather(&w, last, &acc, list, q.out.rank, gone, ngone);
    if (w.integer) fy_store_i64(y, 0, fy_count(y), last);
    else fy_store_f64(y, 0, fy_count(y), last);
    return FY_OK;
}
static const fy_attr_spec attrs[] = {{"equation", FY_ATTR_STRING, FY_REQUIRED}, {0}};
const fy_op fy_op_einsum = {.name = "Einsum", .domain = "", .attrs = attrs, .min_in = 1, .max_in = -1, .min_out = 1, .max_out = 1, .first = 12, .since = 12,
    .types = "T=" FY_T_NUM "|T,...|T", .infer = infer_einsum, .ref = ref_einsum, .flags = FY_PURE};
