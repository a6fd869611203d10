/* SPDX-License-Identifier: Apache-2.0
 * kernels.h - the inner loops, as a table of function pointers held by value: one table for each instruction set, filled from the
 * generic one upwards. Kernels are single-threaded over ranges; whoever calls them splits the work and has checked the arguments.
 *
 * Numbers: sums run over the reduced dimension in an order that depends on its length alone, so a result is the same bits whatever the
 * number of rows, the batch, the threads or the alignment. FMA is explicit. Tables of different instruction sets may differ in the last bits. */
#ifndef FY_KERNELS_H
#define FY_KERNELS_H

#include "base/cpu.h"
#include "base/status.h"
#include "kernels/loops.h"
#include "kernels/int8.h"

#define FY_LANES 16                      /* channels in a block of the c16 layout; lanes of one vector of the body files */
#define FY_GEMM_KC 512                   /* the reduced dimension of a product is summed in pieces of this length */

/* What is done to a value before it is stored. Clamping holds ReLU, ReLU6 and Clip; the others are applied by the unary kernels to what
 * was just stored. */
typedef enum fy_act {
#define KERNEL(slot, signature, ulps, floor)
#define BINARY(OP, name)
#define UNARY(ACT, name, ulps, floor) FY_ACT_##ACT,
#include "kernels/kernels.def"
#undef UNARY
    FY_ACT_COUNT
} fy_act;

/* y = act(sum + bias + add). bias: one value for each column (lane) of the result, or NULL; add: a second operand of the result's shape
 * and layout, or NULL. p: CLAMP lo, hi; LEAKY alpha; HARD_SIGMOID alpha, beta; SWISH, ELU alpha. */
typedef struct fy_epilogue { const float *bias, *add; fy_act act; float p[2]; } fy_epilogue;

/* C[m,n] = A[m,k] B[k,n], rows [row, row_end) and panels [panel, panel_end) of it. B is packed: panels of `nr` columns, each k rows of nr
 * values (the last panel padded with zeros). a_row: step between rows of A; its columns follow each other. add has C's row step. near: B was read
 * a moment ago, and one row by it does not wait for memory. */
typedef struct fy_gemm_f32 {
    const float *a, *b;
    float       *c;
    int64_t      m, n, k, a_row, c_row;
    fy_epilogue  e;
    bool         near;
} fy_gemm_f32;

/* The same with operands rounded to bfloat16 and sums in f32. a: rows as bf16_rows makes them, a_row bytes apart; b: panels as fy_gemm_pack_bf16
 * makes them. k is even: an odd one is made so by zeros. */
typedef struct fy_gemm_bf16 {
    const void     *a;
    const uint16_t *b;
    float          *c;
    int64_t         m, n, k, a_row, c_row;
    fy_epilogue     e;
} fy_gemm_bf16;

/* A two-dimensional convolution of one sample in the c16 layout, padding already there. Rows [row, row_end) of the output channels of one
 * group (of gemm_nr channels; depthwise: one block of 16). Steps are in floats. */
typedef struct fy_conv_c16 {
    const float *x, *w;                  /* w: [group][in block][tap][lanes in][gemm_nr out]; depthwise: [block][tap][16] */
    float       *y;
    int64_t      lanes;                  /* values of x that follow each other at a tap: 16 channels of a block, or a row of taps times few channels */
    int64_t      last;                   /* of those, how many are any of the last block; 0: all */
    int64_t      in_blocks, out_blocks, kernel[2], out[2], w_group;
    int64_t      pixels;                 /* of the output: out[0] * out[1], or less where the last row is shorter */
    int64_t      x_block, y_block;       /* from one block of channels to the next */
    int64_t      y_row;                  /* from one output row to the next; 0: out[1] * 16 */
    int64_t      x_step[2];              /* from one output row (pixel) to the next, in x */
    const float *const *rows;            /* depthwise: the rows of x, wherever they are, x_step[0] of them from one output row to the next; NULL: x and steps tell */
    int64_t      tap[2];                 /* from one tap to the next, down and across */
    fy_epilogue  e;                      /* bias: out_blocks * 16, padded to whole groups; add in y's layout */
} fy_conv_c16;

/* The same for one block of output channels whose lanes belong to groups of few channels. Input channels are met block by block: at step e of a run, lane
 * i of the result takes lane `lane[e][i]` of the run's block of x, or nothing where that is below 0. w: [in_blocks][run][tap][step][16]. */
typedef struct fy_pick_run { int64_t block, n; } fy_pick_run;
typedef struct fy_pick_c16 {
    fy_conv_c16        c;                /* in_blocks: taps along a third axis, x_depth apart; w, y, bias, add: of this block; out_blocks, lanes, w_group, pixels, rows: not read */
    int64_t            x_depth, runs;
    const fy_pick_run *run;
    const int32_t     *lane;             /* [run][step][16] */
    bool               near;             /* every lane is taken, by one of the same eight */
} fy_pick_c16;

typedef enum fy_binary {
#undef BINARY
#define BINARY(OP, name) FY_##OP,
#define UNARY(ACT, name, ulps, floor)
#include "kernels/kernels.def"
#undef KERNEL
#undef BINARY
#undef UNARY
    FY_BINARY_COUNT
} fy_binary;

/* The signatures. */
typedef void fy_kernel_gemm(const fy_gemm_f32 *g, int64_t row, int64_t row_end, int64_t panel, int64_t panel_end);
typedef void fy_kernel_gemm_bf16(const fy_gemm_bf16 *g, int64_t row, int64_t row_end, int64_t panel, int64_t panel_end);
/* x rounded to bfloat16 as gemm_bf16 takes its first operand: (n + 1) / 2 * 2 values of bf16_bytes each (floats, or bfloat16). */
typedef void fy_kernel_bf16_rows(void *to, const float *x, int64_t n);
typedef void fy_kernel_conv(const fy_conv_c16 *c, int64_t group, int64_t row, int64_t row_end);
typedef void fy_kernel_conv_pick(const fy_pick_c16 *p, int64_t row, int64_t row_end);
typedef fy_kernel_conv fy_kernel_depthwise;      /* group is a block */
typedef void fy_kernel_winograd_in(float *v, int64_t apart, const float *x, int64_t h, int64_t w, int64_t top, int64_t left);
typedef void fy_kernel_winograd_out(float *y, const float *add, const float *m, int64_t apart, int64_t h, int64_t w, int64_t top, int64_t left, const float *bias, const fy_epilogue *e);
typedef fy_kernel_winograd_in fy_kernel_winograd2_in;        /* of F(2x2, 3x3): patches of 4 x 4, and of 2 x 2 */
typedef fy_kernel_winograd_out fy_kernel_winograd2_out;
typedef void fy_kernel_unary(float *y, const float *x, int64_t n, const float *p);                    /* y may be x */
/* one: 0 both operands have n values, 1 (2) the first (second) has one. y may be a or b. */
typedef void fy_kernel_binary(float *y, const float *a, const float *b, int64_t n, int one);
typedef void fy_kernel_softmax(float *y, const float *x, int64_t rows, int64_t n);
typedef void fy_kernel_norm(float *y, const float *x, int64_t rows, int64_t n, const float *scale, const float *bias, float eps, bool rms, float *mean, float *inv);
/* Output pixels of 16 channels, each from a window: n pixels along each of three axes, `step` floats from one to the next; the next pixel's window is `next`
 * floats further on. Of none the maximum is -inf. p: 0 the sum of the values, 1 of their sizes, 2 of their squares. */
typedef struct fy_pool_c16 { int64_t n[3], step[3], pixels, next; } fy_pool_c16;
typedef void fy_kernel_pool_max(float *y, const float *x, const fy_pool_c16 *w);
typedef void fy_kernel_pool_sum(float *y, const float *x, const fy_pool_c16 *w, float scale, int p);
typedef double fy_kernel_peak(int64_t n);        /* n rounds of FMA in registers alone; the operations done: what a machine can do at most */

typedef enum fy_reduction { FY_REDUCE_SUM, FY_REDUCE_MAX, FY_REDUCE_MIN, FY_REDUCE_L1, FY_REDUCE_SQUARE } fy_reduction;

/* A row of scores on its way through the softmax. add, keep: the mask, one value for each key (`wide`) or one for all; NULL: none. Where keep is
 * 0 the score becomes `fill`. A row with nothing above -inf gives zeros, or NaN. */
typedef struct fy_attention_row { const float *add; const unsigned char *keep; float scale, cap, fill; bool wide, empty_nan; int64_t lo, hi, n; } fy_attention_row;

/* A panel of gemm_nr columns of weights of few bits: [k][gemm_nr] bytes, or two values in each (`halves`), the even one low; scale, zero [ceil(k / block)][gemm_nr]. */
typedef struct fy_nbits { const uint8_t *w; const float *scale, *zero; int64_t k, block; bool halves; } fy_nbits;

typedef struct fy_kernels {
    fy_isa isa;
    int    gemm_nr, gemm_mr;             /* columns of a panel; most rows of a tile */
    int    bf16_bytes;                   /* of a value of gemm_bf16's first operand */
    int    int8_nr, int8_mr;             /* of products of bytes */
    int    int8_lanes;                   /* channels side by side that convolutions of bytes are fastest with: 16, or more whole blocks */
#define KERNEL(slot, signature, ulps, floor) fy_kernel_##signature *slot;
#define BINARY(OP, name)
#define UNARY(ACT, name, ulps, floor)
#include "kernels/kernels.def"
#undef KERNEL
#undef BINARY
#undef UNARY
    fy_kernel_binary *binary[FY_BINARY_COUNT];
    fy_kernel_unary  *unary[FY_ACT_COUNT];
    /* What attention, reductions and log-softmax are made of: tests/engines compares the operators that use them. */
    float (*attention_row)(float *s, const fy_attention_row *r);
    void (*attention_sum)(float *y, const float *p, const float *v, int64_t n, int64_t row, int64_t d);
    void (*reduce_rows)(float *y, const float *x, int64_t rows, int64_t n, fy_reduction k);                        /* y[r] of x[r, n] */
    void (*reduce_cols)(float *y, const float *x, int64_t n, int64_t row, int64_t cols, fy_reduction k);           /* y[cols] of x[n, cols], rows `row` apart */
    void (*log_softmax_rows)(float *y, const float *x, int64_t rows, int64_t n);
    void (*scale_c16)(float *y, const float *x, const float *scale, int64_t n);                                    /* y = x times scale[16], lane by lane, over n pixels; y may be x */
    void (*blend_c16)(float *y, int64_t y_block, const float *const *x, int64_t x_block, const float *w, int n, int64_t blocks);   /* y = sum of n pixels x[i] w[i], block by block */
    void (*affine)(float *y, const float *x, int64_t n, float a, float b);                                         /* y = a x + b; y may be x */
    void (*row_u8s8)(const fy_product_u8s8 *p, int64_t group, int64_t group_end);                                   /* product_u8s8 of a single pixel, whose columns follow each other in y */
    void (*nbits_dot)(float *y, const float *x, const fy_nbits *w);                                                /* y[gemm_nr] = x[k] times a panel */
    void (*nbits_panel)(float *to, const fy_nbits *w);                                                             /* a panel in f32, as gemm_f32 takes it */
    fy_loops loops;                      /* elementwise, of every dtype */
} fy_kernels;

/* The table for an instruction set; levels that this build or CPU lacks give the best one below. */
void fy_kernels_init(fy_kernels *k, fy_isa isa);
void fy_loops_init(fy_loops *l, fy_isa isa);
/* Packs columns of b (element [i, j] = b[i * row + j * col]) into panels of nr: dst holds ceil(n / nr) * nr * k values. */
void fy_gemm_pack_f32(float *dst, const float *b, int64_t k, int64_t n, int64_t row, int64_t col, int nr, int64_t panel, int64_t panel_end);
/* The same, rounded to bfloat16 (to nearest even; below the normal numbers: 0): dst holds ceil(n / nr) * nr * (k + 1) / 2 * 2 values, those of
 * rows k and k + 1 of a column next to each other. */
void fy_gemm_pack_bf16(uint16_t *dst, const float *b, int64_t k, int64_t n, int64_t row, int64_t col, int nr, int64_t panel, int64_t panel_end);

#endif
