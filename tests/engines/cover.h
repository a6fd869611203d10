/* SPDX-License-Identifier: Apache-2.0
 * cover.h - the table of cover.def, the model of one of its lines, and who runs it: for test_cpu_cover.c and ferry-cover. */
#ifndef TESTS_ENGINES_COVER_H
#define TESTS_ENGINES_COVER_H

#include "engines/engine.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

typedef struct cover_case { const char *op, *fast, *reference, *why, *body; } cover_case;

static const cover_case cover_cases[] = {
#define COVER(op, fast, reference, why, body) {#op, fast, reference, why, body},
#define NONE(op, why)
#include "engines/cover.def"
#undef COVER
#undef NONE
};

static const struct { const char *op, *why; } cover_none[] = {
#define COVER(op, fast, reference, why, body)
#define NONE(op, why) {#op, why},
#include "engines/cover.def"
#undef COVER
#undef NONE
};

/* The next word of a list of dtypes as a dtype; 0: no more. */
static inline fy_dtype cover_dtype(const char **list) {
    const char *p = *list;
    while (*p == ' ') p++;
    size_t n = strcspn(p, " ");
    *list = p + n;
    return n ? fy_dtype_find(p, n) : FERRY_UNDEFINED;
}

static inline fy_status cover_model(fy_model **m, const cover_case *c, fy_dtype t, ferry_error *e) {
    fy_buf text = {0};
    fy_buf_fmt(&text, "<ir_version: 10, opset_import: [\"\" : %d, \"com.microsoft\" : 1]>\nmain ", FY_CANONICAL_OPSET);
    for (const char *p = c->body; *p; p++)
        if (*p != '%') fy_buf_char(&text, *p);
        else
            for (const char *q = fy_dtype_onnx(t); *q; q++) fy_buf_char(&text, (char)tolower(*q));
    fy_status s = text.oom ? fy_nomem(e) : fy_model_parse(m, text.at, text.n, fy_registry_builtin(), e);
    fy_buf_free(&text);
    if (!s) s = fy_infer_model(*m, e);
    return s;
}

/* The implementation of the step that says most: a reference kernel if there is one, else the operator's own, else any. "": no step is left. */
static inline const char *cover_taken(const fy_plan *p, const char *op) {
    const char *name = "", *dot = strrchr(op, '.');
    for (int64_t i = 0; i < p->steps.n; i++) {
        const fy_step *s = p->steps.at[i];
        if (!s->node) continue;
        if (s->impl == &fy_impl_reference) return s->impl->name;
        if (!*name || !strcmp(s->node->op->name, dot ? dot + 1 : op)) name = s->impl->name;
    }
    return name;
}

#endif
