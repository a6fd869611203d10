/* SPDX-License-Identifier: Apache-2.0
 * kernels_avx512bf16.c - what AVX-512 BF16 adds to the table of AVX-512: products of bfloat16 by its dot product; and in tiles of AMX. */
#include "kernels/kernels.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__) && defined(__AVX512BF16__)
#include "kernels/simd/avx512.h"

#include "kernels/body/tile.h"

#include "kernels/body/bf16_dot.h"

void fy_kernels_fill_avx512bf16(fy_kernels *k);
void fy_kernels_fill_avx512bf16(fy_kernels *k) {
    k->bf16_bytes = 2;
    k->bf16_rows = dot_bf16_rows;
    k->gemm_bf16 = dot_gemm_bf16;
}

#include "kernels/body/bf16_amx.h"

void fy_kernels_fill_amx_bf16(fy_kernels *k);
void fy_kernels_fill_amx_bf16(fy_kernels *k) { k->gemm_bf16 = amx_gemm_bf16; }
#endif
