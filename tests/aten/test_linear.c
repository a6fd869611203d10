/* SPDX-License-Identifier: Apache-2.0
 * test_linear.c - the work of functionalise, lower and the passes grows with the program, not with its square. Counted are requests for
 * memory and bytes held, not time. */
#include "test.h"

#include "aten/aten.h"
#include "passes/passes.h"

static fy_parg tensor(const char *name, fy_pvalue *v) { return (fy_parg){.name = name, .kind = FY_ARG_TENSOR, .value = v}; }

static fy_pvalue *value(fy_program *p, const char *name, int64_t i) {
    fy_pvalue *v = fy_pvalue_new(p, FY_PV_TENSOR, fy_arena_fmt(&p->arena, "%s%lld", name, (long long)i));
    const fy_dim **dim = FY_NEWN(&p->arena, const fy_dim *, 2);
    assert_non_null(v);
    assert_non_null(dim);
    dim[0] = fy_dim_sym(p->dims, "s0");
    dim[1] = fy_dim_const(p->dims, 4);
    v->has_meta = true;
    v->dtype = FERRY_FLOAT;
    v->rank = 2;
    v->dim = dim;
    return v;
}

/* n nodes: arithmetic, an in-place product, copies that go away. */
static fy_program *chain(int64_t n) {
    static const char *const op[] = {"aten.relu.default", "aten.add.Tensor", "aten.clone.default", "aten.mul_.Tensor", "aten.sigmoid.default"};
    fy_program *p = fy_program_new();
    ferry_error e;
    assert_non_null(p);
    if (!p->graph) p->graph = FY_NEW(&p->arena, fy_pgraph);
    fy_pgraph *g = p->graph;
    fy_pvalue *x = value(p, "x", 0), *last = x;
    g->program = p;
    g->nin = g->nout = p->nin = p->nout = 1;
    g->in = FY_NEW(&p->arena, fy_parg);
    g->out = FY_NEW(&p->arena, fy_parg);
    p->in = FY_NEW(&p->arena, fy_pinput);
    p->out = FY_NEW(&p->arena, fy_poutput);
    *g->in = tensor("", x);
    *p->in = (fy_pinput){.kind = FY_PIN_USER, .value = x, .user_name = "x"};
    for (int64_t i = 0; i < n; i++) {
        bool two = i % 5 == 1 || i % 5 == 3;
        fy_pnode *k = fy_pnode_new(g, NULL, op[i % 5], two ? 2 : 1, 1);
        fy_pvalue *y = value(p, "v", i);
        assert_non_null(k);
        k->arg[0] = tensor("self", last);
        if (two) k->arg[1] = tensor("other", x);
        k->out[0] = tensor("", y);
        y->def = k;
        last = y;
    }
    *g->out = tensor("", last);
    *p->out = (fy_poutput){.kind = FY_POUT_USER, .arg = tensor("", last), .user_name = "y"};
    assert_ok(fy_program_index(p, &e), e);
    return p;
}

typedef struct cost { int64_t requests; size_t bytes; } cost;

static cost work(int64_t n) {
    fy_program *p = chain(n);
    fy_model   *m = NULL;
    ferry_error e;
    size_t before = fy_os_bytes();
    fy_os_peak_bytes(true);
    fy_os_fail_at(-1, false);                                /* counts from 0 */
    assert_ok(fy_aten_resolve(p, &e), e);
    assert_ok(fy_aten_inline(p, &e), e);
    assert_ok(fy_aten_functionalise(p, &e), e);
    assert_ok(fy_aten_lower(&m, p, &(fy_lower_options){0}, &e), e);
    assert_ok(fy_passes_run(m, &(fy_pass_options){.fold = true, .fold_bn = true}, &e), e);
    cost c = {fy_os_calls(), fy_os_peak_bytes(false) - before};
    assert_int_equal(m->graph->nnodes, n * 4 / 5);           /* the clones went */
    fy_model_free(m);
    fy_program_free(p);
    return c;
}

static void test_linear(void **state) {
    cost small = work(2000), large = work(20000);
    (void)state;
    if (large.requests > 12 * small.requests || large.bytes > 14 * small.bytes)
        fail_msg("requests %lld and %lld, bytes %zu and %zu", (long long)small.requests, (long long)large.requests, small.bytes, large.bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_linear)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
