/* SPDX-License-Identifier: Apache-2.0
 * test_hostile.c - every operator of the table on random inputs, sizes, index values and attributes: each run ends with a status,
 * never with a crash, a hang or a leak. FERRY_HOSTILE=N runs N trials for each operator, FERRY_HOSTILE_OP=NAME one operator. */
#include "strings_rig.h"

static const int64_t odd[] = {0, 1, -1, 2, 3, -2, 5, 7, INT64_MAX, INT64_MIN, INT32_MAX, INT32_MIN, (int64_t)1 << 40, -((int64_t)1 << 40),
        127, -128};
static int64_t any_int(rig *r) { return rig_range(r, 0, 3) ? rig_range(r, -2, 4) : odd[rig_range(r, 0, FY_COUNT(odd) - 1)]; }

static fy_str any_text(rig *r) {
    static const char *const words[] = {"", "a", "b", " a  b ", "1", "-2.5", "x\xff", "\u00fc", "LEAF", "BRANCH_LEQ", "BRANCH_EQ", "NONE", "LINEAR", "RBF", "LOGISTIC", "PROBIT", "L2"};
    return rig_str(words[rig_range(r, 0, FY_COUNT(words) - 1)]);
}

static fy_tensor any_tensor(rig *r, fy_dtype t, int rank) {
    static const double floats[] = {0, -0.0, 1, -1, 0.5, 2, 1e30, -1e30, 1e-30, 3};
    fy_tensor x = {0};
    int64_t dim[FY_MAX_RANK];
    for (int a = 0; a < rank; a++) dim[a] = rig_range(r, 0, 9) ? rig_range(r, 1, 4) : 0;
    assert_ok(fy_tensor_new(&x, t, rank, dim, &r->e), r->e);
    for (int64_t i = 0; i < fy_count(&x); i++)
        if (fy_dtype_class(t) == FY_CLASS_F) fy_put_f64(&x, i, floats[rig_range(r, 0, FY_COUNT(floats) - 1)]);
        else if (fy_dtype_class(t) == FY_CLASS_S) ((fy_str *)x.data)[i] = any_text(r);
        else fy_put_i64(&x, i, t == FERRY_BOOL ? rig_range(r, 0, 1) : any_int(r));
    return x;
}

#define MOST_ATTRS 32
static bool any_attr(rig *r, const fy_attr_spec *s, fy_attr *a, fy_arena *mem) {
    static int64_t ints[MOST_ATTRS][6];
    static double floats[MOST_ATTRS][6];
    static fy_str texts[MOST_ATTRS][6];
    static int at, k;
    static int64_t n;
    k = at++ % MOST_ATTRS;
    /* lists are mostly as long as the one before, or nothing of a table would ever fit */
    if (rig_range(r, 0, 3) == 0) n = rig_range(r, 0, 5);
    *a = (fy_attr){.name = s->name, .kind = s->kind, .n = 1};
    if (s->kind == FY_ATTR_INT) a->i = any_int(r);
    else if (s->kind == FY_ATTR_FLOAT) a->f = (double)rig_range(r, -4, 4) / 2;
    else if (s->kind == FY_ATTR_INTS) {
        a->n = n;
        a->ints = ints[k];
        for (int i = 0; i < 6; i++) ints[k][i] = any_int(r);
    } else if (s->kind == FY_ATTR_FLOATS) {
        a->n = n;
        a->floats = floats[k];
        for (int i = 0; i < 6; i++) floats[k][i] = (double)rig_range(r, -4, 4) / 2;
    } else if (s->kind == FY_ATTR_STRING) {
        a->s = s->def && strcmp(s->def, FY_REQUIRED) && rig_range(r, 0, 1) ? rig_str(s->def) : any_text(r);
    } else if (s->kind == FY_ATTR_STRINGS) {
        a->n = n;
        a->strings = texts[k];
        for (int i = 0; i < 6; i++) texts[k][i] = any_text(r);
    } else if (s->kind == FY_ATTR_TENSOR) {
        static const fy_dtype kinds[] = {FERRY_FLOAT, FERRY_DOUBLE, FERRY_UINT8, FERRY_INT64, FERRY_STRING};
        fy_tensor t = any_tensor(r, kinds[rig_range(r, 0, FY_COUNT(kinds) - 1)], 1);
        a->tensor = fy_const_from(mem, &t);
        fy_tensor_free(&t);
    } else return false;
    return true;
}

static int ran, good;

static void trial(rig *r, const fy_op *op) {
    static const fy_dtype kinds[] = {FERRY_FLOAT, FERRY_INT64, FERRY_FLOAT, FERRY_INT64, FERRY_INT32, FERRY_BOOL, FERRY_DOUBLE,
            FERRY_UINT8, FERRY_FLOAT16, FERRY_STRING};
    fy_tensor x[8];
    fy_rval val[8] = {{0}}, *inp[8], res[4] = {{0}};
    fy_value *v[8];
    fy_attr attr[MOST_ATTRS];
    char name[80];
    ferry_error e = {0};
    fy_model *m = fy_model_new(fy_registry_builtin());
    fy_build b = {.g = m->graph, .e = &e};
    int most = op->max_in < 0 || op->max_in > 6 ? 6 : op->max_in, nin = (int)rig_range(r, op->min_in,
            most < op->min_in ? op->min_in : most), n = 0, na = 0;
    int nout = (int)rig_range(r, op->min_out > 0 ? op->min_out : 1, op->max_out < 0 ? 3 : op->max_out > 4 ? 4 : op->max_out);
    fy_dtype main = kinds[rig_range(r, 0, FY_COUNT(kinds) - 1)];
    int rank = (int)rig_range(r, 0, 4);
    if (nin > 8) nin = 8;
    for (int i = 0; i < nin; i++) {
        v[i] = NULL;
        if (i >= op->min_in && rig_range(r, 0, 3) == 0) continue;
        /* mostly of the first input's dtype and rank; else a list or scalar of integers, as axes and shapes are */
        bool list = i > 0 && rig_range(r, 0, 1);
        x[n] = any_tensor(r, list ? FERRY_INT64 : main, list ? (int)rig_range(r, 0, 1) : rig_range(r, 0, 4) ? rank : (int)rig_range(r, 0,
                4));
        fy_type t = fy_tensor_type_i64(m, x[n].dtype, x[n].rank, x[n].dim);
        if (rig_range(r, 0, 3) == 0 && x[n].dtype != FERRY_STRING) v[i] = fy_graph_add_const(m->graph, NULL, fy_const_from(&m->arena,
                &x[n]));
        else v[i] = fy_graph_add_input(m->graph, NULL, &t);
        if (v[i]->constant) { fy_tensor_free(&x[n]); continue; }
        val[n] = (fy_rval){.kind = FY_TENSOR, .t = x[n]};
        inp[n] = &val[n];
        n++;
    }
    for (const fy_attr_spec *s = op->attrs; s && s->name && na < MOST_ATTRS; s++)
        if ((s->def && strcmp(s->def, FY_REQUIRED) == 0) || rig_range(r, 0, 2) <= (*op->domain != 0)) na += any_attr(r, s, &attr[na], &m->arena);
    snprintf(name, sizeof name, "%s%s%s", op->domain, *op->domain ? "::" : "", op->name);
    fy_node *node = fy_emit_n(&b, name, nout, nin, v, na, attr);
    ran += node != NULL;
    if (node) {
        for (int i = 0; i < nout; i++) assert_true(fy_graph_add_output(m->graph, node->out[i]));
        fy_interp it = {.max_bytes = 1 << 22};
        if (fy_interp_run(&it, m->graph, inp, res, &e) == FY_OK) {
            good++;
            for (int i = 0; i < nout; i++) fy_rval_free(&res[i]);
        } else assert_true(e.kind != FERRY_BUG || !e.text[0] || (print_error("%s: error[%s]: %s\n", op->name, e.code, e.text), false));
    } else if (e.kind == FERRY_BUG) { print_error("%s: error[%s]: %s\n", op->name, e.code, e.text); fail(); }
    for (int i = 0; i < n; i++) fy_rval_free(&val[i]);
    fy_model_free(m);
}

static void test_all(void **state) {
    (void)state;
    const char *often = getenv("FERRY_HOSTILE"), *one = getenv("FERRY_HOSTILE_OP");
    int trials = often ? (int)strtol(often, NULL, 10) : 40;
    const fy_registry *reg = fy_registry_builtin();
    rig r;
    rig_new(&r);
    for (int i = 0; i < fy_registry_count(reg); i++) {
        const fy_op *op = fy_registry_at(reg, i);
        if (!op->ref || (one && strcmp(one, op->name) != 0)) continue;
        r.seed = 1 + 7919 * (uint64_t)i;
        for (int k = 0; k < trials; k++) trial(&r, op);
    }
    print_message("%d inferred, %d ran to the end\n", ran, good);
    assert_true(one || good > trials);
    rig_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
