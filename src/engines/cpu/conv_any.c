/* SPDX-License-Identifier: Apache-2.0
 * conv_any.c - Conv and ConvTranspose where no implementation is made for the special case: which form they are run in, and what is prepared for it. */
#include "engines/cpu/conv_any.h"

#include <string.h>

#define FEW 8                            /* channels up to which interleaving beats blocks of 16 */
#define MANY_TAPS (1 << 20)
#define MANY_ROWS 64                     /* rows of a depthwise kernel, over its first two axes */

/* ---- may it? --------------------------------------------------------------------------------------------------------------- */

static bool transposed(const fy_node *n) { return n->op->name[4] == 'T'; }

static int64_t group_of(const fy_node *n) { return fy_attr_i(n, "group"); }

static const char *can_any(const fy_site *s, int64_t *wd) {
    const fy_node *n = s->node;
    const fy_value *x = fy_in(n, 0), *w = fy_in(n, 1), *b = fy_in(n, 2);
    int64_t taps = 1, g = group_of(n);
    if (!fy_cpu_f32(x) || !fy_cpu_f32(w) || (b && !fy_cpu_f32(b))) return "not f32";
    if (x->type.rank < 3 || x->type.rank > 2 + FY_MAX_SPATIAL || w->type.rank != x->type.rank) return "not one to three spatial axes";
    fy_cpu_dims(w, wd);
    for (int i = 0; i < w->type.rank; i++)
        if (wd[i] < 0) return "the weight's sizes are not known";
    for (int i = 2; i < w->type.rank; i++) {
        if (wd[i] < 1 || wd[i] > MANY_TAPS || wd[i] * taps > MANY_TAPS) return "no taps, or very many";
        taps *= wd[i];
    }
    if (!wd[0] || !wd[1]) return "no channels";
    return g < 1 || wd[0] % g ? "channels do not come in groups" : NULL;
}

/* Channels of a group, in and out. */
static void channels(const fy_node *n, const int64_t *wd, int64_t *cin, int64_t *cout) {
    int64_t g = group_of(n);
    *cin = transposed(n) ? wd[0] / g : wd[1];
    *cout = transposed(n) ? wd[1] : wd[0] / g;
}

static const char *can_depth(const fy_site *s) {
    int64_t wd[FY_MAX_RANK], cin, cout;
    const char *why = can_any(s, wd);
    if (why) return why;
    channels(s->node, wd, &cin, &cout);
    if (cin != 1 || cout != 1) return "not one filter for each channel";
    int rank = fy_in(s->node, 1)->type.rank;
    return (rank > 3 ? wd[rank - 2] : 1) * (rank > 4 ? wd[2] : 1) > MANY_ROWS ? "a high kernel" : NULL;
}

static const char *can_first(const fy_site *s) {
    int64_t wd[FY_MAX_RANK];
    const char *why = can_any(s, wd);
    if (why) return why;
    if (group_of(s->node) != 1 || transposed(s->node)) return "groups, or transposed";
    return wd[1] > FEW ? "many input channels" : NULL;
}

static const char *can_direct(const fy_site *s) {
    int64_t wd[FY_MAX_RANK], cin, cout;
    const char *why = can_any(s, wd);
    if (why) return why;
    channels(s->node, wd, &cin, &cout);
    return group_of(s->node) != 1 && (cin % FY_LANES || cout % FY_LANES) ? "groups of no whole blocks of channels" : NULL;
}

static const char *can_pick(const fy_site *s) {
    int64_t wd[FY_MAX_RANK];
    return can_any(s, wd);
}

static void layouts(const fy_site *s, fy_layout *in, fy_layout *out) { (void)s; in[0] = *out = FY_C16; }
static void layouts_first(const fy_site *s, fy_layout *in, fy_layout *out) { (void)s; in[0] = FY_PLAIN; *out = FY_C16; }

/* ---- once ------------------------------------------------------------------------------------------------------------------ */

static fy_conv_how how_of(const fy_impl *t) {
    const char *name = strchr(t->name, '_') + 1;
    return *name == 'f' ? FY_CONV_FIRST : !strcmp(name, "depthwise") ? FY_CONV_DEPTH : *name == 'p' ? FY_CONV_PICK : FY_CONV_DIRECT;
}

fy_status fy_conv_any_prepare(fy_conv_any *d, fy_step *s, int bias, fy_conv_how how, fy_plan *p, fy_arena *a, ferry_error *e) {
    const fy_value *w = s->in[1], *b = s->node->nin > bias ? s->in[bias] : NULL;
    int64_t wd[FY_MAX_RANK];
    fy_cpu_dims(w, wd);
    FY_TRY(fy_conv_any_shape(d, s->node, p->o.kernels, how, wd, a, e));
    if (w->constant) {
        bool filled;
        d->w = fy_cpu_packed(p, d->count, &filled);
        FY_NOMEM(e, d->w);
        if (!filled) FY_TRY(fy_cpu_pack_rows(p, w->constant, d->nr, fy_conv_any_pack, &(fy_conv_filling){d, d->w}, e));
        s->in[1] = NULL;                 /* packed */
    }
    if (!b || !b->constant) return FY_OK;
    FY_TRY(fy_cpu_pack_bias(&d->bias, b, d->padded, a, e));
    s->in[bias] = NULL;
    return FY_OK;
}

static fy_status prepare(fy_step *s, fy_plan *p, fy_arena *a, ferry_error *e) {
    fy_conv_any *d = FY_NEW(a, fy_conv_any);
    FY_NOMEM(e, d);
    s->data = d;
    return fy_conv_any_prepare(d, s, 2, how_of(s->impl), p, a, e);
}

#define ANY(var, Op, Name, how, in) \
    static const fy_impl var = {.op = Op, .name = Name, .can = can_##how, .layouts = in, .fuse = fy_cpu_conv_fuse, .prepare = prepare, .run = fy_conv_any_run};
ANY(depth, "Conv", "conv.any_depthwise", depth, layouts)
ANY(first, "Conv", "conv.any_first", first, layouts_first)
ANY(direct, "Conv", "conv.any_direct", direct, layouts)
ANY(pick, "Conv", "conv.any_pick", pick, layouts)
ANY(back_depth, "ConvTranspose", "conv.transposed_depthwise", depth, layouts)
ANY(back_direct, "ConvTranspose", "conv.transposed_direct", direct, layouts)
ANY(back_pick, "ConvTranspose", "conv.transposed_pick", pick, layouts)

const fy_impl *const fy_cpu_conv_any[] = {&depth, &first, &fy_cpu_winograd3, &direct, &pick, &back_depth, &back_direct, &back_pick, &fy_cpu_deform, NULL};
