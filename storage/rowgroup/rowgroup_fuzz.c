/* SPDX-License-Identifier: Apache-2.0 */
/* A stored group of a stranger's making: opened, verified, searched and read. Hashes are not checked in this
 * build (rowgroup_group.c), so that what lies behind them is reached. Seeds: rowgroup_test write-corpus. */
#include "storage/extents.h"
#include "storage/rowgroup/rowgroup_testing.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static bool count_row(void *context, const struct segment_row *row)
{
    (void)row;
    return ++*(size_t *)context < 10000;
}

static bool count_key(void *context, enum expr_scope scope, struct bytes key,
                      enum otlp_value_type type, uint64_t rows)
{
    (void)scope;
    (void)key;
    (void)type;
    (void)rows;
    return ++*(size_t *)context < 10000;
}

static struct expr *string_equals(struct arena *a, struct expr *field, struct bytes text)
{
    return expr_binary(a, EXPR_EQ, field,
                       expr_const(a, (struct expr_value){ .type = EXPR_STRING, .bytes = text }));
}

static bool on_run(void *context, const struct trace_id *id, uint64_t start_min, uint64_t end_max)
{
    (void)id;
    assert(end_max >= start_min);
    return ++*(uint32_t *)context < 10000;
}

static void search(struct segment *s, struct arena *arena)
{
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = arena };
    struct expr *filters[] = {
        NULL,
        string_equals(arena, expr_intrinsic_field(arena, EXPR_INTRINSIC_SPAN_NAME),
                      BYTES_LITERAL("k")),
        string_equals(arena,
                      expr_attribute(arena, EXPR_SCOPE_EVERYWHERE, BYTES_LITERAL("service.name")),
                      BYTES_LITERAL("k")),
        string_equals(arena, expr_intrinsic_field(arena, EXPR_INTRINSIC_LOG_TEXT),
                      BYTES_LITERAL("k")),
        expr_unary(arena, EXPR_IS_NOT_NIL,
                   expr_attribute(arena, EXPR_SCOPE_EVENT, BYTES_LITERAL("k"))),
        expr_unary(arena, EXPR_IS_NOT_NIL,
                   expr_intrinsic_field(arena, EXPR_INTRINSIC_SPAN_PARENT_ID)),
    };
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        size_t rows = 0;
        (void)s->ops->may_match(s, filters[i], 0, UINT64_MAX);
        (void)s->ops->scan(s, &q, filters[i], 0, UINT64_MAX, count_row, &rows);
    }
    size_t keys = 0, found;
    (void)rowgroup_keys(s, count_key, &keys);
    uint32_t rows[16];
    struct trace_id id = { { 1, 2, 3 } };
    if (s->ops->find_trace(s, &id, rows, 16, &found) == ERR_OK)
        assert(found <= s->bounds.rows);
    struct buffer digest;
    buffer_init(&digest, 1u << 20);
    if (rowgroup_digest_make(s, ROWGROUP_DIGEST_TRACES, &digest) == ERR_OK)
        (void)rowgroup_digest_may_contain(buffer_bytes(&digest), &id);
    buffer_reset(&digest);
    if (rowgroup_digest_make(s, ROWGROUP_DIGEST_VALUES, &digest) == ERR_OK) {
        for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++)
            (void)rowgroup_digest_may_match(buffer_bytes(&digest), filters[i]);
    }
    buffer_reset(&digest);
    if (rowgroup_digest_make(s, ROWGROUP_DIGEST_EXTENTS, &digest) == ERR_OK)
        assert(extents_read(buffer_bytes(&digest)).count > 0);
    buffer_deinit(&digest);
    uint32_t runs = 0;
    if (s->bounds.signal != SIGNAL_TRACES || s->ops->runs(s, &q, on_run, &runs) != ERR_OK ||
        runs == 0)
        return;
    const uint32_t some[] = { 0, runs / 2, runs - 1, runs, UINT32_MAX };
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        size_t rows_in_runs = 0;
        for (size_t k = 0; k < sizeof some / sizeof some[0]; k++)
            (void)s->ops->scan_runs(s, &q, filters[i], 0, UINT64_MAX, &some[k], 1, count_row,
                                    &rows_in_runs);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct arena arena;
    arena_init(&arena, 64u << 20, NULL);
    struct buffer read;
    buffer_init(&read, 4u << 20);
    struct bytes group = bytes_of(data, len);
    struct rowgroup_source source = testing_source(&group);
    struct segment *s;
    if (rowgroup_segment_open(&source, &arena, &s) == ERR_OK) {
        search(s, &arena);
        (void)rowgroup_segment_rest(s);
        rowgroup_segment_wake(s, NULL);
        if (s->bounds.rows <= 20000)
            (void)testing_read_all(s, &arena, &read);
        s->ops->close(s);
    }
    buffer_deinit(&read);
    arena_deinit(&arena);
    return 0;
}
