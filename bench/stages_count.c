/* SPDX-License-Identifier: Apache-2.0 */
/* stages_count.c - counters of allocations, copies and writes.
 *
 * The functions of the C library that allocate and copy are defined here, so that the program's own code and
 * all libraries it loads call these; each counts and hands on. What the C library does for itself, and copies
 * of a known small size that the compiler turned into moves, are not seen. Compiled without optimising across
 * files and without built-in functions: CMakeLists.txt. */
#include "bench/stages.h"

#include "base/json_writer.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if __has_include(<valgrind/callgrind.h>)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#include <valgrind/callgrind.h>
#pragma GCC diagnostic pop
#else
#define CALLGRIND_START_INSTRUMENTATION ((void)0)
#define CALLGRIND_ZERO_STATS            ((void)0)
#define CALLGRIND_DUMP_STATS_AT(name)   ((void)(name))
#endif

#define STAGES_MAX 32

struct counts {
    uint64_t units, allocations, allocated_bytes, copied_bytes, written_bytes, result_bytes;
};

static struct {
    const char *name;
    struct counts counts;
} stages[STAGES_MAX];
static size_t stages_count, current;
static struct counts before;

static _Atomic uint64_t allocations, allocated_bytes, copied_bytes;
static atomic_bool is_counting; /* within a stage: what is timed is not slowed by it */

/* ---- What stands before the C library's own ---- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__memcpy_chk(void *to, const void *from, size_t len, size_t room);
void *__memmove_chk(void *to, const void *from, size_t len, size_t room);

static void count_allocation(size_t size)
{
    if (!atomic_load_explicit(&is_counting, memory_order_relaxed))
        return;
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&allocated_bytes, size, memory_order_relaxed);
}

void *malloc(size_t size)
{
    count_allocation(size);
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    count_allocation(count * size);
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    count_allocation(size);
    return __libc_realloc(block, size);
}

typedef void *copy_fn(void *to, const void *from, size_t len);
static copy_fn *real_memmove;

/* Found when the program starts; before that the dynamic linker copies a few bytes through here. */
__attribute__((constructor)) static void find_real(void)
{
    real_memmove = (copy_fn *)dlsym(RTLD_NEXT, "memmove");
}

static void *copy(void *to, const void *from, size_t len)
{
    if (atomic_load_explicit(&is_counting, memory_order_relaxed))
        atomic_fetch_add_explicit(&copied_bytes, len, memory_order_relaxed);
    if (real_memmove != NULL)
        return real_memmove(to, from, len);
    uint8_t *t = to;
    const uint8_t *f = from;
    if (t < f)
        for (size_t i = 0; i < len; i++)
            t[i] = f[i];
    else
        for (size_t i = len; i > 0; i--)
            t[i - 1] = f[i - 1];
    return to;
}

void *memcpy(void *to, const void *from, size_t len)
{
    return copy(to, from, len);
}

void *memmove(void *to, const void *from, size_t len)
{
    return copy(to, from, len);
}

void *__memcpy_chk(void *to, const void *from, size_t len, size_t room)
{
    if (len > room)
        abort();
    return copy(to, from, len);
}

void *__memmove_chk(void *to, const void *from, size_t len, size_t room)
{
    if (len > room)
        abort();
    return copy(to, from, len);
}

/* ---- Stages ---- */

/* Bytes given to write(2) and its kin, which the kernel counts. */
static uint64_t bytes_written(void)
{
    FILE *f = fopen("/proc/self/io", "r");
    char line[128];
    unsigned long long bytes = 0;
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "wchar: %llu", &bytes) == 1)
            break;
    if (f != NULL)
        (void)fclose(f);
    return bytes;
}

void stage_begin(const char *name)
{
    for (current = 0; current < stages_count; current++)
        if (strcmp(stages[current].name, name) == 0)
            break;
    if (current == STAGES_MAX)
        abort();
    if (current == stages_count) {
        if (stages_count++ == 0)
            CALLGRIND_START_INSTRUMENTATION;
        stages[current].name = name;
    }
    before.written_bytes = bytes_written(); /* first: it allocates */
    before.allocations = atomic_load(&allocations);
    before.allocated_bytes = atomic_load(&allocated_bytes);
    before.copied_bytes = atomic_load(&copied_bytes);
    atomic_store(&is_counting, true);
    CALLGRIND_ZERO_STATS;
}

void stage_end(uint64_t units)
{
    struct counts *c = &stages[current].counts;
    struct counts now = { .allocations = atomic_load(&allocations),
                          .allocated_bytes = atomic_load(&allocated_bytes),
                          .copied_bytes = atomic_load(&copied_bytes) };
    atomic_store(&is_counting, false);
    now.written_bytes = bytes_written(); /* before valgrind writes its own */
    CALLGRIND_DUMP_STATS_AT(stages[current].name);
    c->units += units;
    c->allocations += now.allocations - before.allocations;
    c->allocated_bytes += now.allocated_bytes - before.allocated_bytes;
    c->copied_bytes += now.copied_bytes - before.copied_bytes;
    c->written_bytes += now.written_bytes - before.written_bytes;
}

void stage_result(uint64_t bytes)
{
    stages[current].counts.result_bytes = bytes;
}

void stages_print(struct buffer *out)
{
    struct json_writer w;
    json_init(&w, out);
    json_object_begin(&w);
    for (size_t i = 0; i < stages_count; i++) {
        const struct counts *c = &stages[i].counts;
        json_key_bytes(&w, bytes_text(stages[i].name));
        json_object_begin(&w);
        json_key(&w, "units");
        json_u64(&w, c->units);
        json_key(&w, "allocations");
        json_u64(&w, c->allocations);
        json_key(&w, "allocated_bytes");
        json_u64(&w, c->allocated_bytes);
        json_key(&w, "copied_bytes");
        json_u64(&w, c->copied_bytes);
        json_key(&w, "written_bytes");
        json_u64(&w, c->written_bytes);
        json_key(&w, "result_bytes");
        json_u64(&w, c->result_bytes);
        json_object_end(&w);
    }
    json_object_end(&w);
    buffer_append_byte(out, '\n');
}
