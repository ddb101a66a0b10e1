/* SPDX-License-Identifier: Apache-2.0 */
/* Shows which tokens of a file are understood and how a bad line is explained without its secret,
 * and who may do what: every credential against every scope. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/mem.h"
#include "collector/auth.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define WRITER "write-token-0123456789"
#define READER "read-token-0123456789"
#define BOTH   "both-token+/=-._~0123456789"

static char path[] = "/tmp/auth_test.XXXXXX";

static void file_write(const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static struct auth *auth_of(const char *text)
{
    struct auth *a = NULL;
    char *message = NULL;
    file_write(text);
    assert_int_equal(auth_open(path, NULL, &a, &message), ERR_OK);
    assert_null(message);
    return a;
}

static void files_are_read(void **state)
{
    (void)state;
    static struct auth_token tokens[AUTH_TOKENS_MAX];
    static const char text[] = "# writers\n\nwrite:" WRITER "\n  read , write : " BOTH "  \r\n"
                               "\t# the end\nread:" READER;
    size_t count = 99, line = 0;
    const char *what = NULL;
    assert_int_equal(auth_file_parse(bytes_text(text), tokens, &count, &line, &what), ERR_OK);
    assert_int_equal(count, 3);
    assert_int_equal(tokens[0].scopes, SCOPE_WRITE);
    assert_int_equal(tokens[1].scopes, SCOPE_WRITE | SCOPE_READ);
    assert_int_equal(tokens[2].scopes, SCOPE_READ);
}

static void bad_files_stop_the_start(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message; /* after the file's name */
    } cases[] = {
        { "", ": no token in the file" },
        { "# nothing\n", ": no token in the file" },
        { "write:" WRITER "\nsecret-without-scope-0123\n",
          ":2: expected 'write:TOKEN', 'read:TOKEN' or 'read,write:TOKEN'" },
        { "admin:" WRITER "\n",
          ":1: expected the scopes 'read', 'write' or 'read,write' before the colon" },
        { ":" WRITER "\n",
          ":1: expected the scopes 'read', 'write' or 'read,write' before the colon" },
        { "write:short-015-chars\n", ":1: the token is shorter than 16 characters" },
        { "write:\n", ":1: the token is shorter than 16 characters" },
        { "write:0123456789 0123456789\n", ":1: a token is made of letters, digits and -._~+/=" },
        { "write:0123456789\xc3\xa4"
          "0123456789\n",
          ":1: a token is made of letters, digits and -._~+/=" },
        { "write:" WRITER "\n\nread:" WRITER "\n", ":3: this token stands in an earlier line too" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct auth *a = NULL;
        char *message = NULL;
        file_write(cases[i].text);
        assert_int_equal(auth_open(path, NULL, &a, &message), ERR_INVALID);
        assert_null(a);
        assert_string_equal(message + strlen(path), cases[i].message);
        assert_null(strstr(message, WRITER));
        mem_free(message);
    }
    struct auth *a = NULL;
    char *message = NULL;
    assert_int_equal(auth_open("/nonexistent/tokens", NULL, &a, &message), ERR_IO);
    assert_string_equal(message, "/nonexistent/tokens: No such file or directory");
    mem_free(message);
}

static void limits_of_a_file_hold(void **state)
{
    (void)state;
    static struct auth_token tokens[AUTH_TOKENS_MAX];
    struct buffer text;
    size_t count = 0, line = 0;
    const char *what = NULL;
    buffer_init(&text, 1 << 20);
    for (int i = 0; i < AUTH_TOKENS_MAX; i++)
        buffer_printf(&text, "write:token-number-%06d\n", i);
    assert_int_equal(auth_file_parse(buffer_bytes(&text), tokens, &count, &line, &what), ERR_OK);
    assert_int_equal(count, AUTH_TOKENS_MAX);
    buffer_append_text(&text, "write:one-more-token-000000\n");
    assert_int_equal(auth_file_parse(buffer_bytes(&text), tokens, &count, &line, &what),
                     ERR_TOO_MANY);
    assert_int_equal(line, AUTH_TOKENS_MAX + 1);
    buffer_deinit(&text);

    char longest[AUTH_TOKEN_BYTES_MAX + 16] = "write:";
    memset(longest + 6, 'x', AUTH_TOKEN_BYTES_MAX);
    assert_int_equal(
        auth_file_parse(bytes_of(longest, 6 + AUTH_TOKEN_BYTES_MAX), tokens, &count, &line, &what),
        ERR_OK);
    longest[6 + AUTH_TOKEN_BYTES_MAX] = 'x';
    assert_int_equal(
        auth_file_parse(bytes_of(longest, 7 + AUTH_TOKEN_BYTES_MAX), tokens, &count, &line, &what),
        ERR_INVALID);
}

static void every_credential_meets_every_scope(void **state)
{
    (void)state;
    enum { OK = ERR_OK, NO = ERR_UNAUTHENTICATED, DENY = ERR_DENIED };
    static const struct {
        const char *authorization;
        int open, write, read, both;
    } cases[] = {
        { "", OK, NO, NO, NO },
        { "Bearer " WRITER, OK, OK, DENY, DENY },
        { "Bearer " READER, OK, DENY, OK, DENY },
        { "Bearer " BOTH, OK, OK, OK, OK },
        { "bearer " BOTH, OK, OK, OK, OK },
        { "BEARER   " BOTH, OK, OK, OK, OK },
        { "Bearer", OK, NO, NO, NO },
        { "Bearer ", OK, NO, NO, NO },
        { "Bearer\t" BOTH, OK, NO, NO, NO },
        { " Bearer " BOTH, OK, NO, NO, NO },
        { BOTH, OK, NO, NO, NO },
        { "Basic " BOTH, OK, NO, NO, NO },
        { "Bearer both-token+/=-._~012345678", OK, NO, NO, NO },   /* one short */
        { "Bearer both-token+/=-._~01234567890", OK, NO, NO, NO }, /* one more */
        { "Bearer " BOTH " ", OK, NO, NO, NO },
        { "Bearer " BOTH "," BOTH, OK, NO, NO, NO },
        { "Bearer BOTH-TOKEN+/=-._~0123456789", OK, NO, NO, NO },
        { "Bearer another-token-0123456789", OK, NO, NO, NO },
    };
    struct auth *a = auth_of("write:" WRITER "\nread:" READER "\nread,write:" BOTH "\n");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes header = bytes_text(cases[i].authorization);
        uint64_t principal = 0;
        assert_int_equal(auth_authorize(a, header, SCOPE_OPEN, &principal), cases[i].open);
        assert_int_equal(auth_authorize(a, header, SCOPE_WRITE, &principal), cases[i].write);
        assert_int_equal(auth_authorize(a, header, SCOPE_READ, &principal), cases[i].read);
        assert_int_equal(auth_authorize(a, header, SCOPE_READ | SCOPE_WRITE, &principal),
                         cases[i].both);
    }
    /* A NUL does not end a token early. */
    static const char with_nul[] = "Bearer " BOTH "\0x";
    uint64_t principal = 0;
    assert_int_equal(
        auth_authorize(a, bytes_of(with_nul, sizeof with_nul - 1), SCOPE_WRITE, &principal),
        ERR_UNAUTHENTICATED);
    auth_close(a);
}

static void principals_last_and_differ(void **state)
{
    (void)state;
    uint64_t writer = 0, both = 0, again = 0;
    struct auth *a = auth_of("write:" WRITER "\nwrite:" BOTH "\n");
    assert_int_equal(auth_authorize(a, BYTES_LITERAL("Bearer " WRITER), SCOPE_WRITE, &writer), 0);
    assert_int_equal(auth_authorize(a, BYTES_LITERAL("Bearer " BOTH), SCOPE_WRITE, &both), 0);
    auth_close(a);
    a = auth_of("write:" BOTH "\nwrite:" WRITER "\n");
    assert_int_equal(auth_authorize(a, BYTES_LITERAL("Bearer " WRITER), SCOPE_WRITE, &again), 0);
    auth_close(a);
    assert_true(writer != 0 && both != 0 && writer != both);
    assert_true(writer == again);
}

static void reloading_replaces_all_or_nothing(void **state)
{
    (void)state;
    uint64_t principal;
    char *message = NULL;
    struct auth *a = auth_of("write:" WRITER "\n");

    file_write("write:" READER "\noops\n");
    assert_int_equal(auth_reload(a, &message), ERR_INVALID);
    assert_non_null(message);
    mem_free(message);
    assert_int_equal(auth_authorize(a, BYTES_LITERAL("Bearer " WRITER), SCOPE_WRITE, &principal),
                     ERR_OK);
    assert_int_equal(auth_authorize(a, BYTES_LITERAL("Bearer " READER), SCOPE_WRITE, &principal),
                     ERR_UNAUTHENTICATED);

    file_write("write:" READER "\n");
    assert_int_equal(auth_reload(a, &message), ERR_OK);
    assert_int_equal(auth_authorize(a, BYTES_LITERAL("Bearer " WRITER), SCOPE_WRITE, &principal),
                     ERR_UNAUTHENTICATED);
    assert_int_equal(auth_authorize(a, BYTES_LITERAL("Bearer " READER), SCOPE_WRITE, &principal),
                     ERR_OK);
    auth_close(a);
}

static void opening_survives_any_failed_allocation(void **state)
{
    (void)state;
    file_write("write:" WRITER "\n");
    long before = fault_live_blocks();
    for (unsigned n = 0;; n++) {
        struct auth *a = NULL;
        char *message = NULL;
        fault_alloc_fail_at(n, false);
        enum err e = auth_open(path, NULL, &a, &message);
        bool fired = fault_fired();
        fault_alloc_off();
        if (e == ERR_OK)
            auth_close(a);
        mem_free(message);
        assert_int_equal(fault_live_blocks(), before);
        if (!fired) {
            assert_int_equal(e, ERR_OK);
            assert_true(n > 0);
            return;
        }
        assert_true(e == ERR_OK || e == ERR_NOMEM); /* OK: only a counter was missed */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_read),
        cmocka_unit_test(bad_files_stop_the_start),
        cmocka_unit_test(limits_of_a_file_hold),
        cmocka_unit_test(every_credential_meets_every_scope),
        cmocka_unit_test(principals_last_and_differ),
        cmocka_unit_test(reloading_replaces_all_or_nothing),
        cmocka_unit_test(opening_survives_any_failed_allocation),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
