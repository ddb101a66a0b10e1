/* SPDX-License-Identifier: Apache-2.0 */
/* Finding traces in order.
 *
 * A scan yields rows; a trace that has one is a candidate. What is known of a candidate is a bound:
 * its start is at most that of any of its rows; for the slowest order, where rows bound nothing,
 * either nothing or its duration from a pass over all segments. Assembling it whole makes the bound
 * exact, or drops it. Candidates wait in a heap by bound. The first of them is the next of the
 * answer once it is exact and no segment that is still unread can hold a trace before it:
 *
 *     bound of the first > latest start in what is unread   assemble it, or give it out if it is
 * exact otherwise                                             scan the next segment
 *
 * The slowest order has to see every candidate before the first result. Where memory does not hold them
 * all, they are taken in shares, by a hash of their IDs, each in passes of its own, and the shares' results
 * are merged.
 *
 * I1: a trace is given out only when every other trace, known or not, comes after it.
 * I2: so whatever ends the search early, what was given out is a prefix of the whole answer. */
#include "storage/search_private.h"

#include <assert.h>
#include <stdlib.h>

/* Up to so many candidates are assembled one by one for the slowest order; more are measured by one
 * pass over all segments first. One assembly costs about as much as scanning some thousand rows. */
#define SLOWEST_ASSEMBLE_MAX 256
/* Into so many shares at most: each costs a scan of everything. */
#define SHARES_MAX 64

enum state { BOUND, EXACT, DONE };

struct candidate {
    struct trace_id id;
    uint64_t key;                /* start or duration: not less than the true one, or that itself */
    uint64_t start_min, end_max; /* the measuring pass */
    enum state state;
    uint32_t summary; /* EXACT: in find.summaries */
};

struct find {
    struct search search;
    const struct trace_query *query;
    struct trace_parts parts;
    struct arena once; /* of the trace at hand */
    struct buffer data;
    struct candidate *candidates;
    size_t count, capacity;
    uint32_t *slots; /* open addressing by trace ID: candidate + 1 */
    size_t slots_mask;
    uint32_t *heap; /* candidates; the first of the order on top */
    size_t heap_count;
    struct trace_summary *summaries; /* of exact candidates */
    size_t summaries_count, summaries_capacity;
    size_t results_capacity;
    size_t *late; /* newest order: segments that may hold spans from the cursor's time or before */
    size_t late_count;
    uint64_t shares, share; /* candidates are those of this share, by a hash of their ID */
    bool asks_children;
    enum err failure; /* of a scan's callback */
};

/* ---- Candidates ---- */

/* An array that grows in an arena, by doubling. */
static enum err arena_array_grow(struct arena *a, void *array_of_pointer, size_t count,
                                 size_t *capacity, size_t size)
{
    if (count <= *capacity)
        return ERR_OK;
    size_t wanted = *capacity == 0 ? 64 : *capacity * 2;
    assert(wanted >= count);
    void *old, *block = arena_alloc(a, wanted * size);
    if (block == NULL)
        return arena_failure(a);
    memcpy(&old, array_of_pointer, sizeof old);
    if (*capacity > 0)
        memcpy(block, old, *capacity * size);
    memcpy(array_of_pointer, &block, sizeof block);
    *capacity = wanted;
    return ERR_OK;
}

/* Peers choose trace IDs, so mix them with a seed of this search: its own address. */
static uint64_t hash_id(const struct find *f, const struct trace_id *id)
{
    return hash_bytes_seeded(bytes_of(id->b, sizeof id->b), (uint64_t)(uintptr_t)f);
}

static size_t slot_of(const struct find *f, const struct trace_id *id)
{
    return (size_t)hash_id(f, id) & f->slots_mask;
}

static bool is_in_share(const struct find *f, const struct trace_id *id)
{
    return f->shares == 1 || (hash_id(f, id) >> 48 & (f->shares - 1)) == f->share;
}

/* Forget all candidates; their memory is used again. */
static void candidates_clear(struct find *f)
{
    f->count = 0;
    f->heap_count = 0;
    f->summaries_count = 0;
    if (f->slots != NULL)
        memset(f->slots, 0, (f->slots_mask + 1) * sizeof *f->slots);
}

/* Give back all memory but the results'. */
static void scratch_clear(struct find *f)
{
    search_forget(&f->search);
    f->candidates = NULL;
    f->slots = NULL;
    f->heap = NULL;
    f->summaries = NULL;
    f->count = f->capacity = f->heap_count = f->slots_mask = 0;
    f->summaries_count = f->summaries_capacity = 0;
}

static struct candidate *candidate_find(const struct find *f, const struct trace_id *id)
{
    if (f->slots == NULL)
        return NULL;
    for (size_t i = slot_of(f, id); f->slots[i] != 0; i = (i + 1) & f->slots_mask) {
        struct candidate *c = &f->candidates[f->slots[i] - 1];
        if (memcmp(c->id.b, id->b, sizeof id->b) == 0)
            return c;
    }
    return NULL;
}

static void slot_put(struct find *f, uint32_t number)
{
    size_t i = slot_of(f, &f->candidates[number].id);
    while (f->slots[i] != 0)
        i = (i + 1) & f->slots_mask;
    f->slots[i] = number + 1;
}

static enum err slots_grow(struct find *f)
{
    size_t size = f->slots == NULL ? 1024 : (f->slots_mask + 1) * 2;
    uint32_t *slots = arena_alloc_array(&f->search.scratch, size, sizeof *slots);
    uint32_t *heap =
        slots == NULL ? NULL : arena_alloc_array(&f->search.scratch, size / 2, sizeof *heap);
    if (heap == NULL)
        return arena_failure(&f->search.scratch);
    if (f->heap_count > 0)
        memcpy(heap, f->heap, f->heap_count * sizeof *heap);
    f->heap = heap; /* every candidate may stand in it once */
    f->slots = slots;
    f->slots_mask = size - 1;
    for (size_t i = 0; i < f->count; i++)
        slot_put(f, (uint32_t)i);
    return ERR_OK;
}

static enum err candidate_add(struct find *f, const struct candidate *c, uint32_t *out_number)
{
    enum err e = ERR_OK;
    if (f->slots == NULL || f->count >= (f->slots_mask + 1) / 2)
        e = slots_grow(f);
    if (e == ERR_OK)
        e = arena_array_grow(&f->search.scratch, &f->candidates, f->count + 1, &f->capacity,
                             sizeof *f->candidates);
    if (e != ERR_OK)
        return e;
    f->candidates[f->count] = *c;
    *out_number = (uint32_t)f->count++;
    slot_put(f, *out_number);
    return ERR_OK;
}

/* ---- Order ---- */

static int order_id(const struct trace_id *a, const struct trace_id *b)
{
    return memcmp(a->b, b->b, sizeof a->b);
}

/* The greater key first. At equal keys a bound goes before what is exact: it may turn out to be
 * equal, with a smaller ID. */
static bool comes_before(const struct candidate *a, const struct candidate *b)
{
    if (a->key != b->key)
        return a->key > b->key;
    if (a->state != b->state)
        return a->state == BOUND;
    return order_id(&a->id, &b->id) < 0;
}

static bool heap_before(const struct find *f, size_t i, size_t j)
{
    return comes_before(&f->candidates[f->heap[i]], &f->candidates[f->heap[j]]);
}

static void heap_swap(struct find *f, size_t i, size_t j)
{
    uint32_t t = f->heap[i];
    f->heap[i] = f->heap[j];
    f->heap[j] = t;
}

static void heap_up(struct find *f, size_t i)
{
    while (i > 0 && heap_before(f, i, (i - 1) / 2)) {
        heap_swap(f, i, (i - 1) / 2);
        i = (i - 1) / 2;
    }
}

static void heap_down(struct find *f, size_t i)
{
    for (;;) {
        size_t first = i, left = 2 * i + 1, right = 2 * i + 2;
        if (left < f->heap_count && heap_before(f, left, first))
            first = left;
        if (right < f->heap_count && heap_before(f, right, first))
            first = right;
        if (first == i)
            return;
        heap_swap(f, i, first);
        i = first;
    }
}

static void heap_push(struct find *f, uint32_t number)
{
    assert(f->heap_count < (f->slots_mask + 1) / 2);
    f->heap[f->heap_count++] = number;
    heap_up(f, f->heap_count - 1);
}

static uint32_t heap_pop(struct find *f)
{
    uint32_t top = f->heap[0];
    f->heap[0] = f->heap[--f->heap_count];
    heap_down(f, 0);
    return top;
}

/* Keys change only while a scan runs; the order is mended once after it. */
static void heap_rebuild(struct find *f)
{
    for (size_t i = f->heap_count / 2; i-- > 0;)
        heap_down(f, i);
}

static bool is_after_cursor(const struct find_cursor *after, uint64_t key,
                            const struct trace_id *id)
{
    if (!after->is_set || key < after->key)
        return true;
    return key == after->key && order_id(id, &after->id) > 0;
}

/* ---- Scanning ---- */

static bool on_match(void *context, const struct segment_row *row)
{
    struct find *f = context;
    bool is_slowest = f->query->order == FIND_SLOWEST;
    if (!is_in_share(f, &row->trace_id))
        return true;
    struct candidate *known = candidate_find(f, &row->trace_id);
    if (known != NULL) {
        if (!is_slowest && known->state == BOUND && row->start_unix_ns < known->key)
            known->key = row->start_unix_ns;
        return true;
    }
    struct candidate c = { .id = row->trace_id,
                           .key = is_slowest ? UINT64_MAX : row->start_unix_ns,
                           .start_min = UINT64_MAX,
                           .state = BOUND };
    uint32_t number;
    f->failure = candidate_add(f, &c, &number);
    if (f->failure != ERR_OK)
        return false;
    f->heap[f->heap_count++] = number;
    return true;
}

static bool on_measure(void *context, const struct segment_row *row)
{
    struct candidate *c = candidate_find(context, &row->trace_id);
    if (c != NULL) {
        uint64_t end = row->start_unix_ns + row->duration_ns;
        c->start_min = row->start_unix_ns < c->start_min ? row->start_unix_ns : c->start_min;
        c->end_max = end > c->end_max ? end : c->end_max;
    }
    return true;
}

static enum err scan(struct find *f, const struct search_order *at, const struct expr *filter,
                     struct time_range range, segment_row_fn *on_row)
{
    struct segment *segment;
    enum err e = search_open(&f->search, at->index, &segment);
    if (e != ERR_OK || segment == NULL)
        return e;
    f->search.progress.scanned_groups++;
    if (!segment->ops->may_match(segment, filter, range.min_unix_ns, range.max_unix_ns))
        return ERR_OK;
    f->search.progress.scanned_bytes += at->bounds.bytes;
    f->search.progress.scanned_rows += at->bounds.rows;
    f->failure = ERR_OK;
    e = segment->ops->scan(segment, f->search.q, filter, range.min_unix_ns, range.max_unix_ns,
                           on_row, f);
    e = search_pass_damage(&f->search, at->index, e);
    return f->failure != ERR_OK ? f->failure : e;
}

/* For the slowest order: every candidate's duration, from the rows of all segments, whatever their
 * time. */
static enum err measure(struct find *f)
{
    struct time_range always = { 0, UINT64_MAX };
    struct search_order *order = NULL;
    size_t count = 0;
    enum err e = search_segments(&f->search, SIGNAL_TRACES, always, FIND_NEWEST, &order, &count);
    for (size_t i = 0; e == ERR_OK && i < count; i++) {
        if (order[i].bounds.start_max_unix_ns == UINT64_MAX)
            return ERR_OK; /* a range excludes its maximum: leave the bounds as they are */
    }
    for (size_t i = 0; e == ERR_OK && i < count; i++)
        e = scan(f, &order[i], NULL, always, on_measure);
    for (size_t i = 0; e == ERR_OK && i < f->count; i++) {
        struct candidate *c = &f->candidates[i];
        if (c->state == BOUND && c->start_min <= c->end_max)
            c->key = c->end_max - c->start_min;
    }
    return e;
}

/* ---- One whole trace ---- */

static struct otlp_trace_facts facts_of(const struct trace_parts *t)
{
    struct otlp_trace_facts facts = { .start_unix_ns = UINT64_MAX };
    const struct trace_item *root = NULL;
    for (size_t i = 0; i < t->count; i++) {
        const struct trace_item *item = &t->items[i];
        if (item->start_unix_ns < facts.start_unix_ns)
            facts.start_unix_ns = item->start_unix_ns;
        if (item->end_unix_ns > facts.end_unix_ns)
            facts.end_unix_ns = item->end_unix_ns;
        if (item->has_parent)
            continue;
        if (root == NULL || item->start_unix_ns < root->start_unix_ns ||
            (item->start_unix_ns == root->start_unix_ns &&
             memcmp(item->span_id.b, root->span_id.b, sizeof item->span_id.b) < 0))
            root = item;
    }
    if (root != NULL) {
        struct otlp_span span;
        otlp_span_read(root->item, &span);
        facts.has_root = true;
        facts.root_name = span.name;
        facts.root_service = otlp_service_name(t->groups[root->group].group.resource);
    }
    return facts;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

static size_t first_at_least(const uint64_t *sorted, size_t count, uint64_t wanted)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (sorted[middle] < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The parents of all spans, sorted. */
static enum err parents_of(const struct trace_parts *t, struct arena *memory, uint64_t **out,
                           size_t *out_count)
{
    uint64_t *parents = arena_alloc_array(memory, t->count, sizeof *parents);
    size_t count = 0;
    if (parents == NULL)
        return arena_failure(memory);
    for (size_t i = 0; i < t->count; i++) {
        if (t->items[i].has_parent)
            parents[count++] = load_le64(t->items[i].parent_span_id.b);
    }
    qsort(parents, count, sizeof *parents, by_number);
    *out = parents;
    *out_count = count;
    return ERR_OK;
}

static uint32_t children_of(const uint64_t *parents, size_t count, const struct span_id *id)
{
    uint64_t number = load_le64(id->b);
    size_t first = first_at_least(parents, count, number);
    size_t end = number == UINT64_MAX ? count : first_at_least(parents, count, number + 1);
    return (uint32_t)(end - first);
}

/* Which items match, all being known now. out has room for every item. */
static enum err match_items(struct find *f, const struct otlp_trace_facts *facts, uint32_t *out,
                            size_t *out_count)
{
    const struct trace_parts *t = &f->parts;
    struct time_range range = f->query->range;
    uint64_t *parents = NULL;
    size_t parents_count = 0, count = 0;
    enum err e = f->asks_children ? parents_of(t, &f->once, &parents, &parents_count) : ERR_OK;
    struct otlp_row r;
    otlp_row_init(&r, SIGNAL_TRACES);
    r.trace = facts;
    for (size_t i = 0; e == ERR_OK && i < t->count; i++) {
        const struct trace_item *item = &t->items[i];
        if (i % 1024 == 1023)
            e = query_check(f->search.q);
        if (item->start_unix_ns < range.min_unix_ns || item->start_unix_ns >= range.max_unix_ns)
            continue;
        const struct otlp_group *g = &t->groups[item->group].group;
        otlp_row_set(&r, g->resource, g->scope, item->item);
        if (f->asks_children)
            r.child_count = children_of(parents, parents_count, &item->span_id);
        if (expr_evaluate(f->query->filter, &r.row) == EXPR_TRUE)
            out[count++] = (uint32_t)i;
    }
    otlp_row_deinit(&r);
    *out_count = count;
    return e;
}

struct by_start {
    uint64_t start_unix_ns;
    uint32_t item;
};

static int earlier_first(const void *a, const void *b)
{
    const struct by_start *x = a, *y = b;
    if (x->start_unix_ns != y->start_unix_ns)
        return x->start_unix_ns < y->start_unix_ns ? -1 : 1;
    return (x->item > y->item) - (x->item < y->item);
}

/* The first of the matching spans by start, as TracesData. */
static enum err write_matched(struct find *f, const uint32_t *matched, size_t count,
                              struct bytes *out)
{
    struct by_start *sorted = arena_alloc_array(&f->once, count, sizeof *sorted);
    uint32_t *which = arena_alloc_array(&f->once, count, sizeof *which);
    enum err e = sorted == NULL || which == NULL ? arena_failure(&f->once) : ERR_OK;
    if (e == ERR_OK) {
        for (size_t i = 0; i < count; i++)
            sorted[i] = (struct by_start){ f->parts.items[matched[i]].start_unix_ns, matched[i] };
        qsort(sorted, count, sizeof *sorted, earlier_first);
        size_t shown = count < f->query->spans_per_trace ? count : f->query->spans_per_trace;
        for (size_t i = 0; i < shown; i++)
            which[i] = sorted[i].item;
        buffer_reset(&f->data);
        trace_parts_write(&f->parts, which, shown, &f->data);
        e = buffer_error(&f->data);
    }
    if (e == ERR_OK)
        e = arena_dup(f->search.q->arena, buffer_bytes(&f->data), out);
    return e;
}

static enum err summarize(struct find *f, const uint32_t *matched, size_t matched_count,
                          uint32_t *out_summary)
{
    buffer_reset(&f->data);
    trace_parts_write(&f->parts, NULL, f->parts.count, &f->data);
    enum err e = buffer_error(&f->data);
    if (e == ERR_OK)
        e = arena_array_grow(&f->search.scratch, &f->summaries, f->summaries_count + 1,
                             &f->summaries_capacity, sizeof *f->summaries);
    if (e != ERR_OK)
        return e;
    struct trace_summary *summary = &f->summaries[f->summaries_count];
    e = trace_summarize(buffer_bytes(&f->data), f->search.q->arena, summary);
    if (e != ERR_OK)
        return e;
    summary->matched_spans = (uint32_t)matched_count;
    if (f->query->spans_per_trace > 0)
        e = write_matched(f, matched, matched_count, &summary->matched);
    if (e == ERR_OK)
        *out_summary = (uint32_t)f->summaries_count++;
    return e;
}

/* Known without assembling it, or the pages of a long answer would cost the more the further they are. By
 * start: no span of the trace can be as early as the cursor. By duration: it was measured. */
static bool was_on_earlier_page(const struct find *f, const struct candidate *c)
{
    const struct find_cursor *after = &f->query->after;
    if (!after->is_set)
        return false;
    if (f->query->order == FIND_SLOWEST)
        return c->start_min <= c->end_max &&
               !is_after_cursor(after, c->end_max - c->start_min, &c->id);
    if (c->key <= after->key)
        return false;
    for (size_t i = 0; i < f->late_count; i++)
        if (search_may_contain(&f->search, f->late[i], &c->id))
            return false;
    return true;
}

/* Make a bound exact, or drop the candidate: it does not match, or was on an earlier page. */
static enum err resolve(struct find *f, uint32_t number)
{
    if (was_on_earlier_page(f, &f->candidates[number])) {
        f->candidates[number].state = DONE;
        return ERR_OK;
    }
    struct trace_id id = f->candidates[number].id;
    enum err e = trace_parts_load(&f->parts, &f->search, &id, SIGNAL_TRACES);
    if (e != ERR_OK)
        return e;
    f->candidates[number].state = DONE;
    if (f->parts.count == 0) /* what the scan saw is damaged or gone */
        return ERR_OK;
    struct otlp_trace_facts facts = facts_of(&f->parts);
    uint64_t key = f->query->order == FIND_SLOWEST ? facts.end_unix_ns - facts.start_unix_ns
                                                   : facts.start_unix_ns;
    if (!is_after_cursor(&f->query->after, key, &id))
        return ERR_OK;

    arena_reset(&f->once);
    uint32_t *matched = arena_alloc_array(&f->once, f->parts.count, sizeof *matched);
    if (matched == NULL)
        return arena_failure(&f->once);
    size_t matched_count = 0;
    uint32_t summary = 0;
    e = match_items(f, &facts, matched, &matched_count);
    if (e == ERR_OK && matched_count > 0)
        e = summarize(f, matched, matched_count, &summary);
    if (e == ERR_OK && matched_count > 0) {
        struct candidate *c = &f->candidates[number];
        c->key = key;
        c->summary = summary;
        c->state = EXACT;
        heap_push(f, number);
    }
    return e;
}

/* ---- The search ---- */

static bool asks_children(const struct expr *e)
{
    if (e == NULL)
        return false;
    return (e->op == EXPR_FIELD && e->scope == EXPR_SCOPE_INTRINSIC &&
            e->intrinsic == EXPR_INTRINSIC_SPAN_CHILD_COUNT) ||
           asks_children(e->left) || asks_children(e->right);
}

/* Give out, or resolve, candidates that come before everything unread; `unread_max` is the latest
 * start there can be in it. */
static enum err advance(struct find *f, bool has_unread, uint64_t unread_max,
                        struct trace_result *out)
{
    while (f->heap_count > 0 && out->count < f->query->limit) {
        if (has_unread && f->candidates[f->heap[0]].key <= unread_max)
            return ERR_OK;
        uint32_t number = heap_pop(f);
        struct candidate *c = &f->candidates[number];
        if (c->state == EXACT) {
            enum err e = arena_array_grow(f->search.q->arena, &out->traces, out->count + 1,
                                          &f->results_capacity, sizeof *out->traces);
            if (e != ERR_OK)
                return e;
            out->traces[out->count++] = f->summaries[c->summary];
            out->next = (struct find_cursor){ true, c->key, c->id };
            c->state = DONE;
            continue;
        }
        enum err e = resolve(f, number);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

/* List the segments that was_on_earlier_page() has to ask. */
static enum err list_late(struct find *f)
{
    struct search_order *order = NULL;
    size_t count = 0;
    struct time_range until = { 0, f->query->after.key };
    if (!f->query->after.is_set)
        return ERR_OK;
    if (until.max_unix_ns < UINT64_MAX)
        until
            .max_unix_ns++; /* a range excludes its maximum; at the last moment of all no trace is newer */
    enum err e = search_segments(&f->search, SIGNAL_TRACES, until, FIND_NEWEST, &order, &count);
    if (e != ERR_OK)
        return e;
    f->late = arena_alloc_array(&f->search.scratch, count + 1, sizeof *f->late);
    if (f->late == NULL)
        return arena_failure(&f->search.scratch);
    for (size_t i = 0; i < count; i++)
        f->late[i] = order[i].index;
    f->late_count = count;
    return ERR_OK;
}

static enum err find_newest(struct find *f, struct trace_result *out, bool *out_may_be_more)
{
    struct search_order *order = NULL;
    size_t count = 0, next = 0;
    enum err e =
        search_segments(&f->search, SIGNAL_TRACES, f->query->range, FIND_NEWEST, &order, &count);
    if (e == ERR_OK)
        e = list_late(f);
    while (e == ERR_OK) {
        bool has_unread = next < count;
        uint64_t unread_max = has_unread ? order[next].bounds.start_max_unix_ns : 0;
        if (unread_max >= f->query->range.max_unix_ns)
            unread_max = f->query->range.max_unix_ns - 1;
        e = advance(f, has_unread, unread_max, out);
        *out_may_be_more = has_unread || f->heap_count > 0;
        if (e != ERR_OK || !has_unread || out->count == f->query->limit)
            break;
        e = scan(f, &order[next++], f->query->filter, f->query->range, on_match);
        heap_rebuild(f);
    }
    return e;
}

static enum err find_slowest_of_share(struct find *f, struct trace_result *out,
                                      bool *out_may_be_more)
{
    struct search_order *order = NULL;
    size_t count = 0;
    enum err e =
        search_segments(&f->search, SIGNAL_TRACES, f->query->range, FIND_NEWEST, &order, &count);
    for (size_t i = 0; e == ERR_OK && i < count; i++)
        e = scan(f, &order[i], f->query->filter, f->query->range, on_match);
    if (e == ERR_OK && f->count > SLOWEST_ASSEMBLE_MAX)
        e = measure(f);
    if (e == ERR_OK) {
        heap_rebuild(f);
        e = advance(f, false, 0, out);
    }
    *out_may_be_more = f->heap_count > 0;
    return e;
}

static uint64_t duration_of(const struct trace_summary *t)
{
    return t->end_unix_ns - t->start_unix_ns;
}

static bool is_slower(const struct trace_summary *a, const struct trace_summary *b)
{
    uint64_t x = duration_of(a), y = duration_of(b);
    return x != y ? x > y : order_id(&a->trace_id, &b->trace_id) < 0;
}

/* The first of two lists' traces, as many as a page takes. */
static enum err merge_share(struct find *f, const struct trace_result *share,
                            struct trace_result *out, bool *out_may_be_more)
{
    size_t all = out->count + share->count;
    size_t count = all < f->query->limit ? all : f->query->limit;
    struct trace_summary *merged = arena_alloc_array(f->search.q->arena, count + 1, sizeof *merged);
    if (merged == NULL)
        return arena_failure(f->search.q->arena);
    for (size_t i = 0, a = 0, b = 0; i < count; i++) {
        bool takes_share =
            a == out->count || (b < share->count && is_slower(&share->traces[b], &out->traces[a]));
        merged[i] = takes_share ? share->traces[b++] : out->traces[a++];
    }
    out->traces = merged;
    out->count = count;
    *out_may_be_more |= count < all;
    if (count > 0) {
        const struct trace_summary *last = &merged[count - 1];
        out->next = (struct find_cursor){ true, duration_of(last), last->trace_id };
    }
    return ERR_OK;
}

static enum err find_slowest_by_shares(struct find *f, struct trace_result *out,
                                       bool *out_may_be_more)
{
    enum err e = ERR_OK;
    *out_may_be_more = false;
    for (f->share = 0; e == ERR_OK && f->share < f->shares; f->share++) {
        struct trace_result share = { 0 };
        bool share_has_more = false;
        f->results_capacity = 0;
        candidates_clear(f);
        e = find_slowest_of_share(f, &share, &share_has_more);
        if (e == ERR_OK)
            e = merge_share(f, &share, out, out_may_be_more);
        *out_may_be_more |= share_has_more;
    }
    return e;
}

static enum err find_slowest(struct find *f, struct trace_result *out, bool *out_may_be_more)
{
    enum err e = find_slowest_of_share(f, out, out_may_be_more);
    /* What was given out already is right, and memory for results is what lacks. */
    while ((e == ERR_TOO_LARGE || e == ERR_BUDGET) && out->count == 0 && f->shares < SHARES_MAX) {
        struct trace_result merged = { 0 };
        scratch_clear(f);
        f->shares *= 4;
        e = find_slowest_by_shares(f, &merged, out_may_be_more);
        if (e == ERR_OK)
            *out = merged;
    }
    return e;
}

enum err search_traces(const struct segment_source *source, const struct query_context *q,
                       const struct trace_query *query, struct trace_result *out)
{
    assert(query->order == FIND_NEWEST || query->order == FIND_SLOWEST);
    struct trace_result result = { .progress.is_complete = true };
    if (query->limit == 0 || query->range.min_unix_ns >= query->range.max_unix_ns) {
        *out = result;
        return ERR_OK;
    }
    struct find f = { .query = query, .shares = 1, .asks_children = asks_children(query->filter) };
    search_init(&f.search, source, q);
    trace_parts_init(&f.parts, q);
    arena_init(&f.once, search_scratch_bytes(q), q->arena->budget);
    search_buffer_init(&f.data, q);

    bool may_be_more = true;
    enum err e = query->order == FIND_SLOWEST ? find_slowest(&f, &result, &may_be_more)
                                              : find_newest(&f, &result, &may_be_more);
    result.progress = f.search.progress;
    if (search_is_bound(e)) {
        result.progress.is_complete = false;
        may_be_more = true;
        if (!result.next.is_set)
            result.next = query->after;
        e = ERR_OK;
    }
    if (!may_be_more)
        result.next = (struct find_cursor){ 0 };
    buffer_deinit(&f.data);
    arena_deinit(&f.once);
    trace_parts_deinit(&f.parts);
    search_deinit(&f.search);
    if (e == ERR_OK)
        *out = result;
    return e;
}
