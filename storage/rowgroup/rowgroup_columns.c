/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/rowgroup/rowgroup_columns.h"

#include "base/hash.h"
#include "base/mem.h"
#include "storage/derive/derive_span.h"
#include "storage/rowgroup/rowgroup_sort.h"

#define NONE UINT32_MAX

/* Grow an array to hold one more; false, and *error set, when out of memory. */
static bool grow(void *array, uint32_t *capacity, size_t size, enum err *error)
{
    void *old;
    memcpy(&old, array, sizeof old);
    uint32_t larger = *capacity < 8 ? 8 : *capacity * 2;
    void *block = *capacity >= UINT32_MAX / 2 ? NULL : mem_realloc(old, larger * size);
    if (block == NULL) {
        *error = ERR_NOMEM;
        return false;
    }
    memcpy(array, &block, sizeof block);
    *capacity = larger;
    return true;
}

/* ---- Dictionaries and maps */

/* Put entry `index` into its slot; it must not be there yet. */
static void dictionary_index(struct dictionary *d, uint32_t index)
{
    uint64_t hash = wire_hash(dictionary_get(d, index));
    uint32_t slot = (uint32_t)hash & d->slot_mask;
    while (d->slots[slot] != 0)
        slot = (slot + 1) & d->slot_mask;
    d->slots[slot] = (hash & ~UINT64_C(0xFFFFFFFF)) | (index + 1);
}

static bool dictionary_rehash(struct dictionary *d, enum err *error)
{
    uint32_t size = d->slots == NULL ? 16 : (d->slot_mask + 1) * 2;
    uint64_t *slots = mem_alloc_array(size, sizeof *slots);
    if (slots == NULL) {
        *error = ERR_NOMEM;
        return false;
    }
    mem_free(d->slots);
    d->slots = slots;
    d->slot_mask = size - 1;
    for (uint32_t i = 0; i < d->texts.count; i++)
        dictionary_index(d, i);
    return true;
}

/* The number of an entry, or NONE; *slot is where it is, or would be. There is a free slot. */
static inline __attribute__((always_inline)) uint32_t
dictionary_find(const struct dictionary *d, struct bytes entry, uint64_t hash, uint32_t *slot)
{
    uint64_t tag = hash & ~UINT64_C(0xFFFFFFFF);
    uint32_t at = (uint32_t)hash & d->slot_mask, found = NONE;
    for (; d->slots[at] != 0; at = (at + 1) & d->slot_mask) {
        uint64_t held = d->slots[at];
        uint32_t index = (uint32_t)held - 1;
        if ((held & ~UINT64_C(0xFFFFFFFF)) == tag && wire_equal(dictionary_get(d, index), entry)) {
            found = index;
            break;
        }
    }
    *slot = at;
    return found;
}

uint32_t dictionary_put(struct dictionary *d, struct bytes entry, enum err *error)
{
    if ((d->slots == NULL || d->texts.count * 2 > d->slot_mask) && !dictionary_rehash(d, error))
        return 0;
    uint64_t hash = wire_hash(entry);
    uint32_t slot, index = dictionary_find(d, entry, hash, &slot);
    if (index != NONE)
        return index;
    enum err e = texts_append(&d->texts, entry);
    if (e != ERR_OK) {
        *error = e;
        return 0;
    }
    uint32_t count = d->texts.count;
    d->slots[slot] = (hash & ~UINT64_C(0xFFFFFFFF)) | count;
    return count - 1;
}

void dictionary_reset(struct dictionary *d)
{
    if (d->slots != NULL && d->texts.count > 0)
        memset(d->slots, 0, ((size_t)d->slot_mask + 1) * sizeof *d->slots);
    texts_reset(&d->texts);
}

void dictionary_deinit(struct dictionary *d)
{
    texts_deinit(&d->texts);
    mem_free(d->slots);
    *d = (struct dictionary){ 0 };
}

static uint32_t int_map_slot(const struct int_map *m, uint64_t key)
{
    uint64_t hash = key * UINT64_C(0x9E3779B97F4A7C15);
    uint32_t slot = (uint32_t)(hash >> 32) & m->mask;
    while (m->values[slot] != NONE && m->keys[slot] != key)
        slot = (slot + 1) & m->mask;
    return slot;
}

static bool int_map_grow(struct int_map *m, enum err *error)
{
    struct int_map old = *m;
    uint32_t size = old.values == NULL ? 64 : (old.mask + 1) * 2;
    uint64_t *keys = mem_alloc_array(size, sizeof *keys);
    uint32_t *values = mem_alloc(size * sizeof *values);
    if (keys == NULL || values == NULL) {
        mem_free(keys);
        mem_free(values);
        *error = ERR_NOMEM;
        return false;
    }
    memset(values, 0xFF, size * sizeof *values);
    *m = (struct int_map){ .keys = keys, .values = values, .count = old.count, .mask = size - 1 };
    for (uint32_t i = 0; old.values != NULL && i <= old.mask; i++) {
        if (old.values[i] == NONE)
            continue;
        uint32_t slot = int_map_slot(m, old.keys[i]);
        m->keys[slot] = old.keys[i];
        m->values[slot] = old.values[i];
    }
    int_map_deinit(&old);
    return true;
}

uint32_t int_map_put(struct int_map *m, uint64_t key, uint32_t value, enum err *error)
{
    if ((m->values == NULL || m->count * 2 > m->mask) && !int_map_grow(m, error))
        return NONE;
    uint32_t slot = int_map_slot(m, key);
    if (m->values[slot] == NONE) {
        m->keys[slot] = key;
        m->values[slot] = value;
        m->count++;
    }
    return m->values[slot];
}

uint32_t int_map_find(const struct int_map *m, uint64_t key)
{
    return m->values == NULL ? NONE : m->values[int_map_slot(m, key)];
}

void int_map_reset(struct int_map *m)
{
    if (m->values != NULL)
        memset(m->values, 0xFF, ((size_t)m->mask + 1) * sizeof *m->values);
    m->count = 0;
}

void int_map_deinit(struct int_map *m)
{
    mem_free(m->keys);
    mem_free(m->values);
    *m = (struct int_map){ 0 };
}

/* ---- Life */

#define COLUMNS_KEPT_MAX   1024 /* a stranger's thousands of keys are not kept for the next group */
#define CHOICES_GROUPS_MAX 16   /* then forms are tried again, as what arrives may have changed */

static void column_deinit(struct column *column)
{
    mem_free(column->kind == COLUMN_KIND_INT ? (void *)column->ints : (void *)column->codes);
    dictionary_deinit(&column->dictionary);
    texts_deinit(&column->plain);
    *column = (struct column){ 0 };
}

static size_t element_size(enum column_kind kind)
{
    return kind == COLUMN_KIND_INT ? sizeof(uint64_t) : sizeof(uint32_t);
}

/* Empty, but with the arrays it has. */
static void column_reset(struct column *column, enum column_kind kind)
{
    struct column old = *column;
    void *block = old.kind == COLUMN_KIND_INT ? (void *)old.ints : (void *)old.codes;
    size_t block_bytes = old.capacity * element_size(old.kind);
    *column = (struct column){ .kind = kind,
                               .is_numbered = true,
                               .capacity = (uint32_t)(block_bytes / element_size(kind)),
                               .choice = old.choice,
                               .dictionary = old.dictionary,
                               .plain = old.plain };
    if (kind == COLUMN_KIND_INT)
        column->ints = block;
    else
        column->codes = block;
    dictionary_reset(&column->dictionary);
    texts_reset(&column->plain);
}

static bool column_add(struct columns *c, enum column_kind kind)
{
    if (c->count == c->capacity) {
        uint32_t had = c->capacity;
        if (!grow(&c->list, &c->capacity, sizeof *c->list, &c->error))
            return false;
        memset(c->list + had, 0, (c->capacity - had) * sizeof *c->list);
    }
    struct column *column = &c->list[c->count++];
    column_reset(column, kind);
    /* A fixed column looks alike from group to group; a key's number may be another's in the next. */
    if (c->count > COLUMN_FIXED_COUNT || c->choices_groups == 0)
        column->choice = (struct ints_choice){ 0 };
    return true;
}

static void node_add(struct columns *c, uint32_t parent, uint32_t key, uint32_t depth,
                     bool is_wanted)
{
    if (c->nodes_count == c->nodes_capacity &&
        !grow(&c->nodes, &c->nodes_capacity, sizeof *c->nodes, &c->error))
        return;
    uint32_t number = c->nodes_count++, last = parent == NONE ? NONE : c->nodes[parent].last_child;
    c->nodes[number] = (struct shape_node){ .key = key,
                                            .parent = parent,
                                            .depth = depth,
                                            .is_wanted = is_wanted,
                                            .shape = NONE,
                                            .last_child = NONE,
                                            .sibling = number };
    if (last != NONE) {
        c->nodes[number].sibling = c->nodes[last].sibling;
        c->nodes[last].sibling = number;
    }
}

enum err columns_init(struct columns *c, enum signal signal)
{
    *c = (struct columns){ 0 };
    columns_reset(c, signal);
    return c->error;
}

void columns_reset(struct columns *c, enum signal signal)
{
    for (uint32_t i = COLUMNS_KEPT_MAX; i < c->count; i++)
        column_deinit(&c->list[i]);
    c->error = ERR_OK;
    c->count = 0;
    if (c->choices_groups >= CHOICES_GROUPS_MAX)
        c->choices_groups = 0;
    for (uint32_t i = 0; i < COLUMN_FIXED_COUNT; i++)
        if (!column_add(c, rowgroup_column_kind(i)))
            return;
    static const uint8_t random[] = { COLUMN_SPAN_ID, COLUMN_PARENT_ID, COLUMN_LINK_TRACE_ID,
                                      COLUMN_LINK_SPAN_ID };
    for (size_t i = 0; i < sizeof random; i++) {
        c->list[random[i]].is_random = true;
        c->list[random[i]].is_numbered = false;
    }
    if (signal == SIGNAL_TRACES) {
        c->list[COLUMN_TRACE_ID].is_random = true;
        c->list[COLUMN_TRACE_ID].is_numbered = false;
    } else {
        c->list[COLUMN_TRACE_ID].keep_numbered = true;
    }
    c->list[COLUMN_NAME].keep_numbered = true;
    int_map_reset(&c->key_map);
    int_map_reset(&c->node_map);
    c->nodes_count = 0;
    for (uint32_t t = 0; t < TABLE_COUNT; t++) {
        node_add(c, NONE, NONE, 0, false);
        c->shapes_count[t] = 0;
    }
    c->touched_count = 0;
    c->chunks = 0;
}

void columns_deinit(struct columns *c)
{
    for (uint32_t i = 0; i < c->capacity; i++)
        column_deinit(&c->list[i]);
    mem_free(c->list);
    mem_free(c->keys);
    int_map_deinit(&c->key_map);
    mem_free(c->nodes);
    int_map_deinit(&c->node_map);
    for (uint32_t t = 0; t < TABLE_COUNT; t++)
        mem_free(c->shapes[t]);
    mem_free(c->touched);
    mem_free(c->chunk_ends);
    *c = (struct columns){ 0 };
}

/* ---- Values */

void columns_chunk_begin(struct columns *c)
{
    c->chunks++;
}

void columns_chunk_end(struct columns *c)
{
    if (c->chunks > c->chunks_capacity &&
        !grow(&c->chunk_ends, &c->chunks_capacity, sizeof *c->chunk_ends, &c->error))
        return;
    uint32_t begin = c->chunks == 1 ? 0 : c->chunk_ends[c->chunks - 2];
    c->chunk_ends[c->chunks - 1] = c->touched_count;
    for (uint32_t i = begin; i < c->touched_count; i++)
        c->touched[i].count = c->list[c->touched[i].column].count - c->touched[i].first;
}

void columns_touch(struct columns *c, uint32_t number)
{
    if (c->touched_count == c->touched_capacity &&
        !grow(&c->touched, &c->touched_capacity, sizeof *c->touched, &c->error))
        return;
    struct column *column = &c->list[number];
    c->touched[c->touched_count++] =
        (struct column_chunk){ .column = number, .first = column->count };
    column->chunk = c->chunks;
}

/* Room in the array for one more value; the array appears when the column stops being constant. */
static bool column_reserve(struct columns *c, struct column *column)
{
    if (column->count < column->capacity)
        return true;
    uint32_t need = column->count + 1, capacity = column->capacity;
    while (capacity < need) {
        if (capacity >=
            UINT32_MAX / 4) { /* twice as many codes must be countable, see column_reset() */
            c->error = ERR_NOMEM;
            return false;
        }
        capacity = capacity < 16 ? 16 : capacity * 2;
    }
    void *old = column->kind == COLUMN_KIND_INT ? (void *)column->ints : (void *)column->codes;
    void *block = mem_realloc(old, capacity * element_size(column->kind));
    if (block == NULL) {
        c->error = ERR_NOMEM;
        return false;
    }
    if (column->kind == COLUMN_KIND_INT)
        column->ints = block;
    else
        column->codes = block;
    column->capacity = capacity;
    return true;
}

void columns_int_slow(struct columns *c, struct column *column, uint64_t v)
{
    if (column->count == 0) {
        column->is_constant = true;
        column->first = v;
        column->count = 1;
        return;
    }
    if (!column_reserve(c, column))
        return;
    if (column->is_constant) {
        for (uint32_t i = 0; i < column->count; i++)
            column->ints[i] = column->first;
        column->is_constant = false;
    }
    column->ints[column->count++] = v;
}

/* Numbering costs a hash and a probe, in memory that is far away where there are many; it buys nothing where more
 * than half of the values are new, see has_dictionary(). The first ones say little of that. */
static bool numbering_pays(const struct column *column)
{
    uint32_t count = column->count;
    uint32_t most = count < 2048 ? count - count / 3 : count / 2 + count / 16;
    return column->keep_numbered || count < 1024 || column->dictionary.texts.count < most;
}

/* Give numbering up: from here on each value stands for itself. */
static void column_spell_out(struct columns *c, struct column *column)
{
    enum err e = ERR_OK;
    for (uint32_t i = 0; i < column->count && e == ERR_OK; i++) {
        uint32_t code = column->is_constant ? 0 : column->codes[i];
        e = texts_append(&column->plain, dictionary_get(&column->dictionary, code));
    }
    if (e != ERR_OK)
        c->error = e;
    column->is_numbered = column->is_constant = false;
}

/* Values were all alike until now, and their codes were not written. */
static void column_number(struct columns *c, struct column *column)
{
    struct dictionary *d = &column->dictionary;
    memset(column->codes, 0, column->count * sizeof *column->codes);
    column->is_constant = false;
    if (d->slots != NULL)
        dictionary_index(d, 0);
    else
        (void)dictionary_rehash(d, &c->error);
}

/* The first value of a column, or one that was not there yet. */
static void column_extend(struct columns *c, struct column *column, struct bytes v)
{
    struct dictionary *d = &column->dictionary;
    enum err e = ERR_OK;
    if (!column->is_numbered) {
        e = texts_append(&column->plain, v);
    } else if (column->count == 0) {
        /* The slots are made with the second entry: many keys have one value only. */
        e = texts_append(&d->texts, v);
        column->last_code = 0;
        column->last = v;
        column->is_constant = true;
    } else if (!column->is_constant || !wire_equal(v, dictionary_get(d, 0))) {
        if (!column_reserve(c, column))
            return;
        if (column->is_constant)
            column_number(c, column);
        uint32_t code = c->error == ERR_OK ? dictionary_put(d, v, &e) : 0;
        column->last_code = code;
        column->last = v;
        column->codes[column->count] = code;
    }
    if (e != ERR_OK)
        c->error = e;
    if (c->error != ERR_OK)
        return;
    column->count++;
    if (column->is_numbered && !column->is_constant && !numbering_pays(column))
        column_spell_out(c, column);
}

void columns_bytes_slow(struct columns *c, struct column *column, struct bytes v)
{
    struct dictionary *d = &column->dictionary;
    if (column->is_numbered && !column->is_constant && column->count > 0 &&
        column->count < column->capacity && d->slots != NULL) {
        uint32_t slot, code = dictionary_find(d, v, wire_hash(v), &slot);
        if (code != NONE) {
            column->last_code = code;
            column->last = v;
            column->codes[column->count++] = code;
            return;
        }
    }
    column_extend(c, column, v);
}

/* ---- Attributes by shape */

static uint32_t key_number(struct columns *c, uint32_t kind, struct bytes text)
{
    /* The map holds hashes; two keys with one hash follow each other by a changed seed. */
    for (uint64_t seed = kind;; seed += 1000) {
        uint32_t next = c->count - COLUMN_FIXED_COUNT;
        uint32_t key = int_map_put(&c->key_map, hash_bytes_seeded(text, seed), next, &c->error);
        if (c->error != ERR_OK)
            return NONE;
        if (key < next && c->keys[key].kind == kind && wire_equal(c->keys[key].text, text))
            return key;
        if (key < next)
            continue;
        if (next == c->keys_capacity &&
            !grow(&c->keys, &c->keys_capacity, sizeof *c->keys, &c->error))
            return NONE;
        c->keys[next] = (struct attribute_name){ .text = text, .kind = kind };
        return column_add(c, rowgroup_type_kind(kind & 15)) ? next : NONE;
    }
}

static uint32_t node_after(struct columns *c, uint32_t node, uint32_t kind, struct bytes text)
{
    uint32_t child = c->nodes[node].last_child;
    if (child != NONE) {
        const struct attribute_name *name = &c->keys[c->nodes[child].key];
        if (name->kind == kind && wire_equal(name->text, text))
            return child;
    }
    uint32_t key = key_number(c, kind, text);
    if (c->error != ERR_OK)
        return NONE;
    uint32_t next = c->nodes_count;
    child = int_map_put(&c->node_map, (uint64_t)node << 32 | key, next, &c->error);
    if (c->error == ERR_OK && child == next)
        node_add(c, node, key, c->nodes[node].depth + 1, derive_wants(text));
    if (c->error != ERR_OK)
        return NONE;
    c->nodes[node].last_child = child;
    return child;
}

uint32_t columns_value(struct columns *c, uint32_t node, uint32_t table, struct bytes key,
                       bool has_value, struct bytes any_value)
{
    uint32_t tag = 0, t;
    uint64_t value = 0, v = 0;
    struct bytes bytes = { 0 }, b = { 0 };
    const uint8_t *at = any_value.data, *end = any_value.len == 0 ? at : at + any_value.len;
    while (wire_next(&at, end, &t, &v, &b)) { /* the last member counts; canonical bytes have one */
        tag = t;
        value = v;
        bytes = b;
    }
    uint32_t type = !has_value ? (uint32_t)ROWGROUP_NO_VALUE : tag >> 3;
    if (type >= ROWGROUP_TYPE_COUNT)
        type = OTLP_EMPTY; /* a member that this version does not know */
    uint32_t next = node_after(c, node, table * 16 + type, key);
    if (next == NONE)
        return node;
    uint32_t column = COLUMN_FIXED_COUNT + c->nodes[next].key;
    switch (type) {
    case OTLP_STRING:
    case OTLP_ARRAY:
    case OTLP_KVLIST:
    case OTLP_BYTES:
        columns_bytes(c, column, bytes);
        break;
    case OTLP_INT:
        columns_int(c, column, int_to_ordered((int64_t)value));
        break;
    case OTLP_BOOL:
        columns_int(c, column, value != 0);
        break;
    case OTLP_DOUBLE:
        columns_int(c, column, value);
        break;
    default: /* an empty value, or none: that it is there is all */
        columns_int(c, column, 0);
    }
    return next;
}

#define SIBLINGS_MAX 8 /* that are compared with, before the key is looked up */

uint32_t columns_child(struct columns *c, uint32_t node, struct bytes message)
{
    uint32_t last = c->nodes[node].last_child, child = c->nodes[last].sibling;
    for (unsigned i = 0; i < SIBLINGS_MAX && child != last; i++, child = c->nodes[child].sibling) {
        if (columns_is_like(&c->nodes[child], message)) {
            c->nodes[node].last_child = child;
            return child;
        }
    }
    return NONE;
}

/* What columns_attribute() compares the next one with, where it is of the form that it takes. */
static void head_note(struct shape_node *n, struct bytes message)
{
    const uint8_t *at = message.data;
    size_t key_len = message.len > 5 ? at[1] : message.len;
    if (key_len + 6 > message.len || key_len >= 0x80 || at[0] != WIRE_TAG(1, WIRE_LENGTH) ||
        at[2 + key_len] != WIRE_TAG(2, WIRE_LENGTH))
        return;
    uint8_t tag = at[4 + key_len];
    if (tag != WIRE_TAG(OTLP_STRING, WIRE_LENGTH) && tag != WIRE_TAG(OTLP_INT, WIRE_VARINT))
        return;
    n->head = bytes_slice(message, 0, 3 + key_len);
    n->value_tag = tag;
}

uint32_t columns_attribute_slow(struct columns *c, uint32_t node, uint32_t table,
                                struct bytes message)
{
    const uint8_t *at = message.data, *end = message.len == 0 ? at : at + message.len;
    uint32_t tag;
    uint64_t v;
    struct bytes bytes, key = { 0 }, value = { 0 };
    bool has_value = false;
    while (wire_next(&at, end, &tag, &v, &bytes)) {
        if (tag == WIRE_TAG(1, WIRE_LENGTH)) {
            key = bytes;
        } else if (tag == WIRE_TAG(2, WIRE_LENGTH)) {
            value = bytes;
            has_value = true;
        }
    }
    uint32_t next = columns_value(c, node, table, key, has_value, value);
    if (c->error == ERR_OK && c->nodes[next].head.len == 0)
        head_note(&c->nodes[next], message);
    return next;
}

uint32_t columns_shape(struct columns *c, uint32_t table, uint32_t node)
{
    if (c->error != ERR_OK)
        return 0;
    struct shape_node *n = &c->nodes[node];
    if (n->shape == NONE) {
        if (c->shapes_count[table] == c->shapes_capacity[table] &&
            !grow(&c->shapes[table], &c->shapes_capacity[table], sizeof *c->shapes[table],
                  &c->error))
            return 0;
        n->shape = c->shapes_count[table]++;
        c->shapes[table][n->shape] = node;
    }
    return n->shape;
}

/* ---- Writing */

static void write_keys(struct columns *c, struct group_writer *w)
{
    uint32_t count = c->count - COLUMN_FIXED_COUNT;
    struct texts names = { 0 };
    uint64_t *kinds = mem_alloc_array(count + 1u, sizeof *kinds);
    enum err e = kinds == NULL ? ERR_NOMEM : ERR_OK;
    for (uint32_t i = 0; i < count && e == ERR_OK; i++) {
        e = texts_append(&names, c->keys[i].text);
        kinds[i] = c->keys[i].kind;
    }
    if (e == ERR_OK) {
        group_writer_texts(w, COLUMN_KEY_NAME, &names, 0, count, false, NULL);
        group_writer_ints(w, COLUMN_KEY_KIND, kinds, count, NULL);
    } else {
        c->error = e;
    }
    texts_deinit(&names);
    mem_free(kinds);
}

static void write_shapes(struct columns *c, struct group_writer *w, uint32_t table)
{
    uint32_t count = c->shapes_count[table];
    size_t keys_count = 0;
    for (uint32_t i = 0; i < count; i++)
        keys_count += c->nodes[c->shapes[table][i]].depth;
    uint64_t *lengths = mem_alloc_array(count + 1u, sizeof *lengths);
    uint64_t *keys = mem_alloc_array(keys_count + 1u, sizeof *keys);
    if (lengths == NULL || keys == NULL) {
        c->error = ERR_NOMEM;
    } else {
        size_t at = 0;
        for (uint32_t i = 0; i < count; i++) {
            const struct shape_node *n = &c->nodes[c->shapes[table][i]];
            lengths[i] = n->depth;
            at += n->depth;
            for (size_t k = at; n->parent != NONE; n = &c->nodes[n->parent])
                keys[--k] = n->key;
        }
        group_writer_ints(w, COLUMN_ITEM_SHAPE_LENGTH + 2 * table, lengths, count, NULL);
        group_writer_ints(w, COLUMN_ITEM_SHAPE_KEYS + 2 * table, keys, keys_count, NULL);
    }
    mem_free(lengths);
    mem_free(keys);
}

/* A dictionary pays when values repeat, and it is what tells a search that a value is not there. */
static bool has_dictionary(const struct column *column)
{
    return column->kind == COLUMN_KIND_BYTES && column->count > 0 && column->is_numbered &&
           !column->is_random &&
           (column->is_constant || column->dictionary.texts.count <= column->count / 2);
}

static bool has_big_values(const struct dictionary *d)
{
    for (uint32_t i = 0; i < d->texts.count; i++)
        if (dictionary_get(d, i).len > ROWGROUP_VALUE_INLINE_MAX)
            return true;
    return false;
}

static void write_column_chunk(struct columns *c, struct group_writer *w,
                               const struct column_chunk *part)
{
    struct column *column = &c->list[part->column];
    if (column->kind == COLUMN_KIND_INT) {
        if (column->is_constant)
            group_writer_constant(w, part->column, column->first, part->count);
        else
            group_writer_ints(w, part->column, column->ints + part->first, part->count,
                              &column->choice);
    } else if (column->is_numbered) {
        group_writer_codes(w, part->column,
                           column->is_constant ? NULL : column->codes + part->first, part->count,
                           &column->choice);
    } else {
        group_writer_texts(w, part->column, &column->plain, part->first, part->count,
                           column->is_random, &column->choice);
    }
}

static void write_chunk(struct columns *c, struct group_writer *w, uint32_t begin, uint32_t end)
{
    struct sort_entry *order = mem_alloc_array(end - begin + 1u, sizeof *order);
    struct sort_entry *scratch = mem_alloc_array(end - begin + 1u, sizeof *scratch);
    if (order == NULL || scratch == NULL) {
        c->error = ERR_NOMEM;
    } else {
        for (uint32_t i = begin; i < end; i++)
            order[i - begin] = (struct sort_entry){ .key = c->touched[i].column, .value = i };
        struct sort_entry *sorted = sort_by_key(order, scratch, end - begin);
        group_writer_section_begin(w);
        for (uint32_t i = 0; i < end - begin; i++)
            write_column_chunk(c, w, &c->touched[sorted[i].value]);
        group_writer_section_end(w);
    }
    mem_free(order);
    mem_free(scratch);
}

void columns_write(struct columns *c, struct group_writer *w)
{
    c->choices_groups++;
    write_keys(c, w);
    for (uint32_t t = 0; t < TABLE_COUNT; t++)
        write_shapes(c, w, t);
    for (uint32_t i = COLUMN_CONTEXT; i < c->count; i++) {
        struct column *column = &c->list[i];
        if (column->kind != COLUMN_KIND_BYTES || column->count == 0)
            continue;
        if (has_dictionary(column) && !has_big_values(&column->dictionary))
            group_writer_texts(w, i, &column->dictionary.texts, 0, column->dictionary.texts.count,
                               false, NULL);
        else if (column->is_numbered)
            column_spell_out(c, column);
    }
    group_writer_section_end(w);
    for (uint32_t i = 0; i < c->chunks && c->error == ERR_OK && w->error == ERR_OK; i++)
        write_chunk(c, w, i == 0 ? 0 : c->chunk_ends[i - 1], c->chunk_ends[i]);
    if (c->error == ERR_OK)
        c->error = w->error;
}
