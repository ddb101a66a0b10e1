/* SPDX-License-Identifier: Apache-2.0 */
/* options.h - what a command can be told, from one table.
 *
 * Role       each option is one row: a long flag (--memory-limit 512MiB or
 *            --memory-limit=512MiB), an environment variable (SPINDLE_MEMORY_LIMIT), a key of the
 *            configuration file (memory_limit), its type, its default and its help. The table
 *            makes the struct of values, the parser, the help and --print-config, so that they
 *            cannot disagree. Precedence: flag, environment, file, default. An empty environment
 *            variable counts as not set; variables that no row names are left alone, because
 *            orchestrators set SPINDLE_... for reasons of their own.
 * Ownership  texts in the values borrow from argv, the environment, the table or the arena given.
 * Threads    one, at the start.
 * Errors     ERR_INVALID with a sentence for people; ERR_IO when the file cannot be read;
 *            ERR_NOMEM. */
#ifndef SPINDLE_CLI_OPTIONS_H
#define SPINDLE_CLI_OPTIONS_H

#include "base/arena.h"
#include "base/buffer.h"

#include <stdio.h>

/* The types of options and of the members they fill. */
#define OPTION_TYPE_LIST(X)                                                                        \
    X(TEXT, const char *)   /* NULL when not set */                                                \
    X(SECRET, const char *) /* likewise; printed as *** */                                         \
    X(FLAG, bool)           /* --name, or --name=false */                                          \
    X(COUNT, uint64_t)      /* digits */                                                           \
    X(SIZE, uint64_t)       /* bytes: 64MiB */                                                     \
    X(DURATION, uint64_t)   /* nanoseconds: 1m30s */                                               \
    X(CHOICE, unsigned)     /* number of the word in `argument`: "fsync|process" */                \
    X(LIST, const char *)   /* the items, one a line; NULL when not set. The flag may be repeated, \
                               the file has a sequence or one item, the variable a line for each */

enum option_type {
#define X(name, member) OPTION_##name,
    OPTION_TYPE_LIST(X)
#undef X
};

#define OPTION_MEMBER_TEXT     const char *
#define OPTION_MEMBER_SECRET   const char *
#define OPTION_MEMBER_FLAG     bool
#define OPTION_MEMBER_COUNT    uint64_t
#define OPTION_MEMBER_SIZE     uint64_t
#define OPTION_MEMBER_DURATION uint64_t
#define OPTION_MEMBER_CHOICE   unsigned
#define OPTION_MEMBER_LIST     const char *

struct option {
    const char *name; /* "memory-limit" */
    enum option_type type;
    size_t offset;        /* of the member in the command's struct */
    const char *initial;  /* the default as it would be typed; NULL: none */
    const char *argument; /* "SIZE" in the help; of a CHOICE its words, separated by '|' */
    const char *help;     /* sentences; wrapped when printed */
    /* Of a number, the least and the greatest as they would be typed: "1..64", "1KiB.." for no greatest,
     * "0|1m.." where 0 has a meaning of its own. NULL: any. Printed in the help. */
    const char *range;
};

/* A command writes its list once:
 *
 *     #define SERVE_OPTIONS(X) X(TEXT, data, "data", "./spindle-data", "DIR", "Keep ... in DIR.") ...
 *     struct serve_options { SERVE_OPTIONS(OPTION_MEMBER) };
 *     #define ROW(...) OPTION_ROW(serve_options, __VA_ARGS__)
 *     static const struct option rows[] = { SERVE_OPTIONS(ROW) };
 */
#define OPTION_MEMBER(kind, member, ...) OPTION_MEMBER_##kind member;
#define OPTION_ROW(tag, kind, member, name_, initial_, argument_, ...)                             \
    { .name = (name_),                                                                             \
      .type = OPTION_##kind,                                                                       \
      .offset = offsetof(struct tag, member),                                                      \
      .initial = (initial_),                                                                       \
      .argument = (argument_),                                                                     \
      .help = __VA_ARGS__ }, /* the help, and the range behind it if there is one */

struct option_table {
    const char *command; /* "serve" */
    const char *summary; /* what the command does, for its help */
    const struct option *rows;
    size_t count; /* at most OPTIONS_MAX */
    /* Whether an item of a LIST is well formed: NULL, or what is wrong with it, as static text. NULL: all are. */
    const char *(*check_item)(const struct option *row, const char *item);
};

#define OPTIONS_MAX         64
#define OPTIONS_MESSAGE_MAX 512
#define OPTIONS_FILE_MAX    (256 * 1024) /* a configuration file has some fifty lines */

/* Where each option's value came from, for --print-config. */
enum option_origin {
    OPTION_FROM_DEFAULT,
    OPTION_FROM_FILE,
    OPTION_FROM_ENVIRONMENT,
    OPTION_FROM_FLAG
};
struct option_setting {
    const char *text; /* as it was typed; NULL: not set */
    enum option_origin origin;
    unsigned line; /* in the file, from 1 */
};
struct option_settings {
    struct option_setting of[OPTIONS_MAX]; /* by row */
};

/* A line to `to` for each variable SPINDLE_... that is no option of this command: a misspelt one would otherwise
 * be passed over in silence. The value is not printed. */
void options_warn_unknown(const struct option_table *table, char *const *environment, FILE *to);

/* Fill `values` (the command's struct, zeroed by the caller: an option without a value leaves its member
 * as it is) from argv[1..argc), the environment, and the file that the option "config" names, where the
 * table has one.
 *
 *   environment  "NAME=value" entries, NULL at the end, as environ
 *   arena        holds the file's texts
 *   message      on failure a sentence that names the flag, the variable, or the file and its line */
NODISCARD enum err options_read(const struct option_table *table, int argc, char **argv,
                                char *const *environment, struct arena *arena, void *values,
                                struct option_settings *out_settings,
                                char message[OPTIONS_MESSAGE_MAX]);

/* Apply the text of a configuration file to the settings; `file` names it in messages. Pure. */
NODISCARD enum err options_read_file_text(const struct option_table *table, const char *file,
                                          struct bytes text, struct arena *arena,
                                          struct option_settings *settings,
                                          char message[OPTIONS_MESSAGE_MAX]);

/* True when argv[1..argc) asks for --help or -h. */
bool options_ask_for_help(int argc, char **argv);
/* The command's help: its flags, in the order of the table, with defaults. */
void options_write_help(const struct option_table *table, struct buffer *out);
/* The effective configuration as a YAML file that reads back as the same; secrets masked. */
void options_write_config(const struct option_table *table, const struct option_settings *settings,
                          struct buffer *out);

/* The name nearest to what was typed, if any is near enough to suggest; NULL otherwise. */
const char *options_nearest(const char *typed, const char *const *names, size_t count);

#endif
