/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/library.h"

#include "base/mem.h"

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
#define IN_SHELF     ((size_t)1 << 63) /* of a header's size */
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

/* ---- Pages ----------------------------------------------------------------------------------- */

/* What SQLite caches of a database page of 8 KiB. A thousand of them come with a load and go with it; on the heap each
 * would leave its hole between what was allocated meanwhile and stays, which is never given back whole. */
#define SHELF_SLOTS      33u
#define SLOT_BYTES       ((size_t)8704)
#define SLOT_BYTES_LEAST ((size_t)8192) /* a smaller block is the heap's */

struct shelf {
    struct shelf *next, *before; /* of those with a free slot */
    unsigned used, free_count;   /* slots that were ever given away; of these, free ones */
    struct slot {
        union {
            struct shelf *shelf; /* of a slot in use */
            struct slot *next_free;
        };
        uint64_t padding;
    } * free;
};
static_assert(sizeof(struct slot) == 16, "what follows is aligned for any type");
#define SHELF_HEAD  64
#define SHELF_BYTES (SHELF_HEAD + SHELF_SLOTS * SLOT_BYTES)
static_assert(SHELF_HEAD >= sizeof(struct shelf), "slots follow the head");

static pthread_mutex_t shelves_lock = PTHREAD_MUTEX_INITIALIZER; /* guards all shelves */
static struct shelf *shelves;                                    /* that have a free slot */

static void shelf_link(struct shelf *s)
{
    s->before = NULL;
    s->next = shelves;
    if (shelves != NULL)
        shelves->before = s;
    shelves = s;
}

static void shelf_unlink(struct shelf *s)
{
    if (s->before != NULL)
        s->before->next = s->next;
    else
        shelves = s->next;
    if (s->next != NULL)
        s->next->before = s->before;
}

static struct shelf *shelf_make(void)
{
    struct shelf *s = mem_map(SHELF_BYTES);
    if (s != NULL)
        *s = (struct shelf){ 0 };
    return s;
}

/* SLOT_BYTES less the slot's head, or NULL. */
static void *slot_take(void)
{
    (void)pthread_mutex_lock(&shelves_lock);
    struct shelf *s = shelves;
    if (s == NULL && (s = shelf_make()) != NULL)
        shelf_link(s);
    struct slot *slot = NULL;
    if (s != NULL) {
        slot = s->free;
        if (slot != NULL) {
            s->free = slot->next_free;
            s->free_count--;
        } else {
            slot = (struct slot *)(void *)((uint8_t *)s + SHELF_HEAD + s->used++ * SLOT_BYTES);
        }
        slot->shelf = s;
        if (s->used == SHELF_SLOTS && s->free_count == 0)
            shelf_unlink(s);
    }
    (void)pthread_mutex_unlock(&shelves_lock);
    return slot == NULL ? NULL : slot + 1;
}

static void slot_give(void *block)
{
    struct slot *slot = (struct slot *)block - 1;
    struct shelf *s = slot->shelf;
    (void)pthread_mutex_lock(&shelves_lock);
    if (s->used == SHELF_SLOTS && s->free_count == 0)
        shelf_link(s);
    slot->next_free = s->free;
    s->free = slot;
    bool is_empty = ++s->free_count == s->used;
    if (is_empty)
        shelf_unlink(s);
    (void)pthread_mutex_unlock(&shelves_lock);
    if (is_empty)
        mem_unmap(s, SHELF_BYTES);
}

static bool is_page(size_t bytes)
{
    return bytes > SLOT_BYTES_LEAST && bytes <= SLOT_BYTES - sizeof(struct slot);
}

/* ---- Blocks ---------------------------------------------------------------------------------- */

static size_t size_of(const struct block_header *h)
{
    return h->size & ~IN_SHELF;
}

static void *library_alloc(int size)
{
    size_t bytes = (size_t)size + BLOCK_HEADER;
    struct budget *budget = charged == NULL ? NULL : charged->budget;
    if (!reserve(charged, budget, bytes))
        return NULL;
    uint8_t *block = is_page(bytes) ? slot_take() : mem_alloc(bytes);
    if (block == NULL) {
        release(budget, bytes);
        return NULL;
    }
    block += BLOCK_HEADER;
    *header_of(block) =
        (struct block_header){ (size_t)size | (is_page(bytes) ? IN_SHELF : 0), budget };
    return block;
}

static void library_free(void *block)
{
    if (block == NULL)
        return;
    struct block_header *h = header_of(block);
    release(h->budget, size_of(h) + BLOCK_HEADER);
    if ((h->size & IN_SHELF) != 0)
        slot_give(h);
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
    if ((before.size & IN_SHELF) != 0 || is_page((size_t)size + BLOCK_HEADER))
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
