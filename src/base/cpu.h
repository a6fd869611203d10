/* SPDX-License-Identifier: Apache-2.0
 * cpu.h - which instruction set to use. */
#ifndef FY_CPU_H
#define FY_CPU_H

#include "base/compiler.h"

/* Each level of x86-64 includes those before it, NEON aside, which is that of AArch64. AVX2 means AVX2, FMA and F16C, and that the system saves
 * the wide registers; AVX512 means F, BW, DQ, VL; VNNI the dot products of 8-bit integers, BF16 those of bfloat16; AMX the tiles of both, and that the system
 * lets this process use them. */
typedef enum fy_isa { FY_ISA_GENERIC, FY_ISA_NEON, FY_ISA_AVX2, FY_ISA_AVX512, FY_ISA_AVX512_VNNI, FY_ISA_AVX512_BF16, FY_ISA_AMX, FY_ISA_COUNT } fy_isa;

fy_isa      fy_cpu_has(void);                                /* what the CPU can do */
fy_isa      fy_cpu_isa(void);                                /* the same, narrowed by FERRY_CPU; asked once a process */
const char *fy_isa_name(fy_isa isa);
bool        fy_isa_find(const char *name, fy_isa *isa);      /* false: no such name */

/* Do dot products of bfloat16 do more than FMAs of f32? By their makers' figures AMD's (Zen 4 on) twice as much; Intel's, in CPUs that have AMX
 * for it, half as much: there they are used only where FERRY_CPU asks for that level by name. Tiles of AMX always do. */
bool fy_cpu_bf16_pays(void);

/* The maker's name of the CPU, or "unknown". */
void fy_cpu_name(char name[64]);

#endif
