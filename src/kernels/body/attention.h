/* SPDX-License-Identifier: Apache-2.0
 * attention.h - what attention does between its two products, and the second product where rows are few (body, compiled once for each
 * instruction set).
 *
 * attention_row: s = e^(x - max), x = mask(cap tanh(scale s / cap)), where only keys [lo, hi) are looked at; the sum is given back and the
 * division left to the d results. Source: Vaswani et al., "Attention Is All You Need", 2017; the softmax is exact, over whole rows. */

#ifndef FV_LOOKUP
#define fv_exp_score fv_exp_below
#endif

/* What a row becomes before the exponential. `left` lanes are there. `plain`: at most values of a mask are added, one for each key. */
FY_INLINE fv attention_score(const fy_attention_row *r, fv x, int64_t at, int left, const bool plain) {
    x = fv_mul(x, fv_set1(r->scale));
    if (!plain && r->cap != 0) x = fv_mul(fv_set1(r->cap), fv_tanh(fv_div(x, fv_set1(r->cap))));
    if (r->add) x = fv_add(x, plain || r->wide ? (left == 16 ? fv_load(r->add + at) : fv_load_n(r->add + at, left)) : fv_set1(*r->add));
    if (!plain && r->keep) {
        unsigned char last[16] = {0};
        const unsigned char *keep = r->keep + at;
        if (!r->wide) __builtin_memset(last, *r->keep, 16);
        else if (left < 16) __builtin_memcpy(last, keep, (size_t)left);
        x = fv_select(mv_bytes(r->wide && left == 16 ? keep : last), x, fv_set1(r->fill));
    }
    return x;
}

/* All of a row, and its largest; a NaN may be passed over: its own exponential makes the sum NaN. */
FY_INLINE float attention_scores(float *s, const fy_attention_row *r, const bool plain) {
    fv m = fv_set1(-__builtin_inff());
    float last[16];
    int64_t i = r->lo;
    fv_store(last, m);
    for (; i + 16 <= r->hi; i += 16) {
        fv x = attention_score(r, fv_load(s + i), i, 16, plain);
        fv_store(s + i, x);
        m = fv_max(x, m);
    }
    if (i < r->hi) {
        int left = (int)(r->hi - i);
        fv_store_n(s + i, attention_score(r, fv_load_n(s + i, left), i, left, plain), left);
        for (int k = 0; k < left; k++) last[k] = s[i + k];
        m = fv_max(fv_load(last), m);
    }
    return fv_hmax(m);
}

static float attention_row(float *s, const fy_attention_row *r) {
    for (int64_t k = 0; k < r->lo; k++) s[k] = 0;
    for (int64_t k = r->hi; k < r->n; k++) s[k] = 0;
    const bool plain = GEMM_MR > 1 && r->cap == 0 && !r->keep && (!r->add || r->wide);       /* generic C has one loop for all */
    float top = plain ? attention_scores(s, r, true) : attention_scores(s, r, false);
    if (top == -__builtin_inff()) {                          /* nothing to look at, or NaN alone */
        bool nan = r->empty_nan;
        for (int64_t k = r->lo; k < r->hi; k++) nan |= s[k] != s[k];
        for (int64_t k = 0; k < r->n; k++) s[k] = nan ? __builtin_nanf("") : 0.0f;
        return 1.0f;
    }
    fv m = fv_set1(top), sum = fv_zero();
    int64_t i = r->lo;
    for (; i + 16 <= r->hi; i += 16) {
        fv x = fv_exp_score(fv_sub(fv_load(s + i), m));
        sum = fv_add(sum, x);
        fv_store(s + i, x);
    }
    if (i < r->hi) {
        int left = (int)(r->hi - i);
        fv_store_n(s + i, fv_exp_score(fv_sub(fv_load_n(s + i, left), m)), left);
        sum = fv_add(sum, fv_load_n(s + i, left));
    }
    return fv_sum(sum);
}

/* y[d] = sum over j of p[j] v[j, d], in the order of the blocked product: for rows so few that packing v would cost more. */
static void attention_sum(float *y, const float *p, const float *v, int64_t n, int64_t row, int64_t d) {
    int64_t at = 0;
    for (; at + 64 <= d; at += 64) {
        fv a = fv_zero(), b = a, c = a, e = a;
        const float *x = v + at;
        for (int64_t j = 0; j < n; j++, x += row) {
            fv w = fv_set1(p[j]);
            a = fv_fma(w, fv_load(x), a);
            b = fv_fma(w, fv_load(x + 16), b);
            c = fv_fma(w, fv_load(x + 32), c);
            e = fv_fma(w, fv_load(x + 48), e);
        }
        fv_store(y + at, a);
        fv_store(y + at + 16, b);
        fv_store(y + at + 32, c);
        fv_store(y + at + 48, e);
    }
    for (; at < d; at += 16) {
        int left = d - at < 16 ? (int)(d - at) : 16;
        fv a = fv_zero();
        const float *x = v + at;
        for (int64_t j = 0; j < n; j++, x += row) a = fv_fma(fv_set1(p[j]), left == 16 ? fv_load(x) : fv_load_n(x, left), a);
        if (left == 16) fv_store(y + at, a);
        else fv_store_n(y + at, a, left);
    }
}
