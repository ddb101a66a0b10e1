/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/random.h"
#include "cli/load.h"
#include "proto/otlp.h"

#include <stdio.h>

#define BODY_MAX   (256u << 20)
#define GZIP_LEVEL 6 /* what SDK exporters use */

static enum codec wanted_codec(const struct load_options *o)
{
    static const enum codec codecs[] = { CODEC_IDENTITY, CODEC_GZIP, CODEC_ZSTD };
    return codecs[o->encoding];
}

static enum err add(const struct load_options *o, struct load_requests *r, struct bytes body,
                    uint32_t spans)
{
    if (r->count == r->capacity) {
        size_t capacity = r->capacity == 0 ? 1024 : r->capacity * 2;
        struct load_request *items = mem_realloc(r->items, capacity * sizeof *items);
        if (items == NULL)
            return ERR_NOMEM;
        r->items = items;
        r->capacity = capacity;
    }
    enum codec codec = wanted_codec(o);
    struct buffer packed;
    buffer_init(&packed, BODY_MAX);
    enum err e = ERR_OK;
    if (codec == CODEC_IDENTITY)
        buffer_append_bytes(&packed, body);
    else
        e = codec_compress(codec, codec == CODEC_GZIP ? GZIP_LEVEL : 0, body, &packed);
    if (e == ERR_OK)
        e = buffer_error(&packed);
    /* Exactly as long as it is: 10 M spans are 20,000 bodies. */
    uint8_t *kept = e == ERR_OK ? mem_alloc(packed.len) : NULL;
    if (kept != NULL)
        memcpy(kept, packed.data, packed.len);
    else if (e == ERR_OK)
        e = ERR_NOMEM;
    if (e == ERR_OK) {
        r->items[r->count++] =
            (struct load_request){ .body = bytes_of(kept, packed.len), .spans = spans };
        r->spans += spans;
        r->body_bytes += body.len;
        r->sent_bytes += packed.len;
    }
    buffer_deinit(&packed);
    return e;
}

static enum err write_file(const char *path, struct bytes text)
{
    FILE *f = fopen(path, "wb");
    if (f == NULL)
        return ERR_IO;
    bool is_written = fwrite(text.data, 1, text.len, f) == text.len;
    return fclose(f) == 0 && is_written ? ERR_OK : ERR_IO;
}

static enum err write_truth(const struct workload *w, const char *path, const char **message)
{
    struct buffer text;
    buffer_init(&text, 1u << 30);
    enum err e = workload_truth(w, &text);
    if (e == ERR_OK)
        e = write_file(path, buffer_bytes(&text));
    if (e != ERR_OK)
        *message = "the truth file cannot be written";
    buffer_deinit(&text);
    return e;
}

static enum err make_workload(const struct load_options *o, struct load_requests *r,
                              const char **message)
{
    uint64_t id_xor;
    enum err e = random_system(&id_xor, sizeof id_xor);
    if (e != ERR_OK)
        return e;
    enum workload_kind kind = (enum workload_kind)o->workload;
    uint64_t lasts_ns = (o->spans * 1000 / workload_spans_per_s(kind)) * NS_PER_MS;
    const struct workload_options options = {
        .kind = kind,
        .seed = o->seed,
        .spans = o->spans,
        .batch = (unsigned)o->batch,
        .base_unix_ns = clock_unix_ns() - lasts_ns, /* so that the last spans end about now */
        .id_xor = id_xor,
        .keeps_truth = o->truth != NULL,
    };
    struct workload *w = NULL;
    e = workload_open(&options, &w);
    struct buffer body;
    buffer_init(&body, BODY_MAX);
    struct workload_request request;
    while (e == ERR_OK) {
        buffer_reset(&body);
        e = workload_next(w, &body, &request);
        if (e == ERR_OK)
            e = add(o, r, buffer_bytes(&body), request.spans);
    }
    if (e == ERR_NOT_FOUND)
        e = o->truth == NULL ? ERR_OK : write_truth(w, o->truth, message);
    buffer_deinit(&body);
    workload_close(w);
    return e;
}

/* ---- Files of bench/gen
 * -------------------------------------------------------------------------------- */

/* The last span start in a request; 0 when it cannot be read. */
static uint64_t last_start(struct bytes body)
{
    struct otlp_report report;
    struct err_note note;
    if (otlp_check(SIGNAL_TRACES, body, &otlp_limits_default, 0, &report, &note) != ERR_OK)
        return 0;
    return report.start_max_unix_ns;
}

static enum err read_body(FILE *f, struct arena *arena, struct bytes *out_body, uint32_t *out_spans)
{
    uint8_t head[8];
    if (fread(head, 1, sizeof head, f) != sizeof head)
        return feof(f) ? ERR_NOT_FOUND : ERR_IO;
    size_t len = load_le32(head);
    if (len > BODY_MAX)
        return ERR_INVALID;
    uint8_t *data = arena_alloc_bytes(arena, len + 1);
    if (data == NULL)
        return ERR_NOMEM;
    if (fread(data, 1, len, f) != len)
        return ERR_INVALID;
    *out_spans = load_le32(head + 4);
    *out_body = bytes_of(data, len);
    if (len > 2 && data[0] == 0x1f && data[1] == 0x8b)
        return codec_decompress(CODEC_GZIP, bytes_of(data, len), BODY_MAX, arena, out_body, NULL);
    return ERR_OK;
}

/* Twice through the file: once for its last time, then to shift, compress and keep. */
static enum err read_file(const struct load_options *o, FILE *f, struct load_requests *r)
{
    uint64_t id_xor, last = 0;
    enum err e = random_system(&id_xor, sizeof id_xor);
    struct arena arena;
    struct bytes body;
    uint32_t spans;
    arena_init(&arena, 2 * (size_t)BODY_MAX, NULL);
    for (unsigned pass = 0; pass < 2 && e == ERR_OK; pass++) {
        rewind(f);
        uint64_t shift_ns = clock_unix_ns() - last;
        for (;;) {
            arena_reset(&arena);
            e = read_body(f, &arena, &body, &spans);
            if (e != ERR_OK)
                break;
            if (pass == 0) {
                uint64_t start = last_start(body);
                last = start > last ? start : last;
                continue;
            }
            uint8_t *own = arena_alloc_bytes(&arena, body.len);
            if (own == NULL) {
                e = ERR_NOMEM;
                break;
            }
            memcpy(own, body.data, body.len);
            if (!workload_shift(own, body.len, shift_ns, id_xor))
                e = ERR_INVALID;
            if (e == ERR_OK)
                e = add(o, r, bytes_of(own, body.len), spans);
            if (e != ERR_OK || r->spans >= o->spans)
                break;
        }
        if (e == ERR_NOT_FOUND)
            e = ERR_OK;
    }
    arena_deinit(&arena);
    return e;
}

enum err load_requests_make(const struct load_options *o, struct load_requests *out,
                            const char **message)
{
    uint64_t start = clock_mono_ns();
    struct load_requests r = { 0 };
    enum err e;
    *message = "the requests cannot be made";
    if (o->file == NULL) {
        e = make_workload(o, &r, message);
    } else {
        FILE *f = fopen(o->file, "rb");
        *message = "the file cannot be read";
        e = f == NULL ? ERR_IO : read_file(o, f, &r);
        if (f != NULL)
            (void)fclose(f);
    }
    if (e != ERR_OK) {
        load_requests_deinit(&r);
        return e;
    }
    r.prepare_ns = clock_mono_ns() - start;
    *out = r;
    return ERR_OK;
}

void load_requests_deinit(struct load_requests *r)
{
    for (size_t i = 0; i < r->count; i++) {
        void *block;
        memcpy(&block, &r->items[i].body.data,
               sizeof block); /* bytes are const; this owner frees them */
        mem_free(block);
    }
    mem_free(r->items);
    *r = (struct load_requests){ 0 };
}
