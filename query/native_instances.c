/* SPDX-License-Identifier: Apache-2.0 */
/* The instances of a service. Rollups do not tell them apart: these are counted among the spans. */
#include "query/native.h"
#include "query/red_rows.h"

#define INSTANCES_MAX 100

/* The attribute has an older name. */
static struct expr *term_environment(struct arena *arena, struct bytes env)
{
    return expr_binary(
        arena, EXPR_OR,
        term_text(arena, EXPR_SCOPE_RESOURCE, BYTES_LITERAL("deployment.environment.name"), env),
        term_text(arena, EXPR_SCOPE_RESOURCE, BYTES_LITERAL("deployment.environment"), env));
}

static struct expr *term_kind(struct arena *arena, int64_t kind)
{
    return term_intrinsic(arena, EXPR_INTRINSIC_SPAN_KIND, EXPR_EQ, EXPR_KIND, kind);
}

/* Whether the service's calls are its SERVER and CONSUMER spans: see red_rows.h. */
static enum err ask_basis(struct call *c, const struct numbers_window *w, bool *out_is_entry)
{
    struct bytes env;
    struct red_row *rows = NULL;
    size_t count = 0;
    const struct red_rows_query query = { .service = c->request->parameters[0],
                                          .environment = numbers_text(c, "env", &env),
                                          .by_basis = true };
    enum err e = red_rows(c, w, &query, &rows, &count);
    if (e == ERR_OK)
        *out_is_entry = count > 0 && rows[0].is_entry;
    return e;
}

/* Spans of the service's basis, or the failed ones of them, by instance. */
static enum err count_instances(struct call *c, const struct numbers_window *w, bool is_entry,
                                bool only_errors, struct attribute_value **out, size_t *out_count,
                                struct find_progress *progress)
{
    struct filter f;
    struct bytes env;
    const struct expr *tree = NULL;
    struct find_progress part = { 0 };
    struct arena *arena = &c->arena;
    filter_init(&f, arena);
    filter_add(&f, term_service(arena, c->request->parameters[0]));
    if (parameter_text(c, "env", &env))
        filter_add(&f, term_environment(arena, env));
    if (is_entry)
        filter_add(&f, expr_binary(arena, EXPR_OR, term_kind(arena, 2), term_kind(arena, 5)));
    if (only_errors)
        filter_add(&f, term_intrinsic(arena, EXPR_INTRINSIC_SPAN_STATUS, EXPR_EQ, EXPR_STATUS, 2));
    enum err e = filter_tree(&f, &tree);
    if (e == ERR_OK)
        e = engine_attribute_values(c->options->engine, &c->context, SIGNAL_TRACES,
                                    EXPR_SCOPE_RESOURCE, BYTES_LITERAL("service.instance.id"),
                                    (struct time_range){ w->from, w->end }, tree, BYTES_LITERAL(""),
                                    INSTANCES_MAX, out, out_count, &part);
    progress->scanned_groups += part.scanned_groups;
    progress->scanned_bytes += part.scanned_bytes;
    progress->scanned_rows += part.scanned_rows;
    progress->is_complete = progress->is_complete && part.is_complete;
    return e;
}

static void write_instance(struct numbers_answer *a, const struct attribute_value *v,
                           uint64_t errors)
{
    json_object_begin(&a->c->json);
    json_key(&a->c->json, "name");
    native_write_value_text(a->c, &v->value);
    numbers_write_rates(a, v->count, errors, a->w->seconds);
    json_object_end(&a->c->json);
}

static bool same_value(const struct expr_value *a, const struct expr_value *b)
{
    return a->type == b->type && a->integer == b->integer && bytes_equal(a->bytes, b->bytes);
}

enum err native_instances(struct call *c)
{
    static const char *const known[] = { "from", "to", "env", NULL };
    struct numbers_window w;
    struct numbers_answer a;
    struct attribute_value *all = NULL, *failed = NULL;
    size_t count = 0, failed_count = 0;
    struct find_progress progress = { .is_complete = true };
    bool is_entry = false;
    enum err e = parameters_check(c, known);
    if (e == ERR_OK)
        e = numbers_window_read(c, 0, &w);
    if (e == ERR_OK)
        e = ask_basis(c, &w, &is_entry);
    if (e == ERR_OK)
        e = count_instances(c, &w, is_entry, false, &all, &count, &progress);
    if (e == ERR_OK)
        e = count_instances(c, &w, is_entry, true, &failed, &failed_count, &progress);
    if (e != ERR_OK)
        return e;
    numbers_begin(&a, c, &w);
    json_key(&c->json, "basis");
    json_text(&c->json, is_entry ? "entry" : "all");
    json_key(&c->json, "rows");
    json_array_begin(&c->json);
    for (size_t i = 0; i < count; i++) {
        uint64_t errors = 0;
        for (size_t k = 0; k < failed_count; k++)
            if (same_value(&failed[k].value, &all[i].value))
                errors = failed[k].count;
        write_instance(&a, &all[i], errors);
    }
    json_array_end(&c->json);
    struct page page = { .range = { w.from, w.end } };
    native_write_end(c, &progress, count, &page, NULL);
    json_object_end(&c->json);
    return ERR_OK;
}
