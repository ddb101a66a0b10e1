/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/content_hash.h"

/* What is hashed is a serial form of our own, in which every part is either of fixed size or
 * preceded by its length, so that two different items never give the same run of bytes. */

enum {
    BLOCK_BYTES = 512,
    NESTED_MAX = 128, /* levels of values followed; otlp_check() admits 64 by default */
    MARK_END = 0xfe,
    MARK_ABSENT = 0xfd
};

/* A run of any length through a fixed block: when the block is full its hash takes its place. */
struct run {
    const struct hash_key *key;
    size_t used;
    uint8_t block[BLOCK_BYTES];
};

static void run_start(struct run *r, const struct hash_key *key)
{
    r->key = key;
    r->used = 0;
}

static void put_hash(struct run *r, struct hash128 h);

static void put_raw(struct run *r, const void *data, size_t len)
{
    const uint8_t *from = data;
    while (len > 0) {
        if (r->used == BLOCK_BYTES) {
            struct hash128 h = hash_bytes_keyed(r->key, bytes_of(r->block, BLOCK_BYTES));
            r->used = 0;
            put_hash(r, h);
        }
        size_t room = BLOCK_BYTES - r->used;
        size_t n = len < room ? len : room;
        memcpy(r->block + r->used, from, n);
        r->used += n;
        from += n;
        len -= n;
    }
}

static void put_u8(struct run *r, uint8_t v)
{
    put_raw(r, &v, 1);
}

static void put_u64(struct run *r, uint64_t v)
{
    uint8_t le[8];
    if (BLOCK_BYTES - r->used >= sizeof le) { /* nearly always */
        store_le64(r->block + r->used, v);
        r->used += sizeof le;
        return;
    }
    store_le64(le, v);
    put_raw(r, le, sizeof le);
}

static void put_hash(struct run *r, struct hash128 h)
{
    put_u64(r, h.low);
    put_u64(r, h.high);
}

static void put_bytes(struct run *r, struct bytes b)
{
    put_u64(r, b.len);
    put_raw(r, b.data, b.len);
}

static struct hash128 run_end(const struct run *r)
{
    return hash_bytes_keyed(r->key, bytes_of(r->block, r->used));
}

static bool is_container(enum otlp_value_type type)
{
    return type == OTLP_ARRAY || type == OTLP_KVLIST;
}

/* Type and payload; of a container the type alone. */
static void put_scalar(struct run *r, const struct otlp_value *v)
{
    put_u8(r, (uint8_t)v->type);
    switch (v->type) {
    case OTLP_STRING:
    case OTLP_BYTES:
        put_bytes(r, v->bytes);
        break;
    case OTLP_BOOL:
        put_u8(r, v->boolean);
        break;
    case OTLP_INT:
        put_u64(r, (uint64_t)v->integer);
        break;
    case OTLP_DOUBLE: {
        uint64_t bits; /* not the number: -0.0 and every NaN stay themselves */
        memcpy(&bits, &v->number, sizeof bits);
        put_u64(r, bits);
        break;
    }
    case OTLP_EMPTY:
    case OTLP_ARRAY:
    case OTLP_KVLIST:
        break;
    }
}

static void put_container(struct run *r, const struct otlp_value *container)
{
    struct {
        struct otlp_repeated elements;
        bool is_map;
    } open[NESTED_MAX];
    size_t depth = 0;

    open[depth].elements = otlp_repeated(container->bytes, OTLP_VALUES);
    open[depth].is_map = container->type == OTLP_KVLIST;
    depth++;
    while (depth > 0) {
        struct bytes element;
        if (!otlp_repeated_next(&open[depth - 1].elements, &element)) {
            put_u8(r, MARK_END);
            depth--;
            continue;
        }
        if (open[depth - 1].is_map) {
            struct otlp_key_value kv;
            otlp_key_value_read(element, &kv);
            put_bytes(r, kv.key);
            if (!kv.has_value) {
                put_u8(r, MARK_ABSENT);
                continue;
            }
            element = kv.value;
        }
        struct otlp_value v;
        otlp_value_read(element, &v);
        put_scalar(r, &v);
        if (!is_container(v.type))
            continue;
        if (depth == NESTED_MAX) {
            put_bytes(r, v.bytes);
            continue;
        }
        open[depth].elements = otlp_repeated(v.bytes, OTLP_VALUES);
        open[depth].is_map = v.type == OTLP_KVLIST;
        depth++;
    }
}

static void put_value(struct run *r, struct bytes any_value)
{
    struct otlp_value v;
    otlp_value_read(any_value, &v);
    put_scalar(r, &v);
    if (is_container(v.type))
        put_container(r, &v);
}

/* A sum of hashes: the same whatever the order. The key is secret, so nobody can choose terms. */
struct set {
    struct hash128 sum;
    uint64_t count;
};

static void set_add(struct set *s, struct hash128 h)
{
    s->sum.low += h.low;
    s->sum.high += h.high;
    s->count++;
}

static void put_set(struct run *r, const struct set *s)
{
    put_u64(r, s->count);
    put_hash(r, s->sum);
}

static struct hash128 attribute_hash(struct run *scratch, struct bytes key_value)
{
    struct otlp_key_value kv;
    otlp_key_value_read(key_value, &kv);
    scratch->used = 0;
    put_bytes(scratch, kv.key);
    if (kv.has_value)
        put_value(scratch, kv.value);
    else
        put_u8(scratch, MARK_ABSENT);
    return run_end(scratch);
}

static void put_attributes(struct run *r, struct run *scratch, struct bytes message,
                           uint32_t number)
{
    struct set attributes = { 0 };
    struct otlp_repeated all = otlp_repeated(message, number);
    struct bytes kv;
    while (otlp_repeated_next(&all, &kv))
        set_add(&attributes, attribute_hash(scratch, kv));
    put_set(r, &attributes);
}

struct hash128 content_hash_group(const struct hash_key *key, struct bytes resource,
                                  struct bytes resource_schema_url, struct bytes scope,
                                  struct bytes scope_schema_url)
{
    struct run r, scratch;
    run_start(&r, key);
    run_start(&scratch, key);

    put_attributes(&r, &scratch, resource, OTLP_RESOURCE_ATTRIBUTES);
    struct otlp_fields fields = otlp_fields(resource);
    struct otlp_field f;
    uint64_t dropped = 0;
    while (otlp_fields_next(&fields, &f)) {
        if (f.number == 2 && f.wire_type == 0) /* dropped_attributes_count */
            dropped = f.value;
        else if (f.number == 3 && f.wire_type == 2) /* entity_refs: kept as they are */
            put_bytes(&r, f.bytes);
    }
    put_u64(&r, dropped);
    put_bytes(&r, resource_schema_url);

    struct otlp_scope s;
    otlp_scope_read(scope, &s);
    put_attributes(&r, &scratch, scope, OTLP_SCOPE_ATTRIBUTES);
    put_bytes(&r, s.name);
    put_bytes(&r, s.version);
    put_u64(&r, s.dropped_attributes_count);
    put_bytes(&r, scope_schema_url);
    return run_end(&r);
}

static struct hash128 event_hash(const struct hash_key *key, struct run *scratch,
                                 struct hash128 before, struct bytes message)
{
    struct run r;
    struct otlp_event e;
    otlp_event_read(message, &e);
    run_start(&r, key);
    put_hash(&r, before);
    put_u64(&r, e.time_unix_ns);
    put_bytes(&r, e.name);
    put_u64(&r, e.dropped_attributes_count);
    put_attributes(&r, scratch, message, OTLP_EVENT_ATTRIBUTES);
    return run_end(&r);
}

static struct hash128 link_hash(const struct hash_key *key, struct run *scratch,
                                struct hash128 before, struct bytes message)
{
    struct run r;
    struct otlp_link l;
    otlp_link_read(message, &l);
    run_start(&r, key);
    put_hash(&r, before);
    put_raw(&r, l.trace_id.b, sizeof l.trace_id.b);
    put_raw(&r, l.span_id.b, sizeof l.span_id.b);
    put_bytes(&r, l.trace_state);
    put_u64(&r, l.flags);
    put_u64(&r, l.dropped_attributes_count);
    put_attributes(&r, scratch, message, OTLP_LINK_ATTRIBUTES);
    return run_end(&r);
}

static void put_span(struct run *r, const struct hash_key *key, struct bytes item)
{
    struct otlp_span s;
    otlp_span_read(item, &s);
    put_raw(r, s.trace_id.b, sizeof s.trace_id.b);
    put_raw(r, s.span_id.b, sizeof s.span_id.b);
    put_raw(r, s.parent_span_id.b, sizeof s.parent_span_id.b);
    put_bytes(r, s.trace_state);
    put_bytes(r, s.name);
    put_u64(r, s.kind);
    put_u64(r, s.start_unix_ns);
    put_u64(r, s.end_unix_ns);
    put_u64(r, s.flags);
    put_u64(r, s.status.code);
    put_bytes(r, s.status.message);
    put_u64(r, s.dropped_attributes_count);
    put_u64(r, s.dropped_events_count);
    put_u64(r, s.dropped_links_count);

    struct run scratch;
    run_start(&scratch, key);
    struct set attributes = { 0 };
    struct hash128 events = { 0, 0 }, links = { 0, 0 };
    struct otlp_fields fields = otlp_fields(item);
    struct otlp_field f;
    while (otlp_fields_next(&fields, &f)) {
        if (f.wire_type != 2)
            continue;
        if (f.number == OTLP_SPAN_ATTRIBUTES)
            set_add(&attributes, attribute_hash(&scratch, f.bytes));
        else if (f.number == OTLP_SPAN_EVENTS)
            events = event_hash(key, &scratch, events, f.bytes);
        else if (f.number == OTLP_SPAN_LINKS)
            links = link_hash(key, &scratch, links, f.bytes);
    }
    put_set(r, &attributes);
    put_hash(r, events);
    put_hash(r, links);
}

static void put_log(struct run *r, const struct hash_key *key, struct bytes item)
{
    struct otlp_log l;
    otlp_log_read(item, &l);
    put_u64(r, l.time_unix_ns);
    put_u64(r, l.observed_unix_ns);
    put_u64(r, l.severity_number);
    put_bytes(r, l.severity_text);
    put_u64(r, l.flags);
    put_u64(r, l.dropped_attributes_count);
    put_raw(r, l.trace_id.b, sizeof l.trace_id.b);
    put_raw(r, l.span_id.b, sizeof l.span_id.b);
    put_bytes(r, l.event_name);
    if (l.has_body)
        put_value(r, l.body);
    else
        put_u8(r, MARK_ABSENT);
    struct run scratch;
    run_start(&scratch, key);
    put_attributes(r, &scratch, item, OTLP_LOG_ATTRIBUTES);
}

struct hash128 content_hash_item(const struct hash_key *key, enum signal signal,
                                 struct hash128 group, struct bytes item)
{
    struct run r;
    run_start(&r, key);
    put_hash(&r, group);
    put_u8(&r, (uint8_t)signal);
    if (signal == SIGNAL_TRACES)
        put_span(&r, key, item);
    else
        put_log(&r, key, item);
    return run_end(&r);
}

struct hash128 content_hash(const struct hash_key *key, enum signal signal,
                            const struct otlp_items *at)
{
    struct hash128 group = content_hash_group(key, at->resource.resource, at->resource.schema_url,
                                              at->scope.scope, at->scope.schema_url);
    return content_hash_item(key, signal, group, at->item);
}
