/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/rowgroup/rowgroup_testing.h"

#include "base/mem.h"
#include "proto/pb_writer.h"

#include <stdlib.h>

const struct hash_key *testing_key(void)
{
    static struct hash_key key;
    static bool is_made;
    if (!is_made)
        hash_key_derive((const uint8_t *)"0123456789abcdef0123456789abcdef", &key);
    is_made = true;
    return &key;
}

static enum err memory_read(void *context, uint64_t offset, size_t len, uint8_t *out)
{
    const struct bytes *all = context;
    if (offset > all->len || len > all->len - offset)
        return ERR_IO;
    if (len > 0)
        memcpy(out, all->data + offset, len);
    return ERR_OK;
}

struct rowgroup_source testing_source(struct bytes *bytes)
{
    return (struct rowgroup_source){ .context = bytes, .size = bytes->len, .read = memory_read };
}

enum err testing_build(enum signal signal, struct bytes body, struct buffer *out,
                       struct rowgroup_summary *out_summary)
{
    return testing_build_at(signal, 0, body, out, out_summary);
}

enum err testing_build_at(enum signal signal, int level, struct bytes body, struct buffer *out,
                          struct rowgroup_summary *out_summary)
{
    struct rowgroup_options options = { .signal = signal,
                                        .content_key = testing_key(),
                                        .zstd_level = level };
    struct rowgroup_builder *b;
    enum err e = rowgroup_builder_open(&options, &b);
    if (e != ERR_OK)
        return e;
    struct rowgroup_summary summary;
    e = rowgroup_builder_add(b, body);
    if (e == ERR_OK)
        e = rowgroup_builder_finish(b, NULL, NULL, out, &summary);
    rowgroup_builder_close(b);
    if (e == ERR_OK && out_summary != NULL) {
        *out_summary = summary; /* its pointers went with the builder */
        out_summary->trace_filter = (struct bytes){ 0 };
        out_summary->operations = NULL;
    }
    return e;
}

/* ---- Items in one form: fields that proto3 may leave out because they are zero or empty are left
 * out. Written apart from the reader under test, over the message definitions alone. */

enum message { SPAN, LOG, EVENT, LINK, STATUS, KEY_VALUE, RAW };

/* What a length-delimited field of a message is: RAW is copied as it is, presence and all; -1 is a
 * string or ID, which is left out when empty. */
static int field_message(enum message m, uint32_t number)
{
    switch (m) {
    case SPAN:
        return number == 9    ? KEY_VALUE
               : number == 11 ? EVENT
               : number == 13 ? LINK
               : number == 15 ? STATUS
                              : -1;
    case LOG:
        return number == 6 ? KEY_VALUE : number == 5 ? RAW : -1;
    case EVENT:
        return number == 3 ? KEY_VALUE : -1;
    case LINK:
        return number == 4 ? KEY_VALUE : -1;
    case KEY_VALUE:
        return number == 2 ? RAW : -1;
    default:
        return -1;
    }
}

static void normalize(enum message m, struct bytes from, struct buffer *out)
{
    struct otlp_fields fields = otlp_fields(from);
    struct otlp_field f;
    while (otlp_fields_next(&fields, &f)) {
        if (f.wire_type != 2) {
            if (f.value == 0)
                continue;
            if (f.wire_type == 0) /* all of these messages' varints have 32 bits */
                pb_uint(out, f.number, (uint32_t)f.value);
            else if (f.wire_type == 1)
                pb_fixed64(out, f.number, f.value);
            else
                pb_fixed32(out, f.number, (uint32_t)f.value);
            continue;
        }
        int sub = field_message(m, f.number);
        if (sub == RAW) {
            pb_bytes(out, f.number, f.bytes);
        } else if (sub >= 0) {
            size_t mark = pb_begin(out, f.number);
            normalize((enum message)sub, f.bytes, out);
            pb_end(out, mark);
        } else if (f.bytes.len > 0) {
            pb_bytes(out, f.number, f.bytes);
        }
    }
}

void testing_normalize(enum signal signal, struct bytes item, struct buffer *out)
{
    normalize(signal == SIGNAL_TRACES ? SPAN : LOG, item, out);
}

static int hash_order(const void *a, const void *b)
{
    const struct hash128 *x = a, *y = b;
    if (x->high != y->high)
        return x->high < y->high ? -1 : 1;
    return (x->low > y->low) - (x->low < y->low);
}

enum err testing_items(enum signal signal, struct bytes body, struct arena *arena,
                       struct hash128 **out, size_t *out_count)
{
    size_t count = 0;
    struct otlp_items it = otlp_items(body);
    while (otlp_items_next(&it))
        count++;
    struct hash128 *all = arena_alloc_array(arena, count + 1, sizeof *all);
    if (all == NULL)
        return arena_failure(arena);
    struct buffer b;
    buffer_init(&b, SIZE_MAX);
    it = otlp_items(body);
    for (size_t i = 0; otlp_items_next(&it); i++) {
        buffer_reset(&b);
        buffer_append_byte(&b, (uint8_t)(it.resource.has_resource | it.scope.has_scope << 1));
        pb_bytes(&b, 1, it.resource.resource);
        pb_bytes(&b, 2, it.resource.schema_url);
        pb_bytes(&b, 3, it.scope.scope);
        pb_bytes(&b, 4, it.scope.schema_url);
        testing_normalize(signal, it.item, &b);
        all[i] = hash_bytes_keyed(testing_key(), buffer_bytes(&b));
    }
    enum err e = buffer_error(&b);
    buffer_deinit(&b);
    qsort(all, count, sizeof *all, hash_order);
    *out = all;
    *out_count = count;
    return e;
}

enum err testing_read_all(struct segment *s, struct arena *arena, struct buffer *out)
{
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = arena };
    uint32_t *rows = arena_alloc_array(arena, s->bounds.rows + 1u, sizeof *rows);
    if (rows == NULL)
        return arena_failure(arena);
    for (uint32_t i = 0; i < s->bounds.rows; i++)
        rows[i] = i;
    return s->ops->read(s, &q, rows, s->bounds.rows, ROW_ALL, out);
}
