/* SPDX-License-Identifier: Apache-2.0 */
/* rowgroup_columns.h - the values of a group that is being built, column by column.
 *
 * Role       the builder walks items in their final order and pushes each value to its column;
 *            attributes come by shape. Byte strings are numbered per column until a column turns out to
 *            have few equal ones.
 * Private    to storage/rowgroup.
 * Errors     stick in columns.error. */
#ifndef SPINDLE_STORAGE_ROWGROUP_COLUMNS_H
#define SPINDLE_STORAGE_ROWGROUP_COLUMNS_H

#include "storage/rowgroup/rowgroup_write.h"

/* Distinct byte strings. */
struct dictionary {
    struct texts texts;
    uint64_t *slots; /* open addressing: upper half of the hash, entry number + 1; NULL before the
                        first */
    uint32_t slot_mask;
};

/* A map from a key's 64 bits to a number. */
struct int_map {
    uint64_t *keys;
    uint32_t *values; /* UINT32_MAX: free */
    uint32_t count, mask;
};

struct column {
    enum column_kind kind;
    bool is_random;   /* of bytes: no two alike, and not worth compressing */
    bool is_numbered; /* of bytes: equal ones have equal codes; else they are in `plain` */
    bool keep_numbered;
    bool is_constant; /* all values so far are `first`, or the dictionary's first; no array is kept
                       */
    uint32_t count, capacity;
    uint32_t chunk; /* of the last value, + 1 */
    uint32_t last_code;
    struct bytes last; /* of bytes that are numbered: the last value; its code is last_code */
    uint64_t first;
    /* One of both, of `capacity` elements; the block stays with the column when its kind changes.
     */
    uint64_t *ints;
    uint32_t *codes;
    struct ints_choice choice;
    struct dictionary dictionary;
    struct texts plain;
};

/* That a column has values in a chunk. */
struct column_chunk {
    uint32_t column, first, count;
};

struct shape_node {
    uint32_t key;    /* number of the key that led here */
    uint32_t parent; /* node, or UINT32_MAX for a table's root */
    uint32_t depth;  /* keys from the root */
    bool is_wanted;  /* the last of them, by derive_wants() */
    uint32_t shape;  /* number of the shape that ends here, or UINT32_MAX */
    /* Of a plain attribute with a string or a number: its bytes up to the value's length, and the value's tag. */
    struct bytes head;
    uint8_t value_tag;
    uint32_t last_child; /* where the walk went on from here the last time, or UINT32_MAX */
    uint32_t sibling;    /* children of a node form a ring */
};

struct attribute_name {
    struct bytes text;
    uint32_t kind; /* table * 16 + type */
};

struct columns {
    struct column *list; /* fixed ones, then the keys' */
    uint32_t count, capacity;
    struct attribute_name *keys;
    uint32_t keys_capacity;
    struct int_map key_map;   /* hash of (kind, text) to key */
    struct shape_node *nodes; /* the first TABLE_COUNT are the roots */
    uint32_t nodes_count, nodes_capacity;
    struct int_map node_map;       /* (node, key) to node */
    uint32_t *shapes[TABLE_COUNT]; /* the node where each ends */
    uint32_t shapes_count[TABLE_COUNT], shapes_capacity[TABLE_COUNT];
    struct column_chunk *touched; /* of all chunks, one chunk after the other */
    uint32_t touched_count, touched_capacity;
    uint32_t *chunk_ends; /* touched_count at each chunk's end */
    uint32_t chunks, chunks_capacity;
    uint32_t choices_groups; /* written since the fixed columns' choices were forgotten */
    enum err error;
};

/* Empty columns of a signal; reset forgets the values and keeps the memory. */
NODISCARD enum err columns_init(struct columns *c, enum signal signal);
void columns_deinit(struct columns *c);
void columns_reset(struct columns *c, enum signal signal);

/* The number of an entry, copied when it is new. After a failure 0, and *error is set. */
uint32_t dictionary_put(struct dictionary *d, struct bytes entry, enum err *error);
void dictionary_reset(struct dictionary *d);
void dictionary_deinit(struct dictionary *d);
/* Until the next one is put. */
static inline struct bytes dictionary_get(const struct dictionary *d, uint32_t number)
{
    return texts_get(&d->texts, number);
}
/* The number under this key; *value as given when it is new. UINT32_MAX after a failure. */
uint32_t int_map_put(struct int_map *m, uint64_t key, uint32_t value, enum err *error);
/* The number under this key, or UINT32_MAX. */
uint32_t int_map_find(const struct int_map *m, uint64_t key);
void int_map_reset(struct int_map *m);
void int_map_deinit(struct int_map *m);

/* The rows from here on belong to the next chunk. */
void columns_chunk_begin(struct columns *c);
void columns_chunk_end(struct columns *c);

/* What the inline functions below leave to others: a column used first, a value that does not fit as it is. */
void columns_touch(struct columns *c, uint32_t column);
void columns_int_slow(struct columns *c, struct column *column, uint64_t v);
void columns_bytes_slow(struct columns *c, struct column *column, struct bytes v);

/* Once for each value of each row: inline wherever they stand. */
static inline __attribute__((always_inline)) void columns_int(struct columns *c, uint32_t number,
                                                              uint64_t v)
{
    struct column *column = &c->list[number];
    if (column->chunk != c->chunks)
        columns_touch(c, number);
    if (column->is_constant && v == column->first)
        column->count++;
    else if (!column->is_constant && column->count < column->capacity)
        column->ints[column->count++] = v;
    else
        columns_int_slow(c, column, v);
}

static inline __attribute__((always_inline)) void columns_bytes(struct columns *c, uint32_t number,
                                                                struct bytes v)
{
    struct column *column = &c->list[number];
    if (column->chunk != c->chunks)
        columns_touch(c, number);
    if (column->count == 0 || !column->is_numbered || !wire_equal(v, column->last))
        columns_bytes_slow(c, column, v);
    else if (column->is_constant)
        column->count++;
    else if (column->count < column->capacity)
        column->codes[column->count++] = column->last_code;
    else
        columns_bytes_slow(c, column, v);
}

/* The same for a column that is never numbered. */
static inline __attribute__((always_inline)) void columns_plain(struct columns *c, uint32_t number,
                                                                struct bytes v)
{
    struct column *column = &c->list[number];
    if (column->chunk != c->chunks)
        columns_touch(c, number);
    enum err e = texts_append(&column->plain, v);
    if (e != ERR_OK)
        c->error = e;
    else
        column->count++;
}

/* One more value after `node`, under a key: it goes to its column, and the node after it is returned.
 * `any_value` is the AnyValue message, with has_value as OTLP has it. */
uint32_t columns_value(struct columns *c, uint32_t node, uint32_t table, struct bytes key,
                       bool has_value, struct bytes any_value);
/* The same for an attribute, a KeyValue message. */
uint32_t columns_attribute_slow(struct columns *c, uint32_t node, uint32_t table,
                                struct bytes message);

/* Whether a plain attribute has the key and the type of the one that made a node; and content that is all there. */
static inline __attribute__((always_inline)) bool columns_is_like(const struct shape_node *n,
                                                                  struct bytes message)
{
    size_t head = n->head.len, left = message.len - head;
    if (message.len < head + 3 || head == 0)
        return false;
    const uint8_t *value = message.data + head; /* its length, its tag, its content */
    return left <= 0x80 && value[0] == left - 1 && value[1] == n->value_tag &&
           (n->value_tag != WIRE_TAG(OTLP_STRING, WIRE_LENGTH) || value[2] == left - 3) &&
           wire_equal(bytes_of(message.data, head), n->head);
}

/* The child of a node that an attribute is like, or UINT32_MAX; the last child is not. */
uint32_t columns_child(struct columns *c, uint32_t node, struct bytes message);

/* Nearly every attribute is like one that followed on `node` before, most often the last: then one comparison tells
 * where its value goes. */
static inline __attribute__((always_inline)) uint32_t
columns_attribute(struct columns *c, uint32_t node, uint32_t table, struct bytes message)
{
    uint32_t child = c->nodes[node].last_child;
    if (child != UINT32_MAX && !columns_is_like(&c->nodes[child], message))
        child = columns_child(c, node, message);
    if (child == UINT32_MAX)
        return columns_attribute_slow(c, node, table, message);
    const struct shape_node *n = &c->nodes[child];
    const uint8_t *content = message.data + n->head.len + 2, *end = message.data + message.len;
    uint64_t number;
    if (n->value_tag == WIRE_TAG(OTLP_STRING, WIRE_LENGTH))
        columns_bytes(c, COLUMN_FIXED_COUNT + n->key,
                      bytes_of(content + 1, (size_t)(end - content) - 1));
    else if (wire_varint(&content, end, &number) && content == end)
        columns_int(c, COLUMN_FIXED_COUNT + n->key, int_to_ordered((int64_t)number));
    else
        return columns_attribute_slow(c, node, table, message);
    return child;
}

/* The number of the shape that ends at `node`. */
uint32_t columns_shape(struct columns *c, uint32_t table, uint32_t node);

/* Everything but the contexts, into sections: the first must have been begun. */
void columns_write(struct columns *c, struct group_writer *w);

#endif
