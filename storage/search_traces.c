/* SPDX-License-Identifier: Apache-2.0 */
/* Finding traces in order.
 *
 * A scan yields rows; a trace that has one is a candidate. What is known of a candidate is a bound:
 * its start is at most that of any of its rows; its duration is measured (search_slowest.c).
 * Assembling it whole makes the bound exact, or drops it. Candidates wait in a heap by bound. The
 * first of them is the next of the answer once it is exact and no segment that is still unread can
 * hold a trace before it:
 *
 *     bound of the first > greatest key in what is unread   assemble it, or give it out if it is exact
 *     otherwise                                             scan the next segment
 *
 * I1: a trace is given out only when every other trace, known or not, comes after it.
 * I2: so whatever ends the search early, what was given out is a prefix of the whole answer. */
#include "storage/search_find.h"
#include "storage/service_name.h"

#include <assert.h>
#include <stdlib.h>

/* ---- Scanning ---- */

static bool on_match(void *context, const struct segment_row *row)
{
    struct find *f = context;
    struct candidate *known = find_candidate(f, &row->trace_id);
    if (known != NULL) {
        if (known->state == BOUND && row->start_unix_ns < known->key)
            known->key = row->start_unix_ns;
        return true;
    }
    struct candidate *c = find_add(
        f, &(struct candidate){ .id = row->trace_id, .key = row->start_unix_ns, .state = BOUND });
    if (c != NULL)
        find_heap_append(f, c);
    return c != NULL;
}

void find_note(struct find *f, const struct search_order *at, bool has_rows)
{
    f->search.progress.scanned_groups++;
    f->search.progress.scanned_bytes += has_rows ? at->bounds.bytes : 0;
    f->search.progress.scanned_rows += has_rows ? at->bounds.rows : 0;
}

enum err find_scan(struct find *f, const struct search_order *at, bool is_noted,
                   segment_row_fn *on_row, void *context)
{
    const struct expr *filter = f->query->filter;
    struct time_range range = f->query->range;
    struct segment *segment;
    if (!search_may_match(&f->search, at->index, filter)) {
        if (is_noted)
            find_note(f, at, false);
        return query_check(f->search.q);
    }
    enum err e = search_open(&f->search, at->index, &segment);
    if (e != ERR_OK || segment == NULL)
        return e;
    bool may_match = segment->ops->may_match(segment, filter, range.min_unix_ns, range.max_unix_ns);
    if (is_noted)
        find_note(f, at, may_match);
    if (!may_match)
        return ERR_OK;
    f->failure = ERR_OK;
    e = segment->ops->scan(segment, f->search.q, filter, range.min_unix_ns, range.max_unix_ns,
                           on_row, context);
    e = search_pass_damage(&f->search, at->index, e);
    return f->failure != ERR_OK ? f->failure : e;
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
        facts.root_service = service_name(t->groups[root->group].group.resource);
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
        e = find_array_grow(&f->search.scratch, &f->summaries, f->summaries_count + 1,
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
        return c->least > after->key ||
               (c->least == c->key && !find_is_after(after, c->key, &c->id));
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
    if (!find_is_after(&f->query->after, key, &id))
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
        find_heap_push(f, number);
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

enum err find_advance(struct find *f, bool has_unread, uint64_t unread_max,
                      struct trace_result *out)
{
    while (f->heap_count > 0 && out->count < f->query->limit) {
        if (has_unread && f->candidates[f->heap[0]].key <= unread_max)
            return ERR_OK;
        uint32_t number = find_heap_pop(f);
        struct candidate *c = &f->candidates[number];
        if (c->state == EXACT) {
            enum err e = find_array_grow(f->search.q->arena, &out->traces, out->count + 1,
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
        e = find_advance(f, has_unread, unread_max, out);
        *out_may_be_more = has_unread || f->heap_count > 0;
        if (e != ERR_OK || !has_unread || out->count == f->query->limit)
            break;
        e = find_scan(f, &order[next++], true, on_match, f);
        find_heap_rebuild(f);
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
    arena_init(&f.table, search_scratch_bytes(q), q->arena->budget);
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
    arena_deinit(&f.table);
    trace_parts_deinit(&f.parts);
    search_deinit(&f.search);
    if (e == ERR_OK)
        *out = result;
    return e;
}
