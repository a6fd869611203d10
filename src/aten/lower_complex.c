/* SPDX-License-Identifier: Apache-2.0
 * lower_complex.c - complex numbers as pairs of real tensors, one for each plane (fy_lval.v: real, .im: imaginary).
 *
 * What is linear runs the operator's own lowering once for each plane: l->plane says which plane of each of its tensors a lowering
 * reads. Products run it for each choice of planes: (a + bi)(c + di) = (ac - bd) + (ad + bc)i. Transforms are DFT nodes, which want the two parts on a
 * last axis. Inputs and outputs of the model have that axis too. */
#include "aten/lower.h"

#include <math.h>
#include <string.h>

static bool is_complex(const fy_pvalue *v) { return v && v->kind == FY_PV_TENSOR && v->has_meta && fy_dtype_class(v->dtype) == FY_CLASS_C; }

static bool any_complex(int n, const fy_parg *a) {
    for (int i = 0; i < n; i++) {
        if (is_complex(a[i].value) || a[i].kind == FY_ARG_COMPLEX) return true;
        for (int64_t k = 0; a[i].kind == FY_ARG_TENSORS && k < a[i].n; k++)
            if (is_complex(a[i].values[k])) return true;
    }
    return false;
}

bool fy_l_complex(const fy_lower *l) { return any_complex(l->n->narg, l->n->arg) || any_complex(l->n->nout, l->n->out); }

static fy_lval *slot(fy_lower *l, const fy_pvalue *v) { return v && v->id < l->nval ? &l->val[v->id] : NULL; }

/* Parts on a last axis. */
static fy_value *paired(fy_lower *l, fy_value *re, fy_value *im) {
    int rank = fy_rank(l, re);
    FY_L_OK_OR(l, NULL);
    fy_value *v[2] = {fy_b_unsqueeze(&l->b, re, rank), im ? fy_b_unsqueeze(&l->b, im, rank) : NULL};
    return im ? fy_b_concat(&l->b, 2, v, rank) : v[0];
}

static fy_value *part(fy_lower *l, fy_value *pair, int i) {
    return pair ? fy_emit(&l->b, "Gather", FY_V(pair, fy_k_i64(&l->b, i)), FY_A(fy_int("axis", -1))) : NULL;
}

static void put(fy_lower *l, int i, fy_value *re, fy_value *im) {
    fy_l_out(l, i, re);
    fy_lval *s = slot(l, fy_l_out_value(l, i));
    if (s && re && im) s->im = im;
}

static fy_status give(fy_lower *l, fy_value *re, fy_value *im) {
    FY_L_OK(l);
    put(l, 0, re, im);
    return l->b.status;
}

static fy_status give_pair(fy_lower *l, fy_value *pair) { return give(l, part(l, pair, 0), part(l, pair, 1)); }

static fy_value *zeros(fy_lower *l, fy_value *x) { return x ? fy_l_full(l, fy_rank(l, x), x->type.dim, fy_k_scalar(&l->b, x->type.dtype, 0)) : NULL; }

/* Both planes of an argument. A real one has no imaginary plane: *im NULL. Numbers are scalars. */
static void planes(fy_lower *l, const char *name, fy_value **re, fy_value **im) {
    const fy_parg *a = fy_aten_arg(l->n, name);
    *re = *im = NULL;
    if (a->kind == FY_ARG_COMPLEX) {
        *re = fy_k_scalar(&l->b, FERRY_FLOAT, a->f);
        *im = fy_k_scalar(&l->b, FERRY_FLOAT, a->im);
        return;
    }
    l->plane = 0;
    fy_operand o = fy_l_operand(l, name);
    fy_dtype t = o.dtype == FERRY_DOUBLE ? FERRY_DOUBLE : FERRY_FLOAT;
    *re = fy_l_as(l, &o, t);
    const fy_lval *s = a->kind == FY_ARG_TENSOR ? slot(l, a->value) : NULL;
    if (is_complex(a->value) && s) *im = s->im;
}

/* fy_l_value, for a complex value: the plane that is asked for. */
fy_value *fy_l_plane(fy_lower *l, const fy_pvalue *v, int which) {
    const fy_lval *s = slot(l, v);
    return !s ? NULL : which ? s->im : s->v;
}

/* A constant's planes. */
fy_status fy_l_complex_const(fy_lower *l, const fy_const *c, const char *name, fy_lval *to) {
    fy_tensor t = {0};
    ferry_error *e = l->b.e;
    FY_TRY(fy_const_tensor(&t, c, e));
    int64_t n = fy_count(&t);
    fy_dtype plane = c->dtype == FERRY_COMPLEX128 ? FERRY_DOUBLE : FERRY_FLOAT;
    double *f = FY_NEWN(&l->tmp, double, n);
    const fy_const *made[2] = {NULL, NULL};
    for (int k = 0; f && k < 2; k++) {
        fy_tensor part = fy_tensor_view(plane, t.rank, t.dim, f);
        for (int64_t i = 0; i < n; i++) {
            double z[2];
            fy_load_c128(z, &t, i, 1);
            fy_put_f64(&part, i, z[k]);
        }
        made[k] = fy_const_copy(&l->m->arena, plane, t.rank, t.dim, f);
    }
    fy_tensor_free(&t);
    FY_NOMEM(e, made[0] && made[1]);
    to->v = fy_k_const(&l->b, made[0], fy_arena_fmt(&l->m->arena, "%s.real", name));
    to->im = fy_k_const(&l->b, made[1], fy_arena_fmt(&l->m->arena, "%s.imag", name));
    return l->b.status;
}

fy_value *fy_l_complex_pair(fy_lower *l, const fy_pvalue *v) {
    const fy_lval *s = slot(l, v);
    return s && s->v && s->im ? paired(l, s->v, s->im) : NULL;
}

bool fy_l_is_complex(const fy_pvalue *v) { return is_complex(v); }

/* ---- linear, and products --------------------------------------------------------------------------------------------------- */

static fy_status own(fy_lower *l) {
    const fy_aten_op *op = fy_aten_find(l->n->op);
    FY_NEED(l->b.e, op && op->lower, ATEN, "%s of complex numbers has no lowering", l->n->op);
    FY_TRY(op->lower(l));
    return l->b.status;
}

static fy_status run_planes(fy_lower *l, unsigned plane, fy_value **out, int n) {
    l->plane = plane;
    l->planes = true;
    fy_status s = own(l);
    l->planes = false;
    for (int i = 0; i < n; i++) {
        const fy_lval *v = slot(l, fy_l_out_value(l, i));
        out[i] = v ? v->v : NULL;
    }
    return s;
}

/* The operator itself on either plane; real operands count as without an imaginary part. */
static fy_status linear(fy_lower *l) {
    int n = fy_l_nout(l);
    fy_value **re = FY_NEWN(&l->tmp, fy_value *, 2 * n + 1), **im = re + n;
    FY_NOMEM(l->b.e, re);
    FY_TRY(run_planes(l, 0, re, n));
    FY_TRY(run_planes(l, FY_ALL_PLANES, im, n));
    for (int i = 0; i < n; i++) put(l, i, re[i], im[i]);
    return l->b.status;
}

/* A sum over every choice of planes of the operands, each term times i to the power of how many are imaginary. */
static fy_status product(fy_lower *l) {
    enum { MOST = 8 };
    const fy_parg *t = &l->n->arg[0], *o = l->n->narg > 1 ? &l->n->arg[1] : NULL, *list = t->kind == FY_ARG_TENSORS ? t : o && o->kind == FY_ARG_TENSORS ? o : NULL;
    int n = list ? (int)list->n : 2;
    unsigned complex = 0;
    fy_value *sum[2] = {NULL, NULL};
    FY_NEED(l->b.e, n <= MOST, UNSUPPORTED, "%s of %d operands, some complex; at most %d", l->n->op, n, MOST);
    FY_NEED(l->b.e, !fy_l_has(l, "bias"), UNSUPPORTED, "%s of complex numbers with a bias", l->n->op);
    for (int i = 0; i < n; i++) {
        const fy_parg *a = i ? o : t;
        if (list ? is_complex(list->values[i]) : a && (is_complex(a->value) || a->kind == FY_ARG_COMPLEX)) complex |= 1u << i;
    }
    for (unsigned plane = 0; plane < 1u << n; plane++) {
        if (plane & ~complex) continue;
        int turns = 0;
        fy_value *y;
        for (unsigned rest = plane; rest; rest &= rest - 1) turns++;
        FY_TRY(run_planes(l, plane, &y, 1));
        fy_value **to = &sum[turns % 2];
        *to = !*to ? y : fy_l_binary(l, turns % 4 >= 2 ? "Sub" : "Add", *to, y);
    }
    return give(l, sum[0], sum[1]);
}

/* (a + bi) / (c + di) = ((ac + bd) + (bc - ad)i) / (cc + dd) */
static fy_status quotient(fy_lower *l) {
    fy_value *a, *b, *c, *d;
    planes(l, "self", &a, &b);
    planes(l, "other", &c, &d);
    FY_L_OK(l);
    if (!d) return give(l, fy_l_binary(l, "Div", a, c), fy_l_binary(l, "Div", b, c));
    if (!b) b = zeros(l, a);
    fy_value *k = fy_l_binary(l, "Add", fy_l_binary(l, "Mul", c, c), fy_l_binary(l, "Mul", d, d));
    fy_value *re = fy_l_binary(l, "Add", fy_l_binary(l, "Mul", a, c), fy_l_binary(l, "Mul", b, d));
    fy_value *im = fy_l_binary(l, "Sub", fy_l_binary(l, "Mul", b, c), fy_l_binary(l, "Mul", a, d));
    return give(l, fy_l_binary(l, "Div", re, k), fy_l_binary(l, "Div", im, k));
}

/* ---- between real and complex ------------------------------------------------------------------------------------------------- */

static fy_status convert(fy_lower *l) {
    fy_value *a, *b;
    if (fy_l_named(l, "aten.view_as_complex")) return give_pair(l, fy_l_tensor(l, "self"));
    if (fy_l_named(l, "aten.complex")) {
        planes(l, "real", &a, &b);
        fy_value *im;
        planes(l, "imag", &im, &b);
        fy_value *z = zeros(l, a);                       /* both spread to one shape */
        fy_value *y = zeros(l, im);
        return give(l, fy_l_binary(l, "Add", a, y), fy_l_binary(l, "Add", im, z));
    }
    if (fy_l_named(l, "aten.polar")) {
        planes(l, "abs", &a, &b);
        fy_value *phi;
        planes(l, "angle", &phi, &b);
        return give(l, fy_l_binary(l, "Mul", a, fy_l_named_op(l, "Cos", phi)), fy_l_binary(l, "Mul", a, fy_l_named_op(l, "Sin", phi)));
    }
    planes(l, "self", &a, &b);
    FY_L_OK(l);
    if (!b) b = zeros(l, a);
    if (fy_l_named(l, "aten.view_as_real")) return fy_l_ret(l, paired(l, a, b));
    if (fy_l_named(l, "aten.real")) return fy_l_ret(l, a);
    if (fy_l_named(l, "aten.imag")) return fy_l_ret(l, b);
    if (fy_l_named(l, "aten.angle")) return fy_l_ret(l, fy_l_atan2(l, b, a));
    if (fy_l_named(l, "aten.abs")) return fy_l_ret(l, fy_l_named_op(l, "Sqrt", fy_l_binary(l, "Add", fy_l_binary(l, "Mul", a, a), fy_l_binary(l, "Mul", b, b))));
    if (fy_l_named(l, "aten.exp")) {
        fy_value *r = fy_l_named_op(l, "Exp", a);
        return give(l, fy_l_binary(l, "Mul", r, fy_l_named_op(l, "Cos", b)), fy_l_binary(l, "Mul", r, fy_l_named_op(l, "Sin", b)));
    }
    fy_value *back = fy_l_named_op(l, "Neg", b);         /* conj */
    if (!fy_l_named(l, "aten.reciprocal")) return give(l, a, back);
    fy_value *norm = fy_l_binary(l, "Add", fy_l_binary(l, "Mul", a, a), fy_l_binary(l, "Mul", b, b));
    return give(l, fy_l_binary(l, "Div", a, norm), fy_l_binary(l, "Div", back, norm));
}

/* ---- transforms ------------------------------------------------------------------------------------------------------------------ */

/* One axis of a pair (or of a real signal with a last axis of 1). `n` NULL: its own length. */
static fy_value *dft(fy_lower *l, fy_value *pair, int axis, const fy_dim *n, bool inverse, bool onesided) {
    return pair ? fy_emit(&l->b, "DFT", FY_V(pair, n ? fy_l_size_scalar(l, n) : NULL, fy_k_i64(&l->b, axis)), FY_A(fy_int("inverse", inverse), fy_int("onesided", onesided))) : NULL;
}

/* What is left to multiply: how: 0 nothing, 1 by the root of n, 2 by n; DFT's inverse divides by n. */
static fy_value *scaled(fy_lower *l, fy_value *x, const fy_dim *n, bool inverse, int how) {
    if (!x || how == (inverse ? 2 : 0)) return x;
    double power = (inverse ? 1 : 0) - how / 2.0;
    int64_t k;
    if (fy_dim_known(n, &k)) return fy_l_binary(l, "Mul", x, fy_k_scalar(&l->b, x->type.dtype, pow((double)k, power)));
    fy_value *size = fy_b_cast(&l->b, fy_l_size_scalar(l, n), x->type.dtype);
    return fy_l_binary(l, "Mul", x, fy_l_binary(l, "Pow", size, fy_k_scalar(&l->b, x->type.dtype, power)));
}

/* Of a spectrum's first half, the rest: conjugates in reverse order. */
static fy_value *whole(fy_lower *l, fy_value *pair, int axis, const fy_dim *n) {
    fy_dims *p = l->m->dims;
    const fy_dim *half = fy_dim_addi(p, fy_dim_divi(p, n, 2), 1);
    fy_value *first = fy_l_slice(l, pair, axis, fy_l_k(l, 0), half, 1);
    fy_value *rest = first ? fy_l_slice(l, first, axis, fy_dim_sub(p, n, half), fy_l_k(l, 0), -1) : NULL;
    FY_L_OK_OR(l, NULL);
    float sign[2] = {1, -1};
    const fy_const *c = fy_const_copy(&l->m->arena, FERRY_FLOAT, 1, (int64_t[]){2}, sign);
    rest = fy_l_binary(l, "Mul", rest, fy_b_cast(&l->b, fy_k_const(&l->b, c, NULL), rest->type.dtype));
    return rest ? fy_b_concat(&l->b, 2, (fy_value *[]){first, rest}, axis) : NULL;
}

typedef enum transform { R2C, C2R, C2C } transform;

/* Along axes one after another; n[i] NULL: as long as it is. One-sided transforms take the last axis for it: forward first, backward last. */
static fy_status transformed(fy_lower *l, transform kind, int naxes, const int *axis, const fy_dim **n, bool inverse, int how, bool onesided) {
    fy_value *re, *im, *y;
    planes(l, "self", &re, &im);
    FY_L_OK(l);
    y = paired(l, re, im || kind == R2C ? im : zeros(l, re));
    for (int k = 0; k < naxes && y; k++) {
        int i = kind == C2R ? k : naxes - 1 - k;
        bool last = i == naxes - 1;
        const fy_dim *size = n[i] ? n[i] : y->type.dim[axis[i]];
        if (kind == C2R && last && !n[i]) size = fy_dim_muli(l->m->dims, fy_dim_addi(l->m->dims, size, -1), 2);
        if (kind == C2R && last) {
            const fy_dim *half = fy_dim_addi(l->m->dims, fy_dim_divi(l->m->dims, size, 2), 1);
            int64_t want, have;
            if (n[i] && fy_dim_known(half, &want) && fy_dim_known(y->type.dim[axis[i]], &have) && have < want) {
                int64_t pads[2] = {0, want - have}, at = axis[i];
                y = fy_emit(&l->b, "Pad", FY_V(y, fy_k_ints(&l->b, 2, pads), NULL, fy_k_ints(&l->b, 1, &at)), FY_NOATTR);
            }
            y = dft(l, y ? whole(l, y, axis[i], size) : NULL, axis[i], NULL, true, false);
        } else y = dft(l, y, axis[i], n[i], inverse, kind == R2C && last && onesided);
        y = scaled(l, y, size, inverse, how);
    }
    return kind == C2R ? fy_l_ret(l, part(l, y, 0)) : give_pair(l, y);
}

static int norm_of(fy_lower *l, bool inverse) {
    const char *norm = fy_l_str(l, "norm");
    if (norm && strcmp(norm, "ortho") == 0) return 1;
    bool forward = norm && strcmp(norm, "forward") == 0;
    return forward == inverse ? 0 : 2;                   /* "backward", the default, divides the inverse; "forward" the other */
}

/* fft_fft, fft_ifft, fft_rfft, fft_irfft, and their forms over two and more axes */
static fy_status named_transform(fy_lower *l) {
    const char *name = l->n->op + strlen("aten.fft_");
    bool real = name[0] == 'r' || name[1] == 'r', inverse = name[0] == 'i';
    bool two = strstr(name, "2.") != NULL, many = strstr(name, "fftn.") != NULL;
    int axis[FY_MAX_RANK], naxes = 1;
    int64_t given[FY_MAX_RANK];
    const fy_dim *n[FY_MAX_RANK] = {NULL};
    fy_value *re, *im;
    planes(l, "self", &re, &im);
    int rank = fy_rank(l, re);
    FY_L_OK(l);
    if (!two && !many) {
        axis[0] = fy_l_axis_in(l, "dim", rank);
        n[0] = fy_l_dim(l, "n");
    } else {
        int ns = fy_l_dims(l, "s", n, FY_MAX_RANK);
        naxes = fy_l_has(l, "dim") ? fy_l_ints(l, "dim", given, FY_MAX_RANK) : -1;
        if (naxes < 0) {                                 /* all, or as many as there are sizes */
            naxes = ns > 0 ? ns : rank;
            for (int i = 0; i < naxes; i++) given[i] = i - naxes;
        }
        if (ns < 0) memset(n, 0, sizeof n);
        for (int i = 0; i < naxes; i++) axis[i] = fy_l_axis_of(l, given[i], rank);
        FY_L_OK(l);
        FY_NEED(l->b.e, ns < 0 || ns == naxes, ATTR, "%s: %d sizes for %d axes", l->n->op, ns, naxes);
    }
    FY_L_OK(l);
    return transformed(l, !real ? C2C : inverse ? C2R : R2C, naxes, axis, n, inverse, norm_of(l, inverse), true);
}

/* _fft_r2c, _fft_c2r, _fft_c2c */
static fy_status plain_transform(fy_lower *l) {
    bool r2c = fy_l_named(l, "aten._fft_r2c"), c2r = fy_l_named(l, "aten._fft_c2r"), inverse = c2r || (!r2c && !fy_l_bool(l, "forward"));
    int64_t given[FY_MAX_RANK];
    int naxes = fy_l_ints(l, "dim", given, FY_MAX_RANK), axis[FY_MAX_RANK], how = (int)fy_l_int(l, "normalization");
    const fy_dim *n[FY_MAX_RANK] = {NULL};
    fy_value *re, *im;
    planes(l, "self", &re, &im);
    int rank = fy_rank(l, re);
    for (int i = 0; i < naxes; i++) axis[i] = fy_l_axis_of(l, given[i], rank);
    if (c2r && naxes > 0) n[naxes - 1] = fy_l_dim(l, "last_dim_size");
    FY_L_OK(l);
    return transformed(l, r2c ? R2C : c2r ? C2R : C2C, naxes, axis, n, inverse, how, r2c && fy_l_bool(l, "onesided"));
}

/* ---- short-time transforms --------------------------------------------------------------------------------------------------------- */

/* The window, as long as a frame: shorter ones stand in its middle. */
static fy_value *window(fy_lower *l, int64_t frame) {
    fy_value *w = fy_l_tensor(l, "window");
    int64_t n = fy_l_has(l, "win_length") ? fy_l_int(l, "win_length") : frame;
    FY_L_OK_OR(l, NULL);
    if (!w) w = fy_k_const(&l->b, fy_const_splat(&l->m->arena, FERRY_FLOAT, 1, &n, 1), NULL);
    if (n == frame || !w) return w;
    int64_t before = (frame - n) / 2, pads[2] = {before, frame - n - before};
    return fy_emit(&l->b, "Pad", FY_V(w, fy_k_ints(&l->b, 2, pads)), FY_NOATTR);
}

static fy_status stft(fy_lower *l) {
    fy_value *x = fy_l_tensor(l, "self");
    int64_t n = fy_l_int(l, "n_fft"), hop = fy_l_has(l, "hop_length") ? fy_l_int(l, "hop_length") : n / 4;
    bool onesided = !fy_l_has(l, "onesided") || fy_l_bool(l, "onesided"), complex = fy_l_has(l, "return_complex") && fy_l_bool(l, "return_complex");
    fy_build *b = &l->b;
    fy_value *w = window(l, n);
    int rank = fy_rank(l, x);
    FY_L_OK(l);
    FY_NEED(b->e, n > 0 && hop > 0 && (rank == 1 || rank == 2), UNSUPPORTED, "stft of rank %d", rank);
    if (fy_l_named(l, "aten.stft") && strstr(l->n->op, ".center") && fy_l_bool(l, "center")) {
        int64_t pads[2] = {n / 2, n / 2}, last = rank - 1;
        const char *mode = fy_l_str(l, "pad_mode");
        x = fy_emit(b, "Pad", FY_V(x, fy_k_ints(b, 2, pads), NULL, fy_k_ints(b, 1, &last)), FY_A(fy_text("mode", mode && strcmp(mode, "reflect") == 0 ? "reflect" : mode && strcmp(mode, "replicate") == 0 ? "edge" : "constant")));
    }
    if (rank == 1 && x) x = fy_b_unsqueeze(b, x, 0);
    fy_value *y = x ? fy_emit(b, "STFT", FY_V(fy_b_unsqueeze(b, x, 2), fy_k_i64(b, hop), w, fy_k_i64(b, n)), FY_A(fy_int("onesided", onesided))) : NULL;
    y = y ? fy_b_transpose(b, y, (int[]){0, 2, 1, 3}) : NULL;            /* bins before frames */
    if (rank == 1 && y) y = fy_b_squeeze(b, y, 0);
    if (fy_l_bool(l, "normalized")) y = fy_l_binary(l, "Mul", y, fy_k_scalar(b, FERRY_FLOAT, 1 / sqrt((double)n)));
    return complex ? give_pair(l, y) : fy_l_ret(l, y);
}

/* Columns [b, n, frames] added up at a distance of hop: a transposed convolution with ones on the diagonal. */
static fy_value *overlapped(fy_lower *l, fy_value *columns, int64_t n, int64_t hop) {
    float *eye = FY_NEWN(&l->tmp, float, n * n);
    if (!eye) { (void)fy_l_fail(l, FY_E_NOMEM, "out of memory"); return NULL; }
    for (int64_t i = 0; i < n; i++) eye[i * n + i] = 1;
    fy_value *k = fy_k_const(&l->b, fy_const_copy(&l->m->arena, FERRY_FLOAT, 3, (int64_t[]){n, 1, n}, eye), NULL);
    return columns ? fy_emit(&l->b, "ConvTranspose", FY_V(columns, k), FY_A(fy_ints("strides", 1, &hop))) : NULL;
}

static fy_status istft(fy_lower *l) {
    int64_t n = fy_l_int(l, "n_fft"), hop = fy_l_has(l, "hop_length") ? fy_l_int(l, "hop_length") : n / 4;
    bool onesided = !fy_l_has(l, "onesided") || fy_l_bool(l, "onesided"), centre = fy_l_bool(l, "center");
    fy_build *b = &l->b;
    fy_value *re, *im, *w = window(l, n);
    planes(l, "self", &re, &im);
    int rank = fy_rank(l, re);
    FY_L_OK(l);
    FY_NEED(b->e, im && n > 0 && n <= 4096 && hop > 0 && (rank == 2 || rank == 3) && !fy_l_bool(l, "return_complex"), UNSUPPORTED, "istft of rank %d", rank);
    fy_value *y = paired(l, re, im);
    if (rank == 2 && y) y = fy_b_unsqueeze(b, y, 0);
    if (onesided && y) y = whole(l, y, 1, fy_l_k(l, n));
    y = part(l, dft(l, y, 1, NULL, true, false), 0);     /* [b, n, frames] */
    if (fy_l_bool(l, "normalized")) y = fy_l_binary(l, "Mul", y, fy_k_scalar(b, FERRY_FLOAT, sqrt((double)n)));
    w = w ? fy_b_unsqueeze(b, w, 1) : NULL;
    FY_L_OK(l);
    const fy_dim *ones[3] = {fy_l_k(l, 1), fy_l_k(l, n), y->type.dim[2]};
    fy_value *weight = fy_l_expand(l, fy_b_unsqueeze(b, fy_l_binary(l, "Mul", w, w), 0), 3, ones);
    y = fy_l_binary(l, "Div", overlapped(l, fy_l_binary(l, "Mul", y, w), n, hop), overlapped(l, weight, n, hop));
    y = y ? fy_b_squeeze(b, y, 1) : NULL;
    FY_L_OK(l);
    fy_dims *p = l->m->dims;
    const fy_dim *total = fy_dim_addi(p, fy_dim_muli(p, fy_dim_addi(p, ones[2], -1), hop), n), *from = fy_l_k(l, centre ? n / 2 : 0);
    const fy_dim *to = fy_l_has(l, "length") ? fy_dim_add(p, from, fy_l_dim(l, "length")) : fy_dim_addi(p, total, centre ? -(n / 2) : 0);
    y = fy_l_slice(l, y, 1, from, to, 1);
    return fy_l_ret(l, rank == 2 && y ? fy_b_squeeze(b, y, 0) : y);
}

/* ---- which ------------------------------------------------------------------------------------------------------------------------- */

fy_status fy_lower_transform(fy_lower *l) {
    if (fy_l_named(l, "aten.stft")) return stft(l);
    if (fy_l_named(l, "aten.istft")) return istft(l);
    return strncmp(l->n->op, "aten._fft", 9) == 0 ? plain_transform(l) : named_transform(l);
}

fy_status fy_lower_convert(fy_lower *l) { return convert(l); }

fy_status fy_lower_complex(fy_lower *l) {
    static const char *const products[] = {"aten.mul", "aten.multiply", "aten.matmul", "aten.mm", "aten.bmm", "aten.mv", "aten.einsum", "aten.outer", "aten.dot", "aten.conv1d", "aten.conv2d", "aten.conv3d", "aten.convolution"};
    static const char *const between[] = {"aten.abs", "aten.absolute", "aten.angle", "aten.exp", "aten.conj", "aten._conj", "aten.conj_physical", "aten._conj_physical", "aten.view_as_real", "aten.view_as_complex",
                                          "aten.real", "aten.imag", "aten.complex", "aten.polar", "aten.reciprocal"};
    static const char *const transforms[] = {"aten.stft", "aten.istft"};
    static const char *const same[] = {"aten.add", "aten.sub", "aten.neg", "aten.view", "aten.reshape", "aten._unsafe_view", "aten.transpose", "aten.permute", "aten.t", "aten.slice", "aten.select", "aten.unsqueeze",
        "aten.squeeze", "aten.expand", "aten.expand_as", "aten.cat", "aten.stack", "aten.split", "aten.split_with_sizes", "aten.unbind", "aten.chunk", "aten.clone", "aten.contiguous", "aten.alias", "aten.detach",
        "aten.lift_fresh_copy", "aten.flatten", "aten.unflatten", "aten.roll", "aten.flip", "aten.index", "aten.index_select", "aten.gather", "aten.sum", "aten.mean", "aten.repeat", "aten.movedim",
        "aten.resolve_conj", "aten.resolve_neg", "aten.narrow", "aten.diagonal", "aten.constant_pad_nd", "aten.pad", "aten.cumsum", "aten.view_as", "aten.reshape_as", "aten.embedding", "aten.where", "aten.mT", "aten.numpy_T", "aten.fft_fftshift", "aten.fft_ifftshift"};
    if (fy_l_named(l, "aten.sym_size") || fy_l_named(l, "aten.sym_numel")) return run_planes(l, 0, NULL, 0);
    for (int i = 0; i < FY_COUNT(products); i++)
        if (fy_l_named(l, products[i])) return product(l);
    for (int i = 0; i < FY_COUNT(between); i++)
        if (fy_l_named(l, between[i])) return convert(l);
    for (int i = 0; i < FY_COUNT(transforms); i++)
        if (fy_l_named(l, transforms[i])) return fy_lower_transform(l);
    if (fy_l_named(l, "aten.div") || fy_l_named(l, "aten.divide") || fy_l_named(l, "aten.true_divide")) return quotient(l);
    for (int i = 0; i < FY_COUNT(same); i++)
        if (fy_l_named(l, same[i])) return linear(l);
    if (strncmp(l->n->op, "aten.fft_", 9) == 0 || strncmp(l->n->op, "aten._fft_", 10) == 0) return fy_lower_transform(l);
    return fy_l_fail(l, FY_E_UNSUPPORTED, "%s of complex numbers", l->n->op);
}
