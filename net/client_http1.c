/* SPDX-License-Identifier: Apache-2.0 */
/* POST over cleartext HTTP/1.1: one call at a time on a connection, which is kept. */
#include "base/mem.h"
#include "net/client_private.h"

#include <assert.h>
#include <llhttp.h>
#include <strings.h>

#define HEADER_NAME_MAX  64u /* longer names are none that we look for */
#define HEADER_VALUE_MAX 64u /* of Retry-After */

struct http1 {
    llhttp_t parser;
    llhttp_settings_t settings;
    char name[HEADER_NAME_MAX], value[HEADER_VALUE_MAX];
    size_t name_len, value_len;
    bool is_sent;     /* the request is in k->out, or on its way */
    bool is_answered; /* and the slot is still to be finished */
};

static struct client_slot *slot_of(llhttp_t *parser)
{
    struct client_connection *k = parser->data;
    return &k->slots[0];
}

static int on_header_name(llhttp_t *parser, const char *at, size_t len)
{
    struct http1 *h = ((struct client_connection *)parser->data)->session;
    for (size_t i = 0; i < len; i++, h->name_len++) {
        if (h->name_len < HEADER_NAME_MAX)
            h->name[h->name_len] = at[i];
    }
    return 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t len)
{
    struct http1 *h = ((struct client_connection *)parser->data)->session;
    for (size_t i = 0; i < len; i++, h->value_len++) {
        if (h->value_len < HEADER_VALUE_MAX)
            h->value[h->value_len] = at[i];
    }
    return 0;
}

static int on_header_done(llhttp_t *parser)
{
    static const char retry_after[] = "retry-after";
    struct http1 *h = ((struct client_connection *)parser->data)->session;
    if (h->name_len == sizeof retry_after - 1 && h->value_len <= HEADER_VALUE_MAX &&
        strncasecmp(h->name, retry_after, h->name_len) == 0)
        slot_of(parser)->retry_after_ns = client_retry_after_ns(bytes_of(h->value, h->value_len));
    h->name_len = h->value_len = 0;
    return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct client_slot *slot = slot_of(parser);
    if (slot->call->on_piece != NULL && parser->status_code == 200)
        slot->call->on_piece(slot->call, bytes_of(at, len));
    else
        client_slot_answer(slot, bytes_of(at, len));
    return 0;
}

/* Stop here: bytes behind the answer would belong to no call. */
static int on_message_done(llhttp_t *parser)
{
    struct client_connection *k = parser->data;
    struct http1 *h = k->session;
    if (parser->status_code < 200) /* 100 Continue and its like: the answer is still to come */
        return 0;
    slot_of(parser)->http_status = parser->status_code;
    h->is_answered = true;
    return HPE_PAUSED;
}

static enum err http1_begin(struct client_connection *k)
{
    struct http1 *h = mem_zalloc(sizeof *h);
    if (h == NULL)
        return ERR_NOMEM;
    llhttp_settings_init(&h->settings);
    h->settings.on_header_field = on_header_name;
    h->settings.on_header_value = on_header_value;
    h->settings.on_header_value_complete = on_header_done;
    h->settings.on_body = on_body;
    h->settings.on_message_complete = on_message_done;
    llhttp_init(&h->parser, HTTP_RESPONSE, &h->settings);
    h->parser.data = k;
    k->session = h;
    return ERR_OK;
}

static void http1_end(struct client_connection *k)
{
    mem_free(k->session);
    k->session = NULL;
}

static enum err http1_start(struct client_connection *k, struct client_slot *slot)
{
    struct http1 *h = k->session;
    assert(slot == &k->slots[0]);
    (void)slot;
    h->is_sent = false;
    return ERR_OK;
}

/* There is no way to take a request back but to close. */
static bool http1_abandon(struct client_connection *k, struct client_slot *slot)
{
    (void)k;
    (void)slot;
    return false;
}

static enum err http1_receive(struct client_connection *k, struct bytes in)
{
    struct http1 *h = k->session;
    struct client_slot *slot = &k->slots[0];
    if (slot->call == NULL || !h->is_sent)
        return ERR_INVALID; /* an answer to nothing, as a server sends before it closes an idle
                               connection */
    llhttp_errno_t error = llhttp_execute(&h->parser, (const char *)in.data, in.len);
    if (!h->is_answered) {
        if (error == HPE_OK)
            return ERR_OK;
        client_slot_finish(k, slot, ERR_INVALID);
        return ERR_INVALID;
    }
    bool is_kept = llhttp_should_keep_alive(&h->parser) == 1 &&
                   llhttp_get_error_pos(&h->parser) == (const char *)in.data + in.len;
    h->is_answered = false;
    h->is_sent = false;
    llhttp_resume(&h->parser);
    client_slot_finish(k, slot, slot->error);
    k->takes_calls = is_kept;
    return ERR_OK;
}

static enum err http1_flush(struct client_connection *k)
{
    struct http1 *h = k->session;
    const struct client_call *call = k->slots[0].call;
    if (call == NULL || h->is_sent)
        return ERR_OK;
    const char *authorization = k->client->options.authorization;
    buffer_printf(&k->out,
                  "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: spindle\r\nContent-Type: %s\r\n"
                  "Content-Length: %zu\r\n",
                  call->path, k->client->authority,
                  call->content_type != NULL ? call->content_type : "application/x-protobuf",
                  call->body.len);
    if (call->encoding != NULL)
        buffer_printf(&k->out, "Content-Encoding: %s\r\n", call->encoding);
    if (authorization != NULL)
        buffer_printf(&k->out, "Authorization: %s\r\n", authorization);
    buffer_append_text(&k->out, "\r\n");
    buffer_append_bytes(&k->out, call->body);
    h->is_sent = true;
    return buffer_error(&k->out);
}

const struct client_protocol_ops client_http1_ops = {
    .begin = http1_begin,
    .end = http1_end,
    .start = http1_start,
    .abandon = http1_abandon,
    .receive = http1_receive,
    .flush = http1_flush,
};
