/* SPDX-License-Identifier: Apache-2.0
 * aten.c - the operator table: aten.def (schemas) and lower.def joined by name; resolving a program against it. */
#include "aten/aten.h"

#include "aten/aten_lines.h"
#include "formats/stored.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define LOWER(op, fn) fy_status fy_##fn(fy_lower *l);
#include "aten/lower.def"
#undef LOWER

enum { NOPS = ATEN_LINES_LINES, NAME_MAX = 72 };

static const struct { const char *op; fy_status (*fn)(fy_lower *l); } lowers[] = {
#define LOWER(op, fn) {op, fy_##fn},
#include "aten/lower.def"
#undef LOWER
    {NULL, NULL},
};

/* Sorted by name; written once, before the first look-up, and constant from then on. */
typedef struct row { char name[NAME_MAX]; fy_aten_op op; } row;
static row            table[NOPS];
static char           schemas[ATEN_LINES_SIZE];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static int by_name(const void *a, const void *b) { return strcmp(((const row *)a)->name, ((const row *)b)->name); }

static row *find_row(const char *op) {
    int lo = 0, hi = NOPS;
    while (lo < hi) {
        int mid = (lo + hi) / 2, c = strcmp(op, table[mid].name);
        if (c == 0) return &table[mid];
        if (c < 0) hi = mid;
        else lo = mid + 1;
    }
    return NULL;
}

static void build_table(void) {
    char *text = schemas, *end;
    fy_stored_read(schemas, sizeof schemas, aten_lines, sizeof aten_lines);
    for (int i = 0; i < NOPS; i++, text = end + 1) {
        end = strchr(text, '\n');
        *end = 0;
        const char *sep = strstr(text, "::"), *open = strchr(text, '(');
        FY_ASSERT(sep && open && open - text + 8 < NAME_MAX);
        size_t ns = (size_t)(sep - text), n = (size_t)(open - sep - 2);
        char *name = table[i].name;
        memcpy(name, text, ns);
        name[ns] = '.';
        memcpy(name + ns + 1, sep + 2, n);
        name[ns + 1 + n] = 0;
        if (!memchr(sep + 2, '.', n)) memcpy(name + ns + 1 + n, ".default", sizeof ".default");
        table[i].op.schema = text;
        table[i].op.eval = fy_eval_find(name);
    }
    qsort(table, NOPS, sizeof(row), by_name);
    for (int i = 0; lowers[i].op; i++) {
        row *r = find_row(lowers[i].op);
        FY_ASSERT(r && "lower.def names an operator that aten.def lacks");
        if (r) r->op.lower = lowers[i].fn;
    }
}

const fy_aten_op *fy_aten_find(const char *op) {
    pthread_once(&table_once, build_table);
    const row *r = op ? find_row(op) : NULL;
    return r ? &r->op : NULL;
}

int fy_aten_count(void) { return NOPS; }

const fy_aten_op *fy_aten_at(int i) {
    pthread_once(&table_once, build_table);
    return i >= 0 && i < NOPS ? &table[i].op : NULL;
}

/* ---- resolving ------------------------------------------------------------------------------------------------------ */

static const fy_schema_arg *schema_arg(const fy_schema *s, const char *name) {
    for (int i = 0; s && i < s->narg; i++)
        if (strcmp(s->arg[i].name, name) == 0) return &s->arg[i];
    return NULL;
}

/* Archives may hold one int where the schema says a list of them. */
static fy_status spread(fy_pnode *n, ferry_error *e) {
    const fy_schema *s = n->schema;
    fy_arena *a = &n->graph->program->arena;
    for (int i = 0; i < n->narg; i++) {
        fy_parg *arg = &n->arg[i];
        const fy_schema_arg *t = schema_arg(s, arg->name);
        if (!t || t->type != FY_ST_INTS || (arg->kind != FY_ARG_INT && arg->kind != FY_ARG_SYM)) continue;
        int64_t count = t->fixed_n > 0 ? t->fixed_n : 1;
        if (arg->kind == FY_ARG_INT) {
            int64_t *v = FY_NEWN(a, int64_t, count);
            FY_NOMEM(e, v);
            for (int64_t k = 0; k < count; k++) v[k] = arg->i;
            arg->kind = FY_ARG_INTS;
            arg->ints = v;
        } else {
            fy_psym *v = FY_NEWN(a, fy_psym, count);
            FY_NOMEM(e, v);
            for (int64_t k = 0; k < count; k++) v[k] = arg->sym;
            arg->kind = FY_ARG_SYMS;
            arg->syms = v;
        }
        arg->n = count;
    }
    return FY_OK;
}

fy_status fy_aten_resolve_node(fy_pnode *n, fy_map *seen, ferry_error *e) {
    const fy_schema *s = seen ? fy_map_gets(seen, n->op) : NULL;
    if (!s) {
        const fy_aten_op *op = fy_aten_find(n->op);
        if (!op) return FY_OK;
        FY_TRY(fy_schema_parse(&s, &n->graph->program->arena, op->schema, e));
        union { const fy_schema *in; void *out; } held = {s};    /* maps hold void *; the schema is never changed */
        FY_NOMEM(e, !seen || fy_map_puts(seen, s->name, held.out));
    }
    n->schema = s;
    return spread(n, e);
}

typedef FY_VEC(fy_pgraph *) graph_list;

static fy_status resolve_graph(fy_pgraph *g, fy_map *seen, graph_list *todo, ferry_error *e) {
    for (fy_pnode *n = g->first; n; n = n->next) {
        if (!n->schema) FY_TRY(fy_aten_resolve_node(n, seen, e));
        for (int i = 0; i < n->narg; i++)
            if (n->arg[i].kind == FY_ARG_GRAPH && n->arg[i].graph) FY_PUSH(e, *todo, n->arg[i].graph);
    }
    return FY_OK;
}

fy_status fy_aten_resolve(fy_program *p, ferry_error *e) {
    fy_map seen = {0};
    graph_list todo = {0};
    fy_status s = resolve_graph(p->graph, &seen, &todo, e);
    for (int64_t i = 0; s == FY_OK && i < todo.n; i++) s = resolve_graph(todo.at[i], &seen, &todo, e);
    fy_free(todo.at);
    fy_map_free(&seen);
    return s;
}

const fy_parg *fy_aten_arg(const fy_pnode *n, const char *name) {
    static const fy_parg none = {.name = "", .kind = FY_ARG_NONE};
    for (int i = 0; i < n->narg; i++)
        if (n->arg[i].name && strcmp(n->arg[i].name, name) == 0) return &n->arg[i];
    const fy_schema_arg *t = schema_arg(n->schema, name);
    return t && t->has_default ? &t->def : &none;
}
