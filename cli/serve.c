/* SPDX-License-Identifier: Apache-2.0 */
/* `spindle serve`: builds the parts, hands each what it needs, starts the loops, and takes
 * everything down again in the order in which data flows: doors, queries and collector, store. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/page_cache.h"
#include "cli/commands.h"
#include "cli/front_page.h"
#include "cli/serve_options.h"
#include "collector/auth.h"
#include "collector/collector.h"
#include "collector/memory_plan.h"
#include "collector/request_key.h"
#include "net/server.h"
#include "query/query.h"
#include "storage/derive/name_rules.h"
#include "storage/sqlite/sqlite_engine.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* The words of these options stand in the order of their enums. */
static_assert(DURABILITY_FSYNC == 0 && DURABILITY_PROCESS == 1, "--durability fsync|process");
static_assert(LOG_DEBUG == 0 && LOG_INFO == 1 && LOG_WARN == 2 && LOG_ERROR == 3, "--log-level");

static_assert(MEMORY_LIMIT_MIN == (uint64_t)32 << 20, "the range of --memory-limit");

#define OPTIONS_BYTES_MAX (4 * OPTIONS_FILE_MAX)
#define HOST_NAMES_MAX    32
#define DESCRIPTORS_MAX   (1024 * 1024)
#define IDLE_LOOK_S       5
#define QUERY_BYTES_MAX   ((size_t)64 << 20)

enum { LISTENER_OTLP_GRPC, LISTENER_OTLP_HTTP, LISTENER_HTTP, LISTENER_COUNT };

struct serving {
    struct serve_options options;
    struct memory_plan memory;
    struct budget request_budget, query_budget, answers_budget;
    struct metrics *metrics;
    struct auth *auth;             /* NULL: everything is allowed */
    struct name_rules *name_rules; /* the engine borrows them */
    struct engine *engine;
    struct collector *collector;
    struct query_service *query;
    struct router *otlp_router, *http_router;
    struct page *page;
    struct front_page *front_page;
    struct server *server;
    struct listener_options listeners[LISTENER_COUNT]; /* those that are wanted */
    size_t listener_count;
    struct query_endpoint endpoints[LISTENER_COUNT];
    struct query_facts facts;
    struct buffer urls;
    const char *host_names[HOST_NAMES_MAX];
    size_t host_count;
};

/* ---- What the options say together ---- */

static int complain(const char *what)
{
    fprintf(stderr, "spindle serve: %s\n", what);
    return EXIT_STATUS_USAGE;
}

static bool is_wanted(const char *address)
{
    return address != NULL && strcmp(address, "none") != 0;
}

/* Hosts that only this machine can reach. What is not understood here counts as reachable by
 * others, also a name such as 127.example.com, which may mean anything. */
static bool is_loopback(const char *address)
{
    char host[INET_ADDRSTRLEN];
    struct in_addr v4;
    size_t len = strcspn(address, ":");
    if (strncmp(address, "[::1]:", 6) == 0 || (len == 9 && strncmp(address, "localhost", 9) == 0))
        return true;
    if (len >= sizeof host)
        return false;
    memcpy(host, address, len);
    host[len] = '\0';
    return inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

static void add_listener(struct serving *s, const char *name, const char *address)
{
    if (is_wanted(address))
        s->listeners[s->listener_count++] =
            (struct listener_options){ .name = name, .address = address };
}

static bool split_host_names(struct serving *s, struct arena *arena)
{
    if (s->options.host_names == NULL)
        return true;
    char *rest = arena_text(arena, bytes_text(s->options.host_names));
    for (char *name = rest == NULL ? NULL : strtok_r(rest, ", ", &rest); name != NULL;
         name = strtok_r(NULL, ", ", &rest)) {
        if (s->host_count == HOST_NAMES_MAX)
            return false;
        s->host_names[s->host_count++] = name;
    }
    return true;
}

/* What was worked out here is printed by --print-config like what was given. */
static void show_number(struct option_settings *settings, const char *name, uint64_t value,
                        struct arena *arena)
{
    char text[32];
    int len = snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    size_t row = 0;
    while (strcmp(serve_option_table.rows[row].name, name) != 0)
        row++;
    settings->of[row].text = arena_text(arena, bytes_of(text, (size_t)len));
}

/* Sizes that follow from the machine and from one another. */
static int plan_memory(struct serving *s, struct option_settings *settings, struct arena *arena)
{
    struct serve_options *o = &s->options;
    if (o->memory_limit == 0) {
        o->memory_limit = memory_limit_default(memory_available(""));
        show_number(settings, "memory-limit", o->memory_limit, arena);
    }
    memory_plan_make(o->memory_limit, &s->memory);
    page_cache_limit(s->memory.kept_bytes);
    if (o->request_size_max == 0) {
        o->request_size_max = s->memory.request_bytes_max;
        show_number(settings, "request-size-max", o->request_size_max, arena);
    }
    if (o->request_size_max > s->memory.requests_bytes / 2)
        return complain("--request-size-max must be at most an eighth of --memory-limit");
    return EXIT_STATUS_OK;
}

/* Numbers of threads that follow from the cores. */
static void plan_threads(struct serving *s, struct option_settings *settings, struct arena *arena)
{
    struct serve_options *o = &s->options;
    if (o->threads == 0) {
        o->threads = server_loops_default();
        show_number(settings, "threads", o->threads, arena);
    }
    if (o->query_threads == 0) {
        o->query_threads = query_workers_default();
        show_number(settings, "query-threads", o->query_threads, arena);
    }
}

static int check_options(struct serving *s, struct option_settings *settings, struct arena *arena)
{
    struct serve_options *o = &s->options;
    add_listener(s, "otlp-grpc", o->otlp_grpc);
    add_listener(s, "otlp-http", o->otlp_http);
    add_listener(s, "http", o->http);
    if (s->listener_count == 0)
        return complain("all of --otlp-grpc, --otlp-http and --http are 'none'");
    if ((o->tls_cert == NULL) != (o->tls_key == NULL))
        return complain("--tls-cert and --tls-key go together");
    if (o->tls_client_ca != NULL && o->tls_cert == NULL)
        return complain("--tls-client-ca needs --tls-cert and --tls-key");
    if (o->no_auth && o->auth_token_file != NULL)
        return complain("--no-auth and --auth-token-file contradict each other");
    if (o->retention_age != 0 && o->retention_age_logs > o->retention_age)
        return complain("--retention-age-logs is longer than --retention-age");
    for (size_t i = 0; i < s->listener_count; i++) {
        if (server_address_is_valid(s->listeners[i].address))
            continue;
        fprintf(stderr,
                "spindle serve: --%s: '%s' is not of the form HOST:PORT with a port up to 65535\n",
                s->listeners[i].name, s->listeners[i].address);
        return EXIT_STATUS_USAGE;
    }
    for (size_t i = 0; i < s->listener_count; i++) {
        if (is_loopback(s->listeners[i].address) || o->auth_token_file != NULL || o->no_auth)
            continue;
        fprintf(
            stderr,
            "spindle serve: --%s %s can be reached from other machines: give --auth-token-file, "
            "or --no-auth to let everybody write and read\n",
            s->listeners[i].name, s->listeners[i].address);
        return EXIT_STATUS_USAGE;
    }
    if (!split_host_names(s, arena))
        return complain("--host-names takes at most 32 names");
    plan_threads(s, settings, arena);
    return plan_memory(s, settings, arena);
}

/* ---- The process ---- */

/* Few arenas and a fixed threshold keep what is not used from staying resident: by default glibc
 * makes eight arenas a core, and lets the threshold grow until freed bodies are never given back.
 */
static void tune_allocator(void)
{
    (void)mallopt(M_ARENA_MAX, 4);
    (void)mallopt(M_MMAP_THRESHOLD, 128 << 10);
    (void)mallopt(M_TRIM_THRESHOLD, 8 << 20);
}

/* Freed memory lies between what is still used, where glibc keeps it. Giving it back costs a walk over
 * the heap, so it is done when the process has been nearly idle since the last look. */
static void give_memory_back(uint64_t *cpu_ns)
{
    struct timespec used;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) != 0)
        return;
    uint64_t now_ns = (uint64_t)used.tv_sec * NS_PER_S + (uint64_t)used.tv_nsec;
    if (now_ns - *cpu_ns < IDLE_LOOK_S * NS_PER_S / 50)
        mem_trim();
    *cpu_ns = now_ns;
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    rlim_t wanted = limit.rlim_max < DESCRIPTORS_MAX ? limit.rlim_max : DESCRIPTORS_MAX;
    if (limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_line(LOG_WARN, "cli", "cannot raise the limit of open files: %s", strerror(errno));
}

/* Signals are blocked in every thread and taken by the main one with sigwait(). */
static void block_signals(sigset_t *out)
{
    sigemptyset(out);
    sigaddset(out, SIGTERM);
    sigaddset(out, SIGINT);
    sigaddset(out, SIGHUP);
    pthread_sigmask(SIG_BLOCK, out, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* The second signal is for those who cannot wait: it kills, which loses nothing acknowledged. */
static void let_signals_kill(const sigset_t *signals)
{
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGHUP, SIG_IGN);
    pthread_sigmask(SIG_UNBLOCK, signals, NULL);
}

/* ---- Up ---- */

static int failed(const char *what, enum err e, char *take_message)
{
    fprintf(stderr, "spindle serve: %s: %s\n", what,
            take_message == NULL ? err_text(e) : take_message);
    mem_free(take_message);
    return e == ERR_NEWER ? EXIT_STATUS_NEWER : EXIT_STATUS_FAILED;
}

static int open_auth(struct serving *s)
{
    char *message = NULL;
    if (s->options.auth_token_file == NULL)
        return EXIT_STATUS_OK;
    enum err e = auth_open(s->options.auth_token_file, s->metrics, &s->auth, &message);
    return e == ERR_OK ? EXIT_STATUS_OK : failed("cannot read the token file", e, message);
}

static int open_engine(struct serving *s)
{
    char *message = NULL;
    const char *rules = s->options.span_name_rule;
    struct err_note note;
    size_t line;
    /* Each rule has been read before: there may be too many of them. */
    enum err e =
        name_rules_make(bytes_text(rules == NULL ? "" : rules), &s->name_rules, &line, &note);
    if (e != ERR_OK)
        return failed("cannot take the rules of --span-name-rule", e, NULL);
    const struct sqlite_engine_options options = {
        .directory = s->options.data,
        .durability = (enum durability)s->options.durability,
        .memory_bytes = s->memory.storage_bytes,
        .builder_age_ns = s->options.row_group_age,
        .partition_bytes_max = s->options.partition_size,
        .partition_age_ns = s->options.partition_age,
        .retention_age_ns = s->options.retention_age,
        .retention_logs_ns = s->options.retention_age_logs,
        .retention_rollups_ns = s->options.retention_rollups,
        .retention_bytes = s->options.retention_size,
        .min_free_bytes = s->options.min_free_disk,
        .ballast_bytes = s->options.disk_ballast,
        .totals_idle_ns = s->options.span_metrics_idle,
        .name_rules = s->name_rules,
        .metrics = s->metrics,
    };
    e = sqlite_engine_open(&options, &s->engine, &message);
    return e == ERR_OK ? EXIT_STATUS_OK : failed("cannot open the data directory", e, message);
}

static int open_collector(struct serving *s)
{
    struct hash_key key;
    enum err e = request_key_load(s->options.data, &key);
    if (e != ERR_OK)
        return failed("cannot read or make request.key in the data directory", e, NULL);
    struct collector_options options = {
        .engine = s->engine,
        .metrics = s->metrics,
        .limits = otlp_limits_default,
        .request_bytes_max = s->options.request_size_max,
        .hold_ns = s->options.hold_time,
        .span_metrics = (enum span_metrics)s->options.span_metrics,
        .request_key = &key,
        .version = SPINDLE_VERSION,
    };
    options.limits.attributes_max = s->options.span_attributes_max;
    options.limits.events_max = s->options.span_events_max;
    options.limits.links_max = s->options.span_links_max;
    options.limits.value_bytes_max = s->options.value_size_max;
    options.limits.time_past_ns = s->options.age_max;
    options.limits.time_future_ns = s->options.future_max;
    e = collector_open(&options, &s->collector);
    return e == ERR_OK ? EXIT_STATUS_OK : failed("cannot start the collector", e, NULL);
}

static int open_query(struct serving *s)
{
    size_t share = s->memory.queries_bytes / 2;
    const struct query_options options = {
        .engine = s->engine,
        .metrics = s->metrics,
        .workers = (unsigned)s->options.query_threads,
        .timeout_ns = s->options.query_timeout,
        .memory_bytes = share < QUERY_BYTES_MAX ? share : QUERY_BYTES_MAX,
        .budget = &s->query_budget,
        .answers_budget = &s->answers_budget,
        .version = SPINDLE_VERSION,
    };
    enum err e = query_open(&options, &s->query);
    return e == ERR_OK ? EXIT_STATUS_OK : failed("cannot start the query service", e, NULL);
}

static int build_routes(struct serving *s)
{
    enum err e = router_open(&s->otlp_router);
    if (e == ERR_OK)
        e = router_open(&s->http_router);
    if (e == ERR_OK)
        e = collector_add_otlp_routes(s->collector, s->otlp_router);
    if (e == ERR_OK)
        e = collector_add_admin_routes(s->collector, s->http_router);
    if (e == ERR_OK)
        e = query_add_routes(s->query, s->http_router);
    if (e == ERR_OK)
        e = page_add_routes(s->http_router, &s->answers_budget, &s->page);
    if (e == ERR_OK)
        e = front_page_add_route(s->http_router, s->page, &s->front_page);
    for (size_t i = 0; i < s->listener_count; i++)
        s->listeners[i].router =
            s->listeners[i].address == s->options.http ? s->http_router : s->otlp_router;
    return e == ERR_OK ? EXIT_STATUS_OK : failed("cannot build the routes", e, NULL);
}

static struct server_options server_options(struct serving *s)
{
    const struct serve_options *o = &s->options;
    return (struct server_options){
        .loops = (unsigned)o->threads,
        .listeners = s->listeners,
        .listener_count = s->listener_count,
        .limits = { .connections = (unsigned)o->connections_max,
                    .connections_per_ip = (unsigned)o->connections_per_ip_max },
        .tls_cert_path = o->tls_cert,
        .tls_key_path = o->tls_key,
        .tls_client_ca_path = o->tls_client_ca,
        .authorize = s->auth == NULL ? NULL : auth_authorize,
        .authorize_context = s->auth,
        .hosts = s->host_names,
        .host_count = s->host_count,
        .request_budget = &s->request_budget,
        .metrics = s->metrics,
    };
}

/* Before the data directory is made: a port in use is the commonest failure of a start. */
static int probe_server(struct serving *s)
{
    char *message = NULL;
    const struct server_options options = server_options(s);
    enum err e = server_probe(&options, &message);
    return e == ERR_OK ? EXIT_STATUS_OK : failed("cannot start", e, message);
}

static int start_server(struct serving *s)
{
    char *message = NULL;
    const struct server_options options = server_options(s);
    enum err e = server_start(&options, &s->server, &message);
    return e == ERR_OK ? EXIT_STATUS_OK : failed("cannot start", e, message);
}

static int start(struct serving *s)
{
    budget_init(&s->request_budget, s->memory.requests_bytes, NULL);
    budget_init(&s->query_budget, s->memory.queries_bytes, NULL);
    budget_init(&s->answers_budget, s->memory.queries_bytes / 2, &s->query_budget);
    s->metrics = metrics_open();
    if (s->metrics == NULL)
        return failed("cannot start", ERR_NOMEM, NULL);
    int status = open_auth(s);
    if (status == EXIT_STATUS_OK)
        status = probe_server(s);
    if (status == EXIT_STATUS_OK)
        status = open_engine(s);
    if (status == EXIT_STATUS_OK)
        status = open_collector(s);
    if (status == EXIT_STATUS_OK)
        status = open_query(s);
    if (status == EXIT_STATUS_OK)
        status = build_routes(s);
    if (status == EXIT_STATUS_OK)
        status = start_server(s);
    if (status == EXIT_STATUS_OK)
        collector_set_ready(s->collector, true);
    return status;
}

/* ---- Down: whatever was built so far ---- */

static void stop(struct serving *s)
{
    if (s->server != NULL) {
        collector_set_ready(s->collector, false);
        query_drain(s->query);
        server_drain(s->server, s->options.drain_time);
        server_stop(s->server);
    }
    query_close(s->query);
    collector_close(s->collector);
    engine_close(s->engine);
    name_rules_free(s->name_rules);
    router_close(s->otlp_router);
    router_close(s->http_router);
    front_page_close(s->front_page);
    page_close(s->page);
    auth_close(s->auth);
    buffer_deinit(&s->urls);
    metrics_close(s->metrics);
}

/* ---- Running ---- */

static void reload(struct serving *s)
{
    char *message = NULL;
    if (s->options.tls_cert != NULL) {
        enum err e = server_reload_tls(s->server, &message);
        if (e == ERR_OK)
            log_line(LOG_INFO, "cli", "read %s again", s->options.tls_cert);
        else
            log_line(LOG_ERROR, "cli", "the certificate in use stays: %s",
                     message == NULL ? err_text(e) : message);
        mem_free(message);
        message = NULL;
    }
    if (s->auth != NULL) {
        enum err e = auth_reload(s->auth, &message);
        if (e == ERR_OK)
            log_line(LOG_INFO, "cli", "read %s again", s->options.auth_token_file);
        else
            log_line(LOG_ERROR, "cli", "the tokens in use stay: %s",
                     message == NULL ? err_text(e) : message);
        mem_free(message);
    }
}

/* The front page is set before the endpoints are printed: who reads them may ask at once. */
static void print_endpoints(const struct serving *s)
{
    struct front_page_facts facts = { .server = s->server,
                                      .listeners = s->listeners,
                                      .listener_count = s->listener_count,
                                      .has_tls = s->options.tls_cert != NULL,
                                      .data = s->auth == NULL ? s->options.data : NULL,
                                      .is_durable = s->options.durability == DURABILITY_FSYNC };
    struct buffer text;
    buffer_init(&text, 64 * 1024);
    front_page_write(&facts, &text);
    front_page_set(s->front_page, buffer_bytes(&text));
    buffer_reset(&text);
    facts.data = s->options.data;
    front_page_write(&facts, &text);
    if (buffer_error(&text) == ERR_OK) {
        fwrite(text.data, 1, text.len, stdout);
        fflush(stdout);
    }
    buffer_deinit(&text);
}

/* The page shows them as well. */
static void tell_endpoints(struct serving *s)
{
    size_t at[LISTENER_COUNT];
    bool has_tls = s->options.tls_cert != NULL;
    buffer_init(&s->urls, 4096);
    for (size_t i = 0; i < s->listener_count; i++) {
        at[i] = s->urls.len;
        front_page_url(s->server, s->listeners, i, has_tls, &s->urls);
        buffer_append_byte(&s->urls, '\0');
    }
    if (buffer_error(&s->urls) != ERR_OK)
        return;
    for (size_t i = 0; i < s->listener_count; i++)
        s->endpoints[i] =
            (struct query_endpoint){ s->listeners[i].name, (const char *)s->urls.data + at[i] };
    s->facts = (struct query_facts){ .endpoints = s->endpoints,
                                     .endpoint_count = s->listener_count,
                                     .has_auth = s->auth != NULL,
                                     .has_tls = has_tls,
                                     .traces_kept_ns = s->options.retention_age,
                                     .logs_kept_ns = s->options.retention_age_logs != 0
                                                         ? s->options.retention_age_logs
                                                         : s->options.retention_age };
    query_set_facts(s->query, &s->facts);
    query_warm(s->query);
}

/* Returns when SIGTERM or SIGINT has come. */
static void wait_for_the_end(struct serving *s, const sigset_t *signals)
{
    const struct timespec look = { .tv_sec = IDLE_LOOK_S };
    uint64_t cpu_ns = 0;
    for (;;) {
        int number = sigtimedwait(signals, NULL, &look);
        if (number == SIGHUP)
            reload(s);
        else if (number > 0)
            return;
        else
            give_memory_back(&cpu_ns);
    }
}

static int run(struct serving *s)
{
    sigset_t signals;
    tune_allocator();
    raise_descriptor_limit();
    block_signals(&signals);
    log_set_level((enum log_level)s->options.log_level);
    int status = start(s);
    if (status == EXIT_STATUS_OK) {
        tell_endpoints(s);
        print_endpoints(s);
        wait_for_the_end(s, &signals);
        log_line(LOG_INFO, "cli", "stopping: requests under way may finish");
    }
    let_signals_kill(&signals);
    stop(s);
    if (status == EXIT_STATUS_OK)
        log_line(LOG_INFO, "cli", "stopped");
    return status;
}

static int print(void (*write)(const void *context, struct buffer *out), const void *context)
{
    struct buffer text;
    buffer_init(&text, 256 * 1024);
    write(context, &text);
    bool is_good = buffer_error(&text) == ERR_OK;
    if (is_good)
        fwrite(text.data, 1, text.len, stdout);
    buffer_deinit(&text);
    return is_good ? EXIT_STATUS_OK : EXIT_STATUS_FAILED;
}

static void write_help(const void *context, struct buffer *out)
{
    (void)context;
    options_write_help(&serve_option_table, out);
}

static void write_config(const void *context, struct buffer *out)
{
    options_write_config(&serve_option_table, context, out);
}

int serve_main(int argc, char **argv)
{
    if (options_ask_for_help(argc, argv))
        return print(write_help, NULL);
    char message[OPTIONS_MESSAGE_MAX];
    struct arena arena;
    struct option_settings settings;
    struct serving s = { 0 };
    arena_init(&arena, OPTIONS_BYTES_MAX, NULL);
    int status = EXIT_STATUS_USAGE;
    if (options_read(&serve_option_table, argc, argv, environ, &arena, &s.options, &settings,
                     message) != ERR_OK) {
        (void)complain(message);
    } else {
        options_warn_unknown(&serve_option_table, environ, stderr);
        status = check_options(&s, &settings, &arena);
        if (status == EXIT_STATUS_OK)
            status = s.options.print_config ? print(write_config, &settings) : run(&s);
    }
    arena_deinit(&arena);
    return status;
}
