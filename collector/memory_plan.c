/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/memory_plan.h"

#include "base/text.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define GIB ((uint64_t)1 << 30)
#define MIB ((uint64_t)1 << 20)

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The number in a one-line file; UINT64_MAX for "max", for no such file, and for anything else. */
static uint64_t number_in(const char *path)
{
    char line[64];
    uint64_t n = UINT64_MAX;
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return n;
    if (fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (!text_u64_parse(bytes_text(line), &n))
            n = UINT64_MAX;
    }
    fclose(f);
    return n;
}

/* The limit of a group and of each group around it: any of them may be the one that bites. Inside a
 * container the path may not exist below the mount, while the mount's own top does. */
static uint64_t group_limit(const char *root, const char *mount, const char *group,
                            const char *file)
{
    char at[PATH_MAX / 4], path[PATH_MAX];
    uint64_t limit = UINT64_MAX;
    if ((size_t)snprintf(at, sizeof at, "%s", group) >= sizeof at)
        return limit;
    for (;;) {
        snprintf(path, sizeof path, "%s%s%s/%s", root, mount, at, file);
        limit = smaller(limit, number_in(path));
        char *slash = strrchr(at, '/');
        if (slash == NULL)
            return limit;
        *slash = '\0';
    }
}

static uint64_t control_group_limit(const char *root)
{
    char path[PATH_MAX], line[PATH_MAX / 4];
    uint64_t limit = UINT64_MAX;
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return limit;
    /* "0::/group" in version 2, "7:cpu,memory:/group" in version 1; both may be there. */
    while (fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers == NULL ? NULL : strchr(controllers + 1, ':');
        if (group == NULL)
            continue;
        *group++ = '\0';
        controllers++;
        if (controllers[0] == '\0')
            limit = smaller(limit, group_limit(root, "/sys/fs/cgroup", group, "memory.max"));
        else if (strstr(controllers, "memory") != NULL)
            limit = smaller(
                limit, group_limit(root, "/sys/fs/cgroup/memory", group, "memory.limit_in_bytes"));
    }
    fclose(f);
    return limit;
}

uint64_t memory_available(const char *root)
{
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    uint64_t physical = pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes : GIB;
    return smaller(physical, control_group_limit(root));
}

uint64_t memory_limit_default(uint64_t available_bytes)
{
    uint64_t half = smaller(available_bytes / 2, MEMORY_LIMIT_DEFAULT_MAX);
    return half < MEMORY_LIMIT_MIN ? MEMORY_LIMIT_MIN : half;
}

void memory_plan_make(uint64_t limit_bytes, struct memory_plan *out)
{
    *out = (struct memory_plan){
        .limit_bytes = limit_bytes,
        .requests_bytes = (size_t)(limit_bytes / 4),
        .request_bytes_max = (size_t)smaller(limit_bytes / 8, 64 * MIB),
        .queries_bytes = (size_t)(limit_bytes / 5),
        .storage_bytes = (size_t)(limit_bytes / 4),
        .kept_bytes = (size_t)(limit_bytes / 16),
    };
}
