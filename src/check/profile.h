/* SPDX-License-Identifier: Apache-2.0
 * profile.h - where the time of a run goes, step by step: the record of a profile, and its forms: text and JSON, a page with the graph
 * coloured by time, a trace that Chrome and Perfetto read. Nothing here reads a clock. */
#ifndef FY_PROFILE_H
#define FY_PROFILE_H

#include "check/bench.h"

typedef struct fy_profile_step {
    const char *op, *impl, *name;        /* "Conv", "conv.direct", the node's name or ""; impl "interpreter": sizes depended on contents */
    const char *nodes;                   /* what it computes, first to last: "Conv conv1 + Relu relu1" */
    const char *source;                  /* where the nodes come from, as far as the model says: "layer1.0.conv1, model.py:57"; or "" */
    const char *types;                   /* "f32[1,3,224,224], f32[64,3,7,7] -> f32[1,64,112,112]/c16" */
    double      seconds;                 /* median over the runs */
    double      begin, took;             /* of the last run: since its start */
    int64_t     macs;                    /* -1: sizes not known */
    double      bytes;                   /* read and written, weights included; 0 for views */
    int         nfrom;
    const int  *from;                    /* steps that made its inputs, each smaller than its own number */
} fy_profile_step;

typedef struct fy_profile {
    const char *model, *about, *cpu, *isa;
    const fy_bench_input *input;
    int         ninputs, threads, nsteps;
    fy_profile_step *step;
    fy_summary  s;                       /* of whole runs */
    double      flops, bytes;            /* what the machine can do in a second; 0: not measured */
} fy_profile;

FY_CHECKED fy_status fy_profile_report(fy_report *r, const fy_profile *p, ferry_error *e);
FY_CHECKED fy_status fy_profile_html(fy_buf *out, const fy_profile *p, ferry_error *e);
void fy_profile_trace(fy_buf *out, const fy_profile *p);

/* Share of the time that the machine would need at best: the larger of operations / peak and bytes / copy rate. Above 1 the data
 * came from caches, or an algorithm did with fewer operations. 0: nothing to do or not measured. */
double fy_profile_roof(const fy_profile *p, const fy_profile_step *s);
double fy_profile_total(const fy_profile *p);                            /* sum over the steps */

/* Where the boxes of the picture are: top left corners, in pixels. Rows by the longest way from an input. */
#define FY_BOX_W 210
#define FY_BOX_H 52
typedef struct fy_place { double x, y; } fy_place;
FY_CHECKED fy_status fy_profile_layout(fy_place *at, double *width, double *height, const fy_profile *p, ferry_error *e);

/* What the steps of one operator add up to, largest first. */
typedef struct fy_profile_op { const char *op; int steps; double seconds; int64_t macs; double bytes; } fy_profile_op;
FY_CHECKED fy_status fy_profile_ops(fy_profile_op **ops, int *n, fy_arena *a, const fy_profile *p, ferry_error *e);
/* Numbers of the steps, slowest first. */
FY_CHECKED fy_status fy_profile_order(int **order, fy_arena *a, const fy_profile *p, ferry_error *e);

#endif
