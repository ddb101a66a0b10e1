/* SPDX-License-Identifier: Apache-2.0 */
/* The canonical form of what otlp_check() accepted.
 *
 * A message may lie in parts: occurrences of a singular sub-message merge, which is the same as
 * reading their contents one after the other. So each open message is a list of parts, nearly
 * always one, and is walked twice: a survey finds the last occurrence of each singular field and
 * the parts of the singular sub-message (no kind has two that can be set at once), then the fields
 * are written in their order.
 *
 * I1: what is kept and dropped follows otlp_rules.h, as in otlp_check(), and nothing else.
 * I2: without a reason to change something, the bytes written are the bytes read. */
#include "proto/otlp_rules.h"
#include "proto/otlp_wire.h"
#include "proto/pb_nest.h"
#include "proto/pb_writer.h"

#include "base/mem.h"

#include <assert.h>

enum { CUT_ATTRIBUTES, CUT_EVENTS, CUT_LINKS, CUT_COUNT };

/* What was dropped from a message, and where its own count of that was written. */
struct cut {
    uint32_t kept;    /* elements */
    uint64_t dropped; /* elements, and values that were shortened */
    size_t at, len;   /* of the dropped count in the message as written; len 0: none so far */
    uint32_t value;   /* that count */
};

struct frame {
    enum otlp_kind kind;
    size_t parts_first, parts_end; /* in the stack of parts */
    size_t parts_restore;          /* what the stack goes back to after this message */
    size_t part;                   /* being read */
    struct wire wire;              /* in it */
    const uint8_t *last[OTLP_FIELD_NUMBER_MAX + 1]; /* occurrence to write, of singular fields */
    size_t child_first, child_end;                  /* parts of the singular sub-message */
    struct cut cuts[CUT_COUNT];
};

struct rewrite {
    const struct otlp_limits *limits;
    uint64_t now_unix_ns;
    struct buffer *out;
    struct pb_nest nest; /* of all frames but the outermost */
    enum err error;
    struct bytes *parts;
    size_t parts_count, parts_capacity;
    size_t depth; /* frames open */
    struct frame frames[OTLP_FRAMES_MAX];
};

static bool part_push(struct rewrite *r, struct bytes part)
{
    if (r->parts_count == r->parts_capacity) {
        size_t capacity = r->parts_capacity * 2 + 256;
        struct bytes *parts = mem_realloc(r->parts, capacity * sizeof *parts);
        if (parts == NULL) {
            r->error = ERR_NOMEM;
            return false;
        }
        r->parts = parts;
        r->parts_capacity = capacity;
    }
    r->parts[r->parts_count++] = part;
    return true;
}

/* The next field of a message in parts. */
static bool field_next(struct rewrite *r, struct frame *f, struct wire_field *out)
{
    while (!wire_next(&f->wire, out)) {
        if (f->wire.error != ERR_OK) {
            r->error = ERR_INVALID; /* not what otlp_check() accepted */
            return false;
        }
        if (f->part + 1 >= f->parts_end)
            return false;
        f->wire = wire_of(r->parts[++f->part]);
    }
    return true;
}

static void field_rewind(struct rewrite *r, struct frame *f)
{
    f->part = f->parts_first;
    f->wire = wire_of(r->parts[f->part]);
}

/* Find what the writing pass needs to know in advance; note the facts that decide on an item. */
static void survey(struct rewrite *r, struct frame *f, struct otlp_facts *facts)
{
    struct wire_field at;
    uint32_t member = 0; /* of AnyValue's oneof: the one that was set last */
    f->child_first = f->child_end = r->parts_count;
    while (field_next(r, f, &at)) {
        const struct otlp_field_schema *field = otlp_schema_find(f->kind, at.number, at.wire);
        if (field == NULL || field->is_repeated)
            continue;
        if (f->kind == OTLP_KIND_ANY_VALUE && at.number != member) {
            f->last[member] = NULL;
            r->parts_count = f->child_first;
            member = at.number;
        }
        f->last[at.number] = at.begin;
        if (field->type == OTLP_TYPE_MESSAGE && !part_push(r, at.bytes))
            return;
        if (otlp_kind_is_item(f->kind))
            otlp_facts_note(facts, field->role, at.value, at.bytes);
    }
    f->child_end = r->parts_count;
    field_rewind(r, f);
}

/* Open the message that lies in the topmost parts from parts_first on. */
static void message_begin(struct rewrite *r, enum otlp_kind kind, uint32_t number,
                          size_t parts_first, size_t parts_end, size_t parts_restore)
{
    assert(r->depth < OTLP_FRAMES_MAX);
    struct frame *f = &r->frames[r->depth];
    struct otlp_facts facts = { 0 };
    memset(f, 0, sizeof *f);
    f->kind = kind;
    f->parts_first = parts_first;
    f->parts_end = parts_end;
    f->parts_restore = parts_restore;
    field_rewind(r, f);
    survey(r, f, &facts);
    if (r->error != ERR_OK)
        return;
    if (otlp_kind_is_item(kind) &&
        otlp_item_judge(kind, &facts, r->limits, r->now_unix_ns) != OTLP_REJECT_COUNT) {
        r->parts_count = parts_restore;
        return;
    }
    if (number != 0)
        pb_nest_begin(&r->nest, number);
    r->depth++;
}

/* Replace the count of dropped things by one that includes what was dropped here. */
static void cut_write(struct rewrite *r, struct frame *f, struct cut *cut, uint32_t number)
{
    struct buffer *out = r->out;
    if (out->error != ERR_OK)
        return;
    if (cut->len > 0) {
        size_t at = pb_nest_start(&r->nest) + cut->at, after = at + cut->len;
        memmove(out->data + at, out->data + after, out->len - after);
        out->len -= cut->len;
        for (int i = 0; i < CUT_COUNT; i++) {
            if (f->cuts[i].at > cut->at)
                f->cuts[i].at -= cut->len;
        }
    }
    uint64_t total = cut->value + cut->dropped;
    pb_uint(out, number, total > UINT32_MAX ? UINT32_MAX : total);
}

static uint32_t number_of_role(enum otlp_kind kind, enum otlp_role role)
{
    for (uint32_t n = 1; n <= OTLP_FIELD_NUMBER_MAX; n++) {
        if (otlp_schema[kind].fields[n].role == role)
            return n;
    }
    return 0;
}

static void message_end(struct rewrite *r)
{
    static const enum otlp_role roles[CUT_COUNT] = { OTLP_ROLE_DROPPED_ATTRIBUTES,
                                                     OTLP_ROLE_DROPPED_EVENTS,
                                                     OTLP_ROLE_DROPPED_LINKS };
    struct frame *f = &r->frames[--r->depth];
    for (int i = 0; i < CUT_COUNT; i++) {
        if (f->cuts[i].dropped == 0)
            continue;
        uint32_t number = number_of_role(f->kind, roles[i]);
        if (number != 0)
            cut_write(r, f, &f->cuts[i], number);
        else if (r->depth > 0) /* a value inside a value, a status: its owner tells */
            r->frames[r->depth - 1].cuts[i].dropped += f->cuts[i].dropped;
    }
    if (r->depth > 0)
        pb_nest_end(&r->nest);
    r->parts_count = f->parts_restore;
}

/* The same judgements in the same order as in otlp_check(). */
static bool element_is_dropped(struct rewrite *r, struct frame *f,
                               const struct otlp_field_schema *field, struct bytes element)
{
    const struct otlp_limits *limits = r->limits;
    struct cut *attributes = &f->cuts[CUT_ATTRIBUTES], *events = &f->cuts[CUT_EVENTS],
               *links = &f->cuts[CUT_LINKS];
    if (field->child == OTLP_KIND_KEY_VALUE && otlp_key_len(element) > limits->key_bytes_max) {
        attributes->dropped++;
        return true;
    }
    if (field->role == OTLP_ROLE_ATTRIBUTE && attributes->kept++ >= limits->attributes_max) {
        attributes->dropped++;
        return true;
    }
    if (field->role == OTLP_ROLE_EVENT && events->kept++ >= limits->events_max) {
        events->dropped++;
        return true;
    }
    if (field->role == OTLP_ROLE_LINK) {
        struct otlp_facts facts = otlp_link_facts(element);
        if (otlp_link_is_malformed(&facts) || links->kept++ >= limits->links_max) {
            links->dropped++;
            return true;
        }
    }
    return false;
}

static void message_write(struct rewrite *r, struct frame *f, const struct otlp_field_schema *field,
                          const struct wire_field *at)
{
    if (!field->is_repeated) {
        message_begin(r, field->child, at->number, f->child_first, f->child_end, f->child_end);
        return;
    }
    if (element_is_dropped(r, f, field, at->bytes))
        return;
    if (field->role == OTLP_ROLE_ATTRIBUTE && otlp_limits_allow_plain(r->limits) &&
        otlp_key_value_is_plain(at->bytes, r->limits->value_bytes_max)) {
        pb_bytes(r->out, at->number, at->bytes);
        return;
    }
    size_t restore = r->parts_count;
    if (part_push(r, at->bytes))
        message_begin(r, field->child, at->number, restore, restore + 1, restore);
}

static void dropped_count_note(struct rewrite *r, struct frame *f, enum otlp_role role,
                               size_t begin, uint32_t value)
{
    struct cut *cut = &f->cuts[role - OTLP_ROLE_DROPPED_ATTRIBUTES];
    cut->at = begin - pb_nest_start(&r->nest); /* messages move, their contents keep their places */
    cut->len = r->out->len - begin;
    cut->value = value;
}

static void field_write(struct rewrite *r, struct frame *f, const struct otlp_field_schema *field,
                        const struct wire_field *at)
{
    struct buffer *out = r->out;
    size_t begin = out->len;
    switch ((enum otlp_type)field->type) {
    case OTLP_TYPE_STRING:
    case OTLP_TYPE_BYTES: {
        size_t kept = otlp_value_cut(at->bytes, field->type, r->limits->value_bytes_max);
        f->cuts[CUT_ATTRIBUTES].dropped += kept < at->bytes.len;
        pb_bytes(out, at->number, bytes_slice(at->bytes, 0, kept));
        break;
    }
    case OTLP_TYPE_ID:
        if (f->kind != OTLP_KIND_LOG || !otlp_id_is_malformed(at->bytes, field->id_bytes))
            pb_bytes(out, at->number, at->bytes);
        break;
    case OTLP_TYPE_BOOL:
        pb_uint(out, at->number, at->value != 0);
        break;
    case OTLP_TYPE_UINT32:
        pb_uint(out, at->number, (uint32_t)at->value);
        if (field->role != OTLP_ROLE_NONE)
            dropped_count_note(r, f, field->role, begin, (uint32_t)at->value);
        break;
    case OTLP_TYPE_ENUM:
        pb_uint(out, at->number, (uint64_t)(int64_t)(int32_t)(uint32_t)at->value);
        break;
    case OTLP_TYPE_INT64:
        pb_uint(out, at->number, at->value);
        break;
    case OTLP_TYPE_DOUBLE:
    case OTLP_TYPE_FIXED64:
        pb_fixed64(out, at->number, at->value);
        break;
    case OTLP_TYPE_FIXED32:
        pb_fixed32(out, at->number, (uint32_t)at->value);
        break;
    case OTLP_TYPE_MESSAGE:
        message_write(r, f, field, at);
        break;
    case OTLP_TYPE_NONE:
        break;
    }
}

static void rewrite_all(struct rewrite *r, enum signal signal, struct bytes accepted)
{
    if (part_push(r, accepted))
        message_begin(r, otlp_root_kind(signal), 0, 0, 1, 0);
    while (r->error == ERR_OK && r->depth > 0) {
        struct frame *f = &r->frames[r->depth - 1];
        struct wire_field at;
        if (!field_next(r, f, &at)) {
            message_end(r);
            continue;
        }
        const struct otlp_field_schema *field = otlp_schema_find(f->kind, at.number, at.wire);
        if (field != NULL && (field->is_repeated || f->last[at.number] == at.begin))
            field_write(r, f, field, &at);
    }
}

enum err otlp_rewrite(enum signal signal, struct bytes accepted, const struct otlp_limits *limits,
                      uint64_t now_unix_ns, struct buffer *out)
{
    struct rewrite *r = mem_alloc(sizeof *r);
    if (r == NULL)
        return ERR_NOMEM;
    r->limits = limits;
    r->now_unix_ns = now_unix_ns;
    r->out = out;
    pb_nest_init(&r->nest, out);
    r->error = ERR_OK;
    r->parts = NULL;
    r->parts_count = r->parts_capacity = 0;
    r->depth = 0;
    rewrite_all(r, signal, accepted);
    enum err e = r->error != ERR_OK ? r->error : buffer_error(out);
    mem_free(r->parts);
    mem_free(r);
    return e;
}
