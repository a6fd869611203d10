/* SPDX-License-Identifier: Apache-2.0
 * torch.h - an installed PyTorch as the reference: runs the .pt2 in a Python process ($FERRY_PYTHON, else python3) on seeded
 * inputs and compares. The one place where ferry starts another program. */
#ifndef FY_VERIFY_TORCH_H
#define FY_VERIFY_TORCH_H

#include "verify/verify.h"

/* ENGINE if there is no such Python, it has no torch, or the program cannot be run there. */
FY_CHECKED fy_status fy_verify_torch(fy_verify_report *r, const fy_model *m, const fy_program *p, const char *path, const fy_verify_options *o, ferry_error *e);

#endif
