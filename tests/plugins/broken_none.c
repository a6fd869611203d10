/* SPDX-License-Identifier: Apache-2.0
 * broken_none.c - a plugin that registers nothing. */
#include <ferry/plugin.h>

FERRY_PLUGIN(api, registry, error) {
    (void)api, (void)registry, (void)error;
    return 0;
}
