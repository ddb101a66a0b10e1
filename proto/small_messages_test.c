/* SPDX-License-Identifier: Apache-2.0 */
/* That the answers we write say what was asked for: bytes against bytes worked out by hand from the
 * protobuf encoding, JSON against text, and every failed allocation survived. */
#include "proto/export_response.h"
#include "proto/health.h"
#include "proto/rpc_status.h"

#include "base/mem.h"
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void assert_hex(const struct buffer *b, const char *hex)
{
    char text[1024];
    assert_int_equal(buffer_error(b), ERR_OK);
    assert_true(2 * b->len < sizeof text);
    text_hex(text, buffer_bytes(b));
    text[2 * b->len] = '\0';
    assert_string_equal(text, hex);
}

static void assert_text(const struct buffer *b, const char *text)
{
    assert_int_equal(buffer_error(b), ERR_OK);
    if (!bytes_equal_text(buffer_bytes(b), text))
        print_error("%.*s\n", (int)b->len, (const char *)b->data);
    assert_true(bytes_equal_text(buffer_bytes(b), text));
}

static void export_responses(void **state)
{
    (void)state;
    static const struct {
        enum signal signal;
        uint64_t rejected;
        const char *message, *hex, *json;
    } cases[] = {
        { SIGNAL_TRACES, 0, "", "", "{}" },
        { SIGNAL_LOGS, 0, "", "", "{}" },
        { SIGNAL_TRACES, 2, "no", "0a06080212026e6f",
          "{\"partialSuccess\":{\"rejectedSpans\":\"2\",\"errorMessage\":\"no\"}}" },
        { SIGNAL_LOGS, 300, "", "0a0308ac02",
          "{\"partialSuccess\":{\"rejectedLogRecords\":\"300\"}}" },
        { SIGNAL_LOGS, 0, "cut", "0a051203637574",
          "{\"partialSuccess\":{\"errorMessage\":\"cut\"}}" },
        { SIGNAL_TRACES, 0, "\xFFx", "0a061204efbfbd78",
          "{\"partialSuccess\":{\"errorMessage\":\"\xEF\xBF\xBDx\"}}" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct export_response response = { cases[i].rejected, bytes_text(cases[i].message) };
        struct buffer out;
        buffer_init(&out, 4096);
        export_response_encode(cases[i].signal, &response, &out);
        assert_hex(&out, cases[i].hex);
        buffer_reset(&out);
        export_response_encode_json(cases[i].signal, &response, &out);
        assert_text(&out, cases[i].json);
        buffer_deinit(&out);
    }
}

static const struct rpc_violation violations[] = {
    { BYTES_LITERAL("f"), BYTES_LITERAL("d") },
};

static void statuses(void **state)
{
    (void)state;
    static const struct {
        struct rpc_status status;
        const char *hex, *json;
    } cases[] = {
        { { .code = 3, .message = BYTES_LITERAL("x") },
          "0803120178",
          "{\"code\":3,\"message\":\"x\",\"details\":[]}" },
        { { .code = 14, .message = BYTES_LITERAL(""), .retry_delay_ns = 1500000000 },
          "080e1a360a28747970652e676f6f676c65617069732e636f6d2f676f6f676c652e7270632e5265747279496e"
          "666f120a0a0808011080cab5ee01",
          "{\"code\":14,\"message\":\"\",\"details\":[{\"@type\":\"type.googleapis.com/"
          "google.rpc.RetryInfo\",\"retryDelay\":\"1.500s\"}]}" },
        { { .code = 14, .retry_delay_ns = 2000000000 },
          "080e1a300a28747970652e676f6f676c65617069732e636f6d2f676f6f676c652e7270632e5265747279496e"
          "666f12040a020802",
          "{\"code\":14,\"message\":\"\",\"details\":[{\"@type\":\"type.googleapis.com/"
          "google.rpc.RetryInfo\",\"retryDelay\":\"2s\"}]}" },
        { { .code = 3,
            .message = BYTES_LITERAL("no"),
            .violations = violations,
            .violation_count = 1 },
          "080312026e6f1a350a29747970652e676f6f676c65617069732e636f6d2f676f6f676c652e7270632e426164"
          "5265717565737412080a060a0166120164",
          "{\"code\":3,\"message\":\"no\",\"details\":[{\"@type\":\"type.googleapis.com/"
          "google.rpc.BadRequest\",\"fieldViolations\":[{\"field\":\"f\",\"description\":\"d\"}]}]"
          "}" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer out;
        buffer_init(&out, 4096);
        rpc_status_encode(&cases[i].status, &out);
        assert_hex(&out, cases[i].hex);
        buffer_reset(&out);
        rpc_status_encode_json(&cases[i].status, &out);
        assert_text(&out, cases[i].json);
        buffer_deinit(&out);
    }
}

static void health(void **state)
{
    (void)state;
    struct bytes service;
    assert_int_equal(health_request_read((struct bytes){ 0 }, &service), ERR_OK);
    assert_int_equal(service.len, 0);
    assert_int_equal(health_request_read(BYTES_LITERAL("\x0a\x03"
                                                       "abc"),
                                         &service),
                     ERR_OK);
    assert_true(bytes_equal_text(service, "abc"));
    assert_int_equal(health_request_read(BYTES_LITERAL("\x0a\x04"
                                                       "abc"),
                                         &service),
                     ERR_INVALID);
    uint8_t *large = mem_zalloc(HEALTH_REQUEST_BYTES_MAX + 1);
    assert_non_null(large);
    assert_int_equal(health_request_read(bytes_of(large, HEALTH_REQUEST_BYTES_MAX + 1), &service),
                     ERR_TOO_LARGE);
    mem_free(large);

    struct buffer out;
    buffer_init(&out, 4096);
    health_response_encode(HEALTH_SERVING, &out);
    assert_hex(&out, "0801");
    buffer_reset(&out);
    const struct health_entry entries[] = { { "", HEALTH_SERVING }, { "a", HEALTH_NOT_SERVING } };
    health_list_encode(entries, 2, &out);
    assert_hex(&out, "0a0412020801"
                     "0a070a016112020802");
    buffer_deinit(&out);
}

static enum err all_messages(void)
{
    const struct rpc_status status = { .code = 3,
                                       .message = BYTES_LITERAL("no"),
                                       .retry_delay_ns = 1,
                                       .violations = violations,
                                       .violation_count = 1 };
    const struct export_response response = { 1, BYTES_LITERAL("why") };
    struct buffer out;
    buffer_init(&out, 4096);
    rpc_status_encode(&status, &out);
    rpc_status_encode_json(&status, &out);
    export_response_encode(SIGNAL_LOGS, &response, &out);
    export_response_encode_json(SIGNAL_LOGS, &response, &out);
    enum err e = buffer_error(&out);
    buffer_deinit(&out);
    return e;
}

static void survives_any_failed_allocation(void **state)
{
    (void)state;
    long alive = fault_live_blocks();
    for (unsigned long n = 0;; n++) {
        fault_alloc_fail_at(n, false);
        enum err e = all_messages();
        bool fired = fault_fired();
        fault_alloc_off();
        assert_int_equal(fault_live_blocks(), alive);
        assert_int_equal(e, fired ? ERR_NOMEM : ERR_OK);
        if (!fired)
            return;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(export_responses),
        cmocka_unit_test(statuses),
        cmocka_unit_test(health),
        cmocka_unit_test(survives_any_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
