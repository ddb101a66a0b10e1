/* SPDX-License-Identifier: Apache-2.0 */
/* pb_writer.h - protobuf wire form into a buffer.
 *
 * Role       OTLP leaves by here: rewritten requests, rebuilt spans, generated load.
 * Errors     those of the buffer, asked once at the end.
 * Source     protobuf encoding specification. */
#ifndef SPINDLE_PROTO_PB_WRITER_H
#define SPINDLE_PROTO_PB_WRITER_H

#include "base/buffer.h"

/* A base-128 number; and a field's number with its wire type. */
void pb_varint(struct buffer *b, uint64_t v);
void pb_tag(struct buffer *b, uint32_t field, uint32_t wire_type);

/* Written whatever the value: proto3 leaves defaults out, so callers test where they want that. */
void pb_uint(struct buffer *b, uint32_t field, uint64_t v);
void pb_fixed64(struct buffer *b, uint32_t field, uint64_t v);
void pb_fixed32(struct buffer *b, uint32_t field, uint32_t v);
void pb_double(struct buffer *b, uint32_t field, double v);
void pb_bytes(struct buffer *b, uint32_t field, struct bytes v);

/* A sub-message whose length is not known yet: begin, write its fields, end.
 *
 *     size_t mark = pb_begin(b, 2);
 *     ...
 *     pb_end(b, mark);
 *
 * The length is put in place at the end; the bytes move when it needs more than the one byte set
 * aside. */
size_t pb_begin(struct buffer *b, uint32_t field);
void pb_end(struct buffer *b, size_t mark);

#endif
