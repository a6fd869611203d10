/* SPDX-License-Identifier: Apache-2.0
 * test_weights.c - ferry_weights, and export with other weights: into a .pt2 and into a .onnx they give the same model; what does not match
 * is said all at once; what was folded into something else is never replaced wrongly. */
#include "api_files.h"

#include "base/file.h"

#define FILES FERRY_FIXTURES "/weights/"

static int weights_to(const char *from, const char *to, const char *const *words, ferry_report **r, ferry_error *e) {
    ferry_option o[16];
    ferry_job    job = job_of(o, words);
    memset(e, 0, sizeof *e);
    *r = NULL;
    return ferry_weights(from, to, &job, r, e);
}

static void taken_out(const char *from, const char *to, const char *const *words) {
    ferry_error   e;
    ferry_report *r;
    if (weights_to(from, to, words, &r, &e)) fail_msg("%s: %s", from, e.text);
    ferry_report_free(r);
}

static bool same_bytes(const char *a, const char *b) {
    fy_map_file x, y;
    ferry_error e;
    assert_ok(fy_file_open(&x, a, &e), e);
    assert_ok(fy_file_open(&y, b, &e), e);
    bool same = x.n == y.n && !memcmp(x.at, y.at, x.n);
    fy_file_close(&x);
    fy_file_close(&y);
    return same;
}

/* Whatever file they come from, the same weights are the same bytes. */
static void reproducible(void **state) {
    (void)state;
    static const char *const from[] = {"net.pt2", "net_legacy.pth", "net_module.pt", "net_module_legacy.pt"};
    taken_out(FILES "net.pth", "a.safetensors", NONE);
    for (size_t i = 0; i < sizeof from / sizeof *from; i++) {
        char path[300];
        snprintf(path, sizeof path, FILES "%s", from[i]);
        taken_out(path, "b.safetensors", NONE);
        if (!same_bytes("a.safetensors", "b.safetensors")) fail_msg("%s", from[i]);
    }
    taken_out("b.safetensors", "c.safetensors", NONE);
    assert_true(same_bytes("a.safetensors", "c.safetensors"));
    taken_out(FILES "tuned.pth", "c.safetensors", OPTIONS("section", "ema.state_dict"));
    assert_true(same_bytes("a.safetensors", "c.safetensors"));
    taken_out(FILES "net.pth", "once.safetensors", OPTIONS("once", ""));
    assert_false(same_bytes("a.safetensors", "once.safetensors"));
    ferry_error   e;
    ferry_report *r;
    assert_int_equal(weights_to("a.safetensors", "a.safetensors", NONE, &r, &e), FERRY_USAGE);
    assert_int_equal(weights_to("a.safetensors", NULL, NONE, &r, &e), FERRY_USAGE);
    assert_int_equal(weights_to(FERRY_FIXTURES "/other/script.pt", "d.safetensors", NONE, &r, &e), FERRY_BAD_MODEL);
    assert_false(exists("d.safetensors"));
}

/* Do two models give the same on seeded inputs? */
static void agree(const char *a, const char *b) {
    ferry_error   e;
    ferry_report *r;
    int kind = call(ferry_verify, a, OPTIONS("against", b, "tolerance", "1e-6"), &r, &e);
    if (kind) fail_msg("%s is not %s: %s", a, b, kind == FERRY_NO ? ferry_report_text(r, 0) : e.text);
    ferry_report_free(r);
}

static void refused(const char *model, const char *const *words_in, const char *const *in_text) {
    ferry_error   e;
    ferry_report *r;
    int           kind = export_to(model, "refused.onnx", words_in, &r, &e);
    if (kind != FERRY_NO || !r) fail_msg("%s: kind %d, %s", model, kind, e.text);
    for (; *in_text; in_text++)
        if (!strstr(ferry_report_text(r, 0), *in_text)) fail_msg("no \"%s\" in %s", *in_text, ferry_report_text(r, 0));
    assert_non_null(strstr(ferry_report_json(r), "\"written\": false"));
    ferry_report_free(r);
    assert_false(exists("refused.onnx"));
}
#define REFUSED(model, options, ...) refused(model, options, (const char *const[]){__VA_ARGS__, NULL})

/* Fine-tuned weights in the .pt2 before it is lowered, and in the .onnx afterwards: transposed, tied and plain ones end up where they belong. */
static void into_both(void **state) {
    (void)state;
    exported(FILES "net.pt2", "net.onnx", NONE);
    exported(FILES "net.pt2", "by_pt2.onnx", OPTIONS("weights", FILES "tuned.pth"));
    exported("net.onnx", "by_onnx.onnx", OPTIONS("weights", FILES "tuned.pth"));
    agree("by_onnx.onnx", "by_pt2.onnx");
    exported("net.onnx", "compiled.onnx", OPTIONS("weights", FILES "compiled.pth"));
    assert_true(exists("compiled.onnx"));
    agree("compiled.onnx", "by_pt2.onnx");
    /* its own weights change nothing, not a byte */
    exported("net.onnx", "own.onnx", OPTIONS("weights", FILES "net_legacy.pth"));
    assert_true(same_bytes("net.onnx", "own.onnx"));
    /* the new file says where its weights are from, and no longer that it was verified against the .pt2 */
    ferry_error  e;
    ferry_model *m = ferry_open("by_onnx.onnx", NULL, &e);
    assert_non_null(m);
    assert_string_equal(ferry_metadata(m, "ferry.weights_from"), "tuned.pth");
    assert_null(ferry_metadata(m, "ferry.source_sha256"));
    assert_non_null(ferry_metadata(m, "ferry.weights"));
    ferry_close(m);
    /* through optimize, which folds and joins, the names still find their weights or are refused */
    ferry_option  o[2] = {{"output", "small.onnx"}};
    ferry_job     job = {o, 1, NULL, NULL};
    ferry_report *r;
    exported(FILES "net.pt2", "plain.onnx", OPTIONS("no-fold-bn", ""));
    assert_int_equal(ferry_optimize("plain.onnx", NULL, &job, &r, &e), FERRY_OK);
    ferry_report_free(r);
    o[0].value = "again.onnx";
    assert_int_equal(ferry_optimize("small.onnx", NULL, &job, &r, &e), FERRY_OK);
    ferry_report_free(r);
    assert_true(same_bytes("small.onnx", "again.onnx"));     /* the record too */
    exported("small.onnx", "by_small.onnx", OPTIONS("weights", FILES "tuned.pth", "tolerance", "1e-5"));
    agree("by_small.onnx", "by_pt2.onnx");
    exported("small.onnx", "some_small.onnx", OPTIONS("weights", FILES "bad.pth", "partial", ""));       /* the record of a fold, too */
    exported(FILES "net.pt2", "some.onnx", OPTIONS("weights", FILES "bad.pth", "partial", ""));
    agree("some_small.onnx", "some.onnx");
    /* and out again */
    taken_out("by_pt2.onnx", "out.safetensors", NONE);
    exported(FILES "net.pt2", "round.onnx", OPTIONS("weights", "out.safetensors", "partial", ""));
    agree("round.onnx", "by_pt2.onnx");
}

static void all_faults_at_once(void **state) {
    (void)state;
    exported(FILES "net.pt2", "net.onnx", NONE);
    static const char *const models[] = {FILES "net.pt2", "net.onnx"};
    for (int i = 0; i < 2; i++)
        REFUSED(models[i], OPTIONS("weights", FILES "bad.pth"), "missing 1", "fc.bias", "unexpected 1", "extra.weight", "mismatch 2",
                "fc.weight: the file has f32[4,8], the model f32[8,8]", "mix.weight: the file has f16[8,8], the model f32[8,8] (--cast converts)");
    REFUSED("net.onnx", OPTIONS("weights", FILES "untied.pth", "partial", ""), "emb.weight: it shares one tensor with another weight");
    exported(FILES "net.pt2", "untied.onnx", OPTIONS("weights", FILES "untied.pth"));
    exported(FILES "net.pt2", "some.onnx", OPTIONS("weights", FILES "bad.pth", "partial", "", "cast", ""));
    REFUSED("net.onnx", OPTIONS("weights", FILES "every.pth", "partial", ""), "0 of ", "no weight of the file has a name of the model");
    ferry_error   e;
    ferry_report *r;
    assert_int_equal(export_to("net.onnx", "x.onnx", OPTIONS("partial", "", "weights", "nothing.pth"), &r, &e), FERRY_IO);
    assert_int_equal(export_to(FILES "net.pt2", "x.onnx", OPTIONS("partial", ""), &r, &e), FERRY_USAGE);
    assert_int_equal(export_to("net.onnx", "net.onnx", OPTIONS("weights", FILES "net.pth"), &r, &e), FERRY_USAGE);
    assert_int_equal(export_to(FILES "net.pt2", "x.onnx", OPTIONS("weights", FILES "tuned.pth", "section", "optimiser"), &r, &e), FERRY_USAGE);
    assert_false(exists("x.onnx"));
}

/* Copies a file with one text in it replaced by another of the same length. */
static void patched(const char *from, const char *to, const char *old, const char *now) {
    fy_map_file f;
    ferry_error e;
    size_t n = strlen(old);
    bool found = false;
    assert_ok(fy_file_open(&f, from, &e), e);
    char *copy = malloc(f.n);
    memcpy(copy, f.at, f.n);
    for (size_t i = 0; i + n <= f.n; i++)
        if (!memcmp(copy + i, old, n)) { memcpy(copy + i, now, n); found = true; }
    assert_true(found);
    FILE *out = fopen(to, "wb");
    assert_non_null(out);
    fwrite(copy, 1, f.n, out);
    fclose(out);
    free(copy);
    fy_file_close(&f);
}

/* A file without a record (of another tool, or with it taken out): a batch norm that the model lacks is a warning sign. */
static void without_record(void **state) {
    (void)state;
    exported(FILES "net.pt2", "net.onnx", NONE);
    patched("net.onnx", "bare.onnx", "ferry.weights", "other.weights");
    REFUSED("bare.onnx", OPTIONS("weights", FILES "tuned.pth", "partial", ""), "bn.running_var: the model has no such batch norm");
}

/* A norm folded into its convolution: both have their names in the record, and go through optimize and a first swap. */
static void folded_anew(void **state) {
    (void)state;
    exported(FILES "net.pt2", "net.onnx", NONE);
    exported(FILES "net.pt2", "want.onnx", OPTIONS("weights", FILES "bad.pth", "partial", "", "cast", ""));
    exported("net.onnx", "got.onnx", OPTIONS("weights", FILES "bad.pth", "partial", "", "cast", ""));
    agree("got.onnx", "want.onnx");
    exported("got.onnx", "back.onnx", OPTIONS("weights", FILES "net.pth"));
    agree("back.onnx", "net.onnx");
    /* a file of before there was such a record: as ever */
    patched("net.onnx", "old.onnx", "\"folds\":", "\"foldz\":");
    REFUSED("old.onnx", OPTIONS("weights", FILES "bad.pth", "partial", "", "cast", ""), "folded 1", "conv.weight", "ferry export MODEL.pt2 --weights");
    /* half of the two is not enough, unless it is what the model has: which after a swap nobody knows */
    patched(FILES "bad.pth", "half.pth", "bn.running_mean", "bn.running_maen");
    patched(FILES "net.pth", "same.pth", "bn.running_mean", "bn.running_maen");
    REFUSED("net.onnx", OPTIONS("weights", "half.pth", "partial", "", "cast", ""), "conv.weight: a norm is folded into its convolution", "ferry export MODEL.pt2 --weights");
    exported("net.onnx", "same.onnx", OPTIONS("weights", "same.pth", "partial", ""));
    REFUSED("got.onnx", OPTIONS("weights", "same.pth", "partial", ""), "bn.weight: a norm is folded into its convolution");
}

/* A record that says what cannot be. */
static void damaged_record(void **state) {
    (void)state;
    static const struct { const char *old, *now; } bad[] = {
        {"{\"folded\":{", "[\"folded\":{"}, {"\"links\":[[", "\"links\":[5["}, {"mix.weight\",1,0]", "mix.weight\",1,1]"}, {"mix.weight\",1,0]", "mix.weight\",9,0]"},
        {"\"unused\":[]", "\"unused\":{}"}, {"\"made\":[\"", "\"made\":[1,"}, {"\"bn.weight\":\"", "\"bn.weight\":0\""},
        {"\"folds\":[[", "\"folds\":[5["}, {"[[\"conv.weight\",", "[[13,14,15,1678,"}, {"bn.running_var\",0,1.", "bn.running_var\",[],1"},
    };
    exported(FILES "net.pt2", "net.onnx", NONE);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ferry_error   e;
        ferry_report *r;
        patched("net.onnx", "damaged.onnx", bad[i].old, bad[i].now);
        int kind = export_to("damaged.onnx", "x.onnx", OPTIONS("weights", FILES "tuned.pth"), &r, &e);
        if (kind != FERRY_BAD_MODEL || !strstr(e.help, "ferry.weights")) fail_msg("%s: %d %s %s", bad[i].now, kind, e.text, e.help);
        assert_false(exists("x.onnx"));
    }
    /* a link to a weight of another shape is found out by its shape */
    ferry_error   e;
    ferry_report *r;
    patched("net.onnx", "damaged.onnx", "\"mix.weight\",1,0]", "\"conv.weigh\",1,0]");
    assert_int_equal(export_to("damaged.onnx", "x.onnx", OPTIONS("weights", FILES "tuned.pth"), &r, &e), FERRY_NO);
    ferry_report_free(r);
}

static void info(void **state) {
    (void)state;
    ferry_error   e;
    ferry_report *r;
    assert_int_equal(call(ferry_info, FILES "tuned.pth", NONE, &r, &e), FERRY_OK);
    const char *const words[] = {"module.fc.weight", "f32[8,8]", "epoch", "ema.state_dict", "13 tensors", "tied to module.emb.weight"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strstr(ferry_report_text(r, 0), words[i])) fail_msg("no %s in %s", words[i], ferry_report_text(r, 0));
    assert_non_null(strstr(ferry_report_json(r), "\"tied_to\": \"module.emb.weight\""));
    ferry_report_free(r);
    assert_int_equal(call(ferry_info, FILES "net_module.pt", OPTIONS("shapes", ""), &r, &e), FERRY_OK);
    assert_non_null(strstr(ferry_report_text(r, 0), "nothing was run"));
    ferry_report_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reproducible), cmocka_unit_test(into_both), cmocka_unit_test(all_faults_at_once), cmocka_unit_test(without_record), cmocka_unit_test(folded_anew), cmocka_unit_test(damaged_record), cmocka_unit_test(info),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
