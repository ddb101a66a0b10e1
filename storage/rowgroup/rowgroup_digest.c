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
 *
 * They are made and read by one process and never stored. The first answers as filter_may_match() does, but
 * for a hit of the filter in about a hundred; a test compares both. Of a body that waits for its group there
 * is one of the first kind too. */
#include "storage/rowgroup/rowgroup_filter.h"

#include "base/mem.h"

#include <assert.h>

enum { DIGEST_STATUS = 0, DIGEST_SIGNAL = 4, DIGEST_DURATION = 8, DIGEST_HEAD = 16 };

/* Of one column; a column with more may have any value. 2,700 users in 32,768 spans are worth it. */
#define VALUES_MAX 4096
/* Of a group; with 10.7 bits each that makes 11 KiB. A power of 2, as the next. */
#define FACTS_MAX 8192
/* Of a body, in which each value of each item is looked at; 87 KiB of what then is megabytes. */
#define BODY_FACTS_MAX 65536u

#define TRACES_MAX 32768

/* Where a key is. */
enum place {
    PLACE_ITEM = TABLE_ITEM,
    PLACE_EVENT = TABLE_EVENT,
    PLACE_LINK = TABLE_LINK,
    PLACE_RESOURCE = TABLE_COUNT + 1,
    PLACE_SCOPE,
    PLACE_COLUMN /* a fixed column: its number is the key */
};

/* What is known of a key at a place. */
enum fact {
    FACT_KEY,   /* some row has it */
    FACT_VALUE, /* with this string */
    FACT_OPEN,  /* with strings, or arrays, that are not listed */
    FACT_OTHER  /* with values that are neither */
};

/* In the form of what the filter is made for. */
static struct trace_id hash_of(enum fact fact, enum place place, struct bytes key,
                               struct bytes value)
{
    struct trace_id id;
    uint64_t seed = hash_bytes_seeded(key, (uint64_t)fact << 8 | (uint64_t)place);
    store_le64(id.b, seed);
    store_le64(id.b + 8, hash_bytes_seeded(value, seed));
    return id;
}

static struct bytes column_key(const uint8_t *column)
{
    return bytes_of(column, 1);
}

/* ---- Making it */

struct facts {
    struct group *g; /* NULL: of a body */
    struct trace_id *list;
    uint32_t *slots; /* open addressing: fact + 1; twice as many as facts */
    uint32_t count, max;
    bool is_full;
    /* Of a body: attributes as they were sent, as nearly each comes many times. */
    struct facts_seen {
        const uint8_t *data;
        uint32_t len, hash;
    } * seen;
    uint32_t seen_count;
};

static void fact_add(struct facts *f, enum fact fact, enum place place, struct bytes key,
                     struct bytes value)
{
    struct trace_id id = hash_of(fact, place, key, value);
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
static void facts_of_strings(struct facts *f, uint32_t column, enum place place, struct bytes key)
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
        enum place place = (enum place)key->table;
        fact_add(f, FACT_KEY, place, key->name, none);
        if (key->type == OTLP_STRING)
            facts_of_strings(f, COLUMN_FIXED_COUNT + k, place, key->name);
        else
            fact_add(f, key->type == OTLP_ARRAY ? FACT_OPEN : FACT_OTHER, place, key->name, none);
    }
}

/* Whether this attribute was there before, to the byte; remembered. Of a group, whose are few: not asked. */
static bool was_seen(struct facts *f, struct bytes one, enum place place)
{
    if (f->seen == NULL)
        return false;
    uint32_t mask = 2 * f->max - 1;
    uint32_t hash = (uint32_t)hash_bytes_seeded(one, place), slot = hash & mask;
    for (; f->seen[slot].data != NULL; slot = (slot + 1) & mask)
        if (f->seen[slot].hash == hash && f->seen[slot].len == one.len &&
            memcmp(f->seen[slot].data, one.data, one.len) == 0)
            return true;
    if (f->seen_count == f->max)
        f->is_full = true;
    else
        f->seen[slot] = (struct facts_seen){ one.data, (uint32_t)one.len, hash };
    f->seen_count++;
    return false;
}

static void facts_of_message(struct facts *f, struct bytes message, uint32_t number,
                             enum place place)
{
    struct bytes one, none = bytes_of(NULL, 0);
    if (message.len == 0)
        return;
    struct otlp_repeated all = otlp_repeated(message, number);
    while (!f->is_full && otlp_repeated_next(&all, &one)) {
        struct otlp_key_value kv;
        if (was_seen(f, one, place))
            continue;
        struct otlp_value v = { .type = OTLP_EMPTY };
        otlp_key_value_read(one, &kv);
        if (kv.has_value)
            otlp_value_read(kv.value, &v);
        fact_add(f, FACT_KEY, place, kv.key, none);
        if (v.type == OTLP_STRING)
            fact_add(f, FACT_VALUE, place, kv.key, v.bytes);
        else
            fact_add(f, v.type == OTLP_ARRAY ? FACT_OPEN : FACT_OTHER, place, kv.key, none);
    }
}

static void facts_collect(struct facts *f)
{
    static const uint8_t columns[] = { COLUMN_NAME, COLUMN_STATUS_MESSAGE, COLUMN_EVENT_NAME };
    struct group *g = f->g;
    for (size_t i = 0; i < sizeof columns; i++)
        facts_of_strings(f, columns[i], PLACE_COLUMN, column_key(&columns[i]));
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
        group_fail(g, trace_filter_build(list, count, out));
}

static void facts_append(struct group *g, struct buffer *out)
{
    struct facts f = { .g = g, .max = FACTS_MAX };
    f.list = group_alloc(g, &g->rows, FACTS_MAX, sizeof *f.list);
    f.slots = group_alloc(g, &g->rows, 2 * FACTS_MAX, sizeof *f.slots);
    if (g->error == ERR_OK)
        facts_collect(&f);
    if (g->error == ERR_OK && !f.is_full)
        group_fail(g, trace_filter_build(f.list, f.count, out));
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
    else
        traces_append(g, out);
    group_fail(g, buffer_error(out));
    return g->error;
}

/* ---- Making it of a body */

struct body_facts {
    struct facts facts;
    uint32_t status_seen;
    uint64_t duration_max;
};

static void fact_of_column(struct facts *f, uint8_t column, struct bytes value)
{
    fact_add(f, FACT_VALUE, PLACE_COLUMN, column_key(&column), value);
}

static void facts_of_events(struct facts *f, struct bytes span)
{
    struct otlp_repeated all = otlp_repeated(span, OTLP_SPAN_EVENTS);
    struct bytes one;
    while (otlp_repeated_next(&all, &one)) {
        struct otlp_event event;
        otlp_event_read(one, &event);
        fact_of_column(f, COLUMN_EVENT_NAME, event.name);
        facts_of_message(f, one, OTLP_EVENT_ATTRIBUTES, PLACE_EVENT);
    }
}

static void facts_of_span(struct body_facts *b, struct bytes item)
{
    struct facts *f = &b->facts;
    struct otlp_span span;
    otlp_span_read(item, &span);
    uint32_t code = span.status.code;
    uint64_t duration = otlp_span_duration_ns(&span);
    b->status_seen |= UINT32_C(1) << (code < 31 ? code : 31);
    b->duration_max = duration > b->duration_max ? duration : b->duration_max;
    fact_of_column(f, COLUMN_NAME, span.name);
    fact_of_column(f, COLUMN_STATUS_MESSAGE, span.status.message);
    if (span.attributes_count > 0)
        facts_of_message(f, item, OTLP_SPAN_ATTRIBUTES, PLACE_ITEM);
    if (span.events_count > 0)
        facts_of_events(f, item);
    struct otlp_repeated links = otlp_repeated(item, OTLP_SPAN_LINKS);
    struct bytes link;
    while (span.links_count > 0 && otlp_repeated_next(&links, &link))
        facts_of_message(f, link, OTLP_LINK_ATTRIBUTES, PLACE_LINK);
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

/* As many facts as there may be in it: an attribute takes four bytes at least. */
static uint32_t body_facts_max(struct bytes body)
{
    uint32_t max = 256;
    while (max < BODY_FACTS_MAX && max < body.len / 16)
        max *= 2;
    return max;
}

enum err rowgroup_digest_of_body(enum signal signal, struct bytes body, struct buffer *out)
{
    uint32_t max = body_facts_max(body);
    struct body_facts b = { .facts = { .max = max } };
    struct facts *f = &b.facts;
    uint8_t head[DIGEST_HEAD] = { 0 };
    f->list = mem_alloc_array(max, sizeof *f->list);
    f->slots = mem_alloc_array(2 * (size_t)max, sizeof *f->slots);
    f->seen = mem_alloc_array(2 * (size_t)max, sizeof *f->seen);
    enum err e = f->list == NULL || f->slots == NULL || f->seen == NULL ? ERR_NOMEM : ERR_OK;
    if (e == ERR_OK) {
        facts_of_body(&b, signal, body);
        store_le32(head + DIGEST_STATUS, f->is_full ? UINT32_MAX : b.status_seen);
        head[DIGEST_SIGNAL] = (uint8_t)signal;
        store_le64(head + DIGEST_DURATION, f->is_full ? UINT64_MAX : b.duration_max);
        buffer_append(out, head, sizeof head);
        e = f->is_full ? ERR_OK : trace_filter_build(f->list, f->count, out);
    }
    mem_free(f->list);
    mem_free(f->slots);
    mem_free(f->seen);
    return e == ERR_OK ? buffer_error(out) : e;
}

/* ---- Asking it */

static bool has(struct bytes digest, enum fact fact, enum place place, struct bytes key,
                struct bytes value)
{
    struct trace_id id = hash_of(fact, place, key, value);
    return trace_filter_may_contain(bytes_slice(digest, DIGEST_HEAD, digest.len - DIGEST_HEAD),
                                    &id);
}

/* Of a key that is there, or of a fixed column. */
static bool values_may(struct bytes digest, enum place place, struct bytes key,
                       const struct expr *part)
{
    struct bytes none = bytes_of(NULL, 0);
    if ((part->op != EXPR_EQ && part->op != EXPR_TEXT_EQ) || part->right->value.type != EXPR_STRING)
        return true;
    return has(digest, FACT_VALUE, place, key, part->right->value.bytes) ||
           has(digest, FACT_OPEN, place, key, none) ||
           (part->op == EXPR_TEXT_EQ && has(digest, FACT_OTHER, place, key, none));
}

static bool place_may(struct bytes digest, enum place place, const struct expr *part)
{
    struct bytes key = part->left->key;
    return has(digest, FACT_KEY, place, key, bytes_of(NULL, 0)) &&
           values_may(digest, place, key, part);
}

static bool attribute_may(struct bytes digest, bool is_spans, const struct expr *part)
{
    switch (part->left->scope) {
    case EXPR_SCOPE_ANY:
        return place_may(digest, PLACE_ITEM, part) || place_may(digest, PLACE_RESOURCE, part);
    case EXPR_SCOPE_SPAN:
    case EXPR_SCOPE_LOG:
        return is_spans == (part->left->scope == EXPR_SCOPE_SPAN) &&
               place_may(digest, PLACE_ITEM, part);
    case EXPR_SCOPE_RESOURCE:
        return place_may(digest, PLACE_RESOURCE, part);
    case EXPR_SCOPE_INSTRUMENTATION:
        return place_may(digest, PLACE_SCOPE, part);
    case EXPR_SCOPE_EVENT:
        return place_may(digest, PLACE_EVENT, part);
    case EXPR_SCOPE_LINK:
        return place_may(digest, PLACE_LINK, part);
    case EXPR_SCOPE_EVERYWHERE:
        return place_may(digest, PLACE_ITEM, part) || place_may(digest, PLACE_EVENT, part) ||
               place_may(digest, PLACE_LINK, part) || place_may(digest, PLACE_RESOURCE, part) ||
               place_may(digest, PLACE_SCOPE, part);
    case EXPR_SCOPE_INTRINSIC:
        break;
    }
    return true;
}

static bool column_may(struct bytes digest, uint8_t column, const struct expr *part)
{
    return values_may(digest, PLACE_COLUMN, column_key(&column), part);
}

static bool intrinsic_may(struct bytes digest, bool is_spans, const struct expr *part)
{
    switch (part->left->intrinsic) {
    case EXPR_INTRINSIC_SPAN_NAME:
        return is_spans && column_may(digest, COLUMN_NAME, part);
    case EXPR_INTRINSIC_LOG_EVENT_NAME:
        return !is_spans && column_may(digest, COLUMN_NAME, part);
    case EXPR_INTRINSIC_SPAN_STATUS_MESSAGE:
        return is_spans && column_may(digest, COLUMN_STATUS_MESSAGE, part);
    case EXPR_INTRINSIC_LOG_SEVERITY_TEXT:
        return !is_spans && column_may(digest, COLUMN_STATUS_MESSAGE, part);
    case EXPR_INTRINSIC_EVENT_NAME:
        return is_spans && column_may(digest, COLUMN_EVENT_NAME, part);
    case EXPR_INTRINSIC_SPAN_STATUS:
        return is_spans && filter_status_may(load_le32(digest.data + DIGEST_STATUS), part);
    case EXPR_INTRINSIC_SPAN_DURATION:
        return is_spans && filter_duration_may(load_le64(digest.data + DIGEST_DURATION), part);
    default:
        return true;
    }
}

bool rowgroup_digest_may_match(struct bytes digest, const struct expr *filter)
{
    assert(digest.len >= DIGEST_HEAD);
    bool is_spans = digest.data[DIGEST_SIGNAL] == SIGNAL_TRACES;
    const struct expr *parts[16]; /* more of them prune no worse for being left out */
    size_t count = expr_required(filter, parts, sizeof parts / sizeof parts[0]);
    if (digest.len == DIGEST_HEAD)
        return true;
    for (size_t i = 0; i < count; i++) {
        bool may = parts[i]->left->scope == EXPR_SCOPE_INTRINSIC
                       ? intrinsic_may(digest, is_spans, parts[i])
                       : attribute_may(digest, is_spans, parts[i]);
        if (!may)
            return false;
    }
    return true;
}

bool rowgroup_digest_may_contain(struct bytes digest, const struct trace_id *id)
{
    struct trace_id hash = trace_hash(id);
    return trace_filter_may_contain(digest, &hash);
}
