/* SPDX-License-Identifier: Apache-2.0 */
/* http1_parser.h - llhttp behind our own names (its own collide with enum http_method).
 *
 * Role       parses one message at a time, given in pieces that never reach into the next message.
 * All lenient flags are off. Threads    one at a time. */
#ifndef SPINDLE_NET_HTTP1_PARSER_H
#define SPINDLE_NET_HTTP1_PARSER_H

#include "base/bytes.h"

struct http1_parser;

/* Callbacks return false to refuse the message. */
struct http1_parser_events {
    bool (*on_target)(void *context, struct bytes part);
    bool (*on_field)(void *context, struct bytes name, struct bytes value);
    bool (*on_body)(void *context, struct bytes part);
};

/* NULL when out of memory. */
struct http1_parser *http1_parser_open(const struct http1_parser_events *events, void *context);
void http1_parser_close(struct http1_parser *p);
/* A new message follows. */
void http1_parser_begin(struct http1_parser *p);
/* The head must come in one piece: names and values are then runs of it. False: malformed or
 * refused. */
bool http1_parser_feed(struct http1_parser *p, struct bytes part);
/* After the head. */
bool http1_parser_is_http10(const struct http1_parser *p);
bool http1_parser_keeps_alive(const struct http1_parser *p);

#endif
