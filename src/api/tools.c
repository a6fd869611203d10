/* SPDX-License-Identifier: Apache-2.0
 * tools.c - ferry/tools.h: small things for programs around the library. */
#include "api/api.h"
#include "base/cpu.h"
#include "base/knobs.h"
#include "ferry/tools.h"

#include <math.h>

#define TEXT_OF(x) #x
#define FERRY_TEXT(x) TEXT_OF(x)

const char *ferry_nearest(const char *word, const char *const *names, size_t n) { return fy_nearest(word, names, (int)n); }

int ferry_knob_at(size_t i, ferry_knob *k) {
    int n;
    const fy_knob *all = fy_knobs(&n);
    if (i >= (size_t)n) return 0;
    *k = (ferry_knob){all[i].name, fy_knob_str(all[i].name), all[i].fallback, all[i].text};
    return 1;
}

const char *ferry_build_info(void) {
    return "opset " FERRY_TEXT(FY_CANONICAL_OPSET) "\nparts: run export verify\nlicence: Apache-2.0\n";
}

const char *ferry_cpu(void) { return fy_isa_name(fy_cpu_isa()); }

double ferry_tensor_at(const ferry_tensor *t, int64_t i) {
    fy_tensor v = fy_tensor_view((fy_dtype)t->dtype, t->rank, t->dim, t->data);
    return fy_get_f64(&v, i);
}

int ferry_tensor_stats(const ferry_tensor *t, ferry_stats *s) {
    fy_class c = fy_dtype_class((fy_dtype)t->dtype);
    if (c == FY_CLASS_NONE || c == FY_CLASS_S || c == FY_CLASS_C) return FERRY_USAGE;
    fy_tensor v = fy_tensor_view((fy_dtype)t->dtype, t->rank, t->dim, t->data);
    double sum = 0, square = 0;
    int64_t used = 0;
    *s = (ferry_stats){.min = (double)INFINITY, .max = -(double)INFINITY, .count = fy_count(&v)};
    for (int64_t i = 0; i < s->count; i++) {
        double x = fy_get_f64(&v, i);
        if (isnan(x)) { s->nan++; continue; }
        if (isinf(x)) { s->inf++; continue; }
        sum += x;
        square += x * x;
        s->min = fmin(s->min, x);
        s->max = fmax(s->max, x);
        used++;
    }
    s->mean = used ? sum / (double)used : (double)NAN;
    s->std = used ? sqrt(fmax(square / (double)used - s->mean * s->mean, 0)) : (double)NAN;
    return FERRY_OK;
}
