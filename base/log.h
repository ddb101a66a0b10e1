/* SPDX-License-Identifier: Apache-2.0 */
/* log.h - one line per event on standard error.
 *
 *   2026-01-31T12:00:00.000Z warn  storage: partition p000012 is damaged: ...
 *
 * Role       the edge that acts on an error logs it, once. Control characters and invalid UTF-8 in
 *            arguments are escaped, so nothing that was received can write to a terminal. Secrets and
 *            span contents are never logged.
 * Threads    any; a line is one write(2). */
#ifndef SPINDLE_BASE_LOG_H
#define SPINDLE_BASE_LOG_H

#include "base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Lines below this level are not written; LOG_INFO at first. */
void log_set_level(enum log_level lowest);
/* room: "net", "storage", ... At most 2 KiB a line; the rest is cut and marked. */
void log_line(enum log_level level, const char *room, const char *format, ...) PRINTF_LIKE(3, 4);

#endif
