/* SPDX-License-Identifier: Apache-2.0
 * test.h - what every test includes: cmocka with the headers that it wants before it, and a check for our statuses. */
#ifndef FY_TEST_H
#define FY_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/status.h"

/* assert_ok(f(..., &e), e) prints the error on failure. */
#define assert_ok(call, e) do { fy_status s_ = (call); \
    if (s_ != FY_OK) { print_error("%s: error[%s]: %s\n", #call, (e).code, (e).text); \
        for (int f_ = 0; f_ < (e).nframes; f_++) print_error("  %s\n", (e).frame[f_]); } \
    assert_int_equal(s_, FY_OK); } while (0)
#define assert_fails(call, wanted) assert_int_equal((call), FY_E_##wanted)

#endif
