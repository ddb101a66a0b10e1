/* SPDX-License-Identifier: Apache-2.0 */
/* A trace as a page draws it: its tree, in parts. */
#include "query/native_skeleton.h"

#include "base/text.h"

#define PART_ROWS  20000          /* an answer of about 1 MB */
#define AS_GOOD_NS (5 * NS_PER_S) /* without a version: so old a skeleton will do */

/* ---- Having one ---- */

/* All that is left of a trace, when part of it is damaged. */
static enum err left_of(enum err e, size_t given, bool *is_complete)
{
    if (e != ERR_CORRUPT || given == 0)
        return e;
    *is_complete = false;
    return ERR_OK;
}

static enum err walk_and_build(struct call *c, struct kept_skeleton *k)
{
    struct skeleton_builder b;
    struct trace_walk walk = { .trace_id = k->trace_id, .signal = SIGNAL_TRACES };
    k->is_complete = true;
    skeleton_begin(&b, &c->context);
    enum err e = engine_trace_walk(c->options->engine, &c->context, &walk, skeleton_add, &b);
    e = left_of(e, b.count, &k->is_complete);
    walk.signal = SIGNAL_LOGS;
    if (e == ERR_OK) {
        e = engine_trace_walk(c->options->engine, &c->context, &walk, skeleton_add_log, &b);
        e = left_of(e, b.count, &k->is_complete);
    }
    if (e == ERR_OK)
        e = skeleton_finish(&b, &k->memory, &k->skeleton);
    skeleton_end(&b);
    return e;
}

static enum err build(struct call *c, const struct trace_id *id, struct kept_skeleton **out)
{
    struct kept_skeleton *k = skeletons_new(c->skeletons, id, c->options->memory_bytes);
    if (k == NULL)
        return ERR_NOMEM;
    enum err e = walk_and_build(c, k);
    if (e == ERR_OK) {
        skeletons_keep(c->skeletons, k);
        *out = k;
    } else {
        skeletons_release(c->skeletons, k);
    }
    return e == ERR_NOT_FOUND ? call_fail(c, e, "id", "no such trace is stored") : e;
}

static enum err read_version(struct call *c, uint64_t *out, bool *out_is_given)
{
    struct bytes text;
    uint8_t version[8];
    *out_is_given = parameter_text(c, "version", &text);
    if (!*out_is_given)
        return ERR_OK;
    if (text.len != 2 * sizeof version || !text_hex_parse(text, version, sizeof version))
        return call_fail(c, ERR_INVALID, "version", "it is not one that a header gave");
    *out = load_be64(version);
    return ERR_OK;
}

enum err native_skeleton_take(struct call *c, const struct trace_id *id, struct kept_skeleton **out)
{
    uint64_t version = 0;
    bool is_given = false;
    struct kept_skeleton *k = NULL;
    enum err e = read_version(c, &version, &is_given);
    if (e != ERR_OK)
        return e;
    k = skeletons_take(c->skeletons, id, is_given ? &version : NULL, AS_GOOD_NS);
    if (k == NULL)
        e = build(c, id, &k);
    if (e == ERR_OK && is_given && k->skeleton.version != version) {
        skeletons_release(c->skeletons, k);
        return call_fail(c, ERR_NOT_FOUND, "version",
                         "the trace has grown since; ask for its header again");
    }
    if (e == ERR_OK)
        *out = k;
    return e;
}

/* ---- Header ---- */

void native_write_version(struct json_writer *j, const struct skeleton *s)
{
    uint8_t version[8];
    store_be64(version, s->version);
    native_write_id(j, "version", version, sizeof version);
}

static void write_warning(struct json_writer *j, const char *kind, size_t count)
{
    if (count == 0)
        return;
    json_object_begin(j);
    json_key(j, "kind");
    json_text(j, kind);
    native_write_count(j, "count", count);
    json_object_end(j);
}

static void write_warnings(struct json_writer *j, const struct kept_skeleton *k)
{
    const struct skeleton *s = &k->skeleton;
    size_t roots = s->roots - s->missing;
    json_key(j, "warnings");
    json_array_begin(j);
    write_warning(j, "damaged", !k->is_complete);
    write_warning(j, "orphans", s->orphans);
    write_warning(j, "missing_parents", s->missing);
    write_warning(j, "roots", roots > 1 ? roots : 0);
    write_warning(j, "skewed", s->skewed);
    write_warning(j, "truncated", s->truncated);
    write_warning(j, "duplicates", s->duplicates);
    write_warning(j, "cycles", s->cycles);
    write_warning(j, "bad_times", s->bad_times);
    write_warning(j, "services_cut", s->has_other_services);
    json_array_end(j);
}

static void write_services(struct call *c, const struct skeleton *s)
{
    struct json_writer *j = &c->json;
    json_key(j, "services");
    json_array_begin(j);
    for (size_t i = 0; i < s->services_count; i++) {
        json_object_begin(j);
        native_write_text(j, "name", s->services[i].name);
        native_write_count(j, "color", native_color(c, s->services[i].name));
        native_write_count(j, "spans", s->services[i].spans);
        native_write_count(j, "errors", s->services[i].errors);
        json_object_end(j);
    }
    json_array_end(j);
}

static void write_root(struct json_writer *j, const struct otlp_trace_facts *f)
{
    json_key(j, "root");
    if (!f->has_root) {
        json_null(j);
        return;
    }
    json_object_begin(j);
    native_write_text(j, "svc", skeleton_cut(f->root_service));
    native_write_text(j, "name", skeleton_cut(f->root_name));
    json_object_end(j);
}

static size_t part_count(const struct skeleton *s)
{
    return (s->count + PART_ROWS - 1) / PART_ROWS;
}

static void write_header(struct call *c, const struct kept_skeleton *k)
{
    struct json_writer *j = &c->json;
    const struct skeleton *s = &k->skeleton;
    native_write_id(j, "id", k->trace_id.b, sizeof k->trace_id.b);
    native_write_version(j, s);
    native_write_ns(j, "t0", s->t0_unix_ns);
    native_write_count(j, "dur", s->end_ns);
    native_write_count(j, "spans", s->spans);
    native_write_count(j, "rows", s->count);
    native_write_count(j, "errors", s->errors);
    native_write_count(j, "depth", s->depth_max);
    native_write_count(j, "parts", part_count(s));
    native_write_count(j, "part_rows", PART_ROWS);
    json_key(j, "complete");
    json_bool(j, k->is_complete);
    native_write_count(j, "names_count", s->names_count);
    write_root(j, &s->facts);
    write_services(c, s);
    write_warnings(j, k);
}

/* ---- Parts ---- */

/* A column of the rows [from, to); `value` is what a row has there. */
#define WRITE_COLUMN(j, key, value)                                                                \
    do {                                                                                           \
        json_key(j, key);                                                                          \
        json_array_begin(j);                                                                       \
        for (size_t i = from; i < to; i++) {                                                       \
            const struct skeleton_row *r = &s->rows[i];                                            \
            json_i64(j, (int64_t)(value));                                                         \
        }                                                                                          \
        json_array_end(j);                                                                         \
    } while (0)

static int64_t or_minus_one(uint32_t index, uint32_t none)
{
    return index == none ? -1 : (int64_t)index;
}

/* All IDs as one text, 16 digits each: half of what as many strings would take to read. */
static enum err write_ids(struct call *c, const struct skeleton *s, size_t from, size_t to)
{
    uint8_t *ids = arena_alloc_bytes(&c->arena, (to - from) * 8 + 1);
    if (ids == NULL)
        return arena_failure(&c->arena);
    for (size_t i = from; i < to; i++)
        store_be64(ids + (i - from) * 8, s->rows[i].id);
    json_key(&c->json, "ids");
    json_hex(&c->json, bytes_of(ids, (to - from) * 8));
    return ERR_OK;
}

/* Names have the order of their first use: those before row `to`. */
static size_t names_before(const struct skeleton *s, size_t to)
{
    size_t names = 0;
    for (size_t i = 0; i < to; i++)
        if (s->rows[i].name != SKELETON_NONE && s->rows[i].name >= names)
            names = s->rows[i].name + (size_t)1;
    return names;
}

static void write_names(struct json_writer *j, const struct skeleton *s, size_t from, size_t to)
{
    size_t first = names_before(s, from), end = names_before(s, to);
    native_write_count(j, "names_first", first);
    json_key(j, "names");
    json_array_begin(j);
    for (size_t i = first; i < end; i++)
        json_string(j, s->names[i]);
    json_array_end(j);
}

static void write_shifts(struct json_writer *j, const struct skeleton *s, size_t from, size_t to)
{
    json_key(j, "shift");
    json_array_begin(j);
    for (size_t i = 0; i < s->skewed; i++) {
        if (s->shifts[i].row < from || s->shifts[i].row >= to)
            continue;
        json_array_begin(j);
        json_u64(j, s->shifts[i].row);
        json_i64(j, s->shifts[i].ns);
        json_array_end(j);
    }
    json_array_end(j);
}

static enum err write_part(struct call *c, const struct skeleton *s, size_t part)
{
    struct json_writer *j = &c->json;
    size_t from = part * PART_ROWS;
    size_t to = s->count - from < PART_ROWS ? s->count : from + PART_ROWS;
    native_write_version(j, s);
    native_write_count(j, "part", part);
    native_write_count(j, "first", from);
    native_write_count(j, "count", to - from);
    enum err e = write_ids(c, s, from, to);
    if (e != ERR_OK)
        return e;
    WRITE_COLUMN(j, "parent", or_minus_one(r->parent, SKELETON_NONE));
    WRITE_COLUMN(j, "start", r->start_ns);
    WRITE_COLUMN(j, "dur", r->duration_ns);
    WRITE_COLUMN(j, "svc", or_minus_one(r->service, SKELETON_NO_SERVICE));
    WRITE_COLUMN(j, "name", or_minus_one(r->name, SKELETON_NONE));
    WRITE_COLUMN(j, "kind", r->kind);
    WRITE_COLUMN(j, "flags", r->flags);
    write_names(j, s, from, to);
    write_shifts(j, s, from, to);
    return ERR_OK;
}

static enum err write_skeleton(struct call *c, const struct kept_skeleton *k, bool is_part,
                               uint64_t part)
{
    enum err e = ERR_OK;
    if (is_part && part >= part_count(&k->skeleton))
        return call_fail(c, ERR_INVALID, "part", "the trace has %zu parts, counted from 0",
                         part_count(&k->skeleton));
    json_object_begin(&c->json);
    if (is_part)
        e = write_part(c, &k->skeleton, (size_t)part);
    else
        write_header(c, k);
    native_write_end(c, NULL, 1, NULL, NULL);
    json_object_end(&c->json);
    return e;
}

enum err native_trace_skeleton(struct call *c)
{
    static const char *const known[] = { "part", "version", NULL };
    struct bytes text;
    struct trace_id id;
    uint64_t part = 0;
    struct kept_skeleton *k = NULL;
    bool is_part = false;
    enum err e = parameters_check(c, known);
    if (e == ERR_OK)
        e = parameter_u64(c, "part", 0, UINT32_MAX, &part);
    if (e == ERR_OK)
        e = native_trace_id(c, &id);
    if (e == ERR_OK) {
        is_part = parameter_text(c, "part", &text);
        e = is_part ? native_skeleton_take(c, &id, &k) : build(c, &id, &k);
    }
    if (e == ERR_OK)
        e = write_skeleton(c, k, is_part, part);
    skeletons_release(c->skeletons, k);
    return e;
}
