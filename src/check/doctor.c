/* SPDX-License-Identifier: Apache-2.0
 * doctor.c - this machine, from its files and libraries: nothing is imported and no program is started. Each line has a verdict and,
 * where something is wrong, a remedy; pairs that are known to break are named. `--require` turns facts into a gate. */
#define _XOPEN_SOURCE 700                    /* realpath */
#include "base/cpu.h"
#include "base/knobs.h"
#include "check/check.h"
#include "formats/image.h"

#include <dirent.h>
#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

typedef enum verdict { GOOD, PLAIN, WARN, BAD } verdict;

typedef struct line { verdict v; const char *what; char value[300], remedy[300]; } line;
typedef struct doctor {
    FY_VEC(line) lines;
    line   sink;                         /* where words go when memory is out */
    bool   oom;
    fy_facts f;
    char   torch_path[256];
    int    pci_gpus;
    bool   container;
} doctor;

static line *say(doctor *d, verdict v, const char *what) {
    if (!fy_vec_grow((void **)&d->lines.at, &d->lines.cap, d->lines.n + 1, sizeof *d->lines.at)) {
        d->oom = true;
        return &d->sink;
    }
    line *l = &d->lines.at[d->lines.n++];
    *l = (line){.v = v, .what = what};
    return l;
}
#define VALUE(l, ...)  snprintf((l)->value, sizeof (l)->value, __VA_ARGS__)
#define REMEDY(l, ...) snprintf((l)->remedy, sizeof (l)->remedy, __VA_ARGS__)

/* First `n`-1 bytes of a small text file; false if it cannot be read. */
static bool slurp(const char *path, char *buf, size_t n) {
    FILE *f = fopen(path, "r");
    if (!f) return false;
    size_t got = fread(buf, 1, n - 1, f);
    buf[got] = 0;
    fclose(f);
    return true;
}

/* The text after `key` up to the end of line (quotes and blanks trimmed). */
static bool field(const char *text, const char *key, char *out, size_t n) {
    const char *p = strstr(text, key);
    if (!p) return false;
    p += strlen(key);
    p += strspn(p, " \t:='\"");
    size_t len = strcspn(p, "\n'\"");
    while (len && (p[len - 1] == ' ' || p[len - 1] == '\t')) len--;
    snprintf(out, n, "%.*s", (int)len, p);
    return true;
}

/* ---- CPU, memory --------------------------------------------------------------------------------------------------- */

static void look_cpu(doctor *d) {
    char name[64];
    fy_cpu_name(name);
    d->f.cores = fy_cores();
    line *l = say(d, GOOD, "CPU");
    VALUE(l, "%s, %s, %d of %ld cores allowed to us", name, fy_isa_name(fy_cpu_isa()), d->f.cores, sysconf(_SC_NPROCESSORS_ONLN));
}

static void look_memory(doctor *d) {
    char text[4096], kib[64];
    double limit = 0;
    if (!slurp("/proc/meminfo", text, sizeof text) || !field(text, "MemAvailable", kib, sizeof kib)) return;
    d->f.memory = strtod(kib, NULL) * 1024;
    if (slurp("/sys/fs/cgroup/memory.max", text, sizeof text) || slurp("/sys/fs/cgroup/memory/memory.limit_in_bytes", text, sizeof text)) limit = strtod(text, NULL);
    if (limit > 0 && limit < d->f.memory) d->f.memory = limit;
    line *l = say(d, d->f.memory < 1e9 ? WARN : GOOD, "memory");
    VALUE(l, "%.1f GB available%s", d->f.memory / 1e9, limit > 0 && limit < 1e15 ? " (limited by the cgroup)" : "");
    if (d->f.memory < 1e9) REMEDY(l, "less than 1 GB: raise the container's --memory");
}

static void look_shm(doctor *d) {
    struct statvfs s;
    if (statvfs("/dev/shm", &s)) {
        line *l = say(d, WARN, "/dev/shm");
        VALUE(l, "not there");
        REMEDY(l, "PyTorch's data loaders need it: docker run --shm-size=8g");
        return;
    }
    d->f.shm = (double)s.f_blocks * (double)s.f_frsize;
    bool small = d->f.shm < 1e9;
    line *l = say(d, small ? WARN : GOOD, "/dev/shm");
    VALUE(l, "%.2f GB", d->f.shm / 1e9);
    if (small) REMEDY(l, "docker's default of 64 MB breaks data loaders with workers: docker run --shm-size=8g");
}

/* ---- GPUs and their libraries ------------------------------------------------------------------------------------------ */

/* Is there an NVIDIA display device on the bus, whether or not we may use it? */
static int pci_gpus(void) {
    glob_t g;
    int n = 0;
    if (glob("/sys/bus/pci/devices/*/vendor", 0, NULL, &g)) return 0;
    for (size_t i = 0; i < g.gl_pathc; i++) {
        char vendor[16], class[16], path[300];
        snprintf(path, sizeof path, "%.*sclass", (int)(strlen(g.gl_pathv[i]) - strlen("vendor")), g.gl_pathv[i]);
        if (slurp(g.gl_pathv[i], vendor, sizeof vendor) && slurp(path, class, sizeof class) && !strncmp(vendor, "0x10de", 6) && !strncmp(class, "0x03", 4)) n++;
    }
    globfree(&g);
    return n;
}

typedef int (*cu_int)(int *);
typedef int (*cu_init)(unsigned);
typedef int (*cu_name)(char *, int, int);

/* dlsym as a function pointer, without a cast that ISO C forbids. */
static bool symbol(void *lib, const char *name, void *fn) {
    void *p = dlsym(lib, name);
    if (p) memcpy(fn, &p, sizeof p);
    return p != NULL;
}

static void look_gpus(doctor *d) {
    void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    cu_init init;
    cu_int count, version;
    cu_name name;
    int v = 0, n = 0;
    d->pci_gpus = pci_gpus();
    d->container = !access("/.dockerenv", F_OK) || !access("/run/.containerenv", F_OK);
    if (lib && symbol(lib, "cuInit", &init) && symbol(lib, "cuDeviceGetCount", &count) && symbol(lib, "cuDriverGetVersion", &version) &&
        symbol(lib, "cuDeviceGetName", &name) && !init(0) && !count(&n) && !version(&v)) {
        d->f.gpus = n;
        snprintf(d->f.driver, sizeof d->f.driver, "%d.%d", v / 1000, v % 1000 / 10);
        for (int i = 0; i < n && i < 64; i++) {
            char text[128] = "";
            if (!name(text, sizeof text, i)) VALUE(say(d, GOOD, "GPU"), "%d: %s", i, text);
        }
        VALUE(say(d, GOOD, "driver"), "supports CUDA %s", d->f.driver);
    } else {
        line *l = say(d, d->pci_gpus ? BAD : PLAIN, "GPU");
        VALUE(l, d->pci_gpus ? "%d on the bus, none usable" : "none", d->pci_gpus);
        if (d->pci_gpus && d->container) REMEDY(l, "the container does not see it: docker run --gpus all (with the NVIDIA container toolkit)");
        else if (d->pci_gpus) REMEDY(l, "install the NVIDIA driver (nvidia-driver); `cat /proc/driver/nvidia/version` says whether it is loaded");
    }
    if (lib) dlclose(lib);
}

static const char *const python_roots[] = {"VIRTUAL_ENV", "CONDA_PREFIX", NULL};

/* Calls `fn` for every match of PATTERN below the site-packages of the Pythons that we know of, until it returns true. */
static bool site_packages(const char *pattern, bool (*fn)(void *ctx, const char *path), void *ctx) {
    char root[16][512];
    int n = 0;
    for (int i = 0; python_roots[i]; i++)
        if (*fy_knob_str(python_roots[i])) snprintf(root[n++], sizeof root[0], "%s", fy_knob_str(python_roots[i]));
    for (const char *p = fy_knob_str("PATH"); *p && n < 12;) {
        size_t len = strcspn(p, ":");
        char exe[512], real[4096];
        snprintf(exe, sizeof exe, "%.*s/python3", (int)len, p);
        if (!access(exe, X_OK)) {
            snprintf(root[n++], sizeof root[0], "%.*s/..", (int)len, p);
            if (realpath(exe, real) && strlen(real) < 480) {
                char *slash = strrchr(real, '/');
                *slash = 0;
                snprintf(root[n++], sizeof root[0], "%.480s/..", real);
            }
        }
        p += len + (p[len] == ':');
    }
    if (*fy_knob_str("HOME")) snprintf(root[n++], sizeof root[0], "%s/.local", fy_knob_str("HOME"));
    snprintf(root[n++], sizeof root[0], "/usr/local");
    snprintf(root[n++], sizeof root[0], "/usr");
    for (int i = 0; i < n; i++)
        for (int k = 0; k < 2; k++) {
            char full[1024];
            glob_t g;
            bool done = false;
            snprintf(full, sizeof full, "%.500s/lib/python3*/%s/%.200s", root[i], k ? "dist-packages" : "site-packages", pattern);
            if (glob(full, 0, NULL, &g)) continue;
            for (size_t j = 0; j < g.gl_pathc && !done; j++) done = fn(ctx, g.gl_pathv[j]);
            globfree(&g);
            if (done) return true;
        }
    return false;
}

typedef struct opened { void *lib; } opened;
static bool open_it(void *ctx, const char *path) {
    opened *o = ctx;
    o->lib = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
    return o->lib != NULL;
}

/* A library by its loader name, else below nvidia/ in site-packages. */
static void *open_nvidia(const char *soname, const char *below) {
    opened o = {dlopen(soname, RTLD_LAZY | RTLD_LOCAL)};
    if (!o.lib) site_packages(below, open_it, &o);
    return o.lib;
}

static void look_cuda(doctor *d) {
    char text[2048], version[32];
    glob_t g;
    if (!glob("/usr/local/cuda*/version.json", 0, NULL, &g)) {
        for (size_t i = 0; i < g.gl_pathc && !d->f.cuda[0]; i++) {
            const char *cuda = slurp(g.gl_pathv[i], text, sizeof text) ? strstr(text, "\"cuda\"") : NULL;
            if (cuda && field(cuda, "\"version\"", version, sizeof version)) snprintf(d->f.cuda, sizeof d->f.cuda, "%s", version);
        }
        globfree(&g);
    }
    VALUE(say(d, d->f.cuda[0] ? GOOD : PLAIN, "CUDA toolkit"), "%s", d->f.cuda[0] ? d->f.cuda : "none (needed only to build CUDA code)");
    void *lib = open_nvidia("libcudnn.so.9", "nvidia/cudnn/lib/libcudnn.so.*");
    size_t (*cudnn)(void);
    if (lib && symbol(lib, "cudnnGetVersion", &cudnn)) {
        size_t v = cudnn();
        snprintf(d->f.cudnn, sizeof d->f.cudnn, v >= 90000 ? "%zu.%zu.%zu" : "%zu.%zu.%zu", v / (v >= 90000 ? 10000 : 1000), v % (v >= 90000 ? 10000 : 1000) / 100, v % 100);
    }
    VALUE(say(d, d->f.cudnn[0] ? GOOD : PLAIN, "cuDNN"), "%s", d->f.cudnn[0] ? d->f.cudnn : "none");
    lib = open_nvidia("libnccl.so.2", "nvidia/nccl/lib/libnccl.so.*");
    int (*nccl)(int *), v = 0;
    if (lib && symbol(lib, "ncclGetVersion", &nccl) && !nccl(&v)) snprintf(d->f.nccl, sizeof d->f.nccl, "%d.%d.%d", v / 10000, v % 10000 / 100, v % 100);
    VALUE(say(d, d->f.nccl[0] ? GOOD : PLAIN, "NCCL"), "%s", d->f.nccl[0] ? d->f.nccl : "none (needed only for several GPUs)");
}

/* ---- PyTorch, compilers, engines ------------------------------------------------------------------------------------- */

static bool read_torch(void *ctx, const char *path) {
    doctor *d = ctx;
    char text[4096];
    if (!slurp(path, text, sizeof text) || !field(text, "__version__", d->f.torch, sizeof d->f.torch)) return false;
    const char *cuda = strstr(text, "cuda: ");
    if (cuda && (cuda = strchr(cuda, '='))) field(cuda, "=", d->f.torch_cuda, sizeof d->f.torch_cuda);
    if (!strncmp(d->f.torch_cuda, "None", 4)) d->f.torch_cuda[0] = 0;
    snprintf(d->torch_path, sizeof d->torch_path, "%.*s", (int)(strlen(path) - strlen("/version.py")), path);
    return true;
}

static void look_torch(doctor *d) {
    bool found = site_packages("torch/version.py", read_torch, d);
    line *l = say(d, found ? GOOD : PLAIN, "PyTorch");
    if (found) VALUE(l, "%.60s, %s%.30s (%.180s)", d->f.torch, d->f.torch_cuda[0] ? "CUDA " : "CPU only", d->f.torch_cuda, d->torch_path);
    else VALUE(l, "none (ferry does not need it; it makes the .pt2)");
}

static void look_compilers(doctor *d) {
    static const char *const names[] = {"gcc", "clang", "nvcc", "cmake"};
    for (int i = 0; i < FY_COUNT(names); i++) {
        char path[600] = "", real[4096];
        for (const char *p = fy_knob_str("PATH"); *p && !path[0];) {
            size_t len = strcspn(p, ":");
            snprintf(path, sizeof path, "%.*s/%s", (int)len, p, names[i]);
            if (access(path, X_OK)) path[0] = 0;
            p += len + (p[len] == ':');
        }
        VALUE(say(d, path[0] ? GOOD : PLAIN, names[i]), "%.290s", !path[0] ? "none" : realpath(path, real) ? real : path);
    }
}

static void look_images(doctor *d) {
    char text[200], lacking[200];
    fy_image_formats(text, sizeof text, false);
    fy_image_formats(lacking, sizeof lacking, true);
    line *l = say(d, GOOD, "images");
    VALUE(l, "%s", text);
    if (lacking[0]) REMEDY(l, "for the others: apt-get install %s, then build ferry again", lacking);
}

static void look_engines(doctor *d) {
    int n;
    const fy_engine *const *engine = fy_engines(&n);
    for (int i = 0; i < n; i++) {
        char text[1400], why[1400];
        const char *missing = engine[i]->missing(why, sizeof why);
        line *l = say(d, missing ? PLAIN : GOOD, "engine");
        if (missing) VALUE(l, "%s: %.250s", engine[i]->name, missing);
        else if (!engine[i]->describe(text, sizeof text, NULL)) VALUE(l, "%s: %.250s", engine[i]->name, text);
        if (!missing && !strcmp(engine[i]->name, "onnxruntime")) field(text, "Runtime ", d->f.ort, sizeof d->f.ort);
        if (!missing && !strcmp(engine[i]->name, "openvino")) field(text, "OpenVINO ", d->f.openvino, sizeof d->f.openvino);
    }
    d->f.ort[strcspn(d->f.ort, " ")] = 0;
    d->f.openvino[strcspn(d->f.openvino, " ")] = 0;
}

/* ---- versions, pairs, requirements --------------------------------------------------------------------------------------- */

/* <0, 0, >0 by dotted numbers; what follows a '+' or a letter is ignored. */
static int compare_versions(const char *a, const char *b) {
    for (;;) {
        char *ea, *eb;
        long x = strtol(a, &ea, 10), y = strtol(b, &eb, 10);
        if (x != y) return x < y ? -1 : 1;
        bool more_a = *ea == '.' && ea[1] >= '0' && ea[1] <= '9', more_b = *eb == '.' && eb[1] >= '0' && eb[1] <= '9';
        if (!more_a && !more_b) return 0;
        a = more_a ? ea + 1 : "0";
        b = more_b ? eb + 1 : "0";
    }
}

static void look_pairs(doctor *d) {
    if (d->f.torch_cuda[0] && d->f.driver[0] && strtol(d->f.torch_cuda, NULL, 10) > strtol(d->f.driver, NULL, 10)) {
        line *l = say(d, BAD, "pair");
        VALUE(l, "PyTorch is built for CUDA %s, the driver supports %s", d->f.torch_cuda, d->f.driver);
        REMEDY(l, "update the driver, or install a PyTorch built for CUDA %s or older", d->f.driver);
    }
    if (d->f.torch[0] && !d->f.torch_cuda[0] && d->f.gpus) {
        line *l = say(d, BAD, "pair");
        VALUE(l, "PyTorch is CPU only on a machine with %d GPU(s)", d->f.gpus);
        REMEDY(l, "install a CUDA build of PyTorch");
    }
    if (d->f.torch_cuda[0] && d->f.gpus && !d->f.cudnn[0]) {
        line *l = say(d, BAD, "pair");
        VALUE(l, "PyTorch with CUDA %s, but no cuDNN can be opened", d->f.torch_cuda);
        REMEDY(l, "pip install nvidia-cudnn-cu%ld", strtol(d->f.torch_cuda, NULL, 10));
    }
}

/* "8g", "512m", "64k", "1000"; false if it is none of them. */
static bool parse_bytes(const char *s, double *v) {
    char *end;
    if (*s < '0' || *s > '9') return false;
    *v = strtod(s, &end);
    int shift = *end == 'k' || *end == 'K' ? 10 : *end == 'm' || *end == 'M' ? 20 : *end == 'g' || *end == 'G' ? 30 : *end == 't' || *end == 'T' ? 40 : 0;
    *v *= (double)((int64_t)1 << shift);
    end += shift != 0;
    if (shift && (*end == 'b' || *end == 'B')) end++;
    return !*end;
}

/* Digits first, then what versions are written with. */
static bool is_version(const char *s) { return *s >= '0' && *s <= '9' && !s[strspn(s, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.+-_")]; }

/* Equal also behind the '+', when the wanted one says something there. */
static bool same_version(const char *have, const char *want) {
    const char *a = strchr(have, '+'), *b = strchr(want, '+');
    return !compare_versions(have, want) && (!b || (a && !strcmp(a, b)));
}

static const char *version_of(const fy_facts *f, const char *name) {
    return !strcmp(name, "torch") ? f->torch : !strcmp(name, "cuda") ? (f->torch_cuda[0] ? f->torch_cuda : f->cuda) : !strcmp(name, "cudnn") ? f->cudnn
        : !strcmp(name, "nccl") ? f->nccl : !strcmp(name, "driver") ? f->driver : !strcmp(name, "onnxruntime") ? f->ort : !strcmp(name, "openvino") ? f->openvino : NULL;
}

enum { OP_THERE, OP_EQ, OP_NE, OP_GE, OP_LE, OP_GT, OP_LT };

/* Length of the operator at p, 0 if there is none. */
static size_t operator_at(const char *p, int *op) {
    static const struct { const char *text; int op; } table[] = {{"==", OP_EQ}, {"!=", OP_NE}, {">=", OP_GE}, {"<=", OP_LE}, {">", OP_GT}, {"<", OP_LT}, {"=", OP_EQ}};
    for (int i = 0; i < FY_COUNT(table); i++)
        if (!strncmp(p, table[i].text, strlen(table[i].text))) { *op = table[i].op; return strlen(table[i].text); }
    return 0;
}

fy_status fy_requirement(const fy_facts *f, const char *word, size_t n, bool *met, char found[64], ferry_error *e) {
    char text[128];
    size_t at = 0, len = 0;
    for (size_t i = 0; i < n; i++)
        if (word[i] != ' ' && word[i] != '\t' && len + 1 < sizeof text) text[len++] = word[i];
    text[len] = 0;
    at = strcspn(text, "=<>!");
    int op = OP_THERE, c = 0;
    size_t nop = operator_at(text + at, &op);
    const char *want = text + at + nop, *version;
    char name[32];
    snprintf(name, sizeof name, "%.*s", (int)(at < 31 ? at : 31), text);
    FY_NEED(e, nop == 0 ? !text[at] : *want, USAGE, "--require: '%s' is not NAME, NAME>=VERSION or the like (== != >= <= > <)", text);
    if ((version = version_of(f, name))) {
        FY_NEED(e, !nop || is_version(want), USAGE, "--require: '%s' is no version", want);
        snprintf(found, 64, "%s", *version ? version : "none");
        *met = *version && !nop;
        if (!*version || !nop) return FY_OK;
        c = compare_versions(version, want);
        *met = op == OP_EQ ? same_version(version, want) : op == OP_NE ? !same_version(version, want) : op == OP_GE ? c >= 0 : op == OP_LE ? c <= 0 : op == OP_GT ? c > 0 : c < 0;
        return FY_OK;
    }
    bool size = !strcmp(name, "shm") || !strcmp(name, "memory");
    double have = !strcmp(name, "shm") ? f->shm : size ? f->memory : !strcmp(name, "cores") ? f->cores : !strcmp(name, "gpus") ? f->gpus : -1, v = 1;
    FY_NEED(e, have >= 0, USAGE, "--require: '%s' is not known; there are torch cuda cudnn nccl driver onnxruntime openvino shm memory cores gpus", name);
    FY_NEED(e, !nop || parse_bytes(want, &v), USAGE, "--require: '%s' is no size or count (8g, 512m, 4)", want);
    if (size) snprintf(found, 64, "%.2fg", have / (1024.0 * 1024 * 1024));
    else snprintf(found, 64, "%.0f", have);
    *met = op == OP_EQ ? !(have < v) && !(have > v) : op == OP_NE ? have < v || have > v : op == OP_LE ? have <= v : op == OP_GT ? have > v : op == OP_LT ? have < v : have >= v;
    return FY_OK;
}

/* One "name OP value" and the line that says whether it holds. */
static fy_status require(doctor *d, const char *word, size_t n, bool *met, ferry_error *e) {
    char found[64];
    FY_TRY(fy_requirement(&d->f, word, n, met, found, e));
    line *l = say(d, *met ? GOOD : BAD, "require");
    VALUE(l, "%.*s: %s, found %s", (int)(n < 100 ? n : 100), word, *met ? "met" : "not met", found);
    return FY_OK;
}

static void print(fy_report *r, const doctor *d) {
    static const char *const mark[] = {FY_GREEN "ok  " FY_OFF, "-   ", FY_AMBER "warn" FY_OFF, FY_RED "bad " FY_OFF}, *const word[] = {"ok", "info", "warning", "error"};
    fy_jsonw w = {.out = &r->json, .first = true};
    fy_jsonw_object(&w, NULL);
    fy_jsonw_str(&w, "ferry", ferry_version());
    fy_jsonw_array(&w, "findings");
    for (int64_t i = 0; i < d->lines.n; i++) {
        const line *l = &d->lines.at[i];
        fy_buf_fmt(&r->text, "%s %-13s %s\n", mark[l->v], l->what, l->value);
        if (l->remedy[0]) fy_buf_fmt(&r->text, "                   " FY_DIM_ "%s" FY_OFF "\n", l->remedy);
        fy_jsonw_object(&w, NULL);
        fy_jsonw_str(&w, "what", l->what);
        fy_jsonw_str(&w, "verdict", word[l->v]);
        fy_jsonw_str(&w, "value", l->value);
        fy_jsonw_str(&w, "remedy", l->remedy);
        fy_jsonw_end_object(&w);
    }
    fy_jsonw_end_array(&w);
    fy_jsonw_end_object(&w);
    fy_buf_char(&r->json, '\n');
}

fy_status fy_doctor_report(fy_report *r, const char *required, ferry_error *e) {
    doctor d = {0};
    fy_status s = FY_OK;
    look_cpu(&d);
    look_memory(&d);
    look_shm(&d);
    look_gpus(&d);
    look_cuda(&d);
    look_torch(&d);
    look_compilers(&d);
    look_engines(&d);
    look_images(&d);
    look_pairs(&d);
    for (const char *p = required; !s && p && *p;) {
        size_t n = strcspn(p, ",");
        bool met = true;
        if (n) s = require(&d, p, n, &met, e);
        if (!met) r->verdict = FERRY_NO;
        p += n + (p[n] == ',');
    }
    if (!s && d.oom) s = fy_nomem(e);
    if (!s) print(r, &d);
    fy_free(d.lines.at);
    return s;
}
