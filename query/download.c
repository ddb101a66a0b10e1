/* SPDX-License-Identifier: Apache-2.0 */
#include "query/download.h"

#include <assert.h>

void download_init(struct download *d, struct call *c)
{
    *d = (struct download){ .c = c };
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->changed, NULL);
}

void download_deinit(struct download *d)
{
    if (d->x != NULL)
        exchange_end(d->x, 0, (struct bytes){ 0 });
    pthread_cond_destroy(&d->changed);
    pthread_mutex_destroy(&d->lock);
}

static void on_writable(struct exchange *x, void *context)
{
    struct download *d = context;
    (void)x;
    pthread_mutex_lock(&d->lock);
    d->may_write = true;
    pthread_cond_signal(&d->changed);
    pthread_mutex_unlock(&d->lock);
}

void download_begin(struct download *d)
{
    struct http_header headers[CALL_HEADERS_MAX];
    size_t count = call_headers(d->c, headers);
    const struct response head = {
        .status = 200, .content_type = d->c->content_type, .headers = headers, .header_count = count
    };
    assert(d->x == NULL);
    d->x = call_take_exchange(d->c);
    exchange_begin(d->x, &head, on_writable, d);
}

/* net/ took nothing, and owes one call of on_writable: the reader that does not read is cut off there, so it comes
 * in any case, and the answer is ours again. */
static void wait_for_room(struct download *d)
{
    uint64_t before = clock_mono_ns();
    pthread_mutex_lock(&d->lock);
    while (!d->may_write)
        pthread_cond_wait(&d->changed, &d->lock);
    pthread_mutex_unlock(&d->lock);
    uint64_t waited = clock_mono_ns() - before;
    if (waited > d->patience_ns)
        waited = d->patience_ns;
    d->patience_ns -= waited;
    d->c->context.deadline_mono_ns += waited;
}

static enum err piece_write(struct download *d, struct bytes piece, bool is_last)
{
    for (;;) {
        struct buffer copy;
        enum err e = query_check(&d->c->context);
        if (e != ERR_OK && !(is_last && e == ERR_DEADLINE))
            return e;
        buffer_init(&copy, piece.len);
        buffer_append_bytes(&copy, piece);
        pthread_mutex_lock(&d->lock);
        d->may_write = false;
        pthread_mutex_unlock(&d->lock);
        e = exchange_write(d->x, &copy);
        if (e != ERR_BUSY)
            return e;
        wait_for_room(d);
    }
}

enum err download_write(struct download *d, struct bytes piece)
{
    return piece_write(d, piece, false);
}

enum err download_write_last(struct download *d, struct bytes piece)
{
    return piece_write(d, piece, true);
}
