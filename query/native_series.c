/* SPDX-License-Identifier: Apache-2.0 */
/* One service over time: in all, by its parts, and beside another window. */
#include "query/native.h"
#include "query/red_rows.h"

#include <stdlib.h>

#define PARTS_MAX 20 /* more lines than a chart can show apart */

enum part { PART_NONE, PART_OPERATION, PART_KIND, PART_STATUS, PART_ENVIRONMENT };
static const char *const part_words[] = { "none", "operation", "kind", "status", "env", NULL };

static unsigned group_of(enum part part)
{
    switch (part) {
    case PART_NONE:
        break;
    case PART_OPERATION:
        return RED_BY_NAME;
    case PART_KIND:
        return RED_BY_KIND;
    case PART_STATUS:
        return RED_BY_STATUS;
    case PART_ENVIRONMENT:
        return RED_BY_ENVIRONMENT;
    }
    return 0;
}

struct question {
    struct numbers_window w, w_prev;
    bool has_prev;
    enum part part;
    struct red_rows_query rows;
    struct bytes ns, env;
};

static enum err read_question(struct call *c, struct question *q)
{
    static const char *const known[] = { "from", "to", "env",  "ns",   "op",
                                         "kind", "by", "step", "prev", NULL };
    size_t part = PART_NONE, kind = SIZE_MAX;
    uint64_t step_ns = 0;
    bool has_step = false;
    *q = (struct question){ 0 };
    enum err e = parameters_check(c, known);
    if (e == ERR_OK)
        e = numbers_window_read(c, NUMBERS_SERIES_POINTS, &q->w);
    if (e == ERR_OK)
        e = parameter_duration(c, "step", &step_ns, &has_step);
    if (e == ERR_OK && has_step)
        e = numbers_window_step(c, step_ns, &q->w);
    if (e == ERR_OK)
        e = numbers_window_prev(c, &q->w, &q->w_prev, &q->has_prev);
    if (e == ERR_OK)
        e = parameter_word(c, "by", part_words, &part);
    if (e == ERR_OK)
        e = parameter_word(c, "kind", kind_words, &kind);
    q->part = (enum part)part;
    q->rows = (struct red_rows_query){ .service = c->request->parameters[0],
                                       .namespace = numbers_text(c, "ns", &q->ns),
                                       .environment = numbers_text(c, "env", &q->env),
                                       .kinds = kind == SIZE_MAX ? 0 : 1U << kind,
                                       .by_basis = kind == SIZE_MAX,
                                       .has_point_durations = true };
    (void)parameter_text(c, "op", &q->rows.name);
    return e;
}

/* The one row of the service, or an empty one. */
static enum err ask_total(struct call *c, const struct numbers_window *w,
                          const struct red_rows_query *query, struct red_row *out)
{
    struct red_row *rows = NULL, total = { 0 };
    size_t count = 0;
    enum err e = red_rows(c, w, query, &rows, &count);
    if (e == ERR_OK && count > 0)
        total = rows[0];
    else if (e == ERR_OK)
        e = numbers_points_init(&total.points, w, true, &c->arena);
    if (e == ERR_OK)
        *out = total;
    return e;
}

/* ---- Parts ---- */

static int by_count(const void *a, const void *b)
{
    const struct red_row *x = a, *y = b;
    return (x->sum.count < y->sum.count) - (x->sum.count > y->sum.count);
}

static void write_part_key(struct json_writer *j, enum part part, const struct red_row *r)
{
    json_key(j, "key");
    switch (part) {
    case PART_NONE:
    case PART_OPERATION:
        json_string(j, r->name);
        break;
    case PART_KIND:
        json_text(j, kind_words[r->kind <= 5 ? r->kind : 0]);
        break;
    case PART_STATUS:
        json_text(j, status_words[r->status <= 2 ? r->status : 0]);
        break;
    case PART_ENVIRONMENT:
        json_string(j, r->environment);
        break;
    }
}

/* Of the same spans as the total: those of its basis, even where a part alone has none such. */
static enum err write_parts(struct numbers_answer *a, const struct question *q,
                            const struct red_row *total)
{
    struct red_rows_query query = q->rows;
    struct red_row *rows = NULL;
    size_t count = 0;
    if (query.by_basis && total->is_entry)
        query.kinds = RED_KINDS_ENTRY;
    query.by_basis = false;
    query.by = group_of(q->part);
    enum err e = red_rows(a->c, a->w, &query, &rows, &count);
    if (e != ERR_OK)
        return e;
    if (count > 0)
        qsort(rows, count, sizeof rows[0], by_count);
    struct json_writer *j = &a->c->json;
    json_key(j, "by");
    json_array_begin(j);
    for (size_t i = 0; i < count && i < PARTS_MAX; i++) {
        json_object_begin(j);
        write_part_key(j, q->part, &rows[i]);
        numbers_write_sum(a, &rows[i].sum);
        numbers_write_series(a, a->w, &rows[i].points);
        json_object_end(j);
    }
    json_array_end(j);
    native_write_count(j, "by_hidden", count > PARTS_MAX ? count - PARTS_MAX : 0);
    return ERR_OK;
}

static enum err write_other_window(struct numbers_answer *a, const struct question *q)
{
    struct red_row then;
    enum err e = ask_total(a->c, &q->w_prev, &q->rows, &then);
    if (e != ERR_OK)
        return e;
    struct json_writer *j = &a->c->json;
    json_key(j, "prev");
    json_object_begin(j);
    native_write_ns(j, "from", q->w_prev.from);
    native_write_ns(j, "to", q->w_prev.to);
    numbers_write_rates(a, then.sum.count, then.sum.errors, q->w_prev.seconds);
    numbers_write_percentiles(a, &then.sum.durations);
    numbers_write_series(a, &q->w_prev, &then.points);
    json_object_end(j);
    return ERR_OK;
}

enum err native_series(struct call *c)
{
    struct question q;
    struct numbers_answer a;
    struct red_row total;
    enum err e = read_question(c, &q);
    if (e == ERR_OK)
        e = ask_total(c, &q.w, &q.rows, &total);
    if (e != ERR_OK)
        return e;
    numbers_begin(&a, c, &q.w);
    json_key(&c->json, "basis");
    json_text(&c->json, total.is_entry ? "entry" : "all");
    numbers_write_sum(&a, &total.sum);
    numbers_write_series(&a, &q.w, &total.points);
    if (q.part != PART_NONE)
        e = write_parts(&a, &q, &total);
    if (e == ERR_OK && q.has_prev)
        e = write_other_window(&a, &q);
    if (e == ERR_OK)
        numbers_end(&a, total.sum.count > 0);
    return e;
}
