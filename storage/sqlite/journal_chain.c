/* SPDX-License-Identifier: Apache-2.0 */
/* journal_chain.c - the segments of a partition, in the order in which they were begun.
 *
 * Each group was synced before the next was written, so whatever has something behind it was whole once: what is
 * missing or changed there is damage. The last group may be torn, and was then never acknowledged; should it have
 * been, the side file says so (docs/FORMAT.md, "acked"). */
#include "base/mem.h"
#include "storage/sqlite/journal_private.h"

#include <assert.h>
#include <stdlib.h>

enum err journal_position_load(struct db *db, struct journal_position *out)
{
    struct journal_position p = { .group_no = 0 };
    sqlite3_stmt *s = NULL;
    bool is_row = true;
    enum err e = db_prepare(db, "SELECT signal, sequence, group_no FROM journal_retired", &s);
    while (e == ERR_OK) {
        e = db_step(db, s, &is_row);
        if (e != ERR_OK || !is_row)
            break;
        uint64_t signal = db_column_u64(s, 0), group_no = db_column_u64(s, 2);
        if (signal >= SIGNAL_COUNT) {
            e = ERR_CORRUPT;
            break;
        }
        p.retired[signal] = db_column_u64(s, 1);
        p.group_no = group_no > p.group_no ? group_no : p.group_no;
    }
    (void)sqlite3_finalize(s);
    if (e == ERR_OK)
        *out = p;
    return e;
}

uint64_t journal_horizon(const struct journal_position *p)
{
    uint64_t horizon = p->retired[0];
    for (int s = 1; s < SIGNAL_COUNT; s++)
        horizon = p->retired[s] < horizon ? p->retired[s] : horizon;
    return horizon;
}

/* ---- One segment ------------------------------------------------------------------------------- */

static void sequence_reached(struct chain_visit *v, uint64_t first)
{
    if (v->has_horizon && first > v->next_sequence)
        v->unread += first - v->next_sequence;
    v->has_horizon = true;
    if (first > v->next_sequence)
        v->next_sequence = first;
}

static void group_visit(struct chain_visit *v, struct bytes segment, const struct segment_header *h,
                        const struct segment_group *g)
{
    sequence_reached(v, g->first_sequence);
    for (uint32_t i = 0; i < g->count && !v->is_stopped; i++) {
        struct journal_entry e;
        bool is_intact = false;
        if (segment_entry_read(segment, h, g, i, &e, &is_intact) != ERR_OK)
            v->unread += g->first_sequence + i > v->horizon;
        else if (v->on_entry != NULL)
            v->is_stopped = !v->on_entry(v->context, &e, is_intact);
    }
    uint64_t end = g->first_sequence + g->count;
    if (end > v->next_sequence)
        v->next_sequence = end;
    if (g->group_no >= v->next_group_no)
        v->next_group_no = g->group_no + 1;
}

/* Of a copy: does what was written meanwhile begin here? */
static bool is_end_of_copy(const struct chain_visit *v, uint64_t first_sequence)
{
    return v->ends_at_gap && v->next_group_no > v->known_group_no &&
           first_sequence > v->next_sequence;
}

/* next: of the segment that was begun after this one; NULL: none was. What says that it is a group whose number or
 * sequences are that segment's is left of a write that failed: its numbers were given again. Both are asked, as what
 * had such a number may have left the journal, and its segment been begun anew. */
static struct segment_range range_of(const struct chain_visit *v, const struct chain_segment *s,
                                     const struct segment_header *next)
{
    struct segment_range r = { .group_no = s->header.first_group_no,
                               .group_no_end = SEGMENT_NUMBERS_END,
                               .sequence = s->header.first_sequence,
                               .sequence_end = SEGMENT_NUMBERS_END };
    if (next != NULL) {
        r.group_no_end = next->first_group_no;
        r.sequence_end = next->first_sequence;
    }
    r.sequence = r.sequence < v->seen_sequence ? v->seen_sequence : r.sequence;
    return r;
}

static void groups_visit(struct chain_visit *v, struct bytes segment, struct chain_segment *s,
                         const struct segment_header *after)
{
    struct segment_group g, next;
    struct segment_range range = range_of(v, s, after);
    s->seen_end = SEGMENT_PAGE_BYTES;
    bool has = segment_group_find(segment, &s->header, SEGMENT_PAGE_BYTES, &range, &g);
    while (has && !v->is_stopped) {
        uint64_t end = g.at + segment_pages(g.bytes);
        range.group_no = g.group_no + 1;
        range.sequence = g.first_sequence + g.count;
        bool has_next = segment_group_find(segment, &s->header, end, &range, &next);
        bool is_last = !has_next && after == NULL;
        bool is_late = v->ends_at_gap && g.group_no > v->known_group_no;
        if ((is_last || is_late) && !segment_group_is_whole(segment, &s->header, &g)) {
            s->seen_end = end;
            v->is_stopped = is_late;
            return; /* torn */
        }
        v->is_stopped = is_end_of_copy(v, g.first_sequence);
        if (v->is_stopped)
            return;
        group_visit(v, segment, &s->header, &g);
        s->end = s->seen_end = end;
        s->last_sequence = g.first_sequence + g.count - 1;
        v->seen_sequence = range.sequence;
        g = next;
        has = has_next;
    }
}

/* ---- All of them ------------------------------------------------------------------------------- */

static enum err header_load(const struct segment_place *place, uint32_t number,
                            struct chain_segment *out, bool *out_is_segment)
{
    struct segment_file f;
    uint8_t page[SEGMENT_PAGE_BYTES];
    enum err e = segment_open(place, number, false, &f);
    if (e != ERR_OK)
        return e;
    *out = (struct chain_segment){ .number = number, .file_bytes = f.bytes };
    if (f.bytes >= sizeof page)
        e = db_result(place->db, f.file->pMethods->xRead(f.file, page, sizeof page, 0));
    *out_is_segment =
        e == ERR_OK && f.bytes >= sizeof page && segment_header_read(page, &out->header);
    segment_close(&f);
    return e;
}

/* A segment that was begun, and given up for a longer one before anything was in it, comes before that. */
static int begun_order(const void *a, const void *b)
{
    const struct segment_header *x = &((const struct chain_segment *)a)->header;
    const struct segment_header *y = &((const struct chain_segment *)b)->header;
    if (x->first_group_no != y->first_group_no)
        return x->first_group_no < y->first_group_no ? -1 : 1;
    return (x->serial > y->serial) - (x->serial < y->serial);
}

static enum err segment_visit(const struct segment_place *place, struct chain_visit *v,
                              struct chain_segment *s, const struct segment_header *after)
{
    struct segment_file f;
    uint8_t *bytes = NULL;
    enum err e = segment_open(place, s->number, false, &f);
    if (e != ERR_OK)
        return e;
    e = segment_read(place, &f, &bytes);
    v->is_stopped = e == ERR_OK && is_end_of_copy(v, s->header.first_sequence);
    if (e == ERR_OK && !v->is_stopped) {
        sequence_reached(v, s->header.first_sequence);
        if (s->header.first_group_no > v->next_group_no)
            v->next_group_no = s->header.first_group_no;
        groups_visit(v, bytes_of(bytes, (size_t)f.bytes), s, after);
    }
    mem_free(bytes);
    segment_close(&f);
    return e;
}

enum err chain_read(const struct segment_place *place, struct chain_visit *v)
{
    uint32_t *numbers = NULL;
    size_t listed = 0, count = 0;
    enum err e = segment_list(place->path, &numbers, &listed);
    if (e != ERR_OK)
        return e;
    struct chain_segment *all = mem_alloc_array(listed + 1, sizeof *all);
    if (all == NULL)
        e = ERR_NOMEM;
    v->next_sequence = v->horizon + 1;
    v->next_group_no = v->next_serial = v->next_number = 1;
    v->seen_sequence = v->unread = 0;
    v->is_stopped = false;
    for (size_t i = 0; e == ERR_OK && i < listed; i++) {
        bool is_segment = false;
        e = header_load(place, numbers[i], &all[count], &is_segment);
        v->next_number = numbers[i] + 1;
        if (e == ERR_OK && is_segment) {
            if (all[count].header.serial >= v->next_serial)
                v->next_serial = all[count].header.serial + 1;
            count++;
        }
    }
    mem_free(numbers);
    if (count > 0)
        qsort(all, count, sizeof *all, begun_order);
    for (size_t i = 0; e == ERR_OK && i < count && !v->is_stopped; i++) {
        const struct segment_header *after = i + 1 < count ? &all[i + 1].header : NULL;
        e = segment_visit(place, v, &all[i], after);
        if (e == ERR_OK && v->on_segment != NULL)
            e = v->on_segment(v->context, &all[i]);
    }
    mem_free(all);
    return e;
}
