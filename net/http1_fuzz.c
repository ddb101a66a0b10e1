/* SPDX-License-Identifier: Apache-2.0 */
/* http1_fuzz.c - any bytes to an HTTP/1.1 session. The first byte says in what pieces they come;
 * fed whole and fed in pieces they must be answered in the same length. */
#include "net/fuzz_wire.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static size_t run(const uint8_t *data, size_t len, size_t step)
{
    struct fuzz_wire w;
    if (!fuzz_wire_open(&w, http1_open))
        abort();
    fuzz_wire_feed(&w, data, len, step);
    size_t sent = w.output_len;
    fuzz_wire_close(&w);
    return sent;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 1)
        return 0;
    (void)run(data + 1, len - 1, (size_t)data[0] + 1);
    (void)run(data + 1, len - 1, 1 << 20);
    return 0;
}
