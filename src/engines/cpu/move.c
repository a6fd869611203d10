/* SPDX-License-Identifier: Apache-2.0
 * move.c - data movement of any dtype of 1, 2, 4 or 8 bytes: Transpose. Neighbouring axes that stay neighbours are one; what is left is copied
 * in runs where the last axis stays last, else in square tiles of two axes. */
#include "engines/cpu/move.h"

#include "base/checked.h"

#include <string.h>

FY_COLD static const char *can_transpose(const fy_site *s) {
    const fy_value *x = fy_in(s->node, 0);
    return fy_movable(x) ? NULL : "elements of more than 8 bytes";
}

#define TILE 16
#define TILE_OF(T) \
    FY_NOINLINE static void tile_##T(T *y, const T *x, int64_t rows, int64_t cols, int64_t y_row, int64_t x_col) { \
        for (int64_t i = 0; i < rows; i += TILE) \
            for (int64_t j = 0; j < cols; j += TILE) { \
                int64_t ie = i + TILE < rows ? i + TILE : rows, je = j + TILE < cols ? j + TILE : cols; \
                for (int64_t a = i; a < ie; a++) \
                    for (int64_t b = j; b < je; b++) y[a * y_row + b] = x[a + b * x_col]; \
            } \
    }
TILE_OF(uint8_t)
TILE_OF(uint16_t)
TILE_OF(uint32_t)
TILE_OF(uint64_t)

/* 8 columns of x of 8 bytes as rows of y, or 4 of 4 halves, in registers: halves of halves change places. Steps in bytes, as below. */
#define SWAP(i, k, bits, low) { const uint64_t t = (v[i] >> (bits) ^ v[k]) & (low); v[k] ^= t; v[i] ^= t << (bits); }
#define TURN(name, N, SWAPS) \
    FY_NOINLINE static void name(char *y, const char *x, int64_t y_row, int64_t x_col) { \
        uint64_t v[N]; \
        _Pragma("GCC unroll 8") for (int k = 0; k < N; k++, x += x_col) memcpy(&v[k], x, sizeof *v); \
        SWAPS \
        _Pragma("GCC unroll 8") for (int k = 0; k < N; k++, y += y_row) memcpy(y, &v[k], sizeof *v); \
    }
#define BY4(i) SWAP(i, i + 4, 32, 0xffffffff)
#define BY2(i, bits) SWAP(i, i + 2, bits, bits == 16 ? 0xffff0000ffff : 0xffffffff)
#define BY1(i, bits) SWAP(i, i + 1, bits, bits == 8 ? 0xff00ff00ff00ff : 0xffff0000ffff)
TURN(turn_8, 8, BY4(0) BY4(1) BY4(2) BY4(3) BY2(0, 16) BY2(1, 16) BY2(4, 16) BY2(5, 16) BY1(0, 8) BY1(2, 8) BY1(4, 8) BY1(6, 8))
TURN(turn_4, 4, BY2(0, 32) BY2(1, 32) BY1(0, 16) BY1(2, 16))

FY_NOINLINE static void tile(const fy_moving *m, char *y, const char *x, int64_t rows, int64_t cols, int64_t y_row, int64_t x_col) {
    if (m->bytes == 1) tile_uint8_t((void *)y, (const void *)x, rows, cols, y_row, x_col);
    else if (m->bytes == 2) tile_uint16_t((void *)y, (const void *)x, rows, cols, y_row / 2, x_col / 2);
    else if (m->bytes == 4) tile_uint32_t((void *)y, (const void *)x, rows, cols, y_row / 4, x_col / 4);
    else tile_uint64_t((void *)y, (const void *)x, rows, cols, y_row / 8, x_col / 8);
}

/* Rows of y from columns of x, a line of y at a time; what is left at the right and below are tiles. */
FY_NOINLINE static void turn(const fy_moving *m, char *y, const char *x, int64_t rows, int64_t cols, int64_t y_row, int64_t x_col) {
    const int bytes = m->bytes, n = 8 / bytes, line = 64 / bytes;
    int64_t right = 0, below = 0;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (bytes < 4) {
        right = cols / n * n;
        below = rows / n * n;
    }
#endif
    for (int64_t j = 0; j < right; j += line)
        for (int64_t i = 0; i < below; i += n)
            for (int64_t b = j; b < j + line && b < right; b += n) (bytes == 1 ? turn_8 : turn_4)(y + i * y_row + b * bytes, x + i * bytes + b * x_col, y_row, x_col);
    tile(m, y + right * bytes, x + right * x_col, rows, cols - right, y_row, x_col);
    tile(m, y + below * y_row, x + below * bytes, rows - below, right, y_row, x_col);
}

#define STRIDED(T) { T *to = (void *)y; const T *from = (const void *)x; for (int64_t i = 0; i < n; i++) to[i * put] = from[i * step]; break; }

static void strided(const fy_moving *m, char *y, const char *x) {
    int64_t n = m->dim[m->rank - 1], step = m->from[m->rank - 1], put = m->to[m->rank - 1];
    if (!step && put == 1) { fy_fill(y, x, n, m->bytes); return; }
    switch (m->bytes) {
    case 1: STRIDED(uint8_t)
    case 2: STRIDED(uint16_t)
    case 4: STRIDED(uint32_t)
    default: STRIDED(uint64_t)
    }
}

#define FILL(T) { T *to = y, v = *(const T *)x; for (int64_t i = 0; i < n; i++) to[i] = v; break; }

void fy_fill(void *y, const void *x, int64_t n, int bytes) {
    switch (bytes) {
    case 1: memset(y, *(const unsigned char *)x, (size_t)n); break;
    case 2: FILL(uint16_t)
    case 4: FILL(uint32_t)
    default: FILL(uint64_t)
    }
}

bool fy_movable(const fy_value *v) {
    int b = v && v->type.kind == FY_TENSOR && v->type.rank >= 0 && v->type.dtype && v->type.dtype != FERRY_STRING ? fy_elem_bytes(v->type.dtype) : 0;
    return b == 1 || b == 2 || b == 4 || b == 8;
}

static bool squares(const fy_moving *m) {
    int last = m->rank - 1;
    return last > 0 && m->from[last] != 1 && m->from[last] != 0 && m->from[last - 1] == 1 && m->to[last] == 1;
}

/* The last axis of the result, and, where another axis is dense in x, that one with it as a square. */
static void pieces(void *arg, int64_t begin, int64_t end) {
    const fy_moving *m = arg;
    int last = m->rank - 1;
    bool square = squares(m);
    int outer = square ? last - 1 : last;
    int64_t at[FY_MAX_RANK], rest = begin / m->parts, part = begin % m->parts, x = 0, y = 0;
    for (int r = outer - 1; r >= 0; r--) {
        at[r] = rest % m->dim[r];
        rest /= m->dim[r];
        x += at[r] * m->from[r];
        y += at[r] * m->to[r];
    }
    for (int64_t i = begin; i < end; i++) {
        char *to = m->y + y * m->bytes;
        const char *from = m->x + x * m->bytes;
        if (square) {
            const int64_t first = part * m->cut, left = m->dim[last - 1] - first, y_row = m->to[last - 1] * m->bytes;
            turn(m, to + first * y_row, from + first * m->bytes, left < m->cut ? left : m->cut, m->dim[last], y_row, m->from[last] * m->bytes);
        } else if (m->from[last] == 1 && m->to[last] == 1) memcpy(to, from, (size_t)(m->dim[last] * m->bytes));
        else strided(m, to, from);
        if (++part < m->parts) continue;
        part = 0;
        for (int r = outer - 1; r >= 0; r--) {
            x += m->from[r];
            y += m->to[r];
            if (++at[r] < m->dim[r]) break;
            x -= at[r] * m->from[r];
            y -= at[r] * m->to[r];
            at[r] = 0;
        }
    }
}

void fy_move(fy_moving *m, fy_pool *pool) {
    int64_t outer = 1, inner;
    int n = 0;
    for (int i = 0; i < m->rank; i++) {                     /* axes that follow each other in both become one */
        if (m->dim[i] == 1) continue;
        if (n && m->from[n - 1] == m->dim[i] * m->from[i] && m->to[n - 1] == m->dim[i] * m->to[i]) {
            m->dim[n - 1] *= m->dim[i];
            m->from[n - 1] = m->from[i];
            m->to[n - 1] = m->to[i];
            continue;
        }
        m->dim[n] = m->dim[i];
        m->from[n] = m->from[i];
        m->to[n++] = m->to[i];
    }
    if (!n) {
        m->dim[0] = m->from[0] = m->to[0] = 1;
        n = 1;
    }
    m->rank = n;
    bool square = squares(m);
    inner = m->dim[n - 1] * (square ? m->dim[n - 2] : 1);
    for (int i = 0; i < n - 1 - square; i++) outer *= m->dim[i];
    m->parts = 1;
    if (square && inner) {                                   /* one large square is work for all threads, too */
        m->cut = TILE * (1 + 16384 / (TILE * m->dim[n - 1]));
        m->parts = (m->dim[n - 2] + m->cut - 1) / m->cut;
    }
    if (inner) fy_for(pool, outer * m->parts, 1 + 16384 / (inner / m->parts + 1), pieces, m);
}

static fy_status run_transpose(const fy_step *s, fy_exec *x, ferry_error *e) {
    const fy_tensor *in = fy_step_in(s, x, 0);
    fy_tensor *y = fy_step_out(s, x, 0);
    int64_t np;
    const int64_t *perm = fy_attr_ints(s->node, "perm", &np);
    fy_moving m = {.x = in->data, .y = y->data, .rank = in->rank, .bytes = fy_elem_bytes(in->dtype)};
    FY_NEED(e, !perm || np == in->rank, ATTR, "perm has %lld values for rank %d", (long long)np, in->rank);
    for (int i = 0; i < in->rank; i++) {
        int64_t from = perm ? perm[i] : in->rank - 1 - i;
        if (from < 0) from += in->rank;
        FY_NEED(e, from >= 0 && from < in->rank, ATTR, "perm has %lld for rank %d", (long long)perm[i], in->rank);
        m.dim[i] = y->dim[i];
        m.from[i] = in->stride[from];
        m.to[i] = y->stride[i];
    }
    if (fy_count(y)) fy_move(&m, x->pool);
    return FY_OK;
}

/* Axes of more than one element keep their order: nothing moves. */
FY_COLD static const char *can_view(const fy_site *s) {
    const fy_value *x = fy_in(s->node, 0);
    int64_t np, last = -1, size;
    const int64_t *perm = fy_attr_ints(s->node, "perm", &np);
    for (int i = 0; i < x->type.rank; i++) {
        int64_t from = perm && np == x->type.rank ? perm[i] : x->type.rank - 1 - i;
        if (from < 0 || from >= x->type.rank) return "perm is wrong";
        if (fy_dim_known(x->type.dim[from], &size) && size == 1) continue;
        if (from < last) return "axes change places";
        last = from;
    }
    return NULL;
}

static const fy_impl seen = {.op = "Transpose", .name = "view", .can = can_view, .flags = FY_IMPL_ALIAS};
static const fy_impl transpose = {.op = "Transpose", .name = "transpose", .can = can_transpose, .run = run_transpose};

const fy_impl *const fy_cpu_move[] = {&seen, &transpose, NULL};
