/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/disk_guard.h"

#include "base/log.h"
#include "storage/sqlite/engine_private.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MIN_BYTES     ((uint64_t)256 << 20)
#define BALLAST_LEAST ((uint64_t)8 << 20)
#define BALLAST_SHARE 32 /* of what is stored */
#define EVICT_EVERY_NS                                                                             \
    (10 * NS_PER_S) /* the disk, and who else writes to it, need a moment to answer */

static const char *const state_texts[DISK_STATE_COUNT] = { "ok", "low", "critical", "recover" };

const char *disk_state_text(enum disk_state state)
{
    return state_texts[state];
}

uint64_t disk_min_bytes(uint64_t total_bytes)
{
    return total_bytes / 16 < MIN_BYTES ? total_bytes / 16 : MIN_BYTES;
}

enum disk_state disk_state_next(enum disk_state now, uint64_t free_bytes, uint64_t min_bytes,
                                bool has_ballast)
{
    uint64_t margin = min_bytes / 4; /* so that a state is not left again at once */
    bool is_low = free_bytes / 2 < min_bytes;
    if (free_bytes < min_bytes)
        return DISK_CRITICAL;
    switch (now) {
    case DISK_OK:
        return is_low ? DISK_LOW : DISK_OK;
    case DISK_LOW:
        return free_bytes - min_bytes < min_bytes + margin ? DISK_LOW : DISK_OK;
    case DISK_CRITICAL:
        return free_bytes - min_bytes < margin ? DISK_CRITICAL : DISK_RECOVER;
    case DISK_RECOVER:
        return !has_ballast ? DISK_RECOVER : is_low ? DISK_LOW : DISK_OK;
    case DISK_STATE_COUNT:
        break;
    }
    assert(false);
    return DISK_CRITICAL;
}

/* ---- The ballast ----------------------------------------------------------------------------- */

static bool ballast_path(const struct sqlite_engine *e, char path[4096 + 32])
{
    int len = snprintf(path, 4096 + 32, "%s/ballast", e->directory);
    return len > 0 && len < 4096 + 32;
}

/* Blocks of the disk, not bytes that were written: quick, and given back at once. */
static bool ballast_make(const struct sqlite_engine *e, uint64_t bytes)
{
    char path[4096 + 32];
    if (!ballast_path(e, path))
        return false;
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return false;
    bool is_made = fallocate(fd, 0, 0, (off_t)bytes) == 0 || errno == EOPNOTSUPP;
    if (is_made && ftruncate(fd, (off_t)bytes) != 0) /* the same, or shorter than it was */
        is_made = false;
    (void)close(fd);
    if (!is_made)
        (void)unlink(path);
    return is_made;
}

static void ballast_drop(const struct sqlite_engine *e)
{
    char path[4096 + 32];
    if (ballast_path(e, path) && unlink(path) == 0)
        log_line(LOG_WARN, "storage", "the ballast is given up: the disk is as good as full");
}

static uint64_t stored_bytes(struct sqlite_engine *e)
{
    uint64_t bytes = atomic_load(&e->catalog_bytes);
    (void)pthread_mutex_lock(&e->partitions_lock);
    for (size_t i = 0; i < e->partitions_count; i++)
        bytes += atomic_load_explicit(&e->partitions[i]->bytes, memory_order_relaxed);
    (void)pthread_mutex_unlock(&e->partitions_lock);
    return bytes;
}

/* A share of what is stored, so that little data has little beside it; doubled when it has grown, so seldom. */
static uint64_t ballast_wanted(struct sqlite_engine *e, uint64_t most)
{
    uint64_t least = BALLAST_LEAST < most ? BALLAST_LEAST : most;
    uint64_t bytes = stored_bytes(e) / BALLAST_SHARE;
    bytes = bytes < most ? bytes : most;
    if (!e->disk.has_ballast)
        return bytes > least ? bytes : least;
    bool is_more =
        bytes / 2 >= e->disk.ballast_made || (bytes == most && e->disk.ballast_made < most);
    return is_more && atomic_load(&e->disk.state) == DISK_OK ? bytes : 0;
}

static void ballast_tend(struct sqlite_engine *e, uint64_t free_bytes, uint64_t min_bytes)
{
    struct disk_guard *g = &e->disk;
    uint64_t most = g->ballast_bytes < min_bytes / 4 ? g->ballast_bytes : min_bytes / 4;
    bool is_critical = atomic_load(&g->state) == DISK_CRITICAL;
    if (g->has_ballast && is_critical && free_bytes < min_bytes / 4) {
        ballast_drop(e);
        g->has_ballast = false;
    } else if (!is_critical && most > 0) {
        uint64_t bytes = ballast_wanted(e, most);
        if (bytes == 0)
            return;
        g->has_ballast = ballast_make(e, bytes);
        g->ballast_made = bytes;
    }
}

/* ---- Looking --------------------------------------------------------------------------------- */

static bool disk_look(const struct sqlite_engine *e, uint64_t *out_free, uint64_t *out_total)
{
    if (e->disk_free != NULL)
        return e->disk_free(e->disk_free_context, out_free, out_total);
    struct statvfs s;
    if (statvfs(e->directory, &s) != 0)
        return false;
    *out_free = (uint64_t)s.f_bavail * s.f_frsize;
    *out_total = (uint64_t)s.f_blocks * s.f_frsize;
    return true;
}

static void state_change(struct sqlite_engine *e, enum disk_state to, uint64_t free_bytes)
{
    struct disk_guard *g = &e->disk;
    enum disk_state from = atomic_exchange(&g->state, to);
    if (from == to)
        return;
    for (int s = 0; s < DISK_STATE_COUNT; s++)
        metric_set(e->metrics.disk_state[s], s == (int)to);
    log_line(to == DISK_CRITICAL ? LOG_ERROR
             : to == DISK_LOW    ? LOG_WARN
                                 : LOG_INFO,
             "storage", "the disk is %s, it was %s: %llu MiB free%s", state_texts[to],
             state_texts[from], (unsigned long long)(free_bytes >> 20),
             to == DISK_CRITICAL ? "; requests are refused" : "");
}

void disk_guard_run(struct sqlite_engine *e)
{
    struct disk_guard *g = &e->disk;
    uint64_t free_bytes = 0, total_bytes = 0, now = clock_mono_ns();
    if (!disk_look(e, &free_bytes, &total_bytes))
        return;
    uint64_t min_bytes = g->min_bytes != 0 ? g->min_bytes : disk_min_bytes(total_bytes);
    atomic_store(&g->free_bytes, free_bytes);
    metric_set(e->metrics.disk_free_bytes, free_bytes);
    ballast_tend(e, free_bytes, min_bytes);
    bool has_ballast = g->has_ballast || g->ballast_bytes == 0;
    enum disk_state to =
        disk_state_next(atomic_load(&g->state), free_bytes, min_bytes, has_ballast);
    state_change(e, to, free_bytes);
    if (g->evicts && (to == DISK_LOW || to == DISK_CRITICAL) &&
        (g->evicted_mono_ns == 0 || now - g->evicted_mono_ns >= EVICT_EVERY_NS)) {
        atomic_store(&g->evict_is_due, true);
        g->evicted_mono_ns = now;
    }
}
