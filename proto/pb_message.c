/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/pb_message.h"

#include "base/mem.h"
#include "base/text.h"

void pb_message_put(const ProtobufCMessage *message, struct buffer *out)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *to = buffer_reserve(out, size);
    if (to != NULL)
        buffer_grew(out, protobuf_c_message_pack(message, to));
}

char *pb_message_text(struct bytes text, struct buffer *out)
{
    struct buffer copy;
    buffer_init(&copy, SIZE_MAX);
    text_utf8_repair(&copy, text);
    buffer_append_byte(&copy, 0);
    if (copy.error != ERR_OK) {
        if (out->error == ERR_OK)
            out->error = copy.error;
        buffer_deinit(&copy);
        return NULL;
    }
    size_t len;
    return (char *)buffer_take(&copy, &len);
}
