/* SPDX-License-Identifier: Apache-2.0
 * judge.c - the rules by which one output is right or wrong, and the report that collects them.
 *
 * Shape, dtype, NaN and infinity must agree. f32 and f64: max abs error at most the tolerance, as it stands. f16 and bf16: the
 * tolerance, or 8 ulp of the largest magnitude of the output when that is more, since neither side can do better. Integers and
 * bools: equal, but for positions (argmax, topk, sort) whose ranked values tie within the tolerance. */
#include "verify/internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static char *copy_text(const char *s) {
    size_t n = strlen(s) + 1;
    char  *r = fy_malloc(n, 1);
    if (r) memcpy(r, s, n);
    return r;
}

static double tolerance_of(const fy_verify_options *o, const char *name) {
    for (int i = 0; i < o->ntol; i++)
        if (!strcmp(o->tol_name[i], name)) return o->tol[i];
    return o->tolerance > 0 ? o->tolerance : 1e-4;
}

static double largest(const fy_tensor *t) {
    double m = 0;
    for (int64_t i = 0, n = fy_count(t); i < n; i++) {
        double x = fabs(fy_get_f64(t, i));
        if (isfinite(x) && x > m) m = x;
    }
    return m;
}

/* Element of the ranked values that position `index` of result element i points to; NaN if outside. */
static double ranked_at(const fy_expect *w, int64_t i, int64_t index) {
    const fy_tensor *x = w->ranked, *t = &w->t;
    int64_t          at[FY_MAX_RANK], flat = 0;
    if (w->axis < 0) return index >= 0 && index < fy_count(x) ? fy_get_f64(x, index) : (double)NAN;
    bool kept = t->rank == x->rank;                          /* the axis may be kept (topk, sort, keepdim) or dropped */
    if (!kept && t->rank + 1 != x->rank) return (double)NAN;
    for (int d = t->rank - 1; d >= 0; d--) { at[d] = i % t->dim[d]; i /= t->dim[d]; }
    for (int d = 0, k = 0; d < x->rank; d++) {
        int64_t p = d == w->axis ? index : at[kept ? d : k];
        if (d != w->axis) k++;
        if (p < 0 || p >= x->dim[d]) return (double)NAN;
        flat = flat * x->dim[d] + p;
    }
    return fy_get_f64(x, flat);
}

/* How many differing positions are ties; -1 if one is not. */
static int64_t count_ties(const fy_expect *w, const fy_tensor *got, double tol) {
    int64_t ties = 0;
    for (int64_t i = 0, n = fy_count(got); i < n; i++) {
        int64_t a = fy_get_i64(got, i), b = fy_get_i64(&w->t, i);
        if (a == b) continue;
        if (!(fabs(ranked_at(w, i, a) - ranked_at(w, i, b)) <= tol)) return -1;
        ties++;
    }
    return ties;
}

static void explain_shape(char *why, size_t n, const fy_tensor *got, const fy_tensor *want) {
    fy_buf a = {0}, b = {0};
    fy_tensor_print(&a, got, 0);
    fy_tensor_print(&b, want, 0);
    snprintf(why, n, "shape %s, the reference has %s", a.oom || !a.at ? "?" : a.at, b.oom || !b.at ? "?" : b.at);
    fy_buf_free(&a);
    fy_buf_free(&b);
}

fy_status fy_verify_judge(fy_verify_output *r, const fy_tensor *got, const fy_expect *want, const fy_verify_options *o, ferry_error *e) {
    char     why[300] = "";
    double   tol = tolerance_of(o, want->name);
    fy_dtype dtype = want->dtype ? want->dtype : got->dtype;
    *r = (fy_verify_output){.dtype = got->dtype, .tolerance = tol};
    fy_compare(&r->diff, got, &want->t, true);
    fy_diff *d = &r->diff;
    if (got->dtype != dtype) d->dtype_differs = true;
    if (dtype == FERRY_FLOAT16 || dtype == FERRY_BFLOAT16) {
        double eps = dtype == FERRY_FLOAT16 ? 0x1p-10 : 0x1p-7, bound = 8 * eps * largest(&want->t);
        r->tolerance = tol = bound > tol ? bound : tol;
    }
    r->range_ok = d->ref_range > 0 && d->max_abs / d->ref_range < tol;
    bool floats = fy_dtype_class(want->t.dtype) == FY_CLASS_F;
    if (d->shape_differs) explain_shape(why, sizeof why, got, &want->t);
    else if (d->dtype_differs) snprintf(why, sizeof why, "dtype %s, the reference has %s", fy_dtype_name(got->dtype), fy_dtype_name(dtype));
    else if (d->nan_differs) snprintf(why, sizeof why, "NaN on one side only in %lld of %lld elements", (long long)d->nan_differs, (long long)d->count);
    else if (d->inf_differs) snprintf(why, sizeof why, "infinity on one side only in %lld of %lld elements", (long long)d->inf_differs, (long long)d->count);
    else if (floats && !(d->max_abs <= tol)) {
        if (!r->range_ok) snprintf(why, sizeof why, "max abs error %.3g at element %lld: %.9g, the reference has %.9g", d->max_abs, (long long)d->worst, d->worst_got, d->worst_ref);
        else if (!o->relative_to_range)
            snprintf(why, sizeof why, "max abs error %.3g; relative to the range of the output, %.3g, it is %.2g, which --relative-to-range accepts", d->max_abs, d->ref_range,
                     d->max_abs / d->ref_range);
    } else if (!floats && d->differing) {
        r->ties = want->ranked ? count_ties(want, got, tol) : -1;
        if (r->ties < 0) {
            r->ties = 0;
            snprintf(why, sizeof why, "%lld of %lld elements differ, the first worst at %lld: %.17g, the reference has %.17g", (long long)d->differing, (long long)d->count,
                     (long long)d->worst, d->worst_got, d->worst_ref);
        }
    }
    r->ok = !*why;
    r->name = copy_text(want->name);
    r->why = copy_text(why);
    FY_NOMEM(e, r->name && r->why);
    return FY_OK;
}

/* ---- the report ------------------------------------------------------------------------------------------------------ */

fy_status fy_verify_add_case(fy_verify_report *r, const char *label, int nout, fy_verify_case **c, ferry_error *e) {
    int64_t cap = r->cap;
    FY_NOMEM(e, fy_vec_grow((void **)&r->cases, &cap, r->ncases + 1, sizeof *r->cases));
    r->cap = (int)cap;
    *c = &r->cases[r->ncases];
    **c = (fy_verify_case){.label = copy_text(label), .out = fy_calloc((size_t)nout + 1, sizeof(fy_verify_output))};
    r->ncases++;
    FY_NOMEM(e, (*c)->label && (*c)->out);
    return FY_OK;
}

void fy_verify_drop_case(fy_verify_report *r) {
    fy_verify_case *c = &r->cases[--r->ncases];
    for (int k = 0; k < c->nout; k++) {
        fy_free(c->out[k].name);
        fy_free(c->out[k].why);
    }
    fy_free(c->label);
    fy_free(c->out);
}

/* "batch 1, 3; seq 7, 12" from n sets of sizes. */
fy_status fy_verify_note_sizes(fy_verify_report *r, fy_buf *b, const fy_sizes *all, int64_t n, ferry_error *e) {
    for (int64_t i = 0; n && i < all[0].n; i++) {
        fy_buf_fmt(b, "%s%s ", i ? "; " : "", all[0].at[i].name);
        for (int64_t k = 0; k < n; k++) {
            bool seen = i >= all[k].n;
            for (int64_t j = 0; j < k && !seen; j++) seen = i < all[j].n && all[j].at[i].v == all[k].at[i].v;
            if (!seen) fy_buf_fmt(b, "%s%lld", k ? ", " : "", (long long)all[k].at[i].v);
        }
    }
    fy_free(r->sizes);
    r->sizes = b->oom ? NULL : copy_text(b->at && b->n ? b->at : "the sample's sizes");
    FY_NOMEM(e, r->sizes);
    return FY_OK;
}

void fy_verify_finish(fy_verify_report *r) {
    bool ok = true;
    r->worst_abs = 0;
    r->worst_tolerance = r->tolerance;
    for (int i = 0; i < r->ncases; i++)
        for (int k = 0; k < r->cases[i].nout; k++) {
            const fy_verify_output *o = &r->cases[i].out[k];
            ok = ok && o->ok;
            if (!fy_dtype_float(o->dtype) || o->diff.shape_differs || !(o->diff.max_abs > r->worst_abs)) continue;
            r->worst_abs = o->diff.max_abs;
            r->worst_tolerance = o->tolerance;
        }
    r->verdict = !ok ? FY_VERDICT_FAIL : (r->unverified && *r->unverified) || !r->ncases ? FY_VERDICT_UNVERIFIED : FY_VERDICT_PASS;
}

void fy_verify_report_free(fy_verify_report *r) {
    while (r->ncases) fy_verify_drop_case(r);
    fy_free(r->cases);
    fy_free(r->engine);
    fy_free(r->reference);
    fy_free(r->unverified);
    fy_free(r->first_node);
    fy_free(r->sizes);
    *r = (fy_verify_report){0};
}

/* ---- the model under test ------------------------------------------------------------------------------------------------ */

fy_status fy_runner_open(fy_runner *r, const fy_engine *engine, const fy_model *m, const char *path, const fy_verify_options *v, bool bf16, ferry_error *e) {
    fy_engine_options o = {.threads = v->threads, .path = path, .cache = v->cache, .bf16 = bf16};
    char              why[256];
    *r = (fy_runner){.engine = engine ? engine : fy_engine_judge()};
    FY_NEED(e, r->engine, ENGINE, "there is no engine");
    const char *missing = r->engine->missing ? r->engine->missing(why, sizeof why) : NULL;
    FY_NEED(e, !missing, ENGINE, "%s: %.300s", r->engine->name, missing);
    fy_status s = r->engine->compile(&r->compiled, m, &o, e);
    if (s != FY_OK) fy_runner_close(r);
    return s;
}

fy_status fy_runner_run(const fy_runner *r, fy_rval *const *in, fy_rval *out, ferry_error *e) {
    fy_session *session = NULL;
    if (r->session) return r->engine->run(r->session, in, out, e);
    FY_TRY(r->engine->session(&session, r->compiled, e));
    fy_status s = r->engine->run(session, in, out, e);
    r->engine->session_free(session);
    return s;
}

fy_status fy_runner_start(fy_runner *r, ferry_error *e) {
    fy_runner_stop(r);
    return r->engine->session(&r->session, r->compiled, e);
}

void fy_runner_stop(fy_runner *r) {
    if (r->session) r->engine->session_free(r->session);
    r->session = NULL;
}

void fy_runner_close(fy_runner *r) {
    fy_runner_stop(r);
    if (r->compiled) r->engine->compiled_free(r->compiled);
    *r = (fy_runner){0};
}

/* ---- sizes --------------------------------------------------------------------------------------------------------------------- */

int64_t fy_sizes_find(const fy_sizes *s, const char *name) {
    for (int64_t i = 0; i < s->n; i++)
        if (name && !strcmp(s->at[i].name, name)) return i;
    return -1;
}

bool fy_sizes_value(void *sizes, const fy_dim *sym, int64_t *v) {
    const fy_sizes *s = sizes;
    int64_t         i = fy_sizes_find(s, sym->name);
    if (i < 0) return false;
    *v = s->at[i].v;
    return true;
}

/* The n-th candidate for a symbol: small primes and one, then neighbours and multiples of the sample's size. Where that is a picture's or a text's, about half
 * of it first: on a few pixels a model is asked for what it was not made for. */
static bool candidate(const fy_size *s, int n, int64_t *v) {
    const int64_t half = s->sample < 64 ? 0 : s->sample / 2;
    const int64_t list[] = {half + 3, half + 1, half + 5, 3, 1, 5, 7, 2, s->sample + 1, s->sample - 1, 2 * s->sample, s->sample / 2, s->sample + 2, 4 * s->sample, 11, 13, s->sample + 16, s->sample + 32};
    int           k = 0;
    for (int i = 0; i < FY_COUNT(list); i++) {
        bool repeated = list[i] == s->sample || list[i] < 1 || list[i] < s->lo || list[i] > s->hi || list[i] > 1 << 14;
        for (int j = 0; j < i && !repeated; j++) repeated = list[j] == list[i];
        if (repeated) continue;
        if (k++ == n) { *v = list[i]; return true; }
    }
    return false;
}

bool fy_sizes_next(fy_sizes *s, int k) {
    bool changed = false;
    if (!s->n) return false;
    for (int64_t i = 0; i < s->n; i++) s->at[i].v = s->at[i].sample;
    if (k < 8) {                                             /* all at once, each with another number */
        for (int64_t i = 0; i < s->n; i++) changed = candidate(&s->at[i], k + (int)(i % 3), &s->at[i].v) || changed;
        return changed || s->n > 1;
    }
    int64_t one = (k - 8) % s->n;                            /* then one at a time */
    return s->n > 1 && k < 8 + 4 * s->n && candidate(&s->at[one], (int)((k - 8) / s->n), &s->at[one].v);
}
