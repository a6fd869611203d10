/* SPDX-License-Identifier: Apache-2.0
 * dim.h - symbolic sizes. A dim is a constant, a symbol, or an integer expression over them.
 *
 * Dims are hash-consed in one fy_dims and kept canonical (sums of products with integer coefficients over atoms; an atom
 * is a symbol or a non-polynomial expression), so polynomials of one pool are equal exactly when their pointers are, and
 * other expressions are when our rules bring them to one form. Division by zero has no value; simplification assumes that
 * it does not happen. Ceiling division by a constant and SCALE are turned into FLOORDIV, small constant powers into products.
 * Every constructor takes NULL operands and then gives NULL; NULL otherwise means out of memory. */
#ifndef FY_DIM_H
#define FY_DIM_H

#include "base/arena.h"
#include "base/buf.h"

typedef enum fy_dim_kind {
    FY_DIM_CONST, FY_DIM_SYM, FY_DIM_SUM, FY_DIM_PROD,
    FY_DIM_FLOORDIV, FY_DIM_CEILDIV, FY_DIM_MOD, FY_DIM_POW,    /* two arguments; mod has the sign of the divisor (Python) */
    FY_DIM_MIN, FY_DIM_MAX,                                     /* two arguments */
    FY_DIM_SCALE,                                               /* floor(arg * num / den) */
    FY_DIM_OPAQUE                                               /* unknown, data dependent: a symbol with an origin */
} fy_dim_kind;

typedef struct fy_dim fy_dim;
struct fy_dim {
    fy_dim_kind    kind;
    uint32_t       id;                   /* dense within the pool */
    int            nargs;
    int64_t        value;                /* CONST: it; SUM: constant term; PROD: coefficient; SCALE: num */
    int64_t        den;                  /* SCALE */
    const char    *name;                 /* SYM, OPAQUE: name; OPAQUE: arg of print */
    const fy_dim *const *arg;            /* SUM: terms (PROD, or atoms with coefficient 1); PROD: atoms */
    int64_t        lo, hi;               /* known bounds, inclusive; hi = INT64_MAX, lo = INT64_MIN when unbounded. Symbols: settable */
    const fy_dim  *most;                 /* OPAQUE, SYM that no input has: never more than this, or NULL */
    bool           given;                /* SYM: of an input of the model */
    uint32_t       claim;                /* SYM that no input has: 1 + id of the value that it was taken for, 0 before */
    bool           varies;               /* OPAQUE, in the type of a sequence's items: not one number, another one for each item */
    int64_t        mult;                 /* symbols: known to be a multiple of this; 1 otherwise */
    int            depth, weight;        /* of the expression as a tree; what passes 64 or 256 becomes opaque, so walks are bounded */
};

typedef struct fy_dims fy_dims;
fy_dims *fy_dims_new(void);
void     fy_dims_free(fy_dims *p);
uint32_t fy_dims_next(const fy_dims *p);  /* the id that the next new dim will have: tells younger ones from older ones */
int64_t  fy_dims_equalities(const fy_dims *p);   /* how many were recorded */
bool     fy_dims_oom(fy_dims *p);         /* did a constructor give NULL for want of memory since this was last asked? */

const fy_dim *fy_dim_const(fy_dims *p, int64_t v);
const fy_dim *fy_dim_sym(fy_dims *p, const char *name);           /* the same pointer for the same name; lo 0 */
const fy_dim *fy_dim_opaque(fy_dims *p, const char *origin);      /* fresh at each call; named "<origin>_<n>" */
const fy_dim *fy_dim_upto(fy_dims *p, const char *origin, const fy_dim *most);   /* the same, known to lie in [0, most] (NULL: no bound) */
const fy_dim *fy_dim_element(fy_dims *p, const char *origin, int64_t lo, int64_t hi);  /* an unknown integer, of the contents of a tensor */
const fy_dim *fy_dim_varying(fy_dims *p, const char *name, const fy_dim *most);   /* of items (see `varies`); name NULL: a fresh one */
/* The size where a and b meet in a broadcast and neither is known to be 1 or not: the same for the same two. */
const fy_dim *fy_dim_either(fy_dims *p, const fy_dim *a, const fy_dim *b);
bool fy_dim_wild(const fy_dim *d);        /* does it hold an element that may be negative? */
const fy_dim *fy_dim_add(fy_dims *p, const fy_dim *a, const fy_dim *b);
const fy_dim *fy_dim_total(fy_dims *p, int64_t n, const fy_dim *const *d);           /* of any number, in one step */
const fy_dim *fy_dim_sub(fy_dims *p, const fy_dim *a, const fy_dim *b);
const fy_dim *fy_dim_mul(fy_dims *p, const fy_dim *a, const fy_dim *b);
const fy_dim *fy_dim_floordiv(fy_dims *p, const fy_dim *a, const fy_dim *b);  /* exact division simplifies: (6*s)/2 = 3*s */
const fy_dim *fy_dim_ceildiv(fy_dims *p, const fy_dim *a, const fy_dim *b);
const fy_dim *fy_dim_mod(fy_dims *p, const fy_dim *a, const fy_dim *b);
const fy_dim *fy_dim_pow(fy_dims *p, const fy_dim *a, const fy_dim *b);
const fy_dim *fy_dim_min(fy_dims *p, const fy_dim *a, const fy_dim *b);
const fy_dim *fy_dim_max(fy_dims *p, const fy_dim *a, const fy_dim *b);
const fy_dim *fy_dim_scale(fy_dims *p, const fy_dim *a, int64_t num, int64_t den);
const fy_dim *fy_dim_addi(fy_dims *p, const fy_dim *a, int64_t b);
const fy_dim *fy_dim_muli(fy_dims *p, const fy_dim *a, int64_t b);
const fy_dim *fy_dim_divi(fy_dims *p, const fy_dim *a, int64_t b);            /* floor */

bool fy_dim_known(const fy_dim *d, int64_t *v);                   /* a constant? */
bool fy_dim_is(const fy_dim *d, int64_t v);
bool fy_dim_ge(const fy_dim *d, int64_t v);                       /* proved >= v from the bounds */
bool fy_dim_le(fy_dims *p, const fy_dim *a, const fy_dim *b);     /* a <= b proved, upper bounds of data-dependent sizes used too */
bool fy_dim_divisible(const fy_dim *d, int64_t by);               /* proved */
/* Range and divisibility of a symbol; expressions built later use them. */
void fy_dim_bound(fy_dims *p, const fy_dim *sym, int64_t lo, int64_t hi);
void fy_dim_least(fy_dims *p, const fy_dim *d, int64_t lo);       /* of any dim: known to be lo or more */
void fy_dim_multiple(fy_dims *p, const fy_dim *sym, int64_t of);
void fy_dim_give(fy_dims *p, const fy_dim *d);                    /* its symbols are those of an input */
/* May `who` (1 + id of a value) be what a symbol of no input stands for? Files repeat such names for sizes that are not equal, so the
 * first value has it. Always true for symbols of inputs. */
bool fy_dim_claim(fy_dims *p, const fy_dim *sym, uint32_t who);
/* Records a == b: later constructors replace one symbol by the other (or by a constant). False when it contradicts. */
bool fy_dim_equate(fy_dims *p, const fy_dim *a, const fy_dim *b);
const fy_dim *fy_dim_resolve(fy_dims *p, const fy_dim *d);        /* d under the equalities recorded since it was made */

/* Value under `value_of` (called for SYM and OPAQUE; returns false if it has none); false: a missing symbol or a
 * division by zero or overflow. */
bool fy_dim_eval(const fy_dim *d, bool (*value_of)(void *ctx, const fy_dim *sym, int64_t *v), void *ctx, int64_t *v);
/* Does d hold a data-dependent size whose id is `from` or more? */
bool fy_dim_younger(const fy_dim *d, uint32_t from);
/* d with each symbol replaced by sub(ctx, sym) (NULL from it: keep the symbol). */
const fy_dim *fy_dim_subst(fy_dims *p, const fy_dim *d, const fy_dim *(*sub)(void *ctx, const fy_dim *sym), void *ctx);

/* "batch", "2*seq + 1", "floor(h/2)", "max(h, w)": what ONNX dim_param, --json and people see. The parser reads it back. */
void fy_dim_print(fy_buf *out, const fy_dim *d);
const fy_dim *fy_dim_parse(fy_dims *p, const char *text, size_t n);   /* NULL: not an expression (or out of memory) */

#endif
