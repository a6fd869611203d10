/* SPDX-License-Identifier: Apache-2.0
 * int8.h - kernels over bytes: products and convolutions of u8 by s8 with sums in 32 bits, what is done with a sum before it is stored, and
 * what works byte by byte. Sums are exact, what follows them uses no FMA: every instruction set gives the same bits.
 *
 * A tensor of bytes holds q where the number is scale * (q - zero). s8 is taken as u8: q ^ 0x80, with 128 more in `zero`; `flip` is 0x80 then,
 * else 0. Products take activations flipped already. */
#ifndef FY_KERNELS_INT8_H
#define FY_KERNELS_INT8_H

#include "base/status.h"

/* How bytes are to be read: (byte ^ flip) - zero, times scale. */
typedef struct fy_bytes { float scale; int32_t zero; uint8_t flip; } fy_bytes;

typedef enum fy_put { FY_PUT_I32, FY_PUT_F32, FY_PUT_BYTE } fy_put;

/* What becomes of the sum in column c. Arrays have a value for each column, up to whole groups.
 *   i32:  sum + start
 *   f32:  clamp((sum + start) * scale + bias + add)
 *   byte: r = round(clamp((sum + start) * scale + bias)), stored as r + zero. `again`: r is a quantised value of its own, to which a byte (add)
 *         or a row (add_row) is added: round(clamp2(r * k + (add - add_zero) * k_add + add_row)) + zero2
 * Rounding is half to even; limits are those of the byte less its zero point, or narrower. */
typedef struct fy_requant {
    fy_put         put;
    const int32_t *start;                /* bias, and what zero points add */
    const float   *scale, *bias;         /* bias may be NULL */
    float          lo, hi;
    int32_t        zero;
    bool           small;                /* scales are within (-1, 1) and there is no bias: no value leaves 32 bits */
    const void    *add;                  /* f32 or bytes in the result's layout, or NULL */
    bool           again;
    uint8_t        add_flip;
    int32_t        add_zero, zero2;
    const float   *add_row;              /* or NULL */
    float          k, k_add, lo2, hi2;
} fy_requant;

/* Sums of products over in_blocks x kernel[0] x kernel[1] taps x `lanes` neighbouring bytes, for groups of int8_nr columns and rows [row,
 * row_end) of out[1] pixels each. A convolution in the c16 layout, or a product of matrices: pixels are rows then, there is one tap, and its
 * lanes are the whole of k; there alone they may be no multiple of four. Steps are in elements. w: [group][block][tap][lanes / 4][int8_nr
 * columns][4 lanes], zero beyond the last lane.
 * Depthwise: group is a block of 16 channels, w: [block][down][across / 4][16][4 across], and 64 bytes behind x may be read as well. */
typedef struct fy_product_u8s8 {
    const uint8_t *x;
    const int8_t  *w;
    void          *y;
    int64_t        lanes, in_blocks, kernel[2], out[2], w_group;
    int64_t        last;                 /* of the lanes of the last block, a multiple of four: all others have weights of zero, and need not be looked at; 0: all count */
    int64_t        pixels;               /* out[0] * out[1], or less where the last row is shorter */
    int64_t        x_block, x_step[2], tap[2];
    int64_t        columns;              /* of the result */
    int64_t        y_pixel, y_block;     /* from one pixel to the next in y, and from 16 columns to the next 16 */
    const int32_t *row;                  /* added to the sums of each pixel; NULL: nothing */
    fy_requant     q;
} fy_product_u8s8;

/* y = round(clamp(op)) + zero, op = (a - za) ka + (b - zb) kb, or (a - za) (b - zb) ka. `one`: 1 (2): the first (second) operand has one value. */
typedef struct fy_byte_binary { fy_bytes a, b; float lo, hi; int32_t zero; bool product; int one; } fy_byte_binary;      /* ka, kb: a.scale, b.scale */

typedef void fy_kernel_product(const fy_product_u8s8 *p, int64_t group, int64_t row, int64_t row_end);
typedef fy_kernel_product fy_kernel_product_depthwise;
/* round(x / scale) + zero as a byte; exactly what division gives. NaN: the lowest. */
typedef void fy_kernel_quantize(uint8_t *y, const float *x, int64_t n, const fy_bytes *q);
typedef void fy_kernel_dequantize(float *y, const uint8_t *x, int64_t n, const fy_bytes *q);
typedef void fy_kernel_byte_binary(uint8_t *y, const uint8_t *a, const uint8_t *b, int64_t n, const fy_byte_binary *q);
typedef double fy_kernel_dot_peak(int64_t n);    /* as fma_peak, of products of bytes: multiplications and additions done */

/* Packs columns of b (element [i, j] at b[i * row + j * col], ^ flip) into groups of nr; sums[j]: of column j, for all columns of the groups. */
void fy_pack_s8(int8_t *dst, int32_t *sums, const uint8_t *b, uint8_t flip, int64_t k, int64_t n, int64_t row, int64_t col, int nr, int64_t group, int64_t group_end);

#endif
