/* SPDX-License-Identifier: Apache-2.0 */
/* commands.h - the sub-commands of `spindle`.
 *
 * Role       one function a command. argv[0] is the command's name, argv[1..argc) its arguments;
 *            with --help among them it prints its help and returns 0. The result is the exit
 *            status. */
#ifndef SPINDLE_CLI_COMMANDS_H
#define SPINDLE_CLI_COMMANDS_H

#define COMMAND_LIST(X)                                                                            \
    X(serve, "Receive, store and answer: the server")                                              \
    X(demo, "Send the telemetry of a shop that does not exist")                                    \
    X(load, "Send a benchmark workload and measure its acknowledgement")                           \
    X(sql, "Ask a server, or a data directory, in SQL")                                            \
    X(backup, "Copy a data directory, also while a server runs on it")                             \
    X(restore, "Make a data directory out of a backup")                                            \
    X(verify, "Check every file of a data directory")                                              \
    X(version, "Print the version")                                                                \
    X(help, "Print help, of a command when one is named")

/* Serves until SIGTERM or SIGINT: serve.c. */
int serve_main(int argc, char **argv);
/* Sends until it is stopped: demo.c. */
int demo_main(int argc, char **argv);
/* Sends a workload once: load.c. */
int load_main(int argc, char **argv);
/* Prints the answer: sql.c. */
int sql_main(int argc, char **argv);
/* A backup, or nothing that restore takes for one: backup.c. */
int backup_main(int argc, char **argv);
/* A data directory, or nothing that serve takes for one: backup.c. */
int restore_main(int argc, char **argv);
/* EXIT_STATUS_FAILED when something is damaged: verify.c. */
int verify_main(int argc, char **argv);
/* One line on standard output. */
int version_main(int argc, char **argv);
/* `help COMMAND` calls that command with --help. */
int help_main(int argc, char **argv);

/* Exit statuses, from sysexits.h where it has one. */
enum {
    EXIT_STATUS_OK = 0,
    EXIT_STATUS_FAILED = 1, /* it was tried and did not work; verify: something is damaged */
    EXIT_STATUS_USAGE = 64, /* EX_USAGE: the command line, the environment or the file is wrong */
    EXIT_STATUS_NEWER = 78  /* EX_CONFIG: the data directory was written by a newer version */
};

#endif
