/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/retention_clock.h"

#include "base/clock.h"
#include "base/defect.h"

#include <fcntl.h>
#include <unistd.h>

#define KEY          "retention_clock"
#define RECORD_BYTES 24 /* what it said, what the system's clock did at that moment, boot id */

static uint64_t boot_id_read(void)
{
    uint8_t text[64];
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t len = read(fd, text, sizeof text);
    (void)close(fd);
    return len <= 0 ? 0 : hash_bytes(bytes_of(text, (size_t)len));
}

enum err retention_clock_load(struct retention_clock *c, struct catalog *catalog)
{
    uint8_t record[RECORD_BYTES];
    size_t len = 0;
    enum err e = catalog_setting_get(catalog, KEY, record, sizeof record, &len);
    if (e != ERR_OK)
        return e;
    *c = (struct retention_clock){ .start_ns = clock_unix_ns(),
                                   .start_boot_ns = clock_boot_ns(),
                                   .boot_id = boot_id_read() };
    if (len == RECORD_BYTES) {
        uint64_t then_boot_ns = load_le64(record + 8);
        c->start_ns = load_le64(record);
        if (c->boot_id != 0 && c->boot_id == load_le64(record + 16) &&
            then_boot_ns < c->start_boot_ns)
            c->start_ns += c->start_boot_ns - then_boot_ns;
    }
    return ERR_OK;
}

uint64_t retention_clock_now(const struct retention_clock *c)
{
    if (defect_is("retention-wall-clock"))
        return clock_unix_ns();
    return c->start_ns + (clock_boot_ns() - c->start_boot_ns);
}

enum err retention_clock_store(const struct retention_clock *c, struct catalog *catalog)
{
    uint8_t record[RECORD_BYTES];
    uint64_t boot_ns = clock_boot_ns();
    store_le64(record, c->start_ns + (boot_ns - c->start_boot_ns));
    store_le64(record + 8, boot_ns);
    store_le64(record + 16, c->boot_id);
    return catalog_setting_put(catalog, KEY, bytes_of(record, sizeof record));
}
