/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/first_seen.h"

#include "base/mem.h"

#define KEY       "services_seen"
#define BYTES_MAX ((size_t)FIRST_SEEN_MAX * (1 + FIRST_SEEN_NAME_BYTES))

_Static_assert(FIRST_SEEN_NAME_BYTES <= UINT8_MAX, "a name's length is one byte");

void first_seen_init(struct first_seen *f)
{
    (void)pthread_mutex_init(&f->lock, NULL);
    intern_init(&f->names, FIRST_SEEN_MAX);
    f->stored = 0;
}

void first_seen_deinit(struct first_seen *f)
{
    intern_deinit(&f->names);
    (void)pthread_mutex_destroy(&f->lock);
}

/* Lengths and names, one after the other. */
static enum err names_read(struct intern *names, const uint8_t *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        size_t name_len = data[at++];
        uint32_t number, expected = names->count;
        if (name_len > FIRST_SEEN_NAME_BYTES || name_len > len - at)
            return ERR_CORRUPT;
        enum err e = intern_put(names, bytes_of(data + at, name_len), &number);
        if (e != ERR_OK)
            return e;
        if (number != expected)
            return ERR_CORRUPT;
        at += name_len;
    }
    return ERR_OK;
}

enum err first_seen_load(struct first_seen *f, struct catalog *catalog)
{
    uint8_t *data = mem_alloc(BYTES_MAX);
    size_t len = 0;
    if (data == NULL)
        return ERR_NOMEM;
    enum err e = catalog_setting_get(catalog, KEY, data, BYTES_MAX, &len);
    if (e == ERR_OK)
        e = names_read(&f->names, data, len);
    mem_free(data);
    if (e == ERR_CORRUPT ||
        e == ERR_TOO_MANY) { /* colours are not worth a server that does not start */
        intern_reset(&f->names);
        e = ERR_OK;
    }
    f->stored = f->names.count;
    return e;
}

bool first_seen_number(struct first_seen *f, struct bytes service, uint32_t *out)
{
    if (service.len > FIRST_SEEN_NAME_BYTES)
        return false;
    (void)pthread_mutex_lock(&f->lock);
    bool has = intern_put(&f->names, service, out) == ERR_OK;
    (void)pthread_mutex_unlock(&f->lock);
    return has;
}

bool first_seen_is_changed(struct first_seen *f)
{
    (void)pthread_mutex_lock(&f->lock);
    bool is_changed = f->names.count > f->stored;
    (void)pthread_mutex_unlock(&f->lock);
    return is_changed;
}

enum err first_seen_store(struct first_seen *f, struct catalog *catalog)
{
    uint8_t *data = mem_alloc(BYTES_MAX);
    size_t len = 0;
    if (data == NULL)
        return ERR_NOMEM;
    (void)pthread_mutex_lock(&f->lock);
    uint32_t count = f->names.count;
    for (uint32_t i = 0; i < count; i++) {
        struct bytes name = intern_get(&f->names, i);
        data[len++] = (uint8_t)name.len;
        if (name.len > 0)
            memcpy(data + len, name.data, name.len);
        len += name.len;
    }
    (void)pthread_mutex_unlock(&f->lock);
    enum err e = catalog_setting_put(catalog, KEY, bytes_of(data, len));
    mem_free(data);
    if (e == ERR_OK) {
        (void)pthread_mutex_lock(&f->lock);
        f->stored = count;
        (void)pthread_mutex_unlock(&f->lock);
    }
    return e;
}
