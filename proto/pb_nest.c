/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/pb_nest.h"

#include "proto/otlp_wire.h"
#include "proto/pb_writer.h"

#include <assert.h>

void pb_nest_init(struct pb_nest *n, struct buffer *out)
{
    n->out = out;
    n->depth = 0;
}

void pb_nest_begin(struct pb_nest *n, uint32_t field)
{
    assert(n->depth < PB_NEST_MAX);
    pb_tag(n->out, field, WIRE_LENGTH);
    buffer_append_byte(n->out, 0);
    n->open[n->depth].begin = n->out->len;
    n->open[n->depth].width = 1;
    n->depth++;
}

static size_t width_needed(const struct pb_nest *n, size_t i)
{
    return wire_varint_size(n->out->len - n->open[i].begin);
}

/* Give every open message the width that its length has reached by now: an outer one can only
 * become longer. Contents move once, the innermost furthest. */
static void widen(struct pb_nest *n)
{
    struct buffer *out = n->out;
    size_t more = 0;
    for (size_t i = 0; i < n->depth; i++) {
        size_t needed = width_needed(n, i);
        more += needed > n->open[i].width ? needed - n->open[i].width : 0;
    }
    if (buffer_reserve(out, more) == NULL)
        return;
    size_t len = out->len, end = len;
    buffer_grew(out, more);
    for (size_t i = n->depth; i-- > 0 && more > 0;) {
        size_t begin = n->open[i].begin, width = n->open[i].width;
        size_t needed = wire_varint_size(len - begin);
        memmove(out->data + begin + more, out->data + begin, end - begin);
        n->open[i].begin += more;
        end = begin - width; /* what lies before the place of this length moves by the rest */
        if (needed > width) {
            more -= needed - width;
            n->open[i].width = needed;
        }
    }
    assert(more == 0);
}

void pb_nest_end(struct pb_nest *n)
{
    struct buffer *out = n->out;
    assert(n->depth > 0);
    size_t i = n->depth - 1;
    if (out->error == ERR_OK && width_needed(n, i) > n->open[i].width)
        widen(n);
    n->depth--;
    if (out->error != ERR_OK)
        return;
    size_t begin = n->open[i].begin, width = n->open[i].width, len = out->len - begin;
    size_t spare = width - wire_varint_size(len);
    if (spare > 0) {
        memmove(out->data + begin - spare, out->data + begin, len);
        out->len -= spare;
    }
    wire_varint_put(out->data + begin - width, len);
}
