/* SPDX-License-Identifier: Apache-2.0
 * kernels_vnni_avx512.c - the products of bytes compiled for AVX-512 with VNNI, and in tiles of AMX. */
#include "kernels/kernels.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__) && defined(__AVX512VNNI__)
#include "kernels/simd/avx512.h"

#include "kernels/simd/int8_avx512.h"

#include "kernels/body/int8.h"
#include "kernels/body/row8.h"

void fy_kernels_fill_avx512vnni(fy_kernels *k);
void fy_kernels_fill_avx512vnni(fy_kernels *k) {
    k->int8_nr = DOT_NR;
    k->int8_mr = DOT_MR;
    k->product_u8s8 = product_u8s8;
    k->row_u8s8 = row_u8s8;
    k->depthwise_u8s8 = depthwise_u8s8;
    k->dot_peak = dot_peak;
}

#include "kernels/body/int8_amx.h"

void fy_kernels_fill_amx(fy_kernels *k);
void fy_kernels_fill_amx(fy_kernels *k) {
    k->int8_lanes = AMX_BYTES;
    k->product_u8s8 = amx_product_u8s8;
    k->dot_peak = amx_dot_peak;
}
#endif
