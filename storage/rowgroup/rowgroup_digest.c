/* SPDX-License-Identifier: Apache-2.0 */
/* Digests of a group: what says no for it without opening it.
 *
 * Of its values:  offset 0   u32   status codes seen, as in the header
 *                 offset 4   u8    signal
 *                 offset 5   3 B   0
 *                 offset 8   u64   duration_max, as in the header
 *                 offset 16        a filter as trace_filter.c makes it, over hashes of facts; where there are
 *                                  too many facts, none
 * Of its traces:  such a filter over hashes of the trace IDs
 * Of their extents: see extents.h
 *
 * They are made and read by one process and never stored. The first answers as filter_may_match() does, but
 * for a hit of the filter in about a hundred; a test compares both. Of a body that waits for its group there
 * is one of the first kind too, with twice the bits: each false hit is a body to look through. */
#include "storage/rowgroup/rowgroup_digest.h"
#include "storage/extents.h"
#include "storage/rowgroup/rowgroup_filter.h"
#include "storage/rowgroup/rowgroup_wire.h"

#include "base/mem.h"

#include <assert.h>

/* Of one column; a column with more may have any value. 2,700 users in 32,768 spans are worth it. */
#define VALUES_MAX 4096
/* Of a group; with 10.7 bits each that makes 11 KiB. A power of 2, as the next. */
#define FACTS_MAX 8192
/* Of a body, in which each value of each item is looked at; 87 KiB of what then is megabytes. */
#define BODY_FACTS_MIN 2048u
#define BODY_FACTS_MAX (16 * BODY_FACTS_MIN) /* so the first times 4 and 4 again */

#define TRACES_MAX 32768

/* ---- Making it */

struct facts {
    struct group *g; /* NULL: of a body */
    struct trace_id *list;
    uint32_t *slots; /* open addressing: fact + 1; twice as many as facts */
    uint32_t count, max;
    bool is_full;
    /* Of a body: attributes as they were sent, as nearly each comes many times. What was
     * left out has no data, so that does not tell an empty slot. */
    struct facts_seen {
        const uint8_t *data;
        uint32_t len, tag; /* place + 1, and a part of the hash; 0: an empty slot */
    } * seen;
    uint32_t seen_count;
};

static void fact_add(struct facts *f, enum digest_fact fact, enum digest_place place,
                     struct bytes key, struct bytes value)
{
    struct trace_id id = digest_fact_hash(fact, place, key, value);
    uint32_t mask = 2 * f->max - 1, slot = (uint32_t)load_le64(id.b + 8) & mask;
    for (; f->slots[slot] != 0; slot = (slot + 1) & mask)
        if (memcmp(f->list[f->slots[slot] - 1].b, id.b, sizeof id.b) == 0)
            return;
    if (f->count == f->max) {
        f->is_full = true;
        return;
    }
    f->list[f->count++] = id;
    f->slots[slot] = f->count;
}

/* The strings of a column: each, or that they are not listed. */
static void facts_of_strings(struct facts *f, uint32_t column, enum digest_place place,
                             struct bytes key)
{
    struct bytes none = bytes_of(NULL, 0);
    struct stream dictionary;
    if (group_stream_count(f->g, 0, column) > VALUES_MAX ||
        !group_peek(f->g, column, &dictionary)) {
        fact_add(f, FACT_OPEN, place, key, none);
        return;
    }
    for (uint32_t i = 0; i < dictionary.count && f->g->error == ERR_OK; i++)
        fact_add(f, FACT_VALUE, place, key, group_bytes(f->g, &dictionary, i));
}

static void facts_of_keys(struct facts *f)
{
    struct bytes none = bytes_of(NULL, 0);
    for (uint32_t k = 0; k < f->g->keys_count && f->g->error == ERR_OK && !f->is_full; k++) {
        const struct group_key *key = &f->g->keys[k];
        if (key->table == TABLE_BODY)
            continue;
        enum digest_place place = (enum digest_place)key->table;
        fact_add(f, FACT_KEY, place, key->name, none);
        if (key->type == OTLP_STRING)
            facts_of_strings(f, COLUMN_FIXED_COUNT + k, place, key->name);
        else
            fact_add(f, key->type == OTLP_ARRAY ? FACT_OPEN : FACT_OTHER, place, key->name, none);
    }
}

/* Whether this was at this place before, to the byte; remembered. */
static bool was_seen(struct facts *f, struct bytes one, enum digest_place place)
{
    uint64_t hash = wire_hash(one);
    uint32_t mask = 2 * f->max - 1, slot = (uint32_t)hash & mask;
    uint32_t tag = (uint32_t)(hash >> 32) << 8 | ((uint32_t)place + 1);
    for (; f->seen[slot].tag != 0; slot = (slot + 1) & mask)
        if (f->seen[slot].tag == tag &&
            wire_equal(bytes_of(f->seen[slot].data, f->seen[slot].len), one))
            return true;
    if (f->seen_count == f->max)
        f->is_full = true;
    else
        f->seen[slot] = (struct facts_seen){ one.data, (uint32_t)one.len, tag };
    f->seen_count++;
    return false;
}

static void facts_of_attribute(struct facts *f, struct bytes one, enum digest_place place)
{
    struct otlp_key_value kv;
    struct otlp_value v = { .type = OTLP_EMPTY };
    struct bytes none = bytes_of(NULL, 0);
    otlp_key_value_read(one, &kv);
    if (kv.has_value)
        otlp_value_read(kv.value, &v);
    fact_add(f, FACT_KEY, place, kv.key, none);
    if (v.type == OTLP_STRING)
        fact_add(f, FACT_VALUE, place, kv.key, v.bytes);
    else
        fact_add(f, v.type == OTLP_ARRAY ? FACT_OPEN : FACT_OTHER, place, kv.key, none);
}

static void facts_of_message(struct facts *f, struct bytes message, uint32_t number,
                             enum digest_place place)
{
    struct bytes one;
    if (message.len == 0)
        return;
    struct otlp_repeated all = otlp_repeated(message, number);
    while (!f->is_full && otlp_repeated_next(&all, &one))
        if (f->seen == NULL || !was_seen(f, one, place))
            facts_of_attribute(f, one, place);
}

static void facts_collect(struct facts *f)
{
    static const uint8_t columns[] = { COLUMN_NAME, COLUMN_STATUS_MESSAGE, COLUMN_EVENT_NAME };
    struct group *g = f->g;
    for (size_t i = 0; i < sizeof columns; i++)
        facts_of_strings(f, columns[i], PLACE_COLUMN, digest_column_key(&columns[i]));
    for (uint32_t i = 0; i < g->contexts_count && !f->is_full; i++) {
        facts_of_message(f, g->contexts[i].resource, OTLP_RESOURCE_ATTRIBUTES, PLACE_RESOURCE);
        facts_of_message(f, g->contexts[i].scope, OTLP_SCOPE_ATTRIBUTES, PLACE_SCOPE);
    }
    facts_of_keys(f);
}

/* Hashed otherwise than for the filter that lies beside the group. */
static struct trace_id trace_hash(const struct trace_id *id)
{
    static const uint64_t seed = UINT64_C(0x8A5CD789635D2DFF);
    struct trace_id hash;
    store_le64(hash.b, hash_bytes_seeded(bytes_of(id->b, sizeof id->b), seed));
    store_le64(hash.b + 8, 0);
    return hash;
}

static void traces_append(struct group *g, struct buffer *out)
{
    /* A trace that goes on in the next chunk stands in both. */
    size_t count = 0, max = (size_t)g->traces + g->chunks_count;
    struct trace_id *list = group_alloc(g, &g->rows, max, sizeof *list);
    for (uint32_t chunk = 0; chunk < g->chunks_count && g->error == ERR_OK; chunk++) {
        struct stream *ids = group_stream(g, 1 + chunk, COLUMN_TRACE_ID);
        for (uint32_t i = 0; ids != NULL && i < ids->count && g->error == ERR_OK; i++) {
            struct bytes id = group_bytes(g, ids, i);
            struct trace_id copy;
            if (id.len != sizeof copy.b || count == max) {
                group_fail(g, ERR_CORRUPT);
                return;
            }
            memcpy(copy.b, id.data, sizeof copy.b);
            list[count++] = trace_hash(&copy);
        }
    }
    if (g->error == ERR_OK)
        group_fail(g, trace_filter_build_small(list, count, out));
}

static void extents_append(struct group *g, struct buffer *out)
{
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = g->arena };
    enum err e = extents_make(&g->segment, &q, out);
    group_fail(g, e);
}

static void facts_append(struct group *g, struct buffer *out)
{
    struct facts f = { .g = g, .max = FACTS_MAX };
    f.list = group_alloc(g, &g->rows, FACTS_MAX, sizeof *f.list);
    f.slots = group_alloc(g, &g->rows, 2 * FACTS_MAX, sizeof *f.slots);
    if (g->error == ERR_OK)
        facts_collect(&f);
    if (g->error == ERR_OK && !f.is_full)
        group_fail(g, trace_filter_build_small(f.list, f.count, out));
}

static void values_append(struct group *g, struct buffer *out)
{
    uint8_t head[DIGEST_HEAD] = { 0 };
    if (!group_load(g))
        return;
    store_le32(head + DIGEST_STATUS, g->status_seen);
    head[DIGEST_SIGNAL] = (uint8_t)g->segment.bounds.signal;
    store_le64(head + DIGEST_DURATION, g->duration_max);
    buffer_append(out, head, sizeof head);
    facts_append(g, out);
}

enum err rowgroup_digest_make(struct segment *s, enum rowgroup_digest kind, struct buffer *out)
{
    struct group *g = (struct group *)(void *)s;
    if (g->error != ERR_OK) /* of its last use */
        return g->error;
    if (kind == ROWGROUP_DIGEST_VALUES)
        values_append(g, out);
    else if (s->bounds.signal != SIGNAL_TRACES || g->traces == 0 || g->traces > TRACES_MAX)
        return ERR_TOO_MANY;
    else if (kind == ROWGROUP_DIGEST_TRACES)
        traces_append(g, out);
    else
        extents_append(g, out);
    group_fail(g, buffer_error(out));
    return g->error;
}

/* ---- Making it of a body */

struct body_facts {
    struct facts facts;
    uint32_t status_seen;
    uint64_t duration_max;
};

/* Columns have places of their own among what was seen, so that a name is no attribute. */
static void fact_of_column(struct facts *f, uint8_t column, struct bytes value)
{
    if (!was_seen(f, value, (enum digest_place)(PLACE_COLUMN + 1 + column)))
        fact_add(f, FACT_VALUE, PLACE_COLUMN, digest_column_key(&column), value);
}

static void facts_of_event(struct facts *f, struct bytes message)
{
    struct otlp_event event;
    otlp_event_read(message, &event);
    fact_of_column(f, COLUMN_EVENT_NAME, event.name);
    facts_of_message(f, message, OTLP_EVENT_ATTRIBUTES, PLACE_EVENT);
}

/* A field that is sent twice adds both: more may match then, never less. */
static void facts_of_status(struct body_facts *b, struct bytes status)
{
    uint32_t tag;
    uint64_t value;
    struct bytes bytes;
    const uint8_t *at = status.data, *end = at + status.len;
    while (wire_next(&at, end, &tag, &value, &bytes)) {
        if (tag == WIRE_TAG(2, WIRE_LENGTH))
            fact_of_column(&b->facts, COLUMN_STATUS_MESSAGE, bytes);
        else if (tag == WIRE_TAG(3, WIRE_VARINT))
            b->status_seen |= UINT32_C(1) << ((uint32_t)value < 31 ? (uint32_t)value : 31);
    }
}

/* All in one pass. */
static void facts_of_span(struct body_facts *b, struct bytes item)
{
    struct facts *f = &b->facts;
    uint32_t tag;
    uint64_t value, start = 0, finish = 0;
    struct bytes bytes;
    const uint8_t *at = item.data, *end = at + item.len;
    while (wire_next(&at, end, &tag, &value, &bytes)) {
        switch (tag) {
        case WIRE_TAG(5, WIRE_LENGTH):
            fact_of_column(f, COLUMN_NAME, bytes);
            break;
        case WIRE_TAG(7, WIRE_FIXED64):
            start = value;
            break;
        case WIRE_TAG(8, WIRE_FIXED64):
            finish = value;
            break;
        case WIRE_TAG(OTLP_SPAN_ATTRIBUTES, WIRE_LENGTH):
            if (!was_seen(f, bytes, PLACE_ITEM))
                facts_of_attribute(f, bytes, PLACE_ITEM);
            break;
        case WIRE_TAG(OTLP_SPAN_EVENTS, WIRE_LENGTH):
            facts_of_event(f, bytes);
            break;
        case WIRE_TAG(OTLP_SPAN_LINKS, WIRE_LENGTH):
            facts_of_message(f, bytes, OTLP_LINK_ATTRIBUTES, PLACE_LINK);
            break;
        case WIRE_TAG(15, WIRE_LENGTH):
            facts_of_status(b, bytes);
            break;
        default:
            break;
        }
    }
    if (finish > start && finish - start > b->duration_max)
        b->duration_max = finish - start;
}

static void facts_of_log(struct body_facts *b, struct bytes item)
{
    struct otlp_log log;
    otlp_log_read(item, &log);
    fact_of_column(&b->facts, COLUMN_NAME, log.event_name);
    fact_of_column(&b->facts, COLUMN_STATUS_MESSAGE, log.severity_text);
    facts_of_message(&b->facts, item, OTLP_LOG_ATTRIBUTES, PLACE_ITEM);
}

static void facts_of_body(struct body_facts *b, enum signal signal, struct bytes body)
{
    struct facts *f = &b->facts;
    struct otlp_items it = otlp_items(body);
    while (!f->is_full && otlp_items_next(&it)) {
        if (it.is_new_resource)
            facts_of_message(f, it.resource.resource, OTLP_RESOURCE_ATTRIBUTES, PLACE_RESOURCE);
        if (it.is_new_scope)
            facts_of_message(f, it.scope.scope, OTLP_SCOPE_ATTRIBUTES, PLACE_SCOPE);
        if (signal == SIGNAL_TRACES)
            facts_of_span(b, it.item);
        else
            facts_of_log(b, it.item);
    }
}

static void body_facts_free(struct body_facts *b)
{
    mem_free(b->facts.list);
    mem_free(b->facts.slots);
    mem_free(b->facts.seen);
}

static enum err body_facts_collect(struct body_facts *b, uint32_t max, enum signal signal,
                                   struct bytes body)
{
    *b = (struct body_facts){ .facts = { .max = max } };
    struct facts *f = &b->facts;
    f->list = mem_alloc_array(max, sizeof *f->list);
    f->slots = mem_alloc_array(2 * (size_t)max, sizeof *f->slots);
    f->seen = mem_alloc_array(2 * (size_t)max, sizeof *f->seen);
    if (f->list == NULL || f->slots == NULL || f->seen == NULL)
        return ERR_NOMEM;
    /* What a span says by leaving it out. */
    b->status_seen = 1;
    fact_of_column(f, COLUMN_NAME, bytes_of(NULL, 0));
    fact_of_column(f, COLUMN_STATUS_MESSAGE, bytes_of(NULL, 0));
    facts_of_body(b, signal, body);
    return ERR_OK;
}

/* Tables for few facts first: most bodies have no more, and larger ones are slower in any case. */
enum err rowgroup_digest_of_body(enum signal signal, struct bytes body, struct buffer *out)
{
    struct body_facts b;
    uint8_t head[DIGEST_HEAD] = { 0 };
    uint32_t max = BODY_FACTS_MIN;
    enum err e = body_facts_collect(&b, max, signal, body);
    while (e == ERR_OK && b.facts.is_full && max < BODY_FACTS_MAX) {
        body_facts_free(&b);
        max *= 4;
        e = body_facts_collect(&b, max, signal, body);
    }
    if (e == ERR_OK) {
        store_le32(head + DIGEST_STATUS, b.status_seen);
        head[DIGEST_SIGNAL] = (uint8_t)signal;
        store_le64(head + DIGEST_DURATION, b.duration_max);
        buffer_append(out, head, sizeof head);
    }
    if (e == ERR_OK && !b.facts.is_full) /* without a filter nothing is asked of the head either */
        e = trace_filter_build(b.facts.list, b.facts.count, out);
    body_facts_free(&b);
    return e == ERR_OK ? buffer_error(out) : e;
}

bool rowgroup_digest_may_contain(struct bytes digest, const struct trace_id *id)
{
    struct trace_id hash = trace_hash(id);
    return trace_filter_may_contain(digest, &hash);
}
