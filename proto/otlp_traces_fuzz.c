/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an export of traces. */
#include "proto/otlp_fuzz_common.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_strange(SIGNAL_TRACES, bytes_of(data, size), &fuzz_limits);
    fuzz_strange(SIGNAL_TRACES, bytes_of(data, size), &otlp_limits_default);
    return 0;
}
