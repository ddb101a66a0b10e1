/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/sql_print.h"

#include "base/text.h"

#define HELD_ROWS  200 /* whose widths a table's columns have */
#define HELD_BYTES ((size_t)64 << 20)
#define WIDTH_MAX  60 /* wider cells push what follows them to the right */
#define DATA_BYTES ((size_t)64 << 20)
#define FLUSH_AT   ((size_t)64 << 10)

void sql_print_init(struct sql_print *p, enum sql_print_format format, FILE *to)
{
    *p = (struct sql_print){ .format = format, .to = to };
    buffer_init(&p->data, DATA_BYTES);
    buffer_init(&p->names, DATA_BYTES);
    buffer_init(&p->cells, HELD_BYTES);
    rows_text_init(&p->text, format == SQL_PRINT_CSV ? ROWS_CSV : ROWS_LINES, &p->data);
}

void sql_print_deinit(struct sql_print *p)
{
    rows_text_deinit(&p->text);
    buffer_deinit(&p->data);
    buffer_deinit(&p->names);
    buffer_deinit(&p->cells);
}

static enum err flush(struct sql_print *p, bool is_last)
{
    enum err e = buffer_error(&p->data);
    if (e != ERR_OK || (!is_last && p->data.len < FLUSH_AT))
        return e;
    bool ok = fwrite(p->data.data, 1, p->data.len, p->to) == p->data.len;
    buffer_reset(&p->data);
    return ok && (!is_last || fflush(p->to) == 0) ? ERR_OK : ERR_IO;
}

/* ---- Cells of a table: text that moves no cursor, behind its length ---- */

/* C0, DEL and C1, which begins with 0xC2 0x80 in UTF-8. */
static void append_visible(struct buffer *out, struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t b = text.data[i];
        bool is_c1 = b == 0xC2 && i + 1 < text.len && text.data[i + 1] < 0xA0;
        if (b == '\n')
            buffer_append_text(out, "\\n");
        else if (b == '\t')
            buffer_append_text(out, "\\t");
        else if (b < 0x20 || b == 0x7F)
            buffer_printf(out, "\\x%02x", b);
        else if (is_c1)
            buffer_printf(out, "\\x%02x", text.data[++i]);
        else
            buffer_append_byte(out, b);
    }
}

static void append_value(struct buffer *out, const struct sql_value *v)
{
    struct json_writer j;
    struct buffer repaired;
    switch (v->type) {
    case SQL_NULL:
        break;
    case SQL_TEXT:
        buffer_init(&repaired, DATA_BYTES);
        text_utf8_repair(&repaired, v->bytes);
        append_visible(out, buffer_bytes(&repaired));
        buffer_deinit(&repaired);
        break;
    case SQL_INTEGER:
    case SQL_REAL:
    case SQL_BLOB:
        json_init(&j, out);
        rows_text_json_value(&j, v);
        break;
    }
}

static unsigned characters(struct bytes text)
{
    unsigned n = 0;
    for (size_t i = 0; i < text.len; i++)
        n += (text.data[i] & 0xC0) != 0x80;
    return n;
}

/* Append one cell, and note how wide it is. */
static void put_cell(struct sql_print *p, struct buffer *to, size_t column,
                     const struct sql_value *v)
{
    uint8_t len[4] = { 0 };
    size_t mark = to->len;
    buffer_append(to, len, sizeof len);
    append_value(to, v);
    if (buffer_error(to) != ERR_OK)
        return;
    struct bytes text = bytes_slice(buffer_bytes(to), mark + sizeof len, SIZE_MAX);
    store_le32(to->data + mark, (uint32_t)text.len);
    unsigned width = characters(text);
    if (!p->has_widths && width > p->widths[column])
        p->widths[column] = width < WIDTH_MAX ? width : WIDTH_MAX;
}

static void pad(struct buffer *out, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        buffer_append_byte(out, ' ');
}

static void print_cells(struct sql_print *p, struct bytes cells)
{
    for (size_t i = 0; i < p->columns; i++) {
        size_t len = load_le32(cells.data);
        struct bytes text = bytes_slice(cells, 4, len);
        unsigned width = characters(text);
        unsigned room = width < p->widths[i] ? p->widths[i] - width : 0;
        if (i > 0)
            buffer_append_text(&p->data, "  ");
        if (p->is_right[i])
            pad(&p->data, room);
        buffer_append_bytes(&p->data, text);
        if (!p->is_right[i] && i + 1 < p->columns)
            pad(&p->data, room);
        cells = bytes_slice(cells, 4 + len, SIZE_MAX);
    }
    buffer_append_byte(&p->data, '\n');
}

static size_t row_bytes(const struct sql_print *p, struct bytes cells)
{
    size_t at = 0;
    for (size_t i = 0; i < p->columns; i++)
        at += 4 + load_le32(cells.data + at);
    return at;
}

/* The head of the table, and the rows held so far. */
static enum err print_held(struct sql_print *p)
{
    struct bytes cells = buffer_bytes(&p->cells);
    enum err e = buffer_error(&p->cells);
    if (e == ERR_OK)
        e = buffer_error(&p->names);
    if (e != ERR_OK)
        return e;
    if (!p->has_widths) {
        p->has_widths = true;
        print_cells(p, buffer_bytes(&p->names));
        for (size_t i = 0; i < p->columns; i++) {
            if (i > 0)
                buffer_append_text(&p->data, "  ");
            for (unsigned n = 0; n < p->widths[i]; n++)
                buffer_append_byte(&p->data, '-');
        }
        buffer_append_byte(&p->data, '\n');
    }
    for (; p->rows_held > 0 && e == ERR_OK; p->rows_held--) {
        size_t bytes = row_bytes(p, cells);
        print_cells(p, bytes_slice(cells, 0, bytes));
        cells = bytes_slice(cells, bytes, SIZE_MAX);
        e = flush(p, false);
    }
    buffer_reset(&p->cells);
    return e;
}

/* ---- The sink ---- */

enum err sql_print_columns(void *context, const struct sql_column *columns, size_t count)
{
    struct sql_print *p = context;
    p->columns = count;
    if (p->format != SQL_PRINT_TABLE)
        return rows_text_columns(&p->text, columns, count);
    for (size_t i = 0; i < count; i++)
        put_cell(p, &p->names, i,
                 &(struct sql_value){ .type = SQL_TEXT, .bytes = columns[i].name });
    return buffer_error(&p->names);
}

enum err sql_print_row(void *context, const struct sql_value *values, size_t count)
{
    struct sql_print *p = context;
    p->rows++;
    if (p->format != SQL_PRINT_TABLE) {
        rows_text_row(&p->text, values);
        return flush(p, false);
    }
    for (size_t i = 0; i < count; i++) {
        if (p->rows == 1)
            p->is_right[i] = values[i].type == SQL_INTEGER || values[i].type == SQL_REAL;
        put_cell(p, &p->cells, i, &values[i]);
    }
    p->rows_held++;
    bool is_full = p->rows >= HELD_ROWS || p->cells.len >= HELD_BYTES / 2;
    return is_full ? print_held(p) : buffer_error(&p->cells);
}

enum err sql_print_end(struct sql_print *p)
{
    enum err e = ERR_OK;
    if (p->format == SQL_PRINT_TABLE)
        e = print_held(p);
    else
        rows_text_end(&p->text);
    return e == ERR_OK ? flush(p, true) : e;
}
