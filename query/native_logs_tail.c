/* SPDX-License-Identifier: Apache-2.0 */
/* Log records as they come in. */
#include "query/log_tail.h"
#include "query/native.h"

static enum err refuse(struct call *c, enum err e, const struct traceql_error *error)
{
    switch (e) {
    case ERR_BUSY:
        return call_fail(c, e, NULL, "as many tails as may be are open");
    case ERR_INVALID:
    case ERR_UNSUPPORTED:
    case ERR_TOO_LARGE:
    case ERR_TOO_DEEP:
    case ERR_TOO_MANY:
        return call_fail_filter(c, e, "q", error);
    default: /* memory */
        return e;
    }
}

/* The header that browsers send when they come back by themselves; a page that reads the stream itself may
 * prefer the parameter. */
static struct bytes last_event_id(const struct call *c)
{
    struct bytes id = request_header(c->request, "last-event-id");
    (void)parameter_text(c, "last_event_id", &id);
    return id;
}

enum err native_logs_tail(struct call *c)
{
    static const char *const known[] = { "q", "last_event_id", NULL };
    struct bytes filter = { 0 };
    struct traceql_error error = { 0 };
    struct log_tail_listener *listener = NULL;
    enum err e = parameters_check(c, known);
    if (e != ERR_OK)
        return e;
    (void)parameter_text(c, "q", &filter);
    if (c->log_tail == NULL)
        return ERR_STOPPING;
    if (c->request->method == HTTP_HEAD) {
        c->content_type = "text/event-stream";
        return ERR_OK;
    }
    e = log_tail_listener_new(c->log_tail, filter, &error, &listener);
    if (e != ERR_OK)
        return refuse(c, e, &error);
    struct bytes id = last_event_id(c);
    log_tail_join(c->log_tail, listener, call_take_exchange(c), id);
    return ERR_OK;
}
