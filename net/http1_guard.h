/* SPDX-License-Identifier: Apache-2.0 */
/* http1_guard.h - a strict reader of HTTP/1.1's lines, in front of the parser.
 *
 * Role       finds where a head and a chunked body end, and refuses every spelling that two parsers
 * might read in two ways. What passes here is then parsed by llhttp, which must agree. Threads
 * pure. One byte at a time, so a cut anywhere gives the same answer. Source     RFC 9112 2.2, 3,
 * 5, 7.1; RELIABILITY 6.6. */
#ifndef SPINDLE_NET_HTTP1_GUARD_H
#define SPINDLE_NET_HTTP1_GUARD_H

#include "base/bytes.h"

enum guard_verdict { GUARD_MORE, GUARD_DONE, GUARD_BAD };

struct http1_guard {
    uint8_t state;
    uint8_t part; /* of the request line: method, target, version */
    uint64_t chunk_left;
    unsigned digits;
    size_t extra_bytes; /* chunk extensions and trailers so far */
    uint8_t name[20];   /* of a trailer, in lower case: as far as forbidden names go */
    size_t name_len;
    const char *fault;
};

void http1_guard_head(struct http1_guard *g);    /* a head follows */
void http1_guard_chunked(struct http1_guard *g); /* a chunked body follows */
/* Looks at data; *out_taken bytes of it belong to the head or body, also when the verdict is DONE.
 */
enum guard_verdict http1_guard_feed(struct http1_guard *g, const uint8_t *data, size_t len,
                                    size_t *out_taken);

#endif
