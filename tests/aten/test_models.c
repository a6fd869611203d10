/* Every archive in tests/fixtures/pt2 and tests/fixtures/torchscript: read, inlined, functionalised, lowered, run by the reference interpreter, compared
 * with what PyTorch computed, at the sample's size and at another one. FERRY_ONLY=name narrows it. */
#include "test.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>

#include "api/api.h"
#include "aten/aten.h"
#include "formats/npz.h"
#include "formats/pt2.h"
#include "tensor/compare.h"

typedef struct tally { int models, cases; } tally;

/* NAME.shape beside NAME.pt: lines "--shape x=1x3" and "--dynamic x:0=batch". */
static fy_status read_script(fy_program **p, const char *path, ferry_error *e) {
    char text[4096], name[700], *lines[64], *line = text, *next;
    ferry_option shape[64];
    fy_axis_name axes[64];
    int nshape = 0, naxes = 0, n = 0;
    snprintf(name, sizeof name, "%.*s.shape", (int)(strlen(path) - 3), path);
    FILE *f = fopen(name, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    for (; *line && n < 64; line = next) {
        next = strchr(line, '\n');
        assert_non_null(next);
        *next++ = 0;
        lines[n++] = line;
    }
    for (int i = 0; i < n; i++) {
        if (strncmp(lines[i], "--shape ", 8) == 0) shape[nshape++] = (ferry_option){"shape", lines[i] + 8};
        else {
            char *at = lines[i] + 10, *colon = strchr(at, ':'), *eq = strchr(at, '=');
            assert_true(strncmp(lines[i], "--dynamic ", 10) == 0 && colon && eq);
            *colon = *eq = 0;
            axes[naxes++] = (fy_axis_name){at, (int)strtol(colon + 1, NULL, 10), eq + 1};
        }
    }
    ferry_job job = {shape, (size_t)nshape, NULL, NULL};
    return fy_read_source(p, path, &(fy_source_options){.job = &job, .naxes = naxes, .axes = axes}, e);
}

static fy_status lower_file(fy_program **p, fy_model **m, const char *path, fy_notes *notes, ferry_error *e) {
    FY_TRY(strcmp(path + strlen(path) - 3, ".pt") == 0 ? read_script(p, path, e) : fy_pt2_read(p, path, e));
    FY_TRY(fy_aten_inline(*p, e));
    FY_TRY(fy_aten_functionalise(*p, e));
    FY_TRY(fy_aten_lower(m, *p, &(fy_lower_options){.notes = notes}, e));
    return fy_model_verify(*m, e);
}

static bool is_state(const fy_model *m, const fy_value *v) {
    for (int64_t i = 0; i < m->graph->state.n; i++)
        if (m->graph->state.at[i].in == v || m->graph->state.at[i].out == v) return true;
    return false;
}

static void complain(const char *what, const char *name, const ferry_error *e) {
    print_error("%s: %s: error[%s]: %s\n", name, what, e->code, e->text);
    for (int i = 0; i < e->nframes; i++) print_error("    %s\n", e->frame[i]);
}

/* One run with inputs "<prefix>in<k>"; false if it differs or fails. */
static bool run_case(const fy_model *m, const fy_program *p, const fy_named_list *z, const char *prefix, const char *name) {
    ferry_error e = {0};
    fy_pool *pool = fy_pool_new(2);
    const fy_graph *g = m->graph;
    fy_rval *in = calloc((size_t)g->in.n + 1, sizeof *in), **at = calloc((size_t)g->in.n + 1, sizeof *at), *out = calloc((size_t)g->out.n + 1, sizeof *out);
    bool ok = true;
    int64_t n = 0;
    for (int u = 0, user = 0; u < p->nin; u++) {
        const fy_pinput *pi = &p->in[u];
        if (pi->kind != FY_PIN_USER && pi->kind != FY_PIN_LITERAL) continue;
        char key[64];
        snprintf(key, sizeof key, "%sin%d", prefix, user++);
        if (!pi->value || pi->kind == FY_PIN_LITERAL) continue;
        const fy_tensor *t = fy_named_find(z, key);
        if (!t) { print_error("%s: no %s\n", name, key); ok = false; break; }
        in[n].kind = FY_TENSOR;
        if (fy_dtype_class(t->dtype) == FY_CLASS_C) {    /* which the model takes as pairs */
            fy_tensor pairs = fy_tensor_pairs(t);
            assert_ok(fy_tensor_clone(&in[n].t, &pairs, &e), e);
        } else in[n].t = fy_tensor_ref(t);
        at[n] = &in[n];
        n++;
    }
    for (int64_t k = 0; ok && k < g->state.n; k++, n++) {
        in[n].kind = FY_TENSOR;
        assert_ok(fy_const_tensor(&in[n].t, g->state.at[k].init, &e), e);
        at[n] = &in[n];
    }
    if (ok && n != g->in.n) { print_error("%s: %d inputs for %d\n", name, (int)n, (int)g->in.n); ok = false; }
    fy_interp it = {.pool = pool};
    fy_status s = ok ? fy_interp_run(&it, g, at, out, &e) : FY_OK;
    if (s != FY_OK) { complain("run", name, &e); ok = false; }
    int64_t i = -1, k = -1;                              /* of the model's outputs; of the recorded ones, numbered by position among the user's */
    for (int u = 0; ok && u < p->nout; u++) {
        if (p->out[u].kind != FY_POUT_USER) continue;
        k++;
        if (p->out[u].arg.kind == FY_ARG_NONE || p->out[u].arg.kind == FY_ARG_STRING) continue;
        i++;
        assert_true(i < g->out.n && !is_state(m, g->out.at[i]));
        if (p->out[u].arg.kind != FY_ARG_TENSOR && p->out[u].arg.kind != FY_ARG_SYM) continue;
        char key[64];
        snprintf(key, sizeof key, "%sout%d", prefix, (int)k);
        const fy_tensor *want = fy_named_find(z, key);
        if (!want) { print_error("%s: no %s\n", name, key); ok = false; break; }
        fy_diff d;
        fy_compare(&d, &out[i].t, want, false);
        double scale = d.ref_range > 1 ? d.ref_range : 1;
        if (out[i].t.dtype == FERRY_BFLOAT16) d.dtype_differs = want->dtype != FERRY_FLOAT;      /* which NumPy lacks */
        double bar = out[i].t.dtype == FERRY_FLOAT16 ? 4e-3 : out[i].t.dtype == FERRY_BFLOAT16 ? 3e-2 : 1e-4;      /* a few roundings to that type */
        bool same = !d.dtype_differs && !d.shape_differs && d.nan_differs == 0 && d.inf_differs == 0 && d.max_abs <= bar * scale;
        if (fy_dtype_class(want->dtype) != FY_CLASS_F) same = same && d.differing == 0;
        if (!same) {
            fy_buf b = {0};
            fy_tensor_print(&b, &out[i].t, 0);
            fy_buf_str(&b, " against ");
            fy_tensor_print(&b, want, 0);
            print_error("%s: %s differs: %s, max abs %g at %lld (%g, torch %g), %lld elements, nan %lld, inf %lld\n", name, key, b.at ? b.at : "", d.max_abs,
                        (long long)d.worst, d.worst_got, d.worst_ref, (long long)d.differing, (long long)d.nan_differs, (long long)d.inf_differs);
            fy_buf_free(&b);
            ok = false;
        }
    }
    for (i = 0; i < g->in.n; i++) fy_rval_free(&in[i]);
    for (i = 0; i < g->out.n; i++) fy_rval_free(&out[i]);
    free(in);
    free(at);
    free(out);
    fy_pool_free(pool);
    return ok;
}

static bool one(const char *dir, const char *stem, tally *t) {
    char path[700], npz[700], name[300];
    ferry_error e = {0};
    bool script = strcmp(dir, "torchscript") == 0;
    snprintf(path, sizeof path, script ? "%s/%s/%s.pt" : "%s/pt2/%s/%s.pt2", FERRY_FIXTURES, dir, stem);
    snprintf(npz, sizeof npz, script ? "%s/%s/%s.npz" : "%s/pt2/%s/%s.npz", FERRY_FIXTURES, dir, stem);
    snprintf(name, sizeof name, "%s/%s", dir, stem);
    fy_program *p = NULL;
    fy_model *m = NULL;
    fy_notes notes = {0};
    fy_named_list z = {0};
    t->models++;
    bool ok = lower_file(&p, &m, path, &notes, &e) == FY_OK;
    if (!ok) complain("lower", name, &e);
    if (ok && script && !strstr(stem, "state") && m->graph->state.n) { print_error("%s: %s became state\n", name, m->graph->state.at[0].in->name); ok = false; }
    if (ok && fy_npz_read(&z, npz, &e) != FY_OK) { complain("npz", name, &e); ok = false; }
    if (ok) {
        ok = run_case(m, p, &z, "", name);
        t->cases++;
        static const char *const more[] = {"other_", "third_"};
        for (int k = 0; k < 2; k++) {
            char input[32], other[320];
            snprintf(input, sizeof input, "%sin0", more[k]);
            if (!fy_named_find(&z, input)) continue;
            snprintf(other, sizeof other, "%s (%s size)", name, k ? "third" : "other");
            ok = run_case(m, p, &z, more[k], other) && ok;
            t->cases++;
        }
    }
    if (getenv("FERRY_SHOW") && m) {
        fy_buf b = {0};
        fy_program_print(&b, p);
        for (int64_t i = 0; i < notes.n; i++) fy_buf_fmt(&b, "note: %s (%s)\n", notes.at[i].text, notes.at[i].where);
        if (b.at) fputs(b.at, stderr);
        fy_buf_free(&b);
    }
    fy_named_free(&z);
    fy_notes_free(&notes);
    fy_model_free(m);
    fy_program_free(p);
    return ok;
}

static void folder(const char *dir) {
    char path[600];
    const char *end = strcmp(dir, "torchscript") == 0 ? ".pt" : ".pt2";
    snprintf(path, sizeof path, end[3] == 0 ? "%s/%s" : "%s/pt2/%s", FERRY_FIXTURES, dir);
    DIR *d = opendir(path);
    assert_non_null(d);
    tally t = {0};
    int bad = 0;
    const char *only = getenv("FERRY_ONLY");
    for (struct dirent *f; (f = readdir(d));) {
        char stem[256];
        size_t n = strlen(f->d_name);
        if (n < 5 || n >= sizeof stem || strcmp(f->d_name + n - strlen(end), end) != 0) continue;
        snprintf(stem, sizeof stem, "%.*s", (int)(n - strlen(end)), f->d_name);
        if (only && strcmp(only, stem) != 0) continue;
        if (strcmp(stem, "evaluator") == 0) continue;    /* what has an evaluation and no lowering */
        if (!one(dir, stem, &t)) bad++;
    }
    closedir(d);
    if (getenv("FERRY_SHOW") || getenv("FERRY_COUNT")) print_message("%s: %d models, %d cases\n", dir, t.models, t.cases);
    if (bad) print_error("%s: %d of %d models differ or fail\n", dir, bad, t.models);
    assert_int_equal(bad, 0);
    assert_true(t.models > 0 || only);
}

static void torch27(void **state) { (void)state; folder("t27"); }
static void torch215(void **state) { (void)state; folder("t215"); }
static void zoo(void **state) { (void)state; folder("zoo"); }
static void quantised(void **state) { (void)state; folder("quantised"); }
static void operators(void **state) { (void)state; folder("ops"); }

static void torchscript(void **state) { (void)state; folder("torchscript"); }

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(torch27), cmocka_unit_test(torch215), cmocka_unit_test(torchscript), cmocka_unit_test(zoo), cmocka_unit_test(quantised), cmocka_unit_test(operators)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
