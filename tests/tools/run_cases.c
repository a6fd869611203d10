/* SPDX-License-Identifier: Apache-2.0
 * run_cases.c - ferry-cases [-v] FOLDER...: runs cases as onnx.backend.test lays them out (model.onnx, test_data_set_N with
 * input_I.pb and output_I.pb, optional file `tolerance`) with the reference kernels. A folder without model.onnx holds cases.
 * Also checked: what inference says of the outputs must agree with them. Ends with "N passed, N failed"; exit 1 if any failed. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "formats/onnx.h"
#include "opset/opset.h"

typedef struct tally { int passed, failed; bool verbose; fy_pool *pool; } tally;

static void why(ferry_error *e, char *text, size_t n) {
    int at = snprintf(text, n, "%s: %s", e->code ? e->code : "?", e->text);
    for (int i = 0; i < e->nframes && at > 0 && (size_t)at < n; i++) at += snprintf(text + at, n - (size_t)at, " | %s", e->frame[i]);
}

static bool same_string(const fy_tensor *a, const fy_tensor *b, int64_t i) {
    const fy_str *s = (const fy_str *)a->data + i, *t = (const fy_str *)b->data + i;
    return s->n == t->n && (!s->n || !memcmp(s->at, t->at, s->n));
}

static bool near(double got, double want, double rtol, double atol) {
    if (isnan(got) || isnan(want)) return isnan(got) && isnan(want);
    return got == want || fabs(got - want) <= atol + rtol * fabs(want);
}

static bool same_tensor(const fy_tensor *got, const fy_tensor *want, double rtol, double atol, char *text, size_t n) {
    fy_buf b = {0};
    bool shapes = got->dtype == want->dtype && fy_same_dims(got, want);
    if (!shapes) {
        fy_tensor_print(&b, got, 0);
        fy_buf_str(&b, " instead of ");
        fy_tensor_print(&b, want, 0);
        snprintf(text, n, "%s", b.at ? b.at : "");
        fy_buf_free(&b);
        return false;
    }
    fy_class k = fy_dtype_class(got->dtype);
    /* the cases round f16 and bf16 after every step, we once: two steps of the dtype are allowed */
    double steps = got->dtype == FERRY_BFLOAT16 ? 0x1p-6 : got->dtype == FERRY_FLOAT16 ? 0x1p-9 : 0;
    for (int64_t i = 0; i < fy_count(got); i++) {
        bool ok;
        if (k == FY_CLASS_S) ok = same_string(got, want, i);
        else if (k == FY_CLASS_C) {
            double g[2], w[2];
            fy_load_c128(g, got, i, 1);
            fy_load_c128(w, want, i, 1);
            ok = near(g[0], w[0], rtol, atol) && near(g[1], w[1], rtol, atol);
        } else if (k == FY_CLASS_F) ok = near(fy_get_f64(got, i), fy_get_f64(want, i), fmax(rtol, steps), atol);
        else ok = fy_get_i64(got, i) == fy_get_i64(want, i) || (fy_dtype_bits(got->dtype) <= 8 && k != FY_CLASS_B && near(fy_get_f64(got, i), fy_get_f64(want, i), rtol, atol));
        if (ok) continue;
        snprintf(text, n, "element %lld is %.9g instead of %.9g", (long long)i, k == FY_CLASS_S ? 0 : fy_get_f64(got, i), k == FY_CLASS_S ? 0 : fy_get_f64(want, i));
        return false;
    }
    return true;
}

static bool same_value(const fy_rval *got, const fy_rval *want, double rtol, double atol, char *text, size_t n) {
    if (got->kind != want->kind) {
        snprintf(text, n, "kind %d instead of %d", (int)got->kind, (int)want->kind);
        return false;
    }
    if (got->kind == FY_TENSOR) return same_tensor(&got->t, &want->t, rtol, atol, text, n);
    if (got->n != want->n) {
        snprintf(text, n, "%lld items instead of %lld", (long long)got->n, (long long)want->n);
        return false;
    }
    for (int64_t i = 0; i < got->n; i++)
        if (!same_value(&got->item[i], &want->item[i], rtol, atol, text, n)) return false;
    return true;
}

static bool agrees(const fy_type *t, const fy_rval *v, char *text, size_t n) {
    int64_t d;
    if (t->kind != v->kind || v->kind != FY_TENSOR) return t->kind == v->kind || t->kind == FY_NOTYPE;
    snprintf(text, n, "inference: dtype %d, rank %d; real: %d, %d", (int)t->dtype, t->rank, (int)v->t.dtype, v->t.rank);
    if ((t->dtype && t->dtype != v->t.dtype) || (t->rank >= 0 && t->rank != v->t.rank)) return false;
    for (int i = 0; i < t->rank; i++)
        if (fy_dim_known(t->dim[i], &d) && d != v->t.dim[i]) {
            snprintf(text, n, "inference: size %lld on axis %d; real: %lld", (long long)d, i, (long long)v->t.dim[i]);
            return false;
        }
    return true;
}

#define MOST 64
static bool run_set(const tally *t, fy_model *m, const char *folder, double rtol, double atol, char *text, size_t n) {
    fy_rval in[MOST] = {{0}}, out[MOST] = {{0}}, *inp[MOST] = {NULL}, want;
    ferry_error e = {0};
    char path[1200];
    bool ok = m->graph->in.n <= MOST && m->graph->out.n <= MOST;
    struct stat st;
    for (int i = 0; ok && i < m->graph->in.n; i++) {
        snprintf(path, sizeof path, "%s/input_%d.pb", folder, i);
        if (stat(path, &st)) continue;                                  /* left out: the initialiser counts */
        if (fy_onnx_read_value_as(&in[i], path, m->graph->in.at[i]->type.kind, &e) != FY_OK) { why(&e, text, n); ok = false; }
        inp[i] = &in[i];
    }
    fy_interp it = {.pool = t->pool};
    if (ok && fy_interp_run(&it, m->graph, inp, out, &e) != FY_OK) { why(&e, text, n); ok = false; }
    for (int i = 0; ok && i < m->graph->out.n; i++) {
        snprintf(path, sizeof path, "%s/output_%d.pb", folder, i);
        if (fy_onnx_read_value_as(&want, path, out[i].kind, &e) != FY_OK) { why(&e, text, n); ok = false; break; }
        ok = same_value(&out[i], &want, rtol, atol, text, n) && agrees(&m->graph->out.at[i]->type, &out[i], text, n);
        fy_rval_free(&want);
    }
    for (int i = 0; i < MOST; i++) { fy_rval_free(&in[i]); fy_rval_free(&out[i]); }
    return ok;
}

static void run_case(tally *t, const char *folder) {
    char path[1100], text[900] = "";
    double rtol = 1e-3, atol = 1e-7;
    ferry_error e = {0};
    fy_model *m = NULL;
    struct stat st;
    snprintf(path, sizeof path, "%s/tolerance", folder);
    FILE *f = fopen(path, "r");
    if (f && fscanf(f, "%lf %lf", &rtol, &atol) != 2) rtol = 1e-3;
    if (f) fclose(f);
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    bool ok = fy_onnx_read(&m, path, fy_registry_builtin(), &e) == FY_OK && fy_opset_raise(m, &e) == FY_OK && fy_infer_model(m, &e) == FY_OK;
    if (!ok) why(&e, text, sizeof text);
    for (int i = 0; ok && i < 100; i++) {
        snprintf(path, sizeof path, "%s/test_data_set_%d", folder, i);
        if (stat(path, &st)) break;
        ok = run_set(t, m, path, rtol, atol, text, sizeof text);
    }
    if (m) fy_model_free(m);
    if (ok) t->passed++;
    else t->failed++;
    const char *name = strrchr(folder, '/') ? strrchr(folder, '/') + 1 : folder;
    if (!ok) printf("FAIL %s: %s\n", name, text);
    else if (t->verbose) printf("ok   %s\n", name);
    fflush(stdout);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void run_folder(tally *t, const char *folder) {
    char path[1000], **name = NULL;
    size_t n = 0;
    struct stat st;
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    if (!stat(path, &st)) {
        run_case(t, folder);
        return;
    }
    DIR *d = opendir(folder);
    for (struct dirent *x; d && (x = readdir(d));) {
        snprintf(path, sizeof path, "%s/%s/model.onnx", folder, x->d_name);
        if (stat(path, &st)) continue;
        char **grown = realloc(name, (n + 1) * sizeof *name);
        if (!grown) break;
        name = grown;
        snprintf(path, sizeof path, "%s/%s", folder, x->d_name);
        if (!(name[n] = malloc(strlen(path) + 1))) break;
        memcpy(name[n++], path, strlen(path) + 1);
    }
    if (d) closedir(d);
    if (n) qsort(name, n, sizeof *name, by_name);
    for (size_t i = 0; i < n; i++) {
        run_case(t, name[i]);
        free(name[i]);
    }
    free(name);
}

int main(int argc, char **argv) {
    tally t = {.pool = fy_pool_new(2)};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "-v")) t.verbose = true;
        else run_folder(&t, argv[i]);
    }
    fy_pool_free(t.pool);
    printf("%d passed, %d failed\n", t.passed, t.failed);
    return t.failed != 0;
}
