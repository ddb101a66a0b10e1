/* SPDX-License-Identifier: Apache-2.0 */
/* sqlite_engine.c - opening a data directory and closing it. */
#include "storage/sqlite/sqlite_engine.h"

#include "base/crash_point.h"
#include "base/log.h"
#include "base/mem.h"
#include "storage/sqlite/engine_private.h"
#include "storage/sqlite/schema.h"
#include "storage/sqlite/summary.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define UNITS                8 /* partitions in what retention keeps, at the least */
#define MEMORY_BYTES_DEFAULT ((size_t)128 << 20)
#define LOOKBACK_NS_DEFAULT  (250 * NS_PER_MS)

const char *engine_reason(enum err error)
{
    switch (error) {
    case ERR_FULL:
        return "the disk is full";
    case ERR_CORRUPT:
        return "the open file is damaged";
    default:
        return "writing to the disk failed";
    }
}

PRINTF_LIKE(2, 3) static void message_set(char **out, const char *format, ...)
{
    if (out == NULL || *out != NULL)
        return; /* the first is the most exact */
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (len >= 0)
        *out = mem_text(text, strlen(text));
}

enum err engine_partition_add(struct sqlite_engine *e, struct partition *take_partition)
{
    enum err error = ERR_OK;
    (void)pthread_mutex_lock(&e->partitions_lock);
    if (e->partitions_count == e->partitions_capacity) {
        size_t capacity = e->partitions_capacity == 0 ? 16 : 2 * e->partitions_capacity;
        struct partition **grown =
            mem_realloc(e->partitions, capacity * sizeof(struct partition *));
        if (grown == NULL)
            error = ERR_NOMEM;
        else {
            e->partitions = grown;
            e->partitions_capacity = capacity;
        }
    }
    if (error == ERR_OK)
        e->partitions[e->partitions_count++] = take_partition;
    (void)pthread_mutex_unlock(&e->partitions_lock);
    return error;
}

void engine_partition_drop(struct sqlite_engine *e, struct partition *p)
{
    (void)pthread_mutex_lock(&e->partitions_lock);
    size_t kept = 0;
    for (size_t i = 0; i < e->partitions_count; i++)
        if (e->partitions[i] != p)
            e->partitions[kept++] = e->partitions[i];
    assert(kept + 1 == e->partitions_count);
    e->partitions_count = kept;
    (void)pthread_mutex_unlock(&e->partitions_lock);
    partition_release(p);
}

/* ---- The directory --------------------------------------------------------------------------- */

static enum err directory_open(struct sqlite_engine *e, const char *directory, char **out_message)
{
    if (mkdir(directory, 0700) != 0 && errno != EEXIST) {
        enum err error = errno == ENOSPC ? ERR_FULL : ERR_IO;
        message_set(out_message, "cannot make the directory %s: %s", directory, strerror(errno));
        return error;
    }
    /* Without links in it: SQLite is told to follow none. */
    char resolved[4096];
    if (realpath(directory, resolved) == NULL) {
        message_set(out_message, "cannot use the directory %s: %s", directory, strerror(errno));
        return ERR_IO;
    }
    e->directory = mem_text(resolved, strlen(resolved));
    return e->directory == NULL ? ERR_NOMEM : ERR_OK;
}

static enum err file_open(const char *directory, const char *name, int *out_fd)
{
    char path[4096 + 32];
    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return errno == ENOSPC ? ERR_FULL : ERR_IO;
    *out_fd = fd;
    return ERR_OK;
}

static enum err lock_take(struct sqlite_engine *e, char **out_message)
{
    enum err error = file_open(e->directory, "lock", &e->lock_fd);
    if (error != ERR_OK) {
        message_set(out_message, "cannot open %s/lock: %s", e->directory, strerror(errno));
        return error;
    }
    if (flock(e->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        message_set(out_message, "the data directory %s is in use by another process",
                    e->directory);
        return ERR_LOCKED;
    }
    return ERR_OK;
}

/* ---- Loading --------------------------------------------------------------------------------- */

struct load {
    struct sqlite_engine *engine;
    struct group **groups; /* of all partitions, in order */
    size_t count, capacity;
    uint64_t counted_spans; /* by the operations of the partition at hand */
};

static enum err load_group(void *context, struct group *take_group, struct bytes requests)
{
    struct load *l = context;
    struct sqlite_engine *e = l->engine;
    if (l->count == l->capacity) {
        size_t capacity = l->capacity == 0 ? 64 : 2 * l->capacity;
        struct group **grown = mem_realloc(l->groups, capacity * sizeof(struct group *));
        if (grown == NULL) {
            group_release(take_group);
            return ERR_NOMEM;
        }
        l->groups = grown;
        l->capacity = capacity;
    }
    l->groups[l->count++] = take_group;
    for (size_t at = 0; at + 24 <= requests.len; at += 24)
        request_memory_add(&e->writer.requests, hash128_load(bytes_slice(requests, at, 16)),
                           load_le64(requests.data + at + 16));
    return ERR_OK;
}

static enum err load_operation(void *context, struct bytes service, struct bytes name,
                               uint32_t kind, uint64_t spans)
{
    struct load *l = context;
    l->counted_spans += spans;
    return operations_add(&l->engine->operations, service, name, kind, spans);
}

void engine_partition_damaged(struct sqlite_engine *e, struct partition *p, enum err error)
{
    if (p->has_damage)
        return;
    p->has_damage = true;
    atomic_fetch_add(&e->damaged_partitions, 1);
    metric_add(e->metrics.damaged_partitions, 1);
    log_line(LOG_ERROR, "storage", "partition %llu is damaged: %s: %s", (unsigned long long)p->id,
             p->path, err_text(error));
}

/* A page of the list that reads as empty hides row groups without an error: but their spans were counted. */
static void spans_compare(struct load *l, struct partition *p, size_t groups_before)
{
    uint64_t rows = 0;
    for (size_t i = groups_before; i < l->count; i++)
        rows += l->groups[i]->signal == SIGNAL_TRACES ? l->groups[i]->rows : 0;
    if (l->counted_spans <= rows)
        return;
    log_line(
        LOG_ERROR, "storage", "partition %llu lists row groups of %llu spans, and counted %llu",
        (unsigned long long)p->id, (unsigned long long)rows, (unsigned long long)l->counted_spans);
    engine_partition_damaged(l->engine, p, ERR_CORRUPT);
}

/* Files of the last minutes are read in any case: they hold the hashes of requests that may come again. */
static bool is_loaded_from_catalog(const struct sqlite_engine *e, const struct partition *p)
{
    uint64_t now = retention_clock_now(&e->clock); /* after a power cut it may be behind */
    return p->is_summarised && p->state == PARTITION_SEALED && now > p->closed_clock_ns &&
           now - p->closed_clock_ns > SPAN_LOOKBACK_NS;
}

static enum err load_partition(struct load *l, struct partition *p)
{
    struct sqlite_engine *e = l->engine;
    enum err error = p->checked;
    size_t groups_before = l->count;
    /* The operations of those that are summarised have been added all together. */
    uint64_t damaged_filters = 0;
    l->counted_spans = 0;
    const struct partition_visit visit = { l, &e->view.filters, &damaged_filters, load_group,
                                           p->is_summarised ? NULL : load_operation };
    if (error == ERR_OK && is_loaded_from_catalog(e, p)) {
        error = summary_load(e, p, &visit);
    } else if (error == ERR_OK) {
        error = partition_load(p, &visit);
        if (error == ERR_OK)
            spans_compare(l, p, groups_before);
        if (error == ERR_OK)
            error = derived_load(e, p);
    }
    if (damaged_filters > 0) {
        log_line(LOG_ERROR, "storage",
                 "%llu trace filters of partition %llu are damaged: their row groups are asked for "
                 "every trace",
                 (unsigned long long)damaged_filters, (unsigned long long)p->id);
        metric_add(e->metrics.damaged_filters, damaged_filters);
    }
    if (error == ERR_CORRUPT || error == ERR_NOT_FOUND) {
        while (l->count > groups_before)
            group_release(l->groups[--l->count]);
        p->is_damaged = true;
        engine_partition_damaged(e, p, error);
        return ERR_OK;
    }
    return error;
}

/* Newer files are refused before anything is opened for writing. An older one is not written any more:
 * what its journal holds is moved, as out of a frozen one. */
static enum err check_all(struct sqlite_engine *e, char **out_message)
{
    for (size_t i = 0; i < e->partitions_count; i++) {
        struct partition *p = e->partitions[i];
        if (p->state == PARTITION_REMOVING)
            continue;
        enum err error = schema_check(SCHEMA_PARTITION, p->path, e->vfs, &p->version);
        p->checked = error;
        if (error == ERR_OK && p->version < SCHEMA_VERSION && p->state == PARTITION_OPEN)
            p->state = PARTITION_FROZEN;
        if (error != ERR_NEWER)
            continue;
        message_set(out_message,
                    "%s has format version %u, and this program knows versions up to %u", p->path,
                    p->version, SCHEMA_VERSION);
        return error;
    }
    return ERR_OK;
}

static bool is_marked_frozen(const struct partition *p)
{
    char path[4096 + 64];
    int len = snprintf(path, sizeof path, "%s.frozen", p->path);
    return len > 0 && (size_t)len < sizeof path && access(path, F_OK) == 0;
}

static enum err list_partitions(struct sqlite_engine *e)
{
    struct catalog_partition *listed = NULL;
    size_t count = 0;
    enum err error = catalog_partitions(catalog_db(e->catalog), &listed, &count);
    for (size_t i = 0; error == ERR_OK && i < count; i++) {
        struct partition *p = partition_new(e->directory, e->vfs, &listed[i]);
        if (p == NULL) {
            error = ERR_NOMEM;
            break;
        }
        if (p->state == PARTITION_OPEN && is_marked_frozen(p))
            p->state = PARTITION_FROZEN;
        error = engine_partition_add(e, p);
        if (error != ERR_OK)
            partition_release(p);
    }
    mem_free(listed);
    return error;
}

void engine_note_newest(struct sqlite_engine *e, uint64_t start_max_unix_ns, uint64_t built_unix_ns)
{
    uint64_t now = clock_unix_ns(), newest = start_max_unix_ns;
    if (newest > now + 24 * 3600 * NS_PER_S)
        newest = built_unix_ns < now ? built_unix_ns : now;
    if (newest > atomic_load(&e->newest_start_unix_ns))
        atomic_store(&e->newest_start_unix_ns, newest);
}

static enum err groups_show(struct load *l)
{
    struct sqlite_engine *e = l->engine;
    for (int s = 0; s < SIGNAL_COUNT; s++) {
        struct group_list *list = group_list_new(l->count);
        if (list == NULL)
            return ERR_NOMEM;
        for (size_t i = 0; i < l->count; i++) {
            struct group *g = l->groups[i];
            if (g == NULL || (int)g->signal != s)
                continue;
            group_list_push(list, g);
            l->groups[i] = NULL;
            atomic_fetch_add(&e->stored_items[s], g->rows);
            atomic_fetch_add(&e->groups_count, 1);
            if (s == SIGNAL_TRACES)
                engine_note_newest(e, g->start_max_unix_ns, g->built_unix_ns);
        }
        view_retire(&e->view, (enum signal)s, list, 0, NULL, 0);
    }
    return ERR_OK;
}

static void load_deinit(struct load *l)
{
    for (size_t i = 0; i < l->count; i++)
        group_release(l->groups[i]);
    mem_free(l->groups);
}

/* What version 1 did not know is written down once; on a full disk at a later start. */
static enum err partitions_date(struct sqlite_engine *e)
{
    if (catalog_db(e->catalog)->is_sync_failed)
        return ERR_OK;
    uint64_t now = retention_clock_now(&e->clock);
    for (size_t i = 0; i < e->partitions_count; i++) {
        struct partition *p = e->partitions[i];
        if (p->closed_clock_ns == 0 && p->state != PARTITION_OPEN)
            p->closed_clock_ns = now;
    }
    enum err error = retention_clock_store(&e->clock, e->catalog);
    if (error == ERR_OK)
        error = catalog_partitions_date(e->catalog, now);
    return error == ERR_FULL || error == ERR_IO ? ERR_OK : error;
}

static enum err load_all(struct sqlite_engine *e, char **out_message)
{
    struct load l = { .engine = e };
    uint64_t first_arrival = 0;
    enum err error = list_partitions(e);
    if (error == ERR_OK)
        error = check_all(e, out_message);
    if (error == ERR_OK)
        error = partitions_date(e);
    if (error == ERR_OK)
        error = summary_load_operations(e);
    for (size_t i = 0; error == ERR_OK && i < e->partitions_count; i++)
        if (e->partitions[i]->state != PARTITION_REMOVING)
            error = load_partition(&l, e->partitions[i]);
    if (error == ERR_OK)
        error = derived_catalog_load(e);
    if (error == ERR_OK)
        error = derived_halves_load(e);
    if (error == ERR_OK)
        error = derived_names_load(e);
    if (error == ERR_OK)
        error = groups_show(&l);
    if (error == ERR_OK)
        error = replay_journals(e, &first_arrival);
    for (size_t i = 0; i < e->partitions_count; i++)
        if (e->partitions[i]->state != PARTITION_REMOVING &&
            (first_arrival == 0 ||
             (l.count > 0 && e->partitions[i]->opened_unix_ns < first_arrival)))
            first_arrival = l.count > 0 ? e->partitions[i]->opened_unix_ns : first_arrival;
    atomic_store(&e->first_arrival_unix_ns, first_arrival);
    load_deinit(&l);
    return error;
}

/* ---- Opening and closing --------------------------------------------------------------------- */

static void disk_metrics_register(struct sqlite_engine *e, struct metrics *m)
{
    for (int s = 0; s < DISK_STATE_COUNT; s++) {
        char labels[64];
        (void)snprintf(labels, sizeof labels, "state=\"%s\"", disk_state_text((enum disk_state)s));
        e->metrics.disk_state[s] =
            metrics_gauge(m, "spindle_disk_state", labels,
                          "1 for the state that the disk is in; critical: requests are refused");
        metric_set(e->metrics.disk_state[s], s == DISK_OK);
    }
    e->metrics.disk_free_bytes =
        metrics_gauge(m, "spindle_disk_free_bytes", NULL, "What is free of the data's disk");
}

static void expiry_metrics_register(struct sqlite_engine *e, struct metrics *m)
{
    static const char *const reasons[EXPIRY_COUNT] = { "age", "size", "disk" };
    static const char *const signals[SIGNAL_COUNT] = { "traces", "logs" };
    for (int r = 0; r < EXPIRY_COUNT; r++) {
        char labels[64];
        (void)snprintf(labels, sizeof labels, "reason=\"%s\"", reasons[r]);
        e->metrics.expired_bytes[r] = metrics_counter(m, "spindle_expired_bytes_total", labels,
                                                      "Bytes of partitions removed by retention");
        e->metrics.expired_partitions[r] = metrics_counter(
            m, "spindle_expired_partitions_total", labels, "Partitions removed by retention");
        for (int s = 0; s < SIGNAL_COUNT; s++) {
            (void)snprintf(labels, sizeof labels, "signal=\"%s\",reason=\"%s\"", signals[s],
                           reasons[r]);
            e->metrics.expired_items[s][r] =
                metrics_counter(m, "spindle_expired_items_total", labels,
                                "Spans and log records removed by retention");
        }
    }
}

static void metrics_register(struct sqlite_engine *e, struct metrics *m)
{
#define X(field, text, labels, help) e->metrics.field = metrics_counter(m, text, labels, help);
    STORAGE_COUNTERS(X)
#undef X
    e->metrics.pending_bytes = metrics_gauge(m, "spindle_storage_pending_bytes", NULL,
                                             "Bodies that are not in row groups yet");
    e->metrics.wal_bytes =
        metrics_gauge(m, "spindle_storage_wal_bytes", NULL, "The open partition's write-ahead log");
    e->metrics.segment_bytes = metrics_gauge(m, "spindle_storage_journal_file_bytes", NULL,
                                             "The open partition's journal files");
    e->metrics.writable =
        metrics_gauge(m, "spindle_storage_writable", NULL, "0 while the disk refuses writes");
    metric_set(e->metrics.writable, 1);
    e->metrics.commit_duration =
        metrics_histogram(m, "spindle_commit_duration_seconds", NULL,
                          "Time of a group commit, from its begin to the end of its sync");
    e->metrics.build_duration = metrics_histogram(m, "spindle_build_duration_seconds", NULL,
                                                  "Time of building a row group");
    e->metrics.merge_duration = metrics_histogram(m, "spindle_merge_duration_seconds", NULL,
                                                  "Time of merging row groups into one");
    expiry_metrics_register(e, m);
    disk_metrics_register(e, m);
}

/* Stops the threads; what is queued is answered. */
static void engine_stop(struct sqlite_engine *e)
{
    atomic_store_explicit(&e->is_stopping, true, memory_order_release);
    body_digests_stop(&e->body_digests);
    if (e->builder.is_started && e->writer.is_started && !e->is_left_alone) {
        CRASH_POINT("close_begun");
        maintain_stop(e);
        /* What cannot be written now stays in the journal for the next start. */
        enum err error = builder_flush(e);
        builder_stop(e);
        if (error == ERR_OK)
            error = writer_task_run(e, writer_shrink_open, NULL);
        if (error == ERR_OK)
            error = writer_task_run(e, writer_checkpoint_all, NULL);
        if (error != ERR_OK)
            log_line(LOG_WARN, "storage", "closing with a journal: %s", err_text(error));
    }
    builder_stop(e);
    writer_stop(e);
}

static void sqlite_close(struct engine *base)
{
    struct sqlite_engine *e = sqlite_engine_from(base);
    engine_stop(e);
    group_cache_deinit(&e->group_cache);
    pending_counts_deinit(&e->pending_counts);
    pending_edges_deinit(&e->pending_edges);
    maintain_deinit(e); /* it holds row groups */
    body_digests_deinit(&e->body_digests);
    view_deinit(&e->view);
    watch_deinit(&e->watch);
    for (size_t i = 0; i < e->partitions_count; i++)
        partition_release(e->partitions[i]);
    mem_free(e->partitions);
    catalog_close(e->catalog);
    writer_deinit(e);
    builder_deinit(e);
    operations_deinit(&e->operations);
    first_seen_deinit(&e->first_seen);
    derived_deinit(&e->derived);
    (void)pthread_rwlock_destroy(&e->operations_lock);
    (void)pthread_mutex_destroy(&e->partitions_lock);
    if (e->lock_fd >= 0)
        (void)close(e->lock_fd); /* gives the lock back */
    mem_free(e->directory);
    mem_free(e->vfs);
    mem_free(e);
}

static void sqlite_watch(struct engine *base, stored_fn *on_stored, void *context)
{
    watch_set(&sqlite_engine_from(base)->watch, on_stored, context);
}

static void options_take(struct sqlite_engine *e, const struct sqlite_engine_options *o)
{
    e->durability = o->durability;
    e->memory_bytes = o->memory_bytes != 0 ? o->memory_bytes : MEMORY_BYTES_DEFAULT;
    e->builder_rows = o->builder_rows != 0 ? o->builder_rows : 32768;
    e->build_threads = o->build_threads;
    e->lookback_ns = o->lookback_ns != 0 ? o->lookback_ns : LOOKBACK_NS_DEFAULT;
    e->builder_age_ns = o->builder_age_ns != 0 ? o->builder_age_ns : 5 * NS_PER_S;
    e->partition_bytes_max =
        o->partition_bytes_max != 0 ? o->partition_bytes_max : (uint64_t)1 << 30;
    e->partition_age_ns = o->partition_age_ns != 0 ? o->partition_age_ns : 3600 * NS_PER_S;
    e->retention_age_ns = o->retention_age_ns;
    e->retention_rollups_ns = o->retention_rollups_ns;
    if (o->retention_age_ns == 0 || o->retention_logs_ns < o->retention_age_ns)
        e->retention_logs_ns = o->retention_logs_ns;
    e->retention_bytes = o->retention_bytes;
    e->maintain_interval_ns = o->maintain_interval_ns != 0 ? o->maintain_interval_ns : NS_PER_S;
    e->is_left_alone = o->is_left_alone;
    e->disk.min_bytes = o->min_free_bytes;
    e->disk.ballast_bytes = o->ballast_bytes;
    e->disk.evicts = o->min_free_bytes != 0 || o->retention_bytes != 0;
    e->disk_free = o->disk_free;
    e->disk_free_context = o->disk_free_context;
    /* Partitions go whole: what is kept too long, or too much, is one of them. */
    if (e->retention_age_ns != 0 && e->partition_age_ns > e->retention_age_ns / UNITS)
        e->partition_age_ns = e->retention_age_ns / UNITS;
    if (e->retention_logs_ns != 0 && e->partition_age_ns > e->retention_logs_ns / UNITS)
        e->partition_age_ns = e->retention_logs_ns / UNITS;
    if (e->retention_bytes != 0 && e->partition_bytes_max > e->retention_bytes / UNITS)
        e->partition_bytes_max = e->retention_bytes / UNITS;
    if (e->builder_rows > ROWGROUP_ROWS_MAX / 2)
        e->builder_rows = ROWGROUP_ROWS_MAX / 2;
    budget_init(&e->budget, e->memory_bytes / 2, NULL);
    budget_init(&e->background, e->memory_bytes / 2, NULL);
    body_digests_init(&e->body_digests, &e->view, 2 * (uint64_t)e->builder_rows);
    group_cache_init(&e->group_cache, e->memory_bytes / GROUP_CACHE_SHARE);
    pending_counts_init(&e->pending_counts, &e->derived.totals,
                        e->memory_bytes / PENDING_COUNTS_SHARE);
    pending_edges_init(&e->pending_edges, &e->derived.totals, e->memory_bytes / PENDING_EDGES_SHARE,
                       NULL);
    metrics_register(e, o->metrics);
}

static enum err engine_begin(struct sqlite_engine *e, const struct sqlite_engine_options *options,
                             char **out_message)
{
    enum err error = directory_open(e, options->directory, out_message);
    e->view.digests.directory = e->directory;
    if (error == ERR_OK && options->vfs != NULL) {
        e->vfs = mem_text(options->vfs, strlen(options->vfs));
        error = e->vfs == NULL ? ERR_NOMEM : ERR_OK;
    }
    if (error == ERR_OK)
        error = lock_take(e, out_message);
    uint32_t version = 0;
    if (error == ERR_OK)
        error = catalog_open(e->directory, e->vfs, &e->catalog, &version);
    if (error == ERR_NEWER)
        message_set(out_message,
                    "%s/catalog.db has format version %u, and this program knows versions up to %u",
                    e->directory, version, SCHEMA_VERSION);
    if (error == ERR_CORRUPT)
        message_set(out_message, "the catalogue %s/catalog.db is damaged", e->directory);
    if (error == ERR_OK)
        error = catalog_content_key(e->catalog, &e->content_key);
    if (error == ERR_OK)
        error = retention_clock_load(&e->clock, e->catalog);
    if (error == ERR_OK)
        error = first_seen_load(&e->first_seen, e->catalog);
    if (error == ERR_OK)
        error = load_all(e, out_message);
    if (error == ERR_OK)
        error = retention_logs_load(e);
    if (error == ERR_OK && file_open(e->directory, "acked", &e->writer.acked_fd) != ERR_OK)
        e->writer.acked_fd = -1; /* only reports losses */
    if (error == ERR_OK)
        error = writer_start(e);
    if (error == ERR_OK)
        error = builder_start(e);
    if (error == ERR_OK && !e->is_left_alone)
        error = maintain_start(e);
    if (error == ERR_OK)
        error = body_digests_start(&e->body_digests);
    return error;
}

enum err sqlite_engine_open(const struct sqlite_engine_options *options, struct engine **out,
                            char **out_message)
{
    char *message = NULL;
    struct sqlite_engine *e = mem_zalloc(sizeof *e);
    if (e == NULL)
        return ERR_NOMEM;
    e->base.ops = &sqlite_engine_ops;
    e->lock_fd = -1;
    operations_init(&e->operations);
    first_seen_init(&e->first_seen);
    (void)pthread_rwlock_init(&e->operations_lock, NULL);
    (void)pthread_mutex_init(&e->partitions_lock, NULL);
    watch_init(&e->watch);
    maintain_init(e);
    options_take(e, options);
    enum err error = writer_init(e);
    enum err builder_error = builder_init(e); /* all of them, so that closing finds them made */
    enum err view_error = view_init(&e->view);
    enum err derived_error = derived_init(&e->derived, e->memory_bytes, &e->background);
    e->derived.totals.rules = options->name_rules;
    if (options->totals_idle_ns != 0)
        e->derived.totals.idle_ns = options->totals_idle_ns;
    if (options->sums_worth_bytes != 0)
        e->derived.sums_worth_bytes = options->sums_worth_bytes;
    error = error != ERR_OK           ? error
            : builder_error != ERR_OK ? builder_error
            : view_error != ERR_OK    ? view_error
                                      : derived_error;
    if (error == ERR_OK)
        error = engine_begin(e, options, &message);
    if (error != ERR_OK) {
        sqlite_close(&e->base);
        message_set(&message, "cannot open the data directory %s: %s", options->directory,
                    err_text(error));
        if (out_message != NULL)
            *out_message = message;
        else
            mem_free(message);
        return error;
    }
    mem_free(message);
    *out = &e->base;
    return ERR_OK;
}

static enum err sqlite_settle(struct engine *base)
{
    struct sqlite_engine *e = sqlite_engine_from(base);
    enum err error = builder_flush(e);
    return error == ERR_OK ? writer_task_run(e, writer_checkpoint_all, NULL) : error;
}

static void sqlite_statistics(struct engine *base, struct engine_statistics *out)
{
    struct sqlite_engine *e = sqlite_engine_from(base);
    uint64_t pending[SIGNAL_COUNT], items = 0;
    for (int s = 0; s < SIGNAL_COUNT; s++) {
        pending[s] = atomic_load(&e->pending_items[s]);
        items += pending[s];
    }
    uint64_t bytes = atomic_load(&e->catalog_bytes), count, damaged;
    (void)pthread_mutex_lock(&e->partitions_lock);
    count = e->partitions_count;
    for (size_t i = 0; i < count; i++)
        bytes += atomic_load_explicit(&e->partitions[i]->bytes, memory_order_relaxed);
    (void)pthread_mutex_unlock(&e->partitions_lock);
    damaged = atomic_load(&e->damaged_partitions);
    const char *reason = atomic_load(&e->not_writable);
    enum disk_state disk = atomic_load(&e->disk.state);
    if (reason == NULL && disk == DISK_CRITICAL)
        reason = "little of the disk is free";
    *out = (struct engine_statistics){
        .spans = pending[SIGNAL_TRACES] + atomic_load(&e->stored_items[SIGNAL_TRACES]),
        .logs = pending[SIGNAL_LOGS] + atomic_load(&e->stored_items[SIGNAL_LOGS]),
        .journal_items = items,
        .journal_bytes = atomic_load(&e->pending_bytes),
        .row_groups = atomic_load(&e->groups_count),
        .partitions = count,
        .partitions_damaged = damaged,
        .row_groups_damaged = atomic_load(&e->damaged_groups),
        .rollups_damaged = atomic_load(&e->derived.damaged),
        .disk_bytes = bytes,
        .first_arrival_unix_ns = atomic_load(&e->first_arrival_unix_ns),
        .newest_start_unix_ns = atomic_load(&e->newest_start_unix_ns),
        .is_writable = reason == NULL,
        .not_writable_reason = reason,
        .is_durable = e->durability == DURABILITY_FSYNC,
        .disk_state = disk,
        .disk_free_bytes = atomic_load(&e->disk.free_bytes),
    };
}

static bool sqlite_service_number(struct engine *base, struct bytes service, uint32_t *out)
{
    return first_seen_number(&sqlite_engine_from(base)->first_seen, service, out);
}

const struct engine_ops sqlite_engine_ops = {
    .append = writer_append,
    .trace_get = sqlite_trace_get,
    .trace_logs = sqlite_trace_logs,
    .trace_walk = sqlite_trace_walk,
    .watch = sqlite_watch,
    .partitions = sqlite_partitions,
    .rows_scan = sqlite_rows_scan,
    .rows_sample = sqlite_rows_sample,
    .rows_view = sqlite_rows_view,
    .span_trace = sqlite_span_trace,
    .traces_find = sqlite_traces_find,
    .logs_find = sqlite_logs_find,
    .services = sqlite_services,
    .operations = sqlite_operations,
    .service_number = sqlite_service_number,
    .attribute_keys = sqlite_attribute_keys,
    .attribute_values = sqlite_attribute_values,
    .red = sqlite_red,
    .edges = sqlite_edges,
    .totals = sqlite_totals,
    .cleaned_names = sqlite_cleaned_names,
    .statistics = sqlite_statistics,
    .settle = sqlite_settle,
    .close = sqlite_close,
};
