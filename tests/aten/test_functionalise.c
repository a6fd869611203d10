/* Writes through views, on programs built by hand: after functionalising, no operator writes, and the graph computes what
 * strided memory would. */
#include "test.h"

#include "aten/aten.h"

typedef struct maker { fy_program *p; fy_pvalue *x; } maker;

static const fy_dim *const *dims(fy_program *p, int n, const int64_t *d) {
    const fy_dim **out = FY_NEWN(&p->arena, const fy_dim *, n);
    for (int i = 0; i < n; i++) out[i] = fy_dim_const(p->dims, d[i]);
    return out;
}

static fy_pvalue *value(fy_program *p, const char *name, int rank, const int64_t *d) {
    fy_pvalue *v = fy_pvalue_new(p, FY_PV_TENSOR, name);
    assert_non_null(v);
    v->has_meta = true;
    v->dtype = FERRY_FLOAT;
    v->rank = rank;
    v->dim = dims(p, rank, d);
    return v;
}

static maker start(void) {
    maker m = {.p = fy_program_new()};
    assert_non_null(m.p);
    if (!m.p->graph) {
        m.p->graph = FY_NEW(&m.p->arena, fy_pgraph);
        m.p->graph->program = m.p;
    }
    m.x = value(m.p, "x", 2, (int64_t[]){3, 4});
    fy_pgraph *g = m.p->graph;
    g->nin = m.p->nin = 1;
    g->in = FY_NEWN(&m.p->arena, fy_parg, 1);
    m.p->in = FY_NEWN(&m.p->arena, fy_pinput, 1);
    g->in[0] = (fy_parg){.name = "", .kind = FY_ARG_TENSOR, .value = m.x};
    m.p->in[0] = (fy_pinput){.kind = FY_PIN_USER, .value = m.x, .user_name = "x"};
    return m;
}

static fy_parg T(const char *name, fy_pvalue *v) { return (fy_parg){.name = name, .kind = FY_ARG_TENSOR, .value = v}; }
static fy_parg I(const char *name, int64_t i) { return (fy_parg){.name = name, .kind = FY_ARG_INT, .i = i}; }
static fy_parg F(const char *name, double f) { return (fy_parg){.name = name, .kind = FY_ARG_FLOAT, .f = f}; }

static fy_pvalue *node(maker *m, const char *op, const char *name, int rank, const int64_t *d, int n, const fy_parg *arg) {
    fy_pvalue *v = value(m->p, name, rank, d);
    fy_pnode *k = fy_pnode_new(m->p->graph, NULL, op, n, 1);
    assert_non_null(k);
    for (int i = 0; i < n; i++) k->arg[i] = arg[i];
    k->out[0] = T("", v);
    return v;
}
#define ARGS(...) (int)(sizeof((fy_parg[]){__VA_ARGS__}) / sizeof(fy_parg)), (fy_parg[]){__VA_ARGS__}
#define SHAPE(...) (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__}

static void outputs(maker *m, int n, fy_pvalue *const *v) {
    fy_pgraph *g = m->p->graph;
    g->nout = m->p->nout = n;
    g->out = FY_NEWN(&m->p->arena, fy_parg, n);
    m->p->out = FY_NEWN(&m->p->arena, fy_poutput, n);
    for (int i = 0; i < n; i++) {
        g->out[i] = T("", v[i]);
        m->p->out[i] = (fy_poutput){.kind = FY_POUT_USER, .arg = g->out[i], .user_name = fy_arena_fmt(&m->p->arena, "o%d", i)};
    }
}

/* Functionalised, lowered, run on x = 0..11: output i as double in got[i]. */
static void run(maker *m, double got[][12]) {
    ferry_error e = {0};
    fy_model *model = NULL;
    assert_ok(fy_aten_functionalise(m->p, &e), e);
    for (const fy_pnode *n = m->p->graph->first; n; n = n->next) {
        const fy_schema *s = n->schema;
        assert_non_null(s);
        for (int i = 0; i < s->narg; i++) assert_false(s->arg[i].written);
    }
    assert_ok(fy_aten_lower(&model, m->p, NULL, &e), e);
    float x[12];
    for (int i = 0; i < 12; i++) x[i] = (float)i;
    fy_rval in = {.kind = FY_TENSOR, .t = fy_tensor_view(FERRY_FLOAT, 2, (int64_t[]){3, 4}, x)}, *at = &in, out[8] = {{0}};
    assert_ok(fy_interp_run(&(fy_interp){0}, model->graph, &at, out, &e), e);
    for (int64_t i = 0; i < model->graph->out.n; i++) {
        assert_true(fy_count(&out[i].t) <= 12);
        fy_load_f64(got[i], &out[i].t, 0, fy_count(&out[i].t));
        fy_rval_free(&out[i]);
    }
    fy_model_free(model);
    fy_program_free(m->p);
}

/* y = x.clone(); y[:, 1:3].mul_(10); y.select(0, 2).fill_(7): base and a view taken before both see both */
static void slices(void **state) {
    (void)state;
    maker m = start();
    fy_pvalue *y = node(&m, "aten.clone.default", "y", SHAPE(3, 4), ARGS(T("self", m.x)));
    fy_pvalue *early = node(&m, "aten.transpose.int", "early", SHAPE(4, 3), ARGS(T("self", y), I("dim0", 0), I("dim1", 1)));
    fy_pvalue *s = node(&m, "aten.slice.Tensor", "s", SHAPE(3, 2), ARGS(T("self", y), I("dim", 1), I("start", 1), I("end", 3)));
    (void)node(&m, "aten.mul_.Tensor", "s1", SHAPE(3, 2), ARGS(T("self", s), F("other", 10)));
    fy_pvalue *row = node(&m, "aten.select.int", "row", SHAPE(4), ARGS(T("self", y), I("dim", 0), I("index", 2)));
    (void)node(&m, "aten.fill_.Scalar", "row1", SHAPE(4), ARGS(T("self", row), F("value", 7)));
    outputs(&m, 4, (fy_pvalue *[]){y, early, s, m.x});
    double got[4][12];
    run(&m, got);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 4; j++) {
            double want = i == 2 ? 7 : (4 * i + j) * (j == 1 || j == 2 ? 10.0 : 1.0);
            assert_true(got[0][4 * i + j] == want && got[1][3 * j + i] == want);
            if (j == 1 || j == 2) assert_true(got[2][2 * i + j - 1] == want);
            assert_true(got[3][4 * i + j] == 4 * i + j);
        }
}

/* a write through a chain: y.view(12)[3:9].view(2, 3).t().add_(100) */
static void chain(void **state) {
    (void)state;
    maker m = start();
    fy_pvalue *y = node(&m, "aten.clone.default", "y", SHAPE(3, 4), ARGS(T("self", m.x)));
    static const int64_t flat[] = {12}, two[] = {2, 3};
    fy_pvalue *f = node(&m, "aten.view.default", "f", SHAPE(12), ARGS(T("self", y), (fy_parg){.name = "size", .kind = FY_ARG_INTS, .n = 1, .ints = flat}));
    fy_pvalue *s = node(&m, "aten.slice.Tensor", "s", SHAPE(6), ARGS(T("self", f), I("start", 3), I("end", 9)));
    fy_pvalue *v = node(&m, "aten.view.default", "v", SHAPE(2, 3), ARGS(T("self", s), (fy_parg){.name = "size", .kind = FY_ARG_INTS, .n = 2, .ints = two}));
    fy_pvalue *t = node(&m, "aten.t.default", "t", SHAPE(3, 2), ARGS(T("self", v)));
    fy_pvalue *w = node(&m, "aten.add_.Tensor", "w", SHAPE(3, 2), ARGS(T("self", t), F("other", 100)));
    outputs(&m, 3, (fy_pvalue *[]){y, f, w});
    double got[3][12];
    run(&m, got);
    for (int i = 0; i < 12; i++) {
        double want = i + (i >= 3 && i < 9 ? 100 : 0);
        assert_true(got[0][i] == want && got[1][i] == want);
    }
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 2; j++) assert_true(got[2][2 * i + j] == 103 + 3 * j + i);
}

/* pieces of a split are views; a step of 2; writing the returned alias writes the base */
static void pieces(void **state) {
    (void)state;
    maker m = start();
    fy_pvalue *y = node(&m, "aten.clone.default", "y", SHAPE(3, 4), ARGS(T("self", m.x)));
    fy_pvalue *a = value(m.p, "a", 2, (int64_t[]){3, 2}), *b = value(m.p, "b", 2, (int64_t[]){3, 2});
    fy_pnode *k = fy_pnode_new(m.p->graph, NULL, "aten.split.Tensor", 3, 1);
    k->arg[0] = T("self", y);
    k->arg[1] = I("split_size", 2);
    k->arg[2] = I("dim", 1);
    fy_pvalue *both[2] = {a, b};
    k->out[0] = (fy_parg){.name = "", .kind = FY_ARG_TENSORS, .n = 2, .values = both};
    fy_pvalue *r = node(&m, "aten.neg_.default", "r", SHAPE(3, 2), ARGS(T("self", b)));
    (void)node(&m, "aten.mul_.Tensor", "r2", SHAPE(3, 2), ARGS(T("self", r), F("other", 2)));
    fy_pvalue *odd = node(&m, "aten.slice.Tensor", "odd", SHAPE(2, 4), ARGS(T("self", y), I("dim", 0), I("start", 0), I("end", 3), I("step", 2)));
    (void)node(&m, "aten.add_.Tensor", "odd1", SHAPE(2, 4), ARGS(T("self", odd), F("other", 1000)));
    outputs(&m, 3, (fy_pvalue *[]){y, a, b});
    double got[3][12];
    run(&m, got);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 4; j++) {
            double want = (4 * i + j) * (j >= 2 ? -2.0 : 1.0) + (i % 2 == 0 ? 1000 : 0);
            assert_true(got[0][4 * i + j] == want && got[j / 2 + 1][2 * i + j % 2] == want);
        }
}

/* writing an input gives its new contents as an output; what has no inverse is refused by name */
static void inputs_and_refusals(void **state) {
    (void)state;
    ferry_error e = {0};
    maker m = start();
    fy_pvalue *r = node(&m, "aten.add_.Tensor", "r", SHAPE(3, 4), ARGS(T("self", m.x), F("other", 1)));
    outputs(&m, 1, &r);
    assert_ok(fy_aten_functionalise(m.p, &e), e);
    assert_int_equal(m.p->nout, 2);
    assert_int_equal(m.p->out[1].kind, FY_POUT_INPUT_MUTATION);
    assert_string_equal(m.p->out[1].target, "x");
    fy_program_free(m.p);
    m = start();
    static const int64_t size[] = {2, 3, 4};
    fy_pvalue *y = node(&m, "aten.clone.default", "y", SHAPE(3, 4), ARGS(T("self", m.x)));
    fy_pvalue *w = node(&m, "aten.expand.default", "w", SHAPE(2, 3, 4), ARGS(T("self", y), (fy_parg){.name = "size", .kind = FY_ARG_INTS, .n = 3, .ints = size}));
    (void)node(&m, "aten.add_.Tensor", "r", SHAPE(2, 3, 4), ARGS(T("self", w), F("other", 1)));
    outputs(&m, 1, &y);
    assert_fails(fy_aten_functionalise(m.p, &e), ALIAS);
    assert_non_null(strstr(e.text, "aten.expand.default"));
    fy_program_free(m.p);
}

/* operators that ferry does not know are listed all at once; layers in training too */
static void refusals_of_lowering(void **state) {
    (void)state;
    ferry_error e = {0};
    fy_model *model = NULL;
    maker m = start();
    fy_pvalue *a = node(&m, "aten.no_such.default", "a", SHAPE(3, 4), ARGS(T("self", m.x)));
    fy_pvalue *b = node(&m, "mine.thing.default", "b", SHAPE(3, 4), ARGS(T("self", a)));
    fy_pvalue *c = node(&m, "aten.no_such.default", "c", SHAPE(3, 4), ARGS(T("self", b)));
    outputs(&m, 1, &c);
    assert_fails(fy_aten_lower(&model, m.p, NULL, &e), ATEN);
    assert_non_null(strstr(e.text, "aten.no_such.default (2)"));
    assert_non_null(strstr(e.text, "mine.thing.default (1)"));
    fy_program_free(m.p);
    m = start();
    a = node(&m, "aten.dropout.default", "a", SHAPE(3, 4), ARGS(T("input", m.x), F("p", 0.5), (fy_parg){.name = "train", .kind = FY_ARG_BOOL, .i = 1}));
    m.p->graph->first->scope = "encoder.drop";
    outputs(&m, 1, &a);
    assert_fails(fy_aten_lower(&model, m.p, NULL, &e), TRAINING);
    assert_non_null(strstr(e.text, "encoder.drop"));
    fy_program_free(m.p);
    m = start();                                         /* a recorded type that cannot be */
    a = node(&m, "aten.relu.default", "a", SHAPE(3, 5), ARGS(T("self", m.x)));
    outputs(&m, 1, &a);
    assert_fails(fy_aten_lower(&model, m.p, NULL, &e), INTERNAL);
    assert_non_null(strstr(e.text, "axis 1 of \"a\" is 4, the program says 5"));
    fy_program_free(m.p);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(slices), cmocka_unit_test(chain), cmocka_unit_test(pieces), cmocka_unit_test(inputs_and_refusals), cmocka_unit_test(refusals_of_lowering)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
