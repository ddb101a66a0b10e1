/* SPDX-License-Identifier: Apache-2.0 */
/* expr_private.h - what the filter tree's sources share. */
#ifndef SPINDLE_STORAGE_EXPR_PRIVATE_H
#define SPINDLE_STORAGE_EXPR_PRIVATE_H

#include "storage/expr.h"

/* ERR_INVALID with a note, ERR_TOO_LARGE, ERR_NOMEM. */
NODISCARD enum err expr_regex_compile(struct bytes pattern, struct expr_regex **out,
                                      struct err_note *note);
/* Whether all of `text` matches; false, and counted, when the pattern runs away. From any thread. */
bool expr_regex_matches(struct expr_regex *regex, struct bytes text);
void expr_regex_free(struct expr_regex *regex); /* NULL does nothing */

#endif
