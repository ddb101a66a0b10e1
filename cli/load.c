/* SPDX-License-Identifier: Apache-2.0 */
/* `spindle load`: the benchmark's client, against any OTLP server. */
#include "cli/load.h"

#include "cli/commands.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ROW(...) OPTION_ROW(load_options, __VA_ARGS__)
static const struct option rows[] = { LOAD_OPTIONS(ROW) };
#undef ROW
static const struct option_table table = {
    .command = "load",
    .summary =
        "Send a benchmark workload to an OTLP server, and print how fast and how surely it was "
        "acknowledged. Requests are made and compressed before the clock starts; what the server "
        "refuses for the moment is sent again as exporters do it.",
    .rows = rows,
    .count = sizeof rows / sizeof *rows,
};

/* The ranges of --batch, --connections and --in-flight. */
static_assert(WORKLOAD_BATCH_MAX == 8192 && CLIENT_CONNECTIONS_MAX == 1024 &&
                  CLIENT_IN_FLIGHT_MAX == 1024,
              "as the table says");

static void print(FILE *to, struct buffer *text)
{
    if (buffer_error(text) == ERR_OK)
        (void)fwrite(text->data, 1, text->len, to);
}

static int run(const struct load_options *o)
{
    struct load_requests requests = { 0 };
    struct load_result result = { 0 };
    struct buffer text;
    buffer_init(&text, 1u << 20);
    const char *message = NULL;
    if (!o->json)
        fprintf(stderr, "spindle load: preparing requests\n");
    const char *why = NULL;
    errno = 0;
    enum err e = load_requests_make(o, &requests, &message);
    if (e == ERR_OK) {
        message = o->endpoint;
        e = load_run(o, &requests, &result);
        why = client_open_text(e);
    } else if (e == ERR_IO && errno != 0) {
        why = strerror(errno);
    } else {
        why = err_text(e);
    }
    if (e == ERR_OK) {
        load_report(o, &requests, &result, &text);
        print(stdout, &text);
    } else {
        fprintf(stderr, "spindle load: %s: %s\n", message, why);
    }
    bool is_good = e == ERR_OK && result.requests_lost == 0 && result.spans_acknowledged > 0;
    buffer_deinit(&text);
    load_result_deinit(&result);
    load_requests_deinit(&requests);
    return is_good ? EXIT_STATUS_OK : EXIT_STATUS_FAILED;
}

int load_main(int argc, char **argv)
{
    struct buffer text;
    buffer_init(&text, 1u << 20);
    if (options_ask_for_help(argc, argv)) {
        options_write_help(&table, &text);
        print(stdout, &text);
        buffer_deinit(&text);
        return EXIT_STATUS_OK;
    }
    struct load_options o = { 0 };
    struct option_settings settings;
    struct arena arena;
    char message[OPTIONS_MESSAGE_MAX];
    arena_init(&arena, 1u << 20, NULL);
    int status = EXIT_STATUS_USAGE;
    if (options_read(&table, argc, argv, environ, &arena, &o, &settings, message) != ERR_OK)
        fprintf(stderr, "spindle load: %s\n", message);
    else
        status = run(&o);
    arena_deinit(&arena);
    return status;
}
