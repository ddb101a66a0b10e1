/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"
#include "base/mem.h"
#include "storage/derive/intake_private.h"
#include "storage/derive/weight.h"
#include "storage/rowgroup/rowgroup_wire.h"
#include "storage/service_name.h"

#include <assert.h>

#define CONTEXTS_MAX (1u << 20) /* as many as a row group has rows */
/* Of the arena, between row groups: usual ones take half of it. */
#define KEEP_BYTES ((size_t)4 << 20)
/* What is known from one row group to the next, at most: with more, all is forgotten. 5 MiB or so. */
#define KNOWN_MAX              16384u /* series, nodes, edges, each */
#define KNOWN_NAMES_MAX        8192u
#define KNOWN_NAME_LEN_MAX     256u
#define KNOWN_RESOURCES_MAX    1024u
#define KNOWN_RESOURCE_LEN_MAX 4096u
#define PASSING                (UINT32_C(1) << 31) /* the number of a name in its group, where it is not kept */

struct intake_resource {
    uint64_t changes; /* when its service was asked for */
    uint32_t node;
};

struct intake_name {
    uint64_t hash;
    struct bytes name; /* as sent, borrowed */
    uint32_t number_plus_one;
};

struct intake_slot {
    uint64_t key; /* see slot_key(); 0: free */
    void *place;  /* of intake_admit_fn */
    uint64_t changes;
    uint32_t group; /* that asked for it last */
    uint32_t series;
    struct tally_point
        *point; /* of that group: the one that was counted in last, and when it begins */
    uint64_t point_unix_ns;
};

void intake_init(struct intake *in, size_t bytes_max)
{
    *in = (struct intake){ 0 };
    arena_init(&in->arena, bytes_max, NULL);
    in->arena.keep_bytes = KEEP_BYTES;
    tally_init(&in->tally, &in->arena, TALLY_MINUTE_NS);
    intern_init(&in->nodes, CONTEXTS_MAX);
    intern_init(&in->known_names, KNOWN_NAMES_MAX);
    intern_init(&in->resources, KNOWN_RESOURCES_MAX);
    buffer_init(&in->scratch, (size_t)4 << 20);
    buffer_init(&in->cleaned, (size_t)4 << 20);
    in->group = 1;
}

void intake_deinit(struct intake *in)
{
    tally_deinit(&in->tally);
    intern_deinit(&in->nodes);
    intern_deinit(&in->known_names);
    intern_deinit(&in->resources);
    mem_free(in->resource_nodes);
    arena_deinit(&in->arena);
    buffer_deinit(&in->scratch);
    buffer_deinit(&in->cleaned);
    mem_free(in->contexts);
    mem_free(in->names);
    mem_free(in->name_numbers);
    mem_free(in->slots);
    intake_edges_deinit(in);
    *in = (struct intake){ 0 };
}

static bool is_known_kept(const struct intake *in)
{
    return in->admit_again != NULL && !in->has_passing_names && in->error == ERR_OK &&
           in->tally.keys.count <= KNOWN_MAX && in->nodes.count <= KNOWN_MAX &&
           in->slots_used <= KNOWN_MAX && in->edges_used <= KNOWN_MAX &&
           in->resources.count < KNOWN_RESOURCES_MAX;
}

static void known_forget(struct intake *in)
{
    tally_reset(&in->tally);
    intern_reset(&in->nodes);
    intern_reset(&in->known_names);
    intern_reset(&in->resources);
    if (in->slots != NULL)
        memset(in->slots, 0, (in->slots_mask + 1u) * sizeof *in->slots);
    in->slots_used = 0;
    in->has_passing_names = false;
    intake_edges_forget(in);
}

void intake_reset(struct intake *in)
{
    if (is_known_kept(in))
        tally_empty(&in->tally);
    else
        known_forget(in);
    arena_reset(&in->arena);
    if (in->contexts_capacity > 0)
        memset(in->contexts, 0, in->contexts_capacity * sizeof *in->contexts);
    if (in->names != NULL)
        memset(in->names, 0, (in->names_mask + 1u) * sizeof *in->names);
    if (in->name_numbers_used > 0)
        memset(in->name_numbers, 0, in->name_numbers_used * sizeof *in->name_numbers);
    in->names_used = in->name_numbers_used = 0;
    intake_edges_reset(in);
    if (in->admit_changes != NULL)
        in->changes = in->admit_changes(in->admit_context);
    in->group++;
    in->spans = 0;
    in->error = ERR_OK;
}

/* ---- Slots ----------------------------------------------------------------------------------- */

/* Nodes are below 2^20, kinds below 8, statuses below 4; never 0, as names count from 1. */
static uint64_t slot_key(uint32_t node, uint32_t name_plus_one, uint32_t kind, uint32_t status)
{
    return (uint64_t)name_plus_one << 32 | (uint64_t)node << 5 | kind << 2 | status;
}

static inline uint32_t slot_first(uint32_t mask, uint64_t key)
{
    return (uint32_t)wire_fold(key, UINT64_C(0x9E3779B97F4A7C15)) & mask;
}

static uint32_t slot_of(const struct intake_slot *slots, uint32_t mask, uint64_t key)
{
    uint32_t at = slot_first(mask, key);
    while (slots[at].key != key && slots[at].key != 0)
        at = (at + 1) & mask;
    return at;
}

static enum err slots_grow(struct intake *in)
{
    uint32_t count = in->slots == NULL ? 512 : 2 * (in->slots_mask + 1);
    struct intake_slot *slots = mem_alloc_array(count, sizeof *slots);
    if (slots == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; in->slots != NULL && i <= in->slots_mask; i++)
        if (in->slots[i].key != 0)
            slots[slot_of(slots, count - 1, in->slots[i].key)] = in->slots[i];
    mem_free(in->slots);
    in->slots = slots;
    in->slots_mask = count - 1;
    return ERR_OK;
}

/* ---- Resources ------------------------------------------------------------------------------- */

static void text_take(const struct otlp_key_value *kv, struct bytes *out)
{
    struct otlp_value value;
    if (!kv->has_value)
        return;
    otlp_value_read(kv->value, &value);
    if (value.type == OTLP_STRING)
        *out = value.bytes;
}

static void resource_read(struct bytes resource, struct derived_node *out)
{
    struct otlp_repeated attributes = otlp_repeated(resource, OTLP_RESOURCE_ATTRIBUTES);
    struct bytes message, old_environment = { 0 };
    *out = (struct derived_node){ .kind = NODE_SERVICE };
    while (otlp_repeated_next(&attributes, &message)) {
        struct otlp_key_value kv;
        otlp_key_value_read(message, &kv);
        if (out->name.len == 0 && bytes_equal_text(kv.key, "service.name"))
            text_take(&kv, &out->name);
        else if (bytes_equal_text(kv.key, "service.namespace"))
            text_take(&kv, &out->namespace);
        else if (bytes_equal_text(kv.key, "deployment.environment.name"))
            text_take(&kv, &out->environment);
        else if (bytes_equal_text(kv.key, "deployment.environment"))
            text_take(&kv, &old_environment);
    }
    if (out->environment.len == 0)
        out->environment = old_environment;
    if (out->name.len == 0)
        out->name = BYTES_LITERAL(SERVICE_UNKNOWN);
    out->name = bytes_slice(out->name, 0, CLEAN_NAME_MAX);
    out->namespace = bytes_slice(out->namespace, 0, CLEAN_NAME_MAX);
    out->environment = bytes_slice(out->environment, 0, CLEAN_NAME_MAX);
}

/* The node of a resource that another group had too; HALF_NONE: it had not. */
static uint32_t resource_known(const struct intake *in, struct bytes resource)
{
    uint32_t number = in->admit_again == NULL ? UINT32_MAX : intern_find(&in->resources, resource);
    if (number == UINT32_MAX || in->resource_nodes[number].changes != in->changes)
        return HALF_NONE;
    return in->resource_nodes[number].node;
}

static void resource_keep(struct intake *in, struct bytes resource, uint32_t node)
{
    uint32_t number = 0;
    if (in->admit_again == NULL || resource.len > KNOWN_RESOURCE_LEN_MAX)
        return;
    if (in->resource_nodes == NULL)
        in->resource_nodes = mem_alloc_array(KNOWN_RESOURCES_MAX, sizeof *in->resource_nodes);
    /* Where there is no room, it is read again in the next group. */
    if (in->resource_nodes != NULL && intern_put(&in->resources, resource, &number) == ERR_OK)
        in->resource_nodes[number] = (struct intake_resource){ in->changes, node };
}

/* Its node, asked for; HALF_NONE after a failure. */
static uint32_t resource_add(struct intake *in, struct bytes resource)
{
    struct derived_node node;
    resource_read(resource, &node);
    if (in->admit_service != NULL)
        in->admit_service(in->admit_context, &node);
    uint32_t number = intake_node(in, &node);
    if (number != HALF_NONE)
        resource_keep(in, resource, number);
    return number;
}

static __attribute__((noinline)) struct intake_context *
context_get(struct intake *in, uint32_t number, struct bytes resource)
{
    if (number >= in->contexts_capacity) {
        assert(number < CONTEXTS_MAX);
        uint32_t capacity = in->contexts_capacity == 0 ? 64 : in->contexts_capacity;
        while (capacity <= number)
            capacity *= 2;
        struct intake_context *grown = mem_realloc(in->contexts, capacity * sizeof *grown);
        if (grown == NULL) {
            (void)intake_failed(in, ERR_NOMEM);
            return NULL;
        }
        memset(grown + in->contexts_capacity, 0,
               (capacity - in->contexts_capacity) * sizeof *grown);
        in->contexts = grown;
        in->contexts_capacity = capacity;
    }
    struct intake_context *c = &in->contexts[number];
    if (c->is_known)
        return c;
    if (in->slots == NULL && intake_failed(in, slots_grow(in)))
        return NULL;
    *c = (struct intake_context){ .user = HALF_NONE };
    c->node = resource_known(in, resource);
    if (c->node == HALF_NONE)
        c->node = resource_add(in, resource);
    if (c->node == HALF_NONE)
        return NULL;
    struct derived_node node;
    bool is_read = node_key_read(intern_get(&in->nodes, c->node), &node);
    assert(is_read);
    (void)is_read;
    c->service = node.name; /* of the nodes, which do not move */
    c->namespace = node.namespace;
    c->environment = node.environment;
    c->is_known = true;
    return c;
}

/* ---- Series ---------------------------------------------------------------------------------- */

static enum err series_make(struct intake *in, const struct intake_context *c, struct bytes name,
                            uint32_t kind, uint32_t status, struct intake_slot *out)
{
    buffer_reset(&in->cleaned);
    unsigned cleaned = clean_name(name, &in->cleaned);
    struct red_key key = {
        .service = c->service,
        .namespace = c->namespace,
        .environment = c->environment,
        .name = cleaned == 0 ? name : buffer_bytes(&in->cleaned),
        .kind = kind,
        .status = status,
    };
    enum err e = buffer_error(&in->cleaned);
    if (e != ERR_OK)
        return e;
    if (in->admit != NULL)
        out->place = in->admit(in->admit_context, name, cleaned, &key);
    buffer_reset(&in->scratch);
    red_key_put(&in->scratch, &key);
    e = buffer_error(&in->scratch);
    return e == ERR_OK ? tally_series(&in->tally, buffer_bytes(&in->scratch), &out->series) : e;
}

static enum err names_grow(struct intake *in)
{
    uint32_t count = in->names == NULL ? 512 : 2 * (in->names_mask + 1);
    struct intake_name *names = mem_alloc_array(count, sizeof *names);
    if (names == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; in->names != NULL && i <= in->names_mask; i++) {
        uint32_t at = (uint32_t)in->names[i].hash & (count - 1);
        if (in->names[i].number_plus_one == 0)
            continue;
        while (names[at].number_plus_one != 0)
            at = (at + 1) & (count - 1);
        names[at] = in->names[i];
    }
    mem_free(in->names);
    in->names = names;
    in->names_mask = count - 1;
    return ERR_OK;
}

/* A number for a name that comes without, + 1; 0 after a failure. */
static uint32_t name_number(struct intake *in, struct bytes name)
{
    if ((in->names == NULL || in->names_used >= in->names_mask / 2) &&
        intake_failed(in, names_grow(in)))
        return 0;
    in->has_passing_names = true;
    uint64_t hash = wire_hash(name);
    uint32_t at = (uint32_t)hash & in->names_mask;
    for (; in->names[at].number_plus_one != 0; at = (at + 1) & in->names_mask)
        if (in->names[at].hash == hash && bytes_equal(in->names[at].name, name))
            return in->names[at].number_plus_one;
    uint32_t number = ++in->names_used | PASSING;
    in->names[at] = (struct intake_name){ .hash = hash, .name = name, .number_plus_one = number };
    return number;
}

static bool name_numbers_grow(struct intake *in, uint32_t number)
{
    uint32_t capacity = in->name_numbers_capacity == 0 ? 512 : in->name_numbers_capacity;
    while (capacity <= number)
        capacity *= 2;
    uint32_t *grown = mem_realloc(in->name_numbers, capacity * sizeof *grown);
    if (grown == NULL)
        return !intake_failed(in, ERR_NOMEM);
    memset(grown + in->name_numbers_capacity, 0,
           (capacity - in->name_numbers_capacity) * sizeof *grown);
    in->name_numbers = grown;
    in->name_numbers_capacity = capacity;
    return true;
}

/* A number that stays for one that is the group's, + 1; 0 after a failure. */
static uint32_t name_known(struct intake *in, const struct derive_span *s)
{
    uint32_t number = s->name_plus_one, known = 0;
    assert(number < PASSING);
    if (number >= in->name_numbers_capacity && !name_numbers_grow(in, number))
        return 0;
    if (number >= in->name_numbers_used)
        in->name_numbers_used = number + 1;
    enum err e = s->name.len > KNOWN_NAME_LEN_MAX ? ERR_TOO_MANY
                                                  : intern_put(&in->known_names, s->name, &known);
    if (e != ERR_OK && e != ERR_TOO_MANY) {
        (void)intake_failed(in, e);
        return 0;
    }
    in->has_passing_names = in->has_passing_names || e != ERR_OK;
    return in->name_numbers[number] = e == ERR_OK ? known + 1 : number | PASSING;
}

static inline uint32_t name_of(struct intake *in, const struct derive_span *s)
{
    if (s->name_plus_one == 0)
        return name_number(in, s->name);
    uint32_t number =
        s->name_plus_one < in->name_numbers_capacity ? in->name_numbers[s->name_plus_one] : 0;
    return number != 0 ? number : name_known(in, s);
}

/* A series that the group has not seen yet, in the slot where it is, or is to be. is_again: the slot has it, and was
 * asked for. */
static bool slot_fill(struct intake *in, const struct intake_context *c,
                      const struct derive_span *s, uint64_t key, bool is_again,
                      struct intake_slot *slot)
{
    struct intake_slot filled = { .key = key, .changes = in->changes };
    if (!is_again) {
        if (intake_failed(in, series_make(in, c, s->name, (uint32_t)(key >> 2 & 7),
                                          (uint32_t)(key & 3), &filled)))
            return false;
        in->slots_used += slot->key == 0;
        *slot = filled;
    }
    slot->group = in->group;
    slot->point = NULL;
    return true;
}

/* The spans at hand, and where they are counted. */
struct intake_batch {
    const struct derive_span *spans;
    uint64_t keys[DERIVE_SPANS_MAX];
    struct tally_point *points[DERIVE_SPANS_MAX];
    uint32_t others[DERIVE_SPANS_MAX]; /* those whose point is not in their slot */
    size_t others_count;
};

static struct intake_slot *slot_find(const struct intake *in, uint64_t key)
{
    return &in->slots[slot_of(in->slots, in->slots_mask, key)];
}

/* Series of the batch that other groups had, and this one has not: they are asked for all at once. */
static void batch_admit(struct intake *in, const struct intake_batch *b)
{
    struct intake_slot *slots[DERIVE_SPANS_MAX];
    void *places[DERIVE_SPANS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < b->others_count; i++) {
        uint64_t key = b->keys[b->others[i]];
        struct intake_slot *slot = slot_find(in, key);
        if (slot->key != key || slot->group == in->group || slot->changes != in->changes)
            continue;
        __builtin_prefetch(slot->place);
        slots[count] = slot;
        places[count++] = slot->place;
    }
    if (count == 0 || in->admit_again == NULL ||
        !in->admit_again(in->admit_context, in->changes, places, count))
        return;
    for (size_t i = 0; i < count; i++)
        (void)slot_fill(in, NULL, NULL, slots[i]->key, true, slots[i]);
}

/* A point that no slot has: of a series, or a minute, that the group has not seen yet. NULL after a failure. */
static struct tally_point *point_make(struct intake *in, const struct derive_span *s, uint64_t key)
{
    struct tally_point *p;
    struct intake_slot *slot = slot_find(in, key);
    if ((slot->group != in->group &&
         !slot_fill(in, &in->contexts[s->context], s, key, false, slot)) ||
        intake_failed(in,
                      tally_at(&in->tally, slot->series, intake_time(in, s->start_unix_ns), &p)))
        return NULL;
    slot->point = p;
    slot->point_unix_ns = p->start_unix_ns;
    if (in->slots_used >= in->slots_mask / 2 && intake_failed(in, slots_grow(in)))
        return NULL;
    return p;
}

static __attribute__((noinline)) void batch_others(struct intake *in, struct intake_batch *b)
{
    batch_admit(in, b);
    for (size_t i = 0; i < b->others_count && in->error == ERR_OK; i++) {
        uint32_t at = b->others[i];
        b->points[at] = point_make(in, &b->spans[at], b->keys[at]);
    }
}

static struct derived_exemplar exemplar_of(const struct derive_span *s)
{
    struct derived_exemplar x = { .is_set = true,
                                  .start_unix_ns = s->start_unix_ns,
                                  .duration_ns = s->duration_ns };
    store_be64(x.trace_id.b, s->trace_high);
    store_be64(x.trace_id.b + 8, s->trace_low);
    store_le64(x.span_id.b, s->span_id);
    return x;
}

static __attribute__((noinline)) void point_example(struct tally_point *p,
                                                    const struct derive_span *s, bool is_failed)
{
    struct derived_exemplar x = exemplar_of(s);
    if (tally_is_slower(&x, &p->slowest))
        p->slowest = x;
    if (is_failed && tally_is_later(&x, &p->failed))
        p->failed = x;
}

/* False after a failure. bucket: of the duration. */
static inline bool red_count(struct intake *in, const struct derive_span *s, uint64_t weight,
                             int16_t bucket, struct tally_point *p)
{
    bool is_failed = s->status == 2;
    if (intake_failed(in, tally_duration(&in->tally, &p->first_values, s->duration_ns, bucket)))
        return false;
    p->calls++;
    p->bytes += s->message.len;
    p->estimated_calls = intake_add_saturating(p->estimated_calls, weight);
    if (is_failed) {
        p->errors++;
        p->estimated_errors = intake_add_saturating(p->estimated_errors, weight);
    }
    if (is_failed || s->duration_ns >= p->slowest.duration_ns)
        point_example(p, s, is_failed);
    return true;
}

static __attribute__((noinline)) void intake_trace_begin(struct intake *in,
                                                         const struct derive_span *s)
{
    intake_trace_end(in);
    in->trace.trace_low = s->trace_low;
    in->trace.trace_high = s->trace_high;
}

static inline void span_count(struct intake *in, const struct derive_span *s, struct tally_point *p)
{
    if (s->trace_low != in->trace.trace_low || s->trace_high != in->trace.trace_high)
        intake_trace_begin(in, s);
    uint64_t weight = s->trace_state.len == 0 ? WEIGHT_ONE : weight_of_trace_state(s->trace_state);
    int16_t bucket = tally_bucket(s->duration_ns);
    if (red_count(in, s, weight, bucket, p) && s->kind - 2 <= 3 && !in->skips_edges)
        intake_span_edges(in, &in->contexts[s->context], s, p->series, bucket,
                          weight != WEIGHT_ONE);
}

static inline bool context_known(struct intake *in, const struct derive_span *s)
{
    return (s->context < in->contexts_capacity && in->contexts[s->context].is_known) ||
           context_get(in, s->context, s->resource) != NULL;
}

/* Which slot a span's series has. 0 after a failure. */
static inline uint64_t span_key(struct intake *in, const struct derive_span *s)
{
    uint32_t kind = s->kind <= 5 ? s->kind : 0, status = s->status <= 2 ? s->status : 0;
    uint32_t name = context_known(in, s) ? name_of(in, s) : 0;
    return name == 0 ? 0 : slot_key(in->contexts[s->context].node, name, kind, status);
}

/* Slots, points and peers of hundreds of series lie in nearly a megabyte, which whoever builds the row group has
 * pushed out of the near memory meanwhile: so of all spans one is asked for after the other, and only then they are
 * counted. */
void intake_add(struct intake *in, const struct derive_span *spans, size_t count)
{
    struct intake_batch b;
    b.spans = spans;
    b.others_count = 0;
    assert(count <= DERIVE_SPANS_MAX);
    for (size_t i = 0; i < count && in->error == ERR_OK; i++) {
        b.keys[i] = span_key(in, &spans[i]);
        if (b.keys[i] != 0)
            __builtin_prefetch(&in->slots[slot_first(in->slots_mask, b.keys[i])]);
    }
    if (in->error != ERR_OK)
        return;
    for (size_t i = 0; i < count; i++) {
        const struct intake_slot *slot = slot_find(in, b.keys[i]);
        b.points[i] = slot->point;
        if (slot->group != in->group || slot->point == NULL ||
            intake_time(in, spans[i].start_unix_ns) - slot->point_unix_ns >= in->tally.width_ns) {
            b.others[b.others_count++] = (uint32_t)i;
            continue;
        }
        tally_point_prefetch(slot->point);
        if (derive_asks(spans[i].kind, spans[i].parent_id != 0))
            intake_peer_prefetch(in, slot->series);
    }
    if (b.others_count > 0)
        batch_others(in, &b);
    for (size_t i = 0; i < count && in->error == ERR_OK; i++)
        span_count(in, &spans[i], b.points[i]);
    in->spans += in->error == ERR_OK ? count : 0;
}

/* ---- Bodies ---------------------------------------------------------------------------------- */

void intake_add_body(struct intake *in, struct bytes body)
{
    struct otlp_items it = otlp_items(body);
    while (in->error == ERR_OK && otlp_items_next(&it)) {
        /* One place serves all resources, one after the other: what is kept of them is found by its parts. */
        if (it.is_new_resource && in->contexts_capacity > 0)
            in->contexts[0].is_known = false;
        struct otlp_span span;
        struct bytes attributes[DERIVE_ATTRIBUTES_MAX];
        otlp_span_read(it.item, &span);
        struct derive_span s = {
            .resource = it.resource.resource,
            .message = it.item,
            .name = span.name,
            .trace_state = span.trace_state,
            .trace_high = load_be64(span.trace_id.b),
            .trace_low = load_be64(span.trace_id.b + 8),
            .span_id = load_le64(span.span_id.b),
            .parent_id = load_le64(span.parent_span_id.b),
            .start_unix_ns = span.start_unix_ns,
            .duration_ns = otlp_span_duration_ns(&span),
            .kind = span.kind,
            .status = span.status.code,
            .links_count = span.links_count,
        };
        if (derive_asks(s.kind, s.parent_id != 0))
            derive_gather(&s, attributes);
        intake_add(in, &s, 1);
    }
}
