/* SPDX-License-Identifier: Apache-2.0
 * fuzz_pickle.c - archives of torch.save: the pickle machine, and every tensor found made a constant and read. */
#include "fuzz.h"

#include "formats/pickle.h"

#include <string.h>

static const char *const files[] = {"other/state_dict.pth", "other/checkpoint.pth", "other/storages.pth", "other/module.pth", "other/legacy.pth", NULL};
static const char *const words[] = {"collections\nOrderedDict\n", "torch._utils\n_rebuild_tensor_v2\n", "torch._utils\n_rebuild_parameter\n", "torch\nFloatStorage\n",
    "torch\nLongStorage\n", "torch.storage\nUntypedStorage\n", "torch\nSize\n", "os\nsystem\n", "builtins\neval\n", "storage", "cpu", "0", "1", "../data/0", NULL};
const fy_fuzz fy_target = {"pickle", FY_G_ZIP, files, NULL, words, (size_t)64 << 20};

static void read_tensors(fy_torch_file *t, fy_arena *a, const fy_pickled *const *at, int64_t n) {
    ferry_error e;
    for (int64_t i = 0; i < n && i < 64; i++) {
        const fy_pickled *v = at[i];
        if (v->kind != FY_PK_TENSOR) continue;
        const fy_const *c;
        double element[64];
        if (fy_torch_const(&c, t, a, v, "tensor", &e) == FY_OK && c->count && fy_elem_bytes(c->dtype) <= 8) {
            fy_reached[1]++;
            int64_t some = c->count < 64 ? c->count : 64;
            (void)!fy_const_read(c, 0, some, element, &e);
            (void)!fy_const_read(c, c->count - some, some, element, &e);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ferry_error e;
    fy_arena a = {0};
    fy_torch_file t;
    if (fy_torch_open(&t, &a, data, size, &e) == FY_OK) {
        fy_reached[0]++;
        read_tensors(&t, &a, (const fy_pickled *const *)t.pickle.owners.at, t.pickle.owners.n);
        for (int64_t i = 0; i < t.pickle.owners.n && i < 64; i++)
            read_tensors(&t, &a, (const fy_pickled *const *)t.pickle.owners.at[i]->item.at, t.pickle.owners.at[i]->item.n);
        (void)fy_pickled_get(t.pickle.root, "state_dict");
        fy_torch_close(&t);
    }
    fy_pickle p;
    if (fy_pickle_parse(&p, &a, data, size, &e) == FY_OK) fy_pickle_free(&p);
    fy_arena_free(&a);
    return 0;
}
