/* SPDX-License-Identifier: Apache-2.0 */
/* derived_schema.c - the tables of what is derived from telemetry: see docs/FORMAT.md.
 *
 * Each string is run when a file is made, in the transaction that makes its other tables; that of the
 * catalogue also when an older one is upgraded. Every statement says CREATE TABLE IF NOT EXISTS. */
#include "storage/sqlite/schema.h"

const char derived_partition_sql[] =
    "CREATE TABLE IF NOT EXISTS derived ("
    " id INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, level INTEGER NOT NULL,"
    " built_unix_ns INTEGER NOT NULL, start_min_unix_ns INTEGER NOT NULL,"
    " start_max_unix_ns INTEGER NOT NULL, minutes BLOB NOT NULL, hours BLOB NOT NULL,"
    " days BLOB NOT NULL) STRICT;"
    "CREATE TABLE IF NOT EXISTS half ("
    " id INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, built_unix_ns INTEGER NOT NULL,"
    " data BLOB NOT NULL) STRICT;";

const char derived_catalog_sql[] =
    "CREATE TABLE IF NOT EXISTS rollup ("
    " tenant INTEGER NOT NULL, partition INTEGER NOT NULL, sealed_unix_ns INTEGER NOT NULL,"
    " start_min_unix_ns INTEGER NOT NULL,"
    " start_max_unix_ns INTEGER NOT NULL, hours BLOB NOT NULL, days BLOB NOT NULL,"
    " PRIMARY KEY (tenant, partition)) STRICT;"
    "CREATE TABLE IF NOT EXISTS rollup_merged ("
    " id INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, level INTEGER NOT NULL,"
    " first_partition INTEGER NOT NULL, last_partition INTEGER NOT NULL,"
    " sealed_unix_ns INTEGER NOT NULL, start_min_unix_ns INTEGER NOT NULL,"
    " start_max_unix_ns INTEGER NOT NULL, days BLOB NOT NULL) STRICT;";
