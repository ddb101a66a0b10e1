/* SPDX-License-Identifier: Apache-2.0 */
/* stages_derive.c - "rollups": all that a row group's spans add to rates, durations and edges, and nothing of the
 * group itself: counting, pairing, both stored forms, the table of halves and the totals. */
#include "bench/stages.h"

#include "base/clock.h"
#include "base/mem.h"
#include "bench/stages_rollups.h"
#include "storage/rowgroup/rowgroup.h"

#include <stdio.h>

#define BYTES_MAX ((size_t)256 << 20)

/* The spans as the builder hands them over. */
struct recording {
    struct arena arena; /* of the attributes */
    struct derive_span *spans;
    size_t count, capacity;
    bool is_failed;
};

static void record_span(struct recording *r, const struct derive_span *span)
{
    size_t count = span->attributes_count;
    bool is_gathered = span->attributes != NULL;
    struct bytes *attributes = arena_alloc(&r->arena, (count + 1) * sizeof *attributes);
    uint64_t *codes = arena_alloc(&r->arena, (count + 1) * sizeof *codes);
    if (r->count == r->capacity || attributes == NULL || codes == NULL) {
        r->is_failed = true;
        return;
    }
    for (size_t i = 0; is_gathered && i < count; i++) {
        attributes[i] = span->attributes[i];
        codes[i] = span->attribute_codes[i];
    }
    r->spans[r->count] = *span;
    r->spans[r->count].attributes = is_gathered ? attributes : NULL;
    r->spans[r->count++].attribute_codes = is_gathered ? codes : NULL;
}

static void on_spans(void *context, const struct derive_span *spans, size_t count)
{
    for (size_t i = 0; i < count; i++)
        record_span(context, &spans[i]);
}

/* ---- What the engine does for a group: storage/sqlite/derived.c ---- */

bool stages_rollups_init(struct stages_rollups *r)
{
    *r = (struct stages_rollups){ 0 };
    intake_init(&r->intake, BYTES_MAX);
    buffer_init(&r->minutes, BYTES_MAX);
    buffer_init(&r->changes, BYTES_MAX);
    r->intake.admit = totals_admit_series;
    r->intake.admit_service = totals_admit_service;
    r->intake.admit_again = totals_admit_again;
    r->intake.admit_changes = totals_changes;
    r->intake.admit_edge = totals_admit_edge;
    r->intake.admit_context = &r->totals;
    r->intake.is_by_trace = true;
    return totals_init(&r->totals) == ERR_OK && half_table_init(&r->halves, HALVES_MAX) == ERR_OK;
}

void stages_rollups_deinit(struct stages_rollups *r)
{
    half_table_deinit(&r->halves);
    totals_deinit(&r->totals);
    buffer_deinit(&r->minutes);
    buffer_deinit(&r->changes);
    intake_deinit(&r->intake);
}

void stages_rollups_begin(struct stages_rollups *r)
{
    intake_reset(&r->intake);
    buffer_reset(&r->minutes);
    buffer_reset(&r->changes);
}

bool stages_rollups_end(struct stages_rollups *r, uint64_t spans, uint64_t now_unix_ns)
{
    struct pairing pairing;
    struct tally_span span;
    if (intake_error(&r->intake) != ERR_OK ||
        pairing_run(&r->intake, &r->halves, now_unix_ns, &pairing) != ERR_OK ||
        tally_encode(&r->intake.tally, &r->minutes, &span) != ERR_OK)
        return false;
    half_changes_encode(&pairing.changes, &r->changes);
    half_table_apply(&r->halves, &pairing.changes);
    totals_add(&r->totals, &r->intake.tally, now_unix_ns, now_unix_ns);
    return buffer_error(&r->changes) == ERR_OK && r->intake.spans == spans;
}

static bool group_derive(struct stages_rollups *d, const struct recording *r, uint64_t now_unix_ns)
{
    stages_rollups_begin(d);
    for (size_t i = 0; i < r->count; i += DERIVE_SPANS_MAX)
        intake_add(&d->intake, r->spans + i,
                   r->count - i < DERIVE_SPANS_MAX ? r->count - i : DERIVE_SPANS_MAX);
    return stages_rollups_end(d, r->count, now_unix_ns);
}

/* A group that is not counted fills the tables, which the engine keeps: of other traces, as it would be. */
static bool derive(struct stages_rollups *d, struct recording *r)
{
    bool is_ok = true;
    for (int pass = 0; pass < 2; pass++) {
        if (pass > 0)
            stage_begin("rollups");
        is_ok = is_ok && group_derive(d, r, NS_PER_S * (uint64_t)(1 + pass));
        if (pass > 0) {
            stage_end(r->count);
            stage_result(d->minutes.len + d->changes.len);
        }
        for (size_t i = 0; i < r->count; i++)
            r->spans[i].trace_high ^= 1;
    }
    return is_ok;
}

static bool record(const struct stages_work *work, struct recording *r,
                   struct rowgroup_builder **out_builder)
{
    static const uint8_t seed[32] = { 1 };
    struct hash_key key;
    hash_key_derive(seed, &key);
    struct rowgroup_options options = {
        .signal = SIGNAL_TRACES, .content_key = &key, .on_spans = on_spans, .on_spans_context = r
    };
    struct rowgroup_summary summary = { 0 };
    struct buffer out;
    if (rowgroup_builder_open(&options, out_builder) != ERR_OK)
        return false;
    buffer_init(&out, SIZE_MAX);
    bool is_ok = true;
    for (size_t i = 0; i < work->count && is_ok; i++)
        is_ok = rowgroup_builder_add(*out_builder, work->requests[i].plain) == ERR_OK;
    is_ok = is_ok && rowgroup_builder_finish(*out_builder, NULL, NULL, &out, &summary) == ERR_OK;
    buffer_deinit(&out);
    return is_ok && !r->is_failed && r->count == work->spans;
}

bool stages_derive(const struct stages_work *work)
{
    struct recording r = { .capacity = (size_t)work->spans };
    struct rowgroup_builder *builder = NULL; /* resources lie in its memory */
    struct stages_rollups d;
    arena_init(&r.arena, BYTES_MAX, NULL);
    r.spans = mem_alloc_array(r.capacity + 1, sizeof *r.spans);
    bool is_ok =
        stages_rollups_init(&d) && r.spans != NULL && record(work, &r, &builder) && derive(&d, &r);
    if (!is_ok)
        (void)fputs("rollups: not every span was counted\n", stderr);
    stages_rollups_deinit(&d);
    rowgroup_builder_close(builder);
    mem_free(r.spans);
    arena_deinit(&r.arena);
    return is_ok;
}
