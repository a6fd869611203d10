/* SPDX-License-Identifier: Apache-2.0
 * registry.c - lists of operators beside the built-in ones: checked and copied when they are added, loaded from shared objects, held by
 * the models that use them. */
#include "api/registry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_ARITY 127                   /* what fy_op's counts hold */

/* ---- is the description sound? -------------------------------------------------------------------------------------- */

static bool is_name(const char *s, const char *more) {
    if (!s || strlen(s) > 200) return false;
    for (; *s; s++)
        if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') || *s == '_' || strchr(more, *s))) return false;
    return true;
}

static fy_status check_default(const ferry_op *op, const ferry_attr *a, ferry_error *e) {
    char *end = NULL;
    if (!a->value || !strcmp(a->value, FERRY_REQUIRED)) return FY_OK;
    errno = 0;
    if (a->kind == FERRY_ATTR_INT) (void)strtoll(a->value, &end, 10);
    else if (a->kind == FERRY_ATTR_FLOAT) (void)strtod(a->value, &end);
    else FY_NEED(e, a->kind == FERRY_ATTR_STRING, USAGE, "%s: attribute %s: only numbers and strings can have defaults", op->name, a->name);
    FY_NEED(e, !end || (end != a->value && !*end && !errno), USAGE, "%s: attribute %s: the default \"%.40s\" is no number", op->name, a->name, a->value);
    return FY_OK;
}

static fy_status check_attributes(const ferry_op *op, ferry_error *e) {
    FY_NEED(e, op->nattrs <= 256 && (op->attrs || !op->nattrs), USAGE, "%s: %u attributes cannot be", op->name, (unsigned)op->nattrs);
    for (uint32_t i = 0; i < op->nattrs; i++) {
        const ferry_attr *a = &op->attrs[i];
        FY_NEED(e, is_name(a->name, "") && *a->name, USAGE, "%s: attribute %u has no usable name", op->name, (unsigned)i);
        FY_NEED(e, a->kind >= FERRY_ATTR_FLOAT && a->kind <= FERRY_ATTR_STRINGS && a->kind != 5, USAGE, "%s: attribute %s is of kind %d, which cannot be", op->name, a->name, (int)a->kind);
        for (uint32_t k = 0; k < i; k++) FY_NEED(e, strcmp(op->attrs[k].name, a->name), USAGE, "%s: attribute %s is there twice", op->name, a->name);
        FY_TRY(check_default(op, a, e));
    }
    return FY_OK;
}

/* The end of the word at s: a comma, or one of `stop`. */
static size_t word(const char *s, const char *stop) { return strcspn(s, stop); }

/* "T=f32,f64;I=i64|T,I,...|T": lists of known dtypes with a name each, then entries that are such names, dtypes or "*". */
static fy_status check_types(const ferry_op *op, ferry_error *e) {
    const char *s = op->types, *bar = s ? strchr(s, '|') : NULL;
    if (!s) return FY_OK;
    FY_NEED(e, bar && strlen(s) < 4000, USAGE, "%s: types \"%.60s\" lacks the | before the inputs", op->name, s);
    while (s < bar) {
        size_t n = word(s, "=;|");
        FY_NEED(e, n && s[n] == '=', USAGE, "%s: types: NAME=DTYPE,... expected at \"%.40s\"", op->name, s);
        for (s += n + 1; s < bar; s++) {
            n = word(s, ",;|");
            FY_NEED(e, (n == 1 && *s == '*') || fy_dtype_find(s, n), USAGE, "%s: types: there is no dtype \"%.*s\"", op->name, (int)n, s);
            s += n;
            if (*s != ',') break;
        }
        if (*s == ';') s++;
    }
    for (s = bar + 1; *s; s += *s != 0) {
        size_t n = word(s, ",|");
        bool known = n == 0 || (n == 1 && *s == '*') || (n == 3 && !memcmp(s, "...", 3)) || fy_dtype_find(s, n);
        for (const char *d = op->types; !known && d && d < bar; d = strpbrk(d, ";|"), d = d && *d == ';' ? d + 1 : NULL)
            known = word(d, "=;|") == n && !memcmp(d, s, n) && d[n] == '=';
        FY_NEED(e, known, USAGE, "%s: types: \"%.*s\" is neither a list nor a dtype", op->name, (int)n, s);
        s += n;
    }
    return FY_OK;
}

static bool zeros(const unsigned char *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (p[i]) return false;
    return true;
}

static fy_status check(const ferry_op *op, ferry_error *e) {
    FY_NEED(e, op, USAGE, "no operator is given");
    FY_NEED(e, op->size >= sizeof *op, USAGE, "an operator's size says %u bytes; this ferry needs %zu: it was built for another version", (unsigned)op->size, sizeof *op);
    FY_NEED(e, op->size < 65536 && zeros((const unsigned char *)(op + 1), op->size - sizeof *op), USAGE, "the operator uses what only a newer ferry has");
    FY_NEED(e, is_name(op->name, "") && *op->name, USAGE, "the operator has no usable name");
    FY_NEED(e, is_name(op->domain, ".-"), USAGE, "%s: the domain is missing or has other than letters, digits and . _ -", op->name);
    FY_NEED(e, op->run, USAGE, "%s has no run callback", op->name);
    FY_NEED(e, op->flags <= FERRY_OP_PURE, USAGE, "%s: flags %u are not known", op->name, (unsigned)op->flags);
    FY_NEED(e, op->min_in >= 0 && op->min_in <= MOST_ARITY && op->max_in >= -1 && op->max_in <= MOST_ARITY && (op->max_in < 0 || op->max_in >= op->min_in), USAGE,
            "%s: %d to %d inputs cannot be", op->name, (int)op->min_in, (int)op->max_in);
    FY_NEED(e, op->min_out >= 0 && op->min_out <= MOST_ARITY && op->max_out >= -1 && op->max_out <= MOST_ARITY && op->max_out != 0 && (op->max_out < 0 || op->max_out >= op->min_out),
            USAGE, "%s: %d to %d outputs cannot be", op->name, (int)op->min_out, (int)op->max_out);
    FY_TRY(check_attributes(op, e));
    return check_types(op, e);
}

/* ---- the list -------------------------------------------------------------------------------------------------------- */

ferry_registry *ferry_registry_new(ferry_error *e) {
    ferry_registry *r = fy_calloc(1, sizeof *r);
    fy_error_clear(e);
    if (!r) {
        fy_nomem(e);
        return NULL;
    }
    r->reg.base = fy_registry_builtin();
    atomic_init(&r->refs, 1);
    return r;
}

ferry_registry *fy_registry_hold(ferry_registry *r) {
    if (!r) return NULL;
    atomic_fetch_add(&r->refs, 1);
    for (ferry_registry *k = r; k; k = k->base) atomic_store(&k->used, true);
    return r;
}

const fy_registry *fy_registry_of(const ferry_registry *r) { return r ? &r->reg : fy_registry_builtin(); }

const fy_mappings *fy_mappings_of(const ferry_registry *r) { return r ? r->maps : NULL; }

void ferry_registry_free(ferry_registry *r) {
    while (r && atomic_fetch_sub(&r->refs, 1) == 1) {
        ferry_registry *base = r->base;
        fy_maps_free(r->maps);
        for (int64_t i = 0; i < r->libs.n; i++) fy_os_dlclose(r->libs.at[i]);
        fy_free(r->libs.at);
        fy_free(r->ops.at);
        fy_arena_free(&r->arena);
        fy_free(r);
        r = base;
    }
}

size_t ferry_registry_count(const ferry_registry *r) { return r ? (size_t)r->ops.n : 0; }

static fy_status copy(fy_plugged **out, ferry_registry *r, const ferry_op *op, ferry_error *e) {
    fy_arena *a = &r->arena;
    fy_plugged *p = FY_NEW(a, fy_plugged);
    fy_attr_spec *specs = FY_NEWN(a, fy_attr_spec, op->nattrs + 1);
    FY_NOMEM(e, p && specs);
    p->own = *op;
    p->from = fy_arena_str(a, r->loading);
    const fy_op *was = fy_op_find(&r->reg, op->domain, op->name);
    p->op = (fy_op){.name = fy_arena_str(a, op->name), .domain = fy_arena_str(a, strcmp(op->domain, "ai.onnx") ? op->domain : ""),
        .attrs = specs, .min_in = (int8_t)op->min_in, .max_in = (int8_t)op->max_in, .min_out = (int8_t)op->min_out, .max_out = (int8_t)op->max_out,
        .since = was ? was->since : 1, .first = was ? was->first : 1, .types = fy_arena_str(a, op->types), .infer = fy_plugin_infer, .ref = fy_plugin_run,
        .flags = op->flags & FERRY_OP_PURE ? FY_PURE : 0};
    FY_NOMEM(e, p->op.name && p->op.domain && (p->op.types || !op->types) && (p->from || !r->loading));
    for (uint32_t i = 0; i < op->nattrs; i++) {
        const ferry_attr *from = &op->attrs[i];
        specs[i] = (fy_attr_spec){fy_arena_str(a, from->name), (fy_attr_kind)from->kind, fy_arena_str(a, from->value)};
        FY_NOMEM(e, specs[i].name && (specs[i].def || !from->value));
    }
    *out = p;
    return FY_OK;
}

static fy_status add(ferry_registry *r, const ferry_op *op, ferry_error *e) {
    fy_plugged *p = NULL;
    FY_NEED(e, r, USAGE, "no registry is given");
    FY_NEED(e, !atomic_load(&r->used), USAGE, "a model was opened with this registry: it does not change any more");
    FY_TRY(check(op, e));
    for (int64_t i = 0; i < r->ops.n; i++)
        FY_NEED(e, strcmp(r->ops.at[i]->name, op->name) || strcmp(r->ops.at[i]->domain, strcmp(op->domain, "ai.onnx") ? op->domain : ""), USAGE, "%s%s%s is there already", op->domain,
                *op->domain ? "." : "", op->name);
    FY_TRY(copy(&p, r, op, e));
    FY_PUSH(e, r->ops, &p->op);
    r->reg.op = r->ops.at;
    r->reg.n = (int)r->ops.n;
    return FY_OK;
}

int ferry_registry_add(ferry_registry *r, const ferry_op *op, ferry_error *e) {
    fy_error_clear(e);
    return fy_kind_of(add(r, op, e));
}

/* ---- shared objects -------------------------------------------------------------------------------------------------- */

static fy_status call_entry(ferry_registry *r, void *lib, const char *path, ferry_error *e) {
    union { void (*any)(void); uint32_t (*abi)(void); int (*entry)(const ferry_plugin_api *api, ferry_registry *r, ferry_error *e); } fn;
    int64_t before = r->ops.n;
    if (!fy_os_dlsym(lib, "ferry_plugin_abi", &fn.any)) {
        fy_status s = fy_fail(e, FY_E_FORMAT, "%.300s is no ferry plugin: it does not export ferry_plugin_abi", path);
        return fy_help(e, s, "Declare its entry with FERRY_PLUGIN of ferry/plugin.h, and do not hide it.");
    }
    uint32_t abi = fn.abi();
    if (abi != FERRY_PLUGIN_ABI) {
        fy_status s = fy_fail(e, FY_E_FORMAT, "%.300s was built for plugin ABI %u; this ferry (%s) has %u", path, (unsigned)abi, FERRY_VERSION, (unsigned)FERRY_PLUGIN_ABI);
        return fy_help(e, s, "Build it again with the headers of this ferry.");
    }
    FY_NEED(e, fy_os_dlsym(lib, "ferry_plugin", &fn.any), FORMAT, "%.300s is no ferry plugin: it does not export ferry_plugin", path);
    ferry_error own = {0};
    int said = fn.entry(fy_plugin_api(), r, &own);
    if (said) {
        own.text[sizeof own.text - 1] = 0;                       /* the plugin had it in its hands; its code may lie in the object that is closed now */
        fy_code code = own.code && own.text[0] ? fy_code_find(own.code) : FY_OK;
        if (!own.text[0]) snprintf(own.text, sizeof own.text, "its entry failed with %d and no message", said);
        return fy_frame(e, fy_fail(e, code ? code : FY_E_PLUGIN, "%s", own.text), "plugin %.180s", path);
    }
    union { void (*any)(void); const char *(*text)(void); } more;
    if (fy_os_dlsym(lib, "ferry_plugin_mappings", &more.any)) {
        const char *text = more.text();
        FY_NEED(e, text, PLUGIN, "%.300s has mappings that are NULL", path);
        return fy_maps_add(&r->maps, path, text, strlen(text), &r->reg, e);
    }
    FY_NEED(e, r->ops.n > before, PLUGIN, "%.300s registers no operator", path);
    return FY_OK;
}

static fy_status load(ferry_registry *r, const char *path, ferry_error *e) {
    char why[300], here[1100];
    FY_NEED(e, r && path && *path, USAGE, "no plugin is given");
    FY_NEED(e, !atomic_load(&r->used), USAGE, "a model was opened with this registry: it does not change any more");
    FY_NEED(e, strlen(path) < 1024, USAGE, "%.60s...: the path is too long", path);
    snprintf(here, sizeof here, "%s%s", strchr(path, '/') ? "" : "./", path);       /* a file, never a search along the system's folders */
    bool text;
    FY_TRY(fy_maps_file(&r->maps, path, &text, &r->reg, e));
    if (text) return FY_OK;
    int64_t before = r->ops.n;
    FY_NOMEM(e, FY_RESERVE(r->libs, r->libs.n + 1));
    void *lib = fy_os_dlopen(here, why, sizeof why);
    FY_NEED(e, lib, NOFILE, "plugin %.160s cannot be loaded: %s", path, why);
    r->loading = path;
    fy_status s = call_entry(r, lib, path, e);
    r->loading = NULL;
    if (!s) {
        r->libs.at[r->libs.n++] = lib;
        return FY_OK;
    }
    r->ops.n = before;
    r->reg.n = (int)before;
    fy_os_dlclose(lib);
    return s;
}

int ferry_registry_load(ferry_registry *r, const char *path, ferry_error *e) {
    fy_error_clear(e);
    return fy_kind_of(load(r, path, e));
}

fy_status fy_registry_plugin(ferry_registry **r, const char *path, ferry_registry *base, ferry_error *e) {
    if (!*r) {
        *r = ferry_registry_new(e);
        FY_NOMEM(e, *r);
        if (base) {
            (*r)->base = fy_registry_hold(base);
            (*r)->reg.base = &base->reg;
        }
    }
    return load(*r, path, e);
}

fy_status fy_opt_plugins(const ferry_job *job, ferry_registry **r, ferry_error *e) {
    *r = NULL;
    for (size_t i = 0; job && i < job->noption; i++) {
        if (strcmp(job->option[i].key, "plugin")) continue;
        fy_status s = fy_registry_plugin(r, job->option[i].value, NULL, e);
        if (!s) continue;
        ferry_registry_free(*r);
        *r = NULL;
        return s;
    }
    return FY_OK;
}
