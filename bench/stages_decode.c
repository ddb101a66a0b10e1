/* SPDX-License-Identifier: Apache-2.0 */
/* stages_decode.c - what is done with bytes in memory: "check", the door's validating walk; "walk", the cursor
 * over checked bytes; "columns", a row group's build and encoding; "columns and rollups", the same while RED
 * series and edges are counted, as the engine does it. */
#include "bench/stages.h"

#include "base/mem.h"
#include "storage/derive/intake.h"
#include "storage/rowgroup/rowgroup.h"

#include <stdio.h>

#define INTAKE_BYTES_MAX ((size_t)256 << 20)

/* Where results go, so that the work cannot be left out. */
static uint64_t sum;

static bool check(const struct stages_work *work, enum stages_defect defect)
{
    bool is_ok = true;
    stage_begin("check");
    for (size_t i = 0; i < work->count; i++) {
        struct otlp_report report;
        for (int pass = 0; pass < (defect == STAGES_DEFECT_WORK ? 2 : 1); pass++)
            is_ok = is_ok && otlp_check(SIGNAL_TRACES, work->requests[i].plain,
                                        &otlp_limits_default, 0, &report, NULL) == ERR_OK;
        is_ok = is_ok && report.items == work->requests[i].spans && !report.needs_rewrite;
    }
    stage_end(work->spans);
    return is_ok;
}

static void walk_span(struct bytes item, enum stages_defect defect)
{
    struct otlp_span span;
    otlp_span_read(item, &span);
    sum += otlp_span_duration_ns(&span);
    struct otlp_repeated attributes = otlp_repeated(item, OTLP_SPAN_ATTRIBUTES);
    struct bytes attribute;
    while (otlp_repeated_next(&attributes, &attribute)) {
        struct otlp_key_value kv;
        struct otlp_value value;
        otlp_key_value_read(attribute, &kv);
        otlp_value_read(kv.value, &value);
        sum += kv.key.len + value.bytes.len;
    }
    if (defect == STAGES_DEFECT_ALLOCATION) {
        char *text = mem_text(span.name.data, span.name.len);
        sum += text == NULL ? 0 : (uint64_t)text[0];
        mem_free(text);
    }
}

static bool walk(const struct stages_work *work, enum stages_defect defect)
{
    uint64_t spans = 0;
    stage_begin("walk");
    for (size_t i = 0; i < work->count; i++)
        for (struct otlp_items it = otlp_items(work->requests[i].plain); otlp_items_next(&it);) {
            walk_span(it.item, defect);
            spans++;
        }
    stage_end(spans);
    return spans == work->spans;
}

static void on_spans(void *context, const struct derive_span *spans, size_t count)
{
    intake_add(context, spans, count);
}

/* A group that is not counted makes the builder's memory, which the engine keeps from one to the next. */
static bool build(const struct stages_work *work, const char *stage, struct intake *intake)
{
    static const uint8_t seed[32] = { 1 };
    struct hash_key key;
    hash_key_derive(seed, &key);
    struct rowgroup_options options = { .signal = SIGNAL_TRACES, .content_key = &key };
    if (intake != NULL) {
        options.on_spans = on_spans;
        options.on_spans_context = intake;
    }
    struct rowgroup_builder *b;
    if (rowgroup_builder_open(&options, &b) != ERR_OK)
        return false;
    struct rowgroup_summary summary = { 0 };
    struct buffer out;
    buffer_init(&out, SIZE_MAX);
    bool is_ok = true;
    for (int pass = 0; pass < 2 && is_ok; pass++) {
        if (pass > 0)
            stage_begin(stage);
        rowgroup_builder_reset(b);
        buffer_reset(&out);
        if (intake != NULL)
            intake_reset(intake);
        for (size_t i = 0; i < work->count && is_ok; i++)
            is_ok = rowgroup_builder_add(b, work->requests[i].plain) == ERR_OK;
        is_ok = is_ok && rowgroup_builder_finish(b, NULL, NULL, &out, &summary) == ERR_OK;
        if (pass > 0) {
            stage_end(summary.rows);
            stage_result(out.len);
        }
    }
    is_ok = is_ok && summary.rows == work->spans;
    is_ok = is_ok &&
            (intake == NULL || (intake_error(intake) == ERR_OK && intake->spans == work->spans));
    buffer_deinit(&out);
    rowgroup_builder_close(b);
    return is_ok;
}

bool stages_decode(const struct stages_work *work, enum stages_defect defect)
{
    struct intake intake;
    intake_init(&intake, INTAKE_BYTES_MAX);
    bool is_ok = check(work, defect) && walk(work, defect) && build(work, "columns", NULL) &&
                 build(work, "columns and rollups", &intake) && sum > 0;
    intake_deinit(&intake);
    if (!is_ok)
        (void)fputs("decode: not every span was seen\n", stderr);
    return is_ok;
}
