/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/options_private.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAIL(message, ...) (snprintf((message), OPTIONS_MESSAGE_MAX, __VA_ARGS__), ERR_INVALID)

size_t options_find(const struct option_table *table, struct bytes name, char dash)
{
    for (size_t i = 0; i < table->count; i++) {
        const char *row = table->rows[i].name;
        if (strlen(row) != name.len)
            continue;
        size_t at = 0;
        while (at < name.len && (row[at] == '-' ? dash : row[at]) == (char)name.data[at])
            at++;
        if (at == name.len)
            return i;
    }
    return SIZE_MAX;
}

void options_key(const char *name, char out[OPTION_NAME_MAX])
{
    size_t i = 0;
    for (; name[i] != '\0' && i + 1 < OPTION_NAME_MAX; i++)
        out[i] = name[i] == '-' ? '_' : name[i];
    out[i] = '\0';
}

static void variable_name(const char *name, char out[OPTION_NAME_MAX])
{
    static const char prefix[] = "SPINDLE_";
    char *at = out;
    for (const char *c = prefix; *c != '\0'; c++)
        *at++ = *c;
    for (const char *c = name; *c != '\0' && at < out + OPTION_NAME_MAX - 1; c++)
        *at++ = *c == '-' ? '_' : (*c >= 'a' && *c <= 'z') ? (char)(*c - 'a' + 'A') : *c;
    *at = '\0';
}

/* Levenshtein distance over at most OPTION_NAME_MAX characters, one row at a time. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t a_len = strlen(a), b_len = strlen(b);
    if (a_len >= OPTION_NAME_MAX || b_len >= OPTION_NAME_MAX)
        return SIZE_MAX;
    size_t row[OPTION_NAME_MAX];
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[b_len];
}

const char *options_nearest(const char *typed, const char *const *names, size_t count)
{
    const char *nearest = NULL;
    size_t typed_len = strlen(typed), best = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        /* What was typed as the beginning of one name is nearer than any spelling mistake. */
        size_t distance = typed_len >= 3 && strncmp(typed, names[i], typed_len) == 0
                              ? 0
                              : edit_distance(typed, names[i]);
        if (distance < best) {
            best = distance;
            nearest = names[i];
        }
    }
    /* One slip in three letters is a slip; more is another word. */
    return nearest != NULL && best <= (typed_len + 2) / 3 ? nearest : NULL;
}

void options_suggest(const struct option_table *table, const char *typed, const char *before,
                     char dash, char *out, size_t out_bytes)
{
    static_assert(OPTIONS_MAX * OPTION_NAME_MAX <= 8192, "the spellings fit a small stack frame");
    char spelled[OPTIONS_MAX][OPTION_NAME_MAX];
    const char *names[OPTIONS_MAX];
    assert(table->count <= OPTIONS_MAX);
    for (size_t i = 0; i < table->count; i++) {
        if (dash == '_')
            options_key(table->rows[i].name, spelled[i]);
        names[i] = dash == '_' ? spelled[i] : table->rows[i].name;
    }
    const char *nearest = options_nearest(typed, names, table->count);
    if (nearest == NULL)
        out[0] = '\0';
    else
        snprintf(out, out_bytes, "; did you mean %s%s?", before, nearest);
}

int options_choice(const char *choices, const char *word)
{
    size_t word_len = strlen(word);
    int number = 0;
    for (const char *at = choices;; number++) {
        size_t len = strcspn(at, "|");
        if (len == word_len && memcmp(at, word, len) == 0)
            return number;
        if (at[len] == '\0')
            return -1;
        at += len + 1;
    }
}

static bool parse_flag(const char *text, bool *out)
{
    static const char *const yes[] = { "true", "yes", "on", "1" };
    static const char *const no[] = { "false", "no", "off", "0" };
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
            *out = strcmp(text, yes[i]) == 0;
            return true;
        }
    }
    return false;
}

/* Set the member from the text; on failure what it should have looked like, else NULL. */
static const char *convert(const struct option *option, const char *text, void *values)
{
    void *member = (char *)values + option->offset;
    switch (option->type) {
    case OPTION_TEXT:
    case OPTION_SECRET:
    case OPTION_LIST:
        *(const char **)member = text;
        return NULL;
    case OPTION_FLAG:
        return parse_flag(text, member) ? NULL : "true or false";
    case OPTION_COUNT:
        return options_number(option->type, text, member) ? NULL : "a whole number";
    case OPTION_SIZE:
        return options_number(option->type, text, member) ? NULL : "a size such as 512MiB";
    case OPTION_DURATION:
        return options_number(option->type, text, member) ? NULL : "a duration such as 1m30s";
    case OPTION_CHOICE: {
        int number = options_choice(option->argument, text);
        if (number < 0)
            return option->argument;
        *(unsigned *)member = (unsigned)number;
        return NULL;
    }
    }
    return "a value";
}

const char *options_item_problem(const struct option_table *table, size_t row, const char *item)
{
    if (table->check_item == NULL || item[strspn(item, " \t")] == '\0')
        return NULL;
    return table->check_item(&table->rows[row], item);
}

/* Of what did not come from a file, where each item has been looked at with its line. */
static enum err check_items(const struct option_table *table, size_t row, const char *place,
                            const char *text, char *message)
{
    while (*text != '\0') {
        char item[OPTION_ITEM_MAX];
        size_t len = strcspn(text, "\n");
        if (len >= sizeof item)
            return FAIL(message, "%s: an item is longer than %zu bytes", place, sizeof item - 1);
        memcpy(item, text, len);
        item[len] = '\0';
        const char *what = options_item_problem(table, row, item);
        if (what != NULL)
            return FAIL(message, "%s: '%.200s': %s", place, item, what);
        text += len + (text[len] != '\0');
    }
    return ERR_OK;
}

/* What a message calls the place where a value came from. */
static void describe(const struct option *option, const struct option_setting *setting,
                     const char *file, char *out, size_t out_bytes)
{
    char name[OPTION_NAME_MAX];
    switch (setting->origin) {
    case OPTION_FROM_FILE:
        options_key(option->name, name);
        snprintf(out, out_bytes, "%s:%u: %s", file, setting->line, name);
        return;
    case OPTION_FROM_ENVIRONMENT:
        variable_name(option->name, name);
        snprintf(out, out_bytes, "%s", name);
        return;
    case OPTION_FROM_DEFAULT:
    case OPTION_FROM_FLAG:
        snprintf(out, out_bytes, "--%s", option->name);
        return;
    }
}

static enum err convert_all(const struct option_table *table, const char *file, void *values,
                            const struct option_settings *settings, char *message)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct option *option = &table->rows[i];
        const struct option_setting *setting = &settings->of[i];
        if (setting->text == NULL)
            continue; /* the member stays zero: not set */
        const char *wanted = convert(option, setting->text, values);
        char place[OPTIONS_MESSAGE_MAX / 2];
        describe(option, setting, file, place, sizeof place);
        if (option->type == OPTION_LIST && setting->origin != OPTION_FROM_FILE) {
            enum err e = check_items(table, i, place, setting->text, message);
            if (e != ERR_OK)
                return e;
        }
        char range[OPTION_RANGE_MAX];
        if (wanted == NULL && options_is_number(option->type) &&
            !options_in_range(option, *(uint64_t *)((char *)values + option->offset))) {
            options_range_words(option, range);
            wanted = range;
        }
        if (wanted == NULL)
            continue;
        return FAIL(message, "%s: '%.100s' is not %s%s", place, setting->text,
                    option->type == OPTION_CHOICE ? "one of " : "", wanted);
    }
    return ERR_OK;
}

const char *options_item_add(struct arena *arena, const char *list, const char *item)
{
    size_t list_len = list == NULL ? 0 : strlen(list) + 1, len = strlen(item);
    char *joined = (char *)arena_alloc_bytes(arena, list_len + len + 1);
    if (joined == NULL)
        return NULL;
    if (list_len > 0) {
        memcpy(joined, list, list_len - 1);
        joined[list_len - 1] = '\n';
    }
    memcpy(joined + list_len, item, len + 1);
    return joined;
}

static enum err read_flags(const struct option_table *table, int argc, char **argv,
                           struct arena *arena, struct option_settings *settings, char *message)
{
    for (int i = 1; i < argc; i++) {
        const char *typed = argv[i];
        if (strncmp(typed, "--", 2) != 0 || typed[2] == '\0')
            return FAIL(message, "'%.100s' is not an option of spindle %s; options begin with --",
                        typed, table->command);
        const char *equals = strchr(typed, '=');
        size_t name_len = equals == NULL ? strlen(typed + 2) : (size_t)(equals - (typed + 2));
        size_t row = options_find(table, bytes_of(typed + 2, name_len), '-');
        if (row == SIZE_MAX) {
            char name[OPTION_NAME_MAX], suggestion[2 * OPTION_NAME_MAX];
            snprintf(name, sizeof name, "%.*s", (int)(name_len < 60 ? name_len : 60), typed + 2);
            options_suggest(table, name, "--", '-', suggestion, sizeof suggestion);
            return FAIL(message, "--%s is not an option of spindle %s%s", name, table->command,
                        suggestion);
        }
        struct option_setting setting = { .origin = OPTION_FROM_FLAG };
        if (equals != NULL)
            setting.text = equals + 1;
        else if (table->rows[row].type == OPTION_FLAG)
            setting.text = "true";
        else if (i + 1 < argc)
            setting.text = argv[++i];
        else
            return FAIL(message, "--%s needs a value: --%s %s", table->rows[row].name,
                        table->rows[row].name, table->rows[row].argument);
        if (table->rows[row].type == OPTION_LIST) {
            const struct option_setting *before = &settings->of[row];
            setting.text = options_item_add(
                arena, before->origin == OPTION_FROM_FLAG ? before->text : NULL, setting.text);
            if (setting.text == NULL)
                return arena_failure(arena);
        }
        settings->of[row] = setting;
    }
    return ERR_OK;
}

static void read_environment(const struct option_table *table, char *const *environment,
                             struct option_settings *settings)
{
    for (size_t row = 0; row < table->count; row++) {
        char name[OPTION_NAME_MAX];
        variable_name(table->rows[row].name, name);
        size_t name_len = strlen(name);
        for (char *const *entry = environment; entry != NULL && *entry != NULL; entry++) {
            if (strncmp(*entry, name, name_len) != 0 || (*entry)[name_len] != '=' ||
                (*entry)[name_len + 1] == '\0')
                continue;
            settings->of[row] = (struct option_setting){ .text = *entry + name_len + 1,
                                                         .origin = OPTION_FROM_ENVIRONMENT };
            break;
        }
    }
}

void options_warn_unknown(const struct option_table *table, char *const *environment, FILE *to)
{
    static const char prefix[] = "SPINDLE_";
    for (char *const *entry = environment; entry != NULL && *entry != NULL; entry++) {
        const char *name = *entry + sizeof prefix - 1;
        size_t len = strcspn(*entry, "=");
        if (strncmp(*entry, prefix, sizeof prefix - 1) != 0)
            continue;
        char plain[OPTION_NAME_MAX], suggestion[2 * OPTION_NAME_MAX] = "";
        size_t plain_len = len - (sizeof prefix - 1);
        bool fits = plain_len < sizeof plain;
        for (size_t i = 0; fits && i < plain_len; i++)
            plain[i] = name[i] == '_' ? '-' : (char)tolower((unsigned char)name[i]);
        if (fits) {
            plain[plain_len] = '\0';
            if (options_find(table, bytes_of(plain, plain_len), '-') != SIZE_MAX)
                continue;
            options_suggest(table, plain, "the option --", '-', suggestion, sizeof suggestion);
        }
        fprintf(to, "spindle %s: warning: the variable %.*s is not an option of this command%s\n",
                table->command, (int)(len < 100 ? len : 100), *entry, suggestion);
    }
}

static enum err file_load(const char *path, struct arena *arena, struct bytes *out_text,
                          char *message)
{
    enum err e = ERR_IO;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    uint8_t *text = NULL;
    size_t len = 0;
    if (fd >= 0) {
        text = arena_alloc_bytes(arena, OPTIONS_FILE_MAX + 1);
        e = text == NULL ? arena_failure(arena) : ERR_OK;
    }
    while (e == ERR_OK && len <= OPTIONS_FILE_MAX) {
        ssize_t n = read(fd, text + len, OPTIONS_FILE_MAX + 1 - len);
        if (n == 0)
            break;
        if (n > 0)
            len += (size_t)n;
        else if (errno != EINTR)
            e = ERR_IO;
    }
    if (e != ERR_OK)
        snprintf(message, OPTIONS_MESSAGE_MAX, "cannot read the configuration file %.200s: %s",
                 path, e == ERR_IO ? strerror(errno) : err_text(e));
    if (fd >= 0)
        close(fd);
    if (e == ERR_OK && len > OPTIONS_FILE_MAX)
        e = FAIL(message, "the configuration file %.200s is larger than %d bytes", path,
                 OPTIONS_FILE_MAX);
    if (e == ERR_OK)
        *out_text = bytes_of(text, len);
    return e;
}

enum err options_read(const struct option_table *table, int argc, char **argv,
                      char *const *environment, struct arena *arena, void *values,
                      struct option_settings *out_settings, char message[OPTIONS_MESSAGE_MAX])
{
    assert(table->count <= OPTIONS_MAX);
    struct option_settings settings = { 0 };
    struct option_settings outer = { 0 }; /* environment, then flags over it */
    for (size_t i = 0; i < table->count; i++)
        settings.of[i].text = table->rows[i].initial;

    read_environment(table, environment, &outer);
    enum err e = read_flags(table, argc, argv, arena, &outer, message);
    if (e != ERR_OK)
        return e;

    const char *file = NULL;
    size_t config = options_find(table, BYTES_LITERAL("config"), '-');
    if (config != SIZE_MAX)
        file = outer.of[config].text;
    if (file != NULL) {
        struct bytes text;
        e = file_load(file, arena, &text, message);
        if (e == ERR_OK)
            e = options_read_file_text(table, file, text, arena, &settings, message);
        if (e != ERR_OK)
            return e;
    }
    for (size_t i = 0; i < table->count; i++) {
        if (outer.of[i].text != NULL)
            settings.of[i] = outer.of[i];
    }
    e = convert_all(table, file, values, &settings, message);
    if (e == ERR_OK)
        *out_settings = settings;
    return e;
}

bool options_ask_for_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    }
    return false;
}
