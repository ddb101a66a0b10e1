/* SPDX-License-Identifier: Apache-2.0 */
/* The program: finds the sub-command and calls it. */
#include "cli/commands.h"
#include "cli/options.h"

#include <stdio.h>
#include <string.h>

struct command {
    const char *name, *summary;
    int (*main)(int argc, char **argv);
};

#define X(command_name, command_summary)                                                           \
    { .name = #command_name, .summary = command_summary, .main = command_name##_main },
static const struct command commands[] = { COMMAND_LIST(X) };
#undef X
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

static int unknown(const char *name)
{
    const char *names[COMMAND_COUNT];
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        names[i] = commands[i].name;
    const char *nearest = options_nearest(name, names, COMMAND_COUNT);
    fprintf(stderr, "spindle: '%.100s' is not a command%s%s%s; 'spindle help' lists them\n", name,
            nearest == NULL ? "" : "; did you mean '", nearest == NULL ? "" : nearest,
            nearest == NULL ? "" : "'?");
    return EXIT_STATUS_USAGE;
}

static void print_commands(FILE *to)
{
    fputs("Spindle receives OpenTelemetry traces and logs, keeps them, and answers questions.\n\n"
          "Usage: spindle COMMAND [options]\n\n",
          to);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(to, "  %-9s %s\n", commands[i].name, commands[i].summary);
    fputs("\n'spindle help COMMAND' describes a command's options.\n", to);
}

int version_main(int argc, char **argv)
{
    if (argc > 1) {
        fprintf(stderr, "spindle version: takes no options; '%.100s' is one too many\n", argv[1]);
        return EXIT_STATUS_USAGE;
    }
    puts("spindle " SPINDLE_VERSION);
    return EXIT_STATUS_OK;
}

int help_main(int argc, char **argv)
{
    if (argc < 2 || find(argv[1]) == NULL || find(argv[1])->main == help_main) {
        if (argc >= 2 && find(argv[1]) == NULL)
            return unknown(argv[1]);
        print_commands(stdout);
        return EXIT_STATUS_OK;
    }
    char ask[] = "--help";
    char *arguments[] = { argv[1], ask, NULL };
    return find(argv[1])->main(2, arguments);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_commands(stderr);
        return EXIT_STATUS_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return help_main(argc - 1, argv + 1);
    if (strcmp(argv[1], "--version") == 0)
        return version_main(argc - 1, argv + 1);
    const struct command *command = find(argv[1]);
    return command == NULL ? unknown(argv[1]) : command->main(argc - 1, argv + 1);
}
