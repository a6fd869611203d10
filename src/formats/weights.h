/* SPDX-License-Identifier: Apache-2.0
 * weights.h - files that hold weights and no program: .safetensors (one file, or several with an index), checkpoints of torch.save (the zip
 * of PyTorch 1.6 and newer, the raw pickles of older ones), and modules pickled whole, whose attributes are walked as data. */
#ifndef FY_WEIGHTS_H
#define FY_WEIGHTS_H

#include "base/file.h"
#include "formats/json.h"
#include "ir/constant.h"
#include "ir/graph.h"

typedef struct fy_weight {
    const char     *name;                /* as in PyTorch: "layer1.0.conv1.weight" */
    const fy_const *data;                /* in place in the mapped file */
    int64_t         tied;                /* number of the first weight that is the same view of the same bytes, or -1 */
    bool            buffer;              /* known to be no parameter */
} fy_weight;

/* A place in a checkpoint that holds tensors: "" is the outermost dict, "model", "ema.state_dict" ... */
typedef struct fy_weight_section { const char *path, *type; int64_t n, bytes; } fy_weight_section;

typedef struct fy_weights {
    fy_arena        arena;
    const char     *format;              /* "safetensors", "a checkpoint of torch.save" ... */
    FY_VEC(fy_weight) at;                /* in the order of the file */
    fy_map          by_name;             /* name -> number + 1 */
    FY_VEC(fy_pair) meta;                /* __metadata__; plain values of a checkpoint ("epoch") */
    FY_VEC(fy_weight_section) section;   /* checkpoints: all of them; the first is the one that `at` holds */
    FY_VEC(fy_map_file *) file;          /* the file itself first, then the shards of an index */
} fy_weights;

/* Is the file one of these, by its first bytes? An index is told by its name, "...index.json". */
bool fy_weights_is(const void *data, size_t n, const char *path);
/* `section` NULL: the outermost one that has tensors, by the usual names first ("state_dict", "model" ...); NAME if there is none such. On failure
 * nothing is to be freed. */
FY_CHECKED fy_status fy_weights_open(fy_weights *w, const char *path, const char *section, ferry_error *e);
/* The same for bytes in memory that outlive *w; no index. */
FY_CHECKED fy_status fy_weights_memory(fy_weights *w, const void *data, size_t n, const char *section, ferry_error *e);
void fy_weights_free(fy_weights *w);
const fy_weight *fy_weights_find(const fy_weights *w, const char *name);          /* NULL if absent */
/* Adds one under a name of the arena, or puts it in the place of the one with that name. */
FY_CHECKED fy_status fy_weights_add(fy_weights *w, const char *name, const fy_const *c, ferry_error *e);
FY_CHECKED fy_status fy_weights_tie(fy_weights *w, ferry_error *e);               /* fills in `tied` */

/* safetensors.c, checkpoint.c */
bool fy_safetensors_is(const void *data, size_t n);
FY_CHECKED fy_status fy_safetensors_read(fy_weights *w, const unsigned char *data, size_t n, ferry_error *e);
FY_CHECKED fy_status fy_checkpoint_read(fy_weights *w, const unsigned char *data, size_t n, const char *section, ferry_error *e);

/* Writes all weights beside the target, then renames; memory does not depend on their size. Large elements first, then by name, as the reference
 * implementation does: the same weights give the same bytes. `once`: of tied weights the first alone, the others are named in __metadata__.
 * TYPE for an element type that the format lacks. */
FY_CHECKED fy_status fy_safetensors_write(const fy_weights *w, const char *path, bool once, int64_t *bytes, ferry_error *e);

#endif
