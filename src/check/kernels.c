/* SPDX-License-Identifier: Apache-2.0
 * kernels.c - goes through kernels.def: each slot of each instruction set that is not the one of the level below is checked by its
 * signature's checker, and functions that promise 1 ulp are measured over all floats. */
#include "check/kernels.h"

#include "base/os.h"
#include "formats/json.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef struct slot { const char *name, *signature; size_t at; fy_kernel_check *check; double ulps, floor; int op; bool unary; } slot;

static const slot slots[] = {
#define KERNEL(slot, signature, ulps, floor) {#slot, #signature, offsetof(fy_kernels, slot), fy_check_##signature, ulps, floor, 0, false},
#define BINARY(OP, name) {#name, "binary", offsetof(fy_kernels, binary) + FY_##OP * sizeof(fy_kernel_binary *), fy_check_binary, 0, 0, FY_##OP, false},
#define UNARY(ACT, name, ulps, floor) {#name, "unary", offsetof(fy_kernels, unary) + FY_ACT_##ACT * sizeof(fy_kernel_unary *), fy_check_unary, ulps, floor, FY_ACT_##ACT, true},
#include "kernels/kernels.def"
#undef KERNEL
#undef BINARY
#undef UNARY
};

typedef struct suite {
    const fy_kernel_options *o;
    fy_report *r;
    fy_jsonw   w;
    fy_trial   trial;
    fy_kernels table[FY_ISA_COUNT], below[FY_ISA_COUNT];         /* of levels that are here and asked for; what the level below has */
    int        n;
    int64_t    passed, failed;
} suite;

static bool wanted(const suite *s, const slot *k) { return !s->o->only || strstr(k->name, s->o->only); }

static bool same_slot(const fy_kernels *a, const fy_kernels *b, const slot *k) {
    return a->isa != b->isa && !memcmp((const char *)a + k->at, (const char *)b + k->at, sizeof(fy_kernel_unary *));
}

static fy_status levels(suite *s, ferry_error *e) {
    fy_isa has = fy_cpu_isa(), one = FY_ISA_COUNT;
    if (s->o->isa) {
        char all[80] = "";
        for (int i = 0; i < FY_ISA_COUNT; i++) snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i ? ", " : "", fy_isa_name((fy_isa)i));
        FY_NEED(e, fy_isa_find(s->o->isa, &one), USAGE, "isa: there is no instruction set '%s'; there are %s", s->o->isa, all);
        FY_NEED(e, one <= has, USAGE, "isa: this CPU, or FERRY_CPU, has %s at most", fy_isa_name(has));
    }
    for (int i = 0; i <= (int)has; i++) {
        fy_kernels k, below;
        fy_kernels_init(&k, (fy_isa)i);
        fy_kernels_init(&below, (fy_isa)(i ? i - 1 : 0));
        if (k.isa != (fy_isa)i || (one != FY_ISA_COUNT && i != (int)one)) continue;           /* another architecture's */
        s->table[s->n] = k;
        s->below[s->n++] = below;
    }
    FY_NEED(e, s->n, USAGE, "isa: this CPU has no %s", s->o->isa);
    return FY_OK;
}

static void tell(suite *s, const slot *k, const fy_kernels *t, double worst, float at, bool accuracy) {
    bool bad = s->trial.why[0];
    fy_jsonw_object(&s->w, NULL);
    fy_jsonw_str(&s->w, "kernel", k->name);
    fy_jsonw_str(&s->w, "signature", k->signature);
    fy_jsonw_str(&s->w, "isa", fy_isa_name(t->isa));
    fy_jsonw_str(&s->w, "verdict", bad ? "failed" : "passed");
    fy_jsonw_int(&s->w, "cases", s->trial.cases);
    fy_jsonw_num(&s->w, "worst_share", s->trial.worst);
    if (accuracy) {
        fy_jsonw_num(&s->w, "worst_ulp", worst);
        fy_jsonw_num(&s->w, "worst_at", (double)at);
    }
    if (bad) fy_jsonw_str(&s->w, "why", s->trial.why);
    fy_jsonw_end_object(&s->w);
    fy_buf_fmt(&s->r->text, "%s %-16s %-10s %6lld cases", bad ? FY_RED "FAIL" FY_OFF : "ok  ", k->name, fy_isa_name(t->isa), (long long)s->trial.cases);
    if (accuracy) fy_buf_fmt(&s->r->text, ", %.4f ulp at most (at %.9g)", worst, (double)at);
    else if (k->ulps > 0) fy_buf_fmt(&s->r->text, ", at most %.0f%% of the error allowed", 100 * s->trial.worst);
    if (bad) fy_buf_fmt(&s->r->text, ": %s", s->trial.why);
    fy_buf_char(&s->r->text, '\n');
    s->passed += !bad;
    s->failed += bad;
}

/* One slot on all levels. A function that promises 1 ulp is measured as well: once over the floats for all levels together. */
static void check_slot(suite *s, const slot *k) {
    double worst[FY_ISA_COUNT];
    float at[FY_ISA_COUNT];
    bool accuracy = k->unary && k->ulps == 1;
    if (accuracy) fy_kernel_accuracy(worst, at, s->table, s->n, (fy_act)k->op, s->o->stride ? s->o->stride : 257);
    for (int i = 0; i < s->n; i++) {
        fy_trial *t = &s->trial;
        const fy_kernels *table = &s->table[i];
        if (!s->o->isa && same_slot(table, &s->below[i], k)) continue;
        t->k = table;
        t->random = 0x666572727921u;                             /* the same numbers every time */
        t->ulps = k->ulps;
        t->floor = k->floor;
        t->op = k->op;
        t->cases = 0;
        t->worst = 0;
        t->why[0] = 0;
        bool right = k->check(t);
        if (!right) fy_trial_fail(t, "wrong");
        if (accuracy && worst[i] > 1) fy_trial_fail(t, "%.9g ulp from the exact value at %.9g", worst[i], (double)at[i]);
        tell(s, k, table, accuracy ? worst[i] : 0, accuracy ? at[i] : 0, accuracy);
    }
}

static fy_status check_all(suite *s, ferry_error *e) {
    fy_trial *t = &s->trial;
    FY_NOMEM(e, fy_rooms_new(t));
    fy_jsonw_array(&s->w, "kernels");
    for (int i = 0; i < FY_COUNT(slots); i++) {
        if (!wanted(s, &slots[i])) continue;
        if (s->o->progress) s->o->progress(s->o->ctx, slots[i].name, (double)i / FY_COUNT(slots));
        check_slot(s, &slots[i]);
    }
    fy_jsonw_end_array(&s->w);
    FY_NEED(e, s->passed + s->failed, USAGE, "kernel: there is none whose name holds '%s'", s->o->only ? s->o->only : "");
    fy_jsonw_int(&s->w, "passed", s->passed);
    fy_jsonw_int(&s->w, "failed", s->failed);
    fy_buf_fmt(&s->r->text, "%lld passed, %lld failed\n", (long long)s->passed, (long long)s->failed);
    s->r->verdict = s->failed ? FERRY_NO : FERRY_OK;
    return FY_OK;
}

static fy_status bench_all(suite *s, ferry_error *e) {
    fy_jsonw_array(&s->w, "levels");
    for (int i = 0; i < s->n; i++) {
        bool new_level = s->o->isa || s->table[i].isa == FY_ISA_GENERIC;
        for (int k = 0; k < FY_COUNT(slots); k++) new_level |= wanted(s, &slots[k]) && !same_slot(&s->table[i], &s->below[i], &slots[k]);
        if (new_level) FY_TRY(fy_kernels_bench(s->r, &s->w, &s->table[i], s->o, e));
    }
    fy_jsonw_end_array(&s->w);
    return FY_OK;
}

fy_status fy_kernels_report(fy_report *r, const fy_kernel_options *o, ferry_error *e) {
    suite *s = fy_calloc(1, sizeof *s);
    FY_NOMEM(e, s);
    s->o = o;
    s->r = r;
    s->w = (fy_jsonw){.out = &r->json, .first = true};
    fy_status st = levels(s, e);
    fy_jsonw_object(&s->w, NULL);
    if (!st) st = o->bench ? bench_all(s, e) : check_all(s, e);
    fy_jsonw_end_object(&s->w);
    fy_rooms_free(&s->trial);
    fy_free(s);
    return st;
}
