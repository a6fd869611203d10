/* SPDX-License-Identifier: Apache-2.0
 * dim.c - symbolic sizes: hash-consing, canonical polynomials, division and bounds. Printing and parsing: dim_text.c.
 *
 * Canonical form. PROD: atoms sorted by id (repeated for powers), coefficient in `value`. SUM: distinct monomials in graded
 * order, constant in `value`. floor(x / k), k > 0 constant: every coefficient of x lies in [0, k), the common divisor of
 * coefficients and k is 1, x is not itself a lone floor by a constant. Anything that overflows 64 bits becomes opaque. */
#include "ir/dim.h"

#include "base/checked.h"
#include "base/map.h"
#include "base/os.h"

#include <string.h>

#define MAX_DEPTH 64
#define MAX_WEIGHT 256
#define MAX_DEGREE 16
#define NO_LO INT64_MIN
#define NO_HI INT64_MAX

struct fy_dims {
    fy_arena  arena;
    fy_map    names;                     /* SYM and OPAQUE by name */
    fy_map    either;                    /* of fy_dim_either by the ids of its two */
    FY_VEC(fy_dim *) all;                /* by id */
    fy_dim  **slot;                      /* hash-consing: open addressing */
    size_t    cap, used;
    int64_t   opaque;                    /* names given out */
    FY_VEC(const fy_dim *) same;         /* by id: what a symbol was found equal to, or NULL */
    int64_t   nsame;
    FY_VEC(const fy_dim *) resolved;     /* memo of fy_dim_resolve, valid for `epoch` of them */
    FY_VEC(int64_t) epoch;
    bool      oom;                       /* some constructor gave NULL for want of memory */
};

fy_dims *fy_dims_new(void) { return fy_calloc(1, sizeof(fy_dims)); }

void fy_dims_free(fy_dims *p) {
    if (!p) return;
    fy_map_free(&p->names);
    fy_map_free(&p->either);
    fy_free(p->all.at);
    fy_free(p->slot);
    fy_free(p->same.at);
    fy_free(p->resolved.at);
    fy_free(p->epoch.at);
    fy_arena_free(&p->arena);
    fy_free(p);
}

bool fy_dims_oom(fy_dims *p) {
    bool was = p->oom;
    p->oom = false;
    return was;
}

uint32_t fy_dims_next(const fy_dims *p) { return (uint32_t)p->all.n; }

int64_t fy_dims_equalities(const fy_dims *p) { return p->nsame; }

static void *no_memory(fy_dims *p) {
    p->oom = true;
    return NULL;
}

/* ---- bounds: interval arithmetic that saturates at "unbounded" ------------------------------------------------------ */

static int64_t add_lo(int64_t a, int64_t b) {
    int64_t r;
    if (a == NO_LO || b == NO_LO) return NO_LO;
    return fy_add_i64(&r, a, b) ? r : a < 0 ? NO_LO : NO_HI - 1;
}
static int64_t add_hi(int64_t a, int64_t b) {
    int64_t r;
    if (a == NO_HI || b == NO_HI) return NO_HI;
    return fy_add_i64(&r, a, b) ? r : a > 0 ? NO_HI : NO_LO + 1;
}

/* One corner of a product; infinite ends count as infinite, 0 times infinite is 0. */
static int64_t corner(int64_t a, int64_t b) {
    int64_t r;
    if (a == 0 || b == 0) return 0;
    bool neg = (a < 0) != (b < 0);
    if (a == NO_LO || a == NO_HI || b == NO_LO || b == NO_HI || !fy_mul_i64(&r, a, b)) return neg ? NO_LO : NO_HI;
    return r;
}

static void mul_bounds(int64_t *lo, int64_t *hi, int64_t alo, int64_t ahi, int64_t blo, int64_t bhi) {
    int64_t c[4] = { corner(alo, blo), corner(alo, bhi), corner(ahi, blo), corner(ahi, bhi) };
    *lo = *hi = c[0];
    for (int i = 1; i < 4; i++) {
        if (c[i] < *lo) *lo = c[i];
        if (c[i] > *hi) *hi = c[i];
    }
}


static int64_t end_div(int64_t a, int64_t b) {           /* an end of an interval over b > 0 */
    return a == NO_LO || a == NO_HI ? a : fy_floor_div(a, b);
}

static void bounds(fy_dim *d) {
    int64_t lo = NO_LO, hi = NO_HI, x, y;
    const fy_dim *a = d->nargs > 0 ? d->arg[0] : NULL, *b = d->nargs > 1 ? d->arg[1] : NULL;
    switch (d->kind) {
    case FY_DIM_CONST: lo = hi = d->value; break;
    case FY_DIM_SYM:
    case FY_DIM_OPAQUE: return;
    case FY_DIM_SUM:
        lo = hi = d->value;
        for (int i = 0; i < d->nargs; i++) {
            lo = add_lo(lo, d->arg[i]->lo);
            hi = add_hi(hi, d->arg[i]->hi);
        }
        break;
    case FY_DIM_PROD:
        lo = hi = d->value;
        for (int i = 0; i < d->nargs; i++) {
            mul_bounds(&x, &y, lo, hi, d->arg[i]->lo, d->arg[i]->hi);
            lo = x;
            hi = y;
        }
        break;
    case FY_DIM_FLOORDIV:
    case FY_DIM_CEILDIV:
        if (b->lo >= 1 && b->lo == b->hi && d->kind == FY_DIM_FLOORDIV) {
            lo = end_div(a->lo, b->lo);
            hi = end_div(a->hi, b->lo);
        } else if (b->lo >= 1) {                        /* the quotient lies between 0 and the numerator */
            lo = a->lo < 0 ? a->lo : 0;
            hi = a->hi > 0 ? a->hi : 0;
            if (d->kind == FY_DIM_FLOORDIV && a->lo >= 0) hi = end_div(a->hi, b->lo);
        }
        break;
    case FY_DIM_MOD:
        if (b->lo >= 1) {
            lo = 0;
            hi = b->hi == NO_HI ? NO_HI : b->hi - 1;
            if (a->lo >= 0 && a->hi < hi) hi = a->hi;
        }
        break;
    case FY_DIM_POW:
        if (a->lo >= 1 && b->lo >= 0) lo = 1;
        else if (a->lo >= 0 && b->lo >= 0) lo = 0;
        break;
    case FY_DIM_MIN: lo = a->lo < b->lo ? a->lo : b->lo; hi = a->hi < b->hi ? a->hi : b->hi; break;
    case FY_DIM_MAX: lo = a->lo > b->lo ? a->lo : b->lo; hi = a->hi > b->hi ? a->hi : b->hi; break;
    case FY_DIM_SCALE: break;
    }
    if (lo > d->lo) d->lo = lo;
    if (hi < d->hi) d->hi = hi;
}

/* ---- hash-consing -------------------------------------------------------------------------------------------------- */

static uint64_t hash_of(const fy_dim *d) {
    uint64_t h = (uint64_t)d->kind * 0x9E3779B97F4A7C15u ^ (uint64_t)d->value;
    for (int i = 0; i < d->nargs; i++) h = (h ^ (h >> 29) ^ d->arg[i]->id) * 0xBF58476D1CE4E5B9u;
    return h ^ (h >> 31);
}

static bool same_node(const fy_dim *a, const fy_dim *b) {
    if (a->kind != b->kind || a->value != b->value || a->den != b->den || a->nargs != b->nargs) return false;
    for (int i = 0; i < a->nargs; i++)
        if (a->arg[i] != b->arg[i]) return false;
    return true;
}

static bool rehash(fy_dims *p) {
    size_t cap = p->cap ? p->cap * 2 : 64;
    fy_dim **slot = fy_calloc(cap, sizeof *slot);
    if (!slot) return false;
    for (size_t i = 0; i < p->cap; i++) {
        if (!p->slot[i]) continue;
        size_t k = (size_t)hash_of(p->slot[i]) & (cap - 1);
        while (slot[k]) k = (k + 1) & (cap - 1);
        slot[k] = p->slot[i];
    }
    fy_free(p->slot);
    p->slot = slot;
    p->cap = cap;
    return true;
}

static fy_dim *append(fy_dims *p, const fy_dim *like) {
    if (!FY_RESERVE(p->all, p->all.n + 1) || !FY_RESERVE(p->same, p->all.n + 1) || !FY_RESERVE(p->resolved, p->all.n + 1) ||
        !FY_RESERVE(p->epoch, p->all.n + 1)) return NULL;
    fy_dim *d = fy_arena_copy(&p->arena, like, 1, sizeof *like);
    if (!d) return NULL;
    if (like->nargs && !(d->arg = fy_arena_copy(&p->arena, like->arg, (size_t)like->nargs, sizeof *like->arg))) return NULL;
    d->id = (uint32_t)p->all.n;
    p->same.at[p->all.n] = NULL;
    p->epoch.at[p->all.n] = -1;
    p->all.at[p->all.n++] = d;
    return d;
}

/* The pool's own dim for a canonical one; its bounds are brought up to date, since symbols may have got narrower. */
static const fy_dim *intern(fy_dims *p, fy_dim *d) {
    d->depth = d->weight = 1;
    d->mult = 1;
    for (int i = 0; i < d->nargs; i++) {
        if (d->arg[i]->depth >= d->depth) d->depth = d->arg[i]->depth + 1;
        d->weight += d->arg[i]->weight;
        if (d->weight > MAX_WEIGHT) break;
    }
    if (d->depth > MAX_DEPTH || d->weight > MAX_WEIGHT) return fy_dim_opaque(p, "size");
    if (p->used * 2 >= p->cap && !rehash(p)) return no_memory(p);
    size_t k = (size_t)hash_of(d) & (p->cap - 1);
    while (p->slot[k] && !same_node(p->slot[k], d)) k = (k + 1) & (p->cap - 1);
    if (!p->slot[k]) {
        d->lo = NO_LO;
        d->hi = NO_HI;
        fy_dim *made = append(p, d);
        if (!made) return no_memory(p);
        p->slot[k] = made;
        p->used++;
    }
    bounds(p->slot[k]);
    return p->slot[k];
}

const fy_dim *fy_dim_const(fy_dims *p, int64_t v) { return intern(p, &(fy_dim){ .kind = FY_DIM_CONST, .value = v }); }

static const fy_dim *named(fy_dims *p, fy_dim_kind kind, const char *name) {
    fy_dim like = { .kind = kind, .name = fy_arena_str(&p->arena, name), .lo = kind == FY_DIM_SYM || kind == FY_DIM_OPAQUE ? 0 : NO_LO, .hi = NO_HI,
                    .mult = 1, .depth = 1, .weight = 1 };
    fy_dim *d = like.name ? append(p, &like) : NULL;
    return d && fy_map_puts(&p->names, d->name, d) ? d : no_memory(p);
}

const fy_dim *fy_dim_sym(fy_dims *p, const char *name) {
    if (!name) return NULL;
    const fy_dim *d = fy_map_gets(&p->names, name);
    return d ? fy_dim_resolve(p, d) : named(p, FY_DIM_SYM, name);
}

const fy_dim *fy_dim_opaque(fy_dims *p, const char *origin) {
    const char *name;
    do {
        name = fy_arena_fmt(&p->arena, "%s_%lld", origin && *origin ? origin : "size", (long long)p->opaque++);
        if (!name) return no_memory(p);
    } while (fy_map_has(&p->names, name, strlen(name)));
    return named(p, FY_DIM_OPAQUE, name);
}

const fy_dim *fy_dim_upto(fy_dims *p, const char *origin, const fy_dim *most) {
    const fy_dim *d = fy_dim_opaque(p, origin);
    if (!d || !most) return d;
    fy_dim *own = p->all.at[d->id];
    own->most = most;
    own->hi = most->hi < 0 ? 0 : most->hi;
    return d;
}

const fy_dim *fy_dim_element(fy_dims *p, const char *origin, int64_t lo, int64_t hi) {
    const fy_dim *d = fy_dim_opaque(p, origin);
    fy_dim_bound(p, d, lo, hi);
    return d;
}

const fy_dim *fy_dim_varying(fy_dims *p, const char *name, const fy_dim *most) {
    fy_dim like = { .kind = FY_DIM_OPAQUE, .hi = NO_HI, .mult = 1, .depth = 1, .weight = 1 };
    fy_dim *d;
    if (name) {                                          /* what a file calls it; no symbol of that name is meant */
        like.name = fy_arena_str(&p->arena, name);
        d = like.name ? append(p, &like) : NULL;
        if (!d) return no_memory(p);
    } else {
        const fy_dim *fresh = fy_dim_upto(p, "item", most);
        if (!fresh) return NULL;
        d = p->all.at[fresh->id];
    }
    d->varies = true;
    return d;
}

const fy_dim *fy_dim_either(fy_dims *p, const fy_dim *a, const fy_dim *b) {
    if (!a || !b) return NULL;
    uint32_t *key = FY_NEWN(&p->arena, uint32_t, 2);
    if (!key) return no_memory(p);
    key[0] = a->id < b->id ? a->id : b->id;
    key[1] = a->id < b->id ? b->id : a->id;
    const fy_dim *d = fy_map_get(&p->either, (const char *)key, 2 * sizeof *key);
    if (d) return d;
    const fy_dim *most = fy_dim_max(p, a, b);
    if (!most || !(d = fy_dim_upto(p, "broadcast", most))) return NULL;
    return fy_map_put(&p->either, (const char *)key, 2 * sizeof *key, (void *)(uintptr_t)d) ? d : no_memory(p);
}

static bool is_const(const fy_dim *d) { return d->kind == FY_DIM_CONST; }
bool fy_dim_known(const fy_dim *d, int64_t *v) {
    if (!d || !is_const(d)) return false;
    *v = d->value;
    return true;
}
bool fy_dim_is(const fy_dim *d, int64_t v) { return d && is_const(d) && d->value == v; }
bool fy_dim_ge(const fy_dim *d, int64_t v) { return d && d->lo >= v; }

/* ---- monomials and sums -------------------------------------------------------------------------------------------- */

typedef struct term { int64_t c; int n; const fy_dim *atom[MAX_DEGREE]; } term;

/* A polynomial being built: distinct monomials in graded order, highest first. */
typedef struct poly { int64_t k; FY_VEC(term) t; bool over, oom; } poly;

static int order(const term *a, const term *b) {
    if (a->n != b->n) return a->n > b->n ? -1 : 1;
    for (int i = 0; i < a->n; i++)
        if (a->atom[i] != b->atom[i]) return a->atom[i]->id < b->atom[i]->id ? -1 : 1;
    return 0;
}

static void poly_add(poly *q, const term *t) {
    if (t->c == 0) return;
    if (t->n == 0) {
        if (!fy_add_i64(&q->k, q->k, t->c)) q->over = true;
        return;
    }
    int64_t lo = 0, hi = q->t.n;
    while (lo < hi) {
        int64_t mid = (lo + hi) / 2;
        int c = order(&q->t.at[mid], t);
        if (c == 0) {
            if (!fy_add_i64(&q->t.at[mid].c, q->t.at[mid].c, t->c)) q->over = true;
            if (q->t.at[mid].c == 0) {
                memmove(&q->t.at[mid], &q->t.at[mid + 1], (size_t)(q->t.n - mid - 1) * sizeof(term));
                q->t.n--;
            }
            return;
        }
        if (c < 0) lo = mid + 1;
        else hi = mid;
    }
    if (!FY_RESERVE(q->t, q->t.n + 1)) { q->oom = true; return; }
    memmove(&q->t.at[lo + 1], &q->t.at[lo], (size_t)(q->t.n - lo) * sizeof(term));
    q->t.at[lo] = *t;
    q->t.n++;
}

static bool term_of(term *t, const fy_dim *d) {          /* of a monomial: constant, atom or product; false: degree too high */
    t->c = 1;
    t->n = 0;
    if (d->kind == FY_DIM_CONST) t->c = d->value;
    else if (d->kind == FY_DIM_PROD) {
        t->c = d->value;
        if (d->nargs > MAX_DEGREE) return false;
        for (int i = 0; i < d->nargs; i++) t->atom[t->n++] = d->arg[i];
    } else t->atom[t->n++] = d;
    return true;
}

static int nterms(const fy_dim *d) { return d->kind == FY_DIM_SUM ? d->nargs + (d->value != 0) : 1; }
static bool nth_term(term *t, const fy_dim *d, int i) {
    if (d->kind != FY_DIM_SUM) return term_of(t, d);
    if (i < d->nargs) return term_of(t, d->arg[i]);
    *t = (term){ .c = d->value };
    return true;
}

static bool mul_term(term *r, const term *a, const term *b) {
    if (!fy_mul_i64(&r->c, a->c, b->c) || a->n + b->n > MAX_DEGREE) return false;
    int i = 0, j = 0;
    r->n = 0;
    while (i < a->n || j < b->n)
        r->atom[r->n++] = j == b->n || (i < a->n && a->atom[i]->id <= b->atom[j]->id) ? a->atom[i++] : b->atom[j++];
    return true;
}

/* a / b if b divides a (coefficient and atoms). */
static bool div_term(term *r, const term *a, const term *b) {
    if (b->c == 0 || b->c == -1 ? b->c == 0 || a->c == INT64_MIN : a->c % b->c != 0) return false;
    int j = 0;
    term q = { .c = a->c / b->c };
    for (int i = 0; i < a->n; i++) {
        if (j < b->n && b->atom[j] == a->atom[i]) j++;
        else q.atom[q.n++] = a->atom[i];
    }
    if (j < b->n) return false;
    *r = q;
    return true;
}

static const fy_dim *monomial(fy_dims *p, const term *t) {
    if (t->c == 0 || t->n == 0) return fy_dim_const(p, t->n ? 0 : t->c);
    if (t->c == 1 && t->n == 1) return t->atom[0];
    return intern(p, &(fy_dim){ .kind = FY_DIM_PROD, .value = t->c, .nargs = t->n, .arg = t->atom });
}

/* The dim of a polynomial, which is freed. */
static const fy_dim *poly_dim(fy_dims *p, poly *q) {
    const fy_dim *d = NULL;
    FY_VEC(const fy_dim *) arg = { 0 };
    if (q->oom) goto out;
    if (q->over) { d = fy_dim_opaque(p, "size"); goto out; }
    if (q->t.n == 0) { d = fy_dim_const(p, q->k); goto out; }
    if (q->t.n == 1 && q->k == 0) { d = monomial(p, &q->t.at[0]); goto out; }
    if (q->t.n > MAX_WEIGHT) { d = fy_dim_opaque(p, "size"); goto out; }
    if (!FY_RESERVE(arg, q->t.n)) goto out;
    for (int64_t i = 0; i < q->t.n; i++)
        if (!(arg.at[i] = monomial(p, &q->t.at[i]))) goto out;
    d = intern(p, &(fy_dim){ .kind = FY_DIM_SUM, .value = q->k, .nargs = (int)q->t.n, .arg = arg.at });
out:
    fy_free(arg.at);
    fy_free(q->t.at);
    return d ? d : no_memory(p);
}

/* q += d * by */
static void poly_addmul(poly *q, const fy_dim *d, const term *by) {
    term t, r;
    for (int i = 0; i < nterms(d); i++) {
        if (!nth_term(&t, d, i) || !mul_term(&r, &t, by)) { q->over = true; return; }
        poly_add(q, &r);
    }
}

static const fy_dim *linear(fy_dims *p, const fy_dim *a, int64_t ka, const fy_dim *b, int64_t kb, int64_t k) {   /* a*ka + b*kb + k */
    poly q = { .k = k };
    poly_addmul(&q, a, &(term){ .c = ka });
    if (b) poly_addmul(&q, b, &(term){ .c = kb });
    return poly_dim(p, &q);
}

#define OPERANDS(p, a, b) do { if (!(a) || !(b)) return NULL; if ((p)->nsame && (!((a) = fy_dim_resolve(p, a)) || !((b) = fy_dim_resolve(p, b)))) return NULL; } while (0)

const fy_dim *fy_dim_add(fy_dims *p, const fy_dim *a, const fy_dim *b) { OPERANDS(p, a, b); return linear(p, a, 1, b, 1, 0); }
const fy_dim *fy_dim_total(fy_dims *p, int64_t n, const fy_dim *const *d) {
    poly q = { 0 };
    for (int64_t i = 0; i < n && !q.over && !q.oom; i++) {
        const fy_dim *x = fy_dim_resolve(p, d[i]);
        if (x) poly_addmul(&q, x, &(term){ .c = 1 });
        else q.oom = true;
        if (q.t.n > MAX_WEIGHT) q.over = true;           /* it will be opaque whatever follows */
    }
    return poly_dim(p, &q);
}

/* a - min(x, y) is max(a - x, a - y), a - max(x, y) the min: one form where one of the two is a constant. */
const fy_dim *fy_dim_sub(fy_dims *p, const fy_dim *a, const fy_dim *b) {
    OPERANDS(p, a, b);
    if (b->kind == FY_DIM_MIN || b->kind == FY_DIM_MAX) {
        const fy_dim *x = linear(p, a, 1, b->arg[0], -1, 0), *y = linear(p, a, 1, b->arg[1], -1, 0);
        if (!x || !y) return NULL;
        if (x->kind == FY_DIM_CONST || y->kind == FY_DIM_CONST) return b->kind == FY_DIM_MIN ? fy_dim_max(p, x, y) : fy_dim_min(p, x, y);
    }
    return linear(p, a, 1, b, -1, 0);
}
const fy_dim *fy_dim_addi(fy_dims *p, const fy_dim *a, int64_t b) { OPERANDS(p, a, a); return linear(p, a, 1, NULL, 0, b); }
const fy_dim *fy_dim_muli(fy_dims *p, const fy_dim *a, int64_t b) { OPERANDS(p, a, a); return linear(p, a, b, NULL, 0, 0); }
const fy_dim *fy_dim_divi(fy_dims *p, const fy_dim *a, int64_t b) { return fy_dim_floordiv(p, a, fy_dim_const(p, b)); }

const fy_dim *fy_dim_mul(fy_dims *p, const fy_dim *a, const fy_dim *b) {
    OPERANDS(p, a, b);
    if ((int64_t)nterms(a) * nterms(b) > MAX_WEIGHT) return fy_dim_opaque(p, "size");
    poly q = { 0 };
    term t;
    for (int i = 0; i < nterms(b) && !q.over; i++) {
        if (nth_term(&t, b, i)) poly_addmul(&q, a, &t);
        else q.over = true;
    }
    return poly_dim(p, &q);
}

/* d >= 0 proved? Terms that are -c times a size of known upper bound are replaced by -c times that bound. */
static bool nonneg(fy_dims *p, const fy_dim *d) {
    term t;
    if (!d) return false;
    for (int step = 0; step < 8 && d->lo < 0; step++) {
        int i = 0, n = nterms(d);
        while (i < n && !(nth_term(&t, d, i) && t.c < 0 && t.c > INT64_MIN && t.n == 1 && t.atom[0]->most)) i++;
        if (i == n) return false;
        poly q = { 0 };
        poly_addmul(&q, d, &(term){ .c = 1 });
        poly_addmul(&q, t.atom[0], &(term){ .c = -t.c });
        poly_addmul(&q, t.atom[0]->most, &(term){ .c = t.c });
        if (q.over) { fy_free(q.t.at); return false; }
        if (!(d = poly_dim(p, &q))) return false;
    }
    return d->lo >= 0;
}

bool fy_dim_le(fy_dims *p, const fy_dim *a, const fy_dim *b) { return a && b && (a == b || a->hi <= b->lo || nonneg(p, linear(p, b, 1, a, -1, 0))); }

static uint64_t mag(int64_t v) { return v < 0 ? 0 - (uint64_t)v : (uint64_t)v; }
static uint64_t gcd(uint64_t a, uint64_t b) {
    while (b) { uint64_t t = a % b; a = b; b = t; }
    return a;
}

static bool term_divisible(const term *t, uint64_t by) {
    uint64_t rest = by / gcd(mag(t->c), by);
    for (int i = 0; i < t->n; i++) rest /= gcd((uint64_t)t->atom[i]->mult, rest);
    return rest == 1;
}

bool fy_dim_divisible(const fy_dim *d, int64_t by) {
    term t;
    if (!d || by == 0) return false;
    for (int i = 0; i < nterms(d); i++)
        if (!nth_term(&t, d, i) || !term_divisible(&t, mag(by))) return false;
    return true;
}

/* ---- division ------------------------------------------------------------------------------------------------------ */

static const fy_dim *binary(fy_dims *p, fy_dim_kind kind, const fy_dim *a, const fy_dim *b) {
    if (!a || !b) return NULL;
    return intern(p, &(fy_dim){ .kind = kind, .nargs = 2, .arg = (const fy_dim *const[]){ a, b } });
}

/* For k > 0: *q gets what divides out, and the rest of `a` is divided by the common divisor: a = k*q + g*rest + r0 with
 * 0 <= r0 < g and *kk = k / g, so floor(a/k) = q + floor(rest/kk), a mod k = g*(rest mod kk) + r0. */
static bool reduce(fy_dims *p, const fy_dim *a, int64_t k, poly *q, const fy_dim **rest, int64_t *kk, int64_t *r0) {
    poly r = { 0 };
    term t, u;
    uint64_t g = (uint64_t)k;
    int64_t c0 = 0;
    for (int i = 0; i < nterms(a); i++) {
        if (!nth_term(&t, a, i)) { fy_free(r.t.at); return false; }
        if (t.n && term_divisible(&t, (uint64_t)k) && t.c % k != 0) {      /* divisible thanks to a symbol's multiple: no closed form */
            g = gcd(g, mag(t.c));
            poly_add(&r, &t);
            continue;
        }
        u = t;
        u.c = fy_floor_div(t.c, k);
        t.c = (int64_t)((uint64_t)t.c - (uint64_t)u.c * (uint64_t)k);      /* the remainder: fits, the product may not */
        poly_add(q, &u);
        if (t.n) g = gcd(g, mag(t.c));
        else c0 = t.c;
        poly_add(&r, &t);
    }
    r.k = fy_floor_div(c0, (int64_t)g);
    *r0 = c0 - r.k * (int64_t)g;
    for (int64_t i = 0; i < r.t.n; i++) r.t.at[i].c /= (int64_t)g;
    *kk = k / (int64_t)g;
    *rest = poly_dim(p, &r);
    return *rest != NULL;
}

static const fy_dim *plus(fy_dims *p, poly *q, const fy_dim *d, int64_t times) {    /* q + d * times; frees q */
    if (d) poly_addmul(q, d, &(term){ .c = times });
    else q->oom = true;
    return poly_dim(p, q);
}

static const fy_dim *div_const(fy_dims *p, const fy_dim *a, int64_t k) {
    poly q = { 0 };
    const fy_dim *rest = NULL;
    int64_t kk, r0;
    if (!reduce(p, a, k, &q, &rest, &kk, &r0)) { fy_free(q.t.at); return rest ? NULL : fy_dim_opaque(p, "size"); }
    if (rest->lo != NO_LO && rest->hi != NO_HI && fy_floor_div(rest->lo, kk) == fy_floor_div(rest->hi, kk))
        return plus(p, &q, fy_dim_const(p, fy_floor_div(rest->lo, kk)), 1);
    /* floor((floor(x/m) + c) / kk) = floor((x + c*m) / (m*kk)) */
    const fy_dim *inner = rest->kind == FY_DIM_FLOORDIV ? rest : rest->kind == FY_DIM_SUM && rest->nargs == 1 ? rest->arg[0] : NULL;
    int64_t c = rest->kind == FY_DIM_SUM ? rest->value : 0, m, cm, mk;
    if (inner && inner->kind == FY_DIM_FLOORDIV && fy_dim_known(inner->arg[1], &m) && m > 0 && fy_mul_i64(&cm, c, m) && fy_mul_i64(&mk, m, kk)) {
        const fy_dim *x = linear(p, inner->arg[0], 1, NULL, 0, cm);
        if (!x) { fy_free(q.t.at); return NULL; }
        if (x->depth < inner->depth) return plus(p, &q, div_const(p, x, mk), 1);
    }
    return plus(p, &q, binary(p, FY_DIM_FLOORDIV, rest, fy_dim_const(p, kk)), 1);
}

/* The quotient if b divides a exactly, or with a remainder proved to lie in [0, b); else NULL with *oom telling why. */
static const fy_dim *div_poly(fy_dims *p, const fy_dim *a, const fy_dim *b, const fy_dim **rem, bool *oom) {
    poly q = { 0 };
    term lead, t, f, neg;
    const fy_dim *r = a;
    if ((int64_t)nterms(a) * nterms(b) > 128 || !nth_term(&lead, b, 0)) return NULL;
    for (int step = 0; step < 16; step++) {              /* any term that the leading one divides; graded order makes this end */
        int i = 0, n = nterms(r);
        while (i < n && !(nth_term(&t, r, i) && t.c && div_term(&f, &t, &lead))) i++;
        if (i == n) break;
        poly next = { 0 };
        neg = f;
        if (!fy_sub_i64(&neg.c, 0, f.c)) break;
        poly_add(&q, &f);
        poly_addmul(&next, r, &(term){ .c = 1 });
        poly_addmul(&next, b, &neg);
        if (next.over || q.over) { fy_free(next.t.at); fy_free(q.t.at); return NULL; }
        if (!(r = poly_dim(p, &next))) { fy_free(q.t.at); *oom = true; return NULL; }
    }
    *rem = r;
    const fy_dim *d = poly_dim(p, &q);
    *oom = !d;
    return d;
}

static bool below(fy_dims *p, const fy_dim *r, const fy_dim *b) {        /* 0 <= r < b proved? */
    if (r->lo < 0) return false;
    if (r->hi != NO_HI && r->hi < b->lo) return true;
    return nonneg(p, linear(p, b, 1, r, -1, -1));
}

/* Cancels what all terms of a and b share. */
static bool cancel(fy_dims *p, const fy_dim **a, const fy_dim **b) {
    term g, t;
    if (!nth_term(&g, *b, 0)) return false;
    uint64_t c = 0;
    for (int side = 0; side < 2; side++) {
        const fy_dim *d = side ? *a : *b;
        for (int i = 0; i < nterms(d); i++) {
            if (!nth_term(&t, d, i)) return false;
            c = gcd(c, mag(t.c));
            term keep = { 0 };
            for (int x = 0, y = 0; x < g.n && y < t.n;) {
                if (g.atom[x] == t.atom[y]) { keep.atom[keep.n++] = g.atom[x]; x++; y++; }
                else if (g.atom[x]->id < t.atom[y]->id) x++;
                else y++;
            }
            g = keep;
        }
    }
    if (c > INT64_MAX || (c <= 1 && g.n == 0)) return true;
    g.c = c ? (int64_t)c : 1;
    for (int side = 0; side < 2; side++) {
        const fy_dim **d = side ? a : b;
        poly q = { 0 };
        term r;
        for (int i = 0; i < nterms(*d); i++)
            if (nth_term(&t, *d, i) && t.c && div_term(&r, &t, &g)) poly_add(&q, &r);
        if (!(*d = poly_dim(p, &q))) return false;
    }
    return true;
}

const fy_dim *fy_dim_floordiv(fy_dims *p, const fy_dim *a, const fy_dim *b) {
    OPERANDS(p, a, b);
    int64_t k;
    if (fy_dim_is(a, 0) && !fy_dim_is(b, 0)) return a;
    if (fy_dim_known(b, &k)) {
        if (k == 0 || k == INT64_MIN) return binary(p, FY_DIM_FLOORDIV, a, b);
        if (k < 0) { a = linear(p, a, -1, NULL, 0, 0); k = -k; }
        return a ? div_const(p, a, k) : NULL;
    }
    bool oom = false;
    const fy_dim *r = NULL, *q = div_poly(p, a, b, &r, &oom);
    if (oom) return NULL;
    if (q && fy_dim_is(r, 0)) return q;
    if (q && below(p, r, b)) return q;
    if (!q || is_const(b) || nterms(b) > 1) { q = NULL; r = a; }          /* keep a as it is, but for a monomial divisor */
    const fy_dim *den = b;
    if (!cancel(p, &r, &den)) return NULL;
    const fy_dim *f = den != b ? fy_dim_floordiv(p, r, den) : binary(p, FY_DIM_FLOORDIV, r, den);      /* den has fewer factors */
    return q && f ? linear(p, q, 1, f, 1, 0) : f;
}

const fy_dim *fy_dim_ceildiv(fy_dims *p, const fy_dim *a, const fy_dim *b) {
    OPERANDS(p, a, b);
    int64_t k;
    if (fy_dim_known(b, &k) && k != 0 && k != INT64_MIN) {
        if (k < 0) { a = linear(p, a, -1, NULL, 0, 0); k = -k; }
        return fy_dim_floordiv(p, a ? linear(p, a, 1, NULL, 0, k - 1) : NULL, fy_dim_const(p, k));
    }
    bool oom = false;
    const fy_dim *r = NULL, *q = is_const(b) ? NULL : div_poly(p, a, b, &r, &oom);
    if (oom) return NULL;
    if (q && fy_dim_is(r, 0)) return q;
    return binary(p, FY_DIM_CEILDIV, a, b);
}

const fy_dim *fy_dim_mod(fy_dims *p, const fy_dim *a, const fy_dim *b) {
    OPERANDS(p, a, b);
    int64_t k;
    if (fy_dim_known(b, &k)) {
        if (k <= 0) return binary(p, FY_DIM_MOD, a, b);
        if (fy_dim_divisible(a, k)) return fy_dim_const(p, 0);
        poly q = { 0 };
        const fy_dim *rest = NULL, *m;
        int64_t kk, r0;
        bool ok = reduce(p, a, k, &q, &rest, &kk, &r0);
        fy_free(q.t.at);
        if (!ok) return rest ? NULL : fy_dim_opaque(p, "size");
        if (kk == 1) return fy_dim_const(p, r0);
        if (rest->lo >= 0 && rest->hi < kk) m = rest;
        else if (rest->kind == FY_DIM_MOD && fy_dim_is(rest->arg[1], kk)) m = rest;
        else m = binary(p, FY_DIM_MOD, rest, fy_dim_const(p, kk));
        return m ? linear(p, m, k / kk, NULL, 0, r0) : NULL;
    }
    bool oom = false;
    const fy_dim *r = NULL, *q = div_poly(p, a, b, &r, &oom);
    if (oom) return NULL;
    if (q && (fy_dim_is(r, 0) || below(p, r, b))) return r;
    return binary(p, FY_DIM_MOD, a, b);
}

const fy_dim *fy_dim_pow(fy_dims *p, const fy_dim *a, const fy_dim *b) {
    OPERANDS(p, a, b);
    int64_t k;
    if (fy_dim_known(b, &k) && k == 1) return a;
    if (fy_dim_is(b, 0) || fy_dim_is(a, 1)) return fy_dim_const(p, 1);
    if (fy_dim_known(b, &k) && k > 0 && (k <= 8 || (is_const(a) && k < 64))) {
        const fy_dim *r = a;
        for (int64_t i = 1; i < k && r; i++) r = fy_dim_mul(p, r, a);
        return r;
    }
    return binary(p, FY_DIM_POW, a, b);
}

static const fy_dim *extreme(fy_dims *p, fy_dim_kind kind, const fy_dim *a, const fy_dim *b) {
    OPERANDS(p, a, b);
    if (a == b) return a;
    bool min = kind == FY_DIM_MIN;
    const fy_dim *d = linear(p, a, 1, b, -1, 0);
    if (!d) return NULL;
    if (d->lo >= 0 || (a->lo != NO_LO && a->lo >= b->hi) || nonneg(p, d)) return min ? b : a;
    if (d->hi <= 0 || (b->lo != NO_LO && b->lo >= a->hi) || fy_dim_le(p, a, b)) return min ? a : b;
    if (a->kind == kind && (a->arg[0] == b || a->arg[1] == b)) return a;
    if (b->kind == kind && (b->arg[0] == a || b->arg[1] == a)) return b;
    return a->id < b->id ? binary(p, kind, a, b) : binary(p, kind, b, a);
}

const fy_dim *fy_dim_min(fy_dims *p, const fy_dim *a, const fy_dim *b) { return extreme(p, FY_DIM_MIN, a, b); }
const fy_dim *fy_dim_max(fy_dims *p, const fy_dim *a, const fy_dim *b) { return extreme(p, FY_DIM_MAX, a, b); }

const fy_dim *fy_dim_scale(fy_dims *p, const fy_dim *a, int64_t num, int64_t den) {
    if (!a) return NULL;
    return fy_dim_floordiv(p, fy_dim_muli(p, a, num), fy_dim_const(p, den));
}

/* ---- facts about symbols ------------------------------------------------------------------------------------------- */

static bool is_sym(const fy_dim *d) { return d->kind == FY_DIM_SYM || d->kind == FY_DIM_OPAQUE; }

void fy_dim_bound(fy_dims *p, const fy_dim *sym, int64_t lo, int64_t hi) {
    if (!sym || !is_sym(sym)) return;
    fy_dim *d = p->all.at[sym->id];
    d->lo = lo;
    d->hi = hi;
}

void fy_dim_least(fy_dims *p, const fy_dim *d, int64_t lo) {
    if (d && d->lo < lo && lo <= d->hi) p->all.at[d->id]->lo = lo;
}

void fy_dim_multiple(fy_dims *p, const fy_dim *sym, int64_t of) {
    if (sym && is_sym(sym) && of > 0) p->all.at[sym->id]->mult = of;
}

void fy_dim_give(fy_dims *p, const fy_dim *d) {
    if (d->kind == FY_DIM_SYM) p->all.at[d->id]->given = true;
    for (int i = 0; i < d->nargs; i++) fy_dim_give(p, d->arg[i]);        /* depth <= MAX_DEPTH */
}

bool fy_dim_claim(fy_dims *p, const fy_dim *sym, uint32_t who) {
    if (sym->kind != FY_DIM_SYM || sym->given) return true;
    fy_dim *d = p->all.at[sym->id];
    if (!d->claim) d->claim = who;
    return d->claim == who;
}

static bool occurs(const fy_dim *sym, const fy_dim *d) {
    if (d == sym) return true;
    for (int i = 0; i < d->nargs; i++)
        if (occurs(sym, d->arg[i])) return true;         /* depth <= MAX_DEPTH */
    return false;
}

static bool bind(fy_dims *p, const fy_dim *sym, const fy_dim *to) {
    int64_t v;
    if (fy_dim_known(to, &v) && (v < sym->lo || v > sym->hi || v % sym->mult != 0)) return false;
    if (to->hi < sym->lo || to->lo > sym->hi) return false;
    if (is_sym(to)) {
        fy_dim *t = p->all.at[to->id];
        if (sym->lo > t->lo) t->lo = sym->lo;
        if (sym->hi < t->hi) t->hi = sym->hi;
        if (!t->most && !t->given && sym->most && !occurs(to, sym->most)) t->most = sym->most;
        int64_t m = t->mult / (int64_t)gcd((uint64_t)t->mult, (uint64_t)sym->mult);
        if (fy_mul_i64(&m, m, sym->mult)) t->mult = m;
    }
    p->same.at[sym->id] = to;
    p->nsame++;
    return true;
}

bool fy_dim_equate(fy_dims *p, const fy_dim *a, const fy_dim *b) {
    if (!a || !b || !(a = fy_dim_resolve(p, a)) || !(b = fy_dim_resolve(p, b)) || a == b) return true;
    if (a->hi < b->lo || b->hi < a->lo) return false;
    /* a data-dependent size gives way to anything, a symbol to a constant, the younger of two symbols to the older */
    if (is_sym(b) && (!is_sym(a) || (a->kind == FY_DIM_SYM && b->kind == FY_DIM_OPAQUE) || (a->kind == b->kind && b->id > a->id))) {
        const fy_dim *t = a;
        a = b;
        b = t;
    }
    if (is_sym(a) && !occurs(a, b)) return bind(p, a, b);
    const fy_dim *d = linear(p, a, 1, b, -1, 0);
    if (!d) return true;
    if (is_const(d)) return d->value == 0;
    if (d->lo > 0 || d->hi < 0) return false;
    term t;
    for (int i = 0; i < nterms(d); i++) {                /* solve for a symbol that occurs once, times a divisor of the rest */
        if (!nth_term(&t, d, i) || t.n != 1 || !is_sym(t.atom[0])) continue;
        poly q = { 0 };
        bool ok = true;
        term u;
        for (int j = 0; j < nterms(d) && ok; j++) {
            if (j == i || !nth_term(&u, d, j)) continue;
            ok = t.c != INT64_MIN && u.c != INT64_MIN && u.c % t.c == 0;
            if (ok) { u.c = -(u.c / t.c); poly_add(&q, &u); }
            for (int x = 0; x < u.n && ok; x++) ok = !occurs(t.atom[0], u.atom[x]);
        }
        if (!ok) {
            fy_free(q.t.at);
            if (nterms(d) == 2 && d->nargs == 1 && t.c != INT64_MIN && d->value % t.c != 0) return false;   /* c*s + k = 0 without a solution */
            continue;
        }
        const fy_dim *to = poly_dim(p, &q);
        return !to || bind(p, t.atom[0], to);
    }
    return true;
}

static const fy_dim *replaced(void *ctx, const fy_dim *sym) { return ((fy_dims *)ctx)->same.at[sym->id]; }

/* A symbol's replacement may hold symbols that were replaced later; each round follows one link. */
const fy_dim *fy_dim_resolve(fy_dims *p, const fy_dim *d) {
    if (!d || !p->nsame || is_const(d)) return d;
    if (p->epoch.at[d->id] == p->nsame) return p->resolved.at[d->id];
    const fy_dim *r = d, *was;
    int64_t n = p->nsame;
    p->nsame = 0;                                        /* constructors below must not resolve again */
    int64_t round = 0;
    do {
        was = r;
        r = fy_dim_subst(p, r, replaced, p);
    } while (r && r != was && ++round <= n);
    p->nsame = n;
    if (r) {
        p->epoch.at[d->id] = n;
        p->resolved.at[d->id] = r;
    }
    return r;
}
