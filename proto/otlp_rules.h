/* SPDX-License-Identifier: Apache-2.0 */
/* otlp_rules.h - what is rejected and what is cut.
 *
 * Role       private to proto/. The judgements that otlp_check() and otlp_rewrite() must share to
 *            the letter: pure functions over what a walker has met. */
#ifndef SPINDLE_PROTO_OTLP_RULES_H
#define SPINDLE_PROTO_OTLP_RULES_H

#include "base/text.h"
#include "proto/otlp_schema.h"
#include "proto/otlp_wire.h"

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

/* ---- The common case, quickly ---- */

static inline uint64_t otlp_any_of_16(const uint8_t *p)
{
    return load_le64(p) | load_le64(p + 8);
}

/* The last bytes are looked at together, some of them a second time: no loop over single ones. */
static inline bool otlp_is_ascii(const uint8_t *p, size_t n)
{
    uint64_t any = 0;
    if (n >= 16) {
        const uint8_t *last = p + n - 16;
        for (; last - p > 16; p += 32)
            any |= otlp_any_of_16(p) | otlp_any_of_16(p + 16);
        any |= otlp_any_of_16(p < last ? p : last) | otlp_any_of_16(last);
    } else if (n >= 8) {
        any = load_le64(p) | load_le64(p + n - 8);
    } else {
        for (size_t i = 0; i < n; i++)
            any |= p[i];
    }
    return (any & UINT64_C(0x8080808080808080)) == 0;
}

/* ASCII, else valid UTF-8. */
static inline bool otlp_is_text(struct bytes text)
{
    return otlp_is_ascii(text.data, text.len) || text_utf8_valid_len(text) == text.len;
}

/* A varint in its shortest form that fills len bytes exactly. */
static inline bool is_short_varint(const uint8_t *p, size_t len)
{
    if (len == 0 || len > WIRE_VARINT_MAX || p[len - 1] >= 0x80 || (len > 1 && p[len - 1] == 0) ||
        (len == WIRE_VARINT_MAX && p[len - 1] > 1))
        return false;
    for (size_t i = 0; i + 1 < len; i++) {
        if (p[i] < 0x80)
            return false;
    }
    return true;
}

/* A length of one byte, or of two in their shortest form. Returns what follows; NULL for any other, and where less
 * is left before `end` than it says. */
static inline const uint8_t *otlp_plain_length(const uint8_t *p, const uint8_t *end, size_t *out)
{
    if (p == end)
        return NULL;
    size_t len = *p++;
    if (len >= 0x80) {
        if (p == end || *p == 0 || *p >= 0x80)
            return NULL;
        len = (len & 0x7F) | (size_t)*p++ << 7;
    }
    *out = len;
    return len <= (size_t)(end - p) ? p : NULL;
}

/* The attribute that nearly all are: a short key, and a value that is a string of less than 16 KiB, a boolean, an
 * integer, a double or empty, each once and in order, texts in UTF-8 and within the limit. Everything
 * else goes the general way, and so would this, with the same outcome. */
static inline bool otlp_key_value_is_plain(struct bytes kv, size_t value_bytes_max)
{
    const uint8_t *p = kv.data, *end = p + kv.len;
    if (kv.len < 4 || p[0] != (1 << 3 | WIRE_LENGTH) || p[1] >= 0x80 || kv.len < 4 + (size_t)p[1])
        return false;
    struct bytes key = { p + 2, p[1] }, text = { 0 };
    const uint8_t *key_end = key.data + key.len, *ascii_end = key_end;
    size_t len;
    const uint8_t *value = otlp_plain_length(key_end + 1, end, &len);
    if (key_end[0] != (2 << 3 | WIRE_LENGTH) || value == NULL || len != (size_t)(end - value))
        return false;
    switch (len == 0 ? OTLP_EMPTY : value[0]) {
    case OTLP_EMPTY:
        if (len != 0)
            return false;
        break;
    case OTLP_STRING << 3 | WIRE_LENGTH:
        text.data = otlp_plain_length(value + 1, end, &text.len);
        if (text.data == NULL || text.len != (size_t)(end - text.data) ||
            text.len > value_bytes_max)
            return false;
        if (len < 0x80)
            ascii_end = end; /* tags and lengths between key and text are below 0x80 too */
        break;
    case OTLP_BOOL << 3 | WIRE_VARINT:
        if (len != 2 || value[1] > 1)
            return false;
        break;
    case OTLP_INT << 3 | WIRE_VARINT:
        if (!is_short_varint(value + 1, len - 1))
            return false;
        break;
    case OTLP_DOUBLE << 3 | WIRE_FIXED64:
        if (len != 9)
            return false;
        break;
    default:
        return false;
    }
    if (text.len != 0 && ascii_end == key_end)
        return otlp_is_text(key) && otlp_is_text(text);
    return otlp_is_ascii(p, (size_t)(ascii_end - p)) || (otlp_is_text(key) && otlp_is_text(text));
}

/* Whether such an attribute is surely within the limits, but for that on the length of a value above 127 bytes. */
static inline bool otlp_limits_allow_plain(const struct otlp_limits *limits)
{
    return limits->depth_max >= 1 && limits->key_bytes_max >= 127 && limits->value_bytes_max >= 127;
}

/* ---- The rest ---- */

/* How much of a string or bytes value is kept. A string is cut before a character, not inside one;
 * in bytes that are no UTF-8 there may be no such place near, and then it is cut at the limit. */
size_t otlp_value_cut(struct bytes value, enum otlp_type type, size_t bytes_max);

/* Of a message that may be malformed: facts of a link, and the last key of a key-value. */
struct otlp_facts otlp_link_facts(struct bytes link);
size_t otlp_key_len(struct bytes key_value);

#endif
