/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/front_page.h"

#include "base/mem.h"

#include <stdlib.h>

struct front_page {
    _Atomic(char *) text;
    struct page *page;
};

/* "127.0.0.1" of "127.0.0.1:4317"; a wildcard becomes the loopback address that reaches it. */
static struct bytes host_of(const char *address)
{
    const char *colon = strrchr(address, ':');
    struct bytes host =
        colon == NULL ? bytes_text(address) : bytes_of(address, (size_t)(colon - address));
    if (host.len == 0 || bytes_equal_text(host, "0.0.0.0") || bytes_equal_text(host, "*"))
        return BYTES_LITERAL("127.0.0.1");
    return bytes_equal_text(host, "[::]") ? BYTES_LITERAL("[::1]") : host;
}

void front_page_url(const struct server *s, const struct listener_options *listeners, size_t index,
                    bool has_tls, struct buffer *out)
{
    struct bytes host = host_of(listeners[index].address);
    buffer_printf(out, "%s://%.*s:%u", has_tls ? "https" : "http", (int)host.len,
                  (const char *)host.data, server_port(s, index));
}

static void write_listener(const struct front_page_facts *f, const char *name, const char *label,
                           const char *after, struct buffer *out)
{
    for (size_t i = 0; i < f->listener_count; i++) {
        if (strcmp(f->listeners[i].name, name) != 0)
            continue;
        buffer_append_text(out, label);
        front_page_url(f->server, f->listeners, i, f->has_tls, out);
        buffer_append_text(out, after);
    }
}

void front_page_write(const struct front_page_facts *f, struct buffer *out)
{
    char *path = f->data == NULL ? NULL : realpath(f->data, NULL);
    buffer_append_text(out, "Spindle " SPINDLE_VERSION
                            " keeps OpenTelemetry traces and logs, and answers questions.\n\n");
    write_listener(f, "otlp-grpc", "  OTLP/gRPC  ", "\n", out);
    write_listener(f, "otlp-http", "  OTLP/HTTP  ", "\n", out);
    write_listener(f, "http", "  queries    ", "  (/api/spindle/v1/, /api/, /health, /metrics)\n",
                   out);
    if (f->data != NULL)
        buffer_printf(out, "  data       %s (an acknowledgement survives %s)\n",
                      path == NULL ? f->data : path,
                      f->is_durable ? "a power cut" : "the process, not a power cut");
    buffer_append_byte(out, '\n');
    size_t before = out->len;
    write_listener(f, "otlp-http", "  export OTEL_EXPORTER_OTLP_ENDPOINT=", "\n", out);
    if (out->len == before)
        write_listener(
            f, "otlp-grpc",
            "  export OTEL_EXPORTER_OTLP_PROTOCOL=grpc OTEL_EXPORTER_OTLP_ENDPOINT=", "\n", out);
    buffer_append_byte(out, '\n');
    free(path);
}

static void on_front_page(struct exchange *x, void *context)
{
    struct front_page *p = context;
    if (page_is_wanted(p->page, exchange_request(x))) {
        page_respond(p->page, x);
        return;
    }
    const char *text = atomic_load_explicit(&p->text, memory_order_acquire);
    struct buffer body;
    buffer_init(&body, 64 * 1024);
    buffer_append_text(&body, text == NULL ? "" : text);
    struct response head = { .status = 200, .content_type = "text/plain; charset=utf-8" };
    if (buffer_error(&body) != ERR_OK) {
        buffer_deinit(&body);
        head = (struct response){ .status = 503 };
    }
    exchange_respond(x, &head, &body);
}

enum err front_page_add_route(struct router *r, struct page *page, struct front_page **out)
{
    struct front_page *p = mem_zalloc(sizeof *p);
    if (p == NULL)
        return ERR_NOMEM;
    p->page = page;
    const struct route route = { .kind = ROUTE_HTTP,
                                 .method = HTTP_GET,
                                 .path = "/",
                                 .scope = SCOPE_OPEN,
                                 .handler = on_front_page,
                                 .context = p };
    enum err e = router_add(r, &route);
    if (e != ERR_OK) {
        mem_free(p);
        return e;
    }
    *out = p;
    return ERR_OK;
}

void front_page_set(struct front_page *p, struct bytes text)
{
    atomic_store_explicit(&p->text, mem_text(text.data, text.len), memory_order_release);
}

void front_page_close(struct front_page *p)
{
    if (p == NULL)
        return;
    mem_free(atomic_load(&p->text));
    mem_free(p);
}
