/* SPDX-License-Identifier: Apache-2.0 */
/* Shows that limits of control groups are found, of both versions, at any level above the process,
 * and that nonsense in those files is no limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "collector/memory_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char root[64];

static int make_root(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/memory_plan_test.XXXXXX");
    return mkdtemp(root) == NULL ? -1 : 0;
}

static int remove_root(void **state)
{
    (void)state;
    char command[96];
    snprintf(command, sizeof command, "rm -r '%s'", root);
    return system(command);
}

static void put(const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *slash = strchr(full + strlen(root) + 1, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(full, 0700);
        *slash = '/';
    }
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

#define MIB ((uint64_t)1 << 20)

static void without_groups_memory_is_physical(void **state)
{
    (void)state;
    assert_true(memory_available(root) > 64 * MIB);
    assert_true(memory_available(root) == memory_available("/nonexistent"));
}

static void version_2_limits_count_at_every_level(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/a/b\n");
    put("/sys/fs/cgroup/a/b/memory.max", "max\n");
    put("/sys/fs/cgroup/a/memory.max", "50331648\n");
    assert_true(memory_available(root) == 48 * MIB);
    put("/sys/fs/cgroup/a/b/memory.max", "41943040\n");
    assert_true(memory_available(root) == 40 * MIB);
    /* In a container the path is the host's; the mount's top is what is there. */
    put("/proc/self/cgroup", "0::/host/path/not/mounted\n");
    put("/sys/fs/cgroup/memory.max", "36700160\n");
    assert_true(memory_available(root) == 35 * MIB);
}

static void version_1_limits_count_too(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "5:cpu,cpuacct:/x\n3:memory:/docker/1\n0::/\n");
    put("/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "39845888\n");
    assert_true(memory_available(root) == 38 * MIB);
}

static void nonsense_is_no_limit(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "\n::\nx\n0:\n0::\n0::/n\n");
    put("/sys/fs/cgroup/n/memory.max", "-5 MB\n");
    assert_true(memory_available(root) == memory_available("/nonexistent"));
}

static void shares_add_up_to_less_than_the_limit(void **state)
{
    (void)state;
    for (uint64_t limit = MEMORY_LIMIT_MIN; limit <= (uint64_t)64 << 30; limit *= 2) {
        struct memory_plan p;
        memory_plan_make(limit, &p);
        assert_true(p.requests_bytes + p.queries_bytes + p.storage_bytes + p.kept_bytes <=
                    limit / 10 * 9);
        assert_true(p.request_bytes_max <= p.requests_bytes / 2);
        assert_true(p.request_bytes_max <= 64 * MIB);
    }
    assert_true(memory_limit_default((uint64_t)64 << 30) == 512 * MIB);
    assert_true(memory_limit_default(512 * MIB) == 256 * MIB);
    assert_true(memory_limit_default(MIB) == MEMORY_LIMIT_MIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_groups_memory_is_physical, make_root, remove_root),
        cmocka_unit_test_setup_teardown(version_2_limits_count_at_every_level, make_root,
                                        remove_root),
        cmocka_unit_test_setup_teardown(version_1_limits_count_too, make_root, remove_root),
        cmocka_unit_test_setup_teardown(nonsense_is_no_limit, make_root, remove_root),
        cmocka_unit_test(shares_add_up_to_less_than_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
