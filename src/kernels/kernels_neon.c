/* SPDX-License-Identifier: Apache-2.0
 * kernels_neon.c - the bodies compiled for neon. */
#include "kernels/kernels.h"

#ifdef __aarch64__
#include "kernels/simd/neon.h"
#include "kernels/simd/int8_neon.h"

#include "kernels/body/all.h"
#endif
