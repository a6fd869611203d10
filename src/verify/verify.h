/* SPDX-License-Identifier: Apache-2.0
 * verify.h - does the model compute what its source computes? The gate of export, and the command `ferry verify`. */
#ifndef FY_VERIFY_H
#define FY_VERIFY_H

#include "aten/aten.h"
#include "engines/engine.h"
#include "formats/json.h"
#include "formats/npz.h"
#include "tensor/compare.h"

typedef struct fy_verify_options {
    const fy_engine *engine;             /* NULL: ours */
    const char *model_path;              /* the .onnx file behind the model, for engines that read files themselves; or NULL */
    const char *ref_path;                /* the same of a reference that is a model */
    int      threads;
    const char *cache;                   /* as fy_engine_options has it */
    bool     bf16;                       /* the model under test rounds operands of products to bfloat16 (fy_engine_options) */
    double   tolerance;                  /* max abs; 0: 1e-4 */
    bool     relative_to_range;          /* accept max abs / range of the reference below tolerance */
    int      ntol;                       /* per output: name -> tolerance */
    const char *const *tol_name;
    const double *tol;
    uint64_t seed;
    int      sizes;                      /* further sizes of dynamic axes tried beyond the sample; default 2 */
    bool     nodes;                      /* on failure look for the first node whose values part */
    void   (*progress)(void *ctx, const char *what, double share);
    void    *ctx;
} fy_verify_options;

typedef enum fy_verdict { FY_VERDICT_PASS, FY_VERDICT_FAIL, FY_VERDICT_UNVERIFIED } fy_verdict;
typedef struct fy_verify_output {
    char   *name; fy_dtype dtype; fy_diff diff; double tolerance; bool ok, range_ok; int64_t ties; char *why;   /* why: "" when ok */
} fy_verify_output;
typedef struct fy_verify_case {
    char *label;                         /* "sample", "batch=3 seq=7" */
    bool  by_sample;                     /* reference run sample by sample on the frozen program */
    fy_verify_output *out; int nout;
} fy_verify_case;
typedef struct fy_verify_report {
    fy_verdict verdict;
    char  *engine, *reference;           /* "ferry", "resnet50.pt2 in double" */
    double worst_abs;                    /* over float outputs of all cases */
    double tolerance, worst_tolerance;   /* as asked for; of the output that is worst: halves are given what they can hold */
    fy_verify_case *cases; int ncases, cap;
    char  *unverified;                   /* axes opened without an oracle: "x:2 (height)"; "" if none */
    char  *first_node;                   /* where values part first, with its source line; "" if not looked for or not found */
    char  *sizes;                        /* "batch 1, 3": for provenance */
} fy_verify_report;
void fy_verify_report_free(fy_verify_report *r);

/* Against the ATen program: its sample, then seeded inputs at other sizes of the dynamic axes. `opened` are axes that
 * fy_aten_symbolise made dynamic (then `p` is the program as read, frozen): a batch axis is checked sample by sample. */
FY_CHECKED fy_status fy_verify_program(fy_verify_report *r, const fy_model *m, const fy_program *p, int nopened, const fy_axis_name *opened,
                                       const fy_verify_options *o, ferry_error *e);
/* Against recorded inputs and outputs by name. */
FY_CHECKED fy_status fy_verify_recorded(fy_verify_report *r, const fy_model *m, const fy_named_list *recorded, const fy_verify_options *o, ferry_error *e);
/* Against another model, run by `ref_engine` on seeded inputs. */
FY_CHECKED fy_status fy_verify_model(fy_verify_report *r, const fy_model *m, const fy_model *ref, const fy_engine *ref_engine, const fy_verify_options *o, ferry_error *e);

void fy_verify_print(fy_buf *out, const fy_verify_report *r, bool colour);
void fy_verify_json(fy_jsonw *w, const fy_verify_report *r);
void fy_verify_junit(fy_buf *out, const fy_verify_report *r, const char *model);

/* Seeded inputs of the given types and sizes (value_of: symbol -> size), plausible for what the graph does with them:
 * indices below the table that they index, masks of 0 and 1. */
FY_CHECKED fy_status fy_random_inputs(fy_rval *in, const fy_model *m, uint64_t seed, bool (*value_of)(void *ctx, const fy_dim *sym, int64_t *v), void *ctx, ferry_error *e);

#endif
