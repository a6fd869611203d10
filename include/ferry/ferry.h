/* SPDX-License-Identifier: Apache-2.0
 * ferry/ferry.h - libferry: what the program `ferry` does, as functions. Includes ferry/run.h, whose rules hold here too.
 *
 *     ferry_option  o[] = {{"opset", "17"}, {"dynamic-batch", ""}};
 *     ferry_job     job = {o, 2, NULL, NULL};
 *     ferry_report *r = NULL;
 *     int kind = ferry_export("resnet50.pt2", "resnet50.onnx", &job, &r, &e);
 *     if (r) puts(ferry_report_text(r, 0));          // what a person reads; ferry_report_json(r) for machines
 *     ferry_report_free(r);
 *
 * Every command takes a job (options by name, as the flags of the program without their dashes; NULL: all defaults) and gives one
 * report: a JSON document and its printed form. The returned ferry_kind is the program's exit code: FERRY_OK; FERRY_NO when a gate said
 * no, with a report; else a failure, *r is NULL and the error says why. Options that a command does not know are USAGE. Strings of a
 * report live as long as the report. Commands may run at the same time in several threads. */
#ifndef FERRY_FERRY_H
#define FERRY_FERRY_H

#include "ferry/run.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ferry_option { const char *key, *value; } ferry_option;         /* flags have the value "" */

/* What a command is asked to do. Read during the call only. */
typedef struct ferry_job {
    const ferry_option *option;          /* the last of equal keys counts, unless the key may be repeated */
    size_t              noption;
    /* NULL, or called now and then by the calling thread: share in [0,1], or < 0 when unknown. */
    void (*progress)(void *ctx, const char *what, double share);
    void               *ctx;
} ferry_job;

typedef struct ferry_report ferry_report;
FERRY_API const char *ferry_report_json(const ferry_report *r);               /* one JSON document, ends in a newline */
FERRY_API const char *ferry_report_text(const ferry_report *r, int colour);   /* readable; ANSI colours if asked for */
FERRY_API const char *ferry_report_full(const ferry_report *r);               /* all that is known, in plain text: export's --report */
FERRY_API const char *ferry_report_junit(const ferry_report *r);              /* verify: JUnit XML; "" for other reports */
FERRY_API void        ferry_report_free(ferry_report *r);                     /* NULL is fine */

/* .pt2 -> .onnx. `onnx` NULL: the source's name with .onnx. Never writes over its source. The file is written beside its place, read
 * back, verified and only then renamed: on FERRY_NO and on failure, what was there before is untouched. Options (defaults in brackets):
 *   opset=N [17]            13 to the newest, or an error that names operator and lowest opset
 *   input-names=A,B output-names=C   [from the program's signature]
 *   dynamic=NAME:AXIS=SYMBOL          may be repeated; dynamic-batch: axis 0 of every input as "batch"
 *   dim-names=OLD=NEW,...             renames symbols of the program
 *   no-fold no-fold-bn                keep constant arithmetic, keep batch norm
 *   external-data                     weights in a second file [above 2 GiB only]
 *   no-verify, tolerance=X [1e-4], relative-to-range, engine=NAME [ferry], threads=N [all cores allowed]
 *   training                          accept layers in training mode
 *   asserts=keep|drop [drop]          keep: the program's own checks (torch._check, sizes that data decides) become outputs "assert", "assert_2" of bool
 *                                     behind all others, what they say is in the metadata "ferry.assert:NAME"; one that is false whatever the inputs
 *                                     are fails here (VALUE), one that is true goes. Verification asks them to be true. Checks in bodies are left out
 *   weights=FILE                      other weights, by name: .safetensors (also an index), a checkpoint or pickled module of torch.save, a .pt2 or .onnx.
 *                                     The source may then be a .onnx too, which is written as it is but for them. FERRY_NO, with all of it in the
 *                                     report, if a weight is missing, unexpected, of another shape or type, or folded into others in the .onnx
 *   section=PATH                      where in a checkpoint ["state_dict", "model" and other usual places]
 *   partial                           take what matches, keep the model's own for the rest; cast: convert between floating-point types
 *   keep-traces no-provenance         source folders in the file; no metadata_props
 *   stop-after=PASS skip-pass=PASS,.. dump=DIR                       looking inside
 * Failures: NOFILE, FORMAT (no .pt2), ATEN (operators without a lowering, all of them named), OPSET, TRAINING, FROZEN, ALIAS, WRITE ... */
FERRY_API int ferry_export(const char *pt2, const char *onnx, const ferry_job *job, ferry_report **r, ferry_error *e);

/* .onnx -> .onnx at another opset of ai.onnx: older forms are brought up, newer operators are written out in older ones. `to` NULL: the
 * option output. Names of inputs and outputs, metadata and texts stay. The result is run against the original on seeded inputs, at two
 * sizes of every dynamic axis, before it takes its place; never written over its source. Options:
 *   opset=N                           13 to the newest; required
 *   output=PATH, external-data        weights in a second file [above 2 GiB only]
 *   no-verify, tolerance=X [1e-4], relative-to-range, seed=N [1], sizes=N [1], engine=NAME [ferry], threads=N
 * FERRY_NO: the outputs differ, nothing was written. Failures: OPSET (node, operator, and the lowest opset that can), OP ... */
FERRY_API int ferry_convert(const char *onnx, const char *to, const ferry_job *job, ferry_report **r, ferry_error *e);

/* .onnx -> .onnx with fewer nodes, in standard operators of the file's opset: what depends on constants is computed, shape arithmetic and
 * nodes that do nothing go, batch norm, bias and padding are folded in, operators that others were put together from are recognised. Names
 * of inputs and outputs stay. `to`, verification and failures as of ferry_convert. A second run changes nothing. Options besides its
 * output, external-data, no-verify, tolerance, relative-to-range, seed, sizes, engine, threads:
 *   level=basic|extended [extended]   basic: no operator is put in place of several others
 *   fold-budget=SIZE [1M]             bytes that computed constants may add to the file
 *   no-fold no-fold-bn                keep constant arithmetic; keep batch norm and factors of channels
 *   keep-weights                      do not join or scale the weights of products: parameters stay as named
 *   stop-after=PASS skip-pass=PASS,.. dump=DIR                       looking inside */
FERRY_API int ferry_optimize(const char *onnx, const char *to, const ferry_job *job, ferry_report **r, ferry_error *e);

/* Does `model` (.onnx) compute what `against` does? Options: against=PATH (.pt2, .npz, .onnx) [the .pt2 beside it whose hash
 * the model carries], reference=torch, engine=NAME, reference-engine=NAME, precision=bf16 (engine ferry), tolerance=X or
 * NAME:X (repeatable) [1e-4; with bf16 2e-2 of the output's range], relative-to-range, seed=N [1], sizes=N [2], threads=N. FERRY_NO: an output differs; the report names it, and the first node
 * whose values part. */
FERRY_API int ferry_verify(const char *model, const ferry_job *job, ferry_report **r, ferry_error *e);

/* The weights of a .pt2, .onnx, checkpoint, pickled module or .safetensors as .safetensors, names as in PyTorch. `to` NULL: the option output. The same
 * weights give the same bytes; memory does not depend on their size; nothing in a pickle is executed. Options: output=PATH,
 * section=PATH (of a checkpoint), once (of tied weights one tensor, the other names in the metadata). */
FERRY_API int ferry_weights(const char *path, const char *to, const ferry_job *job, ferry_report **r, ferry_error *e);

/* Inputs, outputs, opset, operators, parameters, MACs, memory of a .onnx or .pt2; names, types and shapes of a file of weights (options: section=PATH,
 * shapes). */
FERRY_API int ferry_info(const char *path, const ferry_job *job, ferry_report **r, ferry_error *e);
/* What is different between two models (.onnx or .pt2 on either side; both are compared at the newest opset): inputs, outputs, opset, metadata;
 * nodes matched by what they compute and what is computed from them, so that other names alone are no difference; weights, with the
 * largest absolute and relative difference. FERRY_NO if they differ. Options: no-weights, no-metadata, tolerance=X [0], threads=N,
 * plugin=PATH. */
FERRY_API int ferry_diff(const char *a, const char *b, const ferry_job *job, ferry_report **r, ferry_error *e);
/* A model as one HTML page that needs nothing else: the graph folded along its modules, search, attributes, shapes, source lines, statistics of the
 * weights. `to` NULL: the option output. Options: output=PATH, no-weights, threads=N, plugin=PATH. */
FERRY_API int ferry_view_page(const char *path, const char *to, const ferry_job *job, ferry_report **r, ferry_error *e);
/* Validity and the pitfalls that people meet. FERRY_NO if there is a finding of severity error. Options: strict. */
FERRY_API int ferry_check(const char *path, const ferry_job *job, ferry_report **r, ferry_error *e);
/* What is supported. Options: aten, onnx. */
FERRY_API int ferry_ops(const ferry_job *job, ferry_report **r, ferry_error *e);
/* This machine. Options: require=torch==2.7.0,cuda>=11.8,shm>=8g (FERRY_NO if one is not met). */
FERRY_API int ferry_doctor(const ferry_job *job, ferry_report **r, ferry_error *e);
/* How long a run takes, on seeded inputs: quantiles, throughput, start-up, memory, and the operations a second as a share of what an FMA loop
 * does on this machine in the same call. Options:
 *   seconds=S [2]                     how long to measure, after a first run and a fifth of that to warm up
 *   sizes=SYMBOL=N,... batch=N [1]    sizes of dynamic axes; batch: of every first axis
 *   engine=NAME [ferry], threads=N [all cores allowed], exact, precision=bf16, seed=N [1],
 *   plugin=PATH
 *   save=FILE                         the JSON document, for later
 *   against=FILE                      faster, slower or the same as the run saved there: the same unless the medians differ by more than the noise of
 *                                     both runs (half the distance between the quartiles, as a share of the median), and by at least 2 %
 * FERRY_NO: slower than `against`. */
FERRY_API int ferry_bench(const char *model, const ferry_job *job, ferry_report **r, ferry_error *e);
/* Where the time of a run goes: every step of the plan with its implementation, nodes, shapes, time, GFLOP/s or GB/s, and the share of what this
 * machine can do. Options: those of ferry_bench but save and against;
 *   html=FILE                         one page with the graph coloured by time
 *   trace=FILE                        the last run, for chrome://tracing and Perfetto
 * USAGE for an engine that cannot be watched. */
FERRY_API int ferry_profile(const char *model, const ferry_job *job, ferry_report **r, ferry_error *e);
/* An error code, operator, pass or knob. With the option node=NUMBER or NAME, `topic` is a model: how the engine runs that node, and why
 * not otherwise; further options: engine=NAME, exact, precision=bf16, plugin=PATH. */
FERRY_API int ferry_explain(const char *topic, const ferry_job *job, ferry_report **r, ferry_error *e);

/* ---- named values that own their memory ---------------------------------------------------------------------------- */

/* A list of named values, tensors mostly, for the inputs and outputs of a model as files hold them. Belongs to one thread at a time. */
typedef struct ferry_values ferry_values;
FERRY_API ferry_values *ferry_values_new(void);                               /* NULL: out of memory */
FERRY_API void          ferry_values_free(ferry_values *v);                   /* NULL is fine */
FERRY_API size_t        ferry_values_count(const ferry_values *v);
FERRY_API const char   *ferry_values_name(const ferry_values *v, size_t i);   /* NULL if i is out of range; valid until the list changes */
FERRY_API int           ferry_values_find(const ferry_values *v, const char *name);      /* index, or -1 */
/* *t becomes a view of value i, valid until that value is replaced or the list is freed. NAME if i is out of range, TYPE if it is no
 * tensor of numbers. */
FERRY_API int           ferry_values_get(const ferry_values *v, size_t i, ferry_tensor *t, ferry_error *e);
/* Value i of any kind, valid as long; NULL if i is out of range. */
FERRY_API const ferry_value *ferry_values_value(const ferry_values *v, size_t i);
/* Adds a copy of *t (of a value) under `name`, or replaces the value of that name. */
FERRY_API int           ferry_values_set(ferry_values *v, const char *name, const ferry_tensor *t, ferry_error *e);
FERRY_API int           ferry_values_put(ferry_values *v, const char *name, const ferry_value *value, ferry_error *e);
/* Adds from a file: .npz all its members by their names (`name` is not used); .npy, .pb (TensorProto, SequenceProto) one value called
 * `name`. Arrays of strings (S, U) are tensors of strings. */
FERRY_API int           ferry_values_read(ferry_values *v, const char *path, const char *name, ferry_error *e);
/* The same under the port's name; a .pb holds what the port takes, a MapProto too. */
FERRY_API int           ferry_values_read_for(ferry_values *v, const char *path, const ferry_port *port, ferry_error *e);
/* Writes all values to a .npz, which appears whole or not at all. Strings become arrays of bytes (S), a sequence NAME.0, NAME.1 ..., a
 * map NAME.keys and NAME.values; a sequence of maps with equal keys too, with a row of values for each map. */
FERRY_API int           ferry_values_write(const ferry_values *v, const char *path, ferry_error *e);
/* Adds n image files (PNG, JPEG, BMP, PNM; TIFF, WebP, JPEG 2000 if the build has their libraries) as one batch under the name of
 * `port`, with its dtype. Without options: scaled to the port's height and width, gray if it takes one channel, alpha dropped, values in [0,1] (u8 ports: 0..255). Options: preset=imagenet (resize 256, crop
 * 224, mean and deviation), resize=HxW, crop=HxW, mean=R,G,B, std=R,G,B, layout=nchw|nhwc [from the port's shape]. Others are
 * ignored. */
FERRY_API int           ferry_values_image(ferry_values *v, const ferry_port *port, const char *const *paths, size_t n,
                                           const ferry_job *job, ferry_error *e);
/* Seeded plausible values for every input of `m` that is not in the list: indices below the table that they index, masks of 0 and
 * 1. Options: sizes=SYMBOL=N,... [1], seed=N [1]. The same seed gives the same values. Others are ignored. */
FERRY_API int           ferry_values_random(ferry_values *v, const ferry_model *m, const ferry_job *job, ferry_error *e);
/* Converts the value named as `port` to the port's dtype, if nothing but width is lost; else TYPE, or VALUE for an integer that does
 * not fit. The shape is not changed. */
FERRY_API int           ferry_values_fit(ferry_values *v, const ferry_port *port, ferry_error *e);

#ifdef __cplusplus
}
#endif
#endif
