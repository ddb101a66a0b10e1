/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/options_private.h"

#include "base/json_writer.h"

#define HELP_INDENT 8
#define HELP_WIDTH  96

/* Words of `text`, wrapped and indented. */
static void write_wrapped(const char *text, struct buffer *out)
{
    size_t column = 0;
    for (const char *at = text; *at != '\0';) {
        size_t len = strcspn(at, " ");
        if (column != 0 && column + 1 + len > HELP_WIDTH - HELP_INDENT) {
            buffer_append_byte(out, '\n');
            column = 0;
        }
        if (column == 0)
            buffer_printf(out, "%*s", HELP_INDENT, "");
        else
            buffer_append_byte(out, ' ');
        column += len + (column != 0);
        buffer_append(out, at, len);
        at += len;
        at += strspn(at, " ");
    }
    buffer_append_byte(out, '\n');
}

/* "  (default 10s; from 1ms to 1d)" */
static void write_bounds(const struct option *o, struct buffer *out)
{
    bool has_default = o->initial != NULL && o->type != OPTION_FLAG;
    char range[OPTION_RANGE_MAX];
    if (!has_default && o->range == NULL)
        return;
    buffer_append_text(out, "  (");
    if (has_default)
        buffer_printf(out, "default %s", o->initial);
    if (o->range != NULL) {
        options_range_words(o, range);
        buffer_printf(out, "%s%s", has_default ? "; " : "", range);
    }
    buffer_append_byte(out, ')');
}

void options_write_help(const struct option_table *table, struct buffer *out)
{
    buffer_printf(out, "Usage: spindle %s [options]\n\n%s\n\n", table->command, table->summary);
    buffer_append_text(out, "Each option is also an environment variable (--memory-limit is "
                            "SPINDLE_MEMORY_LIMIT)");
    if (options_find(table, BYTES_LITERAL("config"), '-') != SIZE_MAX)
        buffer_append_text(out, "\nand a key of the configuration file (memory_limit). A flag wins "
                                "over the environment,\nthe environment over the file, the file "
                                "over the default.\n\n");
    else
        buffer_append_text(out, ". A flag wins over the environment,\nthe environment over the "
                                "default.\n\n");
    for (size_t i = 0; i < table->count; i++) {
        const struct option *o = &table->rows[i];
        buffer_printf(out, "  --%s", o->name);
        if (o->type != OPTION_FLAG)
            buffer_printf(out, " %s", o->argument);
        write_bounds(o, out);
        buffer_append_byte(out, '\n');
        write_wrapped(o->help, out);
    }
}

/* As a YAML sequence, which JSON's arrays of strings are. */
static void write_list(const char *text, struct buffer *out)
{
    struct json_writer w;
    json_init(&w, out);
    json_array_begin(&w);
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        if (len > 0)
            json_string(&w, bytes_of(text, len));
        text += len + (text[len] != '\0');
    }
    json_array_end(&w);
}

static void write_value(const struct option *option, const char *text, struct buffer *out)
{
    switch (option->type) {
    case OPTION_LIST:
        write_list(text, out);
        return;
    case OPTION_FLAG:
    case OPTION_COUNT:
        buffer_append_text(out, text);
        return;
    case OPTION_SECRET:
        buffer_append_text(out, "\"***\"");
        return;
    case OPTION_TEXT:
    case OPTION_SIZE:
    case OPTION_DURATION:
    case OPTION_CHOICE: {
        /* A JSON string is a YAML double-quoted scalar. */
        struct json_writer w;
        json_init(&w, out);
        json_text(&w, text);
        return;
    }
    }
}

void options_write_config(const struct option_table *table, const struct option_settings *settings,
                          struct buffer *out)
{
    static const char *const origins[] = { [OPTION_FROM_DEFAULT] = "default",
                                           [OPTION_FROM_FILE] = "file",
                                           [OPTION_FROM_ENVIRONMENT] = "environment",
                                           [OPTION_FROM_FLAG] = "flag" };
    for (size_t i = 0; i < table->count; i++) {
        const struct option *option = &table->rows[i];
        const struct option_setting *setting = &settings->of[i];
        char key[OPTION_NAME_MAX];
        options_key(option->name, key);
        if (strcmp(key, "config") == 0 || strcmp(key, "print_config") == 0)
            continue; /* about the printing, not about the server */
        if (setting->text == NULL) {
            buffer_printf(out, "# %s: (not set)\n", key);
            continue;
        }
        buffer_printf(out, "%s: ", key);
        write_value(option, setting->text, out);
        buffer_printf(out, " # %s\n", origins[setting->origin]);
    }
}
