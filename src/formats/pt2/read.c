/* SPDX-License-Identifier: Apache-2.0
 * read.c - a .pt2 archive -> fy_program. Three layouts, told apart by entry names:
 *
 *     torch <= 2.7  serialized_exported_program.json, serialized_state_dict.pt ... (torch.save archives inside)
 *     torch 2.8     <root>/models/model.json, <root>/data/weights/model.pt ...
 *     torch >= 2.9  <root>/models/model.json, <root>/data/weights/weight_0 ..., model_weights_config.json
 *
 * Order: this file (archive, signature, ranges), graph.c (nodes), expr.c (sizes), weights.c, names.c, source.c. */
#include "formats/pt2/reader.h"

#include "base/file.h"

#include <string.h>

#define MAX_JSON ((uint64_t)1 << 32)

fy_status fy_pt2_intern(fy_pt2 *r, const char **to, const char *s, size_t n) {
    char *known = fy_map_get(&r->strings, s, n);
    if (!known) {
        known = fy_arena_strn(&r->p->arena, s, n);
        FY_NOMEM(r->e, known && fy_map_put(&r->strings, known, n, known));
    }
    *to = known;
    return FY_OK;
}

fy_status fy_pt2_str(fy_pt2 *r, const char **to, const fy_json *j, const char *what) {
    FY_NEED(r->e, j && j->kind == FY_JSON_STRING && !memchr(j->s, 0, j->n), CORRUPT, "%s is not a usable string", what);
    return fy_pt2_intern(r, to, j->s, j->n);
}

fy_status fy_pt2_int(fy_pt2 *r, int64_t *to, const fy_json *j, const char *what) {
    FY_NEED(r->e, j && j->kind == FY_JSON_INT, CORRUPT, "%s is not an int of 64 bits", what);
    *to = j->i;
    return FY_OK;
}

/* ---- the archive ---------------------------------------------------------------------------------------------------------- */

/* Finds layout, root and model name. */
static fy_status locate(fy_pt2 *r, const fy_zip_entry **json) {
    *json = fy_zip_find(&r->zip, "serialized_exported_program.json");
    if (*json) { r->layout = FY_PT2_FLAT; return FY_OK; }
    r->layout = FY_PT2_RAW;
    int found = 0;
    fy_buf names = {0};
    for (int64_t i = 0; i < r->zip.count; i++) {
        const char *name = r->zip.entry[i].name, *models = strstr(name, "/models/"), *file = models ? models + 8 : NULL,
                   *dot = file ? strrchr(file, '.') : NULL;
        if (!dot || strcmp(dot, ".json") || strchr(file, '/') || memchr(name, '/', (size_t)(models - name))) continue;
        bool standard = dot - file == 5 && !memcmp(file, "model", 5);
        if (!*json || standard) {
            *json = &r->zip.entry[i];
            r->root = fy_arena_strn(&r->tmp, name, (size_t)(models - name));
            r->model = fy_arena_strn(&r->tmp, file, (size_t)(dot - file));
        }
        fy_buf_fmt(&names, "%s%.*s", found ? ", " : "", (int)(dot - file), file);
        found++;
    }
    fy_status s = FY_OK;
    if (names.oom || (*json && (!r->root || !r->model))) s = fy_nomem(r->e);
    else if (!*json) s = fy_fail(r->e, FY_E_FORMAT, "the archive holds no exported program (models/*.json)");
    else if (found > 1 && strcmp(r->model, "model"))
        s = fy_fail(r->e, FY_E_UNSUPPORTED, "the archive holds %d programs (%s) and none is called model", found, names.at);
    fy_buf_free(&names);
    return s;
}

static fy_status byte_order(fy_pt2 *r) {
    if (r->layout == FY_PT2_FLAT) return FY_OK;
    char *name = fy_arena_fmt(&r->tmp, "%s/byteorder", r->root);
    FY_NOMEM(r->e, name);
    const fy_zip_entry *f = fy_zip_find(&r->zip, name);
    const unsigned char *p;
    if (!f) return FY_OK;
    FY_TRY(fy_zip_read(&r->zip, f, &r->tmp, 64, &p, r->e));
    r->big_endian = f->size >= 3 && !memcmp(p, "big", 3);
    return FY_OK;
}

/* ---- signature --------------------------------------------------------------------------------------------------------------- */

static fy_pvalue *value_of(const fy_parg *a) { return a->value ? a->value : a->sym.value; }

/* {"parameter": {"arg": {"name": "p_fc_weight"}, "parameter_name": "fc.weight"}}, in the order of the graph's inputs. */
static fy_status input_spec(fy_pt2 *r, fy_pinput *in, const fy_parg *graph_in, const fy_json *spec) {
    FY_NEED(r->e, spec->kind == FY_JSON_OBJECT && spec->child && !spec->child->next, CORRUPT,
            "an input of the signature is not a union of one member");
    const fy_json *m = spec->child, *fqn = NULL, *name;
    static const struct { const char *tag, *fqn; fy_input_kind kind;
    } kinds[] = {{"user_input", NULL, FY_PIN_USER},
                 {"parameter", "parameter_name", FY_PIN_PARAMETER},
                 {"buffer", "buffer_name", FY_PIN_BUFFER},
                 {"tensor_constant", "tensor_constant_name", FY_PIN_CONSTANT},
                 {"custom_obj", "custom_obj_name", FY_PIN_CUSTOM},
                 {"token", NULL, FY_PIN_TOKEN},
                 {"constant_input", NULL, FY_PIN_LITERAL}};
    int k = 0;
    while (k < FY_COUNT(kinds) && (m->nkey != strlen(kinds[k].tag) || memcmp(m->key, kinds[k].tag, m->nkey))) k++;
    FY_NEED(r->e, k < FY_COUNT(kinds), UNSUPPORTED, "an input of the kind %.*s", m->nkey > 60 ? 60 : (int)m->nkey, m->key);
    in->kind = kinds[k].kind;
    in->value = value_of(graph_in);
    if (kinds[k].fqn) {
        fqn = fy_json_get(m, kinds[k].fqn);
        FY_TRY(fy_pt2_str(r, &in->fqn, fqn, "the name of a weight"));
        name = fy_json_get(fy_json_get(m, "arg"), "name");
        FY_NEED(r->e,
                in->kind == FY_PIN_CUSTOM || (in->value && in->value->kind == FY_PV_TENSOR && (!name || fy_json_is(name, in->value->name))),
                CORRUPT, "graph and signature disagree on the input %s", in->fqn);
    }
    if (in->kind == FY_PIN_BUFFER) {
        const fy_json *persistent = fy_json_get(m, "persistent");
        in->persistent = !persistent || persistent->kind != FY_JSON_BOOL || persistent->b;
    }
    if (in->kind == FY_PIN_PARAMETER || in->kind == FY_PIN_BUFFER || in->kind == FY_PIN_CONSTANT)
        FY_TRY(fy_pt2_weight(r, &in->data, in->fqn, in->kind == FY_PIN_CONSTANT || (in->kind == FY_PIN_BUFFER && !in->persistent)));
    if (in->kind == FY_PIN_LITERAL) {
        const fy_json *value = fy_json_get(m, "value");
        if (value) FY_TRY(fy_pt2_literal(r, &in->literal, value));
        else in->literal = *graph_in;
        if (fy_json_get(m, "name")) FY_TRY(fy_pt2_str(r, &in->user_name, fy_json_get(m, "name"), "the name of an input"));
    } else if (in->kind == FY_PIN_USER && !in->value) {      /* an int in a signature of torch before 2.6 */
        in->kind = FY_PIN_LITERAL;
        in->literal = *graph_in;
    }
    return FY_OK;
}

static fy_status output_spec(fy_pt2 *r, fy_poutput *out, const fy_parg *graph_out, const fy_json *spec) {
    FY_NEED(r->e, spec->kind == FY_JSON_OBJECT && spec->child && !spec->child->next, CORRUPT,
            "an output of the signature is not a union of one member");
    const fy_json *m = spec->child;
    static const struct { const char *tag, *target; fy_output_kind kind;
    } kinds[] = {{"user_output", NULL, FY_POUT_USER},
                 {"loss_output", NULL, FY_POUT_LOSS},
                 {"buffer_mutation", "buffer_name", FY_POUT_BUFFER_MUTATION},
                 {"user_input_mutation", "user_input_name", FY_POUT_INPUT_MUTATION},
                 {"parameter_mutation", "parameter_name", FY_POUT_PARAMETER_MUTATION}};
    out->arg = *graph_out;
    out->kind = FY_POUT_OTHER;
    for (int k = 0; k < FY_COUNT(kinds); k++)
        if (m->nkey == strlen(kinds[k].tag) && !memcmp(m->key, kinds[k].tag, m->nkey)) {
            out->kind = kinds[k].kind;
            if (kinds[k].target) FY_TRY(fy_pt2_str(r, &out->target, fy_json_get(m, kinds[k].target), "the target of a mutation"));
        }
    return FY_OK;
}

static fy_status signature(fy_pt2 *r, const fy_json *sig) {
    fy_program *p = r->p;
    const fy_json *in = fy_json_get(sig, "input_specs"), *out = fy_json_get(sig, "output_specs");
    FY_NEED(r->e, in && in->kind == FY_JSON_ARRAY && out && out->kind == FY_JSON_ARRAY, CORRUPT, "the program has no signature");
    p->in = FY_NEWN(&p->arena, fy_pinput, p->graph->nin);
    p->out = FY_NEWN(&p->arena, fy_poutput, p->graph->nout);
    FY_NOMEM(r->e, p->in && p->out);
    for (const fy_json *j = in->child; j; j = j->next, p->nin++) {
        FY_NEED(r->e, p->nin < p->graph->nin, CORRUPT, "the signature has more inputs than the graph's %d", p->graph->nin);
        FY_TRY(input_spec(r, &p->in[p->nin], &p->graph->in[p->nin], j));
    }
    for (const fy_json *j = out->child; j; j = j->next, p->nout++) {
        FY_NEED(r->e, p->nout < p->graph->nout, CORRUPT, "the signature has more outputs than the graph's %d", p->graph->nout);
        FY_TRY(output_spec(r, &p->out[p->nout], &p->graph->out[p->nout], j));
    }
    FY_NEED(r->e, p->nin == p->graph->nin && p->nout == p->graph->nout, CORRUPT,
            "the signature has %d inputs and %d outputs, the graph %d and %d", p->nin, p->nout, p->graph->nin, p->graph->nout);
    return FY_OK;
}

/* {"s77": {"min_val": 2, "max_val": 64}}; null: no bound. torch says 2 where it only means "not 0 or 1 at export": models
 * made with two rows run with one, so nothing is proved from it. */
static fy_status ranges(fy_pt2 *r, const fy_json *j) {
    fy_program *p = r->p;
    int64_t n = 0;
    for (const fy_json *k = j && j->kind == FY_JSON_OBJECT ? j->child : NULL; k; k = k->next) n++;
    FY_NEED(r->e, n < INT32_MAX, LIMIT, "%lld size ranges", (long long)n);
    p->range = FY_NEWN(&p->arena, fy_prange, n);
    FY_NOMEM(r->e, p->range);
    for (const fy_json *k = n ? j->child : NULL; k; k = k->next) {
        const fy_json *lo = fy_json_get(k, "min_val"), *hi = fy_json_get(k, "max_val");
        fy_prange *g = &p->range[p->nrange++];
        FY_NEED(r->e, !memchr(k->key, 0, k->nkey), CORRUPT, "the name of a size is not a usable string");
        FY_TRY(fy_pt2_intern(r, &g->symbol, k->key, k->nkey));
        g->lo = lo && lo->kind == FY_JSON_INT && lo->i > 0 ? lo->i : 0;
        g->hi = hi && hi->kind == FY_JSON_INT && hi->i >= g->lo ? hi->i : INT64_MAX;
        const fy_dim *d = fy_dim_sym(p->dims, g->symbol);
        FY_NOMEM(r->e, d);
        fy_dim_bound(p->dims, d, g->lo > 1 ? 1 : g->lo, g->hi);
    }
    return FY_OK;
}

/* ---- the whole ------------------------------------------------------------------------------------------------------------------ */

static fy_status facts(fy_pt2 *r, const fy_json *doc) {
    fy_program *p = r->p;
    const fy_json *v = fy_json_get(doc, "schema_version"), *major = fy_json_get(v, "major"), *minor = fy_json_get(v, "minor"),
                  *verifiers = fy_json_get(doc, "verifiers");
    p->schema_major = major && major->kind == FY_JSON_INT ? (int)(major->i & 0xFFFF) : 0;
    p->schema_minor = minor && minor->kind == FY_JSON_INT ? (int)(minor->i & 0xFFFF) : 0;
    FY_NEED(r->e, !major || (p->schema_major >= 5 && p->schema_major <= 8), UNSUPPORTED,
            "the archive has schema version %d; known are 5 to 8", p->schema_major);
    bool training = false, aten = false;
    for (const fy_json *j = verifiers && verifiers->kind == FY_JSON_ARRAY ? verifiers->child : NULL; j; j = j->next) {
        training |= fy_json_is(j, "TRAINING");
        aten |= fy_json_is(j, "ATEN");
    }
    p->decomposed = aten && !training;
    if (fy_json_get(doc, "torch_version")) FY_TRY(fy_pt2_str(r, &p->torch_version, fy_json_get(doc, "torch_version"), "torch_version"));
    return FY_OK;
}

static fy_status program(fy_pt2 *r, const fy_zip_entry *f) {
    const unsigned char *text;
    const fy_json *doc, *gm;
    FY_TRY(fy_zip_read(&r->zip, f, &r->tmp, MAX_JSON, &text, r->e));
    FY_NEED(r->e, fy_zip_crc_ok(f, text), CORRUPT, "the checksum is wrong: the file was damaged after it was written");
    FY_TRY(fy_json_parse(&doc, &r->tmp, (const char *)text, (size_t)f->size, r->e));
    gm = fy_json_get(doc, "graph_module");
    FY_NEED(r->e, gm && gm->kind == FY_JSON_OBJECT, CORRUPT, "the program has no graph_module");
    FY_TRY(facts(r, doc));
    FY_TRY(ranges(r, fy_json_get(doc, "range_constraints")));
    FY_TRY(fy_pt2_graph(r, &r->p->graph, fy_json_get(gm, "graph")));
    FY_TRY(fy_pt2_open_weights(r));
    FY_TRY(signature(r, fy_json_get(gm, "signature")));
    FY_TRY(fy_pt2_names(r, gm));
    return fy_program_index(r->p, r->e);
}

static fy_status archive(fy_pt2 *r) {
    const fy_zip_entry *json;
    FY_TRY(locate(r, &json));
    FY_TRY(byte_order(r));
    fy_status s = program(r, json);
    return s ? fy_frame(r->e, s, "entry %s", json->name) : FY_OK;
}

/* Takes over `file`, whatever comes of it. */
static fy_status read(fy_program **to, fy_map_file *file, const char *name, ferry_error *e) {
    fy_pt2 r = { .e = e };
    *to = NULL;
    r.p = fy_program_new();
    if (!r.p) { fy_file_close(file); fy_free(file); return fy_nomem(e); }
    r.p->file = file;
    fy_status s = FY_OK;
    r.p->path = fy_arena_str(&r.p->arena, name);
    if (!r.p->path) s = fy_nomem(e);
    if (!s) s = fy_pt2_other_file(file->at, file->n, name, e);
    if (!s) s = fy_zip_open(&r.zip, file->at, file->n, e);
    if (!s) {
        s = archive(&r);
        if (r.has_weight_file) fy_torch_close(&r.weight_file);
        if (r.has_constant_file) fy_torch_close(&r.constant_file);
        if (r.has_sample_file) fy_torch_close(&r.sample_file);
        fy_map_free(&r.strings);
        fy_map_free(&r.exprs);
        fy_map_free(&r.views);
        fy_map_free(&r.weights);
        fy_map_free(&r.constants);
        fy_zip_close(&r.zip);
    }
    fy_arena_free(&r.tmp);
    if (s) {
        fy_program_free(r.p);
        return fy_frame(e, s, "file %s", name);
    }
    *to = r.p;
    return FY_OK;
}

fy_status fy_pt2_read(fy_program **p, const char *path, ferry_error *e) {
    *p = NULL;
    fy_map_file *file = fy_calloc(1, sizeof *file);
    FY_NOMEM(e, file);
    fy_status s = fy_file_open(file, path, e);
    if (s) { fy_free(file); return s; }
    return read(p, file, path, e);
}

fy_status fy_pt2_read_memory(fy_program **p, const void *data, size_t n, const char *name, ferry_error *e) {
    *p = NULL;
    fy_map_file *file = fy_calloc(1, sizeof *file);
    FY_NOMEM(e, file);
    *file = (fy_map_file){ .at = data, .n = n, .fd = -1 };
    return read(p, file, name, e);
}
