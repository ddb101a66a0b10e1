/* SPDX-License-Identifier: Apache-2.0 */
#include "query/test_client.h"

#include "base/buffer.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static int send_request(unsigned port, const char *method, const char *path, const char *headers,
                        const char *body)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct timeval patience = { .tv_sec = 100 }; /* sanitizers are slow */
    assert(fd >= 0);
    int set = setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert(set == 0);
    int connected = connect(fd, (struct sockaddr *)&to, sizeof to);
    assert(connected == 0);
    struct buffer b;
    buffer_init(&b, 1 << 20);
    buffer_printf(&b, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n%s", method,
                  path, headers, body);
    ssize_t sent = send(fd, b.data, b.len, MSG_NOSIGNAL);
    assert(sent == (ssize_t)b.len);
    buffer_deinit(&b);
    return fd;
}

int client_send(unsigned port, const char *path, const char *headers)
{
    return send_request(port, "GET", path, headers, "");
}

/* Join the chunks of a body in place. */
static void join_chunks(struct reply *r)
{
    char *from = r->body, *to = r->body;
    for (;;) {
        char *end;
        unsigned long n = strtoul(from, &end, 16);
        if (n == 0)
            break;
        memmove(to, end + 2, n);
        to += n;
        from = end + 2 + n + 2;
    }
    *to = '\0';
    r->body_len = (size_t)(to - r->body);
}

void client_receive(int fd, struct reply *out)
{
    size_t capacity = 1 << 16, len = 0;
    char *text = malloc(capacity);
    for (;;) {
        ssize_t n = recv(fd, text + len, capacity - len - 1, 0);
        assert(n >= 0);
        if (n == 0)
            break;
        len += (size_t)n;
        if (capacity - len < 4096)
            text = realloc(text, capacity *= 2);
    }
    close(fd);
    text[len] = '\0';
    char *body = strstr(text, "\r\n\r\n");
    assert(body != NULL);
    *body = '\0';
    out->head = text;
    out->body = body + 4;
    out->body_len = len - (size_t)(out->body - text);
    out->status = (unsigned)strtoul(text + strlen("HTTP/1.1 "), NULL, 10);
    if (strcasestr(text, "transfer-encoding: chunked") != NULL)
        join_chunks(out);
}

void reply_free(struct reply *r)
{
    free(r->head);
    *r = (struct reply){ 0 };
}

void client_get(unsigned port, const char *path, const char *headers, struct reply *out)
{
    client_receive(client_send(port, path, headers), out);
}

void client_post(unsigned port, const char *path, const char *type, const char *body,
                 struct reply *out)
{
    char headers[200];
    (void)snprintf(headers, sizeof headers, "Content-Type: %s\r\nContent-Length: %zu\r\n", type,
                   strlen(body));
    client_receive(send_request(port, "POST", path, headers, body), out);
}
