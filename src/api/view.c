/* SPDX-License-Identifier: Apache-2.0
 * view.c - ferry_view_page: a model as one page, written whole or not at all. */
#include "api/rewrite.h"
#include "check/view.h"

#include <stdio.h>
#include <string.h>

static fy_status write_page(fy_report *r, fy_loaded *l, const char *path, const char *to, const ferry_job *job, ferry_error *e) {
    static const char *const keys[] = {"output", "no-weights", "threads", "plugin", NULL};
    int64_t threads = 0, nodes = 0;
    char about[200];
    fy_buf page = {0};
    FY_TRY(fy_opt_known(job, keys, e));
    if (!to) to = fy_opt(job, "output");
    FY_NEED(e, to && *to, USAGE, "view: where to write? Give a second path or -o OUT.html");
    FY_NEED(e, !fy_os_same_file(to, path), USAGE, "%s: the output would overwrite its input", to);
    FY_TRY(fy_opt_int(job, "threads", 1, 1024, &threads, e));
    FY_TRY(fy_load(l, path, job, e));
    FY_TRY(fy_model_name_all(l->model, e));
    for (const fy_graph *g = l->model->graph; g; g = fy_graph_next(NULL, g)) nodes += g->nnodes;
    if (l->program) snprintf(about, sizeof about, "%lld nodes, from torch %.60s", (long long)nodes, l->program->torch_version ? l->program->torch_version : "?");
    else snprintf(about, sizeof about, "%lld nodes, opset %lld%s%.60s", (long long)nodes, (long long)l->file_opset, l->model->producer && *l->model->producer ? ", by " : "",
                  l->model->producer ? l->model->producer : "");
    fy_view_options o = {.name = fy_base_name(path), .about = about, .weights = !fy_opt_has(job, "no-weights"), .threads = (int)threads};
    fy_status s = fy_view_page(&page, l->model, &o, e);
    if (!s) s = fy_write_text(to, &page, e);
    if (!s) {
        fy_buf_fmt(&r->text, FY_BOLD "%s" FY_OFF " -> " FY_BOLD "%s" FY_OFF "  %s, %.2f MB\n", fy_base_name(path), to, about, (double)page.n / 1e6);
        fy_jsonw j = {.out = &r->json, .first = true};
        fy_jsonw_object(&j, NULL);
        fy_jsonw_str(&j, "path", path);
        fy_jsonw_str(&j, "output", to);
        fy_jsonw_int(&j, "nodes", nodes);
        fy_jsonw_int(&j, "bytes", (int64_t)page.n);
        fy_jsonw_end_object(&j);
    }
    fy_buf_free(&page);
    return s;
}

int ferry_view_page(const char *path, const char *to, const ferry_job *job, ferry_report **out, ferry_error *e) {
    static const ferry_job none;
    fy_loaded l = {0};
    *out = NULL;
    fy_error_clear(e);
    fy_report *r = fy_report_new(e);
    fy_status s = r ? write_page(r, &l, path, to, job ? job : &none, e) : FY_E_NOMEM;
    if (!s) s = fy_report_finish(r, e);
    fy_unload(&l);
    if (s) {
        fy_report_free(r);
        return fy_kind_of(s);
    }
    *out = r;
    return FERRY_OK;
}
