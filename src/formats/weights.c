/* SPDX-License-Identifier: Apache-2.0
 * weights.c - which kind of file it is; weights by name; an index with its shards; which weights are one tensor under several names. */
#include "formats/weights.h"

#include "base/os.h"
#include "formats/pt2.h"

#include <string.h>

#define MAX_WEIGHTS ((int64_t)1 << 22)
#define MAX_SHARDS 4096

static bool is_index(const char *path) {
    static const char tail[] = ".index.json";
    size_t n = strlen(path), k = sizeof tail - 1;
    return n >= k && !strcmp(path + n - k, tail);
}

static bool is_checkpoint(fy_filetype t) { return t == FY_FILE_STATE_DICT || t == FY_FILE_PICKLED_MODULE || t == FY_FILE_LEGACY_PT; }

bool fy_weights_is(const void *data, size_t n, const char *path) {
    fy_filetype t = fy_file_sniff(data, n);
    return is_checkpoint(t) || t == FY_FILE_SAFETENSORS || (n && ((const char *)data)[0] == '{' && is_index(path));
}

const fy_weight *fy_weights_find(const fy_weights *w, const char *name) {
    size_t i = (size_t)(uintptr_t)fy_map_gets(&w->by_name, name);
    return i ? &w->at.at[i - 1] : NULL;
}

fy_status fy_weights_add(fy_weights *w, const char *name, const fy_const *c, ferry_error *e) {
    const fy_weight *known = fy_weights_find(w, name);
    if (known) {
        w->at.at[known - w->at.at].data = c;
        return FY_OK;
    }
    FY_NEED(e, w->at.n < MAX_WEIGHTS, LIMIT, "more than %lld weights", (long long)MAX_WEIGHTS);
    FY_PUSH(e, w->at, ((fy_weight){.name = name, .data = c, .tied = -1}));
    FY_NOMEM(e, fy_map_puts(&w->by_name, name, (void *)(uintptr_t)w->at.n));
    return FY_OK;
}

fy_status fy_weights_tie(fy_weights *w, ferry_error *e) {
    fy_map first = {0};
    fy_arena keys = {0};
    fy_status s = FY_OK;
    for (int64_t i = 0; i < w->at.n && !s; i++) {
        const fy_const *c = w->at.at[i].data, *base = c->kind == FY_CONST_STRIDED ? c->src[0] : c;
        if (!c->count || base->kind != FY_CONST_BYTES) continue;
        fy_buf key = {0};
        fy_buf_fmt(&key, "%p %d %lld", (const void *)base->bytes, (int)c->dtype, c->kind == FY_CONST_STRIDED ? (long long)c->offset : -1);
        for (int k = 0; k < c->rank; k++) fy_buf_fmt(&key, " %lld:%lld", (long long)c->dim[k], c->stride ? (long long)c->stride[k] : -1);
        char *text = key.oom ? NULL : fy_arena_strn(&keys, key.at, key.n);
        fy_buf_free(&key);
        if (!text) { s = fy_nomem(e); break; }
        size_t at = (size_t)(uintptr_t)fy_map_gets(&first, text);
        w->at.at[i].tied = (int64_t)at - 1;
        if (!at && !fy_map_puts(&first, text, (void *)(uintptr_t)(i + 1))) s = fy_nomem(e);
    }
    fy_map_free(&first);
    fy_arena_free(&keys);
    return s;
}

/* ---- opening --------------------------------------------------------------------------------------------------------------- */

static fy_status read_any(fy_weights *w, const void *data, size_t n, const char *name, const char *section, ferry_error *e) {
    fy_filetype t = fy_file_sniff(data, n);
    if (is_checkpoint(t)) return fy_checkpoint_read(w, data, n, section, e);
    if (t == FY_FILE_SAFETENSORS || fy_safetensors_is(data, n)) {        /* a header cut short is said by the reader */
        FY_NEED(e, !section, NAME, "section: a safetensors file has none");
        return fy_safetensors_read(w, data, n, e);
    }
    return fy_help(e, fy_fail(e, FY_E_FORMAT, "%s is %s, not a file of weights", name, fy_filetype_text(t)),
                   "weights come from .safetensors and from what torch.save(model.state_dict(), ...) wrote");
}

/* The shards lie beside the index: names without folders. Where the index itself was reached through a link, as in the cache of a model hub,
 * they may be links too. */
static fy_status open_shard(fy_weights *w, const char *index, const char *name, ferry_error *e) {
    fy_map_file *f = FY_NEW(&w->arena, fy_map_file);
    const char *slash = strrchr(index, '/');
    char *dir = slash ? fy_arena_strn(&w->arena, index, slash > index ? (size_t)(slash - index) : 1) : fy_arena_str(&w->arena, ""),
         *path = slash ? fy_arena_fmt(&w->arena, "%.*s/%s", (int)(slash - index), index, name) : fy_arena_str(&w->arena, name);
    fy_os_info info = {0};
    FY_NOMEM(e, f && dir && path);
    FY_NEED(e, *name && !strchr(name, '/') && strcmp(name, ".."), PATH, "the index names '%.200s': its files lie beside it", name);
    bool linked = fy_os_stat_path(index, false, &info) == 0 && info.link;
    FY_NOMEM(e, FY_RESERVE(w->file, w->file.n + 1));
    FY_TRY(linked ? fy_file_open(f, path, e) : fy_file_open_below(f, dir, name, e));
    w->file.at[w->file.n++] = f;
    fy_status s = read_any(w, f->at, f->n, name, NULL, e);
    return s ? fy_frame(e, s, "file %s", name) : FY_OK;
}

/* {"metadata": {...}, "weight_map": {name: file}} */
static fy_status read_index(fy_weights *w, const char *path, const fy_map_file *f, ferry_error *e) {
    const fy_json *doc;
    fy_map seen = {0};
    FY_TRY(fy_json_parse(&doc, &w->arena, (const char *)f->at, f->n, e));
    const fy_json *map = fy_json_get(doc, "weight_map");
    FY_NEED(e, map && map->kind == FY_JSON_OBJECT, FORMAT, "the index has no \"weight_map\"");
    fy_status s = FY_OK;
    int shards = 0;
    for (const fy_json *j = map->child; j && !s; j = j->next) {
        if (j->kind != FY_JSON_STRING || memchr(j->s, 0, j->n)) s = fy_fail(e, FY_E_CORRUPT, "\"weight_map\" holds something that is no file name");
        if (s || fy_map_has(&seen, j->s, j->n)) continue;
        const char *name = fy_arena_strn(&w->arena, j->s, j->n);
        if (!name || !fy_map_put(&seen, name, j->n, w)) s = fy_nomem(e);
        else if (++shards > MAX_SHARDS) s = fy_fail(e, FY_E_LIMIT, "the index names more than %d files", MAX_SHARDS);
        else s = open_shard(w, path, name, e);
    }
    for (const fy_json *j = map->child; j && !s; j = j->next) {
        if (!fy_map_has(&w->by_name, j->key, j->nkey)) {
            int n = j->nkey > 200 ? 200 : (int)j->nkey;
            s = fy_fail(e, FY_E_CORRUPT, "the index says that %.*s is in %.*s, which does not have it", n, j->key, j->n > 200 ? 200 : (int)j->n, j->s);
        }
    }
    fy_map_free(&seen);
    w->format = "an index of several files";
    return s;
}

fy_status fy_weights_memory(fy_weights *w, const void *data, size_t n, const char *section, ferry_error *e) {
    *w = (fy_weights){.format = "weights"};
    fy_status s = read_any(w, data, n, "the file", section, e);
    if (!s) s = fy_weights_tie(w, e);
    if (s) fy_weights_free(w);
    return s;
}

static fy_status open_path(fy_weights *w, const char *path, const char *section, ferry_error *e) {
    fy_map_file *f = FY_NEW(&w->arena, fy_map_file);
    FY_NOMEM(e, f && FY_RESERVE(w->file, 1));
    FY_TRY(fy_file_open(f, path, e));
    w->file.at[w->file.n++] = f;
    FY_TRY(is_index(path) ? read_index(w, path, f, e) : read_any(w, f->at, f->n, path, section, e));
    return fy_weights_tie(w, e);
}

fy_status fy_weights_open(fy_weights *w, const char *path, const char *section, ferry_error *e) {
    *w = (fy_weights){.format = "weights"};
    fy_status s = open_path(w, path, section, e);
    if (!s) return FY_OK;
    fy_weights_free(w);
    return fy_frame(e, s, "file %s", path);
}

void fy_weights_free(fy_weights *w) {
    for (int64_t i = 0; i < w->file.n; i++) fy_file_close(w->file.at[i]);
    fy_free(w->file.at);
    fy_free(w->at.at);
    fy_free(w->meta.at);
    fy_free(w->section.at);
    fy_map_free(&w->by_name);
    fy_arena_free(&w->arena);
    *w = (fy_weights){0};
}
