/* SPDX-License-Identifier: Apache-2.0
 * torch.c - runs the .pt2 in an installed PyTorch and compares. A short Python program, given on the command line, loads the
 * archive, feeds it our seeded inputs (an .npz in a private folder) and writes its outputs beside them. */
#define _XOPEN_SOURCE 700                    /* mkdtemp */
#include "verify/torch.h"

#include "base/file.h"
#include "base/knobs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char script[] =
    "import sys, numpy, torch\n"
    "pt2, inputs, outputs = sys.argv[1:4]\n"
    "torch.set_grad_enabled(False)\n"
    "try: program = torch.export.load(pt2)\n"
    "except Exception:\n"                                   /* outputs of a class that only its package can register */
    "    import transformers.modeling_outputs\n"
    "    program = torch.export.load(pt2)\n"
    "given = numpy.load(inputs)\n"
    "feed = [torch.from_numpy(given[str(i)]) for i in range(len(given.files))]\n"
    "args, kwargs = program.example_inputs\n"
    "leaves, spec = torch.utils._pytree.tree_flatten((args, kwargs))\n"
    "it = iter(feed)\n"
    "leaves = [next(it) if isinstance(l, torch.Tensor) else l for l in leaves]\n"
    "args, kwargs = torch.utils._pytree.tree_unflatten(leaves, spec)\n"
    "result = torch.utils._pytree.tree_leaves(program.module()(*args, **kwargs))\n"
    "numpy.savez(outputs, **{str(i): torch.as_tensor(r).detach().cpu().numpy() for i, r in enumerate(result) if r is not None})\n";

static fy_status start(const char *pt2, const char *in, const char *out, const char *log, ferry_error *e) {
    const char *python = fy_knob_str("FERRY_PYTHON");
    int status = 0;
    pid_t pid = fork();
    FY_NEED(e, pid >= 0, ENGINE, "torch: a process cannot be started: %s", strerror(errno));
    if (!pid) {
        int err = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600), null = open("/dev/null", O_WRONLY);      /* other threads may hold stdio's locks */
        if (err < 0 || null < 0 || dup2(err, 2) < 0 || dup2(null, 1) < 0) _exit(126);
        execlp(python, python, "-c", script, pt2, in, out, (char *)NULL);
        _exit(127);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    if (WIFEXITED(status) && !WEXITSTATUS(status)) return FY_OK;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
        fy_status s = fy_fail(e, FY_E_ENGINE, "torch: '%s' cannot be started", python);
        return fy_help(e, s, "set FERRY_PYTHON to the Python that has PyTorch");
    }
    char text[2048] = "", *last = text;                      /* Python's last line says what was wrong */
    FILE *f = fopen(log, "r");
    if (f) {
        size_t n = fread(text, 1, sizeof text - 1, f);
        if (n == sizeof text - 1 && !fseek(f, -(long)(sizeof text - 1), SEEK_END)) n = fread(text, 1, sizeof text - 1, f);
        text[n] = 0;
        while (n && text[n - 1] == '\n') text[--n] = 0;
        char *line = strrchr(text, '\n');
        if (line) last = line + 1;
        fclose(f);
    }
    return fy_fail(e, FY_E_ENGINE, "torch: the program did not run: %.300s", *last ? last : "no message");
}

static fy_status feed(fy_named_list *list, fy_rval *in, const fy_model *m, const fy_program *p, uint64_t seed, ferry_error *e) {
    int64_t n = m->graph->in.n;
    bool sample = p->sample.n > 0;
    int64_t at = 0;
    for (int64_t i = 0; sample && i < p->sample.n && at < n; i++) {      /* the recorded sample first: it is known to be legal */
        if (!p->sample.at[i].is_tensor) continue;
        in[at].kind = FY_TENSOR;
        in[at++].t = fy_tensor_ref(&p->sample.at[i].t);
    }
    if (at < n) {
        for (int64_t i = 0; i < at; i++) fy_rval_free(&in[i]);
        FY_TRY(fy_random_inputs(in, m, seed, NULL, NULL, e));
    }
    for (int64_t i = 0; i < n; i++) {
        char name[24];
        snprintf(name, sizeof name, "%lld", (long long)i);
        FY_TRY(fy_named_add(list, name, &in[i].t, e));
    }
    return FY_OK;
}

static fy_status collect(fy_named_list *recorded, const fy_model *m, const fy_rval *in, const char *path, ferry_error *e) {
    fy_named_list out = {0};
    fy_status s = fy_npz_read(&out, path, e);
    for (int64_t i = 0; !s && i < m->graph->in.n; i++) s = fy_named_add(recorded, m->graph->in.at[i]->name, &in[i].t, e);
    for (int64_t i = 0; !s && i < m->graph->out.n; i++) {
        char name[24];
        snprintf(name, sizeof name, "%lld", (long long)i);
        fy_tensor *t = fy_named_find(&out, name);
        if (t) s = fy_named_add(recorded, m->graph->out.at[i]->name, t, e);
    }
    fy_named_free(&out);
    return s;
}

static fy_status name_reference(fy_verify_report *r, const char *path, ferry_error *e) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t n = strlen(name) + sizeof " run by PyTorch";
    char *text = fy_malloc(n, 1);
    FY_NOMEM(e, text);
    snprintf(text, n, "%s run by PyTorch", name);
    fy_free(r->reference);
    r->reference = text;
    return FY_OK;
}

fy_status fy_verify_torch(fy_verify_report *r, const fy_model *m, const fy_program *p, const char *path, const fy_verify_options *o, ferry_error *e) {
    char dir[] = "/tmp/ferry-XXXXXX", in_path[64], out_path[64], log_path[64];
    fy_named_list inputs = {0}, recorded = {0};
    fy_rval *in = fy_calloc((size_t)m->graph->in.n + 1, sizeof *in);
    FY_NOMEM(e, in);
    if (!mkdtemp(dir)) {
        fy_free(in);
        return fy_fail(e, FY_E_WRITE, "no temporary folder: %s", strerror(errno));
    }
    snprintf(in_path, sizeof in_path, "%s/in.npz", dir);
    snprintf(out_path, sizeof out_path, "%s/out.npz", dir);
    snprintf(log_path, sizeof log_path, "%s/log", dir);
    fy_status s = feed(&inputs, in, m, p, o->seed, e);
    if (!s) s = fy_npz_write(&inputs, in_path, e);
    if (!s) s = start(path, in_path, out_path, log_path, e);
    if (!s) s = collect(&recorded, m, in, out_path, e);
    if (!s) s = fy_verify_recorded(r, m, &recorded, o, e);
    if (!s) s = name_reference(r, path, e);
    unlink(in_path);
    unlink(out_path);
    unlink(log_path);
    rmdir(dir);
    for (int64_t i = 0; i < m->graph->in.n; i++) fy_rval_free(&in[i]);
    fy_free(in);
    fy_named_free(&inputs);
    fy_named_free(&recorded);
    return s;
}
