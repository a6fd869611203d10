/* SPDX-License-Identifier: Apache-2.0
 * npz.h - NumPy's .npy and .npz. */
#ifndef FY_NPZ_H
#define FY_NPZ_H

#include "tensor/tensor.h"

typedef struct fy_named { char *name; fy_tensor t; } fy_named;
typedef struct fy_named_list { fy_named *at; int64_t n, cap; } fy_named_list;
void fy_named_free(fy_named_list *l);
FY_CHECKED fy_status fy_named_add(fy_named_list *l, const char *name, const fy_tensor *t, ferry_error *e);   /* one more reference */
fy_tensor *fy_named_find(const fy_named_list *l, const char *name);

/* Stored or deflated members; object arrays (pickles) are refused. Either byte order, C or Fortran order. */
FY_CHECKED fy_status fy_npz_read(fy_named_list *l, const char *path, ferry_error *e);
FY_CHECKED fy_status fy_npz_write(const fy_named_list *l, const char *path, ferry_error *e);
FY_CHECKED fy_status fy_npy_read(fy_tensor *t, const char *path, ferry_error *e);
FY_CHECKED fy_status fy_npy_read_memory(fy_tensor *t, const void *data, size_t n, const char *name, ferry_error *e);
FY_CHECKED fy_status fy_npy_write(const fy_tensor *t, const char *path, ferry_error *e);

#endif
