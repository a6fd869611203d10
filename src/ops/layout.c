/* SPDX-License-Identifier: Apache-2.0
 * layout.c - rearrangements with a rule of their own: SpaceToDepth DepthToSpace Trilu CenterCropPad Col2Im ReverseSequence. */
#include "ops/common.h"
#include "ops/move.h"

#include <string.h>

/* ---- SpaceToDepth, DepthToSpace ------------------------------------------------------------------------------------ */

/* Both are a reshape to rank 6, a permutation and a reshape back. `to_depth` tells the direction; CRD orders the depth as
 * [channel, block row, block column], DCR as [block row, block column, channel]. */
static fy_status infer_blocks(fy_infer *f, bool to_depth) {
    int64_t b = fy_attr_i(f->node, "blocksize"), v, by;
    FY_NEED(f->e, b >= 1 && b <= 1 << 20, ATTR, "blocksize is %lld", (long long)b);
    by = to_depth ? b : b * b;
    FY_NEED(f->e, fy_attr_is(f->node, "mode", "DCR") || fy_attr_is(f->node, "mode", "CRD"), ATTR, "mode must be DCR or CRD");
    if (fy_in_rank(f, 0) < 0) return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), 4);
    FY_NEED(f->e, fy_in_rank(f, 0) == 4, SHAPE, "the input has rank %d; it must have rank 4", fy_in_rank(f, 0));
    const fy_dim *const *in = fy_in_dims(f, 0);
    for (int a = to_depth ? 2 : 1; a < (to_depth ? 4 : 2); a++)
        FY_NEED(f->e, !fy_dim_known(in[a], &v) || v % by == 0, SHAPE, "size %lld of axis %d is not a multiple of %lld", (long long)v, a,
                (long long)by);
    const fy_dim *d[4] = {in[0], NULL, NULL, NULL};
    d[1] = to_depth ? fy_dim_muli(f->dims, in[1], b * b) : fy_dim_divi(f->dims, in[1], b * b);
    for (int a = 2; a < 4; a++) d[a] = to_depth ? fy_dim_divi(f->dims, in[a], b) : fy_dim_muli(f->dims, in[a], b);
    return fy_out_set(f, 0, fy_in_dtype(f, 0), 4, d);
}

static fy_status ref_blocks(const fy_call *c, bool to_depth) {
    fy_tensor *y, x;
    bool crd = fy_attr_is(c->node, "mode", "CRD");
    int64_t b = fy_attr_i(c->node, "blocksize");
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    FY_TRY(fy_mv_dense(c, 0, &x));
    const fy_tensor *deep = to_depth ? y : &x, *wide = to_depth ? &x : y;
    int64_t n = deep->dim[0], ch = wide->dim[1], h = deep->dim[2], w = deep->dim[3];
    /* `deep` seen in the order of `wide`: [n, ch, h, row, w, column] */
    int64_t plane = h * w, per = crd ? plane * b * b : plane, block = crd ? plane : plane * ch;
    fy_view v = {.rank = 6, .dim = {n, ch, h, b, w, b}, .stride = {ch * b * b * plane, per, w, block * b, 1, block}};
    fy_tensor seen = fy_mv_see(deep, &v), flat = fy_tensor_view(wide->dtype, 6, v.dim, wide->data);
    fy_tensor_copy(to_depth ? &seen : &flat, to_depth ? &flat : &seen);
    return FY_OK;
}

static fy_status infer_space_to_depth(fy_infer *f) { return infer_blocks(f, true); }
static fy_status infer_depth_to_space(fy_infer *f) { return infer_blocks(f, false); }
static fy_status ref_space_to_depth(const fy_call *c) { return ref_blocks(c, true); }
static fy_status ref_depth_to_space(const fy_call *c) { return ref_blocks(c, false); }

static const fy_attr_spec block_attrs[] = {{"blocksize", FY_ATTR_INT, FY_REQUIRED}, {"mode", FY_ATTR_STRING, "DCR"}, {0}};
const fy_op fy_op_space_to_depth = {.name = "SpaceToDepth", .domain = "", .attrs = block_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1,
    .since = 28, .first = 1, .types = "T=*|T|T", .infer = infer_space_to_depth, .ref = ref_space_to_depth, .flags = FY_PURE};
const fy_op fy_op_depth_to_space = {.name = "DepthToSpace", .domain = "", .attrs = block_attrs, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1,
    .since = 28, .first = 1, .types = "T=*|T|T", .infer = infer_depth_to_space, .ref = ref_depth_to_space, .flags = FY_PURE};

/* ---- Trilu --------------------------------------------------------------------------------------------------------- */

static fy_status infer_trilu(fy_infer *f) {
    FY_NEED(f->e, fy_in_rank(f, 0) >= 2 || fy_in_rank(f, 0) < 0, SHAPE, "the input has rank %d; at least 2 is needed", fy_in_rank(f, 0));
    return fy_out_like(f, 0, 0);
}

static fy_status ref_trilu(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0);
    fy_tensor *y;
    bool upper = fy_attr_i(c->node, "upper") != 0;
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    int64_t k = fy_arg(c, 1) && fy_count(fy_arg(c, 1)) ? fy_get_i64(fy_arg(c, 1), 0) : 0;
    int64_t rows = y->dim[y->rank - 2], cols = y->dim[y->rank - 1], n = fy_count(y);
    fy_tensor_copy(y, x);
    if (!n) return FY_OK;
    k = k < -rows ? -rows : k > cols ? cols : k;
    for (int64_t r = 0; r < n / cols; r++) {
        int64_t edge = r % rows + k;                        /* first column kept (upper), last column kept (lower) */
        int64_t begin = upper ? 0 : edge + 1, end = upper ? edge : cols;
        begin = begin < 0 ? 0 : begin;
        end = end > cols ? cols : end;
        if (end > begin) memset(fy_mv_at(y, r * cols + begin), 0, (size_t)(end - begin) * (size_t)fy_elem_bytes(y->dtype));
    }
    return FY_OK;
}

static const fy_attr_spec trilu_attrs[] = {{"upper", FY_ATTR_INT, "1"}, {0}};
const fy_op fy_op_trilu = {.name = "Trilu", .domain = "", .attrs = trilu_attrs, .min_in = 1, .max_in = 2, .min_out = 1, .max_out = 1, .since = 14,
    .first = 14, .types = "T=*|T,i64|T", .infer = infer_trilu, .ref = ref_trilu, .flags = FY_PURE};

/* ---- CenterCropPad ------------------------------------------------------------------------------------------------- */

static fy_status crop_axes(int *axis, int64_t *n, const fy_node *node, int rank, ferry_error *e) {
    const int64_t *given = fy_attr_ints(node, "axes", n);
    if (given) return fy_mv_axes(axis, *n, given, rank, e);
    for (int i = 0; i < rank; i++) axis[i] = i;
    *n = rank;
    return FY_OK;
}

static fy_status infer_center_crop_pad(fy_infer *f) {
    const fy_dim *d[FY_MAX_RANK];
    int rank = fy_in_rank(f, 0), axis[FY_MAX_RANK];
    int64_t n, count, v;
    if (rank < 0) return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), -1);
    FY_TRY(crop_axes(axis, &n, f->node, rank, f->e));
    const fy_dim *const *e = fy_in_elems(f, 1, &count);
    FY_NEED(f->e, !e || count == n, SHAPE, "%lld sizes for %lld axes", (long long)count, (long long)n);
    for (int i = 0; i < rank; i++) d[i] = fy_in_dims(f, 0)[i];
    for (int i = 0; i < n; i++) {
        FY_NEED(f->e, !e || !fy_dim_known(e[i], &v) || v >= 0, VALUE, "size %d is %lld", i, (long long)v);
        d[axis[i]] = e ? e[i] : fy_mv_opaque(f);
    }
    return fy_out_set(f, 0, fy_in_dtype(f, 0), rank, d);
}

static fy_status ref_center_crop_pad(const fy_call *c) {
    fy_tensor x, *y;
    const int64_t *map[FY_MAX_RANK];
    const unsigned char zero[32] = {0};
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y || !fy_count(y)) return FY_OK;
    FY_TRY(fy_mv_dense(c, 0, &x));
    for (int a = 0; a < y->rank; a++) {
        int64_t in = x.dim[a], out = y->dim[a], shift = in >= out ? (in - out) / 2 : -((out - in) / 2);
        int64_t *m = FY_NEWN(c->scratch, int64_t, out);
        FY_NOMEM(c->e, m);
        for (int64_t i = 0; i < out; i++) m[i] = i + shift >= 0 && i + shift < in ? i + shift : -1;
        map[a] = m;
    }
    fy_mv_mapped(y, &x, map, zero);
    return FY_OK;
}

static const fy_attr_spec crop_attrs[] = {{"axes", FY_ATTR_INTS, NULL}, {0}};
const fy_op fy_op_center_crop_pad = {.name = "CenterCropPad", .domain = "", .attrs = crop_attrs, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1,
    .since = 18, .first = 18, .types = "T=*;I=i32,i64|T,I|T", .infer = infer_center_crop_pad, .ref = ref_center_crop_pad, .flags = FY_PURE};

/* ---- Col2Im -------------------------------------------------------------------------------------------------------- */

#define COL_DIMS 8

typedef struct col { int nd; int64_t stride[COL_DIMS], dilation[COL_DIMS], pad[2 * COL_DIMS]; } col;

static fy_status read_col(col *p, const fy_node *n, int64_t nd, ferry_error *e) {
    int64_t count;
    FY_NEED(e, nd >= 1 && nd <= COL_DIMS, LIMIT, "%lld spatial axes; 1 to %d are supported", (long long)nd, COL_DIMS);
    p->nd = (int)nd;
    const struct { const char *name; int64_t *dst; int64_t n, def, least; } list[] = {
        {"strides", p->stride, nd, 1, 1}, {"dilations", p->dilation, nd, 1, 1}, {"pads", p->pad, 2 * nd, 0, 0}};
    for (int k = 0; k < 3; k++) {
        const int64_t *v = fy_attr_ints(n, list[k].name, &count);
        FY_NEED(e, !v || count == list[k].n, ATTR, "%s has %lld values; %lld are needed", list[k].name, (long long)count,
                (long long)list[k].n);
        for (int64_t i = 0; i < list[k].n; i++) {
            list[k].dst[i] = v ? v[i] : list[k].def;
            FY_NEED(e, list[k].dst[i] >= list[k].least && list[k].dst[i] < (int64_t)1 << 40, ATTR, "%s holds %lld", list[k].name,
                    (long long)v[i]);
        }
    }
    return FY_OK;
}

static fy_status infer_col2im(fy_infer *f) {
    const fy_dim *d[FY_MAX_RANK], *len = fy_in_dim(f, 1, 0);
    int64_t n = 0, nb, v;
    const fy_dim *const *image = fy_in_elems(f, 1, &n), *const *block = fy_in_elems(f, 2, &nb);
    if (!image && (!len || !fy_dim_known(len, &n)) && (!(len = fy_in_dim(f, 2, 0)) || !fy_dim_known(len, &n))) {
        if (fy_attr_ints(f->node, "strides", &n) == NULL && fy_attr_ints(f->node, "dilations", &n) == NULL) {
            fy_attr_ints(f->node, "pads", &n);
            n /= 2;
        }
        if (n < 1) return fy_mv_unknown(f, 0, fy_in_dtype(f, 0), -1);
    }
    FY_NEED(f->e, fy_in_rank(f, 1) <= 1 && fy_in_rank(f, 2) <= 1, SHAPE, "the sizes of image and block must be lists");
    FY_NEED(f->e, n >= 1 && n <= COL_DIMS, LIMIT, "%lld spatial axes; 1 to %d are supported", (long long)n, COL_DIMS);
    FY_NEED(f->e, !block || nb == n, SHAPE, "image_shape has %lld sizes, block_shape %lld", (long long)n, (long long)nb);
    FY_NEED(f->e, fy_in_rank(f, 0) < 0 || fy_in_rank(f, 0) == 3, SHAPE, "the input has rank %d; it must be [n, c * block, positions]",
            fy_in_rank(f, 0));
    d[0] = fy_in_dim(f, 0, 0) ? fy_in_dim(f, 0, 0) : fy_mv_opaque(f);
    d[1] = fy_in_dim(f, 0, 1) && block ? fy_dim_floordiv(f->dims, fy_in_dim(f, 0, 1), fy_mv_product(f, nb, block)) : fy_mv_opaque(f);
    for (int i = 0; i < n; i++) {
        FY_NEED(f->e, !image || !fy_dim_known(image[i], &v) || v >= 0, VALUE, "size %d of the image is %lld", i, (long long)v);
        FY_NEED(f->e, !block || !fy_dim_known(block[i], &v) || v >= 1, VALUE, "size %d of the block is %lld", i, (long long)v);
        d[2 + i] = image ? image[i] : fy_mv_opaque(f);
    }
    return fy_out_set(f, 0, fy_in_dtype(f, 0), (int)n + 2, d);
}

static fy_status ref_col2im(const fy_call *c) {
    fy_tensor *y;
    const fy_tensor *x = fy_arg(c, 0);
    const int64_t *block = fy_arg_i64(c, 2);
    col p;
    int64_t nd = fy_count(fy_arg(c, 1)), pos[COL_DIMS], npos = 1, nblock, nimage;
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    FY_NOMEM(c->e, block);
    FY_TRY(read_col(&p, c->node, nd, c->e));
    FY_NEED(c->e, fy_count(fy_arg(c, 2)) == nd && fy_count_dims(&nblock, (int)nd, block), SHAPE, "the block's shape is not usable");
    for (int i = 0; i < nd; i++) {
        int64_t reach = 0;
        FY_NEED(c->e, fy_mul_i64(&reach, p.dilation[i], block[i] - 1), LIMIT, "a block of %lld with dilation %lld", (long long)block[i],
                (long long)p.dilation[i]);
        int64_t room = y->dim[2 + i] + p.pad[i] + p.pad[nd + i] - reach - 1;
        pos[i] = room < 0 ? 0 : room / p.stride[i] + 1;
        FY_NEED(c->e, fy_mul_i64(&npos, npos, pos[i]), LIMIT, "too many positions");
    }
    FY_NEED(c->e, x->dim[2] == npos && x->dim[1] == y->dim[1] * nblock, SHAPE,
            "the input is [%lld, %lld, %lld]; [n, c * %lld, %lld] is needed",
            (long long)x->dim[0], (long long)x->dim[1], (long long)x->dim[2], (long long)nblock, (long long)npos);
    int64_t planes = y->dim[0] * y->dim[1];
    FY_NEED(c->e, fy_count_dims(&nimage, (int)nd, y->dim + 2), LIMIT, "the image is too large");
    FY_NEED(c->e, fy_dtype_class(x->dtype) != FY_CLASS_S, TYPE, "strings cannot be summed");
    bool whole = fy_dtype_int(x->dtype);                         /* summed in 64 bits, wrapping; the others in double, real and imaginary parts */
    int parts = fy_dtype_class(x->dtype) == FY_CLASS_C ? 2 : 1;
    double *sum = FY_NEWN(c->scratch, double, parts * nimage), *row = FY_NEWN(c->scratch, double, parts * npos);
    int64_t *isum = FY_NEWN(c->scratch, int64_t, whole ? nimage : 1), *irow = FY_NEWN(c->scratch, int64_t, whole ? npos : 1);
    FY_NOMEM(c->e, sum && row && isum && irow);
    for (int64_t q = 0; q < planes; q++) {
        memset(sum, 0, (size_t)(parts * nimage) * sizeof *sum);
        memset(isum, 0, (size_t)(whole ? nimage : 1) * sizeof *isum);
        for (int64_t k = 0; k < nblock; k++) {
            int64_t in_block[COL_DIMS], rest = k, at[COL_DIMS] = {0}, from = (q * nblock + k) * npos;
            for (int i = (int)nd - 1; i >= 0; i--) { in_block[i] = rest % block[i]; rest /= block[i]; }
            if (whole) fy_load_i64(irow, x, from, npos);
            else if (parts == 2) fy_load_c128(row, x, from, npos);
            else fy_load_f64(row, x, from, npos);
            const int64_t n = pos[nd - 1], step = p.stride[nd - 1], start = in_block[nd - 1] * p.dilation[nd - 1] - p.pad[nd - 1], wide = y->dim[2 + nd - 1];
            for (int64_t j = 0; j < npos; j += n) {              /* positions along the last axis: those whose place is inside */
                int64_t to = 0, first = start < 0 ? (-start + step - 1) / step : 0, past = start >= wide ? 0 : (wide - 1 - start) / step + 1;
                bool inside = true;
                for (int i = 0; i + 1 < nd; i++) {
                    int64_t u = at[i] * p.stride[i] + in_block[i] * p.dilation[i] - p.pad[i];
                    inside = inside && u >= 0 && u < y->dim[2 + i];
                    to = to * y->dim[2 + i] + u;
                }
                to = to * wide + start;
                past = !inside ? 0 : past < n ? past : n;
                for (int64_t u = first; u < past && whole; u++) isum[to + u * step] = (int64_t)((uint64_t)isum[to + u * step] + (uint64_t)irow[j + u]);
                for (int64_t u = first; u < past && !whole; u++) {
                    sum[(to + u * step) * parts] += row[(j + u) * parts];
                    if (parts == 2) sum[(to + u * step) * 2 + 1] += row[(j + u) * 2 + 1];
                }
                for (int i = (int)nd - 2; i >= 0 && ++at[i] == pos[i]; i--) at[i] = 0;
            }
        }
        if (whole) fy_store_i64(y, q * nimage, nimage, isum);
        else if (parts == 2) fy_store_c128(y, q * nimage, nimage, sum);
        else fy_store_f64(y, q * nimage, nimage, sum);
    }
    return FY_OK;
}

static const fy_attr_spec col2im_attrs[] = {{"strides", FY_ATTR_INTS, NULL}, {"dilations", FY_ATTR_INTS, NULL}, {"pads", FY_ATTR_INTS, NULL}, {0}};
const fy_op fy_op_col2im = {.name = "Col2Im", .domain = "", .attrs = col2im_attrs, .min_in = 3, .max_in = 3, .min_out = 1, .max_out = 1, .since = 18,
    .first = 18, .types = "T=*|T,i64,i64|T", .infer = infer_col2im, .ref = ref_col2im, .flags = FY_PURE};

/* ---- ReverseSequence ----------------------------------------------------------------------------------------------- */

static fy_status infer_reverse_sequence(fy_infer *f) {
    int64_t t = fy_attr_i(f->node, "time_axis"), b = fy_attr_i(f->node, "batch_axis");
    FY_NEED(f->e, (t == 0 && b == 1) || (t == 1 && b == 0), ATTR, "time_axis %lld and batch_axis %lld; they must be 0 and 1 or 1 and 0",
            (long long)t,
            (long long)b);
    FY_NEED(f->e, fy_in_rank(f, 0) >= 2 || fy_in_rank(f, 0) < 0, SHAPE, "the input has rank %d; at least 2 is needed", fy_in_rank(f, 0));
    FY_NEED(f->e, fy_in_rank(f, 1) == 1 || fy_in_rank(f, 1) < 0, SHAPE, "the lengths have rank %d; they must be a list", fy_in_rank(f, 1));
    const fy_dim *n = fy_in_dim(f, 0, (int)b), *len = fy_in_dim(f, 1, 0), *same;
    if (n && len) FY_TRY(fy_mv_same(f, &same, n, len, "the batch size and the number of lengths"));
    return fy_out_like(f, 0, 0);
}

static fy_status ref_reverse_sequence(const fy_call *c) {
    const fy_tensor *x = fy_arg(c, 0);
    fy_tensor *y;
    int t = (int)fy_attr_i(c->node, "time_axis"), b = 1 - t;
    FY_TRY(fy_mv_out(c, 0, &y));
    if (!y) return FY_OK;
    const int64_t *len = fy_arg_i64(c, 1);
    FY_NOMEM(c->e, len);
    fy_tensor_copy(y, x);
    for (int64_t i = 0; i < x->dim[b]; i++) {
        FY_NEED(c->e, len[i] >= 0 && len[i] <= x->dim[t], INDEX, "length %lld of sequence %lld; the time axis has %lld",
                (long long)len[i], (long long)i,
                (long long)x->dim[t]);
        if (len[i] == 0) continue;
        fy_view from = fy_mv_view_of(x), to = fy_mv_view_of(y);
        from.dim[b] = to.dim[b] = 1;
        from.dim[t] = to.dim[t] = len[i];
        from.offset = i * from.stride[b] + (len[i] - 1) * from.stride[t];
        from.stride[t] = -from.stride[t];
        to.offset = i * to.stride[b];
        fy_tensor src = fy_mv_see(x, &from), dst = fy_mv_see(y, &to);
        fy_tensor_copy(&dst, &src);
    }
    return FY_OK;
}

static const fy_attr_spec reverse_attrs[] = {{"batch_axis", FY_ATTR_INT, "1"}, {"time_axis", FY_ATTR_INT, "0"}, {0}};
const fy_op fy_op_reverse_sequence = {.name = "ReverseSequence", .domain = "", .attrs = reverse_attrs, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1,
    .since = 28, .first = 10, .types = "T=*|T,i64|T", .infer = infer_reverse_sequence, .ref = ref_reverse_sequence, .flags = FY_PURE};
