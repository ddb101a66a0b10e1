/* SPDX-License-Identifier: Apache-2.0 */
/* Who calls whom, as Jaeger's page and Grafana draw it: services only, one link for each two. */
#include "query/jaeger_numbers.h"
#include "query/jaeger_service.h"
#include "query/parameters.h"

#include <stdlib.h>

#define LOOKBACK_DEFAULT_NS (86400 * NS_PER_S)
#define MS_MAX              (UINT64_MAX / 4 / NS_PER_MS)

struct link {
    struct bytes parent, child;
    uint64_t calls;
};

static int by_names(const void *a, const void *b)
{
    const struct link *x = a, *y = b;
    int order = bytes_compare(x->parent, y->parent);
    return order != 0 ? order : bytes_compare(x->child, y->child);
}

/* Edges between two services, of all namespaces and environments; calls within one are left out, and so
 * are queues: behind them stands the pair of producer and consumer. */
static enum err find_links(struct call *c, uint64_t from, uint64_t to, struct link **out,
                           size_t *out_count)
{
    const struct edge_query query = { .range = { .min_unix_ns = from, .max_unix_ns = to },
                                      .patience_ns = DERIVED_PATIENCE_NS };
    struct edge_result result = { 0 };
    enum err e = engine_edges(c->options->engine, &c->context, &query, &result);
    c->is_damaged |= result.is_damaged;
    if (e != ERR_OK)
        return e;
    struct link *links = arena_alloc_array(&c->arena, result.count, sizeof links[0]);
    size_t count = 0, kept = 0;
    if (links == NULL)
        return arena_failure(&c->arena);
    for (size_t i = 0; i < result.count; i++) {
        const struct edge *x = &result.edges[i];
        if (x->client.kind != NODE_SERVICE || x->server.kind != NODE_SERVICE ||
            bytes_equal(x->client.name, x->server.name))
            continue;
        links[count] = (struct link){ .parent = jaeger_service_shown(x->client.name),
                                      .child = jaeger_service_shown(x->server.name) };
        for (size_t k = 0; k < x->points_count; k++)
            links[count].calls += x->points[k].calls;
        count++;
    }
    if (count > 0)
        qsort(links, count, sizeof links[0], by_names);
    for (size_t i = 0; i < count; i++) {
        if (kept > 0 && by_names(&links[kept - 1], &links[i]) == 0)
            links[kept - 1].calls += links[i].calls;
        else
            links[kept++] = links[i];
    }
    *out = links;
    *out_count = kept;
    return ERR_OK;
}

static void write_link(struct json_writer *j, const struct link *l, bool is_v3)
{
    json_object_begin(j);
    json_key(j, "parent");
    json_string(j, l->parent);
    json_key(j, "child");
    json_string(j, l->child);
    json_key(j, "callCount");
    if (is_v3)
        json_u64_string(j, l->calls);
    else
        json_u64(j, l->calls);
    json_object_end(j);
}

enum err jaeger_dependencies(struct call *c)
{
    uint64_t end_ms = clock_unix_ns() / NS_PER_MS, lookback_ms = LOOKBACK_DEFAULT_NS / NS_PER_MS;
    struct bytes service;
    struct link *links = NULL;
    size_t count = 0, shown = 0;
    enum err e = parameter_u64(c, "endTs", 1, MS_MAX, &end_ms);
    if (e == ERR_OK)
        e = parameter_u64(c, "lookback", 1, MS_MAX, &lookback_ms);
    uint64_t from_ms = end_ms > lookback_ms ? end_ms - lookback_ms : 0;
    if (e == ERR_OK)
        e = find_links(c, from_ms * NS_PER_MS, end_ms * NS_PER_MS, &links, &count);
    if (e != ERR_OK)
        return e;
    bool has_service = parameter_text(c, "service", &service);
    jaeger_envelope_begin(c);
    json_array_begin(&c->json);
    for (size_t i = 0; i < count; i++) {
        if (has_service && !bytes_equal(links[i].parent, service) &&
            !bytes_equal(links[i].child, service))
            continue;
        write_link(&c->json, &links[i], false);
        shown++;
    }
    json_array_end(&c->json);
    jaeger_envelope_end(c, shown);
    return ERR_OK;
}

enum err jaeger_v3_dependencies(struct call *c)
{
    uint64_t from = 0, to = clock_unix_ns();
    struct bytes text;
    struct link *links = NULL;
    size_t count = 0;
    bool has_from = parameter_text(c, "startTime", &text) || parameter_text(c, "start_time", &text);
    enum err e = parameter_rfc3339(c, "end_time", false, &to);
    if (e == ERR_OK)
        e = parameter_rfc3339(c, "endTime", false, &to);
    if (e == ERR_OK)
        e = parameter_rfc3339(c, "start_time", false, &from);
    if (e == ERR_OK)
        e = parameter_rfc3339(c, "startTime", false, &from);
    if (e != ERR_OK)
        return e;
    if (!has_from)
        from = to > LOOKBACK_DEFAULT_NS ? to - LOOKBACK_DEFAULT_NS : 0;
    if (to <= from)
        return call_fail(c, ERR_INVALID, "endTime", "it must be later than 'startTime'");
    e = find_links(c, from, to, &links, &count);
    if (e != ERR_OK)
        return e;
    json_object_begin(&c->json);
    json_key(&c->json, "dependencies");
    json_array_begin(&c->json);
    for (size_t i = 0; i < count; i++)
        write_link(&c->json, &links[i], true);
    json_array_end(&c->json);
    json_object_end(&c->json);
    return ERR_OK;
}
