/* SPDX-License-Identifier: Apache-2.0 */
/* test_server.c - a server with the test routes and nothing behind them: what the attack tests
 * attack, and what is measured when the protocols alone are to be measured.
 *
 *   net_test_server [--port N] [--loops N] [--budget BYTES] [--token TEXT] [--stall-ms N] [--metrics]
 *                   [--cert FILE --key FILE [--ca FILE]]
 *
 * Prints "port N" when it listens. Reads the certificate again for an 'r' on standard input; drains and
 * ends at the end of it, and with --metrics prints its counters. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "net/server.h"
#include "net/test_routes.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *token;

static enum err authorize(void *context, struct bytes authorization, enum scope needed,
                          uint64_t *out_principal)
{
    (void)context;
    char expected[256];
    if (needed == SCOPE_OPEN)
        return ERR_OK;
    (void)snprintf(expected, sizeof expected, "Bearer %s", token);
    *out_principal = 1;
    return bytes_equal_text(authorization, expected) ? ERR_OK : ERR_UNAUTHENTICATED;
}

static uint64_t number(const char *text)
{
    uint64_t n;
    if (!text_u64_parse(bytes_text(text), &n)) {
        (void)fprintf(stderr, "not a number: %s\n", text);
        exit(64);
    }
    return n;
}

int main(int argc, char **argv)
{
    static const char *const hosts[] = { "spindle.test" };
    struct budget budget;
    char address[32] = "127.0.0.1:0";
    bool prints_metrics = false;
    struct metrics *metrics = metrics_open();
    struct router *router = NULL;
    struct server *server = NULL;
    char *message = NULL;
    if (metrics == NULL || router_open(&router) != ERR_OK || test_routes_add(router) != ERR_OK)
        return 1;
    struct listener_options listener = { .name = "test", .address = address, .router = router };
    struct server_options options = { .listeners = &listener,
                                      .listener_count = 1,
                                      .hosts = hosts,
                                      .host_count = 1,
                                      .metrics = metrics };
    budget_init(&budget, (size_t)256 << 20, NULL);
    options.request_budget = &budget;
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--metrics") == 0) {
            prints_metrics = true;
            continue;
        }
        const char *value = i + 1 < argc ? argv[++i] : "";
        if (strcmp(name, "--port") == 0)
            (void)snprintf(address, sizeof address, "127.0.0.1:%s", value);
        else if (strcmp(name, "--loops") == 0)
            options.loops = (unsigned)number(value);
        else if (strcmp(name, "--budget") == 0)
            budget_init(&budget, number(value), NULL);
        else if (strcmp(name, "--token") == 0)
            token = value;
        else if (strcmp(name, "--cert") == 0)
            options.tls_cert_path = value;
        else if (strcmp(name, "--key") == 0)
            options.tls_key_path = value;
        else if (strcmp(name, "--ca") == 0)
            options.tls_client_ca_path = value;
        else if (strcmp(name, "--stall-ms") == 0)
            options.limits.stalled_answer_ns = number(value) * NS_PER_MS;
        else {
            (void)fprintf(stderr, "unknown option: %s\n", name);
            return 64;
        }
    }
    if (token != NULL)
        options.authorize = authorize;
    (void)signal(SIGPIPE, SIG_IGN);
    if (server_start(&options, &server, &message) != ERR_OK) {
        (void)fprintf(stderr, "%s\n", message);
        return 1;
    }
    (void)printf("port %u\n", server_port(server, 0));
    (void)fflush(stdout);
    char byte;
    while (read(0, &byte, 1) > 0) {
        if (byte != 'r')
            continue;
        (void)printf("reload %s\n", err_text(server_reload_tls(server, &message)));
        (void)fflush(stdout);
        mem_free(message);
    }
    server_drain(server, 5 * NS_PER_S);
    server_stop(server);
    test_routes_join();
    if (prints_metrics) {
        struct buffer text;
        buffer_init(&text, 1 << 20);
        metrics_write(metrics, &text);
        (void)fwrite(text.data, 1, text.len, stdout);
        buffer_deinit(&text);
    }
    if (budget_used(&budget) != 0)
        (void)fprintf(stderr, "budget: %zu bytes were not given back\n", budget_used(&budget));
    router_close(router);
    metrics_close(metrics);
    return budget_used(&budget) == 0 ? 0 : 1;
}
