/* SPDX-License-Identifier: Apache-2.0 */
/* One export request from its arrival to its answer.
 *
 *     arrived ──► checked ──► engine ──► answered
 *        │           │         │  ▲
 *        │ refused   │ refused │  │ a moment later, up to hold_ns
 *        ▼           ▼         ▼  │
 *     answered    answered     held ──► refused with "come again"
 *
 * I1: a call is answered exactly once and freed by finish(), whatever way it went.
 * I2: success is answered only after the engine said ERR_OK for what was kept, or when nothing was.
 * I3: once a call has been given away (engine_append, exchange_later) the giver lets it alone. */
#include "collector/collector_private.h"

#include "base/budget.h"
#include "base/clock.h"
#include "base/defect.h"
#include "base/mem.h"
#include "proto/otlp_json.h"

#include <assert.h>
#include <stddef.h>

#define MESSAGE_MAX      1024
#define RETRY_FIRST_MS   5 /* a group commit takes a few milliseconds */
#define RETRY_LONGEST_MS 50
#define REWRITE_SLACK                                                                              \
    (64 * 1024) /* canonical form is not longer, but for a dropped count here and there */

struct export_call {
    struct append append;
    struct exchange *x;
    struct collector *collector;
    struct otlp_report report;
    enum transport transport;
    uint64_t arrived_mono_ns, deadline_mono_ns;
    unsigned tries;
    struct export_call *next, **link; /* in collector.held */
};

static struct export_metrics *counted(const struct export_call *call)
{
    return &call->collector->counted[call->append.signal];
}

/* ---- The sentences ---- */

static const char *item_word(enum signal signal)
{
    return signal == SIGNAL_TRACES ? "span" : "log record";
}

static void write_plural(struct buffer *b, uint64_t n, const char *word)
{
    buffer_append_u64(b, n);
    buffer_printf(b, " %s%s", word, n == 1 ? "" : "s");
}

/* IDs of a JSON request are judged by their bytes, but written in hexadecimal. */
static const char *reject_text(const struct export_call *call, enum otlp_reject why)
{
    bool is_json = call->transport == TRANSPORT_HTTP &&
                   answer_encoding(exchange_request(call->x)) == ENCODING_JSON;
    if (is_json && why == OTLP_REJECT_TRACE_ID_LENGTH)
        return "traceId must have 32 hexadecimal digits";
    if (is_json && why == OTLP_REJECT_SPAN_ID_LENGTH)
        return "spanId must have 16 hexadecimal digits";
    if (is_json && why == OTLP_REJECT_PARENT_ID_LENGTH)
        return "parentSpanId must be empty or have 16 hexadecimal digits";
    return otlp_reject_text(why);
}

/* "rejected 3 of 500 spans, the first at index 4: trace_id is all zeros (2), span_id is ... (1)".
 */
static void write_rejections(const struct export_call *call, struct buffer *b)
{
    const struct otlp_report *report = &call->report;
    buffer_append_text(b, "rejected ");
    buffer_append_u64(b, report->items_rejected);
    buffer_append_text(b, " of ");
    write_plural(b, report->items, item_word(call->append.signal));
    buffer_printf(b, "; the first is %s ", item_word(call->append.signal));
    buffer_append_u64(b, report->first_rejected_item);
    buffer_printf(b, " (counted from 0): %s", reject_text(call, report->first_reject));
    for (int i = 0; i < OTLP_REJECT_COUNT; i++) {
        if (report->rejected[i] == 0 || (enum otlp_reject)i == report->first_reject)
            continue;
        buffer_printf(b, "; also %s: ", reject_text(call, (enum otlp_reject)i));
        buffer_append_u64(b, report->rejected[i]);
    }
}

/* What a limit has cut, and the limit: "--attributes-max is 1024". */
static const struct {
    const char *text; /* NULL: no limit stands behind the warning */
    size_t limit_at;  /* in struct otlp_limits */
} warn_limits[OTLP_WARN_COUNT] = {
    [OTLP_WARN_ATTRIBUTES_CUT] = { "--attributes-max is ",
                                   offsetof(struct otlp_limits, attributes_max) },
    [OTLP_WARN_EVENTS_CUT] = { "--span-events-max is ", offsetof(struct otlp_limits, events_max) },
    [OTLP_WARN_LINKS_CUT] = { "--span-links-max is ", offsetof(struct otlp_limits, links_max) },
    [OTLP_WARN_VALUE_CUT] = { "--value-size-max is ",
                              offsetof(struct otlp_limits, value_bytes_max) },
    [OTLP_WARN_KEY_CUT] = { "the most bytes of a key are ",
                            offsetof(struct otlp_limits, key_bytes_max) },
};

static void write_limit(const struct otlp_limits *limits, enum otlp_warn warn, struct buffer *b)
{
    if (warn_limits[warn].text == NULL)
        return;
    size_t limit;
    memcpy(&limit, (const uint8_t *)limits + warn_limits[warn].limit_at, sizeof limit);
    buffer_append_text(b, "; ");
    buffer_append_text(b, warn_limits[warn].text);
    buffer_append_u64(b, limit);
}

static void write_warnings(const struct export_call *call, struct buffer *b)
{
    const struct otlp_report *report = &call->report;
    for (int i = 0; i < OTLP_WARN_COUNT; i++) {
        if (report->warned[i] == 0)
            continue;
        if (b->len != 0)
            buffer_append_text(b, "; ");
        buffer_append_text(b, otlp_warn_text((enum otlp_warn)i));
        buffer_append_text(b, " (");
        write_plural(b, report->warned[i], "time");
        write_limit(&call->collector->limits, (enum otlp_warn)i, b);
        buffer_append_byte(b, ')');
    }
}

static const char *refusal_text(enum err e)
{
    switch (e) {
    case ERR_BUSY:
        return "the store is busy; send the request again";
    case ERR_BUDGET:
        return "the memory for requests is used up; send the request again";
    case ERR_STOPPING:
        return "the server is shutting down; send the request again";
    case ERR_FULL:
        return "the disk is full; send the request again later";
    case ERR_IO:
    case ERR_CORRUPT:
        return "the request could not be stored; send it again later";
    default:
        return err_text(e);
    }
}

/* ---- The end ---- */

static void finish(struct export_call *call)
{
    struct collector *c = call->collector;
    arena_deinit(&call->append.arena);
    mem_free(call);
    pthread_mutex_lock(&c->lock);
    assert(c->calls != 0);
    c->calls--;
    metric_set(c->in_flight, c->calls);
    if (c->calls == 0)
        pthread_cond_signal(&c->is_idle);
    pthread_mutex_unlock(&c->lock);
}

static void refuse(struct export_call *call, enum err e, struct bytes message)
{
    metric_add(counted(call)->refused[call->transport][e], 1);
    answer_refusal(call->x, e, message);
    finish(call);
}

static void refuse_plain(struct export_call *call, enum err e)
{
    refuse(call, e, bytes_text(refusal_text(e)));
}

/* Refuse what a parser could not read: where, and what it wanted to see there. */
static void refuse_noted(struct export_call *call, enum err e, const struct err_note *note,
                         const char *form)
{
    struct buffer message;
    buffer_init(&message, MESSAGE_MAX);
    buffer_printf(&message, "%s %s request: %s at byte %zu", form, signal_name(call->append.signal),
                  err_text(e), note->offset);
    if (note->what != NULL)
        buffer_printf(&message, ": expected %s", note->what);
    refuse(call, e, buffer_bytes(&message));
    buffer_deinit(&message);
}

static void count_stored(struct export_call *call)
{
    struct export_metrics *m = counted(call);
    const struct otlp_report *report = &call->report;
    metric_observe(m->acknowledged[call->transport], clock_mono_ns() - call->arrived_mono_ns);
    if (call->append.was_resent) {
        metric_add(m->requests_resent, 1);
        return; /* its items were counted the first time */
    }
    metric_add(m->items_stored, report->items - report->items_rejected);
    metric_add(m->unknown_fields, report->unknown_fields);
    for (int i = 0; i < OTLP_WARN_COUNT; i++) {
        if (report->warned[i] != 0)
            metric_add(m->items_warned[i], report->warned[i]);
    }
    for (int i = 0; i < OTLP_REJECT_COUNT; i++) {
        if (report->rejected[i] != 0)
            metric_add(m->items_rejected[i], report->rejected[i]);
    }
}

static void accept(struct export_call *call)
{
    count_stored(call);
    struct buffer message;
    buffer_init(&message, 4 * MESSAGE_MAX);
    if (call->report.items_rejected != 0)
        write_rejections(call, &message);
    write_warnings(call, &message);
    answer_export(call->x, call->append.signal, call->report.items_rejected,
                  buffer_bytes(&message));
    buffer_deinit(&message);
    finish(call);
}

/* ---- Holding ---- */

static void held_put(struct collector *c, struct export_call *call)
{
    call->next = c->held;
    call->link = &c->held;
    if (c->held != NULL)
        c->held->link = &call->next;
    c->held = call;
}

static void held_remove(struct export_call *call)
{
    *call->link = call->next;
    if (call->next != NULL)
        call->next->link = call->link;
    call->next = NULL;
    call->link = NULL;
}

static void on_retry(void *context)
{
    struct export_call *call = context;
    struct collector *c = call->collector;
    pthread_mutex_lock(&c->lock);
    held_remove(call);
    pthread_mutex_unlock(&c->lock);
    if (collector_state(c) == COLLECTOR_CLOSED)
        refuse_plain(call, ERR_STOPPING);
    else if (clock_mono_ns() >= call->deadline_mono_ns)
        refuse_plain(call, ERR_DEADLINE);
    else
        engine_append(c->engine, &call->append); /* also when the client has left: it asked us to */
}

/* Keep a request that the engine has no room for, and try again in a moment. */
static void hold(struct export_call *call)
{
    struct collector *c = call->collector;
    if (call->tries++ == 0)
        metric_add(counted(call)->requests_held, 1);
    if (clock_mono_ns() - call->arrived_mono_ns >= c->hold_ns) {
        refuse_plain(call, ERR_BUSY);
        return;
    }
    uint64_t delay_ms = RETRY_LONGEST_MS;
    if (call->tries < 5)
        delay_ms = (uint64_t)RETRY_FIRST_MS << (call->tries - 1);
    if (delay_ms > RETRY_LONGEST_MS)
        delay_ms = RETRY_LONGEST_MS;

    /* Under the lock, so that collector_close() finds each held call either in the list or not
     * held. */
    pthread_mutex_lock(&c->lock);
    enum err e = collector_state(c) == COLLECTOR_CLOSED ? ERR_STOPPING : ERR_OK;
    if (e == ERR_OK) {
        held_put(c, call);
        e = exchange_later(call->x, delay_ms, on_retry, call);
        if (e != ERR_OK)
            held_remove(call);
    }
    pthread_mutex_unlock(&c->lock);
    if (e != ERR_OK)
        refuse_plain(call, e);
}

void export_abandon_held(struct collector *c)
{
    for (;;) {
        pthread_mutex_lock(&c->lock);
        struct export_call *call = c->held;
        if (call != NULL)
            held_remove(call);
        pthread_mutex_unlock(&c->lock);
        if (call == NULL)
            return;
        refuse_plain(call, ERR_STOPPING);
    }
}

static void on_appended(struct append *append, enum err result)
{
    struct export_call *call = append->context;
    if (result == ERR_OK)
        accept(call);
    else if (result == ERR_BUSY)
        hold(call);
    else
        refuse_plain(call, result);
}

/* ---- The beginning ---- */

/* A repeat is known by everything that decides what its answer would be. The key keeps strangers
 * from making two requests with one hash. */
static struct hash128 request_hash(const struct collector *c, const struct request *r,
                                   enum signal signal, enum encoding encoding)
{
    struct hash128 received = hash_bytes_keyed(&c->request_key, r->received);
    uint8_t all[48];
    store_le64(all, received.low);
    store_le64(all + 8, received.high);
    store_le64(all + 16, r->received.len);
    store_le64(all + 24, r->principal);
    store_le64(all + 32, (uint64_t)signal);
    store_le64(all + 40, (uint64_t)r->received_codec << 32 | (uint64_t)encoding);
    return hash_bytes_keyed(&c->request_key, bytes_of(all, sizeof all));
}

/* Put bytes made from the request in its place: an arena of their own, so that the engine does not
 * keep the request's first form as well. Takes what is in the buffer. */
static enum err replace_body(struct export_call *call, struct buffer *take_made)
{
    struct arena fresh;
    enum err e = buffer_error(take_made);
    arena_init(&fresh, take_made->len + REWRITE_SLACK, call->append.arena.budget);
    if (e == ERR_OK)
        e = arena_dup(&fresh, buffer_bytes(take_made), &call->append.body);
    buffer_deinit(take_made);
    if (e != ERR_OK) {
        arena_deinit(&fresh);
        return e;
    }
    arena_deinit(&call->append.arena);
    call->append.arena = fresh;
    call->append.journal = (struct bytes){ 0 };
    return ERR_OK;
}

/* Both forms of the new bytes are not longer than the old: JSON spells out what protobuf numbers, and the
 * canonical form only leaves out and joins. So that much is reserved while they are made. */
static enum err convert_json(struct export_call *call, struct buffer *made, struct err_note *note)
{
    return otlp_json_read(call->append.signal, call->append.body, &call->collector->limits, made,
                          note);
}

static enum err rewrite(struct export_call *call, struct buffer *made, struct err_note *note)
{
    (void)note;
    metric_add(counted(call)->requests_rewritten, 1);
    return otlp_rewrite(call->append.signal, call->append.body, &call->collector->limits,
                        call->append.arrival_unix_ns, made);
}

static enum err remake(struct export_call *call, struct err_note *note,
                       enum err (*make)(struct export_call *call, struct buffer *made,
                                        struct err_note *note))
{
    struct budget *budget = call->append.arena.budget;
    size_t reserved = call->append.body.len;
    struct buffer made;
    if (budget != NULL && !budget_reserve(budget, reserved))
        return ERR_BUDGET;
    buffer_init(&made, call->collector->request_bytes_max + REWRITE_SLACK);
    enum err e = make(call, &made, note);
    if (e == ERR_OK)
        e = replace_body(call, &made);
    else
        buffer_deinit(&made);
    if (budget != NULL)
        budget_release(budget, reserved);
    return e;
}

/* A defect put in on purpose: the first request of each signal meets an overloaded server. */
static bool refuses_first(const struct export_call *call)
{
    static _Atomic bool has_refused[SIGNAL_COUNT];
    return defect_is("refuse-first") && !atomic_exchange(&has_refused[call->append.signal], true);
}

static void take_request(struct export_call *call, const struct request *r, enum encoding encoding)
{
    struct append *a = &call->append;
    a->body = r->body;
    a->arrival_unix_ns = clock_unix_ns();
    a->request_hash = request_hash(call->collector, r, a->signal, encoding);
    if (encoding == ENCODING_PROTOBUF &&
        (r->received_codec == CODEC_GZIP || r->received_codec == CODEC_ZSTD)) {
        a->journal = r->received;
        a->journal_codec = r->received_codec;
    }
    a->on_done = on_appended;
    a->context = call;
    call->deadline_mono_ns = r->deadline_mono_ns;
    exchange_take_arena(call->x, &a->arena);
}

static void check_and_append(struct export_call *call, enum encoding encoding)
{
    struct append *a = &call->append;
    struct err_note note = { 0 };
    enum err e = ERR_OK;
    const char *form = "protobuf";
    if (encoding == ENCODING_JSON) {
        e = remake(call, &note, convert_json);
        if (e != ERR_OK)
            form = "JSON";
        else
            form = "JSON (as protobuf)";
    }
    if (e == ERR_OK)
        e = otlp_check(a->signal, a->body, &call->collector->limits, a->arrival_unix_ns,
                       &call->report, &note);
    if (e == ERR_INVALID || e == ERR_TOO_DEEP || e == ERR_TOO_MANY) {
        refuse_noted(call, e, &note, form);
        return;
    }
    a->items = call->report.items - call->report.items_rejected;
    if (a->items != 0) {
        a->start_min_unix_ns = call->report.start_min_unix_ns;
        a->start_max_unix_ns = call->report.start_max_unix_ns;
    }
    if (e == ERR_OK && a->items != 0 && call->report.needs_rewrite)
        e = remake(call, &note, rewrite);

    if (e != ERR_OK)
        refuse_plain(call, e);
    else if (clock_mono_ns() >= call->deadline_mono_ns)
        refuse_plain(call, ERR_DEADLINE);
    else if (refuses_first(call))
        refuse_plain(call, ERR_BUSY);
    else if (a->items == 0)
        accept(call); /* nothing to keep: an empty request, or every item was rejected */
    else
        engine_append(call->collector->engine, a);
}

void export_handle(struct exchange *x, void *context)
{
    const struct export_route *route = context;
    struct collector *c = route->collector;
    const struct request *r = exchange_request(x);
    enum transport transport = r->protocol == PROTOCOL_GRPC ? TRANSPORT_GRPC : TRANSPORT_HTTP;
    enum encoding encoding = transport == TRANSPORT_GRPC ? ENCODING_PROTOBUF : answer_encoding(r);
    struct export_metrics *m = &c->counted[route->signal];
    metric_add(m->requests[transport][encoding], 1);
    metric_add(m->received_bytes[r->received_codec], r->received.len);
    metric_add(m->decoded_bytes, r->body.len);

    struct export_call *call = mem_zalloc(sizeof *call);
    if (call == NULL) {
        metric_add(m->refused[transport][ERR_NOMEM], 1);
        answer_refusal(x, ERR_NOMEM, bytes_text(err_text(ERR_NOMEM)));
        return;
    }
    call->x = x;
    call->collector = c;
    call->transport = transport;
    call->append.signal = route->signal;
    call->arrived_mono_ns = clock_mono_ns();
    pthread_mutex_lock(&c->lock);
    c->calls++;
    metric_set(c->in_flight, c->calls);
    pthread_mutex_unlock(&c->lock);

    take_request(call, r, encoding);
    check_and_append(call, encoding);
}
