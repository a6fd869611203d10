/* SPDX-License-Identifier: Apache-2.0
 * minimal.c - the shortest program: open a model, run it once on zeros, print the first numbers.
 *   cc minimal.c $(pkg-config --cflags --libs ferry) -o minimal && ./minimal model.onnx */
#include <ferry/run.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    ferry_error e;
    if (argc != 2) return fprintf(stderr, "usage: minimal MODEL.onnx\n"), 2;
    ferry_model *m = ferry_open(argv[1], NULL, &e);
    if (!m) return fprintf(stderr, "%s\n", e.text), e.kind;
    const ferry_port *port = ferry_input(m, 0);
    int64_t dim[FERRY_MAX_RANK], count = 1;
    for (int i = 0; i < port->rank; i++) count *= dim[i] = port->dim[i] < 0 ? 1 : port->dim[i];   /* 1 for dynamic axes */
    void *zeros = calloc(1, ferry_dtype_bytes(port->dtype, count));
    ferry_tensor x = ferry_view(port->dtype, zeros, port->rank, dim), y = {0};
    ferry_session *s = ferry_session_new(m, &e);
    int kind = s ? ferry_run(s, &x, 1, &y, 1, &e) : e.kind;
    if (kind) fprintf(stderr, "%s\n", e.text);
    else printf("%s: %s of %zu bytes, first value %g\n", ferry_output(m, 0)->name, ferry_dtype_name(y.dtype), y.bytes, (double)*(float *)y.data);
    ferry_session_free(s);
    ferry_close(m);
    free(zeros);
    return kind;
}
