/* SPDX-License-Identifier: Apache-2.0 */
/* rowgroup_group.h - a group that is read: its directory, and columns on demand.
 *
 * Role       blocks are read, checked and decompressed when a column that lies in them is first
 *            asked for.
 * Errors     stick in group.error until the next operation begins, so that a row can be put
 *            together without asking at each value; values read after an error are zero or
 *            empty.
 * Private    to storage/rowgroup. */
#ifndef SPINDLE_STORAGE_ROWGROUP_GROUP_H
#define SPINDLE_STORAGE_ROWGROUP_GROUP_H

#include "storage/rowgroup/rowgroup.h"
#include "storage/rowgroup/rowgroup_stream.h"

struct block {
    uint64_t offset; /* in the group */
    uint32_t stored, raw;
    uint64_t hash;
    const uint8_t *data; /* NULL until read */
    bool is_of_rows;     /* `data` lies in group.rows, and goes with it */
};

struct part {
    uint32_t block; /* number + 1; 0: the section's pool */
    uint32_t offset, len;
};

/* A column in a section. */
struct stream {
    uint32_t column, count;
    uint8_t form;
    uint64_t base, range;
    struct part parts[4]; /* of the integers 0 to 2; of STREAM_PLAIN then text and big */
    bool is_open;
    bool is_of_rows; /* of a chunk's section, as what is read for it */
    struct ints ints;
    struct strings strings;          /* STREAM_PLAIN */
    const struct stream *dictionary; /* STREAM_DICTIONARY */
    const struct bytes *entries;     /* of a dictionary, once asked for */
};

struct section {
    const uint8_t *at, *end; /* its entries in the directory */
    uint32_t streams_count, pool;
    struct stream *streams; /* ascending by column; NULL until parsed */
};

struct group_key {
    struct bytes name;
    uint8_t table, type;
};

struct shape {
    const uint32_t *keys;
    uint32_t count;
};

struct group_context {
    struct bytes resource, resource_schema, scope, scope_schema;
    bool has_resource, has_scope;
};

struct chunk;

struct group {
    struct segment segment; /* first */
    struct rowgroup_source source;
    struct arena *arena; /* the directory and what all rows share */
    struct arena rows;   /* what is read and made for rows: emptied by group_rest() */
    struct rowgroup_scratch own_scratch, *scratch;
    const struct query_context *query; /* of the running operation; NULL: none to ask */
    enum err error;

    uint32_t chunk_rows, traces, status_seen;
    uint64_t end_max, duration_max;
    struct block *blocks;
    uint32_t blocks_count;
    struct section *sections; /* [1 + chunks_count] */
    uint32_t chunks_count;

    bool is_loaded; /* what follows, from section 0 */
    struct group_key *keys;
    uint32_t keys_count;
    struct shape *shapes[TABLE_COUNT];
    uint32_t shapes_count[TABLE_COUNT];
    uint32_t *shape_rows[TABLE_COUNT]; /* [shapes_count], scratch: all 0 between uses */
    struct group_context *contexts;
    uint32_t contexts_count;
    struct chunk **chunks; /* [chunks_count], NULL until used */
};

/* Takes the source in any case. */
NODISCARD enum err group_open(const struct rowgroup_source *take_source, struct arena *arena,
                              struct group **out);
void group_close(struct group *g);
/* Forget what was read for rows. */
void group_rest(struct group *g);

/* Keys, shapes and contexts. False after an error. */
bool group_load(struct group *g);

/* Note the first error; later ones change nothing. */
void group_fail(struct group *g, enum err e);
/* From an arena of the group's, zeroed; NULL, and the group has failed, when that is exhausted. */
void *group_alloc(struct group *g, struct arena *from, size_t count, size_t size);

/* The stream of a column, opened: its parts but `big` are read. NULL when the section has none, and
 * after an error. */
struct stream *group_stream(struct group *g, uint32_t section, uint32_t column);
/* The number of values of a column in a section, from the directory alone. */
uint32_t group_stream_count(struct group *g, uint32_t section, uint32_t column);
/* The largest of a column's integers, likewise. False when the section has none, and after an error. */
bool group_stream_max(struct group *g, uint32_t section, uint32_t column, uint64_t *out);
/* The dictionary of a column, opened in the caller's copy and read among what is of rows, so that a look at all
 * of them leaves nothing behind. False when there is none, and after an error. */
bool group_peek(struct group *g, uint32_t column, struct stream *out);
/* Read every block of a section's streams. */
void group_section_check(struct group *g, uint32_t section);
/* Value i of a stream of bytes. */
struct bytes group_bytes(struct group *g, struct stream *s, uint32_t i);
/* All values of a dictionary, [count]. NULL after an error. */
const struct bytes *group_entries(struct group *g, const struct stream *dictionary);

#endif
