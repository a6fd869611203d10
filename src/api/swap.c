/* SPDX-License-Identifier: Apache-2.0
 * swap.c - other weights put in the place of a model's own, by name. All that does not match is gathered before anything is said.
 *
 * In a .pt2 every weight has its name. In a .onnx the record (record.c) tells which initializers are weights with their axes permuted, which are a
 * convolution with the norm after it, folded again from the new ones (fold.c), and which weights went into something else: those cannot be
 * replaced there, and the remedy is the .pt2. A model that has no record is taken by
 * its names; weights of a batch norm that it does not have are a sign that it was folded into the convolution before it. */
#include "api/weights.h"
#include "api/rewrite.h"
#include "formats/onnx.h"

#include <string.h>

/* ---- names of the file --------------------------------------------------------------------------------------------------------- */

/* Wrappers of PyTorch put a word in front of every name: DataParallel "module.", torch.compile "_orig_mod." (also in the middle). */
static const char *bare_name(fy_swap *s, const char *name, ferry_error *e) {
    static const char orig[] = "_orig_mod.";
    char *t = fy_arena_str(&s->arena, name), *at;
    if (!t) {
        (void)fy_nomem(e);
        return NULL;
    }
    for (bool again = true; again;) {
        again = false;
        if (!strncmp(t, "module.", 7)) { t += 7; again = true; }
        if (!strncmp(t, orig, sizeof orig - 1)) { t += sizeof orig - 1; again = true; }
    }
    while ((at = strstr(t, "._orig_mod.")) != NULL) memmove(at + 1, at + sizeof orig, strlen(at + sizeof orig) + 1);
    return t;
}

static fy_status name_all(fy_swap *s, const char *const *target, int64_t n, ferry_error *e) {
    const fy_weights *w = &s->file.w;
    fy_map bare = {0}, plain = {0};
    int64_t as_is = 0, without = 0;
    bool module = false, orig = false;
    fy_status st = FY_OK;
    for (int64_t i = 0; i < w->at.n && !st; i++) {
        const char *name = w->at.at[i].name, *b = bare_name(s, name, e);
        if (!b) { st = FY_E_NOMEM; break; }
        module |= !strncmp(name, "module.", 7);
        orig |= strstr(name, "_orig_mod.") != NULL;
        if (!fy_map_puts(&plain, name, (void *)(uintptr_t)(i + 1)) || !fy_map_puts(&bare, b, (void *)(uintptr_t)(i + 1))) st = fy_nomem(e);
    }
    for (int64_t i = 0; i < n && !st; i++) {
        as_is += fy_map_gets(&plain, target[i]) != NULL;
        without += fy_map_gets(&bare, target[i]) != NULL;
    }
    bool take_off = without > as_is;
    s->by_name = take_off ? bare : plain;
    fy_map_free(take_off ? &plain : &bare);
    s->prefix = take_off ? module && orig ? "module. and _orig_mod." : module ? "module." : "_orig_mod." : NULL;
    return st;
}

/* ---- one weight ---------------------------------------------------------------------------------------------------------------- */

static fy_status note(fy_swap *s, fy_swap_faults *to, const char *name, const char *why, ferry_error *e) {
    if (s->again) return FY_OK;
    for (int64_t i = 0; i < to->n; i++)
        if (!strcmp(to->at[i].name, name)) return FY_OK;     /* a weight may have several places */
    fy_swap_fault f = {fy_arena_str(&s->arena, name), why ? fy_arena_str(&s->arena, why) : ""};
    FY_NOMEM(e, f.name && f.why);
    FY_PUSH(e, *to, f);
    return FY_OK;
}

static void shape_text(fy_buf *b, const fy_const *c) {
    fy_buf_fmt(b, "%s[", fy_dtype_name(c->dtype));
    for (int k = 0; k < c->rank; k++) fy_buf_fmt(b, "%s%lld", k ? "," : "", (long long)c->dim[k]);
    fy_buf_char(b, ']');
}

static fy_status note_wrong(fy_swap *s, const char *name, const fy_const *have, const fy_const *want, bool transposed, ferry_error *e) {
    fy_buf b = {0};
    fy_buf_str(&b, "the file has ");
    shape_text(&b, have);
    fy_buf_str(&b, ", the model ");
    shape_text(&b, want);
    if (transposed) fy_buf_str(&b, ": transposed, swap it in the .pt2");
    else if (have->dtype != want->dtype && fy_dtype_float(have->dtype) && fy_dtype_float(want->dtype)) fy_buf_str(&b, " (--cast converts)");
    fy_status st = b.oom ? fy_nomem(e) : note(s, &s->wrong, name, b.at, e);
    fy_buf_free(&b);
    return st;
}

static bool same_dims(const fy_const *a, const fy_const *b) { return a->rank == b->rank && !memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim); }

/* The weight of that name as the model wants it, or NULL after it was noted that there is none such. */
static fy_status find(fy_swap *s, fy_arena *a, const fy_const **to, const char *name, const fy_const *want, const fy_link *link, ferry_error *e) {
    size_t i = (size_t)(uintptr_t)fy_map_gets(&s->by_name, name);
    *to = NULL;
    if (!i) return FY_OK;
    const fy_weight *t = &s->file.w.at.at[i - 1];
    if (t->tied >= 0) t = &s->file.w.at.at[t->tied];         /* one constant for tied ones: they stay tied */
    const fy_const *c = t->data, *seen = c;
    char *key = fy_arena_str(&s->arena, name);
    FY_NOMEM(e, key && fy_map_puts(&s->taken, key, s));
    if (link && link->rank) {
        seen = c->rank == link->rank ? fy_const_transpose(a, c, link->perm) : NULL;
        if (!seen) return note_wrong(s, name, c, want, false, e);
    }
    bool cast = seen->dtype != want->dtype && s->cast && fy_dtype_float(seen->dtype) && fy_dtype_float(want->dtype);
    if (!same_dims(seen, want) || (seen->dtype != want->dtype && !cast)) {
        bool turned = seen->rank == 2 && want->rank == 2 && seen->dim[0] == want->dim[1] && seen->dim[1] == want->dim[0] && !same_dims(seen, want);
        return note_wrong(s, name, c, want, turned, e);
    }
    if (cast) {
        seen = fy_const_cast(a, seen, want->dtype);
        FY_NOMEM(e, seen);
        if (!s->again) s->cast_n++;
    }
    *to = seen;
    return FY_OK;
}

static bool is_counter(const char *name) {
    size_t n = strlen(name);
    return n >= 19 && !strcmp(name + n - 19, "num_batches_tracked");
}

static bool ends(const char *s, const char *tail) {
    size_t n = strlen(s), k = strlen(tail);
    return n >= k && !strcmp(s + n - k, tail);
}

static const char *name_in_file(fy_swap *s, int64_t i, ferry_error *e) {
    const char *name = s->file.w.at.at[i].name;
    return s->prefix ? bare_name(s, name, e) : name;
}

/* What nothing in the model asked for. */
static fy_status left_over(fy_swap *s, const fy_record *r, ferry_error *e) {
    for (int64_t i = 0; i < s->file.w.at.n && !s->again; i++) {
        const char *name = name_in_file(s, i, e);
        char hex[17];
        FY_NOMEM(e, name);
        if (fy_map_has(&s->taken, name, strlen(name)) || is_counter(name)) continue;
        size_t folded = r ? (size_t)(uintptr_t)fy_map_gets(&r->folded_by_name, name) : 0;
        if (folded) {
            const char *digest = fy_const_digest(hex, s->file.w.at.at[i].data, e);
            FY_NOMEM(e, digest);
            if (strcmp(digest, r->folded.at[folded - 1].val)) FY_TRY(note(s, &s->folded, name, NULL, e));
            continue;
        }
        if (r && fy_map_has(&r->unused_by_name, name, strlen(name))) continue;
        if (r && ends(name, ".running_var")) FY_TRY(note(s, &s->folded, name, "the model has no such batch norm: it may be folded into the layer before it", e));
        else FY_TRY(note(s, &s->unexpected, name, NULL, e));
    }
    return FY_OK;
}

bool fy_swap_fits(const fy_swap *s) {
    if (s->folded.n || !s->swapped) return false;
    return s->partial || (!s->missing.n && !s->unexpected.n && !s->wrong.n);
}

static fy_status verdict(const fy_swap *s, ferry_error *e) {
    if (s->again || fy_swap_fits(s)) return FY_OK;
    return fy_fail(e, FY_E_GATE, "%s does not match %s: %lld missing, %lld unexpected, %lld of another shape or type, %lld folded into others", fy_base_name(s->path),
                   fy_base_name(s->source), (long long)s->missing.n, (long long)s->unexpected.n, (long long)s->wrong.n, (long long)s->folded.n);
}

static void count(fy_swap *s, const fy_const *was, const fy_const *is) {
    char a[17], b[17];
    if (s->again) return;
    s->swapped++;
    s->changed += !fy_const_digest(a, was, NULL) || !fy_const_digest(b, is, NULL) || strcmp(a, b);
}

/* ---- a program ------------------------------------------------------------------------------------------------------------------- */

fy_status fy_swap_program(fy_swap *s, fy_program *p, ferry_error *e) {
    const char **names = FY_NEWN(&s->arena, const char *, p->nin + 1);
    int64_t n = 0;
    FY_NOMEM(e, names);
    for (int i = 0; i < p->nin; i++)
        if (p->in[i].data && p->in[i].fqn) names[n++] = p->in[i].fqn;
    if (!s->again) FY_TRY(name_all(s, names, n, e));
    for (int i = 0; i < p->nin; i++) {
        fy_pinput *in = &p->in[i];
        const fy_const *c;
        if (!in->data || !in->fqn) continue;
        bool wanted = in->kind == FY_PIN_PARAMETER || (in->kind == FY_PIN_BUFFER && in->persistent);
        if (wanted && !s->again) s->targets++;
        FY_TRY(find(s, &p->arena, &c, in->fqn, in->data, NULL, e));
        if (c) {
            count(s, in->data, c);
            in->data = c;
        } else if (wanted && !is_counter(in->fqn) && !fy_map_has(&s->taken, in->fqn, strlen(in->fqn))) FY_TRY(note(s, &s->missing, in->fqn, NULL, e));
    }
    FY_TRY(left_over(s, NULL, e));
    return verdict(s, e);
}

/* ---- a model --------------------------------------------------------------------------------------------------------------------- */

/* The new contents of one initializer: from its own name, or from the names that are linked to it; tied names must agree. */
static fy_status replace(fy_swap *s, fy_model *m, fy_value *v, const fy_record *r, const fy_map *links, ferry_error *e) {
    const fy_const *c = NULL, *other;
    bool known = false;
    bool folded = fy_map_has(&r->folded_by_name, v->name, strlen(v->name));
    if (!folded) FY_TRY(find(s, &m->arena, &c, v->name, v->constant, NULL, e));
    known = c != NULL || fy_map_has(&s->taken, v->name, strlen(v->name));
    const char *missing = NULL;
    if (fy_map_has(links, v->name, strlen(v->name)))
        for (int64_t i = 0; i < r->link.n; i++) {
            const fy_link *l = &r->link.at[i];
            if (strcmp(l->target, v->name)) continue;
            FY_TRY(find(s, &m->arena, &other, l->name, v->constant, l, e));
            known |= fy_map_has(&s->taken, l->name, strlen(l->name));
            if (!other) { missing = l->name; continue; }
            if (c && !fy_const_same(c, other)) {
                char x[17], y[17];
                FY_NOMEM(e, fy_const_digest(x, c, e) && fy_const_digest(y, other, e));
                if (strcmp(x, y)) FY_TRY(note(s, &s->folded, l->name, "it shares one tensor with another weight in the model, but not in the file", e));
            }
            c = c ? c : other;
        }
    bool weight = fy_dtype_float(v->constant->dtype) && v->constant->rank && strchr(v->name, '.') && !fy_map_has(&r->made, v->name, strlen(v->name));
    if (!s->again && (known || (weight && !folded))) s->targets++;
    if (c) {
        count(s, v->constant, c);
        v->constant = c;
    } else if (!known && weight && !folded) FY_TRY(note(s, &s->missing, missing ? missing : v->name, NULL, e));
    return FY_OK;
}

/* The parts of a fold that the file has, of the shapes that the convolution asks for. */
static fy_status fold_parts(fy_swap *s, fy_model *m, const fy_fold *f, const fy_const **part, int *want, int *have, ferry_error *e) {
    const fy_const *w = fy_in(f->node, 1)->constant, *vector = fy_const_splat(&m->arena, w->dtype, 1, &w->dim[f->axis], 0);
    FY_NOMEM(e, vector);
    for (int i = 0; i < FY_FOLD_PARTS; i++) {
        if (!f->part[i]) continue;
        FY_TRY(find(s, &m->arena, &part[i], f->part[i], i == FY_FOLD_WEIGHT ? w : vector, NULL, e));
        ++*want;
        *have += part[i] != NULL;
    }
    return FY_OK;
}

/* A convolution and the norm that went into it, together: what one of them is can be told from all of its parts alone. */
static fy_status refold(fy_swap *s, fy_model *m, fy_fold *f, fy_record *r, ferry_error *e) {
    const fy_const *part[FY_FOLD_PARTS] = {NULL}, *weight, *bias;
    int want = 0, have = 0;
    char hex[17];
    FY_TRY(fold_parts(s, m, f, part, &want, &have, e));
    if (have == want) {
        bool sound = fy_fold_compute(&m->arena, f, part, &weight, &bias);
        if (!sound) return note(s, &s->folded, f->part[FY_FOLD_WEIGHT], "with the norm folded into it, it is not finite", e);
        if (!s->again) s->targets += want;
        count(s, f->weight, weight);
        if (!s->again) s->swapped += want - 1;
        if (s->again) return fy_fold_apart(f, m, part, e);
        FY_TRY(fy_fold_put(f, m, weight, bias, e));
        FY_NOMEM(e, fy_map_puts(&r->made, fy_in(f->node, 2)->name, r));
        return FY_OK;
    }
    for (int i = 0; i < FY_FOLD_PARTS; i++) {
        if (!part[i]) continue;
        size_t was = (size_t)(uintptr_t)fy_map_gets(&r->folded_by_name, f->part[i]);
        FY_NOMEM(e, fy_const_digest(hex, part[i], e));
        if (!was || strcmp(hex, r->folded.at[was - 1].val) || fy_model_meta(m, "ferry.weights_from"))
            FY_TRY(note(s, &s->folded, f->part[i], "a norm is folded into its convolution, and the file lacks a part of the two", e));
    }
    return FY_OK;
}

static fy_status in_model(fy_swap *s, fy_model *m, fy_record *r, fy_map *links, ferry_error *e) {
    const fy_graph *g = m->graph;
    const char **names = FY_NEWN(&s->arena, const char *, g->constants.n + r->link.n + 1);
    int64_t n = 0;
    FY_NOMEM(e, names);
    for (int64_t i = 0; i < g->constants.n; i++)
        if (g->constants.at[i]->name && g->constants.at[i]->constant) names[n++] = g->constants.at[i]->name;
    for (int64_t i = 0; i < r->link.n; i++) {
        names[n++] = r->link.at[i].name;
        FY_NOMEM(e, fy_map_puts(links, r->link.at[i].target, r));
    }
    if (!s->again) FY_TRY(name_all(s, names, n, e));
    for (int64_t i = 0; i < r->fold.n; i++)
        if (r->fold.at[i].node) FY_TRY(refold(s, m, &r->fold.at[i], r, e));
    for (int64_t i = 0; i < g->constants.n; i++) {
        fy_value *v = g->constants.at[i];
        if (v->name && *v->name && v->constant) FY_TRY(replace(s, m, v, r, links, e));
    }
    FY_TRY(left_over(s, r, e));
    return verdict(s, e);
}

fy_status fy_swap_model(fy_swap *s, fy_model *m, ferry_error *e) {
    fy_record r;
    fy_map links = {0};
    FY_TRY(fy_record_read(&r, m, e));
    fy_status st = in_model(s, m, &r, &links, e);
    fy_map_free(&links);
    fy_record_free(&r);
    return st;
}

/* ---- options and report ------------------------------------------------------------------------------------------------------------ */

fy_status fy_swap_open(fy_swap *s, const char *model, const ferry_job *job, ferry_error *e) {
    *s = (fy_swap){.path = fy_opt(job, "weights"), .source = model, .partial = fy_opt_has(job, "partial"), .cast = fy_opt_has(job, "cast")};
    if (!s->path) {
        const char *stray = fy_opt_has(job, "section") ? "section" : s->partial ? "partial" : s->cast ? "cast" : NULL;
        FY_NEED(e, !stray, USAGE, "%s: goes with weights=FILE", stray);
        return FY_OK;
    }
    FY_TRY(fy_weight_file_open(&s->file, s->path, fy_opt(job, "section"), e));
    s->open = true;
    return FY_OK;
}

void fy_swap_close(fy_swap *s) {
    if (s->open) fy_weight_file_close(&s->file);
    fy_free(s->missing.at);
    fy_free(s->unexpected.at);
    fy_free(s->wrong.at);
    fy_free(s->folded.at);
    fy_map_free(&s->by_name);
    fy_map_free(&s->taken);
    fy_arena_free(&s->arena);
    *s = (fy_swap){0};
}

#define SHOWN 20

static void print_faults(fy_buf *t, const char *title, const char *meaning, const fy_swap_fault *at, int64_t n) {
    if (!n) return;
    fy_buf_fmt(t, FY_AMBER "  %s" FY_OFF " %lld: %s\n", title, (long long)n, meaning);
    for (int64_t i = 0; i < n && i < SHOWN; i++) fy_buf_fmt(t, "    %s%s%s\n", at[i].name, *at[i].why ? ": " : "", at[i].why);
    if (n > SHOWN) fy_buf_fmt(t, "    ... and %lld more (--json lists all)\n", (long long)(n - SHOWN));
}

void fy_swap_print(fy_buf *t, const fy_swap *s) {
    fy_buf_fmt(t, "  weights  %lld of %lld from %s (%s), %lld with other contents", (long long)s->swapped, (long long)s->targets, fy_base_name(s->path), s->file.kind, (long long)s->changed);
    if (s->cast_n) fy_buf_fmt(t, ", %lld converted", (long long)s->cast_n);
    fy_buf_char(t, '\n');
    if (s->prefix) fy_buf_fmt(t, "  prefix   %s taken off the names of %s\n", s->prefix, fy_base_name(s->path));
    print_faults(t, "missing", "in the model, not in the file", s->missing.at, s->missing.n);
    print_faults(t, "unexpected", "in the file, not in the model", s->unexpected.at, s->unexpected.n);
    print_faults(t, "mismatch", "of another shape or type", s->wrong.at, s->wrong.n);
    print_faults(t, "folded", "cannot be replaced in the .onnx, which holds something computed from them", s->folded.at, s->folded.n);
}

static void json_faults(fy_jsonw *w, const char *key, const fy_swap_fault *at, int64_t n) {
    fy_jsonw_array(w, key);
    for (int64_t i = 0; i < n; i++) {
        fy_jsonw_object(w, NULL);
        fy_jsonw_str(w, "name", at[i].name);
        if (*at[i].why) fy_jsonw_str(w, "why", at[i].why);
        fy_jsonw_end_object(w);
    }
    fy_jsonw_end_array(w);
}

void fy_swap_json(fy_jsonw *w, const fy_swap *s) {
    fy_jsonw_object(w, "weights");
    fy_jsonw_str(w, "file", s->path);
    fy_jsonw_str(w, "format", s->file.kind);
    fy_jsonw_str(w, "prefix", s->prefix);
    fy_jsonw_int(w, "swapped", s->swapped);
    fy_jsonw_int(w, "of", s->targets);
    fy_jsonw_int(w, "changed", s->changed);
    fy_jsonw_int(w, "converted", s->cast_n);
    json_faults(w, "missing", s->missing.at, s->missing.n);
    json_faults(w, "unexpected", s->unexpected.at, s->unexpected.n);
    json_faults(w, "mismatch", s->wrong.at, s->wrong.n);
    json_faults(w, "folded", s->folded.at, s->folded.n);
    fy_jsonw_end_object(w);
}

fy_status fy_swap_refusal(ferry_report **out, const fy_swap *s, const char *target, ferry_error *e) {
    fy_report *r = fy_report_new(e);
    if (!r) return FY_E_NOMEM;
    fy_buf *t = &r->text;
    fy_buf_fmt(t, FY_BOLD "%s" FY_OFF " with the weights of " FY_BOLD "%s" FY_OFF "\n", fy_base_name(s->source), fy_base_name(s->path));
    fy_swap_print(t, s);
    fy_buf_fmt(t, FY_RED "nothing was written" FY_OFF ": %s\n", s->folded.n ? "swap the weights before the model is lowered: ferry export MODEL.pt2 --weights FILE; or export the .onnx with --no-fold-bn"
                                                               : !s->swapped ? "no weight of the file has a name of the model" : "--partial takes those that match and keeps the model's own for the rest");
    fy_jsonw w = {.out = &r->json, .first = true};
    fy_jsonw_object(&w, NULL);
    fy_jsonw_str(&w, "source", s->source);
    fy_jsonw_str(&w, "output", target);
    fy_jsonw_bool(&w, "written", false);
    fy_swap_json(&w, s);
    fy_jsonw_end_object(&w);
    r->verdict = FERRY_NO;
    fy_status st = fy_report_finish(r, e);
    if (st) fy_report_free(r);
    else *out = r;
    return st;
}

/* ---- ferry export of a .onnx --------------------------------------------------------------------------------------------------------- */

/* What the file says of the weights that it had is true no longer. */
static void forget(fy_model *m, const char *key) {
    int64_t kept = 0;
    for (int64_t i = 0; i < m->meta.n; i++)
        if (strcmp(m->meta.at[i].key, key)) m->meta.at[kept++] = m->meta.at[i];
    m->meta.n = kept;
}

static fy_status as_read(fy_rewrite *w, fy_model *m, bool original, ferry_error *e) {
    fy_swap *s = w->ctx;
    s->again = original;
    FY_TRY(fy_swap_model(s, m, e));
    if (!s->changed) return FY_OK;
    forget(m, "ferry.source_sha256");
    forget(m, "ferry.verified");
    return fy_model_set_meta(m, "ferry.weights_from", fy_base_name(s->path), e);
}

static void print(fy_buf *t, const fy_rewrite *w) { fy_swap_print(t, w->ctx); }
static void json(fy_jsonw *j, const fy_rewrite *w) { fy_swap_json(j, w->ctx); }

int fy_swap_onnx(const char *onnx, const char *to, const ferry_job *job, ferry_report **r, ferry_error *e) {
    static const char *const keys[] = {FY_SWAP_KEYS, NULL};
    fy_swap s;
    *r = NULL;
    fy_error_clear(e);
    fy_status st = fy_swap_open(&s, onnx, job, e);
    fy_rewrite w = {.command = "export", .source = onnx, .target = to, .job = job, .keys = keys, .as_read = as_read, .print = print, .json = json, .ctx = &s, .as_it_is = true};
    int kind = st ? fy_kind_of(st) : fy_rewrite_run(&w, r, e);
    if (kind == FERRY_NO && !*r && !fy_swap_fits(&s)) {
        st = fy_swap_refusal(r, &s, to ? to : fy_opt(job, "output"), e);
        if (st) kind = fy_kind_of(st);
    }
    fy_swap_close(&s);
    return kind;
}
