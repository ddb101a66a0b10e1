/* SPDX-License-Identifier: Apache-2.0 */
/* json_writer.h - JSON text into a buffer.
 *
 * Role       commas and nesting are kept by the writer; strings are escaped, and invalid UTF-8 leaves as
 *            U+FFFD. U+2028, U+2029 and '<' are escaped too, so that the text is safe wherever it lands.
 * Errors     those of the buffer, asked once at the end.
 * Threads    one at a time. */
#ifndef SPINDLE_BASE_JSON_WRITER_H
#define SPINDLE_BASE_JSON_WRITER_H

#include "base/buffer.h"

#define JSON_DEPTH_MAX 320 /* OTLP: 4 levels for each of 64 nested values, and envelopes */

struct json_writer {
    struct buffer *out;
    unsigned depth;
    bool needs_comma;
};

/* One value is written into `out`, after what is there. */
void json_init(struct json_writer *w, struct buffer *out);

/* Containers; end matches begin. */
void json_object_begin(struct json_writer *w);
void json_object_end(struct json_writer *w);
void json_array_begin(struct json_writer *w);
void json_array_end(struct json_writer *w);
void json_key(struct json_writer *w, const char *key);        /* plain ASCII literal */
void json_key_bytes(struct json_writer *w, struct bytes key); /* escaped */

/* Values; in an object, each after its key. */
void json_string(struct json_writer *w, struct bytes text);
void json_text(struct json_writer *w, const char *text);
void json_hex(struct json_writer *w, struct bytes raw);    /* lower-case hex string */
void json_base64(struct json_writer *w, struct bytes raw); /* standard base64 string */
void json_u64(struct json_writer *w, uint64_t v);          /* bare number */
void json_i64(struct json_writer *w, int64_t v);           /* bare number */
void json_u64_string(struct json_writer *w, uint64_t v);   /* "123": what OTLP wants for 64 bits */
void json_i64_string(struct json_writer *w, int64_t v);
void json_double(struct json_writer *w, double v); /* NaN and infinities as "NaN", "Infinity" */
void json_bool(struct json_writer *w, bool v);
void json_null(struct json_writer *w);
void json_raw(struct json_writer *w, struct bytes value); /* a whole JSON value, as it stands */

#endif
