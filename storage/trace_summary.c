/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/search_private.h"
#include "storage/service_name.h"

#include <stdlib.h>

/* What the counts need of all spans together. */
struct spans {
    struct arena memory;
    uint64_t *ids, *parents; /* as numbers: only equality counts */
    size_t ids_capacity, parents_capacity;
    size_t count, parents_count;
    struct service_summary *services; /* one a resource group, then merged */
    size_t services_count, services_capacity;
};

static void spans_deinit(struct spans *s)
{
    arena_deinit(&s->memory);
}

static int by_number(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

static int by_name(const void *a, const void *b)
{
    const struct service_summary *x = a, *y = b;
    return bytes_compare(x->name, y->name);
}

static uint32_t count_orphans(const struct spans *s)
{
    uint32_t orphans = 0;
    if (s->count == 0)
        return 0;
    qsort(s->ids, s->count, sizeof *s->ids, by_number);
    for (size_t i = 0; i < s->parents_count; i++)
        orphans += bsearch(&s->parents[i], s->ids, s->count, sizeof *s->ids, by_number) == NULL;
    return orphans;
}

static void merge_services(struct spans *s)
{
    size_t kept = 0;
    if (s->services_count == 0)
        return;
    qsort(s->services, s->services_count, sizeof *s->services, by_name);
    for (size_t i = 0; i < s->services_count; i++) {
        struct service_summary *last = kept == 0 ? NULL : &s->services[kept - 1];
        if (last != NULL && bytes_equal(last->name, s->services[i].name)) {
            last->spans += s->services[i].spans;
            last->errors += s->services[i].errors;
        } else {
            s->services[kept++] = s->services[i];
        }
    }
    s->services_count = kept;
}

static enum err add_span(struct spans *s, const struct otlp_items *it, const struct otlp_span *span)
{
    enum err e = search_grow(&s->memory, &s->ids, &s->ids_capacity, s->count + 1, sizeof *s->ids);
    if (e == ERR_OK)
        e = search_grow(&s->memory, &s->parents, &s->parents_capacity, s->parents_count + 1,
                        sizeof *s->parents);
    if (e == ERR_OK && it->is_new_resource)
        e = search_grow(&s->memory, &s->services, &s->services_capacity, s->services_count + 1,
                        sizeof *s->services);
    if (e != ERR_OK)
        return e;
    s->ids[s->count++] = load_le64(span->span_id.b);
    if (span->has_parent)
        s->parents[s->parents_count++] = load_le64(span->parent_span_id.b);
    if (it->is_new_resource)
        s->services[s->services_count++] =
            (struct service_summary){ .name = service_name(it->resource.resource) };
    s->services[s->services_count - 1].spans++;
    s->services[s->services_count - 1].errors += span->status.code == 2;
    return ERR_OK;
}

static enum err copy_services(const struct spans *s, struct arena *arena, struct trace_summary *out)
{
    out->services = arena_alloc_array(arena, s->services_count + 1, sizeof *out->services);
    if (out->services == NULL)
        return arena_failure(arena);
    for (size_t i = 0; i < s->services_count; i++) {
        out->services[i] = s->services[i];
        enum err e = arena_dup(arena, s->services[i].name, &out->services[i].name);
        if (e != ERR_OK)
            return e;
    }
    out->services_count = s->services_count;
    return ERR_OK;
}

/* The earliest span without a parent; of several at once the one with the smallest ID, bytewise. */
struct root {
    bool is_found;
    struct otlp_span span;
    struct bytes service;
};

static void root_consider(struct root *r, const struct otlp_items *it, const struct otlp_span *span)
{
    if (span->has_parent)
        return;
    if (r->is_found) {
        if (span->start_unix_ns > r->span.start_unix_ns)
            return;
        if (span->start_unix_ns == r->span.start_unix_ns &&
            memcmp(span->span_id.b, r->span.span_id.b, sizeof span->span_id.b) >= 0)
            return;
    }
    r->is_found = true;
    r->span = *span;
    r->service = service_name(it->resource.resource);
}

enum err trace_summarize(struct bytes traces_data, struct arena *arena, struct trace_summary *out)
{
    struct trace_summary t = { .start_unix_ns = UINT64_MAX };
    struct spans s = { 0 };
    struct root root = { 0 };
    enum err e = ERR_OK;
    arena_init(&s.memory, arena->limit_bytes, arena->budget);
    struct otlp_items it = otlp_items(traces_data);
    while (e == ERR_OK && otlp_items_next(&it)) {
        struct otlp_span span;
        otlp_span_read(it.item, &span);
        uint64_t end = span.start_unix_ns + otlp_span_duration_ns(&span);
        t.trace_id = span.trace_id;
        t.start_unix_ns =
            span.start_unix_ns < t.start_unix_ns ? span.start_unix_ns : t.start_unix_ns;
        t.end_unix_ns = end > t.end_unix_ns ? end : t.end_unix_ns;
        t.spans++;
        t.errors += span.status.code == 2;
        root_consider(&root, &it, &span);
        e = add_span(&s, &it, &span);
    }
    if (t.spans == 0)
        t.start_unix_ns = 0;
    if (e == ERR_OK) {
        t.orphans = count_orphans(&s);
        merge_services(&s);
        e = copy_services(&s, arena, &t);
    }
    if (e == ERR_OK && root.is_found) {
        t.has_root = true;
        e = arena_dup(arena, root.span.name, &t.root_name);
        if (e == ERR_OK)
            e = arena_dup(arena, root.service, &t.root_service);
    }
    spans_deinit(&s);
    if (e == ERR_OK)
        *out = t;
    return e;
}
