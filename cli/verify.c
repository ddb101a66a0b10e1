/* SPDX-License-Identifier: Apache-2.0 */
/* `spindle verify`: what is wrong in a data directory, and where. */
#include "cli/commands.h"
#include "cli/options.h"
#include "storage/sqlite/sqlite_engine.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define OPTIONS_BYTES_MAX (4 * OPTIONS_FILE_MAX)

/* clang-format off: one row an option */
#define VERIFY_OPTIONS(X)                                                                          \
    X(TEXT, data, "data", "./spindle-data", "DIR",                                                 \
      "The directory to check. No server may have it open.")
/* clang-format on */

struct verify_options {
    VERIFY_OPTIONS(OPTION_MEMBER)
};

#define ROW(...) OPTION_ROW(verify_options, __VA_ARGS__)
static const struct option rows[] = { VERIFY_OPTIONS(ROW) };
static const struct option_table table = {
    .command = "verify",
    .summary =
        "Check every file of a data directory. Exit status 0: all is well; 1: something is not.",
    .rows = rows,
    .count = sizeof rows / sizeof rows[0],
};

static void on_finding(void *context, const char *file, const char *what)
{
    size_t *count = context;
    ++*count;
    printf("%s: %s\n", file, what);
}

static int verify(const char *directory)
{
    size_t findings = 0;
    DIR *there = opendir(directory);
    if (there == NULL) {
        fprintf(stderr, "spindle verify: %s: %s\n", directory, strerror(errno));
        return EXIT_STATUS_FAILED;
    }
    (void)closedir(there);
    enum err e = sqlite_engine_verify(directory, on_finding, &findings);
    if (e == ERR_OK) {
        printf("%s: all is well\n", directory);
        return EXIT_STATUS_OK;
    }
    if (e == ERR_CORRUPT)
        printf("%s: %zu finding%s\n", directory, findings, findings == 1 ? "" : "s");
    else
        fprintf(stderr, "spindle verify: %s: %s\n", directory, err_text(e));
    return e == ERR_NEWER ? EXIT_STATUS_NEWER : EXIT_STATUS_FAILED;
}

int verify_main(int argc, char **argv)
{
    struct verify_options options = { 0 };
    struct option_settings settings;
    char message[OPTIONS_MESSAGE_MAX];
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
    int status = EXIT_STATUS_USAGE;
    if (options_read(&table, argc, argv, environ, &arena, &options, &settings, message) != ERR_OK)
        fprintf(stderr, "spindle verify: %s\n", message);
    else
        status = verify(options.data);
    arena_deinit(&arena);
    return status;
}
