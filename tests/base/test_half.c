/* SPDX-License-Identifier: Apache-2.0
 * test_half.c - every code of every small float against the definition; every rounding boundary. */
#include "test.h"

#include <math.h>

#include "base/half.h"

/* sign, `ebits` of exponent with `bias`, `mbits` of fraction */
typedef struct format { const char *name; int32_t dtype; int bits, ebits, mbits, bias; unsigned max, inf, nan; bool one_zero; } format;
static const format formats[] = {
    { "half",      FERRY_FLOAT16,        16, 5, 10, 15,  0x7BFF, 0x7C00, 0x7E00, false },
    { "bfloat16",  FERRY_BFLOAT16,       16, 8, 7,  127, 0x7F7F, 0x7F80, 0x7FC0, false },
    { "e4m3fn",    FERRY_FLOAT8E4M3FN,   8,  4, 3,  7,   0x7E,   0,      0x7F,   false },
    { "e4m3fnuz",  FERRY_FLOAT8E4M3FNUZ, 8,  4, 3,  8,   0x7F,   0,      0x80,   true },
    { "e5m2",      FERRY_FLOAT8E5M2,     8,  5, 2,  15,  0x7B,   0x7C,   0x7F,   false },
    { "e5m2fnuz",  FERRY_FLOAT8E5M2FNUZ, 8,  5, 2,  16,  0x7F,   0,      0x80,   true },
    { "e2m1",      FERRY_FLOAT4E2M1,     4,  2, 1,  1,   7,      0,      0,      false },
    { "e2m3",      FERRY_FLOAT6E2M3,     6,  2, 3,  1,   31,     0,      0,      false },
    { "e3m2",      FERRY_FLOAT6E3M2,     6,  3, 2,  3,   31,     0,      0,      false },
};

static double by_definition(const format *f, unsigned code) {
    unsigned frac = code & ((1u << f->mbits) - 1), e = code >> f->mbits & ((1u << f->ebits) - 1);
    double m = frac / pow(2, f->mbits), v = e ? pow(2, (int)e - f->bias) * (1 + m) : pow(2, 1 - f->bias) * m;
    return code >> (f->bits - 1) & 1 ? -v : v;
}
static double widen(const format *f, unsigned code) {
    if (f->dtype == FERRY_FLOAT16) return (double)fy_half_to_f32((uint16_t)code);
    if (f->dtype == FERRY_BFLOAT16) return (double)fy_bf16_to_f32((uint16_t)code);
    return (double)fy_f8_to_f32(f->dtype, (uint8_t)code);
}
static unsigned narrow(const format *f, double v, bool sat) {
    if (f->dtype == FERRY_FLOAT16) return fy_half_from_f64(v);
    if (f->dtype == FERRY_BFLOAT16) return fy_bf16_from_f64(v);
    return fy_f8_from_f64(f->dtype, v, sat);
}

static void every_code_widens(void **state) {
    (void)state;
    for (int k = 0; k < FY_COUNT(formats); k++) {
        const format *f = &formats[k];
        unsigned sign = 1u << (f->bits - 1);
        for (unsigned code = 0; code < 2 * sign; code++) {
            double v = widen(f, code);
            unsigned mag = code & (sign - 1);
            if (f->one_zero ? code == f->nan : mag > f->max && mag != f->inf) assert_true(isnan(v));
            else if (f->inf && mag == f->inf) assert_true(isinf(v) && (v < 0) == (code >= sign));
            else {
                assert_true(v == by_definition(f, code) && !signbit(v) == (code < sign));
                assert_int_equal(narrow(f, v, true), code);            /* and back */
                assert_int_equal(narrow(f, v, false), code);
            }
        }
    }
}

static void every_boundary_rounds_to_even(void **state) {
    (void)state;
    for (int k = 0; k < FY_COUNT(formats); k++) {
        const format *f = &formats[k];
        unsigned sign = 1u << (f->bits - 1);
        for (unsigned code = 0; code < f->max; code++) {
            double lo = by_definition(f, code), hi = by_definition(f, code + 1), mid = (lo + hi) / 2;
            unsigned even = code & 1 ? code + 1 : code;
            assert_int_equal(narrow(f, mid, false), even);
            assert_int_equal(narrow(f, nextafter(mid, lo), false), code);
            assert_int_equal(narrow(f, nextafter(mid, hi), false), code + 1);
            unsigned minus = f->one_zero && code == 0 ? 0 : sign | code;
            assert_int_equal(narrow(f, -nextafter(mid, lo), false), minus);
            assert_int_equal(narrow(f, -nextafter(mid, hi), false), sign | (code + 1));
        }
        double max = by_definition(f, f->max), edge = max + (max - by_definition(f, f->max - 1)) / 2;   /* half a step past the largest */
        unsigned past = f->inf ? f->inf : f->bits < 8 ? f->max : f->nan, at_edge = f->max & 1 ? past : f->max;
        assert_int_equal(narrow(f, nextafter(edge, 0), false), f->max);
        assert_int_equal(narrow(f, edge, false), at_edge);
        assert_int_equal(narrow(f, nextafter(edge, 1e300), false), past);
        assert_int_equal(narrow(f, 1e300, false), past);
        assert_int_equal(narrow(f, (double)INFINITY, false), past);
        if (f->bits == 8) {
            assert_int_equal(narrow(f, 1e300, true), f->max);
            assert_int_equal(narrow(f, (double)-INFINITY, true), sign | f->max);
            assert_int_equal(narrow(f, (double)NAN, true), f->nan);
        }
        assert_int_equal(narrow(f, 5e-324, false), 0);
        assert_int_equal(narrow(f, -5e-324, false), f->one_zero ? 0 : sign);
        assert_int_equal(narrow(f, 0x1p-1030, true), 0);
    }
    assert_true(isnan(fy_half_to_f32(fy_half_from_f64((double)NAN))) && isnan(fy_bf16_to_f32(fy_bf16_from_f64((double)NAN))));
}

static void powers_of_two(void **state) {
    (void)state;
    for (int c = 0; c < 255; c++) {
        double v = pow(2, c - 127);
        assert_true((double)fy_f8_to_f32(FERRY_FLOAT8E8M0, (uint8_t)c) == v);
        for (const char *mode = "udn"; *mode; mode++) assert_int_equal(fy_e8m0_from_f64(v, *mode, true), c);
        if (c == 254) break;
        assert_int_equal(fy_e8m0_from_f64(nextafter(v, 1e300), 'u', true), c + 1);
        assert_int_equal(fy_e8m0_from_f64(nextafter(2 * v, 0), 'd', true), c);
        assert_int_equal(fy_e8m0_from_f64(1.5 * v, 'n', true), c + 1);
        assert_int_equal(fy_e8m0_from_f64(nextafter(1.5 * v, 0), 'n', true), c);
    }
    assert_true(isnan(fy_f8_to_f32(FERRY_FLOAT8E8M0, 255)));
    assert_int_equal(fy_f8_from_f64(FERRY_FLOAT8E8M0, 0, true), 0);                    /* the table of Cast-25 */
    assert_int_equal(fy_f8_from_f64(FERRY_FLOAT8E8M0, 0, false), 255);
    assert_int_equal(fy_f8_from_f64(FERRY_FLOAT8E8M0, (double)INFINITY, true), 254);
    assert_int_equal(fy_f8_from_f64(FERRY_FLOAT8E8M0, (double)INFINITY, false), 255);
    assert_int_equal(fy_f8_from_f64(FERRY_FLOAT8E8M0, 1e300, true), 254);
    assert_int_equal(fy_f8_from_f64(FERRY_FLOAT8E8M0, 1e-300, true), 0);
    assert_int_equal(fy_f8_from_f64(FERRY_FLOAT8E8M0, 1e-300, false), 255);
    assert_int_equal(fy_f8_from_f64(FERRY_FLOAT8E8M0, (double)NAN, true), 255);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_widens), cmocka_unit_test(every_boundary_rounds_to_even), cmocka_unit_test(powers_of_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
