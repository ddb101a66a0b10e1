/* SPDX-License-Identifier: Apache-2.0 */
/* `spindle demo`: opens the shop, keeps its time, and closes it in order. */
#include "cli/demo.h"

#include "base/json_writer.h"
#include "base/mem.h"
#include "cli/commands.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TICK_NS        (50 * NS_PER_MS)
#define STATUS_NS      (10 * NS_PER_S)
#define CLOSING_MAX_NS (15 * NS_PER_S) /* the longest flow, and time to deliver it */
#define FAILING_MAX_NS (1 * NS_PER_S)  /* when the server does not take what is sent */

#define ROW(...) OPTION_ROW(demo_options, __VA_ARGS__)
static const struct option rows[] = { DEMO_OPTIONS(ROW) };
#undef ROW
static const struct option_table table = {
    .command = "demo",
    .summary = "Send the telemetry of a shop that does not exist: visits through 17 services with "
               "HTTP, gRPC, "
               "databases, a cache, queues and a payment provider; errors, slow phases, cron jobs, "
               "and logs "
               "tied to spans. It goes on when the server is restarted.",
    .rows = rows,
    .count = sizeof rows / sizeof *rows,
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

static enum err shop_init(struct demo *d)
{
    static const char *const topics[TOPIC_COUNT] = { "orders", "product-views", "mail" };
    uint64_t now = clock_unix_ns();
    for (unsigned s = 0; s < SERVICE_COUNT; s++) {
        d->first_pod[s] = d->pod_count;
        for (unsigned pod = 0; pod < demo_services[s].pods; pod++) {
            d->pods[d->pod_count++] = (struct demo_pod){
                .service = (enum demo_service)s,
                .resource = demo_resource(&d->arena, (enum demo_service)s, pod),
            };
        }
    }
    for (unsigned language = 0; language < LANGUAGE_COUNT; language++) {
        for (unsigned scope = 0; scope < SCOPE_COUNT; scope++)
            d->scopes[language][scope] =
                demo_scope_message(&d->arena, (enum demo_language)language, (enum demo_scope)scope);
    }
    d->topics = mem_alloc_array(TOPIC_COUNT, sizeof *d->topics);
    if (d->topics == NULL)
        return ERR_NOMEM;
    for (unsigned i = 0; i < TOPIC_COUNT; i++)
        d->topics[i].name = topics[i];
    d->next_order = 1000;
    d->next_visit_unix_ns = now;
    d->next_cron_unix_ns = now + 3 * NS_PER_S;
    d->next_proxy_log_unix_ns = now;
    return arena_failure(&d->arena);
}

/* ---- Running
 * -------------------------------------------------------------------------------------------------
 */

struct run {
    struct demo *demo;
    uint64_t start_mono_ns, stop_mono_ns, next_status_mono_ns, closing_mono_ns;
    bool is_closing;
};

static void print_status(const struct run *r, uint64_t now_mono_ns)
{
    const struct demo *d = r->demo;
    struct demo_totals t;
    demo_export_totals(d, &t);
    uint64_t now = clock_unix_ns();
    bool is_slow = now >= d->slow.from_unix_ns && now < d->slow.until_unix_ns;
    printf("%5llu s  %llu spans and %llu log records acknowledged, %llu dropped, %zu waiting%s%s\n",
           (unsigned long long)((now_mono_ns - r->start_mono_ns) / NS_PER_S),
           (unsigned long long)t.spans, (unsigned long long)t.logs, (unsigned long long)t.dropped,
           demo_export_pending(d), is_slow ? "; slow now: " : "",
           is_slow ? demo_services[d->slow.service].name : "");
    fflush(stdout);
}

static void on_tick(void *context)
{
    struct run *r = context;
    uint64_t mono = clock_mono_ns(), now = clock_unix_ns();
    if (!r->is_closing && (interrupted || mono >= r->stop_mono_ns)) {
        r->is_closing = true;
        r->closing_mono_ns = mono;
    }
    if (!r->is_closing)
        demo_flows(r->demo, now);
    demo_export_send(r->demo, now, r->is_closing);
    if (mono >= r->next_status_mono_ns) {
        print_status(r, mono);
        r->next_status_mono_ns = mono + STATUS_NS;
    }
    /* Flows that have begun are ended, unless the server is too slow for that or does not answer. */
    uint64_t patience_ns = demo_export_is_failing(r->demo) ? FAILING_MAX_NS : CLOSING_MAX_NS;
    if (r->is_closing &&
        (demo_export_pending(r->demo) == 0 || mono >= r->closing_mono_ns + patience_ns))
        client_stop(demo_export_client(r->demo));
}

/* ---- The truth
 * ------------------------------------------------------------------------------------------------
 */

static void write_counts(struct json_writer *w, const char *name, const struct demo_counts *counts,
                         const char *const *columns, size_t column_count)
{
    json_key(w, name);
    json_array_begin(w);
    for (uint32_t i = 0; i < counts->keys.count; i++) {
        struct bytes key = intern_get(&counts->keys, i);
        json_object_begin(w);
        for (size_t c = 0; c < column_count; c++) {
            size_t end = bytes_find(key, 0);
            json_key(w, columns[c]);
            json_string(w, bytes_slice(key, 0, end));
            key = bytes_slice(key, end + 1, key.len);
        }
        json_key(w, "count");
        json_u64(w, counts->counts[i]);
        json_object_end(w);
    }
    json_array_end(w);
}

static enum err write_truth(struct demo *d, const char *path)
{
    static const char *const span_columns[] = { "service", "name", "kind", "status" };
    static const char *const log_columns[] = { "service", "severity" };
    struct demo_totals t;
    struct buffer text;
    struct json_writer w;
    demo_export_totals(d, &t);
    buffer_init(&text, 64u << 20);
    json_init(&w, &text);
    json_object_begin(&w);
    json_key(&w, "is_exact"); /* false when something was made that did not arrive */
    json_bool(&w, t.dropped == 0 && demo_export_pending(d) == 0 && !d->truth.is_incomplete);
    json_key(&w, "spans_acknowledged");
    json_u64(&w, t.spans);
    json_key(&w, "logs_acknowledged");
    json_u64(&w, t.logs);
    json_key(&w, "traces");
    json_u64(&w, d->truth.traces);
    write_counts(&w, "spans", &d->truth.spans, span_columns, 4);
    write_counts(&w, "logs", &d->truth.logs, log_columns, 2);
    json_key(&w, "edges");
    demo_truth_write_edges(&d->truth, &w);
    json_object_end(&w);
    buffer_append_text(&text, "\n");
    enum err e = buffer_error(&text);
    FILE *f = e == ERR_OK ? fopen(path, "wb") : NULL;
    if (e == ERR_OK && (f == NULL || fwrite(text.data, 1, text.len, f) != text.len))
        e = ERR_IO;
    if (f != NULL && fclose(f) != 0)
        e = ERR_IO;
    buffer_deinit(&text);
    return e;
}

/* ---- The command
 * ---------------------------------------------------------------------------------------------- */

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "spindle demo: %s: %s\n", what, why);
    return EXIT_STATUS_FAILED;
}

static int run_shop(struct demo *d)
{
    const struct demo_options *o = d->options;
    enum err e = shop_init(d);
    if (e != ERR_OK)
        return fail("starting", err_text(e));
    e = demo_export_open(d);
    if (e != ERR_OK) {
        (void)fail(o->endpoint, client_open_text(e));
        return e == ERR_INVALID || e == ERR_UNSUPPORTED ? EXIT_STATUS_USAGE : EXIT_STATUS_FAILED;
    }
    struct sigaction action = { .sa_handler = on_interrupt };
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    uint64_t start = clock_mono_ns();
    struct run r = { .demo = d,
                     .start_mono_ns = start,
                     .stop_mono_ns = o->duration == 0 ? UINT64_MAX : start + o->duration,
                     .next_status_mono_ns = start + STATUS_NS };
    printf("spindle demo: sending to %s, %llu visits a second; Ctrl-C ends it\n", o->endpoint,
           (unsigned long long)o->rate);
    fflush(stdout);
    client_run(demo_export_client(d), false, TICK_NS, on_tick, &r);
    print_status(&r, clock_mono_ns());
    errno = 0;
    e = o->truth == NULL ? ERR_OK : write_truth(d, o->truth);
    return e == ERR_OK ? EXIT_STATUS_OK
                       : fail(o->truth, e == ERR_IO && errno != 0 ? strerror(errno) : err_text(e));
}

static int run(const struct demo_options *o)
{
    struct demo *d = mem_zalloc(sizeof *d);
    if (d == NULL)
        return fail("starting", err_text(ERR_NOMEM));
    d->options = o;
    arena_init(&d->arena, 4u << 20, NULL);
    random_init(&d->random, o->seed);
    demo_truth_init(&d->truth);
    d->truth.keeps_durations = o->truth != NULL;
    int status = run_shop(d);
    demo_export_close(d);
    demo_truth_deinit(&d->truth);
    arena_deinit(&d->arena);
    mem_free(d->topics);
    mem_free(d);
    return status;
}

int demo_main(int argc, char **argv)
{
    if (options_ask_for_help(argc, argv)) {
        struct buffer text;
        buffer_init(&text, 1u << 20);
        options_write_help(&table, &text);
        if (buffer_error(&text) == ERR_OK)
            (void)fwrite(text.data, 1, text.len, stdout);
        buffer_deinit(&text);
        return EXIT_STATUS_OK;
    }
    struct demo_options o = { 0 };
    struct option_settings settings;
    struct arena arena;
    char message[OPTIONS_MESSAGE_MAX];
    arena_init(&arena, 1u << 20, NULL);
    int status = EXIT_STATUS_USAGE;
    if (options_read(&table, argc, argv, environ, &arena, &o, &settings, message) != ERR_OK)
        fprintf(stderr, "spindle demo: %s\n", message);
    else
        status = run(&o);
    arena_deinit(&arena);
    return status;
}
