/* SPDX-License-Identifier: Apache-2.0
 * map.c - elementwise operators of every dtype, in blocks that stay in the first-level cache: operands broadcast to the result are brought to the
 * dtype that is computed in (f32 for the halves, else their own), joined one after the other by the loops of kernels/loops.def or the functions of
 * kernels.def, and rounded to the result's dtype at the end. Halves may so be rounded twice: Add Sub Mul Div and Sqrt give the bits of one rounding all
 * the same, since f32 has more than twice their digits and two; other functions may be off by one unit of the half where f32 falls on a tie. */
#include "engines/cpu/move.h"

#include <string.h>

#define BLOCK 1024                       /* elements */
#define NO (-1)

/* fold: how an operand is joined to what comes before it; act, of f32, or single, of what has no such function: what is done then, or (`first`) to
 * the first operand. test: the result is a bool. */
typedef struct map_op { const char *op; int fold, single, act; bool test, first; } map_op;

#define FOLD(Op, loop) {Op, FY_LOOP_##loop, NO, NO, false, false}
#define TEST(Op, loop) {Op, FY_LOOP_##loop, NO, NO, true, false}
#define SINGLE(Op, loop) {Op, NO, FY_LOOP_##loop, NO, false, false}
#define ACT(Op, function) {Op, NO, NO, FY_ACT_##function, false, false}
#define BOTH(Op, loop, function) {Op, NO, FY_LOOP_##loop, FY_ACT_##function, false, false}
static const map_op ops[] = {
    FOLD("Add", ADD), FOLD("Sub", SUB), FOLD("Mul", MUL), FOLD("Div", DIV), FOLD("Mod", MOD), FOLD("Pow", POW), FOLD("Min", MIN), FOLD("Max", MAX), FOLD("Sum", ADD),
    FOLD("Mean", ADD), FOLD("Clip", CLIP_LOW), FOLD("PRelu", PRELU), FOLD("And", AND), FOLD("Or", OR), FOLD("Xor", XOR), FOLD("BitwiseAnd", AND), FOLD("BitwiseOr", OR),
    FOLD("BitwiseXor", XOR), FOLD("BitShift", SHIFT_LEFT), {"SwiGLU", FY_LOOP_MUL, NO, FY_ACT_SWISH, false, true},
    TEST("Equal", EQUAL), TEST("Less", LESS), TEST("LessOrEqual", LESS_EQUAL), TEST("Greater", GREATER), TEST("GreaterOrEqual", GREATER_EQUAL),
    {"IsNaN", NO, FY_LOOP_IS_NAN, NO, true, false}, {"IsInf", NO, FY_LOOP_IS_INF, NO, true, false},
    BOTH("Neg", NEG, NEG), BOTH("Abs", ABS, ABS), BOTH("Relu", RELU, CLAMP), BOTH("Sqrt", SQRT, SQRT), BOTH("Reciprocal", RECIP, RECIP), BOTH("Floor", FLOOR, FLOOR),
    BOTH("Ceil", CEIL, CEIL), BOTH("Round", ROUND, ROUND), BOTH("LeakyRelu", LEAKY, LEAKY), BOTH("HardSigmoid", HARD_SIGMOID, HARD_SIGMOID), BOTH("HardSwish", HARD_SWISH, HARD_SWISH),
    SINGLE("Sign", SIGN), SINGLE("BitwiseNot", INVERT), SINGLE("Not", NOT), SINGLE("Softsign", SOFTSIGN), SINGLE("ThresholdedRelu", THRESHOLD), SINGLE("Shrink", SHRINK),
    ACT("Exp", EXP), ACT("Log", LOG), ACT("Erf", ERF), ACT("Sin", SIN), ACT("Cos", COS), ACT("Asin", ASIN), ACT("Acos", ACOS), ACT("Atan", ATAN), ACT("Tanh", TANH), ACT("Sigmoid", SIGMOID), ACT("Elu", ELU), ACT("Celu", ELU), ACT("Selu", ELU), ACT("Mish", MISH),
    ACT("Softplus", SOFTPLUS), ACT("Swish", SWISH), ACT("Gelu", GELU),
    /* com.microsoft */
    {"BiasGelu", FY_LOOP_ADD, NO, FY_ACT_GELU, false, false}, {"FastGelu", FY_LOOP_ADD, NO, FY_ACT_GELU_TANH, false, false}, ACT("QuickGelu", SWISH)};

static const map_op *op_of(const fy_node *n) {
    for (int i = 0; i < FY_COUNT(ops); i++)
        if (!strcmp(ops[i].op, n->op->name)) return &ops[i];
    return NULL;
}

int fy_cpu_number(fy_dtype t) {
    static const fy_dtype dtype[] = {
#define NUMBER(name, T, dtype) FERRY_##dtype,
        FY_NUMBERS(NUMBER)
#undef NUMBER
    };
    for (int i = 0; i < FY_NUMBER_COUNT; i++)
        if (dtype[i] == t) return i;
    return NO;
}

static bool is_half(int number) { return number == FY_NUMBER_F16 || number == FY_NUMBER_BF16; }

/* What a step does, of its node alone. */
typedef struct recipe {
    const map_op *op;
    int    in[FY_SPAN], n;               /* the inputs that are operands */
    int    fold[FY_SPAN], single, act;
    int    number, out;                  /* what is computed in, and what comes out of it */
    double p[2], by;                     /* parameters of `single`; what Mean divides by and Selu multiplies by, 0: nothing */
    float  f[2];                         /* of `act` */
    bool   quotient;                     /* of integers */
} recipe;

static void parameters(recipe *r, const fy_node *n) {
    const char *name = n->op->name;
    static const struct { const char *op, *p0, *p1; } attrs[] = {{"LeakyRelu", "alpha", NULL}, {"Elu", "alpha", NULL}, {"Celu", "alpha", NULL}, {"Selu", "alpha", "gamma"}, {"Swish", "alpha", NULL}, {"QuickGelu", "alpha", NULL}, {"SwiGLU", "alpha", NULL},
        {"HardSigmoid", "alpha", "beta"}, {"ThresholdedRelu", "alpha", NULL}, {"Shrink", "bias", "lambd"}};
    for (int i = 0; i < FY_COUNT(attrs); i++) {
        if (strcmp(attrs[i].op, name)) continue;
        r->p[0] = fy_attr_f(n, attrs[i].p0);
        if (attrs[i].p1) r->p[1] = fy_attr_f(n, attrs[i].p1);
    }
    if (!strcmp(name, "IsInf")) {
        r->p[0] = (double)fy_attr_i(n, "detect_negative");
        r->p[1] = (double)fy_attr_i(n, "detect_positive");
    }
    if (!strcmp(name, "Selu")) r->by = r->p[1];
    r->f[0] = (float)r->p[0];
    r->f[1] = r->act == FY_ACT_CLAMP ? __builtin_inff() : (float)r->p[1];
    if (!*n->op->domain && !strcmp(name, "Gelu") && fy_attr_is(n, "approximate", "tanh")) r->act = FY_ACT_GELU_TANH;
}

/* NULL, or why not. */
static const char *plan(recipe *r, const fy_node *n, const fy_loops *l) {
    const map_op *op = op_of(n);
    const fy_value *x = fy_in(n, 0), *y = fy_outv(n, 0);
    int own = x ? fy_cpu_number(x->type.dtype) : NO;
    if (!op || own == NO || fy_cpu_number(y->type.dtype) == NO) return "another dtype";
    *r = (recipe){.op = op, .single = op->single, .act = op->act, .number = is_half(own) ? FY_NUMBER_F32 : own};
    if (r->op->single == FY_LOOP_SHRINK && r->number != FY_NUMBER_F32) r->number = FY_NUMBER_F64;         /* whole numbers, too: then cut off, as Cast does */
    r->out = op->test ? FY_NUMBER_BOOL : r->number;
    for (int i = 0; i < n->nin; i++) {
        const fy_value *v = fy_in(n, i);
        if (!v) continue;
        if (r->n == FY_SPAN) return "more than 8 operands";
        if (fy_cpu_number(v->type.dtype) != own && strcmp(op->op, "Pow")) return "operands of different dtypes";
        r->fold[r->n] = op->fold;
        if (i == 2 && op->fold == FY_LOOP_CLIP_LOW) r->fold[r->n] = FY_LOOP_CLIP_HIGH;
        r->in[r->n++] = i;
    }
    if (op->fold == FY_LOOP_MOD && fy_attr_i(n, "fmod")) r->fold[1] = FY_LOOP_FMOD;
    if (op->fold == FY_LOOP_SHIFT_LEFT && !fy_attr_is(n, "direction", "LEFT")) r->fold[1] = FY_LOOP_SHIFT_RIGHT;
    r->quotient = (op->fold == FY_LOOP_DIV || op->fold == FY_LOOP_MOD) && r->number != FY_NUMBER_F32 && r->number != FY_NUMBER_F64;
    if (!strcmp(op->op, "Mean")) r->by = n->nin;
    for (int i = 1; i < r->n; i++)
        if (!l->pair[r->fold[i]][r->number]) return "not in this dtype";
    if (r->number == FY_NUMBER_F32 && r->act != NO) r->single = NO;
    else if (r->single != NO) r->act = NO;
    if (!strcmp(op->op, "Celu") && fy_attr_f(n, "alpha") != 1) return "alpha divides as well, unless it is 1";
    if (r->act != NO && r->number != FY_NUMBER_F32) return "double: libm does it, as in the reference kernel";
    if (r->single != NO && !l->single[r->single][r->number]) return "not in this dtype";
    parameters(r, n);
    return NULL;
}

static const char *can(const fy_site *s) {
    recipe r;
    return plan(&r, s->node, &s->k->loops);
}

static fy_status prepare(fy_step *s, fy_plan *p, fy_arena *a, ferry_error *e) {
    recipe *r = FY_NEW(a, recipe);
    FY_NOMEM(e, r);
    FY_NEED(e, !plan(r, s->node, &p->o.kernels->loops), INTERNAL, "%s cannot be mapped", s->node->op->name);
    s->data = r;
    return FY_OK;
}

/* ---- a block --------------------------------------------------------------------------------------------------------------- */

typedef struct work { const recipe *r; const fy_kernels *k; const fy_tensor *x[FY_SPAN]; int number[FY_SPAN], y_number, y_bytes; char *y; } work;

/* Elements of operand i in the dtype that is computed in, m of them or (still) one: in place, or brought to `room`. */
static const void *operand(const work *w, const fy_span *s, int i, const int64_t *at, int64_t done, int64_t *m, void *room) {
    const fy_tensor *t = w->x[i];
    const char *from = (const char *)t->data + (at[i] + (s->moves[i] ? done : 0)) * fy_elem_bytes(t->dtype);
    if (!s->moves[i]) *m = 1;
    if (w->number[i] == w->r->number) return from;
    w->k->loops.cast[w->number[i]][w->r->number](room, from, *m);
    return room;
}

static void block(const work *w, const fy_span *s, char *y, const int64_t *at, int64_t done, int64_t m) {
    union { double f[BLOCK]; uint64_t u[BLOCK]; } own, other;
    const recipe *r = w->r;
    const fy_loops *l = &w->k->loops;
    bool direct = w->y_number == r->out;
    int64_t na = m;
    const void *a = operand(w, s, 0, at, done, &na, &own);
    if (r->op->first) {
        w->k->unary[r->act]((float *)own.f, a, na, r->f);
        a = &own;
    }
    bool after = !r->op->first && (r->single != NO || r->act != NO || r->by != 0);
    for (int i = 1; i < s->n; i++) {
        int64_t nb = m;
        const void *b = operand(w, s, i, at, done, &nb, &other);
        void *to = direct && !after && i + 1 == s->n ? (void *)y : &own;
        l->pair[r->fold[i]][r->number](to, a, b, na > nb ? na : nb, na == nb ? 0 : na == 1 ? 1 : 2);
        if (nb > na) na = nb;
        a = to;
    }
    void *to = direct ? (void *)y : &own;
    if (after) {
        float by32 = (float)r->by;
        if (r->act != NO) w->k->unary[r->act](to, a, na, r->f);
        else if (r->single != NO) l->single[r->single][r->number](to, a, na, r->p);
        if (r->by != 0) l->pair[r->act != NO ? FY_LOOP_MUL : FY_LOOP_DIV][r->number](to, r->act != NO ? to : a, r->number == FY_NUMBER_F32 ? (const void *)&by32 : &r->by, na, 2);
        a = to;
    }
    if (a != y) l->cast[r->out][w->y_number](y, a, na);
    if (na < m) fy_fill(y + w->y_bytes, y, m - 1, w->y_bytes);
}

static void blocks(void *ctx, const fy_span *s, int64_t to, const int64_t *at, int64_t n) {
    const work *w = ctx;
    for (int64_t done = 0; done < n; done += BLOCK) block(w, s, w->y + (to + done) * w->y_bytes, at, done, n - done < BLOCK ? n - done : BLOCK);
}

static fy_status no_zero(const fy_tensor *t, const fy_loops *l, ferry_error *e) {
    static const uint64_t zero = 0;
    unsigned char found[BLOCK];
    const char *from = t->data;
    int bytes = fy_elem_bytes(t->dtype);
    for (int64_t at = 0, n = fy_count(t), m; at < n; at += m) {
        m = n - at < BLOCK ? n - at : BLOCK;
        l->pair[FY_LOOP_EQUAL][fy_cpu_number(t->dtype)](found, from + at * bytes, &zero, m, 2);
        const unsigned char *first = memchr(found, 1, (size_t)m);
        FY_NEED(e, !first, VALUE, "division by zero: the divisor's element %lld is 0", (long long)(at + (first - found)));
    }
    return FY_OK;
}

static fy_status run_map(work *w, const fy_step *s, fy_exec *x, ferry_error *e) {
    fy_tensor *y = fy_step_out(s, x, 0);
    for (int i = 0; i < w->r->n; i++) {
        w->x[i] = fy_step_in(s, x, w->r->in[i]);
        w->number[i] = fy_cpu_number(w->x[i]->dtype);
    }
    w->k = x->k;
    w->y = y->data;
    w->y_number = fy_cpu_number(y->dtype);
    w->y_bytes = fy_elem_bytes(y->dtype);
    if (w->r->quotient) FY_TRY(no_zero(w->x[1], &x->k->loops, e));
    fy_span span = {.fn = blocks, .ctx = w};
    FY_NEED(e, fy_span_make(&span, y, w->r->n, w->x), SHAPE, "the operands cannot be broadcast");
    fy_span_run(&span, x->pool);
    return FY_OK;
}

static fy_status run(const fy_step *s, fy_exec *x, ferry_error *e) {
    work w = {.r = s->data};
    return run_map(&w, s, x, e);
}

/* ---- conversions ----------------------------------------------------------------------------------------------------------- */

static const char *can_cast(const fy_site *s) {
    const fy_value *x = fy_in(s->node, 0), *y = fy_outv(s->node, 0);
    return fy_cpu_number(x->type.dtype) != NO && fy_cpu_number(y->type.dtype) != NO ? NULL : "strings, complex numbers, or elements of less than a byte";
}

static fy_status run_cast(const fy_step *s, fy_exec *x, ferry_error *e) {
    static const map_op none = {"", NO, NO, NO, false, false};
    int number = fy_cpu_number(fy_step_in(s, x, 0)->dtype);
    recipe r = {.op = &none, .n = 1, .single = NO, .act = NO, .number = number, .out = number};
    work w = {.r = &r};
    return run_map(&w, s, x, e);
}

/* The same bytes under another name. */
static const char *can_view(const fy_site *s) {
    const fy_value *x = fy_in(s->node, 0), *y = fy_outv(s->node, 0);
    int bits = fy_dtype_bits(x->type.dtype);
    return bits >= 8 && bits == fy_dtype_bits(y->type.dtype) && x->type.dtype != FERRY_BOOL && y->type.dtype != FERRY_BOOL ? NULL : "elements of another size, or truth values";
}

#define MAP(var, Op) static const fy_impl var = {.op = Op, .name = "map", .can = can, .prepare = prepare, .run = run, .flags = FY_IMPL_INPLACE};
#define MAPS(X) \
    X(add, "Add") X(sub, "Sub") X(mul, "Mul") X(div_, "Div") X(mod, "Mod") X(pow_, "Pow") X(min, "Min") X(max, "Max") X(sum, "Sum") X(mean, "Mean") X(clip, "Clip") X(prelu, "PRelu") \
    X(and, "And") X(or, "Or") X(xor, "Xor") X(bit_and, "BitwiseAnd") X(bit_or, "BitwiseOr") X(bit_xor, "BitwiseXor") X(shift, "BitShift") X(swiglu, "SwiGLU") X(equal, "Equal") \
    X(less, "Less") X(less_equal, "LessOrEqual") X(greater, "Greater") X(greater_equal, "GreaterOrEqual") X(is_nan, "IsNaN") X(is_inf, "IsInf") X(neg, "Neg") X(abs_, "Abs") X(relu, "Relu") \
    X(sqrt_, "Sqrt") X(recip, "Reciprocal") X(floor_, "Floor") X(ceil_, "Ceil") X(round_, "Round") X(leaky, "LeakyRelu") X(hard_sigmoid, "HardSigmoid") X(hard_swish, "HardSwish") X(sign, "Sign") \
    X(invert, "BitwiseNot") X(not, "Not") X(softsign, "Softsign") X(threshold, "ThresholdedRelu") X(shrink, "Shrink") X(exp_, "Exp") X(log_, "Log") X(erf_, "Erf") X(sin_, "Sin") X(cos_, "Cos") X(asin_, "Asin") X(acos_, "Acos") X(atan_, "Atan") \
    X(tanh_, "Tanh") X(sigmoid, "Sigmoid") X(elu, "Elu") X(celu, "Celu") X(selu, "Selu") X(mish, "Mish") X(softplus, "Softplus") X(swish, "Swish") X(gelu, "Gelu")
MAPS(MAP)
#define MAP_MS(var, Op) static const fy_impl var = {.op = Op, .name = "map", .domain = "com.microsoft", .can = can, .prepare = prepare, .run = run, .flags = FY_IMPL_INPLACE};
#define MAPS_MS(X) X(ms_gelu, "Gelu") X(ms_bias_gelu, "BiasGelu") X(ms_fast_gelu, "FastGelu") X(ms_quick_gelu, "QuickGelu")
MAPS_MS(MAP_MS)
static const fy_impl cast = {.op = "Cast", .name = "map", .can = can_cast, .run = run_cast};
static const fy_impl cast_like = {.op = "CastLike", .name = "map", .can = can_cast, .run = run_cast};
static const fy_impl bit_cast = {.op = "BitCast", .name = "view", .can = can_view, .flags = FY_IMPL_ALIAS};

#define LISTED(var, Op) &var,
const fy_impl *const fy_cpu_map[] = {MAPS(LISTED) MAPS_MS(LISTED) &cast, &cast_like, &bit_cast, NULL};
