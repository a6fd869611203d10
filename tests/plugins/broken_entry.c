/* SPDX-License-Identifier: Apache-2.0
 * broken_entry.c - a shared object that is no plugin. */
int not_a_plugin(void);
int not_a_plugin(void) { return 1; }
