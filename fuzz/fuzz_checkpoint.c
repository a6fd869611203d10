/* SPDX-License-Identifier: Apache-2.0
 * fuzz_checkpoint.c - checkpoints and pickled modules: the tree walked, every tensor's ends looked at. */
#include "fuzz.h"

#include "formats/weights.h"

static const char *const files[] = {"weights/tuned.pth", "weights/net_module.pt", "weights/net_legacy.pth", "weights/net_module_legacy.pt", "weights/every.pth", NULL};
static const char *const words[] = {"collections\nOrderedDict\n", "torch._utils\n_rebuild_tensor_v2\n", "torch.nn.modules.linear\nLinear\n", "__builtin__\nset\n", "os\nsystem\n", "_modules",
    "_parameters", "_buffers", "storage", "module", "cpu", "copy_reg\n_reconstructor\n", "state_dict", NULL};
const fy_fuzz fy_target = {"checkpoint", FY_G_ZIP, files, NULL, words, (size_t)64 << 20};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ferry_error e;
    fy_weights w;
    if (fy_weights_memory(&w, data, size, NULL, &e)) return 0;
    fy_reached[0]++;
    for (int64_t i = 0; i < w.at.n && i < 64; i++) {
        double v;
        const fy_const *c = w.at.at[i].data;
        fy_reached[1] += c->count && fy_const_f64(c, 0, &v) && fy_const_f64(c, c->count - 1, &v);
    }
    fy_weights_free(&w);
    return 0;
}
