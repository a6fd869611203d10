/* SPDX-License-Identifier: Apache-2.0
 * kernels.h - tests every kernel of src/kernels on this CPU, each instruction set against the definition and the generic variant, and
 * times them: what `ferry selftest kernels` does. A new variant of a kernel needs no new line here. */
#ifndef FY_CHECK_KERNELS_H
#define FY_CHECK_KERNELS_H

#include "base/report.h"
#include "kernels/kernels.h"

typedef struct fy_kernel_options {
    const char *isa;                     /* this one alone; NULL: all that the CPU has */
    const char *only;                    /* slots whose names hold this; NULL: all */
    bool        bench;                   /* time instead of test */
    int64_t     stride;                  /* the accuracy of functions is measured at every stride-th of all floats; 0: 257; 1: at each one */
    void      (*progress)(void *ctx, const char *what, double share);
    void       *ctx;
} fy_kernel_options;

/* The verdict is FERRY_NO if a kernel is wrong. USAGE for an instruction set that there is not, or that this CPU lacks. */
FY_CHECKED fy_status fy_kernels_report(fy_report *r, const fy_kernel_options *o, ferry_error *e);

/* ---- for the files of this suite ------------------------------------------------------------------------------------------- */

/* Floats between guard pages; what is not given to a kernel holds a pattern that is a NaN. */
typedef struct fy_room { float *page, *at; int64_t n; bool guarded; } fy_room;
enum { FY_ROOMS = 8 };

typedef struct fy_trial {
    const fy_kernels *k, *generic;
    fy_room  room[FY_ROOMS];
    uint64_t random;
    double   ulps, floor;                /* of the slot */
    int      op;                         /* fy_act, fy_binary */
    double (*exact)(double x, const float *p);
    int64_t  cases;
    double   worst;                      /* the largest error, as a share of what is allowed */
    char     why[240];                   /* what went wrong first; "": nothing */
} fy_trial;

typedef bool fy_kernel_check(fy_trial *t);
/* One for each signature of kernels.def; false: t->why says what is wrong. */
fy_kernel_check fy_check_gemm, fy_check_gemm_bf16, fy_check_bf16_rows, fy_check_conv, fy_check_depthwise, fy_check_conv_pick, fy_check_winograd_in, fy_check_winograd_out, fy_check_winograd2_in, fy_check_winograd2_out, fy_check_softmax, fy_check_norm, fy_check_pool_max,
                fy_check_pool_sum, fy_check_peak, fy_check_product, fy_check_product_depthwise, fy_check_quantize, fy_check_dequantize, fy_check_byte_binary, fy_check_dot_peak, fy_check_unary, fy_check_binary;

/* once() for products of m rows, n columns and k summands of every height of a tile and width of a panel, and around pieces of k; how: seven bits of choices. */
typedef bool fy_product_once(fy_trial *t, int64_t m, int64_t n, int64_t k, int how);
bool fy_trial_products(fy_trial *t, fy_product_once *once);

FY_PRINTF(2, 3) bool fy_trial_fail(fy_trial *t, const char *fmt, ...);     /* false */
bool fy_rooms_new(fy_trial *t);          /* false: out of memory; to be freed all the same */
void fy_rooms_free(fy_trial *t);
/* n floats in room i, flush with its end or (`low`) with its beginning, filled with the pattern. */
float *fy_room_place(fy_trial *t, int i, int64_t n, bool low);
bool   fy_room_intact(const fy_trial *t, int i);                             /* the pattern before and after what was placed, as far as it was put there */
bool   fy_is_pattern(float x);
uint64_t fy_trial_next(fy_trial *t);
int64_t  fy_trial_pick(fy_trial *t, int64_t lo, int64_t hi);                 /* lo..hi */
float    fy_trial_value(fy_trial *t);                                        /* (-1, 1) */
void     fy_trial_values(fy_trial *t, float *x, int64_t n);
/* Is got within `allowed` of want? NaN and infinities must be the same. Keeps t->worst. */
bool fy_trial_near(fy_trial *t, float got, double want, double allowed);
bool fy_same_bits(const float *a, const float *b, int64_t n);

double fy_ulp(double x);                                                     /* of the float next to x */
double fy_ulps_apart(float got, double want);                                /* in units of want; 1e30 where NaN, infinity or the sign of 0 differ */
/* The definitions of kernels.def's functions, by act. */
typedef double fy_exact(double x, const float *p);
fy_exact *fy_exact_of(fy_act act);
/* worst[i]: the largest error in ulp of act in table i over every stride-th float and the special ones; at[i]: where. */
void fy_kernel_accuracy(double *worst, float *at, const fy_kernels *k, int n, fy_act act, int64_t stride);
extern const float fy_special_floats[];
extern const int   fy_special_count;

typedef struct fy_jsonw fy_jsonw;
FY_CHECKED fy_status fy_kernels_bench(fy_report *r, fy_jsonw *w, const fy_kernels *k, const fy_kernel_options *o, ferry_error *e);

#endif
