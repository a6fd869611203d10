/* SPDX-License-Identifier: Apache-2.0
 * amx.h - tiles of AMX as products use them: tiles 0 to 3 are sums of 2 by 2, 4 and 5 rows of A, 6 and 7 columns of B, each row of 64 bytes.
 * A shape is set once for many products; who set one releases it. The instructions are written out because GCC 12 takes the configuration's first
 * eight bytes for all of it, and so that no other function is compiled for AMX.
 * Source: Intel Architecture Instruction Set Extensions Reference, chapter 3. */

#define AMX_ROWS 16                      /* of a tile */
#define AMX_BYTES 64                     /* of a row */

typedef struct amx_config { uint8_t palette, start, reserved[14]; uint16_t bytes[16]; uint8_t rows[16]; } amx_config;

/* Sums of `rows` rows; `bytes` of each row of A at a time, a multiple of 4. */
FY_INLINE void amx_shape(int rows, int bytes) {
    amx_config c = {.palette = 1};
    for (int t = 0; t < 8; t++) {
        c.rows[t] = (uint8_t)(t < 6 ? rows : bytes / 4);
        c.bytes[t] = (uint16_t)(t == 4 || t == 5 ? bytes : AMX_BYTES);
    }
    __asm__ volatile("ldtilecfg %0" : : "m"(c));
}
FY_INLINE void amx_release(void) { __asm__ volatile("tilerelease"); }

#define AMX_ZERO(t) __asm__ volatile("tilezero %%tmm" #t : :)
#define AMX_LOAD(t, from, step) __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t : : "r"(from), "r"((int64_t)(step)) : "memory")
#define AMX_STORE(t, to, step) __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" : : "r"(to), "r"((int64_t)(step)) : "memory")
#define AMX_DOT(dot, sum, a, b) __asm__ volatile(dot " %%tmm" #b ", %%tmm" #a ", %%tmm" #sum : :)

/* One step of the sums: rows of A at a (and second, where two tiles of them go side by side), B at b, `nr` columns of 4 bytes a row. All is loaded
 * first: with a busy sibling on the core, loads between the products wait for them. */
#define AMX_STEP(dot, two, a, second, a_step, b) do {      \
        AMX_LOAD(4, a, a_step);                            \
        if (two) AMX_LOAD(5, second, a_step);              \
        AMX_LOAD(6, b, 2 * AMX_BYTES);                     \
        AMX_LOAD(7, (b) + AMX_BYTES, 2 * AMX_BYTES);       \
        AMX_DOT(dot, 0, 4, 6);                             \
        AMX_DOT(dot, 1, 4, 7);                             \
        if (two) {                                         \
            AMX_DOT(dot, 2, 5, 6);                         \
            AMX_DOT(dot, 3, 5, 7);                         \
        }                                                  \
    } while (0)

FY_INLINE void amx_begin(bool two) {
    AMX_ZERO(0);
    AMX_ZERO(1);
    if (!two) return;
    AMX_ZERO(2);
    AMX_ZERO(3);
}

/* Sums as rows of 32 words, those of the second tile of rows behind the first's `rows`. */
FY_INLINE void amx_end(bool two, void *sums, int rows) {
    char *to = sums, *second = to + (int64_t)rows * 2 * AMX_BYTES;
    AMX_STORE(0, to, 2 * AMX_BYTES);
    AMX_STORE(1, to + AMX_BYTES, 2 * AMX_BYTES);
    if (!two) return;
    AMX_STORE(2, second, 2 * AMX_BYTES);
    AMX_STORE(3, second + AMX_BYTES, 2 * AMX_BYTES);
}

/* The bytes of a row that are met at a time: the most, up to 64, that divide it into equal steps of whole words; 0: it has no whole words. */
FY_INLINE int amx_step(int64_t bytes) {
    if (bytes < 4 || bytes % 4) return 0;
    for (int64_t n = (bytes + AMX_BYTES - 1) / AMX_BYTES;; n++)
        if (bytes % (4 * n) == 0) return (int)(bytes / n);
}
