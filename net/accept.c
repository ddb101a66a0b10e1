/* SPDX-License-Identifier: Apache-2.0 */
#include "net/accept.h"

#include "net/request_head.h"

#include <string.h>

#define ITEMS_MAX 64 /* of a list; a browser or a scraper sends about five */

static struct bytes trim(struct bytes text)
{
    while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = bytes_slice(text, 1, SIZE_MAX);
    while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t'))
        text.len--;
    return text;
}

/* What stands before the next `separator` outside of quotes; the text goes on behind it. */
static struct bytes take_until(struct bytes *text, uint8_t separator)
{
    size_t i = 0;
    bool is_quoted = false;
    while (i < text->len && (is_quoted || text->data[i] != separator)) {
        if (text->data[i] == '"')
            is_quoted = !is_quoted;
        i++;
    }
    struct bytes part = bytes_slice(*text, 0, i);
    *text = bytes_slice(*text, i + 1, SIZE_MAX);
    return trim(part);
}

static struct bytes unquote(struct bytes v)
{
    if (v.len >= 2 && v.data[0] == '"' && v.data[v.len - 1] == '"')
        return bytes_slice(v, 1, v.len - 2);
    return v;
}

/* "0", "0.25", "1.000" in thousandths; anything else counts as 0: not acceptable. */
static unsigned parse_q(struct bytes text)
{
    if (text.len == 0 || text.len > 5 || (text.data[0] != '0' && text.data[0] != '1') ||
        (text.len > 1 && text.data[1] != '.'))
        return 0;
    unsigned q = text.data[0] == '1' ? 1000 : 0, weight = 100;
    for (size_t i = 2; i < text.len; i++, weight /= 10) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return 0;
        q += weight * (unsigned)(text.data[i] - '0');
    }
    return q <= 1000 ? q : 0;
}

bool accept_next(struct bytes *rest, struct accept_item *out)
{
    if (rest->len == 0)
        return false;
    struct bytes item = take_until(rest, ','), q;
    out->name = take_until(&item, ';');
    out->parameters = item;
    out->q = accept_parameter(item, "q", &q) ? parse_q(q) : 1000;
    return true;
}

bool accept_parameter(struct bytes parameters, const char *name, struct bytes *out)
{
    while (parameters.len > 0) {
        struct bytes value = take_until(&parameters, ';');
        if (bytes_equal_nocase(take_until(&value, '='), name)) {
            *out = unquote(trim(value));
            return true;
        }
    }
    return false;
}

bool accept_names(struct bytes list, const char *name)
{
    struct accept_item item;
    for (unsigned i = 0; i < ITEMS_MAX && accept_next(&list, &item); i++)
        if (bytes_equal_nocase(item.name, name))
            return item.q > 0;
    return false;
}

/* How exactly a media range means a type: 3 by name, 2 its family, 1 everything, 0 not at all. */
static unsigned exactness(struct bytes range, const char *type)
{
    size_t family = (size_t)(strchr(type, '/') - type) + 1;
    if (bytes_equal_nocase(range, type))
        return 3;
    if (bytes_equal_text(range, "*/*"))
        return 1;
    bool is_family = range.len == family + 1 && range.data[family] == '*' &&
                     strncasecmp((const char *)range.data, type, family) == 0;
    return is_family ? 2 : 0;
}

size_t accept_choose(struct bytes list, const char *const *types, size_t count)
{
    size_t best = 0;
    unsigned best_q = 0, best_exact = 0;
    for (size_t k = 0; k < count; k++) {
        struct bytes rest = list;
        struct accept_item item;
        unsigned q = 0, exact = 0;
        for (unsigned i = 0; i < ITEMS_MAX && accept_next(&rest, &item); i++) {
            unsigned e = exactness(item.name, types[k]);
            if (e > exact) {
                exact = e;
                q = item.q;
            }
        }
        if (q > best_q || (q == best_q && q > 0 && exact > best_exact)) {
            best = k;
            best_q = q;
            best_exact = exact;
        }
    }
    return best;
}
