/* SPDX-License-Identifier: Apache-2.0
 * print.c - a verification for people, for programs (JSON) and for CI (JUnit XML). */
#include "verify/internal.h"

#include <math.h>

#define RED(c)   ((c) ? "\033[31m" : "")
#define GREEN(c) ((c) ? "\033[32m" : "")
#define AMBER(c) ((c) ? "\033[33m" : "")
#define OFF(c)   ((c) ? "\033[0m" : "")

static const char *verdict_name(fy_verdict v) { return v == FY_VERDICT_PASS ? "pass" : v == FY_VERDICT_FAIL ? "fail" : "unverified"; }

static void print_output(fy_buf *b, const fy_verify_output *o, bool colour) {
    size_t start = b->n;
    while (start && b->at[start - 1] != '\n') start--;
    fy_buf_fmt(b, "    %s", o->name);
    fy_buf_pad(b, 30);
    if (o->dtype) {
        fy_buf_fmt(b, "%s", fy_dtype_name(o->dtype));
        fy_buf_pad(b, 36);
        if (fy_dtype_float(o->dtype)) fy_buf_fmt(b, "max abs %8.2e  rms %8.2e  tolerance %7.1e", o->diff.max_abs, o->diff.rms, o->tolerance);
        else fy_buf_fmt(b, "%lld of %lld differ", (long long)o->diff.differing, (long long)o->diff.count);
        if (o->ties) fy_buf_fmt(b, "%s, %lld of them ties%s", AMBER(colour), (long long)o->ties, OFF(colour));
    }
    fy_buf_fmt(b, "  %s%s%s\n", o->ok ? GREEN(colour) : RED(colour), o->ok ? "ok" : "NO", OFF(colour));
    if (!o->ok) fy_buf_fmt(b, "      %s%s%s\n", RED(colour), o->why, OFF(colour));
}

void fy_verify_print(fy_buf *b, const fy_verify_report *r, bool colour) {
    const char *c = r->verdict == FY_VERDICT_PASS ? GREEN(colour) : r->verdict == FY_VERDICT_FAIL ? RED(colour) : AMBER(colour);
    for (int i = 0; i < r->ncases; i++) {
        const fy_verify_case *k = &r->cases[i];
        fy_buf_fmt(b, "  %s\n", k->label);
        for (int j = 0; j < k->nout; j++) print_output(b, &k->out[j], colour);
    }
    fy_buf_fmt(b, "  %s%s%s: ", c, r->verdict == FY_VERDICT_PASS ? "verified" : r->verdict == FY_VERDICT_FAIL ? "NOT the same" : "not verified in full", OFF(colour));
    fy_buf_fmt(b, "max abs %.2e, tolerance %.0e, %d case%s (%s), by %s against %s\n", r->worst_abs, r->worst_tolerance, r->ncases, r->ncases == 1 ? "" : "s",
               r->sizes ? r->sizes : "", r->engine ? r->engine : "", r->reference ? r->reference : "");
    if (r->first_node && *r->first_node) fy_buf_fmt(b, "  values part first at %s\n", r->first_node);
    if (r->unverified && *r->unverified) fy_buf_fmt(b, "  %snot verified%s: %s\n", AMBER(colour), OFF(colour), r->unverified);
}

void fy_verify_json(fy_jsonw *w, const fy_verify_report *r) {
    fy_jsonw_str(w, "verdict", verdict_name(r->verdict));
    fy_jsonw_str(w, "engine", r->engine);
    fy_jsonw_str(w, "reference", r->reference);
    fy_jsonw_num(w, "worst_abs", r->worst_abs);
    fy_jsonw_num(w, "tolerance", r->tolerance);
    fy_jsonw_str(w, "sizes", r->sizes);
    fy_jsonw_str(w, "unverified", r->unverified);
    fy_jsonw_str(w, "first_node", r->first_node);
    fy_jsonw_array(w, "cases");
    for (int i = 0; i < r->ncases; i++) {
        const fy_verify_case *k = &r->cases[i];
        fy_jsonw_object(w, NULL);
        fy_jsonw_str(w, "label", k->label);
        fy_jsonw_bool(w, "by_sample", k->by_sample);
        fy_jsonw_array(w, "outputs");
        for (int j = 0; j < k->nout; j++) {
            const fy_verify_output *o = &k->out[j];
            fy_jsonw_object(w, NULL);
            fy_jsonw_str(w, "name", o->name);
            fy_jsonw_bool(w, "ok", o->ok);
            fy_jsonw_str(w, "why", o->why);
            fy_jsonw_str(w, "dtype", fy_dtype_name(o->dtype));
            fy_jsonw_num(w, "tolerance", o->tolerance);
            fy_jsonw_bool(w, "ok_relative_to_range", o->range_ok);
            fy_jsonw_int(w, "ties", o->ties);
            fy_jsonw_int(w, "elements", o->diff.count);
            fy_jsonw_int(w, "differing", o->diff.differing);
            fy_jsonw_num(w, "max_abs", o->diff.max_abs);
            fy_jsonw_num(w, "max_rel", o->diff.max_rel);
            fy_jsonw_num(w, "rms", o->diff.rms);
            fy_jsonw_num(w, "cosine", o->diff.cosine);
            fy_jsonw_num(w, "snr_db", o->diff.snr_db);
            fy_jsonw_num(w, "reference_range", o->diff.ref_range);
            fy_jsonw_int(w, "worst", o->diff.worst);
            fy_jsonw_num(w, "worst_got", o->diff.worst_got);
            fy_jsonw_num(w, "worst_reference", o->diff.worst_ref);
            fy_jsonw_end_object(w);
        }
        fy_jsonw_end_array(w);
        fy_jsonw_end_object(w);
    }
    fy_jsonw_end_array(w);
}

static void xml(fy_buf *b, const char *s) {
    for (; s && *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '<') fy_buf_str(b, "&lt;");
        else if (c == '>') fy_buf_str(b, "&gt;");
        else if (c == '&') fy_buf_str(b, "&amp;");
        else if (c == '"') fy_buf_str(b, "&quot;");
        else if (c < 32 && c != '\n' && c != '\t') fy_buf_char(b, '?');
        else fy_buf_char(b, *s);
    }
}

/* One test case for each output of each case; what has no oracle is skipped. */
void fy_verify_junit(fy_buf *b, const fy_verify_report *r, const char *model) {
    int tests = 0, failures = 0, skipped = r->unverified && *r->unverified ? 1 : 0;
    for (int i = 0; i < r->ncases; i++)
        for (int j = 0; j < r->cases[i].nout; j++) { tests++; failures += !r->cases[i].out[j].ok; }
    fy_buf_str(b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"ferry verify ");
    xml(b, model);
    fy_buf_fmt(b, "\" tests=\"%d\" failures=\"%d\" skipped=\"%d\">\n", tests + skipped, failures, skipped);
    for (int i = 0; i < r->ncases; i++)
        for (int j = 0; j < r->cases[i].nout; j++) {
            const fy_verify_output *o = &r->cases[i].out[j];
            fy_buf_str(b, "    <testcase classname=\"");
            xml(b, model);
            fy_buf_str(b, "\" name=\"");
            xml(b, r->cases[i].label);
            fy_buf_str(b, ": ");
            xml(b, o->name);
            fy_buf_str(b, "\"");
            if (o->ok) { fy_buf_str(b, "/>\n"); continue; }
            fy_buf_str(b, ">\n      <failure message=\"");
            xml(b, o->why);
            fy_buf_str(b, "\">");
            xml(b, r->first_node && *r->first_node ? r->first_node : "");
            fy_buf_str(b, "</failure>\n    </testcase>\n");
        }
    if (skipped) {
        fy_buf_str(b, "    <testcase classname=\"");
        xml(b, model);
        fy_buf_str(b, "\" name=\"without an oracle\"><skipped message=\"");
        xml(b, r->unverified);
        fy_buf_str(b, "\"/></testcase>\n");
    }
    fy_buf_str(b, "  </testsuite>\n</testsuites>\n");
}
