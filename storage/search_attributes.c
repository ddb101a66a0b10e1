/* SPDX-License-Identifier: Apache-2.0 */
/* Attribute keys and values, counted for completion lists. */
#include "base/budget.h"
#include "base/intern.h"
#include "base/mem.h"
#include "storage/search_private.h"

#include <assert.h>
#include <stdlib.h>

enum {
    DISTINCT_MAX = 100 * 1000, /* keys or values told apart; a list shows far fewer */
    ROWS_PER_READ = 4096,      /* about 2 MB of spans */
    SAMPLE_ROWS = 4096         /* where a segment cannot list its keys */
};

/* Distinct byte strings and how often each was seen. */
struct tally {
    struct intern entries;
    struct arena memory; /* of the counts, and of lists made of them */
    uint64_t *counts;
    size_t counts_capacity;
    size_t charged_bytes; /* for the entries */
    struct buffer entry;  /* scratch */
    bool is_full;
    enum err failure;
};

static void tally_init(struct tally *t, const struct query_context *q)
{
    memset(t, 0, sizeof *t);
    arena_init(&t->memory, search_scratch_bytes(q), q->arena->budget);
    intern_init(&t->entries, DISTINCT_MAX);
    buffer_init_charged(&t->entry, 16u << 20, q->arena->budget);
}

static void tally_deinit(struct tally *t)
{
    intern_deinit(&t->entries);
    buffer_deinit(&t->entry);
    if (t->memory.budget != NULL)
        budget_release(t->memory.budget, t->charged_bytes);
    arena_deinit(&t->memory);
}

/* Reserve for one more entry: its text, a block of which is taken at a time, and its place in the
 * tables, which grow by doubling. */
static enum err tally_charge(struct tally *t)
{
    enum { TABLES_BYTES = 2 * (sizeof(struct bytes) + sizeof(uint64_t) + 2 * sizeof(uint32_t)) };
    size_t wanted =
        t->entries.text.held_bytes + t->entry.len + ((size_t)t->entries.count + 1) * TABLES_BYTES;
    if (t->memory.budget == NULL || wanted <= t->charged_bytes)
        return ERR_OK;
    wanted += wanted / 4;
    if (!budget_reserve(t->memory.budget, wanted - t->charged_bytes))
        return ERR_BUDGET;
    t->charged_bytes = wanted;
    return ERR_OK;
}

/* Count t->entry. False, with the failure, when there is no memory. */
static bool tally_add(struct tally *t, uint64_t count)
{
    enum err e = buffer_error(&t->entry);
    uint32_t index = 0, before = t->entries.count;
    if (e == ERR_OK)
        e = tally_charge(t);
    if (e == ERR_OK)
        e = intern_put(&t->entries, buffer_bytes(&t->entry), &index);
    if (e == ERR_TOO_MANY) {
        t->is_full = true;
        return true;
    }
    if (e == ERR_OK)
        e = search_grow(&t->memory, &t->counts, &t->counts_capacity, t->entries.count,
                        sizeof *t->counts);
    if (e != ERR_OK) {
        t->failure = e;
        return false;
    }
    if (t->entries.count > before)
        t->counts[index] = 0;
    t->counts[index] += count;
    return true;
}

/* ---- Keys ---- */

struct key_search {
    struct search search;
    struct tally tally;
    struct bytes prefix;
    uint32_t rows[SAMPLE_ROWS];
    size_t rows_count;
};

static bool on_key(void *context, enum expr_scope scope, struct bytes key,
                   enum otlp_value_type type, uint64_t rows)
{
    struct key_search *k = context;
    if (!bytes_start_with(key, k->prefix))
        return true;
    buffer_reset(&k->tally.entry);
    buffer_append_byte(&k->tally.entry, (uint8_t)scope);
    buffer_append_bytes(&k->tally.entry, key);
    buffer_append_byte(&k->tally.entry, (uint8_t)type);
    return tally_add(&k->tally, rows);
}

static bool on_sample(void *context, const struct segment_row *row)
{
    struct key_search *k = context;
    k->rows[k->rows_count++] = row->row;
    return k->rows_count < SAMPLE_ROWS;
}

static int by_row(const void *a, const void *b)
{
    uint32_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

/* The keys of some rows, for a segment that does not list its own. */
static enum err sample_keys(struct key_search *k, struct segment *segment, struct time_range range)
{
    const struct query_context *q = k->search.q;
    struct buffer data;
    struct segment *body;
    search_buffer_init(&data, q);
    k->rows_count = 0;
    enum err e =
        segment->ops->scan(segment, q, NULL, range.min_unix_ns, range.max_unix_ns, on_sample, k);
    if (e == ERR_OK && k->rows_count > 0) {
        qsort(k->rows, k->rows_count, sizeof *k->rows, by_row);
        e = segment->ops->read(segment, q, k->rows, k->rows_count, ROW_ALL, &data);
    }
    if (e == ERR_OK)
        e = buffer_error(&data);
    if (e == ERR_OK)
        e = body_segment_open_bounded(&segment->bounds, buffer_bytes(&data), &k->search.scratch,
                                      &body);
    if (e == ERR_OK) {
        e = body->ops->keys(body, on_key, k);
        body->ops->close(body);
    }
    buffer_deinit(&data);
    return e;
}

static enum err visit_keys(struct key_search *k, size_t index, struct time_range range)
{
    struct segment *segment;
    enum err e = search_open(&k->search, index, &segment);
    if (e != ERR_OK || segment == NULL)
        return e;
    e = segment->ops->keys != NULL ? segment->ops->keys(segment, on_key, k)
                                   : sample_keys(k, segment, range);
    e = search_pass_damage(&k->search, index, e);
    return k->tally.failure != ERR_OK ? k->tally.failure : e;
}

/* Scope and key first, the most frequent type of each leading. */
struct key_count {
    struct attribute_key key;
    uint64_t type_count;
};

static int by_key_and_type_count(const void *a, const void *b)
{
    const struct key_count *x = a, *y = b;
    if (x->key.scope != y->key.scope)
        return x->key.scope < y->key.scope ? -1 : 1;
    int order = bytes_compare(x->key.key, y->key.key);
    if (order != 0)
        return order;
    if (x->type_count != y->type_count)
        return x->type_count > y->type_count ? -1 : 1;
    return (x->key.type > y->key.type) - (x->key.type < y->key.type);
}

static int most_seen_key_first(const void *a, const void *b)
{
    const struct key_count *x = a, *y = b;
    if (x->key.count != y->key.count)
        return x->key.count > y->key.count ? -1 : 1;
    return by_key_and_type_count(a, b);
}

static enum err list_keys(struct tally *t, struct arena *arena, size_t limit,
                          struct attribute_key **out, size_t *out_count)
{
    size_t count = t->entries.count, kept = 0;
    struct key_count *all = arena_alloc_array(&t->memory, count + 1, sizeof *all);
    if (all == NULL)
        return arena_failure(&t->memory);
    for (uint32_t i = 0; i < count; i++) {
        struct bytes entry = intern_get(&t->entries, i);
        all[i] = (struct key_count){
            .key = { .scope = (enum expr_scope)entry.data[0],
                     .key = bytes_slice(entry, 1, entry.len - 2),
                     .type = (enum otlp_value_type)entry.data[entry.len - 1],
                     .count = t->counts[i] },
            .type_count = t->counts[i],
        };
    }
    qsort(all, count, sizeof *all, by_key_and_type_count);
    for (size_t i = 0; i < count; i++) {
        struct key_count *last = kept == 0 ? NULL : &all[kept - 1];
        if (last != NULL && last->key.scope == all[i].key.scope &&
            bytes_equal(last->key.key, all[i].key.key))
            last->key.count += all[i].key.count;
        else
            all[kept++] = all[i];
    }
    qsort(all, kept, sizeof *all, most_seen_key_first);
    if (kept > limit)
        kept = limit;
    struct attribute_key *keys = arena_alloc_array(arena, kept + 1, sizeof *keys);
    enum err e = keys == NULL ? arena_failure(arena) : ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < kept; i++) {
        keys[i] = all[i].key;
        e = arena_dup(arena, all[i].key.key, &keys[i].key);
    }
    if (e == ERR_OK) {
        *out = keys;
        *out_count = kept;
    }
    return e;
}

enum err search_attribute_keys(const struct segment_source *source, const struct query_context *q,
                               enum signal signal, struct time_range range, struct bytes prefix,
                               size_t limit, struct attribute_key **out, size_t *out_count)
{
    struct key_search *k = mem_zalloc(sizeof *k);
    if (k == NULL)
        return ERR_NOMEM;
    search_init(&k->search, source, q);
    tally_init(&k->tally, q);
    k->prefix = prefix;
    struct search_order *order = NULL;
    size_t count = 0;
    enum err e = search_segments(&k->search, signal, range, FIND_NEWEST, &order, &count);
    for (size_t i = 0; e == ERR_OK && i < count; i++)
        e = visit_keys(k, order[i].index, range);
    if (e == ERR_OK || search_is_bound(e))
        e = list_keys(&k->tally, q->arena, limit, out, out_count);
    tally_deinit(&k->tally);
    search_deinit(&k->search);
    mem_free(k);
    return e;
}

/* ---- Values ---- */

struct value_search {
    struct search search;
    struct tally tally;
    struct bytes prefix;
    const struct expr *field;
    uint32_t *rows;
    size_t rows_count, rows_capacity;
    struct buffer data;
    enum err failure;
};

static bool on_match(void *context, const struct segment_row *row)
{
    struct value_search *v = context;
    v->failure = search_grow(&v->tally.memory, &v->rows, &v->rows_capacity, v->rows_count + 1,
                             sizeof *v->rows);
    if (v->failure != ERR_OK)
        return false;
    v->rows[v->rows_count++] = row->row;
    return true;
}

/* The entry of a value: its type, then eight bytes or its text. */
static bool count_scalar(struct value_search *v, const struct expr_value *value)
{
    struct buffer *entry = &v->tally.entry;
    uint8_t fixed[8];
    buffer_reset(entry);
    buffer_append_byte(entry, (uint8_t)value->type);
    switch (value->type) {
    case EXPR_STRING:
        if (!bytes_start_with(value->bytes, v->prefix))
            return true;
        buffer_append_bytes(entry, value->bytes);
        return tally_add(&v->tally, 1);
    case EXPR_INT:
    case EXPR_BOOL:
    case EXPR_DURATION:
    case EXPR_STATUS:
    case EXPR_KIND:
        store_le64(fixed, (uint64_t)value->integer);
        break;
    case EXPR_FLOAT:
        memcpy(fixed, &value->number, sizeof fixed);
        break;
    default: /* nothing that a list could offer */
        return true;
    }
    if (v->prefix.len > 0)
        return true;
    buffer_append(entry, fixed, sizeof fixed);
    return tally_add(&v->tally, 1);
}

static bool on_value(void *context, const struct expr_value *value)
{
    struct value_search *v = context;
    if (value->type != EXPR_ARRAY)
        return count_scalar(v, value);
    struct otlp_repeated elements = otlp_repeated(value->bytes, OTLP_VALUES);
    struct bytes element;
    while (otlp_repeated_next(&elements, &element)) {
        struct otlp_value read;
        otlp_value_read(element, &read);
        struct expr_value one = expr_value_of(&read);
        if (!count_scalar(v, &one))
            return false;
    }
    return true;
}

static enum err count_values(struct value_search *v, enum signal signal)
{
    struct otlp_row r;
    otlp_row_init(&r, signal);
    struct otlp_items it = otlp_items(buffer_bytes(&v->data));
    while (v->tally.failure == ERR_OK && otlp_items_next(&it)) {
        otlp_row_set(&r, it.resource.resource, it.scope.scope, it.item);
        (void)r.row.values(&r.row, v->field, on_value, v);
    }
    otlp_row_deinit(&r);
    return v->tally.failure;
}

static enum err read_values(struct value_search *v, struct segment *segment, enum signal signal)
{
    if (v->rows_count > 0)
        qsort(v->rows, v->rows_count, sizeof *v->rows, by_row);
    for (size_t from = 0; from < v->rows_count; from += ROWS_PER_READ) {
        size_t left = v->rows_count - from;
        buffer_reset(&v->data);
        enum err e =
            segment->ops->read(segment, v->search.q, v->rows + from,
                               left < ROWS_PER_READ ? left : ROWS_PER_READ, ROW_ALL, &v->data);
        if (e == ERR_OK)
            e = buffer_error(&v->data);
        if (e == ERR_OK)
            e = count_values(v, signal);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

static enum err visit_values(struct value_search *v, const struct search_order *at,
                             const struct expr *filter, struct time_range range)
{
    struct segment *segment;
    if (!search_may_match(&v->search, at->index, filter)) {
        v->search.progress.scanned_groups++;
        return query_check(v->search.q);
    }
    enum err e = search_open(&v->search, at->index, &segment);
    if (e != ERR_OK || segment == NULL)
        return e;
    v->search.progress.scanned_groups++;
    if (!segment->ops->may_match(segment, filter, range.min_unix_ns, range.max_unix_ns))
        return ERR_OK;
    v->search.progress.scanned_bytes += at->bounds.bytes;
    v->search.progress.scanned_rows += at->bounds.rows;
    v->rows_count = 0;
    v->failure = ERR_OK;
    e = segment->ops->scan(segment, v->search.q, filter, range.min_unix_ns, range.max_unix_ns,
                           on_match, v);
    if (v->failure != ERR_OK)
        return v->failure;
    if (e == ERR_OK)
        e = read_values(v, segment, at->bounds.signal);
    return search_pass_damage(&v->search, at->index, e);
}

struct value_count {
    struct bytes entry;
    uint64_t count;
};

static int most_seen_value_first(const void *a, const void *b)
{
    const struct value_count *x = a, *y = b;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    return bytes_compare(x->entry, y->entry);
}

static enum err value_from(struct arena *arena, struct bytes entry, struct expr_value *out)
{
    *out = (struct expr_value){ .type = (enum expr_type)entry.data[0] };
    struct bytes rest = bytes_slice(entry, 1, entry.len - 1);
    if (out->type == EXPR_STRING)
        return arena_dup(arena, rest, &out->bytes);
    assert(rest.len == 8);
    if (out->type == EXPR_FLOAT)
        memcpy(&out->number, rest.data, sizeof out->number);
    else
        out->integer = (int64_t)load_le64(rest.data);
    return ERR_OK;
}

static enum err list_values(struct tally *t, struct arena *arena, size_t limit,
                            struct attribute_value **out, size_t *out_count)
{
    size_t count = t->entries.count;
    struct value_count *all = arena_alloc_array(&t->memory, count + 1, sizeof *all);
    if (all == NULL)
        return arena_failure(&t->memory);
    for (uint32_t i = 0; i < count; i++)
        all[i] = (struct value_count){ intern_get(&t->entries, i), t->counts[i] };
    qsort(all, count, sizeof *all, most_seen_value_first);
    if (count > limit)
        count = limit;
    struct attribute_value *values = arena_alloc_array(arena, count + 1, sizeof *values);
    enum err e = values == NULL ? arena_failure(arena) : ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < count; i++) {
        values[i].count = all[i].count;
        e = value_from(arena, all[i].entry, &values[i].value);
    }
    if (e == ERR_OK) {
        *out = values;
        *out_count = count;
    }
    return e;
}

static enum err field_of(struct arena *a, enum expr_scope scope, struct bytes key,
                         const struct expr **out)
{
    struct expr *field = NULL;
    if (scope != EXPR_SCOPE_INTRINSIC) {
        field = expr_attribute(a, scope, key);
    } else {
        unsigned i = 0;
        while (i < EXPR_INTRINSIC_COUNT &&
               !bytes_equal_text(key, expr_intrinsic_name((enum expr_intrinsic)i)))
            i++;
        if (i == EXPR_INTRINSIC_COUNT)
            return ERR_INVALID;
        field = expr_intrinsic_field(a, (enum expr_intrinsic)i);
    }
    if (field == NULL)
        return arena_failure(a);
    *out = field;
    return ERR_OK;
}

enum err search_attribute_values(const struct segment_source *source, const struct query_context *q,
                                 enum signal signal, enum expr_scope scope, struct bytes key,
                                 struct time_range range, const struct expr *filter,
                                 struct bytes prefix, size_t limit, struct attribute_value **out,
                                 size_t *out_count, struct find_progress *out_progress)
{
    struct value_search v = { .prefix = prefix };
    search_init(&v.search, source, q);
    tally_init(&v.tally, q);
    search_buffer_init(&v.data, q);
    struct search_order *order = NULL;
    size_t count = 0;
    enum err e = field_of(&v.search.scratch, scope, key, &v.field);
    if (e == ERR_OK)
        e = search_segments(&v.search, signal, range, FIND_NEWEST, &order, &count);
    for (size_t i = 0; e == ERR_OK && i < count; i++)
        e = visit_values(&v, &order[i], filter, range);
    struct find_progress progress = v.search.progress;
    if (search_is_bound(e) || v.tally.is_full)
        progress.is_complete = false;
    if (e == ERR_OK || search_is_bound(e))
        e = list_values(&v.tally, q->arena, limit, out, out_count);
    if (e == ERR_OK)
        *out_progress = progress;
    buffer_deinit(&v.data);
    tally_deinit(&v.tally);
    search_deinit(&v.search);
    return e;
}
