/* SPDX-License-Identifier: Apache-2.0 */
/* exchange.h - one request and its one answer, whatever protocol carried them.
 *
 * Role       HTTP/1.1, HTTP/2 and unary gRPC all end here: a handler gets a complete, decompressed
 *            request and answers once, now or later, from any thread.
 * Threads    handlers run on the event loop, or for a large body on the loop's worker, and must not block
 *            or touch the disk: they hand work to another thread and return. exchange_*() may be called from any thread unless it says
 * "loop". Ownership  an exchange lives until its answer has been given (exchange_respond...(),
 * once) and the handler has returned; the net side survives the client's leaving by itself. */
#ifndef SPINDLE_NET_EXCHANGE_H
#define SPINDLE_NET_EXCHANGE_H

#include "base/arena.h"
#include "base/buffer.h"
#include "codec/codec.h"

#include <stdatomic.h>

struct exchange;

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_OTHER
};
enum protocol { PROTOCOL_HTTP1, PROTOCOL_HTTP2, PROTOCOL_GRPC };

/* What an Authorization header is good for. */
enum scope { SCOPE_OPEN = 0, SCOPE_WRITE = 1, SCOPE_READ = 2 }; /* bits; OPEN needs none */

struct http_header {
    struct bytes name; /* lower case */
    struct bytes value;
};

struct request {
    enum protocol protocol;
    enum http_method method; /* HEAD is answered from GET's handler without its body */
    struct bytes path;   /* percent-decoded, normal: begins with '/', no empty, '.' or '..' part */
    struct bytes target; /* the path as it was sent, still encoded */
    struct bytes query;  /* raw, after '?' */
    const struct http_header
        *headers; /* the ones in use: content-type, accept, user-agent, origin, ... */
    size_t header_count;
    struct bytes parameters[4]; /* what {name} parts of the route's path matched, decoded */
    struct bytes body;          /* decompressed; of gRPC: the one message */
    struct bytes received;      /* the body as it came, before decompression */
    enum codec received_codec;
    uint64_t deadline_mono_ns; /* grpc-timeout, else UINT64_MAX */
    uint64_t principal;        /* whose credentials: 0 nobody's; for hashes and quotas */
    struct bytes peer;         /* "127.0.0.1:51234" */
    uint64_t id;               /* unique in this process; printed in errors */
};

/* "Not Found" for 404; "Answer" for a status that nobody gives. */
const char *http_status_text(unsigned status);

/* Value of a header in use, or an empty run. name in lower case. */
struct bytes request_header(const struct request *r, const char *name);
/* First value of a query parameter, decoded into the exchange's arena. False when absent; a bad
 * escape counts as absent there but makes request_query_is_valid() false. */
bool request_parameter(struct exchange *x, const char *name, struct bytes *out);
/* All (name, value) pairs in order, decoded. ERR_INVALID on a bad escape, ERR_TOO_MANY over 256. */
struct http_parameter {
    struct bytes name, value;
};
NODISCARD enum err request_parameters(struct exchange *x, const struct http_parameter **out,
                                      size_t *out_count);

/* Valid until the answer is given. */
const struct request *exchange_request(struct exchange *x);
/* Holds the request; freed after the answer unless taken. */
struct arena *exchange_arena(struct exchange *x);
/* Move the arena with body and received bytes to *out: the caller frees it. The request's headers,
 * path and parameters stay valid with the exchange. Loop, in the handler. */
void exchange_take_arena(struct exchange *x, struct arena *out);
/* Becomes true when the client has left or the stream was reset; what is asked may still be
 * finished. */
const _Atomic bool *exchange_cancelled(struct exchange *x);

struct response {
    unsigned status;                   /* HTTP status */
    const char *content_type;          /* static text; NULL without body */
    const struct http_header *headers; /* extra ones; copied */
    size_t header_count;
    bool may_compress; /* gzip when the client accepts it and it is worth it */
    /* What the caller has reserved for the body, given back when nobody can read it any more: a
     * client may take long. NULL: nothing. */
    struct budget *charged;
    size_t charged_bytes;
};

/* Answer with a whole body, which the call takes (mem_free()d; may be empty and NULL). HTTP only.
 */
void exchange_respond(struct exchange *x, const struct response *head, struct buffer *take_body);

/* Answer a gRPC call. message: borrowed text for grpc-message, any bytes; details: a serialized
 * google.rpc.Status for grpc-status-details-bin, or empty; take_body: the response message when
 * status is 0 (may be empty), else NULL. */
void exchange_respond_grpc(struct exchange *x, unsigned grpc_status, struct bytes message,
                           struct bytes details, struct buffer *take_body);

/* An answer in pieces (server streams, event streams, very large answers): begin, any number of
 * writes, end. For gRPC each write is one message.
 * exchange_write() takes the piece even when it fails, and then drops it: ERR_BUSY when more than
 * 1 MiB waits to be sent, ERR_CANCELLED when the client has left (end it all the same), ERR_NOMEM.
 * After each ERR_BUSY on_writable, if given, is called once on the loop, when there is room or the client has
 * left. From that ERR_BUSY on the answer is that call's: who was told so writes no more and does not end
 * it. At other times it is not called; a writer who waits for something else looks at
 * exchange_cancelled(). */
void exchange_begin(struct exchange *x, const struct response *head,
                    void (*on_writable)(struct exchange *x, void *context), void *context);
NODISCARD enum err exchange_write(struct exchange *x, struct buffer *take_piece);
void exchange_end(struct exchange *x, unsigned grpc_status, struct bytes message);

/* Run fn(context) on this exchange's loop after delay_ms (0: soon). Any thread. For holding a
 * request. */
NODISCARD enum err exchange_later(struct exchange *x, uint64_t delay_ms, void (*fn)(void *context),
                                  void *context);

#endif
