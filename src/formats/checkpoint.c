/* SPDX-License-Identifier: Apache-2.0
 * checkpoint.c - weights in files of torch.save: a state_dict, a checkpoint around one ({'model': ..., 'epoch': ...}), a whole nn.Module.
 *
 * Layouts: a zip with data.pkl and data/KEY (PyTorch 1.6 and newer); before that (torch/serialization.py, _legacy_save) five pickles, which are
 * the magic number, the protocol 1001, a dict about the machine, the object, the list of storage keys, then for each key the number of
 * elements as 8 bytes and the elements. The pickles are read as data (pickle.h), whatever class they name. */
#include "formats/weights.h"

#include "base/checked.h"
#include "base/os.h"
#include "formats/pickle.h"

#include <stdio.h>
#include <string.h>

#define NESTING 64
#define MAX_VISITS 2000000               /* containers may be shared, so that a small file can hold a large tree */

typedef struct storage { const unsigned char *at; size_t bytes; } storage;

typedef struct checkpoint {
    fy_weights     *w;
    ferry_error    *e;
    fy_torch_file   zip;
    bool            is_zip;
    fy_pickle       object;              /* legacy */
    fy_map          storages;            /* legacy: key -> storage */
    fy_arena        tmp;
    int64_t         visits;
    FY_VEC(const fy_pickled *) home;     /* of each section */
} checkpoint;

static fy_status tensor(checkpoint *c, const fy_const **k, const fy_pickled *t, const char *name) {
    if (c->is_zip) return fy_torch_const(k, &c->zip, &c->w->arena, t, name, c->e);
    const storage *s = fy_map_get(&c->storages, t->storage->s, t->storage->n_s);
    size_t said, unit = t->storage->dtype ? (size_t)fy_dtype_bits(t->storage->dtype) / 8 : 1;
    FY_NEED(c->e, s, CORRUPT, "the storage of %.200s is missing", name);
    FY_NEED(c->e, t->storage->i >= 0 && fy_mul_size(&said, (size_t)t->storage->i, unit) && said <= s->bytes, CORRUPT, "the storage of %.200s has %zu bytes, %lld elements are said", name,
            s->bytes, (long long)t->storage->i);
    return fy_view_const(k, &c->w->arena, t->dtype, t->rank, t->dim, t->stride, t->i, s->at, s->bytes, name, c->e);
}

/* ---- the tree -------------------------------------------------------------------------------------------------------------- */

static bool is_text(const fy_pickled *p) { return p->kind == FY_PK_STR && p->n_s && strlen(p->s) == p->n_s; }

/* The attributes of an instance, if they are a dict. */
static const fy_pickled *state_of(const fy_pickled *p) {
    return p->kind == FY_PK_OBJECT && p->item.at[1]->kind == FY_PK_DICT ? p->item.at[1] : NULL;
}

static const fy_pickled *module_state(const fy_pickled *p) {
    const fy_pickled *s = state_of(p);
    return s && fy_pickled_get(s, "_modules") && fy_pickled_get(s, "_parameters") ? s : NULL;
}

static fy_status visit(checkpoint *c, int depth) {
    FY_NEED(c->e, depth < NESTING, LIMIT, "a checkpoint nested deeper than %d", NESTING);
    FY_NEED(c->e, ++c->visits <= MAX_VISITS, LIMIT, "a checkpoint of more than %d parts", MAX_VISITS);
    return FY_OK;
}

static fy_status join(checkpoint *c, fy_arena *a, const char **to, const char *prefix, const char *name) {
    *to = *prefix ? fy_arena_fmt(a, "%s.%s", prefix, name) : fy_arena_str(a, name);
    FY_NOMEM(c->e, *to);
    FY_NEED(c->e, strlen(*to) < 4096, LIMIT, "a name of more than 4096 bytes in a checkpoint");
    return FY_OK;
}

static fy_status add_tensors(checkpoint *c, const fy_pickled *dict, const char *prefix, bool buffer) {
    for (int64_t i = 0; dict && i + 1 < dict->item.n; i += 2) {
        const fy_pickled *k = dict->item.at[i], *v = dict->item.at[i + 1];
        const char *name;
        const fy_const *data;
        if (!is_text(k) || v->kind != FY_PK_TENSOR) continue;
        FY_TRY(join(c, &c->w->arena, &name, prefix, k->s));
        FY_TRY(tensor(c, &data, v, name));
        FY_TRY(fy_weights_add(c->w, name, data, c->e));
        c->w->at.at[fy_weights_find(c->w, name) - c->w->at.at].buffer = buffer;
    }
    return FY_OK;
}

/* A module: its own parameters and buffers, then those of the modules in it. Recursion is bounded by NESTING. */
static fy_status add_module(checkpoint *c, const fy_pickled *module, const char *prefix, int depth) {
    const fy_pickled *s = module_state(module), *in = s ? fy_pickled_get(s, "_modules") : NULL;
    FY_TRY(visit(c, depth));
    if (!s) return FY_OK;
    const fy_pickled *own = fy_pickled_get(s, "_parameters"), *buffers = fy_pickled_get(s, "_buffers");
    FY_TRY(add_tensors(c, own && own->kind == FY_PK_DICT ? own : NULL, prefix, false));
    FY_TRY(add_tensors(c, buffers && buffers->kind == FY_PK_DICT ? buffers : NULL, prefix, true));
    if (in->kind != FY_PK_DICT) return FY_OK;
    for (int64_t i = 0; i + 1 < in->item.n; i += 2) {
        const char *name;
        if (!is_text(in->item.at[i])) continue;
        FY_TRY(join(c, &c->tmp, &name, prefix, in->item.at[i]->s));
        FY_TRY(add_module(c, in->item.at[i + 1], name, depth + 1));
    }
    return FY_OK;
}

static int64_t bytes_of(const fy_pickled *t) {
    int64_t n;
    return fy_count_dims(&n, t->rank, t->dim) ? (int64_t)fy_dtype_bytes(t->dtype, n) : 0;
}

static void count_in(const fy_pickled *dict, fy_weight_section *s) {
    for (int64_t i = 0; i + 1 < dict->item.n; i += 2)
        if (is_text(dict->item.at[i]) && dict->item.at[i + 1]->kind == FY_PK_TENSOR) { s->n++; s->bytes += bytes_of(dict->item.at[i + 1]); }
}

/* How many tensors a module has; it is itself a section. */
static fy_status count_module(checkpoint *c, const fy_pickled *module, fy_weight_section *s, int depth) {
    const fy_pickled *state = module_state(module);
    FY_TRY(visit(c, depth));
    if (!state) return FY_OK;
    const fy_pickled *in = fy_pickled_get(state, "_modules"), *own = fy_pickled_get(state, "_parameters"), *buffers = fy_pickled_get(state, "_buffers");
    if (own && own->kind == FY_PK_DICT) count_in(own, s);
    if (buffers && buffers->kind == FY_PK_DICT) count_in(buffers, s);
    for (int64_t i = 0; in->kind == FY_PK_DICT && i + 1 < in->item.n; i += 2) FY_TRY(count_module(c, in->item.at[i + 1], s, depth + 1));
    return FY_OK;
}

static fy_status find_sections(checkpoint *c, const fy_pickled *p, const char *path, int depth) {
    const fy_pickled *dict = p->kind == FY_PK_DICT ? p : state_of(p);
    fy_weight_section s = {.path = path};
    FY_TRY(visit(c, depth));
    if (module_state(p)) {
        const char *blank = strrchr(p->s, ' ');
        s.type = fy_arena_fmt(&c->w->arena, "%.*s.%s", (int)(blank - p->s), p->s, blank + 1);
        FY_NOMEM(c->e, s.type);
        FY_TRY(count_module(c, p, &s, depth));
    } else if (dict) count_in(dict, &s);
    if (s.n) {
        FY_PUSH(c->e, c->w->section, s);
        FY_PUSH(c->e, c->home, p);
    }
    if (!dict || s.type) return FY_OK;
    for (int64_t i = 0; i + 1 < dict->item.n; i += 2) {
        const char *name;
        const fy_pickled *v = dict->item.at[i + 1];
        if (!is_text(dict->item.at[i]) || (v->kind != FY_PK_DICT && v->kind != FY_PK_OBJECT)) continue;
        FY_TRY(join(c, &c->w->arena, &name, path, dict->item.at[i]->s));
        FY_TRY(find_sections(c, v, name, depth + 1));
    }
    return FY_OK;
}

/* Numbers and texts of the outermost dict: "epoch", "arch" ... */
static fy_status plain_values(checkpoint *c, const fy_pickled *root) {
    for (int64_t i = 0; root->kind == FY_PK_DICT && i + 1 < root->item.n && c->w->meta.n < 64; i += 2) {
        const fy_pickled *k = root->item.at[i], *v = root->item.at[i + 1];
        const char *text = NULL;
        if (!is_text(k)) continue;
        if (v->kind == FY_PK_INT) text = fy_arena_fmt(&c->w->arena, "%lld", (long long)v->i);
        else if (v->kind == FY_PK_BOOL) text = v->i ? "true" : "false";
        else if (v->kind == FY_PK_FLOAT) text = fy_arena_fmt(&c->w->arena, "%.9g", v->f);
        else if (is_text(v) && v->n_s < 200) text = fy_arena_str(&c->w->arena, v->s);
        else continue;
        const char *key = fy_arena_str(&c->w->arena, k->s);
        FY_NOMEM(c->e, key && text);
        FY_PUSH(c->e, c->w->meta, ((fy_pair){key, text}));
    }
    return FY_OK;
}

/* Which section holds the model: the outermost dict if it has tensors, else one of a usual name, else the largest. */
static fy_status choose(checkpoint *c, const char *asked, int64_t *which) {
    static const char *const usual[] = {"", "state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params", "model.state_dict", "generator", "ema", "model_ema", "state_dict_ema"};
    fy_weights *w = c->w;
    if (asked) {
        const char *names[64];
        int n = 0;
        for (*which = 0; *which < w->section.n; ++*which) {
            if (!strcmp(w->section.at[*which].path, asked)) return FY_OK;
            if (n < 64) names[n++] = w->section.at[*which].path;
        }
        const char *near = fy_nearest(asked, names, n);
        return fy_fail(c->e, FY_E_NAME, "section: the checkpoint has no tensors under '%s'%s%s%s", asked, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    for (int u = 0; u < FY_COUNT(usual); u++)
        for (*which = 0; *which < w->section.n; ++*which)
            if (!strcmp(w->section.at[*which].path, usual[u]) && w->section.at[*which].n > 0) return FY_OK;
    *which = 0;
    for (int64_t i = 1; i < w->section.n; i++)
        if (w->section.at[i].bytes > w->section.at[*which].bytes) *which = i;
    return FY_OK;
}

static fy_status take_weights(checkpoint *c, const fy_pickled *root, const char *asked) {
    int64_t which = 0;
    fy_weights *w = c->w;
    FY_TRY(find_sections(c, root, "", 0));
    FY_NEED(c->e, w->section.n, FORMAT, "the file holds no tensors under names");
    FY_TRY(choose(c, asked, &which));
    FY_TRY(plain_values(c, root));
    fy_weight_section s = w->section.at[which];
    const fy_pickled *home = c->home.at[which];
    memmove(w->section.at + 1, w->section.at, (size_t)which * sizeof *w->section.at);
    w->section.at[0] = s;
    if (s.type) return add_module(c, home, "", 0);
    return add_tensors(c, home->kind == FY_PK_DICT ? home : state_of(home), "", false);
}

/* ---- files before PyTorch 1.6 ------------------------------------------------------------------------------------------------ */

static fy_status next_pickle(checkpoint *c, fy_pickle *p, const unsigned char *data, size_t n, size_t *at) {
    size_t used = 0;
    FY_TRY(fy_pickle_parse_objects(p, &c->tmp, data + *at, n - *at, &used, c->e));
    *at += used;
    return FY_OK;
}

static int64_t i64_at(const unsigned char *p) {
    uint64_t u = 0;
    int64_t v;
    for (int i = 7; i >= 0; i--) u = u << 8 | p[i];
    memcpy(&v, &u, sizeof v);
    return v;
}

/* The element type of each storage, from the tensors that use it. */
static fy_status element_sizes(checkpoint *c, fy_map *size) {
    for (int64_t i = 0; i < c->object.owners.n; i++) {
        const fy_pickled *o = c->object.owners.at[i];
        for (int64_t k = 0; k < o->item.n; k++) {
            const fy_pickled *s = o->item.at[k];
            if (s->kind != FY_PK_STORAGE) continue;
            size_t bytes = s->dtype ? (size_t)fy_dtype_bits(s->dtype) / 8 : 1;
            FY_NOMEM(c->e, fy_map_put(size, s->s, s->n_s, (void *)(uintptr_t)bytes));
        }
    }
    return FY_OK;
}

static fy_status map_storages(checkpoint *c, const fy_pickled *keys, const fy_map *size, const unsigned char *data, size_t n, size_t at) {
    FY_NEED(c->e, keys->kind == FY_PK_LIST, CORRUPT, "the file has no list of storages");
    for (int64_t i = 0; i < keys->item.n; i++) {
        const fy_pickled *k = keys->item.at[i];
        FY_NEED(c->e, k->kind == FY_PK_STR, CORRUPT, "the list of storages holds something that is no name");
        size_t unit = (size_t)(uintptr_t)fy_map_get(size, k->s, k->n_s), bytes = 0;
        FY_NEED(c->e, unit, CORRUPT, "no tensor uses the storage %.60s", k->s);
        FY_NEED(c->e, n - at >= 8, TRUNCATED, "the file ends before the storage %.60s", k->s);
        int64_t count = i64_at(data + at);
        at += 8;
        FY_NEED(c->e, count >= 0 && fy_mul_size(&bytes, (size_t)count, unit) && bytes <= n - at, TRUNCATED, "the storage %.60s should have %lld elements, the file has %zu bytes more",
                k->s, (long long)count, n - at);
        storage *s = FY_NEW(&c->tmp, storage);
        FY_NOMEM(c->e, s);
        *s = (storage){data + at, bytes};
        at += bytes;
        FY_NOMEM(c->e, fy_map_put(&c->storages, k->s, k->n_s, s));
    }
    return FY_OK;
}

static fy_status read_legacy(checkpoint *c, const unsigned char *data, size_t n) {
    size_t at = 15;                                          /* the magic number, a pickle of 15 bytes */
    fy_pickle protocol = {0}, machine = {0}, keys = {0};
    fy_map size = {0};
    fy_status s = n > at && data[at - 1] == '.' ? FY_OK : fy_fail(c->e, FY_E_TRUNCATED, "the file ends after its magic number");
    if (!s) s = next_pickle(c, &protocol, data, n, &at);
    if (!s && (protocol.root->kind != FY_PK_INT || protocol.root->i != 1001)) s = fy_fail(c->e, FY_E_FORMAT, "a file of torch.save of another protocol than 1001");
    if (!s) s = next_pickle(c, &machine, data, n, &at);
    const fy_pickled *little = s ? NULL : fy_pickled_get(machine.root, "little_endian");
    if (!s && little && little->kind == FY_PK_BOOL && !little->i) s = fy_fail(c->e, FY_E_UNSUPPORTED, "the file is in big-endian byte order");
    if (!s) s = next_pickle(c, &c->object, data, n, &at);
    if (!s) s = next_pickle(c, &keys, data, n, &at);
    if (!s) s = element_sizes(c, &size);
    if (!s) s = map_storages(c, keys.root, &size, data, n, at);
    fy_map_free(&size);
    fy_pickle_free(&protocol);
    fy_pickle_free(&machine);
    fy_pickle_free(&keys);
    return s;
}

fy_status fy_checkpoint_read(fy_weights *w, const unsigned char *data, size_t n, const char *section, ferry_error *e) {
    checkpoint c = {.w = w, .e = e, .is_zip = fy_zip_is(data, n)};
    fy_status s = c.is_zip ? fy_torch_open_objects(&c.zip, &c.tmp, data, n, e) : read_legacy(&c, data, n);
    bool open = c.is_zip && !s;
    if (!s) s = take_weights(&c, open ? c.zip.pickle.root : c.object.root, section);
    w->format = c.is_zip ? "a checkpoint of torch.save" : "a checkpoint of torch.save before PyTorch 1.6";
    if (!s && w->section.at[0].type) w->format = c.is_zip ? "a module of torch.save" : "a module of torch.save before PyTorch 1.6";
    if (open) fy_torch_close(&c.zip);
    fy_pickle_free(&c.object);
    fy_map_free(&c.storages);
    fy_free(c.home.at);
    fy_arena_free(&c.tmp);
    return s;
}
