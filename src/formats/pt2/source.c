/* SPDX-License-Identifier: Apache-2.0
 * source.c - where a node comes from: its module ("layer1.0.conv1") and its line ("model.py:57 in forward").
 *
 * nn_module_stack is "key,path,type;key,path,type;...", outermost first. stack_trace is Python's own text:
 *   File "/home/me/model.py", line 57, in forward
 *     x = self.conv1(x) */
#include "formats/pt2/reader.h"

#include <string.h>

static const char *search(const char *s, const char *end, const char *word) {
    size_t n = strlen(word);
    for (; (size_t)(end - s) >= n && s < end; s++) {
        s = memchr(s, word[0], (size_t)(end - s));
        if (!s || (size_t)(end - s) < n) return NULL;
        if (!memcmp(s, word, n)) return s;
    }
    return NULL;
}

static fy_status scope(fy_pt2 *r, fy_pnode *n, const char *s, size_t len) {
    const char *end = s + len, *last = s, *a, *b, *semi;
    while ((semi = memchr(last, ';', (size_t)(end - last))) != NULL) last = semi + 1;
    a = memchr(last, ',', (size_t)(end - last));
    if (!a) return FY_OK;
    for (b = end; b > a + 1 && b[-1] != ','; b--) {}
    if (b <= a + 1) return FY_OK;
    a++; b--;                            /* the path between the first and the last comma */
    static const char *const heads[] = { "L['self'].", "L__self__.", "L['self']", "L__self__" };
    for (int i = 0; i < FY_COUNT(heads); i++) {
        size_t k = strlen(heads[i]);
        if ((size_t)(b - a) >= k && !memcmp(a, heads[i], k)) { a += k; break; }
    }
    const char *at = memchr(a, '@', (size_t)(b - a));        /* "block@1": the second call of one module */
    if (at) b = at;
    static const char filler[] = "_empty_nn_module_stack";   /* nodes that torch itself adds */
    if ((size_t)(b - a) >= sizeof filler - 1 && !memcmp(a, filler, sizeof filler - 1)) return FY_OK;
    return b > a ? fy_pt2_intern(r, &n->scope, a, (size_t)(b - a)) : FY_OK;    /* empty: the outermost module */
}

/* One frame of a trace. */
typedef struct frame { const char *path, *path_end, *line, *line_end, *fn, *fn_end; } frame;

static bool next_frame(const char **s, const char *end, frame *f) {
    for (;;) {
        const char *p = search(*s, end, "File \"");
        if (!p) return false;
        f->path = p + 6;
        f->path_end = memchr(f->path, '"', (size_t)(end - f->path));
        if (!f->path_end) return false;
        *s = f->path_end;
        if ((size_t)(end - *s) < 8 || memcmp(*s, "\", line ", 8)) continue;
        f->line = f->line_end = *s + 8;
        while (f->line_end < end && *f->line_end >= '0' && *f->line_end <= '9') f->line_end++;
        f->fn = f->fn_end = f->line_end;
        if ((size_t)(end - f->fn) >= 5 && !memcmp(f->fn, ", in ", 5)) {
            f->fn += 5;
            f->fn_end = memchr(f->fn, '\n', (size_t)(end - f->fn));
            if (!f->fn_end) f->fn_end = end;
        }
        *s = f->fn_end;
        return f->line_end > f->line;
    }
}

static const char *base(const char *s, const char *end) {
    for (const char *p = end; p > s; p--)
        if (p[-1] == '/' || p[-1] == '\\') return p;
    return s;
}

/* Does the path have these folders, at the start or after a separator? */
static bool within(const frame *f, const char *folders) {
    for (const char *p = f->path; p && p < f->path_end; p++) {
        p = search(p, f->path_end, folders);
        if (!p) return false;
        if (p == f->path || p[-1] == '/' || p[-1] == '\\') return true;
    }
    return false;
}

static bool absolute(const frame *f) {
    return f->path_end > f->path && (*f->path == '/' || *f->path == '\\' || (f->path_end - f->path > 2 && f->path[1] == ':'));
}

/* The innermost line outside of PyTorch itself and of generated code; else the innermost in torch.nn. */
static fy_status source(fy_pt2 *r, fy_pnode *n, const char *s, size_t len) {
    const char *end = s + len;
    frame f, best = {0};
    bool user = false, folder = false;
    while (next_frame(&s, end, &f)) {
        bool own = *f.path != '<' && !within(&f, "torch/") && !within(&f, "torch\\");
        if (own || (!user && (within(&f, "torch/nn/") || within(&f, "torch\\nn\\")))) best = f;
        user |= own;
        folder |= absolute(&f);
    }
    r->p->traces += folder;
    if (!best.path) return FY_OK;
    const char *file = base(best.path, best.path_end);
    int nl = (int)(best.line_end - best.line > 20 ? 20 : best.line_end - best.line),
        nf = (int)(best.fn_end - best.fn > 200 ? 200 : best.fn_end - best.fn);
    for (int full = 0; full < 2; full++) {
        const char *path = full ? best.path : file;
        char *t = fy_arena_fmt(&r->tmp, "%.*s:%.*s%s%.*s", best.path_end - path > 4000 ? 4000 : (int)(best.path_end - path), path, nl,
                               best.line, nf ? " in " : "", nf, best.fn);
        FY_NOMEM(r->e, t);
        FY_TRY(fy_pt2_intern(r, full ? &n->source_full : &n->source, t, strlen(t)));
    }
    return FY_OK;
}

fy_status fy_pt2_metadata(fy_pt2 *r, fy_pnode *n, const fy_json *metadata) {
    const fy_json *stack = fy_json_get(metadata, "nn_module_stack"), *trace = fy_json_get(metadata, "stack_trace");
    if (stack && stack->kind == FY_JSON_STRING && !memchr(stack->s, 0, stack->n)) FY_TRY(scope(r, n, stack->s, stack->n));
    if (trace && trace->kind == FY_JSON_STRING && !memchr(trace->s, 0, trace->n)) FY_TRY(source(r, n, trace->s, trace->n));
    return FY_OK;
}
