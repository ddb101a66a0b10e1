/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http2_memory.h"

#include "base/mem.h"

static void *h2_malloc(size_t size, void *user)
{
    (void)user;
    return mem_alloc(size);
}
static void h2_free(void *block, void *user)
{
    (void)user;
    mem_free(block);
}
static void *h2_calloc(size_t count, size_t size, void *user)
{
    (void)user;
    return mem_alloc_array(count, size);
}
static void *h2_realloc(void *block, size_t size, void *user)
{
    (void)user;
    return mem_realloc(block, size);
}

nghttp2_mem *http2_memory(void)
{
    static nghttp2_mem memory = { NULL, h2_malloc, h2_free, h2_calloc, h2_realloc };
    return &memory;
}
