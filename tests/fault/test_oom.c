/* SPDX-License-Identifier: Apache-2.0
 * test_oom.c - every allocation and system call of reading, lowering, writing, running and exporting fails once, and fails from some
 * point on: each time a status of the kind "input/output" comes back, nothing leaks (memory, descriptors), the old output is as it was, and
 * no other file is left.
 *
 * The first 500 points are all tried; of those behind, every STRIDE-th. */
#include "test.h"

#include "aten/typer.h"
#include "ferry/ferry.h"
#include "formats/npz.h"
#include "formats/onnx.h"
#include "formats/pickle.h"
#include "formats/pt2.h"
#include "formats/torchscript.h"
#include "opset/opset.h"
#include "passes/passes.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ONNX FERRY_FIXTURES "/onnx/mlp.onnx"
#define DIR_OUT FERRY_BINARY_DIR "/fault"
#define OUT DIR_OUT "/out.onnx"
#define OLD "the old file"
#ifndef STRIDE                                               /* -DSTRIDE=1: all of them, in some minutes */
#define STRIDE 37
#endif

/* Where the faults begin: what a job does before arm() and after disarm() is left alone. */
typedef struct point { int64_t k; bool forever; int64_t calls; } point;
static void arm(const point *p) { fy_os_fail_at(p->k, p->forever); }
static void disarm(point *p) { p->calls = fy_os_calls(); fy_os_fail_at(-1, false); }

static int lowest_fd(void) {
    int fd = open("/dev/null", O_RDONLY);
    close(fd);
    return fd;
}

static void write_old(void) {
    FILE *f = fopen(OUT, "wb");
    assert_non_null(f);
    fputs(OLD, f);
    fclose(f);
}

static bool is_old(void) {
    char text[64] = "";
    FILE *f = fopen(OUT, "rb");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    return n == strlen(OLD) && !strcmp(text, OLD);
}

/* Files in the output folder beside the output; names one of them. A removal that was made to fail leaves a file rightly. */
static int strangers(char *name, size_t n) {
    int count = 0;
    DIR *d = opendir(DIR_OUT);
    assert_non_null(d);
    for (struct dirent *f; (f = readdir(d));)
        if (f->d_name[0] != '.' && strcmp(f->d_name, "out.onnx")) {
            char path[600];
            snprintf(name, n, "%s", f->d_name);
            snprintf(path, sizeof path, DIR_OUT "/%s", f->d_name);
            (void)unlink(path);
            count++;
        }
    closedir(d);
    return count;
}

static const char *const programs[] = {FERRY_FIXTURES "/pt2/t215/blocks.pt2", FERRY_FIXTURES "/pt2/t27/mutation.pt2", FERRY_FIXTURES "/pt2/t215/edge_dyn.pt2",
    FERRY_FIXTURES "/pt2/t215/cnn_dyn.pt2", FERRY_FIXTURES "/pt2/t28/edge_dyn.pt2"};
static const char *pt2, *only;                               /* the one that a job works on; the only one that is wanted */

typedef int (*job)(point *p, ferry_error *e);                /* a ferry_kind */

static int kind(fy_status s) { return (int)fy_code_get(s)->kind; }

static int faults;

static void fault(const char *name, const point *p, const char *fmt, ...) {
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (faults++ < 20) print_error("%s: %s: call %lld fails%s: %s\n", name, pt2 ? strrchr(pt2, '/') + 1 : "", (long long)p->k, p->forever ? " with all after it" : "", text);
}

/* `writes`: the job makes OUT. */
static void sweep(const char *name, job run, bool writes) {
    ferry_error e;
    point clean = {.k = INT64_MAX};                          /* armed, never reached: the requests to arenas count as well */
    if (writes) write_old();
    assert_int_equal(run(&clean, &e), FERRY_OK);             /* once without faults: what is made once in a process is made now */
    int64_t tried = 0, refused = 0, total = clean.calls;
    assert_true(total > 0);
    size_t bytes = fy_os_bytes();
    int fd = lowest_fd();
    for (int forever = 0; forever < 2; forever++)
        for (int64_t k = 0; k < total; k += k < 500 ? 1 : STRIDE) {
            point p = {.k = k, .forever = forever != 0};
            if (writes) write_old();
            e.text[0] = 0;
            int s = run(&p, &e);
            fy_os_fail_at(-1, false);
            tried++;
            refused += s != FERRY_OK;
            if (s != FERRY_OK && s != FERRY_IO) fault(name, &p, "kind %d, error[%s] %s", s, e.code, e.text);
            if (fy_os_bytes() != bytes) { fault(name, &p, "%lld bytes leak (error %s)", (long long)(fy_os_bytes() - bytes), e.text); bytes = fy_os_bytes(); }
            if (lowest_fd() != fd) { fault(name, &p, "a descriptor leaks (error %s)", e.text); fd = lowest_fd(); }
            if (!writes) continue;
            char left[300];
            bool told = strstr(e.text, "is written, but") != NULL;      /* the folder could not be flushed: the new file is whole and there */
            if (s != FERRY_OK && !is_old() && !told) fault(name, &p, "the old file is gone (error %s)", e.text);
            if (s == FERRY_OK && is_old()) fault(name, &p, "no output, yet no error");
            if (strangers(left, sizeof left) && !forever) fault(name, &p, "%s is left", left);
        }
    print_message("%s: %lld calls, %lld faults tried, %lld refused, %d failures so far\n", name, (long long)total, (long long)tried, (long long)refused, faults);
    assert_true(refused > 0);
}

/* ---- jobs ----------------------------------------------------------------------------------------------------------- */

static int read_pt2(point *p, ferry_error *e) {
    fy_program *g;
    arm(p);
    fy_status s = fy_pt2_read(&g, pt2, e);
    disarm(p);
    if (!s) fy_program_free(g);
    return kind(s);
}

/* TorchScript: loops and branches on data, cells, containers, and a trace. */
static fy_status make_typer(void *ctx, fy_ts_typer *t, fy_program *g, ferry_error *e) {
    fy_typer **made = ctx;
    FY_TRY(fy_typer_new(made, g, NULL, e));
    *t = (fy_ts_typer){*made, fy_typer_node, fy_typer_value, fy_typer_missing};
    return FY_OK;
}

static int read_script(point *p, ferry_error *e) {
    static const fy_ts_input x[] = {{.name = "x", .is_tensor = true, .rank = 2, .dim = {2, 3}, .symbol = {"batch"}}, {.name = "y", .is_tensor = true, .rank = 2, .dim = {2, 3}, .symbol = {"batch"}}},
        h[] = {{.name = "h", .is_tensor = true, .rank = 2, .dim = {2, 8}}}, cells[] = {{.name = "x", .is_tensor = true, .rank = 3, .dim = {5, 2, 4}, .symbol = {"time"}}}, image[] = {{.name = "x", .is_tensor = true, .rank = 4, .dim = {2, 3, 8, 8}, .symbol = {"batch"}}};
    static const struct { const char *file; int n; const fy_ts_input *in; } all[] = {{"while", 1, x}, {"branches", 2, x}, {"greedy", 1, h}, {"cells_loop", 1, cells}, {"offsets_trace", 0, NULL}, {"quantised_script", 1, image}};
    fy_status s = FY_OK;
    arm(p);
    for (int i = 0; i < FY_COUNT(all) && !s; i++) {
        char path[600];
        fy_program *g;
        fy_typer *t = NULL;
        snprintf(path, sizeof path, FERRY_FIXTURES "/torchscript/%s.pt", all[i].file);
        s = fy_ts_read(&g, path, &(fy_ts_options){.ninput = all[i].n, .input = all[i].in, .typer = make_typer, .ctx = &t}, e);
        fy_typer_free(t);
        if (!s) fy_program_free(g);
    }
    disarm(p);
    return kind(s);
}

static int read_onnx(point *p, ferry_error *e) {
    fy_model *m;
    arm(p);
    fy_status s = fy_onnx_read(&m, ONNX, fy_registry_builtin(), e);
    if (!s) {
        s = fy_opset_raise(m, e);
        if (!s) s = fy_infer_model(m, e);
        if (!s) s = fy_model_verify(m, e);
        fy_model_free(m);
    }
    disarm(p);
    return kind(s);
}

static int read_external(point *p, ferry_error *e) {
    fy_model *m;
    arm(p);
    fy_status s = fy_onnx_read(&m, FERRY_FIXTURES "/onnx/external.onnx", fy_registry_builtin(), e);
    disarm(p);
    if (!s) fy_model_free(m);
    return kind(s);
}

static int read_npz(point *p, ferry_error *e) {
    fy_named_list l = {0};
    arm(p);
    fy_status s = fy_npz_read(&l, FERRY_FIXTURES "/npz/deflated.npz", e);
    disarm(p);
    if (!s) fy_named_free(&l);
    return kind(s);
}

static int read_checkpoint(point *p, ferry_error *e) {
    fy_map_file f;
    fy_arena a = {0};
    fy_torch_file t;
    arm(p);
    fy_status s = fy_file_open(&f, FERRY_FIXTURES "/other/checkpoint.pth", e);
    if (!s) {
        s = fy_torch_open(&t, &a, f.at, f.n, e);
        if (!s) fy_torch_close(&t);
        fy_file_close(&f);
    }
    fy_arena_free(&a);
    disarm(p);
    return kind(s);
}

/* From the program to a model at opset 17, in steps: `from` says which of them meet faults. */
static fy_status convert(fy_program *g, fy_model **m, point *p, int from, ferry_error *e) {
    fy_lower_options lower = {0};
    fy_pass_options passes = {.fold = true, .fold_bn = true};
    *m = NULL;
    if (from == 0) arm(p);
    fy_status s = fy_aten_inline(g, e);
    if (!s) s = fy_aten_functionalise(g, e);
    if (!s) s = fy_aten_lower(m, g, &lower, e);
    if (from == 0) disarm(p);
    if (from == 1) arm(p);
    if (!s) s = fy_passes_run(*m, &passes, e);
    if (from == 1) disarm(p);
    if (from == 2) arm(p);
    if (!s) s = fy_opset_lower(*m, 17, e);
    if (!s) s = fy_model_name_all(*m, e);
    if (from == 2) disarm(p);
    return s;
}

static int step(point *p, int from, ferry_error *e) {
    fy_program *g;
    fy_model *m;
    if (fy_pt2_read(&g, pt2, e)) return FERRY_BUG;
    fy_status s = convert(g, &m, p, from, e);
    if (m) fy_model_free(m);
    fy_program_free(g);
    return kind(s);
}
static int lower(point *p, ferry_error *e) { return step(p, 0, e); }
static int passes_run(point *p, ferry_error *e) { return step(p, 1, e); }
static int opset(point *p, ferry_error *e) { return step(p, 2, e); }

static int write_onnx(point *p, ferry_error *e) {
    fy_model *m;
    fy_onnx_options o = {0};
    if (fy_onnx_read(&m, ONNX, fy_registry_builtin(), e)) return FERRY_BUG;
    arm(p);
    fy_status s = fy_onnx_write(m, OUT, &o, e);
    disarm(p);
    fy_model_free(m);
    return kind(s);
}

static int run_graph(point *p, ferry_error *e) {
    fy_model *m;
    if (fy_onnx_read(&m, ONNX, fy_registry_builtin(), e) || fy_opset_raise(m, e) || fy_infer_model(m, e)) return FERRY_BUG;
    fy_rval in[4] = {0}, *at[4], out[4] = {0};
    for (int64_t i = 0; i < m->graph->in.n; i++) {
        const fy_type *t = &m->graph->in.at[i]->type;
        int64_t dim[FY_MAX_RANK];
        for (int k = 0; k < t->rank; k++)
            if (!fy_dim_known(t->dim[k], &dim[k])) dim[k] = 2;
        in[i].kind = FY_TENSOR;
        at[i] = &in[i];
        if (fy_tensor_new(&in[i].t, t->dtype, t->rank, dim, e)) return FERRY_BUG;
    }
    fy_interp it = {0};
    arm(p);
    fy_status s = fy_interp_run(&it, m->graph, at, out, e);
    disarm(p);
    for (int i = 0; i < 4; i++) { fy_rval_free(&in[i]); if (!s) fy_rval_free(&out[i]); }
    fy_model_free(m);
    return kind(s);
}

static int evaluate(point *p, ferry_error *e) {
    fy_program *g;
    if (fy_pt2_read(&g, pt2, e)) return FERRY_BUG;
    fy_tensor in[8], out[8] = {0};
    int nin = 0, nout = 0;
    for (int64_t i = 0; i < g->sample.n && nin < 8; i++) in[nin++] = g->sample.at[i].t;
    for (int i = 0; i < g->nout; i++) nout += g->out[i].kind == FY_POUT_USER;
    fy_eval_options o = {0};
    arm(p);
    fy_status s = fy_aten_eval(g, in, nin, out, nout, &o, e);
    disarm(p);
    for (int i = 0; i < nout && !s; i++) fy_tensor_free(&out[i]);
    fy_program_free(g);
    return kind(s);
}

static int open_and_run(point *p, ferry_error *e) {
    float x[64] = {0};
    ferry_tensor in[2], out[4] = {0};
    int r = FERRY_OK;
    arm(p);
    ferry_model *m = ferry_open(ONNX, "threads=1", e);
    ferry_session *s = m ? ferry_session_new(m, e) : NULL;
    if (!m || !s) r = e->kind;
    else {
        const ferry_port *port = ferry_input(m, 0);
        int64_t dim[8];
        for (int i = 0; i < port->rank; i++) dim[i] = port->dim[i] > 0 ? port->dim[i] : 1;
        in[0] = ferry_f32(x, port->rank, dim);
        r = ferry_run(s, in, 1, out, ferry_outputs(m), e);
    }
    ferry_session_free(s);
    ferry_close(m);
    disarm(p);
    return r;
}

/* Every operator of ai.onnx.ml, strings, sequences and maps, from values that a file holds to arrays in a file. */
static int run_ml(point *p, ferry_error *e) {
    arm(p);
    ferry_model *m = ferry_open(FERRY_FIXTURES "/onnx/ml.onnx", "threads=1", e);
    ferry_session *s = m ? ferry_session_new(m, e) : NULL;
    ferry_values *v = s ? ferry_values_new() : NULL, *w = v ? ferry_values_new() : NULL;
    int r = w ? ferry_values_read(v, FERRY_FIXTURES "/npz/ml.npz", "", e) : s ? FERRY_IO : e->kind;
    const ferry_value *in[2], *out[32];
    for (size_t i = 0; !r && i < 2; i++) in[i] = ferry_values_value(v, (size_t)ferry_values_find(v, ferry_input(m, i)->name));
    if (!r) r = ferry_run_values(s, in, 2, out, ferry_outputs(m), e);
    for (size_t i = 0; !r && i < ferry_outputs(m); i++) r = ferry_values_put(w, ferry_output(m, i)->name, out[i], e);
    if (!r) r = ferry_values_write(w, OUT, e);
    ferry_values_free(v);
    ferry_values_free(w);
    ferry_session_free(s);
    ferry_close(m);
    disarm(p);
    return r;
}

static int export_all(point *p, ferry_error *e) {
    ferry_option o[] = {{"threads", "1"}, {"opset", "17"}};
    ferry_job j = {o, 2, NULL, NULL};
    ferry_report *r = NULL;
    arm(p);
    int s = ferry_export(pt2, OUT, &j, &r, e);
    ferry_report_free(r);
    disarm(p);
    return s;
}

static int export_external(point *p, ferry_error *e) {
    ferry_option o[] = {{"threads", "1"}, {"external-data", ""}, {"no-verify", ""}};
    ferry_job j = {o, 3, NULL, NULL};
    ferry_report *r = NULL;
    arm(p);
    int s = ferry_export(pt2, OUT, &j, &r, e);
    ferry_report_free(r);
    disarm(p);
    (void)unlink(OUT ".data");
    return s;
}

static int rewrite(point *p, ferry_error *e) {
    ferry_option o[] = {{"threads", "1"}, {"opset", "13"}};
    ferry_job j = {o, 2, NULL, NULL};
    ferry_report *r = NULL;
    arm(p);
    int s = ferry_convert(FERRY_FIXTURES "/onnx/control.onnx", OUT, &j, &r, e);
    ferry_report_free(r);
    disarm(p);
    return s;
}

static int info(point *p, ferry_error *e) {
    ferry_job j = {NULL, 0, NULL, NULL};
    ferry_report *r = NULL;
    arm(p);
    int s = ferry_info(pt2, &j, &r, e);
    ferry_report_free(r);
    disarm(p);
    return s;
}

static int check(point *p, ferry_error *e) {
    ferry_job j = {NULL, 0, NULL, NULL};
    ferry_report *r = NULL;
    arm(p);
    int s = ferry_check(ONNX, &j, &r, e);
    ferry_report_free(r);
    disarm(p);
    return s;
}

/* A model opened with a cache, whose file is made (and cannot be, here and there), then with the file that is there. A fault in what the cache alone needs
 * is none of the run's; the numbers are good in any case. */
#define CACHE FERRY_BINARY_DIR "/fault-cache"

static void empty_cache(void) {
    char path[600];
    DIR *d = opendir(CACHE);
    for (struct dirent *f; d && (f = readdir(d));) {
        snprintf(path, sizeof path, CACHE "/%s", f->d_name);
        if (f->d_name[0] != '.') (void)unlink(path);
    }
    if (d) closedir(d);
}

static int opened_with_cache(point *p, ferry_error *e) {
    static float first[1024];
    static size_t nfirst;
    ferry_values *v = ferry_values_new();
    ferry_tensor in[8], out[8] = {{0}};
    arm(p);
    ferry_model *m = ferry_open(ONNX, "threads=1 memory=low cache='" CACHE "'", e);
    ferry_session *s = m ? ferry_session_new(m, e) : NULL;
    disarm(p);
    int k = s ? FERRY_OK : e->kind;
    size_t nin = s ? ferry_inputs(m) : 0, nout = s ? ferry_outputs(m) : 0;
    assert_true(nin <= 8 && nout <= 8);
    if (s && ferry_values_random(v, m, NULL, e)) fail_msg("%s", e->text);
    for (size_t i = 0; i < nin; i++)
        if (ferry_values_get(v, (size_t)ferry_values_find(v, ferry_input(m, i)->name), &in[i], e)) fail_msg("%s", e->text);
    if (s && ferry_run(s, in, nin, out, nout, e)) fail_msg("%s", e->text);
    if (s && !nfirst) memcpy(first, out[0].data, nfirst = out[0].bytes < sizeof first ? out[0].bytes : sizeof first);
    /* A pass that could not fold leaves another graph, with other roundings and a file of its own; a size that could not be named is 1 in random inputs. */
    for (size_t i = 0; s && i < nfirst / sizeof *first && i < out[0].bytes / sizeof *first; i++) {
        float got = ((const float *)out[0].data)[i];
        if (!(got - first[i] < 1e-5f && first[i] - got < 1e-5f)) fault("cache", p, "%g for %g, cache %d", (double)got, (double)first[i], ferry_cache_state(m, NULL));
    }
    ferry_values_free(v);
    ferry_session_free(s);
    ferry_close(m);
    return k;
}

static int make_cache(point *p, ferry_error *e) {
    empty_cache();
    return opened_with_cache(p, e);
}

static int use_cache(point *p, ferry_error *e) { return opened_with_cache(p, e); }

#define SWEEP(fn, writes) static void sweep_##fn(void **state) { (void)state; faults = 0; pt2 = NULL; sweep(#fn, fn, writes); assert_int_equal(faults, 0); }
#define SWEEP_ALL(fn, writes) static void sweep_##fn(void **state) { (void)state; faults = 0; \
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) { pt2 = programs[i]; if (!only || strstr(pt2, only)) sweep(#fn, fn, writes); } \
    assert_int_equal(faults, 0); }
SWEEP_ALL(read_pt2, false)
SWEEP(read_script, false)
SWEEP(read_onnx, false)
SWEEP(read_external, false)
SWEEP(read_npz, false)
SWEEP(read_checkpoint, false)
SWEEP_ALL(lower, false)
SWEEP_ALL(passes_run, false)
SWEEP_ALL(opset, false)
SWEEP(write_onnx, true)
SWEEP(run_graph, false)
SWEEP_ALL(evaluate, false)
SWEEP(open_and_run, false)
SWEEP(make_cache, false)
SWEEP(use_cache, false)
SWEEP(run_ml, true)
SWEEP_ALL(info, false)
SWEEP(check, false)
SWEEP_ALL(export_all, true)
SWEEP_ALL(export_external, true)
SWEEP(rewrite, true)

/* test_fault_oom [NAME [PROGRAM]]: those that match NAME, such as "*lower", on programs whose path has PROGRAM. */
int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    if (argc > 2) only = argv[2];
    (void)mkdir(DIR_OUT, 0755);
    char left[300];
    (void)strangers(left, sizeof left);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sweep_read_pt2), cmocka_unit_test(sweep_read_script), cmocka_unit_test(sweep_read_onnx), cmocka_unit_test(sweep_read_external), cmocka_unit_test(sweep_read_npz),
        cmocka_unit_test(sweep_read_checkpoint), cmocka_unit_test(sweep_lower), cmocka_unit_test(sweep_passes_run), cmocka_unit_test(sweep_opset),
        cmocka_unit_test(sweep_write_onnx), cmocka_unit_test(sweep_run_graph), cmocka_unit_test(sweep_evaluate), cmocka_unit_test(sweep_open_and_run), cmocka_unit_test(sweep_make_cache), cmocka_unit_test(sweep_use_cache), cmocka_unit_test(sweep_run_ml),
        cmocka_unit_test(sweep_info), cmocka_unit_test(sweep_check), cmocka_unit_test(sweep_export_all), cmocka_unit_test(sweep_export_external), cmocka_unit_test(sweep_rewrite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
