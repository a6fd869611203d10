/* SPDX-License-Identifier: Apache-2.0
 * place.c - where values lie, for one combination of input sizes. The steps are gone through in order, buffers taken from the lowest hole that
 * fits (best fit of the smallest) and given back after their last reader. A result may take the place of an input that ends with it.
 *
 * What a Concat joins is made where it belongs in the whole, so that nothing has to be copied: the steps are gone through from the last to the
 * first, and every part whose bytes lie in one piece of a whole gets that place as its home, through reshapes, out of a Split, and through a
 * Concat that is a stretch of a later one (DenseNet's). The parts of a Split are seen where they lie in its input. Implementations copy only what lies elsewhere. */
#include "plan/plan.h"

#include "base/checked.h"

#include <string.h>

#define ALIGN 64

typedef struct hole { size_t at, bytes; } hole;
typedef struct places { FY_VEC(hole) holes; size_t top; ferry_error *e; } places;

static fy_status take(places *pl, size_t bytes, size_t *at) {
    int64_t best = -1;
    for (int64_t i = 0; i < pl->holes.n; i++)
        if (pl->holes.at[i].bytes >= bytes && (best < 0 || pl->holes.at[i].bytes < pl->holes.at[best].bytes)) best = i;
    if (best >= 0) {
        hole *h = &pl->holes.at[best];
        *at = h->at;
        h->at += bytes;
        h->bytes -= bytes;
        if (!h->bytes) memmove(h, h + 1, (size_t)(--pl->holes.n - best) * sizeof *h);
        return FY_OK;
    }
    if (pl->holes.n && pl->holes.at[pl->holes.n - 1].at + pl->holes.at[pl->holes.n - 1].bytes == pl->top) {     /* a hole at the end grows */
        hole *h = &pl->holes.at[--pl->holes.n];
        *at = h->at;
        pl->top = h->at + bytes;
        return FY_OK;
    }
    *at = pl->top;
    FY_NEED(pl->e, pl->top <= SIZE_MAX - bytes, LIMIT, "the intermediate values take more memory than can be addressed");
    pl->top += bytes;
    return FY_OK;
}

static fy_status give(places *pl, size_t at, size_t bytes) {
    int64_t i = 0;
    while (i < pl->holes.n && pl->holes.at[i].at < at) i++;
    bool joins_next = i < pl->holes.n && at + bytes == pl->holes.at[i].at, joins_prev = i > 0 && pl->holes.at[i - 1].at + pl->holes.at[i - 1].bytes == at;
    if (joins_prev && joins_next) {
        pl->holes.at[i - 1].bytes += bytes + pl->holes.at[i].bytes;
        memmove(&pl->holes.at[i], &pl->holes.at[i + 1], (size_t)(--pl->holes.n - i) * sizeof(hole));
    } else if (joins_prev) pl->holes.at[i - 1].bytes += bytes;
    else if (joins_next) {
        pl->holes.at[i].at = at;
        pl->holes.at[i].bytes += bytes;
    } else {
        FY_NOMEM(pl->e, FY_RESERVE(pl->holes, pl->holes.n + 1));
        memmove(&pl->holes.at[i + 1], &pl->holes.at[i], (size_t)(pl->holes.n++ - i) * sizeof(hole));
        pl->holes.at[i] = (hole){at, bytes};
    }
    return FY_OK;
}

/* A buffer, shared by the values that see it: how many bytes, how many of them its first value fills, until which step. */
typedef struct buffer { size_t at, bytes, used; int last; } buffer;

/* Where a value is to be made: `at` bytes into another; whole NULL: anywhere. */
typedef struct home { const fy_value *whole; size_t at; } home;

typedef struct placing {
    const fy_plan *p;
    fy_spec       *s;
    ferry_error   *e;
    places         pl;
    int32_t       *maker, *buffer_of;    /* by value id: the step that makes it, the buffer; -1: none */
    home          *home;                 /* by value id */
    FY_VEC(buffer) buffers;
} placing;

/* Bytes of a value of known sizes, lanes that pad channels among them. */
static fy_status bytes_of(const placing *x, const fy_value *v, size_t *used) {
    const int64_t *dim = x->s->dim[v->id];
    int64_t n, padded[FY_MAX_RANK];
    for (int i = 0; i < v->type.rank; i++) padded[i] = x->p->layout[v->id] == FY_C16 && i == 1 ? (dim[i] + FY_LANES - 1) / FY_LANES * FY_LANES : dim[i];
    FY_NEED(x->e, fy_count_dims(&n, v->type.rank, padded) && n < INT64_MAX / 64, LIMIT, "a value has more elements than can be addressed");
    *used = (size_t)n * (size_t)fy_elem_bytes(v->type.dtype);
    return FY_OK;
}

/* ---- homes --------------------------------------------------------------------------------------------------------------- */

static bool runs(const placing *x, int step) { return step >= 0 && !x->s->skip[step] && !x->s->dynamic[step]; }

/* May v be made inside another value of this layout? What leaves the plan has memory of its own. */
static bool may_move(const placing *x, const fy_value *v, fy_layout layout) {
    return v && runs(x, x->maker[v->id]) && x->s->dim[v->id] && !x->s->fixed[v->id] && x->p->last[v->id] != INT32_MAX && x->p->layout[v->id] == layout;
}

/* Do the parts of `whole`, along the attribute axis of the step, lie one after the other? */
static bool one_piece(const placing *x, const fy_step *s, const fy_value *whole) {
    const int64_t *dim = x->s->dim[whole->id];
    int64_t axis = fy_attr_i(s->node, "axis");
    if (axis < 0) axis += whole->type.rank;
    for (int64_t i = 0; i < axis; i++)
        if (dim[i] != 1) return false;
    return x->p->layout[whole->id] == FY_PLAIN || axis == 1;
}

/* Do all parts have homes one after the other? *h: that of the first. */
static fy_status at_home(const placing *x, const fy_value *const *part, int n, home *h) {
    size_t at = 0, used;
    *h = (home){0};
    for (int i = 0; i < n; i++) {
        if (!part[i] || !x->s->dim[part[i]->id]) return FY_OK;
        const home *own = &x->home[part[i]->id];
        if (!own->whole || (i && (own->whole != x->home[part[0]->id].whole || own->at != x->home[part[0]->id].at + at))) return FY_OK;
        FY_TRY(bytes_of(x, part[i], &used));
        at += used;
    }
    if (n) *h = x->home[part[0]->id];
    return FY_OK;
}

static fy_status join(placing *x, const fy_step *s) {
    const fy_value *y = s->out[0];
    home *whole = &x->home[y->id], there;
    size_t at = 0, used;
    if (!one_piece(x, s, y)) return FY_OK;
    FY_TRY(at_home(x, s->in, s->nin, &there));
    if (!whole->whole && there.whole && may_move(x, y, x->p->layout[there.whole->id])) *whole = there;
    if (there.whole && there.whole == whole->whole) return FY_OK;
    for (int i = 0; i < s->nin; i++) {
        const fy_value *v = s->in[i];
        if (!v || !x->s->dim[v->id]) return FY_OK;
        FY_TRY(bytes_of(x, v, &used));
        if (may_move(x, v, x->p->layout[y->id]) && !x->home[v->id].whole && at % ALIGN == 0)
            x->home[v->id] = whole->whole ? (home){whole->whole, whole->at + at} : (home){y, at};
        at += used;
    }
    return FY_OK;
}

static fy_status cut(placing *x, const fy_step *s) {
    const fy_value *whole = s->in[0];
    home there;
    if (!whole || !x->s->dim[whole->id] || !one_piece(x, s, whole)) return FY_OK;
    FY_TRY(at_home(x, s->out, s->nout, &there));
    if (there.whole && !x->home[whole->id].whole && may_move(x, whole, x->p->layout[there.whole->id])) x->home[whole->id] = there;
    return FY_OK;
}

/* What is seen at its input's place has the home that the input can be given. */
static fy_status through(placing *x, const fy_step *s) {
    home *h = &x->home[s->out[0]->id];
    size_t a, b;
    const fy_value *v = s->in[0];
    if (!h->whole) return FY_OK;
    bool moved = !s->part && may_move(x, v, x->p->layout[h->whole->id]) && !x->home[v->id].whole;
    if (moved) {
        FY_TRY(bytes_of(x, v, &a));
        FY_TRY(bytes_of(x, s->out[0], &b));
        moved = a == b;
    }
    if (moved) x->home[v->id] = *h;
    else h->whole = NULL;
    return FY_OK;
}

static fy_status homes(placing *x) {
    for (int64_t i = 0; i < x->p->steps.n; i++) {
        const fy_step *s = x->p->steps.at[i];
        for (int o = 0; o < s->nout; o++)
            if (s->out[o]) x->maker[s->out[o]->id] = (int32_t)i;
    }
    for (int64_t i = x->p->steps.n - 1; i >= 0; i--) {
        const fy_step *s = x->p->steps.at[i];
        if (!runs(x, (int)i)) continue;
        if (s->impl->flags & FY_IMPL_JOINS) FY_TRY(join(x, s));
        if (s->impl->flags & FY_IMPL_CUTS) FY_TRY(cut(x, s));
        if (s->impl->flags & FY_IMPL_ALIAS) FY_TRY(through(x, s));
    }
    return FY_OK;
}

/* ---- buffers ------------------------------------------------------------------------------------------------------------- */

static void see(placing *x, const fy_value *v, int32_t buffer_of, size_t offset, int last) {
    buffer *b = &x->buffers.at[buffer_of];
    x->buffer_of[v->id] = buffer_of;
    x->s->offset[v->id] = offset;
    if (last > b->last) b->last = last;
}

static fy_status new_buffer(placing *x, const fy_value *v, int last) {
    buffer b = {.last = last};
    FY_TRY(bytes_of(x, v, &b.used));
    b.bytes = b.used ? (b.used + ALIGN - 1) / ALIGN * ALIGN : ALIGN;
    FY_TRY(take(&x->pl, b.bytes, &b.at));
    FY_PUSH(x->e, x->buffers, b);
    see(x, v, (int32_t)x->buffers.n - 1, b.at, last);
    return FY_OK;
}

/* `at` bytes into another value, which gets its place now if it has none yet. */
static fy_status place_within(placing *x, const fy_value *v, const fy_value *whole, size_t at, int last) {
    if (x->p->last[whole->id] == INT32_MAX) {                         /* the run takes its memory */
        x->s->within[whole->id] = x->s->within[v->id] = whole;
        x->s->offset[v->id] = at;
        return FY_OK;
    }
    if (x->buffer_of[whole->id] < 0) FY_TRY(new_buffer(x, whole, x->p->last[whole->id]));
    see(x, v, x->buffer_of[whole->id], x->s->offset[whole->id] + at, last);
    return FY_OK;
}

/* The input whose place output 0 takes, or -1: seen with other sizes, or as many elements that end here: each is read before it is written. */
static fy_status shared(const placing *x, const fy_step *s, const fy_value *v, int *input) {
    size_t used, other;
    *input = -1;
    if (v != s->out[0] || !(s->impl->flags & (FY_IMPL_ALIAS | FY_IMPL_INPLACE))) return FY_OK;
    FY_TRY(bytes_of(x, v, &used));
    for (int i = 0; i < s->nin && *input < 0; i++) {
        const fy_value *in = s->in[i];
        int32_t at = in ? x->buffer_of[in->id] : -1;
        if (at < 0 || (i && s->impl->flags & FY_IMPL_ALIAS)) continue;
        const buffer *b = &x->buffers.at[at];
        if (s->impl->flags & FY_IMPL_ALIAS) *input = i;
        else if (b->last == s->index && b->used == used && x->s->dim[in->id] && fy_elem_bytes(in->type.dtype) == fy_elem_bytes(v->type.dtype) && x->p->layout[in->id] == x->p->layout[v->id]) {
            FY_TRY(bytes_of(x, in, &other));
            if (other == used) *input = i;
        }
    }
    return FY_OK;
}

static fy_status place_output(placing *x, const fy_step *s, const fy_value *v) {
    if (!v || x->s->fixed[v->id] || !x->s->dim[v->id] || x->p->last[v->id] == INT32_MAX) return FY_OK;
    int last = x->p->last[v->id] < s->index ? s->index : x->p->last[v->id], input;
    const home *h = &x->home[v->id];
    if (h->whole) return place_within(x, v, h->whole, h->at, last);
    if (x->buffer_of[v->id] >= 0) return FY_OK;                       /* with its first part */
    FY_TRY(shared(x, s, v, &input));
    if (input >= 0) {
        see(x, v, x->buffer_of[s->in[input]->id], x->s->offset[s->in[input]->id], last);
        return FY_OK;
    }
    if (s->impl->flags & FY_IMPL_ALIAS) return FY_OK;                 /* of an input, a constant or a fixed value: the run looks at it */
    return new_buffer(x, v, last);
}

/* The parts of a Split, where they lie in its input, which the run has or lies in a buffer. */
static fy_status place_parts(placing *x, const fy_step *s) {
    const fy_value *in = s->in[0];
    bool seen = in && x->s->dim[in->id] && (x->buffer_of[in->id] >= 0 || x->s->within[in->id]) && one_piece(x, s, in);
    size_t at = 0, used;
    for (int i = 0; i < s->nout; i++) {
        const fy_value *v = s->out[i];
        if (!v || !x->s->dim[v->id]) return FY_OK;                    /* can() of such implementations has asked */
        FY_TRY(bytes_of(x, v, &used));
        bool here = seen && at % ALIGN == 0 && may_move(x, v, x->p->layout[in->id]) && !x->home[v->id].whole;
        if (!here) FY_TRY(place_output(x, s, v));
        else if (x->s->within[in->id]) FY_TRY(place_within(x, v, x->s->within[in->id], (x->s->within[in->id] == in ? 0 : x->s->offset[in->id]) + at, 0));
        else see(x, v, x->buffer_of[in->id], x->s->offset[in->id] + at, x->p->last[v->id] < s->index ? s->index : x->p->last[v->id]);
        at += used;
    }
    return FY_OK;
}

/* What only the run gives a size sees the buffer of its input, which lives as long as it. */
static void extend(placing *x, const fy_step *s) {
    const fy_plan *p = x->p;
    if (!(s->impl->flags & FY_IMPL_ALIAS) || !s->in[0] || x->buffer_of[s->in[0]->id] < 0 || p->last[s->out[0]->id] == INT32_MAX) return;
    buffer *b = &x->buffers.at[x->buffer_of[s->in[0]->id]];
    x->buffer_of[s->out[0]->id] = x->buffer_of[s->in[0]->id];
    if (p->last[s->out[0]->id] > b->last) b->last = p->last[s->out[0]->id];
}

static fy_status place_step(placing *x, const fy_step *s) {
    if (x->s->skip[s->index]) return FY_OK;
    if (x->s->dynamic[s->index]) {
        extend(x, s);
        return FY_OK;
    }
    if (s->impl->flags & FY_IMPL_CUTS) return place_parts(x, s);
    for (int o = 0; o < s->nout; o++) FY_TRY(place_output(x, s, s->out[o]));
    return FY_OK;
}

/* Buffers that end at a step are few among those alive: the live ones are looked through. */
static fy_status place(placing *x) {
    const fy_plan *p = x->p;
    FY_VEC(int32_t) live = {0};
    fy_status st = homes(x);
    for (int64_t i = 0; !st && i < p->steps.n; i++) {
        int64_t before = x->buffers.n;
        st = place_step(x, p->steps.at[i]);
        for (int64_t n = before; !st && n < x->buffers.n; n++) {
            if (!FY_RESERVE(live, live.n + 1)) st = fy_nomem(x->e);
            else live.at[live.n++] = (int32_t)n;
        }
        for (int64_t n = live.n - 1; !st && n >= 0; n--) {
            const buffer *b = &x->buffers.at[live.at[n]];
            if (b->last > i) continue;
            st = give(&x->pl, b->at, b->bytes);
            live.at[n] = live.at[--live.n];
        }
    }
    fy_free(live.at);
    return st;
}

fy_status fy_spec_place(fy_spec *s, const fy_plan *p, ferry_error *e) {
    placing x = {.p = p, .s = s, .e = e, .pl = {.e = e}};
    x.maker = fy_malloc((size_t)p->nvalues + 1, sizeof *x.maker);
    x.buffer_of = fy_malloc((size_t)p->nvalues + 1, sizeof *x.buffer_of);
    x.home = fy_calloc((size_t)p->nvalues + 1, sizeof *x.home);
    for (uint32_t i = 0; x.maker && x.buffer_of && i < p->nvalues; i++) x.maker[i] = x.buffer_of[i] = -1;
    fy_status st = x.maker && x.buffer_of && x.home ? place(&x) : fy_nomem(e);
    s->bytes = x.pl.top;
    fy_free(x.maker);
    fy_free(x.buffer_of);
    fy_free(x.home);
    fy_free(x.buffers.at);
    fy_free(x.pl.holes.at);
    return st;
}
