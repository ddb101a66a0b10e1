/* SPDX-License-Identifier: Apache-2.0 */
/* request_head.c - see request_head.h. */
#include "net/request_head.h"
#include "base/clock.h"
#include "base/text.h"

#include <arpa/inet.h>
#include <stdio.h>

/* How far over the byte limit a head may go before its connection ends: one header list's worth is
 * an honest mistake, four are not. */
#define FAR_OVER 4

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

bool bytes_equal_nocase(struct bytes a, const char *lower_text)
{
    for (size_t i = 0; i < a.len; i++)
        if (lower_text[i] == 0 || lower(a.data[i]) != (uint8_t)lower_text[i])
            return false;
    return lower_text[a.len] == 0;
}

static struct bytes trim(struct bytes b)
{
    while (b.len > 0 && (b.data[0] == ' ' || b.data[0] == '\t')) {
        b.data++;
        b.len--;
    }
    while (b.len > 0 && (b.data[b.len - 1] == ' ' || b.data[b.len - 1] == '\t'))
        b.len--;
    return b;
}

/* Kept and shown to handlers. */
static const char *const shown_names[] = {
    "content-type",
    "content-encoding",
    "accept",
    "accept-encoding",
    "user-agent",
    "origin",
    "referer",
    "if-none-match",
    "grpc-accept-encoding",
    "sec-fetch-site",
    "sec-fetch-mode",
    "sec-fetch-dest",
    "last-event-id",
    "x-requested-with",
    "access-control-request-method",
    "access-control-request-headers",
    "host",
};

static const char *shown_name(struct bytes name)
{
    for (size_t i = 0; i < sizeof shown_names / sizeof *shown_names; i++)
        if (bytes_equal_nocase(name, shown_names[i]))
            return shown_names[i];
    return NULL;
}

static bool dup_into(struct request_head *h, struct exchange *x, struct bytes value,
                     struct bytes *out)
{
    if (arena_dup(&x->head, value, out) == ERR_OK)
        return true;
    h->is_no_memory = true;
    return false;
}

static void keep_once(struct request_head *h, struct exchange *x, struct bytes value,
                      struct bytes *out, const char *fault)
{
    if (out->data != NULL) {
        h->fault = fault;
        return;
    }
    if (value.len == 0)
        *out = BYTES_LITERAL("");
    else
        (void)dup_into(h, x, value, out);
}

static void add_content_length(struct request_head *h, struct bytes value)
{
    /* Digits only, once: "5, 5", "+5" and a second header are how requests are smuggled. */
    if (h->has_content_length || value.len > 19 || !text_u64_parse(value, &h->content_length))
        h->fault = "Content-Length is not one plain number";
    h->has_content_length = true;
}

static void add_transfer_encoding(struct request_head *h, struct bytes value)
{
    if (h->has_transfer_encoding || !bytes_equal_nocase(value, "chunked"))
        h->fault = "Transfer-Encoding is not exactly chunked";
    h->has_transfer_encoding = true;
    h->is_chunked = true;
}

static void add_host(struct request_head *h, struct exchange *x, struct bytes value)
{
    if (h->has_host) {
        h->fault = "more than one Host";
        return;
    }
    h->has_host = true;
    struct bytes host;
    if (!host_split(value, &host)) {
        h->fault = "Host is malformed";
        return;
    }
    /* Of HTTP/2 there may be :authority as well; then both say the same. */
    if (h->authority.data != NULL) {
        if (!bytes_equal(h->authority, value))
            h->fault = "Host differs from the request's authority";
        return;
    }
    (void)dup_into(h, x, value, &h->authority);
}

static void add_authority(struct request_head *h, struct exchange *x, struct bytes value)
{
    struct bytes host;
    if (!host_split(value, &host))
        h->fault = "the authority is malformed";
    else
        keep_once(h, x, value, &h->authority, "more than one authority");
}

static void show(struct request_head *h, struct exchange *x, const char *name, struct bytes value)
{
    if (h->headers == NULL)
        h->headers = arena_alloc_array(&x->head, HEAD_KEPT_MAX, sizeof *h->headers);
    if (h->headers == NULL) {
        h->is_no_memory = true;
        return;
    }
    if (h->kept == HEAD_KEPT_MAX) {
        h->is_over = true;
        return;
    }
    struct bytes copy = { 0 };
    if (value.len > 0 && !dup_into(h, x, value, &copy))
        return;
    h->headers[h->kept++] = (struct http_header){ .name = bytes_text(name), .value = copy };
}

static bool add_pseudo(struct request_head *h, struct exchange *x, struct bytes name,
                       struct bytes value)
{
    if (name.len == 0 || name.data[0] != ':')
        return false;
    if (bytes_equal_text(name, ":method"))
        keep_once(h, x, value, &h->method, "more than one method");
    else if (bytes_equal_text(name, ":path"))
        keep_once(h, x, value, &h->target, "more than one path");
    else if (bytes_equal_text(name, ":authority"))
        add_authority(h, x, value);
    return true; /* nghttp2 has refused the unknown ones */
}

static bool count(struct request_head *h, const struct core *core, enum protocol protocol,
                  struct bytes name, struct bytes value)
{
    const struct server_limits *limits = &core->limits;
    size_t max =
        protocol == PROTOCOL_HTTP1 ? limits->header_bytes_http1 : limits->header_bytes_http2;
    h->bytes += name.len + value.len + (protocol == PROTOCOL_HTTP1 ? 4 : 32);
    h->fields++;
    if (h->bytes > max || h->fields > limits->header_fields_soft)
        h->is_over = true;
    if (h->bytes > max * FAR_OVER || h->fields > limits->header_fields_hard)
        h->is_far_over = true;
    return !h->is_over;
}

void request_head_add(struct request_head *h, struct exchange *x, const struct core *core,
                      struct bytes name, struct bytes value)
{
    if (!count(h, core, x->request.protocol, name, value) || h->fault != NULL)
        return;
    if (add_pseudo(h, x, name, value))
        return;
    value = trim(value);
    if (bytes_equal_nocase(name, "content-length"))
        add_content_length(h, value);
    else if (bytes_equal_nocase(name, "transfer-encoding"))
        add_transfer_encoding(h, value);
    else if (bytes_equal_nocase(name, "host"))
        add_host(h, x, value);
    else if (bytes_equal_nocase(name, "authorization"))
        keep_once(h, x, value, &h->authorization, "more than one Authorization");
    else if (bytes_equal_nocase(name, "content-type"))
        keep_once(h, x, value, &h->content_type, "more than one Content-Type");
    else if (bytes_equal_nocase(name, "content-encoding"))
        keep_once(h, x, value, &h->content_encoding, "more than one Content-Encoding");
    else if (bytes_equal_nocase(name, "grpc-timeout"))
        keep_once(h, x, value, &h->grpc_timeout, "more than one grpc-timeout");
    else if (bytes_equal_nocase(name, "grpc-encoding"))
        keep_once(h, x, value, &h->grpc_encoding, "more than one grpc-encoding");
    else if (bytes_equal_nocase(name, "expect") && bytes_equal_nocase(value, "100-continue"))
        h->expects_continue = true;
    else if (bytes_equal_nocase(name, "expect"))
        h->expects_unknown = true;
    const char *shown = shown_name(name);
    if (shown != NULL && h->fault == NULL)
        show(h, x, shown, value);
}

static enum http_method method_of(struct bytes m)
{
    static const struct {
        const char *name;
        enum http_method method;
    } methods[] = { { "GET", HTTP_GET }, { "HEAD", HTTP_HEAD },     { "POST", HTTP_POST },
                    { "PUT", HTTP_PUT }, { "DELETE", HTTP_DELETE }, { "OPTIONS", HTTP_OPTIONS } };
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (bytes_equal_text(m, methods[i].name))
            return methods[i].method;
    return HTTP_OTHER;
}

/* "http://host/path": the authority must be what Host says (RFC 9112 3.2.2). */
static bool strip_absolute(struct request_head *h)
{
    struct bytes scheme = BYTES_LITERAL("http://");
    struct bytes secure = BYTES_LITERAL("https://");
    size_t skip;
    if (bytes_start_with(h->target, scheme))
        skip = scheme.len;
    else if (bytes_start_with(h->target, secure))
        skip = secure.len;
    else
        return true;
    struct bytes rest = bytes_slice(h->target, skip, SIZE_MAX);
    size_t slash = bytes_find(rest, '/');
    if (slash == SIZE_MAX || !bytes_equal(bytes_slice(rest, 0, slash), h->authority))
        return false;
    h->target = bytes_slice(rest, slash, SIZE_MAX);
    return true;
}

bool request_path_normal(struct bytes path, uint8_t *out, size_t *out_len)
{
    if (path.len == 0 || path.data[0] != '/')
        return false;
    size_t at = 1, len = 0;
    out[len++] = '/';
    while (at < path.len) {
        struct bytes part = bytes_slice(path, at, SIZE_MAX);
        size_t end = bytes_find(part, '/');
        bool is_last = end == SIZE_MAX;
        part = bytes_slice(part, 0, end);
        size_t decoded = 0;
        if (!text_percent_decode(part, false, out + len, &decoded))
            return false;
        for (size_t i = 0; i < decoded; i++)
            if (out[len + i] < 0x20 || out[len + i] == 0x7f)
                return false;
        struct bytes text = bytes_of(out + len, decoded);
        if (bytes_equal_text(text, ".") || bytes_equal_text(text, ".."))
            return false;
        len += decoded;
        at += part.len;
        if (!is_last) {
            at++;
            out[len++] = '/';
        }
    }
    *out_len = len;
    return true;
}

static bool is_uri_byte(uint8_t c)
{
    return c > 0x20 && c < 0x7f && c != '"' && c != '<' && c != '>' && c != '\\' && c != '^' &&
           c != '`';
}

bool request_head_finish(struct request_head *h, struct exchange *x)
{
    struct request *r = &x->request;
    if (h->fault != NULL)
        return false;
    r->headers = h->headers;
    r->header_count = h->kept;
    r->method = method_of(h->method);
    h->fault = "the request target is malformed";
    for (size_t i = 0; i < h->target.len; i++)
        if (!is_uri_byte(h->target.data[i]) || h->target.data[i] == '#')
            return false;
    if (!strip_absolute(h))
        return false;
    size_t mark = bytes_find(h->target, '?');
    struct bytes path = bytes_slice(h->target, 0, mark);
    if (mark != SIZE_MAX)
        r->query = bytes_slice(h->target, mark + 1, SIZE_MAX);
    uint8_t *decoded = arena_alloc_bytes(&x->head, path.len + 1);
    size_t decoded_len = 0;
    if (decoded == NULL) {
        h->is_no_memory = true;
        return false;
    }
    if (!request_path_normal(path, decoded, &decoded_len))
        return false;
    h->target = path;
    r->target = path;
    r->path = bytes_of(decoded, decoded_len);
    h->fault = NULL;
    return true;
}

static bool is_host_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
}

bool host_split(struct bytes a, struct bytes *out_host)
{
    size_t at = 0;
    if (a.len > 0 && a.data[0] == '[') {
        for (at = 1; at < a.len && a.data[at] != ']'; at++)
            if (!is_host_byte(a.data[at]) && a.data[at] != ':')
                return false;
        if (at == a.len || at == 1)
            return false;
        at++;
    } else {
        while (at < a.len && is_host_byte(a.data[at]))
            at++;
    }
    if (at == 0)
        return false;
    if (at < a.len) {
        uint64_t port;
        if (a.data[at] != ':' || !text_u64_parse(bytes_slice(a, at + 1, SIZE_MAX), &port) ||
            port > 65535)
            return false;
    }
    *out_host = bytes_slice(a, 0, at);
    return true;
}

static bool ip_of(struct bytes host, bool *out_is_loopback)
{
    char text[64];
    if (host.len >= 2 && host.data[0] == '[')
        host = bytes_slice(host, 1, host.len - 2);
    if (host.len == 0 || host.len >= sizeof text)
        return false;
    memcpy(text, host.data, host.len);
    text[host.len] = 0;
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, text, &v4) == 1) {
        *out_is_loopback = (ntohl(v4.s_addr) >> 24) == 127;
        return true;
    }
    if (inet_pton(AF_INET6, text, &v6) == 1) {
        *out_is_loopback = IN6_IS_ADDR_LOOPBACK(&v6);
        return true;
    }
    return false;
}

bool host_is_ours(const struct core *core, const struct listener *listener, struct bytes host)
{
    bool is_loopback;
    if (bytes_equal_nocase(host, "localhost"))
        return true;
    if (ip_of(host, &is_loopback)) {
        /* A rebound name is never an address, so any address will do where all of them are bound.
         */
        if (is_loopback || listener->is_wildcard || bytes_equal(host, listener->host))
            return true;
    }
    for (size_t i = 0; i < core->host_count; i++) {
        struct bytes ours = bytes_text(core->hosts[i]);
        bool same = ours.len == host.len;
        for (size_t j = 0; same && j < host.len; j++)
            same = lower(ours.data[j]) == lower(host.data[j]);
        if (same)
            return true;
    }
    return false;
}

bool grpc_timeout_parse(struct bytes text, uint64_t *out_ns)
{
    static const struct {
        uint8_t unit;
        uint64_t ns;
    } units[] = { { 'H', 3600 * NS_PER_S }, { 'M', 60 * NS_PER_S }, { 'S', NS_PER_S },
                  { 'm', NS_PER_MS },       { 'u', NS_PER_US },     { 'n', 1 } };
    uint64_t value;
    if (text.len < 2 || text.len > 9 || !text_u64_parse(bytes_slice(text, 0, text.len - 1), &value))
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (text.data[text.len - 1] == units[i].unit) {
            *out_ns = value > UINT64_MAX / units[i].ns ? UINT64_MAX : value * units[i].ns;
            return true;
        }
    return false;
}

struct bytes media_type(struct bytes content_type)
{
    return trim(bytes_slice(content_type, 0, bytes_find(content_type, ';')));
}

bool media_type_in(const char *list, struct bytes type)
{
    if (list == NULL)
        return true;
    struct bytes rest = bytes_text(list);
    while (rest.len > 0) {
        size_t comma = bytes_find(rest, ',');
        struct bytes one = trim(bytes_slice(rest, 0, comma));
        bool same = one.len == type.len && one.len > 0;
        for (size_t i = 0; same && i < one.len; i++)
            same = lower(one.data[i]) == lower(type.data[i]);
        if (same)
            return true;
        rest = comma == SIZE_MAX ? (struct bytes){ 0 } : bytes_slice(rest, comma + 1, SIZE_MAX);
    }
    return false;
}

bool is_grpc_content_type(struct bytes content_type)
{
    struct bytes prefix = BYTES_LITERAL("application/grpc");
    if (!bytes_start_with(content_type, prefix))
        return false;
    if (content_type.len == prefix.len)
        return true;
    uint8_t next = content_type.data[prefix.len];
    return next == '+' || next == ';' || next == ' ';
}
