/* SPDX-License-Identifier: Apache-2.0
 * compiler.h - the only place for compiler extensions. */
#ifndef FY_COMPILER_H
#define FY_COMPILER_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__) || defined(__clang__)
#define FY_PRINTF(f, a)   __attribute__((format(printf, f, a)))
#define FY_WARN_UNUSED    __attribute__((warn_unused_result))
#define FY_UNUSED         __attribute__((unused))
#define FY_NOINLINE       __attribute__((noinline))
#define FY_COLD           __attribute__((cold))         /* in a file of loops: not one, and seldom called. Small code */
#define FY_INLINE         static inline __attribute__((always_inline))
#define FY_LIKELY(x)      __builtin_expect(!!(x), 1)
#define FY_KEEP(x)        __asm__("" : "+r"(x))         /* the compiler is to know nothing of the value of x, a pointer or number in a register */
#else
#define FY_PRINTF(f, a)
#define FY_WARN_UNUSED
#define FY_UNUSED
#define FY_NOINLINE
#define FY_COLD
#define FY_INLINE         static inline
#define FY_LIKELY(x)      (x)
#define FY_KEEP(x)        ((void)0)
#endif

/* For defects of our own only: anything that a file, flag or allocation can cause returns a status instead. */
#define FY_ASSERT(cond) assert(cond)

#define FY_COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

#endif
