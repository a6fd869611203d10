/* SPDX-License-Identifier: Apache-2.0
 * broken_abi.c - a plugin that was built for another ABI. Its entry must not be called. */
#include <ferry/plugin.h>

#include <stdlib.h>

FERRY_API uint32_t ferry_plugin_abi(void);
uint32_t ferry_plugin_abi(void) { return FERRY_PLUGIN_ABI + 1; }

FERRY_API int ferry_plugin(const ferry_plugin_api *api, ferry_registry *registry, ferry_error *error);
int ferry_plugin(const ferry_plugin_api *api, ferry_registry *registry, ferry_error *error) {
    (void)api, (void)registry, (void)error;
    abort();
}
