/* SPDX-License-Identifier: Apache-2.0 */
/* `spindle backup` and `spindle restore`: a data directory becomes files with a manifest, and back. */
#include "storage/sqlite/backup.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/options.h"

#include <stdio.h>
#include <unistd.h>

#define OPTIONS_BYTES_MAX (4 * OPTIONS_FILE_MAX)

/* clang-format off: one row an option */
#define BACKUP_OPTIONS(X)                                                                          \
    X(TEXT, data, "data", "./spindle-data", "DIR",                                                 \
      "The data directory to copy. A server may run on it, and goes on.")                          \
    X(TEXT, to, "to", NULL, "DIR",                                                                 \
      "Where the copy goes: a directory that does not exist yet, or is empty. A backup is "        \
      "finished "                                                                                  \
      "when it holds a file named manifest.")
#define RESTORE_OPTIONS(X)                                                                         \
    X(TEXT, from, "from", NULL, "DIR",                                                             \
      "The backup. Each of its files is checked against the manifest before anything is written.") \
    X(TEXT, data, "data", "./spindle-data", "DIR",                                                 \
      "The data directory to make: one that does not exist yet, or is empty.")
/* clang-format on */

struct backup_options {
    BACKUP_OPTIONS(OPTION_MEMBER)
};
struct restore_options {
    RESTORE_OPTIONS(OPTION_MEMBER)
};

#define BACKUP_ROW(...)  OPTION_ROW(backup_options, __VA_ARGS__)
#define RESTORE_ROW(...) OPTION_ROW(restore_options, __VA_ARGS__)
static const struct option backup_rows[] = { BACKUP_OPTIONS(BACKUP_ROW) };
static const struct option restore_rows[] = { RESTORE_OPTIONS(RESTORE_ROW) };
static const struct option_table backup_table = {
    .command = "backup",
    .summary = "Copy a data directory while a server runs on it, or none does. Everything that was "
               "acknowledged before the backup began is in it.",
    .rows = backup_rows,
    .count = sizeof backup_rows / sizeof backup_rows[0],
};
static const struct option_table restore_table = {
    .command = "restore",
    .summary = "Make a data directory out of a backup.",
    .rows = restore_rows,
    .count = sizeof restore_rows / sizeof restore_rows[0],
};

static void on_file(void *context, const char *name, uint64_t bytes)
{
    (void)context;
    printf("%s: %llu bytes\n", name, (unsigned long long)bytes);
    (void)fflush(stdout);
}

/* Say what became of it. */
static int end(const char *command, const char *to, enum err e, const struct backup_result *result,
               char *take_message)
{
    if (e != ERR_OK) {
        fprintf(stderr, "spindle %s: %s\n", command,
                take_message == NULL ? err_text(e) : take_message);
        mem_free(take_message);
        return e == ERR_NEWER ? EXIT_STATUS_NEWER : EXIT_STATUS_FAILED;
    }
    if (result->expired > 0)
        printf("%llu partition%s expired meanwhile and not in it\n",
               (unsigned long long)result->expired, result->expired == 1 ? " is" : "s are");
    printf("%s: %llu partitions, %llu files, %llu bytes\n", to,
           (unsigned long long)result->partitions, (unsigned long long)result->files,
           (unsigned long long)result->bytes);
    return EXIT_STATUS_OK;
}

static int print_help(const struct option_table *table)
{
    struct buffer help;
    buffer_init(&help, 64 * 1024);
    options_write_help(table, &help);
    fwrite(help.data, 1, help.len, stdout);
    buffer_deinit(&help);
    return EXIT_STATUS_OK;
}

static int missing(const char *command, const char *option)
{
    fprintf(stderr, "spindle %s: say --%s DIR\n", command, option);
    return EXIT_STATUS_USAGE;
}

int backup_main(int argc, char **argv)
{
    struct backup_options options = { 0 };
    struct option_settings settings;
    char message[OPTIONS_MESSAGE_MAX];
    if (options_ask_for_help(argc, argv))
        return print_help(&backup_table);
    struct arena arena;
    arena_init(&arena, OPTIONS_BYTES_MAX, NULL);
    int status = EXIT_STATUS_USAGE;
    if (options_read(&backup_table, argc, argv, environ, &arena, &options, &settings, message) !=
        ERR_OK) {
        fprintf(stderr, "spindle backup: %s\n", message);
    } else if (options.to == NULL) {
        status = missing("backup", "to");
    } else {
        struct backup_result result = { 0 };
        char *why = NULL;
        enum err e = sqlite_backup(options.data, options.to, on_file, NULL, &result, &why);
        status = end("backup", options.to, e, &result, why);
    }
    arena_deinit(&arena);
    return status;
}

int restore_main(int argc, char **argv)
{
    struct restore_options options = { 0 };
    struct option_settings settings;
    char message[OPTIONS_MESSAGE_MAX];
    if (options_ask_for_help(argc, argv))
        return print_help(&restore_table);
    struct arena arena;
    arena_init(&arena, OPTIONS_BYTES_MAX, NULL);
    int status = EXIT_STATUS_USAGE;
    if (options_read(&restore_table, argc, argv, environ, &arena, &options, &settings, message) !=
        ERR_OK) {
        fprintf(stderr, "spindle restore: %s\n", message);
    } else if (options.from == NULL) {
        status = missing("restore", "from");
    } else {
        struct backup_result result = { 0 };
        char *why = NULL;
        enum err e = sqlite_restore(options.from, options.data, on_file, NULL, &result, &why);
        status = end("restore", options.data, e, &result, why);
    }
    arena_deinit(&arena);
    return status;
}
