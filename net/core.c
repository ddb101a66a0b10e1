/* SPDX-License-Identifier: Apache-2.0 */
/* core.c - see core.h. */
#include "net/core.h"
#include "base/clock.h"
#include "base/timed_wait.h"
#include "net/peers.h"

#include <assert.h>
#include <stdio.h>

static void set_limits(struct server_limits *l, const struct server_limits *from)
{
    *l = *from;
#define DEFAULT(field, value) l->field = l->field == 0 ? (value) : l->field
    DEFAULT(connections, 10000);
    DEFAULT(connections_per_ip, 256);
    DEFAULT(streams, 100);
    DEFAULT(header_bytes_http1, 32 * 1024);
    DEFAULT(header_bytes_http2, 16 * 1024);
    DEFAULT(header_fields_soft, 100);
    DEFAULT(header_fields_hard, 400);
    DEFAULT(header_timeout_ns, 10 * NS_PER_S);
    DEFAULT(idle_timeout_ns, 60 * NS_PER_S);
    DEFAULT(stalled_answer_ns, 30 * NS_PER_S);
    DEFAULT(body_rate_min, 1024);
    DEFAULT(body_rate_grace_ns, 5 * NS_PER_S);
#undef DEFAULT
}

enum err core_init(struct core *core, const struct server_options *options)
{
    *core = (struct core){ .authorize = options->authorize,
                           .authorize_context = options->authorize_context,
                           .hosts = options->hosts,
                           .host_count = options->host_count,
                           .request_budget = options->request_budget };
    static const char *const reasons[] = {
#define X(name, text) text,
        NET_LIMIT_LIST(X)
#undef X
    };
    set_limits(&core->limits, &options->limits);
    for (int i = 0; i < NET_LIMIT_COUNT; i++) {
        char labels[64];
        (void)snprintf(labels, sizeof labels, "reason=\"%s\"", reasons[i]);
        core->limit[i] =
            metrics_counter(options->metrics, "spindle_net_limit_total", labels,
                            "Connections and requests refused or cut off by the network layer");
    }
    core->connections_now =
        metrics_gauge(options->metrics, "spindle_net_connections", NULL, "Connections open now");
    core->connections_total = metrics_counter(options->metrics, "spindle_net_connections_total",
                                              NULL, "Connections accepted");
    core->bytes_in = metrics_counter(options->metrics, "spindle_net_received_bytes_total", NULL,
                                     "Bytes read from connections");
    core->bytes_out = metrics_counter(options->metrics, "spindle_net_sent_bytes_total", NULL,
                                      "Bytes written to connections");
    atomic_init(&core->next_request_id, 1);
    pthread_mutex_init(&core->idle_lock, NULL);
    timed_wait_init(&core->idle_changed);
    enum err e = peers_open(core->limits.connections, &core->peers);
    if (e != ERR_OK)
        core_deinit(core);
    return e;
}

void core_deinit(struct core *core)
{
    peers_close(core->peers);
    core->peers = NULL;
    pthread_cond_destroy(&core->idle_changed);
    pthread_mutex_destroy(&core->idle_lock);
}

void core_request_began(struct core *core)
{
    pthread_mutex_lock(&core->idle_lock);
    core->in_flight++;
    pthread_mutex_unlock(&core->idle_lock);
}

void core_request_ended(struct core *core)
{
    pthread_mutex_lock(&core->idle_lock);
    assert(core->in_flight > 0);
    if (--core->in_flight == 0)
        pthread_cond_broadcast(&core->idle_changed);
    pthread_mutex_unlock(&core->idle_lock);
}
