/* SPDX-License-Identifier: Apache-2.0
 * view.c - operators whose result is their first input seen with other sizes: no data moves. */
#include "engines/cpu/cpu.h"

#define VIEW(var, Op) static const fy_impl var = {.op = Op, .name = "view", .flags = FY_IMPL_ALIAS};
VIEW(identity, "Identity")
VIEW(reshape, "Reshape")
VIEW(flatten, "Flatten")
VIEW(squeeze, "Squeeze")
VIEW(unsqueeze, "Unsqueeze")

const fy_impl *const fy_cpu_view[] = {&identity, &reshape, &flatten, &squeeze, &unsqueeze, NULL};
