/* SPDX-License-Identifier: Apache-2.0 */
/* Shows nesting and commas, and that no byte of a string can end it or leave as invalid UTF-8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/json_writer.h"

static void check(void (*write)(struct json_writer *w), const char *expected)
{
    struct buffer out;
    buffer_init(&out, 10000);
    struct json_writer w;
    json_init(&w, &out);
    write(&w);
    assert_int_equal(buffer_error(&out), ERR_OK);
    buffer_append_byte(&out, 0);
    assert_string_equal((const char *)out.data, expected);
    buffer_deinit(&out);
}

static void write_nested(struct json_writer *w)
{
    json_object_begin(w);
    json_key(w, "a");
    json_array_begin(w);
    json_u64(w, 1);
    json_i64_string(w, -2);
    json_double(w, 0.1);
    json_double(w, -1.0 / 0.0);
    json_null(w);
    json_array_end(w);
    json_key_bytes(w, BYTES_LITERAL("\"k"));
    json_bool(w, true);
    json_key(w, "h");
    json_hex(w, BYTES_LITERAL("\x01\xff"));
    json_key(w, "b");
    json_base64(w, BYTES_LITERAL("\x01\xff"));
    json_object_end(w);
}

static void write_strings(struct json_writer *w)
{
    json_array_begin(w);
    json_string(w, bytes_of("\0\n\x7f<\\", 5));
    json_string(w, BYTES_LITERAL("\xc3\xa9 \xf0\x9f\x98\x80"));
    json_string(w, BYTES_LITERAL("\xed\xa0\x80|\xe2\x82|\xff|\xf0\x9f\x98"));
    json_string(w, BYTES_LITERAL("\xe2\x80\xa8"));
    json_array_end(w);
}

static void nesting_and_values(void **state)
{
    (void)state;
    check(write_nested,
          "{\"a\":[1,\"-2\",0.1,\"-Infinity\",null],\"\\\"k\":true,\"h\":\"01ff\",\"b\":\"Af8=\"}");
}

static void strings_are_escaped_and_repaired(void **state)
{
    (void)state;
    check(write_strings,
          "[\"\\u0000\\n\\u007f\\u003c\\\\\",\"\xc3\xa9 \xf0\x9f\x98\x80\","
          "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd|\xef\xbf\xbd|\xef\xbf\xbd|\xef\xbf\xbd\","
          "\"\\u2028\"]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nesting_and_values),
        cmocka_unit_test(strings_are_escaped_and_repaired),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
