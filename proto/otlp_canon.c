/* SPDX-License-Identifier: Apache-2.0 */
/* otlp_canon - a filter for tests: what otlp_check(), otlp_rewrite() and otlp_json_write() make of
 * messages, for comparison with other implementations.
 *
 *   otlp_canon filter
 *     in   u32le length, then a byte 't' or 'l' and the message
 *     out  u8 verdict (enum err), u8 needs_rewrite, u32le items rejected, u32le warnings,
 *          u32le length and the canonical bytes, u32le length and their OTLP/JSON
 *   otlp_canon generate <seed> <count>
 *     out  messages in the form that the filter reads, half of them broken */
#include "proto/otlp_json.h"
#include "proto/otlp_random.h"

#include <stdio.h>
#include <stdlib.h>

#define MESSAGE_BYTES_MAX (16u << 20)

static void u32_write(uint32_t v)
{
    uint8_t raw[4];
    store_le32(raw, v);
    (void)fwrite(raw, 1, sizeof raw, stdout);
}

static void bytes_write(const struct buffer *b)
{
    u32_write((uint32_t)b->len);
    if (b->len > 0)
        (void)fwrite(b->data, 1, b->len, stdout);
}

static void answer(enum signal signal, struct bytes message, struct buffer *canonical,
                   struct buffer *json)
{
    struct otlp_report report = { 0 };
    uint64_t warnings = 0;
    buffer_reset(canonical);
    buffer_reset(json);
    enum err e = otlp_check(signal, message, &otlp_limits_default, 0, &report, NULL);
    if (e == ERR_OK)
        e = otlp_rewrite(signal, message, &otlp_limits_default, 0, canonical);
    if (e == ERR_OK) {
        struct json_writer w;
        json_init(&w, json);
        otlp_json_write(signal, buffer_bytes(canonical), &w);
        e = buffer_error(json);
    }
    for (int i = 0; i < OTLP_WARN_COUNT; i++)
        warnings += i == OTLP_WARN_END_BEFORE_START ? 0 : report.warned[i];
    (void)fputc((int)e, stdout);
    (void)fputc(report.needs_rewrite, stdout);
    u32_write((uint32_t)report.items_rejected);
    u32_write((uint32_t)warnings);
    bytes_write(canonical);
    bytes_write(json);
}

static int filter(void)
{
    struct buffer in, canonical, json;
    uint8_t head[4];
    buffer_init(&in, MESSAGE_BYTES_MAX);
    buffer_init(&canonical, 2 * MESSAGE_BYTES_MAX);
    buffer_init(&json, 16 * MESSAGE_BYTES_MAX);
    while (fread(head, 1, sizeof head, stdin) == sizeof head) {
        uint32_t len = load_le32(head);
        buffer_reset(&in);
        uint8_t *to = buffer_reserve(&in, len);
        if (len == 0 || to == NULL || fread(to, 1, len, stdin) != len)
            return 1;
        buffer_grew(&in, len);
        enum signal signal = in.data[0] == 't' ? SIGNAL_TRACES : SIGNAL_LOGS;
        answer(signal, bytes_slice(buffer_bytes(&in), 1, SIZE_MAX), &canonical, &json);
    }
    buffer_deinit(&in);
    buffer_deinit(&canonical);
    buffer_deinit(&json);
    return fflush(stdout) == 0 ? 0 : 1;
}

static int generate(uint64_t seed, unsigned long count)
{
    struct random random;
    struct buffer out;
    random_init(&random, seed);
    buffer_init(&out, MESSAGE_BYTES_MAX);
    for (unsigned long i = 0; i < count; i++) {
        const struct otlp_random_options options = { .items_max = 1 + i % 2,
                                                     .depth_max = 1 + i % 4,
                                                     .has_bad_utf8 = i % 8 == 0,
                                                     .has_extra_order = i % 3 == 0,
                                                     .is_strange = i % 5 < 3 };
        enum signal signal = i % 2 == 0 ? SIGNAL_TRACES : SIGNAL_LOGS;
        buffer_reset(&out);
        buffer_append_byte(&out, signal == SIGNAL_TRACES ? 't' : 'l');
        otlp_random(&random, signal, &options, &out);
        if (i % 4 >= 2)
            otlp_random_break(&random, &out, 1);
        bytes_write(&out);
    }
    buffer_deinit(&out);
    return fflush(stdout) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "filter") == 0)
        return filter();
    if (argc == 4 && strcmp(argv[1], "generate") == 0)
        return generate(strtoull(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
    (void)fprintf(stderr, "usage: otlp_canon filter | generate <seed> <count>\n");
    return 2;
}
