/* SPDX-License-Identifier: Apache-2.0
 * log.c - log levels by topic. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool fy_level_find(const char *name, size_t n, fy_level *level) {
    static const char *const names[] = { "off", "error", "warning", "info", "debug", "trace" };
    for (int i = 0; i < FY_COUNT(names); i++)
        if (strlen(names[i]) == n && memcmp(names[i], name, n) == 0) {
            *level = (fy_level)i;
            return true;
        }
    return false;
}

/* The last rule that names the topic decides, else the last that names none. Unknown words are passed over. */
fy_level fy_log_level(const fy_log *log, const char *topic) {
    fy_level all = FY_LOG_WARN, one = FY_LOG_OFF, level;
    bool found = false;
    if (!log || !log->write) return FY_LOG_OFF;
    for (const char *p = log->rules ? log->rules : ""; *p; ) {
        size_t n = strcspn(p, ", "), name = 0;
        const char *is = memchr(p, '=', n);
        if (is) name = (size_t)(is - p);
        if (!is && fy_level_find(p, n, &level)) all = level;
        else if (is && strlen(topic) == name && memcmp(p, topic, name) == 0 && fy_level_find(is + 1, n - name - 1, &level)) {
            one = level;
            found = true;
        }
        p += n + (p[n] != 0);
    }
    return found ? one : all;
}

void fy_log_line(const fy_log *log, fy_level level, const char *topic, const char *fmt, ...) {
    if (level > fy_log_level(log, topic)) return;
    char line[1024];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (n >= 0) log->write(log->ctx, level, topic, line);
}
