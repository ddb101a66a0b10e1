/* SPDX-License-Identifier: Apache-2.0 */
/* byte  0      version, 1
 *       1      key
 *       9      trace ID, or the engine's own place among log records
 *       25     range: minimum, maximum
 *       41     hash of the question
 *       49     end */
#include "query/cursor.h"

#include "base/text.h"

#define CURSOR_VERSION 1
#define CURSOR_BYTES   49

void cursor_write(const struct page *page, struct buffer *out)
{
    uint8_t raw[CURSOR_BYTES];
    raw[0] = CURSOR_VERSION;
    store_le64(raw + 1, page->after.key);
    memcpy(raw + 9, page->after.id.b, sizeof page->after.id.b);
    store_le64(raw + 25, page->range.min_unix_ns);
    store_le64(raw + 33, page->range.max_unix_ns);
    store_le64(raw + 41, page->question);
    size_t begin = out->len;
    text_base64(out, bytes_of(raw, sizeof raw));
    if (buffer_error(out) != ERR_OK)
        return;
    while (out->len > begin && out->data[out->len - 1] == '=')
        out->len--;
    for (size_t i = begin; i < out->len; i++) {
        if (out->data[i] == '+')
            out->data[i] = '-';
        else if (out->data[i] == '/')
            out->data[i] = '_';
    }
}

bool cursor_read(struct bytes text, struct page *out)
{
    uint8_t raw[CURSOR_BYTES + 6];
    size_t len;
    if (text.len > (CURSOR_BYTES * 4 + 2) / 3 || !text_base64_parse(text, raw, &len) ||
        len != CURSOR_BYTES || raw[0] != CURSOR_VERSION)
        return false;
    struct page page = {
        .after = { .is_set = true, .key = load_le64(raw + 1) },
        .range = { load_le64(raw + 25), load_le64(raw + 33) },
        .question = load_le64(raw + 41),
    };
    memcpy(page.after.id.b, raw + 9, sizeof page.after.id.b);
    *out = page;
    return true;
}
