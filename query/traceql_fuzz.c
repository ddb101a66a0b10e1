/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a filter: no crash, no leak, an answer within the bounds; and what is accepted has a
 * canonical text that is accepted too and is its own. The first byte picks spans or log records. */
#include "query/traceql.h"

#include "base/mem.h"
#include "base/text.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Two trees that expr_write() writes as something else: `true = (.a = nil)`, for want of
 * parentheses, and
 * `."5"`, for want of quotes. */
static bool is_miswritten(const struct expr *e)
{
    if (e == NULL || e->op == EXPR_CONST)
        return false;
    if (e->op == EXPR_FIELD)
        return e->scope == EXPR_SCOPE_ANY && e->key.data[0] >= '0' && e->key.data[0] <= '9';
    bool is_right_nil_test =
        e->right != NULL && (e->right->op == EXPR_IS_NIL || e->right->op == EXPR_IS_NOT_NIL);
    return (is_right_nil_test && e->op != EXPR_AND && e->op != EXPR_OR) || is_miswritten(e->left) ||
           is_miswritten(e->right);
}

static bool canonical(enum signal signal, struct bytes text, struct arena *arena,
                      struct buffer *out)
{
    struct expr *e = NULL;
    struct traceql_error error = { .offset = SIZE_MAX };
    enum err failure = traceql_parse(arena, signal, text, &e, &error);
    if (failure != ERR_OK) {
        if (failure != ERR_NOMEM &&
            (error.offset > text.len || error.line == 0 || error.column == 0 ||
             error.text[0] == '\0' ||
             text_utf8_valid_len(bytes_text(error.text)) != strlen(error.text)))
            abort();
        return false;
    }
    if (e != NULL && e->depth > TRACEQL_DEPTH_MAX)
        abort();
    /* Its parentheses make the canonical text up to twice as deep as the tree. */
    bool is_written = !is_miswritten(e) && (e == NULL || e->depth < TRACEQL_DEPTH_MAX / 2 - 1);
    expr_write(e, out);
    expr_deinit(e);
    return is_written && buffer_error(out) == ERR_OK;
}

/* Constants can hold bytes that no valid text can, by escapes, and one number that no literal can.
 */
static bool has_text(struct bytes text)
{
    static const char minimum[] = "-9223372036854775808";
    return text_utf8_valid_len(text) == text.len &&
           memmem(text.data, text.len, minimum, strlen(minimum)) == NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    enum signal signal = (data[0] & 1) != 0 ? SIGNAL_LOGS : SIGNAL_TRACES;
    long before = fault_live_blocks();
    struct arena arena;
    struct buffer first, second;
    arena_init(&arena, (size_t)64 << 20, NULL);
    buffer_init(&first, TRACEQL_TEXT_MAX);
    buffer_init(&second, TRACEQL_TEXT_MAX);
    if (canonical(signal, bytes_of(data + 1, size - 1), &arena, &first) &&
        has_text(buffer_bytes(&first))) {
        if (!canonical(signal, buffer_bytes(&first), &arena, &second) ||
            !bytes_equal(buffer_bytes(&first), buffer_bytes(&second)))
            abort();
    }
    buffer_deinit(&first);
    buffer_deinit(&second);
    arena_deinit(&arena);
    if (fault_live_blocks() != before)
        abort();
    return 0;
}
