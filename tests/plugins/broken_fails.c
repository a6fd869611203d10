/* SPDX-License-Identifier: Apache-2.0
 * broken_fails.c - a plugin whose entry adds an operator and then fails with words of its own: nothing of it may stay. */
#include <ferry/plugin.h>

#include <string.h>

static int run(const ferry_plugin_api *f, ferry_node *n) { return f->fail(n, "VALUE", "never called"); }

FERRY_PLUGIN(api, registry, error) {
    static const char code[] = "LIMIT";
    static const ferry_op op = {sizeof op, 0, "test", "Half", NULL, NULL, 0, 0, 1, 1, 1, NULL, NULL, run, NULL};
    if (api->add(registry, &op, error)) return 1;
    error->code = code;
    memcpy(error->text, "no licence found", sizeof "no licence found");
    return 1;
}
