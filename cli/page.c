/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/page.h"

#include "base/json_writer.h"
#include "base/mem.h"
#include "cli/page_files.h"
#include "codec/codec.h"
#include "net/accept.h"

#include <assert.h>
#include <stdio.h>

#define BASE_MARK     "{{base}}"
#define DOCUMENT_MAX  (64 * 1024)
#define FILE_MAX      (4 << 20) /* no file of the page is near it */
#define DEPTH_MAX     64        /* slashes in an address; more name nothing of the page */
#define DECODE_FACTOR 3         /* the copy, the plain text, and what the arena rounds up */

struct page {
    struct budget *budget;
};

/* Scripts and styles from this server alone, never inline; no string becomes a script, but for the one policy
 * that names our workers; nobody may frame the page or set its base. */
static const struct http_header guards[] = {
    { BYTES_LITERAL("content-security-policy"),
      BYTES_LITERAL(
          "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
          "connect-src 'self'; worker-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
          "form-action 'self'; require-trusted-types-for 'script'; trusted-types spindle") },
    { BYTES_LITERAL("x-content-type-options"), BYTES_LITERAL("nosniff") },
    { BYTES_LITERAL("referrer-policy"), BYTES_LITERAL("no-referrer") },
    { BYTES_LITERAL("cross-origin-opener-policy"), BYTES_LITERAL("same-origin") },
    { BYTES_LITERAL("cross-origin-resource-policy"), BYTES_LITERAL("same-origin") },
};
enum { GUARD_COUNT = sizeof guards / sizeof guards[0], OWN_HEADERS = 4 };

struct answer_head {
    struct http_header headers[GUARD_COUNT + OWN_HEADERS];
    struct response response;
};

static void add(struct answer_head *h, const char *name, struct bytes value)
{
    assert(h->response.header_count < GUARD_COUNT + OWN_HEADERS);
    h->headers[h->response.header_count++] =
        (struct http_header){ .name = bytes_text(name), .value = value };
}

static void begin(struct answer_head *h, unsigned status, const char *type)
{
    memcpy(h->headers, guards, sizeof guards);
    h->response = (struct response){
        .status = status, .content_type = type, .headers = h->headers, .header_count = GUARD_COUNT
    };
}

/* If-None-Match names the tag. */
static bool has_it(const struct request *r, const char *etag)
{
    return accept_names(request_header(r, "if-none-match"), etag);
}

static void respond_error(struct exchange *x, unsigned status, const char *message)
{
    struct buffer body;
    struct json_writer w;
    buffer_init(&body, 4096);
    json_init(&w, &body);
    json_object_begin(&w);
    json_key(&w, "code");
    json_u64(&w, status);
    json_key(&w, "message");
    json_text(&w, message);
    json_key(&w, "request_id");
    json_u64_string(&w, exchange_request(x)->id);
    json_object_end(&w);
    struct answer_head h;
    begin(&h, status, "application/json");
    add(&h, "cache-control", BYTES_LITERAL("no-store"));
    if (status == 503)
        add(&h, "retry-after", BYTES_LITERAL("1"));
    exchange_respond(x, &h.response, &body);
}

/* The body is charged to what all answers may take, until the client has it. */
static void respond_body(struct page *p, struct exchange *x, struct answer_head *h,
                         struct buffer *take_body)
{
    if (buffer_error(take_body) != ERR_OK || !budget_reserve(p->budget, take_body->capacity)) {
        buffer_deinit(take_body);
        respond_error(x, 503, "out of memory for answers");
        return;
    }
    h->response.charged = p->budget;
    h->response.charged_bytes = take_body->capacity;
    exchange_respond(x, &h->response, take_body);
}

static void respond_unchanged(struct exchange *x, struct answer_head *h)
{
    struct buffer none;
    buffer_init(&none, 0);
    h->response.status = 304;
    h->response.content_type = NULL;
    exchange_respond(x, &h->response, &none);
}

/* How far below the page's root an address lies: "/trace/1" is one step down. */
static size_t depth_of(struct bytes target)
{
    size_t depth = 0;
    for (size_t i = 1; i < target.len; i++)
        depth += target.data[i] == '/';
    return depth;
}

/* The document with its addresses made relative, so that it works behind any prefix. */
static void write_document(const struct page_file *f, size_t depth, struct buffer *out)
{
    struct bytes rest = bytes_of(f->data, f->len);
    while (rest.len > 0) {
        if (bytes_start_with(rest, BYTES_LITERAL(BASE_MARK))) {
            for (size_t i = 0; i < depth; i++)
                buffer_append_text(out, "../");
            rest = bytes_slice(rest, sizeof BASE_MARK - 1, SIZE_MAX);
            continue;
        }
        size_t mark = bytes_find(bytes_slice(rest, 1, SIZE_MAX), '{');
        struct bytes run = bytes_slice(rest, 0, mark == SIZE_MAX ? SIZE_MAX : mark + 1);
        buffer_append_bytes(out, run);
        rest = bytes_slice(rest, run.len, SIZE_MAX);
    }
}

bool page_is_wanted(const struct page *p, const struct request *r)
{
    return p != NULL && accept_names(request_header(r, "accept"), "text/html");
}

void page_respond(struct page *p, struct exchange *x)
{
    const struct page_file *f = &page_files[0];
    size_t depth = depth_of(exchange_request(x)->target);
    if (depth > DEPTH_MAX) {
        respond_error(x, 404, "no such path");
        return;
    }
    char tag[64];
    int len = snprintf(tag, sizeof tag, "%.*s-%zu\"", (int)strlen(f->etag) - 1, f->etag, depth);
    assert(len > 0 && (size_t)len < sizeof tag);
    struct answer_head h;
    begin(&h, 200, f->type);
    add(&h, "cache-control", BYTES_LITERAL("no-cache"));
    add(&h, "etag", bytes_text(tag));
    add(&h, "vary", BYTES_LITERAL("accept"));
    if (has_it(exchange_request(x), tag)) {
        respond_unchanged(x, &h);
        return;
    }
    struct buffer body;
    buffer_init(&body, DOCUMENT_MAX);
    write_document(f, depth, &body);
    respond_body(p, x, &h, &body);
}

/* Few clients take no gzip: for them the file is opened here. */
static enum err append_plain(const struct page_file *f, struct budget *budget, struct buffer *out)
{
    struct arena arena;
    struct bytes plain;
    arena_init(&arena, DECODE_FACTOR * f->plain_len + FILE_MAX, budget);
    enum err e =
        codec_decompress(CODEC_GZIP, bytes_of(f->data, f->len), f->plain_len, &arena, &plain, NULL);
    if (e == ERR_OK)
        buffer_append_bytes(out, plain);
    arena_deinit(&arena);
    return e;
}

static void on_asset(struct exchange *x, void *context)
{
    struct page *p = context;
    const struct request *r = exchange_request(x);
    struct bytes path = bytes_slice(r->path, 1, SIZE_MAX);
    const struct page_file *f = NULL;
    for (size_t i = 1; i < page_file_count && f == NULL; i++)
        if (bytes_equal_text(path, page_files[i].path))
            f = &page_files[i];
    if (f == NULL) {
        respond_error(x, 404, "no such file of the page");
        return;
    }
    struct answer_head h;
    begin(&h, 200, f->type);
    add(&h, "cache-control", BYTES_LITERAL("public, max-age=31536000, immutable"));
    add(&h, "etag", bytes_text(f->etag));
    add(&h, "vary", BYTES_LITERAL("accept-encoding"));
    if (has_it(r, f->etag)) {
        respond_unchanged(x, &h);
        return;
    }
    struct buffer body;
    buffer_init(&body, FILE_MAX);
    if (!f->is_gzip || accept_names(request_header(r, "accept-encoding"), "gzip")) {
        buffer_append_bytes(&body, bytes_of(f->data, f->len));
        if (f->is_gzip)
            add(&h, "content-encoding", BYTES_LITERAL("gzip"));
    } else if (append_plain(f, p->budget, &body) != ERR_OK) {
        buffer_deinit(&body);
        respond_error(x, 503, "out of memory for answers");
        return;
    }
    respond_body(p, x, &h, &body);
}

static void on_unmatched(struct exchange *x, void *context)
{
    struct page *p = context;
    const struct request *r = exchange_request(x);
    bool is_api = bytes_start_with(r->path, BYTES_LITERAL("/api/"));
    if (r->method == HTTP_GET && !is_api && page_is_wanted(p, r))
        page_respond(p, x);
    else
        respond_error(x, 404, "no such path");
}

enum err page_add_routes(struct router *r, struct budget *budget, struct page **out)
{
    *out = NULL;
    if (page_file_count == 0)
        return ERR_OK;
    assert(strcmp(page_files[0].path, "index.html") == 0 && !page_files[0].is_gzip);
    struct page *p = mem_zalloc(sizeof *p);
    if (p == NULL)
        return ERR_NOMEM;
    p->budget = budget;
    const struct route route = { .kind = ROUTE_HTTP,
                                 .method = HTTP_GET,
                                 .path = "/assets/{name}",
                                 .scope = SCOPE_OPEN,
                                 .handler = on_asset,
                                 .context = p };
    enum err e = router_add(r, &route);
    if (e != ERR_OK) {
        mem_free(p);
        return e;
    }
    router_set_fallback(r, ROUTE_HTTP, on_unmatched, p);
    *out = p;
    return ERR_OK;
}

void page_close(struct page *p)
{
    mem_free(p);
}
