/* SPDX-License-Identifier: Apache-2.0 */
/* loop_work.c - what would keep a loop from its other connections, done by another thread meanwhile.
 *
 * One at a time a loop, in order: so many threads at most, and so much memory, as if the loop had done it
 * itself. */
#include "net/loop.h"

static void start_next(struct loop *l);

static void on_work(uv_work_t *request)
{
    struct loop *l = request->data;
    l->works->run(l->works);
}

static void on_worked(uv_work_t *request, int status)
{
    (void)status; /* never cancelled */
    struct loop *l = request->data;
    struct loop_work *done = l->works;
    l->works = done->next;
    if (l->works != NULL)
        start_next(l);
    done->after(done);
    loop_settle(l);
}

static void start_next(struct loop *l)
{
    l->worker.data = l;
    /* It fails for a NULL function only. */
    (void)uv_queue_work(&l->uv, &l->worker, on_work, on_worked);
}

bool loop_work(struct loop *l, struct loop_work *work)
{
    if (!loop_is_here(l))
        return false;
    work->next = NULL;
    bool is_first = l->works == NULL;
    if (is_first)
        l->works = work;
    else
        l->works_last->next = work;
    l->works_last = work;
    if (is_first)
        start_next(l);
    return true;
}
