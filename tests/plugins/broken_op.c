/* SPDX-License-Identifier: Apache-2.0
 * broken_op.c - a plugin whose operator's description is shorter than it must be. */
#include <ferry/plugin.h>

static int run(const ferry_plugin_api *f, ferry_node *n) { return f->fail(n, "VALUE", "never called"); }

FERRY_PLUGIN(api, registry, error) {
    static const ferry_op op = {sizeof op - sizeof(void *), 0, "test", "Short", NULL, NULL, 0, 0, 1, 1, 1, NULL, NULL, run, NULL};
    return api->add(registry, &op, error);
}
