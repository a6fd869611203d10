/* SPDX-License-Identifier: Apache-2.0
 * loops_generic.c - the loops compiled for generic. */
#define ISA generic
#include "kernels/body/loops.h"
