/* SPDX-License-Identifier: Apache-2.0 */
/* The meaning of each field is that of otlp_row.c; the tests compare both. */
#include "storage/rowgroup/rowgroup_filter.h"

#include "base/text.h"

#include <assert.h>

struct emission {
    expr_emit_fn *emit;
    void *context;
};

static bool emit_string(const struct emission *e, struct bytes text)
{
    return e->emit(e->context, &(struct expr_value){ .type = EXPR_STRING, .bytes = text });
}

static bool emit_hex(const struct emission *e, struct bytes id, size_t len)
{
    char hex[32] = "00000000000000000000000000000000"; /* an absent ID reads as zeros */
    assert(2 * len <= sizeof hex);
    if (id.len == len)
        text_hex(hex, id);
    return emit_string(e, bytes_of(hex, 2 * len));
}

static bool emit_number(const struct emission *e, enum expr_type type, uint64_t n)
{
    int64_t v = n > INT64_MAX ? INT64_MAX : (int64_t)n;
    return e->emit(e->context, &(struct expr_value){ .type = type, .integer = v });
}

static bool emit_value(const struct emission *e, const struct otlp_value *v)
{
    struct expr_value value = expr_value_of(v);
    return e->emit(e->context, &value);
}

/* ---- Attributes */

/* The first attribute with this key of the row at the table's place. Returns whether more is
 * wanted. */
static bool emit_keyed(struct chunk *c, enum rowgroup_table table, uint32_t row, struct bytes key,
                       const struct emission *e, bool *out_found)
{
    *out_found = false;
    const struct shape *shape = chunk_seek(c, table, row) ? chunk_shape(c, table) : NULL;
    for (uint32_t i = 0; shape != NULL && i < shape->count; i++) {
        const struct group_key *k = &c->group->keys[shape->keys[i]];
        if (k->table != table || !bytes_equal(k->name, key))
            continue;
        uint32_t type;
        struct otlp_value v;
        chunk_value(c, shape, i, &type, &v);
        *out_found = true;
        return c->group->error == ERR_OK && emit_value(e, &v);
    }
    return true;
}

/* Of a message that is kept whole. */
static bool emit_message(struct bytes message, uint32_t number, struct bytes key,
                         const struct emission *e)
{
    struct otlp_value v;
    return message.len == 0 || !otlp_attribute_find(message, number, key, &v) || emit_value(e, &v);
}

static bool emit_children(struct filter_row *r, enum rowgroup_table table, struct bytes key,
                          const struct emission *e)
{
    struct chunk *c = r->chunk;
    uint32_t first, count = chunk_children(c, table, r->number, &first);
    bool found;
    for (uint32_t i = 0; i < count && c->group->error == ERR_OK; i++)
        if (!emit_keyed(c, table, first + i, key, e, &found))
            return false;
    return true;
}

static const struct group_context *context_of(struct filter_row *r)
{
    static const struct group_context none;
    struct group *g = r->chunk->group;
    uint64_t number = chunk_int(r->chunk, COLUMN_CONTEXT, r->number);
    if (g->error == ERR_OK && number >= g->contexts_count)
        group_fail(g, ERR_CORRUPT);
    return g->error == ERR_OK ? &g->contexts[number] : &none;
}

static void emit_attribute(struct filter_row *r, const struct expr *f, const struct emission *e)
{
    struct chunk *c = r->chunk;
    bool is_spans = c->group->segment.bounds.signal == SIGNAL_TRACES, found;
    switch (f->scope) {
    case EXPR_SCOPE_ANY:
        (void)emit_keyed(c, TABLE_ITEM, r->number, f->key, e, &found);
        if (!found)
            (void)emit_message(context_of(r)->resource, OTLP_RESOURCE_ATTRIBUTES, f->key, e);
        break;
    case EXPR_SCOPE_SPAN:
    case EXPR_SCOPE_LOG:
        if (is_spans == (f->scope == EXPR_SCOPE_SPAN))
            (void)emit_keyed(c, TABLE_ITEM, r->number, f->key, e, &found);
        break;
    case EXPR_SCOPE_RESOURCE:
        (void)emit_message(context_of(r)->resource, OTLP_RESOURCE_ATTRIBUTES, f->key, e);
        break;
    case EXPR_SCOPE_INSTRUMENTATION:
        (void)emit_message(context_of(r)->scope, OTLP_SCOPE_ATTRIBUTES, f->key, e);
        break;
    case EXPR_SCOPE_EVENT:
    case EXPR_SCOPE_LINK:
        if (is_spans)
            (void)emit_children(r, f->scope == EXPR_SCOPE_EVENT ? TABLE_EVENT : TABLE_LINK, f->key,
                                e);
        break;
    case EXPR_SCOPE_EVERYWHERE:
        if (emit_keyed(c, TABLE_ITEM, r->number, f->key, e, &found) &&
            emit_message(context_of(r)->resource, OTLP_RESOURCE_ATTRIBUTES, f->key, e) &&
            (!is_spans ||
             (emit_children(r, TABLE_EVENT, f->key, e) && emit_children(r, TABLE_LINK, f->key, e))))
            (void)emit_message(context_of(r)->scope, OTLP_SCOPE_ATTRIBUTES, f->key, e);
        break;
    case EXPR_SCOPE_INTRINSIC:
        assert(false);
        break;
    }
}

/* ---- Intrinsics */

static void emit_scope_of(struct bytes scope, enum expr_intrinsic i, const struct emission *e)
{
    struct otlp_scope s = { 0 };
    if (scope.len > 0)
        otlp_scope_read(scope, &s);
    (void)emit_string(e, i == EXPR_INTRINSIC_SCOPE_NAME ? s.name : s.version);
}

static void emit_events(struct filter_row *r, enum expr_intrinsic i, const struct emission *e)
{
    struct chunk *c = r->chunk;
    uint32_t first, count = chunk_children(c, TABLE_EVENT, r->number, &first);
    bool goes_on = true;
    for (uint32_t n = first; n < first + count && goes_on && c->group->error == ERR_OK; n++) {
        if (i == EXPR_INTRINSIC_EVENT_NAME)
            goes_on = emit_string(e, chunk_bytes(c, COLUMN_EVENT_NAME, n));
        else
            goes_on = e->emit(
                e->context, &(struct expr_value){
                                .type = EXPR_DURATION,
                                .integer = (int64_t)unzigzag(chunk_int(c, COLUMN_EVENT_TIME, n)) });
    }
}

static void emit_links(struct filter_row *r, enum expr_intrinsic i, const struct emission *e)
{
    struct chunk *c = r->chunk;
    uint32_t first, count = chunk_children(c, TABLE_LINK, r->number, &first);
    bool goes_on = true;
    for (uint32_t n = first; n < first + count && goes_on && c->group->error == ERR_OK; n++) {
        if (i == EXPR_INTRINSIC_LINK_TRACE_ID)
            goes_on = emit_hex(e, chunk_bytes(c, COLUMN_LINK_TRACE_ID, n), 16);
        else
            goes_on = emit_hex(e, chunk_bytes(c, COLUMN_LINK_SPAN_ID, n), 8);
    }
}

static uint64_t span_duration(struct chunk *c, uint32_t row)
{
    uint64_t duration = chunk_int(c, COLUMN_DURATION, row);
    /* Modulo 2^64: a span that ends before it starts has come around, and looks very long. */
    if (duration <= UINT64_MAX - c->group->segment.bounds.start_max_unix_ns)
        return duration;
    if (!chunk_times(c))
        return 0;
    return duration > UINT64_MAX - c->times[row] ? 0 : duration;
}

static bool has_parent(struct chunk *c, uint32_t row)
{
    uint64_t code = chunk_int(c, COLUMN_PARENT, row);
    if (code != 1)
        return code != 0;
    struct bytes id = chunk_parent_id(c, row);
    return id.len == 8 && load_le64(id.data) != 0;
}

static bool emit_span(struct filter_row *r, enum expr_intrinsic i, const struct emission *e)
{
    struct chunk *c = r->chunk;
    uint32_t row = r->number;
    uint64_t status;
    if (expr_intrinsic_is_of_trace(i))
        return false;
    switch (i) {
    case EXPR_INTRINSIC_SPAN_ID:
        (void)emit_hex(e, chunk_bytes(c, COLUMN_SPAN_ID, row), 8);
        break;
    case EXPR_INTRINSIC_SPAN_PARENT_ID:
        if (has_parent(c, row))
            (void)emit_hex(e, chunk_parent_id(c, row), 8);
        break;
    case EXPR_INTRINSIC_SPAN_NAME:
        (void)emit_string(e, chunk_bytes(c, COLUMN_NAME, row));
        break;
    case EXPR_INTRINSIC_SPAN_KIND:
        (void)emit_number(e, EXPR_KIND, chunk_int(c, COLUMN_KIND, row));
        break;
    case EXPR_INTRINSIC_SPAN_STATUS:
        status = chunk_int(c, COLUMN_STATUS, row);
        (void)emit_number(e, EXPR_STATUS, status == 0 ? 0 : status - 1);
        break;
    case EXPR_INTRINSIC_SPAN_STATUS_MESSAGE:
        (void)emit_string(e, chunk_bytes(c, COLUMN_STATUS_MESSAGE, row));
        break;
    case EXPR_INTRINSIC_SPAN_DURATION:
        (void)emit_number(e, EXPR_DURATION, span_duration(c, row));
        break;
    case EXPR_INTRINSIC_SPAN_START:
        if (chunk_times(c))
            (void)emit_number(e, EXPR_INT, c->times[row]);
        break;
    case EXPR_INTRINSIC_SPAN_IS_ROOT:
        (void)emit_number(e, EXPR_BOOL, !has_parent(c, row));
        break;
    case EXPR_INTRINSIC_TRACE_ID:
        (void)emit_hex(e, chunk_trace_id(c, row), 16);
        break;
    case EXPR_INTRINSIC_EVENT_NAME:
    case EXPR_INTRINSIC_EVENT_TIME_SINCE_START:
        emit_events(r, i, e);
        break;
    case EXPR_INTRINSIC_LINK_TRACE_ID:
    case EXPR_INTRINSIC_LINK_SPAN_ID:
        emit_links(r, i, e);
        break;
    default: /* of log records */
        break;
    }
    return true;
}

static bool emit_text(struct filter_row *r, const struct otlp_value *v, const struct emission *e)
{
    if (v->type == OTLP_STRING)
        return emit_string(e, v->bytes);
    buffer_reset(&r->text);
    otlp_value_text(&r->text, v);
    if (buffer_error(&r->text) != ERR_OK)
        return true; /* no memory for it: as if it had no text */
    return emit_string(e, buffer_bytes(&r->text));
}

/* The texts of the body, and where `all` of the attributes too. */
static void emit_log_text(struct filter_row *r, bool all, const struct emission *e)
{
    struct chunk *c = r->chunk;
    const struct shape *shape =
        chunk_seek(c, TABLE_ITEM, r->number) ? chunk_shape(c, TABLE_ITEM) : NULL;
    /* The body comes first, wherever its field stood. */
    for (unsigned of_body = 2; of_body-- > 0;) {
        for (uint32_t i = 0; shape != NULL && i < shape->count; i++) {
            uint32_t type;
            struct otlp_value v;
            if ((c->group->keys[shape->keys[i]].table == TABLE_BODY) != (of_body == 1))
                continue;
            chunk_value(c, shape, i, &type, &v);
            if (c->group->error != ERR_OK || (type != ROWGROUP_NO_VALUE && !emit_text(r, &v, e)))
                return;
        }
        if (!all)
            return;
    }
}

static void emit_log(struct filter_row *r, enum expr_intrinsic i, const struct emission *e)
{
    struct chunk *c = r->chunk;
    uint32_t row = r->number;
    struct bytes id;
    switch (i) {
    case EXPR_INTRINSIC_SPAN_ID:
        id = chunk_bytes(c, COLUMN_SPAN_ID, row);
        if (id.len == 8 && load_le64(id.data) != 0)
            (void)emit_hex(e, id, 8);
        break;
    case EXPR_INTRINSIC_TRACE_ID:
        id = chunk_trace_id(c, row);
        if (id.len == 16 && (load_le64(id.data) | load_le64(id.data + 8)) != 0)
            (void)emit_hex(e, id, 16);
        break;
    case EXPR_INTRINSIC_LOG_TIME:
        if (chunk_times(c))
            (void)emit_number(e, EXPR_INT, c->times[row]);
        break;
    case EXPR_INTRINSIC_LOG_SEVERITY:
        (void)emit_number(e, EXPR_INT, chunk_int(c, COLUMN_KIND, row));
        break;
    case EXPR_INTRINSIC_LOG_SEVERITY_TEXT:
        (void)emit_string(e, chunk_bytes(c, COLUMN_STATUS_MESSAGE, row));
        break;
    case EXPR_INTRINSIC_LOG_BODY:
    case EXPR_INTRINSIC_LOG_TEXT:
        emit_log_text(r, i == EXPR_INTRINSIC_LOG_TEXT, e);
        break;
    case EXPR_INTRINSIC_LOG_EVENT_NAME:
        (void)emit_string(e, chunk_bytes(c, COLUMN_NAME, row));
        break;
    default: /* of spans */
        break;
    }
}

static bool row_values(const struct expr_row *row, const struct expr *field, expr_emit_fn *emit,
                       void *emit_context)
{
    struct filter_row *r = ((const struct filter_row *)row)->self;
    struct emission e = { emit, emit_context };
    if (field->scope != EXPR_SCOPE_INTRINSIC) {
        emit_attribute(r, field, &e);
        return true;
    }
    if (field->intrinsic == EXPR_INTRINSIC_SCOPE_NAME ||
        field->intrinsic == EXPR_INTRINSIC_SCOPE_VERSION) {
        emit_scope_of(context_of(r)->scope, field->intrinsic, &e);
        return true;
    }
    if (r->chunk->group->segment.bounds.signal == SIGNAL_TRACES)
        return emit_span(r, field->intrinsic, &e);
    emit_log(r, field->intrinsic, &e);
    return true;
}

void filter_row_init(struct filter_row *r)
{
    *r = (struct filter_row){ .row.values = row_values, .self = r };
    buffer_init(&r->text, 64u << 20); /* the text of one value of at most 1 MiB a part */
}

void filter_row_deinit(struct filter_row *r)
{
    buffer_deinit(&r->text);
}

void filter_row_set(struct filter_row *r, struct chunk *c, uint32_t number)
{
    r->chunk = c;
    r->number = number;
}

/* ---- Groups: one value at a time is put where the field is, and the part evaluated */

struct candidate {
    struct expr_row row;
    struct expr_value value;
};

static bool candidate_values(const struct expr_row *row, const struct expr *field,
                             expr_emit_fn *emit, void *emit_context)
{
    (void)field;
    (void)emit(emit_context, &((const struct candidate *)row)->value);
    return true;
}

bool filter_value_satisfies(const struct expr *part, struct expr_value value)
{
    struct candidate c = { .row.values = candidate_values, .value = value };
    return expr_evaluate(part, &c.row) != EXPR_FALSE;
}

/* Whether a value of the column's dictionary satisfies the part; true when there is none to ask. */
static bool dictionary_may(struct group *g, uint32_t column, const struct expr *part,
                           enum otlp_value_type type)
{
    struct stream *d = group_stream(g, 0, column);
    const struct bytes *entries = d == NULL ? NULL : group_entries(g, d);
    if (entries == NULL)
        return true;
    for (uint32_t i = 0; i < d->count; i++) {
        struct otlp_value v = { .type = type, .bytes = entries[i] };
        if (filter_value_satisfies(part, expr_value_of(&v)))
            return true;
    }
    return false;
}

static bool key_may(struct group *g, uint32_t tables, const struct expr *part)
{
    struct bytes name = part->left->key;
    for (uint32_t k = 0; k < g->keys_count; k++) {
        const struct group_key *key = &g->keys[k];
        if ((tables & (1u << key->table)) == 0 || !bytes_equal(key->name, name))
            continue;
        if (rowgroup_type_kind(key->type) != COLUMN_KIND_BYTES ||
            dictionary_may(g, COLUMN_FIXED_COUNT + k, part, (enum otlp_value_type)key->type))
            return true;
    }
    return false;
}

static bool contexts_may(struct group *g, bool of_resource, const struct expr *part)
{
    for (uint32_t i = 0; i < g->contexts_count; i++) {
        struct bytes message = of_resource ? g->contexts[i].resource : g->contexts[i].scope;
        uint32_t number = of_resource ? OTLP_RESOURCE_ATTRIBUTES : OTLP_SCOPE_ATTRIBUTES;
        struct otlp_value v;
        if (message.len > 0 && otlp_attribute_find(message, number, part->left->key, &v) &&
            filter_value_satisfies(part, expr_value_of(&v)))
            return true;
    }
    return false;
}

static bool attribute_may(struct group *g, const struct expr *part)
{
    enum { OF_ITEM = 1u << TABLE_ITEM, OF_EVENT = 1u << TABLE_EVENT, OF_LINK = 1u << TABLE_LINK };
    bool is_spans = g->segment.bounds.signal == SIGNAL_TRACES;
    switch (part->left->scope) {
    case EXPR_SCOPE_ANY:
        return key_may(g, OF_ITEM, part) || contexts_may(g, true, part);
    case EXPR_SCOPE_SPAN:
        return is_spans && key_may(g, OF_ITEM, part);
    case EXPR_SCOPE_LOG:
        return !is_spans && key_may(g, OF_ITEM, part);
    case EXPR_SCOPE_RESOURCE:
        return contexts_may(g, true, part);
    case EXPR_SCOPE_INSTRUMENTATION:
        return contexts_may(g, false, part);
    case EXPR_SCOPE_EVENT:
        return key_may(g, OF_EVENT, part);
    case EXPR_SCOPE_LINK:
        return key_may(g, OF_LINK, part);
    case EXPR_SCOPE_EVERYWHERE:
        return key_may(g, OF_ITEM | OF_EVENT | OF_LINK, part) || contexts_may(g, true, part) ||
               contexts_may(g, false, part);
    case EXPR_SCOPE_INTRINSIC:
        break;
    }
    return true;
}

bool filter_status_may(uint32_t status_seen, const struct expr *part)
{
    if (status_seen >> 31 != 0)
        return true;
    for (int64_t code = 0; code < 31; code++)
        if ((status_seen >> code & 1) != 0 &&
            filter_value_satisfies(part,
                                   (struct expr_value){ .type = EXPR_STATUS, .integer = code }))
            return true;
    return false;
}

/* The longest satisfies "longer than" when any does. */
bool filter_duration_may(uint64_t duration_max, const struct expr *part)
{
    if (part->op != EXPR_GT && part->op != EXPR_GE)
        return true;
    uint64_t max = duration_max > INT64_MAX ? INT64_MAX : duration_max;
    return filter_value_satisfies(
        part, (struct expr_value){ .type = EXPR_DURATION, .integer = (int64_t)max });
}

static bool part_may(struct group *g, const struct expr *part)
{
    const struct expr *field = part->left;
    if (field->scope != EXPR_SCOPE_INTRINSIC)
        return attribute_may(g, part);
    bool is_spans = g->segment.bounds.signal == SIGNAL_TRACES;
    switch (field->intrinsic) {
    case EXPR_INTRINSIC_SPAN_NAME:
        return is_spans && dictionary_may(g, COLUMN_NAME, part, OTLP_STRING);
    case EXPR_INTRINSIC_LOG_EVENT_NAME:
        return !is_spans && dictionary_may(g, COLUMN_NAME, part, OTLP_STRING);
    case EXPR_INTRINSIC_SPAN_STATUS_MESSAGE:
        return is_spans && dictionary_may(g, COLUMN_STATUS_MESSAGE, part, OTLP_STRING);
    case EXPR_INTRINSIC_LOG_SEVERITY_TEXT:
        return !is_spans && dictionary_may(g, COLUMN_STATUS_MESSAGE, part, OTLP_STRING);
    case EXPR_INTRINSIC_EVENT_NAME:
        return is_spans && dictionary_may(g, COLUMN_EVENT_NAME, part, OTLP_STRING);
    case EXPR_INTRINSIC_SPAN_STATUS:
        return is_spans && filter_status_may(g->status_seen, part);
    case EXPR_INTRINSIC_SPAN_DURATION:
        return is_spans && filter_duration_may(g->duration_max, part);
    default:
        return true;
    }
}

bool filter_may_match(struct group *g, const struct expr *filter)
{
    const struct expr *parts[16]; /* more of them prune no worse for being left out */
    size_t count = expr_required(filter, parts, sizeof parts / sizeof parts[0]);
    if (count == 0 || !group_load(g))
        return true;
    for (size_t i = 0; i < count; i++)
        if (!part_may(g, parts[i]) && g->error == ERR_OK)
            return false;
    return true;
}

/* ---- Rows that cannot match */

static bool is_scope_intrinsic(const struct expr *field)
{
    return field->scope == EXPR_SCOPE_INTRINSIC &&
           (field->intrinsic == EXPR_INTRINSIC_SCOPE_NAME ||
            field->intrinsic == EXPR_INTRINSIC_SCOPE_VERSION);
}

/* A row that stands for all rows of a context, for parts that ask for nothing else. */
struct context_row {
    struct expr_row row;
    const struct group_context *context;
};

static bool context_values(const struct expr_row *row, const struct expr *field, expr_emit_fn *emit,
                           void *emit_context)
{
    const struct group_context *c = ((const struct context_row *)row)->context;
    struct emission e = { emit, emit_context };
    if (is_scope_intrinsic(field))
        emit_scope_of(c->scope, field->intrinsic, &e);
    else if (field->scope == EXPR_SCOPE_INSTRUMENTATION)
        (void)emit_message(c->scope, OTLP_SCOPE_ATTRIBUTES, field->key, &e);
    else
        (void)emit_message(c->resource, OTLP_RESOURCE_ATTRIBUTES, field->key, &e);
    return true;
}

static void contexts_judge(struct group *g, const struct expr *part, bool *verdicts)
{
    for (uint32_t i = 0; i < g->contexts_count; i++) {
        struct context_row r = { .row.values = context_values, .context = &g->contexts[i] };
        if (verdicts[i])
            verdicts[i] = expr_evaluate(part, &r.row) != EXPR_FALSE;
    }
}

static bool shape_has(const struct group *g, const struct shape *shape, struct bytes key)
{
    for (uint32_t i = 0; i < shape->count; i++) {
        const struct group_key *k = &g->keys[shape->keys[i]];
        if (k->table == TABLE_ITEM && bytes_equal(k->name, key))
            return true;
    }
    return false;
}

static bool items_have(const struct group *g, struct bytes key)
{
    for (uint32_t k = 0; k < g->keys_count; k++)
        if (g->keys[k].table == TABLE_ITEM && bytes_equal(g->keys[k].name, key))
            return true;
    return false;
}

static bool contexts_have(const struct group *g, struct bytes key)
{
    struct otlp_value v;
    for (uint32_t i = 0; i < g->contexts_count; i++)
        if (g->contexts[i].resource.len > 0 &&
            otlp_attribute_find(g->contexts[i].resource, OTLP_RESOURCE_ATTRIBUTES, key, &v))
            return true;
    return false;
}

static void part_judge(struct group *g, const struct expr *part, struct filter_verdicts *v)
{
    const struct expr *field = part->left;
    bool of_context = is_scope_intrinsic(field) || field->scope == EXPR_SCOPE_RESOURCE ||
                      field->scope == EXPR_SCOPE_INSTRUMENTATION;
    bool of_item = field->scope == EXPR_SCOPE_SPAN || field->scope == EXPR_SCOPE_LOG;
    if (field->scope ==
        EXPR_SCOPE_ANY) { /* looked for in both: in one alone if the other has none */
        of_context = !items_have(g, field->key);
        of_item = !of_context && !contexts_have(g, field->key);
    }
    if (of_context)
        contexts_judge(g, part, v->contexts);
    for (uint32_t i = 0; of_item && i < g->shapes_count[TABLE_ITEM]; i++)
        v->shapes[i] = v->shapes[i] && shape_has(g, &g->shapes[TABLE_ITEM][i], field->key);
}

/* Exactly, as nothing else has a say in these parts. */
static void contexts_decide(struct group *g, const struct otlp_filter *parts, bool *verdicts)
{
    for (uint32_t i = 0; i < g->contexts_count; i++) {
        struct context_row r = { .row.values = context_values, .context = &g->contexts[i] };
        for (size_t p = 0; p < parts->group_parts_count && verdicts[i]; p++)
            verdicts[i] = expr_evaluate(parts->group_parts[p], &r.row) == EXPR_TRUE;
    }
}

static bool rules_out(const bool *verdicts, uint32_t count)
{
    return memchr(verdicts, false, count) != NULL;
}

bool filter_judge(struct group *g, const struct expr *filter, struct filter_verdicts *out)
{
    if (!group_load(g))
        return false;
    *out = (struct filter_verdicts){ 0 };
    out->contexts = group_alloc(g, &g->rows, g->contexts_count, sizeof *out->contexts);
    out->shapes = group_alloc(g, &g->rows, g->shapes_count[TABLE_ITEM], sizeof *out->shapes);
    if (g->error != ERR_OK)
        return false;
    memset(out->contexts, true, g->contexts_count);
    memset(out->shapes, true, g->shapes_count[TABLE_ITEM]);
    otlp_filter_init(&out->parts, filter);
    contexts_decide(g, &out->parts, out->contexts);
    const struct expr *parts[16];
    size_t count = expr_required(filter, parts, sizeof parts / sizeof parts[0]);
    for (size_t i = 0; i < count; i++) {
        part_judge(g, parts[i], out);
        if (parts[i]->left->scope == EXPR_SCOPE_INTRINSIC &&
            parts[i]->left->intrinsic == EXPR_INTRINSIC_SPAN_DURATION &&
            g->segment.bounds.signal == SIGNAL_TRACES)
            out->longer[out->longer_count++] = parts[i];
    }
    if (!sieve_init(&out->sieve, g))
        return false;
    if (rules_out(out->contexts, g->contexts_count))
        sieve_add(&out->sieve, COLUMN_CONTEXT, out->contexts, g->contexts_count);
    if (rules_out(out->shapes, g->shapes_count[TABLE_ITEM]))
        sieve_add(&out->sieve, COLUMN_SHAPE, out->shapes, g->shapes_count[TABLE_ITEM]);
    for (size_t i = 0; i < count; i++)
        sieve_add_part(&out->sieve, g, parts[i]);
    return g->error == ERR_OK;
}

bool filter_chunk_may(const struct filter_verdicts *v, struct chunk *c)
{
    uint64_t duration_max;
    if (v->longer_count == 0 ||
        !group_stream_max(c->group, c->section, COLUMN_DURATION, &duration_max))
        return c->group->error == ERR_OK;
    for (size_t i = 0; i < v->longer_count; i++)
        if (!filter_duration_may(duration_max, v->longer[i]))
            return false;
    return true;
}

enum expr_truth filter_rest(const struct filter_verdicts *v, const struct filter_row *r)
{
    enum expr_truth all = EXPR_TRUE;
    for (size_t i = v->parts.item_parts_count; i-- > 0;) {
        enum expr_truth t = expr_evaluate(v->parts.item_parts[i], &r->row);
        if (t == EXPR_FALSE)
            return EXPR_FALSE;
        if (t == EXPR_UNKNOWN)
            all = EXPR_UNKNOWN;
    }
    return all;
}
