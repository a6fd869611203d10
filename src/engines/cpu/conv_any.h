/* SPDX-License-Identifier: Apache-2.0
 * conv_any.h - convolutions of every form in the c16 layout: one to three spatial axes (missing ones come first, with size 1), transposed ones, groups,
 * weights that are constants or come with the run. conv_any.c says which form, conv_pack.c packs, conv_run.c runs.
 *
 * A transposed convolution of stride s is s plain ones of stride 1 along each axis: output o meets tap k where o + pad - k * dilation is a multiple
 * of s, so that outputs o, o + s, o + 2 s ... share the same taps, a phase. Of the kernel's taps phase j has k = j, j + p, j + 2 p ..., p = s / gcd(s, dilation).
 * A third axis costs no kernel of its own: planes of the padded input lie so that its taps follow each other as blocks of channels do. */
#ifndef FY_CPU_CONV_ANY_H
#define FY_CPU_CONV_ANY_H

#include "engines/cpu/conv.h"

#include "ops/window.h"

/* DIRECT: groups of whole blocks of channels, or one group. FIRST: few channels, read interleaved from the plain layout. DEPTH: one channel in and out for
 * each group. PICK: any groups, through a table of lanes. */
typedef enum fy_conv_how { FY_CONV_DIRECT, FY_CONV_FIRST, FY_CONV_DEPTH, FY_CONV_PICK } fy_conv_how;

typedef struct fy_pick_block { int64_t run, runs, lane, w, steps; bool near; } fy_pick_block;       /* where an output block's part of the tables and weights begins */

typedef struct fy_conv_any {
    fy_conv_how how;
    fy_window   win;                     /* as the node has it */
    bool        transposed, merged;      /* merged: FIRST, a row of taps is one tap */
    int         nr;                      /* columns of a panel */
    int64_t     kernel[3], stride[3], dilation[3];
    int64_t     groups, cin, cout;       /* channels of a group */
    int64_t     in_blocks, out_blocks;   /* of a group; DEPTH, PICK: of all */
    int64_t     panels, w_panel, lanes;  /* panels of a group, floats of each; values that follow each other at a tap */
    int64_t     taps, count, padded;     /* of the kernel; floats of all weights; of the bias */
    int64_t    *at, *within;             /* by tap: taps before its row of the depth axis in the packed order, taps of a plane; below */
    int64_t    *place;                   /* by tap: within its plane */
    fy_pick_block *block;
    fy_pick_run   *run;
    int32_t       *lane;
    float         *w, *bias;             /* NULL: they come with the run */
} fy_conv_any;

/* Sizes, tables. */
FY_CHECKED fy_status fy_conv_any_shape(fy_conv_any *d, const fy_node *n, const fy_kernels *k, fy_conv_how how, const int64_t *wd, fy_arena *a, ferry_error *e);
/* Rows [begin, end) of the first axis of the weights, as fy_cpu_pack_fn; what nothing fills must be zero. */
typedef struct fy_conv_filling { const fy_conv_any *d; float *to; } fy_conv_filling;
void fy_conv_any_pack(void *filling, const float *w, int64_t begin, int64_t end);
/* The same for the step of a node with the weights as input 1: packs what is constant of them and of its bias, which it then reads no more. */
FY_CHECKED fy_status fy_conv_any_prepare(fy_conv_any *d, fy_step *s, int bias, fy_conv_how how, fy_plan *p, fy_arena *a, ferry_error *e);
/* What to run with: weights and bias that come with the run (else NULL) packed into `room`, of d->count and d->padded floats. */
void fy_conv_any_given(const fy_conv_any *d, fy_pool *pool, float *room, const fy_tensor *weights, const fy_tensor *bias, const float **w, const float **b);
FY_CHECKED fy_status fy_conv_any_run(const fy_step *s, fy_exec *x, ferry_error *e);

/* Phase j of axis i: its taps, those of the phases before it, and from one to the next in the input. */
int64_t fy_conv_phases(const fy_conv_any *d, int i);
int64_t fy_conv_phase_taps(const fy_conv_any *d, int i, int64_t j);
int64_t fy_conv_phase_before(const fy_conv_any *d, int i, int64_t j);
int64_t fy_conv_period(const fy_conv_any *d, int i);         /* p above */

extern const fy_impl fy_cpu_deform;

#endif
