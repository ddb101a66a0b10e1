/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/rowgroup/rowgroup_sieve.h"

#include "storage/rowgroup/rowgroup_filter.h"

#include <assert.h>

/* Kinds, status codes and severities have fewer values than this. */
#define SMALL_MAX 32
/* A dictionary is asked entry by entry when it has this many times fewer entries than there are rows. */
#define ROWS_PER_ENTRY 8

bool sieve_init(struct sieve *s, struct group *g)
{
    *s = (struct sieve){ 0 };
    s->rows = group_alloc(g, &g->rows, g->chunk_rows, sizeof *s->rows);
    return g->error == ERR_OK;
}

static void test_add(struct sieve *s, const struct sieve_test *t)
{
    if (s->count < SIEVE_TESTS_MAX) /* more of them spare no more than time */
        s->tests[s->count++] = *t;
}

void sieve_add(struct sieve *s, enum rowgroup_column column, const bool *verdicts, uint32_t count)
{
    assert(s->count < SIEVE_TESTS_MAX);
    test_add(s, &(struct sieve_test){
                    .column = column, .is_strict = true, .verdicts = verdicts, .count = count });
}

/* ---- What a value means */

static bool satisfies(const struct expr *part, enum expr_type type, uint64_t n)
{
    return filter_value_satisfies(
        part,
        (struct expr_value){ .type = type, .integer = n > INT64_MAX ? INT64_MAX : (int64_t)n });
}

/* Values of few bits, of which the first stand for 0 too where there is a shift. */
static void small_add(struct sieve *s, struct group *g, enum rowgroup_column column,
                      const struct expr *part, enum expr_type type, uint32_t shift)
{
    bool *verdicts = group_alloc(g, &g->rows, SMALL_MAX, sizeof *verdicts);
    for (uint32_t i = 0; verdicts != NULL && i < SMALL_MAX; i++)
        verdicts[i] = satisfies(part, type, i < shift ? 0 : i - shift);
    if (verdicts != NULL)
        test_add(s,
                 &(struct sieve_test){
                     .column = column, .above = true, .verdicts = verdicts, .count = SMALL_MAX });
}

/* Whether a span has a parent: 0 says no, 1 that its ID says it, all others yes. */
static void root_add(struct sieve *s, struct group *g, const struct expr *part)
{
    bool *verdicts = group_alloc(g, &g->rows, 2, sizeof *verdicts);
    if (verdicts == NULL)
        return;
    verdicts[0] = satisfies(part, EXPR_BOOL, 1);
    verdicts[1] = true;
    test_add(s, &(struct sieve_test){ .column = COLUMN_PARENT,
                                      .above = satisfies(part, EXPR_BOOL, 0),
                                      .verdicts = verdicts,
                                      .count = 2 });
}

/* The least duration that is long enough; what satisfies "longer than" does so for all that is longer. A duration that
 * came around reads as a very large one, and passes. */
static void longer_add(struct sieve *s, const struct expr *part)
{
    uint64_t low = 0, high = (uint64_t)INT64_MAX + 1;
    if (part->op != EXPR_GT && part->op != EXPR_GE)
        return;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (satisfies(part, EXPR_DURATION, middle))
            high = middle;
        else
            low = middle + 1;
    }
    if (low > 0)
        test_add(s, &(struct sieve_test){ .column = COLUMN_DURATION, .least = low });
}

static void entries_add(struct sieve *s, struct group *g, enum rowgroup_column column,
                        const struct expr *part)
{
    struct stream *d = group_stream(g, 0, column);
    if (d == NULL || d->count > g->segment.bounds.rows / ROWS_PER_ENTRY)
        return;
    const struct bytes *entries = group_entries(g, d);
    bool *verdicts = entries == NULL ? NULL : group_alloc(g, &g->rows, d->count, sizeof *verdicts);
    for (uint32_t i = 0; verdicts != NULL && i < d->count; i++)
        verdicts[i] = filter_value_satisfies(
            part, (struct expr_value){ .type = EXPR_STRING, .bytes = entries[i] });
    if (verdicts != NULL)
        test_add(s, &(struct sieve_test){ .column = column,
                                          .of_entries = true,
                                          .is_strict = true,
                                          .verdicts = verdicts,
                                          .count = d->count });
}

static void span_part(struct sieve *s, struct group *g, const struct expr *part)
{
    switch (part->left->intrinsic) {
    case EXPR_INTRINSIC_SPAN_KIND:
        small_add(s, g, COLUMN_KIND, part, EXPR_KIND, 0);
        break;
    case EXPR_INTRINSIC_SPAN_STATUS:
        small_add(s, g, COLUMN_STATUS, part, EXPR_STATUS, 1);
        break;
    case EXPR_INTRINSIC_SPAN_IS_ROOT:
        root_add(s, g, part);
        break;
    case EXPR_INTRINSIC_SPAN_DURATION:
        longer_add(s, part);
        break;
    case EXPR_INTRINSIC_SPAN_NAME:
        entries_add(s, g, COLUMN_NAME, part);
        break;
    default:
        break;
    }
}

void sieve_add_part(struct sieve *s, struct group *g, const struct expr *part)
{
    if (part->left->scope != EXPR_SCOPE_INTRINSIC || s->count == SIEVE_TESTS_MAX)
        return;
    if (g->segment.bounds.signal == SIGNAL_TRACES)
        span_part(s, g, part);
    else if (part->left->intrinsic == EXPR_INTRINSIC_LOG_SEVERITY)
        small_add(s, g, COLUMN_KIND, part, EXPR_INT, 0);
    else if (part->left->intrinsic == EXPR_INTRINSIC_LOG_EVENT_NAME)
        entries_add(s, g, COLUMN_NAME, part);
}

/* ---- Asking it */

static bool value_passes(const struct sieve_test *t, uint64_t value)
{
    if (t->count == 0)
        return value >= t->least;
    return value < t->count ? t->verdicts[value] : t->above;
}

/* The column as the test needs it; NULL: it says nothing, or the group has failed. */
static struct stream *stream_of(const struct sieve_test *t, struct chunk *c)
{
    struct group *g = c->group;
    struct stream *s = chunk_stream(c, t->column);
    if (s == NULL || s->count != c->rows || (t->of_entries && (s->form & STREAM_DICTIONARY) == 0)) {
        if (t->is_strict && !t->of_entries) /* every row has a context, and a shape */
            group_fail(g, ERR_CORRUPT);
        return NULL;
    }
    if (t->is_strict && s->base + s->range >= t->count) /* range is that of a value that is there */
        group_fail(g, ERR_CORRUPT);
    return g->error == ERR_OK ? s : NULL;
}

bool sieve_passes(const struct sieve *s, struct chunk *c, uint32_t row)
{
    for (size_t i = 0; i < s->count; i++) {
        struct stream *stream = stream_of(&s->tests[i], c);
        if (c->group->error != ERR_OK ||
            (stream != NULL && !value_passes(&s->tests[i], ints_get(&stream->ints, row))))
            return false;
    }
    return true;
}

static void pass_bytes(const struct sieve_test *t, const struct ints *ints, uint8_t *rows)
{
    uint8_t verdicts[256];
    for (uint32_t i = 0; i < 256; i++)
        verdicts[i] = value_passes(t, ints->base + i);
    for (uint32_t row = 0; row < ints->count; row++)
        rows[row] &= verdicts[ints->a[row]];
}

/* Of values in classes, the class nearly always decides: the bit length of the value less the base. */
static void pass_classes(const struct sieve_test *t, struct ints *ints, uint8_t *rows)
{
    uint64_t least = t->least > ints->base ? t->least - ints->base : 0;
    uint8_t class = least == 0 ? 0 : (uint8_t)(64 - __builtin_clzll(least));
    for (uint32_t row = 0; row < ints->count; row++) {
        if (ints->a[row] < class)
            rows[row] = 0;
        else if (ints->a[row] == class && rows[row] != 0)
            rows[row] = ints_get(ints, row) >= t->least;
    }
}

static void pass_each(const struct sieve_test *t, struct ints *ints, uint8_t *rows)
{
    for (uint32_t row = 0; row < ints->count; row++)
        if (rows[row] != 0)
            rows[row] = value_passes(t, ints_get(ints, row));
}

const uint8_t *sieve_chunk(const struct sieve *s, struct chunk *c)
{
    memset(s->rows, 1, c->rows);
    for (size_t i = 0; i < s->count; i++) {
        const struct sieve_test *t = &s->tests[i];
        struct stream *stream = stream_of(t, c);
        if (c->group->error != ERR_OK)
            return NULL;
        if (stream == NULL)
            continue;
        struct ints ints = stream->ints; /* with a place of its own */
        if (ints.form == INTS_U8)
            pass_bytes(t, &ints, s->rows);
        else if (ints.form == INTS_CLASSES && t->count == 0)
            pass_classes(t, &ints, s->rows);
        else
            pass_each(t, &ints, s->rows);
        if (memchr(s->rows, 1, c->rows) == NULL)
            return NULL;
    }
    return s->rows;
}
