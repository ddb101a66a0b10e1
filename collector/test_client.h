/* SPDX-License-Identifier: Apache-2.0 */
/* test_client.h - for tests: one HTTP/1.1 request over a blocking socket, and one gRPC call.
 *
 * Ownership  bodies and messages are in the answer itself; nothing to free. */
#ifndef SPINDLE_COLLECTOR_TEST_CLIENT_H
#define SPINDLE_COLLECTOR_TEST_CLIENT_H

#include "base/bytes.h"

struct test_answer {
    unsigned status;    /* HTTP; 0: the connection ended without an answer */
    int grpc_status;    /* of a gRPC call */
    char message[4096]; /* grpc-message */
    char headers[4096]; /* of HTTP, lower case, each line with \n */
    uint8_t body[64 * 1024];
    size_t body_len;
    uint64_t retry_after_ns; /* of a gRPC call: RetryInfo */
};

/* headers: whole lines with \r\n, besides Host, Connection and Content-Length; or "". */
void test_http(unsigned port, const char *method, const char *path, const char *headers,
               struct bytes body, struct test_answer *out);
/* encoding: "gzip" or "zstd" in which the message is compressed, or NULL. */
void test_grpc(unsigned port, const char *path, const char *encoding, struct bytes message,
               struct test_answer *out);
/* The value of a header of an HTTP answer, or NULL. Valid until the next call. */
const char *test_header(const struct test_answer *a, const char *name);
struct bytes test_body(const struct test_answer *a);

#endif
