/* SPDX-License-Identifier: Apache-2.0 */
/* That each named input of vectors/make_vectors.py meets its expectation, worked out there from the
 * rules: the verdict, every count of the report, and the canonical bytes. */
#include "proto/otlp_json.h"

#include "base/mem.h"
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct otlp_limits small_limits = {
    .depth_max = 64,
    .elements_max = 60,
    .attributes_max = 4,
    .events_max = 2,
    .links_max = 2,
    .key_bytes_max = 8,
    .value_bytes_max = 16,
};

/* The next part of *rest before the separator. */
static struct bytes part_next(struct bytes *rest, uint8_t separator)
{
    size_t at = bytes_find(*rest, separator);
    struct bytes part = bytes_slice(*rest, 0, at);
    *rest = at == SIZE_MAX ? (struct bytes){ 0 } : bytes_slice(*rest, at + 1, SIZE_MAX);
    return part;
}

static void hex_append(struct bytes hex, struct buffer *out)
{
    uint8_t *to = buffer_reserve(out, hex.len / 2);
    assert_non_null(to);
    assert_true(text_hex_parse(hex, to, hex.len / 2));
    buffer_grew(out, hex.len / 2);
}

/* Chunks of hex, each perhaps with *count. */
static void payload_read(struct bytes text, struct buffer *out)
{
    buffer_reset(out);
    while (text.len > 0 && !bytes_equal_text(text, "-")) {
        struct bytes chunk = part_next(&text, ' ');
        struct bytes hex = part_next(&chunk, '*');
        uint64_t count = 1;
        if (chunk.len > 0)
            assert_true(text_u64_parse(chunk, &count));
        for (uint64_t i = 0; i < count; i++)
            hex_append(hex, out);
    }
    assert_int_equal(buffer_error(out), ERR_OK);
}

struct expectation {
    enum err verdict;
    struct otlp_report report;
    bool has_out;
    struct bytes out; /* hex */
};

static bool label_find(struct bytes label, const char *prefix, const char *name)
{
    size_t len = strlen(prefix);
    return bytes_start_with(label, bytes_text(prefix)) &&
           bytes_equal_text(bytes_slice(label, len, SIZE_MAX), name);
}

static void expectation_word(struct bytes word, struct expectation *e)
{
    uint64_t n = 0;
    struct bytes label = part_next(&word, '=');
    bool has_number = word.len > 0 && text_u64_parse(word, &n);
    if (bytes_equal_text(label, "out")) {
        e->has_out = true;
        e->out = word;
    } else if (bytes_equal_text(label, "rewrite")) {
        e->report.needs_rewrite = true;
    } else if (bytes_equal_text(label, "items") && has_number) {
        e->report.items = n;
    } else if (bytes_equal_text(label, "unknown") && has_number) {
        e->report.unknown_fields = n;
    } else {
        bool is_found = false;
        for (int i = 0; i < OTLP_REJECT_COUNT; i++) {
            if (label_find(label, "reject:", otlp_reject_label((enum otlp_reject)i))) {
                e->report.rejected[i] = n;
                e->report.items_rejected += n;
                is_found = true;
            }
        }
        for (int i = 0; i < OTLP_WARN_COUNT; i++) {
            if (label_find(label, "warn:", otlp_warn_label((enum otlp_warn)i))) {
                e->report.warned[i] = n;
                is_found = true;
            }
        }
        assert_true(is_found && has_number);
    }
}

static struct expectation expectation_read(struct bytes text)
{
    struct expectation e = { .verdict = ERR_OK, .report.items = 1 };
    struct bytes verdict = part_next(&text, ' ');
    if (bytes_equal_text(verdict, "invalid"))
        e.verdict = ERR_INVALID;
    else if (bytes_equal_text(verdict, "too_deep"))
        e.verdict = ERR_TOO_DEEP;
    else if (bytes_equal_text(verdict, "too_many"))
        e.verdict = ERR_TOO_MANY;
    else
        assert_true(bytes_equal_text(verdict, "ok"));
    while (text.len > 0)
        expectation_word(part_next(&text, ' '), &e);
    return e;
}

/* What is wrong, or NULL. */
static const char *report_differs(const struct otlp_report *is, const struct otlp_report *wanted)
{
    if (is->items != wanted->items)
        return "items";
    if (is->needs_rewrite != wanted->needs_rewrite)
        return "needs_rewrite";
    if (is->unknown_fields != wanted->unknown_fields)
        return "unknown_fields";
    if (is->items_rejected != wanted->items_rejected ||
        memcmp(is->rejected, wanted->rejected, sizeof is->rejected) != 0)
        return "rejected";
    if (memcmp(is->warned, wanted->warned, sizeof is->warned) != 0)
        return "warned";
    return NULL;
}

/* What is wrong, or NULL. */
static const char *vector_run(enum signal signal, bool is_json, const struct otlp_limits *limits,
                              const struct expectation *wanted, struct bytes input,
                              struct buffer *from_json, struct buffer *canonical,
                              struct buffer *wanted_out)
{
    struct otlp_report report, again;
    struct err_note note = { .offset = SIZE_MAX };
    enum err e = ERR_OK;
    buffer_reset(from_json);
    if (is_json)
        e = otlp_json_read(signal, input, limits, from_json, &note);
    struct bytes body = is_json ? buffer_bytes(from_json) : input;
    if (e == ERR_OK)
        e = otlp_check(signal, body, limits, 0, &report, &note);
    if (e != wanted->verdict)
        return err_text(e);
    if (e != ERR_OK)
        return note.offset <= input.len && note.what != NULL ? NULL : "note";

    const char *wrong = report_differs(&report, &wanted->report);
    if (wrong != NULL)
        return wrong;
    buffer_reset(canonical);
    if (otlp_rewrite(signal, body, limits, 0, canonical) != ERR_OK)
        return "rewrite fails";
    if (!report.needs_rewrite && !bytes_equal(body, buffer_bytes(canonical)))
        return "canonical bytes are rewritten";
    if (wanted->has_out) {
        buffer_reset(wanted_out);
        hex_append(wanted->out, wanted_out);
        if (!bytes_equal(buffer_bytes(canonical), buffer_bytes(wanted_out)))
            return "other canonical bytes";
    }
    if (otlp_check(signal, buffer_bytes(canonical), limits, 0, &again, NULL) != ERR_OK ||
        again.needs_rewrite || again.items_rejected > 0)
        return "canonical bytes are not accepted as such";
    return NULL;
}

static uint8_t *file_read(const char *path, size_t *out_len)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long len = ftell(file);
    assert_true(len > 0);
    rewind(file);
    uint8_t *data = mem_alloc((size_t)len);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, (size_t)len, file), len);
    (void)fclose(file);
    *out_len = (size_t)len;
    return data;
}

static void vectors_meet_expectations(void **state)
{
    (void)state;
    size_t len;
    uint8_t *data = file_read(OTLP_VECTORS, &len);
    struct bytes text = bytes_of(data, len);
    struct buffer input, buffers[3];
    buffer_init(&input, 256u << 20);
    for (int i = 0; i < 3; i++)
        buffer_init(&buffers[i], 64u << 20);
    unsigned count = 0, failed = 0;
    while (text.len > 0) {
        struct bytes line = part_next(&text, '\n');
        struct bytes name = part_next(&line, '\t');
        enum signal signal =
            bytes_equal_text(part_next(&line, '\t'), "logs") ? SIGNAL_LOGS : SIGNAL_TRACES;
        bool is_json = bytes_equal_text(part_next(&line, '\t'), "json");
        const struct otlp_limits *limits = bytes_equal_text(part_next(&line, '\t'), "small")
                                               ? &small_limits
                                               : &otlp_limits_default;
        struct expectation wanted = expectation_read(part_next(&line, '\t'));
        payload_read(line, &input);
        const char *wrong = vector_run(signal, is_json, limits, &wanted, buffer_bytes(&input),
                                       &buffers[0], &buffers[1], &buffers[2]);
        count++;
        if (wrong != NULL) {
            failed++;
            print_error("%.*s: %s\n", (int)name.len, (const char *)name.data, wrong);
        }
    }
    print_message("%u vectors\n", count);
    assert_int_equal(failed, 0);
    assert_true(count >= 300);
    buffer_deinit(&input);
    for (int i = 0; i < 3; i++)
        buffer_deinit(&buffers[i]);
    mem_free(data);
}

/* A million values inside each other: each level has its own length, so no script need write it. */
static void a_million_levels_are_too_deep(void **state)
{
    (void)state;
    const size_t levels = 1000000, size = 12 * levels;
    uint8_t *data = mem_alloc(size);
    assert_non_null(data);
    size_t at = size, inside = 0; /* written from the innermost outwards */
    for (size_t i = 0; i < levels; i++) {
        for (int part = 0; part < 2; part++) {
            uint8_t head[6];
            size_t n = 0;
            head[n++] = part == 0 ? 0x0A : 0x2A; /* ArrayValue.values, AnyValue.array_value */
            size_t v = inside;
            for (; v >= 0x80; v >>= 7)
                head[n++] = (uint8_t)(v | 0x80);
            head[n++] = (uint8_t)v;
            assert_true(at >= n);
            at -= n;
            memcpy(data + at, head, n);
            inside += n;
        }
    }
    struct buffer body;
    buffer_init(&body, 64u << 20);
    static const uint8_t groups[] = { 0x0A, 0x12, 0x12, 0x2A }; /* to LogRecord.body */
    uint8_t heads[24];
    size_t heads_at = sizeof heads;
    for (size_t i = sizeof groups; i-- > 0;) {
        uint8_t head[6];
        size_t n = 0;
        head[n++] = groups[i];
        size_t v = inside;
        for (; v >= 0x80; v >>= 7)
            head[n++] = (uint8_t)(v | 0x80);
        head[n++] = (uint8_t)v;
        heads_at -= n;
        memcpy(heads + heads_at, head, n);
        inside += n;
    }
    buffer_append(&body, heads + heads_at, sizeof heads - heads_at);
    buffer_append(&body, data + at, size - at);
    struct otlp_report report;
    struct err_note note;
    assert_int_equal(
        otlp_check(SIGNAL_LOGS, buffer_bytes(&body), &otlp_limits_default, 0, &report, &note),
        ERR_TOO_DEEP);
    buffer_deinit(&body);
    mem_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_meet_expectations),
        cmocka_unit_test(a_million_levels_are_too_deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
