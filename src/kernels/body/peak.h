/* SPDX-License-Identifier: Apache-2.0
 * peak.h - as many FMAs as the machine can do: sums in registers, each waiting for itself alone (body). */

#if GEMM_NV * GEMM_MR >= 28
#define PEAK_EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define PEAK_SUMS 12
#elif GEMM_MR == 1
#define PEAK_EACH(X) X(0) X(1)            /* 32 sums in memory: none waits for itself */
#define PEAK_SUMS 2
#else
#define PEAK_EACH(X) X(0) X(1) X(2) X(3) X(4) X(5)
#define PEAK_SUMS 6
#endif
#define PEAK_BEGIN(i) fv s##i = fv_add(lanes, fv_set1((float)i));
#define PEAK_STEP(i) s##i = fv_fma(s##i, a, b);
#define PEAK_END(i) all = fv_add(all, s##i);

static double fma_peak(int64_t n) {
    volatile float half = 0.5f;                                  /* no constant: nothing is worked out beforehand */
    float lane[16];
    for (int i = 0; i < 16; i++) lane[i] = half * (float)i;      /* all different: no two sums are one */
    fv a = fv_set1(half), b = a, all = a, lanes = fv_load(lane);
    PEAK_EACH(PEAK_BEGIN)
    for (int64_t i = 0; i < n; i++) { PEAK_EACH(PEAK_STEP) }
    PEAK_EACH(PEAK_END)
    return fv_sum(all) < 1e30f ? (double)n * 2 * 16 * PEAK_SUMS : 0;
}
