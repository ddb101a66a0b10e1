/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/testing/catalog_look.h"

#include "storage/sqlite/db.h"

#include <stdio.h>

/* One number; -1: there is none. */
static int64_t look(const char *directory, const char *question)
{
    char path[512];
    struct db db;
    int64_t number = -1;
    (void)snprintf(path, sizeof path, "%s/catalog.db", directory);
    if (db_open(path, NULL, DB_READER, DURABILITY_FSYNC, &db) != ERR_OK)
        return -1;
    if (db_integer(&db, question, -1, &number) != ERR_OK)
        number = -1;
    db_close(&db);
    return number;
}

int64_t catalog_look_logs(const char *directory)
{
    return look(directory,
                "SELECT CASE WHEN EXISTS (SELECT 1 FROM setting WHERE key = 'logs_expiring' AND"
                " length(value) > 0) THEN -1 ELSE (SELECT count(*) FROM partition_group"
                " WHERE signal = 1) END");
}

bool catalog_look_is_sealed(const char *directory, unsigned partition)
{
    char question[128];
    (void)snprintf(question, sizeof question, "SELECT 1 FROM partition WHERE id = %u AND state = 2",
                   partition);
    return look(directory, question) == 1;
}
