/* SPDX-License-Identifier: Apache-2.0 */
/* A backup's manifest of a stranger's making: read as it is, and with an end that fits, so that all lines before
 * it are reached. What is read is written and read again alike, and no name leads out of the directory. */
#include "storage/sqlite/backup_private.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void names_check(const struct backup_manifest *m)
{
    for (size_t i = 0; i < m->count; i++)
        assert(memchr(m->files[i].name, 0, BACKUP_NAME_MAX) != NULL && m->files[i].name[0] != '.' &&
               strchr(m->files[i].name, '/') == NULL);
}

static void read_both(struct bytes text)
{
    struct backup_manifest m, again;
    size_t line = 0;
    if (backup_manifest_read(text, &m, &line) != ERR_OK)
        return;
    names_check(&m);
    struct buffer written;
    buffer_init(&written, (size_t)1 << 24);
    backup_manifest_write(&m, &written);
    enum err e = backup_manifest_read(buffer_bytes(&written), &again, &line);
    assert(e == ERR_OK && again.count == m.count && again.taken_unix_ns == m.taken_unix_ns &&
           again.format_version == m.format_version);
    for (size_t i = 0; i < m.count; i++)
        assert(strcmp(again.files[i].name, m.files[i].name) == 0 &&
               again.files[i].bytes == m.files[i].bytes &&
               hash128_equal(again.files[i].hash, m.files[i].hash));
    (void)e;
    buffer_deinit(&written);
    backup_manifest_deinit(&again);
    backup_manifest_deinit(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    read_both(bytes_of(data, len));
    struct buffer ended;
    struct hash_stream stream;
    buffer_init(&ended, (size_t)1 << 24);
    buffer_append(&ended, data, len);
    buffer_append_text(&ended, "end ");
    hash_stream_begin(&stream);
    if (buffer_error(&ended) == ERR_OK)
        hash_stream_add(&stream, buffer_bytes(&ended));
    struct hash128 hash = hash_stream_end(&stream);
    buffer_printf(&ended, "%016llx%016llx\n", (unsigned long long)hash.high,
                  (unsigned long long)hash.low);
    if (buffer_error(&ended) == ERR_OK)
        read_both(buffer_bytes(&ended));
    buffer_deinit(&ended);
    return 0;
}
