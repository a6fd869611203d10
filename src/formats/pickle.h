/* SPDX-License-Identifier: Apache-2.0
 * pickle.h - what torch.save writes, read as data by a closed list of opcodes and globals; nothing is ever called.
 *
 * Any other opcode or global is a PICKLE error that names it: no fallback. Containers may be shared (and, in a hostile
 * file, cyclic), so whoever walks the tree bounds depth and count. */
#ifndef FY_PICKLE_H
#define FY_PICKLE_H

#include "formats/zip.h"
#include "ir/constant.h"

typedef enum fy_pickle_kind {
    FY_PK_NONE, FY_PK_BOOL, FY_PK_INT, FY_PK_FLOAT, FY_PK_STR, FY_PK_TUPLE, FY_PK_LIST, FY_PK_DICT,
    FY_PK_TENSOR,                        /* a view of a storage */
    FY_PK_OBJECT,                        /* an instance of a class, never made: see fy_pickle_parse_objects and fy_script_open */
    FY_PK_GLOBAL,                        /* a name of the list: "torch FloatStorage" */
    FY_PK_STORAGE,
    FY_PK_MARK                           /* inside the machine only */
} fy_pickle_kind;

typedef struct fy_pickled fy_pickled;
struct fy_pickled {
    fy_pickle_kind kind;
    int64_t        i;                    /* INT, BOOL; TENSOR: offset in elements; STORAGE: number of elements */
    double         f;
    const char    *s;                    /* STR, GLOBAL, OBJECT (module, blank, name); STORAGE: key */
    size_t         n_s;
    FY_VEC(fy_pickled *) item;           /* TUPLE, LIST; DICT: key, value, key, value ...; OBJECT: arguments, state, then as a dict */
    fy_dtype       dtype;                /* TENSOR; STORAGE (0: untyped, bytes) */
    int            rank;                 /* TENSOR */
    const int64_t *dim, *stride;
    const fy_pickled *storage;
    const fy_pickled *quant;             /* TENSOR: a tuple of scheme, scale, zero point and, by channels, axis; NULL: not quantised */
};

/* Parses data.pkl; `items` of containers are freed with fy_pickle_free, the rest lives in `a`. */
typedef struct fy_pickle { fy_pickled *root; FY_VEC(fy_pickled *) owners; } fy_pickle;
FY_CHECKED fy_status fy_pickle_parse(fy_pickle *p, fy_arena *a, const void *data, size_t n, ferry_error *e);
/* The same for whole objects (a pickled nn.Module, a checkpoint with the arguments of its script): instances become FY_PK_OBJECT, their class a
 * name and their attributes data. Names that run code, and calls of anything that is not on the list, are PICKLE all the same. `used` not NULL:
 * what follows STOP is no fault, and the bytes up to it are counted there. */
FY_CHECKED fy_status fy_pickle_parse_objects(fy_pickle *p, fy_arena *a, const void *data, size_t n, size_t *used, ferry_error *e);
void fy_pickle_free(fy_pickle *p);
const fy_pickled *fy_pickled_get(const fy_pickled *dict, const char *key);   /* NULL if absent, or not a dict */

/* A zip that torch.save wrote (a file, or an entry of another archive). */
typedef struct fy_torch_file { fy_zip zip; fy_pickle pickle; const char *root, *folder /* of the storages; NULL: "data" */; bool big_endian; } fy_torch_file;
FY_CHECKED fy_status fy_torch_open(fy_torch_file *t, fy_arena *a, const void *data, size_t n, ferry_error *e);
FY_CHECKED fy_status fy_torch_open_objects(fy_torch_file *t, fy_arena *a, const void *data, size_t n, ferry_error *e);     /* fy_pickle_parse_objects */
void fy_torch_close(fy_torch_file *t);
/* One of the pickles of a TorchScript archive: <root>/<stem>.pkl with its storages in <root>/<stem>/. Objects of classes of `__torch__` are
 * records of attributes. The archive stays the caller's: only t->pickle is to be freed. */
FY_CHECKED fy_status fy_script_open(fy_torch_file *t, fy_arena *a, const fy_zip *zip, const char *root, const char *stem, ferry_error *e);
/* A tensor of it as a constant in `a`; zero-copy. `what` names it in errors. */
FY_CHECKED fy_status fy_torch_const(const fy_const **c, fy_torch_file *t, fy_arena *a, const fy_pickled *tensor, const char *what,
                                    ferry_error *e);
/* The same for raw storage bytes: checks that the view stays inside. */
FY_CHECKED fy_status fy_view_const(const fy_const **c, fy_arena *a, fy_dtype dtype, int rank, const int64_t *dim, const int64_t *stride,
                                   int64_t offset, const void *storage, size_t bytes, const char *what, ferry_error *e);

#endif
