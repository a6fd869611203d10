/* SPDX-License-Identifier: Apache-2.0
 * row8.h - one row of bytes by several groups of columns side by side: with few sums, each dot product would wait for the one before it. The bits are product_u8s8's. */

#if DOT_NV == 2
#define ROW_SUMS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define ROW_BEGIN(i) qa s##i = qa_zero();
#define ROW_STEP(i) s##i = qa_dot(s##i, a, qw_load(w + i / 2 * p->w_group + i % 2 * 64));
#define ROW_END(i) iv_store(sums + 16 * i, qa_sum(s##i));

static void row_u8s8(const fy_product_u8s8 *p, int64_t group, int64_t end) {
    for (; group + 4 <= end; group += 4) {
        const int8_t *w = p->w + group * p->w_group;
        int64_t k = 0;
        ROW_SUMS(ROW_BEGIN)
        for (; k + 4 <= p->lanes; k += 4, w += 4 * DOT_NR) {
            const qx a = qx_set(dot_four(p->x + k));
            ROW_SUMS(ROW_STEP)
        }
        if (k < p->lanes) {
            const qx a = qx_set(dot_lanes(p->x + k, (int)(p->lanes - k)));
            ROW_SUMS(ROW_STEP)
        }
        int32_t sums[8 * 16];
        ROW_SUMS(ROW_END)
        for (int64_t i = 0; i < 8; i++) dot_put(p, iv_load(sums + 16 * i), group * DOT_NR + 16 * i, group * DOT_NR + 16 * i, p->row ? *p->row : 0);
    }
    for (; group < end; group++) product_u8s8(p, group, 0, 1);
}
#else
static void row_u8s8(const fy_product_u8s8 *p, int64_t group, int64_t end) {
    for (; group < end; group++) product_u8s8(p, group, 0, 1);
}
#endif
