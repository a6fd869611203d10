/* SPDX-License-Identifier: Apache-2.0
 * log.h - talk about what is going on. A line names the thing first: "plan: node 212 softmax -> rows".
 *
 * A fy_log is a value that a caller makes and hands down; NULL is silent. Levels go by how often a line comes: error and
 * warn seldom, info once a model, debug once a pass or node, trace once a call. */
#ifndef FY_LOG_H
#define FY_LOG_H

#include "base/compiler.h"

typedef enum fy_level { FY_LOG_OFF, FY_LOG_ERROR, FY_LOG_WARN, FY_LOG_INFO, FY_LOG_DEBUG, FY_LOG_TRACE } fy_level;

typedef struct fy_log {
    void      (*write)(void *ctx, fy_level level, const char *topic, const char *line);
    void       *ctx;
    const char *rules;                   /* FERRY_LOG's syntax: "info,passes=debug"; must outlive the log */
} fy_log;

fy_level fy_log_level(const fy_log *log, const char *topic);         /* the most talkative level that is written */
void     fy_log_line(const fy_log *log, fy_level level, const char *topic, const char *fmt, ...) FY_PRINTF(4, 5);
bool     fy_level_find(const char *name, size_t n, fy_level *level); /* false: no such level */

#endif
