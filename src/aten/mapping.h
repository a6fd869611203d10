/* SPDX-License-Identifier: Apache-2.0
 * mapping.h - what custom operators (torch.library) become, as a user's text says:
 *
 *     mylib::gelu2(Tensor x, float alpha=1.0) -> com.mylib.Gelu2(x) {alpha = alpha, mode = "fast"}
 *     mylib::soft(Tensor x, float k=2.0) -> (y) { a = Mul (x, k) b = Softplus (a) y = Div (b, k) }
 *
 * Left a PyTorch schema without its results. Right a node: domain, name, inputs and attributes, both of which name arguments; or a body in ONNX's
 * text syntax at the newest opset, in which every argument is a value (numbers become scalars: floats of 32 bits, ints of 64). "#" begins a comment. */
#ifndef FY_MAPPING_H
#define FY_MAPPING_H

#include "aten/aten.h"

typedef struct fy_map_attr { const char *name, *arg; fy_attr literal; } fy_map_attr;      /* arg NULL: the literal */

typedef struct fy_mapping {
    const fy_schema *schema;
    const char  *op;                     /* "domain::Name" or an ONNX operator; NULL: body */
    int          nin, nattr;
    const char *const *in;               /* arguments; NULL entries are left out */
    const fy_map_attr *attr;
    fy_model    *body;
} fy_mapping;

struct fy_mappings { fy_arena arena; FY_VEC(fy_mapping) at; };

/* Adds what the text says. `where` names it in errors; operators of `r` may be used. FORMAT with the line. */
FY_CHECKED fy_status fy_mappings_add(fy_mappings *m, const char *where, const char *text, size_t n, const fy_registry *r, ferry_error *e);
void fy_mappings_free(fy_mappings *m);                       /* models that were made with them must be gone */
const fy_mapping *fy_mapping_of(const fy_mappings *m, const char *op);        /* "mylib.gelu2.default"; NULL if there is none */

#endif
