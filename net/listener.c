/* SPDX-License-Identifier: Apache-2.0 */
/* listener.c - see listener.h. */
#include "net/listener.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "net/connection.h"
#include "net/request_head.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 1024
/* Connections taken in one turn, so that the loop's own connections get their turn too. */
#define ACCEPTS_PER_TURN 64

/* ---- binding ---- */

static enum err fail(char **out_message, const char *address, const char *why)
{
    struct buffer text;
    buffer_init(&text, 1024);
    buffer_printf(&text, "cannot listen on %s: %s", address, why);
    buffer_append_byte(&text, 0);
    size_t len;
    *out_message = (char *)buffer_take(&text, &len);
    return ERR_IO;
}

/* "127.0.0.1:4317", "[::1]:0", "localhost:80", ":4317" (all addresses). */
static bool split_address(const char *address, char host[64], char port[8])
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL || strlen(colon + 1) == 0 || strlen(colon + 1) >= 8)
        return false;
    struct bytes name = bytes_of(address, (size_t)(colon - address));
    if (name.len >= 2 && name.data[0] == '[' && name.data[name.len - 1] == ']')
        name = bytes_slice(name, 1, name.len - 2);
    uint64_t number;
    if (name.len >= 64 || !text_u64_parse(bytes_text(colon + 1), &number) || number > 65535)
        return false;
    memcpy(host, name.data, name.len);
    host[name.len] = 0;
    memcpy(port, colon + 1, strlen(colon + 1) + 1);
    return true;
}

bool server_address_is_valid(const char *address)
{
    char host[64], port[8];
    return split_address(address, host, port);
}

static void note_bound(struct listener *l)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    char text[INET6_ADDRSTRLEN] = "";
    if (getsockname(l->fd, (struct sockaddr *)&address, &len) != 0)
        return;
    if (address.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address;
        l->port = ntohs(v4->sin_port);
        l->is_wildcard = v4->sin_addr.s_addr == htonl(INADDR_ANY);
        (void)inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
        (void)snprintf(l->host_text, sizeof l->host_text, "%s", text);
    } else {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address;
        l->port = ntohs(v6->sin6_port);
        l->is_wildcard = IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
        (void)inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
        (void)snprintf(l->host_text, sizeof l->host_text, "[%s]", text);
    }
    l->host = bytes_text(l->host_text);
}

static int bind_one(const struct addrinfo *info)
{
    int on = 1;
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int saved = errno;
    (void)close(fd);
    errno = saved;
    return -1;
}

static void make_counters(struct listener *l, struct metrics *metrics)
{
    static const char *const protocols[] = { "http1", "http2", "grpc" };
    for (int i = 0; i < 3; i++) {
        char labels[128];
        (void)snprintf(labels, sizeof labels, "listener=\"%s\",protocol=\"%s\"", l->name,
                       protocols[i]);
        l->requests[i] = metrics_counter(metrics, "spindle_net_requests_total", labels,
                                         "Requests whose head was read");
    }
}

enum err listener_bind(struct listener *l, const struct listener_options *options,
                       struct metrics *metrics, char **out_message)
{
    char host[64], port[8];
    struct addrinfo hints = { .ai_family = AF_UNSPEC,
                              .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_PASSIVE };
    struct addrinfo *found = NULL;
    *l = (struct listener){ .name = options->name, .router = options->router, .fd = -1 };
    make_counters(l, metrics);
    if (!split_address(options->address, host, port))
        return fail(out_message, options->address, "not of the form HOST:PORT");
    int rc = getaddrinfo(host[0] == 0 ? NULL : host, port, &hints, &found);
    if (rc != 0)
        return fail(out_message, options->address, gai_strerror(rc));
    for (const struct addrinfo *info = found; info != NULL && l->fd < 0; info = info->ai_next)
        l->fd = bind_one(info);
    int saved = errno;
    freeaddrinfo(found);
    if (l->fd < 0)
        return fail(out_message, options->address, strerror(saved));
    note_bound(l);
    return ERR_OK;
}

/* ---- accepting ---- */

struct poll {
    uv_poll_t handle;
    struct acceptor *acceptor;
    struct listener *listener;
};

struct acceptor {
    struct core *core;
    struct loop **loops;
    size_t loop_count, next_loop;
    struct poll *polls;
    size_t poll_count;
    int spare_fd; /* given up for a moment when there are no descriptors left */
    bool is_shut;
};

/* A connection on its way to its loop. */
struct handover {
    struct post post;
    struct loop *loop;
    struct core *core;
    const struct listener *listener;
    struct peer_address peer;
    int fd;
};

static void run_handover(struct post *post)
{
    struct handover *h = (struct handover *)post;
    connection_open(h->loop, h->core, h->listener, h->fd, &h->peer);
    mem_free(h);
}

static void describe(const struct sockaddr_storage *address, struct peer_address *out)
{
    char text[INET6_ADDRSTRLEN] = "";
    *out = (struct peer_address){ 0 };
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        uint32_t ip = ntohl(v4->sin_addr.s_addr);
        if (ip >> 24 == 127) {
            out->b[15] = 1;
        } else {
            out->b[10] = out->b[11] = 0xff;
            memcpy(out->b + 12, &v4->sin_addr, 4);
        }
        (void)inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
        (void)snprintf(out->text, sizeof out->text, "%s:%u", text, ntohs(v4->sin_port));
    } else {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
        memcpy(out->b, &v6->sin6_addr, 16);
        (void)inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
        (void)snprintf(out->text, sizeof out->text, "[%s]:%u", text, ntohs(v6->sin6_port));
    }
}

static struct loop *least_busy(struct acceptor *a)
{
    struct loop *best = NULL;
    unsigned best_count = 0;
    a->next_loop = (a->next_loop + 1) % a->loop_count; /* who is first among equals */
    for (size_t i = 0; i < a->loop_count; i++) {
        struct loop *l = a->loops[(a->next_loop + i) % a->loop_count];
        unsigned count = atomic_load(&l->connection_count);
        if (best == NULL || count < best_count) {
            best = l;
            best_count = count;
        }
    }
    return best;
}

/* Enters the connection into all counts, or says no. */
static bool admit(struct core *core, const struct peer_address *peer)
{
    unsigned now = atomic_fetch_add(&core->connection_count, 1) + 1;
    enum net_limit hit = NET_LIMIT_CONNECTIONS;
    if (now <= core->limits.connections) {
        if (peers_enter(core->peers, peer, core->limits.connections_per_ip)) {
            metric_set(core->connections_now, now);
            metric_add(core->connections_total, 1);
            return true;
        }
        hit = NET_LIMIT_CONNECTIONS_PER_IP;
    }
    atomic_fetch_sub(&core->connection_count, 1);
    core_hit(core, hit);
    return false;
}

static void hand_over(struct acceptor *a, const struct listener *listener, int fd,
                      const struct peer_address *peer)
{
    struct handover *h = mem_zalloc(sizeof *h);
    if (h != NULL) {
        *h = (struct handover){ .post.run = run_handover,
                                .loop = least_busy(a),
                                .core = a->core,
                                .listener = listener,
                                .peer = *peer,
                                .fd = fd };
        atomic_fetch_add(&h->loop->connection_count, 1);
        if (loop_post(h->loop, &h->post))
            return;
        atomic_fetch_sub(&h->loop->connection_count, 1);
        mem_free(h);
    }
    atomic_fetch_sub(&a->core->connection_count, 1);
    peers_leave(a->core->peers, peer);
    (void)close(fd);
}

/* No descriptor is left: use the spare one to take the connection and close it, or it would wait in
 * the kernel's queue and wake us for ever. */
static void turn_away(struct acceptor *a, int listen_fd)
{
    core_hit(a->core, NET_LIMIT_DESCRIPTORS);
    if (a->spare_fd >= 0)
        (void)close(a->spare_fd);
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        (void)close(fd);
    a->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* False: nothing more to accept now. */
static bool accept_one(struct acceptor *a, const struct listener *listener)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    struct peer_address peer;
    int fd = accept4(listener->fd, (struct sockaddr *)&address, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
        turn_away(a, listener->fd);
        return true;
    }
    if (fd < 0)
        return errno == ECONNABORTED || errno == EINTR;
    describe(&address, &peer);
    if (admit(a->core, &peer))
        hand_over(a, listener, fd, &peer);
    else
        (void)close(fd);
    return true;
}

static void on_acceptable(uv_poll_t *handle, int status, int events)
{
    (void)events;
    struct poll *p = handle->data;
    if (status < 0)
        return;
    struct loop *l = p->acceptor->loops[0];
    for (int i = 0; i < ACCEPTS_PER_TURN; i++)
        if (!accept_one(p->acceptor, p->listener))
            break;
    loop_settle(l);
}

enum err acceptor_open(struct core *core, struct listener *listeners, size_t listener_count,
                       struct loop **loops, size_t loop_count, struct acceptor **out)
{
    struct acceptor *a = mem_zalloc(sizeof *a);
    if (a == NULL)
        return ERR_NOMEM;
    *a = (struct acceptor){ .core = core, .loops = loops, .loop_count = loop_count };
    a->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    a->polls = mem_alloc_array(listener_count, sizeof *a->polls);
    if (a->polls == NULL) {
        acceptor_close(a);
        return ERR_NOMEM;
    }
    *out = a; /* from here on handles must be closed by acceptor_shut() */
    for (size_t i = 0; i < listener_count; i++) {
        struct poll *p = &a->polls[i];
        *p = (struct poll){ .acceptor = a, .listener = &listeners[i] };
        if (uv_poll_init(&loops[0]->uv, &p->handle, listeners[i].fd) != 0)
            return ERR_IO;
        p->handle.data = p;
        a->poll_count++;
        if (uv_poll_start(&p->handle, UV_READABLE, on_acceptable) != 0)
            return ERR_IO;
    }
    return ERR_OK;
}

void acceptor_shut(struct acceptor *a)
{
    if (a->is_shut)
        return;
    a->is_shut = true;
    for (size_t i = 0; i < a->poll_count; i++) {
        (void)uv_poll_stop(&a->polls[i].handle);
        uv_close((uv_handle_t *)&a->polls[i].handle, NULL);
        (void)close(a->polls[i].listener->fd);
        a->polls[i].listener->fd = -1;
    }
}

void acceptor_close(struct acceptor *a)
{
    if (a == NULL)
        return;
    if (a->spare_fd >= 0)
        (void)close(a->spare_fd);
    mem_free(a->polls);
    mem_free(a);
}
