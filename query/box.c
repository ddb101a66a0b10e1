/* SPDX-License-Identifier: Apache-2.0 */
#include "query/box.h"

#include "base/text.h"

bool box_is_empty(const struct box *b)
{
    return b->start_max_unix_ns <= b->start_min_unix_ns || b->duration_max_ns <= b->duration_min_ns;
}

bool box_parse(struct bytes text, struct box *out)
{
    struct box b = BOX_ALL;
    uint64_t *const bounds[] = { &b.start_min_unix_ns, &b.start_max_unix_ns, &b.duration_min_ns,
                                 &b.duration_max_ns };
    for (size_t i = 0; i < 4; i++) {
        size_t comma = bytes_find(text, ',');
        if ((comma == SIZE_MAX) != (i == 3))
            return false;
        struct bytes number = bytes_slice(text, 0, comma);
        if (number.len > 0 && !text_u64_parse(number, bounds[i]))
            return false;
        text = bytes_slice(text, i == 3 ? text.len : comma + 1, SIZE_MAX);
    }
    if (box_is_empty(&b))
        return false;
    *out = b;
    return true;
}

/* Filters hold signed numbers; nothing lasts longer. */
static int64_t as_duration(uint64_t ns)
{
    return ns > INT64_MAX ? INT64_MAX : (int64_t)ns;
}

enum err box_parameter(struct call *c, struct time_range *range, struct filter *f)
{
    struct bytes text;
    struct box b;
    if (!parameter_text(c, "box", &text))
        return ERR_OK;
    if (!box_parse(text, &b))
        return call_fail(c, ERR_INVALID, "box",
                         "expected t0,t1,d0,d1 in nanoseconds, each later or longer than the one "
                         "before it, or empty");
    if (b.start_min_unix_ns > range->min_unix_ns)
        range->min_unix_ns = b.start_min_unix_ns;
    if (b.start_max_unix_ns < range->max_unix_ns)
        range->max_unix_ns = b.start_max_unix_ns;
    if (range->max_unix_ns < range->min_unix_ns)
        range->max_unix_ns = range->min_unix_ns; /* nothing is in both */
    if (b.duration_min_ns > 0)
        filter_add(f, term_intrinsic(f->arena, EXPR_INTRINSIC_SPAN_DURATION, EXPR_GE, EXPR_DURATION,
                                     as_duration(b.duration_min_ns)));
    if (b.duration_max_ns < INT64_MAX)
        filter_add(f, term_intrinsic(f->arena, EXPR_INTRINSIC_SPAN_DURATION, EXPR_LT, EXPR_DURATION,
                                     as_duration(b.duration_max_ns)));
    return ERR_OK;
}
