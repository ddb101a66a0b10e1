/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/testing/power_vfs.h"

#include "base/random.h"
#include "storage/sqlite/db.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* A change that is not durable yet, in order of happening. */
struct change {
    struct change *next;
    uint64_t at; /* of a truncation: the new size */
    size_t len;
    bool is_truncation;
    uint8_t data[];
};

/* What is known of a path. The real file holds what programs read; `durable` what a disk would. */
struct inode {
    struct inode *next;
    char path[512];
    bool exists;           /* for programs */
    bool entry_is_durable; /* a cut leaves it there */
    bool syncs_entry;      /* a log or journal: its first sync is its directory's too */
    bool was_synced;       /* before that nothing in it can have been relied on */
    bool sync_has_failed;
    uint8_t *durable;
    size_t durable_len, durable_capacity;
    size_t len; /* for programs */
    struct change *first, *last;
};

struct power_file {
    sqlite3_file base;   /* first */
    struct inode *inode; /* NULL: a file that need not survive */
    sqlite3_file *real;
};

static struct {
    pthread_mutex_t lock;
    struct sqlite3_vfs vfs, *real;
    struct inode *inodes;
    struct random random;
    enum power_defect defect;
    unsigned long events, cut_at;
    bool is_cut;
    unsigned fail_calls;
    unsigned long fail_at;
    bool fail_is_sticky, has_fired;
    uint64_t bytes_max;
    unsigned long after_failed_sync;
} power = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- Durable images --------------------------------------------------------------------------------- */

static void durable_resize(struct inode *f, size_t len)
{
    if (len > f->durable_capacity) {
        size_t capacity = len + len / 2 + 4096;
        f->durable = realloc(f->durable, capacity);
        assert(f->durable != NULL);
        f->durable_capacity = capacity;
    }
    if (len > f->durable_len)
        memset(f->durable + f->durable_len, 0, len - f->durable_len);
    f->durable_len = len;
}

static void durable_write(struct inode *f, uint64_t at, const uint8_t *data, size_t len)
{
    if (at + len > f->durable_len)
        durable_resize(f, (size_t)at + len);
    memcpy(f->durable + at, data, len);
}

static void change_add(struct inode *f, uint64_t at, const void *data, size_t len, bool truncates)
{
    struct change *c = malloc(sizeof *c + len);
    assert(c != NULL);
    *c = (struct change){ .at = at, .len = len, .is_truncation = truncates };
    if (len != 0)
        memcpy(c->data, data, len);
    if (f->last == NULL)
        f->first = c;
    else
        f->last->next = c;
    f->last = c;
}

static void changes_drop(struct inode *f)
{
    while (f->first != NULL) {
        struct change *c = f->first;
        f->first = c->next;
        free(c);
    }
    f->last = NULL;
}

static void changes_apply(struct inode *f)
{
    for (struct change *c = f->first; c != NULL; c = c->next) {
        if (c->is_truncation)
            durable_resize(f, (size_t)c->at);
        else
            durable_write(f, c->at, c->data, c->len);
    }
    changes_drop(f);
}

/* One write at a cut, sector by sector: kept, dropped, torn, or trashed. */
static void change_survive(struct inode *f, const struct change *c, size_t sector, bool may_tear)
{
    size_t done = 0;
    while (done < c->len) {
        size_t left_in_sector = sector - (size_t)((c->at + done) % sector);
        size_t len = c->len - done < left_in_sector ? c->len - done : left_in_sector;
        uint8_t trash[4096];
        switch (random_below(&power.random, may_tear ? 8 : 2)) {
        case 0:
            break;
        case 2:
            durable_write(f, c->at + done, c->data + done,
                          1 + (size_t)random_below(&power.random, len));
            break;
        case 3:
            for (size_t i = 0; i < len; i++)
                trash[i] = (uint8_t)random_next(&power.random);
            durable_write(f, c->at + done, trash, len);
            break;
        default:
            durable_write(f, c->at + done, c->data + done, len);
            break;
        }
        done += len;
    }
}

/* Three kinds of disks: one that keeps order and stops somewhere, one that does not, and one that also
 * tears. */
static void inode_survive(struct inode *f)
{
    size_t sector = random_below(&power.random, 2) == 0 ? 512 : 4096;
    uint64_t kind = random_below(&power.random, 3);
    size_t count = 0;
    for (struct change *c = f->first; c != NULL; c = c->next)
        count++;
    size_t kept = (size_t)random_below(&power.random, count + 1), i = 0;
    for (struct change *c = f->first; c != NULL; c = c->next, i++) {
        if (kind == 0 && i > kept)
            break;
        if (c->is_truncation) {
            if (kind == 0 || random_below(&power.random, 2) == 0)
                durable_resize(f, (size_t)c->at);
        } else if (kind == 0 && i < kept) {
            durable_write(f, c->at, c->data, c->len);
        } else {
            change_survive(f, c, sector, kind == 2);
        }
    }
    changes_drop(f);
}

/* ---- Paths ------------------------------------------------------------------------------------------ */

static struct inode *inode_find(const char *path)
{
    for (struct inode *f = power.inodes; f != NULL; f = f->next)
        if (strcmp(f->path, path) == 0)
            return f;
    return NULL;
}

static void inode_load(struct inode *f)
{
    FILE *in = fopen(f->path, "rb");
    if (in == NULL)
        return;
    f->exists = f->entry_is_durable = f->was_synced = true;
    uint8_t block[65536];
    for (size_t got = fread(block, 1, sizeof block, in); got > 0;
         got = fread(block, 1, sizeof block, in))
        durable_write(f, f->durable_len, block, got);
    f->len = f->durable_len;
    (void)fclose(in);
}

static struct inode *inode_get(const char *path)
{
    struct inode *f = inode_find(path);
    if (f == NULL) {
        f = calloc(1, sizeof *f);
        assert(f != NULL && strlen(path) < sizeof f->path);
        (void)snprintf(f->path, sizeof f->path, "%s", path);
        inode_load(f);
        f->next = power.inodes;
        power.inodes = f;
    }
    return f;
}

/* Entries that were made or removed become as they are. */
static void directory_sync(void)
{
    if (power.defect == POWER_DIRECTORY_SYNC_DOES_NOTHING ||
        power.defect == POWER_SYNC_DOES_NOTHING)
        return;
    for (struct inode *f = power.inodes; f != NULL; f = f->next)
        f->entry_is_durable = f->exists;
}

/* ---- Events and faults: with the lock --------------------------------------------------------------- */

static bool call_fails(enum power_call call)
{
    if ((power.fail_calls & call) == 0 || power.fail_at == 0)
        return false;
    if (power.fail_at > 1) {
        power.fail_at--;
        return false;
    }
    if (!power.fail_is_sticky)
        power.fail_at = 0;
    power.has_fired = true;
    return true;
}

/* False: the power is gone. */
static bool event_pass(void)
{
    if (power.is_cut)
        return false;
    power.events++;
    if (power.cut_at != 0 && power.events == power.cut_at)
        power.is_cut = true;
    return !power.is_cut;
}

static void failed_sync_check(const struct inode *f)
{
    if (!f->sync_has_failed)
        return;
    power.after_failed_sync++;
    (void)fprintf(stderr, "written after a failed sync: %s\n", f->path);
}

static uint64_t bytes_used(void)
{
    uint64_t bytes = 0;
    for (const struct inode *f = power.inodes; f != NULL; f = f->next)
        bytes += f->exists ? f->len : 0;
    return bytes;
}

/* ---- Files ------------------------------------------------------------------------------------------ */

static struct power_file *power_file_from(sqlite3_file *file)
{
    return (struct power_file *)(void *)file;
}

static int power_close(sqlite3_file *file)
{
    struct power_file *p = power_file_from(file);
    int rc = p->real->pMethods->xClose(p->real);
    free(p->real);
    return rc;
}

static int power_read(sqlite3_file *file, void *out, int len, sqlite3_int64 at)
{
    (void)pthread_mutex_lock(&power.lock);
    bool fails = call_fails(POWER_READ);
    (void)pthread_mutex_unlock(&power.lock);
    if (fails)
        return SQLITE_IOERR_READ;
    struct power_file *p = power_file_from(file);
    return p->real->pMethods->xRead(p->real, out, len, at);
}

static int write_admit(struct inode *f, uint64_t end)
{
    if (!event_pass())
        return SQLITE_IOERR_WRITE;
    if (call_fails(POWER_WRITE))
        return SQLITE_IOERR_WRITE;
    failed_sync_check(f);
    if (end > f->len && power.bytes_max != 0 && bytes_used() + (end - f->len) > power.bytes_max)
        return SQLITE_FULL;
    return SQLITE_OK;
}

static int power_write(sqlite3_file *file, const void *data, int len, sqlite3_int64 at)
{
    struct power_file *p = power_file_from(file);
    struct inode *f = p->inode;
    if (f == NULL)
        return p->real->pMethods->xWrite(p->real, data, len, at);
    uint64_t end = (uint64_t)at + (uint64_t)len;
    (void)pthread_mutex_lock(&power.lock);
    int rc = write_admit(f, end);
    if (rc == SQLITE_OK)
        rc = p->real->pMethods->xWrite(p->real, data, len, at);
    if (rc == SQLITE_OK) {
        change_add(f, (uint64_t)at, data, (size_t)len, false);
        f->len = end > f->len ? (size_t)end : f->len;
    }
    (void)pthread_mutex_unlock(&power.lock);
    return rc;
}

static int power_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct power_file *p = power_file_from(file);
    struct inode *f = p->inode;
    if (f == NULL)
        return p->real->pMethods->xTruncate(p->real, size);
    (void)pthread_mutex_lock(&power.lock);
    int rc = !event_pass() || call_fails(POWER_TRUNCATE) ? SQLITE_IOERR_TRUNCATE : SQLITE_OK;
    if (rc == SQLITE_OK) {
        failed_sync_check(f);
        rc = p->real->pMethods->xTruncate(p->real, size);
    }
    if (rc == SQLITE_OK) {
        change_add(f, (uint64_t)size, NULL, 0, true);
        f->len = (size_t)size;
    }
    (void)pthread_mutex_unlock(&power.lock);
    return rc;
}

static int sync_locked(struct inode *f)
{
    if (!event_pass())
        return SQLITE_IOERR_WRITE; /* a machine without power reports nothing about syncs */
    failed_sync_check(f);
    if (call_fails(POWER_SYNC)) {
        changes_drop(f);
        f->sync_has_failed = f->was_synced;
        return power.defect == POWER_FAILED_SYNC_IS_HIDDEN ? SQLITE_IOERR_WRITE
                                                           : SQLITE_IOERR_FSYNC;
    }
    if (power.defect == POWER_SYNC_DOES_NOTHING)
        return SQLITE_OK;
    changes_apply(f);
    f->was_synced = true;
    if (f->syncs_entry) {
        directory_sync();
        f->syncs_entry = false;
    }
    return SQLITE_OK;
}

static int power_sync(sqlite3_file *file, int flags)
{
    struct power_file *p = power_file_from(file);
    (void)flags;
    if (p->inode == NULL)
        return SQLITE_OK;
    (void)pthread_mutex_lock(&power.lock);
    int rc = sync_locked(p->inode);
    (void)pthread_mutex_unlock(&power.lock);
    return rc;
}

static int power_file_size(sqlite3_file *file, sqlite3_int64 *out)
{
    struct power_file *p = power_file_from(file);
    return p->real->pMethods->xFileSize(p->real, out);
}

static int power_lock(sqlite3_file *file, int level)
{
    struct power_file *p = power_file_from(file);
    return p->real->pMethods->xLock(p->real, level);
}

static int power_unlock(sqlite3_file *file, int level)
{
    struct power_file *p = power_file_from(file);
    return p->real->pMethods->xUnlock(p->real, level);
}

static int power_check_reserved(sqlite3_file *file, int *out)
{
    struct power_file *p = power_file_from(file);
    return p->real->pMethods->xCheckReservedLock(p->real, out);
}

static int power_control(sqlite3_file *file, int operation, void *argument)
{
    struct power_file *p = power_file_from(file);
    if (operation != DB_FCNTL_SYNC_DIRECTORY)
        return p->real->pMethods->xFileControl(p->real, operation, argument);
    (void)pthread_mutex_lock(&power.lock);
    int rc = SQLITE_OK;
    if (!event_pass())
        rc = SQLITE_IOERR_WRITE;
    else if (call_fails(POWER_SYNC))
        rc = SQLITE_IOERR_DIR_FSYNC;
    else
        directory_sync();
    (void)pthread_mutex_unlock(&power.lock);
    return rc;
}

static int power_sector_size(sqlite3_file *file)
{
    struct power_file *p = power_file_from(file);
    return p->real->pMethods->xSectorSize(p->real);
}

static int power_characteristics(sqlite3_file *file)
{
    (void)file;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static int power_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **out)
{
    struct power_file *p = power_file_from(file);
    return p->real->pMethods->xShmMap(p->real, page, size, extend, out);
}

static int power_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    struct power_file *p = power_file_from(file);
    return p->real->pMethods->xShmLock(p->real, offset, n, flags);
}

static void power_shm_barrier(sqlite3_file *file)
{
    struct power_file *p = power_file_from(file);
    p->real->pMethods->xShmBarrier(p->real);
}

static int power_shm_unmap(sqlite3_file *file, int remove)
{
    struct power_file *p = power_file_from(file);
    return p->real->pMethods->xShmUnmap(p->real, remove);
}

static const sqlite3_io_methods power_methods = {
    .iVersion = 2,
    .xClose = power_close,
    .xRead = power_read,
    .xWrite = power_write,
    .xTruncate = power_truncate,
    .xSync = power_sync,
    .xFileSize = power_file_size,
    .xLock = power_lock,
    .xUnlock = power_unlock,
    .xCheckReservedLock = power_check_reserved,
    .xFileControl = power_control,
    .xSectorSize = power_sector_size,
    .xDeviceCharacteristics = power_characteristics,
    .xShmMap = power_shm_map,
    .xShmLock = power_shm_lock,
    .xShmBarrier = power_shm_barrier,
    .xShmUnmap = power_shm_unmap,
};

static int open_locked(const char *path, int flags, struct inode **out)
{
    if (call_fails(POWER_OPEN))
        return SQLITE_CANTOPEN;
    struct inode *f = inode_get(path);
    if (!f->exists && (flags & SQLITE_OPEN_CREATE) != 0) {
        if (!event_pass())
            return SQLITE_CANTOPEN;
        f->exists = true;
        f->len = 0;
        /* What an unsynced deletion left of an older file of this name is gone for programs. */
        if (f->durable_len > 0 || f->first != NULL)
            change_add(f, 0, NULL, 0, true);
        f->syncs_entry = (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) != 0;
    }
    *out = f;
    return SQLITE_OK;
}

static int power_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags,
                      int *out_flags)
{
    (void)vfs;
    struct power_file *p = power_file_from(file);
    *p = (struct power_file){ .base.pMethods = NULL };
    bool survives =
        path != NULL &&
        (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) != 0;
    int rc = SQLITE_OK;
    if (survives) {
        (void)pthread_mutex_lock(&power.lock);
        rc = open_locked(path, flags, &p->inode);
        (void)pthread_mutex_unlock(&power.lock);
    }
    if (rc != SQLITE_OK)
        return rc;
    p->real = calloc(1, (size_t)power.real->szOsFile);
    if (p->real == NULL)
        return SQLITE_NOMEM;
    rc = power.real->xOpen(power.real, path, p->real, flags, out_flags);
    if (rc != SQLITE_OK) {
        free(p->real);
        return rc;
    }
    p->base.pMethods = &power_methods;
    return SQLITE_OK;
}

static int power_delete(sqlite3_vfs *vfs, const char *path, int sync_directory)
{
    (void)vfs;
    (void)pthread_mutex_lock(&power.lock);
    struct inode *f = inode_get(path);
    int rc = SQLITE_OK;
    if (!event_pass())
        rc = SQLITE_IOERR_DELETE;
    else
        rc = power.real->xDelete(power.real, path, 0);
    if (rc == SQLITE_OK) {
        f->exists = false;
        f->len = 0;
        if (sync_directory != 0)
            directory_sync();
    }
    (void)pthread_mutex_unlock(&power.lock);
    return rc;
}

static int power_access(sqlite3_vfs *vfs, const char *path, int flags, int *out)
{
    (void)vfs;
    return power.real->xAccess(power.real, path, flags, out);
}

static int power_full_path(sqlite3_vfs *vfs, const char *path, int len, char *out)
{
    (void)vfs;
    return power.real->xFullPathname(power.real, path, len, out);
}

/* ---- From the tests --------------------------------------------------------------------------------- */

void power_reset(uint64_t seed)
{
    db_library_init();
    if (power.real == NULL) {
        int rc = sqlite3_initialize();
        assert(rc == SQLITE_OK);
        power.real = sqlite3_vfs_find(NULL);
        assert(power.real != NULL);
        power.vfs = *power.real;
        power.vfs.zName = POWER_VFS;
        power.vfs.szOsFile = (int)sizeof(struct power_file);
        power.vfs.pNext = NULL;
        power.vfs.xOpen = power_open;
        power.vfs.xDelete = power_delete;
        power.vfs.xAccess = power_access;
        power.vfs.xFullPathname = power_full_path;
        rc = sqlite3_vfs_register(&power.vfs, 0);
        assert(rc == SQLITE_OK);
        (void)rc;
    }
    while (power.inodes != NULL) {
        struct inode *f = power.inodes;
        power.inodes = f->next;
        changes_drop(f);
        free(f->durable);
        free(f);
    }
    random_init(&power.random, seed);
    power.defect = POWER_HONEST;
    power.events = power.cut_at = power.fail_at = power.after_failed_sync = 0;
    power.is_cut = power.has_fired = false;
    power.bytes_max = 0;
}

void power_defect_set(enum power_defect defect)
{
    power.defect = defect;
}

void power_cut_at(unsigned long n)
{
    (void)pthread_mutex_lock(&power.lock);
    power.cut_at = n == 0 ? 0 : power.events + n;
    (void)pthread_mutex_unlock(&power.lock);
}

unsigned long power_events(void)
{
    (void)pthread_mutex_lock(&power.lock);
    unsigned long events = power.events;
    (void)pthread_mutex_unlock(&power.lock);
    return events;
}

bool power_is_cut(void)
{
    (void)pthread_mutex_lock(&power.lock);
    bool is_cut = power.is_cut;
    (void)pthread_mutex_unlock(&power.lock);
    return is_cut;
}

static void file_write(const struct inode *f)
{
    FILE *out = fopen(f->path, "wb");
    assert(out != NULL);
    size_t put = f->durable_len == 0 ? 0 : fwrite(f->durable, 1, f->durable_len, out);
    assert(put == f->durable_len);
    (void)put;
    (void)fclose(out);
}

void power_restore(void)
{
    for (struct inode *f = power.inodes; f != NULL; f = f->next) {
        inode_survive(f);
        bool is_there = f->entry_is_durable;
        if (f->exists != f->entry_is_durable && power.defect != POWER_DIRECTORY_SYNC_DOES_NOTHING)
            is_there = random_below(&power.random, 2) == 0;
        if (f->exists != f->entry_is_durable && !f->exists && f->durable_len == 0)
            is_there = false;
        if (is_there) {
            file_write(f);
        } else {
            (void)unlink(f->path);
            durable_resize(f, 0);
        }
        char shm[600];
        (void)snprintf(shm, sizeof shm, "%s-shm", f->path);
        (void)unlink(shm);
        f->exists = f->entry_is_durable = is_there;
        f->len = f->durable_len;
        f->syncs_entry = false;
        f->sync_has_failed = false;
    }
    power.is_cut = false;
    power.cut_at = 0;
}

void power_fail_at(unsigned calls, unsigned long n, bool is_sticky)
{
    (void)pthread_mutex_lock(&power.lock);
    power.fail_calls = calls;
    power.fail_at = n;
    power.fail_is_sticky = is_sticky;
    power.has_fired = false;
    (void)pthread_mutex_unlock(&power.lock);
}

bool power_fired(void)
{
    (void)pthread_mutex_lock(&power.lock);
    bool has_fired = power.has_fired;
    (void)pthread_mutex_unlock(&power.lock);
    return has_fired;
}

void power_size_set(uint64_t bytes_max)
{
    (void)pthread_mutex_lock(&power.lock);
    power.bytes_max = bytes_max;
    (void)pthread_mutex_unlock(&power.lock);
}

unsigned long power_writes_after_failed_sync(void)
{
    return power.after_failed_sync;
}
