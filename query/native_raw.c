/* SPDX-License-Identifier: Apache-2.0 */
/* A whole trace to keep, whatever its size. */
#include "query/download.h"
#include "query/native.h"

#include "proto/otlp_json.h"
#include "storage/otlp_row.h"

#include <stdio.h>

#define PIECE_BYTES ((size_t)256 << 10) /* of OTLP protobuf; as JSON some three times that */

struct raw {
    struct call *c;
    struct download download;
    struct otlp_group_writer w;
    struct buffer data; /* TracesData of the piece at hand */
    struct buffer urls; /* schema URLs of the open group, which outlive what the walk shows */
    struct buffer json;
    bool is_json, is_open; /* is_open: a group of this piece is */
    size_t items;
};

#define LIST_BEGIN "{\"resourceSpans\":["

/* The piece as part of one list: all of its JSON but the braces and the key. */
static enum err to_json(struct raw *r)
{
    struct json_writer j;
    size_t key = sizeof LIST_BEGIN - 1;
    buffer_reset(&r->json);
    json_init(&j, &r->json);
    otlp_json_write(SIGNAL_TRACES, buffer_bytes(&r->data), &j);
    enum err e = buffer_error(&r->json);
    if (e != ERR_OK)
        return e;
    bool is_first = r->download.x == NULL;
    if (!is_first)
        r->json.data[key - 1] = ','; /* in the place of '[' */
    r->json.len -= 2;                /* "]}" */
    return ERR_OK;
}

static struct bytes piece_of(const struct raw *r)
{
    bool is_first = r->download.x == NULL;
    if (!r->is_json)
        return buffer_bytes(&r->data);
    return is_first ? buffer_bytes(&r->json)
                    : bytes_slice(buffer_bytes(&r->json), sizeof LIST_BEGIN - 2, SIZE_MAX);
}

static void group_end(struct raw *r)
{
    otlp_group_writer_end(&r->w);
    otlp_group_writer_init(&r->w, &r->data);
    r->is_open = false;
}

static enum err flush(struct raw *r)
{
    group_end(r);
    enum err e = buffer_error(&r->data);
    if (e == ERR_OK && r->is_json)
        e = to_json(r);
    if (e != ERR_OK)
        return e;
    struct bytes piece = piece_of(r);
    if (r->download.x == NULL)
        download_begin(&r->download);
    e = download_write(&r->download, piece);
    buffer_reset(&r->data);
    return e;
}

static void group_begin(struct raw *r, struct otlp_group *group)
{
    if (r->is_open)
        group_end(r);
    size_t resource = group->resource_schema_url.len, scope = group->scope_schema_url.len;
    buffer_reset(&r->urls);
    buffer_append_bytes(&r->urls, group->resource_schema_url);
    buffer_append_bytes(&r->urls, group->scope_schema_url);
    group->resource_schema_url = bytes_slice(buffer_bytes(&r->urls), 0, resource);
    group->scope_schema_url = bytes_slice(buffer_bytes(&r->urls), resource, scope);
}

static enum err on_span(void *context, const struct otlp_items *at)
{
    struct raw *r = context;
    enum err e = r->data.len >= PIECE_BYTES ? flush(r) : ERR_OK;
    if (e != ERR_OK)
        return e;
    struct otlp_group group = otlp_group_of(at);
    bool is_new = !r->is_open || at->is_new_scope;
    if (is_new)
        group_begin(r, &group);
    otlp_group_writer_put(&r->w, &group, is_new, at->item);
    r->is_open = true;
    r->items++;
    e = buffer_error(&r->urls);
    return e != ERR_OK ? e : buffer_error(&r->data);
}

/* What has been sent cannot be taken back: JSON says why it ends, protobuf ends in the middle of a field, so that
 * nobody takes it for the whole. */
static void end_early(struct raw *r, enum err e)
{
    struct buffer end;
    buffer_init(&end, 128);
    if (r->is_json)
        buffer_printf(&end, "],\"spindle_incomplete\":\"%s\"}", call_error_code(e));
    else
        buffer_append_byte(&end, 0x0a);
    enum err unsent = download_write_last(&r->download, buffer_bytes(&end));
    (void)unsent; /* the reader may have left */
    buffer_deinit(&end);
}

/* All of it was one piece: an answer like others. */
static enum err answer_whole(struct raw *r)
{
    group_end(r);
    if (r->is_json)
        otlp_json_write(SIGNAL_TRACES, buffer_bytes(&r->data), &r->c->json);
    else
        buffer_append_bytes(&r->c->body, buffer_bytes(&r->data));
    return buffer_error(&r->data);
}

static enum err finish(struct raw *r, enum err e)
{
    bool is_damaged = e == ERR_CORRUPT && r->items > 0;
    if (r->download.x == NULL) {
        r->c->is_damaged = is_damaged;
        return e == ERR_OK || is_damaged ? answer_whole(r) : e;
    }
    enum err why = e;
    if (e == ERR_OK || is_damaged)
        e = r->data.len > 0 ? flush(r) : ERR_OK;
    if (e == ERR_OK && !is_damaged && r->is_json)
        e = download_write(&r->download, BYTES_LITERAL("]}"));
    else if (e != ERR_OK || is_damaged)
        end_early(r, e != ERR_OK ? e : why);
    return e;
}

static void name_file(struct call *c, const struct trace_id *id, bool is_json)
{
    (void)snprintf(c->disposition, sizeof c->disposition,
                   "attachment; filename=\"trace-%016llx%016llx.%s\"",
                   (unsigned long long)load_be64(id->b), (unsigned long long)load_be64(id->b + 8),
                   is_json ? "json" : "otlp");
}

enum err native_trace_raw(struct call *c)
{
    static const char *const known[] = { "format", NULL };
    static const char *const formats[] = { "otlp", "otlp-proto", NULL };
    struct trace_walk walk = { .signal = SIGNAL_TRACES };
    struct raw r = { .c = c };
    size_t format = 0;
    enum err e = parameters_check(c, known);
    if (e == ERR_OK)
        e = parameter_word(c, "format", formats, &format);
    if (e == ERR_OK)
        e = native_trace_id(c, &walk.trace_id);
    if (e != ERR_OK)
        return e;
    r.is_json = format == 0;
    name_file(c, &walk.trace_id, r.is_json);
    c->content_type = r.is_json ? "application/json" : "application/x-protobuf";
    download_init(&r.download, c);
    buffer_init_charged(&r.data, c->options->memory_bytes, &c->budget);
    buffer_init_charged(&r.urls, c->options->memory_bytes, &c->budget);
    buffer_init_charged(&r.json, c->options->memory_bytes, &c->budget);
    otlp_group_writer_init(&r.w, &r.data);
    e = finish(&r, engine_trace_walk(c->options->engine, &c->context, &walk, on_span, &r));
    buffer_deinit(&r.data);
    buffer_deinit(&r.urls);
    buffer_deinit(&r.json);
    download_deinit(&r.download);
    return e == ERR_NOT_FOUND ? call_fail(c, e, "id", "no such trace is stored") : e;
}
