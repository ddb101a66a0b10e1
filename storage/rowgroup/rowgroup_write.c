/* SPDX-License-Identifier: Apache-2.0 */
#define ZSTD_STATIC_LINKING_ONLY /* for ZSTD_customMem */
#include "storage/rowgroup/rowgroup_write.h"

#include "base/hash.h"
#include "base/mem.h"
#include "proto/pb_writer.h"

#include <assert.h>
#include <zstd.h>

/* Invariants
 *   W1  a stream's parts decode to exactly `count` values
 *   W2  blocks lie in the order of their numbers; a section's pool is its last block
 *   W3  after an error nothing more is written, and group_writer_end() returns it */

#define MATCH_MIN       6
#define GROUP_BYTES_MAX (UINT32_MAX / 2) /* lengths and offsets in the directory are u32 */

static void *zstd_alloc(void *context, size_t size)
{
    (void)context;
    return mem_alloc(size);
}

static void zstd_free(void *context, void *block)
{
    (void)context;
    mem_free(block);
}

enum err group_writer_init(struct group_writer *w, int level)
{
    *w = (struct group_writer){ .level = level };
    struct buffer *all[] = { &w->blocks, &w->table,      &w->hashes,     &w->sections,  &w->streams,
                             &w->pool,   &w->scratch[0], &w->scratch[1], &w->scratch[2] };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        buffer_init(all[i], GROUP_BYTES_MAX);
    w->compressor = ZSTD_createCCtx_advanced((ZSTD_customMem){ zstd_alloc, zstd_free, NULL });
    if (w->compressor == NULL)
        return ERR_NOMEM;
    (void)ZSTD_CCtx_setParameter(w->compressor, ZSTD_c_compressionLevel, level < 0 ? 1 : level);
    (void)ZSTD_CCtx_setParameter(w->compressor, ZSTD_c_contentSizeFlag, 0);
    /* In columns shorter matches cost more than they save: with 5, as the level has it, all four workloads are
     * larger, W1 by 0.1 %, and compressing takes 8 % more instructions. 7: fewer still, and W2 is larger by 3 %. */
    (void)ZSTD_CCtx_setParameter(w->compressor, ZSTD_c_minMatch, MATCH_MIN);
    return ERR_OK;
}

void group_writer_deinit(struct group_writer *w)
{
    struct buffer *all[] = { &w->blocks, &w->table,      &w->hashes,     &w->sections,  &w->streams,
                             &w->pool,   &w->scratch[0], &w->scratch[1], &w->scratch[2] };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        buffer_deinit(all[i]);
    ZSTD_freeCCtx(w->compressor);
    mem_free(w->values);
    *w = (struct group_writer){ 0 };
}

void group_writer_reset(struct group_writer *w)
{
    struct buffer *all[] = {
        &w->blocks, &w->table, &w->hashes, &w->sections, &w->streams, &w->pool
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        buffer_reset(all[i]);
    w->blocks_count = w->sections_count = w->streams_count = 0;
    w->error = ERR_OK;
}

static void fail(struct group_writer *w, enum err e)
{
    if (w->error == ERR_OK)
        w->error = e;
}

static uint64_t *values_reserve(struct group_writer *w, size_t count)
{
    if (count > w->values_capacity || w->values == NULL) {
        mem_free(w->values);
        w->values_capacity = 0;
        w->values = mem_alloc_array(count + 1, sizeof *w->values);
        if (w->values == NULL) {
            fail(w, ERR_NOMEM);
            return NULL;
        }
        w->values_capacity = count;
    }
    return w->values;
}

/* ---- Blocks */

/* The compressed form at the end of `out`; its length, or 0 when it would not be smaller. */
static size_t compress(struct group_writer *w, struct bytes raw, struct buffer *out)
{
    if (w->level < 0)
        return 0;
    size_t bound = ZSTD_compressBound(raw.len);
    uint8_t *to = buffer_reserve(out, bound);
    if (to == NULL) {
        fail(w, buffer_error(out));
        return 0;
    }
    size_t len = ZSTD_compress2(w->compressor, to, bound, raw.data, raw.len);
    if (ZSTD_isError(len)) {
        fail(w, ERR_NOMEM); /* the room is enough by compressBound, so only memory can be missing */
        return 0;
    }
    return len < raw.len ? len : 0;
}

static uint32_t block_add(struct group_writer *w, struct bytes raw, bool is_random)
{
    size_t start = w->blocks.len;
    size_t stored = is_random || raw.len < 24 ? 0 : compress(w, raw, &w->blocks);
    if (stored != 0) {
        buffer_grew(&w->blocks, stored);
    } else {
        buffer_append_bytes(&w->blocks, raw);
        stored = raw.len;
    }
    if (buffer_error(&w->blocks) != ERR_OK) {
        fail(w, buffer_error(&w->blocks));
        return 0;
    }
    pb_varint(&w->table, stored);
    pb_varint(&w->table, raw.len);
    uint8_t hash[8];
    store_le64(hash, hash_bytes(bytes_of(w->blocks.data + start, stored)));
    buffer_append(&w->hashes, hash, sizeof hash);
    return w->blocks_count++;
}

/* ---- Streams */

static void part_add(struct group_writer *w, struct bytes part, bool is_random)
{
    uint64_t block, offset = 0;
    if (part.len < ROWGROUP_POOL_PART_MAX) {
        block = 0;
        offset = w->pool.len;
        buffer_append_bytes(&w->pool, part);
    } else {
        block = (uint64_t)block_add(w, part, is_random) + 1;
    }
    pb_varint(&w->streams, block);
    pb_varint(&w->streams, offset);
    pb_varint(&w->streams, part.len);
}

void group_writer_section_begin(struct group_writer *w)
{
    buffer_reset(&w->streams);
    buffer_reset(&w->pool);
    w->streams_count = 0;
}

void group_writer_section_end(struct group_writer *w)
{
    uint64_t pool = 0;
    if (w->pool.len > 0)
        pool = (uint64_t)block_add(w, buffer_bytes(&w->pool), false) + 1;
    pb_varint(&w->sections, pool);
    pb_varint(&w->sections, w->streams_count);
    pb_varint(&w->sections, w->streams.len);
    buffer_append_bytes(&w->sections, buffer_bytes(&w->streams));
    w->sections_count++;
    const struct buffer *all[] = { &w->table, &w->hashes, &w->sections, &w->streams, &w->pool };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (buffer_error(all[i]) != ERR_OK)
            fail(w, buffer_error(all[i]));
}

static void stream_begin(struct group_writer *w, uint32_t column, unsigned form, size_t count,
                         uint64_t base, uint64_t range)
{
    w->streams_count++;
    pb_varint(&w->streams, column);
    buffer_append_byte(&w->streams, (uint8_t)form);
    pb_varint(&w->streams, count);
    pb_varint(&w->streams, base);
    pb_varint(&w->streams, range);
}

static unsigned width_of(uint64_t range)
{
    return (bit_length(range) + 7) / 8;
}

static void encode_fixed(struct buffer *out, const uint64_t *values, size_t count, uint64_t base,
                         unsigned width)
{
    uint8_t *to = buffer_reserve(out, count * width + 8);
    if (to == NULL)
        return;
    for (size_t i = 0; i < count; i++, to += width)
        store_le64(to,
                   values[i] - base); /* the bytes above `width` are 0 or overwritten by the next */
    buffer_grew(out, count * width);
}

static void encode_planes(struct buffer *out, const uint64_t *values, size_t count, uint64_t base,
                          unsigned plane)
{
    uint8_t *to = buffer_reserve(out, count);
    if (to == NULL)
        return;
    for (size_t i = 0; i < count; i++)
        to[i] = (uint8_t)((values[i] - base) >> (8 * plane));
    buffer_grew(out, count);
}

static void encode_classes(struct buffer *classes, struct buffer *bits, const uint64_t *values,
                           size_t count, uint64_t base)
{
    uint8_t *class = buffer_reserve(classes, count);
    uint8_t *to = buffer_reserve(bits, count * 8 + INTS_CLASSES_PADDING + 8);
    if (class == NULL || to == NULL)
        return;
    uint8_t *const first = to;
    uint64_t word = 0; /* the bits not yet written, `filled` < 64 of them */
    unsigned filled = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t v = values[i] - base;
        unsigned length = bit_length(v);
        class[i] = (uint8_t)length;
        if (length < 2)
            continue;
        unsigned n = length - 1; /* 1..63 */
        v &= (UINT64_C(1) << n) - 1;
        word |= v << filled;
        if (filled + n >= 64) {
            store_le64(to, word);
            to += 8;
            word = filled == 0 ? 0 : v >> (64 - filled);
            filled = filled + n - 64;
        } else {
            filled += n;
        }
    }
    store_le64(to, word);
    to += (filled + 7) / 8;
    memset(to, 0, INTS_CLASSES_PADDING);
    to += INTS_CLASSES_PADDING;
    buffer_grew(classes, count);
    buffer_grew(bits, (size_t)(to - first));
}

/* The form's parts into scratch[0] and scratch[1]. */
static void encode_form(struct group_writer *w, unsigned form, const uint64_t *values, size_t count,
                        uint64_t base, uint64_t range)
{
    struct buffer *a = &w->scratch[0], *b = &w->scratch[1];
    buffer_reset(a);
    buffer_reset(b);
    switch (form) {
    case INTS_U8:
        encode_planes(a, values, count, base, 0);
        break;
    case INTS_PLANES:
        encode_planes(a, values, count, base, 0);
        encode_planes(b, values, count, base, 1);
        break;
    case INTS_CLASSES:
        encode_classes(a, b, values, count, base);
        break;
    default:
        encode_fixed(a, values, count, base, width_of(range));
    }
    if (buffer_error(a) != ERR_OK || buffer_error(b) != ERR_OK)
        fail(w, buffer_error(a) != ERR_OK ? buffer_error(a) : buffer_error(b));
}

static size_t stored_size(struct group_writer *w, const struct buffer *part)
{
    buffer_reset(&w->scratch[2]);
    size_t compressed = part->len == 0 ? 0 : compress(w, buffer_bytes(part), &w->scratch[2]);
    return compressed != 0 ? compressed : part->len;
}

/* The smallest of the forms that suit the range: one is tried for the first sizeable stream of a
 * column and kept for the rest, since a column's values look alike from chunk to chunk. */
static unsigned choose_form(struct group_writer *w, const uint64_t *values, size_t count,
                            uint64_t base, uint64_t range, struct ints_choice *choice)
{
    if (range < 256)
        return INTS_U8;
    bool is_wide = range >= 65536;
    unsigned usual = is_wide ? INTS_CLASSES : INTS_PLANES;
    if (choice == NULL || count < 256)
        return usual;
    uint8_t *kept = is_wide ? &choice->wide : &choice->narrow;
    if (*kept != 0)
        return *kept;
    static const unsigned forms[] = { INTS_CLASSES, INTS_FIXED, INTS_PLANES };
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < (is_wide ? 2 : 3); i++) {
        encode_form(w, forms[i], values, count, base, range);
        size_t size = stored_size(w, &w->scratch[0]);
        size += forms[i] == INTS_CLASSES ? w->scratch[1].len : stored_size(w, &w->scratch[1]);
        if (size < best) {
            best = size;
            *kept = (uint8_t)forms[i];
        }
    }
    return *kept;
}

/* The entry of a stream of integers, and its parts; `more` are the form's bits beside INTS_MASK. The smallest is
 * `base`, the largest `max`. */
static void ints_add(struct group_writer *w, uint32_t column, unsigned more, const uint64_t *values,
                     size_t count, uint64_t base, uint64_t max, struct ints_choice *choice)
{
    if (base >= max) { /* all are alike, or there is none */
        stream_begin(w, column, INTS_CONSTANT | more, count, count == 0 ? 0 : base, 0);
        return;
    }
    uint64_t range = max - base;
    unsigned form = choose_form(w, values, count, base, range, choice);
    encode_form(w, form, values, count, base, range);
    stream_begin(w, column, form | more, count, base, range);
    part_add(w, buffer_bytes(&w->scratch[0]), false);
    if (form == INTS_PLANES || form == INTS_CLASSES)
        part_add(w, buffer_bytes(&w->scratch[1]), form == INTS_CLASSES);
}

void group_writer_ints(struct group_writer *w, uint32_t column, const uint64_t *values,
                       size_t count, struct ints_choice *choice)
{
    if (w->error != ERR_OK)
        return;
    uint64_t base = UINT64_MAX, max = 0;
    for (size_t i = 0; i < count; i++) {
        base = values[i] < base ? values[i] : base;
        max = values[i] > max ? values[i] : max;
    }
    ints_add(w, column, 0, values, count, base, max, choice);
}

void group_writer_constant(struct group_writer *w, uint32_t column, uint64_t value, size_t count)
{
    if (w->error == ERR_OK)
        stream_begin(w, column, INTS_CONSTANT, count, value, 0);
}

void group_writer_codes(struct group_writer *w, uint32_t column, const uint32_t *codes,
                        size_t count, struct ints_choice *choice)
{
    if (w->error != ERR_OK)
        return;
    if (codes == NULL) {
        stream_begin(w, column, INTS_CONSTANT | STREAM_DICTIONARY, count, 0, 0);
        return;
    }
    uint64_t *values = values_reserve(w, count);
    if (values == NULL)
        return;
    uint32_t base = UINT32_MAX, max = 0;
    for (size_t i = 0; i < count; i++) {
        base = codes[i] < base ? codes[i] : base;
        max = codes[i] > max ? codes[i] : max;
        values[i] = codes[i];
    }
    ints_add(w, column, STREAM_DICTIONARY, values, count, base, max, choice);
}

/* The short ones of texts[first, first + count), or the big ones, one after the other. */
static void part_of_texts(struct group_writer *w, const struct texts *texts, uint32_t first,
                          uint32_t count, bool is_big, bool is_random)
{
    struct buffer *part = &w->scratch[0];
    buffer_reset(part);
    for (uint32_t i = first; i < first + count; i++) {
        struct bytes v = texts_get(texts, i);
        if ((v.len > ROWGROUP_VALUE_INLINE_MAX) == is_big)
            buffer_append_bytes(part, v);
    }
    if (buffer_error(part) != ERR_OK)
        fail(w, buffer_error(part));
    else
        part_add(w, buffer_bytes(part), is_random);
}

void group_writer_texts(struct group_writer *w, uint32_t column, const struct texts *texts,
                        uint32_t first, uint32_t count, bool is_random, struct ints_choice *choice)
{
    uint64_t *lengths = values_reserve(w, count);
    if (lengths == NULL || w->error != ERR_OK)
        return;
    uint32_t base = UINT32_MAX, max = 0, begin = texts_end(texts, first), at = begin;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t end = texts_end(texts, first + i + 1), len = end - at;
        base = len < base ? len : base;
        max = len > max ? len : max;
        lengths[i] = len;
        at = end;
    }
    ints_add(w, column, STREAM_PLAIN, lengths, count, base, max, choice);
    if (max > ROWGROUP_VALUE_INLINE_MAX) {
        part_of_texts(w, texts, first, count, false, is_random);
        part_of_texts(w, texts, first, count, true, is_random);
    } else { /* they lie together as they are */
        part_add(
            w, texts->data == NULL ? bytes_of(NULL, 0) : bytes_of(texts->data + begin, at - begin),
            is_random);
        part_add(w, bytes_of(NULL, 0), is_random);
    }
}

enum err group_writer_end(struct group_writer *w, struct buffer *out_raw, struct buffer *out_stored)
{
    pb_varint(out_raw, w->blocks_count);
    buffer_append_bytes(out_raw, buffer_bytes(&w->table));
    buffer_append_bytes(out_raw, buffer_bytes(&w->hashes));
    pb_varint(out_raw, w->sections_count);
    buffer_append_bytes(out_raw, buffer_bytes(&w->sections));
    if (w->error == ERR_OK && buffer_error(out_raw) != ERR_OK)
        fail(w, buffer_error(out_raw));
    if (w->error != ERR_OK)
        return w->error;
    size_t stored = compress(w, buffer_bytes(out_raw), out_stored);
    if (stored != 0)
        buffer_grew(out_stored, stored);
    else
        buffer_append_bytes(out_stored, buffer_bytes(out_raw));
    if (w->error == ERR_OK && buffer_error(out_stored) != ERR_OK)
        fail(w, buffer_error(out_stored));
    return w->error;
}
