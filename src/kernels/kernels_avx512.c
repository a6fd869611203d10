/* SPDX-License-Identifier: Apache-2.0
 * kernels_avx512.c - the bodies compiled for avx512. */
#include "kernels/kernels.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#include "kernels/simd/avx512.h"

#include "kernels/simd/int8_avx512.h"

#include "kernels/body/all.h"
#endif
