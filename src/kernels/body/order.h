/* SPDX-License-Identifier: Apache-2.0
 * order.h - maximum and minimum with NaN (body). */
#include "kernels/body/called.h"

/* NumPy's maximum and minimum: NaN wins. */
FV_CALLED fv fv_nan_max(fv a, fv b) { return fv_select(fv_isnan(a), a, fv_max(a, b)); }
FV_CALLED fv fv_nan_min(fv a, fv b) { return fv_select(fv_isnan(a), a, fv_min(a, b)); }
