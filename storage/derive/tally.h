/* SPDX-License-Identifier: Apache-2.0 */
/* tally.h - counts and durations by key and by step of time, and their stored form.
 *
 * Role       what a row group adds to the rollups, what stored rollups are merged in, and what a query sums
 *            up: all are one table of (key, step) to a point. Keys are opaque here: see derive_key.h.
 * Form       docs/FORMAT.md, "Rollups": keys in order, each with its points in order, and a hash.
 * Ownership  everything is allocated in the arena given at init; borrowed keys are copied.
 * Threads    one at a time.
 * Errors     ERR_NOMEM and what the arena says; ERR_TOO_MANY past TALLY_SERIES_MAX or TALLY_POINTS_MAX. After
 *            a failure the tally may hold a part of what was added: give it up. */
#ifndef SPINDLE_STORAGE_DERIVE_TALLY_H
#define SPINDLE_STORAGE_DERIVE_TALLY_H

#include "base/intern.h"
#include "storage/derived.h"

#include <assert.h>

#define TALLY_SERIES_MAX (1u << 20)
#define TALLY_POINTS_MAX (1u << 22)
#define TALLY_MINUTE_NS  DERIVED_STEP_MIN_NS
#define TALLY_HOUR_NS    (60 * TALLY_MINUTE_NS)
#define TALLY_DAY_NS     (24 * TALLY_HOUR_NS)

/* Estimates are counted in parts of 2^-16, so that sums do not depend on their order. */
#define TALLY_ONE (UINT64_C(1) << 16)

/* Durations of a point that are not in its histogram yet. In the arena: the buckets of those that are not 0. */
struct tally_values {
    int16_t *buckets; /* [capacity], at HISTOGRAM_SCALE */
    uint32_t count, capacity;
    uint64_t sum, min, max; /* as of a histogram */
    uint64_t zero_count;
};

/* What each span touches lies together, in front. */
struct tally_point {
    uint64_t start_unix_ns; /* a multiple of the step */
    uint32_t series;
    uint64_t calls, estimated_calls; /* estimates: in parts of TALLY_ONE; saturating */
    uint64_t bytes;
    struct tally_values first_values;
    struct derived_exemplar slowest; /* the longest */
    struct tally_values second_values;
    struct histogram first;  /* of spans: duration; of edges: client's */
    struct histogram second; /* of edges: server's */
    uint64_t errors, estimated_errors;
    struct derived_exemplar failed; /* the latest to start that failed */
};

struct tally {
    struct arena *arena;
    struct arena *windows; /* of histograms: the same, unless they outlive the points */
    uint64_t step_ns;      /* 0: all points begin at 0 */
    uint64_t width_ns;     /* the same, or without end */
    struct intern keys;
    struct tally_point **last; /* [keys.count]: the point that was asked for last, or NULL */
    uint32_t last_capacity;
    uint32_t *ranks; /* [ranks_count]: of each key in order; made when there are more keys */
    uint32_t ranks_count;
    struct tally_point **pages; /* of TALLY_PAGE points each, so that points do not move */
    uint32_t points_count, pages_capacity;
    uint32_t *slots; /* open addressing by (series, start): number of the point + 1 */
    uint32_t slot_mask;
};

/* An empty one, without memory. deinit frees what is the heap's (tables); points are the arena's. */
void tally_init(struct tally *t, struct arena *arena, uint64_t step_ns);
void tally_deinit(struct tally *t);
/* Empty again, with the memory of the tables, but without the arena's, which may be reset. */
void tally_reset(struct tally *t);
/* The same, but keys keep their numbers. */
void tally_empty(struct tally *t);

/* The number of a key, added when it is new. */
NODISCARD enum err tally_series(struct tally *t, struct bytes key, uint32_t *out_series);
/* Ask for what is counted in each time. */
static inline void tally_point_prefetch(const struct tally_point *p)
{
    __builtin_prefetch(p);
    __builtin_prefetch((const uint8_t *)p + 64);
    __builtin_prefetch(&p->slowest.duration_ns);
}
NODISCARD enum err tally_at_slow(struct tally *t, uint32_t series, uint64_t unix_ns,
                                 struct tally_point **out);
/* The point of the step in which a moment lies, added (empty) when it is new; stays where it is. */
NODISCARD static inline enum err tally_at(struct tally *t, uint32_t series, uint64_t unix_ns,
                                          struct tally_point **out)
{
    assert(series < t->keys.count);
    struct tally_point *p = t->last[series];
    if (p == NULL || unix_ns - p->start_unix_ns >= t->width_ns)
        return tally_at_slow(t, series, unix_ns, out);
    *out = p;
    return ERR_OK;
}
struct tally_point *tally_point(const struct tally *t, uint32_t number); /* < points_count */
static inline struct bytes tally_key(const struct tally *t, uint32_t series)
{
    return intern_get(&t->keys, series);
}
/* hash_bytes() of it. */
static inline uint64_t tally_key_hash(const struct tally *t, uint32_t series)
{
    return t->keys.hashes[series];
}
static inline int16_t tally_bucket(uint64_t duration_ns)
{
    return duration_ns == 0 ? -1 : (int16_t)histogram_bucket(duration_ns);
}
NODISCARD enum err tally_values_grow(struct tally *t,
                                     struct tally_values *v); /* room for one more */
/* Count a duration in the point's first or second histogram. Its bucket is only listed: the histograms of a row
 * group are many and small, so that a window for each would be more to clear and to look through than there are
 * durations. bucket: tally_bucket() of it, as a duration is counted in a series and in an edge. */
NODISCARD static inline enum err tally_duration(struct tally *t, struct tally_values *v,
                                                uint64_t duration_ns, int16_t bucket)
{
    if (v->count == v->capacity) {
        enum err e = tally_values_grow(t, v);
        if (e != ERR_OK)
            return e;
    }
    if (duration_ns != 0)
        v->buckets[v->count++] = bucket;
    else
        v->zero_count++;
    v->sum = v->sum > UINT64_MAX - duration_ns ? UINT64_MAX : v->sum + duration_ns;
    if (duration_ns < v->min)
        v->min = duration_ns;
    if (duration_ns > v->max)
        v->max = duration_ns;
    return ERR_OK;
}
/* Append the stored form of a histogram with the durations that are listed beside it. scatter: empty before and
 * after, but after an error. */
NODISCARD enum err tally_histogram_encode(struct histogram *h, struct tally_values *values,
                                          struct histogram_scatter *scatter, struct buffer *out);
/* Add what another point has. */
NODISCARD enum err tally_point_add(struct tally_point *into, const struct tally_point *from);
/* Whether an exemplar takes the place of another: the longer call; the later failure. Ties go by IDs, so that
 * the order in which they come does not matter. */
bool tally_is_slower(const struct derived_exemplar *a, const struct derived_exemplar *than);
bool tally_is_later(const struct derived_exemplar *a, const struct derived_exemplar *than);

/* All points ordered by key, then start, in the arena: [points_count]. */
NODISCARD enum err tally_sorted(struct tally *t, struct tally_point ***out);

/* Append the stored form. Its smallest and largest starts (0 and 0 when empty). ERR_NOMEM, the arena's, the
 * buffer's. */
struct tally_span {
    uint64_t min_unix_ns, max_unix_ns;
};
NODISCARD enum err tally_encode(struct tally *t, struct buffer *out, struct tally_span *out_span);
/* The same in a form for memory, which is added several times faster; of a tally whose durations are in histograms, not listed:
 * one that was summed up. */
NODISCARD enum err tally_pack(struct tally *t, struct buffer *out);
/* Add such a one. ERR_CORRUPT where it is not; the errors of tally_at(). */
NODISCARD enum err tally_add_packed(struct tally *t, struct bytes packed);

/* What to make of a stored key: false passes over it; else the key to count under, borrowed until the next
 * call. */
typedef bool tally_map_fn(void *context, struct bytes key, struct bytes *out_key);
struct tally_filter {
    tally_map_fn *map; /* NULL: all, as they are */
    void *context;
    uint64_t min_unix_ns, end_unix_ns;       /* of points' starts: from, and up to but without */
    uint64_t hole_unix_ns, hole_end_unix_ns; /* but those in between, likewise; equal: no hole */
    bool skips_durations;                    /* the histograms stay empty */
};
/* Add what is stored. ERR_CORRUPT; the same as above. */
NODISCARD enum err tally_add_stored(struct tally *t, struct bytes stored,
                                    const struct tally_filter *filter);

#define TALLY_MERGE_MAX 24u
struct tally_merged {
    struct tally_span span;
    uint64_t points, hours,
        days;   /* what there is of each; hours, days: as many as these steps would take */
    size_t bad; /* ERR_CORRUPT: which of them; else SIZE_MAX */
};
/* Append the stored form of the sum of stored ones, at a step of which theirs are parts. All are in the same order,
 * so it takes the memory of one point, what is made, and nothing for what is read. ERR_CORRUPT; ERR_NOMEM, the
 * budget's (NULL: none), the buffer's. */
NODISCARD enum err tally_merge(const struct bytes *stored, size_t count, uint64_t step_ns,
                               struct budget *budget, struct buffer *out,
                               struct tally_merged *merged);

#endif
