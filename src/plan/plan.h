/* SPDX-License-Identifier: Apache-2.0
 * plan.h - graph -> list of steps, made once for a model; the sizes and buffer offsets of the steps, made for each new combination of
 * input sizes and kept; and the loop that runs them. A plan is immutable but for the cache of sizes, which has a lock: any number of
 * sessions run it at the same time. */
#ifndef FY_PLAN_H
#define FY_PLAN_H

#include "plan/impl.h"
#include "plan/packed.h"

typedef struct fy_plan_options {
    const fy_impl *const *impl;          /* the engine's table, in order of preference; ends with NULL. What none can do is run by reference kernels */
    const fy_kernels     *kernels;
    const fy_hooks       *hooks;
    fy_pool              *pool;          /* packs weights; NULL: the caller alone */
    const char           *cache;         /* folder for files of packed weights; NULL or "": none */
    const fy_model       *source;        /* the model whose mapped files constants point into, or NULL */
    bool                  exact, bf16;
    bool                  lean;          /* little memory rather than speed: no second copy of a weight that can be read where it is, none that grows */
} fy_plan_options;

/* Sizes and places for one combination of input sizes. */
typedef struct fy_spec fy_spec;

/* A graph that a node owns (the branches of If, the body of Loop), planned by itself: over a copy in which what it reads from around it are inputs. */
typedef struct fy_body {
    const fy_graph *graph;
    fy_model       *model;
    fy_plan        *plan;
    int             number;              /* among the bodies of the plan around it */
    int             nouter, *outer;      /* the inputs of the owner's step that are its last inputs */
} fy_body;

struct fy_plan {
    const fy_model *m;
    fy_plan_options o;
    fy_arena        arena;
    FY_VEC(fy_step *) steps;
    fy_layout      *layout;              /* by value id */
    fy_value      **converted;           /* by value id: the same in the other layout, or NULL */
    uint32_t        nvalues;
    int            *last;                /* by value id: index of the last step that reads it; -1 never, INT32_MAX: a graph output */
    bool           *made;                /* by value id: made by a step (else input, constant, or inside a fused step) */
    fy_rval        *constant;            /* by value id: ready tensors of constants that steps read */
    struct fy_spec_cache *cache;
    bool            inner;               /* of a body: sizes that do not fit are an error of the step that meets them, not of the run as a whole */
    FY_VEC(fy_body *) bodies;
    fy_packed       packed;
    bool            lean;                /* little memory, and no cache whose pages would do */
};

/* `m` is the plan's to change (values for converted layouts are added) and must outlive it; canonical, inferred, optimised. */
FY_CHECKED fy_status fy_plan_new(fy_plan **p, fy_model *m, const fy_plan_options *o, ferry_error *e);
void fy_plan_free(fy_plan *p);

/* Every implementation of the operator of step s, in the order in which they are asked, the reference kernel last: `why` is NULL if it can do
 * the node, else the reason why not. The one that was taken is s->impl; those behind it are asked as well. */
FY_CHECKED fy_status fy_plan_reasons(const fy_plan *p, const fy_step *s, void (*tell)(void *ctx, const fy_impl *t, const char *why), void *ctx, ferry_error *e);

/* What symbols in sizes stand for. {0} at first. */
typedef struct fy_bound { const fy_dim *sym; int64_t v; } fy_bound;
typedef struct fy_bounds { fy_bound *at; size_t n, cap; } fy_bounds;

/* One session's memory, grown to what was needed and kept between runs. {0} at first; it does not move while it is in use. */
typedef struct fy_plan_memory fy_plan_memory;
struct fy_plan_memory {
    void        *arena, *scratch;        /* of intermediate values; of the step at hand */
    size_t       arena_bytes, scratch_bytes;
    fy_rval     *value;                  /* by value id */
    fy_rval    **in, *own, **given;      /* inputs as they are read; those that are not the caller's; those of a body as they come */
    bool        *odd;                    /* by value id: found to be another type, or of other sizes, than the plan took it for */
    fy_run_dims  sizes;
    fy_bounds    bounds;
    fy_arena     work;                   /* of the step at hand */
    fy_spares    spares;                 /* of the whole run: what leaves a body or has sizes that only the run tells */
    fy_plan_memory **body;               /* of each body of the plan; NULL: it has not run yet */
    int64_t      nbodies;
};
void fy_plan_memory_free(fy_plan_memory *mem);
void fy_plan_recycle(fy_plan_memory *mem, const fy_plan *p, fy_rval *out);       /* frees results of an earlier run; the next may lie in their memory, unless little is asked for */

/* in: one for each graph input (borrowed); out: one for each graph output, owned by the caller. `state`: as in fy_interp. `seen` (may
 * be NULL) is told of every step before and after it; after it, x holds the tensors that the step read and made. */
typedef void fy_seen(void *ctx, const fy_step *s, const fy_exec *x, bool after);
typedef struct fy_plan_run {
    fy_pool *pool;
    fy_rval *state;
    int64_t  max_bytes;
    int64_t  max_steps;                  /* as in fy_interp, those of bodies included; 0: any number */
    bool   (*stop)(void *ctx);           /* NULL, or asked before each step, by reference kernels in between: true ends the run with STOPPED */
    void    *stop_ctx;
    fy_seen *seen;
    void    *ctx;
} fy_plan_run;
FY_CHECKED fy_status fy_plan_execute(const fy_plan *p, fy_plan_memory *mem, const fy_plan_run *r, fy_rval *const *in, fy_rval *out, ferry_error *e);

/* ---- inside plan/ ---------------------------------------------------------------------------------------------------------- */

#define FY_NOWHERE SIZE_MAX

struct fy_spec {
    fy_arena  arena;
    fy_bounds bounds;                    /* symbols that the inputs tell */
    int64_t  *key;                       /* the types and sizes of all inputs */
    int64_t **dim;                       /* by value id: sizes, or NULL where they are not known before the run */
    size_t   *offset;                    /* by value id: in the session's arena, or in the value that it is within; FY_NOWHERE: in neither */
    const fy_value **within;             /* by value id: what leaves the plan and holds this value as one of its parts (it holds itself); NULL: none */
    fy_rval **fixed;                     /* by value id: contents known from the sizes alone, or NULL */
    bool     *skip;                      /* by step: all that it makes is fixed, or nobody reads it */
    bool     *dynamic;                   /* by step: sizes are not known before the run */
    const fy_value *largest;             /* of what the steps make, by itself the most bytes; NULL: they make nothing */
    int64_t   most;                      /* those bytes */
    size_t    bytes;                     /* of the arena */
    uint64_t  used;                      /* clock of the cache */
};
/* The specialisation for these inputs: from the cache, or made. Stays valid until fy_spec_release. */
FY_CHECKED fy_status fy_spec_get(const fy_spec **s, const fy_plan *p, fy_rval *const *in, ferry_error *e);
void fy_spec_release(const fy_plan *p, const fy_spec *s);
/* Where values lie: offset, within, bytes; all else is known. */
FY_CHECKED fy_status fy_spec_place(fy_spec *s, const fy_plan *p, ferry_error *e);
FY_CHECKED fy_status fy_spec_cache_new(fy_plan *p, ferry_error *e);
void fy_spec_cache_free(fy_plan *p);
extern const fy_impl fy_impl_reference, fy_impl_reorder;

/* ctx: fy_bounds. */
bool fy_bounds_get(void *ctx, const fy_dim *sym, int64_t *v);
/* False: out of memory. */
bool fy_bounds_put(fy_bounds *b, const fy_dim *sym, int64_t v);
bool fy_bounds_set(fy_bounds *b, const fy_bounds *from);     /* to what `from` holds */
/* d is found to be `size`: *fits, as far as can be told; a symbol that this tells is kept. */
bool fy_bounds_solve(fy_bounds *b, const fy_dim *d, int64_t size, bool *fits);
void fy_bounds_free(fy_bounds *b);

/* body.c: plans for the graphs that the node of s owns; s->in holds the node's inputs and then `captures`, from index `first` on. */
FY_CHECKED fy_status fy_bodies_new(fy_plan *p, fy_step *s, int first, const fy_value *const *captures, ferry_error *e);
void fy_bodies_free(fy_plan *p);
FY_CHECKED fy_status fy_plan_new_inner(fy_plan **out, fy_model *m, const fy_plan_options *o, ferry_error *e);

#endif
