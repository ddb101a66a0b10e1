/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file: one YAML mapping of option keys to scalars. libyaml's events carry their
 * marks, so each complaint names its line. Anchors and aliases are refused: nothing here needs
 * them, and they are how a small YAML file becomes a large one. */
#include "cli/options_private.h"

#include <stdio.h>
#include <yaml.h>

struct reading {
    const struct option_table *table;
    const char *file;
    struct arena *arena;
    struct option_settings *settings;
    char *message;
    yaml_parser_t parser;
    yaml_event_t event; /* the last one read; always initialised */
};

static unsigned line_of(const struct reading *r)
{
    return (unsigned)r->event.start_mark.line + 1;
}

static enum err complain(struct reading *r, const char *what)
{
    snprintf(r->message, OPTIONS_MESSAGE_MAX, "%.200s:%u: %s", r->file, line_of(r), what);
    return ERR_INVALID;
}

static enum err next(struct reading *r)
{
    yaml_event_delete(&r->event);
    if (yaml_parser_parse(&r->parser, &r->event) != 0)
        return ERR_OK;
    snprintf(r->message, OPTIONS_MESSAGE_MAX, "%.200s:%zu: %.200s", r->file,
             r->parser.problem_mark.line + 1,
             r->parser.problem == NULL ? "not YAML" : r->parser.problem);
    return r->parser.error == YAML_MEMORY_ERROR ? ERR_NOMEM : ERR_INVALID;
}

static enum err next_is(struct reading *r, yaml_event_type_t type, const char *what)
{
    enum err e = next(r);
    if (e == ERR_OK && r->event.type != type)
        e = complain(r, what);
    return e;
}

static struct bytes scalar(const struct reading *r)
{
    return bytes_of(r->event.data.scalar.value, r->event.data.scalar.length);
}

/* A plain scalar that YAML reads as null, or nothing at all. */
static bool is_null(const struct reading *r)
{
    struct bytes s = scalar(r);
    return r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (s.len == 0 || bytes_equal_text(s, "~") || bytes_equal_text(s, "null"));
}

static enum err read_key(struct reading *r, size_t *out_row)
{
    if (r->event.type != YAML_SCALAR_EVENT)
        return complain(r, "expected an option's name");
    struct bytes key = scalar(r);
    char name[OPTION_NAME_MAX], what[OPTIONS_MESSAGE_MAX / 2], suggestion[2 * OPTION_NAME_MAX];
    snprintf(name, sizeof name, "%.*s", (int)(key.len < 60 ? key.len : 60), (const char *)key.data);

    size_t row = options_find(r->table, key, '_');
    if (row == SIZE_MAX) {
        options_suggest(r->table, name, "", '_', suggestion, sizeof suggestion);
        snprintf(what, sizeof what, "unknown key '%s'%s", name, suggestion);
        return complain(r, what);
    }
    if (bytes_equal_text(key, "config"))
        return complain(r, "a configuration file cannot name another");
    if (r->settings->of[row].origin == OPTION_FROM_FILE) {
        snprintf(what, sizeof what, "'%s' is set a second time; the first is in line %u", name,
                 r->settings->of[row].line);
        return complain(r, what);
    }
    *out_row = row;
    return ERR_OK;
}

/* A scalar, or a sequence of scalars. Each is checked here, where its line is known. */
static enum err read_list(struct reading *r, size_t row)
{
    char what[OPTIONS_MESSAGE_MAX / 2], key[OPTION_NAME_MAX];
    options_key(r->table->rows[row].name, key);
    bool is_sequence = r->event.type == YAML_SEQUENCE_START_EVENT;
    struct option_setting *setting = &r->settings->of[row];
    *setting = (struct option_setting){ .origin = OPTION_FROM_FILE, .line = line_of(r) };
    enum err e = is_sequence ? next(r) : ERR_OK;
    while (e == ERR_OK && r->event.type != YAML_SEQUENCE_END_EVENT) {
        if (r->event.type != YAML_SCALAR_EVENT || is_null(r) || scalar(r).len == 0 ||
            memchr(scalar(r).data, '\0', scalar(r).len) != NULL ||
            memchr(scalar(r).data, '\n', scalar(r).len) != NULL ||
            scalar(r).len >= OPTION_ITEM_MAX) {
            snprintf(what, sizeof what, "'%s' needs a list of single lines: %s", key,
                     r->table->rows[row].argument);
            return complain(r, what);
        }
        const char *item = arena_text(r->arena, scalar(r));
        setting->text = item == NULL ? NULL : options_item_add(r->arena, setting->text, item);
        if (setting->text == NULL)
            return arena_failure(r->arena);
        const char *problem = options_item_problem(r->table, row, item);
        if (problem != NULL) {
            snprintf(what, sizeof what, "%.50s: '%.90s': %.90s", key, item, problem);
            return complain(r, what);
        }
        if (!is_sequence)
            break;
        e = next(r);
    }
    return e;
}

static enum err read_value(struct reading *r, size_t row)
{
    if (r->table->rows[row].type == OPTION_LIST)
        return read_list(r, row);
    char what[OPTIONS_MESSAGE_MAX / 2], key[OPTION_NAME_MAX];
    options_key(r->table->rows[row].name, key);
    if (r->event.type != YAML_SCALAR_EVENT || is_null(r) ||
        memchr(scalar(r).data, '\0', scalar(r).len) != NULL) {
        snprintf(what, sizeof what, "'%s' needs one value: %s", key, r->table->rows[row].argument);
        return complain(r, what);
    }
    char *text = arena_text(r->arena, scalar(r));
    if (text == NULL)
        return arena_failure(r->arena);
    r->settings->of[row] =
        (struct option_setting){ .text = text, .origin = OPTION_FROM_FILE, .line = line_of(r) };
    return ERR_OK;
}

static enum err read_mapping(struct reading *r)
{
    for (;;) {
        size_t row = SIZE_MAX;
        enum err e = next(r);
        if (e != ERR_OK || r->event.type == YAML_MAPPING_END_EVENT)
            return e;
        e = read_key(r, &row);
        if (e == ERR_OK)
            e = next(r);
        if (e == ERR_OK)
            e = read_value(r, row);
        if (e != ERR_OK)
            return e;
    }
}

static enum err read_stream(struct reading *r)
{
    static const char want_mapping[] = "expected lines of 'key: value'";
    enum err e = next_is(r, YAML_STREAM_START_EVENT, "expected YAML");
    if (e == ERR_OK)
        e = next(r);
    if (e != ERR_OK || r->event.type == YAML_STREAM_END_EVENT)
        return e; /* an empty file, or only comments */
    e = next(r);  /* the document has started */
    if (e == ERR_OK && r->event.type == YAML_SCALAR_EVENT && is_null(r))
        e = next(r); /* "---" and nothing else */
    else if (e == ERR_OK && r->event.type != YAML_MAPPING_START_EVENT)
        e = complain(r, want_mapping);
    else if (e == ERR_OK)
        e = read_mapping(r);
    if (e == ERR_OK && r->event.type == YAML_MAPPING_END_EVENT)
        e = next_is(r, YAML_DOCUMENT_END_EVENT, want_mapping);
    if (e == ERR_OK)
        e = next_is(r, YAML_STREAM_END_EVENT, "expected one YAML document, not several");
    return e;
}

enum err options_read_file_text(const struct option_table *table, const char *file,
                                struct bytes text, struct arena *arena,
                                struct option_settings *settings, char message[OPTIONS_MESSAGE_MAX])
{
    struct reading r = {
        .table = table, .file = file, .arena = arena, .settings = settings, .message = message
    };
    if (yaml_parser_initialize(&r.parser) == 0) {
        snprintf(message, OPTIONS_MESSAGE_MAX, "%.200s: %s", file, err_text(ERR_NOMEM));
        return ERR_NOMEM;
    }
    yaml_parser_set_input_string(&r.parser, text.data, text.len);
    enum err e = read_stream(&r);
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    return e;
}
