/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/serve_options.h"

#include "storage/derive/name_rules.h"

/* The only list there is. */
static const char *check_rule(const struct option *row, const char *item)
{
    (void)row;
    struct name_rules *rules = NULL;
    struct err_note note = { 0 };
    size_t line;
    enum err e = name_rules_make(bytes_text(item), &rules, &line, &note);
    name_rules_free(rules);
    return e == ERR_OK ? NULL : note.what != NULL ? note.what : err_text(e);
}

#define ROW(...) OPTION_ROW(serve_options, __VA_ARGS__)
static const struct option rows[] = { SERVE_OPTIONS(ROW) };

_Static_assert(sizeof rows / sizeof rows[0] <= OPTIONS_MAX,
               "the table fits struct option_settings");

const struct option_table serve_option_table = {
    .command = "serve",
    .summary = "Receive OpenTelemetry traces and logs over OTLP, store them, and answer queries.",
    .rows = rows,
    .count = sizeof rows / sizeof rows[0],
    .check_item = check_rule,
};
