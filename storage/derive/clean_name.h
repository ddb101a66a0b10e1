/* SPDX-License-Identifier: Apache-2.0 */
/* clean_name.h - span names without the IDs in them, for rollups.
 *
 * Role       instrumentations put IDs, numbers, hex, UUIDs, dates and e-mail addresses into names, and each
 *            would become a series of its own. They are replaced by {id}, {uuid}, {hex}, {date} and
 *            {email}; a query string is dropped. The stored span keeps its name.
 * What       a word is what stands between blanks, slashes, brackets, quotes and the like. It is replaced
 *            when it is: all digits; a UUID; hex digits, 8 or more, with a digit and a letter among them; 16 or
 *            more of letters and digits with at least four changes between them; a date; an address with
 *            an @; or an IPv4 address. In a longer word, parts between - _ . of three digits or more,
 *            of UUIDs and of hex are. Words like v1, oauth2, utf-8 and 1.1 stay.
 * Threads    pure.
 * Source     semconv: names should be of low cardinality; not all are. */
#ifndef SPINDLE_STORAGE_DERIVE_CLEAN_NAME_H
#define SPINDLE_STORAGE_DERIVE_CLEAN_NAME_H

#include "storage/derived.h"

#define CLEAN_NAME_MAX 256u /* bytes; longer ones are cut */

/* Append the clean form of a name, unless it is the name itself: then 0 is returned, else what was done, of
 * enum cleaned_reason. Errors: the buffer's. */
unsigned clean_name(struct bytes name, struct buffer *out);

#endif
