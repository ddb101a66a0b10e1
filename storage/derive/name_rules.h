/* SPDX-License-Identifier: Apache-2.0 */
/* name_rules.h - rules of the configuration: spans of these names are counted under that name.
 *
 * Role       a rule is one line, PATTERN => NAME. A pattern is a glob: * is anything without a slash, ** anything,
 *            {word} one or more bytes without slash and blank, all else itself; without "=> NAME" the pattern is the
 *            name too, as in GET /users/{id}/photos/{photo}. After ~ it is a regular expression as in TraceQL, which
 *            must match the whole name. The first rule that matches wins, before all other cleaning.
 * Bound      NAME_RULES_MAX rules of NAME_RULE_BYTES_MAX; of a name only the first NAME_MATCH_BYTES_MAX are
 *            looked at. Matching takes time linear in the name (storage/expr_regex.c).
 * Threads    any, once they are made. */
#ifndef SPINDLE_STORAGE_DERIVE_NAME_RULES_H
#define SPINDLE_STORAGE_DERIVE_NAME_RULES_H

#include "base/bytes.h"
#include "base/err.h"

#define NAME_RULES_MAX       64u
#define NAME_RULE_BYTES_MAX  1024u
#define NAME_MATCH_BYTES_MAX 1024u

struct name_rules;

/* Make rules of `text`, one a line; blank lines are none. NULL or empty text: no rules, *out NULL.
 *
 *   out_line  on ERR_INVALID: the line, from 1; `what` in out_note and its offset in that line
 *
 * Errors  ERR_INVALID, ERR_TOO_MANY (of rules), ERR_NOMEM */
NODISCARD enum err name_rules_make(struct bytes text, struct name_rules **out, size_t *out_line,
                                   struct err_note *out_note);
void name_rules_free(struct name_rules *rules); /* NULL does nothing */

/* Number of the rule that matches, from 1, and its name (which lives as long as the rules); 0: none does.
 * `rules` may be NULL. */
unsigned name_rules_find(const struct name_rules *rules, struct bytes name, struct bytes *out_name);

#endif
