/* SPDX-License-Identifier: Apache-2.0 */
/* pb_message.h - protobuf-c's messages into our buffers.
 *
 * Role       private to proto/. For small messages that we write: packing them allocates nothing,
 *            and what peers send is never unpacked by protobuf-c. */
#ifndef SPINDLE_PROTO_PB_MESSAGE_H
#define SPINDLE_PROTO_PB_MESSAGE_H

#include "base/buffer.h"

#include <protobuf-c/protobuf-c.h>

/* Append the wire form. Errors: the buffer's. */
void pb_message_put(const ProtobufCMessage *message, struct buffer *out);

/* Text for a `string` field: a NUL-terminated copy with invalid UTF-8 replaced, to be freed with
 * mem_free(). On failure NULL, and `out` has the error. */
char *pb_message_text(struct bytes text, struct buffer *out);

#endif
