/* SPDX-License-Identifier: Apache-2.0
 * threads.c - one model shared by N threads, a session for each. Every thread must get the same bits.
 *   ./threads model.onnx 4 */
#include <ferry/run.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct worker { const ferry_model *model; const ferry_tensor *x; void *result; size_t bytes; int kind; ferry_error e; } worker;

static void *work(void *arg) {
    worker *w = arg;
    ferry_session *s = ferry_session_new(w->model, &w->e);               /* cheap: one per thread */
    w->kind = s ? FERRY_OK : w->e.kind;
    for (int i = 0; i < 3 && !w->kind; i++) {
        ferry_tensor y = {0};
        w->kind = ferry_run(s, w->x, 1, &y, 1, &w->e);
        if (w->kind) break;
        free(w->result);
        w->result = malloc(y.bytes);                                     /* y is valid until the next run: keep a copy */
        w->bytes = y.bytes;
        if (w->result) memcpy(w->result, y.data, y.bytes);
    }
    ferry_session_free(s);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "usage: threads MODEL.onnx N\n"), 2;
    int n = (int)strtol(argv[2], NULL, 10), kind = 0;
    ferry_error e;
    ferry_model *m = ferry_open(argv[1], "threads=1", &e);
    if (!m) return fprintf(stderr, "%s\n", e.text), e.kind;
    const ferry_port *p = ferry_input(m, 0);
    int64_t dim[FERRY_MAX_RANK], count = 1;
    for (int i = 0; i < p->rank; i++) count *= dim[i] = p->dim[i] < 0 ? 2 : p->dim[i];
    float *data = malloc((size_t)count * sizeof *data);
    for (int64_t i = 0; i < count; i++) data[i] = (float)(i % 17) / 17 - 0.5f;
    ferry_tensor x = ferry_f32(data, p->rank, dim);
    worker *w = calloc((size_t)n, sizeof *w);
    pthread_t *t = calloc((size_t)n, sizeof *t);
    for (int i = 0; i < n; i++) {
        w[i] = (worker){.model = m, .x = &x};
        pthread_create(&t[i], NULL, work, &w[i]);
    }
    for (int i = 0; i < n; i++) pthread_join(t[i], NULL);
    for (int i = 0; i < n && !kind; i++) {
        kind = w[i].kind;
        if (kind) fprintf(stderr, "thread %d: %s\n", i, w[i].e.text);
        else if (w[i].bytes != w[0].bytes || memcmp(w[i].result, w[0].result, w[0].bytes)) kind = 1;
    }
    printf("%d threads, %zu bytes each: %s\n", n, w[0].bytes, kind ? "differ" : "the same bits");
    for (int i = 0; i < n; i++) free(w[i].result);
    free(w);
    free(t);
    free(data);
    ferry_close(m);
    return kind;
}
