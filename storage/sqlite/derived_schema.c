/* SPDX-License-Identifier: Apache-2.0 */
/* derived_schema.c - the tables of what is derived from telemetry: see docs/FORMAT.md.
 *
 * Each string is run when a file is made, in the transaction that makes its other tables; that of the
 * catalogue also when an older one is upgraded. Every statement says CREATE TABLE IF NOT EXISTS. */
#include "storage/sqlite/schema.h"

const char derived_partition_sql[] = "";

const char derived_catalog_sql[] = "";
