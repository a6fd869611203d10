/* SPDX-License-Identifier: Apache-2.0
 * engine.h - who executes a model: compile, run, describe. engines.def lists them; foreign ones are opened at run time. */
#ifndef FY_ENGINE_H
#define FY_ENGINE_H

#include "opset/opset.h"
#include "plan/plan.h"

typedef struct fy_engine   fy_engine;
typedef struct fy_compiled fy_compiled;  /* immutable, shared */
typedef struct fy_session  fy_session;   /* one thread at a time */

typedef struct fy_engine_options {
    int         threads;                 /* 0: fy_cores() */
    int64_t     max_steps;               /* of one run, as fy_interp has it; 0: any number. Foreign engines have no such limit */
    const char *path;                    /* the .onnx file that the model was read from: foreign engines read that very file; NULL: none,
                                            then they are given the graph serialised at the canonical opset */
    bool        exact;                   /* no algorithm whose rounding differs from the direct one; engines that have none ignore it */
    bool        bf16;                    /* products with constants round their operands to bfloat16; our engine alone */
    const char *cache;                   /* ours: folder for packed weights; NULL: FERRY_CACHE, "": none */
    bool        low_memory;              /* ours: as little private memory as will do */
} fy_engine_options;

struct fy_engine {
    const char *name;                    /* "ferry", "onnxruntime", "openvino" */
    const char *doc;
    bool        foreign;                 /* not ours: it runs the file rather than the graph, where there is one */
    /* NULL if usable here, else why not and where it was looked for (static or from buf). */
    const char *(*missing)(char *buf, size_t n);
    fy_status (*describe)(char *buf, size_t n, ferry_error *e);                  /* "ONNX Runtime 1.32.0 (/path/lib.so)" */
    /* The model is at the canonical opset and outlives the compiled one. */
    fy_status (*compile)(fy_compiled **c, const fy_model *m, const fy_engine_options *o, ferry_error *e);
    void      (*compiled_free)(fy_compiled *c);
    fy_status (*session)(fy_session **s, fy_compiled *c, ferry_error *e);
    void      (*session_free)(fy_session *s);
    /* in: one for each graph input; out: one for each graph output, owned by the caller. */
    fy_status (*run)(fy_session *s, fy_rval *const *in, fy_rval *out, ferry_error *e);
    /* NULL, or frees results of an earlier run of this session: the next results may lie in their memory. */
    void      (*recycle)(fy_session *s, fy_rval *out);
    /* NULL, or ends the run in progress with STOPPED, else the next one as it begins. From any thread, and from a signal handler. */
    void      (*stop)(fy_session *s);
    /* For `ferry profile` and `ferry explain`; NULL: this engine cannot say. The plan that runs, and who is told of its steps from now on
     * (NULL: nobody). */
    const fy_plan *(*plan)(const fy_compiled *c);
    void      (*watch)(fy_session *s, fy_seen *seen, void *ctx);
};

const fy_engine *fy_engine_find(const char *name);           /* NULL if unknown; "" and NULL give the default, "ferry" */
/* Who runs a model to be verified unless told: the reference kernels, whose sums are double and the same bits on every machine. */
const fy_engine *fy_engine_judge(void);
const fy_engine *const *fy_engines(int *n);
/* Has every operator of the main graph a kernel of ours? Those of bodies are asked for when they run. */
FY_CHECKED fy_status fy_engine_kernels(const fy_model *m, ferry_error *e);

/* What this build has of the parts that operators need beyond libc: for fy_interp and fy_pass_options. */
const fy_hooks *fy_hooks_builtin(void);

#endif
