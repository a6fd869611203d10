/* SPDX-License-Identifier: Apache-2.0
 * bounds.c - what the symbols in sizes stand for: a hash table by the symbol's address. */
#include "plan/plan.h"

#include "base/checked.h"

#include <string.h>

static size_t place_of(const fy_bounds *b, const fy_dim *sym) {
    size_t i = (size_t)((((uint64_t)(uintptr_t)sym >> 4) * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & (b->cap - 1);
    while (b->at[i].sym && b->at[i].sym != sym) i = (i + 1) & (b->cap - 1);
    return i;
}

bool fy_bounds_get(void *ctx, const fy_dim *sym, int64_t *v) {
    const fy_bounds *b = ctx;
    if (!b->n) return false;
    const fy_bound *x = &b->at[place_of(b, sym)];
    *v = x->v;
    return x->sym != NULL;
}

bool fy_bounds_put(fy_bounds *b, const fy_dim *sym, int64_t v) {
    if (2 * b->n >= b->cap) {
        fy_bounds more = {.cap = b->cap ? 2 * b->cap : 16};
        if (!(more.at = fy_calloc(more.cap, sizeof *more.at))) return false;
        for (size_t i = 0; i < b->cap; i++)
            if (b->at[i].sym) more.at[place_of(&more, b->at[i].sym)] = b->at[i];
        more.n = b->n;
        fy_free(b->at);
        *b = more;
    }
    fy_bound *x = &b->at[place_of(b, sym)];
    b->n += !x->sym;
    *x = (fy_bound){sym, v};
    return true;
}

bool fy_bounds_set(fy_bounds *b, const fy_bounds *from) {
    if (b->n) memset(b->at, 0, b->cap * sizeof *b->at);
    b->n = 0;
    for (size_t i = 0; i < from->cap; i++)
        if (from->at[i].sym && !fy_bounds_put(b, from->at[i].sym, from->at[i].v)) return false;
    return true;
}

void fy_bounds_free(fy_bounds *b) {
    fy_free(b->at);
    *b = (fy_bounds){0};
}

/* With one symbol on trial: the first that has no value yet. */
typedef struct trial { fy_bounds *b; const fy_dim *sym; int64_t v; bool many; } trial;

static bool try_value(void *ctx, const fy_dim *sym, int64_t *v) {
    trial *t = ctx;
    if (fy_bounds_get(t->b, sym, v)) return true;
    if (!t->sym) t->sym = sym;
    if (t->sym != sym || sym->varies) t->many = true;
    *v = t->v;
    return !t->many;
}

/* A linear expression of one unknown symbol, as 2 * seq + 1, tells that symbol. */
bool fy_bounds_solve(fy_bounds *b, const fy_dim *d, int64_t size, bool *fits) {
    trial t = {.b = b};
    int64_t at0, at1, slope, x;
    bool one = fy_dim_eval(d, try_value, &t, &at0);
    *fits = !one || t.sym || at0 == size;
    if (!one || !t.sym) return true;
    t.v = 1;
    if (!fy_dim_eval(d, try_value, &t, &at1) || !fy_sub_i64(&slope, at1, at0) || !slope || !fy_sub_i64(&x, size, at0) || x % slope) return true;
    t.v = x / slope;
    if (!fy_dim_eval(d, try_value, &t, &x) || x != size) return true;
    return fy_bounds_put(b, t.sym, t.v);
}
