/* SPDX-License-Identifier: Apache-2.0 */
/* Which of our forms an Accept header asks for. Source: facts: RED and service graph, section 13;
 * RFC 9110, section 12.5.1. */
#include "collector/exposition.h"

#define RANGES_MAX 64 /* of a header; a scraper sends about five */

struct range {
    struct bytes type, version, escaping, proto, encoding;
    unsigned q; /* thousandths */
};

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

static bool equal_ignoring_case(struct bytes a, const char *b)
{
    size_t len = strlen(b);
    if (a.len != len)
        return false;
    for (size_t i = 0; i < len; i++) {
        uint8_t x = a.data[i];
        if (x >= 'A' && x <= 'Z')
            x = (uint8_t)(x | 0x20);
        if (x != (uint8_t)b[i])
            return false;
    }
    return true;
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

static struct range parse_range(struct bytes text)
{
    struct range r = { .type = take_until(&text, ';'), .q = 1000 };
    while (text.len > 0) {
        struct bytes value = take_until(&text, ';');
        struct bytes name = take_until(&value, '=');
        value = unquote(trim(value));
        if (equal_ignoring_case(name, "q"))
            r.q = parse_q(value);
        else if (equal_ignoring_case(name, "version"))
            r.version = value;
        else if (equal_ignoring_case(name, "escaping"))
            r.escaping = value;
        else if (equal_ignoring_case(name, "proto"))
            r.proto = value;
        else if (equal_ignoring_case(name, "encoding"))
            r.encoding = value;
    }
    return r;
}

/* Our names are plain, so of the escaping schemes these two leave them as they are. */
static bool is_plain_escaping(struct bytes e)
{
    return e.len == 0 || equal_ignoring_case(e, "allow-utf-8") ||
           equal_ignoring_case(e, "underscores");
}

#define OPENMETRICS "application/openmetrics-text; version=1.0.0; charset=utf-8"
#define PROTOBUF                                                                                   \
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
#define TEXT "text/plain; version=0.0.4; charset=utf-8"

/* The answer to a range that we understand; NULL for one that we do not. The scheme of escaping is
 * said back to those who named one. */
static const char *match(const struct range *r, enum exposition_format *out)
{
    bool is_utf8 = equal_ignoring_case(r->escaping, "allow-utf-8");
    if (!is_plain_escaping(r->escaping))
        return NULL;
    if (equal_ignoring_case(r->type, "application/openmetrics-text")) {
        if (r->version.len != 0 && !bytes_equal_text(r->version, "1.0.0"))
            return NULL;
        *out = EXPOSITION_OPENMETRICS;
        if (r->escaping.len == 0)
            return OPENMETRICS;
        return is_utf8 ? OPENMETRICS "; escaping=allow-utf-8"
                       : OPENMETRICS "; escaping=underscores";
    }
    if (equal_ignoring_case(r->type, "application/vnd.google.protobuf")) {
        if (!equal_ignoring_case(r->proto, "io.prometheus.client.metricfamily") ||
            !equal_ignoring_case(r->encoding, "delimited"))
            return NULL;
        *out = EXPOSITION_PROTOBUF;
        if (r->escaping.len == 0)
            return PROTOBUF;
        return is_utf8 ? PROTOBUF "; escaping=allow-utf-8" : PROTOBUF "; escaping=underscores";
    }
    if (equal_ignoring_case(r->type, "text/plain") || equal_ignoring_case(r->type, "text/*") ||
        equal_ignoring_case(r->type, "*/*")) {
        if (r->version.len != 0 && !bytes_equal_text(r->version, "0.0.4"))
            return NULL;
        *out = EXPOSITION_TEXT;
        return TEXT;
    }
    return NULL;
}

enum exposition_format exposition_negotiate(struct bytes accept, const char **out_content_type)
{
    enum exposition_format best = EXPOSITION_TEXT;
    const char *best_type = TEXT;
    unsigned best_q = 0;
    for (unsigned i = 0; accept.len > 0 && i < RANGES_MAX; i++) {
        struct range r = parse_range(take_until(&accept, ','));
        enum exposition_format format;
        const char *type = match(&r, &format);
        if (type != NULL && r.q > best_q) {
            best = format;
            best_type = type;
            best_q = r.q;
        }
    }
    *out_content_type = best_type;
    return best;
}
