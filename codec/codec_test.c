/* SPDX-License-Identifier: Apache-2.0 */
/* Shows that every codec undoes itself, that the cap holds for each of them whatever the input says
 * about its own size, and that what is not a whole valid stream is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "codec/codec.h"

#include "base/random.h"

#include <stdio.h>
#include <zlib.h>
#include <zstd.h>

enum { CAP = 1 << 20 };

static const enum codec codecs[] = { CODEC_GZIP, CODEC_ZSTD, CODEC_DEFLATE };

static struct buffer compressed(enum codec codec, struct bytes in)
{
    struct buffer out;
    buffer_init(&out, SIZE_MAX);
    assert_int_equal(codec_compress(codec, 0, in, &out), ERR_OK);
    return out;
}

static enum err decompress(enum codec codec, struct bytes in, size_t cap, struct arena *arena,
                           struct bytes *out)
{
    struct err_note note;
    arena_init(arena, SIZE_MAX, NULL);
    return codec_decompress(codec, in, cap, arena, out, &note);
}

static void decompression_undoes_compression(void **state)
{
    (void)state;
    struct random r;
    random_init(&r, 7);
    for (size_t round = 0; round < 300; round++) {
        struct buffer plain;
        buffer_init(&plain, SIZE_MAX);
        size_t len = random_below(&r, round < 50 ? 4 : 100000);
        for (size_t i = 0; i < len; i++)
            buffer_append_byte(&plain, (uint8_t)random_below(&r, round % 3 == 0 ? 256 : 4));
        for (size_t c = 0; c < 3; c++) {
            struct buffer small = compressed(codecs[c], buffer_bytes(&plain));
            struct arena arena;
            struct bytes back;
            assert_int_equal(decompress(codecs[c], buffer_bytes(&small), len + 1, &arena, &back),
                             ERR_OK);
            assert_true(bytes_equal(back, buffer_bytes(&plain)));
            arena_deinit(&arena);
            buffer_deinit(&small);
        }
        buffer_deinit(&plain);
    }
}

static void the_cap_is_exact(void **state)
{
    (void)state;
    struct buffer zeros;
    buffer_init(&zeros, SIZE_MAX);
    uint8_t *to = buffer_reserve(&zeros, CAP + 1);
    memset(to, 0, CAP + 1);
    buffer_grew(&zeros, CAP + 1);
    for (size_t c = 0; c < 3; c++) {
        for (int over = 0; over <= 1; over++) {
            struct buffer small =
                compressed(codecs[c], bytes_slice(buffer_bytes(&zeros), 0, (size_t)(CAP + over)));
            struct arena arena;
            struct bytes back;
            enum err e = decompress(codecs[c], buffer_bytes(&small), CAP, &arena, &back);
            assert_int_equal(e, over ? ERR_TOO_LARGE : ERR_OK);
            assert_true(arena.held_bytes <= 2 * CAP);
            arena_deinit(&arena);
            buffer_deinit(&small);
        }
    }
    buffer_deinit(&zeros);
}

static void lies_about_size_do_not_matter(void **state)
{
    (void)state;
    struct buffer small = compressed(CODEC_GZIP, BYTES_LITERAL("hello"));
    store_le32(small.data + small.len - 4, 0xffffffff);
    struct arena arena;
    struct bytes back;
    assert_int_equal(decompress(CODEC_GZIP, buffer_bytes(&small), CAP, &arena, &back), ERR_INVALID);
    assert_true(arena.held_bytes < 16384);
    arena_deinit(&arena);
    buffer_deinit(&small);
}

static void members_and_frames_concatenate(void **state)
{
    (void)state;
    for (size_t c = 0; c < 2; c++) {
        struct buffer all;
        buffer_init(&all, SIZE_MAX);
        for (int i = 0; i < 1000; i++) {
            struct buffer one = compressed(codecs[c], BYTES_LITERAL("ab"));
            buffer_append_bytes(&all, buffer_bytes(&one));
            buffer_deinit(&one);
        }
        struct arena arena;
        struct bytes back;
        assert_int_equal(decompress(codecs[c], buffer_bytes(&all), CAP, &arena, &back), ERR_OK);
        assert_int_equal(back.len, 2000);
        arena_deinit(&arena);
        buffer_deinit(&all);
    }
}

static void cut_garbled_and_trailing_input_is_refused(void **state)
{
    (void)state;
    for (size_t c = 0; c < 3; c++) {
        struct buffer good =
            compressed(codecs[c], BYTES_LITERAL("some text, some text, some more text 12345"));
        for (size_t len = 0; len < good.len; len++) {
            struct arena arena;
            struct bytes back;
            assert_int_equal(
                decompress(codecs[c], bytes_slice(buffer_bytes(&good), 0, len), CAP, &arena, &back),
                ERR_INVALID);
            arena_deinit(&arena);
        }
        buffer_append_text(&good, "garbage");
        struct arena arena;
        struct bytes back;
        assert_int_equal(decompress(codecs[c], buffer_bytes(&good), CAP, &arena, &back),
                         ERR_INVALID);
        arena_deinit(&arena);
        buffer_deinit(&good);
    }
}

static void large_zstd_windows_are_refused(void **state)
{
    (void)state;
    ZSTD_CCtx *cctx = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(cctx, ZSTD_c_windowLog, 27);
    ZSTD_CCtx_setParameter(cctx, ZSTD_c_contentSizeFlag, 0);
    char out[4096];
    ZSTD_outBuffer to = { .dst = out, .size = sizeof out };
    ZSTD_inBuffer from = { .src = "abc", .size = 3 };
    assert_int_equal(ZSTD_compressStream2(cctx, &to, &from, ZSTD_e_flush), 0);
    assert_int_equal(ZSTD_compressStream2(cctx, &to, &from, ZSTD_e_end), 0);
    struct arena arena;
    struct bytes back;
    assert_int_equal(decompress(CODEC_ZSTD, bytes_of(out, to.pos), CAP, &arena, &back),
                     ERR_INVALID);
    arena_deinit(&arena);
    ZSTD_freeCCtx(cctx);
}

static void the_arena_has_the_last_word(void **state)
{
    (void)state;
    struct buffer zeros;
    buffer_init(&zeros, SIZE_MAX);
    memset(buffer_reserve(&zeros, CAP), 0, CAP);
    buffer_grew(&zeros, CAP);
    for (size_t c = 0; c < 3; c++) {
        struct buffer small = compressed(codecs[c], buffer_bytes(&zeros));
        struct arena arena;
        struct bytes back;
        arena_init(&arena, CAP / 2, NULL);
        assert_int_equal(
            codec_decompress(codecs[c], buffer_bytes(&small), CAP, &arena, &back, NULL),
            ERR_TOO_LARGE);
        arena_deinit(&arena);
        buffer_deinit(&small);
    }
    buffer_deinit(&zeros);
}

static void names_are_read_leniently(void **state)
{
    (void)state;
    enum codec codec;
    assert_true(codec_from_name(BYTES_LITERAL(" GZip\t"), &codec));
    assert_int_equal(codec, CODEC_GZIP);
    assert_true(codec_from_name(BYTES_LITERAL(""), &codec));
    assert_int_equal(codec, CODEC_IDENTITY);
    assert_true(codec_from_name(BYTES_LITERAL("zstd"), &codec));
    assert_int_equal(codec, CODEC_ZSTD);
    assert_false(codec_from_name(BYTES_LITERAL("gzip, gzip"), &codec));
    assert_false(codec_from_name(BYTES_LITERAL("br"), &codec));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decompression_undoes_compression),
        cmocka_unit_test(the_cap_is_exact),
        cmocka_unit_test(lies_about_size_do_not_matter),
        cmocka_unit_test(members_and_frames_concatenate),
        cmocka_unit_test(cut_garbled_and_trailing_input_is_refused),
        cmocka_unit_test(large_zstd_windows_are_refused),
        cmocka_unit_test(the_arena_has_the_last_word),
        cmocka_unit_test(names_are_read_leniently),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
