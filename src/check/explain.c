/* SPDX-License-Identifier: Apache-2.0
 * explain.c - one help text for error codes, operators, passes and knobs, from the same lists that the code is made of; and the
 * list of supported operators. */
#include "base/knobs.h"
#include "check/check.h"
#include "formats/stored.h"
#include "ops/ops_text.h"
#include "passes/passes.h"

#include <stdio.h>
#include <string.h>

/* ---- ops ---------------------------------------------------------------------------------------------------------- */

/* What the operator takes, as its table says: what tests compare with onnx's own schemas. */
static void json_schema(fy_jsonw *w, const fy_op *op) {
    static const char *const kinds[] = {"", "float", "int", "string", "tensor", "graph", "floats", "ints", "strings", "tensors", "graphs", "sparse_tensor", "sparse_tensors",
        "type_proto", "type_protos"};
    fy_jsonw_int(w, "min_inputs", op->min_in);
    fy_jsonw_int(w, "max_inputs", op->max_in);
    fy_jsonw_int(w, "min_outputs", op->min_out);
    fy_jsonw_int(w, "max_outputs", op->max_out);
    fy_jsonw_str(w, "types", op->types);
    fy_jsonw_array(w, "attributes");
    for (const fy_attr_spec *a = op->attrs; a && a->name; a++) {
        bool required = a->def && !strcmp(a->def, FY_REQUIRED);
        fy_jsonw_object(w, NULL);
        fy_jsonw_str(w, "name", a->name);
        fy_jsonw_str(w, "type", kinds[a->kind]);
        fy_jsonw_bool(w, "required", required);
        fy_jsonw_str(w, "default", required ? NULL : a->def);
        fy_jsonw_end_object(w);
    }
    fy_jsonw_end_array(w);
}

/* "" is how files name ai.onnx. */
static const char *domain_of(const fy_op *op) { return op->domain && *op->domain ? op->domain : "ai.onnx"; }

static bool same_domain(const fy_op *a, const fy_op *b) { return !strcmp(domain_of(a), domain_of(b)); }

/* ops/ops.txt: a line "Name: meaning" for each operator, below it "  attribute: meaning" for each attribute; before it an end of line. */
typedef struct meanings { char text[OPS_TEXT_SIZE + 2]; } meanings;

static void read_meanings(meanings *m) {
    m->text[0] = '\n';
    fy_stored_read(m->text + 1, OPS_TEXT_SIZE, ops_text, sizeof ops_text);
    m->text[OPS_TEXT_SIZE + 1] = 0;
}

static void print_meaning(fy_buf *t, const meanings *m, const fy_op *op, const char *attr) {
    char key[160];
    snprintf(key, sizeof key, "\n%s%s%s: ", op->domain, *op->domain ? "." : "", op->name);
    const char *p = strstr(m->text, key);
    if (p && attr) {
        snprintf(key, sizeof key, "\n  %s: ", attr);
        do p = strchr(p + 1, '\n');                          /* its own attributes alone: the next operator is not set in */
        while (p && !strncmp(p, "\n  ", 3) && strncmp(p, key, strlen(key)));
        if (p && strncmp(p, "\n  ", 3)) p = NULL;
    }
    if (p) p += strlen(key);
    if (p) fy_buf_add(t, p, strcspn(p, "\n"));
}

/* Operators by domain, a domain where its first operator stands in the list: name, version of the domain that brought it, meaning. */
static void onnx_ops(fy_report *r, fy_jsonw *w) {
    const fy_registry *reg = fy_registry_builtin();
    int n = fy_registry_count(reg);
    meanings m;
    read_meanings(&m);
    fy_buf_fmt(&r->text, FY_BOLD "ONNX" FY_OFF ": %d operators, canonical opset %d; each with the version that it is since\n", n, FY_CANONICAL_OPSET);
    fy_jsonw_array(w, "onnx");
    for (int i = 0; i < n; i++) {
        const fy_op *head = fy_registry_at(reg, i);
        int count = 0, earlier = 0;
        for (int k = 0; k < n; k++) {
            bool same = same_domain(fy_registry_at(reg, k), head);
            count += same;
            earlier += same && k < i;
        }
        if (earlier) continue;
        fy_buf_fmt(&r->text, FY_BOLD "%s" FY_OFF ": %d\n", domain_of(head), count);
        for (int k = i; k < n; k++) {
            const fy_op *op = fy_registry_at(reg, k);
            if (!same_domain(op, head)) continue;
            fy_buf_fmt(&r->text, "  %-33s %2d  ", op->name, op->first);
            print_meaning(&r->text, &m, op, NULL);
            fy_buf_fmt(&r->text, "%s\n", op->ref ? "" : FY_AMBER " (no kernel)" FY_OFF);
            fy_jsonw_object(w, NULL);
            fy_jsonw_str(w, "domain", op->domain);
            fy_jsonw_str(w, "name", op->name);
            fy_jsonw_int(w, "first_opset", op->first);
            fy_jsonw_int(w, "since", op->since);
            fy_jsonw_bool(w, "infer", op->infer != NULL);
            fy_jsonw_bool(w, "kernel", op->ref != NULL);
            json_schema(w, op);
            fy_jsonw_end_object(w);
        }
    }
    fy_jsonw_end_array(w);
}

/* "aten::add_.Tensor(..." -> "aten.add_.Tensor"; without overload "aten.relu.default". */
static void op_name(char *out, size_t n, const char *schema) {
    size_t len = strcspn(schema, "("), base = strcspn(schema, ":");
    const char *rest = schema + base + 2;
    snprintf(out, n, "%.*s.%.*s%s", (int)base, schema, (int)(len - base - 2), rest, memchr(rest, '.', len - base - 2) ? "" : ".default");
}

/* An operator that writes in place is rewritten to the one that does not, before lowering. */
static const fy_aten_op *functional(const char *name) {
    const char *dot = strrchr(name, '.');
    char plain[160];
    if (!dot || dot == name || dot[-1] != '_' || dot[-2] == '_') return NULL;
    snprintf(plain, sizeof plain, "%.*s%s", (int)(dot - name - 1), name, dot);
    return fy_aten_find(plain);
}

static void aten_ops(fy_report *r, fy_jsonw *w) {
    int n = fy_aten_count(), exported = 0;
    fy_buf lines = {0};
    fy_jsonw_array(w, "aten");
    for (int i = 0; i < n; i++) {
        const fy_aten_op *op = fy_aten_at(i);
        char name[160];
        op_name(name, sizeof name, op->schema);
        const fy_aten_op *as = op->lower ? op : functional(name);
        bool out = as && as->lower;
        exported += out;
        if (out) fy_buf_fmt(&lines, "  %-40s%s\n", name, op->eval ? "" : FY_AMBER "not verified by the evaluator" FY_OFF);
        fy_jsonw_object(w, NULL);
        fy_jsonw_str(w, "name", name);
        fy_jsonw_bool(w, "export", out);
        fy_jsonw_bool(w, "verify", op->eval != NULL);
        fy_jsonw_end_object(w);
    }
    fy_jsonw_end_array(w);
    fy_buf_fmt(&r->text, FY_BOLD "ATen" FY_OFF ": %d operators exported\n", exported);
    fy_buf_add(&r->text, lines.at, lines.n);
    r->text.oom |= lines.oom;
    fy_buf_free(&lines);
}

fy_status fy_ops_report(fy_report *r, bool onnx, bool aten, ferry_error *e) {
    fy_jsonw w = {.out = &r->json, .first = true};
    (void)e;
    fy_jsonw_object(&w, NULL);
    if (onnx) onnx_ops(r, &w);
    if (aten) aten_ops(r, &w);
    fy_jsonw_end_object(&w);
    fy_buf_char(&r->json, '\n');
    return FY_OK;
}

/* ---- explain ------------------------------------------------------------------------------------------------------ */

static bool explain_code(fy_buf *t, const char *topic) {
    fy_code c = fy_code_find(topic);
    static const char *const kinds[] = {"0", "1 (no)", "2 (usage)", "3 (bad or unsupported model)", "4 (input/output)", "5 (a bug of ferry)"};
    if (c == FY_OK) return false;
    const fy_code_info *i = fy_code_get(c);
    fy_buf_fmt(t, FY_BOLD "%s" FY_OFF ": %s\n  %s\n  exit code %s\n", i->name, i->text, i->help, kinds[i->kind]);
    return true;
}

/* "Gelu": of every domain that has it; "com.microsoft.Gelu": that one. */
static bool explain_op(fy_buf *t, const char *topic) {
    const fy_registry *reg = fy_registry_builtin();
    meanings m;
    bool found = false;
    read_meanings(&m);
    for (int i = 0; i < fy_registry_count(reg); i++) {
        const fy_op *op = fy_registry_at(reg, i);
        const char *domain = domain_of(op);
        size_t n = strlen(domain);
        bool full = !strncmp(topic, domain, n) && topic[n] == '.' && !strcmp(topic + n + 1, op->name);
        if (!full && strcmp(topic, op->name) != 0) continue;
        found = true;
        fy_buf_fmt(t, FY_BOLD "%s" FY_OFF ": ", op->name);
        print_meaning(t, &m, op, NULL);
        fy_buf_fmt(t, "\n  %s: first in opset %d, this form since %d; inputs %d to %s", domain, op->first, op->since, op->min_in, op->max_in < 0 ? "any number" : "");
        if (op->max_in >= 0) fy_buf_fmt(t, "%d", op->max_in);
        fy_buf_char(t, '\n');
        for (const fy_attr_spec *a = op->attrs; a && a->name; a++) {
            fy_buf_fmt(t, "  %-20s ", a->name);
            print_meaning(t, &m, op, a->name);
            fy_buf_fmt(t, "%s%s%s\n", a->def ? " [" : "", !a->def ? "" : !strcmp(a->def, FY_REQUIRED) ? "required" : a->def, a->def ? "]" : "");
        }
    }
    return found;
}

static bool explain_pass(fy_buf *t, const char *topic) {
    const fy_pass *p = fy_pass_find(topic);
    if (p) fy_buf_fmt(t, FY_BOLD "%s" FY_OFF " (pass): %s\n  --skip-pass %s leaves it out; --dump DIR shows what it changes\n", p->name, p->doc, p->name);
    return p != NULL;
}

static bool explain_knob(fy_buf *t, const char *topic) {
    int n;
    const fy_knob *k = fy_knobs(&n);
    for (int i = 0; i < n; i++)
        if (!strcmp(k[i].name, topic)) {
            fy_buf_fmt(t, FY_BOLD "%s" FY_OFF " (environment): %s\n  value \"%s\", default \"%s\"\n", k[i].name, k[i].text, fy_knob_str(topic), k[i].fallback);
            return true;
        }
    return false;
}

/* Everything that can be explained, for "did you mean" and for the list without a topic. */
static fy_status topics(const char ***names, int *n, fy_arena *a, ferry_error *e) {
    const fy_registry *reg = fy_registry_builtin();
    int npass, nknob, nop = fy_registry_count(reg);
    const fy_pass *pass = fy_passes(&npass);
    const fy_knob *knob = fy_knobs(&nknob);
    const char **at = FY_NEWN(a, const char *, FY_CODE_COUNT + npass + nknob + nop);
    FY_NOMEM(e, at);
    *n = 0;
    for (int i = 1; i < FY_CODE_COUNT; i++) at[(*n)++] = fy_code_get((fy_code)i)->name;
    for (int i = 0; i < npass; i++) at[(*n)++] = pass[i].name;
    for (int i = 0; i < nknob; i++) at[(*n)++] = knob[i].name;
    for (int i = 0; i < nop; i++) at[(*n)++] = fy_registry_at(reg, i)->name;
    *names = at;
    return FY_OK;
}

fy_status fy_explain_report(fy_report *r, const char *topic, ferry_error *e) {
    fy_arena a = {0};
    const char **names = NULL;
    int n = 0;
    if (!topic) topic = "";
    fy_status s = topics(&names, &n, &a, e);
    if (!s && !*topic) {
        fy_buf_str(&r->text, "topics:\n");
        for (int i = 0; i < n; i++) fy_buf_fmt(&r->text, "  %s\n", names[i]);
    } else if (!s && !explain_code(&r->text, topic) && !explain_op(&r->text, topic) && !explain_pass(&r->text, topic) && !explain_knob(&r->text, topic)) {
        const char *near = fy_nearest(topic, names, n);
        s = fy_fail(e, FY_E_NAME, "there is nothing to explain under '%s'%s%s%s", topic, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    if (!s) s = fy_report_finish(r, e);
    if (!s) {
        fy_jsonw w = {.out = &r->json, .first = true};
        fy_jsonw_object(&w, NULL);
        fy_jsonw_str(&w, "topic", topic);
        fy_jsonw_str(&w, "text", r->plain.at);
        fy_jsonw_end_object(&w);
        fy_buf_char(&r->json, '\n');
    }
    fy_arena_free(&a);
    return s;
}
