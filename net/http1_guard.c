/* SPDX-License-Identifier: Apache-2.0 */
/* http1_guard.c - see http1_guard.h.
 *
 *   METHOD SP TARGET SP VERSION CR LF   then fields:   NAME ':' VALUE CR LF ...   CR LF
 *   SIZE [EXTENSION] CR LF DATA CR LF ...   0 [EXTENSION] CR LF   fields (trailers)   CR LF */
#include "net/http1_guard.h"

/* 15 hexadecimal digits are a number that fits 60 bits: no sum with it wraps. */
#define CHUNK_DIGITS_MAX 15
/* Extensions and trailers of one body: nobody sends them; who sends this much means harm. */
#define EXTRA_BYTES_MAX  4096
#define METHOD_BYTES_MAX 32

enum state {
    METHOD,
    TARGET,
    VERSION,
    LINE_LF,
    FIELD_START,
    NAME,
    VALUE,
    VALUE_LF,
    END_LF,
    SIZE_START,
    SIZE,
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER_START,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    FINISHED,
};

static bool is_token(uint8_t c)
{
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
        return true;
    return c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool is_value(uint8_t c)
{
    return (c >= 0x20 && c != 0x7f) || c == '\t';
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

void http1_guard_head(struct http1_guard *g)
{
    *g = (struct http1_guard){ .state = METHOD };
}

void http1_guard_chunked(struct http1_guard *g)
{
    *g = (struct http1_guard){ .state = SIZE_START };
}

static bool bad(struct http1_guard *g, const char *fault)
{
    g->fault = fault;
    return false;
}

static bool go(struct http1_guard *g, enum state state)
{
    g->state = (uint8_t)state;
    return true;
}

static bool feed_request_line(struct http1_guard *g, uint8_t c)
{
    static const char version[] = "HTTP/1.";
    switch (g->state) {
    case METHOD:
        if (c == ' ' && g->part > 0) {
            g->part = 0;
            return go(g, TARGET);
        }
        if (!is_token(c) || g->part == METHOD_BYTES_MAX)
            return bad(g, "the method is malformed");
        g->part++;
        return true;
    case TARGET:
        if (c == ' ' && g->part > 0) {
            g->part = 0;
            return go(g, VERSION);
        }
        if (c <= 0x20 || c >= 0x7f)
            return bad(g, "the request target is malformed");
        g->part = 1;
        return true;
    default:
        if (g->part < sizeof version - 1) {
            if (c != (uint8_t)version[g->part])
                return bad(g, "the version is malformed");
        } else if (g->part == sizeof version - 1) {
            if (c != '0' && c != '1')
                return bad(g, "the version is malformed");
        } else if (c != '\r') {
            return bad(g, "the request line does not end in CR LF");
        } else {
            return go(g, LINE_LF);
        }
        g->part++;
        return true;
    }
}

/* Fields of a head, and of trailers. */
static bool feed_field(struct http1_guard *g, uint8_t c, enum state start, enum state name,
                       enum state value, enum state lf)
{
    if (g->state == start) {
        if (c == '\r')
            return go(g, END_LF);
        return is_token(c) ? go(g, name) : bad(g, "a header field begins with what is no name");
    }
    if (g->state == name) {
        if (c == ':')
            return go(g, value);
        return is_token(c) ? true : bad(g, "a header field's name is malformed");
    }
    if (g->state == value) {
        if (c == '\r')
            return go(g, lf);
        return is_value(c) ? true : bad(g, "a header field's value is malformed");
    }
    return c == '\n' ? go(g, start) : bad(g, "a header field does not end in CR LF");
}

static bool feed_chunk_size(struct http1_guard *g, uint8_t c)
{
    int digit = hex_digit(c);
    if (g->state == EXTENSION) {
        if (c == '\r')
            return go(g, SIZE_LF);
        return is_value(c) && c < 0x7f ? true : bad(g, "a chunk's extension is malformed");
    }
    if (digit >= 0) {
        if (g->state == SIZE_START)
            g->chunk_left = g->digits = 0;
        if (++g->digits > CHUNK_DIGITS_MAX)
            return bad(g, "a chunk's size is too long");
        g->chunk_left = g->chunk_left << 4 | (unsigned)digit;
        return go(g, SIZE);
    }
    if (g->state == SIZE && c == '\r')
        return go(g, SIZE_LF);
    if (g->state == SIZE && c == ';')
        return go(g, EXTENSION);
    return bad(g, "a chunk's size is malformed");
}

/* Trailers are thrown away, but the presence of these is an attempt at something. */
static bool is_forbidden_trailer(const struct http1_guard *g)
{
    static const char *const names[] = {
        "content-length", "transfer-encoding", "host",   "content-encoding", "content-type",
        "authorization",  "trailer",           "expect", "connection",       "te",
        "upgrade"
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (bytes_equal_text(bytes_of(g->name, g->name_len), names[i]))
            return true;
    return false;
}

static bool feed_trailer(struct http1_guard *g, uint8_t c)
{
    if (++g->extra_bytes > EXTRA_BYTES_MAX)
        return bad(g, "the trailers are too long");
    if (g->state == TRAILER_START)
        g->name_len = 0;
    if (g->state == TRAILER_NAME && c == ':' && is_forbidden_trailer(g))
        return bad(g, "a trailer that may not be one");
    if ((g->state == TRAILER_START || g->state == TRAILER_NAME) && g->name_len < sizeof g->name)
        g->name[g->name_len++] = c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
    return feed_field(g, c, TRAILER_START, TRAILER_NAME, TRAILER_VALUE, TRAILER_LF);
}

static bool feed_byte(struct http1_guard *g, uint8_t c)
{
    switch ((enum state)g->state) {
    case METHOD:
    case TARGET:
    case VERSION:
        return feed_request_line(g, c);
    case LINE_LF:
        return c == '\n' ? go(g, FIELD_START) : bad(g, "the request line does not end in CR LF");
    case FIELD_START:
    case NAME:
    case VALUE:
    case VALUE_LF:
        return feed_field(g, c, FIELD_START, NAME, VALUE, VALUE_LF);
    case END_LF:
        return c == '\n' ? go(g, FINISHED) : bad(g, "the empty line does not end in CR LF");
    case SIZE_START:
    case SIZE:
    case EXTENSION:
        if (++g->extra_bytes > EXTRA_BYTES_MAX && g->state == EXTENSION)
            return bad(g, "the chunk extensions are too long");
        return feed_chunk_size(g, c);
    case SIZE_LF:
        if (c != '\n')
            return bad(g, "a chunk's size does not end in CR LF");
        return go(g, g->chunk_left > 0 ? DATA : TRAILER_START);
    case DATA_CR:
        return c == '\r' ? go(g, DATA_LF) : bad(g, "a chunk is longer than its size");
    case DATA_LF:
        return c == '\n' ? go(g, SIZE_START) : bad(g, "a chunk does not end in CR LF");
    case TRAILER_START:
    case TRAILER_NAME:
    case TRAILER_VALUE:
    case TRAILER_LF:
        return feed_trailer(g, c);
    case DATA:
    case FINISHED:
        break;
    }
    return bad(g, "more than the message");
}

enum guard_verdict http1_guard_feed(struct http1_guard *g, const uint8_t *data, size_t len,
                                    size_t *out_taken)
{
    size_t at = 0;
    while (at < len && g->state != FINISHED) {
        if (g->state == DATA) {
            size_t step = len - at < g->chunk_left ? len - at : (size_t)g->chunk_left;
            at += step;
            g->chunk_left -= step;
            if (g->chunk_left == 0)
                g->state = DATA_CR;
        } else if (!feed_byte(g, data[at++])) {
            *out_taken = at;
            return GUARD_BAD;
        }
    }
    *out_taken = at;
    return g->state == FINISHED ? GUARD_DONE : GUARD_MORE;
}
