/* SPDX-License-Identifier: Apache-2.0 */
/* test_client.h - for tests: GET and POST over a connection of its own on 127.0.0.1, blocking, impatient after 20 s.
 *
 * Errors     asserts: a test without its answer is over. */
#ifndef SPINDLE_QUERY_TEST_CLIENT_H
#define SPINDLE_QUERY_TEST_CLIENT_H

#include <stddef.h>

struct reply {
    unsigned status;
    char *head; /* header lines */
    char *body;
    size_t body_len;
};

/* Ask, with further header lines (each ended by CR LF) or ""; returns the socket. */
int client_send(unsigned port, const char *path, const char *headers);
/* The whole answer; closes the socket. reply_free() it. */
void client_receive(int fd, struct reply *out);
/* Both. */
void client_get(unsigned port, const char *path, const char *headers, struct reply *out);
/* POST a body. */
void client_post(unsigned port, const char *path, const char *type, const char *body,
                 struct reply *out);
void reply_free(struct reply *r);

#endif
