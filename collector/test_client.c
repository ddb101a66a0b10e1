/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/test_client.h"

#include "base/clock.h"
#include "net/client.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define TIMEOUT_S 20

static int dial(unsigned port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port),
                              .sin_addr = { htonl(INADDR_LOOPBACK) } };
    struct timeval timeout = { .tv_sec = TIMEOUT_S };
    assert(fd >= 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void send_all(int fd, const void *data, size_t len)
{
    const char *at = data;
    while (len != 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* refused early: its answer is still read */
        at += n;
        len -= (size_t)n;
    }
}

static void parse(char *text, size_t len, struct test_answer *out)
{
    char *end = memmem(text, len, "\r\n\r\n", 4);
    unsigned status;
    if (end == NULL || sscanf(text, "HTTP/1.1 %u", &status) != 1)
        return;
    out->status = status;
    char *to = out->headers;
    for (char *c = strstr(text, "\r\n") + 2; c < end + 2; c++) {
        if (*c != '\r' && to < out->headers + sizeof out->headers - 1)
            *to++ = *c;
    }
    *to = '\0';
    for (char *line = out->headers; *line != '\0'; line = strchr(line, '\n') + 1) {
        for (char *c = line; *c != ':' && *c != '\n'; c++)
            *c = (char)tolower((unsigned char)*c);
    }
    out->body_len = len - (size_t)(end + 4 - text);
    assert(out->body_len <= sizeof out->body);
    memcpy(out->body, end + 4, out->body_len);
}

void test_http(unsigned port, const char *method, const char *path, const char *headers,
               struct bytes body, struct test_answer *out)
{
    static _Thread_local char text[128 * 1024];
    char head[4096];
    size_t len = 0;
    memset(out, 0, sizeof *out);
    int fd = dial(port);
    if (fd < 0)
        return;
    int n = snprintf(head, sizeof head,
                     "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
                     "Content-Length: %zu\r\n%s\r\n",
                     method, path, body.len, headers);
    send_all(fd, head, (size_t)n);
    send_all(fd, body.data, body.len);
    for (;;) {
        ssize_t got = recv(fd, text + len, sizeof text - 1 - len, 0);
        if (got <= 0)
            break;
        len += (size_t)got;
    }
    close(fd);
    text[len] = '\0';
    parse(text, len, out);
}

static void on_done(struct client_call *call, const struct client_result *r)
{
    struct test_answer *out = call->context;
    out->status = r->error == ERR_OK ? r->http_status : 0;
    out->grpc_status = r->grpc_status;
    size_t message_len =
        r->message.len < sizeof out->message - 1 ? r->message.len : sizeof out->message - 1;
    if (message_len != 0)
        memcpy(out->message, r->message.data, message_len);
    assert(r->body.len <= sizeof out->body);
    out->body_len = r->body.len;
    if (r->body.len != 0)
        memcpy(out->body, r->body.data, r->body.len);
    out->retry_after_ns = r->retry_after_ns;
}

void test_grpc(unsigned port, const char *path, const char *encoding, struct bytes message,
               struct test_answer *out)
{
    char endpoint[32];
    struct client *client;
    snprintf(endpoint, sizeof endpoint, "127.0.0.1:%u", port);
    const struct client_options options = { .endpoint = endpoint,
                                            .protocol = CLIENT_GRPC,
                                            .connections = 1,
                                            .in_flight_per_connection = 1,
                                            .timeout_ns = TIMEOUT_S * NS_PER_S };
    struct client_call call = {
        .path = path, .encoding = encoding, .body = message, .on_done = on_done, .context = out
    };
    memset(out, 0, sizeof *out);
    out->grpc_status = -1;
    enum err e = client_open(&options, &client);
    assert(e == ERR_OK);
    (void)e;
    client_send(client, &call);
    client_run(client, true, 0, NULL, NULL);
    client_close(client);
}

const char *test_header(const struct test_answer *a, const char *name)
{
    static char value[1024];
    size_t name_len = strlen(name);
    for (const char *line = a->headers; *line != '\0'; line = strchr(line, '\n') + 1) {
        if (strncmp(line, name, name_len) != 0 || line[name_len] != ':')
            continue;
        const char *at = line + name_len + 1;
        at += strspn(at, " ");
        snprintf(value, sizeof value, "%.*s", (int)strcspn(at, "\n"), at);
        return value;
    }
    return NULL;
}

struct bytes test_body(const struct test_answer *a)
{
    return bytes_of(a->body, a->body_len);
}
