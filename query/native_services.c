/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of numbers: services, and the operations of one. */
#include "query/native.h"
#include "query/red_rows.h"

#include <stdlib.h>

#define OPERATIONS_DEFAULT 200

/* ---- Which rows, and in which order ---- */

enum sort { SORT_NAME, SORT_IMPACT, SORT_RATE, SORT_ERR, SORT_P95 };
static const char *const sort_words[] = { "name", "impact", "rate", "err", "p95", NULL };

/* A row to be written; of a service that is silent in the window only the name is there. */
struct entry {
    struct red_row *row; /* NULL: silent */
    struct bytes name;
    double impact, rank;
};

struct table {
    struct numbers_window w, w_prev;
    bool has_prev;
    struct red_row *rows, *prev;
    size_t rows_count, prev_count;
    struct entry *entries;
    size_t entries_count;
    enum sort sort;
    uint64_t limit;
    bool has_sparks;
    struct bytes find;
};

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

static bool has_part(struct bytes text, struct bytes part)
{
    for (size_t at = 0; at + part.len <= text.len; at++) {
        size_t n = 0;
        while (n < part.len && lower(text.data[at + n]) == lower(part.data[n]))
            n++;
        if (n == part.len)
            return true;
    }
    return false;
}

static enum err read_table(struct call *c, struct table *t, enum sort sort, uint64_t limit)
{
    size_t word = (size_t)sort;
    uint64_t has_sparks = 1;
    *t = (struct table){ .limit = limit };
    enum err e = parameter_u64(c, "spark", 0, 1, &has_sparks);
    if (e == ERR_OK)
        e = parameter_word(c, "sort", sort_words, &word);
    if (e == ERR_OK)
        e = parameter_u64(c, "limit", 1, NATIVE_LIMIT_MAX, &t->limit);
    if (e == ERR_OK)
        e = numbers_window_read(c, has_sparks ? NUMBERS_SPARK_POINTS : 0, &t->w);
    if (e == ERR_OK)
        e = numbers_window_prev(c, &t->w, &t->w_prev, &t->has_prev);
    t->w_prev.points = 0;
    t->sort = (enum sort)word;
    t->has_sparks = has_sparks != 0;
    (void)parameter_text(c, "find", &t->find);
    return e;
}

static enum err ask_rows(struct call *c, struct table *t, const struct red_rows_query *query)
{
    enum err e = red_rows(c, &t->w, query, &t->rows, &t->rows_count);
    if (e == ERR_OK && t->has_prev)
        e = red_rows(c, &t->w_prev, query, &t->prev, &t->prev_count);
    return e;
}

static int by_name(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int order = bytes_compare(x->name, y->name);
    if (order != 0 || x->row == NULL || y->row == NULL)
        return order;
    order = bytes_compare(x->row->namespace, y->row->namespace);
    return order != 0 ? order : (x->row->kind > y->row->kind) - (x->row->kind < y->row->kind);
}

static int by_rank(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return x->rank != y->rank ? (x->rank < y->rank) - (x->rank > y->rank) : by_name(a, b);
}

/* Impact is rate times p95, as a share of all rows, also of those that are not shown. */
static void rank(struct table *t)
{
    double all = 0;
    for (size_t i = 0; i < t->entries_count; i++) {
        struct entry *x = &t->entries[i];
        if (x->row != NULL)
            x->impact = numbers_rate(&t->w, &x->row->sum) * numbers_p95(&x->row->sum);
        all += x->impact;
    }
    for (size_t i = 0; i < t->entries_count; i++) {
        struct entry *x = &t->entries[i];
        const struct numbers_sum *s = x->row == NULL ? NULL : &x->row->sum;
        x->impact = all > 0 ? x->impact / all : 0;
        if (s != NULL && t->sort == SORT_IMPACT)
            x->rank = x->impact;
        else if (s != NULL && t->sort == SORT_RATE)
            x->rank = numbers_rate(&t->w, s);
        else if (s != NULL && t->sort == SORT_ERR)
            x->rank = (double)s->errors / (double)s->count;
        else if (s != NULL && t->sort == SORT_P95)
            x->rank = numbers_p95(s);
    }
    if (t->entries_count > 0)
        qsort(t->entries, t->entries_count, sizeof t->entries[0],
              t->sort == SORT_NAME ? by_name : by_rank);
}

/* Drop what `find` does not find; impact stays a share of all. */
static void keep_found(struct table *t)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->entries_count; i++)
        if (has_part(t->entries[i].name, t->find))
            t->entries[kept++] = t->entries[i];
    t->entries_count = kept;
}

/* ---- What rows of services and of operations have in common ---- */

static void write_sparks(struct numbers_answer *a, const struct red_row *r)
{
    if (a->w->points == 0)
        return;
    numbers_write_point_rates(a, "spark_rate", a->w, r->points.count);
    numbers_write_point_percentile(a, "spark_p95", a->w, r->points.durations, 0.95);
}

static void write_prev(struct numbers_answer *a, const struct table *t, const struct red_row *r)
{
    struct numbers_sum none = { 0 };
    if (!t->has_prev)
        return;
    const struct red_row *then = red_row_find(t->prev, t->prev_count, r);
    numbers_write_prev(a, &t->w_prev, then == NULL ? &none : &then->sum);
}

static void write_hidden_and_end(struct numbers_answer *a, const struct table *t, size_t shown)
{
    native_write_count(&a->c->json, "hidden", t->entries_count - shown);
    numbers_end(a, shown);
}

static size_t shown_rows(const struct table *t)
{
    return t->entries_count < t->limit ? t->entries_count : (size_t)t->limit;
}

/* ---- Services ---- */

static bool has_name(const struct red_row *rows, size_t count, struct bytes name)
{
    size_t low = 0;
    for (size_t high = count; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (bytes_compare(rows[middle].service, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && bytes_equal(rows[low].service, name);
}

/* Rows with calls, and, unless a namespace or an environment is asked for, the services that are
 * known but silent. */
static enum err list_services(struct call *c, struct table *t, bool has_silent)
{
    struct bytes *names = NULL;
    size_t names_count = 0;
    enum err e = ERR_OK;
    if (has_silent)
        e = engine_services(c->options->engine, &c->context, &names, &names_count);
    if (e != ERR_OK)
        return e;
    t->entries = arena_alloc_array(&c->arena, t->rows_count + names_count, sizeof t->entries[0]);
    if (t->entries == NULL)
        return arena_failure(&c->arena);
    for (size_t i = 0; i < t->rows_count; i++)
        t->entries[t->entries_count++] =
            (struct entry){ .row = &t->rows[i], .name = t->rows[i].service };
    for (size_t i = 0; i < names_count; i++)
        if (!has_name(t->rows, t->rows_count, names[i]))
            t->entries[t->entries_count++] = (struct entry){ .name = names[i] };
    return ERR_OK;
}

static void write_last_seen(struct numbers_answer *a, const struct red_row *r)
{
    size_t i = a->w->points;
    while (i > 0 && r->points.count[i - 1] == 0)
        i--;
    json_key(&a->c->json, "last_seen");
    if (i == 0)
        json_null(&a->c->json);
    else
        json_u64_string(&a->c->json, a->w->t0 + (i - 1) * a->w->step_ns);
}

static void write_service(struct numbers_answer *a, const struct table *t, const struct entry *x)
{
    static const struct red_row silent;
    const struct red_row *r = x->row == NULL ? &silent : x->row;
    struct json_writer *j = &a->c->json;
    json_object_begin(j);
    native_write_text(j, "name", x->name);
    native_write_text(j, "ns", r->namespace);
    json_key(j, "envs");
    json_array_begin(j);
    for (size_t i = 0; i < r->environments_count; i++)
        json_string(j, r->environments[i]);
    json_array_end(j);
    json_key(j, "kind");
    json_text(j, x->row == NULL ? "" : kind_words[r->busiest_kind]);
    native_write_count(j, "color", native_color(a->c, x->name));
    json_key(j, "basis");
    json_text(j, r->is_entry ? "entry" : "all");
    numbers_write_sum(a, &r->sum);
    numbers_write(j, "impact", x->impact);
    if (a->w->points > 0 && x->row != NULL)
        write_last_seen(a, r);
    else
        numbers_write_or_null(j, "last_seen", 0, false);
    if (x->row != NULL) {
        write_sparks(a, r);
        write_prev(a, t, r);
    }
    json_object_end(j);
}

static enum err service_numbers(struct call *c)
{
    static const char *const known[] = { "from", "to",    "env",   "ns",   "sort",
                                         "find", "limit", "spark", "prev", NULL };
    struct table t;
    struct numbers_answer a;
    struct bytes ns, env;
    enum err e = parameters_check(c, known);
    if (e == ERR_OK)
        e = read_table(c, &t, SORT_NAME, NATIVE_LIMIT_MAX);
    if (e != ERR_OK)
        return e;
    const struct red_rows_query query = { .namespace = numbers_text(c, "ns", &ns),
                                          .environment = numbers_text(c, "env", &env),
                                          .by = RED_BY_SERVICE,
                                          .by_basis = true,
                                          .has_environments = true,
                                          .has_point_durations = t.has_sparks };
    e = ask_rows(c, &t, &query);
    if (e == ERR_OK)
        e = list_services(c, &t, query.namespace == NULL && query.environment == NULL);
    if (e != ERR_OK)
        return e;
    rank(&t);
    keep_found(&t);
    numbers_begin(&a, c, &t.w);
    json_key(&c->json, "rows");
    json_array_begin(&c->json);
    for (size_t i = 0; i < shown_rows(&t); i++)
        write_service(&a, &t, &t.entries[i]);
    json_array_end(&c->json);
    write_hidden_and_end(&a, &t, shown_rows(&t));
    return ERR_OK;
}

/* Without a window there are no rates: then it is the list of names, of all time. */
static bool has_window(const struct call *c)
{
    struct bytes text;
    return parameter_text(c, "from", &text) || parameter_text(c, "to", &text);
}

enum err native_services(struct call *c)
{
    return has_window(c) ? service_numbers(c) : native_service_names(c);
}

/* ---- Operations ---- */

/* The share of the operation's spans that took no longer than the asker's: where one span stands among its peers. */
static void write_rank(struct json_writer *j, const struct red_row *r, uint64_t than_ns)
{
    const double bound = (double)than_ns;
    uint64_t at_most = 0;
    histogram_cumulate(&r->sum.durations, &bound, 1, &at_most);
    numbers_write_or_null(j, "rank", (double)at_most / (double)r->sum.count, r->sum.count > 0);
}

static void write_operation(struct numbers_answer *a, const struct table *t, const struct entry *x,
                            double service_ns, uint64_t than_ns)
{
    const struct red_row *r = x->row;
    struct json_writer *j = &a->c->json;
    json_object_begin(j);
    native_write_text(j, "name", r->name);
    json_key(j, "kind");
    json_text(j, kind_words[r->kind <= 5 ? r->kind : 0]);
    native_write_count(j, "spans", r->sum.count);
    numbers_write_sum(a, &r->sum);
    native_write_count(j, "time", r->sum.time_ns);
    numbers_write_or_null(j, "share", (double)r->sum.time_ns / service_ns, service_ns > 0);
    numbers_write(j, "impact", x->impact);
    if (than_ns != UINT64_MAX)
        write_rank(j, r, than_ns);
    write_sparks(a, r);
    write_prev(a, t, r);
    json_object_end(j);
}

static enum err operation_numbers(struct call *c)
{
    static const char *const known[] = { "from",  "to",    "env",  "ns",   "kind", "sort", "find",
                                         "limit", "spark", "prev", "name", "than", NULL };
    struct table t;
    struct numbers_answer a;
    struct bytes ns, env, name = { 0 };
    struct red_row *service = NULL;
    size_t services = 0, kind = SIZE_MAX;
    uint64_t than_ns = UINT64_MAX;
    enum err e = parameters_check(c, known);
    if (e == ERR_OK)
        e = read_table(c, &t, SORT_IMPACT, OPERATIONS_DEFAULT);
    if (e == ERR_OK)
        e = parameter_word(c, "kind", kind_words, &kind);
    if (e == ERR_OK)
        e = parameter_duration(c, "than", &than_ns, NULL);
    if (e != ERR_OK)
        return e;
    (void)parameter_text(c, "name", &name);
    struct numbers_window whole = t.w;
    whole.points = 0;
    struct red_rows_query query = { .service = c->request->parameters[0],
                                    .namespace = numbers_text(c, "ns", &ns),
                                    .environment = numbers_text(c, "env", &env),
                                    .by_basis = true };
    e = red_rows(c, &whole, &query, &service, &services);
    query.by_basis = false;
    query.by = RED_BY_NAME | RED_BY_KIND;
    query.name = name;
    query.kinds = kind == SIZE_MAX ? 0 : 1U << kind;
    query.has_point_durations = t.has_sparks;
    if (e == ERR_OK)
        e = ask_rows(c, &t, &query);
    if (e != ERR_OK)
        return e;
    t.entries = arena_alloc_array(&c->arena, t.rows_count, sizeof t.entries[0]);
    if (t.entries == NULL)
        return arena_failure(&c->arena);
    for (size_t i = 0; i < t.rows_count; i++)
        t.entries[i] = (struct entry){ .row = &t.rows[i], .name = t.rows[i].name };
    t.entries_count = t.rows_count;
    rank(&t);
    keep_found(&t);
    numbers_begin(&a, c, &t.w);
    json_key(&c->json, "rows");
    json_array_begin(&c->json);
    for (size_t i = 0; i < shown_rows(&t); i++)
        write_operation(&a, &t, &t.entries[i], services == 0 ? 0 : (double)service[0].sum.time_ns,
                        than_ns);
    json_array_end(&c->json);
    write_hidden_and_end(&a, &t, shown_rows(&t));
    return ERR_OK;
}

enum err native_operations(struct call *c)
{
    return has_window(c) ? operation_numbers(c) : native_operation_names(c);
}
