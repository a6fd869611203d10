/* SPDX-License-Identifier: Apache-2.0
 * ferry/run.h - libferry-run: open a model, run it. All that a device needs.
 *
 *     ferry_error    e;
 *     ferry_model   *m = ferry_open("resnet50.onnx", NULL, &e);      // immutable; any number of threads share it
 *     ferry_session *s = m ? ferry_session_new(m, &e) : NULL;        // cheap; one per thread
 *     ferry_tensor   x = ferry_f32(img, 4, (int64_t[]){1, 3, 224, 224}), y = {0};
 *     if (!s || ferry_run(s, &x, 1, &y, 1, &e) != 0) { fputs(e.text, stderr); ... }
 *     use(y.data);                                                   // valid until this session's next run
 *     ferry_session_free(s); ferry_close(m);
 *
 * Rules that hold for every function here:
 *   - Nothing prints, exits or aborts. What can fail returns NULL or a value other than 0 and fills the caller's
 *     ferry_error (which may be NULL when nobody wants to know).
 *   - A ferry_model is immutable: any thread may use it at any time. A ferry_session belongs to one thread at a time, as does
 *     everything else that is not const.
 *   - Strings and arrays returned by a model live as long as the model; nothing of them is freed by the caller.
 *   - Tensors are borrowed views: ferry neither frees nor keeps the memory they point to.
 *   - What is made by ..._new or ferry_open is freed by ..._free or ferry_close; those take NULL.
 */
#ifndef FERRY_RUN_H
#define FERRY_RUN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) || defined(__clang__)
#define FERRY_API __attribute__((visibility("default")))
#else
#define FERRY_API
#endif

/* ---- errors ------------------------------------------------------------------------------------------------------ */

/* What sort of failure; equal to the exit code of the program `ferry`. */
typedef enum ferry_kind {
    FERRY_OK = 0,
    FERRY_NO = 1,       /* a gate said no: outputs differ, a requirement is not met */
    FERRY_USAGE = 2,    /* the caller asked for something that cannot be asked for */
    FERRY_BAD_MODEL = 3,/* the model (or its input) is invalid or not supported */
    FERRY_IO = 4,       /* reading or writing failed; out of memory */
    FERRY_BUG = 5       /* a defect of ferry itself: please report it */
} ferry_kind;

#define FERRY_FRAMES 8

/* Caller-owned; zero-initialise or leave as it is: every failing call overwrites it. */
typedef struct ferry_error {
    int32_t     kind;                    /* ferry_kind */
    int32_t     nframes;                 /* how many of frame[] are used, innermost first */
    const char *code;                    /* stable name, e.g. "AXIS"; `ferry explain AXIS` tells more; static storage */
    char        text[512];               /* one sentence: what is wrong and where */
    char        help[256];               /* what to do next, or "" */
    char        frame[FERRY_FRAMES][200];/* where it happened: node, pass, file */
} ferry_error;

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

/* Element types, numbered as in onnx.proto3 TensorProto.DataType. */
typedef enum ferry_dtype {
    FERRY_UNDEFINED = 0, FERRY_FLOAT = 1, FERRY_UINT8 = 2, FERRY_INT8 = 3, FERRY_UINT16 = 4, FERRY_INT16 = 5,
    FERRY_INT32 = 6, FERRY_INT64 = 7, FERRY_STRING = 8, FERRY_BOOL = 9, FERRY_FLOAT16 = 10, FERRY_DOUBLE = 11,
    FERRY_UINT32 = 12, FERRY_UINT64 = 13, FERRY_COMPLEX64 = 14, FERRY_COMPLEX128 = 15, FERRY_BFLOAT16 = 16,
    FERRY_FLOAT8E4M3FN = 17, FERRY_FLOAT8E4M3FNUZ = 18, FERRY_FLOAT8E5M2 = 19, FERRY_FLOAT8E5M2FNUZ = 20,
    FERRY_UINT4 = 21, FERRY_INT4 = 22, FERRY_FLOAT4E2M1 = 23, FERRY_FLOAT8E8M0 = 24, FERRY_UINT2 = 25, FERRY_INT2 = 26,
    FERRY_FLOAT6E2M3 = 27, FERRY_FLOAT6E3M2 = 28
} ferry_dtype;

#define FERRY_MAX_RANK 16

/* A borrowed view of dense row-major data. As an output with data == NULL, ferry fills in a view that stays valid until
 * the session's next run; with data != NULL ferry writes there after checking dtype, shape and bytes. */
typedef struct ferry_tensor {
    void   *data;
    size_t  bytes;
    int32_t dtype;                       /* ferry_dtype */
    int32_t rank;
    int64_t dim[FERRY_MAX_RANK];
} ferry_tensor;

/* A view of `data` as dtype[dim[0], ..., dim[rank-1]]; bytes is computed; `dim` is copied and may be NULL for rank 0. A rank
 * outside 0..FERRY_MAX_RANK gives dtype 0, which ferry_run refuses. */
FERRY_API ferry_tensor ferry_view(int32_t dtype, void *data, int32_t rank, const int64_t *dim);
/* The same for the two commonest types. `data` is not written to when the view is an input. */
FERRY_API ferry_tensor ferry_f32(const float *data, int32_t rank, const int64_t *dim);
FERRY_API ferry_tensor ferry_i64(const int64_t *data, int32_t rank, const int64_t *dim);

/* Bytes of `count` elements of a dtype (sub-byte types are packed, rounded up); 0 for strings and unknown numbers. */
FERRY_API size_t      ferry_dtype_bytes(int32_t dtype, int64_t count);
FERRY_API const char *ferry_dtype_name(int32_t dtype);     /* "f32", "i64", "bool" ... ; "?" for unknown numbers */

/* ---- models ------------------------------------------------------------------------------------------------------ */

typedef struct ferry_model   ferry_model;
typedef struct ferry_session ferry_session;

/* What a value is; see "values" below. */
enum { FERRY_TENSOR = 1, FERRY_SEQUENCE = 2, FERRY_OPTIONAL = 3, FERRY_MAP = 4 };

/* One input or output of a model, in the order of the file. dim[i] is -1 where the size is not fixed; sym[i] then is its name or
 * expression ("batch", "2*height"). Equal names mean equal sizes. Of what is no tensor, kind and type say what it is; dtype is 0. */
typedef struct ferry_port {
    const char        *name;
    int32_t            dtype;
    int32_t            rank;             /* -1: not known */
    const int64_t     *dim;
    const char *const *sym;              /* sym[i] is NULL where dim[i] >= 0 */
    int32_t            kind;             /* FERRY_TENSOR ...; 0: not known */
    const char        *type;             /* as text: "f32[batch,3]", "seq(map(str, f32[]))" */
} ferry_port;

/* Opens a .onnx (or, in the full library, a .pt2, which is exported in memory). `options` is NULL or words separated by blanks or
 * commas; a word that is not known is an error:
 *   threads=N [the cores that affinity and cgroup allow]      how many threads one run may use
 *   engine=NAME [ferry]                                       ferry, reference; onnxruntime, openvino where installed
 *   max-steps=N [any number]                                  operators and iterations of loops in one run, LIMIT beyond (engine ferry)
 *   plugin=PATH                                               operators from a shared object (ferry/plugin.h); may be repeated
 *   exact                                                     no algorithm whose rounding differs from the direct one (Winograd); engines
 *                                                             that have no such choice ignore it
 *   cache=DIR [FERRY_CACHE, or none]                          keep packed weights in a file there, mapped at the next start (docs/memory.md);
 *                                                             what cannot be kept is no failure: see ferry_cache_state
 *   memory=low|normal [normal]                                low: as little private memory as will do, if need be at the cost of speed
 *   precision=f32 or bf16 [f32]                               bf16: MatMul and Gemm with a constant second operand round both operands to bfloat16
 *                                                             and sum in f32; all else stays f32. Engine ferry alone (USAGE)
 * A value in '...' may hold blanks and commas.
 * The file is mapped and must not be changed while the model is open. NULL on failure: NOFILE, READ, FORMAT, CORRUPT, OP,
 * UNSUPPORTED, ENGINE, NOMEM ... */
FERRY_API ferry_model *ferry_open(const char *path, const char *options, ferry_error *e);
/* The same for a .onnx in memory, which must outlive the model and not change. External data is refused here (PATH). */
FERRY_API ferry_model *ferry_open_memory(const void *data, size_t bytes, const char *options, ferry_error *e);
/* All sessions of the model must have been freed. */
FERRY_API void         ferry_close(ferry_model *m);

/* What became of the cache. *why (may be NULL): why there is no file, "" unless FAILED. */
enum { FERRY_CACHE_OFF = 0, FERRY_CACHE_USED = 1, FERRY_CACHE_MADE = 2, FERRY_CACHE_FAILED = 3 };
FERRY_API int               ferry_cache_state(const ferry_model *m, const char **why);

FERRY_API size_t            ferry_inputs(const ferry_model *m);
FERRY_API size_t            ferry_outputs(const ferry_model *m);
FERRY_API const ferry_port *ferry_input(const ferry_model *m, size_t i);    /* NULL if i is out of range */
FERRY_API const ferry_port *ferry_output(const ferry_model *m, size_t i);
FERRY_API int               ferry_find_input(const ferry_model *m, const char *name);   /* index, or -1 */
FERRY_API int               ferry_find_output(const ferry_model *m, const char *name);
FERRY_API const char       *ferry_metadata(const ferry_model *m, const char *key);      /* metadata_props; NULL if absent */
/* Pair i of metadata_props, in the order of the file: 1, or 0 when i is past the end. The texts live as long as the model. */
FERRY_API int               ferry_metadata_at(const ferry_model *m, size_t i, const char **key, const char **value);
/* What the file says of itself: "producer", "producer-version", "domain", "description", "graph"; "" where it says nothing, NULL for other words. */
FERRY_API const char       *ferry_about(const ferry_model *m, const char *what);
FERRY_API int64_t           ferry_model_version(const ferry_model *m);                  /* the file's model_version */

/* ---- running ----------------------------------------------------------------------------------------------------- */

/* A session holds what a run needs besides the model: scratch, outputs, declared state. Make one for each thread. NULL: NOMEM, ENGINE. */
FERRY_API ferry_session *ferry_session_new(const ferry_model *m, ferry_error *e);
FERRY_API void           ferry_session_free(ferry_session *s);
/* Runs once. in[i] is the model's input i, out[i] its output i; nin and nout must be the model's counts. Inputs must have the model's
 * dtype and sizes, and need to live during the call only. Each out[i] is zeroed, or still the view that this session gave before: then
 * it becomes a view that is valid until the session's next run; or it points to your memory with dtype, rank and dim set
 * (ferry_view): then the result is copied there. Declared state (KV caches, mutated buffers) is kept by the session between runs.
 * 0 on success, else a ferry_kind: USAGE for wrong counts, TYPE, SHAPE, VALUE for tensors that do not fit, INDEX for an index out of
 * range, NOMEM, UNSUPPORTED where an input or output is no tensor of numbers (ferry_run_values carries those); the session can be used
 * again. */
FERRY_API int  ferry_run(ferry_session *s, const ferry_tensor *in, size_t nin, ferry_tensor *out, size_t nout, ferry_error *e);
/* Ends the run that is in progress in this session, or else the next one as it begins, with STOPPED (FERRY_NO). The one function that any
 * thread, and a signal handler, may call while the session is used (but not while it is reset or freed). It is looked at between
 * operators, iterations of loops and pieces of long operators. 0, or FERRY_USAGE if the engine cannot. */
FERRY_API int  ferry_session_stop(ferry_session *s);

/* ---- values ------------------------------------------------------------------------------------------------------ */

/* What a ferry_tensor cannot carry: tensors of strings, sequences, optionals, maps (and tensors of numbers as well). A value owns its
 * contents and never changes; whoever made it frees it. Items are seen, not owned: they live as long as what they are part of. */
typedef struct ferry_value ferry_value;
/* A copy of a tensor of numbers. Elements of sub-byte dtypes take a byte each here, in its low bits (what is above them is not looked at), and
 * t->bytes counts those. NULL: what ferry_run says of inputs, NOMEM. */
FERRY_API ferry_value *ferry_value_tensor(const ferry_tensor *t, ferry_error *e);
/* A tensor of strings: text[i] has bytes[i] bytes, or with `bytes` NULL ends at its 0. The count is the product of dim, 1 for rank 0. */
FERRY_API ferry_value *ferry_value_strings(const char *const *text, const size_t *bytes, int32_t rank, const int64_t *dim, ferry_error *e);
/* Copies of values: a list of n; nothing or one (item NULL or not); pairs. Keys are a tensor [n] of integers or strings, all different;
 * values are a tensor [n], one scalar for each key, or a sequence of n. */
FERRY_API ferry_value *ferry_value_sequence(const ferry_value *const *item, size_t n, ferry_error *e);
FERRY_API ferry_value *ferry_value_optional(const ferry_value *item, ferry_error *e);
FERRY_API ferry_value *ferry_value_map(const ferry_value *keys, const ferry_value *values, ferry_error *e);
FERRY_API void         ferry_value_free(ferry_value *v);   /* of what the functions above made only */

FERRY_API int32_t            ferry_value_kind(const ferry_value *v);        /* FERRY_TENSOR ... */
/* Items of a sequence, 0 or 1 of an optional, pairs of a map, elements of a tensor. */
FERRY_API size_t             ferry_value_count(const ferry_value *v);
/* Item i of a sequence or optional. Of a map 0 gives the keys, in ascending order, and 1 the values. NULL if there is none. */
FERRY_API const ferry_value *ferry_value_item(const ferry_value *v, size_t i);
/* A view of a tensor; of strings it has dtype and shape only, data is NULL. Elements of sub-byte dtypes take a byte each, signed ones with
 * their sign extended. TYPE if v is no tensor. */
FERRY_API int                ferry_value_view(const ferry_value *v, ferry_tensor *t, ferry_error *e);
/* Element i of a tensor of strings, in row-major order: *bytes bytes, no 0 behind them. NULL if there is none. */
FERRY_API const char        *ferry_value_string(const ferry_value *v, size_t i, size_t *bytes);

/* ferry_run with values of any kind: out[i] becomes a value of the session's, valid until its next run and not to be freed. */
FERRY_API int ferry_run_values(ferry_session *s, const ferry_value *const *in, size_t nin, const ferry_value **out, size_t nout, ferry_error *e);

/* Output i of the session's last run as a value of the caller's, a tensor of numbers: without a copy, unless its memory is shared with another
 * output or with state. It may be written to and outlives session and model; zero out[i] before the next run. NULL: USAGE if i is out of
 * range or there is no such result (no run, a failed one, taken before), TYPE, NOMEM. */
FERRY_API ferry_value *ferry_session_take(ferry_session *s, size_t i, ferry_error *e);

/* Sets declared state back to what the model file says. */
FERRY_API int  ferry_session_reset(ferry_session *s, ferry_error *e);

FERRY_API const char *ferry_version(void);                 /* "0.1.0" */

#ifdef __cplusplus
}
#endif
#endif
