/* Memory that runs out at any allocation of inline, functionalise or lower: an error or success, nothing leaked. Programs
 * with arguments taken away or of the wrong kind: an error, never a crash. */
#include "test.h"

#include "aten/aten.h"
#include "base/os.h"
#include "formats/pt2.h"

static const char *const files[] = {"t27/mutation", "t215/edge_dyn", "t27/cnn", "t215/blocks", "t215/sizes_dyn"};

static fy_program *open_file(const char *name) {
    char path[600];
    ferry_error e = {0};
    fy_program *p = NULL;
    snprintf(path, sizeof path, "%s/pt2/%s.pt2", FERRY_FIXTURES, name);
    assert_ok(fy_pt2_read(&p, path, &e), e);
    return p;
}

static fy_status whole(fy_program *p, fy_model **m, ferry_error *e) {
    fy_notes notes = {0};
    fy_status s = fy_aten_inline(p, e);
    if (s == FY_OK) s = fy_aten_functionalise(p, e);
    if (s == FY_OK) s = fy_aten_lower(m, p, &(fy_lower_options){.notes = &notes}, e);
    fy_notes_free(&notes);
    return s;
}

static void no_memory(void **state) {
    (void)state;
    for (int f = 0; f < FY_COUNT(files); f++) {
        size_t before = fy_os_bytes();
        bool done = false;
        for (int64_t k = 0; !done; k += 1 + k / 40) {    /* every one at first, then a sample */
            ferry_error e = {0};
            fy_program *p = open_file(files[f]);
            fy_model *m = NULL;
            fy_os_calls();
            fy_os_fail_at(k, true);
            fy_status s = whole(p, &m, &e);
            fy_os_fail_at(-1, false);
            assert_true((s == FY_OK) == (m != NULL));
            done = s == FY_OK;
            fy_model_free(m);
            fy_program_free(p);
            assert_int_equal(fy_os_bytes(), before);
        }
    }
}

/* One argument of one node at a time is taken away, made None, or made a string. */
static void broken_arguments(void **state) {
    (void)state;
    static const char *const some[] = {"t27/mutation", "t215/cnn", "t27/recurrent", "t215/llama", "t27/bert", "t215/sizes_dyn", "t27/inplace"};
    for (int f = 0; f < FY_COUNT(some); f++) {
        fy_program *first = open_file(some[f]);
        int64_t nodes = first->graph->nnodes;
        fy_program_free(first);
        for (int64_t at = 0; at < nodes; at += 1 + nodes / 60)
            for (int how = 0; how < 4; how++) {
                ferry_error e = {0};
                fy_program *p = open_file(some[f]);
                fy_model *m = NULL;
                fy_pnode *n = p->graph->first;
                for (int64_t i = 0; i < at; i++) n = n->next;
                if (n->narg > 0) {
                    fy_parg *a = &n->arg[at % n->narg];
                    if (how == 0) n->narg = 0;
                    else if (how == 1) *a = (fy_parg){.name = a->name, .kind = FY_ARG_NONE};
                    else if (how == 2) *a = (fy_parg){.name = a->name, .kind = FY_ARG_STRING, .s = "constant"};
                    else *a = (fy_parg){.name = a->name, .kind = FY_ARG_INT, .i = INT64_MIN + 1};
                }
                fy_status s = whole(p, &m, &e);
                assert_true((s == FY_OK) == (m != NULL));
                if (s != FY_OK) assert_true(e.text[0] != 0);
                fy_model_free(m);
                fy_program_free(p);
            }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_memory), cmocka_unit_test(broken_arguments)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
