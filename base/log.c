/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 2048 };

static _Atomic int lowest_level = LOG_INFO;

void log_set_level(enum log_level lowest)
{
    atomic_store(&lowest_level, (int)lowest);
}

/* Printable ASCII and valid UTF-8 pass; control characters (C1 as well) become \xNN. */
static void append_escaped(struct buffer *line, struct bytes text)
{
    size_t at = 0;
    while (at < text.len) {
        uint8_t c = text.data[at];
        struct bytes rest = bytes_slice(text, at, 4);
        size_t valid = c < 0x80 ? 1 : text_utf8_valid_len(rest);
        size_t wanted = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
        bool is_c1 = c == 0xc2 && rest.len > 1 && rest.data[1] < 0xa0;
        if (c < 0x20 || c == 0x7f || valid < wanted || is_c1) {
            buffer_printf(line, "\\x%02x", c);
            at++;
        } else {
            buffer_append(line, text.data + at, wanted);
            at += wanted;
        }
    }
}

void log_line(enum log_level level, const char *room, const char *format, ...)
{
    static const char *const names[] = { "debug", "info", "warn", "error" };
    if ((int)level < atomic_load_explicit(&lowest_level, memory_order_relaxed))
        return;

    char message[LINE_MAX_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (len < 0)
        return;
    bool is_cut = (size_t)len >= sizeof message;

    struct buffer line;
    buffer_init(&line, 8 * LINE_MAX_BYTES);
    uint64_t now = clock_unix_ns();
    text_time(&line, now - now % NS_PER_MS);
    buffer_printf(&line, " %-5s %s: ", names[level], room);
    append_escaped(&line, bytes_of(message, is_cut ? sizeof message - 1 : (size_t)len));
    buffer_append_text(&line, is_cut ? " [cut]\n" : "\n");
    if (buffer_error(&line) == ERR_OK) {
        ssize_t written = write(STDERR_FILENO, line.data, line.len);
        (void)written; /* nobody is left to tell */
    }
    buffer_deinit(&line);
}
