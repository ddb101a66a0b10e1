/* SPDX-License-Identifier: Apache-2.0 */
/* hints.h - what a question says of single attributes, told to the engine.
 *
 * Role       SQLite keeps `attributes ->> 'k' = 'v'` for itself: a virtual table is only shown conditions on columns. So such a
 *            condition is written again as `(attributes ->> 'k' = 'v' AND attribute_hint(attributes, 's1:kv'))`. The function is
 *            always true, and the table is shown it (plan.c), which then reads fewer rows. The condition itself stays, so a hint
 *            that lets too many rows pass changes nothing.
 * Rule       rows are left out by a hint only where its condition is not true for them, and it stands where the rows for which
 *            that is so are not asked for, beside it.
 * Private    to sql/. */
#ifndef SPINDLE_SQL_HINTS_H
#define SPINDLE_SQL_HINTS_H

#include "base/buffer.h"

#define HINT_FUNCTION "attribute_hint"

/* Append the statement with its hints; false: it has none, or the buffer is full, and what was appended is of no use. */
bool hints_write(struct bytes statement, struct buffer *out);

struct hint {
    bool is_number; /* else a text */
    struct bytes key, text;
    int64_t number;
};
/* What a hint says; false: it is none. Borrowed from the text. */
bool hint_read(struct bytes text, struct hint *out);

#endif
