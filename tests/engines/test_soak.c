/* SPDX-License-Identifier: Apache-2.0
 * test_soak.c - several threads run several models in several sessions at random sizes, while models are opened and closed beside them; every
 * result has the bits of the first run, and memory does not grow. FERRY_SOAK_RUNS: how many runs (default 2000; `make soak` takes 100,000). */
#include "model_text.h"

#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/os.h"
#include "engines/engine.h"

#define CONV(to, from, w, more) to " = Conv <pads = [1, 1, 1, 1]" more "> (" from ", " w ") "

/* A residual network, a transformer's block, a detector's head with two scales and its choice of boxes. n is 1 to MOST_SIZE. */
static const char *const bodies[] = {
    "(float[n, 3, 24, 20] x) => (y) { " WEIGHTS("a", "648", "24, 3, 3, 3") WEIGHTS("b", "216", "24, 1, 3, 3") WEIGHTS("c", "5184", "24, 24, 3, 3") WEIGHTS("d", "240", "24, 10")
        CONV("p", "x", "a", ", strides = [2, 2]") "q = Relu (p) " CONV("r", "q", "b", ", group = 24") "s = HardSwish (r) " CONV("t", "s", "c", "")
        "u = Add (t, q) v = Relu (u) g = GlobalAveragePool (v) f = Flatten (g) l = MatMul (f, d) y = Softmax (l) }",
    "(float[2, n, 48] x) => (y) { " WEIGHTS("s", "48", "48") WEIGHTS("b", "48", "48") WEIGHTS("wq", "2304", "48, 48") WEIGHTS("wk", "2304", "48, 48") WEIGHTS("wv", "2304", "48, 48")
        WEIGHTS("wu", "9216", "48, 192") WEIGHTS("wd", "9216", "192, 48")
        "z = LayerNormalization (x, s, b) q = MatMul (z, wq) k = MatMul (z, wk) v = MatMul (z, wv) t = Transpose <perm = [0, 2, 1]> (k) "
        "e = MatMul (q, t) m = Constant <value = float {0.144}> () e1 = Mul (e, m) p = Softmax (e1) o = MatMul (p, v) r = Add (o, x) "
        "h = LayerNormalization (r, s, b) u = MatMul (h, wu) g = Gelu (u) d = MatMul (g, wd) y = Add (d, r) }",
    "(float[1, 16, n, 12] x) => (box, score) { " WEIGHTS("a", "4608", "32, 16, 3, 3") WEIGHTS("b", "9216", "32, 32, 3, 3") WEIGHTS("c", "432", "9, 48, 1, 1")
        CONV("p", "x", "a", ", strides = [2, 2]") "ps = Sigmoid (p) pm = Mul (p, ps) " CONV("q", "pm", "b", "") "up = Constant <value_floats = [1.0, 1.0, 2.0, 2.0]> () "
        "r = Resize <mode = \"nearest\"> (q, , up) hx = Shape <start = 2, end = 4> (x) zero = Constant <value_ints = [0, 0]> () ax = Constant <value_ints = [2, 3]> () "
        "rr = Slice (r, zero, hx, ax) j = Concat <axis = 1> (rr, x) h = Conv (j, c) to = Constant <value_ints = [1, 9, -1]> () l = Reshape (h, to) "
        "t = Transpose <perm = [0, 2, 1]> (l) pr = Sigmoid (t) k = Constant <value_ints = [5]> () last = Constant <value_ints = [2]> () m = ReduceMax <keepdims = 0> (pr, last) score, at = TopK <axis = 1> (m, k) "
        "ix = Unsqueeze (at, last) w = Constant <value_ints = [1, 5, 9]> () ie = Expand (ix, w) box = GatherElements <axis = 1> (pr, ie) }",
};
enum { BODIES = 3, MOST_SIZE = 6, MOST_OUT = 2, THREADS = 4, ROUNDS = 4 };

static struct soak {
    fy_model    *model[BODIES];
    fy_compiled *shared[BODIES][2];      /* by two and by three threads */
    fy_rval      want[BODIES][MOST_SIZE + 1][MOST_OUT];
    _Atomic int  left;                   /* runs of this round */
    _Atomic bool failed;
    pthread_mutex_t lock;
    char         text[800];              /* of the first failure */
} soak = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void failure(const char *fmt, ...) {
    va_list v;
    va_start(v, fmt);
    pthread_mutex_lock(&soak.lock);
    if (!soak.failed) (void)vsnprintf(soak.text, sizeof soak.text, fmt, v);
    atomic_store(&soak.failed, true);
    pthread_mutex_unlock(&soak.lock);
    va_end(v);
}

static const fy_engine *engine(void) { return fy_engine_find("ferry"); }

static fy_compiled *opened(int kind, int threads) {
    ferry_error e;
    fy_compiled *c = NULL;
    if (engine()->compile(&c, soak.model[kind], &(fy_engine_options){.threads = threads}, &e)) failure("model %d, %d threads: %s", kind, threads, e.text);
    return c;
}

/* *out is the caller's to free. */
static bool run_one(fy_session *s, int kind, int size, fy_rval *out) {
    ferry_error e;
    const fy_type *t = &soak.model[kind]->graph->in.at[0]->type;
    int64_t dim[FY_MAX_RANK];
    fy_rval in = {.kind = FY_TENSOR}, *at = &in;
    for (int d = 0; d < t->rank; d++)
        if (!fy_dim_known(t->dim[d], &dim[d])) dim[d] = kind == 2 ? 4 * size : kind == 1 ? 7 * size : size;
    if (fy_tensor_new(&in.t, FERRY_FLOAT, t->rank, dim, &e)) { failure("%s", e.text); return false; }
    for (int64_t i = 0; i < fy_count(&in.t); i++) ((float *)in.t.data)[i] = (float)(i * 7919 % 1009) / 500 - 1;
    fy_status st = engine()->run(s, &at, out, &e);
    if (st) failure("model %d at %d: %s", kind, size, e.text);
    fy_rval_free(&in);
    return !st;
}

static void run_and_compare(fy_session *s, int kind, int size, int threads) {
    fy_rval out[MOST_OUT] = {{0}};
    if (!run_one(s, kind, size, out)) return;
    for (int i = 0; i < soak.model[kind]->graph->out.n; i++) {
        const fy_tensor *a = &out[i].t, *b = &soak.want[kind][size][i].t;
        if (!fy_same_dims(a, b) || memcmp(a->data, b->data, fy_dtype_bytes(a->dtype, fy_count(a)))) failure("model %d at %d, %d threads: other bits than before", kind, size, threads);
        fy_rval_free(&out[i]);
    }
}

static uint32_t chance(uint32_t *state) {
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

/* Takes a model, one of the shared ones or, one time in eight, one of its own, and runs it in a session of its own at some sizes. */
static void *actor(void *arg) {
    uint32_t seed = *(const uint32_t *)arg;
    while (atomic_load(&soak.left) > 0 && !atomic_load(&soak.failed)) {
        ferry_error e;
        fy_session *s = NULL;
        int kind = (int)(chance(&seed) % BODIES), own = chance(&seed) % 8 == 0, threads = own ? 1 + (int)(chance(&seed) % 5) : 2 + (int)(chance(&seed) % 2);
        fy_compiled *c = own ? opened(kind, threads) : soak.shared[kind][threads - 2];
        if (!c) return NULL;
        if (engine()->session(&s, c, &e)) failure("%s", e.text);
        for (int runs = 1 + (int)(chance(&seed) % 12); s && runs > 0 && atomic_fetch_sub(&soak.left, 1) > 0; runs--)
            run_and_compare(s, kind, 1 + (int)(chance(&seed) % MOST_SIZE), threads);
        engine()->session_free(s);
        if (own) engine()->compiled_free(c);
    }
    return NULL;
}

/* Pages of this process in memory. */
static long resident(void) {
    long size = 0, pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%ld %ld", &size, &pages) != 2) pages = 0;
    if (f) fclose(f);
    return pages;
}

static void round_of(int runs, uint32_t seed) {
    pthread_t thread[THREADS];
    uint32_t seeds[THREADS];
    atomic_store(&soak.left, runs);
    for (int i = 0; i < THREADS; i++) {
        seeds[i] = seed * 1000 + (uint32_t)i;
        assert_int_equal(pthread_create(&thread[i], NULL, actor, &seeds[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_join(thread[i], NULL), 0);
    if (soak.failed) fail_msg("%s", soak.text);
}

static void open_shared(int kind) {
    ferry_error e;
    soak.model[kind] = model_of(bodies[kind]);
    fy_compiled *first = opened(kind, 1);
    fy_session *s;
    if (!first) fail_msg("%s", soak.text);
    assert_ok(engine()->session(&s, first, &e), e);
    for (int size = 1; size <= MOST_SIZE; size++)
        if (!run_one(s, kind, size, soak.want[kind][size])) fail_msg("%s", soak.text);
    engine()->session_free(s);
    engine()->compiled_free(first);
    for (int k = 0; k < 2; k++) {
        soak.shared[kind][k] = opened(kind, 2 + k);
        assert_non_null(soak.shared[kind][k]);
        assert_ok(engine()->session(&s, soak.shared[kind][k], &e), e);
        for (int size = 1; size <= MOST_SIZE; size++) run_and_compare(s, kind, size, 2 + k);      /* and its cache of sizes is full */
        engine()->session_free(s);
    }
    if (soak.failed) fail_msg("%s", soak.text);
}

static void test_soak(void **state) {
    const char *asked = getenv("FERRY_SOAK_RUNS");
    long given = asked ? strtol(asked, NULL, 10) : 0;
    int runs = given > 0 && given < 1000000000 ? (int)given : 2000;
    size_t before = fy_os_bytes();
    (void)state;
    for (int kind = 0; kind < BODIES; kind++) open_shared(kind);
    size_t bytes = fy_os_bytes();
    long pages = 0;
    for (int r = 0; r < ROUNDS; r++) {
        round_of(runs / ROUNDS, (uint32_t)r + 1);
        assert_int_equal(fy_os_bytes(), bytes);
        if (r == 0) pages = resident();
    }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    long more = (resident() - pages) * sysconf(_SC_PAGESIZE);
    if (more > 16 << 20) fail_msg("resident memory grew by %ld bytes", more);        /* the C library keeps a heap for each thread: as it comes to be cut up */
#else
    (void)pages;
#endif
    for (int kind = 0; kind < BODIES; kind++) {
        for (int k = 0; k < 2; k++) engine()->compiled_free(soak.shared[kind][k]);
        for (int size = 1; size <= MOST_SIZE; size++)
            for (int i = 0; i < MOST_OUT; i++) fy_rval_free(&soak.want[kind][size][i]);
        fy_model_free(soak.model[kind]);
    }
    assert_int_equal(fy_os_bytes(), before);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_soak)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
