/* SPDX-License-Identifier: Apache-2.0
 * cmd_run.c - ferry run: feeds tensors, images or random numbers to a model and shows what comes out. */
#include "cli.h"
#include "ferry/plugin.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const cli_flag flags[] = {
    {"--inputs", "FILE", ".npz with all inputs by name; .npy or .pb for the only one; NAME=FILE.npy may be repeated; arrays of strings too"},
    {"--outputs", "OUT.npz", "write all outputs by name (also -o, --output); strings as bytes, maps as NAME.keys and NAME.values"},
    {"--output", "OUT.npz", "the same"},
    {"--image", "FILE", "picture (PNG, JPEG, BMP, PNM, TIFF, WebP, JPEG 2000) for the image input; repeated files make a batch; NAME=FILE chooses the input"},
    {"--preset", "imagenet", "resize 256, crop 224, ImageNet mean and deviation"},
    {"--resize", "HxW", "size that the image is scaled to; default: the input's"},
    {"--crop", "HxW", "centre crop after resizing"},
    {"--mean", "R,G,B", "subtracted from values in [0, 1]"},
    {"--std", "R,G,B", "divides after that"},
    {"--layout", "nchw|nhwc", "default: from the input's shape"},
    {"--random", NULL, "seeded random inputs for whatever is not given"},
    {"--seed", "N", "seed of --random; default 1"},
    {"--sizes", "SYMBOL=N,...", "sizes of dynamic axes for --random; default 1"},
    CLI_SHAPE,
    {"--top", "K", "print the K largest values of each row"},
    {"--labels", "FILE", "one name per line, for --top"},
    {"--engine", "NAME", "ferry (default), reference, onnxruntime, openvino"},
    {"--threads", "N", "default: the cores allowed to us"},
    CLI_CACHE,
    CLI_PLUGIN,
    {"--exact", NULL, "no algorithm whose rounding differs from the direct one (Winograd)"},
    {"--precision", "P", "f32 (default), or bf16: products with constant operands round them to bfloat16, sums stay f32; engine ferry"},
    {0},
};

/* ---- inputs ------------------------------------------------------------------------------------------------------- */

/* Splits "NAME=FILE" when NAME is an input of the model; else the whole is a file for the only (or image) input. */
static const char *split(const ferry_model *m, const char *arg, char *name, size_t n) {
    const char *eq = strchr(arg, '=');
    name[0] = 0;
    if (!eq || (size_t)(eq - arg) >= n) return arg;
    memcpy(name, arg, (size_t)(eq - arg));
    name[eq - arg] = 0;
    if (ferry_find_input(m, name) >= 0) return eq + 1;
    name[0] = 0;
    return arg;
}

static const ferry_port *image_port(const ferry_model *m, const char *name) {
    int i = *name ? ferry_find_input(m, name) : -1;
    if (i >= 0) return ferry_input(m, (size_t)i);
    for (size_t k = 0; k < ferry_inputs(m); k++)
        if (ferry_input(m, k)->rank == 4) return ferry_input(m, k);
    return ferry_inputs(m) ? ferry_input(m, 0) : NULL;
}

static int gather_images(const cli_args *a, const ferry_job *job, const ferry_model *m, ferry_values *v, ferry_error *e) {
    const char **path = calloc(a->noption + 1, sizeof *path);
    char name[256] = "", last[256];
    size_t n = 0;
    for (size_t i = 0; path && i < a->noption; i++)
        if (!strcmp(a->option[i].key, "image")) {
            path[n++] = split(m, a->option[i].value, last, sizeof last);
            if (last[0]) memcpy(name, last, sizeof name);
        }
    const ferry_port *port = image_port(m, name);
    int kind = n && port ? ferry_values_image(v, port, path, n, job, e) : FERRY_OK;
    free(path);
    return kind;
}

static int gather(const cli_args *a, const ferry_job *job, const ferry_model *m, ferry_values *v, ferry_error *e) {
    const char *only = ferry_inputs(m) ? ferry_input(m, 0)->name : "";
    for (size_t i = 0; i < a->noption; i++) {
        char name[256];
        if (strcmp(a->option[i].key, "inputs")) continue;
        const char *path = split(m, a->option[i].value, name, sizeof name);
        int at = ferry_find_input(m, name[0] ? name : only);
        int kind = at < 0 ? ferry_values_read(v, path, only, e) : ferry_values_read_for(v, path, ferry_input(m, (size_t)at), e);
        if (kind) return kind;
    }
    int kind = gather_images(a, job, m, v, e);
    if (!kind && cli_has(a, "random")) kind = ferry_values_random(v, m, job, e);
    return kind;
}

/* Every input there, none unknown. */
static int check_names(const ferry_model *m, const ferry_values *v) {
    const char *names[64];
    size_t n = ferry_inputs(m);
    for (size_t i = 0; i < n && i < 64; i++) names[i] = ferry_input(m, i)->name;
    for (size_t i = 0; i < n; i++)
        if (ferry_values_find(v, ferry_input(m, i)->name) < 0) {
            for (size_t k = 0; k < ferry_values_count(v); k++)
                if (ferry_find_input(m, ferry_values_name(v, k)) < 0) {
                    const char *near = ferry_nearest(ferry_values_name(v, k), names, n < 64 ? n : 64);
                    return cli_usage("run", "input '%s' is missing; '%s' is given but is no input%s%s%s", ferry_input(m, i)->name,
                        ferry_values_name(v, k), near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
                }
            return cli_usage("run", "input '%s' is missing: give --inputs FILE.npz, --image FILE or --random", ferry_input(m, i)->name);
        }
    return FERRY_OK;
}

/* ---- outputs ------------------------------------------------------------------------------------------------------ */

static char **read_labels(const char *path, size_t *n) {
    FILE *f = fopen(path, "r");
    char line[512], **label = NULL;
    *n = 0;
    if (!f) return NULL;
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\r\n")] = 0;
        char **more = realloc(label, (*n + 1) * sizeof *label);
        if (!more) break;
        label = more;
        if (!(label[*n] = strdup(line))) break;
        ++*n;
    }
    fclose(f);
    return label;
}

/* JSON has no NaN and no infinity. */
static void json_number(double v) {
    if (isfinite(v)) printf("%.9g", v);
    else printf("null");
}

/* Length of the UTF-8 character at s, 0 if there is none. */
static size_t utf8(const unsigned char *s, size_t n) {
    size_t len = *s < 0x80 ? 1 : *s >= 0xc2 && *s < 0xe0 ? 2 : *s >= 0xe0 && *s < 0xf0 ? 3 : *s >= 0xf0 && *s < 0xf5 ? 4 : 0;
    if (len > n || (*s == 0xe0 && len == 3 && s[1] < 0xa0) || (*s == 0xed && len == 3 && s[1] > 0x9f)) return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    return len;
}

static void json_text(const char *text, size_t n) {
    const unsigned char *s = (const unsigned char *)text;
    putchar('"');
    for (size_t i = 0, len; i < n; i += len ? len : 1) {
        len = utf8(s + i, n - i);
        if (!len) printf("\\ufffd");
        else if (s[i] == '"' || s[i] == '\\' || s[i] < 32) printf("\\u%04x", (unsigned)s[i]);
        else fwrite(s + i, 1, len, stdout);
    }
    putchar('"');
}

static void json_string(const char *s) { json_text(s, strlen(s)); }

static void print_shape(const ferry_tensor *t) {
    printf("%s[", ferry_dtype_name(t->dtype));
    for (int i = 0; i < t->rank; i++) printf("%s%lld", i ? "," : "", (long long)t->dim[i]);
    printf("]");
}

/* The k largest of a row, with the share that softmax would give each: for people. */
static void print_row(const ferry_tensor *t, int64_t row, int64_t width, int k, char **label, size_t nlabels, bool json) {
    int64_t best[64];
    double total = 0, top = -(double)INFINITY;
    int got = 0;
    for (int64_t j = 0; j < width; j++) top = fmax(top, ferry_tensor_at(t, row * width + j));
    for (int64_t j = 0; j < width; j++) total += exp(ferry_tensor_at(t, row * width + j) - top);
    for (int64_t j = 0; j < width; j++) {
        double v = ferry_tensor_at(t, row * width + j);
        int at = got;
        while (at > 0 && v > ferry_tensor_at(t, row * width + best[at - 1])) at--;
        if (at >= k) continue;
        if (got < k) got++;
        memmove(best + at + 1, best + at, (size_t)(got - 1 - at) * sizeof *best);
        best[at] = j;
    }
    if (json) printf("%s[", row ? ", " : "");
    else printf("  row %lld\n", (long long)row);
    for (int i = 0; i < got; i++) {
        double v = ferry_tensor_at(t, row * width + best[i]), p = exp(v - top) / total;
        if (json) {
            printf("%s{\"index\": %lld, \"value\": ", i ? ", " : "", (long long)best[i]);
            json_number(v);
            printf("}");
        } else
            printf("    %6lld %-24s %10.4f  %5.1f%%\n", (long long)best[i], (size_t)best[i] < nlabels ? label[best[i]] : "", v, 100 * p);
    }
    if (json) printf("]");
}

/* ---- strings, sequences, maps: as JSON ------------------------------------------------------------------------------- */

#define JSON_MOST 10000                  /* elements of one value in a document */
#define TEXT_MOST 12                     /* of each list, for people */

static size_t elements(const ferry_value *v) {
    size_t n = ferry_value_kind(v) == FERRY_TENSOR ? ferry_value_count(v) : 1;
    for (size_t i = 0; ferry_value_item(v, i); i++) n += elements(ferry_value_item(v, i));
    return n;
}

static void json_element(const ferry_value *v, const ferry_tensor *t, size_t i) {
    size_t n;
    const char *s = t->dtype == FERRY_STRING ? ferry_value_string(v, i, &n) : NULL;
    if (s) json_text(s, n);
    else json_number(ferry_tensor_at(t, (int64_t)i));
}

/* Elements from `first` on, of the axes from `axis` on. Gives how many they are. */
static size_t json_axis(const ferry_value *v, const ferry_tensor *t, int axis, size_t first, size_t most) {
    size_t n = 0;
    if (axis == t->rank) { json_element(v, t, first); return 1; }
    printf("[");
    for (int64_t i = 0; i < t->dim[axis]; i++) {
        if ((size_t)i == most) { printf(", ..."); break; }
        if (i) printf(", ");
        n += json_axis(v, t, axis + 1, first + n, most);
    }
    printf("]");
    return n;
}

static void json_value(const ferry_value *v, size_t most) {
    ferry_tensor t, kt;
    int32_t kind = ferry_value_kind(v);
    if (kind == FERRY_TENSOR) {
        if (ferry_value_view(v, &t, NULL) == FERRY_OK) json_axis(v, &t, 0, 0, most);
        return;
    }
    if (kind == FERRY_OPTIONAL) {
        if (ferry_value_item(v, 0)) json_value(ferry_value_item(v, 0), most);
        else printf("null");
        return;
    }
    printf(kind == FERRY_MAP ? "{" : "[");
    const ferry_value *keys = kind == FERRY_MAP ? ferry_value_item(v, 0) : NULL, *values = keys ? ferry_value_item(v, 1) : v;
    bool flat = ferry_value_kind(values) == FERRY_TENSOR && ferry_value_view(values, &t, NULL) == FERRY_OK;
    if (keys) (void)ferry_value_view(keys, &kt, NULL);
    for (size_t i = 0; i < ferry_value_count(v); i++) {
        if (i == most) { printf(", ..."); break; }
        if (i) printf(", ");
        if (keys && kt.dtype == FERRY_INT64) printf("\"%lld\": ", (long long)((const int64_t *)kt.data)[i]);
        else if (keys && kt.dtype != FERRY_STRING) printf("\"%.0f\": ", ferry_tensor_at(&kt, (int64_t)i));
        else if (keys) { json_element(keys, &kt, i); printf(": "); }
        if (flat) json_element(values, &t, i);
        else json_value(ferry_value_item(values, i), most);
    }
    printf(kind == FERRY_MAP ? "}" : "]");
}

/* ---- all outputs ---------------------------------------------------------------------------------------------------- */

static void print_tensor(const ferry_port *p, const ferry_tensor *t, int top, char **label, size_t nlabels, bool json) {
    ferry_stats s = {0};
    bool numeric = ferry_tensor_stats(t, &s) == 0;
    int64_t width = t->rank ? t->dim[t->rank - 1] : 1;
    if (json) {
        const struct { const char *key; double v; } figure[] = {{"mean", s.mean}, {"std", s.std}, {"min", s.min}, {"max", s.max}};
        for (int k = 0; numeric && s.count && k < 4; k++) {
            printf(", \"%s\": ", figure[k].key);
            json_number(figure[k].v);
        }
        if (numeric && s.count) printf(", \"nan\": %lld", (long long)s.nan);
        if (top && numeric && width) printf(", \"top\": [");
    } else {
        printf("%s  ", p->name);
        print_shape(t);
        if (numeric && s.count) printf("  mean %.4g  std %.4g  min %.4g  max %.4g", s.mean, s.std, s.min, s.max);
        if (s.nan) printf("  NaN %lld", (long long)s.nan);
        if (s.inf) printf("  inf %lld", (long long)s.inf);
        printf("\n");
    }
    for (int64_t row = 0; top && numeric && width && row < s.count / width && row < 16; row++) print_row(t, row, width, top, label, nlabels, json);
    if (json && top && numeric && width) printf("]");
}

static void print_outputs(const cli_args *a, const ferry_model *m, const ferry_value *const *out, int top, char **label, size_t nlabels) {
    if (a->json) printf("{\n  \"outputs\": [");
    for (size_t i = 0; i < ferry_outputs(m); i++) {
        const ferry_port *p = ferry_output(m, i);
        ferry_tensor t = {0};
        bool tensor = ferry_value_kind(out[i]) == FERRY_TENSOR && ferry_value_view(out[i], &t, NULL) == FERRY_OK, plain = tensor && t.dtype != FERRY_STRING;
        if (a->json) {
            printf("%s\n    {\"name\": ", i ? "," : "");
            json_string(p->name);
            if (tensor) {
                printf(", \"dtype\": \"%s\", \"shape\": [", ferry_dtype_name(t.dtype));
                for (int k = 0; k < t.rank; k++) printf("%s%lld", k ? ", " : "", (long long)t.dim[k]);
                printf("]");
            } else {
                printf(", \"type\": ");
                json_string(p->type);
            }
        }
        if (plain) print_tensor(p, &t, top, label, nlabels, a->json);
        else if (a->json && elements(out[i]) > JSON_MOST) printf(", \"truncated\": true");
        else {
            if (a->json) printf(", \"value\": ");
            else if (tensor) { printf("%s  ", p->name); print_shape(&t); printf("  "); }
            else printf("%s  %s  ", p->name, p->type);
            json_value(out[i], a->json ? SIZE_MAX : TEXT_MOST);
            if (!a->json) printf("\n");
        }
        if (a->json) printf("}");
    }
    if (a->json) printf("\n  ]\n}\n");
}

static int write_outputs(const char *path, const ferry_model *m, const ferry_value *const *out, ferry_error *e) {
    ferry_values *v = ferry_values_new();
    int kind = v ? FERRY_OK : FERRY_IO;
    for (size_t i = 0; !kind && i < ferry_outputs(m); i++) kind = ferry_values_put(v, ferry_output(m, i)->name, out[i], e);
    if (!kind) kind = ferry_values_write(v, path, e);
    ferry_values_free(v);
    return kind;
}

/* ---- the command -------------------------------------------------------------------------------------------------- */

static int execute(const cli_args *a, const ferry_model *m, ferry_values *v, char **label, size_t nlabels, ferry_error *e) {
    size_t nin = ferry_inputs(m), nout = ferry_outputs(m);
    ferry_session *s = ferry_session_new(m, e);
    const ferry_value **in = calloc(nin + 1, sizeof *in), **out = calloc(nout + 1, sizeof *out);
    int kind = s && in && out ? FERRY_OK : s ? FERRY_IO : e->kind;
    for (size_t i = 0; !kind && i < nin; i++) {
        kind = ferry_values_fit(v, ferry_input(m, i), e);
        if (!kind) in[i] = ferry_values_value(v, (size_t)ferry_values_find(v, ferry_input(m, i)->name));
    }
    if (!kind) kind = ferry_run_values(s, in, nin, out, nout, e);
    const char *path = cli_get(a, "outputs") ? cli_get(a, "outputs") : cli_get(a, "output");
    if (!kind && path) kind = write_outputs(path, m, out, e);
    if (!kind && (!a->quiet || a->json)) {
        int64_t top = cli_get(a, "top") ? strtoll(cli_get(a, "top"), NULL, 10) : 0;
        print_outputs(a, m, out, (int)(top < 0 ? 0 : top > 64 ? 64 : top), label, nlabels);
        if (path && !a->json) printf("written %s\n", path);
    }
    free(in);
    free(out);
    ferry_session_free(s);
    return kind;
}

static int run_model(const cli_args *a, const ferry_model *m, char **label, size_t nlabels) {
    ferry_error e = {0};
    ferry_job job = cli_job(a);
    ferry_values *v = ferry_values_new();
    int kind = v ? gather(a, &job, m, v, &e) : FERRY_IO;
    int missing = kind ? FERRY_OK : check_names(m, v);
    if (!kind && !missing) kind = execute(a, m, v, label, nlabels, &e);
    ferry_values_free(v);
    return kind ? cli_fail(a, &e) : missing;
}

/* NULL with e->kind 0: none is asked for. */
static ferry_registry *load_plugins(const cli_args *a, ferry_error *e) {
    ferry_registry *r = NULL;
    for (size_t i = 0; i < a->noption; i++) {
        if (strcmp(a->option[i].key, "plugin")) continue;
        if (!r && !(r = ferry_registry_new(e))) return NULL;
        if (ferry_registry_load(r, a->option[i].value, e)) {
            ferry_registry_free(r);
            return NULL;
        }
    }
    return r;
}

static int run(const cli_args *a) {
    ferry_error e = {0};
    char options[4600];
    size_t nlabels = 0;
    const char *threads = cli_get(a, "threads"), *engine = cli_get(a, "engine"), *precision = cli_get(a, "precision"), *labels = cli_get(a, "labels");
    char **label = labels ? read_labels(labels, &nlabels) : NULL;
    if (labels && !label) return cli_usage("run", "--labels %s cannot be read", labels);
    const char *cache = cli_get(a, "cache"), *memory = cli_get(a, "memory"), *why;
    int length = snprintf(options, sizeof options, "%s%s %s%s%s%s%.20s %s%s %s%s%s", threads ? "threads=" : "", threads ? threads : "", engine ? "engine=" : "", engine ? engine : "",
        cli_has(a, "exact") ? " exact" : "", precision ? " precision=" : "", precision ? precision : "", memory ? "memory=" : "", memory ? memory : "",
        cache ? "cache='" : "", cache ? cache : "", cache ? "'" : "");
    for (size_t i = 0; i < a->noption && length >= 0 && (size_t)length < sizeof options; i++)
        if (!strcmp(a->option[i].key, "shape")) length += snprintf(options + length, sizeof options - (size_t)length, " shape='%s'", a->option[i].value);
    if (length < 0 || (size_t)length >= sizeof options) return cli_usage("run", "--cache and --shape: the text is too long");
    ferry_registry *plugins = load_plugins(a, &e);
    ferry_model *m = e.kind ? NULL : ferry_open_with(a->at[0], options, plugins, &e);
    ferry_registry_free(plugins);
    if (m && !a->quiet && ferry_cache_state(m, &why) == FERRY_CACHE_FAILED) fprintf(stderr, "warning: no cache: %s\n", why);
    int kind = m ? run_model(a, m, label, nlabels) : cli_fail(a, &e);
    ferry_close(m);
    for (size_t i = 0; i < nlabels; i++) free(label[i]);
    free(label);
    return kind;
}

const cli_command cli_run = {
    "run", "use", "run MODEL [--inputs IN.npz] [--outputs OUT.npz] [FLAGS]", "run a .onnx, .pt2 or TorchScript archive on tensors, images or random input", flags,
    "  ferry run resnet50.onnx --image cat.jpg --preset imagenet --top 5 --labels imagenet.txt\n"
    "  ferry run m.onnx --inputs in.npz --outputs out.npz --engine onnxruntime\n"
    "  ferry run model.pt2 --random --sizes batch=2\n",
    1, 1, run,
};
