/* SPDX-License-Identifier: Apache-2.0 */
/* server.c - see server.h: puts the parts together, and takes them apart again. */
#include "net/server.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/connection.h"
#include "net/listener.h"
#include "net/tls.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#define LOOPS_MAX 64

struct server {
    struct core core;
    struct listener *listeners;
    size_t listener_count;
    struct loop *loops[LOOPS_MAX];
    size_t loop_count;
    struct acceptor *acceptor;
};

/* ---- allocators: once a process, before any of the libraries has allocated ---- */

static void *ssl_malloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return mem_alloc(size);
}
static void *ssl_realloc(void *block, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return mem_realloc(block, size);
}
static void ssl_free(void *block, const char *file, int line)
{
    (void)file;
    (void)line;
    mem_free(block);
}

static void set_allocators(void)
{
    (void)uv_replace_allocator(mem_alloc, mem_realloc, mem_alloc_array, mem_free);
    /* Refused when somebody has used OpenSSL before; then it keeps its own. */
    (void)CRYPTO_set_mem_functions(ssl_malloc, ssl_realloc, ssl_free);
}

/* ---- commands to loops ---- */

struct command {
    struct post post;
    struct server *server;
    struct loop *loop;
};

static enum err command(struct server *s, size_t loop, void (*run)(struct post *post))
{
    struct command *c = mem_zalloc(sizeof *c);
    if (c == NULL)
        return ERR_NOMEM;
    *c = (struct command){ .post.run = run, .server = s, .loop = s->loops[loop] };
    if (loop_post(s->loops[loop], &c->post))
        return ERR_OK;
    mem_free(c);
    return ERR_STOPPING;
}

static void run_drain(struct post *post)
{
    struct command *c = (struct command *)post;
    if (c->loop == c->server->loops[0])
        acceptor_shut(c->server->acceptor);
    struct connection *next;
    for (struct connection *connection = c->loop->connections; connection != NULL;
         connection = next) {
        next = connection_next(connection);
        connection_drain(connection);
    }
    mem_free(c);
}

static void run_stop(struct post *post)
{
    struct command *c = (struct command *)post;
    if (c->loop == c->server->loops[0] && c->server->acceptor != NULL)
        acceptor_shut(c->server->acceptor);
    loop_shut(c->loop);
    mem_free(c);
}

/* ---- start and stop ---- */

static enum err bind_all(struct server *s, const struct server_options *options, char **out_message)
{
    s->listeners = mem_alloc_array(options->listener_count, sizeof *s->listeners);
    if (s->listeners == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < options->listener_count; i++) {
        enum err e =
            listener_bind(&s->listeners[i], &options->listeners[i], options->metrics, out_message);
        if (e != ERR_OK)
            return e;
        s->listener_count++;
    }
    return ERR_OK;
}

unsigned server_loops_default(void)
{
    unsigned cores = uv_available_parallelism();
    return cores < LOOPS_MAX ? cores : LOOPS_MAX;
}

static enum err open_loops(struct server *s, unsigned wanted)
{
    size_t count = wanted == 0 ? server_loops_default() : wanted;
    if (count > LOOPS_MAX)
        count = LOOPS_MAX;
    while (s->loop_count < count) {
        enum err e = loop_open(&s->loops[s->loop_count]);
        if (e != ERR_OK)
            return e;
        s->loop_count++;
    }
    return ERR_OK;
}

static enum err start_all(struct server *s)
{
    enum err e = acceptor_open(&s->core, s->listeners, s->listener_count, s->loops, s->loop_count,
                               &s->acceptor);
    for (size_t i = 0; e == ERR_OK && i < s->loop_count; i++)
        e = loop_start(s->loops[i]);
    return e;
}

/* The memory for the commands is there from the start, so that stopping cannot fail. */
static void stop_loops(struct server *s)
{
    for (size_t i = 0; i < s->loop_count; i++) {
        struct loop *l = s->loops[i];
        while (l->has_thread && command(s, i, run_stop) == ERR_NOMEM)
            usleep(1000);
        if (!l->has_thread) {
            if (i == 0 && s->acceptor != NULL)
                acceptor_shut(s->acceptor);
            loop_shut(l);
        }
    }
    for (size_t i = 0; i < s->loop_count; i++) {
        loop_join(s->loops[i]);
        loop_unref(s->loops[i]);
    }
}

void server_stop(struct server *s)
{
    if (s == NULL)
        return;
    stop_loops(s);
    acceptor_close(s->acceptor);
    for (size_t i = 0; i < s->listener_count; i++)
        if (s->listeners[i].fd >= 0)
            (void)close(s->listeners[i].fd);
    mem_free(s->listeners);
    tls_close(s->core.tls);
    core_deinit(&s->core);
    mem_free(s);
}

static enum err open_tls(const struct server_options *options, struct tls **out, char **out_message)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, set_allocators);
    if (options->tls_cert_path == NULL || options->tls_key_path == NULL)
        return ERR_OK;
    return tls_open(options->tls_cert_path, options->tls_key_path, options->tls_client_ca_path, out,
                    out_message);
}

enum err server_probe(const struct server_options *options, char **out_message)
{
    *out_message = NULL;
    struct tls *tls = NULL;
    enum err e = open_tls(options, &tls, out_message);
    tls_close(tls);
    for (size_t i = 0; i < options->listener_count && e == ERR_OK; i++) {
        struct listener l;
        e = listener_bind(&l, &options->listeners[i], NULL, out_message);
        if (e == ERR_OK)
            (void)close(l.fd);
    }
    return e;
}

enum err server_start(const struct server_options *options, struct server **out, char **out_message)
{
    *out_message = NULL;
    struct server *s = mem_zalloc(sizeof *s);
    if (s == NULL)
        return ERR_NOMEM;
    enum err e = core_init(&s->core, options);
    if (e != ERR_OK) {
        mem_free(s);
        return e;
    }
    e = open_tls(options, &s->core.tls, out_message);
    if (e == ERR_OK)
        e = bind_all(s, options, out_message);
    if (e == ERR_OK)
        e = open_loops(s, options->loops);
    if (e == ERR_OK)
        e = start_all(s);
    if (e != ERR_OK) {
        if (*out_message == NULL)
            *out_message = mem_text(err_text(e), strlen(err_text(e)));
        server_stop(s);
        return e;
    }
    *out = s;
    return ERR_OK;
}

unsigned server_port(const struct server *s, size_t index)
{
    assert(index < s->listener_count);
    return s->listeners[index].port;
}

enum err server_reload_tls(struct server *s, char **out_message)
{
    *out_message = NULL;
    return s->core.tls == NULL ? ERR_OK : tls_reload(s->core.tls, out_message);
}

void server_drain(struct server *s, uint64_t timeout_ns)
{
    atomic_store(&s->core.is_draining, true);
    for (size_t i = 0; i < s->loop_count; i++)
        (void)command(s, i, run_drain);
    uint64_t now = clock_mono_ns();
    uint64_t until = timeout_ns > UINT64_MAX - now ? UINT64_MAX : now + timeout_ns;
    struct timespec at = { .tv_sec = (time_t)(until / NS_PER_S),
                           .tv_nsec = (long)(until % NS_PER_S) };
    pthread_mutex_lock(&s->core.idle_lock);
    while (s->core.in_flight > 0)
        if (pthread_cond_timedwait(&s->core.idle_changed, &s->core.idle_lock, &at) != 0)
            break;
    pthread_mutex_unlock(&s->core.idle_lock);
}
