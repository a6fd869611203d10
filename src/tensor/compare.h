/* SPDX-License-Identifier: Apache-2.0
 * compare.h - how far two tensors are apart. */
#ifndef FY_COMPARE_H
#define FY_COMPARE_H

#include "tensor/tensor.h"

typedef struct fy_diff {
    bool    dtype_differs, shape_differs;
    int64_t count, differing;            /* elements; those not equal */
    int64_t nan_differs, inf_differs;    /* NaN (infinity) on one side only */
    double  max_abs, max_rel, rms, cosine, snr_db;    /* over finite pairs; snr_db is inf when equal */
    double  ref_range;                   /* max - min of the finite reference values */
    int64_t worst;                       /* row-major index of the first NaN or infinity on one side only,
                                            else of max_abs; -1 if none */
    double  worst_got, worst_ref;
} fy_diff;

/* `ref` is what is right. Dtypes may differ in width within one class when `any_dtype`. */
void fy_compare(fy_diff *d, const fy_tensor *got, const fy_tensor *ref, bool any_dtype);

#endif
