/* SPDX-License-Identifier: Apache-2.0 */
/* request_head.h - header fields counted, the ones in use kept, and the head checked as a whole.
 *
 * Role       both protocols add their fields here. Fields are counted before anything is kept: a
 * few bytes of HPACK can name a long field again and again. Only the names in use are copied, into
 * the exchange's head arena. Threads    pure. */
#ifndef SPINDLE_NET_REQUEST_HEAD_H
#define SPINDLE_NET_REQUEST_HEAD_H

#include "net/core.h"
#include "net/exchange_private.h"

/* More of the names in use than this are not sent by anyone. */
#define HEAD_KEPT_MAX 32

struct request_head {
    size_t bytes; /* name + value + 32 for each, as RFC 9113 6.5.2 counts */
    unsigned fields;
    size_t kept;
    struct http_header *headers; /* [HEAD_KEPT_MAX], in the head arena */
    struct bytes method, target, authority, authorization;
    struct bytes content_type, content_encoding;
    struct bytes grpc_timeout, grpc_encoding;
    uint64_t content_length;
    bool has_content_length;
    bool has_host;
    bool has_transfer_encoding;
    bool is_chunked;
    bool expects_continue;
    bool expects_unknown;
    bool is_over;     /* too many bytes or fields: 431 */
    bool is_far_over; /* so many that the connection ends */
    bool is_no_memory;
    const char *fault; /* what is malformed: 400; NULL when nothing is */
};

/* One field; of HTTP/2 the pseudo-header fields too. names in lower case or not. */
void request_head_add(struct request_head *h, struct exchange *x, const struct core *core,
                      struct bytes name, struct bytes value);
/* method, target and headers into x->request. False: h->fault says why. */
bool request_head_finish(struct request_head *h, struct exchange *x);

/* "/a%20b/c" to decoded text. False unless it begins with '/', has no '.' or '..' part, no control
 * byte and no bad escape. Empty parts are well formed; no route has any. out has room for target.len bytes. */
NODISCARD bool request_path_normal(struct bytes path, uint8_t *out, size_t *out_len);
/* Host of "name", "name:port", "[::1]:port"; false when it is none of these. */
NODISCARD bool host_split(struct bytes authority, struct bytes *out_host);
/* Whether this server answers to that name. */
bool host_is_ours(const struct core *core, const struct listener *listener, struct bytes host);
/* "100m" and so on (gRPC over HTTP/2, "Timeout"). False when malformed. Saturates. */
NODISCARD bool grpc_timeout_parse(struct bytes text, uint64_t *out_ns);
/* The type/subtype of a content type, without parameters and blanks around it. */
struct bytes media_type(struct bytes content_type);
/* Whether a comma-separated list of media types holds this one. NULL holds all. */
bool media_type_in(const char *list, struct bytes type);
bool is_grpc_content_type(struct bytes content_type);
bool bytes_equal_nocase(struct bytes a, const char *lower);

#endif
