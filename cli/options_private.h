/* SPDX-License-Identifier: Apache-2.0 */
/* options_private.h - what the sources of options.h share. */
#ifndef SPINDLE_CLI_OPTIONS_PRIVATE_H
#define SPINDLE_CLI_OPTIONS_PRIVATE_H

#include "cli/options.h"

#define OPTION_NAME_MAX  64
#define OPTION_BOUND_MAX 32 /* bytes of one end of a range, as it is typed */
#define OPTION_RANGE_MAX (3 * OPTION_BOUND_MAX)
#define OPTION_ITEM_MAX  2048 /* bytes of an item of a LIST, with its end */

/* The row whose name, with '-' written as `dash`, is `name`; SIZE_MAX when there is none. */
size_t options_find(const struct option_table *table, struct bytes name, char dash);
/* `name` with '-' written as '_', lower case, as the keys of a file are. */
void options_key(const char *name, char out[OPTION_NAME_MAX]);
/* "; did you mean 'x'?" for an unknown name, or an empty text. */
void options_suggest(const struct option_table *table, const char *typed, const char *before,
                     char dash, char *out, size_t out_bytes);
/* Number of the word in "fsync|process", or -1. */
int options_choice(const char *choices, const char *word);
bool options_is_number(enum option_type type);
/* The value of a number as it is typed: "3", "64MiB", "1m30s". */
NODISCARD bool options_number(enum option_type type, const char *text, uint64_t *out);
bool options_in_range(const struct option *option, uint64_t value);
/* The option's range, which it must have, in words: "from 1 to 64", "0 or at least 1m". */
void options_range_words(const struct option *option, char out[OPTION_RANGE_MAX]);
/* What is wrong with an item of a LIST, or NULL. */
const char *options_item_problem(const struct option_table *table, size_t row, const char *item);
/* A list with one item more, in the arena; NULL: no memory. */
const char *options_item_add(struct arena *arena, const char *list, const char *item);

#endif
