/* SPDX-License-Identifier: Apache-2.0 */
/* http1_parser.c - see http1_parser.h. */
#include "net/http1_parser.h"
#include "base/mem.h"

#include <llhttp.h>

struct http1_parser {
    llhttp_t llhttp;
    llhttp_settings_t settings;
    const struct http1_parser_events *events;
    void *context;
    struct bytes name;
    bool is_head_done;
    bool keeps_alive; /* as of the end of the head: llhttp forgets it at the end of the message */
};

static int on_url(llhttp_t *l, const char *at, size_t len)
{
    struct http1_parser *p = l->data;
    return p->events->on_target(p->context, bytes_of(at, len)) ? 0 : -1;
}

static int on_name(llhttp_t *l, const char *at, size_t len)
{
    struct http1_parser *p = l->data;
    p->name = bytes_of(at, len);
    return 0;
}

static int on_value(llhttp_t *l, const char *at, size_t len)
{
    struct http1_parser *p = l->data;
    if (p->is_head_done)
        return 0;
    return p->events->on_field(p->context, p->name, bytes_of(at, len)) ? 0 : -1;
}

static int on_headers_complete(llhttp_t *l)
{
    struct http1_parser *p = l->data;
    p->is_head_done = true;
    p->keeps_alive = llhttp_should_keep_alive(l) != 0;
    return 0;
}

static int on_body(llhttp_t *l, const char *at, size_t len)
{
    struct http1_parser *p = l->data;
    return p->events->on_body(p->context, bytes_of(at, len)) ? 0 : -1;
}

struct http1_parser *http1_parser_open(const struct http1_parser_events *events, void *context)
{
    struct http1_parser *p = mem_zalloc(sizeof *p);
    if (p == NULL)
        return NULL;
    llhttp_settings_init(&p->settings);
    p->settings.on_url = on_url;
    p->settings.on_header_field = on_name;
    p->settings.on_header_value = on_value;
    p->settings.on_headers_complete = on_headers_complete;
    p->settings.on_body = on_body;
    p->events = events;
    p->context = context;
    http1_parser_begin(p);
    return p;
}

void http1_parser_close(struct http1_parser *p)
{
    mem_free(p);
}

void http1_parser_begin(struct http1_parser *p)
{
    llhttp_init(&p->llhttp, HTTP_REQUEST, &p->settings);
    p->llhttp.data = p;
    p->is_head_done = false;
    p->keeps_alive = false;
}

bool http1_parser_feed(struct http1_parser *p, struct bytes part)
{
    enum llhttp_errno e = llhttp_execute(&p->llhttp, (const char *)part.data, part.len);
    if (e == HPE_PAUSED_UPGRADE) {
        llhttp_resume_after_upgrade(&p->llhttp); /* Upgrade is an offer, and not taken */
        e = HPE_OK;
    }
    return e == HPE_OK;
}

bool http1_parser_is_http10(const struct http1_parser *p)
{
    return p->llhttp.http_minor == 0;
}

bool http1_parser_keeps_alive(const struct http1_parser *p)
{
    return p->keeps_alive;
}
