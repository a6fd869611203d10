/* SPDX-License-Identifier: Apache-2.0
 * kernels_generic.c - the bodies compiled for generic. */
#include "kernels/kernels.h"

#define FV_LANES 16
#include "kernels/simd/generic.h"

#include "kernels/simd/int8_generic.h"

#include "kernels/body/all.h"

