/* SPDX-License-Identifier: Apache-2.0 */
/* codec.c - libdeflate for gzip, zlib and zstd behind one pair of calls.
 *
 * gzip goes through libdeflate, which wants the whole output in one buffer: the buffer starts at a
 * guess made from the input's length (never from ISIZE alone) and doubles up to the cap, so a bomb
 * costs at most twice the cap in work and the cap in memory. */
#include "codec/codec.h"

#include "base/mem.h"
#include "base/text.h"

#include <libdeflate.h>
#include <pthread.h>
#include <zstd.h>

#include <assert.h>

enum { ZSTD_WINDOW_LOG_MAX = 23 /* 8 MiB: RFC 8878's recommendation, RELIABILITY 6.4 */ };

static const char *const codec_names[CODEC_COUNT] = {
    [CODEC_IDENTITY] = "identity",
    [CODEC_GZIP] = "gzip",
    [CODEC_ZSTD] = "zstd",
    [CODEC_DEFLATE] = "deflate",
};

const char *codec_name(enum codec codec)
{
    assert((unsigned)codec < CODEC_COUNT);
    return codec_names[codec];
}

static bool equal_folded(struct bytes a, const char *lower)
{
    if (a.len != strlen(lower))
        return false;
    for (size_t i = 0; i < a.len; i++) {
        uint8_t c = a.data[i];
        if (c >= 'A' && c <= 'Z')
            c = (uint8_t)(c | 0x20);
        if (c != (uint8_t)lower[i])
            return false;
    }
    return true;
}

bool codec_from_name(struct bytes name, enum codec *out)
{
    while (name.len > 0 && (name.data[0] == ' ' || name.data[0] == '\t'))
        name = bytes_slice(name, 1, SIZE_MAX);
    while (name.len > 0 && (name.data[name.len - 1] == ' ' || name.data[name.len - 1] == '\t'))
        name.len--;
    if (name.len == 0) {
        *out = CODEC_IDENTITY;
        return true;
    }
    for (int i = 0; i < CODEC_COUNT; i++) {
        if (equal_folded(name, codec_names[i])) {
            *out = (enum codec)i;
            return true;
        }
    }
    return false;
}

/* ---- Scratch: contexts that a thread keeps, freed when it ends ---- */

enum { DEFLATE_LEVEL_MAX = 12 };

struct scratch {
    struct libdeflate_decompressor *inflate;
    struct libdeflate_compressor *deflate[DEFLATE_LEVEL_MAX + 1];
    ZSTD_DCtx *zstd_in;
    ZSTD_CCtx *zstd_out;
};

static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;

static void scratch_free(void *context)
{
    struct scratch *s = context;
    libdeflate_free_decompressor(s->inflate);
    for (int i = 0; i <= DEFLATE_LEVEL_MAX; i++)
        libdeflate_free_compressor(s->deflate[i]);
    ZSTD_freeDCtx(s->zstd_in);
    ZSTD_freeCCtx(s->zstd_out);
    mem_free(s);
}

static void scratch_make_key(void)
{
    (void)pthread_key_create(&scratch_key, scratch_free);
}

/* NULL when out of memory. */
static struct scratch *scratch_get(void)
{
    (void)pthread_once(&scratch_once, scratch_make_key);
    struct scratch *s = pthread_getspecific(scratch_key);
    if (s == NULL) {
        s = mem_zalloc(sizeof *s);
        if (s != NULL && pthread_setspecific(scratch_key, s) != 0) {
            mem_free(s);
            s = NULL;
        }
    }
    return s;
}

static enum err fail(struct err_note *note, size_t offset, const char *what)
{
    if (note != NULL)
        *note = (struct err_note){ .offset = offset, .what = what };
    return ERR_INVALID;
}

/* ---- Growing output: a buffer in the arena that doubles ---- */

struct sink {
    struct arena *arena;
    uint8_t *data;
    size_t len, capacity, cap_bytes;
};

/* Twice the room (at least `wanted` in all), never above the cap. */
static enum err sink_grow(struct sink *s, size_t wanted)
{
    if (s->capacity >= s->cap_bytes)
        return ERR_TOO_LARGE;
    size_t capacity = s->capacity > s->cap_bytes / 2 ? s->cap_bytes : s->capacity * 2;
    if (capacity < wanted)
        capacity = wanted < s->cap_bytes ? wanted : s->cap_bytes;
    uint8_t *data = arena_grow(s->arena, s->data, s->capacity, capacity);
    if (data == NULL)
        return arena_failure(s->arena);
    s->data = data;
    s->capacity = capacity;
    return ERR_OK;
}

/* ---- gzip and zlib ---- */

/* Deflate expands so many times at most (RFC 1951: 258 bytes in two bits). */
#define DEFLATE_RATIO_MAX 1032

/* What to expect of `in`: ISIZE where it is usual, else 8 times. */
static size_t gzip_guess(enum codec codec, struct bytes in)
{
    size_t guess = in.len > SIZE_MAX / 8 ? in.len : in.len * 8;
    if (codec == CODEC_GZIP && in.len >= 18) {
        size_t isize = load_le32(in.data + in.len - 4);
        if (isize <= in.len * 64)
            guess = isize;
    }
    return guess + 64;
}

/* What the last member says of its length is more than the cap: either it is true, or the body is not valid.
 * Where it cannot be true, inflating finds out what is wrong. */
static bool gzip_declares_more(struct bytes in, size_t cap_bytes)
{
    size_t isize = in.len < 18 ? 0 : load_le32(in.data + in.len - 4);
    return isize > cap_bytes && isize / DEFLATE_RATIO_MAX <= in.len;
}

static enum libdeflate_result inflate_one(enum codec codec, struct libdeflate_decompressor *d,
                                          struct bytes in, struct sink *s, size_t *out_read,
                                          size_t *out_written)
{
    if (codec == CODEC_GZIP)
        return libdeflate_gzip_decompress_ex(d, in.data, in.len, s->data + s->len,
                                             s->capacity - s->len, out_read, out_written);
    return libdeflate_zlib_decompress_ex(d, in.data, in.len, s->data + s->len, s->capacity - s->len,
                                         out_read, out_written);
}

static enum err inflate_all(enum codec codec, struct bytes in, struct sink *s,
                            struct err_note *note)
{
    struct scratch *scratch = scratch_get();
    if (scratch == NULL)
        return ERR_NOMEM;
    if (scratch->inflate == NULL)
        scratch->inflate = libdeflate_alloc_decompressor();
    if (scratch->inflate == NULL)
        return ERR_NOMEM;

    if (codec == CODEC_GZIP && gzip_declares_more(in, s->cap_bytes))
        return ERR_TOO_LARGE;
    enum err e = sink_grow(s, gzip_guess(codec, in));
    if (e != ERR_OK)
        return e;
    size_t at = 0;
    while (at < in.len) {
        size_t read = 0, written = 0;
        struct bytes rest = bytes_slice(in, at, SIZE_MAX);
        switch (inflate_one(codec, scratch->inflate, rest, s, &read, &written)) {
        case LIBDEFLATE_SUCCESS:
            at += read;
            s->len += written;
            break;
        case LIBDEFLATE_INSUFFICIENT_SPACE:
            e = sink_grow(s, 0);
            if (e != ERR_OK)
                return e;
            break;
        case LIBDEFLATE_BAD_DATA:
        case LIBDEFLATE_SHORT_OUTPUT:
        default:
            return fail(note, at, "a complete gzip or zlib stream with the right checksum");
        }
        if (codec != CODEC_GZIP && at < in.len && read > 0)
            return fail(note, at, "nothing after the zlib stream");
    }
    return ERR_OK;
}

/* ---- zstd ---- */

static enum err zstd_all(struct bytes in, struct sink *s, struct err_note *note)
{
    struct scratch *scratch = scratch_get();
    if (scratch == NULL)
        return ERR_NOMEM;
    if (scratch->zstd_in == NULL) {
        scratch->zstd_in = ZSTD_createDCtx();
        if (scratch->zstd_in == NULL)
            return ERR_NOMEM;
        (void)ZSTD_DCtx_setParameter(scratch->zstd_in, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
    }
    (void)ZSTD_DCtx_reset(scratch->zstd_in, ZSTD_reset_session_only);

    /* A decoder holds a frame to what its head declares. */
    unsigned long long declared = ZSTD_getFrameContentSize(in.data, in.len);
    if (declared > s->cap_bytes && declared < ZSTD_CONTENTSIZE_ERROR)
        return ERR_TOO_LARGE;
    enum err e = sink_grow(s, in.len > SIZE_MAX / 8 ? in.len : in.len * 8 + 64);
    if (e != ERR_OK)
        return e;
    ZSTD_inBuffer from = { .src = in.data, .size = in.len };
    size_t left = 0;
    for (;;) {
        ZSTD_outBuffer to = { .dst = s->data, .size = s->capacity, .pos = s->len };
        size_t consumed = from.pos;
        left = ZSTD_decompressStream(scratch->zstd_in, &to, &from);
        if (ZSTD_isError(left))
            return fail(note, from.pos, "a zstd frame with a window of at most 8 MiB");
        bool has_progress = to.pos > s->len || from.pos > consumed;
        s->len = to.pos;
        if (from.pos == from.size && (left == 0 || to.pos < to.size))
            break;
        if (s->len == s->capacity) {
            e = sink_grow(s, 0);
            /* exactly at the cap: one more call with no room tells whether the frame ends here */
            if (e == ERR_TOO_LARGE && has_progress && from.pos < from.size)
                continue;
            if (e != ERR_OK)
                return e;
        }
    }
    return left == 0 ? ERR_OK : fail(note, in.len, "the rest of a zstd frame");
}

enum err codec_decompress(enum codec codec, struct bytes in, size_t cap_bytes, struct arena *arena,
                          struct bytes *out, struct err_note *note)
{
    if (codec == CODEC_IDENTITY) {
        if (in.len > cap_bytes)
            return ERR_TOO_LARGE;
        *out = in;
        return ERR_OK;
    }
    if (in.len == 0)
        return fail(note, 0, "a compressed body, not an empty one");
    struct sink s = { .arena = arena, .cap_bytes = cap_bytes };
    enum err e = ERR_TOO_LARGE;
    if (cap_bytes != 0)
        e = codec == CODEC_ZSTD ? zstd_all(in, &s, note) : inflate_all(codec, in, &s, note);
    if (e == ERR_OK)
        *out = (struct bytes){ .data = s.data, .len = s.len };
    return e;
}

/* ---- Compression ---- */

static enum err compress_deflate(enum codec codec, int level, struct bytes in, struct buffer *out)
{
    struct scratch *scratch = scratch_get();
    if (level <= 0)
        level = 1;
    if (level > DEFLATE_LEVEL_MAX)
        level = DEFLATE_LEVEL_MAX;
    if (scratch == NULL)
        return ERR_NOMEM;
    if (scratch->deflate[level] == NULL)
        scratch->deflate[level] = libdeflate_alloc_compressor(level);
    struct libdeflate_compressor *c = scratch->deflate[level];
    if (c == NULL)
        return ERR_NOMEM;
    size_t bound = codec == CODEC_GZIP ? libdeflate_gzip_compress_bound(c, in.len)
                                       : libdeflate_zlib_compress_bound(c, in.len);
    uint8_t *to = buffer_reserve(out, bound);
    if (to == NULL)
        return buffer_error(out);
    size_t len = codec == CODEC_GZIP ? libdeflate_gzip_compress(c, in.data, in.len, to, bound)
                                     : libdeflate_zlib_compress(c, in.data, in.len, to, bound);
    assert(len != 0); /* the bound is enough */
    buffer_grew(out, len);
    return ERR_OK;
}

static enum err compress_zstd(int level, struct bytes in, struct buffer *out)
{
    struct scratch *scratch = scratch_get();
    if (scratch == NULL)
        return ERR_NOMEM;
    if (scratch->zstd_out == NULL)
        scratch->zstd_out = ZSTD_createCCtx();
    if (scratch->zstd_out == NULL)
        return ERR_NOMEM;
    size_t bound = ZSTD_compressBound(in.len);
    uint8_t *to = buffer_reserve(out, bound);
    if (to == NULL)
        return buffer_error(out);
    size_t len =
        ZSTD_compressCCtx(scratch->zstd_out, to, bound, in.data, in.len, level == 0 ? 1 : level);
    if (ZSTD_isError(len))
        return ERR_NOMEM; /* the bound is enough, so only its tables can have failed */
    buffer_grew(out, len);
    return ERR_OK;
}

enum err codec_compress(enum codec codec, int level, struct bytes in, struct buffer *out)
{
    switch (codec) {
    case CODEC_IDENTITY:
        buffer_append_bytes(out, in);
        return buffer_error(out);
    case CODEC_GZIP:
    case CODEC_DEFLATE:
        return compress_deflate(codec, level, in, out);
    case CODEC_ZSTD:
        return compress_zstd(level, in, out);
    case CODEC_COUNT:
        break;
    }
    return ERR_UNSUPPORTED;
}
