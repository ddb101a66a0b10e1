/* SPDX-License-Identifier: Apache-2.0 */
/* Any rules and any names: up to the first NUL the text of rules, behind it names, one a line. They are cleaned,
 * renamed and learned from within the bounds, and a reader finds what the builder counted under. */
#include "storage/derive/clean_name.h"
#include "storage/derive/name_rules.h"
#include "storage/derive/name_tree.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct names {
    struct name_rules *rules;
    struct name_tree tree;
    struct name_tree_room room;
    struct buffer cleaned, learned, again;
};

static void name_feed(struct names *n, struct bytes name)
{
    struct bytes renamed;
    if (name_rules_find(n->rules, name, &renamed) != 0) {
        assert(renamed.len > 0 && renamed.len <= CLEAN_NAME_MAX);
        return;
    }
    buffer_reset(&n->cleaned);
    buffer_reset(&n->learned);
    buffer_reset(&n->again);
    unsigned reasons = clean_name(name, &n->cleaned);
    struct bytes clean = reasons == 0 ? name : buffer_bytes(&n->cleaned);
    assert(clean.len <= CLEAN_NAME_MAX);
    bool is_found = name_tree_find(&n->tree, &n->room, clean, true, &n->learned);
    bool is_again = name_tree_find(&n->tree, &n->room, clean, false, &n->again);
    assert(is_found == is_again && bytes_equal(buffer_bytes(&n->learned), buffer_bytes(&n->again)));
    /* A template is no longer than its name, but for the three bytes of an open place in each word. */
    assert(n->learned.len <= clean.len + 3 * 12);
    assert(n->room.bytes <= n->room.bytes_max && n->tree.names <= NAME_TREE_NAMES_MAX);
    (void)name_template_says_something(clean);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 1 || len > 65536)
        return 0;
    struct bytes text = bytes_of(data + 1, len - 1);
    size_t end = bytes_find(text, 0);
    struct names n = { .room = { .bytes_max = data[0] % 4 == 0 ? 4000 : (size_t)4 << 20 } };
    struct err_note note;
    size_t line;
    buffer_init(&n.cleaned, 1 << 16);
    buffer_init(&n.learned, 1 << 16);
    buffer_init(&n.again, 1 << 16);
    if (end != SIZE_MAX) {
        (void)!name_rules_make(bytes_slice(text, 0, end), &n.rules, &line, &note);
        text = bytes_slice(text, end + 1, SIZE_MAX);
    }
    while (text.len > 0) {
        size_t newline = bytes_find(text, '\n');
        name_feed(&n, bytes_slice(text, 0, newline));
        text = newline == SIZE_MAX ? (struct bytes){ 0 } : bytes_slice(text, newline + 1, SIZE_MAX);
        n.room.epoch += text.len % 7 == 0 ? 1u : 0u;
    }
    name_tree_deinit(&n.tree, &n.room);
    assert(n.room.bytes == 0);
    name_rules_free(n.rules);
    buffer_deinit(&n.cleaned);
    buffer_deinit(&n.learned);
    buffer_deinit(&n.again);
    return 0;
}
