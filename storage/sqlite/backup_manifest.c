/* SPDX-License-Identifier: Apache-2.0 */
/* backup_manifest.c - the list of a backup's files, as text. Reading trusts nothing in it: a name is one that
 * a data directory has, so that none leads out of it. */
#include "base/mem.h"
#include "base/text.h"
#include "storage/sqlite/backup_private.h"
#include "storage/sqlite/journal.h"
#include "storage/sqlite/schema.h"

#include <string.h>

#define HASH_DIGITS 32

void backup_manifest_deinit(struct backup_manifest *m)
{
    mem_free(m->files);
    *m = (struct backup_manifest){ 0 };
}

enum err backup_manifest_add(struct backup_manifest *m, const struct backup_file *file)
{
    if (m->count == m->capacity) {
        size_t capacity = m->capacity == 0 ? 16 : 2 * m->capacity;
        struct backup_file *grown = mem_realloc(m->files, capacity * sizeof *grown);
        if (grown == NULL)
            return ERR_NOMEM;
        m->files = grown;
        m->capacity = capacity;
    }
    m->files[m->count++] = *file;
    return ERR_OK;
}

/* ---- Writing --------------------------------------------------------------------------------- */

bool backup_is_partition(const char *name)
{
    size_t len = strlen(name);
    return name[0] == 'p' && len > 3 && strcmp(name + len - 3, ".db") == 0;
}

/* As XXH's tools print it: the high half first, each big-endian. */
static void hash_write(struct hash128 hash, struct buffer *out)
{
    uint8_t raw[16];
    char hex[HASH_DIGITS];
    for (size_t i = 0; i < 8; i++) {
        raw[i] = (uint8_t)(hash.high >> (56 - 8 * i));
        raw[8 + i] = (uint8_t)(hash.low >> (56 - 8 * i));
    }
    text_hex(hex, bytes_of(raw, sizeof raw));
    buffer_append(out, hex, sizeof hex);
}

static struct hash128 hash_of(struct bytes text)
{
    struct hash_stream stream;
    hash_stream_begin(&stream);
    hash_stream_add(&stream, text);
    return hash_stream_end(&stream);
}

void backup_manifest_write(const struct backup_manifest *m, struct buffer *out)
{
    buffer_printf(out, "spindle-backup %u\nformat %u\ntaken ", BACKUP_FORMAT_VERSION,
                  m->format_version);
    text_time(out, m->taken_unix_ns);
    for (size_t i = 0; i < m->count; i++) {
        buffer_append_text(out, "\nfile ");
        hash_write(m->files[i].hash, out);
        buffer_printf(out, " %llu %s", (unsigned long long)m->files[i].bytes, m->files[i].name);
    }
    buffer_append_text(out, "\nend ");
    if (buffer_error(out) != ERR_OK)
        return;
    hash_write(hash_of(buffer_bytes(out)), out);
    buffer_append_byte(out, '\n');
}

/* ---- Reading --------------------------------------------------------------------------------- */

/* What `text` begins with is taken off it. */
static bool take(struct bytes *text, const char *prefix)
{
    size_t len = strlen(prefix);
    if (text->len < len || memcmp(text->data, prefix, len) != 0)
        return false;
    *text = bytes_slice(*text, len, text->len - len);
    return true;
}

/* Up to the next `end`, which is taken too; false: there is none. */
static bool take_until(struct bytes *text, uint8_t end, struct bytes *out)
{
    const uint8_t *at = text->len == 0 ? NULL : memchr(text->data, end, text->len);
    if (at == NULL)
        return false;
    size_t len = (size_t)(at - text->data);
    *out = bytes_slice(*text, 0, len);
    *text = bytes_slice(*text, len + 1, text->len - len - 1);
    return true;
}

static bool hash_read(struct bytes hex, struct hash128 *out)
{
    uint8_t raw[16];
    if (hex.len != HASH_DIGITS || !text_hex_parse(hex, raw, sizeof raw))
        return false;
    *out = (struct hash128){ 0 };
    for (size_t i = 0; i < 8; i++) {
        out->high = out->high << 8 | raw[i];
        out->low = out->low << 8 | raw[8 + i];
    }
    return true;
}

static bool is_journal(struct bytes suffix)
{
    char text[16];
    if (suffix.len >= sizeof text)
        return false;
    memcpy(text, suffix.data, suffix.len);
    text[suffix.len] = '\0';
    return strlen(text) == suffix.len && journal_is_file(text);
}

static bool name_is_ours(struct bytes name)
{
    struct bytes rest = name;
    if (name.len >= BACKUP_NAME_MAX)
        return false;
    if ((take(&rest, "catalog.db") || take(&rest, "request.key")) && rest.len == 0)
        return true;
    rest = name;
    size_t digits = 0;
    if (!take(&rest, "p"))
        return false;
    while (digits < rest.len && rest.data[digits] >= '0' && rest.data[digits] <= '9')
        digits++;
    rest = bytes_slice(rest, digits, rest.len - digits);
    return digits >= 6 && digits <= 20 && take(&rest, ".db") &&
           (rest.len == 0 || bytes_equal_text(rest, ".frozen") || is_journal(rest));
}

static bool file_read(struct bytes line, struct backup_file *out)
{
    struct bytes hash, size;
    *out = (struct backup_file){ 0 };
    if (!take(&line, "file ") || !take_until(&line, ' ', &hash) || !take_until(&line, ' ', &size) ||
        !hash_read(hash, &out->hash) || !text_u64_parse(size, &out->bytes) || !name_is_ours(line))
        return false;
    memcpy(out->name, line.data, line.len);
    return true;
}

static bool number_line(struct bytes *text, const char *word, uint64_t *out)
{
    struct bytes line;
    return take_until(text, '\n', &line) && take(&line, word) && text_u64_parse(line, out);
}

static bool end_read(struct bytes text, struct bytes line, struct bytes rest)
{
    struct hash128 hash;
    if (!take(&line, "end ") || rest.len != 0 || !hash_read(line, &hash))
        return false;
    size_t before = text.len - 1 - HASH_DIGITS;
    return hash128_equal(hash, hash_of(bytes_slice(text, 0, before)));
}

enum err backup_manifest_read(struct bytes text, struct backup_manifest *out, size_t *out_line)
{
    struct backup_manifest m = { 0 };
    struct bytes rest = text, line;
    uint64_t version = 0, format = 0;
    *out_line = 1;
    if (!number_line(&rest, "spindle-backup ", &version) || version == 0)
        return ERR_CORRUPT;
    if (version > BACKUP_FORMAT_VERSION)
        return ERR_NEWER;
    *out_line = 2;
    if (!number_line(&rest, "format ", &format) || format == 0)
        return ERR_CORRUPT;
    if (format > SCHEMA_VERSION)
        return ERR_NEWER;
    m.format_version = (uint32_t)format;
    *out_line = 3;
    if (!take_until(&rest, '\n', &line) || !take(&line, "taken ") ||
        !text_time_parse(line, &m.taken_unix_ns))
        return ERR_CORRUPT;
    enum err e = ERR_OK;
    bool is_ended = false;
    while (e == ERR_OK && !is_ended) {
        struct backup_file file;
        ++*out_line;
        if (!take_until(&rest, '\n', &line))
            e = ERR_CORRUPT;
        else if (end_read(text, line, rest))
            is_ended = true;
        else if (file_read(line, &file))
            e = backup_manifest_add(&m, &file);
        else
            e = ERR_CORRUPT;
    }
    if (e != ERR_OK) {
        backup_manifest_deinit(&m);
        return e;
    }
    *out = m;
    return ERR_OK;
}
