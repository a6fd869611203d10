/* SPDX-License-Identifier: Apache-2.0
 * types.c - the element types that each operator takes at each opset (types.def, generated), and the casts that make a node
 * fit an older one: bf16 arithmetic in f32, 8- and 16-bit integers in i32, and back, where that is exact. */
#include "opset/internal.h"

#include <stdio.h>
#include <string.h>

#define OPTIONAL 31                      /* the bit of optionals in types.def */

typedef struct row { const char *op; int version; const char *in, *out; uint32_t mask[8]; } row;

static const row rows[] = {
#define TYPES(op_, version_, in_, out_, ...) {op_, version_, in_, out_, {__VA_ARGS__}},
#include "opset/types.def"
#undef TYPES
};

/* The table is sorted by operator, then version. */
static const row *find(const char *op, int64_t opset, bool *known) {
    int lo = 0, hi = FY_COUNT(rows);
    while (lo < hi) {
        int mid = (lo + hi) / 2;
        if (strcmp(rows[mid].op, op) < 0) lo = mid + 1;
        else hi = mid;
    }
    *known = lo < FY_COUNT(rows) && !strcmp(rows[lo].op, op);
    const row *best = NULL;
    for (; lo < FY_COUNT(rows) && !strcmp(rows[lo].op, op); lo++)
        if (rows[lo].version <= opset) best = &rows[lo];
    return best;
}

int fy_types_version(const char *op, int64_t opset) {
    bool known;
    const row *r = find(op, opset, &known);
    return r ? r->version : known ? -1 : 0;
}

/* The variable of port i, or -1. *each: a heterogeneous repetition, where casting one port says nothing of the others. */
static int letter(const char *ports, int i, bool *each) {
    int k = 0;
    *each = false;
    for (const char *p = ports; *p; p++) {
        char next = p[1];
        if (next == '*' || next == '+') { *each = next == '+'; return *p - 'a'; }
        if (k++ == i) return *p - 'a';
    }
    return -1;
}

static bool allowed(const row *r, int var, const fy_value *v) {
    if (var < 0 || v->type.kind == FY_NOTYPE) return true;
    if (v->type.kind != FY_TENSOR) return r->mask[var] & (v->type.kind == FY_OPTIONAL ? (uint32_t)1 << OPTIONAL : 1u);
    return !v->type.dtype || (r->mask[var] >> v->type.dtype & 1);
}

/* The type to compute in instead of `t`, among those in `mask`: one that holds every value of t. */
static fy_dtype substitute(fy_dtype t, uint32_t mask) {
    static const fy_dtype floats[] = {FERRY_FLOAT, FERRY_DOUBLE}, ints[] = {FERRY_INT32, FERRY_INT64, FERRY_FLOAT, FERRY_DOUBLE};
    int bits = fy_dtype_bits(t);
    fy_class c = fy_dtype_class(t);
    if (c == FY_CLASS_F && t != FERRY_DOUBLE)
        for (int i = t == FERRY_FLOAT; i < FY_COUNT(floats); i++)
            if (mask >> floats[i] & 1) return floats[i];
    if (c == FY_CLASS_B && (mask >> FERRY_UINT8 & 1)) return FERRY_UINT8;      /* its greatest and least are those of a bool, read back */
    if (c == FY_CLASS_I || c == FY_CLASS_U || c == FY_CLASS_B)
        for (int i = 0; i < FY_COUNT(ints); i++) {
            int room = ints[i] == FERRY_INT32 ? 32 : ints[i] == FERRY_INT64 ? 64 : ints[i] == FERRY_FLOAT ? 24 : 53;
            if (ints[i] != t && (mask >> ints[i] & 1) && (c == FY_CLASS_I ? bits <= room : bits < room)) return ints[i];
        }
    return FERRY_UNDEFINED;
}

static bool cast_exists(fy_dtype t, int64_t opset) {
    bool known;
    const row *r = find("Cast", opset, &known);
    return r && (r->mask[0] >> t & 1);
}

bool fy_types_cast(fy_dtype t, int64_t opset) { return cast_exists(t, opset); }

/* Fills to[var] with the type to compute in (0: as it is). False with the reason if there is none. */
static bool plan(const fy_node *n, const row *r, int64_t opset, fy_dtype to[8], char *why, size_t nwhy) {
    memset(to, 0, 8 * sizeof *to);
    for (int i = 0; i < n->nin + n->nout; i++) {
        const fy_value *v = i < n->nin ? n->in[i].value : n->out[i - n->nin];
        bool each;
        int var = i < n->nin ? letter(r->in, i, &each) : letter(r->out, i - n->nin, &each);
        if (!v || allowed(r, var, v)) continue;
        fy_dtype t = v->type.kind == FY_TENSOR ? v->type.dtype : FERRY_UNDEFINED;
        fy_dtype s = each || !t || !cast_exists(t, opset) ? FERRY_UNDEFINED : substitute(t, r->mask[var]);
        if (!s || (to[var] && to[var] != s)) {
            snprintf(why, nwhy, "%s of %s is not possible there", n->op->name, t ? fy_dtype_name(t) : "this type");
            return false;
        }
        to[var] = s;
    }
    return true;
}

bool fy_types_ok(const fy_node *n, int64_t opset, char *why, size_t nwhy) {
    bool known;
    fy_dtype to[8];
    const row *r = find(n->op->name, opset, &known);
    if (!known) return true;
    if (!r) { snprintf(why, nwhy, "%s does not exist there", n->op->name); return false; }
    return plan(n, r, opset, to, why, nwhy);
}

fy_status fy_types_fit(fy_step_ctx *x) {
    char why[120] = "";
    bool known, any = false, each;
    fy_dtype to[8];
    fy_node *n = x->n;
    const row *r = find(n->op->name, x->target, &known);
    if (!known) return FY_OK;
    FY_STEP_NEED(x, r, "%s does not exist there", n->op->name);
    if (!plan(n, r, x->target, to, why, sizeof why)) return fy_step_refuse(x, "%s", why);
    for (int i = 0; i < 8; i++) any |= to[i] != FERRY_UNDEFINED;
    if (!any) return FY_OK;
    for (int i = 0; i < n->nin; i++) {
        fy_value *v = n->in[i].value;
        int var = letter(r->in, i, &each);
        if (!v || var < 0 || !to[var]) continue;
        fy_value *c = NULL;
        if (v->constant) {
            const fy_const *k = fy_const_cast(&x->m->arena, v->constant, to[var]);
            c = k ? fy_k_const(&x->b, k, NULL) : fy_fail_value(&x->b, FY_E_NOMEM, "out of memory");
        } else c = fy_b_cast(&x->b, v, to[var]);
        if (!c) return x->b.status;
        fy_node_set_input(n, i, c);
    }
    x->b.before = n->next;
    for (int i = 0; i < n->nout; i++) {
        fy_value *old = n->out[i];
        int var = letter(r->out, i, &each);
        if (!old || var < 0 || !to[var]) continue;
        fy_dtype was = old->type.dtype;
        fy_value *fresh = fy_value_new(n->graph, NULL);      /* the node makes this one; a cast of it takes the old one's place */
        FY_NOMEM(x->e, fresh);
        fresh->type = old->type;
        fresh->type.dtype = to[var];
        fresh->def = n;
        fresh->def_slot = i;
        n->out[i] = fresh;
        fy_value *back = fy_b_cast(&x->b, fresh, was);
        if (!back) return x->b.status;
        if (back->type.kind == FY_TENSOR && back->type.rank < 0) back->type = old->type;
        back->name = old->name;
        old->name = NULL;
        old->def = NULL;
        fy_value_replace(old, back);
    }
    return FY_OK;
}
