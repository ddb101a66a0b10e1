/* SPDX-License-Identifier: Apache-2.0 */
/* loop_later.c - timers that other threads may ask for. */
#include "base/mem.h"
#include "net/loop.h"

struct later {
    struct post post;
    uv_timer_t timer;
    struct loop *loop;
    struct later *next;
    uint64_t delay_ms;
    void (*fn)(void *context);
    void *context;
};

static void on_closed(uv_handle_t *timer)
{
    mem_free(timer->data);
}

static void fire(struct later *later)
{
    struct later **at = &later->loop->laters;
    while (*at != later)
        at = &(*at)->next;
    *at = later->next;
    uv_close((uv_handle_t *)&later->timer, on_closed);
    later->fn(later->context);
}

static void on_timer(uv_timer_t *timer)
{
    struct later *later = timer->data;
    struct loop *l = later->loop;
    fire(later);
    loop_settle(l);
}

static void begin(struct post *post)
{
    struct later *later = (struct later *)post;
    struct loop *l = later->loop;
    (void)uv_timer_init(&l->uv, &later->timer);
    later->timer.data = later;
    later->next = l->laters;
    l->laters = later;
    uv_update_time(&l->uv);
    if (uv_timer_start(&later->timer, on_timer, later->delay_ms, 0) != 0)
        fire(later);
}

enum err loop_later(struct loop *l, uint64_t delay_ms, void (*fn)(void *context), void *context)
{
    struct later *later = mem_zalloc(sizeof *later);
    if (later == NULL)
        return ERR_NOMEM;
    later->post.run = begin;
    later->loop = l;
    later->delay_ms = delay_ms;
    later->fn = fn;
    later->context = context;
    if (loop_post(l, &later->post))
        return ERR_OK;
    mem_free(later);
    return ERR_STOPPING;
}

void loop_fire_laters(struct loop *l)
{
    while (l->laters != NULL)
        fire(l->laters);
}
