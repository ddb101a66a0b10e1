/* SPDX-License-Identifier: Apache-2.0 */
/* otlp_rules.h - what is rejected and what is cut: the judgements that otlp_check() and
 * otlp_rewrite() must share to the letter.
 *
 * Role       private to proto/. Pure functions over what a walker has met. */
#ifndef SPINDLE_PROTO_OTLP_RULES_H
#define SPINDLE_PROTO_OTLP_RULES_H

#include "proto/otlp_schema.h"

/* Repeated occurrences of singular sub-messages are legal and merge, but no exporter sends them.
 * The rewriter remembers where the parts lie, so their number in one request has a bound. */
#define OTLP_MERGES_MAX 1024

/* What the verdict on a span, log record or link depends on. A later occurrence replaces an
 * earlier. */
struct otlp_facts {
    struct bytes trace_id, span_id, parent_id;
    uint64_t start_unix_ns, end_unix_ns; /* of log records: time and observed time */
};

static inline void otlp_facts_note(struct otlp_facts *facts, enum otlp_role role, uint64_t value,
                                   struct bytes bytes)
{
    switch (role) {
    case OTLP_ROLE_TRACE_ID:
        facts->trace_id = bytes;
        break;
    case OTLP_ROLE_SPAN_ID:
        facts->span_id = bytes;
        break;
    case OTLP_ROLE_PARENT_ID:
        facts->parent_id = bytes;
        break;
    case OTLP_ROLE_START:
        facts->start_unix_ns = value;
        break;
    case OTLP_ROLE_END:
        facts->end_unix_ns = value;
        break;
    default:
        break;
    }
}

/* The time by which an item is ordered (the span's start), and the one by which its age is judged.
 */
static inline uint64_t otlp_facts_time(const struct otlp_facts *facts, enum otlp_kind kind)
{
    if (kind == OTLP_KIND_LOG && facts->start_unix_ns == 0)
        return facts->end_unix_ns;
    return facts->start_unix_ns;
}
static inline uint64_t otlp_facts_age_time(const struct otlp_facts *facts, enum otlp_kind kind)
{
    if (kind == OTLP_KIND_SPAN && facts->end_unix_ns > facts->start_unix_ns)
        return facts->end_unix_ns;
    return otlp_facts_time(facts, kind);
}

static inline bool otlp_id_is_zero(struct bytes id)
{
    uint64_t any = 0;
    for (size_t i = 0; i + 8 <= id.len; i += 8)
        any |= load_le64(id.data + i);
    return any == 0;
}

/* OTLP_REJECT_COUNT: keep it. */
static inline enum otlp_reject otlp_item_judge(enum otlp_kind kind, const struct otlp_facts *facts,
                                               const struct otlp_limits *limits,
                                               uint64_t now_unix_ns)
{
    if (kind == OTLP_KIND_SPAN) {
        if (facts->trace_id.len != 16)
            return OTLP_REJECT_TRACE_ID_LENGTH;
        if (otlp_id_is_zero(facts->trace_id))
            return OTLP_REJECT_TRACE_ID_ZERO;
        if (facts->span_id.len != 8)
            return OTLP_REJECT_SPAN_ID_LENGTH;
        if (otlp_id_is_zero(facts->span_id))
            return OTLP_REJECT_SPAN_ID_ZERO;
        if (facts->parent_id.len != 0 && facts->parent_id.len != 8)
            return OTLP_REJECT_PARENT_ID_LENGTH;
    }
    if (limits->time_past_ns != 0 || limits->time_future_ns != 0) {
        uint64_t time = otlp_facts_age_time(facts, kind);
        if (limits->time_past_ns != 0 && time < now_unix_ns &&
            now_unix_ns - time > limits->time_past_ns)
            return OTLP_REJECT_TOO_OLD;
        if (limits->time_future_ns != 0 && time > now_unix_ns &&
            time - now_unix_ns > limits->time_future_ns)
            return OTLP_REJECT_TOO_NEW;
    }
    return OTLP_REJECT_COUNT;
}

/* A link or log record may lack an ID, or have one of zeros: that is "none". Any other length is
 * malformed. */
static inline bool otlp_id_is_malformed(struct bytes id, size_t wanted)
{
    return id.len != 0 && id.len != wanted;
}
static inline bool otlp_link_is_malformed(const struct otlp_facts *facts)
{
    return otlp_id_is_malformed(facts->trace_id, 16) || otlp_id_is_malformed(facts->span_id, 8);
}

/* How much of a string or bytes value is kept. A string is cut before a character, not inside one;
 * in bytes that are no UTF-8 there may be no such place near, and then it is cut at the limit. */
size_t otlp_value_cut(struct bytes value, enum otlp_type type, size_t bytes_max);

/* Of a message that may be malformed: facts of a link, and the last key of a key-value. */
struct otlp_facts otlp_link_facts(struct bytes link);
size_t otlp_key_len(struct bytes key_value);

#endif
