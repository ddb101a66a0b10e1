/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/workload.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/random.h"
#include "bench/truth.h"
#include "bench/workload_private.h"

#include <assert.h>

/* What is known of each workload before it is opened. */
static const struct {
    const char *name;
    uint64_t spans;       /* its own size */
    uint64_t spans_per_s; /* of its own clock */
    enum err (*open)(const struct workload_options *o, struct span_source **out);
} kinds[WORKLOAD_COUNT] = {
    [WORKLOAD_W1] = { "w1", 10000000, 10000, shop_open },
    [WORKLOAD_W2] = { "w2", 10000000, 10000, shop_open },
    [WORKLOAD_W3] = { "w3", 10000000, 1333333, tracegen_open },
    [WORKLOAD_W4] = { "w4", 200000, 10000, shop_open },
};

#define BATCH_BYTES_MAX                                                                            \
    (256u << 20) /* 8,192 spans of W4 with a value of 100 KiB every 100th are 11 MiB */

/* One span of the batch under way: where its bytes lie in `spans`, and which of its group comes
 * next. */
struct batch_item {
    uint32_t offset, len;
    uint32_t next; /* item number + 1 of the next one in the group, or 0 */
};

struct batch_group {
    uint32_t first, last; /* item number + 1, or 0 */
    size_t bytes;         /* of its spans, with their tags */
};

struct workload {
    struct workload_options options;
    struct span_source *source;
    struct bytes *services;     /* [resource_count], borrowed from the resources */
    struct batch_group *groups; /* [resource_count] */
    uint32_t *order;            /* [batch] groups, as they appeared */
    struct batch_item *items;   /* [batch] */
    struct buffer spans;
    struct buffer last; /* W4: the last request, which may be sent again */
    uint32_t last_spans;
    struct random resend_random;
    struct workload_totals totals;
    struct truth truth;
};

bool workload_from_name(struct bytes name, enum workload_kind *out)
{
    for (unsigned i = 0; i < WORKLOAD_COUNT; i++) {
        if (bytes_equal_text(name, kinds[i].name)) {
            *out = (enum workload_kind)i;
            return true;
        }
    }
    return false;
}

const char *workload_name(enum workload_kind kind)
{
    return kinds[kind].name;
}

uint64_t workload_spans_per_s(enum workload_kind kind)
{
    return kinds[kind].spans_per_s;
}

enum err workload_open(const struct workload_options *options, struct workload **out)
{
    if (options->kind >= WORKLOAD_COUNT || options->batch > WORKLOAD_BATCH_MAX)
        return ERR_INVALID;
    struct workload *w = mem_zalloc(sizeof *w);
    if (w == NULL)
        return ERR_NOMEM;
    w->options = *options;
    struct workload_options *o = &w->options;
    if (o->spans == 0)
        o->spans = kinds[o->kind].spans;
    if (o->batch == 0)
        o->batch = 512;
    if (o->base_unix_ns == 0)
        o->base_unix_ns = WORKLOAD_BASE_UNIX_NS;
    buffer_init(&w->spans, BATCH_BYTES_MAX);
    buffer_init(&w->last, BATCH_BYTES_MAX);
    random_init(&w->resend_random, 4);
    truth_init(&w->truth);
    enum err e = kinds[o->kind].open(o, &w->source);
    if (e != ERR_OK)
        goto fail;
    uint32_t count = w->source->resource_count;
    w->services = mem_alloc_array(count, sizeof *w->services);
    w->groups = mem_alloc_array(count, sizeof *w->groups);
    w->order = mem_alloc_array(o->batch, sizeof *w->order);
    w->items = mem_alloc_array(o->batch, sizeof *w->items);
    e = ERR_NOMEM;
    if (w->services == NULL || w->groups == NULL || w->order == NULL || w->items == NULL)
        goto fail;
    for (uint32_t i = 0; i < count; i++)
        w->services[i] = otlp_service_name(w->source->resources[i]);
    *out = w;
    return ERR_OK;

fail:
    workload_close(w);
    return e;
}

void workload_close(struct workload *w)
{
    if (w == NULL)
        return;
    if (w->source != NULL)
        w->source->close(w->source);
    truth_deinit(&w->truth);
    buffer_deinit(&w->spans);
    buffer_deinit(&w->last);
    mem_free(w->services);
    mem_free(w->groups);
    mem_free(w->order);
    mem_free(w->items);
    mem_free(w);
}

static enum err count_span(struct workload *w, const struct span_facts *facts, struct bytes span)
{
    if (facts->is_resend) {
        w->totals.spans_resent++;
        return ERR_OK;
    }
    w->totals.spans++;
    w->totals.errors += facts->is_error;
    w->totals.span_hash = hash_bytes_seeded(span, w->totals.span_hash);
    if (!w->options.keeps_truth)
        return ERR_OK;
    const struct truth_span truth = {
        .service = w->services[facts->group],
        .name = facts->name,
        .kind = facts->kind,
        .status = facts->is_error ? STATUS_ERROR : STATUS_UNSET,
        .duration_ns = facts->end_unix_ns > facts->start_unix_ns
                           ? facts->end_unix_ns - facts->start_unix_ns
                           : 0,
        .trace_id = facts->trace_id,
        .callee = facts->callee,
        .callee_has_error = facts->callee_has_error,
    };
    return truth_add(&w->truth, &truth);
}

/* Take spans from the source until the request is full or all have been given. */
static enum err batch_fill(struct workload *w, uint32_t *out_items, uint32_t *out_groups)
{
    uint32_t items = 0, groups = 0;
    buffer_reset(&w->spans);
    while (items < w->options.batch && w->totals.spans < w->options.spans) {
        struct span_facts facts;
        size_t offset = w->spans.len;
        enum err e = w->source->next(w->source, &w->spans, &facts);
        struct bytes span = bytes_slice(buffer_bytes(&w->spans), offset, w->spans.len);
        if (e == ERR_OK)
            e = count_span(w, &facts, span);
        if (e != ERR_OK)
            return e;
        assert(facts.group < w->source->resource_count);
        struct batch_group *group = &w->groups[facts.group];
        if (group->first == 0) {
            w->order[groups++] = facts.group;
            group->first = items + 1;
        } else {
            w->items[group->last - 1].next = items + 1;
        }
        group->last = items + 1;
        group->bytes += 1 + varint_size(span.len) + span.len;
        w->items[items++] =
            (struct batch_item){ .offset = (uint32_t)offset, .len = (uint32_t)span.len };
    }
    *out_items = items;
    *out_groups = groups;
    return ERR_OK;
}

/* ResourceSpans{resource=1, scope_spans=2: ScopeSpans{scope=1, spans=2}}, and the group is empty
 * again. */
static void write_group(struct workload *w, uint32_t number, struct buffer *out)
{
    struct batch_group *group = &w->groups[number];
    struct bytes resource = w->source->resources[number], scope = w->source->scope;
    size_t scope_spans = 1 + varint_size(scope.len) + scope.len + group->bytes;
    size_t resource_spans =
        1 + varint_size(resource.len) + resource.len + 1 + varint_size(scope_spans) + scope_spans;
    size_t total = 1 + varint_size(resource_spans) + resource_spans;
    uint8_t *p = buffer_reserve(out, total);
    if (p != NULL) {
        buffer_grew(out, total);
        *p++ = 0x0a;
        p = put_varint(p, resource_spans);
        p = put_bytes(p, 0x0a, resource.data, resource.len);
        *p++ = 0x12;
        p = put_varint(p, scope_spans);
        p = put_bytes(p, 0x0a, scope.data, scope.len);
        for (uint32_t i = group->first; i != 0; i = w->items[i - 1].next)
            p = put_bytes(p, 0x12, w->spans.data + w->items[i - 1].offset, w->items[i - 1].len);
        assert(p == out->data + out->len);
    }
    *group = (struct batch_group){ 0 };
}

enum err workload_next(struct workload *w, struct buffer *out, struct workload_request *out_request)
{
    bool is_hostile = w->options.kind == WORKLOAD_W4;
    if (w->last_spans != 0 && random_below(&w->resend_random, 20) == 0) {
        buffer_append_bytes(out, buffer_bytes(&w->last));
        w->totals.requests++;
        w->totals.spans_resent += w->last_spans;
        w->totals.request_bytes += w->last.len;
        *out_request = (struct workload_request){ .spans = w->last_spans, .is_resend = true };
        w->last_spans = 0;
        return buffer_error(out);
    }
    uint32_t items = 0, groups = 0;
    size_t before = out->len;
    enum err e = batch_fill(w, &items, &groups);
    if (e != ERR_OK)
        return e;
    if (items == 0)
        return ERR_NOT_FOUND;
    for (uint32_t i = 0; i < groups; i++)
        write_group(w, w->order[i], out);
    if (buffer_error(out) != ERR_OK)
        return buffer_error(out);
    if (is_hostile) {
        buffer_reset(&w->last);
        buffer_append_bytes(&w->last, bytes_slice(buffer_bytes(out), before, out->len));
        w->last_spans = buffer_error(&w->last) == ERR_OK ? items : 0;
    }
    w->totals.requests++;
    w->totals.request_bytes += out->len - before;
    *out_request = (struct workload_request){ .spans = items };
    return ERR_OK;
}

void workload_totals(const struct workload *w, struct workload_totals *out)
{
    *out = w->totals;
}

enum err workload_truth(const struct workload *w, struct buffer *out)
{
    struct json_writer json;
    json_init(&json, out);
    json_object_begin(&json);
    json_key(&json, "workload");
    json_text(&json, workload_name(w->options.kind));
    json_key(&json, "batch");
    json_u64(&json, w->options.batch);
    json_key(&json, "spans");
    json_u64(&json, w->totals.spans);
    json_key(&json, "spans_resent");
    json_u64(&json, w->totals.spans_resent);
    json_key(&json, "errors");
    json_u64(&json, w->totals.errors);
    json_key(&json, "requests");
    json_u64(&json, w->totals.requests);
    json_key(&json, "request_bytes");
    json_u64(&json, w->totals.request_bytes);
    json_key(&json, "span_hash");
    uint8_t hash[8];
    store_le64(hash, __builtin_bswap64(w->totals.span_hash));
    json_hex(&json, bytes_of(hash, sizeof hash));
    truth_write(&w->truth, &json);
    json_object_end(&json);
    return buffer_error(out);
}

size_t workload_sample(const struct workload *w, uint8_t *out, size_t max)
{
    const struct truth_sample *sample = &w->truth.sample;
    size_t count = sample->count < max ? sample->count : max;
    for (size_t i = 0; i < count; i++)
        memcpy(out + 16 * i, sample->ids[i].b, 16);
    return count;
}
