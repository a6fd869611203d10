/* SPDX-License-Identifier: Apache-2.0
 * weights.c - parameters, buffers and constants by name, in place in the mapped file. Sources: export/pt2_archive/_package.py
 * (raw layout, torch 2.9 and newer), torch.save dictionaries (older). Tied weights give the same fy_const. */
#include "formats/pt2/reader.h"

#include <string.h>

static const fy_zip_entry *entry(fy_pt2 *r, fy_status *s, const char *fmt, const char *name) {
    char *path = fy_arena_fmt(&r->tmp, "%s/data/%s/%s", r->root, fmt, name);
    if (!path) { *s = fy_nomem(r->e); return NULL; }
    return fy_zip_find(&r->zip, path);
}

/* "config": { fqn: { path_name, use_pickle, tensor_meta } } */
static fy_status open_raw(fy_pt2 *r, fy_map *to, const char *folder, const char *file) {
    fy_status s = FY_OK;
    char *name = fy_arena_fmt(&r->tmp, "%s_%s_config.json", r->model, file);
    FY_NOMEM(r->e, name);
    const fy_zip_entry *f = entry(r, &s, folder, name);
    FY_TRY(s);
    if (!f) return FY_OK;
    const unsigned char *p;
    const fy_json *doc;
    FY_TRY(fy_zip_read(&r->zip, f, &r->tmp, (uint64_t)1 << 31, &p, r->e));
    s = fy_json_parse(&doc, &r->tmp, (const char *)p, (size_t)f->size, r->e);
    if (s) return fy_frame(r->e, s, "%s", f->name);
    const fy_json *config = fy_json_get(doc, "config");
    FY_NEED(r->e, config && config->kind == FY_JSON_OBJECT, CORRUPT, "%s has no \"config\"", f->name);
    for (const fy_json *j = config->child; j; j = j->next)
        FY_NOMEM(r->e, fy_map_put(to, j->key, j->nkey, (void *)(uintptr_t)j));
    return FY_OK;
}

static fy_status open_pickled(fy_pt2 *r, fy_map *to, fy_torch_file *t, bool *has, const char *path) {
    const fy_zip_entry *f = fy_zip_find(&r->zip, path);
    const unsigned char *p;
    if (!f || !f->size) return FY_OK;
    if (f->method) return fy_help(r->e, fy_fail(r->e, FY_E_UNSUPPORTED, "%s is compressed inside the archive", path),
                                  "save the model again with torch.export.save: weights are mapped, so they must be stored uncompressed");
    FY_TRY(fy_zip_stored(&r->zip, f, &p, r->e));
    fy_status s = fy_torch_open(t, &r->tmp, p, (size_t)f->size, r->e);
    if (s) return fy_frame(r->e, s, "%s", path);
    *has = true;
    const fy_pickled *d = t->pickle.root;
    FY_NEED(r->e, d->kind == FY_PK_DICT, CORRUPT, "%s does not hold a dict", path);
    for (int64_t i = 0; i + 1 < d->item.n; i += 2) {
        const fy_pickled *k = d->item.at[i];
        FY_NEED(r->e, k->kind == FY_PK_STR, CORRUPT, "%s has a key that is not a string", path);
        FY_NOMEM(r->e, fy_map_put(to, k->s, k->n_s, d->item.at[i + 1]));
    }
    return FY_OK;
}

fy_status fy_pt2_open_weights(fy_pt2 *r) {
    if (r->layout == FY_PT2_FLAT) {
        FY_TRY(open_pickled(r, &r->weights, &r->weight_file, &r->has_weight_file, "serialized_state_dict.pt"));
        return open_pickled(r, &r->constants, &r->constant_file, &r->has_constant_file, "serialized_constants.pt");
    }
    FY_TRY(open_raw(r, &r->weights, "weights", "weights"));
    FY_TRY(open_raw(r, &r->constants, "constants", "constants"));
    char *w = fy_arena_fmt(&r->tmp, "%s/data/weights/%s.pt", r->root, r->model),
         *c = fy_arena_fmt(&r->tmp, "%s/data/constants/%s.pt", r->root, r->model);
    FY_NOMEM(r->e, w && c);
    if (!r->weights.n) FY_TRY(open_pickled(r, &r->weights, &r->weight_file, &r->has_weight_file, w));
    if (!r->constants.n) FY_TRY(open_pickled(r, &r->constants, &r->constant_file, &r->has_constant_file, c));
    if (r->has_weight_file) r->layout = FY_PT2_PICKLED;
    return FY_OK;
}

static fy_status ints(fy_pt2 *r, int64_t *to, int *n, const fy_json *list, const char *what) {
    *n = 0;
    FY_NEED(r->e, list && list->kind == FY_JSON_ARRAY, CORRUPT, "%s has no sizes", what);
    for (const fy_json *j = list->child; j; j = j->next) {
        FY_NEED(r->e, *n < FY_MAX_RANK, LIMIT, "%s has more than %d dimensions", what, FY_MAX_RANK);
        FY_TRY(fy_pt2_int(r, &to[(*n)++], fy_json_get(j, "as_int"), what));
    }
    return FY_OK;
}

static fy_status raw(fy_pt2 *r, const fy_const **c, const fy_json *j, bool constant, const char *what) {
    const fy_json *file = fy_json_get(j, "path_name"), *pickle = fy_json_get(j, "use_pickle"), *meta = fy_json_get(j, "tensor_meta");
    const char *name;
    int64_t dim[FY_MAX_RANK], stride[FY_MAX_RANK], offset = 0, scalar;
    int rank, nstride;
    FY_TRY(fy_pt2_str(r, &name, file, what));
    if (pickle && pickle->kind == FY_JSON_BOOL && pickle->b)
        return fy_help(r->e,
                       fy_fail(r->e, FY_E_UNSUPPORTED,
                               "%s is a tensor subclass (for example quantised by torchao), stored as a pickle in %s", what, name),
                       "turn it into a plain tensor before torch.export.export, and quantise the ONNX model instead");
    FY_NEED(r->e, meta && meta->kind == FY_JSON_OBJECT, UNSUPPORTED, "%s is not a tensor (%s)", what, name);
    FY_TRY(fy_pt2_int(r, &scalar, fy_json_get(meta, "dtype"), what));
    FY_TRY(ints(r, dim, &rank, fy_json_get(meta, "sizes"), what));
    FY_TRY(ints(r, stride, &nstride, fy_json_get(meta, "strides"), what));
    FY_NEED(r->e, rank == nstride, CORRUPT, "%s has %d sizes and %d strides", what, rank, nstride);
    const fy_json *off = fy_json_get(meta, "storage_offset");
    if (off && off->kind == FY_JSON_OBJECT) FY_TRY(fy_pt2_int(r, &offset, fy_json_get(off, "as_int"), what));
    fy_status s = FY_OK;
    const fy_zip_entry *f = entry(r, &s, constant ? "constants" : "weights", name);
    FY_TRY(s);
    FY_NEED(r->e, f, CORRUPT, "the file %s of %s is missing in the archive", name, what);
    if (f->method) return fy_help(r->e, fy_fail(r->e, FY_E_UNSUPPORTED, "the weight %s is compressed inside the archive", what),
                                  "save the model again with torch.export.save: weights are mapped, so they must be stored uncompressed");
    bool any = true;
    for (int i = 0; i < rank; i++) any &= dim[i] != 0;
    FY_NEED(r->e, f->size || !any, UNSUPPORTED, "%s has no data: it was exported from a fake tensor or the weights were left out", what);
    const unsigned char *p;
    FY_TRY(fy_zip_stored(&r->zip, f, &p, r->e));
    fy_dtype t = fy_pt2_dtype(scalar);
    FY_NEED(r->e, !r->big_endian || fy_dtype_bits(t) == 8, UNSUPPORTED, "%s is stored in big-endian byte order", what);
    return fy_view_const(c, &r->p->arena, t, rank, dim, stride, offset, p, (size_t)f->size, what, r->e);
}

/* The same view of the same bytes becomes one constant. */
static fy_status share(fy_pt2 *r, const fy_const **c) {
    const fy_const *k = *c, *base = k->kind == FY_CONST_STRIDED ? k->src[0] : k;
    fy_buf key = {0};
    fy_buf_fmt(&key, "%p %zu %d %lld", (const void *)base->bytes, base->nbytes, (int)k->dtype, (long long)k->offset);
    for (int i = 0; i < k->rank; i++) fy_buf_fmt(&key, " %lld:%lld", (long long)k->dim[i], k->stride ? (long long)k->stride[i] : -1);
    fy_status s = FY_OK;
    const fy_const *known = key.oom ? NULL : fy_map_get(&r->views, key.at, key.n);
    if (known) *c = known;
    else {
        char *text = key.oom ? NULL : fy_arena_strn(&r->tmp, key.at, key.n);
        if (!text || !fy_map_put(&r->views, text, key.n, (void *)(uintptr_t)k)) s = fy_nomem(r->e);
    }
    fy_buf_free(&key);
    return s;
}

fy_status fy_pt2_weight(fy_pt2 *r, const fy_const **c, const char *fqn, bool constant_first) {
    for (int i = 0; i < 2; i++) {
        bool constant = (i == 0) == constant_first;
        void *found = fy_map_gets(constant ? &r->constants : &r->weights, fqn);
        if (!found) continue;
        fy_torch_file *t = constant ? &r->constant_file : &r->weight_file;
        if (constant ? r->has_constant_file : r->has_weight_file) FY_TRY(fy_torch_const(c, t, &r->p->arena, found, fqn, r->e));
        else FY_TRY(raw(r, c, found, constant, fqn));
        return (*c)->count ? share(r, c) : FY_OK;
    }
    return fy_fail(r->e, FY_E_CORRUPT, "the archive has no data for %s", fqn);
}
