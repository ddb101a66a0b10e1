/* SPDX-License-Identifier: Apache-2.0 */
/* The slowest traces first, without reading what cannot be among them.
 *
 * The duration of a trace is that of all its spans, and they may lie in several runs of rows (segment.h), in several
 * segments, so no run by itself bounds it. But the extents of all runs are known (extents.h: 16 bytes a run, which the source
 * keeps of segments that do not change), and give each run a key, which no trace that has spans in it outlasts:
 *
 *     spread    which traces have more than one run? A filter of the hashes seen so far says so; its false hits, and
 *               different traces with one hash, are taken for one, which makes keys greater and nothing else
 *     measure   the key of the runs of those: from their earliest start to their latest end. Of all others the key is the
 *               run's own extent, which is the duration of its trace
 *
 * Then runs are visited in rounds of descending keys: do rows of it match? If so, its trace is a candidate, with the key as
 * its bound. A round takes what is above a limit; all that is not visited yet has smaller keys, so the loop of the newest
 * order, with keys for starts, gives out what is certain, and ends when a page is full.
 *
 * A filter that matches few traces needs none of it: they are assembled one by one.
 *
 * Where memory does not hold what is spread, traces are taken in shares, by the hash of their IDs, each in passes of its own,
 * and the shares' results are merged. */
#include "storage/extents.h"
#include "storage/search_find.h"

#include <assert.h>
#include <stdlib.h>

/* Up to so many candidates are assembled one by one without measuring. One assembly costs about as much as
 * the passes over two segments. */
#define ASSEMBLE_MAX 64
/* Into so many shares at most: each costs the passes. A power of 2. */
#define SHARES_MAX 64
/* Of the filter of hashes: 16 bits and more for a trace where it has four spans on the average. */
#define SEEN_BITS_PER_ROW 4
/* Words of the filter that are asked for before they are needed. */
#define SEEN_AHEAD 16
/* Runs of the first round for each result that is wanted; and at most so many times more in the next as in all before. */
#define ROUND_FIRST  2
#define ROUND_GROWTH 8

/* Sixteen for each doubling of a key, the shortest first. */
#define BUCKETS ((64 - 4) * 16 + 16)

struct slowest_segment {
    uint32_t code_max; /* no run in it is longer */
    bool is_read;      /* rows were looked at */
    struct bytes
        made; /* extents that the source does not keep; empty: it does, or they are made each time */
};

/* Runs with equal hashes: of one trace, as far as is known. */
struct spread {
    uint64_t hash;
    uint64_t start_min, end_max;
};

/* One of its runs, in a segment of the range. */
struct occurrence {
    uint32_t spread, segment, run;
};

struct visit {
    uint32_t segment, run;
    uint64_t key, least; /* the trace's duration is at most, and where least is not 0 at least */
};

struct slowest {
    struct find *find;
    struct search_order *order; /* those of the range first, then all others */
    struct slowest_segment *segments;
    size_t count, in_range;
    size_t at;      /* in the order: the segment at hand */
    uint64_t *seen; /* the filter */
    uint64_t seen_words;
    struct buffer extents; /* of a segment, made now */
    struct arena made;     /* of those that were, and that the source does not keep */
    struct arena memory;   /* of what follows */
    struct spread *spreads;
    size_t spreads_count, spreads_capacity;
    uint32_t *slots; /* open addressing by hash: spread + 1 */
    size_t slots_mask;
    struct occurrence *occurrences;
    size_t occurrences_count, occurrences_capacity;
    struct visit *visits; /* of the round at hand */
    size_t visits_count, visits_capacity;
    size_t visits_from; /* of the segment at hand: scan_runs() numbers them from there */
    uint32_t *runs;     /* of the segment at hand */
    size_t runs_capacity;
    uint64_t keys[BUCKETS]; /* how many runs have such a key */
};

static struct find *find_of(void *context)
{
    return ((struct slowest *)context)->find;
}

/* ---- Segments and their extents ---- */

static bool is_in_range(const struct segment_bounds *b, struct time_range range)
{
    return b->start_max_unix_ns >= range.min_unix_ns && b->start_min_unix_ns < range.max_unix_ns;
}

static enum err list_segments(struct slowest *s)
{
    struct find *f = s->find;
    const struct segment_source *source = f->search.source;
    struct arena *scratch = &f->search.scratch;
    s->count = s->in_range = 0;
    s->order = arena_alloc_array(scratch, source->count + 1, sizeof *s->order);
    s->segments = arena_alloc_array(scratch, source->count + 1, sizeof *s->segments);
    if (s->order == NULL || s->segments == NULL)
        return arena_failure(scratch);
    uint64_t rows = 0;
    for (int wanted = 1; wanted >= 0; wanted--) {
        for (size_t i = 0; i < source->count; i++) {
            struct segment_bounds b;
            source->bounds(source->context, i, &b);
            if (b.signal != SIGNAL_TRACES || b.rows == 0 ||
                is_in_range(&b, f->query->range) != (wanted == 1))
                continue;
            s->order[s->count++] = (struct search_order){ .index = i, .bounds = b };
            rows += wanted == 1 ? b.rows : 0;
        }
        if (wanted == 1)
            s->in_range = s->count;
    }
    s->seen_words = 64 + rows * SEEN_BITS_PER_ROW / 64 / f->shares;
    s->seen = arena_alloc_array(scratch, s->seen_words, sizeof *s->seen);
    return s->seen == NULL ? arena_failure(scratch) : ERR_OK;
}

/* Made of the segment at hand; where there is memory it is for all passes. */
static enum err extents_now(struct slowest *s, struct bytes *out)
{
    struct find *f = s->find;
    const struct segment_source *source = f->search.source;
    size_t index = s->order[s->at].index;
    struct segment *segment;
    buffer_reset(&s->extents);
    *out = buffer_bytes(&s->extents);
    enum err e = search_open(&f->search, index, &segment);
    if (e != ERR_OK || segment == NULL)
        return e;
    s->segments[s->at].is_read = true;
    e = extents_make(segment, f->search.q, &s->extents);
    if (e == ERR_CORRUPT) { /* nothing half-read */
        buffer_reset(&s->extents);
        return search_pass_damage(&f->search, index, e);
    }
    if (e != ERR_OK)
        return e;
    *out = buffer_bytes(&s->extents);
    if (source->extents_keep == NULL || !source->extents_keep(source->context, index, *out))
        (void)!arena_dup(&s->made, *out, &s->segments[s->at].made); /* else it is made again */
    return ERR_OK;
}

/* Of the segment at hand, until they are asked for again. */
static enum err extents_get(struct slowest *s, struct extents *out)
{
    const struct segment_source *source = s->find->search.source;
    struct bytes made = s->segments[s->at].made;
    enum err e = query_check(s->find->search.q);
    if (e == ERR_OK && made.len == 0 &&
        (source->extents == NULL ||
         !source->extents(source->context, s->order[s->at].index, &made)))
        e = extents_now(s, &made);
    if (e == ERR_OK)
        *out = extents_read(made);
    return e;
}

static bool is_in_share(const struct slowest *s, uint64_t hash)
{
    return (hash >> 58 & (s->find->shares - 1)) == s->find->share;
}

/* ---- Keys: how many runs have which ---- */

static size_t bucket_of(uint64_t key)
{
    if (key < 16)
        return (size_t)key;
    unsigned below = 64 - 5 - (unsigned)__builtin_clzll(key);
    return (size_t)(below + 1) * 16 + (size_t)(key >> below & 15);
}

/* The least key of a bucket. */
static uint64_t bucket_key(size_t bucket)
{
    return bucket < 32 ? bucket : (16 | (bucket & 15)) << (bucket / 16 - 1);
}

/* The least duration of a trace that has one run alone, of this code. */
static uint64_t least_of_code(uint32_t code)
{
    return code <= EXTENT_CODE_EXACT ? code : extent_of_code(code - 1) + 1;
}

/* Of a trace that was given out on an earlier page, as far as that is certain. */
static bool was_given(const struct slowest *s, uint32_t code)
{
    const struct find_cursor *after = &s->find->query->after;
    return after->is_set && least_of_code(code) > after->key;
}

/* ---- Which are spread ---- */

static struct spread *spread_find(const struct slowest *s, uint64_t hash)
{
    if (s->slots == NULL)
        return NULL;
    for (size_t i = hash & s->slots_mask; s->slots[i] != 0; i = (i + 1) & s->slots_mask)
        if (s->spreads[s->slots[i] - 1].hash == hash)
            return &s->spreads[s->slots[i] - 1];
    return NULL;
}

static void slot_put(struct slowest *s, uint32_t number)
{
    size_t i = s->spreads[number].hash & s->slots_mask;
    while (s->slots[i] != 0)
        i = (i + 1) & s->slots_mask;
    s->slots[i] = number + 1;
}

static enum err slots_grow(struct slowest *s)
{
    size_t size = s->slots == NULL ? 1024 : (s->slots_mask + 1) * 2;
    uint32_t *slots = arena_alloc_array(&s->memory, size, sizeof *slots);
    if (slots == NULL)
        return arena_failure(&s->memory);
    s->slots = slots;
    s->slots_mask = size - 1;
    for (size_t i = 0; i < s->spreads_count; i++)
        slot_put(s, (uint32_t)i);
    return ERR_OK;
}

static enum err spread_add(struct slowest *s, uint64_t hash)
{
    if (spread_find(s, hash) != NULL)
        return ERR_OK;
    enum err e = ERR_OK;
    if (s->slots == NULL || s->spreads_count >= (s->slots_mask + 1) / 2)
        e = slots_grow(s);
    if (e == ERR_OK)
        e = search_grow(&s->memory, &s->spreads, &s->spreads_capacity, s->spreads_count + 1,
                        sizeof *s->spreads);
    if (e != ERR_OK)
        return e;
    s->spreads[s->spreads_count++] = (struct spread){ .hash = hash, .start_min = UINT64_MAX };
    slot_put(s, (uint32_t)s->spreads_count - 1);
    return ERR_OK;
}

static uint64_t *seen_word(const struct slowest *s, uint64_t hash)
{
    return &s->seen[((hash >> 12 & UINT32_MAX) * s->seen_words) >> 32];
}

/* The runs of one segment: are their hashes new? What lies out of the range is looked at, and not noted. */
static enum err spread_of(struct slowest *s, const struct extents *x)
{
    bool is_noted = s->at < s->in_range;
    enum err e = ERR_OK;
    for (uint32_t run = 0; e == ERR_OK && run < x->count; run++) {
        if (run + SEEN_AHEAD < x->count)
            __builtin_prefetch(seen_word(s, extents_hash_at(x, run + SEEN_AHEAD)));
        uint64_t hash = extents_hash_at(x, run);
        uint32_t code = extents_code_at(x, run);
        if (!is_in_share(s, hash))
            continue;
        uint64_t *word = seen_word(s, hash);
        uint64_t bits = UINT64_C(1) << (hash & 63) | UINT64_C(1) << (hash >> 6 & 63);
        if ((*word & bits) == bits)
            e = spread_add(s, hash);
        if (is_noted) {
            *word |= bits;
            s->keys[bucket_of(extent_of_code(code))] += !was_given(s, code);
        }
    }
    return e;
}

static enum err spread(struct slowest *s)
{
    enum err e = ERR_OK;
    memset(s->seen, 0, s->seen_words * sizeof *s->seen);
    memset(s->keys, 0, sizeof s->keys);
    for (s->at = 0; e == ERR_OK && s->at < s->count; s->at++) {
        struct extents x;
        struct slowest_segment *segment = &s->segments[s->at];
        bool was_read = segment->is_read;
        e = extents_get(s, &x);
        find_note(s->find, &s->order[s->at], segment->is_read && !was_read);
        if (e != ERR_OK)
            break;
        segment->code_max = x.code_max;
        e = spread_of(s, &x);
    }
    return e;
}

/* ---- How long those last ---- */

static enum err measure_of(struct slowest *s, const struct extents *x)
{
    enum err e = ERR_OK;
    for (uint32_t run = 0; e == ERR_OK && run < x->count; run++) {
        struct spread *t = spread_find(s, extents_hash_at(x, run));
        if (t == NULL)
            continue;
        struct extent one = extents_at(x, run);
        t->start_min = one.start_min_unix_ns < t->start_min ? one.start_min_unix_ns : t->start_min;
        t->end_max = one.end_max_unix_ns > t->end_max ? one.end_max_unix_ns : t->end_max;
        if (s->at >= s->in_range)
            continue;
        e = search_grow(&s->memory, &s->occurrences, &s->occurrences_capacity,
                        s->occurrences_count + 1, sizeof *s->occurrences);
        if (e == ERR_OK)
            s->occurrences[s->occurrences_count++] =
                (struct occurrence){ (uint32_t)(t - s->spreads), (uint32_t)s->at, run };
    }
    return e;
}

static uint64_t spread_key(const struct slowest *s, const struct occurrence *o)
{
    const struct spread *t = &s->spreads[o->spread];
    return t->end_max - t->start_min;
}

static enum err measure(struct slowest *s)
{
    enum err e = ERR_OK;
    for (s->at = 0; e == ERR_OK && s->spreads_count > 0 && s->at < s->count; s->at++) {
        struct extents x;
        e = extents_get(s, &x);
        if (e == ERR_OK)
            e = measure_of(s, &x);
    }
    for (size_t i = 0; e == ERR_OK && i < s->occurrences_count; i++)
        s->keys[bucket_of(spread_key(s, &s->occurrences[i]))]++;
    return e;
}

/* ---- Candidates ---- */

/* Few traces: without measuring. */
static bool on_few(void *context, const struct segment_row *row)
{
    struct find *f = find_of(context);
    if (find_candidate(f, &row->trace_id) != NULL)
        return true;
    if (f->count == ASSEMBLE_MAX) {
        f->failure = ERR_TOO_MANY;
        return false;
    }
    struct candidate *c =
        find_add(f, &(struct candidate){ .id = row->trace_id, .key = UINT64_MAX, .state = BOUND });
    if (c != NULL)
        find_heap_append(f, c);
    return c != NULL;
}

/* ERR_TOO_MANY: measure them. */
static enum err find_few(struct slowest *s, struct trace_result *out, bool *out_may_be_more)
{
    struct find *f = s->find;
    enum err e = f->query->filter == NULL ? ERR_TOO_MANY : ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < s->in_range; i++)
        e = find_scan(f, &s->order[i], true, on_few, s);
    if (e == ERR_OK) {
        find_heap_rebuild(f);
        e = find_advance(f, false, 0, out);
        *out_may_be_more = f->heap_count > 0;
    }
    return e;
}

/* ---- Rounds ---- */

/* Keys in [least, below) are looked at; below 0: all from `least` on. */
struct round {
    uint64_t least, below;
};

static bool is_in_round(const struct round *r, uint64_t key)
{
    return key >= r->least && (r->below == 0 || key < r->below);
}

/* From the bucket before which all was visited: so many runs, and the rest of the last one's bucket. */
static void round_next(const struct slowest *s, struct round *r, size_t *bucket, uint64_t wanted)
{
    uint64_t count = 0;
    r->below = *bucket == BUCKETS ? 0 : bucket_key(*bucket);
    while (*bucket > 0 && count < wanted)
        count += s->keys[--*bucket];
    r->least = bucket_key(*bucket);
}

/* As many runs as have the results that are missing, if matches are as frequent as until now, and a third more. */
static uint64_t round_wanted(const struct find *f, const struct trace_result *out, uint64_t visited)
{
    uint64_t missing = f->query->limit - out->count, most = visited * ROUND_GROWTH;
    uint64_t each = f->count == 0 ? visited : visited / f->count + 1;
    uint64_t wanted = missing > most / each ? most : missing * each * 4 / 3 + 1;
    return wanted > visited ? wanted : visited + 1;
}

static enum err visit_add(struct slowest *s, const struct visit *v)
{
    enum err e = search_grow(&s->memory, &s->visits, &s->visits_capacity, s->visits_count + 1,
                             sizeof *s->visits);
    if (e == ERR_OK)
        s->visits[s->visits_count++] = *v;
    return e;
}

static enum err collect_of(struct slowest *s, const struct round *r, const struct extents *x)
{
    enum err e = ERR_OK;
    uint32_t least = extent_code(r->least);
    for (uint32_t run = 0; e == ERR_OK && run < x->count; run++) {
        uint32_t code = extents_code_at(x, run);
        if (code < least || !is_in_round(r, extent_of_code(code)) || was_given(s, code))
            continue;
        uint64_t hash = extents_hash_at(x, run);
        if (is_in_share(s, hash) && spread_find(s, hash) == NULL)
            e = visit_add(s, &(struct visit){ .segment = (uint32_t)s->at,
                                              .run = run,
                                              .key = extent_of_code(code),
                                              .least = least_of_code(code) });
    }
    return e;
}

static int by_segment_and_run(const void *a, const void *b)
{
    const struct visit *x = a, *y = b;
    if (x->segment != y->segment)
        return x->segment < y->segment ? -1 : 1;
    return (x->run > y->run) - (x->run < y->run);
}

/* The runs of a round, in the order in which they lie. */
static enum err collect(struct slowest *s, const struct round *r)
{
    enum err e = ERR_OK;
    s->visits_count = 0;
    for (s->at = 0; e == ERR_OK && s->at < s->in_range; s->at++) {
        struct extents x;
        if (s->segments[s->at].code_max < extent_code(r->least))
            continue;
        e = extents_get(s, &x);
        if (e == ERR_OK)
            e = collect_of(s, r, &x);
    }
    for (size_t i = 0; e == ERR_OK && i < s->occurrences_count; i++) {
        const struct occurrence *o = &s->occurrences[i];
        uint64_t key = spread_key(s, o);
        if (is_in_round(r, key))
            e = visit_add(s, &(struct visit){ .segment = o->segment, .run = o->run, .key = key });
    }
    if (e == ERR_OK && s->visits_count > 0)
        qsort(s->visits, s->visits_count, sizeof *s->visits, by_segment_and_run);
    return e;
}

static bool on_run_row(void *context, const struct segment_row *row)
{
    struct slowest *s = context;
    struct find *f = s->find;
    if (find_candidate(f, &row->trace_id) != NULL)
        return true; /* of another run, with the same key */
    const struct visit *v = &s->visits[s->visits_from + row->run];
    struct candidate *c =
        find_add(f, &(struct candidate){
                        .id = row->trace_id, .key = v->key, .least = v->least, .state = BOUND });
    if (c != NULL)
        find_heap_append(f, c);
    return c != NULL;
}

/* The visits of one segment: [from, to). */
static enum err visit(struct slowest *s, size_t from, size_t to)
{
    struct find *f = s->find;
    const struct search_order *at = &s->order[s->visits[from].segment];
    struct slowest_segment *known = &s->segments[s->visits[from].segment];
    const struct expr *filter = f->query->filter;
    struct time_range range = f->query->range;
    struct segment *segment;
    if (!search_may_match(&f->search, at->index, filter))
        return query_check(f->search.q);
    enum err e = search_grow(&s->memory, &s->runs, &s->runs_capacity, to - from, sizeof *s->runs);
    if (e == ERR_OK)
        e = search_open(&f->search, at->index, &segment);
    if (e != ERR_OK || segment == NULL)
        return e;
    if (!known->is_read) {
        known->is_read = true;
        f->search.progress.scanned_rows += at->bounds.rows;
        f->search.progress.scanned_bytes += at->bounds.bytes;
    }
    for (size_t i = from; i < to; i++)
        s->runs[i - from] = s->visits[i].run;
    s->visits_from = from;
    f->failure = ERR_OK;
    e = segment->ops->scan_runs(segment, f->search.q, filter, range.min_unix_ns, range.max_unix_ns,
                                s->runs, to - from, on_run_row, s);
    e = search_pass_damage(&f->search, at->index, e);
    return f->failure != ERR_OK ? f->failure : e;
}

static enum err visit_all(struct slowest *s)
{
    enum err e = ERR_OK;
    for (size_t from = 0, to; e == ERR_OK && from < s->visits_count; from = to) {
        to = from + 1;
        while (to < s->visits_count && s->visits[to].segment == s->visits[from].segment)
            to++;
        e = visit(s, from, to);
    }
    find_heap_rebuild(s->find);
    return e;
}

/* What the passes of another share left. */
static void share_begin(struct slowest *s)
{
    arena_reset(&s->memory);
    s->slots = NULL;
    s->spreads = NULL;
    s->occurrences = NULL;
    s->visits = NULL;
    s->runs = NULL;
    s->spreads_count = s->spreads_capacity = 0;
    s->occurrences_count = s->occurrences_capacity = 0;
    s->visits_count = s->visits_capacity = s->runs_capacity = 0;
}

static enum err find_share(struct slowest *s, struct trace_result *out, bool *out_may_be_more)
{
    struct find *f = s->find;
    struct round round;
    size_t bucket = BUCKETS;
    uint64_t wanted = (uint64_t)f->query->limit * ROUND_FIRST + 1, visited = 0;
    share_begin(s);
    enum err e = spread(s);
    if (e == ERR_OK)
        e = measure(s);
    while (e == ERR_OK && bucket > 0 && out->count < f->query->limit) {
        round_next(s, &round, &bucket, wanted);
        e = collect(s, &round);
        visited += s->visits_count + 1;
        if (e == ERR_OK)
            e = visit_all(s);
        if (e == ERR_OK)
            e = find_advance(f, bucket > 0, bucket > 0 ? round.least - 1 : 0, out);
        wanted = round_wanted(f, out, visited);
    }
    *out_may_be_more = bucket > 0 || f->heap_count > 0;
    return e;
}

/* ---- Shares ---- */

static uint64_t duration_of(const struct trace_summary *t)
{
    return t->end_unix_ns - t->start_unix_ns;
}

static bool is_slower(const struct trace_summary *a, const struct trace_summary *b)
{
    uint64_t x = duration_of(a), y = duration_of(b);
    return x != y ? x > y : find_order_id(&a->trace_id, &b->trace_id) < 0;
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

static enum err find_by_shares(struct slowest *s, struct trace_result *out, bool *out_may_be_more)
{
    struct find *f = s->find;
    enum err e = list_segments(s);
    *out_may_be_more = false;
    for (f->share = 0; e == ERR_OK && f->share < f->shares; f->share++) {
        struct trace_result share = { 0 };
        bool share_has_more = false;
        f->results_capacity = 0;
        find_forget(f);
        e = find_share(s, &share, &share_has_more);
        if (e == ERR_OK)
            e = merge_share(f, &share, out, out_may_be_more);
        *out_may_be_more |= share_has_more;
    }
    return e;
}

static void slowest_release(struct slowest *s)
{
    const struct query_context *q = s->find->search.q;
    find_release(s->find);
    buffer_deinit(&s->extents);
    arena_deinit(&s->made);
    arena_deinit(&s->memory);
    *s = (struct slowest){ .find = s->find };
    arena_init(&s->memory, search_scratch_bytes(q), q->arena->budget);
    arena_init(&s->made, search_scratch_bytes(q), q->arena->budget);
    search_buffer_init(&s->extents, q);
}

enum err find_slowest(struct find *f, struct trace_result *out, bool *out_may_be_more)
{
    struct slowest s = { .find = f };
    slowest_release(&s);
    enum err e = list_segments(&s);
    if (e == ERR_OK)
        e = find_few(&s, out, out_may_be_more);
    if (e == ERR_TOO_MANY) {
        find_forget(f);
        e = find_share(&s, out, out_may_be_more);
    }
    /* What was given out already is right, and memory for results is what lacks. */
    while ((e == ERR_TOO_LARGE || e == ERR_BUDGET) && out->count == 0 && f->shares < SHARES_MAX) {
        struct trace_result merged = { 0 };
        slowest_release(&s);
        f->shares *= 4;
        e = find_by_shares(&s, &merged, out_may_be_more);
        if (e == ERR_OK)
            *out = merged;
    }
    slowest_release(&s);
    buffer_deinit(&s.extents);
    return e;
}
