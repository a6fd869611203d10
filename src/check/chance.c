/* SPDX-License-Identifier: Apache-2.0
 * chance.c - the law of an output, read off the graph, and the test of draws against it.
 *
 * Laws known, through Identity and Cast: Bernoulli(p); a comparison of RandomUniform on [0, 1) with p, as the function body of Bernoulli
 * writes it; RandomUniform and RandomNormal (and Like); Multinomial; Dropout and its mask. Their parameters must be graph inputs or constants.
 *
 * Tests, two-sided, with bounds that hold for every number of trials n: a frequency q of an event of probability p has
 * P(as far off) <= 2 exp(-n KL(q || p)) (Chernoff); an empirical distribution function of n numbers lies further than d from the true one
 * with P <= 2 exp(-2 n d^2) (Dvoretzky, Kiefer, Wolfowitz; Massart 1990). The alarm rate is shared out among all comparisons (Bonferroni). */
#include "check/chance.h"

#include "base/checked.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- which nodes draw ---------------------------------------------------------------------------------------------- */

static bool is(const fy_node *n, const char *op) { return n && !*n->op->domain && strcmp(n->op->name, op) == 0; }

static bool free_draw(const fy_node *n) {
    if (!(n->op->flags & FY_RANDOM)) return false;
    if (!is(n, "Dropout")) return true;
    const fy_value *t = fy_in(n, 2);
    int64_t v;
    bool off = !t || (t->constant && !t->is_input && t->constant->count == 1 && fy_const_i64(t->constant, 0, &v) && !v);
    return !off && !fy_attr_get(n, "seed");
}

bool fy_chance_has(const fy_graph *g) {
    for (const fy_graph *at = g; at; at = fy_graph_next(NULL, at))
        for (const fy_node *n = at->first; n; n = n->next)
            if (free_draw(n)) return true;
    return false;
}

fy_status fy_chance_reseed(fy_model *m, int64_t trial, ferry_error *e) {
    uint32_t at = 0;
    if (trial <= 0) return FY_OK;
    for (int64_t i = 0; i < m->graphs.n; i++)
        for (fy_node *n = m->graphs.at[i]->first; n; n = n->next) {
            if (!(n->op->flags & FY_RANDOM)) continue;
            uint64_t z = (uint64_t)trial * 0x9E3779B97F4A7C15u + ++at;                   /* splitmix64's finish; 24 bits are exact in f32 */
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
            int64_t seed = (int64_t)((z ^ (z >> 31)) >> 40);
            fy_attr a = is(n, "Dropout") ? fy_int("seed", seed) : fy_float("seed", (double)seed);
            FY_NOMEM(e, fy_node_set_attr(n, &a));
        }
    return FY_OK;
}

fy_status fy_chance_run_ref(void *ctx, int64_t trial, fy_rval *out, ferry_error *e) {
    const fy_chance_ref *r = ctx;
    fy_interp it = {.pool = r->pool};
    FY_TRY(fy_chance_reseed(r->m, trial, e));
    return fy_interp_run(&it, r->m->graph, r->in, out, e);
}

/* ---- the law of an output ------------------------------------------------------------------------------------------ */

enum { EVENT, UNIFORM, NORMAL, CLASSES, DROPPED };
typedef struct law {
    int       kind;
    double    a, b;                      /* UNIFORM: bounds; NORMAL: mean, deviation; DROPPED: probability to stay, factor */
    fy_dtype  dtype, inner;              /* of the output; of the narrowest tensor on the way */
    int64_t   n, classes, each;          /* elements of the output; CLASSES: draws for each row */
    double   *p;                         /* EVENT: probability for each element; CLASSES: [rows, classes]; DROPPED: x */
    int64_t  *hits;                      /* as p */
    double   *sample;                    /* UNIFORM, NORMAL: values of the distribution function, nsample of room */
    int64_t   nsample, room;
} law;
#define ROOM 65536

static const fy_value *strip(const fy_value *v, fy_dtype *inner) {
    while (v) {
        if (v->type.kind == FY_TENSOR && v->type.dtype && fy_dtype_bits(v->type.dtype) < fy_dtype_bits(*inner)) *inner = v->type.dtype;
        if (!is(v->def, "Identity") && !is(v->def, "Cast")) break;
        v = fy_in(v->def, 0);
    }
    return v;
}

/* A parameter as doubles in the arena. */
static fy_status param(fy_arena *a, const fy_model *m, fy_rval *const *in, const fy_value *v, fy_tensor *shape, double **x, ferry_error *e) {
    fy_dtype any = FERRY_DOUBLE;
    fy_tensor t = {0};
    v = strip(v, &any);
    *x = NULL;
    for (int64_t i = 0; v && i < m->graph->in.n; i++)
        if (m->graph->in.at[i] == v && in[i] && in[i]->kind == FY_TENSOR) t = fy_tensor_ref(&in[i]->t);
    if (!t.dtype && v && v->constant) FY_TRY(fy_const_tensor(&t, v->constant, e));
    FY_NEED(e, t.dtype && fy_dtype_class(t.dtype) != FY_CLASS_S, UNSUPPORTED, "a parameter of the distribution is neither a graph input nor a constant");
    *x = FY_NEWN(a, double, fy_count(&t) + 1);
    if (*x && fy_count(&t)) fy_load_f64(*x, &t, 0, fy_count(&t));
    *shape = t;
    shape->own = NULL;
    shape->data = NULL;
    fy_tensor_free(&t);
    FY_NOMEM(e, *x);
    return FY_OK;
}

static bool unit_uniform(const fy_value *v) {
    fy_dtype any = FERRY_DOUBLE;
    v = strip(v, &any);
    const fy_node *n = v ? v->def : NULL;
    return (is(n, "RandomUniform") || is(n, "RandomUniformLike")) && fy_attr_f(n, "low") == 0 && fy_attr_f(n, "high") == 1;
}

static fy_status law_of(law *w, fy_arena *a, const fy_model *m, fy_rval *const *in, int64_t k, ferry_error *e) {
    const fy_value *out = m->graph->out.at[k], *v;
    fy_tensor s;
    *w = (law){.dtype = out->type.dtype, .inner = FERRY_DOUBLE, .a = 1};
    v = strip(out, &w->inner);
    const fy_node *n = v ? v->def : NULL;
    bool less = is(n, "Less") || is(n, "LessOrEqual"), greater = is(n, "Greater") || is(n, "GreaterOrEqual"), first = n && unit_uniform(fy_in(n, 0));
    if (is(n, "Bernoulli") || ((less || greater) && (first || unit_uniform(fy_in(n, 1))))) {
        FY_TRY(param(a, m, in, fy_in(n, first && (less || greater) ? 1 : 0), &s, &w->p, e));
        w->n = fy_count(&s);
        for (int64_t i = 0; i < w->n && (less || greater) && first == greater; i++) w->p[i] = 1 - w->p[i];
        for (int64_t i = 0; i < w->n; i++) w->p[i] = w->p[i] < 0 ? 0 : w->p[i] > 1 ? 1 : w->p[i];
    } else if (is(n, "Dropout")) {
        double *ratio, *on;
        FY_TRY(param(a, m, in, fy_in(n, 0), &s, &w->p, e));
        w->n = fy_count(&s);
        w->a = 0.5;
        if (fy_in(n, 1)) {
            FY_TRY(param(a, m, in, fy_in(n, 1), &s, &ratio, e));
            w->a = 1 - ratio[0];
        }
        if (fy_in(n, 2)) FY_TRY(param(a, m, in, fy_in(n, 2), &s, &on, e));
        if (!fy_in(n, 2) || on[0] == 0) w->a = 1;
        w->b = 1 / w->a;
        w->kind = v == fy_outv(n, 1) ? EVENT : DROPPED;
        for (int64_t i = 0; i < w->n && w->kind == EVENT; i++) w->p[i] = w->a;
    } else if (is(n, "Multinomial")) {
        FY_TRY(param(a, m, in, fy_in(n, 0), &s, &w->p, e));
        FY_NEED(e, s.rank == 2 && s.dim[1] > 0, SHAPE, "Multinomial draws from a tensor of rank %d", s.rank);
        w->kind = CLASSES;
        w->classes = s.dim[1];
        w->each = fy_attr_i(n, "sample_size");
        FY_NEED(e, w->each > 0 && fy_mul_i64(&w->n, s.dim[0], w->each), ATTR, "sample_size is %lld", (long long)w->each);
        for (int64_t r = 0; r < s.dim[0]; r++) {
            double sum = 0, top = -HUGE_VAL, *row = w->p + r * w->classes;
            for (int64_t i = 0; i < w->classes; i++) top = fmax(top, row[i]);
            for (int64_t i = 0; i < w->classes; i++) sum += row[i] = exp(row[i] - top);
            for (int64_t i = 0; i < w->classes; i++) row[i] /= sum;
        }
    } else if (is(n, "RandomUniform") || is(n, "RandomUniformLike")) {
        w->kind = UNIFORM;
        w->a = fy_attr_f(n, "low");
        w->b = fy_attr_f(n, "high");
    } else if (is(n, "RandomNormal") || is(n, "RandomNormalLike")) {
        w->kind = NORMAL;
        w->a = fy_attr_f(n, "mean");
        w->b = fy_attr_f(n, "scale");
    } else return fy_fail(e, FY_E_UNSUPPORTED, "the distribution of output %lld is not known", (long long)k);
    if (w->kind == UNIFORM || w->kind == NORMAL) FY_NOMEM(e, w->sample = FY_NEWN(a, double, w->room = ROOM));
    else FY_NOMEM(e, w->hits = FY_NEWN(a, int64_t, (w->kind == CLASSES ? fy_count(&s) : w->n) + 1));
    return FY_OK;
}

/* ---- draws --------------------------------------------------------------------------------------------------------- */

typedef struct verdict { char *why; size_t n; int64_t output; bool good; } verdict;

static void wrong(verdict *v, const char *fmt, ...) FY_PRINTF(2, 3);
static void wrong(verdict *v, const char *fmt, ...) {
    char text[200];
    va_list ap;
    if (!v->good) return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    v->good = false;
    snprintf(v->why, v->n, "output %lld: %s", (long long)v->output, text);
}

/* Relative step of a float dtype; 0 for others. */
static double step(fy_dtype t) {
    return t == FERRY_FLOAT16 ? 0x1p-10 : t == FERRY_BFLOAT16 ? 0x1p-7 : t == FERRY_FLOAT ? 0x1p-22 : t == FERRY_DOUBLE ? 0x1p-50 : fy_dtype_float(t) ? 0.25 : 0;
}

static void collect(law *w, const fy_tensor *t, verdict *v) {
    int64_t n = fy_count(t);
    double tiny = step(w->inner);
    if (w->kind != UNIFORM && w->kind != NORMAL && n != w->n) wrong(v, "%lld elements where %lld are drawn", (long long)n, (long long)w->n);
    for (int64_t i = 0; i < n && v->good; i++) {
        double x = fy_get_f64(t, i);
        switch (w->kind) {
        case EVENT:
            if (x != 0 && x != 1) wrong(v, "element %lld is %g, neither 0 nor 1", (long long)i, x);
            w->hits[i] += x == 1;
            break;
        case CLASSES:
            if (x != floor(x) || x < 0 || x >= (double)w->classes) wrong(v, "element %lld is %g, not one of %lld classes", (long long)i, x, (long long)w->classes);
            else w->hits[i / w->each * w->classes + (int64_t)x]++;
            break;
        case DROPPED: {
            double stays = w->p[i] * w->b;
            bool kept = fabs(x - stays) <= 4 * tiny * fabs(stays) + 1e-30;
            if (!kept && x != 0) wrong(v, "element %lld is %g, neither 0 nor %g", (long long)i, x, stays);
            w->hits[i] += kept;
            break;
        }
        default: {
            double spread = fabs(w->a) + fabs(w->b), u;
            if (w->kind == UNIFORM) {
                double lo = fmin(w->a, w->b), hi = fmax(w->a, w->b);
                if (!(x >= lo - tiny * spread && x <= hi + tiny * spread)) wrong(v, "element %lld is %g, outside [%g, %g]", (long long)i, x, lo, hi);
                u = w->b == w->a ? (double)NAN : (x - w->a) / (w->b - w->a);
            } else {
                if (w->b == 0 && fabs(x - w->a) > tiny * spread) wrong(v, "element %lld is %g, not the mean %g", (long long)i, x, w->a);
                if (x != x) wrong(v, "element %lld is not a number", (long long)i);
                u = w->b == 0 ? (double)NAN : 0.5 * erfc((w->a - x) / (w->b * 1.4142135623730951));
            }
            if (u == u && w->nsample < w->room) w->sample[w->nsample++] = u;
        }
        }
    }
}

static double divergence(double q, double p) {
    if ((p <= 0 && q > 0) || (p >= 1 && q < 1)) return HUGE_VAL;
    return (q > 0 ? q * log(q / p) : 0) + (q < 1 ? (1 - q) * log((1 - q) / (1 - p)) : 0);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void frequency(verdict *v, int64_t i, int64_t hits, int64_t n, double p, double alarm) {
    if (2 * exp(-(double)n * divergence((double)hits / (double)n, p)) < alarm)
        wrong(v, "element %lld: %lld of %lld draws where each has the probability %.6g", (long long)i, (long long)hits, (long long)n, p);
}

static void weigh(law *w, verdict *v, double alarm) {
    if (w->kind == EVENT || w->kind == DROPPED)
        for (int64_t i = 0; i < w->n; i++) {
            if (w->kind == DROPPED && w->p[i] == 0) continue;                    /* dropped or not, it is 0 */
            frequency(v, i, w->hits[i], FY_CHANCE_TRIALS, w->kind == EVENT ? w->p[i] : w->a, alarm / (double)w->n);
        }
    else if (w->kind == CLASSES)
        for (int64_t i = 0, all = w->n / w->each * w->classes; i < all; i++)
            frequency(v, i, w->hits[i], FY_CHANCE_TRIALS * w->each, w->p[i], alarm / (double)all);
    else {
        double far = 0, n = (double)w->nsample;
        if (!w->nsample) return;
        qsort(w->sample, (size_t)w->nsample, sizeof *w->sample, by_value);
        for (int64_t i = 0; i < w->nsample; i++) far = fmax(far, fmax((double)(i + 1) / n - w->sample[i], w->sample[i] - (double)i / n));
        far -= step(w->inner) * (w->kind == NORMAL ? 1 : 1 + (fabs(w->a) + fabs(w->b)) / fabs(w->b - w->a));      /* values are rounded */
        if (far > 0 && 2 * exp(-2 * n * far * far) < alarm) wrong(v, "%lld draws: their distribution function is %.4g off", (long long)w->nsample, far);
    }
}

fy_status fy_chance_judge(bool *good, char *why, size_t n, const fy_model *m, fy_rval *const *in, const fy_rval *want, fy_chance_run *run, void *ctx,
        ferry_error *e) {
    int64_t nout = m->graph->out.n;
    verdict v = {why, n, 0, true};
    fy_arena a = {0};
    fy_status s = FY_OK;
    *good = false;
    if (n) *why = 0;
    law *laws = FY_NEWN(&a, law, nout + 1);
    fy_rval *out = FY_NEWN(&a, fy_rval, nout + 1);
    if (!laws || !out) s = fy_nomem(e);
    for (int64_t k = 0; s == FY_OK && k < nout; k++) s = law_of(&laws[k], &a, m, in, k, e);
    for (int64_t trial = 0; s == FY_OK && v.good && trial < FY_CHANCE_TRIALS; trial++) {
        memset(out, 0, (size_t)nout * sizeof *out);
        s = run(ctx, trial, out, e);
        for (int64_t k = 0; s == FY_OK && k < nout; k++) {
            v.output = k;
            bool shape = out[k].kind == FY_TENSOR && (!laws[k].dtype || out[k].t.dtype == laws[k].dtype);
            if (shape && want) shape = want[k].kind == FY_TENSOR && want[k].t.dtype == out[k].t.dtype && fy_same_dims(&want[k].t, &out[k].t);
            if (!shape) wrong(&v, "another dtype or shape than the model says");
            else collect(&laws[k], &out[k].t, &v);
        }
        for (int64_t k = 0; k < nout; k++) fy_rval_free(&out[k]);
    }
    for (int64_t k = 0; s == FY_OK && v.good && k < nout; k++) {
        v.output = k;
        weigh(&laws[k], &v, FY_CHANCE_ALARM / (double)nout);
    }
    fy_arena_free(&a);
    *good = s == FY_OK && v.good;
    return s;
}
