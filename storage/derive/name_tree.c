/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/derive/name_tree.h"

#include "base/shelf.h"

#include <assert.h>

#define WORDS_MAX   12u
#define KEEP_MAX    (NAME_TREE_FOLD_MIN - 1)
#define KEEP_SEEN   3u
#define KEEP_FACTOR 4u
#define MARK        "{*}"

/* Open places keep what stands before them, as "/" in "/{*}", until that too has many forms. */
enum openness { CLOSED, OPEN, OPEN_BARE };

struct name_node {
    struct name_node *next, *children, *parent;
    uint32_t children_count;
    uint32_t seen_epoch;
    uint16_t seen; /* row groups; saturating */
    uint16_t text_len;
    uint8_t openness; /* of the children */
    bool is_name;     /* one ends here */
    uint8_t text[];   /* separators and a word */
};

/* ---- Words ----------------------------------------------------------------------------------- */

static bool is_word(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '{' ||
           c == '}' || c >= 0x80;
}

static size_t separators_len(struct bytes text)
{
    size_t i = 0;
    while (i < text.len && !is_word(text.data[i]))
        i++;
    return i;
}

/* Take the next word with what stands before it. `number` counts from 0; the last takes the rest. */
static bool word_next(struct bytes *rest, unsigned number, struct bytes *out)
{
    if (rest->len == 0)
        return false;
    size_t len = separators_len(*rest);
    while (len < rest->len && is_word(rest->data[len]))
        len++;
    if (number + 1 >= WORDS_MAX ||
        separators_len(bytes_slice(*rest, len, SIZE_MAX)) == rest->len - len)
        len = rest->len; /* separators at the end belong to the last word */
    *out = bytes_slice(*rest, 0, len);
    *rest = bytes_slice(*rest, len, SIZE_MAX);
    return true;
}

bool name_template_says_something(struct bytes name)
{
    bool in_braces = false;
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] == '{' || name.data[i] == '}')
            in_braces = name.data[i] == '{';
        else if (!in_braces && is_word(name.data[i]))
            return true;
    }
    return false;
}

/* ---- Nodes ----------------------------------------------------------------------------------- */

static size_t node_bytes(size_t text_len)
{
    return sizeof(struct name_node) + text_len;
}

static struct name_node *node_make(struct name_tree_room *room, struct name_node *parent,
                                   struct bytes text)
{
    size_t size = node_bytes(text.len);
    if (size > room->bytes_max - room->bytes || text.len > UINT16_MAX)
        return NULL;
    struct name_node *n = shelf_zalloc(size);
    if (n == NULL)
        return NULL;
    room->bytes += size;
    n->parent = parent;
    n->text_len = (uint16_t)text.len;
    if (text.len > 0)
        memcpy(n->text, text.data, text.len);
    if (parent != NULL) {
        n->next = parent->children;
        parent->children = n;
        parent->children_count++;
    }
    return n;
}

static struct name_node *child_find(const struct name_node *n, struct bytes text)
{
    struct name_node *c = n->children;
    while (c != NULL && !bytes_equal(bytes_of(c->text, c->text_len), text))
        c = c->next;
    return c;
}

/* The next in pre-order, within `top`; NULL at the end. */
static struct name_node *walk_next(const struct name_node *top, struct name_node *n)
{
    if (n->children != NULL)
        return n->children;
    while (n != top && n->next == NULL)
        n = n->parent;
    return n == top ? NULL : n->next;
}

/* Free a node with all below it; it has been taken off its parent. Leaves first, without recursion. */
static void subtree_free(struct name_tree *tree, struct name_tree_room *room, struct name_node *top)
{
    struct name_node *n = top;
    room->changes++;
    while (n != NULL) {
        if (n->children != NULL) {
            n = n->children;
            continue;
        }
        struct name_node *parent = n == top ? NULL : n->parent;
        if (parent != NULL)
            parent->children = n->next;
        tree->names -= n->is_name ? 1u : 0u;
        room->bytes -= node_bytes(n->text_len);
        shelf_free(n);
        n = parent;
    }
}

void name_tree_deinit(struct name_tree *tree, struct name_tree_room *room)
{
    if (tree->root != NULL)
        subtree_free(tree, room, tree->root);
    *tree = (struct name_tree){ 0 };
}

/* ---- Folding --------------------------------------------------------------------------------- */

static bool is_foldable(const struct name_tree *tree, const struct name_node *child)
{
    return child->parent != tree->root || child->children != NULL;
}

static uint32_t width_of(const struct name_tree *tree, const struct name_node *n)
{
    if (n->openness == OPEN_BARE)
        return 0;
    if (n != tree->root)
        return n->children_count;
    uint32_t width = 0;
    for (const struct name_node *c = n->children; c != NULL; c = c->next)
        width += is_foldable(tree, c) ? 1u : 0u;
    return width;
}

/* Open the place below n: its words go, but for those that come again and again. */
static void fold(struct name_tree *tree, struct name_tree_room *room, struct name_node *n)
{
    uint64_t seen = 0;
    uint32_t kept = 0, width = 0;
    for (const struct name_node *c = n->children; c != NULL; c = c->next) {
        width += is_foldable(tree, c) ? 1u : 0u;
        seen += is_foldable(tree, c) ? c->seen : 0u;
    }
    n->openness++;
    room->changes++;
    for (struct name_node **at = &n->children; *at != NULL;) {
        struct name_node *c = *at;
        bool is_often = c->seen >= KEEP_SEEN && (uint64_t)c->seen * width >= KEEP_FACTOR * seen;
        if (!is_foldable(tree, c) || (is_often && kept < KEEP_MAX)) {
            kept += is_foldable(tree, c) ? 1u : 0u;
            at = &c->next;
            continue;
        }
        *at = c->next;
        n->children_count--;
        subtree_free(tree, room, c);
    }
}

/* False: nothing has words enough. */
static bool fold_widest(struct name_tree *tree, struct name_tree_room *room)
{
    struct name_node *widest = NULL;
    uint32_t width = NAME_TREE_FOLD_MIN - 1;
    for (struct name_node *n = tree->root; n != NULL; n = walk_next(tree->root, n)) {
        uint32_t w = width_of(tree, n);
        if (w > width) {
            widest = n;
            width = w;
        }
    }
    if (widest != NULL)
        fold(tree, room, widest);
    return widest != NULL;
}

/* ---- Finding --------------------------------------------------------------------------------- */

/* The word as it stands in an open place: what is around it stays, where it is short. */
static struct bytes open_word(const struct name_node *n, struct bytes word, uint8_t room[16])
{
    size_t before = separators_len(word), after = 0;
    while (after < word.len - before && !is_word(word.data[word.len - 1 - after]))
        after++;
    if (n->openness == OPEN_BARE || before > 4 || after > 4)
        before = after = 0;
    memcpy(room, word.data, before);
    memcpy(room + before, MARK, 3);
    memcpy(room + before + 3, word.data + word.len - after, after);
    return bytes_of(room, before + 3 + after);
}

static void node_note(struct name_node *n, uint32_t epoch)
{
    if (n->seen_epoch != epoch && n->seen < UINT16_MAX)
        n->seen++;
    n->seen_epoch = epoch;
}

/* Take off what no name ends in or below. */
static void prune(struct name_tree *tree, struct name_tree_room *room, struct name_node *n)
{
    while (n != tree->root && n->children == NULL && !n->is_name) {
        struct name_node *parent = n->parent, **at = &parent->children;
        while (*at != n)
            at = &(*at)->next;
        *at = n->next;
        parent->children_count--;
        subtree_free(tree, room, n);
        n = parent;
    }
}

/* One way down the tree, with {*} for the words in open places; behind the last that is known words are as they
 * are. Where the tree grows, what is missing is made. Returns the name's own node; NULL: there is none. */
static struct name_node *descend(struct name_tree *tree, struct name_tree_room *room,
                                 struct bytes name, bool grows, struct buffer *out)
{
    struct name_node *n = tree->root;
    struct bytes rest = name, word;
    for (unsigned number = 0; n != NULL && word_next(&rest, number, &word); number++) {
        uint8_t text[16];
        struct name_node *child = child_find(n, word);
        if (child == NULL && n->openness != CLOSED) {
            word = open_word(n, word, text);
            child = child_find(n, word);
        }
        if (child == NULL && grows)
            child = node_make(room, n, word);
        buffer_append_bytes(out, word);
        if (child == NULL) {
            buffer_append_bytes(out, rest);
            if (grows)
                prune(tree, room, n);
            return NULL;
        }
        if (grows)
            node_note(child, room->epoch);
        n = child;
    }
    return n;
}

/* Returns the name's own node, where it is in the tree now. */
static struct name_node *learn(struct name_tree *tree, struct name_tree_room *room,
                               struct bytes name, struct buffer *out)
{
    size_t mark = out->len;
    if (tree->root == NULL)
        tree->root = node_make(room, NULL, (struct bytes){ 0 });
    for (;;) {
        bool grows = tree->names < NAME_TREE_NAMES_MAX || tree->stuck_epoch != room->epoch;
        struct name_node *n = descend(tree, room, name, grows, out);
        if (!grows || n == NULL || n->is_name)
            return grows ? n : NULL;
        if (tree->names < NAME_TREE_NAMES_MAX) {
            n->is_name = true;
            tree->names++;
            return n;
        }
        prune(tree, room, n);
        if (!fold_widest(tree, room))
            tree->stuck_epoch = room->epoch;
        out->len = mark;
    }
}

static bool is_one_word(struct bytes name)
{
    struct bytes rest = name, first;
    return !word_next(&rest, 0, &first) || rest.len == 0;
}

/* What was appended after `mark` stays where it is another name. */
static bool is_template(struct bytes name, size_t mark, struct buffer *out)
{
    struct bytes found = bytes_slice(buffer_bytes(out), mark, SIZE_MAX);
    if (out->error == ERR_OK && found.len > 0 && !bytes_equal(found, name))
        return true;
    out->len = mark;
    return false;
}

bool name_tree_learn(struct name_tree *tree, struct name_tree_room *room, struct bytes name,
                     struct buffer *out, struct name_node **out_place)
{
    size_t mark = out->len;
    *out_place = NULL;
    if (is_one_word(name))
        return false;
    *out_place = learn(tree, room, name, out);
    return is_template(name, mark, out);
}

bool name_tree_find(struct name_tree *tree, struct name_tree_room *room, struct bytes name,
                    bool is_learning, struct buffer *out)
{
    struct name_node *unused;
    size_t mark = out->len;
    if (is_learning)
        return name_tree_learn(tree, room, name, out, &unused);
    if (is_one_word(name))
        return false;
    (void)descend(tree, room, name, false, out);
    return is_template(name, mark, out);
}

void name_tree_prefetch(const struct name_node *place)
{
    __builtin_prefetch(place->parent);
}

void name_tree_note(const struct name_tree_room *room, struct name_node *place)
{
    /* Who is noted has been reached from the root, and all on the way were noted too. */
    for (struct name_node *n = place; n->parent != NULL && n->seen_epoch != room->epoch;
         n = n->parent)
        node_note(n, room->epoch);
}

/* ---- Restoring ------------------------------------------------------------------------------- */

/* As word_next(), of a template: an open place is a word. */
static bool template_word_next(struct bytes *rest, unsigned number, struct bytes *out,
                               bool *out_is_open)
{
    const struct bytes mark = BYTES_LITERAL(MARK);
    size_t before = separators_len(*rest);
    *out_is_open =
        number + 1 < WORDS_MAX && bytes_equal(bytes_slice(*rest, before, mark.len), mark);
    if (!*out_is_open)
        return word_next(rest, number, out);
    size_t len = before + mark.len;
    if (separators_len(bytes_slice(*rest, len, SIZE_MAX)) == rest->len - len)
        len = rest->len;
    *out = bytes_slice(*rest, 0, len);
    *rest = bytes_slice(*rest, len, SIZE_MAX);
    return true;
}

bool name_is_template(struct bytes name)
{
    struct bytes rest = name, word;
    bool is_open = false;
    for (unsigned number = 0; !is_open && template_word_next(&rest, number, &word, &is_open);)
        number++;
    return is_open;
}

void name_tree_restore(struct name_tree *tree, struct name_tree_room *room, struct bytes name)
{
    struct bytes rest = name, word;
    bool is_open = false;
    if (!name_is_template(name) || tree->names >= NAME_TREE_NAMES_MAX)
        return;
    room->changes++;
    if (tree->root == NULL)
        tree->root = node_make(room, NULL, (struct bytes){ 0 });
    struct name_node *n = tree->root;
    for (unsigned number = 0; n != NULL && template_word_next(&rest, number, &word, &is_open);
         number++) {
        bool is_bare = n != tree->root && word.len == sizeof MARK - 1;
        if (is_open && n->openness != OPEN_BARE)
            n->openness = is_bare ? OPEN_BARE : OPEN;
        struct name_node *child = child_find(n, word);
        if (child == NULL)
            child = node_make(room, n, word);
        if (child == NULL) {
            prune(tree, room, n);
            return;
        }
        n = child;
    }
    if (n != NULL && !n->is_name) {
        n->is_name = true;
        tree->names++;
    }
}

/* Words that are kept in an open place. */
static uint32_t kept_count(const struct name_node *n)
{
    const struct bytes mark = BYTES_LITERAL(MARK);
    uint32_t kept = 0;
    for (const struct name_node *c = n->children; c != NULL; c = c->next) {
        struct bytes text = bytes_of(c->text, c->text_len);
        kept += bytes_equal(bytes_slice(text, separators_len(text), mark.len), mark) ? 0u : 1u;
    }
    return kept;
}

bool name_tree_restore_kept(struct name_tree *tree, struct name_tree_room *room, struct bytes name,
                            bool may_make)
{
    struct bytes rest = name, word;
    struct name_node *n = tree->root;
    bool is_new = false; /* a word that an open place lacks */
    if (n == NULL || tree->names >= NAME_TREE_NAMES_MAX || name_is_template(name) ||
        !word_next(&rest, 0, &word) || rest.len == 0)
        return false;
    rest = name;
    for (unsigned number = 0; word_next(&rest, number, &word); number++) {
        struct name_node *child = child_find(n, word);
        if (child == NULL && !is_new) {
            if (n->openness == CLOSED || kept_count(n) >= KEEP_MAX)
                return false;
            is_new = true;
        }
        if (is_new && !may_make)
            return true;
        if (child == NULL)
            child = node_make(room, n, word);
        if (child == NULL) {
            prune(tree, room, n);
            return false;
        }
        n = child;
    }
    if (is_new) {
        n->is_name = true;
        tree->names++;
    }
    return is_new;
}
