/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_wire.c - see fuzz_wire.h. */
#include "net/fuzz_wire.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/test_routes.h"

#include <assert.h>
#include <stdlib.h>

#define FAKE_START_NS (1000 * NS_PER_S)
/* Small enough that inputs can reach it. */
#define BUDGET_BYTES ((size_t)4 << 20)

static struct core core;
static struct loop *loop;
static struct listener listener;
static struct budget budget;

static void must(enum err e)
{
    if (e != ERR_OK)
        abort();
}

static void set_up(void)
{
    struct router *router;
    static const char *const hosts[] = { "spindle.test" };
    struct server_options options = { .hosts = hosts, .host_count = 1, .request_budget = &budget };
    budget_init(&budget, BUDGET_BYTES, NULL);
    must(core_init(&core, &options));
    must(router_open(&router));
    must(test_routes_add(router));
    must(loop_open(&loop));
    listener = (struct listener){ .name = "fuzz", .router = router, .fd = -1 };
    for (int i = 0; i < 3; i++)
        listener.requests[i] = metrics_counter(NULL, "spindle_net_fuzz_total", NULL, "");
}

static void on_ready(struct wire *w)
{
    (void)w; /* produce() is called after every step anyway */
}

bool fuzz_wire_open(struct fuzz_wire *w, struct session *(*open)(struct wire *wire))
{
    if (loop == NULL)
        set_up();
    clock_fake_set(FAKE_START_NS, FAKE_START_NS);
    *w = (struct fuzz_wire){ .wire = { .loop = loop,
                                       .core = &core,
                                       .listener = &listener,
                                       .peer = BYTES_LITERAL("fuzz:1"),
                                       .on_ready = on_ready } };
    w->session = open(&w->wire);
    return w->session != NULL;
}

static void produce(struct fuzz_wire *w)
{
    for (;;) {
        loop_settle(loop);
        size_t n = w->session->ops->produce(w->session, loop->write_buffer, LOOP_WRITE_BYTES);
        assert(n <= LOOP_WRITE_BYTES);
        for (size_t i = 0; i < n && w->output_len + i < sizeof w->output; i++)
            w->output[w->output_len + i] = loop->write_buffer[i];
        w->output_len += n;
        if (n == 0)
            return;
    }
}

/* As a connection does: what was not taken comes again, in front of what follows, at another
 * address. */
static void give(struct fuzz_wire *w, const uint8_t *data, size_t len)
{
    uint8_t *joined = malloc(w->input_len + len + 1);
    if (joined == NULL)
        abort();
    if (w->input_len > 0)
        memcpy(joined, w->input, w->input_len);
    if (len > 0)
        memcpy(joined + w->input_len, data, len);
    free(w->input);
    size_t all = w->input_len + len;
    size_t taken = w->session->ops->receive(w->session, joined, all);
    assert(taken <= all);
    w->input_len = all - taken;
    w->input = malloc(w->input_len + 1);
    if (w->input == NULL)
        abort();
    memcpy(w->input, joined + taken, w->input_len);
    free(joined);
    produce(w);
}

void fuzz_wire_feed(struct fuzz_wire *w, const uint8_t *data, size_t len, size_t step)
{
    for (size_t at = 0; at < len && !w->session->wants_close; at += step) {
        give(w, data + at, len - at < step ? len - at : step);
        clock_fake_advance(NS_PER_MS);
    }
    for (int i = 0; i < 4 && w->input_len > 0 && !w->session->wants_close; i++) {
        clock_fake_advance(NS_PER_S);
        w->session->ops->tick(w->session, clock_mono_ns());
        give(w, NULL, 0);
    }
}

void fuzz_wire_close(struct fuzz_wire *w)
{
    clock_fake_advance(40 * NS_PER_S);
    w->session->ops->tick(w->session, clock_mono_ns());
    produce(w);
    w->session->ops->end_of_input(w->session);
    produce(w);
    w->session->ops->close(w->session);
    loop_settle(loop);
    test_routes_join();
    loop_fire_laters(loop);
    loop_settle(loop);
    assert(core.in_flight == 0);
    assert(budget_used(&budget) == 0);
    free(w->input);
    clock_fake_off();
}
