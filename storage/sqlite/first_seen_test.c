/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/first_seen.h"

#include "storage/testing/scratch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>

static uint32_t number_of(struct first_seen *f, const char *name)
{
    uint32_t number = UINT32_MAX;
    assert_true(first_seen_number(f, bytes_of(name, strlen(name)), &number));
    return number;
}

struct fixture {
    char directory[128];
    struct catalog *catalog;
};

static struct fixture begin(void)
{
    struct fixture f = { .catalog = NULL };
    uint32_t version = 0;
    scratch_make(f.directory);
    assert_int_equal(catalog_open(f.directory, NULL, &f.catalog, &version), ERR_OK);
    return f;
}

static void end(struct fixture *f)
{
    catalog_close(f->catalog);
    scratch_remove(f->directory);
}

static void numbers_are_kept(void **state)
{
    (void)state;
    struct fixture f = begin();
    struct first_seen a, b;
    first_seen_init(&a);
    assert_int_equal(first_seen_load(&a, f.catalog), ERR_OK);
    assert_false(first_seen_is_changed(&a));
    assert_int_equal(number_of(&a, "web"), 0);
    assert_int_equal(number_of(&a, "auth"), 1);
    assert_int_equal(number_of(&a, ""), 2); /* a service may have no name */
    assert_int_equal(number_of(&a, "web"), 0);
    assert_true(first_seen_is_changed(&a));
    assert_int_equal(first_seen_store(&a, f.catalog), ERR_OK);
    assert_false(first_seen_is_changed(&a));
    assert_int_equal(number_of(&a, "cart"), 3);
    assert_true(first_seen_is_changed(&a));

    first_seen_init(&b);
    assert_int_equal(first_seen_load(&b, f.catalog), ERR_OK);
    assert_false(first_seen_is_changed(&b));
    assert_int_equal(number_of(&b, "new"), 3); /* cart was not stored */
    assert_int_equal(number_of(&b, "auth"), 1);
    assert_int_equal(number_of(&b, ""), 2);
    first_seen_deinit(&a);
    first_seen_deinit(&b);
    end(&f);
}

static void names_are_bounded(void **state)
{
    (void)state;
    struct fixture f = begin();
    struct first_seen a;
    uint8_t longest[FIRST_SEEN_NAME_BYTES + 1];
    uint32_t number;
    memset(longest, 'x', sizeof longest);
    first_seen_init(&a);
    assert_false(first_seen_number(&a, bytes_of(longest, sizeof longest), &number));
    for (unsigned i = 0; i < FIRST_SEEN_MAX; i++) { /* the longest names that there may be */
        char digits[16];
        int len = snprintf(digits, sizeof digits, "%08u", i);
        memcpy(longest, digits, (size_t)len);
        assert_true(first_seen_number(&a, bytes_of(longest, FIRST_SEEN_NAME_BYTES), &number));
        assert_int_equal(number, i);
    }
    assert_false(first_seen_number(&a, BYTES_LITERAL("one more"), &number));
    assert_true(first_seen_number(&a, bytes_of(longest, FIRST_SEEN_NAME_BYTES), &number));
    assert_int_equal(first_seen_store(&a, f.catalog), ERR_OK);
    first_seen_deinit(&a);
    first_seen_init(&a);
    assert_int_equal(first_seen_load(&a, f.catalog), ERR_OK);
    assert_true(first_seen_number(&a, bytes_of(longest, FIRST_SEEN_NAME_BYTES), &number));
    assert_int_equal(number, FIRST_SEEN_MAX - 1);
    first_seen_deinit(&a);
    end(&f);
}

static void nonsense_is_as_none(void **state)
{
    (void)state;
    const struct bytes nonsense[] = {
        BYTES_LITERAL("\003we"),
        BYTES_LITERAL("\003web\003web"),
        BYTES_LITERAL("\377"),
    };
    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        struct fixture f = begin();
        struct first_seen a;
        assert_int_equal(catalog_setting_put(f.catalog, "services_seen", nonsense[i]), ERR_OK);
        first_seen_init(&a);
        assert_int_equal(first_seen_load(&a, f.catalog), ERR_OK);
        assert_int_equal(number_of(&a, "web"), 0);
        assert_true(first_seen_is_changed(&a));
        first_seen_deinit(&a);
        end(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_kept),
        cmocka_unit_test(names_are_bounded),
        cmocka_unit_test(nonsense_is_as_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
