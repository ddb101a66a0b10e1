/* SPDX-License-Identifier: Apache-2.0 */
/* text.h - strict conversions between text and values.
 *
 * Role       hexadecimal, decimal, durations, RFC 3339 times, percent-encoding, base64, UTF-8. Parsers
 *            take the whole input or return false and write nothing.
 * Threads    pure. */
#ifndef SPINDLE_BASE_TEXT_H
#define SPINDLE_BASE_TEXT_H

#include "base/buffer.h"
#include "base/bytes.h"

/* Lower-case hex of `from` into out[0 .. 2 * from.len); no NUL. */
void text_hex(char *out, struct bytes from);
/* Exactly out_len bytes from 2 * out_len hex digits of either case. */
NODISCARD bool text_hex_parse(struct bytes text, uint8_t *out, size_t out_len);

/* Digits only (a leading '-' for i64), no sign '+', no blanks, must fit. */
NODISCARD bool text_u64_parse(struct bytes text, uint64_t *out);
NODISCARD bool text_i64_parse(struct bytes text, int64_t *out);
/* A JSON-style decimal number. */
NODISCARD bool text_double_parse(struct bytes text, double *out);
/* Shortest decimal text that reads back as the same double, JSON syntax; v must be finite. */
void text_double(struct buffer *b, double v);

/* Go's time.ParseDuration plus d, w, y: "1.5s", "1h30m", "250us", "1µs", "0". Signed ns. */
NODISCARD bool text_duration_parse(struct bytes text, int64_t *out_ns);
/* "10GiB", "64MiB", "512k" (1024-based with or without iB), plain bytes. */
NODISCARD bool text_size_parse(struct bytes text, uint64_t *out_bytes);

/* RFC 3339 with any fraction and offset. */
NODISCARD bool text_time_parse(struct bytes text, uint64_t *out_unix_ns);
/* "2026-01-31T12:00:00.123456789Z", fraction omitted when zero. */
void text_time(struct buffer *b, uint64_t unix_ns);

/* %XX decoding into out (at most text.len bytes); plus_is_space for query strings. False on a bad
 * escape. */
NODISCARD bool text_percent_decode(struct bytes text, bool plus_is_space, uint8_t *out,
                                   size_t *out_len);

/* Standard base64 with padding. */
void text_base64(struct buffer *b, struct bytes from);
/* Standard or URL-safe alphabet, padded or not; out needs 3 * text.len / 4 + 3 bytes. */
NODISCARD bool text_base64_parse(struct bytes text, uint8_t *out, size_t *out_len);

/* Length of the longest valid UTF-8 prefix: == text.len when all of it is valid (RFC 3629: no
 * surrogates, no overlong forms, nothing above U+10FFFF). Fast on ASCII. */
size_t text_utf8_valid_len(struct bytes text);
/* The same, saying also how long the invalid part behind it is (0: none): the maximal subpart that
 * one U+FFFD replaces. */
size_t text_utf8_valid_prefix(struct bytes text, size_t *out_bad_len);
/* Append text, each maximal invalid part replaced by U+FFFD (Unicode 15 §3.9, "substitution of
 * maximal subparts"). */
void text_utf8_repair(struct buffer *b, struct bytes text);
/* The bytes of a code point up to U+10FFFF; returns how many. */
size_t text_utf8_put(uint32_t code, uint8_t out[4]);

#endif
