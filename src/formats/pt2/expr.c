/* SPDX-License-Identifier: Apache-2.0
 * expr.c - sizes as text -> fy_dim. Two notations occur: sympy's srepr (torch 2.6 and newer),
 * `Mul(Integer(3), Symbol('s77', positive=True, integer=True))`, and infix (before), `3*s0`; one grammar covers both.
 *
 * Within an expression values are dim * num / den, so that TruncToInt(Mul(Float('1.5'), ToFloat(s))) stays exact. */
#include "formats/pt2/reader.h"

#include "base/checked.h"

#include <string.h>

/* d * num / den; d NULL: the constant num / den. */
typedef struct rat { const fy_dim *d; int64_t num, den; } rat;
typedef struct parser { fy_pt2 *r; fy_dims *p; const char *start, *at, *end; int depth; } parser;

static fy_status bad(const parser *x, const char *why) {
    return fy_fail(x->r->e, FY_E_CORRUPT, "the size expression \"%.*s\" has %s at character %zu",
                   x->end - x->start > 100 ? 100 : (int)(x->end - x->start), x->start, why, (size_t)(x->at - x->start));
}

static int64_t gcd(int64_t a, int64_t b) {
    uint64_t x = a < 0 ? 0 - (uint64_t)a : (uint64_t)a, y = b < 0 ? 0 - (uint64_t)b : (uint64_t)b;
    while (y) { uint64_t t = x % y; x = y; y = t; }
    return x > INT64_MAX || !x ? 1 : (int64_t)x;
}

static void lowest(rat *v) {
    int64_t g = gcd(v->num, v->den);
    v->num /= g; v->den /= g;
    if (v->den < 0 && v->num != INT64_MIN && v->den != INT64_MIN) { v->num = -v->num; v->den = -v->den; }
}

static fy_status opaque(parser *x, rat *to, const char *name) {
    *to = (rat){ fy_dim_opaque(x->p, name), 1, 1 };
    FY_NOMEM(x->r->e, to->d);
    return FY_OK;
}

/* floor(v) as a dim */
static fy_status whole(parser *x, const fy_dim **to, rat v) {
    if (!v.d) {
        int64_t q = v.num / v.den;
        *to = fy_dim_const(x->p, q - (v.num % v.den < 0));
    } else *to = v.den == 1 ? fy_dim_muli(x->p, v.d, v.num) : fy_dim_scale(x->p, v.d, v.num, v.den);
    FY_NOMEM(x->r->e, *to);
    return FY_OK;
}

static fy_status add(parser *x, rat *to, rat a, rat b) {
    int64_t den, fa, fb;
    const fy_dim *da, *db;
    if (!fy_mul_i64(&den, a.den / gcd(a.den, b.den), b.den) || !fy_mul_i64(&fa, a.num, den / a.den) || !fy_mul_i64(&fb, b.num, den / b.den))
        return opaque(x, to, "sum");
    if (!a.d && !b.d) {
        int64_t sum;
        if (!fy_add_i64(&sum, fa, fb)) return opaque(x, to, "sum");
        *to = (rat){ NULL, sum, den };
    } else {
        FY_TRY(whole(x, &da, (rat){ a.d, fa, 1 }));
        FY_TRY(whole(x, &db, (rat){ b.d, fb, 1 }));
        *to = (rat){ fy_dim_add(x->p, da, db), 1, den };
        FY_NOMEM(x->r->e, to->d);
    }
    lowest(to);
    return FY_OK;
}

static fy_status mul(parser *x, rat *to, rat a, rat b) {
    rat v = { NULL, 0, 1 };
    if (!fy_mul_i64(&v.num, a.num, b.num) || !fy_mul_i64(&v.den, a.den, b.den)) return opaque(x, to, "product");
    v.d = a.d && b.d ? fy_dim_mul(x->p, a.d, b.d) : a.d ? a.d : b.d;
    if (a.d && b.d) FY_NOMEM(x->r->e, v.d);
    lowest(&v);
    *to = v;
    return FY_OK;
}

static fy_status divide(parser *x, rat *to, rat a, rat b) {
    if (b.d || !b.num) return opaque(x, to, "quotient");
    rat inverse = { NULL, b.den, b.num };
    lowest(&inverse);
    return mul(x, to, a, inverse);
}

static fy_status floordiv(parser *x, rat *to, rat a, rat b) {
    const fy_dim *da, *db;
    if (!b.d && b.num) {
        FY_TRY(divide(x, to, a, b));
        FY_TRY(whole(x, &da, *to));
    } else if (a.den == 1 && b.den == 1 && b.d) {
        FY_TRY(whole(x, &da, a));
        FY_TRY(whole(x, &db, b));
        da = fy_dim_floordiv(x->p, da, db);
        FY_NOMEM(x->r->e, da);
    } else return opaque(x, to, "quotient");
    *to = (rat){ da, 1, 1 };
    return FY_OK;
}

typedef const fy_dim *(*binary)(fy_dims *p, const fy_dim *a, const fy_dim *b);

static fy_status both(parser *x, rat *to, rat a, rat b, binary fn, const char *name) {
    const fy_dim *da, *db;
    if (a.den != 1 || b.den != 1) return opaque(x, to, name);
    FY_TRY(whole(x, &da, a));
    FY_TRY(whole(x, &db, b));
    *to = (rat){ fn(x->p, da, db), 1, 1 };
    FY_NOMEM(x->r->e, to->d);
    return FY_OK;
}

static fy_status power(parser *x, rat *to, rat a, rat b) {
    int64_t k;
    bool known = !b.d && b.den == 1;
    k = b.num;
    if (known && k >= 0 && k <= 8) {
        rat v = { NULL, 1, 1 };
        for (int64_t i = 0; i < k; i++) FY_TRY(mul(x, &v, v, a));
        *to = v;
        return FY_OK;
    }
    if (known && k == -1) return divide(x, to, (rat){ NULL, 1, 1 }, a);
    if ((known && k < 0) || (!known && b.den != 1)) return opaque(x, to, b.den == 2 ? "sqrt" : "power");
    return both(x, to, a, b, fy_dim_pow, "power");
}

/* Decimal text as a rational; false if it does not fit. */
static bool decimal(rat *to, const char *s, size_t n) {
    int64_t num = 0, den = 1;
    bool point = false, neg = n && *s == '-';
    long exponent = 0;
    size_t i = neg;
    for (; i < n && (s[i] == '.' || (s[i] >= '0' && s[i] <= '9')); i++) {
        if (s[i] == '.') { if (point) return false; point = true; continue; }
        if (point && s[i] == '0') {      /* trailing zeros add nothing */
            size_t k = i;
            while (k < n && s[k] == '0') k++;
            if (k == n) { i = n; break; }
        }
        if (!fy_mul_i64(&num, num, 10) || !fy_add_i64(&num, num, s[i] - '0')) return false;
        if (point && !fy_mul_i64(&den, den, 10)) return false;
    }
    if (i < n && (s[i] == 'e' || s[i] == 'E')) {
        bool down = ++i < n && s[i] == '-';
        if (i < n && (s[i] == '-' || s[i] == '+')) i++;
        for (; i < n && s[i] >= '0' && s[i] <= '9' && exponent < 100; i++) exponent = exponent * 10 + (s[i] - '0');
        for (; exponent > 0; exponent--)
            if (!fy_mul_i64(down ? &den : &num, down ? den : num, 10)) return false;
    }
    if (i != n) return false;
    *to = (rat){ NULL, neg ? -num : num, den };
    lowest(to);
    return true;
}

static void blanks(parser *x) { while (x->at < x->end && (*x->at == ' ' || *x->at == '\n')) x->at++; }
static bool eat(parser *x, const char *s) {
    blanks(x);
    size_t n = strlen(s);
    if ((size_t)(x->end - x->at) < n || memcmp(x->at, s, n)) return false;
    x->at += n;
    return true;
}
static bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
static bool digit(char c) { return c >= '0' && c <= '9'; }

typedef struct text { const char *s; size_t n; } text;
static bool name(parser *x, text *t) {
    blanks(x);
    if (x->at >= x->end || !letter(*x->at)) return false;
    t->s = x->at;
    while (x->at < x->end && (letter(*x->at) || digit(*x->at) || *x->at == '.')) x->at++;
    t->n = (size_t)(x->at - t->s);
    return true;
}
static bool quoted(parser *x, text *t) {
    blanks(x);
    if (x->at >= x->end || (*x->at != '\'' && *x->at != '"')) return false;
    char q = *x->at++;
    t->s = x->at;
    while (x->at < x->end && *x->at != q) x->at++;
    t->n = (size_t)(x->at - t->s);
    return x->at < x->end && *x->at++ == q;
}
static bool same(text t, const char *s) { return t.n == strlen(s) && !memcmp(t.s, s, t.n); }

static fy_status symbol(parser *x, rat *to, text t) {
    char word[80];
    if (t.n >= sizeof word || !t.n) return bad(x, "a name that is too long");
    memcpy(word, t.s, t.n);
    word[t.n] = 0;
    *to = (rat){ fy_dim_sym(x->p, word), 1, 1 };
    FY_NOMEM(x->r->e, to->d);
    return FY_OK;
}

static fy_status expression(parser *x, rat *to);

/* After "NAME(": Symbol and numbers by their text, n-ary sums and the like folded, others by up to three operands. */
static fy_status call(parser *x, rat *to, text fn) {
    rat a[3] = { { NULL, 0, 1 }, { NULL, 0, 1 }, { NULL, 0, 1 } }, v, acc = { NULL, 0, 1 };
    text str = {0}, key;
    int n = 0;
    bool has_str = false;
    if (!eat(x, ")"))
        for (;;) {
            const char *back = x->at;
            if (quoted(x, &str)) has_str = true;
            else if (name(x, &key) && eat(x, "=") && !eat(x, "=")) {     /* positive=True, precision=53 */
                text skip;
                if (!name(x, &skip) && !quoted(x, &skip)) FY_TRY(expression(x, &v));
            } else {
                x->at = back;
                FY_TRY(expression(x, &v));
                if (n < 3) a[n] = v;
                if (!n) acc = v;
                else if (same(fn, "Add")) FY_TRY(add(x, &acc, acc, v));
                else if (same(fn, "Mul")) FY_TRY(mul(x, &acc, acc, v));
                else if (same(fn, "Max")) FY_TRY(both(x, &acc, acc, v, fy_dim_max, "Max"));
                else if (same(fn, "Min")) FY_TRY(both(x, &acc, acc, v, fy_dim_min, "Min"));
                n++;
            }
            if (eat(x, ")")) break;
            if (!eat(x, ",")) return bad(x, "no ',' or ')'");
        }
    if (has_str && same(fn, "Symbol")) return symbol(x, to, str);
    if (has_str && same(fn, "Float")) return decimal(to, str.s, str.n) ? FY_OK : opaque(x, to, "Float");
    const fy_dim *d;
    *to = a[0];
    if (n == 1) {
        if (same(fn, "Integer") || same(fn, "ToFloat") || same(fn, "Identity") || same(fn, "Float")) return FY_OK;
        if (same(fn, "floor") || same(fn, "FloorToInt") || same(fn, "TruncToInt")) {   /* sizes are not negative: trunc is floor */
            FY_TRY(whole(x, &d, a[0]));
            *to = (rat){ d, 1, 1 };
            return FY_OK;
        }
        if (same(fn, "ceiling") || same(fn, "CeilToInt")) {
            FY_TRY(whole(x, &d, (rat){ a[0].d, a[0].num, 1 }));
            const fy_dim *den = fy_dim_const(x->p, a[0].den);
            *to = (rat){ a[0].den == 1 ? d : fy_dim_ceildiv(x->p, d, den), 1, 1 };
            FY_NOMEM(x->r->e, to->d);
            return FY_OK;
        }
    }
    if (n >= 1 && (same(fn, "Add") || same(fn, "Mul") || same(fn, "Max") || same(fn, "Min"))) { *to = acc; return FY_OK; }
    if (n == 2) {
        if (same(fn, "FloorDiv") || same(fn, "CleanDiv")) return floordiv(x, to, a[0], a[1]);
        if (same(fn, "Mod") || same(fn, "PythonMod")) return both(x, to, a[0], a[1], fy_dim_mod, "Mod");
        if (same(fn, "Pow") || same(fn, "PowByNatural")) return power(x, to, a[0], a[1]);
        if (same(fn, "IntTrueDiv") || same(fn, "FloatTrueDiv") || same(fn, "Rational")) return divide(x, to, a[0], a[1]);
        if (same(fn, "CeilDiv")) return both(x, to, a[0], a[1], fy_dim_ceildiv, "CeilDiv");
    }
    if (n == 3 && same(fn, "ModularIndexing")) {
        FY_TRY(floordiv(x, to, a[0], a[1]));
        return both(x, to, *to, a[2], fy_dim_mod, "ModularIndexing");
    }
    char word[40];
    size_t k = fn.n < sizeof word - 1 ? fn.n : sizeof word - 1;
    memcpy(word, fn.s, k);
    word[k] = 0;
    return opaque(x, to, word);
}

static fy_status atom(parser *x, rat *to) {
    text t;
    if (eat(x, "(")) {
        FY_TRY(expression(x, to));
        return eat(x, ")") ? FY_OK : bad(x, "no ')'");
    }
    if (name(x, &t)) return eat(x, "(") ? call(x, to, t) : symbol(x, to, t);
    const char *from = x->at;
    while (x->at < x->end && (digit(*x->at) || *x->at == '.' || ((*x->at == 'e' || *x->at == 'E') && x->at > from) ||
           ((*x->at == '-' || *x->at == '+') && x->at > from && (x->at[-1] == 'e' || x->at[-1] == 'E')))) x->at++;
    if (x->at == from) return bad(x, "something unexpected");
    return decimal(to, from, (size_t)(x->at - from)) ? FY_OK : opaque(x, to, "number");
}

static fy_status unary(parser *x, rat *to) {
    bool neg = false;
    rat b;
    while (eat(x, "-")) neg = !neg;
    FY_TRY(atom(x, to));
    if (eat(x, "**")) {
        bool minus = eat(x, "-");
        FY_TRY(atom(x, &b));
        if (minus) FY_TRY(mul(x, &b, b, (rat){ NULL, -1, 1 }));
        FY_TRY(power(x, to, *to, b));
    }
    return neg ? mul(x, to, *to, (rat){ NULL, -1, 1 }) : FY_OK;
}

static fy_status product(parser *x, rat *to) {
    rat b;
    FY_TRY(unary(x, to));
    for (;;) {
        blanks(x);
        bool star = x->end - x->at > 1 && x->at[0] == '*' && x->at[1] == '*';
        if (!star && eat(x, "*")) { FY_TRY(unary(x, &b)); FY_TRY(mul(x, to, *to, b)); }
        else if (eat(x, "//")) { FY_TRY(unary(x, &b)); FY_TRY(floordiv(x, to, *to, b)); }
        else if (eat(x, "/")) { FY_TRY(unary(x, &b)); FY_TRY(divide(x, to, *to, b)); }
        else if (eat(x, "%")) { FY_TRY(unary(x, &b)); FY_TRY(both(x, to, *to, b, fy_dim_mod, "Mod")); }
        else return FY_OK;
    }
}

static fy_status expression(parser *x, rat *to) {
    rat b;
    FY_NEED(x->r->e, ++x->depth <= FY_PT2_NESTING, LIMIT, "a size expression is nested deeper than %d", FY_PT2_NESTING);
    FY_TRY(product(x, to));
    for (;;) {
        if (eat(x, "+")) { FY_TRY(product(x, &b)); FY_TRY(add(x, to, *to, b)); }
        else if (eat(x, "-")) { FY_TRY(product(x, &b)); FY_TRY(mul(x, &b, b, (rat){ NULL, -1, 1 })); FY_TRY(add(x, to, *to, b)); }
        else break;
    }
    x->depth--;
    return FY_OK;
}

fy_status fy_pt2_expr(fy_pt2 *r, const fy_dim **to, const char *s, size_t n) {
    const fy_dim *known = fy_map_get(&r->exprs, s, n);
    if (known) { *to = known; return FY_OK; }
    FY_NEED(r->e, n <= 100000, LIMIT, "a size expression of %zu characters", n);
    parser x = { r, r->p->dims, s, s, s + n, 0 };
    rat v;
    FY_TRY(expression(&x, &v));
    blanks(&x);
    if (x.at != x.end) return bad(&x, "something unexpected");
    FY_TRY(whole(&x, to, v));
    FY_NOMEM(r->e, fy_map_put(&r->exprs, s, n, (void *)(uintptr_t)*to));
    return FY_OK;
}
