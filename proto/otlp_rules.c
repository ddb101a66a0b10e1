/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/otlp_rules.h"

#include "proto/otlp_wire.h"

size_t otlp_value_cut(struct bytes value, enum otlp_type type, size_t bytes_max)
{
    if (value.len <= bytes_max)
        return value.len;
    if (type != OTLP_TYPE_STRING)
        return bytes_max;
    size_t cut = bytes_max;
    for (int back = 0; back < 4; back++, cut--) {
        if ((value.data[cut] & 0xC0) != 0x80)
            return cut;
        if (cut == 0)
            break;
    }
    return bytes_max;
}

struct otlp_facts otlp_link_facts(struct bytes link)
{
    struct otlp_facts facts = { 0 };
    struct wire w = wire_of(link);
    struct wire_field f;
    while (wire_next(&w, &f)) {
        const struct otlp_field_schema *field = otlp_schema_find(OTLP_KIND_LINK, f.number, f.wire);
        if (field != NULL && field->type == OTLP_TYPE_ID)
            otlp_facts_note(&facts, field->role, 0, f.bytes);
    }
    return facts;
}

size_t otlp_key_len(struct bytes key_value)
{
    size_t len = 0;
    struct wire w = wire_of(key_value);
    struct wire_field f;
    while (wire_next(&w, &f)) {
        if (f.number == 1 && f.wire == WIRE_LENGTH)
            len = f.bytes.len;
    }
    return len;
}
