/* SPDX-License-Identifier: Apache-2.0 */
/* catalog_look.h - for tests: what the catalogue of a data directory says, also while an engine has it open.
 *
 * Blocking   reads files. */
#ifndef SPINDLE_STORAGE_SQLITE_TESTING_CATALOG_LOOK_H
#define SPINDLE_STORAGE_SQLITE_TESTING_CATALOG_LOOK_H

#include <stdbool.h>
#include <stdint.h>

/* Row groups of log records of sealed partitions that it lists; -1: some are on their way out of a file, or it cannot
 * be read. */
int64_t catalog_look_logs(const char *directory);
/* Whether it says of a partition that it is sealed. */
bool catalog_look_is_sealed(const char *directory, unsigned partition);

#endif
