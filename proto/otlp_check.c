/* SPDX-License-Identifier: Apache-2.0 */
/* The door: one pass over strange bytes with a stack of open messages that has a fixed size.
 *
 * I1: nothing is read outside the bytes given; each length is compared with its message first.
 * I2: work and memory are bounded by the length of the input alone.
 * I3: a message that is dropped (over a limit, or a malformed link) is walked all the same, muted:
 * it must be well-formed, but what is odd inside it warns of nothing. I4: needs_rewrite is set by
 * everything that otlp_rewrite() would change. */
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
    bool is_plain_fast; /* limits allow the short cut for plain attributes */
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

static inline bool is_ascii(const uint8_t *p, size_t n)
{
    const uint64_t high = UINT64_C(0x8080808080808080);
    if (n < 8) {
        uint8_t any = 0;
        for (size_t i = 0; i < n; i++)
            any |= p[i];
        return any < 0x80;
    }
    uint64_t any = load_le64(p + n - 8);
    for (size_t i = 0; i + 8 < n; i += 8)
        any |= load_le64(p + i);
    return (any & high) == 0;
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
        (type == OTLP_TYPE_STRING && !is_ascii(value.data, value.len)))
        string_check_slow(w, type, value);
}

static inline bool count_elements(struct walk *w, uint64_t n, const uint8_t *at)
{
    w->report.elements += n;
    if (w->report.elements <= w->limits->elements_max)
        return true;
    return wire_fail(&w->wire, ERR_TOO_MANY, at, "fewer messages and values in one request") !=
           NULL;
}

/* The attribute that nearly all are: a short ASCII key, and a value of at most 127 bytes that is a
 * short ASCII string, a boolean, an integer, a double or empty, each once and in order. Everything
 * else goes the general way, and so would this, with the same outcome. */
static inline bool key_value_is_plain(struct bytes kv)
{
    const uint8_t *p = kv.data;
    size_t n = kv.len;
    if (n < 4 || p[0] != (1 << 3 | WIRE_LENGTH) || p[1] >= 0x80)
        return false;
    size_t key_end = 2 + (size_t)p[1];
    if (key_end + 2 > n || p[key_end] != (2 << 3 | WIRE_LENGTH) || p[key_end + 1] >= 0x80 ||
        key_end + 2 + p[key_end + 1] != n)
        return false;
    const uint8_t *value = p + key_end + 2;
    size_t len = p[key_end + 1];
    if (len == 0)
        return is_ascii(p, n);
    switch (value[0]) {
    case OTLP_STRING << 3 | WIRE_LENGTH:
        /* The tags and lengths between key and string are below 0x80 too: look at all at once. */
        return len >= 2 && value[1] == len - 2 && is_ascii(p, n);
    case OTLP_BOOL << 3 | WIRE_VARINT:
        return len == 2 && value[1] <= 1 && is_ascii(p, n);
    case OTLP_INT << 3 | WIRE_VARINT: {
        if (len < 2 || len > 1 + WIRE_VARINT_MAX || (len > 2 && value[len - 1] == 0) ||
            (len == 1 + WIRE_VARINT_MAX && value[len - 1] > 1))
            return false;
        for (size_t i = 1; i + 1 < len; i++) {
            if (value[i] < 0x80)
                return false;
        }
        return value[len - 1] < 0x80 && is_ascii(p, key_end);
    }
    case OTLP_DOUBLE << 3 | WIRE_FIXED64:
        return len == 9 && is_ascii(p, key_end);
    default:
        return false;
    }
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

static bool message_begin(struct walk *w, struct frame *f, const struct otlp_field_schema *field,
                          const struct wire_field *at)
{
    struct bytes message = at->bytes;
    if (field->role == OTLP_ROLE_ATTRIBUTE && w->is_plain_fast &&
        f->attributes < w->limits->attributes_max && key_value_is_plain(message)) {
        f->attributes++;
        return count_elements(w, 2, at->begin);
    }
    if (!count_elements(w, 1, at->begin))
        return false;

    bool mute = field->is_repeated && element_is_dropped(w, f, field, message);
    size_t depth = f->depth + (size_t)(field->child == OTLP_KIND_ANY_VALUE);
    if (depth > w->limits->depth_max)
        return wire_fail(&w->wire, ERR_TOO_DEEP, at->begin, "values nested less deeply") != NULL;
    assert(w->top + 1 < OTLP_FRAMES_MAX);
    struct frame *child = &w->frames[++w->top];
    *child = (struct frame){
        .end = message.data + message.len,
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
    w->wire.at = message.data;
    w->wire.end = child->end;
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
    w->wire.end = w->frames[w->top].end;
}

/* A singular field is met again, or a second member of a oneof: legal, and not canonical. */
static bool again(struct walk *w, const struct otlp_field_schema *field,
                  const struct wire_field *at)
{
    w->report.needs_rewrite = true;
    if (field->type == OTLP_TYPE_MESSAGE && ++w->merges > OTLP_MERGES_MAX)
        return wire_fail(&w->wire, ERR_TOO_MANY, at->begin, "fewer sub-messages sent in parts") !=
               NULL;
    return true;
}

static inline bool field_check(struct walk *w, const struct wire_field *at)
{
    struct frame *f = &w->frames[w->top];
    const struct otlp_field_schema *field = otlp_schema_find(f->kind, at->number, at->wire);
    if (field == NULL) {
        w->report.unknown_fields++;
        w->report.needs_rewrite = true;
        return true;
    }
    uint32_t bit = UINT32_C(1) << at->number;
    if (!field->is_repeated && (f->kind == OTLP_KIND_ANY_VALUE ? f->seen != 0 : (f->seen & bit)) &&
        !again(w, field, at))
        return false;
    f->seen |= bit;

    switch ((enum otlp_type)field->type) {
    case OTLP_TYPE_STRING:
        if (field->is_repeated && !count_elements(w, 1, at->begin))
            return false;
        string_check(w, OTLP_TYPE_STRING, at->bytes);
        return true;
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
        return message_begin(w, f, field, at);
    case OTLP_TYPE_INT64:
    case OTLP_TYPE_DOUBLE:
    case OTLP_TYPE_FIXED32:
    case OTLP_TYPE_NONE:
        return true;
    }
    return true;
}

enum err otlp_check(enum signal signal, struct bytes strange, const struct otlp_limits *limits,
                    uint64_t now_unix_ns, struct otlp_report *out_report, struct err_note *out_note)
{
    assert(limits->depth_max <= OTLP_DEPTH_MAX);
    struct walk w;
    w.wire = wire_of(strange);
    w.limits = limits;
    w.now_unix_ns = now_unix_ns;
    w.report = (struct otlp_report){ .start_min_unix_ns = UINT64_MAX };
    w.in_item = w.item_has_warnings = w.is_muted = false;
    memset(w.item_warned, 0, sizeof w.item_warned);
    w.is_plain_fast =
        limits->depth_max >= 1 && limits->key_bytes_max >= 127 && limits->value_bytes_max >= 127;
    w.merges = 0;
    w.top = 0;
    w.frames[0] = (struct frame){ .end = w.wire.end, .kind = (uint8_t)otlp_root_kind(signal) };

    for (;;) {
        struct wire_field at;
        if (wire_next(&w.wire, &at)) {
            if (!field_check(&w, &at))
                break;
        } else if (w.wire.error != ERR_OK || w.top == 0) {
            break;
        } else {
            message_end(&w);
        }
    }
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
