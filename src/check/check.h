/* SPDX-License-Identifier: Apache-2.0
 * check.h - the commands that look: info, check, ops, doctor, explain. Each fills a report. */
#ifndef FY_CHECK_H
#define FY_CHECK_H

#include "aten/aten.h"
#include "base/report.h"
#include "engines/engine.h"
#include "formats/json.h"

/* Inputs, outputs, opset, operators, parameters, MACs, memory, provenance. `m` is canonical and inferred; `file_opset` is what
 * the file says; `p` is NULL unless the file is a .pt2. */
FY_CHECKED fy_status fy_info_report(fy_report *r, const char *path, const fy_model *m, int64_t file_opset, const fy_program *p, bool shapes, ferry_error *e);

/* Every value of the model with its symbolic type, bodies included, and the symbols: a section of the text, two members of the JSON. */
FY_CHECKED fy_status fy_shapes_text(fy_buf *text, const fy_model *m, ferry_error *e);
FY_CHECKED fy_status fy_shapes_json(fy_jsonw *json, const fy_model *m, ferry_error *e);
/* The members name, type, dtype, shape of a value; `all`: rank and contents too. */
void fy_value_json(fy_jsonw *w, const fy_value *v, bool all);

typedef enum fy_severity { FY_SEV_NOTE, FY_SEV_WARNING, FY_SEV_ERROR } fy_severity;
typedef struct fy_finding { fy_severity severity; const char *code; char where[200], what[300], remedy[300]; } fy_finding;
typedef struct fy_findings { fy_finding *at; int64_t n, cap; bool oom; } fy_findings;

/* Validity (GRAPH, TYPE ...) and pitfalls: fixed batch axis, training-mode nodes, opset over 17, unknown operators, huge constants,
 * float64. The model is as read or raised; findings are appended. The caller frees f->at. */
FY_CHECKED fy_status fy_lint(fy_findings *f, const fy_model *m, int64_t file_opset, ferry_error *e);
FY_CHECKED fy_status fy_check_report(fy_report *r, const char *path, const fy_findings *f, bool strict, ferry_error *e);

FY_CHECKED fy_status fy_ops_report(fy_report *r, bool onnx, bool aten, ferry_error *e);
/* What --require asks about; "" or 0: not there. */
typedef struct fy_facts {
    char   torch[64], torch_cuda[32], cuda[32], cudnn[32], nccl[32], driver[64], ort[64], openvino[64];
    double memory, shm;                  /* bytes */
    int    cores, gpus;
} fy_facts;
/* Do the facts meet one requirement ("torch>=2.7", "shm>=8g", "gpus": n bytes of text)? USAGE if it is none. `found`: what there is. */
FY_CHECKED fy_status fy_requirement(const fy_facts *f, const char *word, size_t n, bool *met, char found[64], ferry_error *e);
/* `require`: "torch==2.7.0,cuda>=11.8,shm>=8g" or NULL; r->verdict is FERRY_NO if one is not met. */
FY_CHECKED fy_status fy_doctor_report(fy_report *r, const char *require, ferry_error *e);
/* Error code, operator, pass or knob; NAME with the nearest if there is none. */
FY_CHECKED fy_status fy_explain_report(fy_report *r, const char *topic, ferry_error *e);

/* The node's step in a plan: `node` is the number of a step, or a node's name. NAME with the nearest if there is none. `before`: the model as
 * read, to say of a node that passes took away. */
FY_CHECKED fy_status fy_explain_node(fy_report *r, const fy_plan *p, const fy_model *before, const char *node, ferry_error *e);

/* Multiply-accumulates of one node, or -1 where a size is not known; 0 for operators that do none. */
int64_t fy_node_macs(const fy_node *n);
/* The same with sizes from elsewhere: sizes_of gives the rank of a value, or -1, and its sizes, -1 each where not known. */
typedef int fy_sizes_of(void *ctx, const fy_value *v, int64_t *dim);
int64_t fy_node_macs_of(const fy_node *n, fy_sizes_of *sizes_of, void *ctx);

#endif
