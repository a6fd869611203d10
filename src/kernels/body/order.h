/* SPDX-License-Identifier: Apache-2.0
 * order.h - maximum and minimum with NaN (body). */

/* NumPy's maximum and minimum: NaN wins. */
FY_INLINE fv fv_nan_max(fv a, fv b) { return fv_select(fv_isnan(a), a, fv_max(a, b)); }
FY_INLINE fv fv_nan_min(fv a, fv b) { return fv_select(fv_isnan(a), a, fv_min(a, b)); }
