/* SPDX-License-Identifier: Apache-2.0 */
/* name_tree_test.c - names that the configuration renames, and templates that are learned: the same for the same
 * names in the same order, within their bounds whatever is sent, and nothing is learned where names are few. */
#include "storage/derive/name_rules.h"
#include "storage/derive/name_tree.h"

#include "base/mem.h"
#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>

/* ---- Rules ----------------------------------------------------------------------------------- */

static void rules_rename(void **state)
{
    (void)state;
    static const char text[] = "GET /users/{id}/photos/{photo}\n"
                               "  GET /static/** => GET /static  \n"
                               "\n"
                               "DELETE /a.b/*/c => gone\n"
                               "~(?i)poll (=>|slow)[0-9]* => poll\n"
                               "x{}*y\n"
                               "** => the rest";
    static const struct {
        const char *name;
        unsigned rule;
        const char *under;
    } cases[] = {
        { "GET /users/ann/photos/7", 1, "GET /users/{id}/photos/{photo}" },
        { "GET /users/ann/photos/", 6, "the rest" },
        { "GET /users/a b/photos/7", 6, "the rest" },
        { "GET /static/", 2, "GET /static" },
        { "GET /static/a/b\nc", 2, "GET /static" },
        { "DELETE /a.b//c", 3, "gone" },
        { "DELETE /a.b/x/y/c", 6, "the rest" },
        { "DELETE /aXb/x/c", 6, "the rest" },
        { "Poll SLOW12", 4, "poll" },
        { "poll =>", 4, "poll" },
        { "x{}zy", 5, "x{}*y" },
        { "", 6, "the rest" },
        { "\xFF\xFE", 6, "the rest" },
    };
    struct name_rules *rules = NULL;
    size_t line = 0;
    struct err_note note = { 0 };
    assert_int_equal(name_rules_make(bytes_text(text), &rules, &line, &note), ERR_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bytes under = { 0 };
        unsigned rule = name_rules_find(rules, bytes_text(cases[i].name), &under);
        if (rule != cases[i].rule || !bytes_equal_text(under, cases[i].under))
            fail_msg("'%s': rule %u, %.*s", cases[i].name, rule, (int)under.len,
                     (const char *)under.data);
    }
    name_rules_free(rules);
    struct bytes under;
    assert_int_equal(name_rules_find(NULL, bytes_text("x"), &under), 0);
    assert_int_equal(name_rules_make((struct bytes){ 0 }, &rules, &line, &note), ERR_OK);
    assert_null(rules);
}

static void wrong_rules_are_explained(void **state)
{
    (void)state;
    static const struct {
        const char *text, *what;
        size_t line;
    } cases[] = {
        { "a\nb =>", "there is no name behind '=>'", 2 },
        { "=> b", "a rule begins with a pattern", 1 },
        { "~a+", "a regular expression needs '=> NAME' behind it", 1 },
        { "~a( => b", "parentheses do not match", 1 },
        { "~(?=a) => b", "lookahead is not supported", 1 },
        { "\n\na\xFF", "a rule is UTF-8", 3 },
    };
    struct name_rules *rules = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err_note note = { 0 };
        size_t line = 0;
        assert_int_equal(name_rules_make(bytes_text(cases[i].text), &rules, &line, &note),
                         ERR_INVALID);
        assert_string_equal(note.what, cases[i].what);
        assert_int_equal(line, cases[i].line);
        assert_null(rules);
    }
    char many[2 * (NAME_RULES_MAX + 1) + 1];
    for (size_t i = 0; i <= NAME_RULES_MAX; i++)
        memcpy(many + 2 * i, "a\n", 3);
    struct err_note note;
    size_t line;
    assert_int_equal(name_rules_make(bytes_text(many), &rules, &line, &note), ERR_TOO_MANY);
}

/* A pattern that makes backtracking matchers run for ages. */
static void matching_is_bounded(void **state)
{
    (void)state;
    struct name_rules *rules = NULL;
    struct err_note note;
    size_t line;
    assert_int_equal(name_rules_make(bytes_text("~(a|aa|aaa)*b(.*a){5}c => x\n**a**a**a**a**b"),
                                     &rules, &line, &note),
                     ERR_OK);
    char name[4096];
    memset(name, 'a', sizeof name);
    struct bytes under;
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(name_rules_find(rules, bytes_of(name, sizeof name), &under), 0);
    name_rules_free(rules);
}

/* ---- Templates ------------------------------------------------------------------------------- */

struct grove {
    struct name_tree tree;
    struct name_tree_room room;
    struct buffer out;
};

static void grove_init(struct grove *g, size_t bytes_max)
{
    *g = (struct grove){ .room = { .bytes_max = bytes_max, .epoch = 1 } };
    buffer_init(&g->out, 4096);
}

static void grove_deinit(struct grove *g)
{
    name_tree_deinit(&g->tree, &g->room);
    assert_int_equal(g->room.bytes, 0);
    name_tree_deinit(&g->tree, &g->room);
    buffer_deinit(&g->out);
}

/* What a name is counted under. */
static struct bytes name_of(struct grove *g, const char *name, bool is_learning)
{
    buffer_reset(&g->out);
    bool found = name_tree_find(&g->tree, &g->room, bytes_text(name), is_learning, &g->out);
    assert_true(g->room.bytes <= g->room.bytes_max);
    assert_true(g->tree.names <= NAME_TREE_NAMES_MAX);
    return found ? buffer_bytes(&g->out) : bytes_text(name);
}

static void assert_under(struct grove *g, const char *name, const char *under)
{
    struct bytes have = name_of(g, name, false);
    if (!bytes_equal_text(have, under))
        fail_msg("'%s' is counted under '%.*s'", name, (int)have.len, (const char *)have.data);
}

/* Letters only, so that cleaning would find nothing in it. */
static const char *letters(unsigned n)
{
    static char text[8];
    for (size_t i = 0; i < 5; i++, n /= 26)
        text[i] = (char)('a' + n % 26);
    text[5] = '\0';
    return text;
}

static const char *with(const char *before, unsigned n, const char *after)
{
    static char name[256];
    (void)snprintf(name, sizeof name, "%s%s%s", before, letters(n), after);
    return name;
}

static void places_with_many_words_open(void **state)
{
    (void)state;
    struct grove g;
    grove_init(&g, (size_t)4 << 20);
    for (unsigned i = 0; i < 30; i++)
        (void)name_of(&g, with("GET /shelves/", i, "/list"), true);
    for (unsigned i = 0; i < 2000; i++) {
        g.room.epoch += i % 100 == 0;
        (void)name_of(&g, with("GET /users/", i, "/profile"), true);
        (void)name_of(&g, with("user(", i, ")"), true);
    }
    assert_under(&g, "GET /users/zoe/profile", "GET /users/{*}/profile");
    assert_under(&g, "GET /users/zoe/unheard-of", "GET /users/{*}/unheard-of");
    assert_under(&g, "user(zoe)", "user({*})");
    assert_under(&g, with("GET /shelves/", 3, "/list"), with("GET /shelves/", 3, "/list"));
    assert_under(&g, "POST /users/zoe", "POST /users/zoe");
    assert_under(&g, "zoe", "zoe");
    assert_true(g.tree.names < 100);
    grove_deinit(&g);
}

static void few_names_stay_as_they_are(void **state)
{
    (void)state;
    struct grove g;
    grove_init(&g, (size_t)4 << 20);
    for (unsigned i = 0; i < NAME_TREE_NAMES_MAX; i++) {
        const char *name = with("GET /pages/", i, "");
        assert_true(bytes_equal_text(name_of(&g, name, true), name));
    }
    assert_under(&g, "GET /pages/new", "GET /pages/new");
    /* Of one word: as many as there are. */
    for (unsigned i = 0; i < 5000; i++) {
        const char *name = letters(i);
        assert_true(bytes_equal_text(name_of(&g, name, true), name));
    }
    assert_true(bytes_equal_text(name_of(&g, "GET /pages/new", true), "GET /pages/{*}"));
    grove_deinit(&g);
}

/* Routes that are used all the time outlive a stranger who tries doors. */
static void words_that_come_again_stay(void **state)
{
    (void)state;
    struct grove g;
    grove_init(&g, (size_t)4 << 20);
    static const char *const routes[] = { "GET /cart", "GET /orders", "GET /search", "GET /login" };
    for (unsigned i = 0; i < 1000; i++) {
        g.room.epoch += i % 10 == 0;
        (void)name_of(&g, routes[i % 4], true);
        (void)name_of(&g, with("GET /", i, ""), true);
    }
    for (size_t i = 0; i < 4; i++)
        assert_under(&g, routes[i], routes[i]);
    assert_under(&g, "GET /wp-login", "GET /{*}-login");
    assert_under(&g, "GET /admin", "GET /{*}");
    grove_deinit(&g);
}

static void first_words_open_where_others_follow(void **state)
{
    (void)state;
    struct grove g;
    grove_init(&g, (size_t)4 << 20);
    for (unsigned i = 0; i < 1000; i++)
        (void)name_of(&g, with("", i, " checkout"), true);
    assert_under(&g, "acme checkout", "{*} checkout");
    assert_true(name_template_says_something(BYTES_LITERAL("{*} checkout")));
    assert_false(name_template_says_something(BYTES_LITERAL("/{*}/{id}: {*}")));
    grove_deinit(&g);
}

/* Whatever comes: the bounds hold, readers agree with the builder afterwards, and it is the same again. */
static void names_of_any_kind_are_bounded(void **state)
{
    (void)state;
    static const char alphabet[] = "abcd/ .-(){}*\xC3\xA9";
    for (unsigned round = 0; round < 12; round++) {
        struct grove g, again;
        struct random r;
        grove_init(&g, round % 3 == 0 ? 20000 : (size_t)4 << 20);
        grove_init(&again, g.room.bytes_max);
        random_init(&r, round);
        for (unsigned n = 0; n < 8000; n++) {
            char name[80];
            size_t len = random_below(&r, round < 6 ? 12 : sizeof name - 1);
            for (size_t i = 0; i < len; i++)
                name[i] = alphabet[random_below(&r, sizeof alphabet - 1)];
            name[len] = '\0';
            g.room.epoch = again.room.epoch = 1 + n / 500;
            char text[400];
            struct bytes have = name_of(&g, name, true);
            (void)snprintf(text, sizeof text, "%.*s", (int)have.len, (const char *)have.data);
            assert_true(bytes_equal_text(name_of(&g, name, false), text));
            assert_true(bytes_equal_text(name_of(&again, name, true), text));
        }
        grove_deinit(&g);
        grove_deinit(&again);
    }
}

/* What was counted before a start is counted under the same name after it, of whatever form templates are. */
static void templates_are_known_again(void **state)
{
    (void)state;
    static const struct {
        const char *before, *after;
    } forms[] = {
        { "GET /u/", "/photos" },
        { "GET /u/", "" },
        { "", " checkout" },
        { "poll:", "/" },
        { "a/b/c/d/e/f/g/h/i/j/", "/k/l" },
    };
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
        struct grove g, again;
        char name[96], text[128];
        grove_init(&g, (size_t)4 << 20);
        grove_init(&again, (size_t)4 << 20);
        for (unsigned i = 0; i < 1000; i++) {
            (void)snprintf(name, sizeof name, "%s%s%s", forms[f].before, with("", i, ""),
                           forms[f].after);
            struct bytes under = name_of(&g, name, true);
            (void)snprintf(text, sizeof text, "%.*s", (int)under.len, (const char *)under.data);
            if (name_is_template(bytes_text(text)))
                name_tree_restore(&again.tree, &again.room, bytes_text(text));
        }
        assert_true(name_is_template(bytes_text(text)));
        for (unsigned i = 2000; i < 2010; i++) {
            (void)snprintf(name, sizeof name, "%s%s%s", forms[f].before, with("", i, ""),
                           forms[f].after);
            assert_true(bytes_equal_text(name_of(&again, name, false), text));
            assert_true(bytes_equal_text(name_of(&again, name, true), text));
        }
        grove_deinit(&g);
        grove_deinit(&again);
    }
    assert_false(name_is_template(BYTES_LITERAL("GET /item/{id}")));
}

/* Routes that are kept beside a template are kept after a start too, as many as an open place keeps. */
static void kept_words_are_known_again(void **state)
{
    (void)state;
    struct grove g, again;
    grove_init(&g, (size_t)4 << 20);
    grove_init(&again, (size_t)4 << 20);
    static const char *const routes[] = { "GET /cart", "GET /orders", "GET /search",
                                          "GET /login/form" };
    for (unsigned i = 0; i < 1000; i++) {
        g.room.epoch += i % 10 == 0;
        (void)name_of(&g, routes[i % 4], true);
        struct bytes under = name_of(&g, with("GET /", i, ""), true);
        assert_false(name_tree_restore_kept(&again.tree, &again.room, under, true));
        if (name_is_template(under))
            name_tree_restore(&again.tree, &again.room, under);
    }
    for (size_t i = 0; i < 4; i++) {
        struct bytes route = bytes_text(routes[i]);
        assert_under(&g, routes[i], routes[i]);
        assert_true(name_tree_restore_kept(&again.tree, &again.room, route, false));
        assert_true(name_tree_restore_kept(&again.tree, &again.room, route, true));
        assert_false(name_tree_restore_kept(&again.tree, &again.room, route, true));
    }
    assert_false(name_tree_restore_kept(&again.tree, &again.room, bytes_text("GET"), true));
    assert_false(name_tree_restore_kept(&again.tree, &again.room, bytes_text("POST /cart"), true));
    unsigned kept = 4;
    for (unsigned i = 0; i < 100; i++)
        kept += name_tree_restore_kept(&again.tree, &again.room,
                                       bytes_text(with("GET /", 5000 + i, "")), true);
    assert_int_equal(kept, NAME_TREE_FOLD_MIN - 1);
    for (unsigned i = 0; i < 3000; i++) {
        again.room.epoch += i % 10 == 0;
        (void)name_of(&again, routes[i % 4], true);
        (void)name_of(&again, with("GET /", i, ""), true);
    }
    for (size_t i = 0; i < 4; i++)
        assert_under(&again, routes[i], routes[i]);
    assert_under(&again, "GET /admin", "GET /{*}");
    grove_deinit(&g);
    grove_deinit(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_rename),
        cmocka_unit_test(wrong_rules_are_explained),
        cmocka_unit_test(matching_is_bounded),
        cmocka_unit_test(places_with_many_words_open),
        cmocka_unit_test(few_names_stay_as_they_are),
        cmocka_unit_test(words_that_come_again_stay),
        cmocka_unit_test(first_words_open_where_others_follow),
        cmocka_unit_test(templates_are_known_again),
        cmocka_unit_test(kept_words_are_known_again),
        cmocka_unit_test(names_of_any_kind_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
