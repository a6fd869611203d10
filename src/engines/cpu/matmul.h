/* SPDX-License-Identifier: Apache-2.0
 * matmul.h - what products with constant operands share, whatever the precision. */
#ifndef FY_CPU_MATMUL_H
#define FY_CPU_MATMUL_H

#include "engines/cpu/cpu.h"

/* NULL where a constant b of rank 2 makes this a plain product of rows. */
const char *fy_cpu_matmul_can(const fy_site *s);
/* Takes in a bias, a residual, then an activation. */
bool fy_cpu_matmul_fuse(fy_step *s, const fy_node *next, const fy_value **other);

/* How products of m rows and n columns are split, `batches` of them that run together: pieces of rows times pieces of panels. */
typedef struct fy_cpu_pieces { int64_t m, n, all, row_pieces, panel_pieces, rows, panels, most; } fy_cpu_pieces;
/* At most 224 rows and `columns` columns, in panels of nr: as many as the kernel takes and looks ahead for; fewer, of equal size, where threads share them. */
enum { FY_CPU_COLUMNS = 2048, FY_CPU_COLUMNS8 = 256 };       /* of f32 and bf16; of bytes */
fy_cpu_pieces fy_cpu_pieces_of(const fy_exec *x, int64_t batches, int64_t m, int64_t n, int nr, int64_t columns);
/* The pieces from *i on and before `end` that are one product, and *i behind them: neighbours read their rows once. */
void fy_cpu_pieces_next(const fy_cpu_pieces *p, int64_t *i, int64_t end, int64_t *row, int64_t *row_end, int64_t *panel, int64_t *panel_end);
void fy_cpu_piece(const fy_cpu_pieces *p, int64_t i, int64_t *row, int64_t *row_end, int64_t *panel, int64_t *panel_end);
/* Activations that are not done inside kernels, over a piece of c. */
void fy_cpu_finish_piece(const fy_step *s, const fy_exec *x, float *c, int64_t c_row, int64_t n, int64_t row, int64_t row_end, int64_t panel, int64_t panel_end);

/* The whole product g, in pieces, with the epilogue of s. */
void fy_cpu_multiply(const fy_step *s, const fy_exec *x, const fy_gemm_f32 *g);

/* Batches of products: the axes before the last two, broadcast; steps of the operands along them. */
typedef struct fy_cpu_batches { int rank; int64_t count, dim[FY_MAX_RANK], sa[FY_MAX_RANK], sb[FY_MAX_RANK]; } fy_cpu_batches;
/* before_a, before_b: how many such axes the operands have. */
fy_cpu_batches fy_cpu_batches_of(const fy_tensor *y, const fy_tensor *a, int before_a, const fy_tensor *b, int before_b);
/* Where batch i begins in an operand with these steps. */
int64_t fy_cpu_batch_at(const fy_cpu_batches *w, int64_t i, const int64_t *step);

extern const fy_impl fy_cpu_matmul_bf16, fy_cpu_gemm_bf16, fy_cpu_gemm_general;

#endif
