/* SPDX-License-Identifier: Apache-2.0 */
/* Log records as they come in, over a real server and engine: each is told once to who wants it, from the moment
 * of asking on; who comes back goes on where it was, or hears that it missed something; who does not read is not
 * waited for, and every record that it was not told is counted. */
#include "query/engine_testing.h"

#include "base/mem.h"
#include "base/text.h"
#include "proto/pb_writer.h"
#include "query/log_tail.h"
#include "query/test_client.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define TAIL "/api/spindle/v1/logs/tail"

struct fixture {
    struct engine_fixture api;
    unsigned stored; /* records, each with its number as the body's first word */
};

/* ---- Storing ---- */

/* Records whose severity is 9, of every third 17, with bodies of so many bytes at least. */
static void store_logs(struct fixture *f, unsigned count, size_t len)
{
    struct buffer b, text;
    buffer_init(&b, (size_t)64 << 20);
    buffer_init(&text, (size_t)8 << 20);
    size_t resource_logs = pb_begin(&b, 1), scope_logs = pb_begin(&b, 2);
    for (unsigned i = 0; i < count; i++, f->stored++) {
        size_t log = pb_begin(&b, 2);
        pb_fixed64(&b, 1, UINT64_C(1700000000000000000) + f->stored);
        pb_uint(&b, 2, f->stored % 3 == 0 ? 17 : 9);
        buffer_reset(&text);
        buffer_printf(&text, "record %u ", f->stored);
        while (text.len < len)
            buffer_append_byte(&text, 'x');
        size_t body = pb_begin(&b, 5);
        pb_bytes(&b, 1, buffer_bytes(&text));
        pb_end(&b, body);
        pb_end(&b, log);
    }
    pb_end(&b, scope_logs);
    pb_end(&b, resource_logs);
    assert_int_equal(buffer_error(&b), ERR_OK);
    engine_fixture_store(&f->api, SIGNAL_LOGS, buffer_bytes(&b), count);
    buffer_deinit(&b);
    buffer_deinit(&text);
}

/* ---- Listening ---- */

struct listener {
    int fd;
    struct buffer text; /* the body so far, without the lines of chunks */
    struct buffer raw;
    size_t at;
    bool has_head, has_ended;
    unsigned rows, numbers[4096];
    uint64_t skipped;
    bool has_unknown_skip;
    char last_id[64];
};

/* Chunks that are whole become text. */
static void join(struct listener *l)
{
    if (!l->has_head) {
        char *end = memmem(l->raw.data, l->raw.len, "\r\n\r\n", 4);
        if (end == NULL)
            return;
        assert_memory_equal(l->raw.data, "HTTP/1.1 200", 12);
        l->has_head = true;
        l->at = (size_t)(end + 4 - (char *)l->raw.data);
    }
    for (;;) {
        uint8_t *line = l->raw.data + l->at;
        uint8_t *end = memmem(line, l->raw.len - l->at, "\r\n", 2);
        if (end == NULL)
            return;
        size_t n = strtoul((char *)line, NULL, 16), head = (size_t)(end + 2 - line);
        if (l->raw.len - l->at < head + n + 2)
            return;
        l->has_ended |= n == 0;
        buffer_append(&l->text, line + head, n);
        l->at += head + n + 2;
        if (n == 0)
            return;
    }
}

/* Read what there is, waiting at most so long for the first of it. */
static bool read_some(struct listener *l, unsigned ms)
{
    static uint8_t piece[1 << 16];
    struct timeval patience = { .tv_sec = ms / 1000, .tv_usec = (int)(ms % 1000) * 1000 };
    assert_int_equal(setsockopt(l->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    ssize_t n = recv(l->fd, piece, sizeof piece, 0);
    if (n <= 0)
        return false;
    buffer_append(&l->raw, piece, (size_t)n);
    buffer_append_byte(&l->raw, '\0'); /* so that numbers end */
    l->raw.len--;
    join(l);
    return true;
}

static void listen_from(struct fixture *f, struct listener *l, const char *question,
                        const char *headers)
{
    char path[300];
    *l = (struct listener){ .fd = -1 };
    buffer_init(&l->text, (size_t)256 << 20);
    buffer_init(&l->raw, (size_t)256 << 20);
    (void)snprintf(path, sizeof path, TAIL "%s", question);
    l->fd = client_send(f->api.port, path, headers);
    while (l->text.len < 9)
        assert_true(read_some(l, 20000));
    assert_memory_equal(l->text.data, ": ready\n\n", 9);
}

static void leave(struct listener *l)
{
    (void)close(l->fd);
    buffer_deinit(&l->text);
    buffer_deinit(&l->raw);
}

/* Take the events that are whole. */
static void take_events(struct listener *l)
{
    for (;;) {
        char *end = memmem(l->text.data, l->text.len, "\n\n", 2);
        if (end == NULL)
            return;
        *end = '\0';
        char *event = (char *)l->text.data;
        size_t len = (size_t)(end + 2 - event);
        if (strncmp(event, "id: ", 4) == 0) {
            const char *body = strstr(event, "\"body\":\"record ");
            assert_non_null(strstr(event, "\nevent: row\ndata: {\"time\":\"17"));
            assert_non_null(body);
            assert_true(l->rows < 4096);
            l->numbers[l->rows++] = (unsigned)strtoul(body + 15, NULL, 10);
            size_t id = strcspn(event + 4, "\n");
            assert_true(id < sizeof l->last_id);
            memcpy(l->last_id, event + 4, id);
            l->last_id[id] = '\0';
        } else if (strncmp(event, "event: skipped\ndata: {\"n\":", 26) == 0) {
            l->skipped += strtoul(event + 26, NULL, 10);
            l->has_unknown_skip |= strncmp(event + 26, "null,\"reason\":\"resume\"}", 23) == 0;
        } else {
            assert_int_equal(event[0], ':');
        }
        memmove(l->text.data, l->text.data + len, l->text.len - len);
        l->text.len -= len;
    }
}

static void read_rows(struct listener *l, uint64_t wanted)
{
    take_events(l);
    while (l->rows + l->skipped < wanted) {
        assert_true(read_some(l, 20000));
        take_events(l);
    }
    assert_int_equal(l->rows + l->skipped, wanted);
}

/* ---- Tests ---- */

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){ 0 };
    engine_fixture_open(&f.api, (struct sqlite_engine_options){ .memory_bytes = (size_t)256 << 20 },
                        (struct query_options){ .tail_alive_ns = 100 * NS_PER_MS });
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    engine_fixture_close(&f->api);
    return 0;
}

static void each_record_is_told_once_to_who_wants_it(void **state)
{
    struct fixture *f = *state;
    static struct listener all, some;
    store_logs(f, 5, 0); /* before anybody listens */
    listen_from(f, &all, "", "");
    store_logs(f, 4, 0);
    listen_from(f, &some, "?q=%7Bseverity%3E=error%7D", "");
    store_logs(f, 30, 0);
    store_logs(f, 7, 0);
    read_rows(&all, 41);
    for (unsigned i = 0; i < 41; i++)
        assert_int_equal(all.numbers[i], 5 + i);
    read_rows(&some, 13); /* 9, 12, ... of 9 to 45 */
    for (unsigned i = 0; i < 13; i++)
        assert_int_equal(some.numbers[i], 9 + 3 * i);
    assert_int_equal(all.skipped + some.skipped, 0);
    leave(&all);
    leave(&some);
}

static void who_comes_back_goes_on(void **state)
{
    struct fixture *f = *state;
    static struct listener l, again;
    char header[100];
    listen_from(f, &l, "", "");
    store_logs(f, 10, 0);
    read_rows(&l, 10);
    leave(&l);
    store_logs(f, 3, 0); /* meanwhile */
    (void)snprintf(header, sizeof header, "Last-Event-ID: %s\r\n", l.last_id);
    listen_from(f, &again, "", header);
    store_logs(f, 2, 0);
    read_rows(&again, 5);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(again.numbers[i], 10 + i);
    assert_false(again.has_unknown_skip);
    leave(&again);

    /* Nothing was missed. */
    (void)snprintf(header, sizeof header, "?last_event_id=%s", again.last_id);
    listen_from(f, &again, header, "");
    store_logs(f, 1, 0);
    read_rows(&again, 1);
    assert_false(again.has_unknown_skip);
    leave(&again);

    /* More than is kept: the newest of them, and a word about the rest. */
    for (unsigned i = 0; i < 6; i++)
        store_logs(f, 4, 20000);
    listen_from(f, &again, header, "");
    while (again.rows == 0 || again.numbers[again.rows - 1] != f->stored - 1) {
        assert_true(read_some(&again, 20000));
        take_events(&again);
    }
    assert_true(again.has_unknown_skip);
    assert_in_range(again.rows, 4, 20); /* of 24 */
    leave(&again);

    /* Of another process, or no ID at all. */
    listen_from(f, &again, "?last_event_id=00000000-5", "");
    store_logs(f, 1, 0);
    while (again.rows == 0 || again.numbers[again.rows - 1] != f->stored - 1) {
        assert_true(read_some(&again, 20000));
        take_events(&again);
    }
    assert_true(again.has_unknown_skip);
    leave(&again);
}

static void who_does_not_read_is_not_waited_for(void **state)
{
    struct fixture *f = *state;
    static struct listener slow, quick;
    listen_from(f, &slow, "", "");
    listen_from(f, &quick, "?q=%7Bbody=%22none%22%7D", "");
    unsigned before = f->stored;
    for (unsigned i = 0; i < 8; i++)
        store_logs(f, 100, 40000); /* 4 MB each: more than sockets and net/ hold */
    store_logs(f, 2000, 0);        /* more than are told in a second */
    read_rows(&slow, f->stored - before);
    assert_true(slow.skipped > 1000);
    for (unsigned i = 1; i < slow.rows; i++)
        assert_true(slow.numbers[i] > slow.numbers[i - 1]);
    assert_int_equal(quick.rows + quick.skipped, 0);
    leave(&slow);
    leave(&quick);
}

static void places_are_bounded_and_given_back(void **state)
{
    struct fixture *f = *state;
    static struct listener l[32];
    struct reply r = { 0 };
    static const char *const wrong[] = { TAIL "?q=%7Bseverity", TAIL "?limit=5",
                                         TAIL "?q=%7B%7D%7Ccount()%3E1" };
    for (unsigned round = 0; round < 2; round++) {
        for (size_t i = 0; i < 32; i++)
            listen_from(f, &l[i], "", "");
        client_get(f->api.port, TAIL, "", &r);
        assert_int_equal(r.status, 503);
        assert_non_null(strcasestr(r.head, "retry-after"));
        reply_free(&r);
        for (size_t i = 0; i < 32; i++)
            leave(&l[i]);
        uint64_t until_ns = clock_mono_ns() + 20 * NS_PER_S;
        while (budget_used(&f->api.budget) > 0) { /* each leaving is noticed */
            assert_true(clock_mono_ns() < until_ns);
            usleep(10000);
        }
        for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
            client_get(f->api.port, wrong[i], "", &r);
            assert_int_equal(r.status, 400);
            reply_free(&r);
        }
    }
}

static void draining_ends_what_is_open(void **state)
{
    struct fixture *f = *state;
    static struct listener l;
    struct reply r = { 0 };
    listen_from(f, &l, "", "");
    store_logs(f, 3, 0);
    read_rows(&l, 3);
    query_drain(f->api.service);
    while (!l.has_ended)
        assert_true(read_some(&l, 20000));
    leave(&l);
    client_get(f->api.port, TAIL, "", &r);
    assert_int_equal(r.status, 503);
    reply_free(&r);
}

static void ids_are_read_strictly(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",           "-",           "00000000-",
        "0000000-1",  "0000000g-1",  "00000000-1x",
        "00000000 1", "00000000--1", "00000000-99999999999999999999"
    };
    struct log_tail_id id;
    assert_true(log_tail_id_parse(BYTES_LITERAL("00ab0cde-1044"), &id));
    assert_true(id.process == 0xab0cde && id.number == 1044);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(log_tail_id_parse(bytes_text(wrong[i]), &id));
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN); /* as the program does: clients leave while they are told */
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(each_record_is_told_once_to_who_wants_it),
        TEST(who_comes_back_goes_on),
        TEST(who_does_not_read_is_not_waited_for),
        TEST(places_are_bounded_and_given_back),
        TEST(draining_ends_what_is_open),
        cmocka_unit_test(ids_are_read_strictly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
