/* SPDX-License-Identifier: Apache-2.0
 * control.h - what operators with graphs of their own share for inference. Such an operator has FY_CONTROL: its inference is not run
 * again before its kernel, which checks shapes and allocates outputs itself. */
#ifndef FY_OPS_CONTROL_H
#define FY_OPS_CONTROL_H

#include "ops/common.h"
#include "ops/ops.h"

/* Sets the type of a body's input; its contents are not known. */
void fy_body_type(fy_value *v, const fy_type *t);
/* Forgets what was inferred in a graph, so that it can be inferred anew from other types. Bodies inside reset themselves. */
void fy_body_forget(fy_graph *g);

#endif
