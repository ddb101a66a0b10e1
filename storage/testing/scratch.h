/* SPDX-License-Identifier: Apache-2.0 */
/* scratch.h - for tests: a directory of their own, and its end; and what is open. */
#ifndef SPINDLE_STORAGE_TESTING_SCRATCH_H
#define SPINDLE_STORAGE_TESTING_SCRATCH_H

#include <stddef.h>

/* Makes a fresh directory and writes its path; 128 bytes. Asserts. */
void scratch_make(char out[128]);
/* Removes it with the files in it. */
void scratch_remove(const char *directory);
/* How many descriptors this process has open. */
size_t scratch_descriptors(void);

#endif
