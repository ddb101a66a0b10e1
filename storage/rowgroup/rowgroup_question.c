/* SPDX-License-Identifier: Apache-2.0 */
/* Asking digests. What a filter needs is found, and its facts are hashed, once for all digests: asking one then is a few
 * probes of its filter, where a query has thousands of them to ask. */
#include "storage/rowgroup/rowgroup_digest.h"
#include "storage/rowgroup/rowgroup_filter.h"

#include <assert.h>

/* ---- Preparing it */

static uint64_t fact(enum digest_fact fact, enum digest_place place, struct bytes key,
                     struct bytes value)
{
    struct trace_id id = digest_fact_hash(fact, place, key, value);
    return trace_filter_hash(&id);
}

/* Of one place the part's key may be at. */
static void place_add(struct rowgroup_question_part *q, enum digest_place place, struct bytes key,
                      const struct expr *part)
{
    struct bytes none = bytes_of(NULL, 0);
    assert(q->places_count < sizeof q->places / sizeof q->places[0]);
    struct rowgroup_question_place *p = &q->places[q->places_count++];
    if (q->asks_key)
        p->key = fact(FACT_KEY, place, key, none);
    if (!q->asks_value)
        return;
    p->value = fact(FACT_VALUE, place, key, part->right->value.bytes);
    p->open = fact(FACT_OPEN, place, key, none);
    if (q->asks_other)
        p->other = fact(FACT_OTHER, place, key, none);
}

static void attribute_ask(struct rowgroup_question_part *q, const struct expr *part)
{
    struct bytes key = part->left->key;
    enum expr_scope scope = part->left->scope;
    bool everywhere = scope == EXPR_SCOPE_EVERYWHERE;
    q->asks_key = true;
    if (scope == EXPR_SCOPE_SPAN || scope == EXPR_SCOPE_LOG)
        q->of = scope == EXPR_SCOPE_SPAN ? ROWGROUP_OF_SPANS : ROWGROUP_OF_LOGS;
    if (everywhere || scope == EXPR_SCOPE_ANY || scope == EXPR_SCOPE_SPAN ||
        scope == EXPR_SCOPE_LOG)
        place_add(q, PLACE_ITEM, key, part);
    if (everywhere || scope == EXPR_SCOPE_EVENT)
        place_add(q, PLACE_EVENT, key, part);
    if (everywhere || scope == EXPR_SCOPE_LINK)
        place_add(q, PLACE_LINK, key, part);
    if (everywhere || scope == EXPR_SCOPE_ANY || scope == EXPR_SCOPE_RESOURCE)
        place_add(q, PLACE_RESOURCE, key, part);
    if (everywhere || scope == EXPR_SCOPE_INSTRUMENTATION)
        place_add(q, PLACE_SCOPE, key, part);
}

static void column_ask(struct rowgroup_question_part *q, enum rowgroup_of of, uint8_t column,
                       const struct expr *part)
{
    q->of = of;
    if (q->asks_value)
        place_add(q, PLACE_COLUMN, digest_column_key(&column), part);
}

/* False: nothing is known of it. */
static bool intrinsic_ask(struct rowgroup_question_part *q, const struct expr *part)
{
    q->intrinsic = part->left->intrinsic;
    switch (part->left->intrinsic) {
    case EXPR_INTRINSIC_SPAN_NAME:
        column_ask(q, ROWGROUP_OF_SPANS, COLUMN_NAME, part);
        return true;
    case EXPR_INTRINSIC_LOG_EVENT_NAME:
        column_ask(q, ROWGROUP_OF_LOGS, COLUMN_NAME, part);
        return true;
    case EXPR_INTRINSIC_SPAN_STATUS_MESSAGE:
        column_ask(q, ROWGROUP_OF_SPANS, COLUMN_STATUS_MESSAGE, part);
        return true;
    case EXPR_INTRINSIC_LOG_SEVERITY_TEXT:
        column_ask(q, ROWGROUP_OF_LOGS, COLUMN_STATUS_MESSAGE, part);
        return true;
    case EXPR_INTRINSIC_EVENT_NAME:
        column_ask(q, ROWGROUP_OF_SPANS, COLUMN_EVENT_NAME, part);
        return true;
    case EXPR_INTRINSIC_SPAN_STATUS:
    case EXPR_INTRINSIC_SPAN_DURATION:
        q->of = ROWGROUP_OF_SPANS;
        return true;
    default:
        return false;
    }
}

void rowgroup_question_init(struct rowgroup_question *out, const struct expr *filter)
{
    const struct expr *parts[ROWGROUP_QUESTION_PARTS]; /* more prune no worse for being left out */
    size_t count = expr_required(filter, parts, ROWGROUP_QUESTION_PARTS);
    out->filter = filter;
    out->parts_count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct expr *part = parts[i];
        bool is_equal = part->op == EXPR_EQ || part->op == EXPR_TEXT_EQ;
        struct rowgroup_question_part *q = &out->parts[out->parts_count];
        *q = (struct rowgroup_question_part){
            .part = part,
            .asks_value = is_equal && part->right->value.type == EXPR_STRING,
            .asks_other = part->op == EXPR_TEXT_EQ,
        };
        if (part->left->scope != EXPR_SCOPE_INTRINSIC)
            attribute_ask(q, part);
        else if (!intrinsic_ask(q, part))
            continue;
        out->parts_count++;
    }
}

/* ---- Asking it */

static bool place_may(const struct rowgroup_question_part *q,
                      const struct rowgroup_question_place *p, struct bytes facts)
{
    if (q->asks_key && !trace_filter_may_contain_hash(facts, p->key))
        return false;
    return !q->asks_value || trace_filter_may_contain_hash(facts, p->value) ||
           trace_filter_may_contain_hash(facts, p->open) ||
           (q->asks_other && trace_filter_may_contain_hash(facts, p->other));
}

static bool part_may(const struct rowgroup_question_part *q, struct bytes digest)
{
    bool is_spans = digest.data[DIGEST_SIGNAL] == SIGNAL_TRACES;
    struct bytes facts = bytes_slice(digest, DIGEST_HEAD, digest.len - DIGEST_HEAD);
    if (q->of != ROWGROUP_OF_BOTH && is_spans != (q->of == ROWGROUP_OF_SPANS))
        return false;
    if (q->part->left->scope == EXPR_SCOPE_INTRINSIC) {
        if (q->intrinsic == EXPR_INTRINSIC_SPAN_STATUS)
            return filter_status_may(load_le32(digest.data + DIGEST_STATUS), q->part);
        if (q->intrinsic == EXPR_INTRINSIC_SPAN_DURATION)
            return filter_duration_may(load_le64(digest.data + DIGEST_DURATION), q->part);
    }
    for (unsigned i = 0; i < q->places_count; i++)
        if (place_may(q, &q->places[i], facts))
            return true;
    return q->places_count == 0;
}

bool rowgroup_question_may(const struct rowgroup_question *q, struct bytes digest)
{
    assert(digest.len >= DIGEST_HEAD);
    if (digest.len == DIGEST_HEAD) /* too many facts: of these nothing is known */
        return true;
    for (size_t i = 0; i < q->parts_count; i++)
        if (!part_may(&q->parts[i], digest))
            return false;
    return true;
}

bool rowgroup_digest_may_match(struct bytes digest, const struct expr *filter)
{
    struct rowgroup_question q;
    rowgroup_question_init(&q, filter);
    return rowgroup_question_may(&q, digest);
}
