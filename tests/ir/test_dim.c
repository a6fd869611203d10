/* SPDX-License-Identifier: Apache-2.0
 * test_dim.c - symbolic sizes: random expressions against Python's integer rules, known simplifications, text round trip. */
#include "base/checked.h"
#include "ir/dim.h"
#include "test.h"

static uint64_t rng = 88172645463325252u;
static int64_t rnd(int64_t lo, int64_t hi) {
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return lo + (int64_t)(rng % (uint64_t)(hi - lo + 1));
}

/* An expression as written, kept beside the dim that the pool makes of it. */
typedef struct tree { int op; int64_t k; struct tree *a, *b; } tree;
enum { CONST, SYM, ADD, SUB, MUL, FDIV, CDIV, MOD, MIN, MAX, POW, SCALE, NOPS };

static tree pool[100000];
static int npool;

static tree *grow(int depth) {
    tree *t = &pool[npool++];
    *t = (tree){ 0 };
    t->op = depth == 0 ? (int)rnd(CONST, SYM) : (int)rnd(CONST, SCALE);
    t->k = t->op == CONST ? rnd(-6, 12) : t->op == SCALE ? rnd(1, 5) : rnd(0, 3);
    if (t->op > SYM) {
        t->a = grow(depth - 1);
        t->b = t->op == POW ? NULL : grow(depth - 1);
    }
    return t;
}

static const char *const names[] = { "h", "w", "batch", "s3" };

static const fy_dim *build(fy_dims *p, const tree *t) {
    const fy_dim *a = t->a ? build(p, t->a) : NULL, *b = t->b ? build(p, t->b) : NULL;
    switch (t->op) {
    case CONST: return fy_dim_const(p, t->k);
    case SYM: return fy_dim_sym(p, names[t->k]);
    case ADD: return fy_dim_add(p, a, b);
    case SUB: return fy_dim_sub(p, a, b);
    case MUL: return fy_dim_mul(p, a, b);
    case FDIV: return fy_dim_floordiv(p, a, b);
    case CDIV: return fy_dim_ceildiv(p, a, b);
    case MOD: return fy_dim_mod(p, a, b);
    case MIN: return fy_dim_min(p, a, b);
    case MAX: return fy_dim_max(p, a, b);
    case POW: return fy_dim_pow(p, a, fy_dim_const(p, t->k));
    default: return fy_dim_scale(p, a, t->k, 3);
    }
}

static int64_t fdiv(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

/* The truth; false: no value, or too large to matter. */
static bool truth(const tree *t, const int64_t *sym, int64_t *v) {
    int64_t a = 0, b = 0;
    if ((t->a && !truth(t->a, sym, &a)) || (t->b && !truth(t->b, sym, &b))) return false;
    switch (t->op) {
    case CONST: *v = t->k; break;
    case SYM: *v = sym[t->k]; break;
    case ADD: *v = a + b; break;
    case SUB: *v = a - b; break;
    case MUL: *v = a * b; break;
    case FDIV: if (!b) return false; *v = fdiv(a, b); break;
    case CDIV: if (!b) return false; *v = -fdiv(-a, b); break;
    case MOD: if (!b) return false; *v = a - fdiv(a, b) * b; break;
    case MIN: *v = a < b ? a : b; break;
    case MAX: *v = a > b ? a : b; break;
    case POW: *v = 1; for (int i = 0; i < t->k; i++) { *v *= a; if (*v > 1000000 || *v < -1000000) return false; } break;
    default: *v = fdiv(a * t->k, 3); break;
    }
    return *v < 1000000 && *v > -1000000;
}

static bool value_of(void *ctx, const fy_dim *s, int64_t *v) {
    for (int i = 0; i < 4; i++)
        if (strcmp(s->name, names[i]) == 0) { *v = ((int64_t *)ctx)[i]; return true; }
    return false;                                            /* an opaque: no claim is made */
}

static bool has_opaque(const fy_dim *d) {
    if (d->kind == FY_DIM_OPAQUE) return true;
    for (int i = 0; i < d->nargs; i++)
        if (has_opaque(d->arg[i])) return true;
    return false;
}

static void random_expressions(void **state) {
    (void)state;
    int checked = 0;
    for (int round = 0; round < 4000; round++) {
        fy_dims *p = fy_dims_new();
        npool = 0;
        const tree *t = grow(1 + round % 4);
        int64_t lo = round % 3;                              /* what is known of the symbols */
        for (int i = 0; i < 4; i++) fy_dim_bound(p, fy_dim_sym(p, names[i]), lo, round % 5 ? INT64_MAX : 9);
        const fy_dim *d = build(p, t);
        assert_non_null(d);
        const fy_dim *same = build(p, t);                    /* one form for one expression, unless it became too large */
        if (!has_opaque(d)) assert_ptr_equal(d, same);
        for (int i = 0; i < 20; i++) {
            int64_t sym[4], want, got;
            for (int k = 0; k < 4; k++) sym[k] = rnd(lo, 9);
            if (!truth(t, sym, &want) || !fy_dim_eval(d, value_of, sym, &got)) continue;
            if (want != got || want < d->lo || want > d->hi) {
                fy_buf b = { 0 };
                fy_dim_print(&b, d);
                print_error("round %d: %s is %lld, not %lld, bounds %lld..%lld at %lld %lld %lld %lld\n", round, b.at, (long long)got, (long long)want,
                            (long long)d->lo, (long long)d->hi, (long long)sym[0], (long long)sym[1], (long long)sym[2], (long long)sym[3]);
                fy_buf_free(&b);
            }
            assert_int_equal(want, got);
            assert_true(want >= d->lo && want <= d->hi);
            for (int64_t by = 2; by <= 6; by++)
                if (fy_dim_divisible(d, by)) assert_int_equal(want % by, 0);
            checked++;
        }
        fy_buf b = { 0 };
        fy_dim_print(&b, d);
        const fy_dim *again = fy_dim_parse(p, b.at, b.n);
        if (again != d) {
            fy_buf c = { 0 };
            fy_dim_print(&c, again);
            print_error("%s read back as %s\n", b.at, c.at);
            fy_buf_free(&c);
        }
        assert_ptr_equal(again, d);
        fy_buf_free(&b);
        fy_dims_free(p);
    }
    assert_true(checked > 20000);
}

static fy_dims *P;
static const fy_dim *D(const char *s) { return fy_dim_parse(P, s, strlen(s)); }

static void known_equalities(void **state) {
    (void)state;
    P = fy_dims_new();
    static const char *const same[][2] = {
        { "(6*s)//2", "3*s" }, { "s + s", "2*s" }, { "(a + b)*(a - b)", "a*a - b*b" }, { "a*b//b", "a" }, { "(s + 1)*t//(s + 1)", "t" },
        { "mod(8*s, 4)", "0" }, { "(4*s + 6)//4", "s + (6 // 4)" }, { "floor(floor(h/2)/2)", "floor(h/4)" }, { "ceil(h/2)", "(h + 1)//2" },
        { "((h - 1)//2 + 1 - 1)//2", "(h - 1)//4" }, { "a*b*c//(b*c)", "a" }, { "(2*a*b)//(4*b)", "a//2" }, { "s*s*s", "s**3" }, { "pow(s, 2)", "s*s" },
        { "min(s, s + 1)", "s" }, { "max(s, s + 1)", "s + 1" }, { "max(0, s)", "s" }, { "min(a, b)", "min(b, a)" }, { "max(max(a, b), a)", "max(a, b)" },
        { "FloorDiv(s, 2)", "floor(s/2)" }, { "Max(1, a, b)", "max(max(1, a), b)" }, { "-s + 2*s", "s" }, { "mod(s + 12, 4)", "s % 4" }, { "(s + 7) - 7", "s" },
        { "(s*8 + 3)//8", "s" }, { "mod(6*s + 3, 6)", "3" }, { "`s`", "s" }, { "(a*b*6 + b*9)//(3*b)", "2*a + 3" }, { "s//s", "1" }, { "-5 // 2", "-3" },
    };
    for (int i = 0; i < FY_COUNT(same); i++) {
        const fy_dim *a = D(same[i][0]), *b = D(same[i][1]);
        if (!a || a != b) print_error("%s, %s\n", same[i][0], same[i][1]);
        assert_non_null(a);
        assert_ptr_equal(a, b);
    }
    static const char *const bad[] = { "", " ", "1 2", "a +", "(a", "a)", "floor(a/2*3)", "floor(a/2 - b/2)", "a/2", "min(a)", "mod(a, b, c)", "99999999999999999999", "nope(a, 2)",
                                       "a b + 1", "`a", "2a", "a % ", "floor()", "1.5" };
    for (int i = 0; i < FY_COUNT(bad); i++) assert_null(D(bad[i]));
    assert_non_null(D("free text"));                         /* dim_param holds whatever people write */
    assert_string_equal(D("x.1")->name, "x.1");
    static const struct { const char *in, *out; } print[] = { { "2*seq+1", "2*seq + 1" }, { "h//2", "floor(h/2)" }, { "h - batch", "h - batch" }, { "1 - h", "-h + 1" } };
    for (int i = 0; i < FY_COUNT(print); i++) {
        fy_buf b = { 0 };
        fy_dim_print(&b, D(print[i].in));
        assert_string_equal(b.at, print[i].out);
        fy_buf_free(&b);
    }
    char deep[4000];
    memset(deep, '(', sizeof deep);
    assert_null(fy_dim_parse(P, deep, sizeof deep));
    fy_dims_free(P);
}

static void overflow_becomes_opaque(void **state) {
    (void)state;
    P = fy_dims_new();
    const fy_dim *big = fy_dim_muli(P, D("s"), INT64_MAX);
    assert_int_equal(fy_dim_muli(P, big, 4)->kind, FY_DIM_OPAQUE);
    assert_int_equal(fy_dim_add(P, big, big)->kind, FY_DIM_OPAQUE);
    assert_int_equal(fy_dim_add(P, fy_dim_const(P, INT64_MAX), fy_dim_const(P, 1))->kind, FY_DIM_OPAQUE);
    const fy_dim *d = D("s");
    for (int i = 0; i < 200; i++) d = fy_dim_max(P, fy_dim_mod(P, d, D("t")), fy_dim_floordiv(P, d, D("u")));   /* grows without bound */
    assert_true(d->depth <= 64 && d->weight <= 256);
    d = D("a + b + c + d");
    for (int i = 0; i < 12; i++) d = fy_dim_mul(P, d, d);
    assert_true(d->weight <= 256);
    assert_null(fy_dim_add(P, NULL, d));
    assert_ptr_not_equal(fy_dim_opaque(P, "nonzero"), fy_dim_opaque(P, "nonzero"));
    (void)fy_dim_floordiv(P, fy_dim_const(P, INT64_MIN), fy_dim_const(P, -1));
    (void)fy_dim_mod(P, fy_dim_const(P, INT64_MIN), fy_dim_const(P, -1));
    (void)fy_dim_ceildiv(P, fy_dim_const(P, INT64_MAX), fy_dim_const(P, INT64_MIN));
    int64_t v;
    assert_false(fy_dim_eval(fy_dim_floordiv(P, D("3"), D("0")), NULL, NULL, &v));
    fy_dims_free(P);
}

static const fy_dim *double_h(void *ctx, const fy_dim *s) { return strcmp(s->name, "h") == 0 ? ctx : NULL; }

static void equalities_and_bounds(void **state) {
    (void)state;
    P = fy_dims_new();
    assert_ptr_equal(fy_dim_subst(P, D("(h + 1)//2"), double_h, (void *)(uintptr_t)D("2*k + 1")), D("k + 1"));
    const fy_dim *n = fy_dim_opaque(P, "nonzero"), *e = fy_dim_add(P, n, D("x"));
    assert_true(fy_dim_equate(P, n, D("y")));
    assert_ptr_equal(fy_dim_resolve(P, e), D("x + y"));
    assert_ptr_equal(fy_dim_add(P, n, D("1")), D("y + 1"));  /* later constructors know */
    assert_true(fy_dim_equate(P, D("y"), D("z")));
    assert_ptr_equal(D("z"), D("y"));
    assert_true(fy_dim_equate(P, D("2*q + 4"), D("10")));
    assert_true(fy_dim_is(D("q"), 3));
    assert_false(fy_dim_equate(P, D("q"), D("4")));
    assert_false(fy_dim_equate(P, D("2*r"), D("5")));
    assert_true(fy_dim_equate(P, D("y"), D("7")));
    assert_true(fy_dim_is(fy_dim_resolve(P, e), 7) == false);
    assert_ptr_equal(fy_dim_resolve(P, e), D("x + 7"));
    fy_dim_bound(P, D("b"), 2, 8);
    assert_true(fy_dim_ge(D("3*b - 1"), 5));
    assert_false(fy_dim_ge(D("3*b - 1"), 6));
    assert_true(fy_dim_is(D("(b - 1)//8"), 0));
    assert_false(fy_dim_equate(P, D("b"), D("1")));
    fy_dim_multiple(P, D("m"), 8);
    assert_true(fy_dim_divisible(D("3*m + 16"), 8));
    assert_false(fy_dim_divisible(D("3*m + 4"), 8));
    assert_true(fy_dim_is(D("m % 4"), 0));
    assert_ptr_equal(D("(a*c + a//2*0)//c"), D("a"));
    fy_dims_free(P);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(known_equalities), cmocka_unit_test(random_expressions), cmocka_unit_test(overflow_becomes_opaque),
                                        cmocka_unit_test(equalities_and_bounds) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
