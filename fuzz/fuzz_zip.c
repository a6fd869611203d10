/* SPDX-License-Identifier: Apache-2.0
 * fuzz_zip.c - archives: every entry is read, inflated at most to 4 MiB, and none reaches out of the archive. */
#include "fuzz.h"

#include "formats/pt2.h"
#include "formats/zip.h"

static const char *const files[] = {"npz/stored.npz", "npz/deflated.npz", "other/state_dict.pth", "other/script.pt", "other/arrays.npz", NULL};
static const char *const words[] = {"PK\3\4", "PK\1\2", "PK\5\6", "PK\6\6", "PK\6\7", "../x", "/etc/x", "a/b", "", NULL};
const fy_fuzz fy_target = {"zip", FY_G_ZIP, files, NULL, words, (size_t)64 << 20};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ferry_error e;
    fy_zip z;
    (void)fy_filetype_text(fy_file_sniff(data, size));
    if (fy_zip_open(&z, data, size, &e)) return 0;
    fy_reached[0]++;
    uint64_t sum = 0;
    for (int64_t i = 0; i < z.count; i++) {
        const fy_zip_entry *f = &z.entry[i];
        const unsigned char *p;
        fy_arena a = {0};
        if (fy_zip_find(&z, f->name) != f) fy_fuzz_fault("an entry is not found by its name");
        if (fy_zip_read(&z, f, &a, 4 << 20, &p, &e) == FY_OK) {
            fy_reached[1]++;
            for (uint64_t k = 0; k < f->size; k++) sum += p[k];
            sum += fy_zip_crc_ok(f, p);
        }
        fy_arena_free(&a);
    }
    fy_zip_close(&z);
    return sum == UINT64_MAX;
}
