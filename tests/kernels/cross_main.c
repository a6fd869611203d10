/* SPDX-License-Identifier: Apache-2.0
 * cross_main.c - the checker of the kernels as a program of its own, for machines that we only reach by emulation (tests/kernels/cross.sh). */
#include "check/kernels.h"

#include <stdio.h>

int main(void) {
    ferry_error e = {0};
    fy_report  *r = fy_report_new(&e);
    if (!r) return 2;
    fy_status s = fy_kernels_report(r, &(fy_kernel_options){.stride = 65537}, &e);
    if (s) fprintf(stderr, "%s\n", e.text);
    else fputs(r->text.at ? r->text.at : "", stdout);
    int rc = s ? 2 : r->verdict == FERRY_OK ? 0 : 1;
    fy_report_free(r);
    return rc;
}
