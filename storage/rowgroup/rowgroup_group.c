/* SPDX-License-Identifier: Apache-2.0 */
#define ZSTD_STATIC_LINKING_ONLY /* for ZSTD_customMem */
#include "storage/rowgroup/rowgroup_group.h"

#include "base/mem.h"
#include "storage/rowgroup/rowgroup_wire.h"

#include <assert.h>
#include <zstd.h>

/* Invariants
 *   G1  nothing that the bytes say is used before it was compared with what is there
 *   G2  a block is used only after its hash held */

static const uint8_t empty[1] = { 0 };

/* A fuzzer cannot make hashes; without this it would see nothing but hashes that differ. */
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
static bool hash_holds(struct bytes bytes, uint64_t hash)
{
    (void)bytes;
    (void)hash;
    return true;
}
#else
static bool hash_holds(struct bytes bytes, uint64_t hash)
{
    return hash_bytes(bytes) == hash;
}
#endif

void group_fail(struct group *g, enum err e)
{
    if (g->error == ERR_OK)
        g->error = e;
}

static void arena_fail(struct group *g, const struct arena *a)
{
    group_fail(g, arena_failure(a) == ERR_OK ? ERR_NOMEM : arena_failure(a));
}

void *group_alloc(struct group *g, struct arena *from, size_t count, size_t size)
{
    void *p = arena_alloc_array(from, count == 0 ? 1 : count, size);
    if (p == NULL)
        arena_fail(g, from);
    return p;
}

/* As group_alloc(), for what is filled at once: not zeroed. */
static uint8_t *bytes_alloc(struct group *g, struct arena *from, size_t len)
{
    uint8_t *p = arena_alloc_bytes(from, len);
    if (p == NULL)
        arena_fail(g, from);
    return p;
}

/* ---- Blocks */

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

/* Stored blocks up to this size are read into the scratch, and larger ones into the arena, where they stay
 * beside what they hold: few are, and the scratch is charged to nobody. */
#define SCRATCH_STORED_MAX ((size_t)128 << 10)

void rowgroup_scratch_deinit(struct rowgroup_scratch *s)
{
    ZSTD_freeDCtx(s->decompressor);
    mem_free(s->stored);
    *s = (struct rowgroup_scratch){ 0 };
}

static bool scratch_ready(struct group *g)
{
    struct rowgroup_scratch *s = g->scratch;
    if (s->decompressor == NULL)
        s->decompressor = ZSTD_createDCtx_advanced((ZSTD_customMem){ zstd_alloc, zstd_free, NULL });
    if (s->stored == NULL)
        s->stored = mem_alloc(SCRATCH_STORED_MAX);
    if (s->decompressor == NULL || s->stored == NULL)
        group_fail(g, ERR_NOMEM);
    return g->error == ERR_OK;
}

static bool decompress(struct group *g, struct bytes stored, uint8_t *raw, size_t raw_len)
{
    size_t n = ZSTD_decompressDCtx(g->scratch->decompressor, raw, raw_len, stored.data, stored.len);
    if (ZSTD_isError(n) || n != raw_len) {
        group_fail(g, ERR_CORRUPT);
        return false;
    }
    return true;
}

/* `len` stored bytes at `offset`, checked, and decompressed when raw_len differs. */
static const uint8_t *stored_read(struct group *g, struct arena *to, uint64_t offset, uint32_t len,
                                  uint64_t hash, uint32_t raw_len)
{
    bool is_packed = raw_len != len;
    if (g->error != ERR_OK || (is_packed && !scratch_ready(g)))
        return NULL;
    uint8_t *stored =
        is_packed && len <= SCRATCH_STORED_MAX ? g->scratch->stored : bytes_alloc(g, to, len);
    if (stored == NULL)
        return NULL;
    enum err e = g->source.read(g->source.context, offset, len, stored);
    if (e != ERR_OK || !hash_holds(bytes_of(stored, len), hash)) {
        group_fail(g, e != ERR_OK ? e : ERR_CORRUPT);
        return NULL;
    }
    if (!is_packed)
        return stored;
    uint8_t *raw = bytes_alloc(g, to, raw_len);
    return raw != NULL && decompress(g, bytes_of(stored, len), raw, raw_len) ? raw : NULL;
}

/* What all rows share may not lie where rows' blocks do: those go first. */
static const uint8_t *block_data(struct group *g, uint32_t number, bool is_of_rows)
{
    assert(number < g->blocks_count);
    struct block *b = &g->blocks[number];
    if (b->data == NULL || (b->is_of_rows && !is_of_rows)) {
        const uint8_t *data =
            stored_read(g, is_of_rows ? &g->rows : g->arena, b->offset, b->stored, b->hash, b->raw);
        if (data == NULL)
            return NULL;
        b->data = data;
        b->is_of_rows = is_of_rows;
    }
    return b->data;
}

/* ---- Directory */

/* A number from the directory, at most `max`. */
static uint32_t number_read(struct group *g, const uint8_t **at, const uint8_t *end, uint64_t max)
{
    uint64_t v = 0;
    if (!wire_varint(at, end, &v) || v > max) {
        group_fail(g, ERR_CORRUPT);
        return 0;
    }
    return (uint32_t)v;
}

#define LENGTH_MAX (UINT32_MAX / 2)

static void blocks_parse(struct group *g, const uint8_t **at, const uint8_t *end, uint64_t offset)
{
    /* Ten bytes at least describe a block: two lengths and a hash. */
    g->blocks_count = number_read(g, at, end, (uint64_t)(end - *at) / 10);
    g->blocks = group_alloc(g, g->arena, g->blocks_count, sizeof *g->blocks);
    if (g->error != ERR_OK)
        return;
    for (uint32_t i = 0; i < g->blocks_count; i++) {
        struct block *b = &g->blocks[i];
        b->stored = number_read(g, at, end, LENGTH_MAX);
        b->raw = number_read(g, at, end, LENGTH_MAX);
        b->offset = offset;
        offset += b->stored;
        if (b->stored > b->raw)
            group_fail(g, ERR_CORRUPT);
    }
    if (g->error != ERR_OK || offset != g->source.size ||
        (uint64_t)(end - *at) < (uint64_t)g->blocks_count * 8) {
        group_fail(g, ERR_CORRUPT);
        return;
    }
    for (uint32_t i = 0; i < g->blocks_count; i++, *at += 8)
        g->blocks[i].hash = load_le64(*at);
}

static void sections_parse(struct group *g, const uint8_t **at, const uint8_t *end)
{
    uint32_t count = number_read(g, at, end, (uint64_t)g->chunks_count + 1);
    if (g->error == ERR_OK && count != g->chunks_count + 1)
        group_fail(g, ERR_CORRUPT);
    g->sections = group_alloc(g, g->arena, count, sizeof *g->sections);
    g->chunks = group_alloc(g, g->arena, g->chunks_count, sizeof *g->chunks);
    for (uint32_t i = 0; i < count && g->error == ERR_OK; i++) {
        struct section *s = &g->sections[i];
        s->pool = number_read(g, at, end, g->blocks_count);
        /* Five bytes at least describe a stream. */
        s->streams_count = number_read(g, at, end, (uint64_t)(end - *at) / 5);
        uint32_t len = number_read(g, at, end, (uint64_t)(end - *at));
        if (g->error != ERR_OK || len > (size_t)(end - *at)) {
            group_fail(g, ERR_CORRUPT);
            return;
        }
        s->at = *at;
        s->end = *at += len;
    }
    if (*at != end)
        group_fail(g, ERR_CORRUPT);
}

static void directory_parse(struct group *g, const uint8_t *header)
{
    uint32_t stored = load_le32(header + HEADER_DIRECTORY_STORED);
    uint32_t raw = load_le32(header + HEADER_DIRECTORY_RAW);
    if (stored > g->source.size - ROWGROUP_HEADER_BYTES || stored > raw || raw > LENGTH_MAX) {
        group_fail(g, ERR_CORRUPT);
        return;
    }
    const uint8_t *at = stored_read(g, g->arena, ROWGROUP_HEADER_BYTES, stored,
                                    load_le64(header + HEADER_DIRECTORY_HASH), raw);
    if (at == NULL)
        return;
    const uint8_t *end = at + raw;
    blocks_parse(g, &at, end, (uint64_t)ROWGROUP_HEADER_BYTES + stored);
    if (g->error == ERR_OK)
        sections_parse(g, &at, end);
}

static enum err header_parse(struct group *g, const uint8_t *h)
{
    if (load_le32(h + HEADER_MAGIC) != ROWGROUP_MAGIC ||
        !hash_holds(bytes_of(h, HEADER_HASH), load_le64(h + HEADER_HASH)))
        return ERR_CORRUPT;
    if (load_le16(h + HEADER_VERSION) > ROWGROUP_FORMAT_VERSION)
        return ERR_NEWER;
    struct segment_bounds *b = &g->segment.bounds;
    b->rows = load_le32(h + HEADER_ROWS);
    b->start_min_unix_ns = load_le64(h + HEADER_START_MIN);
    b->start_max_unix_ns = load_le64(h + HEADER_START_MAX);
    b->bytes = load_le64(h + HEADER_SIZE);
    g->chunk_rows = load_le32(h + HEADER_CHUNK_ROWS);
    g->traces = load_le32(h + HEADER_TRACES);
    g->status_seen = load_le32(h + HEADER_STATUS_SEEN);
    g->end_max = load_le64(h + HEADER_END_MAX);
    g->duration_max = load_le64(h + HEADER_DURATION_MAX);
    if (load_le16(h + HEADER_VERSION) == 0 || h[HEADER_SIGNAL] >= SIGNAL_COUNT ||
        b->rows > ROWGROUP_ROWS_MAX || g->chunk_rows == 0 || b->bytes != g->source.size)
        return ERR_CORRUPT;
    b->signal = (enum signal)h[HEADER_SIGNAL];
    g->chunks_count = b->rows == 0 ? 0 : (b->rows - 1) / g->chunk_rows + 1;
    return ERR_OK;
}

enum err group_open(const struct rowgroup_source *take_source, struct arena *arena,
                    struct group **out)
{
    struct rowgroup_source source = *take_source;
    struct group *g = arena_alloc_array(arena, 1, sizeof *g);
    enum err e = g == NULL ? arena_failure(arena) : ERR_OK;
    if (e == ERR_OK) {
        g->source = source;
        g->arena = arena;
        g->scratch = source.scratch != NULL ? source.scratch : &g->own_scratch;
        arena_init(&g->rows, arena->limit_bytes, arena->budget);
        uint8_t header[ROWGROUP_HEADER_BYTES];
        e = source.size < sizeof header ? ERR_CORRUPT
                                        : source.read(source.context, 0, sizeof header, header);
        if (e == ERR_OK)
            e = header_parse(g, header);
        if (e == ERR_OK) {
            directory_parse(g, header);
            e = g->error;
        }
    }
    if (e == ERR_OK)
        *out = g;
    else if (g != NULL)
        group_close(g);
    else if (source.close != NULL)
        source.close(source.context);
    return e;
}

void group_rest(struct group *g)
{
    arena_deinit(&g->rows);
    arena_init(&g->rows, g->arena->limit_bytes, g->arena->budget);
    for (uint32_t i = 0; i < g->chunks_count; i++) {
        g->chunks[i] = NULL;
        g->sections[1 + i].streams = NULL;
    }
    for (uint32_t i = 0; i < g->blocks_count; i++) {
        if (g->blocks[i].is_of_rows)
            g->blocks[i].data = NULL;
        g->blocks[i].is_of_rows = false;
    }
    rowgroup_scratch_deinit(&g->own_scratch);
    g->scratch = &g->own_scratch;
}

void group_close(struct group *g)
{
    rowgroup_scratch_deinit(&g->own_scratch);
    arena_deinit(&g->rows);
    if (g->source.close != NULL)
        g->source.close(g->source.context);
    g->source.close = NULL;
}

/* ---- Streams */

static unsigned ints_parts(unsigned form)
{
    static const uint8_t parts[] = {
        [INTS_CONSTANT] = 0, [INTS_U8] = 1, [INTS_PLANES] = 2, [INTS_CLASSES] = 2, [INTS_FIXED] = 1
    };
    return (form & INTS_MASK) <= INTS_FIXED ? parts[form & INTS_MASK] : 0;
}

/* What a stream may be: bytes are plain, or outside of section 0 by dictionary; integers are
 * neither. */
static bool form_suits(const struct group *g, uint32_t section, uint32_t column, uint8_t form)
{
    if ((form & ~STREAM_MASK) != 0 || (form & INTS_MASK) > INTS_FIXED)
        return false;
    unsigned more = form & (STREAM_DICTIONARY | STREAM_PLAIN);
    bool is_bytes = more != 0;
    if (column < COLUMN_FIXED_COUNT)
        is_bytes = rowgroup_column_kind(column) == COLUMN_KIND_BYTES;
    else if (g->is_loaded && column - COLUMN_FIXED_COUNT < g->keys_count)
        is_bytes =
            rowgroup_type_kind(g->keys[column - COLUMN_FIXED_COUNT].type) == COLUMN_KIND_BYTES;
    if (!is_bytes)
        return more == 0;
    return more == STREAM_PLAIN || (more == STREAM_DICTIONARY && section > 0);
}

static void part_parse(struct group *g, struct section *section, const uint8_t **at,
                       struct part *part)
{
    part->block = number_read(g, at, section->end, g->blocks_count);
    part->offset = number_read(g, at, section->end, LENGTH_MAX);
    part->len = number_read(g, at, section->end, LENGTH_MAX);
    if (part->block == 0)
        part->block = section->pool;
    if (g->error != ERR_OK || part->len == 0)
        return;
    if (part->block == 0 || part->offset > g->blocks[part->block - 1].raw ||
        part->len > g->blocks[part->block - 1].raw - part->offset)
        group_fail(g, ERR_CORRUPT);
}

static void section_parse(struct group *g, uint32_t number)
{
    struct section *section = &g->sections[number];
    bool is_of_rows = number > 0;
    struct stream *streams =
        group_alloc(g, is_of_rows ? &g->rows : g->arena, section->streams_count, sizeof *streams);
    const uint8_t *at = section->at;
    for (uint32_t i = 0; i < section->streams_count && g->error == ERR_OK; i++) {
        struct stream *s = &streams[i];
        s->is_of_rows = is_of_rows;
        s->column = number_read(g, &at, section->end, LENGTH_MAX);
        s->form = (uint8_t)number_read(g, &at, section->end, STREAM_MASK);
        s->count = number_read(g, &at, section->end, LENGTH_MAX);
        if (g->error != ERR_OK || !wire_varint(&at, section->end, &s->base) ||
            !wire_varint(&at, section->end, &s->range) ||
            !form_suits(g, number, s->column, s->form) ||
            (i > 0 && s->column <= streams[i - 1].column)) {
            group_fail(g, ERR_CORRUPT);
            return;
        }
        unsigned parts = ints_parts(s->form);
        for (unsigned p = 0; p < parts; p++)
            part_parse(g, section, &at, &s->parts[p]);
        for (unsigned p = 2; p < 4 && (s->form & STREAM_PLAIN) != 0; p++)
            part_parse(g, section, &at, &s->parts[p]);
    }
    if (g->error == ERR_OK && at != section->end)
        group_fail(g, ERR_CORRUPT);
    if (g->error == ERR_OK)
        section->streams = streams;
}

static struct bytes part_data(struct group *g, const struct stream *s, unsigned number)
{
    const struct part *part = &s->parts[number];
    if (part->len == 0)
        return bytes_of(empty, 0);
    const uint8_t *data = block_data(g, part->block - 1, s->is_of_rows);
    return data == NULL ? bytes_of(empty, 0) : bytes_of(data + part->offset, part->len);
}

static struct stream *stream_find(struct section *section, uint32_t column)
{
    uint32_t low = 0, high = section->streams_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (section->streams[middle].column < column)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < section->streams_count && section->streams[low].column == column;
    return found ? &section->streams[low] : NULL;
}

static bool stream_open(struct group *g, struct stream *s)
{
    struct bytes a = part_data(g, s, 0), b = part_data(g, s, 1);
    if (g->error != ERR_OK)
        return false;
    bool ok = ints_open(&s->ints, s->count, s->form & INTS_MASK, s->base, s->range, a, b);
    if (ok && (s->form & STREAM_PLAIN) != 0) {
        ok = strings_open(&s->strings, &s->ints, s->parts[2].len, s->parts[3].len);
        s->strings.text = part_data(g, s, 2);
    }
    if (ok && (s->form & STREAM_DICTIONARY) != 0) {
        s->dictionary = group_stream(g, 0, s->column);
        ok = s->dictionary != NULL && s->base + s->range < s->dictionary->count;
    }
    if (!ok)
        group_fail(g, ERR_CORRUPT);
    return g->error == ERR_OK;
}

struct stream *group_stream(struct group *g, uint32_t section, uint32_t column)
{
    if (g->error == ERR_OK && g->sections[section].streams == NULL)
        section_parse(g, section);
    if (g->error != ERR_OK)
        return NULL;
    struct stream *s = stream_find(&g->sections[section], column);
    if (s != NULL && !s->is_open) {
        s->is_open = stream_open(g, s);
        if (!s->is_open)
            return NULL;
    }
    return s;
}

bool group_stream_max(struct group *g, uint32_t section, uint32_t column, uint64_t *out)
{
    if (g->error == ERR_OK && g->sections[section].streams == NULL)
        section_parse(g, section);
    const struct stream *s = g->error == ERR_OK ? stream_find(&g->sections[section], column) : NULL;
    if (s == NULL || s->range > UINT64_MAX - s->base)
        return false;
    *out = s->base + s->range;
    return true;
}

bool group_peek(struct group *g, uint32_t column, struct stream *out)
{
    if (g->error == ERR_OK && g->sections[0].streams == NULL)
        section_parse(g, 0);
    const struct stream *s = g->error == ERR_OK ? stream_find(&g->sections[0], column) : NULL;
    if (s == NULL)
        return false;
    *out = *s;
    if (s->is_open)
        return true;
    out->is_of_rows = true;
    out->is_open = stream_open(g, out);
    return out->is_open;
}

uint32_t group_stream_count(struct group *g, uint32_t section, uint32_t column)
{
    if (g->error == ERR_OK && g->sections[section].streams == NULL)
        section_parse(g, section);
    struct stream *s = g->error == ERR_OK ? stream_find(&g->sections[section], column) : NULL;
    return s == NULL ? 0 : s->count;
}

void group_section_check(struct group *g, uint32_t section)
{
    if (g->sections[section].streams == NULL)
        section_parse(g, section);
    for (uint32_t i = 0; i < g->sections[section].streams_count && g->error == ERR_OK; i++) {
        struct stream *s = group_stream(g, section, g->sections[section].streams[i].column);
        if (s != NULL)
            (void)part_data(g, s, 3);
    }
}

const struct bytes *group_entries(struct group *g, const struct stream *dictionary)
{
    struct stream *d = stream_find(&g->sections[0], dictionary->column);
    assert(d == dictionary);
    if (d->entries != NULL || g->error != ERR_OK)
        return d->entries;
    struct bytes *entries = group_alloc(g, g->arena, d->count, sizeof *entries);
    for (uint32_t i = 0; i < d->count && g->error == ERR_OK; i++)
        entries[i] = group_bytes(g, d, i);
    if (g->error == ERR_OK)
        d->entries = entries;
    return d->entries;
}

struct bytes group_bytes(struct group *g, struct stream *s, uint32_t i)
{
    struct bytes none = bytes_of(empty, 0);
    if (s == NULL || i >= s->count || (s->form & (STREAM_PLAIN | STREAM_DICTIONARY)) == 0) {
        group_fail(g, ERR_CORRUPT);
        return none;
    }
    if ((s->form & STREAM_DICTIONARY) != 0) {
        const struct bytes *entries = group_entries(g, s->dictionary);
        return entries == NULL ? none : entries[ints_get(&s->ints, i)];
    }
    if (strings_is_big(&s->strings, i) && s->strings.big.data == NULL) {
        struct bytes big = part_data(g, s, 3);
        if (g->error != ERR_OK)
            return none;
        s->strings.big = big;
    }
    return strings_get(&s->strings, i);
}

/* ---- What the rows refer to */

/* The stream of a column of section 0 with `count` values, or any number where count is UINT32_MAX. */
static struct stream *shared_stream(struct group *g, uint32_t column, uint32_t count)
{
    struct stream *s = group_stream(g, 0, column);
    if (s == NULL || (count != UINT32_MAX && s->count != count)) {
        group_fail(g, ERR_CORRUPT);
        return NULL;
    }
    return s;
}

static void keys_load(struct group *g)
{
    struct stream *names = shared_stream(g, COLUMN_KEY_NAME, UINT32_MAX);
    struct stream *kinds = names == NULL ? NULL : shared_stream(g, COLUMN_KEY_KIND, names->count);
    if (kinds == NULL)
        return;
    g->keys = group_alloc(g, g->arena, names->count, sizeof *g->keys);
    for (uint32_t i = 0; i < names->count && g->error == ERR_OK; i++) {
        uint64_t kind = ints_get(&kinds->ints, i);
        if (kind >= 64 || kind % 16 >= ROWGROUP_TYPE_COUNT) {
            group_fail(g, ERR_CORRUPT);
            return;
        }
        g->keys[i] = (struct group_key){ .name = group_bytes(g, names, i),
                                         .table = (uint8_t)(kind / 16),
                                         .type = (uint8_t)(kind % 16) };
    }
    g->keys_count = names->count;
}

static bool key_suits(const struct group *g, uint64_t key, uint32_t table)
{
    if (key >= g->keys_count)
        return false;
    uint32_t of = g->keys[key].table;
    return of == table || (of == TABLE_BODY && table == TABLE_ITEM);
}

static void shapes_load(struct group *g, uint32_t table)
{
    struct stream *lengths = shared_stream(g, COLUMN_ITEM_SHAPE_LENGTH + 2 * table, UINT32_MAX);
    struct stream *keys = shared_stream(g, COLUMN_ITEM_SHAPE_KEYS + 2 * table, UINT32_MAX);
    if (lengths == NULL || keys == NULL)
        return;
    struct shape *shapes = group_alloc(g, g->arena, lengths->count, sizeof *shapes);
    uint32_t *all = group_alloc(g, g->arena, keys->count, sizeof *all);
    if (g->error != ERR_OK)
        return;
    for (uint32_t i = 0; i < keys->count; i++) {
        uint64_t key = ints_get(&keys->ints, i);
        if (!key_suits(g, key, table)) {
            group_fail(g, ERR_CORRUPT);
            return;
        }
        all[i] = (uint32_t)key;
    }
    uint32_t at = 0;
    for (uint32_t i = 0; i < lengths->count; i++) {
        uint64_t length = ints_get(&lengths->ints, i);
        if (length > keys->count - at) {
            group_fail(g, ERR_CORRUPT);
            return;
        }
        shapes[i] = (struct shape){ .keys = all + at, .count = (uint32_t)length };
        at += (uint32_t)length;
    }
    g->shape_rows[table] = group_alloc(g, g->arena, lengths->count, sizeof *g->shape_rows[table]);
    g->shapes[table] = shapes;
    g->shapes_count[table] = lengths->count;
}

static struct bytes text_at(struct group *g, const struct stream *texts, struct stream *numbers,
                            uint32_t i)
{
    const struct bytes *entries = group_entries(g, texts);
    uint64_t number = ints_get(&numbers->ints, i);
    if (entries == NULL || number >= texts->count) {
        group_fail(g, ERR_CORRUPT);
        return bytes_of(empty, 0);
    }
    return entries[number];
}

static void contexts_load(struct group *g)
{
    struct stream *texts = shared_stream(g, COLUMN_TEXT, UINT32_MAX);
    struct stream *numbers[5];
    uint32_t count = UINT32_MAX;
    for (uint32_t part = 0; part < 5; part++) {
        numbers[part] = shared_stream(g, COLUMN_CONTEXT_RESOURCE + part, count);
        if (numbers[part] == NULL)
            return;
        count = numbers[part]->count;
    }
    struct group_context *contexts =
        texts == NULL ? NULL : group_alloc(g, g->arena, count, sizeof *contexts);
    for (uint32_t i = 0; i < count && g->error == ERR_OK; i++) {
        uint64_t present = ints_get(&numbers[4]->ints, i);
        contexts[i] = (struct group_context){
            .resource = text_at(g, texts, numbers[0], i),
            .resource_schema = text_at(g, texts, numbers[1], i),
            .scope = text_at(g, texts, numbers[2], i),
            .scope_schema = text_at(g, texts, numbers[3], i),
            .has_resource = (present & 1) != 0,
            .has_scope = (present & 2) != 0,
        };
    }
    g->contexts = contexts;
    g->contexts_count = count;
}

bool group_load(struct group *g)
{
    if (g->is_loaded || g->error != ERR_OK)
        return g->error == ERR_OK;
    keys_load(g);
    for (uint32_t table = 0; table < TABLE_COUNT && g->error == ERR_OK; table++)
        shapes_load(g, table);
    if (g->error == ERR_OK)
        contexts_load(g);
    g->is_loaded = g->error == ERR_OK;
    return g->is_loaded;
}
