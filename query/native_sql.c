/* SPDX-License-Identifier: Apache-2.0 */
/* POST /api/spindle/v1/sql: a question in SQL, its answer in pieces at the pace of its reader. */
#include "query/download.h"
#include "query/native.h"
#include "query/sql_body.h"

#include "sql/rows_text.h"

#include <stdio.h>

#define PIECE_BYTES  ((size_t)64 << 10)
#define ROWS_DEFAULT 10000
#define ROWS_MOST    10000000
#define READING_MOST                                                                               \
    (600 * NS_PER_S) /* that a slow reader may take, besides the time of the query */

struct answer {
    struct call *c;
    struct download download;
    struct rows_text text;
    struct buffer data;
};

static enum err write_piece(struct answer *a, bool is_last)
{
    if (a->download.x == NULL)
        download_begin(&a->download);
    enum err e = is_last ? download_write_last(&a->download, buffer_bytes(&a->data))
                         : download_write(&a->download, buffer_bytes(&a->data));
    buffer_reset(&a->data);
    return e;
}

static enum err on_columns(void *context, const struct sql_column *columns, size_t count)
{
    struct answer *a = context;
    return rows_text_columns(&a->text, columns, count);
}

static enum err on_row(void *context, const struct sql_value *values, size_t count)
{
    struct answer *a = context;
    (void)count;
    rows_text_row(&a->text, values);
    enum err e = buffer_error(&a->data);
    return e == ERR_OK && a->data.len >= PIECE_BYTES ? write_piece(a, false) : e;
}

/* ---- Its end ---- */

static void write_statistics(struct answer *a, const struct sql_result *r)
{
    struct json_writer j;
    json_init(&j, &a->data);
    buffer_printf(&a->data, ",\"truncated\":%s,\"complete\":%s,\"scanned\":",
                  r->outcome == SQL_ANSWERED ? "false" : "true",
                  r->progress.is_complete ? "true" : "false");
    json_object_begin(&j);
    native_write_count(&j, "groups", r->progress.scanned_groups);
    native_write_count(&j, "bytes", r->progress.scanned_bytes);
    native_write_count(&j, "rows", r->progress.scanned_rows);
    json_object_end(&j);
    uint64_t took_us = (clock_mono_ns() - a->c->received_mono_ns) / NS_PER_US;
    buffer_printf(&a->data, ",\"took_ms\":%llu.%03u", (unsigned long long)(took_us / 1000),
                  (unsigned)(took_us % 1000));
}

static const char *words_of(const struct sql_result *r, enum err e)
{
    return r->text[0] != '\0' ? r->text : err_text(e);
}

/* What was sent cannot be taken back: the answer says why it ends here. */
static void write_stop(struct answer *a, const struct sql_result *r, enum err e)
{
    struct json_writer j;
    if (a->text.format == ROWS_CSV) {
        buffer_printf(&a->data, "# stopped: %s\n", words_of(r, e));
        return;
    }
    buffer_append_text(&a->data, a->text.format == ROWS_JSON ? ",\"error\":" : "{\"error\":");
    json_init(&j, &a->data);
    json_object_begin(&j);
    json_key(&j, "code");
    json_text(&j, call_error_code(e));
    json_key(&j, "message");
    json_text(&j, words_of(r, e));
    json_object_end(&j);
    if (a->text.format == ROWS_LINES)
        buffer_append_text(&a->data, "}\n");
}

static enum err finish(struct answer *a, const struct sql_result *r, enum err e)
{
    bool is_sent = a->download.x != NULL;
    if (e != ERR_OK && !is_sent)
        return e;
    rows_text_end(&a->text);
    if (a->text.format == ROWS_JSON)
        write_statistics(a, r);
    if (e != ERR_OK)
        write_stop(a, r, e);
    if (a->text.format == ROWS_JSON)
        buffer_append_text(&a->data, "}\n");
    enum err end = buffer_error(&a->data);
    if (end == ERR_OK && is_sent)
        end = write_piece(a, true);
    else if (end == ERR_OK)
        buffer_append_bytes(&a->c->body, buffer_bytes(&a->data));
    return e != ERR_OK ? e : end;
}

static void count(const struct call *c, const struct sql_result *r)
{
    char label[64];
    (void)snprintf(label, sizeof label, "outcome=\"%s\"", sql_outcome_word(r->outcome));
    metric_add(metrics_counter(c->options->metrics, "spindle_sql_queries_total", label,
                               "Questions in SQL, by what they ended with."),
               1);
    metric_add(metrics_counter(c->options->metrics, "spindle_sql_rows_total", NULL,
                               "Rows of answers in SQL."),
               r->rows);
}

/* Line and column of an offset, from 1, as other answers have it. */
static void place(struct call *c, struct bytes text, size_t offset)
{
    c->error.has_position = true;
    c->error.offset = offset;
    c->error.line = 1;
    c->error.column = 1;
    for (size_t i = 0; i < offset && i < text.len; i++) {
        bool is_end = text.data[i] == '\n';
        c->error.line += is_end;
        c->error.column = is_end ? 1 : c->error.column + 1;
    }
}

static enum err say(struct call *c, const struct sql_question *question, const struct sql_result *r,
                    enum err e)
{
    if (e == ERR_OK || r->text[0] == '\0')
        return e;
    if (r->has_offset)
        place(c, question->text, r->offset);
    return call_fail(c, e, NULL, "%s", r->text);
}

enum err native_sql(struct call *c)
{
    static const char *const types[] = { "application/json", "application/x-ndjson", "text/csv" };
    struct sql_body body = { .rows_max = ROWS_DEFAULT, .rows_most = ROWS_MOST };
    struct answer a = { .c = c };
    struct sql_sink sink = { .context = &a, .on_columns = on_columns, .on_row = on_row };
    struct sql_result result;
    enum err e = sql_body_read(c, &body);
    if (e != ERR_OK)
        return e;
    struct sql_question question = { .engine = c->options->engine,
                                     .text = body.query,
                                     .parameters = body.parameters,
                                     .parameters_count = body.parameters_count,
                                     .rows_max = body.rows_max };
    c->content_type = types[body.format];
    download_init(&a.download, c);
    a.download.patience_ns = READING_MOST;
    buffer_init_charged(&a.data, c->options->memory_bytes, &c->budget);
    rows_text_init(&a.text, body.format, &a.data);
    e = sql_ask(&question, &c->context, &sink, &result);
    count(c, &result);
    e = say(c, &question, &result, finish(&a, &result, e));
    rows_text_deinit(&a.text);
    buffer_deinit(&a.data);
    download_deinit(&a.download);
    return e;
}
