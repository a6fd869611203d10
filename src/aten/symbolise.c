/* SPDX-License-Identifier: Apache-2.0
 * symbolise.c - a static program with an axis opened: the input gets a symbol, and while the program is lowered the literals
 * that hold the sample's size are replaced where the shapes force it.
 *
 *     x [1,512,1,1] -> x [batch,512,1,1];  view(x, [1,512]) -> view(x, [batch,512])
 *
 * A view's literals are grouped with the axes of its input into the shortest runs of equal product at the sample's sizes
 * (each run of the input becomes that run of the result, as memory order demands). In a run that holds the symbol, one
 * literal takes it: the one after which the product of the run is right for every size. Literals elsewhere are only
 * touched where a size of nothing but convention is asked for: fills and expansions along the opened axis.
 *
 * What this cannot know, whether a 1 was the batch or just a 1, verification finds: it runs the frozen program sample by
 * sample against the opened one. */
#include "aten/lower.h"

#include <string.h>

fy_status fy_aten_symbolise(fy_program *p, int n, const fy_axis_name *axes, ferry_error *e) {
    FY_TRY(fy_aten_functionalise(p, e));                 /* while recorded sizes and strides still hold */
    fy_popened *opened = FY_NEWN(&p->arena, fy_popened, p->nopened + n);
    FY_NOMEM(e, opened);
    if (p->nopened) memcpy(opened, p->opened, (size_t)p->nopened * sizeof *opened);
    p->opened = opened;
    for (int k = 0; k < n; k++) {
        const fy_axis_name *a = &axes[k];
        fy_pvalue *v = NULL;
        for (int i = 0; i < p->nin && !v; i++) {
            const fy_pinput *in = &p->in[i];
            if (in->kind == FY_PIN_USER && in->value && in->value->kind == FY_PV_TENSOR
                && ((in->user_name && strcmp(in->user_name, a->input) == 0) || strcmp(in->value->name, a->input) == 0)) v = in->value;
        }
        FY_NEED(e, v && v->has_meta, NAME, "no input tensor is named \"%s\"", a->input);
        int axis = a->axis < 0 ? a->axis + v->rank : a->axis;
        FY_NEED(e, axis >= 0 && axis < v->rank, AXIS, "input \"%s\" has rank %d, so no axis %d", a->input, v->rank, a->axis);
        int64_t size;
        if (!fy_dim_known(v->dim[axis], &size)) continue;            /* dynamic already */
        const fy_dim *sym = fy_dim_sym(p->dims, fy_arena_str(&p->arena, a->symbol)), **dim = FY_NEWN(&p->arena, const fy_dim *, v->rank);
        FY_NOMEM(e, sym);
        FY_NOMEM(e, dim);
        for (int i = 0; i < v->rank; i++) dim[i] = i == axis ? sym : v->dim[i];
        v->dim = dim;
        int at = 0;
        while (at < p->nopened && strcmp(opened[at].symbol, sym->name) != 0) at++;
        FY_NEED(e, at == p->nopened || opened[at].sample == size, FROZEN, "\"%s\" would be %lld on one input and %lld on \"%s\"", a->symbol, (long long)opened[at].sample, (long long)size, a->input);
        if (at == p->nopened) opened[p->nopened++] = (fy_popened){sym->name, axis, size};
    }
    p->ngiven = p->nopened;
    return FY_OK;
}

/* ---- while lowering -------------------------------------------------------------------------------------------------------- */

static bool sample_size(void *ctx, const fy_dim *sym, int64_t *v) {
    const fy_lower *l = ctx;
    for (int i = 0; i < l->p->nopened; i++)
        if (sym->name && strcmp(sym->name, l->p->opened[i].symbol) == 0) {
            *v = l->p->opened[i].sample;
            return true;
        }
    return false;
}

static bool at_sample(fy_lower *l, const fy_dim *d, int64_t *v) { return d && fy_dim_eval(d, sample_size, l, v); }

typedef struct trial { const fy_lower *l; int64_t k; } trial;

static bool trial_size(void *ctx, const fy_dim *sym, int64_t *v) {
    const trial *t = ctx;
    if (!sample_size((void *)(uintptr_t)t->l, sym, v)) return false;
    for (int i = 0; i < t->l->p->nopened; i++)
        if (!strcmp(sym->name, t->l->p->opened[i].symbol)) *v += t->k * (2 * i + 1) % 31;      /* axes apart from each other */
    return true;
}

/* The same number at many sizes, where the algebra does not see it: what is padded to whole windows, and so many windows of seven. */
static bool agree(const fy_lower *l, const fy_dim *a, const fy_dim *b) {
    for (int64_t k = 0, p, q; k < 31; k++)
        if (!fy_dim_eval(a, trial_size, &(trial){l, k}, &p) || !fy_dim_eval(b, trial_size, &(trial){l, k}, &q) || p != q) return false;
    return true;
}

/* One run: x[0..nx) against size[0..n), of equal product at the sample. */
static void fit_run(fy_lower *l, int nx, const fy_dim *const *x, int n, const fy_dim **size) {
    fy_dims *p = l->m->dims;
    const fy_dim *have = fy_l_k(l, 1), *want = fy_l_k(l, 1);
    for (int i = 0; i < nx; i++) have = fy_dim_mul(p, have, x[i]);
    for (int i = 0; i < n; i++) want = fy_dim_mul(p, want, size[i]);
    if (!have || !want || agree(l, have, want)) return;
    const fy_dim *found = NULL;
    int at = -1, best = 0;
    for (int i = 0; i < n; i++) {
        const fy_dim *rest = fy_l_k(l, 1);
        for (int k = 0; k < n; k++)
            if (k != i) rest = fy_dim_mul(p, rest, size[k]);
        if (!rest || fy_dim_is(rest, 0)) continue;
        const fy_dim *d = fy_dim_floordiv(p, have, rest);
        int64_t was, now;
        if (!d || fy_dim_mul(p, d, rest) != have || !fy_dim_known(size[i], &was) || !at_sample(l, d, &now) || now != was) continue;
        /* of several: the symbol by itself before an axis of x before the first */
        int good = d->kind == FY_DIM_SYM ? 3 : 1;
        for (int k = 0; k < nx; k++) good = good < 2 && x[k] == d ? 2 : good;
        if (good > best) { best = good; found = d; at = i; }
    }
    if (found) size[at] = found;
    else (void)fy_help(l->b.e, fy_l_fail(l, FY_E_FROZEN, "%s: none of its sizes can take the opened axis", l->n->op), "leave that axis fixed (fewer --dynamic), or capture the module by torch.export with dynamic_shapes");
}

void fy_l_fit_view(fy_lower *l, int rank, const fy_dim *const *x, int n, const fy_dim **size) {
    int64_t have[FY_MAX_RANK], want[FY_MAX_RANK], total = 1, rest = 1;
    int open = -1;
    if (l->p->nopened == 0 || l->b.status != FY_OK) return;
    for (int i = 0; i < rank; i++) {
        if (!at_sample(l, x[i], &have[i])) return;       /* other symbols too: the program was exported with them */
        total *= have[i];
    }
    for (int i = 0; i < n; i++) {
        if (!at_sample(l, size[i], &want[i])) return;
        if (want[i] == -1) open = i;
        else rest *= want[i];
    }
    const fy_dim *all = fy_l_k(l, 1), *wanted = all;
    for (int i = 0; i < rank; i++) all = fy_dim_mul(l->m->dims, all, x[i]);
    for (int i = 0; i < n; i++) wanted = fy_dim_mul(l->m->dims, wanted, size[i]);
    if (open < 0 && all && wanted && agree(l, all, wanted)) return;      /* the program computed them */
    if (open >= 0) {                                     /* what -1 was for the sample */
        if (rest == 0 || total % rest) return;
        want[open] = total / rest;
        size[open] = fy_l_k(l, want[open]);
    }
    for (int i = 0, k = 0; i < rank || k < n;) {
        int i0 = i, k0 = k;
        int64_t a = 1, b = 1;
        if (i < rank) a = have[i++];
        if (k < n) b = want[k++];
        while (a != b && (i < rank || k < n)) {
            if (a < b && i < rank) a *= have[i++];
            else if (k < n) b *= want[k++];
            else a *= have[i++];
        }
        /* a sample of 1 fits on either side of a border between runs: before the last literal it belongs to the run that ends
         * here, [L, batch, heads, size] -> [L*batch, width], else to the one that begins, [L, batch, width] -> [L, batch*heads, size] */
        int64_t fixed;
        while (i < rank && have[i] == 1 && !fy_dim_known(x[i], &fixed) && k == n - 1 && want[k] != 1) i++;
        while (k < n && want[k] == 1 && fy_dim_known(size[k], &fixed) && !(i < rank && have[i] == 1)) k++;       /* [L*batch, w] -> [L, batch, w] */
        bool rest_one = true;                            /* what is left are ones: they belong to this run */
        for (int q = i; q < rank; q++) rest_one = rest_one && have[q] == 1;
        for (int q = k; q < n; q++) rest_one = rest_one && want[q] == 1;
        if (rest_one && (i == rank || k == n)) { i = rank; k = n; }
        fit_run(l, i - i0, x + i0, k - k0, size + k0);
        if (l->b.status != FY_OK) return;
    }
}

/* The symbol of an opened axis `axis` whose sample size is `size`. */
static const fy_dim *symbol_for(fy_lower *l, int axis, int64_t size) {
    for (int i = 0; i < l->p->nopened; i++)
        if (l->p->opened[i].axis == axis && l->p->opened[i].sample == size) return fy_map_gets(&l->symbol, l->p->opened[i].symbol);
    return NULL;
}

const fy_dim *fy_l_fit_size(fy_lower *l, int axis, const fy_dim *size) {
    int64_t k;
    if (l->p->nopened == 0 || !size || !fy_dim_known(size, &k)) return size;
    const fy_dim *d = symbol_for(l, axis, k);
    return d ? d : size;
}

const fy_dim *fy_l_fit_range(fy_lower *l, int64_t end) {
    const fy_popened *found = NULL;
    for (int i = 0; i < l->p->nopened; i++) {
        const fy_popened *o = &l->p->opened[i];
        if (o->sample != end) continue;
        if (found) {
            (void)fy_l_fail(l, FY_E_FROZEN, "arange(%lld) may count \"%s\" or \"%s\": both are %lld in the sample", (long long)end, found->symbol, o->symbol, (long long)end);
            return NULL;
        }
        found = o;
    }
    return found ? fy_map_gets(&l->symbol, found->symbol) : NULL;
}

const fy_dim *fy_l_fit_end(fy_lower *l, const fy_dim *end, const fy_dim *size) {
    int64_t k, n;
    if (l->p->nopened == 0 || !end || !fy_dim_known(end, &k) || k < 0 || fy_dim_known(size, &n)) return end;
    return at_sample(l, size, &n) && k >= n ? size : end;            /* to the end of an opened axis */
}

fy_value *fy_l_fit_like(fy_lower *l, fy_value *v, int axis, const fy_dim *size) {
    int64_t have, want;
    int rank = fy_rank(l, v);
    if (l->p->nopened == 0 || l->b.status != FY_OK || axis >= rank || v->type.dim[axis] == size) return v;
    if (!fy_const_dim(v, axis, &have) || fy_dim_known(size, &want) || !at_sample(l, size, &want) || have != want) return v;
    if (have != 1) {                                     /* only what is the same for every sample: a fill */
        bool fill = (v->constant && v->constant->kind == FY_CONST_STRIDED && fy_dim_is(fy_l_k(l, v->constant->stride[axis]), 0))
                 || (v->def && strcmp(v->def->op->name, "Expand") == 0 && fy_in(v->def, 0)->type.rank == 0);
        if (!fill) {
            (void)fy_l_fail(l, FY_E_FROZEN, "%s reads a tensor whose axis %d is %lld in the program", l->n->op, axis, (long long)have);
            return NULL;
        }
        v = fy_l_slice(l, v, axis, fy_l_k(l, 0), fy_l_k(l, 1), 1);
    }
    const fy_dim *dim[FY_MAX_RANK];
    for (int i = 0; i < rank; i++) dim[i] = i == axis ? size : v->type.dim[i];
    return fy_l_expand(l, v, rank, dim);
}

void fy_l_fit_same(fy_lower *l, const fy_dim *a, const fy_dim *b) {
    int64_t k, n;
    if (l->p->nopened == 0 || !a || !b || a == b) return;
    if (fy_dim_known(a, &k) != fy_dim_known(b, &n)) {
        fy_buf text = {0};
        fy_dim_print(&text, a);
        fy_buf_str(&text, " and ");
        fy_dim_print(&text, b);
        (void)fy_l_fail(l, FY_E_FROZEN, "the sample's size (%s = %lld) is baked into the program: %s needs %s equal", l->p->opened[0].symbol, (long long)l->p->opened[0].sample,
                        l->n->op, text.at ? text.at : "two sizes");
        if (l->b.e) (void)fy_help(l->b.e, l->b.status, "export again with dynamic_shapes, for example dynamic_shapes={\"x\": {%d: torch.export.Dim(\"%s\")}} and a sample of size 2 or more there",
                                  l->p->opened[0].axis, l->p->opened[0].symbol);
        fy_buf_free(&text);
    }
}
