/* SPDX-License-Identifier: Apache-2.0
 * test_run.c - the driver, and all passes over every fixture: numbers stay, a second run changes nothing, work grows linearly. */
#include "pass_text.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aten/aten.h"
#include "formats/npz.h"
#include "formats/pt2.h"
#include "tensor/compare.h"

static const fy_pass_options all = {.fold = true, .fold_bn = true, .reweigh = true, .rare = true};

/* ---- the driver ------------------------------------------------------------------------------------------------------ */

static const char messy[] = "(float[2,3,5] x) => (y) <float[4,3,1] w = {0.5, -1, 2, 1, 1, -0.25, 3, 0.5, 0.125, -2, 1, 0}, float[4] s = {1.5, -0.5, 2, 0.25}, "
    "float[4] b = {0.1, -3, 0, 7}, float[4] mean = {0.5, -2, 4, 0}, float[4] var = {0.01, 2, 9, 0.5}, float one = {1}> "
    "{ dead = Exp (x) t = Sqrt (one) i = Identity (x) c = Conv (i, w) n = BatchNormalization (c, s, b, mean, var) u = Mul (n, t) y = Relu (u) }";

static void test_rounds(void **state) {
    ferry_error e;
    fy_tensor   before, after;
    (void)state;
    fy_model *m = model_of(messy);
    run_model(m, 0, &before);
    assert_ok(fy_passes_run(m, &all, &e), e);
    assert_int_equal(m->graph->nnodes, 2);                   /* Conv, Relu */
    run_model(m, 0, &after);
    assert_near(&after, &before, 2e-6);
    fy_tensor_free(&before);
    fy_tensor_free(&after);
    fy_model_free(m);
}

static void test_switches(void **state) {
    static const struct { fy_pass_options o; int64_t nodes; } table[] = {
        {{.fold = false, .fold_bn = false}, 5}, {{.fold = true, .fold_bn = false}, 3}, {{.fold = true, .fold_bn = true, .skip = "batch-norm"}, 3},
        {{.fold = true, .fold_bn = true, .skip = "dead,fold,identity,reshape,batch-norm,common"}, 7}, {{.fold = true, .fold_bn = true, .stop_after = "dead"}, 6},
        {{.fold = true, .fold_bn = true, .stop_after = "fold"}, 5}};
    ferry_error e;
    (void)state;
    for (int i = 0; i < FY_COUNT(table); i++) {
        fy_model *m = model_of(messy);
        assert_ok(fy_passes_run(m, &table[i].o, &e), e);
        if (m->graph->nnodes != table[i].nodes) fail_msg("row %d: %lld nodes", i, (long long)m->graph->nnodes);
        fy_model_free(m);
    }
    fy_model *m = model_of(messy);
    assert_fails(fy_passes_run(m, &(fy_pass_options){.skip = "dead,fodl"}, &e), USAGE);
    assert_non_null(strstr(e.text, "fodl"));
    assert_fails(fy_passes_run(m, &(fy_pass_options){.stop_after = "nowhere"}, &e), USAGE);
    fy_model_free(m);
    int n;
    const fy_pass *p = fy_passes(&n);
    for (int i = 0; i < n; i++) assert_ptr_equal(fy_pass_find(p[i].name), &p[i]);
    assert_null(fy_pass_find("dea"));
}

static void test_dumps(void **state) {
    char dir[] = "dumpXXXXXX", path[64];
    ferry_error e;
    struct stat st;
    (void)state;
    assert_non_null(mkdtemp(dir));
    fy_model *m = model_of(messy);
    fy_pass_options o = all;
    o.dump = dir;
    assert_ok(fy_passes_run(m, &o, &e), e);
    fy_model_free(m);
    static const char *const name[] = {"00-start", "01-dead", "02-fold", "03-identity", "04-batch-norm"};
    for (int i = 0; i < FY_COUNT(name); i++) {
        snprintf(path, sizeof path, "%s/%s.onnxtxt", dir, name[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_true(st.st_size > 100);
    }
    DIR *d = opendir(dir);
    for (struct dirent *f; (f = readdir(d));) {
        if (f->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%.40s", dir, f->d_name);
        unlink(path);
    }
    closedir(d);
    rmdir(dir);
    m = model_of(messy);
    o.dump = "no/such/folder";
    assert_int_not_equal(fy_passes_run(m, &o, &e), FY_OK);
    fy_model_free(m);
}

/* Something for each of the passes that recognise, merge and move. */
static const char patterns[] = "(float[n,6,8] x, bool flag) => (y, z) <float[8,8] w = {1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, "
    "1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8}, float[8] g = {1, 2, 3, 4, 5, 6, 7, 8}, float[8] g2 = {1, 2, 3, 4, 5, 6, 7, 8}, "
    "int64[1] last = {-1}, int64[1] zero = {0}, int64[1] four = {4}, int64[1] eight = {8}, int64[1] two1 = {2}, int64[4] heads = {0, 0, 2, 4}, int64[3] back = {0, 0, 8}, float two = {2}, "
    "float root = {1.41421354}, float one = {1}, float half = {0.5}, float eps = {1e-05}, bool yes = {1}, float six = {6}, float none = {0}> "
    "{ m = ReduceMean (x, last) d = Sub (x, m) p = Pow (d, two) v = ReduceMean (p, last) e = Add (v, eps) s = Sqrt (e) q = Div (d, s) n1 = Mul (q, g) n2 = Add (n1, g2) "
    "pq = MatMul (n2, w) pb = Add (pq, g) rq = Reshape (pb, heads) tq = Transpose <perm = [0, 2, 1, 3]> (rq) sq = Mul (tq, half) "
    "pk = MatMul (n2, w) rk = Reshape (pk, heads) tk = Transpose <perm = [0, 2, 1, 3]> (rk) kt = Transpose <perm = [0, 1, 3, 2]> (tk) "
    "rv = Reshape (n2, heads) tv = Transpose <perm = [0, 2, 1, 3]> (rv) qk = MatMul (sq, kt) sm = Softmax <axis = -1> (qk) at = MatMul (sm, tv) "
    "ta = Transpose <perm = [0, 2, 1, 3]> (at) ra = Reshape (ta, back) a1 = Div (ra, root) a2 = Erf (a1) a3 = Add (a2, one) a4 = Mul (ra, a3) gl = Mul (a4, half) "
    "lo = Slice (gl, zero, four, two1) hi = Slice (gl, four, eight, two1) cc = Concat <axis = 2> (hi, lo) fl = Max (cc, none) fh = Min (fl, six) "
    "ff = If <then_branch = t () => (i1) { i0 = Mul (fh, two) i1 = Mul (i0, two) }, else_branch = f () => (j1) { j1 = Neg (fh) }> (yes) "
    "sh = Shape (x) ex = Expand (one, sh) y = Add (ff, ex) ab = Abs (ff) z = ReduceSum (ab, last) }";

static void test_patterns(void **state) {
    ferry_error e;
    fy_tensor   before, after;
    (void)state;
    fy_model *m = model_of(patterns);
    run_model(m, 0, &before);
    assert_ok(fy_passes_run(m, &all, &e), e);
    run_model(m, 0, &after);
    assert_near(&after, &before, 1e-5);
    assert_int_equal(count_op(m, "LayerNormalization"), 1);
    assert_int_equal(count_op(m, "Attention"), 1);
    assert_int_equal(count_op(m, "Gelu"), 1);
    assert_int_equal(count_op(m, "Split"), 1);
    assert_int_equal(count_op(m, "Clip"), 1);
    assert_int_equal(count_op(m, "If"), 0);
    assert_int_equal(count_op(m, "ReduceL1"), 1);
    fy_tensor_free(&before);
    fy_tensor_free(&after);
    fy_model_free(m);
}

/* A shape that cannot be, in a branch that is never taken: the model is simplified all the same. */
static void test_untaken_branch(void **state) {
    ferry_error e;
    (void)state;
    fy_model *m = model_of("(float[2,3] x, bool c) => (y) <int64[1] two = {2}, int64[1] half = {4}> { y = If <then_branch = t () => (p) { n = Add (two, half) a = Abs (n) r = Reshape (x, a) "
        "k = Add (a, two) q = Reshape (r, k) p = Relu (q) }, else_branch = f () => (u) { v = Identity (x) u = Exp (v) }> (c) }");
    assert_ok(fy_passes_run(m, &all, &e), e);
    assert_int_equal(count_op(m, "Identity"), 0);
    assert_int_equal(count_op(m, "If"), 1);
    fy_model_free(m);
}

/* Every allocation that the passes make may fail. */
static void out_of_memory(const char *text) {
    ferry_error e;
    for (int64_t k = 0;; k++) {
        fy_model *m = model_of(text);
        fy_os_fail_at(k, false);
        fy_status s = fy_passes_run(m, &all, &e);
        bool over = fy_os_calls() <= k;
        fy_os_fail_at(-1, false);
        fy_model_free(m);
        assert_true(s == FY_OK || s == FY_E_NOMEM);
        if (over) break;
        assert_true(k < 100000);
    }
}

static void test_out_of_memory(void **state) {
    (void)state;
    out_of_memory(messy);
    out_of_memory(patterns);
}

/* ---- work ------------------------------------------------------------------------------------------------------------ */

/* Allocations and bytes for n nodes of a chain with something for every pass in it. */
static int64_t work(int n, size_t *peak) {
    fy_buf text = {0};
    ferry_error e;
    fy_buf_fmt(&text, "(float[k,4] x) => (y) <float one = {1}> { v0 = Relu (x) ");
    for (int i = 0; i < n; i += 5)
        fy_buf_fmt(&text, "a%d = Identity (v%d) s%d = Shape (a%d) r%d = Reshape (a%d, s%d) t%d = Sqrt (one) v%d = PRelu (r%d, t%d) ", i, i, i, i, i, i, i, i, i + 5, i, i);
    fy_buf_fmt(&text, "y = Exp (v%d) }", n);
    fy_model *m = model_of(text.at);
    fy_buf_free(&text);
    size_t before = fy_os_bytes();
    fy_os_peak_bytes(true);
    fy_os_fail_at(-1, false);
    assert_ok(fy_passes_run(m, &all, &e), e);
    int64_t calls = fy_os_calls();
    *peak = fy_os_peak_bytes(false) - before;
    assert_int_equal(m->graph->nnodes, n / 5 + 2);
    fy_model_free(m);
    return calls;
}

static void test_linear(void **state) {
    size_t  small_peak, large_peak;
    int64_t small = work(2000, &small_peak), large = work(20000, &large_peak);
    (void)state;
    assert_true(large < 12 * small + 1000);
    assert_true(large_peak < 15 * small_peak + 1000000);
}

/* ---- fixtures -------------------------------------------------------------------------------------------------------- */

/* Outputs on the recorded sample, in order; the count is the graph's. */
static fy_rval *outputs(const fy_model *m, const fy_program *p, const fy_named_list *z, fy_pool *pool) {
    ferry_error     e = {0};
    const fy_graph *g = m->graph;
    fy_rval *in = calloc((size_t)g->in.n + 1, sizeof *in), **at = calloc((size_t)g->in.n + 1, sizeof *at), *out = calloc((size_t)g->out.n + 1, sizeof *out);
    int64_t n = 0;
    for (int u = 0, user = 0; u < p->nin; u++) {
        char key[64];
        if (p->in[u].kind != FY_PIN_USER && p->in[u].kind != FY_PIN_LITERAL) continue;
        snprintf(key, sizeof key, "in%d", user++);
        if (!p->in[u].value || p->in[u].kind == FY_PIN_LITERAL) continue;
        const fy_tensor *t = fy_named_find(z, key);
        assert_non_null(t);
        in[n] = (fy_rval){.kind = FY_TENSOR, .t = fy_tensor_ref(t)};
        at[n] = &in[n];
        n++;
    }
    assert_int_equal(n + g->state.n, g->in.n);
    assert_ok(fy_interp_run(&(fy_interp){.pool = pool}, g, at, out, &e), e);
    for (int64_t i = 0; i < n; i++) fy_rval_free(&in[i]);
    free(in);
    free(at);
    return out;
}

static void check_fixture(const char *folder, const char *stem, fy_pool *pool) {
    ferry_error   e = {0};
    char          path[800];
    fy_program   *p = NULL;
    fy_model     *m = NULL;
    fy_named_list z = {0};
    snprintf(path, sizeof path, "%s/%s.pt2", folder, stem);
    assert_ok(fy_pt2_read(&p, path, &e), e);
    snprintf(path, sizeof path, "%s/%s.npz", folder, stem);
    assert_ok(fy_npz_read(&z, path, &e), e);
    assert_ok(fy_aten_inline(p, &e), e);
    assert_ok(fy_aten_functionalise(p, &e), e);
    assert_ok(fy_aten_lower(&m, p, &(fy_lower_options){.training = true}, &e), e);
    fy_rval *before = outputs(m, p, &z, pool);
    assert_ok(fy_passes_run(m, &all, &e), e);
    fy_rval *after = outputs(m, p, &z, pool);
    for (int64_t i = 0; i < m->graph->out.n; i++) {
        fy_diff d;
        fy_compare(&d, &after[i].t, &before[i].t, false);
        double scale = d.ref_range > 1 ? d.ref_range : 1;
        if (d.dtype_differs || d.shape_differs || d.nan_differs || d.inf_differs || d.max_abs > 2e-5 * scale)
            fail_msg("%s: output %lld differs by %g after the passes", stem, (long long)i, d.max_abs);
        fy_rval_free(&before[i]);
        fy_rval_free(&after[i]);
    }
    free(before);
    free(after);
    int n;
    const fy_pass *pass = fy_passes(&n);
    for (int i = 0; i < n; i++) {
        int64_t changes = 0;
        assert_ok(pass[i].run(m, &all, &changes, &e), e);
        if (changes) fail_msg("%s: pass %s changes %lld things the second time", stem, pass[i].name, (long long)changes);
    }
    fy_named_free(&z);
    fy_model_free(m);
    fy_program_free(p);
}

static void test_fixtures(void **state) {
    static const char *const folder[] = {"t25", "t27", "t215", "t28"};
    fy_pool *pool = fy_pool_new(2);
    (void)state;
    for (int i = 0; i < FY_COUNT(folder); i++) {
        char  dir[600];
        int   seen = 0;
        snprintf(dir, sizeof dir, "%s/pt2/%s", FERRY_FIXTURES, folder[i]);
        DIR *d = opendir(dir);
        assert_non_null(d);
        for (struct dirent *f; (f = readdir(d));) {
            size_t n = strlen(f->d_name);
            if (n < 5 || n > 100 || strcmp(f->d_name + n - 4, ".pt2")) continue;
            f->d_name[n - 4] = 0;
            check_fixture(dir, f->d_name, pool);
            seen++;
        }
        closedir(d);
        assert_true(seen > 1);
    }
    fy_pool_free(pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rounds), cmocka_unit_test(test_switches), cmocka_unit_test(test_dumps), cmocka_unit_test(test_patterns), cmocka_unit_test(test_untaken_branch), cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_linear), cmocka_unit_test(test_fixtures)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
