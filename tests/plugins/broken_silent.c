/* SPDX-License-Identifier: Apache-2.0
 * broken_silent.c - a plugin whose entry fails without a word. */
#include <ferry/plugin.h>

FERRY_PLUGIN(api, registry, error) {
    (void)api, (void)registry, (void)error;
    return 7;
}
