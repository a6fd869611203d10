/* SPDX-License-Identifier: Apache-2.0
 * sniff.c - what a file is, and what to do with one that is no .pt2. */
#include "formats/pt2/reader.h"

#include <string.h>

static bool starts(const unsigned char *p, size_t n, const char *magic, size_t k) { return n >= k && !memcmp(p, magic, k); }

/* A path below the first folder: "<root>/" then `rest` (the whole, or its start). */
static bool below_root(const char *name, const char *rest, bool whole) {
    const char *slash = strchr(name, '/');
    return slash && (whole ? !strcmp(slash + 1, rest) : !strncmp(slash + 1, rest, strlen(rest)));
}

static bool ends(const char *s, const char *tail) {
    size_t n = strlen(s), k = strlen(tail);
    return n >= k && !strcmp(s + n - k, tail);
}

/* `why` receives the name of the class when the pickle holds one. */
static fy_filetype in_zip(const void *data, size_t n, ferry_error *why) {
    fy_zip z;
    if (fy_zip_open(&z, data, n, why)) return FY_FILE_ZIP;
    bool program = false, compiled = false, code = false, pickle = false, npy = z.count > 0;
    for (int64_t i = 0; i < z.count; i++) {
        const char *name = z.entry[i].name;
        program |= !strcmp(name, "serialized_exported_program.json") || (below_root(name, "models/", false) && ends(name, ".json"));
        compiled |= below_root(name, "data/aotinductor/", false);
        code |= below_root(name, "code/", false) || below_root(name, "constants.pkl", true);
        pickle |= below_root(name, "data.pkl", true);
        npy &= ends(name, ".npy");
    }
    fy_zip_close(&z);
    if (program) return FY_FILE_PT2;
    if (compiled) return FY_FILE_PT2_AOTI;
    if (code) return FY_FILE_TORCHSCRIPT;
    if (npy) return FY_FILE_NPZ;
    if (!pickle) return FY_FILE_ZIP;
    fy_torch_file t;
    fy_arena a = {0};
    fy_status s = fy_torch_open(&t, &a, data, n, why);
    if (!s) fy_torch_close(&t);
    fy_arena_free(&a);
    return s == FY_E_PICKLE ? FY_FILE_PICKLED_MODULE : FY_FILE_STATE_DICT;
}

static bool is_safetensors(const unsigned char *p, size_t n) {
    uint64_t len = 0;
    if (n < 10 || p[8] != '{') return false;
    for (int i = 7; i >= 0; i--) len = len << 8 | p[i];
    return len >= 2 && len <= n - 8;
}

/* ModelProto: ir_version (field 1, a small varint), then the tag of another field of it. */
static bool is_onnx(const unsigned char *p, size_t n) {
    static const unsigned char tags[] = { 0x12, 0x1a, 0x22, 0x28, 0x32, 0x3a, 0x42, 0x72, 0xa2, 0xca };
    return n >= 8 && p[0] == 0x08 && p[1] >= 1 && p[1] < 0x40 && memchr(tags, p[2], sizeof tags);
}

static fy_filetype sniff(const void *data, size_t n, ferry_error *why) {
    const unsigned char *p = data;
    if (fy_zip_is(data, n)) return in_zip(data, n, why);
    if (starts(p, n, "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46", 8)) return FY_FILE_LEGACY_PT;
    if (starts(p, n, "\x93NUMPY", 6)) return FY_FILE_NPY;
    if (starts(p, n, "\x89PNG\r\n\x1a\n", 8)) return FY_FILE_PNG;
    if (starts(p, n, "\xff\xd8\xff", 3)) return FY_FILE_JPEG;
    if (is_safetensors(p, n)) return FY_FILE_SAFETENSORS;
    if (is_onnx(p, n)) return FY_FILE_ONNX;
    return FY_FILE_UNKNOWN;
}

fy_filetype fy_file_sniff(const void *data, size_t n) {
    ferry_error ignored;
    return sniff(data, n, &ignored);
}

const char *fy_filetype_text(fy_filetype t) {
    switch (t) {
    case FY_FILE_PT2: return "a .pt2 archive of torch.export.save";
    case FY_FILE_PT2_AOTI: return "a package compiled by AOTInductor";
    case FY_FILE_TORCHSCRIPT: return "a TorchScript archive";
    case FY_FILE_STATE_DICT: return "a checkpoint of torch.save: weights without a program";
    case FY_FILE_PICKLED_MODULE: return "a pickled Python object of torch.save";
    case FY_FILE_LEGACY_PT: return "a file of torch.save from before PyTorch 1.6";
    case FY_FILE_SAFETENSORS: return "a safetensors file: weights without a program";
    case FY_FILE_ONNX: return "an ONNX model";
    case FY_FILE_NPZ: return "an .npz archive of NumPy";
    case FY_FILE_NPY: return "an .npy array of NumPy";
    case FY_FILE_ZIP: return "a zip archive of another kind";
    case FY_FILE_PNG: return "a PNG picture";
    case FY_FILE_JPEG: return "a JPEG picture";
    case FY_FILE_UNKNOWN: break;
    }
    return "a file of unknown kind";
}

static const char *base(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

fy_status fy_pt2_other_file(const void *data, size_t n, const char *path, ferry_error *e) {
    ferry_error why = {0};
    fy_filetype t = sniff(data, n, &why);
    const char *name = base(path);
    if (t == FY_FILE_PT2) return FY_OK;
    if (t == FY_FILE_ZIP && why.code) {                      /* a zip that is damaged: say that */
        if (e) *e = why;
        return fy_code_find(why.code);
    }
    fy_status s = t == FY_FILE_PICKLED_MODULE ? fy_fail(e, FY_E_FORMAT, "%.100s is %s: %.300s", name, fy_filetype_text(t), why.text)
                                              : fy_fail(e, FY_E_FORMAT, n ? "%.100s is %s" : "%.100s is empty", name, fy_filetype_text(t));
    if (strlen(name) > 60) name = "FILE";
    switch (t) {
    case FY_FILE_STATE_DICT: case FY_FILE_LEGACY_PT:
        return fy_help(e, s,
                       "make a .pt2 in Python:\n    m = MyModel(); m.load_state_dict(torch.load(\"%s\"))\n    p = "
                       "torch.export.export(m.eval(), (x,))\n    torch.export.save(p, \"model.pt2\")",
                       name);
    case FY_FILE_SAFETENSORS:
        return fy_help(e, s,
                       "make a .pt2 in Python:\n    m = MyModel(); m.load_state_dict(safetensors.torch.load_file(\"%s\"))\n    p = "
                       "torch.export.export(m.eval(), (x,))\n    torch.export.save(p, \"model.pt2\")",
                       name);
    case FY_FILE_PICKLED_MODULE:
        return fy_help(e, s,
                       "make a .pt2 in Python:\n    m = torch.load(\"%s\", weights_only=False).eval()\n    p = torch.export.export(m, "
                       "(x,))\n    torch.export.save(p, \"model.pt2\")",
                       name);
    case FY_FILE_TORCHSCRIPT:
        return fy_help(
            e, s,
            "export the Python module instead:\n    p = torch.export.export(model.eval(), (x,))\n    torch.export.save(p, \"model.pt2\")");
    case FY_FILE_PT2_AOTI:
        return fy_help(e, s,
                       "it holds machine code, not a program; save the program itself:\n    "
                       "torch.export.save(torch.export.export(model.eval(), (x,)), \"model.pt2\")");
    case FY_FILE_ONNX:
        return fy_help(e, s, "it needs no export: `ferry run %s`, `ferry check %s`", name, name);
    case FY_FILE_NPZ: case FY_FILE_NPY:
        return fy_help(e, s, "it can be an input: ferry run MODEL --input %s", name);
    case FY_FILE_PT2: case FY_FILE_ZIP: case FY_FILE_PNG: case FY_FILE_JPEG: case FY_FILE_UNKNOWN: break;
    }
    return fy_help(e, s,
                   "ferry exports what torch.export.save wrote: torch.export.save(torch.export.export(model.eval(), (x,)), \"model.pt2\")");
}
