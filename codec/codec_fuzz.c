/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a compressed body, under a cap: an error or a body within the cap, and memory within what the
 * header promises. And any bytes compressed come back. The first byte of the input chooses the coding. */
#include "codec/codec.h"

#include <stdlib.h>

enum { CAP = 1 << 18 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decompress_strange(enum codec codec, struct bytes in)
{
    struct arena arena;
    struct bytes out;
    struct err_note note = { .what = "" };
    arena_init(&arena, SIZE_MAX, NULL);
    enum err e = codec_decompress(codec, in, CAP, &arena, &out, &note);
    if ((e == ERR_OK && codec != CODEC_IDENTITY && out.len > CAP) || arena.held_bytes > 2 * CAP)
        abort();
    if (e == ERR_INVALID && note.offset > in.len)
        abort();
    arena_deinit(&arena);
}

static void round_trip(enum codec codec, struct bytes in)
{
    struct buffer small;
    struct arena arena;
    struct bytes back;
    buffer_init(&small, SIZE_MAX);
    arena_init(&arena, SIZE_MAX, NULL);
    if (codec_compress(codec, 0, in, &small) != ERR_OK ||
        codec_decompress(codec, buffer_bytes(&small), in.len + 1, &arena, &back, NULL) != ERR_OK ||
        !bytes_equal(in, back))
        abort();
    arena_deinit(&arena);
    buffer_deinit(&small);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    enum codec codec = (enum codec)(data[0] % CODEC_COUNT);
    struct bytes rest = bytes_of(data + 1, size - 1);
    decompress_strange(codec, rest);
    round_trip(codec, rest);
    return 0;
}
