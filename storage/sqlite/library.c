/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/library.h"

#include "base/mem.h"
#include "base/shelf.h"

#include <assert.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdalign.h>
#include <string.h>

/* SQLite asks for the size of a block, which base/mem.h does not keep: it stands in front of it, with whom it is
 * charged to. */
struct block_header {
    size_t size;
    struct budget *budget; /* NULL: nobody */
};
#define BLOCK_HEADER 16                /* keeps what malloc promises: alignment for any type */
#define ON_SHELF     ((size_t)1 << 63) /* of a header's size */
static_assert(BLOCK_HEADER >= sizeof(struct block_header) &&
                  BLOCK_HEADER % alignof(max_align_t) == 0,
              "the header must not spoil the alignment");

/* Preparing a statement is not interrupted by SQLite's progress handler, but it allocates. */
#define CALLS_PER_CHECK 256

static _Thread_local struct db_charge *charged;

struct db_charge *db_charge_set(struct db_charge *charge)
{
    struct db_charge *before = charged;
    charged = charge;
    return before;
}

static struct block_header *header_of(void *block)
{
    return (struct block_header *)(void *)((uint8_t *)block - BLOCK_HEADER);
}

static bool reserve(struct db_charge *charge, struct budget *budget, size_t bytes)
{
    if (charge != NULL && charge->context != NULL && ++charge->calls % CALLS_PER_CHECK == 0 &&
        query_check(charge->context) != ERR_OK)
        return false;
    if (budget == NULL || budget_reserve(budget, bytes))
        return true;
    if (charge != NULL)
        charge->is_refused = true;
    return false;
}

static void release(struct budget *budget, size_t bytes)
{
    if (budget != NULL)
        budget_release(budget, bytes);
}

/* What SQLite caches of a database page of 8 KiB: a thousand of them come with a load and go with it. */
static bool is_page(size_t bytes)
{
    return bytes > 8192 && bytes <= 9216;
}

/* ---- Blocks ---------------------------------------------------------------------------------- */

static size_t size_of(const struct block_header *h)
{
    return h->size & ~ON_SHELF;
}

static void *library_alloc(int size)
{
    size_t bytes = (size_t)size + BLOCK_HEADER;
    struct budget *budget = charged == NULL ? NULL : charged->budget;
    if (!reserve(charged, budget, bytes))
        return NULL;
    uint8_t *block = is_page(bytes) ? shelf_alloc(bytes) : mem_alloc(bytes);
    if (block == NULL) {
        release(budget, bytes);
        return NULL;
    }
    block += BLOCK_HEADER;
    *header_of(block) =
        (struct block_header){ (size_t)size | (is_page(bytes) ? ON_SHELF : 0), budget };
    return block;
}

static void library_free(void *block)
{
    if (block == NULL)
        return;
    struct block_header *h = header_of(block);
    release(h->budget, size_of(h) + BLOCK_HEADER);
    if ((h->size & ON_SHELF) != 0)
        shelf_free(h);
    else
        mem_free(h);
}

/* From or to a shelf. It is charged anew, to whoever asks now, or to nobody as before. */
static void *block_move(void *block, int size)
{
    size_t before = size_of(header_of(block));
    uint8_t *moved = library_alloc(size);
    if (moved == NULL)
        return NULL;
    memcpy(moved, block, before < (size_t)size ? before : (size_t)size);
    library_free(block);
    return moved;
}

static void *library_realloc(void *block, int size)
{
    struct block_header before = *header_of(block);
    if ((before.size & ON_SHELF) != 0 || is_page((size_t)size + BLOCK_HEADER))
        return block_move(block, size);
    size_t more = (size_t)size > before.size ? (size_t)size - before.size : 0;
    if (more > 0 && !reserve(charged, before.budget, more))
        return NULL;
    uint8_t *grown = mem_realloc(header_of(block), (size_t)size + BLOCK_HEADER);
    if (grown == NULL) {
        release(before.budget, more);
        return NULL;
    }
    if ((size_t)size < before.size)
        release(before.budget, before.size - (size_t)size);
    grown += BLOCK_HEADER;
    header_of(grown)->size = (size_t)size;
    return grown;
}

static int library_size(void *block)
{
    return block == NULL ? 0 : (int)size_of(header_of(block));
}

static int library_roundup(int size)
{
    return (size + 15) & ~15;
}

static int library_start(void *context)
{
    (void)context;
    return SQLITE_OK;
}

static void library_stop(void *context)
{
    (void)context;
}

static void library_init(void)
{
    static const sqlite3_mem_methods methods = {
        .xMalloc = library_alloc,
        .xFree = library_free,
        .xRealloc = library_realloc,
        .xSize = library_size,
        .xRoundup = library_roundup,
        .xInit = library_start,
        .xShutdown = library_stop,
    };
    /* These fail only when the library is in use already: then somebody broke the rule of library.h. */
    int rc = sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
    assert(rc == SQLITE_OK);
    rc = sqlite3_config(
        SQLITE_CONFIG_MULTITHREAD); /* connections are used by one thread at a time */
    assert(rc == SQLITE_OK);
    rc = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    assert(rc == SQLITE_OK);
    /* No pages in advance: 160 KiB that a connection would keep while it rests. */
    rc = sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, 0);
    assert(rc == SQLITE_OK);
    (void)rc;
}

void db_library_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, library_init);
}
