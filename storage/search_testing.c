/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/search_testing.h"

#include "base/mem.h"
#include "proto/pb_writer.h"
#include "storage/rowgroup/rowgroup.h"

#include <assert.h>
#include <stdlib.h>

static void bounds(void *context, size_t index, struct segment_bounds *out)
{
    struct test_source *s = context;
    *out = s->bodies[index].bounds;
}

static bool may_contain(void *context, size_t index, const struct trace_id *id)
{
    struct test_source *s = context;
    if (s->bodies[index].is_damaged || (load_le64(id->b) + index) % 16 < s->false_hits)
        return true;
    struct otlp_items it = otlp_items(buffer_bytes(&s->bodies[index].data));
    while (otlp_items_next(&it)) {
        struct otlp_span span;
        struct otlp_log log;
        if (s->bodies[index].signal == SIGNAL_TRACES) {
            otlp_span_read(it.item, &span);
            if (memcmp(span.trace_id.b, id->b, sizeof id->b) == 0)
                return true;
        } else {
            otlp_log_read(it.item, &log);
            if (memcmp(log.trace_id.b, id->b, sizeof id->b) == 0)
                return true;
        }
    }
    return false;
}

static enum err read_group(void *context, uint64_t offset, size_t len, uint8_t *out)
{
    const struct test_body *b = context;
    assert(offset <= b->group.len && len <= b->group.len - offset);
    memcpy(out, b->group.data + offset, len);
    return ERR_OK;
}

static enum err open_group(struct test_body *b, struct arena *arena, struct segment **out)
{
    struct rowgroup_source source = { .context = b, .size = b->group.len, .read = read_group };
    return rowgroup_segment_open(&source, arena, out);
}

static enum err open_body(void *context, size_t index, const struct query_context *q,
                          struct segment **out)
{
    struct test_source *s = context;
    struct test_body *body = &s->bodies[index];
    s->opens++;
    if (body->is_damaged)
        return ERR_CORRUPT;
    if (body->is_group)
        return open_group(body, q->arena, out);
    return body_segment_open_bounded(&body->bounds, buffer_bytes(&body->data), q->arena, out);
}

static bool extents(void *context, size_t index, struct bytes *out)
{
    struct test_source *s = context;
    *out = buffer_bytes(&s->bodies[index].extents);
    return out->len > 0;
}

static bool extents_keep(void *context, size_t index, struct bytes made)
{
    struct test_source *s = context;
    struct test_body *b = &s->bodies[index];
    if (b->is_group) {
        assert(b->extents.len == 0);
        buffer_append(&b->extents, made.data, made.len);
    }
    return b->is_group;
}

static void on_damaged(void *context, size_t index)
{
    struct test_source *s = context;
    assert(s->bodies[index].is_damaged);
    s->damages++;
}

void test_source_init(struct test_source *s)
{
    memset(s, 0, sizeof *s);
    uint8_t seed[32] = "a key of the tests";
    hash_key_derive(seed, &s->key);
    arena_init(&s->arena, 64u << 20, NULL);
    s->source = (struct segment_source){ .context = s,
                                         .bounds = bounds,
                                         .may_contain = may_contain,
                                         .open = open_body,
                                         .extents = extents,
                                         .extents_keep = extents_keep,
                                         .on_damaged = on_damaged,
                                         .content_key = &s->key };
}

void test_source_deinit(struct test_source *s)
{
    for (size_t i = 0; i < s->count; i++) {
        buffer_deinit(&s->bodies[i].data);
        buffer_deinit(&s->bodies[i].group);
        buffer_deinit(&s->bodies[i].extents);
    }
    mem_free(s->bodies);
    arena_deinit(&s->arena);
}

struct buffer *test_source_add(struct test_source *s, enum signal signal)
{
    if (s->count == s->capacity) {
        s->capacity = s->capacity * 2 + 8;
        s->bodies = mem_realloc(s->bodies, s->capacity * sizeof *s->bodies);
        assert(s->bodies != NULL);
    }
    struct test_body *b = &s->bodies[s->count++];
    *b = (struct test_body){ .signal = signal };
    buffer_init(&b->data, 64u << 20);
    buffer_init(&b->group, 64u << 20);
    buffer_init(&b->extents, 1u << 20);
    s->source.count = s->count;
    return &b->data;
}

void test_source_group(struct test_source *s, struct random *random)
{
    for (size_t i = 0; i < s->count; i++) {
        struct test_body *b = &s->bodies[i];
        if (b->data.len == 0 || random_below(random, 2) == 0)
            continue;
        struct rowgroup_options options = { .signal = b->signal, .content_key = &s->key };
        struct rowgroup_builder *builder = NULL;
        struct rowgroup_summary summary;
        enum err e = rowgroup_builder_open(&options, &builder);
        if (e == ERR_OK)
            e = rowgroup_builder_add(builder, buffer_bytes(&b->data));
        if (e == ERR_OK)
            e = rowgroup_builder_finish(builder, NULL, NULL, &b->group, &summary);
        assert(e == ERR_OK);
        (void)e;
        rowgroup_builder_close(builder);
        b->is_group = true;
    }
}

void test_source_ready(struct test_source *s)
{
    for (size_t i = 0; i < s->count; i++) {
        struct segment *segment = NULL;
        struct test_body *b = &s->bodies[i];
        enum err e =
            b->is_group ? open_group(b, &s->arena, &segment)
                        : body_segment_open(b->signal, buffer_bytes(&b->data), &s->arena, &segment);
        assert(e == ERR_OK);
        (void)e;
        s->bodies[i].bounds = segment->bounds;
        segment->ops->close(segment);
    }
}

void test_attribute_text(struct buffer *b, uint32_t number, const char *key, const char *value)
{
    size_t kv = pb_begin(b, number);
    pb_bytes(b, 1, bytes_text(key));
    size_t any = pb_begin(b, 2);
    pb_bytes(b, 1, bytes_text(value));
    pb_end(b, any);
    pb_end(b, kv);
}

void test_attribute_int(struct buffer *b, uint32_t number, const char *key, int64_t value)
{
    size_t kv = pb_begin(b, number);
    pb_bytes(b, 1, bytes_text(key));
    size_t any = pb_begin(b, 2);
    pb_uint(b, 3, (uint64_t)value);
    pb_end(b, any);
    pb_end(b, kv);
}
