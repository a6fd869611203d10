/* SPDX-License-Identifier: Apache-2.0
 * hostile_report.c - `ferry selftest hostile`: what the engine of hostile.c found, as a report. */
#include "check/hostile.h"

#include "base/report.h"
#include "formats/json.h"

#define MOST_SHOWN 50                    /* faults in the text; all are counted */

typedef struct made {
    fy_report  *r;
    fy_jsonw    w;
    int64_t     shown;
    void      (*progress)(void *ctx, const char *what, double share);
    void       *ctx;
    const char *op;
} made;

static void found(void *ctx, const fy_hostile *h, const char *what) {
    made *m = ctx;
    fy_jsonw_object(&m->w, NULL);
    fy_jsonw_str(&m->w, "operator", h->op);
    fy_jsonw_int(&m->w, "case", h->number);
    fy_jsonw_str(&m->w, "change", h->now);
    fy_jsonw_str(&m->w, "fault", what);
    fy_jsonw_end_object(&m->w);
    if (m->shown++ < MOST_SHOWN) fy_buf_fmt(&m->r->text, FY_RED "FAULT" FY_OFF " %s: %s\n", h->now, what);
}

/* Says where it is, so that a crash can be placed. */
static void each(void *ctx, const fy_hostile *h) {
    made *m = ctx;
    if (m->progress && m->op != h->op) m->progress(m->ctx, h->op, -1);
    m->op = h->op;
}

fy_status fy_hostile_report(fy_report *r, fy_hostile *h, void (*progress)(void *ctx, const char *what, double share), void *ctx, ferry_error *e) {
    made m = {.r = r, .w = {.out = &r->json, .first = true}, .progress = progress, .ctx = ctx};
    h->found = found;
    h->each = each;
    h->ctx = &m;
    fy_jsonw_object(&m.w, NULL);
    fy_jsonw_array(&m.w, "faults");
    fy_status s = fy_hostile_run(h, e);
    h->found = NULL;
    h->each = NULL;
    h->ctx = NULL;
    FY_TRY(s);
    FY_NEED(e, h->nops, NAME, "there is no operator '%s'", h->only ? h->only : "");
    fy_jsonw_end_array(&m.w);
    const struct { const char *key; int64_t n; } figure[] = {{"operators", h->nops}, {"bases", h->nbases}, {"cases", h->ncases}, {"ran", h->nran}, {"failed", h->nfaults}};
    for (size_t i = 0; i < sizeof figure / sizeof *figure; i++) fy_jsonw_int(&m.w, figure[i].key, figure[i].n);
    fy_jsonw_str(&m.w, "without_base", h->bare);
    fy_jsonw_end_object(&m.w);
    fy_buf_char(&r->json, '\n');
    if (h->nbare) fy_buf_fmt(&r->text, "no node that runs is known for %s\n", h->bare);
    fy_buf_fmt(&r->text, "%lld operators, %lld cases, %lld of them refused, %lld faults\n", (long long)h->nops, (long long)h->ncases, (long long)(h->ncases - h->nran),
        (long long)h->nfaults);
    r->verdict = h->nfaults ? FERRY_NO : FERRY_OK;
    return FY_OK;
}
