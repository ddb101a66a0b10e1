/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a configuration file: it is read or explained, and what was read prints and reads
 * again. */
#include "cli/serve_options.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum err read_text(struct bytes text, struct arena *arena, struct option_settings *settings)
{
    char message[OPTIONS_MESSAGE_MAX] = "";
    enum err e =
        options_read_file_text(&serve_option_table, "fuzz.yaml", text, arena, settings, message);
    assert((e == ERR_OK) == (message[0] == '\0'));
    return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct option_settings first = { 0 }, second = { 0 };
    arena_init(&arena, 4 * OPTIONS_FILE_MAX, NULL);
    if (size <= OPTIONS_FILE_MAX / 8 && read_text(bytes_of(data, size), &arena, &first) == ERR_OK) {
        struct buffer printed;
        buffer_init(&printed, 2 * OPTIONS_FILE_MAX);
        options_write_config(&serve_option_table, &first, &printed);
        /* Flags and counts are printed as they were typed: only valid ones are ever printed for
         * real. */
        if (buffer_error(&printed) == ERR_OK &&
            read_text(buffer_bytes(&printed), &arena, &second) == ERR_OK) {
            for (size_t i = 0; i < serve_option_table.count; i++)
                assert(first.of[i].text == NULL || second.of[i].text != NULL ||
                       serve_option_table.rows[i].type == OPTION_FLAG);
        }
        buffer_deinit(&printed);
    }
    arena_deinit(&arena);
    return 0;
}
