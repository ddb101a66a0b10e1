/* SPDX-License-Identifier: Apache-2.0 */
#include "sql/rows_text.h"

#include "base/text.h"

#define NAMES_BYTES_MAX ((size_t)SQL_COLUMNS_MAX * SQL_TEXT_MAX)

void rows_text_init(struct rows_text *t, enum rows_format format, struct buffer *out)
{
    *t = (struct rows_text){ .format = format, .out = out };
    buffer_init(&t->names, NAMES_BYTES_MAX);
}

void rows_text_deinit(struct rows_text *t)
{
    buffer_deinit(&t->names);
}

enum err rows_text_columns(struct rows_text *t, const struct sql_column *columns, size_t count)
{
    buffer_reset(&t->names);
    for (size_t i = 0; i < count; i++)
        buffer_append_bytes(&t->names, columns[i].name);
    enum err e = buffer_error(&t->names);
    if (e != ERR_OK)
        return e;
    for (size_t i = 0, at = 0; i < count; at += columns[i++].name.len) {
        t->columns[i] = columns[i];
        t->columns[i].name = bytes_slice(buffer_bytes(&t->names), at, columns[i].name.len);
    }
    t->columns_count = count;
    return ERR_OK;
}

void rows_text_json_value(struct json_writer *j, const struct sql_value *v)
{
    switch (v->type) {
    case SQL_NULL:
        json_null(j);
        break;
    case SQL_INTEGER:
        json_i64(j, v->integer);
        break;
    case SQL_REAL:
        json_double(j, v->number);
        break;
    case SQL_TEXT:
        json_string(j, v->bytes);
        break;
    case SQL_BLOB:
        json_hex(j, v->bytes);
        break;
    }
}

/* ---- JSON ---- */

static void json_begin(struct rows_text *t, const struct sql_value *first)
{
    struct json_writer j;
    json_init(&j, t->out);
    buffer_append_text(t->out, "{\"columns\":");
    json_array_begin(&j);
    for (size_t i = 0; i < t->columns_count; i++) {
        enum sql_type type = t->columns[i].type;
        if (type == SQL_NULL && first != NULL)
            type = first[i].type;
        json_object_begin(&j);
        json_key(&j, "name");
        json_string(&j, t->columns[i].name);
        json_key(&j, "type");
        json_text(&j, sql_type_word(type));
        json_object_end(&j);
    }
    json_array_end(&j);
    buffer_append_text(t->out, ",\"rows\":[");
}

static void json_row(struct rows_text *t, const struct sql_value *values)
{
    struct json_writer j;
    buffer_append_text(t->out, t->rows == 0 ? "\n" : ",\n");
    json_init(&j, t->out);
    json_array_begin(&j);
    for (size_t i = 0; i < t->columns_count; i++)
        rows_text_json_value(&j, &values[i]);
    json_array_end(&j);
}

static void line_row(struct rows_text *t, const struct sql_value *values)
{
    struct json_writer j;
    json_init(&j, t->out);
    json_object_begin(&j);
    for (size_t i = 0; i < t->columns_count; i++) {
        json_key_bytes(&j, t->columns[i].name);
        rows_text_json_value(&j, &values[i]);
    }
    json_object_end(&j);
    buffer_append_byte(t->out, '\n');
}

/* ---- CSV ---- */

static void csv_text(struct buffer *out, struct bytes text)
{
    bool is_plain = bytes_find(text, ',') == SIZE_MAX && bytes_find(text, '"') == SIZE_MAX &&
                    bytes_find(text, '\n') == SIZE_MAX && bytes_find(text, '\r') == SIZE_MAX;
    if (is_plain) {
        text_utf8_repair(out, text);
        return;
    }
    buffer_append_byte(out, '"');
    for (size_t quote; (quote = bytes_find(text, '"')) != SIZE_MAX;) {
        text_utf8_repair(out, bytes_slice(text, 0, quote));
        buffer_append_text(out, "\"\"");
        text = bytes_slice(text, quote + 1, SIZE_MAX);
    }
    text_utf8_repair(out, text);
    buffer_append_byte(out, '"');
}

static void csv_value(struct buffer *out, const struct sql_value *v)
{
    struct json_writer j;
    switch (v->type) {
    case SQL_NULL:
        break;
    case SQL_INTEGER:
        buffer_append_i64(out, v->integer);
        break;
    case SQL_TEXT:
        csv_text(out, v->bytes);
        break;
    case SQL_REAL:
    case SQL_BLOB:
        json_init(&j, out);
        rows_text_json_value(&j, v);
        break;
    }
}

static void csv_begin(struct rows_text *t)
{
    for (size_t i = 0; i < t->columns_count; i++) {
        if (i > 0)
            buffer_append_byte(t->out, ',');
        csv_text(t->out, t->columns[i].name);
    }
    buffer_append_byte(t->out, '\n');
}

static void csv_row(struct rows_text *t, const struct sql_value *values)
{
    for (size_t i = 0; i < t->columns_count; i++) {
        if (i > 0)
            buffer_append_byte(t->out, ',');
        csv_value(t->out, &values[i]);
    }
    buffer_append_byte(t->out, '\n');
}

/* ---- Any ---- */

static void begin(struct rows_text *t, const struct sql_value *first)
{
    if (t->is_begun)
        return;
    t->is_begun = true;
    if (t->format == ROWS_JSON)
        json_begin(t, first);
    else if (t->format == ROWS_CSV)
        csv_begin(t);
}

void rows_text_row(struct rows_text *t, const struct sql_value *values)
{
    begin(t, values);
    if (t->format == ROWS_JSON)
        json_row(t, values);
    else if (t->format == ROWS_LINES)
        line_row(t, values);
    else
        csv_row(t, values);
    t->rows++;
}

void rows_text_end(struct rows_text *t)
{
    begin(t, NULL);
    if (t->format == ROWS_JSON)
        buffer_append_text(t->out, "\n]");
}
