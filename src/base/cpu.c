/* SPDX-License-Identifier: Apache-2.0
 * cpu.c - asks the CPU and the system what they support. Source: Intel SDM volume 2 (CPUID), volume 1, 13.3 (XGETBV). */
#define _GNU_SOURCE 1                      /* syscall */
#include "base/cpu.h"

#include "base/knobs.h"

#include <stdatomic.h>
#include <string.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <cpuid.h>

/* Linux wants to be asked, once for a process and the threads that it starts, before it saves the 8 KiB of the tiles with each of them. Source:
 * Documentation/arch/x86/xstate.rst. */
static bool may_use_tiles(void) {
#ifdef __linux__
    enum { ASK = 0x1023, TILES = 18 };
    return syscall(SYS_arch_prctl, ASK, TILES) == 0;
#else
    return false;
#endif
}

fy_isa fy_cpu_has(void) {
    unsigned a, b, c, d, lo, hi;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return FY_ISA_GENERIC;
    const unsigned need = 1u << 12 | 1u << 27 | 1u << 28 | 1u << 29;     /* FMA, OSXSAVE, AVX, F16C */
    if ((c & need) != need) return FY_ISA_GENERIC;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    if ((lo & 6u) != 6u) return FY_ISA_GENERIC;                          /* the system saves xmm and ymm */
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & 1u << 5)) return FY_ISA_GENERIC;
    const unsigned wide = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;     /* AVX-512 F, DQ, BW, VL */
    if ((lo & 0xe6u) != 0xe6u || (b & wide) != wide) return FY_ISA_AVX2; /* the system saves zmm and mask registers as well */
    if (!(c & 1u << 11)) return FY_ISA_AVX512;
    const unsigned tiles = 1u << 22 | 1u << 24 | 1u << 25;               /* AMX of bfloat16, tiles, AMX of bytes */
    const bool amx = (d & tiles) == tiles && (lo & 0x60000u) == 0x60000u;
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a & 1u << 5)) return FY_ISA_AVX512_VNNI;
    return amx && may_use_tiles() ? FY_ISA_AMX : FY_ISA_AVX512_BF16;
}

static bool dot_is_fast(void) {
    unsigned a, b, c, d;
    return __get_cpuid(0, &a, &b, &c, &d) && b == 0x68747541u && d == 0x69746e65u && c == 0x444d4163u;       /* AuthenticAMD */
}

void fy_cpu_name(char name[64]) {
    unsigned r[12];
    memset(name, 0, 64);
    for (unsigned i = 0; i < 3; i++)
        if (!__get_cpuid(0x80000002u + i, &r[4 * i], &r[4 * i + 1], &r[4 * i + 2], &r[4 * i + 3])) {
            memcpy(name, "unknown", 8);
            return;
        }
    memcpy(name, r, sizeof r);
    for (size_t n = strlen(name); n && name[n - 1] == ' '; n--) name[n - 1] = 0;
}
#else
#ifdef __aarch64__
fy_isa fy_cpu_has(void) { return FY_ISA_NEON; }          /* part of the architecture */
#else
fy_isa fy_cpu_has(void) { return FY_ISA_GENERIC; }
#endif

static bool dot_is_fast(void) { return false; }

void fy_cpu_name(char name[64]) { memcpy(name, "unknown", 8); }
#endif

static const char *const names[FY_ISA_COUNT] = { "generic", "neon", "avx2", "avx512", "avx512vnni", "avx512bf16", "amx" };

const char *fy_isa_name(fy_isa isa) { return (unsigned)isa < FY_ISA_COUNT ? names[isa] : "?"; }

bool fy_isa_find(const char *name, fy_isa *isa) {
    for (int i = 0; i < FY_ISA_COUNT; i++)
        if (strcmp(names[i], name) == 0) {
            *isa = (fy_isa)i;
            return true;
        }
    return false;
}

fy_isa fy_cpu_isa(void) {
    static _Atomic int kept = -1;
    int isa = atomic_load_explicit(&kept, memory_order_relaxed);
    if (isa < 0) {
        fy_isa limit;
        isa = (int)fy_cpu_has();
        if (fy_isa_find(fy_knob_str("FERRY_CPU"), &limit) && (int)limit < isa) isa = (int)limit;
        atomic_store_explicit(&kept, isa, memory_order_relaxed);
    }
    return (fy_isa)isa;
}

bool fy_cpu_bf16_pays(void) {
    fy_isa asked;
    return fy_cpu_isa() >= FY_ISA_AMX || (fy_cpu_isa() == FY_ISA_AVX512_BF16 && (dot_is_fast() || (fy_isa_find(fy_knob_str("FERRY_CPU"), &asked) && asked == FY_ISA_AVX512_BF16)));
}
