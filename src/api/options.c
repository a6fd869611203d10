/* SPDX-License-Identifier: Apache-2.0
 * options.c - options of a job, by name: known or refused with the nearest, parsed and bounded. */
#include "api/api.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int fy_kind_of(fy_status s) { return s ? fy_code_get(s)->kind : FERRY_OK; }

fy_status fy_opt_known(const ferry_job *job, const char *const *keys, ferry_error *e) {
    int n = 0;
    while (keys[n]) n++;
    for (size_t i = 0; job && i < job->noption; i++) {
        int k = 0;
        while (k < n && strcmp(keys[k], job->option[i].key)) k++;
        if (k < n) continue;
        const char *near = fy_nearest(job->option[i].key, keys, n);
        return fy_fail(e, FY_E_USAGE, "there is no option '%s'%s%s%s", job->option[i].key, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    return FY_OK;
}

const char *fy_opt(const ferry_job *job, const char *key) {
    for (size_t i = job ? job->noption : 0; i-- > 0;)
        if (!strcmp(job->option[i].key, key)) return job->option[i].value ? job->option[i].value : "";
    return NULL;
}

bool fy_opt_has(const ferry_job *job, const char *key) { return fy_opt(job, key) != NULL; }

fy_status fy_opt_int(const ferry_job *job, const char *key, int64_t lo, int64_t hi, int64_t *v, ferry_error *e) {
    const char *s = fy_opt(job, key);
    char *end;
    if (!s) return FY_OK;
    errno = 0;
    long long n = strtoll(s, &end, 10);
    FY_NEED(e, *s && !*end && !errno && n >= lo && n <= hi, USAGE, "%s: '%s' is not a whole number from %lld to %lld", key, s, (long long)lo, (long long)hi);
    *v = n;
    return FY_OK;
}

fy_status fy_opt_num(const ferry_job *job, const char *key, double *v, ferry_error *e) {
    const char *s = fy_opt(job, key);
    char *end;
    if (!s) return FY_OK;
    double d = strtod(s, &end);
    FY_NEED(e, *s && !*end && d >= 0 && d < 1e30, USAGE, "%s: '%s' is not a number of 0 or more", key, s);
    *v = d;
    return FY_OK;
}

fy_status fy_opt_words(const ferry_job *job, const char *key, fy_arena *a, const char *const **words, int *n, ferry_error *e) {
    const char *s = fy_opt(job, key);
    *words = NULL;
    *n = 0;
    if (!s) return FY_OK;
    int count = 1;
    for (const char *p = s; *p; p++) count += *p == ',';
    const char **w = FY_NEWN(a, const char *, count);
    FY_NOMEM(e, w);
    for (int i = 0; i < count; i++, s++) {
        size_t len = strcspn(s, ",");
        FY_NEED(e, len, USAGE, "%s: word %d is empty", key, i + 1);
        w[i] = fy_arena_strn(a, s, len);
        FY_NOMEM(e, w[i]);
        s += len;
    }
    *words = w;
    *n = count;
    return FY_OK;
}

fy_status fy_opt_precision(const ferry_job *job, const fy_engine *engine, bool *bf16, ferry_error *e) {
    const char *s = fy_opt(job, "precision");
    *bf16 = s && !strcmp(s, "bf16");
    FY_NEED(e, !s || *bf16 || !strcmp(s, "f32"), USAGE, "precision: '%.40s' is neither f32 nor bf16", s);
    FY_NEED(e, !*bf16 || engine->plan, USAGE, "precision: the engine %s computes in f32; bf16 is for the engine ferry", engine->name);
    return FY_OK;
}

fy_status fy_opt_engine(const ferry_job *job, const char *key, const fy_engine **engine, ferry_error *e) {
    const char *name = fy_opt(job, key);
    if (!name && *engine) return FY_OK;
    *engine = fy_engine_find(name);
    if (*engine) return FY_OK;
    int n;
    const fy_engine *const *all = fy_engines(&n);
    fy_buf list = {0};
    for (int i = 0; i < n; i++) fy_buf_fmt(&list, "%s%s", i ? ", " : "", all[i]->name);
    fy_status s = fy_fail(e, FY_E_USAGE, "%s: there is no engine '%s'; there are: %s", key, name, list.oom ? "" : list.at);
    fy_buf_free(&list);
    return s;
}
