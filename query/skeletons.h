/* SPDX-License-Identifier: Apache-2.0 */
/* skeletons.h - the skeletons that were asked for last, so that the parts of one are laid out once.
 *
 * Role       a page asks for a trace's header, then for each part, then for what it finds: all of one version.
 * Memory     of all queries' budget; a few, within a bound, and none that nobody has asked for in a minute.
 * Ownership  whoever takes or makes one releases it; what is kept here stays until then.
 * Threads    any. */
#ifndef SPINDLE_QUERY_SKELETONS_H
#define SPINDLE_QUERY_SKELETONS_H

#include "base/budget.h"
#include "query/trace_skeleton.h"

struct skeletons;

struct kept_skeleton {
    struct skeleton skeleton;
    struct trace_id trace_id;
    bool is_complete; /* false: part of the trace is damaged */
    uint64_t made_mono_ns;
    struct arena memory;
    /* Private. */
    struct kept_skeleton *next;
    uint64_t used_mono_ns;
    unsigned refs;
};

/* budget: NULL, or shared with others. ERR_NOMEM. */
NODISCARD enum err skeletons_open(struct budget *budget, size_t bytes_max, struct skeletons **out);
void skeletons_close(struct skeletons *s); /* nothing may be taken any more; NULL does nothing */

/* Empty, to be filled; its memory may hold at most `limit` bytes. NULL when out of memory. */
struct kept_skeleton *skeletons_new(struct skeletons *s, const struct trace_id *id, size_t limit);
/* From now on others may take it. */
void skeletons_keep(struct skeletons *s, struct kept_skeleton *k);
/* Of the trace, the one of this version, or, without one, the newest that is at most max_age_ns old. NULL
 * when there is none. */
struct kept_skeleton *skeletons_take(struct skeletons *s, const struct trace_id *id,
                                     const uint64_t *version, uint64_t max_age_ns);
void skeletons_release(struct skeletons *s, struct kept_skeleton *k); /* NULL does nothing */
/* Let go of what has not been asked for. Cheap. */
void skeletons_expire(struct skeletons *s, uint64_t now_mono_ns);
size_t skeletons_count(struct skeletons *s); /* for tests */

#endif
