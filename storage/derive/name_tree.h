/* SPDX-License-Identifier: Apache-2.0 */
/* name_tree.h - templates learned from the names that one service makes.
 *
 * Role       cleaning knows numbers and hex, but not that "GET /users/ann" and "GET /users/bob" are one operation.
 *            A tree of words knows it: when a service has more than NAME_TREE_NAMES_MAX names, the place
 *            with the most different words becomes {*}, so long as it has NAME_TREE_FOLD_MIN of them. Words that
 *            came back in several row groups, and four times as often as their neighbours, stay words.
 * What       words are runs of letters, digits, braces and bytes over 127; what stands before a word belongs to it.
 *            Behind the twelfth all is one word. Names of one word are no templates, and a first word becomes {*}
 *            only where others follow it: so services with many plain names keep them, within the bound of series.
 * Order      the same names in the same order make the same templates. They are forgotten with the service;
 *            after a start they are known again by the names that were counted.
 * Bound      NAME_TREE_NAMES_MAX names, some 70 bytes a word; of all trees together the budget's bytes. When it is
 *            full nothing is learned, and names stay as they are.
 * Threads    one at a time. */
#ifndef SPINDLE_STORAGE_DERIVE_NAME_TREE_H
#define SPINDLE_STORAGE_DERIVE_NAME_TREE_H

#include "base/buffer.h"

#define NAME_TREE_NAMES_MAX 500u
#define NAME_TREE_FOLD_MIN  16u

struct name_node;

struct name_tree {
    struct name_node *root; /* NULL: empty */
    uint32_t names;
    uint32_t stuck_epoch; /* when nothing could be learned; not tried again in it */
};
/* What all trees share. */
struct name_tree_room {
    size_t bytes, bytes_max;
    uint32_t epoch; /* counts row groups, from 1 */
    uint64_t
        changes; /* after which a name that was found may be another's, and its place no more */
};

/* The template that a name belongs to is appended to `out`: true. False: the name is its own, and nothing was
 * appended. `name` is clean. is_learning: note it, else the tree is only read. */
bool name_tree_find(struct name_tree *tree, struct name_tree_room *room, struct bytes name,
                    bool is_learning, struct buffer *out);
/* The same for a name that was learned: its place in the tree, or NULL, in *out_place. */
bool name_tree_learn(struct name_tree *tree, struct name_tree_room *room, struct bytes name,
                     struct buffer *out, struct name_node **out_place);
/* A name of this place is there again, as if it were learned; nothing has changed since. */
void name_tree_note(const struct name_tree_room *room, struct name_node *place);
/* For who notes several: ask for what is above the place, after the place itself was asked for. */
void name_tree_prefetch(const struct name_node *place);
/* Whether there is an open place in a name, as it was counted. */
bool name_is_template(struct bytes name);
/* What was learned before: places that are open in a name are open here too; a name without any says nothing. */
void name_tree_restore(struct name_tree *tree, struct name_tree_room *room, struct bytes name);
/* Afterwards, of a name without open places that was counted beside them: whether it would be counted under a
 * template now, and can still be kept apart. may_make: it is kept. Of each place the first ones are. */
bool name_tree_restore_kept(struct name_tree *tree, struct name_tree_room *room, struct bytes name,
                            bool may_make);
void name_tree_deinit(struct name_tree *tree, struct name_tree_room *room); /* safe twice */

/* Whether a template has a word in it, besides places that are left open. */
bool name_template_says_something(struct bytes name);

#endif
