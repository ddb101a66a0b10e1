/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/testing/scratch.h"

#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void scratch_make(char out[128])
{
    (void)snprintf(out, 128, "/tmp/spindle-test-XXXXXX");
    char *made = mkdtemp(out);
    assert(made != NULL);
    (void)made;
}

void scratch_remove(const char *directory)
{
    DIR *d = opendir(directory);
    assert(d != NULL);
    for (struct dirent *f = readdir(d); f != NULL; f = readdir(d)) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s/%s", directory, f->d_name);
        (void)unlink(path);
    }
    (void)closedir(d);
    (void)rmdir(directory);
}

size_t scratch_descriptors(void)
{
    size_t count = 0;
    DIR *d = opendir("/proc/self/fd");
    assert(d != NULL);
    while (readdir(d) != NULL)
        count++;
    (void)closedir(d);
    return count;
}
