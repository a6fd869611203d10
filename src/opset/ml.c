/* SPDX-License-Identifier: Apache-2.0
 * ml.c - versions of ai.onnx.ml: older forms are raised; what is written imports the lowest version that has all its forms.
 * Only LabelEncoder ever changed what its attributes mean (1 -> 2); 3, 4 and 5 added forms beside the old ones. */
#include "opset/internal.h"

#include <string.h>

/* 1 -> 2: one list of strings whose positions were the integers, in the direction that the input's type says. */
fy_status fy_raise_label_encoder2(fy_step_ctx *x) {
    const fy_attr *a = fy_attr_get(x->n, "classes_strings");
    const fy_value *y = fy_outv(x->n, 0);
    if (!a || a->kind != FY_ATTR_STRINGS) return FY_OK;
    fy_dtype t = fy_step_dtype(x, 0);
    if (!t && y && y->type.dtype) t = y->type.dtype == FERRY_STRING ? FERRY_INT64 : FERRY_STRING;
    FY_STEP_NEED(x, t == FERRY_STRING || t == FERRY_INT64, "LabelEncoder of version 1 needs an input of str or i64");
    bool to_int = t == FERRY_STRING;
    int64_t *number = FY_NEWN(&x->m->arena, int64_t, a->n);
    FY_NOMEM(x->e, number);
    for (int64_t i = 0; i < a->n; i++) number[i] = i;
    fy_attr text = {.name = to_int ? "keys_strings" : "values_strings", .kind = FY_ATTR_STRINGS, .n = a->n, .strings = a->strings};
    FY_TRY(fy_step_set_attr(x, text));
    FY_TRY(fy_step_set_attr(x, fy_ints(to_int ? "values_int64s" : "keys_int64s", a->n, number)));
    fy_node_del_attr(x->n, "classes_strings");
    return FY_OK;
}

static bool ends_in_tensor(const char *name) {
    size_t n = strlen(name);
    return n >= 7 && !strcmp(name + n - 7, "_tensor");
}

static int64_t needs(const fy_node *n) {
    if (n->op->flags & FY_OPAQUE_OP) return FY_CANONICAL_ML;
    if (!strcmp(n->op->name, "TreeEnsemble")) return 5;
    bool label = !strcmp(n->op->name, "LabelEncoder");
    for (int i = 0; i < n->nattr; i++)
        if (ends_in_tensor(n->attr[i].name)) return label ? 4 : 3;
    return label ? 2 : 1;
}

int64_t fy_ml_needed(const fy_model *m) {
    int64_t most = 1;
    for (const fy_graph *g = m->graph; g; g = fy_graph_next(NULL, g))
        for (const fy_node *n = g->first; n; n = n->next) {
            int64_t v = strcmp(n->op->domain, FY_ML) ? 1 : needs(n);
            if (v > most) most = v;
        }
    return most;
}

int64_t fy_ml_ir_version(int64_t ml) {
    static const int8_t ir[] = {3, 5, 8, 9, 10};
    return ir[ml < 1 ? 0 : ml > FY_COUNT(ir) ? FY_COUNT(ir) - 1 : ml - 1];
}
