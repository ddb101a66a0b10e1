/* SPDX-License-Identifier: Apache-2.0 */
/* Which rows of a trace's skeleton match, and which of them its log records belong to. */
#include "proto/otlp_json.h"
#include "query/native_skeleton.h"
#include "storage/service_name.h"

#define ROWS_SHOWN    20000 /* indices; more are only counted */
#define TEXT_MAX      256   /* bytes to look for: the time a long value takes grows with them */
#define LOGS_SHOWN    1000
#define BODY_SHOWN    4096 /* bytes; the record has all of it */
#define ROWS_PER_LOOK 1024

/* ---- Text ---- */

/* Looked for in names, messages, and keys and values of attributes. */
struct text_search {
    struct bytes text; /* in lower case */
    struct buffer scratch;
};

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

static bool contains(struct bytes hay, struct bytes needle)
{
    if (needle.len > hay.len)
        return false;
    for (size_t i = 0; i + needle.len <= hay.len; i++) {
        size_t k = 0;
        while (k < needle.len && lower(hay.data[i + k]) == needle.data[k])
            k++;
        if (k == needle.len)
            return true;
    }
    return false;
}

static bool attributes_contain(struct text_search *s, struct bytes message, uint32_t field)
{
    struct otlp_repeated attributes = otlp_repeated(message, field);
    struct bytes element;
    while (otlp_repeated_next(&attributes, &element)) {
        struct otlp_key_value kv;
        struct otlp_value value;
        otlp_key_value_read(element, &kv);
        if (contains(kv.key, s->text))
            return true;
        if (!kv.has_value)
            continue;
        otlp_value_read(kv.value, &value);
        buffer_reset(&s->scratch);
        otlp_value_text(&s->scratch, &value);
        if (contains(buffer_bytes(&s->scratch), s->text))
            return true;
    }
    return false;
}

static bool events_contain(struct text_search *s, struct bytes message)
{
    struct otlp_repeated events = otlp_repeated(message, OTLP_SPAN_EVENTS);
    struct bytes element;
    while (otlp_repeated_next(&events, &element)) {
        struct otlp_event event;
        otlp_event_read(element, &event);
        if (contains(event.name, s->text) ||
            attributes_contain(s, event.message, OTLP_EVENT_ATTRIBUTES))
            return true;
    }
    return false;
}

static bool span_contains(struct text_search *s, const struct otlp_items *at)
{
    struct otlp_span span;
    otlp_span_read(at->item, &span);
    return contains(span.name, s->text) || contains(span.status.message, s->text) ||
           attributes_contain(s, at->resource.resource, OTLP_RESOURCE_ATTRIBUTES) ||
           attributes_contain(s, at->item, OTLP_SPAN_ATTRIBUTES) || events_contain(s, at->item);
}

/* ---- Finding ---- */

enum row_state { ROW_MET = 1, ROW_MATCHES = 2 };

struct find {
    struct call *c;
    const struct skeleton *s;
    const struct expr *filter; /* of a TraceQL search; NULL with is_text false: every span */
    bool is_text;
    struct text_search text;
    struct otlp_row row;
    uint32_t *child_counts;
    uint8_t *states; /* by row */
    /* Rows that were not met yet, by a hash of what tells spans apart here: each list in the order of by_id. */
    uint32_t *lists; /* [lists_mask + 1]: a place in by_id + 1; 0: the end */
    uint32_t *next;  /* [spans], likewise, by place */
    size_t lists_mask;
    size_t met;
};

/* ---- Which row a span became ---- */

struct likeness {
    uint64_t id, start_ns, duration_ns,
        kind; /* of a row whose time is bad: the ID, and kind UINT64_MAX */
};

static struct likeness row_likeness(const struct skeleton_row *r)
{
    if ((r->flags & SKELETON_BAD_TIME) != 0)
        return (struct likeness){ .id = r->id, .kind = UINT64_MAX };
    return (struct likeness){ r->id, r->start_ns, r->duration_ns, r->kind };
}

static uint32_t *list_of(const struct find *f, const struct likeness *l)
{
    return &f->lists[hash_bytes(bytes_of((const uint8_t *)l, sizeof *l)) & f->lists_mask];
}

static enum err rows_list(struct find *f)
{
    const struct skeleton *s = f->s;
    size_t lists = 16;
    while (lists < s->spans)
        lists *= 2;
    f->lists = arena_alloc_array(&f->c->arena, lists, sizeof *f->lists);
    f->next = arena_alloc_array(&f->c->arena, s->spans + 1, sizeof *f->next);
    if (f->lists == NULL || f->next == NULL)
        return arena_failure(&f->c->arena);
    f->lists_mask = lists - 1;
    for (size_t i = s->spans; i-- > 0;) {
        const struct likeness l = row_likeness(&s->rows[s->by_id[i]]);
        uint32_t *list = list_of(f, &l);
        f->next[i] = *list;
        *list = (uint32_t)i + 1;
    }
    return ERR_OK;
}

/* The link to the first of these rows; to 0 when there is none. However many spans are alike, the first is taken
 * out when it is met, so it stands in front. */
static uint32_t *row_link(const struct find *f, const struct likeness *l)
{
    const struct skeleton *s = f->s;
    uint32_t *link = list_of(f, l);
    while (*link != 0) {
        const struct likeness other = row_likeness(&s->rows[s->by_id[*link - 1]]);
        if (memcmp(&other, l, sizeof other) == 0)
            break;
        link = &f->next[*link - 1];
    }
    return link;
}

/* The row that this span became: of several that are alike, the first that was not met yet. NONE: it came
 * after the skeleton was made. */
static uint32_t row_of(const struct find *f, const struct otlp_span *span)
{
    const struct likeness timed = { .id = load_be64(span->span_id.b),
                                    .start_ns = span->start_unix_ns - f->s->t0_unix_ns,
                                    .duration_ns = otlp_span_duration_ns(span),
                                    .kind = span->kind > UINT8_MAX ? UINT8_MAX : span->kind };
    const struct likeness untimed = { .id = timed.id, .kind = UINT64_MAX };
    uint32_t *link = row_link(f, &timed), *other = row_link(f, &untimed);
    if (*link == 0 || (*other != 0 && *other < *link))
        link = other;
    if (*link == 0)
        return SKELETON_NONE;
    uint32_t place = *link - 1;
    *link = f->next[place];
    return f->s->by_id[place];
}

static bool matches(struct find *f, const struct otlp_items *at, uint32_t row)
{
    if (f->is_text)
        return span_contains(&f->text, at);
    otlp_row_set(&f->row, at->resource.resource, at->scope.scope, at->item);
    f->row.child_count = f->child_counts[row];
    return expr_evaluate(f->filter, &f->row.row) == EXPR_TRUE;
}

static enum err on_span(void *context, const struct otlp_items *at)
{
    struct find *f = context;
    struct otlp_span span;
    enum err e = f->met++ % ROWS_PER_LOOK == 0 ? query_check(&f->c->context) : ERR_OK;
    if (e != ERR_OK)
        return e;
    otlp_span_read(at->item, &span);
    uint32_t row = row_of(f, &span);
    if (row != SKELETON_NONE)
        f->states[row] = matches(f, at, row) ? ROW_MATCHES : ROW_MET;
    return ERR_OK;
}

static enum err prepare_text(struct find *f, struct bytes text)
{
    struct arena *a = &f->c->arena;
    if (text.len > TEXT_MAX)
        return call_fail(f->c, ERR_INVALID, "q", "a text of more than %u bytes", TEXT_MAX);
    uint8_t *copy = arena_alloc_bytes(a, text.len);
    if (copy == NULL)
        return arena_failure(a);
    for (size_t i = 0; i < text.len; i++)
        copy[i] = lower(text.data[i]);
    f->text.text = bytes_of(copy, text.len);
    f->is_text = true;
    return ERR_OK;
}

static enum err prepare_filter(struct find *f)
{
    const struct skeleton *s = f->s;
    struct filter filter;
    filter_init(&filter, &f->c->arena);
    enum err e = filter_add_query(f->c, &filter, SIGNAL_TRACES, "q");
    if (e == ERR_OK)
        e = filter_tree(&filter, &f->filter);
    if (e != ERR_OK)
        return e;
    f->child_counts = arena_alloc_array(&f->c->arena, s->count + 1, sizeof *f->child_counts);
    if (f->child_counts == NULL)
        return arena_failure(&f->c->arena);
    for (size_t i = 0; i < s->count; i++)
        if (s->rows[i].parent != SKELETON_NONE)
            f->child_counts[s->rows[i].parent]++;
    f->row.trace = &s->facts;
    return ERR_OK;
}

static enum err find_rows(struct find *f, const struct trace_id *id, struct bytes text,
                          bool *is_complete)
{
    struct trace_walk walk = { .trace_id = *id, .signal = SIGNAL_TRACES };
    f->states = arena_alloc_array(&f->c->arena, f->s->count + 1, sizeof *f->states);
    if (f->states == NULL)
        return arena_failure(&f->c->arena);
    enum err e = text.data[0] == '{' ? prepare_filter(f) : prepare_text(f, text);
    if (e == ERR_OK)
        e = rows_list(f);
    if (e == ERR_OK)
        e = engine_trace_walk(f->c->options->engine, &f->c->context, &walk, on_span, f);
    if (e == ERR_CORRUPT && f->met > 0) {
        *is_complete = false;
        e = ERR_OK;
    }
    return e;
}

static void write_found(struct find *f, bool is_complete)
{
    struct json_writer *j = &f->c->json;
    uint64_t total = 0;
    json_object_begin(j);
    native_write_version(j, f->s);
    json_key(j, "rows");
    json_array_begin(j);
    for (size_t i = 0; i < f->s->count; i++)
        if (f->states[i] == ROW_MATCHES && total++ < ROWS_SHOWN)
            json_u64(j, i);
    json_array_end(j);
    native_write_count(j, "total", total);
    json_key(j, "complete");
    json_bool(j, is_complete);
    native_write_end(f->c, NULL, 1, NULL, NULL);
    json_object_end(j);
}

enum err native_trace_find(struct call *c)
{
    static const char *const known[] = { "q", "version", NULL };
    struct bytes text = { 0 };
    struct trace_id id;
    struct kept_skeleton *k = NULL;
    struct find f = { .c = c };
    enum err e = parameters_check(c, known);
    if (e == ERR_OK && !parameter_text(c, "q", &text))
        e = call_fail(c, ERR_INVALID, "q", "it is required");
    if (e == ERR_OK)
        e = native_trace_id(c, &id);
    if (e == ERR_OK)
        e = native_skeleton_take(c, &id, &k);
    if (e != ERR_OK)
        return e;
    bool is_complete = k->is_complete;
    f.s = &k->skeleton;
    otlp_row_init(&f.row, SIGNAL_TRACES);
    buffer_init_charged(&f.text.scratch, c->options->memory_bytes, &c->budget);
    e = find_rows(&f, &id, text, &is_complete);
    if (e == ERR_OK)
        write_found(&f, is_complete);
    otlp_row_deinit(&f.row);
    buffer_deinit(&f.text.scratch);
    skeletons_release(c->skeletons, k);
    return e;
}

/* ---- Log records ---- */

/* Of spans that share an ID the one that has children and records. */
static int64_t row_of_log(const struct skeleton *s, const struct otlp_log *log)
{
    uint64_t id = load_be64(log->span_id.b);
    if (!log->has_span_id)
        return -1;
    size_t first = skeleton_find(s, id);
    for (size_t i = first; i < s->spans && s->rows[s->by_id[i]].id == id; i++)
        if ((s->rows[s->by_id[i]].flags & SKELETON_LOGS) != 0)
            return s->by_id[i];
    bool is_there = first < s->spans && s->rows[s->by_id[first]].id == id;
    return is_there ? (int64_t)s->by_id[first] : -1;
}

static void write_body(struct call *c, const struct otlp_log *log)
{
    struct buffer text;
    struct otlp_value value;
    if (!log->has_body)
        return;
    otlp_value_read(log->body, &value);
    buffer_init(&text, c->options->memory_bytes);
    otlp_value_text(&text, &value);
    struct bytes shown = buffer_bytes(&text);
    if (shown.len > BODY_SHOWN) {
        for (shown.len = BODY_SHOWN; shown.len > 0 && (shown.data[shown.len] & 0xC0) == 0x80;)
            shown.len--;
    }
    native_write_text(&c->json, "body", shown);
    buffer_deinit(&text);
}

static void write_log_row(struct call *c, const struct skeleton *s, const struct otlp_items *at)
{
    struct json_writer *j = &c->json;
    struct otlp_log log;
    otlp_log_read(at->item, &log);
    json_object_begin(j);
    native_write_ns(j, "t", otlp_log_time(&log));
    json_key(j, "span_ix");
    json_i64(j, row_of_log(s, &log));
    native_write_count(j, "sev", log.severity_number);
    native_write_text(j, "sev_text", log.severity_text);
    native_write_text(j, "svc", service_name(at->resource.resource));
    if (log.has_span_id)
        native_write_id(j, "span", log.span_id.b, sizeof log.span_id.b);
    write_body(c, &log);
    json_key(j, "log");
    otlp_json_write_log(at->item, j);
    json_object_end(j);
}

enum err native_trace_log_rows(struct call *c, const struct trace_id *id)
{
    struct kept_skeleton *k = NULL;
    struct bytes data = { 0 };
    struct json_writer *j = &c->json;
    uint64_t total = 0;
    enum err e = native_skeleton_take(c, id, &k);
    if (e != ERR_OK)
        return e;
    bool is_complete = k->is_complete;
    e = engine_trace_logs(c->options->engine, &c->context, id, &data);
    if (e == ERR_CORRUPT && data.len > 0) {
        is_complete = false;
        e = ERR_OK;
    }
    json_object_begin(j);
    native_write_version(j, &k->skeleton);
    json_key(j, "rows");
    json_array_begin(j);
    struct otlp_items it = otlp_items(data);
    while (e == ERR_OK && otlp_items_next(&it))
        if (total++ < LOGS_SHOWN)
            write_log_row(c, &k->skeleton, &it);
    json_array_end(j);
    native_write_count(j, "total", total);
    json_key(j, "complete");
    json_bool(j, is_complete);
    native_write_end(c, NULL, 1, NULL, NULL);
    json_object_end(j);
    skeletons_release(c->skeletons, k);
    return e;
}
