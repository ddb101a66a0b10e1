/* SPDX-License-Identifier: Apache-2.0 */
#include "sql/sql_testing.h"

#include "base/mem.h"
#include "proto/pb_writer.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

enum { BODIES = 3, SPANS_PER_BODY = 20, LOGS = 20 };

/* ---- The engine ---- */

struct testing_view {
    struct row_view view; /* first */
    struct testing_engine *engine;
    const struct query_context *q;
};

static enum err view_read(struct row_view *view, const struct row_request *asked,
                          struct row_cursor **out)
{
    struct testing_view *v = (struct testing_view *)(void *)view;
    return search_rows_read(&v->engine->source.source, v->q, &view->progress, asked, out);
}

static enum err view_resources(struct row_view *view, enum signal signal,
                               row_resource_fn *on_resource, void *context)
{
    struct testing_view *v = (struct testing_view *)(void *)view;
    return search_resources(&v->engine->source.source, v->q, &view->progress, signal, on_resource,
                            context);
}

static void view_close(struct row_view *view)
{
    mem_free(view);
}

static enum err rows_view(struct engine *e, const struct query_context *q, struct row_view **out)
{
    static const struct row_view_ops ops = {
        .read = view_read,
        .resources = view_resources,
        .close = view_close,
    };
    struct testing_view *v = mem_zalloc(sizeof *v);
    if (v == NULL)
        return ERR_NOMEM;
    v->view = (struct row_view){ .ops = &ops, .progress = { .is_complete = true } };
    v->engine = (struct testing_engine *)(void *)e;
    v->q = q;
    *out = &v->view;
    return ERR_OK;
}

static void statistics(struct engine *e, struct engine_statistics *out)
{
    const struct testing_engine *t = (const struct testing_engine *)(void *)e;
    *out = (struct engine_statistics){ .spans = t->spans, .logs = t->logs };
}

/* ---- What is in it ---- */

static void put_id(struct buffer *b, uint32_t field, uint64_t high, uint64_t low, size_t len)
{
    uint8_t id[16];
    store_be64(id, high);
    store_be64(id + 8, low);
    pb_bytes(b, field, bytes_of(id + 16 - len, len));
}

/* v, of every type, as nothing, twice, or not at all. */
static void put_value(struct buffer *b, unsigned number)
{
    static const char *const texts[] = { "5", "x", "it's", "[1,2]", "NaN", "", "true", "Y2FydA==" };
    unsigned kind = number % 20;
    if (kind == 19)
        return;
    size_t pair = pb_begin(b, OTLP_SPAN_ATTRIBUTES);
    pb_bytes(b, 1, BYTES_LITERAL("v"));
    size_t value = pb_begin(b, 2);
    double numbers[] = { 5, 0.5, 1, NAN };
    uint64_t bits;
    if (kind < 8) {
        pb_bytes(b, 1, bytes_text(texts[kind]));
    } else if (kind < 12) {
        memcpy(&bits, &numbers[kind - 8], sizeof bits);
        pb_fixed64(b, 4, bits);
    } else if (kind < 14) {
        pb_uint(b, 2, kind - 12);
    } else if (kind < 16) {
        pb_uint(b, 3, kind == 14 ? 5 : 1);
    } else if (kind == 16) {
        pb_bytes(b, 7, BYTES_LITERAL("cart"));
    } else if (kind == 17) {
        size_t list = pb_begin(b, 5);
        for (unsigned i = 1; i <= 2; i++) {
            size_t one = pb_begin(b, 1);
            pb_uint(b, 3, i);
            pb_end(b, one);
        }
        pb_end(b, list);
    }
    pb_end(b, value);
    pb_end(b, pair);
    if (kind == 1)
        test_attribute_text(b, OTLP_SPAN_ATTRIBUTES, "v", "second");
}

static void put_span(struct buffer *b, unsigned number)
{
    size_t span = pb_begin(b, OTLP_SCOPE_ITEMS);
    char name[16];
    (void)snprintf(name, sizeof name, "op %u", number % 4);
    put_id(b, 1, 7, number / 5 + 1, 16);
    put_id(b, 2, 0, number + 1, 8);
    if (number % 5 != 0)
        put_id(b, 4, 0, number - number % 5 + 1, 8);
    pb_bytes(b, 5, bytes_text(name));
    pb_uint(b, 6, 1 + number % 5);
    pb_fixed64(b, 7, 1000000 + number * 1000);
    pb_fixed64(b, 8, 1000000 + number * 1000 + number * 10);
    test_attribute_text(b, OTLP_SPAN_ATTRIBUTES, "a.b", "x");
    test_attribute_int(b, OTLP_SPAN_ATTRIBUTES, "n", number);
    put_value(b, number);
    if (number % 3 == 0) {
        size_t event = pb_begin(b, OTLP_SPAN_EVENTS);
        pb_fixed64(b, 1, 1000000 + number * 1000 + 5);
        pb_bytes(b, 2, BYTES_LITERAL("exception"));
        test_attribute_text(b, OTLP_EVENT_ATTRIBUTES, "e", number % 2 == 0 ? "even" : "odd");
        pb_end(b, event);
        size_t link = pb_begin(b, OTLP_SPAN_LINKS);
        put_id(b, 1, 8, number + 1, 16);
        put_id(b, 2, 0, 99, 8);
        test_attribute_text(b, OTLP_LINK_ATTRIBUTES, "l", number % 2 == 0 ? "even" : "odd");
        pb_end(b, link);
        size_t status = pb_begin(b, 15);
        pb_uint(b, 3, 2);
        pb_end(b, status);
    }
    pb_end(b, span);
}

static void put_log(struct buffer *b, unsigned number)
{
    size_t log = pb_begin(b, OTLP_SCOPE_ITEMS);
    pb_fixed64(b, 1, 1000000 + number * 1000);
    pb_uint(b, 2, 9 + number % 9);
    size_t body = pb_begin(b, 5);
    pb_bytes(b, 1, BYTES_LITERAL("it took too long"));
    pb_end(b, body);
    test_attribute_int(b, OTLP_LOG_ATTRIBUTES, "line", number);
    if (number % 2 == 0) {
        put_id(b, 9, 7, number / 5 + 1, 16);
        put_id(b, 10, 0, number + 1, 8);
    }
    pb_end(b, log);
}

static void put_group(struct buffer *b, const char *service, unsigned first, unsigned count,
                      void (*put)(struct buffer *, unsigned))
{
    size_t group = pb_begin(b, OTLP_DATA_RESOURCE_GROUPS);
    size_t resource = pb_begin(b, 1);
    test_attribute_text(b, OTLP_RESOURCE_ATTRIBUTES, "service.name", service);
    pb_end(b, resource);
    size_t scope = pb_begin(b, OTLP_GROUP_SCOPE_GROUPS);
    for (unsigned i = 0; i < count; i++)
        put(b, first + i);
    pb_end(b, scope);
    pb_end(b, group);
}

void testing_engine_open(struct testing_engine *t)
{
    static const struct engine_ops ops = { .rows_view = rows_view, .statistics = statistics };
    static const char *const services[BODIES] = { "cart", "search", "mail" };
    struct random random;
    *t = (struct testing_engine){ .engine = { .ops = &ops },
                                  .spans = BODIES * SPANS_PER_BODY,
                                  .logs = LOGS };
    test_source_init(&t->source);
    for (unsigned i = 0; i < BODIES; i++)
        put_group(test_source_add(&t->source, SIGNAL_TRACES), services[i], i * SPANS_PER_BODY,
                  SPANS_PER_BODY, put_span);
    put_group(test_source_add(&t->source, SIGNAL_LOGS), "cart", 0, LOGS, put_log);
    random_init(&random, 3);
    test_source_group(&t->source, &random);
    test_source_ready(&t->source);
}

void testing_engine_close(struct testing_engine *t)
{
    test_source_deinit(&t->source);
}
