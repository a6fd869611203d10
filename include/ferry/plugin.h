/* SPDX-License-Identifier: Apache-2.0
 * ferry/plugin.h - operators of your own: a schema, shape inference and a kernel, in a shared object or in your program.
 *
 * A shared object exports one function, which FERRY_PLUGIN declares. All that it calls comes in through tables of functions, so it is
 * not linked against libferry:
 *
 *     #include <ferry/plugin.h>
 *
 *     static int infer(const ferry_plugin_api *f, ferry_node *n) { return f->set_like(n, 0, 0); }
 *     static int run(const ferry_plugin_api *f, ferry_node *n) {
 *         ferry_tensor x, y;
 *         if (f->input(n, 0, &x) || f->output(n, 0, &y)) return 1;
 *         ...
 *         return 0;
 *     }
 *     FERRY_PLUGIN(api, registry, error) {
 *         static const ferry_op op = {sizeof op, FERRY_OP_PURE, "example", "Twice", "y = 2 x", NULL, 0, 1, 1, 1, 1, "T=f32,f64|T|T", infer, run, NULL};
 *         return api->add(registry, &op, error);
 *     }
 *
 *     cc -shared -fPIC twice.c -o twice.so && ferry run model.onnx --plugin ./twice.so --random
 *
 * Rules:
 *   - Callbacks return 0, or something else after f->fail (or after a function of the table failed, which has said why). The message
 *     reaches the user with the operator's and the plugin's name before it.
 *   - A ferry_node, and every pointer got through it, is valid during that call only. Inputs are not written to.
 *   - Models are shared by threads: callbacks of one operator run at the same time on different ferry_nodes. They keep no state but `user`,
 *     which must not change, or is guarded by the plugin. A ferry_node belongs to the thread that runs the callback; of the table's functions
 *     only f->stopped may be called from the pieces of f->parallel.
 *   - Callbacks must not throw C++ exceptions, longjmp, exit or print.
 *   - The same inputs must give the same bits, however many threads there are, for operators with FERRY_OP_PURE.
 *   - A plugin runs with the rights of its process: open only those that you trust. */
#ifndef FERRY_PLUGIN_H
#define FERRY_PLUGIN_H

#include "ferry/run.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Changes when a plugin that was built before would not work any more. What is added at the end of the structs changes their `size`. */
#define FERRY_PLUGIN_ABI 1

typedef struct ferry_plugin_api ferry_plugin_api;
typedef struct ferry_registry   ferry_registry;  /* operators beside the built-in ones */
typedef struct ferry_node       ferry_node;      /* one node of a model, while it is inferred or run */

/* ---- an operator -------------------------------------------------------------------------------------------------- */

/* Numbered as in onnx.proto3 AttributeProto.AttributeType. */
typedef enum ferry_attr_kind {
    FERRY_ATTR_FLOAT = 1, FERRY_ATTR_INT = 2, FERRY_ATTR_STRING = 3, FERRY_ATTR_TENSOR = 4, FERRY_ATTR_FLOATS = 6, FERRY_ATTR_INTS = 7,
    FERRY_ATTR_STRINGS = 8
} ferry_attr_kind;

#define FERRY_REQUIRED "\001required"

/* `value`: the default as text ("1", "0.01", "constant", "[1, 1]"); NULL: none; FERRY_REQUIRED: a node must have it. */
typedef struct ferry_attr { const char *name; int32_t kind; const char *value; const char *doc; } ferry_attr;

enum { FERRY_OP_PURE = 1 };              /* same inputs, same outputs, no effect: may be run at load time, merged, left out */

typedef struct ferry_op {
    uint32_t          size;              /* sizeof(ferry_op) */
    uint32_t          flags;             /* FERRY_OP_... */
    const char       *domain;            /* "com.example"; "" is ONNX's own. An operator of a built-in name and domain replaces that one */
    const char       *name;
    const char       *doc;               /* one line, or NULL */
    const ferry_attr *attrs;             /* nattrs of them */
    uint32_t          nattrs;
    int32_t           min_in, max_in;    /* inputs that must be there, and at most (-1: any number). Later ones may be left out */
    int32_t           min_out, max_out;
    /* Allowed dtypes by their short names, or NULL: any. "T=f32,f64;I=i32,i64|T,I,...|T": lists of dtypes ("*": all), then one entry for
     * each input, then for each output. An entry is a list's name (one dtype for all its places in a node) or a dtype or "*"; "..."
     * repeats the one before it. */
    const char       *types;
    /* Says the outputs' types as far as they follow from the inputs'; NULL: nothing is known of them. Called when a model is opened
     * (sizes may be unknown or symbols) and before each run (all sizes known). It should not fail where something is unknown. */
    int             (*infer)(const ferry_plugin_api *f, ferry_node *n);
    int             (*run)(const ferry_plugin_api *f, ferry_node *n);
    void             *user;              /* for f->user */
} ferry_op;

/* ---- what callbacks call ------------------------------------------------------------------------------------------- */

/* Functions that return int give 0, or not 0 after a failure (the callback then returns not 0 as well). Inputs, outputs and axes count
 * from 0; those that are not there are answered as "absent" or "unknown", never with undefined behaviour. */
struct ferry_plugin_api {
    uint32_t    size;                    /* sizeof(ferry_plugin_api) of the ferry that runs: what lies beyond is not there */
    uint32_t    abi;                     /* FERRY_PLUGIN_ABI of the ferry that runs */
    const char *version;                 /* ferry_version() */

    /* Adds an operator. The struct and what it points to, but for `user` and the callbacks, are copied. */
    int         (*add)(ferry_registry *r, const ferry_op *op, ferry_error *e);

    void       *(*user)(const ferry_node *n);
    /* Fails: returns 1. `code` is one of `ferry explain`'s ("SHAPE", "VALUE", "ATTR", "TYPE", "INDEX", "LIMIT", "UNSUPPORTED"); others: "VALUE". */
    int         (*fail)(ferry_node *n, const char *code, const char *message);

    /* Attributes, with their defaults. 1: *v is set; 0: not set, and no default, or of another kind. */
    int         (*attr_int)(const ferry_node *n, const char *name, int64_t *v);
    int         (*attr_float)(const ferry_node *n, const char *name, double *v);
    int         (*attr_string)(const ferry_node *n, const char *name, const char **at, size_t *length);       /* no 0 at the end */
    int         (*attr_ints)(const ferry_node *n, const char *name, const int64_t **at, size_t *count);
    int         (*attr_floats)(const ferry_node *n, const char *name, const double **at, size_t *count);
    int         (*attr_strings)(const ferry_node *n, const char *name, size_t i, const char **at, size_t *length);    /* 0 past the end */
    int         (*attr_tensor)(ferry_node *n, const char *name, ferry_tensor *t);

    size_t      (*inputs)(const ferry_node *n);
    size_t      (*outputs)(const ferry_node *n);
    int         (*has_input)(const ferry_node *n, size_t i);                      /* is the optional input there? */
    int         (*wants_output)(const ferry_node *n, size_t i);

    /* What is known of an input. */
    int32_t     (*dtype)(const ferry_node *n, size_t i);                          /* ferry_dtype; 0 unknown */
    int32_t     (*rank)(const ferry_node *n, size_t i);                           /* -1 unknown */
    int64_t     (*dim)(const ferry_node *n, size_t i, int32_t axis);              /* -1: not a known number. A negative axis counts from the end */
    const char *(*dim_text)(ferry_node *n, size_t i, int32_t axis);               /* "3", "batch", "2*seq+1"; NULL unknown */
    /* The values of a small integer input, where they are known: how many (at most `room` are stored), or -1. */
    int64_t     (*values)(ferry_node *n, size_t i, int64_t *at, size_t room);

    /* Inference only: types of outputs. set_type leaves all sizes unknown; the others then say single ones. */
    int         (*set_like)(ferry_node *n, size_t out, size_t in);                /* dtype and sizes of an input, symbols included */
    int         (*set_type)(ferry_node *n, size_t out, int32_t dtype, int32_t rank);      /* rank -1: unknown */
    int         (*set_dim)(ferry_node *n, size_t out, int32_t axis, int64_t size);
    int         (*set_dim_like)(ferry_node *n, size_t out, int32_t axis, size_t in, int32_t in_axis);
    int         (*set_dim_text)(ferry_node *n, size_t out, int32_t axis, const char *text);       /* "2*batch", from dim_text's words */

    /* Running only. Views are dense and row-major. int4, int2 and float4 take one byte an element. Strings have no views: get_string, put_string. */
    int         (*input)(ferry_node *n, size_t i, ferry_tensor *t);               /* data NULL and dtype 0 where it is left out */
    /* Output i, zeroed. Its dtype and sizes are those of inference, if that knows them; else `shape` gives it both first. */
    int         (*output)(ferry_node *n, size_t i, ferry_tensor *t);
    int         (*shape)(ferry_node *n, size_t i, int32_t dtype, int32_t rank, const int64_t *dim);
    int         (*get_string)(ferry_node *n, size_t in, int64_t k, const char **at, size_t *length);
    int         (*put_string)(ferry_node *n, size_t out, int64_t k, const char *at, size_t length);  /* copied */
    void       *(*scratch)(ferry_node *n, size_t bytes);                          /* zeroed, freed after the call; NULL: out of memory, and failed */
    /* fn(arg, begin, end) for pieces of [0, n), each at most `grain` long, by any thread; returns when all are done. */
    void        (*parallel)(ferry_node *n, int64_t count, int64_t grain, void (*fn)(void *arg, int64_t begin, int64_t end), void *arg);
    int         (*stopped)(const ferry_node *n);                                  /* 1: nobody waits for the result any more; long loops return then */
};

/* ---- the entry of a shared object ---------------------------------------------------------------------------------- */

#ifdef __cplusplus
#define FERRY_PLUGIN_EXTERN extern "C"
#else
#define FERRY_PLUGIN_EXTERN extern
#endif

/* FERRY_PLUGIN(api, registry, error) { ... return 0; }: registers operators with api->add; not 0 when that failed. ferry looks at the ABI that
 * the object was built for before it calls. */
#define FERRY_PLUGIN(api, registry, error) \
    FERRY_PLUGIN_EXTERN FERRY_API uint32_t ferry_plugin_abi(void); \
    uint32_t ferry_plugin_abi(void) { return FERRY_PLUGIN_ABI; } \
    FERRY_PLUGIN_EXTERN FERRY_API int ferry_plugin(const ferry_plugin_api *api, ferry_registry *registry, ferry_error *error); \
    int ferry_plugin(const ferry_plugin_api *api, ferry_registry *registry, ferry_error *error)

/* FERRY_PLUGIN_MAPPINGS("mylib::gelu2(Tensor x, float alpha=1.0) -> com.mylib.Gelu2(x) {alpha = alpha}\n"): what operators of torch.library are,
 * for `ferry export --plugin`, in the words of docs/plugins.md. A plugin with mappings need not register operators. */
#define FERRY_PLUGIN_MAPPINGS(text) \
    FERRY_PLUGIN_EXTERN FERRY_API const char *ferry_plugin_mappings(void); \
    const char *ferry_plugin_mappings(void) { return text; }

/* ---- for programs (these are functions of libferry; plugins do not call them) ------------------------------------------ */

/* An empty list of operators; NULL: NOMEM. Belongs to one thread until a model is opened with it; then it does not change any more. */
FERRY_API ferry_registry *ferry_registry_new(ferry_error *e);
/* Adds an operator: USAGE for a description that cannot be (its size, names, arity, attributes, types, no run), for one that is there already,
 * and once a model was opened with the registry. 0 or a ferry_kind. */
FERRY_API int             ferry_registry_add(ferry_registry *r, const ferry_op *op, ferry_error *e);
/* Adds the operators of a shared object, or the mappings of a text (docs/plugins.md): NOFILE, FORMAT (no plugin, or one for another ABI), or what it failed with. */
FERRY_API int             ferry_registry_load(ferry_registry *r, const char *path, ferry_error *e);
FERRY_API size_t          ferry_registry_count(const ferry_registry *r);
/* The caller's hold of it; models that were opened with it keep their own. NULL is fine. */
FERRY_API void            ferry_registry_free(ferry_registry *r);

/* ferry_open and ferry_open_memory for models with these operators. `r` may be NULL. The word plugin=PATH in `options` does the same for
 * a shared object, and may be repeated; with both, its operators come before those of `r`. */
FERRY_API ferry_model *ferry_open_with(const char *path, const char *options, ferry_registry *r, ferry_error *e);
FERRY_API ferry_model *ferry_open_memory_with(const void *data, size_t bytes, const char *options, ferry_registry *r, ferry_error *e);

#ifdef __cplusplus
}
#endif
#endif
