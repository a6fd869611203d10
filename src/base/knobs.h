/* SPDX-License-Identifier: Apache-2.0
 * knobs.h - settings from the environment, by the list in knobs.def. The only place that reads the environment. */
#ifndef FY_KNOBS_H
#define FY_KNOBS_H

#include "base/compiler.h"

typedef struct fy_knob { const char *name, *fallback, *text; } fy_knob;
const fy_knob *fy_knobs(int *n);
const char    *fy_knob_str(const char *name);                /* value, else default; never NULL for a listed name */
int64_t        fy_knob_int(const char *name);                /* value if it is a whole number, else the default's */

#endif
