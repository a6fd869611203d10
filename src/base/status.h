/* SPDX-License-Identifier: Apache-2.0
 * status.h - how a failure travels: a code returned, the words in the caller's ferry_error.
 *
 * A fallible function takes `ferry_error *e` last (it may be NULL) and returns fy_status. The function that finds the
 * fault writes one short sentence (fy_fail, FY_NEED); each loop above it adds one frame (fy_frame): node, pass, file. */
#ifndef FY_STATUS_H
#define FY_STATUS_H

#include "base/compiler.h"
#include "ferry/run.h"

typedef enum fy_code {
    FY_OK = 0,
#define ERROR(code, kind, text, help) FY_E_##code,
#include "base/errors.def"
#undef ERROR
    FY_CODE_COUNT
} fy_code;

/* A status is a code whose loss the compiler reports. */
typedef fy_code fy_status;
#define FY_CHECKED FY_WARN_UNUSED

typedef struct fy_code_info { const char *name, *text, *help; ferry_kind kind; } fy_code_info;
const fy_code_info *fy_code_get(fy_code code);              /* never NULL */
fy_code             fy_code_find(const char *name);         /* FY_OK if there is none */

/* Writes the error and returns `code`. Clears earlier frames. */
fy_status fy_fail(ferry_error *e, fy_code code, const char *fmt, ...) FY_PRINTF(3, 4);
/* NOMEM, in one word: hundreds of places say it. */
fy_status fy_nomem(ferry_error *e);
/* Adds what the user should do next. Returns `s`, so that it can end a return statement. */
fy_status fy_help(ferry_error *e, fy_status s, const char *fmt, ...) FY_PRINTF(3, 4);
/* Adds one line of context ("node 212 ..."), innermost first. Returns `s`. */
fy_status fy_frame(ferry_error *e, fy_status s, const char *fmt, ...) FY_PRINTF(3, 4);
void      fy_error_clear(ferry_error *e);

#define FY_TRY(call) do { fy_status fy_s_ = (call); if (fy_s_ != FY_OK) return fy_s_; } while (0)
/* FY_NEED(e, rank == 4, RANK, "rank is %d", rank); */
#define FY_NEED(e, cond, code, ...) do { if (!(cond)) return fy_fail(e, FY_E_##code, __VA_ARGS__); } while (0)
#define FY_NOMEM(e, ...) do { if (!(__VA_ARGS__)) return fy_nomem(e); } while (0)

#endif
