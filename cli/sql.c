/* SPDX-License-Identifier: Apache-2.0 */
/* `spindle sql`: a question in SQL, asked of a running server over HTTP, or of a data directory that no server has
 * open. */
#include "base/budget.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/sql_print.h"
#include "net/client.h"
#include "proto/json_reader.h"
#include "storage/sqlite/sqlite_engine.h"

#include <stdlib.h>
#include <unistd.h>

#define OPTIONS_BYTES_MAX (4 * OPTIONS_FILE_MAX)
#define TOKEN_BYTES_MAX   4096
#define LINE_BYTES_MAX    ((size_t)256 << 20) /* of one row */
#define ANSWER_NS         (900 * NS_PER_S) /* the server's own limit on a slow reader comes before */
#define MEMORY_BYTES      ((size_t)512 << 20) /* of a question to a directory: half of it is SQLite's */
#define ENGINE_BYTES      ((size_t)256 << 20)
#define ROWS_MAX          INT64_MAX
#define NEVER_NS          (10000ull * 3600 * NS_PER_S)

/* clang-format off: one row an option */
#define SQL_OPTIONS(X)                                                                             \
    X(TEXT, url, "url", "http://127.0.0.1:16686", "URL",                                           \
      "The server to ask: its address for people.")                                                \
    X(TEXT, data, "data", NULL, "DIR",                                                             \
      "Ask this data directory instead. No server may have it open. What is stored stays as it "   \
      "is; what a killed server had begun to remove is not shown, and its next start goes on.")    \
    X(TEXT, token_file, "token-file", NULL, "FILE",                                                \
      "A file with the bearer token for reading, where the server wants one.")                     \
    X(CHOICE, format, "format", "table", "table|csv|json",                                         \
      "How rows are printed; json is one object a line.")                                          \
    X(COUNT, limit, "limit", "10000", "N", "Print at most so many rows.", "1..")                   \
    X(DURATION, timeout, "timeout", NULL, "DURATION",                                              \
      "Give up sooner than the server would; of a data directory: by default, never.", "1ms..")
/* clang-format on */

struct sql_options {
    SQL_OPTIONS(OPTION_MEMBER)
};

#define ROW(...) OPTION_ROW(sql_options, __VA_ARGS__)
static const struct option rows[] = { SQL_OPTIONS(ROW) };
static const struct option_table table = {
    .command = "sql",
    .summary = "Ask in SQL: spindle sql [options] 'SELECT ...', or the statement on standard "
               "input. Tables: spans, "
               "logs, span_events, span_links, resources; docs/API.md has their columns.",
    .rows = rows,
    .count = sizeof rows / sizeof rows[0],
};

struct asking {
    const struct sql_options *options;
    struct bytes query;
    struct sql_print print;
};

/* ---- What went wrong ---- */

/* The line of the statement that is wrong, with a mark below. */
static void show_place(struct bytes query, size_t offset)
{
    size_t begin = offset < query.len ? offset : query.len, end = begin;
    unsigned column = 0;
    while (begin > 0 && query.data[begin - 1] != '\n')
        begin--;
    while (end < query.len && query.data[end] != '\n')
        end++;
    if (end - begin > 200)
        return;
    fprintf(stderr, "  %.*s\n  ", (int)(end - begin), (const char *)query.data + begin);
    for (size_t i = begin; i < offset && i < end; i++)
        column += (query.data[i] & 0xC0) != 0x80;
    for (unsigned i = 0; i < column; i++)
        fputc(' ', stderr);
    fputs("^\n", stderr);
}

static int failed(const char *what)
{
    fprintf(stderr, "spindle sql: %s\n", what);
    return EXIT_STATUS_FAILED;
}

static int printed(enum err e)
{
    return e == ERR_OK ? EXIT_STATUS_OK
                       : failed(e == ERR_IO ? "cannot write the answer" : err_text(e));
}

static void say_truncated(const struct asking *a)
{
    fprintf(stderr, "spindle sql: only the first %llu rows are shown; --limit allows more\n",
            (unsigned long long)a->print.rows);
}

/* ---- A data directory ---- */

static int ask_engine(struct asking *a, struct engine *engine)
{
    struct arena arena;
    struct budget budget;
    struct sql_result result;
    budget_init(&budget, MEMORY_BYTES, NULL);
    arena_init(&arena, MEMORY_BYTES, &budget);
    uint64_t timeout = a->options->timeout;
    struct query_context q = { .deadline_mono_ns =
                                   timeout == 0 ? UINT64_MAX : clock_mono_ns() + timeout,
                               .arena = &arena };
    struct sql_question question = { .engine = engine,
                                     .text = a->query,
                                     .rows_max = a->options->limit };
    struct sql_sink sink = { .context = &a->print,
                             .on_columns = sql_print_columns,
                             .on_row = sql_print_row };
    enum err e = sql_ask(&question, &q, &sink, &result);
    arena_deinit(&arena);
    int status;
    if (e == ERR_OK) {
        status = printed(sql_print_end(&a->print));
    } else {
        status = failed(result.text[0] != '\0' ? result.text : err_text(e));
        if (result.has_offset)
            show_place(a->query, result.offset);
    }
    if (result.outcome == SQL_TRUNCATED)
        say_truncated(a);
    if (!result.progress.is_complete)
        fputs("spindle sql: part of what was asked for is damaged and not in the answer\n", stderr);
    return status;
}

/* As the server opens it, but that nothing is built, merged, sealed or removed. */
static int ask_directory(struct asking *a)
{
    struct engine *engine = NULL;
    char *message = NULL;
    const struct sqlite_engine_options options = {
        .directory = a->options->data,
        .durability = DURABILITY_FSYNC,
        .memory_bytes = ENGINE_BYTES,
        .builder_rows = 1u << 20,
        .builder_age_ns = NEVER_NS,
        .partition_bytes_max = UINT64_MAX,
        .partition_age_ns = NEVER_NS,
        .maintain_interval_ns = NEVER_NS,
        .is_left_alone = true,
        .metrics = NULL,
    };
    char catalog[4096];
    (void)snprintf(catalog, sizeof catalog, "%s/catalog.db", a->options->data);
    if (access(catalog, F_OK) != 0) {
        fprintf(stderr, "spindle sql: %s is no data directory of spindle\n", a->options->data);
        return EXIT_STATUS_FAILED;
    }
    enum err e = sqlite_engine_open(&options, &engine, &message);
    if (e != ERR_OK) {
        int status = failed(message == NULL ? err_text(e) : message);
        if (e == ERR_LOCKED)
            fputs("spindle sql: a server has it open: ask it with --url\n", stderr);
        mem_free(message);
        return e == ERR_NEWER ? EXIT_STATUS_NEWER : status;
    }
    int status = ask_engine(a, engine);
    engine_close(engine);
    return status;
}

/* ---- A server: its answer, line by line ---- */

struct conversation {
    struct asking *asking;
    struct client *client;
    struct buffer line;
    unsigned lines;
    bool is_ended; /* the last line was there */
    bool is_truncated, is_incomplete;
    char problem[512];
    size_t offset; /* of the problem, where it has one */
    bool has_offset;
    enum err error; /* of printing */
};

static void keep_text(const struct json_token *t, char *out, size_t size)
{
    struct buffer text;
    buffer_init(&text, 64u << 10);
    json_token_unescape(t, &text);
    (void)snprintf(out, size, "%.*s", (int)text.len, text.len == 0 ? "" : (const char *)text.data);
    buffer_deinit(&text);
}

/* Members of an error, or of the last line, at any depth: their names are told apart. */
static void read_members(struct conversation *v, struct bytes json)
{
    struct json_reader r;
    struct json_token key = { 0 }, t;
    struct err_note note;
    json_reader_init(&r, json, 8);
    while (json_reader_next(&r, &t, &note) == ERR_OK && t.type != JSON_END) {
        if (t.type == JSON_KEY) {
            key = t;
            continue;
        }
        if (t.type == JSON_STRING && json_token_is(&key, "message"))
            keep_text(&t, v->problem, sizeof v->problem);
        else if (t.type == JSON_NUMBER && json_token_is(&key, "offset"))
            v->has_offset = true, v->offset = (size_t)strtoull((const char *)t.raw.data, NULL, 10);
        else if (t.type == JSON_TRUE && json_token_is(&key, "truncated"))
            v->is_truncated = true;
        else if (t.type == JSON_FALSE && json_token_is(&key, "complete"))
            v->is_incomplete = true;
    }
}

static enum err add_text(const struct json_token *t, struct buffer *texts, struct bytes *out)
{
    size_t mark = texts->len;
    json_token_unescape(t, texts);
    /* The buffer may move: the address is filled in when all texts are there. */
    *out = bytes_of(NULL, texts->len - mark);
    return buffer_error(texts);
}

static enum err read_columns(struct conversation *v, struct bytes line)
{
    struct sql_column columns[SQL_COLUMNS_MAX] = { 0 };
    struct json_reader r;
    struct json_token key = { 0 }, t;
    struct err_note note;
    struct buffer texts;
    size_t count = 0;
    enum err e = ERR_OK;
    buffer_init(&texts, LINE_BYTES_MAX);
    json_reader_init(&r, line, 8);
    while (e == ERR_OK && json_reader_next(&r, &t, &note) == ERR_OK && t.type != JSON_END) {
        if (t.type == JSON_KEY)
            key = t;
        else if (t.type == JSON_STRING && json_token_is(&key, "name") && count < SQL_COLUMNS_MAX)
            e = add_text(&t, &texts, &columns[count++].name);
    }
    for (size_t i = 0, at = 0; i < count; i++) {
        columns[i].name.data = texts.data + at;
        at += columns[i].name.len;
    }
    if (e == ERR_OK)
        e = sql_print_columns(&v->asking->print, columns, count);
    buffer_deinit(&texts);
    return e;
}

static enum err value_of(const struct json_token *t, struct buffer *texts, struct sql_value *out)
{
    *out = (struct sql_value){ .type = SQL_NULL };
    if (t->type == JSON_STRING) {
        out->type = SQL_TEXT;
        return add_text(t, texts, &out->bytes);
    }
    if (t->type == JSON_NUMBER) {
        bool is_whole = bytes_find(t->raw, '.') == SIZE_MAX &&
                        bytes_find(t->raw, 'e') == SIZE_MAX && bytes_find(t->raw, 'E') == SIZE_MAX;
        out->type = is_whole ? SQL_INTEGER : SQL_REAL;
        if (is_whole)
            out->integer = strtoll((const char *)t->raw.data, NULL, 10);
        else
            out->number = strtod((const char *)t->raw.data, NULL);
    }
    return ERR_OK;
}

static enum err read_row(struct conversation *v, struct bytes line)
{
    struct sql_value values[SQL_COLUMNS_MAX];
    struct json_reader r;
    struct json_token t;
    struct err_note note;
    struct buffer texts;
    size_t count = 0;
    if (line.len > 0 && line.data[line.len - 1] == ',')
        line.len--;
    buffer_init(&texts, LINE_BYTES_MAX);
    json_reader_init(&r, line, 4);
    enum err e = json_reader_next(&r, &t, &note);
    while (e == ERR_OK) {
        e = json_reader_next(&r, &t, &note);
        if (e != ERR_OK || t.type == JSON_ARRAY_END)
            break;
        if (count == v->asking->print.columns)
            e = ERR_INVALID;
        else
            e = value_of(&t, &texts, &values[count++]);
    }
    for (size_t i = 0, at = 0; e == ERR_OK && i < count; i++) {
        if (values[i].type != SQL_TEXT)
            continue;
        values[i].bytes.data = texts.data + at;
        at += values[i].bytes.len;
    }
    if (e == ERR_OK && count == v->asking->print.columns)
        e = sql_print_row(&v->asking->print, values, count);
    buffer_deinit(&texts);
    return e;
}

static void on_line(struct conversation *v, struct bytes line)
{
    struct buffer whole;
    if (v->error != ERR_OK)
        return;
    if (v->lines++ == 0) {
        buffer_init(&whole, line.len + 2);
        buffer_append_bytes(&whole, line);
        buffer_append_text(&whole, "]}");
        v->error = read_columns(v, buffer_bytes(&whole));
        buffer_deinit(&whole);
    } else if (line.len > 0 && line.data[0] == '[') {
        v->error = read_row(v, line);
    } else if (line.len > 1 && line.data[0] == ']') {
        buffer_init(&whole, line.len + 1);
        buffer_append_byte(&whole, '{');
        buffer_append_bytes(&whole, bytes_slice(line, 2, SIZE_MAX)); /* "]," */
        read_members(v, buffer_bytes(&whole));
        buffer_deinit(&whole);
        v->is_ended = true;
    }
}

static void on_piece(struct client_call *call, struct bytes piece)
{
    struct conversation *v = call->context;
    for (size_t end; (end = bytes_find(piece, '\n')) != SIZE_MAX;) {
        if (v->line.len == 0) {
            on_line(v, bytes_slice(piece, 0, end));
        } else {
            buffer_append_bytes(&v->line, bytes_slice(piece, 0, end));
            on_line(v, buffer_bytes(&v->line));
            buffer_reset(&v->line);
        }
        piece = bytes_slice(piece, end + 1, SIZE_MAX);
    }
    buffer_append_bytes(&v->line, piece);
    if (v->error == ERR_OK)
        v->error = buffer_error(&v->line);
    if (v->error != ERR_OK)
        client_stop(v->client);
}

static void on_done(struct client_call *call, const struct client_result *result)
{
    struct conversation *v = call->context;
    if (result->error != ERR_OK && v->problem[0] == '\0')
        (void)snprintf(v->problem, sizeof v->problem, "%s: %s", v->asking->options->url,
                       result->error == ERR_IO ? "no answer; is a server running there?"
                                               : err_text(result->error));
    else if (result->error == ERR_OK && result->http_status != 200) {
        (void)snprintf(v->problem, sizeof v->problem, "%s answered with status %u",
                       v->asking->options->url, result->http_status);
        read_members(v, result->body);
    } else if (result->error == ERR_OK && !v->is_ended) {
        (void)snprintf(v->problem, sizeof v->problem, "the answer ends in the middle");
    }
    client_stop(v->client);
}

static void write_question(const struct asking *a, struct buffer *out)
{
    struct json_writer j;
    char timeout[32];
    json_init(&j, out);
    json_object_begin(&j);
    json_key(&j, "query");
    json_string(&j, a->query);
    json_key(&j, "limit");
    json_u64(&j, a->options->limit);
    if (a->options->timeout != 0) {
        (void)snprintf(timeout, sizeof timeout, "%lluns", (unsigned long long)a->options->timeout);
        json_key(&j, "timeout");
        json_text(&j, timeout);
    }
    json_object_end(&j);
}

static int end_conversation(struct conversation *v)
{
    if (v->error != ERR_OK)
        return printed(v->error);
    int status = v->is_ended ? printed(sql_print_end(&v->asking->print)) : EXIT_STATUS_OK;
    if (v->problem[0] != '\0') {
        status = failed(v->problem);
        if (v->has_offset)
            show_place(v->asking->query, v->offset);
    } else if (v->is_truncated) {
        say_truncated(v->asking);
    }
    if (v->is_incomplete)
        fputs("spindle sql: part of what was asked for is damaged and not in the answer\n", stderr);
    return status;
}

static int ask_server(struct asking *a, const char *authorization)
{
    struct buffer body;
    struct conversation v = { .asking = a };
    struct client_call call = { .path = "/api/spindle/v1/sql",
                                .content_type = "application/json",
                                .on_done = on_done,
                                .on_piece = on_piece,
                                .context = &v };
    struct client_options options = { .endpoint = a->options->url,
                                      .protocol = CLIENT_HTTP1,
                                      .connections = 1,
                                      .in_flight_per_connection = 1,
                                      .timeout_ns = ANSWER_NS,
                                      .authorization = authorization };
    enum err e = client_open(&options, &v.client);
    if (e != ERR_OK) {
        fprintf(stderr, "spindle sql: --url %s: %s\n", a->options->url,
                e == ERR_UNSUPPORTED ? "https is not spoken here; ask with curl"
                                     : client_open_text(e));
        return EXIT_STATUS_USAGE;
    }
    buffer_init(&body, 16 * SQL_TEXT_MAX);
    buffer_init(&v.line, LINE_BYTES_MAX);
    write_question(a, &body);
    call.body = buffer_bytes(&body);
    client_send(v.client, &call);
    client_run(v.client, true, NS_PER_S, NULL, NULL);
    client_close(v.client);
    buffer_deinit(&v.line);
    buffer_deinit(&body);
    return end_conversation(&v);
}

/* ---- The command ---- */

/* The statement is the last argument, unless that is an option or an option's value. */
static const char *statement_of(int argc, char **argv)
{
    const char *last = argc > 1 ? argv[argc - 1] : NULL;
    if (last == NULL || last[0] == '-')
        return NULL;
    const char *before = argc > 2 ? argv[argc - 2] : "";
    bool is_value = strncmp(before, "--", 2) == 0 && strchr(before, '=') == NULL;
    return is_value ? NULL : last;
}

static enum err read_all(FILE *from, struct buffer *out)
{
    char piece[4096];
    for (size_t n; (n = fread(piece, 1, sizeof piece, from)) > 0;)
        buffer_append(out, piece, n);
    return ferror(from) ? ERR_IO : buffer_error(out);
}

static void trim_end(struct buffer *b)
{
    while (b->len > 0 && (b->data[b->len - 1] == '\n' || b->data[b->len - 1] == '\r' ||
                          b->data[b->len - 1] == ' '))
        b->len--;
}

static int read_token(const char *path, struct buffer *out)
{
    FILE *f = fopen(path, "re");
    buffer_append_text(out, "Bearer ");
    enum err e = f == NULL ? ERR_IO : read_all(f, out);
    if (f != NULL)
        (void)fclose(f);
    trim_end(out);
    buffer_append_byte(out, '\0');
    if (e == ERR_OK && buffer_error(out) == ERR_OK)
        return EXIT_STATUS_OK;
    fprintf(stderr, "spindle sql: cannot read the token in %s\n", path);
    return EXIT_STATUS_USAGE;
}

static int ask(struct asking *a, bool is_directory)
{
    struct buffer authorization;
    int status = EXIT_STATUS_OK;
    if (is_directory)
        return ask_directory(a);
    buffer_init(&authorization, TOKEN_BYTES_MAX);
    bool has_token = a->options->token_file != NULL;
    if (has_token)
        status = read_token(a->options->token_file, &authorization);
    if (status == EXIT_STATUS_OK)
        status = ask_server(a, has_token ? (const char *)authorization.data : NULL);
    buffer_deinit(&authorization);
    return status;
}

static int run(int argc, char **argv, struct arena *arena)
{
    struct sql_options options = { 0 };
    struct option_settings settings;
    char message[OPTIONS_MESSAGE_MAX];
    const char *statement = statement_of(argc, argv);
    struct asking a = { .options = &options };
    struct buffer text;
    if (options_read(&table, statement == NULL ? argc : argc - 1, argv, environ, arena, &options,
                     &settings, message) != ERR_OK) {
        fprintf(stderr, "spindle sql: %s\n", message);
        return EXIT_STATUS_USAGE;
    }
    buffer_init(&text, SQL_TEXT_MAX + 1);
    if (statement != NULL)
        buffer_append_text(&text, statement);
    else if (read_all(stdin, &text) == ERR_IO)
        return failed("cannot read the statement");
    int status;
    if (buffer_error(&text) != ERR_OK) {
        status = failed("the statement is too long");
    } else {
        a.query = buffer_bytes(&text);
        sql_print_init(&a.print, (enum sql_print_format)options.format, stdout);
        /* SPINDLE_DATA in the environment is the server's. */
        status = ask(&a, options.data != NULL && settings.of[1].origin == OPTION_FROM_FLAG);
        sql_print_deinit(&a.print);
    }
    buffer_deinit(&text);
    return status;
}

int sql_main(int argc, char **argv)
{
    if (options_ask_for_help(argc, argv)) {
        struct buffer help;
        buffer_init(&help, 64 * 1024);
        options_write_help(&table, &help);
        fwrite(help.data, 1, help.len, stdout);
        buffer_deinit(&help);
        return EXIT_STATUS_OK;
    }
    struct arena arena;
    arena_init(&arena, OPTIONS_BYTES_MAX, NULL);
    int status = run(argc, argv, &arena);
    arena_deinit(&arena);
    return status;
}
