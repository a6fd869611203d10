/* SPDX-License-Identifier: Apache-2.0
 * test_linear.c - the work of every stage on a graph grows with the graph, not with its square: writing, reading, raising, inference,
 * verifying, each pass, naming, lowering, printing. Counted are requests for memory and bytes held; instructions are counted by
 * tests/large/linear.sh, which runs `test_graph_linear KIND N` under callgrind and reads what the stage_ functions took. */
#include "test.h"

#include <stdlib.h>

#include "check/check.h"
#include "formats/onnx.h"
#include "opset/opset.h"
#include "passes/passes.h"

#define MOST_BYTES_A_NODE 1024
#define SLACK ((size_t)2 << 20)          /* an arena takes up to a megabyte at a time */

/* ---- graphs ---------------------------------------------------------------------------------------------------------- */

typedef struct maker { fy_model *m; fy_graph *g; fy_value *x, *last; ferry_error e; } maker;

static fy_value *emit(fy_graph *g, const char *op, int nin, fy_value *const *in) {
    const fy_op *o = fy_op_find(g->model->registry, "", op);
    assert_non_null(o);
    fy_node *n = fy_node_new(g, NULL, o, nin, in, 1);
    assert_non_null(n);
    return n->out[0];
}
#define EMIT(g, op, ...) emit(g, op, (int)(sizeof((fy_value *[]){__VA_ARGS__}) / sizeof(fy_value *)), (fy_value *[]){__VA_ARGS__})

static fy_value *input(fy_graph *g, const char *name, fy_dtype t, int rank, const fy_dim *const *dim) {
    fy_type type = fy_tensor_type(g->model, t, rank, dim);
    fy_value *v = fy_graph_add_input(g, name, &type);
    assert_non_null(v);
    return v;
}

static fy_value *numbers(fy_graph *g, fy_dtype t, int rank, const int64_t *dim, const void *elements) {
    fy_const *c = fy_const_copy(&g->model->arena, t, rank, dim, elements);
    assert_non_null(c);
    return fy_graph_add_const(g, NULL, c);
}

static void chain(maker *k, int64_t n) {
    fy_value *one = numbers(k->g, FERRY_FLOAT, 0, NULL, &(float){1});
    for (int64_t i = 0; i < n; i++)
        k->last = i % 3 == 1 ? EMIT(k->g, "Add", k->last, one) : EMIT(k->g, i % 3 ? "Sigmoid" : "Relu", k->last);
}

static void fan(maker *k, int64_t n) {                       /* one value with n uses */
    fy_value *part[500], *sum[500];
    int nsum = 0;
    for (int64_t i = 0; i < n;) {
        int m = 0;
        while (i < n && m < 500) part[m++] = emit(k->g, i++ % 2 ? "Sigmoid" : "Tanh", 1, &k->x);
        sum[nsum++] = emit(k->g, "Sum", m, part);
    }
    k->last = emit(k->g, "Sum", nsum, sum);
}

static void init(maker *k, int64_t n) {
    for (int64_t i = 0; i < n; i++) k->last = EMIT(k->g, "Add", k->last, numbers(k->g, FERRY_FLOAT, 1, (int64_t[]){4}, (float[]){(float)i, 1, 2, 3}));
}

static void concat(maker *k, int64_t n) {                    /* one node with n inputs */
    fy_value **in = fy_calloc((size_t)n, sizeof *in);
    char name[32];
    assert_non_null(in);
    for (int64_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "n%d", (int)i);
        const fy_dim *d[2] = {fy_dim_sym(k->m->dims, "batch"), fy_dim_sym(k->m->dims, name)};
        snprintf(name, sizeof name, "x%d", (int)i);
        in[i] = input(k->g, name, FERRY_FLOAT, 2, d);
    }
    k->last = emit(k->g, "Concat", (int)n, in);
    assert_true(fy_node_set_attr(k->last->def, &(fy_attr){.name = "axis", .kind = FY_ATTR_INT, .n = 1, .i = 1}));
    fy_free(in);
}

static void shape(maker *k, int64_t n) {                     /* sizes computed from sizes */
    int64_t one = 1;
    fy_value *first = numbers(k->g, FERRY_INT64, 1, &one, &(int64_t){0}), *minus = numbers(k->g, FERRY_INT64, 1, &one, &(int64_t){-1});
    for (int64_t i = 0; i < n / 6; i++) {
        fy_value *b = EMIT(k->g, "Gather", EMIT(k->g, "Shape", k->last), first), *t = EMIT(k->g, "Concat", b, minus);
        assert_true(fy_node_set_attr(t->def, &(fy_attr){.name = "axis", .kind = FY_ATTR_INT, .n = 1}));
        k->last = EMIT(k->g, "Sigmoid", EMIT(k->g, "Add", EMIT(k->g, "Reshape", k->last, t), k->last));
    }
}

static void nest(maker *k, int64_t n) {                      /* bodies that read what is around them */
    fy_value *c = input(k->g, "c", FERRY_BOOL, 0, NULL);
    for (int64_t i = 0; i < n / 7; i++) {
        fy_node *node = fy_node_new(k->g, NULL, fy_op_find(k->m->registry, "", "If"), 1, &c, 1);
        assert_non_null(node);
        for (int b = 0; b < 2; b++) {
            fy_graph *g = fy_graph_new(k->m, k->g);
            assert_non_null(g);
            assert_true(fy_graph_add_output(g, EMIT(g, "Sigmoid", EMIT(g, "Add", EMIT(g, "Relu", k->last), k->x))));
            assert_true(fy_node_set_attr(node, &(fy_attr){.name = b ? "else_branch" : "then_branch", .kind = FY_ATTR_GRAPH, .n = 1, .graph = g}));
        }
        k->last = node->out[0];
    }
}

static void same(maker *k, int64_t n) {                      /* what the passes merge and drop */
    for (int64_t i = 0; i < n / 4; i++)
        k->last = EMIT(k->g, "Add", EMIT(k->g, "Relu", k->last), EMIT(k->g, "Identity", EMIT(k->g, "Relu", k->last)));
}

static void dead(maker *k, int64_t n) {                      /* what nobody reads */
    fy_value *v = k->x;
    for (int64_t i = 0; i < n; i++) v = EMIT(k->g, "Relu", v);
}

static void data(maker *k, int64_t n) {                      /* data-dependent sizes, every other one found equal to a size of the input */
    for (int64_t i = 0; i < n / 3; i++) {
        fy_value *u = EMIT(k->g, "Unique", k->last);
        assert_true(fy_node_set_attr(u->def, &(fy_attr){.name = "axis", .kind = FY_ATTR_INT, .n = 1}));
        k->last = EMIT(k->g, "Relu", u);
        fy_value *c = i % 2 ? EMIT(k->g, "Concat", u, k->x) : EMIT(k->g, "Concat", u, u);
        assert_true(fy_node_set_attr(c->def, &(fy_attr){.name = "axis", .kind = FY_ATTR_INT, .n = 1, .i = 1}));
    }
}

static const struct { const char *name; void (*make)(maker *k, int64_t n); } kinds[] = {
    {"chain", chain}, {"fan", fan}, {"init", init}, {"concat", concat}, {"shape", shape}, {"nest", nest}, {"same", same}, {"dead", dead}, {"data", data}};

/* ---- stages ------------------------------------------------------------------------------------------------------------ */

typedef struct work { fy_model *m; fy_buf file; ferry_error e; size_t held; } work;

fy_status stage_build(work *w, int kind, int64_t n);
fy_status stage_write(work *w);
fy_status stage_read(work *w);
fy_status stage_raise(work *w);
fy_status stage_infer(work *w);
fy_status stage_verify(work *w);
fy_status stage_name(work *w);
fy_status stage_print(work *w);
fy_status stage_info(work *w);
fy_status stage_lint(work *w);
fy_status stage_lower(work *w);
fy_status stage_pass(work *w, const fy_pass *p);

fy_status stage_build(work *w, int kind, int64_t n) {
    maker k = {.m = fy_model_new(fy_registry_builtin())};
    assert_non_null(k.m);
    k.g = k.m->graph;
    const fy_dim *d[2] = {fy_dim_sym(k.m->dims, "batch"), fy_dim_const(k.m->dims, 4)};
    k.last = k.x = input(k.g, "x", FERRY_FLOAT, 2, d);
    kinds[kind].make(&k, n);
    assert_true(fy_graph_add_output(k.g, k.last));
    w->m = k.m;
    k.m->opset = FY_CANONICAL_OPSET;
    return fy_model_name_all(k.m, &w->e);
}
fy_status stage_write(work *w) {
    fy_status s = fy_onnx_write_memory(w->m, &w->file, &w->e);
    fy_model_free(w->m);
    w->m = NULL;
    return s;
}
fy_status stage_read(work *w) {
    w->held = fy_os_bytes();
    return fy_onnx_read_memory(&w->m, w->file.at, w->file.n, "file", fy_registry_builtin(), &w->e);
}
fy_status stage_raise(work *w) { return fy_opset_raise(w->m, &w->e); }
fy_status stage_infer(work *w) { return fy_infer_model(w->m, &w->e); }
fy_status stage_verify(work *w) { return fy_model_verify(w->m, &w->e); }
fy_status stage_name(work *w) { return fy_model_name_all(w->m, &w->e); }
fy_status stage_print(work *w) {
    fy_buf b = {0};
    fy_model_print(&b, w->m, 8);
    bool ok = !b.oom && b.n;
    fy_buf_free(&b);
    return ok ? FY_OK : FY_E_NOMEM;
}
fy_status stage_info(work *w) {
    fy_report *r = fy_report_new(&w->e);
    assert_non_null(r);
    fy_status s = fy_info_report(r, "file", w->m, 28, NULL, true, &w->e);
    fy_report_free(r);
    return s;
}
fy_status stage_lint(work *w) {
    fy_findings f = {0};
    fy_status s = fy_lint(&f, w->m, 28, &w->e);
    fy_free(f.at);
    return s;
}
fy_status stage_lower(work *w) {
    fy_status s = fy_opset_lower(w->m, 17, &w->e);
    w->file.n = 0;                                               /* to be written again */
    return s;
}
fy_status stage_pass(work *w, const fy_pass *p) {
    fy_pass_options o = {.fold = true, .fold_bn = true, .fold_bytes = 1 << 20};
    int64_t changes = 0;
    return p->run(w->m, &o, &changes, &w->e);
}

#define STAGES 64
typedef struct cost { const char *name; int64_t requests; size_t bytes; } cost;

static void begin(cost *c, const char *name) {
    c->name = name;
    fy_os_fail_at(-1, false);                                    /* counts from 0 */
    c->bytes = fy_os_bytes();
    fy_os_peak_bytes(true);
}
static void end(cost *c) {
    c->requests = fy_os_calls();
    c->bytes = fy_os_peak_bytes(false) - c->bytes;
}

/* Every stage once; returns how many, and the bytes that the model read holds after inference. */
static int run(int kind, int64_t n, cost *c, size_t *held) {
    typedef struct stage { const char *name; fy_status (*run)(work *w); } stage;
    static const stage before[] = {{"write", stage_write}, {"read", stage_read}, {"infer", stage_infer}, {"infer again", stage_infer}, {"verify", stage_verify},
        {"lint", stage_lint}, {"info", stage_info}, {"print", stage_print}};
    static const stage after[] = {{"name", stage_name}, {"lower", stage_lower}, {"write again", stage_write}, {"read again", stage_read}, {"raise", stage_raise}};
    work w = {0};
    int k = 0, npass;
    begin(&c[k], "build");
    assert_ok(stage_build(&w, kind, n), w.e);
    end(&c[k++]);
    for (int i = 0; i < FY_COUNT(before); i++) {
        begin(&c[k], before[i].name);
        assert_ok(before[i].run(&w), w.e);
        end(&c[k++]);
        if (!strcmp(before[i].name, "infer")) *held = fy_os_bytes() - w.held;
    }
    const fy_pass *p = fy_passes(&npass);
    for (int i = 0; i < npass && k < STAGES - FY_COUNT(after); i++) {
        begin(&c[k], p[i].name);
        assert_ok(stage_pass(&w, &p[i]), w.e);
        end(&c[k++]);
    }
    for (int i = 0; i < FY_COUNT(after); i++) {
        begin(&c[k], after[i].name);
        assert_ok(after[i].run(&w), w.e);
        end(&c[k++]);
    }
    fy_model_free(w.m);
    fy_buf_free(&w.file);
    return k;
}

static void test_linear(void **state) {
    (void)state;
    for (int kind = 0; kind < FY_COUNT(kinds); kind++) {
        cost small[STAGES] = {{0}}, large[STAGES] = {{0}};
        size_t held = 0;
        int k = run(kind, 2000, small, &held);
        assert_int_equal(run(kind, 20000, large, &held), k);
        for (int i = 0; i < k; i++)
            if (large[i].requests > 12 * small[i].requests + 64 || large[i].bytes > 12 * small[i].bytes + SLACK)
                fail_msg("%s, %s: requests %lld and %lld, bytes %zu and %zu", kinds[kind].name, small[i].name, (long long)small[i].requests,
                         (long long)large[i].requests, small[i].bytes, large[i].bytes);
        if (held > (size_t)20000 * MOST_BYTES_A_NODE) fail_msg("%s: %zu bytes a node", kinds[kind].name, held / 20000);
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_linear)};
    if (argc < 3) return cmocka_run_group_tests(tests, NULL, NULL);
    cost c[STAGES] = {{0}};
    size_t held = 0;
    for (int i = 0; i < FY_COUNT(kinds); i++) {
        if (strcmp(argv[1], kinds[i].name)) continue;
        int k = run(i, atoll(argv[2]), c, &held);
        for (int s = 0; s < k; s++) printf("%-12s %10lld requests %12zu bytes at most\n", c[s].name, (long long)c[s].requests, c[s].bytes);
        printf("%zu bytes a node held after inference\n", held / (size_t)atoll(argv[2]));
        return 0;
    }
    return 2;
}
