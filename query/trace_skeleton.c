/* SPDX-License-Identifier: Apache-2.0 */
/* I1: a row's parent stands before it.
 * I2: every span given is one row, once.
 * I3: the same spans give the same rows, in whatever order they come, but for spans that differ in nothing
 *     that a row shows. */
#include "query/trace_skeleton.h"

#include "base/hash.h"
#include "storage/service_name.h"

#include <assert.h>
#include <stdlib.h>

#define NONE SKELETON_NONE
/* Bits of Span.flags: trace.proto, SpanFlags. */
#define FLAG_HAS_IS_REMOTE 0x100u
#define FLAG_IS_REMOTE     0x200u
#define SPANS_MAX          (UINT32_MAX / 4) /* indices of rows, missing ones included, fit */
#define ROWS_PER_CHECK     4096

enum { KIND_SERVER = 2, KIND_CLIENT = 3, KIND_PRODUCER = 4, KIND_CONSUMER = 5 };

/* A span or a missing one on its way into a row. */
struct skeleton_node {
    uint64_t id, parent_id;
    uint64_t start_unix_ns, duration_ns;
    uint64_t resource;
    uint32_t parent;
    uint32_t name; /* of the builder's */
    uint16_t service, flags;
    uint8_t kind;
    bool has_parent;
    uint8_t seen; /* of the walk that looks for circles */
};

void skeleton_begin(struct skeleton_builder *b, const struct query_context *q)
{
    struct budget *budget = q->arena->budget;
    size_t limit = q->arena->limit_bytes;
    *b = (struct skeleton_builder){ .q = q };
    arena_init(&b->nodes_memory, limit, budget);
    arena_init(&b->logs_memory, limit, budget);
    arena_init(&b->scratch, limit, budget);
    intern_init_charged(&b->services, SKELETON_SERVICES_MAX, limit, budget);
    intern_init_charged(&b->names, SPANS_MAX, limit, budget);
    buffer_init_charged(&b->root_name, limit, budget);
    buffer_init_charged(&b->root_service, limit, budget);
}

void skeleton_end(struct skeleton_builder *b)
{
    arena_deinit(&b->nodes_memory);
    arena_deinit(&b->logs_memory);
    arena_deinit(&b->scratch);
    intern_deinit(&b->services);
    intern_deinit(&b->names);
    buffer_deinit(&b->root_name);
    buffer_deinit(&b->root_service);
}

static void *alloc(struct skeleton_builder *b, size_t count, size_t size)
{
    return arena_alloc_array(&b->scratch, count + 1, size);
}

/* The arena holds this array alone, and sixteen elements are a multiple of any alignment: so it stays aligned
 * wherever it is moved. */
static enum err grow(struct arena *a, void *array_of_pointer, size_t *capacity, size_t count,
                     size_t size)
{
    if (count <= *capacity)
        return ERR_OK;
    size_t wanted = (count + count / 2 + 16) / 16 * 16;
    uint8_t *block;
    memcpy(&block, array_of_pointer, sizeof block);
    block = arena_grow(a, block, *capacity * size, wanted * size);
    if (block == NULL)
        return arena_failure(a);
    memcpy(array_of_pointer, &block, sizeof block);
    *capacity = wanted;
    return ERR_OK;
}

/* ---- Reading ---- */

struct bytes skeleton_cut(struct bytes text)
{
    size_t len = text.len;
    if (len <= SKELETON_NAME_MAX)
        return text;
    for (len = SKELETON_NAME_MAX; len > 0 && (text.data[len] & 0xC0) == 0x80;)
        len--;
    return bytes_slice(text, 0, len);
}

static uint16_t flags_of(const struct otlp_span *s)
{
    unsigned flags = 0;
    if (s->status.code == 2)
        flags |= SKELETON_ERROR;
    if (s->events_count > 0)
        flags |= SKELETON_EVENTS;
    if (s->links_count > 0)
        flags |= SKELETON_LINKS;
    if (s->dropped_attributes_count > 0 || s->dropped_events_count > 0 ||
        s->dropped_links_count > 0)
        flags |= SKELETON_TRUNCATED;
    if ((s->flags & FLAG_HAS_IS_REMOTE) != 0 && (s->flags & FLAG_IS_REMOTE) != 0)
        flags |= SKELETON_REMOTE_PARENT;
    if (s->end_unix_ns < s->start_unix_ns)
        flags |= SKELETON_BAD_TIME;
    return (uint16_t)flags;
}

static enum err begin_resource(struct skeleton_builder *b, struct bytes resource)
{
    b->resource = hash_bytes(resource);
    enum err e = intern_put(&b->services, skeleton_cut(service_name(resource)), &b->service);
    if (e == ERR_TOO_MANY)
        b->service = SKELETON_SERVICES_MAX;
    return e == ERR_TOO_MANY ? ERR_OK : e;
}

/* The earliest span without a parent, as searches take it. */
static enum err note_root(struct skeleton_builder *b, const struct otlp_span *s, uint64_t id,
                          struct bytes resource)
{
    if (s->has_parent ||
        (b->has_root && (s->start_unix_ns > b->root_start_unix_ns ||
                         (s->start_unix_ns == b->root_start_unix_ns && id >= b->root_id))))
        return ERR_OK;
    b->has_root = true;
    b->root_start_unix_ns = s->start_unix_ns;
    b->root_id = id;
    buffer_reset(&b->root_name);
    buffer_reset(&b->root_service);
    buffer_append_bytes(&b->root_name, s->name);
    buffer_append_bytes(&b->root_service, service_name(resource));
    enum err e = buffer_error(&b->root_name);
    return e != ERR_OK ? e : buffer_error(&b->root_service);
}

enum err skeleton_add(void *context, const struct otlp_items *at)
{
    struct skeleton_builder *b = context;
    struct otlp_span s;
    uint32_t name = 0;
    enum err e = b->count < SPANS_MAX ? ERR_OK : ERR_TOO_LARGE;
    otlp_span_read(at->item, &s);
    if (e == ERR_OK && (at->is_new_resource || b->count == 0))
        e = begin_resource(b, at->resource.resource);
    if (e == ERR_OK)
        e = intern_put(&b->names, skeleton_cut(s.name), &name);
    if (e == ERR_OK)
        e = note_root(b, &s, load_be64(s.span_id.b), at->resource.resource);
    if (e == ERR_OK)
        e = grow(&b->nodes_memory, &b->nodes, &b->capacity, b->count + 1, sizeof *b->nodes);
    if (e != ERR_OK)
        return e;
    b->nodes[b->count++] = (struct skeleton_node){
        .id = load_be64(s.span_id.b),
        .parent_id = load_be64(s.parent_span_id.b),
        .has_parent = s.has_parent,
        .parent = NONE,
        .resource = b->resource,
        .service = (uint16_t)b->service,
        .name = name,
        .kind = s.kind > UINT8_MAX ? UINT8_MAX : (uint8_t)s.kind,
        .flags = flags_of(&s),
        .start_unix_ns = s.start_unix_ns,
        .duration_ns = otlp_span_duration_ns(&s),
    };
    b->spans = b->count;
    return ERR_OK;
}

enum err skeleton_add_log(void *context, const struct otlp_items *at)
{
    struct skeleton_builder *b = context;
    struct otlp_log log;
    otlp_log_read(at->item, &log);
    if (!log.has_span_id)
        return ERR_OK;
    enum err e =
        grow(&b->logs_memory, &b->logs, &b->logs_capacity, b->logs_count + 1, sizeof *b->logs);
    if (e == ERR_OK)
        b->logs[b->logs_count++] = load_be64(log.span_id.b);
    return e;
}

/* ---- Orders ---- */

static int order_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int siblings(const struct skeleton_builder *b, uint32_t i, uint32_t j)
{
    const struct skeleton_node *x = &b->nodes[i], *y = &b->nodes[j];
    int order = order_u64(x->start_unix_ns, y->start_unix_ns);
    if (order == 0)
        order = order_u64(y->duration_ns, x->duration_ns);
    if (order == 0)
        order = order_u64(x->id, y->id);
    if (order == 0)
        order = (x->kind > y->kind) - (x->kind < y->kind);
    if (order == 0)
        order = order_u64(x->resource, y->resource);
    if (order == 0 && x->name != y->name)
        order = bytes_compare(intern_get(&b->names, x->name), intern_get(&b->names, y->name));
    return order != 0 ? order : (x->flags > y->flags) - (x->flags < y->flags);
}

static int order_siblings(const void *x, const void *y, void *context)
{
    uint32_t i, j;
    memcpy(&i, x, sizeof i);
    memcpy(&j, y, sizeof j);
    return siblings(context, i, j);
}

static bool is_first_half(const struct skeleton_node *n)
{
    return n->kind == KIND_CLIENT || n->kind == KIND_PRODUCER;
}

/* Of those that share an ID the client's half first, so that the server's can go below it. */
static int order_by_id(const void *x, const void *y, void *context)
{
    const struct skeleton_builder *b = context;
    uint32_t i, j;
    memcpy(&i, x, sizeof i);
    memcpy(&j, y, sizeof j);
    int order = order_u64(b->nodes[i].id, b->nodes[j].id);
    if (order != 0)
        return order;
    bool is_first = is_first_half(&b->nodes[i]), other = is_first_half(&b->nodes[j]);
    return is_first != other ? (is_first ? -1 : 1) : siblings(b, i, j);
}

static enum err sort(struct skeleton_builder *b, size_t count,
                     int (*order)(const void *, const void *, void *), uint32_t **out)
{
    uint32_t *list = alloc(b, count, sizeof *list);
    if (list == NULL)
        return arena_failure(&b->scratch);
    for (size_t i = 0; i < count; i++)
        list[i] = (uint32_t)i;
    qsort_r(list, count, sizeof *list, order, b);
    *out = list;
    return query_check(b->q);
}

/* ---- Parents ---- */

/* The place in by_id of the first span with this ID, or NONE. */
static uint32_t find(const struct skeleton_builder *b, uint64_t id)
{
    size_t low = 0, high = b->spans;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (b->nodes[b->by_id[middle]].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < b->spans && b->nodes[b->by_id[low]].id == id ? (uint32_t)low : NONE;
}

static bool is_second_half(const struct skeleton_node *first, const struct skeleton_node *n)
{
    return (first->kind == KIND_CLIENT && n->kind == KIND_SERVER) ||
           (first->kind == KIND_PRODUCER && n->kind == KIND_CONSUMER);
}

/* For each run of spans with one ID, at its first place: the one that children belong to. */
static enum err find_owners(struct skeleton_builder *b)
{
    b->owner = alloc(b, b->spans, sizeof *b->owner);
    if (b->owner == NULL)
        return arena_failure(&b->scratch);
    for (size_t from = 0, to; from < b->spans; from = to) {
        struct skeleton_node *first = &b->nodes[b->by_id[from]];
        uint32_t owner = NONE;
        for (to = from + 1; to < b->spans && b->nodes[b->by_id[to]].id == first->id; to++) {
            struct skeleton_node *n = &b->nodes[b->by_id[to]];
            first->flags |= SKELETON_DUPLICATE;
            n->flags |= SKELETON_DUPLICATE;
            if (owner == NONE && is_second_half(first, n))
                owner = b->by_id[to];
        }
        b->owner[from] = owner == NONE ? b->by_id[from] : owner;
    }
    return ERR_OK;
}

/* What a span's parent is, when it is in the trace. */
static uint32_t parent_of(const struct skeleton_builder *b, uint32_t index)
{
    const struct skeleton_node *n = &b->nodes[index];
    if ((n->flags & SKELETON_DUPLICATE) != 0) {
        uint32_t first = b->by_id[find(b, n->id)];
        if (first != index && is_second_half(&b->nodes[first], n))
            return first;
    }
    uint32_t at = n->has_parent ? find(b, n->parent_id) : NONE;
    return at == NONE ? NONE : b->owner[at];
}

static bool has_absent_parent(const struct skeleton_node *n)
{
    return n->has_parent && n->parent == NONE;
}

static int order_by_parent_id(const void *x, const void *y, void *context)
{
    const struct skeleton_builder *b = context;
    uint32_t i, j;
    memcpy(&i, x, sizeof i);
    memcpy(&j, y, sizeof j);
    int order = order_u64(b->nodes[i].parent_id, b->nodes[j].parent_id);
    return order != 0 ? order : siblings(b, i, j);
}

static enum err list_orphans(struct skeleton_builder *b, uint32_t **out, size_t *out_count)
{
    size_t count = 0;
    for (size_t i = 0; i < b->spans; i++)
        count += has_absent_parent(&b->nodes[i]);
    uint32_t *list = alloc(b, count, sizeof *list);
    if (list == NULL)
        return arena_failure(&b->scratch);
    count = 0;
    for (size_t i = 0; i < b->spans; i++)
        if (has_absent_parent(&b->nodes[i]))
            list[count++] = (uint32_t)i;
    qsort_r(list, count, sizeof *list, order_by_parent_id, b);
    *out = list;
    *out_count = count;
    return ERR_OK;
}

/* A row for each missing parent, as long as what stands below it. */
static enum err add_missing(struct skeleton_builder *b)
{
    uint32_t *orphans = NULL, missing = NONE;
    size_t count = 0;
    enum err e = list_orphans(b, &orphans, &count);
    for (size_t i = 0; e == ERR_OK && i < count; i++) {
        uint64_t id = b->nodes[orphans[i]].parent_id;
        if (missing == NONE || b->nodes[missing].id != id) {
            e = grow(&b->nodes_memory, &b->nodes, &b->capacity, b->count + 1, sizeof *b->nodes);
            if (e != ERR_OK)
                break;
            missing = (uint32_t)b->count++;
            b->nodes[missing] =
                (struct skeleton_node){ .id = id,
                                        .parent = NONE,
                                        .flags = SKELETON_MISSING,
                                        .start_unix_ns = b->nodes[orphans[i]].start_unix_ns };
        }
        struct skeleton_node *n = &b->nodes[orphans[i]], *m = &b->nodes[missing];
        uint64_t end = n->start_unix_ns + n->duration_ns;
        if (end > m->start_unix_ns && end - m->start_unix_ns > m->duration_ns)
            m->duration_ns = end - m->start_unix_ns;
        n->flags |= SKELETON_ORPHAN;
        n->parent = missing;
    }
    return e;
}

/* Follow parents from each span until one that is done; meeting one of the same walk is a circle. */
static void cut_circles(struct skeleton_builder *b)
{
    enum { NEW, WALKED, DONE };
    for (size_t k = 0; k < b->spans; k++) {
        uint32_t at = b->by_id[k], start = at, earliest = NONE;
        while (at != NONE && b->nodes[at].seen == NEW) {
            b->nodes[at].seen = WALKED;
            at = b->nodes[at].parent;
        }
        if (at != NONE && b->nodes[at].seen == WALKED) {
            earliest = at;
            for (uint32_t i = b->nodes[at].parent; i != at; i = b->nodes[i].parent)
                if (siblings(b, i, earliest) < 0)
                    earliest = i;
        }
        /* Before the cut, so that all that was walked is reached. */
        for (at = start; at != NONE && b->nodes[at].seen == WALKED; at = b->nodes[at].parent)
            b->nodes[at].seen = DONE;
        if (earliest != NONE) {
            b->nodes[earliest].parent = NONE;
            b->nodes[earliest].flags |= SKELETON_CYCLE;
        }
    }
}

static enum err find_parents(struct skeleton_builder *b)
{
    enum err e = sort(b, b->spans, order_by_id, &b->by_id);
    if (e == ERR_OK)
        e = find_owners(b);
    for (uint32_t i = 0; e == ERR_OK && i < b->spans; i++)
        b->nodes[i].parent = parent_of(b, i);
    if (e == ERR_OK)
        e = add_missing(b);
    if (e == ERR_OK)
        cut_circles(b);
    return e;
}

static void mark_logs(struct skeleton_builder *b)
{
    for (size_t i = 0; i < b->logs_count; i++) {
        uint32_t at = find(b, b->logs[i]);
        if (at != NONE)
            b->nodes[b->owner[at]].flags |= SKELETON_LOGS;
    }
}

/* ---- Children ---- */

/* Lists of children, each in the order of siblings; the roots are those of node `count`. */
static enum err list_children(struct skeleton_builder *b)
{
    uint32_t *by_start;
    enum err e = sort(b, b->count, order_siblings, &by_start);
    b->first_child = alloc(b, b->count + 1, sizeof *b->first_child);
    b->child_end = alloc(b, b->count + 1, sizeof *b->child_end);
    b->children = alloc(b, b->count, sizeof *b->children);
    if (e != ERR_OK || b->first_child == NULL || b->child_end == NULL || b->children == NULL)
        return e != ERR_OK ? e : arena_failure(&b->scratch);
    for (size_t i = 0; i < b->count; i++) {
        uint32_t parent = b->nodes[i].parent;
        b->child_end[parent == NONE ? b->count : parent]++;
    }
    uint32_t at = 0;
    for (size_t i = 0; i <= b->count; i++) {
        uint32_t children = b->child_end[i];
        b->first_child[i] = b->child_end[i] = at;
        at += children;
    }
    for (size_t i = 0; i < b->count; i++) {
        uint32_t parent = b->nodes[by_start[i]].parent;
        b->children[b->child_end[parent == NONE ? b->count : parent]++] = by_start[i];
    }
    return ERR_OK;
}

/* ---- Clocks ---- */

static uint64_t absolute(int64_t v)
{
    return v < 0 ? (uint64_t)0 - (uint64_t)v : (uint64_t)v;
}

/* How far the child of another resource has to move to fit its parent, which is moved by `parent_shift`. */
static int64_t shift_of(const struct skeleton_node *parent, int64_t parent_shift,
                        const struct skeleton_node *n)
{
    if ((parent->flags & SKELETON_MISSING) != 0)
        return 0;
    if (parent->resource == n->resource)
        return parent_shift;
    /* Differences of 64-bit times; those that no signed number holds are no clocks' fault. */
    if (absolute((int64_t)(n->start_unix_ns - parent->start_unix_ns)) > SKELETON_NS_MAX ||
        parent->duration_ns > SKELETON_NS_MAX || n->duration_ns > SKELETON_NS_MAX ||
        absolute(parent_shift) > SKELETON_NS_MAX)
        return 0;
    int64_t offset = (int64_t)(n->start_unix_ns - parent->start_unix_ns) - parent_shift;
    int64_t room = (int64_t)parent->duration_ns - (int64_t)n->duration_ns;
    bool is_call = parent->kind == KIND_CLIENT && n->kind == KIND_SERVER;
    if (offset >= 0 && !(is_call && room >= 0 && offset > room))
        return 0;
    return (room > 0 ? room / 2 : 0) - offset;
}

/* ---- Rows ---- */

/* Times are shown from t0 on, as numbers below 2^53 ns; a span far from the others must not push them
 * out, so t0 is the earliest start that is near enough to the latest. */
static uint64_t choose_t0(const struct skeleton_builder *b)
{
    uint64_t latest = 0, t0 = UINT64_MAX;
    for (size_t i = 0; i < b->spans; i++)
        if (b->nodes[i].start_unix_ns > latest)
            latest = b->nodes[i].start_unix_ns;
    for (size_t i = 0; i < b->spans; i++) {
        uint64_t start = b->nodes[i].start_unix_ns;
        if (latest - start <= SKELETON_NS_MAX && start < t0)
            t0 = start;
    }
    return b->spans == 0 ? 0 : t0;
}

static void set_times(const struct skeleton_node *n, uint64_t t0, struct skeleton_row *row)
{
    uint64_t start = n->start_unix_ns < t0 ? 0 : n->start_unix_ns - t0;
    uint64_t duration = n->duration_ns;
    if (n->start_unix_ns < t0 || start > SKELETON_NS_MAX || duration > SKELETON_NS_MAX - start) {
        row->flags |= SKELETON_BAD_TIME;
        start = start > SKELETON_NS_MAX ? SKELETON_NS_MAX : start;
        duration = duration > SKELETON_NS_MAX - start ? SKELETON_NS_MAX - start : duration;
    }
    row->start_ns = start;
    row->duration_ns = duration;
}

static void count_row(struct skeleton *s, const struct skeleton_row *row)
{
    bool is_error = (row->flags & SKELETON_ERROR) != 0;
    s->spans += (row->flags & SKELETON_MISSING) == 0;
    s->roots += row->parent == NONE;
    s->errors += is_error;
    s->orphans += (row->flags & SKELETON_ORPHAN) != 0;
    s->skewed += (row->flags & SKELETON_SKEWED) != 0;
    s->truncated += (row->flags & SKELETON_TRUNCATED) != 0;
    s->duplicates += (row->flags & SKELETON_DUPLICATE) != 0;
    s->cycles += (row->flags & SKELETON_CYCLE) != 0;
    s->missing += (row->flags & SKELETON_MISSING) != 0;
    s->bad_times += (row->flags & SKELETON_BAD_TIME) != 0;
    if (row->start_ns + row->duration_ns > s->end_ns)
        s->end_ns = row->start_ns + row->duration_ns;
    if (row->service != SKELETON_NO_SERVICE) {
        s->services[row->service].spans++;
        s->services[row->service].errors += is_error;
    }
}

struct laying {
    struct skeleton_builder *b;
    struct skeleton *s;
    struct arena *memory;
    uint32_t *row_of;            /* by node */
    uint32_t *name_of, *name_at; /* numbers of names and services in the order of rows, and back */
    uint32_t *service_of, *service_at;
    uint32_t *depths; /* by row */
    int64_t *shifts;
};

static uint32_t renumber(uint32_t number, uint32_t *of, uint32_t *at, size_t *count)
{
    if (of[number] == 0) {
        at[*count] = number;
        of[number] = (uint32_t)++ * count;
    }
    return of[number] - 1;
}

static void lay_row(struct laying *l, uint32_t index)
{
    struct skeleton *s = l->s;
    const struct skeleton_node *n = &l->b->nodes[index];
    struct skeleton_row *row = &s->rows[s->count];
    *row = (struct skeleton_row){ .id = n->id,
                                  .parent = NONE,
                                  .name = NONE,
                                  .service = SKELETON_NO_SERVICE,
                                  .kind = n->kind,
                                  .flags = n->flags };
    if (n->parent != NONE) {
        row->parent = l->row_of[n->parent];
        assert(row->parent < s->count); /* I1 */
        l->depths[s->count] = l->depths[row->parent] + 1;
        l->shifts[s->count] = shift_of(&l->b->nodes[n->parent], l->shifts[row->parent], n);
        if (l->shifts[s->count] != 0)
            row->flags |= SKELETON_SKEWED;
    }
    set_times(n, s->t0_unix_ns, row);
    if ((n->flags & SKELETON_MISSING) == 0) {
        row->name = renumber(n->name, l->name_of, l->name_at, &s->names_count);
        row->service =
            (uint16_t)renumber(n->service, l->service_of, l->service_at, &s->services_count);
    }
    if (l->depths[s->count] > s->depth_max)
        s->depth_max = l->depths[s->count];
    count_row(s, row);
    l->row_of[index] = (uint32_t)s->count++;
}

static enum err prepare(struct laying *l)
{
    struct skeleton_builder *b = l->b;
    size_t names = b->names.count, services = (size_t)SKELETON_SERVICES_MAX + 1;
    l->row_of = alloc(b, b->count, sizeof *l->row_of);
    l->depths = alloc(b, b->count, sizeof *l->depths);
    l->shifts = alloc(b, b->count, sizeof *l->shifts);
    l->name_of = alloc(b, names, sizeof *l->name_of);
    l->name_at = alloc(b, names, sizeof *l->name_at);
    l->service_of = alloc(b, services, sizeof *l->service_of);
    l->service_at = alloc(b, services, sizeof *l->service_at);
    l->s->rows = arena_alloc_array(l->memory, b->count + 1, sizeof *l->s->rows);
    l->s->services = arena_alloc_array(l->memory, b->services.count + 1u, sizeof *l->s->services);
    if (l->row_of == NULL || l->depths == NULL || l->shifts == NULL || l->name_of == NULL ||
        l->name_at == NULL || l->service_of == NULL || l->service_at == NULL)
        return arena_failure(&b->scratch);
    return l->s->rows == NULL || l->s->services == NULL ? arena_failure(l->memory) : ERR_OK;
}

/* Walk the tree with a stack of children still to come; one node is on it at most once. */
static enum err lay_rows(struct laying *l)
{
    struct skeleton_builder *b = l->b;
    uint32_t *stack = alloc(b, b->count, sizeof *stack);
    size_t depth = 0, from = b->count;
    if (stack == NULL)
        return arena_failure(&b->scratch);
    for (;;) {
        for (uint32_t i = b->child_end[from]; i > b->first_child[from]; i--)
            stack[depth++] = b->children[i - 1];
        if (depth == 0)
            break;
        from = stack[--depth];
        lay_row(l, (uint32_t)from);
        enum err e = l->s->count % ROWS_PER_CHECK == 0 ? query_check(b->q) : ERR_OK;
        if (e != ERR_OK)
            return e;
    }
    assert(l->s->count == b->count && l->s->spans == b->spans); /* I2 */
    return ERR_OK;
}

static enum err take_texts(struct laying *l)
{
    struct skeleton *s = l->s;
    enum err e = ERR_OK;
    s->names = arena_alloc_array(l->memory, s->names_count + 1, sizeof *s->names);
    if (s->names == NULL)
        return arena_failure(l->memory);
    for (size_t i = 0; e == ERR_OK && i < s->names_count; i++)
        e = arena_dup(l->memory, intern_get(&l->b->names, l->name_at[i]), &s->names[i]);
    for (size_t i = 0; e == ERR_OK && i < s->services_count; i++) {
        if (l->service_at[i] < SKELETON_SERVICES_MAX)
            e = arena_dup(l->memory, intern_get(&l->b->services, l->service_at[i]),
                          &s->services[i].name);
        else
            s->has_other_services = true;
    }
    struct otlp_trace_facts *f = &s->facts;
    f->has_root = l->b->has_root;
    if (e == ERR_OK)
        e = arena_dup(l->memory, buffer_bytes(&l->b->root_name), &f->root_name);
    if (e == ERR_OK)
        e = arena_dup(l->memory, buffer_bytes(&l->b->root_service), &f->root_service);
    return e;
}

static void measure(struct laying *l)
{
    struct otlp_trace_facts *f = &l->s->facts;
    f->start_unix_ns = UINT64_MAX;
    for (size_t i = 0; i < l->b->spans; i++) {
        const struct skeleton_node *n = &l->b->nodes[i];
        uint64_t end = n->start_unix_ns + n->duration_ns;
        f->start_unix_ns =
            n->start_unix_ns < f->start_unix_ns ? n->start_unix_ns : f->start_unix_ns;
        f->end_unix_ns = end > f->end_unix_ns ? end : f->end_unix_ns;
    }
}

static enum err take_shifts(struct laying *l)
{
    struct skeleton *s = l->s;
    size_t count = 0;
    s->shifts = arena_alloc_array(l->memory, s->skewed + 1, sizeof *s->shifts);
    if (s->shifts == NULL)
        return arena_failure(l->memory);
    for (size_t i = 0; i < s->count; i++)
        if (l->shifts[i] != 0)
            s->shifts[count++] = (struct skeleton_shift){ (uint32_t)i, l->shifts[i] };
    assert(count == s->skewed);
    return ERR_OK;
}

/* Rows by ID, of one ID ascending: by_id, node for row, with each run put in order. */
static int order_index(const void *x, const void *y)
{
    uint32_t i, j;
    memcpy(&i, x, sizeof i);
    memcpy(&j, y, sizeof j);
    return (i > j) - (i < j);
}

static enum err take_index(struct laying *l)
{
    struct skeleton *s = l->s;
    s->by_id = arena_alloc_array(l->memory, s->spans + 1, sizeof *s->by_id);
    if (s->by_id == NULL)
        return arena_failure(l->memory);
    for (size_t i = 0; i < s->spans; i++)
        s->by_id[i] = l->row_of[l->b->by_id[i]];
    for (size_t from = 0, to; from < s->spans; from = to) {
        for (to = from + 1;
             to < s->spans && s->rows[s->by_id[to]].id == s->rows[s->by_id[from]].id;)
            to++;
        if (to - from > 1)
            qsort(s->by_id + from, to - from, sizeof *s->by_id, order_index);
    }
    return ERR_OK;
}

/* Field by field: padding has no value of its own. */
static uint64_t version_of(const struct skeleton *s)
{
    uint64_t h = hash_bytes_seeded(bytes_of(&s->t0_unix_ns, sizeof s->t0_unix_ns), s->count);
    for (size_t i = 0; i < s->count; i++) {
        const struct skeleton_row *r = &s->rows[i];
        uint64_t fields[] = { r->id, r->start_ns, r->duration_ns,
                              (uint64_t)r->parent << 32 | r->name,
                              (uint64_t)r->service << 32 | (uint64_t)r->flags << 8 | r->kind };
        h = hash_bytes_seeded(bytes_of(fields, sizeof fields), h);
    }
    return h;
}

static enum err lay_out(struct laying *l)
{
    enum err e = prepare(l);
    l->s->t0_unix_ns = choose_t0(l->b);
    if (e == ERR_OK)
        e = lay_rows(l);
    if (e == ERR_OK)
        e = take_texts(l);
    if (e == ERR_OK)
        e = take_shifts(l);
    if (e == ERR_OK)
        e = take_index(l);
    measure(l);
    return e;
}

enum err skeleton_finish(struct skeleton_builder *b, struct arena *memory, struct skeleton *out)
{
    struct skeleton s = { 0 };
    struct laying l = { .b = b, .s = &s, .memory = memory };
    enum err e = find_parents(b);
    if (e == ERR_OK) {
        mark_logs(b);
        e = list_children(b);
    }
    if (e == ERR_OK)
        e = query_check(b->q);
    if (e == ERR_OK)
        e = lay_out(&l);
    if (e == ERR_OK) {
        s.version = version_of(&s);
        *out = s;
    }
    return e;
}

/* ---- Looking up ---- */

size_t skeleton_find(const struct skeleton *s, uint64_t id)
{
    size_t low = 0, high = s->spans;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->rows[s->by_id[middle]].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
