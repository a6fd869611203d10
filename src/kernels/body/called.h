/* SPDX-License-Identifier: Apache-2.0
 * called.h - what is inlined where a vector is a register, and called where it is sixteen numbers in memory (body). */
#ifndef FV_CALLED
#define FV_CALLED FY_INLINE
#endif
