/* SPDX-License-Identifier: Apache-2.0 */
/* grpc_fuzz.c - any bytes as the body of a unary gRPC call. The first byte chooses method and
 * grpc-encoding, the second the size of the DATA frames. */
#include "net/fuzz_wire.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static size_t put_field(uint8_t *out, const char *name, const char *value)
{
    size_t n = 0, name_len = strlen(name), value_len = strlen(value);
    out[n++] = 0; /* literal, not indexed, new name (RFC 7541 6.2.2) */
    out[n++] = (uint8_t)name_len;
    memcpy(out + n, name, name_len);
    n += name_len;
    out[n++] = (uint8_t)value_len;
    memcpy(out + n, value, value_len);
    return n + value_len;
}

static size_t put_frame(uint8_t *out, size_t len, uint8_t type, uint8_t flags)
{
    const uint8_t head[9] = {
        (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len, type, flags, 0, 0, 0, 1
    };
    memcpy(out, head, sizeof head);
    return sizeof head;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const uint8_t greeting[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";
    static const char *const paths[] = { "/test.Echo/Unary", "/test.Echo/Sum", "/test.Echo/Fail",
                                         "/test.Echo/Watch" };
    static const char *const codings[] = { "identity", "gzip", "zstd", "lz4" };
    uint8_t frame[1024];
    struct fuzz_wire w;
    if (len < 2)
        return 0;
    size_t step = (size_t)data[1] + 1;
    if (!fuzz_wire_open(&w, http2_open))
        abort();
    fuzz_wire_feed(&w, greeting, sizeof greeting, sizeof greeting);
    size_t n = 9;
    n += put_field(frame + n, ":method", "POST");
    n += put_field(frame + n, ":scheme", "http");
    n += put_field(frame + n, ":path", paths[data[0] & 3]);
    n += put_field(frame + n, ":authority", "localhost");
    n += put_field(frame + n, "content-type", "application/grpc");
    n += put_field(frame + n, "grpc-encoding", codings[data[0] >> 2 & 3]);
    (void)put_frame(frame, n - 9, 1, 4);
    fuzz_wire_feed(&w, frame, n, n);
    for (size_t at = 2; at < len && !w.session->wants_close; at += step) {
        size_t part = len - at < step ? len - at : step;
        (void)put_frame(frame, part, 0, 0);
        memcpy(frame + 9, data + at, part);
        fuzz_wire_feed(&w, frame, 9 + part, 9 + part);
    }
    (void)put_frame(frame, 0, 0, 1);
    fuzz_wire_feed(&w, frame, 9, 9);
    fuzz_wire_close(&w);
    return 0;
}
