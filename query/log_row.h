/* SPDX-License-Identifier: Apache-2.0 */
/* log_row.h - a log record as lists and tails show it.
 *
 * Threads    pure. */
#ifndef SPINDLE_QUERY_LOG_ROW_H
#define SPINDLE_QUERY_LOG_ROW_H

#include "base/json_writer.h"
#include "storage/engine.h"

/* What a list shows, then the record and what it came with, whole. Its body's text may take up to text_max
 * bytes while it is written. */
void log_row_write(struct json_writer *j, const struct log_row *row, size_t text_max);

#endif
