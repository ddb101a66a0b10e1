/* SPDX-License-Identifier: Apache-2.0 */
/* What is put into a row group comes out of it as it was: random requests with every field and
 * value type are built, read back and compared item by item, byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "proto/otlp_random.h"
#include "proto/pb_writer.h"
#include "storage/rowgroup/rowgroup_testing.h"

#include <stdio.h>

static void assert_lossless(enum signal signal, struct bytes body, uint32_t duplicates)
{
    struct arena arena;
    arena_init(&arena, SIZE_MAX, NULL);
    struct buffer group, read;
    buffer_init(&group, SIZE_MAX);
    buffer_init(&read, SIZE_MAX);
    struct rowgroup_summary summary;
    assert_int_equal(testing_build(signal, body, &group, &summary), ERR_OK);

    struct bytes bytes = buffer_bytes(&group);
    struct rowgroup_source source = testing_source(&bytes);
    struct segment *s;
    assert_int_equal(rowgroup_segment_open(&source, &arena, &s), ERR_OK);
    assert_int_equal(testing_read_all(s, &arena, &read), ERR_OK);
    struct hash128 *sent, *got;
    size_t sent_count, got_count;
    assert_int_equal(testing_items(signal, body, &arena, &sent, &sent_count), ERR_OK);
    assert_int_equal(testing_items(signal, buffer_bytes(&read), &arena, &got, &got_count), ERR_OK);
    assert_int_equal(summary.duplicates, duplicates);
    assert_int_equal(summary.rows, got_count);
    assert_int_equal(s->bounds.rows, got_count);
    assert_int_equal(sent_count, got_count + duplicates);
    if (duplicates == 0)
        assert_memory_equal(sent, got, got_count * sizeof *got);
    struct err_note note;
    assert_int_equal(rowgroup_verify(bytes, &note), ERR_OK);
    s->ops->close(s);
    buffer_deinit(&group);
    buffer_deinit(&read);
    arena_deinit(&arena);
}

static void random_requests_come_back(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 150; seed++) {
        for (unsigned signal = 0; signal < SIGNAL_COUNT; signal++) {
            struct random r;
            random_init(&r, seed);
            struct otlp_random_options options = { .items_max = seed % 10 == 0 ? 600 : 40,
                                                   .depth_max = 6,
                                                   .has_bad_utf8 = seed % 3 == 0 };
            struct buffer body;
            buffer_init(&body, SIZE_MAX);
            otlp_random(&r, (enum signal)signal, &options, &body);
            assert_int_equal(buffer_error(&body), ERR_OK);
            assert_lossless((enum signal)signal, buffer_bytes(&body), 0);
            buffer_deinit(&body);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_requests_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
