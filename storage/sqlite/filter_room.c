/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/filter_room.h"

#include "base/log.h"
#include "base/mem.h"

#include <assert.h>
#include <string.h>

struct filter_chunk {
    struct filter_chunk *next, *before;
    uint8_t *bytes;
    size_t size, used, filters; /* of bytes: those given away; how many lie in them */
    struct rest_place place;
    bool has_changed; /* since it rested last */
};

enum err filter_room_init(struct filter_room *r)
{
    *r = (struct filter_room){ .used_mono_ns = clock_mono_ns() };
    return pthread_mutex_init(&r->lock, NULL) == 0 ? ERR_OK : ERR_NOMEM;
}

void filter_room_deinit(struct filter_room *r)
{
    assert(r->chunks == NULL && r->users == 0);
    rest_file_deinit(&r->file);
    (void)pthread_mutex_destroy(&r->lock);
}

static struct filter_chunk *chunk_make(struct filter_room *r, size_t least)
{
    size_t size = least > FILTER_CHUNK_BYTES ? least : FILTER_CHUNK_BYTES;
    struct filter_chunk *c = mem_zalloc(sizeof *c);
    if (c == NULL)
        return NULL;
    c->bytes = mem_map(size);
    if (c->bytes == NULL) {
        mem_free(c);
        return NULL;
    }
    c->size = size;
    c->next = r->chunks;
    if (r->chunks != NULL)
        r->chunks->before = c;
    r->chunks = c;
    r->chunk_bytes += size;
    return c;
}

static void chunk_wake(struct filter_room *r, struct filter_chunk *c)
{
    enum err e = rest_file_take(&r->file, &c->place, c->bytes);
    if (e == ERR_OK)
        return;
    /* No kind of filter, and blocks with every bit: for who knows where the blocks lie. */
    memset(c->bytes, 0xFF, c->size);
    c->has_changed = true;
    log_line(LOG_ERROR, "storage", "the trace filters of %zu row groups cannot be read again: %s",
             c->filters, err_text(e));
}

enum err filter_room_put(struct filter_room *r, struct bytes filter, struct bytes *out,
                         struct filter_chunk **out_chunk)
{
    (void)pthread_mutex_lock(&r->lock);
    struct filter_chunk *c = r->filling;
    if (c == NULL || filter.len > c->size - c->used) {
        c = chunk_make(r, filter.len);
        if (c != NULL && (r->filling == NULL || filter.len < FILTER_CHUNK_BYTES))
            r->filling = c;
    } else {
        chunk_wake(r, c);
    }
    if (c != NULL) {
        memcpy(c->bytes + c->used, filter.data, filter.len);
        *out = bytes_of(c->bytes + c->used, filter.len);
        *out_chunk = c;
        c->used += filter.len;
        c->filters++;
        c->has_changed = true;
        r->bytes += filter.len;
    }
    (void)pthread_mutex_unlock(&r->lock);
    return c == NULL ? ERR_NOMEM : ERR_OK;
}

void filter_room_drop(struct filter_room *r, struct filter_chunk *c, struct bytes filter)
{
    (void)pthread_mutex_lock(&r->lock);
    r->bytes -= filter.len;
    bool is_last = --c->filters == 0;
    if (is_last) {
        if (c->before != NULL)
            c->before->next = c->next;
        else
            r->chunks = c->next;
        if (c->next != NULL)
            c->next->before = c->before;
        if (r->filling == c)
            r->filling = NULL;
        r->chunk_bytes -= c->size;
        rest_file_forget(&r->file, &c->place);
    }
    (void)pthread_mutex_unlock(&r->lock);
    if (!is_last)
        return;
    mem_unmap(c->bytes, c->size);
    mem_free(c);
}

void filter_room_use(struct filter_room *r)
{
    (void)pthread_mutex_lock(&r->lock);
    r->users++;
    for (struct filter_chunk *c = r->is_resting ? r->chunks : NULL; c != NULL; c = c->next)
        chunk_wake(r, c);
    r->is_resting = false;
    (void)pthread_mutex_unlock(&r->lock);
}

void filter_room_leave(struct filter_room *r)
{
    uint64_t now = clock_mono_ns();
    (void)pthread_mutex_lock(&r->lock);
    assert(r->users > 0);
    r->users--;
    r->used_mono_ns = now;
    (void)pthread_mutex_unlock(&r->lock);
}

void filter_room_rest(struct filter_room *r, const struct rest_policy *policy)
{
    uint64_t now = clock_mono_ns();
    (void)pthread_mutex_lock(&r->lock);
    bool is_quiet = r->users == 0 && now - r->used_mono_ns >= policy->quiet_ns;
    for (struct filter_chunk *c = is_quiet ? r->chunks : NULL; c != NULL; c = c->next) {
        if (c->place.is_resting || rest_file_put(&r->file, &c->place, policy, c->bytes, c->size,
                                                 c->used, c->has_changed) != ERR_OK)
            continue;
        c->has_changed = false;
        r->is_resting = true;
    }
    (void)pthread_mutex_unlock(&r->lock);
}
