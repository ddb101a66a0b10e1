/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/serve_options.h"

#define ROW(...) OPTION_ROW(serve_options, __VA_ARGS__)
static const struct option rows[] = { SERVE_OPTIONS(ROW) };

_Static_assert(sizeof rows / sizeof rows[0] <= OPTIONS_MAX,
               "the table fits struct option_settings");

const struct option_table serve_option_table = {
    .command = "serve",
    .summary = "Receive OpenTelemetry traces and logs over OTLP, store them, and answer queries.",
    .rows = rows,
    .count = sizeof rows / sizeof rows[0],
};
