/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/otlp_random.h"

#include "proto/otlp_schema.h"
#include "proto/otlp_wire.h"
#include "proto/pb_writer.h"

struct generator {
    struct random *random;
    struct buffer *out;
    const struct otlp_random_options *options;
    size_t items_left;
};

static uint64_t below(struct generator *g, uint64_t bound)
{
    return random_below(g->random, bound);
}
static bool chance(struct generator *g, uint64_t one_in)
{
    return below(g, one_in) == 0;
}

static void text_put(struct generator *g, uint32_t number)
{
    static const char long_text[] =
        "a rather long text that does not fit any short form, and goes on for more than 127 bytes "
        "so that its length needs two bytes on the wire, as real stack traces do";
    const char *const words[] = {
        "service.name",
        "http.route",
        "GET /cart",
        "k",
        "",
        "caf\xC3\xA9",
        "\xE2\x80\xA8 line",
        "\xF0\x9F\xA6\x86 duck",
        "quote\" back\\ <b>",
        "tab\t nul",
        long_text,
    };
    static const char *const bad[] = { "\xFF", "ok\xC3", "\xED\xA0\xBD", "\x80 x", "\xC0\xAF" };
    const char *word = words[below(g, sizeof words / sizeof words[0])];
    if (g->options->has_bad_utf8 && chance(g, 12))
        word = bad[below(g, sizeof bad / sizeof bad[0])];
    struct bytes text = bytes_text(word);
    if (chance(g, 10))
        text = BYTES_LITERAL("nul\0inside");
    pb_bytes(g->out, number, text);
}

static uint64_t number_any(struct generator *g)
{
    static const uint64_t odd[] = { 0,
                                    1,
                                    127,
                                    128,
                                    INT32_MAX,
                                    UINT32_MAX,
                                    INT64_MAX,
                                    UINT64_MAX,
                                    1u << 31,
                                    UINT64_C(1) << 53,
                                    (UINT64_C(1) << 53) + 1,
                                    UINT64_C(1) << 63 };
    if (chance(g, 2))
        return odd[below(g, sizeof odd / sizeof odd[0])];
    return random_next(g->random) >> below(g, 64);
}

static double double_any(struct generator *g)
{
    static const double odd[] = { 0.0, -0.0, 1.0, 0.1, 1e300, -5e-324, 1.5, 123456789.0 };
    switch (below(g, 6)) {
    case 0:
        return __builtin_nan("");
    case 1:
        return __builtin_inf();
    case 2:
        return -__builtin_inf();
    case 3:
        return random_unit(g->random);
    default:
        return odd[below(g, sizeof odd / sizeof odd[0])];
    }
}

static void id_put(struct generator *g, uint32_t number, size_t len)
{
    uint8_t id[24];
    for (size_t i = 0; i < len; i += 8)
        store_le64(id + i, random_next(g->random));
    id[0] |= 1;
    pb_bytes(g->out, number, bytes_of(id, len));
}

static uint64_t time_any(struct generator *g)
{
    if (chance(g, 8))
        return number_any(g);
    return UINT64_C(1700000000000000000) + below(g, 1000000000);
}

/* Test code: recursion is bounded by options->depth_max. */
static void message_put(struct generator *g, enum otlp_kind kind, unsigned depth);

static void any_value_put(struct generator *g, unsigned depth)
{
    if (g->options->is_strange && chance(g, 60))
        text_put(g, OTLP_STRING);            /* another member follows */
    uint32_t number = (uint32_t)below(g, 8); /* 0: empty */
    if (depth >= g->options->depth_max && (number == OTLP_ARRAY || number == OTLP_KVLIST))
        number = OTLP_STRING;
    const struct otlp_field_schema *field = &otlp_schema[OTLP_KIND_ANY_VALUE].fields[number];
    switch (number) {
    case OTLP_STRING:
        text_put(g, number);
        break;
    case OTLP_BYTES: {
        uint8_t raw[8];
        store_le64(raw, random_next(g->random));
        pb_bytes(g->out, number, bytes_of(raw, below(g, 9)));
        break;
    }
    case OTLP_BOOL:
        pb_uint(g->out, number, below(g, 2));
        break;
    case OTLP_INT:
        pb_uint(g->out, number, number_any(g));
        break;
    case OTLP_DOUBLE:
        pb_double(g->out, number, double_any(g));
        break;
    case OTLP_ARRAY:
    case OTLP_KVLIST: {
        size_t mark = pb_begin(g->out, number);
        message_put(g, field->child, depth);
        pb_end(g->out, mark);
        break;
    }
    default:
        break;
    }
}

static size_t repeats(struct generator *g, const struct otlp_field_schema *field)
{
    if (otlp_kind_is_item(field->child)) {
        size_t n = (size_t)below(g, g->items_left + 1);
        g->items_left -= n;
        return n;
    }
    return (size_t)below(g, 4);
}

static void scalar_put(struct generator *g, enum otlp_kind kind,
                       const struct otlp_field_schema *field, uint32_t number)
{
    switch ((enum otlp_type)field->type) {
    case OTLP_TYPE_STRING:
    case OTLP_TYPE_BYTES:
        text_put(g, number);
        break;
    case OTLP_TYPE_ID:
        id_put(g, number, g->options->is_strange && chance(g, 20) ? below(g, 17) : field->id_bytes);
        break;
    case OTLP_TYPE_UINT32:
        pb_uint(g->out, number, (uint32_t)number_any(g));
        break;
    case OTLP_TYPE_ENUM:
        pb_uint(g->out, number,
                chance(g, 8) ? (uint64_t)(int64_t)(int32_t)number_any(g) : below(g, 25));
        break;
    case OTLP_TYPE_FIXED64:
        pb_fixed64(g->out, number, time_any(g));
        break;
    case OTLP_TYPE_FIXED32:
        pb_fixed32(g->out, number, (uint32_t)number_any(g));
        break;
    default:
        break;
    }
    (void)kind;
}

/* Well-formed, and nothing that an exporter would send. */
static void strange_put(struct generator *g)
{
    uint32_t number = 1 + (uint32_t)below(g, chance(g, 4) ? 1100 : 18);
    switch (below(g, 6)) {
    case 0: /* another wire type, or an unknown field */
        pb_uint(g->out, number, number_any(g));
        break;
    case 1:
        pb_fixed64(g->out, number, number_any(g));
        break;
    case 2:
        pb_fixed32(g->out, number, (uint32_t)number_any(g));
        break;
    case 3:
        pb_bytes(g->out, number, (struct bytes){ 0 });
        break;
    case 4: /* a group with something inside */
        pb_tag(g->out, number, WIRE_GROUP_BEGIN);
        pb_uint(g->out, 1, number_any(g));
        text_put(g, 2);
        pb_tag(g->out, number, WIRE_GROUP_END);
        break;
    default: /* a varint in a longer form than needed, in an unknown field */
        pb_tag(g->out, 100, WIRE_VARINT);
        buffer_append(g->out, "\x81\x80\x00", 3);
        break;
    }
}

static void field_put(struct generator *g, enum otlp_kind kind, uint32_t number, unsigned depth)
{
    const struct otlp_field_schema *field = &otlp_schema[kind].fields[number];
    bool is_needed = kind == OTLP_KIND_SPAN && number <= 2;
    if (field->type == OTLP_TYPE_NONE || (!is_needed && !field->is_repeated && chance(g, 5)))
        return;
    bool is_strange = g->options->is_strange && chance(g, 40);
    size_t n = field->is_repeated ? repeats(g, field) : 1 + (size_t)(is_strange && chance(g, 2));
    if (is_strange)
        strange_put(g);
    for (size_t i = 0; i < n; i++) {
        if (field->type != OTLP_TYPE_MESSAGE) {
            scalar_put(g, kind, field, number);
            continue;
        }
        size_t mark = pb_begin(g->out, number);
        message_put(g, field->child, depth);
        pb_end(g->out, mark);
    }
}

static void message_put(struct generator *g, enum otlp_kind kind, unsigned depth)
{
    if (kind == OTLP_KIND_ANY_VALUE) {
        any_value_put(g, depth + 1);
        return;
    }
    uint32_t order[OTLP_FIELD_NUMBER_MAX];
    for (uint32_t i = 0; i < OTLP_FIELD_NUMBER_MAX; i++)
        order[i] = i + 1;
    for (uint32_t i = OTLP_FIELD_NUMBER_MAX - 1; g->options->has_extra_order && i > 0; i--) {
        uint32_t j = (uint32_t)below(g, i + 1), swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
    bool is_list = kind == OTLP_KIND_ARRAY || kind == OTLP_KIND_KVLIST;
    if (is_list && depth >= g->options->depth_max)
        return;
    for (uint32_t i = 0; i < OTLP_FIELD_NUMBER_MAX; i++)
        field_put(g, kind, order[i], depth);
}

void otlp_random(struct random *random, enum signal signal,
                 const struct otlp_random_options *options, struct buffer *out)
{
    struct generator g = {
        .random = random, .out = out, .options = options, .items_left = options->items_max
    };
    message_put(&g, otlp_root_kind(signal), 0);
}

void otlp_random_break(struct random *random, struct buffer *message, size_t from)
{
    uint64_t steps = 1 + random_below(random, 3);
    for (uint64_t i = 0; i < steps && message->len > from; i++) {
        size_t len = message->len - from;
        size_t at = from + (size_t)random_below(random, len);
        switch (random_below(random, 5)) {
        case 0: /* one byte, anything */
            message->data[at] = (uint8_t)random_next(random);
            break;
        case 1: /* one bit */
            message->data[at] ^= (uint8_t)(1u << random_below(random, 8));
            break;
        case 2: /* cut */
            message->len = at;
            break;
        case 3: { /* take some out */
            size_t n = (size_t)random_below(random, 16);
            n = n < message->len - at ? n : message->len - at;
            memmove(message->data + at, message->data + at + n, message->len - at - n);
            message->len -= n;
            break;
        }
        default: { /* repeat some */
            size_t n = 1 + (size_t)random_below(random, 32);
            n = n < message->len - at ? n : message->len - at;
            if (buffer_reserve(message, n) == NULL)
                return;
            memmove(message->data + at + n, message->data + at, message->len - at);
            buffer_grew(message, n);
            break;
        }
        }
    }
}
