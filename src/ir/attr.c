/* SPDX-License-Identifier: Apache-2.0
 * attr.c - reading attributes with the defaults of the operator's table; finding operators.
 *
 * A default is text in the table ("1", "0.01", "constant") and is parsed when it is asked for: a few characters, and no
 * state to keep. An attribute of the wrong kind (files can hold anything) reads as if it were not set; inference says so. */
#include "ir/op.h"

#include <stdlib.h>
#include <string.h>

static const fy_attr_spec *spec_of(const fy_op *op, const char *name) {
    for (const fy_attr_spec *s = op->attrs; s && s->name; s++)
        if (strcmp(s->name, name) == 0) return s;
    FY_ASSERT(op->flags & FY_OPAQUE_OP);
    return NULL;
}

static const char *default_of(const fy_node *n, const char *name) {
    const fy_attr_spec *s = spec_of(n->op, name);
    return s && s->def && strcmp(s->def, FY_REQUIRED) != 0 ? s->def : NULL;
}

/* Plain decimals, whatever the locale: up to 15 digits and small exponents, so one division or product rounds right. */
static double decimal(const char *s) {
    bool neg = *s == '-';
    double m = 0, p = 1;
    int frac = 0, exp = 0;
    s += neg;
    for (; (*s >= '0' && *s <= '9') || *s == '.'; s++) {
        if (*s == '.') { frac = 1; continue; }
        m = m * 10 + (*s - '0');
        if (frac) exp--;
    }
    if (*s == 'e' || *s == 'E') exp += (int)strtol(s + 1, NULL, 10);
    for (int i = exp < 0 ? -exp : exp; i > 0; i--) p *= 10;
    m = exp < 0 ? m / p : m * p;
    return neg ? -m : m;
}

static const fy_attr *given(const fy_node *n, const char *name, fy_attr_kind kind) {
    const fy_attr *a = fy_attr_get(n, name);
    return a && a->kind == kind ? a : NULL;
}

int64_t fy_attr_i(const fy_node *n, const char *name) {
    const fy_attr *a = given(n, name, FY_ATTR_INT);
    if (a) return a->i;
    const char *d = default_of(n, name);
    return d ? strtoll(d, NULL, 10) : 0;
}

double fy_attr_f(const fy_node *n, const char *name) {
    const fy_attr *a = given(n, name, FY_ATTR_FLOAT);
    if (a) return a->f;
    const char *d = default_of(n, name);
    return d ? (double)(float)decimal(d) : 0;      /* attributes are f32 in files, and so are their defaults */
}

fy_str fy_attr_s(const fy_node *n, const char *name) {
    const fy_attr *a = given(n, name, FY_ATTR_STRING);
    if (a) return a->s;
    const char *d = default_of(n, name);
    return d ? (fy_str){ d, strlen(d) } : (fy_str){ "", 0 };
}

bool fy_attr_is(const fy_node *n, const char *name, const char *text) {
    fy_str s = fy_attr_s(n, name);
    return s.n == strlen(text) && memcmp(s.at, text, s.n) == 0;
}

bool fy_attr_is_default(const fy_node *n, const fy_attr *a) {
    const fy_attr_spec *s = n->op->attrs;
    while (s && s->name && strcmp(s->name, a->name) != 0) s++;
    const char *d = s && s->name && s->def && strcmp(s->def, FY_REQUIRED) != 0 ? s->def : NULL;
    if (!d || a->ref) return false;
    if (a->kind == FY_ATTR_INT) return (double)a->i == decimal(d);
    if (a->kind == FY_ATTR_FLOAT) return (float)a->f == (float)decimal(d);
    return a->kind == FY_ATTR_STRING && a->s.n == strlen(d) && !memcmp(a->s.at, d, a->s.n);
}

const int64_t *fy_attr_ints(const fy_node *n, const char *name, int64_t *count) {
    const fy_attr *a = given(n, name, FY_ATTR_INTS);
    *count = a ? a->n : 0;
    return a ? a->ints : NULL;
}

fy_graph *fy_attr_graph(const fy_node *n, const char *name) {
    const fy_attr *a = given(n, name, FY_ATTR_GRAPH);
    return a ? a->graph : NULL;
}

/* ---- operators ----------------------------------------------------------------------------------------------------- */

static const char *plain(const char *domain) { return !domain || strcmp(domain, "ai.onnx") == 0 ? "" : domain; }

const fy_op *fy_op_find(const fy_registry *r, const char *domain, const char *name) {
    domain = plain(domain);
    for (; r; r = r->base)
        for (int i = 0; i < r->n; i++) {
            const fy_op *op = r->op[i];
            if (op->name[0] == name[0] && strcmp(op->name, name) == 0 && strcmp(plain(op->domain), domain) == 0) return op;
        }
    return NULL;
}

const fy_op *fy_op_opaque(fy_model *m, const char *domain, const char *name) {
    domain = plain(domain);
    char *key = fy_arena_fmt(&m->arena, "%s::%s", domain, name);
    if (!key) return NULL;
    fy_op *op = fy_map_gets(&m->opaque, key);
    if (op) return op;
    op = FY_NEW(&m->arena, fy_op);
    if (!op || !fy_map_puts(&m->opaque, key, op)) return NULL;
    *op = (fy_op){ .name = key + strlen(domain) + 2, .domain = fy_arena_str(&m->arena, domain),
                   .max_in = -1, .max_out = -1, .flags = FY_OPAQUE_OP };
    return op->domain ? op : NULL;
}

int fy_registry_count(const fy_registry *r) {
    int n = 0;
    for (; r; r = r->base) n += r->n;
    return n;
}

const fy_op *fy_registry_at(const fy_registry *r, int i) {
    for (; r; i -= r->n, r = r->base)
        if (i < r->n) return i < 0 ? NULL : r->op[i];
    return NULL;
}
