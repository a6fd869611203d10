/* SPDX-License-Identifier: Apache-2.0
 * rewrite.h - the frame of the commands that make one .onnx from another: read and raise, change, lower, write beside the target, run
 * what was written against the original on seeded inputs, rename, report. A command fills in the upper half and calls fy_rewrite_run.
 *
 * Options of every such command: output, no-verify, tolerance=X, relative-to-range, seed=N, sizes=N, engine=NAME, threads=N,
 * external-data, plugin=PATH (may be repeated). */
#ifndef FY_REWRITE_H
#define FY_REWRITE_H

#include "api/api.h"
#include "verify/verify.h"

typedef struct fy_rewrite fy_rewrite;
struct fy_rewrite {
    /* by the command */
    const char        *command;          /* "convert" */
    const char        *source, *target;  /* target NULL: the option output says it, USAGE if it does not */
    const ferry_job   *job;
    const char *const *keys;             /* its own options, ends with NULL; or NULL */
    fy_status (*options)(fy_rewrite *w, ferry_error *e);     /* NULL, or reads them before anything is opened; may set opset and tolerance */
    fy_status (*as_read)(fy_rewrite *w, fy_model *m, bool original, ferry_error *e);     /* NULL, or changes the model as the file has it, and the original that it is compared with */
    bool as_it_is;                       /* the model is written as it was read, but for as_read: nothing is raised, lowered or cleaned up */
    fy_status (*change)(fy_rewrite *w, ferry_error *e);      /* NULL, or changes w->model, which is canonical and inferred, and stays so */
    fy_status (*lowered_to)(fy_rewrite *w, ferry_error *e);  /* NULL, or tidies up w->model once it is at opset_written */
    void (*print)(fy_buf *text, const fy_rewrite *w);        /* NULL, or lines after the head of the report; styles of base/report.h */
    void (*json)(fy_jsonw *json, const fy_rewrite *w);       /* NULL, or members of the document */
    void              *ctx;
    int64_t            opset;            /* to write; 0: that of the file, raised to 13 if it is older */
    double             tolerance;        /* 0: 1e-4; the option tolerance counts more */

    /* by the frame */
    fy_arena           arena;
    fy_model          *model;            /* what is written */
    ferry_registry    *registry;         /* of the option plugin; NULL: built-in operators only */
    int64_t            file_opset, opset_written;
    int64_t            nodes_before, nodes_after;            /* with those of bodies */
    fy_opset_log       raised, lowered;  /* what the change of opset did */
    const fy_engine   *engine;
    int64_t            threads, seed, sizes;
    bool               verify, verified; /* asked for; there is a verdict */
    fy_verify_report   verdict;
};

/* Runs the command; what a public function returns. Frees all that the frame made. On FERRY_NO and failure what was at the target is untouched. */
int fy_rewrite_run(fy_rewrite *w, ferry_report **out, ferry_error *e);

/* What export and this frame share: the file's name without its folder; its size, 0 if it cannot be read. */
const char *fy_base_name(const char *path);
int64_t     fy_file_bytes(const char *path);

#endif
