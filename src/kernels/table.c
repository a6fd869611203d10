/* SPDX-License-Identifier: Apache-2.0
 * table.c - fills the table of kernels level by level; packing, which needs no instruction set. */
#include "kernels/kernels.h"

#include <string.h>

void fy_kernels_fill_generic(fy_kernels *k);
void fy_kernels_fill_neon(fy_kernels *k);
void fy_kernels_fill_avx2(fy_kernels *k);
void fy_kernels_fill_avx512(fy_kernels *k);
void fy_kernels_fill_avx512vnni(fy_kernels *k);
void fy_kernels_fill_avx512bf16(fy_kernels *k);
void fy_kernels_fill_amx(fy_kernels *k);
void fy_kernels_fill_amx_bf16(fy_kernels *k);

void fy_kernels_init(fy_kernels *k, fy_isa isa) {
    *k = (fy_kernels){.isa = FY_ISA_GENERIC, .int8_lanes = FY_LANES};
    fy_kernels_fill_generic(k);
    fy_loops_init(&k->loops, isa);
#if defined(__x86_64__)
    if (isa >= FY_ISA_AVX2) {
        k->isa = FY_ISA_AVX2;
        fy_kernels_fill_avx2(k);
    }
    if (isa >= FY_ISA_AVX512) {
        k->isa = isa;
        fy_kernels_fill_avx512(k);
    }
    if (isa >= FY_ISA_AVX512_VNNI) fy_kernels_fill_avx512vnni(k);
    if (isa >= FY_ISA_AVX512_BF16) fy_kernels_fill_avx512bf16(k);
    if (isa >= FY_ISA_AMX) {
        fy_kernels_fill_amx(k);
        fy_kernels_fill_amx_bf16(k);
    }
#elif defined(__aarch64__)
    if (isa >= FY_ISA_NEON) {
        k->isa = FY_ISA_NEON;
        fy_kernels_fill_neon(k);
    }
#else
    (void)isa;
#endif
}

void fy_gemm_pack_f32(float *dst, const float *b, int64_t k, int64_t n, int64_t row, int64_t col, int nr, int64_t panel, int64_t panel_end) {
    for (int64_t j = panel; j < panel_end; j++) {
        float *to = dst + j * nr * k;
        int64_t at = j * nr;
        int cols = n - at < nr ? (int)(n - at) : nr;
        if (row == 1 && cols == nr && nr % 16 == 0) {            /* columns lie apart: 16 at a time, rows of a column by the cache line */
            int64_t i = 0;
            for (; i + 16 <= k; i += 16)
                for (int c = 0; c < nr; c += 16)
                    for (int q = 0; q < 16; q++) {
                        const float *from = b + i + (at + c + q) * col;
                        float *put = to + i * nr + c + q;
                        for (int r = 0; r < 16; r++) put[r * nr] = from[r];
                    }
            for (; i < k; i++)
                for (int c = 0; c < nr; c++) to[i * nr + c] = b[i + (at + c) * col];
            continue;
        }
        if (col == 1 && cols == nr) {
            for (int64_t i = 0; i < k; i++) memcpy(to + i * nr, b + i * row + at, (size_t)nr * sizeof *to);
            continue;
        }
        for (int64_t i = 0; i < k; i++, to += nr) {
            const float *from = b + i * row + at * col;
            for (int c = 0; c < cols; c++) to[c] = from[c * col];
            for (int c = cols; c < nr; c++) to[c] = 0;
        }
    }
}

static uint16_t rounded(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    if ((u & 0x7fffffffu) < 0x00800000u) return (uint16_t)(u >> 16 & 0x8000u);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

void fy_gemm_pack_bf16(uint16_t *dst, const float *b, int64_t k, int64_t n, int64_t row, int64_t col, int nr, int64_t panel, int64_t panel_end) {
    int64_t even = (k + 1) / 2 * 2;
    for (int64_t j = panel; j < panel_end; j++) {
        uint16_t *to = dst + j * nr * even;
        for (int64_t i = 0; i < even; i += 2)
            for (int64_t c = j * nr; c < (j + 1) * nr; c++)
                for (int64_t q = i; q < i + 2; q++) *to++ = c < n && q < k ? rounded(b[q * row + c * col]) : 0;
    }
}

/* Four rows of columns of a whole group, side by side. */
static void pack_four(int8_t *to, int32_t *sum, const uint8_t *b, uint8_t flip, int64_t row, int64_t col, int nr) {
    const uint8_t *b0 = b, *b1 = b + row, *b2 = b + 2 * row, *b3 = b + 3 * row;
    int first = 0;
    for (; col == 1 && first + 16 <= nr; first += 16, to += 64) {          /* of a known length: vectors */
        uint32_t words[16];
        int32_t *part = sum + first;
        for (int c = 0; c < 16; c++) words[c] = (uint32_t)b0[first + c] | (uint32_t)b1[first + c] << 8 | (uint32_t)b2[first + c] << 16 | (uint32_t)b3[first + c] << 24;
        for (int c = 0; c < 16; c++) words[c] ^= flip * 0x01010101u;
        for (int c = 0; c < 16; c++) part[c] += ((int32_t)(words[c] << 24) >> 24) + ((int32_t)(words[c] << 16) >> 24) + ((int32_t)(words[c] << 8) >> 24) + ((int32_t)words[c] >> 24);
        memcpy(to, words, sizeof words);
    }
    for (int c = first; c < nr; c++, to += 4) {
        to[0] = (int8_t)(b0[c * col] ^ flip);
        to[1] = (int8_t)(b1[c * col] ^ flip);
        to[2] = (int8_t)(b2[c * col] ^ flip);
        to[3] = (int8_t)(b3[c * col] ^ flip);
        sum[c] += to[0] + to[1] + to[2] + to[3];
    }
}

void fy_pack_s8(int8_t *dst, int32_t *sums, const uint8_t *b, uint8_t flip, int64_t k, int64_t n, int64_t row, int64_t col, int nr, int64_t group, int64_t group_end) {
    const int64_t fours = (k + 3) / 4;
    for (int64_t g = group; g < group_end; g++) {
        int8_t *to = dst + g * fours * 4 * nr;
        int32_t *sum = sums + g * nr;
        const bool whole = (g + 1) * nr <= n;
        memset(sum, 0, (size_t)nr * sizeof *sum);
        for (int64_t i = 0; i < fours; i++, to += 4 * nr) {
            if (whole && 4 * i + 4 <= k) {
                pack_four(to, sum, b + 4 * i * row + g * nr * col, flip, row, col, nr);
                continue;
            }
            for (int c = 0; c < nr; c++)
                for (int t = 0; t < 4; t++) {
                    int64_t at = 4 * i + t, column = g * nr + c;
                    to[4 * c + t] = at < k && column < n ? (int8_t)(b[at * row + column * col] ^ flip) : 0;
                    sum[c] += to[4 * c + t];
                }
        }
    }
}
