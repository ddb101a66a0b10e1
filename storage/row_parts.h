/* SPDX-License-Identifier: Apache-2.0 */
/* row_parts.h - which parts of spans and log records a reader wants: what is not named may be left out of the
 * items it is given, so that the columns behind it need not be read. */
#ifndef SPINDLE_STORAGE_ROW_PARTS_H
#define SPINDLE_STORAGE_ROW_PARTS_H

enum row_part {
    ROW_IDS = 1,   /* of the trace, the span and its parent */
    ROW_TIMES = 2, /* start and end; time and observed time */
    ROW_NAME = 4,  /* of the span; event name of a log record */
    ROW_KIND = 8,  /* severity number of a log record */
    ROW_STATUS = 16,
    ROW_ATTRIBUTES = 32,
    ROW_EVENTS = 64,
    ROW_LINKS = 128,
    ROW_BODY = 256,
    ROW_REST = 512,   /* trace state, severity text, flags, dropped counts */
    ROW_GROUP = 1024, /* resource and scope; without them all items may be of one group */
    ROW_ALL = 2047
};

#endif
