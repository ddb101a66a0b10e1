/* SPDX-License-Identifier: Apache-2.0 */
/* Which of our forms an Accept header asks for. Source: facts: RED and service graph, section 13;
 * RFC 9110, section 12.5.1. */
#include "collector/exposition.h"

#include "net/accept.h"
#include "net/request_head.h"

#define RANGES_MAX 64 /* of a header; a scraper sends about five */

struct range {
    struct bytes type, version, escaping, proto, encoding;
    unsigned q; /* thousandths */
};

static struct range range_of(const struct accept_item *item)
{
    struct range r = { .type = item->name, .q = item->q };
    (void)accept_parameter(item->parameters, "version", &r.version);
    (void)accept_parameter(item->parameters, "escaping", &r.escaping);
    (void)accept_parameter(item->parameters, "proto", &r.proto);
    (void)accept_parameter(item->parameters, "encoding", &r.encoding);
    return r;
}

/* Our names are plain, so of the escaping schemes these two leave them as they are. */
static bool is_plain_escaping(struct bytes e)
{
    return e.len == 0 || bytes_equal_nocase(e, "allow-utf-8") ||
           bytes_equal_nocase(e, "underscores");
}

#define OPENMETRICS "application/openmetrics-text; version=1.0.0; charset=utf-8"
#define PROTOBUF                                                                                   \
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
#define TEXT "text/plain; version=0.0.4; charset=utf-8"

/* The answer to a range that we understand; NULL for one that we do not. The scheme of escaping is
 * said back to those who named one. */
static const char *match(const struct range *r, enum exposition_format *out)
{
    bool is_utf8 = bytes_equal_nocase(r->escaping, "allow-utf-8");
    if (!is_plain_escaping(r->escaping))
        return NULL;
    if (bytes_equal_nocase(r->type, "application/openmetrics-text")) {
        if (r->version.len != 0 && !bytes_equal_text(r->version, "1.0.0"))
            return NULL;
        *out = EXPOSITION_OPENMETRICS;
        if (r->escaping.len == 0)
            return OPENMETRICS;
        return is_utf8 ? OPENMETRICS "; escaping=allow-utf-8"
                       : OPENMETRICS "; escaping=underscores";
    }
    if (bytes_equal_nocase(r->type, "application/vnd.google.protobuf")) {
        if (!bytes_equal_nocase(r->proto, "io.prometheus.client.metricfamily") ||
            !bytes_equal_nocase(r->encoding, "delimited"))
            return NULL;
        *out = EXPOSITION_PROTOBUF;
        if (r->escaping.len == 0)
            return PROTOBUF;
        return is_utf8 ? PROTOBUF "; escaping=allow-utf-8" : PROTOBUF "; escaping=underscores";
    }
    if (bytes_equal_nocase(r->type, "text/plain") || bytes_equal_nocase(r->type, "text/*") ||
        bytes_equal_nocase(r->type, "*/*")) {
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
    struct accept_item item;
    for (unsigned i = 0; i < RANGES_MAX && accept_next(&accept, &item); i++) {
        struct range r = range_of(&item);
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
