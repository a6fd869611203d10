/* SPDX-License-Identifier: Apache-2.0
 * kernels_avx2.c - the bodies compiled for avx2. */
#include "kernels/kernels.h"

#if defined(__AVX2__) && defined(__FMA__)
#include "kernels/simd/avx2.h"

#include "kernels/simd/int8_avx2.h"

#include "kernels/body/all.h"
#endif
