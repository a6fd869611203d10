/* SPDX-License-Identifier: Apache-2.0
 * int8_amx.h - the product of bytes in tiles of AMX: up to 16 pixels by 16 columns, two by two of them. Sums are exact: what tiles suit badly goes
 * the way of VNNI, for the same bits. */
#include "kernels/body/amx.h"

#define AMX_FEW 4                        /* pixels below which weights take longer to load than to use */

typedef struct amx_place { const uint8_t *x; int64_t row, pixel; } amx_place;

/* Where the tiles of a group lie: pixels are counted along lines, of which there is one for each row of the result; or one for all, where the rows of x
 * follow each other: `pitch` pixels then from one row to the next, and those beyond the end of a row are worked out for nothing. */
typedef struct amx_job {
    const fy_product_u8s8 *p;
    const int8_t *w, *ahead, *behind;    /* weights of the next group, to be fetched meanwhile, `lines` of them in a step */
    int64_t column, y, pitch, row, lines;
    int     step;
    int     waiting, rows;               /* tiles whose sums are to be stored yet, and their rows: that is done while the products of the next are under way */
    amx_place at[2];
    int32_t *sums;
} amx_job;

/* Those of both at once where the second tile's pixels follow the first's in the result. */
FY_NOINLINE static void amx_finish(amx_job *j) {
    const fy_product_u8s8 *p = j->p;
    const int32_t *sums = j->sums;
    dot_place to = {.column = j->column};
    int waits = 0;                       /* pixels at `sums` to be stored from to.pixel on */
    for (int t = 0; t < j->waiting; t++) {
        int64_t row = j->at[t].row + j->at[t].pixel / j->pitch, column = j->at[t].pixel % j->pitch;
        for (int done = 0; done < j->rows; row++, column = 0) {
            const int64_t left = j->rows - done, most = p->out[1] - column, n = most < 0 ? 0 : most < left ? most : left, skip = j->pitch - column < left ? j->pitch - column : left;
            if (waits && row * p->out[1] + column != to.pixel + waits) {
                dot_finish(p, &to, waits, sums);
                sums += waits * DOT_NR;
                waits = 0;
            }
            if (!waits) {
                to.pixel = row * p->out[1] + column;
                to.y = j->y + to.pixel * p->y_pixel;
            }
            waits += (int)n;
            if (skip > n) {              /* what is beyond the end of a row is no pixel */
                if (waits) dot_finish(p, &to, waits, sums);
                sums += (waits + skip - n) * DOT_NR;
                waits = 0;
            }
            done += (int)skip;
        }
    }
    if (waits) dot_finish(p, &to, waits, sums);
    j->waiting = 0;
}

FY_INLINE void amx_pixels(const bool TWO, amx_job *job, const amx_place *at, int rows) {
    const fy_product_u8s8 *p = job->p;
    const int64_t apart = p->x_step[1], step = job->step, lines = job->ahead < job->behind ? job->lines : 0;
    const int8_t *w = job->w, *ahead = job->ahead;
    amx_begin(TWO);
    for (int64_t b = 0; b < p->in_blocks; b++)
        for (int64_t i = 0; i < p->kernel[0]; i++)
            for (int64_t j = 0; j < p->kernel[1]; j++) {
                const int64_t tap = b * p->x_block + i * p->tap[0] + j * p->tap[1];
                for (int64_t k = 0; k < p->lanes; k += step, w += step * DOT_NR) {
                    for (int64_t l = 0; l < lines; l++, ahead += 64) __builtin_prefetch(ahead, 0, 2);
                    AMX_STEP("tdpbusd", TWO, at[0].x + tap + k, at[1].x + tap + k, apart, w);
                }
            }
    job->ahead = ahead;
    amx_finish(job);
    amx_end(TWO, job->sums, rows);
    job->rows = rows;
    job->waiting = 1 + TWO;
    job->at[0] = at[0];
    job->at[1] = at[1];
}

/* The tiles of `rows` pixels among those that the lines are cut into, each `most` wide but the last; the last line has `last` pixels. */
static void amx_tiles(amx_job *j, int64_t lines, int64_t wide, int64_t last, int rows, int most) {
    amx_place at[2];
    int n = 0;
    amx_shape(rows, j->step);
    for (int64_t r = 0; r < lines; r++) {
        const int64_t end = r + 1 < lines ? wide : last;
        for (int64_t i = 0; i < end; i += most) {
            if ((end - i < most ? end - i : most) != rows) continue;
            at[n++] = (amx_place){.x = j->p->x + (j->row + r) * j->p->x_step[0] + i * j->p->x_step[1], .row = j->row + r, .pixel = i};
            if (n < 2) continue;
            amx_pixels(true, j, at, rows);
            n = 0;
        }
    }
    if (n) {
        at[1] = at[0];
        amx_pixels(false, j, at, rows);
    }
}

static int64_t amx_tiles_of(int64_t pixels) { return (pixels + AMX_ROWS - 1) / AMX_ROWS; }

static void amx_product_u8s8(const fy_product_u8s8 *p, int64_t group, int64_t row, int64_t row_end) {
    int32_t sums[2 * AMX_ROWS * DOT_NR] __attribute__((aligned(64)));
    amx_job j = {.p = p, .sums = sums, .w = p->w + group * p->w_group, .column = group * DOT_NR, .y = group * DOT_NV * p->y_block, .pitch = p->out[1], .row = row, .step = amx_step(p->lanes)};
    if (row_end * p->out[1] > p->pixels) row_end = (p->pixels + p->out[1] - 1) / p->out[1];
    int64_t lines = row_end - row, wide = p->out[1], last = p->pixels - (row_end - 1) * wide < wide ? p->pixels - (row_end - 1) * wide : wide;
    if (j.step < 8 || wide < AMX_FEW || lines < 1) {
        product_u8s8(p, group, row, row_end);
        return;
    }
    const int64_t pitch = p->x_step[0] / p->x_step[1], all = (lines - 1) * pitch + last;
    if (p->x_step[0] % p->x_step[1] == 0 && pitch >= wide && amx_tiles_of(all) < lines * amx_tiles_of(wide)) {
        j.pitch = pitch;
        lines = 1;
        wide = last = all;
    }
    const int64_t tiles = amx_tiles_of(wide), most = (wide + tiles - 1) / tiles, rest[3] = {most, lines > 1 ? wide - (tiles - 1) * most : most, (last - 1) % most + 1};
    const int64_t passes = lines * tiles < 8 ? (lines * tiles + 1) / 2 : 4;
    j.ahead = j.behind = j.w + p->w_group;
    if ((group + 1) * DOT_NR < p->columns) j.behind += p->w_group;
    j.lines = j.step / 2 / passes;
    for (int i = 0; i < 3; i++) {
        if ((i && rest[i] == rest[0]) || (i == 2 && rest[2] == rest[1])) continue;
        amx_tiles(&j, lines, wide, last, (int)rest[i], (int)most);
    }
    amx_finish(&j);
    amx_release();
}

#define AMX_PEAK 4                       /* products in flight */
static double amx_dot_peak(int64_t n) {
    int8_t zero[AMX_ROWS * AMX_BYTES] = {0};
    amx_shape(AMX_ROWS, AMX_BYTES);
    amx_begin(true);
    AMX_LOAD(4, zero, AMX_BYTES);
    AMX_LOAD(6, zero, AMX_BYTES);
    for (int64_t i = 0; i < n / 4; i++) {
        AMX_DOT("tdpbusd", 0, 4, 6);
        AMX_DOT("tdpbusd", 1, 4, 6);
        AMX_DOT("tdpbusd", 2, 4, 6);
        AMX_DOT("tdpbusd", 3, 4, 6);
    }
    amx_release();
    return (double)(n / 4) * AMX_PEAK * 2 * AMX_ROWS * AMX_ROWS * AMX_BYTES;
}
