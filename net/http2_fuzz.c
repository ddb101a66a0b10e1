/* SPDX-License-Identifier: Apache-2.0 */
/* http2_fuzz.c - any bytes to an HTTP/2 session, behind the preface and an empty SETTINGS. The
 * first byte says in what pieces they come. */
#include "net/fuzz_wire.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const uint8_t greeting[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";
    struct fuzz_wire w;
    if (len < 1)
        return 0;
    if (!fuzz_wire_open(&w, http2_open))
        abort();
    fuzz_wire_feed(&w, greeting, sizeof greeting,
                   sizeof greeting); /* its NUL is the stream's last byte */
    fuzz_wire_feed(&w, data + 1, len - 1, data[0] == 255 ? (size_t)1 << 20 : (size_t)data[0] + 1);
    fuzz_wire_close(&w);
    return 0;
}
