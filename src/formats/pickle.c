/* SPDX-License-Identifier: Apache-2.0
 * pickle.c - a pickle machine that builds tagged data. Sources: Python's pickletools (protocol 2 opcodes); what
 * torch.save emits: PROTO .. BINPERSID, REDUCE of the rebuild functions of torch/_utils.py.
 *
 * Each opcode checks the tag of each operand; REDUCE and BUILD make data, never a call. */
#include "formats/pickle.h"

#include "base/checked.h"
#include "base/os.h"

#include <stdio.h>
#include <string.h>

#define MAX_STACK 100000
#define MAX_MEMO 10000000

typedef struct vm {
    const unsigned char *start, *at, *end;
    fy_arena *a;
    ferry_error *e;
    fy_pickle *out;
    bool script, objects;                /* of TorchScript, or with whole objects: instances of classes are kept as data */
    FY_VEC(fy_pickled *) stack, memo;
} vm;

static fy_status bad(const vm *m, const char *why) {
    return fy_fail(m->e, FY_E_PICKLE, "%s at byte %zu of a pickle", why, (size_t)(m->at - m->start));
}

static fy_status fresh(vm *m, fy_pickled **v, fy_pickle_kind kind) {
    *v = FY_NEW(m->a, fy_pickled);
    FY_NOMEM(m->e, *v);
    (*v)->kind = kind;
    if (kind == FY_PK_LIST || kind == FY_PK_DICT || kind == FY_PK_TUPLE || kind == FY_PK_OBJECT) FY_PUSH(m->e, m->out->owners, *v);
    return FY_OK;
}

static fy_status push(vm *m, fy_pickled *v) {
    FY_NEED(m->e, m->stack.n < MAX_STACK, LIMIT, "a pickle needs a stack of more than %d", MAX_STACK);
    FY_PUSH(m->e, m->stack, v);
    return FY_OK;
}

static fy_status pop(vm *m, fy_pickled **v) {
    if (!m->stack.n || m->stack.at[m->stack.n - 1]->kind == FY_PK_MARK) return bad(m, "too few operands");
    *v = m->stack.at[--m->stack.n];
    return FY_OK;
}

static fy_status take(vm *m, size_t n, const unsigned char **p) {
    FY_NEED(m->e, (size_t)(m->end - m->at) >= n, TRUNCATED, "a pickle ends inside an operand at byte %zu", (size_t)(m->at - m->start));
    *p = m->at;
    m->at += n;
    return FY_OK;
}

static fy_status push_int(vm *m, int64_t i, fy_pickle_kind kind) {
    fy_pickled *v;
    FY_TRY(fresh(m, &v, kind));
    v->i = i;
    return push(m, v);
}

static fy_status push_str(vm *m, const unsigned char *p, size_t n) {
    fy_pickled *v;
    FY_TRY(fresh(m, &v, FY_PK_STR));
    v->s = fy_arena_strn(m->a, (const char *)p, n);
    v->n_s = n;
    FY_NOMEM(m->e, v->s);
    return push(m, v);
}

/* Index of the newest mark. */
static fy_status mark(vm *m, int64_t *k) {
    for (*k = m->stack.n - 1; *k >= 0; (*k)--)
        if (m->stack.at[*k]->kind == FY_PK_MARK) return FY_OK;
    return bad(m, "no mark on the stack");
}

static fy_status tuple(vm *m, int64_t from) {
    fy_pickled *v;
    for (int64_t i = from; i < m->stack.n; i++)
        if (i < 0 || m->stack.at[i]->kind == FY_PK_MARK) return bad(m, "too few operands");
    if (from < 0) return bad(m, "too few operands");
    FY_TRY(fresh(m, &v, FY_PK_TUPLE));
    for (int64_t i = from; i < m->stack.n; i++) FY_PUSH(m->e, v->item, m->stack.at[i]);
    m->stack.n = from;
    return push(m, v);
}

/* ---- the closed list --------------------------------------------------------------------------------------------------- */

static const struct { const char *name; fy_dtype dtype;
} storages[] = {
    {"torch FloatStorage", FERRY_FLOAT},
    {"torch DoubleStorage", FERRY_DOUBLE},
    {"torch HalfStorage", FERRY_FLOAT16},
    {"torch BFloat16Storage", FERRY_BFLOAT16},
    {"torch LongStorage", FERRY_INT64},
    {"torch IntStorage", FERRY_INT32},
    {"torch ShortStorage", FERRY_INT16},
    {"torch CharStorage", FERRY_INT8},
    {"torch ByteStorage", FERRY_UINT8},
    {"torch BoolStorage", FERRY_BOOL},
    {"torch QInt8Storage", FERRY_INT8},
    {"torch QUInt8Storage", FERRY_UINT8},
    {"torch QInt32Storage", FERRY_INT32},
    {"torch ComplexFloatStorage", FERRY_COMPLEX64},
    {"torch ComplexDoubleStorage", FERRY_COMPLEX128},
    {"torch.storage UntypedStorage", FERRY_UNDEFINED},
    {"torch UntypedStorage", FERRY_UNDEFINED},
};
static const struct { const char *name; fy_dtype dtype;
} dtypes[] = {
    {"torch float32", FERRY_FLOAT},
    {"torch float64", FERRY_DOUBLE},
    {"torch float16", FERRY_FLOAT16},
    {"torch bfloat16", FERRY_BFLOAT16},
    {"torch int64", FERRY_INT64},
    {"torch int32", FERRY_INT32},
    {"torch int16", FERRY_INT16},
    {"torch int8", FERRY_INT8},
    {"torch uint8", FERRY_UINT8},
    {"torch uint16", FERRY_UINT16},
    {"torch uint32", FERRY_UINT32},
    {"torch uint64", FERRY_UINT64},
    {"torch bool", FERRY_BOOL},
    {"torch complex64", FERRY_COMPLEX64},
    {"torch complex128", FERRY_COMPLEX128},
    {"torch float8_e4m3fn", FERRY_FLOAT8E4M3FN},
    {"torch float8_e5m2", FERRY_FLOAT8E5M2},
    {"torch float8_e4m3fnuz", FERRY_FLOAT8E4M3FNUZ},
    {"torch float8_e5m2fnuz", FERRY_FLOAT8E5M2FNUZ},
    {"torch float8_e8m0fnu", FERRY_FLOAT8E8M0},
};
static const char *const others[] = {
    "collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor_v3", "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_parameter_with_state", "torch._tensor _rebuild_from_type_v2", "torch Size", "torch device", "torch Tensor",
    "torch.nn.parameter Parameter", "torch.nn.parameter Buffer",
};
/* What TorchScript writes besides: lists of one type, values with their type beside them, quantised tensors. */
static const char *const script_others[] = {
    "torch.jit._pickle build_intlist", "torch.jit._pickle build_doublelist", "torch.jit._pickle build_boollist", "torch.jit._pickle build_tensorlist",
    "torch.jit._pickle restore_type_tag", "torch._utils _rebuild_qtensor", "torch per_tensor_affine", "torch per_channel_affine",
};

/* Modules of Python, with all below them, whose names nobody who saves weights needs: they run code, or open files. Parsing never calls them; a
 * file that names one is no checkpoint. */
static const char *const hostile[] = {"os", "posix", "nt", "sys", "subprocess", "runpy", "importlib", "imp", "pkgutil", "socket", "ssl", "shutil", "pty", "ctypes", "_ctypes", "pickle",
    "_pickle", "cPickle", "marshal", "shelve", "operator", "_operator", "webbrowser", "multiprocessing", "threading", "_thread", "asyncio", "signal", "inspect", "types", "ast", "pdb", "bdb",
    "timeit", "cProfile", "pip", "ensurepip", "http", "urllib", "urllib2", "requests", "httplib", "ftplib", "smtplib", "tempfile", "io", "_io", "builtins", "__builtin__",
    "torch.hub", "torch.serialization", "torch.storage", "torch.jit", "torch.package", "torch.fx", "torch._dynamo", "torch._inductor", "torch.utils.cpp_extension", "numpy.testing", "numpy.f2py",
    "numpy.distutils", "distutils", "setuptools", "zipimport", "zipfile", "tarfile", "linecache"};
/* Names of such modules that are plain data. */
static const char *const harmless[] = {"__builtin__ set", "builtins set", "__builtin__ frozenset", "builtins frozenset", "__builtin__ object", "builtins object", "__builtin__ dict",
    "builtins dict", "__builtin__ list", "builtins list", "__builtin__ tuple", "builtins tuple", "__builtin__ int", "builtins int", "__builtin__ float", "builtins float", "__builtin__ str",
    "builtins str", "__builtin__ bool", "builtins bool", "__builtin__ complex", "builtins complex", "__builtin__ slice", "builtins slice", "__builtin__ bytearray",
    "builtins bytearray", "__builtin__ bytes", "builtins bytes", "__builtin__ unicode", "__builtin__ long", "__builtin__ type", "builtins type", "types SimpleNamespace"};
/* What may be called among them, and elsewhere: each makes plain data from plain data. */
static const char *const makers[] = {"numpy.core.multiarray scalar", "numpy._core.multiarray scalar", "numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct", "numpy dtype",
    "_codecs encode", "functools partial", "datetime datetime", "datetime timedelta", "datetime date", "pathlib PosixPath", "pathlib WindowsPath", "pathlib PurePosixPath",
    "collections deque", "collections Counter", "uuid UUID"};

static bool among(const char *name, const char *const *list, int n) {
    for (int i = 0; i < n; i++)
        if (!strcmp(name, list[i])) return true;
    return false;
}

static bool is_hostile(const char *name) {
    size_t n = strcspn(name, " ");
    if (among(name, harmless, FY_COUNT(harmless))) return false;
    for (int i = 0; i < FY_COUNT(hostile); i++) {
        size_t k = strlen(hostile[i]);
        if (k <= n && !strncmp(name, hostile[i], k) && (k == n || name[k] == '.')) return true;
    }
    return false;
}

static fy_status global(vm *m) {
    const unsigned char *a = m->at, *nl = memchr(a, '\n', (size_t)(m->end - a)),
                        *end = nl ? memchr(nl + 1, '\n', (size_t)(m->end - nl - 1)) : NULL;
    FY_NEED(m->e, end, TRUNCATED, "a pickle ends inside a name");
    size_t na = (size_t)(nl - a), nb = (size_t)(end - nl - 1);
    char name[160];
    if (na + nb + 2 <= sizeof name) snprintf(name, sizeof name, "%.*s %.*s", (int)na, (const char *)a, (int)nb, (const char *)nl + 1);
    else snprintf(name, sizeof name, "%.60s", "a very long name");
    fy_pickled *v;
    FY_TRY(fresh(m, &v, FY_PK_GLOBAL));
    for (int i = 0; i < FY_COUNT(storages); i++)
        if (!strcmp(name, storages[i].name)) { v->s = storages[i].name; v->dtype = storages[i].dtype; v->i = 1; }
    for (int i = 0; i < FY_COUNT(dtypes); i++)
        if (!strcmp(name, dtypes[i].name)) { v->s = dtypes[i].name; v->dtype = dtypes[i].dtype; v->i = 2; }
    for (int i = 0; i < FY_COUNT(others); i++)
        if (!strcmp(name, others[i])) v->s = others[i];
    for (int i = 0; m->script && i < FY_COUNT(script_others); i++)
        if (!strcmp(name, script_others[i])) v->s = script_others[i];
    if (m->script && na >= 9 && !memcmp(a, "__torch__", 9) && (na == 9 || a[9] == '.') && !memchr(a, 0, na + nb)) {
        v->s = fy_arena_fmt(m->a, "%.*s.%.*s", (int)na, (const char *)a, (int)nb, (const char *)nl + 1);
        FY_NOMEM(m->e, v->s);
        v->i = 3;
    }
    if (!v->s && m->objects && !is_hostile(name)) {
        v->s = fy_arena_str(m->a, name);
        FY_NOMEM(m->e, v->s);
    }
    if (!v->s) {
        char *dot = strchr(name, ' ');
        if (dot) *dot = '.';
        for (char *p = name; *p; p++)
            if ((unsigned char)*p < 32 || (unsigned char)*p > 126) *p = '?';
        return m->objects ? fy_help(m->e, fy_fail(m->e, FY_E_PICKLE, "the pickle names %s, which runs code: this is no checkpoint", name),
                                    "nothing was run; do not load the file with torch.load, and ask whoever made it for .safetensors")
                          : fy_fail(m->e, FY_E_PICKLE, "the pickle holds an object of %s, which is code, not plain data", name);
    }
    m->at = end + 1;
    return push(m, v);
}

static bool is_tag(const fy_pickled *v, fy_pickle_kind kind) { return v->kind == kind; }

static fy_status int_list(vm *m, const fy_pickled *t, const int64_t **to) {
    if (t->kind != FY_PK_TUPLE) return bad(m, "sizes that are not a tuple");
    int64_t *v = FY_NEWN(m->a, int64_t, t->item.n + 1);
    FY_NOMEM(m->e, v);
    for (int64_t i = 0; i < t->item.n; i++) {
        if (t->item.at[i]->kind != FY_PK_INT) return bad(m, "a size that is not an int");
        v[i] = t->item.at[i]->i;
    }
    *to = v;
    return FY_OK;
}

/* _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata]); v3 has the dtype in place 6. */
static fy_status tensor(vm *m, const fy_pickled *args, bool v3, fy_pickled **out) {
    fy_pickled *const *a = args->item.at;
    int64_t n = args->item.n;
    if (n < (v3 ? 7 : 5) || n > 8 || a[0]->kind != FY_PK_STORAGE || a[1]->kind != FY_PK_INT) return bad(m, "a tensor with wrong arguments");
    fy_pickled *t;
    FY_TRY(fresh(m, &t, FY_PK_TENSOR));
    t->storage = a[0];
    t->i = a[1]->i;
    t->dtype = a[0]->dtype;
    if (v3) {
        if (a[6]->kind != FY_PK_GLOBAL || a[6]->i != 2) return bad(m, "a tensor without element type");
        t->dtype = a[6]->dtype;
    }
    if (n == (v3 ? 8 : 7)) {             /* {"conj": True} and the like are views that our constants cannot express */
        const fy_pickled *meta = a[n - 1];
        FY_NEED(m->e, meta->kind == FY_PK_NONE || (meta->kind == FY_PK_DICT && !meta->item.n), UNSUPPORTED,
                "a tensor with the conjugate or negative bit");
    }
    FY_TRY(int_list(m, a[2], &t->dim));
    FY_TRY(int_list(m, a[3], &t->stride));
    FY_NEED(m->e, a[2]->item.n == a[3]->item.n, CORRUPT, "a pickled tensor has %lld sizes and %lld strides", (long long)a[2]->item.n,
            (long long)a[3]->item.n);
    FY_NEED(m->e, a[2]->item.n <= FY_MAX_RANK, LIMIT, "a tensor of %lld dimensions; at most %d", (long long)a[2]->item.n, FY_MAX_RANK);
    t->rank = (int)a[2]->item.n;
    *out = t;
    return FY_OK;
}

/* An instance of a class: its name, the arguments, room for the state. */
static fy_status instance(vm *m, const char *name, fy_pickled *args, fy_pickled *state, fy_pickled **out) {
    fy_pickled *v, *none;
    FY_TRY(fresh(m, &v, FY_PK_OBJECT));
    FY_TRY(fresh(m, &none, FY_PK_NONE));
    v->s = name;
    FY_PUSH(m->e, v->item, args ? args : none);
    FY_PUSH(m->e, v->item, state ? state : none);
    *out = v;
    return FY_OK;
}

/* Plain containers as such; what else is on the list as an instance. */
static fy_status make_object(vm *m, const fy_pickled *fn, fy_pickled *args, fy_pickled **out) {
    fy_pickled *const *a = args->item.at;
    int64_t n = args->item.n;
    const char *word = strchr(fn->s, ' ') + 1;
    if (!strcmp(fn->s, "collections defaultdict")) return fresh(m, out, FY_PK_DICT);
    if ((!strcmp(word, "set") || !strcmp(word, "frozenset")) && among(fn->s, harmless, FY_COUNT(harmless))) {
        if (n == 1 && a[0]->kind == FY_PK_LIST) { *out = a[0]; return FY_OK; }
        return n ? bad(m, "a set with wrong arguments") : fresh(m, out, FY_PK_LIST);
    }
    if (!strcmp(word, "_reconstructor")) {               /* (class, base, state of the base) */
        if (n != 3 || a[0]->kind != FY_PK_GLOBAL) return bad(m, "an object with wrong arguments");
        return instance(m, a[0]->s, args, NULL, out);
    }
    if (!among(fn->s, makers, FY_COUNT(makers)) && !among(fn->s, harmless, FY_COUNT(harmless))) {
        char name[160];
        snprintf(name, sizeof name, "%s", fn->s);
        char *blank = strchr(name, ' ');
        if (blank) *blank = '.';
        return fy_help(m->e, fy_fail(m->e, FY_E_PICKLE, "the pickle calls %s, which is not on the list of plain data", name),
                       "nothing is run here; save the weights alone: torch.save(model.state_dict(), \"weights.pth\")");
    }
    return instance(m, fn->s, args, NULL, out);
}

static fy_status reduce(vm *m, const fy_pickled *fn, fy_pickled *args) {
    if (fn->kind != FY_PK_GLOBAL || args->kind != FY_PK_TUPLE) return bad(m, "REDUCE of something that is not a known name");
    fy_pickled *v = NULL, *const *a = args->item.at;
    int64_t n = args->item.n;
    if (!strcmp(fn->s, "torch._tensor _rebuild_from_type_v2")) {     /* (function, type, args, state): a tensor with attributes */
        if (n != 4 || a[0]->kind != FY_PK_GLOBAL || a[1]->kind != FY_PK_GLOBAL || a[2]->kind != FY_PK_TUPLE)
            return bad(m, "a tensor with wrong arguments");
        fn = a[0]; args = a[2]; a = args->item.at; n = args->item.n;
    }
    if (!strcmp(fn->s, "collections OrderedDict")) {
        if (n) return bad(m, "an OrderedDict made from arguments");
        FY_TRY(fresh(m, &v, FY_PK_DICT));
    } else if (!strcmp(fn->s, "torch._utils _rebuild_tensor_v2")) FY_TRY(tensor(m, args, false, &v));
    else if (!strcmp(fn->s, "torch._utils _rebuild_tensor_v3")) FY_TRY(tensor(m, args, true, &v));
    else if (m->script && !strcmp(fn->s, "torch._utils _rebuild_qtensor")) {         /* (storage, offset, size, stride, (scheme, scale, zero point), ...) */
        FY_TRY(tensor(m, args, false, &v));
        if (a[4]->kind != FY_PK_TUPLE) return bad(m, "a quantised tensor without scale");
        v->quant = a[4];
    } else if (!strcmp(fn->s, "torch._utils _rebuild_parameter") || !strcmp(fn->s, "torch._utils _rebuild_parameter_with_state")) {
        if (n < 3 || a[0]->kind != FY_PK_TENSOR) return bad(m, "a parameter that is not a tensor");
        v = a[0];
    } else if (!strcmp(fn->s, "torch Size")) {
        if (n != 1 || (a[0]->kind != FY_PK_TUPLE && a[0]->kind != FY_PK_LIST)) return bad(m, "a torch.Size with wrong arguments");
        v = a[0];
    } else if (!strcmp(fn->s, "torch device")) {
        if (n < 1 || n > 2 || a[0]->kind != FY_PK_STR) return bad(m, "a torch.device with wrong arguments");
        v = a[0];
    } else if (m->script && !strncmp(fn->s, "torch.jit._pickle ", 18)) {
        if (n < 1) return bad(m, "a list of one type without its list");
        v = a[0];
    } else if (m->objects) FY_TRY(make_object(m, fn, args, &v));
    else return fy_fail(m->e, FY_E_PICKLE, "the pickle calls %s", fn->s);
    return push(m, v);
}

static fy_status persistent(vm *m) {     /* ('storage', type, key, location, numel) */
    fy_pickled *id, *v;
    FY_TRY(pop(m, &id));
    fy_pickled *const *a = id->item.at;
    if (m->objects && id->kind == FY_PK_TUPLE && id->item.n == 4 && is_tag(a[0], FY_PK_STR) && !strcmp(a[0]->s, "module"))
        return push(m, a[1]);            /* ('module', class, source file, source): files before PyTorch 1.6 */
    bool legacy = m->objects && id->kind == FY_PK_TUPLE && id->item.n == 6;
    if (id->kind != FY_PK_TUPLE || (id->item.n != 5 && !legacy)) return bad(m, "a persistent id that is not a storage");
    FY_NEED(m->e, !legacy || a[5]->kind == FY_PK_NONE, UNSUPPORTED, "a storage that is a part of another (PyTorch before 0.4)");
    if (!is_tag(a[0], FY_PK_STR) || strcmp(a[0]->s, "storage") || !is_tag(a[1], FY_PK_GLOBAL) || a[1]->i != 1 || !is_tag(a[2], FY_PK_STR) ||
        !is_tag(a[4], FY_PK_INT))
        return bad(m, "a persistent id that is not a storage");
    FY_TRY(fresh(m, &v, FY_PK_STORAGE));
    v->dtype = a[1]->dtype;
    v->s = a[2]->s; v->n_s = a[2]->n_s;
    v->i = a[4]->i;
    return push(m, v);
}

static fy_status set_items(vm *m, int64_t from) {
    if (from < 1 || (m->stack.at[from - 1]->kind != FY_PK_DICT && m->stack.at[from - 1]->kind != FY_PK_OBJECT) || (m->stack.n - from) % 2)
        return bad(m, "items set on something that is not a dict");
    fy_pickled *d = m->stack.at[from - 1];
    for (int64_t i = from; i < m->stack.n; i++) {
        if (m->stack.at[i]->kind == FY_PK_MARK) return bad(m, "too few operands");
        FY_PUSH(m->e, d->item, m->stack.at[i]);
    }
    m->stack.n = from;
    return FY_OK;
}

static fy_status append(vm *m, int64_t from) {
    if (from >= 1 && m->stack.at[from - 1]->kind == FY_PK_OBJECT) {      /* a list of some class: its items are no weights */
        m->stack.n = from;
        return FY_OK;
    }
    if (from < 1 || m->stack.at[from - 1]->kind != FY_PK_LIST) return bad(m, "items appended to something that is not a list");
    fy_pickled *l = m->stack.at[from - 1];
    for (int64_t i = from; i < m->stack.n; i++) {
        if (m->stack.at[i]->kind == FY_PK_MARK) return bad(m, "too few operands");
        FY_PUSH(m->e, l->item, m->stack.at[i]);
    }
    m->stack.n = from;
    return FY_OK;
}

static uint32_t u32(const unsigned char *p) { return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24; }

static fy_status put(vm *m, uint32_t k) {
    if (!m->stack.n || m->stack.at[m->stack.n - 1]->kind == FY_PK_MARK) return bad(m, "too few operands");
    if (k > m->memo.n || k > MAX_MEMO) return bad(m, "a memo index out of order");
    if (k == m->memo.n) FY_PUSH(m->e, m->memo, NULL);
    m->memo.at[k] = m->stack.at[m->stack.n - 1];
    return FY_OK;
}

static fy_status get(vm *m, uint32_t k) {
    if (k >= m->memo.n) return bad(m, "a memo index without value");
    return push(m, m->memo.at[k]);
}

static fy_status long_int(vm *m, const unsigned char *p, size_t n) {
    FY_NEED(m->e, n <= 8, PICKLE, "a pickled int of %zu bytes", n);
    uint64_t u = n && p[n - 1] & 0x80 ? UINT64_MAX : 0;
    for (size_t i = n; i-- > 0;) u = u << 8 | p[i];
    int64_t v;
    memcpy(&v, &u, sizeof v);
    return push_int(m, v, FY_PK_INT);
}

/* Runs one opcode; *done at STOP. */
static fy_status step(vm *m, bool *done) {
    const unsigned char *p = NULL;
    fy_pickled *v = NULL, *w = NULL;
    int64_t k = 0;
    FY_NEED(m->e, m->at < m->end, TRUNCATED, "a pickle ends without STOP");
    unsigned char op = *m->at++;
    switch (op) {
    case 0x80:                                                           /* PROTO */
        FY_TRY(take(m, 1, &p));
        FY_NEED(m->e, *p == 2, PICKLE, "pickle protocol %d; torch.save writes 2", *p);
        return FY_OK;
    case '.': *done = true; return FY_OK;
    case '(': FY_TRY(fresh(m, &v, FY_PK_MARK)); return push(m, v);
    case 'N': FY_TRY(fresh(m, &v, FY_PK_NONE)); return push(m, v);
    case 0x88: return push_int(m, 1, FY_PK_BOOL);
    case 0x89: return push_int(m, 0, FY_PK_BOOL);
    case 'J': { FY_TRY(take(m, 4, &p)); uint32_t u = u32(p); int32_t i; memcpy(&i, &u, 4); return push_int(m, i, FY_PK_INT); }
    case 'K': FY_TRY(take(m, 1, &p)); return push_int(m, *p, FY_PK_INT);
    case 'M': FY_TRY(take(m, 2, &p)); return push_int(m, p[0] | p[1] << 8, FY_PK_INT);
    case 0x8a: { FY_TRY(take(m, 1, &p)); size_t n = *p; FY_TRY(take(m, n, &p)); return long_int(m, p, n); }
    case 'G': {                                                          /* BINFLOAT, big-endian */
        FY_TRY(take(m, 8, &p));
        uint64_t u = 0;
        for (int i = 0; i < 8; i++) u = u << 8 | p[i];
        FY_TRY(fresh(m, &v, FY_PK_FLOAT));
        memcpy(&v->f, &u, 8);
        return push(m, v);
    }
    case 'X': { FY_TRY(take(m, 4, &p)); size_t n = u32(p); FY_TRY(take(m, n, &p)); return push_str(m, p, n); }
    case 'U': { FY_TRY(take(m, 1, &p)); size_t n = *p; FY_TRY(take(m, n, &p)); return push_str(m, p, n); }
    case ')': FY_TRY(fresh(m, &v, FY_PK_TUPLE)); return push(m, v);
    case ']': FY_TRY(fresh(m, &v, FY_PK_LIST)); return push(m, v);
    case '}': FY_TRY(fresh(m, &v, FY_PK_DICT)); return push(m, v);
    case 't': {
        FY_TRY(mark(m, &k));
        FY_TRY(tuple(m, k + 1));
        v = m->stack.at[m->stack.n - 1];
        m->stack.at[k] = v;                                              /* in place of the mark */
        m->stack.n = k + 1;
        return FY_OK;
    }
    case 0x85: return tuple(m, m->stack.n - 1);
    case 0x86: return tuple(m, m->stack.n - 2);
    case 0x87: return tuple(m, m->stack.n - 3);
    case 'a': return append(m, m->stack.n - 1);
    case 'e':
        FY_TRY(mark(m, &k));
        memmove(m->stack.at + k, m->stack.at + k + 1, sizeof *m->stack.at * (size_t)(m->stack.n - k - 1));
        m->stack.n--;
        return append(m, k);
    case 's': return set_items(m, m->stack.n - 2);
    case 'u':
        FY_TRY(mark(m, &k));
        memmove(m->stack.at + k, m->stack.at + k + 1, sizeof *m->stack.at * (size_t)(m->stack.n - k - 1));
        m->stack.n--;
        return set_items(m, k);
    case 'q': FY_TRY(take(m, 1, &p)); return put(m, *p);
    case 'r': FY_TRY(take(m, 4, &p)); return put(m, u32(p));
    case 'h': FY_TRY(take(m, 1, &p)); return get(m, *p);
    case 'j': FY_TRY(take(m, 4, &p)); return get(m, u32(p));
    case 'c': return global(m);
    case 'Q': return persistent(m);
    case 'T': if (!m->objects) break; FY_TRY(take(m, 4, &p)); { size_t n = u32(p); FY_TRY(take(m, n, &p)); return push_str(m, p, n); }   /* Python 2 */
    case 0x81:                                                           /* NEWOBJ */
        if (!m->objects && !m->script) break;
        FY_TRY(pop(m, &w));
        FY_TRY(pop(m, &v));
        if (v->kind != FY_PK_GLOBAL || w->kind != FY_PK_TUPLE) return bad(m, "an instance of something that is not a class");
        if (m->script && (v->i != 3 || w->item.n)) return bad(m, "an object that is not of a class of TorchScript");
        FY_TRY(instance(m, v->s, w, NULL, &v));
        return push(m, v);
    case 'R': FY_TRY(pop(m, &w)); FY_TRY(pop(m, &v)); return reduce(m, v, w);
    case 'b':                                                            /* BUILD: attributes of a dict or tensor are not data of it */
        FY_TRY(pop(m, &w));
        FY_TRY(pop(m, &v));
        if (v->kind == FY_PK_OBJECT) {
            if (m->script && v->item.at[1]->kind != FY_PK_NONE) return bad(m, "BUILD of an object for the second time");
            v->item.at[1] = w;
            return push(m, v);
        }
        if (v->kind != FY_PK_DICT && v->kind != FY_PK_TENSOR) return bad(m, "BUILD of something that is neither a dict nor a tensor");
        return push(m, v);
    default: break;
    }
    return fy_fail(m->e, FY_E_PICKLE, "opcode 0x%02x at byte %zu of a pickle is not on the list of plain data", op, (size_t)(m->at - m->start - 1));
}

static fy_status parse(fy_pickle *out, fy_arena *a, const void *data, size_t n, bool script, bool objects, size_t *used, ferry_error *e) {
    *out = (fy_pickle){0};
    vm m = { .start = data, .at = data, .a = a, .e = e, .out = out, .script = script, .objects = objects };
    m.end = m.start + n;
    bool done = false;
    fy_status s = FY_OK;
    while (!s && !done) s = step(&m, &done);
    if (!s && (m.stack.n != 1 || m.stack.at[0]->kind == FY_PK_MARK)) s = bad(&m, "not exactly one value is left");
    if (!s && !used && m.at != m.end) s = bad(&m, "bytes after STOP");
    if (!s && used) *used = (size_t)(m.at - m.start);
    if (!s) out->root = m.stack.at[0];
    fy_free(m.stack.at);
    fy_free(m.memo.at);
    if (s) fy_pickle_free(out);
    return s;
}

fy_status fy_pickle_parse(fy_pickle *p, fy_arena *a, const void *data, size_t n, ferry_error *e) { return parse(p, a, data, n, false, false, NULL, e); }

fy_status fy_pickle_parse_objects(fy_pickle *p, fy_arena *a, const void *data, size_t n, size_t *used, ferry_error *e) {
    return parse(p, a, data, n, false, true, used, e);
}

void fy_pickle_free(fy_pickle *p) {
    for (int64_t i = 0; i < p->owners.n; i++) {
        fy_free(p->owners.at[i]->item.at);
        p->owners.at[i]->item.at = NULL;
        p->owners.at[i]->item.n = 0;
    }
    fy_free(p->owners.at);
    *p = (fy_pickle){0};
}

const fy_pickled *fy_pickled_get(const fy_pickled *dict, const char *key) {
    if (!dict || dict->kind != FY_PK_DICT) return NULL;
    for (int64_t i = dict->item.n - 2; i >= 0; i -= 2)
        if (dict->item.at[i]->kind == FY_PK_STR && !strcmp(dict->item.at[i]->s, key)) return dict->item.at[i + 1];
    return NULL;
}

/* ---- tensors -------------------------------------------------------------------------------------------------------------- */

fy_status fy_view_const(const fy_const **c, fy_arena *a, fy_dtype dtype, int rank, const int64_t *dim, const int64_t *stride,
                        int64_t offset, const void *storage, size_t bytes, const char *what, ferry_error *e) {
    int64_t count, last = offset;
    size_t size = (size_t)fy_dtype_bits(dtype) / 8;
    FY_NEED(e, size, TYPE, "%s has an element type that ferry does not know", what);
    FY_NEED(e, offset >= 0, CORRUPT, "%s starts at element %lld of its storage", what, (long long)offset);
    FY_NEED(e, fy_count_dims(&count, rank, dim), LIMIT, "%s has sizes that are negative or too large", what);
    bool dense = true;
    int64_t want = 1;
    for (int i = rank - 1; i >= 0; i--) {
        int64_t span;
        FY_NEED(e, stride[i] >= 0, CORRUPT, "%s has the stride %lld", what, (long long)stride[i]);
        FY_NEED(e, !count || (fy_mul_i64(&span, dim[i] - 1, stride[i]) && fy_add_i64(&last, last, span)), CORRUPT,
                "%s reaches outside its storage", what);
        if (dim[i] != 1 && stride[i] != want) dense = false;
        want *= dim[i] ? dim[i] : 1;
    }
    int64_t have = (int64_t)(bytes / size);
    FY_NEED(e, !count || last < have, CORRUPT, "%s reaches to element %lld of a storage of %lld", what, (long long)last, (long long)have);
    if (!count) { *c = fy_const_bytes(a, dtype, rank, dim, storage ? storage : "", 0); FY_NOMEM(e, *c); return FY_OK; }
    const unsigned char *base = storage;
    if (dense) *c = fy_const_bytes(a, dtype, rank, dim, base + (size_t)offset * size, (size_t)count * size);
    else {
        const fy_const *whole = fy_const_bytes(a, dtype, 1, &have, base, (size_t)have * size);
        *c = whole ? fy_const_strided(a, whole, rank, dim, stride, offset) : NULL;
    }
    FY_NOMEM(e, *c);
    return FY_OK;
}

static fy_status torch_open(fy_torch_file *t, fy_arena *a, const void *data, size_t n, bool objects, ferry_error *e) {
    *t = (fy_torch_file){0};
    FY_TRY(fy_zip_open(&t->zip, data, n, e));
    const unsigned char *p;
    const fy_zip_entry *pkl = NULL, *order;
    fy_status s = FY_OK;
    for (int64_t i = 0; i < t->zip.count && !pkl; i++) {
        const char *slash = strchr(t->zip.entry[i].name, '/');
        if (slash && !strcmp(slash, "/data.pkl")) {
            pkl = &t->zip.entry[i];
            t->root = fy_arena_strn(a, pkl->name, (size_t)(slash - pkl->name));
            if (!t->root) s = fy_nomem(e);
        }
    }
    if (!s && !pkl) s = fy_fail(e, FY_E_FORMAT, "no data.pkl in the archive: not a file of torch.save");
    if (!s) {
        char *name = fy_arena_fmt(a, "%s/byteorder", t->root);
        if (!name) s = fy_nomem(e);
        else if ((order = fy_zip_find(&t->zip, name)) != NULL) {
            s = fy_zip_read(&t->zip, order, a, 64, &p, e);
            if (!s) t->big_endian = order->size == 3 && !memcmp(p, "big", 3);
        }
    }
    if (!s) s = fy_zip_read(&t->zip, pkl, a, (uint64_t)1 << 31, &p, e);
    if (!s) s = parse(&t->pickle, a, p, (size_t)pkl->size, false, objects, NULL, e);
    if (s) fy_torch_close(t);
    return s;
}

fy_status fy_torch_open(fy_torch_file *t, fy_arena *a, const void *data, size_t n, ferry_error *e) { return torch_open(t, a, data, n, false, e); }
fy_status fy_torch_open_objects(fy_torch_file *t, fy_arena *a, const void *data, size_t n, ferry_error *e) { return torch_open(t, a, data, n, true, e); }

void fy_torch_close(fy_torch_file *t) {
    fy_pickle_free(&t->pickle);
    fy_zip_close(&t->zip);
    *t = (fy_torch_file){0};
}

fy_status fy_script_open(fy_torch_file *t, fy_arena *a, const fy_zip *zip, const char *root, const char *stem, ferry_error *e) {
    *t = (fy_torch_file){ .zip = *zip, .root = root, .folder = stem };
    const unsigned char *p;
    char *name = fy_arena_fmt(a, "%s/%s.pkl", root, stem), *order = fy_arena_fmt(a, "%s/byteorder", root);
    FY_NOMEM(e, name && order);
    const fy_zip_entry *f = fy_zip_find(zip, name), *o = fy_zip_find(zip, order);
    FY_NEED(e, f, FORMAT, "the archive has no %s", name);
    if (o) {
        FY_TRY(fy_zip_read(zip, o, a, 64, &p, e));
        t->big_endian = o->size == 3 && !memcmp(p, "big", 3);
    }
    FY_TRY(fy_zip_read(zip, f, a, (uint64_t)1 << 31, &p, e));
    fy_status s = parse(&t->pickle, a, p, (size_t)f->size, true, false, NULL, e);
    return s ? fy_frame(e, s, "entry %s", name) : FY_OK;
}

fy_status fy_torch_const(const fy_const **c, fy_torch_file *t, fy_arena *a, const fy_pickled *v, const char *what, ferry_error *e) {
    FY_NEED(e, v && v->kind == FY_PK_TENSOR, CORRUPT, "%s is not a tensor", what);
    char *name = fy_arena_fmt(a, "%s/%s/%s", t->root, t->folder ? t->folder : "data", v->storage->s);
    FY_NOMEM(e, name);
    const fy_zip_entry *f = fy_zip_find(&t->zip, name);
    FY_NEED(e, f, CORRUPT, "the storage %s of %s is missing", name, what);
    const unsigned char *p;
    if (f->method)
        return fy_help(e, fy_fail(e, FY_E_UNSUPPORTED, "the weights of %s are compressed inside the archive", what),
                       "save the file again with PyTorch, or unpack and pack it with `zip -0`: weights are mapped, so they must be stored");
    FY_TRY(fy_zip_stored(&t->zip, f, &p, e));
    size_t size = (size_t)fy_dtype_bits(v->dtype) / 8, unit = v->storage->dtype ? (size_t)fy_dtype_bits(v->storage->dtype) / 8 : 1, said;
    FY_NEED(e, size, TYPE, "%s has an element type that ferry does not know", what);
    FY_NEED(e, !t->big_endian || size == 1, UNSUPPORTED, "%s is stored in big-endian byte order", what);
    FY_NEED(e, v->storage->i >= 0 && fy_mul_size(&said, (size_t)v->storage->i, unit) && said <= f->size, CORRUPT,
            "the storage of %s should have %lld elements but has %llu bytes", what, (long long)v->storage->i, (unsigned long long)f->size);
    return fy_view_const(c, a, v->dtype, v->rank, v->dim, v->stride, v->i, p, said, what, e);
}
