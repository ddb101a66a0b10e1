/* SPDX-License-Identifier: Apache-2.0 */
/* The door: one pass over strange bytes with a stack of open messages that has a fixed size.
 *
 * I1: nothing is read outside the bytes given; each length is compared with its message first.
 * I2: work and memory are bounded by the length of the input alone.
 * I3: a message that is dropped (over a limit, or a malformed link) is walked all the same, muted:
 *     it must be well-formed, but what is odd inside it warns of nothing.
 * I4: needs_rewrite is set by everything that otlp_rewrite() would change. */
#include "proto/otlp_rules.h"
#include "proto/otlp_wire.h"

#include "base/text.h"

#include <assert.h>

struct frame {
    const uint8_t *end;
    uint32_t seen; /* bit per field number met */
    uint8_t kind;
    uint8_t depth;                      /* nested values so far */
    bool unmute_after;                  /* the message that was muted first */
    uint32_t attributes, events, links; /* kept */
};

struct walk {
    struct wire wire;
    const struct otlp_limits *limits;
    uint64_t now_unix_ns;
    struct otlp_report report;
    /* The item that is open, if any. Its warnings count only when it is kept. */
    bool in_item, item_has_warnings;
    struct otlp_facts facts;
    uint64_t item_warned[OTLP_WARN_COUNT];
    bool is_muted;
    bool is_plain_fast; /* limits allow the short cuts for what is plain */
    size_t merges;
    size_t top;
    struct frame frames[OTLP_FRAMES_MAX];
};

static void warn(struct walk *w, enum otlp_warn what)
{
    if (w->is_muted)
        return;
    if (w->in_item) {
        w->item_warned[what]++;
        w->item_has_warnings = true;
    } else {
        w->report.warned[what]++;
    }
}

static void string_check_slow(struct walk *w, enum otlp_type type, struct bytes value)
{
    size_t kept = otlp_value_cut(value, type, w->limits->value_bytes_max);
    if (kept < value.len) {
        warn(w, OTLP_WARN_VALUE_CUT);
        w->report.needs_rewrite = true;
        value.len = kept;
    }
    if (type == OTLP_TYPE_STRING && text_utf8_valid_len(value) != value.len)
        warn(w, OTLP_WARN_UTF8);
}

static inline void string_check(struct walk *w, enum otlp_type type, struct bytes value)
{
    if (value.len > w->limits->value_bytes_max ||
        (type == OTLP_TYPE_STRING && !otlp_is_ascii(value.data, value.len)))
        string_check_slow(w, type, value);
}

static inline bool count_elements(struct walk *w, uint64_t n, const uint8_t *at)
{
    w->report.elements += n;
    if (w->report.elements <= w->limits->elements_max)
        return true;
    return wire_fail(&w->wire, ERR_TOO_MANY, at, OTLP_ELEMENTS_TEXT) != NULL;
}

#define TAG(field, wire) ((field) << 3 | (wire))

/* A plain attribute with this tag: where it ends, or NULL. */
static __attribute__((noinline)) const uint8_t *
plain_attribute(const struct walk *w, const uint8_t *p, const uint8_t *end, uint8_t tag)
{
    size_t len;
    if (p == end || *p != tag)
        return NULL;
    p = otlp_plain_length(p + 1, end, &len);
    bool is_plain =
        p != NULL && otlp_key_value_is_plain((struct bytes){ p, len }, w->limits->value_bytes_max);
    return is_plain ? p + len : NULL;
}

/* The same for the most common one: an ASCII string, every length in one byte. Tags and lengths are looked at by
 * fours: what a tag is, and that 0x80 of a length is not set. */
static inline const uint8_t *plain_text_attribute(const uint8_t *p, const uint8_t *end, uint8_t tag)
{
    const uint32_t mask = 0x80FF80FF;
    size_t left = (size_t)(end - p);
    if (left < 12)
        return NULL;
    uint32_t head = load_le32(p); /* tag, length; tag and length of the key */
    size_t len = head >> 8 & 0x7F, key_len = head >> 24;
    if ((head & mask) != (TAG(1, WIRE_LENGTH) << 16 | (uint32_t)tag) || len > left - 2 ||
        key_len + 6 > len || len < 8)
        return NULL;
    uint32_t middle = load_le32(p + 4 + key_len); /* of the value; of its string */
    if ((middle & mask) != (TAG(OTLP_STRING, WIRE_LENGTH) << 16 | TAG(2, WIRE_LENGTH)) ||
        (middle >> 8 & 0x7F) + key_len + 4 != len || (middle >> 24) + key_len + 6 != len)
        return NULL;
    return otlp_is_ascii(p + 2, len) ? p + 2 + len : NULL; /* tags and lengths are below 0x80 too */
}

/* Take as many plain attributes as there are in a row, each with the tag of the first. Returns what follows the
 * last. */
static inline const uint8_t *plain_attributes(struct walk *w, struct frame *f, const uint8_t *p,
                                              const uint8_t *end)
{
    const uint8_t tag = *p;
    const size_t room = w->limits->attributes_max - f->attributes;
    size_t taken = 0;
    while (taken < room) {
        const uint8_t *after = plain_text_attribute(p, end, tag);
        if (after == NULL)
            after = plain_attribute(w, p, end, tag);
        if (after == NULL)
            break;
        p = after;
        taken++;
    }
    f->attributes += (uint32_t)taken;
    w->report.elements += 2 * taken;
    return p;
}

#define FLAGS_TAG 0x0185 /* field 16, four bytes: 133 as a varint */

/* An ID of `len` bytes, where it comes next. */
static inline const uint8_t *plain_id(const uint8_t *p, const uint8_t *end, uint8_t tag,
                                      uint8_t len, struct bytes *out)
{
    if (end - p < 2 + len || p[0] != tag || p[1] != len)
        return p;
    *out = (struct bytes){ p + 2, len };
    return p + 2 + len;
}

/* What nearly all of a span is, as exporters write it: IDs, name, kind, times, plain attributes and flags, in the order
 * of their numbers. What is missing is passed over; where something else comes the general way goes on. Returns what
 * follows. */
static const uint8_t *plain_span(struct walk *w, struct frame *f, const uint8_t *p,
                                 const uint8_t *end)
{
    struct otlp_facts *facts = &w->facts;
    size_t len;
    uint32_t seen = 0;
    p = plain_id(p, end, TAG(1, WIRE_LENGTH), 16, &facts->trace_id);
    p = plain_id(p, end, TAG(2, WIRE_LENGTH), 8, &facts->span_id);
    p = plain_id(p, end, TAG(4, WIRE_LENGTH), 8, &facts->parent_id);
    seen |= facts->trace_id.len != 0 ? 1u << 1 : 0;
    seen |= facts->span_id.len != 0 ? 1u << 2 : 0;
    seen |= facts->parent_id.len != 0 ? 1u << 4 : 0;
    if (p != end && *p == TAG(5, WIRE_LENGTH)) {
        const uint8_t *name = otlp_plain_length(p + 1, end, &len);
        if (name != NULL && len <= w->limits->value_bytes_max && otlp_is_ascii(name, len)) {
            p = name + len;
            seen |= 1u << 5;
        }
    }
    if (end - p >= 2 && p[0] == TAG(6, WIRE_VARINT) && p[1] < 0x80) {
        p += 2;
        seen |= 1u << 6;
    }
    if (end - p >= 9 && p[0] == TAG(7, WIRE_FIXED64)) {
        facts->start_unix_ns = load_le64(p + 1);
        p += 9;
        seen |= 1u << 7;
    }
    if (end - p >= 9 && p[0] == TAG(8, WIRE_FIXED64)) {
        facts->end_unix_ns = load_le64(p + 1);
        p += 9;
        seen |= 1u << 8;
    }
    if (p != end && *p == TAG(OTLP_SPAN_ATTRIBUTES, WIRE_LENGTH))
        p = plain_attributes(w, f, p, end);
    if (end - p >= 6 && load_le16(p) == FLAGS_TAG) {
        p += 6;
        seen |= 1u << 16;
    }
    f->seen = seen;
    return p;
}

/* True: drop this element of a repeated field with a limit. Counts it where it is kept. */
static bool element_is_dropped(struct walk *w, struct frame *f,
                               const struct otlp_field_schema *field, struct bytes element)
{
    const struct otlp_limits *limits = w->limits;
    bool is_attribute = field->role == OTLP_ROLE_ATTRIBUTE;
    if (field->child == OTLP_KIND_KEY_VALUE && otlp_key_len(element) > limits->key_bytes_max) {
        warn(w, OTLP_WARN_KEY_CUT);
        return true;
    }
    if (is_attribute && f->attributes++ >= limits->attributes_max) {
        warn(w, OTLP_WARN_ATTRIBUTES_CUT);
        return true;
    }
    if (field->role == OTLP_ROLE_EVENT && f->events++ >= limits->events_max) {
        warn(w, OTLP_WARN_EVENTS_CUT);
        return true;
    }
    if (field->role == OTLP_ROLE_LINK) {
        struct otlp_facts facts = otlp_link_facts(element);
        if (otlp_link_is_malformed(&facts)) {
            warn(w, OTLP_WARN_LINK_ID);
            return true;
        }
        if (f->links++ >= limits->links_max) {
            warn(w, OTLP_WARN_LINKS_CUT);
            return true;
        }
    }
    return false;
}

/* Open a sub-message. False on an error. */
static __attribute__((noinline)) bool message_begin(struct walk *w,
                                                    const struct otlp_field_schema *field,
                                                    const uint8_t *begin, struct bytes message)
{
    struct frame *f = &w->frames[w->top];
    if (!count_elements(w, 1, begin))
        return false;
    bool mute = field->is_repeated && element_is_dropped(w, f, field, message);
    size_t depth = f->depth + (size_t)(field->child == OTLP_KIND_ANY_VALUE);
    if (depth > w->limits->depth_max)
        return wire_fail(&w->wire, ERR_TOO_DEEP, begin, OTLP_DEPTH_TEXT) != NULL;
    assert(w->top + 1 < OTLP_FRAMES_MAX);
    w->frames[++w->top] = (struct frame){
        .end = bytes_end(message),
        .kind = field->child,
        .depth = (uint8_t)depth,
        .unmute_after = mute && !w->is_muted,
    };
    if (mute) {
        w->is_muted = true;
        w->report.needs_rewrite = true;
    }
    if (otlp_kind_is_item(field->child)) {
        w->report.items++;
        w->in_item = true;
        w->facts = (struct otlp_facts){ 0 };
    }
    return true;
}

static void log_ids_check(struct walk *w)
{
    if (otlp_id_is_malformed(w->facts.trace_id, 16)) {
        warn(w, OTLP_WARN_LOG_ID);
        w->report.needs_rewrite = true;
    }
    if (otlp_id_is_malformed(w->facts.span_id, 8)) {
        warn(w, OTLP_WARN_LOG_ID);
        w->report.needs_rewrite = true;
    }
}

static void item_end(struct walk *w, enum otlp_kind kind)
{
    struct otlp_report *r = &w->report;
    enum otlp_reject verdict = otlp_item_judge(kind, &w->facts, w->limits, w->now_unix_ns);
    if (verdict == OTLP_REJECT_COUNT) {
        uint64_t time = otlp_facts_time(&w->facts, kind);
        if (time < r->start_min_unix_ns)
            r->start_min_unix_ns = time;
        if (time > r->start_max_unix_ns)
            r->start_max_unix_ns = time;
        if (kind == OTLP_KIND_LOG)
            log_ids_check(w);
        else if (w->facts.end_unix_ns < w->facts.start_unix_ns)
            warn(w, OTLP_WARN_END_BEFORE_START);
    } else {
        if (r->items_rejected++ == 0) {
            r->first_rejected_item = r->items - 1;
            r->first_reject = verdict;
        }
        r->rejected[verdict]++;
        r->needs_rewrite = true;
    }
    if (w->item_has_warnings) {
        for (int i = 0; i < OTLP_WARN_COUNT; i++) {
            if (verdict == OTLP_REJECT_COUNT)
                r->warned[i] += w->item_warned[i];
            w->item_warned[i] = 0;
        }
        w->item_has_warnings = false;
    }
    w->in_item = false;
}

static void message_end(struct walk *w)
{
    struct frame *f = &w->frames[w->top];
    if (f->unmute_after)
        w->is_muted = false;
    if (otlp_kind_is_item(f->kind))
        item_end(w, f->kind);
    w->top--;
}

/* A singular field is met again, or a second member of a oneof: legal, and not canonical. */
static bool again(struct walk *w, const struct otlp_field_schema *field, const uint8_t *begin)
{
    w->report.needs_rewrite = true;
    if (field->type == OTLP_TYPE_MESSAGE && ++w->merges > OTLP_MERGES_MAX)
        return wire_fail(&w->wire, ERR_TOO_MANY, begin,
                         "at most 1024 sub-messages sent in parts") != NULL;
    return true;
}

static inline bool scalar_check(struct walk *w, const struct frame *f,
                                const struct otlp_field_schema *field, const struct wire_field *at)
{
    switch ((enum otlp_type)field->type) {
    case OTLP_TYPE_STRING:
        string_check(w, OTLP_TYPE_STRING, at->bytes);
        return !field->is_repeated || count_elements(w, 1, at->begin);
    case OTLP_TYPE_BYTES:
        string_check(w, OTLP_TYPE_BYTES, at->bytes);
        return true;
    case OTLP_TYPE_ID:
    case OTLP_TYPE_FIXED64:
        if (otlp_kind_is_item(f->kind))
            otlp_facts_note(&w->facts, field->role, at->value, at->bytes);
        return true;
    case OTLP_TYPE_BOOL:
        w->report.needs_rewrite |= at->value > 1;
        return true;
    case OTLP_TYPE_UINT32:
        w->report.needs_rewrite |= at->value > UINT32_MAX;
        return true;
    case OTLP_TYPE_ENUM:
        w->report.needs_rewrite |= at->value != (uint64_t)(int64_t)(int32_t)(uint32_t)at->value;
        return true;
    case OTLP_TYPE_MESSAGE:
    case OTLP_TYPE_INT64:
    case OTLP_TYPE_DOUBLE:
    case OTLP_TYPE_FIXED32:
    case OTLP_TYPE_NONE:
        return true;
    }
    return true;
}

/* All fields of all messages. The hot loop: position and open message stay in locals. */
static void walk_run(struct walk *w, struct bytes strange)
{
    const uint8_t *p = strange.data, *end = bytes_end(strange);
    struct frame *f = &w->frames[0];
    const struct otlp_field_schema *fields = otlp_schema[f->kind].fields;
    for (;;) {
        if (p == end) {
            if (w->top == 0)
                return;
            message_end(w);
            f--;
            end = f->end;
            fields = otlp_schema[f->kind].fields;
            continue;
        }
        struct wire_field at = { 0 };
        p = wire_read(&w->wire, p, end, &at);
        if (p == NULL)
            return;
        const struct otlp_field_schema *field =
            &fields[at.number <= OTLP_FIELD_NUMBER_MAX ? at.number : 0];
        if (field->type == OTLP_TYPE_NONE || field->wire != at.wire) {
            w->report.unknown_fields++;
            w->report.needs_rewrite = true;
            continue;
        }
        if (!field->is_repeated) {
            uint32_t bit = UINT32_C(1) << at.number;
            uint32_t others = f->kind == OTLP_KIND_ANY_VALUE ? UINT32_MAX : bit;
            if ((f->seen & others) != 0 && !again(w, field, at.begin))
                return;
            f->seen |= bit;
        }
        if (field->type != OTLP_TYPE_MESSAGE) {
            if (!scalar_check(w, f, field, &at))
                return;
            continue;
        }
        if (field->role == OTLP_ROLE_ATTRIBUTE && w->is_plain_fast &&
            f->attributes < w->limits->attributes_max) {
            const uint8_t *after = plain_attributes(w, f, at.begin, end);
            if (after != at.begin) {
                p = after;
                if (!count_elements(w, 0, at.begin))
                    return;
                continue;
            }
        }
        if (!message_begin(w, field, at.begin, at.bytes))
            return;
        f++;
        p = at.bytes.data;
        end = f->end;
        fields = otlp_schema[f->kind].fields;
        if (f->kind == OTLP_KIND_SPAN && w->is_plain_fast) {
            p = plain_span(w, f, p, end);
            if (!count_elements(w, 0, at.begin))
                return;
        }
    }
}

enum err otlp_check(enum signal signal, struct bytes strange, const struct otlp_limits *limits,
                    uint64_t now_unix_ns, struct otlp_report *out_report, struct err_note *out_note)
{
    assert(limits->depth_max <= OTLP_DEPTH_MAX);
    struct walk w;
    w.wire = (struct wire){ 0 };
    w.limits = limits;
    w.now_unix_ns = now_unix_ns;
    w.report = (struct otlp_report){ .start_min_unix_ns = UINT64_MAX };
    w.in_item = w.item_has_warnings = w.is_muted = false;
    memset(w.item_warned, 0, sizeof w.item_warned);
    w.is_plain_fast = otlp_limits_allow_plain(limits);
    w.merges = 0;
    w.top = 0;
    w.frames[0] =
        (struct frame){ .end = bytes_end(strange), .kind = (uint8_t)otlp_root_kind(signal) };
    walk_run(&w, strange);
    if (w.wire.error != ERR_OK) {
        if (out_note != NULL)
            *out_note = (struct err_note){ .offset = (size_t)(w.wire.error_at - strange.data),
                                           .what = w.wire.error_what };
        return w.wire.error;
    }
    w.report.needs_rewrite |= w.wire.is_odd;
    *out_report = w.report;
    return ERR_OK;
}
