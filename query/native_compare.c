/* SPDX-License-Identifier: Apache-2.0 */
/* What spans in a box have that others have not: attributes ranked by the difference between their shares. */
#include "query/box.h"
#include "query/json_parameters.h"
#include "query/native.h"

#include "base/intern.h"
#include "proto/otlp.h"

#include <stdlib.h>

/* Shares of 2,000 are right within 2.2 points, nineteen times in twenty. */
#define SAMPLE_ROWS      2000
#define ENTRIES_MAX      50000 /* distinct values; spans of a sample have some 20 each */
#define VALUE_SHOWN      256   /* bytes; longer ones count as alike when these are */
#define VALUES_SHOWN     8
#define ATTRIBUTES_SHOWN 20
#define ATTRIBUTES_MAX   100

enum { SELECTED, BASE, OTHER };
enum place { PLACE_INTRINSIC, PLACE_SPAN, PLACE_RESOURCE };
static const char *const place_words[] = { "intrinsic", "span", "resource" };

/* One value of one attribute. */
struct entry {
    enum place place;
    uint8_t type;
    struct bytes key, value; /* in the tally's texts */
    uint32_t counts[2];      /* spans that have it */
    uint32_t last_span;      /* the last that did, so that each counts it once */
    double difference;
};

struct tally {
    struct call *c;
    struct box box;
    struct intern texts;
    struct entry *entries; /* [ENTRIES_MAX], as many as there are texts */
    struct buffer text;    /* of the entry at hand */
    uint32_t spans;
    bool is_cut; /* there were more values than are told apart */
    bool is_approximate;
};

/* ---- Counting ---- */

static unsigned class_of(void *context, const struct scanned_row *row)
{
    struct tally *t = context;
    t->is_approximate |= !row->is_certain;
    return box_has(&t->box, row->start_unix_ns, row->duration_ns) ? SELECTED : BASE;
}

/* The text by which an entry is known: place, type, length of the key, key, value. */
#define HEAD_BYTES 6

static enum err count(struct tally *t, unsigned class, enum place place, uint8_t type,
                      struct bytes key)
{
    uint32_t index;
    enum err e = buffer_error(&t->text);
    if (e == ERR_OK)
        e = intern_put(&t->texts, buffer_bytes(&t->text), &index);
    if (e == ERR_TOO_MANY) {
        t->is_cut = true;
        return ERR_OK;
    }
    if (e != ERR_OK)
        return e;
    struct entry *entry = &t->entries[index];
    if (entry->key.data == NULL) {
        struct bytes text = intern_get(&t->texts, index);
        *entry = (struct entry){ .place = place,
                                 .type = type,
                                 .key = bytes_slice(text, HEAD_BYTES, key.len),
                                 .value = bytes_slice(text, HEAD_BYTES + key.len, SIZE_MAX) };
    }
    if (entry->last_span != t->spans)
        entry->counts[class]++;
    entry->last_span = t->spans;
    return ERR_OK;
}

static void begin_entry(struct tally *t, enum place place, uint8_t type, struct bytes key)
{
    uint8_t head[HEAD_BYTES] = { (uint8_t)place, type };
    store_le32(head + 2, (uint32_t)key.len);
    buffer_reset(&t->text);
    buffer_append(&t->text, head, sizeof head);
    buffer_append_bytes(&t->text, key);
}

/* Not inside a character. */
static void cut_value(struct buffer *text, size_t from)
{
    if (text->len - from <= VALUE_SHOWN)
        return;
    for (text->len = from + VALUE_SHOWN;
         text->len > from && (text->data[text->len] & 0xC0) == 0x80;)
        text->len--;
}

static enum err count_attributes(struct tally *t, unsigned class, enum place place,
                                 struct bytes message, uint32_t field)
{
    struct otlp_repeated attributes = otlp_repeated(message, field);
    struct bytes element;
    enum err e = ERR_OK;
    while (e == ERR_OK && otlp_repeated_next(&attributes, &element)) {
        struct otlp_key_value kv;
        struct otlp_value value = { .type = OTLP_EMPTY };
        otlp_key_value_read(element, &kv);
        if (kv.has_value)
            otlp_value_read(kv.value, &value);
        if (kv.key.len > UINT16_MAX)
            continue;
        begin_entry(t, place, (uint8_t)value.type, kv.key);
        size_t from = t->text.len;
        otlp_value_text(&t->text, &value);
        if (buffer_error(&t->text) == ERR_OK)
            cut_value(&t->text, from);
        e = count(t, class, place, (uint8_t)value.type, kv.key);
    }
    return e;
}

static enum err count_text(struct tally *t, unsigned class, const char *key, struct bytes value)
{
    begin_entry(t, PLACE_INTRINSIC, OTLP_STRING, bytes_text(key));
    size_t from = t->text.len;
    buffer_append_bytes(&t->text, value);
    if (buffer_error(&t->text) == ERR_OK)
        cut_value(&t->text, from);
    return count(t, class, PLACE_INTRINSIC, OTLP_STRING, bytes_text(key));
}

static enum err on_item(void *context, unsigned class, const struct otlp_items *at)
{
    struct tally *t = context;
    struct otlp_span span;
    t->spans++;
    enum err e = t->spans % 256 == 0 ? query_check(&t->c->context) : ERR_OK;
    otlp_span_read(at->item, &span);
    if (e == ERR_OK)
        e = count_text(t, class, "name", span.name);
    if (e == ERR_OK && span.kind <= 5)
        e = count_text(t, class, "kind", bytes_text(kind_words[span.kind]));
    if (e == ERR_OK && span.status.code <= 2)
        e = count_text(t, class, "status", bytes_text(status_words[span.status.code]));
    if (e == ERR_OK)
        e = count_attributes(t, class, PLACE_SPAN, at->item, OTLP_SPAN_ATTRIBUTES);
    if (e == ERR_OK)
        e = count_attributes(t, class, PLACE_RESOURCE, at->resource.resource,
                             OTLP_RESOURCE_ATTRIBUTES);
    return e;
}

/* ---- Ranking ---- */

static double share(uint32_t n, uint64_t of)
{
    return of == 0 ? 0 : (double)n / (double)of;
}

static double magnitude(double difference)
{
    return difference < 0 ? -difference : difference;
}

/* Attribute by attribute, of each the greatest difference first. */
static int by_attribute(const void *x, const void *y)
{
    const struct entry *a = x, *b = y;
    int order = (a->place > b->place) - (a->place < b->place);
    if (order == 0)
        order = bytes_compare(a->key, b->key);
    double p = magnitude(a->difference), q = magnitude(b->difference);
    if (order == 0)
        order = (p < q) - (p > q);
    return order != 0 ? order : bytes_compare(a->value, b->value);
}

/* The entries of one attribute. */
struct ranked {
    const struct entry *first;
    size_t count;
    double score;
};

static int by_score(const void *x, const void *y)
{
    const struct ranked *a = x, *b = y;
    if (a->score != b->score)
        return a->score < b->score ? 1 : -1;
    return by_attribute(a->first, b->first);
}

static bool is_same_attribute(const struct entry *a, const struct entry *b)
{
    return a->place == b->place && bytes_equal(a->key, b->key);
}

static enum err rank(struct tally *t, const struct row_sample_result *r, struct ranked **out,
                     size_t *out_count)
{
    size_t entries = t->texts.count, count_of = 0;
    struct ranked *list = arena_alloc_array(&t->c->arena, entries + 1, sizeof *list);
    if (list == NULL)
        return arena_failure(&t->c->arena);
    for (size_t i = 0; i < entries; i++)
        t->entries[i].difference = share(t->entries[i].counts[SELECTED], r->sampled[SELECTED]) -
                                   share(t->entries[i].counts[BASE], r->sampled[BASE]);
    qsort(t->entries, entries, sizeof *t->entries, by_attribute);
    for (size_t from = 0, to; from < entries; from = to) {
        for (to = from + 1; to < entries && is_same_attribute(&t->entries[from], &t->entries[to]);)
            to++;
        double score = magnitude(t->entries[from].difference);
        if (score > 0)
            list[count_of++] = (struct ranked){ &t->entries[from], to - from, score };
    }
    qsort(list, count_of, sizeof *list, by_score);
    *out = list;
    *out_count = count_of;
    return ERR_OK;
}

/* ---- Writing ---- */

/* Four digits are as many as a sample has. */
static void write_share(struct json_writer *j, const char *key, double v)
{
    json_key(j, key);
    json_double(j, (double)(int64_t)(v * 10000 + 0.5) / 10000);
}

static void write_value(struct json_writer *j, const struct entry *v,
                        const struct row_sample_result *r)
{
    json_object_begin(j);
    native_write_text(j, "v", v->value);
    json_key(j, "type");
    json_text(j, native_type_word((enum otlp_value_type)v->type));
    write_share(j, "sel", share(v->counts[SELECTED], r->sampled[SELECTED]));
    write_share(j, "base", share(v->counts[BASE], r->sampled[BASE]));
    native_write_count(j, "n_sel", v->counts[SELECTED]);
    native_write_count(j, "n_base", v->counts[BASE]);
    json_object_end(j);
}

static void write_attribute(struct json_writer *j, const struct ranked *a,
                            const struct row_sample_result *r)
{
    json_object_begin(j);
    json_key(j, "scope");
    json_text(j, place_words[a->first->place]);
    native_write_text(j, "key", a->first->key);
    write_share(j, "score", a->score);
    native_write_count(j, "distinct", a->count);
    json_key(j, "values");
    json_array_begin(j);
    for (size_t i = 0; i < a->count && i < VALUES_SHOWN; i++)
        write_value(j, &a->first[i], r);
    json_array_end(j);
    json_object_end(j);
}

static enum err write_comparison(struct tally *t, const struct row_sample_result *r, size_t limit,
                                 const struct page *page)
{
    struct json_writer *j = &t->c->json;
    struct ranked *list = NULL;
    size_t attributes = 0;
    enum err e = rank(t, r, &list, &attributes);
    if (e != ERR_OK)
        return e;
    json_object_begin(j);
    json_key(j, "attrs");
    json_array_begin(j);
    for (size_t i = 0; i < attributes && i < limit; i++)
        write_attribute(j, &list[i], r);
    json_array_end(j);
    native_write_count(j, "n_sel", r->seen[SELECTED]);
    native_write_count(j, "n_base", r->seen[BASE]);
    native_write_count(j, "sampled_sel", r->sampled[SELECTED]);
    native_write_count(j, "sampled_base", r->sampled[BASE]);
    json_key(j, "approximate");
    json_bool(j, t->is_approximate);
    json_key(j, "values_cut");
    json_bool(j, t->is_cut);
    native_write_end(t->c, &r->progress, r->seen[SELECTED] > 0, page, NULL);
    json_object_end(j);
    return ERR_OK;
}

/* ---- Asking ---- */

static enum err read_box(struct call *c, struct box *out)
{
    struct box b = BOX_ALL;
    enum err e = parameter_u64(c, "box.t0", 0, UINT64_MAX, &b.start_min_unix_ns);
    if (e == ERR_OK)
        e = parameter_u64(c, "box.t1", 0, UINT64_MAX, &b.start_max_unix_ns);
    if (e == ERR_OK)
        e = parameter_u64(c, "box.d0", 0, UINT64_MAX, &b.duration_min_ns);
    if (e == ERR_OK)
        e = parameter_u64(c, "box.d1", 0, UINT64_MAX, &b.duration_max_ns);
    if (e == ERR_OK && box_is_empty(&b))
        e = call_fail(c, ERR_INVALID, "box", "it holds nothing: t0 < t1 and d0 < d1 are needed");
    if (e == ERR_OK)
        *out = b;
    return e;
}

static enum err tally_open(struct tally *t, struct call *c)
{
    intern_init_charged(&t->texts, ENTRIES_MAX, c->options->memory_bytes, &c->budget);
    buffer_init_charged(&t->text, c->options->memory_bytes, &c->budget);
    t->c = c;
    t->entries = arena_alloc_array(&c->arena, ENTRIES_MAX, sizeof *t->entries);
    return t->entries == NULL ? arena_failure(&c->arena) : ERR_OK;
}

enum err native_compare(struct call *c)
{
    static const char *const known[] = { "q",      "from",   "to",     "limit", "box.t0",
                                         "box.t1", "box.d0", "box.d1", NULL };
    uint64_t limit = ATTRIBUTES_SHOWN;
    struct page page = { 0 };
    struct tally t = { 0 };
    struct row_sample sample = { .signal = SIGNAL_TRACES,
                                 .rows_max = SAMPLE_ROWS,
                                 .context = &t,
                                 .class_of = class_of,
                                 .on_item = on_item };
    struct row_sample_result result = { 0 };
    struct filter f;
    filter_init(&f, &c->arena);
    enum err e = json_parameters_take(c);
    if (e == ERR_OK)
        e = parameters_check(c, known);
    if (e == ERR_OK)
        e = parameter_u64(c, "limit", 1, ATTRIBUTES_MAX, &limit);
    if (e == ERR_OK)
        e = parameter_range(c, &page.range);
    if (e == ERR_OK)
        e = read_box(c, &t.box);
    if (e == ERR_OK)
        e = filter_add_query(c, &f, SIGNAL_TRACES, "q");
    if (e == ERR_OK)
        e = filter_tree(&f, &sample.filter);
    if (e != ERR_OK)
        return e;
    sample.range = page.range;
    e = tally_open(&t, c);
    if (e == ERR_OK)
        e = engine_rows_sample(c->options->engine, &c->context, &sample, &result);
    if (e == ERR_OK)
        e = write_comparison(&t, &result, (size_t)limit, &page);
    intern_deinit(&t.texts);
    buffer_deinit(&t.text);
    return e;
}
