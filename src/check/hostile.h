/* SPDX-License-Identifier: Apache-2.0
 * hostile.h - every operator of a registry on hostile operands, attributes, shapes, dtypes and strides, between guard pages and under
 * budgets. A run must end with a status and leave nothing behind; anything else is a fault. What the process does not survive
 * (a touched guard page, a sanitizer's report) is the caller's to see: `op`, `number` and `now` say what was being tried. */
#ifndef FY_HOSTILE_H
#define FY_HOSTILE_H

#include "ops/ops.h"

typedef struct fy_hostile fy_hostile;
struct fy_hostile {
    const fy_registry *registry;         /* NULL: the built-in operators */
    const char *only;                    /* name of one operator, or NULL: all */
    const char *folder;                  /* cases as onnx.backend.test lays them out, used as bases as well; NULL: none */
    uint64_t    seed;
    int64_t     trials;                  /* random pairs and triples of changes for each base, beside every single change */
    int64_t     most;                    /* single changes tried for each base, spread evenly over all; 0: all */
    bool        guard;                   /* elements of tensors between pages that fault (base/os.h) */
    void      (*found)(void *ctx, const fy_hostile *h, const char *what);
    void      (*each)(void *ctx, const fy_hostile *h);      /* NULL, or called before each case: for whoever watches the time */
    void       *ctx;
    /* where it is */
    const char *op;
    int64_t     number;
    char        now[256];
    /* what it did */
    int64_t     nops, nbases, ncases, nran, nfaults;
    int64_t     nbare;                   /* operators for which no valid base was found: see hostile.def */
    char        bare[2000];
};

/* Faults are counted and reported, not returned. */
FY_CHECKED fy_status fy_hostile_run(fy_hostile *h, ferry_error *e);

/* The same as a report: verdict FERRY_NO if there are faults. NAME if `only` is no operator. */
struct ferry_report;
FY_CHECKED fy_status fy_hostile_report(struct ferry_report *r, fy_hostile *h, void (*progress)(void *ctx, const char *what, double share), void *ctx, ferry_error *e);

/* ---- between hostile.c and hostile_base.c ------------------------------------------------------------------------------ */

#define FY_HOSTILE_IN 16

/* A node that runs: its source (ONNX text, or a file's bytes), its inputs. */
typedef struct fy_hostile_base {
    char   *text;
    void   *bytes;
    size_t  nbytes;
    int     nin;
    fy_rval in[FY_HOSTILE_IN];
} fy_hostile_base;

uint64_t fy_hostile_random(fy_hostile *h);
int64_t  fy_hostile_range(fy_hostile *h, int64_t lo, int64_t hi);
/* A fresh model of the base at the canonical opset, its only node in *n; inputs carry no constants. */
FY_CHECKED fy_status fy_hostile_model(const fy_hostile *h, const fy_hostile_base *b, fy_model **m, fy_node **n, ferry_error *e);
/* Calls use(ctx, base) for each base of `op` that runs. */
FY_CHECKED fy_status fy_hostile_bases(fy_hostile *h, const fy_op *op, fy_status (*use)(void *ctx, const fy_hostile_base *b, ferry_error *e), void *ctx,
    ferry_error *e);
/* Budgets of one case. */
#define FY_HOSTILE_BYTES ((int64_t)1 << 20)
#define FY_HOSTILE_STEPS 2000

#endif
