/* SPDX-License-Identifier: Apache-2.0 */
/* /metrics: the registry, and what is only known at the moment of asking. Names and units of the
 * process_ family are those that Prometheus' client libraries use. */
#include "collector/collector_private.h"

#include "base/clock.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define PAGE_MAX (8 * 1024 * 1024) /* a few thousand series of some hundred bytes */

static void write_head(struct buffer *b, const char *name, const char *type, const char *help)
{
    buffer_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_u64(struct buffer *b, const char *name, const char *type, const char *help,
                      uint64_t v)
{
    write_head(b, name, type, help);
    buffer_append_text(b, name);
    buffer_append_byte(b, ' ');
    buffer_append_u64(b, v);
    buffer_append_byte(b, '\n');
}

static void write_seconds(struct buffer *b, const char *name, const char *type, const char *help,
                          uint64_t s, uint64_t us)
{
    write_head(b, name, type, help);
    buffer_printf(b, "%s %llu.%06llu\n", name, (unsigned long long)s, (unsigned long long)us);
}

/* Resident pages: the second number of statm. 0 when it cannot be read. */
static uint64_t resident_bytes(void)
{
    unsigned long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == NULL)
        return 0;
    if (fscanf(f, "%*u %llu", &pages) != 1)
        pages = 0;
    fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t open_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    if (d == NULL)
        return 0;
    uint64_t n = 0;
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n > 3 ? n - 3 : 0; /* without ".", ".." and the directory itself */
}

static void write_process(const struct collector *c, struct buffer *b)
{
    struct rusage usage;
    struct rlimit limit;
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        uint64_t us = (uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec;
        uint64_t s =
            (uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec + us / 1000000;
        write_seconds(b, "process_cpu_seconds_total", "counter",
                      "User and system CPU time of the process in seconds.", s, us % 1000000);
    }
    write_u64(b, "process_resident_memory_bytes", "gauge", "Resident memory in bytes.",
              resident_bytes());
    write_u64(b, "process_open_fds", "gauge", "Open file descriptors.", open_descriptors());
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        write_u64(b, "process_max_fds", "gauge", "File descriptors that may be open.",
                  limit.rlim_cur);
    write_seconds(b, "process_start_time_seconds", "gauge",
                  "Start of the process in seconds since 1970.", c->started_unix_ns / NS_PER_S,
                  c->started_unix_ns % NS_PER_S / NS_PER_US);
}

/* A name space of its own: engines register their own counters besides. */
static void write_engine(const struct collector *c, struct buffer *b)
{
    struct engine_statistics s;
    engine_statistics(c->engine, &s);
    write_u64(b, "spindle_engine_spans", "gauge", "Spans that can be retrieved.", s.spans);
    write_u64(b, "spindle_engine_logs", "gauge", "Log records that can be retrieved.", s.logs);
    write_u64(b, "spindle_engine_journal_items", "gauge",
              "Acknowledged items that are not yet in row groups.", s.journal_items);
    write_u64(b, "spindle_engine_journal_bytes", "gauge", "Bytes of the journal.", s.journal_bytes);
    write_u64(b, "spindle_engine_row_groups", "gauge", "Row groups.", s.row_groups);
    write_u64(b, "spindle_engine_partitions", "gauge", "Partition files.", s.partitions);
    write_u64(b, "spindle_engine_partitions_damaged", "gauge",
              "Partition files set aside as damaged.", s.partitions_damaged);
    write_u64(b, "spindle_engine_disk_bytes", "gauge", "Bytes of the data directory.",
              s.disk_bytes);
    write_u64(b, "spindle_engine_writable", "gauge",
              "1 while telemetry is taken, 0 when read-only.", s.is_writable);
    write_u64(b, "spindle_engine_durable", "gauge",
              "1 when an acknowledgement survives a power cut.", s.is_durable);
}

static void on_metrics(struct exchange *x, void *context)
{
    struct collector *c = context;
    struct buffer page;
    buffer_init(&page, PAGE_MAX);
    write_head(&page, "spindle_build_info", "gauge", "1, with the version as a label.");
    buffer_printf(&page, "spindle_build_info{version=\"%s\"} 1\n", c->version);
    write_process(c, &page);
    write_u64(&page, "spindle_health_watchers", "gauge", "Open health watch streams.",
              atomic_load_explicit(&c->watchers, memory_order_relaxed));
    write_engine(c, &page);
    if (c->metrics != NULL)
        metrics_write(c->metrics, &page);

    struct response head = { .status = 200,
                             .content_type = "text/plain; version=0.0.4; charset=utf-8",
                             .may_compress = true };
    if (buffer_error(&page) != ERR_OK) {
        head = (struct response){ .status = 503 };
        buffer_deinit(&page);
    }
    exchange_respond(x, &head, &page);
}

enum err metrics_page_add_route(struct collector *c, struct router *r)
{
    const struct route route = { .kind = ROUTE_HTTP,
                                 .method = HTTP_GET,
                                 .path = "/metrics",
                                 .scope = SCOPE_READ,
                                 .handler = on_metrics,
                                 .context = c };
    return router_add(r, &route);
}
