/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as an OTLP/JSON export, of either signal. */
#include "proto/otlp_fuzz_common.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (enum signal signal = 0; signal < SIGNAL_COUNT; signal++) {
        struct buffer out;
        struct err_note note;
        buffer_init(&out, 64u << 20);
        enum err e =
            otlp_json_read(signal, bytes_of(data, size), &otlp_limits_default, &out, &note);
        if (e != ERR_OK) {
            MUST(note.offset <= size && note.what != NULL);
        } else {
            /* What the reader writes is always well-formed. */
            struct otlp_report report;
            MUST(otlp_check(signal, buffer_bytes(&out), &otlp_limits_default, 0, &report, NULL) !=
                 ERR_INVALID);
            fuzz_strange(signal, buffer_bytes(&out), &fuzz_limits);
        }
        buffer_deinit(&out);
    }
    return 0;
}
