/* SPDX-License-Identifier: Apache-2.0 */
/* half.h - the two sides of calls, and the table in which one waits for the other.
 *
 * Role       a CLIENT or PRODUCER span is half an edge, under its own ID; a SERVER or CONSUMER span the other
 *            half, under its parent's or its link's. They come in any order, in any batch, minutes apart. What is
 *            not complete when its row group is built waits here, and, by the entries that are stored with
 *            the group, is found again after a start.
 * Bound      entries_max entries of 120 bytes. Halves wait HALF_LIFETIME_NS; the newest half_paired_max()
 *            callers that were paired stay, for the other calls that they may have made.
 * Work       peers choose the keys, and may choose one for all: those of a key and a side hang together under
 *            the newest, which alone is in a bucket, and buckets are chosen by a secret. So what is done to
 *            one half takes a few steps, whatever the others are.
 * Threads    one changes it; others copy it under the owner's lock. */
#ifndef SPINDLE_STORAGE_DERIVE_HALF_H
#define SPINDLE_STORAGE_DERIVE_HALF_H

#include "base/intern.h"
#include "storage/derived.h"

#define HALVES_MAX   65536u /* in any table */
#define HALVES_LEAST 4096u
#define HALF_LIFETIME_NS                                                                           \
    (UINT64_C(900) * 1000000000) /* by arrival, that is: by the group's building */
#define HALF_NONE UINT32_MAX
/* Of one group, of those that have met a server in it: a second one may come later, but seldom does; senders of
 * messages first, which several may receive. */
#define HALF_PAIRS_KEPT 4096u

enum half_flag {
    HALF_SERVER = 1,    /* else client */
    HALF_MESSAGING = 2, /* PRODUCER, CONSUMER, and CLIENT spans that send */
    HALF_ERROR = 4,
    HALF_SAMPLED = 8, /* its span says that others were sampled away */
    HALF_LINK = 16,   /* a server half by a link: alone it says nothing */
    HALF_NAMED = 32,  /* of messages: the destination is known, so alone it is complete */
    HALF_FLAGS_ALL = 63
};

struct half {
    uint64_t trace_high, trace_low, span; /* what both halves have in common */
    uint64_t own_high, own_low, own;      /* of its own span; the trace differs only for links */
    uint64_t start_unix_ns, duration_ns;
    uint32_t node; /* number of its service, in the owner's set of nodes */
    uint32_t peer; /* of whom its span names; HALF_NONE */
    uint32_t flags;
    int16_t bucket; /* tally_bucket() of the duration; not stored */
};

struct half_entry {
    struct half half;
    uint64_t arrival_unix_ns; /* in the list it is in */
    uint64_t stored;          /* the place of the changes that it came with */
    uint32_t newer, older;    /* of equal key and side; HALF_NONE */
    uint32_t before, after;   /* in the list it is in, by arrival */
    bool is_paired;           /* a client that has met its server */
};

struct half_list {
    uint32_t first, last, count;
};

struct half_table {
    struct half_entry
        *entries; /* [entries_max], straight from the kernel: only what is used takes memory */
    uint32_t entries_max;
    /* Links: number + 1, with bits of the key's hash above it, so that most others in a bucket are passed over without
     * a look at their entries, which lie anywhere in megabytes. Half of the buckets are for clients, half for
     * servers. A bucket has the newest of each key and side. */
    uint32_t *buckets;      /* [buckets_count]: to the first */
    uint32_t *next;         /* [entries_max], as entries: to the next in its bucket */
    uint32_t buckets_count; /* a power of two */
    uint32_t used;          /* entries that were ever in use */
    struct half_list free, waiting, paired;
    uint32_t waiting_servers; /* of those that wait */
    struct intern nodes;      /* keys of nodes, by the halves' numbers */
    uint32_t nodes_tidy_at;
    uint64_t now_unix_ns; /* of the last group; never goes back */
    uint64_t lost;        /* for want of memory, since the start */
    uint64_t secret[2];   /* of the buckets */
    uint64_t steps;       /* entries looked at, since the start: what tests bound */
};

/* entries_max: taken as HALVES_LEAST or HALVES_MAX where it is out of these. ERR_NOMEM, ERR_IO. deinit is safe on a zeroed
 * one. */
NODISCARD enum err half_table_init(struct half_table *t, size_t entries_max);
void half_table_deinit(struct half_table *t);
/* Of the entries, callers that have met a server: they stay resident when everything is quiet. */
static inline uint32_t half_paired_max(const struct half_table *t)
{
    return t->entries_max / 4;
}

/* The newest entry of a key and of a side (HALF_SERVER or 0); from there `older` goes on. HALF_NONE. Adds to *steps
 * how many entries were looked at. */
uint32_t half_newest(const struct half_table *t, const struct half *key, uint32_t side,
                     uint64_t *steps);
/* Of a key, for tables of halves. */
uint64_t half_hash(const struct half_table *t, const struct half *key);
static inline uint32_t half_side(const struct half *h)
{
    return h->flags & HALF_SERVER;
}
static inline bool half_same_key(const struct half *a, const struct half *b)
{
    return a->span == b->span && a->trace_low == b->trace_low && a->trace_high == b->trace_high;
}

/* What a row group does to the table. */
struct half_changes {
    const struct half *waits; /* new ones; numbers of nodes are those of `nodes` */
    size_t waits_count;
    const struct half
        *pairs; /* clients that met a server in their own group, HALF_PAIRS_KEPT at most */
    size_t pairs_count;
    const struct half *servers_taken; /* waiting servers of these keys have met their client */
    size_t servers_taken_count;
    const struct half *clients_met; /* waiting clients of these keys have met a server */
    size_t clients_met_count;
    const struct half *dropped; /* given up for want of room; keys and sides */
    size_t dropped_count;
    const struct intern *nodes;
    uint64_t built_unix_ns; /* what arrived HALF_LIFETIME_NS before leaves */
    uint64_t stored; /* the place where these are stored: greater than those before; 0: nowhere */
};

/* Cannot fail: what finds no memory is lost and counted. */
void half_table_apply(struct half_table *t, const struct half_changes *changes);

/* The stored form: docs/FORMAT.md, "Halves". Errors: the buffer's. */
void half_changes_encode(const struct half_changes *changes, struct buffer *out);
/* Apply what was stored. ERR_CORRUPT, ERR_NOMEM. */
NODISCARD enum err half_table_replay(struct half_table *t, struct bytes stored,
                                     uint64_t built_unix_ns, uint64_t place);

/* A copy to look at, in the arena: entries, buckets and nodes. */
NODISCARD enum err half_table_copy(const struct half_table *t, struct arena *arena,
                                   struct half_table *out);
/* One that goes on by itself, of a table or of such a copy; to be given back with half_table_deinit(). The errors of
 * half_table_init(). */
NODISCARD enum err half_table_clone(const struct half_table *t, struct half_table *out);
/* The first place at which changes are stored that an entry came with: those before are of no use. UINT64_MAX: the table is
 * empty. Looks through the paired callers. */
uint64_t half_table_oldest(const struct half_table *t);
/* Memory that it has touched. */
size_t half_table_bytes(const struct half_table *t);

#endif
