/* SPDX-License-Identifier: Apache-2.0 */
/* gen - write a workload to files.
 *
 *   gen --workload w1 [--spans N] [--batch 512] [--seed N] [--no-truth] --out PREFIX
 *
 * writes PREFIX.plain and PREFIX.gzip, each a run of requests: length of the body (u32), spans in
 * it (u32), both little-endian, then the body, an ExportTraceServiceRequest (in .gzip: gzip -6 of
 * it); and PREFIX.truth.json. */
#include "base/text.h"
#include "bench/workload.h"
#include "codec/codec.h"

#include <stdio.h>
#include <stdlib.h>

struct gen_options {
    struct workload_options workload;
    const char *prefix;
    bool is_plain_only;
};

static int usage(void)
{
    fputs("usage: gen --workload w1|w2|w3|w4 [--spans N] [--batch N] [--seed N] [--no-truth] "
          "[--no-gzip]\n"
          "           --out PREFIX\n"
          "Writes PREFIX.plain, PREFIX.gzip and PREFIX.truth.json.\n",
          stderr);
    return 2;
}

static bool parse(int argc, char **argv, struct gen_options *o)
{
    *o = (struct gen_options){ .workload = { .keeps_truth = true } };
    for (int i = 1; i < argc; i++) {
        const char *flag = argv[i];
        if (strcmp(flag, "--no-truth") == 0) {
            o->workload.keeps_truth = false;
            continue;
        }
        if (strcmp(flag, "--no-gzip") == 0) {
            o->is_plain_only = true;
            continue;
        }
        if (i + 1 == argc)
            return false;
        struct bytes value = bytes_text(argv[++i]);
        uint64_t number = 0;
        bool is_number = text_u64_parse(value, &number);
        if (strcmp(flag, "--workload") == 0) {
            if (!workload_from_name(value, &o->workload.kind))
                return false;
        } else if (strcmp(flag, "--out") == 0) {
            o->prefix = argv[i];
        } else if (!is_number) {
            return false;
        } else if (strcmp(flag, "--spans") == 0) {
            o->workload.spans = number;
        } else if (strcmp(flag, "--seed") == 0) {
            o->workload.seed = number;
        } else if (strcmp(flag, "--batch") == 0 && number <= WORKLOAD_BATCH_MAX) {
            o->workload.batch = (unsigned)number;
        } else {
            return false;
        }
    }
    return o->prefix != NULL;
}

static FILE *create(const char *prefix, const char *suffix)
{
    char path[4096];
    if (snprintf(path, sizeof path, "%s%s", prefix, suffix) >= (int)sizeof path)
        return NULL;
    FILE *f = fopen(path, "wb");
    if (f == NULL)
        perror(path);
    return f;
}

static bool write_request(FILE *f, struct bytes body, uint32_t spans)
{
    uint8_t head[8];
    store_le32(head, (uint32_t)body.len);
    store_le32(head + 4, spans);
    return fwrite(head, 1, sizeof head, f) == sizeof head &&
           fwrite(body.data, 1, body.len, f) == body.len;
}

static enum err write_all(struct workload *w, FILE *plain, FILE *gzip, uint64_t *out_gzip_bytes)
{
    struct buffer body, packed;
    buffer_init(&body, 1u << 30);
    buffer_init(&packed, 1u << 30);
    struct workload_request request;
    enum err e;
    for (;;) {
        buffer_reset(&body);
        e = workload_next(w, &body, &request);
        if (e != ERR_OK)
            break;
        if (!write_request(plain, buffer_bytes(&body), request.spans)) {
            e = ERR_IO;
            break;
        }
        if (gzip == NULL)
            continue;
        buffer_reset(&packed);
        e = codec_compress(CODEC_GZIP, 6, buffer_bytes(&body), &packed);
        if (e == ERR_OK && !write_request(gzip, buffer_bytes(&packed), request.spans))
            e = ERR_IO;
        if (e != ERR_OK)
            break;
        *out_gzip_bytes += packed.len;
    }
    buffer_deinit(&body);
    buffer_deinit(&packed);
    return e == ERR_NOT_FOUND ? ERR_OK : e;
}

static enum err write_truth(const struct workload *w, const char *prefix)
{
    struct buffer text;
    buffer_init(&text, 1u << 30);
    enum err e = workload_truth(w, &text);
    FILE *f = e == ERR_OK ? create(prefix, ".truth.json") : NULL;
    if (e == ERR_OK && (f == NULL || fwrite(text.data, 1, text.len, f) != text.len))
        e = ERR_IO;
    if (f != NULL && fclose(f) != 0)
        e = ERR_IO;
    buffer_deinit(&text);
    return e;
}

int main(int argc, char **argv)
{
    struct gen_options o;
    if (!parse(argc, argv, &o))
        return usage();
    struct workload *w = NULL;
    enum err e = workload_open(&o.workload, &w);
    FILE *plain = e == ERR_OK ? create(o.prefix, ".plain") : NULL;
    FILE *gzip = e == ERR_OK && !o.is_plain_only ? create(o.prefix, ".gzip") : NULL;
    if (e == ERR_OK && (plain == NULL || (gzip == NULL && !o.is_plain_only)))
        e = ERR_IO;
    uint64_t gzip_bytes = 0;
    if (e == ERR_OK)
        e = write_all(w, plain, gzip, &gzip_bytes);
    if (plain != NULL && fclose(plain) != 0)
        e = ERR_IO;
    if (gzip != NULL && fclose(gzip) != 0)
        e = ERR_IO;
    if (e == ERR_OK && o.workload.keeps_truth)
        e = write_truth(w, o.prefix);
    if (e == ERR_OK) {
        struct workload_totals t;
        workload_totals(w, &t);
        double sent = (double)(t.spans + t.spans_resent);
        printf("%s: %llu spans (+%llu resent) in %llu requests, %.1f B/span plain",
               workload_name(o.workload.kind), (unsigned long long)t.spans,
               (unsigned long long)t.spans_resent, (unsigned long long)t.requests,
               (double)t.request_bytes / sent);
        if (!o.is_plain_only)
            printf(", %.1f B/span gzip -6", (double)gzip_bytes / sent);
        printf(", hash %016llx\n", (unsigned long long)t.span_hash);
    } else {
        fprintf(stderr, "gen: %s\n", err_text(e));
    }
    workload_close(w);
    return e == ERR_OK ? 0 : 1;
}
