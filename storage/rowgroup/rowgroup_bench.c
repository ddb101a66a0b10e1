/* SPDX-License-Identifier: Apache-2.0 */
/* What a row group costs: rowgroup_bench [w1|w2|w3|w4] [rows] [groups] [columns|build|reads]
 *
 * Prints nanoseconds and bytes a span for building, and microseconds for reading a trace, scanning
 * and reading everything; with "columns", where the bytes are; with "build", nothing is read. */
#include "base/mem.h"
#include "bench/workload.h"
#include "codec/codec.h"
#include "storage/rowgroup/rowgroup_group.h"
#include "storage/rowgroup/rowgroup_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Of this thread: others on the machine do not count. */
static uint64_t cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

struct input {
    struct buffer bytes;
    size_t *ends;
    size_t count;
    uint64_t spans;
};

static bool input_make(struct input *in, enum workload_kind kind, uint64_t skip, uint64_t spans)
{
    (void)skip;
    struct workload_options options = { .kind = kind, .spans = spans };
    struct workload *w;
    struct workload_request request;
    buffer_init(&in->bytes, SIZE_MAX);
    in->ends = mem_alloc_array(spans, sizeof *in->ends);
    if (in->ends == NULL || workload_open(&options, &w) != ERR_OK)
        return false;
    while (workload_next(w, &in->bytes, &request) == ERR_OK) {
        in->ends[in->count++] = in->bytes.len;
        in->spans += request.spans;
    }
    workload_close(w);
    return true;
}

static struct bytes input_body(const struct input *in, size_t i)
{
    size_t begin = i == 0 ? 0 : in->ends[i - 1];
    return bytes_of(in->bytes.data + begin, in->ends[i] - begin);
}

static void print_columns(struct bytes group, uint32_t rows)
{
    static const char *const names[] = {
#define X(name, kind) #name,
        ROWGROUP_COLUMN_LIST(X)
#undef X
    };
    struct arena arena;
    arena_init(&arena, SIZE_MAX, NULL);
    struct rowgroup_source source = testing_source(&group);
    struct group *g;
    if (group_open(&source, &arena, &g) != ERR_OK || !group_load(g))
        return;
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < g->blocks_count; i++)
        blocks += g->blocks[i].stored;
    printf("%-34s %7.3f B\n", "header, directory", (double)(group.len - blocks) / rows);
    for (uint32_t column = 0; column < COLUMN_FIXED_COUNT + g->keys_count; column++) {
        double shared = 0, own = 0;
        unsigned forms = 0;
        for (uint32_t section = 0; section <= g->chunks_count; section++) {
            struct stream *s = group_stream(g, section, column);
            if (s == NULL)
                continue;
            if (section > 0)
                forms |= 1u << (s->form & INTS_MASK) | (s->form & ~(unsigned)INTS_MASK) << 5;
            for (unsigned p = 0; p < 4; p++) {
                if (s->parts[p].len == 0)
                    continue;
                const struct block *b = &g->blocks[s->parts[p].block - 1];
                double share = (double)b->stored * s->parts[p].len / b->raw;
                *(section == 0 ? &shared : &own) += share;
            }
        }
        if (shared + own < 0.001 * rows)
            continue;
        char name[64];
        if (column < COLUMN_FIXED_COUNT) {
            (void)snprintf(name, sizeof name, "%s", names[column]);
        } else {
            const struct group_key *k = &g->keys[column - COLUMN_FIXED_COUNT];
            (void)snprintf(name, sizeof name, "%.*s:%u", (int)k->name.len,
                           (const char *)k->name.data, k->type);
        }
        printf("%-34s %7.3f B  (%.3f shared) forms %03x\n", name, (shared + own) / rows,
               shared / rows, forms);
    }
    group_close(g);
    arena_deinit(&arena);
}

static bool count_row(void *context, const struct segment_row *row)
{
    (void)row;
    ++*(uint64_t *)context;
    return true;
}

struct reading {
    uint64_t open_ns, find_ns, read_ns, scan_ns, all_ns, reads;
};

static bool read_trace(struct bytes group, const struct trace_id *id, struct reading *r)
{
    struct arena arena;
    arena_init(&arena, SIZE_MAX, NULL);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    struct buffer out;
    buffer_init(&out, SIZE_MAX);
    struct rowgroup_source source = testing_source(&group);
    struct segment *s;
    static uint32_t rows[1 << 16];
    size_t count = 0;
    uint64_t t0 = cpu_ns();
    bool ok = rowgroup_segment_open(&source, &arena, &s) == ERR_OK;
    uint64_t t1 = cpu_ns();
    ok = ok && s->ops->find_trace(s, id, rows, 1 << 16, &count) == ERR_OK;
    uint64_t t2 = cpu_ns();
    ok = ok && s->ops->read(s, &q, rows, count, ROW_ALL, &out) == ERR_OK && count > 0;
    uint64_t t3 = cpu_ns();
    r->open_ns += t1 - t0;
    r->find_ns += t2 - t1;
    r->read_ns += t3 - t2;
    r->reads++;
    if (ok)
        s->ops->close(s);
    buffer_deinit(&out);
    arena_deinit(&arena);
    return ok;
}

static bool read_group(struct bytes group, struct reading *r)
{
    struct arena arena;
    arena_init(&arena, SIZE_MAX, NULL);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    struct buffer out;
    buffer_init(&out, SIZE_MAX);
    struct rowgroup_source source = testing_source(&group);
    struct segment *s;
    bool ok = rowgroup_segment_open(&source, &arena, &s) == ERR_OK;
    if (!ok)
        return false;
    struct expr *filter = expr_binary(
        &arena, EXPR_AND,
        expr_binary(&arena, EXPR_EQ,
                    expr_attribute(&arena, EXPR_SCOPE_RESOURCE, BYTES_LITERAL("service.name")),
                    expr_const(&arena, (struct expr_value){ .type = EXPR_STRING,
                                                            .bytes = BYTES_LITERAL("cart") })),
        expr_binary(
            &arena, EXPR_EQ,
            expr_attribute(&arena, EXPR_SCOPE_ANY, BYTES_LITERAL("http.response.status_code")),
            expr_const(&arena, (struct expr_value){ .type = EXPR_INT, .integer = 404 })));
    uint64_t found = 0, t0 = cpu_ns();
    ok = s->ops->scan(s, &q, filter, 0, UINT64_MAX, count_row, &found) == ERR_OK;
    uint64_t t1 = cpu_ns();
    ok = ok && testing_read_all(s, &arena, &out) == ERR_OK;
    r->scan_ns += t1 - t0;
    r->all_ns += cpu_ns() - t1;
    s->ops->close(s);
    buffer_deinit(&out);
    arena_deinit(&arena);
    return ok;
}

/* What zstd 1 takes for the bodies as they are: the measure of this machine at this moment. */
static double reference_ns(const struct input *in)
{
    struct buffer out;
    buffer_init(&out, SIZE_MAX);
    uint64_t t0 = cpu_ns();
    for (size_t i = 0; i < in->count; i++) {
        buffer_reset(&out);
        if (codec_compress(CODEC_ZSTD, 1, input_body(in, i), &out) != ERR_OK)
            return 0;
    }
    uint64_t t1 = cpu_ns();
    buffer_deinit(&out);
    return (double)(t1 - t0) / (double)in->spans;
}

/* Of bodies as they wait for their group; their bytes in all into *out_bytes. */
static double digests_ns(const struct input *in, size_t *out_bytes)
{
    struct buffer out;
    buffer_init(&out, SIZE_MAX);
    uint64_t begun = cpu_ns();
    for (size_t i = 0; i < in->count; i++)
        if (rowgroup_digest_of_body(SIGNAL_TRACES, input_body(in, i), &out) != ERR_OK)
            break;
    double ns = (double)(cpu_ns() - begun) / (double)in->spans;
    *out_bytes = out.len;
    buffer_deinit(&out);
    return ns;
}

int main(int argc, char **argv)
{
    enum workload_kind kind = WORKLOAD_W1;
    if (argc > 1 && !workload_from_name(bytes_text(argv[1]), &kind))
        return 2;
    uint64_t rows = argc > 2 ? strtoull(argv[2], NULL, 10) : 32768;
    uint64_t groups = argc > 3 ? strtoull(argv[3], NULL, 10) : 8;
    unsigned reads = argc > 4 && argv[4][0] == 'r' ? 400 : 20;
    bool is_build_only = argc > 4 && argv[4][0] == 'b';
    struct input in = { 0 };
    if (!input_make(&in, kind, 0, rows * groups))
        return 1;
    struct rowgroup_options options = { .signal = SIGNAL_TRACES, .content_key = testing_key() };
    struct rowgroup_builder *b;
    if (rowgroup_builder_open(&options, &b) != ERR_OK)
        return 1;
    struct buffer out;
    buffer_init(&out, SIZE_MAX);
    struct reading reading = { 0 };
    uint64_t add_ns = 0, finish_ns = 0, spans = 0, bytes = 0, filter_bytes = 0;
    size_t body = 0;
    struct hash_stream encoded; /* tells whether a change left what is stored as it was */
    hash_stream_begin(&encoded);
    for (unsigned pass = 0; body < in.count || (is_build_only && pass < 10 * groups); pass++) {
        body = body < in.count ? body : 0;
        struct rowgroup_summary summary;
        uint64_t t0 = cpu_ns();
        rowgroup_builder_reset(b);
        while (body < in.count && rowgroup_builder_rows(b) < rows)
            if (rowgroup_builder_add(b, input_body(&in, body++)) != ERR_OK)
                return 1;
        uint64_t t1 = cpu_ns();
        buffer_reset(&out);
        if (rowgroup_builder_finish(b, NULL, NULL, &out, &summary) != ERR_OK)
            return 1;
        uint64_t t2 = cpu_ns();
        hash_stream_add(&encoded, buffer_bytes(&out));
        if (pass > 0) { /* the first one allocates */
            add_ns += t1 - t0;
            finish_ns += t2 - t1;
            spans += summary.rows;
            bytes += out.len;
            filter_bytes += summary.trace_filter.len;
        }
        if (is_build_only)
            continue;
        if (pass == 1 && argc > 4 && argv[4][0] == 'c')
            print_columns(buffer_bytes(&out), summary.rows);
        struct otlp_items it = otlp_items(input_body(&in, body - 1));
        for (unsigned i = 0; i < reads && otlp_items_next(&it); i++) {
            struct otlp_span span;
            otlp_span_read(it.item, &span);
            if (!read_trace(buffer_bytes(&out), &span.trace_id, &reading))
                return 1;
        }
        if (!read_group(buffer_bytes(&out), &reading))
            return 1;
    }
    double n = (double)spans, r = (double)reading.reads * 1000, all = (double)in.spans;
    printf("%s, %lu rows: add %.0f + finish %.0f = %.0f ns a span; %.2f B a span, filter %.2f\n",
           workload_name(kind), (unsigned long)rows, (double)add_ns / n, (double)finish_ns / n,
           (double)(add_ns + finish_ns) / n, (double)bytes / n, (double)filter_bytes / n);
    printf("hash of all groups: %016llx\n", (unsigned long long)hash_stream_end(&encoded).low);
    printf("zstd 1 of the bodies: %.0f ns a span\n", reference_ns(&in));
    size_t digests_bytes;
    double digest_ns = digests_ns(&in, &digests_bytes);
    printf("digest of a body: %.0f ns and %.2f B a span\n", digest_ns, (double)digests_bytes / all);
    printf("trace: open %.0f + find %.0f + read %.0f us; scan %.0f, read all %.0f ns a span\n",
           (double)reading.open_ns / r, (double)reading.find_ns / r, (double)reading.read_ns / r,
           (double)reading.scan_ns / all, (double)reading.all_ns / all);
    rowgroup_builder_close(b);
    buffer_deinit(&out);
    buffer_deinit(&in.bytes);
    mem_free(in.ends);
    return 0;
}
