/* SPDX-License-Identifier: Apache-2.0
 * test_eval.c - the evaluator against what PyTorch computed and recorded beside each archive. */
#include "test.h"

#include "aten/aten.h"
#include "formats/npz.h"
#include "formats/pt2.h"
#include "tensor/compare.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>

#define MAX_IO 160

static int user_inputs(const fy_program *p) {
    int n = 0;
    for (int i = 0; i < p->nin; i++) n += p->in[i].kind == FY_PIN_USER || p->in[i].kind == FY_PIN_LITERAL;
    return n;
}

static int user_outputs(const fy_program *p) {
    int n = 0;
    for (int i = 0; i < p->nout; i++) n += p->out[i].kind == FY_POUT_USER;
    return n;
}

static bool is_tensor_out(const fy_program *p, int k) {
    for (int i = 0; i < p->nout; i++)
        if (p->out[i].kind == FY_POUT_USER && k-- == 0) return p->out[i].arg.kind == FY_ARG_TENSOR;
    return false;
}

/* Runs one recorded case ("" or "other_"); returns the number of outputs compared, -1 where there is none. */
static int run_case(const char *path, const fy_program *p, const fy_named_list *rec, const char *prefix, fy_pool *pool) {
    char         name[64];
    fy_tensor    in[MAX_IO] = {{0}}, out[MAX_IO];
    ferry_error  e;
    static const float nothing = 0;
    int          nin = user_inputs(p), nout = user_outputs(p), compared = 0, bad = 0;
    assert_true(nin <= MAX_IO && nout <= MAX_IO);
    for (int i = 0, given = 0; i < nin; i++) {
        snprintf(name, sizeof name, "%sin%d", prefix, i);
        const fy_tensor *t = fy_named_find(rec, name);
        in[i] = t ? *t : fy_tensor_view(FERRY_FLOAT, 0, NULL, &nothing);
        given += t != NULL;
        if (i == nin - 1 && !given) return -1;
    }
    fy_eval_options o = {.pool = pool};
    fy_status       s = fy_aten_eval(p, in, nin, out, nout, &o, &e);
    if (s != FY_OK) {
        print_error("%s: %serror[%s]: %s\n", path, prefix, e.code, e.text);
        for (int f = 0; f < e.nframes; f++) print_error("  %s\n", e.frame[f]);
        return -2;
    }
    for (int i = 0; i < nout; i++) {
        snprintf(name, sizeof name, "%sout%d", prefix, i);
        const fy_tensor *want = fy_named_find(rec, name);
        if (want && is_tensor_out(p, i)) {
            fy_diff d;
            double  scale = 0;
            fy_compare(&d, &out[i], want, true);
            for (int64_t k = 0, n = fy_count(want); k < n; k++) scale = fmax(scale, isfinite(fy_get_f64(want, k)) ? fabs(fy_get_f64(want, k)) : 0);
            double eps = want->dtype == FERRY_FLOAT16 ? 4e-3 : want->dtype == FERRY_BFLOAT16 ? 3e-2 : 1e-5;
            if (d.dtype_differs || d.shape_differs || d.nan_differs || d.inf_differs || d.max_abs > eps * fmax(scale, 1)) {
                print_error("%s: %s: max abs %g of %g, nan %lld, shape %d, dtype %d (%d and %d)\n", path, name, d.max_abs, scale, (long long)d.nan_differs, d.shape_differs,
                            d.dtype_differs, (int)out[i].dtype, (int)want->dtype);
                bad++;
            }
            compared++;
        }
        fy_tensor_free(&out[i]);
    }
    return bad ? -2 : compared;
}

static int run_file(const char *folder, const char *stem, fy_pool *pool) {
    char          path[800];
    fy_program   *p = NULL;
    fy_named_list rec = {0};
    ferry_error   e;
    snprintf(path, sizeof path, "%s/%s.npz", folder, stem);
    assert_ok(fy_npz_read(&rec, path, &e), e);
    snprintf(path, sizeof path, "%s/%s.pt2", folder, stem);
    fy_status s = fy_pt2_read(&p, path, &e);
    if (s != FY_OK) print_error("%s: %s\n", path, e.text);
    assert_int_equal(s, FY_OK);
    assert_ok(fy_aten_resolve(p, &e), e);
    int a = run_case(path, p, &rec, "", pool), b = run_case(path, p, &rec, "other_", pool), c = run_case(path, p, &rec, "third_", pool);
    assert_true(a != -1);
    fy_named_free(&rec);
    fy_program_free(p);
    return a == -2 || b == -2 || c == -2;
}

static void run_folder(const char *name) {
    char folder[512], stem[256];
    int  files = 0, bad = 0;
    snprintf(folder, sizeof folder, "%s/%s", FERRY_FIXTURES, name);
    DIR *d = opendir(folder);
    assert_non_null(d);
    fy_pool *pool = fy_pool_new(2);
    for (struct dirent *f; (f = readdir(d));) {
        size_t n = strlen(f->d_name);
        if (n < 5 || n > sizeof stem || strcmp(f->d_name + n - 4, ".pt2")) continue;
        snprintf(stem, sizeof stem, "%.*s", (int)(n - 4), f->d_name);
        if (getenv("FERRY_TEST_ONLY") && !strstr(stem, getenv("FERRY_TEST_ONLY"))) continue;
        bad += run_file(folder, stem, pool);
        files++;
    }
    closedir(d);
    fy_pool_free(pool);
    assert_true(files > 0);
    assert_int_equal(bad, 0);
}

static void test_torch_27(void **state) { (void)state; run_folder("pt2/t27"); }
static void test_torch_215(void **state) { (void)state; run_folder("pt2/t215"); }
static void test_zoo(void **state) { (void)state; run_folder("pt2/zoo"); }
static void test_quantised(void **state) { (void)state; run_folder("pt2/quantised"); }
static void test_operators(void **state) { (void)state; run_folder("pt2/ops"); }

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_torch_27), cmocka_unit_test(test_torch_215), cmocka_unit_test(test_zoo), cmocka_unit_test(test_quantised), cmocka_unit_test(test_operators)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
