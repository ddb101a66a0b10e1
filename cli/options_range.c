/* SPDX-License-Identifier: Apache-2.0 */
/* Options that are numbers, and the least and the greatest of each. */
#include "cli/options_private.h"

#include "base/text.h"

#include <assert.h>
#include <stdio.h>

bool options_is_number(enum option_type type)
{
    return type == OPTION_COUNT || type == OPTION_SIZE || type == OPTION_DURATION;
}

bool options_number(enum option_type type, const char *text, uint64_t *out)
{
    int64_t ns;
    if (type == OPTION_COUNT)
        return text_u64_parse(bytes_text(text), out);
    if (type == OPTION_SIZE)
        return text_size_parse(bytes_text(text), out);
    if (!text_duration_parse(bytes_text(text), &ns) || ns < 0)
        return false;
    *out = (uint64_t)ns;
    return true;
}

/* "0|1m..1h" in its parts; the greatest is empty when there is none. */
struct range {
    bool has_zero;
    char least[OPTION_BOUND_MAX], greatest[OPTION_BOUND_MAX];
};

static void split(const char *range, struct range *out)
{
    out->has_zero = range[0] == '0' && range[1] == '|';
    const char *least = range + (out->has_zero ? 2 : 0), *dots = strstr(least, "..");
    assert(dots != NULL);
    int len = snprintf(out->least, sizeof out->least, "%.*s", (int)(dots - least), least);
    assert(len > 0 && (size_t)len < sizeof out->least);
    len = snprintf(out->greatest, sizeof out->greatest, "%s", dots + 2);
    assert(len >= 0 && (size_t)len < sizeof out->greatest);
}

bool options_in_range(const struct option *option, uint64_t value)
{
    if (option->range == NULL)
        return true;
    struct range r;
    uint64_t least, greatest = UINT64_MAX;
    split(option->range, &r);
    bool is_good = options_number(option->type, r.least, &least) &&
                   (r.greatest[0] == '\0' || options_number(option->type, r.greatest, &greatest));
    assert(is_good);
    return (r.has_zero && value == 0) || (is_good && value >= least && value <= greatest);
}

void options_range_words(const struct option *option, char out[OPTION_RANGE_MAX])
{
    struct range r;
    split(option->range, &r);
    const char *zero = r.has_zero ? "0 or " : "";
    if (r.greatest[0] == '\0')
        snprintf(out, OPTION_RANGE_MAX, "%sat least %s", zero, r.least);
    else
        snprintf(out, OPTION_RANGE_MAX, "%sfrom %s to %s", zero, r.least, r.greatest);
}
