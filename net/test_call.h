/* SPDX-License-Identifier: Apache-2.0 */
/* test_call.h - a blocking HTTP/2 client for tests that sends what an honest one would not.
 *
 * Threads    one at a time. */
#ifndef SPINDLE_NET_TEST_CALL_H
#define SPINDLE_NET_TEST_CALL_H

#include "base/bytes.h"

struct test_call {
    const char *method, *path, *content_type; /* NULL: POST; content_type NULL: application/grpc */
    const char *encoding, *timeout, *authorization; /* encoding: of a gRPC message */
    const char *content_encoding;                   /* of a body without gRPC */
    bool has_no_te;
    struct bytes body; /* raw: with gRPC's prefix, if it is to have one */
    size_t step;       /* bytes of a DATA frame; 0: as many as may be */
    bool never_ends;   /* no END_STREAM */
};

struct test_result {
    bool has_ended; /* the stream was closed; false: time ran out or the connection ended */
    bool has_goaway;
    unsigned status;
    int grpc_status; /* -1: none */
    uint32_t reset_code;
    char message[1200], details[1200], accept_encoding[64], allow[64];
    uint8_t body[64 * 1024];
    size_t body_len; /* all that came; only the first of it is in body */
};

struct test_connection;
struct test_connection *test_dial(unsigned port);
void test_hang_up(struct test_connection *c);
/* One call, until its end or for 8 s. */
void test_call(struct test_connection *c, const struct test_call *call, struct test_result *out);
/* The length-prefixed message; room needs len + 5. */
struct bytes test_message(uint8_t *room, uint8_t flag, struct bytes payload);

#endif
